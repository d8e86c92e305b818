"""The machines beside the accounting programs: their tokens, what they hold, what they sent."""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

AGENTS = """
create table agent (
  name text primary key,
  connections text[] not null,
  token_hash text not null,
  previous_hash text,
  previous_until timestamptz,
  made_at timestamptz not null,
  made_by text not null,
  revoked_at timestamptz,
  revoked_by text,
  instance text,
  seen_at timestamptz,
  stranger_at timestamptz,
  version text,
  clock_off_seconds double precision,
  troubles text[] not null default '{}'
);
comment on table agent is 'Machines that fetch batches and send files; a token is kept as its digest only';
comment on column agent.instance is 'The one program that works with the token; another one is refused';
comment on column agent.stranger_at is 'When another program last came with the same token';

create table agent_batch (
  batch uuid primary key references handover (id),
  agent text references agent (name),
  instance text,
  state text not null check (state in ('claimed', 'importing', 'unclear', 'refused', 'returned', 'taken', 'withdrawn')),
  changed_at timestamptz not null,
  exit_code int,
  detail text not null default '',
  recalled_at timestamptz,
  decision text check (decision in ('imported', 'again')),
  decided_by text,
  decided_because text
);
create index agent_batch_agent on agent_batch (agent, state);
comment on table agent_batch is 'Batches that a machine has claimed, or that none may claim any more (withdrawn)';

create table agent_file (
  connection text not null,
  folder text not null,
  name text not null,
  sha256 text not null,
  dropped text not null,
  bytes bigint not null,
  agent text not null,
  received_at timestamptz not null,
  primary key (connection, folder, name)
);
comment on table agent_file is 'The newest file of each name that a machine has sent';
"""


def upgrade() -> None:
    """Creates the tables of agents."""
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(AGENTS)
