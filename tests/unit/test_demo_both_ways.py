"""The demo's two directions: its checks against sandboxes that are written to rightly, twice, or too much."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from comptoir.airflow import demo_measure
from comptoir.airflow.demo_checks import Check
from comptoir.airflow.demo_measure import WAYS, Figures, Measure, Way, percentile
from comptoir.airflow.demo_office import ARTICLE, OTHER, SOLD, SOLD_UNITS, BothWays
from comptoir.airflow.demo_store import Passage
from comptoir.airflow.demo_story import OFFICE, SHOP, Merchant

from tests.support.merchant import request_json

CODES = {3: "BOUC3", 4: "BOUC4"}


class FakeStore:
    """What the store would say of one sale and one article."""

    def __init__(self) -> None:
        self.now: datetime | None = None
        self.lowered: Decimal | None = None
        self.review: str | None = None

    def unmatched(self, target: str, sku: str) -> str | None:
        assert (target, sku) == (SHOP, ARTICLE)
        return self.review

    def received_at(self, shop: str, entity: str, number: str) -> datetime | None:
        return self.now

    def stock_written(self, target: str, number: str, since: datetime) -> list[tuple[datetime, Decimal]]:
        if self.lowered is None or self.now is None:
            return []
        return [(self.now + timedelta(seconds=4), self.lowered)]


class World:
    """A merchant whose hub is this test: it writes through the shops' interfaces."""

    def __init__(self, merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.merchant, self.store = merchant, FakeStore()
        self.created: list[str] = []
        monkeypatch.setattr(
            "comptoir.airflow.demo_office.create", lambda config, reference, **more: self.created.append(reference)
        )
        books = merchant.desks[OFFICE].books
        for number, code in CODES.items():
            mail = merchant.shown(SHOP, "customers", number)["email"]
            books.customers[code] = {"Client - Nom": code, "Client - E-mail (facturation)": mail}
        self.both = BothWays(merchant, self.store)  # type: ignore[arg-type]
        self.events = list(self.both.happen())

    def write(self, shop: str, path: str, **fields: Any) -> None:
        request_json(self.merchant._shops[shop], "PUT", path, fields)

    def product(self, shop: str, sku: str) -> int:
        return self.merchant.product(shop, sku)

    def do_everything(self) -> None:
        """What the hub should do."""
        for shop, price in ((SHOP, "8.90"), (OTHER, "8.44")):
            self.write(shop, f"/products/{self.product(shop, 'MIEL-250')}", regular_price=price)
            self.write(shop, f"/products/{self.product(shop, 'REVUE-12')}", sku="REVUE-N12")
        self.write(SHOP, "/customers/3", email="client3.nouveau@example.test")
        self.store.review = "0123456789abcdef"
        assert "comptoir match create 89abcdef" in str(self.both.decide())
        assert self.both.decide() is None
        made = {"type": "simple", "name": "Bol", "sku": ARTICLE, "regular_price": "14.50", "status": "draft"}
        request_json(self.merchant._shops[SHOP], "POST", "/products", made)
        books = self.merchant.desks[OFFICE].books
        books.import_file(
            "CLIENTS_000009.CSV",
            b"Client - Code (tiers);Client - Nom;Client - Ville (facturation)\r\nBOUC4;X;LYON\r\n",
        )
        self.store.now = self.merchant.now()
        self.store.lowered = Decimal(900 - SOLD_UNITS)
        self.set_stock()

    def set_stock(self) -> None:
        """What each shop should offer, by the figures of the two sandboxes."""
        demand = self.merchant.open_demand(OTHER, set())
        for code, card in self.merchant.catalogue.items.items():
            if not card.stocked or code == ARTICLE:
                continue
            sold = demand.get(code, 0) + (demand.get("REVUE-12", 0) if code == "REVUE-N12" else 0)
            free = int(sum(card.real.values()) - card.booked - sold)
            for shop in (SHOP, OTHER):
                number = self.product(shop, code)
                parent = self.merchant._shops[shop].products[number].parent_id
                path = f"/products/{parent}/variations/{number}" if parent else f"/products/{number}"
                self.write(shop, path, stock_quantity=free, manage_stock=True)

    def checks(self) -> dict[str, Check]:
        return {check.name: check for check in self.both.checks({})}

    def failed(self) -> list[str]:
        return [name for name, check in self.checks().items() if not check.ok]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    merchant = Merchant(tmp_path)
    merchant.write_files("http://127.0.0.1:8090")
    merchant.open_shops()
    try:
        yield World(merchant, monkeypatch)
    finally:
        merchant.close()


def test_nothing_is_there_before_it_was_brought(world: World) -> None:
    assert {event.key for event in world.events} == {"price", "code", "stock", "article", "email", "address", "sale"}
    assert len(world.both.lacking()) == 8
    assert len(world.failed()) == 5, world.checks()


def test_what_was_brought_rightly_holds(world: World) -> None:
    world.do_everything()
    assert world.both.lacking() == []
    assert world.failed() == [], world.checks()
    assert world.created == ["0123456789abcdef"]
    assert world.both.stock_is_right({})


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        (lambda w: w.write(SHOP, f"/products/{w.product(SHOP, 'MIEL-250')}", regular_price="8.90"), "a price, a SKU"),
        (lambda w: w.write(OTHER, f"/products/{w.product(OTHER, 'REVUE-N12')}", weight="9"), "a price, a SKU"),
        (lambda w: w.write(SHOP, "/customers/3", first_name="Autre"), "a price, a SKU"),
        (lambda w: w.merchant.change(SHOP, "PUT", "customers/3", {"last_name": "Autre"}), "a price, a SKU"),
        (lambda w: w.merchant.change(OTHER, "POST", "products", {"name": "Bol", "sku": ARTICLE}), "nothing is made"),
        (lambda w: w.merchant.change(SHOP, "POST", "products", {"name": "Encore"}), "nothing is made"),
        (lambda w: setattr(w.store, "lowered", Decimal(899)), "a sale in one shop"),
        (lambda w: w.merchant.sell(OTHER, SOLD, 1), "both shops offer"),
        (
            lambda w: w.merchant.desks[OFFICE].books.import_file(
                "CLIENTS_000010.CSV", b"Client - Code (tiers);Client - Nom\r\nBOUC3;X\r\n"
            ),
            "an address changed",
        ),
    ],
)
def test_one_wrong_thing_is_found(world: World, sabotage: Any, named: str) -> None:
    world.do_everything()
    sabotage(world)
    assert any(name.startswith(named) for name in world.failed()), world.checks()


