"""Publish: keep the values of existing records at a target as the source has them.

Plan: a target's record with the source's values in the fields that the route gives it, rendered, against what the
target is known to show; only keys that differ are written. Send: grouped by the connector, several calls in flight.
One publisher works on one (target, entity) at a time. Repeating an absolute value changes nothing, so an unknown
outcome needs no look-up: after a pause the newest values are sent again (docs/adr/0008).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from comptoir.domain.authority import CUSTOMER_FIELDS, ITEM_FIELDS, decide, merge_customer, merge_item
from comptoir.engine.attention import Attention
from comptoir.engine.counts import RunReport
from comptoir.engine.echo import Words
from comptoir.engine.hub import Hub, Link, Route
from comptoir.engine.land import Lander
from comptoir.engine.publish_stock import StockPlan
from comptoir.engine.pull import reading
from comptoir.errors import (
    ComptoirError,
    ContractViolation,
    MappingError,
    OutcomeUnknown,
    RateLimited,
    RecordRejected,
    TransientError,
)
from comptoir.model.item import Item
from comptoir.model.parties import Customer
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import Change, ChangeResult, Fetches, Updates
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.links import Links
from comptoir.store.publications import (
    Pair,
    Publication,
    Publications,
    Sending,
    Settled,
    Written,
)

__all__ = ["Publisher", "fields_of"]

_BATCH = 500
#: How long a write whose answer was lost may still be carried out by the remote.
_DOUBT = 30.0
_PATIENCE = 20.0
#: A price that moves by more than this share is shown to a person first.
_PRICE_GUARD = Decimal("0.5")
_CALL = 100
#: So many of the stocks that a run wrote are read again.
_SAMPLE = 20

_FIELDS = {EntityName.ITEM: ITEM_FIELDS, EntityName.CUSTOMER: CUSTOMER_FIELDS, EntityName.STOCK: ("stock",)}
#: What a route publishes when it names nothing: a shop's product names are its own texts.
_DEFAULT = {EntityName.ITEM: ("price", "sku", "gtin"), EntityName.CUSTOMER: CUSTOMER_FIELDS}


def fields_of(route: Route, can: Iterable[str]) -> tuple[str, ...]:
    """The fields that a route keeps up to date at a target that can take these."""
    wanted = route.fields or _DEFAULT.get(route.entity, _FIELDS[route.entity])
    return tuple(name for name in wanted if name in set(can))


class Publisher:
    """Publishes one route's entity from one source at one target."""

    def __init__(self, hub: Hub, route: Route, source: str, target: str, report: RunReport) -> None:
        self._hub = hub
        self._route = route
        self._entity = route.entity
        self._source = source
        self._target = target
        self._link: Link = hub.link(target)
        self._report = report
        self._clock = hub.ports.clock
        self._attention = Attention(hub, route.entity, source, target, report)
        capability = hub.capability(target, route.entity)
        self._fields = fields_of(route, capability.publishes)
        self._of_field = {name: capability.publishes[name] for name in self._fields}
        self._keys = frozenset(key for keys in self._of_field.values() for key in keys)
        self._mapping = hub.mapping(self._link.manifest.key, route.entity, "out")
        self._context = hub.context(source, self._link)
        self._both_ways = any(
            other.entity is route.entity and target in other.sources and source in other.targets
            for other in hub.routes.values()
        )
        self._just_written: frozenset[str] = frozenset()
        #: What was known of the values that were just written over.
        self._before: dict[str, Mapping[str, Any]] = {}
        self._state = report.published.setdefault(target, {})

    # -- plan ----------------------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Compares what changed and stores what is due. Sends nothing."""
        with self._alone():
            self._plan()
            with self._hub.database.transaction() as session:
                rows = Publications(session)
                count = rows.count(self._target, self._entity)
                if count.get("due", 0) > self._hub.plan_above and not rows.any_written(self._target, self._entity):
                    rows.hold(self._target, self._entity, "first write")
                    count = rows.count(self._target, self._entity)
            if count.get("held"):
                self._report.held.setdefault(self._target, {})[self._entity.value] = count["held"]

    def _plan(self) -> None:
        """Compares everything that may differ, or what was just written and read back."""
        if self._entity is not EntityName.STOCK:
            self._plan_records()
            return
        plan = StockPlan(
            self._hub, self._route, self._source, self._target, mapping=self._mapping, keys=self._keys,
            attention=self._attention, report=self._report,
        )  # fmt: skip
        if skipped := plan.plan(written=self._just_written, before=self._before):
            self._state["skipped"] = skipped

    def _plan_records(self) -> None:
        after: UUID | None = None
        while True:
            with self._hub.database.transaction() as session:
                rows = Publications(session)
                pairs = rows.pairs(
                    self._entity, self._source, self._target, self._mapping.hash, also=self._just_written,
                    after=after, limit=_BATCH,
                )  # fmt: skip
                documents = Documents(session)
                sources = documents.load(self._entity, [p.source_id for p in pairs])
                targets = documents.load(self._entity, [p.target_id for p in pairs])
                words = None
                if self._both_ways:
                    ids = [p.external_id for p in pairs]
                    words = Words(self._hub, session, self._target, self._entity, ids)
                planned = [
                    self._compare(session, pair, sources[pair.source_id], targets[pair.target_id], words)
                    for pair in pairs
                ]
                rows.put(planned, self._clock.now())
                if words is not None:
                    words.keep(self._clock.now())
            if len(pairs) < _BATCH:
                return
            after = pairs[-1].source_id

    def _compare(
        self, session: Session, pair: Pair, source: Stored, target: Stored, words: Words | None
    ) -> Publication:
        """What to store of one pair: its row, due when something must be written. `words`: where both sides may change
        what is compared."""
        try:
            given, shown = (
                self._rendered(self._merged(source.document, target.document)),
                self._rendered(target.document),
            )
            wanted, known = self._kept(given), self._kept(shown)
        except MappingError as error:
            self._attention.park(session, source.head.record_id, source.document.external_id, error)
            return self._row(pair, source, target, {}, {}, (), "refused", error.message)
        before, echo = None, set()
        if words is not None:
            # The target's own word of some time ago, which has just arrived at the source, is nobody's change.
            echo = words.heard(pair.external_id, given)
            if pair.wanted is None or not self._comparable(pair.wanted):
                # Nor is how the two stood when they were linked: only what changes from now on is carried.
                before = (wanted, known)
                words.tell(pair.external_id, {key: shown[key] for key in shown if wanted.get(key) != known[key]})
            else:
                before = ({**pair.wanted, **{key: wanted[key] for key in echo}}, dict(pair.known or {}))
        if pair.state == "sent":
            known = {key: value for key, value in known.items() if key not in pair.keys}
        decision = decide(wanted, known, before=before)
        still = [key for key in pair.keys if key in wanted and wanted[key] != known.get(key) and key not in echo]
        keys = tuple(dict.fromkeys((*decision.write, *still)))
        state, reason = ("due", None) if keys else ("done", None)
        # What the source says since the write was not written yet: that it is not shown is nobody's refusal.
        if keys and pair.external_id in self._just_written and pair.wanted == wanted:
            state, reason = "refused", "reads back otherwise"
            self._attention.not_kept(session, source.head.record_id, source.document.external_id, keys)
        elif keys and pair.state in ("held", "refused") and pair.wanted == wanted:
            state, reason = pair.state, pair.reason
        elif keys and pair.reason == "approved" and pair.wanted == wanted:
            state, reason = "due", pair.reason  # a person has seen this very change
        elif keys and (doubt := self._doubtful(source.document, target.document)):
            state, reason = "held", doubt
        elif not keys and pair.state == "refused":
            self._attention.shows_it(session, source.head.record_id)
        if decision.conflicts:
            self._attention.conflict(session, source, decision.conflicts)
        return self._row(pair, source, target, wanted, known, keys, state, reason)

    def _row(
        self,
        pair: Pair,
        source: Stored,
        target: Stored,
        wanted: Mapping[str, Any],
        known: Mapping[str, Any],
        keys: Sequence[str],
        state: str,
        reason: str | None,
    ) -> Publication:
        document = source.document
        label = getattr(document, "sku", None) or document.external_id
        return Publication(
            self._target, self._entity, pair.external_id, pair.parent_id, self._source, pair.source_id,
            pair.target_id, self._route.name, label, wanted, known, keys, source.head.rev, target.head.rev,
            self._mapping.hash, state, reason,
        )  # fmt: skip

    def _merged(self, source: Any, target: Any) -> Any:
        if isinstance(target, Item):
            return merge_item(target, source, self._fields, self._route.price_list)
        merged: Customer = merge_customer(target, source, self._fields)
        return merged

    def _rendered(self, document: Any) -> dict[str, Any]:
        """The route's keys of a rendered document."""
        payload = self._mapping.apply(document, self._context)
        return {key: value for key, value in payload.items() if key in self._keys and value is not None}

    @property
    def _private(self) -> bool:
        return self._entity is EntityName.CUSTOMER

    def _digest(self, value: Any) -> str:
        return self._hub.vault.digest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))

    def _comparable(self, wanted: Mapping[str, Any]) -> bool:
        """Whether digests that were kept were made with the key of today."""
        return not self._private or all(self._hub.vault.is_current(str(value)) for value in wanted.values())

    def _doubtful(self, source: Any, target: Any) -> str | None:
        """Why a price is shown to a person before it is written."""
        if not isinstance(target, Item) or "price" not in self._fields or not target.prices:
            return None
        old = target.prices[0].amount
        new = self._merged(source, target).prices[0].amount
        if new == old:
            return None
        if new <= 0 or (old > 0 and abs(new - old) > old * _PRICE_GUARD):
            return f"the price would go from {old.normalize():f} to {new.normalize():f}"
        return None

    # -- send ----------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """Writes what is due. Raises what stops the target; the rest stays due."""
        connector = self._link.open_to_write()
        if not isinstance(connector, Updates):
            raise ContractViolation(f"{self._link.manifest.name} declares publishes but has no update()")
        with self._hub.database.errors():
            count = Publications(self._hub.database.session()).count(self._target, self._entity)
        if not count.keys() & {"due", "sent"}:
            self._state |= {name: number for name, number in count.items() if name != "done"}
            return
        written: list[str] = []
        with self._alone():
            sent = self._sent(connector)
            if self._entity is EntityName.STOCK:
                # Further calls are made while the results of those before are stored.
                for done in self._hub.ports.tasks.one_behind(self._finish, sent):
                    written += done
            else:
                for batch in sent:
                    written += self._finish(batch)
            self._read_back(connector, written)
            with self._hub.database.transaction() as session:
                count = Publications(session).count(self._target, self._entity)
        if written:
            self._state["written"] = len(written)
        self._state |= {name: number for name, number in count.items() if name != "done"}

    def _sent(self, connector: Updates) -> Iterator[_Sent]:
        """Calls, carried out, in portions; ends with the error that stopped the target.

        The next rows are taken while calls are under way, so that the target is never waited for by all of us.
        """
        width = max(1, self._link.manifest.requests_in_flight)
        stopped: list[ComptoirError] = []
        under_way: deque[_Call] = deque()

        def calls() -> Iterator[_Call]:
            while not stopped:
                rows, found = self._take(connector, _CALL * width * 2)
                if not rows:
                    return
                for call in found:
                    under_way.append(_Call(rows, call))
                    yield under_way[-1]

        def carry_out(call: _Call) -> _Answer:
            # What was taken and not yet sent when the target stopped us is not sent: it is due again.
            return stopped[0] if stopped else self._call(connector, call.changes)

        done: list[tuple[_Call, _Answer]] = []
        for answer in self._hub.ports.tasks.map_ordered(carry_out, calls(), width=width):
            if isinstance(answer, ComptoirError) and _stops(answer):
                stopped.append(answer)
            done.append((under_way.popleft(), answer))
            if len(done) >= width * 2:
                yield _Sent(done)
                done = []
        if done:
            yield _Sent(done)
        if stopped:
            raise stopped[0]

    def _take(self, connector: Updates, limit: int) -> tuple[dict[str, Sending], list[tuple[Change, ...]]]:
        """Rows that are due, and the calls that write them."""
        with self._hub.database.errors():
            # On the second connection: results of the calls before are being stored on the first.
            reader = self._hub.database.reader()
            with reader.transaction():
                taken = Publications(reader).take(self._target, self._entity, limit=limit, doubt_seconds=_DOUBT)
                payloads = self._payloads(reader, taken)
        changes = [
            Change(sending.external_id, sending.parent_id, payloads[sending.external_id])
            for sending in taken
            if payloads.get(sending.external_id)
        ]
        calls = [tuple(call) for call in connector.calls(self._entity, changes)]
        return {sending.external_id: sending for sending in taken}, calls

    def _call(self, connector: Updates, call: Sequence[Change]) -> _Answer:
        try:
            return connector.update(self._entity, call)
        except ComptoirError as error:
            return error

    def _payloads(self, session: Session, taken: Sequence[Sending]) -> dict[str, Mapping[str, Any]]:
        """What to send for each row. Personal values are not in the row: they are rendered from the documents."""
        if not self._private:
            return {s.external_id: {key: s.wanted[key] for key in s.keys if key in s.wanted} for s in taken}
        documents = Documents(session)
        sources = documents.load(self._entity, [s.record_id for s in taken])
        targets = documents.load(self._entity, [s.target_id for s in taken])
        payloads: dict[str, Mapping[str, Any]] = {}
        for sending in taken:
            source, target = sources.get(sending.record_id), targets.get(sending.target_id)
            if source is None or target is None:
                continue
            merged = self._merged(source.document, target.document)
            payload = self._mapping.apply(merged, self._context)
            payloads[sending.external_id] = {key: payload[key] for key in sending.keys if key in payload}
        return payloads

    def _finish(self, sent: _Sent) -> list[str]:
        """Stores what became of some calls; the external ids that were written."""
        settled: list[Settled] = []
        log: list[Written] = []
        gone: list[str] = []
        refused: list[tuple[Sending, str, ChangeResult | None]] = []
        back: list[tuple[list[str], ComptoirError]] = []
        unsure = 0
        now = self._clock.now()
        taken = sent.rows
        for call, answer in sent.done:
            by_id = {change.external_id: change for change in call.changes}
            if isinstance(answer, RecordRejected):
                refused += [(taken[key], answer.message, None) for key in by_id]
                continue
            if isinstance(answer, ComptoirError):
                if isinstance(answer, OutcomeUnknown):
                    unsure += len(by_id)
                else:
                    back.append((list(by_id), answer))
                continue
            for result in answer:
                change = by_id.pop(result.external_id, None)
                if change is None:
                    continue
                sending = taken[result.external_id]
                if result.outcome == "gone":
                    gone.append(result.external_id)
                elif result.outcome == "rejected":
                    refused.append((sending, result.reason or "the target gave no reason", result))
                else:
                    other = {k: v for k, v in result.shown.items() if k in change.fields and change.fields[k] != v}
                    shown = self._kept({**change.fields, **other})
                    if other:
                        settled.append(Settled(result.external_id, "refused", shown, "the target keeps another value"))
                        refused.append((sending, "", result))
                        continue
                    settled.append(Settled(result.external_id, "done", shown))
                    self._before[result.external_id] = sending.before
                    before = {key: sending.before.get(key) for key in change.fields}
                    log.append(
                        Written(
                            result.external_id,
                            sending.record_id,
                            None if self._private else before,
                            self._logged(change.fields),
                        )
                    )
            unsure += len(by_id)
        with self._hub.database.transaction() as session:
            rows = Publications(session)
            keyed = {s.external_id: s for s in settled}
            for sending, why, told in refused:
                if sending.external_id in keyed:
                    keys = [key for key in sending.keys if told and key in told.shown]
                    self._attention.not_kept(session, sending.record_id, sending.external_id, keys)
                else:
                    settled.append(Settled(sending.external_id, "refused", {}, why))
                    self._attention.park_refused(session, sending, why, told)
            rows.settle(self._target, self._entity, settled, now)
            if gone:
                Links(session).bury(_read_as(self._entity), self._target, gone)
            rows.log(log, at=now, run_id=self._report.run_id, target=self._target, entity=self._entity)
            for ids, error in back:
                wait = (error.retry_after or 60.0) if isinstance(error, RateLimited) else 0.0
                rows.put_back(self._target, self._entity, ids, wait=wait, reason=error.message)
            done = [s.external_id for s in settled if s.state == "done"]
            self._attention.resolve(session, [taken[key] for key in done])
        counts = self._report.entities[self._entity]
        counts.delivered += len(done)
        counts.rejected += len(refused)
        self._report.in_doubt += unsure
        if gone:
            self._report.notes.append(
                f"{len(gone)} records do not exist on {self._target} any more: their links are broken, "
                "the next run looks for others"
            )
        return done

    def _kept(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Values as a publication keeps them: personal ones as digests."""
        return {key: self._digest(value) for key, value in fields.items()} if self._private else dict(fields)

    def _logged(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(fields, "(personal)") if self._private else dict(fields)

    def _read_back(self, connector: Any, written: Sequence[str]) -> None:
        """Reads what was written again: records whole, of stock a sample (failure mode 45)."""
        entity = _read_as(self._entity)
        can = isinstance(connector, Fetches) and self._hub.capability(self._target, entity).fetch
        if not written or not can:
            return
        sample = written[:_SAMPLE] if self._entity is EntityName.STOCK else written
        with self._hub.database.transaction() as session:
            parents = Publications(session).parents(self._target, self._entity, sample)
        ids = list(dict.fromkeys(parents.get(key) or key for key in sample))
        scratch = RunReport(self._report.run_id, self._route.name, entity)
        lander = Lander(self._hub, self._link, scratch)
        for start in range(0, len(ids), _CALL):
            with reading(self._hub, self._link, entity):
                for page in connector.fetch(entity, ids[start : start + _CALL]):
                    lander.land(page.items)
        self._just_written = frozenset(sample)
        self._plan()
        self._just_written = frozenset()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one publisher works on a target's entity: an older value never overtakes a newer one."""
        lock = f"publish:{self._target}:{self._entity.value}"
        patience, wait = self._clock.monotonic() + _PATIENCE, 0.1
        with self._hub.database.errors():
            while not self._hub.database.session().try_lock(lock):
                if self._clock.monotonic() >= patience:
                    raise TransientError(
                        f"{self._target}: another run is writing {self._entity.value} at this moment",
                        hint="Nothing to do: what is due is written by that run or the next.",
                        connection=self._target,
                        code="busy",
                    )
                self._clock.sleep(wait)
                wait = min(2 * wait, 1.0)
        try:
            yield
        finally:
            with self._hub.database.errors():
                self._hub.database.session().unlock(lock)


_Answer = Sequence[ChangeResult] | ComptoirError


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, and the rows that it was taken with."""

    rows: Mapping[str, Sending]
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class _Sent:
    """Calls with their answers."""

    done: Sequence[tuple[_Call, _Answer]]

    @property
    def rows(self) -> dict[str, Sending]:
        """What was sent."""
        return {c.external_id: call.rows[c.external_id] for call, _ in self.done for c in call.changes}


def _stops(error: ComptoirError) -> bool:
    """Whether an error is about the target as a whole: the next call would meet it too."""
    return not isinstance(error, (OutcomeUnknown, RecordRejected))


def _read_as(entity: EntityName) -> EntityName:
    """What is read to see a published entity: a shop shows stock with its items."""
    return EntityName.ITEM if entity is EntityName.STOCK else entity
