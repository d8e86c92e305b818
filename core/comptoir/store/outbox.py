"""The outbox: decided writes until their target has confirmed them.

A worker claims deliveries with a lease. It is alive as long as its database session is: each worker holds a session
lock under its name, which the server drops when the process dies, so a killed worker's deliveries are taken over at
once and a sleeping one's when the lease has run out. The fence number makes a revived worker's late writes fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from comptoir.model.refs import EntityName
from comptoir.store.database import Row, Session

__all__ = ["Claimed", "Outbox", "new_delivery", "worker_lock"]

_COLUMNS = "id, target, entity, record_id, source, route, natural_key, action, state, due_at, created_at"

# A refund goes out only after its order is known to the target.
_ORDER_FIRST = (
    " and exists (select 1 from refund f join sales_order o on o.connection = f.connection "
    "and o.external_id = f.order_external_id join binding b on b.record_id = o.id and b.connection = delivery.target "
    "and b.state = 'linked' where f.id = delivery.record_id)"
)


def worker_lock(holder: str) -> str:
    """The name of the session lock that shows a worker is alive."""
    return f"worker:{holder}"


def new_delivery(
    row_id: UUID,
    at: datetime | str,
    *,
    target: str,
    entity: EntityName,
    record_id: UUID,
    source: str,
    route: str,
    key: str,
    action: str = "create",
) -> Row:
    """The row of a decided write that is due at once."""
    return row_id, target, entity.value, record_id, source, route, key, action, "pending", at, at


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery this worker may carry out until `lease_until`."""

    id: UUID
    target: str
    entity: EntityName
    record_id: UUID
    source: str
    natural_key: str
    action: str
    attempt: int
    fence: int
    batch_id: UUID | None
    content_hash: str | None
    external_id: str | None


