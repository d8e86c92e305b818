"""A small connector, installed into a folder as a wheel would be: what Airflow's tests run, not a shop.

It gives no item at all, or raises the error that the login of its credentials names. Its webhooks would only be hints
to read everything: it cannot give single records.
"""

from __future__ import annotations

from pathlib import Path

MANIFEST = """
key = "probe"
name = "Probe"
version = "1.0"
summary = "Gives nothing."
kind = "shop"
webhooks = true

[entities.item]
pull = true
"""

CONNECTOR = """
from comptoir import errors
from comptoir.sdk.manifest import load_manifest
from comptoir.sdk.protocols import CheckReport, ConnectorConfig, Page

class ProbeConnector:
    manifest = load_manifest("comptoir_probe")
    config_model = ConnectorConfig

    def __init__(self, config, ctx):
        self.ctx = ctx

    def check(self):
        return CheckReport(())

    def pull(self, request):
        word = self.ctx.credentials.login
        self.ctx.logger.info("the probe was pulled with " + (self.ctx.credentials.password or "nothing"))
        if word:
            raise getattr(errors, word)(f"{self.ctx.connection} says {word}")
        yield Page(items=())
"""

#: A route does not run without one, though no item ever comes.
MAPPING = """
mapping: probe.item.in
version: 1
fields:
  external_id: {from: id, as: code}
  name: {from: name, as: text}
"""

CONFIG = """
[company]
name = "Les Bocaux"
country = "FR"
currency = "EUR"

[connections.shop]
connector = "probe"

[connections.closed]
connector = "probe"

[routes.items]
entity = "item"
from = "shop"
schedule = "*/15 6-22 * * *"

[routes.refused]
entity = "item"
from = "closed"
"""

#: What Airflow's environment says about the two connections.
CONNECTIONS = {
    "AIRFLOW_CONN_SHOP": '{"conn_type": "probe"}',
    "AIRFLOW_CONN_CLOSED": '{"conn_type": "probe", "login": "AuthError", "password": "sesame-open"}',
}


def install(folder: Path) -> None:
    """Put the connector into a folder that is (or will be) on Python's path."""
    package = folder / "comptoir_probe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "manifest.toml").write_text(MANIFEST)
    (package / "connector.py").write_text(CONNECTOR)
    mappings = package / "mappings" / "probe"
    mappings.mkdir(parents=True)
    (mappings / "item.in.yaml").write_text(MAPPING)
    info = folder / "comptoir_probe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: comptoir-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[comptoir.connectors]\nprobe = comptoir_probe.connector:ProbeConnector\n")
