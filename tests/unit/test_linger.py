"""A woken run: it takes what comes while it lingers, and neither spins nor stays for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from comptoir.app import linger
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Route
from comptoir.errors import ConfigError, TransientError
from comptoir.model.refs import EntityName
from comptoir.store.waiting import Mark

INBOX, DUE = "inbox:shop:order", "due:gesco:order"


class Clock:
    """Stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.seconds += seconds


class Place:
    """A hub with one route, a fake run and what waits in the store at each moment."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.route = Route("orders", EntityName.ORDER, ("shop",), ("gesco",), None, ("webhook",))
        self.hub: Any = SimpleNamespace(
            routes={"orders": self.route}, ports=SimpleNamespace(clock=self.clock), hub_channels=list, database=self
        )
        self.waiting: dict[str, Mark] = {}
        self.comes: list[tuple[float, dict[str, Mark]]] = []
        self.runs: list[float] = []
        self.asked: list[Sequence[str]] = []
        self.work: Callable[[RunReport], None] = lambda report: None
        self.leaves: dict[str, Mark] = {}
        self.run_seconds = 0.0
        self.at_work = False

    def run(self, hub: Any, name: str, *, trigger: str, mode: str) -> RunReport:
        assert (name, trigger, mode) == ("orders", "webhook", "inbox")
        assert self.at_work, "nobody has to be woken meanwhile"
        self._arrive()
        report = RunReport(uuid4(), name, EntityName.ORDER)
        _ = report.main
        self.runs.append(self.clock.seconds)
        self.clock.seconds += self.run_seconds
        self.work(report)
        self.waiting = dict(self.leaves)
        return report

    def look(self, topics: Sequence[str]) -> dict[str, Mark]:
        self._arrive()
        self.asked.append(list(topics))
        return {topic: mark for topic, mark in self.waiting.items() if topic in topics}

    def _arrive(self) -> None:
        while self.comes and self.comes[0][0] <= self.clock.seconds:
            self.waiting.update(self.comes.pop(0)[1])

    def go(self, **options: Any) -> dict[str, Any]:
        return linger.run_and_linger(self.hub, "orders", run=self.run, look=self.look, **options)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place()

    @contextmanager
    def at_work(database: Any, route: str) -> Any:
        assert (database, route) == (made, "orders")
        made.at_work = True
        try:
            yield True
        finally:
            made.at_work = False

    monkeypatch.setattr(linger, "at_work", at_work)
    return made


def test_it_ends_when_nothing_came_for_the_given_time(place: Place) -> None:
    report = place.go(seconds=3)
    assert place.runs == [100]
    assert place.clock.seconds == pytest.approx(103)
    assert max(place.clock.slept) <= 1
    assert (report["rounds"], report["route"], report["state"]) == (1, "orders", "success")
    assert place.asked[0] == [INBOX, DUE, "due:gesco:refund"]
    assert not place.at_work


def test_what_comes_meanwhile_is_done_and_starts_the_waiting_anew(place: Place) -> None:
    place.comes = [(102.2, {INBOX: Mark(5, 1)}), (104.0, {INBOX: Mark(6, 1)})]
    place.go(seconds=3)
    assert len(place.runs) == 3
    assert 102.2 <= place.runs[1] < 103.2
    assert place.clock.seconds == pytest.approx(place.runs[2] + 3, abs=0.01)


def test_work_that_a_round_left_starts_no_other_round(place: Place) -> None:
    place.waiting = place.leaves = {DUE: Mark(9, 4)}
    assert place.go(seconds=3)["rounds"] == 1
    # More of it, or newer, does.
    for mark in (Mark(10, 4), Mark(9, 5)):
        place.runs.clear()
        place.comes = [(place.clock.seconds + 1, {DUE: mark})]
        assert place.go(seconds=3)["rounds"] == 2


def test_it_never_stays_longer_than_its_limit(place: Place) -> None:
    place.comes = [(100 + n / 2, {INBOX: Mark(n, 1)}) for n in range(1, 1000)]
    place.run_seconds = 0.2
    report = place.go(seconds=3, longest=20)
    assert place.clock.seconds <= 120.2 + 0.5
    assert report["rounds"] > 10


def test_a_failed_round_is_the_last_one(place: Place) -> None:
    def fail(report: RunReport) -> None:
        if len(place.runs) == 2:
            report.error = "the window was not read to its end"

    place.work = fail
    place.comes = [(101, {INBOX: Mark(5, 1)}), (102, {INBOX: Mark(6, 1)})]
    report = place.go(seconds=3)
    assert (report["state"], report["rounds"], len(place.runs)) == ("failed", 2, 2)
    assert report["error"] == "the window was not read to its end"


def test_what_a_round_raises_comes_out_and_the_route_is_at_rest(place: Place) -> None:
    def break_down(report: RunReport) -> None:
        raise TransientError("no answer")

    place.work = break_down
    with pytest.raises(TransientError, match="no answer"):
        place.go()
    assert not place.at_work


def test_an_unknown_route_is_said(place: Place) -> None:
    with pytest.raises(ConfigError, match="no route 'ordres'"):
        linger.run_and_linger(place.hub, "ordres", run=place.run, look=place.look)


def test_rounds_are_added_up_into_one_report(place: Place) -> None:
    def work(report: RunReport) -> None:
        number = len(place.runs)
        report.waiting = 3 - number
        report.acknowledged = 1
        report.seconds = 0.5
        if number == 2:
            report.notes.append("nothing was considered")
            return
        report.main.considered = 2
        report.main.changed = 1
        report.main.skip("before the cutover")
        report.main.delivered = number
        report.entities[EntityName.REFUND].considered = 1
        report.entities[EntityName.REFUND].quarantined = 1 if number == 1 else 0
        report.notes.append("a note")
        report.published["gesco"] = {"written": 2, "due": number}

    place.work = work
    place.comes = [(101, {INBOX: Mark(5, 1)}), (103, {INBOX: Mark(6, 1)})]
    report = place.go(seconds=3)
    assert UUID(report["run_id"])
    assert report["state"] == "partial"
    assert (report["considered"], report["changed"], report["skipped"], report["delivered"]) == (4, 2, 2, 4)
    assert report["skipped_because"] == {"before the cutover": 2}
    assert report["entities"]["refund"] == {
        "considered": 2, "unchanged": 0, "changed": 0, "skipped": 0, "quarantined": 1, "delivered": 0, "rejected": 0,
    }  # fmt: skip
    assert (report["rounds"], report["acknowledged"], report["waiting"]) == (3, 3, 0)
    assert report["notes"] == ["a note"], "it is not true of the whole that nothing was considered"
    assert report["published"] == {"gesco": {"written": 4, "due": 3}}
    assert report["seconds"] == pytest.approx(place.clock.seconds - 100, abs=0.01)


def test_the_report_stays_small(place: Place) -> None:
    def work(report: RunReport) -> None:
        report.main.considered = 1
        report.notes.append(f"note {len(place.runs)}")

    place.work = work
    place.comes = [(100 + n, {INBOX: Mark(n, 1)}) for n in range(1, 100)]
    assert len(place.go(seconds=3)["notes"]) == 20
