"""Web orders, credit notes and customer cards for user-defined import formats of Sage 100: a row for each line, or card
(gescom-interfaces §1.5).

The layouts are ours; the integrator says them to Sage once, column by column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from comptoir.sdk.documents.build import Row
from comptoir.sdk.documents.card import Card
from comptoir.sdk.documents.order import SalesDocument
from comptoir.sdk.documents.profile import DocumentProfile
from comptoir.sdk.documents.text import comma
from comptoir.sdk.journal.text import shorten
from comptoir_sage.cards import CardOptions
from comptoir_sage.chen import SageOrders, signed
from comptoir_sage.config import SageConfig

__all__ = ["CARD_COLUMNS", "COLUMNS", "RowsFormat", "RowsOptions"]

COLUMNS: tuple[str, ...] = (
    "TypeDoc", "Souche", "NumWeb", "DateDoc", "CodeClient", "Intitule", "Adresse", "Complement", "CP", "Ville", "Pays",
    "Email", "Telephone", "Depot", "ModeExpedition", "RefArticle", "Designation", "Quantite", "PUHT", "PUTTC",
    "TauxTVA", "CodeTaxe", "Remise", "DateLivraison", "Acompte", "ModeReglement",
)  # fmt: skip


#: Of a customer card.
CARD_COLUMNS: tuple[str, ...] = (
    "CodeClient", "Intitule", "Contact", "Adresse", "Complement", "CP", "Ville", "Pays", "Telephone", "Email",
    "NumTVA", "Siret", "CompteCollectif", "CatTarif", "CatCompta",
)  # fmt: skip


class RowsCreditNotes(BaseModel):
    """`type`: what stands in `TypeDoc` (BA is a bon d'avoir financier)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(default="BA", pattern=r"^[A-Z0-9]{1,10}$")


class RowsOptions(BaseModel):
    """`captions`: a first line with the names of the columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    separator: Literal[";", "\t"] = ";"
    captions: bool = True


class RowsFormat(SageOrders):
    """26 columns, the header's repeated on each row. The price of the other basis than the connection's stays empty."""

    def __init__(self, profile: DocumentProfile, settings: SageConfig, header: Sequence[str] = ()) -> None:
        super().__init__(profile, settings, header)
        self._options = profile.parsed(RowsOptions)
        self._credit_notes = profile.of_credit_notes(RowsCreditNotes)
        profile.of_customers(CardOptions)

    def write(self, documents: Sequence[SalesDocument]) -> bytes:
        """JJ/MM/AAAA, decimal comma, CRLF."""
        return self._file(COLUMNS, [self._row(document, row) for document in documents for row in document.rows])

    def write_cards(self, cards: Sequence[Card]) -> bytes:
        """A row for each card; collective account and categories are the connection's."""
        return self._file(CARD_COLUMNS, [self._card(card) for card in cards])

    def _file(self, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> bytes:
        sign = self._options.separator
        lines = [sign.join(columns)] if self._options.captions else []
        lines += [sign.join(row.get(column, "") for column in columns) for row in rows]
        return "".join(f"{line}\r\n" for line in lines).encode(self.profile.charset)

    def _card(self, card: Card) -> Mapping[str, str]:
        config = self.settings
        return {
            "CodeClient": card.code,
            "Intitule": card.name,
            "Contact": shorten(f"{card.first_name} {card.last_name}".strip(), "contact", card.remarks, 35),
            "Adresse": "".join(card.lines[:1]),
            "Complement": " ".join(card.lines[1:]),
            "CP": card.postcode,
            "Ville": card.city,
            "Pays": card.country,
            "Telephone": card.phone,
            "Email": card.email,
            "NumTVA": card.vat_id,
            "Siret": card.siret(),
            "CompteCollectif": config.collective_account,
            "CatTarif": str(config.price_category),
            "CatCompta": str(config.accounting_categories.get("domestic", "")),
        }

    def _row(self, document: SalesDocument, row: Row) -> Mapping[str, str]:
        config, buyer = self.settings, document.buyer
        quantity, price = signed(row)
        kind = "BC" if document.credits is None or self._credit_notes is None else self._credit_notes.type
        return {
            "TypeDoc": kind,
            "Souche": str(config.souche),
            "NumWeb": document.number,
            "DateDoc": f"{document.day:%d/%m/%Y}",
            "CodeClient": document.customer,
            "Intitule": buyer.name,
            "Adresse": buyer.lines[0] if buyer.lines else "",
            "Complement": " ".join(buyer.lines[1:]),
            "CP": buyer.postcode,
            "Ville": buyer.city,
            "Pays": buyer.country,
            "Email": buyer.email,
            "Telephone": buyer.phone,
            "Depot": config.depot,
            "ModeExpedition": str(config.shipping_mode),
            "RefArticle": row.item,
            "Designation": row.label,
            "Quantite": comma(quantity),
            "PUTTC" if config.prices == "gross" else "PUHT": comma(price, 2),
            "TauxTVA": comma(row.rate, 2),
            "CodeTaxe": self.tax(document, row),
            "DateLivraison": f"{document.delivery:%d/%m/%Y}",
            "Acompte": comma(self.paid(document), 2) if self.paid(document) else "",
            "ModeReglement": document.mode,
        }
