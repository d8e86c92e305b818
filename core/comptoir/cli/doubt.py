"""`comptoir doubt`: a person says whether a write arrived."""

from __future__ import annotations

from typing import Annotated

import typer

from comptoir.cli.output import say
from comptoir.cli.state import STATE

__all__ = ["doubt"]


def doubt(
    reference: Annotated[str, typer.Argument(help="The record's number, or the end of its id in the quarantine.")],
    arrived: Annotated[
        bool | None, typer.Option("--arrived/--not-arrived", help="Whether the target has it. Look there first.")
    ] = None,
    number: Annotated[str | None, typer.Option("--as", help="The target's own number of it, if it has one.")] = None,
) -> None:
    """Say whether a write arrived whose answer was lost, where the target cannot be asked: it is sent again, or not."""
    from comptoir.app.doubt import decide_doubt

    if arrived is None:
        raise typer.BadParameter("look at the target first, then say --arrived or --not-arrived")
    if number is not None and not arrived:
        raise typer.BadParameter("what has not arrived has no number there", param_hint="--as")
    say(decide_doubt(STATE.config, reference, arrived=arrived, number=number))
