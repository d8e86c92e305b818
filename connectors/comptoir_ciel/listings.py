"""What Ciel Gestion commerciale and Sage 50 say of items, stock and customers: lists that a user exports as text.

The programs have no open database, so exports are all there is (gescom-interfaces §3): tabs or `;`, CP1252, a first
line with captions. Those of customers are of an export that was seen; the others are UNCONFIRMED, since each user
chooses his own, and `[connections.NAME.captions.*]` adds others. How lists are read: `comptoir.sdk.lists`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from comptoir.sdk import ConnectorContext, EntityName
from comptoir.sdk.lists import Columns, Layout, ListFolder, Reader, Row
from comptoir.sdk.lists.cells import stock_key, word
from comptoir_ciel.config import CielConfig
from comptoir_ciel.readings import depot, tracked

__all__ = ["CUSTOMERS", "ITEMS", "LAYOUTS", "STOCK", "STOCK_OF_ITEMS", "CielLists"]

_CODE = ("Code article", "Code", "Référence", "Référence article")
_QUANTITIES = {
    "stock": ("Stock réel", "Quantité en stock", "Stock", "Stock théorique"),
    "reserved": ("Quantité réservée", "Commandes clients", "Qté commandée clients", "Réservé"),
    "incoming": ("Commandes fournisseurs", "Qté commandée fournisseurs", "En commande"),
}
_UNIT = {"unit": ("Unité", "Unité de vente")}

ITEMS = Layout(
    "item",
    "ARTICLES",
    {
        "code": _CODE,
        "name": ("Désignation", "Libellé", "Description"),
        "barcode": ("Code barre", "Code-barres", "Code barres", "Gencod"),
        "net_price": ("PV HT", "Prix de vente HT", "PU HT", "Prix HT"),
        "gross_price": ("PV TTC", "Prix de vente TTC", "PU TTC", "Prix TTC"),
        "tax_code": ("Code TVA",),
        "tax_rate": ("Taux TVA", "Taux de TVA"),
        "family": ("Famille", "Code famille", "Famille articles"),
        "kind": ("Type", "Type d'article"),
        "managed": ("Gérer en stock", "Géré en stock", "Suivi de stock", "Gestion du stock"),
        "asleep": ("Bloqué", "Inactif", "En sommeil", "Sommeil"),
        "weight": ("Poids net", "Poids", "Pds Unit. Net"),
        **_UNIT,
        **_QUANTITIES,
    },
    mandatory=("code", "name"),
)
STOCK = Layout(
    "stock",
    "STOCK",
    {
        "code": _CODE,
        "depot": ("Dépôt", "Code dépôt"),
        "counted_on": ("Date", "Date d'inventaire"),
        **_UNIT,
        **_QUANTITIES,
    },
    mandatory=("code", "stock"),
)
#: Stock that stands in the file of items, where there is no file of stock.
STOCK_OF_ITEMS = Layout(
    "item",
    "ARTICLES",
    {**{name: ITEMS.fields[name] for name in ("code", "kind", "managed")}, **_UNIT, **_QUANTITIES},
    mandatory=("code",),
    keeps_unknown=False,
)
CUSTOMERS = Layout(
    "customer",
    "CLIENTS",
    {
        "code": ("Code", "Code client"),
        "name": ("Nom", "Nom client"),
        "company": ("Société", "Raison sociale"),
        "legal_form": ("Forme juridique",),
        **{f"address{n}": (f"Adresse {n}", f"Adresse{n}") for n in (1, 2, 3)},
        "postcode": ("Code Postal",),
        "city": ("Ville",),
        "country": ("Pays", "Code pays"),
        "family": ("Famille clients", "Famille"),
        "payment": ("Mode de paiement", "Code mode de paiement"),
        "phone": ("Téléphone",),
        "mobile": ("Portable",),
        "vat_mode": ("Mode TVA", "Mode gestion TVA"),
        "vat_id": ("N° TVA intracom", "NII", "N° TVA intracommunautaire"),
        "account": ("Compte Comptable",),
        "email": ("E-mail", "Email"),
        "siret": ("SIRET", "N° SIRET"),
        "tariff": ("Code Tarif", "Tarif client"),
        "iban": ("IBAN",),
        "bic": ("BIC",),
        "naf": ("NAF", "Code NAF"),
        "kind": ("Type de client", "Type"),
        "asleep": ("Bloqué", "Inactif", "En sommeil"),
    },
    mandatory=("code", "name"),
)
LAYOUTS = {layout.name: layout for layout in (ITEMS, STOCK, CUSTOMERS)}


class CielLists(ListFolder):
    """The export folder of one connection. Stock is told apart by item and depot."""

    layouts: ClassVar[Mapping[EntityName, tuple[Layout, ...]]] = {
        EntityName.ITEM: (ITEMS,),
        EntityName.STOCK: (STOCK, STOCK_OF_ITEMS),
        EntityName.CUSTOMER: (CUSTOMERS,),
    }
    program: ClassVar[str] = "Ciel"
    suffixes: ClassVar[tuple[str, ...]] = (".TXT", ".CSV")

    def __init__(self, folder: Path, config: CielConfig, ctx: ConnectorContext) -> None:
        super().__init__(folder, config, ctx, config.export_charset)

    def renamed(self, layout: Layout) -> Mapping[str, str]:
        """Captions of items serve the stock that stands among them as well."""
        given = super().renamed(layout)
        if layout is STOCK_OF_ITEMS:
            return {name: caption for name, caption in given.items() if name in layout.fields}
        return given

    def reader(self, entity: EntityName, layout: Layout, columns: Columns) -> Reader | None:
        """Stock by item and depot; in a file of items only what is counted is stock."""
        key = self.code(layout, columns)
        if entity is not EntityName.STOCK:
            return Reader(key)
        if columns.position("stock") is None:
            self.say("there is no STOCK*.txt, and that of items has no column of stock")
            return None
        at = {name: columns.position(name) for name in ("depot", "stock", "managed")}

        def cell(cells: Row, name: str) -> str:
            position = at[name]
            return "" if position is None else word(cells[position])

        def key_and_place(cells: Row) -> str:
            found = key(cells)
            return found and stock_key(found, depot(cell(cells, "depot")))

        def has_stock(cells: Row) -> bool:
            return tracked(cell(cells, "managed"), cell(cells, "stock"))

        return Reader(key_and_place, has_stock if layout is STOCK_OF_ITEMS else None)
