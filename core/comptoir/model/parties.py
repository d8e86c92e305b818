"""Parties: who buys, who sells, where they are, what they agreed to."""

from __future__ import annotations

import enum
import hashlib
from uuid import UUID

from pydantic import Field

from comptoir.model.base import (
    Canonical,
    Code,
    Country,
    Currency,
    Extra,
    Instant,
    Personal,
    PersonalCode,
    Privacy,
    Text,
)

__all__ = [
    "AccountKind",
    "Address",
    "Audience",
    "Consent",
    "ConsentState",
    "Contact",
    "Customer",
    "IdentityLink",
    "Party",
    "PartyKind",
    "Segment",
    "Supplier",
    "address_hash",
]


class PartyKind(enum.StrEnum):
    PERSON = "person"
    ORGANISATION = "organisation"


class AccountKind(enum.StrEnum):
    """How a customer buys."""

    B2C = "b2c"
    B2B = "b2b"
    GUEST = "guest"


class Party(Canonical):
    """A person or an organisation. E-mail and phone are signals to match by, never an identity."""

    kind: PartyKind
    first_name: Personal | None = None
    last_name: Personal | None = None
    company: Personal | None = None
    email: Personal | None = None
    phone: Personal | None = None
    vat_id: Personal | None = None
    siren: Personal | None = None
    siret: Personal | None = None
    languages: tuple[Text, ...] = ()

    @property
    def display_name(self) -> str:
        """The name to print: company, else first and last name; empty when neither is known."""
        return self.company or " ".join(part for part in (self.first_name, self.last_name) if part)


class Contact(Canonical):
    """A way to reach a party in one role."""

    role: Code
    party: Party


class Address(Canonical):
    """A postal address with the name written on it."""

    role: Code
    company: Personal | None = None
    first_name: Personal | None = None
    last_name: Personal | None = None
    lines: tuple[Personal, ...] = ()
    postcode: Personal | None = None
    city: Personal | None = None
    region: Personal | None = None
    country: Country | None = None
    phone: Personal | None = None
    email: Personal | None = None
    pickup_point: PersonalCode | None = None

    @property
    def display_name(self) -> str:
        """Company, else first and last name."""
        return self.company or " ".join(part for part in (self.first_name, self.last_name) if part)

    @property
    def is_empty(self) -> bool:
        """No place and no name: the source sent an empty block."""
        return not (self.lines or self.city or self.postcode or self.company or self.last_name or self.first_name)


def address_hash(address: Address) -> str:
    """The same for two spellings of one place: case, spaces and punctuation do not count."""
    parts = [
        address.display_name,
        *address.lines,
        address.postcode or "",
        address.city or "",
        address.country or "",
    ]
    text = "|".join("".join(c for c in part.casefold() if c.isalnum()) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class ConsentState(enum.StrEnum):
    GIVEN = "given"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Consent(Canonical):
    """What a party agreed to; an opt-out is never lifted by a re-sync."""

    purpose: Code
    channel: Code
    state: ConsentState
    proof: Text | None = None
    source: Code
    at: Instant | None = None


class Customer(Canonical):
    """A party that buys on a channel."""

    external_id: Code
    party: Party
    account: AccountKind
    addresses: tuple[Address, ...] = ()
    groups: tuple[Text, ...] = ()
    price_list: Code | None = None
    tax_exempt: bool = False
    consents: tuple[Consent, ...] = ()
    origin_channel: Code
    created_at: Instant | None = None
    modified_at: Instant | None = None
    extra: Extra = Field(default_factory=dict)


class IdentityLink(Canonical):
    """A decision that two parties are (or are not) one, with its evidence; reversible."""

    left: UUID
    right: UUID
    evidence: dict[str, str] = Field(json_schema_extra={"privacy": Privacy.PERSONAL})
    score: float
    decision: Code
    by: Code


class Segment(Canonical):
    """A versioned rule that selects parties."""

    name: Text
    rule: Text
    version: int


class Audience(Canonical):
    """A segment pushed somewhere, with its hold-out share in percent."""

    segment: Text
    pushed_to: tuple[Code, ...] = ()
    hold_out: int = 0


class Supplier(Canonical):
    """A party we buy from."""

    code: Code
    party: Party
    lead_time_days: int | None = None
    currency: Currency | None = None
