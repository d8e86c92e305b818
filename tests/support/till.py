"""A till that takes orders over HTTP and loses answers, with the small connector that writes to it.

The connector is installed into a folder as a wheel would be, and found by its entry point like any other. The till
believes everything: an order that is posted twice stands there twice. It goes on with a request whose sender is gone,
and some of its answers are dropped after the order was taken.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

MANIFEST = """
key = "till"
name = "Till"
version = "1.0"
summary = "Takes orders, one request each."
kind = "pos"
# A request that was sent is in its books after this time at the latest, or never will be.
read_lag_seconds = {lag}
lost_answer = "natural_key"

[entities.order]
push = true
push_actions = ["create"]
natural_key = "number"
batch_size = 10
"""

CONNECTOR = """
from urllib.parse import quote

from comptoir.sdk import CheckReport, ComptoirError, ConnectorConfig, OutcomeUnknown, Probe, PushResult
from comptoir.sdk.manifest import load_manifest


class TillConnector:
    manifest = load_manifest("comptoir_till")
    config_model = ConnectorConfig

    def __init__(self, config, ctx):
        self.ctx = ctx

    def check(self):
        return CheckReport(())

    def push(self, batch):
        results = []
        for op in batch.ops:
            try:
                results.append(self._post(op))
            except ComptoirError as error:
                if not results:
                    raise
                # Some of the batch are there: that nothing was carried out is not true any more.
                raise OutcomeUnknown(error.message) from None
        return results

    def _post(self, op):
        made, _ = self.ctx.http.send_json("POST", self.ctx.credentials.host + "/orders", dict(op.payload))
        return PushResult(op.delivery_id, "accepted", external_id=str(made["id"]))

    def probe(self, batch):
        numbers = quote(",".join(op.natural_key for op in batch.ops))
        found, _ = self.ctx.http.get_json(self.ctx.credentials.host + "/orders?numbers=" + numbers)
        ids = {order["number"]: str(order["id"]) for order in found}
        return [
            Probe(op.delivery_id, "present" if op.natural_key in ids else "absent", ids.get(op.natural_key))
            for op in batch.ops
        ]
"""

MAPPING = """
mapping: till.order.out
version: 1
schema: order.schema.json
fields:
  number: number
  total: {from: totals.total, as: comma}
"""

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {"number": {"type": "string"}, "total": {"type": "string"}},
    "required": ["number", "total"],
}

#: Seconds for which the till may still work on a request that it has been sent.
SLOWEST = 1.0


def install(folder: Path, *, lag: int = 2) -> None:
    """Puts the connector into a folder that will be on Python's path; `lag` is the read lag that it declares."""
    package = folder / "comptoir_till"
    (package / "mappings" / "till").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "manifest.toml").write_text(MANIFEST.format(lag=lag))
    (package / "connector.py").write_text(CONNECTOR)
    (package / "mappings" / "till" / "order.out.yaml").write_text(MAPPING)
    (package / "mappings" / "till" / "order.schema.json").write_text(json.dumps(SCHEMA))
    info = folder / "comptoir_till-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: comptoir-till\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[comptoir.connectors]\ntill = comptoir_till.connector:TillConnector\n")


class Till:
    """What it took, in order; `drops` is the share of answers that it drops after taking, `slow` of slow requests."""

    def __init__(self, *, seed: int, drops: float = 0.05, slow: float = 0.02) -> None:
        self.numbers: list[str] = []
        self.dropped = 0
        #: Cleared, it keeps the next request in hand before it takes it, until it is set.
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.has_one_in_hand = threading.Event()
        self._seed = seed
        self._drops = drops
        self._slow = slow
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, number: str) -> int | None:
        """Takes an order; its id, None when the answer is to be dropped."""
        with self._lock:
            self._tries[number] += 1
            # By number and try, so that it does not depend on which process came first.
            dice = random.Random(f"{self._seed}/{number}/{self._tries[number]}")
        if not self.goes_on.is_set() and not self.has_one_in_hand.is_set():
            self.has_one_in_hand.set()
            assert self.goes_on.wait(60)
        time.sleep(SLOWEST if dice.random() < self._slow else dice.uniform(0.02, 0.1))
        with self._lock:
            self.numbers.append(number)
            if dice.random() < self._drops:
                self.dropped += 1
                return None
            return len(self.numbers)

    def find(self, numbers: list[str]) -> list[dict[str, Any]]:
        """The orders with these numbers."""
        with self._lock:
            return [{"id": n, "number": number} for n, number in enumerate(self.numbers, 1) if number in numbers]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    till: ClassVar[Till]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        made = self.till.take(body["number"])
        if made is None:
            self.close_connection = True
            return
        self._answer({"id": made, "number": body["number"]})

    def do_GET(self) -> None:
        [numbers] = parse_qs(urlsplit(self.path).query)["numbers"]
        self._answer(self.till.find(numbers.split(",")))

    def _answer(self, what: Any) -> None:
        body = json.dumps(what).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            self.wfile.write(head.encode() + body)
        except OSError:
            self.close_connection = True  # whoever asked was killed meanwhile

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test reads what was taken."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was reset by a kill is no error of the till."""


@contextmanager
def serve(till: Till) -> Iterator[str]:
    """The till on the loopback; gives its address."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"till": till}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = ["SLOWEST", "Till", "install", "serve"]
