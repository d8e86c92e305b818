"""Derive: journal entries of the documents that the hub books: orders, payouts, Z closings, supplier invoices.

Documents that changed (or orders that got a refund) were marked in the transaction of their change. Each mark is taken
together with what is derived from it: new entries, their deliveries to the books, or a parked record with its cause.
Issued entries are never edited: what differs is reversed and posted again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from comptoir.domain.corrections import base_key, correct_entries, difference_entries, rewrite_entries
from comptoir.domain.entries import parked, signed, total
from comptoir.domain.periods import into_open_period
from comptoir.engine.called_for import called_for, case_of
from comptoir.engine.counts import RunReport
from comptoir.engine.held_back import look_again, move_out_of_locked, send_again
from comptoir.engine.hub import BOOKED, Hub
from comptoir.engine.policies import BEFORE_CUTOVER, NAMES_HISTORY
from comptoir.engine.summaries import deliveries_of, goes_with_its_day, sum_up_days
from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry
from comptoir.model.payout import Payout
from comptoir.model.purchasing import SupplierInvoice
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.journal import Dirty, Journal
from comptoir.store.outbox import Outbox
from comptoir.store.settlements import Settlements
from comptoir.store.sync import OpeningItems, Quarantine, Runs

__all__ = ["derive_journal"]

_BATCH = 200
_WORDS = {
    EntityName.ORDER: "order",
    EntityName.PAYOUT: "payout",
    EntityName.Z_REPORT: "Z",
    EntityName.SUPPLIER_INVOICE: "invoice",
}


def derive_journal(hub: Hub, report: RunReport) -> None:
    """Works through the marked documents, a batch per transaction."""
    with hub.database.transaction() as session:
        move_out_of_locked(hub, session)
    while True:
        with hub.database.transaction() as session:
            ids = Dirty(session).take("journal", _BATCH)
            for entity, found in Documents(session).entities_of(ids, BOOKED).items():
                _Derivation(hub, session, report).derive(entity, found)
        if not ids:
            break
    with hub.database.transaction() as session:
        look_again(hub, session)
    sum_up_days(hub)


class _Derivation:
    """What follows from documents of one entity, in one transaction."""

    def __init__(self, hub: Hub, session: Session, report: RunReport) -> None:
        self._hub = hub
        self._session = session
        self._report = report
        self._counts = report.entities[EntityName.JOURNAL_ENTRY]
        self._now = hub.ports.clock.now()
        self._documents = Documents(session)
        self._new: list[tuple[UUID, UUID, JournalEntry]] = []
        self._deliveries: list[Any] = []
        self._of_days: list[UUID] = []
        self._outcomes: list[Any] = []

    def derive(self, entity: EntityName, ids: Sequence[UUID]) -> None:
        """Adds what these documents call for to the journal and to the outbox."""
        stored = list(self._documents.load(entity, ids).values())
        journal = Journal(self._session)
        posted = journal.of_documents([s.head.record_id for s in stored])
        withdrawn = journal.withdrawn_of([s.head.record_id for s in stored])
        wanted = called_for(self._hub, self._session, entity, stored)
        done: dict[str, list[str]] = defaultdict(list)
        for one in stored:
            self._counts.considered += 1
            connection, case = one.head.connection, case_of(entity, one.document.external_id)
            reason = BEFORE_CUTOVER if one.head.before_cutover else self._not_ours(entity, connection)
            if reason is None and entity is EntityName.SUPPLIER_INVOICE and self._of_history(one):
                reason = NAMES_HISTORY
            if reason is not None:
                self._counts.skip(reason)
                continue
            try:
                entries = self._missing(
                    wanted(one), posted.get(one.head.record_id, []), withdrawn.get(one.head.record_id, [])
                )
                if entity is not EntityName.ORDER:  # an order's keys hold its own id on its connection
                    self._not_taken(entity, one, entries)
            except MappingError as error:
                self._park(entity, one, error)
                continue
            done[connection].append(case)
            self._follows(entity, one)
            self._counts.changed += bool(entries)
            self._counts.unchanged += not entries
            for entry in entries:
                self._add(one, entry)
        for connection, cases in done.items():
            Quarantine(self._session).resolve(
                connection, EntityName.JOURNAL_ENTRY, cases, "its entries could be derived", self._now
            )
        journal.append(self._new, self._now)
        Dirty(self._session).mark("summary", self._of_days, self._now)
        Outbox(self._session).add(self._deliveries)
        Runs(self._session).outcomes(self._outcomes)
        send_again(self._hub, self._session, [s.head.record_id for s in stored])

    def _not_ours(self, entity: EntityName, connection: str) -> str | None:
        """Why documents of this kind are not booked from there (any more), or None."""
        link = self._hub.link(connection)
        if entity in link.booked or (entity is EntityName.ORDER and not link.posts_by_hub):
            return None  # sales whose authority has changed are parked, not passed over
        return "booked with its Z closing" if entity is EntityName.ORDER else "not booked by the hub"

    def _of_history(self, one: Stored) -> bool:
        """A fee invoice of payouts from before the cutover: its VAT waits in the books that were kept then."""
        invoice: SupplierInvoice = one.document
        if invoice.withheld_by is None:
            return False
        if not Settlements(self._session).all_before_cutover(invoice.withheld_by, invoice.payout_ids):
            return False
        OpeningItems(self._session).add(
            self._hub.ports.ids.new(),
            connection=one.head.connection,
            entity=EntityName.SUPPLIER_INVOICE,
            external_id=invoice.external_id,
            names=f"payouts {', '.join(invoice.payout_ids)}",
            amount=total(line.tax for line in invoice.lines),
            currency=invoice.currency,
            dated_on=invoice.issued_on,
            reason="VAT of fees that were withheld before the cutover",
            at=self._now,
        )
        return True

    def _missing(
        self, wanted: list[JournalEntry], posted: list[JournalEntry], withdrawn: list[JournalEntry]
    ) -> list[JournalEntry]:
        """What must be added to the journal for a document: corrections of what is posted, in open periods; what was
        taken back from the books is written again under its piece."""
        _whole(posted)
        accounts, today = self._hub.accounts, self._hub.today
        standing = {base_key(entry.key) for entry in posted}
        taken_back = [entry for entry in withdrawn if base_key(entry.key) not in standing]
        again = {base_key(entry.key) for entry in taken_back}
        redone = rewrite_entries(taken_back, [entry for entry in wanted if entry.key in again]).entries
        correct = difference_entries if accounts.corrections == "difference" else correct_entries
        added = correct(posted, [entry for entry in wanted if entry.key not in again], posted_on=today)
        return into_open_period([*redone, *added], accounts=accounts, today=today)

    def _not_taken(self, entity: EntityName, one: Stored, entries: Sequence[JournalEntry]) -> None:
        """Two records of one document (a payout that two connections give, a number used twice) are booked once."""
        owners = Journal(self._session).owners([entry.key for entry in entries])
        owners.update({entry.key: document for _, document, entry in self._new})
        other = next((e for e in entries if owners.get(e.key, one.head.record_id) != one.head.record_id), None)
        if other is not None:
            raise parked(
                f"{_WORDS[entity]} {_number(one)}",
                f"{base_key(other.key)} is booked already, from another record",
                "external_id",
                "booked_twice",
                "It would be in the books twice: delete the record that is wrong at its source, or give the document "
                "its own number.",
            )

    def _add(self, one: Stored, entry: JournalEntry) -> None:
        hub, entry_id = self._hub, self._hub.ports.ids.new()
        self._new.append((entry_id, one.head.record_id, entry))
        if goes_with_its_day(hub, entry):
            self._of_days.append(entry_id)
            return
        self._deliveries += deliveries_of(hub, entry_id, entry.key, one.head.connection)

    def _follows(self, entity: EntityName, one: Stored) -> None:
        """A payout: the fee invoices that wait for it are looked at again, and what it lists of history is listed."""
        if entity is not EntityName.PAYOUT:
            return
        payout: Payout = one.document
        settlements = Settlements(self._session)
        waiting = settlements.invoices_withheld(payout.provider, [payout.external_id])
        Dirty(self._session).mark("journal", waiting, self._now)
        opening = OpeningItems(self._session)
        opening.forget(one.head.connection, EntityName.PAYOUT, f"{payout.external_id}/")
        cutover = self._hub.link(one.head.connection).cutover
        named = {line.order_number for line in payout.lines if line.order_number is not None}
        history = settlements.numbers_known(sorted(named)) if named else {}
        for line in payout.lines:
            number = line.order_number
            unknown_and_old = cutover is not None and line.occurred_on < cutover
            if number is None or not line.amount or not history.get(number, unknown_and_old):
                continue
            opening.add(
                self._hub.ports.ids.new(),
                connection=one.head.connection,
                entity=EntityName.PAYOUT,
                external_id=f"{payout.external_id}/{line.external_id}",
                names=f"order {number}",
                amount=line.amount,
                currency=payout.currency,
                dated_on=payout.paid_on,
                reason="paid out after the cutover, sold before",
                at=self._now,
            )

    def _park(self, entity: EntityName, one: Stored, error: MappingError) -> None:
        connection, case = one.head.connection, case_of(entity, one.document.external_id)
        self._counts.quarantined += 1
        Quarantine(self._session).park(
            self._hub.ports.ids.new(),
            connection=connection,
            entity=EntityName.JOURNAL_ENTRY,
            external_id=case,
            record_id=one.head.record_id,
            cause=error.code,
            message=f"{_WORDS[entity]} {_number(one)} on {connection} cannot be booked: {error.message}",
            field=error.field,
            hint=error.hint,
            at=self._now,
        )
        self._outcomes.append(
            (self._report.run_id, connection, EntityName.JOURNAL_ENTRY.value, case, "parked", error.code)
        )


def _whole(posted: Sequence[JournalEntry]) -> None:
    """An entry that does not balance was altered in the store: its reversal would be as wrong."""
    for entry in posted:
        off = total(signed(line) for line in entry.lines)
        if off:
            raise parked(
                f"entry {entry.key}",
                f"it does not balance any more ({off:+f} {entry.currency}): somebody has altered it in the database",
                "posted",
                "unexplained_cent",
                "`comptoir proof` names the account; put the amount right in the database, then `comptoir books redo`.",
            )


def _number(one: Stored) -> str:
    return str(one.document.number)
