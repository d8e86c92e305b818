"""Pure functions for the mappings of what Sage 100 gives. ValueError = this record waits for a person.

Codes are those of Sage's columns (gescom-interfaces §1.2); exports may write words instead.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from comptoir.sdk.lists.cards import misread, no_gtin
from comptoir.sdk.lists.cells import (
    cell_of,
    counted_at,
    country,
    email,
    extra_of,
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

__all__ = ["FUNCTIONS", "depot", "item_key", "moment"]

#: Sage's empty date.
_NO_DATE = "1753-01-01"
_NONE = frozenset({"0", "aucun", "non", "non suivi"})
_GROSS = {"1": "incl", "ttc": "incl", "oui": "incl", "0": "excl", "ht": "excl", "non": "excl"}
#: Kilograms of a unit of weight, by Sage's code and by its name.
_WEIGHTS = {
    "0": Decimal(1000), "tonne": Decimal(1000), "1": Decimal(100), "quintal": Decimal(100), "2": Decimal(1),
    "kilogramme": Decimal(1), "kg": Decimal(1), "3": Decimal("0.001"), "gramme": Decimal("0.001"),
    "g": Decimal("0.001"), "4": Decimal("0.000001"), "milligramme": Decimal("0.000001"), "mg": Decimal("0.000001"),
}  # fmt: skip
_PERSON = frozenset({"m.", "m", "mr", "monsieur", "mme", "madame", "mlle", "mademoiselle", "particulier"})
_ITEM_FIELDS = frozenset({
    "AR_Ref", "AG_No1", "AG_No2", "AE_Ref", "AR_Design", "EG_Enumere1", "EG_Enumere2", "AR_CodeBarre", "AR_PrixVen",
    "AR_PrixTTC", "PV_HT", "PV_TTC", "AR_PoidsNet", "AR_UnitePoids", "AR_SuiviStock", "AR_Sommeil", "TA_Code",
    "TA_Taux", "F_ARTCOMPTA", "F_FAMCOMPTA", "cbModification",
})  # fmt: skip
_STOCK_EXTRA = frozenset({"DE_No", "U_Intitule"})
_CUSTOMER_EXTRA = frozenset({"CT_Ape", "N_CatCompta", "CT_Sommeil", "CT_Qualite"})
_PACKED = re.compile(r"(\d{1,4})=([^/|]*)/(\d+(?:\.\d+)?)?")


def moment(value: Any, time_zone: str) -> datetime | None:
    """The moment of a cell on the company's clocks; None for an empty one and for Sage's empty date."""
    return None if word(value).startswith(_NO_DATE) else local_time(value, time_zone)


def item_key(reference: str, first: Any, second: Any, first_value: Any = "", second_value: Any = "") -> str:
    """What names an item: its reference, and the values of its gammes by number, else by name ('' and 0: none)."""
    parts = [part for cell in (first, second) if (part := word(cell)) not in ("", "0")]
    if not parts:
        parts = [part for cell in (first_value, second_value) if (part := word(cell))]
    return "/".join((reference, *(part.replace("/", "%2F") for part in parts))) if reference else ""


def item_id(fault: Any, reference: Any, first: Any, second: Any, first_value: Any, second_value: Any) -> str | None:
    """`item_key` of a row; ValueError when the row was refused as it was read."""
    found = key(fault, reference)
    return found and item_key(found, first, second, first_value, second_value)


def product_id(reference: Any, *variant: Any) -> str | None:
    """The item whose variant this is; None for an item without gammes."""
    return word(reference) if item_key(word(reference), *variant) != word(reference) else None


def sku(reference: Any, own: Any, *variant: Any) -> str | None:
    """The reference by which it is sold; None for a variant that has none of its own."""
    return word(own) or (None if product_id(reference, *variant) else word(reference) or None)


def item_name(label: Any, first: Any, second: Any) -> str:
    return " ".join(part for cell in (label, first, second) if (part := word(cell)))


def options(first: Any, second: Any) -> list[dict[str, str]]:
    """The values of the gammes; their names are of the folder and not in the lists."""
    return [
        {"attribute": f"Gamme {n}", "value": value} for n, cell in ((1, first), (2, second)) if (value := word(cell))
    ]


def item_kind(tracking: Any, family: Any, service_families: Sequence[str]) -> str:
    """service where Sage tracks no stock of it, or its family is one of services."""
    if word(family) in service_families:
        return "service"
    return "service" if word(tracking).casefold() in _NONE else "stock"


def item_state(asleep: Any) -> str:
    return "retired" if yes_no(asleep) else "active"


def basis(gross: Any) -> str:
    """Whether a price includes tax. ValueError when that is not said: a price without its basis is none."""
    found = _GROSS.get(word(gross).casefold())
    if found is None:
        raise ValueError(
            f"the price says neither HT nor TTC ({word(gross)[:20]!r}): export the column `Prix TTC`, or the prices as "
            "`Prix de vente HT` and `Prix de vente TTC`"
        )
    return found


def prices(
    price: Any,
    gross: Any,
    net_price: Any,
    gross_price: Any,
    categories: Any,
    category: int,
    currency: str,
    decimal_sign: str,
) -> list[dict[str, Any]]:
    """The price in the list HT or TTC: that of the price category of web orders, else the item's own; 0 is none.

    Prices of other categories are given to nobody: a shop would take one of them for its own.
    """
    given = [("HT", "excl", number(net_price, decimal_sign)), ("TTC", "incl", number(gross_price, decimal_sign))]
    own, mark = number(price, decimal_sign), word(gross)
    for number_of, amount, its_mark in _packed(categories):
        if number_of == str(category):
            own, mark = _number(amount), its_mark
    if own:
        kind = basis(mark)
        given.append(("HT" if kind == "excl" else "TTC", kind, own))
    found: dict[str, dict[str, Any]] = {}
    for price_list, kind, amount_of in given:
        if not amount_of:
            continue
        if amount_of < 0:
            raise ValueError(f"the price {price_list} {amount_of} is negative")
        if price_list in found:
            raise ValueError(f"there are two prices {price_list}")
        found[price_list] = {"price_list": price_list, "amount": amount_of, "currency": currency, "basis": kind}
    return list(found.values())


def tax(article: Any, family: Any, code: Any, rate: Any, categories: Mapping[str, int], decimal_sign: str) -> Any:
    """Code and rate of VAT for sales in the country: of the item, else of its family, else as the export says."""
    wanted = str(categories.get("domestic", 1))
    for table in (article, family):
        for category, tax_code, percentage in _packed(table):
            if category == wanted:
                return tax_code, _number(percentage) if percentage else None
    return word(code) or None, percent(rate, decimal_sign)


def tax_code(*given: Any) -> str | None:
    code: str | None = tax(*given)[0]
    return code


def tax_rate(*given: Any) -> Decimal | None:
    rate: Decimal | None = tax(*given)[1]
    return rate


def _packed(cell: Any) -> list[tuple[str, str, str]]:
    """`1=C20/20.000000|2=C55/5.500000`, as the queries write what stands in a table beside the item's."""
    found = []
    for part in filter(None, word(cell).split("|")):
        match = _PACKED.fullmatch(part)
        if match is None:
            raise ValueError(f"{part[:40]!r} is not NUMBER=CODE/NUMBER")
        found.append((match[1], match[2], match[3] or ""))
    return found


