"""Journal entries of a channel's sales, payments and refunds (sales-accounting §0 to §10).

One entry per document, payments apart, amounts verbatim from the source. Entries are issued once: what changes is
reversed and issued anew (`correct_entries`). Nothing is guessed: a rate, a currency or a kind that the map does not
know raises MappingError and parks the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from comptoir.domain.accounts import AccountMap, ChannelBooks, MoneyAccount, default_customer_account
from comptoir.domain.corrections import correct_entries
from comptoir.domain.shares import Share, check_vat, is_gift_card, outside_vat_area, part_shares
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry, JournalLine, Side
from comptoir.model.money import TaxLine, allocate, minor_units, round_money
from comptoir.model.order import (
    Charge,
    FulfilmentState,
    HoldReason,
    OrderLine,
    Payment,
    PaymentMethod,
    PaymentState,
    Refund,
    RefundLine,
    SalesOrder,
)

__all__ = ["correct_entries", "derive_entries"]

_ZERO = Decimal(0)
_PAID = (PaymentState.PAID, PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED)
_GIVEN_BACK = (PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED)


def derive_entries(
    order: SalesOrder, refunds: Sequence[Refund], *, channel: ChannelBooks, accounts: AccountMap
) -> list[JournalEntry]:
    """Every entry that an order and its refunds call for now, in the order of their documents.

    For channels whose sales the hub books (`invoicing` "self" or "hub"). A sale entry once the order is paid,
    completed or refunded, never while it is pending, on hold, cancelled or failed; a payment entry per payment;
    a credit note and its payment per refund. Keys are stable: `<connection>/<order id>/sale`, `/payment`,
    `/payment/2`, `/refund/<id>/credit_note`, `/refund/<id>/payment`.

    Raises MappingError, naming order, field and setting, for what cannot be booked without guessing.
    """
    return _Derivation(order, refunds, channel, accounts).entries()


class _Derivation:
    """The entries of one order."""

    def __init__(
        self, order: SalesOrder, refunds: Sequence[Refund], channel: ChannelBooks, accounts: AccountMap
    ) -> None:
        self.order = order
        self.refunds = sorted(refunds, key=lambda r: (r.refunded_at, r.external_id))
        self.channel = channel
        self.accounts = accounts
        self.unit = Decimal(1).scaleb(-minor_units(channel.currency))
        self.customer, self.customer_label = _customer(order, channel)

    def entries(self) -> list[JournalEntry]:
        self._check()
        sold = _is_sold(self.order)
        if self.refunds and not sold:
            raise self._park(
                "money was given back on an order whose sale is not booked",
                "refund_ids",
                "refund_before_sale",
                "Look at the order's state in the shop.",
            )
        paid = self.order.payment_state in _PAID
        if not sold and not paid:
            return []
        shares = self._order_shares()
        withheld = _sum(s.withheld for s in shares)
        claim = self.order.totals.total - withheld
        found: list[JournalEntry | None] = []
        if sold:
            found.append(self._sale(shares, claim))
        if paid:
            found += self._payments(claim, withheld, sold)
        ledger = _Left(shares)
        for refund in self.refunds:
            found += self._refund(refund, ledger, claim)
        return [entry for entry in found if entry is not None]

    # -- checks ------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.channel.invoicing not in ("self", "hub"):
            raise self._park(
                f"the sales of {self.channel.connection} are booked by {self.channel.invoicing!r}",
                "channel",
                "invoicing",
                "Only the invoicing authority books a sale: take this channel out of the route.",
            )
        for what, currency in [("order", self.order.currency), *(("refund", r.currency) for r in self.refunds)]:
            if currency != self.channel.currency:
                raise self._park(
                    f"the {what} is in {currency} and the books are in {self.channel.currency}; it has no books amount",
                    "currency",
                    "currency",
                    "Enter it by hand with the rate of the day: no rate is ever guessed.",
                )

    def _park(self, message: str, field: str, code: str, hint: str) -> MappingError:
        number = self.order.number
        return MappingError(f"order {number}: {message}", record=number, field=field, code=code, hint=hint)

    # -- sale --------------------------------------------------------------------------------------------------

    def _order_shares(self) -> list[Share]:
        shares: list[Share] = []
        groups: list[tuple[str, Sequence[OrderLine | Charge]]] = [
            ("lines", self.order.lines),
            ("charges", self.order.charges),
        ]
        for name, parts in groups:
            for number, part in enumerate(parts, 1):
                shares += part_shares(
                    part,
                    part.taxes,
                    order=self.order,
                    channel=self.channel,
                    accounts=self.accounts,
                    path=f"{name}[{number}]",
                    gift_card=is_gift_card(part, self.order),
                )
        check_vat(shares, order=self.order, accounts=self.accounts)
        return shares

    def _sale(self, shares: Sequence[Share], claim: Decimal) -> JournalEntry | None:
        if claim < 0:
            raise self._park("its total is negative", "totals.total", "total", "Book it by hand.")
        flags = []
        if any(s.vat_account for s in shares) and outside_vat_area(self.order.shipping or self.order.billing):
            flags.append("vat_outside_area")
        lines = self._lines(shares, claim, Side.CREDIT, flags)
        day = {
            "paid": (self.order.paid_at, self.order.completed_at),
            "completed": (self.order.completed_at, self.order.paid_at),
            "ordered": (),
        }[self.channel.sale_date]
        return self._entry(
            EntryKind.SALE,
            "sale",
            self.channel.pieces.sale,
            self.order.number,
            self._day(*day),
            lines,
            flags=flags,
            label=f"Vente {self.channel.label} {self.order.number}",
            journal=(self.accounts.sales_journal, self.accounts.sales_journal_label),
        )

    def _lines(
        self, shares: Sequence[Share], claim: Decimal, side: Side, flags: list[str]
    ) -> list[tuple[str, Side, Decimal]]:
        """Customer against revenue and VAT; parts of a cent are shared out, a small difference goes to
        658/758.

        `side` is where revenue stands: credit for a sale, debit for a credit note.
        """
        revenue: dict[str, Decimal] = {}
        vat: dict[str, Decimal] = {}
        for share in shares:
            revenue[share.account] = revenue.get(share.account, _ZERO) + share.net
            if share.vat_account is not None:
                vat[share.vat_account] = vat.get(share.vat_account, _ZERO) + share.tax
        rounded = _to_minor_units([*revenue.items(), *vat.items()], self.channel.currency)
        difference = claim - _sum(amount for _, amount in rounded)
        if abs(difference) > self.accounts.tolerance:
            raise self._park(
                f"lines, charges and taxes give {claim - difference} and the document says {claim}",
                "totals.total",
                "residual",
                f"More than the {self.accounts.tolerance} that may be rounding: look at the document in the shop.",
            )
        if difference:
            flags.append("rounding")
            gains = (difference > 0) == (side is Side.CREDIT)
            rounded.append((self.accounts.rounding_gain if gains else self.accounts.rounding_loss, difference))
        other = Side.DEBIT if side is Side.CREDIT else Side.CREDIT
        customer = [(self.customer, other, claim)]
        lines = [(account, side, amount) for account, amount in rounded]
        return [*customer, *lines] if side is Side.CREDIT else [*lines, *customer]

    # -- payments ----------------------------------------------------------------------------------------------

    def _payments(self, claim: Decimal, withheld: Decimal, sold: bool) -> list[JournalEntry | None]:
        payments = [p for p in self.order.payments if p.amount]
        if not payments:
            if claim and sold:
                raise self._park(
                    "it is paid, and it is not said by which means",
                    "payments",
                    "payment_missing",
                    "The source must give the payments of a paid order.",
                )
            return []
        # What a marketplace keeps as tax never reaches the merchant's account with it.
        received = [p.amount for p in payments]
        received[0] -= withheld
        difference = claim - _sum(received)
        closes = sold and difference != 0 and abs(difference) <= self.accounts.tolerance
        found: list[JournalEntry | None] = []
        for number, (payment, amount) in enumerate(zip(payments, received, strict=True), 1):
            flags = [] if sold else ["sale_not_booked"]
            money = self._money(payment)
            last = number == len(payments)
            lines = [(money.account, Side.DEBIT, amount), (self.customer, Side.CREDIT, amount)]
            if last and closes:
                flags.append("rounding")
                loss = difference > 0
                account = self.accounts.rounding_loss if loss else self.accounts.rounding_gain
                lines[1] = (self.customer, Side.CREDIT, amount + difference)
                lines.append((account, Side.DEBIT, difference))
            elif last and sold and difference:
                flags.append("payment_difference")
            suffix = "" if number == 1 else str(number)
            found.append(
                self._entry(
                    EntryKind.PAYMENT,
                    "payment" if number == 1 else f"payment/{number}",
                    self.channel.pieces.payment + suffix,
                    self.order.number,
                    self._day(payment.paid_at, self.order.paid_at),
                    lines,
                    flags=flags,
                    label=f"Reglement {self.channel.label} {self.order.number}",
                    journal=(money.journal, money.journal_label),
                )
            )
        return found

    def _money(self, payment: Payment) -> MoneyAccount:
        return self._money_account(payment.method, payment.source_method, "payments")

    def _money_account(self, method: PaymentMethod, source: str | None, field: str) -> MoneyAccount:
        accounts = self.accounts
        if method is PaymentMethod.GIFT_CARD:
            if accounts.gift_cards == "multi_purpose":
                return MoneyAccount(
                    account=accounts.gift_card_account,
                    journal=accounts.gift_card_journal,
                    journal_label=accounts.label(accounts.gift_card_account),
                )
            raise self._park(
                "a gift card was used, and its kind does not allow to book it",
                field,
                "gift_card_kind",
                'Set accounting.gift_cards = "multi_purpose" if VAT is due when cards are used; the use of a '
                "single-purpose card is booked by hand.",
            )
        money = accounts.money(method.value, source)
        if money is None:
            raise self._park(
                f"payments by {source or method.value!r} ({method.value}) have no account",
                field,
                "payment_account",
                f'Add it: [accounting.source_methods] "{source or method.value}" = {{account = "517..", journal = ".."'
                ', journal_label = ".."}.',
            )
        return money

    # -- refunds -----------------------------------------------------------------------------------------------

    def _refund(self, refund: Refund, ledger: _Left, claim: Decimal) -> list[JournalEntry | None]:
        shares = self._refund_shares(refund)
        check_vat(shares, order=self.order, accounts=self.accounts)
        given = refund.amount - _sum(s.withheld for s in shares)
        if given == 0 and not shares:
            return []  # goods came back without money
        ledger.given += given
        if ledger.given > claim + self.accounts.tolerance:
            raise self._park(
                f"{ledger.given} was given back and {claim} was sold",
                "refund_ids",
                "refund_exceeds_sale",
                "What is given beyond the sale is no credit note: book it by hand.",
            )
        flags: list[str] = []
        explained = round_money(_sum(s.gross for s in shares), self.channel.currency)
        open_amount = given - explained
        ledger.take(shares)
        if open_amount > self.accounts.tolerance or (open_amount and not shares):
            flags.append("allocated_by_rule")
            shares += ledger.allocate(open_amount, self.channel.currency)
        path, name = f"refund/{refund.external_id}", f"{self.channel.label} {refund.number}"
        lines = self._lines(shares, given, Side.DEBIT, flags)
        money = self._refund_money(refund)
        return [
            self._entry(
                EntryKind.CREDIT_NOTE,
                f"{path}/credit_note",
                self.channel.pieces.credit_note,
                refund.number,
                refund.refunded_on,
                lines,
                flags=flags,
                label=f"Avoir {name}",
                journal=(self.accounts.sales_journal, self.accounts.sales_journal_label),
            ),
            self._entry(
                EntryKind.REFUND_PAYMENT,
                f"{path}/payment",
                self.channel.pieces.refund_payment,
                refund.number,
                refund.refunded_on,
                [(self.customer, Side.DEBIT, given), (money.account, Side.CREDIT, given)],
                label=f"Remboursement {name}",
                journal=(money.journal, money.journal_label),
            ),
        ]

    def _refund_shares(self, refund: Refund) -> list[Share]:
        sold: list[OrderLine | Charge] = [*self.order.lines, *self.order.charges]
        rates = {(t.scheme, t.rate) for part in sold for t in part.taxes}
        shares: list[Share] = []
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
                    raise self._park(
                        f"{path} is at {strange[0].rate} %, a rate that the sale does not have",
                        path,
                        "refund_rate",
                        "A credit note takes the rate of the original sale; correct the refund in the shop.",
                    )
                shares += part_shares(
                    part,
                    taxes,
                    order=self.order,
                    channel=self.channel,
                    accounts=self.accounts,
                    path=path,
                    gift_card=is_gift_card(part, self.order),
                )
        return shares

    def _original_taxes(self, part: RefundLine | Charge) -> tuple[TaxLine, ...]:
        """The tax of the original sale with the refund's amounts, where the refund carries none."""
        if isinstance(part, RefundLine):
            sold = [line.taxes for line in self.order.lines if line.external_id == part.order_line_id]
        else:
            sold = [charge.taxes for charge in self.order.charges if charge.kind is part.kind]
        if len(sold) != 1 or len(sold[0]) != 1:
            return ()
        return (sold[0][0].model_copy(update={"base": part.net, "amount": part.tax}),)

    def _refund_money(self, refund: Refund) -> MoneyAccount:
        """Back the way it came: by the payment of the same kind, else the only one, else by the neutral word."""
        payments = [p for p in self.order.payments if p.amount]
        same = [p for p in payments if p.method is refund.payment_method]
        if same:
            return self._money(same[0])
        if refund.payment_method is PaymentMethod.OTHER and len(payments) == 1:
            return self._money(payments[0])
        return self._money_account(refund.payment_method, None, "refund.payment_method")

    # -- entries -----------------------------------------------------------------------------------------------

    def _day(self, *moments: datetime | None) -> date:
        """The first known moment in the shop's zone, else the order's business day."""
        known = next((m for m in moments if m is not None), None)
        zone = self.order.source_zone or self.channel.time_zone
        return self.order.ordered_on if known is None else known.astimezone(ZoneInfo(zone)).date()

    def _entry(
        self,
        kind: EntryKind,
        path: str,
        piece: str,
        number: str,
        day: date,
        lines: Iterable[tuple[str, Side, Decimal]],
        *,
        label: str,
        journal: tuple[str, str],
        flags: Sequence[str] = (),
    ) -> JournalEntry | None:
        """The entry; a negative amount changes its side, a zero one is left out, None when nothing is left."""
        kept = [
            JournalLine(
                account=account,
                account_label=self.customer_label if account == self.customer else self.accounts.label(account),
                label=label,
                side=side if amount > 0 else Side.CREDIT if side is Side.DEBIT else Side.DEBIT,
                amount=abs(amount).quantize(self.unit),
            )
            for account, side, amount in lines
            if amount
        ]
        if not kept:
            return None
        return JournalEntry(
            key=f"{self.channel.connection}/{self.order.external_id}/{path}",
            kind=kind,
            journal=journal[0],
            journal_label=journal[1],
            piece=piece.replace("{prefix}", self.channel.piece_prefix).replace("{number}", number),
            posted_on=day,
            label=label,
            currency=self.channel.currency,
            channel=self.channel.connection,
            document=self.order.number,
            lines=tuple(kept),
            flags=tuple(flags),
        )


