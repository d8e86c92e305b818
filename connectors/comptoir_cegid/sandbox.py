"""A stand-in for the accountant's Quadra or Cegid, for tests and the demo (see `comptoir.testing.books`).

It reads QuadraCompta ASCII, TRA and the list with semicolons by their descriptions (accounting-files §8 and §9).
"""

from __future__ import annotations

from collections.abc import Iterator

from comptoir.testing.books import AccountingProgram, BooksDesk, Posting, day_of
from comptoir.testing.desk import UnreadableFile

__all__ = ["BooksDesk", "CegidBooks"]


class CegidBooks(AccountingProgram):
    """One folder. An account of a third party that no `C` record describes is refused by Quadra."""

    suffixes = (".TXT", ".TRA", ".CSV")

    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """By the ending: TRA, the list, else Quadra."""
        reader = {".TRA": self._tra, ".CSV": self._list}.get(name[-4:].upper(), self._quadra)
        yield from reader(name, self.lines_of(data, "cp1252"))

    def _quadra(self, name: str, lines: list[str]) -> Iterator[Posting]:
        collectives: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if line[0] == "C" and len(line) == 453:
                collectives[line[1:9].strip()] = line[98:106].strip()
                continue
            if line[0] != "M" or len(line) != 231 or not line[43:55].isdigit() or line[41] not in "DC":
                raise UnreadableFile(f"{name}: ligne {number}")
            account, journal, day = line[1:9].strip(), line[9:11].strip(), line[14:20]
            if not account.isdigit() and account not in collectives:
                raise UnreadableFile(f"{name}: compte {account} inconnu ligne {number}")
            piece = line[99:107].strip()
            third = account if account in collectives else ""
            yield Posting(
                (journal, day, piece), journal, day_of(day, "JJMMAA"), piece, line[116:146].strip(),
                collectives.get(account, account), third, "D" if line[41] == "D" else "C", int(line[43:55]),
            )  # fmt: skip

    def _tra(self, name: str, lines: list[str]) -> Iterator[Posting]:
        if not lines[0].startswith("***"):
            raise UnreadableFile(f"{name}: la ligne d'en-tete manque")
        for number, line in enumerate(lines[1:], 2):
            amount = line[130:150].strip().replace(",", "")
            if len(line) != 222 or line[129] not in "DC" or not amount.isdigit():
                raise UnreadableFile(f"{name}: ligne {number}")
            if line[30] == "A":
                continue
            journal, day = line[:3].strip(), line[3:11]
            yield Posting(
                (journal, day, line[151:159]), journal, day_of(day, "JJMMAAAA"), line[48:83].strip(),
                line[83:118].strip(), line[13:30].strip(), line[31:48].strip(), "D" if line[129] == "D" else "C",
                int(amount),
            )  # fmt: skip

    def _list(self, name: str, lines: list[str]) -> Iterator[Posting]:
        for number, line in enumerate(lines, 1):
            cells = line.split(";")
            if len(cells) != 8 or cells[4] not in ("D", "C") or not cells[5].replace(",", "").isdigit():
                raise UnreadableFile(f"{name}: ligne {number}")
            day, journal, account, third, side, amount, label, piece = cells
            yield Posting(
                (journal, day, piece), journal, day_of(day, "JJMMAAAA"), piece, label, account, third,
                "D" if side == "D" else "C", int(amount.replace(",", "")),
            )  # fmt: skip
