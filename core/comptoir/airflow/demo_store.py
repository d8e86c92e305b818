"""What the demo reads from Comptoir's store to say how long something took and whether anything waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from comptoir.store.database import Database
from comptoir.store.waiting import lock_of

__all__ = ["DemoStore", "Passage"]

#: An order that a route hands over is confirmed when its delivery is; one that the hub books, when all of its entries
#: are. Each row: the order's number, its first webhook, the last confirmation of what is still the newest word.
_ORDERS = """
select o.number, (select min(i.received_at) from inbox i where i.connection = o.connection and i.entity = 'order'
    and i.external_id = o.external_id), max(d.settled_at)
from sales_order o join delivery d on d.record_id = o.id
where o.connection = %s and o.number = any(%s) and d.target = %s
group by o.id, o.number, o.connection, o.external_id having bool_and(d.state = 'confirmed')
"""
_BOOKED = """
select o.number, (select min(i.received_at) from inbox i where i.connection = o.connection and i.entity = 'order'
    and i.external_id = o.external_id), max(d.settled_at)
from sales_order o join journal_entry e on e.document_id = o.id left join delivery d on d.record_id = e.id
where o.connection = %s and o.number = any(%s) and (d.target = %s or d.id is null)
group by o.id, o.number, o.connection, o.external_id having bool_and(coalesce(d.state = 'confirmed', false))
"""


@dataclass(frozen=True, slots=True)
class Passage:
    """One order from its first webhook (None: there was none) to its confirmation at the target."""

    number: str
    received_at: datetime | None
    confirmed_at: datetime

    def seconds(self, since: datetime | None = None) -> float:
        """From a moment, or from the webhook, to the confirmation."""
        begun = since or self.received_at
        if begun is None:
            raise ValueError(f"order {self.number} came without a webhook")
        return (self.confirmed_at - begun).total_seconds()


class DemoStore:
    """The store of the demo's installation; every question is one short statement."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Closes its connection."""
        self._database.close()

    def passages(self, shop: str, target: str, numbers: Sequence[str], *, booked: bool) -> dict[str, Passage]:
        """The orders of a shop that the target has confirmed; `booked`: by their journal entries."""
        query = _BOOKED if booked else _ORDERS
        return {row[0]: Passage(*row) for row in self._rows(query, (shop, list(numbers), target))}

    def waiting(self) -> int:
        """Webhooks that nobody has handled."""
        return int(self._rows("select count(*) from inbox where done_at is null")[0][0])

    def handled(self) -> dict[str, int]:
        """How many webhooks came and were handled, by connection."""
        rows = self._rows("select connection, count(*) from inbox where done_at is not null group by connection")
        return {row[0]: int(row[1]) for row in rows}

    def received_at(self, shop: str, entity: str, external_id: str) -> datetime | None:
        """When the first webhook about a record came."""
        row = self._rows(
            "select min(received_at) from inbox where connection = %s and entity = %s and external_id = %s",
            (shop, entity, external_id),
        )
        found: datetime | None = row[0][0]
        return found

    def at_work(self, route: str) -> bool:
        """Whether a run of this route is under way."""
        rows = self._rows(
            "select 1 from pg_locks where locktype = 'advisory' and objsubid = 2 and granted "
            "and classid::bigint = %s and objid::bigint = %s",
            lock_of(route),
        )
        return bool(rows)

    def stock_written(self, target: str, external_id: str, since: datetime) -> list[tuple[datetime, Decimal]]:
        """When which quantity of an item was confirmed at a target since then, oldest first."""
        rows = self._rows(
            "select at, (after ->> 'stock_quantity')::numeric from write_log where target = %s and entity = 'stock' "
            "and external_id = %s and at >= %s order by at",
            (target, external_id, since),
        )
        return [(row[0], row[1]) for row in rows]

    def mended(self, since: datetime) -> list[str]:
        """What runs since then say that they mended of webhooks."""
        rows = self._rows(
            "select distinct note from run, jsonb_array_elements_text(counts -> 'notes') as note "
            "where started_at >= %s and note like '%%; mended%%' order by note",
            (since,),
        )
        return [row[0] for row in rows]

    def unmatched(self, target: str, sku: str) -> str | None:
        """The id under which an item without match waits for a person; None when it does not."""
        rows = self._rows(
            "select k.id from record_link k join item i on i.id = k.source_id "
            "where k.state = 'unmatched' and k.target = %s and i.sku = %s",
            (target, sku),
        )
        return str(rows[0][0]) if rows else None

    def acknowledged(self, target: str) -> int:
        """How many orders and refunds a target has said to have taken."""
        query = (
            "select count(*) from delivery where target = %s and entity in ('order', 'refund') "
            "and outcome = 'accepted' and acknowledged_at is not null"
        )
        return int(self._rows(query, (target,))[0][0])

    def links(self) -> dict[tuple[str, str], int]:
        """How many links stand between records, by entity and target."""
        rows = self._rows("select entity, target, count(*) from record_link where state = 'linked' group by 1, 2")
        return {(row[0], row[1]): int(row[2]) for row in rows}

    def _rows(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._database.errors():
            return self._database.session().rows(query, parameters)
