"""The Sage 100 connector: journal entries as #MECG, PNM or a text layout of the user's own, orders as #CHEN or rows;
items, stock and customers by SQL or from exports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from comptoir.sdk import (
    Acknowledgement,
    CheckReport,
    ConnectorConfig,
    ConnectorContext,
    Manifest,
    Page,
    PullRequest,
    load_manifest,
)
from comptoir.sdk.documents.connector import DocumentConnector, document_list
from comptoir.sdk.documents.order import OrderFormat
from comptoir.sdk.documents.profile import DocumentProfile
from comptoir.sdk.journal.columns import ColumnsFormat
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.formats import BookFormat
from comptoir.sdk.journal.profile import WriterProfile
from comptoir.sdk.journal.reports import Layout
from comptoir.sdk.lists import TAKEN, Lists, TakenDocuments
from comptoir_sage.cards import card_template
from comptoir_sage.chen import ChenFormat, gescom_header
from comptoir_sage.config import SageConfig
from comptoir_sage.goods import SageLists
from comptoir_sage.mecg import MecgFormat, header_of
from comptoir_sage.pnm import PnmFormat
from comptoir_sage.rows import RowsFormat

__all__ = ["SageConnector"]


class SageConnector(DocumentConnector):
    """Journal entries for one folder of Sage 100 Comptabilité, or of a program that reads PNM; web orders for Sage 100
    Gestion commerciale.

    A list with the columns DO_NoWeb and DO_Piece (the names of Sage's own table; the captions of an exported list are
    the user's) in `ack/` says which orders are in Sage, and under which number.
    """

    manifest: ClassVar[Manifest] = load_manifest("comptoir_sage")
    config_model: ClassVar[type[ConnectorConfig]] = SageConfig
    package: ClassVar[str] = "comptoir_sage"
    formats: ClassVar[Mapping[str, type[BookFormat]]] = {
        "mecg": MecgFormat,
        "pnm": PnmFormat,
        "columns": ColumnsFormat,
    }
    order_formats: ClassVar[Mapping[str, type[OrderFormat[Any]]]] = {"chen": ChenFormat, "rows": RowsFormat}
    order_profile: ClassVar[str] = "chen"
    back_office: ClassVar[str] = "Sage"
    lists: ClassVar[tuple[Layout, ...]] = (
        document_list("DO_NoWeb", "DO_Piece"),
        document_list("N° commande site marchand", "N° de pièce"),
    )

    def __init__(self, config: SageConfig, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        super().__init__(config, ctx, disk=disk)
        self._header_from = config.header_from
        self._gescom_from = config.gescom_from
        self._customer_from = config.customer_from
        self._orders_in_rows = bool(config.order_profile)
        self._lists = Lists(SageLists(self._folder, config, ctx), ctx, config.read_by, self.package, "F_ARTICLE")
        self._taken: TakenDocuments | None = None
        if config.read_by == "sql":
            self._taken = TakenDocuments(ctx, self._ledger, self.package, self.lists[0])

    def check(self) -> CheckReport:
        """As all back offices; and what is there to be read."""
        return CheckReport([*super().check().items, *self._lists.check()])

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Items, stock or customers: what changed in the database, or the newest list in the export folder."""
        return self._lists.pages(request)

    def acknowledgements(self) -> Iterator[tuple[str, Sequence[Acknowledgement]]]:
        """As all back offices; and orders that stand in the database under our number (`DO_NoWeb`)."""
        yield from super().acknowledgements()
        if self._taken is not None and (words := self._taken.words(self._words)):
            yield TAKEN, words

    def acknowledged(self, report: str) -> None:
        """As all back offices; what the database said is remembered, and not told again."""
        if report != TAKEN:
            super().acknowledged(report)
        elif self._taken is not None:
            with self._ledger.locked():
                self._taken.keep()

    def header(self, profile: WriterProfile) -> tuple[str, ...]:
        """The `#FLG`, `#VER` and `#DEV` lines of the customer's own export; only Sage's own format begins with them."""
        if profile.format != "mecg" or self._header_from is None:
            return ()
        return header_of(self.sample(self._header_from), self._ctx.company, str(self._header_from))

    def order_header(self, profile: DocumentProfile) -> Sequence[str]:
        """The `#FLG` and `#VER` lines of an export of Gestion commerciale; only Sage's own format begins with them."""
        if profile.format != "chen" or self._gescom_from is None:
            return ()
        return gescom_header(self.sample(self._gescom_from, "gescom_from"), str(self._gescom_from))

    def order_format(self) -> OrderFormat[Any]:
        """As all back offices; cards of Sage's own format begin with one of the folder's."""
        made = super().order_format()
        if isinstance(made, ChenFormat) and self._customer_from is not None and not made.template:
            made.template = card_template(self.sample(self._customer_from, "customer_from"), str(self._customer_from))
        return made

    def takes_orders(self) -> bool:
        """Orders were set up: their header file, or an order profile, is named."""
        return self._gescom_from is not None or self._orders_in_rows

    def takes_entries(self) -> bool:
        """Not where only orders were set up: no file of Comptabilité is named, and orders are."""
        return self._header_from is not None or not self.takes_orders() or self._config.profile != "mecg"
