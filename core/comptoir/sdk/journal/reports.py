"""Import reports that the operator drops into `<folder>/ack/`, and other lists of that shape.

Text in the connection's charset with `;` (or tabs) between the columns, told apart by its header. The layout of an
**import report** is ours, because no accounting program writes one that we know of:
`Import - Fichier;Import - Document;Import - Résultat;Import - Motif`. `Import - Document` is the record as it is called
in the file (piece, document number, customer code), `Import - Résultat` is IMPORTE or REFUSE. A connector may know
further layouts (`Layout`).

A file that is none of them, is too large, in another charset or torn is moved to `ack/rejected/` beside a file that
says why, so one bad file never blocks the next.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptoir.sdk.journal.disk import storage_errors
from comptoir.sdk.journal.handover import Ledger
from comptoir.sdk.protocols import ConnectorContext

__all__ = [
    "IMPORT_COLUMNS",
    "ImportRow",
    "Layout",
    "Report",
    "ReportFolder",
    "UnreadableReport",
    "checked_row",
    "read_report",
    "reports_in",
]

IMPORT_COLUMNS = ("Import - Fichier", "Import - Document", "Import - Résultat", "Import - Motif")
_LONGEST_ROW = 20_000
_UTF8_MARK = b"\xef\xbb\xbf"
_QUERY = (b"Comptoir;", b'"Comptoir";')
#: Rows after the header, and the header.
_Rows = Callable[[Iterator[list[str]], list[str]], Iterator[Any]]


class UnreadableReport(Exception):
    """The file cannot be used; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line of an import report."""

    file: str
    name: str
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A kind of list: the columns by which it is known, and how its rows are read."""

    columns: tuple[str, ...]
    rows: _Rows


@dataclass(frozen=True, slots=True)
class Report:
    """What a file says, the fingerprint of what was read, and whether its last line is ended."""

    name: str
    sha256: str
    rows: tuple[Any, ...]
    ended: bool


