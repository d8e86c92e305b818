"""Replay: one record again, from the stored raw payload or from the outbox."""

from __future__ import annotations

from uuid import UUID

from comptoir.engine.counts import RunReport
from comptoir.engine.fingerprint import kept_item
from comptoir.engine.hub import Hub, Link
from comptoir.engine.land import Lander
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir.store.journal import Dirty
from comptoir.store.outbox import Outbox, new_delivery
from comptoir.store.publications import Publications
from comptoir.store.records import Bindings, RawRecords
from comptoir.store.sync import Parked, Quarantine

__all__ = ["IN_DOUBT", "decide", "map_again", "raw_payload", "replay", "resolve"]

_BATCH = 500

#: The cause of a write of which nobody but a person can find out whether it arrived.
IN_DOUBT = "in_doubt"


def raw_payload(hub: Hub, connection: str, entity: EntityName, external_id: str) -> RawItem:
    """The record as it was received; ConfigError when it (or its key) is no longer kept."""
    with hub.database.transaction() as session:
        raw = RawRecords(session)
        found = raw.find(connection, entity, external_id)
        sealed = raw.sealed(found[0]) if found else None
    if found is None or sealed is None:
        raise ConfigError(
            f"the raw record of {entity.value} {external_id} on {connection} is not kept any more",
            hint="Pull it again: comptoir run ROUTE --full",
            code="no_raw",
        )
    return kept_item(entity, external_id, found[1], hub.vault.unseal(*sealed))


def map_again(hub: Hub, link: Link, entity: EntityName, report: RunReport) -> int:
    """Maps every stored record that another version of the mapping made, through the same door as what is read.

    In batches with a commit each, so it may be interrupted and begun again. Returns how many could not be, because
    what was received is not kept any more.
    """
    mapping = hub.mapping(link.manifest.key, entity, "in")
    lander = Lander(hub, link, report, unchanged_too=True)
    after: UUID | None = None
    dropped = 0
    while True:
        with hub.database.transaction() as session:
            rows = RawRecords(session).mapped_otherwise(link.name, entity, mapping.hash, after=after, limit=_BATCH)
        items = [
            kept_item(entity, external_id, modified_at, hub.vault.unseal(key, body))
            for _, external_id, modified_at, key, body in rows
            if key is not None
        ]
        dropped += len(rows) - len(items)
        lander.land(items)
        if len(rows) < _BATCH:
            return dropped
        after = rows[-1][0]


def replay(hub: Hub, parked: Parked, report: RunReport) -> str:
    """Tries a parked record again and says in one sentence what came of it."""
    entity = EntityName(parked.entity)
    if parked.target is not None:
        return _again(hub, parked, entity, parked.target)
    if entity is EntityName.JOURNAL_ENTRY:
        if parked.record_id is not None:
            with hub.database.transaction() as session:
                Dirty(session).mark("journal", [parked.record_id], hub.ports.clock.now())
        return "marked: its entries are derived by the next run of the books' route"
    link = hub.link(parked.connection)
    item = raw_payload(hub, parked.connection, entity, parked.external_id)
    before = report.entities[entity].quarantined
    Lander(hub, link, report).land([item])
    if report.entities[entity].quarantined > before:
        return "it still cannot be mapped; the cause stands in the quarantine"
    return "mapped and planned; it goes out with the next delivery"


def _again(hub: Hub, parked: Parked, entity: EntityName, target: str) -> str:
    now = hub.ports.clock.now()
    if parked.record_id is None:
        return "it has no document; pull it again"
    if parked.cause == IN_DOUBT:
        return f"look whether {target} has it, then `comptoir doubt {parked.external_id}`: nothing is sent unlooked"
    if parked.cause == "conflict":
        return "make both sides the same first, then `comptoir quarantine resolve`"
    if parked.cause == "changed_after_delivery":
        return f"{target} takes no changes by file: change it there, then `comptoir quarantine resolve`"
    if not hub.capability(target, entity).push:
        return f"{target} takes no {entity.value}: enter it there, then `comptoir quarantine resolve`"
    with hub.database.transaction() as session:
        if Publications(session).again(target, entity, parked.record_id, now):
            return "due again; it is written by the next run"
        if Bindings(session).of_records(target, entity, [parked.record_id]) and parked.cause != "rejected_by_target":
            Quarantine(session).resolve(
                parked.connection, entity, [parked.external_id], "it is already there", now, target
            )
            return f"{target} already has it"
        row = new_delivery(
            hub.ports.ids.new(), now, target=target, entity=entity, record_id=parked.record_id,
            source=parked.connection, route="retry", key=parked.external_id,
        )  # fmt: skip
        if not Outbox(session).revive(target, parked.record_id, entity, row):
            return "it is already on its way"
    return "queued again; it goes out with the next delivery"


def decide(hub: Hub, parked: Parked, *, arrived: bool, number: str | None, who: str) -> str:
    """A person has looked whether a write in doubt has arrived; one sentence about what follows.

    `number` is the target's own id of the record, its natural key when left out. ConfigError when nothing was in doubt.
    """
    if parked.cause != IN_DOUBT or parked.target is None or parked.record_id is None:
        raise ConfigError(
            f"{parked.entity} {parked.external_id}: it is not in doubt whether it arrived",
            hint="comptoir quarantine show says what is the matter with it.",
            code="not_in_doubt",
        )
    entity, target, now = EntityName(parked.entity), parked.target, hub.ports.clock.now()
    said = f"{who} has looked: {'it is there' if arrived else 'it is not there'}"
    with hub.database.transaction() as session:
        outbox = Outbox(session)
        taken = outbox.take_in_doubt(target, entity, parked.record_id)
        if taken is None:
            said = "it is not in doubt any more"
            result = f"{said}: the target was asked meanwhile, and nothing was changed now"
        elif arrived:
            external_id = number or taken.natural_key
            outbox.settle([(taken.id, taken.fence, "confirmed", "accepted", external_id, said)], now)
            Bindings(session).confirm(
                [
                    (
                        hub.ports.ids.new(), taken.record_id, target, entity.value, external_id, taken.natural_key,
                        taken.content_hash,
                    )
                ],
                now,
            )  # fmt: skip
            result = f"{target} has it as {external_id}; it is not sent again"
        else:
            outbox.put_back({taken.id: taken.fence}, state="pending", wait_seconds=0.0, reason=said)
            result = f"it is sent to {target} by the next run"
        Quarantine(session).resolve(parked.connection, entity, [parked.external_id], said, now, target)
    return result


def resolve(hub: Hub, parked: Parked, because: str) -> None:
    """Closes a parked record by a person's word. ConfigError for a write in doubt: that is for `decide`."""
    if parked.cause == IN_DOUBT:
        raise ConfigError(
            f"{parked.entity} {parked.external_id}: whether {parked.target} has it must be said, not closed",
            hint=f"comptoir doubt {parked.external_id} --arrived (or --not-arrived)",
            code="in_doubt",
        )
    with hub.database.transaction() as session:
        Quarantine(session).resolve(
            parked.connection,
            EntityName(parked.entity),
            [parked.external_id],
            because,
            hub.ports.clock.now(),
            parked.target,
        )
