"""One embedded server and one empty database for the simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comptoir.simulation.many import scratch
from comptoir.simulation.ports import LOCK_TIMEOUT
from comptoir.simulation.run import Verdict, simulate
from comptoir.store.reset import Connections


@pytest.fixture(scope="session")
def throwaway() -> Iterator[tuple[Path, str]]:
    """A folder and the URL of a database that belongs to these tests alone."""
    with scratch() as (folder, urls):
        yield folder, urls[0]


@pytest.fixture
def play(throwaway: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Verdict]]:
    """Plays a seed and returns its verdict."""
    monkeypatch.delenv("COMPTOIR_RAW_KEY", raising=False)
    folder, url = throwaway
    connections = Connections(url, lock_timeout=LOCK_TIMEOUT)

    def one(seed: int, **options: Any) -> Verdict:
        return simulate(seed, folder / "merchant", connections, **options)

    yield one
    connections.close()
