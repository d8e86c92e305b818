"""Many seeds on throw-away databases, some processes at a time: what `comptoir simulate` does.

    python -m comptoir.simulation.many <folder> <database url> <acts> <first> <beyond> <step>

is one of those processes: it plays its share and prints a verdict a line.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from comptoir.errors import ComptoirError
from comptoir.simulation.ports import LOCK_TIMEOUT
from comptoir.simulation.run import Verdict, simulate
from comptoir.store import embedded, schema
from comptoir.store.embedded import EmbeddedServer
from comptoir.store.reset import Connections, make_scratch

__all__ = ["play", "scratch"]


@contextmanager
def scratch(count: int = 1) -> Iterator[tuple[Path, list[str]]]:
    """A folder and the URLs of so many empty, migrated databases; nothing of them is left afterwards."""
    # In memory where there is such a place: nothing here has to survive.
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own there
    folder = Path(tempfile.mkdtemp(prefix="comptoir-simulation-", dir=memory if memory.is_dir() else None))
    try:
        with EmbeddedServer.acquire(folder) as held:
            urls = []
            for n in range(count):
                held.ensure_database(f"simulation_{n}")
                urls.append(held.url(f"simulation_{n}"))
                schema.upgrade(urls[-1])
            make_scratch(urls[0])
            yield folder, urls
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def play(seeds: Sequence[int], each: Callable[[Verdict], None], *, acts: int = 40, processes: int = 1) -> None:
    """Plays the seeds (a range, for several processes) and shows each verdict as it comes, in no order.

    Raises ComptoirError when one of the processes ends before its work.
    """
    if processes == 1 or not isinstance(seeds, range) or len(seeds) < 2 * processes:
        with scratch() as (folder, urls):
            _share(folder / "merchant", urls[0], seeds, acts, each)
        return
    with scratch(processes) as (folder, urls):
        started = [
            subprocess.Popen(
                [
                    sys.executable, "-m", "comptoir.simulation.many", str(folder / f"merchant_{n}"), url, str(acts),
                    str(seeds.start + n), str(seeds.stop), str(processes),
                ],
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            for n, url in enumerate(urls)
        ]  # fmt: skip
        try:
            _collect(started, each)
        finally:
            for process in started:
                process.kill()
                process.wait()


def _collect(started: Sequence[subprocess.Popen[bytes]], each: Callable[[Verdict], None]) -> None:
    with selectors.DefaultSelector() as waiting:
        for process in started:
            waiting.register(process.stdout or 0, selectors.EVENT_READ, process)
        while waiting.get_map():
            for key, _ in waiting.select():
                # A verdict is written as one line at once: it is there to its end.
                line = key.data.stdout.readline()
                if line:
                    told = orjson.loads(line)
                    each(Verdict(told["seed"], tuple(told["violations"]), (), told["points"], told["digest"]))
                    continue
                waiting.unregister(key.fileobj)
                if key.data.wait():
                    raise ComptoirError("one of the simulation's processes failed; what it said stands above")


def _share(folder: Path, url: str, seeds: Sequence[int], acts: int, each: Callable[[Verdict], None]) -> None:
    connections = Connections(url, lock_timeout=LOCK_TIMEOUT)
    try:
        for seed in seeds:
            each(simulate(seed, folder, connections, acts=acts))
    finally:
        connections.close()


def _print(verdict: Verdict) -> None:
    row = {
        "seed": verdict.seed, "violations": verdict.violations, "points": verdict.points, "digest": verdict.digest,
    }  # fmt: skip
    sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    place, database, *numbers = sys.argv[1:]
    of_each, first, beyond, step = map(int, numbers)
    _share(Path(place), database, range(first, beyond, step), of_each, _print)
