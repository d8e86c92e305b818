"""Form: the rows that new and changed records become, from raw record to personal data.

What is formed through `Copies` is only written out, so new records can be formed before the transaction that stores
them; what is known already is formed inside it, where its revision is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from comptoir.domain.totals import compute_totals
from comptoir.engine.hub import Hub, Link
from comptoir.engine.policies import gate, is_before_cutover
from comptoir.errors import MappingError
from comptoir.model.base import Canonical
from comptoir.model.order import SalesOrder
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.database import Row, Session
from comptoir.store.documents import Documents, Head
from comptoir.store.records import Bindings, KnownRaw, RawRecords

__all__ = ["Changed", "Forming", "Fresh", "Parked"]


class Changed(NamedTuple):
    """A document that a batch makes or changes. `reason`: why it is not passed on (yet).

    `document` is None where nothing more is asked of it: so a first import holds one at a time.
    """

    record_id: UUID
    external_id: str
    number: str
    reason: str | None
    document: Any
    is_new: bool
    before_cutover: bool


class Fresh(NamedTuple):
    """A record that is new or changed: what is kept of it, and what it became or why it could not be mapped."""

    item: RawItem
    fingerprint: bytes
    kept: bytes
    made: Any


class Parked(NamedTuple):
    """A record that could not be mapped, with the document that an earlier version of it became."""

    external_id: str
    error: MappingError
    record_id: UUID | None


class Forming:
    """Makes the rows of one entity's records and copies them to a session; rows of an earlier revision are replaced.

    `changed`, `parked` and `retried` (set aside before, and mapped now) are what they leave to be done in their
    transaction.
    """

    def __init__(self, hub: Hub, link: Link, session: Session, entity: EntityName, now: datetime) -> None:
        self._vault = hub.vault
        self._new_id = hub.ports.ids.new
        self._link = link
        self._entity = entity
        self._mapping_hash = hub.mapping(link.manifest.key, entity, "in").hash
        self._now = now
        self._stamp = now.isoformat()  # written once, not once a row
        self._raw = RawRecords(session)
        self._documents = Documents(session)
        self._bindings = Bindings(session)
        self._add_document = _adder(self._documents, entity)
        self._inserted: list[Row] = []
        self._replaced: list[Row] = []
        self._links: list[Row] = []
        self._bodies: list[bytes] = []
        self._heads: list[tuple[UUID, int]] = []
        self.changed: list[Changed] = []
        self.parked: list[Parked] = []
        self.retried: list[str] = []

    def new(self, fresh: Sequence[Fresh]) -> None:
        """Records that were never received before."""
        for one in fresh:
            self._form(one, None, None)

    def write(self) -> None:
        """Copies the rows of the documents that were formed until now."""
        self._documents.flush()

    def known(self, fresh: Sequence[tuple[Fresh, KnownRaw]]) -> None:
        """Records that were received before; inside the transaction that stores them."""
        ids = [earlier.record_id for _, earlier in fresh if earlier.record_id is not None]
        revisions = self._documents.revisions(self._entity, ids) if ids else {}
        for one, earlier in fresh:
            self._form(one, earlier, revisions.get(earlier.record_id) if earlier.record_id is not None else None)

    def _form(self, fresh: Fresh, earlier: KnownRaw | None, revision: tuple[int, datetime] | None) -> None:
        item, print_, kept, document = fresh
        entity, name, stamp = self._entity, self._link.name, self._stamp
        if earlier is None:
            raw_id, record_id, version = self._new_id(), None, 1
        else:
            raw_id, record_id, version = earlier.raw_id, earlier.record_id, earlier.version + 1
        state = "mapped"
        if isinstance(document, MappingError):
            state = "parked"
            self.parked.append(Parked(item.external_id, document, record_id))
        else:
            is_new = record_id is None
            record_id = record_id or self._new_id()
            rev, created = revision or (0, self._now)
            before = is_before_cutover(document, self._link.cutover)
            head = Head(record_id, raw_id, name, self._mapping_hash, rev + 1, created, self._now, before)
            self._add_document(document, head)
            asked = document if entity is EntityName.REFUND or not is_new else None
            self.changed.append(
                Changed(record_id, item.external_id, _number(document), gate(document), asked, is_new, before)
            )
            if is_new:
                self._links.append(
                    (self._new_id(), record_id, name, entity.value, item.external_id, "linked", stamp, stamp)
                )
            if earlier is not None and earlier.state == "parked":
                self.retried.append(item.external_id)
        if earlier is None or earlier.fingerprint != print_ or earlier.state != state:
            row = (
                raw_id, name, entity.value, item.external_id, print_, state, record_id, version, item.modified_at,
                stamp,
            )  # fmt: skip
            (self._inserted if earlier is None else self._replaced).append(row)
            self._bodies.append(kept)
            self._heads.append((raw_id, version))

    def finish(self) -> None:
        """Copies all that is left but the payloads."""
        raw = self._raw
        raw.insert(self._inserted)
        raw.replace(self._replaced)
        if self._replaced:
            ids = [row[6] for row in self._replaced if row[6] is not None]
            self._bindings.revive(self._link.name, self._entity, ids)
        self._bindings.link_new(self._links)
        self._documents.flush()
        self._inserted, self._replaced, self._links = [], [], []

    def seal(self) -> None:
        """Seals the payloads and copies them.

        A step of its own, for the thread that stores: compression leaves Python's lock to the one that forms.
        """
        key_id, bodies = self._vault.seal(self._bodies, self._now)
        stamp = self._stamp
        self._raw.payloads([(*head, stamp, key_id, body) for head, body in zip(self._heads, bodies, strict=True)])
        self._bodies, self._heads = [], []


def _number(document: Canonical) -> str:
    number = getattr(document, "number", None) or getattr(document, "external_id", "")
    return str(number)


def _adder(documents: Documents, entity: EntityName) -> Callable[[Any, Head], None]:
    """What queues a document of this entity; the mapping has made it of the entity's own model."""

    def add_order(order: SalesOrder, head: Head) -> None:
        totals = compute_totals(order)
        documents.add_order(order, head, totals.total, totals.residual, totals.cause)

    adders: dict[EntityName, Callable[[Any, Head], None]] = {
        EntityName.ORDER: add_order,
        EntityName.REFUND: documents.add_refund,
        EntityName.CUSTOMER: documents.add_customer,
        EntityName.ITEM: documents.add_item,
        EntityName.STOCK: documents.add_stock,
        EntityName.PAYOUT: documents.add_payout,
        EntityName.Z_REPORT: documents.add_z_report,
        EntityName.SUPPLIER_INVOICE: documents.add_supplier_invoice,
    }
    return adders[entity]
