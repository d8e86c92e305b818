"""Refunds as credit notes, in the layout of documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptoir_ebp.config import EbpConfig
from comptoir_ebp.documents import Builder, Document, modelled_total
from comptoir_ebp.functions import DOCUMENT_NUMBER_LENGTH
from comptoir_ebp.text import as_date, cents, words

__all__ = ["credit_note_sign", "refund_document"]


def refund_document(
    payload: Mapping[str, Any],
    config: EbpConfig,
    *,
    company_currency: str,
    record: str,
    customer: str,
    gross_by_rate: Mapping[str, str],
) -> Document:
    """The credit note of a refund (payload of `mappings/ebp/refund.out.yaml`), for the customer of its order.

    What the refund's lines do not explain (all of it, when it has none) is spread over the order's rates in
    proportion to their tax-included amounts and remarked; `gross_by_rate` is `Document.gross_by_rate` of the
    order.
    """
    build = Builder(payload, config, record)
    build.moved = "got back"
    build.currency(company_currency)
    day = as_date(payload.get("refunded_on"), record, "refunded_on")
    total = cents(build.amount(payload.get("amount"), "amount"))
    freight, rate, charges = build.freight()
    rows = [*build.item_rows(), *build.charge_rows(charges)]
    open_amount = total - modelled_total(rows, freight, rate)
    if open_amount > config.max_rounding:
        rows += build.spread(open_amount, gross_by_rate)
    closed = build.close(rows, freight, rate, total)
    if not closed and not freight:
        raise build.refuse("it gives nothing back", "amount", "no_lines", "EBP takes no document without a line.")
    header = {
        "Document - Date": f"{day:%d/%m/%Y}",
        "Document - Notes": build.text(f"Avoir sur commande {words(payload.get('order_document'))}", "note", 250),
    }
    number = build.named("number", DOCUMENT_NUMBER_LENGTH)
    return Document(number, customer, header, closed, freight, rate, total, build.remarks)


def credit_note_sign() -> int:
    """1: a credit note's amounts are positive and its document type says what it is.

    UNCONFIRMED: no source shows EBP importing a credit note. The specification only names orders, invoices,
    customers, items and delivery orders as entities (gescom-interfaces §2.2). Should a folder want negative
    amounts, this function is the one place to change.
    """
    return 1
