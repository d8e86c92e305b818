"""The penny proof: one sheet per order, from its lines to the payout, each step with its sum and its difference.

lines - discounts + charges + tax = total = invoiced = posted = paid = paid out. A difference is never spread: it is
named with the step, and with the line, payment, entry or payout line that it comes from. A difference that rounding
explains (the source rounds its tax once for the document, an entry closes a cent on its named line) is shown and does
not count; nor does what was paid beyond the order, or is still to be paid, when it stands on the customer's account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.domain.corrections import base_key, same_substance
from comptoir.domain.entries import account_totals, signed, total
from comptoir.domain.journal import derive_entries
from comptoir.domain.order_books import OrderBooks
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import CollectedBy, PriceBasis, RoundingLevel, minor_units, round_money
from comptoir.model.order import Charge, Invoice, OrderLine, Payment, PaymentState, Refund, RefundLine, SalesOrder
from comptoir.model.payout import Payout, PayoutLine, PayoutLineKind

__all__ = ["Finding", "ProofSheet", "ProofStep", "compare", "explain", "prove", "refuse_unexplained"]

_ZERO = Decimal(0)
_PAID = (PaymentState.PAID, PaymentState.PARTLY_REFUNDED, PaymentState.REFUNDED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: what it is about (`lines[2]`, `entry web/1001/sale, account 707100`), the amount, and words.

    `explained`: rounding within the limits, which its named line carries, or what stands open with the customer.
    """

    where: str
    amount: Decimal
    message: str
    explained: bool = False


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One step: the amount that it says, and the one that the steps before call for. `amount` None: it has not
    happened yet, or nothing of it is known.
    """

    name: str
    amount: Decimal | None
    expected: Decimal
    findings: tuple[Finding, ...] = ()

    @property
    def difference(self) -> Decimal:
        """What it says beyond what is called for; zero for a step that has not happened."""
        return _ZERO if self.amount is None else self.amount - self.expected


@dataclass(frozen=True, slots=True)
class ProofSheet:
    """The proof of one order, in its currency."""

    order: str
    currency: str
    steps: tuple[ProofStep, ...]

    @property
    def residual(self) -> Decimal:
        """What is not explained: every step's unexplained differences, without regard to sign."""
        return total(abs(f.amount) for step in self.steps for f in step.findings if not f.explained)

    @property
    def proved(self) -> bool:
        """Every cent of what has happened is explained."""
        return all(f.explained for step in self.steps for f in step.findings)


def prove(
    order: SalesOrder,
    refunds: Sequence[Refund] = (),
    *,
    channel: ChannelBooks,
    accounts: AccountMap,
    posted: Sequence[JournalEntry] = (),
    payouts: Sequence[Payout] = (),
    invoices: Sequence[Invoice] = (),
) -> ProofSheet:
    """The sheet of an order with everything that the hub knows about it.

    `posted` is what stands in the journal of this order, `payouts` the settlements that may list it. Steps: lines,
    discounts, charges, tax, total, invoiced, posted, paid, paid_out, and given_back for an order with refunds.
    """
    return _Proof(order, refunds, channel, accounts, posted, payouts, invoices).sheet()


def explain(sheet: ProofSheet) -> list[str]:
    """What does not add up, in words: step, place, amount; empty when every cent is proved."""
    return [
        f"{step.name}: {f.where}: {f.message} ({f.amount:+f} {sheet.currency})"
        for step in sheet.steps
        for f in step.findings
        if not f.explained
    ]


def refuse_unexplained(sheet: ProofSheet) -> None:
    """Raises MappingError when a cent of the order is not explained: the look before its entries leave the hub."""
    words = explain(sheet)
    if words:
        raise MappingError(
            f"order {sheet.order}: what is not explained ({len(words)} in all): {words[0]}",
            record=sheet.order,
            field=words[0].split(":")[0],
            code="unexplained_cent",
            hint="`comptoir proof` shows every step; correct the document, or what was posted of it.",
        )


def compare(wanted: Sequence[JournalEntry], posted: Sequence[JournalEntry]) -> list[Finding]:
    """The accounts on which what is posted of a document differs from what it calls for."""
    booked = _by_key(posted)
    targets = {entry.key: entry for entry in wanted}
    found: list[Finding] = []
    for key in [*targets, *(k for k in booked if k not in targets)]:
        found += _differences(key, targets.get(key), booked.get(key, []))
    return found


