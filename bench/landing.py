"""What it costs to take a back office's files in: read, compared, mapped, stored, without any shop.

python -m bench.landing COMPTOIR.TOML ENTITY      (one reading, as the bench starts it)
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from comptoir.app.bootstrap import open_hub
from comptoir.app.system import rare_collection
from comptoir.engine.counts import RunReport
from comptoir.engine.pull import pull
from comptoir.model.refs import EntityName

from bench.goods import quantity
from bench.measure import REPOSITORY, Cost, Differs, goal, median, run_child, table
from bench.stock import BackOffice
from bench.store import Server

__all__ = ["run"]

_SMALL, _STOCK, _ITEMS = 10_000, 100_000, 20_000


def run(options: Namespace) -> None:
    """New rows, changed rows, the same rows in a newer file, and a file that is no newer."""
    took: dict[str, tuple[int, list[Cost]]] = {}
    with tempfile.TemporaryDirectory() as folder, Server.running(Path(folder) / "server") as server:
        for number in range(options.rounds):
            for size in (_SMALL, _STOCK):
                home = Path(folder) / f"{number}-{size}"
                home.mkdir()
                office = BackOffice(home, None, server.create())
                _stock(office, size, took)
                if size == _STOCK:
                    _items(office, took)
                server.drop(office.url)
    table(
        f"landing: rows of EBP's files, start-up included, median of {options.rounds}",
        ["what", "rows/s", "s", "CPU s per 10k", "peak MiB"],
        [
            [name, f"{size / c.wall:,.0f}", f"{c.wall:.2f}", f"{c.cpu / size * 10_000:.2f}", f"{c.rss:.0f}"]
            for name, (size, costs) in took.items()
            for c in (median(costs),)
        ],
    )
    small, large = (median(took[f"{size:,} new stocks"][1]).rss for size in (_SMALL, _STOCK))
    goal(f"{large / small - 1:+.0%} memory from {_SMALL:,} to {_STOCK:,} rows (at most +10 %)", large <= small * 1.1)


def _stock(office: BackOffice, size: int, took: dict[str, tuple[int, list[Cost]]]) -> None:
    def land(name: str, version: int | None, expected: tuple[int, int]) -> None:
        if version is not None:
            office.export_stock([quantity(n, version) for n in range(size)])
        _land(office, "stock", name, size, expected, took)

    land(f"{size:,} new stocks", 0, (size, size))
    if size == _STOCK:
        land(f"{size:,} changed stocks", 1, (size, size))
        land(f"{size:,} stocks, a newer file that says the same", 1, (size, 0))
        land(f"{size:,} stocks, the file is no newer", None, (0, 0))


def _items(office: BackOffice, took: dict[str, tuple[int, list[Cost]]]) -> None:
    office.export_items(_ITEMS)
    _land(office, "item", f"{_ITEMS:,} new items", _ITEMS, (_ITEMS, _ITEMS), took)
    office.export_items(_ITEMS)
    _land(office, "item", f"{_ITEMS:,} items, a newer file that says the same", _ITEMS, (_ITEMS, 0), took)


def _land(
    office: BackOffice,
    entity: str,
    name: str,
    size: int,
    expected: tuple[int, int],
    took: dict[str, tuple[int, list[Cost]]],
) -> None:
    cost, output = run_child(
        [sys.executable, "-m", "bench.landing", office.folder / "comptoir.toml", entity],
        env={**office.environment(), "PYTHONPATH": str(REPOSITORY)},
        cwd=office.folder,
    )
    counts: dict[str, Any] = json.loads(output)
    if (counts["considered"], counts["changed"]) != expected or counts["quarantined"]:
        raise Differs(f"{name}: {counts}")
    took.setdefault(name, (size, []))[1].append(cost)


def main() -> None:
    """One reading; its counts as JSON."""
    config, name = Path(sys.argv[1]), EntityName(sys.argv[2])
    with open_hub(config) as hub, rare_collection():
        report = RunReport(hub.ports.ids.new(), "landing", name)
        pull(hub, hub.link("gesco"), name, report)
        print(json.dumps(report.entities[name].as_dict()))


if __name__ == "__main__":
    main()
