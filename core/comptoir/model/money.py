"""Money: Decimal, explicit currency, explicit rounding. No float, no default currency, no implicit conversion."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Self

from pydantic import Field

from comptoir.model.base import Amount, Canonical, Code, Country, Currency, Instant, Percent, Text
from comptoir.model.currencies import CURRENCIES

__all__ = [
    "CURRENCIES",
    "AmountSet",
    "CollectedBy",
    "Money",
    "PriceBasis",
    "Rounding",
    "RoundingLevel",
    "SourceTotals",
    "TaxLine",
    "TaxScheme",
    "VatCategory",
    "allocate",
    "minor_units",
    "round_money",
]


def minor_units(currency: str) -> int:
    """How many decimals an amount of this currency has (JPY 0, EUR 2, TND 3).

    Raises KeyError for a code that is not in ISO 4217: there is no default.
    """
    return CURRENCIES[currency]


@lru_cache(maxsize=256)
def _smallest(currency: str) -> Decimal:
    """One minor unit."""
    return Decimal(1).scaleb(-minor_units(currency))


def round_money(value: Decimal, currency: str) -> Decimal:
    """The value at the currency's minor unit, half away from zero (commercial rounding; 2.345 -> 2.35)."""
    return value.quantize(_smallest(currency), rounding=ROUND_HALF_UP)


def allocate(total: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """`total` split over `weights` at the minor unit, by largest remainder, ties in order; the parts sum to `total`.

    All weights zero: the first part takes everything. ValueError when `total` is not at the minor unit.
    """
    if not weights:
        return []
    unit = _smallest(currency)
    if total != total.quantize(unit):
        raise ValueError(f"{total} {currency} is finer than the smallest coin and cannot be split exactly")
    # Fractions: a Decimal rounds long products, and the parts would not sum to the total.
    exact_weights = [Fraction(w) for w in weights]
    whole = sum(exact_weights)
    if whole == 0:
        return [total, *([Decimal(0).quantize(unit)] * (len(weights) - 1))]
    units = int(total.scaleb(minor_units(currency)))
    exact = [units * w / whole for w in exact_weights]
    floors = [math.floor(e) for e in exact]
    missing = units - sum(floors)
    order = sorted(range(len(weights)), key=lambda i: (floors[i] - exact[i], i))
    for i in order[:missing]:
        floors[i] += 1
    return [Decimal(f) * unit for f in floors]


class Money(Canonical):
    """An amount with its currency; adding two currencies raises ValueError."""

    amount: Amount
    currency: Currency

    def __add__(self, other: Self) -> Self:
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}: a document has one currency")
        return self.model_copy(update={"amount": self.amount + other.amount})

    def __neg__(self) -> Self:
        return self.model_copy(update={"amount": -self.amount})


class AmountSet(Canonical):
    """One amount as paid and as booked, with the rate of that day; never re-rated later."""

    paid: Money
    books: Money | None = None
    rate: Amount | None = None
    rate_source: Code | None = None
    rate_at: Instant | None = None


class PriceBasis(enum.StrEnum):
    """Whether the document's unit prices include tax."""

    INCL = "incl"
    EXCL = "excl"


class RoundingLevel(enum.StrEnum):
    """Where the source rounds its taxes."""

    UNIT = "unit"
    LINE = "line"
    DOCUMENT = "document"


class Rounding(Canonical):
    """How the source made its totals; `mode` is a decimal-module rounding name."""

    level: RoundingLevel = RoundingLevel.LINE
    mode: Code = "ROUND_HALF_UP"


class TaxScheme(enum.StrEnum):
    """Under which VAT scheme a line was taxed (or not)."""

    DOMESTIC = "domestic"
    INTRA_EU = "intra_eu"
    OSS = "oss"
    IOSS = "ioss"
    EXPORT = "export"
    EXEMPT = "exempt"


class CollectedBy(enum.StrEnum):
    """Who owes the tax to the state."""

    SELLER = "seller"
    MARKETPLACE = "marketplace"


class VatCategory(enum.StrEnum):
    """UNCL 5305 subset accepted by EN 16931."""

    S = "S"
    Z = "Z"
    E = "E"
    AE = "AE"
    K = "K"
    G = "G"
    O = "O"  # noqa: E741 - the code list's own name
    L = "L"
    M = "M"
    B = "B"


class TaxLine(Canonical):
    """One tax on one line or charge, as the source computed it; never recomputed.

    `base` and `amount` are in the document's currency, `rate` in percent.
    """

    category: VatCategory = VatCategory.S
    rate: Percent
    base: Amount
    amount: Amount
    country: Country | None = None
    scheme: TaxScheme
    collected_by: CollectedBy = CollectedBy.SELLER
    source_code: Code | None = Field(default=None, description="The source's own code of this rate")
    label: Text | None = None


class SourceTotals(Canonical):
    """The document's totals exactly as the source gave them, in the document's currency."""

    total: Amount
    tax: Amount
    shipping: Amount | None = None
    shipping_tax: Amount | None = None
    discount: Amount | None = None
    discount_tax: Amount | None = None
