"""Documents as stored: their tables, and the canonical models read back in sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from comptoir.model.item import Item
from comptoir.model.money import PriceBasis
from comptoir.model.order import Refund, SalesOrder
from comptoir.model.parties import Customer
from comptoir.model.refs import EntityName
from comptoir.model.stock import StockLevel
from comptoir.store import settlements
from comptoir.store.database import Row, Session

__all__ = ["CHILDREN", "HEAD_TABLE", "TABLES", "DocumentReader", "Head", "Stored"]


class Head(NamedTuple):
    """What the hub knows about a document beside its content."""

    record_id: UUID
    raw_id: UUID
    connection: str
    mapping_hash: str
    rev: int
    created_at: datetime
    updated_at: datetime
    before_cutover: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it stands in the store."""

    head: Head
    document: Any


_ORDER = (
    "id, connection, external_id, number, source_status, ordered_at, ordered_on, source_zone, original_time, "
    "modified_at, paid_at, completed_at, currency, price_basis, rounding_level, rounding_mode, customer_id, account, "
    "ship_country, payment_state, fulfilment_state, return_state, hold, payment_method, group_ref, total, "
    "total_tax, total_shipping, "
    "total_shipping_tax, total_discount, total_discount_tax, computed_total, residual, residual_cause, refund_ids, "
    "before_cutover, raw_id, mapping_hash, rev, created_at, updated_at"
)
_ORDER_LINE = (
    "document_id, position, external_id, kind, item_id, sku, gtin, name, quantity, unit, unit_price, list_net, "
    "list_tax, net, tax"
)
_REFUND = (
    "id, connection, external_id, number, order_external_id, order_number, refunded_at, refunded_on, currency, amount, "
    "payment_method, before_cutover, raw_id, mapping_hash, rev, created_at, updated_at"
)
_REFUND_LINE = "document_id, position, external_id, order_line_id, sku, name, quantity, net, tax"
_CHARGE = "document_id, position, external_id, kind, label, method, net, tax"
_DISCOUNT = "document_id, position, external_id, code, net, tax"
_PAYMENT = "document_id, position, method, source_method, label, provider_ref, amount, paid_at"
_TAX = (
    "document_id, owner, position, seq, category, rate, base, amount, country, scheme, collected_by, source_code, label"
)
_PARTY = (
    "document_id, role, kind, company, first_name, last_name, email, phone, vat_id, siren, siret, languages, lines, "
    "postcode, city, region, country, pickup_point, note, extra"
)
_CUSTOMER = (
    "id, connection, external_id, account, groups, price_list, tax_exempt, registered_at, modified_at, raw_id, "
    "mapping_hash, rev, created_at, updated_at"
)
_ITEM = (
    "id, connection, external_id, product_id, sku, gtins, name, kind, state, unit, options, weight_kg, customs_code, "
    "tax_category, tax_rate, source_stock, modified_at, extra, raw_id, mapping_hash, rev, created_at, updated_at"
)
_PRICE = "document_id, position, price_list, amount, currency, basis, minimum_quantity, valid_from, valid_to"

_STOCK = (
    "id, connection, external_id, item_id, sku, location, on_hand, reserved, incoming, unit, counted_at, extra, "
    "raw_id, mapping_hash, rev, created_at, updated_at"
)
_CONSENT = "document_id, position, purpose, channel, state, proof, source, at"

#: Written in this order; every table's rows hang on the first column.
TABLES = {
    "sales_order": _ORDER,
    "order_line": _ORDER_LINE,
    "refund": _REFUND,
    "refund_line": _REFUND_LINE,
    "document_charge": _CHARGE,
    "document_discount": _DISCOUNT,
    "document_payment": _PAYMENT,
    "document_tax": _TAX,
    "customer": _CUSTOMER,
    "personal_party": _PARTY,
    "item": _ITEM,
    "item_price": _PRICE,
    "stock_level": _STOCK,
    "customer_consent": _CONSENT,
    **settlements.TABLES,
}
HEAD_TABLE = {
    EntityName.ORDER: "sales_order",
    EntityName.REFUND: "refund",
    EntityName.CUSTOMER: "customer",
    EntityName.ITEM: "item",
    EntityName.STOCK: "stock_level",
    **settlements.HEAD_TABLE,
}
CHILDREN = {
    EntityName.ORDER: (
        "order_line", "document_charge", "document_discount", "document_payment", "document_tax", "personal_party"
    ),
    EntityName.REFUND: ("refund_line", "document_charge", "document_tax", "personal_party"),
    EntityName.CUSTOMER: ("personal_party", "customer_consent"),
    EntityName.ITEM: ("item_price",),
    EntityName.STOCK: (),
    **settlements.CHILDREN,
}  # fmt: skip
#: Whose rows say whether they are from before the cutover.
_DATED = (EntityName.ORDER, EntityName.REFUND, *settlements.HEAD_TABLE)


