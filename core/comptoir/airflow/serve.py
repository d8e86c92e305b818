"""Airflow for one configuration, until Ctrl-C or SIGTERM:

    python -m comptoir.airflow.serve comptoir.toml [--port 8080] [--parallelism 2] [--paused]

Its metadata is a database `airflow` on the embedded PostgreSQL, or where COMPTOIR_AIRFLOW_DATABASE_URL says.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from comptoir.airflow.runtime import AirflowRuntime
from comptoir.errors import ComptoirError
from comptoir.store.embedded import EmbeddedServer

__all__ = ["main", "serve"]

DATABASE: str = "airflow"

#: So many programs that end by themselves within so many seconds are no accident: everything is stopped.
REVIVALS: int = 5
REVIVALS_WITHIN: float = 3600.0


class _Stop(Exception):
    """SIGINT or SIGTERM: unwinds whatever is going on, so that everything is stopped in order."""


def serve(
    config: Path,
    *,
    port: int = 8080,
    parallelism: int = 2,
    paused: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Start everything, say where it is, and stop it at SIGINT or SIGTERM. For a process's main thread.

    Raises:
        ConfigError: the configuration is wrong; nothing was started.
        ComptoirError: Airflow or its database could not be started, or its programs end again and again.
    """
    from comptoir.airflow.dag_factory import pools
    from comptoir.app.config import load

    config = config.resolve()
    settings = load(config)
    previous = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            runtime = stack.enter_context(_runtime(stack, config, port, parallelism, paused))
            runtime.ensure_pools(pools(settings))
            say(f"Airflow:  {runtime.base_url}  (user admin, password in {runtime.password_file})")
            say(f"Logs:     {runtime.log_dir}")
            _keep_running(runtime, say)
    except _Stop:
        say("Stopped.")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _keep_running(runtime: AirflowRuntime, say: Callable[[str], None]) -> NoReturn:
    """Watch over the programs: one that ends by itself is started again, unless that happens again and again."""
    revived: deque[float] = deque(maxlen=REVIVALS)
    while True:
        for name in runtime.ended():
            now = time.monotonic()
            if len(revived) == REVIVALS and now - revived[0] < REVIVALS_WITHIN:
                runtime.check()
            revived.append(now)
            code = runtime.revive(name)
            say(f"Airflow's {name} had ended with code {code} and was started again; its log is in {runtime.log_dir}.")
        time.sleep(1)


def _runtime(stack: ExitStack, config: Path, port: int, parallelism: int, paused: bool) -> AirflowRuntime:
    home = config.parent / ".comptoir"
    url = os.environ.get("COMPTOIR_AIRFLOW_DATABASE_URL")
    server = None
    if url is None:
        server = stack.enter_context(EmbeddedServer.acquire(home))
        server.ensure_database(DATABASE)
        url = server.psycopg2_url(DATABASE)
    return AirflowRuntime(home, config, url, port, server=server, parallelism=parallelism, paused=paused)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # Once is enough: a second Ctrl-C must not interrupt the stopping.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise _Stop


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m comptoir.airflow.serve", description="Run Airflow for a configuration."
    )
    parser.add_argument("config", type=Path, help="the comptoir.toml")
    parser.add_argument(
        "--port", type=int, default=8080, help="of the web pages; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--parallelism", type=int, default=2, help="tasks at the same time (default: %(default)s)")
    parser.add_argument("--paused", action="store_true", help="new routes wait until they are switched on in Airflow")
    given = parser.parse_args(arguments)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        serve(given.config, port=given.port, parallelism=given.parallelism, paused=given.paused, say=say)
    except ComptoirError as error:
        sys.stderr.write(f"{error}\n" + (f"{error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
