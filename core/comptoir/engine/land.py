"""Land, map, resolve, plan: one batch of raw records in one transaction.

An unchanged fingerprint stops at once and is only counted. What changed is mapped and validated; a bad record is set
aside and the batch goes on. Canonical rows, bindings, deliveries, marks for what must be derived, and the resume
position of the read are committed together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from comptoir.domain.totals import compute_totals
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Link, Route
from comptoir.engine.policies import BEFORE_CUTOVER, gate, is_before_cutover
from comptoir.engine.render import render
from comptoir.errors import ComptoirError, ContractViolation, MappingError, RecordRejected
from comptoir.model.base import Canonical
from comptoir.model.order import Refund, SalesOrder
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.database import Row, Session
from comptoir.store.documents import Documents, Head
from comptoir.store.journal import Dirty, stock_mark
from comptoir.store.outbox import Outbox, new_delivery
from comptoir.store.records import Bindings, KnownRaw, RawRecords
from comptoir.store.sync import OpeningItems, Quarantine, Runs, Texts

__all__ = ["Also", "Lander", "Prepared", "fingerprint"]

Also = Callable[[Session, datetime], None]

#: HASHLIB_GIL_MINSIZE of CPython is 2048.
_HASHED_WITH_LOCK = 2047


def fingerprint(payload: Any, volatile: frozenset[str], parent: Any = None) -> bytes:
    """16 bytes that are the same for the same content: key order and volatile fields do not count."""
    kept = dict(payload)
    for name in volatile:
        kept.pop(name, None)
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, orjson.dumps(kept, option=orjson.OPT_SORT_KEYS))
    if parent is not None:
        _feed(digest, orjson.dumps(parent, option=orjson.OPT_SORT_KEYS))
    return digest.digest()


def _feed(digest: hashlib.blake2b, data: bytes) -> None:
    """Gives the digest its data in pieces for which hashlib keeps Python's lock.

    For longer ones it lets go of the lock and gets it back when another thread has had its milliseconds, for four
    microseconds of work.
    """
    if len(data) <= _HASHED_WITH_LOCK:
        digest.update(data)
        return
    view = memoryview(data)
    for start in range(0, len(data), _HASHED_WITH_LOCK):
        digest.update(view[start : start + _HASHED_WITH_LOCK])


class _Changed(NamedTuple):
    """A document that this batch makes or changes."""

    record_id: UUID
    external_id: str
    document: Any
    is_new: bool
    before_cutover: bool


class _Fresh(NamedTuple):
    """A record that is new or changed: what it became, or why it could not be mapped."""

    item: RawItem
    fingerprint: bytes
    earlier: KnownRaw | None
    made: Any


@dataclass(frozen=True, slots=True)
class _EntityBatch:
    """The records of one entity in a batch."""

    entity: EntityName
    considered: int
    fresh: list[_Fresh]


@dataclass(slots=True)
class Prepared:
    """A batch that can be stored. `stale`: it shares records with one that was not stored yet when it was made."""

    found: list[_EntityBatch]
    items: Sequence[RawItem]
    also: Also | None
    stale: bool = False

    def keys(self) -> set[tuple[EntityName, str]]:
        """Which records it holds."""
        return {(item.entity, item.external_id) for item in self.items}


@dataclass(slots=True)
class _Batch:
    """The transaction's repositories."""

    raw: RawRecords
    documents: Documents
    bindings: Bindings
    outbox: Outbox
    quarantine: Quarantine
    opening: OpeningItems
    dirty: Dirty
    runs: Runs


