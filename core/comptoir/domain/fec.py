"""The FEC layout as an exchange file, and an independent checker of its bytes (accounting-files §7).

What the hub writes is **not** the legal FEC of the accounts: it is named `_echange`, and the columns that only a
validated book can fill (ValidDate, EcritureLet, DateLet) stay empty. Text is UTF-8 without a byte order mark, one of
the three encodings that the law allows, so that no name has to be altered.
"""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import BinaryIO

from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry, Side
from comptoir.model.money import minor_units

__all__ = ["COLUMNS", "FecSummary", "check_fec", "check_fec_name", "fec_name", "write_fec"]

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
                _clean(entry.journal_label) or entry.journal,
                f"{number:08d}",
                day,
                line.account,
                _clean(line.account_label) or line.account,
                line.third_party or "",
                line.third_party_label or "",
                _clean(entry.piece) or "NA",
                piece_day,
                _clean(line.label) or _clean(entry.label) or "NA",
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
    """One line without separators and without marks that nobody sees; a text that a spreadsheet would take for a
    formula loses its first characters.
    """
    if text.isprintable() and "|" not in text and "  " not in text and text[:1] not in "=+@- " and text[-1:] != " ":
        return text  # nearly all of them
    seen = (c for c in text if unicodedata.category(c) != "Cf" or c in "\u200c\u200d")
    flat = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c == "|" else c for c in seen)
    return re.sub(r" {2,}", " ", flat).strip().lstrip("=+@-").strip()


def check_fec_name(name: str, *, legal: bool = False) -> list[str]:
    """What is wrong with a file's name, in words: `<SIREN>FEC<AAAAMMJJ>_echange.txt`, or the name of the law.

    The name of the law (`legal`) has no `_echange` and ends the same way (article A.47 A-1 LPF).
    """
    mark = "" if legal else "_echange"
    match = re.fullmatch(rf"([0-9]{{9}})FEC([0-9]{{8}}){mark}\.txt", name)
    if match is None:
        return [f"{name!r} is not <SIREN>FEC<AAAAMMJJ>{mark}.txt"]
    found = [] if _luhn(match[1]) else [f"{match[1]} is no SIREN (nine digits, the last one checks the others)"]
    return found if _is_day(match[2]) else [*found, f"{match[2]!r} is no date AAAAMMJJ"]


def check_fec(file: bytes | BinaryIO, *, charset: str = "utf-8") -> list[str]:
    """What is wrong with the bytes of an exchange file, in words with the line number; empty when nothing is.

    Independent of the writer: splits the bytes and adds up in whole cents, line by line, so that a file of any size
    can be checked. Columns, dates, one of debit and credit, account and piece, balance of each entry, continuous
    numbers, chronological order, and nothing in the columns that an exchange file leaves empty. `charset` is one of
    the law's: "utf-8", "iso8859-15" or "ascii".
    """
    found: list[str] = []
    rows = _rows(io.BytesIO(file) if isinstance(file, bytes) else file, charset, found)
    names = "JournalCode JournalLib EcritureNum EcritureDate CompteNum CompteLib CompAuxNum CompAuxLib PieceRef "
    names += "PieceDate EcritureLib Debit Credit EcritureLet DateLet ValidDate Montantdevise Idevise"
    if next(rows, "").split("\t") != names.split(" "):
        found.append("line 1: not the 18 names of the columns")
    entry, day, balance, debit, credit = 0, "", 0, 0, 0
    for number, row in enumerate(rows, 2):
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
            if not _is_day(cells[position]):
                found.append(f"line {number}: {cells[position]!r} is no date AAAAMMJJ")
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


def _rows(file: BinaryIO, charset: str, found: list[str]) -> Iterator[str]:
    """The lines without their ends; reading stops at the first one that is no text of the charset."""
    start = 0
    for number, raw in enumerate(file, 1):
        if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
            found.append("starts with a byte order mark")
        try:
            row = raw.decode(charset)
        except UnicodeDecodeError as error:
            found.append(f"not {charset.upper()} at byte {start + error.start}")
            return
        if not row.endswith("\r\n"):
            found.append(f"line {number}: not ended by CR LF")
        start += len(raw)
        yield row.removesuffix("\n").removesuffix("\r")


@functools.lru_cache(1024)
def _is_day(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{8}", text):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return False
    return True


def _cents(text: str) -> int | None:
    return int(text.replace(",", "")) if re.fullmatch(r"[0-9]+,[0-9]{2}", text) else None
