"""`comptoir map ...`: mappings are checked, tried on records, and compared with what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["map_app"]

map_app = typer.Typer(
    help="Mappings: check, preview, test on golden records, compare versions, list what is unmapped.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="For instance woocommerce.order.in")]


@map_app.command("check")
def map_check(
    mapping: Annotated[str | None, typer.Argument(help="One mapping, or a platform; all when left out.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compile every mapping; name file and line of each fault."""
    from comptoir.app.mappings import check_all

    found = check_all(STATE.config, mapping)
    if as_json:
        print_json(found)
    else:
        table(["mapping", "", "hash"], [(f["mapping"], f["error"] or "ok", f["hash"]) for f in found])
    if not found:
        say(f"There is no mapping {mapping}.")
    if not found or any(f["error"] for f in found):
        raise typer.Exit(2)


@map_app.command("preview")
def map_preview(
    mapping: Annotated[str, typer.Argument(help="For instance woocommerce.order.in")],
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A platform record as JSON.")] = None,
    record: Annotated[str | None, typer.Option(help="CONNECTION:EXTERNAL_ID of a stored raw record.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the generated Python instead.")] = False,
) -> None:
    """Show what a mapping makes of a record."""
    from comptoir.app.mappings import preview

    shown = preview(STATE.config, mapping, file=file, record=record, source=source)
    if isinstance(shown, str):
        typer.echo(shown)
    else:
        print_json(shown)


@map_app.command("test")
def map_test(
    mapping: Annotated[str | None, typer.Argument(help="One mapping, or a platform; all when left out.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Make each .out.json that is missing of what the mapping gives: read it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the golden records."""
    from comptoir.app.mappings import test_golden

    found = test_golden(STATE.config, mapping, write=write)
    if as_json:
        print_json(found)
    else:
        table(["mapping", "case", ""], [(f["mapping"], f["case"], f["difference"] or "ok") for f in found])
    failed = [f for f in found if f["difference"]]
    if not found:
        say("There are no golden records for this.")
        raise typer.Exit(2)
    say(f"{len(found) - len(failed)} of {len(found)} golden records agree.")
    if failed:
        raise typer.Exit(6)


@map_app.command("versions")
def map_versions(mapping: Name, as_json: JsonFlag = False) -> None:
    """List the texts of a mapping that records were mapped by."""
    from comptoir.app.mappings import versions

    found = versions(STATE.config, mapping)
    if as_json:
        print_json(found)
        return
    table(
        ["hash", "first used", ""],
        [(f["hash"], f["first_used"], "in the files" if f["current"] else "") for f in found],
    )
    if not any(f["current"] for f in found):
        say(f"The text in the files was not used yet. What it would change: comptoir map diff {mapping}")


@map_app.command("diff")
def map_diff(
    mapping: Name,
    since: Annotated[str | None, typer.Option(help="The beginning of an older version's hash.")] = None,
    connection: Annotated[str | None, typer.Option(help="Only this connection's records.")] = None,
    limit: Annotated[int, typer.Option(help="How many of the newest records.", min=1, max=100_000)] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Map stored records by the files and by the version they were mapped by; show what differs.

    Exit code 6 when a record that was mapped would not be any more.
    """
    from comptoir.app.mappings import difference

    found = difference(STATE.config, mapping, since=since, connection=connection, limit=limit)
    if as_json:
        print_json(found)
    else:
        rows = [
            (c["connection"], record["external_id"], change["field"], change["before"], change["after"])
            for c in found["connections"]
            for record in c["records"]
            for change in record["fields"]
            or [{"field": "", "before": record["before"] or "mapped", "after": record["after"] or "mapped"}]
        ]
        if rows:
            table(["connection", "record", "field", "before", "after"], rows)
        for c in found["connections"]:
            say(
                f"{c['connection']}: {c['considered']} records tried, {c['same']} as before, {c['different']} differ, "
                f"{c['broken']} would not be mapped any more."
            )
    if any(c["broken"] for c in found["connections"]):
        raise typer.Exit(6)


@map_app.command("accept")
def map_accept(mapping: Name) -> None:
    """Use a changed mapping although records that were mapped would be parked by it."""
    from comptoir.app.mappings import accept

    names = accept(STATE.config, mapping)
    say(f"{mapping} is used from now on for {', '.join(names) or 'no connection: none is of this platform'}.")


@map_app.command("apply")
def map_apply(
    mapping: Name,
    connection: Annotated[str | None, typer.Option(help="Only this connection's records.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Map the records that are stored already by the text in the files, from what was received then.

    What it would change: comptoir map diff. What differs goes out with the next run, as a change at the source would.
    """
    from comptoir.app.mappings import apply

    found = apply(STATE.config, mapping, connection=connection)
    if as_json:
        print_json(found)
        return
    for c in found:
        say(f"{c['connection']}: {c['again']} stored records were mapped by the text in the files now.")
        if c["parked"]:
            say(f"{c['parked']} could not be mapped and wait: comptoir quarantine list")
        if c["dropped"]:
            say(
                f"{c['dropped']} stay as they are: what was received of them is not kept any more. "
                "They are mapped again when they change at the source."
            )


@map_app.command("unmapped")
def map_unmapped(as_json: JsonFlag = False) -> None:
    """List values that no table of a mapping has, with the records that wait for them."""
    from comptoir.app.mappings import unmapped

    found = unmapped(STATE.config)
    if as_json:
        print_json(found)
        return
    if not found:
        say("Nothing waits: every value was in its table.")
        return
    table(
        ["connection", "entity", "what", "records", "for instance", "add it to"],
        [
            (f["connection"], f["entity"], f["message"], f["records"], ", ".join(f["for_instance"]), f["file"])
            for f in found
        ],
    )
    say(
        "Add the value to the table (a file of the same name beside comptoir.toml, with `extends: true`), "
        "then: comptoir quarantine retry --all"
    )
