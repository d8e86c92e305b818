"""The inbox: each row a hint of a webhook that a record must be read again.

A row holds no content of the record and no personal data. Rows that are done stay until `purge`, because their keys
are how a webhook that comes again is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import Hint
from comptoir.store.database import Session

__all__ = ["Inbox", "Waiting"]

#: So many of the oldest rows are looked at by one purge.
_PURGE_ROWS = 5000


class Waiting(NamedTuple):
    """A hint that was taken to be worked on."""

    id: int
    external_id: str
    kind: str
    received_at: datetime


class Inbox:
    """Hints of all connections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def limit(self, seconds: float) -> None:
        """No statement of this transaction takes longer, waiting for a lock included."""
        self._session.row("select set_config('statement_timeout', %s, true)", (f"{int(seconds * 1000)}",))

    def add(self, connection: str, dedupe_key: str, hints: Sequence[Hint], at: datetime) -> int:
        """Stores the hints of one delivery; those of a delivery that came before are left out. Returns the new ones."""
        if not hints:
            return 0
        return self._session.execute(
            "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at) "
            "select %s, h.entity, h.external_id, h.kind, %s || '/' || h.entity || '/' || h.external_id, %s "
            "from unnest(%s::text[], %s::text[], %s::text[]) as h (entity, external_id, kind) "
            "on conflict (connection, dedupe_key) do nothing",
            (
                connection, dedupe_key, at, [h.entity.value for h in hints], [h.external_id for h in hints],
                [h.kind for h in hints],
            ),
        )  # fmt: skip

    # -- working on them -------------------------------------------------------------------------------------------

    def newest(self, connection: str, entity: EntityName) -> int | None:
        """The id of the newest waiting hint; None when none waits."""
        row = self._session.row(
            "select max(id) from inbox where connection = %s and entity = %s and done_at is null",
            (connection, entity.value),
        )
        return row[0] if row else None

    def take(
        self, connection: str, entity: EntityName, limit: int, *, run_id: UUID, at: datetime, until: int
    ) -> list[Waiting]:
        """Takes waiting hints up to the id `until`, oldest first.

        The caller holds the lock of reading this entity, so what another run took and did not finish is free again.
        """
        rows = self._session.rows(
            "update inbox set taken_at = %s, run_id = %s where id in (select id from inbox where connection = %s "
            "and entity = %s and done_at is null and id <= %s order by id limit %s) "
            "returning id, external_id, kind, received_at",
            (at, run_id, connection, entity.value, until, limit),
        )
        return sorted(Waiting(*row) for row in rows)

    def done(self, outcomes: Mapping[int, str], *, run_id: UUID, at: datetime) -> bool:
        """Finishes hints that this run took, each with what came of it.

        False when another run took one of them meanwhile: then the caller's transaction must not be committed.
        """
        if not outcomes:
            return True
        finished = self._session.execute(
            "update inbox set done_at = %s, outcome = o.outcome "
            "from unnest(%s::bigint[], %s::text[]) as o (id, outcome) "
            "where inbox.id = o.id and inbox.run_id = %s and inbox.done_at is null",
            (at, list(outcomes), list(outcomes.values()), run_id),
        )
        return finished == len(outcomes)

    def fruitless(
        self, connection: str, entity: EntityName, external_ids: Sequence[str], since: datetime
    ) -> dict[str, int]:
        """How often each record was read for hints since then and found unchanged; several hints at once count once."""
        rows = self._session.rows(
            "select external_id, count(distinct done_at) from inbox where connection = %s and entity = %s "
            "and external_id = any(%s) and outcome = 'unchanged' and done_at > %s group by external_id",
            (connection, entity.value, list(external_ids), since),
        )
        return {row[0]: row[1] for row in rows}

    def own_writes(self, connection: str, external_ids: Sequence[str], since: datetime) -> dict[str, int]:
        """How often we wrote to each of these records, or to one that hangs under it, since then."""
        if not external_ids:
            return {}
        rows = self._session.rows(
            "select hinted, count(distinct run_id) from (select w.run_id, case when w.external_id = any(%(ids)s) "
            "then w.external_id else p.parent_id end as hinted from write_log w left join publication p "
            "on p.target = w.target and p.entity = w.entity and p.external_id = w.external_id "
            "where w.target = %(connection)s and w.at > %(since)s) written where hinted = any(%(ids)s) group by hinted",
            {"ids": list(external_ids), "connection": connection, "since": since},
        )
        return {row[0]: row[1] for row in rows}

    def landed(
        self, connection: str, entity: EntityName, external_ids: Sequence[str]
    ) -> dict[str, tuple[int, datetime | None]]:
        """Version and source modification time of these records as they were landed last."""
        rows = self._session.rows(
            "select external_id, version, source_modified_at from raw_record "
            "where connection = %s and entity = %s and external_id = any(%s)",
            (connection, entity.value, list(external_ids)),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def with_a_person(self, connection: str, entity: EntityName, external_ids: Sequence[str]) -> dict[str, str]:
        """Causes of the open quarantine rows of these records themselves (not of a write to a target)."""
        rows = self._session.rows(
            "select external_id, cause from quarantine where state = 'open' and target is null and connection = %s "
            "and entity = %s and external_id = any(%s)",
            (connection, entity.value, list(external_ids)),
        )
        return {row[0]: row[1] for row in rows}

    # -- looking at them -------------------------------------------------------------------------------------------

    def waiting(self) -> dict[tuple[str, str], int]:
        """How many hints wait, by (connection, entity)."""
        rows = self._session.rows(
            "select connection, entity, count(*) from inbox where done_at is null group by connection, entity"
        )
        return {(row[0], row[1]): row[2] for row in rows}

    def last_received(self, connection: str) -> dict[str, datetime]:
        """When the newest hint of each entity came."""
        rows = self._session.rows(
            "select entity, max(received_at) from inbox where connection = %s group by entity", (connection,)
        )
        return {row[0]: row[1] for row in rows}

    def unannounced(self, connection: str, routes: Mapping[str, EntityName], since: datetime) -> bool:
        """Whether a run of these routes, by what each reads, has found changes since then although it took no webhook
        of the connection about such records and none came after it had begun.
        """
        row = self._session.row(
            "select exists (select 1 from run join unnest(%s::text[], %s::text[]) reading (route, entity) "
            "on reading.route = run.route where run.started_at > %s and (run.counts ->> 'changed')::int > 0 "
            "and not exists (select 1 from inbox where inbox.connection = %s and inbox.entity = reading.entity "
            "and (inbox.run_id = run.id or inbox.received_at > run.started_at)))",
            (list(routes), [entity.value for entity in routes.values()], since, connection),
        )
        return bool(row and row[0])

    def latencies(self, since: datetime) -> list[tuple[str, str, datetime, datetime]]:
        """Connection, entity, received and done of the hints that came since then and are done, oldest first."""
        rows = self._session.rows(
            "select connection, entity, received_at, done_at from inbox "
            "where done_at is not null and received_at >= %s order by id",
            (since,),
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def ready(self) -> bool:
        """True when hints can be stored; the driver's error when not."""
        self._session.row("select 1 from inbox limit 1")
        return True

    def purge(self, before: datetime) -> int:
        """Removes done hints that came before then. Looks at the oldest rows only, so that it is cheap every time."""
        return self._session.execute(
            "delete from inbox where id in (select id from inbox order by id limit %s for update skip locked) "
            "and done_at is not null and received_at < %s",
            (_PURGE_ROWS, before),
        )
