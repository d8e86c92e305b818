"""Quarantine: list, show, retry, close."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import open_hub
from comptoir.app.scrub import NAMES_A_PERSON
from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub
from comptoir.engine.replay import raw_payload, replay, resolve
from comptoir.errors import ComptoirError, ConfigError
from comptoir.model.refs import EntityName
from comptoir.store.sync import Parked, Quarantine

__all__ = ["close", "list_open", "retry", "row", "show"]


def list_open(config: Path) -> list[Parked]:
    """What waits, oldest first."""
    with open_hub(config) as hub, hub.database.transaction() as session:
        return Quarantine(session).open()


def row(parked: Parked) -> dict[str, Any]:
    """A parked record as plain data."""
    return {
        "id": str(parked.id),
        "connection": parked.connection,
        "entity": parked.entity,
        "external_id": parked.external_id,
        "target": parked.target,
        "cause": parked.cause,
        "field": parked.field,
        "message": parked.message,
        "hint": parked.hint,
        "state": parked.state,
        "times": parked.times,
        "first_seen": parked.first_seen.isoformat(),
        "last_seen": parked.last_seen.isoformat(),
    }


def show(config: Path, record: str, *, personal: bool = False) -> list[tuple[Parked, Any]]:
    """The parked records that `record` names, with their payload (personal data masked unless asked for)."""
    with open_hub(config) as hub:
        return [(parked, _payload(hub, parked, personal)) for parked in _find(hub, record)]


def retry(config: Path, record: str | None) -> list[dict[str, str]]:
    """Tries one record (or everything) again; one sentence each."""
    with open_hub(config) as hub:
        if record is None:
            with hub.database.transaction() as session:
                chosen = Quarantine(session).open()
        else:
            chosen = [p for p in _find(hub, record) if p.state == "open"]
            if not chosen:
                raise ConfigError(f"nothing open under {record!r}: it was resolved already", code="not_open")
        results = []
        for parked in chosen:
            report = RunReport(hub.ports.ids.new(), "retry", EntityName(parked.entity))
            try:
                result = replay(hub, parked, report)
            except ComptoirError as error:
                result = f"not retried: {error.message}"
            results.append(
                {
                    "id": str(parked.id),
                    "record": f"{parked.connection} {parked.entity} {parked.external_id}",
                    "result": result,
                }
            )
        return results


def close(config: Path, record: str, because: str) -> str:
    """Closes a record by a person's word; its name."""
    with open_hub(config) as hub:
        found = [p for p in _find(hub, record) if p.state == "open"]
        if not found:
            raise ConfigError(f"nothing open under {record!r}", code="not_open")
        resolve(hub, found[0], because)
        return f"{found[0].connection} {found[0].entity} {found[0].external_id}"


def _find(hub: Hub, record: str) -> list[Parked]:
    with hub.database.transaction() as session:
        found = Quarantine(session).get(record)
    if not found:
        raise ConfigError(f"nothing is parked under {record!r}", hint="comptoir quarantine list", code="not_found")
    return found


def _payload(hub: Hub, parked: Parked, personal: bool) -> Any:
    if parked.entity == EntityName.JOURNAL_ENTRY.value or parked.target is not None:
        return None
    try:
        payload: Any = raw_payload(hub, parked.connection, EntityName(parked.entity), parked.external_id).payload
    except ConfigError:
        return None
    return payload if personal else _masked(payload)


def _masked(value: Any, hide: bool = False) -> Any:
    if isinstance(value, dict):
        return {k: _masked(v, hide or any(word in str(k).lower() for word in NAMES_A_PERSON)) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(v, hide) for v in value]
    return "***" if hide and value not in ("", None) else value
