"""First tables: sync group, parties, catalogue, sales, journal.

Plain DDL, because it is what runs: the store's repositories are SQL too (docs/adr/0007). Child rows have no foreign
keys where a bulk load would pay for a trigger on each of them; they are only ever written together with their parent,
in one transaction, by `comptoir.store.documents`, and `tests/integration` checks that none is orphaned.
"""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQL takes the time from one settable function, so that the simulation's clock rules the database too.
FUNCTIONS = """
create function comptoir_now() returns timestamptz language sql stable as $$
  select coalesce(
    nullif(current_setting('comptoir.now', true), '')::timestamptz,
    clock_timestamp() -- ports: the settable function falls back on the real clock
  )
$$;

create function comptoir_raw_partition(month date) returns void language plpgsql as $$
declare
  first date := date_trunc('month', month)::date;
  part text := 'raw_payload_' || to_char(date_trunc('month', month), 'YYYY_MM');
begin
  if to_regclass(part) is null then
    perform pg_advisory_xact_lock(hashtext('comptoir_raw_partition'));
    execute format(
      'create table if not exists %I partition of raw_payload for values from (%L) to (%L)',
      part, first, (first + interval '1 month')::date);
  end if;
end $$;
"""

SYNC = """
create table cursor_position (
  connection text not null,
  entity text not null,
  scope text not null default '',
  watermark timestamptz,
  position jsonb,
  window_started timestamptz,
  version int not null default 1,
  updated_at timestamptz not null,
  primary key (connection, entity, scope)
);
comment on table cursor_position is 'Where the next pull starts; watermark moves only after a complete window';

create table stored_text (
  hash text primary key,
  kind text not null,
  name text not null,
  body text not null,
  stored_at timestamptz not null
);
comment on table stored_text is 'Mapping and configuration texts by hash; provenance cites the hash';

create table raw_record (
  id uuid primary key,
  connection text not null,
  entity text not null,
  external_id text not null,
  fingerprint bytea not null,
  state text not null check (state in ('mapped', 'parked')),
  record_id uuid,
  version int not null,
  source_modified_at timestamptz,
  received_at timestamptz not null,
  unique (connection, entity, external_id)
);

create table raw_payload (
  raw_id uuid not null,
  version int not null,
  received_at timestamptz not null,
  key_id text not null,
  body bytea not null
) partition by range (received_at);
create index on raw_payload (raw_id);
comment on table raw_payload is 'What the platform sent, compressed and encrypted; partitions are dropped when due';

create table binding (
  id uuid primary key,
  record_id uuid not null,
  connection text not null,
  entity text not null,
  external_id text not null,
  role text not null default 'primary',
  state text not null check (state in ('linked', 'suggested', 'broken', 'tombstone')),
  natural_key text,
  remote_version text,
  confirmed_hash text,
  first_seen timestamptz not null,
  last_seen timestamptz not null
);
create unique index binding_external on binding (connection, entity, external_id, role) where state <> 'tombstone';
create index binding_record on binding (record_id, connection);

create table delivery (
  id uuid primary key,
  target text not null,
  entity text not null,
  record_id uuid not null,
  source text not null,
  route text not null,
  natural_key text not null,
  action text not null check (action in ('create', 'update')),
  state text not null check (state in ('held', 'pending', 'sent', 'in_doubt', 'confirmed', 'dead')),
  outcome text not null default 'unknown' check (outcome in ('unknown', 'accepted', 'rejected')),
  content_hash text,
  batch_id uuid,
  attempt int not null default 0,
  fence bigint not null default 0,
  lease_holder text,
  lease_until timestamptz,
  due_at timestamptz not null,
  external_id text,
  reason text,
  created_at timestamptz not null,
  sent_at timestamptz,
  settled_at timestamptz
);
create unique index delivery_open on delivery (target, entity, record_id)
  where state in ('held', 'pending', 'sent', 'in_doubt');
create index delivery_due on delivery (target, state, due_at) where state in ('held', 'pending', 'sent', 'in_doubt');
create index delivery_record on delivery (record_id);
create index delivery_key on delivery (target, entity, natural_key);
create sequence delivery_fence;

create table dirty (
  kind text not null,
  record_id uuid not null,
  marked_at timestamptz not null,
  primary key (kind, record_id)
);
comment on table dirty is 'Records whose derived documents must be computed again; filled with the change itself';

create table quarantine (
  id uuid primary key,
  connection text not null,
  entity text not null,
  external_id text not null,
  record_id uuid,
  target text,
  cause text not null,
  field text,
  message text not null,
  hint text,
  state text not null check (state in ('open', 'resolved')),
  times int not null default 1,
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  resolved_because text
);
create unique index quarantine_open on quarantine (connection, entity, external_id, coalesce(target, ''))
  where state = 'open';

create table run (
  id uuid primary key,
  route text not null,
  trigger text not null,
  state text not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  counts jsonb not null default '{}',
  error text
);
create index run_route on run (route, started_at desc);

create table outcome (
  run_id uuid not null,
  connection text not null,
  entity text not null,
  external_id text not null,
  outcome text not null,
  reason text
);
create index outcome_run on outcome (run_id);
comment on table outcome is 'Everything a run did not simply do: skipped, parked, rejected; unchanged is only counted';

create table opening_item (
  id uuid primary key,
  connection text not null,
  entity text not null,
  external_id text not null,
  names text not null,
  amount numeric,
  currency text,
  dated_on date,
  reason text not null,
  listed_at timestamptz not null,
  unique (connection, entity, external_id)
);
comment on table opening_item is 'Later documents that name one from before the cutover: for the opening account';
"""

