"""The exchange folder of one connection on this machine: placing files, seeing what became of them.

<folder>/import/, compta/ ...   where the program takes the files
<folder>/ack/, export/          what goes back to the hub; sent reports are moved to ack/sent/
<folder>/taken/                 files that were imported
<folder>/.agent/                pending files, files that were given back; ours alone
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal

from comptoir_agent.errors import HubRefused, LocalTrouble
from comptoir_agent.state import File, sync_folder

__all__ = ["Exchange", "digest_of", "safe_name"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
#: Names that mean a device to Windows, whatever their ending.
_DEVICES = frozenset(["CON", "PRN", "AUX", "NUL", *(f"{n}{d}" for n in ("COM", "LPT") for d in range(10))])
_OURS = ("ack", "export", "taken")
_MARK = ".BAK"

Where = Literal["pending", "there", "other", "marked", "aside", "gone"]


def safe_name(name: str) -> PurePosixPath:
    """FOLDER/FILE as the hub gives it; HubRefused when it would stand anywhere but right below the folder."""
    parts = name.split("/")
    usable = all(
        _PART.fullmatch(part) and not part.endswith((" ", ".")) and part.split(".")[0].upper() not in _DEVICES
        for part in parts
    )
    if len(parts) != 2 or not usable or parts[0].lower() in _OURS:
        raise HubRefused(f"the hub gives a file the name {name!r}, which is not written here", 0)
    return PurePosixPath(name)


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Exchange:
    """One folder. Every error of the operating system becomes LocalTrouble; nothing is half done then."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self._own = root / ".agent"

    def check(self) -> None:
        """LocalTrouble when the folder is not there: an unmounted drive must not look like an empty folder."""
        if not self.root.is_dir():
            raise LocalTrouble(f"{self.name}: the folder {self.root} does not exist: make it once, or mount the drive")

    def pending(self, batch: str, number: int) -> Path:
        """Where a file is kept until the whole batch is here."""
        return self._made(self._own / "pending") / f"{batch}.{number}"

    def target(self, file: File) -> Path:
        """Where the program takes it."""
        return self.root / safe_name(file.name)

    def where(self, batch: str, number: int, file: File) -> Where:
        """What became of a file; `other`: one of that name and other contents lies there."""
        with self.errors():
            if (self._own / "pending" / f"{batch}.{number}").is_file():
                return "pending"
            target = self.target(file)
            if (self._aside(batch, file)).is_file():
                return "aside"
            if target.is_file() and not target.is_symlink():
                return "there" if self._is(target, file) else "other"
            if self.marked(file) is not None:
                return "marked"
            if not target.parent.is_dir():
                raise LocalTrouble(f"{self.name}: the folder {target.parent} is not there any more")
            return "gone"

    def marked(self, file: File) -> Path | None:
        """The file under the name that the program gave it after it took it: X.BAK or X.TXT.BAK."""
        target = self.target(file)
        for path in (target.with_name(f"{target.name}{_MARK}"), target.with_suffix(_MARK)):
            if path.is_file() and self._is(path, file):
                return path
        return None

    def is_free(self, file: File) -> bool:
        """Whether nothing lies under the name, nor under those that the program gives to what it has taken."""
        target = self.target(file)
        names = (target, target.with_name(f"{target.name}{_MARK}"), target.with_suffix(_MARK))
        with self.errors():
            return not any(path.exists() or path.is_symlink() for path in names)

    def place(self, batch: str, number: int, file: File) -> None:
        """Makes a pending file visible at once; LocalTrouble when something lies there, which is never overwritten."""
        with self.errors():
            target = self.target(file)
            self._made(target.parent)
            self._move(self._own / "pending" / f"{batch}.{number}", target)

    def drop_pending(self, batch: str, count: int) -> None:
        """Removes what was fetched and never shown."""
        with self.errors():
            for number in range(count):
                (self._own / "pending" / f"{batch}.{number}").unlink(missing_ok=True)

    def take_aside(self, batch: str, file: File) -> None:
        """Moves a file that nobody has taken away from the program, for good."""
        with self.errors():
            aside = self._aside(batch, file)
            self._made(aside.parent)
            self._move(self.target(file), aside)

    def forget(self, batch: str) -> None:
        """Removes what was moved aside: the hub has it back, and its own copy."""
        with self.errors():
            folder = self._own / "withdrawn" / batch
            for path in folder.iterdir() if folder.is_dir() else ():
                path.unlink()

    def file_away(self, batch: str, file: File) -> None:
        """Moves what the program left of an imported file into `taken/`."""
        with self.errors():
            target = self.target(file)
            left = target if target.is_file() and self._is(target, file) else self.marked(file)
            if left is not None:
                folder = self._made(self.root / "taken")
                final = folder / left.name
                self._move(left, folder / f"{batch[-12:]}-{left.name}" if final.exists() else final)

    def waiting(self, folder: str) -> list[Path]:
        """What lies in `ack` or `export` to be sent, oldest first; hidden and temporary files are left out."""
        with self.errors():
            place = self.root / folder
            if not place.is_dir():
                return []
            found = [
                path
                for path in place.iterdir()
                if path.is_file()
                and not path.is_symlink()
                and path.suffix.lower() in (".csv", ".txt")
                and path.name[0] not in ".~"
            ]
            return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def sent(self, path: Path, digest: str) -> None:
        """Files a report away that the hub has."""
        with self.errors():
            final = self._made(path.parent / "sent") / path.name
            if final.exists():
                final = final.with_name(f"{path.stem}-{digest[:12]}{path.suffix}")
            path.replace(final)

    def deliver(self, source: Path, folder: str, name: str) -> None:
        """Puts a file that was made here into `ack` or `export`, at once."""
        with self.errors():
            source.replace(self._made(self.root / folder) / name)

    def making(self, name: str) -> Path:
        """Where a reading is written before it is delivered; nothing is there."""
        with self.errors():
            path = self._made(self._own / "readings") / name
            path.unlink(missing_ok=True)
            return path

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns errors of the operating system into LocalTrouble that names the connection and the file."""
        try:
            yield
        except FileExistsError as error:
            raise LocalTrouble(
                f"{self.name}: {Path(str(error.filename2 or error.filename)).name} still lies there and is not "
                "overwritten: import it, or move it away"
            ) from None
        except OSError as error:
            named = f" ({Path(str(error.filename)).name})" if error.filename else ""
            raise LocalTrouble(f"{self.name}: {error.strerror or type(error).__name__}{named}") from None

    def _aside(self, batch: str, file: File) -> Path:
        return self._own / "withdrawn" / batch / safe_name(file.name).name

    def _made(self, folder: Path) -> Path:
        self.check()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @staticmethod
    def _is(path: Path, file: File) -> bool:
        return path.stat().st_size == file.bytes and digest_of(path) == file.sha256

    @staticmethod
    def _move(source: Path, target: Path) -> None:
        """Renames; FileExistsError when the target is there."""
        # Windows refuses by itself to rename over a file. Elsewhere nobody else makes files of these names: there the
        # program is a stand-in.
        if sys.platform != "win32" and (target.exists() or target.is_symlink()):
            raise FileExistsError(17, "File exists", str(source), None, str(target))
        source.rename(target)
        sync_folder(target.parent)
        sync_folder(source.parent)
