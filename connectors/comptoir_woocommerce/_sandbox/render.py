"""The JSON of WooCommerce 7.9 and 11.0, field by field in the order they were recorded in."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from comptoir_woocommerce._sandbox.money import (
    Charge,
    Line,
    Order,
    Rate,
    Refund,
    TaxRules,
    cents,
    plain,
    price_of,
)

__all__ = ["Renderer"]

_READ_WRITE = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "CHF": "CHF", "JPY": "¥"}


@functools.lru_cache(maxsize=4096)
def _written(moment: int, zone: tzinfo) -> str:
    """A time without its zone. Kept: records that are written together show the same seconds."""
    return datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%dT%H:%M:%S")


class Renderer:
    """Renders for one shop: its address, zone, version and tax rules."""

    def __init__(self, *, home: str, api_path: str, zone: str, version: str, rules: TaxRules) -> None:
        self.home = home
        self.version = version
        self.modern = not version.startswith("7.")
        self._api = home + api_path
        self._zone = ZoneInfo(zone)
        self._rules = rules

    # --- small things -----------------------------------------------------------------------------------------

    def local(self, moment: int | None) -> str | None:
        """Shop-local time without zone."""
        return None if moment is None else _written(moment, self._zone)

    def gmt(self, moment: int | None) -> str | None:
        """GMT without Z."""
        return None if moment is None else _written(moment, UTC)

    def offset(self, moment: int) -> int:
        """Seconds that the shop's zone is ahead of GMT."""
        ahead = datetime.fromtimestamp(moment, self._zone).utcoffset()
        return int(ahead.total_seconds()) if ahead else 0

    def links(
        self, path: str, collection: str, up: str | None = None, allow: tuple[str, ...] = _READ_WRITE
    ) -> dict[str, Any]:
        """The `_links` of a record."""
        own: dict[str, Any] = {"href": f"{self._api}{path}"}
        if self.modern:
            own["targetHints"] = {"allow": list(allow)}
        found: dict[str, Any] = {"self": [own], "collection": [{"href": f"{self._api}{collection}"}]}
        if up is not None:
            found["up"] = [{"href": f"{self._api}{up}"}]
        return found

    def _part(self, tax: int) -> str:
        """One rate's part of a line: version 7 shows up to six decimals, 11 two."""
        return cents(tax) if self.modern else plain(tax)

    # --- lines ------------------------------------------------------------------------------------------------

    def _line(self, line: Line) -> dict[str, Any]:
        totals = self._rules.taxes(line.total, line.rates)
        subtotals = self._rules.taxes(line.subtotal, line.rates)
        found: dict[str, Any] = {
            "id": line.id,
            "name": line.name,
            "product_id": line.product_id,
            "variation_id": line.variation_id,
            "quantity": line.quantity,
            "tax_class": line.tax_class,
            "subtotal": cents(line.subtotal),
            "subtotal_tax": cents(self._rules.line_tax(line.subtotal, line.rates)),
            "total": cents(line.total),
            "total_tax": cents(self._rules.line_tax(line.total, line.rates)),
            "taxes": [
                {"id": rate.id, "total": self._part(total), "subtotal": self._part(subtotal)}
                for rate, total, subtotal in zip(line.rates, totals, subtotals, strict=True)
            ],
            "meta_data": line.meta if not line.refunds else [_shown(line.id + 9000, "_refunded_item_id", line.refunds)],
            "sku": line.sku,
        }
        if self.modern:
            found["global_unique_id"] = line.gtin if line.gtin is not None else ("" if line.sku else None)
        found["price"] = price_of(line)
        found["image"] = {"id": "" if line.sku and not line.variation_id else 0, "src": ""}
        found["parent_name"] = line.parent_name
        return found

    def _shipping_line(self, charge: Charge) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": charge.id,
            "method_title": charge.label,
            "method_id": charge.method or "",
            "instance_id": "",
            "total": cents(charge.total),
            "total_tax": cents(self._rules.line_tax(charge.total, charge.rates)),
            "taxes": self._charge_taxes(charge),
        }
        if self.modern:
            found["tax_status"] = "taxable"
        found["meta_data"] = _back(charge)
        return found

    def _fee_line(self, fee: Charge) -> dict[str, Any]:
        return {
            "id": fee.id,
            "name": fee.label,
            "tax_class": "",
            "tax_status": "taxable",
            "amount": "",
            "total": cents(fee.total),
            "total_tax": cents(self._rules.line_tax(fee.total, fee.rates)),
            "taxes": self._charge_taxes(fee),
            "meta_data": _back(fee),
        }

    def _charge_taxes(self, charge: Charge) -> list[dict[str, Any]]:
        taxes = self._rules.taxes(charge.total, charge.rates)
        return [
            {"id": rate.id, "total": self._part(tax), "subtotal": ""}
            for rate, tax in zip(charge.rates, taxes, strict=True)
        ]

    def _tax_lines(
        self, first_id: int, goods: list[tuple[int, tuple[Rate, ...]]], carriage: list[tuple[int, tuple[Rate, ...]]]
    ) -> list[dict[str, Any]]:
        cart, shipping = self._rules.per_rate(goods), self._rules.per_rate(carriage)
        return [
            {
                "id": first_id + position,
                "rate_code": rate.code,
                "rate_id": rate.id,
                "label": rate.name,
                "compound": rate.compound,
                "tax_total": cents(cart.get(rate, 0)),
                "shipping_tax_total": cents(shipping.get(rate, 0)),
                "rate_percent": rate.number,
                "meta_data": [],
            }
            for position, rate in enumerate(dict.fromkeys([*cart, *shipping]))
        ]

    # --- documents --------------------------------------------------------------------------------------------

    def order(self, order: Order) -> dict[str, Any]:
        """An order as GET shows it."""
        totals = {name: cents(value) for name, value in self._rules.totals(order).items()}
        goods = [(line.total, line.rates) for line in [*order.lines]]
        goods += [(fee.total, fee.rates) for fee in order.fees]
        links = self.links(f"/orders/{order.id}", "/orders")
        if self.modern:
            actions = f"{self._api}/orders/{order.id}/actions/email_templates"
            links["email_templates"] = [{"embeddable": True, "href": actions}]
        if order.customer_id:
            links["customer"] = [{"href": f"{self._api}/customers/{order.customer_id}"}]
        pay = f"{self.home}/checkout/order-pay/{order.id}/?pay_for_order=true&key={order.key}"
        return {
            "id": order.id,
            "parent_id": 0,
            "status": order.status,
            "currency": order.currency,
            "version": self.version,
            "prices_include_tax": self._rules.prices_include_tax,
            "date_created": self.local(order.created),
            "date_modified": self.local(order.modified),
            "discount_total": totals["discount"],
            "discount_tax": totals["discount_tax"],
            "shipping_total": totals["shipping"],
            "shipping_tax": totals["shipping_tax"],
            "cart_tax": totals["cart_tax"],
            "total": totals["total"],
            "total_tax": totals["total_tax"],
            "customer_id": order.customer_id,
            "order_key": order.key,
            "billing": order.billing,
            "shipping": order.shipping,
            "payment_method": order.method,
            "payment_method_title": order.method_title,
            "transaction_id": order.transaction,
            "customer_ip_address": "",
            "customer_user_agent": "",
            "created_via": order.via,
            "customer_note": order.note,
            "date_completed": self.local(order.completed),
            "date_paid": self.local(order.paid),
            "cart_hash": "",
            "number": str(order.id),
            "meta_data": order.meta,
            "line_items": [self._line(line) for line in order.lines],
            "tax_lines": self._tax_lines(order.tax_line_ids, goods, [(c.total, c.rates) for c in order.charges]),
            "shipping_lines": [self._shipping_line(charge) for charge in order.charges],
            "fee_lines": [self._fee_line(fee) for fee in order.fees],
            "coupon_lines": [self._coupon_line(order, n) for n in range(len(order.coupons))],
            "refunds": [self._refund_stub(refund) for refund in order.refunds],
            "payment_url": pay,
            "is_editable": order.status in ("pending", "on-hold", "auto-draft"),
            "needs_payment": order.status in ("pending", "failed") and totals["total"] != "0.00",
            "needs_processing": order.physical,
            "date_created_gmt": self.gmt(order.created),
            "date_modified_gmt": self.gmt(order.modified),
            "date_completed_gmt": self.gmt(order.completed),
            "date_paid_gmt": self.gmt(order.paid),
            "currency_symbol": _SYMBOLS.get(order.currency, order.currency),
            "_links": links,
        }

    def _coupon_line(self, order: Order, position: int) -> dict[str, Any]:
        coupon, totals = order.coupons[position], self._rules.totals(order)
        # The shop keeps no share per coupon that matters here: the first one shows the whole discount.
        discount, tax = (totals["discount"], totals["discount_tax"]) if position == 0 else (0, 0)
        found: dict[str, Any] = {
            "id": coupon.id,
            "code": coupon.code,
            "discount": cents(discount),
            "discount_tax": plain(tax),
        }
        if self.modern:
            info = f'[26,"{coupon.code}","percent",{coupon.percent}]'
            found["meta_data"] = [_shown(coupon.id + 9000, "coupon_info", info)]
            found |= {"discount_type": "percent", "nominal_amount": coupon.percent, "free_shipping": False}
            return found
        found["meta_data"] = [
            _shown(coupon.id + 9000, "coupon_data", self._coupon_data(order, coupon.code, coupon.percent))
        ]
        return found

    def _coupon_data(self, order: Order, code: str, percent: int) -> dict[str, Any]:
        """Version 7 writes the whole coupon into each order, as PHP prints it."""
        day = datetime.fromtimestamp(order.created, self._zone).strftime("%Y-%m-%d 00:00:00.000000")
        made = {"date": day, "timezone_type": 3, "timezone": str(self._zone)}
        empty = ("product_ids", "excluded_product_ids", "product_categories", "excluded_product_categories")
        return {
            "id": 25,
            "code": code,
            "amount": str(percent),
            "status": "publish",
            "date_created": made,
            "date_modified": made,
            "date_expires": None,
            "discount_type": "percent",
            "description": "",
            "usage_count": 0,
            "individual_use": False,
            **{name: [] for name in empty},
            "usage_limit": 0,
            "usage_limit_per_user": 0,
            "limit_usage_to_x_items": None,
            "free_shipping": False,
            "exclude_sale_items": False,
            "minimum_amount": "",
            "maximum_amount": "",
            "email_restrictions": [],
            "virtual": False,
            "meta_data": [],
        }

    def _refund_stub(self, refund: Refund) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": refund.id,
            "reason": refund.reason,
            "total": cents(-refund.amount),
        }
        if self.modern:
            parts: list[Line | Charge] = [*refund.lines, *refund.shipping, *refund.fees]
            found["total_tax"] = cents(sum(self._rules.line_tax(part.total, part.rates) for part in parts))
        return found

    def refund(self, order: Order, refund: Refund) -> dict[str, Any]:
        """A refund as the order's list of refunds shows it."""
        goods = [(line.total, line.rates) for line in refund.lines]
        goods += [(fee.total, fee.rates) for fee in refund.fees]
        path = f"/orders/{order.id}/refunds"
        meta = [{"id": refund.id * 10, "key": "_refund_type", "value": "full" if refund.full else "partial"}]
        return {
            "id": refund.id,
            "date_created": self.local(refund.created),
            "date_created_gmt": self.gmt(refund.created),
            "amount": cents(refund.amount),
            "reason": refund.reason,
            "refunded_by": 1,
            "refunded_payment": False,
            "meta_data": meta if self.modern else [],
            "line_items": [self._line(line) for line in refund.lines],
            "shipping_lines": [self._shipping_line(charge) for charge in refund.shipping],
            "tax_lines": self._tax_lines(refund.id * 100 + 50, goods, [(c.total, c.rates) for c in refund.shipping]),
            "fee_lines": [self._fee_line(fee) for fee in refund.fees],
            "_links": self.links(f"{path}/{refund.id}", path, f"/orders/{order.id}", ("GET", "DELETE")),
        }


def _shown(number: int, key: str, value: Any) -> dict[str, Any]:
    """A meta entry of a line, with how the back office would show it."""
    text = str(value) if isinstance(value, int) else value
    return {"id": number, "key": key, "value": text, "display_key": key, "display_value": text}


def _back(charge: Charge) -> list[dict[str, Any]]:
    return [_shown(charge.id + 9000, "_refunded_item_id", charge.refunds)] if charge.refunds else []
