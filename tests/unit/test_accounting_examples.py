"""Every worked example of sales-accounting.md, against the entries of the domain (sections 2 to 11).

The tables are read from tests/data/accounting/sales-examples.md. The specification's accounts stand for sub-accounts of
the default map (`ACCOUNTS`); lines are compared without regard to their order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import signed
from comptoir.domain.journal import derive_entries
from comptoir.domain.payouts import fee_invoice_entry, payout_entries
from comptoir.domain.purchases import oss_payment_entry, supplier_entry
from comptoir.domain.summaries import summarise
from comptoir.domain.tills import z_entries
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import CollectedBy, TaxScheme
from comptoir.model.order import (
    ChargeKind,
    FulfilmentState,
    Payment,
    PaymentMethod,
    SalesOrder,
)
from comptoir.model.payout import Fee, Payout, PayoutLine, PayoutLineKind
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine
from comptoir.model.till import CashMovement, TenderTotal, TillSales, ZReport

from tests import factories as make

D = Decimal
PAGE = Path(__file__).parents[1] / "data" / "accounting" / "sales-examples.md"
DAY = date(2026, 9, 30)
Rows = Counter[tuple[str, str, Decimal]]

#: Account of the specification -> of the default map; an example may say otherwise.
ACCOUNTS = {
    "411": "411WEB", "411 C…": "411WEB", "411 CAMZFR": "411CAMZFR", "411 CAMZ…": "411CAMZFR",
    "401": "401DUPONT", "401 TRANS": "401TRANS", "4191": "419110", "4191 CADEAU": "419100", "4452": "445200",
    "44566": "445660", "445662": "445662", "445711": "445711", "445712": "445712", "445713": "445713",
    "445717 DE": "445717DE", "445717 BE": "445717BE", "44587": "445870", "4457": "445715",
    "467 AMZ": "467100", "5112": "511200", "5115": "511500", "512": "512000", "580 / 512": "512000", "517100": "517100",
    "53": "530000", "580": "580000", "607": "607000", "6087": "608700", "6132": "613200", "6222": "622200",
    "6231": "623100", "627": "627000", "658": "658000", "665": "665000", "7071": "707100", "7072": "707200",
    "7073": "707300", "7075": "707500", "7076": "707600", "7077": "707710", "7085": "708510", "70851": "708510",
    "70852": "708520", "7097": "709710",
}  # fmt: skip
AMAZON = {
    "payments": {
        "marketplace": {"account": "467100", "journal": "AM", "journal_label": "Amazon", "posted_by": "payout"}
    },
    "channels": {"amz": {"customer_account": "411CAMZFR"}},
}


def books(**settings: Any) -> AccountMap:
    return AccountMap(**settings).for_company(country="FR", currency="EUR")


def amazon(**provider: Any) -> AccountMap:
    own = {"account": "467100", "journal": "AM", "journal_label": "Amazon", "clears": "payouts", "channel": "amz"}
    return books(**AMAZON, providers={"amazon": {**own, **provider}})


def entries_of(order: SalesOrder, *refunds: Any, channel: str = "web", **settings: Any) -> list[JournalEntry]:
    accounts = settings.pop("accounts", None) or books(**settings)
    return derive_entries(order, refunds, channel=accounts.channel(channel), accounts=accounts)


def one(entries: list[JournalEntry], kind: EntryKind) -> JournalEntry:
    (found,) = [entry for entry in entries if entry.kind is kind]
    return found


def payout(*lines: PayoutLine, amount: str, closing: str = "0", provider: str = "stripe") -> Payout:
    return Payout(
        external_id="po_1", provider=provider, number="S1", period_start=date(2026, 9, 1), period_end=DAY,
        paid_on=DAY, currency="EUR", amount=D(amount), closing=D(closing), lines=lines,
    )  # fmt: skip


def listed(kind: PayoutLineKind, amount: str, *fees: Fee, order: str | None = "1001") -> PayoutLine:
    return PayoutLine(
        external_id=f"L-{kind.value}-{amount}", kind=kind, source_kind=kind.value, occurred_on=DAY,
        order_number=order, amount=D(amount), fees=fees,
    )  # fmt: skip


def fee(kind: str, net: str, tax: str | None = None) -> Fee:
    return Fee(kind=kind, net=D(net), tax=None if tax is None else D(tax))


# -- what makes each example --------------------------------------------------------------------------------------


def sale(*lines: Any, charges: Any = (), **more: Any) -> JournalEntry:
    settings = more.pop("settings", {})
    return one(entries_of(make.order(list(lines), charges, **more), **settings), EntryKind.SALE)


def split_shipping() -> JournalEntry:
    tax_lines = (*make.taxes("3.70", "20", amount="0.74"), *make.taxes("1.48", "5.5", amount="0.08"))
    return sale(
        make.line("50.00"), make.line("20.00", "5.5"), charges=[make.charge("5.18", tax_lines=tax_lines)], total="87.10"
    )


def coupon() -> JournalEntry:
    full = make.line("90.00")
    return sale(full.model_copy(update={"list_net": D("100.00"), "list_tax": D("20.00"), "unit_price": D("100.00")}))


def rebate() -> JournalEntry:
    order = make.order([make.line("100.00")])
    part = make.refund_line(order.lines[0], quantity="0", net="10.00")
    return one(entries_of(order, make.refund(order, lines=[part])), EntryKind.CREDIT_NOTE)


def half_returned(kind: EntryKind) -> JournalEntry:
    order = make.order([make.line("100.00", quantity="2")], [make.charge("5.00")])
    part = make.refund_line(order.lines[0], quantity="1", net="50.00")
    return one(entries_of(order, make.refund(order, lines=[part])), kind)


def collected() -> JournalEntry:
    accounts = books(channels={"web": {"posting": "day", "summary_approved_by": "Cabinet Martin, 2 January 2026"}})
    orders = [
        make.order(),
        make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")], number="1002"),
    ]
    each = [entry for order in orders for entry in entries_of(order, accounts=accounts)]
    days = summarise(each, channel=accounts.channel("web"), accounts=accounts)
    (found,) = [entry for entry in days if entry.journal == "ST"]
    assert found.piece == "WEB260915RST"
    return found


def gateway_payout() -> JournalEntry:
    charges = [
        listed(PayoutLineKind.SALE, "120.00", fee("payment", "1.90")),
        listed(PayoutLineKind.SALE, "87.10", fee("payment", "1.41"), order="1002"),
    ]
    return one(payout_entries(payout(*charges, amount="203.79"), accounts=books()), EntryKind.PAYOUT)


def chargeback() -> JournalEntry:
    settings = {"providers": {"stripe": {"channel": "web"}}}
    line = listed(PayoutLineKind.DISPUTE, "-87.10", fee("dispute", "15.00"))
    return one(payout_entries(payout(line, amount="-102.10"), accounts=books(**settings)), EntryKind.CHARGEBACK)


def amazon_order(*lines: Any, charges: Any = (), refund_net: str | None = None) -> list[JournalEntry]:
    order = make.order(list(lines), charges, method=PaymentMethod.MARKETPLACE, source_method="amazon")
    refunds = []
    if refund_net is not None:
        refunds = [make.refund(order, lines=[make.refund_line(order.lines[0], quantity="1", net=refund_net)])]
    return entries_of(order, *refunds, channel="amz", accounts=amazon())


def settlement() -> JournalEntry:
    lines = [
        listed(PayoutLineKind.SALE, "126.00"),
        listed(PayoutLineKind.REFUND, "-24.00"),
        listed(PayoutLineKind.FEE, "0", fee("commission", "18.00", "3.60"), fee("commission", "-3.00", "-0.60")),
        listed(PayoutLineKind.FEE, "0.00", fee("refund_administration", "0.60", "0.12")),
    ]
    found = payout_entries(payout(*lines, amount="83.28", provider="amazon"), accounts=amazon(fee_vat="domestic"))
    return one(found, EntryKind.PAYOUT)


def reverse_charged() -> JournalEntry:
    line = listed(PayoutLineKind.FEE, "0", fee("commission", "15.00"), fee("refund_administration", "0.60"))
    withheld = payout(line, amount="0", closing="-15.60", provider="amazon")
    accounts = amazon(fee_vat="reverse_charge", fee_rate="20")
    return one(payout_entries(withheld, accounts=accounts), EntryKind.PAYOUT)


def collected_by_amazon() -> JournalEntry:
    line = make.line("100.00", "8", country="US", collected_by=CollectedBy.MARKETPLACE, scheme=TaxScheme.EXPORT)
    order = make.order(
        [line],
        shipping=make.address("shipping", country="US"),
        method=PaymentMethod.MARKETPLACE,
        source_method="amazon",
    )
    return one(entries_of(order, channel="amz", accounts=amazon()), EntryKind.SALE)


def fba_fees() -> JournalEntry:
    fees = [fee("storage", "12.00", "2.40"), fee("advertising", "30.00", "6.00"), fee("subscription", "39.00", "7.80")]
    withheld = payout(listed(PayoutLineKind.FEE, "0", *fees), amount="0", closing="-97.20", provider="amazon")
    return one(payout_entries(withheld, accounts=amazon(fee_vat="domestic")), EntryKind.PAYOUT)


def z_report(**over: Any) -> ZReport:
    fields: dict[str, Any] = {
        "external_id": "z42", "till": "till", "number": "42", "closed_on": DAY, "currency": "EUR",
        "sales": (), "tenders": (),
    }  # fmt: skip
    return ZReport(**{**fields, **over})


def closing(kind: EntryKind, position: int = 0, accounts: AccountMap | None = None, **over: Any) -> JournalEntry:
    found = z_entries(z_report(**over), accounts=accounts or books())
    return [entry for entry in found if entry.kind is kind][position]


def daily_z() -> JournalEntry:
    sales = [("20", "500.00", "100.00"), ("5.5", "100.00", "5.50"), ("10", "50.00", "5.00")]
    tenders = [("cash", "210.50"), ("cheque", "50.00"), ("card", "500.00")]
    return closing(
        EntryKind.TILL,
        sales=tuple(TillSales(rate=D(r), net=D(n), tax=D(t)) for r, n, t in sales),
        tenders=tuple(TenderTotal(method=PaymentMethod(m), amount=D(a)) for m, a in tenders),
    )


def remittance() -> JournalEntry:
    accounts = books(
        providers={"tpe": {"account": "511500", "journal": "CB", "journal_label": "CB", "fee_vat": "exempt"}}
    )
    line = listed(PayoutLineKind.SALE, "500.00", fee("payment", "2.50"), order=None)
    return one(payout_entries(payout(line, amount="497.50", provider="tpe"), accounts=accounts), EntryKind.PAYOUT)


def bank_deposit(half: int) -> JournalEntry:
    moved = CashMovement(external_id="7", amount=D("200.00"), taken_on=DAY, arrived_on=date(2026, 10, 2))
    return closing(EntryKind.TRANSFER, half, movements=(moved,))


def with_deposit(kind: EntryKind) -> JournalEntry:
    accounts = books(channels={"web": {"prepayments": "deposit"}})
    first = Payment(
        method=PaymentMethod.TRANSFER, source_method="bacs", amount=D("60.00"),
        paid_at=datetime(2026, 9, 15, 8, 0, tzinfo=UTC),
    )  # fmt: skip
    order = make.order(payments=(first,))
    if kind is EntryKind.SALE:
        order = order.model_copy(
            update={
                "fulfilment_state": FulfilmentState.SHIPPED,
                "completed_at": datetime(2026, 9, 20, 8, 0, tzinfo=UTC),
            }
        )
    return one(entries_of(order, accounts=accounts), kind)


def gift_card_sold() -> JournalEntry:
    card = TenderTotal(method=PaymentMethod.CARD, amount=D("50.00"))
    return closing(
        EntryKind.TILL, accounts=books(gift_cards="multi_purpose"), tenders=(card,), gift_cards_sold=D("50.00")
    )


def gift_card_used() -> JournalEntry:
    tenders = (
        TenderTotal(method=PaymentMethod.GIFT_CARD, amount=D("50.00")),
        TenderTotal(method=PaymentMethod.CARD, amount=D("70.00")),
    )
    sold = (TillSales(rate=D("20"), net=D("100.00"), tax=D("20.00")),)
    return closing(EntryKind.TILL, accounts=books(gift_cards="multi_purpose"), tenders=tenders, sales=sold)


def abroad(scheme: TaxScheme, country: str, rate: str = "0") -> JournalEntry:
    place = make.address("shipping", country=country)
    return sale(make.line("100.00", rate, scheme=scheme, country=country), shipping=place)


def short_payment() -> JournalEntry:
    order = make.order(paid="119.99", method=PaymentMethod.TRANSFER, source_method="bacs")
    return one(entries_of(order), EntryKind.PAYMENT)


def bought(regime: PurchaseRegime, *lines: SupplierInvoiceLine, total: str, credit: bool = False) -> JournalEntry:
    invoice = SupplierInvoice(
        external_id="1", supplier="DUPONT", number="F2026-1", issued_on=DAY, currency="EUR", regime=regime,
        lines=lines, total=D(total), credit=credit,
    )  # fmt: skip
    return supplier_entry(invoice, accounts=books())


def goods(net: str, tax: str, rate: str = "20") -> SupplierInvoiceLine:
    return SupplierInvoiceLine(cost="goods", net=D(net), tax=D(tax), rate=D(rate))


def imported() -> JournalEntry:
    duty = SupplierInvoiceLine(cost="duty", net=D("5.00"), tax=D("1.00"), rate=D("20"), payee="TRANS")
    return bought(PurchaseRegime.IMPORT, goods("100.00", "20.00"), duty, total="100.00")


#: Beginning of an example's title -> what makes its entry, and accounts that it calls otherwise.
CASES: dict[str, tuple[Callable[[], JournalEntry], dict[str, str]]] = {
    "Domestic sale, 20 %": (lambda: sale(make.line("100.00")), {}),
    "Two rates + shipping": (
        lambda: sale(make.line("50.00"), make.line("20.00", "5.5"), charges=[make.charge("5.00")]), {}),
    "Same basket, 6.00 TTC shipping": (split_shipping, {}),
    "Coupon −10 %": (coupon, {}),
    "Rebate granted later": (rebate, {}),
    "Escompte (cash discount)": (
        lambda: sale(make.line("100.00"), charges=[make.charge("-2.00", kind=ChargeKind.CASH_DISCOUNT)]), {}),
    "Seller under franchise": (lambda: sale(make.line("120.00", None), settings={"franchise": True}), {}),
    "Credit note (partial return": (lambda: half_returned(EntryKind.CREDIT_NOTE), {}),
    "Refund paid back by the gateway": (lambda: half_returned(EntryKind.REFUND_PAYMENT), {}),
    "Card payments collected": (collected, {}),
    "Payout of the gateway": (gateway_payout, {}),
    "Chargeback of 87.10": (chargeback, {}),
    "Amazon, sale of 100.00": (
        lambda: one(amazon_order(make.line("100.00"), charges=[make.charge("5.00")]), EntryKind.SALE), {}),
    "Amazon, returned item": (
        lambda: one(amazon_order(make.line("100.00", quantity="5"), refund_net="20.00"), EntryKind.CREDIT_NOTE), {}),
    # The correction at the head of the specification: withheld VAT waits for the fee invoice.
    "Amazon settlement, fees": (settlement, {"44566": "445860"}),
    "Same fees invoiced": (reverse_charged, {}),
    "Order for which Amazon collects": (collected_by_amazon, {"7077": "707730"}),
    "FBA and advertising fees": (fba_fees, {"44566": "445860"}),
    "POS daily Z": (daily_z, {}),
    "Cash counted 208.50": (
        lambda: closing(EntryKind.CASH_DIFFERENCE, cash_expected=D("210.50"), cash_counted=D("208.50")), {}),
    "Card remittance": (remittance, {}),
    "Cash deposit of 200.00, first": (lambda: bank_deposit(0), {}),
    "Cash deposit of 200.00, second": (lambda: bank_deposit(1), {}),
    "Deposit of 60.00": (lambda: with_deposit(EntryKind.DEPOSIT), {}),
    "Final invoice of 120.00": (lambda: with_deposit(EntryKind.SALE), {}),
    "Sale of a multi-purpose": (gift_card_sold, {}),
    "Use of the 50.00 card": (gift_card_used, {}),
    "Sale to a German consumer": (lambda: abroad(TaxScheme.OSS, "DE", "19"), {}),
    "Quarterly OSS payment": (
        lambda: oss_payment_entry(
            "2026T3", {"DE": D("19.00"), "BE": D("21.00")}, paid_on=date(2026, 10, 31), accounts=books()), {}),
    "B2B delivery to another": (lambda: abroad(TaxScheme.INTRA_EU, "DE"), {}),
    "Export outside the EU": (lambda: abroad(TaxScheme.EXPORT, "CH"), {}),
    "Payment 119.99": (short_payment, {}),
    "Shop total 120.00": (lambda: sale(make.line("100.01", tax="20.00"), total="120.00"), {}),
    "Supplier invoice, 20 %": (
        lambda: bought(PurchaseRegime.DOMESTIC, goods("100.00", "20.00"), total="120.00"), {}),
    "Purchase from another member": (
        lambda: bought(PurchaseRegime.INTRA_EU_GOODS, goods("100.00", "20.00"), total="100.00"), {}),
    "Import from a third country": (imported, {"44566": "445664"}),
    "Supplier credit note": (
        lambda: bought(PurchaseRegime.DOMESTIC, goods("30.00", "6.00"), total="36.00", credit=True), {}),
}  # fmt: skip


def examples() -> list[tuple[str, list[tuple[str, str, Decimal]]]]:
    """Section with title, and rows (side, account, amount) of every table of the page."""
    found: list[tuple[str, list[tuple[str, str, Decimal]]]] = []
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            section = line[3:].split(".")[0]
        elif title := re.match(r"\*\*(.+)\*\* — journal ", line):
            found.append((f"§{section} {title.group(1)}", []))
        elif line.startswith("|") and len(cells) == 4 and cells[0] and cells[0][0].isdigit():
            side = "D" if cells[2] else "C"
            found[-1][1].append((side, cells[0], D(cells[2] or cells[3])))
    return found


EXAMPLES = examples()


def case_of(title: str) -> tuple[Callable[[], JournalEntry], dict[str, str]]:
    (found,) = [case for start, case in CASES.items() if title.split(" ", 1)[1].startswith(start)]
    return found


def test_the_page_holds_every_example() -> None:
    assert len(EXAMPLES) == len(CASES) == 37
    for title, rows in EXAMPLES:
        debit = sum(amount for side, _, amount in rows if side == "D")
        assert debit == sum(amount for side, _, amount in rows if side == "C") > 0, title


@pytest.mark.parametrize(("title", "rows"), EXAMPLES, ids=[title[:40] for title, _ in EXAMPLES])
def test_the_entries_are_those_of_the_specification(title: str, rows: list[tuple[str, str, Decimal]]) -> None:
    make_entry, names = case_of(title)
    known = {**ACCOUNTS, **names}
    expected: Rows = Counter((side, known[account], amount) for side, account, amount in rows)
    entry = make_entry()
    assert Counter((line.side.value, line.account, line.amount) for line in entry.lines) == expected


def test_the_vat_of_withheld_fees_moves_when_their_invoice_is_attached() -> None:
    """The correction of the specification: 44586 until the invoice is there, then 44566."""
    accounts = amazon(fee_vat="domestic")
    invoice = SupplierInvoice(
        external_id="9", supplier="AMAZON", number="FR-INV-1", issued_on=date(2026, 10, 3), currency="EUR",
        regime=PurchaseRegime.DOMESTIC, withheld_by="amazon", payout_ids=("po_1",), total=D("18.72"),
        lines=(SupplierInvoiceLine(cost="commission", net=D("15.60"), tax=D("3.12"), rate=D("20")),),
    )  # fmt: skip
    withheld = settlement()
    moved = fee_invoice_entry(invoice, [withheld], accounts=accounts)
    assert moved is not None
    assert [(x.side.value, x.account, x.amount) for x in moved.lines] == [
        ("D", "445660", D("3.12")),
        ("C", "445860", D("3.12")),
    ]
    assert sum(signed(x) for e in (withheld, moved) for x in e.lines if x.account == "445860") == 0
