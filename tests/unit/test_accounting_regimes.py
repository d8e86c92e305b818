"""Regimes, rules and dates of the accounts; deposits, shipments, invoices, exchanges, tenders; what parks."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import account_totals
from comptoir.domain.journal import derive_entries
from comptoir.domain.periods import into_open_period, refuse_locked
from comptoir.domain.summaries import summarise
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.item import ItemKind
from comptoir.model.money import TaxScheme
from comptoir.model.order import (
    ChargeKind,
    CreditNote,
    FulfilmentState,
    Invoice,
    Payment,
    PaymentMethod,
    Refund,
    SalesOrder,
    Shipment,
)

from tests import factories as make

D = Decimal
DAY = date(2026, 9, 30)


def books(**more: Any) -> AccountMap:
    return AccountMap(**more).for_company(country="FR", currency="EUR")


def at(day: int) -> datetime:
    return datetime(2026, 9, day, 8, 0, tzinfo=UTC)


def entries(order: SalesOrder, *refunds: Refund, accounts: AccountMap | None = None, **more: Any) -> list[JournalEntry]:
    accounts = accounts or books()
    return derive_entries(order, refunds, channel=accounts.channel("web"), accounts=accounts, **more)


def sums(found: list[JournalEntry]) -> dict[str, Decimal]:
    return {account: amount for (account, _), amount in account_totals(found).items()}


def kinds(found: list[JournalEntry]) -> list[str]:
    return [entry.kind.value for entry in found]


def parked(order: SalesOrder, *refunds: Refund, **more: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        entries(order, *refunds, **more)
    assert order.number in caught.value.message and caught.value.hint
    return caught.value


# -- places -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "country", "postcode", "revenue", "vat"),
    [
        ("20", "FR", "75011", "707100", "445711"),
        ("20", "MC", "98000", "707100", "445711"),
        ("20", "FR", "20000", "707100", "445711"),
        ("13", "FR", "20200", "707821", "4457191"),
        ("2.1", "FR", "20200", "707822", "4457192"),
        ("0.9", "FR", "20600", "707823", "4457193"),
        ("2.1", "FR", "75011", "707400", "445714"),
        ("8.5", "RE", "97400", "707811", "4457181"),
        ("8.5", "FR", "97110", "707811", "4457181"),
        ("2.1", "MQ", "97200", "707812", "4457182"),
        ("1.75", "GP", "97100", "707813", "4457183"),
        ("1.05", "FR", "97400", "707814", "4457184"),
    ],
)
def test_rates_of_the_mainland_the_departments_and_corsica(
    rate: str, country: str, postcode: str, revenue: str, vat: str
) -> None:
    place = make.address("shipping", country=country, postcode=postcode)
    sale = entries(make.order([make.line("1000.00", rate)], shipping=place))[0]
    assert [(x.account, x.vat_code is not None) for x in sale.lines[1:]] == [(revenue, True), (vat, True)]


@pytest.mark.parametrize(("country", "postcode"), [("FR", "75011"), ("FR", "97300"), ("FR", "97600")])
def test_a_rate_that_a_place_does_not_have_parks(country: str, postcode: str) -> None:
    place = make.address("shipping", country=country, postcode=postcode)
    assert parked(make.order([make.line("100.00", "8.5")], shipping=place)).code == "vat_rate"


def test_vat_of_another_state_is_no_domestic_sale() -> None:
    error = parked(make.order([make.line("100.00", "19", country="DE")]))
    assert error.code == "foreign_stock"
    assert "warehouse abroad" in (error.hint or "")


@pytest.mark.parametrize(("country", "postcode"), [("ES", "35001"), ("ES", "38001"), ("FR", "98600"), ("WF", "98600")])
def test_vat_outside_the_area_is_posted_as_charged_and_flagged(country: str, postcode: str) -> None:
    place = make.address("shipping", country=country, postcode=postcode)
    assert entries(make.order(shipping=place))[0].flags == ("vat_outside_area",)


@pytest.mark.parametrize(
    ("country", "postcode", "scheme", "revenue"),
    [
        # Shops know countries: untaxed goods for a department are "exempt" to them, for the Canaries "intra-EU".
        ("RE", "97400", TaxScheme.EXEMPT, ("707720", "708572", "dom")),
        ("FR", "97400", TaxScheme.EXEMPT, ("707720", "708572", "dom")),
        ("GF", "97300", TaxScheme.EXPORT, ("707720", "708572", "dom")),
        ("ES", "35001", TaxScheme.EXEMPT, ("707710", "708571", "export")),
        ("ES", "38001", TaxScheme.INTRA_EU, ("707710", "708571", "export")),
        ("CH", "1200", TaxScheme.EXPORT, ("707710", "708571", "export")),
        ("ES", "28001", TaxScheme.INTRA_EU, ("707600", "708560", "intra_eu")),
        ("FR", "75011", TaxScheme.EXEMPT, ("707740", "708574", "exempt")),
        ("MC", "98000", TaxScheme.EXEMPT, ("707740", "708574", "exempt")),
    ],
)
def test_untaxed_goods_that_leave_the_vat_area_are_exports(
    country: str, postcode: str, scheme: TaxScheme, revenue: tuple[str, str, str]
) -> None:
    sold = make.line("100.00", "0", scheme=scheme, country=country)
    order = make.order(
        [sold],
        [make.charge("5.00", "0", scheme=scheme, country=country)],
        shipping=make.address("shipping", country=country, postcode=postcode),
    )
    goods, shipping, code = revenue
    credit_note = make.refund(order, lines=[make.refund_line(order.lines[0])])
    sale, _, credit, _ = entries(order, credit_note)
    assert [(x.account, x.vat_code) for x in sale.lines[1:]] == [(goods, code), (shipping, code)]
    assert credit.lines[0].account == goods


def test_goods_for_another_state_without_vat_and_without_a_vat_number_park() -> None:
    place = make.address("shipping", country="BE", postcode="1000")
    order = make.order([make.line("100.00", "0", scheme=TaxScheme.EXEMPT, country="BE")], shipping=place)
    error = parked(order)
    assert error.code == "vat_missing" and 'country = "BE"' in (error.hint or "")
    # Not when somebody said where such sales go, and not under franchise en base.
    known = books(sales=[{"country": "BE", "scheme": "exempt", "account": "707600"}])
    assert entries(order, accounts=known)[0].lines[1].account == "707600"
    assert entries(order, accounts=books(franchise=True))[0].lines[1].account == "707100"


def test_an_exempt_service_stays_exempt_wherever_its_buyer_is() -> None:
    lesson = make.line("100.00", "0", scheme=TaxScheme.EXEMPT, kind=ItemKind.SERVICE)
    order = make.order([lesson], shipping=make.address("shipping", country="RE", postcode="97400"))
    assert entries(order)[0].lines[1].account == "707740"


def test_goods_for_northern_ireland_are_no_export() -> None:
    place = make.address("shipping", country="GB", postcode="BT1 5GS")
    untaxed = make.order([make.line("100.00", "0", scheme=TaxScheme.EXPORT, country="GB")], shipping=place)
    assert parked(untaxed).code == "northern_ireland"
    taxed = make.order([make.line("100.00", "20", scheme=TaxScheme.OSS, country="XI")], shipping=place)
    sale = entries(taxed)[0]
    assert [x.account for x in sale.lines[1:]] == ["707500", "445717XI"] and sale.flags == ()


def test_a_fee_below_zero_is_a_discount_netted_in_turnover() -> None:
    fees = [
        make.charge("-10.00", kind=ChargeKind.FEE, number=1),
        make.charge("-5.00", "5.5", kind=ChargeKind.FEE, number=2, tax="-0.28"),
    ]
    sale = entries(make.order([make.line("100.00"), make.line("50.00", "5.5")], fees))[0]
    assert sums([sale]) == {
        "411WEB": D("155.47"), "707100": D("-90.00"), "707200": D("-45.00"), "445711": D("-18.00"),
        "445712": D("-2.47"),
    }  # fmt: skip


def test_rounding_and_tips_need_no_reason_for_having_no_vat() -> None:
    accounts = books(charges={"tip": "467900"})
    untaxed = [make.charge("-0.02", None, kind=ChargeKind.ROUNDING), make.charge("3.00", None, kind=ChargeKind.TIP)]
    sale = entries(make.order([make.line("100.00")], untaxed), accounts=accounts)[0]
    assert sums([sale]) == {
        "411WEB": D("122.98"), "707100": D("-100.00"), "445711": D("-20.00"), "658000": D("0.02"),
        "467900": D("-3.00"),
    }  # fmt: skip
    large = make.charge("-0.06", None, kind=ChargeKind.ROUNDING)
    assert parked(make.order([make.line("100.00")], [large])).code == "residual"


def test_parts_of_a_cent_leave_the_vat_as_the_source_has_it() -> None:
    # 9.99 tax included: 8.325 and 1.665; the shop's own invoice says 1.67 of VAT.
    odd = make.line("8.325", "20", tax="1.665")
    sale = entries(make.order([odd], total="9.99", tax="1.67"))[0]
    assert [(x.account, x.amount) for x in sale.lines] == [
        ("411WEB", D("9.99")), ("707100", D("8.32")), ("445711", D("1.67")),
    ]  # fmt: skip


def test_export_overseas_and_marketplace_sales_have_accounts_of_their_own() -> None:
    accounts = books()
    groups = [accounts.export, accounts.dom, accounts.marketplace, accounts.exempt, accounts.intra_eu, accounts.oss]
    used = [account for g in groups for account in (g.sales, g.shipping, g.rebate)]
    assert len(set(used)) == len(used) == 18


# -- rules and dates ----------------------------------------------------------------------------------------------


def test_a_rule_by_channel_country_scheme_rate_and_charge() -> None:
    accounts = books(
        sales=[
            {"country": "BE", "account": "707190"},
            {"country": "BE", "charge": "shipping", "account": "708519"},
            {"scheme": "domestic", "rate": "5.5", "account": "707299", "vat": "445792"},
            {"channel": "other", "account": "707999"},
        ]
    )
    lines, charges = [make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")]
    belgian = make.order(lines, charges, shipping=make.address("shipping", country="BE"))
    found = sums(entries(belgian, accounts=accounts)[:1])
    assert {a: v for a, v in found.items() if a != "411WEB"} == {
        "707190": D("-50.00"),
        # The rule with more conditions goes first: two for the rate, one for the country.
        "707299": D("-20.00"),
        "708519": D("-5.00"),
        "445711": D("-11.00"),
        "445792": D("-1.10"),
    }
    plain = sums(entries(make.order(lines, charges), accounts=accounts)[:1])
    assert plain["707100"] == D("-50.00")


def test_what_changes_from_a_day_on() -> None:
    accounts = books(
        changes=[
            {"valid_from": "2026-10-01", "vat": {"20": {"sales": "707111"}}, "charges": {"tip": "791000"}},
            {"valid_from": date(2027, 1, 1), "franchise": True},
        ],
        payment_rules=[
            {
                "method": "card",
                "valid_from": "2026-10-01",
                "money": {"account": "512900", "journal": "B2", "journal_label": "Banque 2"},
            }
        ],
    )
    before, after = make.order(), make.order(paid_at=datetime(2026, 10, 2, tzinfo=UTC))
    assert "707100" in sums(entries(before, accounts=accounts))
    assert "707111" in sums(entries(after, accounts=accounts))
    later = Payment(
        method=PaymentMethod.CARD, source_method="stripe", amount=D("120"), paid_at=datetime(2026, 10, 2, tzinfo=UTC)
    )
    found = entries(make.order(payments=(later,)), accounts=accounts)
    assert sums(found)["707100"] == D("-100.00"), "the sale's own day"
    assert found[1].lines[0].account == "512900", "the payment's own day"
    assert accounts.on(date(2027, 1, 1)).franchise and accounts.on(date(2026, 12, 31)).charges == {"tip": "791000"}
    # A credit note goes where the sale went, whatever has changed since.
    back = make.refund(before, "120.00").model_copy(update={"refunded_on": date(2026, 11, 1)})
    assert sums(entries(before, back, accounts=accounts)).get("707100", D(0)) == 0


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"changes": [{"franchise": True}]}, "valid_from"),
        ({"changes": [{"valid_from": "2027-01-01"}, {"valid_from": "2027-01-01"}]}, "make them one"),
        ({"changes": [{"valid_from": "2027-01-01", "rounding_gain": "x"}]}, "pattern"),
        ({"changes": [{"valid_from": "2027-01-01", "channels": {}}]}, "channels does not change"),
        ({"sales": [{"country": "BE"}]}, "account"),
        ({"sales": [{"rate": "20", "account": "707100"}, {"rate": "20.0", "account": "707200"}]}, "same conditions"),
        ({"channels": {"web": {"posting": "day"}}}, "summary_approved_by"),
        ({"channels": {"web": {"sale_per": "shipment"}}}, "prepayments"),
    ],
)
def test_wrong_rules_are_refused(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AccountMap.model_validate(given_)


def test_a_gateway_pays_out_from_where_its_payments_go() -> None:
    moved = {"account": "517900", "journal": "S2", "journal_label": "Stripe 2"}
    assert books(source_methods={"stripe": moved}).providers["stripe"].account == "517900"
    own = books(source_methods={"stripe": moved}, providers={"stripe": {**moved, "bank_account": "512900"}})
    assert (own.providers["stripe"].account, own.providers["stripe"].bank_account) == ("517900", "512900")
    assert own.providers["stripe"].fee_vat == "exempt"
    with pytest.raises(ValueError, match="journal S2 serves 517900 and 517100"):
        books(source_methods={"stripe": moved}, providers={"stripe": {"account": "517100", "journal": "S2"}})


# -- invoices and credit notes ------------------------------------------------------------------------------------


def invoice(net: str = "100.00", tax: str = "20.00", **over: Any) -> Invoice:
    fields: dict[str, Any] = {
        "number": "FA-2026-7", "series": "FA", "issued_on": date(2026, 9, 18), "order_numbers": ("1001",),
        "currency": "EUR", "net": D(net), "tax": D(tax),
    }  # fmt: skip
    return Invoice(**{**fields, **over})


def test_an_invoice_gives_its_number_and_day_and_a_credit_note_its_own() -> None:
    order = make.order()
    back = make.refund(order, "60.00")
    note = CreditNote(
        number="AV-3", series="AV", issued_on=date(2026, 9, 25), invoice_number="FA-2026-7", currency="EUR",
        net=D("50.00"), tax=D("10.00"),
    )  # fmt: skip
    found = entries(order, back, invoice=invoice(), credit_notes={back.external_id: note})
    sale, credit = found[0], found[2]
    assert (sale.piece, sale.invoice, sale.reference, sale.posted_on) == (
        "FA-2026-7", "FA-2026-7", "1001", date(2026, 9, 18),
    )  # fmt: skip
    assert (credit.piece, credit.posted_on) == ("AV-3", date(2026, 9, 25))
    wrong = note.model_copy(update={"net": D("51.00")})
    assert parked(order, back, credit_notes={back.external_id: wrong}).code == "invoice_total"


@pytest.mark.parametrize(
    ("issued", "code"),
    [
        (invoice("99.00"), "invoice_total"),
        (invoice("90.00", "30.00"), "invoice_total"),
        (invoice(currency="USD"), "currency"),
        (invoice(order_numbers=("1001", "1002")), "invoice_orders"),
    ],
)
def test_only_what_was_invoiced_is_posted(issued: Invoice, code: str) -> None:
    assert parked(make.order(), invoice=issued).code == code


# -- deposits and shipments ---------------------------------------------------------------------------------------

DEPOSIT = {"channels": {"web": {"prepayments": "deposit"}}}
SHIPPED: dict[str, Any] = {"fulfilment_state": FulfilmentState.SHIPPED, "completed_at": at(20)}


def transfer(amount: str, day: int) -> Payment:
    return Payment(method=PaymentMethod.TRANSFER, source_method="bacs", amount=D(amount), paid_at=at(day))


def test_a_deposit_is_used_by_the_sale_and_what_is_paid_later_is_a_payment() -> None:
    order = make.order(payments=(transfer("60.00", 15), transfer("60.00", 25)), **SHIPPED)
    found = entries(order, accounts=books(**DEPOSIT))
    assert kinds(found) == ["deposit", "sale", "payment"]
    assert [entry.piece for entry in found] == ["WEB1001D", "WEB1001", "WEB1001R"]
    assert sums(found) == {"512000": D("120.00"), "707100": D("-100.00"), "445711": D("-20.00")}


def test_a_deposit_a_cent_short_closes_on_its_named_line() -> None:
    order = make.order(payments=(transfer("119.99", 15),), **SHIPPED)
    found = entries(order, accounts=books(**DEPOSIT))
    assert found[1].flags == ("rounding",)
    assert sums(found)["658000"] == D("0.01") and "411WEB" not in sums(found)


def test_a_deposit_that_is_given_back_takes_its_vat_along() -> None:
    order = make.order(payments=(transfer("60.00", 15),), fulfilment_state=FulfilmentState.CANCELLED)
    accounts = books(**DEPOSIT)
    assert sums(entries(order, accounts=accounts))["445870"] == D("10.00")
    found = entries(order, make.refund(order, "60.00"), accounts=accounts)
    assert kinds(found) == ["deposit", "refund_payment"]
    assert sums(found) == {}
    assert parked(order, make.refund(order, "70.00"), accounts=accounts).code == "refund_exceeds_tender"
    by_card = Payment(method=PaymentMethod.CARD, source_method="stripe", amount=D("60.00"), paid_at=at(15))
    both = order.model_copy(update={"payments": (transfer("60.00", 15), by_card)})
    back = make.refund(both, "120.00")
    found = entries(both, back, accounts=accounts)
    assert kinds(found) == ["deposit", "deposit", "refund_payment", "refund_payment"]
    assert sums(found) == {}
    nothing = make.refund(order, "0.00")
    assert kinds(entries(order, nothing, accounts=accounts)) == ["deposit"]


def shipment(name: str, day: int, **quantities: str) -> Shipment:
    counted = {key: D(q) for key, q in quantities.items()}
    return Shipment(external_id=name, order_number="1001", shipped_at=at(day), quantities=counted)


PER_SHIPMENT = {"channels": {"web": {"prepayments": "deposit", "sale_per": "shipment"}}}


def test_each_shipment_is_a_sale_of_what_it_delivers() -> None:
    order = make.order(
        [make.line("100.00", quantity="3"), make.line("20.00", "5.5")], [make.charge("5.00")],
        fulfilment_state=FulfilmentState.PARTLY_SHIPPED, payments=(transfer("147.10", 14),),
    )  # fmt: skip
    accounts = books(**PER_SHIPMENT)
    first = shipment("s1", 16, L1="1")
    found = entries(order, accounts=accounts, shipments=[first])
    assert kinds(found) == ["deposit", "sale"]
    assert sums(found)["707100"] == D("-33.33") and sums(found)["708510"] == D("-5.00")
    whole = order.model_copy(update=SHIPPED)
    found = entries(whole, accounts=accounts, shipments=[shipment("s2", 20, L1="2", L2="1"), first])
    assert [(e.kind.value, e.posted_on.day) for e in found] == [("deposit", 14), ("sale", 16), ("sale", 20)]
    assert sums(found) == {
        "512000": D("147.10"), "707100": D("-100.00"), "707200": D("-20.00"), "708510": D("-5.00"),
        "445711": D("-21.00"), "445712": D("-1.10"),
    }  # fmt: skip
    assert len({e.key for e in found}) == len({e.piece for e in found}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        [shipment("s1", 16, L1="2")],
        [shipment("s1", 16, L9="1")],
        [shipment("s1", 16, L1="1").model_copy(update={"shipped_at": None})],
        [],
    ],
)
def test_shipments_that_cannot_be_park(wrong: list[Shipment]) -> None:
    order = make.order(payments=(transfer("120.00", 14),), **SHIPPED)
    assert parked(order, accounts=books(**PER_SHIPMENT), shipments=wrong).code == "shipment"


# -- summaries and periods ----------------------------------------------------------------------------------------


def test_a_daily_summary_needs_a_name_and_keeps_every_total() -> None:
    accounts = books(channels={"web": {"posting": "day", "summary_approved_by": "Cabinet Martin, 2026-01-02"}})
    orders = [make.order(number=str(n)) for n in range(3)]
    each = [e for o in orders for e in entries(o, make.refund(o, "12.00", number=f"r{o.number}"), accounts=accounts)]
    found = summarise(each, channel=accounts.channel("web"), accounts=accounts)
    assert {e.kind for e in found} == {EntryKind.SUMMARY} and len(found) == 4
    assert account_totals(found) == account_totals(each)
    sale = next(e for e in found if "/sale/" in e.key)
    assert sale.label == "web 15/09/2026 (3 pieces)" and sale.total == D("360.00")
    with pytest.raises(MappingError, match="not approved") as caught:
        summarise(each, channel=books().channel("web"), accounts=accounts)
    assert caught.value.code == "summary_not_approved"


def test_a_summary_leaves_companies_and_invoices_apart() -> None:
    web = {"posting": "day", "summary_approved_by": "Cabinet Martin, 2026-01-02"}
    accounts = books(channels={"web": web})
    each = [
        *entries(make.order(), accounts=accounts),
        *entries(make.order(number="1001"), accounts=accounts, invoice=invoice()),
    ]
    kept = [e for e in summarise(each, channel=accounts.channel("web"), accounts=accounts) if e.kind is EntryKind.SALE]
    assert [e.piece for e in kept] == ["FA-2026-7"]


def test_a_late_document_goes_to_the_open_period_and_keeps_its_day() -> None:
    closed = books(locked_until="2026-09-30")
    late = into_open_period(entries(make.order()), accounts=closed, today=date(2026, 11, 5))
    assert {(e.posted_on, e.document_on, "late" in e.flags) for e in late} == {
        (date(2026, 10, 1), date(2026, 9, 15), True)
    }
    refuse_locked(late, accounts=closed)
    with pytest.raises(MappingError, match="closed until 2026-09-30") as caught:
        refuse_locked(entries(make.order()), accounts=closed)
    assert caught.value.code == "locked_period"
    by_today = closed.model_copy(update={"late_documents": "today"})
    moved = into_open_period(entries(make.order()), accounts=by_today, today=date(2026, 11, 5))
    assert {e.posted_on for e in moved} == {date(2026, 11, 5)}
    assert into_open_period(entries(make.order()), accounts=books(), today=DAY) == entries(make.order())


def test_the_settings_in_the_documentation_are_settings() -> None:
    page = (Path(__file__).parents[2] / "docs" / "accounting.md").read_text(encoding="utf-8")
    shown = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["accounting"]
    accounts = AccountMap.model_validate(shown).for_company(country="FR", currency="EUR")
    assert accounts.channel("web").sale_per == "shipment"
    assert accounts.on(date(2027, 1, 1)).franchise
