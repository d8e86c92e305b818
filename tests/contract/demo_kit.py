"""The kit of the demonstration shop: everything that the suite asks of an author."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from comptoir_demo.config import DemoConfig
from comptoir_demo.connector import DemoConnector
from comptoir_demo.sandbox import DemoShop

from comptoir.sdk import Change, ConnectorConfig, Credentials, EntityName, Transport, WebhookRequest
from comptoir.testing.conformance import ConnectorKit, NewRecord

TOKEN, SECRET = "tok-7f3a9c51", "whsec-22b8d0e4"
_LISTS = {EntityName.ITEM: "items", EntityName.CUSTOMER: "customers"}


class DemoKit(ConnectorKit):
    connector = DemoConnector
    page_rows = 5
    follows = dict.fromkeys(("price", "name", "stock"), ("updated_at",))
    signature_header = "x-demo-signature"
    shop_model: ClassVar[type[DemoShop]] = DemoShop

    def start(self) -> None:
        self.shop = self.shop_model(self.clock, token=TOKEN, webhook_secret=SECRET)
        self.made = 0

    def transport(self) -> Transport:
        return self.shop

    def config(self) -> ConnectorConfig:
        return DemoConfig(page_rows=self.page_rows)

    def credentials(self) -> Credentials:
        return Credentials(host="https://demo.example", password=TOKEN, extra={"webhook_secret": SECRET})

    def create(self, entity: EntityName) -> str:
        self.made += 1
        return str(self.shop.put(_LISTS[entity], self._fields(entity, f"user-{self.made}"))["id"])

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.made += 1
        self.shop.change(_LISTS[entity], int(external_id), {"name": f"Renamed {self.made}"})

    def delete(self, entity: EntityName, external_id: str) -> None:
        del self.shop.lists[_LISTS[entity]][int(external_id)]

    def ids(self, entity: EntityName) -> set[str]:
        return {str(number) for number in self.shop.lists[_LISTS[entity]]}

    def read(self, entity: EntityName, external_id: str) -> Mapping[str, Any] | None:
        row = self.shop.lists[_LISTS[entity]].get(int(external_id))
        return None if row is None else dict(row)

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        fields = self._fields(entity, f"new-{n}")
        for name, value in over.items():
            field = {"text": "name", "amount": "price", "quantity": "stock"}.get(name, name)
            if field not in fields:
                return None
            fields[field] = value
        return NewRecord(str(fields["email" if entity is EntityName.CUSTOMER else "sku"]), fields)

    def refused(self, entity: EntityName) -> NewRecord:
        fields = {**self._fields(entity, "bad"), "name": "forbidden"}
        return NewRecord(str(fields["email" if entity is EntityName.CUSTOMER else "sku"]), fields)

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        key = "email" if entity is EntityName.CUSTOMER else "sku"
        return [
            {**row, "text": row["name"], "amount": row.get("price"), "quantity": row.get("stock")}
            for row in self.shop.lists[_LISTS[entity]].values()
            if row[key] == natural_key[: 60 if key == "email" else 20]
        ]

    def change(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> Change | None:
        sku = f"change-{n}"
        rows = self.shop.lists[_LISTS[entity]]
        row = next((r for r in rows.values() if r["sku"] == sku), None)
        if row is None:
            row = self.shop.put(_LISTS[entity], self._fields(entity, sku))
        named = {"text": "name", "amount": "price", "quantity": "stock"}
        fields = {"price": "21.50", "name": f"Changed {n}", "stock": 7}
        if over:
            if not set(over) <= {*named, "name"}:
                return None
            fields = {named.get(name, name): value for name, value in over.items()}
        return Change(str(row["id"]), None, fields)

    def refused_change(self, entity: EntityName) -> Change:
        return Change(self.create(entity), None, {"name": "forbidden"})

    def shown(self, entity: EntityName, external_id: str, what: str) -> Any:
        named = {"text": "name", "amount": "price", "quantity": "stock"}
        return self.shop.lists[_LISTS[entity]][int(external_id)][named.get(what, what)]

    def webhook(self, entity: EntityName, external_id: str) -> WebhookRequest:
        row = self.shop.lists[_LISTS[entity]][int(external_id)]
        said = {"list": _LISTS[entity], "id": row["id"], "at": row["updated_at"]}
        body = json.dumps(said).encode()
        return WebhookRequest({"x-demo-signature": self.shop.sign(body)}, body, self.clock.now())

    def signed(self, body: bytes, like: WebhookRequest) -> WebhookRequest:
        return WebhookRequest({**like.headers, "x-demo-signature": self.shop.sign(body)}, body, like.received_at)

    def _fields(self, entity: EntityName, name: str) -> dict[str, Any]:
        if entity is EntityName.CUSTOMER:
            return {"email": f"{name}@example.test", "name": f"Customer {name}"}
        return {"sku": name, "name": f"Item {name}", "price": "12.50", "stock": 3, "currency": "EUR"}
