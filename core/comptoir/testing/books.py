"""Accounting programs and the person who imports into them, for the sandboxes of connectors that write entry files.

`AccountingProgram` is what a program does with a file: a subclass reads one format by its description and shares no
code with the writers, so that it can contradict them. `BooksDesk` is the person: `step()` imports the waiting files,
renames those that were taken to `.BAK`, as Ciel does by itself, and writes down what was refused. No thread: whoever
drives it calls it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

__all__ = ["AccountingProgram", "BooksDesk", "Outcome", "Posting", "TakenPiece", "UnreadableFile", "day_of", "lines_of"]


class UnreadableFile(Exception):
    """The program cannot read the file at all; nothing of it was taken."""


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


@dataclass(slots=True)
class Outcome:
    """What became of the pieces of one file."""

    file: str
    taken: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


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


def lines_of(data: bytes, charset: str) -> list[str]:
    """The lines of a file; UnreadableFile when it is Unicode, in another charset, or has other line ends."""
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe")) or b"\x00" in data:
        raise UnreadableFile("the file is Unicode text")
    try:
        text = data.decode(charset)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"the file is not {charset} text (byte {error.start})") from None
    if not text.endswith("\r\n") or "\n" in text.replace("\r\n", "") or "\r" in text.replace("\r\n", ""):
        raise UnreadableFile("lines must end with CR LF")
    return text.split("\r\n")[:-1]


def day_of(text: str, form: str) -> date:
    """A date written as `form` says (JJMMAA, AAAAMMJJ ...); UnreadableFile when it is none."""
    found = {mark: "".join(c for c, m in zip(text, form, strict=False) if m == mark) for mark in "JMA"}
    try:
        year = int(found["A"])
        return date(year + 2000 if len(found["A"]) == 2 else year, int(found["M"]), int(found["J"]))
    except ValueError:
        raise UnreadableFile(f"{text!r} is no date {form}") from None


class BooksDesk:
    """The operator beside the program: imports what lies in `compta/` when `step()` is called.

    `takes`: what he does with a file that was imported: `rename` it to .BAK (Ciel does that by itself), `move` it
    away, or `delete` it. What could not be read goes to `refused/` and is noted in `unreadable`. With `report`, the
    refused pieces of a file stand in an import report in `ack/`.
    """

    def __init__(
        self,
        folder: Path,
        program: AccountingProgram,
        *,
        takes: Literal["rename", "move", "delete"] = "rename",
        report: bool = True,
    ) -> None:
        self.folder = folder
        self.program = program
        self.takes = takes
        self.report = report
        self.unreadable: list[tuple[str, str]] = []
        self._reports = 0

    def waiting(self) -> list[Path]:
        """The files that were not imported yet, oldest name first."""
        folder = self.folder / "compta"
        if not folder.is_dir():
            return []
        return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.upper() in self.program.suffixes)

    def step(self) -> list[str]:
        """Imports what waits now; the names of the files that the program has read."""
        done: list[str] = []
        for path in self.waiting():
            try:
                outcome = self.program.import_file(path.name, path.read_bytes())
            except UnreadableFile as error:
                self.unreadable.append((path.name, str(error)))
                self._put(path, "refused")
                continue
            done.append(path.name)
            if outcome.refused:
                # A file with refused pieces is none that was imported: the report speaks for each piece.
                self._say(outcome)
                self._put(path, "imported")
            elif self.takes == "rename":
                path.rename(path.with_suffix(".BAK"))
            elif self.takes == "move":
                self._put(path, "imported")
            else:
                path.unlink()
        return done

    def _put(self, path: Path, folder: str) -> None:
        target = self.folder / folder
        target.mkdir(exist_ok=True)
        final, count = target / path.name, 1
        while final.exists():
            final, count = target / f"{path.stem}-{count}{path.suffix}", count + 1
        path.rename(final)

    def _say(self, outcome: Outcome) -> None:
        if not self.report:
            return
        self._reports += 1
        rows = ["Import - Fichier;Import - Document;Import - Résultat;Import - Motif"]
        rows += [f"{outcome.file};{piece};IMPORTE;" for piece in outcome.taken]
        rows += [f"{outcome.file};{piece};REFUSE;{reason.replace(';', ',')}" for piece, reason in outcome.refused]
        ack = self.folder / "ack"
        ack.mkdir(exist_ok=True)
        part = ack / f".import-{self._reports:04d}.csv"
        part.write_bytes(("\r\n".join(rows) + "\r\n").encode("cp1252", "replace"))
        part.rename(ack / f"import-{self._reports:04d}.csv")
