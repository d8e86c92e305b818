"""Deliver and confirm: claim, render, write the intent, send, settle.

Nothing is sent before its intent is committed, and nothing whose outcome is unknown is sent again before it was
looked up. No transaction is open while a remote works.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from comptoir.domain.authority import new_listing
from comptoir.engine.counts import RunReport
from comptoir.engine.handovers import note_batch
from comptoir.engine.held_back import refused_entries
from comptoir.engine.hub import Hub, Link
from comptoir.engine.render import Rendered, render
from comptoir.errors import (
    ComptoirError,
    ConfigError,
    ContractViolation,
    MappingError,
    OutcomeUnknown,
    RateLimited,
    RecordRejected,
    StorageFull,
    TransientError,
)
from comptoir.model.accounting import JournalEntry
from comptoir.model.base import Canonical
from comptoir.model.refs import EntityName
from comptoir.sdk.http import LONGEST_WRITE
from comptoir.sdk.protocols import Probes, PushBatch, Pushes, PushOp, PushResult
from comptoir.store.database import Session
from comptoir.store.documents import Documents
from comptoir.store.journal import Journal
from comptoir.store.outbox import Claimed, Outbox, worker_lock
from comptoir.store.records import Bindings
from comptoir.store.sync import OpeningItems, Quarantine, Runs

__all__ = ["DELIVERY_ORDER", "Deliverer"]

_log = logging.getLogger("comptoir.deliver")

#: What others refer to goes first.
DELIVERY_ORDER = (
    EntityName.ITEM,
    EntityName.CUSTOMER,
    EntityName.ORDER,
    EntityName.REFUND,
    EntityName.JOURNAL_ENTRY,
)
_LEASE = 300.0
#: A write that is begun must be over, one way or the other, before another worker may take its delivery over.
_LEAST_LEASE = LONGEST_WRITE


class Deliverer:
    """Carries out what is due for one target."""

    def __init__(self, hub: Hub, target: str, report: RunReport) -> None:
        self._hub = hub
        self._link: Link = hub.link(target)
        self._target = target
        self._report = report
        self._clock = hub.ports.clock
        self._holder = str(report.run_id)
        self._batch_size = min(500, *(c.batch_size for c in self._link.manifest.entities.values() if c.push))

    def deliver(self, entities: Sequence[EntityName]) -> None:
        """Everything due of these entities. Raises what stops the target; the rest stays in the outbox."""
        # Nothing is claimed for a target that cannot be written to: no credentials, paused, or not ours to write to.
        self._link.open_to_write()
        with self._hub.database.errors():
            session = self._hub.database.session()
            if not Outbox(session).pending(self._target):
                return
            session.try_lock(worker_lock(self._holder))
        try:
            with self._hub.database.transaction() as session:
                Outbox(session).take_over(self._target, self._link.manifest.read_lag_seconds)
            self._look_up()
            self._release_held()
            for entity in DELIVERY_ORDER:
                if entity in entities:
                    self._hold_first_write(entity)
                    self._drain(entity)
        finally:
            with self._hub.database.errors():
                self._hub.database.session().unlock(worker_lock(self._holder))
        with self._hub.database.errors():
            left = Outbox(self._hub.database.session()).pending(self._target)
        self._report.waiting += left.get("pending", 0)
        self._report.in_doubt += left.get("in_doubt", 0)

    def _release_held(self) -> None:
        """A held plan goes when its source was given a cutover date since; older documents are withdrawn."""
        with self._hub.database.errors():
            sources = Outbox(self._hub.database.session()).held_sources(self._target)
        if not sources:
            return
        with self._hub.database.transaction() as session:
            outbox, now = Outbox(session), self._clock.now()
            for source in sources:
                cutover = self._hub.link(source).cutover
                if cutover is None:
                    continue
                for external_id, order, amount, currency, day in outbox.release(self._target, source, cutover, now):
                    OpeningItems(session).add(
                        self._hub.ports.ids.new(),
                        connection=source,
                        entity=EntityName.REFUND,
                        external_id=external_id,
                        names=f"order {order}",
                        amount=amount,
                        currency=currency,
                        dated_on=day,
                        reason="refund of an order from before the cutover",
                        at=now,
                    )

    def _hold_first_write(self, entity: EntityName) -> None:
        """Without a cutover date, a first write of many documents becomes a plan that waits for approval."""
        sources = [link.name for link in self._hub.links.values() if link.cutover is None]
        with self._hub.database.transaction() as session:
            outbox = Outbox(session)
            count = outbox.unapproved(self._target, entity, sources)
            if count > self._hub.plan_above and not Bindings(session).any_on(self._target, entity):
                outbox.hold(self._target, entity, sources)
            held = outbox.held(self._target)
        if held.get(entity.value):
            self._report.held.setdefault(self._target, {})[entity.value] = held[entity.value]

    def _drain(self, entity: EntityName) -> None:
        while True:
            began = self._clock.monotonic()
            with self._hub.database.transaction() as session:
                claimed = Outbox(session).claim(
                    self._target, entity, self._holder, limit=self._batch_size, lease_seconds=_LEASE
                )
                documents = self._documents(session, entity, claimed)
                held_back: Mapping[UUID, ComptoirError] = {}
                if entity is EntityName.JOURNAL_ENTRY and documents:
                    held_back = refused_entries(self._hub, session, cast(Mapping[UUID, JournalEntry], documents))
            if not claimed:
                return
            self._carry_out(entity, claimed, documents, held_back, began)

    def _documents(self, session: Session, entity: EntityName, claimed: Sequence[Claimed]) -> Mapping[UUID, Canonical]:
        ids = [c.record_id for c in claimed]
        if entity is EntityName.JOURNAL_ENTRY:
            return Journal(session).load(ids)
        found = {key: stored.document for key, stored in Documents(session).load(entity, ids).items()}
        if entity is EntityName.ITEM and found:
            return self._listings(session, found)
        return found

    def _listings(self, session: Session, items: Mapping[UUID, Any]) -> dict[UUID, Canonical]:
        """Items as the target would list them: with the currency and price basis of what it lists already."""
        terms = Documents(session).price_terms(self._target)
        if terms is None:
            raise ConfigError(
                f"{self._target} lists nothing with a price yet, so its currency and price basis are not known",
                hint=f"Make one product with a price on {self._target} by hand, then run again.",
                connection=self._target,
            )
        return {key: new_listing(item, *terms) for key, item in items.items()}

    def _carry_out(
        self,
        entity: EntityName,
        claimed: Sequence[Claimed],
        documents: Mapping[UUID, Canonical],
        held_back: Mapping[UUID, ComptoirError],
        began: float,
    ) -> None:
        ready: dict[UUID, tuple[Claimed, Rendered]] = {}
        refused: list[tuple[Claimed, ComptoirError]] = []
        for delivery in claimed:
            if delivery.record_id in held_back:
                refused.append((delivery, held_back[delivery.record_id]))
                continue
            try:
                document = documents[delivery.record_id]
                rendered = render(self._hub, self._target, delivery.source, entity, document)
            except KeyError:
                refused.append((delivery, RecordRejected("its document is no longer in the store", code="gone")))
            except (MappingError, RecordRejected) as error:
                refused.append((delivery, error))
            else:
                ready[delivery.id] = (delivery, rendered)
        batch_id = self._hub.ports.ids.new()
        with self._hub.database.transaction() as session:
            self._settle_refused(session, entity, refused)
            if ready:
                rows = [(d.id, d.fence, r.natural_key, r.content_hash) for d, r in ready.values()]
                ours = Outbox(session).mark_sent(batch_id, rows, self._clock.now())
                ready = {key: value for key, value in ready.items() if key in ours}
        fences = {d.id: d.fence for d, _ in ready.values()}
        if not ready:
            return
        if _LEASE - (self._clock.monotonic() - began) < _LEAST_LEASE:
            # Too slow to be sure of the lease: nothing was sent yet, so it goes back untouched.
            self._put_back(fences, state="pending", wait=60.0, reason="the lease was too short to send")
            return
        ops = [
            PushOp(
                delivery_id=str(d.id),
                entity=entity,
                action="update" if d.action == "update" else "create",
                natural_key=r.natural_key,
                payload=r.payload,
                content_hash=r.content_hash,
                external_id=d.external_id,
            )
            for d, r in ready.values()
        ]
        results = self._push(PushBatch(str(batch_id), entity, ops), fences, began + _LEASE - _LEAST_LEASE)
        if results is not None:
            self._settle(
                batch_id, entity, {k: d for k, (d, _) in ready.items()}, {k: r for k, (_, r) in ready.items()}, results
            )

    def _push(self, batch: PushBatch, fences: dict[UUID, int], sure_until: float) -> Sequence[PushResult] | None:
        try:
            connector = self._link.open_to_write()
            if not isinstance(connector, Pushes):
                raise ContractViolation(
                    f"{self._link.manifest.name} declares {batch.entity.value}.push but has no push()"
                )
            # A batch may be many requests, each of which may wait for its turn: none begins when the lease nearly ends.
            with self._link.until(sure_until):
                return connector.push(batch)
        except OutcomeUnknown as error:
            _log.warning("%s: %s; it will be looked up", self._target, error)
            wait = float(self._link.manifest.read_lag_seconds)
            self._put_back(fences, state="in_doubt", wait=wait, reason=error.message)
            return None
        except (TransientError, StorageFull, ConfigError) as error:
            # These say that nothing was carried out.
            wait = 0.0
            if isinstance(error, RateLimited):
                wait = 60.0 if error.retry_after is None else error.retry_after
            self._put_back(fences, state="pending", wait=wait, reason=error.message)
            raise

    def _put_back(self, fences: dict[UUID, int], *, state: str, wait: float, reason: str) -> None:
        with self._hub.database.transaction() as session:
            Outbox(session).put_back(fences, state=state, wait_seconds=wait, reason=reason)

    # -- settling ----------------------------------------------------------------------------------------------

    def _settle(
        self,
        batch_id: UUID,
        entity: EntityName,
        deliveries: Mapping[UUID, Claimed],
        rendered: Mapping[UUID, Rendered],
        results: Sequence[PushResult],
    ) -> None:
        rows: list[Any] = []
        bindings: list[Any] = []
        refused: list[tuple[Claimed, ComptoirError]] = []
        answered: set[UUID] = set()
        in_files: list[UUID] = []
        new_id = self._hub.ports.ids.new
        for result in results:
            key = UUID(result.delivery_id)
            delivery = deliveries.get(key)
            if delivery is None or key in answered:
                continue
            answered.add(key)
            if result.outcome == "rejected":
                words = result.reason or "the target gave no reason"
                refused.append((delivery, RecordRejected(words, field=result.field, hint=result.hint, code="rejected")))
                continue
            outcome = "accepted" if result.outcome == "accepted" else "unknown"
            if result.outcome == "written":
                in_files.append(key)
            natural_key = rendered[key].natural_key
            external_id = result.external_id or natural_key
            rows.append((key, delivery.fence, "confirmed", outcome, external_id, result.reason))
            bindings.append(
                (
                    new_id(), delivery.record_id, self._target, entity.value, external_id, natural_key,
                    rendered[key].content_hash,
                )
            )  # fmt: skip
        now = self._clock.now()
        with self._hub.database.transaction() as session:
            Outbox(session).settle(rows, now)
            Bindings(session).confirm(bindings, now)
            note_batch(session, self._link, batch_id, entity, in_files, now)
            self._settle_refused(session, entity, refused)
            self._resolve_parked(session, entity, [deliveries[row[0]] for row in rows])
        self._report.entities[entity].delivered += len(rows)
        unanswered = {k: d.fence for k, d in deliveries.items() if k not in answered}
        if unanswered:
            self._put_back(unanswered, state="in_doubt", wait=0.0, reason="the connector gave no result")
            raise ContractViolation(
                f"{self._link.manifest.name} gave no result for {len(unanswered)} of {len(deliveries)} writes",
                hint="They will be looked up before anything is sent again; report this to the connector's author.",
            )

    def _settle_refused(
        self, session: Session, entity: EntityName, refused: Sequence[tuple[Claimed, ComptoirError]]
    ) -> None:
        if not refused:
            return
        now = self._clock.now()
        Outbox(session).settle([(d.id, d.fence, "dead", "rejected", None, e.message) for d, e in refused], now)
        parked = self._external_ids(session, entity, [d for d, _ in refused])
        for delivery, error in refused:
            external_id = parked.get(delivery.record_id, delivery.natural_key)
            Quarantine(session).park(
                self._hub.ports.ids.new(),
                connection=delivery.source,
                entity=entity,
                external_id=external_id,
                record_id=delivery.record_id,
                target=self._target,
                cause=error.code,
                message=f"{entity.value} {delivery.natural_key} for {self._target}: {error.message}",
                field=error.field,
                hint=error.hint,
                at=now,
            )
            Runs(session).outcomes(
                [(self._report.run_id, delivery.source, entity.value, external_id, "rejected", error.code)]
            )
        self._report.entities[entity].rejected += len(refused)

    def _resolve_parked(self, session: Session, entity: EntityName, delivered: Sequence[Claimed]) -> None:
        quarantine = Quarantine(session)
        if not delivered or not quarantine.count_open():
            return
        by_source: dict[str, list[Claimed]] = {}
        for delivery in delivered:
            by_source.setdefault(delivery.source, []).append(delivery)
        for source, deliveries in by_source.items():
            ids = self._external_ids(session, entity, deliveries)
            keys = [ids.get(d.record_id, d.natural_key) for d in deliveries]
            quarantine.resolve(source, entity, keys, "it was delivered", self._clock.now(), self._target)

    def _external_ids(self, session: Session, entity: EntityName, deliveries: Sequence[Claimed]) -> dict[UUID, str]:
        if entity is EntityName.JOURNAL_ENTRY:
            return {}
        found: dict[UUID, str] = {}
        for source in {d.source for d in deliveries}:
            ids = [d.record_id for d in deliveries if d.source == source]
            bound = Bindings(session).of_records(source, entity, ids)
            found.update({key: b.external_id for key, b in bound.items()})
        return found

    # -- in doubt ----------------------------------------------------------------------------------------------

    def _look_up(self) -> None:
        """Asks the target about every write whose outcome is unknown, batch by batch."""
        while True:
            with self._hub.database.transaction() as session:
                claimed = Outbox(session).claim_in_doubt(self._target, self._holder, lease_seconds=_LEASE)
            if not claimed:
                return
            self._look_up_batch(claimed)

    def _look_up_batch(self, claimed: Sequence[Claimed]) -> None:
        entity, batch_id = claimed[0].entity, str(claimed[0].batch_id)
        connector = self._link.open()
        by_id = {c.id: c for c in claimed}
        if not isinstance(connector, Probes):
            self._ask_a_person(entity, claimed)
            return
        ops = [
            PushOp(
                str(c.id), entity, "update" if c.action == "update" else "create", c.natural_key, {},
                c.content_hash or "", c.external_id,
            )
            for c in claimed
        ]  # fmt: skip
        rows: list[Any] = []
        bindings: list[Any] = []
        again: dict[UUID, int] = {}
        unsure: list[Claimed] = []
        for probe in connector.probe(PushBatch(batch_id, entity, ops)):
            delivery = by_id.pop(UUID(probe.delivery_id), None)
            if delivery is None:
                continue
            if probe.found == "present":
                external_id = probe.external_id or delivery.natural_key
                rows.append((delivery.id, delivery.fence, "confirmed", "unknown", external_id, "found by look-up"))
                bindings.append(
                    (
                        self._hub.ports.ids.new(), delivery.record_id, self._target, entity.value, external_id,
                        delivery.natural_key, delivery.content_hash,
                    )
                )  # fmt: skip
            elif probe.found == "absent":
                again[delivery.id] = delivery.fence
            else:
                unsure.append(delivery)
        now = self._clock.now()
        with self._hub.database.transaction() as session:
            outbox = Outbox(session)
            outbox.settle(rows, now)
            Bindings(session).confirm(bindings, now)
            note_batch(session, self._link, UUID(batch_id), entity, [row[0] for row in rows], now)
            sure = [row[1] for row in bindings] + [d.record_id for d in claimed if d.id in again]
            Quarantine(session).resolve_records(self._target, entity, sure, "it was looked up", now)
            outbox.put_back(again, state="pending", wait_seconds=0.0, reason="looked up: it had not arrived")
        self._report.entities[entity].delivered += len(rows)
        if unsure or by_id:
            self._ask_a_person(entity, [*unsure, *by_id.values()])

    def _ask_a_person(self, entity: EntityName, deliveries: Sequence[Claimed]) -> None:
        """Where a platform can be asked by no key, a person decides; it stays in doubt and is looked at daily."""
        now = self._clock.now()
        with self._hub.database.transaction() as session:
            for delivery in deliveries:
                Quarantine(session).park(
                    self._hub.ports.ids.new(),
                    connection=delivery.source,
                    entity=entity,
                    external_id=delivery.natural_key,
                    record_id=delivery.record_id,
                    target=self._target,
                    cause="in_doubt",
                    message=f"{entity.value} {delivery.natural_key}: it is not known whether {self._target} has it",
                    field=None,
                    hint=f"Look for {delivery.natural_key} in {self._target}, then say which it is: "
                    f"comptoir doubt {delivery.natural_key} --arrived (or --not-arrived).",
                    at=now,
                )
            fences = {d.id: d.fence for d in deliveries}
            Outbox(session).put_back(fences, state="in_doubt", wait_seconds=86400.0, reason="a person must look")
