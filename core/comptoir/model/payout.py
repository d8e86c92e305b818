"""Payouts: what a payment gateway or marketplace collected, kept and transferred.

Amounts are signed as the merchant sees them: positive increases what the provider owes the merchant. Every payout is
the sum of its lines and of what was carried from one to the next; what is left over is never hidden.
"""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal

from pydantic import Field

from comptoir.model.base import Amount, Canonical, Code, Currency, Percent, Personal, Text

__all__ = ["Fee", "Payout", "PayoutLine", "PayoutLineKind"]


class PayoutLineKind(enum.StrEnum):
    """What a line of a settlement is. A connector maps every word of its platform; an unknown word parks."""

    SALE = "sale"
    REFUND = "refund"
    FEE = "fee"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    RESERVE = "reserve"
    LOAN = "loan"
    LOAN_REPAYMENT = "loan_repayment"
    ADJUSTMENT = "adjustment"
    EXCHANGE = "exchange"
    TAX_COLLECTED = "tax_collected"
    TAX_WITHHELD = "tax_withheld"


class Fee(Canonical):
    """A fee that was withheld; negative when it was given back. `tax` None: the statement does not show it, and `net`
    is what was withheld.
    """

    kind: Code
    net: Amount
    tax: Amount | None = None
    rate: Percent | None = None

    @property
    def withheld(self) -> Decimal:
        """What the provider kept."""
        return self.net + (self.tax or Decimal(0))


class PayoutLine(Canonical):
    """One line: its amount before fees, and the fees withheld from it."""

    external_id: Code
    kind: PayoutLineKind
    source_kind: Code = Field(description="The platform's own word")
    occurred_on: date
    order_number: Code | None = None
    amount: Amount
    fees: tuple[Fee, ...] = ()
    label: Text | None = None

    @property
    def net(self) -> Decimal:
        """What the line adds to the payout."""
        return self.amount - sum((fee.withheld for fee in self.fees), Decimal(0))


class Payout(Canonical):
    """A settlement: `opening` + its lines = `amount` (transferred) + `closing` (kept for the next one)."""

    external_id: Code
    provider: Code = Field(description="The name under [accounting.providers]")
    number: Code
    period_start: date
    period_end: date
    paid_on: date
    currency: Currency
    amount: Amount
    opening: Amount = Decimal(0)
    closing: Amount = Decimal(0)
    lines: tuple[PayoutLine, ...] = ()
    bank_ref: Personal | None = None

    @property
    def remainder(self) -> Decimal:
        """What was transferred beyond what the lines explain; zero when the settlement adds up."""
        return self.amount + self.closing - self.opening - sum((line.net for line in self.lines), Decimal(0))
