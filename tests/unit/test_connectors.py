"""Which connectors there are: installed ones, packages that hold a description, a merchant's own folders."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from comptoir.app.connectors import known, load_connector, own_mappings
from comptoir.errors import ConfigError, ContractViolation
from comptoir.sdk.declared import connector_of

MANIFEST = """\
key = "{key}"
name = "Acme"
version = "1.0.0"
summary = "Acme."
kind = "shop"
api_version = "1"

[rest]
auth = "none"

[rest.entities.item]
path = "/items"
"""


def _described(base: Path, key: str) -> Path:
    folder = base / "connectors" / key
    folder.mkdir(parents=True)
    (folder / "manifest.toml").write_text(MANIFEST.format(key=key), encoding="utf-8")
    return folder


def test_a_merchants_own_folder_is_a_connector_beside_the_installed_ones(tmp_path: Path) -> None:
    folder = _described(tmp_path, "acme")
    (folder / "mappings").mkdir()
    found = known(tmp_path)
    assert {"acme", "ebp", "woocommerce"} <= found.keys()
    assert (found["acme"].origin, found["acme"].mappings) == ("connectors/acme", folder / "mappings")
    connector = load_connector("acme", tmp_path)
    assert connector.manifest.key == "acme"
    assert own_mappings(connector) == folder / "mappings"
    assert "acme" not in known(None)
    with pytest.raises(ConfigError, match=r"'acme' is not an installed connector; allowed: .*ebp"):
        load_connector("acme")


def test_folders_with_code_and_without_manifest_are_left_alone(tmp_path: Path) -> None:
    code = _described(tmp_path, "comptoir_acme")
    (code / "__init__.py").write_text("")
    (tmp_path / "connectors" / "notes").mkdir()
    assert known(tmp_path).keys() == known(None).keys()


def test_a_folder_with_an_installed_connectors_key_is_refused(tmp_path: Path) -> None:
    _described(tmp_path, "ebp")
    with pytest.raises(ConfigError, match="connectors/ebp has the key of an installed connector") as refused:
        known(tmp_path)
    assert refused.value.code == "connector_twice"


def test_an_entry_point_may_name_a_package_with_a_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "comptoir_acme_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "manifest.toml").write_text(MANIFEST.format(key="acme_pkg"), encoding="utf-8")
    (tmp_path / "comptoir_lonely.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        connector = connector_of(importlib.import_module("comptoir_acme_pkg"))
        assert connector.manifest.key == "acme_pkg"
        assert own_mappings(connector) == package / "mappings"
        with pytest.raises(ContractViolation, match="neither class nor package"):
            connector_of(importlib.import_module("comptoir_lonely"))
    finally:
        for name in ("comptoir_acme_pkg", "comptoir_lonely"):
            sys.modules.pop(name, None)
