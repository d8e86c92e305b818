"""Batches that were handed over in files: which still lie there, take one back, book a period anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import open_hub
from comptoir.app.who import who
from comptoir.engine.handovers import look_after_batches, withdraw_batches
from comptoir.engine.hub import Hub
from comptoir.errors import ConfigError
from comptoir.store.handovers import HandoverRow, Handovers
from comptoir.store.journal import Dirty, Journal

__all__ = ["find_batch", "list_batches", "redo", "row", "show", "withdraw"]


def row(batch: HandoverRow) -> dict[str, Any]:
    """A batch as data."""
    return {**asdict(batch), "id": str(batch.id), "amount": str(batch.amount)}


def list_batches(
    config: Path, *, target: str | None = None, waiting: bool = False, limit: int = 100
) -> list[HandoverRow]:
    """The newest batches, or those that still wait; their folders are looked at first."""
    with open_hub(config) as hub:
        if target is not None:
            hub.link(target)
        _look(hub, target)
        with hub.database.transaction() as session:
            handovers = Handovers(session)
            return handovers.waiting(target) if waiting else handovers.newest(target, limit)


def show(config: Path, reference: str) -> HandoverRow:
    """One batch, by the end of its id or the name of its file."""
    with open_hub(config) as hub:
        return find_batch(hub, reference)


def withdraw(
    config: Path, references: Sequence[str], *, because: str, import_deleted: bool = False
) -> list[tuple[HandoverRow, int]]:
    """Takes batches back, with who and why; each with how many of its records go out again.

    ConfigError as `engine.handovers.withdraw_batches`; nothing is touched then.
    """
    if not because.strip():
        raise ConfigError("say why the batch is withdrawn (--because)", code="usage")
    with open_hub(config) as hub:
        rows = list({found.id: found for found in (find_batch(hub, reference) for reference in references)}.values())
        counts = withdraw_batches(hub, rows, by=who(), because=because.strip(), import_deleted=import_deleted)
        return [(batch, counts[batch.id]) for batch in rows]


def redo(config: Path, first: date, last: date) -> int:
    """Derives the entries of a period anew: what differs from what is posted goes out with the next run. Documents."""
    if last < first:
        raise ConfigError(f"the period ends on {last}, before it begins on {first}", code="usage")
    with open_hub(config) as hub, hub.database.transaction() as session:
        documents = Journal(session).documents_of(first, last)
        Dirty(session).mark("journal", documents, hub.ports.clock.now())
        return len(documents)


def _look(hub: Hub, target: str | None) -> None:
    for name, link in hub.links.items():
        if link.manifest.acknowledges and target in (None, name):
            look_after_batches(hub, name)


def find_batch(hub: Hub, reference: str) -> HandoverRow:
    """The batch whose id ends so, or that published a file of this name; ConfigError when it is none or several."""
    with hub.database.transaction() as session:
        found = Handovers(session).find(reference)
    if len(found) != 1:
        many = "more than one batch" if found else "no batch"
        raise ConfigError(f"{many} is called {reference!r}", hint="comptoir batch list", code="not_found")
    return found[0]
