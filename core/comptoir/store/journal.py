"""Journal entries: issued once, never edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from comptoir.model.accounting import EntryKind, JournalEntry, JournalLine
from comptoir.model.refs import EntityName
from comptoir.store.database import Row, Session
from comptoir.store.document_reader import HEAD_TABLE

__all__ = ["Dirty", "Journal", "stock_mark"]

_ENTRY = (
    "id, key, document_id, kind, journal, journal_label, piece, posted_on, label, currency, connection, document, "
    "total, reverses, flags, document_on, reference, invoice, created_at"
)
_LINE = (
    "entry_id, position, account, account_label, third_party, third_party_label, label, side, amount, due_on, "
    "payment_method, vat_code, vat_rate, foreign_amount, foreign_currency"
)
_SHARE = "entry_id, position, plan, section, amount"


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

    def mark_unbooked(self, entity: EntityName, connection: str, at: datetime) -> None:
        """Marks the documents of a connection that have no entry at all (it was not booked by the hub before)."""
        self._session.execute(
            f"insert into dirty (kind, record_id, marked_at) select 'journal', o.id, %s from {HEAD_TABLE[entity]} o "
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

    def remember(self, kind: str) -> None:
        """Notes the marks that stand now, for `clear` on this connection once what follows from them was computed."""
        self._session.execute(
            "create temp table if not exists dirty_remembered (kind text, record_id uuid, marked_at timestamptz)"
        )
        self._session.execute("delete from dirty_remembered where kind = %s", (kind,))
        self._session.execute(
            "insert into dirty_remembered select kind, record_id, marked_at from dirty where kind = %s", (kind,)
        )

    def clear(self, kind: str) -> None:
        """Removes the marks that were remembered; one that was set anew meanwhile stays."""
        self._session.execute(
            "delete from dirty d using dirty_remembered r where d.kind = %s and r.kind = d.kind "
            "and r.record_id = d.record_id and r.marked_at = d.marked_at",
            (kind,),
        )
        self._session.execute("delete from dirty_remembered where kind = %s", (kind,))


class Journal:
    """The journal of what the hub derived."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, entries: Sequence[tuple[UUID, UUID, JournalEntry]], at: datetime) -> None:
        """New entries with their ids and documents; each must balance, which the database checks at commit."""
        heads: list[Row] = []
        lines: list[Row] = []
        shares: list[Row] = []
        for entry_id, document_id, entry in entries:
            heads.append(
                (
                    entry_id, entry.key, document_id, entry.kind.value, entry.journal, entry.journal_label,
                    entry.piece, entry.posted_on, entry.label, entry.currency, entry.channel, entry.document,
                    entry.total, entry.reverses, list(entry.flags), entry.document_on, entry.reference,
                    entry.invoice, at,
                )
            )  # fmt: skip
            for position, line in enumerate(entry.lines, 1):
                lines.append(
                    (
                        entry_id, position, line.account, line.account_label, line.third_party,
                        line.third_party_label, line.label, line.side.value, line.amount, line.due_on,
                        line.payment_method and line.payment_method.value, line.vat_code, line.vat_rate,
                        line.foreign and line.foreign.amount, line.foreign and line.foreign.currency,
                    )
                )  # fmt: skip
                shares += [(entry_id, position, s.plan, s.section, s.amount) for s in line.analytic]
        self._session.copy("journal_entry", _ENTRY, heads)
        self._session.copy("journal_line", _LINE, lines)
        self._session.copy("journal_share", _SHARE, shares)

    def of_documents(self, document_ids: Sequence[UUID]) -> dict[UUID, list[JournalEntry]]:
        """Everything posted for these documents, in the order of recording; what was withdrawn is not."""
        heads = self._session.rows(
            f"select {_ENTRY} from journal_entry where document_id = any(%s) and withdrawn_in is null order by seq",
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

    def stream(self, first: date, last: date, *, without: Sequence[UUID] = ()) -> Iterator[JournalEntry]:
        """Entries of a period as they go out, in the order of recording and in bounded memory; needs a transaction.

        `without`: documents whose entries are left out. What goes out within the entry of its day is in that one.
        """
        batch: list[Row] = []
        for head in self._session.stream(
            f"select {_ENTRY} from journal_entry where posted_on between %s and %s and not (document_id = any(%s)) "
            "and withdrawn_in is null and summarised_in is null order by posted_on, seq",
            (first, last, list(without)),
        ):
            batch.append(head)
            if len(batch) == 1000:
                yield from self._entries(batch)
                batch = []
        yield from self._entries(batch)

    def with_keys(self, keys: Sequence[str]) -> list[tuple[UUID, JournalEntry]]:
        """The entries with these keys and the ids of their documents, in the order of recording."""
        heads = self._session.rows(
            f"select {_ENTRY} from journal_entry where key = any(%s) and withdrawn_in is null order by seq",
            (list(keys),),
        )
        lines = self._lines([head[0] for head in heads])
        return [(head[2], _entry(head, lines[head[0]])) for head in heads]

    def correcting(self, keys: Sequence[str], bases: Sequence[str]) -> list[JournalEntry]:
        """Entries that reverse one of these, or say what differs from one; `bases` are their keys without marks."""
        heads = self._session.rows(
            f"select {_ENTRY} from journal_entry where withdrawn_in is null and (reverses = any(%s) or (kind = %s "
            "and document_id in (select document_id from journal_entry where key = any(%s)) "
            "and regexp_replace(key, '/dif[0-9]+$', '') = any(%s))) order by seq",
            (list(keys), EntryKind.DIFFERENCE.value, list(keys), list(bases)),
        )
        lines = self._lines([head[0] for head in heads])
        return [_entry(head, lines[head[0]]) for head in heads]

    def withdrawn_of(self, document_ids: Sequence[UUID]) -> dict[UUID, list[JournalEntry]]:
        """What was posted for these documents and taken back, in the order of recording."""
        heads = self._session.rows(
            f"select {_ENTRY} from journal_entry where document_id = any(%s) and withdrawn_in is not null order by seq",
            (list(document_ids),),
        )
        found: dict[UUID, list[JournalEntry]] = defaultdict(list)
        lines = self._lines([head[0] for head in heads])
        for head in heads:
            found[head[2]].append(_entry(head, lines[head[0]]))
        return found

    def withdraw(self, keys: Sequence[str], batch: UUID) -> int:
        """These entries count no more: the batch that held them was taken back from the books.

        What went out within the entry of a day goes with it, and its documents are marked to be booked anew.
        """
        within = self._session.rows(
            "update journal_entry set withdrawn_in = %s, summarised_in = null where summarised_in in (select id "
            "from journal_entry where key = any(%s) and withdrawn_in is null and kind = 'summary') "
            "returning document_id",
            (batch, list(keys)),
        )
        if within:
            self._session.execute(
                "insert into dirty (kind, record_id, marked_at) select 'journal', unnest(%s::uuid[]), comptoir_now() "
                "on conflict (kind, record_id) do nothing",
                (sorted({row[0] for row in within}),),
            )
        return self._session.execute(
            "update journal_entry set withdrawn_in = %s where key = any(%s) and withdrawn_in is null",
            (batch, list(keys)),
        )

    def days_to_sum(self) -> list[tuple[str, date]]:
        """Channels and days that have entries which wait for the summary of their day."""
        rows = self._session.rows(
            "select distinct j.connection, j.posted_on from dirty d join journal_entry j on j.id = d.record_id "
            "where d.kind = 'summary' and j.withdrawn_in is null order by 1, 2"
        )
        return [(row[0], row[1]) for row in rows]

    def take_day(self, connection: str, day: date) -> list[UUID]:
        """Takes the entries of a day that wait for its summary, in the order of recording."""
        rows = self._session.rows(
            "with taken as (delete from dirty d using journal_entry j where d.kind = 'summary' and j.id = d.record_id "
            "and j.connection = %s and j.posted_on = %s and j.withdrawn_in is null returning j.id, j.seq) "
            "select id from taken order by seq",
            (connection, day),
        )
        return [row[0] for row in rows]

    def put_into(self, summary: UUID, entry_ids: Sequence[UUID]) -> None:
        """These entries go out within this one."""
        self._session.execute(
            "update journal_entry set summarised_in = %s where id = any(%s)", (summary, list(entry_ids))
        )

    def within(self, summaries: Sequence[UUID]) -> dict[UUID, list[UUID]]:
        """The entries that go out within these, by summary."""
        found: dict[UUID, list[UUID]] = defaultdict(list)
        for summary, entry in self._session.rows(
            "select summarised_in, id from journal_entry where summarised_in = any(%s) order by seq", (list(summaries),)
        ):
            found[summary].append(entry)
        return found

    def summaries_of(self, document_ids: Sequence[UUID]) -> list[UUID]:
        """The documents of the summaries within which entries of these documents go out."""
        rows = self._session.rows(
            "select distinct s.document_id from journal_entry j join journal_entry s on s.id = j.summarised_in "
            "where j.document_id = any(%s) and j.withdrawn_in is null",
            (list(document_ids),),
        )
        return [row[0] for row in rows]

    def wrong_summaries(self, limit: int) -> list[tuple[str, str, Decimal, Decimal, str]]:
        """Key, account, what the summary has and what its entries give, and currency, where the two differ."""
        rows = self._session.rows(
            "with sums as (select coalesce(j.summarised_in, j.id) as summary, j.kind = 'summary' as own, l.account, "
            "sum(case l.side when 'D' then l.amount else -l.amount end) as amount from journal_entry j "
            "join journal_line l on l.entry_id = j.id where j.withdrawn_in is null "
            "and (j.kind = 'summary' or j.summarised_in is not null) group by 1, 2, 3), "
            "both_sides as (select summary, account, coalesce(sum(amount) filter (where own), 0) as theirs, "
            "coalesce(sum(amount) filter (where not own), 0) as ours from sums group by 1, 2) "
            "select s.key, b.account, b.theirs, b.ours, s.currency from both_sides b "
            "join journal_entry s on s.id = b.summary where b.theirs <> b.ours order by s.seq, b.account limit %s",
            (limit,),
        )
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def owners(self, keys: Sequence[str]) -> dict[str, UUID]:
        """The document of each of these keys that is in the journal."""
        rows = self._session.rows(
            "select key, document_id from journal_entry where key = any(%s) and withdrawn_in is null", (list(keys),)
        )
        return {row[0]: row[1] for row in rows}

    def not_derived(self, document_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these documents still wait to be booked, or cannot be."""
        rows = self._session.rows(
            "select record_id from dirty where kind = 'journal' and record_id = any(%s) union "
            "select record_id from quarantine where state = 'open' and entity = 'journal_entry' and target is null "
            "and cause <> 'unexplained_cent' and record_id = any(%s)",
            (list(document_ids), list(document_ids)),
        )
        return {row[0] for row in rows}

    def without_document(self, limit: int) -> list[tuple[str, date, Decimal, str]]:
        """Key, day, total and currency of entries that belong to no document of the store."""
        rows = self._session.rows(
            "select key, posted_on, total, currency from journal_entry j where withdrawn_in is null "
            "and kind <> 'summary' and not exists (select 1 from sales_order d where d.id = j.document_id) "
            "and not exists (select 1 from payout d where d.id = j.document_id) "
            "and not exists (select 1 from z_report d where d.id = j.document_id) "
            "and not exists (select 1 from supplier_invoice d where d.id = j.document_id) order by seq limit %s",
            (limit,),
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def documents_by_entry(self, entry_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        """The document of each of these entries."""
        rows = self._session.rows("select id, document_id from journal_entry where id = any(%s)", (list(entry_ids),))
        return {row[0]: row[1] for row in rows}

    def never_sent(self, until: date) -> list[tuple[UUID, str, UUID]]:
        """Id, key and document of entries dated until then that wait to go out and that nobody was given yet."""
        rows = self._session.rows(
            "select id, key, document_id from journal_entry where posted_on <= %s and withdrawn_in is null "
            "and id in (select record_id from delivery where entity = 'journal_entry' and state in ('pending', 'held') "
            "union select record_id from quarantine where state = 'open' and cause = 'locked_period') order by seq",
            (until,),
        )
        taken = self.given([row[0] for row in rows], ("sent", "in_doubt", "confirmed"))
        return [(row[0], row[1], row[2]) for row in rows if row[0] not in taken]

    def given(self, entry_ids: Sequence[UUID], states: Sequence[str]) -> set[UUID]:
        """Which of these entries have a delivery in one of these states."""
        rows = self._session.rows(
            "select record_id from delivery where record_id = any(%s) and state = any(%s)",
            (list(entry_ids), list(states)),
        )
        return {row[0] for row in rows}

    def documents_of(self, first: date, last: date) -> list[UUID]:
        """The documents that have an entry in a period."""
        rows = self._session.rows(
            "select distinct document_id from journal_entry where posted_on between %s and %s and withdrawn_in is null",
            (first, last),
        )
        return [row[0] for row in rows]

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
            amount, currency = fields.pop("foreign_amount"), fields.pop("foreign_currency")
            if amount is not None:
                fields["foreign"] = {"amount": amount, "currency": currency}
            found[fields.pop("entry_id")].append(fields)
        for entry_id, position, plan, section, amount in self._session.rows(
            f"select {_SHARE} from journal_share where entry_id = any(%s) order by entry_id, position, plan, section",
            (entry_ids,),
        ):
            line = found[entry_id][position - 1]
            line.setdefault("analytic", []).append({"plan": plan, "section": section, "amount": amount})
        for fields_of in found.values():
            for fields in fields_of:
                del fields["position"]
        return found


def _entry(head: Row, lines: list[dict[str, Any]]) -> JournalEntry:
    names = [name.strip() for name in _ENTRY.split(",")]
    fields = dict(zip(names, head, strict=True))
    for name in ("id", "document_id", "total", "created_at"):
        fields.pop(name)
    fields["channel"] = fields.pop("connection")
    try:
        return JournalEntry.model_validate(fields | {"lines": lines})
    except ValidationError:
        # Altered in the store, so that it does not balance: it is read as it stands, for whoever says what is wrong.
        made = tuple(JournalLine.model_validate(line) for line in lines)
        return JournalEntry.model_validate(fields | {"lines": ()}).model_copy(update={"lines": made})
