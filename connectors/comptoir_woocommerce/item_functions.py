"""Pure functions for products and variations, named by `item.in.yaml`."""

from __future__ import annotations

import html
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from comptoir_woocommerce.forms import amount, business_day, number, words

__all__ = ["ITEM_FUNCTIONS"]

#: Product types of the usual bundle plugins.
_KIT_TYPES = frozenset({"bundle", "composite", "woosb", "yith_bundle"})


def item_name(name: Any, parent_name: Any, attributes: Any) -> str:
    """A product's name; a variation's is its product's with the chosen options.

    WordPress' filters write & as &amp; in the name of a product that came through the API.
    """
    if not words(parent_name):
        return html.unescape(words(name))
    chosen = ", ".join(words(a.get("option")) for a in attributes or () if words(a.get("option")))
    return html.unescape(f"{words(parent_name)} - {chosen}" if chosen else words(parent_name))


def options(attributes: Any) -> list[dict[str, str]]:
    """The options that a variation has chosen; a product's own lists of options are none."""
    return [
        {"attribute": words(a.get("name")), "value": words(a.get("option"))}
        for a in attributes or ()
        if words(a.get("option"))
    ]


def prices(regular: Any, sale: Any, sale_from: Any, sale_to: Any, currency: Any, basis: Any) -> list[dict[str, Any]]:
    """The regular price and, when there is one, the sale price with its dates (shop-local days)."""
    found = []
    if (usual := amount(regular)) is not None:
        found.append({"price_list": "regular", "amount": usual, "currency": currency, "basis": basis})
    if (reduced := amount(sale)) is not None:
        found.append(
            {
                "price_list": "sale",
                "amount": reduced,
                "currency": currency,
                "basis": basis,
                "valid_from": business_day(sale_from),
                "valid_to": business_day(sale_to),
            }
        )
    return found


def lacks_gtin(gtin: Any) -> bool | None:
    """True for a shop before WooCommerce 9.2, whose items have no such field; an empty one is a field."""
    return True if gtin is None else None


def item_kind(product_type: Any, virtual: Any, downloadable: Any) -> str:
    """A kit, a gift card, a service (nothing to ship) or goods."""
    kind = words(product_type)
    if kind in _KIT_TYPES:
        return "kit"
    if "gift" in kind and "card" in kind:
        return "gift_card"
    return "service" if virtual or downloadable else "stock"


def tax_class(own: Any, parent: Any) -> str:
    """The tax class by its slug; WooCommerce writes the standard one as empty, a variation may say `parent`."""
    return words(parent if own == "parent" else own) or "standard"


def own_stock(manage_stock: Any, quantity: Any) -> Decimal | None:
    """Stock counted on this item itself; None when it is not counted or shared with sister variations."""
    return number(quantity) if manage_stock is True else None


def item_state(status: Any, parent_status: Any) -> str:
    """Active when it can be seen in the shop, retired when in the trash, else a draft."""
    states = {"publish": "active", "trash": "retired"}
    own = states.get(status, "draft")
    return own if parent_status in (None, "publish") else states.get(parent_status, "draft")


ITEM_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (item_kind, item_name, item_state, lacks_gtin, options, own_stock, prices, tax_class)
}
