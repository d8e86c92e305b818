"""Real PostgreSQL for integration tests: one embedded server a session, one migrated database a test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from comptoir.store import embedded, schema
from comptoir.store.embedded import EmbeddedServer
from comptoir.store.reset import make_scratch

from tests.support.merchant import CONFIG, Merchant

_NUMBER = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded server with a migrated template database."""
    home = tmp_path_factory.mktemp("store")
    with EmbeddedServer.acquire(home) as held:
        held.ensure_database("template_comptoir")
        schema.upgrade(held.url("template_comptoir"))
        # Clients are killed here, never the machine: nothing has to reach the disk.
        make_scratch(held.url("postgres"))
        yield held
    embedded.remove(home)


@pytest.fixture
def database_url(server: EmbeddedServer) -> Iterator[str]:
    """A fresh, migrated database."""
    name = f"test_{next(_NUMBER)}"
    admin = schema.plain_url(server.url("postgres"))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"create database {name} template template_comptoir".encode())
    yield server.url(name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def make_merchant(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Merchant]:
    """Makes the test's merchant with a configuration of its choice."""
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", database_url)

    def make(config: str = CONFIG) -> Merchant:
        return Merchant(tmp_path, schema.plain_url(database_url), config)

    return make


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    """A merchant with one shop and one EBP folder."""
    made = make_merchant()
    made.shop()
    return made
