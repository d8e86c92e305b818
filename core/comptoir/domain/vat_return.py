"""The monthly VAT sheet: what the posted entries put into each box of the return, and into each OSS country.

Boxes are those of the French return 3310-CA3 as a proposal: the accountant checks them against the form in force
(`[accounting.vat_boxes]` changes one). The sheet is made from what each line says about its VAT (`vat_code`), and
every tax is compared with what its account is for, which says the same by another way; a line that says nothing counts
as its account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, SchemeAccounts
from comptoir.domain.entries import signed, total
from comptoir.model.accounting import JournalEntry, JournalLine

__all__ = ["BASE_BOXES", "TAX_BOXES", "OssLine", "VatBox", "VatSheet", "vat_sheet"]

_ZERO = Decimal(0)
#: VAT code, or its beginning -> box that takes the amount net of tax. "" : in no box of the return.
BASE_BOXES: Mapping[str, str] = {
    "domestic-FR-20": "08",
    "domestic-FR-5.5": "09",
    "domestic-FR-10": "9B",
    "domestic-FR-2.1": "T6",
    "domestic-dom-8.5": "10",
    "domestic-dom-2.1": "11",
    "domestic-dom-1.75": "T1",
    "domestic-dom-1.05": "T2",
    "domestic-corsica-13": "TC",
    "domestic-corsica-2.1": "T4",
    "domestic-corsica-0.9": "T5",
    "export": "E1",
    "dom": "E1",
    "exempt": "E2",
    "marketplace": "E2",
    "oss": "E3",
    "ioss": "E3",
    "intra_eu": "F2",
    "franchise": "",
    "purchase-reverse_charge": "A3",
    "purchase-import": "A4",
    "purchase-intra_eu_goods": "B2",
    "purchase-assets-reverse_charge": "A3",
    "purchase-assets-import": "A4",
    "purchase-assets-intra_eu_goods": "B2",
    "purchase-domestic": "",
    "purchase-assets-domestic": "",
    "purchase-no_vat": "",
    "purchase-assets-no_vat": "",
    "fees-reverse_charge": "A3",
    "fees-domestic": "",
    "fees-exempt": "",
}
#: The same for tax that is due; self-assessed tax goes to the box of its rate as well.
TAX_BOXES: Mapping[str, str] = {
    **{code: box for code, box in BASE_BOXES.items() if code.startswith("domestic-")},
    "purchase-reverse_charge-20": "08",
    "purchase-reverse_charge-10": "9B",
    "purchase-reverse_charge-5.5": "09",
    "purchase-intra_eu_goods-20": "08",
    "purchase-intra_eu_goods-10": "9B",
    "purchase-intra_eu_goods-5.5": "09",
    "purchase-intra_eu_goods-2.1": "T6",
    "purchase-import-20": "I1",
    "purchase-import-10": "I2",
    "purchase-import-5.5": "I4",
    "purchase-import-2.1": "I5",
    "oss": "",
    "ioss": "",
}
_DEDUCTIBLE, _DEDUCTIBLE_ASSETS, _TAXED_SALES = "20", "19", "A1"


@dataclass(slots=True)
class VatBox:
    """One box: net amount and tax; turnover and tax due are positive, deductible tax too."""

    base: Decimal = _ZERO
    tax: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class OssLine:
    """One line of the OSS return: country, rate, net amount and tax."""

    country: str
    rate: Decimal
    base: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class VatSheet:
    """A month's sheet. `differences` are VAT accounts that hold tax which the boxes count as something else, with the
    amount; `unplaced` what no box takes, by VAT code or account. Both are empty when the sheet can be used.
    """

    first: date
    last: date
    boxes: Mapping[str, VatBox]
    oss: tuple[OssLine, ...]
    deposits_tax: Decimal
    differences: Mapping[str, Decimal]
    unplaced: Mapping[str, Decimal]

    @property
    def due(self) -> Decimal:
        """The tax of all boxes that is due, before deduction."""
        deductible = (_DEDUCTIBLE, _DEDUCTIBLE_ASSETS)
        return total(box.tax for name, box in self.boxes.items() if name not in deductible)

    @property
    def deductible(self) -> Decimal:
        """The tax that is deducted."""
        return total(self.boxes[name].tax for name in (_DEDUCTIBLE, _DEDUCTIBLE_ASSETS) if name in self.boxes)


def vat_sheet(entries: Iterable[JournalEntry], *, accounts: AccountMap, first: date, last: date) -> VatSheet:
    """The sheet of a period: entries posted from `first` to `last`; others are ignored.

    The OSS part needs the lines' `vat_code` and `vat_rate`, as `derive_entries` and its siblings make them: an account
    does not say the rate.
    """
    return _Sheet(accounts.on(last)).of((e for e in entries if first <= e.posted_on <= last), first, last)


class _Sheet:
    def __init__(self, accounts: AccountMap) -> None:
        self.accounts = accounts
        books = accounts.vat_books
        self.deductible = {
            books.deductible: _DEDUCTIBLE,
            books.deductible_intra_eu: _DEDUCTIBLE,
            books.deductible_import: _DEDUCTIBLE,
            books.deductible_assets: _DEDUCTIBLE_ASSETS,
        }
        #: What an account means by itself: a VAT code or the beginning of one.
        self.vat_meaning = dict.fromkeys(self.deductible, "purchase-")
        self.vat_meaning |= {books.due_intra_eu: "purchase-", books.due_import: "purchase-import"}
        self.base_meaning: dict[str, str] = {}
        state = "FR" if accounts.country in (None, "MC") else str(accounts.country)
        for region, group in ((state, accounts.vat), ("dom", accounts.dom_vat), ("corsica", accounts.corsica_vat)):
            for rate, of_rate in group.items():
                code = f"domestic-{region}-{_shown(Decimal(rate))}" if Decimal(rate) else "exempt"
                if of_rate.vat is not None:
                    self.vat_meaning[of_rate.vat] = code
                self._bases(of_rate, code)
        for name in ("intra_eu", "export", "dom", "marketplace", "exempt"):
            self._bases(getattr(accounts, name), name)
        if accounts.franchise:
            self._bases(accounts.without_vat, "franchise")
        for rule in accounts.sales:
            if rule.vat is not None:
                self.vat_meaning.setdefault(rule.vat, "")
        groups = (("oss", accounts.oss), ("ioss", accounts.ioss))
        self.oss_prefixes = {
            group.vat.replace("{country}", ""): name for name, group in groups if group is not None and group.vat
        }
        self.boxes: dict[str, VatBox] = {}
        self.oss: dict[tuple[str, Decimal], VatBox] = {}
        self.differences: dict[str, Decimal] = {}
        self.unplaced: dict[str, Decimal] = {}
        self.deposits = _ZERO

    def _bases(self, group: SchemeAccounts, code: str) -> None:
        for account in (group.sales, group.shipping, group.rebate):
            if account is not None:
                self.base_meaning[account] = code

    def of(self, entries: Iterable[JournalEntry], first: date, last: date) -> VatSheet:
        for entry in entries:
            for line in entry.lines:
                meaning = self.meaning(line.account)
                if meaning is not None:
                    self.tax(line, meaning)
                else:
                    self.base(line)
        oss = tuple(
            OssLine(country, rate, box.base, box.tax)
            for (country, rate), box in sorted(self.oss.items())
            if box.base or box.tax
        )
        return VatSheet(
            first, last, dict(sorted(self.boxes.items())), oss, self.deposits, _left(self.differences),
            _left(self.unplaced),
        )  # fmt: skip

    def meaning(self, account: str) -> str | None:
        """What a VAT account is for; None for other accounts. 44586 and 44587 wait and are in no box."""
        known = self.vat_meaning.get(account)
        if known is not None:
            return known
        for prefix, name in self.oss_prefixes.items():
            if account.startswith(prefix) and len(account) > len(prefix):
                return f"{name}-{account.removeprefix(prefix)}"
        return None

    def tax(self, line: JournalLine, meaning: str) -> None:
        amount = -signed(line)
        code = (line.vat_code or meaning).removeprefix("deposit-")
        if not code.startswith(meaning):
            _add(self.differences, line.account, amount)
        if line.vat_code and line.vat_code.startswith("deposit-"):
            self.deposits += amount
        if line.account in self.deductible:
            self._box(self.deductible[line.account]).tax -= amount
        elif code.startswith(("oss-", "ioss-")):
            self._oss(code, line).tax += amount
        else:
            keyed = f"{code}-{_shown(line.vat_rate)}" if code.startswith("purchase-") else code
            box = self._of_table(TAX_BOXES, keyed.replace("-assets", ""))
            if box:
                self._box(box).tax += amount
            else:
                _add(self.unplaced, code or line.account, amount)

    def base(self, line: JournalLine) -> None:
        code = line.vat_code or self.base_meaning.get(line.account)
        if code is None:
            return
        amount = signed(line)
        if not code.startswith(("purchase-", "fees-")):
            amount = -amount  # turnover is a credit
        box = self._of_table(BASE_BOXES, code)
        if box is None:
            _add(self.unplaced, code, amount)
            return
        if code.startswith(("oss-", "ioss-")):
            self._oss(code, line).base += amount
        if box:
            self._box(box).base += amount
            if code.startswith("domestic-"):
                self._box(_TAXED_SALES).base += amount
            self_assessed = code.replace("-assets", "").replace("fees-", "purchase-")
            rate_box = TAX_BOXES.get(f"{self_assessed}-{_shown(line.vat_rate)}")
            if rate_box and rate_box != box:
                self._box(rate_box).base += amount  # self-assessed: in its own box, and in that of its rate

    def _of_table(self, table: Mapping[str, str], code: str) -> str | None:
        return self.accounts.vat_boxes.get(code) or _longest(table, code)

    def _box(self, name: str) -> VatBox:
        return self.boxes.setdefault(name, VatBox())

    def _oss(self, code: str, line: JournalLine) -> VatBox:
        return self.oss.setdefault((code.split("-")[1], line.vat_rate or _ZERO), VatBox())


def _add(sums: dict[str, Decimal], name: str, amount: Decimal) -> None:
    sums[name] = sums.get(name, _ZERO) + amount


def _left(sums: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: amount for name, amount in sums.items() if amount}


def _longest(table: Mapping[str, str], code: str) -> str | None:
    """The entry of the code, or of the longest beginning of it up to a hyphen."""
    while code:
        if code in table:
            return table[code]
        code = code.rpartition("-")[0]
    return None


def _shown(rate: Decimal | None) -> str:
    return "" if rate is None else format(rate.normalize(), "f")
