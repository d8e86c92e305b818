"""What a person decides about records of two sides: which is which, and what is to be made. And the plan to look at."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import open_hub
from comptoir.app.run_route import find_route
from comptoir.app.who import who
from comptoir.engine.create import plan_creation
from comptoir.engine.hub import Hub, Route
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.store.links import LinkRow, Links
from comptoir.store.publications import Publications

__all__ = ["accept", "accept_all", "create", "link", "list_links", "reject", "row", "show_plan"]

_REVIEW = ("suggested", "unmatched")


def list_links(config: Path, *, states: tuple[str, ...] = _REVIEW, target: str | None, limit: int) -> list[LinkRow]:
    """Links and proposals in these states, best evidence first."""
    with open_hub(config) as hub, hub.database.transaction() as session:
        return Links(session).review(states=states, target=target, limit=limit)


def row(link: LinkRow) -> dict[str, Any]:
    """A link as plain data."""
    return {
        "id": str(link.id),
        "entity": link.entity,
        "source": link.source,
        "source_key": link.source_key,
        "source_name": link.source_name,
        "target": link.target,
        "target_key": link.target_key,
        "target_name": link.target_name,
        "state": link.state,
        "score": link.score,
        "evidence": list(link.evidence),
        "note": link.note,
    }


def accept(config: Path, reference: str) -> str:
    """Two records are the same: says which."""
    with open_hub(config) as hub:
        with hub.database.transaction() as session:
            links = Links(session)
            chosen = _one(links, reference, ("suggested",))
            _free(links, chosen)
            links.accept(chosen, who(), hub.ports.clock.now())
        return f"{_names(chosen)} are the same now; the next run compares them"


def accept_all(config: Path, target: str | None, at_least: float) -> int:
    """Accepts every proposal that is the only one for both its records and has at least this score."""
    with open_hub(config) as hub, hub.database.transaction() as session:
        links, now, count = Links(session), hub.ports.clock.now(), 0
        found = links.review(states=("suggested",), target=target, limit=1_000_000)
        sources = Counter(link.source_id for link in found)
        targets = Counter(link.target_id for link in found)
        for chosen in found:
            alone = sources[chosen.source_id] == 1 and targets[chosen.target_id] == 1
            if alone and chosen.score >= at_least and links.owner_of(chosen.target_id) is None:
                links.accept(chosen, who(), now)
                count += 1
        return count


def reject(config: Path, reference: str) -> str:
    """Two records are not the same, and are not proposed again; a link that stood is undone."""
    with open_hub(config) as hub, hub.database.transaction() as session:
        links = Links(session)
        chosen = _one(links, reference, ("suggested", "linked"))
        links.reject(chosen, who(), hub.ports.clock.now())
        return f"{_names(chosen)} are not the same; nothing is written between them any more"


def link(config: Path, route_name: str, source_key: str, target_key: str) -> str:
    """Links two records that nothing proposed, by SKU or external id."""
    with open_hub(config) as hub:
        route, entity, source, target = _ends(hub, route_name)
        with hub.database.transaction() as session:
            links = Links(session)
            ours = _record(links, entity, source, source_key)
            theirs = _record(links, entity, target, target_key)
            owner = links.owner(theirs)
            if owner is not None and owner != ours:
                raise ConfigError(
                    f"{target_key} on {target} is linked to another record of {source} already",
                    hint="Reject that link first: comptoir match reject REF",
                )
            row_id = hub.ports.ids.new()
            now = hub.ports.clock.now()
            links.connect((row_id, entity.value, source, ours, target, theirs, who()), now)
        return f"{source_key} on {source} and {target_key} on {target} are the same now; `comptoir run {route.name}`"


def create(config: Path, reference: str | None, *, everything: bool, target: str | None) -> int:
    """Approves that records without match are made at the target; how many are queued."""
    with open_hub(config) as hub, hub.database.transaction() as session:
        links = Links(session)
        if reference is not None:
            chosen = [_one(links, reference, ("unmatched",))]
        elif everything:
            chosen = links.review(states=("unmatched",), target=target, limit=1_000_000)
        else:
            raise ConfigError("name a record, or use --all")
        queued = 0
        for one in chosen:
            entity = EntityName(one.entity)
            if not hub.capability(one.target, entity).push:
                raise ConfigError(f"{one.target} cannot be given new records of {one.entity}")
            if links.was_sent(one.source_id, one.target):
                continue
            route = _route_for(hub, entity, one.source, one.target)
            plan_creation(hub, session, route.name, entity, one.source, one.target, [(one.source_id, one.source_key)])
            queued += 1
        return queued


def show_plan(config: Path, route_name: str, *, limit: int = 200) -> list[dict[str, Any]]:
    """What a route would write: each value as it is and as it will be. Personal values are not shown."""
    with open_hub(config) as hub:
        route = find_route(hub, route_name)
        lines: list[dict[str, Any]] = []
        for target in route.targets:
            with hub.database.transaction() as session:
                rows = Publications(session).waiting(target, ("held", "due", "sent", "refused"), limit)
            for entity, label, external_id, state, known, wanted, keys, reason, _due in rows:
                if entity != route.entity.value:
                    continue
                private = entity == EntityName.CUSTOMER.value
                changes = {
                    key: ["(personal)", "(personal)"] if private else [known.get(key), wanted.get(key)] for key in keys
                }
                lines.append(
                    {
                        "target": target, "entity": entity, "record": label, "external_id": external_id,
                        "state": state, "changes": changes, "reason": reason,
                    }
                )  # fmt: skip
        return lines


def _ends(hub: Hub, route_name: str) -> tuple[Route, EntityName, str, str]:
    route = find_route(hub, route_name)
    entity = EntityName.ITEM if route.entity is EntityName.STOCK else route.entity
    if len(route.sources) != 1 or len(route.targets) != 1 or not hub.matches(entity, route.targets[0]):
        raise ConfigError(f"{route_name} has no records of two sides to link")
    return route, entity, route.sources[0], route.targets[0]


def _route_for(hub: Hub, entity: EntityName, source: str, target: str) -> Route:
    for route in hub.routes.values():
        if route.entity is entity and source in route.sources and target in route.targets:
            return route
    raise ConfigError(f"no route gives {entity.value} of {source} to {target} any more")


def _record(links: Links, entity: EntityName, connection: str, key: str) -> Any:
    found = links.records(entity, connection, key)
    if len(found) != 1:
        what = "no record" if not found else f"{len(found)} records"
        raise ConfigError(
            f"{what} of {connection} has the key {key!r}",
            hint="Use the record's own id on that connection.",
            code="no_record",
        )
    return found[0]


def _one(links: Links, reference: str, states: tuple[str, ...]) -> LinkRow:
    found = [link for link in links.find(reference) if link.state in states]
    if len(found) != 1:
        raise ConfigError(
            f"{len(found) or 'no'} proposal{'s' if len(found) != 1 else ''} under {reference!r}",
            hint="Name one by its id: comptoir match list",
            code="no_record",
        )
    return found[0]


def _free(links: Links, chosen: LinkRow) -> None:
    if links.owner_of(chosen.target_id) is not None:
        raise ConfigError(
            f"{chosen.target_key} on {chosen.target} is linked to another record already",
            hint=f"Undo that link first: comptoir match reject {chosen.target_key}",
        )


def _names(link: LinkRow) -> str:
    return f"{link.source_key} on {link.source} and {link.target_key} on {link.target}"
