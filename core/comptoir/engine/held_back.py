"""Held back: entries that must not leave the hub as they are, and how they go out once that is put right.

The last look before a file is written. An order whose sheet does not add up, a document whose entries are not those
that it calls for, and an entry of a closed period are refused one by one; the others go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from comptoir.domain.entries import account_totals
from comptoir.domain.periods import refuse_locked
from comptoir.domain.proof import ProofSheet, compare, prove, refuse_unexplained
from comptoir.engine.called_for import called_for, case_of, refunds_of
from comptoir.engine.hub import BOOKED, Hub
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.payout import Payout
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.journal import Dirty, Journal
from comptoir.store.outbox import Outbox, new_delivery
from comptoir.store.settlements import Settlements
from comptoir.store.sync import Quarantine

__all__ = [
    "look_again",
    "look_at",
    "move_out_of_locked",
    "prove_stored",
    "refused_entries",
    "send_again",
    "unexplained",
]

_CENT = "unexplained_cent"
_CAUSES = (_CENT, "locked_period")
_BATCH = 200


def prove_stored(
    hub: Hub,
    session: Session,
    orders: Sequence[Stored],
    posted: Mapping[UUID, Sequence[JournalEntry]],
    *,
    payouts: bool = False,
) -> Iterator[tuple[Stored, ProofSheet]]:
    """The sheets of stored orders against what is posted of them; all refunds are read at once.

    `payouts`: also against the settlements that list them.
    """
    refunds = refunds_of(session, orders)
    listing: dict[str, list[Payout]] = {}
    if payouts:
        for payout in Settlements(session).listing([s.document.number for s in orders]):
            for number in {line.order_number for line in payout.lines if line.order_number is not None}:
                listing.setdefault(number, []).append(payout)
    for one in orders:
        connection = one.head.connection
        channel = hub.accounts.channel(connection, invoicing=hub.link(connection).invoicing or "self")
        sheet = prove(
            one.document,
            refunds(one),
            channel=channel,
            accounts=hub.accounts,
            posted=posted.get(one.head.record_id, []),
            payouts=_of_channel(hub, connection, one, listing.get(one.document.number, [])),
        )
        yield one, sheet


def _of_channel(hub: Hub, connection: str, one: Stored, payouts: Sequence[Payout]) -> list[Payout]:
    """Another channel may have the same number: only the providers that collected for this one count."""
    if not payouts:
        return []
    paid = [hub.accounts.money(p.method.value, p.source_method, channel=connection) for p in one.document.payments]
    accounts = {money.account for money in paid if money is not None}
    known = hub.accounts.providers
    return [
        payout
        for payout in payouts
        if payout.provider in known
        and (known[payout.provider].account in accounts or known[payout.provider].channel == connection)
    ]


def unexplained(hub: Hub, session: Session, documents: Sequence[UUID]) -> dict[UUID, MappingError]:
    """Why entries of these documents must not leave: a cent that is not explained, by document.

    What payouts list is not looked at: a sale is a sale, whatever became of its money (`comptoir todo` tells that).
    """
    reader, journal = Documents(session), Journal(session)
    found: dict[UUID, MappingError] = {}
    for entity, ids in reader.entities_of(documents, BOOKED).items():
        stored = list(reader.load(entity, ids).values())
        posted = journal.of_documents(ids)
        if entity is EntityName.ORDER:
            for one, sheet in prove_stored(hub, session, stored, posted):
                try:
                    refuse_unexplained(sheet)
                except MappingError as error:
                    found[one.head.record_id] = error
            continue
        wanted = called_for(hub, session, entity, stored)
        for one in stored:
            key, number = one.head.record_id, str(one.document.number)
            try:
                differences = compare(wanted(one), posted.get(key, []))
            except MappingError as error:
                found[key] = error
                continue
            if differences:
                first = differences[0]
                found[key] = MappingError(
                    f"{entity.value} {number}: {first.where}: {first.message} "
                    f"({first.amount:+f} {one.document.currency})",
                    record=number,
                    field="posted",
                    code=_CENT,
                    hint="What is posted is not what the document calls for: look at both, then `comptoir books redo`.",
                )
    return found


def look_at(hub: Hub, session: Session, documents: Sequence[UUID]) -> dict[UUID, MappingError]:
    """`unexplained`, and what it finds waits for a person with cause and euros; what adds up by now waits no more."""
    found = unexplained(hub, session, documents)
    _park(hub, session, found)
    Quarantine(session).added_up([key for key in documents if key not in found], hub.ports.clock.now())
    return found


def _park(hub: Hub, session: Session, documents: Mapping[UUID, MappingError]) -> None:
    reader, quarantine = Documents(session), Quarantine(session)
    for entity, ids in reader.entities_of(list(documents), BOOKED).items():
        for one in reader.load(entity, ids).values():
            error = documents[one.head.record_id]
            quarantine.park(
                hub.ports.ids.new(),
                connection=one.head.connection,
                entity=EntityName.JOURNAL_ENTRY,
                external_id=case_of(entity, one.document.external_id),
                record_id=one.head.record_id,
                cause=error.code,
                message=f"left out of a file of entries: {error.message}",
                field=error.field,
                hint=error.hint,
                at=hub.ports.clock.now(),
            )


def refused_entries(hub: Hub, session: Session, entries: Mapping[UUID, JournalEntry]) -> dict[UUID, MappingError]:
    """The entries that must not go out, by id, each with its reason."""
    documents = Journal(session).documents_by_entry(list(entries))
    by_document = unexplained(hub, session, list(dict.fromkeys(documents.values())))
    found = {key: by_document[document] for key, document in documents.items() if document in by_document}
    summaries = [key for key, entry in entries.items() if entry.kind is EntryKind.SUMMARY]
    for key, held in Journal(session).within(summaries).items():
        error = _summary(hub, session, entries[key], held)
        if error is not None:
            found[key] = error
    for key, entry in entries.items():
        try:
            refuse_locked([entry], accounts=hub.accounts)
        except MappingError as error:
            found.setdefault(key, error)
    return found


def _summary(hub: Hub, session: Session, summary: JournalEntry, held: Sequence[UUID]) -> MappingError | None:
    """Why the entry of a day must not go out: it is not the sum of its entries, or one of them does not add up."""
    journal = Journal(session)
    entries = journal.load(held).values()
    theirs, ours = account_totals([summary]), account_totals(entries)
    for where in sorted({*theirs, *ours}, key=str):
        off = theirs.get(where, Decimal(0)) - ours.get(where, Decimal(0))
        if off:
            return MappingError(
                f"entry {summary.key}, account {where[0]}: it is not the sum of its entries "
                f"({off:+f} {summary.currency})",
                record=summary.key,
                field="posted",
                code=_CENT,
                hint="`comptoir proof --all` names every difference.",
            )
    wrong = unexplained(hub, session, list(dict.fromkeys(journal.documents_by_entry(held).values())))
    return next(iter(wrong.values()), None)


def send_again(hub: Hub, session: Session, documents: Sequence[UUID]) -> None:
    """Entries of these documents that were refused here are looked at once more: they were derived anew.

    With them goes what corrects them, so that no target is given a reversal of what it never had.
    """
    now, outbox = hub.ports.clock.now(), Outbox(session)
    for case in Quarantine(session).refused(EntityName.JOURNAL_ENTRY, _CAUSES, documents):
        record_id, key, source, target = case
        row = new_delivery(
            hub.ports.ids.new(), now, target=target, entity=EntityName.JOURNAL_ENTRY, record_id=record_id,
            source=source, route="again", key=key,
        )  # fmt: skip
        outbox.revive(target, record_id, EntityName.JOURNAL_ENTRY, row)


def look_again(hub: Hub, session: Session) -> None:
    """Entries that were refused for a cent, and whose documents add up by now, go out.

    One run may look at an entry while another derives what it lacks: then nobody would come back to it.
    """
    documents = Quarantine(session).refused_documents(EntityName.JOURNAL_ENTRY, _CENT)
    for first in range(0, len(documents), _BATCH):
        some = documents[first : first + _BATCH]
        wrong = unexplained(hub, session, some)
        send_again(hub, session, [document for document in some if document not in wrong])


def move_out_of_locked(hub: Hub, session: Session) -> None:
    """Entries whose period was closed before anybody was given them: they are derived anew, into the open period."""
    locked: date | None = hub.accounts.locked_until
    if locked is None:
        return
    journal = Journal(session)
    found = journal.never_sent(locked)
    if not found:
        return
    now, ids = hub.ports.clock.now(), [row[0] for row in found]
    why = f"the books were closed until {locked} before it went out"
    for target in hub.links:
        Outbox(session).drop_unsent(target, EntityName.JOURNAL_ENTRY, ids, why, now)
    # What another worker has begun meanwhile is not dropped: it is out.
    kept = journal.given(ids, ("held", "pending", "sent", "in_doubt", "confirmed"))
    moved = [row for row in found if row[0] not in kept]
    for target in hub.links:
        Quarantine(session).resolve_records(target, EntityName.JOURNAL_ENTRY, [row[0] for row in moved], why, now)
    journal.withdraw([row[1] for row in moved], hub.ports.ids.new())
    Dirty(session).mark("journal", sorted({row[2] for row in moved}), now)
