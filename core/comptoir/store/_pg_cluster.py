"""The embedded PostgreSQL itself: its data folder, settings and start, and the process that watches over it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg

from comptoir.errors import DatabaseUnavailable
from comptoir.store import _postmaster
from comptoir.store._pg_binaries import INSTALLS, install_of
from comptoir.store._pg_locks import belongs_to_folder, is_locked, locked, open_lock, try_lock
from comptoir.store._pg_places import PORT, START_SECONDS, Place, account_name, private_dir, unavailable
from comptoir.store._postmaster import disown_stale_pid_file, read_postmaster

__all__ = ["ROLE", "conninfo", "ensure_running", "ensure_supervisor"]

#: The database role, a superuser: the server belongs to this installation alone.
ROLE: Final = "comptoir"

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


def ensure_running(place: Place) -> None:
    """Return when the server answers. The caller has the shared lock, so nobody stops it meanwhile."""
    # The usual case takes no lock: it runs, and somebody watches over it.
    if _answers(place) and is_locked(place.base / "supervisor.lock"):
        return
    with locked(place.base / "start.lock", START_SECONDS):
        # Before the server: were we killed between the two, nobody would stop it.
        ensure_supervisor(place)
        deadline = time.monotonic() + START_SECONDS
        while not _answers(place):
            if read_postmaster(place.data) is None:
                _start(place, deadline)
            elif time.monotonic() > deadline:
                raise unavailable("The embedded database runs but does not answer.", place, "")
            else:
                # It recovers from a crash, or somebody stops it by hand: both are over soon.
                time.sleep(0.05)


def _answers(place: Place) -> bool:
    server = read_postmaster(place.data)
    if server is None or not server.ready:
        return False
    try:
        folder = server.socket_dir or place.socket_dir
        psycopg.connect(conninfo(folder, "postgres"), connect_timeout=10).close()
    except psycopg.OperationalError as error:
        text = str(error)
        if "too many clients" in text or "remaining connection slots" in text:
            return True
        if "authentication failed" in text:
            raise unavailable(f"The embedded database refuses this account: {text}", place, text) from error
        return False
    return True


def conninfo(socket_dir: Path, database: str) -> str:
    """libpq's connection string."""
    return f"host={socket_dir} port={PORT} user={ROLE} dbname={database}"


def ensure_supervisor(place: Place) -> None:
    """Returns when a process watches over the server that stops it after its last holder."""
    guard = open_lock(place.base / "supervisor.lock")
    try:
        if not try_lock(guard, fcntl.LOCK_EX):
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


def _start(place: Place, deadline: float) -> None:
    install = install_of(place)
    if not (place.data / "PG_VERSION").exists():
        _initialise(place, install)
    private_dir(place.socket_dir, place.account)
    private_dir(place.log_dir, place.account)
    _configure(place)
    disown_stale_pid_file(place.data / "postmaster.pid", place.data)
    disown_stale_pid_file(place.socket_dir / f".s.PGSQL.{PORT}.lock", place.data)
    # PGDATA instead of -D: pg_ctl hands -D to a shell, which would expand a "$" in the merchant's folder
    # names. The paths are relative for the same reason.
    command = [str(install / "bin" / "pg_ctl"), "start", "-w", "-s", "-t", f"{START_SECONDS:.0f}", "-l"]
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
    raise unavailable("The embedded PostgreSQL could not be started.", place, said)


def _log_sizes(place: Place) -> dict[Path, int]:
    return {path: path.stat().st_size for path in sorted(place.log_dir.glob("*.log"))}


def _initialise(place: Place, install: Path) -> None:
    """Create the data folder as a whole or not at all: a half-made one is never taken for a database."""
    for left_over in place.base.glob("data.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    new = place.base / f"data.new-{os.getpid()}"
    private_dir(new, place.account)
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
    major = next(key for key, name in INSTALLS.items() if name == install.name)
    if int(major) >= 17:
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    done = _run(place, command)
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise unavailable("The embedded PostgreSQL could not create its data folder.", place, done.stdout)
    new.rename(place.data)


def _configure(place: Place) -> None:
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
    names = dict.fromkeys([place.account.name, account_name(os.geteuid()), account_name(0)])
    _write(place, place.base / "postgresql.conf", settings)
    _write(place, hba, f"local all {ROLE} peer map=comptoir\n")
    _write(place, ident, "".join(f'comptoir "{name}" {ROLE}\n' for name in names if name))


def _write(place: Place, path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    # Created, never opened: what else should stand there in a folder of somebody else's is not followed.
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
        # Read by the server's account, written by ours alone: there is nothing secret in it.
        os.fchmod(fd, 0o644 if place.account.is_other else 0o600)
        belongs_to_folder(fd, path.parent)
    fresh.replace(path)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "''") + "'"


def _run(
    place: Place, command: list[str], *, environment: dict[str, str] | None = None
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
                timeout=START_SECONDS + 30,
                **identity,  # type: ignore[call-overload]
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read(), "")
    except (OSError, subprocess.SubprocessError) as error:
        raise unavailable(f"{Path(command[0]).name} could not be run: {error}", place, str(error)) from error
