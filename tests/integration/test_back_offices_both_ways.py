"""A shop and Sage 100 by SQL, a shop and Ciel by text files: items and stock are published, an order is handed over,
imported, and known again; then its goods are counted once, not twice.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.engine.ports import Ports
from comptoir.errors import ConfigError
from comptoir.model.refs import RunState
from comptoir.sdk import Credentials
from comptoir.sdk.sql import DRIVERS
from comptoir_ciel.sandbox import CielGescom
from comptoir_sage.sandbox import SageGescom, SalesDesk

from tests.support.merchant import Merchant, request_json, simple_order
from tests.support.orders import GESCOM_EXPORT
from tests.support.sage_database import DRIVER, SageDatabase, credentials

CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.gesco]
{settings}
folder = "exchange/gesco"
quiet_seconds = 0
customers = "default"
default_customer = "WEBDIVERS"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
"""


class WithDatabase:
    """The secrets of a merchant, and those of Sage's server."""

    def __init__(self, others: Any, sage: Credentials) -> None:
        self._others = others
        self._sage = sage

    def get(self, connection: str) -> Credentials | None:
        found: Credentials | None = self._sage if connection == "gesco" else self._others.get(connection)
        return found


@pytest.fixture
def sage(make_merchant: Callable[..., Merchant], monkeypatch: pytest.MonkeyPatch) -> tuple[Merchant, SageDatabase]:
    monkeypatch.setitem(DRIVERS, "postgresql", DRIVER)
    merchant = make_merchant(
        CONFIG.format(settings='connector = "sage"\ngescom_from = "gescom.txt"\nread_by = "sql"\nprices = "gross"')
    )
    (merchant.folder / "gescom.txt").write_bytes(GESCOM_EXPORT)
    merchant.shop()
    # The tables of the folder stand beside the hub's own: names do not meet.
    database = SageDatabase(merchant.url)
    plain = merchant.ports

    def ports() -> Ports:
        made = plain()
        return Ports(
            clock=made.clock, ids=made.ids, random=made.random, tasks=made.tasks, transport=made.transport,
            secrets=WithDatabase(made.secrets, credentials(merchant.url)),
        )  # fmt: skip

    monkeypatch.setattr(merchant, "ports", ports)
    return merchant, database


