"""A shop with state that answers as WooCommerce 7.9 or 11.0 was observed to answer. No clock of its own, no sockets."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from comptoir.sdk import Clock, HttpRequest, HttpResponse
from comptoir_woocommerce._sandbox import faults
from comptoir_woocommerce._sandbox.auth import Keys, Refused
from comptoir_woocommerce._sandbox.catalogue import Customer, Product, starting_products
from comptoir_woocommerce._sandbox.dice import Dice
from comptoir_woocommerce._sandbox.lists import ListQuery, Problem, page_headers
from comptoir_woocommerce._sandbox.money import Order, Rate, TaxRules
from comptoir_woocommerce._sandbox.render import Renderer
from comptoir_woocommerce._sandbox.seed import RATES, OrderMaker, OrderSlot, customers
from comptoir_woocommerce._sandbox.webhooks import HookedWrites, Webhooks

__all__ = ["LogEntry", "WooCommerceSandbox", "WriteEntry"]

API_PATH = "/wp-json/wc/v3"
_SECRET = re.compile(r"^(oauth_|consumer_)")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request that came in, without its credentials. Status 0: no whole answer went out."""

    method: str
    path: str
    query: str
    status: int


@dataclass(frozen=True, slots=True)
class WriteEntry:
    """One write that was carried out: the records it was about (a batch's failed ones too), the keys it gave them."""

    method: str
    path: str
    ids: tuple[int, ...]
    keys: frozenset[str]

    @classmethod
    def of(cls, method: str, path: str, body: dict[str, Any], answer: Any) -> WriteEntry:
        """`keys` names what stands in an object by a dot: billing.phone."""
        steps = path.strip("/").split("/")
        if steps[-1] != "batch":
            number = answer.get("id") if isinstance(answer, dict) else None
            return cls(method, path, (number,) if isinstance(number, int) else (), frozenset(_keys(body)))
        rows = [row for kind in ("create", "update") for row in body.get(kind) or ()]
        made = [row["id"] for row in answer.get("create", ()) if row["id"]]
        ids = [int(row["id"]) for row in body.get("update") or ()] + [int(n) for n in body.get("delete") or ()]
        return cls(method, path, (*made, *ids), frozenset(key for row in rows for key in _keys(row) if key != "id"))


def _keys(body: dict[str, Any]) -> Iterable[str]:
    for key, value in body.items():
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield key


