"""The Ciel / Sage 50 connector: journal entries as XIMPORT.TXT or RIMPORT.TXT, web orders as rows E and L; items,
stock and customers from exported lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from comptoir.sdk import CheckReport, ConnectorConfig, ConnectorContext, Manifest, Page, PullRequest, load_manifest
from comptoir.sdk.documents.connector import DocumentConnector, document_list
from comptoir.sdk.documents.order import OrderFormat
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.formats import BookFormat
from comptoir.sdk.journal.reports import Layout
from comptoir.sdk.lists import Lists
from comptoir_ciel.config import CielConfig
from comptoir_ciel.documents import DocumentsFormat
from comptoir_ciel.listings import CielLists
from comptoir_ciel.rimport import RimportFormat
from comptoir_ciel.ximport import XimportFormat

__all__ = ["CielConnector"]


class CielConnector(DocumentConnector):
    """Journal entries for one folder of Ciel Compta or Sage 50, web orders for Ciel Gestion commerciale or Sage 50; a
    file renamed to `.BAK` was imported.

    A list of documents with the columns "Ref. commande" (or "Référence pièce") and "N° pièce" in `ack/` says which
    orders are in the program, and under which number.
    """

    manifest: ClassVar[Manifest] = load_manifest("comptoir_ciel")
    config_model: ClassVar[type[ConnectorConfig]] = CielConfig
    package: ClassVar[str] = "comptoir_ciel"
    formats: ClassVar[Mapping[str, type[BookFormat]]] = {"ximport": XimportFormat, "rimport": RimportFormat}
    order_formats: ClassVar[Mapping[str, type[OrderFormat[Any]]]] = {"documents": DocumentsFormat}
    order_profile: ClassVar[str] = "documents"
    back_office: ClassVar[str] = "Ciel"
    lists: ClassVar[tuple[Layout, ...]] = (
        document_list("Ref. commande", "N° pièce"),
        document_list("Référence pièce", "N° pièce"),
    )

    def __init__(self, config: CielConfig, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        super().__init__(config, ctx, disk=disk)
        self._listed = Lists(CielLists(self._folder, config, ctx), ctx)

    def check(self) -> CheckReport:
        """As all back offices; and which lists are there to be read."""
        return CheckReport([*super().check().items, *self._listed.check()])

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Items, stock or customers of the newest list in the export folder, when it is newer than `request.since`."""
        return self._listed.pages(request)
