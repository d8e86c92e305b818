"""Databases that only a simulation or a test uses: emptied between two seeds, their connections used again.

A new connection costs a process and its caches, ten milliseconds; a simulated seed opens a hundred and seventy.
"""

from __future__ import annotations

import psycopg
from psycopg.pq import TransactionStatus

from comptoir.store.database import Copying, Database, Row
from comptoir.store.schema import plain_url

__all__ = ["Connections", "SharedDatabase", "empty", "make_scratch", "rewind_cursors"]

#: More statements than the engine has: each is parsed and planned once for a connection.
_PREPARED = 2000
_SETTINGS = (
    # Nothing here survives the machine.
    "fsync = off", "full_page_writes = off", "synchronous_commit = off",
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
        self.copying: Copying = {}
        #: What time each connection was told it is, by the connection's own number.
        self.told: dict[int, object] = {}

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

    def give_back(self, connection: psycopg.Connection[Row], *, keep: bool) -> None:
        """What its process held is let go before this returns; not kept, the connection is closed then."""
        if connection.closed:
            self.told.pop(id(connection), None)
            return
        status = connection.info.transaction_status
        if status not in (TransactionStatus.IDLE, TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN):
            connection.rollback()
            status = connection.info.transaction_status
        if status is TransactionStatus.IDLE:
            # A server that finds a closed connection needs a moment: the story must not depend on it.
            connection.execute(b"select pg_advisory_unlock_all()")
            if keep:
                self._free.append(connection)
                return
        self.told.pop(id(connection), None)
        connection.close()

    def close(self) -> None:
        """Closes what is not in use."""
        while self._free:
            self._free.pop().close()
        self.told.clear()


class SharedDatabase(Database):
    """A process's store on connections that others use after it."""

    def __init__(self, url: str, connections: Connections) -> None:
        super().__init__(url)
        self._connections = connections
        self._copying = connections.copying

    def _connect(self) -> psycopg.Connection[Row]:
        return self._connections.take()

    def leave(self, *, keep: bool) -> None:
        """Gives the connections back: open transactions are rolled back, locks are free."""
        for connection in (self._connection, self._reading):
            if connection is not None:
                self._connections.give_back(connection, keep=keep)
        self._connection = self._reading = None


def make_scratch(url: str) -> None:
    """Makes the server fast and forgetful. For a server that holds throw-away databases only."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        for setting in _SETTINGS:
            connection.execute(f"alter system set {setting}".encode())
        connection.execute(b"select pg_reload_conf()")


def empty(url: str) -> None:
    """Removes every row of every table of Comptoir's but the schema's revision. For throw-away databases."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        rows = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') "
            "and not relispartition and relname <> 'alembic_version' order by relname"
        ).fetchall()
        names = [row[0] for row in rows]
        # Small tables: DELETE takes a tenth of what TRUNCATE takes.
        later = [name for name in names if name == "journal_entry"]
        for name in [*(n for n in names if n not in later), *later]:
            connection.execute(f'delete from "{name}"'.encode())


def rewind_cursors(url: str, hours: float | None) -> None:
    """Every read begins so much earlier than it would; at the beginning, when no hours are given."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        if hours is None:
            connection.execute("delete from cursor_position where scope = ''")
        else:
            connection.execute(
                "update cursor_position set watermark = watermark - make_interval(secs => %s) where scope = ''",
                (hours * 3600,),
            )
