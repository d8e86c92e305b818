"""What every process knows of a connection: whether it is paused, and how many calls it may still make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from comptoir.store.database import Session

__all__ = ["BucketRow", "ConnectionRow", "ConnectionStates", "Leased", "RateBuckets"]

#: The moment is taken before the row is waited for: it can only be too early, which gives less. `for update` sees the
#: row as the last process left it, so that two never share a call.
_LEASE = """
with moment as materialized (select comptoir_now() as at),
held as (
  select connection, name, tokens, filled_at, blocked_until from rate_bucket
    where connection = %(connection)s and name = %(name)s for update
),
there as (
  select connection, name, moment.at, coalesce(blocked_until > moment.at, false) as blocked,
    extract(epoch from blocked_until - moment.at) as blocked_for,
    greatest(filled_at, moment.at) as filled_at,
    least(%(burst)s::numeric,
      tokens + greatest(0, extract(epoch from moment.at - filled_at)) * %(rate)s::numeric) as tokens
    from held, moment
),
given as (
  select *, case when blocked then 0 else least(%(wanted)s::int, floor(tokens))::int end as calls from there
)
update rate_bucket set tokens = given.tokens - given.calls, filled_at = given.filled_at from given
  where rate_bucket.connection = given.connection and rate_bucket.name = given.name
  returning given.calls, given.blocked,
    case when given.blocked then given.blocked_for else (1 - given.tokens) / %(rate)s::numeric end
"""

_BLOCK = """
insert into rate_bucket as known (connection, name, tokens, filled_at, blocked_until)
select %(connection)s, %(name)s, 1, at + make_interval(secs => %(seconds)s), at + make_interval(secs => %(seconds)s)
  from (select comptoir_now() as at) as moment
on conflict (connection, name) do update set tokens = 1,
  blocked_until = greatest(known.blocked_until, excluded.blocked_until),
  filled_at = greatest(known.blocked_until, excluded.blocked_until)
"""

_LOOK = """
with moment as materialized (select comptoir_now() as at)
select connection, tokens::float8, extract(epoch from at - filled_at)::float8,
  case when blocked_until > at then blocked_until end
  from rate_bucket, moment where name = %s
"""


class Leased(NamedTuple):
    """Calls that a bucket gave; when none, the seconds to wait and whether the remote asked for them."""

    calls: int
    blocked: bool
    wait: float


class BucketRow(NamedTuple):
    """A bucket as it was left `age` seconds ago (negative: it is filled from then on)."""

    connection: str
    calls: float
    age: float
    blocked_until: datetime | None


class RateBuckets:
    """Token buckets, shared by every process. A statement each, so that nobody ever waits for anybody's thinking."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lease(self, connection: str, name: str, *, rate: float, burst: int, wanted: int) -> Leased:
        """Up to `wanted` calls from a bucket that gets `rate` of them a second and holds `burst`; a new one is full."""
        asked = {"connection": connection, "name": name, "rate": rate, "burst": burst, "wanted": wanted}
        while (row := self._session.row(_LEASE, asked)) is None:
            self._session.execute(
                "insert into rate_bucket (connection, name, tokens, filled_at) "
                "values (%s, %s, %s, comptoir_now()) on conflict do nothing",
                (connection, name, burst),
            )
        return Leased(row[0], row[1], float(row[2]))

    def block(self, connection: str, name: str, seconds: float) -> None:
        """Nobody gets a call for so long; after it there is one. A longer block stays."""
        self._session.execute(_BLOCK, {"connection": connection, "name": name, "seconds": seconds})

    def look(self, name: str) -> dict[str, BucketRow]:
        """The buckets of this name, by connection."""
        rows = self._session.rows(_LOOK, (name,))
        return {row[0]: BucketRow(*row) for row in rows}


class ConnectionRow(NamedTuple):
    """What is known of a connection; `cause` is "auth" when it refused our credentials, "person" when one paused it."""

    connection: str
    state: str
    cause: str | None
    reason: str | None
    hint: str | None
    by_whom: str
    since: datetime

    @property
    def paused(self) -> bool:
        """Nothing is sent to it."""
        return self.state == "paused"


_COLUMNS = "connection, state, cause, reason, hint, by_whom, since"


class ConnectionStates:
    """Which connections are paused, by whom and why. A connection that was never paused has no row."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def opened(self, connection: str, bucket: str) -> tuple[ConnectionRow | None, float]:
        """The pause of a connection if it is paused, and how many seconds the remote has asked to be left alone."""
        for row in self._session.rows(
            f"select {', '.join('s.' + c for c in _COLUMNS.split(', '))}, "
            "extract(epoch from b.blocked_until - comptoir_now())::float8 from (select %s::text as name) as asked "
            "left join connection_state s on s.connection = asked.name and s.state = 'paused' "
            "left join rate_bucket b on b.connection = asked.name and b.name = %s",
            (connection, bucket),
        ):
            return (ConnectionRow(*row[:7]) if row[0] is not None else None), max(0.0, row[7] or 0.0)
        return None, 0.0

    def all(self) -> dict[str, ConnectionRow]:
        """Everything that is known, by connection."""
        return {row[0]: ConnectionRow(*row) for row in self._session.rows(f"select {_COLUMNS} from connection_state")}

    def pause(self, connection: str, *, cause: str, reason: str, hint: str | None, by_whom: str, at: datetime) -> bool:
        """Pauses; False when it was paused already and stays as it was. A person's word replaces the hub's."""
        return bool(
            self._session.execute(
                f"insert into connection_state as known ({_COLUMNS}) values (%s, 'paused', %s, %s, %s, %s, %s) "
                "on conflict (connection) do update set state = excluded.state, cause = excluded.cause, "
                "reason = excluded.reason, hint = excluded.hint, by_whom = excluded.by_whom, since = excluded.since "
                "where known.state <> 'paused' "
                "or (excluded.cause = 'person' and known.cause is distinct from 'person')",
                (connection, cause, reason, hint, by_whom, at),
            )
        )

    def resume(self, connection: str, *, by_whom: str, at: datetime, causes: Sequence[str] | None = None) -> bool:
        """Ends a pause; False when there is none, or none of these causes."""
        return bool(
            self._session.execute(
                "update connection_state set state = 'active', by_whom = %s, since = %s "
                "where connection = %s and state = 'paused' and (%s::text[] is null or cause = any(%s))",
                (by_whom, at, connection, causes and list(causes), causes and list(causes)),
            )
        )

    def waiting(self) -> dict[str, int]:
        """How much waits for each connection: hints to read, records to deliver, values to publish."""
        rows = self._session.rows(
            "select connection, sum(number)::bigint from ("
            "select connection, count(*) as number from inbox where done_at is null group by connection "
            "union all select target, count(*) from delivery "
            "where state in ('pending', 'sent', 'in_doubt') group by target "
            "union all select target, count(*) from publication where state in ('due', 'sent') group by target"
            ") as work group by connection"
        )
        return {row[0]: row[1] for row in rows}
