"""Documents are issued once, under a number of their own: what their connectors decide before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from comptoir.errors import ContractViolation, RecordRejected
from comptoir.sdk.journal.handover import Known, Ledger, digest
from comptoir.sdk.journal.text import Remarks
from comptoir.sdk.protocols import PushBatch, PushOp, PushResult

__all__ = ["SPACE", "Rendered", "refused", "sort_ops", "with_unique_names"]

#: The name space of documents in the ledger.
SPACE = "document"


@dataclass(slots=True)
class Rendered:
    """A record that can be written: what it is called, what its receipt remembers, and itself."""

    name: str
    amount: Decimal
    facts: Mapping[str, Any]
    remarks: Remarks
    part: Any


def refused(op: PushOp, error: RecordRejected) -> PushResult:
    """The result of a record that cannot be written."""
    return PushResult(op.delivery_id, "rejected", reason=error.message, field=error.field, hint=error.hint)


def sort_ops(
    batch: PushBatch,
    known: Mapping[str, Known],
    *,
    connection: str,
    may_change: Callable[[PushOp], bool] = lambda _: False,
    field: str = "number",
    hint: str,
) -> tuple[dict[str, PushResult], list[PushOp]]:
    """What needs no file (handed over before, or refused for that reason), and the ops that do.

    `may_change`: records that may go out again with another content (cards). ContractViolation when the batch holds
    something else than it says.
    """
    results: dict[str, PushResult] = {}
    fresh: dict[str, PushOp] = {}
    for op in batch.ops:
        if op.entity is not batch.entity:
            raise ContractViolation(f"{connection}: a batch of {batch.entity} holds a {op.entity}")
        earlier = known.get(op.natural_key)
        in_batch = fresh.get(op.natural_key)
        seen = earlier.content_hash if earlier else digest(in_batch.content_hash) if in_batch else None
        if seen == digest(op.content_hash):
            results[op.delivery_id] = PushResult(op.delivery_id, "written", reason="already handed over")
        elif in_batch or (earlier and not may_change(op)):
            results[op.delivery_id] = PushResult(
                op.delivery_id,
                "rejected",
                reason=f"{op.natural_key}: already handed over with another content",
                field=field,
                hint=hint,
            )
        else:
            fresh[op.natural_key] = op
    return results, list(fresh.values())


def with_unique_names(
    ledger: Ledger, rendered: Sequence[tuple[PushOp, Rendered]], results: dict[str, PushResult], *, hint: str
) -> list[tuple[PushOp, Rendered]]:
    """The documents whose number is theirs. One whose number belongs to another record is refused: the program could
    not tell them apart. Call it inside `Ledger.locked`."""
    owners = {
        name: (found.record["key"], found.entity)
        for name, found in ledger.named(SPACE, (r.name for _, r in rendered)).items()
    }
    kept: list[tuple[PushOp, Rendered]] = []
    for op, record in rendered:
        owner = owners.setdefault(record.name, (op.natural_key, op.entity.value))
        if owner == (op.natural_key, op.entity.value):
            kept.append((op, record))
            continue
        results[op.delivery_id] = PushResult(
            op.delivery_id,
            "rejected",
            reason=f"{op.natural_key}: the number {record.name} was given to {owner[1]} {owner[0]}",
            field="number",
            hint=hint,
        )
    return kept
