"""The commands. Each is a few lines over a use case of `comptoir.app`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comptoir.cli.agents import agent_app
from comptoir.cli.batches import batch_app, books_app
from comptoir.cli.check_connector import check_connector
from comptoir.cli.connections import connection_app
from comptoir.cli.connectors import new_connector
from comptoir.cli.doubt import doubt
from comptoir.cli.gateway import gateway, webhooks
from comptoir.cli.integrator import bundle_app, handover, promote
from comptoir.cli.links import match_app, plan
from comptoir.cli.mappings import map_app
from comptoir.cli.output import print_json, say, table
from comptoir.cli.proof import proof
from comptoir.cli.simulate import simulate
from comptoir.cli.state import STATE, JsonFlag
from comptoir.cli.todo import todo
from comptoir.cli.trials import trial_app

if TYPE_CHECKING:
    from rich.progress import Progress

    from comptoir.engine.counts import RunReport

app = typer.Typer(
    help="Comptoir keeps shops, tills, suppliers, back office and books in step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 2 configuration, 3 credentials, 4 remote unreachable, 5 database or disk, "
    "6 record refused, 7 contract broken.",
)
quarantine_app = typer.Typer(help="Records that need a person: look, mend, retry.", no_args_is_help=True)
db_app = typer.Typer(help="Comptoir's database.", no_args_is_help=True)
#: The parts of `comptoir --help`, in the order of their first command.
_DAILY, _TROUBLE, _BOOKS = "Every day", "When something is wrong", "Hand-over and books"
_SETUP, _INTEGRATION = "Installation", "Integrators and connector authors"

app.command("plan", rich_help_panel=_DAILY)(plan)
app.command("todo", rich_help_panel=_DAILY)(todo)
app.add_typer(match_app, name="match", rich_help_panel=_DAILY)
app.add_typer(quarantine_app, name="quarantine", rich_help_panel=_TROUBLE)
app.command("doubt", rich_help_panel=_TROUBLE)(doubt)
app.add_typer(connection_app, name="connection", rich_help_panel=_TROUBLE)
app.command("webhooks", rich_help_panel=_TROUBLE)(webhooks)
app.add_typer(bundle_app, name="support-bundle", rich_help_panel=_TROUBLE)
app.add_typer(batch_app, name="batch", rich_help_panel=_BOOKS)
app.add_typer(trial_app, name="trial", rich_help_panel=_BOOKS)
app.add_typer(agent_app, name="agent", rich_help_panel=_BOOKS)
app.add_typer(books_app, name="books", rich_help_panel=_BOOKS)
app.command("proof", rich_help_panel=_BOOKS)(proof)
app.command("gateway", rich_help_panel=_SETUP)(gateway)
app.command("promote", rich_help_panel=_SETUP)(promote)
app.command("handover", rich_help_panel=_SETUP)(handover)
app.add_typer(db_app, name="db", rich_help_panel=_SETUP)
app.add_typer(map_app, name="map", rich_help_panel=_INTEGRATION)
app.command("new-connector", rich_help_panel=_INTEGRATION)(new_connector)
app.command("check-connector", rich_help_panel=_INTEGRATION)(check_connector)
app.command("simulate", rich_help_panel=_INTEGRATION)(simulate)


@app.callback()
def _options(
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="COMPTOIR_CONFIG", help="The configuration file.")
    ] = Path("comptoir.toml"),
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say every request and step.")] = False,
) -> None:
    import logging

    STATE.config = config
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


# -- setting up --------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=_SETUP)
def init(
    folder: Annotated[Path, typer.Argument(help="Where the configuration goes.")] = Path(),
    force: Annotated[bool, typer.Option(help="Overwrite an existing comptoir.toml.")] = False,
) -> None:
    """Write a commented comptoir.toml to begin with."""
    from comptoir.app.init import write_example

    path = write_example(folder, overwrite=force)
    say(f"Wrote {path}. Next: put the shop's key into AIRFLOW_CONN_BOUTIQUE (see the file), then `comptoir check`.")


@app.command(rich_help_panel=_SETUP)
def check(
    connection: Annotated[str | None, typer.Argument(help="One connection; all when left out.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the configuration, and that each connection answers with these credentials. Writes nothing to any of
    them; one that was paused for refused credentials goes on when its check succeeds."""
    from comptoir.app.check import check_connections

    reports = check_connections(STATE.config, connection)
    if as_json:
        print_json(
            {
                name: [{"name": i.name, "ok": i.ok, "detail": i.detail, "hint": i.hint} for i in items]
                for name, items in reports.items()
            }
        )
    else:
        table(
            ["connection", "check", "", "detail"],
            [
                (
                    name,
                    item.name,
                    "ok" if item.ok else "FAILED",
                    item.detail + (f"\n{item.hint}" if item.hint else ""),
                )
                for name, items in reports.items()
                for item in items
            ],
        )
    failed = [item for items in reports.values() for item in items if not item.ok]
    if failed:
        say(f"{len(failed)} checks failed.")
        raise typer.Exit(max(item.exit_code for item in failed))


