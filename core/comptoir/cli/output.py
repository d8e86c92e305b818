"""What people and scripts read: tables, JSON, errors. JSON goes alone to standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from comptoir.errors import ComptoirError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["OUTPUT", "err", "out", "print_json", "say", "show_error", "table"]

#: A pipe has no width; a table in it must not be folded for a screen that is not there.
_PIPE_WIDTH = 200


@cache
def out() -> Console:
    """Standard output. What draws on it is loaded when there is something to draw: a script reads JSON."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


@cache
def err() -> Console:
    """Standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


class _Output:
    """Whether the running command was asked for JSON."""

    json = False


OUTPUT = _Output()


def say(text: str) -> None:
    """A sentence for the person at the terminal; never on standard output, which may be piped."""
    err().print(text, markup=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """A table on standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*("" if cell is None else str(cell) for cell in row))
    out().print(grid, markup=False)


def show_error(error: ComptoirError) -> None:
    """The error on standard error; also as JSON on standard output when JSON was asked for."""
    if OUTPUT.json:
        print_json(
            {
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "hint": error.hint,
                    "connection": error.connection,
                    "record": error.record,
                    "field": error.field,
                }
            }
        )
    err().print(f"error: {error.message}", style="bold red", markup=False)
    if error.hint:
        err().print(f"  {error.hint}", markup=False)
