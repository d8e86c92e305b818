"""The gateway's door for machines: `/agent/v1/...`, as docs/agent.md says it.

It faces the internet like the webhooks beside it: who has no token gets the same answer whatever he asks for, before
anything of a body is read; sizes, times and the number of requests at once are bounded; bodies of files go to the disk
as they arrive, so memory stays flat.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from comptoir.app.agent_desk import AgentDesk, Refusal, Report
from comptoir.app.agent_files import Spool
from comptoir.store.agents import AgentRow

__all__ = ["AgentDoor"]

_log = logging.getLogger("comptoir.agents")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_WORK = re.compile(r"/agent/v1/work")
_BATCH = re.compile(rf"/agent/v1/batches/{_ID}")
_FILE = re.compile(rf"/agent/v1/batches/{_ID}/files/([0-9]{{1,2}})")
_QUERIES = re.compile(r"/agent/v1/queries/([a-z][a-z0-9_]{0,39})")
_UPLOAD = re.compile(r"/agent/v1/files/([a-z][a-z0-9_]{0,39})/([a-z]{1,10})/([^/]{1,120})")
_INSTANCE = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

_JSON_BYTES = 64 * 1024
_BLOCK = 256 * 1024
_AT_ONCE = 32
_TRANSFERS = 6
#: Seconds for a call, and for a whole file either way.
_CALL_SECONDS = 30.0
_TRANSFER_SECONDS = 1800.0

T = TypeVar("T", bound=BaseModel)
Text = Annotated[str, StringConstraints(max_length=500)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Work(_Closed):
    """What a machine says when it asks what there is to do."""

    version: Annotated[str, StringConstraints(max_length=40)]
    time: AwareDatetime
    connections: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=100)]
    troubles: Annotated[list[Text], Field(max_length=50)] = []


class _State(_Closed):
    """What a machine says of a batch."""

    state: Literal["claimed", "importing", "unclear", "refused", "returned", "taken"]
    detail: Text = ""
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**32)] | None = None
    marks: Annotated[list[Annotated[str, StringConstraints(max_length=150)] | None], Field(max_length=50)] = []


class _Gone(Exception):
    """The sender has left."""


class AgentDoor:
    """The ASGI application below `/agent/`. Every answer closes its connection."""

    def __init__(self, desk: AgentDesk, *, slow_seconds: float) -> None:
        self._desk = desk
        self._slow = slow_seconds
        self._calls = 0
        self._transfers = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            async with self._room("_calls", _AT_ONCE):
                await self._serve(scope, receive, send)
        except _Gone:
            return
        except Refusal as error:
            await _answer(send, error.status, {"why": error.words}, wait=error.wait)
        except TimeoutError:
            await _answer(send, 408, {"why": "it took too long"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        path, method, headers = scope["path"], scope["method"], _headers(scope)
        instance = headers.get("x-comptoir-instance", "")
        if instance and not _INSTANCE.fullmatch(instance):
            instance = ""
        async with asyncio.timeout(_CALL_SECONDS):
            agent = await asyncio.to_thread(self._desk.admit, headers.get("authorization", ""), instance)
        if found := _QUERIES.fullmatch(path):
            _only(method, "GET")
            await _answer(send, 200, {"queries": self._desk.queries(agent, found[1])})
            return
        if not instance:
            raise Refusal(400, "the header X-Comptoir-Instance is missing")
        if _WORK.fullmatch(path):
            _only(method, "POST")
            await self._work(agent, await self._json(receive, headers), send)
        elif found := _BATCH.fullmatch(path):
            _only(method, "POST")
            body = await self._json(receive, headers)
            await self._report(agent, instance, UUID(found[1]), body, send)
        elif found := _FILE.fullmatch(path):
            _only(method, "GET")
            await self._download(agent, instance, UUID(found[1]), int(found[2]), send)
        elif found := _UPLOAD.fullmatch(path):
            _only(method, "PUT")
            await self._upload(agent, found, headers, receive, send)
        else:
            raise Refusal(404, "there is nothing here")

    async def _work(self, agent: AgentRow, body: bytes, send: Send) -> None:
        said = _parsed(_Work, body)
        time: datetime = said.time
        async with asyncio.timeout(_CALL_SECONDS):
            found = await asyncio.to_thread(
                self._desk.work,
                agent,
                version=said.version,
                time=time,
                connections=said.connections,
                troubles=[_plain(text) for text in said.troubles],
            )
        await _answer(send, 200, found)

    async def _report(self, agent: AgentRow, instance: str, batch: UUID, body: bytes, send: Send) -> None:
        said = _parsed(_State, body)
        report = Report(said.state, _plain(said.detail), said.exit_code, tuple(said.marks))
        async with asyncio.timeout(_CALL_SECONDS):
            await asyncio.to_thread(self._desk.report, agent, instance, batch, report)
        await _answer(send, 200, {})

    async def _download(self, agent: AgentRow, instance: str, batch: UUID, number: int, send: Send) -> None:
        async with self._room("_transfers", _TRANSFERS), asyncio.timeout(_TRANSFER_SECONDS):
            handle, size = await asyncio.to_thread(self._desk.file, agent, instance, batch, number)
            try:
                headers = [(b"content-type", b"application/octet-stream"), *_COMMON]
                headers.append((b"content-length", str(size).encode()))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                left = size
                while left > 0:
                    part = await asyncio.to_thread(os.read, handle, min(_BLOCK, left))
                    if not part:
                        # Shorter than it was: the answer ends too early, and the machine sees it.
                        raise _Gone
                    left -= len(part)
                    await send({"type": "http.response.body", "body": part, "more_body": left > 0})
                if size == 0:
                    await send({"type": "http.response.body", "body": b""})
            finally:
                os.close(handle)

    async def _upload(
        self, agent: AgentRow, found: re.Match[str], headers: Mapping[str, str], receive: Receive, send: Send
    ) -> None:
        connection, folder, name = found[1], found[2], found[3]
        said, digest = headers.get("content-length", ""), headers.get("x-content-sha256", "")
        if not (said.isascii() and said.isdigit() and len(said) <= 12) or not _DIGEST.fullmatch(digest):
            raise Refusal(400, "the headers Content-Length and X-Content-Sha256 are needed")
        dropped = headers.get("x-comptoir-drop", "")
        if dropped and not _INSTANCE.fullmatch(dropped):
            raise Refusal(400, "the header X-Comptoir-Drop is not what it should be")
        async with self._room("_transfers", _TRANSFERS), asyncio.timeout(_TRANSFER_SECONDS):
            spool = await asyncio.to_thread(
                self._desk.receive, agent, connection, folder, name, size=int(said), sha256=digest, dropped=dropped
            )
            if spool is not None:
                try:
                    await self._arrive(spool, receive)
                    await asyncio.to_thread(self._desk.store, spool, agent, connection, folder, name)
                finally:
                    await asyncio.to_thread(spool.drop)
        await _answer(send, 200, {"stored": spool is not None})

    async def _arrive(self, spool: Spool, receive: Receive) -> None:
        async for part in self._parts(receive):
            await asyncio.to_thread(self._desk.add, spool, part)

    async def _parts(self, receive: Receive) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(self._slow):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            if part := message.get("body", b""):
                yield part
            if not message.get("more_body", False):
                return

    async def _json(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        said = headers.get("content-length", "0")
        if not (said.isascii() and said.isdigit()) or len(said) > 12 or int(said) > _JSON_BYTES:
            raise Refusal(413, "the body is too large")
        body = b""
        async with asyncio.timeout(self._slow):
            async for part in self._parts(receive):
                body += part
                if len(body) > _JSON_BYTES:
                    raise Refusal(413, "the body is too large")
        return body

    @asynccontextmanager
    async def _room(self, what: Literal["_calls", "_transfers"], most: int) -> AsyncIterator[None]:
        """Counts what is under way; Refusal 503 when that is enough."""
        if getattr(self, what) >= most:
            raise Refusal(503, "too much at once; come again later", wait=15)
        setattr(self, what, getattr(self, what) + 1)
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) - 1)


_COMMON = [(b"cache-control", b"no-store"), (b"connection", b"close")]


async def _answer(send: Send, status: int, body: Mapping[str, Any], *, wait: int | None = None) -> None:
    text = orjson.dumps(body) + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
        *_COMMON,
        *([] if wait is None else [(b"retry-after", str(wait).encode())]),
        *([(b"www-authenticate", b"Bearer")] if status == 401 else []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _headers(scope: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise Refusal(405, f"{allowed} only")


def _parsed(model: type[T], body: bytes) -> T:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Refusal(400, f"{where} is not what it should be") from None


def _plain(text: str) -> str:
    """Words of a machine as they may stand in a list, a mail and a terminal."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
