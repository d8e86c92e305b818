"""The Sage 100 connector: journal entries as #MECG, PNM or a text layout of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from comptoir.sdk import ConnectorConfig, ConnectorContext, Manifest, load_manifest
from comptoir.sdk.journal.columns import ColumnsFormat
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.formats import BookFormat
from comptoir.sdk.journal.profile import WriterProfile
from comptoir_sage.config import SageConfig
from comptoir_sage.mecg import MecgFormat, header_of
from comptoir_sage.pnm import PnmFormat

__all__ = ["SageConnector"]


class SageConnector(JournalConnector):
    """Journal entries for one folder of Sage 100 Comptabilité, or of a program that reads PNM."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_sage")
    config_model: ClassVar[type[ConnectorConfig]] = SageConfig
    package: ClassVar[str] = "comptoir_sage"
    formats: ClassVar[Mapping[str, type[BookFormat]]] = {
        "mecg": MecgFormat,
        "pnm": PnmFormat,
        "columns": ColumnsFormat,
    }

    def __init__(self, config: SageConfig, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        super().__init__(config, ctx, disk=disk)
        self._header_from = config.header_from

    def header(self, profile: WriterProfile) -> tuple[str, ...]:
        """The `#FLG`, `#VER` and `#DEV` lines of the customer's own export; only Sage's own format begins with them."""
        if profile.format != "mecg" or self._header_from is None:
            return ()
        return header_of(self.sample(self._header_from), self._ctx.company, str(self._header_from))
