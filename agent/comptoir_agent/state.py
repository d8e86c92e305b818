"""What this machine must not forget: which batches it holds and how far each is. One file, replaced at once.

Everything is written down **before** it is done, so that a program that was killed knows what it may have done.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args

from comptoir_agent.errors import ConfigurationError, LocalTrouble

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Batch", "File", "Stage", "State", "replace_file"]

#: Batches that are finished are remembered by their ids, so that none is ever placed a second time.
_REMEMBERED = 20_000

Stage = Literal[
    "claiming", "claimed", "placing", "placed", "importing", "unclear", "refused", "returning", "returned", "taken"
]


@dataclass(slots=True)
class File:
    """A file of a batch: its name below the connection's folder, and what was found of it."""

    name: str
    sha256: str
    bytes: int
    #: The ending that the program gave to it, once it has taken it.
    mark: str | None = None


@dataclass(slots=True)
class Batch:
    """A batch that this machine has claimed. `next`: the first file whose import was not reported by its command."""

    connection: str
    stage: Stage
    files: list[File] = field(default_factory=list)
    next: int = 0
    exit_code: int | None = None
    detail: str = ""


class State:
    """The state folder: `state.json`, and a lock that this process holds while it lives."""

    def __init__(self, folder: Path) -> None:
        """ConfigurationError when another agent works with this folder, or its file is not ours."""
        self._folder = folder
        self._path = folder / "state.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder / "lock")
        except OSError as error:
            raise ConfigurationError(f"the state folder {folder} cannot be used: {error.strerror}") from None
        if self._lock is None:
            raise ConfigurationError(f"another agent works with the state folder {folder}")
        self.batches: dict[str, Batch] = {}
        self.finished: dict[str, None] = {}
        #: Export files that were sent: connection/folder/name -> size, time of change, digest.
        self.sent: dict[str, list[Any]] = {}
        #: Connections whose readings are due because something was imported.
        self.after_import: list[str] = []
        self._instance = ""
        self._load()

    @property
    def instance(self) -> str:
        """Who this is to the hub. A copy of the folder on another machine is somebody else."""
        return hashlib.sha256(f"{self._instance}\x1f{platform.node()}".encode()).hexdigest()[:32]

    def save(self) -> None:
        """Makes everything durable. LocalTrouble when the disk does not take it: the step must not be begun then."""
        while len(self.finished) > _REMEMBERED:
            del self.finished[next(iter(self.finished))]
        data = {
            "version": 1,
            "instance": self._instance,
            "batches": {key: asdict(batch) for key, batch in self.batches.items()},
            "finished": list(self.finished),
            "sent": self.sent,
            "after_import": self.after_import,
        }
        try:
            replace_file(self._path, json.dumps(data, ensure_ascii=True, indent=0).encode("ascii"))
        except OSError as error:
            raise LocalTrouble(f"the state cannot be written: {error.strerror or error}") from None

    def finish(self, key: str) -> None:
        """The hub knows the end of a batch: only its id is kept."""
        del self.batches[key]
        self.finished[key] = None
        self.save()

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _load(self) -> None:
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            self._instance = os.urandom(16).hex()
            self.save()
            return
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._path} cannot be read: {error}") from None
        try:
            data = json.loads(text)
            if data["version"] != 1:
                raise ValueError("it was written by another version")
            self._instance = str(data["instance"])
            self.batches = {key: _batch(found) for key, found in data["batches"].items()}
            self.finished = dict.fromkeys(data["finished"])
            self.sent = dict(data["sent"])
            self.after_import = list(data["after_import"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"{self._path} is not what this program wrote ({error}): bring it back from a copy, or move it away "
                "and have the hub's operator run: comptoir agent rotate MACHINE --new-machine"
            ) from None


def _batch(found: dict[str, Any]) -> Batch:
    if found["stage"] not in get_args(Stage):
        raise ValueError(f"a batch in the stage {found['stage']!r}")
    return Batch(**{**found, "files": [File(**file) for file in found["files"]]})


def replace_file(path: Path, data: bytes) -> None:
    """Gives a file new contents at once: a reader, or a power cut, sees the old or the new ones."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable. Windows has no such call: NTFS keeps its own journal of them."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lock(path: Path) -> IO[bytes] | None:
    stream = path.open("a+b")
    try:
        if sys.platform == "win32":
            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream
