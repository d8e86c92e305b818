"""Many seeds on one throw-away database: what `comptoir simulate` does."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from comptoir.simulation.run import Verdict, simulate
from comptoir.store import embedded, schema
from comptoir.store.embedded import EmbeddedServer

__all__ = ["play"]


def play(seeds: Iterable[int], each: Callable[[Verdict], None], *, acts: int = 40) -> None:
    """Plays the seeds one after the other and shows each verdict; nothing of it is left afterwards."""
    # In memory where there is such a place: nothing here has to survive.
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own there
    folder = Path(tempfile.mkdtemp(prefix="comptoir-simulation-", dir=memory if memory.is_dir() else None))
    logging.getLogger("comptoir").setLevel(logging.CRITICAL)  # faults are the point: the story tells them
    try:
        with EmbeddedServer.acquire(folder) as held:
            held.ensure_database("simulation")
            url = held.url("simulation")
            schema.upgrade(url)
            for seed in seeds:
                each(simulate(seed, folder / "merchant", url, acts=acts))
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)
