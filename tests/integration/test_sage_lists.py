"""Sage 100's items, stock and customers, read from tables of its names: by SQL, and from the results that a program
beside the server makes of the same queries. Both give the same records, and the golden records are those.

`WRITE_GOLDEN=1` writes the golden records anew. Read the difference before it is committed.
"""

from __future__ import annotations

import io
import json
import os
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.app.mappings import CONTEXT
from comptoir.mapping import load_mapping
from comptoir.paths import mappings_dir
from comptoir.sdk import EntityName, PullRequest, RawItem
from comptoir.sdk.sql import DRIVERS, load_query, open_database
from comptoir.store import schema
from comptoir.testing import connector_context
from comptoir_sage.config import SageConfig
from comptoir_sage.connector import SageConnector

from tests.support.sage_database import DRIVER, SageDatabase, credentials, fill

GOLDEN = Path(__file__).resolve().parents[2] / "mappings" / "sage" / "golden"
QUERIES = {EntityName.ITEM: "items", EntityName.STOCK: "stock", EntityName.CUSTOMER: "customers"}


@pytest.fixture
def sage(database_url: str, monkeypatch: pytest.MonkeyPatch) -> SageDatabase:
    monkeypatch.setitem(DRIVERS, "postgresql", DRIVER)
    made = SageDatabase(schema.plain_url(database_url))
    fill(made)
    return made


def connector(sage: SageDatabase, folder: Path, **settings: Any) -> SageConnector:
    ctx = connector_context(base_dir=folder, connection="sage", credentials=credentials(sage.url))
    return SageConnector(SageConfig(folder=folder / "sage", **settings), ctx)


def pulled(made: SageConnector, entity: EntityName, since: datetime | None = None) -> dict[str, RawItem]:
    items = [item for page in made.pull(PullRequest(entity, since=since)) for item in page.items]
    assert len({item.external_id for item in items}) == len(items)
    return {item.external_id: item for item in items}


def by_file(sage: SageDatabase, folder: Path, entity: EntityName) -> dict[str, RawItem]:
    """The same, where a program beside the server has put the query's result into the export folder."""
    with open_database(connector_context(base_dir=folder, credentials=credentials(sage.url))) as database:
        spool = io.BytesIO()
        database.spool(load_query("comptoir_sage", QUERIES[entity]), spool)
    exports = folder / "sage" / "export"
    exports.mkdir(parents=True, exist_ok=True)
    (exports / f"{QUERIES[entity]}-20261122.csv").write_bytes(spool.getvalue())
    return pulled(connector(sage, folder, quiet_seconds=0), entity)


def plain(item: RawItem) -> dict[str, Any]:
    return {name: value for name, value in item.payload.items() if name != "file"}


def mapped(item: RawItem, **settings: Any) -> Any:
    config = SageConfig(folder=Path("sage"), **settings)
    context = {**CONTEXT, "connection": "sage", "channel": "sage"}
    context |= {f"config.{name}": value for name, value in config.model_dump().items()}
    return load_mapping("sage", item.entity.value, "in", [mappings_dir()]).to_model(item.payload, context)


@pytest.mark.parametrize("entity", QUERIES)
def test_both_ways_give_the_same_and_the_golden_records_are_that(
    sage: SageDatabase, tmp_path: Path, entity: EntityName
) -> None:
    by_sql = pulled(connector(sage, tmp_path, read_by="sql"), entity)
    files = by_file(sage, tmp_path, entity)
    assert {key: plain(item) for key, item in by_sql.items()} == {key: plain(item) for key, item in files.items()}
    folder = GOLDEN / f"{entity.value}.in"
    wanted: dict[str, Any] = {}
    for key, item in by_sql.items():
        case = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
        origin = {"name": f"{QUERIES[entity]}.csv", "modified_at": "2026-11-22T06:30:00+00:00"}
        wanted[case] = {
            "payload": {**plain(item), "file": origin},
            "context": {"connection": "sage", "channel": "sage"},
        }
        if os.environ.get("WRITE_GOLDEN"):
            result = mapped(RawItem(entity, key, wanted[case]["payload"])).model_dump(
                mode="json", exclude_defaults=True
            )
            folder.mkdir(parents=True, exist_ok=True)
            for kind, data in (("in", wanted[case]), ("out", result)):
                text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
                (folder / f"{case}.{kind}.json").write_text(text, encoding="utf-8")
    found = {
        path.name.removesuffix(".in.json"): json.loads(path.read_text("utf-8")) for path in folder.glob("*.in.json")
    }
    assert found == wanted