DOCUMENTS = """
create table sales_order (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  number text not null,
  source_status text not null,
  ordered_at timestamptz not null,
  ordered_on date not null,
  source_zone text,
  original_time text,
  modified_at timestamptz,
  paid_at timestamptz,
  completed_at timestamptz,
  currency text not null,
  price_basis text not null,
  rounding_level text not null,
  rounding_mode text not null,
  customer_id text,
  account text not null,
  ship_country text,
  payment_state text not null,
  fulfilment_state text not null,
  return_state text not null,
  hold text not null,
  payment_method text,
  group_ref text,
  total numeric not null,
  total_tax numeric not null,
  total_shipping numeric,
  total_shipping_tax numeric,
  total_discount numeric,
  total_discount_tax numeric,
  computed_total numeric not null,
  residual numeric not null,
  residual_cause text,
  refund_ids text[] not null default '{}',
  before_cutover boolean not null,
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index sales_order_number on sales_order (number);
create index sales_order_external on sales_order (connection, external_id);

create table order_line (
  document_id uuid not null,
  position int not null,
  external_id text not null,
  kind text not null,
  item_id text,
  sku text,
  gtin text,
  name text not null,
  quantity numeric not null,
  unit text not null,
  unit_price numeric not null,
  list_net numeric not null,
  list_tax numeric not null,
  net numeric not null,
  tax numeric not null,
  primary key (document_id, position)
);

create table refund (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  number text not null,
  order_external_id text not null,
  order_number text not null,
  refunded_at timestamptz not null,
  refunded_on date not null,
  currency text not null,
  amount numeric not null,
  payment_method text not null,
  before_cutover boolean not null,
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index refund_order on refund (connection, order_external_id);

create table refund_line (
  document_id uuid not null,
  position int not null,
  external_id text not null,
  order_line_id text,
  sku text,
  name text not null,
  quantity numeric not null,
  net numeric not null,
  tax numeric not null,
  primary key (document_id, position)
);

create table document_charge (
  document_id uuid not null,
  position int not null,
  external_id text not null,
  kind text not null,
  label text not null,
  method text,
  net numeric not null,
  tax numeric not null,
  primary key (document_id, position)
);

create table document_discount (
  document_id uuid not null,
  position int not null,
  external_id text not null,
  code text not null,
  net numeric not null,
  tax numeric not null,
  primary key (document_id, position)
);

create table document_payment (
  document_id uuid not null,
  position int not null,
  method text not null,
  source_method text not null,
  label text,
  provider_ref text,
  amount numeric not null,
  paid_at timestamptz,
  primary key (document_id, position)
);

create table document_tax (
  document_id uuid not null,
  owner text not null,
  position int not null,
  seq int not null,
  category text not null,
  rate numeric not null,
  base numeric not null,
  amount numeric not null,
  country text,
  scheme text not null,
  collected_by text not null,
  source_code text,
  label text
);
create index document_tax_document on document_tax (document_id);

create table personal_party (
  document_id uuid not null,
  role text not null,
  kind text,
  company text,
  first_name text,
  last_name text,
  email text,
  phone text,
  vat_id text,
  siren text,
  siret text,
  languages text[],
  lines text[],
  postcode text,
  city text,
  region text,
  country text,
  pickup_point text,
  note text,
  extra jsonb,
  primary key (document_id, role)
);
comment on table personal_party is 'All personal data of documents and customers, and only here; erased by role';

create table customer (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  account text not null,
  groups text[] not null default '{}',
  price_list text,
  tax_exempt boolean not null,
  registered_at timestamptz,
  modified_at timestamptz,
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index customer_external on customer (connection, external_id);

create table item (
  id uuid primary key,
  connection text not null,
  external_id text not null,
  product_id text,
  sku text,
  gtins text[] not null default '{}',
  name text not null,
  kind text not null,
  state text not null,
  unit text not null,
  options jsonb not null default '[]',
  weight_kg numeric,
  customs_code text,
  tax_category text,
  tax_rate numeric,
  source_stock numeric,
  modified_at timestamptz,
  extra jsonb not null default '{}',
  raw_id uuid not null,
  mapping_hash text not null,
  rev int not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index item_sku on item (sku);
create index item_external on item (connection, external_id);

create table item_price (
  document_id uuid not null,
  position int not null,
  price_list text not null,
  amount numeric not null,
  currency text not null,
  basis text not null,
  minimum_quantity numeric,
  valid_from date,
  valid_to date,
  primary key (document_id, position)
);

create table journal_entry (
  id uuid primary key,
  seq bigint generated always as identity unique,
  key text not null unique,
  document_id uuid not null,
  kind text not null,
  journal text not null,
  journal_label text not null,
  piece text not null,
  posted_on date not null,
  label text not null,
  currency text not null,
  connection text not null,
  document text not null,
  total numeric not null,
  reverses text,
  flags text[] not null default '{}',
  created_at timestamptz not null
);
create index journal_entry_document on journal_entry (document_id);
create index journal_entry_posted on journal_entry (posted_on);

create table journal_line (
  entry_id uuid not null references journal_entry (id),
  position int not null,
  account text not null,
  account_label text not null,
  third_party text,
  third_party_label text,
  label text not null,
  side text not null check (side in ('D', 'C')),
  amount numeric not null check (amount >= 0),
  due_on date,
  primary key (entry_id, position)
);

-- The last word on balance is the database's own, at commit.
create function comptoir_entry_balances() returns trigger language plpgsql as $$
declare difference numeric;
begin
  select sum(case side when 'D' then amount else -amount end) into difference
    from journal_line where entry_id = new.id;
  if difference is distinct from 0 then
    raise exception 'journal entry % does not balance: %', new.key, difference using errcode = 'check_violation';
  end if;
  return null;
end $$;
create constraint trigger journal_entry_balances after insert on journal_entry
  deferrable initially deferred for each row execute function comptoir_entry_balances();
"""


def upgrade() -> None:
    """Creates everything."""
    # Straight to psycopg: SQLAlchemy would take the % of format() for a placeholder.
    driver: Any = op.get_bind().connection.driver_connection
    for script in (FUNCTIONS, SYNC, DOCUMENTS):
        driver.execute(script)
