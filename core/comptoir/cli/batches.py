"""`comptoir batch ...` and `comptoir books ...`: files that were handed over, and booking a period anew."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

__all__ = ["batch_app", "books_app"]

batch_app = typer.Typer(help="Batches handed over in files: which wait, take one back.", no_args_is_help=True)
books_app = typer.Typer(help="The books that the hub keeps.", no_args_is_help=True)

Reference = Annotated[str, typer.Argument(help="The end of a batch's id, or the name of its file.")]
Day = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"])]


@batch_app.command("list")
def batch_list(
    target: Annotated[str | None, typer.Option("--target", help="Only this connection.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only what nobody has taken yet.")] = False,
    limit: Annotated[int, typer.Option(help="How many lines.", min=1)] = 100,
    as_json: JsonFlag = False,
) -> None:
    """What was handed over: files, documents, amount, period, and whether it was taken."""
    from comptoir.app.batches import list_batches, row

    found = list_batches(STATE.config, target=target, waiting=waiting, limit=limit)
    if as_json:
        print_json([row(batch) for batch in found])
        return
    table(
        ["batch", "to", "what", "documents", "amount", "from", "to", "file", "state", "written"],
        [
            (str(b.id)[-8:], b.target, b.entity, b.documents, f"{b.amount:.2f}", b.first_on, b.last_on,
             ", ".join(b.files), b.state, f"{b.written_at:%Y-%m-%d %H:%M}")
            for b in found
        ],
    )  # fmt: skip


@batch_app.command("show")
def batch_show(reference: Reference) -> None:
    """Everything known of one batch."""
    from comptoir.app.batches import row, show

    print_json(row(show(STATE.config, reference)))


@batch_app.command("withdraw")
def batch_withdraw(
    references: Annotated[list[str], typer.Argument(help="The ends of batches' ids, or names of their files.")],
    because: Annotated[str, typer.Option("--because", help="Why: it is kept with your name.")],
    import_deleted: Annotated[
        bool, typer.Option("--import-deleted", help="The program had taken it, and the import was deleted there.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take a batch back: its file is moved away, and its records go out again, entries under the same pieces."""
    from comptoir.app.batches import row, withdraw

    done = withdraw(STATE.config, references, because=because, import_deleted=import_deleted)
    if as_json:
        print_json([{**row(batch), "records": count} for batch, count in done])
        return
    for batch, count in done:
        say(f"{batch.id} ({', '.join(batch.files) or batch.entity}) was withdrawn; {count} records go out again.")


@books_app.command("redo")
def books_redo(first: Day, last: Day) -> None:
    """Derive the entries of a period anew, after accounts were changed: only what differs goes out.

    To write the same pieces again instead, withdraw their batches first: comptoir batch withdraw.
    """
    from comptoir.app.batches import redo

    number = redo(STATE.config, first.date(), last.date())
    say(f"{number} documents are derived anew by the next run of the books' route.")


@books_app.command("vat")
def books_vat(first: Day, last: Day, as_json: JsonFlag = False) -> None:
    """The VAT of a period by box of the return, and by country and rate for OSS: a proposal for whoever declares it.

    Exit code 6 when a VAT account holds what no box takes, or what the boxes count as something else.
    """
    from comptoir.app.vat import as_dict, vat_of

    sheet = vat_of(STATE.config, first.date(), last.date())
    if as_json:
        print_json(as_dict(sheet))
    else:
        table(
            ["box", "net amount", "tax"],
            [(name, box.base, box.tax) for name, box in sheet.boxes.items()],
            title=f"{sheet.first} to {sheet.last}: {sheet.due} due, {sheet.deductible} deductible",
        )
        if sheet.oss:
            table(["OSS", "rate", "net amount", "tax"], [(o.country, o.rate, o.base, o.tax) for o in sheet.oss])
        for name, amount in sheet.differences.items():
            say(f"account {name}: {amount} of its tax is counted as something else than what the account is for")
        for name, amount in sheet.unplaced.items():
            say(f"{name}: {amount} stands in no box; set accounting.vat_boxes")
    if sheet.differences or sheet.unplaced:
        raise typer.Exit(6)
