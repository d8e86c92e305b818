"""The agent: asks the hub in short intervals what there is to do, does it, and says how it went."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from comptoir_agent import __version__
from comptoir_agent.batches import Batches
from comptoir_agent.config import Settings
from comptoir_agent.errors import AgentError, HubAway, HubRefused, LocalTrouble
from comptoir_agent.hub import Hub
from comptoir_agent.sending import Readings, Sending
from comptoir_agent.state import State

__all__ = ["Agent"]

_log = logging.getLogger("comptoir_agent")

_LONGEST_PAUSE = 300.0
_REFUSED_PAUSE = 600.0
_MOST_TROUBLES = 20
_LONGEST_TROUBLE = 300


class Agent:
    """One machine's work, connection by connection, one thing at a time."""

    def __init__(self, settings: Settings, state: State, hub: Hub, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._state = state
        self._hub = hub
        self._troubles: list[str] = []
        self._said: list[str] = []
        self._failures = 0
        self.batches: dict[str, Batches] = {}
        self._sending: dict[str, Sending] = {}
        self._readings: dict[str, Readings] = {}
        for name, connection in settings.connections.items():
            batches = Batches(connection, state, hub, environment, self._trouble)
            self.batches[name] = batches
            limit = settings.max_upload_bytes
            self._sending[name] = Sending(connection, batches.exchange, state, hub, self._trouble, limit)
            self._readings[name] = Readings(connection, batches.exchange, state, hub, self._trouble, environment, limit)

    def run(self, *, once: bool = False, sleep: Callable[[float], None] = time.sleep) -> None:
        """Works until it is interrupted; with `once`, one turn, and its HubAway or HubRefused is raised."""
        for batches in self.batches.values():
            batches.recover()
        while True:
            pause = self._settings.poll_seconds
            try:
                self.turn()
                self._failures = 0
            except HubAway as error:
                self._failures += 1
                pause = min(_LONGEST_PAUSE, self._settings.poll_seconds * 2 ** min(self._failures - 1, 10))
                pause = max(pause, error.wait)
                _log.warning("%s; again in about %.0f seconds", error, pause)
                if once:
                    raise
            except HubRefused as error:
                pause = max(_REFUSED_PAUSE, self._settings.poll_seconds)
                _log.error("the hub refuses this machine: %s", error)
                if once:
                    raise
            if once:
                return
            sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 - so that machines do not come in step

    def turn(self) -> None:
        """Once around: what the hub says, the batches, the files that are due, the files to send."""
        work = self._ask()
        told, self._troubles = self._troubles, []
        given = work.get("connections")
        for name in self._settings.connections:
            found = given.get(name) if isinstance(given, dict) else None
            if not isinstance(found, dict):
                self._trouble(f"{name}: this machine's token is not for this connection of the hub")
                continue
            self._connection(name, found)
        for text in self._troubles:
            if text not in self._said:
                _log.warning("%s", text)
        self._said = list(self._troubles)
        if self._troubles != told:
            self._ask()

    def _ask(self) -> dict[str, Any]:
        """Says that this machine is there, and what is in its way; what there is to do."""
        return self._hub.work(
            {
                "version": __version__,
                "time": datetime.now(UTC).isoformat(),
                "connections": list(self._settings.connections),
                "troubles": [text[:_LONGEST_TROUBLE] for text in self._troubles[:_MOST_TROUBLES]],
            }
        )

    def _connection(self, name: str, told: Mapping[str, Any]) -> None:
        try:
            self.batches[name].turn(told)
            self._readings[name].turn()
            self._sending[name].turn()
        except LocalTrouble as error:
            self._trouble(str(error))
        except (HubAway, HubRefused):
            raise
        except AgentError as error:
            self._trouble(f"{name}: {error}")

    def _trouble(self, text: str) -> None:
        if text not in self._troubles:
            self._troubles.append(text)