_CLAIMED = (
    "id, target, entity, record_id, source, natural_key, action, attempt, fence, batch_id, content_hash, external_id"
)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A delivery that was taken back."""

    record_id: UUID
    source: str
    route: str
    natural_key: str


class Outbox:
    """Deliveries of all targets."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, rows: Sequence[Row]) -> None:
        """New deliveries; at most one open per target and record, which the database enforces."""
        self._session.copy("delivery", _COLUMNS, rows)

    def open_for(self, target: str, entity: EntityName, record_ids: Sequence[UUID]) -> dict[UUID, str]:
        """State of the open delivery of each record that has one."""
        rows = self._session.rows(
            "select record_id, state from delivery where target = %s and entity = %s and record_id = any(%s) "
            "and state in ('held', 'pending', 'sent', 'in_doubt')",
            (target, entity.value, list(record_ids)),
        )
        return {r[0]: r[1] for r in rows}

    def drop_unsent(
        self, target: str, entity: EntityName, record_ids: Sequence[UUID], reason: str, at: datetime
    ) -> int:
        """Withdraws deliveries that nobody has begun (an order cancelled before it went out)."""
        return self._session.execute(
            "update delivery set state = 'dead', reason = %s, settled_at = %s where target = %s and entity = %s "
            "and record_id = any(%s) and state in ('held', 'pending') "
            "and (lease_until is null or lease_until < comptoir_now())",
            (reason, at, target, entity.value, list(record_ids)),
        )

    def take_over(self, target: str, wait_seconds: float) -> None:
        """Frees what dead or overdue workers held: unsent goes back, sent becomes in doubt, due after the wait.

        The wait begins now: the intent of a batch is older than its last request, and what a killed worker had sent is
        still carried out. What was being looked up is in doubt as before.
        """
        holders = self._session.rows(
            "select distinct lease_holder from delivery where target = %s and state in ('pending', 'sent', 'in_doubt') "
            "and lease_holder is not null and lease_until >= comptoir_now()",
            (target,),
        )
        for (holder,) in holders:
            # For the transaction: one that fails here could not give a lock of the session back.
            if self._session.try_lock_here(worker_lock(holder)):
                self._session.execute(
                    "update delivery set lease_until = comptoir_now() - interval '1 second' where target = %s "
                    "and lease_holder = %s and state in ('pending', 'sent', 'in_doubt')",
                    (target, holder),
                )
        self._session.execute(
            "update delivery set state = 'in_doubt', due_at = comptoir_now() + make_interval(secs => %s), "
            "lease_holder = null, lease_until = null "
            "where target = %s and state = 'sent' and lease_until < comptoir_now()",
            (wait_seconds, target),
        )

    def claim(self, target: str, entity: EntityName, holder: str, *, limit: int, lease_seconds: float) -> list[Claimed]:
        """Due deliveries, oldest first, leased to this worker; others skip them.

        What was never tried is due whatever it says: it was dated by a machine whose clock may be ahead of the store's.
        """
        order_first = _ORDER_FIRST if entity is EntityName.REFUND else ""
        rows = self._session.rows(
            f"with picked as (select id from delivery where target = %(target)s and entity = %(entity)s "
            f"and state = 'pending' and (due_at <= comptoir_now() or attempt = 0) "
            f"and (lease_until is null or lease_until < comptoir_now()){order_first} "
            f"order by id limit %(limit)s for update skip locked) "
            f"update delivery set lease_holder = %(holder)s, "
            f"lease_until = comptoir_now() + make_interval(secs => %(lease)s), "
            f"fence = nextval('delivery_fence'), attempt = attempt + 1 "
            f"from picked where delivery.id = picked.id returning {_columns()}",
            {
                "target": target,
                "entity": entity.value,
                "limit": limit,
                "holder": holder,
                "lease": lease_seconds,
            },
        )
        return sorted((_claimed(r) for r in rows), key=lambda c: c.id)

    def claim_in_doubt(self, target: str, holder: str, *, lease_seconds: float) -> list[Claimed]:
        """Deliveries whose outcome must be looked up, of one batch, leased to this worker."""
        rows = self._session.rows(
            f"with first as (select batch_id from delivery where target = %(target)s and state = 'in_doubt' "
            f"and due_at <= comptoir_now() and (lease_until is null or lease_until < comptoir_now()) "
            f"order by due_at, id limit 1), "
            f"picked as (select delivery.id from delivery join first on delivery.batch_id = first.batch_id "
            f"where state = 'in_doubt' and (lease_until is null or lease_until < comptoir_now()) "
            f"for update of delivery skip locked) "
            f"update delivery set lease_holder = %(holder)s, "
            f"lease_until = comptoir_now() + make_interval(secs => %(lease)s), fence = nextval('delivery_fence') "
            f"from picked where delivery.id = picked.id returning {_columns()}",
            {"target": target, "holder": holder, "lease": lease_seconds},
        )
        return sorted((_claimed(r) for r in rows), key=lambda c: c.id)

    def take_in_doubt(self, target: str, entity: EntityName, record_id: UUID) -> Claimed | None:
        """The delivery of one record that is in doubt, taken from whoever may be looking it up: a person decides."""
        row = self._session.row(
            f"update delivery set fence = nextval('delivery_fence'), lease_holder = null, lease_until = null "
            f"where target = %s and entity = %s and record_id = %s and state = 'in_doubt' returning {_columns()}",
            (target, entity.value, record_id),
        )
        return _claimed(row) if row else None

    def mark_sent(self, batch_id: UUID, rows: Sequence[tuple[UUID, int, str, str]], at: datetime) -> set[UUID]:
        """The intent, durable before anything is sent: (id, fence, natural key, content hash); those still ours."""
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
        found = self._session.rows(
            "update delivery set state = 'sent', batch_id = %s, sent_at = %s, natural_key = given.key, "
            "content_hash = given.hash "
            "from unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[]) as given(id, fence, key, hash) "
            "where delivery.id = given.id and delivery.fence = given.fence and state = 'pending' returning delivery.id",
            (batch_id, at, *columns),
        )
        return {row[0] for row in found}

    def settle(
        self,
        rows: Sequence[tuple[UUID, int, str, str, str | None, str | None]],
        at: datetime,
    ) -> int:
        """Ends deliveries: (id, fence, state, outcome, external id, reason); only those still ours."""
        if not rows:
            return 0
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
        return self._session.execute(
            "update delivery set state = given.state, outcome = given.outcome, external_id = given.external_id, "
            "reason = given.reason, settled_at = %s, lease_holder = null, lease_until = null "
            "from unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[]) "
            "as given(id, fence, state, outcome, external_id, reason) "
            "where delivery.id = given.id and delivery.fence = given.fence "
            "and delivery.state in ('pending', 'sent', 'in_doubt')",
            (at, *columns),
        )

    def put_back(self, fences: dict[UUID, int], *, state: str, wait_seconds: float, reason: str | None) -> int:
        """Returns claimed deliveries to the queue, due after the wait."""
        if not fences:
            return 0
        return self._session.execute(
            "update delivery set state = %s, due_at = comptoir_now() + make_interval(secs => %s), reason = %s, "
            "lease_holder = null, lease_until = null "
            "from unnest(%s::uuid[], %s::bigint[]) as given(id, fence) "
            "where delivery.id = given.id and delivery.fence = given.fence",
            (state, wait_seconds, reason, list(fences), list(fences.values())),
        )

    def held(self, target: str) -> dict[str, int]:
        """How many deliveries wait for approval, by entity."""
        rows = self._session.rows(
            "select entity, count(*) from delivery where target = %s and state = 'held' group by entity",
            (target,),
        )
        return {r[0]: int(r[1]) for r in rows}

    def unapproved(self, target: str, entity: EntityName, sources: Sequence[str]) -> int:
        """How many first writes from these sources nobody has approved or begun."""
        row = self._session.row(
            "select count(*) from delivery where target = %s and entity = %s and source = any(%s) "
            "and state in ('pending', 'held') and attempt = 0 and reason is distinct from 'approved'",
            (target, entity.value, list(sources)),
        )
        return int(row[0]) if row else 0

    def hold(self, target: str, entity: EntityName, sources: Sequence[str]) -> int:
        """Holds first writes from these sources until somebody approves them."""
        return self._session.execute(
            "update delivery set state = 'held' where target = %s and entity = %s and source = any(%s) "
            "and state = 'pending' and attempt = 0 and reason is distinct from 'approved'",
            (target, entity.value, list(sources)),
        )

    def release(self, target: str, source: str, cutover: date, at: datetime) -> list[Row]:
        """Lets a held plan go because its source has a cutover date now; what is older is withdrawn for good.

        Returns the refunds that are later but name an order from before: external id, order number, amount, currency,
        date. Journal entries stay held: they were derived without the date, so a person approves them.
        """
        self._session.execute(
            "update sales_order set before_cutover = true where connection = %s and ordered_on < %s "
            "and not before_cutover",
            (source, cutover),
        )
        later = self._session.rows(
            "select r.external_id, r.order_number, r.amount, r.currency, r.refunded_on from refund r "
            "join sales_order o on o.connection = r.connection and o.external_id = r.order_external_id "
            "where r.connection = %s and o.before_cutover and r.refunded_on >= %s and not r.before_cutover",
            (source, cutover),
        )
        self._session.execute(
            "update refund r set before_cutover = true where connection = %s and (refunded_on < %s or exists "
            "(select 1 from sales_order o where o.connection = r.connection "
            "and o.external_id = r.order_external_id and o.before_cutover))",
            (source, cutover),
        )
        self._session.execute(
            "update delivery set state = 'dead', reason = 'before the cutover', settled_at = %s "
            "where target = %s and source = %s and state in ('held', 'pending') and attempt = 0 and (record_id in "
            "(select id from sales_order where connection = %s and before_cutover) or record_id in "
            "(select id from refund where connection = %s and before_cutover))",
            (at, target, source, source, source),
        )
        self._session.execute(
            "update delivery set state = 'pending', due_at = %s where target = %s and source = %s and state = 'held' "
            "and entity <> 'journal_entry'",
            (at, target, source),
        )
        return later

    def held_sources(self, target: str) -> list[str]:
        """The sources of what waits for approval."""
        rows = self._session.rows(
            "select distinct source from delivery where target = %s and state = 'held'", (target,)
        )
        return [row[0] for row in rows]

    def approve(self, target: str, at: datetime) -> int:
        """Releases everything held for a target: a person has seen the plan."""
        return self._session.execute(
            "update delivery set state = 'pending', reason = 'approved', due_at = %s "
            "where target = %s and state = 'held'",
            (at, target),
        )

    def pending(self, target: str) -> dict[str, int]:
        """How many deliveries are not settled, by state."""
        rows = self._session.rows(
            "select state, count(*) from delivery where target = %s "
            "and state in ('held', 'pending', 'sent', 'in_doubt') group by state",
            (target,),
        )
        return {r[0]: int(r[1]) for r in rows}

    def revive(self, target: str, record_id: UUID, entity: EntityName, row: Row) -> bool:
        """A new pending delivery for a record whose last one was rejected; False when one is open already."""
        if self.open_for(target, entity, [record_id]):
            return False
        self.add([row])
        return True

    def holders(self, entity: EntityName, keys: Sequence[str]) -> list[tuple[str, str]]:
        """(target, natural key) of the records that a target has, or may have."""
        rows = self._session.rows(
            "select distinct target, natural_key from delivery where entity = %s and natural_key = any(%s) "
            "and state in ('sent', 'in_doubt', 'confirmed')",
            (entity.value, list(keys)),
        )
        return [(row[0], row[1]) for row in rows]

    def withdraw(
        self, target: str, entity: EntityName, keys: Sequence[str], reason: str, at: datetime
    ) -> list[Withdrawn]:
        """Deliveries that the target does not have any more: their batch was taken back."""
        rows = self._session.rows(
            "update delivery set state = 'dead', outcome = 'unknown', reason = %s, settled_at = %s "
            "where target = %s and entity = %s and natural_key = any(%s) and state = 'confirmed' "
            "returning record_id, source, route, natural_key",
            (reason, at, target, entity.value, list(keys)),
        )
        return [Withdrawn(*row) for row in rows]

    def in_batch(self, batch: UUID) -> list[tuple[UUID, UUID, str, str, str]]:
        """Delivery, record, source, natural key and content hash of what was handed over in a batch."""
        rows = self._session.rows(
            "select id, record_id, source, natural_key, content_hash from delivery where batch_id = %s "
            "and state = 'confirmed' order by id",
            (batch,),
        )
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def acknowledge(
        self,
        target: str,
        entity: EntityName,
        natural_key: str,
        outcome: str,
        external_id: str | None,
        reason: str | None,
    ) -> list[tuple[UUID, str, UUID]]:
        """Stores the target's later word on a confirmed delivery: (record id, source, delivery id) of what it met."""
        rows = self._session.rows(
            "update delivery set outcome = %s, external_id = coalesce(%s, external_id), reason = coalesce(%s, reason), "
            "acknowledged_at = comptoir_now() where target = %s and entity = %s and natural_key = %s "
            "and state = 'confirmed' and outcome <> %s "
            "returning record_id, source, id",
            (outcome, external_id, reason, target, entity.value, natural_key, outcome),
        )
        return [(r[0], r[1], r[2]) for r in rows]


def _columns() -> str:
    return ", ".join(f"delivery.{c.strip()}" for c in _CLAIMED.split(","))


def _claimed(row: Row) -> Claimed:
    return Claimed(row[0], row[1], EntityName(row[2]), *row[3:])
