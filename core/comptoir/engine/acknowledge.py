"""Acknowledge: the target's later word on what it was given (an import report, a re-exported list)."""

from __future__ import annotations

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import NOT_OURS, Hub
from comptoir.errors import ConfigError
from comptoir.sdk.protocols import Acknowledges
from comptoir.store.outbox import Outbox
from comptoir.store.sync import Quarantine

__all__ = ["acknowledge"]


def acknowledge(hub: Hub, target: str, report: RunReport) -> None:
    """Takes in every waiting report of a target; a report is filed away only after its words are committed.

    Nothing when another run is at it: a report is read once, whichever route's run comes first.
    """
    link = hub.link(target)
    if not link.manifest.acknowledges:
        return
    try:
        connector = link.open_to_write()
    except ConfigError as error:
        if error.code != NOT_OURS:
            raise
        return  # reports that were read are filed away: a staging installation leaves them to production
    if not isinstance(connector, Acknowledges):
        return
    lock = f"acknowledge:{target}"
    with hub.database.errors():
        if not hub.database.session().try_lock(lock):
            return
    try:
        _take_in(hub, target, connector, report)
    finally:
        with hub.database.errors():
            hub.database.session().unlock(lock)


def _take_in(hub: Hub, target: str, connector: Acknowledges, report: RunReport) -> None:
    for name, words in connector.acknowledgements():
        now = hub.ports.clock.now()
        with hub.database.transaction() as session:
            outbox, quarantine = Outbox(session), Quarantine(session)
            for word in words:
                met = outbox.acknowledge(
                    target, word.entity, word.natural_key, word.outcome, word.external_id, word.reason
                )
                report.acknowledged += len(met)
                for record_id, source, _ in met:
                    if word.outcome != "rejected":
                        continue
                    report.entities[word.entity].rejected += 1
                    quarantine.park(
                        hub.ports.ids.new(),
                        connection=source,
                        entity=word.entity,
                        external_id=word.natural_key,
                        record_id=record_id,
                        target=target,
                        cause="rejected_by_target",
                        message=f"{word.entity.value} {word.natural_key}: {target} refused it when it was imported: "
                        f"{word.reason or 'no reason given'}",
                        field=None,
                        hint=f"Correct the cause in {target} or at the source, then retry this record.",
                        at=now,
                    )
        connector.acknowledged(name)
