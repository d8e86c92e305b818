"""A merchant's year of trade, document by document, as the days bring them: the same seed, the same year.

Two channels (a web shop whose gateway takes the cards, a marketplace that pays out every two weeks and withholds its
fees), a till with a Z each day that it is open, and suppliers. Amounts are whole cents until they become documents;
what the merchant should see in his books is counted beside them, by no code of the books.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
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
from comptoir.model.parties import AccountKind, Address, Party, PartyKind
from comptoir.model.payout import Payout
from comptoir.model.purchasing import SupplierInvoice
from comptoir.model.till import ZReport

from bench.settlements import Drawer, Gateway, Marketplace, cents, purchases

__all__ = ["FIRST", "LAST", "Day", "Merchant"]

FIRST, LAST = date(2026, 1, 1), date(2026, 12, 31)
_DAYS = (LAST - FIRST).days + 1
#: Days between two payouts.
_FORTNIGHT = 14
#: The day of a month on which the month before is closed in the books.
CLOSING_DAY = 10
_SEED = 20261122


@dataclass(frozen=True, slots=True)
class _Place:
    """Where goods go, and at which rates they are taxed there."""

    weight: int
    country: str
    postcode: str
    scheme: TaxScheme
    rates: tuple[str, ...]
    company: bool = False
    collected_by: CollectedBy = CollectedBy.SELLER


_WEB = (
    _Place(780, "FR", "75011", TaxScheme.DOMESTIC, ("20", "20", "5.5")),
    _Place(30, "FR", "20200", TaxScheme.DOMESTIC, ("20", "2.1")),
    _Place(30, "RE", "97400", TaxScheme.DOMESTIC, ("8.5", "2.1")),
    _Place(25, "GP", "97110", TaxScheme.EXPORT, ("0",)),
    _Place(45, "DE", "10115", TaxScheme.OSS, ("19", "7")),
    _Place(40, "BE", "1000", TaxScheme.OSS, ("21",)),
    _Place(20, "DE", "10115", TaxScheme.INTRA_EU, ("0",), company=True),
    _Place(30, "CH", "8000", TaxScheme.EXPORT, ("0",)),
)
_MARKET = (
    _Place(850, "FR", "69003", TaxScheme.DOMESTIC, ("20", "5.5")),
    _Place(80, "IT", "20121", TaxScheme.OSS, ("22",)),
    _Place(40, "ES", "28013", TaxScheme.OSS, ("21", "10")),
    _Place(30, "GB", "EC1A 1BB", TaxScheme.EXPORT, ("20",), collected_by=CollectedBy.MARKETPLACE),
)


@dataclass(slots=True)
class Day:
    """What reaches the hub on one day. A refund comes with its order."""

    today: date
    orders: list[SalesOrder] = field(default_factory=list)
    refunds: list[tuple[SalesOrder, Refund]] = field(default_factory=list)
    closings: list[ZReport] = field(default_factory=list)
    payouts: list[Payout] = field(default_factory=list)
    fee_invoices: list[SupplierInvoice] = field(default_factory=list)
    purchases: list[SupplierInvoice] = field(default_factory=list)

    @property
    def locked_until(self) -> date | None:
        """The last day that the books have closed by now: a month on the tenth of the next one."""
        first = self.today.replace(day=1)
        if self.today.day < CLOSING_DAY:
            first = (first - timedelta(days=1)).replace(day=1)
        closed = first - timedelta(days=1)
        return closed if closed >= FIRST else None


class Merchant:
    """The year, and what it should leave: gift cards that are not used up, and OSS tax by country, in cents."""

    def __init__(self, orders: int, seed: int = _SEED) -> None:
        self._orders = orders
        self._draw = random.Random(seed)
        self._later: list[tuple[date, int, str, Any]] = []
        self._numbers = iter(range(10**9))
        self.gateway, self.market, self.drawer = Gateway(), Marketplace(), Drawer()
        self.cards: dict[str, int] = {}
        self.oss_tax: dict[str, int] = {}

    def days(self) -> Iterator[Day]:
        """Every day of the year, with what it brings. What would come after the last day is left out."""
        made = 0
        for number in range(_DAYS):
            day = Day(FIRST + timedelta(days=number))
            while made * _DAYS < (number + 1) * self._orders and made < self._orders:
                self._sell(day, made)
                made += 1
            self._open_till(day)
            while self._later and self._later[0][0] <= day.today:
                _, _, kind, document = heapq.heappop(self._later)
                getattr(day, kind).append(document)
                if kind == "orders":
                    self._booked(document)
                elif kind == "refunds":
                    self._given_back(*document)
            if number % _FORTNIGHT == _FORTNIGHT - 1:
                for provider in (self.gateway, self.market):
                    day.payouts += provider.pay_out(day.today)
            if day.today.day == 5:
                day.fee_invoices += self.market.invoice_fees(day.today)
                day.purchases += purchases(day.today, self._draw)
            yield day

    # -- orders ------------------------------------------------------------------------------------------------

    def _sell(self, day: Day, number: int) -> None:
        draw = self._draw
        web = draw.random() < 0.6
        order = self._order(day.today, number, web)
        plain = len(order.payments) == 1 and all(x.kind is ItemKind.STOCK for x in order.lines)
        # Every hundredth order of the shop reaches the hub weeks later.
        late = web and plain and draw.random() < 0.01
        self._after(day.today, draw.randrange(15, 46) if late else 0, "orders", order)
        method = order.payments[-1].method
        if method is PaymentMethod.CARD:
            self.gateway.paid(order.number, _in_cents(order.payments[-1].amount), day.today)
        elif method is PaymentMethod.MARKETPLACE:
            withheld = _collected((*order.lines, *order.charges))
            self.market.sold(order.number, _in_cents(order.totals.total) - withheld, withheld, day.today)
        if plain and not late and draw.random() < 0.04:
            self._refund(day.today, order)

    def _order(self, today: date, number: int, web: bool) -> SalesOrder:
        draw, places = self._draw, _WEB if web else _MARKET
        place = draw.choices(places, [p.weight for p in places])[0]
        name = str(100_000 + number)
        lines = [self._line(place, n) for n in range(1, draw.randrange(2, 5))]
        charges = (self._shipping(place),) if draw.random() < 0.7 else ()
        if web and draw.random() < 0.02:
            lines, charges = [_card(draw.choice((2000, 5000, 10_000)))], ()
            self.cards[f"W{name}"] = _in_cents(lines[0].net)
        owed = sum(_in_cents(part.net + part.tax) for part in (*lines, *charges))
        if web and draw.random() < 0.01:
            owed += draw.choice((-1, 1))  # the shop rounds its total by itself
        at = datetime(today.year, today.month, today.day, draw.randrange(5, 20), draw.randrange(60), tzinfo=UTC)
        to = Address(
            role="shipping",
            last_name="Client",
            lines=("1 rue du Port",),
            postcode=place.postcode,
            city="Ville",
            country=place.country,
        )
        kind = PartyKind.ORGANISATION if place.company else PartyKind.PERSON
        party = Party(kind=kind, company="Handel GmbH" if place.company else None, last_name="Client")
        return SalesOrder(
            external_id=name,
            number=name,
            channel="web" if web else "place",
            source_status="processing",
            ordered_at=at,
            ordered_on=today,
            source_zone="Europe/Paris",
            paid_at=at,
            currency="EUR",
            price_basis=PriceBasis.INCL,
            buyer=Buyer(account=AccountKind.B2B if place.company else AccountKind.B2C, party=party),
            billing=to,
            shipping=to,
            payment_state=PaymentState.PAID,
            fulfilment_state=FulfilmentState.SHIPPED,
            lines=tuple(lines),
            charges=charges,
            payments=tuple(self._payments(web, owed, at, sells_card=bool(lines[0].kind is ItemKind.GIFT_CARD))),
            totals=SourceTotals(total=cents(owed), tax=sum((p.tax for p in (*lines, *charges)), Decimal("0.00"))),
        )

    def _payments(self, web: bool, owed: int, at: datetime, *, sells_card: bool) -> Iterator[Payment]:
        draw = self._draw
        if not web:
            yield Payment(method=PaymentMethod.MARKETPLACE, source_method="place", amount=cents(owed), paid_at=at)
            return
        if self.cards and not sells_card and draw.random() < 0.03:
            card = next(iter(self.cards))
            used = min(self.cards[card], owed - 100)
            if used > 0:
                self._use(card, used)
                owed -= used
                yield Payment(method=PaymentMethod.GIFT_CARD, source_method="card", amount=cents(used), paid_at=at)
        method, source = (PaymentMethod.CARD, "stripe") if draw.random() < 0.9 else (PaymentMethod.TRANSFER, "bacs")
        yield Payment(method=method, source_method=source, amount=cents(owed), paid_at=at)

    def _use(self, card: str, used: int) -> None:
        self.cards[card] -= used
        if not self.cards[card]:
            del self.cards[card]

    def _line(self, place: _Place, position: int) -> OrderLine:
        net, rate = self._draw.randrange(150, 20_000), self._draw.choice(place.rates)
        taxes = _taxes(place, net, rate)
        return OrderLine(
            external_id=f"L{position}",
            position=position,
            sku=f"ART-{net % 500:03d}",
            name="Article",
            quantity=Decimal(1),
            unit_price=cents(net),
            list_net=cents(net),
            list_tax=taxes[0].amount,
            net=cents(net),
            tax=taxes[0].amount,
            taxes=taxes,
        )

    def _shipping(self, place: _Place) -> Charge:
        net = self._draw.choice((408, 575, 990))
        taxes = _taxes(place, net, place.rates[0])
        return Charge(
            external_id="S1",
            kind=ChargeKind.SHIPPING,
            label="Port",
            net=cents(net),
            tax=taxes[0].amount,
            taxes=taxes,
        )

    # -- refunds -----------------------------------------------------------------------------------------------

    def _refund(self, today: date, order: SalesOrder) -> None:
        """All of it, the first line, or on the web an amount without a word about what it is for."""
        draw = self._draw
        back = today + timedelta(days=draw.randrange(3, 41))
        by_amount = order.channel == "web" and order.lines[0].taxes[0].scheme is TaxScheme.DOMESTIC
        how = draw.choice(("all", "line", "amount") if by_amount else ("all", "line"))
        lines = order.lines if how == "all" else order.lines[:1] if how == "line" else ()
        charges = order.charges if how == "all" else ()
        parts: list[OrderLine | Charge] = [*lines, *charges]
        amount = sum((part.net + part.tax for part in parts), Decimal("0.00"))
        if how == "all":
            amount = order.totals.total
        elif how == "amount":
            amount = cents(max(_in_cents(order.totals.total) // 4, 1))
        number = str(500_000 + int(order.number))
        refund = Refund(
            external_id=number,
            order_id=order.external_id,
            order_number=order.number,
            number=number,
            channel=order.channel,
            refunded_at=datetime(back.year, back.month, back.day, 9, tzinfo=UTC),
            refunded_on=back,
            currency="EUR",
            amount=amount,
            payment_method=order.payments[0].method,
            lines=tuple(
                RefundLine(
                    external_id=f"R{x.external_id}",
                    order_line_id=x.external_id,
                    sku=x.sku,
                    name=x.name,
                    quantity=x.quantity,
                    net=x.net,
                    tax=x.tax,
                    taxes=x.taxes,
                )
                for x in lines
            ),
            charges=charges,
        )
        state = PaymentState.REFUNDED if amount == order.totals.total else PaymentState.PARTLY_REFUNDED
        self._after(back, 0, "refunds", (order.model_copy(update={"payment_state": state}), refund))

    def _booked(self, order: SalesOrder) -> None:
        """What the order leaves in the books once the hub knows it."""
        self._owe_oss((*order.lines, *order.charges), 1)
        if order.payments[-1].method is PaymentMethod.CARD:
            self.gateway.stands += _in_cents(order.payments[-1].amount)

    def _owe_oss(self, parts: Iterable[OrderLine | RefundLine | Charge], sign: int) -> None:
        for part in parts:
            for tax in part.taxes:
                if tax.scheme is TaxScheme.OSS and tax.country:
                    self.oss_tax[tax.country] = self.oss_tax.get(tax.country, 0) + sign * _in_cents(tax.amount)

    def _given_back(self, order: SalesOrder, refund: Refund) -> None:
        """What the refund means for whoever pays out, and for the tax of other countries."""
        self._owe_oss((*refund.lines, *refund.charges), -1)
        withheld = _collected((*refund.lines, *refund.charges))
        method = order.payments[0].method
        if method is PaymentMethod.CARD:
            self.gateway.paid(order.number, -_in_cents(refund.amount), refund.refunded_on)
            self.gateway.stands -= _in_cents(refund.amount)
        elif method is PaymentMethod.MARKETPLACE:
            self.market.sold(order.number, withheld - _in_cents(refund.amount), -withheld, refund.refunded_on)

    # -- till --------------------------------------------------------------------------------------------------

    def _open_till(self, day: Day) -> None:
        if day.today.weekday() == 6:
            return
        card = next((ref for ref in self.cards), None)
        report, sold, used = self.drawer.close(day.today, self._draw, self.cards.get(card or "", 0))
        if sold:
            self.cards[f"T{report.number}"] = sold
        if used and card:
            self._use(card, used)
        # Two closings of the year are found weeks later, when their month is closed.
        if report.number in ("75", "200"):
            self._after(day.today, 40, "closings", report)
        else:
            day.closings.append(report)

    def _after(self, today: date, days: int, kind: str, document: object) -> None:
        heapq.heappush(self._later, (today + timedelta(days=days), next(self._numbers), kind, document))


def _in_cents(amount: Decimal) -> int:
    return int(amount.scaleb(2))


def _collected(parts: Iterable[OrderLine | RefundLine | Charge]) -> int:
    """The tax that the marketplace collects and pays itself."""
    taxes = (tax for part in parts for tax in part.taxes)
    return sum(_in_cents(tax.amount) for tax in taxes if tax.collected_by is CollectedBy.MARKETPLACE)


def _card(worth: int) -> OrderLine:
    """A gift card: no sale yet, and no VAT."""
    amount = cents(worth)
    return OrderLine(
        external_id="L1",
        position=1,
        kind=ItemKind.GIFT_CARD,
        sku="CARTE",
        name="Carte cadeau",
        quantity=Decimal(1),
        unit_price=amount,
        list_net=amount,
        list_tax=Decimal("0.00"),
        net=amount,
        tax=Decimal("0.00"),
    )


def _taxes(place: _Place, net: int, rate: str) -> tuple[TaxLine, ...]:
    tax = int((Decimal(net) * Decimal(rate) / 100).quantize(Decimal(1), "ROUND_HALF_UP"))
    return (
        TaxLine(
            rate=Decimal(rate),
            base=cents(net),
            amount=cents(tax),
            country=place.country,
            scheme=place.scheme,
            collected_by=place.collected_by,
        ),
    )