def _number(text: str) -> Decimal:
    """A number of a packed cell: decimal dot, and the noughts with which a database fills it up."""
    found = number(text.rstrip("0").rstrip(".") if "." in text else text, ".")
    return found or Decimal(0)


def weight(value: Any, unit: Any, decimal_sign: str) -> Decimal | None:
    """Kilograms of a weight in Sage's unit; None for no weight. ValueError for an unknown unit."""
    found = weight_kg(value, "kg", decimal_sign)
    if found is None:
        return None
    factor = _WEIGHTS.get(word(unit).casefold().removesuffix("s"))
    if factor is None:
        raise ValueError(f"{word(unit)[:20]!r} is no unit of weight; known: tonne, quintal, kg, g, mg")
    return found * factor


def item_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """What has no place in the model: family, prices of categories, unit, origin, a barcode that is no GTIN, others."""
    return extra_of(record, _ITEM_FIELDS) | no_gtin(record, "AR_CodeBarre")


# --- stock ------------------------------------------------------------------------------------------------------------


def depot(name: Any, code: Any) -> str:
    """The depot by its name, else its number; `main` where the list does not tell depots apart."""
    return word(name) or word(code) or "main"


def stock_id(fault: Any, place: Any, code: Any, *item: Any) -> str | None:
    """Item and depot in one text; ValueError when the row was refused as it was read."""
    found = item_id(fault, *item)
    return found and stock_key(found, depot(place, code))


