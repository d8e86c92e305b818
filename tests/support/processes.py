"""Real worker processes: started together, or killed at random moments while they run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from comptoir_woocommerce.sandbox import WooCommerceSandbox

from tests.support.hooks import SECRET

ROOT = Path(__file__).resolve().parents[2]

#: A shop whose orders go to the till of tests/support/till.py.
TILL_CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"

[connections.till]
connector = "till"

[routes.orders]
entity = "order"
from = "boutique"
to = ["till"]
"""

#: The command line's code of what passes by itself (`TransientError`): another run was reading for a long time.
BUSY = 4


def worker_environment(url: str, shop: WooCommerceSandbox, *paths: Path, **more: str) -> dict[str, str]:
    """The environment of a process that works with a served shop; `paths` are put on Python's path."""
    credentials = {"conn_type": "woocommerce", "host": shop.home, "login": shop.key, "password": shop.secret}
    return {
        **os.environ,
        "COMPTOIR_DATABASE_URL": url,
        "AIRFLOW_CONN_BOUTIQUE": json.dumps({**credentials, "extra": {"webhook_secret": SECRET}}),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *map(str, paths), os.environ.get("PYTHONPATH", "")]),
        **more,
    }


class Worker:
    """A process that has imported everything and waits for its sign."""

    def __init__(self, command: str, route: str, config: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process; a pipe could fill up
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker", command, route, "--config", str(config)],
            env=dict(environment), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        word = self._process.stdout.readline()
        assert word == "ready\n", f"{self.command}: {word!r} {self.errors()}"

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def ended(self, within: float) -> bool:
        """Whether it ended by itself within these seconds."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)

    def wait_until_begun(self) -> bool:
        """Until the first row of its run is committed; False when it ended before."""
        assert self._process.stdout is not None
        return self._process.stdout.readline() == "begun\n"

    def end(self) -> tuple[int, dict[str, Any]]:
        """Waits for it: exit code and report."""
        assert self._process.stdout is not None
        out = self._process.stdout.read()
        code = self._process.wait()
        return code, json.loads(out.replace("begun\n", "")) if code == 0 else {}

    def errors(self) -> str:
        """What it wrote for people."""
        self._errors.seek(0)
        return self._errors.read()


def run_together(workers: Sequence[Worker], meanwhile: Callable[[], None]) -> list[tuple[int, dict[str, Any]]]:
    """Gives all of them the sign at once, does something meanwhile, and waits for their ends."""
    for worker in workers:
        worker.wait_until_ready()
    for worker in workers:
        worker.go()
    meanwhile()
    return [worker.end() for worker in workers]


@dataclass
class Storm:
    """What a storm of kills did."""

    #: Kills that met a run between its first and its last row.
    hits: int = 0
    #: Processes that were killed when their run had just ended.
    misses: int = 0
    #: Processes that ended by themselves before their moment had come.
    survivors: int = 0
    seconds: float = 0.0
    codes: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.hits} kills hit a live run, {self.misses} did not, {self.survivors} processes ended before; "
            f"{self.seconds:.0f} s"
        )


def storm(
    commands: Sequence[str],
    route: str,
    config: Path,
    environment: Mapping[str, str],
    *,
    url: str,
    kills: int,
    seed: int,
    longest: float,
    sell: Callable[[float], None],
    width: int = 2,
) -> Storm:
    """Keeps `width` processes going and kills each at a random moment, until `kills` of them hit a live run.

    The moment is evenly between the first row of its run and `longest` seconds later; a run is live while its last row
    is not there. `sell` is told before each process how much of the storm is over (0 to 1).
    """
    done = Storm()
    dice = random.Random(seed)
    lock = threading.Lock()
    failed: list[BaseException] = []
    began = time.monotonic()
    living: set[Worker] = set()

    def unfinished() -> int:
        with psycopg.connect(url) as connection:
            row = connection.execute("select count(*) from run where ended_at is null").fetchone()
            assert row is not None
            return int(row[0])

    def one() -> None:
        with lock:
            command, moment = dice.choice(list(commands)), dice.uniform(0.0, longest)
        worker = Worker(command, route, config, environment)
        worker.wait_until_ready()
        with lock:
            sell(min(1.0, done.hits / kills))
            living.add(worker)
        worker.go()
        if worker.wait_until_begun() and not worker.ended(moment):
            worker.kill()
        code, _ = worker.end()
        with lock:
            living.discard(worker)
            done.codes.append(code)
            if code != -signal.SIGKILL:
                done.survivors += 1
                assert code in (0, BUSY), worker.errors()
            # What runs at this moment has no last row either; it is counted when it has ended.
            done.hits = max(done.hits, unfinished() - len(living))

    def keep_going() -> None:
        try:
            while done.hits < kills and not failed:
                one()
        except BaseException as error:  # noqa: BLE001 - raised again by the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=keep_going) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    done.hits = unfinished()
    done.misses = len(done.codes) - done.survivors - done.hits
    done.seconds = time.monotonic() - began
    return done


__all__ = ["BUSY", "TILL_CONFIG", "Storm", "Worker", "run_together", "storm", "worker_environment"]
