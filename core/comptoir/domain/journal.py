"""Journal entries of a channel's sales, payments and refunds (sales-accounting §0 to §10).

One entry per document, payments apart, amounts verbatim from the source. Entries are issued once: what changes is
reversed and issued anew (`correct_entries`). Nothing is guessed: a rate, a currency or a kind that the map does not
know raises MappingError and parks the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.domain.corrections import correct_entries
from comptoir.domain.deposits import Deposits
from comptoir.domain.entries import Posting, total
from comptoir.domain.order_books import SALE, OrderBooks
from comptoir.domain.refunds import Refunds
from comptoir.domain.shares import Share, outside_vat_area
from comptoir.domain.shipped import by_shipment
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import round_money
from comptoir.model.order import (
    Charge,
    CreditNote,
    FulfilmentState,
    HoldReason,
    Invoice,
    OrderLine,
    PaymentState,
    Refund,
    SalesOrder,
    Shipment,
)

__all__ = ["correct_entries", "derive_entries"]

_ZERO = Decimal(0)
_PAID = (PaymentState.PAID, PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED)
_GIVEN_BACK = (PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED)
_NO_NOTES: Mapping[str, CreditNote] = MappingProxyType({})


def derive_entries(
    order: SalesOrder,
    refunds: Sequence[Refund],
    *,
    channel: ChannelBooks,
    accounts: AccountMap,
    invoice: Invoice | None = None,
    credit_notes: Mapping[str, CreditNote] = _NO_NOTES,
    shipments: Sequence[Shipment] = (),
) -> list[JournalEntry]:
    """Every entry that an order and its refunds call for now, in the order of their documents.

    For channels whose sales the hub books (`invoicing` "self" or "hub"). A sale entry once the order is paid,
    completed or refunded, never while it is pending, on hold, cancelled or failed; a payment entry per payment;
    a credit note and its payment per refund. Keys are stable: `<connection>/<order id>/sale`, `/payment`,
    `/payment/2`, `/refund/<id>/credit_note`, `/refund/<id>/payment`; `/deposit` and `/sale/<shipment id>` where the
    channel says so.

    An `invoice` gives number and day of the sale, and its total must be the sale's; `credit_notes` (by the refund's
    id) those of the credit notes. With `prepayments = "deposit"` the sale waits for the goods: `completed_at`, or each
    of `shipments` with `sale_per = "shipment"`.

    Raises MappingError, naming order, field and setting, for what cannot be booked without guessing.
    """
    books = OrderBooks(order, channel, accounts, invoice)
    return _Derivation(books, refunds, credit_notes, shipments).entries()


class _Derivation:
    """The entries of one order."""

    def __init__(
        self,
        books: OrderBooks,
        refunds: Sequence[Refund],
        credit_notes: Mapping[str, CreditNote],
        shipments: Sequence[Shipment],
    ) -> None:
        self.books = books
        self.order = books.order
        self.channel = books.channel
        self.accounts = books.accounts
        self.refunds = sorted(refunds, key=lambda r: (r.refunded_at, r.external_id))
        self.credit_notes = credit_notes
        self.shipments = shipments

    def entries(self) -> list[JournalEntry]:
        self._check()
        deposits_first = self.channel.prepayments == "deposit"
        sold = _is_sold(self.order, self.books.invoice, waits_for_goods=deposits_first, shipments=self.shipments)
        paid = self.order.payment_state in _PAID
        if self.refunds and not sold and not (paid and deposits_first):
            raise self.books.park(
                "money was given back on an order whose sale is not booked",
                "refund_ids",
                "refund_before_sale",
                "Look at the order's state in the shop.",
            )
        if not sold and not paid:
            return []
        parts = self.books.order_shares()
        shares = [share for _, of_part in parts for share in of_part]
        withheld = total(s.withheld for s in shares)
        claim = self.order.totals.total - withheld
        if claim < 0:
            raise self.books.park("its total is negative", "totals.total", "total", "Book it by hand.")
        sales = self._sales(parts, shares, claim) if sold else []
        deposits = Deposits(shares, claim, self.accounts, self.channel.currency) if deposits_first else None
        first_sale = min((day for _, day, _, _ in sales), default=None)
        payments = self._payments(claim, withheld, sold, deposits, first_sale) if paid else []
        found: list[JournalEntry | None] = [e for e in payments if e is not None and e.kind is EntryKind.DEPOSIT]
        found += [self._sale(*sale, deposits) for sale in sales]
        found += [e for e in payments if e is not None and e.kind is not EntryKind.DEPOSIT]
        refunds = Refunds(self.books, shares, claim, self.credit_notes, deposits)
        for refund in self.refunds:
            found += refunds.entries(refund) if sold else refunds.of_deposit(refund)
        return [entry for entry in found if entry is not None]

    # -- checks ------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.channel.invoicing not in ("self", "hub"):
            raise self.books.park(
                f"the sales of {self.channel.connection} are booked by {self.channel.invoicing!r}",
                "channel",
                "invoicing",
                "Only the invoicing authority books a sale: take this channel out of the route.",
            )
        invoice = self.books.invoice
        documents = [("order", self.order.currency), *(("refund", r.currency) for r in self.refunds)]
        documents += [("invoice", invoice.currency)] if invoice is not None else []
        for what, currency in documents:
            if currency != self.channel.currency:
                raise self.books.park(
                    f"the {what} is in {currency} and the books are in {self.channel.currency}; it has no books amount",
                    "currency",
                    "currency",
                    "Enter it by hand with the rate of the day: no rate is ever guessed.",
                )
        moved = [("totals.total", self.order.totals.total)]
        moved += [(f"payments[{n}].amount", p.amount) for n, p in enumerate(self.order.payments, 1)]
        moved += [(f"refund {r.number}.amount", r.amount) for r in self.refunds]
        for field, amount in moved:
            if amount != round_money(amount, self.channel.currency):
                raise self.books.park(
                    f"{field} is {amount}, which is no whole amount of {self.channel.currency}",
                    field,
                    "amount",
                    "Money moves in whole cents: look at the amount at its source.",
                )
        if invoice is not None and invoice.order_numbers != (self.order.number,):
            raise self.books.park(
                f"the invoice {invoice.number} is of the orders {', '.join(invoice.order_numbers)}",
                "invoice",
                "invoice_orders",
                "An invoice of several orders is one document: book it by hand, or invoice each order.",
            )

    # -- sales -------------------------------------------------------------------------------------------------

    def _sales(
        self, parts: Sequence[tuple[OrderLine | Charge, list[Share]]], shares: list[Share], claim: Decimal
    ) -> list[tuple[str, date, list[Share], Decimal]]:
        """Path, day, shares and claim of each sale: one of the order, or one of each shipment."""
        books, invoice = self.books, self.books.invoice
        if self.channel.sale_per == "order" or invoice is not None:
            tax = total(s.tax for s in shares)
            if invoice is not None and (
                abs(invoice.net + invoice.tax - claim) > self.accounts.tolerance
                or abs(invoice.tax - tax) > self.accounts.vat_tolerance_cap
            ):
                raise books.park(
                    f"the invoice {invoice.number} says {invoice.net + invoice.tax} with {invoice.tax} VAT and the "
                    f"order {claim} with {tax}",
                    "invoice",
                    "invoice_total",
                    "Only what was invoiced is posted: look at what changed between order and invoice.",
                )
            return [("sale", books.sale_day, shares, claim)]
        if not self.shipments:
            raise books.park(
                "it is shipped, and no shipment is known",
                "shipments",
                "shipment",
                'With sale_per = "shipment" each shipment is a sale: the source must give them.',
            )
        found = []
        left = claim
        delivered = by_shipment(books, parts, self.shipments)
        whole = total(s.gross for _, of_one in delivered for s in of_one) == total(s.gross for s in shares)
        for number, (shipment, of_one) in enumerate(delivered, 1):
            part = round_money(total(s.gross for s in of_one), self.channel.currency)
            if whole and number == len(delivered):
                part = left
            left -= part
            found.append((f"sale/{shipment.external_id}", books.day(shipment.shipped_at), of_one, part))
        return found

    def _sale(
        self, path: str, day: date, shares: list[Share], claim: Decimal, deposits: Deposits | None
    ) -> JournalEntry | None:
        books = self.books
        flags = []
        if any(s.vat_account for s in shares) and outside_vat_area(self.order.shipping or self.order.billing):
            flags.append("vat_outside_area")
        customer, postings = books.document_postings(shares, claim, SALE, flags)
        used, released = deposits.use(claim) if deposits is not None else (_ZERO, [])
        if deposits is not None and released:
            rest = claim - used
            # A deposit that is a cent short of the sale closes like any payment.
            short = rest != 0 and deposits.left == 0 and rest <= self.accounts.tolerance
            customer = [books.rounding(rest) if short else Posting(books.customer, rest)]
            flags += ["rounding"] if short and "rounding" not in flags else []
            postings = [released[0], *customer, *postings, *released[1:]]
        else:
            postings = [*customer, *postings]
        invoice = books.invoice
        suffix = "" if path == "sale" else "-" + path.removeprefix("sale/")
        return books.entry(
            EntryKind.SALE,
            path,
            self.channel.pieces.sale + suffix,
            books.number,
            day,
            postings,
            flags=flags,
            label=f"Vente {self.channel.label} {self.order.number}",
            journal=books.sales_journal,
            invoice=None if invoice is None else invoice.number,
        )

    # -- payments ----------------------------------------------------------------------------------------------

    def _payments(
        self, claim: Decimal, withheld: Decimal, sold: bool, deposits: Deposits | None, first_sale: date | None
    ) -> list[JournalEntry | None]:
        books = self.books
        payments = [p for p in self.order.payments if p.amount]
        if not payments:
            if claim and sold:
                raise books.park(
                    "it is paid, and it is not said by which means",
                    "payments",
                    "payment_missing",
                    "The source must give the payments of a paid order.",
                )
            return []
        # What a marketplace keeps as tax never reaches the merchant's account with it.
        received = [p.amount for p in payments]
        received[0] -= withheld
        difference = claim - total(received)
        closes = sold and difference != 0 and abs(difference) <= self.accounts.tolerance
        found: list[JournalEntry | None] = []
        kinds = {EntryKind.DEPOSIT: 0, EntryKind.PAYMENT: 0}
        for number, (payment, amount) in enumerate(zip(payments, received, strict=True), 1):
            day = books.day(payment.paid_at, self.order.paid_at)
            kind = EntryKind.PAYMENT
            if deposits is not None and (first_sale is None or day < first_sale):
                kind = EntryKind.DEPOSIT
            kinds[kind] += 1
            money = books.money(payment.method, payment.source_method, "payments", day)
            if money.posted_by == "payout":
                continue
            flags = [] if sold or kind is EntryKind.DEPOSIT else ["sale_not_booked"]
            postings = [Posting(money.account, amount, method=payment.method)]
            if kind is EntryKind.DEPOSIT and deposits is not None:
                postings += deposits.take(amount)
            elif number == len(payments) and closes:
                flags.append("rounding")
                postings += [Posting(books.customer, -amount - difference), books.rounding(difference)]
            else:
                postings.append(Posting(books.customer, -amount))
                if number == len(payments) and sold and difference:
                    flags.append("payment_difference")
            journal = (money.journal, money.journal_label)
            found.append(self._payment(kind, kinds[kind], day, postings, journal, flags))
        return found

    def _payment(
        self,
        kind: EntryKind,
        number: int,
        day: date,
        postings: list[Posting],
        journal: tuple[str, str],
        flags: list[str],
    ) -> JournalEntry | None:
        suffix = "" if number == 1 else str(number)
        pieces = self.channel.pieces
        word = "Acompte" if kind is EntryKind.DEPOSIT else "Reglement"
        return self.books.entry(
            kind,
            kind.value if number == 1 else f"{kind.value}/{number}",
            (pieces.deposit if kind is EntryKind.DEPOSIT else pieces.payment) + suffix,
            self.books.number,
            day,
            postings,
            flags=flags,
            label=f"{word} {self.channel.label} {self.order.number}",
            journal=journal,
        )


def _is_sold(
    order: SalesOrder, invoice: Invoice | None, *, waits_for_goods: bool, shipments: Sequence[Shipment]
) -> bool:
    """The sale is to be booked: paid, completed, refunded or invoiced, and neither waiting nor called off."""
    if invoice is not None:
        return True
    if waits_for_goods:
        left = order.fulfilment_state is FulfilmentState.SHIPPED or order.completed_at is not None or bool(shipments)
        return left and order.payment_state is not PaymentState.FAILED
    if order.payment_state in _GIVEN_BACK:
        return True
    if order.hold is not HoldReason.NONE or order.fulfilment_state is FulfilmentState.CANCELLED:
        return False
    completed = order.fulfilment_state is FulfilmentState.SHIPPED or order.completed_at is not None
    return order.payment_state is PaymentState.PAID or (completed and order.payment_state is not PaymentState.FAILED)
