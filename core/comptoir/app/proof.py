"""The penny proof of what is stored: one order step by step, or everything that was booked, streaming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from comptoir.app.bootstrap import open_hub
from comptoir.domain.clearing import REASONS
from comptoir.domain.proof import Finding, ProofSheet, compare, explain
from comptoir.engine.called_for import called_for
from comptoir.engine.held_back import prove_stored
from comptoir.engine.hub import BOOKED, Hub
from comptoir.engine.render import render
from comptoir.errors import ComptoirError, ConfigError, MappingError
from comptoir.model.accounting import JournalEntry
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import PushBatch, PushOp, ReadsBack
from comptoir.store.clearings import Clearings, OpenWithCustomers, ProviderAccount
from comptoir.store.database import Session
from comptoir.store.documents import Documents, Stored
from comptoir.store.handovers import HandoverRow, Handovers
from comptoir.store.history import History
from comptoir.store.journal import Journal
from comptoir.store.outbox import Outbox

__all__ = ["BooksProof", "OrderProof", "Wrong", "prove_books", "prove_everything", "prove_orders", "settled_as_a_whole"]

#: Documents looked at together: what is held in memory at a time.
_BATCH = 300
#: How many wrong documents, entries or lines of files are told one by one; all are counted.
_TOLD = 200


@dataclass(frozen=True, slots=True)
class OrderProof:
    """The proof of one order of one connection."""

    connection: str
    external_id: str
    sheet: ProofSheet

    @property
    def state(self) -> str:
        """`proved`, or `unexplained`."""
        return "proved" if self.sheet.proved else "unexplained"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; amounts are texts, so that no cent is lost on the way."""
        sheet = self.sheet
        return {
            "connection": self.connection,
            "external_id": self.external_id,
            "order": sheet.order,
            "currency": sheet.currency,
            "state": self.state,
            "residual": str(sheet.residual),
            "steps": [
                {
                    "step": step.name,
                    "amount": None if step.amount is None else str(step.amount),
                    "expected": str(step.expected),
                    "difference": str(step.difference),
                    "findings": [
                        {"where": f.where, "amount": str(f.amount), "message": f.message, "explained": f.explained}
                        for f in step.findings
                    ],
                }
                for step in sheet.steps
            ],
            "explanation": explain(sheet),
        }


@dataclass(frozen=True, slots=True)
class Wrong:
    """A document with a cent that is not explained; `amount` is the sum of its differences without regard to sign."""

    entity: EntityName
    connection: str
    number: str
    amount: Decimal
    currency: str
    explanation: Sequence[str]


