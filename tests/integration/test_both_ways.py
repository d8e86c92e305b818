"""Items, prices and stock from the back office to the shop: matched first, then only what differs is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from comptoir.app.links import accept, create, list_links, reject
from comptoir.app.run_route import deliver_route
from comptoir.engine.counts import RunReport
from comptoir.model.refs import EntityName, RunState
from comptoir.sdk import Hint
from comptoir.store.inbox import Inbox
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from tests.support.back_office import BackOffice
from tests.support.merchant import Merchant, request_json, simple_order

CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"
item_identity = "Identity"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
"""


class _Both:
    """A shop and a back office with the same few items."""

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.shop: WooCommerceSandbox = merchant.shop()
        self.office = BackOffice(merchant.exchange)

    def product(self, **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = request_json(self.shop, "POST", "/products", {"type": "simple", **fields})
        return made

    def shown(self, product: dict[str, Any]) -> dict[str, Any]:
        parent = product.get("parent_id")
        path = f"/products/{parent}/variations/{product['id']}" if parent else f"/products/{product['id']}"
        found: dict[str, Any] = request_json(self.shop, "GET", path)
        return found

    def run(self, route: str, **options: Any) -> RunReport:
        self.shop.log.clear()
        return self.merchant.run(route, **options)

    def writes(self) -> list[str]:
        return [entry.path.removeprefix("/wp-json/wc/v3") for entry in self.shop.log if entry.method != "GET"]


@pytest.fixture
def both(make_merchant: Callable[..., Merchant]) -> _Both:
    return _Both(make_merchant(CONFIG))


def _untouched(before: dict[str, Any], after: dict[str, Any], *changed: str) -> None:
    """Every other field is as it was; the shop's own dates and what it derives from a price may move."""
    own = {"date_modified", "date_modified_gmt", "price", "price_html", *changed}
    assert {k: v for k, v in before.items() if k not in own} == {k: v for k, v in after.items() if k not in own}


@pytest.mark.failure_mode(44)
def test_a_changed_price_is_one_write_and_nothing_else_moves(both: _Both) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00", description="Fait main", weight="0.4")
    tee = both.product(name="Un tee", sku="T-1", regular_price="24.90")
    both.office.item("M-1", "MUG BLANC", "10.00", "12.00")
    both.office.item("T-1", "TEE SHIRT", "20.75", "24.90")
    both.office.export()
    first = both.run("items")
    assert first.matched["gesco -> boutique"]["linked"] == 2
    assert both.writes() == []  # linked, and the prices are equal already

    before = both.shown(mug)
    both.office.price("M-1", "11.00", "13.20")
    both.office.export()
    second = both.run("items")
    assert both.writes() == ["/products/batch"]
    assert (second.main.changed, second.main.delivered) == (1, 1)
    after = both.shown(mug)
    assert after["regular_price"] == "13.20"
    _untouched(before, after, "regular_price")
    assert both.shown(tee) == tee | {"price_html": both.shown(tee)["price_html"]}

    assert both.run("items").main.delivered == 0
    assert both.writes() == []


@pytest.mark.failure_mode(25)
def test_the_echo_of_our_write_changes_nothing(both: _Both) -> None:
    both.product(name="Un mug", sku="M-1", regular_price="12.00")
    both.office.item("M-1", "MUG BLANC", "11.00", "13.20")
    both.office.export()
    assert both.run("items").main.delivered == 1
    stamp = both.merchant.rows("select known, wanted, state from publication")
    echo = both.run("items", full=True)
    assert both.writes() == []
    assert echo.main.changed == 0
    assert both.merchant.rows("select known, wanted, state from publication") == stamp


@pytest.mark.failure_mode(34)
def test_a_renamed_sku_is_written_to_the_same_product(both: _Both) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00")
    both.office.item("M-1", "MUG BLANC", "10.00", "12.00")
    both.office.export()
    both.run("items")
    before = both.shown(mug)
    both.office.rename("M-1", "M-1-NEW")
    both.office.export()
    both.run("items")
    after = both.shown(mug)
    assert both.writes() == ["/products/batch"]
    assert after["sku"] == "M-1-NEW"
    _untouched(before, after, "sku", "slug", "permalink")


@pytest.mark.failure_mode(34)
def test_a_tie_goes_to_review_and_nothing_is_written(both: _Both) -> None:
    first = both.product(name="Un tee", sku="T-1", regular_price="20.00", global_unique_id="4006381333931")
    both.product(name="Un autre tee", sku="t-1", regular_price="20.00")
    both.office.item("T-1", "TEE", "25.00", "30.00")
    both.office.export()
    report = both.run("items")
    assert report.matched["gesco -> boutique"] == {"linked": 0, "to review": 1, "without match": 0}
    assert both.writes() == []
    found = list_links(both.merchant.config, target="boutique", limit=10)
    assert [link.note for link in found] == ["2 records have the same key"] * 2
    chosen = next(link for link in found if link.target_name == "Un tee")
    accept(both.merchant.config, str(chosen.id))
    assert both.run("items").main.delivered == 1
    assert both.writes() == ["/products/batch"]
    assert both.shown(first)["regular_price"] == "30.00"


@pytest.mark.failure_mode(32, 33)
def test_nothing_is_made_unasked_and_a_rejected_pair_stays_apart(both: _Both) -> None:
    near = both.product(name="Bol", sku="BOL 1", regular_price="9.00")
    both.office.item("BOL-1", "BOL BLEU", "8.00", "9.60")
    both.office.item("NEUF-1", "ASSIETTE", "5.00", "6.00")
    both.office.export()
    products = len(request_json(both.shop, "GET", "/products?per_page=100&status=any"))
    report = both.run("items")
    assert report.matched["gesco -> boutique"] == {"linked": 0, "to review": 1, "without match": 1}
    assert any("to review" in note and "without match" in note for note in report.notes)
    assert both.writes() == []
    suggested = list_links(both.merchant.config, states=("suggested",), target=None, limit=10)
    assert suggested[0].evidence == ("sku_alike",)
    reject(both.merchant.config, str(suggested[0].id))
    again = both.run("items", full=True)
    assert both.writes() == []
    assert again.matched.get("gesco -> boutique", {}).get("to review", 0) == 0

    assert create(both.merchant.config, "NEUF-1", everything=False, target=None) == 1
    made = both.run("items")
    assert made.main.delivered == 1
    listed = request_json(both.shop, "GET", "/products?per_page=100&status=any&sku=NEUF-1")
    assert [(p["sku"], p["regular_price"], p["status"]) for p in listed] == [("NEUF-1", "6.00", "draft")]
    assert len(request_json(both.shop, "GET", "/products?per_page=100&status=any")) == products + 1
    linked = both.run("items")
    assert both.writes() == []
    assert linked.matched["gesco -> boutique"]["linked"] == 1
    assert both.shown(near)["regular_price"] == "9.00"


def test_stock_is_availability_and_only_what_differs_is_written(both: _Both) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00", manage_stock=True, stock_quantity=3)
    tee = both.product(name="Un tee", sku="T-1", regular_price="24.90", manage_stock=True, stock_quantity=7)
    made_to_order = both.product(name="Gravure", sku="G-1", regular_price="5.00")
    both.office.item("M-1", "MUG", "10.00", "12.00", stock=10, booked=2)
    both.office.item("T-1", "TEE", "20.75", "24.90", stock="7.9", booked=0)
    both.office.item("G-1", "GRAVURE", "4.17", "5.00", stock=50)
    both.office.export()
    report = both.run("stock")
    assert both.writes() == ["/products/batch"]
    assert both.shown(mug)["stock_quantity"] == 8
    assert both.shown(tee)["stock_quantity"] == 7
    assert both.shown(made_to_order)["manage_stock"] is False
    assert report.published["boutique"]["skipped"] == {"boutique does not count it": 1}
    assert any("rounded down" in note for note in report.notes)
    assert both.run("stock").main.delivered == 0
    assert both.writes() == []

    # Two are sold: the shop counts them off itself, the back office does not know yet.
    request_json(both.shop, "POST", "/orders", simple_order(line_items=[{"product_id": mug["id"], "quantity": 2}]))
    both.merchant.run("orders")
    sold = both.run("stock")
    assert both.shown(mug)["stock_quantity"] == 6
    assert both.writes() == []  # 10 - 2 reserved - 2 promised = 6, which the shop shows already
    assert sold.state is RunState.SUCCESS


@pytest.mark.failure_mode(35)
def test_a_variation_is_updated_under_its_parent(both: _Both) -> None:
    parent = both.product(name="Un tee", type="variable", sku="T", attributes=[
        {"name": "Taille", "variation": True, "visible": True, "options": ["S", "M"]}])  # fmt: skip
    small, medium = (
        request_json(
            both.shop, "POST", f"/products/{parent['id']}/variations",
            {"sku": f"T-{size}", "regular_price": "20.00", "manage_stock": True, "stock_quantity": 1,
             "attributes": [{"name": "Taille", "option": size}]},
        )
        for size in ("S", "M")
    )  # fmt: skip
    both.office.item("T-S", "TEE S", "16.67", "20.00", stock=5)
    both.office.item("T-M", "TEE M", "16.67", "20.00", stock=1)
    both.office.export()
    both.run("stock")
    assert both.writes() == [f"/products/{parent['id']}/variations/batch"]
    path = f"/products/{parent['id']}/variations/"
    after_s, after_m = (request_json(both.shop, "GET", path + str(v["id"])) for v in (small, medium))
    assert (after_s["stock_quantity"], after_m["stock_quantity"]) == (5, 1)
    _untouched(small, after_s, "stock_quantity")
    assert after_m == medium


def test_a_price_of_nothing_waits_for_a_person(both: _Both) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00")
    both.office.item("M-1", "MUG", "0.00", "0.00")
    both.office.export()
    report = both.run("items")
    assert report.state is RunState.PLAN
    assert both.writes() == []
    with both.merchant.hub() as hub:
        deliver_route(hub, "items", approve=True)
    assert both.shown(mug)["regular_price"] in ("0", "0.00")


def test_a_first_write_of_many_is_a_plan(both: _Both) -> None:
    body = [{"name": f"P{n}", "sku": f"P-{n}", "regular_price": "10.00"} for n in range(60)]
    request_json(both.shop, "POST", "/products/batch", {"create": body})
    for n in range(60):
        both.office.item(f"P-{n}", f"P{n}", "9.17", "11.00")
    both.office.export()
    report = both.run("items")
    assert report.state is RunState.PLAN
    assert report.held == {"boutique": {"item": 60}}
    assert both.writes() == []
    assert both.run("items").held == {"boutique": {"item": 60}}
    with both.merchant.hub() as hub:
        deliver_route(hub, "items", approve=True)
    assert both.merchant.value("select count(*) from write_log") == 60
    assert both.run("items").state is RunState.SUCCESS
    assert both.writes() == []


def test_the_journey_of_an_item_tells_what_was_written_and_why(both: _Both) -> None:
    from comptoir.app.journey import LANGUAGES, journeys

    both.product(name="Un mug", sku="M-1", regular_price="12.00", manage_stock=True, stock_quantity=1)
    both.office.item("M-1", "MUG BLANC", "11.00", "13.20", stock=4)
    both.office.export()
    both.run("items")
    both.run("stock")
    told = "\n".join(text for journey in journeys(both.merchant.config, "M-1") for _, text in journey.sentences)
    assert "is M-1 on gesco" not in told  # its identity there is another than its SKU
    assert "is ID-M-1 on gesco (by rule: sku)" in told
    assert "written to boutique: regular_price: 12.00 -> 13.20" in told
    assert "written to boutique: stock_quantity: 1 -> 4" in told
    both.office.price("M-1", "0.00", "0.00")
    both.office.export()
    both.run("items")
    french = "\n".join(t for j in journeys(both.merchant.config, "M-1", lang="fr") for _, t in j.sentences)
    assert "attend une approbation : regular_price: 13.20 ->" in french
    assert set(LANGUAGES["fr"]) == set(LANGUAGES["en"])


def test_a_record_without_key_is_refused_and_the_others_go(both: _Both) -> None:
    both.product(name="Un mug", sku="M-1", regular_price="12.00")
    both.office.item("OK-1", "ASSIETTE", "5.00", "6.00")
    both.office.export()
    both.run("items")
    with psycopg.connect(both.merchant.url) as connection:
        connection.execute("update item set sku = null where connection = 'gesco'")
    assert create(both.merchant.config, "ID-OK-1", everything=False, target=None) == 1
    report = both.run("items")
    assert report.main.rejected == 1
    assert both.merchant.value("select cause from quarantine where state = 'open'") == "no_key"
    assert both.writes() == []


@pytest.mark.failure_mode(25)
def test_the_webhook_about_our_own_write_changes_nothing(both: _Both) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00", manage_stock=True, stock_quantity=1)
    both.office.item("M-1", "MUG BLANC", "11.00", "13.20", stock=4)
    both.office.export()
    both.run("items")
    both.run("stock")
    stamp = both.merchant.rows("select entity, known, wanted, state from publication order by entity")
    writes = both.merchant.value("select count(*) from write_log")
    with both.merchant.hub() as hub, hub.database.transaction() as session:
        hint = Hint(EntityName.ITEM, str(mug["id"]), "updated")
        assert Inbox(session).add("boutique", "echo-1", [hint], hub.ports.clock.now()) == 1
    for route in ("items", "stock"):
        echo = both.run(route, mode="inbox", trigger="webhook")
        assert both.writes() == []
        assert echo.main.delivered == 0
    assert both.merchant.rows("select entity, known, wanted, state from publication order by entity") == stamp
    assert both.merchant.value("select count(*) from write_log") == writes
    assert both.merchant.value("select count(*) from inbox where done_at is null") == 0


def test_a_product_that_was_replaced_is_found_under_its_new_id(both: _Both) -> None:
    old = both.product(name="Un mug", sku="M-1", regular_price="12.00", manage_stock=True, stock_quantity=1)
    both.office.item("M-1", "MUG", "10.00", "12.00", stock=5)
    both.office.export()
    both.run("items")
    both.run("stock")
    request_json(both.shop, "DELETE", f"/products/{old['id']}?force=true")
    new = both.product(name="Un mug neuf", sku="M-1", regular_price="12.00", manage_stock=True, stock_quantity=1)
    both.office.price("M-1", "11.00", "13.20")
    both.office.export()
    for _ in range(3):
        both.run("items")
    both.run("stock")
    assert (both.shown(new)["regular_price"], both.shown(new)["stock_quantity"]) == ("13.20", 5)
    assert both.merchant.value("select count(*) from record_link where state = 'linked'") == 1


def test_a_pair_that_was_rejected_is_written_no_more_even_when_its_plan_is_approved(both: _Both) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00")
    both.office.item("M-1", "MUG", "0.00", "0.00")
    both.office.export()
    assert both.run("items").state is RunState.PLAN
    reject(both.merchant.config, "M-1")
    with both.merchant.hub() as hub:
        deliver_route(hub, "items", approve=True)
    both.run("items")
    assert both.shown(mug)["regular_price"] == "12.00"


@pytest.mark.parametrize(
    ("order", "kept"),
    [
        ({}, 2),
        ({"set_paid": False}, 0),
        ({"set_paid": False, "status": "on-hold", "payment_method": "bacs"}, 2),
        ({"set_paid": False, "status": "failed"}, 0),
        ({"set_paid": False, "status": "cancelled"}, 0),
        ({"status": "completed"}, 2),  # shipped, but the back office has not been told yet
    ],
)
def test_which_orders_keep_goods(both: _Both, order: dict[str, Any], kept: int) -> None:
    mug = both.product(name="Un mug", sku="M-1", regular_price="12.00", manage_stock=True, stock_quantity=100)
    both.office.item("M-1", "MUG", "10.00", "12.00", stock=40)
    both.office.export()
    body = simple_order(**order, line_items=[{"product_id": mug["id"], "quantity": 2}])
    request_json(both.shop, "POST", "/orders", body)
    both.merchant.run("orders")
    both.run("stock")
    assert both.shown(mug)["stock_quantity"] == 40 - kept
