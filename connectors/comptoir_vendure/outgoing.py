"""Pure functions that the `out` mappings in `mappings/vendure/` name. None = not said: it is never written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from comptoir_vendure.writing import price_text

__all__ = ["FUNCTIONS"]


def regular_price(prices: Any, currency: Any, including: Any) -> str | None:
    """The undated price of one piece; None when it cannot be told.

    It is the price of the list `regular`, else the only one there is. With `currency` and `including` (where the
    connection says what the shop's catalogue is in) prices of another currency or basis do not count: no price is ever
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
    found = {price_text(price.amount) for price in named}
    return found.pop() if len(found) == 1 else None


def whole(quantity: Any) -> int:
    """A quantity as the whole number that it is; ValueError for any other, which nobody has rounded yet."""
    number = Decimal(quantity)
    if number != number.to_integral_value():
        raise ValueError(f"{quantity} is no whole number, and Vendure counts in whole units")
    return int(number)


FUNCTIONS: dict[str, Callable[..., Any]] = {function.__name__: function for function in (regular_price, whole)}
