"""The ports a connector may use: time, concurrency, transport. Direct use of their real counterparts is a lint error.

The application wires the real ones (`comptoir.app.system`), the simulation its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

__all__ = ["Clock", "Gate", "HttpRequest", "HttpResponse", "Random", "Tasks", "Transport"]

T = TypeVar("T")
R = TypeVar("R")


class Clock(Protocol):
    """Time: aware UTC now, a monotonic reading in seconds, and sleep."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class Random(Protocol):
    """Randomness for nonces and backoff jitter."""

    def bits(self, count: int) -> int: ...
    def bytes(self, count: int) -> bytes: ...
    def uniform(self, low: float, high: float) -> float: ...


class Tasks(Protocol):
    """Bounded concurrency that keeps order."""

    def map_ordered(self, work: Callable[[T], R], items: Iterable[T], *, width: int) -> Iterator[R]:
        """Results in the order of `items`, at most `width` of them under way; the first error is raised in its turn."""
        ...

    def one_behind(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results of `work`, one at a time and in order, while the caller already makes the next item.

        The next item is asked for while `work` runs on the one before, never further ahead.
        """
        ...

    def apart(
        self, work: Callable[[T], R], *, begin: Callable[[], None]
    ) -> AbstractContextManager[Callable[[T], Callable[[], R]]]:
        """In the block, what it gives takes an item for `work` at once, and returns what waits for its result.

        `work` may be done in another process, a copy of this one from the beginning of the block in which `begin` is
        called first: it must need nothing but its item, change nothing, and what it takes and returns must be fit for
        `pickle`. So it can be done again, too. What it raises is raised to who waits for the result, or at once.
        """
        ...

    def slots(self, count: int) -> AbstractContextManager[object]:
        """A block that at most `count` of these tasks are in at once; the others wait. May be entered again and again.

        One slot is a lock. Not for nesting: who is in the block must not enter it once more.
        """
        ...


class Gate(Protocol):
    """Through here goes every request of one connection: bounded under way, and bounded a minute."""

    def request(self) -> AbstractContextManager[object]:
        """Entered just before a request is sent, left when its answer is there.

        Waits for its turn. Raises RateLimited, and nothing was sent, when that would take longer than a run can wait.
        """
        ...

    def pause(self, seconds: float | None) -> None:
        """The remote asks to be left alone for so long (None: it did not say), whoever asks."""
        ...


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as it goes on the wire. `secrets` are values that must never be shown."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        # Query, headers and body carry credentials and personal data.
        return f"<HttpRequest {self.method} {self.url.partition('?')[0].rpartition('@')[2]}>"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One complete answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request and reads one whole answer.

    Raises `TransientError` when nothing can have been received, `OutcomeUnknown` when the request may have been
    carried out but its answer did not arrive whole.
    """

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse: ...
