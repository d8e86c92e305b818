"""Run a route: pull its sources, derive, deliver to its targets, take in what the targets reported."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Literal

from comptoir.app.system import rare_collection
from comptoir.app.trial import use_mapping
from comptoir.engine.acknowledge import acknowledge
from comptoir.engine.bring import bring_buyers, customer_route
from comptoir.engine.counts import RunReport
from comptoir.engine.create import create_unmatched
from comptoir.engine.deliver import Deliverer
from comptoir.engine.derive import derive_journal
from comptoir.engine.drain import drain
from comptoir.engine.handovers import look_after_batches
from comptoir.engine.hub import BOOKED, BROUGHT_ALONG, Hub, Route
from comptoir.engine.match import match_records
from comptoir.engine.paused import Stopped
from comptoir.engine.publish import Publisher
from comptoir.engine.pull import pull
from comptoir.engine.replan import replan
from comptoir.engine.sweep import sweep_open_orders
from comptoir.engine.webhooks import ensure as ensure_webhooks
from comptoir.errors import ComptoirError, ConfigError
from comptoir.model.refs import EntityName
from comptoir.store.outbox import Outbox
from comptoir.store.publications import Publications
from comptoir.store.sync import Runs

__all__ = ["deliver_route", "find_route", "require_route", "run_route"]

Progress = Callable[[str, int, int | None], None]


def find_route(hub: Hub, name: str) -> Route:
    """A route by name; ConfigError when there is none."""
    require_route(hub.routes, name)
    return hub.routes[name]


def require_route(routes: Collection[str], name: str) -> None:
    """ConfigError when there is no route of this name."""
    if name not in routes:
        raise ConfigError(f"there is no route {name!r}; configured: {', '.join(routes) or 'none'}", code="no_route")


def run_route(
    hub: Hub,
    name: str,
    *,
    since: datetime | None = None,
    full: bool = False,
    plan_only: bool = False,
    trigger: str = "manual",
    mode: Literal["poll", "inbox"] = "poll",
    progress: Progress | None = None,
) -> RunReport:
    """Runs a route once and returns its report.

    `since` re-reads from a moment, `full` re-reads everything, `plan_only` decides but sends nothing. `mode` says how
    connections that send webhooks are read: "poll" what changed since the last time, "inbox" only what webhooks have
    hinted at. Raises what stops the route (its report is stored as failed first); everything committed until then
    stays. A connection that is paused, or refuses our credentials, is left out as long as another one of its side is
    left.
    """
    route = find_route(hub, name)

    def read(link: str, entity: EntityName, report: RunReport) -> None:
        step = None if progress is None else _step(progress, f"{link}: {entity.value}")
        for read_too in (entity, *BROUGHT_ALONG.get(entity, ())):
            if hub.capability(link, read_too).pull or read_too in hub.capability(link, entity).brings:
                use_mapping(hub, hub.link(link), read_too, report)
        sends_webhooks = hub.link(link).manifest.webhooks
        if sends_webhooks:
            drain(hub, hub.link(link), entity, report)
        if mode == "poll" or not sends_webhooks:
            pull(hub, hub.link(link), entity, report, since=since, full=full, progress=step)
            for of_its_own in BROUGHT_ALONG.get(entity, ()):
                # A system that lists its refunds by themselves: after their orders, which they ask for.
                if hub.capability(link, of_its_own).pull:
                    pull(hub, hub.link(link), of_its_own, report, since=since, full=full)
        if entity is EntityName.ORDER and mode == "poll":
            sweep_open_orders(hub, hub.link(link), report)

    def work(report: RunReport, stopped: Stopped) -> None:
        if mode == "poll" and "webhook" in route.triggers:
            for name in dict.fromkeys([*(source for _, source in _sources(hub, route)), *route.targets]):
                with stopped.beside():
                    hub.link(name).open()
                    report.notes += ensure_webhooks(hub, hub.link(name), ())
        for entity, source in _sources(hub, route):
            with stopped.beside():
                read(source, entity, report)
            if entity in BOOKED[1:] and hub.link(source).invoicing is None:
                report.notes.append(
                    f"nobody books the {entity.value} documents of {source}: set connections.{source}.invoicing "
                    '("hub" for the books that the hub keeps)'
                )
            if full:
                for brought in (entity, *BROUGHT_ALONG.get(entity, ())):
                    replan(hub, hub.link(source), brought, report)
        if route.entity is EntityName.JOURNAL_ENTRY:
            derive_journal(hub, report)
        _compare(hub, route, report, stopped, read)
        _send(hub, route, report, stopped, plan_only)

    return _recorded(hub, route, trigger, work)


def deliver_route(hub: Hub, name: str, *, approve: bool = False, trigger: str = "manual") -> RunReport:
    """Delivers what is due for a route's targets without pulling; `approve` releases a held plan first."""
    route = find_route(hub, name)

    def work(report: RunReport, stopped: Stopped) -> None:
        if approve:
            with hub.database.transaction() as session:
                for target in route.targets:
                    Outbox(session).approve(target, hub.ports.clock.now())
                    Publications(session).approve(target, route.entity, hub.ports.clock.now())
        _send(hub, route, report, stopped, plan_only=False)

    return _recorded(hub, route, trigger, work)


