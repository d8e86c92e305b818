"""Pure functions for the mappings of EBP's exports. ValueError = this record waits for a person.

Cells are text as EBP wrote it; an empty one says nothing. What cannot be understood is refused, or kept in `extra`
where only a signal is lost (a barcode that is none); nothing is guessed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from comptoir.sdk.lists.cards import item_kind, misread, no_gtin, prices, tracked
from comptoir.sdk.lists.cells import (
    cell_of,
    counted_at,
    email,
    extra_of,
    gtin,
    gtins,
    key,
    local_time,
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

__all__ = ["FUNCTIONS", "gtin", "number", "stock_key", "tracked", "yes_no"]

#: EBP's ActiveState; 0 is in the specification, the others and the words are unconfirmed.
_STATES = {"0": True, "actif": True, "oui": True, "1": False, "en sommeil": False, "sommeil": False,
           "2": False, "partiellement bloqué": False, "3": False, "bloqué": False, "non": False}  # fmt: skip
_PERSON = frozenset({"particulier", "personne physique", "personne", "m.", "mme"})
_COMPANY = frozenset({"société", "professionnel", "entreprise", "personne morale", "association", "administration"})
_COUNTRIES = {
    "FRA": "FR", "BEL": "BE", "LUX": "LU", "DEU": "DE", "ESP": "ES", "ITA": "IT", "PRT": "PT", "NLD": "NL",
    "AUT": "AT", "IRL": "IE", "DNK": "DK", "SWE": "SE", "FIN": "FI", "POL": "PL", "CZE": "CZ", "SVK": "SK",
    "SVN": "SI", "HUN": "HU", "ROU": "RO", "BGR": "BG", "GRC": "GR", "HRV": "HR", "EST": "EE", "LVA": "LV",
    "LTU": "LT", "CYP": "CY", "MLT": "MT", "CHE": "CH", "GBR": "GB", "MCO": "MC", "AND": "AD", "USA": "US",
    "CAN": "CA", "GLP": "GP", "MTQ": "MQ", "REU": "RE", "GUF": "GF", "MYT": "YT",
}  # fmt: skip
_ITEM_FIELDS = frozenset({
    "Identity", "Id", "Caption", "SalePriceVatExcluded", "SalePriceVatIncluded", "VatRate", "VatId", "ManageStock",
    "ItemType", "Weight", "ActiveState", "Asleep", "BarCode", "RealStock", "VirtualStock", "BookedQuantity",
    "OrderedQuantity", "SuppliersOrderedQuantity", "sysCreatedDate", "sysModifiedDate",
})  # fmt: skip


def active(state: Any, asleep: Any) -> bool:
    """Whether the card is in use: what either column says against it counts."""
    written = word(state).casefold()
    if written and written not in _STATES:
        raise ValueError(f"{written[:40]!r} is no known state; known: {', '.join(_STATES)}")
    return _STATES.get(written, True) and not yes_no(asleep)


# --- items ----------------------------------------------------------------------------------------------------


def item_state(state: Any, asleep: Any) -> str:
    return "active" if active(state, asleep) else "retired"


def item_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """What has no place in the model: family, web publication, columns of the user's own, a barcode that is no GTIN."""
    return extra_of(record, _ITEM_FIELDS) | no_gtin(record, "BarCode")


# --- stock ----------------------------------------------------------------------------------------------------


def location(name: Any, code: Any) -> str:
    """The storehouse by its name, else its code; `main` where the file does not tell storehouses apart."""
    return word(name) or word(code) or "main"


def stock_id(fault: Any, item: Any, name: Any, code: Any, identity: Any) -> str | None:
    """`stock_key` of a row; ValueError when the row was refused as it was read."""
    found = key(fault, identity, item)
    return found and stock_key(found, location(name, code))


def reserved(source: Any, booked: Any, ordered: Any, real: Any, virtual: Any, decimal_sign: str) -> Decimal:
    """What EBP has promised to its own orders, from the column that the connection names (`reserved_from`)."""
    if source == "none":
        return Decimal(0)
    if source == "virtual":
        return quantity(real, decimal_sign) - quantity(virtual, decimal_sign)
    return number(ordered if source == "ordered" else booked, decimal_sign) or Decimal(0)


def stock_extra(record: Mapping[str, Any]) -> dict[str, str]:
    return extra_of(record, frozenset(record) - {"VirtualStock", "StorehouseId", "UnitId"})


