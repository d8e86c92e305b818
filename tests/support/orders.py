"""A connection that takes web orders as documents (Sage, Ciel) in a temporary folder, and what tests do with it.

Run as a program it writes the golden records of its mappings from the recorded orders of WooCommerce's.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import orjson

from comptoir.app.mappings import CONTEXT
from comptoir.mapping import load_mapping
from comptoir.model.order import Refund, SalesOrder
from comptoir.model.parties import Customer
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir
from comptoir.sdk import (
    Company,
    ConnectorContext,
    Credentials,
    HttpClient,
    PushBatch,
    PushOp,
    PushResult,
    Random,
    Tasks,
)
from comptoir.sdk.documents.connector import DocumentConnector
from comptoir.sdk.journal.disk import Disk
from comptoir.testing.fakes import FakeClock
from comptoir_ciel.connector import CielConnector
from comptoir_sage.connector import SageConnector

__all__ = ["CARD_EXPORT", "CARD_FIELDS", "DATA", "GESCOM_EXPORT", "BackOffice"]

DATA = Path(__file__).parents[1] / "data" / "orders"
#: The beginning of an export of Sage 100 Gestion commerciale.
GESCOM_EXPORT = b"#FLG 000\r\n#VER 33\r\n#CDEP\r\nDEPOT PRINCIPAL\r\n#FIN\r\n"
#: One web customer of the folder as Sage exports it, with what is nobody else's: a fax, a bank account.
CARD_FIELDS = {
    1: "WEBMODELE", 3: "411100", 4: "Madame", 5: "MODELE DES CLIENTS WEB", 6: "MODELE", 7: "A. Modèle", 8: "1 RUE X",
    9: "BAT A", 10: "01000", 11: "BOURG", 12: "AIN", 13: "France", 14: "WEB", 24: "500,00", 27: "WEBMODELE", 32: "2",
    37: "3", 40: "MOD", 43: "30326504500012", 44: "4791A", 45: "FR12303265045", 48: "ne pas relancer", 50: "DEPOT WEB",
    51: "1", 54: "010120", 55: "0400000000", 56: "0400000001", 57: "modele@example.test", 58: "example.test",
    120: "BANQUE",
}  # fmt: skip
CARD_EXPORT = "\r\n".join(
    ["#FLG 000", "#VER 33", "#CCLI", *(CARD_FIELDS.get(n, "0") for n in range(1, 121)), "4111", "#CBQT", "SECRET",
     "#FIN", ""]
).encode("cp850")  # fmt: skip
CONNECTORS: dict[str, type[DocumentConnector]] = {"ciel": CielConnector, "sage": SageConnector}
#: Recorded orders of WooCommerce's golden records that become golden records here.
RECORDED = (
    "11.0.1-order-b2b-company-create",
    "11.0.1-order-completed-variation-create",
    "11.0.1-order-coupon-create",
    "11.0.1-order-fee-create",
    "11.0.1-order-onhold-guest-create",
)


Pushed = SalesOrder | Refund | Customer
_ENTITIES: dict[type, EntityName] = {
    SalesOrder: EntityName.ORDER, Refund: EntityName.REFUND, Customer: EntityName.CUSTOMER,
}  # fmt: skip


class BackOffice:
    """One folder below `base`; `connector()` makes a fresh process of the hub."""

    def __init__(self, base: Path, key: str = "sage", **settings: Any) -> None:
        self.base = base
        self.key = key
        self.folder = base / "office"
        usual: dict[str, Any] = {"folder": Path("office")}
        if key == "sage":
            (base / "gescom.txt").write_bytes(GESCOM_EXPORT)
            (base / "client.txt").write_bytes(CARD_EXPORT)
            usual |= {
                "customer_from": Path("client.txt"),
                "gescom_from": Path("gescom.txt"),
                "depot": "DEPOT PRINCIPAL",
            }
        self.config = CONNECTORS[key].config_model.model_validate({**usual, **settings})
        self._mappings = {e: load_mapping(key, e.value, "out", [mappings_dir()]) for e in _ENTITIES.values()}
        self._batches = 0

    def connector(self, disk: Disk | None = None) -> DocumentConnector:
        context = ConnectorContext(
            connection="gesco",
            http=cast(HttpClient, None),
            credentials=Credentials(),
            clock=FakeClock(),
            random=cast(Random, None),
            tasks=cast(Tasks, None),
            company=Company("Ma Boutique SARL", "FR", "EUR", siren="123456782"),
            base_dir=self.base,
            logger=logging.getLogger("test.orders"),
        )
        return CONNECTORS[self.key](self.config, context, disk=disk)

    def op(self, record: Pushed, **over: Any) -> PushOp:
        """The write that the engine would make of an order, refund or customer."""
        entity = _ENTITIES[type(record)]
        context = {"connection": "web", "channel": "web"}
        context |= {f"config.{name}": value for name, value in self.config.model_dump().items()}
        payload = self._mappings[entity].apply(record, context) | over
        key = str(payload["code" if entity is EntityName.CUSTOMER else "number"])
        digest = hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return PushOp(f"d-{key}-{digest[:6]}", entity, "create", key, payload, digest)

    def batch(self, *records: Pushed | PushOp, id: str | None = None) -> PushBatch:
        ops = [record if isinstance(record, PushOp) else self.op(record) for record in records]
        self._batches += 1
        return PushBatch(id or f"batch-{self._batches}", ops[0].entity, ops)

    def push(self, *records: Pushed | PushOp, id: str | None = None) -> Sequence[PushResult]:
        return self.connector().push(self.batch(*records, id=id))

    def published(self) -> dict[str, bytes]:
        folder = self.folder / "gescom"
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir())} if folder.is_dir() else {}

    def acks(self) -> list[tuple[str, str, str | None, str | None]]:
        """What the connector hears now (key, outcome, the program's number, reason); filed away as the engine does."""
        connector = self.connector()
        heard: list[tuple[str, str, str | None, str | None]] = []
        for report, said in connector.acknowledgements():
            heard += [(a.natural_key, a.outcome, a.external_id, a.reason) for a in said]
            connector.acknowledged(report)
        return heard


def write_golden(key: str, mappings: Path) -> None:
    """Writes `mappings/KEY/golden/order.out`. Read the difference before it is committed."""
    mapping = load_mapping(key, "order", "out", [mappings])
    folder = mappings / key / "golden" / "order.out"
    folder.mkdir(parents=True, exist_ok=True)
    fields = CONNECTORS[key].config_model.model_fields.items()
    defaults = {f"config.{n}": f.get_default(call_default_factory=True) for n, f in fields if not f.is_required()}
    for case in RECORDED:
        given = json.loads((mappings / "woocommerce/golden/order.in" / f"{case}.out.json").read_text(encoding="utf-8"))
        result = mapping.apply(SalesOrder.model_validate(given), {**CONTEXT, **defaults})
        for kind, data in (("in", given), ("out", result)):
            text = json.dumps(data, ensure_ascii=False, indent=2)
            (folder / f"{case}.{kind}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in CONNECTORS:
        write_golden(name, mappings_dir())