class DocumentReader:
    """Reads documents whole, a handful of queries for any number of them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def revisions(self, entity: EntityName, ids: Sequence[UUID]) -> dict[UUID, tuple[int, datetime]]:
        """Revision and creation time of known documents."""
        query = f"select id, rev, created_at from {HEAD_TABLE[entity]} where id = any(%s)"
        return {row[0]: (row[1], row[2]) for row in self._session.rows(query, (list(ids),))}

    def load(self, entity: EntityName, ids: Iterable[UUID]) -> dict[UUID, Stored]:
        """The canonical documents with these ids, whole, in a handful of queries."""
        wanted = list(ids)
        if not wanted:
            return {}
        loaders: dict[EntityName, Callable[[list[UUID]], dict[UUID, Stored]]] = {
            EntityName.ORDER: self._load_orders,
            EntityName.REFUND: self._load_refunds,
            EntityName.CUSTOMER: self._load_customers,
            EntityName.ITEM: self._load_items,
            EntityName.STOCK: self._load_stock,
            EntityName.PAYOUT: lambda of: _stored(settlements.read_payouts(self, of)),
            EntityName.Z_REPORT: lambda of: _stored(settlements.read_z_reports(self, of)),
            EntityName.SUPPLIER_INVOICE: lambda of: _stored(settlements.read_invoices(self, of)),
        }
        return loaders[entity](wanted)

    def entities_of(self, ids: Sequence[UUID], among: Sequence[EntityName]) -> dict[EntityName, list[UUID]]:
        """Which of these documents belong to which of these entities; one that is gone belongs to none."""
        found: dict[EntityName, list[UUID]] = {}
        left = list(ids)
        for entity in among:
            if not left:
                break
            rows = self._session.rows(f"select id from {HEAD_TABLE[entity]} where id = any(%s)", (left,))
            if rows:
                found[entity] = [row[0] for row in rows]
                mine = set(found[entity])
                left = [key for key in left if key not in mine]
        return found

    def ids_after(self, entity: EntityName, connections: Sequence[str], after: UUID | None, limit: int) -> list[UUID]:
        """The next documents of these connections that are not from before the cutover, in the order of their ids."""
        rows = self._session.rows(
            f"select id from {HEAD_TABLE[entity]} where connection = any(%s) and not before_cutover "
            "and (%s::uuid is null or id > %s) order by id limit %s",
            (list(connections), after, after, limit),
        )
        return [row[0] for row in rows]

    def price_terms(self, connection: str) -> tuple[PriceBasis, str] | None:
        """Price basis and currency of what a connection lists, by the newest item; None when nothing has a price."""
        row = self._session.row(
            "select p.basis, p.currency from item i join item_price p on p.document_id = i.id "
            "where i.connection = %s and p.position = 1 order by i.updated_at desc limit 1",
            (connection,),
        )
        return (PriceBasis(row[0]), row[1]) if row else None

    def never_planned(
        self, entity: EntityName, connection: str, target: str, *, after: UUID | None, limit: int
    ) -> list[UUID]:
        """Ids of documents that have no delivery to a target, whatever became of it; in order, `after` one of them.

        Documents from before the cutover are left out, and refunds whose order the target was not given.
        """
        cutover = "and not d.before_cutover " if entity in _DATED else ""
        if entity is EntityName.REFUND:
            cutover += (
                "and exists (select 1 from sales_order o join delivery x on x.record_id = o.id "
                "where o.connection = d.connection and o.external_id = d.order_external_id "
                "and x.target = %(target)s and x.state <> 'dead' and not o.before_cutover) "
            )
        rows = self._session.rows(
            # `except` and not `not exists`: before the first ANALYZE that one is planned in quadratic time.
            f"select d.id from {HEAD_TABLE[entity]} d where d.connection = %(connection)s "
            f"and (%(after)s::uuid is null or d.id > %(after)s) {cutover}"
            "except select y.record_id from delivery y where y.target = %(target)s "
            "order by 1 limit %(limit)s",
            {"connection": connection, "target": target, "after": after, "limit": limit},
        )
        return [row[0] for row in rows]

    def refunds_without_order(self, connections: Sequence[str]) -> list[tuple[str, int, Decimal, date, list[str]]]:
        """Refunds of orders that are not known here: connection, how many, euros, the oldest, some of their numbers."""
        return [
            (connection, number, amount, oldest, names)
            for connection, number, amount, oldest, names in self._session.rows(
                "select r.connection, count(*), sum(r.amount), min(r.refunded_on), "
                "(array_agg(r.number order by r.amount desc, r.number))[1:5] from refund r "
                "where r.connection = any(%s) and not r.before_cutover and not exists (select 1 from sales_order o "
                "where o.connection = r.connection and o.external_id = r.order_external_id) group by 1 order by 1",
                (list(connections),),
            )
        ]

    def orders_before_cutover(self, connection: str, external_ids: Iterable[str]) -> set[str]:
        """Which of these orders belong to the time before the cutover."""
        rows = self._session.rows(
            "select external_id from sales_order where connection = %s and external_id = any(%s) and before_cutover",
            (connection, list(external_ids)),
        )
        return {row[0] for row in rows}

    def orders_not_passed_on(self, connection: str, external_ids: Iterable[str]) -> set[str]:
        """Which of these orders have no delivery, begun or done, to any target."""
        rows = self._session.rows(
            "select external_id from sales_order o where connection = %s and external_id = any(%s) "
            "and not exists (select 1 from delivery d where d.record_id = o.id and d.state <> 'dead')",
            (connection, list(external_ids)),
        )
        return {row[0] for row in rows}

    def refunds_without_delivery(self, connection: str, order_ids: Iterable[str], target: str) -> list[Row]:
        """Id and number of refunds of these orders that have no delivery to a target yet."""
        return self._session.rows(
            "select id, number from refund r where connection = %s and order_external_id = any(%s) "
            "and not before_cutover and not exists (select 1 from delivery d where d.record_id = r.id "
            "and d.target = %s and d.state <> 'dead')",
            (connection, list(order_ids), target),
        )

    def open_orders(self, connection: str, since: datetime) -> list[str]:
        """External ids of orders placed since then that may still be edited, newest first."""
        rows = self._session.rows(
            "select external_id from sales_order where connection = %s and ordered_at >= %s and not before_cutover "
            "and fulfilment_state in ('open', 'partly_shipped') and payment_state <> 'failed' "
            "order by ordered_at desc, id desc",
            (connection, since),
        )
        return [row[0] for row in rows]

    def unknown_buyers(self, connection: str, target: str) -> list[str]:
        """Buyers, by their id there, of orders that wait for a target and whose record was never read."""
        rows = self._session.rows(
            "select distinct o.customer_id from delivery d join sales_order o on o.id = d.record_id "
            "where d.target = %s and d.entity = 'order' and d.state in ('held', 'pending') and o.connection = %s "
            "and o.customer_id is not null and not exists (select 1 from raw_record r "
            "where r.connection = o.connection and r.entity = 'customer' and r.external_id = o.customer_id) order by 1",
            (target, connection),
        )
        return [row[0] for row in rows]

    def order_ids(self, connection: str, external_ids: Iterable[str]) -> list[UUID]:
        """Ids of orders by their external ids."""
        rows = self._session.rows(
            "select id from sales_order where connection = %s and external_id = any(%s)",
            (connection, list(external_ids)),
        )
        return [row[0] for row in rows]

    def refunds_of(self, connection: str, order_ids: Sequence[str]) -> dict[str, list[Stored]]:
        """The refunds of orders, by the orders' external ids, oldest first."""
        found = self._session.rows(
            "select id from refund where connection = %s and order_external_id = any(%s)",
            (connection, list(order_ids)),
        )
        grouped: dict[str, list[Stored]] = defaultdict(list)
        for stored in self._load_refunds([row[0] for row in found]).values():
            grouped[stored.document.order_id].append(stored)
        for stored_refunds in grouped.values():
            stored_refunds.sort(key=lambda s: (s.document.refunded_at, s.document.external_id))
        return grouped

    def dicts(self, table: str, key: str, ids: list[UUID], order: str) -> list[dict[str, Any]]:
        """Rows of one of our tables by name of column."""
        columns = [c.strip() for c in TABLES[table].split(",")]
        query = f"select {TABLES[table]} from {table} where {key} = any(%s) order by {order}"
        return [dict(zip(columns, row, strict=True)) for row in self._session.rows(query, (ids,))]

    def grouped(self, table: str, ids: list[UUID], order: str) -> dict[UUID, list[dict[str, Any]]]:
        """Rows of a table of children by their document."""
        grouped: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
        for row in self.dicts(table, "document_id", ids, order):
            grouped[row.pop("document_id")].append(row)
        return grouped

    def parties(self, ids: list[UUID]) -> dict[UUID, dict[str, dict[str, Any]]]:
        """Personal data by document and role."""
        grouped: dict[UUID, dict[str, dict[str, Any]]] = defaultdict(dict)
        for row in self.dicts("personal_party", "document_id", ids, "document_id, role"):
            grouped[row["document_id"]][row["role"]] = row
        return grouped

    def _load_orders(self, ids: list[UUID]) -> dict[UUID, Stored]:
        lines = self.grouped("order_line", ids, "document_id, position")
        charges = self.grouped("document_charge", ids, "document_id, position")
        discounts = self.grouped("document_discount", ids, "document_id, position")
        payments = self.grouped("document_payment", ids, "document_id, position")
        taxes = self._tax_index(ids)
        parties = self.parties(ids)
        found = {}
        for row in self.dicts("sales_order", "id", ids, "id"):
            key = row["id"]
            people = parties[key]
            buyer = people.get("buyer", {})
            fields = {
                name: row[name]
                for name in (
                    "external_id", "number", "source_status", "ordered_at", "ordered_on", "source_zone",
                    "original_time", "modified_at", "paid_at", "completed_at", "currency", "price_basis",
                    "payment_state", "fulfilment_state", "return_state", "hold", "payment_method", "group_ref",
                    "refund_ids",
                )
            }  # fmt: skip
            order = SalesOrder.model_validate(
                fields
                | {
                    "channel": row["connection"],
                    "rounding": {"level": row["rounding_level"], "mode": row["rounding_mode"]},
                    "buyer": {
                        "customer_id": row["customer_id"],
                        "account": row["account"],
                        "party": _party_fields(buyer),
                    },
                    "billing": _address_fields(people.get("billing"), "billing"),
                    "shipping": _address_fields(people.get("shipping"), "shipping"),
                    "lines": [_with_taxes(x, taxes.get((key, "line", x["position"]))) for x in lines[key]],
                    "charges": [_charge(x, taxes.get((key, "charge", x["position"]))) for x in charges[key]],
                    "discounts": [_without(x, "position") for x in discounts[key]],
                    "payments": [_without(x, "position") for x in payments[key]],
                    "totals": {
                        "total": row["total"],
                        "tax": row["total_tax"],
                        "shipping": row["total_shipping"],
                        "shipping_tax": row["total_shipping_tax"],
                        "discount": row["total_discount"],
                        "discount_tax": row["total_discount_tax"],
                    },
                    "note": buyer.get("note"),
                    "extra": buyer.get("extra") or {},
                }
            )
            found[key] = Stored(_head(row), order)
        return found

    def _load_refunds(self, ids: list[UUID]) -> dict[UUID, Stored]:
        lines = self.grouped("refund_line", ids, "document_id, position")
        charges = self.grouped("document_charge", ids, "document_id, position")
        taxes = self._tax_index(ids)
        parties = self.parties(ids)
        found = {}
        for row in self.dicts("refund", "id", ids, "id"):
            key = row["id"]
            note = parties[key].get("refund", {})
            refund = Refund.model_validate(
                {
                    "external_id": row["external_id"],
                    "order_id": row["order_external_id"],
                    "order_number": row["order_number"],
                    "number": row["number"],
                    "channel": row["connection"],
                    "refunded_at": row["refunded_at"],
                    "refunded_on": row["refunded_on"],
                    "currency": row["currency"],
                    "amount": row["amount"],
                    "payment_method": row["payment_method"],
                    "reason": note.get("note"),
                    "extra": note.get("extra") or {},
                    "lines": [
                        _without(_with_taxes(x, taxes.get((key, "line", x["position"]))), "position")
                        for x in lines[key]
                    ],
                    "charges": [_charge(x, taxes.get((key, "charge", x["position"]))) for x in charges[key]],
                }
            )
            found[key] = Stored(_head(row), refund)
        return found

    def _load_customers(self, ids: list[UUID]) -> dict[UUID, Stored]:
        parties = self.parties(ids)
        consents = self.grouped("customer_consent", ids, "document_id, position")
        found = {}
        for row in self.dicts("customer", "id", ids, "id"):
            people = dict(parties[row["id"]])
            party = people.pop("party", {})
            customer = Customer.model_validate(
                {
                    "external_id": row["external_id"],
                    "account": row["account"],
                    "groups": row["groups"],
                    "price_list": row["price_list"],
                    "tax_exempt": row["tax_exempt"],
                    "consents": [_without(c, "position") for c in consents[row["id"]]],
                    "created_at": row["registered_at"],
                    "modified_at": row["modified_at"],
                    "origin_channel": row["connection"],
                    "party": _party_fields(party),
                    "addresses": [
                        _address_fields(people[role], role.split(":", 1)[1])
                        for role in sorted(people, key=lambda r: int(r.split(":", 1)[0]))
                    ],
                    "extra": party.get("extra") or {},
                }
            )
            found[row["id"]] = Stored(_head(row), customer)
        return found

    def _load_items(self, ids: list[UUID]) -> dict[UUID, Stored]:
        prices = self.grouped("item_price", ids, "document_id, position")
        found = {}
        for row in self.dicts("item", "id", ids, "id"):
            fields = {name: row[name] for name in Item.model_fields if name in row}
            item = Item.model_validate(fields | {"prices": [_without(p, "position") for p in prices[row["id"]]]})
            found[row["id"]] = Stored(_head(row), item)
        return found

    def _load_stock(self, ids: list[UUID]) -> dict[UUID, Stored]:
        found = {}
        for row in self.dicts("stock_level", "id", ids, "id"):
            fields = {name: row[name] for name in StockLevel.model_fields}
            found[row["id"]] = Stored(_head(row), StockLevel.model_validate(fields))
        return found

    def _tax_index(self, ids: list[UUID]) -> dict[tuple[UUID, str, int], list[dict[str, Any]]]:
        index: dict[tuple[UUID, str, int], list[dict[str, Any]]] = defaultdict(list)
        for row in self.dicts("document_tax", "document_id", ids, "document_id, owner, position, seq"):
            place = (row.pop("document_id"), row.pop("owner"), row.pop("position"))
            row.pop("seq")
            index[place].append(row)
        return index


