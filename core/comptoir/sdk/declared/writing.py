"""Writes to a REST system by description: one request a record, looked up before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from comptoir.errors import ComptoirError, ContractViolation, OutcomeUnknown, RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.declared.description import RestEntity
from comptoir.sdk.declared.paging import dig
from comptoir.sdk.declared.rest import DeclaredRest
from comptoir.sdk.protocols import Probe, PushBatch, PushOp, PushResult

__all__ = ["DeclaredProbes", "DeclaredPushes"]

_GONE = ("http_404", "http_410")
#: What is wrong with the description and not with a record.
_NO_SUCH_PLACE = ("http_404", "http_405")


class DeclaredPushes(DeclaredRest):
    """Makes and changes records."""

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One result per op.

        A record that the target has already (`lookup`) is not made a second time. OutcomeUnknown when an answer was
        lost, or when a failure came after some of the batch had been made: `probe` tells which.
        """
        table = self._writes(batch.entity)
        results: list[PushResult] = []
        wrote = False
        for op in batch.ops:
            try:
                self._fit(op)
                result, sent = self._one(table, op)
            except RecordRejected as error:
                result, sent = _rejected(op, error), False
            except OutcomeUnknown:
                raise
            except ComptoirError as error:
                if not wrote:
                    raise
                raise OutcomeUnknown(
                    f"{error.message} (after some of {len(batch.ops)} {batch.entity.value} records had been written)",
                    hint=error.hint,
                    connection=self._ctx.connection,
                ) from None
            wrote = wrote or sent
            results.append(result)
        return results

    # -- one record --------------------------------------------------------------------------------------------

    def _writes(self, entity: EntityName) -> RestEntity:
        table = self._table.entities.get(entity)
        if table is None or table.push is None:
            raise ContractViolation(f"{self._ctx.connection}: {self.manifest.name} takes no {entity.value}")
        return table

    def _one(self, table: RestEntity, op: PushOp) -> tuple[PushResult, bool]:
        """What became of one op, and whether something was written."""
        if op.action == "update" and op.external_id:
            return self._update(table, op)
        if table.lookup is not None:
            found = self._look_up(table, op.natural_key)
            if len(found) > 1:
                return self._ambiguous(op, len(found)), False
            if found:
                return PushResult(
                    op.delivery_id, "accepted", external_id=found[0], reason="it was there already"
                ), False
        return self._create(table, op), True

    def _fit(self, op: PushOp) -> None:
        """RecordRejected for what the target would cut, change or misread: the manifest's limits, by key."""
        limits = self.manifest.limits
        for path, name, value in _values(op.payload, ""):
            reason = None
            if isinstance(value, str):
                if len(value) > limits.lengths.get(name, len(value)):
                    reason = f"it has {len(value)} characters, and {limits.lengths[name]} are kept"
                elif (strange := _outside(value, limits.charset)) is not None:
                    reason = f"{strange!r} is not in {limits.charset}, all that is kept"
                elif name == "currency" and limits.currencies == "company" and value != self._ctx.company.currency:
                    reason = f"only {self._ctx.company.currency} is taken, not {value[:3]}"
            if name == "quantity" and limits.integer_quantities and not _is_whole(value):
                reason = "only whole quantities are taken"
            if reason is not None:
                raise RecordRejected(
                    f"{path}: {reason}",
                    record=op.natural_key,
                    field=path,
                    hint="Correct it at its source, or in the mapping.",
                )

    def _create(self, table: RestEntity, op: PushOp) -> PushResult:
        push = table.push
        assert push is not None  # noqa: S101 - _writes has seen to it
        headers = self._headers()
        if push.idempotency_header:
            headers[push.idempotency_header] = op.delivery_id
        try:
            answer = self._send(push.method, self._path(push.path), _body(op.payload, push.record), headers)
        except RecordRejected as error:
            if error.code in _NO_SUCH_PLACE:
                # The path, not the record; but a record that stands alone must not stop the others for ever.
                error.hint = f"Is there a {push.path} at this address? Correct `push` in {self.description.shown}."
            if error.code == "http_409" and table.lookup is not None:
                found = self._look_up(table, op.natural_key)
                if len(found) == 1:
                    return PushResult(op.delivery_id, "accepted", external_id=found[0], reason="it was there already")
            raise
        external_id = dig(answer, push.id)
        if isinstance(external_id, bool) or not isinstance(external_id, (str, int)) or not str(external_id).strip():
            raise OutcomeUnknown(
                f"{self._ctx.connection}: the answer to {op.entity.value} {op.natural_key} has no id at {push.id!r}",
                hint=f"Correct `push.id` in {self.description.shown}; the record is looked up before anything is sent "
                "again.",
                connection=self._ctx.connection,
                record=op.natural_key,
            )
        return PushResult(op.delivery_id, "accepted", external_id=str(external_id).strip())

    def _update(self, table: RestEntity, op: PushOp) -> tuple[PushResult, bool]:
        update = table.update
        if update is None or op.external_id is None:
            raise ContractViolation(f"{self._ctx.connection}: {self.manifest.name} changes no {op.entity.value}")
        try:
            path = self._path(update.path, op.external_id)
            self._send(update.method, path, _body(op.payload, update.record), self._headers())
        except RecordRejected as error:
            if error.code in _GONE:
                error.hint = "It does not exist there any more; look at it in the target."
            raise
        return PushResult(op.delivery_id, "accepted", external_id=op.external_id), True

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        answer, _ = self._access.http.send_json(method, f"{self._access.address}{path}", body, headers=headers)
        return answer

    # -- looking up --------------------------------------------------------------------------------------------

    def _look_up(self, table: RestEntity, natural_key: str) -> list[str]:
        """The ids of the records with exactly this natural key."""
        lookup = table.lookup
        if lookup is None:
            return []
        try:
            answer, _ = self._get(self._path(lookup.path), {**self._filled(lookup.params), lookup.param: natural_key})
        except RecordRejected as error:
            if lookup.absent_status is not None and error.code == f"http_{lookup.absent_status}":
                return []
            raise
        what = f"the look-up of {natural_key}"
        rows = self._rows(answer, lookup.records, what)
        return [self._id(row, lookup.id, what) for row in rows if _text(dig(row, lookup.key)) == natural_key]

    def _asked(self, table: RestEntity, op: PushOp) -> Probe:
        if op.action == "update" and op.external_id:
            # The same absolute content again does no harm.
            return Probe(op.delivery_id, "absent")
        if table.lookup is None:
            return Probe(op.delivery_id, "unknown")
        found = self._look_up(table, op.natural_key)
        if len(found) > 1:
            return Probe(op.delivery_id, "unknown")
        return Probe(op.delivery_id, "present", external_id=found[0]) if found else Probe(op.delivery_id, "absent")

    def _ambiguous(self, op: PushOp, count: int) -> PushResult:
        return PushResult(
            op.delivery_id,
            "rejected",
            reason=f"{count} records with the key {op.natural_key} exist there already",
            field=self.manifest.entities[op.entity].natural_key,
            hint="Look at them in the target and keep one; then retry.",
        )


class DeclaredProbes(DeclaredPushes):
    """Can be asked what became of a write, where the description has a `lookup`."""

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """Whether the records exist, asked by natural key; `unknown` for an entity without `lookup`, or where several
        records have the key."""
        table = self._writes(batch.entity)
        return [self._asked(table, op) for op in batch.ops]


def _values(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every single value of a payload with its path and its key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _values(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value, 1):
            yield from _values(inner, f"{path}[{number}]")
    else:
        yield path, path.rpartition(".")[2].partition("[")[0], value


def _outside(text: str, charset: str) -> str | None:
    try:
        text.encode(charset)
    except UnicodeEncodeError as error:
        return text[error.start : error.start + 1]
    return None


def _is_whole(value: Any) -> bool:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    return number.is_finite() and number == number.to_integral_value()


def _body(payload: Mapping[str, Any], record: str | None) -> Any:
    return dict(payload) if record is None else {record: dict(payload)}


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value).strip()


def _rejected(op: PushOp, error: RecordRejected) -> PushResult:
    hint = error.hint or "Correct the record at its source, or in the mapping, and retry it."
    return PushResult(op.delivery_id, "rejected", reason=error.message, field=error.field, hint=hint)
