"""EBP's database read by SQL: the same records as its exports give, and its word that it has taken an order."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from comptoir.app.mappings import CONTEXT
from comptoir.mapping import load_mapping
from comptoir.paths import mappings_dir
from comptoir.sdk import EntityName, PullRequest, PushBatch, PushOp, RawItem
from comptoir.sdk.sql import DRIVERS, load_query, open_database
from comptoir.store import schema
from comptoir.store.embedded import EmbeddedServer
from comptoir.testing import connector_context
from comptoir_ebp.config import DefaultCustomer, EbpConfig
from comptoir_ebp.connector import EbpConnector

from tests.contract.ebp_kit import EbpKit
from tests.support.sage_database import DRIVER, credentials

TABLES = Path(__file__).resolve().parents[1] / "data" / "ebp" / "tables.sql"
QUERIES = {EntityName.ITEM: "items", EntityName.STOCK: "stock", EntityName.CUSTOMER: "customers"}
_NUMBER = itertools.count(1)
DEFAULT = DefaultCustomer(code="DIVERS", name="Divers", address="-", postcode="-", city="-", country="FR")


class Ebp:
    """One folder and its database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.run(TABLES.read_text(encoding="utf-8"))

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as link:
            link.execute(statement.encode())

    def connector(self, **settings: Any) -> EbpConnector:
        ctx = connector_context(base_dir=self.folder, connection="gesco", credentials=credentials(self.url))
        config = EbpConfig(folder=self.folder / "ebp", default_customer=DEFAULT, quiet_seconds=0, **settings)
        return EbpConnector(config, ctx)

    def pulled(self, entity: EntityName, since: datetime | None = None, **settings: Any) -> dict[str, RawItem]:
        pages = self.connector(**settings).pull(PullRequest(entity, since=since))
        return {item.external_id: item for page in pages for item in page.items}

    def result(self, name: str) -> bytes:
        spool = io.BytesIO()
        with open_database(connector_context(credentials=credentials(self.url))) as database:
            database.spool(load_query("comptoir_ebp", name), spool)
        return spool.getvalue()


@pytest.fixture
def ebp(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ebp]:
    """A folder with a database of its own: EBP has a table Item, and so has the hub."""
    monkeypatch.setitem(DRIVERS, "postgresql", DRIVER)
    name, admin = f"ebp_{next(_NUMBER)}", schema.plain_url(server.url("postgres"))
    with psycopg.connect(admin, autocommit=True) as link:
        link.execute(f"create database {name} template template0".encode())
    yield Ebp(schema.plain_url(server.url(name)), tmp_path)
    with psycopg.connect(admin, autocommit=True) as link:
        link.execute(f"drop database {name} with (force)".encode())


def mapped(item: RawItem) -> Any:
    config = EbpConfig(folder=Path("ebp"), default_customer=DEFAULT)
    context = {**CONTEXT, "connection": "gesco", "channel": "gesco"}
    context |= {f"config.{name}": value for name, value in config.model_dump().items()}
    return load_mapping("ebp", item.entity.value, "in", [mappings_dir()]).to_model(item.payload, context)


