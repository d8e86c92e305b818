"""What is written to a WooCommerce shop, key by key: its one normal form, and what may be sent at all.

The `out` mappings write values in these forms, and what the shop answers is brought into the same ones (`shown`), so
that two equal texts mean one value: a price of 12.5 is "12.50" here whether the shop says "12.5", "12.50" or "12.500".

A batch of WooCommerce checks nothing that a single request checks: a price that is no number empties the price, a
quantity of 3.7 is cut to 3 (recorded for single requests: 201 and 400; a batch skips that check). So `body` refuses it
before anything is sent. Keys that no list here names are never sent; pictures are not among them, because a shop stores
a picture again each time its address is written.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from comptoir.sdk import EntityName, load_manifest

__all__ = ["Unfit", "body", "price_text", "shown"]

_PRICE = re.compile(r"\d{1,12}(\.\d{1,10})?")
_CENT = Decimal("0.01")
_MAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;]+")
#: What a shop's database holds (a signed integer of 32 bits is the least of them).
_MOST = 2_147_483_647
_LENGTHS = load_manifest("comptoir_woocommerce").limits.lengths
_PLACE = frozenset(
    ("first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country")
)
_PLACES = {"billing": _PLACE | {"email"}, "shipping": _PLACE | {"phone"}}
_STOCK_KEYS = frozenset(("stock_quantity", "manage_stock"))
_ITEM_KEYS = frozenset(("regular_price", "name", "sku", "global_unique_id"))
_CUSTOMER_KEYS = frozenset(("email", "first_name", "last_name", "phone", "billing", "shipping"))
_KEYS = {
    EntityName.ITEM: _ITEM_KEYS | _STOCK_KEYS,
    EntityName.STOCK: _STOCK_KEYS,
    EntityName.CUSTOMER: _CUSTOMER_KEYS,
}
_CREATE_ONLY = {EntityName.ITEM: frozenset(("virtual",)), EntityName.CUSTOMER: frozenset[str]()}


class Unfit(ValueError):
    """A value that must not be sent: which key, and what to do."""

    def __init__(self, key: str, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason
        self.hint = hint


def price_text(amount: Decimal) -> str:
    """A price as it is written to the shop: a dot, two decimals, more only where they say something."""
    plain = amount.normalize()
    return f"{plain.quantize(_CENT) if plain.as_tuple().exponent > -2 else plain:f}"  # type: ignore[operator]


def shown(key: str, value: Any) -> Any:
    """A value of the shop's answer in the form that the `out` mapping writes it; of an unknown form: as it is."""
    form = _FORMS.get(key)
    return value if form is None else form(value)


def body(entity: EntityName, fields: Mapping[str, Any], *, variation: bool, creating: bool = False) -> dict[str, Any]:
    """What goes into the batch for these fields, in their normal forms. None means "not said" and is left out.

    Raises Unfit for a key or value that the shop does not take, or would take for something else.
    """
    allowed = _KEYS[entity] | (_CREATE_ONLY[entity] if creating else frozenset())
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in allowed:
            raise Unfit(key, f"{key} is no key that is written to WooCommerce", "Take it out of the `out` mapping.")
        if value is None:
            continue
        if value == "":
            raise Unfit(key, f"{key} is empty: an empty value is never written", "Empty it in the shop itself.")
        if key == "name" and variation:
            raise Unfit(
                key, "a variation has no name of its own", "It is named by its product and options; name the product."
            )
        _CHECKS.get(key, _text)(key, value, found)
    if not found:
        raise Unfit(next(iter(fields), ""), "there is nothing to write", "Give at least one value.")
    return found


# --- forms ------------------------------------------------------------------------------------------------------


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 30 else None


def _price_form(value: Any) -> Any:
    return _price_of_text(value) if value.__class__ is str else _price_of_text.__wrapped__(value)


@functools.lru_cache(maxsize=4096)
def _price_of_text(value: Any) -> Any:
    """Kept for texts: the same prices come again and again."""
    number = _number(value)
    return value if number is None else price_text(number)


def _count_form(value: Any) -> Any:
    """A whole number as int; a fraction, which only a plugin's shop has, as plain text."""
    if value.__class__ is int:  # what WooCommerce sends
        return value
    number = _number(value)
    if number is None:
        return value
    return int(number) if number == number.to_integral_value() else f"{number.normalize():f}"


