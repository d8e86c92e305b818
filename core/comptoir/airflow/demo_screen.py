"""What a person reads of the demo: a line per step with its seconds, and the summary's tables."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from comptoir.airflow.demo_checks import Check

__all__ = ["Said", "Screen"]

#: Without a terminal nothing is known of who reads: a run id and its neighbours fit into this.
_WIDTH: Final = 120
_COUNTS: Final = ("considered", "unchanged", "changed", "skipped", "quarantined", "delivered", "rejected")


class Said:
    """What a step has to say once it is done."""

    text = ""


class Screen:
    """Standard output, or standard error when standard output is for JSON."""

    def __init__(self, *, as_json: bool = False) -> None:
        stream = sys.stderr if as_json else sys.stdout
        if hasattr(stream, "reconfigure"):
            # A terminal without accents must not end the demo.
            stream.reconfigure(errors="replace")
        self._console = Console(stderr=as_json, highlight=False, emoji=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = _WIDTH
        self._as_json = as_json
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._begun

    def line(self, text: str = "") -> None:
        """A line as it is."""
        self._console.print(text, markup=False)
        self._console.file.flush()

    def problem(self, text: str, hint: str | None = None) -> None:
        """What went wrong, and what can be done."""
        self._console.print(text, style="bold red", markup=False)
        if hint:
            self._console.print(hint, markup=False)

    @contextmanager
    def step(self, doing: str) -> Iterator[Said]:
        """A step of the demo. A terminal shows that it is under way; what stays is one line with its seconds."""
        said, begun = Said(), time.monotonic()
        with self._console.status(doing) if self._console.is_terminal else nullcontext():
            yield said
        self.line(f"{time.monotonic() - begun:7.1f} s  {said.text or doing}")

    def checks(self, checks: Sequence[Check]) -> None:
        """Every check with ok or FAILED and its figures."""
        grid = _table("check", "", "figures")
        for check in checks:
            grid.add_row(check.name, "ok" if check.ok else "FAILED", check.figures)
        self._show(grid)

    def runs(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """The runs as Airflow tells them."""
        grid = _table("dag", "run", "type", "state", "seconds")
        for run in runs:
            grid.add_row(run["dag"], run["run_id"], run["type"], run["state"], f"{run['seconds']:.1f}")
        self._show(grid)

    def counts(self, routes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """What the routes did, over all of their runs."""
        grid = _table("route", "entity", *_COUNTS)
        for route, entities in routes.items():
            for entity, counts in entities.items():
                grid.add_row(route, entity, *(str(counts.get(name, 0)) for name in _COUNTS))
        self._show(grid)

    def document(self, value: Any) -> None:
        """The machine's form of the summary, alone on standard output."""
        if self._as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
            sys.stdout.flush()

    def _show(self, grid: Table) -> None:
        self._console.print(grid, markup=False)


def _table(*columns: str) -> Table:
    grid = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid
