"""What waits in the store, by topic: one cheap look says which routes have something to do.

A topic is a text: `inbox:<connection>:<entity>` for webhooks that nobody has handled, `due:<target>:<entity>` for
deliveries and publications whose time has come, `dirty:<kind>` for what must be computed again (`journal`, and
`stock:<target>`). The look is level-triggered: it tells what waits now, not what happened, so that whoever missed
something is told again.

What nobody can work on does not count: records of a paused connection, plans that wait for approval, deliveries that
another worker holds, refunds whose order the target does not know yet.

Airflow reads the names of topics whenever it reads the DAG file: nothing here loads the driver before it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from comptoir.model.refs import EntityName

if TYPE_CHECKING:
    import psycopg

    from comptoir.store.database import Database, Session

__all__ = ["TRAVELS_WITH", "Mark", "Snapshot", "WaitingWork", "Watch", "at_work", "topics_of"]

#: Documents that travel with another entity's route (the engine's BROUGHT_ALONG; a test compares the two).
TRAVELS_WITH: Mapping[EntityName, tuple[EntityName, ...]] = {EntityName.ORDER: (EntityName.REFUND,)}

#: What is compared with what a target shows -> the entity that is read there.
_SHOWN: Mapping[EntityName, EntityName] = {
    EntityName.ITEM: EntityName.ITEM,
    EntityName.STOCK: EntityName.ITEM,
    EntityName.CUSTOMER: EntityName.CUSTOMER,
}

_HUB = "hub"

#: A look that takes longer than this has met a sick database, not much work.
_STATEMENT_MILLISECONDS = 10_000
_CONNECT_SECONDS = 10


def topics_of(
    entity: EntityName,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    webhooks: bool,
    channels: Sequence[str] = (),
) -> list[str]:
    """The topics whose work a run of this route does.

    `webhooks`: the route wants to be woken by them. `channels` are the connections whose orders feed what the hub
    derives itself (sources = "hub").
    """
    derived = tuple(sources) == (_HUB,)
    topics: list[str] = []
    if webhooks:
        read = EntityName.ORDER if derived else entity
        topics += [f"inbox:{source}:{read.value}" for source in (channels if derived else sources)]
        if entity in _SHOWN:
            topics += [f"inbox:{target}:{_SHOWN[entity].value}" for target in targets]
    if entity is EntityName.JOURNAL_ENTRY:
        topics.append("dirty:journal")
    for target in targets:
        if entity is EntityName.STOCK:
            topics.append(f"dirty:stock:{target}")
        topics += [f"due:{target}:{each.value}" for each in (entity, *TRAVELS_WITH.get(entity, ()))]
    return topics


@dataclass(frozen=True, slots=True)
class Mark:
    """How much waits under a topic. `newest` grows when something comes, whatever its unit."""

    newest: int
    count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What waits at one moment, and which routes are being worked on."""

    topics: Mapping[str, Mark]
    locks: frozenset[tuple[int, int]] = frozenset()

    def of(self, topics: Sequence[str]) -> dict[str, Mark]:
        """Those of these topics that have work."""
        return {topic: self.topics[topic] for topic in topics if topic in self.topics}

    def is_at_work(self, route: str) -> bool:
        """A run of this route is under way (one that said so by `at_work`)."""
        return lock_of(route) in self.locks


def lock_of(route: str) -> tuple[int, int]:
    """The lock that shows a route at work, as `pg_locks` shows it."""
    from comptoir.store.database import lock_key

    first, second = lock_key(_lock_name(route))
    return first & 0xFFFFFFFF, second & 0xFFFFFFFF


def _lock_name(route: str) -> str:
    return f"route:{route}"


@contextmanager
def at_work(database: Database, route: str) -> Iterator[bool]:
    """Shows that this route is being worked on, until the block or this process ends; False: another one is at it.

    It keeps nobody out: it only tells the watcher that nobody has to be woken. Raises DatabaseUnavailable.
    """
    with database.errors():
        mine = database.session().try_lock(_lock_name(route))
    try:
        yield mine
    finally:
        if mine:
            # On a session that was opened anew meanwhile there is nothing to give back, which is no error.
            with database.errors():
                database.session().unlock(_lock_name(route))


@cache
def _statement() -> str:
    from comptoir.store.outbox import _ORDER_FIRST

    # The moment is taken once: as a filter, comptoir_now() would be called for every row.
    return f"""
with clock as materialized (select comptoir_now() as at),
paused as (select connection from connection_state where state = 'paused'),
due as (
  select target, entity, max(due_at) as newest, count(*) as number from delivery, clock
    where state in ('pending', 'in_doubt') and due_at <= clock.at and (lease_until is null or lease_until < clock.at)
      and (entity <> 'refund' or state = 'in_doubt' or (true{_ORDER_FIRST}))
    group by target, entity
  union all
  select target, entity, max(lease_until), count(*) from delivery, clock
    where state = 'sent' and lease_until < clock.at group by target, entity
  union all
  select target, entity, max(due_at), count(*) from publication, clock
    where state in ('due', 'sent') and due_at <= clock.at group by target, entity
)
select 'inbox:' || connection || ':' || entity, max(id), count(*) from inbox
  where done_at is null and connection not in (select connection from paused) group by connection, entity
union all
select 'due:' || target || ':' || entity, (extract(epoch from max(newest)) * 1000000)::bigint, sum(number) from due
  where target not in (select connection from paused) group by target, entity
union all
select 'dirty:' || kind, (extract(epoch from max(marked_at)) * 1000000)::bigint, count(*) from dirty
  where kind not in (select 'stock:' || connection from paused) group by kind
"""


#: Two-part advisory locks of this database.
_LOCKS = """
select classid::bigint, objid::bigint from pg_locks where locktype = 'advisory' and objsubid = 2 and granted
  and database = (select oid from pg_database where datname = current_database())
"""


class WaitingWork:
    """Looks through a session that is open already."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def look(self) -> dict[str, Mark]:
        """Every topic that has work."""
        return {row[0]: Mark(int(row[1]), int(row[2])) for row in self._session.rows(_statement())}


class Watch:
    """Looks again and again through one connection of its own, without blocking anybody; for asyncio."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Opens the connection.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        import psycopg

        from comptoir.store.schema import plain_url, unavailable

        try:
            connection = await psycopg.AsyncConnection.connect(
                plain_url(url),
                autocommit=True,
                application_name="comptoir watch",
                connect_timeout=_CONNECT_SECONDS,
            )
            await connection.execute(f"set statement_timeout = {_STATEMENT_MILLISECONDS}".encode())
        except psycopg.Error as error:
            raise unavailable(error) from error
        return cls(connection)

    async def look(self) -> Snapshot:
        """What waits now.

        Raises:
            DatabaseUnavailable: the database went away, takes too long, or was never migrated.
        """
        import psycopg

        from comptoir.errors import DatabaseUnavailable
        from comptoir.store.schema import unavailable

        try:
            waiting = await (await self._connection.execute(_statement().encode())).fetchall()
            locks = await (await self._connection.execute(_LOCKS.encode())).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction) as error:
            raise DatabaseUnavailable(
                f"Comptoir's database is not migrated: {error.diag.message_primary}",
                hint="The first run of any route migrates it, and so does: comptoir db upgrade",
                code="schema",
            ) from error
        except psycopg.Error as error:
            raise unavailable(error) from error
        topics = {row[0]: Mark(int(row[1]), int(row[2])) for row in waiting}
        return Snapshot(topics, frozenset((row[0], row[1]) for row in locks))

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()
