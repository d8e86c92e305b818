"""The books: whole entries (means of payment, VAT codes, sections, references), and what was handed over in files."""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ENTRIES = """
alter table journal_entry
  add column document_on date,
  add column reference text,
  add column invoice text,
  add column withdrawn_in uuid;
comment on column journal_entry.withdrawn_in is 'The batch was taken back from the books: the entry counts no more';
alter table journal_entry drop constraint journal_entry_key_key;
create unique index journal_entry_key on journal_entry (key) where withdrawn_in is null;

alter table journal_line
  add column payment_method text,
  add column vat_code text,
  add column vat_rate numeric,
  add column foreign_amount numeric,
  add column foreign_currency text;

create table journal_share (
  entry_id uuid not null,
  position int not null,
  plan text not null,
  section text not null,
  amount numeric not null,
  primary key (entry_id, position, plan, section),
  foreign key (entry_id, position) references journal_line (entry_id, position)
);
comment on table journal_share is 'The parts of a line that belong to sections of analytic plans';
"""

HANDOVERS = """
create table handover (
  id uuid primary key,
  target text not null,
  entity text not null,
  state text not null check (state in ('waiting', 'taken', 'withdrawn')),
  documents int not null,
  amount numeric not null,
  first_on date,
  last_on date,
  files text[] not null default '{}',
  sha256 text[] not null default '{}',
  written_at timestamptz not null,
  taken_at timestamptz,
  reminded_at timestamptz,
  withdrawn_at timestamptz,
  withdrawn_by text,
  withdrawn_because text
);
create index handover_waiting on handover (target) where state = 'waiting';
alter table installation add column reminded_at timestamptz, add column reminded_of text;
comment on column installation.reminded_of is 'What the last mail about things to do said';
comment on table handover is 'Batches of documents that were handed over in files, and whether the program took them';
"""


def upgrade() -> None:
    """Extends the journal, creates the batch ledger."""
    driver: Any = op.get_bind().connection.driver_connection
    for script in (ENTRIES, HANDOVERS):
        driver.execute(script)
