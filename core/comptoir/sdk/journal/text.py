"""What text may look like in a file that an accounting program reads: charset, lengths, capitals.

Every change made here is reported through `Remarks`; nothing is altered in silence (failure mode 78). Codes are never
cut: accounts are refused, other codes get an alias that ends in a hash of the whole one (`short_hash`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from comptoir.errors import RecordRejected

__all__ = [
    "CENT",
    "Remarks",
    "as_date",
    "as_decimal",
    "cents",
    "fits",
    "label_of_entry",
    "short_hash",
    "shorten",
    "to_charset",
    "words",
]

CENT = Decimal("0.01")
_SPELLED = {
    "→": "->",
    "←": "<-",
    "↔": "<->",
    "⇒": "=>",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "−": "-",
    "‐": "-",
    "‑": "-",
    "‒": "-",
    "―": "-",
    "′": "'",
    "″": "''",
    "⁄": "/",
    "☎": "tel.",
    "№": "n°",
    "ﬁ": "fi",
    "ﬂ": "fl",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ı": "i",
    "ħ": "h",
    "Ħ": "H",
    "₤": "£",
    "ʼ": "'",
    "ẞ": "SS",
    "\u202f": " ",
    "\u2009": " ",
}
_SPELLED_ASCII = {
    "œ": "oe",
    "Œ": "OE",
    "æ": "ae",
    "Æ": "AE",
    "ß": "ss",
    "ø": "o",
    "Ø": "O",
    "€": "EUR",
    "£": "GBP",
    "’": "'",
    "‘": "'",
    "“": " ",
    "”": " ",
    "«": " ",
    "»": " ",
    "–": "-",
    "—": "-",
    "…": "...",
    "°": " ",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "TH",
    "×": "X",
    "‚": ",",
    "„": " ",
    "‹": " ",
    "›": " ",
    "•": "-",
    "\u00a0": " ",
}


#: Invisible, and part of how some scripts and pictograms are written.
_JOINERS = "\u200c\u200d"


@dataclass(slots=True)
class Remarks:
    """What was changed in one record on its way into the file, in words and without its content."""

    notes: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """Notes that `what` was done to the field `where`, once."""
        note = f"{where}: {what}"
        if note not in self.notes:
            self.notes.append(note)

    def __str__(self) -> str:
        return "; ".join(self.notes)


def to_charset(text: str, charset: str) -> tuple[str, bool]:
    """The text with only characters of `charset`, and whether something had to be replaced.

    Typographic signs, the euro, arrows and the like are spelt out, letters lose the accent that the charset lacks,
    pictograms and marks that nobody sees are dropped, and letters of another script become `?`. Control characters
    become spaces, runs of spaces one space.
    """
    text = unicodedata.normalize("NFC", text)
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    replaced = False
    out: list[str] = []
    for char in plain:
        if unicodedata.category(char) == "Cf" and char not in _JOINERS:
            replaced = True  # turns the direction of writing, or hides in a name that looks like another one
        elif fits(char, charset):
            out.append(char)
        else:
            replaced = True
            out.append(_replacement(char, charset))
    return re.sub(r" {2,}", " ", "".join(out)).strip(), replaced


def fits(text: str, charset: str) -> bool:
    """Every character exists in the charset."""
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _replacement(char: str, charset: str) -> str:
    for table in (_SPELLED, _SPELLED_ASCII):
        if char in table and fits(table[char], charset):
            return table[char]
    base = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
    base = "".join(_SPELLED.get(c, c) for c in base)  # a half is 1, a fraction slash, and 2
    if base and base != char and fits(base, charset):
        return base
    if unicodedata.category(char)[0] in "SMC":
        return ""
    return " " if unicodedata.category(char)[0] == "Z" else "?"


def shorten(text: str, where: str, remarks: Remarks, limit: int) -> str:
    """The text cut on the right at `limit` characters, with a remark. For labels only, never for codes."""
    if len(text) <= limit:
        return text
    remarks.add(where, f"shortened from {len(text)} to {limit} characters")
    return text[:limit].rstrip()


def label_of_entry(value: str, where: str, remarks: Remarks, limit: int) -> str:
    """A label as accounting programs take it: unaccented capitals, digits, space and `-_/.` (accounting-files
    §0).
    """
    text = "".join(_SPELLED_ASCII.get(c, c) for c in unicodedata.normalize("NFC", value))
    text, replaced = to_charset(text, "ascii")
    plain = re.sub(r" {2,}", " ", re.sub(r"[^A-Z0-9 \-_/.]", " ", text.upper())).strip()
    if replaced and re.search(r"[^\x00-\u024f\u1e00-\u1eff\u2010-\u20ac]", value):
        remarks.add(where, "characters outside ASCII replaced")
    return shorten(plain, where, remarks, limit)


def as_decimal(value: object, record: str, path: str) -> Decimal:
    """A number of the payload (Decimal, int or text with comma or dot); RecordRejected when it is none."""
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).replace(",", "."))
    except InvalidOperation:
        number = Decimal("NaN")
    if value is None or isinstance(value, bool | float) or not number.is_finite():
        raise RecordRejected(
            f"{record}: {path} is not a number",
            record=record,
            field=path,
            code="bad_number",
            hint="Check the mapping of this field.",
        )
    return number


def as_date(value: object, record: str, path: str) -> date:
    """A date of the payload (JJ/MM/AAAA text or a date); RecordRejected when it is none."""
    found = value if isinstance(value, date) else _day(str(value))
    if found is None:
        raise RecordRejected(f"{record}: {path} is not a date JJ/MM/AAAA", record=record, field=path, code="bad_date")
    return found


@functools.lru_cache(2048)
def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError:
        return None


def cents(value: Decimal) -> Decimal:
    """The amount at two decimals, half away from zero."""
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def words(value: Any) -> str:
    """A payload text, '' for None."""
    return "" if value is None else str(value).strip()


def short_hash(text: str, length: int) -> str:
    """`length` capitals and digits (A-Z, 2-7) that stand for the text; 10 of them are 50 bits."""
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
    return base64.b32encode(digest).decode("ascii")[:length]
