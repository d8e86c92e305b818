"""What can go wrong between a shop and its client, on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from comptoir.sdk import HttpResponse

__all__ = ["Dropped", "FaultKind", "Faults"]

FaultKind = Literal["status", "html", "empty", "no_rows", "refused", "timeout", "cut", "lost"]

_MAINTENANCE = b"<!DOCTYPE html><html><body><h1>Briefly unavailable for scheduled maintenance.</h1></body></html>"
_HTML = {"content-type": "text/html; charset=UTF-8"}


class Dropped(Exception):
    """No whole answer reaches the client. `sent`: the request may have been carried out; `partial`: what arrived."""

    def __init__(self, *, sent: bool, partial: bytes = b"") -> None:
        super().__init__("the connection was dropped")
        self.sent = sent
        self.partial = partial


@dataclass(slots=True)
class _Planned:
    kind: FaultKind
    left: int
    status: int
    method: str | None
    path: str | None
    retry_after: str | None


class Faults:
    """A queue of faults; each takes the next matching requests."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []

    def fail_next(
        self,
        count: int,
        kind: FaultKind,
        *,
        status: int = 503,
        method: str | None = None,
        path: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        """The next `count` requests (of this method, with `path` in their path) fail in this way.

        `refused` and `timeout` never reach the shop; `lost` and `cut` do: what they wrote is written.
        """
        self._planned.append(_Planned(kind, count, status, method, path, retry_after))

    def clear(self) -> None:
        """Nothing fails any more."""
        self._planned.clear()

    def take(self, method: str, path: str) -> _Planned | None:
        """The fault that this request meets, used up once more."""
        for planned in self._planned:
            if planned.method in (None, method) and (planned.path is None or planned.path in path):
                planned.left -= 1
                if planned.left <= 0:
                    self._planned.remove(planned)
                return planned
        return None


def before(planned: _Planned) -> HttpResponse | None:
    """The answer of a fault that keeps the request from the shop; None when the shop does see it."""
    match planned.kind:
        case "refused":
            raise Dropped(sent=False)
        case "timeout":
            raise Dropped(sent=True)
        case "status":
            headers = {"retry-after": planned.retry_after} if planned.retry_after else {}
            if planned.status == 429:
                body = b'{"code":"too_many_requests","message":"Too many requests."}'
                return HttpResponse(429, {**headers, "content-type": "application/json"}, body)
            return HttpResponse(planned.status, {**headers, **_HTML}, _MAINTENANCE)
        case "html":
            return HttpResponse(200, _HTML, _MAINTENANCE)
        case "empty":
            return HttpResponse(200, {"content-type": "application/json; charset=UTF-8"}, b"")
    return None


def after(planned: _Planned, answer: HttpResponse) -> HttpResponse:
    """What is left of an answer that the shop gave."""
    match planned.kind:
        case "lost":
            raise Dropped(sent=True)
        case "cut":
            raise Dropped(sent=True, partial=answer.body[: len(answer.body) // 2])
        case "no_rows":
            return HttpResponse(answer.status, answer.headers, b"[]")
    return answer
