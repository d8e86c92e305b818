"""What writing products, variations and customers to the sandbox does, one by one and in batches.

Observed unless it says "published": then the plugin's published source is the evidence, for want of a recording.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from comptoir_woocommerce._sandbox.catalogue import Customer, Product, empty_place
from comptoir_woocommerce._sandbox.lists import Problem

if TYPE_CHECKING:
    from comptoir_woocommerce._sandbox.shop import WooCommerceSandbox

__all__ = ["GoodsWrites", "batch", "merged_meta"]

Answer = tuple[int, Any]
Body = dict[str, Any]

_AMOUNT = re.compile(r"-?\d+(\.\d+)?")
_LOOSE_AMPERSAND = re.compile(r"&(?!#?\w+;)")
_FIELDS = {
    "status": "status", "sku": "sku", "weight": "weight", "tax_class": "tax_class", "manage_stock": "manage_stock",
    "backorders": "backorders", "virtual": "virtual", "description": "description", "stock_status": "stock_status",
    "grouped_products": "grouped",
}  # fmt: skip
#: Published; that a variation cannot be written through `products` was also met in the field.
_USE_VARIATIONS = (
    "To manipulate product variations you should use the /products/&lt;product_id&gt;/variations/&lt;id&gt; endpoint."
)


def merged_meta(shop: WooCommerceSandbox, held: list[Body], body: Body) -> list[Body]:
    """Meta entries after a write: with its id an entry is changed, without it is a further one, null removes it."""
    if not body.get("meta_data"):
        return held
    found = [dict(entry) for entry in held]
    for row in body["meta_data"]:
        known = next((e for e in found if row.get("id") and e["id"] == row["id"]), None)
        if known is not None:
            known["value"] = row.get("value")
        else:
            found.append({"id": shop.new_id(), "key": row.get("key"), "value": row.get("value")})
    return [entry for entry in found if entry["value"] is not None]


def batch(
    shop: WooCommerceSandbox,
    body: Body,
    *,
    create: Callable[[Body], Answer] | None,
    update: Callable[[int, Body], Answer],
    delete: Callable[[int, dict[str, str]], Answer],
) -> Answer:
    """POST .../batch: each element by itself, a refused one with its error inside the 200. Nothing beyond the limit."""
    if sum(len(body.get(kind) or ()) for kind in ("create", "update", "delete")) > shop.batch_limit:
        words = f"Unable to accept more than {shop.batch_limit} items for this request."
        raise Problem(413, "woocommerce_rest_request_entity_too_large", words)
    done: dict[str, list[Any]] = {}
    for kind, row, act in [
        *(("create", row, create) for row in body.get("create") or ()),
        *(("update", row, update) for row in body.get("update") or ()),
        *(("delete", row, delete) for row in body.get("delete") or ()),
    ]:
        number = 0 if kind == "create" else int(row["id"]) if kind == "update" else int(row)
        try:
            if act is None:
                raise Problem(501, "invalid-method", "Method not implemented.")
            given = (row,) if kind == "create" else (number, row if kind == "update" else {"force": "true"})
            shown = act(*given)[1]
        except Problem as problem:
            shown = {"id": number, "error": problem.body}
        done.setdefault(kind, []).append(shown)
    return 200, done


class GoodsWrites:
    """Products, variations and customers of one shop."""

    def __init__(self, shop: WooCommerceSandbox) -> None:
        self._shop = shop

    # --- products ---------------------------------------------------------------------------------------------

    def products_batch(self, body: Body) -> Answer:
        """POST products/batch. What a single request is checked for goes through unchecked here (published)."""
        return batch(
            self._shop,
            body,
            create=lambda row: self.create_product(row, 0, checked=False),
            update=lambda number, row: self.update_product(number, row, checked=False),
            delete=self.delete_product,
        )

    def variations_batch(self, parent: int, body: Body) -> Answer:
        """POST products/#/variations/batch."""
        return batch(
            self._shop,
            body,
            create=lambda row: self.create_product(row, parent, checked=False),
            update=lambda number, row: self.update_variation(parent, number, row, checked=False),
            delete=lambda number, query: self.delete_variation(parent, number),
        )

    def create_product(self, body: Body, parent: int, *, checked: bool = True) -> Answer:
        """POST products, or variations of one."""
        shop = self._shop
        if parent:
            shop.record("products", parent)
        self._check(body, 0, checked=checked)
        name = str(body.get("name") or (shop.products[parent].name if parent else "Product"))
        kind = "variation" if parent else str(body.get("type", "simple"))
        product = Product(shop.new_id(), _title(name), shop.now, shop.now, type=kind, parent_id=parent)
        shop.products[product.id] = product
        if parent:
            shop.products[parent].variations.append(product.id)
        self._fill(product, body)
        return 201, product.show(shop.show)

    def update_product(self, number: int, body: Body, *, checked: bool = True) -> Answer:
        """PUT products/#. An id in the body wins over the one in the address; every write moves the date."""
        product = self._shop.products.get(int(body.get("id") or number))
        if product is None:
            raise Problem(400, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        if product.parent_id:
            raise Problem(404, "woocommerce_rest_invalid_product_id", _USE_VARIATIONS)
        self._check(body, product.id, checked=checked)
        self._fill(product, body)
        return 200, product.show(self._shop.show)

    def update_variation(self, parent: int, number: int, body: Body, *, checked: bool = True) -> Answer:
        """PUT products/#/variations/#. Under another product: refused by version 11, moved there by 7 (published)."""
        product = self._shop.products.get(int(body.get("id") or number))
        astray = product is not None and product.parent_id != parent and self._shop.show.modern
        if product is None or not product.parent_id or astray:
            raise Problem(400, "woocommerce_rest_product_variation_invalid_id", "Invalid ID.")
        self._check(body, product.id, checked=checked)
        product.parent_id = parent
        self._fill(product, body)
        return 200, product.show(self._shop.show)

    def delete_product(self, number: int, query: dict[str, str]) -> Answer:
        """DELETE products/#: into the trash, or with force for good."""
        shop = self._shop
        shop.record("products", number)
        product = shop.products[number]
        if query.get("force", "").lower() == "true":
            for child in product.variations:
                del shop.products[child]
            del shop.products[number]
            return 200, product.show(shop.show)
        if product.status == "trash":
            raise Problem(410, "woocommerce_rest_already_trashed", "The product has already been deleted.")
        product.status = "trash"
        self.touch(product)
        return 200, product.show(shop.show)

    def delete_variation(self, parent: int, number: int) -> Answer:
        """DELETE products/#/variations/# with force: for good."""
        shop = self._shop
        product = shop.variation(parent, number)
        owner = shop.products[product.parent_id]
        owner.variations = [n for n in owner.variations if n != number]
        del shop.products[number]
        return 200, product.show(shop.show)

    def touch(self, product: Product) -> None:
        """A variation's change moves its product's date too."""
        product.modified = self._shop.now
        if product.parent_id:
            self._shop.products[product.parent_id].modified = self._shop.now

    def _check(self, body: Body, own: int, *, checked: bool) -> None:
        for name in ("regular_price", "sale_price"):
            if checked and name in body and not isinstance(body[name], str):
                raise Problem.parameter(name, f"{name} is not of type string.", "rest_invalid_type", {"param": name})
        if checked and isinstance(body.get("stock_quantity"), float):
            words = "stock_quantity is not of type integer."
            raise Problem.parameter("stock_quantity", words, "rest_invalid_type", {"param": "stock_quantity"})
        sku = body.get("sku")
        if not sku:
            return
        others = [p for p in self._shop.products.values() if p.sku == sku and p.id != own]
        # Version 7 gives the SKU of a product in the trash away, 11 keeps it (observed).
        twin = next((p for p in others if self._shop.show.modern or p.status != "trash"), None)
        if twin is not None:
            data = {"status": 400, "resource_id": twin.id, "unique_sku": f"{sku}-1"}
            raise Problem(400, "product_invalid_sku", "Invalid or duplicated SKU.", data)

    def _fill(self, product: Product, body: Body) -> None:
        """Only what is given: everything else stays as it was."""
        for name in _FIELDS.keys() & body.keys():
            setattr(product, _FIELDS[name], body[name])
        if "name" in body and not product.parent_id:
            product.name = _title(str(body["name"]))
        if "global_unique_id" in body and self._shop.show.modern:
            product.gtin = re.sub(r"[^\d\-xX]", "", str(body["global_unique_id"]))
        for name in ("regular_price", "sale_price"):
            if name in body:
                # What is no number empties the price and is answered as done (observed).
                setattr(product, name, str(body[name]) if _AMOUNT.fullmatch(str(body[name])) else "")
        if product.manage_stock is False:
            product.stock = None
        elif "stock_quantity" in body:
            product.stock = int(float(body["stock_quantity"] or 0))
        elif body.get("manage_stock") is True and product.stock is None:
            product.stock = 0
        if "attributes" in body:
            product.attributes = [{"id": 0, "name": str(row.get("id", "")), **row} for row in body["attributes"]]
        product.meta = merged_meta(self._shop, product.meta, body)
        product.recount()
        self.touch(product)

    # --- customers --------------------------------------------------------------------------------------------

    def customers_batch(self, body: Body) -> Answer:
        """POST customers/batch."""
        return batch(
            self._shop, body, create=self.create_customer, update=self.update_customer, delete=self.delete_customer
        )

    def create_customer(self, body: Body) -> Answer:
        """POST customers."""
        shop, mail = self._shop, str(body.get("email", ""))
        if any(c.email == mail for c in shop.customers.values()):
            words = f"An account is already registered with {mail}. Please log in or use a different email address."
            if not shop.show.modern:
                link = '<a href="#" class="showlogin">Please log in.</a>'
                words = f"An account is already registered with your email address. {link}"
            raise Problem(400, "registration-error-email-exists", words)
        number = max(shop.customers, default=0) + 1
        customer = Customer(number, mail, "", "", str(body.get("username") or mail.split("@")[0]), shop.now, shop.now)
        shop.customers[number] = customer
        return 201, self._fill_customer(customer, body)

    def update_customer(self, number: int, body: Body) -> Answer:
        """PUT customers/#. Another account's e-mail address is refused, in words that do not say so (published)."""
        customer = self._shop.customers.get(number)
        if customer is None:
            raise Problem(400, "woocommerce_rest_invalid_id", "Invalid resource ID.")
        mail = body.get("email")
        if mail and any(c.email == mail and c.id != number for c in self._shop.customers.values()):
            raise Problem(400, "woocommerce_rest_customer_invalid_email", "Email address is invalid.")
        return 200, self._fill_customer(customer, body)

    def delete_customer(self, number: int, query: dict[str, str]) -> Answer:
        """DELETE customers/#: for good or not at all."""
        shop = self._shop
        shop.record("customers", number)
        if query.get("force", "").lower() != "true":
            raise Problem(501, "woocommerce_rest_trash_not_supported", "Customers do not support trashing.")
        return 200, shop.customers.pop(number).show(shop.show)

    def _fill_customer(self, customer: Customer, body: Body) -> Any:
        """Parts of an address that are not given stay as they were (published)."""
        for name in ("first_name", "last_name", "email", "role"):
            if name in body:
                setattr(customer, name, str(body[name]))
        customer.billing = {**empty_place(email=True), **customer.billing, **(body.get("billing") or {})}
        customer.shipping = {**empty_place(email=False), **customer.shipping, **(body.get("shipping") or {})}
        customer.meta = merged_meta(self._shop, customer.meta, body)
        customer.modified = self._shop.now
        return customer.show(self._shop.show)


def _title(name: str) -> str:
    """A name as WordPress' filters leave it: a loose & is written as &amp; (published)."""
    return _LOOSE_AMPERSAND.sub("&amp;", name)
