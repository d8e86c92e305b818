"""What users do with goods and buyers in back offices whose lists are read: mixed into the kits of their writers."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import EntityName
from comptoir.testing import FileKit
from comptoir_sage.catalogue import SageCatalogue

__all__ = ["SageExportsKit", "SageResultsKit"]


class SageResultsKit(FileKit):
    """Sage's folder, whose lists are results of the packaged queries."""

    page_rows = 500
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
        EntityName.ITEM: "Code article", EntityName.STOCK: "Code article", EntityName.CUSTOMER: "Code client",
    }  # fmt: skip

    def write(self) -> None:
        self.goods.write_exports(self.share / "export")
        self.date()
