"""The connector for accountants' Cegid programs: journal entries as QuadraCompta ASCII, TRA or a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from comptoir.sdk import ConnectorConfig, ConnectorContext, Manifest, load_manifest
from comptoir.sdk.journal.columns import ColumnsFormat
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.formats import BookFormat
from comptoir.sdk.journal.profile import WriterProfile
from comptoir_cegid.config import CegidConfig
from comptoir_cegid.quadra import QuadraFormat
from comptoir_cegid.tra import TraFormat, header_of

__all__ = ["CegidConnector"]


class CegidConnector(JournalConnector):
    """Journal entries for one folder at the accountant's."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_cegid")
    config_model: ClassVar[type[ConnectorConfig]] = CegidConfig
    package: ClassVar[str] = "comptoir_cegid"
    formats: ClassVar[Mapping[str, type[BookFormat]]] = {
        "quadra": QuadraFormat,
        "tra": TraFormat,
        "columns": ColumnsFormat,
    }

    def __init__(self, config: CegidConfig, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        super().__init__(config, ctx, disk=disk)
        self._header_from = config.header_from

    def header(self, profile: WriterProfile) -> tuple[str, ...]:
        """The first line of the accountant's own export; only TRA begins with one."""
        if profile.format != "tra" or self._header_from is None:
            return ()
        return header_of(self.sample(self._header_from), str(self._header_from))