def test_by_sql_and_by_result_the_same_and_what_it_means(ebp: Ebp) -> None:
    exports = ebp.folder / "ebp" / "export"
    exports.mkdir(parents=True)
    models: dict[EntityName, dict[str, Any]] = {}
    for entity, name in QUERIES.items():
        by_sql = ebp.pulled(entity, read_by="sql")
        (exports / f"{name}.csv").write_bytes(ebp.result(name))
        by_file = ebp.pulled(entity)
        assert by_sql and {k: {**v.payload, "file": None} for k, v in by_sql.items()} == {
            k: {**v.payload, "file": None} for k, v in by_file.items()
        }
        models[entity] = {key: mapped(item) for key, item in by_sql.items()}
    items = models[EntityName.ITEM]
    mug, tea = items["MUG-001"], items["THE-VRAC"]
    assert [(p.price_list, p.amount, p.basis) for p in mug.prices] == [("HT", 10, "excl"), ("TTC", 12, "incl")]
    assert (mug.name, mug.tax_rate, mug.gtins) == ("Mug émaillé « cœur »", 20, ("3760123456784",))
    assert mug.modified_at == datetime(2026, 11, 20, 16, 42, 11, 123000, tzinfo=UTC)
    assert (tea.name, tea.unit, tea.prices[0].amount) == ('Thé ; vert "en vrac"', "KGM", Decimal("45.497630"))
    assert items["PORT"].kind == "service" and items["VIEUX"].state == "retired"
    stock = models[EntityName.STOCK]
    assert set(stock) == {"Principal/MUG-001", "Boutique Besançon/MUG-001", "Principal/THE-VRAC"}
    level = stock["Principal/MUG-001"]
    assert (level.on_hand, level.reserved, level.item_id) == (42, 3, "MUG-001")
    assert stock["Principal/THE-VRAC"].on_hand == Decimal("-0.125")
    customers = models[EntityName.CUSTOMER]
    assert (customers["CDUPONT"].party.siret, customers["CDUPONT"].account) == ("30326504500018", "b2b")
    assert customers["CLEFEVRE"].addresses[0].country == "BE"


def test_only_what_changed_and_stock_whole(ebp: Ebp) -> None:
    since = datetime(2026, 11, 21, 7, tzinfo=UTC)
    assert set(ebp.pulled(EntityName.ITEM, since, read_by="sql")) == {"THE-VRAC"}
    assert set(ebp.pulled(EntityName.CUSTOMER, since, read_by="sql")) == {"CLEFEVRE"}
    assert len(ebp.pulled(EntityName.STOCK, since, read_by="sql")) == 3


def test_a_reference_says_that_an_order_was_taken_and_says_it_once(ebp: Ebp) -> None:
    made = ebp.connector(read_by="sql")
    record = EbpKit.record(EbpKit.__new__(EbpKit), EntityName.ORDER, 1, {})
    assert record is not None
    op = PushOp("d1", EntityName.ORDER, "create", record.natural_key, record.payload, "hash")
    (result,) = made.push(PushBatch("b1", EntityName.ORDER, [op]))
    assert result.outcome == "written"
    assert list(made.acknowledgements()) == []
    ebp.run(
        "insert into SaleDocument (DocumentNumber, DocumentType, Reference) values "
        f"('BC00000042', 8, 'Document importé n° {record.natural_key}'), "
        "('BC00000043', 8, 'Document importé n° AUTRE'), "
        "('FA00000001', 2, 'Merci de votre commande')"
    )
    ((report, words),) = made.acknowledgements()
    assert [(w.entity, w.natural_key, w.outcome, w.external_id) for w in words] == [
        (EntityName.ORDER, record.natural_key, "accepted", "BC00000042")
    ]
    # Not safe in the store yet: it is told again, by another process as well.
    assert [w.natural_key for _, again in ebp.connector(read_by="sql").acknowledgements() for w in again] == [
        record.natural_key
    ]
    made.acknowledged(report)
    assert list(made.acknowledgements()) == [] == list(ebp.connector(read_by="sql").acknowledgements())


def test_the_result_that_a_program_beside_the_server_sends_is_a_report(ebp: Ebp) -> None:
    made = ebp.connector()
    record = EbpKit.record(EbpKit.__new__(EbpKit), EntityName.ORDER, 1, {"document_number": "WEB-1001"})
    assert record is not None
    op = PushOp("d1", EntityName.ORDER, "create", record.natural_key, record.payload, "hash")
    made.push(PushBatch("b1", EntityName.ORDER, [op]))
    ebp.run("insert into SaleDocument (DocumentNumber, Reference) values ('BC42', 'Document importé n° WEB-1001')")
    ack = ebp.folder / "ebp" / "ack"
    ack.mkdir(exist_ok=True)
    for mark in (b"", b"\xef\xbb\xbf"):
        (ack / "acknowledged-1.csv").write_bytes(mark + ebp.result("acknowledged"))
        ((report, words),) = made.acknowledgements()
        assert [(w.natural_key, w.external_id) for w in words] == [("WEB-1001", "BC42")]
    made.acknowledged(report)
    assert list(made.acknowledgements()) == [] and not (ack / "acknowledged-1.csv").exists()
