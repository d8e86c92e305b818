"""A customer as a card of a back office, before any file format: code, name, address, in its charset and lengths."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comptoir.errors import RecordRejected
from comptoir.sdk.documents.codes import alias_code
from comptoir.sdk.documents.text import cell
from comptoir.sdk.journal.text import Remarks, words

__all__ = ["Card", "CardRules", "customer_card"]


@dataclass(frozen=True, slots=True)
class Card:
    """A customer card ready to be laid out."""

    code: str
    name: str
    first_name: str
    last_name: str
    lines: tuple[str, ...]
    postcode: str
    city: str
    country: str
    phone: str
    email: str
    vat_id: str
    siren: str
    remarks: Remarks = field(default_factory=Remarks)

    def siret(self) -> str:
        """The number of 14 digits, where that is what the customer gave; a SIREN of 9 is left out, remarked."""
        if self.siren and len(self.siren) != 14:
            self.remarks.add("siren", "the card holds a SIRET of 14 digits: left out")
        return self.siren if len(self.siren) == 14 else ""


@dataclass(frozen=True, slots=True)
class CardRules:
    """What a program can hold: characters of each field, and how many address lines of `address` characters."""

    program: str
    charset: str
    code: int
    name: int
    lines: int
    address: int
    postcode: int
    city: int
    phone: int
    email: int
    contact: int = 60
    vat_id: int = 25
    taboo: str = ""


def customer_card(payload: Mapping[str, Any], rules: CardRules, record: str) -> Card:
    """The card of a payload of a `customer.out` mapping; RecordRejected when it has neither name nor a usable code.

    The address is the billing one, else the first that says anything. Codes are never changed here.
    """
    remarks = Remarks()

    def text(value: object, where: str, limit: int) -> str:
        return cell(value, where, remarks, charset=rules.charset, limit=limit, taboo=rules.taboo)

    code = words(payload.get("code"))
    usable = [a for a in payload.get("addresses") or () if a.get("lines") or words(a.get("city"))]
    billing = next((a for a in usable if words(a.get("role")) == "billing"), usable[0] if usable else {})
    name = text(words(payload.get("name")) or words(billing.get("name")), "name", rules.name)
    if not code or not name:
        missing = "name" if code else "code"
        raise RecordRejected(
            f"{record}: the customer has no {missing}",
            record=record,
            field=missing,
            code="missing_party",
            hint="Complete the customer in the shop. Orders of nameless buyers use default_customer of the "
            f"{rules.program} connection.",
        )
    if alias_code(code, rules.code, rules.charset, rules.taboo) != code:
        raise RecordRejected(
            f"{record}: the code {code!r} is none that {rules.program} can hold ({rules.code} plain characters)",
            record=record,
            field="code",
            code="bad_code",
            hint="Give it its usual form in the `out` mapping: the function customer_card_code does.",
        )
    lines = [
        piece
        for n, line in enumerate(billing.get("lines") or (), 1)
        for piece in textwrap.wrap(text(line, f"address.lines[{n}]", 4 * rules.address), rules.address)
    ]
    if len(lines) > rules.lines:
        remarks.add("address.lines", f"more than {rules.lines} address lines; the rest was left out")
    phone = words(billing.get("phone")) or words(payload.get("phone"))
    return Card(
        code=code,
        name=name,
        first_name=text(payload.get("first_name"), "first_name", rules.contact),
        last_name=text(payload.get("last_name"), "last_name", rules.contact),
        lines=tuple(lines[: rules.lines]),
        postcode=text(billing.get("postcode"), "address.postcode", rules.postcode),
        city=text(billing.get("city"), "address.city", rules.city),
        country=text(billing.get("country"), "address.country", 3),
        phone=text("00" + phone[1:] if phone.startswith("+") else phone, "phone", rules.phone),
        email=text(words(payload.get("email")) or billing.get("email"), "email", rules.email),
        vat_id=text(payload.get("vat_id"), "vat_id", rules.vat_id),
        siren=text(payload.get("siren"), "siren", 20),
        remarks=remarks,
    )
