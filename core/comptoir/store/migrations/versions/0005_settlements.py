"""Payouts, Z closings and supplier invoices as documents; entries that go out within the one of their day."""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PAYOUTS = """
create table payout (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  provider text not null,
  number text not null,
  period_start date not null,
  period_end date not null,
  paid_on date not null,
  currency text not null,
  amount numeric not null,
  opening numeric not null,
  closing numeric not null,
  remainder numeric not null,
  before_cutover boolean not null,
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index payout_provider on payout (provider, paid_on);
create index payout_external on payout (connection, external_id);
comment on column payout.remainder is 'Transferred beyond what the lines explain; zero when the settlement adds up';

create table payout_line (
  document_id uuid not null,
  position int not null,
  external_id text not null,
  kind text not null,
  source_kind text not null,
  occurred_on date not null,
  order_number text,
  amount numeric not null,
  label text,
  primary key (document_id, position)
);
create index payout_line_order on payout_line (order_number);

create table payout_fee (
  document_id uuid not null,
  position int not null,
  seq int not null,
  kind text not null,
  net numeric not null,
  tax numeric,
  rate numeric,
  primary key (document_id, position, seq)
);
comment on table payout_fee is 'Fees withheld from a line; tax is null where the statement does not show it';
"""

CLOSINGS = """
create table z_report (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  till text not null,
  number text not null,
  closed_on date not null,
  closed_at timestamptz,
  currency text not null,
  gift_cards_sold numeric not null,
  on_account numeric not null,
  old_invoices numeric not null,
  cash_expected numeric,
  cash_counted numeric,
  tickets numeric,
  before_cutover boolean not null,
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index z_report_till on z_report (till, closed_on);

create table z_sale (
  document_id uuid not null,
  position int not null,
  rate numeric not null,
  net numeric not null,
  tax numeric not null,
  scheme text not null,
  primary key (document_id, position)
);

create table z_tender (
  document_id uuid not null,
  position int not null,
  method text not null,
  source_method text,
  amount numeric not null,
  primary key (document_id, position)
);

create table cash_movement (
  document_id uuid not null,
  position int not null,
  external_id text not null,
  amount numeric not null,
  taken_on date not null,
  arrived_on date,
  primary key (document_id, position)
);
comment on table cash_movement is 'Cash taken out of the drawer towards the bank';
"""

INVOICES = """
create table supplier_invoice (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  supplier text not null,
  number text not null,
  credit boolean not null,
  issued_on date not null,
  due_on date,
  currency text not null,
  regime text not null,
  total numeric not null,
  discount numeric not null,
  withheld_by text,
  payout_ids text[] not null default '{}',
  before_cutover boolean not null,
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index supplier_invoice_number on supplier_invoice (supplier, number);
create index supplier_invoice_withheld on supplier_invoice (withheld_by) where withheld_by is not null;
comment on column supplier_invoice.withheld_by is 'It was paid by being withheld from the payouts payout_ids';

create table supplier_invoice_line (
  document_id uuid not null,
  position int not null,
  cost text not null,
  label text,
  net numeric not null,
  tax numeric not null,
  rate numeric,
  asset boolean not null,
  payee text,
  primary key (document_id, position)
);
"""

SUMMARIES = """
alter table journal_entry add column summarised_in uuid;
create index journal_entry_summary on journal_entry (summarised_in) where summarised_in is not null;
comment on column journal_entry.summarised_in is 'It goes out within this entry of its day; null: it goes out itself';
"""


def upgrade() -> None:
    """Creates the tables of settlements, closings and purchases."""
    driver: Any = op.get_bind().connection.driver_connection
    for script in (PAYOUTS, CLOSINGS, INVOICES, SUMMARIES):
        driver.execute(script)
