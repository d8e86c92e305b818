"""Airflow's four programs, for real: they come up, run routes, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from comptoir.airflow.dag_factory import pools
from comptoir.airflow.runtime import AirflowRuntime
from comptoir.app.config import load
from comptoir.errors import ComptoirError
from comptoir.store import embedded
from comptoir.store.embedded import EmbeddedServer

from tests.support import probe_connector

pytestmark = [pytest.mark.airflow, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]

ITEMS, REFUSED = "comptoir__items", "comptoir__refused"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration of the probe connector; its database is deleted afterwards."""
    probe_connector.install(tmp_path / "site")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    )
    for name, value in probe_connector.CONNECTIONS.items():
        monkeypatch.setenv(name, value)
    # Another Airflow's settings, and a proxy that answers nobody: neither may reach ours.
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "0")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("COMPTOIR_DATABASE_URL", raising=False)
    config = tmp_path / "comptoir.toml"
    # Twelve hours away: a tick that passed a moment ago (a tenth of the interval) would still be run.
    hour = (datetime.now(UTC).hour + 12) % 24
    config.write_text(probe_connector.CONFIG.replace("*/15 6-22 * * *", f"0 {hour} * * *"))
    yield config
    home = tmp_path / ".comptoir"
    deadline = time.monotonic() + 60
    while not embedded.remove(home):
        assert time.monotonic() < deadline, f"still held by {embedded.status(home)['holders']}"
        time.sleep(0.2)


def alive_in(sessions: set[int]) -> list[str]:
    """Every living process of these sessions."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.cmdline()}")
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def listening(sessions: set[int]) -> set[str]:
    """The addresses on which these sessions wait for calls."""
    return {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and os.getsid(connection.pid or 0) in sessions
    }


def wait_for_dags(runtime: AirflowRuntime, *names: str) -> None:
    deadline = time.monotonic() + 90
    while not set(names) <= set(runtime.client.dags()):
        assert runtime.client.import_errors() == []
        assert time.monotonic() < deadline, "the DAGs do not appear"
        time.sleep(0.5)


def test_airflow_comes_up_runs_routes_and_is_gone(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = shop.parent / ".comptoir"
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("airflow")
        runtime = AirflowRuntime(home, shop, server.psycopg2_url("airflow"), server=server)
        begun = time.monotonic()
        with runtime:
            print(f"up after {time.monotonic() - begun:.1f} s")
            client = runtime.client
            assert set(client.health().values()) == {"healthy"}
            sessions = set(runtime.pids.values())
            assert len(sessions) == 4

            private = [runtime.folder, runtime.password_file, runtime.folder / "secrets.json"]
            assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o700, 0o600, 0o600]
            assert len(json.loads((runtime.folder / "secrets.json").read_text())["jwt_secret"]) >= 64
            assert listening(sessions) == {"127.0.0.1"}

            runtime.ensure_pools(pools(load(shop)))
            runtime.ensure_pools(pools(load(shop)))
            assert {name: client.pools()[name] for name in ("comptoir_shop", "comptoir_closed")} == {
                "comptoir_shop": 2,
                "comptoir_closed": 2,
            }

            wait_for_dags(runtime, ITEMS, REFUSED)
            assert client.runs(ITEMS) == [], "a new route does not run before its time"
            good, bad = client.trigger(ITEMS), client.trigger(REFUSED)
            assert client.wait(ITEMS, good, timeout=90) == "success"
            assert client.wait(REFUSED, bad, timeout=90) == "failed"
            report = client.result(ITEMS, good)
            assert (report["route"], report["state"], report["considered"]) == ("items", "success", 0)
            assert "the probe was pulled" in client.log(ITEMS, good)
            said = client.log(REFUSED, bad)
            assert "AuthError: closed says AuthError" in said
            assert "the probe was pulled with ***" in said, "a password is never shown, even if it is logged"

            second = AirflowRuntime(home, shop, server.psycopg2_url("airflow"))
            monkeypatch.setattr(second, "LOCK_SECONDS", 0.5)
            with pytest.raises(ComptoirError, match="running already"):
                second.start()
            begun = time.monotonic()
        print(f"gone after {time.monotonic() - begun:.1f} s")
        assert alive_in(sessions) == []
        assert runtime.pids == {}

        # The second start finds its tables made.
        again = AirflowRuntime(home, shop, server.psycopg2_url("airflow"), server=server)
        begun = time.monotonic()
        with again:
            print(f"up again after {time.monotonic() - begun:.1f} s")
            assert [run["dag_run_id"] for run in again.client.runs(ITEMS)] == [good]
            sessions = set(again.pids.values())
        assert alive_in(sessions) == []


def kill_the_triggerer(serve: int, sessions: set[int]) -> set[int]:
    """Kill the triggerer that serve started; returns the session of the one that takes its place."""
    (triggerer,) = [pid for pid in sessions if "triggerer" in psutil.Process(pid).cmdline()]
    os.kill(triggerer, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        new = {c.pid for c in psutil.Process(serve).children() if os.getsid(c.pid) == c.pid} - sessions
        if new:
            return new
        assert time.monotonic() < deadline, "nobody starts it again"
        time.sleep(0.1)


def test_serve_stops_at_sigterm_and_its_programs_end_when_it_is_killed(shop: Path) -> None:
    home = shop.parent / ".comptoir"
    for number in (signal.SIGTERM, signal.SIGKILL):
        serve = subprocess.Popen(
            [sys.executable, "-m", "comptoir.airflow.serve", str(shop), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert serve.stdout is not None
        try:
            assert serve.stdout.readline().startswith("Airflow:  http://127.0.0.1:")
            assert serve.stdout.readline().startswith("Logs: ")
            sessions = {
                child.pid for child in psutil.Process(serve.pid).children() if os.getsid(child.pid) == child.pid
            }
            assert len(sessions) == 4
            if number == signal.SIGTERM:
                sessions |= kill_the_triggerer(serve.pid, sessions)
                assert serve.stdout.readline().startswith("Airflow's triggerer had ended with code -9 and was started")
        finally:
            serve.send_signal(number)
        said, _ = serve.communicate(timeout=60)
        deadline = time.monotonic() + 60
        while alive_in(sessions):
            assert time.monotonic() < deadline, alive_in(sessions)
            time.sleep(0.2)
        if number == signal.SIGTERM:
            assert (serve.returncode, said) == (0, "Stopped.\n")
            assert embedded.status(home)["holders"] == []


def test_a_program_that_cannot_start_is_said_with_its_words(shop: Path) -> None:
    home = shop.parent / ".comptoir"
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("airflow")
        runtime = AirflowRuntime(
            home,
            shop,
            server.psycopg2_url("airflow"),
            server=server,
            environment={"AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor"},
        )
        with pytest.raises(ComptoirError, match=r"NoSuchExecutor|could not"):
            runtime.start()
        assert runtime.pids == {}
