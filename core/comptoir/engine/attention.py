"""What publishing sets aside for a person: refusals, values that are not kept, conflicts."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub
from comptoir.errors import MappingError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import ChangeResult
from comptoir.store.database import Session
from comptoir.store.documents import Stored
from comptoir.store.publications import Sending
from comptoir.store.sync import Quarantine, Runs

__all__ = ["Attention"]


class Attention:
    """The quarantine of one publisher: one entity from one source at one target."""

    def __init__(self, hub: Hub, entity: EntityName, source: str, target: str, report: RunReport) -> None:
        self._hub = hub
        self._entity = entity
        self._source = source
        self._target = target
        self._report = report
        self._clock = hub.ports.clock

    def park_refused(self, session: Session, sending: Sending, why: str, result: ChangeResult | None) -> None:
        """The target refused a write; `why` in its words."""
        self._quarantine(
            session,
            sending.record_id,
            sending.external_id,
            cause="rejected",
            message=f"{self._entity.value} {sending.label}: {self._target} refused {', '.join(sending.keys)}: {why}",
            field=result.field if result else None,
            hint=(result.hint if result else None)
            or f"Correct it in {self._source} or on {self._target}, then retry this record.",
        )

    def not_kept(self, session: Session, record_id: UUID, external_id: str, keys: Sequence[str]) -> None:
        """The target accepted a write and shows another value."""
        self._quarantine(
            session,
            record_id,
            external_id,
            cause="value_not_kept",
            message=f"{self._entity.value} {external_id}: {self._target} accepted {', '.join(keys)} but shows another "
            "value",
            field=keys[0] if keys else None,
            hint=f"Something on {self._target} (a plugin, a setting) changes what is written; correct it there, "
            "then retry this record.",
        )

    def conflict(self, session: Session, source: Stored, keys: Sequence[str]) -> None:
        """Both sides changed the same keys, each in another way: nothing was written."""
        self._quarantine(
            session,
            source.head.record_id,
            source.document.external_id,
            cause="conflict",
            message=f"{self._entity.value} {source.document.external_id}: {', '.join(keys)} changed on "
            f"{self._source} and on {self._target}, each in another way",
            field=keys[0],
            hint="Nothing was written. Make both the same, on the side that is wrong.",
        )

    def park(self, session: Session, record_id: UUID, external_id: str, error: MappingError) -> None:
        """A record that cannot be expressed at the target."""
        self._quarantine(
            session,
            record_id,
            external_id,
            cause=error.code,
            message=f"{self._entity.value} {external_id} for {self._target}: {error.message}",
            field=error.field,
            hint=error.hint,
        )

    def _quarantine(
        self,
        session: Session,
        record_id: UUID,
        external_id: str,
        *,
        cause: str,
        message: str,
        field: str | None,
        hint: str | None,
    ) -> None:
        Quarantine(session).park(
            self._hub.ports.ids.new(),
            connection=self._source,
            entity=self._entity,
            external_id=external_id,
            record_id=record_id,
            target=self._target,
            cause=cause,
            message=message,
            field=field,
            hint=hint,
            at=self._clock.now(),
        )
        Runs(session).outcomes(
            [(self._report.run_id, self._source, self._entity.value, external_id, "rejected", cause)]
        )

    def shows_it(self, session: Session, record_id: UUID) -> None:
        """The target shows by now what it had refused or had not kept: nobody need look at it."""
        Quarantine(session).resolve_records(
            self._target, self._entity, [record_id], f"{self._target} shows it now", self._clock.now()
        )

    def resolve(self, session: Session, done: Sequence[Sending]) -> None:
        """What was written needs nobody any more."""
        quarantine = Quarantine(session)
        if done and quarantine.count_open():
            quarantine.resolve_records(
                self._target, self._entity, [s.record_id for s in done], "it was written", self._clock.now()
            )
