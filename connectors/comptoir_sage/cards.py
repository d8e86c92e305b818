"""Customer cards in Sage's own text format: `#CCLI`, 120 fields and one for each attached account (gescom-interfaces
§1.4).

Most of these fields are the folder's own business (limits of credit, calendars, electronic invoicing), and an import
writes every field that the record has, also the empty ones. So a card begins as a copy of one of the folder's own web
customers (`customer_from`), whose person is taken out of it. Its children (bank accounts, contacts, delivery addresses)
are never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from comptoir.sdk import ConfigError, ContractViolation, RecordRejected
from comptoir.sdk.documents.card import Card
from comptoir.sdk.documents.countries import COUNTRIES
from comptoir.sdk.journal.text import shorten

__all__ = ["CardOptions", "card_record", "card_template", "examine_card"]

_FIELDS = 120
_TAG = re.compile(r"#[A-Z0-9]{3,12}")
_HINT = "Export one web customer from Sage 100 Gestion commerciale in Sage's format, and name that file there."
#: What belongs to the person of the copied card, and to nobody else: title, contact, region, short code, activity,
#: electronic exchange, comment, day of creation, fax, site.
_OF_THE_PERSON = (4, 7, 9, 12, 40, 43, 44, 45, 46, 47, 48, 54, 55, 56, 57, 58)


class CardOptions(BaseModel):
    """Nothing but that cards are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def card_template(data: bytes, shown: str) -> tuple[str, ...]:
    """The fields of the first customer card of an export; ConfigError when it holds none."""
    lines = data.decode("cp850").replace("\r\n", "\n").split("\n")
    if "#CCLI" not in lines:
        raise ConfigError(f"customer_from: {shown} holds no customer card (#CCLI)", hint=_HINT)
    fields: list[str] = []
    for line in lines[lines.index("#CCLI") + 1 :]:
        if _TAG.fullmatch(line):
            break
        fields.append(line)
    if len(fields) < _FIELDS:
        raise ConfigError(
            f"customer_from: the customer card of {shown} has {len(fields)} fields and not {_FIELDS} or more",
            hint=_HINT,
        )
    return tuple(fields)


def examine_card(card: Card, template: Sequence[str], record: str) -> None:
    """RecordRejected while there is no card to begin with, and for a country that is not known."""
    if not template:
        raise RecordRejected(
            f"{record}: no customer card of the folder is known to begin with",
            record=record,
            code="no_template",
            hint=f"customer_from = FILE: {_HINT}",
        )
    if card.country and card.country not in COUNTRIES:
        raise RecordRejected(
            f"{record}: the country {card.country} is not known",
            record=record,
            field="addresses.country",
            code="bad_country",
            hint="Correct the customer's country in the shop: a code of two letters (ISO 3166).",
        )


def card_record(card: Card, template: Sequence[str]) -> Iterator[str]:
    """`#CCLI` and its fields: the template's, with this customer's in their places."""
    three, country = COUNTRIES.get(card.country, ("", ""))
    contact = shorten(f"{card.first_name} {card.last_name}".strip(), "contact", card.remarks, 35)
    mine = {
        1: card.code,
        5: card.name,
        6: card.name[:17].rstrip(),
        7: "" if contact == card.name else contact,
        8: "".join(card.lines[:1]),
        9: "".join(card.lines[1:2]),
        10: card.postcode,
        11: card.city,
        13: country or three,
        27: card.code,
        43: card.siret(),
        45: card.vat_id,
        51: "0",
        55: card.phone,
        57: card.email,
    }
    yield "#CCLI"
    for number, own in enumerate(template, 1):
        text = mine.get(number, "" if number in _OF_THE_PERSON else own)
        if text.startswith("#"):
            raise ContractViolation(f"field {number} of #CCLI begins with #")
        yield text
