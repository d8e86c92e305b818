"""Values set in batches, products and customers made and looked up; what the shop answers is never just believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import woocommerce
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.app.system import SystemClock, SystemRandom, SystemTransport, ThreadTasks
from comptoir.errors import AuthError, ContractViolation, OutcomeUnknown, RateLimited, TransientError
from comptoir.mapping import load_mapping
from comptoir.sdk import (
    Change,
    ChangeResult,
    EntityName,
    HttpClient,
    HttpRequest,
    HttpResponse,
    PullRequest,
    PushBatch,
    PushOp,
)
from comptoir_woocommerce._sandbox.catalogue import Product
from comptoir_woocommerce.config import WooCommerceConfig
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.sandbox import FaultKind, WooCommerceSandbox, serve

from tests.support.woocommerce import (
    CONTEXT,
    MAPPINGS,
    VERSIONS,
    ManualClock,
    ScriptedTransport,
    context,
    exchange,
    sandboxed,
)

ITEM, STOCK, CUSTOMER, ORDER = EntityName.ITEM, EntityName.STOCK, EntityName.CUSTOMER, EntityName.ORDER
ALWAYS = frozenset({"date_modified", "date_modified_gmt"})
FOLLOWS = {
    "regular_price": {"price", "price_html", "on_sale", "purchasable"},
    "name": {"slug", "permalink"},
    "stock_quantity": {"stock_status", "backordered"},
}


def shop_of(version: str = "11.0.1", **options: Any) -> tuple[WooCommerceSandbox, WooCommerceConnector, ManualClock]:
    clock = ManualClock()
    shop = WooCommerceSandbox(clock=clock, version=version, **options)
    return shop, sandboxed(shop, clock), clock


def stock(number: int | str, quantity: Any, parent: int | None = None) -> Change:
    parent_id = None if parent is None else str(parent)
    return Change(str(number), parent_id, {"stock_quantity": quantity, "manage_stock": True})


def fields(number: int | str, parent: int | None = None, **values: Any) -> Change:
    return Change(str(number), None if parent is None else str(parent), values)


def written(connector: WooCommerceConnector, entity: EntityName, *changes: Change) -> list[ChangeResult]:
    return [result for call in connector.calls(entity, changes) for result in connector.update(entity, call)]


def record(shop: WooCommerceSandbox, number: int) -> dict[str, Any]:
    found = shop.products[number].show(shop.show)
    return json.loads(json.dumps(found))  # a copy: the shop's own lists stay its own


def scripted(*answers: Any) -> tuple[WooCommerceConnector, ScriptedTransport]:
    """A connector before a shop that gives these answers: a body for a 200, (status, body), or what makes one."""
    waiting = list(answers)

    def answer(request: HttpRequest) -> HttpResponse:
        found = waiting.pop(0)
        if callable(found):
            found = found(json.loads(request.body or b"{}"))
        status, body = found if isinstance(found, tuple) else (200, found)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return HttpResponse(status, {"content-type": "application/json"}, raw)

    transport = ScriptedTransport(answer)
    return WooCommerceConnector(WooCommerceConfig(), context(transport)), transport


def bodies(transport: ScriptedTransport) -> list[Any]:
    return [json.loads(request.body or b"null") for request in transport.sent]


# --- what was recorded ------------------------------------------------------------------------------------------

UNSTEADY = {"date_modified", "date_modified_gmt", "related_ids", "average_rating"}
#: Only shown to whoever wrote; and texts come raw instead of rendered.
OF_WRITES = {"permalink_template", "generated_slug", "description", "short_description"}


@pytest.mark.failure_mode(44)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        ("product-mug-get", "product-update-stock", {"stock_quantity"}),
        ("product-update-stock", "product-update-string-stock", {"stock_quantity"}),
        ("product-update-string-stock", "products-batch-mixed", {"stock_quantity"}),
        ("product-jam-get", "product-update-price", {"regular_price", "price", "price_html"}),
        ("variations-batch-create", "variation-update-stock", {"stock_quantity", "stock_status"}),
    ],
)
def test_recorded_shops_leave_every_field_that_was_not_sent_as_it_was(
    version: str, before: str, after: str, sent: set[str]
) -> None:
    def body(name: str) -> dict[str, Any]:
        found = exchange(version, name)["response"]["body"]
        rows = found.get("update", found.get("create")) if isinstance(found, dict) else found
        wanted = exchange(version, "variation-update-stock")["response"]["body"]["id"]
        if isinstance(rows, list):
            found = next((row for row in rows if row["id"] == wanted), rows[0])
        return dict(found)

    old, new = body(before), body(after)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert changed - UNSTEADY - OF_WRITES <= sent
    assert changed & sent, "and what was sent has changed"
    assert set(exchange(version, after)["request"]["body"]) <= sent | {"create", "update", "delete"}


@pytest.mark.failure_mode(29)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_mixed_batch_is_read_element_by_element(version: str) -> None:
    found = exchange(version, "products-batch-mixed")
    sent, answered = found["request"]["body"]["update"], found["response"]["body"]
    connector, transport = scripted({"update": answered["update"]})
    changes = [fields(row["id"], **{k: v for k, v in row.items() if k != "id"}) for row in sent]
    good, gone = connector.update(STOCK, changes)
    assert (good.outcome, good.shown) == ("accepted", {"stock_quantity": 31})
    assert (gone.external_id, gone.outcome, gone.reason) == ("999999", "gone", "Invalid ID.")
    assert bodies(transport) == [{"update": sent}], "exactly what a real shop was sent"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("error-duplicate-sku", "sku", "Invalid or duplicated SKU. (it is that of 1"),
        ("error-price-as-number", "regular_price", "Invalid parameter(s): regular_price"),
        ("error-customer-email-exists", "email", "An account is already registered"),
    ],
)
def test_recorded_refusals_name_field_and_words(version: str, name: str, field: str, words: str) -> None:
    error = exchange(version, name)["response"]["body"]
    entity = CUSTOMER if "customer" in name else ITEM
    value = {"sku": "MUG-001", "regular_price": "1", "email": "zoe@example.test"}[field]
    connector, _ = scripted({"update": [{"id": 12, "error": error}]})
    (result,) = connector.update(entity, [fields(12, **{field: value})])
    assert (result.outcome, result.field) == ("rejected", field)
    assert str(result.reason).startswith(words) and "<" not in str(result.reason)
    assert result.hint or field == "regular_price"


# --- grouping ---------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_stocks_are_a_thousand_calls() -> None:
    _, connector, _ = shop_of()
    calls = connector.calls(STOCK, [stock(n, n % 7) for n in range(1, 100_001)])
    assert len(calls) == 1_000 and {len(call) for call in calls} == {100}
    assert [c.external_id for call in calls for c in call] == [str(n) for n in range(1, 100_001)]


@given(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from([None, "20", "21"])), unique_by=lambda row: row[0]),
    st.integers(1, 100),
)
@settings(max_examples=60)
def test_calls_hold_every_change_once_one_parent_each_and_as_few_as_can_be(rows: Any, size: int) -> None:
    clock = ManualClock()
    connector = sandboxed(WooCommerceSandbox(clock=clock), clock, batch_size=size)
    changes = [Change(str(number), parent, {"stock_quantity": 1}) for number, parent in rows]
    calls = connector.calls(STOCK, changes)
    assert sorted((c.external_id for call in calls for c in call), key=int) == sorted(
        (c.external_id for c in changes), key=int
    )
    assert all(len({c.parent_id for c in call}) == 1 and 0 < len(call) <= size for call in calls)
    wanted = {parent: sum(c.parent_id == parent for c in changes) for parent in (None, "20", "21")}
    assert len(calls) == sum(-(-count // size) for count in wanted.values())


@pytest.mark.parametrize(
    ("entity", "changes"),
    [
        (STOCK, [stock(1, 1), stock(1, 2)]),
        (STOCK, [stock(1, 1), stock(21, 1, 20)]),
        (STOCK, [stock(n, 1) for n in range(1, 102)]),
        (STOCK, [stock("abc", 1)]),
        (STOCK, [stock("0", 1)]),
        (STOCK, [stock("٣", 1)]),
        (STOCK, [Change("1", "../1", {"stock_quantity": 1})]),
        (CUSTOMER, [fields(2, 1, email="a@b.fr")]),
        (ORDER, [fields(2, status="completed")]),
    ],
)
def test_what_is_no_call_is_refused_before_anything_is_sent(entity: EntityName, changes: list[Change]) -> None:
    shop, connector, _ = shop_of()
    with pytest.raises(ContractViolation):
        connector.update(entity, changes)
    assert shop.log == []
    with pytest.raises(ContractViolation):
        connector.calls(STOCK, [stock(1, 1), stock(1, 2)])


# --- items and stock in the sandbox -----------------------------------------------------------------------------


@pytest.mark.failure_mode(35)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_variations_stock_and_price_go_through_its_product(version: str) -> None:
    shop, connector, _ = shop_of(version)
    results = written(connector, ITEM, fields(22, 20, regular_price="27.5"), fields(10, regular_price="21"))
    results += written(connector, STOCK, stock(22, 7, 20), stock(11, 4))
    assert [r.outcome for r in results] == ["accepted"] * 4
    assert (shop.products[22].regular_price, shop.products[22].stock) == ("27.50", 7)
    assert [(w.path, w.ids) for w in shop.written] == [
        ("/products/20/variations/batch", (22,)),
        ("/products/batch", (10,)),
        ("/products/20/variations/batch", (22,)),
        ("/products/batch", (11,)),
    ]
    (astray,) = written(connector, STOCK, stock(22, 9))
    assert (astray.outcome, shop.products[22].stock) == ("rejected", 7)
    assert "/products/<product_id>/variations/<id>" in str(astray.reason), "the shop's words; it does exist"
    assert "read the items of this shop again" in str(astray.hint)


@pytest.mark.failure_mode(44)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("number", "parent", "values"),
    [
        (10, None, {"stock_quantity": 5, "manage_stock": True}),
        (10, None, {"regular_price": "21.90"}),
        (10, None, {"name": "Mug & bol"}),
        (10, None, {"sku": "MUG-002"}),
        (22, 20, {"stock_quantity": 0, "manage_stock": True}),
        (22, 20, {"regular_price": "1.00", "sku": "TEE-X"}),
    ],
)
def test_fields_that_were_not_sent_stay_identical(
    version: str, number: int, parent: int | None, values: dict[str, Any]
) -> None:
    shop, connector, clock = shop_of(version)
    shop.products[number].meta = [{"id": 1, "key": "note", "value": {"deep": [1, "é"]}}]
    others = {n: record(shop, n) for n in shop.products if n not in (number, parent)}
    before = record(shop, number)
    clock.sleep(60)
    (result,) = written(connector, ITEM, fields(number, parent, **values))
    assert (result.outcome, result.shown) == ("accepted", values)
    after = record(shop, number)
    allowed = ALWAYS | values.keys() | {name for key in values for name in FOLLOWS.get(key, ())}
    assert {key for key in before if before[key] != after[key]} <= allowed
    assert {n: record(shop, n) for n in others} == others
    assert [entry.keys for entry in shop.written] == [frozenset(values)], "only what was given goes out"


@pytest.mark.failure_mode(45)
def test_what_the_shop_really_shows_is_told() -> None:
    def a_plugin_doubles(sent: Any) -> Any:
        return {"update": [{"id": 10, "stock_quantity": 10, "manage_stock": True, "regular_price": "12.5"}]}

    connector, _ = scripted(a_plugin_doubles)
    (result,) = connector.update(ITEM, [fields(10, stock_quantity=5, manage_stock=True, regular_price="12.50")])
    assert result.outcome == "accepted"
    assert result.shown == {"stock_quantity": 10, "manage_stock": True, "regular_price": "12.50"}


@pytest.mark.failure_mode(45)
def test_a_stock_that_nobody_counts_shows_nothing_counted() -> None:
    shop, connector, _ = shop_of()
    (result,) = written(connector, STOCK, fields(19, stock_quantity=5))  # counted nowhere: manage_stock is false
    assert (result.outcome, result.shown) == ("accepted", {"stock_quantity": None})
    (result,) = written(connector, STOCK, stock(19, 5))
    assert result.shown == {"stock_quantity": 5, "manage_stock": True} and shop.products[19].stock == 5


@pytest.mark.failure_mode(36)
def test_where_stock_is_counted_is_visible_in_every_item() -> None:
    shop, connector, _ = shop_of()
    shop.products[20].manage_stock, shop.products[20].stock = True, 40
    shop.products[22].manage_stock, shop.products[22].stock = "parent", 40
    mapping = load_mapping("woocommerce", "item", "in", [MAPPINGS])
    pages = connector.pull(PullRequest(ITEM))
    items = {
        raw.external_id: mapping.to_model(raw.payload, CONTEXT, parent=raw.parent)
        for page in pages
        for raw in page.items
    }
    levels = {number: items[number].extra["manage_stock"] for number in ("10", "19", "21", "22")}  # type: ignore[attr-defined]
    assert levels == {"10": True, "19": False, "21": True, "22": "parent"}
    stocks = {number: items[number].source_stock for number in levels}  # type: ignore[attr-defined]
    assert (stocks["22"], stocks["19"]) == (None, None) and stocks["21"] == 900


@pytest.mark.parametrize("version", VERSIONS)
def test_a_shop_without_gtins_says_so_and_keeps_the_rest(version: str) -> None:
    shop, connector, _ = shop_of(version)
    (both,) = written(connector, ITEM, fields(10, global_unique_id="3760123450031", regular_price="3.00"))
    (alone,) = written(connector, ITEM, fields(11, global_unique_id="3760123450048"))
    assert both.outcome == "accepted" and shop.products[10].regular_price == "3.00"
    if version == "7.9.0":
        assert both.shown == {"regular_price": "3.00", "global_unique_id": None} and "9.2" in str(both.reason)
        assert (alone.outcome, alone.field) == ("rejected", "global_unique_id")
    else:
        assert both.shown == {"global_unique_id": "3760123450031", "regular_price": "3.00"}
        assert (alone.outcome, alone.reason) == ("accepted", None)


@pytest.mark.failure_mode(29)
@pytest.mark.failure_mode(34)
def test_one_bad_record_of_a_thousand_stops_nobody() -> None:
    shop, connector, _ = shop_of()
    for n in range(1000, 2000):
        shop.products[n] = Product(n, f"Article {n}", shop.now, shop.now, manage_stock=True, stock=1)
    changes = [stock(n, 2) for n in range(1000, 2000)]
    changes[10] = stock(1010, 2.5)
    changes[20] = stock(999_999, 2)
    results = written(connector, STOCK, *changes)
    assert [r.external_id for r in results] == [c.external_id for c in changes]
    odd = {r.external_id: r.outcome for r in results if r.outcome != "accepted"}
    assert odd == {"1010": "rejected", "999999": "gone"}
    assert len(shop.written) == 10 and sum(shop.products[n].stock == 2 for n in range(1000, 2000)) == 998
    (twice,) = written(connector, ITEM, fields(1000, sku="MUG-001"))
    assert (twice.outcome, twice.field, twice.hint is not None) == ("rejected", "sku", True)


@pytest.mark.failure_mode(46)
def test_two_syncs_of_an_unchanged_product_touch_no_picture() -> None:
    shop, connector, _ = shop_of()
    mapping = load_mapping("woocommerce", "item", "out", [MAPPINGS])
    incoming = load_mapping("woocommerce", "item", "in", [MAPPINGS])
    for _ in range(2):
        for page in connector.fetch(ITEM, ["10"]):
            for raw in page.items:
                made = mapping.apply(
                    incoming.to_model(raw.payload, CONTEXT, parent=raw.parent), CONTEXT, creating=False
                )  # type: ignore[arg-type]
                written(connector, ITEM, Change(raw.external_id, None, made))
    assert len(shop.written) == 2
    assert all(not {key for key in entry.keys if "image" in key or "media" in key} for entry in shop.written)
    assert not any("media" in entry.path for entry in shop.log)


# --- customers --------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(44)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_part_of_an_address_leaves_the_others(version: str) -> None:
    shop, connector, _ = shop_of(version)
    customer = shop.customers[5]
    before = json.loads(json.dumps(customer.show(shop.show)))
    changes = {"billing": {"city": "Lyon", "postcode": None}, "phone": "+33 4 00 00 00 00", "first_name": None}
    (result,) = written(connector, CUSTOMER, Change("5", None, changes))
    assert result.outcome == "accepted"
    assert result.shown == {"billing": {"city": "Lyon"}, "phone": "+33 4 00 00 00 00"}
    after = json.loads(json.dumps(customer.show(shop.show)))
    assert after["billing"] == {**before["billing"], "city": "Lyon", "phone": "+33 4 00 00 00 00"}
    assert {key for key in before if before[key] != after[key]} <= {"billing", *ALWAYS}
    assert shop.written[0].keys == {"billing.city", "billing.phone"}


@pytest.mark.failure_mode(75)
def test_anothers_email_is_rejected_and_the_rest_of_the_batch_goes_on() -> None:
    shop, connector, _ = shop_of()
    taken = shop.customers[3].email
    results = written(
        connector,
        CUSTOMER,
        fields(2, email=taken),
        fields(4, email="nouveau@example.test"),
        fields(5, email="kein"),
        fields(777, last_name="Personne"),
    )
    assert [r.outcome for r in results] == ["rejected", "accepted", "rejected", "gone"]
    assert results[0].field == "email" and "Another account" in str(results[0].hint)
    assert shop.customers[2].email != taken and shop.customers[4].email == "nouveau@example.test"
    assert taken not in str(results[0]), "an address of another person does not get into a message"


# --- answers that are none --------------------------------------------------------------------------------------


@pytest.mark.failure_mode(27)
@pytest.mark.parametrize("kind", ["timeout", "lost", "cut", "html", "empty", "status"])
def test_a_lost_answer_is_an_unknown_outcome_and_nothing_is_repeated(kind: FaultKind) -> None:
    shop, connector, _ = shop_of()
    shop.faults.fail_next(1, kind, method="POST", status=503)
    with pytest.raises(OutcomeUnknown):
        connector.update(STOCK, [stock(10, 5)])
    assert sum(entry.method == "POST" for entry in shop.log) == 1
    assert (shop.products[10].stock == 5) == (kind in ("lost", "cut"))
    (result,) = connector.update(STOCK, [stock(10, 5)])
    assert result.outcome == "accepted", "once more is the same"


def test_nothing_arrived_is_no_unknown_outcome() -> None:
    shop, connector, _ = shop_of()
    shop.faults.fail_next(1, "refused", method="POST")
    with pytest.raises(TransientError):
        connector.update(STOCK, [stock(10, 5)])


def test_a_pause_is_asked_for_and_a_read_only_key_says_what_it_needs() -> None:
    shop, connector, _ = shop_of()
    shop.faults.fail_next(1, "status", status=429, retry_after="37", method="POST")
    with pytest.raises(RateLimited) as limited:
        connector.update(STOCK, [stock(10, 5)])
    assert limited.value.retry_after == 37
    shop.writable = False
    with pytest.raises(AuthError) as refused:
        connector.update(STOCK, [stock(10, 5)])
    assert "write permissions" in refused.value.message and "Read/Write" in str(refused.value.hint)


def ok(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "name": "x"}


@pytest.mark.parametrize("answer", [[], {}, {"update": {}}, "ok", {"create": []}, None, {"update": None}])
def test_an_answer_that_is_no_list_of_records_is_unknown(answer: Any) -> None:
    connector, _ = scripted(answer)
    with pytest.raises(OutcomeUnknown):
        connector.update(STOCK, [stock(10, 5)])


def test_shuffled_elements_are_told_apart_by_their_ids() -> None:
    connector, _ = scripted(lambda sent: {"update": [ok(row) for row in reversed(sent["update"])]})
    results = connector.update(STOCK, [stock(n, n) for n in (10, 11, 12)])
    assert [(r.external_id, r.shown["stock_quantity"]) for r in results] == [("10", 10), ("11", 11), ("12", 12)]


Twist = Callable[[list[dict[str, Any]]], list[Any]]


@pytest.mark.parametrize(
    "twist",
    [
        lambda rows: rows[1:],
        lambda rows: [{**rows[0], "id": 77}, *rows[1:]],
        lambda rows: [{k: v for k, v in rows[0].items() if k != "id"}, *rows[1:]],
        lambda rows: [rows[1], *rows[1:], rows[1]] if len(rows) > 1 else [],
        lambda rows: [None, *rows[1:]],
        lambda rows: [{**rows[0], "id": True}, *rows[1:]],
    ],
)
def test_an_element_that_is_missing_doubled_or_anothers_is_never_a_success(twist: Twist) -> None:
    def twisted(sent: Any) -> Any:
        return {"update": twist([ok(row) for row in sent["update"]])}

    changes = [stock(n, n) for n in (10, 11, 12)]
    connector, transport = scripted(twisted, twisted)
    results = connector.update(STOCK, changes)
    assert results[0].outcome == "rejected" and "no answer" in str(results[0].reason)
    assert len(transport.sent) == 2, "once more, then no longer"
    # When the second answer is whole, all is well.
    connector, transport = scripted(twisted, lambda sent: {"update": [ok(row) for row in sent["update"]]})
    assert [r.outcome for r in connector.update(STOCK, changes)] == ["accepted"] * 3
    assert {row["id"] for row in bodies(transport)[1]["update"]} <= {10, 11, 12}
    assert 10 in {row["id"] for row in bodies(transport)[1]["update"]}


def test_two_elements_for_one_record_say_nothing_of_it() -> None:
    def doubled(sent: Any) -> Any:
        rows = [ok(row) for row in sent["update"]]
        return {"update": [*rows, {**rows[0], "stock_quantity": 99}]}

    connector, transport = scripted(doubled, doubled)
    first, second = connector.update(STOCK, [stock(10, 10), stock(11, 11)])
    assert (first.outcome, second.outcome, len(transport.sent)) == ("rejected", "accepted", 2)


# --- refused batches --------------------------------------------------------------------------------------------


def test_a_shop_that_takes_fewer_at_once_gets_fewer() -> None:
    shop, connector, _ = shop_of()
    shop.batch_limit = 30
    for n in range(1000, 1100):
        shop.products[n] = Product(n, "x", shop.now, shop.now, manage_stock=True, stock=1)
    results = written(connector, STOCK, *(stock(n, 2) for n in range(1000, 1100)))
    assert {r.outcome for r in results} == {"accepted"} and len(results) == 100
    assert [len(entry.ids) for entry in shop.written] == [25, 25, 25, 25]
    assert sandboxed(shop, ManualClock(), batch_size=30).calls(STOCK, [stock(n, 1) for n in range(1, 61)])[0][29]


def refuses(poison: set[int], status: int = 400) -> Callable[[Any], Any]:
    def answer(sent: Any) -> Any:
        if poison & {row["id"] for row in sent["update"]}:
            return status, {"code": "rest_invalid_param", "message": "Invalid parameter(s): update"}
        return {"update": [ok(row) for row in sent["update"]]}

    return answer


@pytest.mark.failure_mode(29)
def test_a_batch_that_is_refused_whole_is_halved_to_find_what_is_refused() -> None:
    connector, transport = scripted(*[refuses({57})] * 40)
    results = connector.update(STOCK, [stock(n, 1) for n in range(1, 101)])
    assert {r.external_id: r.outcome for r in results if r.outcome != "accepted"} == {"57": "rejected"}
    assert len(transport.sent) <= 15
    assert "Invalid parameter" in str(next(r for r in results if r.external_id == "57").reason)


def test_a_shop_that_refuses_everything_is_not_asked_two_hundred_times() -> None:
    connector, transport = scripted(*[refuses(set(range(1, 101)))] * 60)
    results = connector.update(STOCK, [stock(n, 1) for n in range(1, 101)])
    assert {r.outcome for r in results} == {"rejected"} and len(results) == 100
    assert len(transport.sent) <= 40


def test_one_record_that_is_too_large_alone_is_rejected() -> None:
    connector, _ = scripted((413, b"<html>Request Entity Too Large</html>"))
    (result,) = connector.update(STOCK, [stock(10, 1)])
    assert result.outcome == "rejected" and "413" in str(result.reason)


# --- new records ------------------------------------------------------------------------------------------------


def op(number: int, payload: dict[str, Any], entity: EntityName = ITEM, action: Any = "create") -> PushOp:
    key = str(payload.get("sku" if entity is ITEM else "email") or "")
    return PushOp(f"d{number}", entity, action, key, payload, "h")


def batch_of(*ops: PushOp) -> PushBatch:
    return PushBatch("b", ops[0].entity, ops)


NEW = {"name": "Bol & cuillère", "sku": "BOL-1", "global_unique_id": "3760123459997", "regular_price": "12.50"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_product_is_a_draft_with_what_was_said_of_it(version: str) -> None:
    shop, connector, _ = shop_of(version)
    (result,) = connector.push(batch_of(op(1, {**NEW, "virtual": None})))
    assert result.outcome == "accepted" and result.external_id
    made = shop.products[int(result.external_id)].show(shop.show)
    wanted = {"type": "simple", "status": "draft", "sku": "BOL-1", "regular_price": "12.50", "manage_stock": False}
    assert {key: made[key] for key in wanted} == wanted
    assert made["name"] == "Bol &amp; cuillère" and made.get("global_unique_id", "3760123459997") == "3760123459997"
    probes = connector.probe(batch_of(op(1, NEW), op(2, {"sku": "BOL-2"})))
    assert [(p.found, p.external_id) for p in probes] == [("present", result.external_id), ("absent", None)]
    published = sandboxed(shop, ManualClock(), create_status="publish")
    (second,) = published.push(batch_of(op(3, {**NEW, "sku": "BOL-3", "global_unique_id": None})))
    assert shop.products[int(str(second.external_id))].status == "publish"


@pytest.mark.failure_mode(93)
@pytest.mark.failure_mode(34)
def test_what_cannot_be_made_is_rejected_and_the_rest_is_made() -> None:
    shop, connector, _ = shop_of()
    ops = [
        op(1, {**NEW, "sku": None}),
        op(2, {**NEW, "sku": "A,B"}),
        op(3, {**NEW, "name": None}),
        op(4, {**NEW, "sku": "MUG-001"}),
        op(5, {**NEW, "regular_price": "douze"}),
        op(6, NEW),
    ]
    results = {r.delivery_id: r for r in connector.push(batch_of(*ops))}
    assert {key: r.outcome for key, r in results.items()} == {
        **dict.fromkeys(("d1", "d2", "d3", "d4", "d5"), "rejected"),
        "d6": "accepted",
    }
    assert [results[key].field for key in ("d1", "d2", "d3", "d4", "d5")] == [
        "sku", "sku", "name", "sku", "regular_price",
    ]  # fmt: skip
    assert "10" in str(results["d4"].reason), "it names the product that has the SKU"
    assert len(shop.written) == 1
    with pytest.raises(ContractViolation):
        connector.push(batch_of(op(7, NEW, action="update")))
    with pytest.raises(ContractViolation):
        connector.push(PushBatch("b", ORDER, []))


@pytest.mark.failure_mode(27)
@pytest.mark.parametrize("kind", ["lost", "cut", "timeout"])
def test_after_a_lost_answer_a_look_up_says_what_was_made(kind: FaultKind) -> None:
    shop, connector, _ = shop_of()
    ops = [op(n, {**NEW, "sku": f"BOL-{n}", "global_unique_id": None}) for n in range(1, 131)]
    shop.faults.fail_next(1, kind, method="POST")
    with pytest.raises(OutcomeUnknown):
        connector.push(batch_of(*ops))
    found = connector.probe(batch_of(*ops))
    made = kind != "timeout"
    assert [p.found for p in found] == ["present" if made and n <= 100 else "absent" for n in range(1, 131)]
    missing = [o for o, p in zip(ops, found, strict=True) if p.found == "absent"]
    assert {r.outcome for r in connector.push(batch_of(*missing))} == {"accepted"}
    skus = [p.sku for p in shop.products.values() if p.sku.startswith("BOL-")]
    assert len(skus) == len(set(skus)) == 130, "nothing twice, nothing missing"


def test_a_look_up_is_sure_or_says_that_it_is_not() -> None:
    shop, connector, _ = shop_of()
    ours = op(1, NEW)

    def there_is(number: int, sku: str) -> None:
        shop.products[number] = Product(number, "Autre", shop.now, shop.now, sku=sku)
        shop.revision += 1  # what lists were made before is old

    there_is(500, "bol-1")
    assert connector.probe(batch_of(ours))[0].found == "unknown", "another spelling of the SKU"
    there_is(500, "BOL-1")
    assert connector.probe(batch_of(ours))[0].external_id == "500"
    there_is(501, "BOL-1")
    assert connector.probe(batch_of(ours))[0].found == "unknown", "two of them"
    del shop.products[500], shop.products[501]
    assert connector.probe(batch_of(op(2, {"sku": "TEE-R-S"})))[0].found == "unknown", "a variation"
    ignoring, _ = scripted([{"id": 4, "sku": "X", "type": "simple"}])
    assert ignoring.probe(batch_of(ours))[0].found == "unknown", "the filter does not hold"
    ignoring, _ = scripted([{"id": 4, "email": "x@example.test"}])
    assert ignoring.probe(batch_of(op(1, {"email": "y@example.test"}, CUSTOMER)))[0].found == "unknown"


@pytest.mark.parametrize(
    "answer",
    [
        lambda sent: {"create": []},
        lambda sent: {"create": [{**sent["create"][0], "id": 90, "sku": "AUTRE"}]},
        lambda sent: {"create": [{**sent["create"][0], "id": 0}]},
        lambda sent: {"create": [{**sent["create"][0], "id": 90}] * 2},
    ],
)
def test_an_answer_that_does_not_fit_what_was_made_is_unknown(answer: Any) -> None:
    connector, _ = scripted(answer)
    with pytest.raises(OutcomeUnknown):
        connector.push(batch_of(op(1, NEW)))


@pytest.mark.failure_mode(72)
def test_customers_are_made_once_by_their_email() -> None:
    shop, connector, _ = shop_of()
    taken = shop.customers[3].email
    place = {"city": "Lyon", "country": "FR", "postcode": None}
    new = {"email": "Lea@example.test", "first_name": "Léa", "last_name": None, "phone": "01", "billing": place}
    ops = [op(1, new, CUSTOMER), op(2, {**new, "email": taken}, CUSTOMER), op(3, {**new, "email": None}, CUSTOMER)]
    results = {r.delivery_id: r for r in connector.push(batch_of(*ops))}
    assert [results[f"d{n}"].outcome for n in (1, 2, 3)] == ["accepted", "rejected", "rejected"]
    assert results["d2"].field == results["d3"].field == "email"
    made = shop.customers[int(str(results["d1"].external_id))]
    assert (made.first_name, made.billing["city"], made.billing["phone"]) == ("Léa", "Lyon", "01")
    probes = connector.probe(batch_of(ops[0], op(4, {"email": "personne@example.test"}, CUSTOMER)))
    assert [p.found for p in probes] == ["present", "absent"]


# --- several at once, over real sockets, beside a stranger's client ---------------------------------------------


def test_calls_run_in_threads_and_a_strangers_client_sees_what_was_written() -> None:
    shop = WooCommerceSandbox(clock=SystemClock())
    for n in range(1000, 1800):
        shop.products[n] = Product(n, f"Article {n}", shop.now, shop.now, manage_stock=True, stock=1)
    with serve(shop) as address:
        faked = context(SystemTransport(), host=address, key=shop.key, secret=shop.secret)
        clock, chance = SystemClock(), SystemRandom()
        http = HttpClient(connection="boutique", transport=SystemTransport(), clock=clock, random=chance)
        ctx = replace(faked, http=http, clock=clock, random=chance, tasks=ThreadTasks())
        connector = WooCommerceConnector(WooCommerceConfig(), ctx)
        calls = connector.calls(STOCK, [*(stock(n, n) for n in range(1000, 1800)), stock(21, 5, 20)])
        with ThreadPoolExecutor(4) as pool:
            results = [r for done in pool.map(lambda call: connector.update(STOCK, call), calls) for r in done]
        api = woocommerce.API(address, shop.key, shop.secret, timeout=10)
        assert api.get("products/1234").json()["stock_quantity"] == 1234
        assert api.get("products/20/variations/21").json()["stock_quantity"] == 5
        mixed = {"update": [{"id": 1234, "stock_quantity": 3}, {"id": 21, "stock_quantity": 1}], "delete": [1235]}
        answer = api.post("products/batch", mixed).json()
        assert answer["update"][0]["stock_quantity"] == 3
        assert answer["update"][1]["error"]["code"] == "woocommerce_rest_invalid_product_id"
        assert answer["delete"][0]["id"] == 1235 and api.get("products/1235").status_code == 404
    assert len(results) == 801 and {r.outcome for r in results} == {"accepted"}
    assert all(r.shown["stock_quantity"] == int(r.external_id) for r in results if r.external_id != "21")
