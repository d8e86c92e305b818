"""A WooCommerce shop for tests, the demo and the simulation: `handle(request)`, a transport, a thin server.

    python -m comptoir_woocommerce.sandbox --port 8081 --orders 200 --seed 1

It behaves as shops of version 7.9.0 and 11.0.1 were observed to behave, faults included. It keeps everything in memory
and listens on the loopback only.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from comptoir.sdk import Clock, HttpRequest, HttpResponse, OutcomeUnknown, TransientError
from comptoir_woocommerce._sandbox import day, facts
from comptoir_woocommerce._sandbox.day import Step
from comptoir_woocommerce._sandbox.facts import GivenBack, Sale
from comptoir_woocommerce._sandbox.faults import Dropped, FaultKind, Faults
from comptoir_woocommerce._sandbox.money import Rate
from comptoir_woocommerce._sandbox.shop import LogEntry, WooCommerceSandbox, WriteEntry
from comptoir_woocommerce._sandbox.webhooks import WebhookFaults, WebhookRequestOut

__all__ = [
    "Dropped",
    "FaultKind",
    "Faults",
    "GivenBack",
    "LogEntry",
    "Rate",
    "Sale",
    "SandboxTransport",
    "ServerClock",
    "Step",
    "WebhookFaults",
    "WebhookRequestOut",
    "WooCommerceSandbox",
    "WriteEntry",
    "change",
    "main",
    "sales",
    "scripted_day",
    "send_webhooks",
    "sending_webhooks",
    "serve",
    "shown",
]


class ServerClock:
    """The time that the HTTP server stamps its answers with, for a sandbox that is served to real clients."""

    def __init__(self) -> None:
        self._start = datetime.now(UTC)
        self._reading = time.monotonic()

    def now(self) -> datetime:
        """Aware UTC now."""
        return self._start + timedelta(seconds=time.monotonic() - self._reading)

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


#: One at a time in each shop: its visitors, and whoever plays its merchant in the same process.
_LOCKS: WeakKeyDictionary[WooCommerceSandbox, threading.RLock] = WeakKeyDictionary()


def _lock(shop: WooCommerceSandbox) -> threading.RLock:
    return _LOCKS.setdefault(shop, threading.RLock())


def scripted_day(shop: WooCommerceSandbox) -> Sequence[Step]:
    """What happens in a shop on one day: steps to be taken in this order, also while the shop is served."""
    with _lock(shop):
        return [dataclasses.replace(step, act=_alone(shop, step)) for step in day.scripted_day(shop)]


def sales(shop: WooCommerceSandbox) -> Sequence[Sale]:
    """Every order with its refunds, as the shop itself shows them; also while the shop is served."""
    with _lock(shop):
        return facts.sales(shop)


def change(shop: WooCommerceSandbox, method: str, path: str, body: dict[str, Any]) -> Any:
    """What the merchant does in his own shop, also while it is served: `change(shop, "PUT", "products/12", {...})`.

    The record as it is then. It is no request, so it is not in `shop.written`. LookupError for an unknown path.
    """
    with _lock(shop):
        handler = shop.writes.find(method, path.split("/"))
        if handler is None:
            raise LookupError(f"{method} {path}")
        _, answer = handler(body, {})
        shop.revision += 1
        return answer


def shown(shop: WooCommerceSandbox, kind: str, number: int) -> dict[str, Any]:
    """A record of `products` (a variation too) or `customers` as the shop shows it now, also while it is served."""
    with _lock(shop):
        found: dict[str, Any] = json.loads(json.dumps(shop.record(kind, number).show(shop.show)))
        return found


def _alone(shop: WooCommerceSandbox, step: Step) -> Callable[[], str]:
    def act() -> str:
        with _lock(shop):
            return step.act()

    return act


class SandboxTransport:
    """The sdk's transport, straight into a sandbox: no sockets, no threads."""

    def __init__(self, shop: WooCommerceSandbox) -> None:
        self._shop = shop

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """The sandbox's answer, or the error that a real transport would raise."""
        try:
            answer = self._shop.handle(request)
        except Dropped as dropped:
            if dropped.sent:
                raise OutcomeUnknown(f"no whole answer to {request.method} arrived") from None
            raise TransientError("the connection was refused") from None
        if len(answer.body) > max_bytes:
            raise TransientError(f"the answer is larger than {max_bytes} bytes")
        return answer


class _Handler(BaseHTTPRequestHandler):
    """One connection; the shop answers one request at a time."""

    protocol_version = "HTTP/1.1"
    shop: ClassVar[WooCommerceSandbox]
    scheme: ClassVar[str]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        url = f"{self.scheme}://{self.headers.get('Host', '')}{self.path}"
        request = HttpRequest(self.command, url, {k.lower(): v for k, v in self.headers.items()}, body)
        try:
            with _lock(self.shop):
                answer = self.shop.handle(request)
        except Dropped as dropped:
            if dropped.partial:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                self.wfile.write(f"{len(dropped.partial) * 2}\r\n\r\n".encode() + dropped.partial)
            self.close_connection = True
            return
        head = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('Answer', ''))[0]}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        head.append(f"Content-Length: {len(answer.body)}")
        self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """The sandbox keeps its own log, without credentials."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def serve(shop: WooCommerceSandbox, port: int = 0, *, plays_https: bool = False) -> Iterator[str]:
    """Serves a sandbox on the loopback and gives its address; `plays_https`: as if a proxy in front spoke TLS."""
    handler = type(
        "Handler",
        (_Handler,),
        {"shop": shop, "scheme": "https" if plays_https else "http"},
    )
    server = _Server(("127.0.0.1", port), handler)
    shop.home = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield shop.home
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send_webhooks(shop: WooCommerceSandbox) -> list[tuple[WebhookRequestOut, int | None]]:
    """Runs the shop's webhook queue once: what is due is posted to its address, on this machine only.

    Each request with the status of its answer, None when nothing answered.
    """
    with _lock(shop):
        due = shop.webhooks.pending_deliveries()
    done = []
    for request in due:
        status = _post(request)
        with _lock(shop):
            shop.webhooks.answered(request, status)
        done.append((request, status))
    return done


def _post(request: WebhookRequestOut) -> int | None:
    parts = urlsplit(request.url)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost"):
        return None
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
    try:
        connection.request("POST", parts.path, body=request.body, headers=request.headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def sending_webhooks(shop: WooCommerceSandbox, every: float = 1.0) -> Iterator[None]:
    """The shop's webhooks are sent while the block lasts, its queue run every so many seconds."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(every):
            send_webhooks(shop)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main(argv: Sequence[str] | None = None, *, clock: Clock | None = None) -> None:
    """Serves a seeded shop until interrupted."""
    parser = argparse.ArgumentParser(prog="comptoir_woocommerce.sandbox", description="A made-up WooCommerce shop.")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--version", default="11.0.1", help="11.0.1 or 7.9.0")
    parser.add_argument("--excluding-tax", action="store_true", help="prices are entered without tax")
    chosen = parser.parse_args(argv)
    shop = WooCommerceSandbox(
        clock=clock or ServerClock(),
        seed=chosen.seed,
        version=chosen.version,
        prices_include_tax=not chosen.excluding_tax,
    )
    shop.seed_orders(chosen.orders)
    with serve(shop, chosen.port) as address, sending_webhooks(shop):
        print(f"{address}  key {shop.key}  secret {shop.secret}", flush=True)  # noqa: T201 - a command line prints
        threading.Event().wait()


if __name__ == "__main__":
    main()
