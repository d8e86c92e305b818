"""The FEC layout as an exchange file, and an independent checker of its bytes (accounting-files §7).

What the hub writes is **not** the legal FEC of the accounts: it is named `_echange`, and the columns that only a
validated book can fill (ValidDate, EcritureLet, DateLet) stay empty. Text is UTF-8 without a byte order mark, one of
the three encodings that the law allows, so that no name has to be altered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import BinaryIO

from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry, Side
from comptoir.model.money import minor_units

__all__ = ["COLUMNS", "FecSummary", "check_fec", "fec_name", "write_fec"]

COLUMNS: tuple[str, ...] = (
    "JournalCode",
    "JournalLib",
    "EcritureNum",
    "EcritureDate",
    "CompteNum",
    "CompteLib",
    "CompAuxNum",
    "CompAuxLib",
    "PieceRef",
    "PieceDate",
    "EcritureLib",
    "Debit",
    "Credit",
    "EcritureLet",
    "DateLet",
    "ValidDate",
    "Montantdevise",
    "Idevise",
)


class FecSummary:
    """What was written: the file's name, entries, lines, total of one side (in the books' currency)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries = 0
        self.lines = 0
        self.total = Decimal(0)


def fec_name(siren: str, year_end: date) -> str:
    """`<SIREN>FEC<AAAAMMJJ>_echange.txt`; ValueError when the SIREN is not nine digits with a right check
    digit.
    """
    if not re.fullmatch(r"[0-9]{9}", siren) or not _luhn(siren):
        raise ValueError(f"{siren!r} is no SIREN (nine digits, the last one checks the others)")
    return f"{siren}FEC{year_end:%Y%m%d}_echange.txt"


def _luhn(digits: str) -> bool:
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def write_fec(entries: Iterable[JournalEntry], *, siren: str, year_end: date, out: BinaryIO) -> FecSummary:
    """Writes the exchange file as the entries come, in bounded memory; returns its name and sums.

    `entries` must be in chronological order of `posted_on` (ValueError otherwise: the caller sorts, a stream cannot)
    and not after `year_end`. EcritureNum counts 1, 2, 3 over the whole file. Raises MappingError for an entry whose
    currency has another number of decimals than two, and for an account that does not begin with three digits.
    """
    summary = FecSummary(fec_name(siren, year_end))
    out.write(("\t".join(COLUMNS) + "\r\n").encode("utf-8"))
    last: date | None = None
    for entry in entries:
        if last is not None and entry.posted_on < last:
            raise ValueError(f"entry {entry.key} of {entry.posted_on} comes after one of {last}: sort by date first")
        if entry.posted_on > year_end:
            raise ValueError(f"entry {entry.key} of {entry.posted_on} is after the end of the year {year_end}")
        last = entry.posted_on
        summary.entries += 1
        summary.lines += len(entry.lines)
        summary.total += entry.total
        out.write(_entry(entry, summary.entries).encode("utf-8"))
    return summary


def _entry(entry: JournalEntry, number: int) -> str:
    if minor_units(entry.currency) != 2:
        raise MappingError(
            f"entry {entry.key} is in {entry.currency}, which has not two decimals",
            record=entry.key,
            field="currency",
            code="currency",
            hint="The exchange file is for books in euros.",
        )
    day = f"{entry.posted_on:%Y%m%d}"
    piece_day = f"{entry.document_on or entry.posted_on:%Y%m%d}"
    rows = []
    for line in entry.lines:
        if not line.account[:3].isdigit() or len(line.account) < 3:
            raise MappingError(
                f"entry {entry.key}: the account {line.account!r} does not begin with three digits",
                record=entry.key,
                field="lines.account",
                code="account",
                hint="Correct it in [accounting].",
            )
        if line.amount != line.amount.quantize(Decimal("0.01")):
            raise MappingError(
                f"entry {entry.key} has the amount {line.amount}: parts of a cent",
                record=entry.key,
                field="lines.amount",
                code="amount",
                hint="Report it: entries are in whole cents.",
            )
        amount = f"{line.amount:.2f}".replace(".", ",")
        rows.append(
            (
                entry.journal,
                entry.journal_label,
                f"{number:08d}",
                day,
                line.account,
                line.account_label,
                line.third_party or "",
                line.third_party_label or "",
                entry.piece or "NA",
                piece_day,
                line.label,
                amount if line.side is Side.DEBIT else "0,00",
                amount if line.side is Side.CREDIT else "0,00",
                "",
                "",
                "",
                "",
                "",
            )
        )
    return "".join("\t".join(_clean(cell) for cell in row) + "\r\n" for row in rows)


