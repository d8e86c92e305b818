"""What a document's parts add up to, against the totals that its source wrote (canonical-model §2, failure
mode 51).

The source's totals are authoritative and never changed; the residual says where the parts do not explain them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from comptoir.model.money import minor_units, round_money
from comptoir.model.order import Charge, OrderLine, Refund, RefundLine, SalesOrder

__all__ = ["CAUSES", "OrderTotals", "compute_refund_totals", "compute_totals"]

_ZERO = Decimal(0)

#: What each cause means, for the console and the quarantine.
CAUSES: dict[str, str] = {
    "tax_line_rounding": "the taxes of lines and charges, rounded one by one, differ from the tax of the whole",
    "line_rounding": "lines and charges, rounded one by one, differ from the total by a few minor units",
    "shipping_missing": "the total holds a shipping cost that no charge carries",
    "tax_missing": "the total holds a tax that no line or charge carries",
    "amount_only": "an amount without lines: what it is for is allocated by rule",
    "partly_itemised": "the lines explain a part of the amount; the rest is allocated by rule",
    "unexplained": "lines, charges and taxes do not add up to the total",
}


class OrderTotals(NamedTuple):
    """Computed sums in the document's currency.

    `residual` = the source's total - `total`; `tax_residual` the same for tax. `cause` is a code of `CAUSES`, None
    when nothing is left over.
    """

    net: Decimal
    tax: Decimal
    total: Decimal
    residual: Decimal
    tax_residual: Decimal
    cause: str | None

    @property
    def words(self) -> str | None:
        """What the cause means."""
        return None if self.cause is None else CAUSES[self.cause]


def compute_totals(order: SalesOrder) -> OrderTotals:
    """The sums over lines, charges and their taxes, compared with the totals that the source gave."""
    parts: list[OrderLine | Charge] = [*order.lines, *order.charges]
    net, tax = _sums(parts, order.currency)
    total = net + tax
    residual = order.totals.total - total
    tax_residual = order.totals.tax - tax
    cause = None
    if residual or tax_residual:
        cause = _cause(order, parts, residual, tax_residual)
    return OrderTotals(net, tax, total, residual, tax_residual, cause)


def compute_refund_totals(refund: Refund) -> OrderTotals:
    """The sums over a refund's lines and charges, compared with its amount (tax included)."""
    parts: list[RefundLine | Charge] = [*refund.lines, *refund.charges]
    net, tax = _sums(parts, refund.currency)
    total = net + tax
    residual = refund.amount - total
    cause = None
    if residual:
        itemised = any(part.net or part.tax for part in parts)
        if not itemised:
            cause = "amount_only"
        elif abs(residual) <= _slack(len(parts), refund.currency):
            cause = "line_rounding"
        else:
            cause = "partly_itemised" if residual > 0 else "unexplained"
    return OrderTotals(net, tax, total, residual, Decimal(0), cause)


def _sums(parts: Sequence[OrderLine | Charge | RefundLine], currency: str) -> tuple[Decimal, Decimal]:
    """Net and tax at the minor unit: parts may carry more decimals, the whole is rounded once."""
    return round_money(sum([p.net for p in parts], _ZERO), currency), round_money(
        sum([p.tax for p in parts], _ZERO), currency
    )


def _cause(order: SalesOrder, parts: Sequence[OrderLine | Charge], residual: Decimal, tax_residual: Decimal) -> str:
    slack = _slack(len(parts), order.currency)
    if abs(residual) <= slack and abs(tax_residual) <= slack:
        return "tax_line_rounding" if tax_residual else "line_rounding"
    shipping = order.totals.shipping or Decimal(0)
    if shipping and abs(residual - shipping - (order.totals.shipping_tax or Decimal(0))) <= slack:
        return "shipping_missing"
    if tax_residual and abs(residual - tax_residual) <= slack:
        return "tax_missing"
    return "unexplained"


def _slack(parts: int, currency: str) -> Decimal:
    """One minor unit per part: what rounding each of them can make."""
    return Decimal(max(parts, 1)) * Decimal(1).scaleb(-minor_units(currency))
