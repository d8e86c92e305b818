"""Of what in a manifest a rule is tried: one test for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from comptoir.sdk import EntityCapability
from comptoir.testing.conformance.kit import ConnectorKit, FileKit
from comptoir.testing.conformance.rules import Subject

__all__ = [
    "acknowledged",
    "changed",
    "exported",
    "fetched",
    "over_http",
    "pulled",
    "pushed",
    "reads",
    "replaced",
    "whole",
    "with_webhooks",
    "writes",
]

Kit = type[ConnectorKit]


def whole(kit: Kit) -> Iterator[Subject]:
    """The connector as a whole."""
    yield Subject()


def _entities(kit: Kit, holds: Callable[[EntityCapability], object], operation: str) -> Iterator[Subject]:
    for entity, capability in kit.connector.manifest.entities.items():
        if holds(capability):
            yield Subject(entity, operation)


def pulled(kit: Kit) -> Iterator[Subject]:
    """Each entity that can be read."""
    return _entities(kit, lambda c: c.pull, "pull")


def fetched(kit: Kit) -> Iterator[Subject]:
    """Each entity whose single records can be read again."""
    return _entities(kit, lambda c: c.fetch, "fetch")


def pushed(kit: Kit) -> Iterator[Subject]:
    """Each entity of which records can be made."""
    return _entities(kit, lambda c: "create" in c.push_actions, "push")


def replaced(kit: Kit) -> Iterator[Subject]:
    """Each entity whose existing records can be pushed again."""
    return _entities(kit, lambda c: {"create", "update"} <= set(c.push_actions), "push")


def changed(kit: Kit) -> Iterator[Subject]:
    """Each entity whose existing records can be changed."""
    return _entities(kit, lambda c: c.publishes, "update")


def probed(kit: Kit) -> Iterator[Subject]:
    """Each entity of which a lost write is looked up."""
    if kit.connector.manifest.lost_answer == "natural_key":
        yield from _entities(kit, lambda c: "create" in c.push_actions, "probe")


def is_http(kit: Kit) -> bool:
    """Whether the connector speaks HTTP."""
    return kit.connector.manifest.transport == "http"


def over_http(of: Callable[[Kit], Iterator[Subject]]) -> Callable[[Kit], Iterator[Subject]]:
    """The same, when the connector speaks HTTP."""
    return lambda kit: of(kit) if is_http(kit) else iter(())


def reads(kit: Kit) -> Iterator[Subject]:
    """Each operation that only reads."""
    yield from pulled(kit)
    yield from fetched(kit)
    yield from probed(kit)


def writes(kit: Kit) -> Iterator[Subject]:
    """Each operation that writes."""
    yield from pushed(kit)
    yield from changed(kit)


def operations(kit: Kit) -> Iterator[Subject]:
    """Each operation."""
    yield from reads(kit)
    yield from writes(kit)


def with_webhooks(kit: Kit) -> Iterator[Subject]:
    """Each entity that webhooks speak of: those that can be read again."""
    if kit.connector.manifest.webhooks:
        yield from _entities(kit, lambda c: c.fetch, "webhook")


def acknowledged(kit: Kit) -> Iterator[Subject]:
    """Each pushed entity, where the target speaks later."""
    if kit.connector.manifest.acknowledges:
        yield from pushed(kit)


def exported(kit: Kit) -> Iterator[Subject]:
    """Each entity that is read from files."""
    if kit.connector.manifest.transport == "files" and issubclass(kit, FileKit):
        yield from pulled(kit)
