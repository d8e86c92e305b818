"""The ports of a simulated process: its clock, ids, randomness, transport and database, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from comptoir.errors import OutcomeUnknown
from comptoir.model.ids import uuid7_from
from comptoir.sdk.ports import HttpRequest, HttpResponse
from comptoir.simulation.network import Network
from comptoir.simulation.workers import Time, Worker
from comptoir.store.database import Session
from comptoir.store.reset import Connections, SharedDatabase
from comptoir.testing.fakes import InlineTasks

__all__ = ["LOCK_TIMEOUT", "SimDatabase", "SimIds", "SimRandom", "SimTransport", "plain_tasks"]

#: A worker that waits for a row which a suspended one holds would wait for ever: it gives up, and its run is repeated.
#: Nobody else works meanwhile, so waiting longer would change nothing.
LOCK_TIMEOUT = "20ms"


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
    """Requests go through the simulated network. Before and after each one others may work, or the worker dies."""

    def __init__(self, worker: Worker, time: Time, dice: random.Random, network: Network) -> None:
        self._worker = worker
        self._time = time
        self._dice = dice
        self._network = network

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        """See `comptoir.sdk.ports.Transport`."""
        del timeout, max_bytes
        self._worker.point(f"before {request.method}")
        self._time.pass_by(self._dice.uniform(0.02, 0.3))
        try:
            answer = self._network.carry(request)
        except OutcomeUnknown:
            self._worker.point(f"after a lost answer to {request.method}")
            raise
        self._worker.point(f"after the answer to {request.method}")
        return answer


class SimDatabase(SharedDatabase):
    """The store of a simulated process, on real PostgreSQL with simulated time."""

    def __init__(self, url: str, worker: Worker, time: Time, connections: Connections, skew: float) -> None:
        super().__init__(url, connections)
        self._worker = worker
        self._time = time
        self._skew = timedelta(seconds=skew)
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
        return _InTime(session, self._time, self._skew, self._connections)

    def close(self) -> None:
        """The process ends, or is gone: what it held is free at once."""
        self.leave()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction; before and after its commit others may work, or the worker dies."""
        with super().transaction() as session:
            yield session
            self._worker.point("before a commit")
        self._worker.point("after a commit")


class _InTime(Session):
    """A session that is told the simulated time before a statement that asks for it."""

    def __init__(self, session: Session, time: Time, skew: timedelta, connections: Connections) -> None:
        super().__init__(session._connection, session._copying)
        self._time = time
        self._skew = skew
        self._told = connections.told
        self._locks = connections.locks

    def execute(self, query: str, parameters: Any = None) -> int:
        """See `Session`."""
        self._tell(query)
        return super().execute(query, parameters)

    def rows(self, query: str, parameters: Any = None) -> list[Any]:
        """See `Session`."""
        self._tell(query)
        return super().rows(query, parameters)

    def row(self, query: str, parameters: Any = None) -> Any:
        """See `Session`."""
        self._tell(query)
        return super().row(query, parameters)

    def try_lock(self, name: str) -> bool:
        """See `Session`."""
        taken = super().try_lock(name)
        self._locks[id(self._connection)] += taken
        return taken

    def unlock(self, name: str) -> None:
        """See `Session`."""
        super().unlock(name)
        self._locks[id(self._connection)] -= 1

    def _tell(self, query: str) -> None:
        """A setting made in a transaction goes with it, so only one made outside is remembered."""
        if "comptoir_now" not in query:
            return
        now, key = self._time.now + self._skew, id(self._connection)
        if self._told.get(key) == now:
            return
        outside = self._connection.info.transaction_status.name == "IDLE"
        super().row("select set_config('comptoir.now', %s, %s)", (now.isoformat(), not outside))
        if outside:
            self._told[key] = now
