"""Sales: orders with their lines, charges, discounts and payments; refunds; what follows them.

States are small axes derived from facts, never one status word. Amounts are in the document's `currency`; the
source's figures are authoritative and `residual` (see `comptoir.domain.totals`) says where they do not add up.
"""

from __future__ import annotations

import enum
from datetime import date
from uuid import UUID

from pydantic import Field

from comptoir.model.base import (
    Amount,
    Canonical,
    Code,
    Currency,
    Extra,
    Instant,
    Personal,
    PersonalCode,
    Quantity,
    Text,
    UnitPrice,
)
from comptoir.model.item import UNIT_PIECE, ItemKind
from comptoir.model.money import PriceBasis, Rounding, SourceTotals, TaxLine
from comptoir.model.parties import AccountKind, Address, Party

__all__ = [
    "Buyer",
    "Charge",
    "ChargeKind",
    "CreditNote",
    "Discount",
    "Dispute",
    "Exchange",
    "FulfilmentRequest",
    "FulfilmentState",
    "GiftCardEntry",
    "HoldReason",
    "Invoice",
    "OrderChange",
    "OrderLine",
    "Payment",
    "PaymentMethod",
    "PaymentState",
    "PaymentTransaction",
    "Quote",
    "Refund",
    "RefundLine",
    "Return",
    "ReturnState",
    "SalesOrder",
    "Shipment",
]


class PaymentState(enum.StrEnum):
    """How far the buyer has paid."""

    UNPAID = "unpaid"
    AUTHORISED = "authorised"
    PAID = "paid"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    FAILED = "failed"


class FulfilmentState(enum.StrEnum):
    """How far the goods have left."""

    OPEN = "open"
    PARTLY_SHIPPED = "partly_shipped"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class ReturnState(enum.StrEnum):
    NONE = "none"
    PARTLY_RETURNED = "partly_returned"
    RETURNED = "returned"


class HoldReason(enum.StrEnum):
    """Why an order waits."""

    NONE = "none"
    PAYMENT = "payment"
    MERCHANT = "merchant"


class ChargeKind(enum.StrEnum):
    SHIPPING = "shipping"
    HANDLING = "handling"
    GIFT_WRAP = "gift_wrap"
    ECO_TAX = "eco_tax"
    DEPOSIT = "deposit"
    CASH_ON_DELIVERY = "cod"
    TIP = "tip"
    ROUNDING = "rounding"
    DUTY = "duty"
    FEE = "fee"
    CASH_DISCOUNT = "cash_discount"


class PaymentMethod(enum.StrEnum):
    """Neutral payment words; the accounting map turns them into accounts."""

    CARD = "card"
    TRANSFER = "transfer"
    CHEQUE = "cheque"
    CASH = "cash"
    CASH_ON_DELIVERY = "cod"
    WALLET = "wallet"
    DIRECT_DEBIT = "direct_debit"
    GIFT_CARD = "gift_card"
    MARKETPLACE = "marketplace"
    OTHER = "other"


class Buyer(Canonical):
    """Who bought: the channel's customer when there is one, and the party as written on the order."""

    customer_id: Code | None = Field(default=None, description="External id on the channel; None for a guest")
    account: AccountKind
    party: Party


class OrderLine(Canonical):
    """One ordered item. `net` and `tax` are after discounts, `list_net` and `list_tax` before them."""

    external_id: Code
    position: int
    kind: ItemKind = ItemKind.STOCK
    item_id: Code | None = Field(default=None, description="External id of the item on the channel")
    sku: Code | None = Field(default=None, description="None: a placeholder line, the item is unknown or deleted")
    gtin: Code | None = None
    name: Text
    quantity: Quantity
    unit: Code = UNIT_PIECE
    unit_price: UnitPrice = Field(
        description="Net of tax, before discounts; with tax where prices include it and the source has no other"
    )
    list_net: Amount
    list_tax: Amount
    net: Amount
    tax: Amount
    taxes: tuple[TaxLine, ...] = ()


class Charge(Canonical):
    """Something paid beside the goods. `net` and `tax` in the document's currency."""

    external_id: Code
    kind: ChargeKind
    label: Text
    method: Text | None = None
    net: Amount
    tax: Amount
    taxes: tuple[TaxLine, ...] = ()


class Discount(Canonical):
    """A discount as the source names it; its amounts are already allocated on the lines."""

    external_id: Code
    code: Text
    net: Amount
    tax: Amount


