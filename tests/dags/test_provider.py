"""What Airflow is told about connectors, and what it tells the engine about connections."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import jsonschema
import pytest

pytestmark = pytest.mark.airflow


def test_every_connector_is_a_connection_type(config: Path) -> None:
    import airflow

    from comptoir.airflow.provider import get_provider_info

    info = get_provider_info()
    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)
    kinds = {kind["connection-type"]: kind for kind in info["connection-types"]}
    assert kinds["probe"]["hook-name"] == "Comptoir: Probe"
    assert kinds["probe"]["ui-field-behaviour"]["hidden-fields"] == ["port", "schema", "extra"]


def test_hooks_are_found_by_the_names_airflow_is_given(config: Path) -> None:
    from comptoir.airflow import hooks
    from comptoir.airflow.provider import get_provider_info

    for kind in get_provider_info()["connection-types"]:
        module, _, name = kind["hook-class-name"].rpartition(".")
        assert module == hooks.__name__
        hook = getattr(hooks, name)
        assert hook.conn_type == kind["connection-type"]
        assert hook.hook_name == kind["hook-name"]
    with pytest.raises(AttributeError):
        _ = hooks.unheard_of


def test_a_connector_that_cannot_be_imported_is_named_and_left_out(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from comptoir.airflow.provider import get_provider_info

    (config.parent / "site" / "comptoir_probe" / "connector.py").write_text("import no_such_library\n")
    with caplog.at_level(logging.WARNING, logger="comptoir.airflow.provider"):
        info = get_provider_info()
    assert "probe" not in {kind["connection-type"] for kind in info["connection-types"]}
    assert "The connector 'probe'" in caplog.text
    assert "no_such_library" in caplog.text


def test_credentials_come_from_airflows_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir.airflow.secrets import AirflowSecrets

    fields = {"conn_type": "probe", "host": "https://shop.example", "login": "ck", "password": "cs"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({**fields, "extra": {"a": 1}}))
    found = AirflowSecrets().get("shop")
    assert found is not None
    assert (found.host, found.login, found.password) == ("https://shop.example", "ck", "cs")
    assert dict(found.extra) == {"a": 1}
    assert "cs" not in repr(found)
