"""Summaries: what goes out as one entry of its day, where the accountant has approved it.

The documents' own entries stay in the journal; they wait for the end of their day, and one entry for each kind and
journal goes out in their place (`posting = "day"`, `summary_approved_by`).
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from comptoir.domain.accounts import ChannelBooks
from comptoir.domain.summaries import belongs_to_day, summarise, summary_key
from comptoir.engine.held_back import look_at
from comptoir.engine.hub import Hub
from comptoir.model.accounting import JournalEntry
from comptoir.model.refs import EntityName
from comptoir.store.database import Row, Session
from comptoir.store.journal import Dirty, Journal
from comptoir.store.outbox import Outbox, new_delivery

__all__ = ["deliveries_of", "goes_with_its_day", "sum_up_days"]


def deliveries_of(hub: Hub, entry_id: UUID, key: str, source: str) -> list[Row]:
    """The deliveries of an entry to the books."""
    return [
        new_delivery(
            hub.ports.ids.new(), hub.ports.clock.now(), target=target, entity=EntityName.JOURNAL_ENTRY,
            record_id=entry_id, source=source, route=route.name, key=key,
        )
        for route in hub.routes.values()
        if route.from_hub and route.entity is EntityName.JOURNAL_ENTRY
        for target in route.targets
    ]  # fmt: skip


def goes_with_its_day(hub: Hub, entry: JournalEntry) -> bool:
    """Whether an entry does not go out itself, but within the one of its day."""
    channel = _channel(hub, entry.channel)
    return channel is not None and channel.posting == "day" and belongs_to_day(entry, channel=channel)


def _channel(hub: Hub, connection: str) -> ChannelBooks | None:
    link = hub.links.get(connection)
    return None if link is None else hub.accounts.channel(connection, invoicing=link.invoicing or "self")


def sum_up_days(hub: Hub) -> None:
    """Sums up the days that are over, each in a transaction of its own.

    Entries of a channel that is no longer posted by day go out by themselves.
    """
    with hub.database.transaction() as session:
        days = Journal(session).days_to_sum()
    today = hub.today
    for connection, day in days:
        channel = _channel(hub, connection)
        if channel is None or (channel.posting == "day" and day >= today):
            continue
        with hub.database.transaction() as session:
            _day(hub, session, channel, day)


def _day(hub: Hub, session: Session, channel: ChannelBooks, day: date) -> None:
    journal, outbox, now = Journal(session), Outbox(session), hub.ports.clock.now()
    ids = journal.take_day(channel.connection, day)
    entries = journal.load(ids)
    if channel.posting != "day":
        for key in ids:
            outbox.add(deliveries_of(hub, key, entries[key].key, channel.connection))
        return
    # What does not add up waits, and goes into another entry of its day once it is put right.
    documents = journal.documents_by_entry(ids)
    wrong = look_at(hub, session, list(dict.fromkeys(documents.values())))
    Dirty(session).mark("summary", [key for key in ids if documents[key] in wrong], now)
    sound = {key: entries[key] for key in ids if documents[key] not in wrong}
    for summary in summarise(sound.values(), channel=channel, accounts=hub.accounts.on(day)):
        entry_id = hub.ports.ids.new()
        held = [key for key, entry in sound.items() if _into(channel, entry) == summary.key]
        made = _numbered(journal, summary)
        journal.append([(entry_id, entry_id, made)], now)
        journal.put_into(entry_id, held)
        outbox.add(deliveries_of(hub, entry_id, made.key, channel.connection))


def _into(channel: ChannelBooks, entry: JournalEntry) -> str:
    return summary_key(channel.connection, entry.posted_on, entry.kind, entry.journal)


def _numbered(journal: Journal, summary: JournalEntry) -> JournalEntry:
    """A second entry of the same day (an order that came late) has a number of its own."""
    number, made = 1, summary
    while journal.owners([made.key]):
        number += 1
        made = summary.model_copy(update={"key": f"{summary.key}/{number}", "piece": f"{summary.piece}-{number}"})
    return made
