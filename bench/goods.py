"""A shop with very many products, for benches that write to it: our WooCommerce sandbox with a faster way for products.

    python -m bench.goods --products 100000 --latency 50

A process of its own. Lists and batches of simple products are answered from JSON that was rendered beforehand, byte by
byte what the sandbox itself would say (checked at the start); signatures are checked and the products really change.
`/bench/...` is for the bench alone: what the shop holds, which requests it had, and to let time pass.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson

from comptoir.sdk import Clock, HttpRequest, HttpResponse
from comptoir_woocommerce._sandbox.catalogue import Product
from comptoir_woocommerce._sandbox.lists import ListQuery, page_headers
from comptoir_woocommerce.sandbox import ServerClock, WooCommerceSandbox

from bench.measure import REPOSITORY
from bench.shop import KEY, SECRET, Server

__all__ = ["FIRST_ID", "KEY", "SECRET", "GoodsShop", "Served", "quantity", "running", "sku"]

#: Ids of the products are consecutive from here on.
FIRST_ID = 1001
_BATCH = "/wp-json/wc/v3/products/batch"
#: What changes of a product when its stock is written.
_MOVING = re.compile(
    rb'(?<="date_modified":")[^"]*|(?<="date_modified_gmt":")[^"]*|(?<="stock_quantity":)-?\d+|(?<="stock_status":")\w+'
)
#: A text of a shop's usual length: recorded products are bare, and an answer's size is part of its price.
_WORDS = "<p>Une pièce faite à la main dans notre atelier, en grès émaillé, qui passe au four et au lave-vaisselle.</p>"


def sku(number: int) -> str:
    """The SKU of the n-th product, from 0."""
    return f"ART-{number:06d}"


def _name(number: int) -> str:
    return f"Article {number:06d}"


#: Id and number that stand in the template for a product's own; nothing else in its JSON looks like them.
_SAMPLE = (7_654_321, 987_654)


def quantity(number: int, version: int) -> int:
    """The stock of the n-th product in a version: in two versions that follow each other none is the same."""
    return 1 + (number * 7 + version * 13) % 180


class GoodsShop(WooCommerceSandbox):
    """The sandbox with `count` simple products whose stock is counted."""

    def __init__(self, products: Iterable[Mapping[str, Any]], home: str, clock: Clock) -> None:
        super().__init__(clock=clock, seed=1, key=KEY, secret=SECRET, home=home)
        self.products.clear()
        self.next_id = FIRST_ID - 1
        self.requests: Counter[str] = Counter()
        self._parts: dict[int, list[bytes]] = {}
        self._template: list[bytes] = []
        self._local = (0, b"", b"")
        created = self.now - 9_000_000
        for fields in products:
            made = Product(self.new_id(), created=created, modified=0, **fields)
            self.products[made.id] = made
        self.quiet()

    @classmethod
    def of(cls, count: int, home: str, clock: Clock) -> GoodsShop:
        """A shop with so many products of one kind, the stock of version 0."""
        fields = {"description": _WORDS, "manage_stock": True}
        numbered = (
            {
                "name": _name(n), "sku": sku(n), "regular_price": f"{5 + n % 90}.90", "stock": quantity(n, 0), **fields
            }
            for n in range(count)
        )  # fmt: skip
        return cls(numbered, home, clock)

    def quiet(self) -> None:
        """Nothing was changed for a day."""
        yesterday = self.now - 86_400
        for product in self.products.values():
            product.modified = yesterday
        self.revision += 1

    def render(self) -> None:
        """Makes the JSON of all products; RuntimeError when it is not what the sandbox says."""
        for number in self.products:
            self._split(number)
        for number in list(self.products)[:: max(1, len(self.products) // 50)]:
            if self.product_bytes(number) != orjson.dumps(self.products[number].show(self.show)):
                raise RuntimeError(f"product {number} is not rendered as the sandbox shows it")

    def _split(self, number: int) -> list[bytes]:
        """What does not change of a product's JSON, from a template: to render a hundred thousand takes long."""
        product = self.products[number]
        if not self._template:
            name = _name(_SAMPLE[1])
            sample = replace(product, id=_SAMPLE[0], name=name, sku=sku(_SAMPLE[1]), regular_price="123.45")
            self._template = _MOVING.split(orjson.dumps(sample.show(self.show)))
        texts = (b"%d" % number, product.sku[-6:].encode(), product.regular_price.encode())
        holes = (b"%d" % _SAMPLE[0], b"%d" % _SAMPLE[1], b"123.45")
        parts = self._template
        for hole, text in zip(holes, texts, strict=True):
            parts = [part.replace(hole, text) for part in parts]
        self._parts[number] = parts
        return parts

    def product_bytes(self, number: int) -> bytes:
        """A product's JSON as it is now."""
        product = self.products[number]
        local, gmt = self._times(product.modified)
        head, after_local, after_gmt, after_stock, tail = self._parts.get(number) or self._split(number)
        status = product.stock_status.encode()
        return b"".join((head, local, after_local, gmt, after_gmt, b"%d" % product.stock, after_stock, status, tail))

    def _times(self, moment: int) -> tuple[bytes, bytes]:
        if self._local[0] != moment:
            self._local = (moment, self.show.local(moment).encode(), self.show.gmt(moment).encode())
        return self._local[1:]

    # --- the faster ways --------------------------------------------------------------------------------------

    def handle(self, request: HttpRequest) -> HttpResponse:
        """As the sandbox, and counts the request."""
        path = urlsplit(request.url).path
        self.requests[f"{request.method} {path}"] += 1
        answer = super().handle(request)
        self.log.clear()
        self.written.clear()
        return answer

    def _route(
        self, request: HttpRequest, path: str, query: dict[str, str], pairs: list[tuple[str, str]], known: bool
    ) -> HttpResponse:
        if self._parts and known and path == _BATCH and request.method == "POST" and "_fields" not in query:
            rows = _stock_rows(request.body)
            if rows is not None and all(row["id"] in self.products for row in rows):
                return HttpResponse(200, self._headers(), self._set(rows))
        return super()._route(request, path, query, pairs, known)

    def _set(self, rows: Sequence[dict[str, Any]]) -> bytes:
        now, found = self.now, []
        for row in rows:
            product = self.products[row["id"]]
            product.stock = row["stock_quantity"]
            product.recount()
            product.modified = now
            found.append(self.product_bytes(product.id))
        self.revision += 1
        return b'{"update":[' + b",".join(found) + b"]}"

    def _list(
        self, kind: str, parent: int | None, url: str, query: dict[str, str], pairs: list[tuple[str, str]]
    ) -> HttpResponse:
        if kind != "products" or "_fields" in query or not self._parts:
            return super()._list(kind, parent, url, query, pairs)
        asked = ListQuery.read(kind, query, self.show)
        numbers = self._numbers(asked, None)
        rows = map(self.product_bytes, numbers[asked.start : asked.start + asked.per_page])
        headers = self._headers(page_headers(asked, len(numbers), url, pairs))
        return HttpResponse(200, headers, b"[" + b",".join(rows) + b"]")


