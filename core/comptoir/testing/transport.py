"""Transports without a network: answers by script or function, and every misbehaviour that `ctx.http` must survive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from comptoir.sdk import HttpRequest, HttpResponse, OutcomeUnknown, TransientError, Transport

__all__ = [
    "Answer",
    "RecordingTransport",
    "ScriptedTransport",
    "answer_lost",
    "empty",
    "html",
    "no_connection",
    "ok",
    "rate_limited",
    "status",
]

#: What a script holds: an answer, an error to raise, or a function of the request that gives one of them.
Answer = HttpResponse | Exception | Callable[[HttpRequest], "HttpResponse | Exception"]


def ok(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A JSON answer; bytes and text go as they are."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return HttpResponse(status, {"content-type": "application/json", **(headers or {})}, raw)


def status(code: int, body: Any = b"", *, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An answer with this status."""
    return ok(body, status=code, headers=headers)


def html(code: int = 200) -> HttpResponse:
    """A maintenance page where JSON was asked for."""
    return HttpResponse(code, {"content-type": "text/html"}, b"<!doctype html><title>Maintenance</title>")


def empty(code: int = 200) -> HttpResponse:
    """Nothing at all, with a good status."""
    return HttpResponse(code, {}, b"")


def rate_limited(retry_after: str | None = None) -> HttpResponse:
    """429, with or without Retry-After."""
    return HttpResponse(429, {} if retry_after is None else {"retry-after": retry_after}, b"")


def no_connection(message: str = "no connection: refused") -> TransientError:
    """Nothing was sent."""
    return TransientError(message, code="no_connection")


def answer_lost(message: str = "the answer did not arrive whole: connection reset") -> OutcomeUnknown:
    """The request may have been carried out; its answer was cut."""
    return OutcomeUnknown(message, code="answer_lost")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request with the bounds it was sent under."""

    request: HttpRequest
    timeout: float
    max_bytes: int


class RecordingTransport:
    """Notes every request in `sent`, then asks another transport (a sandbox, a script)."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.sent: list[Sent] = []

    @property
    def requests(self) -> list[HttpRequest]:
        """The requests alone."""
        return [sent.request for sent in self.sent]

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """Notes, then sends."""
        self.sent.append(Sent(request, timeout, max_bytes))
        return self._inner.send(request, timeout=timeout, max_bytes=max_bytes)


class ScriptedTransport(RecordingTransport):
    """Gives the answers of a list in turn, or those of a function; a request beyond the list is an AssertionError."""

    def __init__(self, answers: Iterable[Answer] | Callable[[HttpRequest], HttpResponse | Exception]) -> None:
        super().__init__(_Script(answers))


class _Script:
    def __init__(self, answers: Iterable[Answer] | Callable[[HttpRequest], HttpResponse | Exception]) -> None:
        self._function = answers if callable(answers) else None
        self._left = iter(()) if callable(answers) else iter(answers)

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        answer: Answer | None = self._function or next(self._left, None)
        if answer is None:
            raise AssertionError(f"a request that nobody expected: {request.method} {request.url}")
        given = answer(request) if callable(answer) else answer
        if isinstance(given, Exception):
            raise given
        return given
