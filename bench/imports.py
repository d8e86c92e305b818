"""What starting costs before anything useful happens: CPU seconds, bytecode compiled."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from bench import shop
from bench.measure import Cost, alternate, goal, median, run_child, table
from bench.orders import Merchant
from bench.store import Server

__all__ = ["run"]


def run(options: Namespace) -> None:
    """An empty Python, our imports, `--help`, a run that finds nothing new (the warm-up has read the one order), and a
    first one, which makes a second process."""
    program = Path(sys.executable).with_name("comptoir")
    with (
        tempfile.TemporaryDirectory() as folder,
        shop.running(1) as address,
        Server.running(Path(folder) / "server") as server,
    ):
        merchant = Merchant(Path(folder), address, server)
        url = server.create()

        def python(*arguments: str) -> Cost:
            return run_child([sys.executable, *arguments], cwd=merchant.folder)[0]

        def first() -> Cost:
            new = server.create()
            try:
                return merchant.comptoir(new)[0]
            finally:
                server.drop(new)

        costs, _ = alternate(
            {
                "python -c pass": lambda: python("-c", "pass"),
                "import comptoir.cli.commands": lambda: python("-c", "import comptoir.cli.commands"),
                "comptoir --help": lambda: run_child([program, "--help"], cwd=merchant.folder)[0],
                "comptoir run orders, nothing new": lambda: merchant.comptoir(url)[0],
                "comptoir run orders, the first": first,
            },
            options.rounds + 2,
        )
    rows = []
    for name, found in costs.items():
        cost = median(found)
        rows.append(
            [name, f"{cost.cpu:.2f}", f"{min(c.cpu for c in found):.2f}", f"{cost.wall:.2f}", f"{cost.rss:.0f}"]
        )
    table("imports: to start", ["what", "CPU s, median", "CPU s, least", "s", "peak MiB"], rows)
    commands = median(costs["import comptoir.cli.commands"]).cpu
    empty, new = (median(costs[f"comptoir run orders, {what}"]).cpu for what in ("nothing new", "the first"))
    goal(f"{commands:.2f} CPU s to the command line (at most 0.4)", commands <= 0.4)
    goal(f"{empty:.2f} CPU s for a run that finds nothing new, its requests and the end included (0.6)", empty <= 0.6)
    goal(f"{new:.2f} CPU s for a connection's first run, of one order (0.8)", new <= 0.8)
