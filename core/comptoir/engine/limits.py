"""The gate of a connection: how many requests are under way, how many a minute, and pauses that the remote asks for.

The budget is a token bucket that every process shares. Calls are leased from it for a second at a time, so that a call
does not cost a round trip: in any T seconds a connection is asked at most `burst` + rate x (T + 1 s) times, however
many processes ask. A lease that is not used within its second is lost.

A remote that says 429, or 503 with Retry-After, is left alone by all processes until then: those with a budget see it
with their next lease, within a second; those without one when they begin, or when they are told so themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from comptoir.engine.ports import Clock, Tasks
from comptoir.errors import RateLimited, TransientError
from comptoir.sdk.manifest import CallBudget
from comptoir.store.database import Database
from comptoir.store.limits import RateBuckets

__all__ = ["BUCKET", "Bucket", "ConnectionGate", "Grant", "MemoryBucket", "StoreBuckets"]

#: The bucket of all calls of a connection. Others may come beside it, where a platform counts operations apart.
BUCKET = "calls"

#: What is leased must be used within so many seconds.
_LEASE = 1.0

#: A remote that refuses without saying for how long is left alone for this, or for the time of one call if that is
#: longer.
_PAUSE = 5.0

#: A run waits for its turn no longer than that: a worker is not there to sleep, a later run goes on.
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a bucket gives: so many calls now; or none, and the seconds until it is worth asking again.

    `blocked`: because the remote asked for a pause, not because the budget is used up.
    """

    calls: int
    wait: float = 0.0
    blocked: bool = False


class Bucket(Protocol):
    """The calls that a connection may still make."""

    def take(self, budget: CallBudget, wanted: int) -> Grant:
        """Up to `wanted` calls, at least one unless it must be waited for."""
        ...

    def block(self, seconds: float) -> None:
        """Gives nothing for so long, and begins with one call after it; a longer block stays."""
        ...


