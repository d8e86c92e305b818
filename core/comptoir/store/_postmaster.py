"""Looking at, stopping and watching over the embedded PostgreSQL, with the standard library only.

`embedded.py` imports the helpers. As a program this file is the supervisor: the small process that stays
behind, waits until no process uses the server any more, and stops it:

    python -I -S _postmaster.py <base folder> <fd of the locked supervisor.lock>

It is started by its path and imports nothing of Comptoir, because it lives as long as the server does and
every imported megabyte would be held all that time.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: A process number that no kernel hands out (Linux stops at 2**22): see `disown_stale_pid_file`.
NO_SUCH_PID = 99_999_999

#: How long a fast shutdown (one checkpoint) may take before the server is stopped the hard way.
FAST_SHUTDOWN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What `postmaster.pid` says about a server that was seen alive."""

    pid: int
    socket_dir: Path | None
    ready: bool


def read_postmaster(data: Path) -> Postmaster | None:
    """The running server of this data folder, or None when there is none (a stale pid file is none)."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return None
    if not is_postmaster(pid, data):
        return None
    socket_dir = Path(lines[4]) if len(lines) > 4 and lines[4].strip() else None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return Postmaster(pid, socket_dir, ready)


def is_postmaster(pid: int, data: Path) -> bool:
    """Whether this process is the server of that data folder, and alive.

    A bare `kill(pid, 0)` is not enough: after a reboot, and in containers above all, the number soon belongs
    to somebody else, and a killed server stays visible as a zombie where process 1 does not collect its
    children.
    """
    if pid <= 0:
        return False
    proc = Path("/proc") / str(pid)
    if Path("/proc/self").exists():
        try:
            # The server changes into its data folder and stays there; a zombie has no working folder any
            # more.
            if not (proc / "cwd").samefile(data):
                return False
            # Its children stand there too, and one of them may by chance have the number of a server that
            # died; they call themselves "postgres: checkpointer" and the like.
            return not (proc / "cmdline").read_bytes().startswith(b"postgres: ")
        except OSError:
            return False
    command = ["/bin/ps", "-p", str(pid), "-o", "stat=,comm="]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return len(shown) > 1 and not shown[0].startswith("Z") and "postgres" in shown[-1]


def disown_stale_pid_file(path: Path, data: Path) -> bool:
    """Make a left-over pid file harmless whose number belongs to another process now; True if it was one.

    `path` is `postmaster.pid`, or the lock of the socket, which looks the same. PostgreSQL recovers from a
    stale file itself as long as the number in it is free, but refuses to start when any living process has
    it. Removing `postmaster.pid` would also remove its note of the shared memory, by which PostgreSQL finds
    out that orphans of the dead server still write to the data. So only the number is replaced, by one that
    nobody has.

    The caller holds the start lock and has seen that no server runs.
    """
    try:
        first, newline, rest = path.read_text(encoding="utf-8", errors="replace").partition("\n")
        pid = int(first)
    except FileNotFoundError:
        return False
    except ValueError:
        # Cut short by a full disk or a power failure: PostgreSQL calls it bogus and would refuse it for ever.
        path.unlink()
        return True
    if pid == NO_SUCH_PID or not _exists(pid) or is_postmaster(pid, data):
        return False
    # Written in place (not by rename): owner and rights of the file stay as the server made them.
    with path.open("r+", encoding="utf-8") as stream:
        stream.write(f"{NO_SUCH_PID}{newline}{rest}")
        stream.truncate()
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def stop_postmaster(data: Path, *, timeout: float = FAST_SHUTDOWN_SECONDS) -> bool:
    """Stop the server of this data folder, as cleanly as it lets us; True when it is gone.

    By signal, as `pg_ctl stop` does, but without the binaries: the wheel may have been upgraded or removed
    meanwhile. First a fast shutdown (clients are cut off, a checkpoint is written), then an immediate one
    (the next start recovers from the log), then SIGKILL.
    """
    server = read_postmaster(data)
    if server is None:
        return True
    for number, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.kill(server.pid, number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not is_postmaster(server.pid, data):
                return True
            time.sleep(0.01)
    return False


def _become_daemon() -> None:
    # The program that started us may live for months: a grandchild leaves it no zombie to collect.
    if os.fork():
        os._exit(0)
    os.chdir("/")
    # Only the lock ends the supervisor. A terminal's Ctrl-C or a service manager's SIGTERM to the whole group
    # reach the users of the server too; once these have gone the server is stopped cleanly, which is what was
    # asked for.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _supervise(base: Path, guard: int) -> int:
    """Wait for the last holder to go, then stop the server; `guard` is the locked `supervisor.lock`."""
    holders = os.open(base / "holders.lock", os.O_RDWR | os.O_CLOEXEC)
    _become_daemon()
    # Granted by the kernel when the last shared lock is closed, also when its owner was killed. While it is
    # held no new holder comes in, so nobody can be handed a server that is about to stop.
    fcntl.flock(holders, fcntl.LOCK_EX)
    stopped = stop_postmaster(base / "data")
    if not stopped:
        with suppress(OSError), (base / "supervisor.log").open("a", encoding="utf-8") as log:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            log.write(f"{now} the server could not be stopped\n")
    # In this order: whoever gets in after us must find the post of the supervisor vacant.
    os.close(guard)
    os.close(holders)
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(_supervise(Path(sys.argv[1]), int(sys.argv[2])))
