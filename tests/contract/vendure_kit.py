"""The conformance kit of Vendure: its sandbox, and what a merchant does in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from comptoir.sdk import Change, ConnectorConfig, Credentials, EntityName, HttpRequest, Transport
from comptoir.testing import ConnectorKit
from comptoir_vendure.config import VendureConfig
from comptoir_vendure.connector import VendureConnector
from comptoir_vendure.sandbox import SandboxTransport, VendureSandbox

_RATE = "a rate in percent, exact as its shortest text"
_UNITS = "Vendure writes the shipping without tax as a fraction of a cent; it is rounded as Vendure rounds its total"


class VendureKit(ConnectorKit):
    connector = VendureConnector
    page_rows = 50
    floats: ClassVar[Mapping[str, str]] = {
        "order.shippingLines.*.price": _UNITS,
        "order.shippingLines.*.discountedPrice": _UNITS,
        "refund.shippingLines.*.price": _UNITS,
        "refund.shippingLines.*.discountedPrice": _UNITS,
        **{
            f"{path}.taxRate": _RATE
            for path in ("order.lines.*.taxLines.*", "order.taxSummary.*", "refund.lines.*.taxLines.*")
        },
        "refund.taxSummary.*.taxRate": _RATE,
        "item.taxRateApplied.value": _RATE,
    }
    follows: ClassVar[Mapping[str, Sequence[str]]] = {
        "price": ("prices", "updatedAt"),
        "name": ("updatedAt",),
        "sku": ("updatedAt",),
        "saleable": ("stockLevels", "updatedAt"),
    }

    def start(self) -> None:
        self.shop = VendureSandbox(clock=self.clock)
        self.count = 0

    def transport(self) -> Transport:
        return SandboxTransport(self.shop)

    def config(self) -> ConnectorConfig:
        return VendureConfig(gtin_field="ean", vat_field="vatNumber")

    def credentials(self) -> Credentials:
        return Credentials(host=self.shop.home, login=self.shop.login, password=self.shop.password)

    def is_write(self, request: HttpRequest) -> bool:
        """Everything is a POST; a login changes nothing that the merchant has."""
        return "SetVariants" in json.loads(request.body or b"{}").get("query", "")

    # --- what the merchant does -------------------------------------------------------------------------------

    def create(self, entity: EntityName) -> str:
        self.count += 1
        goods, sales = self.shop.goods, self.shop.sales
        if entity is EntityName.CUSTOMER:
            return sales.customer(f"acheteur{self.count}@example.test", "Inès", f"Perrin {self.count}")
        if entity is EntityName.ORDER:
            number = sales.cart({"1": 3, "3": 1})
            sales.place(number)
            if self.count % 2:
                sales.refund(number, amount=100)
            return number
        variant = goods.variant(goods.product(f"Panier {self.count}"), f"PANIER-{self.count}", "Panier", 1990)
        return self._level(variant) if entity is EntityName.STOCK else variant

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.count += 1
        if entity is EntityName.CUSTOMER:
            self.shop.sales.edit_customer(external_id, firstName=f"Inès-{self.count}")
        elif entity is EntityName.ORDER:
            # What does not move the date (a shipment, a refund) is in test_vendure_connector.py.
            self.shop.sales.surcharge(external_id, 100 + self.count)
        elif entity is EntityName.STOCK:
            self.shop.goods.edit(self._variant(external_id), on_hand=50 + self.count)
        else:
            self.shop.goods.edit(external_id, price=2000 + self.count)

    def delete(self, entity: EntityName, external_id: str) -> None:
        if entity is EntityName.CUSTOMER:
            del self.shop.sales.customers[external_id]
        elif entity is EntityName.ORDER:
            del self.shop.sales.orders[external_id]
        else:
            self.shop.goods.delete(self._variant(external_id) if entity is EntityName.STOCK else external_id)

    def ids(self, entity: EntityName) -> set[str]:
        if entity is EntityName.CUSTOMER:
            return set(self.shop.sales.customers)
        if entity is EntityName.ORDER:
            return {number for number, order in self.shop.sales.orders.items() if order["orderPlacedAt"]}
        goods = set(self.shop.goods.variants)
        return {self._level(number) for number in goods} if entity is EntityName.STOCK else goods

    def read(self, entity: EntityName, external_id: str) -> Mapping[str, Any] | None:
        """Stock is written by the variant's id, and looked at in the variant."""
        if external_id not in self.shop.goods.variants:
            return None
        row = self.shop.goods.shown(external_id)
        (level,) = row["stockLevels"]
        saleable = level["stockOnHand"] - level["stockAllocated"]
        return {**row, "note": self.shop.goods.variants[external_id]["note"], "saleable": saleable}

    def _level(self, variant: str) -> str:
        return str(self.shop.goods.variants[variant]["levels"]["1"]["id"])

    def _variant(self, level: str) -> str:
        return next(number for number in self.shop.goods.variants if self._level(number) == level)

    # --- what the hub writes ----------------------------------------------------------------------------------

    def change(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> Change | None:
        fields: dict[str, Any] = {"price": "31.25", "name": f"Panier changé {n}", "sku": f"CHANGE-{n}"}
        if entity is EntityName.STOCK:
            fields = {"saleable": 40 + n}
        if over:
            (what, value), *_ = over.items()
            field = _field(what)
            if field not in fields:
                return None
            fields = {field: _written(field, value)}
        return Change(self._own(n), None, fields)

    def _own(self, n: int) -> str:
        """The n-th variant that changes are made to; an open order holds a piece of it."""
        known = [number for number, row in self.shop.goods.variants.items() if row.get("own") == n]
        if known:
            return known[0]
        number = self.shop.goods.variant(self.shop.goods.product("Panier"), f"OWN-{n}", "Panier", 1000)
        self.shop.goods.edit(number, own=n)
        self.shop.sales.place(self.shop.sales.cart({number: 1}))
        return number

    def refused_change(self, entity: EntityName) -> Change:
        """A variant that a plugin of the shop does not let be changed."""
        number = self._own(900)
        self.shop.goods.refuses[number] = "This variant is maintained by the supplier plugin"
        change = self.change(entity, 900, {})
        assert change is not None
        return change

    def shown(self, entity: EntityName, external_id: str, what: str) -> Any:
        row = self.read(entity, external_id)
        assert row is not None
        if what == "amount":
            return str(Decimal(row["prices"][0]["price"]).scaleb(-2))
        return row[_field(what)]


def _field(what: str) -> str:
    return {"text": "name", "amount": "price", "quantity": "saleable"}.get(what, what)


def _written(field: str, value: Any) -> Any:
    """What the `out` mapping would write of a value."""
    if field == "saleable" and value == value.to_integral_value():
        return int(value)
    return str(value) if isinstance(value, Decimal) else value
