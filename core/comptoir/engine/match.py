"""Match: links the records of a source with those that exist at a target, before anything could be created there."""

from __future__ import annotations

from typing import Any

from comptoir.domain.matching import match
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Route
from comptoir.model.refs import EntityName
from comptoir.store.links import Links
from comptoir.store.sync import CursorRow, Cursors

__all__ = ["MATCH_KEYS", "match_records"]

#: What records are matched by when a route declares nothing.
MATCH_KEYS: dict[EntityName, tuple[str, ...]] = {
    EntityName.ITEM: ("sku", "gtin"),
    EntityName.CUSTOMER: ("vat_id", "siret", "siren", "email", "phone", "name_place"),
}
_BATCH = 1000


def match_records(hub: Hub, route: Route, entity: EntityName, source: str, target: str, report: RunReport) -> None:
    """Proposes a link for every record of the source that has none; certain ones are links at once.

    Skipped when nothing was written on either side since the last time.
    """
    scope = f"match:{source}"
    with hub.database.transaction() as session:
        links, cursors = Links(session), Cursors(session)
        # Two routes between the same two would each link them in its own direction.
        links.alone(entity, source, target)
        newest, count = links.newest(entity, (source, target))
        found = {"records": count}
        before = cursors.get(target, entity, scope)
        if newest is None or (newest == before.watermark and found == before.position):
            return
        proposals = match(
            links.free(entity, source, target),
            links.free(entity, target, source),
            kinds=route.match or MATCH_KEYS[entity],
            rejected=links.rejected(source, target),
        )
        now, new_id = hub.ports.clock.now(), hub.ports.ids.new
        linked: list[Any] = []
        none: list[Any] = []
        reviewed: list[Any] = []
        suggested: list[Any] = []
        for proposal in proposals:
            head = (new_id(), entity.value, source, proposal.source, target)
            if proposal.decision == "link":
                best = proposal.candidates[0]
                linked.append((*head, best.target, list(best.evidence), best.score))
            elif proposal.decision == "none":
                none.append(head)
            else:
                reviewed.append(proposal.source)
                suggested.extend(
                    (new_id(), *head[1:], c.target, list(c.evidence), c.score, proposal.note)
                    for c in proposal.candidates
                )
        for start in range(0, len(linked), _BATCH):
            links.link(linked[start : start + _BATCH], now)
        if len(linked) >= _BATCH:
            links.took_many()
        if reviewed:
            links.suggest(suggested, reviewed, target, now)
        for start in range(0, len(none), _BATCH):
            links.unmatched(none[start : start + _BATCH], now)
        cursors.put(target, entity, CursorRow(newest, found, None), now, scope)
    report.matched[f"{source} -> {target}"] = {
        "linked": len(linked),
        "to review": len(reviewed),
        "without match": len(none),
    }