def _clean(text: str) -> str:
    """One line without separators; a text that a spreadsheet would take for a formula loses its first
    characters.
    """
    if text.isprintable() and "|" not in text and "  " not in text and text[:1] not in "=+@- " and text[-1:] != " ":
        return text  # nearly all of them
    flat = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c == "|" else c for c in text)
    return re.sub(r" {2,}", " ", flat).strip().lstrip("=+@-").strip()


def check_fec(data: bytes) -> list[str]:
    """What is wrong with the bytes of an exchange file, in words with the line number; empty when nothing is.

    Independent of the writer: splits the bytes and adds up in whole cents. Columns, dates, one of debit and credit,
    account and piece, balance of each entry, continuous numbers, chronological order, and nothing in the columns
    that an exchange file leaves empty.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"not UTF-8 at byte {error.start}"]
    found: list[str] = []
    if data.startswith(b"\xef\xbb\xbf"):
        found.append("starts with a byte order mark")
    rows = text.split("\r\n")
    if rows[-1] != "":
        found.append("the last line is not ended by CR LF")
    else:
        rows.pop()
    names = "JournalCode JournalLib EcritureNum EcritureDate CompteNum CompteLib CompAuxNum CompAuxLib PieceRef "
    names += "PieceDate EcritureLib Debit Credit EcritureLet DateLet ValidDate Montantdevise Idevise"
    if not rows or rows[0].split("\t") != names.split(" "):
        found.append("line 1: not the 18 names of the columns")
    entry, day, balance, debit, credit = 0, "", 0, 0, 0
    for number, row in enumerate(rows[1:], 2):
        cells = row.split("\t")
        if len(cells) != 18:
            found.append(f"line {number}: {len(cells)} columns instead of 18")
            continue
        if any(ord(c) < 32 for cell in cells for c in cell):
            found.append(f"line {number}: a control character")
        for position in (0, 1, 2, 3, 4, 5, 8, 9, 10):
            if not cells[position].strip():
                found.append(f"line {number}: column {position + 1} is empty")
        if any(cells[13:]):
            found.append(f"line {number}: columns 14 to 18 stay empty in an exchange file")
        for position in (3, 9):
            value = cells[position]
            try:
                date(int(value[:4]), int(value[4:6]), int(value[6:8]))
                proper = len(value) == 8 and value.isascii()
            except ValueError:
                proper = False
            if not proper:
                found.append(f"line {number}: {value!r} is no date AAAAMMJJ")
        if not re.match(r"^[0-9]{3}", cells[4]):
            found.append(f"line {number}: the account {cells[4]!r} does not begin with three digits")
        sides = [_cents(cells[11]), _cents(cells[12])]
        if None in sides:
            found.append(f"line {number}: debit or credit is no amount with a comma and two decimals")
            continue
        left, right = sides[0] or 0, sides[1] or 0
        if (left > 0) == (right > 0):
            found.append(f"line {number}: exactly one of debit and credit must be above zero")
        debit, credit = debit + left, credit + right
        if not cells[2].isdigit():
            found.append(f"line {number}: EcritureNum {cells[2]!r} is no number")
            continue
        if int(cells[2]) != entry:
            if balance:
                found.append(f"entry {entry} does not balance: {balance} cents")
            if int(cells[2]) != entry + 1:
                found.append(f"line {number}: EcritureNum {cells[2]} follows {entry}")
            if cells[3] < day:
                found.append(f"line {number}: {cells[3]} comes after {day}")
            entry, day, balance = int(cells[2]), cells[3], 0
        elif cells[3] != day:
            found.append(f"line {number}: entry {entry} has two dates")
        balance += left - right
    if balance:
        found.append(f"entry {entry} does not balance: {balance} cents")
    if debit != credit:
        found.append(f"total debit {debit} and credit {credit} cents differ")
    return found


def _cents(text: str) -> int | None:
    return int(text.replace(",", "")) if re.fullmatch(r"[0-9]+,[0-9]{2}", text) else None
