"""Clock, randomness and tasks that a test holds in its hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

__all__ = ["FakeClock", "FakeRandom", "InlineTasks"]

T = TypeVar("T")
R = TypeVar("R")


class FakeClock:
    """A clock that stands still until it is moved; `sleep` moves it and is noted in `slept`."""

    def __init__(self, now: datetime = datetime(2026, 9, 15, 8, 30, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 1000.0
        #: The seconds of each sleep, in order.
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Aware UTC now."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go back, also when `set` does."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Returns at once; time has moved on."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Time passes without a sleep."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set(self, now: datetime) -> None:
        """The wall clock is put right (or wrong); the monotonic reading does not see it."""
        self._now = now


class FakeRandom:
    """Numbers that follow from a seed; the same seed gives the same run."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._drawn = 0

    def bytes(self, count: int) -> bytes:
        """That many bytes."""
        found = b""
        while len(found) < count:
            self._drawn += 1
            found += hashlib.blake2b(f"{self._seed}:{self._drawn}".encode()).digest()
        return found[:count]

    def bits(self, count: int) -> int:
        """A number of that many bits."""
        return int.from_bytes(self.bytes((count + 7) // 8), "big") >> (-count % 8)

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return low + (high - low) * (self.bits(53) / (1 << 53))


class InlineTasks:
    """Work in this thread, one after the other. `widths` notes what was asked for."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def map_ordered(self, work: Callable[[T], R], items: Iterable[T], *, width: int) -> Iterator[R]:
        """Results in the order of `items`."""
        self.widths.append(width)
        return map(work, items)

    def one_behind(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results in the order of `items`; nothing runs beside anything."""
        return map(work, items)

    @contextmanager
    def apart(self, work: Callable[[T], R], *, begin: Callable[[], None]) -> Iterator[Callable[[T], Callable[[], R]]]:
        """Each result when it is asked for, in this process."""
        del begin

        def at_once(item: T) -> Callable[[], R]:
            result = work(item)
            return lambda: result

        yield at_once

    def slots(self, count: int) -> AbstractContextManager[object]:
        """A block that is entered by one at a time. Entering more than `count` deep is an AssertionError: for ever
        waiting for oneself is what a thread would do."""
        return _Slots(count)


class _Slots(AbstractContextManager[object]):
    def __init__(self, count: int) -> None:
        self._free = count

    def __enter__(self) -> object:
        assert self._free > 0, "one more than the slots allow, and nobody who could leave one"
        self._free -= 1
        return None

    def __exit__(self, *error: object) -> None:
        self._free += 1
