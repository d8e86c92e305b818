"""What users do with goods and buyers in back offices whose lists are read: mixed into the kits of their writers."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import EntityName
from comptoir.testing import FileKit
from comptoir_sage.catalogue import SageCatalogue

__all__ = ["CielListsKit", "SageExportsKit", "SageResultsKit"]


class SageResultsKit(FileKit):
    """Sage's folder, whose lists are results of the packaged queries."""

    page_rows = 500
    charset: ClassVar[str] = "cp1252"
    files: ClassVar[dict[EntityName, str]] = {
        EntityName.ITEM: "items.csv", EntityName.STOCK: "stock.csv", EntityName.CUSTOMER: "customers.csv",
    }  # fmt: skip
    keys: ClassVar[dict[EntityName, str]] = {
        EntityName.ITEM: "AR_Ref", EntityName.STOCK: "AR_Ref", EntityName.CUSTOMER: "CT_Num",
    }  # fmt: skip
    share: Path

    def start(self) -> None:
        super().start()
        self.goods = SageCatalogue()
        self.count = 0

    def write(self) -> None:
        """What is known is given out anew."""
        self.goods.write_results(self.share / "export")
        self.date()

    def date(self) -> None:
        """Files are of the kit's moment, not of the machine's."""
        moment = self.clock.now().timestamp()
        for path in (self.share / "export").iterdir():
            os.utime(path, (moment, moment))

    def create(self, entity: EntityName) -> str:
        made = self._made(entity)
        self.write()
        return made

    def create_many(self, entity: EntityName, count: int) -> None:
        for _ in range(count):
            self._made(entity)
        self.write()

    def _made(self, entity: EntityName) -> str:
        self.count += 1
        if entity is EntityName.CUSTOMER:
            number = f"CLI{self.count:06d}"
            self.goods.customer(number, f"Épicerie {self.count}", CT_Ville="Besançon", CT_Pays="FRANCE")
            return number
        ref = f"ART{self.count:06d}"
        self.goods.add(ref, f"Bocal n° {self.count}", Decimal("10.05") + self.count, stock=Decimal(self.count))
        return ref if entity is EntityName.ITEM else f"Dépôt principal/{ref}"

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.count += 1
        if entity is EntityName.CUSTOMER:
            self.goods.customer(external_id, f"Épicerie changée {self.count}")
        elif entity is EntityName.ITEM:
            self.goods.items[external_id].price += 1
        else:
            self.goods.items[external_id.partition("/")[2]].real["Dépôt principal"] += 1
        self.write()

    def delete(self, entity: EntityName, external_id: str) -> None:
        known: dict[str, Any] = self.goods.customers if entity is EntityName.CUSTOMER else self.goods.items
        del known[external_id.rpartition("/")[2]]
        self.write()

    def ids(self, entity: EntityName) -> set[str]:
        if entity is EntityName.CUSTOMER:
            return set(self.goods.customers)
        place = "" if entity is EntityName.ITEM else "Dépôt principal/"
        return {f"{place}{ref}" for ref in self.goods.items}

    def exported(self, entity: EntityName) -> Path:
        return self.share / "export" / type(self).files[entity]

    def key_column(self, entity: EntityName) -> str:
        return type(self).keys[entity]


class SageExportsKit(SageResultsKit):
    """The same with lists that a user exports."""

    files: ClassVar[dict[EntityName, str]] = {
        EntityName.ITEM: "ARTICLES.csv", EntityName.STOCK: "STOCK.csv", EntityName.CUSTOMER: "CLIENTS.csv",
    }  # fmt: skip
    keys: ClassVar[dict[EntityName, str]] = {
        EntityName.ITEM: "Référence article", EntityName.STOCK: "Référence article", EntityName.CUSTOMER: "N° client",
    }  # fmt: skip

    def write(self) -> None:
        self.goods.write_exports(self.share / "export")
        self.date()


class CielListsKit(SageResultsKit):
    """Ciel's folder with the lists that a user exports: tabs, CP1252, decimal comma."""

    delimiter: ClassVar[str] = "\t"
    files: ClassVar[dict[EntityName, str]] = {
        EntityName.ITEM: "ARTICLES.txt", EntityName.STOCK: "STOCK.txt", EntityName.CUSTOMER: "CLIENTS.txt",
    }  # fmt: skip
    keys: ClassVar[dict[EntityName, str]] = {
        EntityName.ITEM: "Code article", EntityName.STOCK: "Code article", EntityName.CUSTOMER: "Code",
    }  # fmt: skip

    def write(self) -> None:
        items = [("Code article", "Libellé", "PV HT", "PV TTC", "Taux TVA", "Gérer en stock")]
        stock = [("Code article", "Dépôt", "Stock réel")]
        for item in self.goods.items.values():
            gross = item.price + item.price / 5
            cells = (item.ref, item.name, _comma(item.price), _comma(gross), "20,00", "Oui" if item.stocked else "Non")
            items.append(cells)
            stock += [(item.ref, depot, _comma(quantity)) for depot, quantity in item.real.items()]
        cards = [("Code", "Nom", "Ville", "Pays")]
        for code, card in self.goods.customers.items():
            cards.append((code, card["CT_Intitule"], card["CT_Ville"], card["CT_Pays"]))
        folder = self.share / "export"
        folder.mkdir(exist_ok=True)
        for name, rows in (("ARTICLES", items), ("STOCK", stock), ("CLIENTS", cards)):
            text = "".join("\t".join(row) + "\r\n" for row in rows)
            (folder / f"{name}.txt").write_bytes(text.encode("cp1252"))
        self.date()


def _comma(value: Decimal) -> str:
    return f"{value:.2f}".replace(".", ",")
