"""Cursors, runs, outcomes, quarantine, opening items, stored texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from comptoir.model.refs import EntityName
from comptoir.store.database import Row, Session

__all__ = ["CursorRow", "Cursors", "OpeningItems", "Parked", "Quarantine", "Runs", "Texts"]


def _json(value: Any) -> Jsonb:
    return Jsonb(value, dumps=orjson.dumps)


@dataclass(frozen=True, slots=True)
class CursorRow:
    """Where a pull stands: `position` and `window_started` are set while a window is unfinished."""

    watermark: datetime | None
    position: dict[str, Any] | None
    window_started: datetime | None


class Cursors:
    """One cursor per (connection, entity, scope), never per route."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, connection: str, entity: EntityName, scope: str = "") -> CursorRow:
        """The cursor; empty when nothing was ever pulled."""
        row = self._session.row(
            "select watermark, position, window_started from cursor_position "
            "where connection = %s and entity = %s and scope = %s",
            (connection, entity.value, scope),
        )
        return CursorRow(*row) if row else CursorRow(None, None, None)

    def put(self, connection: str, entity: EntityName, cursor: CursorRow, at: datetime, scope: str = "") -> None:
        """Stores the cursor; belongs in the transaction of the rows it covers."""
        self._session.execute(
            "insert into cursor_position (connection, entity, scope, watermark, position, window_started, updated_at) "
            "values (%s, %s, %s, %s, %s, %s, %s) on conflict (connection, entity, scope) do update set "
            "watermark = excluded.watermark, position = excluded.position, "
            "window_started = excluded.window_started, updated_at = excluded.updated_at",
            (
                connection, entity.value, scope, cursor.watermark,
                None if cursor.position is None else _json(cursor.position), cursor.window_started, at,
            ),
        )  # fmt: skip


