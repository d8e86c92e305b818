"""`comptoir demo`: the whole day through Airflow's scheduler ends by itself, holds, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from comptoir.store import embedded

pytestmark = [pytest.mark.airflow, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1500)]

ROUTES = {
    "orders", "items", "stock", "customers", "customers_back", "books", "kiosque_orders", "kiosque_stock",
    "marche_orders", "marche_stock",
}  # fmt: skip
DAGS = {f"comptoir__{route}" for route in ROUTES}
#: Routes that nothing wakes: what changes in the programs is seen by looking.
BY_SCHEDULE_ALONE = {"comptoir__customers_back"}
#: Every program that the demo starts inherits it; a number of our own, so that nobody else's is counted.
MARK = "DEMO_TEST_MARK"


@contextmanager
def demo(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo with nothing of our environment, as `env -i` would start it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "comptoir.airflow.demo", *arguments],
        env={MARK: str(tmp_path), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=180)


def left(tmp_path: Path) -> list[str]:
    """Every living process that was started by a demo of this test, directly or not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(tmp_path) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.cmdline()}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def gone(tmp_path: Path) -> bool:
    """No process any more; the last ones may still be ending."""
    deadline = time.monotonic() + 20
    while left(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not left(tmp_path)


@pytest.mark.failure_mode(21, 25)
def test_the_day_is_played_both_ways_and_everything_holds(tmp_path: Path) -> None:
    begun = time.monotonic()
    with demo(tmp_path, "--headless", "--json") as process:
        said, lines = process.communicate(timeout=1200)
    print(lines)
    print(f"{time.monotonic() - begun:.1f} s")
    assert process.returncode == 0
    assert "Traceback" not in lines
    summary = json.loads(said)
    assert summary["ok"] is True
    assert [check["name"] for check in summary["checks"] if not check["ok"]] == []
    assert len(summary["checks"]) >= 27
    assert {run["state"] for run in summary["runs"]} == {"success"}
    by_kind: dict[str, set[str]] = {}
    for run in summary["runs"]:
        by_kind.setdefault(run["type"], set()).add(run["dag"])
    assert by_kind["scheduled"] == DAGS
    assert by_kind["asset_triggered"] == DAGS - BY_SCHEDULE_ALONE
    assert summary["routes"]["orders"]["order"]["delivered"] > 30
    assert summary["routes"]["books"]["journal_entry"]["delivered"] > 60
    assert summary["routes"]["items"]["item"]["delivered"] == 5, "two prices, two SKUs and a new article, each once"
    for shop in ("kiosque", "marche"):
        route = summary["routes"][f"{shop}_orders"]
        assert route["order"]["delivered"] > 3 and route["refund"]["delivered"] > 0
    assert summary["routes"]["customers_back"]["customer"]["delivered"] == 1
    assert {name: len(seconds) for name, seconds in summary["measured"].items()} == {"alone": 20, "in a burst": 20}
    assert all(second > 0 for seconds in summary["measured"].values() for second in seconds)
    assert gone(tmp_path), left(tmp_path)
    assert list(tmp_path.iterdir()) == [], "the temporary folder is removed"


def test_a_demo_that_is_killed_takes_its_gateway_along(tmp_path: Path) -> None:
    with demo(tmp_path, "--headless", "--folder", str(tmp_path / "shop")) as process:
        deadline = time.monotonic() + 400
        while not any("demo_gateway" in line for line in left(tmp_path)):
            assert process.poll() is None
            assert time.monotonic() < deadline, "the gateway was never started"
            time.sleep(0.5)
        process.kill()
        process.communicate(timeout=60)
    deadline = time.monotonic() + 90
    while found := left(tmp_path):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    # The server stops by itself when its last holder is gone; it is not one of the programs that carry the mark.
    deadline = time.monotonic() + 60
    while not embedded.remove(tmp_path / "shop" / ".comptoir"):
        assert time.monotonic() < deadline, embedded.status(tmp_path / "shop" / ".comptoir")
        time.sleep(0.2)


@pytest.mark.parametrize(("number", "after"), [(signal.SIGINT, 0.5), (signal.SIGINT, 8.0), (signal.SIGTERM, 20.0)])
def test_an_interruption_at_any_moment_of_the_start_stops_cleanly(
    tmp_path: Path, number: signal.Signals, after: float
) -> None:
    with demo(tmp_path, "--headless") as process:
        time.sleep(after)
        assert process.poll() is None
        begun = time.monotonic()
        process.send_signal(number)
        # The impatient press it twice.
        time.sleep(0.3)
        if process.poll() is None:
            process.send_signal(number)
        said, complaints = process.communicate(timeout=120)
    print(said, complaints, f"stopped after {time.monotonic() - begun:.1f} s")
    assert process.returncode == 130
    assert "Traceback" not in said + complaints
    assert f"{number.name}: stop" in said
    assert gone(tmp_path), left(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_in_use_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "comptoir.toml").write_text("mine")
    with demo(tmp_path, "--headless", "--folder", str(folder)) as process:
        said, complaints = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is not empty" in said + complaints
    assert [path.name for path in folder.iterdir()] == ["comptoir.toml"]
    assert embedded.status(folder / ".comptoir")["pid"] is None
