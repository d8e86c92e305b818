"""The sandbox's catalogue: what the operator exports is what the connector reads."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.domain.availability import Counted, availability
from comptoir.engine.land import fingerprint
from comptoir.model.item import Item
from comptoir.model.parties import Customer
from comptoir.model.stock import StockLevel
from comptoir.sdk import EntityName
from comptoir_ebp.catalogue import Catalogue
from comptoir_ebp.sandbox import EbpBooks, EbpSandbox

from tests import factories as make
from tests.support.ebp import FixedClock, Merchant, mapped, pulled

D = Decimal
ROWS = (
    ("MUG-01", "Mug émaillé; bleu", D("10.00"), D("12.00"), D("20"), "4006381333931", D("42")),
    ("THE-VRAC", 'Thé "fumé" au poids', D("38.50"), D("40.6175"), D("5.5"), "", D("12.375")),
    ("GRAVURE", "Gravure à la main", D("8.25"), D("9.90"), D("20"), "", None),
)


class Desk:
    """A merchant, his EBP and its operator, on one clock."""

    def __init__(self, base: Path, **settings: Any) -> None:
        self.clock = FixedClock()
        self.merchant = Merchant(base, **settings)
        self.catalogue = Catalogue()
        self.catalogue.seed(ROWS)
        self.books = EbpBooks(catalogue=self.catalogue)
        self.operator = EbpSandbox(self.merchant.folder, books=self.books, now=self.clock.now)

    def export(self) -> None:
        self.clock.sleep(60)
        self.operator.export()

    def read(self, entity: str) -> dict[str, Any]:
        """The canonical records by the code that EBP shows."""
        found = [mapped(record, self.merchant.config) for record in pulled(self.merchant, entity)]
        return {getattr(made, "sku", None) or made.external_id: made for made in found}  # type: ignore[attr-defined]

    def free(self, code: str) -> Decimal:
        level: StockLevel = self.read("stock")[code]
        return availability([Counted(level.on_hand, level.reserved)], demand=D(0))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_is_exported_is_what_is_read(desk: Desk) -> None:
    desk.export()
    items: dict[str, Item] = desk.read("item")
    assert set(items) == {row[0] for row in ROWS}
    for code, name, net, gross, rate, gtin, _ in ROWS:
        item = items[code]
        assert (item.name, item.tax_rate, item.gtins) == (name, rate, (gtin,) if gtin else ())
        assert [(p.price_list, p.amount, p.basis.value) for p in item.prices] == [
            ("HT", net, "excl"),
            ("TTC", gross, "incl"),
        ]
    assert [items[code].kind.value for code in ("MUG-01", "GRAVURE")] == ["stock", "service"]
    assert {code: level.on_hand for code, level in desk.read("stock").items()} == {
        "MUG-01": D(42),
        "THE-VRAC": D("12.375"),
    }
    assert {level.location for level in desk.read("stock").values()} == {"Principal"}


def test_changes_of_the_day_show_in_the_next_export(desk: Desk) -> None:
    desk.export()
    desk.catalogue.set_price("MUG-01", net=D("11.00"), gross=D("13.20"))
    desk.catalogue.set_stock("MUG-01", D("7.5"))
    desk.catalogue.set_stock("MUG-01", D("3"), "Boutique")
    desk.catalogue.items["THE-VRAC"].asleep = True
    desk.export()
    items = desk.read("item")
    assert [price.amount for price in items["MUG-01"].prices] == [D("11.00"), D("13.20")]
    assert items["THE-VRAC"].state == "retired"
    levels = [mapped(record, desk.merchant.config) for record in pulled(desk.merchant, "stock")]
    assert {(x.sku, x.location): x.on_hand for x in levels if isinstance(x, StockLevel)} == {
        ("MUG-01", "Principal"): D("7.5"),
        ("MUG-01", "Boutique"): D(3),
        ("THE-VRAC", "Principal"): D("12.375"),
    }


def test_an_imported_order_books_its_items_until_they_are_shipped(desk: Desk) -> None:
    order = make.order([make.line("20.00", sku="MUG-01", quantity="2"), make.line("5.00", sku="INCONNU")])
    desk.merchant.push(order)
    desk.export()
    assert desk.free("MUG-01") == 42
    desk.operator.step()
    desk.export()
    level: StockLevel = desk.read("stock")["MUG-01"]
    assert (level.on_hand, level.reserved, desk.free("MUG-01")) == (D(42), D(2), D(40))
    desk.books.ship("BC00001")
    desk.export()
    level = desk.read("stock")["MUG-01"]
    assert (level.on_hand, level.reserved, desk.free("MUG-01")) == (D(40), D(0), D(40))


def test_a_cancelled_order_keeps_nothing(desk: Desk) -> None:
    desk.merchant.push(make.order([make.line("20.00", sku="MUG-01", quantity="2")]))
    desk.operator.step()
    desk.books.cancel("BC00001")
    desk.export()
    assert desk.free("MUG-01") == 42


def test_a_renamed_code_is_a_new_item_unless_a_column_has_its_identity(tmp_path: Path) -> None:
    for settings, same in (({}, False), ({"item_identity": "Article - Identifiant unique"}, True)):
        desk = Desk(tmp_path / str(same), **settings)
        desk.export()
        before = {entity: desk.read(entity)["MUG-01"] for entity in ("item", "stock")}
        desk.catalogue.rename("MUG-01", "MUG-BLEU")
        desk.export()
        after = {entity: desk.read(entity)["MUG-BLEU"] for entity in ("item", "stock")}
        for entity in ("item", "stock"):
            assert (after[entity].external_id == before[entity].external_id) is same
        assert after["stock"].item_id == after["item"].external_id
        assert "Article - Identifiant unique" in after["item"].extra or same
        with pytest.raises(KeyError):
            desk.catalogue.rename("MUG-BLEU", "THE-VRAC")


def test_a_customer_of_an_order_has_a_card_that_a_user_changes(desk: Desk) -> None:
    desk.merchant.push(make.order())
    desk.operator.step()
    ((code, card),) = desk.books.customers.items()
    desk.export()
    first: Customer = desk.read("customer")[code]
    assert first.addresses[0].city == card["Client - Ville (facturation)"] != ""
    assert (first.consents, first.addresses[0].country) == ((), "FR")
    desk.books.change_customer(
        code, email="neuf@example.test", address="2 quai de l'Est", city="Évian", postcode="74500", mailing="Non"
    )
    desk.export()
    now: Customer = desk.read("customer")[code]
    assert now.party.email == "neuf@example.test"
    assert (now.addresses[0].lines, now.addresses[0].city, now.addresses[0].postcode) == (
        ("2 quai de l'Est",),
        "Évian",
        "74500",
    )
    assert [consent.state.value for consent in now.consents] == ["refused"]


def test_exports_follow_one_another_and_an_equal_one_changes_nothing(desk: Desk) -> None:
    desk.export()
    volatile = frozenset(desk.merchant.connector().manifest.entities[EntityName.STOCK].volatile)
    first = pulled(desk.merchant, "stock")
    desk.operator.export()  # the clock has not moved
    second = pulled(desk.merchant, "stock", since=first[0].modified_at)
    assert len(second) == len(first)
    assert second[0].modified_at is not None and first[0].modified_at is not None
    assert second[0].modified_at - first[0].modified_at == timedelta(milliseconds=1)
    assert [fingerprint(r.payload, volatile) for r in first] == [fingerprint(r.payload, volatile) for r in second]
    assert pulled(desk.merchant, "stock", since=second[0].modified_at) == []
    assert desk.operator.export(items=False, customers=False) == ["STOCK.csv"]
