"""Availability: how many units of an item may be offered. Every published number comes from `availability`.

Locations, reservations, kits and channel rules will be added to this function, not beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from comptoir.model.order import PaymentMethod

__all__ = ["OFFLINE", "Counted", "availability", "offered"]

_NOTHING = Decimal(0)

#: Paid after the order by nature: goods are kept for such orders while they are unpaid (failure mode 67).
OFFLINE = frozenset({PaymentMethod.TRANSFER, PaymentMethod.CHEQUE, PaymentMethod.CASH, PaymentMethod.CASH_ON_DELIVERY})


@dataclass(frozen=True, slots=True)
class Counted:
    """What the stock's owner counts of an item at one place."""

    on_hand: Decimal
    reserved: Decimal


def availability(levels: Iterable[Counted], *, demand: Decimal, buffer: Decimal = _NOTHING) -> Decimal:
    """On hand, less what the stock's owner has reserved, less open demand, less the buffer; never below zero.

    `demand` is what the hub knows to be sold and the stock's owner had not been told when it counted. A place that
    has promised more than it has takes from the others: the goods must come from somewhere.
    """
    free = sum((level.on_hand - level.reserved for level in levels), _NOTHING)
    return max(free - demand - buffer, _NOTHING)


def offered(quantity: Decimal, *, whole_units: bool) -> Decimal:
    """The quantity as a channel can show it: rounded down where it counts whole units only (failure mode 43)."""
    return quantity.to_integral_value(ROUND_FLOOR) if whole_units else quantity.normalize()
