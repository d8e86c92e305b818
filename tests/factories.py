"""Canonical orders, refunds and customers for tests, built from a few words.

`order(lines=[line("50.00", "20")])` is a paid French order of one line; every amount that the caller does not give
follows from the lines, rounded per line as a shop does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from comptoir.model.item import ItemKind
from comptoir.model.money import CollectedBy, PriceBasis, SourceTotals, TaxLine, TaxScheme
from comptoir.model.order import (
    Buyer,
    Charge,
    ChargeKind,
    FulfilmentState,
    OrderLine,
    Payment,
    PaymentMethod,
    PaymentState,
    Refund,
    RefundLine,
    SalesOrder,
)
from comptoir.model.parties import AccountKind, Address, Customer, Party, PartyKind

__all__ = ["PARIS", "address", "charge", "customer", "line", "order", "refund", "refund_line", "taxes"]

CENT = Decimal("0.01")
PARIS = "Europe/Paris"


def _d(value: str | Decimal | int) -> Decimal:
    return Decimal(value)


def _tax(net: Decimal, rate: Decimal) -> Decimal:
    return (net * rate / 100).quantize(CENT, rounding=ROUND_HALF_UP)


def taxes(
    net: str | Decimal,
    rate: str | Decimal,
    *,
    amount: str | Decimal | None = None,
    scheme: TaxScheme = TaxScheme.DOMESTIC,
    country: str | None = "FR",
    collected_by: CollectedBy = CollectedBy.SELLER,
) -> tuple[TaxLine, ...]:
    """The one tax line of a net amount."""
    tax = _tax(_d(net), _d(rate)) if amount is None else _d(amount)
    return (
        TaxLine(rate=_d(rate), base=_d(net), amount=tax, country=country, scheme=scheme, collected_by=collected_by),
    )


def line(
    net: str | Decimal,
    rate: str | Decimal | None = "20",
    *,
    quantity: str | Decimal = "1",
    sku: str | None = "MUG-01",
    name: str = "Mug blanc",
    tax: str | Decimal | None = None,
    kind: ItemKind = ItemKind.STOCK,
    number: int = 1,
    scheme: TaxScheme = TaxScheme.DOMESTIC,
    country: str | None = "FR",
    collected_by: CollectedBy = CollectedBy.SELLER,
) -> OrderLine:
    """One order line; `rate` None: without any tax line."""
    amount, count = _d(net), _d(quantity)
    lines = (
        ()
        if rate is None
        else taxes(amount, rate, amount=tax, scheme=scheme, country=country, collected_by=collected_by)
    )
    owed = sum((t.amount for t in lines), Decimal(0))
    return OrderLine(
        external_id=f"L{number}",
        position=number,
        kind=kind,
        item_id=None,
        sku=sku,
        name=name,
        quantity=count,
        unit_price=(amount / count).quantize(Decimal("0.000001")) if count else Decimal(0),
        list_net=amount,
        list_tax=owed,
        net=amount,
        tax=owed,
        taxes=lines,
    )


def charge(
    net: str | Decimal,
    rate: str | Decimal | None = "20",
    *,
    kind: ChargeKind = ChargeKind.SHIPPING,
    label: str = "Colissimo",
    number: int = 1,
    tax: str | Decimal | None = None,
    scheme: TaxScheme = TaxScheme.DOMESTIC,
    country: str | None = "FR",
    collected_by: CollectedBy = CollectedBy.SELLER,
    tax_lines: tuple[TaxLine, ...] | None = None,
) -> Charge:
    """Shipping, or another charge."""
    if tax_lines is None:
        tax_lines = (
            ()
            if rate is None
            else taxes(net, rate, amount=tax, scheme=scheme, country=country, collected_by=collected_by)
        )
    return Charge(
        external_id=f"S{number}",
        kind=kind,
        label=label,
        net=_d(net),
        tax=sum((t.amount for t in tax_lines), Decimal(0)),
        taxes=tax_lines,
    )


def address(role: str = "billing", **over: Any) -> Address:
    """12 rue des Lilas in Paris."""
    fields: dict[str, Any] = {
        "role": role,
        "first_name": "Zoé",
        "last_name": "Lefèvre",
        "lines": ("12 rue des Lilas",),
        "postcode": "75011",
        "city": "Paris",
        "country": "FR",
        "email": "zoe@example.org",
    }
    return Address(**{**fields, **over})


def order(
    lines: Sequence[OrderLine] | None = None,
    charges: Sequence[Charge] = (),
    *,
    number: str = "1001",
    total: str | Decimal | None = None,
    tax: str | Decimal | None = None,
    method: PaymentMethod = PaymentMethod.CARD,
    source_method: str = "stripe",
    paid: str | Decimal | None = None,
    state: PaymentState = PaymentState.PAID,
    currency: str = "EUR",
    **over: Any,
) -> SalesOrder:
    """A paid order of the channel `web`; `paid` is what the payment brought (default: the total)."""
    parts = [line("100.00", sku="TSHIRT-M", name="T-shirt taille M")] if lines is None else list(lines)
    numbered = [p.model_copy(update={"external_id": f"L{n}", "position": n}) for n, p in enumerate(parts, 1)]
    priced: list[OrderLine | Charge] = [*numbered, *charges]
    owed = _sum(p.tax for p in priced)
    whole = _sum(p.net for p in priced) + owed if total is None else _d(total)
    is_paid = state in (PaymentState.PAID, PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED)
    brought = whole if paid is None else _d(paid)
    at = datetime(2026, 9, 15, 8, 30, tzinfo=UTC)
    fields: dict[str, Any] = {
        "external_id": number,
        "number": number,
        "channel": "web",
        "source_status": "processing",
        "ordered_at": at,
        "ordered_on": date(2026, 9, 15),
        "source_zone": PARIS,
        "paid_at": at if is_paid else None,
        "currency": currency,
        "price_basis": PriceBasis.INCL,
        "buyer": Buyer(
            customer_id="12",
            account=AccountKind.B2C,
            party=Party(kind=PartyKind.PERSON, first_name="Zoé", last_name="Lefèvre", email="zoe@example.org"),
        ),
        "billing": address(),
        "shipping": address("shipping"),
        "payment_state": state,
        "fulfilment_state": FulfilmentState.OPEN,
        "lines": tuple(numbered),
        "charges": tuple(charges),
        "payments": (Payment(method=method, source_method=source_method, amount=brought, paid_at=at),)
        if is_paid and brought
        else (),
        "totals": SourceTotals(total=whole, tax=owed if tax is None else _d(tax)),
    }
    return SalesOrder(**{**fields, **over})


def refund_line(
    of: OrderLine, *, quantity: str | Decimal | None = None, net: str | Decimal | None = None
) -> RefundLine:
    """Goods of an order line given back: all of it, or a part with its own net and the line's rate."""
    given = of.net if net is None else _d(net)
    lines = tuple(
        t.model_copy(update={"base": given, "amount": t.amount if net is None else _tax(given, t.rate)})
        for t in of.taxes
    )
    return RefundLine(
        external_id=f"R{of.external_id}",
        order_line_id=of.external_id,
        sku=of.sku,
        name=of.name,
        quantity=of.quantity if quantity is None else _d(quantity),
        net=given,
        tax=_sum(t.amount for t in lines),
        taxes=lines,
    )