@dataclass(slots=True)
class BooksProof:
    """Everything that was booked, added up.

    `documents` and `unexplained` count by entity; `wrong` are the first of those that do not add up. `foreign`:
    entries that belong to no document, or are not the sum of their day; `files`: what files that were handed over say
    otherwise now. `customers`: what is open on their accounts, which is no fault. `notes`: what could not be looked at.
    """

    documents: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)
    residual: dict[str, Decimal] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    providers: list[ProviderAccount] = field(default_factory=list)
    customers: list[OpenWithCustomers] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def proved(self) -> bool:
        """Not one cent is unexplained, anywhere."""
        return not (
            self.unexplained or self.foreign or self.files or any(account.unexplained for account in self.providers)
        )

    def violations(self) -> list[str]:
        """What is not explained, a sentence each."""
        return [
            *(f"{w.entity.value} {w.number} of {w.connection}: {words}" for w in self.wrong for words in w.explanation),
            *self.foreign,
            *self.files,
            *(
                f"account {a.account} of {a.provider}: {a.unexplained} of {a.balance} has no reason"
                for a in self.providers
                if a.unexplained
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; amounts are texts."""
        return {
            "state": "proved" if self.proved else "unexplained",
            "documents": dict(self.documents),
            "unexplained": dict(self.unexplained),
            "residual": {currency: str(amount) for currency, amount in self.residual.items()},
            "accounts": [
                {
                    "provider": a.provider,
                    "account": a.account,
                    "balance": str(a.balance),
                    "unexplained": str(a.unexplained),
                    "reasons": [
                        {
                            "reason": r.reason,
                            "meaning": REASONS[r.reason],
                            "documents": r.documents,
                            "amount": str(r.amount),
                            "largest": list(r.largest),
                        }
                        for r in a.reasons
                    ],
                }
                for a in self.providers
            ],
            "customers": [
                {
                    "account": c.account,
                    "documents": c.documents,
                    "amount": str(c.amount),
                    "largest": list(c.largest),
                }
                for c in self.customers
            ],
            "explanation": self.violations(),
            "notes": self.notes,
        }

    def add(self, one: Stored, entity: EntityName, findings: Sequence[Finding], words: Sequence[str]) -> None:
        """Counts a document with what is not explained of it."""
        self.documents[entity.value] += 1
        if not words:
            return
        self.unexplained[entity.value] += 1
        currency = one.document.currency
        amount = sum((abs(f.amount) for f in findings if not f.explained), Decimal(0))
        self.residual[currency] = self.residual.get(currency, Decimal(0)) + amount
        if len(self.wrong) < _TOLD:
            number = str(one.document.number)
            self.wrong.append(Wrong(entity, one.head.connection, number, amount, currency, tuple(words)))


def prove_orders(config: Path, reference: str) -> list[OrderProof]:
    """The proofs of every order that `reference` names (order number, external id, SKU, e-mail address).

    Raises ConfigError when no order is known under it.
    """
    with open_hub(config) as hub, hub.database.transaction() as session:
        subjects = [s for s in History(session).find(reference) if s.entity == EntityName.ORDER.value]
        stored = Documents(session).load(EntityName.ORDER, [s.record_id for s in subjects])
        if not stored:
            raise ConfigError(
                f"no order is known under {reference!r}",
                hint="Give an order number, an external id, a SKU or an e-mail address; `comptoir journey` tells what "
                "else is known of it.",
                code="not_found",
            )
        posted = Journal(session).of_documents(list(stored))
        return [
            OrderProof(one.head.connection, one.document.external_id, sheet)
            for one, sheet in prove_stored(hub, session, list(stored.values()), posted, payouts=True)
        ]


def prove_everything(config: Path) -> BooksProof:
    """`prove_books` of a configuration."""
    with open_hub(config) as hub:
        return prove_books(hub)


def prove_books(hub: Hub) -> BooksProof:
    """Adds up everything that was booked: every document against the journal, the journal against documents and files,
    and the account of each gateway and marketplace.

    Some hundred documents are held at a time, whatever the size of the store. What waits to be booked, or cannot be and
    is parked, is no fault here. Reads only.
    """
    proof = BooksProof()
    for entity in BOOKED:
        after: UUID | None = None
        while True:
            with hub.database.transaction() as session:
                ids = Documents(session).ids_after(entity, list(hub.links), after, _BATCH)
                _documents(hub, session, entity, ids, proof)
            if len(ids) < _BATCH:
                break
            after = ids[-1]
    with hub.database.transaction() as session:
        for key, day, amount, currency in Journal(session).without_document(_TOLD):
            proof.foreign.append(f"entry {key} of {day}, {amount} {currency}, belongs to no document")
        for key, account, theirs, ours, currency in Journal(session).wrong_summaries(_TOLD):
            proof.foreign.append(
                f"entry {key}, account {account}: {theirs} is posted and its entries give {ours} ({theirs - ours:+f} "
                f"{currency})"
            )
        today = hub.today
        for name in Clearings(session).providers():
            provider = hub.accounts.on(today).providers.get(name)
            if provider is not None:
                proof.providers.append(Clearings(session).state(name, provider, today))
        proof.customers += Clearings(session).customers(today, today, settled_as_a_whole(hub))
    _files(hub, proof)
    return proof


def settled_as_a_whole(hub: Hub) -> list[str]:
    """The accounts of customers whose payments come in settlements: no order is paid there by itself."""
    accounts = hub.accounts.on(hub.today)
    channels = [p.channel for p in accounts.providers.values() if p.clears == "payouts" and p.channel is not None]
    return [accounts.channel(name).customer_account for name in channels]


def _documents(hub: Hub, session: Session, entity: EntityName, ids: Sequence[UUID], proof: BooksProof) -> None:
    journal = Journal(session)
    stored = list(Documents(session).load(entity, ids).values())
    posted = journal.of_documents(ids)
    waiting = journal.not_derived(ids)
    wanted = called_for(hub, session, entity, stored)
    booked = [one for one in stored if one.head.record_id in posted]
    sheets: Mapping[UUID, ProofSheet] = {}
    if entity is EntityName.ORDER:
        sheets = {s.head.record_id: sheet for s, sheet in prove_stored(hub, session, booked, posted, payouts=True)}
    for one in stored:
        key = one.head.record_id
        if key in waiting or (key not in posted and entity not in hub.link(one.head.connection).booked):
            continue
        if key in sheets:
            sheet = sheets[key]
            proof.add(one, entity, [f for step in sheet.steps for f in step.findings], explain(sheet))
            continue
        entries: Sequence[JournalEntry] = posted.get(key, [])
        try:
            findings = compare(wanted(one), entries)
        except MappingError as error:
            findings = [Finding(error.field or entity.value, Decimal(0), error.message)]
        words = [f"posted: {f.where}: {f.message} ({f.amount:+f} {one.document.currency})" for f in findings]
        proof.add(one, entity, findings, words)


def _files(hub: Hub, proof: BooksProof) -> None:
    """What files of entries that nobody has taken yet say otherwise than what was handed over."""
    entity, after = EntityName.JOURNAL_ENTRY, None
    unread: set[str] = set()
    while True:
        with hub.database.transaction() as session:
            batches = Handovers(session).of_entity(entity.value, after, _BATCH)
        for batch in batches:
            if batch.target not in hub.links or batch.target in unread:
                continue
            try:
                said = _said(hub, batch)
            except ComptoirError as error:  # paused, or its folder is away: that is no fault of the books
                unread.add(batch.target)
                proof.notes.append(f"the files of {batch.target} could not be read: {error.message}")
                continue
            proof.files += [f"{batch.target}: {words}" for words in said[: _TOLD - len(proof.files)]]
        if len(batches) < _BATCH:
            return
        after = batches[-1].id


def _said(hub: Hub, batch: HandoverRow) -> Sequence[str]:
    """What the files of a batch say otherwise; its entries are only loaded where one was changed."""
    connector = hub.link(batch.target).open()
    entity = EntityName.JOURNAL_ENTRY
    if not isinstance(connector, ReadsBack) or not connector.read_back(PushBatch(str(batch.id), entity, ())):
        return ()
    return connector.read_back(PushBatch(str(batch.id), entity, _handed(hub, batch)))


def _handed(hub: Hub, batch: HandoverRow) -> list[PushOp]:
    """What a batch was made of, rendered as it was."""
    entity = EntityName.JOURNAL_ENTRY
    with hub.database.transaction() as session:
        rows = Outbox(session).in_batch(batch.id)
        entries = Journal(session).load([record_id for _, record_id, *_ in rows])
    return [
        PushOp(
            str(delivery), entity, "create", key,
            render(hub, batch.target, source, entity, entries[record_id]).payload, content_hash,
        )
        for delivery, record_id, source, key, content_hash in rows
    ]  # fmt: skip
