"""A WooCommerce order -> the canonical model, as a good engineer writes it by hand.

It calls the connector's pure functions where a rule is hard (tax by rate, unit price, payment state) and converts the
rest on the spot. `bench.mapping` asserts that it gives what the declarative mapping gives, and `bench.rivals` use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from comptoir.model.order import SalesOrder
from comptoir_woocommerce.functions import (
    account,
    country,
    extra,
    fulfilment_state,
    hold,
    item_ref,
    payment_state,
    payments,
    siret,
    tax_lines,
    unit_price,
    vat_id,
)

__all__ = ["order", "order_fields"]

_METHODS = {
    "bacs": "transfer", "cheque": "cheque", "cod": "cod", "stripe": "card", "stripe_cc": "card",
    "stripe_applepay": "card", "stripe_googlepay": "card", "stripe_bancontact": "card", "stripe_sepa": "direct_debit",
    "stripe_sepa_debit": "direct_debit", "woocommerce_payments": "card", "payplug": "card", "payzen": "card",
    "systempay": "card", "up2pay": "card", "monetico": "card", "lyra": "card", "alma": "other",
    "ppcp-gateway": "wallet", "ppcp-credit-card-gateway": "card", "paypal": "wallet", "ppec_paypal": "wallet",
    "amazon_payments_advanced": "wallet", "pw_gift_card": "gift_card", "gocardless": "direct_debit",
}  # fmt: skip
_STATUSES = frozenset(
    ("pending", "on-hold", "processing", "completed", "cancelled", "refunded", "failed", "checkout-draft", "trash")
)


def order(raw: Mapping[str, Any], context: Mapping[str, Any]) -> SalesOrder:
    """The validated order."""
    return SalesOrder.model_validate(order_fields(raw, context))


def order_fields(raw: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The order's fields, before validation."""
    get = raw.get
    status = get("status")
    if status not in _STATUSES:
        raise ValueError(f"unknown order state {status!r}")
    billing, shipping = get("billing") or {}, get("shipping") or {}
    meta, refunds = get("meta_data") or [], get("refunds") or []
    paid, completed, method = get("date_paid_gmt"), get("date_completed_gmt"), get("payment_method")
    total, customer_id = get("total"), get("customer_id")
    rates, currency, home = get("tax_lines"), _text(get("currency")), context["company.country"]
    bill_to, ship_to = billing.get("country"), shipping.get("country")
    company, siret_number = _text(billing.get("company")), siret(meta)
    state = payment_state(status, paid, method, total, refunds)
    method_word = _METHODS.get(method, "other") if method else None

    def taxes(line: Mapping[str, Any]) -> list[dict[str, Any]]:
        return tax_lines(
            line.get("taxes"), line.get("total"), line.get("total_tax"), rates, currency, ship_to, bill_to, meta, home
        )

    lines = [
        {
            "external_id": str(line["id"]),
            "position": position,
            "item_id": item_ref(line.get("variation_id"), line.get("product_id")),
            "sku": _text(line.get("sku")),
            "gtin": _text(line.get("global_unique_id")),
            "name": _text(line.get("name")) or "?",
            "quantity": Decimal(line["quantity"]),
            "unit_price": unit_price(line.get("subtotal"), line["quantity"]),
            "list_net": Decimal(line.get("subtotal") or 0),
            "list_tax": Decimal(line.get("subtotal_tax") or 0),
            "net": Decimal(line.get("total") or 0),
            "tax": Decimal(line.get("total_tax") or 0),
            "taxes": taxes(line),
        }
        for position, line in enumerate(get("line_items") or (), 1)
    ]
    charges = [
        {
            "external_id": str(line["id"]),
            "kind": "shipping",
            "label": line.get("method_title") or line.get("method_id") or "shipping",
            "method": _text(line.get("method_id")),
            "net": Decimal(line.get("total") or 0),
            "tax": Decimal(line.get("total_tax") or 0),
            "taxes": taxes(line),
        }
        for line in get("shipping_lines") or ()
    ]
    charges += [
        {
            "external_id": str(line["id"]),
            "kind": "fee",
            "label": _text(line.get("name")) or "fee",
            "net": Decimal(line.get("total") or 0),
            "tax": Decimal(line.get("total_tax") or 0),
            "taxes": taxes(line),
        }
        for line in get("fee_lines") or ()
    ]
    discounts = [
        {
            "external_id": str(coupon["id"]),
            "code": _text(coupon.get("code")) or "?",
            "net": Decimal(coupon.get("discount") or 0),
            "tax": Decimal(coupon.get("discount_tax") or 0),
        }
        for coupon in get("coupon_lines") or ()
    ]
    title, created_via = get("payment_method_title"), get("created_via")
    return {
        "external_id": str(raw["id"]),
        "number": str(raw["number"]),
        "channel": context["channel"],
        "source_status": status,
        "ordered_at": _utc(raw["date_created_gmt"]),
        "ordered_on": raw["date_created"][:10],
        "source_zone": context.get("config.time_zone") or context["company.time_zone"],
        "original_time": raw["date_created"],
        "modified_at": _utc(get("date_modified_gmt")),
        "paid_at": _utc(paid),
        "completed_at": _utc(completed),
        "currency": currency.upper() if currency else None,
        "price_basis": "incl" if raw["prices_include_tax"] else "excl",
        "buyer": {
            "customer_id": str(customer_id) if customer_id else None,
            "account": account(customer_id, company, meta),
            "party": {
                "kind": "organisation" if company else "person",
                "first_name": _text(billing.get("first_name")),
                "last_name": _text(billing.get("last_name")),
                "company": company,
                "email": _text(billing.get("email")),
                "phone": _text(billing.get("phone")),
                "vat_id": vat_id(meta),
                "siren": siret_number[:9] if siret_number else None,
                "siret": siret_number,
            },
        },
        "billing": _address("billing", billing),
        "shipping": _address("shipping", shipping),
        "payment_state": state,
        "fulfilment_state": fulfilment_state(status, completed),
        "hold": hold(status, paid),
        "payment_method": method_word,
        "lines": lines,
        "charges": charges,
        "discounts": discounts,
        "payments": payments(state, method_word, method, title, get("transaction_id"), total, paid),
        "refund_ids": [str(refund["id"]) for refund in refunds],
        "totals": {
            "total": Decimal(raw["total"]),
            "tax": Decimal(get("total_tax") or 0),
            "shipping": _money(get("shipping_total")),
            "shipping_tax": _money(get("shipping_tax")),
            "discount": _money(get("discount_total")),
            "discount_tax": _money(get("discount_tax")),
        },
        "note": _text(get("customer_note")),
        "extra": extra(meta, "payment_method", method, "payment_method_title", title, "created_via", created_via),
    }


def _text(value: str | None) -> str | None:
    return (value.strip() or None) if value else None


def _money(value: str | None) -> Decimal | None:
    return Decimal(value) if value else None


def _utc(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None


def _address(role: str, block: Mapping[str, Any]) -> dict[str, Any] | None:
    get = block.get
    lines = [line for line in (_text(get("address_1")), _text(get("address_2"))) if line]
    company, first, last = _text(get("company")), _text(get("first_name")), _text(get("last_name"))
    postcode, city = _text(get("postcode")), _text(get("city"))
    if not (lines or company or first or last or postcode or city):
        return None
    found = {
        "role": role,
        "company": company,
        "first_name": first,
        "last_name": last,
        "lines": lines,
        "postcode": postcode,
        "city": city,
        "region": _text(get("state")),
        "country": country(get("country")),
        "phone": _text(get("phone")),
    }
    if role == "billing":
        found["email"] = _text(get("email"))
    return found
