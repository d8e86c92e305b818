"""The journal of a simulated year, made day by day as the hub would and laid down on disk by posting day.

All of it by the pure functions of `comptoir.domain`. Memory does not grow with the year: what must wait (orders that
may come back, payments that no payout has listed) is that of some weeks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from comptoir.domain.accounts import AccountMap
from comptoir.domain.journal import derive_entries
from comptoir.domain.payouts import fee_invoice_entry, payout_entries
from comptoir.domain.periods import into_open_period, refuse_locked
from comptoir.domain.purchases import supplier_entry
from comptoir.domain.tills import z_entries
from comptoir.mapping import load_mapping
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.paths import mappings_dir
from comptoir.sdk.journal.linter import Sums

from bench.measure import Differs
from bench.trade import FIRST, LAST, Day, Merchant

__all__ = ["Spool", "books", "make_journal", "months"]


def books() -> AccountMap:
    """The merchant's accounts: the proposal, with a marketplace, a till and two kinds of cost."""
    place = {"account": "467100", "journal": "AM", "journal_label": "Place"}
    return AccountMap(
        gift_cards="multi_purpose",
        payments={"marketplace": {**place, "posted_by": "payout"}},
        providers={
            "stripe": {"channel": "web"},
            "place": {**place, "clears": "payouts", "channel": "place", "fee_vat": "domestic", "fee_rate": Decimal(20)},
        },
        channels={"web": {"piece_prefix": "W"}, "place": {"piece_prefix": "M"}},
        purchases={"costs": {"goods_eu": "607500", "ads_eu": "623500"}},
        labels={"467100": "Place de marché"},
    ).for_company(country="FR", currency="EUR")


