"""One look at a database that is not Comptoir's own."""

from __future__ import annotations

import sqlalchemy as sa

from comptoir.errors import DatabaseUnavailable

__all__ = ["alembic_revision"]


def alembic_revision(url: str) -> str | None:
    """The migration a database stands at (Airflow's metadata database, say); None when it has none yet.

    Raises:
        DatabaseUnavailable: there is no database at this address, or it lets nobody in.
    """
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    except sa.exc.SQLAlchemyError as error:
        where = sa.make_url(url).render_as_string(hide_password=True)
        raise DatabaseUnavailable(
            f"The database at {where} cannot be reached: {error.__cause__ or error}",
            hint="Check the address, and that the database exists and accepts this user.",
        ) from error
    return None if revision is None else str(revision)
