"""The accounts of gateways and marketplaces in the stored journal: balance and every reason for it, by set-based SQL.

The rules are those of `comptoir.domain.clearing`, which a test holds this against; here nothing is loaded, so that a
year of payouts takes no more memory than a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from comptoir.domain.account_settings import Provider
from comptoir.store.database import Session

__all__ = ["Clearings", "OpenWithCustomers", "ProviderAccount", "Reason"]

_QUERY = """
with own as (
  select id, connection, external_id, number, period_end, opening, closing, remainder from payout
  where provider = %(provider)s and paid_on <= %(as_of)s and not before_cutover
),
last as (select coalesce(max(period_end), '-infinity'::date) as day from own),
moved as (
  select j.document_id, j.document, j.posted_on,
    sum(case l.side when 'D' then l.amount else -l.amount end) as amount
  from journal_line l join journal_entry j on j.id = l.entry_id
  where l.account = %(account)s and j.withdrawn_in is null and j.kind <> 'summary' and j.posted_on <= %(as_of)s
  group by 1, 2, 3
),
booked as (
  select document, sum(amount) as amount,
    coalesce(sum(amount) filter (where posted_on > (select day from last)), 0) as recent
  from moved where document_id not in (select id from payout where provider = %(provider)s) group by 1
),
lines as (
  select o.number, l.external_id, l.kind, l.order_number, l.amount, exists (
    select 1 from opening_item i where i.connection = o.connection and i.entity = 'payout'
    and i.external_id = o.external_id || '/' || l.external_id
  ) as old
  from own o join payout_line l on l.document_id = o.id
),
named as (select * from lines where %(by_order)s and kind in ('sale', 'refund')),
listed as (select order_number, sum(amount) as amount from named where not old and order_number is not null group by 1),
items as (
  select 'opening' as reason, coalesce(order_number, number) as document, -amount as amount from named where old
  union all select 'no_order', number || '/' || external_id, -amount from named where not old and order_number is null
  union all select 'reserve', number, -amount from lines where kind = 'reserve'
  union all select 'carried', number, closing - opening from own
  union all select 'remainder', number, -remainder from own where abs(remainder) > %(tolerance)s
  union all select 'not_paid_out', b.document, b.recent from booked b
    where not exists (select 1 from listed l where l.order_number = b.document)
  union all select 'not_listed', b.document, b.amount - b.recent from booked b
    where not exists (select 1 from listed l where l.order_number = b.document)
  union all select case when b.document is null then 'not_booked'
    when b.amount - l.amount = b.recent then 'not_paid_out' else 'amount_differs' end,
    l.order_number, coalesce(b.amount, 0) - l.amount
    from listed l left join booked b on b.document = l.order_number
)
select reason, count(*), sum(amount), (array_agg(document order by abs(amount) desc, document))[1:5]
from items where amount <> 0 group by 1
union all select '', 0, coalesce((select sum(amount) from moved), 0), '{}'
order by 1
"""


_CUSTOMERS = """
with open as (
  select l.account, j.document, max(j.posted_on) as last,
    sum(case l.side when 'D' then l.amount else -l.amount end) as amount
  from journal_line l join journal_entry j on j.id = l.entry_id
  where l.account like '411%%' and not l.account = any(%(without)s) and j.withdrawn_in is null and j.kind <> 'summary'
    and j.posted_on <= %(as_of)s
  group by 1, 2
)
select account, amount < 0, count(*), sum(amount), min(last),
  (array_agg(document order by abs(amount) desc, document))[1:5]
from open where amount <> 0 and last <= %(until)s group by 1, 2 order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class OpenWithCustomers:
    """What is not even on a customers' account: they owe it (`amount` above zero), or are owed it. `since` is the last
    day on which the oldest of these documents moved.
    """

    account: str
    documents: int
    amount: Decimal
    since: date
    largest: Sequence[str]


@dataclass(frozen=True, slots=True)
class Reason:
    """A part of a balance (debit positive): a code of `domain.clearing.REASONS`, how many documents it is about, and
    those with the largest amounts.
    """

    reason: str
    documents: int
    amount: Decimal
    largest: Sequence[str]


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """A provider's account. `unexplained` is zero unless an entry is missing, foreign or altered."""

    provider: str
    account: str
    balance: Decimal
    reasons: Sequence[Reason]

    @property
    def unexplained(self) -> Decimal:
        """What no reason covers."""
        return self.balance - sum((reason.amount for reason in self.reasons), Decimal(0))


class Clearings:
    """Accounts that return to zero after each payout."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def state(self, name: str, provider: Provider, as_of: date) -> ProviderAccount:
        """The account of a provider at the end of a day."""
        rows = self._session.rows(
            _QUERY,
            {
                "provider": name, "account": provider.account, "as_of": as_of, "tolerance": provider.tolerance,
                "by_order": provider.clears == "orders",
            },
        )  # fmt: skip
        reasons = [Reason(*row) for row in rows if row[0]]
        return ProviderAccount(name, provider.account, rows[0][2], reasons)

    def customers(self, as_of: date, until: date, without: Sequence[str]) -> list[OpenWithCustomers]:
        """What customers owe, and what they are owed, by account (411), of documents that did not move after `until`.

        `without` are the accounts of marketplaces' customers, which a settlement pays as a whole.
        """
        rows = self._session.rows(_CUSTOMERS, {"as_of": as_of, "until": until, "without": list(without)})
        return [
            OpenWithCustomers(account, number, amount, since, largest)
            for account, _, number, amount, since, largest in rows
        ]

    def providers(self) -> list[str]:
        """Those that have paid out."""
        return [row[0] for row in self._session.rows("select distinct provider from payout order by 1")]
