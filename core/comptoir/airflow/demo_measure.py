"""How long an order takes from its webhook to its confirmation: alone, in a burst, and without any webhook.

Every figure is the difference of two moments in the store: when the gateway stored the first webhook about an order
(`inbox.received_at`), and when the target had confirmed it (`delivery.settled_at`; an order that the hub books counts
when all of its entries are). What is ordered is a gift card, which has no stock: so that what is measured is the way
of the order, and not of the stock levels that follow from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from comptoir.airflow.demo_store import DemoStore, Passage
from comptoir.airflow.demo_story import Merchant

__all__ = ["WAYS", "Figures", "Measure", "Way", "percentile"]

SKU: Final = "CARTE"
_PATIENCE: Final = 180.0


@dataclass(frozen=True, slots=True)
class Way:
    """The way of an order: from a shop by a route to a target. `booked`: it arrives as journal entries."""

    shop: str
    route: str
    target: str
    booked: bool


WAYS: Final = (Way("boutique", "orders", "gesco", False), Way("atelier", "books", "compta", True))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; ValueError without values."""
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of a series of orders; `asked` is how many there should be."""

    name: str
    asked: int
    seconds: Sequence[float]

    @property
    def whole(self) -> bool:
        """Every order arrived, and by a webhook."""
        return len(self.seconds) == self.asked > 0

    def __str__(self) -> str:
        if not self.seconds:
            return f"0 of {self.asked} arrived"
        p50, p95 = percentile(self.seconds, 0.5), percentile(self.seconds, 0.95)
        arrived = f"{len(self.seconds)}" if self.whole else f"{len(self.seconds)} of {self.asked}"
        return f"{arrived} orders: p50 {p50:.1f} s, p95 {p95:.1f} s, longest {max(self.seconds):.1f} s"


@dataclass(slots=True)
class _Lane:
    """One way on which orders are placed one at a time."""

    way: Way
    left: int
    number: str | None = None
    since: float = 0.0
    done: list[Passage] = field(default_factory=list)


class Measure:
    """Places orders and waits for them. `tick` keeps the merchant's world going while there is nothing to do."""

    def __init__(self, merchant: Merchant, store: DemoStore, tick: Callable[[], None]) -> None:
        self._merchant = merchant
        self._store = store
        self._tick = tick

    def alone(self, count: int) -> Figures:
        """Orders one at a time on each way, each placed when no run of its route is under way: a run must be woken."""
        lanes = [_Lane(way, _share(count, n)) for n, way in enumerate(WAYS)]
        while any(lane.left or lane.number for lane in lanes):
            for lane in lanes:
                if not self._step(lane):
                    lane.left, lane.number = 0, None
            self._tick()
        passages = [passage for lane in lanes for passage in lane.done]
        return Figures("alone", count, _by_webhook(passages))

    def _step(self, lane: _Lane) -> bool:
        """Places the next order or looks for the one that is under way; False when it does not come."""
        now, way = time.monotonic(), lane.way
        if lane.number is None:
            if lane.left and not self._store.at_work(way.route):
                lane.number, lane.since = self._merchant.sell(way.shop, SKU, 1), now
                lane.left -= 1
            return True
        found = self._passages(way, [lane.number])
        if found:
            lane.done += found
            lane.number = None
            return True
        return now - lane.since < _PATIENCE

    def burst(self, count: int) -> Figures:
        """Orders that are all placed at one moment, on both ways, while no run of their routes is under way."""
        deadline = time.monotonic() + _PATIENCE
        while any(self._store.at_work(way.route) for way in WAYS) and time.monotonic() < deadline:
            self._tick()
        numbers = {way: [self._merchant.sell(way.shop, SKU, 1) for _ in range(_share(count, n))]
                   for n, way in enumerate(WAYS)}  # fmt: skip
        deadline = time.monotonic() + _PATIENCE
        while True:
            self._tick()
            found = [passage for way, placed in numbers.items() for passage in self._passages(way, placed)]
            if len(found) == count or time.monotonic() > deadline:
                return Figures("in a burst", count, _by_webhook(found))

    def without_webhooks(self, count: int) -> Callable[[], Figures]:
        """Places orders on both ways now; what is returned looks how long each took since, so far."""
        placed: dict[Way, dict[str, datetime]] = {way: {} for way in WAYS}
        for n, way in enumerate(WAYS):
            for _ in range(_share(count, n)):
                begun = self._merchant.now()
                placed[way][self._merchant.sell(way.shop, SKU, 1)] = begun

        def look() -> Figures:
            seconds = []
            for way, moments in placed.items():
                for passage in self._passages(way, list(moments)):
                    if passage.received_at is None:
                        seconds.append(passage.seconds(moments[passage.number]))
            return Figures("without webhooks", count, seconds)

        return look

    def _passages(self, way: Way, numbers: Sequence[str]) -> list[Passage]:
        return list(self._store.passages(way.shop, way.target, numbers, booked=way.booked).values())


def _share(count: int, position: int) -> int:
    return count // len(WAYS) + (position < count % len(WAYS))


def _by_webhook(passages: Sequence[Passage]) -> list[float]:
    return [passage.seconds() for passage in passages if passage.received_at is not None]
