"""Journal entries: issued once, never edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from comptoir.model.accounting import JournalEntry
from comptoir.store.database import Row, Session

__all__ = ["Dirty", "Journal", "stock_mark"]

_ENTRY = (
    "id, key, document_id, kind, journal, journal_label, piece, posted_on, label, currency, connection, document, "
    "total, reverses, flags, created_at"
)
_LINE = "entry_id, position, account, account_label, third_party, third_party_label, label, side, amount, due_on"


def stock_mark(target: str) -> str:
    """The kind of mark that says: what may be offered at this target has to be computed again."""
    return f"stock:{target}"


class Dirty:
    """Records whose derived documents must be computed again."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def mark(self, kind: str, record_ids: Sequence[UUID], at: datetime) -> None:
        """Marks records, in the transaction of their change."""
        if record_ids:
            self._session.execute(
                "insert into dirty (kind, record_id, marked_at) select %s, unnest(%s::uuid[]), %s "
                "on conflict (kind, record_id) do update set marked_at = excluded.marked_at",
                (kind, list(record_ids), at),
            )

    def mark_unbooked(self, connection: str, at: datetime) -> None:
        """Marks the orders of a channel that have no entry at all (it was not booked by the hub before)."""
        self._session.execute(
            "insert into dirty (kind, record_id, marked_at) select 'journal', o.id, %s from sales_order o "
            "where o.connection = %s and not o.before_cutover "
            "and not exists (select 1 from journal_entry j where j.document_id = o.id) "
            "on conflict (kind, record_id) do nothing",
            (at, connection),
        )

    def take(self, kind: str, limit: int) -> list[UUID]:
        """Removes and returns marks; the caller's transaction holds what is derived from them."""
        rows = self._session.rows(
            "delete from dirty where (kind, record_id) in (select kind, record_id from dirty where kind = %s "
            "order by marked_at, record_id limit %s for update skip locked) returning record_id",
            (kind, limit),
        )
        return [row[0] for row in rows]

    def seen(self, kind: str) -> list[Row]:
        """The marks that stand now, for `clear` once what follows from them was computed."""
        return self._session.rows("select record_id, marked_at from dirty where kind = %s", (kind,))

    def clear(self, kind: str, marks: Sequence[Row]) -> None:
        """Removes these marks; one that was set anew meanwhile stays."""
        if marks:
            self._session.execute(
                "delete from dirty where kind = %s and (record_id, marked_at) in "
                "(select * from unnest(%s::uuid[], %s::timestamptz[]))",
                (kind, [m[0] for m in marks], [m[1] for m in marks]),
            )


class Journal:
    """The journal of what the hub derived."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, entries: Sequence[tuple[UUID, UUID, JournalEntry]], at: datetime) -> None:
        """New entries with their ids and documents; each must balance, which the database checks at commit."""
        heads: list[Row] = []
        lines: list[Row] = []
        for entry_id, document_id, entry in entries:
            heads.append(
                (
                    entry_id, entry.key, document_id, entry.kind.value, entry.journal, entry.journal_label,
                    entry.piece, entry.posted_on, entry.label, entry.currency, entry.channel, entry.document,
                    entry.total, entry.reverses, list(entry.flags), at,
                )
            )  # fmt: skip
            for position, line in enumerate(entry.lines, 1):
                lines.append(
                    (
                        entry_id, position, line.account, line.account_label, line.third_party,
                        line.third_party_label, line.label, line.side.value, line.amount, line.due_on,
                    )
                )  # fmt: skip
        self._session.copy("journal_entry", _ENTRY, heads)
        self._session.copy("journal_line", _LINE, lines)

    def of_documents(self, document_ids: Sequence[UUID]) -> dict[UUID, list[JournalEntry]]:
        """Everything posted for these documents, in the order of recording."""
        heads = self._session.rows(
            f"select {_ENTRY} from journal_entry where document_id = any(%s) order by seq",
            (list(document_ids),),
        )
        found: dict[UUID, list[JournalEntry]] = defaultdict(list)
        lines = self._lines([head[0] for head in heads])
        for head in heads:
            found[head[2]].append(_entry(head, lines[head[0]]))
        return found

    def load(self, entry_ids: Sequence[UUID]) -> dict[UUID, JournalEntry]:
        """Entries by id."""
        heads = self._session.rows(f"select {_ENTRY} from journal_entry where id = any(%s)", (list(entry_ids),))
        lines = self._lines([head[0] for head in heads])
        return {head[0]: _entry(head, lines[head[0]]) for head in heads}

    def stream(self, first: date, last: date) -> Iterator[JournalEntry]:
        """Entries of a period in the order of recording, in bounded memory; needs a transaction."""
        batch: list[Row] = []
        for head in self._session.stream(
            f"select {_ENTRY} from journal_entry where posted_on between %s and %s order by posted_on, seq",
            (first, last),
        ):
            batch.append(head)
            if len(batch) == 1000:
                yield from self._entries(batch)
                batch = []
        yield from self._entries(batch)

    def _entries(self, heads: list[Row]) -> Iterator[JournalEntry]:
        lines = self._lines([head[0] for head in heads])
        for head in heads:
            yield _entry(head, lines[head[0]])

    def _lines(self, entry_ids: list[UUID]) -> dict[UUID, list[dict[str, Any]]]:
        found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
        if not entry_ids:
            return found
        names = [name.strip() for name in _LINE.split(",")]
        for row in self._session.rows(
            f"select {_LINE} from journal_line where entry_id = any(%s) order by entry_id, position",
            (entry_ids,),
        ):
            fields = dict(zip(names, row, strict=True))
            fields.pop("position")
            found[fields.pop("entry_id")].append(fields)
        return found


def _entry(head: Row, lines: list[dict[str, Any]]) -> JournalEntry:
    names = [name.strip() for name in _ENTRY.split(",")]
    fields = dict(zip(names, head, strict=True))
    for name in ("id", "document_id", "total", "created_at"):
        fields.pop(name)
    fields["channel"] = fields.pop("connection")
    return JournalEntry.model_validate(fields | {"lines": lines})