class Payment(Canonical):
    """What was paid, by which means. Never a card number."""

    method: PaymentMethod
    source_method: Text
    label: Text | None = None
    provider_ref: Text | None = None
    amount: Amount
    paid_at: Instant | None = None


class SalesOrder(Canonical):
    """An order as the channel has it now."""

    external_id: Code
    number: Code
    channel: Code
    source_status: Code
    ordered_at: Instant
    ordered_on: date = Field(description="The business date, in the source's zone")
    source_zone: Text | None = None
    original_time: Text | None = Field(default=None, description="The time exactly as the source wrote it")
    modified_at: Instant | None = None
    paid_at: Instant | None = None
    completed_at: Instant | None = None
    currency: Currency
    price_basis: PriceBasis
    rounding: Rounding = Rounding()
    buyer: Buyer
    billing: Address | None = None
    shipping: Address | None = None
    payment_state: PaymentState
    fulfilment_state: FulfilmentState
    return_state: ReturnState = ReturnState.NONE
    hold: HoldReason = HoldReason.NONE
    payment_method: PaymentMethod | None = Field(
        default=None, description="The means the buyer chose, paid or not; what was paid stands in `payments`"
    )
    group_ref: Code | None = None
    lines: tuple[OrderLine, ...]
    charges: tuple[Charge, ...] = ()
    discounts: tuple[Discount, ...] = ()
    payments: tuple[Payment, ...] = ()
    refund_ids: tuple[Code, ...] = ()
    totals: SourceTotals
    note: Personal | None = None
    extra: Extra = Field(default_factory=dict)


class RefundLine(Canonical):
    """Goods given back in money; amounts are positive."""

    external_id: Code
    order_line_id: Code | None = None
    sku: Code | None = None
    name: Text
    quantity: Quantity
    net: Amount
    tax: Amount
    taxes: tuple[TaxLine, ...] = ()


class Refund(Canonical):
    """Money given back on an order; amounts are positive. No lines: an amount only, allocated by rule and flagged."""

    external_id: Code
    order_id: Code = Field(description="External id of the order on the channel")
    order_number: Code
    number: Code
    channel: Code
    refunded_at: Instant
    refunded_on: date
    currency: Currency
    amount: Amount = Field(description="Tax included")
    reason: Personal | None = None
    payment_method: PaymentMethod = PaymentMethod.OTHER
    lines: tuple[RefundLine, ...] = ()
    charges: tuple[Charge, ...] = ()
    extra: Extra = Field(default_factory=dict)


class Quote(Canonical):
    number: Code
    valid_until: date | None = None
    lines: tuple[OrderLine, ...] = ()
    converted_to: Code | None = None


class OrderChange(Canonical):
    """A change of an order after it was taken over: what differs and what the policy said."""

    order_number: Code
    before: Extra
    after: Extra
    requested_by: Code
    policy: Code
    confirmed: bool = False


class FulfilmentRequest(Canonical):
    order_number: Code
    location: Code | None = None
    line_ids: tuple[Code, ...] = ()


class Shipment(Canonical):
    """Goods that left; each is a fact of its own."""

    external_id: Code
    order_number: Code
    carrier: Text | None = None
    tracking: tuple[PersonalCode, ...] = ()
    shipped_at: Instant | None = None
    quantities: dict[str, Quantity] = Field(default_factory=dict)


class Return(Canonical):
    """Goods that came back; independent of the money."""

    external_id: Code
    order_number: Code
    quantities: dict[str, Quantity] = Field(default_factory=dict)
    restock: bool = False


class Exchange(Canonical):
    """Return, new lines and the difference between them."""

    order_number: Code
    returned: Return
    lines: tuple[OrderLine, ...]
    settlement: Amount


class Invoice(Canonical):
    """An issued invoice; immutable."""

    number: Code
    series: Code
    issued_on: date
    order_numbers: tuple[Code, ...]
    currency: Currency
    net: Amount
    tax: Amount


class CreditNote(Canonical):
    """An issued credit note; refers to its invoice."""

    number: Code
    series: Code
    issued_on: date
    invoice_number: Code | None
    currency: Currency
    net: Amount
    tax: Amount


class PaymentTransaction(Canonical):
    payment_ref: Code
    kind: Code
    amount: Amount
    currency: Currency
    at: Instant


class GiftCardEntry(Canonical):
    """Sold = liability, redeemed = tender."""

    card_ref: Code
    kind: Code
    amount: Amount
    currency: Currency
    order_number: Code | None = None


class Dispute(Canonical):
    external_id: Code
    order_number: Code | None = None
    amount: Amount
    currency: Currency
    state: Code
    record_id: UUID | None = None
