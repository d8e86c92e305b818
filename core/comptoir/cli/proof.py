"""`comptoir proof`: one order, to the cent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from comptoir.cli.output import print_json, say, table
from comptoir.cli.state import STATE, JsonFlag

if TYPE_CHECKING:
    from comptoir.domain.proof import Finding

__all__ = ["proof"]


def proof(
    reference: Annotated[str, typer.Argument(help="Order number, external id, SKU or e-mail address.")],
    as_json: JsonFlag = False,
) -> None:
    """Prove an order to the cent: lines, charges, tax, total, posted, paid; exit code 6 when a cent is unexplained."""
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
    return f"{finding.where}: {finding.message}" + (" (rounding)" if finding.explained else "")
