"""What the connector reads of a shop: orders with refunds, customers, items; windows, resuming, checking."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from comptoir.app.system import SystemClock, SystemRandom, SystemTransport, ThreadTasks
from comptoir.errors import AuthError, ConfigError, ContractViolation, TransientError
from comptoir.sdk import (
    Connector,
    EntityName,
    Fetches,
    HttpClient,
    HttpRequest,
    Page,
    Probes,
    PullRequest,
    Pulls,
    Pushes,
    RawItem,
    Updates,
)
from comptoir_woocommerce.config import WooCommerceConfig
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.sandbox import SandboxTransport, WooCommerceSandbox, serve

from tests.support.woocommerce import ManualClock, context, sandboxed

ORDER, REFUND, CUSTOMER, ITEM = EntityName.ORDER, EntityName.REFUND, EntityName.CUSTOMER, EntityName.ITEM


NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


def shop_with(orders: int, now: datetime = NOW, **options: Any) -> tuple[WooCommerceSandbox, ManualClock]:
    clock = ManualClock(now)
    shop = WooCommerceSandbox(clock=clock, **options)
    shop.seed_orders(orders)
    return shop, clock


def pull(connector: WooCommerceConnector, entity: EntityName, **more: Any) -> list[Page]:
    return list(connector.pull(PullRequest(entity, **more)))


def items(pages: Iterable[Page], entity: EntityName | None = None) -> list[RawItem]:
    return [item for page in pages for item in page.items if entity in (None, item.entity)]


def write(shop: WooCommerceSandbox, method: str, path: str, body: Any, query: str = "") -> Any:
    """Something that happens in the shop."""
    keys = f"consumer_key={shop.key}&consumer_secret={shop.secret}"
    url = f"https://shop.test/wp-json/wc/v3{path}?{keys}{query}"
    answer = shop.handle(HttpRequest(method, url, {}, json.dumps(body).encode()))
    assert answer.status < 300, answer.body
    return json.loads(answer.body)


def test_it_is_a_connector_that_reads_and_writes() -> None:
    shop, clock = shop_with(3)
    connector = sandboxed(shop, clock)
    assert isinstance(connector, Connector) and isinstance(connector, Pulls)
    assert isinstance(connector, Fetches) and isinstance(connector, Updates)
    assert isinstance(connector, Pushes) and isinstance(connector, Probes)


def test_orders_come_with_their_refunds_and_nothing_is_written() -> None:
    shop, clock = shop_with(450)
    pages = pull(sandboxed(shop, clock), ORDER)
    orders, refunds = items(pages, ORDER), items(pages, REFUND)
    assert [int(o.external_id) for o in orders] == sorted(shop.orders)
    wanted = {str(r.id) for n in shop.orders for r in shop.order(n).refunds}
    assert {r.external_id for r in refunds} == wanted and len(wanted) > 10
    for refund in refunds:
        assert refund.parent is not None and refund.parent["currency"] == "EUR"
        text = json.dumps(refund.parent)
        assert not any(word in text for word in ("@example", "first_name", "address_1"))
    for page in pages:
        known: set[str] = set()
        for item in page.items:
            if item.entity is ORDER:
                known.add(item.external_id)
            else:
                assert item.parent is not None and str(item.parent["id"]) in known, "after its order, on its page"
    assert {entry.method for entry in shop.log} == {"GET"}
    assert pages[0].total == 450 and pages[0].as_of == clock.now()


def test_payloads_are_as_received() -> None:
    shop, clock = shop_with(5)
    for item in items(pull(sandboxed(shop, clock), ORDER), ORDER):
        assert item.payload == json.loads(shop.order_bytes(int(item.external_id)))
        stamp = item.payload["date_modified_gmt"]
        assert item.modified_at == datetime.fromisoformat(stamp).replace(tzinfo=UTC)


@pytest.mark.failure_mode(1)
@pytest.mark.failure_mode(6)
def test_a_window_starts_a_second_early_in_gmt_without_z() -> None:
    night = datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)  # when Paris has one hour twice
    shop, clock = shop_with(30, night)
    number = min(shop.orders)
    connector = sandboxed(shop, clock)
    write(shop, "PUT", f"/orders/{number}", {"status": "completed"})
    shop.log.clear()
    found = items(pull(connector, ORDER, since=clock.now()), ORDER)
    assert [int(item.external_id) for item in found] == [number], "modified in that very second"
    query = parse_qs(shop.log[0].query)
    assert query["modified_after"] == ["2026-10-25T00:59:58"] and query["dates_are_gmt"] == ["true"]
    assert query["status"] == ["any"] and query["orderby"] == ["id"] and query["order"] == ["asc"]
    after = pull(connector, ORDER, since=clock.now() + timedelta(seconds=2))
    assert items(after) == [] and after[0].total == 0


def test_a_fraction_of_a_second_never_loses_an_order() -> None:
    shop, clock = shop_with(3)
    number = min(shop.orders)
    write(shop, "PUT", f"/orders/{number}", {"status": "failed"})
    since = clock.now() + timedelta(microseconds=999_999)
    assert items(pull(sandboxed(shop, clock), ORDER, since=since), ORDER)


@pytest.mark.failure_mode(12)
def test_orders_trashed_and_made_while_reading() -> None:
    shop, clock = shop_with(450)
    start, trashed = set(shop.orders), list[int]()
    busy = {"now": False}

    def meanwhile(request: HttpRequest) -> None:
        if busy["now"] or "/orders?" not in request.url:
            return
        busy["now"] = True
        victim = min(n for n, slot in shop.orders.items() if slot.status != "trash")
        write(shop, "DELETE", f"/orders/{victim}", {})
        trashed.append(victim)
        write(shop, "POST", "/orders", {"line_items": [{"sku": "MUG-001"}]})
        busy["now"] = False

    shop.on_request = meanwhile
    got = {int(item.external_id) for item in items(pull(sandboxed(shop, clock), ORDER), ORDER)}
    assert trashed and start - set(trashed) <= got


def test_an_interrupted_pull_goes_on_where_it_stopped() -> None:
    shop, clock = shop_with(450)
    connector = sandboxed(shop, clock)
    whole = [i.external_id for i in items(pull(connector, ORDER))]
    first = next(iter(connector.pull(PullRequest(ORDER))))
    position = json.loads(json.dumps(first.position))
    rest = pull(connector, ORDER, position=position)
    assert [i.external_id for i in (*first.items, *items(rest))] == whole
    assert len(rest) < 5, "it did not start again"


def test_a_position_of_another_window_is_not_trusted() -> None:
    shop, clock = shop_with(250)
    connector = sandboxed(shop, clock)
    first = next(iter(connector.pull(PullRequest(ORDER))))
    again = pull(connector, ORDER, since=clock.now() - timedelta(days=300), position=first.position)
    assert len(items(again, ORDER)) == 250


def test_a_refund_that_the_shop_withholds_stops_the_page() -> None:
    shop, clock = shop_with(60)
    shop.faults.fail_next(4, "no_rows", path="/refunds")
    with pytest.raises(TransientError) as caught:
        pull(sandboxed(shop, clock), ORDER)
    assert "refunds" in caught.value.message or "rows" in caught.value.message


def test_fewer_refunds_than_the_order_lists() -> None:
    shop, clock = shop_with(60)
    number = next(n for n in sorted(shop.orders) if shop.order(n).refunds)

    def removed(request: HttpRequest) -> None:
        if f"/orders/{number}/refunds" in request.url:
            shop.orders[number].order(keep=True).refunds.clear()

    shop.on_request = removed
    with pytest.raises(TransientError) as caught:
        pull(sandboxed(shop, clock), ORDER)
    assert caught.value.record == str(number)


def test_an_order_deleted_between_its_page_and_its_refunds_is_no_bad_record() -> None:
    shop, clock = shop_with(60)
    number = next(n for n in sorted(shop.orders) if shop.order(n).refunds)

    def deleted(request: HttpRequest) -> None:
        if f"/orders/{number}/refunds" in request.url:
            shop.orders.pop(number, None)

    shop.on_request = deleted
    with pytest.raises(TransientError):
        pull(sandboxed(shop, clock), ORDER)


def test_an_empty_shop_is_a_whole_answer() -> None:
    shop, clock = shop_with(0)
    (page,) = pull(sandboxed(shop, clock), ORDER)
    assert (list(page.items), page.total) == ([], 0)


def test_a_proxy_that_drops_the_counts() -> None:
    shop, clock = shop_with(250)
    shop.dropped_headers = frozenset({"x-wp-total", "x-wp-totalpages", "link"})
    assert len(items(pull(sandboxed(shop, clock), ORDER), ORDER)) == 250


@pytest.mark.parametrize("kind", ["html", "empty", "timeout", "refused", "cut", "lost", "status"])
def test_passing_troubles_are_passed_over(kind: Any) -> None:
    shop, clock = shop_with(250)
    shop.faults.fail_next(3, kind)
    assert len(items(pull(sandboxed(shop, clock), ORDER), ORDER)) == 250
    assert len(clock.slept) == 3


def test_a_shop_that_asks_for_a_pause_gets_it() -> None:
    shop, clock = shop_with(10)
    shop.faults.fail_next(1, "status", status=429, retry_after="37")
    pull(sandboxed(shop, clock), ORDER)
    assert clock.slept == [37]


@pytest.mark.failure_mode(14)
def test_trouble_that_stays_is_no_success() -> None:
    shop, clock = shop_with(250)
    shop.faults.fail_next(99, "no_rows")
    with pytest.raises(TransientError):
        pull(sandboxed(shop, clock), ORDER)


def test_states_to_read_can_be_chosen_and_a_wrong_one_is_a_setting() -> None:
    shop, clock = shop_with(100)
    chosen = items(pull(sandboxed(shop, clock, statuses=("processing", "completed")), ORDER), ORDER)
    assert {item.payload["status"] for item in chosen} == {"processing", "completed"}
    with pytest.raises(ConfigError) as caught:
        pull(sandboxed(shop, clock, statuses=("shipped",)), ORDER)
    assert caught.value.field == "statuses"


@pytest.mark.failure_mode(11)
def test_customers_are_read_whole_and_the_administrator_is_none() -> None:
    shop, clock = shop_with(0, customers_count=250)
    pages = pull(sandboxed(shop, clock), CUSTOMER, since=clock.now())
    assert len(items(pages)) == 250 and "1" not in {i.external_id for i in items(pages)}
    assert "modified_after" not in shop.log[0].query
    shop.customers[1].billing["city"] = "Lyon"
    assert len(items(pull(sandboxed(shop, clock), CUSTOMER))) == 251, "an administrator with an address buys here"


def test_items_are_what_can_be_sold() -> None:
    shop, clock = shop_with(0)
    found = items(pull(sandboxed(shop, clock), ITEM))
    sold = {p.id for p in shop.products.values() if p.type not in ("grouped", "variable")}
    assert {int(item.external_id) for item in found} == sold
    for item in found:
        assert item.parent is not None
        assert (item.parent["currency"], item.parent["prices_include_tax"]) == ("EUR", True)
        assert (item.parent.get("id") == 20) == (21 <= int(item.external_id) <= 24)


@pytest.mark.failure_mode(9)
def test_a_variations_price_is_seen_without_a_change_of_its_product() -> None:
    shop, clock = shop_with(0)
    clock.sleep(100)
    write(shop, "PUT", "/products/20/variations/22", {"regular_price": "29.90"})
    found = items(pull(sandboxed(shop, clock), ITEM, since=clock.now()))
    assert {i.external_id for i in found} == {"21", "22", "23", "24"}


def test_currency_and_price_basis_are_asked_for_or_set_never_assumed() -> None:
    shop, clock = shop_with(0)
    shop.faults.fail_next(1, "status", status=403, path="/settings/")
    with pytest.raises(ConfigError) as caught:
        pull(sandboxed(shop, clock), ITEM)
    assert caught.value.field == "prices_include_tax" and not isinstance(caught.value, AuthError)
    shop.log.clear()
    found = items(pull(sandboxed(shop, clock, currency="CHF", prices_include_tax=False), ITEM))
    assert found[0].parent is not None and found[0].parent["currency"] == "CHF"
    assert not any("settings" in e.path or "currencies" in e.path for e in shop.log)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_good_for_nothing_is_not_a_missing_setting(status: int) -> None:
    shop, clock = shop_with(0)
    shop.faults.fail_next(50, "status", status=status)
    with pytest.raises(AuthError):
        pull(sandboxed(shop, clock), ITEM)


def test_what_has_no_list_is_refused() -> None:
    shop, clock = shop_with(0)
    with pytest.raises(ContractViolation):
        pull(sandboxed(shop, clock), REFUND)


def test_check_says_what_was_looked_at() -> None:
    shop, clock = shop_with(3)
    report = sandboxed(shop, clock).check()
    assert report.ok
    assert {item.name for item in report.items} >= {"clocks", "WooCommerce", "time zone", "currency"}
    assert next(item.detail for item in report.items if item.name == "WooCommerce") == "11.0.1"
    assert {entry.method for entry in shop.log} == {"GET"}


def test_check_finds_a_wrong_zone_a_wrong_clock_and_wrong_keys() -> None:
    shop, clock = shop_with(3)
    report = sandboxed(shop, clock, time_zone="Europe/London").check()
    (zone,) = [item for item in report.items if not item.ok]
    assert zone.name == "time zone" and 'time_zone = "Europe/Paris"' in str(zone.hint)

    ours = ManualClock(clock.now() + timedelta(minutes=10))
    report = sandboxed(shop, ours).check()
    assert [item.name for item in report.items if not item.ok] == ["clocks"]

    ours.sleep(600)
    (refused,) = sandboxed(shop, ours).check().items
    assert not refused.ok and "1200 s behind" in refused.detail

    ctx = context(SandboxTransport(shop), clock=clock, secret="cs_" + "2" * 40)
    (refused,) = WooCommerceConnector(WooCommerceConfig(), ctx).check().items
    assert not refused.ok and "signature does not match" in refused.detail


def test_missing_keys_are_named_before_anything_is_sent() -> None:
    shop, clock = shop_with(0)
    with pytest.raises(ConfigError, match="AIRFLOW_CONN_BOUTIQUE has no login"):
        WooCommerceConnector(WooCommerceConfig(), context(SandboxTransport(shop), clock=clock, key=""))


def test_over_real_sockets_and_threads() -> None:
    shop = WooCommerceSandbox(clock=SystemClock())
    shop.seed_orders(320)
    with serve(shop) as address:
        faked = context(SystemTransport(), host=address, key=shop.key, secret=shop.secret)
        clock, chance = SystemClock(), SystemRandom()
        http = HttpClient(connection="boutique", transport=SystemTransport(), clock=clock, random=chance)
        ctx = replace(faked, http=http, clock=clock, random=chance, tasks=ThreadTasks())
        pages = list(WooCommerceConnector(WooCommerceConfig(), ctx).pull(PullRequest(ORDER)))
    assert [int(item.external_id) for item in items(pages, ORDER)] == sorted(shop.orders)
    assert {entry.status for entry in shop.log} == {200}
