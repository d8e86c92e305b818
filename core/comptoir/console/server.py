"""Serves the gateway of an installation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from comptoir.app.agent_desk import AgentDesk, places_of
from comptoir.app.bootstrap import (
    Installation,
    check_installation,
    company_of,
    connector_of,
    database_url,
    system_ports,
)
from comptoir.app.webhooks import booked_channels
from comptoir.console.agents import AgentDoor
from comptoir.console.gateway import Door, Gateway, Receiver
from comptoir.engine.ports import HttpRequest, HttpResponse, Ports
from comptoir.engine.webhooks import hinted_entities
from comptoir.errors import ComptoirError, ContractViolation
from comptoir.sdk.protocols import ReceivesWebhooks
from comptoir.store.database import Database
from comptoir.store.schema import upgrade

__all__ = ["doors_of", "open_gateway", "serve", "uvicorn_config"]

_log = logging.getLogger("comptoir.gateway")

#: Connections at once; more are refused by the server itself.
_CONNECTIONS = 512
_HEADER_BYTES = 32 * 1024
_SHUTDOWN_SECONDS = 15
_CONNECT_SECONDS = 3


class _NoNetwork:
    """The transport of the gateway's connectors: verifying a webhook asks nobody."""

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        raise ContractViolation(f"{request!r}: the gateway asks nobody: neither to verify a webhook nor for an agent")


def doors_of(installation: Installation, ports: Ports) -> dict[str, Door]:
    """The connections whose webhooks are taken. One that cannot be made ready is left out and said in the log."""
    settings, quiet = installation.settings, _quiet(ports)
    doors: dict[str, Door] = {}
    for name in settings.connections:
        if not installation.classes[name].manifest.webhooks:
            continue
        entities = hinted_entities(name, settings.routes.values(), booked_channels(settings))
        if not entities:
            _log.warning('%s: no route waits for its webhooks (triggers = ["webhook"]); they are not taken', name)
            continue
        try:
            connector = connector_of(installation, name, company_of(installation), quiet)
        except ComptoirError as error:
            _log.error("%s: its webhooks are not taken: %s %s", name, error.message, error.hint or "")
            continue
        if isinstance(connector, ReceivesWebhooks):
            doors[name] = Door(connector, frozenset(entities))
    return doors


def _quiet(ports: Ports) -> Ports:
    """Ports without the network: nothing that the gateway does asks anybody."""
    return Ports(
        clock=ports.clock,
        ids=ports.ids,
        random=ports.random,
        tasks=ports.tasks,
        transport=_NoNetwork(),
        secrets=ports.secrets,
    )


@dataclass(frozen=True, slots=True)
class Ready:
    """A gateway and the connections whose webhooks it takes."""

    app: Gateway
    connections: tuple[str, ...]


@contextmanager
def open_gateway(
    installation: Installation, *, ports: Ports | None = None, log: Callable[[str], None] | None = None
) -> Iterator[Ready]:
    """The gateway of an installation; its database is held, and may be away, while the block lasts."""
    real = ports or system_ports()
    limits = installation.settings.gateway
    doors = doors_of(installation, real)
    with database_url(installation.home, log) as url:
        # A database that does not answer must not hold a sender for minutes.
        patient = f"{url}{'&' if '?' in url else '?'}connect_timeout={_CONNECT_SECONDS}"
        receiver = Receiver(doors, lambda: Database(patient), patient, real.clock, timedelta(hours=limits.replay_hours))
        places = places_of(installation, _quiet(real))
        desk = AgentDesk(places, partial(_migrated, patient), real, installation.settings.agents.max_upload_bytes)
        try:
            door = AgentDoor(desk, slow_seconds=limits.slow_seconds)
            yield Ready(Gateway(receiver, limits, door), tuple(doors))
        finally:
            receiver.close()
            desk.close()


def _migrated(url: str) -> Database:
    """A connection of its own to the database, with its newest tables. Raises DatabaseUnavailable."""
    upgrade(url)
    return Database(url)


def uvicorn_config(app: Any, *, host: str, port: int, slow_seconds: float) -> uvicorn.Config:
    """How the gateway is served: a strict parser; connections, headers and waiting bounded; nothing told of itself."""
    protocol = type("Impatient", (_Impatient,), {"slow_seconds": slow_seconds})
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        backlog=_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )


class _Impatient(H11Protocol):
    """Closes a connection whose request line and headers do not arrive in time; uvicorn waits for them for ever."""

    slow_seconds: float = 10.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(self.slow_seconds, self._give_up)

    def _give_up(self) -> None:
        begun: object | None = self.cycle  # None until the headers of a request are there, whatever its type says
        if begun is None and not self.transport.is_closing():
            self.transport.close()


def serve(config: Path, *, host: str, port: int, log: Callable[[str], None]) -> None:
    """Serves until the process is asked to stop; ConfigError when the configuration is wrong."""
    installation = check_installation(config)
    with open_gateway(installation, log=log) as ready:
        taken = ", ".join(ready.connections) or "no connection (see the log)"
        log(f"Webhooks of {taken} are taken at http://{host}:{port}/hooks/NAME; probe: /health")
        slow = installation.settings.gateway.slow_seconds
        uvicorn.Server(uvicorn_config(ready.app, host=host, port=port, slow_seconds=slow)).run()
