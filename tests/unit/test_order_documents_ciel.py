"""Web orders as documents of Ciel and Sage 50: the specification's bytes, totals, aliases, refusals, later words."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.errors import ConfigError
from comptoir.model.money import TaxScheme
from comptoir.model.order import PaymentState, SalesOrder
from comptoir.paths import mappings_dir
from comptoir.testing.sales import SalesDocument
from comptoir_ciel.config import CielConfig
from comptoir_ciel.functions import customer_code
from comptoir_ciel.sandbox import CielGescom, SalesDesk

from tests import factories as make
from tests.support.orders import DATA, RECORDED, BackOffice

D = Decimal


@pytest.fixture
def office(tmp_path: Path) -> BackOffice:
    return BackOffice(tmp_path, "ciel")


def held(office: BackOffice, **settings_: Any) -> list[SalesDocument]:
    """What Ciel holds once it has imported every file; nothing may be refused."""
    program = CielGescom(**settings_)
    for name, data in office.published().items():
        assert program.import_file(name, data).refused == []
    return program.documents


def test_the_specifications_sample_byte_for_byte(tmp_path: Path) -> None:
    office = BackOffice(tmp_path, "ciel", document_prefix="WOO-", delivery_days=2)
    order = make.order(
        [make.line("100.00", sku="TSHIRT-M", name="T-shirt taille M")],
        [make.charge("5.00")],
        billing=make.address(company="MARTIN SARL", lines=("12 RUE DES LILAS",), city="PARIS", email=None),
    )
    (result,) = office.push(office.op(order, customer_code="CMARTIN"))
    assert (result.outcome, result.reason) == ("written", None)
    assert office.published()["COMMANDES_000001.TXT"] == (DATA / "SAGE50_DOCUMENTS.TXT").read_bytes()


@pytest.mark.failure_mode(54)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 9999), st.sampled_from(["20", "10", "5.5", "2.1"])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["header", "item"]),
    st.sampled_from(["net", "gross"]),
    st.integers(0, 900),
)
def test_ciel_reproduces_the_total_or_the_order_is_refused_with_the_difference(
    tmp_path_factory: pytest.TempPathFactory, basket: list[tuple[int, int, str]], where: str, prices: str, port: int
) -> None:
    lines = []
    for quantity, price, rate in basket:
        gross = D(price * quantity) / 100
        net = (gross * 100 / (100 + D(rate))).quantize(D("0.01"))
        lines.append(make.line(net, rate, quantity=str(quantity), tax=gross - net))
    gross = D(port) / 100
    net = (gross / D("1.2")).quantize(D("0.01"))
    order = make.order(lines, [make.charge(net, tax=gross - net)] if port else [])
    office = BackOffice(tmp_path_factory.mktemp("ciel"), "ciel", shipping_as=where, prices=prices)
    (result,) = office.push(order)
    if result.outcome == "rejected":
        assert prices == "net" and result.field == "total" and "difference" in (result.reason or "")
        assert office.published() == {}
        return
    (document,) = held(office)
    assert document.total == document.announced == order.totals.total
    assert document.freight == (D(0) if where == "item" else gross if prices == "gross" else net)


@pytest.mark.failure_mode(78)
def test_two_items_that_share_fifteen_characters_stay_two(office: BackOffice) -> None:
    codes = ("TASSE-EMAILLEE-S", "TASSE-EMAILLEE-M")
    (result,) = office.push(make.order([make.line("10.00", sku=sku, name="Tasse 🌸 " + "x" * 40) for sku in codes]))
    lines = held(office)[0].lines
    assert len({line.item for line in lines}) == 2
    assert all(len(line.item) <= 15 and len(line.label) <= 35 for line in lines)
    note = result.reason or ""
    assert "its alias is" in note and "shortened" in note and "characters outside cp1252 replaced" in note


def test_customer_codes_fit_and_guests_stay_apart() -> None:
    codes = {customer_code(None, "boutique", None, f"client{n}@example.org", str(n)) for n in range(2000)}
    assert len(codes) == 2000
    assert all(len(code) == 13 and code.isalnum() and code == code.upper() for code in codes)
    assert customer_code("WEBC", "boutique", "12345", None, "1") == "WEBC12345"
    assert len(customer_code("WEBC", "boutique", "12345678901", None, "1")) == 13
    # The same mail address on two shops is not the same customer.
    assert customer_code("AC", "a", None, "x@y.fr", "1") != customer_code("BC", "b", None, "x@y.fr", "1")
    with pytest.raises(ValueError, match="nothing else tells two of them apart"):
        customer_code(None, "boutique", None, " ", "")


def test_a_scheme_needs_a_word_and_an_own_profile_gives_it(tmp_path: Path) -> None:
    german = make.order([make.line("100.00", "19", scheme=TaxScheme.OSS, country="DE")])
    (refused,) = BackOffice(tmp_path, "ciel").push(german)
    assert "VAT scheme oss" in (refused.reason or "") and "options.vat_modes.oss" in (refused.hint or "")
    shipped = (Path(__file__).parents[2] / "connectors/comptoir_ciel/order_profiles/documents.toml").read_text("utf-8")
    own = shipped.replace('{ domestic = "Local" }', '{ domestic = "Local", oss = "OSS" }')
    assert own != shipped
    (tmp_path / "orders.toml").write_text(own, encoding="utf-8")
    office = BackOffice(tmp_path, "ciel", order_profile="orders.toml")
    assert office.push(german)[0].outcome == "written"
    row = office.published()["COMMANDES_000001.TXT"].decode("cp1252").split("\r\n")[1].split("\t")
    assert (row[16], row[17], row[18]) == ("FRA", "France", "OSS")


def test_an_unknown_country_is_refused(office: BackOffice) -> None:
    (refused,) = office.push(make.order(billing=make.address(country="XX")))
    assert refused.field == "billing.country" and "XX is not known" in (refused.reason or "")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ('decimal = ","', "options.decimal"),
        ('charset = "cp1252"', "unsuitable charset"),
        ('format = "documents"', "there is no format of orders 'chen' here; allowed: documents"),
    ],
)
def test_a_wrong_profile_names_the_key(tmp_path: Path, wrong: str, words: str) -> None:
    shipped = (Path(__file__).parents[2] / "connectors/comptoir_ciel/order_profiles/documents.toml").read_text("utf-8")
    right = {"options.decimal": 'decimal = ":"', "unsuitable charset": 'charset = "utf-16"'}.get(
        words, 'format = "chen"'
    )
    assert wrong in shipped
    (tmp_path / "own.toml").write_text(shipped.replace(wrong, right), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        BackOffice(tmp_path, "ciel", order_profile="own.toml").push(make.order())


def test_a_depot_longer_than_its_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than the 13 characters"):
        BackOffice(tmp_path, "ciel", depot="DEPOT PRINCIPAL").push(make.order())
    with pytest.raises(ValueError, match=r"payment_modes\.card"):
        CielConfig(folder=tmp_path, payment_modes={"card": "C B"})


def test_an_exported_list_between_tabs_gives_the_programs_number(office: BackOffice) -> None:
    office.push(make.order(), make.order(number="1002"))
    program = CielGescom(stock={"TSHIRT-M": D(5)})
    SalesDesk(office.folder, program, takes="list").step()
    assert office.acks() == [("1001", "accepted", "BC00001", None), ("1002", "accepted", "BC00002", None)]
    assert program.available("TSHIRT-M") == 3
    program.ship("BC00001")
    assert program.stock == {"TSHIRT-M": D(4)} and program.available("TSHIRT-M") == 3


def test_the_renamed_file_is_the_acknowledgement_and_unknown_customers_are_told(office: BackOffice) -> None:
    office.push(make.order())
    desk = SalesDesk(office.folder, CielGescom(customers=set()))
    desk.step()
    assert office.acks() == [("1001", "rejected", None, "client WEBC12 inconnu")]
    assert isinstance(desk.program, CielGescom) and desk.program.customers == set()
    desk.program.customers = {"WEBC12"}
    office.push(make.order(state=PaymentState.UNPAID))
    desk.step()
    assert office.acks() == [("1001", "accepted", None, None)]


def test_recorded_orders_of_a_real_shop_arrive_with_their_totals(tmp_path: Path) -> None:
    folder = mappings_dir() / "ciel" / "golden" / "order.out"
    given_ = [(folder / f"{case}.in.json").read_text("utf-8") for case in RECORDED]
    orders = [SalesOrder.model_validate(json.loads(text)) for text in given_]
    office = BackOffice(tmp_path, "ciel", customers="default", default_customer="WEBDIVERS")
    results = office.push(*orders)
    assert [(r.outcome, r.field) for r in results] == [("written", None)] * len(orders)
    assert [document.total for document in held(office)] == [order.totals.total for order in orders]
