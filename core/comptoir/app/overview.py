"""What is configured and what ran last; the schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comptoir.errors import ConfigError

__all__ = ["list_routes", "schema_names", "schema_of"]


def list_routes(config: Path) -> list[dict[str, Any]]:
    """Routes with their last run and what still waits for each."""
    from comptoir.app.bootstrap import open_hub
    from comptoir.store.outbox import Outbox
    from comptoir.store.sync import Runs

    found = []
    with open_hub(config) as hub, hub.database.transaction() as session:
        runs, outbox = Runs(session), Outbox(session)
        for route in hub.routes.values():
            last = runs.last(route.name)
            found.append(
                {
                    "route": route.name,
                    "entity": route.entity.value,
                    "from": list(route.sources),
                    "to": list(route.targets),
                    "schedule": route.schedule,
                    "triggers": list(route.triggers),
                    "last_run": f"{last[2]:%Y-%m-%d %H:%M:%S}" if last else None,
                    "last_state": last[1] if last else None,
                    "waiting": sum(sum(outbox.pending(t).values()) for t in route.targets),
                }
            )
    return found


def schema_names() -> list[str]:
    """Everything `schema_of` knows."""
    from comptoir.model.registry import ENTITY_MODELS, all_models

    return ["config", *(e.value for e in ENTITY_MODELS), *sorted(all_models())]


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema of a canonical model (by entity or class name) or of the configuration file."""
    if name == "config":
        from comptoir.app.config import Settings

        return Settings.model_json_schema(by_alias=True)
    from comptoir.model.registry import json_schema

    try:
        return json_schema(name)
    except KeyError:
        raise ConfigError(
            f"there is no model {name!r}", hint="`comptoir schema` lists them.", code="no_model"
        ) from None
