"""Pure functions for the mappings of Ciel and Sage 50, and the codes of their files (`sdk.documents.codes`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comptoir.sdk.documents import codes

__all__ = ["FUNCTIONS", "customer_card_code", "customer_code", "document_number"]

_CUSTOMER, _NUMBER = 13, 80


def customer_code(prefix: str | None, channel: str, customer_id: str | None, email: str | None, order_id: str) -> str:
    """Ciel's code of the buyer of an order: at most 13 capitals and digits."""
    return codes.customer_code(prefix, channel, customer_id, email, order_id, _CUSTOMER)


def customer_card_code(prefix: str | None, channel: str, account: Any, external_id: str, email: str | None) -> str:
    """The same code for a customer card, so that orders and cards meet; `account` is b2c, b2b or guest."""
    return codes.customer_card_code(prefix, channel, account, external_id, email, _CUSTOMER)


def document_number(prefix: str | None, channel: str, number: str) -> str:
    """The reference of the document: prefix and shop number, at most 80 characters."""
    return codes.document_number(prefix, channel, number, _NUMBER, "cp1252", "#")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "customer_card_code": customer_card_code,
    "customer_code": customer_code,
    "document_number": document_number,
}
