"""Drain: reads the records that webhooks hinted at again, and lands them through the same door as a poll.

Nothing is ever taken from a webhook's content. Several hints of one record are one reading. A hint is finished in the
transaction that lands what it led to; one that a killed run had taken is simply taken again.

Reading and landing happen under the lock of reading this entity (`pull.reading`), batch by batch: a poll and a drain
never have an answer of the same entity in hand at the same time, so the one that was given earlier cannot land later. A
shop that answers from a cache can still give an older state than one landed before; it is left out by its date.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub, Link
from comptoir.engine.land import Lander
from comptoir.engine.pull import pull, reading
from comptoir.errors import RecordRejected, TransientError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import Fetches, RawItem
from comptoir.store.database import Session
from comptoir.store.inbox import Inbox, Waiting
from comptoir.store.links import Links
from comptoir.store.sync import Quarantine, Runs

__all__ = ["LOOP_READINGS", "LOOP_WINDOW", "drain"]

_log = logging.getLogger("comptoir.drain")

#: A record that was read so often for hints within the window, unchanged each time, is hinted at by a loop: something
#: in the shop saves the record while the webhook about its saving is made (failure mode 24).
LOOP_READINGS = 10
LOOP_WINDOW = timedelta(minutes=15)
_BATCH = 500
#: The cause of a parked record that the shop refuses to give; it is resolved when the shop gives it again.
_NOT_READABLE = "not_readable"
_WEBHOOK_LOOP = "webhook_loop"

_CHANGED, _UNCHANGED, _OLDER, _GONE, _LOOP, _REFUSED, _POLLED = (
    "changed",
    "unchanged",
    "older",
    "gone",
    "loop",
    "refused",
    "polled",
)


def drain(hub: Hub, link: Link, entity: EntityName, report: RunReport) -> int:
    """Works off the hints that wait for an entity of a connection; returns how many.

    Hints that come meanwhile are left for the next call. Where single records cannot be read again, everything is
    pulled instead. Raises what the connector raises, and TransientError `busy` as `pull` does; the hints then wait on.
    """
    with hub.database.errors():
        until = Inbox(hub.database.session()).newest(link.name, entity)
    if until is None:
        return 0
    capability = hub.capability(link.name, entity)
    connector = link.open()
    if not capability.fetch or not isinstance(connector, Fetches):
        return _by_pull(hub, link, entity, report, until)
    work = _Drain(hub, link, entity, report, connector)
    handled = 0
    while True:
        with reading(hub, link, entity):
            count = work.batch(until)
        if not count:
            break
        handled += count
    work.tell()
    return handled


def _by_pull(hub: Hub, link: Link, entity: EntityName, report: RunReport, until: int) -> int:
    """The hints are finished by a poll that began after they came."""
    pull(hub, link, entity, report)
    handled = 0
    while True:
        with hub.database.transaction() as session:
            inbox, now = Inbox(session), hub.ports.clock.now()
            rows = inbox.take(link.name, entity, _BATCH, run_id=report.run_id, at=now, until=until)
            inbox.done({row.id: _POLLED for row in rows}, run_id=report.run_id, at=now)
        if not rows:
            return handled
        handled += len(rows)


class _Drain:
    """The batches of one call."""

    def __init__(self, hub: Hub, link: Link, entity: EntityName, report: RunReport, connector: Fetches) -> None:
        self._hub = hub
        self._link = link
        self._entity = entity
        self._report = report
        self._connector = connector
        self._clock = hub.ports.clock
        self._lander = Lander(hub, link, report)
        self._swallowed = 0
        self._older = 0

    def batch(self, until: int) -> int:
        """One batch, from taking the hints to finishing them; the caller holds the lock of reading. 0: none is left."""
        name, entity = self._link.name, self._entity
        now = self._clock.now()
        with self._hub.database.transaction() as session:
            inbox = Inbox(session)
            rows = inbox.take(name, entity, _BATCH, run_id=self._report.run_id, at=now, until=until)
            ids = list(dict.fromkeys(row.external_id for row in rows))
            tries = inbox.fruitless(name, entity, ids, now - LOOP_WINDOW)
            often = [number for number, times in tries.items() if times + 1 >= LOOP_READINGS]
            # What we write is told of by a webhook too, or by two, and read again unchanged: that ends with our writes.
            for number, writes in inbox.own_writes(name, often, now - LOOP_WINDOW).items():
                tries[number] -= 2 * writes
        if not rows:
            return 0
        looping = {number for number, times in tries.items() if times >= LOOP_READINGS}
        batch = _Batch(rows, [number for number in ids if number not in looping], looping, tries)
        self._read(batch)
        with self._hub.database.errors():
            self._leave_out_older(Inbox(self._hub.database.session()), batch)
        self._lander.land(batch.items, lambda session, at: self._finish(session, at, batch))
        return len(rows)

    def tell(self) -> None:
        """Says in the report what nobody would guess from the counts."""
        what = f"of {self._entity.value} on {self._link.name}"
        if self._swallowed:
            minutes = int(LOOP_WINDOW.total_seconds() // 60)
            self._report.notes.append(
                f"{self._swallowed} webhooks {what} were not followed: their records came again and again without a "
                f"change within {minutes} minutes; the schedule goes on reading them (comptoir quarantine list)"
            )
        if self._older:
            self._report.notes.append(
                f"{self._older} records {what} were given in an older state than the one known, and left out: a cache "
                "before the shop? The schedule reads them again"
            )

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, batch: _Batch) -> None:
        """Reads the records again. One that the shop refuses to give does not keep the others."""
        if not batch.ids:
            return
        try:
            batch.items = self._fetch(batch.ids)
        except RecordRejected as error:
            if len(batch.ids) == 1:
                batch.refused[batch.ids[0]] = error
                return
            for number in batch.ids:
                try:
                    batch.items += self._fetch([number])
                except RecordRejected as refusal:
                    batch.refused[number] = refusal

    def _fetch(self, ids: Sequence[str]) -> list[RawItem]:
        return [item for page in self._connector.fetch(self._entity, ids) for item in page.items]

    def _leave_out_older(self, inbox: Inbox, batch: _Batch) -> None:
        """Drops what is older than what was landed before, with what hangs on it, and notes what was known before."""
        for entity in {item.entity for item in batch.items}:
            ids = [item.external_id for item in batch.items if item.entity is entity]
            for number, (version, modified) in inbox.landed(self._link.name, entity, ids).items():
                batch.versions[entity, number] = version
                batch.landed[entity, number] = modified
        batch.answers = {number: batch.of(number) for number in batch.ids}
        batch.older = {
            item.external_id
            for item in batch.items
            if item.entity is self._entity
            and _is_older(item.modified_at, batch.landed.get((item.entity, item.external_id)))
        }
        # A refund carries facts of its order: those of an older state are older too.
        batch.items = [
            item
            for item in batch.items
            if (item.external_id if item.entity is self._entity else _parent(item)) not in batch.older
        ]
        self._older += len(batch.older)

    # -- finishing -------------------------------------------------------------------------------------------------

    def _finish(self, session: Session, at: datetime, batch: _Batch) -> None:
        """Inside the transaction that lands the batch: what became of each hint."""
        inbox, name = Inbox(session), self._link.name
        after: dict[tuple[EntityName, str], int] = {}
        for entity in {item.entity for item in batch.items}:
            ids = [item.external_id for item in batch.items if item.entity is entity]
            after.update({(entity, n): version for n, (version, _) in inbox.landed(name, entity, ids).items()})
        outcomes = {number: self._outcome(number, batch, after) for number in batch.ids}
        outcomes.update(dict.fromkeys(batch.looping, _LOOP))
        self._note_missing(session, batch, outcomes, at)
        self._park(session, batch, outcomes, at)
        if not inbox.done({row.id: outcomes[row.external_id] for row in batch.rows}, run_id=self._report.run_id, at=at):
            raise TransientError(
                f"{name}: another run has taken webhooks of {self._entity.value} over from this one",
                hint="The connection to the database was lost for a while. Nothing is lost: the other run reads them.",
                connection=name,
                code="busy",
            )

    def _outcome(self, number: str, batch: _Batch, after: dict[tuple[EntityName, str], int]) -> str:
        if number in batch.refused:
            return _REFUSED
        came = batch.answers[number]
        if not came:
            return _GONE
        landed = [item for item in came if (item.entity, item.external_id) in after]
        if not landed:
            return _OLDER
        keys = [(item.entity, item.external_id) for item in landed]
        return _UNCHANGED if all(after[key] == batch.versions.get(key) for key in keys) else _CHANGED

    def _note_missing(self, session: Session, batch: _Batch, outcomes: dict[str, str], at: datetime) -> None:
        """What led to no record is counted and said all the same; a deletion is no error."""
        counts, name, entity = self._report.entities[self._entity], self._link.name, self._entity.value
        deleted = {row.external_id for row in batch.rows if row.kind == "deleted"}
        reasons = {
            _GONE: f"{name} does not give it any more",
            _OLDER: f"{name} gave an older state than the known one",
            _LOOP: "webhook loop: the schedule reads it",
        }
        said = []
        for number, outcome in outcomes.items():
            if outcome not in reasons:
                continue
            reason = f"deleted on {name}" if outcome == _GONE and number in deleted else reasons[outcome]
            counts.considered += 1
            counts.skip(reason)
            said.append((self._report.run_id, name, entity, number, outcome, reason))
        Runs(session).outcomes(said)
        gone = [number for number, outcome in outcomes.items() if outcome == _GONE]
        if gone and self._entity in (EntityName.ITEM, EntityName.CUSTOMER):
            Links(session).bury(self._entity, name, gone)
        self._swallowed += sum(1 for row in batch.rows if outcomes[row.external_id] == _LOOP)

    def _park(self, session: Session, batch: _Batch, outcomes: dict[str, str], at: datetime) -> None:
        """Sets aside what the shop refuses to give, and what has just been found to loop."""
        quarantine, counts = Quarantine(session), self._report.entities[self._entity]
        where: dict[str, Any] = {"connection": self._link.name, "entity": self._entity, "at": at, "field": None}
        for number, error in batch.refused.items():
            counts.considered += 1
            counts.quarantined += 1
            quarantine.park(
                self._hub.ports.ids.new(),
                external_id=number,
                cause=_NOT_READABLE,
                message=f"{self._entity.value} {number} on {self._link.name}: {error.message}",
                hint=error.hint or "Look at the record in the shop; the schedule goes on reading it.",
                **where,
            )
        came = [number for number, outcome in outcomes.items() if outcome in (_CHANGED, _UNCHANGED)]
        known = Inbox(session).with_a_person(self._link.name, self._entity, came)
        readable = [number for number in came if known.get(number) == _NOT_READABLE]
        if readable:
            quarantine.resolve(self._link.name, self._entity, readable, "the shop gave it again", at)
        for number in came:
            if outcomes[number] != _UNCHANGED or batch.tries.get(number, 0) + 1 < LOOP_READINGS:
                continue
            if known.get(number, _WEBHOOK_LOOP) not in (_WEBHOOK_LOOP, _NOT_READABLE):
                continue  # a person has the record already, for a reason that must not be overwritten
            minutes = int(LOOP_WINDOW.total_seconds() // 60)
            _log.warning("%s: webhooks of %s %s loop", self._link.name, self._entity.value, number)
            counts.unchanged -= 1
            counts.quarantined += 1
            quarantine.park(
                self._hub.ports.ids.new(),
                external_id=number,
                cause=_WEBHOOK_LOOP,
                message=f"{self._entity.value} {number} on {self._link.name} sent webhooks again and again: read "
                f"{LOOP_READINGS} times within {minutes} minutes, it was unchanged each time",
                hint="A plugin of the shop saves the record while the webhook is made, which makes the next one. Find "
                f"and stop it, then `comptoir quarantine resolve`. For {minutes} minutes at a time its webhooks are "
                "not followed; the schedule goes on reading the record.",
                **where,
            )


class _Batch:
    """Hints, and what they led to."""

    def __init__(self, rows: Sequence[Waiting], ids: list[str], looping: set[str], tries: dict[str, int]) -> None:
        self.rows = rows
        self.ids = ids
        self.looping = looping
        self.tries = tries
        self.items: list[RawItem] = []
        self.refused: dict[str, RecordRejected] = {}
        self.versions: dict[tuple[EntityName, str], int] = {}
        self.landed: dict[tuple[EntityName, str], datetime | None] = {}
        self.older: set[str] = set()
        self.answers: dict[str, list[RawItem]] = {}

    def of(self, number: str) -> list[RawItem]:
        """What was read for one hinted id: the record, or those that hang under it."""
        return [item for item in self.items if item.external_id == number or _parent(item) == number]


def _parent(item: RawItem) -> str | None:
    """The id of the record that this one hangs under."""
    found = item.parent.get("id") if item.parent else None
    return None if found is None else str(found)


def _is_older(given: datetime | None, landed: datetime | None) -> bool:
    return given is not None and landed is not None and given < landed
