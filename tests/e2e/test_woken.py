"""Routes that are woken, with a real scheduler and triggerer: a webhook's row is all that it takes."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from comptoir.airflow.dag_factory import pools
from comptoir.airflow.runtime import AirflowRuntime
from comptoir.app.config import load
from comptoir.store import embedded, schema
from comptoir.store.embedded import EmbeddedServer

from tests.support import probe_connector

pytestmark = [pytest.mark.airflow, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(500)]

ITEMS = "comptoir__items"
Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A route of the probe connector that wants to be woken, and whose schedule is twelve hours away."""
    probe_connector.install(tmp_path / "site")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    )
    for name, value in probe_connector.CONNECTIONS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("COMPTOIR_DATABASE_URL", raising=False)
    config = tmp_path / "comptoir.toml"
    hour = (datetime.now(UTC).hour + 12) % 24
    old = 'schedule = "*/15 6-22 * * *"'
    assert old in probe_connector.CONFIG
    config.write_text(probe_connector.CONFIG.replace(old, f'schedule = "0 {hour} * * *"\ntriggers = ["webhook"]'))
    yield config
    home = tmp_path / ".comptoir"
    deadline = time.monotonic() + 60
    while not embedded.remove(home):
        assert time.monotonic() < deadline, f"still held by {embedded.status(home)['holders']}"
        time.sleep(0.2)


def until(what: str, true: Callable[[], Any], seconds: float = 90) -> float:
    """Wait for it; returns how long it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - begun


class Store:
    """The installation's store, as the gateway and the merchant see it."""

    def __init__(self, url: str) -> None:
        self._url = schema.plain_url(url)
        self._number = 0

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def webhook(self) -> None:
        """What the gateway does with a webhook: one row, in a transaction of its own."""
        self._number += 1
        self.rows(
            "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at) "
            "values ('shop', 'item', '1', 'updated', %s, clock_timestamp())",
            f"key {self._number}",
        )

    def waiting(self) -> int:
        return int(self.rows("select count(*) from inbox where done_at is null")[0][0])

    def watched(self) -> bool:
        """The triggerer looks at the store."""
        return bool(self.rows("select 1 from pg_stat_activity where application_name = 'comptoir watch'"))

    def first_line(self) -> float:
        """Seconds from the newest webhook's row to the first row of the run that took it."""
        ((seconds,),) = self.rows(
            "select extract(epoch from run.started_at - inbox.received_at) from inbox join run on run.id = run_id "
            "order by inbox.id desc limit 1"
        )
        return float(seconds)


def woken(runtime: AirflowRuntime) -> list[dict[str, Any]]:
    """The runs that no schedule and no person started."""
    return [run for run in runtime.client.runs(ITEMS, limit=100) if run["run_type"] == "asset_triggered"]


def at_rest(runtime: AirflowRuntime) -> None:
    until("no run is under way", lambda: all(run["state"] in ("success", "failed") for run in woken(runtime)))


def test_webhooks_wake_their_route_whatever_happens_to_the_triggerer(shop: Path) -> None:
    home = shop.parent / ".comptoir"
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("airflow")
        server.ensure_database("comptoir")
        schema.upgrade(server.url("comptoir"))
        store = Store(server.url("comptoir"))
        with AirflowRuntime(home, shop, server.psycopg2_url("airflow"), server=server) as runtime:
            runtime.ensure_pools(pools(load(shop)))
            until("the triggerer looks at the store", store.watched)
            assert runtime.client.import_errors() == []
            assert runtime.client.runs(ITEMS) == [], "nothing waits, nothing runs"

            # One webhook, then one at a time on an installation at rest.
            took, drained = [], []
            for _ in range(6):
                store.webhook()
                drained.append(until("the row is taken", lambda: store.waiting() == 0))
                took.append(store.first_line())
                at_rest(runtime)
            assert {run["state"] for run in woken(runtime)} == {"success"}
            assert len(woken(runtime)) == 6
            print(f"row to first line: median {statistics.median(took):.1f} s of {[round(t, 1) for t in took]}")
            print(f"row to done: median {statistics.median(drained):.1f} s")
            assert store.rows("select distinct trigger from run") == [("webhook",)]
            report = runtime.client.result(ITEMS, woken(runtime)[0]["dag_run_id"])
            assert (report["route"], report["state"], report["rounds"]) == ("items", "success", 1)

            # A burst: few runs, and nothing is left.
            before = len(woken(runtime))
            begun = time.monotonic()
            for _ in range(100):
                store.webhook()
                time.sleep(0.02)
            until("the burst is taken", lambda: store.waiting() == 0)
            print(f"100 rows: gone {time.monotonic() - begun:.1f} s after the first came")
            at_rest(runtime)
            time.sleep(3)
            at_rest(runtime)
            burst = len(woken(runtime)) - before
            print(f"100 rows: {burst} runs")
            assert 1 <= burst <= 3
            assert store.waiting() == 0

            # The triggerer is killed while work comes: nobody is woken, until there is one again.
            before = len(woken(runtime))
            os.kill(runtime.pids["triggerer"], signal.SIGKILL)
            until("it is dead", lambda: runtime.ended() == ["triggerer"])
            for _ in range(20):
                store.webhook()
            assert runtime.revive("triggerer") == -signal.SIGKILL
            print(f"drained {until('the rows are taken', lambda: store.waiting() == 0):.1f} s after the new start")
            at_rest(runtime)
            assert len(woken(runtime)) - before <= 2

            # The database is away for a moment: the watch comes again by itself.
            store.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'comptoir watch'"
            )
            store.webhook()
            until("the row is taken", lambda: store.waiting() == 0)
            at_rest(runtime)
            sessions = runtime.pids
        assert sessions
        assert not store.watched()
