"""A stand-in for Ciel Compta / Sage 50, for tests, the demo and the simulation (see `comptoir.testing.books`).

It reads XIMPORT and RIMPORT by their descriptions (accounting-files §4, §5 and §11): a bad movement is listed and left
out, the others become drafts, and a file is renamed to `.BAK` when it was imported.
"""

from __future__ import annotations

from collections.abc import Iterator

from comptoir.testing.books import AccountingProgram, BooksDesk, Posting, UnreadableFile, day_of

__all__ = ["BooksDesk", "CielBooks"]


class CielBooks(AccountingProgram):
    """One folder of Ciel Compta or Sage 50."""

    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """By the first line: RIMPORT's head, else the columns of XIMPORT."""
        if data.startswith(b"##"):
            yield from self._rimport(name, data)
        else:
            yield from self._ximport(name, data)

    def _ximport(self, name: str, data: bytes) -> Iterator[Posting]:
        for number, line in enumerate(self.lines_of(data, "cp1252"), 1):
            if len(line) not in (138, 142) or line[137] != "O" or line[84] not in "DC":
                raise UnreadableFile(f"{name}: ligne {number}")
            amount = line[71:84].strip()
            if amount[-3:-2] != "." or not amount.replace(".", "").isdigit() or not line[35:38].isdigit():
                raise UnreadableFile(f"{name}: compte ou montant ligne {number}")
            journal, day = line[5:7].strip(), line[7:15]
            yield Posting(
                (line[0:5], journal, day), journal, day_of(day, "AAAAMMJJ"), line[23:35].strip(), line[46:71].strip(),
                line[35:46].strip(), "", "D" if line[84] == "D" else "C", int(amount.replace(".", "")),
            )  # fmt: skip

    def _rimport(self, name: str, data: bytes) -> Iterator[Posting]:
        lines = self.lines_of(data, "cp1252")
        if lines[0] != "##Transfert" or "##Section\tMvt" not in lines:
            raise UnreadableFile(f"{name}: la section Mvt manque")
        start = lines.index("##Section\tMvt") + 1
        for number, line in enumerate(lines[start:], start + 1):
            cells = [cell.strip('"') for cell in line.split("\t")]
            if len(cells) != 22 or cells[6] not in ("D", "C") or not cells[3][:3].isdigit():
                raise UnreadableFile(f"{name}: ligne {number}")
            amount = cells[5].replace(".", "")
            if not amount.isdigit():
                raise UnreadableFile(f"{name}: montant ligne {number}")
            yield Posting(
                (cells[0], cells[1], cells[2]), cells[1], day_of(cells[2], "JJ/MM/AAAA"), cells[9], cells[8], cells[3],
                "", "D" if cells[6] == "D" else "C", int(amount),
            )  # fmt: skip
