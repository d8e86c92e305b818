"""Journal entries: the specification's worked examples, what parks, and properties over arbitrary orders."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.domain.journal import correct_entries, derive_entries
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry, Side
from comptoir.model.item import ItemKind
from comptoir.model.money import CollectedBy, TaxScheme
from comptoir.model.order import (
    Buyer,
    Charge,
    ChargeKind,
    FulfilmentState,
    HoldReason,
    OrderLine,
    Payment,
    PaymentMethod,
    PaymentState,
    Refund,
    SalesOrder,
)
from comptoir.model.parties import AccountKind, Party, PartyKind

from tests import factories as make

D = Decimal
ON = date(2026, 10, 1)


def books(**settings_: Any) -> AccountMap:
    return AccountMap(**settings_).for_company(country="FR", currency="EUR")


def entries(
    order: SalesOrder, *refunds: Refund, accounts: AccountMap | None = None, channel: ChannelBooks | None = None
) -> list[JournalEntry]:
    accounts = accounts or books()
    return derive_entries(order, refunds, channel=channel or accounts.channel("web"), accounts=accounts)


def flat(entry: JournalEntry) -> list[tuple[str, str, str]]:
    return [(x.side.value, x.account, f"{x.amount:.2f}") for x in entry.lines]


def balances(found: list[JournalEntry]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for entry in found:
        for x in entry.lines:
            sums[x.account] = sums.get(x.account, D(0)) + (x.amount if x.side is Side.DEBIT else -x.amount)
    return sums


def parked(order: SalesOrder, *refunds: Refund, **more: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        entries(order, *refunds, **more)
    return caught.value


# -- worked examples (sales-accounting §2, §3, §9) ----------------------------------------------------------------


def test_two_rates_and_shipping() -> None:
    order = make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")])
    sale, payment = entries(order)
    assert flat(sale) == [
        ("D", "411WEB", "87.10"),
        ("C", "707100", "50.00"),
        ("C", "707200", "20.00"),
        ("C", "708510", "5.00"),
        ("C", "445711", "11.00"),
        ("C", "445712", "1.10"),
    ]
    assert flat(payment) == [("D", "517100", "87.10"), ("C", "411WEB", "87.10")]
    assert (sale.key, payment.key) == ("web/1001/sale", "web/1001/payment")
    assert (sale.journal, payment.journal, sale.piece, payment.piece) == ("VE", "ST", "WEB1001", "WEB1001R")


def test_shipping_split_over_two_rates_keeps_the_shops_amounts() -> None:
    shipping = make.charge(
        "5.18",
        tax_lines=(*make.taxes("3.70", "20", amount="0.74"), *make.taxes("1.48", "5.5", amount="0.08")),
    )
    sale = entries(make.order([make.line("50.00"), make.line("20.00", "5.5")], [shipping]))[0]
    assert ("C", "708510", "3.70") in flat(sale)
    assert ("C", "708520", "1.48") in flat(sale)
    assert ("C", "445711", "10.74") in flat(sale)
    assert ("C", "445712", "1.18") in flat(sale)


@pytest.mark.parametrize(
    ("scheme", "country", "rate", "expected"),
    [
        (TaxScheme.OSS, "DE", "19", [("C", "707500", "100.00"), ("C", "445717DE", "19.00")]),
        (TaxScheme.INTRA_EU, "DE", "0", [("C", "707600", "100.00")]),
        (TaxScheme.EXPORT, "US", "0", [("C", "707710", "100.00")]),
        (TaxScheme.EXEMPT, "FR", "0", [("C", "707740", "100.00")]),
        (TaxScheme.DOMESTIC, "FR", "2.1", [("C", "707400", "100.00"), ("C", "445714", "2.10")]),
        (TaxScheme.DOMESTIC, "FR", "10.0", [("C", "707300", "100.00"), ("C", "445713", "10.00")]),
    ],
)
def test_schemes(scheme: TaxScheme, country: str, rate: str, expected: list[tuple[str, str, str]]) -> None:
    order = make.order(
        [make.line("100.00", rate, scheme=scheme, country=country)], shipping=make.address("shipping", country=country)
    )
    assert flat(entries(order)[0])[1:] == expected


@pytest.mark.parametrize(("country", "postcode"), [("RE", "97400"), ("FR", "97110"), ("NC", "98800")])
def test_overseas_is_apart_from_export(country: str, postcode: str) -> None:
    place = make.address("shipping", country=country, postcode=postcode)
    sale = entries(make.order([make.line("100.00", "0", scheme=TaxScheme.EXPORT)], shipping=place))[0]
    assert flat(sale)[1] == ("C", "707720", "100.00")


def test_franchise_books_no_vat_and_refuses_charged_vat() -> None:
    accounts = books(franchise=True)
    sale = entries(make.order([make.line("120.00", None)]), accounts=accounts)[0]
    assert flat(sale) == [("D", "411WEB", "120.00"), ("C", "707100", "120.00")]
    assert parked(make.order([make.line("120.00")]), accounts=accounts).code == "franchise"


@pytest.mark.failure_mode(57)
def test_tax_that_a_marketplace_collected_is_never_ours() -> None:
    lines = [make.line("100.00", "8", country="US", collected_by=CollectedBy.MARKETPLACE, scheme=TaxScheme.EXPORT)]
    american = make.order(lines, shipping=make.address("shipping", country="US"), method=PaymentMethod.MARKETPLACE)
    accounts = books(
        payments={"marketplace": {"account": "467100", "journal": "AM", "journal_label": "Amazon"}},
        source_methods={"stripe": {"account": "467100", "journal": "AM", "journal_label": "Amazon"}},
    )
    found = entries(american, accounts=accounts)
    assert flat(found[0]) == [("D", "411WEB", "100.00"), ("C", "707730", "100.00")]
    assert flat(found[1]) == [("D", "467100", "100.00"), ("C", "411WEB", "100.00")]
    german = american.model_copy(update={"shipping": make.address("shipping", country="DE")})
    assert parked(german, accounts=accounts).code == "marketplace_vat"


def test_credit_note_with_lines_swaps_sides_at_the_original_rate() -> None:
    order = make.order([make.line("100.00", quantity="2")], state=PaymentState.PARTLY_REFUNDED)
    back = make.refund(order, lines=[make.refund_line(order.lines[0], quantity="1", net="50.00")])
    note, paid_back = entries(order, back)[2:]
    assert flat(note) == [("D", "707100", "50.00"), ("D", "445711", "10.00"), ("C", "411WEB", "60.00")]
    assert flat(paid_back) == [("D", "411WEB", "60.00"), ("C", "517100", "60.00")]
    assert note.key == "web/1001/refund/57/credit_note"
    assert note.flags == ()


def test_refund_line_without_tax_lines_takes_the_rate_of_the_sale() -> None:
    order = make.order([make.line("100.00", "5.5")])
    whole = make.refund_line(order.lines[0])
    back = make.refund(order, lines=[whole.model_copy(update={"taxes": ()})])
    assert flat(entries(order, back)[2]) == [
        ("D", "707200", "100.00"),
        ("D", "445712", "5.50"),
        ("C", "411WEB", "105.50"),
    ]


@pytest.mark.failure_mode(60)
def test_amount_only_refund_is_allocated_and_flagged_and_the_last_one_closes_every_account() -> None:
    order = make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")])
    found = entries(order, make.refund(order, "30.00"), make.refund(order, "57.10", number="58", day=21))
    assert [e.flags for e in found if e.kind is EntryKind.CREDIT_NOTE] == [("allocated_by_rule",)] * 2
    assert set(balances(found).values()) == {D(0)}


@pytest.mark.failure_mode(52)
def test_full_refund_that_exceeds_its_lines_by_a_cent() -> None:
    order = make.order([make.line("10.00")], total="12.01")
    back = make.refund(order, "12.01", lines=[make.refund_line(order.lines[0])])
    found = entries(order, back)
    assert ("C", "758000", "0.01") in flat(found[0])
    assert ("D", "658000", "0.01") in flat(found[2])
    assert balances(found)["411WEB"] == balances(found)["517100"] == 0


def test_payment_a_cent_short_is_closed_and_a_larger_difference_stays_open() -> None:
    short = entries(make.order([make.line("100.00")], paid="119.99"))[1]
    assert flat(short) == [("D", "517100", "119.99"), ("C", "411WEB", "120.00"), ("D", "658000", "0.01")]
    assert short.flags == ("rounding",)
    open_one = entries(make.order([make.line("100.00")], paid="110.00"))
    assert open_one[1].flags == ("payment_difference",)
    assert balances(open_one)["411WEB"] == D("10.00")


@pytest.mark.failure_mode(51)
def test_total_a_cent_off_is_closed_with_a_flag_and_more_parks() -> None:
    sale = entries(make.order([make.line("100.01", tax="20.00")], total="120.00"))[0]
    assert flat(sale) == [
        ("D", "411WEB", "120.00"),
        ("C", "707100", "100.01"),
        ("C", "445711", "20.00"),
        ("D", "658000", "0.01"),
    ]
    assert sale.flags == ("rounding",)
    assert parked(make.order([make.line("100.00")], total="120.06")).code == "residual"


def test_parts_of_a_cent_are_shared_out_without_a_rounding_line() -> None:
    lines = [make.line("8.333333", tax="1.666667", sku=f"S{n}") for n in range(3)]
    sale = entries(make.order(lines, total="30.00", tax="5.00"))[0]
    assert flat(sale) == [("D", "411WEB", "30.00"), ("C", "707100", "25.00"), ("C", "445711", "5.00")]
    assert sale.flags == ()


# -- what is not booked, and what parks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        make.order(state=PaymentState.UNPAID),
        make.order(state=PaymentState.FAILED),
        make.order(state=PaymentState.AUTHORISED),
        make.order(state=PaymentState.UNPAID, hold=HoldReason.PAYMENT),
        make.order(state=PaymentState.UNPAID, fulfilment_state=FulfilmentState.CANCELLED),
    ],
)
def test_nothing_is_booked_before_the_sale(order: SalesOrder) -> None:
    assert entries(order) == []


def test_a_completed_unpaid_order_is_a_sale_without_payment() -> None:
    order = make.order(state=PaymentState.UNPAID, fulfilment_state=FulfilmentState.SHIPPED)
    assert [e.kind for e in entries(order)] == [EntryKind.SALE]


def test_money_on_a_cancelled_order_stays_a_debt_to_the_buyer() -> None:
    found = entries(make.order(fulfilment_state=FulfilmentState.CANCELLED))
    assert [e.kind for e in found] == [EntryKind.PAYMENT]
    assert found[0].flags == ("sale_not_booked",)


@pytest.mark.parametrize(
    ("order", "code", "hint"),
    [
        (make.order([make.line("100.00", "8.5")]), "vat_rate", '[accounting.vat] "8.5"'),
        (make.order([make.line("100.00", None)]), "vat_rate", "[accounting.vat]"),
        (make.order(currency="USD"), "currency", "rate"),
        (make.order([make.line("50.00", None, kind=ItemKind.GIFT_CARD)]), "gift_card_kind", "accounting.gift_cards"),
        (make.order(method=PaymentMethod.GIFT_CARD), "gift_card_kind", "accounting.gift_cards"),
        (make.order(method=PaymentMethod.OTHER, source_method="alma"), "payment_account", '"alma"'),
        (make.order(charges=[make.charge("2.00", kind=ChargeKind.TIP)]), "charge_kind", "accounting.charges.tip"),
        (make.order([make.line("100.00", tax="19.90")]), "vat_check", "vat_tolerance"),
        (make.order([make.line("10.00", "5", scheme=TaxScheme.EXPORT)]), "vat_on_untaxed", "source"),
        (make.order([make.line("10.00", "9", scheme=TaxScheme.OSS, country=None)]), "oss", "accounting.oss"),
        (make.order([make.line("10.00", "9", scheme=TaxScheme.IOSS, country="DE")]), "oss", "accounting.ioss"),
        (make.order(payments=()), "payment_missing", "payments"),
    ],
)
def test_what_cannot_be_known_parks_and_names_the_setting(order: SalesOrder, code: str, hint: str) -> None:
    error = parked(order)
    assert error.code == code
    assert order.number in error.message
    assert error.record == order.number
    assert error.field
    assert hint in (error.hint or "")


def test_a_configured_rate_is_booked() -> None:
    accounts = books(vat={"8.5": {"sales": "707500", "shipping": "708500", "vat": "445715"}})
    assert flat(entries(make.order([make.line("100.00", "8.50")]), accounts=accounts)[0])[1:] == [
        ("C", "707500", "100.00"),
        ("C", "445715", "8.50"),
    ]


def test_multi_purpose_gift_cards_are_a_liability_when_sold_and_a_tender_when_used() -> None:
    accounts = books(gift_cards="multi_purpose")
    sold = entries(make.order([make.line("50.00", None, kind=ItemKind.GIFT_CARD)]), accounts=accounts)
    assert flat(sold[0]) == [("D", "411WEB", "50.00"), ("C", "419100", "50.00")]
    mixed = (
        Payment(method=PaymentMethod.GIFT_CARD, source_method="pw_gift_card", amount=D("50.00")),
        Payment(method=PaymentMethod.CARD, source_method="stripe", amount=D("70.00")),
    )
    used = entries(make.order(payments=mixed), accounts=accounts)
    assert [flat(e)[0] for e in used[1:]] == [("D", "419100", "50.00"), ("D", "517100", "70.00")]
    assert [e.key for e in used[1:]] == ["web/1001/payment", "web/1001/payment/2"]
    assert len({e.piece for e in used}) == 3
    assert balances(used)["411WEB"] == 0


def test_refunds_beyond_the_sale_or_in_another_currency_or_rate_park() -> None:
    order = make.order()
    assert parked(order, make.refund(order, "120.06")).code == "refund_exceeds_sale"
    assert parked(order, make.refund(order, "10.00", currency="USD")).code == "currency"
    other = make.order([make.line("10.00", "10")])
    strange = make.refund(order, lines=[make.refund_line(other.lines[0])])
    assert parked(order, strange).code == "refund_rate"
    unpaid = make.order(state=PaymentState.UNPAID)
    assert parked(unpaid, make.refund(unpaid, "1.00")).code == "refund_before_sale"


def test_goods_that_came_back_without_money_make_no_entry() -> None:
    order = make.order()
    nothing = make.refund_line(order.lines[0]).model_copy(update={"net": D(0), "tax": D(0), "taxes": ()})
    assert len(entries(order, make.refund(order, "0.00", lines=[nothing]))) == 2


def test_only_the_hub_books_what_it_is_the_authority_for() -> None:
    accounts = books()
    assert parked(make.order(), accounts=accounts, channel=accounts.channel("web", invoicing="ebp")).code == "invoicing"


def test_no_buyer_in_consumer_entries_and_companies_only_if_configured() -> None:
    company = Party(kind=PartyKind.ORGANISATION, company="MARTIN SARL", email="a@example.org")
    order = make.order(buyer=Buyer(customer_id="12", account=AccountKind.B2B, party=company))
    for entry in [*entries(order), *entries(make.order())]:
        assert "martin" not in entry.model_dump_json().lower()
        assert "lef" not in entry.model_dump_json().lower()
    own = books(channels={"web": {"b2b_accounts": True}})
    line = entries(order, accounts=own)[0].lines[0]
    assert line.account_label == "MARTIN SARL"
    assert line.account.startswith("411") and line.account != "411WEB" and len(line.account) <= 10


# -- accounts -----------------------------------------------------------------------------------------------------


def test_two_channels_never_share_customer_or_prefix_by_truncation() -> None:
    accounts = books()
    one, two = accounts.channel("boutique-france"), accounts.channel("boutique-belgique")
    assert one.customer_account != two.customer_account
    assert len(one.customer_account) <= 10
    assert one.piece_prefix != two.piece_prefix


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"vat": {"vingt": {"sales": "707100", "shipping": "708500", "vat": "445711"}}}, "no rate"),
        ({"vat": {"20.0": {"sales": "707100", "shipping": "708500", "vat": "445711"}}}, "twice"),
        ({"vat": {"8.5": {"sales": "707100", "shipping": "708500"}}}, "needs a VAT account"),
        ({"payments": {"card": {"account": "517900", "journal": "ST", "journal_label": "x"}}}, "journal ST"),
        ({"rounding_gain": "75"}, "pattern"),
        ({"franchise_en_base": True}, "Extra"),
    ],
)
def test_wrong_settings_are_refused(settings_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AccountMap.model_validate(settings_)


# -- properties ---------------------------------------------------------------------------------------------------

amounts = st.decimals(min_value="0.01", max_value="5000", places=2)
rates = st.sampled_from(["20", "10", "5.5", "2.1"])
order_lines = st.lists(st.builds(make.line, amounts, rates), min_size=1, max_size=8)
order_charges = st.lists(
    st.builds(
        lambda net, rate, kind, sign: make.charge(net * sign, rate, kind=kind),
        st.decimals(min_value="0.01", max_value="9", places=2),
        rates,
        st.sampled_from([ChargeKind.SHIPPING, ChargeKind.FEE]),
        st.sampled_from([1, 1, -1]),
    ),
    max_size=3,
)
off_by = st.sampled_from(["0.00", "0.00", "0.01", "-0.01", "0.05", "-0.05"]).map(D)


@st.composite
def orders(draw: st.DrawFn) -> SalesOrder:
    lines, charges = draw(order_lines), draw(order_charges)
    priced: list[OrderLine | Charge] = [*lines, *charges]
    whole = sum((p.net + p.tax for p in priced), D(0)) + draw(off_by)
    if whole <= D("0.10"):
        charges = []
        whole = sum((p.net + p.tax for p in lines), D(0))
    return make.order(lines, charges, total=whole)


@settings(max_examples=300, deadline=None)
@given(orders(), st.lists(st.integers(min_value=1, max_value=99), max_size=4), st.booleans())
def test_sold_paid_and_given_back_leaves_nothing(order: SalesOrder, cuts: list[int], itemised: bool) -> None:
    """Every entry balances to the cent; 411 and 517 return to zero after any sequence of refunds to the full."""
    left = order.totals.total
    refunds = []
    if itemised and left > order.lines[0].net + order.lines[0].tax:
        refunds.append(make.refund(order, lines=[make.refund_line(order.lines[0])], number="1"))
        left -= refunds[0].amount
    for number, cut in enumerate(cuts, 10):
        part = (left * cut / 100).quantize(D("0.01"))
        if part:
            refunds.append(make.refund(order, part, number=str(number), day=21))
            left -= part
    if left:
        refunds.append(make.refund(order, left, number="99", day=22))
    found = entries(order, *refunds)
    for entry in found:
        debit = sum((x.amount for x in entry.lines if x.side is Side.DEBIT), D(0))
        credit = sum((x.amount for x in entry.lines if x.side is Side.CREDIT), D(0))
        assert debit == credit == entry.total
        assert all(x.amount > 0 and x.amount == x.amount.quantize(D("0.01")) for x in entry.lines)
        assert len(entry.lines) >= 2
    sums = balances(found)
    assert sums["411WEB"] == 0
    assert sums["517100"] == 0
    assert len({e.key for e in found}) == len(found)
    assert len({e.piece for e in found}) == len(found)


@settings(max_examples=150, deadline=None)
@given(orders())
def test_vat_is_the_shops_own(order: SalesOrder) -> None:
    sale = entries(order)[0]
    booked = sum((x.amount if x.side is Side.CREDIT else -x.amount) for x in sale.lines if x.account.startswith("4457"))
    priced: list[OrderLine | Charge] = [*order.lines, *order.charges]
    assert booked == sum((p.tax for p in priced), D(0))


# -- corrections --------------------------------------------------------------------------------------------------


def test_nothing_to_correct_when_nothing_changed() -> None:
    found = entries(make.order())
    assert correct_entries(found, found, posted_on=ON) == []
    assert correct_entries([], found, posted_on=ON) == found


def test_a_change_is_a_reversal_and_a_new_version() -> None:
    before, after = entries(make.order()), entries(make.order([make.line("90.00")]))
    added = correct_entries(before, after, posted_on=ON)
    assert [(e.key, e.reverses) for e in added] == [
        ("web/1001/sale/rev1", "web/1001/sale"),
        ("web/1001/sale/v2", None),
        ("web/1001/payment/rev1", "web/1001/payment"),
        ("web/1001/payment/v2", None),
    ]
    assert {e.posted_on for e in added} == {ON}
    assert flat(added[0]) == [("C", "411WEB", "120.00"), ("D", "707100", "100.00"), ("D", "445711", "20.00")]
    assert balances([*before, *added]) == balances(after)
    assert len({e.piece for e in [*before, *added]}) == 6


def test_cancelled_after_posting_is_reversed() -> None:
    posted = entries(make.order())
    added = correct_entries(posted, [], posted_on=ON)
    assert [e.kind for e in added] == [EntryKind.REVERSAL] * 2
    assert set(balances([*posted, *added]).values()) == {D(0)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), orders()), min_size=1, max_size=5))
def test_any_history_ends_where_it_was_wanted_and_stays(history: list[SalesOrder | None]) -> None:
    posted: list[JournalEntry] = []
    wanted: list[JournalEntry] = []
    for order in history:
        wanted = [] if order is None else entries(order)
        posted += correct_entries(posted, wanted, posted_on=ON)
        assert correct_entries(posted, wanted, posted_on=ON) == []
        left = {a: v for a, v in balances(posted).items() if v}
        assert left == {a: v for a, v in balances(wanted).items() if v}
    assert len({e.key for e in posted}) == len(posted)
    assert len({e.piece for e in posted}) == len(posted)
