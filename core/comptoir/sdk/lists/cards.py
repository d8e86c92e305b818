"""What the cards of items and customers say alike in every program's list: pure functions for the mappings of
connectors. ValueError = the record waits for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comptoir.sdk.lists.cells import gtin, is_no, number, word, yes_no

__all__ = ["item_kind", "misread", "no_gtin", "prices", "tracked"]

_SERVICE = frozenset({"service", "prestation", "prestation de service", "prestation de services", "forfait", "frais"})


def tracked(managed: Any, stock: Any) -> bool:
    """Whether a row of the items' list says something about stock."""
    return bool(word(stock)) and not is_no(managed)


def item_kind(kind: Any, managed: Any, family: Any, service_families: Sequence[str]) -> str:
    """service or stock: by the item's type, else its family, else whether its stock is managed."""
    if word(kind).casefold() in _SERVICE or word(family) in service_families:
        return "service"
    return "service" if not word(kind) and yes_no(managed) is False else "stock"


def prices(net: Any, gross: Any, currency: str, decimal_sign: str) -> list[dict[str, Any]]:
    """The price without tax in the list HT and the one with tax in TTC, where they are given."""
    found = []
    for price_list, basis, given in (("HT", "excl", net), ("TTC", "incl", gross)):
        amount = number(given, decimal_sign)
        if amount is None:
            continue
        if amount < 0:
            raise ValueError(f"the price {price_list} {amount} is negative")
        found.append({"price_list": price_list, "amount": amount, "currency": currency, "basis": basis})
    return found


def no_gtin(record: Mapping[str, Any], column: str) -> dict[str, str]:
    """For `extra`: what stands in the column of barcodes and is no GTIN."""
    bar_code = word(record.get(column))
    return {column: bar_code} if bar_code and gtin(bar_code) is None else {}


def misread(record: Mapping[str, Any], **checks: Callable[[Any], str | None]) -> dict[str, str]:
    """For `extra`: what stands in these columns and is not what it should be (an e-mail address without @)."""
    written = {name: word(record.get(name)) for name in checks}
    return {name: text for name, text in written.items() if text and not checks[name](record[name])}
