"""The pure functions that mappings may name: conversions (`as:`) and built-in calls (`call:`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["BUILTINS", "CONVERSIONS", "CONVERSION_TYPES", "at", "pick"]


def text(value: Any) -> str | None:
    """Stripped text, None when there is none."""
    if value is None:
        return None
    return str(value).strip() or None


def code(value: Any) -> str | None:
    """A key as text: numbers are written out, empty is None. A float is refused: it has lost digits already."""
    if value is None or value == "":
        return None
    if isinstance(value, (bool, float)):
        raise ValueError(f"{value!r} is no key: expected text or a whole number")
    return str(value).strip() or None


def decimal(value: Any) -> Decimal | None:
    """An exact decimal; a JSON number is taken by its shortest written form, never through arithmetic."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{value!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is no finite number")
    return number


def integer(value: Any) -> int | None:
    """A whole number."""
    number = decimal(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise ValueError(f"{value!r} is no whole number")
    return int(number)


def boolean(value: Any) -> bool | None:
    """True or false, also from 'yes'/'no', '1'/'0'."""
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"{value!r} is neither yes nor no")


def utc(value: Any) -> datetime | None:
    """An aware UTC moment from ISO 8601 text; text without a zone is UTC (the `*_gmt` fields of WordPress)."""
    if value is None or value == "":
        return None
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def upper(value: Any) -> str | None:
    """Upper-case stripped text."""
    found = text(value)
    return found.upper() if found else None


def iso_date(value: Any) -> str | None:
    """YYYY-MM-DD of a date, or of the date part of ISO 8601 text."""
    return value.isoformat()[:10] if isinstance(value, date) else (text(value) or "")[:10] or None


def french_date(value: Any) -> str | None:
    """JJ/MM/AAAA of a date."""
    if value is None:
        return None
    day: date = value.date() if isinstance(value, datetime) else value
    return f"{day.day:02d}/{day.month:02d}/{day.year:04d}"


def cents2(value: Any) -> str | None:
    """Two decimals with a dot."""
    return None if value is None else f"{value:.2f}"


def comma2(value: Any) -> str | None:
    """Two decimals with a comma."""
    return None if value is None else f"{value:.2f}".replace(".", ",")


def comma(value: Any) -> str | None:
    """A plain decimal with a comma: no exponent, no trailing zeros."""
    if value is None:
        return None
    plain = f"{value:f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return plain.replace(".", ",")


def join(separator: str, *parts: Any) -> str | None:
    """The non-empty parts joined."""
    return separator.join(str(p) for p in parts if p not in (None, "")) or None


def first(*values: Any) -> Any:
    """The first value that is neither None nor empty."""
    return next((v for v in values if v not in (None, "")), None)


def pick(items: Any, key: str, value: str) -> Any:
    """The first element of a list whose `key` equals `value` (both as text), or an empty mapping."""
    for item in items or ():
        if isinstance(item, Mapping) and str(item.get(key)) == value:
            return item
    return {}


def at(value: Any, name: str) -> Any:
    """An attribute of something that may be None."""
    return None if value is None else getattr(value, name)


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "text": text,
    "code": code,
    "decimal": decimal,
    "integer": integer,
    "boolean": boolean,
    "utc": utc,
    "upper": upper,
    "iso_date": iso_date,
    "french_date": french_date,
    "cents2": cents2,
    "comma2": comma2,
    "comma": comma,
}

#: What a conversion gives, so that a mapping into a field of another type is refused when it is loaded.
CONVERSION_TYPES: dict[str, type] = {
    "text": str,
    "code": str,
    "decimal": Decimal,
    "integer": int,
    "boolean": bool,
    "utc": datetime,
    "upper": str,
    "iso_date": date,
    "french_date": str,
    "cents2": str,
    "comma2": str,
    "comma": str,
}

BUILTINS: dict[str, Callable[..., Any]] = {"join": join, "first": first, **CONVERSIONS}
