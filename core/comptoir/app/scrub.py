"""Invented values in the shape of real ones: letters stay letters, digits stay digits, everything else stays.

A record whose postcode has one digit too few keeps one digit too few; an emoji stays where it broke the import. Equal
values become equal ones within a bundle; without the bundle's key, which is thrown away, nothing leads back.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable
from typing import Any

__all__ = ["NAMES_A_PERSON", "Scrubber", "Stays", "codes_stay", "nothing_stays"]

#: Parts of keys whose values may name a person; everything below them is hidden.
NAMES_A_PERSON = (
    "name", "address", "street", "city", "post", "zip", "phone", "mobile", "mail", "company", "billing", "shipping",
    "customer_note", "note", "comment", "message", "ip_", "user_agent", "vat", "birth", "iban", "avatar", "username",
    "meta", "value", "contact", "recipient", "buyer", "transaction", "key",
    "siret", "reason", "customer_ip",
)  # fmt: skip

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,8})([.,]\d{1,6})?")
_CODE = re.compile(r"[A-Za-z0-9_.:/\-]{1,40}|[A-Z0-9_.:/%\- ]{1,40}")
_LONGEST_NUMBER = 10**9
_ACCENTED = "éèàçùêôâîû"

#: Says of a text, by the keys above it, whether it may stay.
Stays = Callable[[str, tuple[str, ...]], bool]


def nothing_stays(text: str, keys: tuple[str, ...]) -> bool:
    """Only what cannot name anybody: moments, small numbers, two or three capitals (a country, a currency)."""
    del keys
    return bool(not text or _MOMENT.fullmatch(text) or _NUMBER.fullmatch(text) or re.fullmatch(r"[A-Z]{2,3}", text))


def codes_stay(text: str, keys: tuple[str, ...]) -> bool:
    """Also codes (a state, a SKU, a method) where no key above them speaks of a person."""
    if nothing_stays(text, keys):
        return True
    personal = any(word in key.lower() for key in keys for word in NAMES_A_PERSON)
    return not personal and bool(_CODE.fullmatch(text)) and "@" not in text


class Scrubber:
    """Replaces texts by others of the same shape."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def record(self, value: Any, stays: Stays = nothing_stays, keys: tuple[str, ...] = ()) -> Any:
        """A JSON value with every text replaced that does not stay; keys and structure are kept."""
        if isinstance(value, dict):
            return {k: self.record(inner, stays, (*keys, str(k))) for k, inner in value.items()}
        if isinstance(value, list):
            return [self.record(inner, stays, keys) for inner in value]
        if isinstance(value, str):
            return value if stays(value, keys) else self.text(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LONGEST_NUMBER:
            return int(self.text(str(value)))
        return value

    def text(self, text: str) -> str:
        """Another text of the same shape; always the same one for the same text."""
        need = 2 * len(text)
        stream = hashlib.shake_256(self._key + text.encode("utf-8", "surrogatepass")).digest(need)
        return "".join(
            _other(char, int.from_bytes(stream[2 * n : 2 * n + 2], "big"), first=n == 0) for n, char in enumerate(text)
        )


def _other(char: str, drawn: int, *, first: bool) -> str:
    if char in string.digits:
        # A number that begins with 0 is a text; one that does not must not begin to.
        return char if char == "0" and first else str(1 + drawn % 9) if first else str(drawn % 10)
    if char in string.ascii_lowercase:
        return string.ascii_lowercase[drawn % 26]
    if char in string.ascii_uppercase:
        return string.ascii_uppercase[drawn % 26]
    if char.isalpha() and ord(char) < 0x250:
        other = _ACCENTED[drawn % len(_ACCENTED)]
        return other.upper() if char.isupper() else other
    if char.isalpha() and ord(char) < 0x2000:
        # Another letter of the same script: the next ones in its row.
        other = chr(ord(char) - drawn % 4)
        return other if other.isalpha() else char
    return char