class _Left:
    """What of an order's shares has not been given back yet; amount-only refunds are spread over it."""

    def __init__(self, shares: Sequence[Share]) -> None:
        self.given = _ZERO
        self._shares = list(shares)
        self._gross = [share.gross for share in shares]
        self._tax = [share.tax for share in shares]

    def take(self, shares: Iterable[Share]) -> None:
        """Itemised parts of a refund reduce the first shares on the same accounts and rate."""
        for share in shares:
            gross, tax = share.gross, share.tax
            for n, own in enumerate(self._shares):
                same = (own.account, own.vat_account, own.rate) == (share.account, share.vat_account, share.rate)
                if not same or gross <= 0 or self._gross[n] <= 0:
                    continue
                part = min(gross, self._gross[n])
                part_tax = tax if part == gross else tax * part / gross
                self._gross[n] -= part
                self._tax[n] -= part_tax
                gross -= part
                tax -= part_tax

    def allocate(self, amount: Decimal, currency: str) -> list[Share]:
        """The amount over what is left, by largest remainder in proportion to tax-included amounts.

        The last refund of an order gives back exactly what is left on each account.
        """
        weights = [max(gross, _ZERO) for gross in self._gross]
        whole = round_money(_sum(weights), currency)
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
            found.append(Share(share.part, share.account, share.vat_account, part - tax, tax, share.rate))
        return found


