"""What EBP says of items, stock and customers: full snapshots as text files, or its database by SQL.

`ARTICLES*.csv`, `STOCK*.csv`, `CLIENTS*.csv` in the `export/` folder, written by the application's command line
(`/Export="<file>";Items;<format>`, gescom-interfaces §2.2) or by a user; `items*.csv`, `stock*.csv` and
`customers*.csv`, results of the queries in `sql/` (docs/reading-sql.md). How they are read: `comptoir.sdk.lists`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

from comptoir.sdk import ConnectorContext, EntityName
from comptoir.sdk.lists import Columns, Layout, ListFolder, Reader, Row
from comptoir.sdk.lists.cells import local_time, stock_key
from comptoir_ebp.captions import CUSTOMERS, ITEMS, STOCK, STOCK_OF_ITEMS
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.readings import location, tracked

__all__ = ["Exports"]


class Exports(ListFolder):
    """The export folder of one connection, or its database."""

    layouts: ClassVar[Mapping[EntityName, tuple[Layout, ...]]] = {
        EntityName.ITEM: (ITEMS,),
        EntityName.STOCK: (STOCK, STOCK_OF_ITEMS),
        EntityName.CUSTOMER: (CUSTOMERS,),
    }
    program: ClassVar[str] = "EBP"
    dated_by: ClassVar[Mapping[EntityName, str]] = {
        EntityName.ITEM: "sysModifiedDate",
        EntityName.CUSTOMER: "sysModifiedDate",
    }

    def __init__(self, folder: Path, config: EbpConfig, ctx: ConnectorContext) -> None:
        super().__init__(folder, config, ctx, config.charset)
        self._config = config

    def identity(self, entity: EntityName) -> str | None:
        """The column that the connection names."""
        config = self._config
        return config.customer_identity if entity is EntityName.CUSTOMER else config.item_identity

    def renamed(self, layout: Layout) -> Mapping[str, str]:
        """Captions of items serve the stock that stands among them as well."""
        given = super().renamed(layout)
        if layout is not STOCK_OF_ITEMS:
            return given
        own = {"ItemId" if name == "Id" else name: caption for name, caption in given.items()}
        return {name: caption for name, caption in own.items() if name in layout.fields}

    def reader(self, entity: EntityName, layout: Layout, columns: Columns) -> Reader | None:
        """Stock is told apart by item and storehouse, in a file of items only what is counted is stock."""
        key = self.code(layout, columns)
        if entity is not EntityName.STOCK:
            return Reader(key)
        if columns.position("RealStock") is None and layout is STOCK_OF_ITEMS:
            self.say("there is no STOCK*.csv, and that of items has no column of stock")
            return None
        storehouse, its_code = columns.position("Storehouse"), columns.position("StorehouseId")
        real, managed = columns.position("RealStock"), columns.position("ManageStock")

        def key_and_place(cells: Row) -> str:
            found = key(cells)
            return found and stock_key(found, location(_cell(cells, storehouse), _cell(cells, its_code)))

        def has_stock(cells: Row) -> bool:
            return tracked(_cell(cells, managed), _cell(cells, real))

        constants = {"reserved_from": self._config.reserved_from}
        return Reader(key_and_place, has_stock if layout is STOCK_OF_ITEMS else None, constants)

    def moment(self, text: str) -> datetime | None:
        """`sysModifiedDate` is on the clocks of the company."""
        return local_time(text, self._ctx.company.time_zone)

    def since(self, moment: datetime) -> str:
        """The same, in the form of the query."""
        return moment.astimezone(ZoneInfo(self._ctx.company.time_zone)).strftime("%Y-%m-%d %H:%M:%S")


def _cell(cells: Row, position: int | None) -> str:
    return "" if position is None else cells[position]