class Spool:
    """The journal on disk, one file a posting day, and beside it what the writers are given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("journal", "payloads"):
            (folder / name).mkdir(exist_ok=True)
        self._mapping = load_mapping("sage", "journal_entry", "out", [mappings_dir()])

    def add(self, entries: list[JournalEntry]) -> None:
        """Lays entries down under their days, in their order."""
        for day in dict.fromkeys(entry.posted_on for entry in entries):
            of_day = [entry for entry in entries if entry.posted_on == day]
            texts = {
                "journal": [entry.model_dump_json() for entry in of_day],
                "payloads": [json.dumps(self._mapping.apply(entry, {})) for entry in of_day],
            }
            for name, lines in texts.items():
                with (self._folder / name / day.isoformat()).open("a", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in lines)

    def journal(self, first: date = FIRST, last: date = LAST) -> Iterator[JournalEntry]:
        """The entries of a period by their days, within a day as they came."""
        for line in self._lines("journal", first, last):
            yield JournalEntry.model_validate_json(line)

    def payloads(self, first: date = FIRST, last: date = LAST) -> Iterator[dict[str, Any]]:
        """What a writer is given of them."""
        for line in self._lines("payloads", first, last):
            yield json.loads(line)

    def _lines(self, name: str, first: date, last: date) -> Iterator[str]:
        for path in sorted((self._folder / name).iterdir()):
            if first <= date.fromisoformat(path.name) <= last:
                with path.open(encoding="utf-8") as file:
                    yield from file


def months() -> list[tuple[date, date]]:
    """First and last day of each month of the year."""
    firsts = [date(FIRST.year, month, 1) for month in range(1, 13)]
    return [(a, b - timedelta(days=1)) for a, b in zip(firsts, [*firsts[1:], LAST + timedelta(days=1)], strict=True)]


class _Ledger:
    """Makes the entries of each day as the hub would, and adds up what it made in integer cents."""

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.accounts = books()
        self.sums: Sums = {}
        self.kinds: dict[str, int] = {}
        self.flags: dict[str, int] = {}
        self.lines = 0
        #: From the day of a Z that came late to the day that it was posted on, its cash is missing in the books.
        self.without_cash: list[tuple[str, str]] = []
        self._balances = dict.fromkeys((p.account for p in self.accounts.providers.values()), 0)
        self._payouts: dict[str, list[JournalEntry]] = {}

    def day(self, day: Day) -> list[JournalEntry]:
        """What the day's documents call for; what falls into a closed month goes to the open one."""
        accounts = self.accounts
        found: list[JournalEntry] = []
        for order in day.orders:
            found += derive_entries(order, (), channel=accounts.channel(order.channel), accounts=accounts)
        for order, refund in day.refunds:
            channel = accounts.channel(order.channel)
            found += [
                entry
                for entry in derive_entries(order, (refund,), channel=channel, accounts=accounts)
                if f"/refund/{refund.external_id}/" in entry.key
            ]
        for report in day.closings:
            found += z_entries(report, accounts=accounts)
        for payout in day.payouts:
            made = payout_entries(payout, accounts=accounts)
            found += made
            if payout.provider == "place":
                self._payouts[payout.external_id] = made
        for invoice in day.fee_invoices:
            posted = [entry for name in invoice.payout_ids for entry in self._payouts.pop(name)]
            moved = fee_invoice_entry(invoice, posted, accounts=accounts)
            if moved is None:
                raise Differs(f"the fee invoice {invoice.number} moves nothing")
            found.append(moved)
        found += [supplier_entry(invoice, accounts=accounts) for invoice in day.purchases]
        as_closed = accounts.model_copy(update={"locked_until": day.locked_until})
        found = into_open_period(found, accounts=as_closed, today=day.today)
        refuse_locked(found, accounts=as_closed)
        self._count(found)
        self._compare(day.today)
        return [entry for entry in found if entry.posted_on <= LAST]

    def _count(self, entries: list[JournalEntry]) -> None:
        for entry in entries:
            if entry.posted_on > LAST:
                continue
            if entry.kind is EntryKind.TILL and "late" in entry.flags:
                self.without_cash.append((str(entry.document_on), str(entry.posted_on)))
            self.kinds[entry.kind.value] = self.kinds.get(entry.kind.value, 0) + 1
            for flag in entry.flags:
                self.flags[flag] = self.flags.get(flag, 0) + 1
            for line in entry.lines:
                self.lines += 1
                key = (line.account, "", f"{entry.posted_on:%Y-%m}")
                debit, credit = self.sums.get(key, (0, 0))
                amount = int(line.amount.scaleb(2))
                of_debit = line.side.value == "D"
                self.sums[key] = (debit + amount, credit) if of_debit else (debit, credit + amount)
                if line.account in self._balances:
                    self._balances[line.account] += amount if of_debit else -amount

    def _compare(self, today: date) -> None:
        """Each evening the account of each provider holds what the provider's own story says, to the cent."""
        for provider in (self.merchant.gateway, self.merchant.market):
            balance = self._balances[self.accounts.providers[provider.name].account]
            if balance != provider.stands:
                raise Differs(f"{today}: the account of {provider.name} holds {balance} cents, not {provider.stands}")


def make_journal(orders: int, folder: Path, seed: int | None = None) -> dict[str, Any]:
    """Lays the year's journal down in `folder`; what was made, and what the merchant should find in it.

    Raises Differs when a provider's account does not hold on an evening what the provider's own story says.
    """
    merchant = Merchant(orders) if seed is None else Merchant(orders, seed)
    ledger, spool = _Ledger(merchant), Spool(folder)
    payouts = 0
    with (folder / "payouts").open("w", encoding="utf-8") as file:
        for day in merchant.days():
            spool.add(ledger.day(day))
            for payout in day.payouts:
                payouts += 1
                file.write(payout.model_dump_json() + "\n")
    waiting = sum(vat for payout, vat in merchant.market.to_invoice)
    facts = {
        "orders": orders,
        "entries": sum(ledger.kinds.values()),
        "lines": ledger.lines,
        "payouts": payouts,
        "kinds": ledger.kinds,
        "flags": ledger.flags,
        "sums": [[account, month, *value] for (account, _, month), value in sorted(ledger.sums.items())],
        "oss": {country: amount for country, amount in sorted(merchant.oss_tax.items()) if amount},
        "cards": merchant.cards,
        "disputed": merchant.gateway.disputed,
        "forgotten": merchant.gateway.forgotten,
        "without_cash": ledger.without_cash,
        "stands": {p.name: p.stands for p in (merchant.gateway, merchant.market)},
        "waiting_vat": waiting,
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return facts
