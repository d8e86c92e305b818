"""`open_database`: the read-only door to a program's database, for connectors of programs that have no other.

    STOCK = load_query("comptoir_sage", "stock")          # a file of the package: one SELECT, checked
    with open_database(ctx) as database:
        database.spool(STOCK, file)                       # rows as a CSV file, memory does not grow with them

A program's tables are its own: what is written there by others breaks its numbering, its stock and its locks. So there
is no way to write: a query is a text of the connector's package, which `checked_select` refuses when it is anything but
one SELECT; the server is told that only reading is meant; nothing is ever committed; and `rights` says when the login
could write all the same.

Where: the connection's credentials. `host`, `port`, `schema` (the database), `login`, `password`, and in `extra`
`driver` (`mssql`), `cafile` (the authority that signed the server's certificate: a path that starts beside
comptoir.toml), `encrypt` (`"no"` for a server without TLS on the same cable), `timeout` in seconds. SQL Server needs
`comptoir[mssql]`.

Reading never makes the program wait: by snapshot where the database allows it, else row by row with the usual short
locks, waiting at most five seconds for anybody; uncommitted rows are never read.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from comptoir.errors import AuthError, ComptoirError, ConfigError, ContractViolation, TransientError
from comptoir.sdk.address import credentials_variable
from comptoir.sdk.protocols import CheckItem, ConnectorContext
from comptoir.sdk.selects import Query, checked_select, load_query

__all__ = ["DRIVERS", "Database", "Driver", "Query", "Server", "checked_select", "load_query", "open_database"]

_BATCH = 500
_CONNECTION = "the connection"
_CONNECT_SECONDS = 10.0
_QUERY_SECONDS = 120.0
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Trouble = Literal["login", "rights", "unknown", "busy", "reach", "tls"]


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """Where a driver is to connect. Never shown: it holds the password."""

    host: str
    port: int | None
    database: str
    login: str
    password: str
    cafile: str | None
    timeout: float


class Cursor(Protocol):
    """What is used of a DB-API 2.0 cursor."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None: ...
    def execute(self, operation: str, parameters: Any, /) -> Any: ...
    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]: ...
    def close(self) -> Any: ...


