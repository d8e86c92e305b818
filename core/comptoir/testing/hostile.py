"""A transport that misbehaves: whatever a remote and the way to it can do to a connector, done without its help.

    hostile = HostileTransport(sandbox_transport)
    hostile.plan(status(503), when=is_read, times=1)

Each fault is a function of the request and of `carry_out`, which lets the remote really do what was asked. So a write
whose answer is lost *has* happened there, and a connection that was refused has not reached it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from comptoir.sdk import HttpRequest, HttpResponse, OutcomeUnknown, TransientError, Transport

__all__ = [
    "Fault",
    "HostileTransport",
    "answer_too_large",
    "connection_refused",
    "cut_body",
    "echo",
    "empty_body",
    "html_page",
    "json_instead",
    "lost_after",
    "lost_before",
    "redirect",
    "repeat_answers",
    "status",
    "without_rows",
]

#: What becomes of one request; `carry_out()` asks the remote.
Fault = Callable[[HttpRequest, Callable[[], HttpResponse]], HttpResponse]

_JSON = {"content-type": "application/json"}
_USUAL = frozenset(("accept", "content-type", "user-agent"))
_PAGE = b"<!doctype html><html><title>Maintenance</title><body>Back soon.</body></html>"


def status(code: int, *, retry_after: str | None = None, body: Any = None) -> Fault:
    """This status instead of an answer; the remote does nothing."""
    headers = dict(_JSON) if retry_after is None else {**_JSON, "retry-after": retry_after}
    raw = json.dumps({"message": f"status {code}, said the hostile transport"} if body is None else body).encode()
    return lambda request, carry_out: HttpResponse(code, headers, raw)


def html_page(code: int = 200) -> Fault:
    """A maintenance page where JSON was asked for."""
    return lambda request, carry_out: HttpResponse(code, {"content-type": "text/html"}, _PAGE)


def empty_body(code: int = 200) -> Fault:
    """Nothing, with a good status."""
    return lambda request, carry_out: HttpResponse(code, {}, b"")


def json_instead(value: Any) -> Fault:
    """Well-formed JSON that is nothing of what was asked for."""
    return lambda request, carry_out: HttpResponse(200, _JSON, json.dumps(value).encode())


def redirect(location: str) -> Fault:
    """The request is sent elsewhere."""
    return lambda request, carry_out: HttpResponse(302, {"location": location}, b"")


def echo(part: Literal["url", "headers", "body"], code: int = 400) -> Fault:
    """A refusal that repeats a part of what it was sent, as careless servers do."""

    def fault(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
        own = {name: value for name, value in request.headers.items() if name.lower() not in _USUAL}
        heard = {
            "url": request.url,
            "headers": json.dumps(own),
            "body": (request.body or b"").decode("utf-8", "replace"),
        }
        return HttpResponse(code, _JSON, json.dumps({"message": f"bad request: {heard[part]}"}).encode())

    return fault


def connection_refused(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
    """Nothing was sent."""
    raise TransientError("no connection: refused", code="no_connection")


def lost_before(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
    """No answer came, and the remote did nothing: the client cannot know that."""
    raise OutcomeUnknown("the answer did not arrive whole: timed out", code="answer_lost")


def lost_after(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
    """No answer came, and the remote has done what was asked."""
    carry_out()
    raise OutcomeUnknown("the answer did not arrive whole: connection reset", code="answer_lost")


def answer_too_large(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
    """The remote did what was asked and answers without end."""
    carry_out()
    raise OutcomeUnknown("the answer is larger than what is taken", code="too_large")


def cut_body(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
    """The remote did what was asked; half of its answer arrives and claims to be all."""
    answer = carry_out()
    return HttpResponse(answer.status, answer.headers, answer.body[: max(1, len(answer.body) // 2)])


def without_rows(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
    """The remote's own answer with every list of records emptied; what it counts stays."""
    answer = carry_out()
    try:
        body = json.loads(answer.body)
    except ValueError:
        return answer
    return HttpResponse(answer.status, answer.headers, json.dumps(_emptied(body)).encode())


def _emptied(body: Any) -> Any:
    if isinstance(body, list):
        return [] if any(isinstance(row, dict) for row in body) else body
    if isinstance(body, dict):
        return {name: _emptied(value) for name, value in body.items()}
    return body


def repeat_answers() -> Fault:
    """The first answer to each kind of request is given again and again, whatever page is asked for."""
    first: dict[str, HttpResponse] = {}

    def fault(request: HttpRequest, carry_out: Callable[[], HttpResponse]) -> HttpResponse:
        kind = request_kind(request)
        if kind not in first:
            first[kind] = carry_out()
        return first[kind]

    return fault


def request_kind(request: HttpRequest) -> str:
    """Method and path; of a GraphQL request also its document, not the variables."""
    kind = f"{request.method} {urlsplit(request.url).path}"
    if request.body:
        try:
            body = json.loads(request.body)
        except ValueError:
            return kind
        if isinstance(body, dict) and isinstance(body.get("query"), str):
            kind += f" {body['query']}"
    return kind


@dataclass(slots=True)
class _Planned:
    fault: Fault
    when: Callable[[HttpRequest], bool]
    left: int | None
    skip: int


class HostileTransport:
    """Asks another transport, unless a fault is planned for the request.

    `sent` holds every request in order; `answers` what came back, None where nothing did.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._planned: list[_Planned] = []
        self.sent: list[HttpRequest] = []
        self.answers: list[HttpResponse | None] = []

    def plan(
        self,
        fault: Fault,
        *,
        when: Callable[[HttpRequest], bool] = lambda request: True,
        times: int | None = None,
        skip: int = 0,
    ) -> None:
        """The fault takes the next `times` requests that `when` holds for (None: all), after `skip` of them."""
        self._planned.append(_Planned(fault, when, times, skip))

    def clear(self) -> None:
        """Nothing fails any more, and what was sent is forgotten."""
        self._planned.clear()
        self.sent.clear()
        self.answers.clear()

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """The remote's answer, or what the first fault that is due makes of it."""

        def carry_out() -> HttpResponse:
            return self._inner.send(request, timeout=timeout, max_bytes=max_bytes)

        self.sent.append(request)
        self.answers.append(None)
        place = len(self.answers) - 1
        due = self._due(request)
        answer = carry_out() if due is None else due(request, carry_out)
        answer = HttpResponse(answer.status, _lower(answer.headers), answer.body)
        self.answers[place] = answer
        return answer

    def _due(self, request: HttpRequest) -> Fault | None:
        for planned in self._planned:
            if not planned.when(request):
                continue
            if planned.skip:
                planned.skip -= 1
                continue
            if planned.left is not None:
                planned.left -= 1
                if planned.left <= 0:
                    self._planned.remove(planned)
            return planned.fault
        return None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
