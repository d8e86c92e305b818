"""What comes back from EBP: re-exported document lists and import reports dropped into `<folder>/ack/`.

Two layouts, `;`-separated text in the connection's charset, told apart by their header:

* **a list of documents**, exported by the user or by EBP's command line: it has the columns
  `Document - Numéro du document` and `Document - Référence`. A reference "Document importé n° X" says that
  our document X was taken and is now known under the number of the first column (gescom-interfaces §2.3).
  Other documents of the list are not ours and are passed over.
* **an import report**, filled in by the operator (EBP writes none that we know of; the layout is ours):
  `Import - Fichier;Import - Document;Import - Résultat;Import - Motif`. `Import - Document` is the document
  number, the customer code or the piece number as it stands in the file, `Import - Résultat` is IMPORTE or
  REFUSE.

A file that is neither, is too large, in another charset or torn is moved to `ack/rejected/` beside a file
that says why, so one bad file never blocks the next.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ImportRow",
    "ListedDocument",
    "Report",
    "UnreadableReport",
    "imported_number",
    "read_report",
    "reports_in",
]

NUMBER, REFERENCE = "Document - Numéro du document", "Document - Référence"
IMPORT_COLUMNS = ("Import - Fichier", "Import - Document", "Import - Résultat", "Import - Motif")
_IMPORTED = re.compile(r"Document\s+import[ée]\s+n\s*[°º]?\s*([^\s°º].*)$", re.IGNORECASE)
_LONGEST_ROW = 20_000


class UnreadableReport(Exception):
    """The file cannot be used; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document of ours that EBP shows under its own number."""

    document: str
    ebp_number: str


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line of an import report."""

    file: str
    name: str
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a file says, the fingerprint of what was read, and whether its last line is ended."""

    name: str
    sha256: str
    rows: tuple[ListedDocument | ImportRow, ...]
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


def imported_number(reference: str) -> str | None:
    """The X of "Document importé n° X"; None for another reference."""
    match = _IMPORTED.search(unicodedata.normalize("NFC", reference))
    return match.group(1).strip() if match else None


def read_report(path: Path, *, charset: str, max_bytes: int) -> Report:
    """The contents of a report file; UnreadableReport with the reason when it cannot be used."""
    size = path.stat().st_size
    if size > max_bytes:
        raise UnreadableReport(f"it has {size} bytes, more than the {max_bytes} that ack_max_bytes allows")
    data = path.read_bytes()
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data:
        raise UnreadableReport(f"it is Unicode text; export it as {charset} (ANSI)")
    try:
        text = data.decode(charset)
    except UnicodeDecodeError as error:
        raise UnreadableReport(f"it is not {charset} text (byte {error.start})") from None
    rows = tuple(_rows(text, charset))
    ended = data.endswith((b"\n", b"\r"))
    return Report(path.name, hashlib.sha256(data).hexdigest(), rows, ended)


def _rows(text: str, charset: str) -> Iterator[ListedDocument | ImportRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    try:
        header = [h.strip() for h in next(reader, [])]
        if all(column in header for column in (NUMBER, REFERENCE)):
            yield from _listed(reader, header.index(NUMBER), header.index(REFERENCE), len(header))
        elif all(column in header for column in IMPORT_COLUMNS):
            yield from _import_rows(reader, header)
        else:
            raise UnreadableReport(
                f"its first line has neither the columns {NUMBER!r} and {REFERENCE!r} nor those of an "
                "import report "
                f"({'; '.join(IMPORT_COLUMNS)}); check the columns, the separator ; and the charset {charset}"
            )
    except csv.Error as error:
        raise UnreadableReport(f"line {reader.line_num}: {error}") from None


def _checked(row: list[str], width: int, line: int) -> list[str] | None:
    if not any(c.strip() for c in row):
        return None
    if len(row) != width or sum(map(len, row)) > _LONGEST_ROW:
        raise UnreadableReport(f"line {line} has {len(row)} columns and the header {width}")
    return [c.strip() for c in row]


def _listed(reader: Iterator[list[str]], number: int, reference: int, width: int) -> Iterator[ListedDocument]:
    for line, raw in enumerate(reader, 2):
        row = _checked(raw, width, line)
        document = imported_number(row[reference]) if row else None
        if row and document:
            if not row[number]:
                raise UnreadableReport(f"line {line} has no document number")
            yield ListedDocument(document, row[number])


def _import_rows(reader: Iterator[list[str]], header: list[str]) -> Iterator[ImportRow]:
    positions = [header.index(column) for column in IMPORT_COLUMNS]
    for line, raw in enumerate(reader, 2):
        row = _checked(raw, len(header), line)
        if row is None:
            continue
        file, name, result, reason = (row[p] for p in positions)
        word = "".join(c for c in unicodedata.normalize("NFKD", result.upper()) if c.isalpha())
        if word not in ("IMPORTE", "REFUSE") or not name:
            raise UnreadableReport(f"line {line}: the result must be IMPORTE or REFUSE and the document named")
        yield ImportRow(file, name, word == "IMPORTE", reason)