def _stock_rows(body: bytes | None) -> list[dict[str, Any]] | None:
    """The rows of a batch that sets whole stocks and nothing else; None for any other, which the sandbox answers."""
    given = orjson.loads(body or b"{}")
    rows = given.get("update") if isinstance(given, dict) and set(given) == {"update"} else None
    if not isinstance(rows, list) or not 0 < len(rows) <= 100:
        return None
    for row in rows:
        plain = row.keys() <= {"id", "stock_quantity", "manage_stock"} and row.get("manage_stock", True) is True
        if not plain or row.get("stock_quantity").__class__ is not int or row["id"].__class__ is not int:
            return None
    return rows


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    shop: ClassVar[GoodsShop]
    latency: ClassVar[float]
    lock: ClassVar[threading.Lock]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/bench/"):
            self._reply(HttpResponse(200, {"Content-Type": "application/json"}, self._told()))
            return
        if self.latency:
            time.sleep(self.latency)
        headers = {name.lower(): value for name, value in self.headers.items()}
        # Callers with Basic credentials are taken for callers over https; ours signs, as it must over http.
        scheme = "https" if "authorization" in headers else "http"
        url = f"{scheme}://{headers.get('host', '')}{self.path}"
        with self.lock:
            answer = self.shop.handle(HttpRequest(self.command, url, headers, body or None))
        self._reply(answer)

    do_POST = do_GET

    def _told(self) -> bytes:
        shop = self.shop
        with self.lock:
            match self.path:
                case "/bench/quiet":
                    shop.quiet()
                case "/bench/requests":
                    told, shop.requests = dict(shop.requests), Counter()
                    return orjson.dumps(told)
            return orjson.dumps([p.stock for p in shop.products.values()])

    def _reply(self, answer: HttpResponse) -> None:
        head = [f"HTTP/1.1 {answer.status} Answer", f"Content-Length: {len(answer.body)}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + answer.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Served:
    """A running shop, as the bench sees it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def stock(self) -> list[int]:
        """The stock of every product, in order."""
        found: list[int] = self._ask("stock")
        return found

    def requests(self) -> dict[str, int]:
        """How often each method and path was asked for since the last time."""
        found: dict[str, int] = self._ask("requests")
        return found

    def quiet(self) -> None:
        """Lets a day pass for the products."""
        self._ask("quiet")

    def _ask(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.address}/bench/{what}") as answer:  # noqa: S310 - our own process
            return orjson.loads(answer.read())


def main() -> None:
    """Serves until the parent closes our standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before each answer")
    chosen = parser.parse_args()
    shop = GoodsShop.of(chosen.products, "http://127.0.0.1", ServerClock())
    members = {"shop": shop, "latency": chosen.latency / 1000, "lock": threading.Lock()}
    server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), members))
    shop.home = f"http://127.0.0.1:{server.server_address[1]}"
    shop.render()
    print(shop.home, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


@contextmanager
def running(products: int, latency: float = 0.0) -> Iterator[Served]:
    """A shop with so many products, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.goods", "--products", str(products), "--latency", str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    )
    try:
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise RuntimeError("the shop did not start")
        yield Served(address)
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait(10)


if __name__ == "__main__":
    main()
