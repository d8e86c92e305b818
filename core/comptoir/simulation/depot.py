"""A storehouse that ships what it is told: the plainest remote there is, and so the hardest one.

It makes an order of every request that asks for one, however often it comes; its list shows an order half a minute
after it was made. It protects nobody, so what protects the merchant's parcels is the engine alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson

from comptoir.errors import ComptoirError, OutcomeUnknown
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.ports import HttpRequest, HttpResponse
from comptoir.sdk.protocols import (
    CheckItem,
    CheckReport,
    ConnectorConfig,
    ConnectorContext,
    Probe,
    PushBatch,
    PushResult,
)

__all__ = ["ORDER_MAPPING", "Depot", "DepotConnector"]

#: After so many seconds an order is in the list; the connector promises twice that.
_SHOWN_AFTER = 30.0
ORDER_MAPPING = """\
mapping: depot.order.out
version: 1
fields:
  reference: number
  lines:
    each: lines
    fields:
      sku: sku
      quantity: {from: quantity, as: text}
"""


class Depot:
    """The storehouse: `handle` answers one request."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._orders: list[tuple[float, str]] = []

    def handle(self, request: HttpRequest) -> HttpResponse:
        """POST makes an order, GET says how many of a reference are listed."""
        if request.method == "POST":
            reference = str(orjson.loads(request.body or b"{}")["reference"])
            self._orders.append((self._seconds(), reference))
            return _json(201, {"id": len(self._orders)})
        asked = parse_qs(urlsplit(request.url).query)["reference"][0]
        shown = [n for n, (at, name) in enumerate(self._orders, 1) if name == asked and at <= self._listed]
        return _json(200, {"ids": shown})

    @property
    def _listed(self) -> float:
        return self._seconds() - _SHOWN_AFTER

    @property
    def orders(self) -> Counter[str]:
        """How often each reference was ordered."""
        return Counter(name for _, name in self._orders)


class DepotConnector:
    """Gives orders to the storehouse, one request each."""

    manifest: ClassVar[Manifest] = Manifest.model_validate(
        {
            "key": "depot",
            "name": "Simulated storehouse",
            "version": "1",
            "summary": "Takes orders; knows nothing of having taken one before.",
            "kind": "supplier",
            "lost_answer": "natural_key",
            "read_lag_seconds": int(2 * _SHOWN_AFTER),
            "entities": {
                "order": {"push": True, "push_actions": ["create"], "natural_key": "reference", "batch_size": 3}
            },
        }
    )
    config_model: ClassVar[type[ConnectorConfig]] = ConnectorConfig

    def __init__(self, config: ConnectorConfig, ctx: ConnectorContext) -> None:
        del config
        self._ctx = ctx

    def check(self) -> CheckReport:
        """Nothing to look at."""
        return CheckReport([CheckItem("storehouse", True, "open")])

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One request an order. OutcomeUnknown as soon as one may have been made and the rest was not answered."""
        done: list[PushResult] = []
        for op in batch.ops:
            try:
                made, _ = self._ctx.http.send_json("POST", f"{self._ctx.credentials.host}/orders", dict(op.payload))
            except ComptoirError as error:
                if done:
                    raise OutcomeUnknown(f"{len(done)} of {len(batch.ops)} were made: {error.message}") from error
                raise
            done.append(PushResult(op.delivery_id, "accepted", external_id=str(made["id"])))
        return done

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """By reference."""
        return [self._probe(op.delivery_id, op.natural_key) for op in batch.ops]

    def _probe(self, delivery_id: str, reference: str) -> Probe:
        found, _ = self._ctx.http.get_json(f"{self._ctx.credentials.host}/orders?reference={reference}")
        ids: list[Any] = found["ids"]
        return Probe(delivery_id, "present" if ids else "absent", str(ids[0]) if ids else None)


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, orjson.dumps(body))
