"""A person says whether a write arrived of which nobody else can find out."""

from __future__ import annotations

from pathlib import Path

from comptoir.app.bootstrap import open_hub
from comptoir.app.who import who
from comptoir.engine.replay import IN_DOUBT, decide
from comptoir.errors import ConfigError
from comptoir.store.sync import Quarantine

__all__ = ["decide_doubt"]


def decide_doubt(config: Path, reference: str, *, arrived: bool, number: str | None = None) -> str:
    """One sentence about what follows. `reference` is the record's number or the end of the parked row's id.

    ConfigError when nothing, or more than one write, is in doubt under it.
    """
    with open_hub(config) as hub:
        with hub.database.transaction() as session:
            named = Quarantine(session).get(reference)
        found = [p for p in named if p.state == "open" and p.cause == IN_DOUBT]
        if len(found) != 1:
            among = ", ".join(f"{str(p.id)[-8:]} ({p.connection} -> {p.target})" for p in found)
            raise ConfigError(
                f"{reference!r} names several writes in doubt: {among}" if found else f"{reference!r} is not in doubt",
                hint="Name one of them by its id." if found else "comptoir quarantine list says what is.",
                code="not_in_doubt",
            )
        return decide(hub, found[0], arrived=arrived, number=number, who=who())
