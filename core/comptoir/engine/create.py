"""Create: records of a source that have no match at a target are made there, if the route says so or a person did."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Route
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.links import Links
from comptoir.store.outbox import Outbox, new_delivery

__all__ = ["create_unmatched", "plan_creation"]

_BATCH = 500


def create_unmatched(hub: Hub, route: Route, source: str, target: str, report: RunReport) -> None:
    """Plans what has no match, when the route makes it without asking; else the run says how many wait."""
    if not hub.creates(route, target):
        with hub.database.errors():
            counts = Links(hub.database.session()).counts(route.entity, source, target)
        waiting = {word: counts[state] for state, word in _WAITING.items() if counts.get(state)}
        if waiting:
            listed = ", ".join(f"{number} {word}" for word, number in waiting.items())
            report.notes.append(f"{source} -> {target}: {listed}; see `comptoir match list`")
        return
    while True:
        with hub.database.transaction() as session:
            found = Links(session).to_create(route.entity, source, target, _BATCH)
            plan_creation(hub, session, route.name, route.entity, source, target, found)
        if len(found) < _BATCH:
            return


_WAITING = {"suggested": "to review", "unmatched": "without match (nothing is made unasked)"}


def plan_creation(
    hub: Hub,
    session: Session,
    route: str,
    entity: EntityName,
    source: str,
    target: str,
    records: Sequence[tuple[UUID, str]],
) -> None:
    """Puts (record id, key) into the outbox as creations."""
    now = hub.ports.clock.now()
    Outbox(session).add(
        [
            new_delivery(
                hub.ports.ids.new(), now, target=target, entity=entity, record_id=record_id, source=source,
                route=route, key=key,
            )
            for record_id, key in records
        ]
    )  # fmt: skip
