"""What text may look like in a file that EBP reads: charset, separators, formulas, lengths.

Every change made here is reported through `Remarks`; nothing is altered in silence (failure mode 78). Codes
are never cut: see `comptoir_ebp.functions.alias_code`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from comptoir.sdk import RecordRejected

__all__ = [
    "CENT",
    "Remarks",
    "as_date",
    "as_decimal",
    "cell",
    "cents",
    "comma",
    "has_formula_lead",
    "label_of_entry",
    "shorten",
    "to_charset",
]

CENT = Decimal("0.01")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
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
    "\u00a0": " ",
}


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

    Arrows and the like are spelt out, letters lose the accent that the charset lacks, pictograms are dropped
    and letters of another script become `?`. Control characters become spaces, runs of spaces one space.
    """
    text = unicodedata.normalize("NFC", text)
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    replaced = False
    out: list[str] = []
    for char in plain:
        if _fits(char, charset):
            out.append(char)
            continue
        replaced = True
        out.append(_replacement(char, charset))
    return re.sub(r" {2,}", " ", "".join(out)).strip(), replaced


def _fits(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _replacement(char: str, charset: str) -> str:
    spelt = _SPELLED.get(char)
    if spelt is not None and _fits(spelt, charset):
        return spelt
    base = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
    if base and base != char and _fits(base, charset):
        return base
    if unicodedata.category(char)[0] in "SMC":
        return ""
    return " " if unicodedata.category(char)[0] == "Z" else "?"


def has_formula_lead(text: str) -> bool:
    """A spreadsheet would take this cell for a formula (OWASP: CSV injection)."""
    return text.startswith(_FORMULA)


def cell(value: object, where: str, remarks: Remarks, *, charset: str, limit: int | None = None) -> str:
    """A text cell: in the charset, on one line, without `;` and `"`, no formula, at most `limit` characters.

    EBP's import knows no quoting that we could rely on, so separators are replaced (`;` by `,`, `"` by `''`).
    A leading `= + - @` gets an apostrophe before it; numbers never pass here, so negative amounts stay
    numbers.
    """
    if value is None:
        return ""
    text, replaced = to_charset(str(value), charset)
    if replaced:
        remarks.add(where, f"characters outside {charset} replaced")
    if has_formula_lead(text):
        text = "'" + text
        remarks.add(where, "neutralised: it would be a formula in a spreadsheet")
    text = text.replace(";", ",").replace('"', "''")
    return shorten(text, where, remarks, limit) if limit else text


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
    if isinstance(value, date):
        return value
    try:
        return datetime.strptime(str(value), "%d/%m/%Y").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError:
        raise RecordRejected(
            f"{record}: {path} is not a date JJ/MM/AAAA", record=record, field=path, code="bad_date"
        ) from None


def cents(value: Decimal) -> Decimal:
    """The amount at two decimals, half away from zero."""
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def comma(value: Decimal, least: int = 0) -> str:
    """A number with a decimal comma, no exponent, no superfluous zeros beyond `least` decimals."""
    text = format(value, "f")
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(least, "0")
    if whole == "-0" and not decimals.strip("0"):
        whole = "0"
    return f"{whole},{decimals}" if decimals else whole


def words(value: Any) -> str:
    """A payload text, '' for None."""
    return "" if value is None else str(value).strip()
