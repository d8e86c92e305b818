"""Pure functions for the mappings of EBP, and the codes that all its files use.

A code is what a person looks a record up by and what EBP matches by: it is never cut in silence
(`comptoir.sdk.documents.codes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comptoir.sdk.documents import codes
from comptoir.sdk.documents.codes import alias_code
from comptoir.sdk.journal.text import short_hash

__all__ = ["FUNCTIONS", "alias_code", "customer_card_code", "customer_code", "document_number", "short_hash"]

CUSTOMER_CODE_LENGTH = 20
DOCUMENT_NUMBER_LENGTH = 30


def customer_code(prefix: str | None, channel: str, customer_id: str | None, email: str | None, order_id: str) -> str:
    """EBP's code of the buyer of an order: at most 20 capitals and digits (`codes.customer_code`)."""
    return codes.customer_code(prefix, channel, customer_id, email, order_id, CUSTOMER_CODE_LENGTH)


def customer_card_code(prefix: str | None, channel: str, account: Any, external_id: str, email: str | None) -> str:
    """The same code for a customer card, so that orders and cards meet; `account` is b2c, b2b or guest."""
    return codes.customer_card_code(prefix, channel, account, external_id, email, CUSTOMER_CODE_LENGTH)


def document_number(prefix: str | None, channel: str, number: str) -> str:
    """The number that EBP keeps as "Document importé n° X": prefix and shop number, at most 30 characters."""
    return codes.document_number(prefix, channel, number, DOCUMENT_NUMBER_LENGTH)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "alias_code": alias_code,
    "customer_card_code": customer_card_code,
    "customer_code": customer_code,
    "document_number": document_number,
}
