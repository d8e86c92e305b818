"""The shop that every contender reads: our WooCommerce sandbox with its pages rendered beforehand.

    python -m bench.shop --orders 10000 --latency 50

A process of its own, so that its work is in nobody's figures. The orders have no refunds: each would be a request of
its own, which not every contender makes. `--latency` waits before each answer, in parallel, as a distant shop does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from comptoir.sdk import HttpRequest
from comptoir_woocommerce.sandbox import ServerClock, WooCommerceSandbox

from bench.measure import REPOSITORY

__all__ = ["KEY", "SECRET", "Server", "running"]

KEY = "ck_" + "1" * 40
SECRET = "cs_" + "1" * 40


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    shop: ClassVar[WooCommerceSandbox]
    latency: ClassVar[float]

    def do_GET(self) -> None:
        if self.latency:
            time.sleep(self.latency)
        headers = {name.lower(): value for name, value in self.headers.items()}
        # Contenders that send Basic credentials are taken for callers over https; ours signs, as it must over http.
        scheme = "https" if "authorization" in headers else "http"
        request = HttpRequest("GET", f"{scheme}://{headers.get('host', '')}{self.path}", headers)
        answer = self.shop.handle(request)
        self.shop.log.clear()
        head = [f"HTTP/1.1 {answer.status} Answer", f"Content-Length: {len(answer.body)}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        self.wfile.write("\r\n".join(head).encode() + b"\r\n\r\n" + answer.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Serves until the parent closes our standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before each answer")
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args()
    shop = WooCommerceSandbox(clock=ServerClock(), seed=1)
    shop.seed_orders(chosen.orders)
    for slot in shop.orders.values():
        slot.order(keep=True).refunds.clear()
    handler = type("Handler", (_Handler,), {"shop": shop, "latency": chosen.latency / 1000})
    server = Server(("127.0.0.1", chosen.port), handler)
    shop.home = f"http://127.0.0.1:{server.server_address[1]}"
    shop.render_all()
    print(shop.home, flush=True)
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


@contextmanager
def running(orders: int, latency: float = 0.0) -> Iterator[str]:
    """A shop with so many orders; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.shop", "--orders", str(orders), "--latency", str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    )
    try:
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise RuntimeError("the shop did not start")
        yield address
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait(10)


if __name__ == "__main__":
    main()
