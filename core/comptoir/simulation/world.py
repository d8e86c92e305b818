"""One simulated merchant: a shop, a back office, his installation, and the seed that decides everything.

Connectors are found by their entry points; their sandboxes stand beside them (`<package>.sandbox`).
"""

from __future__ import annotations

import importlib
import random
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from comptoir.app.bootstrap import check_installation, hub_of
from comptoir.app.connectors import load_connector
from comptoir.app.run_route import run_route
from comptoir.engine.hub import Hub
from comptoir.engine.limits import StoreBuckets
from comptoir.engine.ports import Ports
from comptoir.errors import ComptoirError
from comptoir.sdk.ports import HttpRequest, HttpResponse
from comptoir.sdk.protocols import Credentials, ReceivesWebhooks, WebhookRequest
from comptoir.simulation.ports import SimDatabase, SimIds, SimRandom, SimTransport, plain_tasks
from comptoir.simulation.workers import Chances, Clock, Time, Worker, Workers
from comptoir.store.inbox import Inbox
from comptoir.store.reset import empty, forget_cursors

__all__ = ["CONFIG", "Refused", "World"]

CONFIG = """\
[company]
name = "Maison Simulée"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange"
item_identity = "Article - Identifiant unique"
quiet_seconds = 0

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
triggers = ["webhook"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]
triggers = ["webhook"]

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
triggers = ["webhook"]
"""
_START = datetime(2026, 3, 27, 6, 0, tzinfo=UTC)
_FAULTS = ("status", "status", "html", "empty", "refused", "timeout", "cut", "lost")
_SECRET = "simulated-webhook-secret"  # noqa: S105 - of a shop that does not exist


class Refused(Exception):
    """The shop does not do what a person asked of it."""


class _Secrets:
    def __init__(self, shop: Any) -> None:
        self._shop = shop

    def get(self, connection: str) -> Credentials | None:
        """The shop's keys; the back office has none."""
        if connection != "boutique":
            return None
        shop = self._shop
        return Credentials(host=shop.home, login=shop.key, password=shop.secret, extra={"webhook_secret": _SECRET})


