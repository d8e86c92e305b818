"""Web orders for a user-defined import format of Sage 100: a row for each line (gescom-interfaces §1.5).

The layout is ours; the integrator says it to Sage once, column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from comptoir.sdk.documents.build import Row
from comptoir.sdk.documents.order import SalesDocument
from comptoir.sdk.documents.profile import DocumentProfile
from comptoir.sdk.documents.text import comma
from comptoir_sage.chen import SageOrders, signed
from comptoir_sage.config import SageConfig

__all__ = ["COLUMNS", "RowsFormat", "RowsOptions"]

COLUMNS: tuple[str, ...] = (
    "TypeDoc", "Souche", "NumWeb", "DateDoc", "CodeClient", "Intitule", "Adresse", "Complement", "CP", "Ville", "Pays",
    "Email", "Telephone", "Depot", "ModeExpedition", "RefArticle", "Designation", "Quantite", "PUHT", "PUTTC",
    "TauxTVA", "CodeTaxe", "Remise", "DateLivraison", "Acompte", "ModeReglement",
)  # fmt: skip


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

    def write(self, documents: Sequence[SalesDocument]) -> bytes:
        """JJ/MM/AAAA, decimal comma, CRLF."""
        sign = self._options.separator
        lines = [sign.join(COLUMNS)] if self._options.captions else []
        lines += [sign.join(self._row(document, row)) for document in documents for row in document.rows]
        return "".join(f"{line}\r\n" for line in lines).encode(self.profile.charset)

    def _row(self, document: SalesDocument, row: Row) -> Sequence[str]:
        config, buyer = self.settings, document.buyer
        quantity, price = signed(row)
        cells = {
            "TypeDoc": "BC",
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
        return [cells.get(column, "") for column in COLUMNS]
