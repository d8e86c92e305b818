"""Nothing has changed: a full read of known orders, against a plain loop that writes everything anew."""

from __future__ import annotations

import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from comptoir.app.bootstrap import open_hub
from comptoir.app.system import SystemClock, rare_collection
from comptoir.engine.counts import RunReport
from comptoir.engine.land import Lander
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import RawItem
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from bench import shop
from bench.measure import Cost, Differs, alternate, goal, median, table
from bench.orders import Merchant, facts
from bench.store import Server

__all__ = ["run"]


def run(options: Namespace) -> None:
    """Both ways: the command with its reading, and the landing of records alone."""
    with (
        tempfile.TemporaryDirectory() as folder,
        shop.running(options.orders, options.latency) as address,
        Server.running(Path(folder) / "server") as server,
    ):
        merchant = Merchant(Path(folder), address, server)
        _whole(options, merchant)
        _landing(options, merchant)


def _whole(options: Namespace, merchant: Merchant) -> None:
    first, second = merchant.server.create(), merchant.server.create()
    merchant.comptoir(first)
    merchant.rival("plain", second)
    before = facts(first), facts(second)

    def ours() -> Cost:
        cost, report = merchant.comptoir(first, "--full")
        if report["unchanged"] != options.orders or report["changed"]:
            raise Differs(f"ours found {report['unchanged']} unchanged and {report['changed']} changed orders")
        return cost

    contenders: dict[str, Callable[[], Cost]] = {
        "ours, run --full": ours,
        "plain, writes all anew": lambda: merchant.rival("plain", second, "again"),
    }
    costs, _ = alternate(contenders, options.rounds)
    if before != (facts(first), facts(second)) or before[0] != before[1]:
        raise Differs("a second read of the same orders left other rows or sums")
    base = median(costs["ours, run --full"])
    rows = []
    for name, found in costs.items():
        cost = median(found)
        rows.append([name, f"{options.orders / cost.wall:,.0f}", f"{cost.wall:.2f}",
                     f"{cost.cpu / options.orders * 10_000:.2f}", f"{cost.rss:.0f}",
                     f"{cost.wall / base.wall:.2f}", f"{cost.cpu / base.cpu:.2f}"])  # fmt: skip
    table(
        f"resync: {options.orders:,} unchanged orders read again, {options.latency:g} ms a request, "
        f"median of {options.rounds}, start-up and fetch included",
        ["contender", "orders/s", "s", "CPU s per 10k", "peak MiB", "wall / ours", "CPU / ours"],
        rows,
    )


def _landing(options: Namespace, merchant: Merchant) -> None:
    """Records that are decoded already: what `Lander.land` takes for those that it knows."""
    url = merchant.server.create()
    os.environ["COMPTOIR_DATABASE_URL"] = url
    os.environ["AIRFLOW_CONN_BOUTIQUE"] = json.dumps({"conn_type": "woocommerce"})
    records = _records(min(options.orders, 10_000))
    clock = SystemClock()
    try:
        with open_hub(merchant.folder / "comptoir.toml") as hub, rare_collection():
            report = RunReport(hub.ports.ids.new(), "orders", EntityName.ORDER)
            lander = Lander(hub, hub.link("boutique"), report)
            batches = [records[i : i + hub.batch_records] for i in range(0, len(records), hub.batch_records)]

            def land() -> Cost:
                cpu, wall = os.times(), clock.monotonic()
                for batch in batches:
                    lander.land(batch)
                after = os.times()
                return Cost(clock.monotonic() - wall, after.user - cpu.user + after.system - cpu.system)

            land()
            costs, _ = alternate({"land": land}, options.rounds * 3)
            if report.main.unchanged != len(records) * (options.rounds * 3 + 1):
                raise Differs(f"{report.main.unchanged} of {len(records)} records were taken for unchanged")
    finally:
        del os.environ["COMPTOIR_DATABASE_URL"]
    best = min(cost.wall for cost in costs["land"])
    usual = median(costs["land"])
    table(
        f"resync: {len(records):,} unchanged orders landed, fetch and decoding excluded",
        ["what", "orders/s", "us each"],
        [
            ["wall, median", f"{len(records) / usual.wall:,.0f}", f"{usual.wall / len(records) * 1e6:.1f}"],
            ["wall, least", f"{len(records) / best:,.0f}", f"{best / len(records) * 1e6:.1f}"],
            ["CPU, median", f"{len(records) / max(usual.cpu, 1e-9):,.0f}", f"{usual.cpu / len(records) * 1e6:.1f}"],
        ],
    )
    goal(f"{len(records) / usual.wall:,.0f} rows/s (at least 60,000, aim 120,000)", len(records) / usual.wall >= 60_000)


def _records(count: int) -> list[RawItem]:
    made = WooCommerceSandbox(clock=SystemClock(), seed=1)
    made.seed_orders(count)
    records: list[dict[str, Any]] = [orjson.loads(made.order_bytes(number)) for number in made.orders]
    return [RawItem(EntityName.ORDER, str(record["id"]), record, None) for record in records]