def reports_in(folder: Path) -> list[Path]:
    """The report files of a folder, oldest first (by time of change, then name); hidden and temporary ones
    left out.
    """
    if not folder.is_dir():
        return []
    usable = [
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.is_symlink()
        and path.suffix.lower() in (".csv", ".txt")
        and path.name[0] not in ".~"
    ]
    return sorted(usable, key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_report(path: Path, *, charset: str, max_bytes: int, others: Sequence[Layout] = ()) -> Report:
    """The contents of a report file; UnreadableReport with the reason when it cannot be used."""
    size = path.stat().st_size
    if size > max_bytes:
        raise UnreadableReport(f"it has {size} bytes, more than the {max_bytes} that ack_max_bytes allows")
    data = path.read_bytes()
    if data.removeprefix(_UTF8_MARK).startswith(_QUERY):  # a result of a packaged query: docs/reading-sql.md
        data, charset = data.removeprefix(_UTF8_MARK), "utf-8"
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data:
        raise UnreadableReport(f"it is Unicode text; export it as {charset} (ANSI)")
    try:
        text = data.decode(charset)
    except UnicodeDecodeError as error:
        raise UnreadableReport(f"it is not {charset} text (byte {error.start})") from None
    rows = tuple(_rows(text, charset, others))
    ended = data.endswith((b"\n", b"\r"))
    return Report(path.name, hashlib.sha256(data).hexdigest(), rows, ended)


def _rows(text: str, charset: str, others: Sequence[Layout]) -> Iterator[Any]:
    first = text.split("\n", 1)[0]
    sign = "\t" if "\t" in first and ";" not in first else ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
    layouts = [*others, Layout(IMPORT_COLUMNS, _import_rows)]
    try:
        header = [h.strip() for h in next(reader, [])]
        for layout in layouts:
            if all(column in header for column in layout.columns):
                yield from layout.rows(reader, header)
                return
        known = " nor ".join(f"those of a list ({', '.join(layout.columns)})" for layout in others)
        raise UnreadableReport(
            f"its first line has neither the columns of an import report ({'; '.join(IMPORT_COLUMNS)})"
            + (f" nor {known}" if known else "")
            + f"; check the columns, the separator ; and the charset {charset}"
        )
    except csv.Error as error:
        raise UnreadableReport(f"line {reader.line_num}: {error}") from None


def checked_row(row: list[str], width: int, line: int) -> list[str] | None:
    """The stripped cells of a row, None for an empty one; UnreadableReport when it has another width."""
    if not any(c.strip() for c in row):
        return None
    if len(row) != width or sum(map(len, row)) > _LONGEST_ROW:
        raise UnreadableReport(f"line {line} has {len(row)} columns and the header {width}")
    return [c.strip() for c in row]


def _import_rows(reader: Iterator[list[str]], header: list[str]) -> Iterator[ImportRow]:
    positions = [header.index(column) for column in IMPORT_COLUMNS]
    for line, raw in enumerate(reader, 2):
        row = checked_row(raw, len(header), line)
        if row is None:
            continue
        file, name, result, reason = (row[p] for p in positions)
        word = "".join(c for c in unicodedata.normalize("NFKD", result.upper()) if c.isalpha())
        if word not in ("IMPORTE", "REFUSE") or not name:
            raise UnreadableReport(f"line {line}: the result must be IMPORTE or REFUSE and the document named")
        yield ImportRow(file, name, word == "IMPORTE", reason)


class ReportFolder:
    """`<folder>/ack/` of one connection: reads what lies there, files it away once its words are safe."""

    def __init__(
        self, ledger: Ledger, ctx: ConnectorContext, *, charset: str, max_bytes: int, program: str,
        others: Sequence[Layout] = (),
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._ctx = ctx
        self._charset = charset
        self._max_bytes = max_bytes
        self._program = program
        self._others = others
        self._told: dict[str, str] = {}
        self.folder = ledger.folder / "ack"

    def waiting(self) -> Iterator[Report]:
        """Reports, oldest first; unusable ones are moved to `ack/rejected/` with the reason."""
        with self._errors():
            found = reports_in(self.folder)
        for path in found:
            report = self._read(path)
            if report is not None:
                self._told[report.name] = report.sha256
                yield report

    def again(self, name: str) -> Report | None:
        """A report that `waiting` gave, if it is still there unchanged. Call it inside `Ledger.locked`: another run may
        have filed it away while this one waited for the folder."""
        path = self.folder / name
        if Path(name).name != name:
            return None
        read = self._read(path) if path.is_file() else None
        return read if read is not None and self._told.get(name) == read.sha256 else None

    def done(self, report: Report) -> None:
        """Files a report away under `ack/done/`."""
        self.file_away(self.folder / report.name, "done", report.sha256)
        self._told.pop(report.name, None)

    def file_away(self, path: Path, folder: str, fingerprint: str) -> Path:
        """Moves a file into a sub-folder of `ack/`, never over another one."""
        disk = self._ledger.disk
        with self._errors():
            target = self.folder / folder
            for made in (self.folder, target):
                if not made.is_dir():
                    disk.make_folder(made)
            final = target / path.name
            if final.exists():
                final = target / f"{path.stem}-{fingerprint[:12]}{path.suffix}"
            disk.move(path, final)
            disk.remove(path.with_name(f".{path.name}.seen"))
            disk.sync_folder(target)
            disk.sync_folder(path.parent)
            return final

    def _read(self, path: Path) -> Report | None:
        """The report, None when it is refused (and moved away) or still being written."""
        with self._errors():
            try:
                report = read_report(path, charset=self._charset, max_bytes=self._max_bytes, others=self._others)
            except FileNotFoundError:
                return None
            except UnreadableReport as error:
                self._refuse(path, str(error))
                return None
        return report if report.ended or self._seen_before(path, report.sha256) else None

    def _seen_before(self, path: Path, fingerprint: str) -> bool:
        """A file without a last line end may still be on its way: it is read when it looks the same twice."""
        with self._errors():
            mark = path.with_name(f".{path.name}.seen")
            if mark.is_file() and mark.read_text("ascii", "replace") == fingerprint:
                return True
            self._ledger.disk.replace(mark, fingerprint.encode("ascii"))
            return False

    def _refuse(self, path: Path, reason: str) -> None:
        self._ctx.logger.warning("%s: the report %s cannot be used: %s", self._ctx.connection, path.name, reason)
        stamp = hashlib.sha256(f"{path.name} {path.stat().st_mtime_ns}".encode()).hexdigest()
        target = self.file_away(path, "rejected", stamp)
        self._ledger.disk.replace(target.with_name(f"{target.name}.reason"), f"{path.name}: {reason}\n".encode())

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return storage_errors(self._ctx.base_dir, self._ctx.connection, self._program)
