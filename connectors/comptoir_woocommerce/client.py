"""HTTP of a WooCommerce shop: authentication, and which refusal means what.

Over https the keys go as HTTP Basic. Over plain http WooCommerce refuses that, and a request is signed by OAuth 1.0a
(RFC 5849, one-legged, HMAC-SHA256) instead, so that the secret never crosses the wire.

The signature is made here and not by `woocommerce.oauth.OAuth`: that one takes time and randomness from outside the
ports, its nonces have eight digits (two of some ten thousand requests collide, and the shop refuses the second), and it
signs lists and values with `%` wrongly. It serves as an oracle in the tests.

| what the shop says | error |
|---|---|
| 401 `Invalid timestamp.` | `AuthError` that names the difference of the two clocks |
| 401 `Invalid nonce ...` | `TransientError`: somebody on the way sent the request twice |
| other 401, 403 | `AuthError` with the shop's words; to a write: that the key must be allowed to write |
| 404 `rest_no_route` | `ConfigError`: no WooCommerce REST API at that address |
| 400 about the parameter `status` | `ConfigError`: the setting `statuses` |
| 400 to another list request | `ContractViolation`: we asked for something that this shop does not know |
| anything else | as in `comptoir.sdk.http` |
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from comptoir.sdk import (
    AuthError,
    Clock,
    ComptoirError,
    ConfigError,
    ConnectorContext,
    ContractViolation,
    Random,
    RecordRejected,
    TransientError,
)
from comptoir_woocommerce.config import ShopAccess, WooCommerceConfig, shop_access

__all__ = ["OAuthSigner", "WooCommerceClient", "basic_signer", "clock_difference", "server_time", "translate"]

_UNRESERVED = "-._~"


def _encode(text: str) -> str:
    """RFC 5849 section 3.6: everything but letters, digits and -._~ becomes %XX of its UTF-8 bytes."""
    return quote(text, safe=_UNRESERVED)


class OAuthSigner:
    """Signs requests by OAuth 1.0a in the query, where no web server strips it (many drop the Authorization header)."""

    def __init__(self, key: str, secret: str, *, clock: Clock, random: Random) -> None:
        self._key = key
        self._hmac_key = f"{secret}&".encode()  # secrets are hexadecimal: nothing in them needs encoding
        self._clock = clock
        self._random = random

    def __call__(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """The URL with a fresh nonce, the time and the signature; headers stay as they are."""
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        pairs += [
            ("oauth_consumer_key", self._key),
            ("oauth_nonce", self._random.bytes(16).hex()),
            ("oauth_signature_method", "HMAC-SHA256"),
            ("oauth_timestamp", str(int(self._clock.now().timestamp()))),
        ]
        address = f"{parts.scheme}://{parts.netloc}{parts.path}"
        encoded = sorted((_encode(name), _encode(value)) for name, value in pairs)
        query = "&".join(f"{name}={value}" for name, value in encoded)
        base = "&".join((method.upper(), _encode(address), _encode(query)))
        digest = hmac.new(self._hmac_key, base.encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        return f"{address}?{query}&oauth_signature={_encode(signature)}", headers


def basic_signer(token: str) -> Callable[[str, str, Mapping[str, str]], tuple[str, Mapping[str, str]]]:
    """Adds HTTP Basic authentication (`token` is base64 of key:secret). For https only."""

    def sign(method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        return url, {**headers, "Authorization": f"Basic {token}"}

    return sign


def server_time(date_header: str | None) -> datetime | None:
    """The moment in a Date header; None when there is none that can be read."""
    try:
        moment = email.utils.parsedate_to_datetime(date_header or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock_difference(date_header: str | None, clock: Clock) -> float | None:
    """Seconds that the shop's clock is ahead of ours, from its Date header; None when it says none."""
    moment = server_time(date_header)
    return None if moment is None else (moment - clock.now()).total_seconds()


