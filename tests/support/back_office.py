"""EBP's side in tests: a small catalogue that is exported as its command line would (CP1252, ;, decimal comma)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The columns by EBP's own names (gescom-interfaces section 2.4).
_ITEMS = (
    "Identity", "Id", "Caption", "BarCode", "SalePriceVatExcluded", "SalePriceVatIncluded", "VatRate", "ManageStock"
)  # fmt: skip
_STOCK = ("Identity", "ItemId", "StorehouseId", "RealStock", "BookedQuantity")
_CUSTOMERS = (
    "Id", "Name", "MainInvoicingAddress_Address1", "MainInvoicingAddress_ZipCode", "MainInvoicingAddress_City",
    "MainInvoicingAddress_CountryIsoCode", "MainInvoicingContact_Name", "MainInvoicingContact_FirstName",
    "MainInvoicingContact_Phone", "MainInvoicingContact_Email", "IntracommunityVATNumber", "Siren",
)  # fmt: skip

#: Settings that an EBP connection of this back office has.
CONFIG = 'item_identity = "Identity"\n'


def french(value: Any) -> str:
    """A number as EBP writes it."""
    return str(value).replace(".", ",")


@dataclass
class BackOffice:
    """What EBP holds; `export` writes its three files, each newer than the ones before."""

    folder: Path
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    stock: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: float = field(default_factory=lambda: time.time() - 7200)

    def item(
        self, code: str, name: str, ht: str, ttc: str, *, gtin: str = "", stock: Any = None, booked: Any = 0
    ) -> None:
        """Adds or replaces an item; its identity stays the first code it had."""
        known = self.items.get(code, {"Identity": f"ID-{code}"})
        self.items[code] = known | {
            "Id": code, "Caption": name, "BarCode": gtin, "SalePriceVatExcluded": french(ht),
            "SalePriceVatIncluded": french(ttc), "VatRate": "20,00", "ManageStock": "1",
        }  # fmt: skip
        if stock is not None:
            self.stock[code] = (stock, booked)

    def price(self, code: str, ht: str, ttc: str) -> None:
        """Changes both prices of an item."""
        self.items[code] |= {"SalePriceVatExcluded": french(ht), "SalePriceVatIncluded": french(ttc)}

    def rename(self, old: str, new: str) -> None:
        """Gives an item another code; its identity stays."""
        self.items[new] = self.items.pop(old) | {"Id": new}
        if old in self.stock:
            self.stock[new] = self.stock.pop(old)

    def customer(self, code: str, **fields: Any) -> None:
        """Adds or changes a customer, by column names."""
        self.customers[code] = self.customers.get(code, {}) | {"Id": code, **fields}

    def export(self, *, items: bool = True, stock: bool = True, customers: bool = True) -> None:
        """Writes the files."""
        self.clock += 60
        if items:
            self._write("ARTICLES.csv", _ITEMS, list(self.items.values()))
        if stock:
            rows = [
                {
                    "Identity": self.items[code]["Identity"], "ItemId": code, "StorehouseId": "PRINCIPAL",
                    "RealStock": french(real), "BookedQuantity": french(booked),
                }
                for code, (real, booked) in self.stock.items()
            ]  # fmt: skip
            self._write("STOCK.csv", _STOCK, rows)
        if customers and self.customers:
            self._write("CLIENTS.csv", _CUSTOMERS, list(self.customers.values()))

    def _write(self, name: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
        folder = self.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [";".join(columns), *(";".join(str(row.get(c, "")) for c in columns) for row in rows)]
        path = folder / name
        path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))
        os.utime(path, (self.clock, self.clock))
