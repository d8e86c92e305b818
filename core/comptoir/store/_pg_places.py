"""Where a home's embedded server lives, and which account runs it."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from comptoir.errors import DatabaseUnavailable
from comptoir.store._pg_locks import locked

__all__ = [
    "ACCOUNT",
    "PORT",
    "ROOT_BASE",
    "START_SECONDS",
    "Account",
    "Place",
    "account_name",
    "digest",
    "hint_for",
    "make_base",
    "new_base",
    "place_of",
    "private_dir",
    "unavailable",
]

#: Where the data goes when root runs Comptoir; PostgreSQL itself then runs as `ACCOUNT`.
ROOT_BASE: Final = Path("/var/lib/comptoir")
ACCOUNT: Final = "nobody"

#: Only part of the socket's file name, but libpq would take it from PGPORT if it were not said.
PORT: Final = 5432

#: Linux allows 107 bytes for a socket's path, other systems 103; PostgreSQL appends "/.s.PGSQL.5432".
_SOCKET_DIR_BYTES: Final = 103 - len(f"/.s.PGSQL.{PORT}")

#: How long starting may take, and waiting for somebody else who starts or stops.
START_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Account:
    """The account PostgreSQL runs as."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        """Whether it is not the account of this process."""
        return self.uid != os.geteuid()


@dataclass(frozen=True, slots=True)
class Place:
    """Where one home's server lives."""

    home: Path
    base: Path
    account: Account

    @property
    def data(self) -> Path:
        """The data folder of PostgreSQL."""
        return self.base / "data"

    @property
    def log_dir(self) -> Path:
        """The folder of its logs."""
        return self.base / "log"

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: the same for every process, whatever its environment says."""
        inside = self.base / "run"
        # Besides being too long, a path can hold what URLs, libpq's host lists and PostgreSQL's own list of
        # folders each quote differently. A short plain path needs no quoting anywhere.
        if len(os.fsencode(inside)) <= _SOCKET_DIR_BYTES and re.fullmatch(r"[A-Za-z0-9/._-]+", str(inside)):
            return inside
        return Path(f"/tmp/comptoir-{self.account.uid}-{digest(self.base)}")  # noqa: S108 - checked in private_dir


def place_of(home: Path) -> Place:
    """Where the server of this home lives and who runs it; creates nothing."""
    home = home.resolve()
    own = home / "pg"
    if os.geteuid() != 0:
        return Place(home, own, _account(os.geteuid()))
    with suppress(FileNotFoundError):
        owner = (own / "data").stat().st_uid
        if owner != 0:
            # An ordinary user's installation, visited by root: it stays theirs.
            return Place(home, own, _account(owner))
    try:
        nobody = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise DatabaseUnavailable(
            f"PostgreSQL does not run as root, and there is no account {ACCOUNT!r} that could run it.",
            hint="Run Comptoir as an ordinary user, or set COMPTOIR_DATABASE_URL to a PostgreSQL server.",
        ) from None
    return Place(home, _root_base(home), Account(nobody.pw_uid, nobody.pw_gid, nobody.pw_name))


def _root_base(home: Path) -> Path:
    """The base folder under /var/lib for root's home; a home that was moved keeps its data."""
    try:
        known = Path((home / "pg" / "location").read_text(encoding="utf-8").strip())
        origin = Path((known / "home").read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return ROOT_BASE / digest(home)
    if origin != home and (origin / "pg" / "location").exists():
        raise DatabaseUnavailable(
            f"{home} is a copy of {origin}, and both would use the same database in {known}.",
            hint=f"Remove {home / 'pg' / 'location'} to give the copy an empty database of its own.",
        )
    return known


def new_base(home: Path, place: Place) -> Place:
    """The same place, unless its folder outside the home is a leftover: then a fresh one is chosen, once and for all.

    Root's data does not go away with a home that is deleted by hand. A new home at the same path is another
    installation: it must not take over the old one's database.
    """
    if place.base.is_relative_to(home) or (home / "pg" / "location").exists():
        return place
    _make_home(home)
    with locked(home / "pg" / "location.lock", START_SECONDS):
        if not (home / "pg" / "location").exists():
            names = (place.base.name, *(f"{place.base.name}-{n}" for n in range(2, 1000)))
            free = (place.base.with_name(name) for name in names)
            place = replace(place, base=next(base for base in free if not base.exists()))
            make_base(place)
    return place_of(home)


def _make_home(home: Path) -> None:
    for folder in (home, home / "pg"):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)


def make_base(place: Place) -> None:
    """The folders of a place, where they are missing; DatabaseUnavailable when somebody else made them."""
    _make_home(place.home)
    if place.base.is_relative_to(place.home):
        return
    # Others may pass through (PostgreSQL's account has to), not look around.
    for folder in (ROOT_BASE, place.base):
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(0o711)
    if place.base.stat().st_uid != 0:
        raise unavailable(f"{place.base} does not belong to root.", place, "")
    for path, text in ((place.home / "pg" / "location", place.base), (place.base / "home", place.home)):
        if not path.exists() or path.read_text(encoding="utf-8").strip() != str(text):
            fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
            fresh.write_text(f"{text}\n", encoding="utf-8")
            fresh.replace(path)


def private_dir(path: Path, account: Account) -> None:
    """Make a folder that only its account can enter, and refuse one that somebody else has put there."""
    try:
        path.mkdir(mode=0o700)
        if account.is_other:
            os.chown(path, account.uid, account.gid)
    except FileExistsError:
        found = path.lstat()
        if not path.is_dir() or path.is_symlink() or found.st_uid != account.uid:
            raise DatabaseUnavailable(
                f"{path} exists but does not belong to the account {account.name!r} that runs the database.",
                hint="Remove it, or find out who made it.",
            ) from None
        if found.st_mode & 0o077:
            path.chmod(0o700)


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise DatabaseUnavailable(
            f"The account number {uid} has no name on this machine, and PostgreSQL does not run without one.",
            hint="Add the account to /etc/passwd, or set COMPTOIR_DATABASE_URL to a PostgreSQL server.",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def account_name(uid: int) -> str | None:
    """The name of an account number; None when this machine knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def digest(path: Path) -> str:
    """16 hexadecimal characters that stand for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def unavailable(message: str, place: Place, said: str) -> DatabaseUnavailable:
    """The error, with the last lines of what PostgreSQL said and a hint."""
    last = [line.strip() for line in said.splitlines() if line.strip()][-4:]
    return DatabaseUnavailable(" ".join([message, *last]) if last else message, hint=hint_for(said, place))


def hint_for(said: str, place: Place) -> str:
    """What to do about what PostgreSQL said."""
    lowered = said.lower()
    if "no space left" in lowered or "disk quota" in lowered:
        return f"The disk is full. Free some space on the file system of {place.base} and try again."
    if "read-only file system" in lowered or "permission denied" in lowered:
        return f"The account {place.account.name!r} needs to be able to write to {place.base}."
    if "shared memory" in lowered or "cannot allocate memory" in lowered or "semget" in lowered:
        return "The machine is short of memory or of shared memory; 300 MB are enough for the embedded database."
    return (
        f"The server's log is in {place.log_dir}. Comptoir also works with any PostgreSQL from version 15: "
        "set COMPTOIR_DATABASE_URL."
    )