class Link(Protocol):
    """What is used of a DB-API 2.0 connection."""

    def cursor(self) -> Cursor: ...
    def close(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Driver:
    """One kind of server. Parameters are marked `%s`.

    `prepare` is called with the new connection, and a function that runs a statement on it and gives its first row.
    `may_write` is a SELECT with one parameter, a table's name, that gives 1 when the login may change it. `trouble`
    says what an error is about.
    """

    name: str
    connect: Callable[[Server], Link]
    errors: Callable[[], tuple[type[Exception], ...]]
    prepare: Callable[[Any, Callable[[str], Sequence[Any] | None]], None]
    may_write: str
    trouble: Callable[[Exception], tuple[Trouble, str]]


class Database:
    """An open database. Made by `open_database`."""

    def __init__(self, ctx: ConnectorContext, driver: Driver, link: Link) -> None:
        self._ctx = ctx
        self._driver = driver
        self._link = link

    def spool(self, query: Query, file: BinaryIO, *, after: tuple[str, str] | None = None) -> int:
        """Writes the rows of a query into `file` as docs/reading-sql.md describes a result; how many there are.

        `after`: a column and a text; only rows whose cell is that or later, as texts compare. ContractViolation for a
        column that comes as anything but text and whole numbers: its form would be the driver's.
        """
        text, parameters = _around(query), None
        if after is not None:
            column, value = after
            if not _ALIAS.fullmatch(column):
                raise ContractViolation(f"{column!r} is no column of {query.name}.sql")
            text, parameters = f'{text.replace("%", "%%")} WHERE "{column}" >= %s', (value,)
        count = 0
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        with self._asking(query.name), self._cursor() as cursor:
            cursor.execute(text, parameters)
            names = [str(column[0]) for column in cursor.description or ()]
            writer.writerow(names)
            while batch := cursor.fetchmany(_BATCH):
                count += len(batch)
                writer.writerows([_cell(value, names[n], query) for n, value in enumerate(row)] for row in batch)
                file.write(out.getvalue().encode("utf-8"))
                out.seek(0)
                out.truncate()
        file.write(out.getvalue().encode("utf-8"))
        return count

    def try_out(self, query: Query) -> None:
        """Asks for no row of a query: the server still looks whether its tables and columns are there."""
        with self._asking(query.name), self._cursor() as cursor:
            cursor.execute(f"{_around(query)} WHERE 1 = 0", None)
            _first(cursor)

    def rights(self, table: str) -> CheckItem:
        """Whether the login may only read, seen at one table. The item is not ok when it could write."""
        with self._asking("the rights of the login"), self._cursor() as cursor:
            cursor.execute(self._driver.may_write, (table,))
            row = _first(cursor)
        if row is None or row[0]:
            return CheckItem(
                "login", False, f"the login may change {table}",
                "Comptoir only reads: give it a login that can do no more, with the role db_datareader and no other.",
            )  # fmt: skip
        return CheckItem("login", True, "the login may only read")

    @contextmanager
    def _cursor(self) -> Iterator[Cursor]:
        cursor = self._link.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._driver.errors() as error:
            raise _said(self._ctx, self._driver, error, what) from None


@contextmanager
def open_database(ctx: ConnectorContext) -> Iterator[Database]:
    """The database that the connection's credentials name, until the block ends.

    Raises ConfigError for settings that lead nowhere and for tables that are not there, AuthError for a refused login
    or a missing right, TransientError when the server cannot be reached, is busy or takes too long.
    """
    driver = _driver(ctx)
    server = _server(ctx)
    try:
        link = driver.connect(server)
    except _any(driver) as error:
        raise _said(ctx, driver, error, _CONNECTION) from None
    try:
        database = Database(ctx, driver, link)

        def run(statement: str) -> Sequence[Any] | None:
            with database._cursor() as cursor:
                cursor.execute(statement, None)
                return _first(cursor) if cursor.description else None

        with database._asking(_CONNECTION):
            driver.prepare(link, run)
        yield database
    finally:
        _closed(driver, link)


def _any(driver: Driver) -> tuple[type[Exception], ...]:
    return (*driver.errors(), OSError)


def _closed(driver: Driver, link: Link) -> None:
    """Nothing was changed, so there is nothing to keep: what is open ends with the connection, without a word that
    a broken one could wait for."""
    with contextlib.suppress(*_any(driver)):
        link.close()


def _driver(ctx: ConnectorContext) -> Driver:
    name = str(ctx.credentials.extra.get("driver", "mssql"))
    driver = DRIVERS.get(name)
    if driver is None:
        raise ConfigError(
            f"{ctx.connection}: there is no driver {name!r} for databases; known: {', '.join(sorted(DRIVERS))}",
            hint=f"Correct `driver` in the extra of {credentials_variable(ctx.connection)}.",
            connection=ctx.connection,
        )
    return driver


def _server(ctx: ConnectorContext) -> Server:
    given, variable = ctx.credentials, credentials_variable(ctx.connection)
    for name, value in (("host", given.host), ("schema", given.schema), ("login", given.login)):
        if not value:
            raise ConfigError(
                f"{ctx.connection}: {variable} has no {name}, and its database is to be read",
                hint='{"conn_type": "mssql", "host": "server", "schema": "database", "login": "...", "password": "?"}',
                connection=ctx.connection,
                field=name,
            )
    cafile = str(given.extra.get("cafile") or "")
    local = given.host in ("localhost", "127.0.0.1", "::1") or given.host.startswith("/")
    if not cafile and not local and given.extra.get("encrypt") != "no":
        raise ConfigError(
            f"{ctx.connection}: the password would go to {given.host} without TLS",
            hint=f"Name the authority of the server's certificate as `cafile` in the extra of {variable}; or, for a "
            'server on the same cable, say `"encrypt": "no"` there.',
            connection=ctx.connection,
        )
    try:
        timeout = float(given.extra.get("timeout") or _QUERY_SECONDS)
    except (TypeError, ValueError):
        timeout = -1.0
    if not 1 <= timeout <= 3600:
        raise ConfigError(
            f"{ctx.connection}: `timeout` in the extra of {variable} is not 1 to 3600 seconds",
            connection=ctx.connection,
        )
    place = str(ctx.base_dir / cafile) if cafile else None
    if place is not None and not Path(place).is_file():
        raise ConfigError(
            f"{ctx.connection}: there is no file {cafile}, which `cafile` in the extra of {variable} names",
            hint="It starts beside comptoir.toml.",
            connection=ctx.connection,
        )
    return Server(given.host, given.port, given.schema, given.login, given.password, place, timeout)


def _first(cursor: Cursor) -> Sequence[Any] | None:
    """The first row. The others are fetched as well: a result that is left half read has to be cancelled."""
    first = next(iter(cursor.fetchmany(_BATCH)), None)
    while cursor.fetchmany(_BATCH):
        continue
    return first


def _around(query: Query) -> str:
    return f"SELECT * FROM ({query.text}) AS source"  # noqa: S608 - a checked text of the package, never input


def _cell(value: Any, name: str, query: Query) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, Decimal) and value == value.to_integral_value()):
        return str(int(value))
    raise ContractViolation(
        f"{query.name}.sql gives {name} as {type(value).__name__}, whose form depends on the driver: CAST it to text"
    )


