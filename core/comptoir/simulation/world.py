"""One simulated merchant: his shops, back office and storehouse, his installation, and the seed that decides all.

Connectors are found by their entry points; their sandboxes stand beside them (`<package>.sandbox`).
"""

from __future__ import annotations

import base64
import functools
import importlib
import logging
import random
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from comptoir.app.bootstrap import Installation, check_installation, hub_of
from comptoir.app.connectors import load_connector
from comptoir.app.proof import prove_books
from comptoir.app.run_route import deliver_route, run_route
from comptoir.engine.hub import Hub
from comptoir.engine.limits import StoreBuckets
from comptoir.engine.ports import Ports
from comptoir.sdk.ports import HttpRequest
from comptoir.sdk.protocols import Connector, Credentials
from comptoir.simulation.accountant import Accountant
from comptoir.simulation.depot import ORDER_MAPPING, Depot, DepotConnector
from comptoir.simulation.network import Network
from comptoir.simulation.ports import SimDatabase, SimIds, SimRandom, SimTransport, plain_tasks
from comptoir.simulation.scene import Scene
from comptoir.simulation.workers import Chances, Clock, Time, Worker, Workers
from comptoir.store.reset import Connections

__all__ = ["DEPOT_SECRET", "SECRET", "Refused", "World"]

SECRET = "simulated-webhook-secret"  # noqa: S105 - of a shop that does not exist
DEPOT_SECRET = "simulated-depot-secret"  # noqa: S105 - of a storehouse that does not exist
#: Stored together: so small that a read of some pages is several transactions.
_BATCH = 40
#: Tasks that are taken for dead in one seed, at most: each of their successors may stand still too.
_INSTEAD = 12
_CODES = {"boutique": "ART", "atelier": "ATL"}
#: What was compiled for a seed serves the next: a mapping does not depend on who runs it.
_MAPPINGS: dict[Any, Any] = {}


class Refused(Exception):
    """The shop does not do what a person asked of it."""


class _Secrets:
    def __init__(self, shops: dict[str, Any]) -> None:
        self._shops = shops

    def get(self, connection: str) -> Credentials | None:
        """The keys of a shop; the back office has none."""
        if connection == "depot":
            return Credentials(host="https://depot.test", login="depot", password=DEPOT_SECRET)
        shop = self._shops.get(connection)
        if shop is None:
            return None
        return Credentials(host=shop.home, login=shop.key, password=shop.secret, extra={"webhook_secret": SECRET})


class _Ear(logging.Handler):
    """Hears what the installation logs."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line."""
        self._lines.append(record.getMessage())


