"""A stand-in for Sage 100 Comptabilité, for tests, the demo and the simulation (see `comptoir.testing.books`).

It reads Sage's own format, PNM and the layout of Sage's sample mapping by their descriptions (accounting-files §1 to
§3, §11): it stops at the physical line in error, refuses a file whose piece does not balance, refuses an unknown header
("Fichier inconnu") and a counterpart account in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from comptoir.testing.books import AccountingProgram, BooksDesk, Posting, UnreadableFile, day_of

__all__ = ["BooksDesk", "SageBooks"]


class SageBooks(AccountingProgram):
    """One folder of Sage 100. `version`: the #VER numbers that it reads go up to this one. `whole_file`: one bad piece
    makes it refuse the file; with the option "import the rest" ticked, only itself (unconfirmed)."""

    suffixes = (".TXT", ".PNM")

    def __init__(self, *, version: int = 31, whole_file: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.version = version
        self.whole_file = whole_file

    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """By the ending and the first line: PNM, Sage's own format, else tabs."""
        if name.upper().endswith(".PNM"):
            yield from self._pnm(name, data)
        elif data.startswith(b"#FLG"):
            yield from self._own(name, data)
        else:
            yield from self._columns(name, data)

    def _own(self, name: str, data: bytes) -> Iterator[Posting]:
        lines = self.lines_of(data, "cp850")
        if lines[0] != "#FLG 000" or not re.fullmatch(r"#VER \d+", lines[1]) or int(lines[1][5:]) > self.version:
            raise UnreadableFile(f"{name}: Fichier inconnu ligne : 2")
        if not lines[2].startswith("#DEV "):
            raise UnreadableFile(f"{name}: Fichier inconnu ligne : 3")
        at = 3
        while lines[at] != "#FIN":
            tag, size = lines[at], {"#MECG": 39, "#MECA": 4}.get(lines[at], 0)
            record = lines[at + 1 : at + 1 + size]
            if not size or len(record) < size or any(field.startswith("#") for field in record):
                raise UnreadableFile(f"{name}: erreur ligne {at + 1}")
            if tag == "#MECG":
                yield self._record(name, at, record)
            at += 1 + size
            if at >= len(lines):
                raise UnreadableFile(f"{name}: fin de fichier inattendue")

    def _record(self, name: str, at: int, record: list[str]) -> Posting:
        journal, day, _, piece = record[:4]
        if record[7] or record[9]:
            raise UnreadableFile(f"Les écritures générales ne sont pas équilibrées pour le journal {journal}")
        amount = re.fullmatch(r"(\d+),(\d\d)", record[17])
        if amount is None or record[16] not in "01" or not record[6][:3].isdigit() or len(record[6]) > 13 or record[38]:
            raise UnreadableFile(f"{name}: erreur ligne {at + 1}")
        return Posting(
            (journal, day, piece), journal, day_of(day, "JJMMAA"), piece, record[10], record[6], record[8],
            "D" if record[16] == "0" else "C", int(amount[1] + amount[2]),
        )  # fmt: skip

    def _pnm(self, name: str, data: bytes) -> Iterator[Posting]:
        for number, line in enumerate(self.lines_of(data, "cp1252")[1:], 2):
            if len(line) != 112 or line[83] not in "DC":
                raise UnreadableFile(f"{name}: erreur ligne {number}")
            if line[24] == "A":
                continue
            amount = line[84:104].strip().replace(",", "")
            if not amount.isdigit():
                raise UnreadableFile(f"{name}: montant ligne {number}")
            journal, day, piece = line[:3].strip(), line[3:9], line[38:51].strip()
            yield Posting(
                (journal, day, line[105:112]), journal, day_of(day, "JJMMAA"), piece, line[51:76].strip(),
                line[11:24].strip(), line[25:38].strip(), "D" if line[83] == "D" else "C", int(amount),
            )  # fmt: skip

    def _columns(self, name: str, data: bytes) -> Iterator[Posting]:
        for number, line in enumerate(self.lines_of(data, "cp1252"), 1):
            cells = line.split("\t")
            if len(cells) != 11 or cells[0] != "G" or bool(cells[9]) == bool(cells[10]):
                raise UnreadableFile(f"{name}: erreur ligne {number}")
            amount = (cells[9] or cells[10]).replace(",", "")
            if not amount.isdigit():
                raise UnreadableFile(f"{name}: montant ligne {number}")
            yield Posting(
                (cells[1], cells[2], cells[3]), cells[1], day_of(cells[2], "JJMMAA"), cells[3], cells[6], cells[4],
                cells[5], "D" if cells[9] else "C", int(amount),
            )  # fmt: skip
