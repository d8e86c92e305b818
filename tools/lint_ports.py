"""Check that clock, ids, randomness, sleep, concurrency and HTTP transport are used through their ports.

Determinism cannot be added later (docs/adr/0004), so this runs in `make check` beside ruff's banned-api,
which reads the same table and warns in the editor. How direct uses are found: `comptoir.app.connector_check.ports`,
which `comptoir check-connector` uses too; here is what each file of this repository may use, and why.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from comptoir.app.connector_check import ports
from comptoir.app.connector_check.ports import IN_A_SANDBOX, Finding

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
    "core/comptoir/store/_pg_*.py": _allow(*_WAITING, because="the same: its locks, and its start"),
    "core/comptoir/store/_postmaster.py": _allow(
        *_WAITING, "time.gmtime", because="watches PostgreSQL's processes from a process of its own"
    ),
    "core/comptoir/airflow/**": _allow("asyncio", "threading", *_WAITING, because="Airflow's triggers are asyncio"),
    "core/comptoir/console/gateway.py": _allow(
        "asyncio", because="an ASGI application; what it does with a request is synchronous and takes its ports"
    ),
    "core/comptoir/console/agents.py": _allow("asyncio", because="the same application's door for agents"),
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
        *IN_A_SANDBOX,
        because="a thin server around handle() with a clock of its own, and a thin sender of what the platform posts; "
        "handle() itself takes the clock it is given",
    ),
}


def _allowed_names(path: str) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    for pattern, allowance in ALLOWED.items():
        if fnmatch(path, pattern):
            names |= allowance.names
    return names


def check_source(path: str, source: str) -> list[Finding]:
    """The findings in one file; `path` is relative to the repository and decides what is allowed."""
    return ports.check_source(path, source, banned=BANNED, allowed=_allowed_names(path))


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
