"""Accounting: journal entries as derived documents. Amounts are positive; a side says debit or credit."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal

from pydantic import model_validator

from comptoir.model.base import Amount, Canonical, Code, Currency, Personal, Text

__all__ = ["EntryKind", "JournalEntry", "JournalLine", "Side"]


class Side(enum.StrEnum):
    DEBIT = "D"
    CREDIT = "C"


class EntryKind(enum.StrEnum):
    SALE = "sale"
    PAYMENT = "payment"
    CREDIT_NOTE = "credit_note"
    REFUND_PAYMENT = "refund_payment"
    REVERSAL = "reversal"


class JournalLine(Canonical):
    """One line: a general account, optionally a third party, one side, a positive amount in cents."""

    account: Code
    account_label: Text
    third_party: Code | None = None
    third_party_label: Personal | None = None
    label: Text
    side: Side
    amount: Amount
    due_on: date | None = None


class JournalEntry(Canonical):
    """A balanced entry of one document; issued once, corrected by a reversal and a new entry, never edited."""

    key: Code
    kind: EntryKind
    journal: Code
    journal_label: Text
    piece: Code
    posted_on: date
    label: Text
    currency: Currency
    channel: Code
    document: Code
    lines: tuple[JournalLine, ...]
    reverses: Code | None = None
    flags: tuple[Code, ...] = ()

    @model_validator(mode="after")
    def _balanced(self) -> JournalEntry:
        debit = sum((x.amount for x in self.lines if x.side is Side.DEBIT), Decimal(0))
        credit = sum((x.amount for x in self.lines if x.side is Side.CREDIT), Decimal(0))
        if debit != credit:
            raise ValueError(f"entry {self.key} does not balance: debit {debit}, credit {credit}")
        if any(x.amount < 0 for x in self.lines):
            raise ValueError(f"entry {self.key} has a negative amount; swap the side instead")
        return self

    @property
    def total(self) -> Decimal:
        """The sum of one side."""
        return sum((x.amount for x in self.lines if x.side is Side.DEBIT), Decimal(0))
