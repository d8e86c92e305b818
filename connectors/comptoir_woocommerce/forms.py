"""How WooCommerce writes amounts, numbers, words and custom fields, read exactly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["amount", "business_day", "gmt", "meta_text", "number", "words"]

#: Of 2026-11-22T04:15:08.
_SECONDS_WIDTH = 19


def amount(value: Any) -> Decimal | None:
    """An exact amount from WooCommerce's text (never from a float); None when it is empty."""
    if value.__class__ is str:  # what WooCommerce sends, nearly always
        return _exact(value) if value else None
    if value is None:
        return None
    if isinstance(value, float | bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"{value!r} is no exact amount")
    return _exact.__wrapped__(value)


@functools.lru_cache(maxsize=4096)
def _exact(value: Any) -> Decimal:
    """The amount itself. Kept for texts: a shop's prices, taxes and zeros come again and again."""
    try:
        found = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is no amount") from None
    if not found.is_finite():
        raise ValueError(f"{value!r} is no amount")
    return found


def number(value: Any) -> Decimal | None:
    """A rate or quantity, which WooCommerce writes as JSON number or text."""
    return amount(repr(value) if isinstance(value, float) else value)


def words(value: Any) -> str:
    """Stripped text; empty for anything else (PHP writes nothing as "", null, false or [])."""
    return value.strip() if isinstance(value, str) else ""


def meta_text(entries: Any, keys: Sequence[str]) -> str | None:
    """The first non-empty text stored under one of these keys."""
    if not entries:
        return None
    found = {entry.get("key"): entry.get("value") for entry in entries if isinstance(entry, dict)}
    return next((text for key in keys if (text := words(found.get(key)))), None)


def business_day(local_time: Any) -> str | None:
    """The date of a time in the shop's own zone."""
    return words(local_time)[:10] or None


def gmt(text: str) -> datetime:
    """The moment of a `*_gmt` field; ValueError when it is none."""
    if len(text) == _SECONDS_WIDTH and text[16] == ":":  # what WooCommerce writes
        return datetime.fromisoformat(text + "+00:00")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
