"""`comptoir trial ...`: which files a program was seen to import, before production relies on it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["trial_app"]

trial_app = typer.Typer(
    help="Trial imports into a copied folder: which layouts a program was seen to take.", no_args_is_help=True
)
Who = Annotated[str | None, typer.Option("--by", help="Who saw it; you when left out.")]


@trial_app.command("list")
def trial_list(as_json: JsonFlag = False) -> None:
    """The layouts in which files are written, and whether somebody has seen each of them imported."""
    from comptoir.app.trial_imports import list_trials

    found = list_trials(STATE.config)
    if as_json:
        print_json(
            [
                {
                    "connection": s.connection,
                    "writes": s.layout.writes,
                    "layout": s.layout.source,
                    "product": s.layout.product,
                    "digest": s.layout.digest,
                    "state": s.state,
                    "what": s.words,
                    "asked": s.asked,
                }
                for s in found
            ]
        )
        return
    table(
        ["connection", "writes", "layout", "of", "trial import"],
        [(s.connection, s.layout.writes, s.layout.source, s.layout.product, s.words) for s in found],
    )
    if hint := next((s.hint for s in found if s.asked), None):
        say(hint)


@trial_app.command("record")
def trial_record(
    batch: Annotated[str, typer.Argument(help="The end of a batch's id, or the name of its file.")],
    product: Annotated[str, typer.Option("--product", help='What imported it, as "EBP Gestion PRO".')],
    version: Annotated[str, typer.Option("--version", help="Its version, as the program shows it.")],
    by: Who = None,
    on: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="The day; today when left out.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What was seen: numbers, remarks.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Keep that a program has taken this batch's file in a copy of the merchant's folder."""
    from comptoir.app.trial_imports import record

    kept = record(STATE.config, batch, product=product, version=version, by=by, on=on.date() if on else None, note=note)
    if as_json:
        print_json(kept.model_dump(mode="json"))
        return
    say(
        f"Kept: {kept.writes} of {kept.connection} ({kept.source}) were imported into {kept.product} {kept.version} "
        f"on {kept.on}, seen by {kept.by}."
    )


@trial_app.command("waive")
def trial_waive(
    connection: Annotated[str, typer.Argument(help="The connection.")],
    because: Annotated[str, typer.Option("--because", help="Why: it is kept with your name.")],
    by: Who = None,
    as_json: JsonFlag = False,
) -> None:
    """Go without the trial imports that a connection still owes; a later recorded import takes the waiver's place."""
    from comptoir.app.trial_imports import waive

    kept = waive(STATE.config, connection, because=because, by=by)
    if as_json:
        print_json([k.model_dump(mode="json") for k in kept])
        return
    for one in kept:
        say(f"Kept: {one.writes} of {connection} ({one.source}) go without a trial import: {one.because}")
