"""docs/mappings.md names every word of the language, and its example maps as it says."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

from comptoir.mapping import load_mapping
from comptoir.mapping.compiler import _SOURCES, _WORDS, is_context
from comptoir.mapping.functions import BUILTINS, CONVERSIONS
from comptoir.model.order import SalesOrder

from tests.support.mappings import CONTEXT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mappings.md"
TEXT = PAGE.read_text(encoding="utf-8")
_CODE = " ".join(re.findall(r"`([^`\n]+)`", TEXT))


def _block(language: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)
    assert len(found) == 1
    return found[0]


def test_every_word_is_named() -> None:
    words = {*_SOURCES, *CONVERSIONS, *BUILTINS, *(word for beside in _WORDS.values() for word in beside)}
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", _CODE)) == []


def test_every_context_is_named_and_is_one() -> None:
    row = re.search(r"\| `context: channel` \|([^|]*)\|", TEXT)
    assert row is not None
    named = [name.replace("NAME", "name") for name in re.findall(r"`([^`]+)`", row[1])]
    assert len(named) == 8
    assert all(is_context(name) for name in named)


def test_the_example_maps(tmp_path: Path) -> None:
    folder = tmp_path / "kiosque"
    folder.mkdir()
    (folder / "order.in.yaml").write_text(_block("yaml"), encoding="utf-8")
    order = load_mapping("kiosque", "order", "in", [tmp_path]).to_model(json.loads(_block("json")), CONTEXT)
    assert isinstance(order, SalesOrder)
    assert str(order.ordered_on) == "2026-11-21"
    assert [line.external_id for line in order.lines] == ["1", "2"]
    assert order.billing is None
    assert sum(line.net + line.tax for line in order.lines) == order.totals.total == Decimal("36.00")
