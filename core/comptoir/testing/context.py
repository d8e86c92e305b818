"""A ConnectorContext and an HttpClient made of fakes."""

from __future__ import annotations

import logging
from pathlib import Path

from comptoir.sdk import Clock, Company, ConnectorContext, Credentials, HttpClient, HttpLimits, Random, Tasks, Transport
from comptoir.testing.fakes import FakeClock, FakeRandom, InlineTasks
from comptoir.testing.transport import ScriptedTransport

__all__ = ["connector_context", "http_client"]


def http_client(
    transport: Transport | None = None,
    *,
    clock: Clock | None = None,
    connection: str = "shop",
    secrets: tuple[str, ...] = (),
    limits: HttpLimits | None = None,
) -> HttpClient:
    """`ctx.http` over a transport; without one, any request is an AssertionError."""
    return HttpClient(
        connection=connection,
        transport=transport or ScriptedTransport([]),
        clock=clock or FakeClock(),
        random=FakeRandom(),
        secrets=secrets,
        limits=limits,
    )


def connector_context(
    *,
    transport: Transport | None = None,
    credentials: Credentials | None = None,
    connection: str = "shop",
    company: Company | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    tasks: Tasks | None = None,
    base_dir: Path = Path(),
) -> ConnectorContext:
    """What the engine would give a connector of a French company, made of fakes where nothing else is given."""
    given = credentials or Credentials()
    time = clock or FakeClock()
    return ConnectorContext(
        connection=connection,
        http=http_client(transport, clock=time, connection=connection, secrets=(given.password, given.login)),
        credentials=given,
        clock=time,
        random=random or FakeRandom(),
        tasks=tasks or InlineTasks(),
        company=company or Company(name="Maison Exemple", country="FR", currency="EUR"),
        base_dir=base_dir,
        logger=logging.getLogger(f"comptoir.connector.{connection}"),
    )
