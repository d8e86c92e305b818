"""A Vendure as a channel: its orders reach the back office once, prices and stock come back. The shop is a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from comptoir.model.refs import EntityName, RunState
from comptoir.sdk import Credentials
from comptoir.store import schema
from comptoir_vendure.sandbox import ServerClock, VendureSandbox, serve

from tests.support.back_office import BackOffice
from tests.support.vendure_merchant import VendureMerchant


class _Town:
    def __init__(self, folder: Path, url: str, box: VendureSandbox) -> None:
        self.box = box
        self.merchant = VendureMerchant(folder, url, Credentials(host=box.home, login=box.login, password=box.password))
        self.office = BackOffice(self.merchant.exchange)
        self.office.item("CAF-001", "Café moulu 250 g", "6.82", "7.20", stock=40)
        self.office.item("MUG-003", "Mug émaillé", "11.67", "14.00", stock=30, booked=2)
        self.office.export()

    def order(self, pieces: dict[str, int]) -> str:
        number = self.box.sales.cart(pieces)
        self.box.sales.place(number)
        return number


@pytest.fixture
def town(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Town]:
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", database_url)
    box = VendureSandbox(clock=ServerClock())
    with serve(box):
        yield _Town(tmp_path, schema.plain_url(database_url), box)


def test_orders_reach_the_back_office_once_with_what_is_given_back(town: _Town) -> None:
    numbers = [town.order({"1": 2, "3": 1}), town.order({"3": 3})]
    first = town.merchant.run("orders")
    assert first.state is RunState.SUCCESS
    assert (first.main.considered, first.main.delivered) == (2, 2)
    assert town.merchant.documents() == [f"SANDBOX{int(number):09d}" for number in numbers]
    assert town.merchant.rows("select sum(total), sum(abs(residual)) from sales_order") == [(Decimal("81.60"), 0)]

    town.box.sales.refund(numbers[1], pieces={town.box.sales.orders[numbers[1]]["lines"][0]["id"]: 1})
    town.box.sales.ship(numbers[0])
    second = town.merchant.run("orders")
    assert second.state is RunState.SUCCESS
    assert second.entities[EntityName.REFUND].delivered == 1  # although no date of the order had moved
    assert town.merchant.value("select count(*) from sales_order where fulfilment_state = 'shipped'") == 1
    third = town.merchant.run("orders")
    assert third.main.considered == third.main.unchanged
    assert not third.main.delivered


def test_prices_and_stock_come_back_and_stay(town: _Town) -> None:
    town.order({"3": 4})
    assert town.merchant.run("orders").state is RunState.SUCCESS
    for route in ("items", "stock"):
        assert town.merchant.run(route).state is RunState.SUCCESS
    goods = town.box.goods.variants
    assert [goods[number]["price"] for number in "123"] == [720, 850, 1400]
    sellable = {number: row["levels"]["1"] for number, row in goods.items()}
    # 30 counted, 2 promised by the back office, 4 ordered in the shop and not booked there yet.
    assert sellable["3"]["stockOnHand"] - sellable["3"]["stockAllocated"] == 30 - 2 - 4
    assert sellable["1"]["stockOnHand"] == 40
    for route in ("items", "stock"):
        again = town.merchant.run(route)
        assert again.state is RunState.SUCCESS
        assert not again.main.delivered
