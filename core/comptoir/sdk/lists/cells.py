"""Cells of lists, read exactly: pure functions for the mappings of connectors. ValueError = the record waits for a
person.

Cells are text as the program wrote it; an empty one says nothing. What cannot be understood is refused, or kept in
`extra` where only a signal is lost (a barcode that is none); nothing is guessed.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from comptoir.sdk.documents.countries import COUNTRIES

__all__ = [
    "cell_of",
    "counted_at",
    "country",
    "email",
    "extra_of",
    "gtin",
    "gtins",
    "is_no",
    "key",
    "local_time",
    "number",
    "percent",
    "quantity",
    "siren",
    "siret",
    "stock_key",
    "vat_id",
    "weight_kg",
    "word",
    "yes_no",
]  # fmt: skip

_GROUPED = re.compile(r"[-+]?\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?:[.,]\d+)?")
_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4})(?:[ T](\d{1,2})[:h](\d{2})(?::(\d{2}))?)?")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?)?")
_KEPT_DECIMALS = 6
_EMAIL = re.compile(r"[^@\s;,]+@[^@\s;,]+\.[^@\s;,.]+")
_VAT_ID = re.compile(
    r"(AT|BE|BG|CY|CZ|DE|DK|EE|EL|GR|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK|XI|GB|CH|NO)"
    r"(?=.*\d.*\d)[A-Z0-9]{2,13}"
)
_YES = frozenset({"1", "-1", "oui", "o", "vrai", "true", "yes", "x"})
_NO = frozenset({"0", "non", "n", "faux", "false", "no"})
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


def is_no(value: Any) -> bool:
    """Whether a cell says Non; another word, or none, does not."""
    return word(value).casefold() in _NO


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


def gtins(bar_code: Any) -> list[str]:
    found = gtin(bar_code)
    return [found] if found else []


def weight_kg(value: Any, unit: str, decimal_sign: str) -> Decimal | None:
    """Kilograms; None when the weight is not given or 0 (many programs' empty value)."""
    weight = number(value, decimal_sign)
    if not weight:
        return None
    if weight < 0:
        raise ValueError(f"the weight {weight} is negative")
    return weight / 1000 if unit == "g" else weight


def stock_key(item: str, place: str) -> str:
    """One text for item and place. The first / ends the place, in which % and / are escaped: no two pairs meet."""
    return f"{place.replace('%', '%25').replace('/', '%2F')}/{item}"


def quantity(value: Any, decimal_sign: str) -> Decimal:
    """A quantity; ValueError when there is none: not counted is not zero."""
    found = number(value, decimal_sign)
    if found is None:
        raise ValueError("the quantity is empty")
    return found


def counted_at(day: Any, file: Any, time_zone: str) -> datetime | None:
    """The row's own date, else when its file was written."""
    written = (file or {}).get("modified_at")
    return local_time(day, time_zone) or (datetime.fromisoformat(written) if written else None)


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


def email(value: Any) -> str | None:
    """One address; None for anything else: a remark or two addresses are no signal to match by."""
    text = word(value)
    return text if _EMAIL.fullmatch(text) else None


def _plain(text: str) -> str:
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^A-Z]+", " ", letters.upper()).strip()


@functools.cache
def _countries() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for code, (three, name) in COUNTRIES.items():
        found |= {code: code, three: code} | ({_plain(name): code} if name else {})
    return found


def country(value: Any) -> str | None:
    """ISO 3166-1 alpha-2 of a name or a code; None for what is none: many programs let anything be typed there."""
    return _countries().get(_plain(word(value)))


def cell_of(record: Mapping[str, Any], name: str) -> str | None:
    """A cell of a record; None when nothing stands in it."""
    return word(record.get(name)) or None


def extra_of(record: Mapping[str, Any], used: frozenset[str]) -> dict[str, str]:
    """The cells that are not empty: fields outside `used`, then the columns that are no field."""
    found = {name: word(value) for name, value in record.items() if name not in used and name not in _OURS}
    found |= {name: word(value) for name, value in (record.get("extra") or {}).items()}
    return {name: value for name, value in found.items() if value}
