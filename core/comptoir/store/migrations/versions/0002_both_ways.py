"""Both ways: stock, consents, links between records, publications, the webhook inbox, connection states and budgets.

A publication is a set of absolute values that a target should show (docs/adr/0008): what is wanted is compared with
what the target is known to have, so repeating a write changes nothing and nothing has to be remembered but the two.
"""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DOCUMENTS = """
create table stock_level (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  item_id text not null,
  sku text,
  location text not null,
  on_hand numeric not null,
  reserved numeric not null,
  incoming numeric,
  unit text not null,
  counted_at timestamptz,
  extra jsonb not null default '{}',
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index stock_level_item on stock_level (connection, item_id);
create index stock_level_external on stock_level (connection, external_id);
comment on table stock_level is 'What a back office counts of one item at one place';

create table customer_consent (
  document_id uuid not null,
  position int not null,
  purpose text not null,
  channel text not null,
  state text not null,
  proof text,
  source text not null,
  at timestamptz,
  primary key (document_id, position)
);
comment on table customer_consent is 'What a customer agreed to or refused, as each connection says it';

alter table delivery add column acknowledged_at timestamptz;
"""

LINKS = """
create table record_link (
  id uuid primary key,
  entity text not null,
  source text not null,
  source_id uuid not null,
  target text not null,
  target_id uuid,
  state text not null check (state in ('linked', 'suggested', 'unmatched', 'rejected', 'broken')),
  evidence text[] not null default '{}',
  score numeric not null default 0,
  note text,
  decided_by text,
  created_at timestamptz not null,
  decided_at timestamptz
);
create unique index record_link_owner on record_link (target_id) where state = 'linked';
create unique index record_link_pair on record_link (source_id, target_id) where state <> 'broken';
create unique index record_link_unmatched on record_link (target, source_id) where state = 'unmatched';
create index record_link_review on record_link (target, entity, state) where state in ('suggested', 'unmatched');
comment on table record_link is 'Which record here is which record there; a person can undo it';

create table publication (
  target text not null,
  entity text not null,
  external_id text not null,
  parent_id text,
  source text not null,
  record_id uuid not null,
  target_id uuid,
  route text not null,
  label text not null,
  wanted jsonb not null,
  known jsonb not null default '{}',
  keys text[] not null default '{}',
  source_rev int,
  target_rev int,
  mapping_hash text,
  state text not null check (state in ('due', 'held', 'sent', 'done', 'refused')),
  attempt int not null default 0,
  due_at timestamptz not null,
  wanted_at timestamptz not null,
  sent_at timestamptz,
  known_at timestamptz,
  reason text,
  primary key (target, entity, external_id)
);
create index publication_due on publication (target, entity, due_at) where state in ('due', 'held', 'sent');
create index publication_record on publication (record_id);
comment on table publication is 'Values a target should show, and those it is known to show; personal ones as digests';

create table write_log (
  at timestamptz not null,
  run_id uuid not null,
  target text not null,
  entity text not null,
  external_id text not null,
  record_id uuid not null,
  before jsonb,
  after jsonb not null
);
create index write_log_record on write_log (record_id);
create index write_log_run on write_log (run_id);
create index write_log_first on write_log (target, entity);
comment on table write_log is 'Each confirmed write with the values before it: the proof, and what an undo needs';
"""

INBOX = """
create table inbox (
  id bigint generated always as identity primary key,
  connection text not null,
  entity text not null,
  external_id text not null,
  kind text not null,
  dedupe_key text not null,
  received_at timestamptz not null,
  taken_at timestamptz,
  done_at timestamptz,
  run_id uuid,
  outcome text,
  unique (connection, dedupe_key)
);
create index inbox_waiting on inbox (connection, entity, id) where done_at is null;
create index inbox_record on inbox (connection, entity, external_id, received_at);
comment on table inbox is 'Webhooks: each one a hint that a record must be read again';

create table connection_state (
  connection text primary key,
  state text not null check (state in ('active', 'paused')),
  cause text,
  reason text,
  hint text,
  by_whom text not null,
  since timestamptz not null
);
comment on table connection_state is 'Paused connections: after refused credentials, or by a person';

create table rate_bucket (
  connection text not null,
  name text not null,
  tokens numeric not null,
  filled_at timestamptz not null,
  blocked_until timestamptz,
  primary key (connection, name)
);
comment on table rate_bucket is 'Calls that a connection may still make, shared by every process';
"""


def upgrade() -> None:
    """Creates the second set of tables."""
    driver: Any = op.get_bind().connection.driver_connection
    for script in (DOCUMENTS, LINKS, INBOX):
        driver.execute(script)
