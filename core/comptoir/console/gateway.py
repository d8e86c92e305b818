"""The webhook gateway: `POST /hooks/{connection}` and `GET /health`; what is below `/agent/` is `console.agents`.

It faces the internet, so it is a small ASGI application of its own that has neither the engine nor the connectors'
network: of an installation it knows the configuration, the webhook secrets and the inbox. A webhook is verified, its
hints become inbox rows in one short transaction, and that is all: the record is read again from the shop by whoever
drains the inbox.

| what comes | answer |
|---|---|
| an authentic webhook, new or known already, of a wanted entity or not | 200 |
| the ping of a shop that has just made a webhook | 200, no row |
| a body that says it is older than the replay window | 200, no row |
| no such connection, one without webhooks or secret, wrong or missing signature | 404, the same words for all |
| a signed body that is not what it says | 400 |
| another method, another path | 405, 404 |
| a body too large, by its own word or while it is read | 413 |
| a body that takes too long to arrive | 408 |
| more bodies in hand than the memory that is set aside; the database away | 503 with Retry-After |

One answer for all that is not authentic: who guesses learns neither which connections there are nor that a signature
is all that is missing. The log says which it was.

What is known already or too old is answered with 200 because it is no failure of the shop: WooCommerce switches a
webhook off after seven failed deliveries in a row, and a shop whose queue had stood still for days sends many old ones
in a row. Signatures cover bodies only, so a repeated body is known by what is signed, under whatever delivery id it
comes; rows are kept for twice the replay window for that.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from comptoir.app.config import GatewaySettings
from comptoir.errors import (
    ConfigError,
    DatabaseUnavailable,
    RecordRejected,
    StorageFull,
)
from comptoir.model.refs import EntityName
from comptoir.sdk.ports import Clock
from comptoir.sdk.protocols import Hint, ReceivesWebhooks, WebhookRequest
from comptoir.store.database import Database
from comptoir.store.inbox import Inbox
from comptoir.store.schema import upgrade

__all__ = ["Answer", "Door", "Gateway", "Receiver"]

_log = logging.getLogger("comptoir.gateway")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HOOK = re.compile(r"/hooks/([a-z][a-z0-9_]{0,39})")
#: Bodies in hand at once, in multiples of the largest one that is taken.
_BODIES_IN_HAND = 16
#: Seconds that verifying and storing may take before the sender is told to come again.
_STORE_SECONDS = 5.0
#: Seconds for one try of it, waiting for locks included; there may be two.
_TRY_SECONDS = 2.0
_HEALTH_SECONDS = 1.0
_PURGE_EVERY = 3600.0
_QUIET_SECONDS = 60.0
_LONGEST_ID = 200
_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and words for the sender; never anything of the body."""

    status: int
    words: str


_NOT_ACCEPTED = Answer(404, "not accepted: there is no such hook, or its signature is wrong")
_COME_AGAIN = Answer(503, "not stored; come again later")


@dataclass(frozen=True, slots=True)
class Door:
    """One connection that sends webhooks, and the entities whose changes some route waits for."""

    connector: ReceivesWebhooks
    entities: frozenset[EntityName]


