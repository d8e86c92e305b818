"""What text may look like in a document file of a back office: separators, formulas, decimal commas.

What all files share (charset, lengths, capitals, dates) is in `comptoir.sdk.journal.text`. Every change is reported
through `Remarks`; nothing is altered in silence (failure mode 78).
"""

from __future__ import annotations

from decimal import Decimal

from comptoir.sdk.journal.text import Remarks, shorten, to_charset

__all__ = ["cell", "comma", "has_formula_lead"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def has_formula_lead(text: str) -> bool:
    """A spreadsheet would take this cell for a formula (OWASP: CSV injection)."""
    return text.startswith(_FORMULA)


def cell(
    value: object, where: str, remarks: Remarks, *, charset: str, limit: int | None = None, taboo: str = ""
) -> str:
    """A text cell: in the charset, on one line, without `;` and `"`, no formula, at most `limit` characters.

    Imports know no quoting that we could rely on, so separators are replaced (`;` by `,`, `"` by `''`; a tab is a
    space). A leading `= + - @`, or a character of `taboo` (# is a tag in Sage's own format), gets an apostrophe
    before it; numbers never pass here, so negative amounts stay numbers.
    """
    if value is None:
        return ""
    text, replaced = to_charset(str(value), charset)
    if replaced:
        remarks.add(where, f"characters outside {charset} replaced")
    if has_formula_lead(text):
        text = "'" + text
        remarks.add(where, "neutralised: it would be a formula in a spreadsheet")
    elif text[:1] and text[0] in taboo:
        text = "'" + text
        remarks.add(where, "neutralised: it would be a tag of the file")
    text = text.replace(";", ",").replace('"', "''")
    return shorten(text, where, remarks, limit) if limit else text


def comma(value: Decimal, least: int = 0) -> str:
    """A number with a decimal comma, no exponent, no superfluous zeros beyond `least` decimals."""
    text = format(value, "f")
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(least, "0")
    if whole == "-0" and not decimals.strip("0"):
        whole = "0"
    return f"{whole},{decimals}" if decimals else whole
