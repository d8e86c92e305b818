"""One of Airflow's four programs, tied to the life of the process that started it:

    python -m comptoir.airflow.component <descriptor> scheduler --skip-serve-logs

Airflow's programs run in sessions of their own, because they are stopped one by one; a runtime that is killed
would therefore leave them behind. The descriptor is the reading end of a pipe whose writing end only the
runtime has: its end of file means that the runtime is gone, however it went.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

#: What Airflow's programs need at most to stop by themselves, twice over.
PATIENCE_SECONDS = 30.0


def tie_to(lifeline: int) -> None:
    """Ends this process soon after the writing end of the pipe is closed; returns at once."""
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_end_with_the_runtime, args=(lifeline,), daemon=True, name="lifeline").start()


def _end_with_the_runtime(lifeline: int) -> None:
    # Nothing is ever written: this returns at the end of file and not before.
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    # Still here: what hangs is ended the hard way. The engine is built to survive that.
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Run `airflow <arguments[1:]>` in this process until the runtime ends."""
    tie_to(int(arguments[0]))
    sys.argv = ["airflow", *arguments[1:]]

    from airflow.__main__ import main as airflow

    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:])
