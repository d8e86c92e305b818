"""A process of the product that begins at a sign: what it needs is imported before, so that many begin at once.

    python -m tests.support.worker run|deliver|woken ROUTE --config FILE

Prints `ready`, waits for a line on its standard input, and carries the command out. `woken` is what a woken task does:
a run on what webhooks hinted at, which lingers for what comes next. The others are the command line's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from comptoir.app.bootstrap import open_hub
from comptoir.app.linger import run_and_linger
from comptoir.cli import main as comptoir


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("run", "deliver", "woken"))
    parser.add_argument("route")
    parser.add_argument("--config", type=Path, required=True)
    chosen = parser.parse_args()
    with open_hub(chosen.config):
        """Everything is loaded, as in a process that has just ended another run."""
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
