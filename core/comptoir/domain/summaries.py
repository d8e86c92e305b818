"""One entry for each day instead of one for each document, where the accountant has approved it.

Daily summaries of consumer sales are a tolerance for tills (their Z). Elsewhere the configuration names who approved
them (`posting = "day"`, `summary_approved_by`). The documents' own entries stay in the hub; the piece refers to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.domain.entries import Posting, make_entry, parked, signed
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.order import PaymentMethod

__all__ = ["belongs_to_day", "summarise", "summary_key"]

_Line = tuple[str, str | None, Decimal | None, PaymentMethod | None]
_SUMMED = (EntryKind.SALE, EntryKind.CREDIT_NOTE, EntryKind.PAYMENT, EntryKind.REFUND_PAYMENT)
_MARKS = {
    EntryKind.SALE: "V", EntryKind.CREDIT_NOTE: "A", EntryKind.PAYMENT: "R", EntryKind.REFUND_PAYMENT: "B"
}  # fmt: skip


def belongs_to_day(entry: JournalEntry, *, channel: ChannelBooks) -> bool:
    """The entry is one of those that a summary of its day holds: a consumer's, without an invoice of its own."""
    if entry.channel != channel.connection or entry.kind not in _SUMMED or entry.invoice:
        return False
    return any(line.account == channel.customer_account for line in entry.lines)


def summary_key(connection: str, day: date, kind: EntryKind, journal: str) -> str:
    """The key of the summary that entries of this day, kind and journal go into."""
    return f"{connection}/{day}/{kind.value}/{journal}"


def summarise(entries: Iterable[JournalEntry], *, channel: ChannelBooks, accounts: AccountMap) -> list[JournalEntry]:
    """The entries with those of consumers summed by day, kind and journal; others stay as they are.

    Debits and credits of an account are not offset, so that turnover stays visible; companies with an account of
    their own, entries with an invoice number of their own, and kinds other than sales, credit notes and their
    payments are not summed. Key: `<channel>/<day>/<kind>/<journal>`; `document` is the day.

    Raises MappingError when the channel's configuration names nobody who approved it.
    """
    if channel.posting != "day" or channel.summary_approved_by is None:
        raise parked(
            f"channel {channel.connection}",
            "daily summaries are not approved",
            "summary_approved_by",
            "summary_not_approved",
            f'Ask the accountant, then set accounting.channels.{channel.connection}.posting = "day" and '
            "summary_approved_by; without it each document has its entry.",
        )
    kept: list[JournalEntry] = []
    days: dict[tuple[date, EntryKind, str, str], list[JournalEntry]] = {}
    for entry in entries:
        if belongs_to_day(entry, channel=channel):
            days.setdefault((entry.posted_on, entry.kind, entry.journal, entry.journal_label), []).append(entry)
        else:
            kept.append(entry)
    for (day, kind, journal, title), group in days.items():
        sums: dict[tuple[_Line, bool], Decimal] = {}
        for entry in group:
            for line in entry.lines:
                key = ((line.account, line.vat_code, line.vat_rate, line.payment_method), signed(line) > 0)
                sums[key] = sums.get(key, Decimal(0)) + signed(line)
        summed = make_entry(
            [Posting(a, amount, vat_code=c, vat_rate=r, method=m) for ((a, c, r, m), _), amount in sums.items()],
            accounts=accounts,
            key=summary_key(channel.connection, day, kind, journal),
            kind=EntryKind.SUMMARY,
            journal=(journal, title),
            piece=f"{channel.piece_prefix}{day:%y%m%d}{_MARKS[kind]}{journal}",
            posted_on=day,
            label=f"{channel.label} {day:%d/%m/%Y} ({len(group)} pieces)",
            currency=channel.currency,
            channel=channel.connection,
            document=day.isoformat(),
            titles={channel.customer_account: channel.customer_label},
            flags=sorted({flag for entry in group for flag in entry.flags}),
        )
        if summed is not None:
            kept.append(summed)
    return sorted(kept, key=lambda entry: (entry.posted_on, entry.key))
