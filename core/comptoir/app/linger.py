"""A run that was woken by work: does it, and waits a little for what comes next.

Starting a task costs seconds, an order's second webhook comes a moment after the first: a run that lingers takes both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from comptoir.app.run_route import find_route, run_route
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Route
from comptoir.model.refs import EntityName
from comptoir.store.waiting import Mark, WaitingWork, at_work, topics_of

__all__ = ["LINGER", "merged", "route_at_work", "run_and_linger", "topics_of_route"]

#: Seconds without work after which a woken run ends.
LINGER = 5.0

#: Between two looks. A look takes less than a millisecond while nothing waits.
_STEP = 0.5

#: A run ends after this even if there is always something: another one is woken for the rest, and its log and its
#: result can be looked at meanwhile.
_LONGEST = 180.0

_COUNTS = ("considered", "unchanged", "changed", "skipped", "quarantined", "delivered", "rejected")
#: From harmless to grave; a merged run is as grave as the gravest of its parts.
_STATES = ("success", "partial", "plan", "failed")
_NOTES = 20


class Run(Protocol):
    """What runs the route once: `run_route`."""

    def __call__(self, hub: Hub, name: str, *, trigger: str, mode: Literal["inbox"]) -> RunReport: ...


Look = Callable[[Sequence[str]], dict[str, Mark]]


def topics_of_route(hub: Hub, route: Route) -> list[str]:
    """The topics whose work a run of this route does."""
    return topics_of(
        route.entity,
        route.sources,
        route.targets,
        webhooks="webhook" in route.triggers,
        channels=[link.name for link in hub.hub_channels()],
    )


def route_at_work(hub: Hub, name: str) -> AbstractContextManager[bool]:
    """Shows that a run of this route is under way, so that nobody is woken for what it does itself."""
    return at_work(hub.database, name)


def run_and_linger(
    hub: Hub,
    name: str,
    *,
    seconds: float = LINGER,
    trigger: str = "webhook",
    longest: float = _LONGEST,
    run: Run | None = None,
    look: Look | None = None,
) -> dict[str, Any]:
    """Runs a route on what waits, again for what comes meanwhile, until nothing came for `seconds`.

    Returns one report like a run's, counts added up, with the number of `rounds`; it takes `longest` seconds and the
    last round at most. Work that a round could not do is left for a later run: only what is new starts another one.
    Raises what a round raises; what was committed before stays.
    """
    run_once: Run = run or run_route
    look_once: Look = look or _looks(hub)
    clock = hub.ports.clock
    topics = topics_of_route(hub, find_route(hub, name))
    began = clock.monotonic()
    with route_at_work(hub, name):
        reports = [run_once(hub, name, trigger=trigger, mode="inbox").as_dict()]
        left, quiet_since = look_once(topics), clock.monotonic()
        while True:
            now = clock.monotonic()
            if reports[-1]["state"] == "failed" or now - quiet_since >= seconds or now - began >= longest:
                return merged(reports, clock.monotonic() - began)
            clock.sleep(min(_STEP, quiet_since + seconds - now))
            if _is_news(look_once(topics), left):
                reports.append(run_once(hub, name, trigger=trigger, mode="inbox").as_dict())
                left, quiet_since = look_once(topics), clock.monotonic()


def _looks(hub: Hub) -> Look:
    def look(topics: Sequence[str]) -> dict[str, Mark]:
        with hub.database.errors():
            waiting = WaitingWork(hub.database.session()).look()
        return {topic: waiting[topic] for topic in topics if topic in waiting}

    return look


def _is_news(waiting: dict[str, Mark], left: dict[str, Mark]) -> bool:
    return any(
        topic not in left or mark.newest > left[topic].newest or mark.count > left[topic].count
        for topic, mark in waiting.items()
    )


def merged(reports: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """One report of several rounds: counts added up, what waits as the last one left it."""
    last = reports[-1]
    whole: dict[str, Any] = {
        **last,
        "state": max((report["state"] for report in reports), key=_STATES.index),
        **_added(reports),
        "entities": {
            entity: _added([report["entities"][entity] for report in reports if entity in report["entities"]])
            for entity in dict.fromkeys(entity for report in reports for entity in report["entities"])
        },
        "acknowledged": sum(report["acknowledged"] for report in reports),
        "seconds": round(seconds, 3),
        "rounds": len(reports),
    }
    for key in ("matched", "published"):
        # How things stand, as the last round that looked says.
        stands = [report[key] for report in reports if key in report]
        if stands:
            whole[key] = stands[-1]
    for target, number in _written(reports).items():
        whole["published"] = {**whole["published"], target: {**whole["published"].get(target, {}), "written": number}}
    # A round that found nothing says so; that is true of the whole only when every one found nothing.
    telling = [report for report in reports if any(report["entities"].get(e, {}).get("considered") for e in EntityName)]
    notes = list(dict.fromkeys(note for report in telling or [last] for note in report.get("notes", ())))
    whole.pop("notes", None)
    if notes:
        whole["notes"] = notes[:_NOTES]
    return whole


def _written(reports: Sequence[dict[str, Any]]) -> dict[str, int]:
    written: dict[str, int] = {}
    for report in reports:
        for target, state in report.get("published", {}).items():
            if "written" in state:
                written[target] = written.get(target, 0) + state["written"]
    return written


def _added(counts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {name: sum(each[name] for each in counts) for name in _COUNTS}
    reasons: dict[str, int] = {}
    for each in counts:
        for reason, number in each.get("skipped_because", {}).items():
            reasons[reason] = reasons.get(reason, 0) + number
    if reasons:
        whole["skipped_because"] = reasons
    return whole
