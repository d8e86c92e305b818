"""Periods: what is closed stays closed, and a late document goes to the open period by rule."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import parked
from comptoir.model.accounting import JournalEntry

__all__ = ["into_open_period", "open_day", "refuse_locked"]


def open_day(day: date, *, accounts: AccountMap, today: date) -> date:
    """The day on which something of `day` is posted: that day, or by `late_documents` when its period is closed."""
    locked = accounts.locked_until
    if locked is None or day > locked:
        return day
    first_open = locked + timedelta(days=1)
    return max(first_open, today) if accounts.late_documents == "today" else first_open


def into_open_period(entries: Iterable[JournalEntry], *, accounts: AccountMap, today: date) -> list[JournalEntry]:
    """The entries with their posting days in open periods.

    A moved one keeps its document's day in `document_on` and has the flag `late`. What was posted already must not
    come here: it stays where it is.
    """
    found = []
    for entry in entries:
        day = open_day(entry.posted_on, accounts=accounts, today=today)
        if day != entry.posted_on:
            kept = entry.document_on or entry.posted_on
            entry = entry.model_copy(  # noqa: PLW2901 - the same entry, on another day
                update={"posted_on": day, "document_on": kept, "flags": (*entry.flags, "late")}
            )
        found.append(entry)
    return found


def refuse_locked(entries: Iterable[JournalEntry], *, accounts: AccountMap) -> None:
    """Raises MappingError for an entry in a closed period: the last look before a file is written."""
    for entry in entries:
        if accounts.locked_until is not None and entry.posted_on <= accounts.locked_until:
            raise parked(
                f"entry {entry.key}",
                f"it is dated {entry.posted_on} and the books are closed until {accounts.locked_until}",
                "posted_on",
                "locked_period",
                "Open the period in the books and in accounting.locked_until, or let it go to the open period.",
            )