def test_items_variants_prices_and_vat(sage: SageDatabase, tmp_path: Path) -> None:
    items = {
        key: mapped(item) for key, item in pulled(connector(sage, tmp_path, read_by="sql"), EntityName.ITEM).items()
    }
    assert set(items) == {"MUG-001", "THE-VRAC", "TSHIRT/11/21", "TSHIRT/11/22", "PORT", "VIEUX"}
    mug = items["MUG-001"]
    # The price of web orders' category, not the card's own 12.50; what other categories pay is no shop's price.
    assert [(p.price_list, p.amount, p.basis) for p in mug.prices] == [("HT", Decimal("11.9"), "excl")]
    assert mug.extra["F_ARTCLIENT"] == "1=11.900000/0|2=14.900000/1"
    assert (mug.tax_category, mug.tax_rate, mug.weight_kg, mug.gtins) == (
        "C20",
        20,
        Decimal("0.35"),
        ("3760123456784",),
    )
    # A price of a category was changed after the card.
    assert mug.modified_at == datetime(2026, 11, 21, 17, 30, tzinfo=UTC)
    row = pulled(connector(sage, tmp_path, read_by="sql"), EntityName.ITEM)["MUG-001"]
    other = {n: mapped(row, price_category=n).prices[0] for n in (2, 3)}
    assert [(p.price_list, p.amount) for p in other.values()] == [("TTC", Decimal("14.9")), ("HT", Decimal("12.5"))]
    tea = items["THE-VRAC"]
    assert (tea.tax_category, tea.tax_rate, tea.unit, tea.weight_kg) == ("C55", Decimal("5.5"), "KGM", 1)
    assert [(p.price_list, p.basis) for p in tea.prices] == [("TTC", "incl")]
    shirt, large = items["TSHIRT/11/21"], items["TSHIRT/11/22"]
    assert (shirt.product_id, shirt.sku, shirt.name) == ("TSHIRT", "TSHIRT-EC-M", "T-shirt bio Écru M")
    assert [(o.attribute, o.value) for o in shirt.options] == [("Gamme 1", "Écru"), ("Gamme 2", "M")]
    # Without a reference of its own it cannot be told from its siblings by a SKU.
    assert (large.sku, large.state) == (None, "retired")
    assert items["PORT"].kind == "service" and items["PORT"].prices == ()
    assert (items["VIEUX"].state, items["VIEUX"].modified_at) == ("retired", None)
    assert items["VIEUX"].extra["AR_CodeBarre"] == "12345"


def test_sellable_stock_is_counted_less_reserved_less_being_prepared(sage: SageDatabase, tmp_path: Path) -> None:
    made = connector(sage, tmp_path, read_by="sql")
    levels = {key: mapped(item) for key, item in pulled(made, EntityName.STOCK).items()}
    assert len(levels) == 10 and not any("PORT" in key or key.endswith("/TSHIRT") for key in levels)
    mug = levels["Dépôt principal/MUG-001"]
    assert (mug.on_hand, mug.reserved, mug.incoming) == (Decimal("7.25"), 3, 30)
    assert mug.on_hand - mug.reserved == Decimal("4.25")
    assert levels["Entrepôt Besançon/MUG-001"].on_hand == 3
    assert levels["Entrepôt Besançon/THE-VRAC"].on_hand == 0
    assert (levels["Dépôt principal/THE-VRAC"].on_hand, levels["Dépôt principal/THE-VRAC"].unit) == (
        Decimal("-0.5"),
        "KGM",
    )
    shirt = levels["Dépôt principal/TSHIRT/11/21"]
    assert (shirt.item_id, shirt.sku, shirt.on_hand, shirt.reserved) == ("TSHIRT/11/21", "TSHIRT-EC-M", 4, 1)
    only = connector(sage, tmp_path, read_by="sql", depots=["Entrepôt Besançon"])
    assert {mapped(item).location for item in pulled(only, EntityName.STOCK).values()} == {"Entrepôt Besançon"}
    # A row that Sage takes away counts zero from then on.
    sage.run("delete from F_ARTSTOCK where AR_Ref = 'MUG-001' and DE_No = 2")
    assert mapped(pulled(made, EntityName.STOCK)["Entrepôt Besançon/MUG-001"]).on_hand == 0


