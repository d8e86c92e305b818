"""A hundred thousand changed stocks from a back office to a shop, beside the loop one would write and the limit."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from bench import goods
from bench.goods import KEY, SECRET, Served, quantity, sku
from bench.measure import Cost, Differs, goal, median, run_child, say, table
from bench.store import Server

__all__ = ["BackOffice", "run"]

_CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
"""
_OURS = Path(sys.executable).with_name("comptoir")
_CALL = 100
_IN_FLIGHT = 8
#: Milliseconds before each answer when none are named: a distant shop, as the goals are meant.
_LATENCY = 50.0
#: One open order of one unit for each of the first so many items; the rest of the history is settled.
_OPEN = 100
_HISTORY = 100_000


class BackOffice:
    """A folder with a configuration and EBP's exports, which a shop and a database go with."""

    def __init__(self, folder: Path, served: Served | None, url: str) -> None:
        self.folder = folder
        self.url = url
        self._served = served
        self._age = time.time() - 86_400
        (folder / "exchange" / "ebp" / "export").mkdir(parents=True)
        (folder / "comptoir.toml").write_text(_CONFIG, encoding="utf-8")

    def export_items(self, count: int) -> None:
        """The items, as EBP's command line writes them."""
        head = "Id;Caption;BarCode;SalePriceVatExcluded;SalePriceVatIncluded;VatRate;ManageStock"
        rows = (f"{sku(n)};ARTICLE {n:06d};;{5 + n % 90},75;{5 + n % 90},90;20,00;1" for n in range(count))
        self._write("ARTICLES.csv", [head, *rows])

    def export_stock(self, quantities: Sequence[int]) -> None:
        """The stock, each file a minute newer than the one before."""
        rows = (f"{sku(n)};PRINCIPAL;{real};0" for n, real in enumerate(quantities))
        self._write("STOCK.csv", ["ItemId;StorehouseId;RealStock;BookedQuantity", *rows])

    def _write(self, name: str, lines: Sequence[str]) -> None:
        self._age += 60
        path = self.folder / "exchange" / "ebp" / "export" / name
        path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))
        os.utime(path, (self._age, self._age))

    def comptoir(self, *arguments: str) -> tuple[Cost, dict[str, Any]]:
        """What a command took, and its report."""
        cost, output = run_child([_OURS, *arguments, "--json"], env=self.environment(), cwd=self.folder)
        return cost, json.loads(output)

    def environment(self) -> dict[str, str]:
        """What a process of this installation needs."""
        address = self._served.address if self._served else "http://127.0.0.1:9"
        access = {"conn_type": "woocommerce", "host": address, "login": KEY, "password": SECRET}
        return {"COMPTOIR_DATABASE_URL": self.url, "AIRFLOW_CONN_BOUTIQUE": json.dumps(access)}

    def history(self, count: int) -> None:
        """Orders of the shop that EBP has taken long ago, and a few that it was not told of: one unit each."""
        with psycopg.connect(self.url) as connection:
            connection.execute(_ORDERS, {"count": count, "open": min(_OPEN, count)})
            connection.execute(_LINES, {"first": goods.FIRST_ID})
            connection.execute(_DELIVERIES, {"open": min(_OPEN, count)})
            connection.execute("analyze")


def run(options: Namespace) -> None:
    """Links everything once, then measures versions of the stock file in turn with the contenders."""
    count, latency = options.items, options.latency or _LATENCY
    with (
        tempfile.TemporaryDirectory() as folder,
        goods.running(count, latency) as served,
        Server.running(Path(folder) / "server") as server,
    ):
        office = BackOffice(Path(folder), served, server.create())
        bench = _Bench(office, served, server, count, latency)
        bench.link()
        for number in range(1, options.rounds + 1):
            bench.round(number)
        bench.again()
        bench.show()


