"""Lists that Ciel, Sage 50 and Sage 100 export as text: what becomes of their rows, and which are refused.

`WRITE_GOLDEN=1` writes the golden records anew. Read the difference before it is committed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from comptoir.app.mappings import CONTEXT
from comptoir.errors import MappingError
from comptoir.mapping import load_mapping
from comptoir.paths import mappings_dir
from comptoir.sdk import ConfigError, ContractViolation, EntityName, PullRequest, RawItem
from comptoir.testing import connector_context
from comptoir_ciel.config import CielConfig
from comptoir_ciel.connector import CielConnector
from comptoir_sage.config import SageConfig
from comptoir_sage.connector import SageConnector

DATA = Path(__file__).resolve().parents[1] / "data"
GOLDEN = mappings_dir() / "ciel" / "golden"
EXPORTED_AT = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
KINDS = {EntityName.ITEM: "ARTICLES", EntityName.STOCK: "STOCK", EntityName.CUSTOMER: "CLIENTS"}


def put(folder: Path, source: Path, name: str = "") -> None:
    target = folder / "exchange" / "export" / (name or source.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    os.utime(target, (EXPORTED_AT.timestamp(), EXPORTED_AT.timestamp()))


def pulled(folder: Path, entity: EntityName, platform: str = "ciel", **settings: Any) -> dict[str, RawItem]:
    ctx = connector_context(base_dir=folder, connection=platform)
    settings = {"folder": folder / "exchange", "quiet_seconds": 0, **settings}
    made: Any = (
        CielConnector(CielConfig(**settings), ctx) if platform == "ciel" else SageConnector(SageConfig(**settings), ctx)
    )
    return {item.external_id: item for page in made.pull(PullRequest(entity)) for item in page.items}


def mapped(item: RawItem, platform: str = "ciel", **settings: Any) -> Any:
    config: Any = (CielConfig if platform == "ciel" else SageConfig)(folder=Path("exchange"), **settings)
    context = {**CONTEXT, "connection": platform, "channel": platform}
    context |= {f"config.{name}": value for name, value in config.model_dump().items()}
    return load_mapping(platform, item.entity.value, "in", [mappings_dir()]).to_model(item.payload, context)


@pytest.mark.parametrize("entity", KINDS)
def test_the_golden_records_are_what_the_lists_give(tmp_path: Path, entity: EntityName) -> None:
    put(tmp_path, DATA / "ciel" / f"{KINDS[entity]}.txt")
    folder = GOLDEN / f"{entity.value}.in"
    wanted: dict[str, Any] = {}
    for key, item in pulled(tmp_path, entity).items():
        case = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
        wanted[case] = {"payload": item.payload, "context": {"connection": "ciel", "channel": "ciel"}}
        if os.environ.get("WRITE_GOLDEN"):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                result = mapped(item).model_dump(mode="json", exclude_defaults=True)
            except MappingError as error:
                result = {"error": {"field": error.field, "code": error.code}}
            for kind, data in (("in", wanted[case]), ("out", result)):
                text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
                (folder / f"{case}.{kind}.json").write_text(text, encoding="utf-8")
    given = {p.name.removesuffix(".in.json"): json.loads(p.read_text("utf-8")) for p in folder.glob("*.in.json")}
    assert given == wanted and len(given) >= 3


def test_items_of_ciel(tmp_path: Path) -> None:
    put(tmp_path, DATA / "ciel" / "ARTICLES.txt")
    rows = pulled(tmp_path, EntityName.ITEM)
    mug = mapped(rows["MUG-001"])
    assert [(p.price_list, p.amount, p.basis) for p in mug.prices] == [
        ("HT", Decimal("12.50"), "excl"), ("TTC", Decimal("15.00"), "incl"),
    ]  # fmt: skip
    assert (mug.tax_rate, mug.weight_kg, mug.gtins, mug.extra["Ma rubrique"]) == (
        20, Decimal("0.350"), ("3760123456784",), "rayon 4",
    )  # fmt: skip
    assert mapped(rows["THE-VRAC"]).unit == "KGM" and mapped(rows["THE-VRAC"]).prices[0].amount == Decimal("45.498")
    assert mapped(rows["PORT"]).kind == "service"
    old = mapped(rows["VIEUX"])
    assert (old.state, old.gtins, old.extra["barcode"], old.extra["unit"]) == ("retired", (), "12345", "Lot")
    # One program means a thousand and more by it, another one and a bit.
    with pytest.raises(MappingError, match=r"'1\.234' is no number with the decimal sign ','"):
        mapped(rows["FAUX"])


def test_stock_of_ciel_and_an_empty_count_is_not_zero(tmp_path: Path) -> None:
    put(tmp_path, DATA / "ciel" / "STOCK.txt")
    rows = pulled(tmp_path, EntityName.STOCK)
    mug = mapped(rows["PRINCIPAL/MUG-001"])
    assert (mug.item_id, mug.location, mug.on_hand, mug.reserved, mug.incoming) == (
        "MUG-001", "PRINCIPAL", Decimal("7.25"), 3, 30,
    )  # fmt: skip
    assert mug.counted_at == datetime(2026, 11, 19, 23, tzinfo=UTC)
    assert mapped(rows["BOUTIQUE/MUG-001"]).on_hand == 3 and mapped(rows["PRINCIPAL/THE-VRAC"]).on_hand == Decimal(
        "-0.5"
    )
    with pytest.raises(MappingError, match="the quantity is empty"):
        mapped(rows["PRINCIPAL/VIEUX"])


def test_stock_among_the_items_where_there_is_no_list_of_it(tmp_path: Path) -> None:
    put(tmp_path, DATA / "ciel" / "ARTICLES.txt")
    rows = pulled(tmp_path, EntityName.STOCK)
    assert set(rows) == {"main/MUG-001", "main/THE-VRAC", "main/VIEUX", "main/FAUX"}
    assert mapped(rows["main/MUG-001"]).reserved == 3


def test_customers_of_ciel_without_their_bank_accounts(tmp_path: Path) -> None:
    put(tmp_path, DATA / "ciel" / "CLIENTS.txt")
    rows = pulled(tmp_path, EntityName.CUSTOMER)
    firm, person, far = (mapped(rows[code]) for code in ("CDUPONT", "CLEFEVRE", "CATLANTIS"))
    assert (firm.account, firm.party.company, firm.party.last_name, firm.price_list) == (
        "b2b", "Dupont & Fils", "Anaïs Dupont", "T2",
    )  # fmt: skip
    assert (firm.party.siret, firm.addresses[0].country, firm.groups) == ("30326504500018", "FR", ("PRO",))
    assert (person.account, person.party.last_name, person.addresses[0].country) == ("b2c", "Lefèvre Zoé", "BE")
    assert (person.party.phone, person.party.email, person.price_list) == ("0470 00 00 00", None, None)
    assert person.extra["email"] == "deux adresses; ici"
    assert (far.party.kind, far.addresses[0].country, far.extra["country"]) == ("person", None, "Outre-mer")
    assert "FR76" not in firm.model_dump_json() and "AGRIFRPP" not in firm.model_dump_json()


def test_exports_of_sage_by_captions(tmp_path: Path) -> None:
    for name in ("ARTICLES.csv", "STOCK.csv"):
        put(tmp_path, DATA / "sage" / "exports" / name)
    items = pulled(tmp_path, EntityName.ITEM, "sage")
    assert set(items) == {"MUG-001", "TSHIRT/Écru", "PORT"}
    mug, shirt = mapped(items["MUG-001"], "sage"), mapped(items["TSHIRT/Écru"], "sage")
    assert [(p.price_list, p.amount, p.basis) for p in mug.prices] == [
        ("HT", Decimal("12.50"), "excl"), ("TTC", Decimal("15.00"), "incl"),
    ]  # fmt: skip
    assert (mug.weight_kg, mug.tax_rate) == (Decimal("0.350"), 20)
    assert (shirt.sku, shirt.product_id, shirt.name) == ("TSHIRT-EC", "TSHIRT", "T-shirt bio Écru")
    assert mapped(items["PORT"], "sage").kind == "service"
    stock = pulled(tmp_path, EntityName.STOCK, "sage")
    level = mapped(stock["Dépôt principal/MUG-001"], "sage")
    assert (level.on_hand, level.reserved, level.item_id) == (Decimal("1207.25"), 3, "MUG-001")
    assert mapped(stock["Dépôt principal/TSHIRT/Écru"], "sage").item_id == "TSHIRT/Écru"


def test_a_price_without_its_basis_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ARTICLES.csv"
    path.write_bytes("Référence;Désignation;Prix de vente\r\nA;Un;12,00\r\n".encode("cp1252"))
    put(tmp_path, path)
    (row,) = pulled(tmp_path, EntityName.ITEM, "sage").values()
    with pytest.raises(MappingError, match="says neither HT nor TTC"):
        mapped(row, "sage")


def test_a_result_of_another_query_or_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    for mark in ("stock 1", "items 2", "items"):
        path.write_bytes(f"Comptoir;AR_Ref;AR_Design\r\n{mark};A;Un\r\n".encode())
        put(tmp_path, path)
        with pytest.raises(ConfigError, match=f"says '{mark}' and not 'items 1'"):
            pulled(tmp_path, EntityName.ITEM, "sage")
    path.write_bytes(b"Comptoir;AR_Ref\r\nitems 1;A\r\n")
    put(tmp_path, path)
    with pytest.raises(ConfigError, match="the column 'AR_Design' is missing"):
        pulled(tmp_path, EntityName.ITEM, "sage")
    path.write_bytes(b"Comptoir;AR_Ref;AR_Design\r\n")
    put(tmp_path, path)
    assert pulled(tmp_path, EntityName.ITEM, "sage") == {}


def test_what_is_not_given_and_captions_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match="Ciel gives no order"):
        pulled(tmp_path, EntityName.ORDER)
    with pytest.raises(ValidationError, match="there is no field 'colour'"):
        CielConfig(folder=tmp_path, captions={"item": {"colour": "Couleur"}})
    with pytest.raises(ValidationError, match="read_by"):
        CielConfig.model_validate({"folder": tmp_path, "read_by": "sql"})
