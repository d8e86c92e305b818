"""Codes by which a back office and the hub know a record: never cut in silence.

What does not fit gets an alias that ends in a hash of the whole code, always the same one (gescom-interfaces §5).
`limit` is the program's number of characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from comptoir.sdk.documents.text import has_formula_lead
from comptoir.sdk.journal.text import short_hash

__all__ = ["alias_code", "capital_code", "customer_card_code", "customer_code", "document_number"]

_LONGEST_PREFIX = 8
_LONGEST_ID = 11


def alias_code(code: str, limit: int, charset: str = "cp1252", taboo: str = "") -> str:
    """The code itself when the program can hold it, else a readable beginning, `-` and eight hash characters.

    Two codes that share their first characters stay two codes. A code that holds a separator, a quote, a
    character outside the charset or a formula's first character gets an alias too; so does one that begins with a
    character of `taboo`, which the program would take for something else.
    """
    if len(code) <= limit and code[:1] not in tuple(taboo) and _is_plain(code, charset):
        return code
    letters = unicodedata.normalize("NFKD", code)
    stem = re.sub(r"[^A-Za-z0-9._-]", "", letters).lstrip("-._")[: limit - 9]
    return f"{stem or 'X'}-{short_hash(code, 8)}"


def capital_code(code: str, limit: int, charset: str = "cp850") -> str:
    """The same for programs whose codes are in capitals: `mug-01` is MUG-01 there, and they tell the two apart by
    nothing."""
    return alias_code(code.upper(), limit, charset, "#").upper()


def _is_plain(code: str, charset: str) -> bool:
    try:
        code.encode(charset)
    except UnicodeEncodeError:
        return False
    hostile = any(c in ';"' or unicodedata.category(c).startswith("C") for c in code)
    return bool(code) and code == code.strip() and not hostile and not has_formula_lead(code)


def _capitals(text: str) -> str:
    """Only unaccented capitals and digits."""
    return re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKD", text.upper()))


def _prefix(prefix: str | None, channel: str) -> str:
    """The configured prefix, or one made of the channel's name; it ends in a letter, so digits after it are
    an id.
    """
    if prefix:
        return prefix
    name = _capitals(channel)
    if not name or len(name) > _LONGEST_PREFIX - 1:
        name = name[:3] + short_hash(channel, 4)
    return name + "C"


def customer_code(
    prefix: str | None, channel: str, customer_id: str | None, email: str | None, order_id: str, limit: int
) -> str:
    """The program's code of the buyer of an order: at most `limit` capitals and digits (13 or more).

    Registered customers are `<PREFIX><id>`; a guest with an e-mail address gets a stable alias of it (G and ten hash
    characters), a guest without one is a customer of this order only (T and the order): an empty key never matches
    another buyer (failure mode 71). Without a configured prefix the channel's name is the prefix, so two shops never
    share customer 12. What is longer than `limit` becomes one letter and a hash of all of it. Raises ValueError when
    nothing identifies the buyer.
    """
    head = _prefix(prefix, channel)
    if customer_id:
        code, mark, whole = head + _tail(customer_id), "H", customer_id
    elif email and email.strip():
        mark, whole = "G", email.strip().casefold()
        code = head + mark + short_hash(whole, 10)
    elif order_id:
        code, mark, whole = head + "T" + _tail(order_id), "T", order_id
    else:
        raise ValueError("a guest without e-mail needs the order's id: nothing else tells two of them apart")
    return code if len(code) <= limit else mark + short_hash(f"{head}\x1f{whole}", min(limit - 1, 16))


def _tail(identifier: str) -> str:
    """Digits as they are, anything else by its hash."""
    if identifier.isascii() and identifier.isdigit() and len(identifier) <= _LONGEST_ID:
        return identifier
    return "H" + short_hash(identifier, 10)


def customer_card_code(
    prefix: str | None, channel: str, account: Any, external_id: str, email: str | None, limit: int
) -> str:
    """The same code for a customer card, so that orders and cards meet; `account` is b2c, b2b or guest."""
    registered = str(account) != "guest"
    return customer_code(prefix, channel, external_id if registered else None, email, external_id, limit)


def document_number(
    prefix: str | None, channel: str, number: str, limit: int, charset: str = "cp1252", taboo: str = ""
) -> str:
    """The shop's number as the program keeps it beside its own: prefix and number, at most `limit` characters.

    `{CHANNEL}` in the prefix is the channel's name in capitals, so two shops may both have an order 1001.
    """
    head = ("{CHANNEL}-" if prefix is None else prefix).replace("{CHANNEL}", channel.upper())
    return alias_code(head + number, limit, charset, taboo)
