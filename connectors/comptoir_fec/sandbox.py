"""A stand-in for a program that imports the FEC layout, for tests and the demo (see `comptoir.testing.books`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comptoir.testing.books import AccountingProgram, BooksDesk, Posting, day_of
from comptoir.testing.desk import UnreadableFile

__all__ = ["BooksDesk", "FecBooks"]


class FecBooks(AccountingProgram):
    """Finds its columns by the names of the first line, in whatever order they stand."""

    def __init__(self, *, charset: str = "utf-8", **settings: Any) -> None:
        super().__init__(**settings)
        self.charset = charset

    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """One line a line."""
        lines = self.lines_of(data, self.charset)
        header = lines[0].split("\t")
        for number, line in enumerate(lines[1:], 2):
            cells = dict(zip(header, line.split("\t"), strict=False))
            try:
                debit, credit = (int(cells[side].replace(",", "")) for side in ("Debit", "Credit"))
                journal, day, piece = cells["JournalCode"], cells["EcritureDate"], cells["PieceRef"]
                yield Posting(
                    (cells["EcritureNum"],), journal, day_of(day, "AAAAMMJJ"), piece, cells["EcritureLib"],
                    cells["CompteNum"], cells["CompAuxNum"], "D" if debit else "C", debit or credit,
                )  # fmt: skip
            except (KeyError, ValueError):
                raise UnreadableFile(f"{name}: ligne {number}") from None
