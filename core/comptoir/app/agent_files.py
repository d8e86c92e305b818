"""Files of machines in a connection's exchange folder: as a person would put them there, and take them away."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from comptoir.app.bootstrap import Installation
from comptoir.sdk.protocols import BatchFiles

__all__ = ["FOLDERS", "FileRefused", "Spool", "exchange_folder", "exports_folder", "file_away", "is_usable"]

#: Where a machine may put files: what the program says of documents, and what it exports.
FOLDERS = ("ack", "export")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
_ENDINGS = (".csv", ".txt")
_DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{n}{d}" for n in ("com", "lpt") for d in range(10))])
_MARK = ".BAK"
_OLD_SECONDS = 86_400.0


class FileRefused(Exception):
    """A file that is not what was said of it; the text may be shown to its sender."""


def exchange_folder(installation: Installation, connection: str) -> Path | None:
    """The folder that a connection shares with its program (the setting `folder`); None when it has none."""
    folder = getattr(installation.configs[connection], "folder", None)
    return installation.base_dir / folder if isinstance(folder, Path) else None


def exports_folder(installation: Installation, connection: str, folder: Path) -> Path:
    """Where a connection looks for exports (the setting `export_folder`); `export/` unless it says otherwise."""
    own = getattr(installation.configs[connection], "export_folder", None)
    return folder / own if isinstance(own, Path) else folder / "export"


def is_usable(name: str) -> bool:
    """Whether a file may have this name here: one plain part, text, nothing that Windows takes for a device."""
    return (
        _NAME.fullmatch(name) is not None
        and name.lower().endswith(_ENDINGS)
        and ".." not in name
        and name.split(".")[0].strip().lower() not in _DEVICES
    )


def file_away(folder: Path, files: BatchFiles, marks: Sequence[str | None]) -> None:
    """Does to the files of a batch what the program did to the machine's copies: renamed as `marks` says (only to
    the file's own name with .BAK), else moved to `taken/`. A file that was changed or is gone stays as it is."""
    for number, (name, sha256) in enumerate(zip(files.files, files.sha256, strict=True)):
        path = folder / name
        if path.is_symlink() or not path.is_file() or _digest(path) != sha256:
            continue
        mark = marks[number] if number < len(marks) else None
        marked = path.with_name(mark) if mark in (f"{path.name}{_MARK}", path.with_suffix(_MARK).name) else None
        if marked is None or marked.exists():
            taken = folder / "taken"
            taken.mkdir(exist_ok=True)
            marked = taken / path.name
            if marked.exists():
                marked = taken / f"{path.stem}-{sha256[:12]}{path.suffix}"
        path.replace(marked)
        _sync(marked.parent)
        _sync(path.parent)


class Spool:
    """A file that arrives: written aside, shown at once when it is whole and what it should be."""

    def __init__(
        self, folder: Path, target: Path, *, size: int, sha256: str, dropped: str, keep: bool, word: str
    ) -> None:
        """Room for a file. `keep`: one that lies under its name stays, and this one gets another. OSError."""
        # On the disk of the target, so that it can be renamed there at once.
        inside = target.is_relative_to(folder)
        place = folder / ".comptoir" / "uploads" if inside else target.parent / ".uploads"
        place.mkdir(parents=True, exist_ok=True)
        self.size = size
        self.sha256 = sha256
        self.dropped = dropped
        self._target = target
        self._keep = keep
        self._path = place / f"{word}.part"
        self._digest = hashlib.sha256()
        self._written = 0
        self._stream: BinaryIO | None = self._path.open("xb")

    def add(self, part: bytes) -> None:
        """Writes what has arrived; FileRefused when it is more than was said. OSError."""
        self._written += len(part)
        if self._written > self.size or self._stream is None:
            raise FileRefused("the file is larger than was said")
        self._digest.update(part)
        self._stream.write(part)

    def end(self) -> None:
        """Everything has arrived: makes it durable; FileRefused when it is another than was said. OSError."""
        if self._written != self.size or self._digest.hexdigest() != self.sha256 or self._stream is None:
            raise FileRefused("the file is not the one whose digest was given")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._stream = None

    def show(self) -> None:
        """Renames the file to where it is looked for. OSError."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        final = self._target
        if self._keep and final.exists():
            if _digest(final) == self.sha256:
                self.drop()
                return
            final = final.with_name(f"{final.stem}-{self.sha256[:12]}{final.suffix}")
        self._path.replace(final)
        _sync(final.parent)

    def drop(self) -> None:
        """Removes what arrived, if it was not shown."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # the disk is full: what is closed is removed
                self._stream.close()
            self._stream = None
        self._path.unlink(missing_ok=True)

    def sweep(self, now: float) -> None:
        """Removes what processes that were killed have left, a day later; `now` in seconds since 1970."""
        for path in self._path.parent.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # another request was quicker
                if now - path.stat().st_mtime > _OLD_SECONDS:
                    path.unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
