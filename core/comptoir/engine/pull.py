"""Pull: reads a connection page by page from its cursor and lands each batch.

The watermark of a window is taken before the read and moves only after the window was read to its end; within a
window the resume position is committed with the rows it covers. So a run that is killed goes on where it stood, and
a record that changes during the read is seen by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Link
from comptoir.engine.land import Lander, Prepared
from comptoir.engine.measure import reading_of
from comptoir.errors import ContractViolation, TransientError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import PullRequest, Pulls, RawItem
from comptoir.store.database import Session
from comptoir.store.sync import CursorRow, Cursors

__all__ = ["pull", "reading"]

#: Records that are compared and mapped together: a query for each page of ten would cost more than the page.
_PORTION = 96
#: How long a run waits for another one that reads the same: usually that takes a second or two.
_PATIENCE = 20.0


def pull(
    hub: Hub,
    link: Link,
    entity: EntityName,
    report: RunReport,
    *,
    since: datetime | None = None,
    full: bool = False,
    progress: Any = None,
) -> None:
    """Reads what changed on a connection and lands it.

    `since` reads from that moment, `full` reads everything; both leave an earlier watermark where it was or further.
    Raises what the connector raises; everything committed until then stays.
    """
    with reading(hub, link, entity):
        _pull(hub, link, entity, report, since, full, progress)


@contextmanager
def reading(hub: Hub, link: Link, entity: EntityName) -> Iterator[None]:
    """Held from reading records of a connection until they are landed, so that no older answer lands after a newer one.

    TransientError `busy` when another run holds it for longer than it usually takes.
    """
    lock = f"pull:{link.name}:{entity.value}"
    clock = hub.ports.clock
    patience, wait = clock.monotonic() + _PATIENCE, 0.1
    with hub.database.errors():
        while not hub.database.session().try_lock(lock):
            if clock.monotonic() < patience:
                clock.sleep(wait)
                wait = min(2 * wait, 1.0)
                continue
            raise TransientError(
                f"{link.name}: another run is reading {entity.value} at this moment",
                hint="Nothing to do: what it reads serves every route; run again when it has ended.",
                connection=link.name,
                code="busy",
            )
    try:
        yield
    finally:
        with hub.database.errors():
            hub.database.session().unlock(lock)


def _pull(
    hub: Hub,
    link: Link,
    entity: EntityName,
    report: RunReport,
    since: datetime | None,
    full: bool,
    progress: Any,
) -> None:
    connector = link.open()
    if not isinstance(connector, Pulls):
        raise ContractViolation(f"{link.manifest.name} declares {entity.value}.pull but has no pull()")
    with hub.database.errors():
        session = hub.database.session()
        cursor, reading = Cursors(session).get(link.name, entity), reading_of(session, link, entity)
    start = None if full or reading.way == "sweep" else since or cursor.watermark
    if start is not None and since is None:
        start -= timedelta(seconds=reading.overlap_seconds)
    resuming = cursor.position is not None and not full and since is None
    started = cursor.window_started if resuming and cursor.window_started else hub.ports.clock.now()
    request = PullRequest(
        entity=entity,
        since=start,
        position=cursor.position if resuming else None,
        pages_in_flight=link.manifest.pages_in_flight,
    )
    lander = Lander(hub, link, report)
    window = _Window(link.name, entity, cursor.watermark, started)
    keep_position = not full and since is None

    def batches() -> Iterator[Prepared]:
        """Batches of the read, prepared; the next one while the one before is being stored."""
        pending: list[RawItem] = []
        prepared = lander.begin()
        for page in connector.pull(request):
            if page.as_of is not None and not window.dated and not resuming:
                # The remote's own clock rules its modification dates; ours may be ahead of it.
                window.started = min(window.started, page.as_of)
                window.dated = True
            pending.extend(page.items)
            window.note(page.items)
            if progress is not None:
                progress(sum(item.entity is entity for item in page.items), page.total)
            full = len(prepared) + len(pending) >= hub.batch_records
            if full or len(pending) >= _PORTION:
                lander.add(prepared, pending)
                pending = []
            if full:
                position = page.position if keep_position else None
                yield lander.finish(prepared, window.resume_at(position) if position is not None else None)
                prepared = lander.begin(behind=prepared.keys)
        lander.add(prepared, pending)
        yield lander.finish(prepared, window.close)

    # Later reads bring little that is new, and the process that helps is not made for it.
    with lander.beside() if cursor.watermark is None else nullcontext():
        for _ in hub.ports.tasks.one_behind(lander.store, batches()):
            pass


class _Window:
    """One window of a cursor: opened before the read, closed when it was read to its end."""

    def __init__(self, connection: str, entity: EntityName, watermark: datetime | None, started: datetime) -> None:
        self._connection = connection
        self._entity = entity
        self._watermark = watermark
        self.started = started
        self.dated = False
        self._newest: datetime | None = None

    def note(self, items: Any) -> None:
        """Remembers the newest modification that was seen."""
        for item in items:
            if item.modified_at is not None and (self._newest is None or item.modified_at > self._newest):
                self._newest = item.modified_at

    def resume_at(self, position: Mapping[str, Any]) -> Any:
        """Stores where to resume, with the rows before it."""

        def store(session: Session, now: datetime) -> None:
            row = CursorRow(self._watermark, dict(position), self.started)
            Cursors(session).put(self._connection, self._entity, row, now)

        return store

    def close(self, session: Session, now: datetime) -> None:
        """Moves the watermark: never back, and never past the start of the read or the newest row stored.

        The second bound is what a remote whose clock is behind ours needs: its rows carry its own time.
        """
        reached = self._watermark
        if self._newest is not None:
            reached = min(self.started, self._newest)
        if self._watermark is not None and (reached is None or reached < self._watermark):
            reached = self._watermark
        Cursors(session).put(self._connection, self._entity, CursorRow(reached, None, None), now)
