"""Purchasing: the invoices of suppliers, of carriers, and of those who withhold their fees from payouts."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal

from pydantic import Field

from comptoir.model.base import Amount, Canonical, Code, Currency, Percent, Text

__all__ = ["PurchaseRegime", "SupplierInvoice", "SupplierInvoiceLine"]


class PurchaseRegime(enum.StrEnum):
    """Who owes the VAT of a purchase, and how it is declared."""

    DOMESTIC = "domestic"
    INTRA_EU_GOODS = "intra_eu_goods"
    REVERSE_CHARGE = "reverse_charge"
    IMPORT = "import"
    NO_VAT = "no_vat"


class SupplierInvoiceLine(Canonical):
    """One kind of cost at one rate. `tax` is the VAT on the invoice; under reverse charge and on imports it is what
    the buyer declares himself, computed by whoever entered the invoice or the customs declaration.
    """

    cost: Code = Field(description="goods, transport, duty, fees ...: a kind of [accounting.purchases.costs]")
    label: Text | None = None
    net: Amount
    tax: Amount = Decimal(0)
    rate: Percent | None = None
    asset: bool = Field(default=False, description="A fixed asset: its VAT has an account and a box of its own")
    payee: Code | None = Field(default=None, description="Another supplier who is owed this line: a forwarder's duty")


class SupplierInvoice(Canonical):
    """An invoice or credit note of a supplier; a credit note has `credit` and positive amounts.

    `withheld_by`: it was paid already by being withheld from the payouts `payout_ids` of this provider, so that it
    only makes the VAT deductible.
    """

    external_id: Code
    supplier: Code
    number: Code
    credit: bool = False
    issued_on: date
    due_on: date | None = None
    currency: Currency
    regime: PurchaseRegime
    lines: tuple[SupplierInvoiceLine, ...] = Field(min_length=1)
    total: Amount = Field(description="What the invoice says is owed to the supplier")
    discount: Amount = Field(default=Decimal(0), description="Escompte obtenu, deducted from `total`, net of tax")
    withheld_by: Code | None = None
    payout_ids: tuple[Code, ...] = ()
