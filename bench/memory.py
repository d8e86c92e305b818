"""Peak memory of a run, ten times as many orders later."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path

from bench import shop
from bench.measure import Cost, Differs, goal, table
from bench.orders import Merchant
from bench.store import Server

__all__ = ["run"]

_SIZES = (10_000, 100_000)


def run(options: Namespace) -> None:
    """One run of each size: memory does not wander with the neighbours."""
    found: dict[int, Cost] = {}
    for orders in _SIZES:
        with (
            tempfile.TemporaryDirectory() as folder,
            shop.running(orders) as address,
            Server.running(Path(folder) / "server") as server,
        ):
            cost, report = Merchant(Path(folder), address, server).comptoir(server.create())
            if report["considered"] != orders or report["quarantined"]:
                raise Differs(f"{report['considered']} of {orders} considered, {report['quarantined']} quarantined")
            found[orders] = cost
    table(
        "memory: peak of `comptoir run orders`",
        ["orders", "peak MiB", "s", "CPU s per 10k"],
        [[f"{n:,}", f"{c.rss:.0f}", f"{c.wall:.1f}", f"{c.cpu / n * 10_000:.2f}"] for n, c in found.items()],
    )
    small, large = (found[size].rss for size in _SIZES)
    goal(f"{large / small - 1:+.0%} from {_SIZES[0]:,} to {_SIZES[1]:,} orders (at most +10 %)", large <= small * 1.1)
    goal(f"{large:.0f} MiB (at most 150, aim 100)", large <= 150)
