"""docs/no-code.md names every setting of a description, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from comptoir.sdk.declared import read_description
from comptoir.sdk.declared.description import Lookup, Paging, Push, RestEntity, RestTable, Update
from comptoir.sdk.declared.files_description import Dates, FileEntity, FilesTable, Numbers
from comptoir.sdk.declared.settings import Setting

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "no-code.md").read_text(encoding="utf-8")
MODELS = (RestTable, RestEntity, Paging, Push, Update, Lookup, FilesTable, FileEntity, Numbers, Dates, Setting)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_every_setting_is_named(model: type[BaseModel]) -> None:
    missing = [
        name
        for name in model.model_fields
        if f"`{name}`" not in TEXT and not re.search(rf"^{name} = ", TEXT, re.M) and name != "entities"
    ]
    assert missing == []


def test_the_examples_are_descriptions(tmp_path: Path) -> None:
    examples = [text for text in re.findall(r"```toml\n(.*?)```", TEXT, re.S) if text.startswith("key = ")]
    assert len(examples) == 2
    for text in examples:
        key = re.findall(r'key = "(\w+)"', text)[0]
        folder = tmp_path / key
        folder.mkdir()
        (folder / "manifest.toml").write_text(text, encoding="utf-8")
        assert read_description(folder).manifest.key == key