def _sources(hub: Hub, route: Route) -> list[tuple[EntityName, str]]:
    """What to read for a route. What the hub derives is fed by the documents of the connections that it books."""
    if not route.from_hub:
        return [(route.entity, source) for source in route.sources]
    return [(entity, link.name) for link in hub.hub_channels() for entity in link.booked]


def _compare(hub: Hub, route: Route, report: RunReport, stopped: Stopped, read: Callable[..., None]) -> None:
    """Matches what exists on both sides, and plans what differs or is missing."""
    entity = EntityName.ITEM if route.entity is EntityName.STOCK else route.entity
    read_already = {(name, route.entity) for name in route.sources}
    for target in route.targets:
        if route.entity is EntityName.ORDER:
            for source in route.sources:
                with stopped.beside():
                    bring_buyers(hub, source, target, report)
        if not hub.matches(entity, target):
            continue
        for source in route.sources:
            for name in (source, target):
                if (name, entity) not in read_already and hub.capability(name, entity).pull:
                    read_already.add((name, entity))
                    with stopped.beside():
                        read(name, entity, report)
            match_records(hub, route, entity, source, target, report)
            if route.entity is not EntityName.STOCK:
                create_unmatched(hub, route, source, target, report)
            if hub.publishes(route, target):
                Publisher(hub, route, source, target, report).plan()


def _send(hub: Hub, route: Route, report: RunReport, stopped: Stopped, plan_only: bool) -> None:
    for target in route.targets:
        with stopped.beside():
            if not plan_only:
                Deliverer(hub, target, report).deliver(_entities(hub, route, target))
                if hub.publishes(route, target):
                    for source in route.sources:
                        Publisher(hub, route, source, target, report).send()
            acknowledge(hub, target, report)
            look_after_batches(hub, target)
    if plan_only:
        report.notes.append("planned only: nothing was sent")


def _entities(hub: Hub, route: Route, target: str) -> tuple[EntityName, ...]:
    """What a run delivers: orders go with the customers that they brought."""
    brings = route.entity is EntityName.ORDER and any(customer_route(hub, s, target) for s in route.sources)
    return (*route.entities, EntityName.CUSTOMER) if brings else route.entities


def _recorded(hub: Hub, route: Route, trigger: str, work: Callable[[RunReport, Stopped], None]) -> RunReport:
    """Runs the work between the run's first and last row."""
    clock = hub.ports.clock
    report = RunReport(hub.ports.ids.new(), route.name, route.entity)
    stopped = Stopped(hub, report)
    began = clock.monotonic()
    with hub.database.transaction() as session:
        Runs(session).start(report.run_id, route.name, trigger, clock.now())
    try:
        with rare_collection():
            work(report, stopped)
            stopped.tell([source for _, source in _sources(hub, route)], route.targets)
    except ComptoirError as error:
        report.error = error.message
        raise
    except BaseException as error:
        report.error = f"{type(error).__name__} (see the log)"
        raise
    finally:
        report.seconds = clock.monotonic() - began
        _explain(hub, report)
        with hub.database.transaction() as session:
            Runs(session).end(report.run_id, report.state.value, clock.now(), report.as_dict(), report.error)
    return report


def _explain(hub: Hub, report: RunReport) -> None:
    """Zero considered is never left without a word (failure mode 89)."""
    if report.error is None and not any(c.considered for c in report.entities.values()):
        report.notes.append("nothing was considered: the sources have no change since the last run")
    for target, entities in report.held.items():
        number = sum(entities.values())
        if target in report.published:
            report.notes.append(
                f"{number} changes to {target} wait for approval. Look at them: comptoir plan {report.route}; "
                f"approve: comptoir deliver {report.route} --approve"
            )
            continue
        report.notes.append(
            f"{number} first writes to {target} wait for approval: without a cutover date a first write of more than "
            f"{hub.plan_above} documents is a plan. Set `cutover` on the source, or approve: "
            f"comptoir deliver {report.route} --approve"
        )


def _step(progress: Progress, label: str) -> Callable[[int, int | None], None]:
    return lambda count, total: progress(label, count, total)
