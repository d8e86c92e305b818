"""The ports of a simulated process: its clock, ids, randomness, transport and database, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from comptoir.errors import OutcomeUnknown, TransientError
from comptoir.model.ids import uuid7_from
from comptoir.sdk.ports import HttpRequest, HttpResponse
from comptoir.simulation.workers import Time, Worker
from comptoir.store.database import Database, Session
from comptoir.testing.fakes import InlineTasks

__all__ = ["SimDatabase", "SimIds", "SimRandom", "SimTransport", "plain_tasks"]

#: A worker that waits for a row which a suspended one holds would wait for ever: it gives up, and its run is repeated.
_LOCK_TIMEOUT = "150ms"


class SimRandom:
    """Randomness from the seed."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def bits(self, count: int) -> int:
        """A number of that many bits."""
        return self._dice.getrandbits(count)

    def bytes(self, count: int) -> bytes:
        """That many bytes."""
        return self._dice.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return self._dice.uniform(low, high)


class SimIds:
    """UUIDv7 from simulated time, each greater than the one before."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._last = 0
        self._counter = 0

    def new(self) -> UUID:
        """The next id."""
        now = int(self._time.now.timestamp() * 1000)
        if now > self._last:
            self._last, self._counter = now, 0
        else:
            self._counter += 1
            if self._counter > 0xFFF:
                self._last, self._counter = self._last + 1, 0
        return uuid7_from(self._last, self._counter, (self._last << 12 | self._counter) & ((1 << 62) - 1))


def plain_tasks() -> InlineTasks:
    """Work one after the other."""
    return InlineTasks()


class SimTransport:
    """Requests go to the sandbox of their host. Before and after each one others may work, or the worker dies."""

    def __init__(
        self,
        worker: Worker,
        time: Time,
        dice: random.Random,
        handlers: dict[str, Callable[[HttpRequest], HttpResponse]],
        dropped: type[Exception],
        before: Callable[[str, HttpRequest], None],
    ) -> None:
        self._worker = worker
        self._time = time
        self._dice = dice
        self._handlers = handlers
        self._dropped = dropped
        self._before = before

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """See `comptoir.sdk.ports.Transport`."""
        del timeout, max_bytes
        self._worker.point(f"before {request.method}")
        host = str(urlsplit(request.url).hostname)
        self._time.pass_by(self._dice.uniform(0.02, 0.3))
        self._before(host, request)
        try:
            answer = self._handlers[host](request)
        except self._dropped as dropped:
            self._worker.point(f"after a lost answer to {request.method}")
            if getattr(dropped, "sent", True):
                raise OutcomeUnknown(f"no whole answer to {request.method} arrived") from None
            raise TransientError("the connection was refused", code="no_connection") from None
        self._worker.point(f"after the answer to {request.method}")
        return answer


class SimDatabase(Database):
    """The store of a simulated process, on real PostgreSQL with simulated time."""

    def __init__(self, url: str, worker: Worker, time: Time) -> None:
        super().__init__(url)
        self._worker = worker
        self._time = time
        self._told: dict[int, Any] = {}
        worker.closing.append(self.close)

    def session(self) -> Session:
        """The open session, told what time it is."""
        self._worker.check()
        return self._in_time(super().session())

    def reader(self) -> Session:
        """The second session, told what time it is."""
        self._worker.check()
        return self._in_time(super().reader())

    def _in_time(self, session: Session) -> Session:
        key = id(session._connection)
        if self._told.get(key) != self._time.now:
            self._told[key] = self._time.now
            session.row("select set_config('comptoir.now', %s, false)", (self._time.now.isoformat(),))
        return session

    def _connect(self) -> Any:
        self._worker.check()
        connection = super()._connect()
        connection.execute(f"set lock_timeout = '{_LOCK_TIMEOUT}'".encode())
        connection.execute(b"set synchronous_commit = off")  # nothing here survives the machine
        return connection

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction; before and after its commit others may work, or the worker dies."""
        with super().transaction() as session:
            yield session
            self._worker.point("before a commit")
        self._worker.point("after a commit")
