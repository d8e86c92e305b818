"""Whole catalogues: twenty thousand items matched without making any, a hundred thousand stocks in a thousand calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import psycopg
import pytest

from comptoir.app.run_route import deliver_route
from comptoir.engine.counts import RunReport

from bench.catalogues import Catalogues, Entry
from bench.goods import FIRST_ID, GoodsShop, quantity, sku
from tests.integration.test_both_ways import CONFIG
from tests.support.merchant import Merchant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_WRITE = "POST /wp-json/wc/v3/products/batch"
_LINKED = {"gesco -> boutique": {"linked": 18_264, "to review": 1_262, "without match": 490}}


def _export(merchant: Merchant, name: str, lines: Sequence[str], age: float) -> None:
    folder = merchant.exchange / "export"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))
    moment = time.time() - 86_400 - age
    os.utime(path, (moment, moment))


def _item_rows(entries: Sequence[Entry]) -> list[str]:
    head = "Identity;Id;Caption;BarCode;SalePriceVatExcluded;SalePriceVatIncluded;VatRate;ManageStock"
    return [head, *(f"ID-{n};{e.sku};{e.name};{e.gtin};10,00;12,00;20,00;1" for n, e in enumerate(entries))]


def _writes(shop: GoodsShop) -> dict[str, int]:
    """Every request since the last time that was no read."""
    found = {what: count for what, count in shop.requests.items() if not what.startswith("GET ")}
    shop.requests.clear()
    return found


@pytest.mark.failure_mode(32, 33, 34)
def test_twenty_thousand_on_both_sides_are_matched_and_nothing_is_made(make_merchant: Callable[..., Merchant]) -> None:
    made = Catalogues(20_000)
    merchant = make_merchant(CONFIG)
    shop = GoodsShop([_there(entry) for entry in made.there], home="http://boutique.test", clock=merchant.clock)
    merchant.shops["boutique"] = shop
    _export(merchant, "ARTICLES.csv", _item_rows(made.here), age=0)
    products = len(shop.products)
    report = merchant.run("items")

    here, there = len(made.here), len(made.there)
    assert (report.main.considered, report.main.quarantined) == (here + there, 0)
    assert report.matched == _LINKED
    assert _writes(shop) == {}  # every price is the same, and what has no match is not made
    assert len(shop.products) == products
    assert merchant.value("select count(*) from delivery") == 0

    truth = {f"ID-{n}": entry.truth for n, entry in enumerate(made.here)}
    shown = {str(FIRST_ID + n): entry.truth for n, entry in enumerate(made.there)}
    rows = merchant.rows(
        "select s.external_id, t.external_id, k.state from record_link k join item s on s.id = k.source_id "
        "left join item t on t.id = k.target_id"
    )
    wrong = [s for s, t, state in rows if state == "linked" and truth[s] != shown[t]]
    reused = [f"ID-{n}" for n, e in enumerate(made.here) if e.kind == "only here" and not e.gtin]
    assert sorted(wrong) == sorted(reused)  # a SKU that means something else there, and no GTIN that could tell
    review: dict[str, set[int]] = {}
    for s, t, state in rows:
        if state == "suggested":
            review.setdefault(s, set()).add(shown[t])
    ties = {f"ID-{n}" for n, e in enumerate(made.here) if e.kind.startswith("two ")}
    assert ties <= set(review)
    assert [s for s, seen in review.items() if truth[s] >= 0 and truth[s] not in seen] == []
    linked = {s for s, _, state in rows if state == "linked"}
    common = {entry.truth for entry in made.there}
    assert [s for s, t in truth.items() if t in common and s not in linked and s not in review] == []

    again = merchant.run("items", full=True)
    assert _writes(shop) == {}
    assert again.main.unchanged == here + there
    assert merchant.value("select count(*) from record_link where state = 'linked'") == len(linked)


def _there(entry: Entry) -> dict[str, object]:
    return {"name": entry.name, "sku": entry.sku, "gtin": entry.gtin, "regular_price": "12.00"}


_SEED = """
with both_sides as (
  select n, gen_random_uuid() as here, gen_random_uuid() as there from generate_series(0, %(last)s) n
), source as (
  insert into item (id, connection, external_id, sku, name, kind, state, unit, raw_id, mapping_hash, rev, created_at,
    updated_at)
  select here, 'gesco', 'ART-' || lpad(n::text, 6, '0'), 'ART-' || lpad(n::text, 6, '0'), 'Article', 'stock',
    'active', 'piece', here, 'seed', 1, %(then)s, %(then)s from both_sides
), target as (
  insert into item (id, connection, external_id, sku, name, kind, state, unit, source_stock, raw_id, mapping_hash, rev,
    created_at, updated_at)
  select there, 'boutique', (%(first)s + n)::text, 'ART-' || lpad(n::text, 6, '0'), 'Article', 'stock', 'active',
    'piece', 1 + (n * 7) %% 180, there, 'seed', 1, %(then)s, %(then)s from both_sides
), received as (
  insert into raw_record (id, connection, entity, external_id, fingerprint, state, record_id, version, received_at)
  select there, 'boutique', 'item', (%(first)s + n)::text, '\\x00', 'mapped', there, 1, %(then)s from both_sides
)
insert into record_link (id, entity, source, source_id, target, target_id, state, score, created_at)
select gen_random_uuid(), 'item', 'gesco', here, 'boutique', there, 'linked', 1, %(then)s from both_sides
"""


def test_a_hundred_thousand_changed_stocks_are_a_thousand_calls(make_merchant: Callable[..., Merchant]) -> None:
    count = 100_000
    merchant = make_merchant(CONFIG.replace('item_identity = "Identity"\n', ""))
    shop = GoodsShop.of(count, home="http://boutique.test", clock=merchant.clock)
    shop.render()
    merchant.shops["boutique"] = shop
    _seed(merchant, count)

    def run(version: int, age: float) -> RunReport:
        lines = (f"{sku(n)};PRINCIPAL;{quantity(n, version)};0" for n in range(count))
        _export(merchant, "STOCK.csv", ["ItemId;StorehouseId;RealStock;BookedQuantity", *lines], age)
        report = merchant.run("stock")
        shop.quiet()
        return report

    first = run(1, age=1000)
    assert first.held == {"boutique": {"stock": count}}  # a first write of many is shown to a person
    assert _writes(shop) == {}
    with merchant.hub() as hub:
        assert deliver_route(hub, "stock", approve=True).main.delivered == count
    assert _writes(shop) == {_WRITE: 1000}
    assert [p.stock for p in shop.products.values()] == [quantity(n, 1) for n in range(count)]
    assert merchant.value("select count(*) from write_log") == count

    shop.quiet()
    assert run(2, age=500).main.delivered == count
    assert _writes(shop) == {_WRITE: 1000}
    assert [p.stock for p in shop.products.values()] == [quantity(n, 2) for n in range(count)]

    same = run(2, age=100)  # a newer file with the same stock
    assert same.main.considered - same.main.unchanged == same.main.changed
    assert same.main.delivered == 0
    assert _writes(shop) == {}
    assert merchant.run("stock").main.considered == 0  # and no file that is newer
    assert _writes(shop) == {}
    assert merchant.rows("select state, count(*) from publication group by 1") == [("done", count)]


def _seed(merchant: Merchant, count: int) -> None:
    """Both catalogues, linked: how that comes about is the other test's affair."""
    with psycopg.connect(merchant.url) as connection:
        then = merchant.clock.now()
        connection.execute(_SEED.encode(), {"last": count - 1, "first": FIRST_ID, "then": then})
        connection.execute(
            b"insert into cursor_position (connection, entity, scope, watermark, updated_at) values "
            b"('boutique', 'item', '', %(then)s, %(then)s)",
            {"then": then},
        )
        connection.execute(b"analyze")
