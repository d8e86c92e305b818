"""What a shop has sold and given back, read from the JSON that it shows: for whoever checks what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from comptoir_woocommerce._sandbox.shop import WooCommerceSandbox

__all__ = ["GivenBack", "Sale", "sales"]

_CALLED_OFF = ("failed", "cancelled", "checkout-draft", "trash")
_WAITING = ("pending", "on-hold")
_PAID_LATER = ("bacs", "cheque", "cod")


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund. `taxes` is None when the shop says only an amount and the order has several rates."""

    number: str
    amount: Decimal
    taxes: Mapping[Decimal, Decimal] | None


@dataclass(frozen=True, slots=True)
class Sale:
    """An order. `taxes` are the shop's own sums per rate in percent.

    `money` is "paid", "awaited" (by transfer, by cheque or on delivery) or "none" (not paid, or called off).
    """

    number: str
    placed_on: date
    money: Literal["paid", "awaited", "none"]
    total: Decimal
    taxes: Mapping[Decimal, Decimal]
    refunds: Sequence[GivenBack] = field(default_factory=tuple)


def sales(shop: WooCommerceSandbox) -> list[Sale]:
    """Every order that the shop holds, oldest first."""
    return [_sale(shop, number) for number in sorted(shop.orders)]


def _sale(shop: WooCommerceSandbox, number: int) -> Sale:
    shown = orjson.loads(shop.order_bytes(number))
    order = shop.order(number)
    total, taxes = Decimal(shown["total"]), _taxes(shown["tax_lines"])
    refunds = [_given_back(shop.show.refund(order, refund), total, taxes) for refund in order.refunds]
    return Sale(
        number=str(shown["number"]),
        placed_on=date.fromisoformat(shown["date_created"][:10]),
        money=_money(shown),
        total=total,
        taxes=taxes,
        refunds=refunds,
    )


def _money(shown: Mapping[str, Any]) -> Literal["paid", "awaited", "none"]:
    if shown["status"] in _CALLED_OFF:
        return "none"
    # The state that a plugin has added says nothing about money; the date of the payment does.
    if shown["date_paid"] is not None and shown["status"] not in _WAITING:
        return "paid"
    return "awaited" if shown["payment_method"] in _PAID_LATER else "none"


def _given_back(refund: Mapping[str, Any], total: Decimal, taxes: Mapping[Decimal, Decimal]) -> GivenBack:
    amount = Decimal(refund["amount"])
    number = str(refund["id"])
    if refund["tax_lines"] or refund["line_items"]:
        return GivenBack(number, amount, {rate: -tax for rate, tax in _taxes(refund["tax_lines"]).items()})
    if amount == total:
        return GivenBack(number, amount, taxes)
    if len(taxes) == 1:
        rate = next(iter(taxes))
        tax = (amount * rate / (100 + rate)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        return GivenBack(number, amount, {rate: tax})
    return GivenBack(number, amount, None)


def _taxes(lines: Sequence[Mapping[str, Any]]) -> dict[Decimal, Decimal]:
    found: dict[Decimal, Decimal] = {}
    for line in lines:
        rate = Decimal(str(line["rate_percent"]))
        tax = Decimal(line["tax_total"]) + Decimal(line["shipping_tax_total"])
        found[rate] = found.get(rate, Decimal("0.00")) + tax
    return found
