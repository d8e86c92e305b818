"""The sandbox's products, variations and customers when they are written, against what was recorded of real shops."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from comptoir.sdk import HttpRequest, HttpResponse
from comptoir_woocommerce._sandbox.catalogue import Product
from comptoir_woocommerce.sandbox import WooCommerceSandbox, WriteEntry

from tests.support.woocommerce import DATA, VERSIONS, ManualClock, exchange

API = "/wp-json/wc/v3"


def shop(version: str = "11.0.1") -> WooCommerceSandbox:
    return WooCommerceSandbox(clock=ManualClock(), version=version)


def call(at: WooCommerceSandbox, method: str, path: str, body: Any = None, **query: Any) -> HttpResponse:
    """A request with good keys, over https."""
    text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
    keys = f"consumer_key={at.key}&consumer_secret={at.secret}"
    raw = None if body is None else json.dumps(body).encode()
    return at.handle(HttpRequest(method, f"https://shop.test{API}{path}?{keys}&{text}", {}, raw))


def got(answer: HttpResponse) -> Any:
    assert answer.status < 300, answer.body
    return json.loads(answer.body)


def observed(test: str, version: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads((DATA / f"observations-wc-{version}.json").read_text())
    return next(row for row in rows if row["test"] == test)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_mixed_batch_is_answered_as_recorded(version: str) -> None:
    found = exchange(version, "products-batch-mixed")
    asked, wanted = found["request"]["body"], found["response"]["body"]
    at = shop(version)
    mug, external = wanted["update"][0]["id"], asked["delete"][0]
    at.products[external] = Product(external, "Affilié", at.now, at.now, type="external")
    at.products[mug] = Product(mug, "Mug", at.now, at.now, sku="MUG-001", manage_stock=True, stock=28)
    del at.products[10 if mug != 10 else 11]  # the sandbox's own mug
    made = got(call(at, "POST", "/products/batch", asked))
    assert list(made) == ["create", "update", "delete"]
    refused, created = made["create"]
    assert refused == wanted["create"][0] and created["id"] > 0
    assert (created["sku"], created["regular_price"]) == ("BATCH-1", "2")
    assert (made["update"][0]["id"], made["update"][0]["stock_quantity"]) == (mug, 31)
    assert made["update"][1] == wanted["update"][1]
    assert made["delete"][0]["id"] == external and external not in at.products
    (entry,) = at.written
    assert entry.path == "/products/batch" and set(entry.ids) == {created["id"], mug, 999999, external}
    assert entry.keys == {"name", "sku", "regular_price", "stock_quantity"}


@pytest.mark.parametrize("version", VERSIONS)
def test_too_many_at_once_are_refused_as_recorded_and_nothing_is_done(version: str) -> None:
    found = exchange(version, "error-batch-over-100")
    at = shop(version)
    before = at.products[10].stock
    answer = call(at, "POST", "/products/batch", found["request"]["body"])
    assert (answer.status, json.loads(answer.body)) == (413, found["response"]["body"])
    assert at.products[10].stock == before and at.written == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_variation_in_the_list_of_products_has_the_fields_that_were_recorded(version: str) -> None:
    (wanted,) = exchange(version, "products-by-variation-sku")["response"]["body"]
    at = shop(version)
    (by_sku,) = got(call(at, "GET", "/products", sku="TEE-R-S"))
    assert list(by_sku) == list(wanted)
    own = {"id", "slug", "permalink", "date_created", "date_created_gmt", "date_modified", "date_modified_gmt",
           "stock_quantity", "price_html", "parent_id", "global_unique_id", "sku", "_links"}  # fmt: skip
    assert {key: by_sku[key] for key in wanted.keys() - own} == {key: wanted[key] for key in wanted.keys() - own}
    assert got(call(at, "GET", f"/products/{by_sku['id']}")) == by_sku
    assert by_sku["parent_id"] == 20


def test_several_skus_are_asked_for_at_once_and_case_does_not_count() -> None:
    at = shop()
    assert {row["sku"] for row in got(call(at, "GET", "/products", sku="mug-001, CONF-ABR"))} == {"MUG-001", "CONF-ABR"}
    assert got(call(at, "GET", "/products", sku="MUG")) == observed("sku filter partial / case", "11.0.1")["partial"]


@pytest.mark.failure_mode(35)
@pytest.mark.parametrize("version", VERSIONS)
def test_variations_are_refused_by_the_endpoint_of_products(version: str) -> None:
    at = shop(version)
    answer = call(at, "PUT", "/products/22", {"stock_quantity": 1})
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "woocommerce_rest_invalid_product_id")
    mixed = got(
        call(
            at,
            "POST",
            "/products/batch",
            {"update": [{"id": 22, "stock_quantity": 1}, {"id": 10, "stock_quantity": 2}]},
        )
    )
    assert "error" in mixed["update"][0] and mixed["update"][1]["stock_quantity"] == 2
    assert at.products[22].stock == 900
    done = got(call(at, "POST", "/products/20/variations/batch", {"update": [{"id": 22, "stock_quantity": 1}]}))
    assert done["update"][0]["stock_quantity"] == 1 and at.products[20].modified == at.now


def test_a_variation_under_another_product_is_refused_by_11_and_moved_by_7() -> None:
    for version, parent in (("11.0.1", 20), ("7.9.0", 10)):
        at = shop(version)
        answer = got(call(at, "POST", "/products/10/variations/batch", {"update": [{"id": 22, "stock_quantity": 1}]}))
        assert ("error" in answer["update"][0]) == (version == "11.0.1")
        assert at.products[22].parent_id == parent


@pytest.mark.parametrize("version", VERSIONS)
def test_stock_takes_values_as_observed(version: str) -> None:
    at = shop(version)

    def put(number: int, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(call(at, "PUT", f"/products/{number}", body).body)
        return found

    def like(answer: dict[str, Any], test: str) -> bool:
        wanted = observed(test, version)["r"]
        return {key: answer[key] for key in wanted} == wanted

    at.products[10].backorders = "notify"  # as the observed product had it then
    assert like(put(19, {"manage_stock": False, "stock_quantity": 5}), "stock_quantity when manage_stock=false")
    assert like(put(10, {"stock_quantity": 3.7}), "stock_quantity decimal 3.7")
    assert like(put(10, {"stock_quantity": None}), "stock_quantity null")
    at.products[10].backorders = "no"
    assert like(put(10, {"stock_quantity": -2}), "negative stock")
    assert put(10, {"stock_quantity": "30"})["stock_quantity"] == 30
    cut = got(call(at, "POST", "/products/batch", {"update": [{"id": 10, "stock_quantity": 3.7}]}))
    assert cut["update"][0]["stock_quantity"] == 3, "a batch skips the check of a single request"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_price_that_is_no_number_empties_it_and_is_answered_as_done(version: str) -> None:
    found = exchange(version, "error-price-not-a-number")
    made = got(call(shop(version), "POST", "/products", found["request"]["body"]))
    assert made["regular_price"] == found["response"]["body"]["regular_price"] == ""


def test_customers_in_a_batch() -> None:
    at = shop()
    taken = at.customers[3].email
    rows = [{"id": 2, "billing": {"city": "Lyon"}}, {"id": 4, "email": taken}, {"id": 777, "first_name": "x"}]
    done = got(call(at, "POST", "/customers/batch", {"create": [{"email": "n@example.test"}], "update": rows}))
    assert done["update"][0]["billing"]["city"] == "Lyon" and done["update"][0]["billing"]["last_name"]
    assert [row["error"]["code"] for row in done["update"][1:]] == [
        "woocommerce_rest_customer_invalid_email",
        "woocommerce_rest_invalid_id",
    ]
    number = done["create"][0]["id"]
    assert [row["id"] for row in got(call(at, "GET", "/customers", include=f"{number},2,777"))] == [2, number]
    assert at.written == [
        WriteEntry("POST", "/customers/batch", (number, 2, 4, 777), frozenset({"email", "billing.city", "first_name"}))
    ]


def test_orders_take_stock_that_a_write_has_set() -> None:
    at = shop()
    got(call(at, "POST", "/products/batch", {"update": [{"id": 10, "stock_quantity": 5}]}))
    got(call(at, "POST", "/orders", {"line_items": [{"product_id": 10, "quantity": 2}], "set_paid": True}))
    assert at.products[10].stock == 3
    assert [(entry.method, entry.path, entry.keys) for entry in at.written] == [
        ("POST", "/products/batch", {"stock_quantity"}),
        ("POST", "/orders", {"line_items", "set_paid"}),
    ]
