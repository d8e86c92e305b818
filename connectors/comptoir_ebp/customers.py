"""Customer cards as an import file.

The captions are UNCONFIRMED: the specification proves those of documents only (gescom-interfaces §2.3) and
gives the lengths of the customer table (§2.4, §5). The user's parametrizable format maps columns by caption,
so a folder that wants other words needs a change of `CAPTIONS` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comptoir.sdk.documents.card import Card, CardRules
from comptoir.sdk.documents.card import customer_card as documents_card
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.functions import CUSTOMER_CODE_LENGTH

__all__ = ["CAPTIONS", "Card", "customer_card", "customer_file"]

CAPTIONS: tuple[str, ...] = (
    "Client - Code (tiers)",
    "Client - Nom",
    *(f"Client - Adresse {n} (facturation)" for n in (1, 2, 3, 4)),
    "Client - Code postal (facturation)",
    "Client - Ville (facturation)",
    "Client - Code Pays (facturation)",
    "Client - Nom (contact) (facturation)",
    "Client - Prénom (contact) (facturation)",
    "Client - Téléphone fixe (facturation)",
    "Client - E-mail (facturation)",
    "Client - Numéro de TVA intracommunautaire",
    "Client - Siren",
)


def customer_card(payload: Mapping[str, Any], config: EbpConfig, *, record: str) -> Card:
    """The card of a payload of `mappings/ebp/customer.out.yaml`; RecordRejected when it has neither name nor
    code.
    """
    rules = CardRules(
        program="EBP", charset=config.charset, code=CUSTOMER_CODE_LENGTH, name=60, lines=4, address=40, postcode=10,
        city=35, phone=20, email=100, vat_id=20,
    )  # fmt: skip
    return documents_card(payload, rules, record)


def _cells(card: Card) -> Mapping[str, str]:
    return {
        "Client - Code (tiers)": card.code,
        "Client - Nom": card.name,
        **{f"Client - Adresse {n} (facturation)": line for n, line in enumerate(card.lines, 1)},
        "Client - Code postal (facturation)": card.postcode,
        "Client - Ville (facturation)": card.city,
        "Client - Code Pays (facturation)": card.country,
        "Client - Nom (contact) (facturation)": card.last_name,
        "Client - Prénom (contact) (facturation)": card.first_name,
        "Client - Téléphone fixe (facturation)": card.phone,
        "Client - E-mail (facturation)": card.email,
        "Client - Numéro de TVA intracommunautaire": card.vat_id,
        "Client - Siren": card.siren,
    }


def customer_file(cards: Sequence[Card], config: EbpConfig) -> bytes:
    """The bytes of the customers' import file, one row per card."""
    lines = [";".join(CAPTIONS), *(";".join(_cells(card).get(c, "") for c in CAPTIONS) for card in cards)]
    return ("\r\n".join(lines) + "\r\n").encode(config.charset)
