"""A process that calls a remote through the shared budget, as fast as it may, and prints when it did.

    python -m tests.support.caller DATABASE_URL CALLS_PER_MINUTE BURST START SECONDS [PAUSE_AT PAUSE_FOR]

START is a moment of the machine's clock, so that several begin together. At PAUSE_AT seconds after it the remote tells
this one, and nobody else, to leave it alone for PAUSE_FOR seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from comptoir.app.system import SystemClock, ThreadTasks
from comptoir.engine.limits import ConnectionGate, StoreBuckets
from comptoir.sdk.manifest import CallBudget
from comptoir.store.database import Database


def main(arguments: Sequence[str]) -> None:
    url, rate, burst, start, seconds, *pause = arguments
    tasks = ThreadTasks()
    gate = ConnectionGate(
        "boutique",
        clock=SystemClock(),
        tasks=tasks,
        in_flight=4,
        budget=CallBudget(calls_per_minute=float(rate), burst=int(burst)),
        bucket=StoreBuckets(Database(url, durable=False), tasks).of("boutique"),
    )
    began = float(start)
    at: list[float] = []
    paused: list[float] = []

    def work(number: int) -> None:
        while (now := time.time()) < began + float(seconds):
            if number == 0 and pause and not paused and now >= began + float(pause[0]):
                gate.pause(float(pause[1]))
                paused.append(time.time())
            with gate.request():
                at.append(time.time())
                time.sleep(0.002)

    time.sleep(max(0.0, began - time.time()))
    list(tasks.map_ordered(work, range(4), width=4))
    print(json.dumps({"calls": sorted(at), "paused": paused}))


if __name__ == "__main__":
    main(sys.argv[1:])
