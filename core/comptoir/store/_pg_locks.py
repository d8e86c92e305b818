"""The embedded server's lock files: flock on files of a folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comptoir.errors import DatabaseUnavailable

__all__ = ["belongs_to_folder", "is_locked", "locked", "open_lock", "try_lock"]


def open_lock(path: Path) -> int:
    """The open lock file, made where it is missing."""
    # Python's descriptors are not inheritable: neither postgres nor any other program that a holder starts
    # keeps one.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    belongs_to_folder(fd, path.parent)
    return fd


def belongs_to_folder(fd: int, folder: Path) -> None:
    """Give a file that root made in a user's installation to that user, whom it would lock out otherwise."""
    owner = folder.stat()
    if os.geteuid() == 0 and os.fstat(fd).st_uid != owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def try_lock(fd: int, kind: int) -> bool:
    """Whether the lock (fcntl.LOCK_SH or LOCK_EX) could be had at once."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock exclusively."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Holds the exclusive lock; DatabaseUnavailable when it cannot be had in so many seconds."""
    fd = open_lock(path)
    try:
        deadline = time.monotonic() + timeout
        while not try_lock(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"Another process has been starting the embedded database for {timeout:.0f} seconds.",
                    hint="Try again; if it persists, see which process holds the file " + str(path),
                )
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)
