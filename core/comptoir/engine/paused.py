"""Paused connections: one that refuses our credentials is asked nothing more until a person has seen to it.

A refusal pauses a connection when a signed read of its own check is refused too, so that a single 401 of a busy server
does not, and a key that may read but not write does not either: what it may do goes on, and only the writing route
fails, once a run. A pause ends by `comptoir connection resume`, or by a `comptoir check` that succeeds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub
from comptoir.errors import AuthError, ComptoirError
from comptoir.store.limits import ConnectionRow, ConnectionStates

__all__ = ["AUTH", "BY_ITSELF", "PAUSED", "PERSON", "Stopped", "pause_if_refused", "paused_error"]

_log = logging.getLogger("comptoir.paused")

#: Causes of a pause.
AUTH = "auth"
PERSON = "person"
#: Who pauses after a refusal.
BY_ITSELF = "comptoir"
#: The code of the error that a paused connection raises.
PAUSED = "paused"


def paused_error(row: ConnectionRow) -> AuthError:
    """What everybody is told who wants to use a paused connection: since when, why, and how to go on."""
    name = row.connection
    whose = "" if row.by_whom == BY_ITSELF else f" by {row.by_whom}"
    reason = (row.reason or "no reason given").removeprefix(f"{name}: ")
    if row.cause == AUTH:
        hint = f"{row.hint or 'Correct its credentials.'} Then `comptoir check {name}`: when it succeeds, it goes on."
    else:
        hint = f"{row.hint + ' ' if row.hint else ''}To go on: `comptoir connection resume {name}`."
    return AuthError(
        f"{name} is paused since {row.since:%Y-%m-%d %H:%M} UTC{whose}: {reason}",
        hint=hint,
        connection=name,
        code=PAUSED,
    )


def pause_if_refused(hub: Hub, error: AuthError) -> bool:
    """Pauses the connection of a refusal when it refuses a second signed read too; the error's hint says so then.

    False when it was a passing refusal, or one of writing only. Raises DatabaseUnavailable.
    """
    name = error.connection
    if name is None or name not in hub.links or error.code == PAUSED:
        return False
    refusal = _second_refusal(hub, name)
    if refusal is None:
        _log.warning("%s refused once, then its check passed; it is not paused: %s", name, error.message)
        return False
    with hub.database.transaction() as session:
        made = ConnectionStates(session).pause(
            name, cause=AUTH, reason=error.message, hint=error.hint, by_whom=BY_ITSELF, at=hub.ports.clock.now()
        )
    if made:
        _log.error("%s is paused: %s", name, error.message)
    error.hint = (
        f"{error.hint + ' ' if error.hint else ''}The connection is paused now, nothing more is asked of it: "
        f"`comptoir check {name}` when it is put right."
    )
    return True


def _second_refusal(hub: Hub, name: str) -> str | None:
    """What the connection's check, which reads only, says of refused credentials; None when it does not."""
    try:
        items = hub.link(name).open().check().items
    except AuthError as error:
        return error.message
    except ComptoirError as error:
        # Unreachable or slow tells nothing about credentials.
        _log.warning("%s could not be asked a second time: %s", name, error.message)
        return None
    return next((item.detail for item in items if not item.ok and item.exit_code == AuthError.exit_code), None)


class Stopped:
    """The connections that refuse us in one run. What does not need them goes on beside."""

    def __init__(self, hub: Hub, report: RunReport) -> None:
        self._hub = hub
        self._report = report
        self._errors: dict[str, AuthError] = {}

    @contextmanager
    def beside(self) -> Iterator[None]:
        """A part of the run for one connection: a refusal ends the part and not the run."""
        try:
            yield
        except AuthError as error:
            name = error.connection
            if name is None or name not in self._hub.links:
                raise
            if name not in self._errors:
                pause_if_refused(self._hub, error)
                self._errors[name] = error

    def tell(self, *sides: Sequence[str]) -> None:
        """The end of the run. Raises the refusal when nobody of a side (all sources, all targets) is left; else the
        report says who was left out."""
        for side in sides:
            if side and all(name in self._errors for name in side):
                raise self._errors[side[0]]
        for name, error in self._errors.items():
            self._report.stopped.append(name)
            self._report.notes.append(f"left out: {error.message}" + (f" {error.hint}" if error.hint else ""))
