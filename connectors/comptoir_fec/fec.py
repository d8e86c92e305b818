"""The FEC layout as an exchange file: 18 named columns (article A.47 A-1 LPF, accounting-files §7).

What the hub gives is no legal FEC of the books: ValidDate, EcritureLet and DateLet, which only a validated book can
fill, stay empty, and the file is named `_echange`. The name of the law is used only when the configuration asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field

from comptoir.sdk import ConfigError
from comptoir.sdk.journal.entry import BookEntry, Placed, with_sign
from comptoir.sdk.journal.formats import BookFile, BookFormat, Setup
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines, whole_cents
from comptoir.sdk.journal.profile import WriterProfile
from comptoir.sdk.journal.years import year_end

__all__ = ["COLUMNS", "FecFormat", "FecOptions", "is_siren"]

COLUMNS = (
    "JournalCode", "JournalLib", "EcritureNum", "EcritureDate", "CompteNum", "CompteLib", "CompAuxNum", "CompAuxLib",
    "PieceRef", "PieceDate", "EcritureLib", "Debit", "Credit", "EcritureLet", "DateLet", "ValidDate", "Montantdevise",
    "Idevise",
)  # fmt: skip


class FecOptions(BaseModel):
    """`year_end`: month and day of the last day of the financial year. `legal_name`: the name of the law, without
    `_echange`. `numbers`: digits of EcritureNum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    year_end: str = Field(default="12-31", pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")
    legal_name: bool = False
    numbers: int = Field(default=8, ge=1, le=12)


def is_siren(text: str) -> bool:
    """Nine digits, the last of which checks the others."""
    if len(text) != 9 or not (text.isascii() and text.isdigit()):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(text))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


class FecFormat(BookFormat):
    """18 columns between tabs; one file for each financial year that a batch touches, in the order of the dates."""

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        super().__init__(profile, setup)
        self._options = profile.parsed(FecOptions)
        siren = setup.company.siren
        if siren is None or not is_siren(siren):
            raise ConfigError(
                "company.siren is missing or wrong: the file's name begins with it", hint='Add siren = "123456782".'
            )
        self._siren = siren

    def allows_utf8(self) -> bool:
        """ASCII, ISO-8859-15 and UTF-8 are the charsets of the law."""
        return True

    def files(self, entries: Sequence[BookEntry]) -> list[BookFile]:
        """Earlier years first; entries in the order of their dates, as recorded within a day."""
        years: dict[date, list[BookEntry]] = {}
        for entry in sorted(entries, key=lambda e: e.posted_on):
            years.setdefault(year_end(self._options.year_end, entry.posted_on), []).append(entry)
        mark = "" if self._options.legal_name else "_echange"
        return [BookFile(f"{self._siren}FEC{end:%Y%m%d}{mark}.txt", years[end]) for end in sorted(years)]

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """The names of the columns, then one line a line."""
        charset, digits = self.profile.charset, self._options.numbers
        yield ("\t".join(COLUMNS) + "\r\n").encode(charset)
        for item in entries:
            entry = item.entry
            head = f"{entry.journal}\t{entry.journal_label}\t{item.number:0{digits}d}\t{entry.posted_on:%Y%m%d}\t"
            piece = f"{item.piece}\t{entry.document_on:%Y%m%d}\t"
            rows = []
            for line in entry.lines:
                amount = with_sign(line.cents, ",")
                sides = f"{amount}\t0,00" if line.side == "D" else f"0,00\t{amount}"
                rows.append(
                    f"{head}{line.account}\t{line.account_label}\t{line.third}\t{line.third_label}\t"
                    f"{piece}{line.label}\t{sides}\t\t\t\t\t\r\n"
                )
            yield "".join(rows).encode(charset)

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The lines by their columns: names, numbering, order of the dates, and what an exchange file leaves empty."""
        last_number, last_day = 0, ""
        for number, text in text_lines(file, self.profile.charset, faults):
            cells = text.split("\t")
            if number == 1:
                if "\t".join(COLUMNS) != text:
                    faults.add(1, "not the 18 names of the columns")
                continue
            if len(cells) != 18:
                faults.add(number, f"{len(cells)} columns instead of 18")
                continue
            if not all(cells[place].strip() for place in (0, 1, 2, 3, 4, 5, 8, 9, 10)):
                faults.add(number, "a mandatory column is empty")
            if any(cells[13:]):
                faults.add(number, "columns 14 to 18 stay empty in an exchange file")
            if not cells[2].isdigit() or int(cells[2]) - last_number not in (0, 1):
                faults.add(number, f"EcritureNum {cells[2]} follows {last_number}")
            else:
                last_number = int(cells[2])
            if cells[3] < last_day:
                faults.add(number, f"{cells[3]} comes after {last_day}")
            last_day = max(last_day, cells[3])
            day = digits_date(cells[3], "AAAAMMJJ", number, faults)
            digits_date(cells[9], "AAAAMMJJ", number, faults)
            debit = whole_cents(cells[11], ",", number, faults)
            credit = whole_cents(cells[12], ",", number, faults)
            if not cells[4][:3].isdigit() or len(cells[4]) < 3:
                faults.add(number, f"the account {cells[4]!r} does not begin with three digits")
            if day is None or debit is None or credit is None:
                continue
            if debit and credit:
                faults.add(number, "debit and credit are both above zero")
            side: Literal["D", "C"] = "C" if credit else "D"
            group = (cells[2], cells[3])
            yield ReadLine(
                number, group, cells[0], day, cells[4], cells[6], cells[8], cells[10], side, debit or credit
            )  # fmt: skip
