"""Land, map, resolve, plan: one batch of raw records in one transaction.

An unchanged fingerprint stops at once and is only counted. What changed is mapped and validated; a bad record is set
aside and the batch goes on. Canonical rows, bindings, deliveries, marks for what must be derived, and the resume
position of the read are committed together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from comptoir.engine.counts import RunReport
from comptoir.engine.echo import Echoes
from comptoir.engine.fingerprint import fingerprint, render_raw
from comptoir.engine.form import Changed, Formed, Former, Forming, Fresh, Job, Parked, Received
from comptoir.engine.hub import Hub, Link, Route
from comptoir.engine.policies import BEFORE_CUTOVER
from comptoir.engine.render import render
from comptoir.errors import ContractViolation, MappingError, RecordRejected
from comptoir.model.order import Refund
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.database import CopyText, Row, Session
from comptoir.store.documents import Documents
from comptoir.store.journal import Dirty, stock_mark
from comptoir.store.outbox import Outbox, new_delivery
from comptoir.store.publications import Publications
from comptoir.store.records import Bindings, KnownRaw, RawRecords
from comptoir.store.sync import OpeningItems, Quarantine, Runs, Texts

__all__ = ["Also", "Keys", "Lander", "Prepared", "fingerprint"]

Also = Callable[[Session, datetime], None]
#: Which records a batch holds.
Keys = AbstractSet[tuple[EntityName, str]]


@dataclass(slots=True)
class _Part:
    """The records of one entity in a batch: what is new is being formed, what is known must be in the transaction."""

    #: What gives the rows of a job when it is done, and what is kept of its records.
    forming: list[tuple[Callable[[], Formed], list[bytes]]] = field(default_factory=list)
    formed: list[Formed] = field(default_factory=list)
    considered: int = 0
    known: list[tuple[Fresh, KnownRaw]] = field(default_factory=list)
    #: The external ids of all records, where values are written into them.
    written_to: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Prepared:
    """A batch that can be stored.

    `late` are records that another record of this batch, or of the one before, is an earlier state of: only in the
    transaction is it known how that one was stored.
    """

    session: Session
    at: datetime
    behind: Keys
    keys: set[tuple[EntityName, str]] = field(default_factory=set)
    parts: dict[EntityName, _Part] = field(default_factory=dict)
    late: list[RawItem] = field(default_factory=list)
    also: Also | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def wait(self) -> None:
        """Until everything is formed."""
        for part in self.parts.values():
            part.formed = [form() for form, _ in part.forming]


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

    def __init__(self, hub: Hub, link: Link, report: RunReport, *, unchanged_too: bool = False) -> None:
        """`unchanged_too`: what is known is mapped again although the source says what it said before."""
        self._hub = hub
        self._link = link
        self._report = report
        self._unchanged_too = unchanged_too
        self._clock = hub.ports.clock
        self._new_id = hub.ports.ids.new
        self._former = Former(hub, link)
        self._form: Callable[[Job], Callable[[], Formed]] = self._form_here
        self._began = hub.ports.clock.now()
        self._written_to = hub.written_to(link.name)
        self._partition: str | None = None
        self._stored_mappings: set[str] = set()

    def land(self, items: Sequence[RawItem], also: Also | None = None) -> None:
        """One batch in one transaction; `also` runs inside it (the cursor's resume position)."""
        prepared = self.begin()
        self.add(prepared, items)
        self.store(self.finish(prepared, also))

    def begin(self, behind: Keys = frozenset()) -> Prepared:
        """A batch to be made ready. Nothing is written before `store`.

        It may be made ready, on a connection of its own, while the batch that holds the records `behind` is stored.
        """
        with self._hub.database.errors():
            return Prepared(self._hub.database.reader(), self._clock.now(), behind)

    def add(self, prepared: Prepared, items: Sequence[RawItem]) -> None:
        """Compares fingerprints, maps what is new or changed, and forms the rows of what is new."""
        by_entity: dict[EntityName, dict[str, RawItem]] = {}
        for item in items:
            if not item.external_id or "\0" in item.external_id:
                raise ContractViolation(
                    f"{self._link.manifest.name} gave a {item.entity.value} without a usable external id",
                    connection=self._link.name,
                )
            by_entity.setdefault(item.entity, {})[item.external_id] = item
        keys = {(entity, external_id) for entity, found in by_entity.items() for external_id in found}
        again = not (keys.isdisjoint(prepared.behind) and keys.isdisjoint(prepared.keys))
        prepared.keys |= keys
        if again:
            prepared.late.extend(items)
            return
        with self._hub.database.errors():
            for entity, found in by_entity.items():
                self._sift(prepared, entity, found)

    def finish(self, prepared: Prepared, also: Also | None = None) -> Prepared:
        """The batch, ready; `also` runs inside its transaction."""
        prepared.also = also
        return prepared

    @contextmanager
    def beside(self) -> Iterator[None]:
        """In the block, what is new is mapped and formed by another process, where the machine has one to spare.

        For first imports: the process has to be made.
        """
        with self._hub.ports.tasks.apart(self._former.form, begin=self._hub.database.leave_to_parent) as form:
            self._form = form
            try:
                yield
            finally:
                self._form = self._form_here

    def _form_here(self, job: Job) -> Callable[[], Formed]:
        formed = self._former.form(job)
        return lambda: formed

    def _sift(self, prepared: Prepared, entity: EntityName, items: dict[str, RawItem]) -> None:
        """Takes what is new or changed among these records into the batch."""
        part = prepared.parts.setdefault(entity, _Part())
        part.considered += len(items)
        if entity in self._written_to:
            part.written_to += items
        volatile = frozenset(self._hub.capability(self._link.name, entity).volatile)
        raw = RawRecords(prepared.session)
        stored = raw.fingerprints(self._link.name, entity, list(items))
        new: list[Received] = []
        changed: list[Received] = []
        for item in items.values():
            one = render_raw(item.payload, volatile, item.parent)
            if stored.get(item.external_id) == one.fingerprint and not self._unchanged_too:
                continue
            received = Received(item, one.fingerprint, one.kept(item.payload, volatile, item.fault))
            (changed if item.external_id in stored else new).append(received)
        if new:
            job = Job(entity, prepared.at, new)
            part.forming.append((self._form(job), [one.kept for one in new]))
        if changed:
            known = raw.known(self._link.name, entity, [one.item.external_id for one in changed])
            made = self._former.made(entity, changed)
            part.known += [(fresh, known[fresh.received.item.external_id]) for fresh in made]

    def store(self, prepared: Prepared) -> None:
        """Stores a prepared batch in one transaction: rows, bindings, deliveries, marks, and what came with it."""
        prepared.wait()  # before the transaction, in which nobody is waited for
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
            self._store_parts(session, batch, prepared, now)
            if prepared.late:
                late = Prepared(session, now, frozenset())
                self.add(late, prepared.late)
                late.wait()
                self._store_parts(session, batch, self.finish(late), now)
            if prepared.also is not None:
                prepared.also(session, now)

    def _store_parts(self, session: Session, batch: _Batch, prepared: Prepared, now: datetime) -> None:
        # Parents before children: a refund asks for its order.
        for entity in sorted(prepared.parts, key=_ENTITY_ORDER.index):
            self._store_part(session, batch, entity, prepared.parts[entity], prepared.at, now)

    def _store_part(
        self, session: Session, batch: _Batch, entity: EntityName, part: _Part, formed_at: datetime, now: datetime
    ) -> None:
        counts = self._report.entities[entity]
        counts.considered += part.considered
        counts.unchanged += part.considered - len(part.known) - sum(len(kept) for _, kept in part.forming)
        if part.written_to:
            other = {fresh.received.item.external_id for fresh, _ in part.known}
            same = [external_id for external_id in part.written_to if external_id not in other]
            Publications(session).read_as_before(self._link.name, entity, same, self._began)
        if not part.forming and not part.known:
            return
        self._keep_mapping(session, entity, now)
        self._ensure_partition(batch, formed_at)
        changed, parked = self._store_new(session, batch, part, formed_at)
        rewritten = {f.received.item.external_id: k.record_id for f, k in part.known if k.record_id is not None}
        echoes = Echoes(self._hub, self._link, session, entity, rewritten)
        if part.known:
            self._ensure_partition(batch, now)
            more = Forming(self._hub, self._link, session, entity, now)
            more.known(part.known)
            more.finish()
            self._seal(batch, more.heads, more.kept, now)
            echoes.remember(more.changed, now)
            changed, parked = [*changed, *more.changed], [*parked, *more.parked]
            if more.retried:
                batch.quarantine.resolve(self._link.name, entity, more.retried, "it could be mapped", now)
        counts.quarantined += len(parked)
        for one in parked:
            self._park(batch, entity, one, now)
        self._plan(batch, entity, changed, echoes, now)
        if self._link.posts_by_hub:
            self._mark_dirty(session, batch, entity, changed, now)
        if entity in _MOVES_STOCK:
            for target in self._hub.shows_stock:
                batch.dirty.mark(stock_mark(target), [c.record_id for c in changed], now)

    def _store_new(
        self, session: Session, batch: _Batch, part: _Part, at: datetime
    ) -> tuple[list[Changed], list[Parked]]:
        """Stores the rows of what is new, and its payloads, a table after the other."""
        texts: CopyText = {}
        heads: list[tuple[UUID, int]] = []
        changed: list[Changed] = []
        parked: list[Parked] = []
        for formed in part.formed:
            for statement, portions in formed.texts.items():
                texts.setdefault(statement, []).extend(portions)
            heads += formed.heads
            changed += formed.changed
            parked += formed.parked
        self._seal(batch, heads, [one for _, kept in part.forming for one in kept], at)
        for statement, portions in texts.items():
            # In one piece: for each, the thread gives Python's lock away, and another one keeps it for milliseconds.
            session.send(statement, (b"".join(portions),))
        return changed, parked

    def _seal(self, batch: _Batch, heads: list[tuple[UUID, int]], kept: list[bytes], at: datetime) -> None:
        """Stores payloads, sealed."""
        key_id, bodies = self._hub.vault.seal(kept, at)
        stamp = at.isoformat()  # written once, not once a row
        batch.raw.payloads([(*head, stamp, key_id, body) for head, body in zip(heads, bodies, strict=True)])

    def _keep_mapping(self, session: Session, entity: EntityName, now: datetime) -> None:
        mapping = self._hub.mapping(self._link.manifest.key, entity, "in")
        if mapping.hash not in self._stored_mappings:
            Texts(session).keep(mapping.hash, "mapping", mapping.name, mapping.text, now)
            self._stored_mappings.add(mapping.hash)

    # -- plan --------------------------------------------------------------------------------------------------

    def _plan(self, batch: _Batch, entity: EntityName, changed: list[Changed], echoes: Echoes, now: datetime) -> None:
        """Decides what each target gets; counts every document once, as changed or skipped."""
        counts = self._report.entities[entity]
        going: list[Changed] = []
        outcomes: list[Row] = []
        blocked: list[Changed] = []
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
                reason = change.reason
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
            self._plan_target(batch, route, target, entity, going, echoes, now)
            if blocked:
                self._withdraw(batch, target, entity, blocked, now)
        for target in self._hub.without_refunds(self._link.name) if entity is EntityName.REFUND else ():
            for change in going:
                self._tell_of_refund(batch, target, change, now)

    def _plan_target(
        self,
        batch: _Batch,
        route: Route,
        target: str,
        entity: EntityName,
        going: list[Changed],
        echoes: Echoes,
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
                confirmed = bound[change.record_id].confirmed_hash
                if not self._differs(target, entity, change, confirmed):
                    continue
                ours = echoes.of(target, change.record_id, change.external_id, change.document, confirmed)
                if ours is not None:
                    batch.bindings.stamp(change.record_id, target, entity, ours)
                    continue
                if "update" not in self._hub.capability(target, entity).push_actions:
                    self._changed_after_delivery(batch, target, entity, change, now)
                    continue
                action = "update"
            rows.append(
                new_delivery(
                    self._new_id(), stamp, target=target, entity=entity, record_id=change.record_id,
                    source=self._link.name, route=route.name, key=change.number, action=action,
                )
            )  # fmt: skip
        batch.outbox.add(rows)
        if entity is EntityName.ORDER:
            self._plan_waiting_refunds(batch, route, target, [c for c in going if not c.is_new], now)

    def _plan_waiting_refunds(
        self, batch: _Batch, route: Route, target: str, orders: list[Changed], now: datetime
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

    def _differs(self, target: str, entity: EntityName, change: Changed, confirmed: str | None) -> bool:
        """Whether the target would get something else than what it confirmed."""
        try:
            return render(self._hub, target, self._link.name, entity, change.document).content_hash != confirmed
        except (MappingError, RecordRejected):
            return True

    def _withdraw(self, batch: _Batch, target: str, entity: EntityName, blocked: list[Changed], now: datetime) -> None:
        """A document that must not go out any more: taken from the outbox, or a person is told that it is out."""
        ids = [c.record_id for c in blocked]
        batch.outbox.drop_unsent(target, entity, ids, "withdrawn: it must not go out any more", now)
        out = batch.bindings.of_records(target, entity, ids)
        for change in blocked:
            if change.record_id in out:
                self._changed_after_delivery(batch, target, entity, change, now)

    def _changed_after_delivery(
        self, batch: _Batch, target: str, entity: EntityName, change: Changed, now: datetime
    ) -> None:
        what = f"is now {change.reason}" if change.reason else "was changed"
        batch.quarantine.park(
            self._new_id(),
            connection=self._link.name,
            entity=entity,
            external_id=change.external_id,
            record_id=change.record_id,
            target=target,
            cause="changed_after_delivery",
            message=f"{entity.value} {change.number} {what} on {self._link.name} after it was handed to {target}",
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

    def _tell_of_refund(self, batch: _Batch, target: str, change: Changed, now: datetime) -> None:
        """Money was given back on a sale that the target has booked, and it takes no credit notes: a person does."""
        refund: Refund = change.document
        batch.quarantine.park(
            self._new_id(),
            connection=self._link.name,
            entity=EntityName.REFUND,
            external_id=change.external_id,
            record_id=change.record_id,
            target=target,
            cause=NOT_TAKEN,
            message=f"refund {change.number} of order {refund.order_number} ({refund.amount} {refund.currency}): "
            f"{target} books this sale and takes no credit notes from here",
            field=None,
            hint=f"Enter the credit note in {target} by hand, then resolve this.",
            at=now,
        )
        batch.runs.outcomes(
            [(self._report.run_id, self._link.name, EntityName.REFUND.value, change.external_id, "parked", NOT_TAKEN)]
        )

    # -- history, derived documents, quarantine ------------------------------------------------------------------

    def _names_history(self, batch: _Batch, entity: EntityName, changed: list[Changed]) -> set[UUID]:
        """Refunds whose order is from before the cutover."""
        if entity is not EntityName.REFUND or self._link.cutover is None:
            return set()
        old = batch.documents.orders_before_cutover(self._link.name, {c.document.order_id for c in changed})
        return {c.record_id for c in changed if c.document.order_id in old}

    def _without_order(self, batch: _Batch, entity: EntityName, changed: list[Changed]) -> set[UUID]:
        """Refunds whose order goes to nobody (it was never paid): they follow it if it ever goes."""
        if entity is not EntityName.REFUND or not (
            self._hub.subscribers(self._link.name, entity) or self._hub.without_refunds(self._link.name)
        ):
            return set()
        waiting = batch.documents.orders_not_passed_on(self._link.name, {c.document.order_id for c in changed})
        return {c.record_id for c in changed if c.document.order_id in waiting}

    def _list_for_opening(self, batch: _Batch, change: Changed, now: datetime) -> None:
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
        self, session: Session, batch: _Batch, entity: EntityName, changed: list[Changed], now: datetime
    ) -> None:
        """Marks the documents whose journal entries must be derived again, in this same transaction."""
        booked = self._link.booked
        if entity in booked:
            batch.dirty.mark("journal", [c.record_id for c in changed], now)
        elif entity is EntityName.REFUND and EntityName.ORDER in booked:
            orders = batch.documents.order_ids(self._link.name, {c.document.order_id for c in changed})
            batch.dirty.mark("journal", orders, now)

    def _park(self, batch: _Batch, entity: EntityName, parked: Parked, now: datetime) -> None:
        external_id, error, record_id = parked
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
#: The cause of a refund that a target takes no credit note of.
NOT_TAKEN = "not_taken"
_MOVES_STOCK = frozenset({EntityName.ORDER, EntityName.REFUND, EntityName.STOCK})
_ENTITY_ORDER = [
    EntityName.ITEM,
    EntityName.STOCK,
    EntityName.CUSTOMER,
    EntityName.ORDER,
    EntityName.REFUND,
    EntityName.PAYOUT,
    EntityName.Z_REPORT,
    EntityName.SUPPLIER_INVOICE,
]
