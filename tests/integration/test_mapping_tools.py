"""Mapping tools on stored records: versions, differences, what is unmapped, a change that would lose records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from comptoir.app import mappings
from comptoir.errors import ConfigError
from comptoir.model.refs import RunState

from tests.integration.test_both_ways import CONFIG
from tests.support.back_office import BackOffice
from tests.support.merchant import Merchant, request_json, simple_order

NAME = "woocommerce.order.in"


def _override(merchant: Merchant, text: str) -> Path:
    path = merchant.config.parent / "mappings" / "woocommerce" / "order.in.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"mapping: {NAME}\nextends: true\n{text}", encoding="utf-8")
    return path


@pytest.fixture
def shop(merchant: Merchant) -> Merchant:
    for _ in range(3):
        request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    assert merchant.run().state is RunState.SUCCESS
    return merchant


def test_a_version_is_kept_and_compared_with_what_the_files_say_now(shop: Merchant) -> None:
    (first,) = mappings.versions(shop.config, NAME)
    assert first["current"]
    same = mappings.difference(shop.config, NAME)["connections"][0]
    assert (same["considered"], same["same"], same["different"]) == (3, 3, 0)

    _override(shop, "fields:\n  channel: {const: comptoir}\n  note: {const: secret note}\n")
    (old,) = mappings.versions(shop.config, NAME)
    assert (old["hash"], old["current"]) == (first["hash"], False)
    found = mappings.difference(shop.config, NAME)["connections"][0]
    assert (found["different"], found["broken"]) == (3, 0)
    assert found["fields"]["channel"] == 3
    change = next(f for f in found["records"][0]["fields"] if f["field"] == "channel")
    assert (change["before"], change["after"]) == ("boutique", "comptoir")
    assert mappings.difference(shop.config, NAME, since=first["hash"][:8], limit=1)["connections"][0]["considered"] == 1


def test_a_harmless_change_is_let_in_with_a_word(shop: Merchant) -> None:
    _override(shop, "fields:\n  channel: {const: comptoir}\n")
    report = shop.run()
    assert any("was changed; all of the newest records are still mapped" in note for note in report.notes)
    assert [v["current"] for v in mappings.versions(shop.config, NAME)] == [True, False]
    assert not any("was changed" in note for note in shop.run().notes)


def test_a_change_that_loses_records_stops_before_anything_is_read(shop: Merchant) -> None:
    path = _override(shop, "fields:\n  currency: {from: status}\n")
    request_json(shop.shops["boutique"], "POST", "/orders", simple_order())
    with pytest.raises(ConfigError, match=r"3 of the 100 newest records.* would not be any more") as caught:
        shop.run()
    assert caught.value.code == "mapping_change"
    assert caught.value.hint is not None and f"comptoir map accept {NAME}" in caught.value.hint
    assert shop.value("select count(*) from quarantine") == 0
    assert mappings.difference(shop.config, NAME)["connections"][0]["broken"] == 3

    assert mappings.accept(shop.config, NAME) == ["boutique"]
    assert shop.run().main.quarantined == 1
    path.unlink()
    shop.run()
    assert len(shop.order_numbers()) == 4


def test_values_that_no_table_has_are_listed_by_how_many_wait(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    for status in ("wc-strange", "wc-strange", "wc-rare"):
        kept = shop.orders[request_json(shop, "POST", "/orders", simple_order())["id"]]
        # WooCommerce's interface refuses unknown states; a plugin writes them past it.
        order = kept.order(keep=True)
        order.status, order.modified = status, shop.now
        kept.changed()
    merchant.run()
    found = mappings.unmapped(merchant.config)
    assert [(f["connection"], f["entity"], f["records"]) for f in found] == [
        ("boutique", "order", 2),
        ("boutique", "order", 1),
    ]
    assert "wc-strange" in found[0]["message"]
    assert found[0]["file"] == "mappings/woocommerce/order.in.yaml"
    assert len(found[0]["for_instance"]) == 2


def test_an_unknown_version_is_said(shop: Merchant) -> None:
    with pytest.raises(ConfigError, match="no version of"):
        mappings.difference(shop.config, NAME, since="ffff")
    with pytest.raises(ConfigError, match="versions of `in` mappings"):
        mappings.difference(shop.config, "ebp.order.out")


def test_stored_records_are_mapped_by_the_new_text_and_only_what_differs_goes_out(
    make_merchant: Callable[..., Merchant],
) -> None:
    merchant = make_merchant(CONFIG)
    shop, office = merchant.shop(), BackOffice(merchant.exchange)
    product = request_json(shop, "POST", "/products", {"name": "Bol", "sku": "BOL", "regular_price": "10.00"})
    office.item("BOL", "Bol", "8.33", "10.00")
    office.export()
    merchant.run("items")
    assert mappings.apply(merchant.config, "ebp.item.in") == [
        {"connection": "gesco", "again": 0, "parked": 0, "dropped": 0}
    ]
    path = merchant.config.parent / "mappings" / "ebp" / "item.in.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("mapping: ebp.item.in\nextends: true\nfields:\n  sku: {const: BOL-2}\n", encoding="utf-8")
    assert merchant.run("items", full=True).main.delivered == 0  # the file says what it said before
    shop.log.clear()
    assert mappings.apply(merchant.config, "ebp.item.in", connection="gesco")[0]["again"] == 1
    assert mappings.apply(merchant.config, "ebp.item.in")[0]["again"] == 0
    assert merchant.run("items").main.delivered == 1
    assert request_json(shop, "GET", f"/products/{product['id']}")["sku"] == "BOL-2"
    assert len([e for e in shop.log if e.method != "GET"]) == 1


def test_a_record_whose_payload_is_not_kept_any_more_stays_as_it_is(shop: Merchant) -> None:
    with psycopg.connect(shop.url) as connection:
        connection.execute(
            "delete from raw_payload where raw_id = (select id from raw_record where entity = 'order' limit 1)"
        )
    _override(shop, "fields:\n  source_status: {const: seen}\n")
    assert mappings.apply(shop.config, NAME) == [{"connection": "boutique", "again": 2, "parked": 0, "dropped": 1}]
    found = shop.rows("select source_status, count(*) from sales_order group by source_status order by count(*)")
    assert found == [("processing", 1), ("seen", 2)]


def test_a_text_that_loses_records_is_not_applied(shop: Merchant) -> None:
    _override(shop, "fields:\n  currency: {from: status}\n")
    with pytest.raises(ConfigError, match="would not be any more"):
        mappings.apply(shop.config, NAME)
    mappings.accept(shop.config, NAME)
    assert mappings.apply(shop.config, NAME)[0]["parked"] == 3
    assert shop.value("select count(*) from quarantine where state = 'open'") == 3
