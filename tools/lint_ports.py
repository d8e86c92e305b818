"""Check that clock, ids, randomness, sleep, concurrency and HTTP transport are used through their ports.

Determinism cannot be added later (docs/adr/0004), so this runs in `make check` beside ruff's banned-api,
which reads the same table and warns in the editor. It does what ruff cannot:

* an exempted file gets the names that it needs and no others; ruff can only switch the rule off for a file;
* SQL has a clock and randomness of its own (`now()`, `random()` ...), in strings and as `func.now()`;
* `importlib.import_module("random")` and `__import__("random")` are imports too;
* a tenacity retry without `sleep=` would really wait, and `alias = datetime` then `alias.now()` really looks.

A line of SQL may be excused by a comment with a reason, on that line: `-- ports: why` or `# ports: why`.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCANNED = ("core", "connectors", "dags")


def _banned() -> dict[str, str]:
    """Dotted name -> what to use instead, from the same table that ruff reads."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table = project["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    return {name: entry["msg"] for name, entry in table.items()}


BANNED = _banned()


@dataclass(frozen=True)
class Allowance:
    """What the files of one pattern may use directly, and why."""

    names: frozenset[str]
    reason: str


def _allow(*names: str, because: str) -> Allowance:
    return Allowance(frozenset(names), because)


_WAITING = ("time.sleep", "time.monotonic")
_SERVING = ("threading", "socket", "asyncio", *_WAITING)

# A file gets the names of every pattern that it matches. A test compares the patterns with the TID251
# exemptions in pyproject.toml.
ALLOWED = {
    "core/comptoir/app/system.py": _allow(*BANNED, because="the real implementations of the ports"),
    "core/comptoir/store/embedded.py": _allow(
        *_WAITING, "threading", because="starts PostgreSQL and waits for it; never simulated"
    ),
    "core/comptoir/store/_postmaster.py": _allow(
        *_WAITING, "time.gmtime", because="watches PostgreSQL's processes from a process of its own"
    ),
    "core/comptoir/airflow/**": _allow("asyncio", "threading", *_WAITING, because="Airflow's triggers are asyncio"),
    "core/comptoir/console/gateway.py": _allow(
        "asyncio", because="an ASGI application; what it does with a request is synchronous and takes its ports"
    ),
    "core/comptoir/airflow/client.py": _allow(
        "requests",
        because="speaks to our own Airflow, which is no connection: no rate budget, no error table",
    ),
    "core/comptoir/airflow/runtime.py": _allow(
        "socket",
        "secrets.token_urlsafe",
        because="picks free ports and passwords for an Airflow that it starts",
    ),
    "core/comptoir/testing/**": _allow(
        *_SERVING, because="thin servers around a sandbox's handle(); never the wall clock"
    ),
    "core/comptoir/simulation/**": _allow(
        "random", because="random.Random(seed) is where simulated randomness comes from"
    ),
    "core/comptoir/sdk/http.py": _allow("requests", "urllib3", because="the one place that speaks HTTP"),
    "connectors/*/sandbox.py": _allow(
        *_SERVING,
        "datetime.datetime.now",
        "http.client",
        because="a thin server around handle() with a clock of its own, and a thin sender of what the platform posts; "
        "handle() itself takes the clock it is given",
    ),
}

_CLASSES_WITH_A_CLOCK = {"datetime", "date"}
_RETRIES = {"tenacity.retry", "tenacity.Retrying"}
_CLOCK_METHODS = {"now", "utcnow", "today"}

_SQL_FUNCTIONS = (
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "random",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "pg_sleep",
)
_SQL_WORDS = ("current_timestamp", "current_date", "current_time", "localtimestamp", "localtime")
# `comptoir.now()` and `comptoir_now()` are ours and settable; `pg_catalog.now()` is the real one.
_SQL_CLOCK = re.compile(
    rf"(?<![\w.])(?:pg_catalog\.)?(?:(?P<function>{'|'.join(_SQL_FUNCTIONS)})\s*\(|(?P<word>{'|'.join(_SQL_WORDS)})\b)",
    re.IGNORECASE,
)
# Prose may say "now (see ...)" or "random"; only a string that reads like SQL is searched for SQL.
_READS_LIKE_SQL = re.compile(
    r"\b(select|insert\s+into|update|delete\s+from|create|alter|values|returning|where|default|set)\b|^\s*[\w.]+\s*\(.*\)\s*$",
    re.IGNORECASE | re.DOTALL,
)
_EXCUSE = re.compile(r"(?:#|--)\s*ports:\s*\S.{5,}")


@dataclass(frozen=True, order=True)
class Finding:
    """One direct use of something that is a port."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def _allowed_names(path: str) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    for pattern, allowance in ALLOWED.items():
        if fnmatch(path, pattern):
            names |= allowance.names
    return names


def _banned_prefix(dotted: str) -> str | None:
    """The banned name that `dotted` is, or lies below: `random.Random` lies below `random`."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        candidate = ".".join(parts[:length])
        if candidate in BANNED:
            return candidate
    return None