def reserved(*cells: Any) -> Decimal:
    """What Sage has promised: reserved and being prepared; the last argument is the decimal sign."""
    *given, sign = cells
    return sum((number(cell, sign) or Decimal(0) for cell in given), Decimal(0))


def stock_extra(record: Mapping[str, Any]) -> dict[str, str]:
    return extra_of(record, frozenset(record) - _STOCK_EXTRA)


# --- customers --------------------------------------------------------------------------------------------------------


def is_company(quality: Any, vat: Any, number_of: Any) -> bool:
    """By a VAT number or a SIRET, else by the form of address; a card that says nothing is a company's no more than a
    person's, and is taken for a person's."""
    if vat_id(vat) or siren(number_of):
        return True
    written = word(quality).casefold()
    return bool(written) and written not in _PERSON


def account(quality: Any, vat: Any, number_of: Any) -> str:
    return "b2b" if is_company(quality, vat, number_of) else "b2c"


def party(record: Mapping[str, Any]) -> dict[str, Any]:
    """Who the customer is: the name on the card is the company's, or the person's."""
    given = functools.partial(cell_of, record)
    vat, number_of = record.get("CT_Identifiant"), record.get("CT_Siret")
    organisation = is_company(record.get("CT_Qualite"), vat, number_of)
    name = given("CT_Intitule")
    return {
        "kind": "organisation" if organisation else "person",
        "company": name if organisation else None,
        "last_name": given("CT_Contact") if organisation else name,
        "email": email(record.get("CT_EMail")),
        "phone": given("CT_Telephone"),
        "vat_id": vat_id(vat),
        "siren": siren(number_of),
        "siret": siret(number_of, None),
    }


def addresses(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The billing address, when the card has one."""
    given = functools.partial(cell_of, record)
    lines = [line for name in ("CT_Adresse", "CT_Complement") if (line := given(name))]
    postcode, city = given("CT_CodePostal"), given("CT_Ville")
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
            "region": given("CT_CodeRegion"),
            "country": country(record.get("CT_Pays")),
        }
    ]


def price_category(value: Any) -> str | None:
    """The list of a customer's price category, as `prices` calls it."""
    written = word(value)
    return f"CAT{written}" if written.isdecimal() and written != "0" else written if written != "0" else None


def customer_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """Other columns, and what stands where an address, country, VAT number or SIRET should and is none."""
    wrong = misread(record, CT_EMail=email, CT_Identifiant=vat_id, CT_Siret=siren, CT_Pays=country)
    return extra_of(record, frozenset(record) - _CUSTOMER_EXTRA) | wrong


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "account": account,
    "addresses": addresses,
    "counted_at": counted_at,
    "customer_extra": customer_extra,
    "depot": depot,
    "gtins": gtins,
    "item_extra": item_extra,
    "item_id": item_id,
    "item_kind": item_kind,
    "item_name": item_name,
    "item_state": item_state,
    "key": key,
    "moment": moment,
    "number": number,
    "options": options,
    "party": party,
    "price_category": price_category,
    "prices": prices,
    "product_id": product_id,
    "quantity": quantity,
    "reserved": reserved,
    "sku": sku,
    "stock_extra": stock_extra,
    "stock_id": stock_id,
    "tax_code": tax_code,
    "tax_rate": tax_rate,
    "weight": weight,
}
