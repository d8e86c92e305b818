"""`open_files`: folders of files, wherever they are, under one set of rules.

    files = open_files("sftp://partner.example/out", ctx)
    for entry in files.list():
        if files.move(entry.name, f"processing/{entry.name}"):    # claimed: nobody else has it
            with files.open(f"processing/{entry.name}", max_bytes=1_000_000) as handle: ...

| address | where |
|---|---|
| `exchange/in`, `/srv/share/in` | a folder of this machine; a relative one starts at comptoir.toml |
| `sftp://host/path` | SFTP; the server's key is pinned (extra `comptoir[sftp]`) |
| `ftps://host/path` | FTP over TLS with a checked certificate (extra `comptoir[files]`) |
| `s3://bucket/path` | S3 and what speaks like it (extra `comptoir[s3]`) |
| `https://host/path` | files known by name, read through `ctx.http` |

Names come from strangers: one that is no plain name (a separator, a control character, a leading dot) is never given
and never touched. Links are not followed. A file is moved by renaming, so that of two programs one gets it; a file is
written beside its place and then renamed, so that nobody reads half of it. User name and password are those of the
connection, never part of the address.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from comptoir.errors import ConfigError, RecordRejected, StorageFull, TransientError
from comptoir.sdk.protocols import ConnectorContext

__all__ = ["FileEntry", "Files", "LocalFiles", "csv_for_people", "open_files", "settled", "wrong_name"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NAME = 200
#: What programs call files that they have not finished.
_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SCHEMES = ("sftp", "ftps", "s3", "https", "http")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: What file systems without hard links answer (FAT, most network shares).
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file as it was when the folder was listed; `name` is a plain name without a folder."""

    name: str
    size: int
    modified_at: datetime


class Files(Protocol):
    """One place with files. Paths are plain names with `/` between them, below that place.

    All methods raise TransientError when the place cannot be reached, AuthError when it refuses us, StorageFull when
    it cannot be written to.
    """

    def list(self, folder: str = "") -> Sequence[FileEntry]:
        """The files in a folder, by name; none when there is no such folder. Unfinished ones are left out."""
        ...

    def open(self, path: str, *, max_bytes: int) -> BinaryIO:
        """The file's bytes. RecordRejected when it is larger, TransientError when it is gone."""
        ...

    def move(self, source: str, target: str) -> bool:
        """Renames a file; folders are made. False when it is not there any more: somebody else has it.

        FileExistsError when something is at the target already: nothing is ever replaced.
        """
        ...

    def write(self, path: str, data: bytes) -> None:
        """Writes a file, whole or not at all. FileExistsError when it exists."""
        ...


def wrong_name(name: str) -> str | None:
    """Why this is no plain file name that we would touch; None when it is one."""
    if not name or name in (".", ".."):
        return "it is empty"
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
        return f"it is longer than {_LONGEST_NAME} bytes"
    if name.startswith("."):
        return "it is hidden"
    if "/" in name or "\\" in name or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in name):
        return "it holds a character that no file name here has"
    return None


def checked(path: str) -> PurePosixPath:
    """A path of plain names. RecordRejected for any other: it would lead somewhere else."""
    for part in path.split("/"):
        if (wrong := wrong_name(part)) is not None:
            raise RecordRejected(f"{part[:60]!r} is no name of a file or folder: {wrong}", code="file_name")
    return PurePosixPath(path)


def is_finished(name: str) -> bool:
    """Whether a name is plain, and not that of a file somebody is still writing."""
    return wrong_name(name) is None and not name.lower().endswith(_UNFINISHED)


def say_hostile(ctx: ConnectorContext, name: str) -> None:
    """Logs a file that is left alone for its name, unless that is usual (hidden, unfinished)."""
    wrong = wrong_name(name)
    if wrong is not None and not name.startswith("."):
        ctx.logger.warning("%s: a file is left alone for its name %r: %s", ctx.connection, name[:60], wrong)


def settled(files: Files, ctx: ConnectorContext, seconds: float, folder: str = "") -> list[FileEntry]:
    """The files of a folder that have stayed the same for `seconds`, which are waited for when one is younger."""
    before = files.list(folder)
    if seconds <= 0 or not before:
        return list(before)
    now = ctx.clock.now()
    youngest = max(entry.modified_at for entry in before)
    # A file dated in the future may be young as well: clocks of servers differ.
    if now - timedelta(seconds=seconds) < youngest:
        ctx.clock.sleep(seconds)
        same = set(before)
        found = files.list(folder)
        for entry in found:
            if entry not in same:
                ctx.logger.info("%s: %s is still being written; the next run reads it", ctx.connection, entry.name)
        return [entry for entry in found if entry in same]
    return list(before)


