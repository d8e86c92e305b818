"""History: everything the store knows about one record, as dated facts. Reads only; holds no personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from comptoir.store.database import Session

__all__ = ["Fact", "History", "Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A record that a person asked for."""

    record_id: UUID
    entity: str
    connection: str
    external_id: str
    number: str


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, by a word that the texts know, with what they need to say it."""

    at: datetime
    what: str
    about: dict[str, Any] = field(default_factory=dict)


class History:
    """What came from where, what was decided, what was sent, what was answered."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, reference: str) -> list[Subject]:
        """Records known under an order or refund number, an external id, a SKU or an e-mail address."""
        rows = self._session.rows(
            "select id, 'order', connection, external_id, number from sales_order "
            "where number = %(r)s or external_id = %(r)s "
            "union select id, 'refund', connection, external_id, number from refund "
            "where number = %(r)s or external_id = %(r)s "
            "union select id, 'customer', connection, external_id, external_id from customer where external_id = %(r)s "
            "union select id, 'item', connection, external_id, coalesce(sku, external_id) from item "
            "where sku = %(r)s or external_id = %(r)s "
            "union select o.id, 'order', o.connection, o.external_id, o.number from sales_order o "
            "join order_line l on l.document_id = o.id where l.sku = %(r)s "
            "union select o.id, 'order', o.connection, o.external_id, o.number from sales_order o "
            "join personal_party p on p.document_id = o.id where lower(p.email) = lower(%(r)s) "
            "union select c.id, 'customer', c.connection, c.external_id, c.external_id from customer c "
            "join personal_party p on p.document_id = c.id where lower(p.email) = lower(%(r)s) "
            "union select o.id, 'order', o.connection, o.external_id, o.number from sales_order o "
            "join delivery d on d.record_id = o.id where d.natural_key = %(r)s or d.external_id = %(r)s "
            "union select id, 'payout', connection, external_id, number from payout "
            "where number = %(r)s or external_id = %(r)s "
            "union select id, 'z_report', connection, external_id, number from z_report "
            "where number = %(r)s or external_id = %(r)s "
            "union select id, 'supplier_invoice', connection, external_id, number from supplier_invoice "
            "where number = %(r)s or external_id = %(r)s "
            "order by 2, 3, 4 limit 50",
            {"r": reference},
        )
        found = [Subject(*row) for row in rows]
        return found or self._parked(reference)

    def _parked(self, reference: str) -> list[Subject]:
        """Records that never became a document: they wait in quarantine."""
        rows = self._session.rows(
            "select id, entity, connection, external_id, external_id from raw_record "
            "where external_id = %s and state = 'parked' limit 50",
            (reference,),
        )
        return [Subject(*row) for row in rows]

    def of(self, subject: Subject) -> list[Fact]:
        """Everything known about one record, oldest first."""
        facts = [
            *self._received(subject),
            *self._deliveries(subject),
            *self._outcomes(subject),
            *self._quarantine(subject),
            *self._entries(subject),
            *self._refunds(subject),
            *self._opening(subject),
            *self._hints(subject),
            *self._links(subject),
            *self._writes(subject),
            *self._publications(subject),
        ]
        return sorted(facts, key=lambda f: f.at)

    def _rows(self, query: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return self._session.rows(query, parameters)

    def _received(self, s: Subject) -> list[Fact]:
        rows = self._rows(
            "select p.received_at, p.version from raw_record r join raw_payload p on p.raw_id = r.id "
            "where r.connection = %s and r.entity = %s and r.external_id = %s",
            s.connection, s.entity, s.external_id,
        )  # fmt: skip
        return [
            Fact(at, "received" if version == 1 else "changed", {"connection": s.connection, "version": version})
            for at, version in rows
        ]

    def _deliveries(self, s: Subject) -> list[Fact]:
        facts: list[Fact] = []
        for row in self._rows(
            "select target, action, state, outcome, natural_key, external_id, reason, attempt, created_at, sent_at, "
            "settled_at, due_at from delivery where record_id = %s order by id",
            s.record_id,
        ):
            target, action, state, outcome, key, external_id, reason, attempt, created, sent, settled, due = row
            about = {
                "target": target, "action": action, "key": key, "external_id": external_id,
                "reason": reason, "attempt": attempt,
            }  # fmt: skip
            facts.append(Fact(created, "planned", about))
            if sent is not None:
                facts.append(Fact(sent, "sent", about))
            if settled is not None:
                facts.append(Fact(settled, {"confirmed": f"confirmed_{outcome}"}.get(state, "refused"), about))
            elif state in ("held", "in_doubt") or (state == "pending" and reason):
                facts.append(Fact(max(created, sent or created), f"waits_{state}", {**about, "due": due}))
        return facts

    def _outcomes(self, s: Subject) -> list[Fact]:
        rows = self._rows(
            "select r.started_at, o.outcome, o.reason from outcome o join run r on r.id = o.run_id "
            "where o.connection = %s and o.entity = %s and o.external_id = %s and o.outcome = 'skipped'",
            s.connection, s.entity, s.external_id,
        )  # fmt: skip
        return [Fact(at, outcome, {"reason": reason}) for at, outcome, reason in rows]

    def _quarantine(self, s: Subject) -> list[Fact]:
        facts: list[Fact] = []
        for cause, message, hint, state, because, first, last in self._rows(
            "select cause, message, hint, state, resolved_because, first_seen, last_seen from quarantine "
            "where (connection = %s and entity in (%s, 'journal_entry') and external_id = %s) or record_id = %s",
            s.connection, s.entity, s.external_id, s.record_id,
        ):  # fmt: skip
            facts.append(Fact(first, "parked", {"cause": cause, "message": message, "hint": hint or ""}))
            if state == "resolved":
                facts.append(Fact(last, "resolved", {"because": because}))
        return facts

    def _entries(self, s: Subject) -> list[Fact]:
        rows = self._rows(
            "select j.created_at, j.kind, j.piece, j.journal, j.total, j.currency, d.target, d.state, d.settled_at "
            "from journal_entry j left join delivery d on d.record_id = j.id where j.document_id = %s order by j.seq",
            s.record_id,
        )
        facts: list[Fact] = []
        for at, kind, piece, journal, total, currency, target, state, settled in rows:
            about = {"kind": kind, "piece": piece, "journal": journal, "total": total, "currency": currency}
            facts.append(Fact(at, "booked", about))
            if state == "confirmed" and settled is not None:
                facts.append(Fact(settled, "entry_sent", {**about, "target": target}))
        return facts

    def _refunds(self, s: Subject) -> list[Fact]:
        if s.entity != "order":
            return []
        rows = self._rows(
            "select refunded_at, number, amount, currency from refund where connection = %s and order_external_id = %s",
            s.connection, s.external_id,
        )  # fmt: skip
        return [Fact(at, "refunded", {"number": n, "amount": a, "currency": c}) for at, n, a, c in rows]

    def _opening(self, s: Subject) -> list[Fact]:
        rows = self._rows(
            "select listed_at, names from opening_item where connection = %s and entity = %s and external_id = %s",
            s.connection, s.entity, s.external_id,
        )  # fmt: skip
        return [Fact(at, "opening", {"names": names}) for at, names in rows]

    def _hints(self, s: Subject) -> list[Fact]:
        rows = self._rows(
            "select received_at, kind, done_at, outcome from inbox where connection = %s and entity = %s "
            "and external_id = %s order by id",
            s.connection, s.entity, s.external_id,
        )  # fmt: skip
        facts: list[Fact] = []
        for received, kind, done, outcome in rows:
            facts.append(Fact(received, "hinted", {"connection": s.connection, "kind": kind}))
            if done is not None and outcome in ("unchanged", "gone", "loop", "older"):
                facts.append(Fact(done, f"hint_{outcome}", {"connection": s.connection}))
        return facts

    def _links(self, s: Subject) -> list[Fact]:
        """Which record of the other side it is, or could be."""
        if s.entity not in ("item", "customer"):
            return []
        rows = self._rows(
            "select k.state, k.evidence, k.note, k.decided_by, coalesce(k.decided_at, k.created_at), "
            "case when k.source_id = %s then k.target else k.source end, "
            f"o.external_id from record_link k left join {s.entity} o "
            "on o.id = case when k.source_id = %s then k.target_id else k.source_id end "
            "where (k.source_id = %s or k.target_id = %s) order by k.created_at",
            s.record_id, s.record_id, s.record_id, s.record_id,
        )  # fmt: skip
        return [
            Fact(
                at,
                f"link_{state}" if by in (None, "rule") else f"link_{state}_by_hand",
                {"other": other, "external_id": external_id, "evidence": ", ".join(evidence), "note": note, "by": by},
            )
            for state, evidence, note, by, at, other, external_id in rows
        ]

    def _writes(self, s: Subject) -> list[Fact]:
        rows = self._rows(
            "select at, target, entity, before, after from write_log where record_id = %s "
            "or (target = %s and external_id = %s and (entity = %s or (entity = 'stock' and %s = 'item'))) order by at",
            s.record_id, s.connection, s.external_id, s.entity, s.entity,
        )  # fmt: skip
        return [
            Fact(at, "written", {"target": target, "changes": _changes(before, after)})
            for at, target, _entity, before, after in rows
        ]

    def _publications(self, s: Subject) -> list[Fact]:
        """Values that are not written yet."""
        rows = self._rows(
            "select wanted_at, target, state, known, wanted, keys, reason, due_at, entity from publication "
            "where (record_id = %s or target_id = %s) and state <> 'done'",
            s.record_id, s.record_id,
        )  # fmt: skip
        facts = []
        for at, target, state, known, wanted, keys, reason, due, entity in rows:
            private = entity == "customer"
            before = None if private else {key: known.get(key) for key in keys}
            after = dict.fromkeys(keys, "") if private else {key: wanted.get(key) for key in keys}
            about = {"target": target, "changes": _changes(before, after), "reason": reason, "due": due}
            facts.append(Fact(at, f"value_{state}", about))
        return facts


def _changes(before: dict[str, Any] | None, after: dict[str, Any]) -> str:
    """`price: 12.00 -> 13.20`; of personal values only the names."""
    if before is None:
        return ", ".join(after)
    return ", ".join(f"{key}: {_word(before.get(key))} -> {_word(value)}" for key, value in after.items())


def _word(value: Any) -> str:
    return "?" if value is None else str(value)