def _stored(found: Iterable[tuple[dict[str, Any], Any]]) -> dict[UUID, Stored]:
    return {row["id"]: Stored(_head(row), document) for row, document in found}


def _party_fields(row: dict[str, Any]) -> dict[str, Any]:
    names = ("company", "first_name", "last_name", "email", "phone", "vat_id", "siren", "siret")
    return {
        "kind": row.get("kind") or "person",
        "languages": row.get("languages") or (),
        **{name: row.get(name) for name in names},
    }


def _address_fields(row: dict[str, Any] | None, role: str) -> dict[str, Any] | None:
    if row is None:
        return None
    names = (
        "company", "first_name", "last_name", "postcode", "city", "region", "country", "phone", "email", "pickup_point"
    )  # fmt: skip
    return {"role": role, "lines": row["lines"] or (), **{name: row[name] for name in names}}


def _with_taxes(row: dict[str, Any], taxes: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {**row, "taxes": taxes or ()}


def _charge(row: dict[str, Any], taxes: list[dict[str, Any]] | None) -> dict[str, Any]:
    return _without({**row, "taxes": taxes or ()}, "position")


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _head(row: dict[str, Any]) -> Head:
    return Head(
        record_id=row["id"],
        raw_id=row["raw_id"],
        connection=row["connection"],
        mapping_hash=row["mapping_hash"],
        rev=row["rev"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        before_cutover=bool(row.get("before_cutover", False)),
    )
