"""Canonical documents as relational rows.

A document is written whole: its rows are replaced together in the caller's transaction. Personal data goes to
`personal_party` and nowhere else. Words of an enumeration are read by `_value_`: `value` takes four times as long, and
an order has two dozen of them. What stands in many rows of a batch is read from a model's `__dict__` by one
`itemgetter`, in a third of the time that its attributes take one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from comptoir.model.item import Item
from comptoir.model.money import TaxLine
from comptoir.model.order import Charge, Refund, SalesOrder
from comptoir.model.parties import Address, Customer, Party
from comptoir.model.payout import Payout
from comptoir.model.purchasing import SupplierInvoice
from comptoir.model.refs import EntityName
from comptoir.model.stock import StockLevel
from comptoir.model.till import ZReport
from comptoir.store import settlements
from comptoir.store.database import Row, Session
from comptoir.store.document_reader import CHILDREN, HEAD_TABLE, TABLES, DocumentReader, Head, Stored

__all__ = ["Documents", "Head", "Stored"]

_line_of = itemgetter(
    "external_id", "kind", "item_id", "sku", "gtin", "name", "quantity", "unit", "unit_price", "list_net", "list_tax",
    "net", "tax", "taxes",
)  # fmt: skip
_order_head_of = itemgetter(
    "external_id", "number", "source_status", "ordered_at", "ordered_on", "source_zone", "original_time", "modified_at",
    "paid_at", "completed_at", "currency",
)  # fmt: skip
_charge_of = itemgetter("external_id", "kind", "label", "method", "net", "tax", "taxes")
_tax_of = itemgetter(
    "category", "rate", "base", "amount", "country", "scheme", "collected_by", "source_code", "label"
)  # fmt: skip
_totals_of = itemgetter("total", "tax", "shipping", "shipping_tax", "discount", "discount_tax")
_party_of = itemgetter(
    "kind", "company", "first_name", "last_name", "email", "phone", "vat_id", "siren", "siret", "languages"
)  # fmt: skip
_written_on = itemgetter("company", "first_name", "last_name", "email", "phone")
_place_of = itemgetter("lines", "postcode", "city", "region", "country", "pickup_point")


class Documents(DocumentReader):
    """Collects documents and writes them in bulk; loads them back in sets."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._replaced: dict[EntityName, list[UUID]] = defaultdict(list)
        self._moment: tuple[datetime | None, str] = (None, "")

    def add_order(
        self, order: SalesOrder, head: Head, computed_total: Decimal, residual: Decimal, cause: str | None
    ) -> None:
        """Queues an order for writing; an earlier revision (rev > 1) is replaced."""
        # As text: it stands in a dozen rows, and psycopg writes a UUID ten times slower than a text.
        rows, key, values = self._rows, head.record_id.hex, order.__dict__
        self._note(EntityName.ORDER, head)
        billing, shipping, buyer, rounding = order.billing, order.shipping, order.buyer, order.rounding
        ship, method = shipping or billing, order.payment_method
        rows["sales_order"].append(
            (
                key, head.connection, *_order_head_of(values), order.price_basis._value_, rounding.level._value_,
                rounding.mode, buyer.customer_id, buyer.account._value_, ship.country if ship else None,
                order.payment_state._value_, order.fulfilment_state._value_, order.return_state._value_,
                order.hold._value_, method._value_ if method else None, order.group_ref,
                *_totals_of(order.totals.__dict__), computed_total, residual, cause, list(order.refund_ids),
                head.before_cutover, head.raw_id, head.mapping_hash, head.rev, self._written(head.created_at),
                self._written(head.updated_at),
            )
        )  # fmt: skip
        lines = rows["order_line"]
        for position, line in enumerate(order.lines, 1):
            (
                external_id, kind, item_id, sku, gtin, name, quantity, unit, unit_price, list_net, list_tax, net, tax,
                taxes,
            ) = _line_of(line.__dict__)  # fmt: skip
            lines.append(
                (
                    key, position, external_id, kind._value_, item_id, sku, gtin, name, quantity, unit, unit_price,
                    list_net, list_tax, net, tax,
                )
            )  # fmt: skip
            if taxes:
                self._taxes(key, "line", position, taxes)
        self._charges(key, order.charges)
        for position, discount in enumerate(order.discounts, 1):
            rows["document_discount"].append(
                (key, position, discount.external_id, discount.code, discount.net, discount.tax)
            )
        for position, payment in enumerate(order.payments, 1):
            rows["document_payment"].append(
                (
                    key, position, payment.method._value_, payment.source_method, payment.label, payment.provider_ref,
                    payment.amount, payment.paid_at,
                )
            )  # fmt: skip
        parties = rows["personal_party"]
        parties.append(_party_row(key, "buyer", buyer.party, order.note, order.extra))
        if billing is not None:
            parties.append(_address_row(key, "billing", billing))
        if shipping is not None:
            parties.append(_address_row(key, "shipping", shipping))

    def add_refund(self, refund: Refund, head: Head) -> None:
        """Queues a refund for writing."""
        rows, key = self._rows, head.record_id
        self._note(EntityName.REFUND, head)
        rows["refund"].append(
            (
                key, head.connection, refund.external_id, refund.number, refund.order_id, refund.order_number,
                refund.refunded_at, refund.refunded_on, refund.currency, refund.amount, refund.payment_method._value_,
                head.before_cutover, head.raw_id, head.mapping_hash, head.rev, head.created_at, head.updated_at,
            )
        )  # fmt: skip
        for position, line in enumerate(refund.lines, 1):
            rows["refund_line"].append(
                (
                    key, position, line.external_id, line.order_line_id, line.sku, line.name, line.quantity, line.net,
                    line.tax,
                )
            )  # fmt: skip
            self._taxes(key, "line", position, line.taxes)
        self._charges(key, refund.charges)
        if refund.reason is not None or refund.extra:
            rows["personal_party"].append(_note_row(key, "refund", refund.reason, refund.extra))

    def add_customer(self, customer: Customer, head: Head) -> None:
        """Queues a customer for writing."""
        rows, key = self._rows, head.record_id
        self._note(EntityName.CUSTOMER, head)
        rows["customer"].append(
            (
                key, head.connection, customer.external_id, customer.account._value_, list(customer.groups),
                customer.price_list, customer.tax_exempt, customer.created_at, customer.modified_at, head.raw_id,
                head.mapping_hash, head.rev, head.created_at, head.updated_at,
            )
        )  # fmt: skip
        rows["personal_party"].append(_party_row(key, "party", customer.party, None, customer.extra))
        for number, address in enumerate(customer.addresses, 1):
            rows["personal_party"].append(_address_row(key, f"{number}:{address.role}", address))
        for position, consent in enumerate(customer.consents, 1):
            rows["customer_consent"].append(
                (
                    key, position, consent.purpose, consent.channel, consent.state._value_, consent.proof,
                    consent.source, consent.at,
                )
            )  # fmt: skip

    def add_item(self, item: Item, head: Head) -> None:
        """Queues an item for writing."""
        rows, key = self._rows, head.record_id
        self._note(EntityName.ITEM, head)
        rows["item"].append(
            (
                key, head.connection, item.external_id, item.product_id, item.sku, list(item.gtins), item.name,
                item.kind._value_, item.state._value_, item.unit, _json([o.model_dump() for o in item.options]),
                item.weight_kg, item.customs_code, item.tax_category, item.tax_rate, item.source_stock,
                item.modified_at, _json(item.extra), head.raw_id, head.mapping_hash, head.rev, head.created_at,
                head.updated_at,
            )
        )  # fmt: skip
        for position, price in enumerate(item.prices, 1):
            rows["item_price"].append(
                (
                    key, position, price.price_list, price.amount, price.currency, price.basis._value_,
                    price.minimum_quantity, price.valid_from, price.valid_to,
                )
            )  # fmt: skip

    def add_stock(self, level: StockLevel, head: Head) -> None:
        """Queues a stock level for writing."""
        self._note(EntityName.STOCK, head)
        self._rows["stock_level"].append(
            (
                head.record_id, head.connection, level.external_id, level.item_id, level.sku, level.location,
                level.on_hand, level.reserved, level.incoming, level.unit, level.counted_at, _json(level.extra),
                head.raw_id, head.mapping_hash, head.rev, head.created_at, head.updated_at,
            )
        )  # fmt: skip

    def add_payout(self, payout: Payout, head: Head) -> None:
        """Queues a payout for writing."""
        self._note(EntityName.PAYOUT, head)
        settlements.payout_rows(payout, head, self._rows)
        if payout.bank_ref is not None:
            self._rows["personal_party"].append(_note_row(head.record_id, settlements.BANK, payout.bank_ref, {}))

    def add_z_report(self, report: ZReport, head: Head) -> None:
        """Queues a Z closing for writing."""
        self._note(EntityName.Z_REPORT, head)
        settlements.z_report_rows(report, head, self._rows)

    def add_supplier_invoice(self, invoice: SupplierInvoice, head: Head) -> None:
        """Queues a supplier's invoice or credit note for writing."""
        self._note(EntityName.SUPPLIER_INVOICE, head)
        settlements.invoice_rows(invoice, head, self._rows)

    def flush(self) -> None:
        """Writes everything queued: earlier revisions out, new rows in."""
        for entity, ids in self._replaced.items():
            self._session.execute(f"delete from {HEAD_TABLE[entity]} where id = any(%s)", (ids,))
            for table in CHILDREN[entity]:
                self._session.execute(f"delete from {table} where document_id = any(%s)", (ids,))
        for table, columns in TABLES.items():
            self._session.copy(table, columns, self._rows[table])
            self._rows[table] = []
        self._replaced.clear()

    def _note(self, entity: EntityName, head: Head) -> None:
        if head.rev > 1:
            self._replaced[entity].append(head.record_id)

    def _written(self, moment: datetime) -> str:
        """The moment as text, written once and not once a row: a batch has one."""
        known, written = self._moment
        if moment is not known:
            written = str(moment)
            self._moment = moment, written
        return written

    def _charges(self, key: UUID | str, charges: Sequence[Charge]) -> None:
        rows = self._rows["document_charge"]
        for position, charge in enumerate(charges, 1):
            external_id, kind, label, method, net, tax, taxes = _charge_of(charge.__dict__)
            rows.append((key, position, external_id, kind._value_, label, method, net, tax))
            self._taxes(key, "charge", position, taxes)

    def _taxes(self, key: UUID | str, owner: str, position: int, taxes: Sequence[TaxLine]) -> None:
        rows = self._rows["document_tax"]
        for seq, line in enumerate(taxes, 1):
            category, rate, base, amount, country, scheme, collected_by, code, label = _tax_of(line.__dict__)
            rows.append(
                (
                    key, owner, position, seq, category._value_, rate, base, amount, country, scheme._value_,
                    collected_by._value_, code, label,
                )
            )  # fmt: skip


def _json(value: Any) -> Jsonb:
    return Jsonb(value, dumps=orjson.dumps)


def _party_row(key: UUID | str, role: str, party: Party, note: str | None, extra: dict[str, object]) -> Row:
    kind, company, first, last, email, phone, vat_id, siren, siret, languages = _party_of(party.__dict__)
    return (
        key, role, kind._value_, company, first, last, email, phone, vat_id, siren, siret, list(languages) or None,
        None, None, None, None, None, None, note, _json(extra) if extra else None,
    )  # fmt: skip


def _address_row(key: UUID | str, role: str, address: Address) -> Row:
    values = address.__dict__
    lines, *place = _place_of(values)
    return (
        key, role, None, *_written_on(values), None, None, None, None, list(lines), *place, None, None
    )  # fmt: skip


def _note_row(key: UUID, role: str, note: str | None, extra: dict[str, object]) -> Row:
    return (key, role, *([None] * 16), note, _json(extra) if extra else None)
