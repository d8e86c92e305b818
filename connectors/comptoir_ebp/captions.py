"""What the columns of EBP's exports are called: the one table to change.

A field has the name of EBP's own database column (gescom-interfaces §2.4), which is also its alias in the queries of
`sql/`. The captions beside it are what a parametrizable export may call it, in the style of the product's import
captions (§2.3) without the first word ("Article - "); they are UNCONFIRMED, since each user chooses his own, and
`[connections.NAME.captions.*]` adds others.
"""

from __future__ import annotations

from comptoir.sdk.lists import Layout

__all__ = ["CUSTOMERS", "ITEMS", "LAYOUTS", "STOCK", "STOCK_OF_ITEMS"]

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


#: Cells that are numbers.
_NUMBERS = frozenset({"SalePriceVatExcluded", "SalePriceVatIncluded", "VatRate", "Weight", *_QUANTITIES})


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
    query="items",
    numbers=_NUMBERS,
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
    query="stock",
    numbers=_NUMBERS,
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
    query="customers",
)
LAYOUTS = {layout.name: layout for layout in (ITEMS, STOCK, CUSTOMERS)}
