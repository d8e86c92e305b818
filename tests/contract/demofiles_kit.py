"""The kit of the demonstration till."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from comptoir_demofiles.config import DemoFilesConfig
from comptoir_demofiles.connector import DemoFilesConnector

from comptoir.sdk import ConnectorConfig, EntityName
from comptoir.testing import FileKit, NewRecord

_OVER = {"text": "name", "number": "number", "amount": "price", "quantity": "quantity"}


class DemoFilesKit(FileKit):
    connector = DemoFilesConnector
    page_rows = 4

    def start(self) -> None:
        self.till = self.folder / "till"
        for name in (self.till, self.till / "in", self.till / "ack"):
            name.mkdir()
        self.items: dict[str, tuple[str, str]] = {}
        self.count = 0

    def config(self) -> ConnectorConfig:
        return DemoFilesConfig(folder=self.till)

    def create(self, entity: EntityName) -> str:
        self.count += 1
        code = f"I{self.count:04d}"
        self.items[code] = (f"Thé n° {self.count}", f"{self.count},50")
        self._export()
        return code

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.count += 1
        self.items[external_id] = (f"Thé changé {self.count}", "9,90")
        self._export()

    def delete(self, entity: EntityName, external_id: str) -> None:
        del self.items[external_id]
        self._export()

    def ids(self, entity: EntityName) -> set[str]:
        return set(self.items)

    def _export(self) -> None:
        rows = ["code;name;price", *(f"{code};{name};{price}" for code, (name, price) in self.items.items())]
        path = self.exported(EntityName.ITEM)
        path.write_bytes("".join(f"{row}\r\n" for row in rows).encode("cp1252"))
        moment = int(self.clock.now().timestamp() * 1e6) * 1000
        os.utime(path, ns=(moment, moment))

    def exported(self, entity: EntityName) -> Path:
        return self.till / "ITEMS.csv"

    def key_column(self, entity: EntityName) -> str:
        return "code"

    def unplug(self) -> None:
        shutil.rmtree(self.till)

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        fields = {"number": f"N{n}", "name": "Thé", "price": "12.50", "quantity": "1"}
        for name, value in over.items():
            if name not in _OVER:
                return None
            fields[_OVER[name]] = str(value)
        return NewRecord(fields["number"], fields)

    def refused(self, entity: EntityName) -> NewRecord:
        return NewRecord("BAD", {"number": "BAD", "name": "forbidden", "price": "1.00", "quantity": "1"})

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        found = []
        for path in sorted((self.till / "in").glob("ORDERS-*.csv")):
            text = path.read_bytes().decode("cp1252")
            assert text.endswith("\r\n"), f"{path.name} stands in the till's folder and is not whole"
            head, *rows = text.splitlines()
            for row in rows:
                cells = dict(zip(head.split(";"), row.split(";"), strict=True))
                if cells["number"] == natural_key:
                    numbers = {"amount": Decimal(cells["price"]), "quantity": Decimal(cells["quantity"])}
                    found.append({"id": natural_key, **cells, **numbers, "text": cells["name"]})
        return found

    def answer(self, entity: EntityName, natural_key: str, reason: str | None) -> None:
        self.count += 1
        said = f"{natural_key};{'taken' if reason is None else 'refused'};{reason or ''}\r\n"
        (self.till / "ack" / f"report-{self.count}.csv").write_bytes(said.encode("cp1252"))
