"""Pure functions for the mappings of what Ciel and Sage 50 export. ValueError = this record waits for a person."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from comptoir.sdk.lists.cards import item_kind, misread, no_gtin, prices, tracked
from comptoir.sdk.lists.cells import (
    cell_of,
    counted_at,
    country,
    email,
    extra_of,
    gtins,
    key,
    number,
    percent,
    quantity,
    siren,
    siret,
    stock_key,
    vat_id,
    weight_kg,
    word,
    yes_no,
)

__all__ = ["FUNCTIONS", "depot", "tracked"]

_PERSON = frozenset({"particulier", "personne physique", "b2c"})
_COMPANY = frozenset({"professionnel", "société", "entreprise", "administration", "association", "b2b", "b2g"})
_ITEM_FIELDS = frozenset({
    "code", "name", "barcode", "net_price", "gross_price", "tax_code", "tax_rate", "kind", "managed", "asleep",
    "weight", "stock", "reserved", "incoming",
})  # fmt: skip
_CUSTOMER_FIELDS = frozenset({
    "code", "name", "company", "address1", "address2", "address3", "postcode", "city", "country", "family", "phone",
    "vat_id", "email", "siret", "tariff", "iban", "bic", "kind",
})  # fmt: skip


def depot(code: Any) -> str:
    """The depot, `main` where the list does not tell depots apart."""
    return word(code) or "main"


def stock_id(fault: Any, item: Any, place: Any) -> str | None:
    """Item and depot in one text; ValueError when the row was refused as it was read."""
    found = key(fault, item)
    return found and stock_key(found, depot(place))


def item_state(asleep: Any) -> str:
    return "retired" if yes_no(asleep) else "active"


def reserved(value: Any, decimal_sign: str) -> Decimal:
    """What the program has promised; an empty cell is nothing."""
    return number(value, decimal_sign) or Decimal(0)


def item_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """Family, unit, a barcode that is no GTIN, columns of the user's own."""
    return extra_of(record, _ITEM_FIELDS) | no_gtin(record, "barcode")


def stock_extra(record: Mapping[str, Any]) -> dict[str, str]:
    return extra_of(record, frozenset(record) - {"unit"})


# --- customers --------------------------------------------------------------------------------------------------------


def is_company(kind: Any, company: Any, vat: Any, number_of: Any) -> bool:
    """By what the card says, else by a company's name, a VAT number or a SIRET."""
    written = word(kind).casefold()
    if written in _COMPANY:
        return True
    if vat_id(vat) or siren(number_of):
        return True
    return written not in _PERSON and bool(word(company))


def account(kind: Any, company: Any, vat: Any, number_of: Any) -> str:
    return "b2b" if is_company(kind, company, vat, number_of) else "b2c"


def party(record: Mapping[str, Any]) -> dict[str, Any]:
    """Who the customer is. Where the card has no company's name, the one name that it has is the company's or the
    person's."""
    given = functools.partial(cell_of, record)
    vat, number_of = record.get("vat_id"), record.get("siret")
    organisation = is_company(record.get("kind"), record.get("company"), vat, number_of)
    company, name = given("company"), given("name")
    return {
        "kind": "organisation" if organisation else "person",
        "company": (company or name) if organisation else None,
        "last_name": name if company or not organisation else None,
        "email": email(record.get("email")),
        "phone": given("phone") or given("mobile"),
        "vat_id": vat_id(vat),
        "siren": siren(number_of),
        "siret": siret(number_of, None),
    }


def addresses(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The billing address, when the card has one."""
    given = functools.partial(cell_of, record)
    lines = [line for n in (1, 2, 3) if (line := given(f"address{n}"))]
    postcode, city = given("postcode"), given("city")
    if not (lines or postcode or city):
        return []
    who = party(record)
    return [
        {
            "role": "billing",
            **{name: who[name] for name in ("company", "last_name", "phone", "email")},
            "lines": lines,
            "postcode": postcode,
            "city": city,
            "country": country(record.get("country")),
        }
    ]


def tariff(value: Any) -> str | None:
    """The customer's price list; None for "Aucun"."""
    written = word(value)
    return None if written.casefold() == "aucun" else written or None


def customer_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """Other columns but the bank account, and what stands where an address, country, VAT number or SIRET should and is
    none."""
    used = _CUSTOMER_FIELDS if word(record.get("phone")) else _CUSTOMER_FIELDS | {"mobile"}
    wrong = misread(record, email=email, vat_id=vat_id, siret=siren, country=country)
    return extra_of(record, used) | wrong


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "account": account,
    "addresses": addresses,
    "counted_at": counted_at,
    "customer_extra": customer_extra,
    "depot": depot,
    "gtins": gtins,
    "item_extra": item_extra,
    "item_kind": item_kind,
    "item_state": item_state,
    "key": key,
    "number": number,
    "party": party,
    "percent": percent,
    "prices": prices,
    "quantity": quantity,
    "reserved": reserved,
    "stock_extra": stock_extra,
    "stock_id": stock_id,
    "tariff": tariff,
    "weight_kg": weight_kg,
}
