"""One connection to the store, and transactions on it.

Reads and writes are SQL through psycopg: set-based, `COPY` for bulk. Nothing here waits on a remote: no transaction
spans a remote call.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from psycopg import errors

from comptoir.errors import ComptoirError, DatabaseUnavailable, StorageFull
from comptoir.store.copying import OPTIONS, Row, writer
from comptoir.store.schema import plain_url, unavailable

__all__ = ["Copies", "CopyText", "Copying", "Database", "Row", "Session", "lock_key"]

#: Rows written as one text: it exists up to three times while it is sent.
_COPIED_AT_ONCE = 200
#: Rows as text, in portions, by the statement that copies them.
CopyText = dict[bytes, list[bytes]]
_TYPES = (
    "select c.relname, a.attname, format_type(a.atttypid, null) "
    "from pg_attribute a join pg_class c on c.oid = a.attrelid "
    "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition "
    "and a.attnum > 0 and not a.attisdropped"
)


class Copying:
    """How rows are copied, by table and columns. The types of the columns are asked for once, of all tables."""

    def __init__(self) -> None:
        self._types: dict[str, dict[str, str]] = {}
        self._ways: dict[tuple[str, str], tuple[bytes, Callable[[Sequence[Row]], str]]] = {}

    def learn(self, session: Session) -> None:
        """Asks the database for the types, unless they are known."""
        if not self._types:
            for table, column, kind in session.rows(_TYPES):
                self._types.setdefault(table, {})[column] = kind

    def written(self, table: str, columns: str, rows: Sequence[Row]) -> tuple[bytes, Iterator[bytes]]:
        """The statement that copies the rows, and their text in portions that are made when their turn comes."""
        found = self._ways.get((table, columns))
        if found is None:
            types = self._types[table]
            write = writer(tuple(types[name] for name in columns.split(", ")))
            statement = f"copy {table} ({columns}) from stdin {OPTIONS}".encode()
            found = self._ways[table, columns] = statement, write
        statement, write = found
        starts = range(0, len(rows), _COPIED_AT_ONCE)
        return statement, (write(rows[start : start + _COPIED_AT_ONCE]).encode() for start in starts)


class Session:
    """A connection with the few verbs that repositories use."""

    def __init__(self, connection: psycopg.Connection[Row], copying: Copying) -> None:
        self._connection = connection
        self._copying = copying

    def execute(self, query: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> int:
        """Runs a statement; the number of rows it touched."""
        return self._connection.execute(query.encode(), parameters).rowcount

    def rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> list[Row]:
        """All rows of a query."""
        return self._connection.execute(query.encode(), parameters).fetchall()

    def row(self, query: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> Row | None:
        """The first row of a query."""
        return self._connection.execute(query.encode(), parameters).fetchone()

    def stream(
        self, query: str, parameters: Sequence[Any] | dict[str, Any] | None = None, *, size: int = 2000
    ) -> Iterator[Row]:
        """Rows of a large query through a server-side cursor; needs a transaction, memory stays flat."""
        with self._connection.cursor(name="comptoir_stream") as cursor:
            cursor.itersize = size
            cursor.execute(query.encode(), parameters)
            yield from cursor

    def copy(self, table: str, columns: str, rows: Sequence[Row]) -> None:
        """Bulk insert by COPY; `table` and `columns` are ours, never input."""
        if rows:
            self._copying.learn(self)
            self.send(*self._copying.written(table, columns, rows))

    def send(self, statement: bytes, portions: Iterable[bytes]) -> None:
        """Runs a COPY with text that was written before."""
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for portion in portions:
                copy.write(portion)

    def transaction(self) -> AbstractContextManager[psycopg.Transaction]:
        """A transaction (a savepoint inside another)."""
        return self._connection.transaction()

    # -- locks -----------------------------------------------------------------------------------------------

    def try_lock(self, name: str) -> bool:
        """Takes a lock of this session by name, if it is free. The server drops it when this process dies."""
        row = self.row("select pg_try_advisory_lock(%s, %s)", lock_key(name))
        return bool(row and row[0])

    def try_lock_here(self, name: str) -> bool:
        """Takes the same lock for the rest of the open transaction, however that ends."""
        row = self.row("select pg_try_advisory_xact_lock(%s, %s)", lock_key(name))
        return bool(row and row[0])

    def unlock(self, name: str) -> None:
        """Gives a lock of this session back."""
        self.row("select pg_advisory_unlock(%s, %s)", lock_key(name))


class Copies(Session):
    """Stands where a repository expects a session: what it copies is written out, and sent in a later transaction.

    So rows can be formed beside the transaction before, in another process too. It reads nothing: it has no connection.
    """

    def __init__(self, copying: Copying) -> None:
        """`copying` has learned the types."""
        self._copying = copying
        #: The text of the rows by the statement that copies it.
        self.texts: CopyText = {}

    def copy(self, table: str, columns: str, rows: Sequence[Row]) -> None:
        """Writes the rows out and keeps the text."""
        if rows:
            statement, portions = self._copying.written(table, columns, rows)
            self.texts.setdefault(statement, []).extend(portions)


def lock_key(name: str) -> tuple[int, int]:
    """The two numbers under which PostgreSQL knows the lock of this name; `pg_locks` shows them unsigned."""
    data = name.encode()
    return _signed(zlib.crc32(data)), _signed(zlib.crc32(b"comptoir:" + data[::-1]))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


class Database:
    """Comptoir's database by URL; one open connection, made when it is first used.

    `durable=False` is for what may be lost with the machine: a commit does not wait for the disk.
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self._url = plain_url(url)
        self._durable = durable
        self._connection: psycopg.Connection[Row] | None = None
        self._reading: psycopg.Connection[Row] | None = None
        self._copying = Copying()

    def session(self) -> Session:
        """The open session. Raises DatabaseUnavailable."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return Session(self._connection, self._copying)

    def reader(self) -> Session:
        """A second session for reads beside an open transaction; it sees what is committed."""
        if self._reading is None or self._reading.closed:
            self._reading = self._connect()
        return Session(self._reading, self._copying)

    def copying(self) -> Copying:
        """How rows are copied, for who writes them out without a session."""
        with self.errors():
            self._copying.learn(self.reader())
        return self._copying

    def leave_to_parent(self) -> None:
        """In a forked process: the connections are the parent's, and end with it alone; a later use opens new ones."""
        for connection in (self._connection, self._reading):
            if connection is not None and not connection.closed:
                os.close(connection.fileno())
        self._connection = self._reading = None

    def _connect(self) -> psycopg.Connection[Row]:
        try:
            connection = psycopg.connect(
                self._url, autocommit=True, application_name="comptoir", client_encoding="utf8"
            )
            if not self._durable:
                connection.execute("set synchronous_commit = off")
            return connection
        except psycopg.OperationalError as error:
            raise unavailable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that commits at the end of the block; psycopg's errors come out as ours."""
        with self.errors():
            session = self.session()
            with session.transaction():
                yield session

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns the driver's errors into ours: database down, disk full."""
        try:
            yield
        except ComptoirError:
            raise
        except errors.DiskFull as error:
            raise StorageFull(
                f"the database's disk is full: {error.diag.message_primary}",
                hint="Free space, then run again: what was committed stays, the rest is done again.",
            ) from error
        except (psycopg.OperationalError, errors.AdminShutdown) as error:
            if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected | errors.SerializationFailure):
                raise DatabaseUnavailable(
                    f"another worker is in the way: {error.diag.message_primary}",
                    code="lock",
                    hint="Run again.",
                ) from error
            self.close()
            raise unavailable(error) from error

    def close(self) -> None:
        """Closes the connections; a later use opens new ones."""
        for connection in (self._connection, self._reading):
            if connection is not None:
                connection.close()
        self._connection = self._reading = None
