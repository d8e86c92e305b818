"""Entries of supplier invoices and credit notes (sales-accounting §11), and of tax that is paid."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, default_supplier_account
from comptoir.domain.entries import Posting, make_entry, parked, total
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.purchasing import PurchaseRegime, SupplierInvoice, SupplierInvoiceLine

__all__ = ["oss_payment_entry", "supplier_entry"]

_ZERO = Decimal(0)
_SELF_ASSESSED = (PurchaseRegime.INTRA_EU_GOODS, PurchaseRegime.REVERSE_CHARGE, PurchaseRegime.IMPORT)


def supplier_entry(invoice: SupplierInvoice, *, accounts: AccountMap) -> JournalEntry:
    """The entry of a supplier's invoice; a credit note swaps the sides.

    Key: `supplier/<supplier>/<number>`. Reverse charge and imports declare and deduct the VAT in one entry; under
    franchise en base no VAT is deducted, it is part of the cost. Raises MappingError, naming supplier, invoice and
    setting, for a kind of cost without account, VAT that cannot be right, VAT that is ours to declare and of which
    nobody said the rate, or a total that the lines do not give.
    """
    return _Purchase(invoice, accounts.on(invoice.issued_on)).entry()


def oss_payment_entry(
    period: str, by_country: Mapping[str, Decimal], *, paid_on: date, accounts: AccountMap
) -> JournalEntry:
    """The quarterly OSS payment: each country's VAT account against the bank (sales-accounting §9).

    `period` such as 2026T4. Raises MappingError when nothing is due, and when OSS or transfers have no account.
    """
    accounts = accounts.on(paid_on)
    record = f"OSS payment {period}"
    money = accounts.money("transfer", None, day=paid_on)
    if money is None or accounts.oss.vat is None or accounts.currency is None:
        raise parked(
            record, "OSS or transfers have no account", "vat", "oss", "Set accounting.oss and payments.transfer."
        )
    due = {country: amount for country, amount in sorted(by_country.items()) if amount}
    postings = [Posting(accounts.oss.vat.replace("{country}", country), amount) for country, amount in due.items()]
    entry = make_entry(
        [*postings, Posting(money.account, -total(due.values()))],
        accounts=accounts,
        key=f"oss/{period}/payment",
        kind=EntryKind.TAX_PAYMENT,
        journal=(money.journal, money.journal_label),
        piece=f"OSS{period}",
        posted_on=paid_on,
        label=f"Paiement TVA OSS {period}",
        currency=accounts.currency,
        channel="oss",
        document=period,
        reference=period,
    )
    if entry is None:
        raise parked(record, "nothing is due", "by_country", "oss", "A return without sales has no payment.")
    return entry


class _Purchase:
    def __init__(self, invoice: SupplierInvoice, accounts: AccountMap) -> None:
        self.invoice = invoice
        self.accounts = accounts
        self.record = f"invoice {invoice.number} of {invoice.supplier}"
        self.sign = -1 if invoice.credit else 1

    def park(self, message: str, field: str, code: str, hint: str) -> MappingError:
        return parked(self.record, message, field, code, hint)

    def entry(self) -> JournalEntry:
        invoice, accounts = self.invoice, self.accounts
        if invoice.currency != accounts.currency:
            raise self.park(
                f"it is in {invoice.currency} and the books are in {accounts.currency}",
                "currency",
                "currency",
                "Enter it by hand with the rate of the day: no rate is ever guessed.",
            )
        if invoice.withheld_by is not None:
            raise self.park(
                f"it was paid by being withheld from the payouts of {invoice.withheld_by}",
                "withheld_by",
                "fee_invoice",
                "Attach it to its payouts: its costs are booked with them.",
            )
        self.check_self_assessed()
        costs: list[Posting] = []
        vat: list[Posting] = []
        owed: dict[str, Decimal] = {invoice.supplier: -invoice.discount}
        for number, line in enumerate(invoice.lines, 1):
            self.check(line, number)
            in_cost, of_line = self.vat(line)
            code = f"purchase-{invoice.regime.value}" if not line.asset else f"purchase-assets-{invoice.regime.value}"
            costs.append(
                Posting(self.cost(line, number), line.net + in_cost, line.label, vat_code=code, vat_rate=line.rate)
            )
            vat += of_line
            payee = line.payee or invoice.supplier
            charged = line.tax if invoice.regime is PurchaseRegime.DOMESTIC else _ZERO
            owed[payee] = owed.get(payee, _ZERO) + line.net + charged
        difference = invoice.total - owed[invoice.supplier]
        if abs(difference) > accounts.tolerance:
            raise self.park(
                f"its lines give {owed[invoice.supplier]} and it says {invoice.total}",
                "total",
                "residual",
                f"More than the {accounts.tolerance} that may be rounding: look at the invoice.",
            )
        owed[invoice.supplier] = invoice.total
        postings = [*costs, *_merged(vat), Posting(accounts.purchases.discount_account, -invoice.discount)]
        if difference:
            postings.append(Posting(accounts.rounding_loss if difference > 0 else accounts.rounding_gain, difference))
        for supplier, amount in owed.items():
            account = accounts.purchases.suppliers.get(supplier) or default_supplier_account(supplier)
            postings.append(Posting(account, -amount, due_on=invoice.due_on))
        entry = make_entry(
            [self.turned(posting) for posting in postings],
            accounts=accounts,
            key=f"supplier/{invoice.supplier}/{invoice.number}",
            kind=EntryKind.PURCHASE_CREDIT if invoice.credit else EntryKind.PURCHASE,
            journal=(accounts.purchases.journal, accounts.purchases.journal_label),
            piece=invoice.number,
            posted_on=invoice.issued_on,
            label=f"{'Avoir' if invoice.credit else 'Facture'} {invoice.supplier} {invoice.number}",
            currency=invoice.currency,
            channel="supplier",
            document=invoice.number,
            flags=["rounding"] if difference else [],
            reference=invoice.number,
            invoice=invoice.number,
        )
        if entry is None:
            raise self.park("it has no amount", "lines", "total", "There is nothing to book.")
        return entry

    def turned(self, posting: Posting) -> Posting:
        """For a credit note, the other side."""
        if self.sign > 0:
            return posting
        return Posting(
            posting.account, -posting.amount, posting.label, posting.vat_code, posting.vat_rate, due_on=posting.due_on
        )

    def cost(self, line: SupplierInvoiceLine, number: int) -> str:
        account = self.accounts.purchases.costs.get(line.cost)
        if account is None:
            raise self.park(
                f"a cost of the kind {line.cost!r} has no account",
                f"lines[{number}].cost",
                "cost_kind",
                f"Set accounting.purchases.costs.{line.cost}.",
            )
        return account

    def check(self, line: SupplierInvoiceLine, number: int) -> None:
        """VAT that the regime does not have, or that its rate cannot give."""
        regime, field = self.invoice.regime, f"lines[{number}].tax"
        if line.tax and regime is PurchaseRegime.NO_VAT:
            raise self.park(
                f"it has {line.tax} of VAT and no VAT regime", field, "vat_on_untaxed", "Correct the regime."
            )
        if line.tax and line.rate is None:
            raise self.park("it has VAT and no rate", field, "tax_without_rate", "Say the rate of the line.")
        # The base of import VAT is the customs value, which is more than the line.
        if line.rate is not None and regime is not PurchaseRegime.IMPORT:
            bases = (line.net, line.net - self.discounted(line))
            off = min((line.tax - base * line.rate / 100 for base in bases), key=abs)
            if abs(off) > self.accounts.vat_tolerance_cap:
                raise self.park(
                    f"VAT at {line.rate} % is off by {off:.2f}",
                    field,
                    "vat_check",
                    "Look at the invoice: net and VAT do not belong to this rate.",
                )

    def check_self_assessed(self) -> None:
        """VAT that the buyer declares himself stands on no invoice: whoever enters it says the rate."""
        invoice = self.invoice
        silent = [number for number, line in enumerate(invoice.lines, 1) if line.net and line.rate is None]
        # The VAT of an import stands once for the goods and what is charged with them.
        enough = len(silent) < len(invoice.lines) if invoice.regime is PurchaseRegime.IMPORT else not silent
        if invoice.regime in _SELF_ASSESSED and not enough:
            raise self.park(
                f"its VAT is ours to declare ({invoice.regime.value}), and its rate is not said",
                f"lines[{silent[0]}].rate",
                "self_assessed",
                "Say rate and VAT of the line; 0 where none is due.",
            )

    def discounted(self, line: SupplierInvoiceLine) -> Decimal:
        """The line's part of the escompte, which lowers what its VAT is computed on."""
        whole = total(one.net for one in self.invoice.lines)
        return self.invoice.discount * line.net / whole if whole else _ZERO

    def vat(self, line: SupplierInvoiceLine) -> tuple[Decimal, list[Posting]]:
        """What of the VAT is part of the cost, and the postings of the rest."""
        regime, books, franchise = self.invoice.regime, self.accounts.vat_books, self.accounts.franchise
        code = f"purchase-assets-{regime.value}" if line.asset else f"purchase-{regime.value}"
        deductible = {
            PurchaseRegime.DOMESTIC: books.deductible_assets if line.asset else books.deductible,
            PurchaseRegime.IMPORT: books.deductible_import,
        }.get(regime, books.deductible_intra_eu)
        found = [] if franchise else [Posting(deductible, line.tax, vat_code=code, vat_rate=line.rate)]
        if regime in _SELF_ASSESSED:
            due = books.due_import if regime is PurchaseRegime.IMPORT else books.due_intra_eu
            found.append(Posting(due, -line.tax, vat_code=code, vat_rate=line.rate))
        return line.tax if franchise else _ZERO, found


def _merged(postings: list[Posting]) -> list[Posting]:
    """One posting for each account, code and rate."""
    sums: dict[tuple[str, str | None, Decimal | None], Decimal] = {}
    for p in postings:
        key = (p.account, p.vat_code, p.vat_rate)
        sums[key] = sums.get(key, _ZERO) + p.amount
    return [Posting(account, amount, vat_code=code, vat_rate=rate) for (account, code, rate), amount in sums.items()]
