"""Test objects in a shop, and changes of them: which ones move `date_modified_gmt`?

A hidden product, a hidden variable product, a customer and orders are made and removed again. An order that is paid
makes the shop write its usual mail to the merchant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from comptoir.sdk import ComptoirError, ConnectorContext, EntityName, Experiment
from comptoir_woocommerce.client import WooCommerceClient

__all__ = ["experiments"]

_HIDDEN: dict[str, Any] = {"status": "private", "catalog_visibility": "hidden"}
_STOCKED: dict[str, Any] = {"manage_stock": True, "stock_quantity": 20, "regular_price": "1.00"}


@contextmanager
def experiments(client: WooCommerceClient, ctx: ConnectorContext) -> Iterator[Iterable[Experiment]]:
    """The experiments of a shop, on objects that are removed at the end."""
    shop = _TestObjects(client, ctx)
    try:
        yield shop.experiments()
    finally:
        shop.remove()


class _TestObjects:
    def __init__(self, client: WooCommerceClient, ctx: ConnectorContext) -> None:
        self._client = client
        self._ctx = ctx
        self._made: list[str] = []
        self._mark = f"comptoir-test-{ctx.random.bytes(4).hex()}"

    def experiments(self) -> Iterator[Experiment]:
        """One after the other; each object is made when it is first needed."""
        yield from self._items()
        yield from self._orders()
        yield from self._customers()

    def remove(self) -> None:
        """Deletes what was made, the last first; what cannot be deleted is said, and the rest goes on."""
        for path in reversed(self._made):
            try:
                self._client.write("DELETE", f"{path}{'&' if '?' in path else '?'}force=true")
            except ComptoirError as error:
                if error.remote.get("status") not in ("404", "410"):
                    self._ctx.logger.warning(
                        "%s: the test object %s is still there, delete it by hand: %s",
                        self._ctx.connection, path, error.message,
                    )  # fmt: skip

    # -- goods ---------------------------------------------------------------------------------------------------

    def _items(self) -> Iterator[Experiment]:
        name = f"Comptoir: test object, may be deleted ({self._mark})"
        simple = self._make("/products", {"name": name, "sku": self._mark, **_HIDDEN, **_STOCKED})
        path = f"/products/{simple}"
        item = _Watched(self._client, EntityName.ITEM, str(simple), path)
        yield item.when("stock", lambda: self._put(path, {"stock_quantity": 19}))
        yield item.when("stock in a batch", lambda: self._stock_batch(simple))
        yield item.when("price", lambda: self._put(path, {"regular_price": "1.10"}))
        yield item.when("sold", lambda: self._order(simple, paid=True))
        yield item.when("meta", lambda: self._meta(path), decides=False)
        yield from self._variations(name)
        yield item.when("delete", lambda: self._delete(path), decides=False)

    def _variations(self, name: str) -> Iterator[Experiment]:
        attribute = {"name": "Comptoir", "variation": True, "visible": False, "options": ["A"]}
        body = {"name": name, "type": "variable", "attributes": [attribute], "sku": f"{self._mark}-v", **_HIDDEN}
        parent = self._make("/products", body)
        option = [{"name": "Comptoir", "option": "A"}]
        body = {"sku": f"{self._mark}-a", "attributes": option, **_STOCKED}
        child = self._make(f"/products/{parent}/variations", body)
        path = f"/products/{parent}/variations/{child}"
        # A cursor lists products: what has to move is the parent's date.
        item = _Watched(self._client, EntityName.ITEM, str(child), f"/products/{parent}")
        yield item.when("variant stock", lambda: self._put(path, {"stock_quantity": 19}))
        yield item.when("variant price", lambda: self._put(path, {"regular_price": "1.10"}))
        yield item.when("variant sold", lambda: self._order(parent, variation=child, paid=True))

    def _stock_batch(self, product: int) -> None:
        self._client.post("/products/batch", {"update": [{"id": product, "stock_quantity": 18}]})

    # -- orders --------------------------------------------------------------------------------------------------

    def _orders(self) -> Iterator[Experiment]:
        body = {"name": f"Comptoir: {self._mark}", "sku": f"{self._mark}-o", **_HIDDEN, **_STOCKED}
        product = self._make("/products", body)
        order = self._order(product)
        path = f"/orders/{order['id']}"
        line = order["line_items"][0]["id"]
        watched = _Watched(self._client, EntityName.ORDER, str(order["id"]), path)
        more = {"line_items": [{"id": line, "quantity": 2, "subtotal": "2.00", "total": "2.00"}]}
        yield watched.when("line", lambda: self._put(path, more))
        yield watched.when("status", lambda: self._put(path, {"status": "on-hold"}))
        refund = {"amount": "0.50", "reason": "test", "api_refund": False}
        yield watched.when("refund", lambda: self._client.post(f"{path}/refunds", refund))
        yield watched.when("note", lambda: self._client.post(f"{path}/notes", {"note": "test"}), decides=False)
        yield watched.when("meta", lambda: self._meta(path), decides=False)
        yield watched.when("delete", lambda: self._delete(path), decides=False)

    def _order(self, product: int, *, variation: int = 0, paid: bool = False, customer: int = 0) -> dict[str, Any]:
        line = {"product_id": product, "quantity": 1, **({"variation_id": variation} if variation else {})}
        body = {"set_paid": paid, "customer_id": customer, "line_items": [line]}
        made: dict[str, Any] = self._client.post("/orders", body)
        self._made.append(f"/orders/{made['id']}")
        return made

    # -- customers -----------------------------------------------------------------------------------------------

    def _customers(self) -> Iterator[Experiment]:
        mail = f"{self._mark}@example.invalid"
        customer = self._make("/customers", {"email": mail, "username": self._mark}, "?reassign=0")
        path = f"/customers/{customer}"
        watched = _Watched(self._client, EntityName.CUSTOMER, str(customer), path)
        yield watched.when("address", lambda: self._put(path, {"billing": {"city": "Besançon", "postcode": "25000"}}))
        body = {"name": f"Comptoir: {self._mark}", "sku": f"{self._mark}-c", **_HIDDEN, **_STOCKED}
        product = self._make("/products", body)
        yield watched.when("order", lambda: self._order(product, customer=customer), decides=False)
        yield watched.when("delete", lambda: self._delete(f"{path}?reassign=0"), decides=False)

    # -- writes --------------------------------------------------------------------------------------------------

    def _make(self, path: str, body: Mapping[str, Any], suffix: str = "") -> int:
        number = int(self._client.post(path, body)["id"])
        self._made.append(f"{path}/{number}{suffix}")
        return number

    def _put(self, path: str, body: Mapping[str, Any]) -> None:
        self._client.write("PUT", path, body)

    def _meta(self, path: str) -> None:
        self._put(path, {"meta_data": [{"key": "_comptoir_test", "value": self._mark}]})

    def _delete(self, path: str) -> None:
        self._client.write("DELETE", f"{path}{'&' if '?' in path else '?'}force=true")


class _Watched:
    """A record whose date is looked at."""

    def __init__(self, client: WooCommerceClient, entity: EntityName, external_id: str, path: str) -> None:
        self._client = client
        self._entity = entity
        self._id = external_id
        self._path = path

    def when(self, change: str, act: Callable[[], object], *, decides: bool = True) -> Experiment:
        """The experiment that makes this change."""
        return Experiment(self._entity, change, self._id, act, self._modified, decides)

    def _modified(self) -> datetime | None:
        record, _ = self._client.get_one(self._path)
        moment = None if record is None else record.get("date_modified_gmt")
        # A customer who was never changed has no date yet.
        return None if not moment else datetime.fromisoformat(str(moment)).replace(tzinfo=UTC)