class Runs:
    """Runs and the outcomes of their records."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self, run_id: UUID, route: str, trigger: str, at: datetime) -> None:
        """A run begins."""
        self._session.execute(
            "insert into run (id, route, trigger, state, started_at) values (%s, %s, %s, 'running', %s)",
            (run_id, route, trigger, at),
        )

    def end(self, run_id: UUID, state: str, at: datetime, counts: dict[str, Any], error: str | None) -> None:
        """A run ends with its counts."""
        self._session.execute(
            "update run set state = %s, ended_at = %s, counts = %s, error = %s where id = %s",
            (state, at, _json(counts), error, run_id),
        )

    def outcomes(self, rows: Sequence[Row]) -> None:
        """Outcomes: run_id, connection, entity, external_id, outcome, reason."""
        self._session.copy("outcome", "run_id, connection, entity, external_id, outcome, reason", rows)

    def recent(self, limit: int) -> list[Row]:
        """Route, state, start, end, counts and error of the newest runs."""
        return self._session.rows(
            "select route, state, started_at, ended_at, counts, error from run order by started_at desc limit %s",
            (limit,),
        )

    def last(self, route: str) -> Row | None:
        """Id, state, start, end and counts of the newest run of a route."""
        return self._session.row(
            "select id, state, started_at, ended_at, counts from run where route = %s order by started_at desc limit 1",
            (route,),
        )


@dataclass(frozen=True, slots=True)
class Parked:
    """A record set aside, as a person sees it."""

    id: UUID
    connection: str
    entity: str
    external_id: str
    record_id: UUID | None
    target: str | None
    cause: str
    field: str | None
    message: str
    hint: str | None
    state: str
    times: int
    first_seen: datetime
    last_seen: datetime


_PARKED = (
    "id, connection, entity, external_id, record_id, target, cause, field, message, hint, state, times, first_seen, "
    "last_seen"
)


class Quarantine:
    """Records that need a person."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def park(
        self,
        row_id: UUID,
        *,
        connection: str,
        entity: EntityName,
        external_id: str,
        cause: str,
        message: str,
        field: str | None,
        hint: str | None,
        at: datetime,
        record_id: UUID | None = None,
        target: str | None = None,
    ) -> None:
        """Sets a record aside, or counts one more time when it already is."""
        self._session.execute(
            "insert into quarantine (id, connection, entity, external_id, record_id, target, cause, field, message, "
            "hint, state, first_seen, last_seen) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'open', %s, %s) "
            "on conflict (connection, entity, external_id, coalesce(target, '')) where state = 'open' do update set "
            "times = quarantine.times + 1, cause = excluded.cause, field = excluded.field, "
            "message = excluded.message, hint = excluded.hint, last_seen = excluded.last_seen, "
            "record_id = coalesce(excluded.record_id, quarantine.record_id)",
            (
                row_id, connection, entity.value, external_id, record_id, target, cause, field, message, hint, at, at,
            ),
        )  # fmt: skip

    def resolve(
        self,
        connection: str,
        entity: EntityName,
        external_ids: Sequence[str],
        because: str,
        at: datetime,
        target: str | None = None,
    ) -> int:
        """Closes the open rows of these records (of one target, or of the mapping when `target` is None)."""
        return self._session.execute(
            "update quarantine set state = 'resolved', resolved_because = %s, last_seen = %s "
            "where state = 'open' and connection = %s and entity = %s and external_id = any(%s) "
            "and target is not distinct from %s",
            (because, at, connection, entity.value, list(external_ids), target),
        )

    def resolve_records(
        self, target: str, entity: EntityName, record_ids: Sequence[UUID], because: str, at: datetime
    ) -> int:
        """Closes the open rows of these records for a target."""
        return self._session.execute(
            "update quarantine set state = 'resolved', resolved_because = %s, last_seen = %s "
            "where state = 'open' and target = %s and entity = %s and record_id = any(%s)",
            (because, at, target, entity.value, list(record_ids)),
        )

    def added_up(self, record_ids: Sequence[UUID], at: datetime) -> int:
        """Closes what was left out of a file, or of its day, because of a cent that is explained by now."""
        return self._session.execute(
            "update quarantine set state = 'resolved', resolved_because = 'it adds up', last_seen = %s "
            "where state = 'open' and target is null and cause = 'unexplained_cent' and record_id = any(%s)",
            (at, list(record_ids)),
        )

    def refused(self, entity: EntityName, causes: Sequence[str], documents: Sequence[UUID]) -> list[Row]:
        """Record, natural key, source and target of open refusals, for these causes, of entries of these documents."""
        return self._session.rows(
            "select q.record_id, q.external_id, q.connection, q.target from quarantine q join journal_entry j "
            "on j.id = q.record_id where q.state = 'open' and q.entity = %s and q.cause = any(%s) "
            "and q.target is not null and j.document_id = any(%s) and j.withdrawn_in is null order by j.seq",
            (entity.value, list(causes), list(documents)),
        )

    def refused_documents(self, entity: EntityName, cause: str) -> list[UUID]:
        """The documents of whose entries one is refused for this cause, at any target."""
        rows = self._session.rows(
            "select distinct j.document_id from quarantine q join journal_entry j on j.id = q.record_id "
            "where q.state = 'open' and q.entity = %s and q.cause = %s and q.target is not null "
            "and j.withdrawn_in is null order by 1",
            (entity.value, cause),
        )
        return [row[0] for row in rows]

    def open(self, limit: int = 500) -> list[Parked]:
        """What waits for a person, oldest first."""
        query = f"select {_PARKED} from quarantine where state = 'open' order by first_seen limit %s"
        return [Parked(*row) for row in self._session.rows(query, (limit,))]

    def get(self, record: str) -> list[Parked]:
        """The rows whose id ends so, or whose external id is that, newest first."""
        query = (
            f"select {_PARKED} from quarantine where id::text like %s or external_id = %s "
            "order by last_seen desc limit 20"
        )
        pattern = "%" + "".join(c for c in record if c.isalnum() or c == "-")
        return [Parked(*row) for row in self._session.rows(query, (pattern, record))]

    def unmapped(self) -> list[tuple[str, str, str, str, int, datetime, list[str]]]:
        """Values that no table has: connection, entity, field, message, records, since when, some external ids."""
        return self._session.rows(
            "select connection, entity, coalesce(field, ''), "
            "replace(message, format('%%s %%s on %%s: ', entity, external_id, connection), ''), count(*), "
            "min(first_seen), (array_agg(external_id order by first_seen desc))[1:5] from quarantine "
            "where state = 'open' and cause = 'unmapped_value' group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4",
            (),
        )

    def count_open(self) -> int:
        """How many records wait."""
        row = self._session.row("select count(*) from quarantine where state = 'open'")
        return int(row[0]) if row else 0