class WooCommerceSandbox:
    """One shop. `handle` answers one request; everything else is for tests, the demo and the simulation."""

    def __init__(
        self,
        *,
        clock: Clock,
        seed: int = 1,
        version: str = "11.0.1",
        home: str = "http://shop.test",
        zone: str = "Europe/Paris",
        currency: str = "EUR",
        prices_include_tax: bool = True,
        round_at_subtotal: bool = False,
        rates: tuple[Rate, ...] = RATES,
        key: str = "ck_" + "1" * 40,
        secret: str = "cs_" + "1" * 40,
        writable: bool = True,
        customers_count: int = 20,
    ) -> None:
        self.clock = clock
        self.key, self.secret = key, secret
        self.currency = currency
        self.writable = writable
        self.zone = zone
        self.rules = TaxRules(rates, prices_include_tax=prices_include_tax, round_at_subtotal=round_at_subtotal)
        self.dice = Dice(seed)
        self.faults = faults.Faults()
        self.log: list[LogEntry] = []
        #: What was written, by whomever, through the API.
        self.written: list[WriteEntry] = []
        #: Records that a batch may hold; plugins and hosts set less.
        self.batch_limit = 100
        #: Called with each request before it is answered: a test moves the list here, between two pages.
        self.on_request: Callable[[HttpRequest], None] | None = None
        #: Header names that a proxy before the shop drops (lower case), for instance x-wp-total.
        self.dropped_headers: frozenset[str] = frozenset()
        self._seed = seed
        self._keys = Keys(key, secret)
        self._version = version
        self.home = home
        self.orders: dict[int, OrderSlot] = {}
        self.products: dict[int, Product] = {p.id: p for p in starting_products(self.now - 9_000_000)}
        self.customers: dict[int, Customer] = {c.id: c for c in customers(customers_count, seed, self.now)}
        self.notes: dict[int, list[dict[str, Any]]] = {}
        self.next_id = 100
        self.revision = 0
        self._results: dict[tuple[Any, ...], tuple[int, list[int]]] = {}
        self.webhooks = Webhooks(self)
        self.writes = HookedWrites(self, self.webhooks)

    # --- the shop's own view ----------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Seconds since 1970, by the clock that was given."""
        return int(self.clock.now().timestamp())

    @property
    def home(self) -> str:
        """The shop's address, which its records repeat."""
        return self._home

    @home.setter
    def home(self, address: str) -> None:
        self._home = address.rstrip("/")
        self.show = Renderer(
            home=self._home, api_path=API_PATH, zone=self.zone, version=self._version, rules=self.rules
        )
        for slot in getattr(self, "orders", {}).values():
            slot.body = None

    def new_id(self) -> int:
        """The next number; orders, refunds, products and notes share them, as posts do."""
        self.next_id += 1
        return self.next_id

    def seed_orders(
        self, count: int, seed: int | None = None, *, days: float | None = None, until: int | None = None
    ) -> None:
        """Adds `count` orders, spread over the last `days` (default: one every five minutes, at most a year)."""
        end = (until if until is not None else self.now) - 60_000
        span = int(days * 86_400) if days is not None else min(count * 300, 31_536_000)
        maker = OrderMaker(
            seed=self._seed if seed is None else seed,
            first_id=self.next_id + 1,
            first_moment=end - span,
            seconds_apart=max(1, span // max(count, 1)),
            products=self.products,
            customers=self.customers,
            rules=self.rules,
            currency=self.currency,
        )
        for row in range(count):
            head = maker.head(row)
            self.orders[head.id] = OrderSlot(
                head.id, head.status, head.created, head.modified, head.customer_id, maker, row
            )
            self.next_id = head.id + 2
        self.revision += 1

    def render_all(self) -> None:
        """Makes the JSON of every order now, so that a benchmark measures its reader and not this shop."""
        for number in self.orders:
            self.order_bytes(number)

    def order_bytes(self, number: int) -> bytes:
        """An order's JSON, kept until the order changes."""
        slot = self.orders[number]
        if slot.body is None:
            slot.body = orjson.dumps(self.show.order(slot.order(keep=False)))
        return slot.body

    def order(self, number: int) -> Order:
        """An order as a test wants to see it."""
        return self.orders[number].order(keep=False)

    # --- answering --------------------------------------------------------------------------------------------

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to one request; Dropped when a planned fault keeps it from the client."""
        parts = urlsplit(request.url)
        path = parts.path
        public = "&".join(part for part in parts.query.split("&") if part and not _SECRET.match(part))
        if self.on_request is not None:
            self.on_request(request)
        planned = self.faults.take(request.method, path)
        try:
            answer = faults.before(planned) if planned else None
            if answer is None:
                answer = self._answer(request, path, parse_qsl(parts.query, keep_blank_values=True))
                if planned:
                    answer = faults.after(planned, answer)
        except faults.Dropped:
            self.log.append(LogEntry(request.method, path, public, 0))
            raise
        self.log.append(LogEntry(request.method, path, public, answer.status))
        return answer

    def _answer(self, request: HttpRequest, path: str, pairs: list[tuple[str, str]]) -> HttpResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = _by_name(pairs)
        try:
            known = self._keys.authenticated(request.method, request.url, headers, self.now)
        except Refused as refusal:
            return self._json(401, {"code": refusal.code, "message": str(refusal), "data": {"status": 401}})
        try:
            return self._route(request, path, query, pairs, known)
        except Problem as problem:
            return self._json(problem.status, problem.body)

    def _route(
        self, request: HttpRequest, path: str, query: dict[str, str], pairs: list[tuple[str, str]], known: bool
    ) -> HttpResponse:
        if path.rstrip("/") == "/wp-json":
            return self._json(200, _only(self._about(), query))
        if not path.startswith(API_PATH + "/"):
            raise Problem(404, "rest_no_route", "No route was found matching the URL and request method.")
        steps = path[len(API_PATH) + 1 :].strip("/").split("/")
        reader = self._reader(steps) if request.method in ("GET", "HEAD") else None
        writer = self.writes.find(request.method, steps) if reader is None else None
        if reader is None and writer is None:
            raise Problem(404, "rest_no_route", "No route was found matching the URL and request method.")
        if not known:
            raise Problem(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
        if reader is not None:
            return reader(request.url.split("?")[0], query, pairs)
        if writer is None or not self.writable:
            words = "The API key provided does not have write permissions."
            raise Problem(401, "woocommerce_rest_authentication_error", words)
        given = _body_of(request)
        status, body = writer(given, query)
        self.revision += 1
        self.written.append(WriteEntry.of(request.method, path[len(API_PATH) :], given, body))
        return self._json(status, body)

    def _reader(self, steps: list[str]) -> Callable[..., HttpResponse] | None:
        match steps:
            case ["orders" | "products" | "customers" as kind]:
                return lambda url, query, pairs: self._list(kind, None, url, query, pairs)
            case ["orders", number, "refunds"] if number.isdigit():
                return lambda url, query, pairs: self._list("refunds", int(number), url, query, pairs)
            case ["products", number, "variations"] if number.isdigit():
                return lambda url, query, pairs: self._list("variations", int(number), url, query, pairs)
            case ["orders" | "products" | "customers" as kind, number] if number.isdigit():
                return lambda url, query, pairs: self._one(kind, int(number), query)
            case ["orders", number, "refunds", refund] if number.isdigit() and refund.isdigit():
                return lambda url, query, pairs: self._json(200, _only(self._refund(int(number), int(refund)), query))
            case ["products", number, "variations", variation] if number.isdigit() and variation.isdigit():
                return lambda url, query, pairs: self._json(
                    200, _only(self.variation(int(number), int(variation)).show(self.show), query)
                )
            case ["orders", number, "notes"] if number.isdigit():
                return lambda url, query, pairs: self._json(200, self.notes.get(self.slot(int(number)).id, []))
        hooks = self.webhooks.reader(steps)
        if hooks is not None:
            return lambda url, query, pairs: self._json(200, *hooks(query, pairs, url))
        fixed = self._fixed("/".join(steps))
        return None if fixed is None else lambda url, query, pairs: self._json(200, _only(fixed, query))

    def _one(self, kind: str, number: int, query: dict[str, str]) -> HttpResponse:
        if kind == "orders":
            self.slot(number)
            return self._bytes(200, self.order_bytes(number), query)
        found = self.record(kind, number)
        shown = found.show_as_product(self.show) if isinstance(found, Product) else found.show(self.show)
        return self._json(200, _only(shown, query))

    def record(self, kind: str, number: int) -> Product | Customer:
        """A product or customer; Problem when there is none."""
        if kind == "customers":
            if number not in self.customers:
                raise Problem(404, "woocommerce_rest_invalid_id", "Invalid resource ID.")
            return self.customers[number]
        if number not in self.products:
            raise Problem(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return self.products[number]

    def slot(self, number: int) -> OrderSlot:
        """An order's place; Problem when there is none."""
        if number not in self.orders:
            raise Problem(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return self.orders[number]

    def variation(self, parent: int, number: int) -> Product:
        """A variation; Problem when there is none, and on version 11 when it belongs to another product (observed)."""
        found = self.products.get(number)
        if found is None or not found.parent_id or (self.show.modern and found.parent_id != parent):
            raise Problem(404, "woocommerce_rest_product_variation_invalid_id", "Invalid ID.")
        return found

    def _refund(self, order_id: int, number: int) -> dict[str, Any]:
        order = self.slot(order_id).order(keep=False)
        for refund in order.refunds:
            if refund.id == number:
                return self.show.refund(order, refund)
        raise Problem(404, "woocommerce_rest_shop_order_refund_invalid_id", "Invalid ID.")

    def _list(
        self, kind: str, parent: int | None, url: str, query: dict[str, str], pairs: list[tuple[str, str]]
    ) -> HttpResponse:
        asked = ListQuery.read(kind, query, self.show)
        numbers = self._numbers(asked, parent)
        chosen = numbers[asked.start : asked.start + asked.per_page]
        more = page_headers(asked, len(numbers), url, pairs)
        if kind == "orders" and "_fields" not in query:
            body = b"[" + b",".join(map(self.order_bytes, chosen)) + b"]"
            return HttpResponse(200, self._headers(more), body)
        return self._json(200, [_only(self._shown(kind, parent, n), query) for n in chosen], more)

    def _shown(self, kind: str, parent: int | None, number: int) -> Any:
        if kind == "orders":
            return orjson.loads(self.order_bytes(number))
        if kind == "refunds":
            return self._refund(int(parent or 0), number)
        if kind == "customers":
            return self.customers[number].show(self.show)
        found = self.products[number]
        return found.show_as_product(self.show) if kind == "products" else found.show(self.show)

    def _numbers(self, asked: ListQuery, parent: int | None) -> list[int]:
        if parent is not None:
            return self._sorted(asked, self._sub_rows(asked.kind, parent, asked))
        held = self._results.get(asked.filters)
        if held is not None and held[0] == self.revision:
            return held[1]
        found = self._sorted(asked, self._rows(asked))
        if len(self._results) > 32:
            self._results.clear()
        self._results[asked.filters] = (self.revision, found)
        return found

    def _rows(self, asked: ListQuery) -> Iterable[tuple[int, int, int, str]]:
        """(id, created, modified, name) of the rows that pass the filters."""
        wanted = set(asked.statuses)
        everything = "any" in wanted
        if asked.kind == "orders":
            for slot in self.orders.values():
                passes = slot.status in wanted or (everything and slot.status not in ("trash", "auto-draft"))
                buyer = asked.customer is None or slot.customer_id == asked.customer
                named = not asked.include or slot.id in asked.include
                if passes and buyer and named and asked.in_time(slot.modified):
                    yield slot.id, slot.created, slot.modified, ""
        elif asked.kind == "products":
            for product in self.products.values():
                passes = product.status in wanted or (everything and product.status != "trash")
                right = product.sku.lower() in asked.skus if asked.skus else not product.parent_id
                named = not asked.include or product.id in asked.include
                if passes and right and named and asked.in_time(product.modified):
                    yield product.id, product.created, product.modified, product.name
        else:
            for customer in self.customers.values():
                right = asked.role == "all" or customer.role == asked.role
                named = not asked.include or customer.id in asked.include
                if right and named and (asked.email is None or customer.email == asked.email):
                    yield customer.id, customer.created, customer.modified or 0, customer.username

    def _sub_rows(self, kind: str, parent: int, asked: ListQuery) -> Iterable[tuple[int, int, int, str]]:
        if kind == "refunds":
            refunds = self.slot(parent).order(keep=False).refunds
            return [(r.id, r.created, r.created, "") for r in refunds if asked.in_time(r.created)]
        self.record("products", parent)
        found = [p for p in self.products.values() if p.parent_id == parent and asked.in_time(p.modified)]
        return [(p.id, p.created, p.modified, p.name) for p in found]

    def _sorted(self, asked: ListQuery, rows: Iterable[tuple[int, int, int, str]]) -> list[int]:
        keys: dict[str, Callable[[tuple[int, int, int, str]], Any]] = {
            "id": lambda row: row[0],
            "modified": lambda row: (row[2], row[0]),
            "name": lambda row: (row[3], row[0]),
            "title": lambda row: (row[3], row[0]),
        }
        by = keys.get(asked.orderby, lambda row: (row[1], row[0]))
        return [row[0] for row in sorted(rows, key=by, reverse=asked.descending)]

    # --- small resources and headers --------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        return {
            "name": "Boutique Hub",
            "description": "",
            "url": self.home,
            "home": self.home,
            "gmt_offset": self.show.offset(self.now) // 3600,
            "timezone_string": self.zone,
            "namespaces": ["wc/v3", "wp/v2"],
        }

    def _fixed(self, path: str) -> Any | None:
        including = "yes" if self.rules.prices_include_tax else "no"
        links = {"_links": {"self": [{"href": f"{self.home}{API_PATH}/{path}"}]}}
        match path:
            case "data/currencies/current":
                return {"code": self.currency, "name": self.currency, "symbol": self.currency, **links}
            case "settings/tax/woocommerce_prices_include_tax":
                return {"id": "woocommerce_prices_include_tax", "type": "radio", "default": "no", "value": including}
            case "taxes":
                return [self._rate(rate) for rate in self.rules.rates]
        return None

    def _rate(self, rate: Rate) -> dict[str, Any]:
        return {
            "id": rate.id,
            "country": rate.country,
            "state": "",
            "postcode": "",
            "city": "",
            "rate": f"{rate.percent / 10_000:.4f}",
            "name": rate.name,
            "priority": 1,
            "compound": rate.compound,
            "shipping": True,
            "order": 0,
            "class": rate.tax_class or "standard",
            "postcodes": [],
            "cities": [],
            "_links": self.show.links(f"/taxes/{rate.id}", "/taxes"),
        }

    def _headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        cached = "no-cache, must-revalidate, max-age=0" + (", no-store, private" if self.show.modern else "")
        headers = {
            "content-type": "application/json; charset=UTF-8",
            "date": email.utils.format_datetime(self.clock.now(), usegmt=True),
            "access-control-expose-headers": "X-WP-Total, X-WP-TotalPages, Link",
            "link": f'<{self.home}/wp-json/>; rel="https://api.w.org/"',
            "cache-control": cached,
        }
        headers.update({name.lower(): value for name, value in (more or {}).items()})
        return {name: value for name, value in headers.items() if name not in self.dropped_headers}

    def _json(self, status: int, body: Any, more: Mapping[str, str] | None = None) -> HttpResponse:
        return HttpResponse(status, self._headers(more), orjson.dumps(body))

    def _bytes(self, status: int, body: bytes, query: dict[str, str]) -> HttpResponse:
        if "_fields" in query:
            body = orjson.dumps(_only(orjson.loads(body), query))
        return HttpResponse(status, self._headers(), body)


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Values by name, the last one holds; `name[]=a&name[]=b` becomes `a,b`, as WordPress reads a list."""
    found: dict[str, str] = {}
    for name, value in pairs:
        bare = re.sub(r"\[\d*\]$", "", name)
        found[bare] = f"{found[bare]},{value}" if bare in found and bare != name else value
    return found


def _only(body: Any, query: Mapping[str, str]) -> Any:
    """The fields that `_fields` names (top level)."""
    wanted = query.get("_fields")
    if not wanted:
        return body
    names = {name.strip().split(".")[0] for name in wanted.split(",")}
    if isinstance(body, list):
        return [_only(row, query) for row in body]
    return {name: value for name, value in body.items() if name in names}


def _body_of(request: HttpRequest) -> dict[str, Any]:
    if not request.body:
        return {}
    try:
        found = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        data = {"status": 400, "json_error_code": 4, "json_error_message": "Syntax error"}
        raise Problem(400, "rest_invalid_json", "Invalid JSON body passed.", data) from None
    return found if isinstance(found, dict) else {}
