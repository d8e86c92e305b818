"""Wakes routes that have work: one look at the store for all of them, again and again.

Level-triggered: an Airflow event is a wake-up and carries no work. A route is woken when something waits that was not
there before, and again, ever more rarely, as long as it waits and nobody works on it. So a lost event, a failed run, a
killed triggerer or a restarted database heal by themselves, and a burst of a thousand webhooks wakes a route once.

Lives in the triggerer. What it needs is found as a task finds it: the configuration's path is in the trigger, the
database is the embedded one beside it or the one that COMPTOIR_DATABASE_URL names.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from comptoir.errors import ComptoirError
from comptoir.store.waiting import Mark, Snapshot, Watch

__all__ = ["NAG", "POLL", "Bell", "WorkTrigger"]

log = logging.getLogger(__name__)

#: Seconds between two looks, and until a route that has work and does not come is woken again.
POLL: Final = 0.5
NAG: Final = 15.0

#: Below these an installation would be busy with itself.
_LEAST_POLL: Final = 0.1
_LEAST_NAG: Final = 5.0

#: How much rarer it gets at most: what waits for ten reminders waits for something else than a reminder.
_RAREST: Final = 10.0

#: A look may take this share of the time: with a backlog of millions it is taken less often.
_SHARE: Final = 0.05
_LONGEST_POLL: Final = 10.0

#: What a look may take before the connection is given up (the statement's own limit is shorter).
_LOOK_SECONDS: Final = 15.0

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 15.0


class Bell:
    """Decides when one route is woken. Knows nothing of Airflow or the time of day."""

    def __init__(self, route: str, topics: Sequence[str], nag: float) -> None:
        self._route = route
        self._topics = tuple(topics)
        self._nag = nag
        self._delay = nag
        self._rung: float | None = None
        self._answered = True
        self._seen: Mapping[str, Mark] = {}

    def rings(self, snapshot: Snapshot, now: float) -> dict[str, int] | None:
        """What waits, by topic, when the route is to be woken at this moment; else None.

        `now` are seconds that never go back.
        """
        if snapshot.is_at_work(self._route):
            # It takes what comes, and lingers: what it leaves behind is looked at when it has ended.
            self._answered = True
            return None
        waiting = snapshot.of(self._topics)
        if not waiting:
            self._seen, self._delay, self._answered = {}, self._nag, True
            return None
        news = self._has_news(waiting)
        if self._answered and news:
            self._delay = self._nag
        elif self._rung is not None and now - self._rung < self._delay:
            return None
        elif self._rung is not None:
            self._delay = min(self._delay * 2, self._nag * _RAREST)
        self._seen, self._rung, self._answered = waiting, now, False
        return {topic: mark.count for topic, mark in waiting.items()}

    def _has_news(self, waiting: Mapping[str, Mark]) -> bool:
        # The count as well: what was numbered earlier may be committed later.
        return any(
            (seen := self._seen.get(topic)) is None or mark.newest > seen.newest or mark.count > seen.count
            for topic, mark in waiting.items()
        )


class WorkTrigger(BaseEventTrigger):
    """Fires when a route has work to do. All triggers of a configuration share one connection and one query."""

    def __init__(self, config: str, route: str, topics: Sequence[str], poll: float = POLL, nag: float = NAG) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if poll < _LEAST_POLL or nag < _LEAST_NAG:
            raise ValueError(f"poll must be at least {_LEAST_POLL} and nag at least {_LEAST_NAG} seconds")
        self.config = config
        self.route = route
        self.topics = list(topics)
        self.poll = poll
        self.nag = nag

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow makes it again; holds no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "config": self.config,
                "route": self.route,
                "topics": self.topics,
                "poll": self.poll,
                "nag": self.nag,
            },
        )

    def shared_stream_key(self) -> Hashable:
        """One stream for all routes of a configuration."""
        return ("comptoir.work", self.config, str(self.poll))

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Snapshot]:
        """What waits in the store, look by look, for ever: a database that is away is waited for."""
        pause, said = _FIRST_PAUSE, ""
        while True:
            try:
                async with _watch(Path(kwargs["config"])) as watch:
                    while True:
                        begun = time.monotonic()
                        snapshot = await asyncio.wait_for(watch.look(), _LOOK_SECONDS)
                        took = time.monotonic() - begun
                        if said:
                            log.info("Comptoir's database answers again.")
                        pause, said = _FIRST_PAUSE, ""
                        yield snapshot
                        await asyncio.sleep(max(float(kwargs["poll"]), min(took / _SHARE, _LONGEST_POLL)))
            except (ComptoirError, OSError, TimeoutError) as error:
                words = error.message if isinstance(error, ComptoirError) else f"{type(error).__name__}: {error}"
                if words != said:
                    log.warning("Nobody is woken until Comptoir's database answers: %s", words)
                said = words
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Snapshot]) -> AsyncIterator[TriggerEvent]:
        """An event whenever this route is to be woken."""
        bell = Bell(self.route, self.topics, self.nag)
        async for snapshot in shared_stream:
            waiting = bell.rings(snapshot, time.monotonic())
            if waiting is not None:
                yield TriggerEvent({"route": self.route, "waiting": waiting})  # type: ignore[no-untyped-call]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The same with a connection of its own, for an Airflow that shares no streams."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event


@asynccontextmanager
async def _watch(config: Path) -> AsyncIterator[Watch]:
    """An open watch; the embedded server, where it is used, is held as long."""
    from comptoir.app.bootstrap import database_url, home_of

    async with AsyncExitStack() as stack:
        holder = database_url(home_of(config))
        # Starting a server takes seconds; other triggers live in this loop.
        url = await asyncio.to_thread(holder.__enter__)
        stack.push_async_callback(asyncio.to_thread, holder.__exit__, None, None, None)
        watch = await Watch.connect(url)
        stack.push_async_callback(watch.close)
        yield watch
