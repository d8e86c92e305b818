"""Decisions before a delivery is planned: cutover and the import gate. Pure."""

from __future__ import annotations

from datetime import date

from comptoir.domain.availability import OFFLINE
from comptoir.model.base import Canonical
from comptoir.model.order import FulfilmentState, PaymentState, Refund, SalesOrder
from comptoir.model.payout import Payout
from comptoir.model.purchasing import SupplierInvoice
from comptoir.model.till import ZReport

__all__ = ["BEFORE_CUTOVER", "NAMES_HISTORY", "gate", "is_before_cutover"]

BEFORE_CUTOVER = "before the cutover"
NAMES_HISTORY = "names a document from before the cutover"


def is_before_cutover(document: Canonical, cutover: date | None) -> bool:
    """Whether a document belongs to the time before Comptoir: landed and matched, never delivered or posted."""
    if cutover is None:
        return False
    if isinstance(document, SalesOrder):
        return document.ordered_on < cutover
    if isinstance(document, Refund):
        return document.refunded_on < cutover
    if isinstance(document, Payout):
        return document.paid_on < cutover
    if isinstance(document, ZReport):
        return document.closed_on < cutover
    if isinstance(document, SupplierInvoice):
        return document.issued_on < cutover
    return False


def gate(document: Canonical) -> str | None:
    """Why a document is not passed on (yet), or None when it goes out."""
    if not isinstance(document, SalesOrder):
        return None
    if document.payment_state in (PaymentState.REFUNDED, PaymentState.PARTLY_REFUNDED):
        return None  # sold and given back: both are facts, whatever became of the goods
    if document.fulfilment_state is FulfilmentState.CANCELLED:
        return "cancelled"
    if document.payment_state is PaymentState.FAILED:
        return "payment failed"
    if document.payment_state is PaymentState.UNPAID and document.payment_method not in OFFLINE:
        return "not paid yet"
    if not document.lines and not document.charges:
        return "empty"
    return None
