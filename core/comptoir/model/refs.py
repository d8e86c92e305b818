"""The sync group: references, cursors, runs, outcomes and everything that proves what was done."""

from __future__ import annotations

import enum
from typing import Any
from uuid import UUID

from pydantic import Field

from comptoir.model.base import Canonical, Code, Instant, Personal, Privacy

__all__ = [
    "AuditEvent",
    "Capability",
    "ChangeEvent",
    "Conflict",
    "Connection",
    "Cursor",
    "DeadLetter",
    "DeliveryState",
    "DriftItem",
    "EntityName",
    "ExternalRef",
    "FieldAuthority",
    "LinkState",
    "Outcome",
    "Provenance",
    "RawRecord",
    "ReconciliationReport",
    "RecordOutcome",
    "Run",
    "RunState",
    "SourceVersion",
    "WriteIntent",
    "WriteOutcome",
    "WriteResult",
]


class EntityName(enum.StrEnum):
    """The canonical entities that routes may name."""

    ITEM = "item"
    STOCK = "stock"
    ORDER = "order"
    CUSTOMER = "customer"
    REFUND = "refund"
    PAYOUT = "payout"
    Z_REPORT = "z_report"
    SUPPLIER_INVOICE = "supplier_invoice"
    JOURNAL_ENTRY = "journal_entry"


class LinkState(enum.StrEnum):
    LINKED = "linked"
    SUGGESTED = "suggested"
    BROKEN = "broken"
    TOMBSTONE = "tombstone"


class ExternalRef(Canonical):
    """A binding: one canonical record known under one external id on one connection.

    Unique on (connection, entity, external_id, role) while it is no tombstone; never overwritten.
    """

    connection: Code
    entity: EntityName
    external_id: Code
    role: Code = "primary"
    state: LinkState = LinkState.LINKED
    alt_keys: dict[str, str] = Field(default_factory=dict)
    url: str | None = None
    remote_version: str | None = None
    first_seen: Instant | None = None
    last_seen: Instant | None = None
    last_confirmed_hash: str | None = None


class SourceVersion(Canonical):
    """Which version of the source a canonical record was made from."""

    modified_at: Instant | None = None
    zone: str | None = None
    original: str | None = None


class Provenance(Canonical):
    """Where a record's values come from."""

    connection: Code
    raw_id: UUID
    mapping_hash: Code


class Connection(Canonical):
    """One configured instance of a connector."""

    name: Code
    connector: Code
    state: Code = "active"


class Capability(Canonical):
    """What a connection is declared to do, and what was measured."""

    name: Code
    declared: bool
    measured: str | None = None


class Cursor(Canonical):
    """Where the next pull of (connection, entity, scope) starts.

    `watermark` was taken before the read that it closes; `position` is where an interrupted read resumes.
    """

    connection: Code
    entity: EntityName
    scope: str = ""
    watermark: Instant | None = None
    position: dict[str, Any] | None = None
    version: int = 1


class RawRecord(Canonical):
    """A record as the platform sent it: identity and fingerprint here, payload apart and encrypted."""

    id: UUID
    connection: Code
    entity: EntityName
    external_id: Code
    fingerprint: Code
    received_at: Instant


class ChangeEvent(Canonical):
    """A hint that something changed (a webhook): the record is fetched again before it is applied."""

    connection: Code
    entity: EntityName
    external_id: Code
    kind: Code
    dedupe_key: Code


class DeliveryState(enum.StrEnum):
    """The machinery's state of one delivery."""

    HELD = "held"
    PENDING = "pending"
    SENT = "sent"
    IN_DOUBT = "in_doubt"
    CONFIRMED = "confirmed"
    DEAD = "dead"


class WriteOutcome(enum.StrEnum):
    """What the target made of it, as far as it told us."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class WriteIntent(Canonical):
    """A write that was decided: made durable before anything is sent."""

    id: UUID
    target: Code
    entity: EntityName
    record_id: UUID
    natural_key: Code
    attempt: int
    fence: int
    content_hash: Code


class WriteResult(Canonical):
    """What came of a write intent."""

    intent_id: UUID
    state: DeliveryState
    outcome: WriteOutcome
    external_id: str | None = None
    reason: str | None = None


class RunState(enum.StrEnum):
    """Derived from the outcomes, never set by hand."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    PLAN = "plan"
    FAILED = "failed"


class Run(Canonical):
    """One run of one route with its counts."""

    id: UUID
    route: Code
    state: RunState
    started_at: Instant
    ended_at: Instant | None = None
    considered: int = 0
    unchanged: int = 0
    changed: int = 0
    skipped: int = 0
    quarantined: int = 0
    delivered: int = 0
    rejected: int = 0


class Outcome(enum.StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    PARKED = "parked"
    FAILED = "failed"


class RecordOutcome(Canonical):
    """What became of one record in one run; unchanged ones are only counted."""

    run_id: UUID
    entity: EntityName
    external_id: Code
    outcome: Outcome
    reason: str | None = None


class DeadLetter(Canonical):
    """A record set aside for a person, with cause, place and hint."""

    id: UUID
    connection: Code
    entity: EntityName
    external_id: Code
    cause: Code
    message: str
    field: str | None = None
    hint: str | None = None


class Conflict(Canonical):
    """Two connections gave different values to one field."""

    entity: EntityName
    record_id: UUID
    field: Code
    values: dict[str, Any] = Field(json_schema_extra={"privacy": Privacy.PERSONAL})
    decision: str | None = None


class FieldAuthority(Canonical):
    """Which connection owns a field of an entity."""

    entity: EntityName
    field: Code
    connection: Code


class ReconciliationReport(Canonical):
    """The result of comparing both sides."""

    id: UUID
    route: Code
    compared: int
    drifted: int


class DriftItem(Canonical):
    """One difference between two sides, with both values and its age."""

    entity: EntityName
    record_id: UUID
    field: Code
    ours: Personal | None
    theirs: Personal | None
    cause: str | None = None
    since: Instant | None = None


class AuditEvent(Canonical):
    """Who did what; chained by hash."""

    at: Instant
    who: Code
    action: Code
    subject: str
    previous_hash: str | None = None
    hash: Code
