"""The fingerprint of a raw record: what it says is the same, and that it does not depend on how it is reckoned."""

from __future__ import annotations

import hashlib

import orjson
import pytest

from comptoir.engine.land import fingerprint


def _plainly(payload: object, parent: object = None) -> bytes:
    digest = hashlib.blake2b(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS), digest_size=16)
    if parent is not None:
        digest.update(orjson.dumps(parent, option=orjson.OPT_SORT_KEYS))
    return digest.digest()


# Around 2047 bytes, where the hash is given its data in pieces, and far beyond.
@pytest.mark.parametrize("size", [0, 1, 2030, 2037, 2038, 2039, 2040, 4084, 4085, 4086, 100_000])
def test_a_long_record_is_hashed_whole(size: int) -> None:
    record = {"note": "é" + "x" * size}
    assert fingerprint(record, frozenset()) == _plainly(record)
    assert fingerprint({"id": 1}, frozenset(), record) == _plainly({"id": 1}, record)
    assert fingerprint(record, frozenset()) != fingerprint({"note": "é" + "x" * size + "y"}, frozenset())


def test_key_order_and_volatile_fields_do_not_count() -> None:
    one = {"id": 1, "total": "12.50", "version": "9.1"}
    other = {"version": "9.2", "total": "12.50", "id": 1}
    assert fingerprint(one, frozenset({"version"})) == fingerprint(other, frozenset({"version"}))
    assert fingerprint(one, frozenset()) != fingerprint(other, frozenset())
    assert one["version"] == "9.1", "the record itself is left alone"