def _by_key(posted: Iterable[JournalEntry]) -> dict[str, list[JournalEntry]]:
    booked: dict[str, list[JournalEntry]] = {}
    for entry in posted:
        booked.setdefault(base_key(entry.key), []).append(entry)
    return booked


def _differences(key: str, wanted: JournalEntry | None, booked: list[JournalEntry]) -> list[Finding]:
    if wanted is not None and len(booked) == 1 and same_substance(wanted, booked[0]):
        return []
    if wanted is not None and not booked:
        return [Finding(f"entry {key}", -wanted.total, "it is not posted")]
    then, now = account_totals(booked), account_totals([] if wanted is None else [wanted])
    found = []
    for where in {**then, **now}:
        stands, called_for = then.get(where, _ZERO), now.get(where, _ZERO)
        if stands != called_for:
            words = f"{stands} is posted and {called_for} is called for"
            found.append(Finding(f"entry {key}, account {where[0]}", stands - called_for, words))
    return found


class _Proof:
    def __init__(
        self,
        order: SalesOrder,
        refunds: Sequence[Refund],
        channel: ChannelBooks,
        accounts: AccountMap,
        posted: Sequence[JournalEntry],
        payouts: Sequence[Payout],
        invoices: Sequence[Invoice],
    ) -> None:
        self.order, self.refunds = order, refunds
        self.channel, self.accounts = channel, accounts
        self.posted, self.payouts, self.invoices = posted, payouts, invoices
        self.cent = Decimal(1).scaleb(-minor_units(order.currency))
        self.parts: list[tuple[str, OrderLine | Charge]] = [
            *((f"lines[{n}]", line) for n, line in enumerate(order.lines, 1)),
            *((f"charges[{n}]", charge) for n, charge in enumerate(order.charges, 1)),
        ]
        withheld = _withheld(part for _, part in self.parts)
        self.due = order.totals.total - withheld

    def sheet(self) -> ProofSheet:
        steps = [self.lines(), self.discounts(), self.charges(), self.tax(), self.whole(), self.invoiced()]
        steps += [self.booked(), self.paid(), self.settled()]
        if self.refunds:
            steps.append(self.given_back())
        return ProofSheet(self.order.number, self.order.currency, tuple(steps))

    # -- the document by itself --------------------------------------------------------------------------------

    def lines(self) -> ProofStep:
        """Quantity times price against each line's amount before discounts."""
        found = []
        for number, line in enumerate(self.order.lines, 1):
            off = line.list_net - line.quantity * line.unit_price
            # A price is rounded at its last decimal, and a large quantity multiplies that.
            last = Decimal(1).scaleb(min(_exponent(line.unit_price), -4))
            slack = self.cent / 2 + abs(line.quantity) * last / 2
            # Where prices include tax, a source may give the price that the buyer saw.
            shown = self.order.price_basis is PriceBasis.INCL and abs(off + line.list_tax) <= slack
            if abs(off) > slack and not shown:
                words = f"{line.quantity} x {line.unit_price} is not {line.list_net}"
                found.append(Finding(f"lines[{number}]", self.rounded(off), words))
        amount = total(line.list_net for line in self.order.lines)
        return _step("lines", amount, amount - total(f.amount for f in found), found)

    def discounts(self) -> ProofStep:
        """Discounts as the source names them against what the lines carry of them."""
        order = self.order
        allocated = total(line.list_net - line.net for line in order.lines)
        named = total(discount.net for discount in order.discounts)
        off = allocated - named
        # Each line's part of a discount is rounded by itself.
        if not order.discounts or abs(off) <= self.cent / 2 * (len(order.lines) + len(order.discounts)):
            return ProofStep("discounts", -allocated, -allocated)
        carrying = [f"lines[{n}]" for n, line in enumerate(order.lines, 1) if line.list_net != line.net]
        where = carrying[0] if len(carrying) == 1 else "discounts"
        words = f"the lines carry {allocated} and {named} is named"
        return _step("discounts", -allocated, -named, [Finding(where, -self.rounded(off), words)])

    def charges(self) -> ProofStep:
        amount = total(charge.net for charge in self.order.charges)
        shipping = self.order.totals.shipping
        own = total(c.net for c in self.order.charges if c.kind.value == "shipping")
        if shipping is None or abs(own - shipping) <= self.cent / 2:
            return ProofStep("charges", amount, amount)
        off = self.rounded(own - shipping)
        return _step(
            "charges", amount, amount - off, [Finding("charges", off, f"shipping is {own}, the order says {shipping}")]
        )

    def tax(self) -> ProofStep:
        """The source's tax against its tax lines, and these against their rates."""
        order = self.order
        found: list[Finding] = []
        exact, groups = _ZERO, set()
        for name, part in self.parts:
            pieces = part.quantity if isinstance(part, OrderLine) else Decimal(1)
            per_unit = order.rounding.level is RoundingLevel.UNIT
            for tax in part.taxes:
                exact += tax.base * tax.rate / 100
                groups.add((tax.scheme, tax.country, tax.rate))
                off = tax.amount - tax.base * tax.rate / 100
                # Half a cent of the tax, and half a cent of the net amount that it was computed from.
                slack = self.cent / 2 * (1 + tax.rate / 100) * (max(pieces, Decimal(1)) if per_unit else 1)
                if abs(off) > slack:
                    found.append(Finding(name, self.rounded(off), f"{tax.amount} is not {tax.rate} % of {tax.base}"))
            by_line = total(tax.amount for tax in part.taxes)
            if abs(part.tax - by_line) > self.cent / 2:
                words = f"its tax is {part.tax} and its tax lines give {by_line}"
                found.append(Finding(name, self.rounded(part.tax - by_line), words))
        summed = round_money(total(part.tax for _, part in self.parts), order.currency)
        off = order.totals.tax - summed
        if off:
            # A source that rounds once for the document is nearer to the exact tax than the sum of its lines is.
            once = abs(order.totals.tax - exact) <= self.cent / 2 * (len(groups) + 1)
            words = f"the order says {order.totals.tax} and its parts give {summed}"
            found.append(Finding("totals.tax", off, words, explained=once and self.off_in_total() == off))
        return _step("tax", order.totals.tax, order.totals.tax - total(f.amount for f in found), found)

    def off_in_total(self) -> Decimal:
        """The source's total beyond the sum of its parts."""
        return self.order.totals.total - round_money(
            total(part.net + part.tax for _, part in self.parts), self.order.currency
        )

    def whole(self) -> ProofStep:
        """The source's total against net amounts and tax."""
        order = self.order
        net = total(part.net for _, part in self.parts)
        expected = round_money(net + order.totals.tax, order.currency)
        off = order.totals.total - expected
        if not off:
            return ProofStep("total", order.totals.total, expected)
        if off == -(order.totals.tax - round_money(total(p.tax for _, p in self.parts), order.currency)):
            return ProofStep("total", order.totals.total, expected + off)  # it is in the tax, and named there
        words = f"lines, charges and tax give {expected} and the order says {order.totals.total}"
        closed = self.closed(EntryKind.SALE, off)
        return _step("total", order.totals.total, expected, [Finding("totals.total", off, words, explained=closed)])

    # -- what followed -----------------------------------------------------------------------------------------

    def invoiced(self) -> ProofStep:
        own = [invoice for invoice in self.invoices if invoice.order_numbers == (self.order.number,)]
        if not own:
            return ProofStep("invoiced", None, self.due)
        amount = total(invoice.net + invoice.tax for invoice in own)
        words = f"{amount} was invoiced and {self.due} is due"
        where = "invoice " + ", ".join(invoice.number for invoice in own)
        return _step("invoiced", amount, self.due, [Finding(where, amount - self.due, words)])

    def booked(self) -> ProofStep:
        """What the posted sales claim from the customer, and every entry against the one that is called for."""
        if not self.posted:
            return ProofStep("posted", None, self.due)
        invoice = next((i for i in self.invoices if i.order_numbers == (self.order.number,)), None)
        books = OrderBooks(self.order, self.channel, self.accounts, invoice)
        try:
            wanted = derive_entries(
                self.order, self.refunds, channel=self.channel, accounts=self.accounts, invoice=invoice
            )
        except MappingError as error:
            return ProofStep("posted", None, self.due, (Finding(error.field or "order", _ZERO, error.message),))
        booked = _by_key(self.posted)
        claims = {books.customer, books.accounts.deposit_account}
        sales = {entry.key for entry in wanted if entry.kind is EntryKind.SALE}
        amount = total(
            signed(line)
            for key in sales
            for entry in booked.get(key, [])
            for line in entry.lines
            if line.account in claims
        )
        return ProofStep("posted", amount, self.due if sales else amount, tuple(compare(wanted, self.posted)))

    def paid(self) -> ProofStep:
        """Payments against the order's total."""
        due = self.order.totals.total
        if self.order.payment_state not in _PAID:
            return ProofStep("paid", None, due)
        payments = [p for p in self.order.payments if p.amount]
        amount = total(p.amount for p in payments)
        where = f"payments[1] ({payments[0].source_method})" if len(payments) == 1 else "payments"
        off = amount - due
        words = f"{amount} was paid for {due}"
        explained = self.closed(EntryKind.PAYMENT, off)
        if off and not explained and self.stands_with_customer(amount):
            explained, words = True, f"{words}, the rest stands on the customer's account"
        return _step("paid", amount, due, [Finding(where, off, words, explained=explained)])

    def stands_with_customer(self, paid: Decimal) -> bool:
        """Everything that was paid is credited to the customer (or to the deposits): what is more or less than the
        order is open there, to be paid or given back (sales-accounting §10), and no cent is missing.
        """
        books = OrderBooks(self.order, self.channel, self.accounts, None)
        theirs, own = (
            {books.customer, books.accounts.deposit_account},
            f"{self.channel.connection}/{self.order.external_id}/",
        )
        credited = total(
            -signed(line)
            for entry in self.posted
            if base_key(entry.key).removeprefix(own).partition("/")[0] in ("payment", "deposit")
            for line in entry.lines
            if line.account in theirs
        )
        return credited == paid - (self.order.totals.total - self.due)

    def closed(self, kind: EntryKind, off: Decimal) -> bool:
        """The posted entries of this kind carry exactly this difference on their named line, within the limits."""
        accounts = (self.accounts.rounding_loss, self.accounts.rounding_gain)
        carried = total(
            signed(line)
            for entry in self.posted
            if entry.kind is kind
            for line in entry.lines
            if line.account in accounts
        )
        return abs(off) <= self.accounts.tolerance and carried == -off

    def settled(self) -> ProofStep:
        """What payouts list as sales of this order against what gateways and marketplaces collected for it."""

        def collected(until: date) -> Decimal:
            amount = total(p.amount for p in self._collected() if p.paid_at is None or p.paid_at.date() <= until)
            # A tax that the marketplace pays itself is collected and withheld in one: no sale lists it.
            return amount - (self.order.totals.total - self.due) if amount else amount

        return self._listed("paid_out", PayoutLineKind.SALE, collected, "was collected")

    def given_back(self) -> ProofStep:
        """What payouts list as refunds of this order against its refunds."""

        def refunded(until: date) -> Decimal:
            return -total(
                refund.amount - _withheld([*refund.lines, *refund.charges])
                for refund in self.refunds
                if refund.refunded_on <= until
            )

        return self._listed("given_back", PayoutLineKind.REFUND, refunded, "was given back")

    def _listed(self, name: str, kind: PayoutLineKind, expected: Callable[[date], Decimal], word: str) -> ProofStep:
        """What is later than the last payout that lists the order is for the next one to list."""
        listed: list[tuple[Payout, PayoutLine]] = [
            (payout, line)
            for payout in self.payouts
            for line in payout.lines
            if line.order_number == self.order.number and line.kind is kind
        ]
        if not listed:
            return ProofStep(name, None, expected(date.max))
        due = expected(max(payout.period_end for payout, _ in listed))
        amount = total(line.amount for _, line in listed)
        if amount == expected(date.max):
            due = amount  # a payout that closed its period a little later than it says
        where = "; ".join(f"payout {payout.number}, line {line.external_id}" for payout, line in listed)
        words = f"{amount} is listed and {due} {word}"
        return _step(name, amount, due, [Finding(where, amount - due, words)])

    def _collected(self) -> Iterable[Payment]:
        """The payments that a gateway or marketplace collected."""
        accounts = {provider.account for provider in self.accounts.providers.values()}
        for payment in self.order.payments:
            money = self.accounts.money(payment.method.value, payment.source_method, channel=self.channel.connection)
            if money is not None and money.account in accounts:
                yield payment

    def rounded(self, off: Decimal) -> Decimal:
        """A difference at the minor unit, as it is told; never rounded to nothing."""
        return round_money(off, self.order.currency) or off


def _withheld(parts: Iterable[OrderLine | Charge | RefundLine]) -> Decimal:
    """The tax of these parts that a marketplace collected and pays itself."""
    return total(tax.amount for part in parts for tax in part.taxes if tax.collected_by is CollectedBy.MARKETPLACE)


def _step(name: str, amount: Decimal, expected: Decimal, found: Sequence[Finding]) -> ProofStep:
    """The step with those of its findings that say a difference."""
    return ProofStep(name, amount, expected, tuple(f for f in found if f.amount))


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
