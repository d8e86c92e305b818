"""A refund as a credit note of a back office, before any file format."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from comptoir.sdk.documents.build import modelled_total
from comptoir.sdk.documents.order import OrderBuilder, Party, SalesDocument
from comptoir.sdk.journal.text import as_date, cents, words

__all__ = ["CreditNoteBuilder"]


class CreditNoteBuilder(OrderBuilder):
    """Makes the credit note of a payload of a `refund.out` mapping.

    `sold`: what the receipt remembers of its order (customer, scheme, tax-included amounts per rate), None when that
    was not handed over here.
    """

    moved = "got back"

    def credit_note(self, company_currency: str, sold: Mapping[str, Any] | None) -> SalesDocument:
        """The credit note, amounts positive; RecordRejected, naming record, field and what to do, when the customer or
        a rate is not known, or the program would compute another amount.

        What the refund's lines do not explain (all of it, when it has none) is spread over the order's rates.
        """
        payload = self.payload
        self.currency(company_currency)
        day = as_date(payload.get("refunded_on"), self.record, "refunded_on")
        total = cents(self.amount(payload.get("amount"), "amount"))
        freight, rate, charges = self.freight()
        rows = [*self.item_rows(), *self.charge_rows(charges)]
        left = total - modelled_total(rows, freight, rate, gross=self.gross)
        if left > self.settings.max_rounding:
            rows += self.spread(left, sold.get("rates", {}) if sold else {})
        closed = self.close(rows, freight, rate, total)
        if not closed and not freight:
            raise self.refuse(
                "it gives nothing back", "amount", "no_lines", f"{self.program} takes no document without a line."
            )
        scheme = self.scheme()
        order = self.text(payload.get("order_number"), "order_number")
        return SalesDocument(
            number=self.named("number", self.profile.limits.number),
            customer=self._customer(sold),
            day=day,
            delivery=day,
            # Receipts hold no personal data: name and address are those of the card.
            buyer=Party(),
            rows=closed,
            freight=freight,
            freight_rate=rate,
            total=total,
            paid=Decimal("0.00"),
            mode=self._mode(),
            # A refund without lines has no VAT scheme of its own: it is that of its sale.
            scheme=scheme or (words(sold.get("scheme")) if sold and not payload.get("lines") else ""),
            vat_id="",
            note=self.text(f"Avoir sur commande {order}", "note", 250),
            order=self.text(payload.get("refund_number"), "refund_number"),
            texts=(self.text(f"AVOIR COMMANDE {order}", "heading", self.profile.limits.text),),
            credits=words(payload.get("order_document")),
            remarks=self.remarks,
        )

    def _customer(self, sold: Mapping[str, Any] | None) -> str:
        """The card on which the order was booked."""
        if sold:
            return str(sold["customer"])
        if self.settings.default_customer is None:
            raise self.refuse(
                f"its order {words(self.payload.get('order_number'))} was not handed over here, so the customer is not "
                "known",
                "order_number",
                "missing_party",
                f"Hand the order over first, or set default_customer of the {self.program} connection.",
            )
        return self.settings.default_customer

    def _mode(self) -> str:
        return self.rules.payment_modes.get(words(self.payload.get("payment_method")), "")
