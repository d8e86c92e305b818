"""Web orders and credit notes for Ciel Gestion commerciale and Sage 50: rows `E` and `L`, 80 columns between tabs
(gescom-interfaces §3.1); customer cards, a row each (§3.2).

One row for the document with the item's columns empty, then a row for each line with the document's columns empty. An
empty number is given by the program; the shop's number stands in `Référence pièce` and `Ref. commande`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from comptoir.sdk import ConfigError, RecordRejected
from comptoir.sdk.documents.build import Row
from comptoir.sdk.documents.card import Card
from comptoir.sdk.documents.countries import COUNTRIES
from comptoir.sdk.documents.order import OrderBuilder, OrderFormat, SalesDocument
from comptoir.sdk.documents.profile import DocumentProfile
from comptoir.sdk.documents.text import comma
from comptoir.sdk.journal.text import cents
from comptoir_ciel.config import CielConfig

__all__ = ["CARD_FIELDS", "COLUMNS", "DocumentsFormat", "DocumentsOptions"]

COLUMNS: tuple[str, ...] = (
    "Type de Ligne", "Type de pièce", "N° pièce", "Date pièce", "Facturation TTC", "Référence pièce", "Remarque",
    "Code représentant pièce", "Code client", "Nom client", "Forme juridique", "Adresse 1", "Adresse 2", "Adresse 3",
    "Code postal", "Ville", "Code pays", "Pays", "Mode gestion TVA", "Tarif client", "NII", "Assujetti TPF",
    "Observations", "Nom contact", "Code mode de paiement", "Date échéance", "Date livraison pièce", "Validée",
    "Transmise", "Soldée", "Comptabilisée", "Irrécouvrable", "Date irrécouvrabilité", "Libellé irrécouvrable",
    "Compta. irrécouvrable", "Code affaire pièce", "Type de remise pièce", "Taux remise pièce", "Mt remise pièce",
    "Taux Escompte", "Statut devis", "Ref. commande", "Pas de retour stock", "Port Sans TVA", "Port Soumis TVA",
    "Taux TVA Port Soumis", "TVA Port Non Perçue", "Mt total TTC", "Code article", "Quantité", "PU HT", "PU TTC",
    "Taux TVA", "Ligne commentaire", "Description", "Niveau sous-total", "Taux TPF", "Code dépôt", "Pds Unit. Brut",
    "Pds Unit. Net", "Qté par colis", "Nbre colis", "Date livraison", "Type remise ligne", "Taux remise ligne",
    "Mt unit. remise HT", "Mt unit. remise TTC", "PA HT", "PAMP", "Unité", "Référence fournisseur",
    "Code représentant ligne", "Type Commission Repr.", "Taux commission", "Mt commission", "Code affaire ligne",
    "Mt unit. Eco-part. TTC", "Qté Livrée", "TVA Non Perçue", "N° ligne",
)  # fmt: skip


#: What a column of customer cards may hold.
CARD_FIELDS: tuple[str, ...] = (
    "code", "name", "first_name", "last_name", "address_1", "address_2", "address_3", "postcode", "city", "country",
    "country_code", "phone", "email", "vat_id", "siret", "vat_mode",
)  # fmt: skip


class DocumentsOptions(BaseModel):
    """`vat_modes`: VAT scheme -> Ciel's word; an order under a scheme without one is refused. `gross_mark`: what stands
    in `Facturation TTC` where prices include tax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: str = Field(default="Bon de commande", min_length=1, max_length=40)
    decimal: Literal[",", "."] = ","
    tariff: str = "Aucun"
    vat_modes: dict[str, str] = Field(default_factory=lambda: {"domestic": "Local"})
    gross_mark: str = "1"


class CreditNoteOptions(BaseModel):
    """`document`: Ciel's word for a credit note. `no_stock_return`: what stands in `Pas de retour stock`, so that it
    gives money back and moves no goods; whoever receives those books them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: str = Field(default="Avoir", min_length=1, max_length=40)
    no_stock_return: str = Field(default="1", max_length=10)


class CardOptions(BaseModel):
    """`columns`: caption -> what stands there, in the order of the folder's import format; '' leaves a column empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str] = Field(min_length=2)

    @field_validator("columns")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        for caption, name in value.items():
            if name and name not in CARD_FIELDS:
                raise ValueError(f"{caption}: there is no {name!r}; known: {', '.join(CARD_FIELDS)}")
            if any(sign in caption for sign in "\t\r\n"):
                raise ValueError(f"{caption!r} holds a separator")
        if missing := {"code", "name"} - set(value.values()):
            raise ValueError(f"no column holds the {min(missing)}")
        return value


