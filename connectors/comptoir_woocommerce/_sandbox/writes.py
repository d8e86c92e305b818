"""What writing to the sandbox does: totals, stock, states, and which dates move (all as observed)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from comptoir_woocommerce._sandbox.catalogue import Product
from comptoir_woocommerce._sandbox.goods import GoodsWrites, batch, merged_meta
from comptoir_woocommerce._sandbox.lists import ORDER_STATUSES, Problem
from comptoir_woocommerce._sandbox.money import Charge, Coupon, Line, Order, Rate, Refund, micros
from comptoir_woocommerce._sandbox.seed import OrderSlot

if TYPE_CHECKING:
    from comptoir_woocommerce._sandbox.shop import WooCommerceSandbox

__all__ = ["Writes"]

Answer = tuple[int, Any]
Handler = Callable[[dict[str, Any], dict[str, str]], Answer]

_PLACE = (
    "first_name",
    "last_name",
    "company",
    "address_1",
    "address_2",
    "city",
    "state",
    "postcode",
    "country",
)
_TEXT_FIELDS = {"customer_note": "note", "payment_method": "method", "payment_method_title": "method_title"}
_PAYABLE = ("pending", "on-hold", "failed", "cancelled", "checkout-draft")
_STOCK_KEPT = ("processing", "completed", "on-hold")


class Writes:
    """The write side of one shop."""

    def __init__(self, shop: WooCommerceSandbox) -> None:
        self._shop = shop
        self._goods = GoodsWrites(shop)

    def find(self, method: str, steps: list[str]) -> Handler | None:
        """What handles a request, None when there is no such route."""
        numbers = [int(step) for step in steps if step.isdigit()]
        shape = "/".join("#" if step.isdigit() else step for step in steps)
        change = method in ("PUT", "PATCH", "POST")
        goods = self._goods
        routes: dict[tuple[str, str], Handler] = {
            ("POST", "orders"): lambda body, query: self.create_order(body),
            ("POST", "orders/batch"): lambda body, query: self.orders_batch(body),
            ("POST", "orders/#/refunds"): lambda body, query: self.create_refund(numbers[0], body),
            ("POST", "orders/#/notes"): lambda body, query: self.create_note(numbers[0], body),
            ("POST", "products"): lambda body, query: goods.create_product(body, 0),
            ("POST", "products/batch"): lambda body, query: goods.products_batch(body),
            ("POST", "products/#/variations"): lambda body, query: goods.create_product(body, numbers[0]),
            ("POST", "products/#/variations/batch"): lambda body, query: goods.variations_batch(numbers[0], body),
            ("POST", "customers"): lambda body, query: goods.create_customer(body),
            ("POST", "customers/batch"): lambda body, query: goods.customers_batch(body),
            ("DELETE", "orders/#"): lambda body, query: self.delete_order(numbers[0], query),
            ("DELETE", "products/#"): lambda body, query: goods.delete_product(numbers[0], query),
            ("DELETE", "products/#/variations/#"): lambda body, query: goods.delete_variation(numbers[0], numbers[1]),
            ("DELETE", "customers/#"): lambda body, query: goods.delete_customer(numbers[0], query),
        }
        if change and shape == "orders/#":
            return lambda body, query: self.update_order(numbers[0], body)
        if change and shape == "products/#":
            return lambda body, query: goods.update_product(numbers[0], body)
        if change and shape == "products/#/variations/#":
            return lambda body, query: goods.update_variation(numbers[0], numbers[1], body)
        if change and shape == "customers/#":
            return lambda body, query: goods.update_customer(numbers[0], body)
        return routes.get((method, shape))

    def orders_batch(self, body: dict[str, Any]) -> Answer:
        """POST orders/batch."""
        return batch(self._shop, body, create=self.create_order, update=self.update_order, delete=self.delete_order)

    # --- orders -----------------------------------------------------------------------------------------------

    def create_order(self, body: dict[str, Any]) -> Answer:
        """POST orders."""
        shop = self._shop
        customer = int(body.get("customer_id") or 0)
        if customer and customer not in shop.customers:
            raise Problem(400, "woocommerce_rest_invalid_customer_id", "Customer ID is invalid.")
        status = _status(body.get("status", "pending"))
        number, now = shop.new_id(), shop.now
        order = Order(number, "pending", now, now, body.get("currency", shop.currency), customer, via="rest-api")
        order.key = f"wc_order_{shop.dice.word(13)}"
        order.billing = {**dict.fromkeys((*_PLACE, "email", "phone"), ""), **(body.get("billing") or {})}
        order.shipping = {**dict.fromkeys((*_PLACE, "phone"), ""), **(body.get("shipping") or {})}
        self._texts(order, body)
        order.meta = merged_meta(shop, [], body)
        order.tax_line_ids = number * 100 + 30
        order.coupons = [
            Coupon(number * 100 + 28 + n, str(row["code"]).lower(), 10)
            for n, row in enumerate(body.get("coupon_lines") or ())
        ]
        self._rows(order, body)
        shop.orders[number] = OrderSlot.of(order)
        self._set_status(order, status)
        if body.get("set_paid"):
            self._paid(order)
        shop.orders[number].changed()
        return 201, shop.show.order(order)

    def update_order(self, number: int, body: dict[str, Any]) -> Answer:
        """PUT orders/#. Meta alone moves the date of version 11 only; line changes without new totals never."""
        shop = self._shop
        order = shop.slot(number).order(keep=True)
        status = _status(body["status"]) if "status" in body else order.status
        before = shop.rules.totals(order)
        for part in ("billing", "shipping"):
            if part in body:
                setattr(order, part, {**getattr(order, part), **body[part]})
        self._texts(order, body)
        order.meta = merged_meta(shop, order.meta, body)
        self._rows(order, body)
        self._set_status(order, status)
        if body.get("set_paid"):
            self._paid(order)
        lasting = set(body) - {"id", "meta_data", "line_items", "shipping_lines", "fee_lines"}
        meta = "meta_data" in body and shop.show.modern
        if lasting or meta or shop.rules.totals(order) != before:
            order.modified = shop.now
        shop.orders[number].changed()
        return 200, shop.show.order(order)

    def delete_order(self, number: int, query: dict[str, str]) -> Answer:
        """DELETE orders/#: into the trash, or with force for good."""
        shop = self._shop
        order = shop.slot(number).order(keep=True)
        shown = shop.show.order(order)
        if query.get("force", "").lower() == "true":
            del shop.orders[number]
            return 200, shown
        if order.status == "trash":
            raise Problem(410, "woocommerce_rest_already_trashed", "The order has already been deleted.")
        order.status, order.modified = "trash", shop.now
        shop.orders[number].changed()
        return 200, shown

    def create_note(self, number: int, body: dict[str, Any]) -> Answer:
        """POST orders/#/notes: moves no date."""
        shop = self._shop
        shop.slot(number)
        path, note = f"/orders/{number}/notes", shop.new_id()
        shown = {
            "id": note,
            "author": "WooCommerce",
            "date_created": shop.show.local(shop.now),
            "date_created_gmt": shop.show.gmt(shop.now),
            "note": str(body.get("note", "")),
            "customer_note": bool(body.get("customer_note")),
            "_links": shop.show.links(f"{path}/{note}", path, f"/orders/{number}", ("GET", "DELETE")),
        }
        shop.notes.setdefault(number, []).insert(0, shown)
        return 201, shown

    def _texts(self, order: Order, body: dict[str, Any]) -> None:
        for name, attribute in _TEXT_FIELDS.items():
            if name in body:
                setattr(order, attribute, str(body[name]))
        if "transaction_id" in body:
            order.transaction = str(body["transaction_id"])

    def _rows(self, order: Order, body: dict[str, Any]) -> None:
        """Adds, changes or (quantity 0) removes rows."""
        place = order.shipping.get("country") or order.billing.get("country") or ""
        for row in body.get("line_items") or ():
            known = next((line for line in order.lines if line.id == row.get("id")), None)
            if known is None:
                order.lines.append(self._new_line(order, row, place))
            elif row.get("quantity") == 0:
                order.lines.remove(known)
            else:
                known.quantity = int(row.get("quantity", known.quantity))
                known.subtotal = micros(row["subtotal"]) if "subtotal" in row else known.subtotal
                known.total = micros(row["total"]) if "total" in row else known.total
        top = self._top_rates(order, place)
        for row in body.get("shipping_lines") or ():
            number = order.id * 100 + 20 + len(order.charges)
            label, method = str(row.get("method_title", "")), str(row.get("method_id", ""))
            order.charges.append(Charge(number, label, method, micros(row.get("total", "0")), top))
        for row in body.get("fee_lines") or ():
            number = order.id * 100 + 25 + len(order.fees)
            rates = self._shop.rules.for_place(place, str(row.get("tax_class", "")))
            order.fees.append(Charge(number, str(row.get("name", "")), None, micros(row.get("total", "0")), rates))
        order.physical = any(self._physical(line) for line in order.lines)

    def _physical(self, line: Line) -> bool:
        product = self._shop.products.get(line.variation_id or line.product_id)
        return product is not None and not product.virtual

    def _top_rates(self, order: Order, place: str) -> tuple[Rate, ...]:
        classes = [line.tax_class for line in order.lines] or [""]
        return self._shop.rules.for_place(place, "" if "" in classes else classes[0])

    def _new_line(self, order: Order, row: dict[str, Any], place: str) -> Line:
        shop, rules = self._shop, self._shop.rules
        number = order.id * 100 + len(order.lines)
        product = self._wanted(row)
        quantity = int(row.get("quantity", 1))
        if product is None:
            rates = rules.for_place(place, "")
            price = micros(row.get("subtotal", row.get("total", "0")))
            total = micros(row.get("total", "0"))
            return Line(number, str(row.get("name", "")), 0, 0, quantity, "", price, total, rates, None)
        parent = shop.products[product.parent_id] if product.parent_id else None
        tax_class = parent.tax_class if parent else product.tax_class
        rates = rules.for_place(place, tax_class)
        whole = micros(product.price or "0") * quantity
        subtotal = micros(row["subtotal"]) if "subtotal" in row else rules.net_of(whole, rates)
        total = subtotal
        if order.coupons:
            total = rules.net_of(rules.discounted(whole, order.coupons[0].percent), rates)
        total = micros(row["total"]) if "total" in row else total
        name, meta = product.name, []
        if parent:
            name = f"{parent.name} - {', '.join(a['option'] for a in product.attributes)}"
            meta = [_shown(shop.new_id(), a["name"].lower(), a["option"]) for a in product.attributes]
        return Line(
            number,
            name,
            parent.id if parent else product.id,
            product.id if parent else 0,
            quantity,
            tax_class,
            subtotal,
            total,
            rates,
            product.sku,
            product.gtin,
            parent.name if parent else None,
            meta,
        )

    def _wanted(self, row: dict[str, Any]) -> Product | None:
        """The product of a new line: by variation, product or SKU. An unknown one is taken all the same (observed)."""
        number = row.get("variation_id") or row.get("product_id")
        if number:
            return self._shop.products.get(int(number))
        return next((p for p in self._shop.products.values() if p.sku and p.sku == row.get("sku")), None)

    # --- states and stock -------------------------------------------------------------------------------------

    def _paid(self, order: Order) -> None:
        """Payment is complete. Cash on delivery goes straight to completed (observed), goods to processing."""
        if order.status not in _PAYABLE:
            return
        order.paid = order.paid or self._shop.now
        self._set_status(order, "completed" if order.method == "cod" or not order.physical else "processing")

    def _set_status(self, order: Order, status: str) -> None:
        was, now = order.status, self._shop.now
        order.status = status
        pays = status == "completed" or (status == "processing" and order.method != "cod")
        if pays and order.paid is None:
            order.paid = now
        if status == "completed" and order.completed is None:
            order.completed = now
        if status in _STOCK_KEPT and not order.stock_taken:
            self._move_stock(order, -1)
        elif status in ("cancelled", "pending") and order.stock_taken:
            self._move_stock(order, 1)
        if status == "refunded" and was != "refunded":
            left = self._refundable(order)
            if left > 0:
                number = self._shop.new_id()
                order.refunds.append(Refund(number, now, left, "Order fully refunded.", full=True))

    def _move_stock(self, order: Order, sign: int) -> None:
        order.stock_taken = sign < 0
        for line in order.lines:
            self._take(line, sign * line.quantity)
            line.meta = [entry for entry in line.meta if entry["key"] != "_reduced_stock"]
            if sign < 0 and line.sku is not None:
                line.meta.append(_shown(self._shop.new_id(), "_reduced_stock", str(line.quantity)))

    def _take(self, line: Line, change: int) -> None:
        product = self._shop.products.get(line.variation_id or line.product_id)
        if product is None or product.manage_stock is not True:
            return
        product.stock = (product.stock or 0) + change
        product.recount()
        self._goods.touch(product)

    # --- refunds ----------------------------------------------------------------------------------------------

    def _refundable(self, order: Order) -> int:
        return self._shop.rules.totals(order)["total"] - sum(refund.amount for refund in order.refunds)

    def create_refund(self, number: int, body: dict[str, Any]) -> Answer:
        """POST orders/#/refunds: of lines, of an amount only, or of everything."""
        shop = self._shop
        order = shop.slot(number).order(keep=True)
        refund = Refund(shop.new_id(), shop.now, 0, str(body.get("reason") or ""))
        restock = body.get("api_restock", True)
        for row in body.get("line_items") or ():
            self._refund_row(order, refund, row, restock=bool(restock))
        given: list[Line | Charge] = [*refund.lines, *refund.shipping, *refund.fees]
        in_rows = sum(-part.total - shop.rules.line_tax(part.total, part.rates) for part in given)
        refund.amount = micros(body["amount"]) if body.get("amount") else in_rows
        left = self._refundable(order)
        if refund.amount <= 0 or refund.amount > left:
            raise Problem(500, "woocommerce_rest_cannot_create_order_refund", "Invalid refund amount.", 500)
        refund.full = refund.amount == left
        order.refunds.append(refund)
        if refund.full:
            order.status = "refunded"
        order.modified = shop.now
        shop.orders[number].changed()
        return 201, shop.show.refund(order, refund)

    def _refund_row(self, order: Order, refund: Refund, row: dict[str, Any], *, restock: bool) -> None:
        net = -micros(row.get("refund_total", 0))
        made = len(refund.lines) + len(refund.shipping) + len(refund.fees)
        number = refund.id * 100 + 40 + made
        line = next((line for line in order.lines if line.id == row.get("id")), None)
        if line is not None:
            count = -int(row.get("quantity") or 0)
            refund.lines.append(
                Line(
                    number,
                    line.name,
                    line.product_id,
                    line.variation_id,
                    count,
                    line.tax_class,
                    net,
                    net,
                    line.rates,
                    line.sku,
                    line.gtin,
                    line.parent_name,
                    refunds=line.id,
                )
            )
            if restock and order.stock_taken:
                self._take(line, -count)
                if not any(entry["key"] == "_restock_refunded_items" for entry in line.meta):
                    line.meta.append(_shown(self._shop.new_id(), "_restock_refunded_items", "1"))
            return
        for rows, into in ((order.charges, refund.shipping), (order.fees, refund.fees)):
            charge = next((c for c in rows if c.id == row.get("id")), None)
            if charge is not None:
                into.append(Charge(number, charge.label, charge.method, net, charge.rates, refunds=charge.id))


def _status(status: Any) -> str:
    if status not in ORDER_STATUSES:
        words = f"status is not one of {', '.join(ORDER_STATUSES[:-1])}, and {ORDER_STATUSES[-1]}."
        raise Problem.parameter("status", words, "rest_not_in_enum")
    return str(status)


def _shown(number: int, key: str, value: str) -> dict[str, Any]:
    return {"id": number, "key": key, "value": value, "display_key": key, "display_value": value}
