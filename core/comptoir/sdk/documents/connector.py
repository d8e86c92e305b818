"""The connector of a program that has both books and a back office: entries, and web orders as documents.

Orders lie in `gescom/` as `COMMANDES_000001.TXT` and so on. A document that was handed over is `written`; `accepted`
comes later, when the operator (or the agent) has renamed the file to `.BAK`, from an import report in `ack/`, or from a
list of documents that the program exported: then with the program's own number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from comptoir.errors import ComptoirError, ConfigError, ContractViolation, RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.documents.build import gross_by_rate
from comptoir.sdk.documents.config import SalesSettings
from comptoir.sdk.documents.issue import SPACE, Rendered, refused, sort_ops, with_unique_names
from comptoir.sdk.documents.order import OrderBuilder, OrderFormat, SalesDocument
from comptoir.sdk.documents.profile import DocumentProfile, load_document_profile
from comptoir.sdk.journal.connector import JournalConnector, Said
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.handover import Handover, Output, Record
from comptoir.sdk.journal.reports import Layout, UnreadableReport, checked_row
from comptoir.sdk.protocols import CheckItem, CheckReport, ConnectorContext, PushBatch, PushOp, PushResult

__all__ = ["FOLDER", "DocumentConnector", "ListedDocument", "document_list"]

FOLDER = "gescom"
_STEM = "COMMANDES"


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document of ours that the program shows under its own number."""

    document: str
    piece: str


def document_list(reference: str, piece: str) -> Layout:
    """A list of documents with these two captions: the shop's number, and the program's."""

    def rows(reader: Iterator[list[str]], header: list[str]) -> Iterator[ListedDocument]:
        places = header.index(reference), header.index(piece)
        for line, raw in enumerate(reader, 2):
            row = checked_row(raw, len(header), line)
            if row and row[places[0]]:
                if not row[places[1]]:
                    raise UnreadableReport(f"line {line} has no {piece}")
                yield ListedDocument(row[places[0]], row[places[1]])

    return Layout((reference, piece), rows)


