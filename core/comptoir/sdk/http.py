"""`ctx.http`: all HTTP of a connector. Retries, Retry-After, size limits, redaction, error classes.

What lands where (a connector adds its own cases in its `client.py`):

| answer | error |
|---|---|
| no connection, cut body, 408, 5xx, HTML or nothing where JSON was asked | `TransientError` (read: retried) |
| 429 | `RateLimited` with Retry-After (read: waits that long, or gives up when that is too long for a run) |
| 503 with Retry-After to a read | `RateLimited`, as 429 |
| 401, 403 | `AuthError` |
| other 4xx | `RecordRejected` with the remote's own words |
| a redirect | `AuthError` with code `redirect`: credentials are not sent on |
| a write with its answer lost, cut, too large, no JSON, 408 or 5xx | `OutcomeUnknown`, never repeated here |

Every request goes through the connection's `Gate`: so many under way, so many a minute. It is told when the remote
asks for a pause, so that every process leaves it alone.
"""

from __future__ import annotations

import email.utils
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from comptoir.errors import (
    AuthError,
    ComptoirError,
    OutcomeUnknown,
    RateLimited,
    RecordRejected,
    TransientError,
)
from comptoir.sdk.ports import Clock, Gate, HttpRequest, HttpResponse, Random, Transport

__all__ = ["LONGEST_WRITE", "HttpClient", "HttpLimits", "redact"]

_log = logging.getLogger("comptoir.http")
_SECRET_PARAMETERS = re.compile(
    r"((?:oauth_\w+|consumer_(?:key|secret)|access_token|token|password|secret|signature|api_?key)=)[^&\s\"'>]+",
    re.I,
)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seconds after which a write is given up, whatever a connection allows its reads: it must not outlive the lease under
#: which it was begun.
LONGEST_WRITE = 90.0
#: A server that asks for a longer pause than a day is wrong about it.
_LONGEST_PAUSE = 86_400.0


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text without credentials: known secret values and credential-like URL parameters become ***."""
    # The longest first, so that no tail is left of a secret that begins with another one.
    for secret in sorted({*secrets, *(quote(s, safe="") for s in secrets)}, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return _SECRET_PARAMETERS.sub(r"\1***", text)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Seconds, tries and bytes that bound one call."""

    timeout: float = 60.0
    tries: int = 4
    backoff: float = 1.0
    longest_wait: float = 120.0
    max_bytes: int = 64 * 1024 * 1024


