"""`comptoir map test` and `map check`: one platform alone, and golden records that are made for a person to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comptoir.app import mappings

FIELDS = "  external_id: {from: id, as: code}\n  name: {from: name, as: text}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A merchant with one mapping of his own, and a record without its golden counterpart."""
    folder = tmp_path / "mappings" / "kiosque"
    (folder / "golden" / "item.in").mkdir(parents=True)
    (folder / "item.in.yaml").write_text(f"mapping: kiosque.item.in\nfields:\n{FIELDS}", encoding="utf-8")
    (folder / "golden" / "item.in" / "mug.in.json").write_text('{"id": 7, "name": "Mug émaillé"}', encoding="utf-8")
    (tmp_path / "comptoir.toml").write_text('[company]\nname = "Maison"\ncountry = "FR"\ncurrency = "EUR"\n')
    return tmp_path / "comptoir.toml"


def test_a_missing_golden_record_says_how_to_make_it(config: Path) -> None:
    (found,) = mappings.test_golden(config, "kiosque.item.in")
    assert found["difference"] == "mug.out.json is missing: comptoir map test kiosque.item.in --write"


def test_write_makes_what_is_missing_and_touches_nothing_else(config: Path) -> None:
    (found,) = mappings.test_golden(config, "kiosque", write=True)
    made = config.parent / "mappings" / "kiosque" / "golden" / "item.in" / "mug.out.json"
    assert found["difference"] is None
    assert json.loads(made.read_text(encoding="utf-8")) == {"external_id": "7", "name": "Mug émaillé"}
    made.write_text('{"external_id": "8", "name": "Mug émaillé"}', encoding="utf-8")
    (found,) = mappings.test_golden(config, "kiosque", write=True)
    assert found["difference"] == "external_id: expected '8', got '7'"


def test_a_record_that_cannot_be_mapped_becomes_no_golden_record(config: Path) -> None:
    folder = config.parent / "mappings" / "kiosque" / "golden" / "item.in"
    (folder / "mug.in.json").write_text('{"id": 7.5, "name": "Mug"}', encoding="utf-8")
    (found,) = mappings.test_golden(config, "kiosque", write=True)
    assert "is no key" in found["difference"]
    assert not (folder / "mug.out.json").exists()


def test_one_platform_is_checked_alone(config: Path) -> None:
    assert [found["mapping"] for found in mappings.check_all(config, "kiosque")] == ["kiosque.item.in"]
    assert mappings.check_all(config, "nobody") == []
