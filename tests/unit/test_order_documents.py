"""Web orders as documents of Sage: the specification's bytes, totals that the program reproduces, hostile text,
refusals, hand-over and acknowledgement."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.errors import ConfigError
from comptoir.model.money import TaxScheme
from comptoir.model.order import ChargeKind, PaymentState, SalesOrder
from comptoir.paths import mappings_dir
from comptoir.testing.sales import SalesDocument
from comptoir_sage.config import SageConfig
from comptoir_sage.sandbox import SageGescom, SalesDesk

from tests import factories as make
from tests.support.accounting import SAGE_EXPORT
from tests.support.orders import DATA, RECORDED, BackOffice

D = Decimal
PROFILES = ("chen", "rows")


@pytest.fixture
def office(tmp_path: Path) -> BackOffice:
    return BackOffice(tmp_path)


def held(office: BackOffice, **settings_: Any) -> list[SalesDocument]:
    """What Sage holds once it has imported every file; nothing may be refused."""
    program = SageGescom(**settings_)
    for name, data in office.published().items():
        assert program.import_file(name, data).refused == []
    return program.documents


def mug_order(**over: Any) -> SalesOrder:
    return make.order([make.line("100.00", sku="TSHIRT-M", name="T-shirt taille M")], [make.charge("5.00")], **over)


# -- bytes --------------------------------------------------------------------------------------------------------


def test_the_specifications_sample_but_for_the_hour(tmp_path: Path) -> None:
    """docs/order-files.md says why."""
    office = BackOffice(
        tmp_path,
        document_prefix="WOO-",
        piece_numbers="digits",
        headings=("COMMANDE WEB {order}",),
        external_reference="woocommerce:{order}",
        delivery_days=2,
        tax_codes={"20": "C20"},
    )
    order = make.order(
        [make.line("100.00", sku="TSHIRT-M", name="T-SHIRT TAILLE M")],
        [make.charge("5.00", label="FRAIS DE PORT")],
        state=PaymentState.UNPAID,
    )
    (result,) = office.push(office.op(order, customer_code="CMARTIN"))
    assert (result.outcome, result.reason) == ("written", None)
    ours = office.published()["COMMANDES_000001.TXT"].split(b"\r\n")
    sample = (DATA / "SAGE100_GC_ORDER.TXT").read_bytes().split(b"\r\n")
    assert len(ours) == len(sample)
    # Fields are counted from the line after #CHEN, the third of the file.
    differing = {n - 2: (a, b) for n, (a, b) in enumerate(zip(ours, sample, strict=True)) if a != b}
    assert differing == {41: (b"", b"10:15:00")}


def test_records_have_their_number_of_fields(office: BackOffice) -> None:
    office.push(mug_order(), make.order([make.line("20.00", quantity="3", name="# pas un champ")], number="1002"))
    lines = office.published()["COMMANDES_000001.TXT"].decode("cp850").split("\r\n")
    tags = [n for n, line in enumerate(lines) if line.startswith("#") and n > 1]
    sizes = [(lines[a], b - a - 1) for a, b in itertools.pairwise(tags)]
    assert sizes == [
        ("#CHEN", 86), ("#CHLI", 62), ("#CHLI", 62), ("#CHRE", 10), ("#CHEN", 86), ("#CHLI", 62), ("#CHRE", 10),
    ]  # fmt: skip
    assert lines[:2] == ["#FLG 000", "#VER 33"]
    assert "'# pas un champ" in lines


@pytest.mark.parametrize("profile", PROFILES)
def test_what_sage_reads_is_what_was_ordered(tmp_path: Path, profile: str) -> None:
    office = BackOffice(tmp_path, order_profile=profile, document_prefix="{CHANNEL}-", payment_modes={"card": "7"})
    office.push(mug_order(number="1001"))
    (document,) = held(office)
    assert (document.web, document.customer, document.total) == ("WEB-1001", "WEBC12", D("126.00"))
    assert [(line.item, line.quantity, line.price, line.rate) for line in document.lines] == [
        ("TSHIRT-M", D(1), D(100), D(20)),
        ("PORT", D(1), D(5), D(20)),
    ]
    assert document.deposit == D("126.00")


def test_deposits_are_left_out_where_the_settings_say_so(tmp_path: Path) -> None:
    for profile in PROFILES:
        (tmp_path / profile).mkdir()
        office = BackOffice(tmp_path / profile, order_profile=profile, deposits=False)
        office.push(mug_order())
        assert held(office)[0].deposit == 0


# -- totals -------------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(54)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 9999), st.sampled_from(["20", "10", "5.5", "2.1"])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(PROFILES),
    st.sampled_from(["net", "gross"]),
    st.integers(0, 900),
)
def test_sage_reproduces_the_total_or_the_order_is_refused_with_the_difference(
    tmp_path_factory: pytest.TempPathFactory, basket: list[tuple[int, int, str]], profile: str, prices: str, port: int
) -> None:
    lines = []
    for quantity, price, rate in basket:
        gross = D(price * quantity) / 100
        net = (gross * 100 / (100 + D(rate))).quantize(D("0.01"))
        lines.append(make.line(net, rate, quantity=str(quantity), tax=gross - net))
    gross = D(port) / 100
    net = (gross / D("1.2")).quantize(D("0.01"))
    order = make.order(lines, [make.charge(net, tax=gross - net)] if port else [])
    office = BackOffice(tmp_path_factory.mktemp("sage"), order_profile=profile, prices=prices)
    (result,) = office.push(order)
    if result.outcome == "rejected":
        assert prices == "net" and result.field == "total"
        assert "difference" in (result.reason or "")
        assert office.published() == {}
        return
    (document,) = held(office)
    assert document.total == order.totals.total
    assert document.gross == (prices == "gross")
    assert sum(line.quantity for line in document.lines if line.item == "MUG-01") == sum(q for q, _, _ in basket)
    assert abs(sum((line.price for line in document.lines if line.item == "ARRONDI"), D(0))) <= D("0.02")


def test_a_total_beyond_the_tolerance_is_refused_and_the_difference_said(office: BackOffice) -> None:
    (near,) = office.push(make.order([make.line("100.00")], total="120.02"))
    assert near.outcome == "written" and near.reason == "total: rounding line of 0.02"
    (far,) = office.push(make.order([make.line("100.00")], total="120.03", number="1002"))
    assert far.outcome == "rejected" and far.field == "total"
    assert "Sage would compute 120.00 and the buyer paid 120.03 (difference 0.03)" in (far.reason or "")
    assert "max_rounding of the Sage connection" in (far.hint or "")


def test_what_takes_off_stands_on_the_discount_item(office: BackOffice) -> None:
    office.push(make.order([make.line("100.00")], [make.charge("-10.00", kind=ChargeKind.FEE, label="Remise")]))
    (document,) = held(office)
    assert [(line.item, line.price) for line in document.lines] == [("MUG-01", D(100)), ("REMISE", D(-10))]
    assert document.total == D("108.00")


# -- codes and text -----------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(78)
def test_item_codes_are_capitals_and_long_ones_get_an_alias(office: BackOffice) -> None:
    first, second = "TASSE-EMAILLEE-BLEUE-S", "TASSE-EMAILLEE-BLEUE-M"
    lines = [make.line("10.00", sku=sku) for sku in ("mug-bleu", first, second, "weiß-xl", "tasse-émaillée-bleue-xl")]
    (result,) = office.push(make.order(lines))
    items = [line.item for line in held(office)[0].lines]
    assert items[0] == "MUG-BLEU" and items[3] == "WEISS-XL"
    assert len(set(items)) == 5 and all(len(item) <= 18 and item == item.upper() for item in items)
    assert "item codes of Sage are in capitals: MUG-BLEU" in (result.reason or "")
    assert f"its alias is {items[1]}" in (result.reason or "")


def test_the_table_of_items_names_what_sage_has(tmp_path: Path) -> None:
    office = BackOffice(tmp_path, item_codes={"mug-bleu": "MUG001"})
    (result,) = office.push(make.order([make.line("10.00", sku="mug-bleu")]))
    assert result.reason is None and held(office)[0].lines[0].item == "MUG001"


def test_strange_text_is_spelt_out_and_said(office: BackOffice) -> None:
    (result,) = office.push(
        make.order([make.line("10.00", name="Tasse 🌸 émaillée;\r\n#CHLI")], billing=make.address(city="Łódź"))
    )
    (document,) = held(office)
    assert document.lines[0].label == "Tasse émaillée, #CHLI"
    assert "lines[1].name: characters outside cp850 replaced" in (result.reason or "")
    assert "Lódz" in office.published()["COMMANDES_000001.TXT"].decode("cp850")


def test_nothing_of_an_order_is_read_as_a_tag(office: BackOffice) -> None:
    order = make.order(
        [make.line("10.00", sku="#FIN", name="#" + "é" * 80)],
        number="#1001",
        billing=make.address(lines=("#CHEN",), city="#FIN"),
    )
    (result,) = office.push(order)
    (document,) = held(office)
    assert document.web.startswith("1001-") and document.lines[0].item.startswith("FIN-")
    assert document.lines[0].label == "'#" + "é" * 67
    assert "its alias is FIN-" in (result.reason or "") and "it would be a tag of the file" in (result.reason or "")
    # Its acknowledgement finds it under that number.
    SalesDesk(office.folder, SageGescom(), takes="list").step()
    assert office.acks() == [(document.web, "accepted", "BC00001", None)]


def test_a_value_of_the_order_is_never_read_as_a_template(tmp_path: Path) -> None:
    office = BackOffice(tmp_path, headings=("{name}",))
    office.push(make.order(billing=make.address(first_name="{email}", last_name="{number}")))
    assert "{email} {number}" in office.published()["COMMANDES_000001.TXT"].decode("cp850")


# -- settings -----------------------------------------------------------------------------------------------------


def test_customers_are_their_own_or_all_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    nameless = make.order(number="7", billing=None, shipping=None)
    own = BackOffice(tmp_path / "a")
    (refused,) = own.push(nameless)
    assert refused.field == "billing.name" and "default_customer" in (refused.hint or "")
    one = BackOffice(tmp_path / "b", customers="default", default_customer="WEBDIVERS")
    assert [r.outcome for r in one.push(nameless, mug_order())] == ["written", "written"]
    assert {document.customer for document in held(one)} == {"WEBDIVERS"}
    with pytest.raises(ValueError, match="needs default_customer"):
        SageConfig(folder=tmp_path, customers="default")


def test_a_scheme_needs_its_accounting_category_and_a_rate_its_code(tmp_path: Path) -> None:
    german = make.order([make.line("100.00", "19", scheme=TaxScheme.OSS, country="DE")])
    for name in "abc":
        (tmp_path / name).mkdir()
    (bare,) = BackOffice(tmp_path / "a").push(german)
    assert "VAT scheme oss" in (bare.reason or "") and "accounting_categories.oss" in (bare.hint or "")
    half: dict[str, Any] = {"accounting_categories": {"domestic": 1, "oss": 4}, "tax_codes": {"20": "C20"}}
    (half_set,) = BackOffice(tmp_path / "b", **half).push(german)
    assert 'Add "oss/19"' in (half_set.hint or "")
    office = BackOffice(tmp_path / "c", **{**half, "tax_codes": {"20": "C20", "oss/19": "C19DE"}})
    assert office.push(german)[0].outcome == "written"
    lines = office.published()["COMMANDES_000001.TXT"].decode("cp850").split("\r\n")
    assert "C19DE" in lines and lines[lines.index("#CHEN") + 37] == "4"


def test_the_header_is_that_of_gestion_commerciale(tmp_path: Path) -> None:
    office = BackOffice(tmp_path, gescom_from=None, order_profile="chen")
    with pytest.raises(ConfigError, match="gesco: the header of Sage's format is not known: `gescom_from` is missing"):
        office.push(mug_order())
    office = BackOffice(tmp_path)
    (tmp_path / "gescom.txt").write_bytes(SAGE_EXPORT)
    with pytest.raises(ConfigError, match="export of Sage 100 Comptabilité, not of Gestion commerciale"):
        office.push(mug_order())
    (tmp_path / "gescom.txt").write_bytes(b"PK\x03\x04\r\n\r\n")
    with pytest.raises(ConfigError, match="does not begin with #FLG and #VER"):
        office.push(mug_order())
    (tmp_path / "gescom.txt").unlink()
    with pytest.raises(ConfigError, match=r"gescom_from: gescom.txt cannot be read"):
        office.push(mug_order())


def test_check_says_what_nobody_has_seen(office: BackOffice) -> None:
    report = office.connector().check()
    items = {item.name: item for item in report.items}
    assert "never imported" in items["order_profile"].detail
    assert "profile" not in items  # only orders are set up: entries lack nothing
    assert any("empty document number" in item.detail for item in report.items if item.name == "order_unconfirmed")


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"headings": ("{password}",)}, "{password} is not known"),
        ({"payment_modes": {"card": "31"}}, "none of Sage's modes"),
        ({"accounting_categories": {"domestic": 51}}, "none of 1 to 50"),
        ({"tax_codes": {"normal": "C20"}}, "neither a rate nor SCHEME/RATE"),
        ({"depot": "A;B"}, "separator"),
        ({"default_item": "divers"}, "pattern"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("{", r"\{")):
        SageConfig(folder=tmp_path, **settings_)


def test_an_item_of_the_settings_that_sage_cannot_hold_is_named(tmp_path: Path) -> None:
    office = BackOffice(tmp_path, shipping_item="FRAIS-DE-PORT-ET-EMBALLAGE")
    with pytest.raises(ConfigError, match="shipping_item: FRAIS-DE-PORT-ET-EMBALLAGE is longer than the 18 characters"):
        office.push(mug_order())


def test_two_shops_need_their_name_in_the_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="document_prefix"):
        SageConfig(folder=tmp_path).check_sources(["a", "b"])
    with pytest.raises(ValueError, match="credit_note_prefix"):
        SageConfig(folder=tmp_path, document_prefix="{CHANNEL}-").check_sources(["a", "b"])
    both = SageConfig(folder=tmp_path, document_prefix="{CHANNEL}-", credit_note_prefix="{CHANNEL}-AV")
    both.check_sources(["a", "b"])
    with pytest.raises(ValueError, match="piece_numbers"):
        both.model_copy(update={"piece_numbers": "digits"}).check_sources(["a", "b"])


# -- once, and acknowledged ---------------------------------------------------------------------------------------


def test_an_order_is_handed_over_once_and_its_number_is_its_own(office: BackOffice) -> None:
    order = mug_order()
    assert office.push(order)[0].outcome == "written"
    (again,) = office.push(order)
    assert (again.outcome, again.reason) == ("written", "already handed over")
    (changed,) = office.push(office.op(order, note="autre"))
    assert changed.outcome == "rejected" and "another content" in (changed.reason or "")
    # Another record whose document would have the number of this one.
    twin = office.op(make.order(number="1003"))
    (refused,) = office.push(type(twin)("d-x", twin.entity, "create", "twin", {**twin.payload, "number": "1001"}, "x"))
    assert "the number 1001 was given to order 1001" in (refused.reason or "")
    assert list(office.published()) == ["COMMANDES_000001.TXT"]


def test_the_renamed_file_is_the_acknowledgement(office: BackOffice) -> None:
    office.push(mug_order(), make.order(number="1002"))
    program = SageGescom(stock={"TSHIRT-M": D(9), "PORT": D(0)}, customers={"WEBC12"})
    assert SalesDesk(office.folder, program).step() == ["COMMANDES_000001.TXT"]
    assert [document.piece for document in program.documents] == ["BC00001", "BC00002"]
    assert program.available("TSHIRT-M") == 7
    assert office.acks() == [("1001", "accepted", None, None), ("1002", "accepted", None, None)]
    assert office.acks() == []
    assert (office.folder / "ack" / "done" / "COMMANDES_000001.BAK").is_file()


def test_an_exported_list_gives_the_programs_number(office: BackOffice) -> None:
    office.push(mug_order())
    SalesDesk(office.folder, SageGescom(), takes="list").step()
    assert office.acks() == [("1001", "accepted", "BC00001", None)]


def test_a_refused_order_is_told_and_may_come_again(office: BackOffice) -> None:
    office.push(mug_order(), make.order([make.line("10.00", sku="INCONNU")], number="1002"))
    desk = SalesDesk(office.folder, SageGescom(stock={"TSHIRT-M": D(9), "PORT": D(0), "MUG-01": D(5)}))
    desk.step()
    assert office.acks() == [("1001", "accepted", None, None), ("1002", "rejected", None, "article INCONNU inconnu")]
    assert office.push(make.order([make.line("10.00", sku="MUG-01")], number="1002"))[0].outcome == "written"
    desk.step()
    assert office.acks() == [("1002", "accepted", None, None)]
    assert desk.program.available("MUG-01") == 4


def test_without_numbers_of_its_own_sage_may_refuse_and_digits_help(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    auto, digits = BackOffice(tmp_path / "a"), BackOffice(tmp_path / "b", piece_numbers="digits")
    for office in (auto, digits):
        office.push(mug_order())
    desk = SalesDesk(auto.folder, SageGescom(numbers=False))
    desk.step()
    assert "numéro de pièce absent" in desk.unreadable[0][1]
    assert held(digits, numbers=False)[0].piece == "WEB00001001"
    (odd,) = digits.push(make.order(number="A-7"))
    assert odd.field == "order_number" and 'piece_numbers = "auto"' in (odd.hint or "")


# -- recorded orders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_recorded_orders_of_a_real_shop_arrive_with_their_totals(tmp_path: Path, profile: str) -> None:
    folder = mappings_dir() / "sage" / "golden" / "order.out"
    orders = [
        SalesOrder.model_validate(json.loads((folder / f"{case}.in.json").read_text("utf-8"))) for case in RECORDED
    ]
    office = BackOffice(tmp_path, order_profile=profile, customers="default", default_customer="WEBDIVERS")
    results = office.push(*orders)
    assert [(r.outcome, r.field) for r in results] == [("written", None)] * len(orders)
    assert [document.total for document in held(office)] == [order.totals.total for order in orders]
