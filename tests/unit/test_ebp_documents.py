"""The order file: bytes as in the specification, totals that EBP reproduces, hostile text, refusals."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.model.money import CollectedBy, TaxScheme
from comptoir.model.order import Buyer, ChargeKind
from comptoir.model.parties import AccountKind, Party, PartyKind
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.documents import CAPTIONS, Document, document_file, order_document
from comptoir_ebp.functions import alias_code, customer_code, document_number
from comptoir_ebp.sandbox import EbpBooks
from comptoir_ebp.text import Remarks, cell, comma, label_of_entry, to_charset

from tests import factories as make
from tests.support.ebp import Merchant

DATA = Path(__file__).parents[1] / "data" / "ebp"
D = Decimal


@pytest.fixture
def merchant(tmp_path: Path) -> Merchant:
    return Merchant(tmp_path)


def rows_of(data: bytes) -> list[dict[str, str]]:
    lines = data.decode("cp1252").split("\r\n")[:-1]
    return [dict(zip(lines[0].split(";"), line.split(";"), strict=True)) for line in lines[1:]]


def render(order: Any, tmp_path: Path, **settings_: Any) -> Document:
    merchant = Merchant(tmp_path, **settings_)
    op = merchant.op(order)
    return order_document(op.payload, merchant.config, company_currency="EUR", record=op.natural_key)


# -- bytes --------------------------------------------------------------------------------------------------------


def test_the_specifications_sample_byte_for_byte(tmp_path: Path) -> None:
    expected = (DATA / "EBP_SALEORDERS.CSV").read_bytes()
    columns = tuple(expected.decode("cp1252").split("\r\n")[0].split(";"))
    assert set(columns) <= set(CAPTIONS)
    merchant = Merchant(tmp_path, columns=columns, document_prefix="WOO-")
    order = make.order(
        [
            make.line("100.00", sku="TSHIRT-M", name="T-shirt taille M"),
            make.line("20.00", quantity="2", sku="MUG-01", name="Mug blanc"),
        ],
        [make.charge("5.00")],
        billing=make.address(company="MARTIN SARL", lines=("12 RUE DES LILAS",), city="PARIS", email=None),
        note="Commande web WOO-1001",
    )
    merchant.push(merchant.op(order, customer_code="CMARTIN"))
    assert merchant.published()["COMMANDES_000001.CSV"] == expected


def test_header_columns_are_repeated_and_amounts_are_explicit(merchant: Merchant) -> None:
    merchant.push(make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")]))
    first, second = rows_of(merchant.published()["COMMANDES_000001.CSV"])
    assert first["Document - Total TTC"] == second["Document - Total TTC"] == "87,10"
    assert (first["Document - Frais de port HT"], first["Document - Taux de TVA port"]) == ("5,00", "20,00")
    assert (second["Ligne - PV HT"], second["Ligne - Taux de TVA"]) == ("20,00", "5,50")
    assert first["Document - Date"] == "15/09/2026"
    assert first["Document - Code mode de règlement"] == "CB"


# -- totals -------------------------------------------------------------------------------------------------------


def sandbox_total(document: Document, config: EbpConfig) -> Decimal:
    books = EbpBooks()
    outcome = books.import_file("COMMANDES_000001.CSV", document_file([document], config))
    assert outcome.refused == []
    (held,) = books.documents
    assert held.control == document.total
    return held.total


@pytest.mark.failure_mode(54)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 9999), st.sampled_from(["20", "10", "5.5", "2.1"])),
        min_size=1,
        max_size=7,
    ),
    st.sampled_from([2, 3, 4, 6]),
    st.integers(0, 900),
)
def test_ebp_reproduces_the_total_of_any_shop_with_prices_that_include_tax(
    tmp_path_factory: pytest.TempPathFactory, basket: list[tuple[int, int, str]], decimals: int, shipping: int
) -> None:
    """Prices in whole cents with tax, tax taken out per line as shops do: EBP's total is the buyer's to the
    cent.
    """
    lines = []
    for quantity, price, rate in basket:
        gross = D(price * quantity) / 100
        net = (gross * 100 / (100 + D(rate))).quantize(D("0.01"))
        lines.append(make.line(net, rate, quantity=str(quantity), tax=gross - net))
    gross = D(shipping) / 100
    net = (gross / D("1.2")).quantize(D("0.01"))
    order = make.order(lines, [make.charge(net, tax=gross - net)] if shipping else [])
    folder = tmp_path_factory.mktemp("ebp")
    merchant = Merchant(folder, price_decimals=decimals)
    op = merchant.op(order)
    document = order_document(op.payload, merchant.config, company_currency="EUR", record="x")
    assert sandbox_total(document, merchant.config) == order.totals.total
    sent = {row.item: D(0) for row in document.rows}
    for row in document.rows:
        sent[row.item] += row.quantity
    assert sent["MUG-01"] == sum(q for q, _, _ in basket)
    assert abs(sum((r.net for r in document.rows if r.item == "ARRONDI"), D(0))) <= D("0.05")


def test_a_price_that_does_not_divide_is_split_into_two_rows(tmp_path: Path) -> None:
    document = render(make.order([make.line("10.00", quantity="3")]), tmp_path, price_decimals=2)
    assert [(r.quantity, r.price) for r in document.rows] == [(D(2), D("3.33")), (D(1), D("3.34"))]
    fine = render(make.order([make.line("10.00", quantity="3")]), tmp_path)
    assert [(r.quantity, r.price) for r in fine.rows] == [(D(3), D("3.3333"))]


def test_fractional_quantities_stay_and_the_cent_goes_to_the_rounding_line(tmp_path: Path) -> None:
    order = make.order([make.line("1.00", "5.5", quantity="0.333")])
    document = render(order, tmp_path, price_decimals=2)
    assert document.rows[0].quantity == D("0.333")
    assert sandbox_total(document, EbpConfig(folder=tmp_path)) == order.totals.total


def test_negative_fees_stay_numbers(merchant: Merchant) -> None:
    fee = make.charge("-10.00", kind=ChargeKind.FEE, label="=Remise")
    merchant.push(make.order([make.line("100.00")], [fee]))
    row = rows_of(merchant.published()["COMMANDES_000001.CSV"])[1]
    assert (row["Ligne - Code article"], row["Ligne - PV HT"]) == ("FRAIS", "-10,00")
    assert row["Ligne - Description"] == "'=Remise"


def test_shipping_at_two_rates_becomes_lines(tmp_path: Path) -> None:
    split = make.charge(
        "5.18", tax_lines=(*make.taxes("3.70", "20", amount="0.74"), *make.taxes("1.48", "5.5", amount="0.08"))
    )
    document = render(make.order([make.line("50.00"), make.line("20.00", "5.5")], [split]), tmp_path)
    assert document.freight == 0
    assert [(r.item, r.price, r.rate) for r in document.rows[2:]] == [
        ("PORT", D("3.70"), D("20")),
        ("PORT", D("1.48"), D("5.5")),
    ]


# -- refusals -----------------------------------------------------------------------------------------------------


def anonymous() -> Buyer:
    return Buyer(account=AccountKind.GUEST, party=Party(kind=PartyKind.PERSON))


@pytest.mark.failure_mode(73)
@pytest.mark.parametrize(
    ("order", "field", "hint"),
    [
        (make.order(billing=None, shipping=None), "billing.name", "default_customer"),
        (make.order(billing=make.address(city=None), shipping=None), "billing.city", "default_customer"),
        (make.order(currency="USD"), "currency", "currency column"),
        (make.order(total="121.00"), "total", "max_rounding"),
        (
            make.order(
                [
                    make.line("10.00", "19", scheme=TaxScheme.OSS, country="DE"),
                    make.line("10.00", "0", scheme=TaxScheme.EXPORT, country="CH"),
                ]
            ),
            "lines.taxes.scheme",
            "by hand",
        ),
        (
            make.order([make.line("10.00", collected_by=CollectedBy.MARKETPLACE)]),
            "lines[1].taxes[1]",
            "hub",
        ),
        (make.order([make.line("10.00", quantity="-1")]), "lines[1].quantity", "positive"),
    ],
)
def test_what_ebp_cannot_hold_is_refused_with_the_setting(
    merchant: Merchant, order: Any, field: str, hint: str
) -> None:
    good = make.order(number="2000")
    bad, fine = merchant.push(order, good)
    assert bad.outcome == "rejected"
    assert bad.field == field
    assert "WEB-1001" in (bad.reason or "")
    assert hint in (bad.hint or "")
    assert fine.outcome == "written"
    assert len(rows_of(merchant.published()["COMMANDES_000001.CSV"])) == 1


@pytest.mark.parametrize("number", ["N" * 31, "A;B", "=1+1", ""])
def test_a_number_that_a_mapping_of_ones_own_gives_is_refused_not_cut(merchant: Merchant, number: str) -> None:
    order = make.order(number="2001")
    bad, fine = merchant.push(merchant.op(order, number=number), make.order(number="2000"))
    assert (bad.outcome, bad.field, fine.outcome) == ("rejected", "number", "written")
    (card,) = merchant.push(merchant.op(make.customer("7"), code=number or "x" * 21))
    assert (card.outcome, card.field) == ("rejected", "code")


def test_the_default_customer_takes_orders_without_an_address(tmp_path: Path) -> None:
    default = {
        "code": "WEBDIVERS",
        "name": "CLIENTS WEB",
        "address": "1 RUE",
        "postcode": "75001",
        "city": "PARIS",
        "country": "FR",
    }
    document = render(make.order(billing=None, shipping=None), tmp_path, default_customer=default)
    assert document.customer == "WEBDIVERS"
    assert "default customer" in str(document.remarks)


def test_a_line_without_sku_takes_the_default_item_or_is_refused(tmp_path: Path) -> None:
    order = make.order([make.line("10.00", sku=None)])
    assert render(order, tmp_path).rows[0].item == "DIVERS"
    assert Merchant(tmp_path, default_item=None).push(order)[0].hint is not None


# -- text and codes -----------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(78)
def test_text_outside_the_charset_is_spelt_and_reported() -> None:
    remarks = Remarks()
    assert cell('Tasse 🎁 → Łódź\nœuvre; 15" ', "name", remarks, charset="cp1252") == "Tasse -> Lódz œuvre, 15''"
    assert remarks.notes == ["name: characters outside cp1252 replaced"]
    assert to_charset("Привет", "cp1252") == ("??????", True)


@pytest.mark.failure_mode(78)
@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("cp850", "L'Église - oeuvre à 5 EUR ... 'x' ½"),
        ("iso8859-15", "L'Église - œuvre à 5 € ... 'x' 1/2"),
        ("cp1252", "L’Église – œuvre à 5 € … ‘x’ ½"),
    ],
)
def test_typographic_signs_are_spelt_out_where_the_charset_lacks_them(charset: str, text: str) -> None:
    assert to_charset("L’Église – œuvre à 5 € … ‘x’ ½", charset)[0] == text
    assert to_charset("Zo\u200bé\u202e \u00adX\ufeff", charset) == ("Zoé X", True)


@pytest.mark.parametrize("lead", ["=", "+", "-", "@"])
def test_formulas_are_neutralised(lead: str) -> None:
    remarks = Remarks()
    assert cell(f"{lead}1+1", "name", remarks, charset="cp1252") == f"'{lead}1+1"
    assert "neutralised" in str(remarks)


#: The model refuses NUL itself.
NO_NUL = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")


@settings(max_examples=80, deadline=None)
@given(st.text(NO_NUL, max_size=60), st.text(NO_NUL, max_size=60), st.text(NO_NUL), st.text(NO_NUL, min_size=1))
def test_no_text_breaks_the_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, street: str, note: str, sku: str
) -> None:
    address = make.address(last_name="Z" + name, lines=("9 " + street,))
    lines = [make.line("10.00", sku=sku, name="N" + name)]
    merchant = Merchant(tmp_path_factory.mktemp("ebp"))
    order = make.order(lines, billing=address, shipping=address, note=note)
    (result,) = merchant.push(order)
    assert result.outcome == "written"
    books = EbpBooks()
    outcome = books.import_file("COMMANDES_000001.CSV", merchant.published()["COMMANDES_000001.CSV"])
    assert outcome.refused == []
    assert [d.total for d in books.documents] == [order.totals.total]


def test_codes_are_never_cut_and_never_merge() -> None:
    long = "X" * 45
    assert alias_code("TSHIRT-M", 40) == "TSHIRT-M"
    assert len(alias_code(long + "1", 40)) == 40
    assert alias_code(long + "1", 40) != alias_code(long + "2", 40)
    assert alias_code(long + "1", 40) == alias_code(long + "1", 40)
    for hostile in ("=CMD", "A;B", 'A"B', "A\nB", " A", "ŁÓDŹ", "🎁", "-"):
        alias = alias_code(hostile, 40)
        assert alias != hostile
        assert alias.isascii() and not set(alias) & set(';"\n =@')


@pytest.mark.failure_mode(71)
def test_customer_codes() -> None:
    assert customer_code(None, "web", "12", "a@b.fr", "1001") == "WEBC12"
    assert customer_code("W", "web", "12", None, "1001") == "W12"
    guest = customer_code(None, "web", None, "Ana@Example.org ", "1")
    assert guest == customer_code(None, "web", None, "ana@example.org", "2")
    assert customer_code(None, "web", None, None, "1001") == "WEBCT1001"
    assert customer_code(None, "web", None, "", "1001") != customer_code(None, "web", None, " ", "1002")
    with pytest.raises(ValueError, match="guest"):
        customer_code(None, "web", None, None, "")


@settings(max_examples=300, deadline=None)
@given(
    st.text(min_size=1, max_size=30),
    st.one_of(st.none(), st.text(min_size=1, max_size=40)),
    st.one_of(st.none(), st.text(max_size=30)),
    st.text(min_size=1, max_size=30),
)
def test_customer_codes_always_fit(channel: str, customer: str | None, email: str | None, order: str) -> None:
    code = customer_code(None, channel, customer, email, order)
    assert 0 < len(code) <= 20
    assert code.isascii() and code.isalnum() and code == code.upper()


def test_document_numbers_keep_channels_apart_and_fit() -> None:
    assert document_number(None, "web", "1001") == "WEB-1001"
    assert document_number("", "web", "1001") == "1001"
    assert len(document_number(None, "a-very-long-channel-name", "1234567890")) <= 30


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+2", "100"),
        ("0.10", "0,1"),
        ("-0.00", "0"),
        ("3.333300", "3,3333"),
        ("-12.5", "-12,5"),
        ("0.000001", "0,000001"),
    ],
)
def test_numbers_have_a_comma_and_no_exponent(value: str, text: str) -> None:
    assert comma(D(value)) == text


def test_entry_labels_are_unaccented_capitals() -> None:
    assert (
        label_of_entry("Vente été n°12 – œuvre, 5,5 % l’€", "x", Remarks(), 40) == "VENTE ETE N 12 - OEUVRE 5 5 L EUR"
    )


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"charset": "klingon"}, "charset"),
        ({"charset": "utf-16"}, "single-byte"),
        ({"payment_modes": {"card": "TOO-LONG"}}, "payment_modes.card"),
        ({"columns": ["Prix"]}, "unknown caption"),
        ({"columns": ["Document - Date"]}, "needed by EBP"),
        ({"customer_prefix": "web"}, "pattern"),
        ({"default_item": "=A"}, "pattern"),
        ({"colour": "red"}, "Extra"),
    ],
)
def test_wrong_settings_are_refused(settings_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EbpConfig.model_validate({"folder": "ebp", **settings_})
