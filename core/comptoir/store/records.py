"""Raw records (identity, fingerprint, sealed payload) and bindings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from comptoir.model.refs import EntityName
from comptoir.store.copying import array_literal
from comptoir.store.database import Row, Session
from comptoir.store.document_reader import HEAD_TABLE

__all__ = ["Bindings", "Bound", "KnownRaw", "RawRecords"]


class KnownRaw(NamedTuple):
    """What is kept about a record that was received before."""

    raw_id: UUID
    fingerprint: bytes
    record_id: UUID | None
    version: int
    state: str


class RawRecords:
    """Raw records of all connections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def fingerprints(self, connection: str, entity: EntityName, external_ids: Sequence[str]) -> dict[str, bytes | None]:
        """The fingerprints of those of these records that are known, by external id; None of those set aside.

        A record that was set aside is tried again: its mapping may have been corrected.
        """
        rows = self._session.rows(
            "select external_id, case state when 'mapped' then fingerprint end from raw_record "
            "where connection = %s and entity = %s and external_id = any(%s::text[])",
            (connection, entity.value, array_literal(external_ids)),
        )
        return dict(rows)

    def known(self, connection: str, entity: EntityName, external_ids: Sequence[str]) -> dict[str, KnownRaw]:
        """What is known of these records, by external id."""
        rows = self._session.rows(
            "select external_id, id, fingerprint, record_id, version, state from raw_record "
            "where connection = %s and entity = %s and external_id = any(%s::text[])",
            (connection, entity.value, array_literal(external_ids)),
        )
        return {row[0]: KnownRaw(*row[1:]) for row in rows}

    def ensure_partition(self, at: datetime) -> None:
        """Makes the payload partition of that month when it is missing."""
        self._session.row("select comptoir_raw_partition(%s)", (at.date(),))

    def insert(self, rows: Sequence[Row]) -> None:
        """New records: id, connection, entity, external_id, fingerprint, state, record_id, version, modified, at."""
        self._session.copy(
            "raw_record",
            "id, connection, entity, external_id, fingerprint, state, record_id, version, source_modified_at, "
            "received_at",
            rows,
        )

    def replace(self, rows: Sequence[Row]) -> None:
        """Changed records: the same columns as `insert`."""
        if not rows:
            return
        self._session.execute("delete from raw_record where id = any(%s)", ([row[0] for row in rows],))
        self.insert(rows)

    def payloads(self, rows: Sequence[Row]) -> None:
        """Sealed payloads: raw_id, version, received_at, key_id, body."""
        self._session.copy("raw_payload", "raw_id, version, received_at, key_id, body", rows)

    def sealed(self, raw_id: UUID) -> tuple[str, bytes] | None:
        """Key id and sealed bytes of a record's newest payload; None when it was dropped."""
        row = self._session.row(
            "select key_id, body from raw_payload where raw_id = %s order by version desc limit 1", (raw_id,)
        )
        return (row[0], bytes(row[1])) if row else None

    def newest(
        self, connection: str, entity: EntityName, limit: int
    ) -> list[tuple[str, str, datetime | None, str, bytes]]:
        """The records received last: external id, state, modified, key id and sealed bytes of their newest payload."""
        rows = self._session.rows(
            "select r.external_id, r.state, r.source_modified_at, p.key_id, p.body from ("
            "  select id, external_id, state, source_modified_at, received_at from raw_record"
            "  where connection = %s and entity = %s order by received_at desc, external_id limit %s"
            ") r cross join lateral ("
            "  select key_id, body from raw_payload where raw_id = r.id order by version desc limit 1"
            ") p order by r.received_at desc, r.external_id",
            (connection, entity.value, limit),
        )
        return [(r[0], r[1], r[2], r[3], bytes(r[4])) for r in rows]

    def mapped_otherwise(
        self, connection: str, entity: EntityName, mapping_hash: str, *, after: UUID | None, limit: int
    ) -> list[tuple[UUID, str, datetime | None, str | None, bytes]]:
        """Records that another mapping made a document of, in the order of their ids: id, external id, modified, key id
        and sealed bytes of their newest payload (None and nothing when it was dropped).

        Those that are gone from the connection are left out.
        """
        rows = self._session.rows(
            "select r.id, r.external_id, r.source_modified_at, p.key_id, p.body from ("
            "  select r.id, r.external_id, r.source_modified_at from raw_record r"
            f"  join {HEAD_TABLE[entity]} d on d.id = r.record_id"
            "  where r.connection = %(connection)s and r.entity = %(entity)s and r.state = 'mapped'"
            "  and r.fingerprint <> ''::bytea and d.mapping_hash <> %(hash)s"
            "  and (%(after)s::uuid is null or r.id > %(after)s) order by r.id limit %(limit)s"
            ") r left join lateral ("
            "  select key_id, body from raw_payload where raw_id = r.id order by version desc limit 1"
            ") p on true order by r.id",
            {"connection": connection, "entity": entity.value, "hash": mapping_hash, "after": after, "limit": limit},
        )
        return [(r[0], r[1], r[2], r[3], bytes(r[4] or b"")) for r in rows]

    def find(self, connection: str, entity: EntityName, external_id: str) -> tuple[UUID, datetime | None] | None:
        """Id and source modification time of one record."""
        row = self._session.row(
            "select id, source_modified_at from raw_record where connection = %s and entity = %s and external_id = %s",
            (connection, entity.value, external_id),
        )
        return (row[0], row[1]) if row else None

    def count(self, connection: str, entity: EntityName) -> int:
        """How many records of this kind are known."""
        row = self._session.row(
            "select count(*) from raw_record where connection = %s and entity = %s",
            (connection, entity.value),
        )
        return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Bound:
    """One live binding."""

    record_id: UUID
    external_id: str
    confirmed_hash: str | None


