"""What must hold once the faults have stopped and the system has settled. Each violation is one sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any

from comptoir.simulation.day import Day
from comptoir.simulation.hooks import Hooks
from comptoir.simulation.world import DEPOT_SECRET, SECRET, World
from comptoir.store.audit import Audit

__all__ = ["Oracle"]

_PASSES = {"processing", "completed", "refunded"}
_BOOKED = _PASSES


class Oracle:
    """Compares what the shops, the back office and the storehouse hold with each other and with the store."""

    def __init__(self, world: World, day: Day, hooks: Hooks) -> None:
        self._world = world
        self._day = day
        self._hooks = hooks
        self._lent = world.connections.take()
        self._audit = Audit(world.connections.url, self._lent)
        self._shop = day.fronts["boutique"]

    def close(self) -> None:
        """Lets the store go."""
        self._world.connections.give_back(self._lent)

    def written(self) -> tuple[int, ...]:
        """How much was written to each of the others until now."""
        world = self._world
        return (
            len(world.shop.written),
            len(world.books.documents),
            sum(len(o.taken) for o in world.books.outcomes),
            world.accountant.pieces.total(),
            sum(world.depot.orders.values()),
        )

    def kept(self) -> dict[str, str]:
        """A digest of each kind of content of the store."""
        return self._audit.kept()

    def held(self) -> bool:
        """Whether a plan waits for the merchant."""
        return self._audit.held() > 0

    def uncounted(self) -> bool:
        """Whether an order was taken since the back office counted what was read: it is still kept for its buyer."""
        return self._audit.uncounted("gesco") > 0

    def unfinished(self) -> bool:
        """Whether something waits that nobody has to look at."""
        return any(self._audit.unfinished().values())

    def violations(self) -> list[str]:
        """Everything that is not as promised."""
        return [
            *self._at_the_office(),
            *self._at_the_depot(),
            *self._refunds(),
            *(v for name in self._world.shops for v in self._known(name)),
            *self._people(),
            *self._catalogue(),
            *self._stock(),
            *self._books(),
            *self._nothing_left(),
            *self._cases(),
            *self._told_once(),
            *self._private(),
        ]

    # -- orders --------------------------------------------------------------------------------------------------

    def _all(self, path: str, name: str = "boutique") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            rows = self._world.call("GET", f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}", None, name)
            found += rows
            if len(rows) < 100:
                return found
            page += 1

    @cached_property
    def _orders(self) -> list[dict[str, Any]]:
        """The shop's orders since the cutover."""
        return [o for o in self._all("/orders?status=any") if o["id"] not in self._world.history]

    def _taken(self, kind: str) -> Counter[str]:
        """How often EBP holds each of the hub's numbers."""
        return Counter(d.reference.rsplit(" ", 1)[-1] for d in self._world.books.documents if d.kind == kind)

    def _at_the_office(self) -> Iterator[str]:
        yield from self._once("the back office", self._taken("BC"))

    def _at_the_depot(self) -> Iterator[str]:
        if self._world.scene.depot:
            yield from self._once("the storehouse", self._world.depot.orders)

    def _once(self, where: str, taken: Counter[str]) -> Iterator[str]:
        for order in self._orders:
            number, times = order["id"], taken.pop(str(order["number"]), 0)
            if _passes(order) and times != 1:
                yield f"order {number} ({order['status']}) is {times} times at {where}"
            elif times > 1:
                yield f"order {number} ({order['status']}) is doubled at {where}"
            elif times and number not in self._shop.sold:
                yield f"order {number} ({order['status']}) went out to {where} and never should have"
        for number, times in taken.items():
            if number not in self._shop.trashed or times > 1:
                yield f"{where} holds {number} {times} times, which the shop does not know"

    def _refunds(self) -> Iterator[str]:
        taken = self._taken("AV")
        for order in self._orders:
            for refund in order["refunds"]:
                times = taken.pop(f"AV{refund['id']}", 0)
                if _passes(order) and times != 1:
                    yield f"refund {refund['id']} of order {order['id']} is {times} times at the back office"
        for number, times in taken.items():
            if times > 1:
                yield f"refund {number} is {times} times at the back office"

    def _known(self, name: str) -> Iterator[str]:
        """Every order is known, as it is now."""
        known = self._audit.orders(name)
        for order in self._all("/orders?status=any", name):
            row = known.get(str(order["id"]))
            if row is None:
                yield f"{name}: order {order['id']} is not known"
            elif (row.status, row.total) != (order["status"], Decimal(order["total"])):
                yield (
                    f"{name}: order {order['id']} is {row.status} {row.total} here and {order['status']} "
                    f"{order['total']} in the shop"
                )
            elif row.total != row.computed + row.residual:
                yield f"{name}: order {order['id']}: total {row.total}, computed {row.computed} and {row.residual}"
            elif order["id"] not in self._world.history and _digits(row.phone) != _digits(order["billing"]["phone"]):
                yield f"{name}: order {order['id']}: the edit of its telephone number did not arrive"

    def _people(self) -> Iterator[str]:
        known = self._audit.customers("boutique")
        for customer in self._all("/customers?role=customer"):
            city, number = customer["billing"]["city"], customer["id"]
            if city and city not in known.get(str(number), ()):
                yield f"customer {number} lives in {city} in the shop and in {known.get(str(number))} here"
            yield from self._both_ways(customer)

    def _both_ways(self, customer: dict[str, Any]) -> Iterator[str]:
        """What the operator changed since the two were first compared, both show; what he wrote before is his own."""
        number = str(customer["id"])
        code = self._day.corrected.get(number)
        if code is None:
            return
        card = self._world.books.customers[code]
        here = _digits(customer["billing"]["phone"]), customer["billing"]["city"]
        there = _digits(card["Client - Téléphone fixe (facturation)"]), card["Client - Ville (facturation)"]
        if here != there:
            yield f"customer {number} shows {here} in the shop and {there} at the back office"

    # -- items and stock -----------------------------------------------------------------------------------------

    def _cards(self) -> list[tuple[int, Any]]:
        cards = {card.identity: card for card in self._world.books.catalogue.items.values()}
        return [(number, cards[f"ART{n + 1:06d}"]) for n, number in enumerate(self._world.products.values())]

    def _catalogue(self) -> Iterator[str]:
        for n, (number, card) in enumerate(self._cards()):
            product = self._world.call("GET", f"/products/{number}")
            if Decimal(product["regular_price"]) != card.gross:
                yield f"product {number} costs {product['regular_price']} in the shop, {card.gross} at the back office"
            if product["sku"] != card.code:
                yield f"product {number} has the SKU {product['sku']} in the shop and {card.code} at the back office"
            if (product["name"], product["description"]) != (f"Article {n}", f"Texte {n}"):
                yield f"product {number}: a field that nobody gave us was changed"

    def _stock(self) -> Iterator[str]:
        taken = self._taken("BC")
        promised: Counter[int] = Counter()
        for order in self._orders:
            if _passes(order) and not taken[str(order["number"])]:
                for line in order["line_items"]:
                    promised[line["product_id"]] += line["quantity"]
        for number, card in self._cards():
            free = sum(card.real.values(), Decimal(0)) - card.booked - promised[number]
            shown = self._world.call("GET", f"/products/{number}")["stock_quantity"]
            if shown != max(int(free), 0):
                yield f"product {number}: the shop offers {shown}, the rule says {max(int(free), 0)}"

    # -- books ---------------------------------------------------------------------------------------------------

    def _books(self) -> Iterator[str]:
        if not self._world.scene.books:
            return
        booked = self._audit.booked("atelier")
        for order in self._all("/orders?status=any", "atelier"):
            refunded = sum((Decimal(r["total"]) for r in order["refunds"]), Decimal(0))
            if refunded and order["status"] not in _BOOKED:
                continue  # a person looks at it
            wanted = Decimal(order["total"]) + refunded if order["status"] in _BOOKED else Decimal(0)
            if booked.get(str(order["id"]), Decimal(0)) != wanted:
                yield (
                    f"order {order['id']} of the atelier ({order['status']}) earned {wanted}, "
                    f"{booked.get(str(order['id']))} is booked"
                )
        count, balances = self._audit.accounts()
        accountant = self._world.accountant
        yield from (f"the accountant cannot read {name}: {why}" for name, why in accountant.unreadable)
        yield from (f"the accountant refuses piece {piece}: {why}" for piece, why in accountant.refused)
        for (journal, piece), times in accountant.pieces.items():
            if times > 1:
                yield f"the accountant holds piece {piece} of {journal} {times} times"
        if count != accountant.pieces.total():
            yield f"{count} entries are in the journal, the accountant holds {accountant.pieces.total()}"
        theirs = accountant.balances
        for account in balances.keys() | theirs.keys():
            if balances.get(account, 0) != theirs.get(account, 0):
                yield f"account {account}: {balances.get(account)} here, {theirs.get(account)} at the accountant's"
        yield from (f"not proved: {words}" for words in self._world.unproved())

    # -- the store -----------------------------------------------------------------------------------------------

    def _nothing_left(self) -> Iterator[str]:
        for what, count in self._audit.unfinished().items():
            if count:
                yield f"{count} {what} are left"

    def _cases(self) -> Iterator[str]:
        """Nobody is asked to look at what is in order."""
        both = set(self._day.corrected.values())
        for case in self._audit.open_cases():
            if case.cause == "conflict" and case.external_id in both:
                continue  # the customer moved house while the operator corrected the card: a person chooses
            if case.cause not in ("changed_after_delivery", "refund_before_sale"):
                yield f"{case.entity} {case.external_id} is parked ({case.cause}): {case.message}"

    def _told_once(self) -> Iterator[str]:
        stored = self._audit.hints()
        if stored > len(self._hooks.sent):
            yield f"{len(self._hooks.sent)} hints came with webhooks, {stored} were stored"

    def _private(self) -> Iterator[str]:
        world = self._world
        secrets = [SECRET, DEPOT_SECRET]
        secrets += [text for shop in world.shops.values() for text in (shop.key, shop.secret)]
        texts = [*self._day.names, *secrets]
        yield from (f"personal data or a secret in {place}" for place in self._audit.places_of(texts))
        pattern = re.compile("|".join(map(re.escape, texts)), re.I)
        yield from (f"personal data or a secret in the log: {line}" for line in world.log if pattern.search(line))
        for folder in ("exchange", "books"):
            for path in sorted((world.folder / folder / ".comptoir").rglob("*")):
                if path.is_file() and pattern.search(path.read_text("utf-8", "replace")):
                    yield f"personal data or a secret in {path.relative_to(world.folder)}"


def _passes(order: dict[str, Any]) -> bool:
    return order["status"] in _PASSES or (order["status"] == "on-hold" and order["payment_method"] == "bacs")


def _digits(text: str | None) -> str:
    """A telephone number's own digits, however it is written."""
    return re.sub(r"\D", "", text or "").removeprefix("00").removeprefix("33").removeprefix("0")
