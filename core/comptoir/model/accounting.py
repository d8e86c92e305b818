"""Accounting: journal entries as derived documents. Amounts are positive; a side says debit or credit."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal

from pydantic import Field, model_validator

from comptoir.model.base import Amount, Canonical, Code, Currency, Percent, Personal, Text
from comptoir.model.money import Money
from comptoir.model.order import PaymentMethod

__all__ = ["AnalyticShare", "EntryKind", "JournalEntry", "JournalLine", "Side"]


class Side(enum.StrEnum):
    DEBIT = "D"
    CREDIT = "C"


class EntryKind(enum.StrEnum):
    """What an entry is about. Writers that know types of pieces (FC, AC, RC, FF, AF, OD) derive them from it."""

    SALE = "sale"
    PAYMENT = "payment"
    CREDIT_NOTE = "credit_note"
    REFUND_PAYMENT = "refund_payment"
    DEPOSIT = "deposit"
    GIFT_CARD = "gift_card"
    SUMMARY = "summary"
    TILL = "till"
    CASH_DIFFERENCE = "cash_difference"
    TRANSFER = "transfer"
    PAYOUT = "payout"
    FEE = "fee"
    FEE_VAT = "fee_vat"
    CHARGEBACK = "chargeback"
    PURCHASE = "purchase"
    PURCHASE_CREDIT = "purchase_credit"
    TAX_PAYMENT = "tax_payment"
    DIFFERENCE = "difference"
    REVERSAL = "reversal"


class AnalyticShare(Canonical):
    """The part of a line's amount that belongs to one section of one analytic plan."""

    plan: Code
    section: Code
    amount: Amount


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
    payment_method: PaymentMethod | None = Field(default=None, description="Of the line that moves the money")
    vat_code: Code | None = Field(
        default=None,
        description="Scheme, country and rate such as domestic-FR-20, on revenue, cost and VAT lines; None: mixed",
    )
    vat_rate: Percent | None = None
    analytic: tuple[AnalyticShare, ...] = ()
    foreign: Money | None = Field(default=None, description="What was paid, where it was in another currency")


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
    document_on: date | None = Field(
        default=None, description="The document's own day, where it is not `posted_on`: it came when that was closed"
    )
    reference: Code | None = Field(
        default=None, description="What the other side calls it: order, payout, their invoice"
    )
    invoice: Code | None = Field(default=None, description="Number of the invoice or credit note that it belongs to")

    @model_validator(mode="after")
    def _balanced(self) -> JournalEntry:
        debit = sum((x.amount for x in self.lines if x.side is Side.DEBIT), Decimal(0))
        credit = sum((x.amount for x in self.lines if x.side is Side.CREDIT), Decimal(0))
        if debit != credit:
            raise ValueError(f"entry {self.key} does not balance: debit {debit}, credit {credit}")
        if any(x.amount < 0 for x in self.lines):
            raise ValueError(f"entry {self.key} has a negative amount; swap the side instead")
        for line in self.lines:
            if line.analytic:
                _check_split(line, self.key)
        return self

    @property
    def total(self) -> Decimal:
        """The sum of one side."""
        return sum((x.amount for x in self.lines if x.side is Side.DEBIT), Decimal(0))


def _check_split(line: JournalLine, key: str) -> None:
    plans: dict[str, Decimal] = {}
    for share in line.analytic:
        plans[share.plan] = plans.get(share.plan, Decimal(0)) + share.amount
    for plan, whole in plans.items():
        if whole != line.amount:
            raise ValueError(f"entry {key}: the sections of the plan {plan} sum to {whole}, the line is {line.amount}")