def test_customers_and_what_is_none(sage: SageDatabase, tmp_path: Path) -> None:
    found = pulled(connector(sage, tmp_path, read_by="sql"), EntityName.CUSTOMER)
    customers = {key: mapped(item) for key, item in found.items()}
    assert set(customers) == {"CDUPONT", "CLEFEVRE", "CATLANTIS"}
    firm, person, far = customers["CDUPONT"], customers["CLEFEVRE"], customers["CATLANTIS"]
    assert (firm.account, firm.party.company, firm.party.last_name) == ("b2b", "Dupont & Fils", "Anaïs Dupont")
    assert (firm.party.siret, firm.party.vat_id) == ("30326504500018", "FR83303265045")
    assert (firm.price_list, firm.addresses[0].country, firm.addresses[0].lines) == (
        "CAT2", "FR", ("12 rue de l'Église", "Bât. B")
    )  # fmt: skip
    assert (person.account, person.party.last_name, person.addresses[0].country) == ("b2c", "Lefèvre Zoé", "BE")
    assert person.party.email is None and person.extra["CT_EMail"] == "deux adresses; ici"
    assert far.addresses[0].country is None and far.extra["CT_Pays"] == "Outre-mer" and far.price_list is None


@pytest.mark.failure_mode(5)
@pytest.mark.failure_mode(8)
def test_by_sql_only_what_changed_is_read_and_stock_always_whole(sage: SageDatabase, tmp_path: Path) -> None:
    made = connector(sage, tmp_path, read_by="sql")
    everything = pulled(made, EntityName.ITEM)
    newest = max(item.modified_at for item in everything.values() if item.modified_at)
    assert newest == datetime(2026, 11, 21, 17, 30, tzinfo=UTC)
    # 70 minutes back: the price of the mug, and nothing older.
    assert set(pulled(made, EntityName.ITEM, newest)) == {"MUG-001"}
    sage.run("update F_ARTICLE set AR_Design = 'Port', cbModification = '2026-11-21 17:21' where AR_Ref = 'PORT'")
    assert set(pulled(made, EntityName.ITEM, newest)) == {"MUG-001", "PORT"}
    assert len(pulled(made, EntityName.STOCK, newest)) == 10
    # Dated when it was asked for: an order that was taken later is not in it.
    assert {item.modified_at for item in pulled(made, EntityName.STOCK).values()} == {connector_context().clock.now()}


def test_the_night_when_clocks_go_back_loses_no_change(sage: SageDatabase, tmp_path: Path) -> None:
    """Half past two comes twice: a change in the second one is written like one in the first."""
    made = connector(sage, tmp_path, read_by="sql")
    sage.run("update F_ARTICLE set cbModification = '2026-01-01'")
    sage.run("update F_ARTCLIENT set cbModification = '2026-01-01'")
    sage.run("update F_ARTENUMREF set cbModification = '2026-01-01'")
    sage.run("update F_ARTICLE set cbModification = '2026-10-25 02:10' where AR_Ref = 'PORT'")
    first_half_past_two = datetime(
        2026, 10, 25, 0, 50, tzinfo=UTC
    )  # 02:50 summer time, read before the change at 02:10
    assert set(pulled(made, EntityName.ITEM, first_half_past_two)) == {"PORT"}


def test_check_says_what_the_login_may_and_which_query_does_not_fit(sage: SageDatabase, tmp_path: Path) -> None:
    made = connector(sage, tmp_path, read_by="sql")
    items = {item.name: item for item in made.check().items}
    assert not items["login"].ok and "may change F_ARTICLE" in items["login"].detail
    assert all(items[f"query {name}"].ok for name in ("items", "stock", "customers", "acknowledged"))
    sage.run("alter table F_DOCENTETE drop column DO_NoWeb")
    found = {item.name: item for item in made.check().items}["query acknowledged"]
    assert not found.ok and "not the tables or columns" in found.detail
