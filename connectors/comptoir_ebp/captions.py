"""What the columns of EBP's exports are called: the one table to change.

A field has the name of EBP's own database column (gescom-interfaces §2.4). The captions beside it are what a
parametrizable export may call it, in the style of the product's import captions (§2.3) without the first word
("Article - "); they are UNCONFIRMED, since each user chooses his own, and `[connections.NAME.captions.*]` adds others.
Case, accents and spaces do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CUSTOMERS", "IDENTITY", "ITEMS", "LAYOUTS", "STOCK", "STOCK_OF_ITEMS", "Columns", "Layout", "columns_of"]

#: The field that `item_identity` and `customer_identity` fill.
IDENTITY = "Identity"
_FIRST_WORD = re.compile(r"^(article|stock|client|depot) ?- ?")

_QUANTITIES = {
    "RealStock": ("Stock réel", "Quantité en stock", "Stock"),
    "VirtualStock": ("Stock virtuel",),
    "BookedQuantity": ("Quantité réservée", "Stock réservé", "Réservé"),
    "OrderedQuantity": ("Quantité commandée par les clients", "Commandes clients", "Quantité commandée clients"),
    "SuppliersOrderedQuantity": (
        "Quantité commandée aux fournisseurs",
        "Commandes fournisseurs",
        "Quantité commandée fournisseurs",
    ),
}
_UNIT = {"UnitId": ("Code unité", "Unité")}
_STATE = {"ActiveState": ("État", "Statut", "Actif"), "Asleep": ("En sommeil", "Sommeil")}
_DATES = {
    "sysCreatedDate": ("Date de création", "Créé le"),
    "sysModifiedDate": ("Date de modification", "Modifié le"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of export: the beginning of its files' names, its fields with their captions, and what must be there.

    `keeps_unknown`: columns that are no field go into `extra`; otherwise they are not read at all.
    """

    name: str
    stem: str
    fields: Mapping[str, tuple[str, ...]]
    mandatory: tuple[str, ...]
    keeps_unknown: bool = True

    @property
    def key(self) -> str:
        """The field that names the record in EBP."""
        return self.mandatory[0]


