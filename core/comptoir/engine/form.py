"""Form: the rows that new and changed records become, from raw record to personal data.

New records are mapped and written out by a `Former`, before the transaction that stores them and beside the one of the
batch before; in a first import by another process. What is known already is formed inside the transaction, where its
revision is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from comptoir.domain.totals import compute_totals
from comptoir.engine.fingerprint import kept_item
from comptoir.engine.hub import Hub, Link
from comptoir.engine.policies import gate, is_before_cutover
from comptoir.errors import MappingError
from comptoir.mapping import Mapping
from comptoir.model.base import Canonical
from comptoir.model.order import SalesOrder
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.database import Copies, CopyText, Row, Session
from comptoir.store.documents import Documents, Head
from comptoir.store.records import Bindings, KnownRaw, RawRecords

__all__ = ["Changed", "Formed", "Former", "Forming", "Fresh", "Job", "Parked", "Received"]

#: Records that go through the steps together. Step by step and not record by record, because the code of one step stays
#: in the processor's cache; few, because the records stay there too until the last step (a tenth of the time each,
#: measured with orders).
_TOGETHER = 16


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


class Received(NamedTuple):
    """A record that is new or changed, and what is kept of it (see `Rendered.kept`)."""

    item: RawItem
    fingerprint: bytes
    kept: bytes


class Fresh(NamedTuple):
    """A record that is new or changed, and what it became or why it could not be mapped."""

    received: Received
    made: Any


class Parked(NamedTuple):
    """A record that could not be mapped, with the document that an earlier version of it became."""

    external_id: str
    error: MappingError
    record_id: UUID | None


@dataclass(frozen=True, slots=True)
class Job:
    """New records of one entity that were received at a moment. To another process goes what is kept of them."""

    entity: EntityName
    at: datetime
    records: Sequence[Received]

    def __reduce__(self) -> tuple[Any, ...]:
        kept = [(one.item.external_id, one.item.modified_at, one.fingerprint, one.kept) for one in self.records]
        return _job_of_kept, (self.entity.value, self.at, kept)


def _job_of_kept(entity: str, at: datetime, kept: list[tuple[str, datetime | None, bytes, bytes]]) -> Job:
    name = EntityName(entity)
    return Job(
        name,
        at,
        [
            Received(kept_item(name, external_id, modified_at, body), fingerprint, body)
            for external_id, modified_at, fingerprint, body in kept
        ],
    )


@dataclass(frozen=True, slots=True)
class Formed:
    """What a job became: rows as COPY's text, each record's raw id and version in turn, and what is left to be done."""

    texts: CopyText
    heads: list[tuple[UUID, int]]
    changed: list[Changed]
    parked: list[Parked]


class Former:
    """Maps records of one connection and forms the rows of those that are new.

    It asks neither the database nor anybody else: the same job is the same work wherever it is done.
    """

    def __init__(self, hub: Hub, link: Link) -> None:
        self._hub = hub
        self._link = link
        self._context = hub.context(link.name, link)
        self._copying = hub.database.copying()

    def form(self, job: Job) -> Formed:
        """The rows of a job's records."""
        copies = Copies(self._copying)
        forming = Forming(self._hub, self._link, copies, job.entity, job.at)
        for start in range(0, len(job.records), _TOGETHER):
            forming.new(self.made(job.entity, job.records[start : start + _TOGETHER]))
        forming.finish()
        return Formed(copies.texts, forming.heads, forming.changed, forming.parked)

    def made(self, entity: EntityName, records: Sequence[Received]) -> list[Fresh]:
        """The records with the documents that they become, or why there is none."""
        mapping = self._hub.mapping(self._link.manifest.key, entity, "in")
        mapped = [self._applied(mapping, one.item) for one in records]
        documents = [one if isinstance(one, MappingError) else _validated(mapping, one) for one in mapped]
        return [Fresh(one, document) for one, document in zip(records, documents, strict=True)]

    def _applied(self, mapping: Mapping, item: RawItem) -> Any:
        if item.fault is not None:
            hint = "Correct it at its source: it is read again from there."
            return MappingError(item.fault, hint=hint, code="unreadable")
        try:
            return mapping.apply(item.payload, self._context, parent=item.parent)
        except MappingError as error:
            return error


def _validated(mapping: Mapping, mapped: dict[str, Any]) -> Any:
    try:
        return mapping.validated(mapped)
    except MappingError as error:
        return error


class Forming:
    """Makes the rows of one entity's records and copies them to a session; rows of an earlier revision are replaced.

    `changed`, `parked` and `retried` (set aside before, and mapped now) are what they leave to be done in their
    transaction; `heads` are raw id and version of what is `kept`: the payloads are not among the rows.
    """

    def __init__(self, hub: Hub, link: Link, session: Session, entity: EntityName, now: datetime) -> None:
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
        self.heads: list[tuple[UUID, int]] = []
        self.kept: list[bytes] = []
        self.changed: list[Changed] = []
        self.parked: list[Parked] = []
        self.retried: list[str] = []

    def new(self, fresh: Sequence[Fresh]) -> None:
        """Records that were never received before."""
        for one in fresh:
            self._form(one, None, None)

    def known(self, fresh: Sequence[tuple[Fresh, KnownRaw]]) -> None:
        """Records that were received before; inside the transaction that stores them."""
        ids = [earlier.record_id for _, earlier in fresh if earlier.record_id is not None]
        revisions = self._documents.revisions(self._entity, ids) if ids else {}
        for one, earlier in fresh:
            self._form(one, earlier, revisions.get(earlier.record_id) if earlier.record_id is not None else None)

    def _form(self, fresh: Fresh, earlier: KnownRaw | None, revision: tuple[int, datetime] | None) -> None:
        (item, print_, _), document = fresh
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
            self.heads.append((raw_id, version))
            self.kept.append(fresh.received.kept)

    def finish(self) -> None:
        """Copies the rows."""
        raw = self._raw
        raw.insert(self._inserted)
        raw.replace(self._replaced)
        if self._replaced:
            ids = [row[6] for row in self._replaced if row[6] is not None]
            self._bindings.revive(self._link.name, self._entity, ids)
        self._bindings.link_new(self._links)
        self._documents.flush()
        self._inserted, self._replaced, self._links = [], [], []


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
