"""What must hold once the faults have stopped and the system has settled. Each violation is one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from comptoir.simulation.day import Day
from comptoir.simulation.world import World
from comptoir.store.audit import Audit

__all__ = ["violations"]

_PASSES = {"processing", "completed", "refunded"}


def violations(world: World, day: Day) -> list[str]:
    """Everything that is not as promised."""
    audit = Audit(world.url)
    try:
        return [
            *_orders(world, day),
            *_refunds(world),
            *_canonical(world, audit),
            *_catalogue(world),
            *_stock(world),
            *_nothing_left(audit),
            *(f"personal data in {place}" for place in audit.places_of(day.names)),
        ]
    finally:
        audit.close()


def _all(world: World, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        rows = world.call("GET", f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}")
        found += rows
        if len(rows) < 100:
            return found
        page += 1


def _passes(order: dict[str, Any]) -> bool:
    return order["status"] in _PASSES or (order["status"] == "on-hold" and order["payment_method"] == "bacs")


def _taken(world: World, kind: str) -> Counter[str]:
    """How often EBP holds each of the hub's numbers."""
    return Counter(d.reference.rsplit(" ", 1)[-1] for d in world.books.documents if d.kind == kind)


def _orders(world: World, day: Day) -> Iterator[str]:
    taken = _taken(world, "BC")
    for order in _all(world, "/orders?status=any"):
        number, times = order["id"], taken.pop(str(order["number"]), 0)
        if _passes(order) and times != 1:
            yield f"order {number} ({order['status']}) is {times} times at the back office"
        elif times > 1:
            yield f"order {number} ({order['status']}) is doubled at the back office"
        elif times and number not in day.sold:
            yield f"order {number} ({order['status']}) went out and never should have"
    yield from (f"the back office holds {number}, which the shop does not know" for number in taken)


def _refunds(world: World) -> Iterator[str]:
    taken = _taken(world, "AV")
    for order in _all(world, "/orders?status=any"):
        for refund in order["refunds"]:
            times = taken.get(f"AV{refund['id']}", 0)
            if _passes(order) and times != 1:
                yield f"refund {refund['id']} of order {order['id']} is {times} times at the back office"


def _canonical(world: World, audit: Audit) -> Iterator[str]:
    known = audit.orders("boutique")
    for order in _all(world, "/orders?status=any"):
        row = known.get(str(order["id"]))
        if row is None:
            yield f"order {order['id']} is not known"
        elif (row[0], row[1]) != (order["status"], Decimal(order["total"])):
            yield f"order {order['id']} is {row[0]} {row[1]} here and {order['status']} {order['total']} in the shop"
        elif row[1] != row[2] + row[3]:
            yield f"order {order['id']}: total {row[1]}, computed {row[2]}, residual {row[3]}"


def _catalogue(world: World) -> Iterator[str]:
    cards = {card.identity: card for card in world.books.catalogue.items.values()}
    for n, (code, number) in enumerate(world.products.items()):
        product = world.call("GET", f"/products/{number}")
        card = cards[f"ART{n + 1:06d}"]
        if Decimal(product["regular_price"]) != card.gross:
            yield f"{code} costs {product['regular_price']} in the shop and {card.gross} at the back office"
        if product["sku"] != card.code:
            yield f"{code} has the SKU {product['sku']} in the shop and {card.code} at the back office"
        if (product["name"], product["description"]) != (f"Article {n}", f"Texte {n}"):
            yield f"{code}: a field that nobody gave us was changed"


def _stock(world: World) -> Iterator[str]:
    taken = _taken(world, "BC")
    promised: Counter[int] = Counter()
    for order in _all(world, "/orders?status=any"):
        if _passes(order) and not taken[str(order["number"])]:
            for line in order["line_items"]:
                promised[line["product_id"]] += line["quantity"]
    cards = {card.identity: card for card in world.books.catalogue.items.values()}
    for n, (code, number) in enumerate(world.products.items()):
        card = cards[f"ART{n + 1:06d}"]
        free = sum(card.real.values(), Decimal(0)) - card.booked - promised[number]
        shown = world.call("GET", f"/products/{number}")["stock_quantity"]
        if shown != max(int(free), 0):
            yield f"{code}: the shop offers {shown}, the rule says {max(int(free), 0)}"


def _nothing_left(audit: Audit) -> Iterator[str]:
    for what, count in audit.unfinished().items():
        if count:
            yield f"{count} {what} are left"
