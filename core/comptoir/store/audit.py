"""Looks over the whole store for what must not be there. For the simulation and the tests; reads only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import psycopg

from comptoir.store.database import Row
from comptoir.store.schema import plain_url

__all__ = ["Audit", "KnownOrder", "OpenCase"]

#: Personal data belongs here; payloads are sealed.
_PERSONAL = ("personal_party",)

_UNFINISHED = {
    "deliveries": "select count(*) from delivery where state in ('pending', 'sent', 'in_doubt')",
    "published values": "select count(*) from publication where state in ('due', 'sent')",
    "webhooks": "select count(*) from inbox where done_at is null",
    "marks": "select count(*) from dirty",
}
#: What reading the same again must leave as it is; when and by which run something was seen is no content.
_KEPT = {
    "raw records": "select id, fingerprint, version, state from raw_record",
    "payloads": "select raw_id, version from raw_payload",
    "orders": "select id, external_id, source_status, total, rev from sales_order",
    "refunds": "select id, external_id, amount, rev from refund",
    "customers": "select id, external_id, rev from customer",
    "items": "select id, external_id, sku, rev from item",
    "stock": "select id, external_id, on_hand, reserved, rev from stock_level",
    "personal data": "select * from personal_party",
    "bindings": "select id, record_id, connection, external_id, state, confirmed_hash from binding",
    "links": "select id, source_id, target_id, state from record_link",
    "deliveries": "select id, state, outcome, external_id from delivery",
    "publications": "select target, entity, external_id, wanted, known, state from publication",
    "writes": "select at, target, external_id from write_log",
    "journal": "select id, key, total from journal_entry",
    "parked records": "select id, state, cause from quarantine",
}


class KnownOrder(NamedTuple):
    """An order as the store has it."""

    status: str
    total: Decimal
    computed: Decimal
    residual: Decimal
    phone: str | None


class OpenCase(NamedTuple):
    """A record that waits for a person."""

    connection: str
    entity: str
    external_id: str
    target: str | None
    cause: str
    message: str


class Audit:
    """One connection that reads everything: one of its own, or one that is lent."""

    def __init__(self, url: str, lent: psycopg.Connection[Row] | None = None) -> None:
        self._own = lent is None
        self._connection = lent or psycopg.connect(plain_url(url), autocommit=True)

    def close(self) -> None:
        """Lets the connection go if it is its own."""
        if self._own:
            self._connection.close()

    def orders(self, connection: str) -> dict[str, KnownOrder]:
        """Status, total, computed total, residual and the buyer's telephone of each order, by its id there."""
        rows = self._connection.execute(
            "select o.external_id, o.source_status, o.total, o.computed_total, o.residual, p.phone from sales_order o "
            "left join lateral (select max(phone) as phone from personal_party p where p.document_id = o.id "
            "and p.phone is not null) p on true where o.connection = %s",
            (connection,),
        ).fetchall()
        return {row[0]: KnownOrder(*row[1:]) for row in rows}

    def customers(self, connection: str) -> dict[str, set[str]]:
        """The towns of each customer, by its id there."""
        rows = self._connection.execute(
            "select c.external_id, p.city from customer c join personal_party p on p.document_id = c.id "
            "where c.connection = %s and p.city is not null",
            (connection,),
        ).fetchall()
        found: dict[str, set[str]] = {}
        for external_id, city in rows:
            found.setdefault(external_id, set()).add(city)
        return found

    def compared(self, made: str, shown: str) -> dict[str, str]:
        """The customers of a connection that were compared with the cards made for them: their ids there, by card."""
        rows = self._connection.execute(
            "select b.external_id, p.external_id from publication p join binding b on b.record_id = p.target_id "
            "where p.target = %s and p.entity = 'customer' and b.connection = %s and b.state = 'linked'",
            (shown, made),
        ).fetchall()
        return dict(rows)

    def booked(self, connection: str) -> dict[str, Decimal]:
        """What is booked as earned of each order (revenue, collected tax and rounding), by its id there."""
        rows = self._connection.execute(
            "select o.external_id, sum(case l.side when 'C' then l.amount else -l.amount end) from sales_order o "
            "join journal_entry j on j.document_id = o.id join journal_line l on l.entry_id = j.id "
            "where o.connection = %s and (l.account like '7%%' or l.account like '4457%%' or l.account like '658%%') "
            "group by 1",
            (connection,),
        ).fetchall()
        return dict(rows)

    def accounts(self) -> tuple[int, dict[str, Decimal]]:
        """How many entries there are, and debit less credit by account."""
        count = self._connection.execute("select count(*) from journal_entry").fetchone()
        rows = self._connection.execute(
            "select account, sum(case side when 'D' then amount else -amount end) from journal_line group by 1"
        ).fetchall()
        return (int(count[0]) if count else 0), dict(rows)

    def unfinished(self) -> dict[str, int]:
        """How much work is left, by kind."""
        return {what: self._count(query) for what, query in _UNFINISHED.items()}

    def held(self) -> int:
        """How many values wait for somebody's approval."""
        return self._count("select count(*) from publication where state = 'held'")

    def uncounted(self, office: str) -> int:
        """How many orders a back office has taken since the newest count of it that was read."""
        row = self._connection.execute(
            "select count(*) from delivery where target = %(office)s and entity = 'order' and acknowledged_at > ("
            "select watermark from cursor_position where connection = %(office)s and entity = 'stock' and scope = '')",
            {"office": office},
        ).fetchone()
        return int(row[0]) if row else 0

    def hints(self) -> int:
        """How many hints of webhooks were stored."""
        return self._count("select count(*) from inbox")

    def _count(self, query: str) -> int:
        row = self._connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def open_cases(self) -> list[OpenCase]:
        """What waits for a person."""
        rows = self._connection.execute(
            "select connection, entity, external_id, target, cause, message from quarantine where state = 'open' "
            "order by first_seen, id"
        ).fetchall()
        return [OpenCase(*row) for row in rows]

    def kept(self) -> dict[str, str]:
        """A digest of each kind of content."""
        found = {}
        for what, query in _KEPT.items():
            row = self._connection.execute(
                f"select string_agg(t::text, '|' order by t::text) from ({query}) t".encode()
            ).fetchone()
            found[what] = hashlib.sha256(str(row and row[0]).encode()).hexdigest()
        return found

    def places_of(self, texts: Sequence[str]) -> list[str]:
        """Tables, outside those of personal data, in which one of these texts stands."""
        if not texts:
            return []
        columns = self._connection.execute(
            "select table_name, "
            "string_agg(format('coalesce(%I::text, '''')', column_name), ' || ' order by column_name) "
            "from information_schema.columns where table_schema = 'public' and data_type in "
            "('text', 'jsonb', 'ARRAY', 'character varying') group by table_name"
        ).fetchall()
        pattern = "|".join(texts)
        found = []
        for table, expression in columns:
            if table in _PERSONAL:
                continue
            row = self._connection.execute(
                f'select count(*) from "{table}" where ({expression}) ~* %s'.encode(), (pattern,)
            ).fetchone()
            if row and row[0]:
                found.append(table)
        return found
