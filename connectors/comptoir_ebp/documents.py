"""Orders and credit notes as EBP's document import file (gescom-interfaces §2.3).

One row per document line with the header columns repeated, `;`, CRLF, JJ/MM/AAAA, decimal comma.

**How the document's total stays what the buyer paid (failure mode 54).** EBP recomputes an imported document:
each line is quantity × net price at two decimals, the tax once per rate on the sum. So the writer

1. sends the source's net amount of each line, discounts already in it: unit price = net / quantity with
   `price_decimals`; where that product does not give the net back, a whole quantity is split into two rows
   whose prices differ by the last decimal (3 for 10.00 at two decimals: 2 × 3.33 and 1 × 3.34);
2. computes the total as EBP will (`modelled_total`) and carries what is missing on one line without tax
   (`rounding_item`), up to `max_rounding`; above that the document is refused, loudly.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from comptoir.sdk import RecordRejected
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.functions import CUSTOMER_CODE_LENGTH, DOCUMENT_NUMBER_LENGTH, alias_code
from comptoir_ebp.text import Remarks, as_date, as_decimal, cell, cents, comma, words

__all__ = [
    "CAPTIONS",
    "MANDATORY",
    "Builder",
    "Document",
    "Row",
    "document_file",
    "modelled_total",
    "order_document",
]

_B, _L = "(facturation)", "(livraison)"
#: Every caption that the writer knows, in the order of the file. The first fifteen of them, without the ones
#: in between, are the sample of the specification.
CAPTIONS: tuple[str, ...] = (
    "Document - Numéro du document",
    "Document - Date",
    "Document - Code client",
    "Document - Nom du client",
    *(f"Document - Adresse {n} {_B}" for n in (1, 2, 3, 4)),
    f"Document - Code postal {_B}",
    f"Document - Ville {_B}",
    f"Document - Code Pays {_B}",
    f"Document - Téléphone fixe {_B}",
    f"Document - E-mail {_B}",
    f"Document - Nom (adresse) {_L}",
    *(f"Document - Adresse {n} {_L}" for n in (1, 2, 3, 4)),
    f"Document - Code postal {_L}",
    f"Document - Ville {_L}",
    f"Document - Code Pays {_L}",
    "Document - Territorialité",
    "Document - Numéro de TVA intracommunautaire",
    "Document - Frais de port HT",
    "Document - Taux de TVA port",
    "Document - Total TTC",
    "Document - Code mode de règlement",
    "Document - Notes",
    "Ligne - Code article",
    "Ligne - Description",
    "Ligne - Quantité",
    "Ligne - Taux de TVA",
    "Ligne - PV HT",
)
#: The minimum that worked in production, and the price and rate without which EBP would use its item card.
MANDATORY: tuple[str, ...] = (
    "Document - Numéro du document",
    "Document - Date",
    "Document - Code client",
    "Document - Nom du client",
    f"Document - Adresse 1 {_B}",
    f"Document - Code postal {_B}",
    f"Document - Ville {_B}",
    f"Document - Code Pays {_B}",
    "Document - Frais de port HT",
    "Ligne - Code article",
    "Ligne - Description",
    "Ligne - Quantité",
    "Ligne - Taux de TVA",
    "Ligne - PV HT",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a document: what EBP multiplies and taxes."""

    item: str
    label: str
    quantity: Decimal
    price: Decimal
    rate: Decimal

    @property
    def net(self) -> Decimal:
        """The line's net as EBP computes it."""
        return cents(self.quantity * self.price)


@dataclass(frozen=True, slots=True)
class Document:
    """A document ready to be written. `total` is what the buyer paid (or gets back), tax included."""

    number: str
    customer: str
    header: Mapping[str, str]
    rows: tuple[Row, ...]
    freight: Decimal
    freight_rate: Decimal
    total: Decimal
    remarks: Remarks = field(default_factory=Remarks)

    def gross_by_rate(self) -> dict[str, str]:
        """Tax-included amount per rate: what a later credit note without lines is spread over."""
        found: dict[Decimal, Decimal] = {}
        for rate, net in _bases(self.rows, self.freight, self.freight_rate).items():
            found[rate] = net + cents(net * rate / 100)
        return {comma(rate): str(cents(gross)) for rate, gross in sorted(found.items())}


