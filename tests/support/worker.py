"""A process of the product that begins at a sign: what it needs is imported before, so that many begin at once.

    python -m tests.support.worker run|deliver|woken ROUTE --config FILE

Prints `ready`, waits for a line on its standard input, and carries the command out; prints `begun` each time that the
first row of a run is committed, and at the end what the command prints. `woken` is what a woken task does:
a run on what webhooks hinted at, which lingers for what comes next. The others are the command line's own.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comptoir.app import run_route
from comptoir.app.bootstrap import open_hub
from comptoir.app.linger import run_and_linger
from comptoir.cli import main as comptoir
from comptoir.engine.hub import Hub, Route


def _tell_of_runs() -> None:
    """From outside: the product has no need to say this."""
    begin: Callable[..., Any] = run_route._recorded

    @functools.wraps(begin)
    def begun(hub: Hub, route: Route, trigger: str, work: Callable[..., None]) -> Any:
        def telling(*args: Any) -> None:
            print("begun", flush=True)
            work(*args)

        return begin(hub, route, trigger, telling)

    run_route._recorded = begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("run", "deliver", "woken"))
    parser.add_argument("route")
    parser.add_argument("--config", type=Path, required=True)
    chosen = parser.parse_args()
    with open_hub(chosen.config):
        """Everything is loaded, as in a process that has just ended another run."""
    _tell_of_runs()
    print("ready", flush=True)
    if not sys.stdin.readline():
        return  # whoever should give the sign is gone
    if chosen.command == "woken":
        with open_hub(chosen.config) as hub:
            print(json.dumps(run_and_linger(hub, chosen.route, seconds=1.0)))
        return
    sys.argv = ["comptoir", "--config", str(chosen.config), chosen.command, chosen.route, "--json"]
    comptoir()


if __name__ == "__main__":
    main()
