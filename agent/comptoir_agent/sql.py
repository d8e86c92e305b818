"""Reading by SQL: single SELECTs of the hub's connector, with a login that may only read.

Three locks, because each alone can be opened: the text is refused unless it is one SELECT that names nothing else; the
session is opened for reading and never committed; a login of SQL Server that may write is refused.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from comptoir_agent.config import Sql
from comptoir_agent.errors import ConfigurationError, LocalTrouble
from comptoir_agent.secret import filled

__all__ = ["Written", "check_select", "write_csv"]

_ROWS = 500
_LONGEST_TEXT = 64 * 1024
_WORD = re.compile(r"[A-Za-z_@#$][A-Za-z0-9_@#$]*")
#: Words that no reading needs: what writes, what runs other text, what reaches other servers or the machine.
_FORBIDDEN = frozenset(
    "INSERT UPDATE DELETE MERGE INTO EXEC EXECUTE CALL DO DROP ALTER CREATE TRUNCATE RENAME GRANT REVOKE DENY COPY "
    "BACKUP RESTORE BULK OPENROWSET OPENQUERY OPENDATASOURCE OPENXML WAITFOR SHUTDOWN DBCC KILL RECONFIGURE USE SET "
    "DECLARE BEGIN COMMIT ROLLBACK SAVE LOCK UNLOCK ATTACH DETACH PRAGMA VACUUM LOAD_FILE LOAD_EXTENSION OUTFILE "
    "DUMPFILE PRINT RAISERROR THROW GOTO RECEIVE SEND READTEXT WRITETEXT UPDATETEXT NEXT NEXTVAL SETVAL "
    "PG_READ_FILE PG_SLEEP PG_TERMINATE_BACKEND DBLINK LO_IMPORT LO_EXPORT TABLOCKX XLOCK UPDLOCK HOLDLOCK".split()
)
_FORBIDDEN_BEGINNINGS = ("XP_", "SP_", "@@", "DBMS_", "UTL_")
#: What SQL Server says of a login: each must be 0 (NULL: there is no such database role here).
_RIGHTS = (
    "SELECT IS_SRVROLEMEMBER('sysadmin'), IS_MEMBER('db_owner'), IS_MEMBER('db_datawriter'), IS_MEMBER('db_ddladmin'), "
    "HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT'), HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UPDATE'), "
    "HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'DELETE')"
)


def check_select(text: str) -> str:
    """The text of one SELECT without a closing semicolon; ConfigurationError, with the reason, for anything else."""
    if len(text) > _LONGEST_TEXT or "\x00" in text:
        raise ConfigurationError("the query is too long, or no text")
    bare = _bare(text).strip()
    if bare.endswith(";"):
        bare = bare[:-1].rstrip()
    if ";" in bare:
        raise ConfigurationError("the query holds more than one statement")
    words = [word.upper() for word in _WORD.findall(bare)]
    if not words or words[0] not in ("SELECT", "WITH") or "SELECT" not in words:
        raise ConfigurationError("the query is no SELECT")
    for word in words:
        if word in _FORBIDDEN or word.startswith(_FORBIDDEN_BEGINNINGS):
            raise ConfigurationError(f"the query holds {word}, which no reading needs")
    # Nothing after the last semicolon but space and comments: `bare` has shown that.
    return text


def _bare(text: str) -> str:
    """The text with comments, literals and quoted names blanked; ConfigurationError when one of them has no end."""
    out: list[str] = []
    at = 0
    while at < len(text):
        two, one = text[at : at + 2], text[at]
        if two == "--":
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
        elif two == "/*":
            end = text.find("*/", at + 2)
            if end < 0 or "/*" in text[at + 2 : end]:
                # SQL Server nests comments and others do not: what one reads as text, another runs.
                raise ConfigurationError("the query has a comment within a comment, or one without end")
            end += 2
        elif one in "'\"[`":
            end = _quoted_end(text, at)
        elif one == "$":
            raise ConfigurationError("the query holds $, which quotes text in some servers")
        else:
            out.append(one)
            at += 1
            continue
        out.append(" ")
        at = end
    return "".join(out)


def _quoted_end(text: str, start: int) -> int:
    close = {"[": "]"}.get(text[start], text[start])
    at = start + 1
    while True:
        at = text.find(close, at)
        if at < 0:
            raise ConfigurationError("the query has a quotation without end")
        if "\\" in text[start:at]:
            # Some servers let a backslash keep the quotation open, others do not.
            raise ConfigurationError("the query has a backslash within a quotation")
        if text[at + 1 : at + 2] == close:
            at += 2
            continue
        return at + 1


@dataclass(frozen=True, slots=True)
class Written:
    """A file of rows."""

    rows: int
    bytes: int
    sha256: str


def write_csv(sql: Sql, query: str, path: Path, environment: Mapping[str, str], *, max_bytes: int) -> Written:
    """The rows of a query as CSV: UTF-8, `;`, CR LF, the query's aliases as first line. Memory stays flat.

    An empty cell stands for NULL, numbers have a decimal point, dates and times are ISO 8601. LocalTrouble when the
    server does not answer, refuses, or gives more than `max_bytes`; the file is removed then.
    """
    query = check_select(query)
    try:
        rows = _write(sql, query, path, environment, max_bytes)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Written(rows, path.stat().st_size, digest)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise LocalTrouble(f"{path.name} cannot be written: {error.strerror or error}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(sql: Sql, query: str, path: Path, environment: Mapping[str, str], max_bytes: int) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";", lineterminator="\r\n")
        for portion in _portions(sql, query, environment):
            for row in portion:
                writer.writerow([_cell(value) for value in row])
            rows += len(portion)
            if stream.tell() > max_bytes:
                raise LocalTrouble(
                    f"{path.name} has more than {max_bytes} bytes after {rows} rows: raise max_upload_bytes"
                )
    return rows - 1


def _portions(sql: Sql, query: str, environment: Mapping[str, str]) -> Iterator[list[Any]]:
    """The header, then the rows."""
    driver, connection = _connect(sql, environment)
    try:
        with closing(connection), closing(connection.cursor()) as cursor:
            if sql.driver != "sqlite3":
                _check_rights(cursor)
            cursor.execute(query)
            names = [str(column[0]) for column in cursor.description or ()]
            if not names or len(set(names)) != len(names) or not all(names):
                raise ConfigurationError("the query's columns need names, each its own")
            yield [names]
            while rows := cursor.fetchmany(_ROWS):
                yield list(rows)
            connection.rollback()
    except driver.Error as error:
        raise LocalTrouble(f"the SQL server refused or is away: {_shown(error)}") from None


def _check_rights(cursor: Any) -> None:
    cursor.execute(_RIGHTS)
    if any(value == 1 for value in cursor.fetchone()):
        raise ConfigurationError(
            "the login of SQL Server may write: make one that is a member of db_datareader and nothing else"
        )


def _connect(sql: Sql, environment: Mapping[str, str]) -> tuple[Any, Any]:
    try:
        driver = importlib.import_module(sql.driver)
    except ImportError:
        raise ConfigurationError(f"the driver {sql.driver} is not installed") from None
    seconds = int(sql.timeout_seconds)
    try:
        if isinstance(sql.connect, str):
            text = filled(sql.connect, environment, {})
            if sql.driver == "sqlite3":
                path = Path(text).absolute()
                return driver, driver.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=seconds)
            connection = driver.connect(text, readonly=True, autocommit=False, timeout=min(seconds, 30))
            connection.timeout = seconds
            return driver, connection
        values = {k: filled(v, environment, {}) if isinstance(v, str) else v for k, v in sql.connect.items()}
        if sql.driver == "pytds":
            values |= {"readonly": True, "autocommit": False, "timeout": seconds, "login_timeout": 30}
        else:
            values |= {"read_only": True, "autocommit": False, "timeout": seconds, "login_timeout": 30}
        return driver, driver.connect(**values)
    except driver.Error as error:
        raise LocalTrouble(f"no connection to the SQL server: {_shown(error)}") from None
    except TypeError as error:
        raise ConfigurationError(f"the driver {sql.driver} does not take these settings: {error}") from None


def _shown(error: Exception) -> str:
    """The first line, without what may be a value of a row or a secret."""
    words = " ".join(str(part) for part in error.args).splitlines() or [type(error).__name__]
    return re.sub(r"'[^']*'", "'...'", words[0])[:200]


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "1" if value else "0"
        case str():
            return value.replace("\x00", "")
        case int() | UUID():
            return str(value)
        case Decimal():
            return format(value, "f")
        case float():
            return format(Decimal(repr(value)), "f") if value == value and abs(value) != float("inf") else ""
        case datetime():
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case _:
            raise ConfigurationError(f"the query gives a {type(value).__name__}, which has no form in a file")
