"""Pure functions that the `in` mappings in `mappings/vendure/` name. ValueError: the record waits for a person."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from comptoir_vendure.amounts import amount, money, number, vat_id, words
from comptoir_vendure.sales import SALES_FUNCTIONS

__all__ = ["FUNCTIONS"]

_ZERO = Decimal(0)


# --- parties --------------------------------------------------------------------------------------------------


def account(user: Any, company: Any, custom_fields: Any, vat_field: Any) -> str:
    """b2b for a company or a VAT number; guest for who has no login; else b2c."""
    if words(company) or vat_id(custom_fields, vat_field):
        return "b2b"
    return "b2c" if user else "guest"


def party_kind(company: Any) -> str:
    """An organisation when a company is named."""
    return "organisation" if words(company) else "person"


def first_of(full_name: Any, first: Any, last: Any) -> str | None:
    """The first name in an address that says a full one: known only when it is the customer's own."""
    own = f"{words(first)} {words(last)}".strip()
    return words(first) or None if words(full_name) == own else None


def last_of(full_name: Any, first: Any, last: Any) -> str | None:
    """The rest of the full name: all of it when it is another person's."""
    own = f"{words(first)} {words(last)}".strip()
    return (words(last) if words(full_name) == own else words(full_name)) or None


def addresses(rows: Any, first: Any, last: Any, phone: Any) -> list[dict[str, Any]]:
    """A customer's default addresses: billing, shipping, and (role `other`) the rest."""
    found = []
    for row in rows or ():
        roles = [
            role
            for role, key in (("billing", "defaultBillingAddress"), ("shipping", "defaultShippingAddress"))
            if row.get(key)
        ]
        lines = [text for key in ("streetLine1", "streetLine2") if (text := words(row.get(key)))]
        for role in roles or ["other"]:
            found.append(
                {
                    "role": role,
                    "company": words(row.get("company")) or None,
                    "first_name": first_of(row.get("fullName"), first, last),
                    "last_name": last_of(row.get("fullName"), first, last),
                    "lines": lines,
                    "postcode": words(row.get("postalCode")) or None,
                    "city": words(row.get("city")) or None,
                    "region": words(row.get("province")) or None,
                    "country": country((row.get("country") or {}).get("code")),
                    "phone": words(row.get("phoneNumber")) or words(phone) or None,
                }
            )
    return found


def company_of(rows: Any) -> str | None:
    """The company of the invoice address, else of the first that names one."""
    ordered = sorted(rows or (), key=lambda row: not row.get("defaultBillingAddress"))
    return next((text for row in ordered if (text := words(row.get("company")))), None)


def country(value: Any) -> str | None:
    """An ISO country code, None when empty."""
    code = words(value).upper()
    if code and not re.fullmatch(r"[A-Z]{2}", code):
        raise ValueError(f"{value!r} is no country code")
    return code or None


def business_day(moment: Any, zone: Any, company_zone: Any) -> str:
    """The day of a moment in the shop's zone."""
    return datetime.fromisoformat(str(moment)).astimezone(zoneinfo.ZoneInfo(zone or company_zone)).date().isoformat()


# --- items ----------------------------------------------------------------------------------------------------


def item_state(enabled: Any, product_enabled: Any) -> str:
    """Active when variant and product are switched on."""
    return "active" if enabled and product_enabled is not False else "draft"


def options(rows: Any) -> list[dict[str, str]]:
    """The options that a variant has chosen."""
    return [
        {"attribute": words((row.get("group") or {}).get("name")) or "?", "value": words(row.get("name")) or "?"}
        for row in rows or ()
    ]


def prices(rows: Any, precision: Any, currency: Any, including: Any) -> list[dict[str, Any]]:
    """The prices as the merchant entered them, the channel's own currency first."""
    ordered = sorted(rows or (), key=lambda row: row.get("currencyCode") != currency)
    basis = "incl" if including else "excl"
    return [
        {
            "price_list": "regular",
            "amount": amount(number(row.get("price")), precision),
            "currency": row.get("currencyCode"),
            "basis": basis,
        }
        for row in ordered
    ]


def own_stock(tracked: Any, levels: Any, counted: Any, location: Any) -> Decimal | None:
    """What can be sold: counted less allocated, at the place of the settings or at all; None when it is not counted."""
    if tracked == "FALSE" or (tracked != "TRUE" and not counted):
        return None
    places = [
        level
        for level in levels or ()
        if location
        in (None, (level.get("stockLocation") or {}).get("id"), (level.get("stockLocation") or {}).get("name"))
    ]
    return sum((Decimal(level["stockOnHand"]) - Decimal(level["stockAllocated"]) for level in places), _ZERO)


def gtins(custom_fields: Any, field: Any) -> list[str]:
    """The GTIN of the custom field of the settings."""
    value = (custom_fields or {}).get(field) if field else None
    return [code] if (code := words(value)) else []


def extra(*pairs: Any) -> dict[str, object]:
    """The given name-value pairs that are not empty."""
    return {name: value for name, value in zip(pairs[::2], pairs[1::2], strict=True) if value not in (None, "", [], {})}


FUNCTIONS: dict[str, Callable[..., Any]] = SALES_FUNCTIONS | {
    function.__name__: function
    for function in (
        account,
        addresses,
        business_day,
        company_of,
        country,
        extra,
        first_of,
        gtins,
        item_state,
        last_of,
        money,
        options,
        own_stock,
        party_kind,
        prices,
        vat_id,
    )
}
