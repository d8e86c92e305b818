"""What Sage 100 says of items, stock and customers: its database by SQL, results of the same queries, or exports.

A field has the name of Sage's own column, which is its alias in the queries of `sql/`. The captions beside it are what
a user-defined export may call it; they are UNCONFIRMED, since each user chooses his own, and
`[connections.NAME.captions.*]` adds others. How lists are read: `comptoir.sdk.lists`, docs/reading-sql.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

from comptoir.sdk import ConnectorContext, EntityName
from comptoir.sdk.lists import Columns, Layout, ListFolder, Reader, Row
from comptoir.sdk.lists.cells import stock_key
from comptoir_sage.config import SageConfig
from comptoir_sage.readings import depot, item_key, moment

__all__ = ["CUSTOMERS", "ITEMS", "LAYOUTS", "STOCK", "SageLists"]

#: What tells the variants of an item with gammes apart.
_VARIANT = {
    "AG_No1": (),
    "AG_No2": (),
    "AE_Ref": ("Référence énuméré", "Référence de l'énuméré"),
    "EG_Enumere1": ("Énuméré de gamme 1", "Énuméré 1", "Gamme 1"),
    "EG_Enumere2": ("Énuméré de gamme 2", "Énuméré 2", "Gamme 2"),
}
_REFERENCE = ("Référence article", "Référence", "Code article")
_UNIT = {"U_Intitule": ("Unité de vente", "Unité")}
_DATE = {"cbModification": ("Date de modification",)}

ITEMS = Layout(
    "item",
    "ARTICLES",
    {
        "AR_Ref": _REFERENCE,
        "AR_Design": ("Désignation", "Désignation article", "Libellé"),
        **_VARIANT,
        "AR_CodeBarre": ("Code barre", "Code-barres", "Code barres"),
        "FA_CodeFamille": ("Code famille", "Famille"),
        "AR_PrixVen": ("Prix de vente",),
        "AR_PrixTTC": ("Prix TTC", "Type de prix"),
        "PV_HT": ("Prix de vente HT", "PV HT"),
        "PV_TTC": ("Prix de vente TTC", "PV TTC"),
        **_UNIT,
        "AR_PoidsNet": ("Poids net",),
        "AR_UnitePoids": ("Unité de poids",),
        "AR_SuiviStock": ("Suivi de stock", "Suivi du stock", "Suivi stock"),
        "AR_Sommeil": ("Sommeil", "En sommeil", "Mis en sommeil"),
        "AR_Publie": ("Publié", "Publié sur le site", "Publié sur le site marchand"),
        "AR_Pays": ("Pays d'origine",),
        "TA_Code": ("Code taxe", "Code TVA"),
        "TA_Taux": ("Taux de TVA", "Taux TVA"),
        "F_ARTCLIENT": (),
        "F_ARTCOMPTA": (),
        "F_FAMCOMPTA": (),
        **_DATE,
    },
    mandatory=("AR_Ref", "AR_Design"),
    query="items",
    numbers=frozenset({"AR_PrixVen", "AR_PoidsNet"}),
    packed=frozenset({"F_ARTCLIENT", "F_ARTCOMPTA", "F_FAMCOMPTA"}),
)
STOCK = Layout(
    "stock",
    "STOCK",
    {
        "AR_Ref": _REFERENCE,
        **_VARIANT,
        "DE_No": ("N° dépôt", "Numéro dépôt"),
        "DE_Intitule": ("Dépôt", "Intitulé dépôt", "Intitulé du dépôt"),
        "AS_QteSto": ("Stock réel", "Quantité en stock", "Stock"),
        "AS_QteRes": ("Quantité réservée", "Réservé", "Stock réservé"),
        "AS_QtePrepa": ("Quantité préparée", "Préparé", "En préparation"),
        "AS_QteCom": ("Quantité commandée", "Commandé", "En commande"),
        **_UNIT,
        **_DATE,
    },
    mandatory=("AR_Ref", "AS_QteSto"),
    query="stock",
    numbers=frozenset({"AS_QteSto", "AS_QteRes", "AS_QtePrepa", "AS_QteCom"}),
)
CUSTOMERS = Layout(
    "customer",
    "CLIENTS",
    {
        "CT_Num": ("N° de compte client", "Numéro client", "N° client", "Code client"),
        "CT_Intitule": ("Intitulé", "Nom", "Raison sociale"),
        "CT_Qualite": ("Qualité", "Civilité"),
        "CT_Contact": ("Contact", "Interlocuteur"),
        "CT_Adresse": ("Adresse",),
        "CT_Complement": ("Complément", "Complément d'adresse"),
        "CT_CodePostal": ("Code postal",),
        "CT_Ville": ("Ville",),
        "CT_CodeRegion": ("Région", "Code région"),
        "CT_Pays": ("Pays",),
        "CT_Telephone": ("Téléphone",),
        "CT_EMail": ("E-mail", "Email", "Adresse e-mail"),
        "CT_Siret": ("N° SIRET", "Siret"),
        "CT_Identifiant": ("N° identifiant", "Identifiant", "N° TVA intracommunautaire"),
        "CT_Ape": ("Code NAF", "NAF", "Code APE"),
        "N_CatTarif": ("Catégorie tarifaire", "N° catégorie tarifaire"),
        "N_CatCompta": ("Catégorie comptable", "N° catégorie comptable"),
        "CT_Sommeil": ("Sommeil", "En sommeil", "Mis en sommeil"),
        **_DATE,
    },
    mandatory=("CT_Num", "CT_Intitule"),
    query="customers",
)
LAYOUTS = {layout.name: layout for layout in (ITEMS, STOCK, CUSTOMERS)}


class SageLists(ListFolder):
    """The export folder of one connection, or its database. An item is told apart by its reference and the values of
    its gammes, stock by item and depot."""

    layouts: ClassVar[Mapping[EntityName, tuple[Layout, ...]]] = {
        EntityName.ITEM: (ITEMS,),
        EntityName.STOCK: (STOCK,),
        EntityName.CUSTOMER: (CUSTOMERS,),
    }
    program: ClassVar[str] = "Sage"
    suffixes: ClassVar[tuple[str, ...]] = (".CSV", ".TXT")
    # Stock is always read whole: that a reservation moves cbModification is said nowhere.
    dated_by: ClassVar[Mapping[EntityName, str]] = {
        EntityName.ITEM: "cbModification",
        EntityName.CUSTOMER: "cbModification",
    }

    def __init__(self, folder: Path, config: SageConfig, ctx: ConnectorContext) -> None:
        super().__init__(folder, config, ctx, config.export_charset)
        self._depots = frozenset(config.depots)

    def reader(self, entity: EntityName, layout: Layout, columns: Columns) -> Reader | None:
        """Keys of variants, and of stock the depots that the connection wants."""
        if entity is EntityName.CUSTOMER:
            return Reader(self.code(layout, columns))
        reference = self.code(layout, columns)
        parts = [columns.position(name) for name in ("AG_No1", "AG_No2", "EG_Enumere1", "EG_Enumere2")]

        def key(cells: Row) -> str:
            return item_key(reference(cells), *(_cell(cells, part) for part in parts))

        if entity is EntityName.ITEM:
            return Reader(key)
        name, number = columns.position("DE_Intitule"), columns.position("DE_No")

        def place(cells: Row) -> str:
            return depot(_cell(cells, name), _cell(cells, number))

        def key_and_place(cells: Row) -> str:
            found = key(cells)
            return found and stock_key(found, place(cells))

        wanted = self._depots
        return Reader(key_and_place, (lambda cells: place(cells) in wanted) if wanted else None)

    def moment(self, text: str) -> datetime | None:
        """`cbModification` is on the clocks of the company."""
        return moment(text, self._ctx.company.time_zone)

    def since(self, moment: datetime) -> str:
        """The same, in the form of the query."""
        return moment.astimezone(ZoneInfo(self._ctx.company.time_zone)).strftime("%Y-%m-%d %H:%M:%S")


def _cell(cells: Row, position: int | None) -> str:
    return "" if position is None else cells[position]
