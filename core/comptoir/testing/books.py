"""Accounting programs and the person who imports into them, for the sandboxes of connectors that write entry files.

`AccountingProgram` is what a program does with a file: a subclass reads one format by its description and shares no
code with the writers, so that it can contradict them. `BooksDesk` is the person: `step()` imports the waiting files,
renames those that were taken to `.BAK`, as Ciel does by itself, and writes down what was refused. No thread: whoever
drives it calls it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from comptoir.testing.desk import Desk, Outcome, UnreadableFile, lines_of

__all__ = ["AccountingProgram", "BooksDesk", "Outcome", "Posting", "TakenPiece", "UnreadableFile", "day_of", "lines_of"]


@dataclass(frozen=True, slots=True)
class Posting:
    """A line as the program reads it. Lines of one piece have the same `group`."""

    group: tuple[object, ...]
    journal: str
    day: date
    piece: str
    label: str
    account: str
    third: str
    side: Literal["D", "C"]
    cents: int


@dataclass(frozen=True, slots=True)
class TakenPiece:
    """A balanced piece in the books."""

    journal: str
    day: date
    piece: str
    label: str
    lines: tuple[tuple[str, str, str, int], ...]


class AccountingProgram(abc.ABC):
    """The books of one folder, in memory.

    `refuse` maps pieces to a reason, to play a stubborn program; `closed_until`: entries up to this day are refused, as
    all the products do; `known`: the only accounts and third parties that exist (None: they are created).
    """

    #: Whether one bad piece makes the program refuse the file (Sage 100), or only itself (Ciel).
    whole_file = False
    #: Endings of the files that it reads.
    suffixes: tuple[str, ...] = (".TXT",)

    def __init__(
        self,
        *,
        refuse: Mapping[str, str] | None = None,
        closed_until: date | None = None,
        known: set[str] | None = None,
    ) -> None:
        self.refuse = dict(refuse or {})
        self.closed_until = closed_until
        self.known = known
        self.pieces: list[TakenPiece] = []
        self.outcomes: list[Outcome] = []
        self._seen: set[bytes] = set()

    @abc.abstractmethod
    def postings(self, name: str, data: bytes) -> Iterator[Posting]:
        """The lines of a file; UnreadableFile where the program would stop."""

    def import_file(self, name: str, data: bytes) -> Outcome:
        """Imports a file; UnreadableFile when it cannot be read, and then nothing is taken."""
        groups: dict[tuple[object, ...], list[Posting]] = {}
        for posting in self.postings(name, data):
            groups.setdefault(posting.group, []).append(posting)
        outcome = Outcome(name)
        for lines in groups.values():
            reason = self._objection(lines)
            if reason:
                outcome.refused.append((lines[0].piece, reason))
            else:
                outcome.taken.append(lines[0].piece)
        if self.whole_file and outcome.refused:
            words = f"le fichier est refuse: piece {outcome.refused[0][0]}"
            outcome.refused += [(piece, words) for piece in outcome.taken]
            outcome.taken.clear()
        refused = {piece for piece, _ in outcome.refused}
        for lines in groups.values():
            head = lines[0]
            if head.piece not in refused:
                rows = tuple((line.account, line.third, line.side, line.cents) for line in lines)
                self.pieces.append(TakenPiece(head.journal, head.day, head.piece, head.label, rows))
        self.outcomes.append(outcome)
        return outcome

    def _objection(self, lines: list[Posting]) -> str | None:
        head = lines[0]
        if head.piece in self.refuse:
            return self.refuse[head.piece]
        balance = sum(line.cents if line.side == "D" else -line.cents for line in lines)
        if balance:
            return f"ecriture desequilibree de {balance} centimes"
        if self.closed_until is not None and head.day <= self.closed_until:
            return f"periode cloturee au {self.closed_until:%d/%m/%Y}"
        if len({(line.day, line.journal, line.piece) for line in lines}) > 1:
            return "date, journal ou piece differents dans une ecriture"
        for line in lines:
            if self.known is not None and (line.third or line.account) not in self.known:
                return f"compte {line.third or line.account} inconnu"
        return None

    def balance(self, account: str, third: str | None = None) -> int:
        """Debit less credit of an account in cents; of one third party of it, when that is named."""
        return sum(
            cents if side == "D" else -cents
            for piece in self.pieces
            for name, of, side, cents in piece.lines
            if name == account and third in (None, of)
        )

    def lines_of(self, data: bytes, charset: str) -> list[str]:
        """The lines of a file; UnreadableFile when it is Unicode, in another charset, or has other line ends."""
        return lines_of(data, charset)


def day_of(text: str, form: str) -> date:
    """A date written as `form` says (JJMMAA, AAAAMMJJ ...); UnreadableFile when it is none."""
    found = {mark: "".join(c for c, m in zip(text, form, strict=False) if m == mark) for mark in "JMA"}
    try:
        year = int(found["A"])
        return date(year + 2000 if len(found["A"]) == 2 else year, int(found["M"]), int(found["J"]))
    except ValueError:
        raise UnreadableFile(f"{text!r} is no date {form}") from None


class BooksDesk(Desk[AccountingProgram]):
    """The operator beside the books: imports what lies in `compta/` (`comptoir.testing.desk`)."""

    place = "compta"
