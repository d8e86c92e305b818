"""The connector of a program that has both books and a back office: entries, and web orders as documents.

Orders, credit notes and customer cards lie in `gescom/` as `COMMANDES_000001.TXT`, `AVOIRS_000001.TXT` and
`CLIENTS_000001.TXT` and so on. What was handed over is `written`; `accepted` comes later, when the operator (or the
agent) has renamed the file to `.BAK`, from an import report in `ack/`, or from a list of documents that the program
exported: then with the program's own number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from comptoir.errors import ComptoirError, ConfigError, RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.documents.build import gross_by_rate
from comptoir.sdk.documents.card import customer_card
from comptoir.sdk.documents.config import SalesSettings
from comptoir.sdk.documents.credit_note import CreditNoteBuilder
from comptoir.sdk.documents.issue import SPACE, Rendered, refused, sort_ops, with_unique_names
from comptoir.sdk.documents.order import OrderBuilder, OrderFormat
from comptoir.sdk.documents.profile import DocumentProfile, load_document_profile
from comptoir.sdk.journal.connector import JournalConnector, Said
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.handover import Handover, Output, Record
from comptoir.sdk.journal.reports import Layout, UnreadableReport, checked_row
from comptoir.sdk.journal.text import words
from comptoir.sdk.layouts import FileLayout
from comptoir.sdk.protocols import CheckItem, CheckReport, ConnectorContext, PushBatch, PushOp, PushResult

_B = TypeVar("_B", bound=OrderBuilder)

__all__ = ["FOLDER", "DocumentConnector", "ListedDocument", "document_list"]

FOLDER = "gescom"
_STEMS = {EntityName.ORDER: "COMMANDES", EntityName.REFUND: "AVOIRS", EntityName.CUSTOMER: "CLIENTS"}
_NOUNS = {EntityName.REFUND: "credit notes", EntityName.CUSTOMER: "customer cards"}
#: The name space of customer codes in the ledger.
_CARDS = "customer"


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
    """Entries as `JournalConnector` does, and orders, credit notes and customer cards. A package names its order
    formats beside those of entries; a format takes credit notes and cards where its profile says how."""

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
            form = self.order_format()
        except ComptoirError as error:
            return CheckReport([*items, CheckItem.failed("order_profile", error)])
        profile = form.profile
        items.append(CheckItem("order_profile", True, f"{profile.product}: {profile.state}; {profile.charset}"))
        items += [CheckItem("order_unconfirmed", True, text) for text in profile.unconfirmed]
        for entity, noun in _NOUNS.items():
            does = "are handed over" if _takes(form, entity) else f"are refused: {profile.source} has no layout of them"
            items.append(CheckItem(f"order_{entity.value}s", True, f"{noun} {does}"))
        return CheckReport(items)

    def layouts(self) -> Sequence[FileLayout]:
        """The layout of entries and that of documents, as far as the connection takes them; ConfigError as
        `book_format` and `order_format`."""
        found = [*super().layouts()]
        if self.takes_orders():
            form = self.order_format()
            taken = (EntityName.ORDER, *(entity for entity in _NOUNS if _takes(form, entity)))
            found.append(form.profile.layout("orders", taken))
        return found

    # -- push --------------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One file for the batch's new records; the errors are those of `JournalConnector.push`."""
        entity = batch.entity
        if entity not in _STEMS:
            return super().push(batch)
        form = self.order_format()
        with self._ledger.locked():
            known = self._ledger.known(entity.value, (op.natural_key for op in batch.ops))
            hint = f"{self.back_office} may have taken it: correct it there."
            results, fresh = sort_ops(batch, known, connection=self._ctx.connection, hint=hint)
            written = self._rendered(form, entity, fresh, results)
            if written:
                self._publish(form, batch, written)
        for op, rendered in written:
            note = str(rendered.remarks)
            if note:
                self._ctx.logger.info("%s %s: %s", entity.value, op.natural_key, note)
            results[op.delivery_id] = PushResult(op.delivery_id, "written", reason=note or None)
        return [results[op.delivery_id] for op in batch.ops]

    def _rendered(
        self, form: OrderFormat[Any], entity: EntityName, ops: Sequence[PushOp], results: dict[str, PushResult]
    ) -> list[tuple[PushOp, Rendered]]:
        sold = self._sold(ops) if entity is EntityName.REFUND else {}
        render: Callable[[PushOp], Rendered] = {
            EntityName.ORDER: lambda op: self._order(form, op),
            EntityName.REFUND: lambda op: self._credit_note(form, op, sold),
            EntityName.CUSTOMER: lambda op: self._card(form, op),
        }[entity]
        taken = _takes(form, entity)
        rendered: list[tuple[PushOp, Rendered]] = []
        for op in ops:
            try:
                if not taken:
                    raise self._not_taken(form, op)
                rendered.append((op, render(op)))
            except RecordRejected as error:
                results[op.delivery_id] = refused(op, error)
        if entity is EntityName.CUSTOMER:
            return rendered
        hint = (
            f"Set document_prefix and credit_note_prefix of the connection {self._ctx.connection} so that all differ."
        )
        return with_unique_names(self._ledger, rendered, results, hint=hint)

    def _not_taken(self, form: OrderFormat[Any], op: PushOp) -> RecordRejected:
        """What a person has to do with a record that the profile has no layout for."""
        noun, source = _NOUNS[op.entity], form.profile.source
        return RecordRejected(
            f"{op.natural_key}: {source} takes no {noun}",
            record=op.natural_key,
            code="not_taken",
            hint=f"Enter it in {self.back_office} by hand, then resolve this; or copy the profile beside "
            f"comptoir.toml, say there how the folder imports {noun}, and set order_profile.",
        )

    def _builder(self, kind: type[_B], form: OrderFormat[Any], op: PushOp) -> _B:
        return kind(op.payload, self._sales, form.shipping(), form.profile, self.back_office, op.natural_key)

    def _order(self, form: OrderFormat[Any], op: PushOp) -> Rendered:
        build = self._builder(OrderBuilder, form, op)
        document = build.document(self._ctx.company.currency, form.templates())
        form.examine(build, document)
        rates = gross_by_rate(document.rows, document.freight, document.freight_rate, gross=build.gross)
        facts = {
            "customer": document.customer,
            "total": str(document.total),
            "scheme": document.scheme,
            "rates": rates,
        }
        return Rendered(document.number, document.total, facts, document.remarks, document)

    def _sold(self, ops: Sequence[PushOp]) -> dict[str, Mapping[str, Any]]:
        """What the receipts remember of the orders that these refunds belong to, by document number."""
        wanted = {words(op.payload.get("order_document")) for op in ops} - {""}
        return {name: found.record for name, found in self._ledger.named(SPACE, wanted).items()}

    def _credit_note(self, form: OrderFormat[Any], op: PushOp, sold: Mapping[str, Mapping[str, Any]]) -> Rendered:
        build = self._builder(CreditNoteBuilder, form, op)
        document = build.credit_note(self._ctx.company.currency, sold.get(words(op.payload.get("order_document"))))
        form.examine(build, document)
        facts = {"customer": document.customer, "total": str(document.total)}
        return Rendered(document.number, document.total, facts, document.remarks, document)

    def _card(self, form: OrderFormat[Any], op: PushOp) -> Rendered:
        card = customer_card(op.payload, form.card_rules(self.back_office), op.natural_key)
        form.examine_card(card, op.natural_key)
        return Rendered(card.code, Decimal(0), {}, card.remarks, card)

    def _publish(self, form: OrderFormat[Any], batch: PushBatch, written: Sequence[tuple[PushOp, Rendered]]) -> None:
        parts: list[Any] = [record.part for _, record in written]
        cards = batch.entity is EntityName.CUSTOMER
        data = form.write_cards(parts) if cards else form.write(parts)
        output = Output(FOLDER, _STEMS[batch.entity], form.profile.suffix, data)
        totals = {
            "records": str(len(written)),
            "amount": str(sum((record.amount for _, record in written), Decimal("0.00"))),
            "profile": f"{form.profile.source}, {form.profile.state}",
        }
        records = [Record(op.natural_key, op.content_hash, r.name, r.facts) for op, r in written]
        space = _CARDS if cards else SPACE
        receipt = self._ledger.hand_over(Handover(batch.id, batch.entity.value, records, [output], totals, (space,)))
        name, what = receipt["files"][-1]["name"], batch.entity.value
        self._ctx.logger.info("%s: %d %s record(s) handed over in %s", self._ctx.connection, len(written), what, name)

    # -- acknowledgements --------------------------------------------------------------------------------------

    def said(self, row: Any) -> Said:
        """A row of a list of documents, or of an import report on a file of documents, cards or entries."""
        if isinstance(row, ListedDocument):
            return Said(SPACE, row.document, number=row.piece)
        name = row.file.replace("\\", "/").rpartition("/")[2].upper()
        if name.startswith(tuple(_STEMS.values())):
            space = _CARDS if name.startswith(_STEMS[EntityName.CUSTOMER]) else SPACE
            return Said(space, row.name, None if row.accepted else row.reason or "refused")
        return super().said(row)


def _takes(form: OrderFormat[Any], entity: EntityName) -> bool:
    if entity is EntityName.REFUND:
        return form.takes_credit_notes
    return entity is EntityName.ORDER or form.takes_customers
