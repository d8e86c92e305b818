"""Finds direct use of what is a port: clock, ids, randomness, sleep, concurrency, HTTP transport.

Used by `comptoir check-connector` on anybody's connector, and by tools/lint_ports.py on this repository. It does what
ruff's banned-api cannot:

* an exempted file gets the names that it needs and no others; ruff can only switch the rule off for a file;
* SQL has a clock and randomness of its own (`now()`, `random()` ...), in strings and as `func.now()`;
* `importlib.import_module("random")` and `__import__("random")` are imports too;
* a tenacity retry without `sleep=` would really wait, and `alias = datetime` then `alias.now()` really looks.

A line of SQL may be excused by a comment with a reason, on that line: `-- ports: why` or `# ports: why`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BANNED", "IN_A_SANDBOX", "Finding", "check_source"]

#: Dotted name -> what to use instead. A test compares it with the table in pyproject.toml that ruff reads.
BANNED: dict[str, str] = {
    "time.time": "Time is a port: take it from ctx.clock (Clock.now()).",
    "time.time_ns": "Time is a port: take it from ctx.clock (Clock.now()).",
    "time.localtime": "Time is a port: take it from ctx.clock (Clock.now()).",
    "time.gmtime": "Time is a port: take it from ctx.clock (Clock.now()).",
    "time.monotonic": "Time is a port: use the clock's monotonic reading.",
    "time.monotonic_ns": "Time is a port: use the clock's monotonic reading.",
    "time.perf_counter": "Time is a port: use the clock's monotonic reading.",
    "time.perf_counter_ns": "Time is a port: use the clock's monotonic reading.",
    "time.sleep": "Waiting is a port: use the clock's sleep, which the simulation can skip.",
    "datetime.datetime.now": "Time is a port: take it from ctx.clock (Clock.now()).",
    "datetime.datetime.utcnow": "Time is a port, and utcnow() is naive: take Clock.now().",
    "datetime.datetime.today": "Time is a port, and today() is naive: take Clock.now().",
    "datetime.date.today": "Time is a port: derive the date from Clock.now() in the merchant's time zone.",
    "uuid.uuid1": "Identifiers are a port: use Ids.",
    "uuid.uuid4": "Identifiers are a port: use Ids.",
    "uuid.uuid6": "Identifiers are a port: use Ids.",
    "uuid.uuid7": "Identifiers are a port: use Ids.",
    "random": "Randomness is a port: a seed must replay the run. Use the randomness port.",
    "secrets.token_bytes": "Randomness is a port: use the randomness port.",
    "secrets.token_hex": "Randomness is a port: use the randomness port.",
    "secrets.token_urlsafe": "Randomness is a port: use the randomness port.",
    "secrets.choice": "Randomness is a port: use the randomness port.",
    "secrets.randbelow": "Randomness is a port: use the randomness port.",
    "secrets.randbits": "Randomness is a port: use the randomness port.",
    "secrets.SystemRandom": "Randomness is a port: use the randomness port.",
    "os.urandom": "Randomness is a port: use the randomness port.",
    "os.getrandom": "Randomness is a port: use the randomness port.",
    "threading": "Concurrency is a port: use Tasks, so that the simulation can interleave workers in one thread.",
    "_thread": "Concurrency is a port: use Tasks.",
    "concurrent.futures": "Concurrency is a port: use Tasks (a bounded window, ordered and restartable).",
    "multiprocessing": "Concurrency is a port: use Tasks.",
    "asyncio": "Concurrency is a port: use Tasks. Only comptoir/airflow and servers speak asyncio.",
    "requests": "HTTP goes through ctx.http (rate limits, error table, fault injection), never around it.",
    "urllib3": "HTTP goes through ctx.http (rate limits, error table, fault injection), never around it.",
    "urllib.request": "HTTP goes through ctx.http (rate limits, error table, fault injection), never around it.",
    "http.client": "HTTP goes through ctx.http (rate limits, error table, fault injection), never around it.",
    "httpx": "HTTP goes through ctx.http (rate limits, error table, fault injection), never around it.",
    "aiohttp": "HTTP goes through ctx.http (rate limits, error table, fault injection), never around it.",
    "socket": "The network is a port: use the transport.",
}

#: What a sandbox.py may use directly: a thin server around handle() with a clock of its own, and a thin sender of what
#: the platform posts. handle() itself takes the clock that it is given.
IN_A_SANDBOX = frozenset(
    ("threading", "socket", "asyncio", "time.sleep", "time.monotonic", "datetime.datetime.now", "http.client")
)

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


def _banned_prefix(dotted: str, banned: Mapping[str, str]) -> str | None:
    """The banned name that `dotted` is, or lies below: `random.Random` lies below `random`."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        candidate = ".".join(parts[:length])
        if candidate in banned:
            return candidate
    return None


class _Checker(ast.NodeVisitor):
    def __init__(self, path: str, lines: list[str], banned: Mapping[str, str], allowed: frozenset[str]) -> None:
        self.path = path
        self.lines = lines
        self.banned = banned
        self.allowed = allowed
        self.origin: dict[str, str] = {}  # local name -> dotted name it stands for
        self.docstrings: set[int] = set()
        self.findings: set[Finding] = set()

    # -- reporting

    def _report(self, node: ast.AST, message: str) -> None:
        self.findings.add(Finding(self.path, getattr(node, "lineno", 1), message))

    def _use(self, node: ast.AST, dotted: str) -> None:
        banned = _banned_prefix(dotted, self.banned)
        if banned is not None and banned not in self.allowed:
            self._report(node, f"{dotted}: {self.banned[banned]}")

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
        if dotted is not None and _banned_prefix(dotted, self.banned):
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


def check_source(
    path: str, source: str, *, banned: Mapping[str, str] | None = None, allowed: frozenset[str] = frozenset()
) -> list[Finding]:
    """The findings in one file of Python, or of SQL by the end of its name. SyntaxError when it is no Python."""
    lines = source.splitlines()
    if path.endswith(".sql"):
        return sorted(
            Finding(path, number, _sql_message(match))
            for number, line in enumerate(lines, start=1)
            for match in _SQL_CLOCK.finditer(line)
            if not _EXCUSE.search(line)
        )
    checker = _Checker(path, lines, BANNED if banned is None else banned, allowed)
    checker.visit(ast.parse(source, filename=path))
    return sorted(checker.findings)