@app.command(rich_help_panel=_SETUP)
def connectors(as_json: JsonFlag = False) -> None:
    """List the connectors, installed or described beside comptoir.toml, and what each can do."""
    from comptoir.app.connectors import known, load_connector

    base = STATE.config.resolve().parent if STATE.config.is_file() else None
    origins = {key: one.origin for key, one in known(base).items()}
    found = [load_connector(key, base).manifest for key in origins]
    if as_json:
        print_json([{**m.model_dump(mode="json"), "origin": origins[m.key]} for m in found])
        return
    rows = [
        (
            m.key,
            m.name,
            m.kind,
            ", ".join(e.value for e, c in m.entities.items() if c.pull) or "-",
            ", ".join(e.value for e, c in m.entities.items() if c.push) or "-",
            origins[m.key],
        )
        for m in found
    ]
    table(["key", "name", "kind", "reads", "writes", "from"], rows)


@app.command(rich_help_panel=_DAILY)
def routes(as_json: JsonFlag = False) -> None:
    """List the configured routes with their last run."""
    from comptoir.app.overview import list_routes

    found = list_routes(STATE.config)
    if as_json:
        print_json(found)
        return
    table(
        ["route", "entity", "from", "to", "schedule", "last run", "state", "waiting"],
        [
            (
                r["route"],
                r["entity"],
                ", ".join(r["from"]),
                ", ".join(r["to"]) or "-",
                r["schedule"] or "-",
                r["last_run"] or "never",
                r["last_state"] or "-",
                r["waiting"],
            )
            for r in found
        ],
    )


