"""What COPY writes is what was given: against PostgreSQL itself."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from comptoir.store.database import Database

_COLUMNS = {
    "id": "uuid not null",
    "words": "text",
    "more_words": "text",
    "number": "integer",
    "amount": "numeric",
    "yes": "boolean",
    "day": "date",
    "at": "timestamptz",
    "bytes": "bytea",
    "lines": "text[]",
    "extra": "jsonb",
}
#: Everything that has a meaning in some form of COPY, and what only looks so.
_WORDS = [
    "", " ", "\n", "\r", "\r\n", "\t", "\x1f", "\x1e", "\x1e\x1e", "\\", "\\N", "\\.", "\n\\.\n", "NULL", "null",
    '"', '""', "'", ",", "a\x1fb\x1ec\nd\re", "Zoé 日本 \U0001f600", "{}", "a" * 100_000, "\x01", "\x7f", "\x0b\x0c",
]  # fmt: skip


def _rows() -> list[tuple[object, ...]]:
    amounts = itertools.cycle(map(Decimal, ("0.00", "-12.50", "1E+3", "123456789012.12345678", "1E-10")))
    moments = itertools.cycle(
        (datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=timezone(timedelta(hours=2))), datetime(1, 1, 1, tzinfo=UTC))
    )
    rows: list[tuple[object, ...]] = []
    for number, words in enumerate(_WORDS):
        rows.append(
            (
                UUID(int=number), words, f"x{words}", number - 5, next(amounts), number % 2 == 0, date(2026, 1, 1),
                next(moments), words.encode(), [words, "b"], Jsonb({words: [words, 1, None]}),
            )
        )  # fmt: skip
    rows.append((UUID(int=999), *[None] * 10))
    rows.append((UUID(int=1000), None, "", 0, Decimal(0), False, None, None, b"", [], Jsonb({})))
    return rows


@pytest.mark.parametrize("together", [True, False])
def test_every_value_comes_back(database_url: str, together: bool) -> None:
    rows = _rows()
    database = Database(database_url)
    session = database.session()
    session.execute(f"create table copied ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})")
    for part in [rows] if together else [[row] for row in rows]:
        session.copy("copied", ", ".join(_COLUMNS), part)
    found = session.rows(f"select {', '.join(_COLUMNS)} from copied order by id")
    database.close()
    assert len(found) == len(rows)
    for got, given in zip(found, rows, strict=True):
        expected = tuple(value.obj if isinstance(value, Jsonb) else value for value in given)
        assert got == expected
        # 12.50 is 12.50, not 12.5.
        if isinstance(given[4], Decimal):
            assert f"{got[4]:f}" == f"{given[4]:f}"


def test_a_row_that_the_database_refuses_leaves_nothing(database_url: str) -> None:
    database = Database(database_url)
    session = database.session()
    session.execute("create table copied (id uuid not null, words text)")
    with pytest.raises(psycopg.errors.NotNullViolation), session.transaction():
        session.copy("copied", "id, words", [(UUID(int=1), "a"), (None, "b")])
    assert session.row("select count(*) from copied") == (0,)
    database.close()
