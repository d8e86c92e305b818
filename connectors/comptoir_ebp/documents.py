"""Orders and credit notes as EBP's document import file (gescom-interfaces §2.3).

One row per document line with the header columns repeated, `;`, CRLF, JJ/MM/AAAA, decimal comma.

How its rows add up to what the buyer paid is in `comptoir.sdk.documents.build`; EBP computes with prices net of tax.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from comptoir.sdk.documents.build import Builder as SalesBuilder
from comptoir.sdk.documents.build import Row, gross_by_rate, modelled_total
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.functions import CUSTOMER_CODE_LENGTH, DOCUMENT_NUMBER_LENGTH
from comptoir_ebp.text import Remarks, as_date, cents, comma, words

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
        return gross_by_rate(self.rows, self.freight, self.freight_rate)


class Builder(SalesBuilder):
    """A document for EBP."""

    program = "EBP"

    def __init__(self, payload: Mapping[str, Any], config: EbpConfig, record: str) -> None:
        super().__init__(payload, config, record, config.charset)
        self.config = config

    def territory(self) -> str:
        schemes = self.schemes()
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
