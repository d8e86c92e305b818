"""The declarative mapping of an order against one written by hand, to the same validated model."""

from __future__ import annotations

import gc
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import orjson

from comptoir.app.mappings import CONTEXT
from comptoir.app.system import SystemClock
from comptoir.errors import ComptoirError
from comptoir.mapping import load_mapping
from comptoir.paths import mappings_dir
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from bench import handwritten
from bench.measure import REPOSITORY, Cost, Differs, alternate, goal, median, table

__all__ = ["recorded_orders", "run"]

#: Records a pass; few enough to stay in the processor's cache with what they are mapped to.
_RECORDS = 2_000


def recorded_orders() -> list[dict[str, Any]]:
    """Every order in the recorded exchanges and golden records."""
    found: dict[bytes, dict[str, Any]] = {}
    folders = (REPOSITORY / "tests" / "data" / "woocommerce", mappings_dir() / "woocommerce" / "golden" / "order.in")
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            for record in _orders_in(orjson.loads(path.read_bytes())):
                found[orjson.dumps(record, option=orjson.OPT_SORT_KEYS)] = record
    if not found:
        raise Differs("there is no recorded order to map")
    return list(found.values())


def _orders_in(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, list):
        return [order for element in data for order in _orders_in(element)]
    if not isinstance(data, dict):
        return []
    if "line_items" in data and "billing" in data and "number" in data and "totals" not in data:
        return [data]
    return [order for value in data.values() for order in _orders_in(value)]


def _made_up_orders(count: int) -> list[dict[str, Any]]:
    shop = WooCommerceSandbox(clock=SystemClock(), seed=3)
    shop.seed_orders(count)
    return [orjson.loads(shop.order_bytes(number)) for number in shop.orders]


def run(options: Namespace) -> None:
    """Asserts equal results, then measures both."""
    mapping = load_mapping("woocommerce", "order", "in", [mappings_dir()])
    context = {**CONTEXT, "config.time_zone": None}
    taken: list[dict[str, Any]] = []
    refused = 0
    recorded = recorded_orders()
    for record in (*recorded, *_made_up_orders(_RECORDS - len(recorded))):
        try:
            declared = mapping.to_model(record, context)
        except ComptoirError:
            refused += 1  # a recorded order that no mapping takes: it would wait for a person
            continue
        written = handwritten.order(record, context)
        if declared != written:
            raise Differs(f"order {record.get('number')}: {_difference(declared, written)}")
        taken.append(record)

    def declared_alone() -> None:
        for record in taken:
            mapping.apply(record, context)

    def written_alone() -> None:
        for record in taken:
            handwritten.order_fields(record, context)

    def declared_whole() -> None:
        for record in taken:
            mapping.to_model(record, context)

    def written_whole() -> None:
        for record in taken:
            handwritten.order(record, context)

    contenders = {
        "declarative": declared_whole,
        "hand-written": written_whole,
        "declarative, fields only": declared_alone,
        "hand-written, fields only": written_alone,
    }
    gc.collect()
    gc.freeze()
    costs, _ = alternate({name: _timed(work) for name, work in contenders.items()}, options.rounds * 7)
    gc.unfreeze()
    rows, rates = [], {}
    for name, found in costs.items():
        # The least of many short passes: anything above it is the neighbours'.
        cpu = min(cost.cpu for cost in found)
        rates[name] = len(taken) / cpu
        base = rates.get("declarative" if "," not in name else "declarative, fields only", rates[name])
        rows.append([name, f"{rates[name]:,.0f}", f"{median(found).cpu / len(taken) * 1e6:.1f}",
                     f"{cpu / len(taken) * 1e6:.1f}", f"{rates[name] / base:.2f}"])  # fmt: skip
    table(
        f"mapping: {len(recorded)} recorded and {len(taken) - len(recorded) + refused} made-up orders, one core",
        ["contender", "orders/s of CPU", "us, median", "us, least", "times declarative"],
        rows,
    )
    share = rates["declarative"] / rates["hand-written"]
    goal(
        f"{share:.1%} of hand-written (goal 97 %, at least 85 %); results equal for {len(taken)} orders", share >= 0.97
    )


def _timed(work: Callable[[], None]) -> Callable[[], Cost]:
    def once() -> Cost:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return Cost(time.perf_counter() - wall, time.process_time() - cpu)

    return once


def _difference(one: Any, other: Any) -> str:
    a, b = one.model_dump(), other.model_dump()
    return "; ".join(f"{name}: {a[name]!r} against {b[name]!r}" for name in a if a[name] != b[name])[:500]
