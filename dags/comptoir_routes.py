"""One DAG per route of the comptoir.toml that COMPTOIR_CONFIG names (this file is what Airflow reads)."""

from __future__ import annotations

import os
from pathlib import Path

# Airflow looks for "airflow" and "DAG" in the text of a file before it reads it.
from comptoir.airflow.dag_factory import build_dags

if "COMPTOIR_CONFIG" not in os.environ:
    raise RuntimeError("COMPTOIR_CONFIG is not set: it has to name the comptoir.toml whose routes Airflow runs.")

globals().update(build_dags(Path(os.environ["COMPTOIR_CONFIG"])))