def _bases(rows: Sequence[Row], freight: Decimal, freight_rate: Decimal) -> dict[Decimal, Decimal]:
    bases: dict[Decimal, Decimal] = {}
    for row in rows:
        bases[row.rate] = bases.get(row.rate, Decimal(0)) + row.net
    if freight:
        bases[freight_rate] = bases.get(freight_rate, Decimal(0)) + freight
    return bases


def modelled_total(rows: Sequence[Row], freight: Decimal, freight_rate: Decimal) -> Decimal:
    """The tax-included total that EBP will show: line nets in cents, tax once per rate (standards §5)."""
    bases = _bases(rows, freight, freight_rate)
    return sum((net + cents(net * rate / 100) for rate, net in bases.items()), Decimal("0.00"))


class Builder:
    """What one document's parts have in common: its name in messages, settings, remarks."""

    def __init__(self, payload: Mapping[str, Any], config: EbpConfig, record: str) -> None:
        self.payload = payload
        self.config = config
        self.record = record
        self.remarks = Remarks()

    def refuse(self, message: str, path: str, code: str, hint: str) -> RecordRejected:
        return RecordRejected(f"{self.record}: {message}", record=self.record, field=path, code=code, hint=hint)

    def text(self, value: object, where: str, limit: int | None = None) -> str:
        return cell(value, where, self.remarks, charset=self.config.charset, limit=limit)

    def amount(self, value: object, path: str) -> Decimal:
        return as_decimal(value, self.record, path)

    def named(self, field: str, limit: int) -> str:
        """A number or code of the mapping, by which EBP and we know a record: refused rather than changed here."""
        found = words(self.payload.get(field))
        if not found or alias_code(found, limit, self.config.charset) != found:
            what = field.replace("_", " ")
            raise self.refuse(
                f"the {what} {found!r} is none that EBP can hold ({limit} plain characters)" if found else f"no {what}",
                field,
                "bad_code",
                "Give it its usual form in the `out` mapping: the functions document_number and customer_code do.",
            )
        return found

    def code(self, code: str, where: str, limit: int) -> str:
        alias = alias_code(code, limit, self.config.charset)
        if alias != code:
            self.remarks.add(where, f"code that EBP cannot hold; its alias is {alias}")
        return alias

    # -- lines ---------------------------------------------------------------------------------------------

    def portions(self, part: Mapping[str, Any], path: str) -> list[tuple[Decimal, Decimal]]:
        """(net in cents, rate) of a line or charge; several only where it is taxed at several rates."""
        net = cents(self.amount(part.get("net"), f"{path}.net"))
        taxes = part.get("taxes") or ()
        for number, tax in enumerate(taxes, 1):
            where = f"{path}.taxes[{number}]"
            amount = self.amount(tax.get("amount"), f"{where}.amount")
            if words(tax.get("collected_by")) == "marketplace" and amount:
                raise self.refuse(
                    "its tax was collected by the marketplace, and EBP would book it as the merchant's",
                    where,
                    "marketplace_tax",
                    "Let the channel be booked by the hub (journal entries) instead of EBP.",
                )
        if not taxes:
            if self.amount(part.get("tax"), f"{path}.tax"):
                raise self.refuse(
                    f"{path} has an amount of tax but no rate",
                    f"{path}.taxes",
                    "tax_without_rate",
                    "The source must say which rate was applied.",
                )
            return [(net, Decimal(0))]
        if len(taxes) == 1:
            return [(net, self.amount(taxes[0].get("rate"), f"{path}.taxes[1].rate"))]
        rated = [(cents(self.amount(t.get("base"), f"{path}.taxes")), self.amount(t.get("rate"), path)) for t in taxes]
        if sum((base for base, _ in rated), Decimal(0)) != net:
            raise self.refuse(
                f"{path} carries several taxes whose bases do not add up to its net amount",
                f"{path}.taxes",
                "several_taxes",
                "EBP knows one rate per line; compound taxes cannot be sent.",
            )
        return rated

    def item_rows(self) -> list[Row]:
        rows: list[Row] = []
        for number, line in enumerate(self.payload.get("lines") or (), 1):
            path = f"lines[{number}]"
            sku = words(line.get("sku")) or self.config.default_item
            if not sku:
                raise self.refuse(
                    f"{path} has no SKU",
                    f"{path}.sku",
                    "no_sku",
                    "Give the item a SKU in the shop, or set default_item of the EBP connection (such as DIVERS).",
                )
            quantity = self.amount(line.get("quantity"), f"{path}.quantity")
            rows += self._rows(self.code(sku, f"{path}.sku", 40), line, path, words(line.get("name")), quantity)
        return rows

    def charge_rows(self, charges: Sequence[Mapping[str, Any]]) -> list[Row]:
        rows: list[Row] = []
        for number, charge in enumerate(charges, 1):
            kind = words(charge.get("kind"))
            usual = self.config.shipping_item if kind == "shipping" else self.config.fee_item
            item = self.config.charge_items.get(kind, usual)
            rows += self._rows(item, charge, f"charges[{number}]", words(charge.get("label")), Decimal(1))
        return rows

    def _rows(self, item: str, part: Mapping[str, Any], path: str, label: str, quantity: Decimal) -> list[Row]:
        portions = self.portions(part, path)
        if quantity == 0 and not any(net for net, _ in portions):
            return []
        if quantity <= 0:
            raise self.refuse(
                f"{path} has the quantity {comma(quantity)} and an amount",
                f"{path}.quantity",
                "quantity",
                "A document line needs a positive quantity.",
            )
        text = self.text(label or item, f"{path}.name", 80)
        if len(portions) > 1:
            return [Row(item, text, Decimal(1), net, rate) for net, rate in portions]
        net, rate = portions[0]
        return [Row(item, text, q, price, rate) for q, price in self._prices(net, quantity)]

    def _prices(self, net: Decimal, quantity: Decimal) -> list[tuple[Decimal, Decimal]]:
        """(quantity, unit price) pairs whose products give `net`; a fractional quantity may leave a cent
        over.
        """
        unit = Decimal(1).scaleb(-self.config.price_decimals)
        price = (net / quantity).quantize(unit)
        if cents(price * quantity) == net or quantity != quantity.to_integral_value():
            return [(quantity, price)]
        low = (net / quantity).quantize(unit, rounding=ROUND_FLOOR)
        dearer = (net - low * quantity) / unit
        return [(quantity - dearer, low), (dearer, low + unit)]

    # -- totals --------------------------------------------------------------------------------------------

    def freight(self) -> tuple[Decimal, Decimal, list[Mapping[str, Any]]]:
        """Shipping for the document's header (net, rate), and the charges that become lines."""
        charges = list(self.payload.get("charges") or ())
        shipping = [c for c in charges if words(c.get("kind")) == "shipping"]
        if self.config.shipping_as == "item" or not shipping or not self.payload.get("lines"):
            return Decimal("0.00"), Decimal(0), charges
        portions = [p for c in shipping for p in self.portions(c, "charges")]
        rates = {rate for net, rate in portions if net}
        total = sum((net for net, _ in portions), Decimal("0.00"))
        if len(rates) > 1 or total < 0:  # the header holds one rate: several become lines
            return Decimal("0.00"), Decimal(0), charges
        return (
            total,
            next(iter(rates), Decimal(0)),
            [c for c in charges if words(c.get("kind")) != "shipping"],
        )

    def close(self, rows: list[Row], freight: Decimal, rate: Decimal, total: Decimal) -> tuple[Row, ...]:
        """The rows with the rounding line, if one is needed; refused when EBP would total otherwise."""
        missing = total - modelled_total(rows, freight, rate)
        if missing == 0:
            return tuple(rows)
        if abs(missing) > self.config.max_rounding:
            raise self.refuse(
                f"EBP would compute {total - missing} and the buyer paid {total}",
                "total",
                "total_differs",
                "Lines, charges and taxes of the order do not add up to its total; look at the order in "
                "the shop, or "
                "raise max_rounding of the EBP connection if the difference is only rounding.",
            )
        self.remarks.add("total", f"rounding line of {missing}")
        return (*rows, Row(self.config.rounding_item, "Arrondi", Decimal(1), missing, Decimal(0)))

    # -- header --------------------------------------------------------------------------------------------

    def currency(self, company: str) -> None:
        given = words(self.payload.get("currency"))
        if given != company:
            raise self.refuse(
                f"it is in {given or 'no currency'} and the EBP folder in {company}",
                "currency",
                "currency",
                "EBP's import file has no currency column. Book this channel through the hub, or leave it out.",
            )

    def territory(self) -> str:
        parts = [*(self.payload.get("lines") or ()), *(self.payload.get("charges") or ())]
        schemes = {words(t.get("scheme")) for part in parts for t in part.get("taxes") or ()}
        schemes -= {"domestic", "exempt", ""}
        if not schemes:
            return self.config.territorialities.get("domestic", "")
        names = {self.config.territorialities.get(s, "") for s in schemes}
        if len(schemes) > 1 and (len(names) > 1 or "" in names):
            raise self.refuse(
                f"it was sold under several VAT schemes ({', '.join(sorted(schemes))}) and EBP has one territoriality "
                "for a document",
                "lines.taxes.scheme",
                "territoriality",
                "Enter it by hand in EBP, one document for each scheme.",
            )
        name = names.pop()
        if not name:
            # The rates on the lines are the buyer's, and explicit; EBP takes the territoriality of the customer card.
            scheme = sorted(schemes)[0]
            self.remarks.add("territoriality", f"not said for the VAT scheme {scheme}: set territorialities.{scheme}")
        return self.text(name, "territoriality", 50)

    def payment_mode(self) -> str:
        for payment in self.payload.get("payments") or ():
            for key in (words(payment.get("source_method")), words(payment.get("method"))):
                if key in self.config.payment_modes:
                    return self.config.payment_modes[key]
        return ""

    def address(self, address: Mapping[str, Any], kind: str, path: str) -> dict[str, str]:
        """The address columns; lines longer than 40 characters go on in the next one."""
        wrapped = [
            piece
            for n, line in enumerate(address.get("lines") or (), 1)
            for piece in textwrap.wrap(self.text(line, f"{path}.lines[{n}]"), 40) or [""]
        ]
        kept = [w for w in wrapped if w][:4]
        if len([w for w in wrapped if w]) > 4:
            self.remarks.add(f"{path}.lines", "more than four address lines; the rest was left out")
        cells = {f"Document - Adresse {n} {kind}": line for n, line in enumerate(kept, 1)}
        return {
            **cells,
            f"Document - Code postal {kind}": self.text(address.get("postcode"), f"{path}.postcode", 10),
            f"Document - Ville {kind}": self.text(address.get("city"), f"{path}.city", 35),
            f"Document - Code Pays {kind}": self.text(address.get("country"), f"{path}.country", 3),
        }

    def buyer(self) -> tuple[str, dict[str, str]]:
        """Customer code and the billing columns; the default customer when name or address is missing."""
        billing = self.payload.get("billing") or {}
        if not (words(billing.get("name")) and billing.get("lines")) and self.payload.get("shipping"):
            billing = self.payload["shipping"]
        name = self.text(billing.get("name"), "billing.name", 60)
        cells = self.address(billing, _B, "billing")
        needed = {
            "billing.name": name,
            "billing.lines": cells.get(f"Document - Adresse 1 {_B}", ""),
            "billing.postcode": cells[f"Document - Code postal {_B}"],
            "billing.city": cells[f"Document - Ville {_B}"],
            "billing.country": cells[f"Document - Code Pays {_B}"],
        }
        missing = next((path for path, value in needed.items() if not value), None)
        default = self.config.default_customer
        if missing is None:
            phone = words(billing.get("phone")) or words(self.payload.get("phone"))
            phone = "00" + phone[1:] if phone.startswith("+") else phone
            email = words(billing.get("email")) or words(self.payload.get("email"))
            cells[f"Document - Téléphone fixe {_B}"] = self.text(phone, "billing.phone", 20)
            cells[f"Document - E-mail {_B}"] = self.text(email, "billing.email", 100)
            return self.named("customer_code", CUSTOMER_CODE_LENGTH), {"Document - Nom du client": name, **cells}
        if default is None:
            raise self.refuse(
                f"{missing} is missing and EBP needs it",
                missing,
                "missing_party",
                "Complete the buyer in the shop, or set default_customer of the EBP connection to a "
                "customer card "
                "for such orders.",
            )
        self.remarks.add("customer", f"{missing} is missing: booked on the default customer")
        return default.code, {
            "Document - Nom du client": self.text(default.name, "default_customer.name"),
            f"Document - Adresse 1 {_B}": self.text(default.address, "default_customer.address"),
            f"Document - Code postal {_B}": self.text(default.postcode, "default_customer.postcode"),
            f"Document - Ville {_B}": self.text(default.city, "default_customer.city"),
            f"Document - Code Pays {_B}": default.country,
        }

    def delivery(self) -> dict[str, str]:
        shipping = self.payload.get("shipping") or {}
        if not (shipping.get("lines") or words(shipping.get("city"))):
            return {}
        name = self.text(shipping.get("name"), "shipping.name", 60)
        return {f"Document - Nom (adresse) {_L}": name, **self.address(shipping, _L, "shipping")}


