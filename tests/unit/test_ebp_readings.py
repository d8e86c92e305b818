"""What rows of EBP's exports become: numbers, keys, states, persons and companies, consents."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.engine.land import fingerprint
from comptoir.errors import MappingError
from comptoir.model.item import Item
from comptoir.model.parties import Customer
from comptoir.model.stock import StockLevel
from comptoir.sdk import EntityName, RawItem
from comptoir_ebp import readings

from tests.support.ebp import EXPORTED_AT, EXPORTS, Merchant, mapped, pulled, put_export

D = Decimal
HEAD = "Article - Code article;Article - Libellé;Article - PV HT\r\n"


@pytest.fixture
def merchant(tmp_path: Path) -> Merchant:
    return Merchant(tmp_path)


def refusal(item: RawItem, merchant: Merchant) -> str:
    """The words with which the mapping refuses the record."""
    with pytest.raises(MappingError) as raised:
        mapped(item, merchant.config)
    return raised.value.message


def item(record: RawItem, merchant: Merchant) -> Item:
    made = mapped(record, merchant.config)
    assert isinstance(made, Item)
    return made


def test_stock_stands_in_the_items_file_where_there_is_no_other(merchant: Merchant) -> None:
    put_export(merchant, "ARTICLES.csv", (EXPORTS / "ARTICLES_SQL.csv").read_bytes())
    (record,) = pulled(merchant, "stock")  # PORT is a service
    level = mapped(record, merchant.config)
    assert isinstance(level, StockLevel)
    assert (level.item_id, level.location) == ("MUG-001", "main")
    assert [level.on_hand, level.reserved, level.incoming] == [42, 3, 24]
    assert level.counted_at == EXPORTED_AT
    put_export(merchant, "STOCK.csv", "Code article;Stock réel\r\nMUG-001;5\r\n", EXPORTED_AT - timedelta(days=3))
    assert [i.payload["RealStock"] for i in pulled(merchant, "stock")] == ["5"]
    assert pulled(merchant, "stock", since=EXPORTED_AT - timedelta(days=3)) == []


def test_items_without_a_column_of_stock_give_none(merchant: Merchant, caplog: pytest.LogCaptureFixture) -> None:
    put_export(merchant, "ARTICLES.csv", HEAD + "A;Un;1\r\n")
    assert pulled(merchant, "stock") == []
    assert "no column of stock" in caplog.text


@pytest.mark.parametrize(
    ("choice", "reserved"), [("booked", D("3")), ("ordered", D("5")), ("virtual", D("-19")), ("none", D("0"))]
)
def test_reserved_comes_from_the_column_that_is_named(merchant: Merchant, choice: str, reserved: Decimal) -> None:
    put_export(merchant, "STOCK.csv", (EXPORTS / "STOCK.csv").read_bytes())
    record = pulled(merchant, "stock", reserved_from=choice)[0]
    level = mapped(record, merchant.config)
    assert isinstance(level, StockLevel)
    assert (level.on_hand, level.reserved) == (D(42), reserved)


def test_fractional_quantities_are_exact_and_an_empty_one_is_not_zero(merchant: Merchant) -> None:
    put_export(merchant, "STOCK.csv", "Code article;Stock réel\r\nA;0,1\r\nB;\r\nC;1.5\r\nD;12,3456789\r\n")
    first, *others = pulled(merchant, "stock")
    level = mapped(first, merchant.config)
    assert isinstance(level, StockLevel)
    assert level.on_hand == D("0.1")
    words = [refusal(record, merchant) for record in others]
    assert "on_hand: the quantity is empty" in words[0]
    assert "decimal sign ','" in words[1]
    assert "decimal places" in words[2]


def test_what_changes_without_the_card_changing_is_left_out_of_the_fingerprint(merchant: Merchant) -> None:
    volatile = frozenset(merchant.connector().manifest.entities[EntityName.ITEM].volatile)
    prints = set()
    for day, stock in enumerate(("42", "41")):
        text = f"Id;Caption;RealStock;sysModifiedDate\r\nA;Un;{stock};0{day + 1}/09/2026\r\n"
        put_export(merchant, "ARTICLES.csv", text, EXPORTED_AT + timedelta(days=day))
        (record,) = pulled(merchant, "item")
        prints.add(fingerprint(record.payload, volatile))
    assert len(prints) == 1
    put_export(merchant, "ARTICLES.csv", "Id;Caption\r\nA;Autre\r\n")
    (other,) = pulled(merchant, "item")
    assert fingerprint(other.payload, volatile) not in prints


@pytest.mark.parametrize(
    ("written", "sign", "value"),
    [
        ("12,50", ",", D("12.50")), ("1 234,5", ",", D("1234.5")), ("1\u202f234\u00a0567", ",", D(1234567)),
        ("-3", ",", D(-3)), ("+3,25", ",", D("3.25")), ("12.5", ".", D("12.5")), ("10,0000000000", ",", D(10)),
        ("-0,00", ",", D(0)), ("", ",", None), ("  ", ",", None), (None, ",", None),
        ("12345678901234567,1234567890", ",", D("12345678901234567.123456789")),
    ],
)  # fmt: skip
def test_numbers(written: Any, sign: str, value: Decimal | None) -> None:
    found = readings.number(written, sign)
    assert found == value
    assert str(found) != "-0"


@pytest.mark.parametrize(
    "written", ["1.234", "12 34", "1,2,3", "12 €", "1e3", "NaN", "Infinity", "١٢", "0x1", "-", ","]
)
def test_what_is_no_number_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        readings.number(written, ",")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("4006381333931", "4006381333931"), ("4006381333932", None), ("96385074", "96385074"),
        ("40 06381 333931", "4006381333931"), ("٤٠٠٦٣٨١٣٣٣٩٣١", None),
        ("036000291452", "036000291452"), ("4,00638E+12", None), ("0000000000000", None), ("", None), ("12345", None),
    ],
)  # fmt: skip
def test_gtins(written: str, value: str | None) -> None:
    assert readings.gtin(written) == value


@pytest.mark.parametrize(
    ("allowed", "refused", "state"),
    [
        ("Oui", "", "given"), ("Non", "", "refused"), ("", "Oui", "refused"), ("Oui", "Oui", "refused"),
        ("Oui", "Non", "given"), ("", "Non", "unknown"), ("", "", None),
    ],
)  # fmt: skip
def test_a_refusal_stands_and_silence_is_no_consent(allowed: str, refused: str, state: str | None) -> None:
    found = readings.consents(allowed, refused, "", "gesco", "Europe/Paris")
    assert [c["state"] for c in found] == ([state] if state else [])


@pytest.mark.parametrize(
    ("kind", "vat", "siren", "account"),
    [
        ("", "", "", "b2c"), ("Particulier", "", "", "b2c"), ("Société", "", "", "b2b"), ("", "DE123456789", "", "b2b"),
        ("", "", "303 265 045", "b2b"), ("", "", "123456789", "b2c"), ("", "pas de TVA", "néant", "b2c"),
        ("Particulier", "FR40303265045", "", "b2b"),
    ],
)  # fmt: skip
def test_companies_and_persons(kind: str, vat: str, siren: str, account: str) -> None:
    assert readings.account(kind, vat, siren) == account


def test_states_and_words_that_are_not_known_wait_for_a_person(merchant: Merchant) -> None:
    head = "Id;Caption;ActiveState;ManageStock;SalePriceVatExcluded\r\n"
    put_export(merchant, "ARTICLES.csv", head + "A;Un;7;1;1\r\nB;Deux;0;peut-être;1\r\nC;Trois;0;1;-1\r\nD;Q;1;1;1\r\n")
    found = pulled(merchant, "item")
    words = [refusal(record, merchant) for record in found[:3]]
    assert words[0].startswith("state: '7' is no known state")
    assert words[1].startswith("kind: 'peut-être' is neither Oui nor Non")
    assert words[2].startswith("prices: the price HT -1 is negative")
    assert item(found[3], merchant).state == "retired"


def test_a_country_that_is_not_known_waits_for_a_person(merchant: Merchant) -> None:
    head = "Code;Nom;Adresse 1;Ville;Code pays\r\n"
    put_export(merchant, "CLIENTS.csv", head + "C1;Un;rue;ville;Frankreich\r\nC2;Deux;rue;ville;fra\r\n")
    first, second = pulled(merchant, "customer")
    assert "is no known country code" in refusal(first, merchant)
    made = mapped(second, merchant.config)
    assert isinstance(made, Customer)
    assert made.addresses[0].country == "FR"
