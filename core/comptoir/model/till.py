"""Tills: the daily closing (Z) of a cash register. Totals are the till's own; tickets are never rewritten."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import Field

from comptoir.model.base import Amount, Canonical, Code, Currency, Instant, Percent, Quantity, Text
from comptoir.model.money import TaxScheme
from comptoir.model.order import PaymentMethod

__all__ = ["CashMovement", "TenderTotal", "TillSales", "ZReport"]


class TillSales(Canonical):
    """What was sold at one rate: `net` and `tax` after discounts and returns, as the till printed them."""

    rate: Percent
    net: Amount
    tax: Amount
    scheme: TaxScheme = TaxScheme.DOMESTIC


class TenderTotal(Canonical):
    """What one means of payment brought in; negative when more was given back."""

    method: PaymentMethod
    source_method: Text | None = None
    amount: Amount


class CashMovement(Canonical):
    """Cash taken out of the drawer towards the bank (positive amount)."""

    external_id: Code
    amount: Amount
    taken_on: date
    arrived_on: date | None = Field(default=None, description="The day that the bank credited it")


class ZReport(Canonical):
    """One closing: sales by rate and tenders, which must agree; what was counted, and what left the drawer."""

    external_id: Code
    till: Code
    number: Code
    closed_on: date = Field(description="The business day that the closing belongs to")
    closed_at: Instant | None = None
    currency: Currency
    sales: tuple[TillSales, ...]
    tenders: tuple[TenderTotal, ...]
    gift_cards_sold: Amount = Field(default=Decimal(0), description="Multi-purpose cards, without VAT")
    on_account: Amount = Field(default=Decimal(0), description="Sold and not paid: the customers owe it")
    old_invoices: Amount = Field(default=Decimal(0), description="Payments received for earlier invoices")
    cash_expected: Amount | None = None
    cash_counted: Amount | None = None
    movements: tuple[CashMovement, ...] = ()
    tickets: Quantity | None = None
