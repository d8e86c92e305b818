"""The conformance kit of WooCommerce: its sandbox, and what a merchant does in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from comptoir.sdk import Change, Credentials, EntityName, Transport, WebhookRequest
from comptoir.testing import ConnectorKit, NewRecord
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.sandbox import SandboxTransport, WooCommerceSandbox, change, shown

WEBHOOK_SECRET = "a-secret-of-webhooks-5f1c"
_DATES = ("date_modified", "date_modified_gmt")
_PLACE = {
    "first_name": "Inès",
    "last_name": "Perrin",
    "company": "",
    "address_1": "3 quai Perrache",
    "address_2": "",
    "city": "Lyon",
    "state": "",
    "postcode": "69002",
    "country": "FR",
}
_PATHS = {EntityName.ORDER: "orders", EntityName.ITEM: "products", EntityName.CUSTOMER: "customers"}
_TOPICS = {EntityName.ORDER: "order", EntityName.ITEM: "product", EntityName.CUSTOMER: "customer"}


class WooCommerceKit(ConnectorKit):
    connector = WooCommerceConnector
    floats: ClassVar[Mapping[str, str]] = {
        "order.line_items.*.price": "the shop sends what one unit cost as a number, for display; totals are text",
        "order.tax_lines.*.rate_percent": "a rate of at most four decimals, exact as its shortest text",
        "refund.tax_lines.*.rate_percent": "the rate of its order, as above",
    }
    follows: ClassVar[Mapping[str, Sequence[str]]] = {
        "regular_price": ("price", "purchasable", *_DATES),
        # The sandbox makes both of the name; a real shop keeps them.
        "name": ("slug", "permalink", *_DATES),
        "sku": _DATES,
        "global_unique_id": _DATES,
        "stock_quantity": ("stock_status", "backordered", *_DATES),
        "manage_stock": ("stock_quantity", *_DATES),
        "phone": ("billing.phone", *_DATES),
        "email": _DATES,
    }
    signature_header = "x-wc-webhook-signature"
    version: ClassVar[str] = "11.0.1"
    home: ClassVar[str] = "http://shop.test"

    def start(self) -> None:
        self.shop = WooCommerceSandbox(
            clock=self.clock, version=self.version, home=self.home, customers_count=2, seed=5
        )
        self.count = 0

    def transport(self) -> Transport:
        return SandboxTransport(self.shop)

    def credentials(self) -> Credentials:
        extra = {"webhook_secret": WEBHOOK_SECRET}
        return Credentials(host=self.home, login=self.shop.key, password=self.shop.secret, extra=extra)

    def secrets(self) -> Sequence[str]:
        return [base64.b64encode(f"{self.shop.key}:{self.shop.secret}".encode()).decode()]

    # --- what the merchant does -------------------------------------------------------------------------------

    def create(self, entity: EntityName) -> str:
        self.count += 1
        body: dict[EntityName, dict[str, Any]] = {
            EntityName.ORDER: {
                "set_paid": True,
                "payment_method": "stripe",
                "billing": {**_PLACE, "email": "ines@example.test", "phone": "+33 6 00 00 00 00"},
                "line_items": [{"product_id": 12, "quantity": 3}],
            },
            EntityName.ITEM: {
                "name": f"Panier {self.count}",
                "sku": f"PANIER-{self.count}",
                "regular_price": "19.90",
                "manage_stock": True,
                "stock_quantity": 5,
            },
            EntityName.CUSTOMER: {
                "email": f"acheteur{self.count}@example.test",
                "first_name": "Inès",
                "last_name": "Perrin",
                "billing": _PLACE,
            },
        }
        made = change(self.shop, "POST", _PATHS[entity], body[entity])
        if entity is EntityName.ORDER and self.count % 2:
            change(self.shop, "POST", f"orders/{made['id']}/refunds", {"amount": "1.00", "reason": "Geste"})
        return str(made["id"])

    def create_many(self, entity: EntityName, count: int) -> None:
        if entity is EntityName.ORDER:
            self.shop.seed_orders(count, self.count)
        else:
            super().create_many(entity, count)

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.count += 1
        body = {
            EntityName.ORDER: {"customer_note": f"Sonner {self.count} fois"},
            EntityName.ITEM: {"regular_price": f"{20 + self.count}.50"},
            EntityName.CUSTOMER: {"first_name": f"Inès-{self.count}"},
        }
        change(self.shop, "PUT", f"{_PATHS[entity]}/{external_id}", body[entity])

    def delete(self, entity: EntityName, external_id: str) -> None:
        kind = _PATHS.get(entity, "products")
        product = self.shop.products.get(int(external_id)) if kind == "products" else None
        steps = [kind, external_id]
        if product is not None and product.parent_id:
            self.shop.writes._goods.delete_variation(product.parent_id, product.id)  # no single endpoint of the sandbox
        else:
            handler = self.shop.writes.find("DELETE", steps)
            assert handler is not None
            handler({}, {"force": "true"})
        self.shop.revision += 1

    def ids(self, entity: EntityName) -> set[str]:
        if entity is EntityName.ORDER:
            return {str(number) for number, slot in self.shop.orders.items() if slot.status != "trash"}
        if entity is EntityName.CUSTOMER:
            return {str(number) for number, row in self.shop.customers.items() if row.role == "customer"}
        sold = (p for p in self.shop.products.values() if p.type in ("simple", "variation"))
        return {str(product.id) for product in sold}

    def read(self, entity: EntityName, external_id: str) -> Mapping[str, Any] | None:
        number = int(external_id)
        if entity is EntityName.CUSTOMER:
            return shown(self.shop, "customers", number) if number in self.shop.customers else None
        return shown(self.shop, "products", number) if number in self.shop.products else None

    # --- what the hub writes ----------------------------------------------------------------------------------

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        fields = self._fields(entity, f"neuf{n}")
        for name, value in over.items():
            field = _field(entity, name)
            if field not in fields:
                return None
            fields[field] = _written(field, value)
        return NewRecord(str(fields[_key(entity)]), {k: v for k, v in fields.items() if v is not None})

    def refused(self, entity: EntityName) -> NewRecord:
        twin = self.read(entity, self.create(entity))
        assert twin is not None
        fields = {**self._fields(entity, "twin"), _key(entity): twin[_key(entity)]}
        return NewRecord(str(twin[_key(entity)]), {k: v for k, v in fields.items() if v is not None})

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        numbers = self.shop.customers if entity is EntityName.CUSTOMER else self.shop.products
        rows = [self.read(entity, str(number)) for number in numbers]
        return [
            {
                **row,
                "text": row["first_name" if entity is EntityName.CUSTOMER else "name"],
                "amount": row.get("regular_price"),
            }
            for row in rows
            if row is not None and row[_key(entity)] == natural_key
        ]

    def change(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> Change | None:
        of = EntityName.CUSTOMER if entity is EntityName.CUSTOMER else EntityName.ITEM
        number, parent = self._own(of, n, variation=entity is EntityName.STOCK and n % 4 == 0)
        if entity is EntityName.STOCK:
            fields: dict[str, Any] = {"stock_quantity": 40 + n, "manage_stock": True}
        elif entity is EntityName.CUSTOMER:
            fields = {
                "email": f"nouveau{n}@example.test",
                "first_name": "Zoé",
                "last_name": "Roux",
                "phone": "+33 4 00 00 00 00",
                "billing": {"city": "Bron", "postcode": "69500"},
                "shipping": {"city": "Bron"},
            }
        else:
            fields = {
                "name": f"Panier changé {n}",
                "sku": f"CHANGE-{n}",
                "global_unique_id": f"{4006381333900 + n}",
                "regular_price": "31.25",
            }
        if over:
            (name, value), *_ = over.items()
            field = _field(entity, name)
            if field not in fields:
                return None
            managed = {"manage_stock": True} if field == "stock_quantity" else {}
            fields = {field: _written(field, value), **managed}
        return Change(number, parent, fields)

    def _own(self, entity: EntityName, n: int, *, variation: bool) -> tuple[str, str | None]:
        """The n-th record that changes are made to."""
        name = f"own{n}@example.test" if entity is EntityName.CUSTOMER else f"OWN-{n}"
        known = self.stored(entity, name)
        if not known and entity is EntityName.CUSTOMER:
            known = [change(self.shop, "POST", "customers", {"email": name, "billing": _PLACE, "shipping": _PLACE})]
        elif not known and not variation:
            body = {"name": "Panier", "sku": name, "regular_price": "10.00", "description": "Osier", "weight": "1.2"}
            known = [change(self.shop, "POST", "products", body)]
        elif not known:
            parent = change(self.shop, "POST", "products", {"name": "Panier à tailles", "type": "variable"})
            body = {"sku": name, "regular_price": "10.00"}
            known = [change(self.shop, "POST", f"products/{parent['id']}/variations", body)]
        number = int(known[0]["id"])
        parent_id = self.shop.products[number].parent_id if entity is EntityName.ITEM else 0
        return str(number), str(parent_id) if parent_id else None

    def refused_change(self, entity: EntityName) -> Change:
        """A SKU, or an e-mail address, that another has; a stock that the shop does not take."""
        if entity is EntityName.STOCK:
            made = self.change(entity, 4, {})
            assert made is not None
            # A variation of another product: it exists, and not where it is looked for.
            return Change(made.external_id, None, made.fields)
        twin = self.read(entity, self.create(entity))
        assert twin is not None
        return Change(self.create(entity), None, {_key(entity): twin[_key(entity)]})

    def shown(self, entity: EntityName, external_id: str, what: str) -> Any:
        row = self.read(entity, external_id) or {}
        return row.get(_field(entity, what))

    # --- webhooks ---------------------------------------------------------------------------------------------

    def webhook(self, entity: EntityName, external_id: str) -> WebhookRequest:
        topic = f"{_TOPICS[entity]}.updated"
        hook = {"topic": topic, "delivery_url": "http://127.0.0.1/hub", "secret": WEBHOOK_SECRET, "name": topic}
        number = change(self.shop, "POST", "webhooks", hook)["id"]
        self.edit(entity, external_id)
        due = [out for out in self.shop.webhooks.pending_deliveries() if (out.webhook, out.topic) == (number, topic)]
        headers = {name.lower(): value for name, value in due[-1].headers.items()}
        return WebhookRequest(headers, due[-1].body, self.clock.now())

    def signed(self, body: bytes, like: WebhookRequest) -> WebhookRequest:
        import hashlib
        import hmac

        digest = base64.b64encode(hmac.digest(WEBHOOK_SECRET.encode(), body, hashlib.sha256)).decode()
        return WebhookRequest({**like.headers, self.signature_header: digest}, body, like.received_at)

    def _fields(self, entity: EntityName, name: str) -> dict[str, Any]:
        if entity is EntityName.CUSTOMER:
            return {
                "email": f"{name}@example.test",
                "first_name": "Zoé",
                "last_name": "Roux",
                "billing": {"city": "Bron"},
            }
        return {"sku": name.upper(), "name": f"Article {name}", "regular_price": "12.50", "global_unique_id": None}


def _key(entity: EntityName) -> str:
    return "email" if entity is EntityName.CUSTOMER else "sku"


def _field(entity: EntityName, what: str) -> str:
    text = "first_name" if entity is EntityName.CUSTOMER else "name"
    return {"text": text, "amount": "regular_price", "quantity": "stock_quantity"}.get(what, what)


def _written(field: str, value: Any) -> Any:
    """What the `out` mapping would write of a value."""
    if isinstance(value, Decimal):
        return str(value)
    if field == "email":
        return f"{value[:-13].lower()}@example.test"
    if field == "global_unique_id":
        return ("4006381333931" * 40)[: len(value)]
    return value
