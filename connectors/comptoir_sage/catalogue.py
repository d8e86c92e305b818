"""The sandbox's items, stock and customers, and the lists that a user exports of them, or that a program beside the
server makes by the queries of `sql/`.

Shares no code with the reader of lists, so that it can contradict it. Captions of exports are made in the style of the
product; the columns of results are those that docs/reading-sql.md promises.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

__all__ = ["CatalogueItem", "SageCatalogue"]


@dataclass(slots=True)
class CatalogueItem:
    """A card of an item without gammes. `real` is what is counted at each depot; the price is without tax."""

    ref: str
    name: str
    price: Decimal
    rate: Decimal = Decimal(20)
    code: str = "C20"
    gtin: str = ""
    family: str = "DIVERS"
    unit: str = "Pièce"
    stocked: bool = True
    asleep: bool = False
    real: dict[str, Decimal] = field(default_factory=dict)
    prepared: Decimal = Decimal(0)
    ordered: Decimal = Decimal(0)


class SageCatalogue:
    """What a folder knows of its goods and buyers. The first depot is where web orders reserve."""

    def __init__(self, depots: Sequence[str] = ("Dépôt principal",)) -> None:
        self.depots = tuple(depots)
        self.items: dict[str, CatalogueItem] = {}
        self.customers: dict[str, dict[str, str]] = {}
        self.reserved: dict[str, Decimal] = {}

    def add(
        self, ref: str, name: str, price: Decimal, *, stock: Decimal | None = None, gtin: str = ""
    ) -> CatalogueItem:
        """A new card; KeyError when the reference is taken. Without `stock` its stock is not tracked."""
        if ref in self.items:
            raise KeyError(f"there is an item {ref} already")
        item = CatalogueItem(ref, name, price, gtin=gtin, stocked=stock is not None)
        if stock is not None:
            item.real[self.depots[0]] = stock
        self.items[ref] = item
        return item

    def customer(self, number: str, name: str, **columns: str) -> None:
        """Adds a customer, or changes one, by Sage's column names."""
        self.customers[number] = self.customers.get(number, {}) | {"CT_Intitule": name, **columns}

    # -- results of the queries --------------------------------------------------------------------------------

    def items_result(self) -> bytes:
        """The result of items.sql."""
        names = (
            "Comptoir", "AR_Ref", "AG_No1", "AG_No2", "AE_Ref", "AR_Design", "EG_Enumere1", "EG_Enumere2",
            "AR_CodeBarre", "FA_CodeFamille", "AR_PrixVen", "AR_PrixTTC", "U_Intitule", "AR_PoidsNet",
            "AR_UnitePoids", "AR_SuiviStock", "AR_Sommeil", "AR_Publie", "AR_Pays", "F_ARTCLIENT", "F_ARTCOMPTA",
            "F_FAMCOMPTA", "cbModification",
        )  # fmt: skip
        return _result(
            names,
            (
                ("items 1", item.ref, "0", "0", "", item.name, "", "", item.gtin, item.family, _dot(item.price), "0",
                 item.unit, "0.000000", "3", "2" if item.stocked else "0", "1" if item.asleep else "0", "1", "", "",
                 f"1={item.code}/{_dot(item.rate)}", "", "2026-01-02 08:00:00.000")
                for item in self.items.values()
            ),
        )  # fmt: skip

    def stock_result(self) -> bytes:
        """The result of stock.sql: a row for each item that is tracked, and each depot."""
        names = (
            "Comptoir", "AR_Ref", "AG_No1", "AG_No2", "AE_Ref", "DE_No", "DE_Intitule", "AS_QteSto", "AS_QteRes",
            "AS_QtePrepa", "AS_QteCom", "U_Intitule", "cbModification",
        )  # fmt: skip
        return _result(
            names,
            (
                ("stock 1", item.ref, "0", "0", "", str(number), depot, *map(_dot, quantities), item.unit, "")
                for item, number, depot, quantities in self._levels()
            ),
        )

    def customers_result(self) -> bytes:
        """The result of customers.sql."""
        names = (
            "Comptoir", "CT_Num", "CT_Intitule", "CT_Qualite", "CT_Contact", "CT_Adresse", "CT_Complement",
            "CT_CodePostal", "CT_Ville", "CT_CodeRegion", "CT_Pays", "CT_Telephone", "CT_EMail", "CT_Siret",
            "CT_Identifiant", "CT_Ape", "N_CatTarif", "N_CatCompta", "CT_Sommeil", "cbModification",
        )  # fmt: skip
        rows = ({"Comptoir": "customers 1", "CT_Num": number, **card} for number, card in self.customers.items())
        return _result(names, ([row.get(name, "") for name in names] for row in rows))

    # -- exports -----------------------------------------------------------------------------------------------

    def items_file(self) -> bytes:
        """A user-defined export of items."""
        names = ("Référence article", "Désignation", "Code barre", "Code famille", "Prix de vente HT", "Taux de TVA",
                 "Unité de vente", "Suivi de stock", "Sommeil")  # fmt: skip
        return _file(
            names,
            (
                (item.ref, item.name, item.gtin, item.family, _comma(item.price), _comma(item.rate), item.unit,
                 "CMUP" if item.stocked else "Aucun", "Oui" if item.asleep else "Non")
                for item in self.items.values()
            ),
        )  # fmt: skip

    def stock_file(self) -> bytes:
        """A user-defined export of stock."""
        names = ("Référence article", "Dépôt", "Stock réel", "Quantité réservée", "Quantité préparée",
                 "Quantité commandée", "Unité de vente")  # fmt: skip
        return _file(
            names,
            (
                (item.ref, depot, *map(_comma, quantities), item.unit)
                for item, _, depot, quantities in self._levels()
            ),
        )  # fmt: skip

    def customers_file(self) -> bytes:
        """A user-defined export of customers."""
        names = {"N° client": "CT_Num", "Intitulé": "CT_Intitule", "Adresse": "CT_Adresse",
                 "Code postal": "CT_CodePostal", "Ville": "CT_Ville", "Pays": "CT_Pays", "E-mail": "CT_EMail",
                 "N° SIRET": "CT_Siret"}  # fmt: skip
        rows: Iterable[Mapping[str, str]] = ({"CT_Num": number, **card} for number, card in self.customers.items())
        return _file(tuple(names), ([row.get(name, "") for name in names.values()] for row in rows))

    def write_results(self, folder: Path) -> None:
        """Puts the results of the three queries into `folder`, as a program beside the server does."""
        _put(folder, {"items": self.items_result(), "stock": self.stock_result(), "customers": self.customers_result()})

    def write_exports(self, folder: Path) -> None:
        """Puts three exports into `folder`, as a user does."""
        _put(folder, {"ARTICLES": self.items_file(), "STOCK": self.stock_file(), "CLIENTS": self.customers_file()})

    def _levels(self) -> Iterable[tuple[CatalogueItem, int, str, tuple[Decimal, ...]]]:
        """Item, number and name of the depot; counted, reserved, being prepared, ordered."""
        none = Decimal(0)
        for item in self.items.values():
            for number, depot in enumerate(self.depots, 1) if item.stocked else ():
                first = number == 1
                promised = (self.reserved.get(item.ref, none), item.prepared, item.ordered) if first else (none,) * 3
                yield item, number, depot, (item.real.get(depot, none), *promised)


def _put(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        part = folder / f".{name}.part"
        part.write_bytes(data)
        part.replace(folder / f"{name}.csv")


def _result(names: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    return _written(names, rows, "utf-8")


def _file(names: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    return _written(names, rows, "cp1252")


def _written(names: Sequence[str], rows: Iterable[Sequence[str]], charset: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode(charset, "replace")


def _dot(value: Decimal) -> str:
    return f"{value:.6f}"


def _comma(value: Decimal) -> str:
    return format(value, "f").replace(".", ",")
