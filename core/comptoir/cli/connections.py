"""`comptoir connection ...`: which connections are paused, pausing one and going on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["connection_app"]

connection_app = typer.Typer(
    help="Connections: which are paused and why, what they may still be asked, what waits.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The connection's name in comptoir.toml.")]


@connection_app.command("list")
def connection_list(as_json: JsonFlag = False) -> None:
    """State, budget of calls and waiting work of every connection."""
    from comptoir.app.connections import list_connections

    found = list_connections(STATE.config)
    if as_json:
        print_json(found)
        return
    table(
        ["connection", "state", "calls left", "blocked until", "waiting", "why"],
        [
            (c["connection"], c["state"], _calls(c), c["blocked_until"] or "-", c["waiting"], _why(c) or "-")
            for c in found
        ],
    )
    for connection in found:
        if connection["state"] == "paused":
            name = connection["connection"]
            say(f"{name}: comptoir check {name}, or: comptoir connection resume {name}")


def _calls(connection: dict[str, Any]) -> str:
    if connection["calls_per_minute"] is None:
        return "no bound"
    return f"{connection['calls_left']} of {connection['burst']}, {connection['calls_per_minute']:g} a minute"


def _why(connection: dict[str, Any]) -> str:
    if connection["state"] != "paused":
        return ""
    return f"since {connection['since']} by {connection['by_whom']}: {connection['reason']}"


@connection_app.command("pause")
def connection_pause(
    name: Name, because: Annotated[str, typer.Option("--because", help="Why, for everybody who waits for it.")]
) -> None:
    """Ask nothing more of a connection until it is resumed; what comes for it waits."""
    from comptoir.app.connections import pause

    say(pause(STATE.config, name, because))


@connection_app.command("resume")
def connection_resume(name: Name) -> None:
    """Use a paused connection again."""
    from comptoir.app.connections import resume

    say(resume(STATE.config, name))


@connection_app.command("cursors")
def connection_cursors(
    name: Name,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure it anew: makes test objects at the remote and removes them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before test objects are made.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show how each entity is read, and which changes move its modified date: does the cursor lie?"""
    from comptoir.app.measures import cursors, measure_cursors

    if measure and not yes:
        typer.confirm(
            f"Test objects (a hidden product, orders, a customer) are made on {name} and removed again; a shop may "
            "write its usual mails about them. Go on?",
            abort=True,
            err=True,
        )
    found = measure_cursors(STATE.config, name) if measure else cursors(STATE.config, name)
    if as_json:
        print_json(found)
        return
    table(
        ["entity", "read", "overlap", "because"],
        [(e["entity"], e["way"], f"{e['overlap_seconds']} s", e["because"]) for e in found["entities"]],
    )
    if not found["measures"]:
        say(f"Nothing was measured yet: comptoir connection cursors {name} --measure")
        return
    words = {True: "yes", False: "no", None: "-"}
    table(
        ["entity", "change", "moves the date", "listed since", "note"],
        [
            (m["entity"], m["change"] + ("" if m["decides"] else " (for information)"), words[m["moves"]],
             words[m["listed"]], m["note"])
            for m in found["measures"]
        ],
    )  # fmt: skip
