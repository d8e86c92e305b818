"""Derive: journal entries of the channels whose sales the hub books.

Orders that changed (or got a refund) were marked in the transaction of their change. Each mark is taken together
with what is derived from it: new entries, their deliveries to the books, or a parked record with its cause. Issued
entries are never edited: what differs is reversed and posted again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from comptoir.domain.accounts import ChannelBooks
from comptoir.domain.corrections import base_key, correct_entries, difference_entries, rewrite_entries
from comptoir.domain.journal import derive_entries
from comptoir.domain.periods import into_open_period
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub
from comptoir.engine.policies import BEFORE_CUTOVER
from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry
from comptoir.model.order import Refund, SalesOrder
from comptoir.model.refs import EntityName
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.journal import Dirty, Journal
from comptoir.store.outbox import Outbox, new_delivery
from comptoir.store.sync import Quarantine, Runs

__all__ = ["derive_journal"]

_BATCH = 200


def derive_journal(hub: Hub, report: RunReport) -> None:
    """Works through the marked orders, a batch per transaction."""
    while True:
        with hub.database.transaction() as session:
            ids = Dirty(session).take("journal", _BATCH)
            if ids:
                _derive(hub, session, ids, report)
        if not ids:
            return


def _derive(hub: Hub, session: Session, ids: Sequence[UUID], report: RunReport) -> None:
    documents = Documents(session)
    orders = documents.load(EntityName.ORDER, ids)
    by_channel: dict[str, list[Stored]] = defaultdict(list)
    for stored in orders.values():
        by_channel[stored.head.connection].append(stored)
    posted = Journal(session).of_documents(list(orders))
    withdrawn = Journal(session).withdrawn_of(list(orders))
    now = hub.ports.clock.now()
    counts = report.entities[EntityName.JOURNAL_ENTRY]
    new: list[tuple[UUID, UUID, JournalEntry]] = []
    deliveries: list[Any] = []
    outcomes: list[Any] = []
    for channel, stored_orders in by_channel.items():
        refunds = documents.refunds_of(channel, [s.document.external_id for s in stored_orders])
        books = hub.accounts.channel(channel, invoicing=hub.link(channel).invoicing or "self")
        done: list[str] = []
        for stored in stored_orders:
            order: SalesOrder = stored.document
            counts.considered += 1
            if stored.head.before_cutover:
                counts.skip(BEFORE_CUTOVER)
                continue
            its_refunds = [r.document for r in refunds.get(order.external_id, ()) if not r.head.before_cutover]
            try:
                entries = _entries(
                    hub, order, its_refunds, books, posted.get(stored.head.record_id, []),
                    withdrawn.get(stored.head.record_id, []), now.date(),
                )  # fmt: skip
            except MappingError as error:
                counts.quarantined += 1
                _park(hub, session, channel, order, error, report, stored.head.record_id)
                outcomes.append(
                    (
                        report.run_id, channel, EntityName.JOURNAL_ENTRY.value, order.external_id, "parked",
                        error.code,
                    )
                )  # fmt: skip
                continue
            done.append(order.external_id)
            if not entries:
                counts.unchanged += 1
                continue
            counts.changed += 1
            for entry in entries:
                entry_id = hub.ports.ids.new()
                new.append((entry_id, stored.head.record_id, entry))
                for route in hub.routes.values():
                    if route.from_hub and route.entity is EntityName.JOURNAL_ENTRY:
                        deliveries.extend(
                            new_delivery(
                                hub.ports.ids.new(), now, target=target, entity=EntityName.JOURNAL_ENTRY,
                                record_id=entry_id, source=channel, route=route.name, key=entry.key,
                            )
                            for target in route.targets
                        )  # fmt: skip
        Quarantine(session).resolve(channel, EntityName.JOURNAL_ENTRY, done, "its entries could be derived", now)
    Journal(session).append(new, now)
    Outbox(session).add(deliveries)
    Runs(session).outcomes(outcomes)


def _entries(
    hub: Hub,
    order: SalesOrder,
    refunds: list[Refund],
    books: ChannelBooks,
    posted: list[JournalEntry],
    withdrawn: list[JournalEntry],
    today: date,
) -> list[JournalEntry]:
    """What must be added to the journal for an order: corrections of what is posted, in open periods; what was taken
    back from the books is written again under its piece."""
    wanted = derive_entries(order, refunds, channel=books, accounts=hub.accounts)
    standing = {base_key(entry.key) for entry in posted}
    taken_back = [entry for entry in withdrawn if base_key(entry.key) not in standing]
    again = {base_key(entry.key) for entry in taken_back}
    redone = rewrite_entries(taken_back, [entry for entry in wanted if entry.key in again]).entries
    correct = difference_entries if hub.accounts.corrections == "difference" else correct_entries
    added = correct(posted, [entry for entry in wanted if entry.key not in again], posted_on=today)
    return [*redone, *into_open_period(added, accounts=hub.accounts, today=today)]


def _park(
    hub: Hub,
    session: Session,
    channel: str,
    order: SalesOrder,
    error: MappingError,
    report: RunReport,
    record_id: UUID,
) -> None:
    Quarantine(session).park(
        hub.ports.ids.new(),
        connection=channel,
        entity=EntityName.JOURNAL_ENTRY,
        external_id=order.external_id,
        record_id=record_id,
        cause=error.code,
        message=f"order {order.number} on {channel} cannot be booked: {error.message}",
        field=error.field,
        hint=error.hint,
        at=hub.ports.clock.now(),
    )
