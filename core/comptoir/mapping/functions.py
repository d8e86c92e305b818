"""The pure functions that mappings may name: conversions (`as:`) and built-in calls (`call:`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from comptoir.model.money import round_money

__all__ = ["BUILTINS", "CONVERSIONS", "CONVERSION_TYPES", "at", "exact", "items", "nested", "pick", "shown", "some"]

_CENT = Decimal("0.01")
#: Beyond it no amount, quantity or id is meant, and Python would need minutes to write the number out.
_LARGEST_EXPONENT = 100
#: Of 2026-11-22T04:15:08, which has no zone.
_SECONDS_WIDTH = 19


def shown(value: Any) -> str:
    """A value for a message: bounded, and never the contents of a list or object."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"
    written = repr(value)
    return written if len(written) <= 60 else written[:57] + "..."


def text(value: Any) -> str | None:
    """Stripped text, None when there is none; numbers are written out."""
    if isinstance(value, str):
        return value.strip() or None
    if value is None:
        return None
    if isinstance(value, (bool, Mapping, list, tuple)):
        raise ValueError(f"{shown(value)} is no text")
    return str(value).strip() or None


def code(value: Any) -> str | None:
    """A key as text: numbers are written out, empty is None. A float is refused: it has lost digits already."""
    if value.__class__ is str:
        return value.strip() or None
    if value.__class__ is int:
        return str(value)
    if value is None or value == "":
        return None
    if isinstance(value, (bool, float, Mapping, list, tuple)):
        raise ValueError(f"{shown(value)} is no key: expected text or a whole number")
    return str(value).strip() or None


def decimal(value: Any) -> Decimal | None:
    """An exact decimal; a JSON number is taken by its shortest written form, never through arithmetic."""
    if value is None or value == "":
        return None
    if value.__class__ is str:
        return exact(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"{shown(value)} is no number")
    return exact.__wrapped__(value)


@lru_cache(maxsize=4096)
def exact(value: Any) -> Decimal:
    """The number itself. Kept for texts: a shop's prices, taxes and zeros come again and again."""
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, ValueError):
        why = "; here decimals have a dot (a file's columns are converted by `numbers`)" if "," in str(value) else ""
        raise ValueError(f"{shown(value)} is no number{why}") from None
    if not number.is_finite():
        raise ValueError(f"{shown(value)} is no finite number")
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError(f"{shown(value)} is no number that anything here can have")
    return number


def integer(value: Any) -> int | None:
    """A whole number."""
    number = decimal(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise ValueError(f"{shown(value)} is no whole number")
    return int(number)


def boolean(value: Any) -> bool | None:
    """True or false, also from 'yes'/'no', '1'/'0'."""
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else "?"
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"{shown(value)} is neither yes nor no")


def utc(value: Any) -> datetime | None:
    """An aware UTC moment from ISO 8601 text; text without a zone is UTC (the `*_gmt` fields of WordPress)."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if len(value) == _SECONDS_WIDTH:
            return datetime.fromisoformat(value + "+00:00")
        moment = datetime.fromisoformat(value)
    elif isinstance(value, datetime):
        moment = value
    else:
        raise ValueError(f"{shown(value)} is no date and time")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def upper(value: Any) -> str | None:
    """Upper-case stripped text."""
    found = text(value)
    return found.upper() if found else None


def iso_date(value: Any) -> str | None:
    """YYYY-MM-DD of a date, or of the date part of ISO 8601 text."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    written = text(value)
    return None if written is None else date.fromisoformat(written[:10]).isoformat()


def french_date(value: Any) -> str | None:
    """JJ/MM/AAAA of a date."""
    if value is None:
        return None
    if not isinstance(value, date):
        raise ValueError(f"{shown(value)} is no date")
    day = value.date() if isinstance(value, datetime) else value
    return f"{day.day:02d}/{day.month:02d}/{day.year:04d}"


def cents2(value: Any) -> str | None:
    """Two decimals with a dot, rounded half away from zero as all amounts are."""
    number = decimal(value)
    if number is None:
        return None
    # Adding zero makes -0.00 plain 0.00.
    return f"{number.quantize(_CENT, rounding=ROUND_HALF_UP) + 0:f}"


def comma2(value: Any) -> str | None:
    """Two decimals with a comma."""
    written = cents2(value)
    return written and written.replace(".", ",")


def comma(value: Any) -> str | None:
    """A plain decimal with a comma: no exponent, no trailing zeros."""
    number = decimal(value)
    if number is None:
        return None
    plain = f"{number:f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain.replace(".", ",")


def join(separator: str, *parts: Any) -> str | None:
    """The non-empty parts joined."""
    return separator.join(str(p) for p in parts if p not in (None, "")) or None


def times(left: Any, right: Any, currency: str) -> Decimal | None:
    """A quantity times a price, at the currency's minor unit, rounded half away from zero; None without one of them."""
    a, b = decimal(left), decimal(right)
    return None if a is None or b is None else _money(a * b, currency)


def without_tax(gross: Any, rate: Any, currency: str) -> Decimal | None:
    """What is left of an amount with tax at `rate` percent, at the currency's minor unit; None without one of them."""
    amount, percent = decimal(gross), decimal(rate)
    if amount is None or percent is None:
        return None
    if percent <= -100:
        raise ValueError(f"{percent} is no tax rate in percent")
    return _money(amount * 100 / (100 + percent), currency)


def tax_within(gross: Any, rate: Any, currency: str) -> Decimal | None:
    """The tax in an amount with tax: both together are the amount, to the last digit that it has."""
    amount, net = decimal(gross), without_tax(gross, rate, currency)
    return None if amount is None or net is None else amount - net


def _money(value: Decimal, currency: str) -> Decimal:
    try:
        return round_money(value, currency)
    except InvalidOperation:
        raise ValueError(f"{value:.3e} is no amount of money") from None
    except KeyError:
        raise ValueError(f"{shown(currency)} is no currency") from None


def first(*values: Any) -> Any:
    """The first value that is neither None nor empty."""
    for value in values:
        if value is not None and value != "":
            return value
    return None


def some(*values: Any) -> list[Any]:
    """The values that are neither None nor empty."""
    return [v for v in values if v not in (None, "")]


def items(value: Any) -> Any:
    """A list to walk through; nothing (None, '' and PHP's {} and false) is an empty one."""
    if not value:
        return ()
    if isinstance(value, (list, tuple)):
        return value
    raise ValueError(f"expected a list, found {shown(value)}")


def nested(value: Any) -> Any:
    """An object to read from, None when there is nothing (None, '' and PHP's [] and false)."""
    if not value:
        return None
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"expected an object, found {shown(value)}")


def pick(value: Any, key: str, wanted: str) -> Any:
    """The first object of a list whose `key` equals `wanted` (both as text), None when there is none."""
    for item in items(value):
        if isinstance(item, Mapping) and str(item.get(key)) == wanted:
            return item
    return None


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

BUILTINS: dict[str, Callable[..., Any]] = {
    "join": join,
    "first": first,
    "times": times,
    "without_tax": without_tax,
    "tax_within": tax_within,
    **CONVERSIONS,
}