class DocumentsFormat(OrderFormat[CielConfig]):
    """Rows `E` and `L`; cards by the profile's columns."""

    def __init__(self, profile: DocumentProfile, settings: CielConfig, header: Sequence[str] = ()) -> None:
        super().__init__(profile, settings, header)
        self._options = profile.parsed(DocumentsOptions)
        self._credit_notes = profile.of_credit_notes(CreditNoteOptions)
        self._cards = profile.of_customers(CardOptions)
        if len(settings.depot) > 13:
            raise ConfigError(f"depot: {settings.depot!r} is longer than the 13 characters of its code", code="profile")

    def shipping(self) -> Literal["header", "item"]:
        """As the connection says."""
        return self.settings.shipping_as

    def templates(self) -> Sequence[tuple[str, str]]:
        """The remark."""
        return (("remark", self.settings.remark),)

    def examine(self, build: OrderBuilder, document: SalesDocument) -> None:
        """Refuses a VAT scheme that the profile has no word for, and a buyer whom the import cannot make a card of."""
        scheme = document.scheme or "domestic"
        if scheme not in self._options.vat_modes:
            raise build.refuse(
                f"it was sold under the VAT scheme {scheme}, and the order profile has no word for it",
                "lines.taxes.scheme",
                "territoriality",
                f"Copy the profile beside comptoir.toml, add options.vat_modes.{scheme} as the folder calls it, and "
                "set order_profile.",
            )
        if document.buyer.country and document.buyer.country not in COUNTRIES:
            raise build.refuse(
                f"the country {document.buyer.country} is not known",
                "billing.country",
                "bad_country",
                "Correct the buyer's country in the shop: a code of two letters (ISO 3166).",
            )

    def write(self, documents: Sequence[SalesDocument]) -> bytes:
        """A row of captions, then the documents; tabs, CRLF, JJ/MM/AAAA."""
        lines = ["\t".join(COLUMNS)]
        for document in documents:
            lines.append(self._laid_out(self._head(document)))
            lines += [self._laid_out(self._line(document, row)) for row in document.rows]
        return "".join(f"{line}\r\n" for line in lines).encode(self.profile.charset)

    def examine_card(self, card: Card, record: str) -> None:
        """Refuses a card whose country is not known; a SIREN that is no SIRET is left out, remarked."""
        if card.country and card.country not in COUNTRIES:
            raise RecordRejected(
                f"{record}: the country {card.country} is not known",
                record=record,
                field="addresses.country",
                code="bad_country",
                hint="Correct the customer's country in the shop: a code of two letters (ISO 3166).",
            )
        card.siret()

    def write_cards(self, cards: Sequence[Card]) -> bytes:
        """A row of captions, then one for each card; tabs, CRLF."""
        columns = self._cards.columns if self._cards else {}
        lines = ["\t".join(columns)]
        for card in cards:
            cells = self._card(card)
            lines.append("\t".join(cells.get(name, "") for name in columns.values()))
        return "".join(f"{line}\r\n" for line in lines).encode(self.profile.charset)

    def _card(self, card: Card) -> Mapping[str, str]:
        three, country = COUNTRIES.get(card.country, ("", ""))
        return {
            "code": card.code,
            "name": card.name,
            "first_name": card.first_name,
            "last_name": card.last_name,
            **{f"address_{n}": line for n, line in enumerate(card.lines, 1)},
            "postcode": card.postcode,
            "city": card.city,
            "country": country,
            "country_code": three,
            "phone": card.phone,
            "email": card.email,
            "vat_id": card.vat_id,
            "siret": card.siret(),
            "vat_mode": self._options.vat_modes.get("domestic", "") if card.country in ("", "FR") else "",
        }

    def _laid_out(self, cells: Mapping[str, str]) -> str:
        return "\t".join(cells.get(column, "") for column in COLUMNS)

    def _number(self, value: Decimal, least: int) -> str:
        return comma(value, least).replace(",", self._options.decimal)

    def _head(self, document: SalesDocument) -> Mapping[str, str]:
        buyer = document.buyer
        three, country = COUNTRIES.get(buyer.country, ("", ""))
        day = f"{document.day:%d/%m/%Y}"
        freight = {
            "Port Soumis TVA": self._number(document.freight, 2),
            "Taux TVA Port Soumis": self._number(document.freight_rate, 2),
        }
        without = {"Port Sans TVA": self._number(document.freight, 2)}
        credit = self._credit_notes if document.credits is not None else None
        return {
            "Type de Ligne": "E",
            "Type de pièce": credit.document if credit else self._options.document,
            "Date pièce": day,
            "Facturation TTC": self._options.gross_mark if self.settings.prices == "gross" else "",
            "Référence pièce": document.number,
            "Remarque": document.texts[0],
            "Code client": document.customer,
            "Nom client": buyer.name,
            **{f"Adresse {n}": line for n, line in enumerate(buyer.lines, 1)},
            "Code postal": buyer.postcode,
            "Ville": buyer.city,
            "Code pays": three,
            "Pays": country,
            "Mode gestion TVA": self._options.vat_modes[document.scheme or "domestic"],
            "Tarif client": self._options.tariff,
            "NII": document.vat_id,
            "Code mode de paiement": document.mode,
            "Date échéance": day,
            "Date livraison pièce": f"{document.delivery:%d/%m/%Y}",
            "Ref. commande": document.number if document.credits is None else document.credits,
            "Pas de retour stock": credit.no_stock_return if credit else "",
            **((freight if document.freight_rate else without) if document.freight else {}),
            "Mt total TTC": self._number(document.total, 2),
        }

    def _line(self, document: SalesDocument, row: Row) -> Mapping[str, str]:
        """Both prices are written; the one that the document is not priced in follows from the rate, for reading."""
        if self.settings.prices == "gross":
            net, gross = cents(row.price * 100 / (100 + row.rate)), row.price
        else:
            net, gross = row.price, cents(row.price * (100 + row.rate) / 100)
        return {
            "Type de Ligne": "L",
            "Code article": row.item,
            "Quantité": self._number(row.quantity, 3),
            "PU HT": self._number(net, 2),
            "PU TTC": self._number(gross, 2),
            "Taux TVA": self._number(row.rate, 2),
            "Description": row.label,
            "Niveau sous-total": "0",
            "Code dépôt": self.settings.depot,
            "Date livraison": f"{document.delivery:%d/%m/%Y}",
        }
