"""The integrator's tables: the mapping in use, what moves a source's modified date, what an installation is for."""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
create table mapping_in_use (
  connection text not null,
  entity text not null,
  hash text not null,
  since timestamptz not null,
  primary key (connection, entity)
);
comment on table mapping_in_use is 'The text by which records were mapped last: another one is tried before it is used';

create table cursor_measure (
  connection text not null,
  entity text not null,
  change text not null,
  decides boolean not null,
  moves boolean,
  listed boolean,
  lag_seconds double precision not null,
  note text not null,
  measured_at timestamptz not null,
  primary key (connection, entity, change)
);
comment on table cursor_measure is 'What moves a source''s modified date, as measured; null: could not be tried';

create table installation (
  only_one boolean primary key default true check (only_one),
  stage text not null check (stage in ('staging', 'production')),
  since timestamptz not null
);
comment on table installation is 'What this database is for; another stage''s configuration is refused';
"""


def upgrade() -> None:
    """Creates the third set of tables."""
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(TABLES)
