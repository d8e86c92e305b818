"""The webhooks of the simulated shops on their way: lost, doubled, late, in another order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from comptoir.errors import ComptoirError
from comptoir.sdk.protocols import ReceivesWebhooks, WebhookRequest
from comptoir.simulation.workers import Worker
from comptoir.simulation.world import SECRET, World
from comptoir.store.inbox import Inbox

__all__ = ["Hooks"]

_TOPICS = ("order.created", "order.updated", "product.updated", "customer.updated")


class Hooks:
    """Takes what the shops send to the installation's gateway."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._late: list[tuple[float, str, Any]] = []
        #: The gateway is one process, which goes on: it opens a connector once.
        self._connectors: dict[str, Any] = {}
        #: Every hint that was ever sent: (shop, key of the delivery, entity, id).
        self.sent: set[tuple[str, str, str, str]] = set()

    def subscribe(self) -> None:
        """The shops' webhooks, as the merchant set them up."""
        for name in self._world.shops:
            # Nobody waits for the articles and customers of the shop that is only booked.
            for topic in _TOPICS if name == "boutique" else _TOPICS[:2]:
                body = {"topic": topic, "delivery_url": f"https://hub.test/hooks/{name}", "secret": SECRET}
                self._world.call("POST", "/webhooks", {**body, "name": topic}, name)
        self.post(lost=1.0)

    def post(self, *, lost: float = 0.0, doubled: float = 0.0, late: float = 0.0) -> None:
        """What the shops' queues send now."""
        world = self._world
        dice, now = world.dice, world.time.elapsed
        pending = [(name, request) for name, shop in world.shops.items() for request in _due(shop)]
        arriving = [(name, request) for at, name, request in self._late if at <= now]
        self._late = [held for held in self._late if held[0] > now]
        dice.shuffle(pending)
        for name, request in pending:
            roll = dice.random()
            if roll < lost:
                continue
            if roll < lost + late:
                self._late.append((now + dice.uniform(60, 7200), name, request))
                continue
            arriving.append((name, request))
            if dice.random() < doubled:
                arriving += [(name, request)] * 2
                self._late += [(now + dice.uniform(1, 3600), name, request) for _ in range(2)]
        for name, request in arriving:
            world.workers.start("gateway", partial(self._receive, name=name, request=request))

    def _receive(self, worker: Worker, name: str, request: Any) -> None:
        world = self._world
        status: int | None = 500
        try:
            connector = self._connectors.get(name) or world.hub(worker).link(name).open()
            if not isinstance(connector, ReceivesWebhooks):
                raise TypeError("the shop's connector takes no webhooks")
            self._connectors[name] = connector
            headers: Mapping[str, str] = {k.lower(): v for k, v in dict(request.headers).items()}
            delivery = connector.verify(WebhookRequest(headers, request.body, world.time.now))
            self.sent |= {(name, delivery.dedupe_key, h.entity.value, h.external_id) for h in delivery.hints}
            with world.database(worker).transaction() as session:
                Inbox(session).add(name, delivery.dedupe_key, delivery.hints, world.time.now)
            status = 200
        except ComptoirError as error:
            world.tell(f"webhook refused: {error.message}")
        finally:
            world.shops[name].webhooks.answered(request, status)


def _due(shop: Any) -> list[Any]:
    return list(shop.webhooks.pending_deliveries())