class World:
    """Everything of one seed. `story` tells what happened, in order."""

    def __init__(self, seed: int, folder: Path, url: str, *, items: int = 6) -> None:
        self.seed = seed
        self.url = url
        self.dice = random.Random(seed)
        self.time = Time(_START)
        self.story: list[str] = []
        self.chances = Chances()
        self.workers = Workers(self.time, self.dice, self.chances, self.tell)
        self._prepare(folder)
        woo, ebp = (_sandbox(key) for key in ("woocommerce", "ebp"))
        self._dropped: type[Exception] = woo.Dropped
        self.shop_clock = Clock(self.time)
        self.shop = woo.WooCommerceSandbox(clock=self.shop_clock, seed=seed, customers_count=3)
        self.books = ebp.EbpBooks()
        self.office = ebp.EbpSandbox(self.exchange, books=self.books, now=lambda: self.time.now)
        self.random = SimRandom(self.dice)
        self.ids = SimIds(self.time)
        self.installation = check_installation(self.config)
        self._mappings: dict[Any, Any] = {}
        self._vault: Any = None
        self._late: list[tuple[float, Any]] = []
        self._stock_catalogue(items)

    def _prepare(self, folder: Path) -> None:
        self.folder = folder
        self.exchange = folder / "exchange"
        if folder.exists():
            shutil.rmtree(folder)
        self.exchange.mkdir(parents=True)
        self.config = folder / "comptoir.toml"
        self.config.write_text(CONFIG, encoding="utf-8")
        empty(self.url)

    def _stock_catalogue(self, items: int) -> None:
        """The same articles on both sides, as the merchant typed them."""
        self.shop.products.clear()
        self.products: dict[str, int] = {}
        for n in range(items):
            code, gross = f"ART-{n}", Decimal(self.dice.randrange(500, 9000)) / 100
            stock = self.dice.randrange(5, 60)
            made = self.call(
                "POST", "/products",
                {"name": f"Article {n}", "sku": code, "regular_price": str(gross), "manage_stock": True,
                 "stock_quantity": stock, "description": f"Texte {n}"},
            )  # fmt: skip
            self.products[code] = made["id"]
            net = (gross / Decimal("1.2")).quantize(Decimal("0.01"))
            self.books.catalogue.add(code, f"ARTICLE {n}", net, gross, Decimal(20), stock=Decimal(stock))

    def tell(self, what: str) -> None:
        """One more line of the story."""
        self.story.append(f"{self.time.now:%d %H:%M:%S} {what}")

    # -- the merchant at his shop --------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What the merchant or a buyer does in the shop: answered at once, without faults."""
        from woocommerce.oauth import OAuth

        url = f"{self.shop.home}/wp-json/wc/v3{path}"
        stamp = int(self.shop_clock.now().timestamp())
        signed = OAuth(
            url, self.shop.key, self.shop.secret, version="wc/v3", method=method, oauth_timestamp=stamp
        ).get_oauth_url()
        data = None if body is None else orjson.dumps(body)
        answer = self.shop.handle(HttpRequest(method, signed, {"content-type": "application/json"}, data))
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return orjson.loads(answer.body)

    # -- the installation ----------------------------------------------------------------------------------------

    def hub(self, worker: Worker) -> Hub:
        """The installation as one process opens it."""
        clock = Clock(self.time, sleep=worker.sleep)
        handlers: dict[str, Callable[[HttpRequest], HttpResponse]] = {"shop.test": self.shop.handle}
        ports = Ports(
            clock=clock,
            ids=self.ids,
            random=self.random,
            tasks=plain_tasks(),
            transport=SimTransport(worker, self.time, self.dice, handlers, self._dropped, self._fault),
            secrets=_Secrets(self.shop),
        )
        database = SimDatabase(self.url, worker, self.time)
        limits = SimDatabase(self.url, worker, self.time)
        hub = hub_of(self.installation, ports, database, StoreBuckets(limits, ports.tasks), None)
        # Compiled once for all processes of a seed: what a mapping is does not depend on who runs it.
        load = hub.load_mapping
        hub.load_mapping = lambda *key: self._mappings.get(key) or self._mappings.setdefault(key, load(*key))
        self._vault = self._vault or hub.vault
        hub.vault = self._vault
        return hub

    def _fault(self, host: str, request: HttpRequest) -> None:
        if host != "shop.test" or self.dice.random() >= self.chances.fault:
            return
        kind = self.dice.choice(_FAULTS)
        status = self.dice.choice((429, 500, 502, 503))
        after = str(self.dice.randrange(1, 90)) if status == 429 and self.dice.random() < 0.5 else None
        self.shop.faults.clear()
        self.shop.faults.fail_next(1, kind, status=status, retry_after=after)
        self.tell(f"the shop answers {request.method} with {kind} {status if kind == 'status' else ''}".rstrip())

    def run(self, *jobs: tuple[str, str]) -> list[Worker]:
        """Runs (route, mode) jobs side by side in processes of their own."""

        def job(route: str, mode: Any) -> Callable[[Worker], Any]:
            return lambda worker: run_route(self.hub(worker), route, mode=mode)

        ended = self.workers.run([(f"{route}/{mode}", job(route, mode)) for route, mode in jobs])
        self.shop.faults.clear()
        for worker in ended:
            if worker.error is None:
                counts = worker.result.main
                self.tell(
                    f"{worker.name}: {counts.considered} considered, {counts.changed} changed, "
                    f"{counts.delivered} delivered"
                )
        return ended

    def forget_cursors(self) -> None:
        """Every read begins at the beginning again."""
        forget_cursors(self.url)

    # -- webhooks ------------------------------------------------------------------------------------------------

    def subscribe(self) -> None:
        """The shop's webhooks, as the merchant set them up."""
        for topic in ("order.created", "order.updated", "product.updated", "customer.updated"):
            self.call(
                "POST", "/webhooks",
                {"topic": topic, "delivery_url": "http://hub.test/hooks/boutique", "secret": _SECRET, "name": topic},
            )  # fmt: skip
        self.post_webhooks(lost=1.0)

    def post_webhooks(self, *, lost: float = 0.0, doubled: float = 0.0, late: float = 0.0) -> None:
        """What the shop's queue sends now; some are lost, doubled, late or in another order."""
        pending = list(self.shop.webhooks.pending_deliveries())
        due = [request for at, request in self._late if at <= self.time.elapsed]
        self._late = [(at, request) for at, request in self._late if at > self.time.elapsed]
        self.dice.shuffle(pending)
        arriving: list[Any] = []
        for request in pending:
            roll = self.dice.random()
            if roll < lost:
                continue
            if roll < lost + late:
                self._late.append((self.time.elapsed + self.dice.uniform(60, 7200), request))
                continue
            arriving += [request] * (3 if self.dice.random() < doubled else 1)
        for request in (*due, *arriving):
            self._receive(request)

    def _receive(self, request: Any) -> None:
        def work(worker: Worker) -> None:
            hub = self.hub(worker)
            connector = hub.link("boutique").open()
            if not isinstance(connector, ReceivesWebhooks):
                raise TypeError("the shop's connector takes no webhooks")
            headers: Mapping[str, str] = {k.lower(): v for k, v in dict(request.headers).items()}
            try:
                delivery = connector.verify(WebhookRequest(headers, request.body, self.time.now))
            except ComptoirError as error:
                self.tell(f"webhook refused: {error.message}")
                return
            with hub.database.transaction() as session:
                Inbox(session).add("boutique", delivery.dedupe_key, delivery.hints, self.time.now)

        before, self.workers.chances = self.workers.chances, Chances()
        self.workers.run([("gateway", work)])
        self.workers.chances = before


def _sandbox(key: str) -> Any:
    package = load_connector(key).__module__.split(".")[0]
    return importlib.import_module(f"{package}.sandbox")
