"""Batches that were handed over in files: what is in them, whether the program took them, who took one back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from comptoir.store.database import Session

__all__ = ["HandoverRow", "Handovers"]

_COLUMNS = (
    "id, target, entity, state, documents, amount, first_on, last_on, files, sha256, written_at, taken_at, "
    "reminded_at, withdrawn_at, withdrawn_by, withdrawn_because"
)

#: What is counted of the documents of a batch: amount and day, by entity.
_FACTS = (
    "select o.total as amount, o.ordered_on as day, d.id from given d join sales_order o on o.id = d.record_id "
    "union all select r.amount, r.refunded_on, d.id from given d join refund r on r.id = d.record_id "
    "union all select j.total, j.posted_on, d.id from given d join journal_entry j on j.id = d.record_id"
)


@dataclass(frozen=True, slots=True)
class HandoverRow:
    """One batch. `amount` sums the documents: totals of orders and refunds, one side of entries; company currency."""

    id: UUID
    target: str
    entity: str
    state: str
    documents: int
    amount: Decimal
    first_on: date | None
    last_on: date | None
    files: list[str]
    sha256: list[str]
    written_at: datetime
    taken_at: datetime | None
    reminded_at: datetime | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_because: str | None


class Handovers:
    """The batch ledger of all targets."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, batch: UUID, target: str, entity: str, deliveries: Sequence[UUID], at: datetime) -> None:
        """A batch was written with these deliveries; more of the same batch are added to it."""
        self._session.execute(
            "with given as (select id, record_id from delivery where id = any(%(ids)s)), "
            f"facts as ({_FACTS}) "
            "insert into handover as known "
            "(id, target, entity, state, documents, amount, first_on, last_on, written_at) "
            "select %(batch)s, %(target)s, %(entity)s, 'waiting', (select count(*) from given), "
            "coalesce(sum(amount), 0), min(day), max(day), %(at)s from facts "
            "on conflict (id) do update set documents = known.documents + excluded.documents, "
            "amount = known.amount + excluded.amount, first_on = least(known.first_on, excluded.first_on), "
            "last_on = greatest(known.last_on, excluded.last_on)",
            {"ids": list(deliveries), "batch": batch, "target": target, "entity": entity, "at": at},
        )

    def waiting(self, target: str | None = None) -> list[HandoverRow]:
        """Batches that nobody is known to have taken, oldest first."""
        return self._rows("where state = 'waiting' and target = coalesce(%s, target) order by written_at, id", target)

    def newest(self, target: str | None = None, limit: int = 100) -> list[HandoverRow]:
        """Batches, newest first."""
        return self._rows(
            "where target = coalesce(%s, target) order by written_at desc, id desc limit %s", target, limit
        )

    def of_entity(self, entity: str, after: UUID | None, limit: int) -> list[HandoverRow]:
        """Batches of an entity that were not withdrawn, in the order of their ids."""
        return self._rows(
            "where entity = %s and state <> 'withdrawn' and (%s::uuid is null or id > %s) order by id limit %s",
            entity, after, after, limit,
        )  # fmt: skip

    def find(self, ending: str) -> list[HandoverRow]:
        """The batches whose id ends so (four characters at least), or that published a file of this name."""
        return self._rows(
            "where (length(%s) >= 4 and right(id::text, length(%s)) = %s) or %s = any(files) "
            "order by written_at desc limit 5",
            *[ending] * 4,
        )

    def files(self, batch: UUID, names: Sequence[str], digests: Sequence[str]) -> None:
        """What the connector calls the files of a batch."""
        self._session.execute(
            "update handover set files = %s, sha256 = %s where id = %s", (list(names), list(digests), batch)
        )

    def taken(self, batch: UUID, at: datetime) -> None:
        """The program has taken its files."""
        self._session.execute(
            "update handover set state = 'taken', taken_at = %s where id = %s and state = 'waiting'", (at, batch)
        )

    def reminded(self, batches: Sequence[UUID], at: datetime) -> None:
        """Somebody was told that they still lie there."""
        self._session.execute("update handover set reminded_at = %s where id = any(%s)", (at, list(batches)))

    def withdraw(self, batch: UUID, by: str, because: str, at: datetime) -> None:
        """It was taken back."""
        self._session.execute(
            "update handover set state = 'withdrawn', withdrawn_at = %s, withdrawn_by = %s, withdrawn_because = %s "
            "where id = %s",
            (at, by, because, batch),
        )

    def _rows(self, where: str, *values: object) -> list[HandoverRow]:
        return [HandoverRow(*row) for row in self._session.rows(f"select {_COLUMNS} from handover {where}", values)]
