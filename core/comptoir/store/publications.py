"""Publications: absolute values that a target should show, and those it is known to show.

A row is due while the two differ. Before values are sent, what is known of them is forgotten in a committed
transaction; so a publisher that dies, or whose answer is lost, leaves a row that is sent again with the newest values.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from comptoir.model.refs import EntityName
from comptoir.store.database import Row, Session

__all__ = ["DemandRule", "Offer", "Pair", "Publication", "Publications", "Sending", "Settled", "Shown", "Written"]

_PORTION = 2000
_HEAD = {EntityName.ITEM: "item", EntityName.CUSTOMER: "customer"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two linked records that must be compared (again), with what was decided the last time."""

    source_id: UUID
    target_id: UUID
    source_rev: int
    target_rev: int
    external_id: str
    parent_id: str | None
    state: str | None
    wanted: Mapping[str, Any] | None
    known: Mapping[str, Any] | None
    keys: Sequence[str]
    known_rev: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a target's record was last wanted to show and is known to show, and by which source."""

    source: str
    target_rev: int
    wanted: Mapping[str, Any]
    known: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """What is counted and promised of one linked item, and what is published of it."""

    external_id: str
    parent_id: str | None
    record_id: UUID
    target_id: UUID
    label: str
    on_hand: Decimal | None
    reserved: Decimal | None
    demand: Decimal
    shown: Decimal | None
    target_rev: int
    state: str | None
    wanted: Mapping[str, Any] | None
    known: Mapping[str, Any] | None
    known_rev: int | None


@dataclass(frozen=True, slots=True)
class DemandRule:
    """Which orders keep goods. `handed_over`: channels whose orders the stock's owner is given.

    Such an order counts until the owner has accepted it before it counted; where no word comes, `silent_hours` after
    it was handed over. Orders of other channels count until they are shipped.
    """

    offline: Sequence[str]
    handed_over: Sequence[str]
    silent_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Publication:
    """A row to store."""

    target: str
    entity: EntityName
    external_id: str
    parent_id: str | None
    source: str
    record_id: UUID
    target_id: UUID
    route: str
    label: str
    wanted: Mapping[str, Any]
    known: Mapping[str, Any]
    keys: Sequence[str]
    source_rev: int | None
    target_rev: int
    mapping_hash: str | None
    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """A row that this publisher has taken: `before` is what was known of the keys."""

    external_id: str
    parent_id: str | None
    source: str
    record_id: UUID
    target_id: UUID
    label: str
    keys: Sequence[str]
    wanted: Mapping[str, Any]
    before: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a row that was sent: `known` is what the target shows now for the keys."""

    external_id: str
    state: str
    known: Mapping[str, Any]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A confirmed write: the values before (None when they are personal) and after."""

    external_id: str
    record_id: UUID
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]