def test_an_article_that_was_made_unasked_ends_the_demo(world: World) -> None:
    world.merchant.change(SHOP, "POST", "products", {"name": "Bol", "sku": ARTICLE})
    world.store.review = "0123456789abcdef"
    with pytest.raises(AssertionError, match="before anybody asked"):
        world.both.decide()
    assert world.created == []


# -- the measure -------------------------------------------------------------------------------------------------------


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.95)) == (50.0, 95.0)
    assert percentile([3.0], 0.95) == 3.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_a_series_that_is_not_whole_says_so() -> None:
    assert not Figures("alone", 2, [1.0]).whole
    assert str(Figures("alone", 2, [1.0])).startswith("1 of 2 orders")
    assert not Figures("alone", 0, []).whole
    assert Figures("alone", 2, [1.0, 3.0]).whole


class Clockwork:
    """Orders that are confirmed a tick after they were placed, and a run that lingers for two ticks more."""

    def __init__(self) -> None:
        self.start = datetime.fromisoformat("2026-11-22T08:00:00+00:00")
        self.ticks = 0
        self.placed: dict[str, int] = {}
        self.hooks = True
        self.losing: set[str] = set()

    def tick(self) -> None:
        self.ticks += 1

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.ticks)

    def sell(self, shop: str, sku: str, quantity: int) -> str:
        assert (sku, quantity) == (demo_measure.SKU, 1)
        number = f"{shop}{len(self.placed)}"
        self.placed[number] = self.ticks
        return number

    def at_work(self, route: str) -> bool:
        (shop,) = [way.shop for way in WAYS if way.route == route]
        mine = [at for number, at in self.placed.items() if number.startswith(shop)]
        return bool(mine) and self.ticks < max(mine) + 3

    def passages(self, shop: str, target: str, numbers: list[str], *, booked: bool) -> dict[str, Passage]:
        assert Way(shop, {"gesco": "orders", "compta": "books"}[target], target, booked) in WAYS
        found = {}
        for number in numbers:
            at = self.placed[number]
            if self.ticks > at and number not in self.losing:
                begun = self.start + timedelta(seconds=at)
                found[number] = Passage(number, begun if self.hooks else None, begun + timedelta(seconds=1))
        return found


def test_orders_alone_are_placed_when_their_route_rests() -> None:
    world: Any = Clockwork()
    figures = Measure(world, world, world.tick).alone(5)
    assert figures.whole
    assert list(figures.seconds) == [1.0] * 5
    for shop in ("boutique", "atelier"):
        moments = sorted(at for number, at in world.placed.items() if number.startswith(shop))
        assert all(later - earlier >= 3 for earlier, later in pairwise(moments))
    assert sum(number.startswith("boutique") for number in world.placed) == 3


def test_a_burst_is_placed_at_once_and_one_that_is_lost_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    world: Any = Clockwork()
    assert Measure(world, world, world.tick).burst(4).whole
    assert set(world.placed.values()) == {0}
    assert Measure(world, world, world.tick).burst(2).whole
    assert sorted(world.placed.values())[-2:] == [3, 3], "the runs of the first burst were waited for"
    monkeypatch.setattr(demo_measure, "_PATIENCE", 0.01)
    world.losing = {"boutique6"}
    missed = Measure(world, world, world.tick).burst(2)
    assert (missed.whole, len(missed.seconds)) == (False, 1)


def test_without_webhooks_an_order_that_came_by_one_does_not_count() -> None:
    world: Any = Clockwork()
    look = Measure(world, world, world.tick).without_webhooks(3)
    assert len(look().seconds) == 0
    world.tick()
    assert len(look().seconds) == 0, "they were announced"
    world.hooks = False
    assert look().whole
    assert list(look().seconds) == [1.0] * 3