class Lander:
    """Takes raw records of one connection into the store."""

    def __init__(self, hub: Hub, link: Link, report: RunReport) -> None:
        self._hub = hub
        self._link = link
        self._report = report
        self._clock = hub.ports.clock
        self._new_id = hub.ports.ids.new
        self._context = hub.context(link.name, link)
        self._partition: str | None = None
        self._stored_mappings: set[str] = set()

    def land(self, items: Sequence[RawItem], also: Also | None = None) -> None:
        """One batch in one transaction; `also` runs inside it (the cursor's resume position)."""
        self.store(self.prepare(items, also))

    def prepare(self, items: Sequence[RawItem], also: Also | None = None) -> Prepared:
        """A batch made ready to be stored: fingerprints compared, what is new or changed mapped. Writes nothing.

        It may run while the batch before is still being stored, on a connection of its own.
        """
        with self._hub.database.errors():
            return Prepared(self._look_up(RawRecords(self._hub.database.reader()), items), items, also)

    def _look_up(self, raw: RawRecords, items: Sequence[RawItem]) -> list[_EntityBatch]:
        by_entity: dict[EntityName, dict[str, RawItem]] = {}
        for item in items:
            if not item.external_id or "\0" in item.external_id:
                raise ContractViolation(
                    f"{self._link.manifest.name} gave a {item.entity.value} without a usable external id",
                    connection=self._link.name,
                )
            by_entity.setdefault(item.entity, {})[item.external_id] = item
        # Parents before children: a refund asks for its order.
        entities = sorted(by_entity, key=_ENTITY_ORDER.index)
        return [self._sift(raw, entity, by_entity[entity]) for entity in entities]

    def _sift(self, raw: RawRecords, entity: EntityName, items: dict[str, RawItem]) -> _EntityBatch:
        """What is new or changed among these records, mapped."""
        volatile = frozenset(self._hub.capability(self._link.name, entity).volatile)
        stored = raw.fingerprints(self._link.name, entity, list(items))
        differing: list[tuple[str, RawItem, bytes]] = []
        for external_id, item in items.items():
            print_ = fingerprint(item.payload, volatile, item.parent)
            # A parked record is tried again: its mapping may have been corrected.
            if stored.get(external_id) != print_:
                differing.append((external_id, item, print_))
        if not differing:
            return _EntityBatch(entity, len(items), [])
        known = raw.known(self._link.name, entity, [external_id for external_id, _, _ in differing])
        mapping = self._hub.mapping(self._link.manifest.key, entity, "in")
        fresh: list[_Fresh] = []
        for external_id, item, print_ in differing:
            made: Any
            if item.fault is not None:
                hint = "Correct it at its source: it is read again from there."
                made = MappingError(item.fault, hint=hint, code="unreadable")
                fresh.append(_Fresh(item, print_, known.get(external_id), made))
                continue
            try:
                made = mapping.to_model(item.payload, self._context, parent=item.parent)
            except MappingError as error:
                made = error
            fresh.append(_Fresh(item, print_, known.get(external_id), made))
        return _EntityBatch(entity, len(items), fresh)

    def store(self, prepared: Prepared) -> None:
        """Stores a prepared batch in one transaction: rows, bindings, deliveries, marks, and what came with it."""
        now = self._clock.now()
        with self._hub.database.transaction() as session:
            batch = _Batch(
                RawRecords(session),
                Documents(session),
                Bindings(session),
                Outbox(session),
                Quarantine(session),
                OpeningItems(session),
                Dirty(session),
                Runs(session),
            )
            found = prepared.found
            if prepared.stale:
                # A record of the batch before is here again: only now is it known how that one was stored.
                found = self._look_up(batch.raw, prepared.items)
            for part in found:
                self._entity(session, batch, part, now)
            if prepared.also is not None:
                prepared.also(session, now)

    def _entity(self, session: Session, batch: _Batch, part: _EntityBatch, now: datetime) -> None:
        entity, fresh = part.entity, part.fresh
        counts = self._report.entities[entity]
        counts.considered += part.considered
        counts.unchanged += part.considered - len(fresh)
        if not fresh:
            return
        changed = self._write(session, batch, entity, fresh, now)
        batch.documents.flush()
        self._plan(batch, entity, changed, now)
        if self._link.posts_by_hub:
            self._mark_dirty(session, batch, entity, changed, now)
        if entity in _MOVES_STOCK:
            for target in self._hub.shows_stock:
                batch.dirty.mark(stock_mark(target), [c.record_id for c in changed], now)

    def _write(
        self, session: Session, batch: _Batch, entity: EntityName, fresh: Sequence[_Fresh], now: datetime
    ) -> list[_Changed]:
        mapping = self._hub.mapping(self._link.manifest.key, entity, "in")
        if mapping.hash not in self._stored_mappings:
            Texts(session).keep(mapping.hash, "mapping", mapping.name, mapping.text, now)
            self._stored_mappings.add(mapping.hash)
        self._ensure_partition(batch, now)
        counts = self._report.entities[entity]
        new_id, name = self._new_id, self._link.name
        ids = [f.earlier.record_id for f in fresh if f.earlier is not None and f.earlier.record_id is not None]
        revisions = batch.documents.revisions(entity, ids) if ids else {}
        inserted: list[Row] = []
        replaced: list[Row] = []
        bodies: list[bytes] = []
        heads: list[tuple[UUID, int]] = []
        links: list[Row] = []
        resolved: list[str] = []
        changed: list[_Changed] = []
        stamp = now.isoformat()  # written once, not once a row
        add = self._adder(batch.documents, entity)
        for item, print_, earlier, document in fresh:
            raw_id = earlier.raw_id if earlier is not None else new_id()
            record_id = earlier.record_id if earlier is not None else None
            version = earlier.version + 1 if earlier is not None else 1
            state = "mapped"
            if isinstance(document, MappingError):
                state = "parked"
                counts.quarantined += 1
                self._park(batch, entity, item.external_id, document, now, record_id)
            else:
                is_new = record_id is None
                record_id = record_id or new_id()
                rev, created = revisions.get(record_id, (0, now))
                before = is_before_cutover(document, self._link.cutover)
                head = Head(record_id, raw_id, name, mapping.hash, rev + 1, created, now, before)
                add(document, head)
                changed.append(_Changed(record_id, item.external_id, document, is_new, before))
                if is_new:
                    links.append((new_id(), record_id, name, entity.value, item.external_id, "linked", stamp, stamp))
                if earlier is not None and earlier.state == "parked":
                    resolved.append(item.external_id)
            if earlier is None or earlier.fingerprint != print_ or earlier.state != state:
                row = (
                    raw_id, name, entity.value, item.external_id, print_, state, record_id, version,
                    item.modified_at, stamp,
                )  # fmt: skip
                (inserted if earlier is None else replaced).append(row)
                bodies.append(orjson.dumps({"payload": item.payload, **_beside(item)}))
                heads.append((raw_id, version))
        batch.raw.insert(inserted)
        batch.raw.replace(replaced)
        if replaced:
            batch.bindings.revive(name, entity, [row[6] for row in replaced if row[6] is not None])
        key_id, bodies = self._hub.vault.seal(bodies, now)
        batch.raw.payloads([(*head, stamp, key_id, body) for head, body in zip(heads, bodies, strict=True)])
        batch.bindings.link_new(links)
        if resolved:
            batch.quarantine.resolve(name, entity, resolved, "it could be mapped", now)
        return changed

    def _adder(self, documents: Documents, entity: EntityName) -> Callable[[Any, Head], None]:
        """What queues a document of this entity; the mapping has made it of the entity's own model."""

        def add_order(order: SalesOrder, head: Head) -> None:
            totals = compute_totals(order)
            documents.add_order(order, head, totals.total, totals.residual, totals.cause)

        adders: dict[EntityName, Callable[[Any, Head], None]] = {
            EntityName.ORDER: add_order,
            EntityName.REFUND: documents.add_refund,
            EntityName.CUSTOMER: documents.add_customer,
            EntityName.ITEM: documents.add_item,
            EntityName.STOCK: documents.add_stock,
        }
        return adders[entity]

    # -- plan --------------------------------------------------------------------------------------------------

    def _plan(self, batch: _Batch, entity: EntityName, changed: list[_Changed], now: datetime) -> None:
        """Decides what each target gets; counts every document once, as changed or skipped."""
        counts = self._report.entities[entity]
        going: list[_Changed] = []
        outcomes: list[Row] = []
        blocked: list[_Changed] = []
        opening = self._names_history(batch, entity, changed)
        orphans = self._without_order(batch, entity, changed)
        for change in changed:
            reason: str | None
            if change.before_cutover:
                reason = BEFORE_CUTOVER
            elif change.record_id in opening:
                reason = "names a document from before the cutover"
                self._list_for_opening(batch, change, now)
            elif change.record_id in orphans:
                reason = "its order was not passed on"
            else:
                reason = gate(change.document)
            if reason is None:
                counts.changed += 1
                going.append(change)
                continue
            counts.skip(reason)
            outcomes.append((self._report.run_id, self._link.name, entity.value, change.external_id, "skipped", reason))
            if not change.is_new and not change.before_cutover:
                blocked.append(change)
        batch.runs.outcomes(outcomes)
        for route, target in self._hub.subscribers(self._link.name, entity):
            if self._hub.publishes(route, target):
                continue  # absolute values: compared with what the target shows, see publish
            self._plan_target(batch, route, target, entity, going, now)
            if blocked:
                self._withdraw(batch, target, entity, blocked, now)

    def _plan_target(
        self,
        batch: _Batch,
        route: Route,
        target: str,
        entity: EntityName,
        going: list[_Changed],
        now: datetime,
    ) -> None:
        known = [c.record_id for c in going if not c.is_new]
        open_now = batch.outbox.open_for(target, entity, known) if known else {}
        bound = batch.bindings.of_records(target, entity, known) if known else {}
        rows: list[Row] = []
        stamp = now.isoformat()
        matched = self._hub.matches(entity, target)
        for change in going:
            if change.record_id in open_now:
                continue  # rendered from the newest revision when it is claimed
            if matched and change.record_id not in bound:
                continue  # it may exist there: it is matched first
            action = "create"
            if change.record_id in bound:
                if not self._differs(target, entity, change, bound[change.record_id].confirmed_hash):
                    continue
                if "update" not in self._hub.capability(target, entity).push_actions:
                    self._changed_after_delivery(batch, target, entity, change, now)
                    continue
                action = "update"
            rows.append(
                new_delivery(
                    self._new_id(), stamp, target=target, entity=entity, record_id=change.record_id,
                    source=self._link.name, route=route.name, key=_number(change.document), action=action,
                )
            )  # fmt: skip
        batch.outbox.add(rows)
        if entity is EntityName.ORDER:
            self._plan_waiting_refunds(batch, route, target, [c for c in going if not c.is_new], now)

    def _plan_waiting_refunds(
        self, batch: _Batch, route: Route, target: str, orders: list[_Changed], now: datetime
    ) -> None:
        """Refunds that waited because their order did: they follow it."""
        ids = [c.external_id for c in orders if c.document.refund_ids]
        if not ids or not self._hub.capability(target, EntityName.REFUND).push:
            return
        found = batch.documents.refunds_without_delivery(self._link.name, ids, target)
        batch.outbox.add(
            [
                new_delivery(
                    self._new_id(), now, target=target, entity=EntityName.REFUND, record_id=refund_id,
                    source=self._link.name, route=route.name, key=number,
                )
                for refund_id, number in found
            ]
        )  # fmt: skip

    def _differs(self, target: str, entity: EntityName, change: _Changed, confirmed: str | None) -> bool:
        """Whether the target would get something else than what it confirmed."""
        try:
            return render(self._hub, target, self._link.name, entity, change.document).content_hash != confirmed
        except (MappingError, RecordRejected):
            return True

    def _withdraw(self, batch: _Batch, target: str, entity: EntityName, blocked: list[_Changed], now: datetime) -> None:
        """A document that must not go out any more: taken from the outbox, or a person is told that it is out."""
        ids = [c.record_id for c in blocked]
        batch.outbox.drop_unsent(target, entity, ids, "withdrawn: it must not go out any more", now)
        out = batch.bindings.of_records(target, entity, ids)
        for change in blocked:
            if change.record_id in out:
                self._changed_after_delivery(batch, target, entity, change, now)

    def _changed_after_delivery(
        self, batch: _Batch, target: str, entity: EntityName, change: _Changed, now: datetime
    ) -> None:
        number = _number(change.document)
        reason = gate(change.document)
        what = f"is now {reason}" if reason else "was changed"
        batch.quarantine.park(
            self._new_id(),
            connection=self._link.name,
            entity=entity,
            external_id=change.external_id,
            record_id=change.record_id,
            target=target,
            cause="changed_after_delivery",
            message=f"{entity.value} {number} {what} on {self._link.name} after it was handed to {target}",
            field=None,
            hint=f"{target} takes no changes by file: make the same change there by hand, then resolve this.",
            at=now,
        )
        batch.runs.outcomes(
            [
                (
                    self._report.run_id, self._link.name, entity.value, change.external_id, "parked",
                    "changed_after_delivery",
                )
            ]
        )  # fmt: skip

    # -- history, derived documents, quarantine ------------------------------------------------------------------

    def _names_history(self, batch: _Batch, entity: EntityName, changed: list[_Changed]) -> set[UUID]:
        """Refunds whose order is from before the cutover."""
        if entity is not EntityName.REFUND or self._link.cutover is None:
            return set()
        old = batch.documents.orders_before_cutover(self._link.name, {c.document.order_id for c in changed})
        return {c.record_id for c in changed if c.document.order_id in old}

    def _without_order(self, batch: _Batch, entity: EntityName, changed: list[_Changed]) -> set[UUID]:
        """Refunds whose order goes to nobody (it was never paid): they follow it if it ever goes."""
        if entity is not EntityName.REFUND or not self._hub.subscribers(self._link.name, entity):
            return set()
        waiting = batch.documents.orders_not_passed_on(self._link.name, {c.document.order_id for c in changed})
        return {c.record_id for c in changed if c.document.order_id in waiting}

    def _list_for_opening(self, batch: _Batch, change: _Changed, now: datetime) -> None:
        refund: Refund = change.document
        batch.opening.add(
            self._new_id(),
            connection=self._link.name,
            entity=EntityName.REFUND,
            external_id=change.external_id,
            names=f"order {refund.order_number}",
            amount=refund.amount,
            currency=refund.currency,
            dated_on=refund.refunded_on,
            reason="refund of an order from before the cutover",
            at=now,
        )

    def _mark_dirty(
        self, session: Session, batch: _Batch, entity: EntityName, changed: list[_Changed], now: datetime
    ) -> None:
        """Marks the orders whose journal entries must be derived again, in this same transaction."""
        if entity is EntityName.ORDER:
            batch.dirty.mark("journal", [c.record_id for c in changed], now)
        elif entity is EntityName.REFUND:
            orders = batch.documents.order_ids(self._link.name, {c.document.order_id for c in changed})
            batch.dirty.mark("journal", orders, now)

    def _park(
        self,
        batch: _Batch,
        entity: EntityName,
        external_id: str,
        error: ComptoirError,
        now: datetime,
        record_id: UUID | None,
    ) -> None:
        batch.quarantine.park(
            self._new_id(),
            connection=self._link.name,
            entity=entity,
            external_id=external_id,
            record_id=record_id,
            cause=error.code,
            message=f"{entity.value} {external_id} on {self._link.name}: {error.message}",
            field=error.field,
            hint=error.hint,
            at=now,
        )
        batch.runs.outcomes([(self._report.run_id, self._link.name, entity.value, external_id, "parked", error.code)])

    def _ensure_partition(self, batch: _Batch, now: datetime) -> None:
        month = f"{now:%Y-%m}"
        if self._partition != month:
            batch.raw.ensure_partition(now)
            self._partition = month


#: What changes how many units may be offered.
_MOVES_STOCK = frozenset({EntityName.ORDER, EntityName.REFUND, EntityName.STOCK})
_ENTITY_ORDER = [EntityName.ITEM, EntityName.STOCK, EntityName.CUSTOMER, EntityName.ORDER, EntityName.REFUND]


def _number(document: Canonical) -> str:
    number = getattr(document, "number", None) or getattr(document, "external_id", "")
    return str(number)


def _beside(item: RawItem) -> dict[str, Any]:
    """What is kept with a payload: few records have any of it."""
    if item.parent is None and item.fault is None:
        return {}
    kept = {"parent": item.parent, "fault": item.fault}
    return {name: value for name, value in kept.items() if value is not None}
