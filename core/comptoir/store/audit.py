"""Looks over the whole store for what must not be there. For the simulation and the tests; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import psycopg

from comptoir.store.schema import plain_url

__all__ = ["Audit"]

#: Personal data belongs here; payloads are sealed.
_PERSONAL = ("personal_party",)

_UNFINISHED = {
    "deliveries": "select count(*) from delivery where state in ('pending', 'sent', 'in_doubt')",
    "published values": "select count(*) from publication where state in ('due', 'sent')",
    "webhooks": "select count(*) from inbox where done_at is null",
}


class Audit:
    """One connection that reads everything."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(plain_url(url), autocommit=True)

    def close(self) -> None:
        """Lets the connection go."""
        self._connection.close()

    def orders(self, connection: str) -> dict[str, tuple[str, Decimal, Decimal, Decimal]]:
        """Status, total, computed total and residual of each order, by its id there."""
        rows = self._connection.execute(
            "select external_id, source_status, total, computed_total, residual from sales_order where connection = %s",
            (connection,),
        ).fetchall()
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

    def unfinished(self) -> dict[str, int]:
        """How much work is left, by kind."""
        found = {}
        for what, query in _UNFINISHED.items():
            row = self._connection.execute(query.encode()).fetchone()
            found[what] = int(row[0]) if row else 0
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
