"""The VAT sheet, "redo October", and the journal of any orders: what must hold over all of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.domain.accounts import AccountMap
from comptoir.domain.corrections import correct_entries, difference_entries, rewrite_entries
from comptoir.domain.entries import account_totals, signed
from comptoir.domain.fec import check_fec, write_fec
from comptoir.domain.journal import derive_entries
from comptoir.domain.purchases import supplier_entry
from comptoir.domain.vat_return import VatSheet, vat_sheet
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import TaxScheme
from comptoir.model.order import (
    Charge,
    ChargeKind,
    FulfilmentState,
    OrderLine,
    PaymentState,
    Refund,
    SalesOrder,
)
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine

from tests import factories as make

D = Decimal
FIRST, LAST = date(2026, 9, 1), date(2026, 9, 30)


def books(**more: Any) -> AccountMap:
    return AccountMap(**more).for_company(country="FR", currency="EUR")


def entries(order: SalesOrder, *refunds: Refund, accounts: AccountMap | None = None, **more: Any) -> list[JournalEntry]:
    accounts = accounts or books()
    return derive_entries(order, refunds, channel=accounts.channel("web"), accounts=accounts, **more)


# -- any orders ---------------------------------------------------------------------------------------------------

PLACES: list[tuple[str, TaxScheme, str, str]] = [
    ("20", TaxScheme.DOMESTIC, "FR", "75011"),
    ("5.5", TaxScheme.DOMESTIC, "FR", "75011"),
    ("2.1", TaxScheme.DOMESTIC, "FR", "20200"),
    ("8.5", TaxScheme.DOMESTIC, "RE", "97400"),
    ("19", TaxScheme.OSS, "DE", "10115"),
    ("7", TaxScheme.OSS, "DE", "10115"),
    ("21", TaxScheme.OSS, "BE", "1000"),
    ("0", TaxScheme.INTRA_EU, "DE", "10115"),
    ("0", TaxScheme.EXPORT, "CH", "8000"),
    ("0", TaxScheme.EXPORT, "GP", "97110"),
]
cents = st.integers(min_value=100, max_value=400_000).map(lambda n: D(n).scaleb(-2))
eight = st.integers(min_value=10**8, max_value=4 * 10**11).map(lambda n: D(n).scaleb(-8))


@st.composite
def orders(draw: st.DrawFn, number: str = "1001") -> SalesOrder:
    """An order that validates: one place, goods and charges there, amounts of two or eight decimals, any rounding."""
    _, scheme, country, postcode = draw(st.sampled_from(PLACES))
    # Several rates of one place in one basket.
    usable = [p for p in PLACES if (p[1], p[2], p[3]) == (scheme, country, postcode)]
    net = st.one_of(cents, eight) if draw(st.booleans()) else cents

    def part(build: Callable[..., Any], amount: Decimal, **more: Any) -> Any:
        own = draw(st.sampled_from(usable))[0]
        tax = amount * D(own) / 100
        tax = tax.quantize(D("0.00000001")) if amount != amount.quantize(D("0.01")) else tax.quantize(D("0.01"))
        return build(amount, own, tax=tax, scheme=scheme, country=country, **more)

    lines = [part(make.line, draw(net), quantity=draw(st.integers(1, 9))) for _ in range(draw(st.integers(1, 5)))]
    kinds = st.sampled_from([ChargeKind.SHIPPING, ChargeKind.FEE, ChargeKind.GIFT_WRAP])
    charges = [
        part(make.charge, (draw(net) / 100).quantize(D("0.01")), kind=draw(kinds))
        for _ in range(draw(st.integers(0, 2)))
    ]
    priced: list[OrderLine | Charge] = [*lines, *charges]
    whole = sum((p.net + p.tax for p in priced), D(0)).quantize(D("0.01"), "ROUND_HALF_UP")
    whole += draw(st.sampled_from(["0.00", "0.00", "0.00", "0.01", "-0.04"]).map(D))
    shipped = {"fulfilment_state": FulfilmentState.SHIPPED, "completed_at": datetime(2026, 9, 20, tzinfo=UTC)}
    state: dict[str, Any] = draw(st.sampled_from([{}, shipped, {"state": PaymentState.REFUNDED}]))
    place = make.address("shipping", country=country, postcode=postcode)
    return make.order(lines, charges, total=whole, number=number, shipping=place, **state)


@st.composite
def refunds_of(draw: st.DrawFn, order: SalesOrder) -> list[Refund]:
    found = []
    left = order.totals.total
    for number in range(draw(st.integers(0, 3))):
        amount = (left * draw(st.integers(1, 100)) / 100).quantize(D("0.01"))
        if amount:
            found.append(make.refund(order, amount, number=str(number), day=21 + number))
            left -= amount
    return found


@pytest.mark.failure_mode(70)
@settings(max_examples=250, deadline=None)
@given(st.data(), st.sampled_from(["sale", "deposit"]))
def test_every_entry_of_any_order_balances_in_memory_and_in_the_written_file(data: st.DataObject, mode: str) -> None:
    accounts = books(channels={"web": {"prepayments": mode}})
    order = data.draw(orders())
    unsold = mode == "deposit" and order.completed_at is None
    refunds = [] if unsold else data.draw(refunds_of(order))
    found = entries(order, *refunds, accounts=accounts)
    assert found
    for entry in found:
        assert sum((signed(x) for x in entry.lines), D(0)) == 0
        assert all(x.amount > 0 and x.amount == x.amount.quantize(D("0.01")) for x in entry.lines)
    assert len({e.key for e in found}) == len({e.piece for e in found}) == len(found)
    out = io.BytesIO()
    write_fec(sorted(found, key=lambda e: e.posted_on), siren="732829320", year_end=date(2026, 12, 31), out=out)
    assert check_fec(out.getvalue()) == []
    written: dict[str, int] = {}
    for row in out.getvalue().decode().splitlines()[1:]:
        cells = row.split("\t")
        written[cells[4]] = written.get(cells[4], 0) + int(cells[11].replace(",", "")) - int(cells[12].replace(",", ""))
    totals = {account: int(amount * 100) for (account, _), amount in account_totals(found).items()}
    assert {account: amount for account, amount in written.items() if amount} == totals


@pytest.mark.failure_mode(52)
@settings(max_examples=100, deadline=None)
@given(orders())
def test_a_refund_of_all_that_was_paid_leaves_every_account_at_zero(order: SalesOrder) -> None:
    found = entries(order, make.refund(order, order.totals.total))
    rounding = {"658000", "758000"}
    assert {a for (a, _), v in account_totals(found).items() if v} <= rounding
    assert sum(v for (a, _), v in account_totals(found).items() if a in rounding) == 0


# -- the VAT sheet ------------------------------------------------------------------------------------------------


def sheet_of(found: list[JournalEntry], accounts: AccountMap | None = None) -> VatSheet:
    return vat_sheet(found, accounts=accounts or books(), first=FIRST, last=LAST)


def test_each_regime_stands_in_its_box() -> None:
    found: list[JournalEntry] = []
    for number, (rate, scheme, country, postcode) in enumerate(PLACES):
        place = make.address("shipping", country=country, postcode=postcode)
        line = make.line("1000.00", rate, scheme=scheme, country=country)
        found += entries(make.order([line], number=str(number), shipping=place))
    sheet = sheet_of(found)
    assert (sheet.differences, sheet.unplaced) == ({}, {})
    assert {name: (box.base, box.tax) for name, box in sheet.boxes.items()} == {
        "08": (D("1000.00"), D("200.00")), "09": (D("1000.00"), D("55.00")), "10": (D("1000.00"), D("85.00")),
        "T4": (D("1000.00"), D("21.00")), "A1": (D("4000.00"), D("0")), "E1": (D("2000.00"), D("0")),
        "E3": (D("3000.00"), D("0")), "F2": (D("1000.00"), D("0")),
    }  # fmt: skip
    assert [(o.country, o.rate, o.base, o.tax) for o in sheet.oss] == [
        ("BE", D("21"), D("1000.00"), D("210.00")),
        ("DE", D("7"), D("1000.00"), D("70.00")),
        ("DE", D("19"), D("1000.00"), D("190.00")),
    ]


def test_purchases_and_self_assessed_tax_stand_on_both_sides() -> None:
    def bought(regime: PurchaseRegime, asset: bool = False) -> JournalEntry:
        line = SupplierInvoiceLine(cost="goods", net=D("100.00"), tax=D("20.00"), rate=D("20"), asset=asset)
        invoice = SupplierInvoice(
            external_id="1", supplier="S", number=f"{regime}{asset}", issued_on=LAST, currency="EUR", regime=regime,
            lines=(line,), total=D("120.00") if regime is PurchaseRegime.DOMESTIC else D("100.00"),
        )  # fmt: skip
        return supplier_entry(invoice, accounts=books())

    regimes = [
        PurchaseRegime.DOMESTIC,
        PurchaseRegime.INTRA_EU_GOODS,
        PurchaseRegime.REVERSE_CHARGE,
        PurchaseRegime.IMPORT,
    ]
    sheet = sheet_of([*(bought(regime) for regime in regimes), bought(PurchaseRegime.DOMESTIC, asset=True)])
    assert (sheet.differences, sheet.unplaced) == ({}, {})
    assert {name: (box.base, box.tax) for name, box in sheet.boxes.items()} == {
        "08": (D("200.00"), D("40.00")), "A3": (D("100.00"), D("0")), "A4": (D("100.00"), D("0")),
        "B2": (D("100.00"), D("0")), "I1": (D("100.00"), D("20.00")), "19": (D("0"), D("20.00")),
        "20": (D("0"), D("80.00")),
    }  # fmt: skip
    assert (sheet.due, sheet.deductible) == (D("60.00"), D("100.00"))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_sheet_equals_the_posted_balances_and_the_documents(data: st.DataObject) -> None:
    """Three ways to one number: boxes, balances of the VAT accounts, and the tax lines of the documents themselves."""
    found: list[JournalEntry] = []
    documents: dict[str, Decimal] = {}
    for number in range(data.draw(st.integers(1, 4))):
        order = data.draw(orders(str(number)))
        found += entries(order)
        priced: list[OrderLine | Charge] = [*order.lines, *order.charges]
        for tax in (t for part in priced for t in part.taxes):
            group = f"oss {tax.country}" if tax.scheme is TaxScheme.OSS else "return"
            documents[group] = documents.get(group, D(0)) + tax.amount
    sheet = sheet_of(found)
    assert (sheet.differences, sheet.unplaced) == ({}, {})
    balances = {account: -v for (account, _), v in account_totals(found).items() if account.startswith("4457")}
    oss = sum((o.tax for o in sheet.oss), D(0))
    assert sheet.due + oss == sum(balances.values(), D(0))
    for country in {o.country for o in sheet.oss}:
        assert sum(o.tax for o in sheet.oss if o.country == country) == balances.get(f"445717{country}", D(0))
    slack = D("0.005") * sum(len(order_) for order_ in [found])  # parts of a cent are rounded once per entry
    assert abs(sheet.due - documents.get("return", D(0))) <= slack
    assert abs(oss - sum((v for k, v in documents.items() if k != "return"), D(0))) <= slack


def test_tax_on_the_wrong_account_is_named_and_lines_without_a_code_count_as_their_account() -> None:
    found = entries(make.order([make.line("100.00"), make.line("10.00", "10")]))
    plain = [
        e.model_copy(
            update={"lines": tuple(x.model_copy(update={"vat_code": None, "vat_rate": None}) for x in e.lines)}
        )
        for e in found
    ]
    assert sheet_of(plain).boxes == sheet_of(found).boxes
    moved = found[0].model_copy(
        update={
            "lines": tuple(
                x.model_copy(update={"account": "445712"}) if x.account == "445711" else x for x in found[0].lines
            )
        }
    )
    assert sheet_of([moved]).differences == {"445712": D("20.00")}
    strange = found[0].lines[1].model_copy(update={"vat_code": "lunar-20"})
    odd = found[0].model_copy(update={"lines": (found[0].lines[0], strange, *found[0].lines[2:])})
    assert sheet_of([odd]).unplaced == {"lunar-20": D("100.00")}


def test_other_months_do_not_count_and_a_box_can_be_changed() -> None:
    found = entries(make.order())
    assert vat_sheet(found, accounts=books(), first=date(2026, 10, 1), last=date(2026, 10, 31)).boxes == {}
    own = books(vat_boxes={"domestic-FR-20": "8A"})
    assert set(sheet_of(found, own).boxes) == {"8A", "A1"}


def test_vat_of_a_deposit_is_due_in_its_month_and_not_again() -> None:
    accounts = books(channels={"web": {"prepayments": "deposit"}})
    paid = make.order(completed_at=datetime(2026, 10, 5, tzinfo=UTC), fulfilment_state=FulfilmentState.SHIPPED)
    found = entries(paid, accounts=accounts)
    september = sheet_of(found, accounts)
    october = vat_sheet(found, accounts=accounts, first=date(2026, 10, 1), last=date(2026, 10, 31))
    assert (september.due, september.deposits_tax) == (D("20.00"), D("20.00"))
    assert (october.due, october.boxes["08"].base) == (D("0.00"), D("100.00"))


# -- redo October -------------------------------------------------------------------------------------------------


def totals_of(*groups: list[JournalEntry]) -> dict[tuple[str, str | None], Decimal]:
    return account_totals([entry for group in groups for entry in group])


@st.composite
def october(draw: st.DrawFn) -> tuple[list[JournalEntry], list[JournalEntry]]:
    """What was posted of October, and what its documents call for now: changed, cancelled, new and unchanged ones."""
    before: list[JournalEntry] = []
    after: list[JournalEntry] = []
    for number in range(draw(st.integers(1, 5))):
        one, other = draw(orders(str(number))), draw(orders(str(number)))
        fate = draw(st.sampled_from(["same", "changed", "cancelled", "new"]))
        before += [] if fate == "new" else entries(one)
        after += {"same": entries(one), "changed": entries(other), "cancelled": [], "new": entries(other)}[fate]
    return before, after


@settings(max_examples=120, deadline=None)
@given(october())
def test_redo_october_withdraw_and_rewrite_or_differences_end_the_same(
    months: tuple[list[JournalEntry], list[JournalEntry]],
) -> None:
    """(a) the batch was withdrawn: the same pieces again; (b) it stays: only differences. Account totals are equal."""
    posted, wanted = months
    rewritten = rewrite_entries(posted, wanted)
    day = date(2026, 11, 4)
    differences = difference_entries(posted, wanted, posted_on=day)
    reversals = correct_entries(posted, wanted, posted_on=day)
    assert totals_of(list(rewritten.entries)) == totals_of(posted, differences) == totals_of(posted, reversals)
    assert totals_of(list(rewritten.entries)) == totals_of(wanted)
    # The same documents keep their pieces, keys and days.
    pieces = {e.key: (e.piece, e.posted_on) for e in posted}
    for entry in rewritten.entries:
        assert (entry.piece, entry.posted_on) == pieces.get(entry.key, (entry.piece, entry.posted_on))
    assert set(rewritten.removed) == {e.piece for e in posted} - {e.piece for e in wanted}
    # Differences are the smaller way, under new pieces, and once they are posted nothing is left to do.
    assert len(differences) <= len(reversals)
    assert not {e.piece for e in differences} & {e.piece for e in posted}
    assert difference_entries([*posted, *differences], wanted, posted_on=day) == []
    assert correct_entries([*posted, *differences], wanted, posted_on=day) == []


def test_a_change_of_one_price_is_one_small_entry() -> None:
    before, after = entries(make.order()), entries(make.order([make.line("90.00")]))
    found = difference_entries(before, after, posted_on=date(2026, 11, 4))
    sale, payment = found
    assert [(x.side.value, x.account, x.amount) for x in sale.lines] == [
        ("C", "411WEB", D("12.00")), ("D", "707100", D("10.00")), ("D", "445711", D("2.00")),
    ]  # fmt: skip
    assert (sale.kind, sale.key, sale.piece) == (EntryKind.DIFFERENCE, "web/1001/sale/dif1", "WEB1001E1")
    assert (sale.posted_on, sale.document_on) == (date(2026, 11, 4), date(2026, 9, 15))
    # A second change counts on, and a return to the first state is the way back.
    posted = [*before, *found]
    again = difference_entries(posted, before, posted_on=date(2026, 11, 5))
    assert [e.key for e in again] == ["web/1001/sale/dif2", "web/1001/payment/dif2"]
    assert totals_of(posted, again) == totals_of(before)
    assert payment.document_on == date(2026, 9, 15)


@pytest.mark.parametrize(("country", "rate", "total"), [("SK", "23", "123"), ("AT", "20", "120")])
def test_a_difference_moves_turnover_and_tax_to_the_country_and_rate_of_oss(
    country: str, rate: str, total: str
) -> None:
    def sold(place: str, percent: str) -> list[JournalEntry]:
        line = make.line("100.00", percent, scheme=TaxScheme.OSS, country=place)
        return entries(make.order([line], shipping=make.address("shipping", country=place, postcode="1010")))

    before, after = sold("SK", "20"), sold(country, rate)
    found = [*before, *difference_entries(before, after, posted_on=date(2026, 9, 20))]
    (line,) = sheet_of(found).oss
    assert (line.country, line.rate, line.base, line.base + line.tax) == (country, D(rate), D("100.00"), D(total))
    assert totals_of(found) == totals_of(after)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), orders()), st.booleans()), min_size=1, max_size=5))
def test_any_mixture_of_reversals_and_differences_ends_where_it_should(
    history: list[tuple[SalesOrder | None, bool]],
) -> None:
    posted: list[JournalEntry] = []
    wanted: list[JournalEntry] = []
    for number, (order, by_difference) in enumerate(history):
        wanted = [] if order is None else entries(order)
        way = difference_entries if by_difference else correct_entries
        posted += way(posted, wanted, posted_on=date(2026, 11, 1) + timedelta(days=number))
        assert totals_of(posted) == totals_of(wanted)
    assert len({e.key for e in posted}) == len({e.piece for e in posted}) == len(posted)
