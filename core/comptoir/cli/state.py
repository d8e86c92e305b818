"""What every command shares: the configuration's path and the --json flag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comptoir.cli.output import OUTPUT

__all__ = ["STATE", "JsonFlag"]


class _State:
    config = Path("comptoir.toml")


STATE = _State()


def _json(value: bool) -> bool:
    OUTPUT.json = OUTPUT.json or value
    return value


JsonFlag = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output.", callback=_json),
]
