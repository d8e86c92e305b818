"""Called for: the journal entries that stored documents call for now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comptoir.domain.journal import derive_entries
from comptoir.domain.payouts import fee_invoice_entry, payout_entries
from comptoir.domain.purchases import supplier_entry
from comptoir.domain.tills import z_entries
from comptoir.engine.hub import Hub
from comptoir.model.accounting import JournalEntry
from comptoir.model.order import Refund
from comptoir.model.purchasing import SupplierInvoice
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.journal import Journal
from comptoir.store.settlements import Settlements

__all__ = ["Wanted", "called_for", "case_of", "refunds_of"]

#: What a document calls for now; MappingError when it cannot be booked.
Wanted = Callable[[Stored], list[JournalEntry]]


def case_of(entity: EntityName, external_id: str) -> str:
    """The id under which a document waits because it cannot be booked: an order's own; others may have the same."""
    return external_id if entity is EntityName.ORDER else f"{entity.value}/{external_id}"


def refunds_of(session: Session, stored: Sequence[Stored]) -> Callable[[Stored], list[Refund]]:
    """The refunds of each of these orders that are not from before the cutover; all are read at once."""
    documents = Documents(session)
    found: dict[tuple[str, str], list[Any]] = {}
    for connection in {s.head.connection for s in stored}:
        ids = [s.document.external_id for s in stored if s.head.connection == connection]
        for external_id, refunds in documents.refunds_of(connection, ids).items():
            found[connection, external_id] = [r.document for r in refunds if not r.head.before_cutover]
    return lambda s: found.get((s.head.connection, s.document.external_id), [])


def called_for(hub: Hub, session: Session, entity: EntityName, stored: Sequence[Stored]) -> Wanted:
    """What calls for the entries of these documents, which are of one entity; everything is read in sets."""
    accounts = hub.accounts
    if entity is EntityName.ORDER:
        refunds = refunds_of(session, stored)
        books = {
            name: accounts.channel(name, invoicing=hub.link(name).invoicing or "self")
            for name in {s.head.connection for s in stored}
        }
        return lambda s: derive_entries(
            s.document,
            refunds(s),
            channel=books[s.head.connection],
            accounts=accounts,
        )
    if entity is EntityName.PAYOUT:
        return lambda s: payout_entries(s.document, accounts=accounts)
    if entity is EntityName.Z_REPORT:
        return lambda s: z_entries(s.document, accounts=accounts)
    journal, settlements = Journal(session), Settlements(session)

    def invoiced(one: Stored) -> list[JournalEntry]:
        invoice: SupplierInvoice = one.document
        if invoice.withheld_by is None:
            return [supplier_entry(invoice, accounts=accounts)]
        payouts = settlements.payouts_named(invoice.withheld_by, invoice.payout_ids)
        others = settlements.invoices_withheld(invoice.withheld_by, invoice.payout_ids)
        posted = journal.of_documents([*payouts, *(key for key in others if key != one.head.record_id)])
        entry = fee_invoice_entry(invoice, [e for of_one in posted.values() for e in of_one], accounts=accounts)
        return [] if entry is None else [entry]

    return invoiced
