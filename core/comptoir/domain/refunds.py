"""Credit notes and what was paid back (sales-accounting §3): by the rates of the sale, the way the money came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from comptoir.domain.accounts import MoneyAccount
from comptoir.domain.deposits import Deposits
from comptoir.domain.entries import Posting, total
from comptoir.domain.order_books import CREDIT_NOTE, SALE, OrderBooks
from comptoir.domain.shares import Share, check_vat, gift_card_kind, part_shares
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import TaxLine, allocate, round_money
from comptoir.model.order import Charge, CreditNote, OrderLine, Payment, PaymentMethod, Refund, RefundLine

__all__ = ["Refunds"]

_ZERO = Decimal(0)
_Key = tuple[str, str | None, Decimal | None]


class Refunds:
    """The refunds of one order, in the order in which they happened."""

    def __init__(
        self,
        books: OrderBooks,
        shares: Sequence[Share],
        claim: Decimal,
        credit_notes: Mapping[str, CreditNote],
        deposits: Deposits | None,
    ) -> None:
        self._books = books
        self._left = _Left(shares)
        self._claim = claim
        self._credit_notes = credit_notes
        self._deposits = deposits
        self._tenders = _tenders(books)
        self._sold = shares
        #: What the sale has put on each account and no credit note has taken back, in whole cents.
        self._standing: dict[_Key, Decimal] = {}

    def of_deposit(self, refund: Refund) -> list[JournalEntry | None]:
        """A deposit that is given back before any sale: no credit note, its VAT goes back to 44587."""
        books, deposits = self._books, self._deposits
        paid_back = self._paid_back(refund, refund.amount)
        posted = total(amount for money, _, amount in paid_back if money.posted_by == "order")
        if deposits is None or posted > deposits.left:
            raise books.park(
                "money was given back on an order whose sale is not booked",
                "refund_ids",
                "refund_before_sale",
                "Look at the order's state in the shop.",
            )
        return self._payment(refund, paid_back, deposits.give_back)

    def entries(self, refund: Refund) -> list[JournalEntry | None]:
        """Credit note and payment of one refund."""
        books = self._books
        shares, rebate = self._shares(refund)
        check_vat(shares, order=books.order, accounts=books.accounts)
        given = refund.amount - total(s.withheld for s in shares)
        if given == 0 and not shares:
            return []  # goods came back without money
        left = self._left
        left.given += given
        if left.given > self._claim + books.accounts.tolerance:
            raise books.park(
                f"{left.given} was given back and {self._claim} was sold",
                "refund_ids",
                "refund_exceeds_sale",
                "What is given beyond the sale is no credit note: book it by hand.",
            )
        flags: list[str] = ["rebate"] if rebate else []
        explained = round_money(total(s.gross for s in shares), books.channel.currency)
        open_amount = given - explained
        left.take(shares)
        if open_amount > books.accounts.tolerance or (open_amount and not shares):
            flags.append("allocated_by_rule")
            # The refund that gives back the last of a sale undoes it whole: what rounding had added or taken is not
            # shared out, it goes back over its own line.
            rest = left.open(books.channel.currency)
            ends = left.given == self._claim and abs(rest - open_amount) <= books.accounts.tolerance
            shares += left.allocate(rest if ends else open_amount, books.channel.currency)
        customer, postings = books.document_postings(shares, given, CREDIT_NOTE, flags)
        if books.channel.sale_per == "order":
            if not self._standing:
                self._count(books.document_postings(self._sold, self._claim, SALE, [])[1])
            if left.given == self._claim:
                postings = self._closing(postings)
            self._count(postings)
        note = self._credit_notes.get(refund.external_id)
        if note is not None and (
            note.currency != refund.currency or abs(note.net + note.tax - given) > books.accounts.tolerance
        ):
            raise books.park(
                f"the credit note {note.number} is of {note.net + note.tax} {note.currency} and {given} "
                f"{refund.currency} was given back",
                "refund_ids",
                "invoice_total",
                "Look at the credit note: it is posted only with the amount that it says.",
            )
        credit = books.entry(
            EntryKind.CREDIT_NOTE,
            f"refund/{refund.external_id}/credit_note",
            books.channel.pieces.credit_note,
            refund.number,
            refund.refunded_on if note is None else note.issued_on,
            [*postings, *customer],
            flags=flags,
            label=f"Avoir {books.channel.label} {refund.number}",
            journal=books.sales_journal,
            invoice=None if note is None else note.number,
        )
        paid_back = self._paid_back(refund, given)
        return [credit, *self._payment(refund, paid_back, lambda amount: [Posting(books.customer, amount)])]

    def _count(self, postings: Iterable[Posting]) -> None:
        for p in postings:
            key = (self._rounding if p.account in self._rounding_accounts else p.account, p.vat_code, p.vat_rate)
            self._standing[key] = self._standing.get(key, _ZERO) + p.amount

    @property
    def _rounding_accounts(self) -> tuple[str, str]:
        return self._books.accounts.rounding_loss, self._books.accounts.rounding_gain

    @property
    def _rounding(self) -> str:
        return self._books.accounts.rounding_loss

    def _closing(self, postings: list[Posting]) -> list[Posting]:
        """The last refund of a sale takes back exactly what stands on each account.

        Amounts with parts of a cent are rounded by document, so that the same parts may be a cent more in one document
        and a cent less in another. Only cents are moved: where more differs, the refund says something else.
        """
        wanted = {key: -amount for key, amount in self._standing.items() if amount}
        given: dict[_Key, Decimal] = {}
        for p in postings:
            key = (self._rounding if p.account in self._rounding_accounts else p.account, p.vat_code, p.vat_rate)
            given[key] = given.get(key, _ZERO) + p.amount
        tolerance = self._books.accounts.tolerance
        if any(abs(wanted.get(key, _ZERO) - given.get(key, _ZERO)) > tolerance for key in {**wanted, **given}):
            return postings
        return [
            self._books.rounding(amount)
            if key[0] == self._rounding
            else Posting(key[0], amount, vat_code=key[1], vat_rate=key[2])
            for key, amount in wanted.items()
        ]

    def _payment(
        self,
        refund: Refund,
        paid_back: Sequence[tuple[MoneyAccount, PaymentMethod, Decimal]],
        against: Callable[[Decimal], list[Posting]],
    ) -> list[JournalEntry | None]:
        books = self._books
        return [
            books.entry(
                EntryKind.REFUND_PAYMENT,
                f"refund/{refund.external_id}/payment" + (f"/{number}" if number > 1 else ""),
                books.channel.pieces.refund_payment + (str(number) if number > 1 else ""),
                refund.number,
                refund.refunded_on,
                [*against(amount), Posting(money.account, -amount, method=method)],
                label=f"Remboursement {books.channel.label} {refund.number}",
                journal=(money.journal, money.journal_label),
                flags=["split_by_tender"] if len(paid_back) > 1 else [],
            )
            for number, (money, method, amount) in enumerate(paid_back, 1)
            if money.posted_by == "order"
        ]

    def _shares(self, refund: Refund) -> tuple[list[Share], bool]:
        """The refund's shares, and whether a part of it is a rebate: money for goods that stay with the buyer."""
        books = self._books
        sold: list[OrderLine | Charge] = [*books.order.lines, *books.order.charges]
        rates = {(t.scheme, t.rate) for part in sold for t in part.taxes}
        shares: list[Share] = []
        rebate = False
        groups: list[tuple[str, Sequence[RefundLine | Charge]]] = [
            ("lines", refund.lines),
            ("charges", refund.charges),
        ]
        for name, parts in groups:
            for number, part in enumerate(parts, 1):
                path = f"refund {refund.number}.{name}[{number}]"
                taxes = part.taxes or self._original_taxes(part)
                strange = [t for t in taxes if (t.scheme, t.rate) not in rates and (part.net or part.tax)]
                if strange:
                    raise books.park(
                        f"{path} is at {strange[0].rate} %, a rate that the sale does not have",
                        path,
                        "refund_rate",
                        "A credit note takes the rate of the original sale; correct the refund in the shop.",
                    )
                found = part_shares(
                    part,
                    taxes,
                    order=books.order,
                    channel=books.channel,
                    accounts=books.accounts,
                    path=path,
                    day=books.sale_day,
                    gift_card=gift_card_kind(part, books.order, books.accounts),
                )
                if self._is_rebate(part):
                    found = [replace(s, account=s.rebate or s.account) for s in found]
                    rebate = rebate or bool(found)
                shares += found
        return shares, rebate

    def _is_rebate(self, part: RefundLine | Charge) -> bool:
        """A part of a line's price for none of its pieces; the whole price is the sale undone."""
        if not isinstance(part, RefundLine) or part.quantity or not part.net:
            return False
        sold = next((line for line in self._books.order.lines if line.external_id == part.order_line_id), None)
        return sold is not None and part.net < sold.net

    def _original_taxes(self, part: RefundLine | Charge) -> tuple[TaxLine, ...]:
        """The tax of the original sale with the refund's amounts, where the refund carries none."""
        order = self._books.order
        if isinstance(part, RefundLine):
            sold = [line.taxes for line in order.lines if line.external_id == part.order_line_id]
        else:
            sold = [charge.taxes for charge in order.charges if charge.kind is part.kind]
        if len(sold) != 1 or len(sold[0]) != 1:
            return ()
        return (sold[0][0].model_copy(update={"base": part.net, "amount": part.tax}),)

    # -- the money ---------------------------------------------------------------------------------------------

    def _paid_back(self, refund: Refund, amount: Decimal) -> list[tuple[MoneyAccount, PaymentMethod, Decimal]]:
        """By which means: the one that the refund names, no more than it brought; the rest by the only other one."""
        payment = self._tender_of(refund)
        if payment is None:
            money = self._books.money(refund.payment_method, None, "refund.payment_method", refund.refunded_on)
            return [(money, refund.payment_method, amount)]
        tolerance = self._books.accounts.tolerance
        own = min(amount, max(self._tenders[payment], _ZERO))
        rest = amount - own
        if rest <= tolerance:
            own, rest = amount, _ZERO
        others = [key for key, brought in self._tenders.items() if key != payment and brought > 0]
        if rest and (len(others) != 1 or self._tenders[others[0]] + tolerance < rest):
            raise self._books.park(
                f"refund {refund.number} gives back {amount} by {payment[1]}, which has only {own} left",
                "refund.payment_method",
                "refund_exceeds_tender",
                "No means of payment gives back more than it brought: say in the shop how the rest was paid back.",
            )
        found = []
        for key, part in ((payment, own), *((key, rest) for key in others[:1])):
            if part:
                self._tenders[key] -= part
                money = self._books.money(key[0], key[1], "payments", refund.refunded_on)
                found.append((money, key[0], part))
        return found

    def _tender_of(self, refund: Refund) -> tuple[PaymentMethod, str] | None:
        """Back the way it came: by the payment of the same kind, else the only one, else by the neutral word."""
        same = [key for key in self._tenders if key[0] is refund.payment_method]
        if same:
            return same[0]
        if refund.payment_method is PaymentMethod.OTHER and len(self._tenders) == 1:
            return next(iter(self._tenders))
        return None


