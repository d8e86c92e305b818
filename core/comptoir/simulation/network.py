"""What lies between the installation and a shop: faults, and caches and plugins that change what is asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from comptoir.errors import OutcomeUnknown, TransientError
from comptoir.sdk.ports import HttpRequest, HttpResponse
from comptoir.simulation.scene import Scene
from comptoir.simulation.workers import Chances, Time

__all__ = ["Network"]

_KINDS = ("status", "status", "status", "html", "empty", "refused", "timeout", "cut", "lost", "lost")
_STATUSES = (429, 429, 500, 502, 503)
_HTML = b"<!DOCTYPE html><html><body><h1>Briefly unavailable.</h1></body></html>"


class Network:
    """Carries requests to the handlers of their hosts. `chances` is the world's, so that the faults stop with it."""

    def __init__(self, scene: Scene, time: Time, dice: random.Random, tell: Callable[[str], None]) -> None:
        self._scene = scene
        self._time = time
        self._dice = dice
        self._tell = tell
        self.handlers: dict[str, Callable[[HttpRequest], HttpResponse]] = {}
        self.chances = Chances()
        #: Whether a cache drops `page` and `offset` at this moment.
        self.deaf = False
        self._cached: dict[str, tuple[float, HttpResponse]] = {}

    def carry(self, request: HttpRequest) -> HttpResponse:
        """The answer that arrives; OutcomeUnknown or TransientError, as of a real transport, when none does."""
        host = str(urlsplit(request.url).hostname)
        fault = self._dice.choice(_KINDS) if self._dice.random() < self.chances.fault else ""
        if fault:
            self._tell(f"{host} answers {request.method} with {fault}")
        match fault:
            case "refused":
                raise TransientError("the connection was refused", code="no_connection")
            case "timeout":
                raise OutcomeUnknown(f"no answer to {request.method} arrived")
            case "html":
                return HttpResponse(200, {"content-type": "text/html"}, _HTML)
            case "empty":
                return HttpResponse(200, {"content-type": "application/json"}, b"")
            case "status":
                return self._refusal()
        answer = self._answer(host, request)
        if fault in ("lost", "cut"):
            raise OutcomeUnknown(f"no whole answer to {request.method} arrived")
        return answer

    def _refusal(self) -> HttpResponse:
        status = self._dice.choice(_STATUSES)
        headers = {"content-type": "text/html"}
        if status in (429, 503) and self._dice.random() < 0.5:
            headers["retry-after"] = str(self._dice.randrange(1, 300))
        return HttpResponse(status, headers, _HTML)

    def _answer(self, host: str, request: HttpRequest) -> HttpResponse:
        if host == "depot.test":
            return self.handlers[host](request)
        if request.method != "GET":
            return self.handlers[host](request)
        url = self._asked(request.url)
        stale = self._scene.stale if self.chances.fault else 0.0
        held = self._cached.get(url) if stale else None
        if held is not None and self._time.elapsed - held[0] <= stale:
            return held[1]
        answer = self.handlers[host](HttpRequest(request.method, url, request.headers, request.body))
        if self._scene.page_cap:
            # Who gets fewer rows than he asked for is not told how many there are.
            answer.headers.pop("x-wp-total", None)  # type: ignore[attr-defined]
        if stale and answer.status == 200:
            self._cached[url] = (self._time.elapsed, answer)
        return answer

    def _asked(self, url: str) -> str:
        """The address as it reaches the shop."""
        scene = self._scene
        dropped: set[str] = set()
        if scene.ignores == "offset":
            dropped = {"offset"}
        elif self.deaf:
            dropped = {"offset", "page"}
        if not dropped and not scene.page_cap:
            return url
        parts = urlsplit(url)
        pairs: list[tuple[str, Any]] = []
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name in dropped:
                continue
            capped = name == "per_page" and scene.page_cap
            pairs.append((name, str(min(int(value), scene.page_cap)) if capped else value))
        return urlunsplit(parts._replace(query=urlencode(pairs)))
