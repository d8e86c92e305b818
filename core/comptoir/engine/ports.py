"""Everything the engine takes from outside, as ports. The real ones are in `comptoir.app.system`."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from comptoir.sdk.ports import Clock, HttpRequest, HttpResponse, Random, Tasks, Transport
from comptoir.sdk.protocols import Credentials

__all__ = ["Clock", "HttpRequest", "HttpResponse", "Ids", "Ports", "Random", "Secrets", "Tasks", "Transport"]


class Ids(Protocol):
    """Makes UUIDv7, each greater than the one before."""

    def new(self) -> UUID: ...


class Secrets(Protocol):
    """Credentials by connection name."""

    def get(self, connection: str) -> Credentials | None:
        """The credentials, None when nothing is configured under that name."""
        ...


class Ports:
    """All ports together."""

    def __init__(
        self, *, clock: Clock, ids: Ids, random: Random, tasks: Tasks, transport: Transport, secrets: Secrets
    ) -> None:
        self.clock = clock
        self.ids = ids
        self.random = random
        self.tasks = tasks
        self.transport = transport
        self.secrets = secrets