class _Checker(ast.NodeVisitor):
    def __init__(self, path: str, lines: list[str]) -> None:
        self.path = path
        self.lines = lines
        self.allowed = _allowed_names(path)
        self.origin: dict[str, str] = {}  # local name -> dotted name it stands for
        self.docstrings: set[int] = set()
        self.findings: set[Finding] = set()

    # -- reporting

    def _report(self, node: ast.AST, message: str) -> None:
        self.findings.add(Finding(self.path, getattr(node, "lineno", 1), message))

    def _use(self, node: ast.AST, dotted: str) -> None:
        banned = _banned_prefix(dotted)
        if banned is not None and banned not in self.allowed:
            self._report(node, f"{dotted}: {BANNED[banned]}")

    def _resolve(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self.origin.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self._resolve(node.value)
            return None if base is None else f"{base}.{node.attr}"
        return None

    # -- imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname:
                self.origin[alias.asname] = alias.name
            else:
                top = alias.name.split(".")[0]
                self.origin[top] = top
            self._use(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return  # relative: one of ours, checked where it is defined
        for alias in node.names:
            dotted = f"{node.module}.{alias.name}"
            self.origin[alias.asname or alias.name] = dotted
            self._use(node, node.module if alias.name == "*" else dotted)

    # -- uses

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self._resolve(node)
        if dotted is not None and _banned_prefix(dotted):
            self._use(node, dotted)
        elif node.attr in _CLOCK_METHODS and self._is_clock_class(node.value):
            self._report(node, f"{ast.unparse(node)}: time is a port, take it from the clock")
        if isinstance(node.value, ast.Name | ast.Attribute) and ast.unparse(node.value).endswith("func"):
            self._sql_function(node)
        self.generic_visit(node)

    def _is_clock_class(self, node: ast.expr) -> bool:
        # Reached without an import of ours: `some_module.datetime.now()`.
        return isinstance(node, ast.Attribute) and node.attr in _CLASSES_WITH_A_CLOCK

    def visit_Assign(self, node: ast.Assign) -> None:
        # `clock = datetime`, and then `clock.now()`.
        dotted = self._resolve(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                if dotted is None:
                    self.origin.pop(target.id, None)
                else:
                    self.origin[target.id] = dotted
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = self._resolve(node.func) or (node.func.id if isinstance(node.func, ast.Name) else "")
        if name in {"importlib.import_module", "__import__"} and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                self._use(node, first.value)
        if name in _RETRIES and not any(keyword.arg == "sleep" for keyword in node.keywords):
            self._report(node, f"{name} without sleep= really waits; pass the clock's sleep")
        self.generic_visit(node)

    # -- SQL

    def _sql_function(self, node: ast.Attribute) -> None:
        name = node.attr.lower()
        if (name in _SQL_FUNCTIONS or name in _SQL_WORDS) and not self._excused(node.lineno):
            self._report(node, f"func.{node.attr} is the database's own; use the settable SQL function")

    def _excused(self, line: int) -> bool:
        return bool(_EXCUSE.search(self.lines[line - 1])) if 0 < line <= len(self.lines) else False

    def _note_docstring(self, node: ast.AST) -> None:
        body = getattr(node, "body", None)
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            self.docstrings.add(id(body[0].value))

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            self._note_docstring(node)
        super().visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str) or id(node) in self.docstrings:
            return
        if not _READS_LIKE_SQL.search(node.value):
            return
        # A string over several lines shows the same lines in the source; one that does not (escapes, joined
        # literals) is reported where it begins.
        several = node.end_lineno is not None and node.end_lineno - node.lineno == node.value.count("\n")
        for match in _SQL_CLOCK.finditer(node.value):
            line = node.lineno + (node.value[: match.start()].count("\n") if several else 0)
            if not self._excused(line):
                self.findings.add(Finding(self.path, line, _sql_message(match)))


def _sql_message(match: re.Match[str]) -> str:
    name = match["function"] or match["word"]
    return f"SQL uses its own {name.lower()}; time, ids and randomness in SQL come from the settable function"


def check_source(path: str, source: str) -> list[Finding]:
    """The findings in one file; `path` is relative to the repository and decides what is allowed."""
    lines = source.splitlines()
    if path.endswith(".sql"):
        return sorted(
            Finding(path, number, _sql_message(match))
            for number, line in enumerate(lines, start=1)
            for match in _SQL_CLOCK.finditer(line)
            if not _EXCUSE.search(line)
        )
    checker = _Checker(path, lines)
    checker.visit(ast.parse(source, filename=path))
    return sorted(checker.findings)


def _files(root: Path) -> Iterator[Path]:
    for folder in SCANNED:
        for suffix in ("*.py", "*.sql"):
            yield from sorted((root / folder).rglob(suffix))


def main(root: Path = ROOT) -> int:
    """Print every finding; 0 when there is none."""
    findings: list[Finding] = []
    count = 0
    for file in _files(root):
        count += 1
        findings += check_source(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
    for finding in findings:
        print(finding)
    print(f"{count} files, {len(findings)} direct uses of what is a port")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
