"""The database: create or migrate, stop, say how it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import database_url, home_of

__all__ = ["status", "stop", "upgrade"]


def upgrade(config: Path, log: Callable[[str], None]) -> str:
    """Creates or migrates the database; a sentence on what was done."""
    from comptoir.store import schema

    with database_url(home_of(config), log) as url:
        before = schema.upgrade(url)
    if before is None:
        return f"The database was created at revision {schema.HEAD}."
    if before == schema.HEAD:
        return f"The database is at revision {before}: nothing to do."
    return f"The database was migrated from revision {before} to {schema.HEAD}."


def stop(config: Path, *, force: bool) -> str:
    """Stops the embedded server; a sentence on what was done."""
    if os.environ.get("COMPTOIR_DATABASE_URL"):
        return "COMPTOIR_DATABASE_URL names a server of your own: it is not stopped from here."
    from comptoir.store.embedded import stop as stop_server

    stopped = stop_server(home_of(config), force=force)
    return "The embedded PostgreSQL was stopped." if stopped else "The embedded PostgreSQL was not running."


def status(config: Path) -> dict[str, Any]:
    """Where the database is and whether it runs."""
    if os.environ.get("COMPTOIR_DATABASE_URL"):
        return {"server": "your own (COMPTOIR_DATABASE_URL)"}
    from comptoir.store.embedded import status as server_status

    return {"server": "embedded", **server_status(home_of(config))}
