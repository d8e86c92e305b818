"""Pure functions for the mappings of EBP's exports. ValueError = this record waits for a person.

Cells are text as EBP wrote it; an empty one says nothing. What cannot be understood is refused, or kept in `extra`
where only a signal is lost (a barcode that is none); nothing is guessed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

__all__ = ["FUNCTIONS", "gtin", "number", "tracked", "yes_no"]

_GROUPED = re.compile(r"[-+]?\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?:[.,]\d+)?")
_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4})(?:[ T](\d{1,2})[:h](\d{2})(?::(\d{2}))?)?")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{3}(?:\d{3})?)?)?)?")
_KEPT_DECIMALS = 6
_EMAIL = re.compile(r"[^@\s;,]+@[^@\s;,]+\.[^@\s;,.]+")
_VAT_ID = re.compile(
    r"(AT|BE|BG|CY|CZ|DE|DK|EE|EL|GR|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK|XI|GB|CH|NO)"
    r"(?=.*\d.*\d)[A-Z0-9]{2,13}"
)
_YES = frozenset({"1", "-1", "oui", "o", "vrai", "true", "yes", "x"})
_NO = frozenset({"0", "non", "n", "faux", "false", "no"})
#: EBP's ActiveState; 0 is in the specification, the others and the words are unconfirmed.
_STATES = {"0": True, "actif": True, "oui": True, "1": False, "en sommeil": False, "sommeil": False,
           "2": False, "partiellement bloqué": False, "3": False, "bloqué": False, "non": False}  # fmt: skip
_PERSON = frozenset({"particulier", "personne physique", "personne", "m.", "mme"})
_COMPANY = frozenset({"société", "professionnel", "entreprise", "personne morale", "association", "administration"})
_SERVICE = frozenset({"service", "prestation", "prestation de service", "prestation de services"})
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
_OURS = frozenset({"extra", "file", "fault"})


def word(value: Any) -> str:
    """A cell without the spaces around it; '' for one that is not there."""
    return value.strip() if isinstance(value, str) else ""


def key(fault: Any, *values: Any) -> str | None:
    """The first key that is there. ValueError when the row was refused as it was read: with that reason."""
    if fault:
        raise ValueError(str(fault))
    return next((found for value in values if (found := word(value))), None)


def number(value: Any, decimal_sign: str) -> Decimal | None:
    """A number with the declared decimal sign and, at most, spaces between thousands; None when there is none.

    `1.234` with a decimal comma is refused: one program means a thousand and more by it, another one and a bit.
    """
    written = word(value)
    return _number(written, decimal_sign) if written else None


@functools.lru_cache(maxsize=4096)
def _number(written: str, decimal_sign: str) -> Decimal:
    text = re.sub(r"[ \u00a0\u202f]", "", written) if _GROUPED.fullmatch(written) else written
    if not re.fullmatch(rf"[-+]?\d{{1,18}}(?:{re.escape(decimal_sign)}\d{{1,20}})?", text, re.ASCII):
        raise ValueError(f"{written[:40]!r} is no number with the decimal sign {decimal_sign!r}")
    whole, _, decimals = text.partition(decimal_sign)
    if len(decimals) > _KEPT_DECIMALS:  # a database writes 12,5 as 12,5000000000
        decimals = decimals.rstrip("0")
    found = Decimal(f"{whole}.{decimals}")
    return found or abs(found)


def percent(value: Any, decimal_sign: str) -> Decimal | None:
    """A rate in percent; a percent sign after it is dropped."""
    return number(word(value).removesuffix("%"), decimal_sign)


def yes_no(value: Any) -> bool | None:
    """Oui or Non in their usual spellings; None when nothing is there; ValueError for another word."""
    written = word(value).casefold()
    if not written:
        return None
    if written in _YES or written in _NO:
        return written in _YES
    raise ValueError(f"{written[:40]!r} is neither Oui nor Non")


def active(state: Any, asleep: Any) -> bool:
    """Whether the card is in use: what either column says against it counts."""
    written = word(state).casefold()
    if written and written not in _STATES:
        raise ValueError(f"{written[:40]!r} is no known state; known: {', '.join(_STATES)}")
    return _STATES.get(written, True) and not yes_no(asleep)


def gtin(value: Any) -> str | None:
    """A GTIN of 8, 12, 13 or 14 digits with a right check digit, without spaces; None for anything else."""
    digits = word(value).replace(" ", "")
    if len(digits) not in (8, 12, 13, 14) or not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        return None
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return digits if total % 10 == 0 else None


def local_time(value: Any, time_zone: str) -> datetime | None:
    """The moment of JJ/MM/AAAA (or of a database's AAAA-MM-JJ), with or without a time, on the company's clocks."""
    written = word(value)
    if not written:
        return None
    if match := _DATE.fullmatch(written):
        day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
        moment = datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(time_zone))
    elif _ISO_DATE.fullmatch(written):
        moment = datetime.fromisoformat(written[:26]).replace(tzinfo=ZoneInfo(time_zone))
    else:
        raise ValueError(f"{written[:40]!r} is no date JJ/MM/AAAA")
    return moment.astimezone(UTC)


# --- items ----------------------------------------------------------------------------------------------------


def item_kind(item_type: Any, manage_stock: Any, family: Any, service_families: Sequence[str]) -> str:
    """service or stock: by the item's type, else its family, else whether its stock is managed."""
    if word(item_type).casefold() in _SERVICE or word(family) in service_families:
        return "service"
    return "service" if not word(item_type) and yes_no(manage_stock) is False else "stock"


def item_state(state: Any, asleep: Any) -> str:
    return "active" if active(state, asleep) else "retired"


def prices(net: Any, gross: Any, currency: str, decimal_sign: str) -> list[dict[str, Any]]:
    """The price without tax in the list HT and the one with tax in TTC, where they are given."""
    found = []
    for price_list, basis, given in (("HT", "excl", net), ("TTC", "incl", gross)):
        amount = number(given, decimal_sign)
        if amount is None:
            continue
        if amount < 0:
            raise ValueError(f"the price {price_list} {amount} is negative")
        found.append({"price_list": price_list, "amount": amount, "currency": currency, "basis": basis})
    return found


def gtins(bar_code: Any) -> list[str]:
    found = gtin(bar_code)
    return [found] if found else []


def weight_kg(value: Any, unit: str, decimal_sign: str) -> Decimal | None:
    """Kilograms; None when the weight is not given or 0 (EBP's empty value)."""
    weight = number(value, decimal_sign)
    if not weight:
        return None
    if weight < 0:
        raise ValueError(f"the weight {weight} is negative")
    return weight / 1000 if unit == "g" else weight


def item_extra(record: Mapping[str, Any]) -> dict[str, str]:
    """What has no place in the model: family, web publication, columns of the user's own, a barcode that is no GTIN."""
    found = _extra(record, _ITEM_FIELDS)
    if (bar_code := word(record.get("BarCode"))) and gtin(bar_code) is None:
        found["BarCode"] = bar_code
    return found


# --- stock ----------------------------------------------------------------------------------------------------


def tracked(manage_stock: Any, real_stock: Any) -> bool:
    """Whether a row of the items' file says something about stock."""
    return bool(word(real_stock)) and word(manage_stock).casefold() not in _NO


def location(name: Any, code: Any) -> str:
    """The storehouse by its name, else its code; `main` where the file does not tell storehouses apart."""
    return word(name) or word(code) or "main"


def stock_key(item: str, place: str) -> str:
    """One text for item and place. The first / ends the place, in which % and / are escaped: no two pairs meet."""
    return f"{place.replace('%', '%25').replace('/', '%2F')}/{item}"


def stock_id(fault: Any, item: Any, name: Any, code: Any, identity: Any) -> str | None:
    """`stock_key` of a row; ValueError when the row was refused as it was read."""
    found = key(fault, identity, item)
    return found and stock_key(found, location(name, code))


def quantity(value: Any, decimal_sign: str) -> Decimal:
    """A quantity; ValueError when there is none: not counted is not zero."""
    found = number(value, decimal_sign)
    if found is None:
        raise ValueError("the quantity is empty")
    return found


def reserved(source: Any, booked: Any, ordered: Any, real: Any, virtual: Any, decimal_sign: str) -> Decimal:
    """What EBP has promised to its own orders, from the column that the connection names (`reserved_from`)."""
    if source == "none":
        return Decimal(0)
    if source == "virtual":
        return quantity(real, decimal_sign) - quantity(virtual, decimal_sign)
    return number(ordered if source == "ordered" else booked, decimal_sign) or Decimal(0)


def counted_at(day: Any, file: Any, time_zone: str) -> datetime | None:
    """The row's own date, else when its file was written."""
    written = (file or {}).get("modified_at")
    return local_time(day, time_zone) or (datetime.fromisoformat(written) if written else None)


def stock_extra(record: Mapping[str, Any]) -> dict[str, str]:
    return _extra(record, frozenset(record) - {"VirtualStock", "StorehouseId", "UnitId"})


# --- customers ------------------------------------------------------------------------------------------------


def vat_id(value: Any) -> str | None:
    """A VAT number in capitals without spaces and dots; None for what has not the form of one."""
    text = re.sub(r"[ .\-]", "", word(value)).upper()
    return text if _VAT_ID.fullmatch(text) else None


def siren(value: Any) -> str | None:
    """The nine digits of a SIREN or at the head of a SIRET, when their check digit is right."""
    digits = re.sub(r"\s", "", word(value))
    if len(digits) not in (9, 14) or not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        return None
    doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(digits[:9]))]
    return digits[:9] if sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0 else None


