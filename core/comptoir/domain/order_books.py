"""What all entries of one order have in common: its accounts, its customer, its days, and how its lines are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from comptoir.domain.accounts import AccountMap, ChannelBooks, MoneyAccount, default_customer_account
from comptoir.domain.entries import Posting, make_entry, to_minor_units, total
from comptoir.domain.shares import Share, check_vat, gift_card_kind, part_shares
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import round_money
from comptoir.model.order import Charge, Invoice, OrderLine, PaymentMethod, SalesOrder

__all__ = ["OrderBooks"]

_ZERO = Decimal(0)
#: An amount by account, VAT code and rate.
_Amount = tuple[tuple[str, str | None, Decimal], Decimal]
#: Where revenue stands: a credit in a sale, a debit in a credit note.
SALE, CREDIT_NOTE = -1, 1


class OrderBooks:
    """One order on its channel's accounts, as they stood on the day of the sale."""

    def __init__(self, order: SalesOrder, channel: ChannelBooks, accounts: AccountMap, invoice: Invoice | None) -> None:
        self.order = order
        self.channel = channel
        self.invoice = invoice
        self.dated_accounts = accounts
        self.sale_day = self._sale_day()
        self.accounts = accounts.on(self.sale_day)
        self.customer, self.customer_label = _customer(order, channel)
        ship_to = order.shipping or order.billing
        self.country = ship_to.country if ship_to else None

    # -- days and errors ---------------------------------------------------------------------------------------

    def _sale_day(self) -> date:
        if self.invoice is not None:
            return self.invoice.issued_on
        order = self.order
        if self.channel.prepayments == "deposit":
            return self.day(order.completed_at)
        moments = {
            "paid": (order.paid_at, order.completed_at),
            "completed": (order.completed_at, order.paid_at),
            "ordered": (),
        }[self.channel.sale_date]
        return self.day(*moments)

    def day(self, *moments: datetime | None) -> date:
        """The first known moment in the shop's zone, else the order's business day."""
        known = next((m for m in moments if m is not None), None)
        zone = self.order.source_zone or self.channel.time_zone
        return self.order.ordered_on if known is None else known.astimezone(ZoneInfo(zone)).date()

    def park(self, message: str, field: str, code: str, hint: str) -> MappingError:
        """The error that sets the order aside."""
        number = self.order.number
        return MappingError(f"order {number}: {message}", record=number, field=field, code=code, hint=hint)

    # -- amounts -----------------------------------------------------------------------------------------------

    def order_shares(self) -> list[tuple[OrderLine | Charge, list[Share]]]:
        """Every line and charge with its shares; parks where the VAT cannot be right."""
        found: list[tuple[OrderLine | Charge, list[Share]]] = []
        groups: list[tuple[str, Sequence[OrderLine | Charge]]] = [
            ("lines", self.order.lines),
            ("charges", self.order.charges),
        ]
        for name, parts in groups:
            for number, part in enumerate(parts, 1):
                shares = part_shares(
                    part,
                    part.taxes,
                    order=self.order,
                    channel=self.channel,
                    accounts=self.accounts,
                    path=f"{name}[{number}]",
                    day=self.sale_day,
                    gift_card=gift_card_kind(part, self.order, self.accounts),
                )
                found.append((part, shares))
        check_vat((s for _, shares in found for s in shares), order=self.order, accounts=self.accounts)
        return found

    def document_postings(
        self, shares: Sequence[Share], claim: Decimal, sign: int, flags: list[str]
    ) -> tuple[list[Posting], list[Posting]]:
        """Customer, and revenue with VAT; parts of a cent are shared out, a small difference goes to 658/758.

        `sign` is where revenue stands: SALE or CREDIT_NOTE. The customer owes (or is owed) `claim`.
        """
        revenue: list[_Amount] = []
        vat: list[_Amount] = []
        for share in shares:
            revenue.append(((share.account, share.code, share.rate), share.net))
            if share.vat_account is not None:
                vat.append(((share.vat_account, share.code, share.rate), share.tax))
        rounded = self.in_cents(revenue, vat)
        difference = claim - total(amount for _, amount in rounded)
        if abs(difference) > self.accounts.tolerance:
            raise self.park(
                f"lines, charges and taxes give {claim - difference} and the document says {claim}",
                "totals.total",
                "residual",
                f"More than the {self.accounts.tolerance} that may be rounding: look at the document in the shop.",
            )
        postings = [
            Posting(account, sign * amount, vat_code=code, vat_rate=rate if code else None)
            for (account, code, rate), amount in rounded
        ]
        if difference:
            flags.append("rounding")
            postings.append(self.rounding(sign * difference))
        return [Posting(self.customer, -sign * claim)], postings

    def in_cents(self, revenue: Sequence[_Amount], vat: Sequence[_Amount]) -> list[_Amount]:
        """Parts of a cent shared out: the VAT is the source's own to the cent, revenue takes what that leaves."""
        currency = self.channel.currency
        whole = round_money(total(amount for _, amount in (*revenue, *vat)), currency)
        taxes = to_minor_units(vat, currency)
        return [*to_minor_units(revenue, currency, whole - total(tax for _, tax in taxes)), *taxes]

    def rounding(self, amount: Decimal) -> Posting:
        """A difference on its named line: a debit is a loss, a credit a gain."""
        return Posting(self.accounts.rounding_loss if amount > 0 else self.accounts.rounding_gain, amount)

    # -- money -------------------------------------------------------------------------------------------------

    def money(self, method: PaymentMethod, source: str | None, field: str, day: date) -> MoneyAccount:
        """Where a payment of this kind arrives on a day; parks when the map does not say it."""
        accounts = self.dated_accounts.on(day)
        if method is PaymentMethod.GIFT_CARD:
            kinds = {accounts.gift_cards, *accounts.gift_card_items.values()} - {"undeclared"}
            if kinds == {"multi_purpose"}:
                return MoneyAccount(
                    account=accounts.gift_card_account,
                    journal=accounts.gift_card_journal,
                    journal_label=accounts.label(accounts.gift_card_account),
                )
            raise self.park(
                "a gift card was used, and its kind does not allow to book it",
                field,
                "gift_card_kind",
                'Set accounting.gift_cards = "multi_purpose" if VAT is due when cards are used; the use of a '
                "single-purpose card is booked by hand.",
            )
        money = accounts.money(method.value, source, channel=self.channel.connection, country=self.country, day=day)
        if money is None:
            raise self.park(
                f"payments by {source or method.value!r} ({method.value}) have no account",
                field,
                "payment_account",
                f'Add it: [accounting.source_methods] "{source or method.value}" = {{account = "517..", journal = ".."'
                ', journal_label = ".."}.',
            )
        return money

    # -- entries -----------------------------------------------------------------------------------------------

    @property
    def number(self) -> str:
        """What pieces are called after: the order's number, its id where several orders share a reference."""
        return self.order.external_id if self.order.group_ref == self.order.number else self.order.number

    def entry(
        self,
        kind: EntryKind,
        path: str,
        template: str,
        number: str,
        day: date,
        postings: Iterable[Posting],
        *,
        label: str,
        journal: tuple[str, str],
        flags: Sequence[str] = (),
        invoice: str | None = None,
    ) -> JournalEntry | None:
        """An entry of this order; its piece is `invoice`, else the template with the channel's prefix and `number`."""
        piece = template.replace("{prefix}", self.channel.piece_prefix).replace("{number}", number)
        return make_entry(
            postings,
            accounts=self.accounts,
            key=f"{self.channel.connection}/{self.order.external_id}/{path}",
            kind=kind,
            journal=journal,
            piece=invoice or piece,
            posted_on=day,
            label=label,
            currency=self.channel.currency,
            channel=self.channel.connection,
            document=self.order.number,
            titles={self.customer: self.customer_label},
            flags=flags,
            reference=self.order.number,
            invoice=invoice,
        )

    @property
    def sales_journal(self) -> tuple[str, str]:
        return self.accounts.sales_journal, self.accounts.sales_journal_label


def _customer(order: SalesOrder, channel: ChannelBooks) -> tuple[str, str]:
    """Account and title of who owes the money: the channel's customer, or a company of its own if configured."""
    company = order.buyer.party.company
    if channel.b2b_accounts and company:
        name = f"{channel.connection}/{order.buyer.customer_id or company}"
        return default_customer_account(name), company
    return channel.customer_account, channel.customer_label