class Bindings:
    """Canonical id <-> external id per connection."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def link_new(self, rows: Sequence[Row]) -> None:
        """Bindings of new source records: id, record_id, connection, entity, external_id, state, first, last seen."""
        self._session.copy(
            "binding", "id, record_id, connection, entity, external_id, state, first_seen, last_seen", rows
        )

    def of_records(self, connection: str, entity: EntityName, record_ids: Iterable[UUID]) -> dict[UUID, Bound]:
        """The live bindings of records on a connection."""
        rows = self._session.rows(
            "select record_id, external_id, confirmed_hash from binding "
            "where connection = %s and entity = %s and record_id = any(%s) and state = 'linked'",
            (connection, entity.value, list(record_ids)),
        )
        return {r[0]: Bound(r[0], r[1], r[2]) for r in rows}

    def confirm(
        self,
        rows: Sequence[tuple[UUID, UUID, str, str, str, str, str | None]],
        at: datetime,
    ) -> None:
        """Target bindings after a confirmed write: (id, record_id, connection, entity, external_id, key, hash)."""
        for binding_id, record_id, connection, entity, external_id, natural_key, content_hash in rows:
            updated = self._session.execute(
                "update binding set confirmed_hash = %s, last_seen = %s, natural_key = %s, external_id = %s "
                "where record_id = %s and connection = %s and entity = %s and state = 'linked'",
                (content_hash, at, natural_key, external_id, record_id, connection, entity),
            )
            if not updated:
                self._session.execute(
                    # `made`: the target's own record of it, once it is read, is another one with the same id there.
                    "insert into binding (id, record_id, connection, entity, external_id, role, state, natural_key, "
                    "confirmed_hash, first_seen, last_seen) "
                    "values (%s, %s, %s, %s, %s, 'made', 'linked', %s, %s, %s, %s) "
                    "on conflict (connection, entity, external_id, role) where state <> 'tombstone' do nothing",
                    (
                        binding_id,
                        record_id,
                        connection,
                        entity,
                        external_id,
                        natural_key,
                        content_hash,
                        at,
                        at,
                    ),
                )

    def revive(self, connection: str, entity: EntityName, record_ids: Sequence[UUID]) -> None:
        """Records that were gone and are read again."""
        self._session.execute(
            "update binding set state = 'linked' where record_id = any(%s) and connection = %s and entity = %s "
            "and state = 'tombstone'",
            (list(record_ids), connection, entity.value),
        )

    def release(self, connection: str, entity: EntityName, record_ids: Sequence[UUID]) -> None:
        """Records that a target does not have any more, because they were taken back there."""
        self._session.execute(
            "update binding set state = 'tombstone' where record_id = any(%s) and connection = %s and entity = %s "
            "and state = 'linked' and role = 'made'",
            (list(record_ids), connection, entity.value),
        )

    def stamp(self, record_id: UUID, connection: str, entity: EntityName, content_hash: str) -> None:
        """Notes what a target is known to have, after it told us itself."""
        self._session.execute(
            "update binding set confirmed_hash = %s where record_id = %s and connection = %s and entity = %s "
            "and state = 'linked'",
            (content_hash, record_id, connection, entity.value),
        )

    def any_on(self, connection: str, entity: EntityName) -> bool:
        """Whether anything of this kind was ever confirmed on a connection."""
        row = self._session.row(
            "select exists (select 1 from binding where connection = %s and entity = %s)",
            (connection, entity.value),
        )
        return bool(row and row[0])
