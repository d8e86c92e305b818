"""The lines of a sales document for a back office that recomputes it.

**How the document's total stays what the buyer paid (failure mode 54).** The program recomputes an imported document:
each line is quantity × price at two decimals, and with prices net of tax the tax once per rate on the sum. So

1. each line is sent with the source's amount, discounts already in it: unit price = amount / quantity with
   `price_decimals`; where that product does not give the amount back, a whole quantity is split into two rows whose
   prices differ by the last decimal (3 for 10.00 at two decimals: 2 × 3.33 and 1 × 3.34);
2. the total is computed as the program will (`modelled_total`), and what is missing stands on one line without tax
   (`rounding_item`), up to `max_rounding`; above that the document is refused, loudly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any, ClassVar, NamedTuple, Protocol

from comptoir.errors import RecordRejected
from comptoir.sdk.documents.codes import alias_code
from comptoir.sdk.documents.text import cell, comma
from comptoir.sdk.journal.text import Remarks, as_decimal, cents, words

__all__ = ["Builder", "Portion", "Row", "SalesRules", "gross_by_rate", "modelled_total"]


class SalesRules(Protocol):
    """What a connection's settings say of documents; see the connector's page for their meaning."""

    @property
    def default_item(self) -> str | None: ...
    @property
    def shipping_as(self) -> str: ...
    @property
    def shipping_item(self) -> str: ...
    @property
    def fee_item(self) -> str: ...
    @property
    def charge_items(self) -> Mapping[str, str]: ...
    @property
    def rounding_item(self) -> str: ...
    @property
    def max_rounding(self) -> Decimal: ...
    @property
    def price_decimals(self) -> int: ...
    @property
    def payment_modes(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a document: what the program multiplies and taxes. `price` is net of tax, or with it where the
    document's prices are."""

    item: str
    label: str
    quantity: Decimal
    price: Decimal
    rate: Decimal

    @property
    def net(self) -> Decimal:
        """The line's amount as the program computes it, in the basis of its price."""
        return cents(self.quantity * self.price)


class Portion(NamedTuple):
    """The part of a line or charge that is taxed at one rate: its amount in the document's basis, in cents."""

    amount: Decimal
    rate: Decimal


def _bases(rows: Sequence[Row], freight: Decimal, freight_rate: Decimal) -> dict[Decimal, Decimal]:
    bases: dict[Decimal, Decimal] = {}
    for row in rows:
        bases[row.rate] = bases.get(row.rate, Decimal(0)) + row.net
    if freight:
        bases[freight_rate] = bases.get(freight_rate, Decimal(0)) + freight
    return bases


def modelled_total(rows: Sequence[Row], freight: Decimal, freight_rate: Decimal, *, gross: bool = False) -> Decimal:
    """The tax-included total that the program will show: line nets in cents, tax once per rate (standards §5).

    `gross`: prices and freight have the tax in them, so it is their sum.
    """
    if gross:
        return sum((row.net for row in rows), freight)
    bases = _bases(rows, freight, freight_rate)
    return sum((net + cents(net * rate / 100) for rate, net in bases.items()), Decimal("0.00"))


def gross_by_rate(
    rows: Sequence[Row], freight: Decimal, freight_rate: Decimal, *, gross: bool = False
) -> dict[str, str]:
    """Tax-included amount per rate: what a later credit note without lines is spread over. `gross`: the prices have the
    tax in them already."""
    found = _bases(rows, freight, freight_rate)
    if not gross:
        found = {rate: net + cents(net * rate / 100) for rate, net in found.items()}
    return {comma(rate): str(cents(amount)) for rate, amount in sorted(found.items())}