class Publications:
    """Publications of all targets."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # -- planning ------------------------------------------------------------------------------------------------

    def pairs(
        self,
        entity: EntityName,
        source: str,
        target: str,
        mapping_hash: str,
        *,
        also: Collection[str] = (),
        after: UUID | None,
        limit: int,
    ) -> list[Pair]:
        """Linked records of which either side, or the mapping, changed since they were compared; in order.

        `also`: external ids at the target that are compared in any case.
        """
        head = _HEAD[entity]
        parent = "t.product_id" if entity is EntityName.ITEM else "null::text"
        rows = self._session.rows(
            "with pair as (select source_id, target_id from record_link where entity = %(entity)s "
            "and source = %(source)s and target = %(target)s and state = 'linked' union "
            "select target_id, source_id from record_link where entity = %(entity)s "
            "and source = %(target)s and target = %(source)s and state = 'linked') "
            f"select s.id, t.id, s.rev, t.rev, t.external_id, {parent}, p.state, p.wanted, p.known, p.keys, "
            f"p.target_rev, p.reason from pair join {head} s on s.id = pair.source_id "
            f"join {head} t on t.id = pair.target_id "
            "left join publication p on p.target = %(target)s and p.entity = %(entity)s "
            "and p.external_id = t.external_id "
            "where (%(after)s::uuid is null or s.id > %(after)s) and (p.target is null or p.source_rev <> s.rev "
            "or p.target_rev <> t.rev or p.mapping_hash is distinct from %(hash)s or p.record_id <> s.id "
            "or t.external_id = any(%(also)s)) "
            "order by s.id limit %(limit)s",
            {
                "entity": entity.value, "source": source, "target": target, "hash": mapping_hash, "also": list(also),
                "after": after, "limit": limit,
            },
        )  # fmt: skip
        return [Pair(*(*row[:9], tuple(row[9] or ()), *row[10:])) for row in rows]

    def offers(
        self,
        source: str,
        target: str,
        locations: Sequence[str],
        rule: DemandRule,
        *,
        only: Collection[str] = (),
    ) -> Iterator[Offer]:
        """Every linked item with what is counted and promised of it; streamed, needs a transaction.

        `only`: these external ids at the target and no others.
        """
        rows = self._session.stream(
            _OFFERS,
            {
                "source": source, "target": target, "locations": list(locations), "any_place": not locations,
                "offline": list(rule.offline), "handed_over": list(rule.handed_over), "silent": rule.silent_hours,
                "everything": not only, "only": list(only),
            },
        )  # fmt: skip
        # What is published is looked up portion by portion. As a part of the query it was planned while that table was
        # empty, and then scanned once a row while this very comparison filled it.
        while portion := list(itertools.islice(rows, _PORTION)):
            published = self._published(target, [row[0] for row in portion])
            for row in portion:
                yield Offer(*row, *published.get(row[0], (None, None, None, None)))

    def _published(self, target: str, ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """State, wanted and known values, and the target's revision, of the stocks that were compared before."""
        rows = self._session.rows(
            "select external_id, state, wanted::text, known::text, target_rev from publication "
            "where target = %s and entity = 'stock' and external_id = any(%s)",
            (target, list(ids)),
        )
        return {row[0]: (row[1], _parsed(row[2]), _parsed(row[3]), row[4]) for row in rows}

    def put(self, rows: Sequence[Publication], at: datetime) -> None:
        """Stores rows, replacing what was decided before; one whose outcome is unknown keeps waiting for its time."""
        for same, group in _alike(rows).items():
            self._session.execute(
                _PUT,
                {
                    **same._asdict(), "at": at,
                    "rows": _json(
                        [
                            (
                                r.external_id, r.parent_id, r.record_id, r.target_id, r.label, r.wanted, r.known,
                                r.keys, r.source_rev, r.target_rev, r.state, r.reason,
                            )
                            for r in group
                        ]
                    ),
                },
            )  # fmt: skip

    # -- sending -------------------------------------------------------------------------------------------------

    def take(self, target: str, entity: EntityName, *, limit: int, doubt_seconds: float) -> list[Sending]:
        """Due rows, oldest first, with their values forgotten: the caller sends them.

        If nothing is settled within `doubt_seconds` they are due again.
        """
        rows = self._session.rows(
            "with picked as (select target, entity, external_id, known from publication where target = %(target)s "
            "and entity = %(entity)s and state in ('due', 'sent') and due_at <= comptoir_now() "
            "order by due_at, external_id limit %(limit)s for update skip locked) "
            "update publication p set state = 'sent', sent_at = comptoir_now(), attempt = attempt + 1, "
            "due_at = comptoir_now() + make_interval(secs => %(doubt)s), known = p.known - p.keys "
            "from picked where p.target = picked.target and p.entity = picked.entity "
            "and p.external_id = picked.external_id "
            "returning p.external_id, p.parent_id, p.source, p.record_id, p.target_id, p.label, p.keys, "
            "p.wanted::text, picked.known::text",
            {"target": target, "entity": entity.value, "limit": limit, "doubt": doubt_seconds},
        )
        return [
            Sending(row[0], row[1], row[2], row[3], row[4], row[5], tuple(row[6]), _parsed(row[7]), _parsed(row[8]))
            for row in rows
        ]

    def settle(self, target: str, entity: EntityName, rows: Sequence[Settled], at: datetime) -> None:
        """Ends what was sent: done (nothing is left to send) or refused (a person must look)."""
        if not rows:
            return
        self._session.execute(
            "update publication p set state = given.state, known = p.known || given.known, "
            "keys = case when given.state = 'done' then '{}' else p.keys end, known_at = %s, reason = given.reason "
            "from (select e ->> 0 as external_id, e ->> 1 as state, e -> 2 as known, e ->> 3 as reason "
            "from jsonb_array_elements(%s::jsonb) e) given "
            "where p.target = %s and p.entity = %s and p.external_id = given.external_id and p.state = 'sent'",
            (at, _json([(r.external_id, r.state, r.known, r.reason) for r in rows]), target, entity.value),
        )

    def put_back(self, target: str, entity: EntityName, ids: Sequence[str], *, wait: float, reason: str) -> None:
        """What was surely not carried out is due again after the wait."""
        self._session.execute(
            "update publication set state = 'due', due_at = comptoir_now() + make_interval(secs => %s), reason = %s "
            "where target = %s and entity = %s and external_id = any(%s) and state = 'sent'",
            (wait, reason, target, entity.value, list(ids)),
        )

    def read_as_before(self, target: str, entity: EntityName, ids: Sequence[str], since: datetime) -> None:
        """Records that were written to, and that a reading which began later (`since`) shows as they were before that:
        somebody has changed them back, and what they are known to show is looked up again.
        """
        shown_by = [entity.value, EntityName.STOCK.value] if entity is EntityName.ITEM else [entity.value]
        self._session.execute(
            f"update publication p set target_rev = -1 from {_HEAD[entity]} t where p.target = %(target)s "
            "and p.entity = any(%(shown_by)s) and p.external_id = any(%(ids)s) and p.state = 'done' "
            "and t.id = p.target_id and t.rev = p.target_rev and p.known_at > t.updated_at and p.known_at < %(since)s",
            {"target": target, "shown_by": shown_by, "ids": list(ids), "since": since},
        )

    def shown(self, target: str, entity: EntityName, ids: Sequence[str]) -> dict[str, Shown]:
        """What was last compared of those of these records that anything is published to."""
        rows = self._session.rows(
            "select external_id, source, target_rev, wanted::text, known::text from publication "
            "where target = %s and entity = %s and external_id = any(%s)",
            (target, entity.value, list(ids)),
        )
        return {row[0]: Shown(row[1], row[2], _parsed(row[3]), _parsed(row[4])) for row in rows}

    def parents(self, target: str, entity: EntityName, ids: Sequence[str]) -> dict[str, str | None]:
        """The record that each of these hangs under."""
        rows = self._session.rows(
            "select external_id, parent_id from publication where target = %s and entity = %s "
            "and external_id = any(%s)",
            (target, entity.value, list(ids)),
        )
        return {row[0]: row[1] for row in rows}

    def log(self, rows: Sequence[Written], *, at: datetime, run_id: UUID, target: str, entity: EntityName) -> None:
        """Keeps confirmed writes, with the values before them."""
        if not rows:
            return
        self._session.execute(
            "insert into write_log (at, run_id, target, entity, external_id, record_id, before, after) "
            "select %s, %s, %s, %s, e ->> 0, (e ->> 1)::uuid, nullif(e -> 2, 'null'), e -> 3 "
            "from jsonb_array_elements(%s::jsonb) e",
            (at, run_id, target, entity.value, _json([(r.external_id, r.record_id, r.before, r.after) for r in rows])),
        )

    # -- plans ---------------------------------------------------------------------------------------------------

    def any_written(self, target: str, entity: EntityName) -> bool:
        """Whether anything of this kind was ever written to a target this way."""
        row = self._session.row(
            "select exists (select 1 from write_log where target = %s and entity = %s)", (target, entity.value)
        )
        return bool(row and row[0])

    def count(self, target: str, entity: EntityName) -> dict[str, int]:
        """How many rows are in each state."""
        rows = self._session.rows(
            "select state, count(*) from publication where target = %s and entity = %s group by state",
            (target, entity.value),
        )
        return {row[0]: int(row[1]) for row in rows}

    def hold(self, target: str, entity: EntityName, reason: str) -> int:
        """Turns what is due into a plan that waits for approval."""
        return self._session.execute(
            "update publication set state = 'held', reason = %s where target = %s and entity = %s and state = 'due' "
            "and reason is distinct from 'approved'",
            (reason, target, entity.value),
        )

    def approve(self, target: str, entity: EntityName, at: datetime) -> int:
        """Releases everything of an entity that is held for a target: a person has seen the plan."""
        return self._session.execute(
            "update publication set state = 'due', reason = 'approved', due_at = %s "
            "where target = %s and entity = %s and state = 'held'",
            (at, target, entity.value),
        )

    def again(self, target: str, entity: EntityName, record_id: UUID, at: datetime) -> int:
        """A refused row is sent again."""
        return self._session.execute(
            "update publication set state = 'due', reason = 'retry', due_at = %s "
            "where target = %s and entity = %s and record_id = %s and state = 'refused'",
            (at, target, entity.value, record_id),
        )

    def waiting(self, target: str, states: Sequence[str], limit: int = 200) -> list[Row]:
        """The plan as a person sees it: entity, label, external id, state, known, wanted, keys, reason, due."""
        return self._session.rows(
            "select entity, label, external_id, state, known, wanted, keys, reason, due_at from publication "
            "where target = %s and state = any(%s) order by entity, label, external_id limit %s",
            (target, list(states), limit),
        )