class _Bench:
    """The measured steps; each checks what the shop shows and which requests it had."""

    def __init__(self, office: BackOffice, served: Served, server: Server, count: int, latency: float) -> None:
        self._office = office
        self._served = served
        self._server = server
        self._count = count
        self._latency = latency
        self._took: dict[str, list[Cost]] = {}
        self._version = 0

    def link(self) -> None:
        """Lands and links all items; one stock differs, so that a first write is behind us."""
        self._office.export_items(self._count)
        self._office.export_stock([self._wanted(n, 0) + (n == self._count - 1) for n in range(self._count)])
        cost, report = self._comptoir("run", "stock")
        if report["matched"] != {"gesco -> boutique": {"linked": self._count, "to review": 0, "without match": 0}}:
            raise Differs(f"not everything was linked: {report['matched']}")
        self._note("first run: both catalogues read, linked", cost)
        self._office.history(_HISTORY)
        self._served.quiet()
        self._served.requests()

    def round(self, number: int) -> None:
        """The next version of all stocks, through the command; the rivals write what stands already."""
        self._version = number
        order = [self._ours, self._sequential, self._limit]
        for step in order if number % 2 else [self._rival_first, self._ours]:
            step()

    def _rival_first(self) -> None:
        self._version -= 1
        self._limit()
        self._sequential()
        self._version += 1

    def _ours(self) -> None:
        self._served.quiet()
        wanted = [self._wanted(n, self._version) for n in range(self._count)]
        self._office.export_stock(
            [w + (n < _OPEN) for n, w in enumerate(wanted)]  # one of each of these is promised
        )
        self._served.requests()
        planned, _ = self._comptoir("run", "stock", "--plan")
        self._note("ours, read the file, compare", planned)
        self._calls("POST /wp-json/wc/v3/products/batch", 0)
        sent, report = self._comptoir("deliver", "stock")
        if report["delivered"] != self._count or report["rejected"]:
            raise Differs(f"{report['delivered']} delivered, {report['rejected']} rejected of {self._count}")
        self._note("ours, comptoir deliver", sent)
        self._calls("POST /wp-json/wc/v3/products/batch", -(-self._count // _CALL))
        if self._served.stock() != wanted:
            raise Differs("the shop does not show the stock that was wanted")

    def _comptoir(self, *arguments: str) -> tuple[Cost, dict[str, Any]]:
        before = self._server.cpu(), self._served.cpu()
        cost, report = self._office.comptoir(*arguments)
        return self._with_others(cost, before), report

    def _with_others(self, cost: Cost, before: tuple[float, float]) -> Cost:
        """The same, with what PostgreSQL and the shop took for it."""
        others = {"store": self._server.cpu() - before[0], "shop": self._served.cpu() - before[1]}
        return Cost(cost.wall, cost.cpu, cost.rss, others)

    def _sequential(self) -> None:
        part = max(_CALL, self._count // 10)
        cost = self._push(part, 1)
        whole = self._count / part
        others = {name: float(str(value)) * whole for name, value in cost.facts.items()}
        self._note("sequential, requests (scaled)", Cost(cost.wall * whole, cost.cpu * whole, cost.rss, others))

    def _limit(self) -> None:
        self._note(f"{_IN_FLIGHT} threads, no store", self._push(self._count, _IN_FLIGHT))

    def _push(self, count: int, threads: int) -> Cost:
        # What the shop shows already: nothing is left for ours to find changed but the dates.
        before = self._server.cpu(), self._served.cpu()
        cost, _ = run_child(
            [sys.executable, "-m", "bench.rivals.push", self._served.address, KEY, SECRET, str(count),
             str(self._version), str(threads)],
            env={"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        )  # fmt: skip
        return self._with_others(cost, before)

    def again(self) -> None:
        """The echo of our own writes, then nothing new at all."""
        self._served.requests()
        echo, report = self._comptoir("run", "stock")
        self._nothing_written(report)
        self._note("ours, echo of what was written", echo)
        self._served.quiet()
        for _ in range(3):
            cost, report = self._comptoir("run", "stock")
            self._nothing_written(report)
            self._note("ours, nothing changed", cost)
        self._office.export_stock([self._wanted(n, self._version) + (n < _OPEN) for n in range(self._count)])
        cost, report = self._comptoir("run", "stock")
        self._nothing_written(report)
        self._note("ours, the same stock in a new file", cost)

    def _nothing_written(self, report: dict[str, Any]) -> None:
        self._calls("POST /wp-json/wc/v3/products/batch", 0)
        if report["delivered"] or report["rejected"]:
            raise Differs(f"{report['delivered']} were written though nothing had changed")

    def _calls(self, what: str, expected: int) -> None:
        made = self._served.requests().get(what, 0)
        if made != expected:
            raise Differs(f"{made} calls of {what} instead of {expected}")

    def _wanted(self, number: int, version: int) -> int:
        return quantity(number, version)

    def _note(self, name: str, cost: Cost) -> None:
        self._took.setdefault(name, []).append(cost)
        if sys.stderr.isatty() or os.environ.get("BENCH_STEPS"):
            print(f"  {name}: {cost.wall:.2f} s, {cost.cpu:.2f} s CPU, {cost.rss:.0f} MiB", file=sys.stderr, flush=True)

    def show(self) -> None:
        """The tables and the goals."""
        count = self._count
        ceiling = _CALL * _IN_FLIGHT / (self._latency / 1000)
        took = {name: median(costs) for name, costs in self._took.items()}
        table(
            f"stock: {count:,} linked products, {_HISTORY:,} orders of history, {self._latency:g} ms a request, "
            f"median of {len(self._took['ours, comptoir deliver'])}, start-up included",
            ["step", "items/s", "s", "CPU s per 100k", "PostgreSQL's", "the shop's", "peak MiB"],
            [
                [
                    name,
                    f"{count / c.wall:,.0f}",
                    f"{c.wall:.2f}",
                    *(f"{s / count * 100_000:.2f}" for s in (c.cpu, *(float(str(v)) for v in c.facts.values()))),
                    f"{c.rss:.0f}",
                ]
                for name, c in took.items()
            ],
        )
        ours, limit = took["ours, comptoir deliver"], took[f"{_IN_FLIGHT} threads, no store"]
        slow = took["sequential, requests (scaled)"]
        share = count / ours.wall / ceiling
        say(f"- exactly {-(-count // _CALL):,} calls for {count:,} changed stocks, none for unchanged ones; "
            "the shop shows what was wanted")  # fmt: skip
        goal(f"{share:.0%} of the ceiling of {ceiling:,.0f} items/s at {_IN_FLIGHT} in flight (at least 65 %)",
             share >= 0.65)  # fmt: skip
        goal(f"{slow.wall / ours.wall:.1f} times the sequential loop (at least 6)", slow.wall >= 6 * ours.wall)
        say(f"- {limit.wall / ours.wall:.0%} of the same calls with {_IN_FLIGHT} threads and no store")


_ORDERS = """
insert into sales_order (id, connection, external_id, number, source_status, ordered_at, ordered_on, currency,
  price_basis, rounding_level, rounding_mode, account, payment_state, fulfilment_state, return_state, hold,
  payment_method, total, total_tax, computed_total, residual, before_cutover, raw_id, mapping_hash, rev, created_at,
  updated_at)
select gen_random_uuid(), 'boutique', 'H' || n, 'H' || n, 'processing', t, t::date, 'EUR', 'incl', 'line', 'half_up',
  'b2c', 'paid', case when n <= %(open)s then 'open' else 'shipped' end, 'none', 'none', 'card', 10, 0, 10, 0, false,
  gen_random_uuid(), 'bench', 1, t, t
from (select n, comptoir_now() - make_interval(days => 30, mins => n) as t from generate_series(1, %(count)s) n) x
"""
_LINES = """
insert into order_line (document_id, position, external_id, kind, item_id, sku, name, quantity, unit, unit_price,
  list_net, list_tax, net, tax)
select o.id, p, o.external_id || '-' || p, 'item',
  (%(first)s + (substr(o.external_id, 2)::int - 1 + case when p = 0 then 0 else p * 5003 + 1000 end) %% 5000)::text,
  null, 'Article', 1, 'piece', 10, 10, 0, 10, 0
from sales_order o, generate_series(0, 2) p
where o.connection = 'boutique' and (p = 0 or o.fulfilment_state = 'shipped')
"""
_DELIVERIES = """
insert into delivery (id, target, entity, record_id, source, route, natural_key, action, state, outcome, due_at,
  created_at, settled_at, acknowledged_at)
select gen_random_uuid(), 'gesco', 'order', o.id, 'boutique', 'orders', o.number, 'create', 'confirmed', 'accepted',
  o.created_at, o.created_at, o.created_at, o.created_at
from sales_order o where o.fulfilment_state = 'shipped'
"""