# --- customers ------------------------------------------------------------------------------------------------


def is_company(kind: Any, vat: Any, company: Any) -> bool:
    """By what the card says, else by a VAT number or a SIREN."""
    written = word(kind).casefold()
    if written in _COMPANY or written in _PERSON:
        return written in _COMPANY or bool(vat_id(vat) or siren(company))
    return bool(vat_id(vat) or siren(company))


def account(kind: Any, vat: Any, company: Any) -> str:
    return "b2b" if is_company(kind, vat, company) else "b2c"


def party(record: Mapping[str, Any]) -> dict[str, Any]:
    """Who the customer is; the name on the card is the company's, or the person's where no contact has one."""
    given = functools.partial(cell_of, record)
    vat, company = record.get("IntracommunityVATNumber"), record.get("Siren")
    organisation = is_company(record.get("Type"), vat, company)
    name, first, last = given("Name"), given("MainInvoicingContact_FirstName"), given("MainInvoicingContact_Name")
    return {
        "kind": "organisation" if organisation else "person",
        "company": name if organisation else None,
        "first_name": first,
        "last_name": last if organisation else last or name,
        "email": email(record.get("MainInvoicingContact_Email")),
        "phone": given("MainInvoicingContact_Phone") or given("MainInvoicingContact_CellPhone"),
        "vat_id": vat_id(vat),
        "siren": siren(company),
        "siret": siret(company, record.get("Nic")),
    }


def country(value: Any) -> str | None:
    """ISO 3166-1 alpha-2, from two or three letters; ValueError for another word."""
    code = word(value).upper()
    if not code:
        return None
    if re.fullmatch(r"[A-Z]{2}", code):
        return code
    if code not in _COUNTRIES:
        raise ValueError(f"{code[:40]!r} is no known country code")
    return _COUNTRIES[code]


def addresses(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The billing address, when the card has one."""
    head = "MainInvoicingAddress_"
    given = functools.partial(cell_of, record)
    cells = [given(f"{head}Address{n}") or "" for n in (1, 2, 3, 4)]
    lines = [line for cell in cells for part in cell.splitlines() if (line := part.strip())]
    postcode, city = given(f"{head}ZipCode"), given(f"{head}City")
    if not (lines or postcode or city):
        return []
    who = party(record)
    return [
        {
            "role": "billing",
            **{name: who[name] for name in ("company", "first_name", "last_name", "phone", "email")},
            "lines": lines,
            "postcode": postcode,
            "city": city,
            "region": given(f"{head}State"),
            "country": country(record.get(f"{head}CountryIsoCode")),
        }
    ]


def consents(allowed: Any, refused: Any, day: Any, source: str, time_zone: str) -> list[dict[str, Any]]:
    """What the card says on marketing by e-mail; a refusal in either column stands, and silence is no consent."""
    yes, no = yes_no(allowed), yes_no(refused)
    if yes is None and no is None:
        return []
    state = "refused" if no or yes is False else "given" if yes else "unknown"
    moment = local_time(day, time_zone)
    return [{"purpose": "marketing", "channel": "email", "state": state, "source": source, "at": moment}]


_CUSTOMER_EXTRA = frozenset({"NAF", "SettlementModeId", "TerritorialityId", "ActiveState", "Asleep", "Type"})


def customer_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """Other columns, and what stands where an address, VAT number or SIREN should and is none."""
    found = extra_of(record, frozenset(record) - _CUSTOMER_EXTRA)
    found |= misread(record, MainInvoicingContact_Email=email, IntracommunityVATNumber=vat_id, Siren=siren)
    mobile = word(record.get("MainInvoicingContact_CellPhone"))
    if mobile and word(record.get("MainInvoicingContact_Phone")):
        found["MainInvoicingContact_CellPhone"] = mobile
    return found


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "account": account,
    "addresses": addresses,
    "consents": consents,
    "counted_at": counted_at,
    "customer_extra": customer_extra,
    "gtins": gtins,
    "item_extra": item_extra,
    "item_kind": item_kind,
    "item_state": item_state,
    "key": key,
    "local_time": local_time,
    "location": location,
    "number": number,
    "party": party,
    "percent": percent,
    "prices": prices,
    "quantity": quantity,
    "reserved": reserved,
    "stock_extra": stock_extra,
    "stock_id": stock_id,
    "weight_kg": weight_kg,
}
