"""How WooCommerce checks a request's credentials, rebuilt from what it was observed to accept and refuse."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

__all__ = ["Keys", "Refused"]

_WINDOW = 15 * 60
_NEEDED = (
    "oauth_consumer_key",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
    "oauth_signature_method",
)
_HEADER = re.compile(r'(oauth_[a-z_-]*)=(?:"([^"]*)"|([^,]*))')


class Refused(Exception):
    """The credentials were given and are wrong; holds WooCommerce's error code and words."""

    def __init__(self, message: str, code: str = "woocommerce_rest_authentication_error") -> None:
        super().__init__(message)
        self.code = code


class Keys:
    """One key pair, and the nonces that it has used."""

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self._secret = secret
        self._nonces: dict[int, str] = {}

    def authenticated(self, method: str, url: str, headers: Mapping[str, str], now: int) -> bool:
        """Whether the request shows who it comes from; Refused when what it shows is wrong.

        Over https: Basic or keys in the query. Over http: OAuth only, anything else is as good as nothing.
        """
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        if parts.scheme == "https":
            return self._basic(dict(query), headers)
        return self._oauth(method, url, query, headers, now)

    def _basic(self, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        key, secret = query.get("consumer_key", ""), query.get("consumer_secret", "")
        word, _, token = headers.get("authorization", "").partition(" ")
        if not key and word.lower() == "basic":
            try:
                key, _, secret = base64.b64decode(token, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return False
        if not key or not secret or key != self.key:
            return False
        if not hmac.compare_digest(secret, self._secret):
            raise Refused("Consumer secret is invalid.")
        return True

    def _oauth(self, method: str, url: str, query: list[tuple[str, str]], headers: Mapping[str, str], now: int) -> bool:
        given: dict[str, str] = _php_names(query)
        header = headers.get("authorization", "").strip()
        if header.startswith("OAuth "):
            given.update({m[1]: unquote_plus(m[2] or m[3] or "") for m in _HEADER.finditer(header)})
        missing = [name for name in _NEEDED if not given.get(name)]
        if len(missing) == len(_NEEDED):
            return False
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise Refused(
                f"Missing OAuth parameter{plural} {', '.join(missing)}",
                "woocommerce_rest_authentication_missing_parameter",
            )
        if given["oauth_consumer_key"] != self.key:
            raise Refused("Consumer key is invalid.")
        self._check_signature(method, url, given)
        self._check_time(given["oauth_timestamp"], given["oauth_nonce"], now)
        return True

    def _check_signature(self, method: str, url: str, given: dict[str, str]) -> None:
        signature = given.pop("oauth_signature").replace(" ", "+")
        hashes = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
        chosen = hashes.get(given["oauth_signature_method"])
        if chosen is None:
            raise Refused("Invalid signature - signature method is invalid.")
        ordered = sorted(given.items(), key=lambda pair: pair[0].encode())
        pairs = [_raw(f"{_raw(name)}={_raw(value)}") for name, value in ordered]
        base = f"{method.upper()}&{_raw(url.split('?')[0])}&" + "%26".join(pairs)
        made = base64.b64encode(hmac.new(f"{self._secret}&".encode(), base.encode(), chosen).digest()).decode()
        if not hmac.compare_digest(made, signature):
            raise Refused("Invalid signature - provided signature does not match.")

    def _check_time(self, stamp: str, nonce: str, now: int) -> None:
        moment = int(stamp) if stamp.isdigit() else 0
        if abs(moment - now) > _WINDOW:
            raise Refused("Invalid timestamp.")
        if nonce in self._nonces.values():
            raise Refused("Invalid nonce - nonce has already been used.")
        # Kept by time, as the shop does: of several requests in one second it remembers the last only.
        self._nonces[moment] = nonce
        self._nonces = {at: held for at, held in self._nonces.items() if at >= now - _WINDOW}


def _raw(text: str) -> str:
    """PHP's rawurlencode."""
    return quote(text, safe="-._~")


def _php_names(query: list[tuple[str, str]]) -> dict[str, str]:
    """Names as PHP reads them: `a[]` becomes `a[0]`, `a[1]` ..., which is why a client that signs `a[]` fails."""
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, value in query:
        position = counts.get(name, 0)
        counts[name] = position + 1
        found[f"{name[:-2]}[{position}]" if name.endswith("[]") else name] = value
    return found
