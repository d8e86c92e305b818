"""What the tests of webhooks share: recorded deliveries, a merchant with a secret, a served gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn

from comptoir.console.server import uvicorn_config
from comptoir.engine.ports import Ports
from comptoir.sdk import Credentials
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from tests.support.merchant import Merchant

DATA = Path(__file__).resolve().parents[1] / "data" / "woocommerce" / "webhooks"
SECRET = "hub-webhook-secret"


@dataclass(frozen=True)
class Recorded:
    """One delivery as a real shop sent it."""

    name: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    secret: str

    @property
    def topic(self) -> str:
        return self.headers.get("x-wc-webhook-topic", "")


def recorded(name: str) -> Recorded:
    """One recorded delivery; header names in small letters, as a server gives them."""
    found = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    headers = {key.lower(): value for key, value in found["headers"]}
    return Recorded(
        name, headers, found["body"].encode(), datetime.fromisoformat(found["received_at"]), found["secret"]
    )


def all_recorded() -> list[Recorded]:
    """Every recorded delivery."""
    return [recorded(path.stem) for path in sorted(DATA.glob("*.json"))]


def signed(body: bytes, topic: str, *, secret: str = SECRET, **more: str) -> dict[str, str]:
    """The headers of a delivery as a shop would sign it."""
    signature = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "x-wc-webhook-topic": topic,
        "x-wc-webhook-signature": signature,
        "x-wc-webhook-delivery-id": hashlib.sha256(body + topic.encode()).hexdigest()[:32],
        **more,
    }


class _Secrets:
    def __init__(self, shops: Mapping[str, WooCommerceSandbox], secret: str | None) -> None:
        self._shops = shops
        self._secret = secret

    def get(self, connection: str) -> Credentials | None:
        shop = self._shops.get(connection)
        if shop is None:
            return None
        extra = {} if self._secret is None else {"webhook_secret": self._secret}
        return Credentials(host=shop.home, login=shop.key, password=shop.secret, extra=extra)


class HookedMerchant(Merchant):
    """A merchant whose connections hold a webhook secret."""

    webhook_secret: str | None = SECRET

    def ports(self) -> Ports:
        ports = super().ports()
        ports.secrets = _Secrets(self.shops, self.webhook_secret)
        return ports


@dataclass(frozen=True)
class Answered:
    """What the gateway answered over a socket."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Served:
    """A gateway that listens on the loopback."""

    port: int

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None, method: str = "POST") -> Answered:
        """One request of its own connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {k: v for k, v in (headers or {}).items() if k not in ("host", "connection", "content-length")}
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            shown = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, shown, answer.read().decode())
        finally:
            connection.close()

    def deliver(self, delivery: Recorded, connection: str = "boutique", **headers: str) -> Answered:
        """A recorded delivery, with some headers changed."""
        return self.post(f"/hooks/{connection}", delivery.body, {**delivery.headers, **headers})

    def raw(self, data: bytes, *, wait: float = 5.0) -> bytes:
        """What comes back for exactly these bytes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as sock:
            sock.sendall(data)
            found = b""
            while part := sock.recv(65536):
                found += part
            return found


@contextmanager
def served(app: Any, *, slow_seconds: float = 10.0) -> Iterator[Served]:
    """An ASGI application behind the real server."""
    config = uvicorn_config(app, host="127.0.0.1", port=0, slow_seconds=slow_seconds)
    server = uvicorn.Server(config)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        for _ in range(500):
            if server.started:
                break
            threading.Event().wait(0.01)
        assert server.started
        yield Served(sock.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        sock.close()
        assert not thread.is_alive()


def renamed(delivery: Recorded, **headers: str) -> Recorded:
    """The same signed body under other headers."""
    return replace(delivery, headers={**delivery.headers, **headers})


__all__ = [
    "SECRET",
    "Answered",
    "HookedMerchant",
    "Recorded",
    "Served",
    "all_recorded",
    "recorded",
    "renamed",
    "served",
    "signed",
]
