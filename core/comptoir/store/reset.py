"""Databases that only a simulation or a test uses: emptied between two seeds, their connections used again.

A new connection costs a process, its caches and the plans of its statements, fifty milliseconds; a simulated seed opens
a hundred and seventy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from comptoir.store.database import Copying, Database, Row
from comptoir.store.schema import plain_url

__all__ = ["Connections", "SharedDatabase", "make_scratch"]

#: More statements than the engine has: each is parsed and planned once for a connection.
_PREPARED = 2000
#: What DELETE leaves behind is read over by every later statement: after so many times tables are made anew.
_DELETED = 10
_SETTINGS = (
    # Nothing here survives the machine.
    "fsync = off", "full_page_writes = off", "synchronous_commit = off",
    # Tables are small, whatever the planner thinks of those that nobody has analysed.
    "jit = off",
    # It would come and go as the machine has time, and rows without an order would come in another one.
    "autovacuum = off",
)  # fmt: skip


class Connections:
    """Connections to one throw-away database that outlive the simulated processes which use them."""

    def __init__(self, url: str, *, lock_timeout: str) -> None:
        self.url = url
        self._lock_timeout = lock_timeout
        self._free: list[psycopg.Connection[Row]] = []
        #: How rows are copied into which table: the same for all.
        self.copying = Copying()
        #: What time each connection was told it is, by the connection's own number.
        self.told: dict[int, object] = {}
        #: How many locks each connection's session holds, by the connection's own number.
        self.locks: Counter[int] = Counter()
        self._emptied = 0

    def take(self) -> psycopg.Connection[Row]:
        """A connection without transaction, lock or memory of who had it before."""
        if self._free:
            return self._free.pop()
        connection = psycopg.connect(
            plain_url(self.url), autocommit=True, application_name="comptoir", prepare_threshold=0
        )
        connection.prepared_max = _PREPARED
        connection.execute(f"set lock_timeout = '{self._lock_timeout}'".encode())
        # Tables hold a few rows: one plan for all parameters, made once.
        connection.execute(b"set plan_cache_mode = force_generic_plan")
        return connection

    def give_back(self, connection: psycopg.Connection[Row]) -> None:
        """What its process held is let go before this returns, as if the server had seen the process end."""
        key = id(connection)
        if connection.closed:
            self._forget(key)
            return
        status = connection.info.transaction_status
        if status not in (TransactionStatus.IDLE, TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN):
            connection.rollback()
            status = connection.info.transaction_status
        if status is TransactionStatus.IDLE:
            # A server that finds a closed connection needs a moment: the story must not depend on it.
            if self.locks.pop(key, 0):
                connection.execute(b"select pg_advisory_unlock_all()")
            self._free.append(connection)
            return
        self._forget(key)
        connection.close()

    def _forget(self, key: int) -> None:
        self.told.pop(key, None)
        self.locks.pop(key, None)

    @contextmanager
    def one(self) -> Iterator[psycopg.Connection[Row]]:
        """A connection for a block."""
        connection = self.take()
        try:
            yield connection
        finally:
            self.give_back(connection)

    def empty(self) -> None:
        """Removes every row of every table of Comptoir's but the schema's revision."""
        with self.one() as connection:
            if self._emptied % _DELETED == 0:
                _truncate(connection)
            else:
                _delete(connection)
            self._emptied += 1

    def rewind_cursors(self, hours: float | None) -> None:
        """Every read begins so much earlier than it would; at the beginning, when no hours are given."""
        with self.one() as connection:
            if hours is None:
                connection.execute(b"delete from cursor_position where scope = ''")
                return
            connection.execute(
                b"update cursor_position set watermark = watermark - make_interval(secs => %s) where scope = ''",
                (hours * 3600,),
            )

    def close(self) -> None:
        """Closes what is not in use."""
        while self._free:
            self._free.pop().close()
        self.told.clear()
        self.locks.clear()


class SharedDatabase(Database):
    """A process's store on connections that others use after it."""

    def __init__(self, url: str, connections: Connections) -> None:
        super().__init__(url)
        self._connections = connections
        self._copying = connections.copying

    def _connect(self) -> psycopg.Connection[Row]:
        return self._connections.take()

    def leave(self) -> None:
        """Gives the connections back: open transactions are rolled back, locks are free."""
        for connection in (self._connection, self._reading):
            if connection is not None:
                self._connections.give_back(connection)
        self._connection = self._reading = None


def make_scratch(url: str) -> None:
    """Makes the server fast and forgetful. For a server that holds throw-away databases only."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        for setting in _SETTINGS:
            connection.execute(f"alter system set {setting}".encode())
        connection.execute(b"select pg_reload_conf()")


def _tables(connection: psycopg.Connection[Row]) -> list[str]:
    rows = connection.execute(
        b"select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') "
        b"and not relispartition and relname <> 'alembic_version' order by relname"
    ).fetchall()
    return [row[0] for row in rows]


def _delete(connection: psycopg.Connection[Row]) -> None:
    """Small tables: DELETE takes a tenth of what TRUNCATE takes, all of them in one round trip."""
    names = _tables(connection)
    later = [name for name in names if name == "journal_entry"]
    statements = [f'delete from "{name}"' for name in [*(n for n in names if n not in later), *later]]
    connection.execute("; ".join(statements).encode(), prepare=False)


def _truncate(connection: psycopg.Connection[Row]) -> None:
    names = ", ".join(f'"{name}"' for name in _tables(connection))
    connection.execute(f"truncate {names}".encode(), prepare=False)
