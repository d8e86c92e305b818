"""Entries of payouts: what a gateway or marketplace kept and transferred (sales-accounting §4, §5).

VAT of fees that are withheld is deductible only with the fee invoice (CGI 271-II): it waits on 44586 and moves to 44566
when the invoice is there. Under franchise en base nothing goes to 4456x. A kind of line or fee that has no account
blocks the whole payout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from comptoir.domain.account_settings import Provider
from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import Posting, make_entry, parked, signed, total
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import round_money
from comptoir.model.payout import Fee, Payout, PayoutLine, PayoutLineKind
from comptoir.model.purchasing import SupplierInvoice

__all__ = ["fee_invoice_entry", "payout_entries"]

_ZERO = Decimal(0)
_ORDERS = (PayoutLineKind.SALE, PayoutLineKind.REFUND)
_DISPUTES = (PayoutLineKind.DISPUTE, PayoutLineKind.DISPUTE_WON)
_TAXES = (PayoutLineKind.TAX_COLLECTED, PayoutLineKind.TAX_WITHHELD)
#: Money that stays with the provider: nothing moves.
_STAYS = (PayoutLineKind.RESERVE,)


def payout_entries(payout: Payout, *, accounts: AccountMap) -> list[JournalEntry]:
    """The entry of a payout, and one of each dispute in it.

    Keys: `<provider>/<payout id>/payout`, `<provider>/<payout id>/dispute/<line id>`. What the payout is worth beyond
    its lines goes to 658/758 within the provider's tolerance; more stays on the provider's account under the flag
    `remainder` (see `comptoir.domain.clearing`). Raises MappingError, naming payout, line and setting.
    """
    return _Payout(payout, accounts).entries()


def fee_invoice_entry(
    invoice: SupplierInvoice, posted: Iterable[JournalEntry], *, accounts: AccountMap
) -> JournalEntry | None:
    """Moves the VAT of withheld fees from 44586 to 44566 now that their invoice is attached.

    `posted` is everything that stands in the journal of the payouts that the invoice covers, and of fee invoices
    attached to them before. None under franchise en base. Raises MappingError when the invoice's VAT is not what
    waits for it, or when it is already deducted.
    """
    record = f"fee invoice {invoice.number}"
    accounts = accounts.on(invoice.issued_on)
    if invoice.withheld_by is None or invoice.credit:
        raise parked(
            record,
            "it does not say from which payouts it was withheld",
            "withheld_by",
            "fee_invoice",
            "An invoice that is paid is booked with the purchases.",
        )
    provider = _provider(record, invoice.withheld_by, accounts)
    _same_currency(record, invoice.currency, accounts)
    if accounts.franchise:
        return None
    waiting_account = accounts.vat_books.awaiting_invoice
    waiting = total(
        signed(line)
        for entry in posted
        if entry.channel == invoice.withheld_by
        for line in entry.lines
        if line.account == waiting_account
    )
    tax = total(line.tax for line in invoice.lines)
    difference = waiting - tax
    if waiting == 0 or abs(difference) > provider.tolerance:
        raise parked(
            record,
            f"its VAT is {tax} and {waiting} wait for it on {waiting_account}",
            "lines.tax",
            "fee_invoice",
            "Say which payouts it covers; when the fees were invoiced without VAT, correct "
            f"accounting.providers.{invoice.withheld_by}.fee_vat.",
        )
    postings = [
        Posting(accounts.vat_books.deductible, tax, vat_code="purchase-domestic"),
        Posting(waiting_account, -waiting),
    ]
    if difference:
        postings.append(Posting(accounts.rounding_loss if difference > 0 else accounts.rounding_gain, difference))
    return make_entry(
        postings,
        accounts=accounts,
        key=f"{invoice.withheld_by}/fee_invoice/{invoice.supplier}/{invoice.number}",
        kind=EntryKind.FEE_VAT,
        journal=(accounts.general_journal, accounts.general_journal_label),
        piece=invoice.number,
        posted_on=invoice.issued_on,
        label=f"TVA facture {invoice.supplier} {invoice.number}",
        currency=invoice.currency,
        channel=invoice.withheld_by,
        document=invoice.number,
        flags=["rounding"] if difference else [],
        reference=invoice.number,
        invoice=invoice.number,
    )


class _Payout:
    def __init__(self, payout: Payout, accounts: AccountMap) -> None:
        self.payout = payout
        self.record = f"payout {payout.number} of {payout.provider}"
        self.accounts = accounts.on(payout.paid_on)
        _same_currency(self.record, payout.currency, self.accounts)
        self.provider = _provider(self.record, payout.provider, self.accounts)

    def park(self, message: str, field: str, code: str, hint: str) -> MappingError:
        return parked(self.record, message, field, code, hint)

    def entries(self) -> list[JournalEntry]:
        payout, provider = self.payout, self.provider
        account = provider.account
        disputes = [line for line in payout.lines if line.kind in _DISPUTES]
        lines = [line for line in payout.lines if line.kind not in _DISPUTES]
        taxes = total(line.amount for line in lines if line.kind in _TAXES)
        if taxes:
            raise self.park(
                f"the tax that it collected and withheld does not cancel out: {taxes} are left",
                "lines",
                "payout_tax",
                "Tax that a marketplace pays itself is never ours; look at the settlement's tax lines.",
            )
        costs = self.fees([fee for line in lines for fee in line.fees])
        others = [posting for line in lines for posting in self.other(line)]
        remainder, flags = payout.remainder, []
        rounding: list[Posting] = []
        if remainder and abs(remainder) <= provider.tolerance:
            flags.append("rounding")
            gain = self.accounts.rounding_gain if remainder > 0 else self.accounts.rounding_loss
            rounding = [Posting(account, remainder), Posting(gain, -remainder)]
        elif remainder:
            flags.append("remainder")
        withheld = total(cost.amount for cost in costs)
        bank = Posting(provider.bank_account, payout.amount)
        if provider.clears == "orders":
            kept = Posting(account, -withheld - payout.amount)
            postings = [bank, *costs, *others, *rounding, kept]
        else:
            postings = [*self.settled(lines), *costs, Posting(account, -withheld)]
            postings += [*others, *rounding, bank, Posting(account, -payout.amount)]
        found = [self.entry(EntryKind.PAYOUT, "payout", payout.number, None, postings, flags)]
        found += [self.dispute(line, number) for number, line in enumerate(disputes, 1)]
        return [entry for entry in found if entry is not None]

    def settled(self, lines: Sequence[PayoutLine]) -> list[Posting]:
        """What the customers owed moves to the provider's account, sales and refunds apart."""
        postings: list[Posting] = []
        for kind in _ORDERS:
            amount = total(line.amount for line in lines if line.kind is kind)
            if amount:
                postings += [Posting(self.provider.account, amount), Posting(self.customer, -amount)]
        return postings

    @property
    def customer(self) -> str:
        if self.provider.channel is None:
            raise self.park(
                "it is not said whose customers it pays for",
                "provider",
                "provider_channel",
                f"Set accounting.providers.{self.payout.provider}.channel to the connection of its orders.",
            )
        return self.accounts.channel(self.provider.channel).customer_account

    def dispute(self, line: PayoutLine, number: int) -> JournalEntry | None:
        """A chargeback: the customer owes again, and its fee; won, the way back."""
        costs = self.fees(line.fees)
        moved = line.amount - total(cost.amount for cost in costs)
        return self.entry(
            EntryKind.CHARGEBACK,
            f"dispute/{line.external_id}",
            f"{self.payout.number}L{number}",
            line,
            [Posting(self.customer, -line.amount), *costs, Posting(self.provider.account, moved)],
            [],
        )

    def other(self, line: PayoutLine) -> list[Posting]:
        """A loan, an adjustment: the provider's account against the one that was said for it."""
        if line.kind in (*_ORDERS, *_TAXES, *_STAYS, PayoutLineKind.FEE) or not line.amount:
            if line.kind is PayoutLineKind.FEE and line.amount:
                raise self.park(
                    f"the line {line.external_id} is a fee and has an amount beside it",
                    "lines.amount",
                    "payout_line",
                    "The amount of a fee stands in its fees: correct the connector's mapping.",
                )
            return []
        account = self.provider.others.get(line.source_kind) or self.provider.others.get(line.kind.value)
        if account is None and line.kind is PayoutLineKind.EXCHANGE:
            account = self.accounts.exchange_gain if line.amount > 0 else self.accounts.exchange_loss
        if account is None:
            raise self.park(
                f"a line of the kind {line.kind.value} ({line.source_kind}, {line.amount}) has no account",
                "lines.kind",
                "payout_kind",
                f"Set accounting.providers.{self.payout.provider}.others.{line.kind.value}.",
            )
        return [Posting(self.provider.account, line.amount), Posting(account, -line.amount, label=line.label)]

    # -- fees --------------------------------------------------------------------------------------------------

    def fees(self, fees: Sequence[Fee]) -> list[Posting]:
        """Costs by account with their VAT; the postings' sum is what was withheld."""
        by_account: dict[str, list[Fee]] = {}
        for fee in fees:
            account = self.provider.fees.get(fee.kind) or self.accounts.fees.get(fee.kind)
            if account is None:
                raise self.park(
                    f"a fee of the kind {fee.kind!r} ({fee.withheld}) has no account",
                    "lines.fees",
                    "fee_kind",
                    f"Set accounting.fees.{fee.kind}, or accounting.providers.{self.payout.provider}.fees.{fee.kind}.",
                )
            by_account.setdefault(account, []).append(fee)
        if not any(fee.withheld for fee in fees):
            return []
        costs, vat = self._with_vat(by_account)
        return [*costs, *vat]

    def _with_vat(self, by_account: dict[str, list[Fee]]) -> tuple[list[Posting], list[Posting]]:
        regime, books = self.provider.fee_vat, self.accounts.vat_books
        shown = total(fee.tax or _ZERO for fees in by_account.values() for fee in fees)
        if regime == "undeclared" or (regime != "domestic" and shown):
            raise self.park(
                "it is not said how its fees are invoiced" if regime == "undeclared" else
                f"its fees show {shown} of VAT, and accounting says that they are {regime}",
                "lines.fees",
                "fee_vat",
                f"Look at the monthly fee invoice and set accounting.providers.{self.payout.provider}.fee_vat to "
                '"exempt", "domestic" or "reverse_charge".',
            )  # fmt: skip
        costs: list[Posting] = []
        waiting = reverse = _ZERO
        for account, fees in by_account.items():
            net = total(fee.net for fee in fees)
            tax = _ZERO
            if regime == "domestic":
                net, tax = self._split(fees)
            elif regime == "reverse_charge":
                reverse += (tax := self._on_top(net))
            if self.accounts.franchise:
                costs.append(Posting(account, net + tax))
            else:
                costs.append(Posting(account, net, vat_code=f"fees-{regime}", vat_rate=self.provider.fee_rate))
                waiting += tax if regime == "domestic" else _ZERO
        vat = [Posting(books.awaiting_invoice, waiting)]
        if reverse:
            code = "purchase-reverse_charge"
            due = Posting(books.due_intra_eu, -reverse, vat_code=code, vat_rate=self.provider.fee_rate)
            deducted = Posting(books.deductible_intra_eu, reverse, vat_code=code, vat_rate=self.provider.fee_rate)
            vat = [due] if self.accounts.franchise else [deducted, due]
        return costs, [posting for posting in vat if posting.amount]

    def _split(self, fees: Sequence[Fee]) -> tuple[Decimal, Decimal]:
        """Net and VAT of fees withheld with French VAT: as shown, else split by the rate that the merchant gave."""
        net = total(fee.net for fee in fees if fee.tax is not None)
        tax = total(fee.tax or _ZERO for fee in fees)
        gross = total(fee.net for fee in fees if fee.tax is None)
        if gross:
            rate = self._rate()
            part = round_money(gross / (1 + rate / 100), self.payout.currency)
            net, tax = net + part, tax + gross - part
        return net, tax

    def _on_top(self, net: Decimal) -> Decimal:
        return round_money(net * self._rate() / 100, self.payout.currency)

    def _rate(self) -> Decimal:
        if self.provider.fee_rate is None:
            raise self.park(
                "the rate of the VAT on its fees is not known",
                "lines.fees",
                "fee_vat",
                f"Set accounting.providers.{self.payout.provider}.fee_rate to that of the monthly fee invoice.",
            )
        return self.provider.fee_rate

    def entry(
        self,
        kind: EntryKind,
        path: str,
        piece: str,
        line: PayoutLine | None,
        postings: Iterable[Posting],
        flags: Sequence[str],
    ) -> JournalEntry | None:
        payout, provider = self.payout, self.provider
        word = "Versement" if line is None else "Litige"
        return make_entry(
            postings,
            accounts=self.accounts,
            key=f"{payout.provider}/{payout.external_id}/{path}",
            kind=kind,
            journal=(provider.journal, provider.journal_label),
            piece=piece,
            posted_on=payout.paid_on if line is None else line.occurred_on,
            label=f"{word} {provider.journal_label} {payout.number if line is None else line.order_number or piece}",
            currency=payout.currency,
            channel=payout.provider,
            document=payout.number if line is None else line.order_number or payout.number,
            flags=flags,
            reference=payout.number,
        )


def _provider(record: str, name: str, accounts: AccountMap) -> Provider:
    provider = accounts.providers.get(name)
    if provider is None:
        raise parked(
            record,
            f"the provider {name!r} has no account",
            "provider",
            "provider",
            f'Add it: [accounting.providers.{name}] account = "467..", journal = "..", journal_label = "..".',
        )
    return provider


def _same_currency(record: str, currency: str, accounts: AccountMap) -> None:
    if currency != accounts.currency:
        raise parked(
            record,
            f"it is in {currency} and the books are in {accounts.currency}",
            "currency",
            "currency",
            "Enter it by hand with the rate of the day: no rate is ever guessed.",
        )
