"""The EBP connector: hands documents, cards and entries over as files, exactly once; reads what EBP reports back and
what it exports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from comptoir.sdk import (
    Acknowledgement,
    BatchFiles,
    CheckItem,
    CheckReport,
    ConnectorConfig,
    ConnectorContext,
    ContractViolation,
    EntityName,
    Manifest,
    Page,
    Probe,
    PullRequest,
    PushBatch,
    PushOp,
    PushResult,
    RecordRejected,
    load_manifest,
)
from comptoir.sdk.documents.issue import SPACE, Rendered, refused, sort_ops, with_unique_names
from comptoir.sdk.journal import formats
from comptoir.sdk.journal.disk import Disk, storage_errors
from comptoir.sdk.journal.entry import BookEntry, Terms, decimal_of
from comptoir.sdk.journal.handover import Handover, Ledger, Output, Record, digest
from comptoir.sdk.journal.readback import altered
from comptoir.sdk.journal.reports import Report, ReportFolder
from comptoir.sdk.layouts import FileLayout, layout_digest
from comptoir.sdk.lists import TAKEN, Lists, TakenDocuments
from comptoir_ebp import credit_notes, customers, documents, reports
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.entries import EcrituresFormat
from comptoir_ebp.exports import Exports
from comptoir_ebp.text import words

__all__ = ["EbpConnector"]

_DOCUMENTS = (EntityName.ORDER, EntityName.REFUND)
_STEMS = {EntityName.ORDER: "COMMANDES", EntityName.REFUND: "AVOIRS", EntityName.CUSTOMER: "CLIENTS"}


_NAMES_DIFFER = "Set document_prefix and credit_note_prefix of the EBP connection so that channels differ."


class EbpConnector:
    """Orders, credit notes, customers and journal entries for one EBP folder; items, stock and customers from it.

    A pushed record is `written`: durable in a file that EBP has not read yet. `accepted` or rejected comes
    later through `acknowledgements`.
    """

    manifest: ClassVar[Manifest] = load_manifest("comptoir_ebp")
    config_model: ClassVar[type[ConnectorConfig]] = EbpConfig

    def __init__(self, config: EbpConfig, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        self._config = config
        self._ctx = ctx
        self._folder = config.folder if config.folder.is_absolute() else ctx.base_dir / config.folder
        self._ledger = Ledger(
            self._folder,
            base=ctx.base_dir,
            connection=ctx.connection,
            clock=ctx.clock,
            lock_wait=config.lock_wait_seconds,
            program="EBP",
            disk=disk,
        )
        self._lists = Lists(Exports(self._folder, config, ctx), ctx, config.read_by, "comptoir_ebp", "Item")
        self._entries = EcrituresFormat(config, ctx.company)
        self._reports = ReportFolder(
            self._ledger,
            ctx,
            charset=config.charset,
            max_bytes=config.ack_max_bytes,
            program="EBP",
            others=(reports.DOCUMENT_LIST, reports.TAKEN_DOCUMENTS),
        )
        self._taken: TakenDocuments | None = None
        if config.read_by == "sql":
            self._taken = TakenDocuments(ctx, self._ledger, "comptoir_ebp", reports.TAKEN_DOCUMENTS)

    # -- check ---------------------------------------------------------------------------------------------

    def check(self) -> CheckReport:
        """Folder present and readable, files waiting to be taken; writes nothing."""
        items = [
            CheckItem(
                "folder",
                self._folder.is_dir() or self._folder.is_relative_to(self._ctx.base_dir),
                f"{self._config.folder} {'exists' if self._folder.is_dir() else 'does not exist (yet)'}",
                None if self._folder.is_dir() else "Mount the share, or create the folder.",
            )
        ]
        for name in ("import", "compta"):
            folder = self._folder / name
            waiting = sum(1 for p in folder.iterdir() if p.is_file()) if folder.is_dir() else 0
            items.append(CheckItem(name, True, f"{waiting} file(s) not yet taken by EBP"))
        default = self._config.default_customer
        detail = f"buyers without address: {default.code}" if default else "buyers without address: refused"
        items.append(CheckItem("default_customer", True, detail))
        profile = self._entries.profile
        items.append(CheckItem("entries", True, f"{profile.product}: {profile.state}; unaccented capitals"))
        return CheckReport([*items, *self._lists.check()])

    def layouts(self) -> Sequence[FileLayout]:
        """The layout of ECRITURES.TXT, and that of the files of orders, credit notes and customers."""
        shape = {"charset": self._config.charset, "columns": self._config.columns or documents.CAPTIONS}
        product = "EBP Gestion commerciale: parametrizable imports"
        return [
            self._entries.profile.layout("entries", (EntityName.JOURNAL_ENTRY,)),
            FileLayout("orders", tuple(_STEMS), "ebp", product, layout_digest(shape)),
        ]

    # -- pull ----------------------------------------------------------------------------------------------

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Items, stock levels or customers: of EBP's newest export, when it is newer than `request.since` (a full
        snapshot; every record is dated by its file), or what changed in its database. See `comptoir_ebp.exports`.
        """
        return self._lists.pages(request)

    # -- batches -------------------------------------------------------------------------------------------

    def batch(self, batch: str) -> BatchFiles | None:
        """The files of a batch, and whether they were taken."""
        return self._ledger.files_of(batch)

    def withdraw(self, batch: str) -> Sequence[str]:
        """Takes a batch back; the natural keys of its records."""
        found = self._ledger.withdraw(batch)
        return [] if found is None else found.keys

    def read_back(self, batch: PushBatch) -> Sequence[str]:
        """What files of entries that still lie there say otherwise than what was handed over."""
        receipt = self._ledger.receipt(batch.id)
        if receipt is None or "withdrawn_at" in receipt or batch.entity is not EntityName.JOURNAL_ENTRY:
            return []
        entries: dict[str, BookEntry] = {op.natural_key: made.part for op, made in self._render(batch, batch.ops, {})}
        with storage_errors(self._ctx.base_dir, self._ctx.connection, "EBP"):
            return altered(receipt, self._folder, self._entries, entries)

    # -- push ----------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One file for the batch's new records; `written` for those and for what was handed over before.

        Raises StorageFull when nothing was written, OutcomeUnknown when that is not certain, TransientError
        when another worker holds the folder.
        """
        if batch.entity not in self.manifest.entities or not self.manifest.entities[batch.entity].push:
            raise ContractViolation(f"{self._ctx.connection}: EBP takes no {batch.entity.value}")
        with self._ledger.locked():
            known = self._ledger.known(batch.entity.value, (op.natural_key for op in batch.ops))
            results, fresh = sort_ops(
                batch,
                known,
                connection=self._ctx.connection,
                may_change=self._may_change,
                hint="EBP may have booked it: correct it there, or by a credit note or reversal.",
            )
            written = self._render(batch, fresh, results)
            if written:
                self._hand_over(batch, written)
        for op, rendered in written:
            note = str(rendered.remarks)
            if note:
                self._ctx.logger.info("%s %s: %s", batch.entity.value, op.natural_key, note)
            results[op.delivery_id] = PushResult(op.delivery_id, "written", reason=note or None)
        return [results[op.delivery_id] for op in batch.ops]

    def _may_change(self, op: PushOp) -> bool:
        """Cards may be sent again with a new content; documents and entries are issued once."""
        return op.entity is EntityName.CUSTOMER

    def _render(
        self, batch: PushBatch, ops: Sequence[PushOp], results: dict[str, PushResult]
    ) -> list[tuple[PushOp, Rendered]]:
        found = self._orders_of(ops) if batch.entity is EntityName.REFUND else {}
        terms = self._entries.terms(self._config, self._ctx.company.currency)
        render: Callable[[PushOp], Rendered] = {
            EntityName.ORDER: self._order,
            EntityName.REFUND: lambda op: self._refund(op, found),
            EntityName.CUSTOMER: self._customer,
            EntityName.JOURNAL_ENTRY: lambda op: self._entry(op, terms),
        }[batch.entity]
        rendered: list[tuple[PushOp, Rendered]] = []
        for op in ops:
            try:
                rendered.append((op, render(op)))
            except RecordRejected as error:
                results[op.delivery_id] = refused(op, error)
        if batch.entity in _DOCUMENTS:
            return with_unique_names(self._ledger, rendered, results, hint=_NAMES_DIFFER)
        return rendered

    def _hand_over(self, batch: PushBatch, written: Sequence[tuple[PushOp, Rendered]]) -> None:
        outputs, space = self._outputs(batch.entity, [r for _, r in written])
        totals = {
            "records": str(len(written)),
            "amount": str(sum((r.amount for _, r in written), Decimal("0.00"))),
        }
        records = [Record(op.natural_key, op.content_hash, r.name, r.facts) for op, r in written]
        handover = Handover(batch.id, batch.entity.value, records, outputs, totals, (space,))
        receipt = self._ledger.hand_over(handover)
        self._ctx.logger.info(
            "%s: %d %s record(s) handed over in %s",
            self._ctx.connection,
            len(written),
            batch.entity.value,
            receipt["files"][-1]["name"],
        )

    def _outputs(self, entity: EntityName, written: Sequence[Rendered]) -> tuple[list[Output], str]:
        parts = [r.part for r in written]
        if entity in _DOCUMENTS:
            sign = credit_notes.credit_note_sign() if entity is EntityName.REFUND else 1
            data = documents.document_file(parts, self._config, sign=sign)
            return [Output("import", _STEMS[entity], ".CSV", data)], SPACE
        if entity is EntityName.CUSTOMER:
            return [Output("import", _STEMS[entity], ".CSV", customers.customer_file(parts, self._config))], "customer"
        return self._books(written), "piece:{file}"

    def _books(self, written: Sequence[Rendered]) -> list[Output]:
        book_entries: list[BookEntry] = [record.part for record in written]
        data, pieces, faults = formats.written(self._entries, book_entries)
        for record, piece in zip(written, pieces, strict=True):
            record.name = piece
        if faults.count:
            raise ContractViolation(
                f"{self._ctx.connection}: the file of entries is wrong and was not handed over: {faults.found[0]}",
                hint="This is a defect of Comptoir: report it with the batch's entries.",
            )
        files = [*self._entries.companions(book_entries), ("ECRITURES.TXT", data)]
        return [Output("compta", name.removesuffix(".TXT"), ".TXT", content, plain=True) for name, content in files]

    # -- one record ----------------------------------------------------------------------------------------

    def _order(self, op: PushOp) -> Rendered:
        document = documents.order_document(
            op.payload, self._config, company_currency=self._ctx.company.currency, record=op.natural_key
        )
        facts = {
            "customer": document.customer,
            "total": str(document.total),
            "rates": document.gross_by_rate(),
        }
        return Rendered(document.number, document.total, facts, document.remarks, document)

    def _orders_of(self, ops: Sequence[PushOp]) -> dict[str, Mapping[str, Any]]:
        """What the receipts remember of the orders that these refunds belong to, by document number."""
        wanted = {words(op.payload.get("order_document")) for op in ops} - {""}
        return {name: found.record for name, found in self._ledger.named(SPACE, wanted).items()}

    def _refund(self, op: PushOp, orders: Mapping[str, Mapping[str, Any]]) -> Rendered:
        order = orders.get(words(op.payload.get("order_document")))
        default = self._config.default_customer
        if order is None and default is None:
            raise RecordRejected(
                f"{op.natural_key}: its order {op.payload.get('order_number')} was not handed over here, "
                "so the "
                "customer is not known",
                record=op.natural_key,
                field="order_number",
                code="missing_party",
                hint="Hand the order over first, or set default_customer of the EBP connection.",
            )
        customer = str(order["customer"]) if order else default.code if default else ""
        document = credit_notes.refund_document(
            op.payload,
            self._config,
            company_currency=self._ctx.company.currency,
            record=op.natural_key,
            customer=customer,
            gross_by_rate=order["rates"] if order else {},
        )
        facts = {"customer": customer, "total": str(document.total)}
        return Rendered(document.number, document.total, facts, document.remarks, document)

    def _customer(self, op: PushOp) -> Rendered:
        card = customers.customer_card(op.payload, self._config, record=op.natural_key)
        return Rendered(card.code, Decimal(0), {}, card.remarks, card)

    def _entry(self, op: PushOp, terms: Terms) -> Rendered:
        entry = terms.entry(op.payload, op.natural_key)
        total = decimal_of(entry.cents)
        return Rendered(entry.piece, total, {"total": str(total)}, entry.remarks, entry)

    # -- probe ---------------------------------------------------------------------------------------------

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """Present: the record is in a committed batch, this one or an earlier one, with this content. Else
        absent.

        Before it answers, an interrupted publication is finished: what has a receipt will be visible.
        `unknown` when the same key was handed over with another content: a person decides.
        """
        with self._ledger.locked():
            known = self._ledger.known(batch.entity.value, (op.natural_key for op in batch.ops))
        probes = []
        for op in batch.ops:
            earlier = known.get(op.natural_key)
            if earlier is None or (self._may_change(op) and earlier.content_hash != digest(op.content_hash)):
                probes.append(Probe(op.delivery_id, "absent"))
            elif earlier.content_hash == digest(op.content_hash):
                probes.append(Probe(op.delivery_id, "present"))
            else:
                probes.append(Probe(op.delivery_id, "unknown"))
        return probes

    # -- acknowledgements ----------------------------------------------------------------------------------

    def acknowledgements(self) -> Iterator[tuple[str, Sequence[Acknowledgement]]]:
        """Reports dropped into `ack/`, oldest first; unusable ones are moved to `ack/rejected/` with the reason.
        Then what the database says, where it is read."""
        for report in self._reports.waiting():
            yield report.name, [ack for _, ack in self._words(report)]
        if self._taken is not None and (words := self._taken.words(self._words)):
            yield TAKEN, words

    def acknowledged(self, report: str) -> None:
        """Files the report away under `ack/done/`; refused records may be handed over again, corrected.

        A report that is gone or has changed since it was read stays as it is: its words are read again.
        """
        with self._ledger.locked():
            if self._taken is not None and report == TAKEN:
                self._taken.keep()
                return
            read = self._reports.again(report)
            if read is None:
                return
            for batch, ack in self._words(read):
                if ack.outcome == "rejected":
                    self._ledger.release(ack.entity.value, ack.natural_key, batch)
            self._reports.done(read)

    def _words(self, report: Report) -> list[tuple[str, Acknowledgement]]:
        """Batch and acknowledgement of each record of ours that the report names; others are passed over."""
        by_space: dict[str, dict[str, tuple[bool, str | None, str | None]]] = {}
        for row in report.rows:
            if isinstance(row, reports.ListedDocument):
                by_space.setdefault(SPACE, {})[row.document] = (True, row.ebp_number, None)
            else:
                by_space.setdefault(_space(row.file), {})[row.name] = (
                    row.accepted,
                    None,
                    row.reason or "refused",
                )
        said: list[tuple[str, Acknowledgement]] = []
        for space, rows in by_space.items():
            for name, found in self._ledger.named(space, rows).items():
                accepted, number, reason = rows[name]
                entity, key = EntityName(found.entity), str(found.record["key"])
                if accepted:
                    said.append((found.batch, Acknowledgement(entity, key, "accepted", external_id=number)))
                else:
                    said.append((found.batch, Acknowledgement(entity, key, "rejected", reason=reason)))
        return said


def _space(file: str) -> str:
    """The name space of the records in a file of ours."""
    name = file.replace("\\", "/").rpartition("/")[2].upper()
    if name.startswith("CLIENTS"):
        return "customer"
    return f"piece:compta/{name}" if name.startswith("ECRITURES") else SPACE
