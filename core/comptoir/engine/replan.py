"""Replan: documents that were known before a target subscribed to them.

A delivery is planned when a document changes. A route or target that is added later would never see what is unchanged
since; a full run looks for documents that a target was never given, and plans them by the same rules.
"""

from __future__ import annotations

from typing import Any

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Link
from comptoir.engine.policies import gate
from comptoir.model.refs import EntityName
from comptoir.store.documents import Documents
from comptoir.store.journal import Dirty
from comptoir.store.outbox import Outbox, new_delivery

__all__ = ["replan"]

_BATCH = 500


def replan(hub: Hub, link: Link, entity: EntityName, report: RunReport) -> None:
    """Plans what targets of this connection and entity never got; marks documents that were never booked."""
    for route, target in hub.subscribers(link.name, entity):
        if hub.publishes(route, target) or hub.matches(entity, target):
            continue  # what is missing there is found by matching
        planned, after = 0, None
        while True:
            with hub.database.transaction() as session:
                documents = Documents(session)
                found = documents.never_planned(entity, link.name, target, after=after, limit=_BATCH)
                now = hub.ports.clock.now()
                rows: list[Any] = []
                for stored in sorted(documents.load(entity, found).values(), key=lambda s: s.head.record_id):
                    document = stored.document
                    if gate(document) is not None:
                        continue
                    number = getattr(document, "number", None) or document.external_id
                    rows.append(
                        new_delivery(
                            hub.ports.ids.new(), now, target=target, entity=entity,
                            record_id=stored.head.record_id, source=link.name, route=route.name, key=number,
                        )
                    )  # fmt: skip
                Outbox(session).add(rows)
            planned += len(rows)
            if len(found) < _BATCH:
                break
            after = found[-1]
        if planned:
            report.notes.append(f"{planned} {entity.value} documents that {target} was never given are planned for it")
    if entity in link.booked:
        with hub.database.transaction() as session:
            Dirty(session).mark_unbooked(entity, link.name, hub.ports.clock.now())
