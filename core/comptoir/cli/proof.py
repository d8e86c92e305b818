"""`comptoir proof`: one order, or everything that was booked, to the cent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag
from comptoir.errors import ConfigError

if TYPE_CHECKING:
    from comptoir.domain.proof import Finding

__all__ = ["proof"]


def proof(
    reference: Annotated[str | None, typer.Argument(help="Order number, external id, SKU or e-mail address.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that was booked.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Prove an order, or all books, to the cent: lines, charges, tax, total, posted, paid, paid out; exit code 6 when a
    cent is unexplained.
    """
    if everything == (reference is not None):
        raise ConfigError("say which order, or --all for everything", code="usage")
    if reference is None:
        _everything(as_json)
    else:
        _order(reference, as_json)


def _everything(as_json: bool) -> None:
    from comptoir.app.proof import prove_everything
    from comptoir.domain.clearing import REASONS

    found = prove_everything(STATE.config)
    if as_json:
        print_json(found.as_dict())
    else:
        table(
            ["documents", "proved", "unexplained"],
            [(name, number - found.unexplained[name], found.unexplained[name]) for name, number in
             found.documents.items()],
            title="proved" if found.proved else "unexplained: " + ", ".join(
                f"{amount} {currency}" for currency, amount in found.residual.items()
            ),
        )  # fmt: skip
        for account in found.providers:
            say(f"{account.provider}: {account.balance} on {account.account}")
            for r in account.reasons:
                say(f"  {r.amount}: {REASONS[r.reason]} ({r.documents}: {', '.join(r.largest)})")
        for c in found.customers:
            whose = "customers owe it" if c.amount > 0 else "customers are owed it"
            say(f"{c.account}: {c.amount}, {whose} ({c.documents}: {', '.join(c.largest)})")
        for words in [*found.violations(), *found.notes]:
            say(words)
    if not found.proved:
        raise typer.Exit(6)


def _order(reference: str, as_json: bool) -> None:
    from comptoir.app.proof import prove_orders
    from comptoir.domain.proof import explain

    found = prove_orders(STATE.config, reference)
    if as_json:
        print_json([one.as_dict() for one in found])
    for one in found if not as_json else ():
        table(
            ["step", "amount", "called for", "difference", ""],
            [
                (
                    step.name,
                    "-" if step.amount is None else step.amount,
                    step.expected,
                    step.difference or "",
                    "; ".join(_words(finding) for finding in step.findings),
                )
                for step in one.sheet.steps
            ],
            title=f"order {one.sheet.order} ({one.connection}), {one.sheet.currency}: {one.state}",
        )
        for words in explain(one.sheet):
            say(words)
    if any(not one.sheet.proved for one in found):
        raise typer.Exit(6)


def _words(finding: Finding) -> str:
    return f"{finding.where}: {finding.message}" + (" (explained)" if finding.explained else "")
