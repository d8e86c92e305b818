"""The connector for whoever reads the FEC layout: journal entries in its 18 columns, as exchange files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from comptoir.sdk import ConnectorConfig, Manifest, load_manifest
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.formats import BookFormat
from comptoir_fec.config import FecConfig
from comptoir_fec.fec import FecFormat

__all__ = ["FecConnector"]


class FecConnector(JournalConnector):
    """Journal entries for any accounting program that imports the FEC layout."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_fec")
    config_model: ClassVar[type[ConnectorConfig]] = FecConfig
    package: ClassVar[str] = "comptoir_fec"
    formats: ClassVar[Mapping[str, type[BookFormat]]] = {"fec": FecFormat}