class MemoryBucket:
    """The bucket of one process, for what runs without a database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: float | None = None
        self._filled = 0.0
        self._blocked_until = 0.0

    def take(self, budget: CallBudget, wanted: int) -> Grant:
        """See `Bucket`."""
        now, rate = self._clock.monotonic(), budget.per_second
        if now < self._blocked_until:
            return Grant(0, self._blocked_until - now, blocked=True)
        if self._calls is None:
            self._calls, self._filled = float(budget.burst), now
        there = min(float(budget.burst), self._calls + max(0.0, now - self._filled) * rate)
        given = min(wanted, int(there))
        self._calls, self._filled = there - given, now
        return Grant(given) if given else Grant(0, (1.0 - there) / rate)

    def block(self, seconds: float) -> None:
        """See `Bucket`."""
        self._blocked_until = max(self._blocked_until, self._clock.monotonic() + seconds)
        self._calls, self._filled = 1.0, self._blocked_until


class StoreBuckets:
    """The buckets that all processes share. They have a database connection of their own, made when it is first needed:
    requests are sent by threads while other connections are in the middle of a transaction."""

    def __init__(self, database: Database, tasks: Tasks) -> None:
        self._database = database
        self._alone = tasks.slots(1)

    def of(self, connection: str) -> Bucket:
        """The bucket of a connection. It raises DatabaseUnavailable."""
        return _StoreBucket(self, connection)

    @contextmanager
    def rows(self) -> Iterator[RateBuckets]:
        """The table, for one thread at a time."""
        with self._alone, self._database.errors():
            yield RateBuckets(self._database.session())


class _StoreBucket:
    def __init__(self, buckets: StoreBuckets, connection: str) -> None:
        self._buckets = buckets
        self._connection = connection

    def take(self, budget: CallBudget, wanted: int) -> Grant:
        """See `Bucket`."""
        with self._buckets.rows() as rows:
            leased = rows.lease(self._connection, BUCKET, rate=budget.per_second, burst=budget.burst, wanted=wanted)
        return Grant(leased.calls, 0.0 if leased.calls else leased.wait, leased.blocked)

    def block(self, seconds: float) -> None:
        """See `Bucket`."""
        with self._buckets.rows() as rows:
            rows.block(self._connection, BUCKET, seconds)


class ConnectionGate:
    """The gate of one connection in this process. May be used by several threads at once.

    Without a budget the bucket is asked nothing: it only hears of pauses.
    """

    def __init__(
        self,
        connection: str,
        *,
        clock: Clock,
        tasks: Tasks,
        in_flight: int,
        budget: CallBudget | None,
        bucket: Bucket,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._slots = tasks.slots(in_flight)
        self._turn = tasks.slots(1)
        self._budget = budget
        self._bucket = bucket
        self._blocked_until = clock.monotonic()
        self._left = 0
        self._leased = 0
        self._lease_ends = 0.0
        self._closes: float | None = None

    @contextmanager
    def until(self, moment: float) -> Iterator[None]:
        """Within the block no request begins after this moment of the clock's monotonic reading.

        One that would raises TransientError `too_late`: what it writes belongs to somebody else by then.
        """
        before, self._closes = self._closes, moment
        try:
            yield
        finally:
            self._closes = before

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request: a place among those under way, then a call of the budget. RateLimited when it takes too long.

        In this order a call is made the moment it is given, and who waits for the budget holds up nobody who could go.
        """
        with self._slots:
            self._wait()
            if self._closes is not None and self._clock.monotonic() > self._closes:
                raise TransientError(
                    f"{self._connection}: it waited too long for its turn, and was not sent",
                    hint="Nothing to do: another run has taken it over, or the next one sends it.",
                    connection=self._connection,
                    code="too_late",
                )
            yield

    def pause(self, seconds: float | None) -> None:
        """Every process leaves the remote alone for so long."""
        if seconds is None:
            seconds = _PAUSE if self._budget is None else max(_PAUSE, 1.0 / self._budget.per_second)
        with self._turn:
            self._blocked_until = max(self._blocked_until, self._clock.monotonic() + seconds)
            self._left = 0
            self._bucket.block(seconds)

    def known_pause(self, seconds: float) -> None:
        """The store knows of a pause that has so long to go: another process was asked for it."""
        with self._turn:
            self._blocked_until = max(self._blocked_until, self._clock.monotonic() + seconds)

    def _wait(self) -> None:
        waited = 0.0
        while True:
            with self._turn:
                wait, blocked = self._take()
            if wait <= 0:
                return
            waited += wait
            if waited > _PATIENCE:
                raise self._too_long(wait, blocked)
            self._clock.sleep(wait)

    def _take(self) -> tuple[float, bool]:
        """Seconds to wait before asking again, 0 when the call may be made; and whether the remote asked for it."""
        now = self._clock.monotonic()
        if now < self._blocked_until:
            return self._blocked_until - now, True
        if self._budget is None:
            return 0.0, False
        if self._left and now < self._lease_ends:
            self._left -= 1
            return 0.0, False
        # Who used a lease up within its second gets twice as much, up to a second's worth; who did not, what he used.
        used_up = not self._left and now < self._lease_ends
        wanted = 2 * self._leased if used_up else self._leased - self._left
        grant = self._bucket.take(self._budget, max(1, min(wanted, int(self._budget.per_second * _LEASE))))
        self._leased, self._left = grant.calls, 0
        if not grant.calls:
            if grant.blocked:
                self._blocked_until = now + grant.wait
            return max(grant.wait, 0.001), grant.blocked
        self._left, self._lease_ends = grant.calls - 1, now + _LEASE
        return 0.0, False

    def _too_long(self, wait: float, blocked: bool) -> RateLimited:
        if blocked or self._budget is None:
            return RateLimited(
                f"{self._connection} asked to be left alone; nothing is sent to it for {_lasting(wait)}",
                hint="Nothing to do: what waits is done by the next run after that. "
                "When it happens often, set calls_per_minute for this connection in comptoir.toml.",
                retry_after=wait,
                connection=self._connection,
                code="asked_for_pause",
            )
        return RateLimited(
            f"{self._connection}: the budget of {self._budget.calls_per_minute:g} calls a minute is used up; "
            f"there is a call again in {_lasting(wait)}",
            hint="Nothing to do: what waits is done by the next run. All runs of a connection share its budget, "
            "calls_per_minute in comptoir.toml.",
            retry_after=wait,
            connection=self._connection,
            code="budget",
        )


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