def product(merchant: Merchant, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = request_json(merchant.shops["boutique"], "POST", "/products", {"type": "simple", **fields})
    return found


def two_of(made: dict[str, Any]) -> dict[str, Any]:
    """The body of an order."""
    return simple_order(line_items=[{"product_id": made["id"], "quantity": 2}])


def shown(merchant: Merchant, made: dict[str, Any], field: str) -> Any:
    return request_json(merchant.shops["boutique"], "GET", f"/products/{made['id']}")[field]


def files(merchant: Merchant) -> list[Path]:
    return sorted((merchant.folder / "exchange" / "gesco" / "gescom").glob("COMMANDES*.TXT"))


def imported(merchant: Merchant, database: SageDatabase, number: int) -> None:
    """A user imports the waiting files and throws them away: Sage numbers the orders and reserves their goods. No
    report, no .BAK: only the database knows."""
    for path in files(merchant):
        for document in SageGescom().orders(path.name, path.read_bytes()):
            database.document(f"BC{number:05d}", document.web)
            for line in document.lines:
                database.run("update F_ARTSTOCK set AS_QteRes = AS_QteRes + %s where AR_Ref = %s and DE_No = 1",
                             line.quantity, line.item)  # fmt: skip
        path.unlink()


@pytest.mark.failure_mode(38)
def test_shop_and_sage_by_sql(sage: tuple[Merchant, SageDatabase]) -> None:
    merchant, database = sage
    mug = product(merchant, name="Un mug", sku="CRUCHE-1", regular_price="14.50", manage_stock=True, stock_quantity=1)
    database.item("CRUCHE-1", "Mug émaillé « cœur »", "15", AR_PrixTTC=1)
    database.stock("CRUCHE-1", 1, 10, 1, 1)
    items = merchant.run("items")
    assert items.matched["gesco -> boutique"]["linked"] == 1
    assert shown(merchant, mug, "regular_price") == "15.00"
    assert merchant.run("stock").state is RunState.SUCCESS
    assert shown(merchant, mug, "stock_quantity") == 8  # 10 counted, 1 reserved, 1 being prepared

    order = request_json(merchant.shops["boutique"], "POST", "/orders", two_of(mug))
    report = merchant.run("orders")
    assert report.main.delivered == 1 and len(files(merchant)) == 1
    assert merchant.rows("select state, outcome from delivery where entity = 'order'") == [("confirmed", "unknown")]
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 6  # promised, Sage knows nothing of it yet
    assert merchant.run("orders").acknowledged == 0

    imported(merchant, database, 17)
    assert merchant.run("orders").acknowledged == 1
    assert merchant.rows("select state, outcome from delivery where entity = 'order'") == [("confirmed", "accepted")]
    assert "BC00017" in str(merchant.rows("select * from delivery where entity = 'order'"))
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 6  # reserved in Sage, and counted once

    # The order becomes a delivery note under another number, its goods leave, and others come in.
    database.run("update F_DOCENTETE set DO_Type = 3, DO_Piece = 'BL00009' where DO_NoWeb = %s", str(order["number"]))
    database.stock("CRUCHE-1", 1, 28, 1, 1)
    assert merchant.run("orders").acknowledged == 0
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 26
    # Handed over once, whatever is run again.
    assert merchant.run("orders", full=True).main.delivered == 0 and files(merchant) == []


def test_a_database_that_is_away_costs_no_order_and_empties_no_stock(
    sage: tuple[Merchant, SageDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant, database = sage
    mug = product(merchant, name="Un mug", sku="CRUCHE-1", regular_price="14.50", manage_stock=True, stock_quantity=1)
    database.item("CRUCHE-1", "Mug", "15", AR_PrixTTC=1)
    database.stock("CRUCHE-1", 1, 10)
    merchant.run("items")
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 10
    request_json(merchant.shops["boutique"], "POST", "/orders", two_of(mug))
    database.run("alter table F_ARTSTOCK rename to F_ELSEWHERE")
    database.run("alter table F_DOCENTETE rename to F_NOWHERE")
    with pytest.raises(ConfigError, match="gesco: stock: the database has not the tables or columns that are read"):
        merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 8  # as the shop counted it down itself
    with pytest.raises(ConfigError, match="gesco: acknowledged: the database has not the tables"):
        merchant.run("orders")
    assert merchant.rows("select count(*) from delivery where entity = 'order'") == [(1,)]
    database.run("alter table F_ELSEWHERE rename to F_ARTSTOCK")
    database.run("alter table F_NOWHERE rename to F_DOCENTETE")
    merchant.run("orders")
    assert len(files(merchant)) == 1
    imported(merchant, database, 3)
    assert merchant.run("orders").acknowledged == 1


def test_shop_and_ciel_by_text_files(make_merchant: Callable[..., Merchant]) -> None:
    merchant = make_merchant(CONFIG.format(settings='connector = "ciel"\nprices = "gross"'))
    merchant.shop()
    folder = merchant.folder / "exchange" / "gesco"
    folder.mkdir(parents=True)
    mug = product(merchant, name="Un mug", sku="CRUCHE-1", regular_price="14.50", manage_stock=True, stock_quantity=1)
    program = CielGescom(stock={"CRUCHE-1": Decimal("10.5"), "PORT": Decimal(0)})
    desk = SalesDesk(folder, program)

    def export() -> None:
        """A user exports the list of items with its columns of stock."""
        head = "Code article\tDésignation\tPV TTC\tTaux TVA\tGérer en stock\tStock réel\tQuantité réservée"
        rows = [head, "PORT\tFrais de port\t\t20,00\tNon\t\t"]
        stock, reserved = (program.stock or {})["CRUCHE-1"], program.reserved.get("CRUCHE-1", Decimal(0))
        rows.append(f"CRUCHE-1\tMug émaillé « cœur »\t15,00\t20,00\tOui\t{stock}\t{reserved}".replace(".", ","))
        (folder / "export").mkdir(exist_ok=True)
        (folder / "export" / "ARTICLES.TXT").write_bytes("".join(f"{row}\r\n" for row in rows).encode("cp1252"))

    export()
    found = merchant.run("items")
    assert found.matched["gesco -> boutique"]["linked"] == 1
    assert shown(merchant, mug, "regular_price") == "15.00"
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 10

    request_json(merchant.shops["boutique"], "POST", "/orders", two_of(mug))
    merchant.run("orders")
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 8
    assert desk.step() and [document.kind for document in program.documents] == ["order"]
    assert merchant.run("orders").acknowledged == 1
    assert merchant.rows("select state, outcome from delivery where entity = 'order'") == [("confirmed", "accepted")]
    export()
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 8
    assert program.stock is not None
    program.stock["CRUCHE-1"] += 20
    export()
    merchant.run("stock")
    assert shown(merchant, mug, "stock_quantity") == 28
