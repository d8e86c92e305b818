"""The person who imports files into a program, for the sandboxes of connectors that write them.

`step()` imports what waits in a folder and acknowledges it as told. No thread: whoever drives it calls it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Literal, Protocol, TypeVar

__all__ = ["Desk", "Outcome", "Program", "UnreadableFile", "lines_of"]


class UnreadableFile(Exception):
    """The program cannot read the file at all; nothing of it was taken."""


@dataclass(slots=True)
class Outcome:
    """What became of the records of one file, by the names that the file gives them."""

    file: str
    taken: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


class Program(Protocol):
    """What imports files."""

    #: Endings of the files that it reads.
    suffixes: tuple[str, ...]

    def import_file(self, name: str, data: bytes) -> Outcome:
        """Imports a file; UnreadableFile when it cannot be read, and then nothing is taken."""
        ...


P = TypeVar("P", bound=Program)


class Desk(Generic[P]):
    """The operator beside a program: imports what lies in a folder when `step()` is called.

    `takes`: what he does with a file that was imported: `rename` it to .BAK (Ciel does that by itself), `move` it away,
    or `delete` it. What could not be read goes to `refused/` and is noted in `unreadable`. With `report`, the refused
    records of a file stand in an import report in `ack/`.
    """

    #: The folder below the connection's, how its reports are called, and the order in which kinds of files are taken.
    place: ClassVar[str]
    reports: ClassVar[str] = "import"
    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        folder: Path,
        program: P,
        *,
        takes: Literal["rename", "move", "delete"] = "rename",
        report: bool = True,
    ) -> None:
        self.folder = folder
        self.program = program
        self.takes = takes
        self.report = report
        self.unreadable: list[tuple[str, str]] = []
        self._written = 0

    def waiting(self) -> list[Path]:
        """The files that were not imported yet, oldest name of the first kind first."""
        folder = self.folder / self.place
        if not folder.is_dir():
            return []
        found = [p for p in folder.iterdir() if p.is_file() and p.suffix.upper() in self.program.suffixes]
        return sorted(found, key=lambda p: (self._kind(p.name), p.name))

    def _kind(self, name: str) -> int:
        return next((n for n, kind in enumerate(self.kinds) if name.startswith(kind)), len(self.kinds))

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
                # A file with refused records is none that was imported: the report speaks for each of them.
                if self.report:
                    self._say(outcome)
                self._put(path, "imported")
            else:
                self._take(path)
        return done

    def _take(self, path: Path) -> None:
        if self.takes == "rename":
            path.rename(path.with_suffix(".BAK"))
        elif self.takes == "move":
            self._put(path, "imported")
        else:
            path.unlink()

    def _put(self, path: Path, folder: str) -> None:
        target = self.folder / folder
        target.mkdir(exist_ok=True)
        final, count = target / path.name, 1
        while final.exists():
            final, count = target / f"{path.stem}-{count}{path.suffix}", count + 1
        path.rename(final)

    def _say(self, outcome: Outcome) -> None:
        rows = ["Import - Fichier;Import - Document;Import - Résultat;Import - Motif"]
        rows += [f"{outcome.file};{name};IMPORTE;" for name in outcome.taken]
        rows += [f"{outcome.file};{name};REFUSE;{reason.replace(';', ',')}" for name, reason in outcome.refused]
        self.drop(self.reports, ("\r\n".join(rows) + "\r\n").encode("cp1252", "replace"))

    def drop(self, stem: str, data: bytes) -> None:
        """Puts a file into `ack/`, whole at once."""
        self._written += 1
        ack = self.folder / "ack"
        ack.mkdir(exist_ok=True)
        part = ack / f".{stem}-{self._written:04d}.csv"
        part.write_bytes(data)
        part.rename(ack / part.name[1:])


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
