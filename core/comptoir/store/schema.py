"""Creates and migrates the database. Alembic and SQLAlchemy are loaded only when there is something to do."""

from __future__ import annotations

from pathlib import Path

import psycopg

from comptoir.errors import ComptoirError, DatabaseUnavailable

__all__ = ["HEAD", "current_revision", "is_current", "upgrade"]

#: The newest revision; a unit test compares it with the files.
HEAD = "0007"

_LOCK = 0x636F6D70  # any constant: one migration at a time per database


def current_revision(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """The database's revision, None when it was never migrated."""
    row = connection.execute("select to_regclass('alembic_version')").fetchone()
    if row is None or row[0] is None:
        return None
    found = connection.execute("select version_num from alembic_version").fetchone()
    return str(found[0]) if found else None


def is_current(url: str) -> bool:
    """Whether a database has the newest revision; nothing is changed. Raises DatabaseUnavailable."""
    try:
        with psycopg.connect(plain_url(url), autocommit=True) as connection:
            return current_revision(connection) == HEAD
    except psycopg.OperationalError as error:
        raise unavailable(error) from error


def upgrade(url: str) -> str | None:
    """Migrates the database to HEAD and returns the revision it had before (None: it was empty).

    Safe to call from several processes at once. Raises DatabaseUnavailable, or ComptoirError when the database was
    made by a newer Comptoir.
    """
    try:
        with psycopg.connect(plain_url(url), autocommit=True) as connection:
            before = current_revision(connection)
            if before == HEAD:
                return before
            connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
            before = current_revision(connection)
            if before != HEAD:
                _run_alembic(url)
            return before
    except psycopg.OperationalError as error:
        raise unavailable(error) from error


def _run_alembic(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, HEAD)
        except CommandError as error:
            raise ComptoirError(
                f"the database cannot be migrated to revision {HEAD}: {error}",
                hint="It was probably made by a newer Comptoir: use that version, or another database.",
                code="schema",
            ) from error


def plain_url(url: str) -> str:
    """The URL as libpq wants it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1).replace("postgres://", "postgresql://", 1)


def sqlalchemy_url(url: str) -> str:
    """The URL as SQLAlchemy wants it."""
    return plain_url(url).replace("postgresql://", "postgresql+psycopg://", 1)


def unavailable(error: psycopg.Error) -> DatabaseUnavailable:
    """The error for a database that cannot be reached; passwords are not part of libpq's message."""
    words = str(error).strip().splitlines()
    return DatabaseUnavailable(
        f"Comptoir's database cannot be reached: {words[0] if words else type(error).__name__}",
        hint="Start PostgreSQL or correct COMPTOIR_DATABASE_URL; nothing was changed, the next run goes on.",
    )
