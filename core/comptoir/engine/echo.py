"""Echo: what a target's record shows since we wrote it is ours, and is not sent back to where it came from.

Where customers are kept both ways, a value that the back office changed is written to the shop; the shop's record lands
again with it, and must not become a card for the back office: that card would be under way while the operator types the
next change, and the two sides would hand each other their older values for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from comptoir.domain.authority import only_these_values
from comptoir.engine.hub import Hub, Link
from comptoir.engine.render import render
from comptoir.errors import MappingError, RecordRejected
from comptoir.model.base import Canonical
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.publications import Publications, Shown

__all__ = ["Echoes"]


class Echoes:
    """What a batch of changed records owes to our own writes. Made before their earlier revisions are replaced."""

    def __init__(self, hub: Hub, link: Link, session: Session, entity: EntityName, known: Mapping[str, UUID]) -> None:
        self._hub = hub
        self._link = link
        self._entity = entity
        self._shown: Mapping[str, Shown] = {}
        self._before: Mapping[UUID, Stored] = {}
        if known and self._goes_back():
            self._shown = Publications(session).shown(link.name, entity, list(known))
            self._before = Documents(session).load(entity, [known[key] for key in self._shown])

    def _goes_back(self) -> bool:
        """Whether somebody whom these records are passed on to has values written into them."""
        return any(
            self._link.name in route.targets and target in route.sources and self._hub.publishes(route, self._link.name)
            for _, target in self._hub.subscribers(self._link.name, self._entity)
            for route in self._hub.routes.values()
            if route.entity is self._entity
        )

    def of(self, target: str, record_id: UUID, external_id: str, now: Canonical, confirmed: str | None) -> str | None:
        """The hash of what the target would be sent, when nothing but its own values makes the difference.

        None when something else changed, or when the target lacked something before already.
        """
        row, before = self._shown.get(external_id), self._before.get(record_id)
        if row is None or before is None or row.source != target or row.target_rev != before.head.rev:
            return None
        try:
            ours = self._ours(row, before.document, now)
            if ours is None:
                return None
            had = render(self._hub, target, self._link.name, self._entity, before.document)
            has = render(self._hub, target, self._link.name, self._entity, now)
        except (MappingError, RecordRejected):
            return None
        if had.content_hash != confirmed or not only_these_values(_said(before.document), _said(now), ours):
            return None
        return has.content_hash

    def _ours(self, row: Shown, before: Canonical, now: Canonical) -> Sequence[Any] | None:
        """The values that we wrote, of keys that show them now and did not before; None when another one changed."""
        mapping = self._hub.mapping(self._link.manifest.key, self._entity, "out")
        context = self._hub.context(row.source, self._link)
        old, new = mapping.apply(before, context), mapping.apply(now, context)
        found = []
        for key, wanted in row.wanted.items():
            if old.get(key) == new.get(key):
                continue
            # Once it is sent, what was known of a value is forgotten until the target has confirmed it.
            written = key not in row.known or row.known[key] == wanted
            if not written or self._kept(new.get(key)) != wanted:
                return None
            found.append(new[key])
        return found or None

    def _kept(self, value: Any) -> Any:
        """A value as a publication keeps it: personal ones as digests."""
        if self._entity is not EntityName.CUSTOMER:
            return value
        return self._hub.vault.digest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def _said(document: Canonical) -> dict[str, Any]:
    """What a record says of itself; its date follows each change, and whether it is a company its company's name."""
    return document.model_dump(exclude={"modified_at": True, "party": {"kind"}})
