"""Workers that interleave in one thread: each is a greenlet that gives way at points where the real world could.

A point is a commit, a request, a sleep. At each one the seed decides whether this worker goes on, another one does,
this one is killed, or its machine stands still for some minutes; and what people do in the shop and at the back office
happens there too, in the middle of everything. A killed worker does nothing more: its database connections are closed,
and whatever its `finally` blocks still try fails at once, as if the process were gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import greenlet

from comptoir.errors import ComptoirError

__all__ = ["Chances", "Clock", "Killed", "Time", "Worker", "Workers"]

#: While everybody sleeps for longer than this, people do something, this often.
_PEOPLE_WAIT = 20.0
_BUSY = 0.6


_ON_ITS_WAY = frozenset({"before POST", "before PUT", "before PATCH", "before DELETE"})


def _nothing() -> None:
    """Nobody does anything."""


def _nobody(worker: Worker) -> None:
    """Nobody works instead."""
    del worker


class Killed(BaseException):
    """The worker's process is gone. No Exception: nothing may handle it."""


class Time:
    """Simulated time, the same for all; a worker's or a shop's own clock may be off by its skew."""

    def __init__(self, start: datetime) -> None:
        self.now = start
        self.elapsed = 0.0

    def pass_by(self, seconds: float) -> None:
        """Time moves on."""
        self.now += timedelta(seconds=seconds)
        self.elapsed += seconds


class Clock:
    """A clock of somebody: simulated time and a skew."""

    def __init__(self, time: Time, skew: float = 0.0, sleep: Callable[[float], None] | None = None) -> None:
        self._time = time
        self._sleep = sleep
        self.skew = skew

    def now(self) -> datetime:
        """Aware UTC now, as this clock has it."""
        return (self._time.now + timedelta(seconds=self.skew)).astimezone(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._time.elapsed

    def sleep(self, seconds: float) -> None:
        """Time passes; others may work meanwhile."""
        if self._sleep is not None:
            self._sleep(seconds)
        else:
            self._time.pass_by(seconds)


@dataclass(slots=True)
class Chances:
    """How likely it is, at each point, that something happens there; people act so often meanwhile, at most."""

    kill: float = 0.0
    freeze: float = 0.0
    switch: float = 0.0
    act: float = 0.0
    fault: float = 0.0
    most_acts: int = 20


@dataclass(eq=False)
class Worker:
    """One process of the merchant's installation."""

    name: str
    workers: Workers
    work: Callable[[Worker], Any]
    dead: bool = False
    done: bool = False
    wake: float = 0.0
    error: BaseException | None = None
    result: Any = None
    closing: list[Callable[[], None]] = field(default_factory=list)
    thread: Any = None

    def point(self, what: str) -> None:
        """Somebody else may go on here, or this worker is killed. Raises Killed."""
        self.workers.at_point(self, what)

    def sleep(self, seconds: float) -> None:
        """Gives way until simulated time has passed."""
        self.check()
        self.workers.sleep(self, seconds)

    def check(self) -> None:
        """Raises Killed when this process is gone."""
        if self.dead:
            raise Killed

    def die(self) -> None:
        """The process is gone: connections are closed before anything else runs."""
        self.dead = True
        for close in self.closing:
            with suppress(Exception):
                close()
        raise Killed


class Workers:
    """Runs workers until all have ended."""

    def __init__(self, time: Time, dice: random.Random, chances: Chances, tell: Callable[[str], None]) -> None:
        self._time = time
        self._dice = dice
        self.chances = chances
        self._tell = tell
        self._all: list[Worker] = []
        self._hub: Any = None
        #: What people do while workers are at work.
        self.meanwhile: Callable[[], None] = _nothing
        #: Called with a worker of which nothing was heard for a while: whoever takes it for dead starts another one.
        self.instead: Callable[[Worker], None] = _nobody
        self.points = 0
        #: Workers that ended by something that is no error of ours.
        self.broken: list[str] = []

    def run(self, jobs: Sequence[tuple[str, Callable[[Worker], Any]]]) -> list[Worker]:
        """Runs these jobs side by side, interleaved as the seed decides; returns them ended."""
        self._hub = greenlet.getcurrent()
        mine = [self._begin(name, work) for name, work in jobs]
        while True:
            living = [w for w in self._all if not w.done]
            if not living:
                self._all, self._hub = [], None
                return mine
            ready = [w for w in living if w.wake <= self._time.elapsed]
            if not ready:
                self._wait(min(w.wake for w in living) - self._time.elapsed)
                continue
            chosen = ready[0] if len(ready) == 1 else self._dice.choice(ready)
            chosen.thread.switch()

    def start(self, name: str, work: Callable[[Worker], Any]) -> None:
        """One more job: beside those that run, or alone when none does."""
        if self._hub is None:
            self.run([(name, work)])
        else:
            self._begin(name, work)

    def _begin(self, name: str, work: Callable[[Worker], Any]) -> Worker:
        worker = Worker(name, self, work, wake=self._time.elapsed)
        # Begun by the one that schedules, whoever asked for it.
        worker.thread = greenlet.greenlet(lambda: self._body(worker), self._hub)
        self._all.append(worker)
        return worker

    def _wait(self, seconds: float) -> None:
        """Everybody sleeps; people do not."""
        if self.chances.act and seconds > _PEOPLE_WAIT and self._dice.random() < _BUSY:
            self._time.pass_by(self._dice.uniform(0, seconds))
            self.meanwhile()
            self.instead(next(w for w in self._all if not w.done))
        else:
            self._time.pass_by(seconds)

    def _body(self, worker: Worker) -> None:
        try:
            worker.result = worker.work(worker)
        except Killed as gone:
            worker.error = gone
            self._tell(f"{worker.name} was killed")
        except ComptoirError as error:
            worker.error = error
            self._tell(f"{worker.name} ended: {error.message}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine has let it through: that is the finding
            worker.error = error
            self._tell(f"{worker.name} broke: {error!r}")
            self.broken.append(f"{worker.name} broke with {type(error).__name__}: {error}")
        finally:
            worker.done = True
            for close in worker.closing:
                with suppress(Exception):
                    close()

    def at_point(self, worker: Worker, what: str) -> None:
        """See `Worker.point`."""
        worker.check()
        self.points += 1
        chances, roll = self.chances, self._dice.random()
        if roll < chances.kill:
            self._tell(f"{worker.name} is killed {what}")
            worker.die()
        # What stands still just after a commit has others see its intent and nothing of its work.
        freeze = chances.freeze * (2 if what == "after a commit" else 1)
        if roll < chances.kill + freeze:
            # Nobody can protect a remote from a request that stood still for an hour on its way out of the machine.
            seconds = self._dice.uniform(5, 20) if what in _ON_ITS_WAY else self._dice.uniform(30, 1500)
            self._tell(f"{worker.name} stands still {what} for {seconds:.0f} s")
            self.sleep(worker, seconds)
            return
        if chances.act and self._dice.random() < chances.act:
            self.meanwhile()
        others = [w for w in self._all if w is not worker and not w.done and w.wake <= self._time.elapsed]
        if others and self._dice.random() < chances.switch:
            self._hub.switch()
            worker.check()

    def sleep(self, worker: Worker, seconds: float) -> None:
        """See `Worker.sleep`."""
        worker.wake = self._time.elapsed + max(seconds, 0.001)
        self._hub.switch()
        worker.check()