class HttpClient:
    """HTTP for one connection.

    `sign`, when given, turns (method, url, headers) into the signed pair just before each attempt, so that a retry
    never repeats a nonce. Without a `gate`, requests go out as they come.
    """

    def __init__(
        self,
        *,
        connection: str,
        transport: Transport,
        clock: Clock,
        random: Random,
        secrets: tuple[str, ...] = (),
        limits: HttpLimits | None = None,
        sign: Callable[[str, str, Mapping[str, str]], tuple[str, Mapping[str, str]]] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._clock = clock
        self._random = random
        self._secrets = tuple(s for s in secrets if s)
        self._limits = limits or HttpLimits()
        self._sign = sign
        self._gate = gate

    def with_signing(
        self,
        sign: Callable[[str, str, Mapping[str, str]], tuple[str, Mapping[str, str]]],
        *,
        secrets: tuple[str, ...] = (),
        timeout: float | None = None,
    ) -> HttpClient:
        """The same client that signs each attempt, hides these further secrets, waits `timeout` seconds."""
        return HttpClient(
            connection=self._connection,
            transport=self._transport,
            clock=self._clock,
            random=self._random,
            secrets=(*self._secrets, *secrets),
            limits=self._limits if timeout is None else replace(self._limits, timeout=timeout),
            sign=sign,
            gate=self._gate,
        )

    def get_json(self, url: str, *, headers: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
        """The decoded JSON body and the answer's headers (lower-case names); safe to repeat, so it is retried."""
        return self._with_retries(lambda: self._json("GET", url, headers or {}, None))

    def get_bytes(self, url: str, *, headers: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """A file's bytes and the answer's headers, as they come; safe to repeat, so it is retried."""
        asked = {"Accept": "*/*", **(headers or {})}

        def read() -> tuple[bytes, Mapping[str, str]]:
            response = self._send("GET", url, asked, None, True)
            return response.body, response.headers

        return self._with_retries(read)

    def send_json(
        self, method: str, url: str, body: Any, *, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """Sends JSON once; a lost answer raises OutcomeUnknown and is never repeated here."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self._json(method, url, sent, orjson.dumps(body))

    def ask_json(
        self, url: str, body: Any, *, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """A read whose protocol sends it by POST (a GraphQL query, a search): repeated and judged as `get_json`.

        Only for what changes nothing at the remote: a lost answer is a reason to ask again here.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        raw = orjson.dumps(body)
        return self._with_retries(lambda: self._json("POST", url, sent, raw, reads=True))

    def _json(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, reads: bool = False
    ) -> tuple[Any, Mapping[str, str]]:
        reads = reads or method in _READS
        response = self._send(method, url, headers, body, reads)
        content_type = response.headers.get("content-type", "")
        text = response.body.lstrip(b"\xef\xbb\xbf \t\r\n")
        unsure = TransientError if reads else OutcomeUnknown
        if not text:
            raise unsure(
                f"{self._connection}: empty answer with status {response.status} from {self._where(url)}",
                hint="The server or a proxy before it failed; an empty answer is never taken for 'no records'.",
                connection=self._connection,
                code="empty_answer",
            )
        try:
            return orjson.loads(text), response.headers
        except orjson.JSONDecodeError:
            kind = "HTML" if text[:1] == b"<" or "html" in content_type else "something that is not JSON"
            raise unsure(
                f"{self._connection}: {self._where(url)} answered {kind} instead of JSON (status {response.status})",
                hint="A maintenance page, a firewall or a wrong shop address often answers so; "
                "open the address in a browser.",
                connection=self._connection,
                code="not_json",
            ) from None

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, reads: bool) -> HttpResponse:
        if self._gate is None:
            response = self._exchange(method, url, headers, body, reads)
        else:
            with self._gate.request():
                response = self._exchange(method, url, headers, body, reads)
        if response.status >= 300:
            refusal = self._refusal(url, response, reads)
            refusal.remote = _remote_facts(response)
            raise refusal
        return response

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, reads: bool
    ) -> HttpResponse:
        # Signed when its turn has come: while it waited, a time or nonce would have grown old.
        if self._sign is not None:
            url, headers = self._sign(method, url, headers)
        request = HttpRequest(method, url, {"Accept": "application/json", **headers}, body, self._secrets)
        try:
            timeout = self._limits.timeout if reads else min(self._limits.timeout, LONGEST_WRITE)
            response = self._transport.send(request, timeout=timeout, max_bytes=self._limits.max_bytes)
        except ComptoirError as error:
            error.connection = self._connection
            error.message = f"{self._connection}: {self._where(url)}: {redact(error.message, self._secrets)}"
            error.args = (error.message,)
            hint = error.hint or "Is the address right, the server up and the way to it open? The next run goes on."
            error.hint = redact(hint, self._secrets)
            if isinstance(error, OutcomeUnknown) and reads:
                code = "answer_lost" if error.code == OutcomeUnknown.code else error.code
                raise TransientError(error.message, hint=error.hint, connection=self._connection, code=code) from None
            raise error from None
        _log.debug("%s %s -> %s", method, self._where(url), response.status)
        return response

    def _refusal(self, url: str, response: HttpResponse, reads: bool) -> ComptoirError:
        where, status = self._where(url), response.status
        words = redact(_remote_words(response.body), self._secrets)[:300]
        said = f": {words}" if words else ""
        who = self._connection
        if status in (401, 403):
            return AuthError(
                f"{who}: {where} refused the credentials (status {status}){said}",
                hint=f"Check key and secret of the connection {who} and their rights.",
                connection=who,
            )
        pause = self._retry_after(response.headers.get("retry-after")) if status in (429, 503) else None
        if self._gate is not None and (status == 429 or pause is not None):
            self._gate.pause(pause)
        if status == 429 or (status == 503 and pause is not None and reads):
            asks = "asks for a pause" if status == 429 else f"asks for a pause (status {status})"
            return RateLimited(f"{who}: {where} {asks}{said}", retry_after=pause, connection=who)
        if status in (408, 425) or status >= 500:
            # 503 too: a cache before the shop says it when the shop was slow, and the write may have been done.
            if reads or status == 425:
                return TransientError(f"{who}: {where} failed with status {status}{said}", connection=who)
            return OutcomeUnknown(f"{who}: {where} failed with status {status}{said}", connection=who)
        if 300 <= status < 400:
            target = urlsplit(response.headers.get("location", "")).netloc or "another address"
            return AuthError(
                f"{who}: {where} redirects to {target}",
                code="redirect",
                hint="Write the final address (https, www or not) into the connection; credentials are not sent on.",
                connection=who,
            )
        return RecordRejected(
            f"{who}: {where} refused the request (status {status}){said}",
            connection=who,
            code=f"http_{status}",
        )

    def _with_retries(self, call: Callable[[], tuple[Any, Mapping[str, str]]]) -> tuple[Any, Mapping[str, str]]:
        retrying = Retrying(
            stop=stop_after_attempt(self._limits.tries),
            wait=self._wait,
            retry=retry_if_exception(self._is_worth_a_try),
            sleep=self._clock.sleep,
            reraise=True,
            before_sleep=lambda state: _log.warning(
                "%s; try %d of %d",
                state.outcome and state.outcome.exception(),
                state.attempt_number,
                self._limits.tries,
            ),
        )
        return retrying(call)

    def _is_worth_a_try(self, error: BaseException) -> bool:
        """What may pass by itself, and not later than a run can wait for."""
        if isinstance(error, RateLimited) and error.retry_after is not None:
            # What the gate itself gave up waiting for has another code.
            return error.code == RateLimited.code and error.retry_after <= self._limits.longest_wait
        return isinstance(error, TransientError)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimited) and error.retry_after is not None:
            return error.retry_after
        ceiling = min(self._limits.backoff * 2.0 ** (state.attempt_number - 1), self._limits.longest_wait)
        return self._random.uniform(ceiling / 2, ceiling)

    def _retry_after(self, value: str | None) -> float | None:
        """Retry-After is seconds or an HTTP date (RFC 9110, section 10.2.3)."""
        if not value:
            return None
        if value.isascii() and value.strip().isdigit():
            return min(float(value), _LONGEST_PAUSE)
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        if moment.tzinfo is None:
            return None
        return min(max(0.0, (moment - self._clock.now()).total_seconds()), _LONGEST_PAUSE)

    def _where(self, url: str) -> str:
        """Address without user and query, where credentials stand."""
        parts = urlsplit(url)
        return redact(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", self._secrets)


def _remote_facts(response: HttpResponse) -> dict[str, str]:
    """Status, date and error code of a refusal: what tells one cause from another without reading words."""
    facts = {"status": str(response.status)}
    if date := response.headers.get("date"):
        facts["date"] = date
    try:
        data = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return facts
    if isinstance(data, dict) and isinstance(data.get("code"), str | int):
        facts["code"] = str(data["code"])[:100]
    elif isinstance(extensions := _graphql_error(data).get("extensions"), dict) and "code" in extensions:
        facts["code"] = str(extensions["code"])[:100]
    return facts


def _graphql_error(data: Any) -> dict[str, Any]:
    """The first of `errors` in a body that follows GraphQL; empty when there is none."""
    errors = data.get("errors") if isinstance(data, dict) else None
    return errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}


def _remote_words(body: bytes) -> str:
    """The remote's own message, when its error body has one."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if isinstance(data, dict):
        for key in ("message", "error_description", "error", "detail"):
            if isinstance(data.get(key), str):
                return str(data[key])
    words = _graphql_error(data).get("message")
    return words if isinstance(words, str) else ""