def translate(error: ComptoirError, *, clock: Clock, listing: bool) -> ComptoirError:
    """The error a refusal of WooCommerce really is; the same one when the general table already fits."""
    code, status = error.remote.get("code", ""), error.remote.get("status", "")
    who = error.connection
    found: ComptoirError
    if isinstance(error, AuthError) and "Invalid timestamp" in error.message:
        ahead = clock_difference(error.remote.get("date"), clock)
        found = AuthError(
            f"{error.message} {_skew_words(ahead)}",
            code="clock_skew",
            hint="OAuth allows 15 minutes. Set the clock of this machine or of the shop (NTP), or use https.",
            connection=who,
        )
    elif isinstance(error, AuthError) and "nonce has already been used" in error.message:
        found = TransientError(
            error.message,
            hint="A proxy in front of the shop sent a request twice. Nothing is wrong with the keys.",
            connection=who,
            code="repeated_request",
        )
    elif isinstance(error, AuthError) and error.code == AuthError.code and not listing:
        found = AuthError(
            error.message,
            hint="To write, the REST API key needs the permission Read/Write, and its user the right to edit products "
            "and customers (WooCommerce > Settings > Advanced > REST API). A firewall before the shop may refuse too.",
            connection=who,
            code=error.code,
        )
    elif code == "rest_no_route":
        found = ConfigError(
            error.message,
            hint="The address answers as WordPress, but has no WooCommerce REST API there: is the plugin active, "
            "are permalinks other than 'plain' set, is `api_path` right?",
            connection=who,
            code="no_api",
        )
    elif isinstance(error, RecordRejected) and status == "400" and listing:
        if "parameter(s): status" in error.message:
            found = ConfigError(
                error.message,
                hint="The setting `statuses` names an order state that this shop does not have.",
                connection=who,
                field="statuses",
            )
        else:
            found = ContractViolation(error.message, connection=who)
    else:
        return error
    found.remote = error.remote
    return found


def _skew_words(ahead: float | None) -> str:
    if ahead is None:
        return "The shop did not say what time it has."
    side = "ahead of" if ahead >= 0 else "behind"
    return f"The shop's clock is {abs(round(ahead))} s {side} ours."


def _texts(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else ()


class WooCommerceClient:
    """Reads and batch writes of one shop. May be used by several threads at once."""

    def __init__(self, config: WooCommerceConfig, ctx: ConnectorContext) -> None:
        self.access: ShopAccess = shop_access(ctx.credentials, ctx.connection)
        self._api = self.access.url + config.api_path
        self._root = self._api.rsplit("/wc/", 1)[0] + "/"
        self._clock = ctx.clock
        self._connection = ctx.connection
        key, secret = self.access.key, self.access.secret
        token = base64.b64encode(f"{key}:{secret}".encode()).decode()
        self._http = ctx.http.with_signing(
            basic_signer(token) if self.access.https else OAuthSigner(key, secret, clock=ctx.clock, random=ctx.random),
            # The webhooks' secret too: it is sent when a webhook is made, and a refusal may repeat it.
            secrets=(key, secret, token, *_texts(ctx.credentials.extra.get("webhook_secret"))),
            timeout=config.timeout,
        )

    def get(self, path: str, params: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
        """Body and headers of one resource below the API's path. Lists of values are given joined by commas."""
        return self._get(self._api + path, params or {})

    def get_one(self, path: str) -> tuple[Mapping[str, Any] | None, Mapping[str, str]]:
        """One record and headers; None for one that the shop does not have (any more)."""
        try:
            body, headers = self._get(self._api + path, {})
        except RecordRejected as error:
            if error.remote.get("status") in ("404", "410"):
                return None, {}
            raise
        if not isinstance(body, dict):
            raise ContractViolation(
                f"{self._connection}: {path} is one record, the shop gave {type(body).__name__}",
                connection=self._connection,
            )
        return body, headers

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to one write, sent once. OutcomeUnknown when it may have been carried out without an answer.

        RecordRejected when the shop refused the whole of it; `remote` holds its status and code.
        """
        return self._send("POST", path, body)

    def write(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to one PUT or DELETE, sent once; errors as `post`."""
        return self._send(method, path, body or {})

    def get_root(self, params: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
        """WordPress' own description of the site (name, time zone)."""
        return self._get(self._root, params or {})

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        try:
            answer, _ = self._http.send_json(method, self._api + path, body)
        except ComptoirError as error:
            found = translate(error, clock=self._clock, listing=False)
            if found is error:
                raise
            raise found from None
        return answer

    def _get(self, url: str, params: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        query = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(params.items()))
        try:
            return self._http.get_json(f"{url}?{query}" if query else url)
        except ComptoirError as error:
            found = translate(error, clock=self._clock, listing=True)
            if found is error:
                raise
            raise found from None
