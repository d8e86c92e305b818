"""Files of entries read again after they were handed over: has anybody changed them since?

What the receipts say of a file's bytes shows that it was changed; the format's own reader, which shares no code with
its writer, shows where: piece, account, cents.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from comptoir.sdk.journal.entry import BookEntry
from comptoir.sdk.journal.formats import BookFormat
from comptoir.sdk.journal.linter import Faults

__all__ = ["altered"]

#: (piece, account, third party, side) -> cents.
_Sums = Counter[tuple[str, str, str, str]]
_MOST = 20


def altered(
    receipt: Mapping[str, Any], folder: Path, book_format: BookFormat, entries: Mapping[str, BookEntry]
) -> list[str]:
    """What the files of a batch that still lie in `folder` say otherwise than what was handed over, a sentence each.

    `entries` are those of the batch by natural key. Files that were taken are passed over. OSError when one that lies
    there cannot be read.
    """
    files = receipt["files"]
    found: list[str] = []
    for number, file in enumerate(files):
        path = folder / file["name"]
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == file["sha256"]:
                continue
        pieces = {
            str(record["name"]): entries.get(str(record["key"]))
            for record in receipt["records"]
            if record.get("file", len(files) - 1) == number
        }
        said = list(_differences(path, book_format, pieces)) if pieces else []
        found += [f"{file['name']}: {words}" for words in said[:_MOST]]
        if not said:
            found.append(f"{file['name']}: it was changed after it was handed over; its amounts are the same")
    return found


def _differences(path: Path, book_format: BookFormat, pieces: Mapping[str, BookEntry | None]) -> Iterator[str]:
    faults = Faults()
    read: _Sums = Counter()
    with path.open("rb") as stream:
        for line in book_format.read(stream, faults):
            read[line.piece, line.account, line.third, line.side] += line.cents
    handed = _handed(pieces, one_column=book_format.one_column)
    for key in sorted({*read, *handed}):
        if read[key] != handed[key]:
            piece, account, third, side = key
            where = f"{account} ({third})" if third else account
            word = "debit" if side == "D" else "credit"
            yield (
                f"piece {piece}, account {where}: the file has {read[key] / 100:.2f} {word}, "
                f"{handed[key] / 100:.2f} was handed over"
            )
    yield from faults.found


def _handed(pieces: Mapping[str, BookEntry | None], *, one_column: bool) -> _Sums:
    handed: _Sums = Counter()
    for piece, entry in pieces.items():
        for line in _lines(entry):
            account = line.third or line.account if one_column else line.account
            handed[piece, account, "" if one_column else line.third, line.side] += line.cents
    return handed


def _lines(entry: BookEntry | None) -> Iterable[Any]:
    return () if entry is None else entry.lines
