"""The batch ledger: what was handed over in files, whether it was taken, and taking a batch back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from comptoir.domain.corrections import base_key
from comptoir.engine.hub import Hub, Link
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import BatchFiles, HandsOver
from comptoir.store.agents import Agents
from comptoir.store.database import Session
from comptoir.store.handovers import HandoverRow, Handovers
from comptoir.store.journal import Dirty, Journal
from comptoir.store.outbox import Outbox, new_delivery
from comptoir.store.records import Bindings

__all__ = ["look_after_batches", "note_batch", "withdraw_batches"]

#: States of a batch at a machine in which its file may still be imported there.
_HELD = ("claimed", "importing", "unclear", "refused")


def note_batch(
    session: Session, link: Link, batch: UUID, entity: EntityName, deliveries: Sequence[UUID], at: datetime
) -> None:
    """Enters what was written into a file, in the transaction in which that is known."""
    if deliveries and link.manifest.acknowledges:
        Handovers(session).note(batch, link.name, entity.value, deliveries, at)


def look_after_batches(hub: Hub, target: str) -> list[HandoverRow]:
    """Asks a target's connector which batches were taken meanwhile; those that still wait, oldest first.

    Raises what the connector raises when its folder cannot be read.
    """
    with hub.database.errors():
        waiting = Handovers(hub.database.session()).waiting(target)
    if not waiting:
        return []
    connector = hub.link(target).open()
    if not isinstance(connector, HandsOver):
        return waiting
    states: dict[UUID, BatchFiles | None] = {row.id: connector.batch(str(row.id)) for row in waiting}
    now = hub.ports.clock.now()
    with hub.database.transaction() as session:
        handovers = Handovers(session)
        for row in waiting:
            files = states[row.id]
            if files is None:
                continue
            if list(files.files) != row.files:
                handovers.files(row.id, files.files, files.sha256)
            if files.state == "taken":
                handovers.taken(row.id, now)
    return [row for row in waiting if (found := states[row.id]) is None or found.state == "waiting"]


def withdraw_batches(
    hub: Hub, rows: Sequence[HandoverRow], *, by: str, because: str, import_deleted: bool
) -> dict[UUID, int]:
    """Takes batches back: their files are moved aside, their records go out again with the next run. Records by batch.

    Documents are delivered anew as they are then; journal entries are derived anew and keep their pieces and days.
    Raises ConfigError, and touches nothing, when a batch was taken and nobody says that the import was deleted there,
    when one was withdrawn before, when a later batch corrects an entry of these, when another target holds the same
    entries, or when a period is closed.
    """
    found: dict[UUID, BatchFiles] = {}
    connectors: dict[UUID, HandsOver] = {}
    for row in rows:
        if row.state == "withdrawn":
            raise ConfigError(
                f"the batch {row.id} was withdrawn before, by {row.withdrawn_by}: {row.withdrawn_because}",
                hint="What it held went out again in a later batch: comptoir batch list.",
                code="withdrawn",
            )
        connector = hub.link(row.target).open_to_write()
        files = connector.batch(str(row.id)) if isinstance(connector, HandsOver) else None
        if not isinstance(connector, HandsOver) or files is None:
            raise ConfigError(f"{row.target}: nothing is known there of the batch {row.id}", code="not_found")
        if files.state == "taken" and not import_deleted:
            raise ConfigError(
                f"{row.target} has taken {', '.join(files.files)}: {row.documents} documents would be there twice",
                hint=f"Delete the import in {row.target} first, then say so with --import-deleted.",
                code="taken",
            )
        found[row.id], connectors[row.id] = files, connector
    with hub.database.transaction() as session:
        keys = {row.id: found[row.id].keys for row in rows if row.entity == EntityName.JOURNAL_ENTRY.value}
        _check_entries(hub, session, rows, keys)
    _keep_back(hub, rows, import_deleted=import_deleted)
    counts: dict[UUID, int] = {}
    for row in rows:
        # First at the target: killed here, the batch is asked for again and nothing was let go of.
        taken_back = connectors[row.id].withdraw(str(row.id))
        now = hub.ports.clock.now()
        with hub.database.transaction() as session:
            counts[row.id] = _let_go(hub, session, row, taken_back, now)
            Handovers(session).withdraw(row.id, by, because, now)
    return counts


def _keep_back(hub: Hub, rows: Sequence[HandoverRow], *, import_deleted: bool) -> None:
    """No machine may fetch these batches from now on; ConfigError when one has, and it is asked to give it back."""
    now = hub.ports.clock.now()
    with hub.database.transaction() as session:
        agents = Agents(session)
        held = [b for row in rows if (b := agents.batch(row.id, lock=True)) is not None and b.state in _HELD]
        # What stopped half-way is let go of when somebody has looked: the machine drops its copy.
        held = [b for b in held if not (import_deleted and b.state in ("unclear", "refused"))]
        for batch in held:
            agents.recall(batch.batch, now)
        if not held:
            for row in rows:
                agents.keep_back(row.id, now)
    if held:
        first = held[0]
        stopped = first.state in ("unclear", "refused", "importing")
        raise ConfigError(
            f"{first.agent} has fetched the batch {str(first.batch)[-8:]} for {first.target} ({first.state})",
            hint="Look whether it was imported there; delete the import, then say so with --import-deleted."
            if stopped
            else f"It was asked to give it back: try again in a minute (comptoir agent show {first.agent}).",
            code="fetched",
        )


def _check_entries(hub: Hub, session: Session, rows: Sequence[HandoverRow], keys: Mapping[UUID, Sequence[str]]) -> None:
    journal, given = Journal(session), {row.id: row.target for row in rows}
    every = {key for batch in keys.values() for key in batch}
    entries = journal.with_keys(sorted(every))
    locked = hub.accounts.locked_until
    for _, entry in entries:
        if locked is not None and entry.posted_on <= locked:
            raise ConfigError(
                f"piece {entry.piece} is of {entry.posted_on}, and the books are closed until {locked}",
                hint="Let the differences go out in the open period instead: comptoir books redo.",
                code="locked_period",
            )
    later = [
        e for e in journal.correcting(sorted(every), sorted({base_key(key) for key in every})) if e.key not in every
    ]
    if later:
        raise ConfigError(
            f"{later[0].key} in a later batch corrects {later[0].reverses or base_key(later[0].key)}",
            hint="Withdraw that batch too, in one command.",
            code="corrected",
        )
    for target, key in Outbox(session).holders(EntityName.JOURNAL_ENTRY, sorted(every)):
        if not any(given[batch] == target and key in set(of_batch) for batch, of_batch in keys.items()):
            raise ConfigError(
                f"{target} was given the entry {key} too, in another batch",
                hint="Withdraw that batch too, in one command: an entry is the same in all books.",
                code="elsewhere",
            )


def _let_go(hub: Hub, session: Session, row: HandoverRow, keys: Sequence[str], now: datetime) -> int:
    entity, outbox = EntityName(row.entity), Outbox(session)
    gone = outbox.withdraw(row.target, entity, keys, f"batch {row.id} was withdrawn", now)
    Bindings(session).release(row.target, entity, [d.record_id for d in gone])
    if entity is EntityName.JOURNAL_ENTRY:
        documents = [document for document, _ in Journal(session).with_keys(keys)]
        Journal(session).withdraw(keys, row.id)
        Dirty(session).mark("journal", sorted(set(documents)), now)
    else:
        outbox.add(
            [
                new_delivery(
                    hub.ports.ids.new(), now, target=row.target, entity=entity, record_id=d.record_id, source=d.source,
                    route=d.route, key=d.natural_key,
                )
                for d in gone
            ]
        )  # fmt: skip
    return len(gone)