class DocumentConnector(JournalConnector):
    """Entries as `JournalConnector` does, and orders. A package names its order formats beside those of entries."""

    folders: ClassVar[tuple[str, ...]] = (*JournalConnector.folders, FOLDER)
    #: Order formats by the name that a profile gives them, and the profile of a connection that names none.
    order_formats: ClassVar[Mapping[str, type[OrderFormat[Any]]]]
    order_profile: ClassVar[str]
    #: What the merchant calls the back office.
    back_office: ClassVar[str]

    def __init__(self, config: Any, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        super().__init__(config, ctx, disk=disk)
        self._sales: SalesSettings = config
        self._orders: OrderFormat[Any] | None = None

    def order_format(self) -> OrderFormat[Any]:
        """The format of the connection's order profile; ConfigError, naming the setting, when it cannot be used."""
        if self._orders is None:
            try:
                name = self._sales.order_profile or self.order_profile
                profile = load_document_profile(self.package, name, self._ctx.base_dir)
                kind = self.order_formats.get(profile.format)
                if kind is None:
                    raise ConfigError(
                        f"{profile.source}: there is no format of orders {profile.format!r} here; allowed: "
                        f"{', '.join(sorted(self.order_formats))}",
                        code="profile",
                    )
                self._orders = kind(profile, self._sales, self.order_header(profile))
            except ConfigError as error:
                raise ConfigError(
                    f"{self._ctx.connection}: {error.message}",
                    hint=error.hint,
                    code=error.code,
                    connection=self._ctx.connection,
                ) from None
        return self._orders

    def order_header(self, profile: DocumentProfile) -> Sequence[str]:
        """The first lines of the customer's own export, for order formats that begin with them."""
        del profile
        return ()

    def takes_orders(self) -> bool:
        """Whether the settings are those of a connection for orders: `check` then says what they lack."""
        return True

    def check(self) -> CheckReport:
        """What `JournalConnector` says, and the order profile; writes nothing."""
        items = list(super().check().items)
        if not self.takes_orders():
            return CheckReport(items)
        try:
            profile = self.order_format().profile
        except ComptoirError as error:
            return CheckReport([*items, CheckItem.failed("order_profile", error)])
        hint = None
        if profile.witnessed is None:
            hint = "Import one file of orders into a copied folder, and note product, version and day in [witnessed]."
        items.append(CheckItem("order_profile", True, f"{profile.product}: {profile.state}; {profile.charset}", hint))
        items += [CheckItem("order_unconfirmed", True, words) for words in profile.unconfirmed]
        return CheckReport(items)

    # -- push --------------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One file for the batch's new orders, or entries; the errors are those of `JournalConnector.push`."""
        if batch.entity is not EntityName.ORDER:
            return super().push(batch)
        for op in batch.ops:
            if op.entity is not EntityName.ORDER:
                raise ContractViolation(f"{self._ctx.connection}: a batch of orders holds a {op.entity}")
        form = self.order_format()
        with self._ledger.locked():
            known = self._ledger.known(batch.entity.value, (op.natural_key for op in batch.ops))
            hint = f"{self.back_office} may have taken it: correct it there."
            results, fresh = sort_ops(batch.ops, known, hint=hint)
            written = self._documents(form, fresh, results)
            if written:
                self._hand_over_orders(form, batch, written)
        for op, rendered in written:
            note = str(rendered.remarks)
            if note:
                self._ctx.logger.info("order %s: %s", op.natural_key, note)
            results[op.delivery_id] = PushResult(op.delivery_id, "written", reason=note or None)
        return [results[op.delivery_id] for op in batch.ops]

    def _documents(
        self, form: OrderFormat[Any], ops: Sequence[PushOp], results: dict[str, PushResult]
    ) -> list[tuple[PushOp, Rendered]]:
        rendered: list[tuple[PushOp, Rendered]] = []
        for op in ops:
            build = OrderBuilder(
                op.payload, self._sales, form.shipping(), form.profile, self.back_office, op.natural_key
            )
            try:
                document = build.document(self._ctx.company.currency, form.templates())
                form.examine(build, document)
            except RecordRejected as error:
                results[op.delivery_id] = refused(op, error)
                continue
            facts: dict[str, Any] = {"customer": document.customer, "total": str(document.total)}
            if not build.gross:
                facts |= {"rates": gross_by_rate(document.rows, document.freight, document.freight_rate)}
            rendered.append((op, Rendered(document.number, document.total, facts, document.remarks, document)))
        hint = f"Set document_prefix of the connection {self._ctx.connection} so that channels differ."
        return with_unique_names(self._ledger, rendered, results, hint=hint)

    def _hand_over_orders(
        self, form: OrderFormat[Any], batch: PushBatch, written: Sequence[tuple[PushOp, Rendered]]
    ) -> None:
        documents: list[SalesDocument] = [record.part for _, record in written]
        output = Output(FOLDER, _STEM, form.profile.suffix, form.write(documents))
        totals = {
            "records": str(len(written)),
            "amount": str(sum((record.amount for _, record in written), Decimal("0.00"))),
            "profile": f"{form.profile.source}, {form.profile.state}",
        }
        records = [Record(op.natural_key, op.content_hash, r.name, r.facts) for op, r in written]
        receipt = self._ledger.hand_over(Handover(batch.id, batch.entity.value, records, [output], totals, (SPACE,)))
        name = receipt["files"][-1]["name"]
        self._ctx.logger.info("%s: %d order(s) handed over in %s", self._ctx.connection, len(written), name)

    # -- acknowledgements --------------------------------------------------------------------------------------

    def said(self, row: Any) -> Said:
        """A row of a list of documents, or of an import report on a file of orders or entries."""
        if isinstance(row, ListedDocument):
            return Said(SPACE, row.document, number=row.piece)
        if row.file.replace("\\", "/").rpartition("/")[2].upper().startswith(_STEM):
            return Said(SPACE, row.name, None if row.accepted else row.reason or "refused")
        return super().said(row)
