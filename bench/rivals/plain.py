"""The plain loop: requests, our canonical model, SQLAlchemy Core; one page after the other, one commit a page.

    python -m bench.rivals.plain SHOP KEY SECRET DATABASE [again]

`again` upserts everything that is already there, as a loop without fingerprints must.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import requests
from sqlalchemy import Connection, bindparam, column, create_engine, delete, select, table
from sqlalchemy.dialects.postgresql import insert

from bench import handwritten
from bench.rivals.rows import CONTEXT, Collected, seal


def main() -> None:
    shop, key, secret, url, *more = sys.argv[1:]
    again = bool(more)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    session = requests.Session()
    session.auth = (key, secret)
    page = 1
    with engine.connect() as connection:
        while True:
            response = session.get(
                f"{shop}/wp-json/wc/v3/orders",
                params={"per_page": "100", "page": str(page), "orderby": "id", "order": "asc", "status": "any"},
            )
            response.raise_for_status()
            records: list[dict[str, Any]] = response.json()
            _write(connection, records, again)
            connection.commit()
            if page >= int(response.headers["x-wp-totalpages"]):
                return
            page += 1


def _write(connection: Connection, records: list[dict[str, Any]], again: bool) -> None:
    documents = []
    for record in records:
        payload = json.dumps(record, ensure_ascii=False).encode()
        print_ = hashlib.blake2b(payload, digest_size=16).digest()
        documents.append((handwritten.order(record, CONTEXT), record, print_, seal(payload)))
    collected = Collected()
    collected.add(documents, datetime.now(UTC))
    if again:
        _forget(connection, [str(record["id"]) for record in records])
    for name, (columns, rows) in collected.rows.items():
        target = table(name, *map(column, columns))
        connection.execute(insert(target), [dict(zip(columns, row, strict=True)) for row in rows])


def _forget(connection: Connection, external_ids: list[str]) -> None:
    """Takes out what the page is about to write anew (it keeps no fingerprints, so everything is new to it)."""
    heads = table("sales_order", column("id"), column("raw_id"), column("external_id"))
    found = connection.execute(
        select(heads.c.id, heads.c.raw_id).where(heads.c.external_id.in_(bindparam("ids", expanding=True))),
        {"ids": external_ids},
    ).all()
    ids, raw_ids = [row[0] for row in found], [row[1] for row in found]
    for name, where, values in (
        *((child, "document_id", ids) for child in _CHILDREN),
        ("sales_order", "id", ids),
        ("binding", "record_id", ids),
        ("delivery", "record_id", ids),
        ("outcome", "run_id", ids),
        ("raw_payload", "raw_id", raw_ids),
        ("raw_record", "id", raw_ids),
    ):
        target = table(name, column(where))
        connection.execute(delete(target).where(target.c[where].in_(bindparam("ids", expanding=True))), {"ids": values})


_CHILDREN = (
    "order_line", "document_charge", "document_discount", "document_payment", "document_tax", "personal_party"
)  # fmt: skip

if __name__ == "__main__":
    main()
