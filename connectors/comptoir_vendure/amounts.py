"""Amounts, tax and the few forms that orders, refunds and items of Vendure share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from comptoir.sdk import allocate

__all__ = [
    "Row",
    "amount",
    "money",
    "number",
    "place_of",
    "rates_of",
    "shipping_rates",
    "tax_lines",
    "units",
    "vat_id",
    "vat_of",
    "words",
]

#: Member states, and Monaco, which is France for VAT.
_EU = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MC MT NL PL PT RO SE SI SK".split())
#: Overseas departments have codes of their own and are French for VAT.
_FRENCH = frozenset({"GP", "MQ", "RE", "GF", "YT", "MC"})
_ZERO = Decimal(0)
_HUNDRED = Decimal(100)
_ONE = Decimal(1)

Row = Mapping[str, Any]


def words(value: Any) -> str:
    """Text without surrounding spaces; nothing is empty."""
    return value.strip() if isinstance(value, str) else ""


# --- amounts --------------------------------------------------------------------------------------------------


def number(value: Any) -> Decimal:
    """A number of the shop's JSON, by its shortest written form; nothing is 0."""
    if value is None:
        return _ZERO
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:40]!r} is no amount")
    try:
        number = Decimal(repr(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is no amount") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is no amount")
    return number


def units(value: Any) -> Decimal:
    """Whole smallest units: some fields hold fractions of them (a shipping of 491.666...), rounded as Vendure does."""
    return number(value).quantize(_ONE, ROUND_HALF_UP)


def amount(units: Decimal, precision: Any) -> Decimal:
    return units.scaleb(-int(precision))


def money(value: Any, precision: Any) -> Decimal:
    """An amount of the shop as a decimal: 1970 with a precision of 2 is 19.70."""
    return amount(units(value), precision)


# --- tax ------------------------------------------------------------------------------------------------------


def _territory(country: str) -> str:
    """The state whose VAT applies in a country code."""
    return "FR" if country in _FRENCH else country


def _charged(place: str, company_country: str, oss: Any) -> tuple[str, str]:
    """Scheme and country of a tax that was charged for goods that go to `place`."""
    territory, home = _territory(place), _territory(company_country)
    if territory == home or not territory:
        return "domestic", home
    if territory in _EU and home in _EU:
        # Below the yearly threshold the seller's own tax is due; the shop's record does not say whose it charged.
        return ("oss", territory) if oss else ("domestic", home)
    raise ValueError(f"tax was charged on a sale to {place}: no VAT scheme of a company in {company_country} has this")


def _uncharged(place: str, company_country: str, vat: str | None) -> tuple[str, str]:
    """Scheme and VAT category of something sold without tax to `place`."""
    territory, home = _territory(place), _territory(company_country)
    if territory == home or not territory:
        return "exempt", "E"
    if territory not in _EU:
        return "export", "G"
    return ("intra_eu", "K") if vat else ("exempt", "E")


def tax_lines(
    rates: Sequence[tuple[Decimal, str]],
    net: Decimal,
    tax: Decimal,
    currency: str,
    place: str,
    vat: str | None,
    company_country: str,
    oss: Any,
) -> list[dict[str, Any]]:
    """The tax of one line by its rates; the amounts sum to `tax` exactly."""
    if net == 0 and tax == 0:
        return []
    charged = [rate for rate in rates if rate[0] > 0]
    if not charged:
        if tax:
            raise ValueError(f"a tax of {tax} without the rate it belongs to")
        scheme, category = _uncharged(place, company_country, vat)
        country = place if re.fullmatch(r"[A-Z]{2}", place) else None
        line = {"category": category, "rate": _ZERO, "base": net, "amount": _ZERO, "country": country}
        return [{**line, "scheme": scheme}]
    scheme, country = _charged(place, company_country, oss)
    shares = [tax] if len(charged) == 1 else allocate(tax, [rate for rate, _ in charged], currency)
    return [
        {
            "category": "S",
            "rate": rate,
            "base": net,
            "amount": share,
            "country": country,
            "scheme": scheme,
            "source_code": label or None,
            "label": label or None,
        }
        for (rate, label), share in zip(charged, shares, strict=True)
    ]


def rates_of(tax_lines: Any) -> list[tuple[Decimal, str]]:
    return [(number(line.get("taxRate")), words(line.get("description"))) for line in tax_lines or ()]


def shipping_rates(net: Decimal, gross: Decimal, summary: Any) -> list[tuple[Decimal, str]]:
    """The rate of a shipping line, which Vendure does not write: of the order's rates the one that gives its tax."""
    tax = gross - net
    if tax == 0:
        return []
    known = {number(line.get("taxRate")): words(line.get("description")) for line in summary or ()}
    off = {rate: abs(net * rate / _HUNDRED - tax) for rate in known if rate > 0}
    best = min(off, key=lambda rate: off[rate], default=None)
    if best is None or off[best] > 1:
        raise ValueError(f"no rate of the order gives a tax of {tax} on a shipping of {net} (smallest units)")
    return [(best, known[best])]


def place_of(order: Row) -> str:
    """Where the goods go: the country of the delivery, else of the invoice."""
    for block in (order.get("shippingAddress"), order.get("billingAddress")):
        code = words((block or {}).get("countryCode")).upper()
        if code:
            return code
    return ""


def vat_of(order: Row, field: Any) -> str | None:
    return vat_id((order.get("customer") or {}).get("customFields"), field)


def vat_id(custom_fields: Any, field: Any) -> str | None:
    """The VAT number without spaces and dots, from the custom field of the settings."""
    value = (custom_fields or {}).get(field) if field else None
    return re.sub(r"[\s.\-]", "", words(value)).upper() or None
