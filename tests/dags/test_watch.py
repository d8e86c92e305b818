"""Routes that are woken: their assets and watchers, when the bell rings, and the stream it hangs on."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comptoir.errors import DatabaseUnavailable
from comptoir.store.waiting import Mark, Snapshot, lock_of

pytestmark = pytest.mark.airflow

CONFIG = """
[company]
name = "Les Bocaux"
country = "FR"
currency = "EUR"

[connections.shop]
connector = "woocommerce"
invoicing = "self"

[connections.gesco]
connector = "ebp"
folder = "exchange"

[routes.orders]
entity = "order"
from = "shop"
to = ["gesco"]
schedule = "*/15 * * * *"
triggers = ["webhook"]

[routes.books]
entity = "journal_entry"
from = "hub"
to = ["gesco"]
schedule = "0 6 * * *"

[routes.items]
entity = "item"
from = "gesco"
to = ["shop"]
triggers = ["webhook"]

[routes.by_hand]
entity = "customer"
from = "shop"
to = ["gesco"]

[routes.read_only]
entity = "customer"
from = "shop"
schedule = "0 5 * * *"
"""
INBOX, DUE = "inbox:shop:order", "due:gesco:order"


@pytest.fixture
def woken(tmp_path: Path) -> Path:
    path = tmp_path / "comptoir.toml"
    path.write_text(CONFIG)
    return path


def bells(dag: Any) -> list[Any]:
    """The assets that wake a DAG."""
    condition = getattr(dag.timetable, "asset_condition", None)
    return [] if condition is None else list(condition.objects)


def watched(dag: Any) -> list[Any]:
    """The triggers of the watchers of these assets."""
    return [watcher.trigger for asset in bells(dag) for watcher in asset.watchers]


def test_a_route_with_work_of_its_own_is_woken_beside_its_schedule(woken: Path) -> None:
    from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable

    from comptoir.airflow.dag_factory import build_dags

    dags = build_dags(woken)
    orders = dags["comptoir__orders"]
    assert isinstance(orders.timetable, AssetOrTimeSchedule)
    assert orders.timetable.timetable == CronTriggerTimetable("*/15 * * * *", timezone="Europe/Paris")
    (trigger,) = watched(orders)
    assert trigger.topics == ["inbox:shop:order", "due:gesco:order", "due:gesco:refund"]
    (trigger,) = watched(dags["comptoir__books"])
    assert trigger.topics == ["dirty:journal", "due:gesco:journal_entry"]
    assert (dags["comptoir__orders"].max_active_runs, len(dags)) == (1, 5), "one DAG a route, one run at a time"


def test_a_route_without_schedule_is_woken_when_it_names_a_trigger(woken: Path) -> None:
    from comptoir.airflow.dag_factory import build_dags

    dags = build_dags(woken)
    (trigger,) = watched(dags["comptoir__items"])
    assert trigger.topics == ["inbox:gesco:item", "inbox:shop:item", "due:shop:item"]
    assert dags["comptoir__by_hand"].schedule is None, "it waits to be started, whatever waits for it"
    assert bells(dags["comptoir__read_only"]) == [], "there is nothing to wake it for"


def test_each_route_has_a_bell_of_its_own(woken: Path) -> None:
    from comptoir.airflow.dag_factory import build_dags

    found = [asset for dag in build_dags(woken).values() for asset in bells(dag)]
    assert len({asset.name for asset in found}) == len({asset.uri for asset in found}) == len(found) == 3
    assert {asset.uri for asset in found} == {f"comptoir://work/{name}" for name in ("orders", "books", "items")}


def test_watchers_survive_the_way_through_airflows_database(woken: Path) -> None:
    from airflow._shared.module_loading import import_string
    from airflow.serialization.serialized_objects import DagSerialization

    from comptoir.airflow.dag_factory import build_dags

    for name, dag in build_dags(woken).items():
        stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
        read = DagSerialization.from_dict(stored)
        assert (read.dag_id, read.max_active_runs, read.catchup) == (name, 1, False)
        if name not in ("comptoir__orders", "comptoir__books", "comptoir__items"):
            assert "comptoir://work" not in json.dumps(stored)
            continue
        (before,) = watched(dag)
        ((_, asset),) = list(read.timetable.asset_condition.iter_assets())
        (watcher,) = asset.watchers
        made = import_string(watcher.trigger["classpath"])(**watcher.trigger["kwargs"])
        assert made.serialize() == before.serialize()
        assert str(woken) in made.serialize()[1]["config"]
        if name != "comptoir__items":
            assert read.timetable.timetable.serialize()["timezone"] == "Europe/Paris"


def test_a_trigger_holds_no_secret_and_shares_its_stream(woken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", "postgresql://comptoir:sesame-open@db/comptoir")
    from comptoir.airflow.dag_factory import build_dags

    triggers = [trigger for dag in build_dags(woken).values() for trigger in watched(dag)]
    assert len(triggers) == 3
    assert len({trigger.shared_stream_key() for trigger in triggers}) == 1, "one connection, one query"
    assert "sesame" not in json.dumps([trigger.serialize() for trigger in triggers])
    for trigger in triggers:
        path, kwargs = trigger.serialize()
        assert path == "comptoir.airflow.watch.WorkTrigger"
        assert type(trigger)(**kwargs).serialize() == (path, kwargs)


@pytest.mark.parametrize("wrong", [{"poll": 0.0}, {"poll": -1}, {"nag": 0.5}])
def test_a_trigger_that_would_keep_the_database_busy_is_refused(wrong: dict[str, float]) -> None:
    from comptoir.airflow.watch import WorkTrigger

    with pytest.raises(ValueError, match="at least"):
        WorkTrigger("comptoir.toml", "orders", [INBOX], **wrong)


# --- when the bell rings


IDLE = Snapshot({})


def waits(newest: int, count: int = 1, topic: str = INBOX) -> Snapshot:
    return Snapshot({topic: Mark(newest, count)})


def busy(snapshot: Snapshot = IDLE, route: str = "orders") -> Snapshot:
    return Snapshot(snapshot.topics, frozenset({lock_of(route)}))


def ring(moments: list[tuple[float, Snapshot]], nag: float = 30) -> list[float]:
    """The moments at which the bell rings."""
    from comptoir.airflow.watch import Bell

    bell = Bell("orders", [INBOX, DUE], nag)
    return [at for at, snapshot in moments if bell.rings(snapshot, at) is not None]


def every(seconds: float, first: float, last: float, snapshot: Snapshot) -> Iterator[tuple[float, Snapshot]]:
    at = first
    while at <= last:
        yield at, snapshot
        at += seconds


def test_it_says_what_waits_and_ignores_other_routes_work() -> None:
    from comptoir.airflow.watch import Bell

    bell = Bell("orders", [INBOX, DUE], 30)
    assert bell.rings(IDLE, 0) is None
    assert bell.rings(waits(9, topic="inbox:shop:item"), 1) is None
    assert bell.rings(Snapshot({INBOX: Mark(1, 3), DUE: Mark(5, 2), "dirty:journal": Mark(1, 1)}), 2) == {
        INBOX: 3,
        DUE: 2,
    }


def test_a_burst_rings_once_until_its_run_has_come_and_gone() -> None:
    burst = [(float(n), waits(n, n)) for n in range(1, 10)]
    assert ring(burst) == [1]
    run = [(10.0, busy(waits(11, 2))), (11.0, busy()), (12.0, IDLE)]
    assert ring([*burst, *run, (13.0, waits(12))]) == [1, 13]


def test_what_came_too_late_for_a_run_rings_as_soon_as_it_has_ended() -> None:
    assert ring([(1, waits(1)), (2, busy()), (3, busy(waits(2))), (4, waits(2)), (5, waits(2))]) == [1, 4]
    # Numbered before, committed after.
    assert ring([(1, waits(5)), (2, busy()), (3, waits(5, 2))]) == [1, 3]
    # Of another kind.
    assert ring([(1, waits(5)), (2, busy()), (3, waits(5, topic=DUE))]) == [1, 3]


def test_a_route_at_work_is_left_alone_whatever_comes() -> None:
    assert ring([(float(n), busy(waits(n))) for n in range(600)]) == []
    assert ring([(1, busy(waits(1), "books"))]) == [1], "that is another route"


def test_a_wakeup_that_was_lost_is_given_again_and_ever_more_rarely() -> None:
    rung = ring(list(every(1, 0, 2000, waits(1))))
    assert rung[:4] == [0, 30, 90, 210]
    assert max(b - a for a, b in itertools.pairwise(rung)) == 300
    assert rung[-1] > 1600, "it never gives up"


def test_work_that_no_run_can_do_does_not_make_run_after_run() -> None:
    moments: list[tuple[float, Snapshot]] = []
    for start in range(0, 600, 4):
        moments += [(start, waits(1)), (start + 1, waits(1)), (start + 2, busy(waits(1))), (start + 3, busy(waits(1)))]
    rung = ring(moments)
    assert rung[:3] == [0, 32, 92]
    assert len(rung) <= 6
    # News ends the patience.
    later = [(700, waits(2)), (701, busy(waits(2))), (702, waits(2)), (731, waits(2)), (732, waits(2))]
    assert ring([*moments, *later])[len(rung) :] == [700, 731]


def test_drained_by_somebody_else_is_drained() -> None:
    assert ring([(1, waits(1)), (2, IDLE), (3, waits(2)), (4, IDLE), (50, IDLE)]) == [1, 3]


# --- the stream


def collect(trigger: Any, snapshots: list[Snapshot]) -> list[Any]:
    async def stream() -> AsyncIterator[Snapshot]:
        for snapshot in snapshots:
            yield snapshot

    async def run() -> list[Any]:
        return [event.payload async for event in trigger.filter_shared_stream(stream())]

    return asyncio.run(run())


def test_an_event_says_that_there_is_work_and_carries_none() -> None:
    from comptoir.airflow.watch import WorkTrigger

    trigger = WorkTrigger("comptoir.toml", "orders", [INBOX, DUE])
    payloads = collect(trigger, [IDLE, waits(1, 100), waits(2, 101), busy(), IDLE, waits(3)])
    assert payloads == [
        {"route": "orders", "waiting": {INBOX: 100}},
        {"route": "orders", "waiting": {INBOX: 1}},
    ]
    json.dumps(payloads)


class Base:
    """A database that is away, comes, goes and comes again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: list[Any]) -> None:
        from comptoir.airflow import watch

        self.script = script
        self.opened = self.closed = 0
        self.slept: list[float] = []
        monkeypatch.setattr(watch, "_watch", self.watch)
        monkeypatch.setattr(watch.asyncio, "sleep", self.sleep)

    @asynccontextmanager
    async def watch(self, config: Path) -> AsyncIterator[Any]:
        assert config == Path("/shop/comptoir.toml")
        if self.script[0] == "away":
            self.script.pop(0)
            raise DatabaseUnavailable("nobody answers")
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1

    async def look(self) -> Snapshot:
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def snapshots(self, number: int) -> list[Snapshot]:
        from comptoir.airflow.watch import WorkTrigger

        async def run() -> list[Snapshot]:
            stream = WorkTrigger.open_shared_stream({"config": "/shop/comptoir.toml", "poll": 0.5})
            found = [await anext(stream) for _ in range(number)]
            await stream.aclose()
            return found

        return asyncio.run(run())