def _said(ctx: ConnectorContext, driver: Driver, error: Exception, what: str) -> ComptoirError:
    """The error in our words: those of the driver may repeat what it was given."""
    trouble, detail = driver.trouble(error)
    if trouble == "busy" and what == _CONNECTION:  # nobody answered in time
        trouble = "reach"
    at, name = f"{ctx.connection}: {what}", credentials_variable(ctx.connection)
    number = f" ({driver.name} {detail})" if detail else ""
    if trouble == "login":
        return AuthError(
            f"{at}: the server refuses the login{number}",
            hint=f"Correct login and password in {name}; does the login belong to this database?",
            connection=ctx.connection,
        )
    if trouble == "rights":
        return AuthError(
            f"{at}: the login may not read a table of it{number}",
            hint="Give it the role db_datareader of the program's database.",
            connection=ctx.connection,
        )
    if trouble == "unknown":
        return ConfigError(
            f"{at}: the database has not the tables or columns that are read{number}",
            hint=f"Is `schema` in {name} the database of the merchant's folder? `comptoir check` names the query.",
            connection=ctx.connection,
            code="database_layout",
        )
    if trouble == "tls":
        return ConfigError(
            f"{at}: no TLS could be agreed upon with the server, or `cafile` does not vouch for its certificate",
            hint=f"The server's certificate must be signed by `cafile` in the extra of {name} and name the host there; "
            "SQL Server needs a certificate of its own (SQL Server Configuration Manager).",
            connection=ctx.connection,
            code="no_tls",
        )
    if trouble == "busy":
        return TransientError(
            f"{at}: the server was busy or took too long{number}",
            hint="Nothing to do: the next run tries again. If it lasts, raise `timeout` in the connection's extra.",
            connection=ctx.connection,
            code="database_busy",
        )
    return TransientError(
        f"{at}: the database server cannot be reached, or broke off{number}",
        hint=f"Is it running, does it listen on TCP, and does the firewall let Comptoir through? Address: {name}.",
        connection=ctx.connection,
        code="no_connection",
    )


# -- SQL Server --------------------------------------------------------------------------------------------------------

#: https://learn.microsoft.com/sql/relational-databases/errors-events: what a number is about.
_MSSQL: dict[int, Trouble] = {
    18456: "login", 18452: "login", 18470: "login", 18488: "login", 4060: "login", 911: "login", 916: "login",
    229: "rights", 230: "rights", 262: "rights",
    207: "unknown", 208: "unknown", 195: "unknown",
    1222: "busy", 1205: "busy", 3960: "busy", 3952: "busy", -2: "busy",
}  # fmt: skip


#: Levels of isolation, as TDS numbers them.
_READ_COMMITTED, _SNAPSHOT = 2, 5
_NO_TLS = "tls"


def _tds() -> Any:
    try:
        return importlib.import_module("pytds")
    except ModuleNotFoundError:
        raise ConfigError(
            "SQL Server is read through a package that is not installed", hint="Install comptoir[mssql]."
        ) from None


def _mssql_connect(server: Server) -> Link:
    tds = _tds()
    try:
        return _mssql_link(tds, server)
    except (ValueError, LookupError, struct.error) as error:  # what answers speaks another language
        raise tds.InterfaceError(type(error).__name__) from None
    except importlib.import_module("OpenSSL.SSL").Error:
        raise tds.InterfaceError(_NO_TLS) from None
    except tds.Error as error:
        if "ncryption" in str(error):  # the server has none, or wants some
            raise tds.InterfaceError(_NO_TLS) from None
        raise


def _mssql_link(tds: Any, server: Server) -> Link:
    link: Link = tds.connect(
        dsn=server.host,
        port=server.port,
        database=server.database,
        user=server.login,
        password=server.password,
        timeout=server.timeout,
        login_timeout=min(_CONNECT_SECONDS, server.timeout),
        appname="comptoir",
        readonly=True,  # ApplicationIntent=ReadOnly
        autocommit=True,  # until the isolation is known: a transaction that runs cannot change its own
        cafile=server.cafile,
        validate_host=server.cafile is not None,
        disable_connect_retry=True,
    )
    return link


def _mssql_prepare(link: Any, run: Callable[[str], Sequence[Any] | None]) -> None:
    row = run("SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()")
    # Outside of snapshots a reader takes short locks; it gives up rather than make the program wait for it.
    run("SET LOCK_TIMEOUT 5000")
    link.isolation_level = _SNAPSHOT if row and row[0] == 1 else _READ_COMMITTED
    link.autocommit = False


def _mssql_trouble(error: Exception) -> tuple[Trouble, str]:
    if error.args[:1] == (_NO_TLS,):
        return "tls", ""
    number = getattr(error, "msg_no", None) or getattr(error, "number", None)
    if isinstance(number, int) and number in _MSSQL:
        return _MSSQL[number], str(number)
    kind = type(error).__name__
    if kind == "LoginError":
        return "login", ""
    if isinstance(error, TimeoutError) or kind == "TimeoutError":
        return "busy", ""
    if kind == "ProgrammingError":
        return "unknown", str(number or "")
    return "reach", str(number or "")


def _errors(module: Callable[[], Any]) -> Callable[[], tuple[type[Exception], ...]]:
    def found() -> tuple[type[Exception], ...]:
        return (module().Error, TimeoutError, ConnectionError)

    return found


def _kinds(drivers: Iterable[Driver]) -> dict[str, Driver]:
    return {driver.name: driver for driver in drivers}


#: The servers that are known, by the name in `extra.driver`.
DRIVERS: dict[str, Driver] = _kinds(
    [
        Driver(
            "mssql",
            _mssql_connect,
            _errors(_tds),
            _mssql_prepare,
            "SELECT CASE WHEN HAS_PERMS_BY_NAME(%s, 'OBJECT', 'UPDATE') = 1 THEN 1 ELSE 0 END",
            _mssql_trouble,
        )
    ]
)
