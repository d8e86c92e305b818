"""Entries of Z closings (sales-accounting §6): one entry per Z, its cash difference, and cash taken to the bank."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from comptoir.domain.account_settings import Till
from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import Posting, make_entry, parked, total
from comptoir.errors import MappingError
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import TaxScheme
from comptoir.model.order import PaymentMethod
from comptoir.model.till import TenderTotal, TillSales, ZReport

__all__ = ["z_entries"]

_ZERO = Decimal(0)


def z_entries(report: ZReport, *, accounts: AccountMap) -> list[JournalEntry]:
    """The entries of one closing.

    Keys: `<till>/<Z's id>/z`, `/difference`, `/movement/<id>` and `/movement/<id>/arrived`. Sales and tenders may
    differ by the till's tolerance (658/758). Raises MappingError, naming Z and setting, for a rate or a means of
    payment that has no account, VAT that cannot be right, gift cards of an undeclared kind, or a larger difference.
    """
    return _Closing(report, accounts.on(report.closed_on)).entries()


class _Closing:
    def __init__(self, report: ZReport, accounts: AccountMap) -> None:
        self.report = report
        self.accounts = accounts
        self.till = accounts.tills.get(report.till, Till())
        self.record = f"Z {report.number} of {report.till}"
        register = re.sub(r"[^A-Z0-9]", "", report.till.upper())
        self.piece = f"Z{register}-{report.number}"

    def park(self, message: str, field: str, code: str, hint: str) -> MappingError:
        return parked(self.record, message, field, code, hint)

    def entries(self) -> list[JournalEntry]:
        report = self.report
        if report.currency != self.accounts.currency:
            raise self.park(
                f"it is in {report.currency} and the books are in {self.accounts.currency}",
                "currency",
                "currency",
                "Enter it by hand with the rate of the day: no rate is ever guessed.",
            )
        found = [self.closing(), self.difference()]
        for movement in report.movements:
            cash, bank = (self.till.journal, self.till.journal_label), self.bank
            transfer, drawer = self.till.transfer_account, self.till.cash_account
            out = [Posting(transfer, movement.amount), Posting(drawer, -movement.amount)]
            found.append(
                self.entry(EntryKind.TRANSFER, f"movement/{movement.external_id}", movement.taken_on, out, cash, "V")
            )
            if movement.arrived_on is not None:
                into = [Posting(bank[0], movement.amount), Posting(transfer, -movement.amount)]
                path = f"movement/{movement.external_id}/arrived"
                found.append(self.entry(EntryKind.TRANSFER, path, movement.arrived_on, into, bank[1:], "W"))
        return [entry for entry in found if entry is not None]

    @property
    def bank(self) -> tuple[str, str, str]:
        """Account and journal that cash is taken to: those of transfers."""
        money = self.accounts.money(PaymentMethod.TRANSFER.value, None, channel=self.report.till)
        if money is None:
            raise self.park("transfers have no account", "movements", "payment_account", "Set payments.transfer.")
        return money.account, money.journal, money.journal_label

    def closing(self) -> JournalEntry | None:
        report, accounts = self.report, self.accounts
        money = [self.tender(tender) for tender in report.tenders]
        sales = [posting for line in report.sales for posting in self.sold(line)]
        customer = accounts.channel(report.till).customer_account
        others = [Posting(customer, report.on_account), Posting(customer, -report.old_invoices)]
        if report.gift_cards_sold:
            if accounts.gift_card_kind(None) != "multi_purpose":
                raise self.park(
                    f"it sold gift cards for {report.gift_cards_sold}, and it is not said that they are multi-purpose",
                    "gift_cards_sold",
                    "gift_card_kind",
                    'Set accounting.gift_cards = "multi_purpose"; single-purpose cards are sales with VAT.',
                )
            others.append(Posting(accounts.gift_card_account, -report.gift_cards_sold))
        postings = [*money, *others, *sales]
        difference = -total(posting.amount for posting in postings)
        if abs(difference) > self.till.tolerance:
            raise self.park(
                f"its sales and its means of payment differ by {difference}",
                "tenders",
                "residual",
                f"More than the {self.till.tolerance} that may be rounding: look at the closing on the till.",
            )
        if difference:
            postings.append(Posting(accounts.rounding_loss if difference > 0 else accounts.rounding_gain, difference))
        return self.entry(
            EntryKind.TILL,
            "z",
            report.closed_on,
            postings,
            (self.till.journal, self.till.journal_label),
            "",
            ["rounding"] if difference else [],
        )

    def sold(self, line: TillSales) -> list[Posting]:
        """Revenue and VAT of one rate."""
        accounts = self.accounts
        if line.scheme not in (TaxScheme.DOMESTIC, TaxScheme.EXEMPT):
            raise self.park(
                f"it has sales of the scheme {line.scheme.value}",
                "sales.scheme",
                "till_scheme",
                "A till sells on the spot; book exports and sales to other countries from their invoices.",
            )
        shown = format(line.rate.normalize(), "f")
        if accounts.franchise or line.scheme is TaxScheme.EXEMPT:
            if line.tax:
                raise self.park(
                    f"it has {line.tax} of VAT on sales without VAT",
                    "sales.tax",
                    "franchise" if accounts.franchise else "vat_on_untaxed",
                    "Correct the till's settings.",
                )
            group, code = (accounts.without_vat, "franchise") if accounts.franchise else (accounts.exempt, "exempt")
            return [Posting(group.sales, -line.net, vat_code=code)]
        known = accounts.rate(line.rate)
        if known is None or (known.vat is None and line.tax):
            raise self.park(
                f"the VAT rate {shown} % has no accounts",
                "sales.rate",
                "vat_rate",
                f'Add it: [accounting.vat] "{shown}" = {{sales = "7071..", shipping = "7085..", vat = "44571.."}}.',
            )
        off = line.tax - line.net * line.rate / 100
        if abs(off) > accounts.vat_tolerance_cap:
            raise self.park(
                f"VAT at {shown} % is off by {off:.2f}",
                "sales.tax",
                "vat_check",
                "Look at the closing on the till: net and VAT do not belong to this rate.",
            )
        state = "FR" if accounts.country == "MC" else accounts.country
        code = f"domestic-{state}-{shown}" if line.rate else "exempt"
        found = [Posting(known.sales, -line.net, vat_code=code, vat_rate=line.rate)]
        if known.vat is not None:
            found.append(Posting(known.vat, -line.tax, vat_code=code, vat_rate=line.rate))
        return found

    def tender(self, tender: TenderTotal) -> Posting:
        accounts = self.accounts
        if tender.method is PaymentMethod.CASH:
            account = self.till.cash_account
        elif tender.method is PaymentMethod.GIFT_CARD:
            if accounts.gift_card_kind(None) != "multi_purpose":
                raise self.park(
                    "a gift card was used, and its kind does not allow to book it",
                    "tenders",
                    "gift_card_kind",
                    'Set accounting.gift_cards = "multi_purpose" if VAT is due when cards are used.',
                )
            account = accounts.gift_card_account
        else:
            money = accounts.money(
                tender.method.value, tender.source_method, channel=self.report.till, day=self.report.closed_on
            )
            if money is None:
                raise self.park(
                    f"payments by {tender.source_method or tender.method.value!r} have no account",
                    "tenders",
                    "payment_account",
                    f"Add accounting.payments.{tender.method.value}.",
                )
            account = money.account
        return Posting(account, tender.amount, method=tender.method)

    def difference(self) -> JournalEntry | None:
        """Cash that is missing, or too much, when the drawer was counted."""
        report = self.report
        if report.cash_counted is None or report.cash_expected is None:
            return None
        missing = report.cash_expected - report.cash_counted
        account = self.accounts.rounding_loss if missing > 0 else self.accounts.rounding_gain
        return self.entry(
            EntryKind.CASH_DIFFERENCE,
            "difference",
            report.closed_on,
            [Posting(account, missing), Posting(self.till.cash_account, -missing)],
            (self.till.journal, self.till.journal_label),
            "E",
        )

    def entry(
        self,
        kind: EntryKind,
        path: str,
        day: date,
        postings: Iterable[Posting],
        journal: tuple[str, str],
        mark: str,
        flags: Iterable[str] = (),
    ) -> JournalEntry | None:
        report = self.report
        words = {
            EntryKind.TILL: "Ventes caisse",
            EntryKind.CASH_DIFFERENCE: "Ecart de caisse",
            EntryKind.TRANSFER: "Remise en banque",
        }
        number = path.split("/")[1] if path.startswith("movement/") else ""
        return make_entry(
            postings,
            accounts=self.accounts,
            key=f"{report.till}/{report.external_id}/{path}",
            kind=kind,
            journal=journal,
            piece=f"{self.piece}{mark}{number}",
            posted_on=day,
            label=f"{words[kind]} {report.till} Z{report.number}",
            currency=report.currency,
            channel=report.till,
            document=f"Z{report.number}",
            flags=list(flags),
            reference=self.piece,
        )
