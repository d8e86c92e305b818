"""The comparison of stocks: every link once, with what is counted and promised of its item."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from comptoir.store.database import Database
from comptoir.store.publications import DemandRule, Offer, Publications
from comptoir.store.schema import plain_url

_COUNT, _ASKED_FOR = 400, 300
_SEED = """
with both_sides as (
  select n, gen_random_uuid() as here, gen_random_uuid() as there from generate_series(1, %(count)s) n
), source as (
  insert into item (id, connection, external_id, sku, name, kind, state, unit, raw_id, mapping_hash, rev, created_at,
    updated_at)
  select here, 'gesco', 'ART-' || n, 'ART-' || n, 'Article', 'stock', 'active', 'piece', here, 'seed', 1,
    comptoir_now(), comptoir_now() from both_sides
), target as (
  insert into item (id, connection, external_id, sku, name, kind, state, unit, raw_id, mapping_hash, rev, created_at,
    updated_at)
  select there, 'boutique', n::text, 'ART-' || n, 'Article', 'stock', 'active', 'piece', there, 'seed', 1,
    comptoir_now(), comptoir_now() from both_sides
), levels as (
  insert into stock_level (id, connection, external_id, item_id, location, on_hand, reserved, unit, raw_id,
    mapping_hash, rev, created_at, updated_at)
  select gen_random_uuid(), 'gesco', 'ART-' || n, 'ART-' || n, 'P', 10, 1, 'piece', here, 'seed', 1, comptoir_now(),
    comptoir_now() from both_sides
), orders as (
  insert into sales_order (id, connection, external_id, number, source_status, ordered_at, ordered_on, currency,
    price_basis, rounding_level, rounding_mode, account, payment_state, fulfilment_state, return_state, hold, total,
    total_tax, computed_total, residual, before_cutover, raw_id, mapping_hash, rev, created_at, updated_at)
  select here, 'boutique', n::text, n::text, 'processing', comptoir_now(), comptoir_now()::date, 'EUR', 'incl', 'line',
    'half_up', 'b2c', 'paid', 'open', 'none', 'none', 10, 0, 10, 0, false, here, 'seed', 1, comptoir_now(),
    comptoir_now() from both_sides where n <= %(asked_for)s
), lines as (
  insert into order_line (document_id, position, external_id, kind, item_id, name, quantity, unit, unit_price,
    list_net, list_tax, net, tax)
  select here, 1, n::text, 'stock', n::text, 'Article', 2, 'piece', 5, 10, 0, 10, 0 from both_sides
  where n <= %(asked_for)s
)
insert into record_link (id, entity, source, source_id, target, target_id, state, created_at)
select gen_random_uuid(), 'item', 'gesco', here, 'boutique', there, 'linked', comptoir_now() from both_sides
"""
_RULE = DemandRule(offline=(), handed_over=("boutique",))


@pytest.fixture
def url(database_url: str) -> str:
    """Linked items, each counted, some in an open order."""
    url = plain_url(database_url)
    with psycopg.connect(url) as connection:
        connection.execute(_SEED.encode(), {"count": _COUNT, "asked_for": _ASKED_FOR})
    return url


def _offers(url: str, **asked: Any) -> list[Offer]:
    database = Database(url)
    try:
        with database.transaction() as session:
            return list(Publications(session).offers("gesco", "boutique", (), _RULE, **asked))
    finally:
        database.close()


def test_every_linked_item_is_offered_once_with_what_is_promised_of_it(url: str) -> None:
    found = {offer.external_id: (offer.on_hand, offer.reserved, offer.demand) for offer in _offers(url)}
    assert found == {
        str(n): (Decimal(10), Decimal(1), Decimal(2 if n <= _ASKED_FOR else 0)) for n in range(1, _COUNT + 1)
    }
    assert [offer.external_id for offer in _offers(url, only=["7", "unknown"])] == ["7"]


def test_an_item_with_two_links_is_offered_at_both_and_one_without_demand_has_none(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(b"delete from order_line where item_id = '1'")
        connection.execute(
            b"update record_link set source_id = (select id from item where connection = 'gesco' and sku = 'ART-2') "
            b"where target_id = (select id from item where connection = 'boutique' and sku = 'ART-3')"
        )
    found = {offer.external_id: (offer.label, offer.demand) for offer in _offers(url)}
    assert len(found) == _COUNT
    assert found["1"] == ("ART-1", Decimal(0))
    assert found["2"] == ("ART-2", Decimal(4))  # its own, and what was ordered of the other one
    assert found["3"] == ("ART-2", Decimal(4))
