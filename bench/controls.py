"""What must hold in the books of a simulated year: VAT sheets, OSS, and every account that has to clear."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from comptoir.domain.accounts import AccountMap
from comptoir.domain.clearing import clearing, negative_cash, open_items
from comptoir.domain.gift_cards import gift_cards_off
from comptoir.domain.vat_return import VatSheet, vat_sheet
from comptoir.model.payout import Payout

from bench.ledger import Spool, books, months
from bench.measure import Differs
from bench.trade import LAST

__all__ = ["control"]

#: VAT account -> box of the return that its balance is. Written by hand, not taken from the sheet's own tables.
_TAX = {
    "445711": "08", "445200": "08", "445712": "09", "4457181": "10", "4457182": "11", "4457192": "T4", "445660": "20",
    "445662": "20",
}  # fmt: skip


def control(folder: Path) -> dict[str, Any]:
    """Holds the VAT sheets against the balances and explains the accounts that must clear; Differs when one is off."""
    facts, accounts, spool = json.loads((folder / "facts.json").read_text("utf-8")), books(), Spool(folder)
    balances: dict[str, dict[str, int]] = {}
    for account, month, debit, credit in facts["sums"]:
        balances.setdefault(month, {})[account] = credit - debit
    oss: dict[str, int] = {}
    for first, last in months():
        sheet = vat_sheet(spool.journal(first, last), accounts=accounts, first=first, last=last)
        _same_vat(f"{first:%Y-%m}", sheet, balances.get(f"{first:%Y-%m}", {}))
        for line in sheet.oss:
            oss[line.country] = oss.get(line.country, 0) + int(line.tax.scaleb(2))
    if {country: amount for country, amount in sorted(oss.items()) if amount} != facts["oss"]:
        raise Differs(f"OSS: the sheets have {oss} cents, the orders {facts['oss']}")
    _same(
        "VAT that waits for a fee invoice", _balance(facts, accounts.vat_books.awaiting_invoice), facts["waiting_vat"]
    )
    owed = open_items(spool.journal(), accounts.channel("web").customer_account)
    _same("what customers of the shop owe", {n: int(a.scaleb(2)) for n, a in owed.items()}, facts["disputed"])
    worth = {ref: Decimal(left).scaleb(-2) for ref, left in facts["cards"].items()}
    _same("gift cards", gift_cards_off(spool.journal(), worth, accounts=accounts), Decimal(0))
    below = [day.isoformat() for day in negative_cash(spool.journal(), "530000")]
    known = [day for day in below if any(first <= day < posted for first, posted in facts["without_cash"])]
    _same("days on which the drawer is below zero, and no Z is missing", sorted(set(below) - set(known)), [])
    return {"clearing": _clear(folder, spool, accounts, facts), "drawer_below_zero": known}


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Differs(f"{what}: {found}, not {expected}")


def _balance(facts: dict[str, Any], account: str) -> int:
    return sum(row[2] - row[3] for row in facts["sums"] if row[0] == account)


def _same_vat(month: str, sheet: VatSheet, balances: dict[str, int]) -> None:
    """Boxes and OSS countries against what the month's accounts hold (credit positive, cents)."""
    if sheet.differences or sheet.unplaced:
        raise Differs(f"{month}: the VAT sheet leaves {dict(sheet.differences)} and {dict(sheet.unplaced)}")
    tax: dict[str, int] = {}
    base: dict[str, int] = {}
    oss: dict[str, int] = {}
    for account, credit in balances.items():
        if account in _TAX:
            box = _TAX[account]
            tax[box] = tax.get(box, 0) + (-credit if box == "20" else credit)
        elif account.startswith("445717"):
            oss[account[6:]] = oss.get(account[6:], 0) + credit
        elif account.startswith("4457"):
            raise Differs(f"{month}: the VAT account {account} is in no box of the bench")
        for box in _bases(account):
            sign = -1 if account[0] == "6" else 1
            base[box] = base.get(box, 0) + sign * credit
    _same(f"{month}: tax by box", _boxes(sheet, "tax"), _nonzero(tax))
    _same(f"{month}: net amounts by box", _boxes(sheet, "base"), _nonzero(base))
    by_country: dict[str, int] = {}
    for line in sheet.oss:
        by_country[line.country] = by_country.get(line.country, 0) + int(line.tax.scaleb(2))
    _same(f"{month}: OSS by country", _nonzero(by_country), _nonzero(oss))


def _bases(account: str) -> tuple[str, ...]:
    """The boxes that an account's balance is the net amount of."""
    taxed = {"1": "08", "2": "09"}
    if account.startswith(("7071", "7072", "70851", "70852")) and len(account) == 6:
        return taxed[account[3] if account.startswith("707") else account[4]], "A1"
    for begins, box in (
        (("707811", "708581", "7085811"), "10"),
        (("707812",), "11"),
        (("707822",), "T4"),
    ):
        if account.startswith(begins):
            return box, "A1"
    return {
        "707500": ("E3",), "708550": ("E3",), "707600": ("F2",), "708560": ("F2",), "707710": ("E1",),
        "708571": ("E1",), "707720": ("E1",), "708572": ("E1",), "707730": ("E2",), "708573": ("E2",),
        "607500": ("B2", "08"), "623500": ("A3", "08"),
    }.get(account, ())  # fmt: skip


def _boxes(sheet: VatSheet, what: str) -> dict[str, int]:
    return _nonzero({name: int(getattr(box, what).scaleb(2)) for name, box in sheet.boxes.items()})


def _nonzero(values: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in sorted(values.items()) if value}


def _clear(folder: Path, spool: Spool, accounts: AccountMap, facts: dict[str, Any]) -> dict[str, Any]:
    """At the end of the year each provider's account is zero, or each cent of it has a reason."""
    with (folder / "payouts").open(encoding="utf-8") as file:
        payouts = [Payout.model_validate_json(line) for line in file]
    found: dict[str, Any] = {}
    for name in accounts.providers:
        own = [payout for payout in payouts if payout.provider == name]
        state = clearing(name, spool.journal(), own, accounts=accounts, as_of=LAST)
        if state.unexplained:
            raise Differs(f"{name}: {state.unexplained} of {state.balance} is not explained")
        _same(f"balance of {name}", int(state.balance.scaleb(2)), facts["stands"].get(name, 0))
        reasons: dict[str, Decimal] = {}
        for item in state.items:
            reasons[item.reason] = reasons.get(item.reason, Decimal(0)) + item.amount
        found[name] = {"balance": str(state.balance), **{reason: str(sum_) for reason, sum_ in reasons.items()}}
    return found
