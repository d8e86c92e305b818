"""Links: which record of one connection is which of another, with evidence and the person or rule that decided.

A link stands in the direction of the route that made it and holds in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from comptoir.domain.matching import Keys, customer_keys, item_keys
from comptoir.model.refs import EntityName
from comptoir.store.database import Row, Session, lock_key

__all__ = ["LinkRow", "Links"]

_HEAD = {EntityName.ITEM: "item", EntityName.CUSTOMER: "customer"}


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One link or proposal as a person sees it."""

    id: UUID
    entity: str
    source: str
    source_id: UUID
    source_key: str
    source_name: str
    target: str
    target_id: UUID | None
    target_key: str | None
    target_name: str | None
    state: str
    score: float
    evidence: tuple[str, ...]
    note: str | None


class Links:
    """Links between the records of connections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def alone(self, entity: EntityName, one: str, other: str) -> None:
        """Until this transaction ends nobody else matches these two connections, in either direction."""
        first, second = lock_key(f"match:{entity.value}:" + ":".join(sorted((one, other))))
        self._session.row("select pg_advisory_xact_lock(%s, %s)", (first, second))

    # -- what can be matched -------------------------------------------------------------------------------------

    def newest(self, entity: EntityName, connections: Sequence[str]) -> tuple[datetime | None, int]:
        """When a record of these connections was last written, and how many there are.

        The number too: a new record's time is that of its reading, and another one may have been stored meanwhile.
        """
        row = self._session.row(
            f"select max(updated_at), count(*) from {_HEAD[entity]} where connection = any(%s)", (list(connections),)
        )
        return (row[0], row[1]) if row else (None, 0)

    def free(self, entity: EntityName, connection: str, other: str) -> list[Keys]:
        """The keys of a connection's records that have no link to the other connection.

        What we made at one of them from a record of the other is a key too.
        """
        rows = self._session.rows(
            f"select r.id, r.external_id, w.external_id, {_KEYS[entity]} from {_HEAD[entity]} r {_JOINS[entity]}"
            "left join binding w on w.record_id = r.id and w.connection = %(other)s and w.entity = %(entity)s "
            "and w.state = 'linked' where r.connection = %(connection)s and not exists (select 1 from record_link k "
            "where k.state = 'linked' and ((k.source_id = r.id and k.target = %(other)s) "
            "or (k.target_id = r.id and k.source = %(other)s))) and not exists "
            "(select 1 from binding g where g.record_id = r.id and g.connection = r.connection "
            "and g.state = 'tombstone') order by r.id",
            {"connection": connection, "other": other, "entity": entity.value},
        )
        make = _item if entity is EntityName.ITEM else _customer
        return [make(row, connection, other) for row in rows]

    def rejected(self, source: str, target: str) -> frozenset[tuple[Any, Any]]:
        """The pairs that a person has said are not the same."""
        rows = self._session.rows(
            "select source_id, target_id from record_link where source = %s and target = %s and state = 'rejected'",
            (source, target),
        )
        return frozenset((row[0], row[1]) for row in rows)

    # -- decisions -----------------------------------------------------------------------------------------------

    def link(self, rows: Sequence[Row], at: datetime) -> None:
        """Links by rule: (id, entity, source, source_id, target, target_id, evidence, score)."""
        self._replace_open([row[3] for row in rows], rows[0][4] if rows else "")
        # A link holds in both directions: what waited in the other one waits no longer.
        self._replace_open([row[5] for row in rows], rows[0][2] if rows else "")
        self._session.copy(
            "record_link",
            "id, entity, source, source_id, target, target_id, evidence, score, state, decided_by, created_at, "
            "decided_at",
            [(*row, "linked", "rule", at, at) for row in rows],
        )

    def took_many(self) -> None:
        """Tells the planner at once what was just linked.

        It learns of new rows by itself within a minute. Until then it takes these tables for nearly empty, and joins a
        hundred thousand links with a hundred thousand stocks row by row.
        """
        self._session.execute("analyze record_link, item, customer, stock_level")

    def suggest(self, rows: Sequence[Row], sources: Sequence[UUID], target: str, at: datetime) -> None:
        """Proposals for review: (id, entity, source, source_id, target, target_id, evidence, score, note).

        Earlier proposals of these sources that are not made again go; those that are keep their id.
        """
        pairs = [(row[3], row[5]) for row in rows]
        self._session.execute(
            "delete from record_link where target = %s and source_id = any(%s) and (state = 'unmatched' or "
            "(state = 'suggested' and (source_id, target_id) not in "
            "(select * from unnest(%s::uuid[], %s::uuid[]))))",
            (target, list(sources), [p[0] for p in pairs], [p[1] for p in pairs]),
        )
        for row in rows:
            self._session.execute(
                "insert into record_link (id, entity, source, source_id, target, target_id, evidence, score, note, "
                "state, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'suggested', %s) "
                "on conflict (source_id, target_id) where state <> 'broken' do update set "
                "evidence = excluded.evidence, score = excluded.score, note = excluded.note "
                "where record_link.state = 'suggested'",
                (*row, at),
            )

    def unmatched(self, rows: Sequence[Row], at: datetime) -> None:
        """Records without any candidate: (id, entity, source, source_id, target)."""
        if not rows:
            return
        self._session.execute(
            "delete from record_link where state = 'suggested' and target = %s and source_id = any(%s)",
            (rows[0][4], [row[3] for row in rows]),
        )
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
        self._session.execute(
            "insert into record_link (id, entity, source, source_id, target, state, created_at) "
            "select *, 'unmatched', %s from unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::text[]) "
            "on conflict (target, source_id) where state = 'unmatched' do nothing",
            (at, *columns),
        )

    def accept(self, link: LinkRow, by: str, at: datetime) -> None:
        """A person says that two records are the same: other proposals for the source go."""
        self._session.execute(
            "update record_link set state = 'linked', decided_by = %s, decided_at = %s where id = %s",
            (by, at, link.id),
        )
        self._replace_open([link.source_id], link.target)
        if link.target_id is not None:
            self._replace_open([link.target_id], link.source)

    def reject(self, link: LinkRow, by: str, at: datetime) -> None:
        """A person says that two records are not the same; a link that stood is undone."""
        self._session.execute(
            "update record_link set state = 'rejected', decided_by = %s, decided_at = %s where id = %s",
            (by, at, link.id),
        )
        # What was decided between the two and is not written yet must not be written any more.
        self._session.execute(
            "delete from publication where (record_id = %(a)s and target_id = %(b)s) "
            "or (record_id = %(b)s and target_id = %(a)s)",
            {"a": link.source_id, "b": link.target_id},
        )
        self._match_again(EntityName(link.entity), link.target)

    def connect(self, row: Row, at: datetime) -> None:
        """A person links two records that nothing proposed: (id, entity, source, source_id, target, target_id, by)."""
        self._replace_open([row[3]], row[4])
        self._replace_open([row[5]], row[2])
        self._session.execute(
            "insert into record_link (id, entity, source, source_id, target, target_id, decided_by, state, score, "
            "evidence, created_at, decided_at) values (%s, %s, %s, %s, %s, %s, %s, 'linked', 1, '{by hand}', %s, %s) "
            "on conflict (source_id, target_id) where state <> 'broken' do update set state = 'linked', "
            "decided_by = excluded.decided_by, decided_at = excluded.decided_at",
            (*row, at, at),
        )

    def _replace_open(self, sources: Sequence[UUID], target: str) -> None:
        self._session.execute(
            "delete from record_link where target = %s and source_id = any(%s) and state in ('suggested', 'unmatched')",
            (target, list(sources)),
        )

    def bury(self, entity: EntityName, connection: str, external_ids: Sequence[str]) -> int:
        """Records that do not exist on a connection any more: nothing is linked with them or written to them.

        Of a product all variations. One that is seen again lives again, whatever it holds. Returns how many there were.
        """
        below = " or product_id = any(%(ids)s)" if entity is EntityName.ITEM else ""
        rows = self._session.rows(
            f"select id, raw_id from {_HEAD[entity]} where connection = %(connection)s "
            f"and (external_id = any(%(ids)s){below})",
            {"connection": connection, "ids": list(external_ids)},
        )
        if not rows:
            return 0
        records = [row[0] for row in rows]
        self._session.execute(
            "update binding set state = 'tombstone' where record_id = any(%s) and connection = %s",
            (records, connection),
        )
        # So that it counts as changed when it is read again.
        self._session.execute(
            "update raw_record set fingerprint = ''::bytea where id = any(%s)", ([row[1] for row in rows],)
        )
        self._session.execute(
            "update record_link set state = 'broken' where state in ('linked', 'suggested') "
            "and (source_id = any(%(ids)s) or target_id = any(%(ids)s))",
            {"ids": records},
        )
        self._session.execute("delete from record_link where state = 'unmatched' and source_id = any(%s)", (records,))
        self._session.execute(
            "delete from publication where record_id = any(%(ids)s) or target_id = any(%(ids)s)", {"ids": records}
        )
        self._session.execute(
            "delete from said where connection = %s and entity = %s and external_id = any(%s)",
            (connection, entity.value, list(external_ids)),
        )
        self._match_again(entity, connection)
        return len(rows)

    def _match_again(self, entity: EntityName, connection: str) -> None:
        """The next run looks for matches again, though no record was written."""
        self._session.execute(
            "delete from cursor_position where entity = %s and scope like 'match:%%' "
            "and (connection = %s or scope = 'match:' || %s)",
            (entity.value, connection, connection),
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def owner_of(self, target_id: UUID | None) -> UUID | None:
        """Like `owner`; nothing owns nothing."""
        return None if target_id is None else self.owner(target_id)

    def records(self, entity: EntityName, connection: str, key: str) -> list[UUID]:
        """Records of a connection with this SKU or external id."""
        sku = "sku = %s or " if entity is EntityName.ITEM else ""
        parameters = (connection, *([key] if sku else []), key)
        rows = self._session.rows(
            f"select id from {_HEAD[entity]} where connection = %s and ({sku}external_id = %s)", parameters
        )
        return [row[0] for row in rows]

    def was_sent(self, record_id: UUID, target: str) -> bool:
        """Whether a record was planned for a target, whatever became of it."""
        row = self._session.row(
            "select exists (select 1 from delivery where record_id = %s and target = %s and state <> 'dead')",
            (record_id, target),
        )
        return bool(row and row[0])

    def owner(self, target_id: UUID) -> UUID | None:
        """The source record that a target record is linked to."""
        row = self._session.row(
            "select source_id from record_link where target_id = %s and state = 'linked'", (target_id,)
        )
        return row[0] if row else None

    def suggested(self) -> int:
        """How many proposals wait for a person."""
        row = self._session.row("select count(*) from record_link where state = 'suggested'")
        return int(row[0]) if row else 0

    def counts(self, entity: EntityName, source: str, target: str) -> dict[str, int]:
        """How many links and proposals there are, by state (a record with several candidates counts once)."""
        rows = self._session.rows(
            "select state, count(distinct source_id) from record_link where entity = %s and source = %s "
            "and target = %s group by state",
            (entity.value, source, target),
        )
        return {row[0]: int(row[1]) for row in rows}

    def to_create(self, entity: EntityName, source: str, target: str, limit: int) -> list[tuple[UUID, str]]:
        """Records without match that were never sent to the target: (id, key)."""
        key = "coalesce(r.sku, r.external_id)" if entity is EntityName.ITEM else "r.external_id"
        rows = self._session.rows(
            f"select r.id, {key} from record_link k join {_HEAD[entity]} r on r.id = k.source_id "
            "where k.entity = %s and k.source = %s and k.target = %s and k.state = 'unmatched' "
            "and not exists (select 1 from delivery d where d.record_id = r.id and d.target = k.target) "
            "order by r.id limit %s",
            (entity.value, source, target, limit),
        )
        return [(row[0], row[1]) for row in rows]

    def review(
        self, *, states: Sequence[str], target: str | None = None, entity: str | None = None, limit: int = 200
    ) -> list[LinkRow]:
        """Links and proposals, best evidence first."""
        return self._read(
            "k.state = any(%(states)s) and (%(target)s::text is null or k.target = %(target)s) "
            "and (%(entity)s::text is null or k.entity = %(entity)s)",
            {"states": list(states), "target": target, "entity": entity, "limit": limit},
        )

    def find(self, reference: str) -> list[LinkRow]:
        """Links and proposals whose id ends so, or whose source or target has this key (SKU or external id)."""
        tail = "".join(c for c in reference if c.isalnum() or c == "-")
        return self._read(
            "(k.id::text like %(tail)s or si.sku = %(ref)s or si.external_id = %(ref)s or ti.sku = %(ref)s "
            "or ti.external_id = %(ref)s or sc.external_id = %(ref)s or tc.external_id = %(ref)s)",
            {"tail": f"%{tail}", "ref": reference, "limit": 50},
        )

    def _read(self, condition: str, parameters: dict[str, Any]) -> list[LinkRow]:
        rows = self._session.rows(
            "select k.id, k.entity, k.source, k.source_id, coalesce(si.sku, si.external_id, sc.external_id, '?'), "
            "coalesce(si.name, '(customer)'), k.target, k.target_id, "
            "coalesce(ti.sku, ti.external_id, tc.external_id), coalesce(ti.name, case when tc.id is null then null "
            "else '(customer)' end), k.state, k.score, k.evidence, k.note from record_link k "
            "left join item si on si.id = k.source_id left join item ti on ti.id = k.target_id "
            "left join customer sc on sc.id = k.source_id left join customer tc on tc.id = k.target_id "
            f"where {condition} order by k.score desc, 5, k.id limit %(limit)s",
            parameters,
        )
        return [LinkRow(*(*row[:11], float(row[11]), tuple(row[12]), row[13])) for row in rows]


_KEYS = {
    EntityName.ITEM: "r.sku, r.gtins",
    EntityName.CUSTOMER: (
        "p.vat_id, p.siren, p.siret, p.email, p.phone, "
        "coalesce(p.company, concat_ws(' ', p.first_name, p.last_name)), a.postcode"
    ),
}
_JOINS = {
    EntityName.ITEM: "",
    EntityName.CUSTOMER: (
        "left join personal_party p on p.document_id = r.id and p.role = 'party' "
        "left join lateral (select postcode from personal_party x where x.document_id = r.id and x.role <> 'party' "
        "order by x.role limit 1) a on true "
    ),
}


def _written(own: str, made: str | None, connection: str, other: str) -> list[str]:
    found = [f"{connection}:{own}"]
    if made is not None:
        found.append(f"{other}:{made}")
    return found


def _item(row: Row, connection: str, other: str) -> Keys:
    record_id, own, made, sku, gtins = row
    return item_keys(record_id, sku, gtins, _written(own, made, connection, other))


def _customer(row: Row, connection: str, other: str) -> Keys:
    record_id, own, made, vat_id, siren, siret, email, phone, name, postcode = row
    return customer_keys(
        record_id, vat_id=vat_id, siren=siren, siret=siret, email=email, phone=phone, name=name, postcode=postcode,
        written=_written(own, made, connection, other),
    )  # fmt: skip