def _tenders(books: OrderBooks) -> dict[tuple[PaymentMethod, str], Decimal]:
    """What each means of payment brought in."""
    found: dict[tuple[PaymentMethod, str], Decimal] = {}
    payments: Iterable[Payment] = (p for p in books.order.payments if p.amount)
    for payment in payments:
        key = (payment.method, payment.source_method)
        found[key] = found.get(key, _ZERO) + payment.amount
    return found


class _Left:
    """What of an order's shares has not been given back yet; amount-only refunds are spread over it."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self.given = _ZERO
        self._shares = list(shares)
        self._gross = [share.gross for share in shares]
        self._tax = [share.tax for share in shares]

    def take(self, shares: Iterable[Share]) -> None:
        """Itemised parts of a refund reduce the first shares of the same sale and rate."""
        for share in shares:
            gross, tax = share.gross, share.tax
            for n, own in enumerate(self._shares):
                accounts = (own.account, own.rebate)
                same = (own.vat_account, own.rate) == (share.vat_account, share.rate) and share.account in accounts
                if not same or gross <= 0 or self._gross[n] <= 0:
                    continue
                part = min(gross, self._gross[n])
                part_tax = tax if part == gross else tax * part / gross
                self._gross[n] -= part
                self._tax[n] -= part_tax
                gross -= part
                tax -= part_tax

    def open(self, currency: str) -> Decimal:
        """What of the sale's lines and charges has not been given back."""
        return round_money(total(max(gross, _ZERO) for gross in self._gross), currency)

    def allocate(self, amount: Decimal, currency: str) -> list[Share]:
        """The amount over what is left, by largest remainder in proportion to tax-included amounts.

        The last refund of an order gives back exactly what is left on each account.
        """
        weights = [max(gross, _ZERO) for gross in self._gross]
        whole = round_money(total(weights), currency)
        if whole <= 0:
            weights = [max(share.gross, _ZERO) for share in self._shares]
            whole = amount
        spread = min(amount, whole)
        found = []
        for n, part in enumerate(allocate(spread, weights, currency)):
            if not part:
                continue
            share = self._shares[n]
            tax = round_money(part * share.tax / share.gross, currency) if share.gross else _ZERO
            if part == self._gross[n]:
                tax = round_money(self._tax[n], currency)
            self._gross[n] -= part
            self._tax[n] -= tax
            found.append(replace(share, net=part - tax, tax=tax, withheld=_ZERO))
        return found
