"""Does the cursor lie? Changes test objects of a connection and looks which changes move the modified date.

What was measured is stored, and chooses how each entity is read from then on: by the modified date, by it with a wider
overlap, or whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from comptoir.engine.hub import Hub, Link
from comptoir.errors import ComptoirError, ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.manifest import EntityCapability
from comptoir.sdk.protocols import Connector, Experiment, Experiments, PullRequest, Pulls
from comptoir.store.database import Session
from comptoir.store.measures import CursorMeasures, Measured

__all__ = ["Choice", "choose", "measure", "reading_of"]

#: Dates of whole seconds: two changes within one cannot be told apart.
_APART = 2.0
#: Added to a lag that was seen: the next one may be longer.
_MARGIN = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """How an entity is read: `delta` by its modified date, `overlap` by it and further back, `sweep` whole."""

    way: Literal["delta", "overlap", "sweep"]
    overlap_seconds: int
    because: str


def choose(capability: EntityCapability, measures: list[Measured]) -> Choice:
    """What the manifest declares, as far as it was not measured to be wrong."""
    declared = capability.overlap_seconds
    if capability.cursor == "sweep":
        return Choice("sweep", 0, "the connector says that only a full read proves anything")
    missed = [m.change for m in measures if m.missed]
    if missed:
        return Choice("sweep", 0, f"not seen by the modified date: {', '.join(missed)}")
    lag = max((m.lag_seconds for m in measures), default=0.0)
    if measures and lag > declared - _MARGIN:
        wider = math.ceil(lag) + _MARGIN
        if wider > declared:
            return Choice("overlap", wider, f"dates lie up to {lag:.0f} s before the change")
    return Choice("delta", declared, "measured" if measures else "as the connector declares it; not measured")


def reading_of(session: Session, link: Link, entity: EntityName) -> Choice:
    """How an entity of a connection is read now."""
    capability = link.manifest.entities.get(entity, EntityCapability())
    if capability.cursor == "sweep":
        return choose(capability, [])
    return choose(capability, CursorMeasures(session).of(link.name, entity))


def measure(hub: Hub, link: Link) -> list[Measured]:
    """Makes the connector's experiments, stores and returns what was seen.

    Writes test objects to the remote and removes them. ConfigError when the connector has no experiments; what the
    connector raises while it makes its test objects. An experiment that fails is noted as not tried.
    """
    connector = link.open_to_write()
    if not isinstance(connector, Experiments):
        raise ConfigError(
            f"{link.manifest.name} cannot be measured: its connector has no experiments",
            hint="Its manifest says how each entity is read; `comptoir run ROUTE --full` now and then proves it.",
            connection=link.name,
            code="no_experiments",
        )
    found: list[Measured] = []
    with connector.experiments() as experiments:
        for experiment in experiments:
            found.append(_measured(hub, link, connector, experiment))
    with hub.database.transaction() as session:
        CursorMeasures(session).replace(link.name, found, hub.ports.clock.now())
    return found


def _measured(hub: Hub, link: Link, connector: Connector, experiment: Experiment) -> Measured:
    clock = hub.ports.clock
    row = Measured(experiment.entity, experiment.change, experiment.decides, None, None, 0.0, "")
    try:
        before = experiment.modified()
        clock.sleep(_APART)
        began = clock.now()
        experiment.act()
        after = experiment.modified()
        if after is None:
            return replace(row, moves=False, note="the record is gone: only a complete read shows that")
        moves = before is None or after > before
        listed = _listed(link, connector, experiment, before) if moves else False
    except ComptoirError as error:
        return replace(row, note=f"not tried: {error.message}")
    lag = max(0.0, (began - after).total_seconds()) if moves else 0.0
    # Whole seconds: a date may lie up to one before the moment it stands for.
    return replace(row, moves=moves, listed=listed, lag_seconds=lag if lag > _APART else 0.0)


def _listed(link: Link, connector: Connector, experiment: Experiment, before: datetime | None) -> bool | None:
    """Whether a read of what changed since then gives the record; None where everything is read anyhow."""
    capability = link.manifest.entities.get(experiment.entity, EntityCapability())
    if capability.cursor != "modified" or before is None or not isinstance(connector, Pulls):
        return None
    since = before + timedelta(seconds=1)
    pages = connector.pull(PullRequest(entity=experiment.entity, since=since))
    return any(item.external_id == experiment.external_id for page in pages for item in page.items)
