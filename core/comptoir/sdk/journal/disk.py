"""The few file operations that the hand-over needs, in one place: a test crashes between any two of them.

Errors of the operating system that an operator can mend become `StorageFull`, with the path relative to the
configuration's folder: a message never shows where the installation stands.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from comptoir.errors import StorageFull

__all__ = ["Disk", "storage_errors"]


class Disk:
    """Durable file operations of one folder."""

    def write_new(self, path: Path, data: bytes) -> None:
        """Writes a file that did not exist and makes it durable; a part that did not fit is removed again."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o664)
        try:
            try:
                self._write(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def append(self, path: Path, data: bytes) -> None:
        """Adds whole lines at the end of a file and makes them durable; a torn last line is closed first."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:
            size = os.lseek(handle, 0, os.SEEK_END)
            if size and os.pread(handle, 1, size - 1) != b"\n":
                data = b"\n" + data
            self._write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, path: Path, data: bytes) -> None:
        """Gives a file new contents at once: readers see the old or the new ones, also after a power cut."""
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        self.write_new(temporary, data)
        self.move(temporary, path)
        self.sync_folder(path.parent)

    def move(self, source: Path, target: Path) -> None:
        """Renames within one file system: atomic."""
        os.rename(source, target)  # noqa: PTH104 - the seam names the system call

    def remove(self, path: Path) -> None:
        """Removes a file that may be gone already."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Makes renames and removals in a folder durable."""
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def make_folder(self, folder: Path) -> None:
        """Creates one of our sub-folders; its parent exists."""
        folder.mkdir(exist_ok=True)

    def _write(self, handle: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    def try_lock(self, path: Path) -> int | None:
        """An exclusive lock on the file, None when someone else holds it. Released by `unlock` or with the
        process.
        """
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            raise
        return handle

    def unlock(self, handle: int) -> None:
        """Gives the lock back."""
        os.close(handle)


@contextlib.contextmanager
def storage_errors(base: Path, connection: str, program: str) -> Iterator[None]:
    """Turns an operating system error into StorageFull with the path relative to `base`; `program` reads the files."""
    try:
        yield
    except OSError as error:
        named = Path(str(error.filename)) if error.filename else None
        shown = ""
        if named is not None:
            shown = f" ({named.relative_to(base) if named.is_relative_to(base) else named.name})"
        raise StorageFull(
            f"{connection}: cannot write the files for {program}: {error.strerror or type(error).__name__}{shown}",
            hint="Free space on the disk, or check that the share is mounted and writable; nothing was handed over and "
            "the next run does it.",
            connection=connection,
        ) from None
