"""Z closings and supplier invoices: what parks, what each regime and franchise en base make of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import account_totals
from comptoir.domain.purchases import oss_payment_entry, supplier_entry
from comptoir.domain.tills import z_entries
from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry
from comptoir.model.money import TaxScheme
from comptoir.model.order import PaymentMethod
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine
from comptoir.model.till import TenderTotal, TillSales, ZReport

D = Decimal
DAY = date(2026, 9, 30)


def books(**more: Any) -> AccountMap:
    return AccountMap(**more).for_company(country="FR", currency="EUR")


def sums(found: list[JournalEntry]) -> dict[str, Decimal]:
    return {account: amount for (account, _), amount in account_totals(found).items()}


def z(**over: Any) -> ZReport:
    fields: dict[str, Any] = {
        "external_id": "z1", "till": "till", "number": "42", "closed_on": DAY, "currency": "EUR",
        "sales": (TillSales(rate=D("20"), net=D("100.00"), tax=D("20.00")),),
        "tenders": (TenderTotal(method=PaymentMethod.CASH, amount=D("120.00")),),
    }  # fmt: skip
    return ZReport(**{**fields, **over})


def cash(amount: str, method: PaymentMethod = PaymentMethod.CASH) -> tuple[TenderTotal, ...]:
    return (TenderTotal(method=method, amount=D(amount)),)


def sold(rate: str, net: str, tax: str, scheme: TaxScheme = TaxScheme.DOMESTIC) -> tuple[TillSales, ...]:
    return (TillSales(rate=D(rate), net=D(net), tax=D(tax), scheme=scheme),)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (z(tenders=cash("119.80")), "residual"),
        (z(sales=sold("19", "100.00", "19.00"), tenders=cash("119.00")), "vat_rate"),
        (z(sales=sold("20", "100.00", "21.00"), tenders=cash("121.00")), "vat_check"),
        (z(sales=sold("19", "100.00", "19.00", TaxScheme.OSS), tenders=cash("119.00")), "till_scheme"),
        (z(sales=sold("20", "100.00", "20.00", TaxScheme.EXEMPT)), "vat_on_untaxed"),
        (z(tenders=cash("120.00", PaymentMethod.WALLET)), "payment_account"),
        (z(tenders=cash("120.00", PaymentMethod.GIFT_CARD)), "gift_card_kind"),
        (z(tenders=cash("170.00"), gift_cards_sold=D("50.00")), "gift_card_kind"),
        (z(currency="CHF"), "currency"),
    ],
)
def test_a_closing_that_cannot_be_booked_parks(report: ZReport, code: str) -> None:
    with pytest.raises(MappingError) as caught:
        z_entries(report, accounts=books())
    assert caught.value.code == code and "Z 42" in caught.value.message


def test_a_closing_with_accounts_on_credit_old_invoices_and_a_surplus() -> None:
    report = z(
        tenders=cash("80.03"), on_account=D("50.00"), old_invoices=D("10.00"), cash_expected=D("80.00"),
        cash_counted=D("80.50"),
    )  # fmt: skip
    closing, surplus = z_entries(report, accounts=books())
    found = sums([closing])
    assert found["411TILL"] == D("40.00") and found["758000"] == D("-0.03") and closing.flags == ("rounding",)
    assert (closing.piece, surplus.piece) == ("ZTILL-42", "ZTILL-42E")
    assert sums([surplus]) == {"530000": D("0.50"), "758000": D("-0.50")}


def purchase(regime: PurchaseRegime, *lines: SupplierInvoiceLine, **over: Any) -> SupplierInvoice:
    fields: dict[str, Any] = {
        "external_id": "1", "supplier": "DUPONT", "number": "F1", "issued_on": DAY, "due_on": date(2026, 10, 30),
        "currency": "EUR", "regime": regime, "lines": lines, "total": D("120.00"),
    }  # fmt: skip
    return SupplierInvoice(**{**fields, **over})


def cost(net: str = "100.00", tax: str = "20.00", kind: str = "goods", **over: Any) -> SupplierInvoiceLine:
    return SupplierInvoiceLine(cost=kind, net=D(net), tax=D(tax), rate=D("20"), **over)


def silent() -> SupplierInvoiceLine:
    return SupplierInvoiceLine(cost="goods", net=D("100.00"))


def test_an_escompte_lowers_the_base_of_the_vat_line_by_line() -> None:
    lines = (cost(tax="19.60"), SupplierInvoiceLine(cost="goods", net=D("50.00"), tax=D("2.70"), rate=D("5.5")))
    bought = purchase(PurchaseRegime.DOMESTIC, *lines, total=D("169.30"), discount=D("3.00"))
    assert sums([supplier_entry(bought, accounts=books())]) == {
        "607000": D("150.00"), "445660": D("22.30"), "765000": D("-3.00"), "401DUPONT": D("-169.30"),
    }  # fmt: skip


def test_the_vat_of_an_import_stands_once_for_goods_and_duty() -> None:
    duty = SupplierInvoiceLine(cost="duty", net=D("5.00"), payee="TRANS")
    bought = purchase(PurchaseRegime.IMPORT, cost(tax="21.00"), duty, total=D("100.00"))
    assert sums([supplier_entry(bought, accounts=books())])["445664"] == D("21.00")


def test_assets_discounts_due_days_and_other_suppliers_accounts() -> None:
    accounts = books(purchases={"costs": {"equipment": "218300"}, "suppliers": {"DUPONT": "401001"}})
    line = cost(kind="equipment", asset=True)
    entry = supplier_entry(
        purchase(PurchaseRegime.DOMESTIC, line, total=D("117.60"), discount=D("2.40")), accounts=accounts
    )
    assert sums([entry]) == {
        "218300": D("100.00"), "445620": D("20.00"), "765000": D("-2.40"), "401001": D("-117.60"),
    }  # fmt: skip
    assert [x.due_on for x in entry.lines if x.account == "401001"] == [date(2026, 10, 30)]


@pytest.mark.parametrize("regime", list(PurchaseRegime))
def test_under_franchise_the_vat_of_a_purchase_is_a_cost(regime: PurchaseRegime) -> None:
    tax = "0.00" if regime is PurchaseRegime.NO_VAT else "20.00"
    line = SupplierInvoiceLine(cost="goods", net=D("100.00"), tax=D(tax), rate=D("20") if D(tax) else None)
    total = D("120.00") if regime is PurchaseRegime.DOMESTIC else D("100.00")
    entry = supplier_entry(purchase(regime, line, total=total), accounts=books(franchise=True))
    found = sums([entry])
    assert found["607000"] == D("100.00") + D(tax)
    assert not [a for a in found if a.startswith("4456")]
    assert found["401DUPONT"] == -total


@pytest.mark.parametrize(
    ("bought", "code"),
    [
        (purchase(PurchaseRegime.DOMESTIC, cost(), total=D("121.00")), "residual"),
        (purchase(PurchaseRegime.DOMESTIC, cost(kind="horses")), "cost_kind"),
        (purchase(PurchaseRegime.DOMESTIC, cost(tax="25.00")), "vat_check"),
        (purchase(PurchaseRegime.NO_VAT, cost()), "vat_on_untaxed"),
        (purchase(PurchaseRegime.DOMESTIC, cost(), currency="USD"), "currency"),
        (purchase(PurchaseRegime.DOMESTIC, cost(), withheld_by="amazon"), "fee_invoice"),
        (purchase(PurchaseRegime.DOMESTIC, cost("0.00", "0.00"), total=D("0.00")), "total"),
        (purchase(PurchaseRegime.DOMESTIC, cost(tax="19.00"), total=D("117.00"), discount=D("2.00")), "vat_check"),
        # VAT that the buyer declares stands on no invoice: without its rate it would be declared by nobody.
        (purchase(PurchaseRegime.REVERSE_CHARGE, silent(), total=D("100.00")), "self_assessed"),
        (purchase(PurchaseRegime.INTRA_EU_GOODS, cost(), silent(), total=D("200.00")), "self_assessed"),
        (purchase(PurchaseRegime.IMPORT, silent(), total=D("100.00")), "self_assessed"),
    ],
)
def test_a_purchase_that_cannot_be_booked_parks(bought: SupplierInvoice, code: str) -> None:
    with pytest.raises(MappingError) as caught:
        supplier_entry(bought, accounts=books())
    assert caught.value.code == code and "F1 of DUPONT" in caught.value.message


def test_nothing_due_is_no_oss_payment() -> None:
    with pytest.raises(MappingError, match="nothing is due"):
        oss_payment_entry("2026T3", {"DE": D("0.00")}, paid_on=DAY, accounts=books())
