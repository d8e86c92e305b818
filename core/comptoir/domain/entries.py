"""How every entry is made: signed postings in whole cents become lines; what does not balance cannot leave."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from comptoir.domain.accounts import AccountMap
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry, JournalLine, Side
from comptoir.model.money import minor_units, round_money
from comptoir.model.order import PaymentMethod

__all__ = ["Posting", "account_totals", "make_entry", "parked", "signed", "to_minor_units", "total"]

_ZERO = Decimal(0)
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Posting:
    """What an entry does to one account: debit is positive, credit negative."""

    account: str
    amount: Decimal
    label: str | None = None
    vat_code: str | None = None
    vat_rate: Decimal | None = None
    method: PaymentMethod | None = None
    due_on: date | None = None


def parked(record: str, message: str, field: str, code: str, hint: str) -> MappingError:
    """The error that sets one document aside; `record` is how people call it (`payout 4711`)."""
    return MappingError(f"{record}: {message}", record=record, field=field, code=code, hint=hint)


def make_entry(
    postings: Iterable[Posting],
    *,
    accounts: AccountMap,
    key: str,
    kind: EntryKind,
    journal: tuple[str, str],
    piece: str,
    posted_on: date,
    label: str,
    currency: str,
    channel: str,
    document: str,
    titles: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    reference: str | None = None,
    invoice: str | None = None,
) -> JournalEntry | None:
    """The entry of some postings, in their order: zero ones are left out, None when nothing is left.

    `journal` is its code and title; `titles` goes before the titles of the accounts. Raises MappingError for a posting
    that is not in whole minor units; postings that do not sum to zero are a mistake of the caller: ValueError.
    """
    unit = Decimal(1).scaleb(-minor_units(currency))
    titles = titles or {}
    lines = [
        JournalLine(
            account=p.account,
            account_label=titles.get(p.account) or accounts.label(p.account),
            label=p.label or label,
            side=Side.DEBIT if p.amount > 0 else Side.CREDIT,
            amount=_exact(abs(p.amount), unit, document),
            **_given(p),
        )
        for p in postings
        if p.amount
    ]
    if not lines:
        return None
    return JournalEntry(
        key=key,
        kind=kind,
        journal=journal[0],
        journal_label=journal[1],
        piece=piece,
        posted_on=posted_on,
        label=label,
        currency=currency,
        channel=channel,
        document=document,
        lines=tuple(lines),
        flags=tuple(flags),
        reference=reference,
        invoice=invoice,
    )


def _given(posting: Posting) -> dict[str, Any]:
    """What a line has beside its amount; what it does not have need not be validated."""
    found: dict[str, Any] = {}
    if posting.vat_code is not None:
        found["vat_code"] = posting.vat_code
        found["vat_rate"] = posting.vat_rate
    if posting.method is not None:
        found["payment_method"] = posting.method
    if posting.due_on is not None:
        found["due_on"] = posting.due_on
    return found


def _exact(amount: Decimal, unit: Decimal, document: str) -> Decimal:
    whole = amount.quantize(unit)
    if whole != amount:
        raise parked(
            f"document {document}",
            f"it has the amount {amount}, which is finer than {unit}",
            "amount",
            "amount",
            "Money moves in whole cents: look at the amount at its source.",
        )
    return whole


def to_minor_units(
    amounts: Iterable[tuple[_Key, Decimal]], currency: str, whole: Decimal | None = None
) -> list[tuple[_Key, Decimal]]:
    """Amounts by key at the minor unit, whose sum is `whole` (largest remainder), by default the rounded sum of the
    exact ones. `whole` may differ from the exact sum by less than a minor unit.
    """
    unit = Decimal(1).scaleb(-minor_units(currency))
    merged: dict[_Key, Decimal] = {}
    for key, amount in amounts:
        merged[key] = merged.get(key, _ZERO) + amount
    floors = {key: (amount / unit).to_integral_value(rounding="ROUND_FLOOR") for key, amount in merged.items()}
    target = (round_money(total(merged.values()), currency) if whole is None else whole) / unit
    missing = int(target - total(floors.values()))
    order = sorted(merged, key=lambda key: floors[key] - merged[key] / unit)
    for key in order[:missing] if missing > 0 else order[len(order) + missing :]:
        floors[key] += 1 if missing > 0 else -1
    return [(key, floor * unit) for key, floor in floors.items()]


def total(values: Iterable[Decimal]) -> Decimal:
    """The sum."""
    return sum(values, _ZERO)


def signed(line: JournalLine) -> Decimal:
    """A line's amount, debit positive."""
    return line.amount if line.side is Side.DEBIT else -line.amount


def account_totals(entries: Iterable[JournalEntry]) -> dict[tuple[str, str | None], Decimal]:
    """Balance (debit positive) of each account and third party that the entries leave above or below zero."""
    sums: dict[tuple[str, str | None], Decimal] = {}
    for entry in entries:
        for line in entry.lines:
            key = (line.account, line.third_party)
            sums[key] = sums.get(key, _ZERO) + signed(line)
    return {key: amount for key, amount in sums.items() if amount}