ITEMS = Layout(
    "item",
    "ARTICLES",
    {
        "Id": ("Code article", "Code"),
        "Caption": ("Libellé", "Désignation"),
        "BarCode": ("Code barre", "Code-barres", "Code barres", "Code à barres"),
        "SalePriceVatExcluded": ("PV HT", "Prix de vente HT"),
        "SalePriceVatIncluded": ("PV TTC", "Prix de vente TTC"),
        "VatRate": ("Taux de TVA", "Taux TVA"),
        "VatId": ("Code TVA",),
        "FamilyId": ("Code famille", "Famille"),
        "SubFamilyId": ("Code sous-famille", "Sous-famille"),
        "SupplierId": ("Code fournisseur",),
        "ItemType": ("Type", "Type d'article"),
        "ManageStock": ("Gérer en stock", "Géré en stock", "Suivi de stock"),
        "AllowPublishOnWeb": ("Publier sur le web", "Publié sur le web", "Publication web"),
        "Weight": ("Poids", "Poids net"),
        **_UNIT,
        **_STATE,
        **_QUANTITIES,
        **_DATES,
    },
    mandatory=("Id", "Caption"),
)
STOCK = Layout(
    "stock",
    "STOCK",
    {
        "ItemId": ("Code article",),
        "StorehouseId": ("Code dépôt",),
        "Storehouse": ("Dépôt", "Libellé du dépôt", "Libellé dépôt"),
        "CountedAt": ("Date", "Date du stock", "Date d'inventaire"),
        **_UNIT,
        **_QUANTITIES,
        "sysModifiedDate": _DATES["sysModifiedDate"],
    },
    mandatory=("ItemId", "RealStock"),
)
#: Stock that stands in the file of items, where there is no file of stock.
STOCK_OF_ITEMS = Layout(
    "item",
    "ARTICLES",
    {
        "ItemId": ("Id", *ITEMS.fields["Id"]),
        "ItemType": ITEMS.fields["ItemType"],
        "ManageStock": ITEMS.fields["ManageStock"],
        **_UNIT,
        **_QUANTITIES,
    },
    mandatory=("ItemId",),
    keeps_unknown=False,
)
CUSTOMERS = Layout(
    "customer",
    "CLIENTS",
    {
        "Id": ("Code (tiers)", "Code", "Code client"),
        "Name": ("Nom", "Nom du client", "Raison sociale"),
        "Type": ("Nature", "Type de client"),
        **{f"MainInvoicingAddress_Address{n}": (f"Adresse {n} (facturation)", f"Adresse {n}") for n in (1, 2, 3, 4)},
        "MainInvoicingAddress_ZipCode": ("Code postal (facturation)", "Code postal"),
        "MainInvoicingAddress_City": ("Ville (facturation)", "Ville"),
        "MainInvoicingAddress_State": ("Département (facturation)", "Département"),
        "MainInvoicingAddress_CountryIsoCode": ("Code Pays (facturation)", "Code pays"),
        "MainInvoicingContact_Name": ("Nom (contact) (facturation)", "Nom (contact)"),
        "MainInvoicingContact_FirstName": ("Prénom (contact) (facturation)", "Prénom (contact)"),
        "MainInvoicingContact_Phone": ("Téléphone fixe (facturation)", "Téléphone fixe", "Téléphone"),
        "MainInvoicingContact_CellPhone": ("Téléphone portable (facturation)", "Téléphone portable", "Portable"),
        "MainInvoicingContact_Email": ("E-mail (facturation)", "E-mail", "Email"),
        "IntracommunityVATNumber": ("Numéro de TVA intracommunautaire", "N° de TVA intracommunautaire"),
        "Siren": ("Siren",),
        "Nic": ("Nic",),
        "NAF": ("Code NAF", "Naf"),
        "FamilyId": ("Code famille", "Famille"),
        "SettlementModeId": ("Code mode de règlement",),
        "TerritorialityId": ("Territorialité",),
        "PriceListCategoryId": ("Catégorie tarifaire", "Code catégorie tarifaire"),
        "EmailingAllowed": ("Accepte les e-mailings", "Accepte l'e-mailing", "Opt-in"),
        "EmailingRefused": ("Refuse les e-mailings", "Ne pas envoyer d'e-mailing", "Opt-out"),
        "EmailingDate": ("Date du consentement",),
        **_STATE,
        **_DATES,
    },
    mandatory=("Id", "Name"),
)
LAYOUTS = {layout.name: layout for layout in (ITEMS, STOCK, CUSTOMERS)}


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the fields of a file stand: (name, position) pairs; `unknown` are columns that go into `extra`."""

    fields: tuple[tuple[str, int], ...]
    unknown: tuple[tuple[str, int], ...]

    def position(self, name: str) -> int | None:
        """Where a field stands, None when the file does not have it."""
        return next((position for field, position in self.fields if field == name), None)


def columns_of(
    layout: Layout, header: Sequence[str], renamed: Mapping[str, str], identity: str | None = None
) -> Columns:
    """The columns of a file by its first line; ValueError names the caption that is missing or stands twice.

    `renamed` gives a field the caption that this user's format has, instead of those of the table.
    """
    wanted: dict[str, str] = {}
    for name, captions in layout.fields.items():
        if name not in renamed:
            wanted |= {form: name for caption in (name, *captions) for form in _forms(caption)}
    for name, caption in renamed.items():
        wanted |= dict.fromkeys(_forms(caption), name)
    fields: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for position, caption in enumerate(header):
        field = next((wanted[form] for form in _forms(caption) if form in wanted), None)
        if field is None:
            _note_unknown(unknown, caption.strip(), position)
        elif field in fields:
            raise ValueError(f"the columns {header[fields[field]]!r} and {caption!r} both are {field}")
        else:
            fields[field] = position
    if identity is not None:
        fields[IDENTITY] = _position(header, identity)
        unknown = {name: position for name, position in unknown.items() if position != fields[IDENTITY]}
    for name in layout.mandatory:
        if name not in fields:
            usual = (renamed[name],) if name in renamed else (layout.fields[name][0], name)
            raise ValueError(f"the column {' or '.join(map(repr, usual))} is missing")
    return Columns(tuple(fields.items()), tuple(unknown.items()) if layout.keeps_unknown else ())


def _note_unknown(unknown: dict[str, int], caption: str, position: int) -> None:
    if not caption:
        return
    name, count = caption, 1
    while name in unknown:
        count += 1
        name = f"{caption} ({count})"
    unknown[name] = position


def _position(header: Sequence[str], caption: str) -> int:
    found = [n for n, given in enumerate(header) if set(_forms(given)) & set(_forms(caption))]
    if len(found) != 1:
        raise ValueError(f"the column {caption!r} (the identity) {'is missing' if not found else 'stands twice'}")
    return found[0]


def _forms(caption: str) -> tuple[str, ...]:
    """How a caption is compared: as it stands, and without its first word."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", caption) if not unicodedata.combining(c))
    text = " ".join(plain.replace("’", "'").casefold().split())
    return (text, _FIRST_WORD.sub("", text)) if _FIRST_WORD.match(text) else (text,)