def open_files(location: str, ctx: ConnectorContext, *, names: Sequence[str] = ()) -> Files:
    """The files at an address; `names` are those to look for where nothing can be listed (https).

    ConfigError when it is none, holds credentials, or its library is not installed.

    Nothing is connected to before the first call.
    """
    if "://" not in location:
        if not location.strip():
            raise ConfigError(f"{ctx.connection}: no folder is set", connection=ctx.connection, field="folder")
        root = Path(location)
        return LocalFiles(root if root.is_absolute() else ctx.base_dir / root, ctx, own=not root.is_absolute())
    try:
        parts = urlsplit(location)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{ctx.connection}: the folder is no address", connection=ctx.connection) from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(
            f"{ctx.connection}: a folder at {parts.scheme}:// is not known; allowed: a path, "
            + ", ".join(f"{s}://" for s in _SCHEMES),
            connection=ctx.connection,
            field="folder",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{ctx.connection}: the folder's address holds credentials or a query",
            hint=f"User name and password belong into AIRFLOW_CONN_{ctx.connection.upper()}.",
            connection=ctx.connection,
            field="folder",
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"{ctx.connection}: a folder at a plain http address: password and data would be readable on the way",
            hint="Use https.",
            connection=ctx.connection,
            field="folder",
        )
    from comptoir.sdk.remote_files import open_remote

    return open_remote(parts, ctx, names)


class LocalFiles:
    """A folder of this machine, or a mounted share. `own`: it is ours to make when it is missing."""

    def __init__(self, root: Path, ctx: ConnectorContext, *, own: bool) -> None:
        self._root = root
        self._ctx = ctx
        self._own = own

    def list(self, folder: str = "") -> Sequence[FileEntry]:
        """See `Files`. An absolute folder that is missing is a share that is not mounted: TransientError."""
        place = self._place(folder) if folder else self._root
        found = []
        with self._reading():
            if not place.is_dir():
                if place == self._root and not self._own:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                return []
            with os.scandir(place) as entries:
                for entry in entries:
                    if not is_finished(entry.name):
                        say_hostile(self._ctx, entry.name)
                        continue
                    try:
                        seen = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(seen.st_mode):
                        modified = _EPOCH + timedelta(microseconds=seen.st_mtime_ns // 1000)
                        found.append(FileEntry(entry.name, seen.st_size, modified))
        return sorted(found, key=lambda e: e.name)

    def open(self, path: str, *, max_bytes: int) -> BinaryIO:
        """See `Files`."""
        place = self._place(path)
        with self._reading():
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            seen = os.fstat(handle)
            if not stat.S_ISREG(seen.st_mode) or seen.st_size > max_bytes:
                os.close(handle)
                raise too_large(place.name, seen.st_size, max_bytes)
            return os.fdopen(handle, "rb")

    def move(self, source: str, target: str) -> bool:
        """See `Files`. Both are on one file system, so the rename is atomic."""
        here, there = self._place(source), self._place(target)
        with self._writing():
            self._make(there.parent)
            if there.is_symlink() or there.exists():
                raise FileExistsError(target)
            try:
                here.rename(there)
            except FileNotFoundError:
                return False
            return True

    def write(self, path: str, data: bytes) -> None:
        """See `Files`."""
        place = self._place(path)
        part = place.with_name(f".{place.name}.part")
        with self._writing():
            self._make(place.parent)
            part.unlink(missing_ok=True)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o664)
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
                # A link is refused when the name is taken; a rename would replace it.
                try:
                    os.link(part, place)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    if os.path.lexists(place):
                        raise FileExistsError(path) from None
                    part.rename(place)
            finally:
                part.unlink(missing_ok=True)

    def _place(self, path: str) -> Path:
        return self._root / checked(path)

    def _make(self, folder: Path) -> None:
        if not self._own and not self._root.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(
                f"{self._ctx.connection}: the folder or a file in it cannot be read: {_words(error)}",
                hint="Is the share mounted, and may Comptoir read it? The next run goes on.",
                connection=self._ctx.connection,
                code="folder_missing" if isinstance(error, FileNotFoundError) else "unreadable",
            ) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageFull(
                f"{self._ctx.connection}: the folder cannot be written to: {_words(error)}",
                hint="Free space, mount the share, give Comptoir the right to rename files there, or set "
                'after = "keep".',
                connection=self._ctx.connection,
            ) from None


def too_large(name: str, size: int, limit: int) -> RecordRejected:
    """What is said of a file that is larger than it may be, or no file at all."""
    return RecordRejected(
        f"{name} has {size} bytes, and {limit} are allowed",
        hint="Look at the file; when it is right, raise the limit (max_bytes).",
        code="file_size",
    )


def _words(error: OSError) -> str:
    """The system's words without the path: where an installation stands is nobody's business."""
    return error.strerror or type(error).__name__


def csv_for_people(rows: Iterable[Sequence[object]], *, delimiter: str = ";") -> bytes:
    """A CSV file that a spreadsheet opens rightly: UTF-8 with mark, and no cell that it would take for a formula.

    A text with a leading `= + - @`, tab or return gets an apostrophe. For people only: files for programs stay exact.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    for row in rows:
        writer.writerow([f"'{c}" if isinstance(c, str) and c.startswith(_FORMULA) else c for c in row])
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")
