"""Echo: what a record shows since we wrote it is ours, and is not sent back to where it came from.

Where customers are kept both ways, a value that the back office changed is written to the shop; the shop's record lands
again with it, and must not become a card for the back office: that card would be under way while the operator types the
next change, and the two sides would hand each other their older values for ever.

The other way round a card is under way for hours, and the back office shows it when the buyer may have changed his
address once more: what the shop said before is nobody's change there. So what is said is kept until it is heard.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from comptoir.domain.authority import only_these_values
from comptoir.engine.form import Changed
from comptoir.engine.hub import Hub, Link
from comptoir.engine.render import render
from comptoir.errors import MappingError, RecordRejected
from comptoir.model.base import Canonical
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.publications import Publications, Shown
from comptoir.store.said import Heard, Said

__all__ = ["Echoes", "Words"]


class Words:
    """What a connection's records said and the other side of a pair has not shown yet; of one batch of pairs."""

    def __init__(self, hub: Hub, session: Session, connection: str, entity: EntityName, ids: Sequence[str]) -> None:
        self._hub = hub
        self._store = Said(session, connection, entity)
        self._waited_for = self._store.of(ids)
        self._heard: list[Heard] = []
        self._told: list[tuple[str, str, str]] = []

    def heard(self, external_id: str, shown: Mapping[str, Any]) -> set[str]:
        """The keys in which the other side shows what this record said: that is nobody's change there."""
        waited_for = self._waited_for.get(external_id, {})
        words = {key: waited_for.get((key, _spoken(self._hub, shown[key]))) for key in shown} if waited_for else {}
        found = {key: word.seq for key, word in words.items() if word is not None}
        self._heard += [(external_id, key, seq) for key, seq in found.items()]
        return set(found)

    def tell(self, external_id: str, shown: Mapping[str, Any]) -> None:
        """What this record shows may be on its way to the other side."""
        self._told += [(external_id, key, _spoken(self._hub, value)) for key, value in shown.items()]

    def keep(self, at: datetime) -> None:
        """Stores what was heard and told."""
        self._store.heard(self._heard)
        self._store.add(self._told, at, passed_on=False)


def _spoken(hub: Hub, value: Any) -> str:
    """The digest by which a value is known again when another system shows it in its own spelling (capitals, accents,
    spaces)."""
    return hub.vault.digest(orjson.dumps(_spelt_alike(value), option=orjson.OPT_SORT_KEYS))


def _spelt_alike(value: Any) -> Any:
    if isinstance(value, str):
        bare = "".join(c for c in unicodedata.normalize("NFKD", value) if not unicodedata.combining(c))
        return " ".join(bare.casefold().split())
    if isinstance(value, Mapping):
        return {key: _spelt_alike(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt_alike(part) for part in value]
    return value


class Echoes:
    """What a batch of changed records owes to our own writes. Made before their earlier revisions are replaced."""

    def __init__(self, hub: Hub, link: Link, session: Session, entity: EntityName, known: Mapping[str, UUID]) -> None:
        self._hub = hub
        self._link = link
        self._entity = entity
        self._session = session
        self._shown: Mapping[str, Shown] = {}
        self._before: Mapping[UUID, Stored] = {}
        self._under_way: frozenset[str] = frozenset()
        self._others = tuple(self._go_back()) if known else ()
        if self._others:
            self._shown = Publications(session).shown(link.name, entity, list(known))
            waited_for = Said(session, link.name, entity).of(list(known))
            self._under_way = frozenset(
                key for key, words in waited_for.items() if any(word.passed_on for word in words.values())
            )
            self._before = Documents(session).load(entity, list(known.values()))

    def _go_back(self) -> Iterator[str]:
        """To whom these records are passed on, of those who have values written into them."""
        for _, target in self._hub.subscribers(self._link.name, self._entity):
            if any(
                self._link.name in route.targets
                and target in route.sources
                and self._hub.publishes(route, self._link.name)
                for route in self._hub.routes.values()
                if route.entity is self._entity
            ):
                yield target

    def remember(self, changed: Iterable[Changed], at: datetime) -> None:
        """Keeps what changed records say now, where it is not the other side's own word."""
        if self._others:
            rows = [row for change in changed if not change.is_new for row in self._said(change)]
            Said(self._session, self._link.name, self._entity).add(rows, at, passed_on=True)

    def _said(self, change: Changed) -> Iterator[tuple[str, str, str]]:
        row, before = self._shown.get(change.external_id), self._before.get(change.record_id)
        if before is None or change.document is None:
            return
        mapping = self._hub.mapping(self._link.manifest.key, self._entity, "out")
        context = self._hub.context(row.source if row else self._others[0], self._link)
        try:
            old, new = mapping.apply(before.document, context), mapping.apply(change.document, context)
        except MappingError:
            return  # said where it is published
        for key, value in new.items():
            known = row is None or key in row.wanted
            if known and value != old.get(key) and (row is None or self._kept(value) != row.wanted[key]):
                yield change.external_id, key, _spoken(self._hub, value)

    def of(self, target: str, record_id: UUID, external_id: str, now: Canonical, confirmed: str | None) -> str | None:
        """The hash of what the target would be sent, when nothing but its own values makes the difference.

        None when something else changed, when the target lacked something before already, or when what this record said
        before is still on its way there: it would take the target's own value back.
        """
        row, before = self._shown.get(external_id), self._before.get(record_id)
        if row is None or before is None or row.source != target or row.target_rev != before.head.rev:
            return None
        if external_id in self._under_way:
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
