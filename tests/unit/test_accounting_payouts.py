"""Payouts, withheld fees and their VAT, disputes, and whether the provider's account returns to zero."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.domain.accounts import AccountMap
from comptoir.domain.clearing import REASONS, Clearing, clearing, negative_cash, open_items
from comptoir.domain.corrections import correct_entries
from comptoir.domain.entries import account_totals, signed
from comptoir.domain.journal import derive_entries
from comptoir.domain.payouts import fee_invoice_entry, payout_entries
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.order import PaymentMethod, SalesOrder
from comptoir.model.payout import Fee, Payout, PayoutLine, PayoutLineKind
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine

from tests import factories as make

D = Decimal
Kind = PayoutLineKind
PAID_ON = date(2026, 9, 30)
OWN = {"account": "467100", "journal": "AM", "journal_label": "Amazon", "clears": "payouts", "channel": "amz"}


def books(**more: Any) -> AccountMap:
    return AccountMap(**more).for_company(country="FR", currency="EUR")


def amazon(**provider: Any) -> AccountMap:
    franchise = provider.pop("franchise", False)
    return books(franchise=franchise, providers={"amazon": {**OWN, **provider}})


def line(kind: Kind, amount: str | Decimal, *fees: Fee, order: str | None = "1001", name: str = "1") -> PayoutLine:
    return PayoutLine(
        external_id=name, kind=kind, source_kind=f"word-{kind.value}", occurred_on=date(2026, 9, 15),
        order_number=order, amount=D(amount), fees=fees,
    )  # fmt: skip


def fee(net: str | Decimal, tax: str | None = None, kind: str = "payment") -> Fee:
    return Fee(kind=kind, net=D(net), tax=None if tax is None else D(tax))


def payout(*lines: PayoutLine, amount: str | Decimal | None = None, **over: Any) -> Payout:
    given_ = sum((x.net for x in lines), D(0)) if amount is None else D(amount)
    fields: dict[str, Any] = {
        "external_id": "po_1", "provider": "stripe", "number": "P1", "period_start": date(2026, 9, 1),
        "period_end": date(2026, 9, 28), "paid_on": PAID_ON, "currency": "EUR", "amount": given_, "lines": lines,
    }  # fmt: skip
    return Payout(**{**fields, **over})


def posted(*orders: SalesOrder, accounts: AccountMap | None = None, refunds: Any = ()) -> list[JournalEntry]:
    accounts = accounts or books()
    web = accounts.channel("web")
    found = []
    for order in orders:
        own = [refund for refund in refunds if refund.order_number == order.number]
        found += derive_entries(order, own, channel=web, accounts=accounts)
    return found


def sums(*entries: JournalEntry) -> dict[str, Decimal]:
    return {account: amount for (account, _), amount in account_totals(entries).items()}


def parked(settlement: Payout, accounts: AccountMap | None = None) -> MappingError:
    with pytest.raises(MappingError) as caught:
        payout_entries(settlement, accounts=accounts or books())
    assert settlement.number in caught.value.message
    assert caught.value.hint
    return caught.value


# -- what parks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settlement", "accounts", "code", "hint"),
    [
        (payout(line(Kind.SALE, "10"), provider="alma"), None, "provider", "[accounting.providers.alma]"),
        (payout(line(Kind.SALE, "10"), currency="USD"), None, "currency", "rate"),
        (payout(line(Kind.SALE, "10", fee("1", kind="weighing"))), None, "fee_kind", "accounting.fees.weighing"),
        (payout(line(Kind.LOAN, "500")), None, "payout_kind", "others.loan"),
        (payout(line(Kind.ADJUSTMENT, "-3")), None, "payout_kind", "others.adjustment"),
        (payout(line(Kind.SALE, "10", fee("1", "0.20"))), None, "fee_vat", "fee_vat"),
        (payout(line(Kind.TAX_COLLECTED, "8")), None, "payout_tax", "tax"),
        (payout(line(Kind.FEE, "-2")), None, "payout_line", "fees"),
        (payout(line(Kind.DISPUTE, "-10")), None, "provider_channel", "channel"),
        (payout(line(Kind.FEE, "0", fee("1", kind="commission")), provider="amazon"), amazon(), "fee_vat", "invoice"),
        (
            payout(line(Kind.FEE, "0", fee("1", kind="commission")), provider="amazon"),
            amazon(fee_vat="domestic"),
            "fee_vat",
            "fee_rate",
        ),
    ],
)
def test_what_is_not_known_blocks_the_payout(
    settlement: Payout, accounts: AccountMap | None, code: str, hint: str
) -> None:
    error = parked(settlement, accounts)
    assert error.code == code
    assert hint in (error.hint or "")


@pytest.mark.failure_mode(57)
def test_tax_that_the_marketplace_collected_and_withheld_is_posted_nowhere() -> None:
    settlement = payout(
        line(Kind.SALE, "100"), line(Kind.TAX_COLLECTED, "8"), line(Kind.TAX_WITHHELD, "-8"), provider="amazon"
    )
    (entry,) = payout_entries(settlement, accounts=amazon())
    assert sums(entry) == {"411AMZ": D("-100"), "512000": D("100")}


# -- VAT of fees --------------------------------------------------------------------------------------------------


def test_a_statement_without_vat_is_split_by_the_rate_that_the_merchant_gave() -> None:
    settlement = payout(line(Kind.FEE, "0", fee("18.72", kind="commission")), provider="amazon")
    (entry,) = payout_entries(settlement, accounts=amazon(fee_vat="domestic", fee_rate="20"))
    assert sums(entry) == {"622200": D("15.60"), "445860": D("3.12"), "512000": D("-18.72")}


@pytest.mark.parametrize("regime", ["exempt", "domestic", "reverse_charge"])
def test_under_franchise_nothing_goes_to_4456(regime: str) -> None:
    shown = "3.12" if regime == "domestic" else None
    settlement = payout(line(Kind.FEE, "0", fee("15.60", shown, kind="commission")), provider="amazon")
    accounts = amazon(fee_vat=regime, fee_rate="20", franchise=True)
    (entry,) = payout_entries(settlement, accounts=accounts)
    found = sums(entry)
    assert not [account for account in found if account.startswith(("4456", "44586"))]
    # Foreign services: the VAT is due all the same, and is part of the cost.
    due = D("3.12") if regime == "reverse_charge" else D(0)
    assert found["622200"] == (D("15.60") if regime == "exempt" else D("18.72"))
    assert found.get("445200", D(0)) == -due


def fee_invoice(tax: str, **over: Any) -> SupplierInvoice:
    line_ = SupplierInvoiceLine(cost="commission", net=D("15.60"), tax=D(tax), rate=D("20"))
    fields: dict[str, Any] = {
        "external_id": "9", "supplier": "AMAZON", "number": "INV-1", "issued_on": date(2026, 10, 3), "currency": "EUR",
        "regime": PurchaseRegime.DOMESTIC, "withheld_by": "amazon", "total": D("15.60") + D(tax), "lines": (line_,),
    }  # fmt: skip
    return SupplierInvoice(**{**fields, **over})


def test_a_fee_invoice_moves_its_vat_once_and_only_what_waits() -> None:
    accounts = amazon(fee_vat="domestic")
    settlement = payout(line(Kind.FEE, "0", fee("15.60", "3.12", kind="commission")), provider="amazon")
    withheld = payout_entries(settlement, accounts=accounts)
    moved = fee_invoice_entry(fee_invoice("3.12"), withheld, accounts=accounts)
    assert moved is not None
    assert sums(*withheld, moved).get("445860", D(0)) == 0
    assert sums(moved) == {"445660": D("3.12"), "445860": D("-3.12")}
    with pytest.raises(MappingError, match="0 wait for it on 445860"):
        fee_invoice_entry(fee_invoice("3.12"), [*withheld, moved], accounts=accounts)
    with pytest.raises(MappingError, match=r"its VAT is 9\.99 and 3\.12 wait"):
        fee_invoice_entry(fee_invoice("9.99"), withheld, accounts=accounts)
    with pytest.raises(MappingError, match="from which payouts"):
        fee_invoice_entry(fee_invoice("3.12", withheld_by=None), withheld, accounts=accounts)
    cent = fee_invoice_entry(fee_invoice("3.11"), withheld, accounts=accounts)
    assert cent is not None and sums(cent) == {"445660": D("3.11"), "445860": D("-3.12"), "658000": D("0.01")}


def test_a_fee_invoice_under_franchise_makes_no_entry() -> None:
    accounts = amazon(fee_vat="domestic", franchise=True)
    assert fee_invoice_entry(fee_invoice("3.12"), [], accounts=accounts) is None


# -- the provider's account ---------------------------------------------------------------------------------------


def check(
    entries: list[JournalEntry], *payouts: Payout, accounts: AccountMap | None = None, provider: str = "stripe"
) -> Clearing:
    return clearing(provider, entries, payouts, accounts=accounts or books(), as_of=date(2026, 12, 31))


def reasons(entries: list[JournalEntry], *payouts: Payout, **more: Any) -> list[tuple[str, str, Decimal]]:
    found = check(entries, *payouts, **more)
    assert found.unexplained == 0
    assert {item.reason for item in found.items} <= set(REASONS)
    return [(item.reason, item.document, item.amount) for item in found.items]


def test_after_its_payout_the_account_is_zero() -> None:
    settlement = payout(line(Kind.SALE, "120.00", fee("1.90")))
    entries = [*posted(make.order()), *payout_entries(settlement, accounts=books())]
    assert check(entries, settlement).balance == 0
    assert reasons(entries, settlement) == []
    assert sums(*entries)["512000"] == D("118.10")


@pytest.mark.failure_mode(69)
def test_every_reason_why_it_is_not_zero_is_said() -> None:
    order, other = make.order(), make.order(number="1002")
    assert reasons(posted(order)) == [("not_paid_out", "1001", D("120.00"))]
    one = payout(line(Kind.SALE, "120.00"))
    made = payout_entries(one, accounts=books())
    assert reasons([*posted(order, other), *made], one) == [("not_listed", "1002", D("120.00"))]
    assert reasons([*made], one) == [("not_booked", "1001", D("-120.00"))]
    nameless = payout(line(Kind.SALE, "120.00", order=None))
    found = reasons([*posted(order), *payout_entries(nameless, accounts=books())], nameless)
    assert ("no_order", "P1/1", D("-120.00")) in found
    off = payout(line(Kind.SALE, "119.00"))
    assert reasons([*posted(order), *payout_entries(off, accounts=books())], off) == [
        ("amount_differs", "1001", D("1.00"))
    ]
    held = payout(line(Kind.SALE, "120.00"), line(Kind.RESERVE, "-20.00", name="2"))
    assert reasons([*posted(order), *payout_entries(held, accounts=books())], held) == [("reserve", "P1", D("20.00"))]
    carried = payout(line(Kind.SALE, "120.00"), amount="100.00", closing=D("20.00"))
    assert reasons([*posted(order), *payout_entries(carried, accounts=books())], carried) == [
        ("carried", "P1", D("20.00"))
    ]


@pytest.mark.failure_mode(69)
def test_what_was_given_back_after_the_last_payout_waits_for_the_next_one() -> None:
    order = make.order()
    settlement = payout(line(Kind.SALE, "120.00"), period_end=date(2026, 9, 18), paid_on=date(2026, 9, 19))
    made = payout_entries(settlement, accounts=books())
    back = [make.refund(order, "20.00", day=20)]
    assert reasons([*posted(order, refunds=back), *made], settlement) == [("not_paid_out", "1001", D("-20.00"))]
    # Before the period's end the payout should have listed it; that it did not is another amount.
    early = [make.refund(order, "20.00", day=17)]
    assert reasons([*posted(order, refunds=early), *made], settlement) == [("amount_differs", "1001", D("-20.00"))]
    # An order that no payout lists at all: its sale should have been there, its refund not yet.
    empty = settlement.model_copy(update={"lines": (), "amount": D(0)})
    assert reasons(posted(order, refunds=back), empty) == [
        ("not_paid_out", "1001", D("-20.00")),
        ("not_listed", "1001", D("120.00")),
    ]


@pytest.mark.failure_mode(69)
def test_a_document_that_was_booked_after_its_payout_leaves_nothing_open() -> None:
    settlement = payout(line(Kind.SALE, "120.00"), period_end=date(2026, 9, 10), paid_on=date(2026, 9, 12))
    entries = [*posted(make.order()), *payout_entries(settlement, accounts=books())]
    assert reasons(entries, settlement) == []
    other = payout(line(Kind.SALE, "119.00"), period_end=date(2026, 9, 10), paid_on=date(2026, 9, 12))
    entries = [*posted(make.order()), *payout_entries(other, accounts=books())]
    assert reasons(entries, other) == [("amount_differs", "1001", D("1.00"))]


@pytest.mark.failure_mode(69)
def test_what_a_payout_does_not_explain_stays_an_open_item() -> None:
    order = make.order()
    short = payout(line(Kind.SALE, "120.00"), amount="110.00")
    (entry,) = payout_entries(short, accounts=books())
    assert entry.flags == ("remainder",)
    assert sums(entry) == {"512000": D("110.00"), "517100": D("-110.00")}
    assert reasons([*posted(order), entry], short) == [("remainder", "P1", D("10.00"))]
    cents = payout(line(Kind.SALE, "120.00"), amount="119.98")
    (entry,) = payout_entries(cents, accounts=books())
    assert entry.flags == ("rounding",)
    assert sums(entry) == {"512000": D("119.98"), "517100": D("-120.00"), "658000": D("0.02")}
    assert reasons([*posted(order), entry], cents) == []


def test_a_foreign_entry_on_the_account_is_not_explained_away() -> None:
    settlement = payout(line(Kind.SALE, "120.00"))
    (entry,) = payout_entries(settlement, accounts=books())
    bank = [x.model_copy(update={"amount": D("130.00")}) for x in entry.lines]
    altered = entry.model_copy(update={"lines": tuple(bank)})
    assert check([*posted(make.order()), altered], settlement).unexplained == D("-10.00")
    assert check(posted(make.order()), settlement).unexplained == D("120.00"), "the payout is not posted"


def test_loans_and_disputes_pass_through_the_account() -> None:
    accounts = books(providers={"stripe": {"channel": "web", "others": {"loan": "164000", "loan_repayment": "164000"}}})
    order = make.order()
    settlement = payout(
        line(Kind.SALE, "120.00"),
        line(Kind.LOAN, "500.00", order=None, name="2"),
        line(Kind.LOAN_REPAYMENT, "-12.00", order=None, name="3"),
        line(Kind.DISPUTE, "-120.00", fee("15.00", kind="dispute"), name="4"),
        line(Kind.DISPUTE_WON, "120.00", fee("-15.00", kind="dispute"), name="5"),
        line(Kind.EXCHANGE, "-0.30", order=None, name="6"),
    )
    made = payout_entries(settlement, accounts=accounts)
    assert [entry.kind for entry in made] == [EntryKind.PAYOUT, EntryKind.CHARGEBACK, EntryKind.CHARGEBACK]
    assert len({entry.key for entry in made}) == len({entry.piece for entry in made}) == 3
    entries = [*posted(order, accounts=accounts), *made]
    assert reasons(entries, settlement, accounts=accounts) == []
    found = sums(*entries)
    assert "411WEB" not in found and "627000" not in found
    assert (found["164000"], found["666000"], found["512000"]) == (D("-488.00"), D("0.30"), D("607.70"))


def test_a_marketplace_is_cleared_by_its_payouts() -> None:
    accounts = books(
        payments={"marketplace": {"account": "467100", "journal": "AM", "journal_label": "A", "posted_by": "payout"}},
        providers={"amazon": {**OWN, "channel": "web", "fee_vat": "exempt"}},
    )
    order = make.order(method=PaymentMethod.MARKETPLACE, source_method="amazon")
    refund = make.refund(order, "20.00")
    entries = posted(order, accounts=accounts, refunds=[refund])
    assert [entry.kind for entry in entries] == [EntryKind.SALE, EntryKind.CREDIT_NOTE]
    assert open_items(entries, "411WEB") == {"1001": D("100.00")}
    settlement = payout(
        line(Kind.SALE, "120.00", fee("5.00", kind="commission")), line(Kind.REFUND, "-20.00", name="2"),
        line(Kind.RESERVE, "-30.00", order=None, name="3"), provider="amazon",
    )  # fmt: skip
    entries += payout_entries(settlement, accounts=accounts)
    assert "411WEB" not in sums(*entries)
    assert reasons(entries, settlement, accounts=accounts, provider="amazon") == [("reserve", "P1", D("30.00"))]


def test_a_drawer_never_goes_below_zero() -> None:
    cash = posted(make.order(method=PaymentMethod.CASH, source_method="cash"))
    assert negative_cash(cash, "530000") == {}
    back = make.refund(make.order(method=PaymentMethod.CASH, source_method="cash"), "120.00", day=10)
    early = posted(make.order(method=PaymentMethod.CASH, source_method="cash"), refunds=[back])
    assert negative_cash(early, "530000") == {date(2026, 9, 10): D("-120.00")}
    assert negative_cash(early, "530000", opening=D("120.00")) == {}


# -- any payouts --------------------------------------------------------------------------------------------------

cents = st.integers(min_value=1, max_value=300_000).map(lambda n: D(n).scaleb(-2))
fees_ = st.integers(min_value=0, max_value=900).map(lambda n: fee(D(n).scaleb(-2)))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(cents, fees_, st.sampled_from(["listed", "waits", "not booked", "off"])), min_size=1, max_size=8
    ),
    st.lists(st.integers(min_value=-5000, max_value=5000).map(lambda n: D(n).scaleb(-2)), max_size=3),
    st.integers(min_value=-400, max_value=400).map(lambda n: D(n).scaleb(-2)),
    st.sampled_from([D("0.00"), D("15.00")]),
)
def test_any_balance_is_explained_to_the_cent(
    sales: list[tuple[Decimal, Fee, str]], reserves: list[Decimal], remainder: Decimal, closing: Decimal
) -> None:
    """Whatever is missing, late, held back or wrong: reasons sum to the balance, and every entry balances."""
    accounts = books()
    entries: list[JournalEntry] = []
    lines: list[PayoutLine] = []
    for number, (gross, withheld, state) in enumerate(sales, 1):
        order = make.order([make.line(gross, None)], number=str(number))
        if state != "not booked":
            entries += posted(order, accounts=books(vat={"0": {"sales": "707740", "shipping": "708574"}}))
        if state != "waits":
            amount = gross + (1 if state == "off" else 0)
            lines.append(line(Kind.SALE, amount, withheld, order=str(number), name=str(number)))
    lines += [line(Kind.RESERVE, amount, order=None, name=f"r{n}") for n, amount in enumerate(reserves)]
    net = sum((x.net for x in lines), D(0))
    settlement = payout(*lines, amount=net - closing + remainder, closing=closing)
    assert settlement.remainder == remainder
    made = payout_entries(settlement, accounts=accounts)
    for entry in made:
        assert sum((signed(x) for x in entry.lines), D(0)) == 0
    found = clearing("stripe", [*entries, *made], [settlement], accounts=accounts, as_of=PAID_ON)
    assert found.unexplained == 0
    assert found.balance == sums(*entries, *made).get("517100", D(0))
    clean = all(state == "listed" for _, _, state in sales) and not sum(reserves) and abs(remainder) <= D("0.50")
    if clean and not closing:
        assert found.balance == 0


@pytest.mark.failure_mode(69)
def test_a_payout_that_was_corrected_and_what_was_sold_before_the_cutover_leave_nothing_unexplained() -> None:
    accounts, order = books(), make.order([make.line("50.00")])
    first = payout(line(Kind.SALE, order.totals.total, fee("1.00")), line(Kind.SALE, "7", order="old", name="2"))
    then = payout(line(Kind.SALE, order.totals.total, fee("1.50")), line(Kind.SALE, "7", order="old", name="2"))
    old, new = payout_entries(first, accounts=accounts), payout_entries(then, accounts=accounts)
    journal = [*posted(order), *old, *correct_entries(old, new, posted_on=date(2026, 10, 3))]
    state = clearing("stripe", journal, [then], accounts=accounts, as_of=date(2026, 10, 31), opening=["po_1/2"])
    assert [(item.reason, item.document, item.amount) for item in state.items] == [("opening", "old", D("-7"))]
    assert (state.balance, state.unexplained) == (D("-7"), D(0))
