"""`comptoir check` says when a route would never publish stock because the target's items do not say what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptoir.app.bootstrap import check_installation
from comptoir.app.check import _mappings

CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange"

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
"""
ITEM = "mapping: woocommerce.item.in\nfields:\n  external_id: {from: id, as: code}\n  name: {from: name, as: text}\n"


@pytest.mark.parametrize(
    ("own", "route", "faults"),
    [
        ("", "", []),  # Comptoir's own mapping has it
        (ITEM, "", ["woocommerce.item.in"]),
        (ITEM + "  source_stock: {from: stock_quantity, as: decimal}\n", "", []),
        (ITEM, "take_over = true\n", []),
    ],
)
def test_a_target_that_shows_no_stock_is_said(tmp_path: Path, own: str, route: str, faults: list[str]) -> None:
    (tmp_path / "exchange").mkdir()
    (tmp_path / "comptoir.toml").write_text(CONFIG + route, encoding="utf-8")
    if own:
        (tmp_path / "mappings" / "woocommerce").mkdir(parents=True)
        (tmp_path / "mappings" / "woocommerce" / "item.in.yaml").write_text(own, encoding="utf-8")
    found = [item for item in _mappings(check_installation(tmp_path / "comptoir.toml")) if not item.ok]
    assert [item.name for item in found] == faults
    assert all("source_stock" in item.detail for item in found)