class OpeningItems:
    """Later documents that name one from before the cutover."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        row_id: UUID,
        *,
        connection: str,
        entity: EntityName,
        external_id: str,
        names: str,
        amount: Decimal | None,
        currency: str | None,
        dated_on: date | None,
        reason: str,
        at: datetime,
    ) -> None:
        """Lists a document for the opening account, once."""
        self._session.execute(
            "insert into opening_item (id, connection, entity, external_id, names, amount, currency, dated_on, reason, "
            "listed_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "on conflict (connection, entity, external_id) do update set amount = excluded.amount, "
            "dated_on = excluded.dated_on",
            (row_id, connection, entity.value, external_id, names, amount, currency, dated_on, reason, at),
        )

    def forget(self, connection: str, entity: EntityName, beginning: str) -> None:
        """What was listed under ids that begin so is not listed any more: the document was changed."""
        self._session.execute(
            "delete from opening_item where connection = %s and entity = %s and starts_with(external_id, %s)",
            (connection, entity.value, beginning),
        )

    def list(self) -> list[Row]:
        """Connection, entity, external id, named document, amount, currency, date and reason of each."""
        return self._session.rows(
            "select connection, entity, external_id, names, amount, currency, dated_on, reason from opening_item "
            "order by dated_on, connection, external_id"
        )


class Texts:
    """Mapping and configuration texts by hash."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def keep(self, digest: str, kind: str, name: str, body: str, at: datetime) -> None:
        """Stores a text once."""
        self._session.execute(
            "insert into stored_text (hash, kind, name, body, stored_at) values (%s, %s, %s, %s, %s) "
            "on conflict (hash) do nothing",
            (digest, kind, name, body, at),
        )

    def get(self, beginning: str) -> tuple[str, str, str] | None:
        """Hash, name and body of the one text whose hash begins so; None when there is none or more than one."""
        rows = self._session.rows(
            "select hash, name, body from stored_text where starts_with(hash, %s) limit 2", (beginning,)
        )
        return rows[0] if len(rows) == 1 else None

    def kept(self, kind: str, name: str) -> list[tuple[str, datetime]]:
        """Hash and first use of the texts of a name, newest first."""
        return self._session.rows(
            "select hash, stored_at from stored_text where kind = %s and name = %s order by stored_at desc",
            (kind, name),
        )

    def in_use(self, connection: str, entity: EntityName) -> str | None:
        """The hash by which this connection's records were mapped last."""
        row = self._session.row(
            "select hash from mapping_in_use where connection = %s and entity = %s", (connection, entity.value)
        )
        return row[0] if row else None

    def use(self, connection: str, entity: EntityName, digest: str, at: datetime) -> None:
        """From now on they are mapped by this one."""
        self._session.execute(
            "insert into mapping_in_use as known (connection, entity, hash, since) values (%s, %s, %s, %s) "
            "on conflict (connection, entity) do update set hash = excluded.hash, since = excluded.since "
            "where known.hash <> excluded.hash",
            (connection, entity.value, digest, at),
        )