def _text_form(value: Any) -> Any:
    return unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else value


def _name_form(value: Any) -> Any:
    """WordPress writes & of a name that came through its filters as &amp;."""
    return _text_form(html.unescape(value)) if isinstance(value, str) else value


def _place_form(value: Any) -> Any:
    return {name: _text_form(part) for name, part in value.items()} if isinstance(value, Mapping) else value


_FORMS: dict[str, Callable[[Any], Any]] = {
    "regular_price": _price_form,
    "stock_quantity": _count_form,
    "name": _name_form,
    "sku": _text_form,
    "global_unique_id": _text_form,
    "email": _text_form,
    "first_name": _text_form,
    "last_name": _text_form,
    "phone": _text_form,
    "billing": _place_form,
    "shipping": _place_form,
}


# --- checks -----------------------------------------------------------------------------------------------------


def _price(key: str, value: Any, into: dict[str, Any]) -> None:
    form = _price_form(value)
    if not isinstance(form, str) or not _PRICE.fullmatch(form):
        raise Unfit(
            key,
            f"{value!r} is no price",
            "A price is a number of at most ten decimals that is not negative; WooCommerce would take anything else "
            "for an empty price. Correct it at its source.",
        )
    into[key] = form


def _count(key: str, value: Any, into: dict[str, Any]) -> None:
    count = _count_form(value)
    if not isinstance(count, int) or isinstance(count, bool):
        raise Unfit(
            key,
            f"{value!r} is no whole number",
            "WooCommerce counts in whole units and would cut the rest off. Round the published quantity down, or sell "
            "this item in whole units.",
        )
    if abs(count) > _MOST:
        raise Unfit(key, f"{count} is more than WooCommerce can count", "Correct the quantity at its source.")
    into[key] = count


def _switch(key: str, value: Any, into: dict[str, Any]) -> None:
    if not isinstance(value, bool):
        raise Unfit(key, f"{key} is {value!r}: true or false is expected", "Correct the `out` mapping.")
    into[key] = value


def _text(key: str, value: Any, into: dict[str, Any]) -> None:
    if not isinstance(value, str) or not value.strip():
        raise Unfit(key, f"{key} is no text", "Correct it at its source, or the `out` mapping.")
    into[key] = _text_form(value)
    _check_length(key, into[key])


def _check_length(key: str, text: str) -> None:
    if len(text) > _LENGTHS.get(key, len(text)):
        raise Unfit(key, f"{key} has {len(text)} signs, the shop keeps {_LENGTHS[key]}", "Shorten it at its source.")


def _mail(key: str, value: Any, into: dict[str, Any]) -> None:
    # The value itself is personal: it is not repeated.
    if not isinstance(value, str) or not _MAIL.fullmatch(value.strip()):
        raise Unfit(key, "the e-mail address is none", "Correct it at its source.")
    into[key] = _text_form(value)
    _check_length(key, into[key])


def _phone(key: str, value: Any, into: dict[str, Any]) -> None:
    found: dict[str, Any] = {}
    _text(key, value, found)
    into.setdefault("billing", {})["phone"] = found[key]


def _place(key: str, value: Any, into: dict[str, Any]) -> None:
    """The parts that are given; the shop leaves the others as they are."""
    if not isinstance(value, Mapping):
        raise Unfit(key, f"{key} is no address", "Correct the `out` mapping.")
    parts: dict[str, Any] = {}
    for name, part in value.items():
        if name not in _PLACES[key]:
            raise Unfit(f"{key}.{name}", f"an address has no {name} here", "Correct the `out` mapping.")
        if part is None:
            continue
        check = _mail if name == "email" else _text
        check(name, part, parts)
    if parts:
        into.setdefault(key, {}).update(parts)


_CHECKS: dict[str, Callable[[str, Any, dict[str, Any]], None]] = {
    "regular_price": _price,
    "stock_quantity": _count,
    "manage_stock": _switch,
    "virtual": _switch,
    "email": _mail,
    "phone": _phone,
    "billing": _place,
    "shipping": _place,
}
