"""How each entity of a connection is read, and what was measured on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import open_hub
from comptoir.engine import measure as engine
from comptoir.engine.hub import Hub, Link
from comptoir.store.measures import CursorMeasures

__all__ = ["cursors", "measure_cursors", "shown"]


def cursors(config: Path, name: str) -> dict[str, Any]:
    """What a connection's cursors go by, with the measures behind it."""
    with open_hub(config) as hub:
        return shown(hub, hub.link(name))


def measure_cursors(config: Path, name: str) -> dict[str, Any]:
    """Measures anew on test objects at the remote, then as `cursors`."""
    with open_hub(config) as hub:
        engine.measure(hub, hub.link(name))
        return shown(hub, hub.link(name))


def shown(hub: Hub, link: Link) -> dict[str, Any]:
    """How each entity of a link is read, and the measures."""
    with hub.database.transaction() as session:
        measures = CursorMeasures(session).of(link.name)
        entities = []
        for entity, capability in link.manifest.entities.items():
            if not capability.pull:
                continue
            choice = engine.reading_of(session, link, entity)
            entities.append(
                {
                    "entity": entity.value,
                    "way": choice.way,
                    "overlap_seconds": choice.overlap_seconds,
                    "because": choice.because,
                }
            )
    return {
        "connection": link.name,
        "entities": entities,
        "measures": [
            {
                "entity": m.entity.value,
                "change": m.change,
                "moves": m.moves,
                "listed": m.listed,
                "lag_seconds": m.lag_seconds,
                "decides": m.decides,
                "note": m.note,
            }
            for m in measures
        ],
    }
