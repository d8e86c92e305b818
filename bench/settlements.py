"""Who pays the merchant of the simulated year, and whom he pays: a gateway, a marketplace, a till, suppliers.

Each provider counts in `stands` what its account should hold in the books, in cents: what was booked there, less what
payouts listed, and what the provider keeps.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from comptoir.model.order import PaymentMethod
from comptoir.model.payout import Fee, Payout, PayoutLine, PayoutLineKind
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine
from comptoir.model.till import CashMovement, TenderTotal, TillSales, ZReport

__all__ = ["Drawer", "Gateway", "Marketplace", "cents", "purchases"]

#: Days between the last payment that a payout lists and the transfer.
_LAG = 2
#: Parts in a thousand.
_COMMISSION, _GATEWAY_SHARE, _VAT = 120, 15, 200


def cents(amount: int) -> Decimal:
    """Cents as an amount of the model."""
    return Decimal(amount).scaleb(-2)


def _part(amount: int, thousandths: int) -> int:
    """A part of an amount, half away from zero."""
    part = (abs(amount) * thousandths * 2 + 1000) // 2000
    return part if amount >= 0 else -part


@dataclass(frozen=True, slots=True)
class _Item:
    """A payment (or what was given back), not yet paid out; `tax` was collected and paid by the marketplace."""

    number: str
    amount: int
    tax: int
    day: date


class _Provider:
    name = ""

    def __init__(self) -> None:
        self.stands = 0
        self._waiting: list[_Item] = []
        self._payouts = 0
        self._kept = 0

    def pay_out(self, today: date) -> list[Payout]:
        """The payout of a fortnight; none while nothing is owed to the merchant."""
        end = today - timedelta(days=_LAG)
        due = [item for item in self._waiting if item.day <= end]
        lines = [line for n, item in enumerate(due, 1) for line in self.lines(item, n)]
        lines += self.others(today)
        owed = int(sum((line.net for line in lines), Decimal(0)).scaleb(2))
        if owed <= 0:
            return []
        self._waiting = [item for item in self._waiting if item.day > end]
        self._payouts += 1
        number = self._payouts
        # Every sixth payout keeps a reserve that the next one pays; one transfer is a few cents off, another by more.
        reserve = -min(20_000, owed // 2) if number % 6 == 3 else self._kept
        self._kept = -reserve if reserve < 0 else 0
        if reserve:
            lines.append(_line(f"{number}-reserve", PayoutLineKind.RESERVE, "reserve", end, None, reserve))
        off = {4: -3, 7: -1234, 9: 2}.get(number, 0)
        self.settled(due)
        self.stands -= reserve
        self.stands -= off if abs(off) > 50 else 0
        made = Payout(
            external_id=f"{self.name}-{number}",
            provider=self.name,
            number=f"V{self.name[0].upper()}{number:04d}",
            period_start=end - timedelta(days=13),
            period_end=end,
            paid_on=today,
            currency="EUR",
            amount=cents(owed + reserve + off),
            lines=tuple(lines),
        )
        self.paid_out(made)
        return [made]

    def lines(self, item: _Item, number: int) -> list[PayoutLine]:
        raise NotImplementedError

    def others(self, today: date) -> list[PayoutLine]:
        return []

    def settled(self, items: list[_Item]) -> None:
        """The payout lists these payments."""

    def paid_out(self, payout: Payout) -> None:
        """The payout is made."""


class Gateway(_Provider):
    """Takes the web shop's cards; fees are exempt from VAT. One payment in the year is listed by no payout."""

    name = "stripe"
    #: The how-manieth payment it forgets.
    _FORGOTTEN = 40

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0
        self.forgotten: tuple[str, int] | None = None
        #: Orders whose payment the gateway took back, and has not returned: the customer owes it again.
        self.disputed: dict[str, int] = {}

    def paid(self, number: str, amount: int, day: date) -> None:
        """A customer paid, or was given back (negative)."""
        self._seen += amount > 0
        if self._seen == self._FORGOTTEN and self.forgotten is None:
            self.forgotten = (number, amount)
        elif self.forgotten is None or number != self.forgotten[0]:
            self._waiting.append(_Item(number, amount, 0, day))
        else:
            self.forgotten = (number, self.forgotten[1] + amount)

    def lines(self, item: _Item, number: int) -> list[PayoutLine]:
        fees = (Fee(kind="payment", net=cents(_part(item.amount, _GATEWAY_SHARE) + 25)),) if item.amount > 0 else ()
        kind = PayoutLineKind.SALE if item.amount > 0 else PayoutLineKind.REFUND
        made = [_line(str(number), kind, kind.value, item.day, item.number, item.amount, fees)]
        if number == 1 and item.amount > 0 and self._payouts in (4, 10):
            self.disputed[item.number] = item.amount
            fee = (Fee(kind="dispute", net=cents(1500)),)
            lost = PayoutLineKind.DISPUTE
            made.append(_line("dispute", lost, lost.value, item.day, item.number, -item.amount, fee))
        elif number == 1 and self._payouts == 7 and self.disputed:
            order, amount = self.disputed.popitem()
            won = PayoutLineKind.DISPUTE_WON
            made.append(_line("won", won, won.value, item.day, order, amount))
        return made

    def settled(self, items: list[_Item]) -> None:
        self.stands -= sum(item.amount for item in items)


