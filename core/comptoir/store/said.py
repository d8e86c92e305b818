"""What the records of a connection said of themselves, until the system that it was passed on to has said it too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from comptoir.model.refs import EntityName
from comptoir.store.database import Session

__all__ = ["Heard", "Said", "Word"]

#: (external id, key, the `seq` of the value that was heard)
Heard = tuple[str, str, int]


class Word(NamedTuple):
    """One value; newer ones have a higher `seq`. `passed_on`: said in a change that goes to the other side."""

    seq: int
    passed_on: bool


class Said:
    """Values of one connection's records, as digests."""

    def __init__(self, session: Session, connection: str, entity: EntityName) -> None:
        self._session = session
        self._where = {"connection": connection, "entity": entity.value}

    def add(self, rows: Sequence[tuple[str, str, str]], at: datetime, *, passed_on: bool) -> None:
        """Keeps values: (external id, key, digest). One that is said again is the newest."""
        if not rows:
            return
        ids, keys, values = (list(column) for column in zip(*rows, strict=True))
        self._session.execute(
            "insert into said (connection, entity, external_id, key, value, at, passed_on) "
            "select %(connection)s, %(entity)s, given.*, %(at)s, %(passed_on)s "
            "from unnest(%(ids)s::text[], %(keys)s::text[], %(values)s::text[]) as given "
            "on conflict (connection, entity, external_id, key, value) "
            "do update set seq = excluded.seq, at = excluded.at, passed_on = said.passed_on or excluded.passed_on",
            self._where | {"ids": ids, "keys": keys, "values": values, "at": at, "passed_on": passed_on},
        )

    def of(self, ids: Sequence[str]) -> dict[str, dict[tuple[str, str], Word]]:
        """What is waited for, by external id: words by (key, digest)."""
        found: dict[str, dict[tuple[str, str], Word]] = {}
        for external_id, key, value, *word in self._session.rows(
            "select external_id, key, value, seq, passed_on from said "
            "where connection = %(connection)s and entity = %(entity)s "
            "and external_id = any(%(ids)s)",
            self._where | {"ids": list(ids)},
        ):
            found.setdefault(external_id, {})[key, value] = Word(*word)
        return found

    def heard(self, rows: Sequence[Heard]) -> None:
        """The other side has shown these: they, and what was said before them, are not waited for any more."""
        if not rows:
            return
        ids, keys, numbers = (list(column) for column in zip(*rows, strict=True))
        self._session.execute(
            "delete from said s using unnest(%(ids)s::text[], %(keys)s::text[], %(numbers)s::bigint[]) "
            "as h (external_id, key, seq) where s.connection = %(connection)s and s.entity = %(entity)s "
            "and s.external_id = h.external_id and s.key = h.key and s.seq <= h.seq",
            self._where | {"ids": ids, "keys": keys, "numbers": numbers},
        )
