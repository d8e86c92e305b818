"""What was paid before the sale: deposits with their VAT, and their use by the sale (sales-accounting §7).

A deposit stands tax included on 4191. Its VAT is due at once (goods, since 2023): collected against 44587, and taken
back from there when the sale declares the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import Posting, total
from comptoir.domain.shares import Share
from comptoir.model.money import allocate, round_money

__all__ = ["Deposits"]

_ZERO = Decimal(0)
_Vat = tuple[str, str | None, Decimal]


class Deposits:
    """The deposits of one order: what is left of them, and of their VAT by account."""

    def __init__(self, shares: Sequence[Share], claim: Decimal, accounts: AccountMap, currency: str) -> None:
        self._accounts = accounts
        self._currency = currency
        self._claim = claim
        self._gross: dict[_Vat | None, Decimal] = {}
        self._tax: dict[_Vat, Decimal] = {}
        for share in shares:
            key = None if share.vat_account is None else (share.vat_account, share.code, share.rate)
            self._gross[key] = self._gross.get(key, _ZERO) + share.gross
            if key is not None:
                self._tax[key] = self._tax.get(key, _ZERO) + share.tax
        self._paid = _ZERO
        self._given: dict[_Vat, Decimal] = {}
        self.left = _ZERO
        self._vat_left: dict[_Vat, Decimal] = {}

    def take(self, amount: Decimal) -> list[Posting]:
        """Books a deposit: 4191 against the VAT accounts. The money's own posting is the caller's."""
        before = self._vat_of(self._paid)
        self._paid += amount
        self.left += amount
        after = self._vat_of(self._paid)
        postings = [Posting(self._accounts.deposit_account, -amount)]
        for key, tax in after.items():
            due = tax - before.get(key, _ZERO)
            self._vat_left[key] = self._vat_left.get(key, _ZERO) + due
            postings += self._vat(key, due)
        return postings

    def use(self, claim: Decimal) -> tuple[Decimal, list[Posting]]:
        """How much of the deposits a sale of `claim` uses, and the postings that use it, its VAT included."""
        return self._release(min(self.left, claim))

    def give_back(self, amount: Decimal) -> list[Posting]:
        """A deposit that is paid back before any sale."""
        return self._release(min(self.left, amount))[1]

    def _release(self, amount: Decimal) -> tuple[Decimal, list[Posting]]:
        if amount <= 0:
            return _ZERO, []
        whole = amount == self.left
        postings = [Posting(self._accounts.deposit_account, amount)]
        for key, tax in self._vat_left.items():
            part = tax if whole else round_money(tax * amount / self.left, self._currency)
            self._vat_left[key] = tax - part
            postings += self._vat(key, -part)
        self.left -= amount
        return amount, postings

    def _vat(self, key: _Vat, due: Decimal) -> list[Posting]:
        account, code, rate = key
        return [
            Posting(self._accounts.vat_books.on_deposits, due),
            Posting(account, -due, vat_code=None if code is None else f"deposit-{code}", vat_rate=rate),
        ]

    def _vat_of(self, paid: Decimal) -> dict[_Vat, Decimal]:
        """The VAT in what was paid: shared out by what each rate has in the whole, exact for the whole."""
        paid = min(paid, self._claim)
        keys = list(self._gross)
        weights = [max(self._gross[key], _ZERO) for key in keys]
        if paid <= 0 or not total(weights):
            return {}
        found: dict[_Vat, Decimal] = {}
        for key, part in zip(keys, allocate(paid, weights, self._currency), strict=True):
            if key is None or not part:
                continue
            tax = self._tax[key]
            if paid < self._claim:
                tax = part * tax / self._gross[key]
            found[key] = round_money(tax, self._currency)
        return found
