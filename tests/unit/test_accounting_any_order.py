"""Any order that validates, however odd: it is booked in balance or parked with a hint, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.domain.accounts import AccountMap
from comptoir.domain.corrections import correct_entries, difference_entries
from comptoir.domain.entries import account_totals, signed
from comptoir.domain.journal import derive_entries
from comptoir.domain.payouts import payout_entries
from comptoir.domain.proof import explain, prove
from comptoir.domain.purchases import supplier_entry
from comptoir.domain.tills import z_entries
from comptoir.domain.vat_return import vat_sheet
from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry
from comptoir.model.item import ItemKind
from comptoir.model.money import CollectedBy, RoundingLevel, SourceTotals, TaxLine, TaxScheme
from comptoir.model.order import (
    Charge,
    ChargeKind,
    FulfilmentState,
    HoldReason,
    OrderLine,
    Payment,
    PaymentMethod,
    PaymentState,
    Refund,
    RefundLine,
    SalesOrder,
    Shipment,
)
from comptoir.model.payout import Fee, Payout, PayoutLine, PayoutLineKind
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine
from comptoir.model.till import TenderTotal, TillSales, ZReport

from tests import factories as make

D = Decimal
ACCOUNTS = [
    AccountMap(**more).for_company(country="FR", currency="EUR")
    for more in (
        {},
        {"franchise": True},
        {
            "gift_cards": "multi_purpose",
            "charges": {"tip": "467900", "deposit": "419700", "duty": "447000"},
            "payments": {
                "other": {"account": "467800", "journal": "OT", "journal_label": "Autres"},
                "marketplace": {
                    "account": "467100", "journal": "AM", "journal_label": "Amazon", "posted_by": "payout",
                },
            },
            "channels": {"web": {"prepayments": "deposit"}},
            "vat": {"0": {"sales": "707740", "shipping": "708574"}},
        },
        {
            "channels": {"web": {"prepayments": "deposit", "sale_per": "shipment"}},
            "changes": [{"valid_from": "2026-09-16", "vat": {"20": {"sales": "707199"}}}],
            "sales": [{"country": "DE", "account": "707599"}, {"charge": "shipping", "rate": "20", "vat": "445791"}],
        },
    )
]  # fmt: skip

cents = st.integers(min_value=-2_000, max_value=500_000).map(lambda n: D(n).scaleb(-2))
fine = st.integers(min_value=0, max_value=10**12).map(lambda n: D(n).scaleb(-8))
amounts = st.one_of(cents, cents, fine)
countries = st.sampled_from(["FR", "FR", "FR", "DE", "BE", "CH", "GP", "RE", "MC", "ES", None])
rates = st.sampled_from(["20", "20", "5.5", "10", "2.1", "8.5", "19", "0", "13"]).map(D)
moments = st.integers(min_value=1, max_value=28).map(lambda day: datetime(2026, 9, day, 8, 0, tzinfo=UTC))


#: What a part is taxed with, mostly; an odd part takes anything.
USUAL = [
    [("20", TaxScheme.DOMESTIC, "FR"), ("5.5", TaxScheme.DOMESTIC, "FR"), ("10", TaxScheme.DOMESTIC, "FR")],
    [("19", TaxScheme.OSS, "DE"), ("7", TaxScheme.OSS, "DE")],
    [("0", TaxScheme.EXPORT, "CH")],
    [("0", TaxScheme.INTRA_EU, "BE")],
]
odd = st.sampled_from([False] * 14 + [True])


@st.composite
def tax_lines(draw: st.DrawFn, net: Decimal, usual: list[tuple[str, TaxScheme, str]]) -> tuple[TaxLine, ...]:
    found = []
    strange = draw(odd)
    for _ in range(draw(st.integers(0, 2)) if strange else 1):
        shown, scheme, country = draw(st.sampled_from(usual))
        rate = draw(rates) if strange else D(shown)
        exact = net * rate / 100
        digits = D("0.01") if net == net.quantize(D("0.01")) else D("0.00000001")
        found.append(
            TaxLine(
                rate=rate,
                base=net,
                amount=D("0.00") if strange and draw(st.booleans()) else exact.quantize(digits),
                country=draw(countries) if strange else country,
                scheme=draw(st.sampled_from(list(TaxScheme))) if strange else scheme,
                collected_by=draw(st.sampled_from(list(CollectedBy))) if strange else CollectedBy.SELLER,
            )
        )
    return tuple(found)


@st.composite
def any_orders(draw: st.DrawFn) -> tuple[SalesOrder, list[Refund], list[Shipment]]:
    usual = draw(st.sampled_from(USUAL))
    lines = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        net = draw(amounts)
        taxes = draw(tax_lines(net, usual))
        line = make.line(net, None, quantity=str(draw(st.integers(1, 9))), number=number)
        kind = ItemKind.GIFT_CARD if draw(odd) else ItemKind.STOCK
        lines.append(
            line.model_copy(update={"taxes": taxes, "tax": sum((t.amount for t in taxes), D(0)), "kind": kind})
        )
    charges = []
    for number in range(1, draw(st.integers(0, 2)) + 1):
        net = (draw(amounts) / 10).quantize(D("0.01"))
        taxes = draw(tax_lines(net, usual))
        charges.append(
            Charge(
                external_id=f"S{number}",
                kind=draw(st.sampled_from(list(ChargeKind))) if draw(odd) else ChargeKind.SHIPPING,
                label="x",
                net=net,
                tax=sum((t.amount for t in taxes), D(0)),
                taxes=taxes,
            )
        )
    priced: list[OrderLine | Charge] = [*lines, *charges]
    tax = sum((p.tax for p in priced), D(0)).quantize(D("0.01"))
    total = (sum((p.net + p.tax for p in priced), D(0))).quantize(D("0.01"), "ROUND_HALF_UP")
    total += D(draw(st.sampled_from(["0.01", "-0.05", "3.00"]))) if draw(odd) else D(0)
    return draw(paid_orders(lines, charges, total, tax, usual))


@st.composite
def paid_orders(
    draw: st.DrawFn,
    lines: list[OrderLine],
    charges: list[Charge],
    total: Decimal,
    tax: Decimal,
    usual: list[tuple[str, TaxScheme, str]],
) -> tuple[SalesOrder, list[Refund], list[Shipment]]:
    methods = st.sampled_from(list(PaymentMethod))
    left = total
    payments = []
    for _ in range(draw(st.sampled_from([1, 1, 2, 3])) if not draw(odd) else 0):
        part = draw(st.sampled_from([left, left, (left / 2).quantize(D("0.01"))]))
        part += 1 if draw(odd) else 0
        left -= part
        method = draw(methods) if draw(odd) else draw(st.sampled_from([PaymentMethod.CARD, PaymentMethod.TRANSFER]))
        source = "stripe" if method is PaymentMethod.CARD else "bacs"
        paid_at = draw(st.none() | moments)
        payments.append(Payment(method=method, source_method=source, amount=part, paid_at=paid_at))
    country = draw(countries) if draw(odd) else usual[0][2]
    postcode = draw(st.sampled_from(["75011", "20200", "97110", "x", None]))
    place = make.address("shipping", country=country, postcode=postcode)
    states = [PaymentState.PAID, PaymentState.PAID, PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED]
    order = make.order(
        lines,
        charges,
        payments=tuple(payments),
        totals=SourceTotals(total=total, tax=tax),
        shipping=None if draw(odd) else place,
        payment_state=draw(st.sampled_from(list(PaymentState) if draw(odd) else states)),
        fulfilment_state=draw(st.sampled_from(list(FulfilmentState))),
        hold=draw(st.sampled_from(list(HoldReason))) if draw(odd) else HoldReason.NONE,
        completed_at=draw(st.none() | moments),
        paid_at=draw(st.none() | moments),
        rounding=make.order().rounding.model_copy(update={"level": draw(st.sampled_from(list(RoundingLevel)))}),
    )
    refunds = [draw(any_refunds(order, n)) for n in range(draw(st.sampled_from([0, 0, 1, 2])))]
    shipped = [
        Shipment(
            external_id=f"s{n}",
            order_number=order.number,
            shipped_at=draw(moments),
            quantities={line.external_id: D(draw(st.integers(0, int(line.quantity)))) for line in order.lines[:2]},
        )
        for n in range(draw(st.integers(0, 2)))
    ]
    return order, refunds, shipped


@st.composite
def any_refunds(draw: st.DrawFn, order: SalesOrder, number: int) -> Refund:
    parts: list[RefundLine] = []
    if draw(st.booleans()):
        line = draw(st.sampled_from(order.lines))
        whole = make.refund_line(line)
        parts = [draw(st.sampled_from([whole, whole.model_copy(update={"quantity": D(0), "taxes": ()})]))]
    itemised = sum((p.net + p.tax for p in parts), D(0)).quantize(D("0.01"))
    amount = draw(st.sampled_from([itemised, order.totals.total, (order.totals.total / 3).quantize(D("0.01"))]))
    method = draw(st.sampled_from([PaymentMethod.CARD, PaymentMethod.OTHER, PaymentMethod.GIFT_CARD]))
    return make.refund(order, amount, lines=parts, number=str(number), day=21 + number, payment_method=method)


def balances(found: list[JournalEntry]) -> bool:
    return all(sum((signed(x) for x in entry.lines), D(0)) == 0 for entry in found)


@settings(max_examples=250, deadline=None)
@given(any_orders(), st.sampled_from(ACCOUNTS))
def test_an_odd_order_is_booked_in_balance_or_parked(
    made: tuple[SalesOrder, list[Refund], list[Shipment]], accounts: AccountMap
) -> None:
    order, refunds, shipments = made
    channel = accounts.channel("web")
    try:
        found = derive_entries(order, refunds, channel=channel, accounts=accounts, shipments=shipments)
    except MappingError as error:
        assert error.hint and error.record == order.number and error.field and error.code != "mapping"
        return
    assert balances(found)
    assert len({entry.key for entry in found}) == len({entry.piece for entry in found}) == len(found)
    for entry in found:
        assert len(entry.lines) >= 2
        assert all(x.amount > 0 and x.amount == x.amount.quantize(D("0.01")) for x in entry.lines)
    # What follows from entries takes whatever they are.
    sheet = vat_sheet(found, accounts=accounts, first=date(2026, 1, 1), last=date(2027, 12, 31))
    on_vat = [x for entry in found for x in entry.lines if x.account.startswith(("4457", "4452"))]
    oss = sum((o.tax for o in sheet.oss), D(0))
    placed = sheet.due + oss + sum((v for k, v in sheet.unplaced.items() if k.startswith("44")), D(0))
    assert placed == -sum((signed(x) for x in on_vat), D(0)) or sheet.unplaced
    assert correct_entries(found, found, posted_on=date(2026, 11, 1)) == []
    taken_back = correct_entries(found, [], posted_on=date(2026, 11, 1))
    assert account_totals([*found, *taken_back]) == {}
    assert balances(difference_entries(found, [], posted_on=date(2026, 11, 1)))


@settings(max_examples=100, deadline=None)
@given(any_orders(), st.sampled_from(ACCOUNTS))
def test_the_proof_of_an_odd_order_never_fails_and_says_what_differs(
    made: tuple[SalesOrder, list[Refund], list[Shipment]], accounts: AccountMap
) -> None:
    order, refunds, _ = made
    channel = accounts.channel("web")
    posted: list[JournalEntry] = []
    try:
        posted = derive_entries(order, refunds, channel=channel, accounts=accounts)
    except MappingError:
        posted = []
    sheet = prove(order, refunds, channel=channel, accounts=accounts, posted=posted)
    assert sheet.proved == (not explain(sheet))
    parts: list[Any] = [*order.lines, *order.charges]
    off = order.totals.total - sum((p.net + p.tax for p in parts), D(0)).quantize(D("0.01"), "ROUND_HALF_UP")
    if abs(off) > D("0.05"):
        assert not sheet.proved and sheet.residual >= abs(off) - D("0.01"), "tax and net may be rounded apart"


@pytest.mark.parametrize("where", ["total", "payment", "refund", "payout", "fee", "z", "purchase"])
def test_an_amount_finer_than_a_cent_parks_wherever_it_stands(where: str) -> None:
    accounts = ACCOUNTS[0]
    fine_amount = D("120.005")
    order = make.order()
    refunds: list[Refund] = []
    if where == "total":
        order = order.model_copy(update={"totals": SourceTotals(total=fine_amount, tax=D("20.00"))})
    elif where == "payment":
        order = order.model_copy(update={"payments": (order.payments[0].model_copy(update={"amount": fine_amount}),)})
    elif where == "refund":
        refunds = [make.refund(order, "60.005")]
    documents: dict[str, Callable[[], Any]] = {
        "payout": lambda: payout_entries(payout(amount=fine_amount), accounts=accounts),
        "fee": lambda: payout_entries(payout(fee=D("1.005")), accounts=accounts),
        "z": lambda: z_entries(closing(fine_amount), accounts=accounts),
        "purchase": lambda: supplier_entry(bought(D("100.005")), accounts=accounts),
    }
    derive = documents.get(
        where, lambda: derive_entries(order, refunds, channel=accounts.channel("web"), accounts=accounts)
    )
    with pytest.raises(MappingError) as caught:
        derive()
    assert caught.value.code == "amount" and caught.value.hint


def payout(amount: Decimal | str = "120.00", fee: Decimal | str = "0.00") -> Payout:
    line = PayoutLine(
        external_id="1", kind=PayoutLineKind.SALE, source_kind="charge", occurred_on=date(2026, 9, 15),
        order_number="1001", amount=D("120.00"), fees=(Fee(kind="payment", net=D(fee)),),
    )  # fmt: skip
    return Payout(
        external_id="po", provider="stripe", number="P1", period_start=date(2026, 9, 1), period_end=date(2026, 9, 30),
        paid_on=date(2026, 9, 30), currency="EUR", amount=D(amount), lines=(line,),
    )  # fmt: skip


def closing(amount: Decimal) -> ZReport:
    return ZReport(
        external_id="z", till="till", number="1", closed_on=date(2026, 9, 30), currency="EUR",
        sales=(TillSales(rate=D("20"), net=D("100.00"), tax=D("20.00")),),
        tenders=(TenderTotal(method=PaymentMethod.CASH, amount=amount),),
    )  # fmt: skip


def bought(net: Decimal) -> SupplierInvoice:
    line = SupplierInvoiceLine(cost="goods", net=net, tax=D("20.00"), rate=D("20"))
    return SupplierInvoice(
        external_id="1", supplier="S", number="F1", issued_on=date(2026, 9, 30), currency="EUR",
        regime=PurchaseRegime.DOMESTIC, lines=(line,), total=D("120.00"),
    )  # fmt: skip
