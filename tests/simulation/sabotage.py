"""Protections of the engine, each taken away by replacing what protects: functions, a statement, an index.

The engine has no switch for any of them. `quick` is a seed that finds the loss, so that `make test` is short; the long
test looks for each of them from seed 1. `symptom`: words of the violation that tells this loss from any other.
`chances` and `scene`: where the fault that a protection is against is rare, it is made frequent.

Two protections stand behind another one. A copy of a webhook that is taken for new is read again and found unchanged,
so only the count of hints shows it. The index of open deliveries and the look before a delivery is added are taken away
together: while one stands the other is not missed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from pytest import MonkeyPatch

from comptoir.domain.authority import Decision
from comptoir.engine import deliver, land, publish, pull
from comptoir.model.refs import EntityName
from comptoir.simulation.scene import Scene
from comptoir.simulation.workers import Chances
from comptoir.store.inbox import Inbox
from comptoir.store.links import Links
from comptoir.store.outbox import Outbox
from comptoir.store.schema import plain_url
from comptoir.store.sync import CursorRow, Cursors
from comptoir_woocommerce import paging

__all__ = ["SABOTAGES", "Sabotage"]

Undo = Iterator[None]


@dataclass(frozen=True)
class Sabotage:
    """A protection and how it is taken away, for a block, in the database of this URL."""

    name: str
    away: Callable[[MonkeyPatch, str], None]
    quick: int
    symptom: str
    restore: str = ""
    chances: Chances | None = None
    scene: Callable[[Scene], Scene] | None = None

    @property
    def profile(self) -> dict[str, Any]:
        """What its seeds are played with."""
        return {"chances": self.chances, "scene": self.scene}

    @contextmanager
    def at_work(self, url: str) -> Undo:
        """The engine without this protection."""
        with MonkeyPatch.context() as patch:
            self.away(patch, url)
            try:
                yield
            finally:
                if self.restore:
                    _sql(url, "delete from delivery", self.restore)


def _sql(url: str, *statements: str) -> None:
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _every_copy_of_a_webhook_is_new(patch: MonkeyPatch, url: str) -> None:
    numbers, add = itertools.count(), Inbox.add
    patch.setattr(Inbox, "add", lambda self, name, key, hints, at: add(self, name, f"{key}#{next(numbers)}", hints, at))


def _every_reading_is_a_change(patch: MonkeyPatch, url: str) -> None:
    numbers = itertools.count()
    render = land.render_raw

    def another(*given: Any) -> Any:
        return render(*given)._replace(fingerprint=next(numbers).to_bytes(16, "big"))

    patch.setattr(land, "render_raw", another)


def _no_overlap(patch: MonkeyPatch, url: str) -> None:
    patch.setattr(pull, "timedelta", lambda **given: timedelta(0))


def _watermark_after_the_read(patch: MonkeyPatch, url: str) -> None:
    def close(self: Any, session: Any, now: Any) -> None:
        Cursors(session).put(self._connection, self._entity, CursorRow(now, None, None), now)

    patch.setattr(pull._Window, "close", close)


def _lost_answers_are_sent_again(patch: MonkeyPatch, url: str) -> None:
    def look_up(self: Any) -> None:
        with self._hub.database.transaction() as session:
            session.execute(
                "update delivery set state = 'pending', due_at = comptoir_now(), lease_until = null "
                "where target = %s and state = 'in_doubt'",
                (self._target,),
            )

    patch.setattr(deliver.Deliverer, "_look_up", look_up)


def _no_look_at_the_lease(patch: MonkeyPatch, url: str) -> None:
    patch.setattr(deliver, "_LEAST_LEASE", float("-inf"))


def _several_open_deliveries(patch: MonkeyPatch, url: str) -> None:
    patch.setattr(Outbox, "open_for", lambda self, target, entity, record_ids: {})
    _sql(url, "drop index delivery_open")


def _whatever_is_wanted_is_written(patch: MonkeyPatch, url: str) -> None:
    patch.setattr(publish, "decide", lambda wanted, known, before=None: Decision(tuple(wanted)))


def _position_before_the_rows(patch: MonkeyPatch, url: str) -> None:
    store = land.Lander.store

    def first_the_position(self: Any, prepared: Any) -> None:
        also, prepared.also = prepared.also, None
        if also is not None:
            with self._hub.database.transaction() as session:
                also(session, self._clock.now())
        store(self, prepared)

    patch.setattr(land.Lander, "store", first_the_position)


def _what_a_read_does_not_show_is_gone(patch: MonkeyPatch, url: str) -> None:
    note, close = pull._Window.note, pull._Window.close
    seen: dict[Any, set[str]] = {}

    def noted(self: Any, items: Any) -> None:
        note(self, items)
        seen.setdefault(self, set()).update(item.external_id for item in items)

    def closed(self: Any, session: Any, now: Any) -> None:
        close(self, session, now)
        if self._entity in (EntityName.ITEM, EntityName.CUSTOMER):
            rows = session.rows(
                f"select external_id from {self._entity.value} where connection = %s", (self._connection,)
            )
            Links(session).bury(self._entity, self._connection, [r[0] for r in rows if r[0] not in seen.get(self, ())])

    patch.setattr(pull._Window, "note", noted)
    patch.setattr(pull._Window, "close", closed)


def _the_same_page_for_ever(patch: MonkeyPatch, url: str) -> None:
    patch.setattr(paging.ListReader, "_count_repeats", lambda self, page, seen: None)
    patch.setattr(paging._Page, "overfull", property(lambda page: False))


_INDEX = (
    "create unique index if not exists delivery_open on delivery (target, entity, record_id) "
    "where state in ('held', 'pending', 'sent', 'in_doubt')"
)
#: Machines that stand still, and processes that are killed, ten times as often as elsewhere.
_SLOW = Chances(freeze=0.02, switch=0.25, act=0.002, most_acts=200)
#: Hardly anybody has a turn but when the others sleep.
_ASLEEP = Chances(freeze=0.05, switch=0.05, act=0.0005, most_acts=400)
_KILLED = Chances(kill=0.015, freeze=0.0, switch=0.25, act=0.01, fault=0.0)


def _plain(scene: Scene) -> Scene:
    """One shop that sends no webhooks, and the storehouse: what is lost is lost for good."""
    return dataclasses.replace(
        scene, history=0, page_cap=0, ignores="", stale=0.0, books=False, back=False, depot=True, hooks_lost=1.0
    )


SABOTAGES = (
    Sabotage("inbound dedupe: webhooks", _every_copy_of_a_webhook_is_new, 1, "hints came with webhooks"),
    Sabotage("inbound dedupe: records", _every_reading_is_a_change, 1, "reading again changed"),
    Sabotage("overlap", _no_overlap, 1, "is not known", scene=_plain),
    Sabotage("watermark before the read", _watermark_after_the_read, 5, "order", chances=_SLOW, scene=_plain),
    Sabotage("in-doubt probe", _lost_answers_are_sent_again, 3, "times at the storehouse"),
    Sabotage(
        # Whoever slept wakes too late: somebody else has looked, found nothing and sent it.
        "lease check before send",
        _no_look_at_the_lease,
        9,
        "times at the storehouse",
        chances=_ASLEEP,
        scene=_plain,
    ),
    Sabotage("one open delivery per record and target", _several_open_deliveries, 4, "times at the storehouse", _INDEX),
    Sabotage("echo suppression", _whatever_is_wanted_is_written, 1, "value_not_kept"),
    Sabotage(
        "resume position and rows in one transaction",
        _position_before_the_rows,
        20,
        "order",
        chances=_KILLED,
        scene=_plain,
    ),
    Sabotage("deletes only by complete sweeps", _what_a_read_does_not_show_is_gone, 1, "product"),
    Sabotage("repeated-page check", _the_same_page_for_ever, 11, "is not known"),
)
