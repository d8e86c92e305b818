"""The accountant: one person, one accounting program of those that a writer exists for, and the files between them.

Each program reads the files' bytes by itself and shares no code with the writers (see `comptoir.testing.books`). What
it holds is told in the hub's own accounts, so that the journal can be compared with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

from comptoir.testing.books import AccountingProgram, BooksDesk

__all__ = ["PROGRAMS", "TAKES", "Accountant", "Program"]

_SAGE_EXPORT = b"#FLG 000\r\n#VER 31\r\n#DEV EUR\r\n#FIN\r\n"
_TRA_EXPORT = b"***S5EXPJRLSTD EXERCICE 2026\r\n"
#: What becomes of a file that was imported.
TAKES = ("rename", "move", "delete")


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the connection to it. `beside`: files of the merchant's that its settings name; `ours`: its account
    and third party -> the hub's account, where the folder calls it otherwise."""

    connector: str
    books: str
    settings: str = ""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    ours: Mapping[tuple[str, str], str] = field(default_factory=dict)


#: Every format that the shipped writers know, by what a seed's story calls it.
PROGRAMS: dict[str, Program] = {
    "EBP (ECRITURES.TXT)": Program("ebp", "EbpBooks"),
    "FEC layout": Program("fec", "FecBooks"),
    "Sage 100 (#MECG)": Program(
        "sage", "SageBooks", 'header_from = "export.txt"\ncollectives = { "411" = "411000" }',
        {"export.txt": _SAGE_EXPORT}, {("411000", "CATELIER"): "411ATELIER"},
    ),
    "Sage 100 (PNM)": Program(
        "sage", "SageBooks", 'profile = "pnm"\naccounts = { "411ATELIER" = "411000/CWEB" }',
        ours={("411000", "CWEB"): "411ATELIER"},
    ),
    "Sage 100 (columns)": Program("sage", "SageBooks", 'profile = "columns_sage"'),
    "Ciel (XIMPORT.TXT)": Program("ciel", "CielBooks"),
    "Ciel (RIMPORT.TXT)": Program("ciel", "CielBooks", 'profile = "rimport"'),
    "Quadra (ASCII)": Program(
        "cegid", "CegidBooks", 'accounts = { "411ATELIER" = "411000/01WEB" }',
        ours={("411000", "01WEB"): "411ATELIER"},
    ),
    "Cegid (TRA)": Program(
        "cegid", "CegidBooks", 'profile = "tra"\nheader_from = "export.tra"', {"export.tra": _TRA_EXPORT}
    ),
    "Cegid (list)": Program("cegid", "CegidBooks", 'profile = "csv"'),
}  # fmt: skip


class Accountant:
    """Imports what lies in the folder when `step` is called; what a program took is counted by piece and account."""

    def __init__(
        self, name: str, takes: str, folder: Path, sandbox: Callable[[str], Any], now: Callable[[], datetime]
    ) -> None:
        self._program = PROGRAMS[name]
        for file, data in self._program.beside.items():
            (folder.parent / file).write_bytes(data)
        kind: Any = sandbox(self._program.connector)
        self._books: Any = getattr(kind, self._program.books)()
        left = cast(Literal["rename", "move", "delete"], takes)
        if isinstance(self._books, AccountingProgram):
            self._desk: Any = BooksDesk(folder, self._books, takes=left)
        else:
            self._desk = kind.EbpSandbox(folder, books=self._books, takes=left, now=now)

    def step(self) -> list[str]:
        """Imports what waits now; the names of the files."""
        done: list[str] = self._desk.step()
        return done

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Files that the program could not read, and why."""
        found: list[tuple[str, str]] = self._desk.unreadable
        return found

    @property
    def refused(self) -> list[tuple[str, str]]:
        """Pieces that it did not take, and why."""
        return [refusal for outcome in self._books.outcomes for refusal in outcome.refused]

    @property
    def pieces(self) -> Counter[tuple[str, str]]:
        """How often it holds each piece: by journal and number."""
        if isinstance(self._books, AccountingProgram):
            return Counter((piece.journal, piece.piece) for piece in self._books.pieces)
        return Counter((entry.journal, entry.piece) for entry in self._books.entries)

    @property
    def balances(self) -> dict[str, Decimal]:
        """Debit less credit of each of the hub's accounts."""
        found: Counter[str] = Counter()
        for account, third, side, cents in self._lines():
            found[self._program.ours.get((account, third), account)] += cents if side == "D" else -cents
        return {account: Decimal(cents).scaleb(-2) for account, cents in found.items()}

    def _lines(self) -> list[tuple[str, str, str, int]]:
        if isinstance(self._books, AccountingProgram):
            return [line for piece in self._books.pieces for line in piece.lines]
        return [(a, "", side, int(amount * 100)) for e in self._books.entries for a, side, amount in e.lines]