def refund(
    of: SalesOrder,
    amount: str | Decimal | None = None,
    *,
    lines: Sequence[RefundLine] = (),
    charges: Sequence[Charge] = (),
    number: str = "57",
    day: int = 20,
    **over: Any,
) -> Refund:
    """Money given back on an order; without `amount` the sum of its lines and charges."""
    priced: list[RefundLine | Charge] = [*lines, *charges]
    whole = _sum(p.net + p.tax for p in priced) if amount is None else _d(amount)
    fields: dict[str, Any] = {
        "external_id": number,
        "order_id": of.external_id,
        "order_number": of.number,
        "number": number,
        "channel": of.channel,
        "refunded_at": datetime(2026, 9, day, 9, 0, tzinfo=UTC),
        "refunded_on": date(2026, 9, day),
        "currency": of.currency,
        "amount": whole,
        "payment_method": of.payments[0].method if of.payments else PaymentMethod.OTHER,
        "lines": tuple(lines),
        "charges": tuple(charges),
    }
    return Refund(**{**fields, **over})


def customer(external_id: str = "12", **over: Any) -> Customer:
    """A registered customer of the channel `web`."""
    fields: dict[str, Any] = {
        "external_id": external_id,
        "party": Party(kind=PartyKind.PERSON, first_name="Zoé", last_name="Lefèvre", email="zoe@example.org"),
        "account": AccountKind.B2C,
        "addresses": (address(),),
        "origin_channel": "web",
    }
    return Customer(**{**fields, **over})


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal("0.00"))
