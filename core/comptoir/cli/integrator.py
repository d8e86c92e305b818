"""`comptoir promote`, `handover`, `support-bundle`: the integrator's life around an installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["bundle_app", "handover", "promote"]

bundle_app = typer.Typer(
    help="A file for support: what went wrong, replayable elsewhere, without personal data.", no_args_is_help=True
)


def promote(
    folder: Annotated[Path, typer.Argument(help="The folder of the production installation.")],
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would change.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also what was changed there by hand.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Carry configuration and mappings from staging to production: never credentials, bindings or cursors."""
    from comptoir.app.promote import promote as run
    from comptoir.app.system import SystemClock

    done = run(STATE.config, folder, SystemClock(), plan=plan, overwrite=overwrite)
    if as_json:
        print_json(
            {
                "done": done.done,
                "kept_in": done.kept_in,
                "credentials": done.credentials,
                "steps": [{"path": s.path, "action": s.action, "difference": list(s.difference)} for s in done.steps],
            }
        )
        return
    for step in done.steps:
        typer.echo(f"{step.action} {step.path}")
        for line in step.difference:
            typer.echo(f"  {line}")
    if not done.steps:
        say(f"{folder} is as staging is: nothing to carry over.")
        return
    if not done.done:
        say(f"{len(done.steps)} files would change. Carry them over: comptoir promote {folder}")
        return
    say(f"{len(done.steps)} files were carried over to {folder}.")
    if done.kept_in:
        say(f"What they replaced is kept in {done.kept_in}.")
    say(f"Production needs credentials of its own: {', '.join(done.credentials)}. Then there: comptoir check")


def handover(as_json: JsonFlag = False) -> None:
    """Print what the next person has to know: authorities, routes, overrides, ends of secrets, what waits."""
    from comptoir.app.handover import handover as collect

    found = collect(STATE.config)
    if as_json:
        print_json(found)
        return
    company = found["company"]
    typer.echo(f"{company['name']} ({company['country']}), {found['stage']}, Comptoir {found['version']}")
    typer.echo(f"Configuration: {found['configuration']}   Data: {found['data']}")
    table(
        ["connection", "system", "connector", "credentials", "secret ends", "cutover", "invoicing", ""],
        [_connection(c) for c in found["connections"]],
        title="Connections",
    )
    table(["what", "owner", "where"], [(a["what"], a["owner"], a["where"]) for a in found["authorities"]],
          title="Who owns what")  # fmt: skip
    table(
        ["route", "entities", "from", "to", "schedule", "woken by", "last run"],
        [
            (r["route"], ", ".join(r["entities"]), ", ".join(r["from"]), ", ".join(r["to"]), r["schedule"],
             ", ".join(r["triggers"]), r["last_run"] or "never")
            for r in found["routes"]
        ],
        title="Routes",
    )  # fmt: skip
    if found["overrides"]:
        table(["mapping", "file", "hash"], [(o["mapping"], o["file"], o["hash"]) for o in found["overrides"]],
              title="The merchant's own mappings")  # fmt: skip
    if found["trial_imports"]:
        table(["connection", "writes", "layout", "trial import"],
              [(t["connection"], t["writes"], t["layout"], t["what"]) for t in found["trial_imports"]],
              title="Files that a program imports")  # fmt: skip
    if found["records_that_wait"]:
        say(f"{found['records_that_wait']} records wait for a person: comptoir quarantine list")


def _connection(c: dict[str, Any]) -> tuple[Any, ...]:
    ends = "not said" if c["secret_expires_on"] is None else f"{c['secret_expires_on']} ({c['days_left']} days)"
    api = f"{c['connector']}" + (f", API until {c['api_version_ends']}" if c["api_version_ends"] else "")
    found = c["credentials"] if c["credentials_found"] else "none found"
    return (
        c["connection"],
        c["system"],
        api,
        found,
        ends,
        c["cutover"],
        c["invoicing"],
        "paused" if c["paused"] else "",
    )


@bundle_app.command("make")
def bundle_make(
    out: Annotated[Path, typer.Argument(help="The file to write, a .zip.")],
    record: Annotated[
        list[str] | None, typer.Option("--record", help="CONNECTION:ENTITY:ID; all that wait when left out.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what support needs: configuration, mappings, runs, and the records that wait, with invented names."""
    from comptoir.app.bundle import make_bundle

    found = make_bundle(STATE.config, out, record or [])
    if as_json:
        print_json(found)
        return
    say(
        f"Wrote {out}: {found['records']} records, {found['same_outcome']} of them fail (or pass) as the originals do, "
        f"{found['runs']} runs, {found['texts']} texts. Look into it before you send it; it holds no credentials."
    )


@bundle_app.command("replay")
def bundle_replay(
    file: Annotated[Path, typer.Argument(help="A bundle.")],
    as_json: JsonFlag = False,
) -> None:
    """Map the records of a bundle again, by its own mappings: does here happen what happened there?

    Exit code 6 when one comes out otherwise.
    """
    from comptoir.app.bundle import replay_bundle

    found = replay_bundle(file)
    if as_json:
        print_json(found)
    else:
        table(
            ["record", "there", "here"],
            [(f["record"], f["expected"] or "mapped", f["got"] or "mapped") for f in found],
        )
    if any(not f["same"] for f in found):
        raise typer.Exit(6)