def siret(company: Any, nic: Any) -> str | None:
    """The fourteen digits: of the same cell, or SIREN and NIC together."""
    head = siren(company)
    digits = re.sub(r"\s", "", word(company))
    tail = digits[9:] or re.sub(r"\s", "", word(nic))
    return head + tail if head and len(tail) == 5 and tail.isascii() and tail.isdigit() else None


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
    given = functools.partial(_given, record)
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


def _given(record: Mapping[str, Any], name: str) -> str | None:
    return word(record.get(name)) or None


def email(value: Any) -> str | None:
    """One address; None for anything else: a remark or two addresses are no signal to match by."""
    text = word(value)
    return text if _EMAIL.fullmatch(text) else None


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
    given = functools.partial(_given, record)
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
    found = _extra(record, frozenset(record) - _CUSTOMER_EXTRA)
    checks: tuple[tuple[str, Callable[[Any], str | None]], ...] = (
        ("MainInvoicingContact_Email", email),
        ("IntracommunityVATNumber", vat_id),
        ("Siren", siren),
    )
    found |= {name: word(record[name]) for name, check in checks if word(record.get(name)) and not check(record[name])}
    mobile = word(record.get("MainInvoicingContact_CellPhone"))
    if mobile and word(record.get("MainInvoicingContact_Phone")):
        found["MainInvoicingContact_CellPhone"] = mobile
    return found


def _extra(record: Mapping[str, Any], used: frozenset[str]) -> dict[str, str]:
    """The cells that are not empty: fields outside `used`, then the columns that are no field."""
    found = {name: word(value) for name, value in record.items() if name not in used and name not in _OURS}
    found |= {name: word(value) for name, value in (record.get("extra") or {}).items()}
    return {name: value for name, value in found.items() if value}


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