class Builder:
    """What one document's parts have in common: its name in messages, settings, remarks.

    `program` is what the merchant calls the reader of the file; `item_length` and `label_length` its characters;
    `gross`: its prices have the tax in them.
    """

    program: str = ""
    item_length: int = 40
    label_length: int = 80
    gross: bool = False
    #: Characters by which no code may begin.
    taboo: ClassVar[str] = ""
    rounding_label: ClassVar[str] = "Arrondi"
    #: What the buyer did with the total, in messages.
    moved: str = "paid"

    def __init__(self, payload: Mapping[str, Any], rules: SalesRules, record: str, charset: str) -> None:
        self.payload = payload
        self.rules = rules
        self.record = record
        self.charset = charset
        self.remarks = Remarks()

    def refuse(self, message: str, path: str, code: str, hint: str) -> RecordRejected:
        """An error that names the record; the caller raises it."""
        return RecordRejected(f"{self.record}: {message}", record=self.record, field=path, code=code, hint=hint)

    def text(self, value: object, where: str, limit: int | None = None) -> str:
        """A text cell (`comptoir.sdk.documents.text.cell`)."""
        return cell(value, where, self.remarks, charset=self.charset, limit=limit, taboo=self.taboo)

    def amount(self, value: object, path: str) -> Decimal:
        """A number of the payload; RecordRejected when it is none."""
        return as_decimal(value, self.record, path)

    def named(self, field: str, limit: int) -> str:
        """A number or code of the mapping, by which the program and we know a record: refused rather than changed
        here."""
        found = words(self.payload.get(field))
        if not found or alias_code(found, limit, self.charset, self.taboo) != found:
            what = field.replace("_", " ")
            raise self.refuse(
                f"the {what} {found!r} is none that {self.program} can hold ({limit} plain characters)"
                if found
                else f"no {what}",
                field,
                "bad_code",
                "Give it its usual form in the `out` mapping: the functions document_number and customer_code do.",
            )
        return found

    def code(self, code: str, where: str) -> str:
        """An item's code, or its alias with a remark."""
        alias = alias_code(code, self.item_length, self.charset, self.taboo)
        if alias != code:
            self.remarks.add(where, f"code that {self.program} cannot hold; its alias is {alias}")
        return alias

    # -- lines ---------------------------------------------------------------------------------------------

    def portions(self, part: Mapping[str, Any], path: str) -> list[Portion]:
        """The portions of a line or charge; several only where it is taxed at several rates."""
        net = self.amount(part.get("net"), f"{path}.net")
        tax = self.amount(part.get("tax"), f"{path}.tax") if self.gross or not part.get("taxes") else Decimal(0)
        taxes = part.get("taxes") or ()
        for number, line in enumerate(taxes, 1):
            where = f"{path}.taxes[{number}]"
            amount = self.amount(line.get("amount"), f"{where}.amount")
            if words(line.get("collected_by")) == "marketplace" and amount:
                raise self.refuse(
                    f"its tax was collected by the marketplace, and {self.program} would book it as the merchant's",
                    where,
                    "marketplace_tax",
                    f"Let the channel be booked by the hub (journal entries) instead of {self.program}.",
                )
        if not taxes:
            if tax:
                raise self.refuse(
                    f"{path} has an amount of tax but no rate",
                    f"{path}.taxes",
                    "tax_without_rate",
                    "The source must say which rate was applied.",
                )
            return [Portion(cents(net), Decimal(0))]
        if len(taxes) == 1:
            rate = self.amount(taxes[0].get("rate"), f"{path}.taxes[1].rate")
            return [Portion(cents(net + tax) if self.gross else cents(net), rate)]
        rated = [
            (
                cents(self.amount(t.get("base"), f"{path}.taxes")),
                self.amount(t.get("amount"), f"{path}.taxes") if self.gross else Decimal(0),
                self.amount(t.get("rate"), path),
            )
            for t in taxes
        ]
        if sum((base for base, _, _ in rated), Decimal(0)) != cents(net):
            raise self.refuse(
                f"{path} carries several taxes whose bases do not add up to its net amount",
                f"{path}.taxes",
                "several_taxes",
                f"{self.program} knows one rate per line; compound taxes cannot be sent.",
            )
        return [Portion(cents(base + amount), rate) for base, amount, rate in rated]

    def item_rows(self) -> list[Row]:
        """The rows of the ordered items."""
        rows: list[Row] = []
        for number, line in enumerate(self.payload.get("lines") or (), 1):
            path = f"lines[{number}]"
            sku = words(line.get("sku")) or self.rules.default_item
            if not sku:
                raise self.refuse(
                    f"{path} has no SKU",
                    f"{path}.sku",
                    "no_sku",
                    f"Give the item a SKU in the shop, or set default_item of the {self.program} connection (such as "
                    "DIVERS).",
                )
            quantity = self.amount(line.get("quantity"), f"{path}.quantity")
            rows += self._rows(self.code(sku, f"{path}.sku"), line, path, words(line.get("name")), quantity)
        return rows

    def charge_rows(self, charges: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The rows of what was paid beside the items."""
        rows: list[Row] = []
        for number, charge in enumerate(charges, 1):
            label = words(charge.get("label"))
            rows += self._rows(self.charge_item(charge), charge, f"charges[{number}]", label, Decimal(1))
        return rows

    def charge_item(self, charge: Mapping[str, Any]) -> str:
        """The item that stands for a charge: by its kind, else shipping or fee."""
        kind = words(charge.get("kind"))
        usual = self.rules.shipping_item if kind == "shipping" else self.rules.fee_item
        return self.rules.charge_items.get(kind, usual)

    def _rows(self, item: str, part: Mapping[str, Any], path: str, label: str, quantity: Decimal) -> list[Row]:
        portions = self.portions(part, path)
        if quantity == 0 and not any(p.amount for p in portions):
            return []
        if quantity <= 0:
            raise self.refuse(
                f"{path} has the quantity {comma(quantity)} and an amount",
                f"{path}.quantity",
                "quantity",
                "A document line needs a positive quantity.",
            )
        text = self.text(label or item, f"{path}.name", self.label_length)
        if len(portions) > 1:
            return [Row(item, text, Decimal(1), p.amount, p.rate) for p in portions]
        (only,) = portions
        return [Row(item, text, q, price, only.rate) for q, price in self._prices(only.amount, quantity)]

    def _prices(self, amount: Decimal, quantity: Decimal) -> list[tuple[Decimal, Decimal]]:
        """(quantity, unit price) pairs whose products give `amount`; a fractional quantity may leave a cent
        over.
        """
        unit = Decimal(1).scaleb(-self.rules.price_decimals)
        price = (amount / quantity).quantize(unit)
        if cents(price * quantity) == amount or quantity != quantity.to_integral_value():
            return [(quantity, price)]
        low = (amount / quantity).quantize(unit, rounding=ROUND_FLOOR)
        dearer = (amount - low * quantity) / unit
        return [(quantity - dearer, low), (dearer, low + unit)]

    # -- totals --------------------------------------------------------------------------------------------

    def freight(self) -> tuple[Decimal, Decimal, list[Mapping[str, Any]]]:
        """Shipping for the document's header (amount, rate), and the charges that become lines."""
        charges = list(self.payload.get("charges") or ())
        shipping = [c for c in charges if words(c.get("kind")) == "shipping"]
        if self.rules.shipping_as == "item" or not shipping or not self.payload.get("lines"):
            return Decimal("0.00"), Decimal(0), charges
        portions = [p for c in shipping for p in self.portions(c, "charges")]
        rates = {p.rate for p in portions if p.amount}
        total = sum((p.amount for p in portions), Decimal("0.00"))
        if len(rates) > 1 or total < 0:  # the header holds one rate: several become lines
            return Decimal("0.00"), Decimal(0), charges
        return (
            total,
            next(iter(rates), Decimal(0)),
            [c for c in charges if words(c.get("kind")) != "shipping"],
        )

    def close(self, rows: list[Row], freight: Decimal, rate: Decimal, total: Decimal) -> tuple[Row, ...]:
        """The rows with the rounding line, if one is needed; refused when the program would total otherwise."""
        missing = total - modelled_total(rows, freight, rate, gross=self.gross)
        if missing == 0:
            return tuple(rows)
        if abs(missing) > self.rules.max_rounding:
            raise self.refuse(
                f"{self.program} would compute {total - missing} and the buyer {self.moved} {total} "
                f"(difference {missing})",
                "total",
                "total_differs",
                "Lines, charges and taxes do not add up to the total; look at it in the shop, or "
                f"raise max_rounding of the {self.program} connection if the difference is only rounding.",
            )
        self.remarks.add("total", f"rounding line of {missing}")
        return (*rows, Row(self.rules.rounding_item, self.rounding_label, Decimal(1), missing, Decimal(0)))

    def spread(self, amount: Decimal, by_rate: Mapping[str, str]) -> list[Row]:
        """Rows for an amount that is given back without lines: shares of the order's tax-included amounts per rate
        (`gross_by_rate` of it), the last takes the rest. Remarked; refused where the rates are not known."""
        item = self.rules.default_item
        shares = [(as_decimal(rate, self.record, "rate"), Decimal(gross)) for rate, gross in by_rate.items()]
        shares = [(rate, gross) for rate, gross in shares if gross > 0]
        whole = sum((gross for _, gross in shares), Decimal(0))
        if not shares or item is None:
            raise self.refuse(
                "an amount is given back without lines, and its order was not handed over here"
                if item
                else "an amount is given back without lines",
                "lines",
                "amount_only",
                f"Its VAT rate is not known: enter this credit note in {self.program}, or refund line by line."
                if item
                else f"Set default_item of the {self.program} connection.",
            )
        self.remarks.add("amount", "spread over the rates of the order by rule (allocated_by_rule)")
        rows, left = [], amount
        for number, (rate, gross) in enumerate(shares, 1):
            part = left if number == len(shares) else cents(amount * gross / whole)
            left -= part
            price = part if self.gross else cents(part * 100 / (100 + rate))
            if price:
                rows.append(Row(item, "Remboursement partiel", Decimal(1), price, rate))
        return rows

    # -- header --------------------------------------------------------------------------------------------

    def currency(self, company: str) -> None:
        """Refuses a document in another currency than the company's."""
        given = words(self.payload.get("currency"))
        if given != company:
            raise self.refuse(
                f"it is in {given or 'no currency'} and the {self.program} folder in {company}",
                "currency",
                "currency",
                f"{self.program}'s import file has no currency column. Book this channel through the hub, or leave it "
                "out.",
            )

    def schemes(self) -> set[str]:
        """The VAT schemes of the document beside the domestic one."""
        parts = [*(self.payload.get("lines") or ()), *(self.payload.get("charges") or ())]
        return {words(t.get("scheme")) for part in parts for t in part.get("taxes") or ()} - {"domestic", "exempt", ""}

    def payment_mode(self) -> str:
        """The program's code for how it was paid: the shop's method first, else the neutral word; '' for none."""
        for payment in self.payload.get("payments") or ():
            for key in (words(payment.get("source_method")), words(payment.get("method"))):
                if key in self.rules.payment_modes:
                    return self.rules.payment_modes[key]
        return ""