def _is_sold(order: SalesOrder) -> bool:
    """The sale is to be booked: paid, completed or refunded, and neither waiting nor called off."""
    if order.payment_state in _GIVEN_BACK:
        return True
    if order.hold is not HoldReason.NONE or order.fulfilment_state is FulfilmentState.CANCELLED:
        return False
    completed = order.fulfilment_state is FulfilmentState.SHIPPED or order.completed_at is not None
    return order.payment_state is PaymentState.PAID or (completed and order.payment_state is not PaymentState.FAILED)


def _customer(order: SalesOrder, channel: ChannelBooks) -> tuple[str, str]:
    """Account and title of who owes the money: the channel's customer, or a company of its own if configured."""
    company = order.buyer.party.company
    if channel.b2b_accounts and company:
        name = f"{channel.connection}/{order.buyer.customer_id or company}"
        return default_customer_account(name), company
    return channel.customer_account, channel.customer_label


def _to_minor_units(amounts: Sequence[tuple[str, Decimal]], currency: str) -> list[tuple[str, Decimal]]:
    """Amounts at the minor unit whose sum is the rounded sum of the exact ones (largest remainder)."""
    unit = Decimal(1).scaleb(-minor_units(currency))
    merged: dict[str, Decimal] = {}
    for account, amount in amounts:
        merged[account] = merged.get(account, _ZERO) + amount
    floors = {account: (amount / unit).to_integral_value(rounding="ROUND_FLOOR") for account, amount in merged.items()}
    target = round_money(_sum(merged.values()), currency) / unit
    missing = int(target - _sum(floors.values()))
    order = sorted(merged, key=lambda account: floors[account] - merged[account] / unit)
    for account in order[:missing]:
        floors[account] += 1
    return [(account, floor * unit) for account, floor in floors.items()]


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, _ZERO)