class World:
    """Everything of one seed. `story` tells what happened, in order; `wrong` what was seen to be wrong on the way."""

    def __init__(self, seed: int, folder: Path, connections: Connections, scene: Scene, *, items: int = 6) -> None:
        self.seed = seed
        self.scene = scene
        self.connections = connections
        self.dice = random.Random(seed)
        self.time = Time(scene.start)
        self.story: list[str] = []
        self.wrong: list[str] = []
        self.log: list[str] = []
        self.workers = Workers(self.time, self.dice, Chances(), self.tell)
        self.network = Network(scene, self.time, self.dice, self.tell)
        self._prepare(folder)
        woo, ebp = (_sandbox(key) for key in ("woocommerce", "ebp"))
        self.shop_clock = Clock(self.time, scene.shop_skew)
        self.shops: dict[str, Any] = {}
        for n, name in enumerate(["boutique", *(["atelier"] if scene.books else [])]):
            self.shops[name] = woo.WooCommerceSandbox(
                clock=self.shop_clock, seed=seed + n, customers_count=3, home=f"https://{name}.test",
                version="11.0.1" if scene.modern else "7.9.0",
            )  # fmt: skip
            self.network.handlers[f"{name}.test"] = self.shops[name].handle
        self.shop = self.shops["boutique"]
        self.books = ebp.EbpBooks()
        self.office = ebp.EbpSandbox(self.folder / "exchange", books=self.books, now=lambda: self.time.now)
        self.accountant = Accountant(scene.program, scene.takes, self.folder / "books", _sandbox, lambda: self.time.now)
        if scene.books:
            self.tell(f"the accountant works with {scene.program}")
        self.depot = Depot(lambda: self.time.elapsed)
        self.network.handlers["depot.test"] = self.depot.handle
        self.random = SimRandom(self.dice)
        self.ids = SimIds(self.time)
        self.installation = _installation(self.config)
        #: Whether an article got another code.
        self.renamed = False
        self._instead = 0
        self._vault: Any = None
        self._stock_catalogue(items)

    def _prepare(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists():
            shutil.rmtree(folder)
        for name in ("exchange", "books", "mappings/depot"):
            (folder / name).mkdir(parents=True)
        self.config = folder / "comptoir.toml"
        self.config.write_text(self.scene.config, encoding="utf-8")
        (folder / "mappings/depot/order.out.yaml").write_text(ORDER_MAPPING, encoding="utf-8")
        self.connections.empty()

    def _stock_catalogue(self, items: int) -> None:
        """The same articles on both sides, as the merchant typed them."""
        self.products: dict[str, int] = {}
        self.made: dict[str, list[int]] = {}
        for name, shop in self.shops.items():
            shop.products.clear()
            self.made[name] = []
            for n in range(items if name == "boutique" else 3):
                code, gross = f"{_CODES[name]}-{n}", Decimal(self.dice.randrange(500, 9000)) / 100
                stock = self.dice.randrange(5, 60)
                made = self.call(
                    "POST", "/products",
                    {"name": f"Article {n}", "sku": code, "regular_price": str(gross), "manage_stock": True,
                     "stock_quantity": stock, "description": f"Texte {n}"},
                    name,
                )  # fmt: skip
                self.made[name].append(made["id"])
                if name == "boutique":
                    self.products[code] = made["id"]
                    net = (gross / Decimal("1.2")).quantize(Decimal("0.01"))
                    self.books.catalogue.add(code, f"ARTICLE {n}", net, gross, Decimal(20), stock=Decimal(stock))
            if self.scene.history and name == "boutique":
                shop.seed_orders(self.scene.history)
        self.history = frozenset(self.shop.orders)

    def tell(self, what: str) -> None:
        """One more line of the story."""
        self.story.append(f"{self.time.now:%d %H:%M:%S} {what}")

    @property
    def chances(self) -> Chances:
        """How likely things go wrong now."""
        return self.workers.chances

    @chances.setter
    def chances(self, chances: Chances) -> None:
        self.workers.chances = self.network.chances = chances

    # -- the merchant at his shop --------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, name: str = "boutique") -> Any:
        """What the merchant or a buyer does in a shop: answered at once, without faults."""
        shop = self.shops[name]
        headers = {
            "content-type": "application/json",
            "authorization": "Basic " + base64.b64encode(f"{shop.key}:{shop.secret}".encode()).decode(),
        }
        data = None if body is None else orjson.dumps(body)
        answer = shop.handle(HttpRequest(method, f"{shop.home}/wp-json/wc/v3{path}", headers, data))
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return orjson.loads(answer.body)

    # -- the installation ----------------------------------------------------------------------------------------

    def hub(self, worker: Worker) -> Hub:
        """The installation as one process opens it."""
        clock = Clock(self.time, self.dice.choice(self.scene.host_skews), worker.sleep)
        ports = Ports(
            clock=clock,
            ids=self.ids,
            random=self.random,
            tasks=plain_tasks(),
            transport=SimTransport(worker, self.time, self.dice, self.network),
            secrets=_Secrets(self.shops),
        )
        database, limits = self.database(worker), self.database(worker)
        hub = hub_of(self.installation, ports, database, StoreBuckets(limits, ports.tasks), None)
        load = hub.load_mapping
        hub.load_mapping = lambda *key: _MAPPINGS.get(key) or _MAPPINGS.setdefault(key, load(*key))
        hub.batch_records = _BATCH
        self._vault = self._vault or hub.vault
        hub.vault = self._vault
        return hub

    def database(self, worker: Worker) -> SimDatabase:
        """The store as one process opens it."""
        return SimDatabase(self.connections.url, worker, self.time, self.connections, self.scene.store_skew)

    def run(self, *jobs: tuple[str, str]) -> list[Worker]:
        """Runs (route, mode) jobs side by side in processes of their own."""

        def job(route: str, mode: Any) -> Callable[[Worker], Any]:
            return lambda worker: run_route(self.hub(worker), route, mode=mode)

        # One route has one run at a time, as Airflow keeps it; two modes of it are two runs.
        ended = self.workers.run([(f"{route}/{mode}", job(route, mode)) for route, mode in jobs])
        for worker in ended:
            if worker.error is None:
                self._ended(worker)
        return ended

    def approve(self, route: str) -> None:
        """The merchant has looked at what a route holds back (a price that moves by more than half), and lets it go."""
        self.tell(f"the plan of {route} is approved")
        self.workers.run([(f"{route}/approve", lambda worker: deliver_route(self.hub(worker), route, approve=True))])

    def unproved(self) -> list[str]:
        """What the penny proof of everything that was booked finds wrong, in a process of its own."""
        (ended,) = self.workers.run([("proof", lambda worker: prove_books(self.hub(worker)).violations())])
        if ended.error is not None:
            return [f"the proof ended: {ended.error}"]
        found: list[str] = ended.result
        return found

    def instead(self, worker: Worker) -> None:
        """A scheduler that hears nothing of a task takes it for dead, and starts it on another machine."""
        route, _, mode = worker.name.partition("/")
        if mode and self._instead < _INSTEAD and self.dice.random() < 0.5:
            self._instead += 1
            self.tell(f"{worker.name} is taken for dead")
            again: Any = mode
            self.workers.start(f"{route}/{again}", lambda other: run_route(self.hub(other), route, mode=again))

    def _ended(self, worker: Worker) -> None:
        report = worker.result
        counts = report.main
        self.tell(
            f"{worker.name}: {counts.considered} considered, {counts.changed} changed, {counts.delivered} delivered"
        )
        for entity, c in report.entities.items():
            if c.considered != c.unchanged + c.changed + c.skipped + c.quarantined:
                self.wrong.append(f"{worker.name}: {entity.value} considered {c.considered}, outcomes {c.as_dict()}")


def listening(world: World) -> _Ear:
    """What hears the installation's log of this world."""
    return _Ear(world.log)


def _installation(config: Path) -> Installation:
    return check_installation(config, _connector)


@functools.cache
def _connector(key: str, folder: Path | None = None) -> type[Connector]:
    del folder
    return DepotConnector if key == "depot" else load_connector(key)


def _sandbox(key: str) -> Any:
    package = _connector(key).__module__.split(".")[0]
    return importlib.import_module(f"{package}.sandbox")
