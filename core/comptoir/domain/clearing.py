"""Whether accounts that must clear do, and if not, why (sales-accounting §0.5, §12).

A gateway's or marketplace's account returns to zero after each payout; what stands there is explained item by item:
payments no payout has listed yet, payouts of orders that are not booked, reserves, and what a payout does not explain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap
from comptoir.domain.corrections import base_key
from comptoir.domain.entries import signed, total
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.payout import Payout, PayoutLineKind

__all__ = ["REASONS", "Clearing", "OpenItem", "clearing", "negative_cash", "open_items"]

_ZERO = Decimal(0)
_OF_PAYOUTS = (EntryKind.PAYOUT, EntryKind.CHARGEBACK, EntryKind.FEE, EntryKind.FEE_VAT)
#: What each reason means, and who can do something about it.
REASONS: dict[str, str] = {
    "not_paid_out": "paid by the customer after the last payout's period; the next payout brings it",
    "not_listed": "paid by the customer, older than the last payout, and no payout lists it: ask the provider",
    "not_booked": "a payout lists it and its payment is not booked: look for a parked order",
    "amount_differs": "a payout lists another amount than the one that was booked",
    "no_order": "a payout lists it and names no order",
    "opening": "a payout lists it and it was sold before the cutover: it belongs into the opening balance",
    "reserve": "kept by the provider as a reserve",
    "carried": "kept by the provider from one payout to the next",
    "remainder": "transferred beyond (or below) what the payout's lines explain: ask the provider",
}


@dataclass(frozen=True, slots=True)
class OpenItem:
    """A part of a balance (debit positive): a code of `REASONS`, the order or payout that it is about."""

    reason: str
    document: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Clearing:
    """A provider's account on a day. `unexplained` is zero unless an entry is missing, foreign or altered."""

    provider: str
    account: str
    balance: Decimal
    items: tuple[OpenItem, ...]

    @property
    def unexplained(self) -> Decimal:
        return self.balance - total(item.amount for item in self.items)


def clearing(
    provider: str,
    entries: Iterable[JournalEntry],
    payouts: Sequence[Payout],
    *,
    accounts: AccountMap,
    as_of: date,
    opening: Collection[str] = (),
) -> Clearing:
    """The balance of a provider's account and every reason for it.

    `entries` is the journal (others are ignored), `payouts` all of this provider's that are booked; what is later than
    `as_of` does not count. `opening` are lines about orders from before the cutover, as `<payout id>/<line id>`.
    Raises KeyError when the map has no such provider.
    """
    settings = accounts.on(as_of).providers[provider]
    done = sorted((p for p in payouts if p.paid_on <= as_of), key=lambda p: (p.period_end, p.external_id))
    last = done[-1].period_end if done else date.min
    booked: dict[str, Decimal] = {}
    recent: dict[str, Decimal] = {}  # what of it is later than the last payout's period
    balance = _ZERO
    for entry in entries:
        if entry.posted_on > as_of:
            continue
        moved = total(signed(line) for line in entry.lines if line.account == settings.account)
        balance += moved
        if moved and not _of_payout(entry, provider):
            booked[entry.document] = booked.get(entry.document, _ZERO) + moved
            if entry.posted_on > last:
                recent[entry.document] = recent.get(entry.document, _ZERO) + moved
    listed: dict[str, Decimal] = {}
    items: list[OpenItem] = []
    for payout in done:
        for line in payout.lines:
            if line.kind in (PayoutLineKind.SALE, PayoutLineKind.REFUND) and settings.clears == "orders":
                if f"{payout.external_id}/{line.external_id}" in opening:
                    items.append(OpenItem("opening", line.order_number or payout.number, -line.amount))
                elif line.order_number is None:
                    items.append(OpenItem("no_order", f"{payout.number}/{line.external_id}", -line.amount))
                else:
                    listed[line.order_number] = listed.get(line.order_number, _ZERO) + line.amount
        items.append(
            OpenItem(
                "reserve",
                payout.number,
                -total(line.amount for line in payout.lines if line.kind is PayoutLineKind.RESERVE),
            )
        )
        items.append(OpenItem("carried", payout.number, payout.closing - payout.opening))
        if abs(payout.remainder) > settings.tolerance:
            items.append(OpenItem("remainder", payout.number, -payout.remainder))
    for document in {**booked, **listed}:
        amount = booked.get(document, _ZERO) - listed.get(document, _ZERO)
        of_next = recent.get(document, _ZERO)
        if document not in listed:
            items += [OpenItem("not_paid_out", document, of_next), OpenItem("not_listed", document, amount - of_next)]
        elif document not in booked:
            items.append(OpenItem("not_booked", document, amount))
        else:
            # Given back after the last payout: the sale was listed, the refund will be.
            reason = "not_paid_out" if amount == of_next else "amount_differs"
            items.append(OpenItem(reason, document, amount))
    return Clearing(provider, settings.account, balance, tuple(item for item in items if item.amount))


def _of_payout(entry: JournalEntry, provider: str) -> bool:
    """An entry of a payout, or what corrects one."""
    if entry.channel != provider:
        return False
    if entry.kind in (EntryKind.REVERSAL, EntryKind.DIFFERENCE):
        key = base_key(entry.key)
        return key.endswith("/payout") or "/dispute/" in key
    return entry.kind in _OF_PAYOUTS


def open_items(entries: Iterable[JournalEntry], account: str) -> dict[str, Decimal]:
    """What each document leaves open on an account: orders that are not paid on a 411, cards on a 4191 ..."""
    sums: dict[str, Decimal] = {}
    for entry in entries:
        for line in entry.lines:
            if line.account == account:
                sums[entry.document] = sums.get(entry.document, _ZERO) + signed(line)
    return {document: amount for document, amount in sums.items() if amount}


def negative_cash(entries: Iterable[JournalEntry], account: str, opening: Decimal = _ZERO) -> dict[date, Decimal]:
    """The days at whose end a cash account stands below zero, which no drawer does."""
    moved: dict[date, Decimal] = {}
    for entry in entries:
        for line in entry.lines:
            if line.account == account:
                moved[entry.posted_on] = moved.get(entry.posted_on, _ZERO) + signed(line)
    found: dict[date, Decimal] = {}
    balance = opening
    for day in sorted(moved):
        balance += moved[day]
        if balance < 0:
            found[day] = balance
    return found
