"""Payouts, Z closings and supplier invoices as relational rows, and the models read back from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from comptoir.model.payout import Payout
from comptoir.model.purchasing import SupplierInvoice
from comptoir.model.refs import EntityName
from comptoir.model.till import ZReport
from comptoir.store.copying import Row

if TYPE_CHECKING:
    from comptoir.store.database import Session
    from comptoir.store.document_reader import DocumentReader, Head

__all__ = [
    "BANK",
    "CHILDREN",
    "HEAD_TABLE",
    "TABLES",
    "Settlements",
    "invoice_rows",
    "payout_rows",
    "read_invoices",
    "read_payouts",
    "read_z_reports",
    "z_report_rows",
]

_OURS = "before_cutover, raw_id, mapping_hash, rev, created_at, updated_at"
#: Written in this order; every table's rows hang on the first column.
TABLES = {
    "payout": "id, connection, external_id, provider, number, period_start, period_end, paid_on, currency, amount, "
    f"opening, closing, remainder, {_OURS}",
    "payout_line": "document_id, position, external_id, kind, source_kind, occurred_on, order_number, amount, label",
    "payout_fee": "document_id, position, seq, kind, net, tax, rate",
    "z_report": "id, connection, external_id, till, number, closed_on, closed_at, currency, gift_cards_sold, "
    f"on_account, old_invoices, cash_expected, cash_counted, tickets, {_OURS}",
    "z_sale": "document_id, position, rate, net, tax, scheme",
    "z_tender": "document_id, position, method, source_method, amount",
    "cash_movement": "document_id, position, external_id, amount, taken_on, arrived_on",
    "supplier_invoice": "id, connection, external_id, supplier, number, credit, issued_on, due_on, currency, regime, "
    f"total, discount, withheld_by, payout_ids, {_OURS}",
    "supplier_invoice_line": "document_id, position, cost, label, net, tax, rate, asset, payee",
}
HEAD_TABLE = {
    EntityName.PAYOUT: "payout",
    EntityName.Z_REPORT: "z_report",
    EntityName.SUPPLIER_INVOICE: "supplier_invoice",
}
CHILDREN = {
    EntityName.PAYOUT: ("payout_line", "payout_fee", "personal_party"),
    EntityName.Z_REPORT: ("z_sale", "z_tender", "cash_movement"),
    EntityName.SUPPLIER_INVOICE: ("supplier_invoice_line",),
}
#: Under this role the account that a payout went to stands with the personal data.
BANK = "bank"


class Settlements:
    """What is asked of stored payouts and fee invoices."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def payouts_named(self, provider: str, external_ids: Sequence[str]) -> list[UUID]:
        """The payouts of a provider under these ids of its own."""
        rows = self._session.rows(
            "select id from payout where provider = %s and external_id = any(%s)", (provider, list(external_ids))
        )
        return [row[0] for row in rows]

    def invoices_withheld(self, provider: str, payout_ids: Sequence[str]) -> list[UUID]:
        """The fee invoices that were withheld from one of these payouts of a provider."""
        rows = self._session.rows(
            "select id from supplier_invoice where withheld_by = %s and payout_ids && %s::text[]",
            (provider, list(payout_ids)),
        )
        return [row[0] for row in rows]

    def all_before_cutover(self, provider: str, external_ids: Sequence[str]) -> bool:
        """Whether these payouts are known, and all from before the cutover."""
        row = self._session.row(
            "select bool_and(before_cutover) from payout where provider = %s and external_id = any(%s)",
            (provider, list(external_ids)),
        )
        return bool(row and row[0])

    def numbers_known(self, numbers: Sequence[str]) -> dict[str, bool]:
        """Of these order numbers, those that are known; True where only an order from before the cutover has it."""
        rows = self._session.rows(
            "select number, bool_and(before_cutover) from sales_order where number = any(%s) group by number",
            (list(numbers),),
        )
        return {row[0]: row[1] for row in rows}

    def listing(self, numbers: Sequence[str]) -> list[Payout]:
        """The payouts that list one of these order numbers, each with those lines only and without fees."""
        found: dict[UUID, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        names = ("external_id", "kind", "source_kind", "occurred_on", "order_number", "amount")
        heads = ("external_id", "provider", "number", "period_start", "period_end", "paid_on", "currency", "amount")
        for key, *row in self._session.rows(
            f"select p.id, {', '.join(f'p.{name}' for name in heads)}, {', '.join(f'l.{name}' for name in names)} "
            "from payout_line l join payout p on p.id = l.document_id where l.order_number = any(%s) "
            "order by p.paid_on, p.id, l.position",
            (list(numbers),),
        ):
            _, lines = found.setdefault(key, (dict(zip(heads, row, strict=False)), []))
            lines.append(dict(zip(names, row[len(heads) :], strict=True)))
        return [Payout.model_validate({**head, "lines": lines}) for head, lines in found.values()]


def payout_rows(payout: Payout, head: Head, rows: dict[str, list[Row]]) -> None:
    """Adds the rows of a payout; the bank account is left to who writes personal data."""
    key = head.record_id
    rows["payout"].append(
        (
            key, head.connection, payout.external_id, payout.provider, payout.number, payout.period_start,
            payout.period_end, payout.paid_on, payout.currency, payout.amount, payout.opening, payout.closing,
            payout.remainder, *_ours(head),
        )
    )  # fmt: skip
    for position, line in enumerate(payout.lines, 1):
        rows["payout_line"].append(
            (
                key, position, line.external_id, line.kind.value, line.source_kind, line.occurred_on,
                line.order_number, line.amount, line.label,
            )
        )  # fmt: skip
        for seq, fee in enumerate(line.fees, 1):
            rows["payout_fee"].append((key, position, seq, fee.kind, fee.net, fee.tax, fee.rate))


def z_report_rows(report: ZReport, head: Head, rows: dict[str, list[Row]]) -> None:
    """Adds the rows of a Z closing."""
    key = head.record_id
    rows["z_report"].append(
        (
            key, head.connection, report.external_id, report.till, report.number, report.closed_on, report.closed_at,
            report.currency, report.gift_cards_sold, report.on_account, report.old_invoices, report.cash_expected,
            report.cash_counted, report.tickets, *_ours(head),
        )
    )  # fmt: skip
    for position, sale in enumerate(report.sales, 1):
        rows["z_sale"].append((key, position, sale.rate, sale.net, sale.tax, sale.scheme.value))
    for position, tender in enumerate(report.tenders, 1):
        rows["z_tender"].append((key, position, tender.method.value, tender.source_method, tender.amount))
    for position, moved in enumerate(report.movements, 1):
        rows["cash_movement"].append((key, position, moved.external_id, moved.amount, moved.taken_on, moved.arrived_on))


def invoice_rows(invoice: SupplierInvoice, head: Head, rows: dict[str, list[Row]]) -> None:
    """Adds the rows of a supplier's invoice or credit note."""
    key = head.record_id
    rows["supplier_invoice"].append(
        (
            key, head.connection, invoice.external_id, invoice.supplier, invoice.number, invoice.credit,
            invoice.issued_on, invoice.due_on, invoice.currency, invoice.regime.value, invoice.total,
            invoice.discount, invoice.withheld_by, list(invoice.payout_ids), *_ours(head),
        )
    )  # fmt: skip
    for position, line in enumerate(invoice.lines, 1):
        rows["supplier_invoice_line"].append(
            (key, position, line.cost, line.label, line.net, line.tax, line.rate, line.asset, line.payee)
        )


def _ours(head: Head) -> Row:
    return head.before_cutover, head.raw_id, head.mapping_hash, head.rev, head.created_at, head.updated_at


def read_payouts(reader: DocumentReader, ids: list[UUID]) -> Iterator[tuple[dict[str, Any], Payout]]:
    """Each payout's own row and its model."""
    lines = reader.grouped("payout_line", ids, "document_id, position")
    fees: dict[tuple[UUID, int], list[dict[str, Any]]] = defaultdict(list)
    for key, of_document in reader.grouped("payout_fee", ids, "document_id, position, seq").items():
        for fee in of_document:
            fees[key, fee["position"]].append(_fields(fee, "position", "seq"))
    people = reader.parties(ids)
    for row in reader.dicts("payout", "id", ids, "id"):
        key = row["id"]
        made = [{**_fields(line, "position"), "fees": fees[key, line["position"]]} for line in lines[key]]
        bank = people.get(key, {}).get(BANK, {}).get("note")
        yield row, _model(Payout, row, lines=made, bank_ref=bank)


def read_z_reports(reader: DocumentReader, ids: list[UUID]) -> Iterator[tuple[dict[str, Any], ZReport]]:
    """Each Z closing's own row and its model."""
    tables = {
        name: reader.grouped(table, ids, "document_id, position")
        for name, table in (("sales", "z_sale"), ("tenders", "z_tender"), ("movements", "cash_movement"))
    }
    for row in reader.dicts("z_report", "id", ids, "id"):
        parts = {name: [_fields(x, "position") for x in found[row["id"]]] for name, found in tables.items()}
        yield row, _model(ZReport, row, **parts)


def read_invoices(reader: DocumentReader, ids: list[UUID]) -> Iterator[tuple[dict[str, Any], SupplierInvoice]]:
    """Each supplier invoice's own row and its model."""
    lines = reader.grouped("supplier_invoice_line", ids, "document_id, position")
    for row in reader.dicts("supplier_invoice", "id", ids, "id"):
        yield row, _model(SupplierInvoice, row, lines=[_fields(x, "position") for x in lines[row["id"]]])


def _model(kind: Any, row: dict[str, Any], **parts: Any) -> Any:
    return kind.model_validate({**{name: row[name] for name in kind.model_fields if name in row}, **parts})


def _fields(row: dict[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in without}
