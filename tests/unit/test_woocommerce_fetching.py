"""Single records read again by their ids: what `pull` would give of them, whole families, and what is gone."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from comptoir.errors import ComptoirError, ContractViolation, OutcomeUnknown, TransientError
from comptoir.sdk import Change, EntityName, HttpRequest, HttpResponse, Page, PullRequest, RawItem
from comptoir_woocommerce._sandbox.catalogue import Product
from comptoir_woocommerce.config import WooCommerceConfig
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from tests.support.woocommerce import VERSIONS, ManualClock, ScriptedTransport, context, exchange, sandboxed

ORDER, REFUND, CUSTOMER, ITEM, STOCK = (
    EntityName.ORDER,
    EntityName.REFUND,
    EntityName.CUSTOMER,
    EntityName.ITEM,
    EntityName.STOCK,
)


def shop_of(
    orders: int = 0, version: str = "11.0.1", **options: Any
) -> tuple[WooCommerceSandbox, WooCommerceConnector, ManualClock]:
    clock = ManualClock()
    shop = WooCommerceSandbox(clock=clock, version=version, **options)
    shop.seed_orders(orders)
    return shop, sandboxed(shop, clock), clock


def items(pages: Iterable[Page], entity: EntityName | None = None) -> list[RawItem]:
    return [item for page in pages for item in page.items if entity in (None, item.entity)]


def ids(pages: Iterable[Page], entity: EntityName | None = None) -> list[str]:
    return [item.external_id for item in items(pages, entity)]


def reads(shop: WooCommerceSandbox) -> list[str]:
    return [entry.path.removeprefix("/wp-json/wc/v3") for entry in shop.log]


def test_orders_come_as_a_pull_gives_them_a_hundred_a_request() -> None:
    shop, connector, clock = shop_of(450)
    pulled = {(i.entity, i.external_id): i for i in items(connector.pull(PullRequest(ORDER)))}
    wanted = [str(n) for n in sorted(shop.orders)][::2]
    shop.log.clear()
    pages = list(connector.fetch(ORDER, wanted))
    assert sorted(ids(pages, ORDER)) == sorted(wanted) and len(pages) == 3
    assert all(item == pulled[item.entity, item.external_id] for item in items(pages)), "refunds and all"
    assert len(items(pages, REFUND)) > 5
    assert reads(shop).count("/orders") == 3
    assert {page.as_of for page in pages} == {clock.now()} and {page.position for page in pages} == {None}


def test_orders_of_any_state_come_from_the_trash_too_and_gone_ones_do_not() -> None:
    shop, _, clock = shop_of(120)
    connector = sandboxed(shop, clock, statuses=("processing",))
    numbers = sorted(shop.orders)
    shop.orders[numbers[0]].order(keep=True).status = "trash"
    shop.orders[numbers[0]].changed()
    del shop.orders[numbers[1]]
    shop.revision += 1
    found = items(connector.fetch(ORDER, [str(n) for n in numbers]), ORDER)
    assert sorted(int(i.external_id) for i in found) == [numbers[0], *numbers[2:]]
    states = {i.payload["status"] for i in found}
    assert {"trash", "pending", "completed", "processing"} <= states


def test_what_is_no_id_is_no_record_and_nothing_is_asked_for_nothing() -> None:
    shop, connector, _ = shop_of(5)
    odd = ["", "abc", "-3", "0", "1.5", "٣", "9" * 30, "1,2", "../1"]
    for entity in (ORDER, CUSTOMER, ITEM):
        assert ids(connector.fetch(entity, odd)) == []
        assert ids(connector.fetch(entity, [])) == []
    assert shop.log == []
    number = str(min(shop.orders))
    assert ids(connector.fetch(ORDER, [number, number, "0" + number]), ORDER) == [number]
    for entity in (REFUND, STOCK):
        with pytest.raises(ContractViolation):
            list(connector.fetch(entity, ["1"]))


def test_customers_by_id() -> None:
    _, connector, _ = shop_of(customers_count=250)
    wanted = [str(n) for n in range(2, 252, 2)]
    assert ids(connector.fetch(CUSTOMER, [*wanted, "1", "9999"])) == wanted, "the administrator buys nothing here"
    pulled = {i.external_id: i for i in items(connector.pull(PullRequest(CUSTOMER)))}
    assert all(pulled[i.external_id] == i for i in items(connector.fetch(CUSTOMER, wanted)))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_variations_id_brings_its_whole_family_once(version: str) -> None:
    shop, connector, _ = shop_of(version=version)
    pulled = {i.external_id: i for i in items(connector.pull(PullRequest(ITEM)))}
    family = ["21", "22", "23", "24"]
    shop.log.clear()
    assert ids(connector.fetch(ITEM, ["23", "22", "24"])) == family
    assert [path for path in reads(shop) if "/products/2" in path] == [
        "/products/23",
        "/products/20",
        "/products/20/variations",
    ], "the others were known by then"
    assert ids(connector.fetch(ITEM, ["20"])) == family
    assert ids(connector.fetch(ITEM, ["20", "22"])) == family
    assert sorted(ids(connector.fetch(ITEM, ["10", "25", "22", "26", "777"])), key=int) == ["10", *family, "26"]
    assert all(pulled[i.external_id] == i for i in items(connector.fetch(ITEM, ["10", "20", "26"])))
    # Before 11 a variation is not told by its type where a list gives it; by its own id it is (recorded).
    found = exchange(version, "products-by-variation-sku")["response"]["body"][0]
    assert found["type"] == "variation" and found["parent_id"] > 0


def test_a_family_is_given_once_however_many_chunks_name_it() -> None:
    shop, connector, _ = shop_of()
    for n in range(1000, 1150):
        shop.products[n] = Product(n, f"Article {n}", shop.now, shop.now)
    wanted = ["21", *(str(n) for n in range(1000, 1150)), "22", "20"]
    found = ids(connector.fetch(ITEM, wanted))
    assert len(found) == len(set(found)) == 154


def test_a_product_in_the_trash_comes_with_that_state() -> None:
    shop, connector, _ = shop_of()
    shop.products[10].status = "trash"
    (item,) = items(connector.fetch(ITEM, ["10"]))
    assert item.payload["status"] == "trash"


def test_currency_and_price_basis_are_not_asked_for_each_time_but_again_after_a_while() -> None:
    shop, connector, clock = shop_of()
    bases = []
    for seconds, including in ((0, True), (200, False), (200, False)):
        clock.sleep(seconds)
        shop.rules.prices_include_tax = including
        (item,) = items(connector.fetch(ITEM, ["10"]))
        assert item.parent is not None
        bases.append(item.parent["prices_include_tax"])
    assert bases == [True, True, False]
    assert sum("settings" in path for path in reads(shop)) == 2


@pytest.mark.failure_mode(13)
def test_a_shop_that_ignores_include_or_gives_another_record_is_not_believed() -> None:
    row = exchange("11.0.1", "product-mug-get")["response"]["body"]

    def answering(*bodies: Any) -> WooCommerceConnector:
        waiting = list(bodies)

        def answer(request: HttpRequest) -> HttpResponse:
            body, total = waiting.pop(0)
            headers = {"content-type": "application/json", **({"x-wp-total": str(total)} if total is not None else {})}
            return HttpResponse(200, headers, json.dumps(body).encode())

        settings = WooCommerceConfig(currency="EUR", prices_include_tax=True)
        return WooCommerceConnector(settings, context(ScriptedTransport(answer)))

    with pytest.raises(ContractViolation) as caught:
        list(answering(([{**row, "id": n} for n in range(1, 101)], 4000)).fetch(ITEM, ["77"]))
    assert caught.value.code == "include_ignored"
    with pytest.raises(ContractViolation, match="the shop gave 11"):
        list(answering(([], 0), (row, None)).fetch(ITEM, ["77"]))
    with pytest.raises(ContractViolation, match="is one record"):
        list(answering(([], 0), ([row], None)).fetch(ITEM, ["77"]))


def test_rows_that_are_counted_but_withheld_are_not_taken_for_gone() -> None:
    shop, connector, _ = shop_of(30)
    shop.faults.fail_next(9, "no_rows", path="/orders")
    with pytest.raises(TransientError):
        list(connector.fetch(ORDER, [str(min(shop.orders))]))


@pytest.mark.parametrize("status", [403, 409, 500])
def test_only_a_shop_that_says_so_has_lost_a_record(status: int) -> None:
    _, connector, _ = shop_of()
    assert ids(connector.fetch(ITEM, ["777"])) == []
    shop, connector, _ = shop_of()
    shop.faults.fail_next(9, "status", status=status, path="/products/777")
    with pytest.raises(ComptoirError):
        list(connector.fetch(ITEM, ["777"]))


def test_include_is_the_only_way_to_widen_a_request_and_every_chunk_has_it() -> None:
    shop, connector, _ = shop_of(250)
    asked: list[str] = []
    shop.on_request = lambda request: asked.append(request.url)
    list(connector.fetch(ORDER, [str(n) for n in shop.orders]))
    lists = [parse_qs(urlsplit(url).query) for url in asked if urlsplit(url).path.endswith("/orders")]
    assert [len(query["include"][0].split(",")) for query in lists] == [100, 100, 50]
    assert all(len(url) < 2000 for url in asked)


# --- what a sweep and a write must show -------------------------------------------------------------------------


@pytest.mark.failure_mode(9)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_variation_edited_behind_its_products_back_is_seen_by_one_sweep(version: str) -> None:
    shop, connector, clock = shop_of(version=version)
    clock.sleep(3600)
    shop.products[22].regular_price = "29.90"  # a plugin writes it into the database: no date moves
    shop.revision += 1
    since = clock.now()
    assert ids(connector.pull(PullRequest(ITEM, since=since))) == []
    found = {i.external_id: i.payload["regular_price"] for i in items(connector.pull(PullRequest(ITEM)))}
    assert found["22"] == "29.90"


@pytest.mark.failure_mode(8)
def test_a_stock_write_of_ours_comes_back_with_the_next_pull_and_by_id() -> None:
    _, connector, clock = shop_of()
    clock.sleep(60)
    since = clock.now()
    change = Change("22", "20", {"stock_quantity": 7, "manage_stock": True})
    connector.update(STOCK, [change])
    for pages in (connector.pull(PullRequest(ITEM, since=since)), connector.fetch(ITEM, ["22"])):
        levels = {i.external_id: i.payload["stock_quantity"] for i in items(pages)}
        assert levels == {"21": 900, "22": 7, "23": 900, "24": 900}


@pytest.mark.failure_mode(37)
def test_an_answer_lost_after_the_write_is_cleared_up_by_reading_again() -> None:
    shop, connector, _ = shop_of()
    shop.faults.fail_next(1, "lost", method="POST")
    with pytest.raises(OutcomeUnknown):
        connector.update(STOCK, [Change("10", None, {"stock_quantity": 5, "manage_stock": True})])
    (item,) = items(connector.fetch(ITEM, ["10"]))
    assert item.payload["stock_quantity"] == 5


# --- modified_after that a list ignores -------------------------------------------------------------------------


@pytest.mark.failure_mode(11)
def test_check_finds_which_lists_ignore_modified_after() -> None:
    shop, connector, _ = shop_of(20)
    found = {item.name: item for item in connector.check().items}
    assert "ignores" in found["changed customers"].detail and found["changed customers"].ok
    assert found["changed orders"].ok and "understood" in found["changed orders"].detail
    assert found["changed products"].ok
    assert {entry.method for entry in shop.log} == {"GET"}
    assert found["GTIN"].detail == "kept"
    old = {item.name: item for item in shop_of(version="7.9.0")[1].check().items}
    assert old["GTIN"].ok and "9.2" in old["GTIN"].detail


@pytest.mark.failure_mode(11)
def test_a_shop_whose_orders_ignore_modified_after_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir_woocommerce._sandbox import lists

    _, connector, _ = shop_of(20)
    monkeypatch.setattr(lists, "_bound", lambda *_: None)  # an old shop, or a plugin in between
    found = {item.name: item for item in connector.check().items}
    for name in ("changed orders", "changed products"):
        assert not found[name].ok and "every run reads everything" in str(found[name].hint)


@pytest.mark.failure_mode(11)
def test_customers_asked_for_since_a_moment_are_read_whole_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    shop, connector, clock = shop_of(customers_count=30)
    with caplog.at_level(logging.WARNING):
        assert len(ids(connector.pull(PullRequest(CUSTOMER, since=clock.now())))) == 30
    assert "ignores `modified_after`" in caplog.text and "31 customers" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        list(connector.pull(PullRequest(CUSTOMER)))
    assert caplog.text == "", "a sweep that was asked for is no surprise"
    empty = sandboxed(shop, clock)
    shop.customers.clear()
    shop.revision += 1
    assert ids(empty.pull(PullRequest(CUSTOMER, since=clock.now()))) == []
