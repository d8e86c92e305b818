"""Pure functions that the `out` mappings in `mappings/woocommerce/` name. None = not said: it is never written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from comptoir_woocommerce import values

__all__ = ["FUNCTIONS"]

_LINES = 2


def regular_price(prices: Any, currency: Any, including: Any) -> str | None:
    """The undated price of one piece that the shop asks for outside of sales; None when it cannot be told.

    It is the price of the list `regular`, else the only one there is. With `currency` and `including` (what the shop's
    catalogue is in, where the connection says so) prices of another currency or basis do not count: no price is ever
    converted here.
    """
    fitting = [
        price
        for price in prices or ()
        if price.price_list != "sale"
        and (price.minimum_quantity is None or price.minimum_quantity <= 1)
        and price.valid_from is None
        and price.valid_to is None
        and (currency is None or price.currency == currency)
        and (including is None or (price.basis.value == "incl") == including)
    ]
    named = [price for price in fitting if price.price_list == "regular"] or fitting
    found = {values.price_text(price.amount) for price in named}
    return found.pop() if len(found) == 1 else None


def item_name(name: Any, product_id: Any) -> str | None:
    """The name of an item that stands alone; None for a variant: WooCommerce names it by its product and options."""
    return None if product_id is not None else values.shown("name", str(name)) or None


def gtin(gtins: Sequence[str], extra: Any) -> str | None:
    """The first GTIN: WooCommerce keeps one; None for an item of a shop that is known to keep none."""
    return gtins[0] if gtins and not (extra or {}).get("no_gtin") else None


def is_service(kind: Any) -> bool | None:
    """True for what is not shipped; None for goods, which is what WooCommerce takes a new product for."""
    return True if getattr(kind, "value", kind) in ("service", "gift_card") else None


def place(addresses: Any, role: str, company: Any) -> dict[str, str] | None:
    """The parts of the address in this role that are known; None when there are none.

    A third line and further ones stand behind the second. The phone of the billing address is the customer's own.
    """
    found = next((address for address in addresses or () if address.role == role), None)
    if found is None:
        return None
    rest = ", ".join(found.lines[_LINES - 1 :])
    parts = {
        "first_name": found.first_name,
        "last_name": found.last_name,
        "company": found.company or (company if role == "billing" else None),
        "address_1": found.lines[0] if found.lines else None,
        "address_2": rest,
        "city": found.city,
        "state": found.region,
        "postcode": found.postcode,
        "country": found.country,
        **({"email": found.email} if role == "billing" else {"phone": found.phone}),
    }
    said = {name: part for name, part in parts.items() if part}
    return values.shown(role, said) if said else None


def whole(quantity: Any) -> int:
    """A quantity as the whole number that it is; ValueError for any other, which nobody has rounded yet."""
    number = Decimal(quantity)
    if number != number.to_integral_value():
        raise ValueError(f"{quantity} is no whole number, and WooCommerce counts in whole units")
    return int(number)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (gtin, is_service, item_name, place, regular_price, whole)
}
