"""What every contender that writes our tables shares: names of columns, sealed payloads, ids."""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from comptoir.domain.totals import compute_totals
from comptoir.engine.policies import gate
from comptoir.model.order import SalesOrder
from comptoir.model.refs import EntityName
from comptoir.store.documents import Documents, Head
from comptoir.store.records import Bindings, RawRecords

__all__ = ["CONTEXT", "Collected", "new_id", "seal"]

CONTEXT: dict[str, Any] = {
    "channel": "boutique",
    "company.country": "FR",
    "company.time_zone": "Europe/Paris",
    "config.time_zone": None,
}
_CIPHER = AESGCM(bytes(32))
_PACK = zstandard.ZstdCompressor(level=1).compress


def seal(payload: bytes) -> bytes:
    """A payload compressed and encrypted as ours are."""
    nonce = os.urandom(12)
    return nonce + _CIPHER.encrypt(nonce, _PACK(payload), None)


def new_id() -> UUID:
    """A version 7 id."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~(0xF << 76) & ~(0b11 << 62) | 0x7 << 76 | 0b10 << 62)


class Collected:
    """Stands where the store's repositories expect a session and keeps the rows that they would copy."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[list[str], list[Any]]] = {}

    def copy(self, table: str, columns: str, rows: list[Any]) -> None:
        """What `Session.copy` is given."""
        if rows:
            self.rows[table] = ([name.strip() for name in columns.split(",")], list(rows))

    def add(self, documents: list[tuple[SalesOrder, dict[str, Any], bytes, bytes]], now: Any) -> None:
        """The rows of a page, as the engine makes them: (order, raw record, fingerprint, sealed payload) of each."""
        store: Any = self
        written = Documents(store)
        raw, payloads, links, outbox, outcomes = [], [], [], [], []
        for order, record, fingerprint, sealed in documents:
            raw_id, record_id = new_id(), new_id()
            totals = compute_totals(order)
            head = Head(record_id, raw_id, "boutique", "plain", 1, now, now)
            written.add_order(order, head, totals.total, totals.residual, totals.cause)
            raw.append(
                (raw_id, "boutique", "order", order.external_id, fingerprint, "mapped", record_id, 1,
                 order.modified_at, now)
            )  # fmt: skip
            payloads.append((raw_id, 1, now, "plain", sealed))
            links.append((new_id(), record_id, "boutique", "order", order.external_id, "linked", now, now))
            reason = gate(order)
            if reason is None:
                outbox.append(
                    (new_id(), "gesco", "order", record_id, "boutique", "orders", order.number, "create", "held",
                     now, now)
                )  # fmt: skip
            else:
                outcomes.append((record_id, "boutique", EntityName.ORDER.value, record["number"], "skipped", reason))
        written.flush()
        RawRecords(store).insert(raw)
        RawRecords(store).payloads(payloads)
        Bindings(store).link_new(links)
        self.copy(
            "delivery",
            "id, target, entity, record_id, source, route, natural_key, action, state, due_at, created_at",
            outbox,
        )
        self.copy("outcome", "run_id, connection, entity, external_id, outcome, reason", outcomes)
