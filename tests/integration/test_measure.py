"""Does the cursor lie? A sandbox shows what the real shops showed, and what is measured chooses the cursor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comptoir.engine.measure import Choice, choose, measure, reading_of
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.manifest import EntityCapability
from comptoir.store.measures import CursorMeasures, Measured
from comptoir.testing import FakeClock
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from tests.support.merchant import Merchant

RECORDED = Path(__file__).parents[1] / "data" / "woocommerce"

#: Our changes by the names under which they were recorded on the real shops.
OBSERVED = {
    (EntityName.ITEM, "stock"): "PUT stock_quantity on product",
    (EntityName.ITEM, "stock in a batch"): "batch stock",
    (EntityName.ITEM, "sold"): "paid order decrements product stock",
    (EntityName.ITEM, "meta"): "PUT meta_data only",
    (EntityName.ITEM, "variant stock"): "variation stock PUT, watching the parent",
    (EntityName.ITEM, "variant price"): "variation price PUT, watching the parent",
    (EntityName.ORDER, "status"): "order status PUT",
    (EntityName.ORDER, "refund"): "order refund (partial, amount only)",
    (EntityName.ORDER, "note"): "order note",
    (EntityName.ORDER, "meta"): "order meta PUT",
    (EntityName.CUSTOMER, "address"): "customer PUT",
    (EntityName.CUSTOMER, "order"): "new order of the customer, watching the customer",
}


def _measured(merchant: Merchant, **settings: Any) -> tuple[WooCommerceSandbox, list[Measured]]:
    clock = FakeClock()
    merchant.clock = clock
    shop = merchant.shop(**settings)
    with merchant.hub() as hub:
        return shop, measure(hub, hub.link("boutique"))


@pytest.fixture
def empty_merchant(tmp_path: Path, database_url: str) -> Merchant:
    return Merchant(tmp_path, database_url)


@pytest.mark.parametrize("version", ["7.9.0", "11.0.1"])
def test_what_the_sandbox_shows_is_what_the_real_shop_showed(empty_merchant: Merchant, version: str) -> None:
    _, found = _measured(empty_merchant, version=version)
    recorded = {
        row["test"].removeprefix("date_modified bump: "): row["bumped"]
        for row in json.loads((RECORDED / f"observations-wc-{version}.json").read_text())
        if "bumped" in row
    }
    measured = {(m.entity, m.change): m.moves for m in found}
    assert {key: measured[key] for key in OBSERVED} == {key: recorded[name] for key, name in OBSERVED.items()}


def test_nothing_is_left_in_the_shop(empty_merchant: Merchant) -> None:
    before = empty_merchant.shop("untouched")
    shop, found = _measured(empty_merchant)
    assert len(found) == 18
    assert [m.note for m in found if m.moves is None] == []
    left = {entry.path.split("?")[0] for entry in shop.log if entry.method == "POST"}
    assert left
    assert (len(shop.orders), shop.products.keys(), shop.customers.keys()) == (
        0, before.products.keys(), before.customers.keys(),
    )  # fmt: skip


def test_a_delete_is_never_seen_by_a_date(empty_merchant: Merchant) -> None:
    _, found = _measured(empty_merchant)
    deletes = [m for m in found if m.change == "delete"]
    assert [(m.entity.value, m.moves, m.missed) for m in deletes] == [
        ("item", False, False),
        ("order", False, False),
        ("customer", False, False),
    ]
    assert all("only a complete read" in m.note for m in deletes)


def test_the_measures_choose_how_an_entity_is_read(empty_merchant: Merchant) -> None:
    merchant = empty_merchant
    _measured(merchant)
    with merchant.hub() as hub:
        link, session = hub.link("boutique"), hub.database.session()
        assert reading_of(session, link, EntityName.ORDER) == Choice("delta", 300, "measured")
        assert reading_of(session, link, EntityName.CUSTOMER).way == "sweep"
        lie = Measured(EntityName.ORDER, "refund", True, False, False, 0.0, "")
        with hub.database.transaction() as writing:
            CursorMeasures(writing).replace("boutique", [lie], hub.ports.clock.now())
    shop = merchant.shops["boutique"]
    merchant.run()
    shop.log.clear()
    merchant.run()
    reads = [entry for entry in shop.log if "/orders?" in entry.path or entry.path.endswith("/orders")]
    assert reads
    assert not any("modified_after" in str(entry) for entry in shop.log)


def test_a_source_whose_dates_lie_in_the_past_is_read_further_back() -> None:
    capability = EntityCapability(pull=True, cursor="modified", overlap_seconds=300)
    row = Measured(EntityName.ORDER, "line", True, True, True, 900.4, "")
    assert choose(capability, [row]) == Choice("overlap", 961, "dates lie up to 900 s before the change")
    assert choose(capability, []).way == "delta"
    unlisted = Measured(EntityName.ORDER, "line", True, True, False, 0.0, "")
    assert choose(capability, [unlisted]).way == "sweep"
    curious = Measured(EntityName.ORDER, "note", False, False, None, 0.0, "")
    assert choose(capability, [curious]).way == "delta"


def test_a_connector_without_experiments_says_so(empty_merchant: Merchant) -> None:
    empty_merchant.shop()
    with empty_merchant.hub() as hub, pytest.raises(ConfigError, match="cannot be measured"):
        measure(hub, hub.link("gesco"))