def _json(value: Any) -> str:
    """Rows as one parameter: a tenth of what it costs to hand them over value by value."""
    return orjson.dumps(value).decode()


@functools.lru_cache(maxsize=4096)
def _parsed(text: str | None) -> Any:
    """Kept, because the same few quantities stand in a hundred thousand rows. Nobody changes what he is given."""
    return None if text is None else orjson.loads(text)


class _Same(NamedTuple):
    """What all rows of a comparison have in common."""

    target: str
    entity: str
    source: str
    route: str
    mapping_hash: str | None


def _alike(rows: Sequence[Publication]) -> dict[_Same, list[Publication]]:
    found: dict[_Same, list[Publication]] = {}
    for r in rows:
        found.setdefault(_Same(r.target, r.entity.value, r.source, r.route, r.mapping_hash), []).append(r)
    return found


_PUT = """
insert into publication (target, entity, source, route, mapping_hash, due_at, wanted_at, external_id, parent_id,
  record_id, target_id, label, wanted, known, keys, source_rev, target_rev, state, reason)
select %(target)s, %(entity)s, %(source)s, %(route)s, %(mapping_hash)s, comptoir_now(), %(at)s, e ->> 0, e ->> 1,
  (e ->> 2)::uuid, (e ->> 3)::uuid, e ->> 4, e -> 5, e -> 6, array(select jsonb_array_elements_text(e -> 7)),
  (e ->> 8)::int, (e ->> 9)::int, e ->> 10, e ->> 11
from jsonb_array_elements(%(rows)s::jsonb) e
on conflict (target, entity, external_id) do update set parent_id = excluded.parent_id,
  source = excluded.source, record_id = excluded.record_id, target_id = excluded.target_id,
  route = excluded.route, label = excluded.label, wanted = excluded.wanted, known = excluded.known,
  keys = excluded.keys, source_rev = excluded.source_rev, target_rev = excluded.target_rev,
  mapping_hash = excluded.mapping_hash,
  state = case when publication.state = 'sent' and publication.due_at > comptoir_now() then 'sent'
    else excluded.state end,
  due_at = case when publication.state = 'sent' then publication.due_at else excluded.due_at end,
  wanted_at = excluded.wanted_at, reason = excluded.reason, attempt = 0
"""
# Demand: lines of orders that keep goods and that the stock's owner had not been told of when it counted, less what
# was given back. A line belongs to the item that its shop's item is linked to, else to the one with its SKU.
# Nothing here depends on what the planner knows of the tables: on the day of a first import it knows nothing. Levels
# are looked up one by one: joined as a whole they were scanned once a link. Links and demand are brought together by
# grouping: joined, the demand of a hundred thousand open orders was looked through once a link.
_OFFERS = """
with counted as materialized (
  select watermark as at from cursor_position where connection = %(source)s and entity = 'stock' and scope = ''
), promised as materialized (
  select id, connection, external_id, fulfilment_state from sales_order
  where not before_cutover and connection <> %(source)s and fulfilment_state <> 'cancelled'
    and payment_state not in ('failed', 'refunded')
    and (payment_state <> 'unpaid' or payment_method = any(%(offline)s))
), keeping as materialized (
  select o.id, o.connection, o.external_id from promised o where o.connection = any(%(handed_over)s) and o.id in (
    select id from promised
    except
    select d.record_id from delivery d where d.target = %(source)s and d.entity = 'order' and d.state = 'confirmed'
      and (d.acknowledged_at <= (select at from counted) and d.outcome = 'accepted'
        or d.acknowledged_at is null and d.outcome <> 'rejected'
          and d.settled_at + make_interval(secs => %(silent)s * 3600) <= (select at from counted)))
  union all
  select id, connection, external_id from promised
  where connection <> all(%(handed_over)s) and fulfilment_state <> 'shipped'
), line as (
  select k.connection, l.item_id, l.sku, sum(l.quantity - coalesce(r.quantity, 0)) as quantity
  from keeping k join order_line l on l.document_id = k.id
  left join lateral (
    select sum(abs(rl.quantity)) as quantity from refund f join refund_line rl on rl.document_id = f.id
    where f.connection = k.connection and f.order_external_id = k.external_id and rl.order_line_id = l.external_id
  ) r on true
  group by 1, 2, 3
), owned as (
  select line.sku, line.quantity, (
    select x.source_id from item i join record_link x on x.target_id = i.id and x.state = 'linked'
      and x.entity = 'item' and x.source = %(source)s
    where i.connection = line.connection and i.external_id = line.item_id limit 1
  ) as record_id from line
), demand as materialized (
  select record_id, sum(quantity) as quantity from (
    select record_id, quantity from owned where record_id is not null
    union all
    select i.id, o.quantity from owned o join item i on i.connection = %(source)s and i.sku = o.sku
    where o.record_id is null
  ) both_ways group by 1
), wanted as materialized (
  select record_id, unnest(targets) as target_id, quantity from (
    select record_id, array_agg(target_id) filter (where target_id is not null) as targets, sum(quantity) as quantity
    from (
      select k.source_id as record_id, k.target_id, 0 as quantity from record_link k
      where k.entity = 'item' and k.state = 'linked' and k.source = %(source)s and k.target = %(target)s
        and (%(everything)s or k.target_id in (
          select id from item where connection = %(target)s and external_id = any(%(only)s)))
      union all
      select record_id, null, quantity from demand
    ) linked_and_asked_for
    group by record_id
  ) by_record
)
select t.external_id, t.product_id, s.id, t.id, coalesce(s.sku, s.external_id), level.on_hand, level.reserved,
  greatest(wanted.quantity, 0), t.source_stock, t.rev
from wanted
join item s on s.id = wanted.record_id
join item t on t.id = wanted.target_id
cross join lateral (
  select sum(on_hand) as on_hand, sum(reserved) as reserved from stock_level
  where connection = %(source)s and item_id = s.external_id and (%(any_place)s or location = any(%(locations)s))
) level
"""