def order_document(payload: Mapping[str, Any], config: EbpConfig, *, company_currency: str, record: str) -> Document:
    """The document of an order (payload of `mappings/ebp/order.out.yaml`).

    Raises RecordRejected, naming record, field and the setting to change: currency other than the company's,
    missing buyer, tax that cannot be expressed, total that EBP would not reproduce.
    """
    build = Builder(payload, config, record)
    build.currency(company_currency)
    day = as_date(payload.get("ordered_on"), record, "ordered_on")
    total = cents(build.amount(payload.get("total"), "total"))
    freight, rate, charges = build.freight()
    rows = build.close([*build.item_rows(), *build.charge_rows(charges)], freight, rate, total)
    if not rows:
        raise build.refuse("it has no lines", "lines", "no_lines", "EBP takes no document without a line.")
    customer, buyer = build.buyer()
    note = words(payload.get("note"))
    header = {
        "Document - Date": f"{day:%d/%m/%Y}",
        **buyer,
        **build.delivery(),
        "Document - Territorialité": build.territory(),
        "Document - Numéro de TVA intracommunautaire": build.text(payload.get("vat_id"), "vat_id", 20),
        "Document - Code mode de règlement": build.payment_mode(),
        "Document - Notes": build.text(note, "note", 250),
    }
    number = build.named("number", DOCUMENT_NUMBER_LENGTH)
    return Document(number, customer, header, rows, freight, rate, total, build.remarks)


def document_file(documents: Sequence[Document], config: EbpConfig, *, sign: int = 1) -> bytes:
    """The bytes of the import file. A new document starts where the first column changes.

    `sign` -1 turns all prices and totals (see `comptoir_ebp.credit_notes.credit_note_sign`).
    """
    columns = config.columns or CAPTIONS
    lines = [";".join(columns)]
    for document in documents:
        head = {
            "Document - Numéro du document": document.number,
            "Document - Code client": document.customer,
            "Document - Frais de port HT": comma(document.freight * sign, 2),
            "Document - Taux de TVA port": comma(document.freight_rate, 2),
            "Document - Total TTC": comma(document.total * sign, 2),
            **document.header,
        }
        for row in document.rows:
            cells = {
                **head,
                "Ligne - Code article": row.item,
                "Ligne - Description": row.label,
                "Ligne - Quantité": comma(row.quantity),
                "Ligne - Taux de TVA": comma(row.rate, 2),
                "Ligne - PV HT": comma(row.price * sign, 2),
            }
            lines.append(";".join(cells.get(column, "") for column in columns))
    return ("\r\n".join(lines) + "\r\n").encode(config.charset)
