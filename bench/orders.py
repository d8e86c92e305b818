"""Orders of a shop into PostgreSQL, end to end, each contender a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import psycopg

from bench import shop
from bench.measure import Cost, Differs, Skipped, alternate, cache, goal, median, run_child, table
from bench.store import Server

__all__ = ["Merchant", "facts", "run"]

_CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]
"""
_OURS = Path(sys.executable).with_name("comptoir")
_SUMS = {
    "sales_order": "sum(total), sum(total_tax), sum(computed_total), sum(residual)",
    "order_line": "sum(net), sum(tax), sum(list_net), sum(quantity)",
    "document_charge": "sum(net), sum(tax)",
    "document_discount": "sum(net), sum(tax)",
    "document_payment": "sum(amount)",
    "document_tax": "sum(amount), sum(base)",
    **dict.fromkeys(("raw_record", "raw_payload", "binding", "delivery", "outcome", "personal_party")),
}


class Merchant:
    """A folder with a configuration, the shop's address and a fresh database for each run."""

    def __init__(self, folder: Path, address: str, server: Server) -> None:
        self.folder, self.address, self.server = folder, address, server
        (folder / "comptoir.toml").write_text(_CONFIG)
        (folder / "exchange" / "ebp").mkdir(parents=True, exist_ok=True)

    def comptoir(self, url: str, *more: str) -> tuple[Cost, dict[str, object]]:
        """What `comptoir run orders` took, and its report."""
        access = {"conn_type": "woocommerce", "host": self.address, "login": shop.KEY, "password": shop.SECRET}
        env = {"COMPTOIR_DATABASE_URL": url, "AIRFLOW_CONN_BOUTIQUE": json.dumps(access)}
        cost, output = run_child([_OURS, "run", "orders", "--json", *more], env=env, cwd=self.folder)
        return cost, json.loads(output)

    def rival(self, name: str, url: str, *more: str) -> Cost:
        """What another contender of `bench.rivals` took."""
        return run_child(
            [sys.executable, "-m", f"bench.rivals.{name}", self.address, shop.KEY, shop.SECRET, url, *more],
            env={"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            cwd=self.folder,
        )[0]

    def dlt(self, url: str) -> Cost:
        """What dlt took, in its own environment."""
        with tempfile.TemporaryDirectory() as state:
            script = Path(__file__).with_name("rivals") / "dlt_run.py"
            return run_child([_dlt_python(), script, self.address, shop.KEY, shop.SECRET, url, state], cwd=self.folder)[
                0
            ]


def facts(url: str) -> dict[str, tuple[object, ...]]:
    """Rows and sums of every table that is written."""
    with psycopg.connect(url) as connection:
        return {
            name: tuple(
                x.normalize() if isinstance(x, Decimal) else x
                for x in connection.execute(
                    f"select count(*){', ' + sums if sums else ''} from {name}".encode()  # noqa: S608 - our own names
                ).fetchone() or ()
            )
            for name, sums in _SUMS.items()
        }  # fmt: skip


def _dlt_facts(url: str) -> dict[str, tuple[object, ...]]:
    queries = {
        "sales_order": "select count(*), sum(total::numeric), sum(total_tax::numeric) from shop.orders",
        "order_line": "select count(*), sum(total::numeric), sum(total_tax::numeric) from shop.orders__line_items",
    }
    with psycopg.connect(url) as connection:
        return {
            name: tuple(
                x.normalize() if isinstance(x, Decimal) else x
                for x in connection.execute(query.encode()).fetchone() or ()
            )
            for name, query in queries.items()
        }


def run(options: Namespace) -> None:
    """Measures all contenders at the chosen latency."""
    with (
        tempfile.TemporaryDirectory() as folder,
        shop.running(options.orders, options.latency) as address,
        Server.running(Path(folder) / "server") as server,
    ):
        merchant = Merchant(Path(folder), address, server)
        results: dict[str, dict[str, tuple[object, ...]]] = {}

        def ours(url: str) -> Cost:
            cost, report = merchant.comptoir(url)
            if report["considered"] != options.orders or report["quarantined"]:
                raise Differs(f"ours considered {report['considered']}, quarantined {report['quarantined']}")
            return cost

        def contender(name: str, work: Callable[[str], Cost], *, ours_tables: bool = True) -> Callable[[], Cost]:
            def once() -> Cost:
                url = server.create(empty=not ours_tables)
                try:
                    cost = work(url)
                    results[name] = facts(url) if ours_tables else _dlt_facts(url)
                    return cost
                finally:
                    server.drop(url)

            return once

        contenders = {
            "ours": contender("ours", ours),
            "limit": contender("limit", lambda url: merchant.rival("limit", url)),
            "plain": contender("plain", lambda url: merchant.rival("plain", url)),
            "dlt, all fields": contender("dlt, all fields", merchant.dlt, ours_tables=False),
        }
        if options.only is not None:
            contenders = {n: c for n, c in contenders.items() if n == "ours" or n.split(",")[0] in options.only}
        costs, skipped = alternate(contenders, options.rounds)
        _compare(results)
        _show(options, {name: median(found) for name, found in costs.items()}, skipped)


def _compare(results: dict[str, dict[str, tuple[object, ...]]]) -> None:
    reference = results["ours"]
    for name, found in results.items():
        for table_name, values in found.items():
            # dlt knows the shop's own columns only: rows, and the first two sums of orders and of lines.
            if values != reference[table_name][: len(values)]:
                raise Differs(f"{name} has {values} in {table_name}, ours {reference[table_name]}")


def _show(options: Namespace, costs: dict[str, Cost], skipped: dict[str, str]) -> None:
    ours = costs["ours"]
    rows = []
    for name, cost in sorted(costs.items(), key=lambda item: item[1].wall):
        rows.append(
            [
                name,
                f"{options.orders / cost.wall:,.0f}",
                f"{cost.wall:.2f}",
                f"{cost.cpu / options.orders * 10_000:.2f}",
                f"{cost.rss:.0f}",
                f"{cost.wall / ours.wall:.2f}",
                f"{cost.cpu / ours.cpu:.2f}",
            ]
        )
    rows += [[name, "skipped", "", "", "", "", ""] for name in skipped]
    table(
        f"orders: {options.orders:,} end to end into PostgreSQL, {options.latency:g} ms a request, "
        f"median of {options.rounds}, start-up included",
        ["contender", "orders/s", "s", "CPU s per 10k", "peak MiB", "wall / ours", "CPU / ours"],
        rows,
    )
    distant = options.latency >= 20
    for name, least, aim in (("dlt, all fields", 5.0, 8.0), ("plain", 2.0, 2.0)) if distant else (
        ("dlt, all fields", 3.0, 5.0), ("plain", 1.5, 1.5)
    ):  # fmt: skip
        if name in costs:
            times = costs[name].wall / ours.wall
            goal(f"{times:.1f} times {name} (at least {least:g}, aim {aim:g})", times >= least)
    if "limit" in costs:
        share, aim = costs["limit"].wall / ours.wall, 0.6 if distant else 0.35
        goal(f"{share:.0%} of the bare limit that writes the same rows (aim {aim:.0%})", share >= aim)
    per_10k = ours.cpu / options.orders * 10_000
    goal(f"{per_10k:.1f} CPU seconds per 10,000 orders (at most 4)", per_10k <= 4)
    goal(f"{ours.rss:.0f} MiB at most (150)", ours.rss <= 150)


def _dlt_python() -> Path:
    """The interpreter of dlt's environment, made on first use; Skipped when it cannot be."""
    folder = cache() / "dlt"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        try:
            run_child([sys.executable, "-m", "venv", "--clear", folder])
            run_child([python, "-m", "pip", "install", "--quiet", "dlt[postgres]"])
        except (OSError, RuntimeError) as error:
            raise Skipped(f"dlt could not be installed: {str(error).strip().splitlines()[-1]}") from None
        (folder / "ready").touch()
    return python
