"""Web orders and credit notes in Sage's own text format: `#CHEN`, `#CHLI`, `#CHRE`, one field a line
(gescom-interfaces §1.4). Customer cards (`#CCLI`) are in `comptoir_sage.cards`.

The first lines (`#FLG`, `#VER`) are those of an export of the customer's own Gestion commerciale. One line too many or
too few would shift every following field, so each record is filled by field number and its length is fixed. Fields of
features that are not used hold what the specification's sample has there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from comptoir.sdk import ConfigError, ContractViolation
from comptoir.sdk.documents.build import Row
from comptoir.sdk.documents.card import Card, CardRules
from comptoir.sdk.documents.order import OrderBuilder, OrderFormat, SalesDocument
from comptoir.sdk.documents.profile import DocumentProfile
from comptoir.sdk.documents.text import comma
from comptoir.sdk.journal.text import words
from comptoir_sage.cards import CardOptions, card_record, examine_card
from comptoir_sage.config import SageConfig

__all__ = ["ChenFormat", "ChenOptions", "SageOrders", "gescom_header"]

#: Neutral contents by field; all others are empty.
_HEADER_FIELDS, _LINE_FIELDS, _DUE_FIELDS = 86, 62, 10
_RATE, _NONE = "0,0000", "0,00"
_HEADER = {
    14: "1", 15: "0", 16: "0,000000", 19: "1", 20: "0", 29: "11", 30: "11", 31: "1", 32: "1", 33: "1", 34: "0",
    35: _RATE, 36: _RATE, 38: "0", 45: "0", 48: "0", 49: _NONE, 50: "0", 51: "0", 52: _NONE, 53: "0", 54: "0",
    55: _RATE, 56: "0", 57: "0", 58: _RATE, 59: "0", 60: "0", 61: _RATE, 62: "0", 63: "0", 67: "0", 68: "0", 69: "0",
    74: "0", 76: "0", 77: "0", 82: "0", 84: "0", 85: "0", 86: "0",
}  # fmt: skip
_LINE = {
    13: _NONE, 17: _RATE, 18: _RATE, 20: "0", 21: _RATE, 22: _NONE, 23: _RATE, 24: "0", 30: "1", 32: "0", 34: "0",
    35: "0", 36: _RATE, 37: "0", 38: "0", 39: _RATE, 40: "0", 41: "0", 45: "0", 46: "0", 49: "0", 50: "0", 59: _NONE,
    60: "0", 61: "0",
}  # fmt: skip
_HINT = "Export any document from Sage 100 Gestion commerciale in Sage's format, and put that file there."


class ChenOptions(BaseModel):
    """Fields 1 to 3 of the header, as Sage counts them in this format (a sale is 1, a customer order 2, normal 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: int = Field(default=1, ge=1, le=4)
    type: int = Field(default=2, ge=1, le=8)
    origin: int = Field(default=1, ge=1, le=4)


class CreditNoteOptions(ChenOptions):
    """The same for credit notes: type 6 gives money back and moves no stock (avoir financier)."""

    type: int = Field(default=6, ge=1, le=8)


def gescom_header(data: bytes, shown: str) -> tuple[str, ...]:
    """The header lines of an export of Sage 100 Gestion commerciale; ConfigError when `data` is none."""
    lines = data[:4096].decode("cp850").replace("\r\n", "\n").split("\n")
    if len(lines) < 3 or not re.fullmatch(r"#FLG \d{3}", lines[0]) or not re.fullmatch(r"#VER \d{1,3}", lines[1]):
        raise ConfigError(f"{shown} does not begin with #FLG and #VER: it is no export of Sage 100", hint=_HINT)
    if lines[2].startswith("#DEV"):
        raise ConfigError(
            f"{shown} has a #DEV line: it is an export of Sage 100 Comptabilité, not of Gestion commerciale", hint=_HINT
        )
    return tuple(lines[:2])


class SageOrders(OrderFormat[SageConfig]):
    """What both layouts of Sage share: tax codes, accounting category, number, reference and headings."""

    def templates(self) -> Sequence[tuple[str, str]]:
        """The reference, the external one, then the headings."""
        return (
            ("reference", self.settings.reference),
            ("external_reference", self.settings.external_reference),
            *((f"headings[{n}]", heading) for n, heading in enumerate(self.settings.headings, 1)),
        )

    def examine(self, build: OrderBuilder, document: SalesDocument) -> None:
        """Refuses a scheme without accounting category, a rate without tax code, and a number that is no digits."""
        scheme = document.scheme or "domestic"
        if scheme not in self.settings.accounting_categories:
            raise build.refuse(
                f"it was sold under the VAT scheme {scheme}, and no accounting category is named for it",
                "lines.taxes.scheme",
                "territoriality",
                f"Set accounting_categories.{scheme} of the Sage connection to the folder's category for such sales.",
            )
        for row in document.rows:
            if self.settings.tax_codes and row.rate and self.settings.tax_code(document.scheme, row.rate) is None:
                name = f"{document.scheme}/{comma(row.rate)}" if document.scheme else comma(row.rate)
                raise build.refuse(
                    f"there is no tax code for the rate {comma(row.rate)} %",
                    "lines.taxes.rate",
                    "tax_code",
                    f'Add "{name.replace(",", ".")}" to tax_codes of the Sage connection.',
                )
        if self.settings.piece_numbers == "digits" and not re.fullmatch(r"[0-9]{1,8}", document.order):
            raise build.refuse(
                f"its number {document.order} is none of at most eight digits",
                "order_number" if document.credits is None else "refund_number",
                "bad_code",
                'Set piece_numbers = "auto" of the Sage connection: Sage then numbers the documents itself.',
            )

    def piece(self, document: SalesDocument) -> str:
        """Sage's number of the document; '' where Sage numbers it."""
        settings = self.settings
        if settings.piece_numbers == "auto":
            return ""
        prefix = settings.piece_prefix if document.credits is None else settings.credit_piece_prefix
        return f"{prefix}{document.order:0>8}"

    def reference(self, document: SalesDocument) -> str:
        """The reference of the document, at most 17 characters: else the number, which always fits. Of a credit note it
        is the number of its order's document."""
        found = document.texts[0] if document.credits is None else document.credits
        if len(found) <= 17:
            return found
        document.remarks.add("reference", "longer than 17 characters: the document's number stands there")
        return document.number

    def paid(self, document: SalesDocument) -> Decimal:
        """The deposit: what was paid, where the connection sends it; of a credit note none."""
        return document.paid if self.settings.deposits else Decimal(0)

    def category(self, document: SalesDocument) -> int:
        """The accounting category of the document's scheme."""
        return self.settings.accounting_categories[document.scheme or "domestic"]

    def tax(self, document: SalesDocument, row: Row) -> str:
        """The tax code of a row; '' where the connection has no table of them."""
        return self.settings.tax_code(document.scheme, row.rate) or ""


def signed(row: Row) -> tuple[Decimal, Decimal]:
    """Quantity and price of a row as Sage shall read them.

    UNCONFIRMED for discounts: the price is below zero and the quantity above; and for credit notes: both are above
    zero, and the type of the document says what it is. Should a folder want it otherwise, this function is the one
    place to change.
    """
    return row.quantity, row.price


class ChenFormat(SageOrders):
    """`#CHEN` for each order or credit note, `#CHLI` for its lines, one `#CHRE` for what was paid or is due.

    `template`: the fields of a customer card of the folder (`comptoir_sage.cards`); without them no cards are written.
    """

    def __init__(self, profile: DocumentProfile, settings: SageConfig, header: Sequence[str] = ()) -> None:
        super().__init__(profile, settings, header)
        self._options = profile.parsed(ChenOptions)
        self._credit_notes = profile.of_credit_notes(CreditNoteOptions)
        profile.of_customers(CardOptions)
        self.template: Sequence[str] = ()
        if not self.header:
            raise ConfigError(
                "the header of Sage's format is not known: `gescom_from` is missing",
                hint=f"gescom_from = FILE: {_HINT}",
                code="header",
            )

    def write(self, documents: Sequence[SalesDocument]) -> bytes:
        """Header, documents, `#FIN`."""
        lines = [*self.header]
        for document in documents:
            lines += _record("#CHEN", _HEADER_FIELDS, self._header(document))
            for row in document.rows:
                lines += _record("#CHLI", _LINE_FIELDS, self._line(document, row))
            lines += _record("#CHRE", _DUE_FIELDS, self._due(document))
        return "".join(f"{line}\r\n" for line in [*lines, "#FIN"]).encode(self.profile.charset)

    def write_cards(self, cards: Sequence[Card]) -> bytes:
        """Header, `#CCLI` for each card, `#FIN`."""
        lines = [*self.header]
        for card in cards:
            lines += card_record(card, self.template)
        return "".join(f"{line}\r\n" for line in [*lines, "#FIN"]).encode(self.profile.charset)

    def card_rules(self, program: str) -> CardRules:
        """Two address lines: Sage has an address and a complement."""
        return replace(super().card_rules(program), lines=2)

    def examine_card(self, card: Card, record: str) -> None:
        """Refuses a card while there is none of the folder to begin with, and a country that is not known."""
        examine_card(card, self.template, record)

    def _header(self, document: SalesDocument) -> Mapping[int, str]:
        config, options = self.settings, self._options
        texts, external = document.texts[2:], document.texts[1:2]
        if document.credits is not None:
            options, texts, external = self._credit_notes or options, document.texts, ()
        headings = {22 + n: text for n, text in enumerate(texts, 1)}
        return {
            **_HEADER,
            **headings,
            1: str(options.domain),
            2: str(options.type),
            3: str(options.origin),
            4: str(config.souche),
            5: self.piece(document),
            6: f"{document.day:%d%m%y}",
            7: self.reference(document),
            8: f"{document.delivery:%d%m%y}",
            11: document.customer,
            12: config.depot,
            17: document.customer,
            18: str(config.shipping_mode),
            28: str(config.price_category),
            37: str(self.category(document)),
            39: str(config.order_status),
            40: config.collective_account,
            46: document.number,
            79: "".join(external),
        }

    def _line(self, document: SalesDocument, row: Row) -> Mapping[int, str]:
        quantity, price = signed(row)
        return {
            **_LINE,
            1: document.number,
            2: row.item,
            3: row.label,
            11: "1" if self.settings.prices == "gross" else "0",
            12: comma(price, 4),
            14: comma(quantity, 2),
            15: comma(quantity, 2),
            27: f"{document.delivery:%d%m%y}",
            28: self.settings.depot,
            33: comma(row.rate, 4),
            42: document.customer,
            53: f"{document.day:%d%m%y}",
            54: self.tax(document, row),
        }

    def _due(self, document: SalesDocument) -> Mapping[int, str]:
        """A deposit (0) of what was paid; else the due date (2) of the whole, as in the sample."""
        mode = document.mode or "1"
        day = f"{document.day:%d%m%y}"
        common = {2: day, 5: _NONE, 6: mode, 7: "0", 10: _RATE}
        if self.paid(document) > 0:
            return {**common, 1: "0", 3: f"ACOMPTE {document.number}", 4: comma(self.paid(document), 2)}
        return {**common, 1: "2", 4: _NONE}


def _record(tag: str, size: int, fields: Mapping[int, str]) -> Iterator[str]:
    """A record of exactly `size` fields, each on one line; a field that would be a tag is a defect of the builder."""
    yield tag
    for number in range(1, size + 1):
        text = words(fields.get(number))
        if text.startswith("#"):
            raise ContractViolation(f"field {number} of {tag} begins with #")
        yield text
