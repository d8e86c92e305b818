"""Sealed payloads: what went in comes out, and nothing else does."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from comptoir.errors import ConfigError
from comptoir.store.vault import Vault

AT = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
PAYLOADS = [b"", b"{}", b'{"payload": {"id": 1}}' * 40, os.urandom(5000), b"x" * 300_000]


def test_payloads_sealed_together_come_out_one_by_one_in_their_order() -> None:
    vault = Vault([os.urandom(32)], os.urandom)
    key_id, sealed = vault.seal(PAYLOADS, AT)
    assert key_id.endswith(":2026-03")
    assert [vault.unseal(key_id, one) for one in sealed] == PAYLOADS
    assert len(sealed[2]) < len(PAYLOADS[2]) / 4, "it is compressed"


def test_no_nonce_serves_twice() -> None:
    vault = Vault([os.urandom(32)], os.urandom)
    sealed = [one for _ in range(20) for one in vault.seal([b"the same"] * 50, AT)[1]]
    assert len({one[:12] for one in sealed}) == len(sealed) == 1000


def test_nothing_to_seal_asks_for_no_randomness() -> None:
    def none_left(count: int) -> bytes:
        raise AssertionError(f"{count} bytes asked for")

    assert Vault([bytes(32)], none_left).seal([], AT)[1] == []


def test_a_changed_byte_or_another_key_opens_nothing() -> None:
    vault = Vault([os.urandom(32)], os.urandom)
    key_id, (sealed,) = vault.seal([b"secret"], AT)
    assert b"secret" not in sealed
    with pytest.raises(ConfigError, match="does not match its key"):
        vault.unseal(key_id, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(ConfigError, match="is missing"):
        Vault([os.urandom(32)], os.urandom).unseal(key_id, sealed)
