"""The Ciel / Sage 50 connector: journal entries as XIMPORT.TXT or RIMPORT.TXT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from comptoir.sdk import ConnectorConfig, Manifest, load_manifest
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.formats import BookFormat
from comptoir_ciel.config import CielConfig
from comptoir_ciel.rimport import RimportFormat
from comptoir_ciel.ximport import XimportFormat

__all__ = ["CielConnector"]


class CielConnector(JournalConnector):
    """Journal entries for one folder of Ciel Compta or Sage 50; a file renamed to `.BAK` was imported."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_ciel")
    config_model: ClassVar[type[ConnectorConfig]] = CielConfig
    package: ClassVar[str] = "comptoir_ciel"
    formats: ClassVar[Mapping[str, type[BookFormat]]] = {"ximport": XimportFormat, "rimport": RimportFormat}
