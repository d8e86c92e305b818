"""Rows as COPY's text. What PostgreSQL reads out of it is asserted in tests/integration/test_copying.py."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from comptoir.store.copying import array_literal, writer

KEY = UUID("01a2025a-2c40-7044-a26b-910d0cc6cf8e")


def test_each_type_is_written_as_the_database_reads_it() -> None:
    types = (
        "uuid", "uuid", "text", "integer", "numeric", "boolean", "date", "timestamp with time zone", "bytea", "text[]",
        "jsonb", "text",
    )  # fmt: skip
    at = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
    row = (
        KEY, KEY.hex, "Zoé", 7, Decimal("12.50"), True, date(2026, 3, 14), at, b"\x00\xff", ["a", 'b"c'],
        Jsonb({"k": "é\n"}), None,
    )  # fmt: skip
    assert writer(types)([row]).split("\x1f") == [
        KEY.hex, KEY.hex, "Zoé", "7", "12.50", "True", "2026-03-14", "2026-03-14 15:09:26.535897+00:00", "\\x00ff",
        '{"a","b\\"c"}', '{"k":"é\\n"}', "\n",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n", "a\nb", "\r", "\x1f", "\x1e", "a\x1eb\x1ec", "\x1e\x1e", "\\.", "\\N"])
def test_a_text_with_a_meaning_of_its_own_is_quoted(text: str) -> None:
    quoted = text.replace("\x1e", "\x1e\x1e")
    plain = text.startswith("\\")
    written = writer(("text", "integer"))([("before", 1), (text, 2)])
    if plain:
        assert written == f"before\x1f1\n{text}\x1f2\n"
    else:
        assert written == f"\x1ebefore\x1e\x1f1\n\x1e{quoted}\x1e\x1f2\n"


def test_exact_amounts_keep_every_digit() -> None:
    amounts = ["0.00", "-0.10", "1E+3", "123456789012.12345678", "1E-10"]
    written = writer(("numeric",))([(Decimal(a),) for a in amounts])
    assert written.splitlines() == amounts


def test_a_list_of_texts() -> None:
    assert array_literal([]) == "{}"
    assert array_literal(["", "NULL", "a,b", "\\", '"']) == '{"","NULL","a,b","\\\\","\\""}'