class Receiver:
    """Verifies webhooks and puts their hints into the inbox; blocking, and used by several threads at once."""

    def __init__(
        self, doors: Mapping[str, Door], database: Callable[[], Database], url: str, clock: Clock, replay: timedelta
    ) -> None:
        self._doors = doors
        self._make = database
        self._url = url
        self._clock = clock
        self._replay = replay
        self._idle: deque[Database] = deque()
        self._migrated = False
        self._purged: float | None = None
        self._healthy: tuple[float, bool] | None = None
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, connection: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What a webhook is answered; its hints are committed when that is 200."""
        now = self._clock.now()
        door = self._doors.get(connection)
        if door is None:
            hmac.digest(b"nobody", body, "sha256")  # takes as long as for a connection that there is
            self._say("?", "unknown", "there is no such connection, or it sends no webhooks")
            return _NOT_ACCEPTED
        try:
            delivery = door.connector.verify(WebhookRequest(headers, body, now))
            if any(not _is_usable(hint) for hint in delivery.hints):
                raise RecordRejected(f"{connection}: a webhook about a record without a usable id")
        except ConfigError as error:  # AuthError is one
            self._say(connection, error.code, f"not accepted: {error.message} {error.hint or ''}")
            return _NOT_ACCEPTED
        except RecordRejected as error:
            self._say(connection, error.code, f"{error.message} {error.hint or ''}")
            return Answer(400, "the body is not what it says")
        hints = [hint for hint in delivery.hints if hint.entity in door.entities]
        if not hints:
            return Answer(200, "nothing to do")
        if delivery.sent_at is not None and now - delivery.sent_at > self._replay:
            self._say(connection, "old", f"a webhook of {delivery.sent_at:%Y-%m-%d %H:%M} is too old to be taken")
            return Answer(200, "too old; not taken")
        try:
            new = self._store(connection, delivery.dedupe_key, hints)
        except (DatabaseUnavailable, StorageFull) as error:
            self._say(connection, "database", f"not stored: {error.message}")
            return _COME_AGAIN
        for hint in hints:
            word = "taken" if new else "known already"
            _log.info("%s: %s %s %s: %s", connection, hint.entity.value, hint.external_id, hint.kind, word)
        return Answer(200, "taken" if new else "known already")

    def healthy(self) -> bool:
        """Whether webhooks can be stored at this moment; asked of the database at most once a second."""
        at = self._clock.monotonic()
        if self._healthy is None or at - self._healthy[0] > _HEALTH_SECONDS:
            self._healthy = (at, self._asked())
        return self._healthy[1]

    def close(self) -> None:
        """Closes the connections to the database."""
        while self._idle:
            self._idle.pop().close()

    def _asked(self) -> bool:
        try:
            with self._database() as database, database.transaction() as session:
                Inbox(session).limit(_TRY_SECONDS)
                return Inbox(session).ready()
        except (DatabaseUnavailable, StorageFull) as error:
            self._say("health", "database", error.message)
            return False

    def _store(self, connection: str, key: str, hints: list[Hint]) -> int:
        try:
            return self._stored(connection, key, hints)
        except DatabaseUnavailable:
            # A connection that was idle while the database restarted is found broken by its next use only.
            return self._stored(connection, key, hints)

    def _stored(self, connection: str, key: str, hints: list[Hint]) -> int:
        now = self._clock.now()
        with self._database() as database:
            with database.transaction() as session:
                inbox = Inbox(session)
                inbox.limit(_TRY_SECONDS)
                new = inbox.add(connection, key, hints, now)
            at = self._clock.monotonic()
            if self._purged is None or at - self._purged > _PURGE_EVERY:
                self._purged = at
                with database.transaction() as session:
                    Inbox(session).purge(now - 2 * self._replay)
        return new

    @contextmanager
    def _database(self) -> Iterator[Database]:
        """A connection that no other thread uses meanwhile."""
        if not self._migrated:
            upgrade(self._url)
            self._migrated = True
        try:
            database = self._idle.pop()
        except IndexError:
            database = self._make()
        try:
            yield database
        finally:
            self._idle.append(database)

    def _say(self, connection: str, matter: str, what: str) -> None:
        """One line a minute for each connection and matter, so that a flood of requests is no flood of lines."""
        at = self._clock.monotonic()
        said = self._said.get((connection, matter))
        if said is not None and at - said[0] < _QUIET_SECONDS:
            self._said[connection, matter] = (said[0], said[1] + 1)
            return
        self._said[connection, matter] = (at, 0)
        _log.warning("%s: %s%s", connection, what, f" (and {said[1]} more since)" if said and said[1] else "")


def _is_usable(hint: Hint) -> bool:
    return 0 < len(hint.external_id) <= _LONGEST_ID and hint.external_id.isprintable()


class _TooLarge(Exception):
    """The body is larger than what is taken."""


class _Busy(Exception):
    """Too many bodies are in hand."""


class _Gone(Exception):
    """The sender has left."""


class Gateway:
    """The ASGI application. Every answer closes its connection: a shop sends one webhook on each."""

    def __init__(
        self,
        receiver: Receiver,
        limits: GatewaySettings,
        agents: Callable[[Message, Receive, Send], Awaitable[None]] | None = None,
    ) -> None:
        self._receiver = receiver
        self._limits = limits
        self._agents = agents
        self._in_hand = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise ValueError(f"the gateway speaks http, not {scope['type']}")
        if self._agents is not None and scope["path"].startswith("/agent/"):
            await self._agents(scope, receive, send)
            return
        try:
            answer, more = await self._answer(scope, receive)
        except _Gone:
            return
        body = answer.words.encode() + b"\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            *more,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Message, receive: Receive) -> tuple[Answer, list[tuple[bytes, bytes]]]:
        path, method = scope["path"], scope["method"]
        if path == "/health":
            if method not in ("GET", "HEAD"):
                return Answer(405, "GET only"), [(b"allow", b"GET, HEAD")]
            return await self._health(), []
        hook = _HOOK.fullmatch(path)
        if hook is None:
            return Answer(404, "there is nothing here"), []
        if method != "POST":
            return Answer(405, "POST only"), [(b"allow", b"POST")]
        answer = await self._hook(hook[1], scope, receive)
        return answer, [(b"retry-after", b"30")] if answer.status == 503 else []

    async def _health(self) -> Answer:
        try:
            well = await asyncio.wait_for(asyncio.to_thread(self._receiver.healthy), _STORE_SECONDS)
        except TimeoutError:
            well = False
        return Answer(200, "ok") if well else Answer(503, "the database is away")

    async def _hook(self, connection: str, scope: Message, receive: Receive) -> Answer:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        said = headers.get("content-length")
        if said is not None and not (said.isascii() and said.isdigit()):
            return Answer(400, "the content-length is no number")
        if said is not None and (len(said) > _LONGEST_NUMBER or int(said) > self._limits.max_bytes):
            return Answer(413, "the body is too large")
        held = _Held(self)
        try:
            async with asyncio.timeout(self._limits.slow_seconds):
                body = await self._body(receive, held)
            return await self._taken(connection, headers, body)
        except _TooLarge:
            return Answer(413, "the body is too large")
        except _Busy:
            return _COME_AGAIN
        except TimeoutError:
            return Answer(408, "the body took too long")
        finally:
            held.release()

    async def _body(self, receive: Receive, held: _Held) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.max_bytes:
                raise _TooLarge
            held.add(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _taken(self, connection: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            return await asyncio.wait_for(
                asyncio.to_thread(self._receiver.take, connection, headers, body), _STORE_SECONDS
            )
        except TimeoutError:
            # It may still be stored; the sender's next try is then known already.
            return _COME_AGAIN

    def reserve(self, count: int) -> None:
        """Bytes of bodies come into hand; _Busy when there is no room for them."""
        if self._in_hand + count > _BODIES_IN_HAND * self._limits.max_bytes:
            raise _Busy
        self._in_hand += count

    def release(self, count: int) -> None:
        """They are gone again."""
        self._in_hand -= count


class _Held:
    """The bytes of one request's body. Counted as they arrive, so that a slow sender holds no room for others."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._bytes = 0

    def add(self, count: int) -> None:
        self._gateway.reserve(count)
        self._bytes += count

    def release(self) -> None:
        self._gateway.release(self._bytes)
        self._bytes = 0
