"""Customer cards as an import file.

The captions are UNCONFIRMED: the specification proves those of documents only (gescom-interfaces §2.3) and
gives the lengths of the customer table (§2.4, §5). The user's parametrizable format maps columns by caption,
so a folder that wants other words needs a change of `CAPTIONS` alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comptoir.sdk import RecordRejected
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.functions import CUSTOMER_CODE_LENGTH, alias_code
from comptoir_ebp.text import Remarks, cell, words

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


@dataclass(frozen=True, slots=True)
class Card:
    """A customer card ready to be written."""

    code: str
    cells: Mapping[str, str]
    remarks: Remarks


def customer_card(payload: Mapping[str, Any], config: EbpConfig, *, record: str) -> Card:
    """The card of a payload of `mappings/ebp/customer.out.yaml`; RecordRejected when it has neither name nor
    code.
    """
    remarks = Remarks()

    def text(value: object, where: str, limit: int) -> str:
        return cell(value, where, remarks, charset=config.charset, limit=limit)

    code = words(payload.get("code"))
    addresses = list(payload.get("addresses") or ())
    usable = [a for a in addresses if a.get("lines") or words(a.get("city"))]
    billing = next((a for a in usable if words(a.get("role")) == "billing"), usable[0] if usable else {})
    name = text(words(payload.get("name")) or words(billing.get("name")), "name", 60)
    if not code or not name:
        missing = "name" if code else "code"
        raise RecordRejected(
            f"{record}: the customer has no {missing}",
            record=record,
            field=missing,
            code="missing_party",
            hint="Complete the customer in the shop. Orders of nameless buyers use default_customer of the "
            "EBP connection.",
        )
    if alias_code(code, CUSTOMER_CODE_LENGTH, config.charset) != code:
        raise RecordRejected(
            f"{record}: the code {code!r} is none that EBP can hold ({CUSTOMER_CODE_LENGTH} plain characters)",
            record=record,
            field="code",
            code="bad_code",
            hint="Give it its usual form in the `out` mapping: the function customer_card_code does.",
        )
    lines = [
        piece
        for n, line in enumerate(billing.get("lines") or (), 1)
        for piece in textwrap.wrap(text(line, f"address.lines[{n}]", 160), 40)
    ]
    if len(lines) > 4:
        remarks.add("address.lines", "more than four address lines; the rest was left out")
    phone = words(billing.get("phone")) or words(payload.get("phone"))
    phone = "00" + phone[1:] if phone.startswith("+") else phone
    cells = {
        "Client - Code (tiers)": code,
        "Client - Nom": name,
        **{f"Client - Adresse {n} (facturation)": line for n, line in enumerate(lines[:4], 1)},
        "Client - Code postal (facturation)": text(billing.get("postcode"), "address.postcode", 10),
        "Client - Ville (facturation)": text(billing.get("city"), "address.city", 35),
        "Client - Code Pays (facturation)": text(billing.get("country"), "address.country", 3),
        "Client - Nom (contact) (facturation)": text(payload.get("last_name"), "last_name", 60),
        "Client - Prénom (contact) (facturation)": text(payload.get("first_name"), "first_name", 60),
        "Client - Téléphone fixe (facturation)": text(phone, "phone", 20),
        "Client - E-mail (facturation)": text(words(payload.get("email")) or billing.get("email"), "email", 100),
        "Client - Numéro de TVA intracommunautaire": text(payload.get("vat_id"), "vat_id", 20),
        "Client - Siren": text(payload.get("siren"), "siren", 20),
    }
    return Card(code, cells, remarks)


def customer_file(cards: Sequence[Card], config: EbpConfig) -> bytes:
    """The bytes of the customers' import file, one row per card."""
    lines = [";".join(CAPTIONS), *(";".join(card.cells.get(c, "") for c in CAPTIONS) for card in cards)]
    return ("\r\n".join(lines) + "\r\n").encode(config.charset)
