"""Airflow for the tests below: its home in a temporary folder, set before anything imports it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import probe_connector

_DAGS = Path(__file__).resolve().parents[2] / "core" / "comptoir" / "airflow" / "dags"
_HOME = tempfile.TemporaryDirectory(prefix="comptoir-airflow-")

#: Airflow reads its settings once, when it is first imported.
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME.name,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
            [
                {
                    "name": "comptoir",
                    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                    "kwargs": {"path": str(_DAGS)},
                }
            ]
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/airflow.db",
    }
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with two routes of the probe connector, which COMPTOIR_CONFIG names."""
    probe_connector.install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in [name for name in sys.modules if name.split(".")[0] == "comptoir_probe"]:
        monkeypatch.delitem(sys.modules, name)
    path = tmp_path / "comptoir.toml"
    path.write_text(probe_connector.CONFIG)
    monkeypatch.setenv("COMPTOIR_CONFIG", str(path))
    for name, value in probe_connector.CONNECTIONS.items():
        monkeypatch.setenv(name, value)
    return path


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's tables in the temporary SQLite: enough for `dag.test()`, and for nothing else."""
    from airflow.utils.db import initdb

    initdb()
