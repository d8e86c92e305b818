"""Connections as a person sees them: which are paused and why, what they may still be asked, what waits for them."""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import (
    Installation,
    budget_of,
    check_installation,
    database_url,
    open_installation,
    system_ports,
)
from comptoir.app.who import who
from comptoir.engine.limits import BUCKET
from comptoir.engine.paused import AUTH, BY_ITSELF, PERSON
from comptoir.errors import ComptoirError, ConfigError
from comptoir.sdk.manifest import CallBudget
from comptoir.sdk.protocols import CheckItem
from comptoir.store.database import Database
from comptoir.store.limits import BucketRow, ConnectionStates, RateBuckets
from comptoir.store.schema import is_current

__all__ = ["list_connections", "pause", "resume", "resume_checked"]

#: A reason is shown in every message about the connection.
_LONGEST_REASON = 300


def list_connections(config: Path) -> list[dict[str, Any]]:
    """Every configured connection with its state, its budget, pauses that the remote asked for, and waiting work."""
    installation = check_installation(config)
    with open_installation(installation) as hub, hub.database.transaction() as session:
        states, buckets = ConnectionStates(session).all(), RateBuckets(session).look(BUCKET)
        waiting = ConnectionStates(session).waiting()
    found = []
    for name, settings in installation.settings.connections.items():
        state, bucket, budget = states.get(name), buckets.get(name), budget_of(installation, name)
        paused = state is not None and state.paused
        found.append(
            {
                "connection": name,
                "connector": settings.connector,
                "state": "paused" if paused else "active",
                "since": _moment(state.since) if state else None,
                "by_whom": state.by_whom if state else None,
                "cause": state.cause if state and paused else None,
                "reason": state.reason if state and paused else None,
                "hint": state.hint if state and paused else None,
                "calls_per_minute": budget.calls_per_minute if budget else None,
                "burst": budget.burst if budget else None,
                "calls_left": _left(bucket, budget) if budget else None,
                "blocked_until": _moment(bucket.blocked_until) if bucket and bucket.blocked_until else None,
                "waiting": waiting.get(name, 0),
            }
        )
    return found


def _left(bucket: BucketRow | None, budget: CallBudget) -> int:
    """Calls that may be made at once now; a bucket that was never used is full."""
    if bucket is None:
        return budget.burst
    if bucket.blocked_until is not None:
        return 0
    return int(min(float(budget.burst), bucket.calls + max(0.0, bucket.age) * budget.per_second))


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def pause(config: Path, name: str, because: str) -> str:
    """Nothing is asked of a connection any more until `resume`. What comes for it meanwhile waits.

    ConfigError when there is no such connection, or no reason.
    """
    installation = check_installation(config)
    _require(installation.settings.connections, name)
    reason = " ".join(because.split())
    if not reason or len(reason) > _LONGEST_REASON:
        raise ConfigError(
            f"{name} is not paused: a reason of 1 to {_LONGEST_REASON} characters is needed",
            hint='It is shown to everybody who waits for it: --because "the shop moves to another host".',
            connection=name,
        )
    with open_installation(installation) as hub:
        now = hub.ports.clock.now()
        with hub.database.transaction() as session:
            states = ConnectionStates(session)
            made = states.pause(name, cause=PERSON, reason=reason, hint=None, by_whom=who(), at=now)
            known = states.all()[name]
    if not made:
        return f"{name} is paused already, since {known.since:%Y-%m-%d %H:%M} UTC by {known.by_whom}: {known.reason}"
    return f"{name} is paused. What comes for it waits; to go on: comptoir connection resume {name}"


def resume(config: Path, name: str) -> str:
    """A paused connection is used again by the next run. ConfigError when there is no such connection."""
    installation = check_installation(config)
    _require(installation.settings.connections, name)
    with open_installation(installation) as hub:
        now = hub.ports.clock.now()
        with hub.database.transaction() as session:
            states = ConnectionStates(session)
            ended = states.resume(name, by_whom=who(), at=now)
            waits = states.waiting().get(name, 0)
    if not ended:
        return f"{name} was not paused."
    many = "1 record waits" if waits == 1 else f"{waits} records wait"
    return f"{name} goes on: the next run uses it" + (f"; {many} for it." if waits else ".")


def _require(names: Collection[str], name: str) -> None:
    if name not in names:
        raise ConfigError(f"there is no connection {name!r}; configured: {', '.join(names) or 'none'}")


def resume_checked(installation: Installation, names: Collection[str]) -> dict[str, CheckItem]:
    """Ends the pauses of refused credentials on connections whose check has just succeeded; what a person paused stays.

    Returns what there is to say, by connection. Without a database nothing can be paused and nothing is said.
    """
    if not names or not (os.environ.get("COMPTOIR_DATABASE_URL") or (installation.home / "pg").exists()):
        return {}
    now = system_ports().clock.now()
    said: dict[str, CheckItem] = {}
    try:
        with database_url(installation.home) as url:
            if not is_current(url):
                return {}
            database = Database(url)
            try:
                with database.transaction() as session:
                    states = ConnectionStates(session)
                    known = states.all()
                    for name in names:
                        if states.resume(name, by_whom=BY_ITSELF, at=now, causes=(AUTH,)):
                            said[name] = CheckItem("pause", True, "was paused; goes on with the next run")
                        elif name in known and known[name].paused:
                            said[name] = CheckItem(
                                "pause",
                                True,
                                f"paused since {known[name].since:%Y-%m-%d %H:%M} UTC by {known[name].by_whom}: "
                                f"{known[name].reason}",
                                hint=f"To go on: comptoir connection resume {name}",
                            )
            finally:
                database.close()
    except ComptoirError as error:
        return {name: CheckItem.failed("pause", error) for name in names}
    return said