def test_the_stream_outlives_the_database(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    gone = DatabaseUnavailable("the server was restarted")
    base = Base(
        monkeypatch,
        ["away", "away", "away", waits(1), waits(2), gone, "away", TimeoutError(), OSError("no route"), waits(3)],
    )
    with caplog.at_level(logging.INFO, logger="comptoir.airflow.watch"):
        assert base.snapshots(3) == [waits(1), waits(2), waits(3)]
    assert base.opened == base.closed == 4
    assert base.slept == [1, 2, 4, 0.5, 0.5, 1, 2, 4, 8]
    said = [record.getMessage() for record in caplog.records]
    assert sum("nobody answers" in line for line in said) == 2, "said once each time, not every second"
    assert any("the server was restarted" in line for line in said)
    assert said[-1] == "Comptoir's database answers again."


def test_pauses_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Base(monkeypatch, ["away"] * 10 + [waits(1)])
    assert base.snapshots(1) == [waits(1)]
    assert base.slept == [1, 2, 4, 8, 15, 15, 15, 15, 15, 15]


def test_a_slow_look_is_taken_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir.airflow import watch

    base = Base(monkeypatch, [waits(1), waits(2), waits(3), waits(4)])
    ticks = iter([10.0, 10.2, 20.0, 20.001, 30.0, 44.0])
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: next(ticks, 30.0)))
    assert len(base.snapshots(4)) == 4
    assert base.slept == [pytest.approx(4.0), 0.5, 10.0], "a fifth of a second every four"


def test_an_error_of_ours_is_not_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Base(monkeypatch, [waits(1), ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        base.snapshots(2)
    assert base.opened == base.closed == 1
