"""One embedded server and one empty database for the simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comptoir.simulation.run import Verdict, simulate
from comptoir.store import embedded, schema
from comptoir.store.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("simulation")
    with EmbeddedServer.acquire(home) as held:
        held.ensure_database("simulation")
        url = held.url("simulation")
        schema.upgrade(url)
        yield url
    embedded.remove(home)


@pytest.fixture
def play(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Verdict]:
    """Plays a seed and returns its verdict."""
    monkeypatch.delenv("COMPTOIR_RAW_KEY", raising=False)

    def one(seed: int, **options: int) -> Verdict:
        return simulate(seed, tmp_path / "merchant", database, **options)

    return one