class Marketplace(_Provider):
    """Withholds its fees with their VAT, invoices them the month after, and pays a tax of other countries itself.

    Nothing is booked on its account but what its payouts say.
    """

    name = "place"

    def __init__(self) -> None:
        super().__init__()
        #: Payouts by month whose fees are not invoiced yet, with the VAT in them.
        self.to_invoice: list[tuple[Payout, int]] = []
        self._vat = 0

    def sold(self, number: str, amount: int, tax: int, day: date) -> None:
        """An order's money without the tax that it collected, or what was given back of both (negative)."""
        self._waiting.append(_Item(number, amount, tax, day))

    def lines(self, item: _Item, number: int) -> list[PayoutLine]:
        sale = item.amount > 0
        kind = PayoutLineKind.SALE if sale else PayoutLineKind.REFUND
        # A refund gives four fifths of the commission back, and costs something itself.
        net = _part(item.amount, _COMMISSION if sale else _COMMISSION * 4 // 5)
        found = [self._fee("commission", net)]
        if not sale:
            found.append(self._fee("refund_administration", 50))
        elif number % 2:
            found.append(self._fee("fulfilment", 310))
        made = [_line(str(number), kind, kind.value, item.day, item.number, item.amount, tuple(found))]
        if item.tax:
            for suffix, tax_kind, sign in (
                ("c", PayoutLineKind.TAX_COLLECTED, 1),
                ("w", PayoutLineKind.TAX_WITHHELD, -1),
            ):
                amount = sign * item.tax
                made.append(_line(f"{number}{suffix}", tax_kind, tax_kind.value, item.day, item.number, amount))
        return made

    def others(self, today: date) -> list[PayoutLine]:
        if today.day > 14:
            return []
        fees = (self._fee("subscription", 3900), self._fee("advertising", 12_345))
        return [_line(f"{today}-s", PayoutLineKind.FEE, "Subscription", today - timedelta(days=_LAG), None, 0, fees)]

    def pay_out(self, today: date) -> list[Payout]:
        self._vat = 0
        return super().pay_out(today)

    def paid_out(self, payout: Payout) -> None:
        self.to_invoice.append((payout, self._vat))

    def _fee(self, kind: str, net: int) -> Fee:
        tax = _part(net, _VAT)
        self._vat += tax
        return Fee(kind=kind, net=cents(net), tax=cents(tax), rate=Decimal(20))

    def invoice_fees(self, today: date) -> list[SupplierInvoice]:
        """The invoice of the fees that the payouts of the months before withheld."""
        covered = [(p, vat) for p, vat in self.to_invoice if p.paid_on < today.replace(day=1)]
        if not covered:
            return []
        self.to_invoice = self.to_invoice[len(covered) :]
        vat = sum(of_one for _, of_one in covered)
        return [
            SupplierInvoice(
                external_id=f"F{today:%y%m}",
                supplier="PLACE",
                number=f"PL{today:%y%m}",
                issued_on=today,
                currency="EUR",
                regime=PurchaseRegime.DOMESTIC,
                lines=(SupplierInvoiceLine(cost="commission", net=cents(vat * 5), tax=cents(vat), rate=Decimal(20)),),
                total=cents(vat * 6),
                withheld_by="place",
                payout_ids=tuple(payout.external_id for payout, _ in covered),
            )
        ]


def _line(
    external_id: str,
    kind: PayoutLineKind,
    word: str,
    day: date,
    order: str | None,
    amount: int,
    fees: tuple[Fee, ...] = (),
) -> PayoutLine:
    return PayoutLine(
        external_id=external_id,
        kind=kind,
        source_kind=word,
        occurred_on=day,
        order_number=order,
        amount=cents(amount),
        fees=fees,
    )


class Drawer:
    """The till: a Z each day that it is open, its cash counted, and taken to the bank on Saturdays."""

    def __init__(self) -> None:
        self.cash = 0
        self._closings = 0

    def close(self, today: date, draw: random.Random, card: int) -> tuple[ZReport, int, int]:
        """The Z of a day; what gift cards it sold, and what it took from a card that has `card` left."""
        self._closings += 1
        number = self._closings
        full, food = draw.randrange(5000, 120_000), draw.randrange(1000, 30_000)
        sales = (
            TillSales(rate=Decimal(20), net=cents(full), tax=cents(_part(full, _VAT))),
            TillSales(rate=Decimal("5.5"), net=cents(food), tax=cents(_part(food, 55))),
        )
        taken = full + _part(full, _VAT) + food + _part(food, 55)
        sold = 3000 if number % 10 == 0 else 0
        used = min(card, taken, draw.randrange(500, 2000)) if number % 3 == 0 else 0
        # Now and then sales and means of payment of a till differ by some cents.
        off = 4 if number % 40 == 0 else 0
        paid_cash = (taken + sold - used) * draw.randrange(20, 60) // 100
        by_card = taken + sold - used - paid_cash + off
        tenders = [
            TenderTotal(method=PaymentMethod.CASH, amount=cents(paid_cash)),
            TenderTotal(method=PaymentMethod.CARD, amount=cents(by_card)),
        ]
        if used:
            tenders.append(TenderTotal(method=PaymentMethod.GIFT_CARD, amount=cents(used)))
        self.cash += paid_cash
        expected = self.cash
        self.cash -= 150 if number % 25 == 0 else 0
        counted = self.cash
        movements: tuple[CashMovement, ...] = ()
        if today.weekday() == 5 and self.cash > 20_000:
            out = self.cash - 20_000
            self.cash -= out
            arrived = today + timedelta(days=2)
            movements = (CashMovement(external_id="1", amount=cents(out), taken_on=today, arrived_on=arrived),)
        report = ZReport(
            external_id=f"z{number}",
            till="boutique",
            number=str(number),
            closed_on=today,
            currency="EUR",
            sales=sales,
            tenders=tuple(tenders),
            gift_cards_sold=cents(sold),
            cash_expected=cents(expected),
            cash_counted=cents(counted),
            movements=movements,
        )
        return report, sold, used


def purchases(today: date, draw: random.Random) -> list[SupplierInvoice]:
    """A month's invoices: goods of the country and of another member state, advertising under reverse charge."""
    found = []
    for supplier, cost, regime in (
        ("DUPONT", "goods", PurchaseRegime.DOMESTIC),
        ("MUELLER", "goods_eu", PurchaseRegime.INTRA_EU_GOODS),
        ("ADS", "ads_eu", PurchaseRegime.REVERSE_CHARGE),
    ):
        net = draw.randrange(20_000, 400_000)
        tax = _part(net, _VAT)
        charged = net + tax if regime is PurchaseRegime.DOMESTIC else net
        found.append(
            SupplierInvoice(
                external_id=f"{supplier}{today:%y%m}",
                supplier=supplier,
                number=f"{supplier[:2]}{today:%y%m}",
                issued_on=today,
                currency="EUR",
                regime=regime,
                lines=(SupplierInvoiceLine(cost=cost, net=cents(net), tax=cents(tax), rate=Decimal(20)),),
                total=cents(charged),
            )
        )
    return found