# -- running -----------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=_DAILY)
def run(
    route: Annotated[str, typer.Argument(help="The route's name in comptoir.toml.")],
    since: Annotated[
        str | None, typer.Option(help="Read again from this moment: 2026-01-31 or 2026-01-31T08:00 (UTC).")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Decide, but send nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run one route: pull, map, plan, deliver; say what was considered and what came of it."""
    from comptoir.app.bootstrap import check_installation, open_installation
    from comptoir.app.run_route import require_route, run_route

    moment = _moment(since)
    installation = check_installation(STATE.config)
    require_route(installation.settings.routes, route)
    with open_installation(installation, log=say) as hub, _Progress() as progress:
        report = run_route(hub, route, since=moment, full=full, plan_only=plan, progress=progress.step)
    _show_report(report, as_json)


@app.command(rich_help_panel=_DAILY)
def deliver(
    route: Annotated[str | None, typer.Argument(help="One route; all when left out.")] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Release what waits for approval.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Deliver what is due, without pulling."""
    from comptoir.app.bootstrap import check_installation, open_installation
    from comptoir.app.run_route import deliver_route, require_route

    installation = check_installation(STATE.config)
    if route is not None:
        require_route(installation.settings.routes, route)
    with open_installation(installation, log=say) as hub:
        names = [route] if route else list(hub.routes)
        reports = [deliver_route(hub, name, approve=approve) for name in names]
    if as_json:
        shown = [r.as_dict() for r in reports]
        print_json(shown[0] if route else shown)
        return
    for report in reports:
        _show_report(report, as_json=False)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it as 2026-01-31 or 2026-01-31T08:00", param_hint="--since") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


_REFRESH_SECONDS = 0.1


class _Progress:
    """A line on standard error that counts what was read; silent when nobody looks."""

    def __enter__(self) -> _Progress:
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}
        if sys.stderr.isatty():
            from rich.progress import MofNCompleteColumn, Progress, TextColumn

            from comptoir.cli.output import err

            columns = TextColumn("{task.description}"), MofNCompleteColumn()
            # Refreshed by `step` and not by a thread: with one, no process can be forked to help.
            self._bar = Progress(
                *columns, console=err(), transient=True, disable=not err().is_terminal, auto_refresh=False
            )
            self._shown = 0.0
            self._bar.start()
        return self

    def step(self, label: str, count: int, total: int | None) -> None:
        """`count` more were read under this label, of `total` if the remote says."""
        if self._bar is None:
            return
        if label not in self._tasks:
            self._tasks[label] = self._bar.add_task(label, total=total)
        self._bar.update(self._tasks[label], advance=count, total=total)
        if self._bar.get_time() - self._shown > _REFRESH_SECONDS:
            self._bar.refresh()
            self._shown = self._bar.get_time()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _show_report(report: RunReport, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
        return
    columns = ["considered", "unchanged", "changed", "skipped", "quarantined", "delivered", "rejected"]
    table(
        ["entity", *columns],
        [(e.value, *(getattr(c, name) for name in columns)) for e, c in report.entities.items()],
        title=f"route {report.route}: {report.state.value} in {report.seconds:.1f} s (run {report.run_id})",
    )
    for entity, counts in report.entities.items():
        for reason, number in counts.reasons.items():
            say(f"{number} {entity.value} skipped: {reason}")
    for target, state in report.published.items():
        for reason, number in state.get("skipped", {}).items():
            say(f"{number} {'item is' if number == 1 else 'items are'} not published to {target}: {reason}")
    if report.waiting or report.in_doubt:
        say(f"{report.waiting} writes wait, {report.in_doubt} are in doubt and will be looked up.")
    if any(c.quarantined or c.rejected for c in report.entities.values()):
        say("Some records need a person: comptoir quarantine list")
    for note in report.notes:
        say(note)


@app.command(rich_help_panel=_DAILY)
def journey(
    reference: Annotated[str, typer.Argument(help="Order or refund number, external id, SKU or e-mail address.")],
    lang: Annotated[str | None, typer.Option(help="en or fr; by default the terminal's language.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell what became of one record: received, decided, sent, answered, in sentences."""
    from comptoir.app.journey import journeys

    found = journeys(STATE.config, reference, lang=lang)
    if as_json:
        print_json([j.as_dict() for j in found])
        return
    for told in found:
        table(["", told.title], told.sentences)


# -- quarantine --------------------------------------------------------------------------------------------------


@quarantine_app.command("list")
def quarantine_list(as_json: JsonFlag = False) -> None:
    """What waits for a person, oldest first."""
    from comptoir.app.quarantine import list_open, row

    found = list_open(STATE.config)
    if as_json:
        print_json([row(p) for p in found])
        return
    table(
        ["id", "since", "record", "to", "cause", "what happened"],
        [
            (str(p.id)[-8:], f"{p.first_seen:%Y-%m-%d %H:%M}", f"{p.connection} {p.entity} {p.external_id}", p.target,
             p.cause, p.message)
            for p in found
        ],
    )  # fmt: skip
    say(f"{len(found)} records wait. comptoir quarantine show ID | retry ID")


@quarantine_app.command("show")
def quarantine_show(
    record: Annotated[str, typer.Argument(help="The id (its end is enough) or the record's own id.")],
    as_json: JsonFlag = False,
    personal: Annotated[bool, typer.Option("--personal", help="Show personal data in the payload.")] = False,
) -> None:
    """Cause, place, hint and the record as it was received (personal data masked)."""
    from comptoir.app.quarantine import row, show

    found = show(STATE.config, record, personal=personal)
    if as_json:
        print_json([{**row(p), "payload": payload} for p, payload in found])
        return
    for p, payload in found:
        table(["", ""], [(k, v) for k, v in row(p).items()])
        if payload is not None:
            print_json(payload)


@quarantine_app.command("retry")
def quarantine_retry(
    record: Annotated[str | None, typer.Argument(help="The id or the record's own id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that waits.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Try records again: from the stored original, with the mapping as it is now."""
    from comptoir.app.quarantine import retry

    if record is None and not everything:
        raise typer.BadParameter("name a record, or use --all")
    found = retry(STATE.config, record)
    if as_json:
        print_json(found)
        return
    for line in found:
        say(f"{line['record']}: {line['result']}")


@quarantine_app.command("resolve")
def quarantine_resolve(
    record: Annotated[str, typer.Argument(help="The id or the record's own id.")],
    because: Annotated[str, typer.Option(help="Why it needs nothing more.")],
) -> None:
    """Close a record by a person's word (it was mended by hand)."""
    from comptoir.app.quarantine import close

    say(f"{close(STATE.config, record, because)} closed.")


# -- out, schema, database, demo -----------------------------------------------------------------------------------


@app.command(rich_help_panel=_BOOKS)
def export(
    what: Annotated[str, typer.Argument(help="fec, orders, quarantine, opening or residuals")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder (fec) or file to write.")] = Path(),
    year: Annotated[int | None, typer.Option(help="The financial year that ends in this year (fec).")] = None,
) -> None:
    """Write journal entries as a FEC-layout exchange file, or lists as CSV."""
    from comptoir.app.export import export_csv, export_fec

    if what == "fec":
        path, entries = export_fec(STATE.config, out, year)
        say(f"Wrote {entries} entries to {path}. It is an exchange file, not the legal FEC of the accounts.")
        return
    path, rows = export_csv(STATE.config, what, out)
    say(f"Wrote {rows} rows to {path}.")


@app.command(rich_help_panel=_INTEGRATION)
def schema(
    name: Annotated[
        str | None, typer.Argument(help="A model or entity, or `config`; lists them when left out.")
    ] = None,
) -> None:
    """Print the JSON Schema of a canonical model or of the configuration file."""
    from comptoir.app.overview import schema_names, schema_of

    if name is None:
        for known in schema_names():
            typer.echo(known)
        return
    print_json(schema_of(name))


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Create or migrate the database."""
    from comptoir.app.database import upgrade

    say(upgrade(STATE.config, say))


@db_app.command("stop")
def db_stop(
    force: Annotated[bool, typer.Option("--force", help="Even while other processes use it.")] = False,
) -> None:
    """Stop the embedded PostgreSQL (it stops by itself when nobody uses it)."""
    from comptoir.app.database import stop

    say(stop(STATE.config, force=force))


@db_app.command("status")
def db_status(as_json: JsonFlag = False) -> None:
    """Say where the database is and whether it runs."""
    from comptoir.app.database import status

    found = status(STATE.config)
    if as_json:
        print_json(found)
    else:
        table(["", ""], list(found.items()))


@app.command(rich_help_panel=_SETUP)
def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Run the scripted day, print the summary, exit.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --headless: 100 orders in each measured series instead of 20.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Where it keeps its data; a temporary folder by default.")] = None,
) -> None:
    """A merchant in a box: shops, back office, Airflow and a scripted day."""
    import os
    import sys

    arguments = [sys.executable, "-m", "comptoir.airflow.demo"]
    if headless:
        arguments.append("--headless")
    if measure:
        arguments.append("--measure")
    if folder is not None:
        arguments += ["--folder", str(folder)]
    # Airflow lives in its own layer, which the command line does not import.
    os.execv(sys.executable, arguments)  # noqa: S606 - our own module, no shell


@app.command(rich_help_panel=_SETUP)
def version() -> None:
    """Print the version."""
    import comptoir

    typer.echo(f"comptoir {comptoir.__version__}")
