"""A merchant for integration tests: configuration, sandbox shops behind the transport port, real PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psycopg

from comptoir.app.bootstrap import open_hub, system_ports
from comptoir.app.run_route import run_route
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub
from comptoir.engine.ports import Ports
from comptoir.errors import TransientError
from comptoir.sdk import Clock, Credentials, HttpRequest, HttpResponse
from comptoir_woocommerce.sandbox import SandboxTransport, ServerClock, WooCommerceSandbox

CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]
schedule = "*/5 * * * *"
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
"""

SELF_CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "self"

[connections.compta]
connector = "ebp"
folder = "exchange/ebp"

[routes.books]
entity = "journal_entry"
from = "hub"
to = ["compta"]
"""


class _Router:
    """One transport for several sandboxes, by host name."""

    def __init__(self, shops: dict[str, WooCommerceSandbox]) -> None:
        self._by_host = {str(urlsplit(shop.home).hostname): SandboxTransport(shop) for shop in shops.values()}

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        host = str(urlsplit(request.url).hostname)
        if host not in self._by_host:
            raise TransientError(f"no connection: {host} is not known", code="no_connection")
        return self._by_host[host].send(request, timeout=timeout, max_bytes=max_bytes)


class _Secrets:
    def __init__(self, shops: dict[str, WooCommerceSandbox]) -> None:
        self._shops = shops

    def get(self, connection: str) -> Credentials | None:
        shop = self._shops.get(connection)
        return Credentials(host=shop.home, login=shop.key, password=shop.secret) if shop else None


class _NoWaiting(ServerClock):
    """Real time, but nobody waits for a retry."""

    def sleep(self, seconds: float) -> None:
        del seconds


class Merchant:
    """One installation in a temporary folder."""

    def __init__(self, folder: Path, url: str, config: str = CONFIG) -> None:
        self.folder = folder
        self.url = url
        self.config = folder / "comptoir.toml"
        self.config.write_text(config, encoding="utf-8")
        self.exchange = folder / "exchange" / "ebp"
        self.exchange.mkdir(parents=True, exist_ok=True)
        self.clock: Clock = _NoWaiting()
        self.shops: dict[str, WooCommerceSandbox] = {}
        #: True once a test serves its shops over real sockets.
        self.over_http = False

    @property
    def today(self) -> date:
        """The day that it is in the company's books: past midnight there it may still be yesterday in UTC."""
        return self.clock.now().astimezone(ZoneInfo("Europe/Paris")).date()

    def shop(self, name: str = "boutique", **settings: Any) -> WooCommerceSandbox:
        """Adds a sandbox shop under a connection's name."""
        shop = WooCommerceSandbox(clock=self.clock, home=f"http://{name}.test", **settings)
        self.shops[name] = shop
        return shop

    def ports(self) -> Ports:
        real = system_ports(_Secrets(self.shops))
        return Ports(
            clock=self.clock,
            ids=real.ids,
            random=real.random,
            tasks=real.tasks,
            transport=real.transport if self.over_http else _Router(self.shops),
            secrets=_Secrets(self.shops),
        )

    @contextmanager
    def hub(self) -> Iterator[Hub]:
        """An open hub."""
        with open_hub(self.config, ports=self.ports()) as hub:
            yield hub

    def run(self, route: str = "orders", change: Callable[[Hub], None] | None = None, **options: Any) -> RunReport:
        """Runs a route once, as a process of its own would."""
        with self.hub() as hub:
            if change is not None:
                change(hub)
            return run_route(hub, route, **options)

    def edit_config(self, old: str, new: str) -> None:
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    # -- what arrived ------------------------------------------------------------------------------------------

    def documents(self, stem: str = "COMMANDES") -> list[str]:
        """Numbers of the documents in all files of a kind, one per document and file."""
        found: list[str] = []
        for path in sorted((self.exchange / "import").glob(f"{stem}_*.CSV")):
            rows = list(csv.reader(io.StringIO(path.read_text("cp1252"), newline=""), delimiter=";"))
            numbers = [row[0] for row in rows[1:]]
            found += [number for n, number in enumerate(numbers) if n == 0 or numbers[n - 1] != number]
        return found

    def order_numbers(self) -> list[str]:
        """The shop's order numbers in the order files."""
        return sorted(number.rsplit("-", 1)[-1] for number in self.documents())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the store."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str) -> Any:
        """One value of the store."""
        return self.rows(query)[0][0]


def request_json(shop: WooCommerceSandbox, method: str, path: str, body: Any = None) -> Any:
    """A signed call of an independent client: what the merchant does in his shop."""
    from woocommerce.oauth import OAuth

    url = f"{shop.home}/wp-json/wc/v3{path}"
    signed = OAuth(
        url, shop.key, shop.secret, version="wc/v3", method=method, oauth_timestamp=int(shop.clock.now().timestamp())
    )
    data = None if body is None else json.dumps(body).encode()
    answer = shop.handle(HttpRequest(method, signed.get_oauth_url(), {"content-type": "application/json"}, data))
    assert answer.status < 300, (answer.status, answer.body[:300])
    return json.loads(answer.body)


def simple_order(**changes: Any) -> dict[str, Any]:
    """The body of a paid order of two mugs."""
    order = {
        "customer_id": 0,
        "payment_method": "stripe",
        "payment_method_title": "Carte",
        "set_paid": True,
        "billing": {
            "first_name": "Zoé", "last_name": "Lefèvre", "address_1": "5 rue de l'Église", "city": "Besançon",
            "postcode": "25000", "country": "FR", "email": "zoe@example.test", "phone": "+33 6 12 34 56 78",
        },
        "line_items": [{"sku": "MUG-001", "quantity": 2}],
        "shipping_lines": [{"method_id": "flat_rate", "method_title": "Colissimo", "total": "4.92"}],
    }  # fmt: skip
    return {**order, **changes}


__all__ = ["CONFIG", "SELF_CONFIG", "Merchant", "request_json", "simple_order"]
