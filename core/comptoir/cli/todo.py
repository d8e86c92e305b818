"""`comptoir todo`: what waits for a person."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["todo"]


def todo(
    mail: Annotated[
        bool, typer.Option("--mail", help="Mail it to `mail_to` of `alerts` when something urgent is new on it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what waits for a person, with its euros: forgotten imports, parked records, approvals, ends of secrets."""
    from comptoir.app.todo import notify
    from comptoir.app.todo import todo as collect

    found = notify(STATE.config) if mail else collect(STATE.config)
    if as_json:
        print_json([asdict(item) for item in found])
        return
    if not found:
        say("Nothing new to tell." if mail else "Nothing waits for a person.")
        return
    if mail:
        say(f"Mailed: {len(found)} things to do.")
        return
    table(
        ["", "what", "since", "amount", "do"],
        [("!" if i.urgent else "", i.what, f"{i.since:%Y-%m-%d}" if i.since else "", i.amount, i.do) for i in found],
    )
