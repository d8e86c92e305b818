"""Many real processes at once, and killed ones: each change lands once, each target is written to once.

The shop, the gateway, the till and PostgreSQL are real servers on the loopback, the workers are processes of their own.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from comptoir_woocommerce.sandbox import WebhookRequestOut, WooCommerceSandbox, change, serve

from tests.support import till as tills
from tests.support.back_office import BackOffice
from tests.support.hooks import SECRET, Served
from tests.support.merchant import CONFIG, Merchant, simple_order
from tests.support.processes import BUSY, TILL_CONFIG, Worker, run_together, storm, worker_environment
from tests.support.till import Till

pytestmark = pytest.mark.integration

HEAD, _, _ = CONFIG.partition("[routes.orders]")
HOOKED = (
    HEAD.replace('folder = "exchange/ebp"', 'folder = "exchange/ebp"\nitem_identity = "Identity"')
    + """
[gateway]
url = "https://hooks.example.com"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]
triggers = ["webhook"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]
triggers = ["webhook"]
"""
)
SEED = 4


# -- fifty copies of one webhook -----------------------------------------------------------------------------------


@contextmanager
def _gateway(config: Path, environment: dict[str, str]) -> Iterator[Served]:
    """`comptoir gateway`, a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "comptoir", "--config", str(config), "gateway", "--port", str(port)]
    log = config.with_name("gateway.log")
    with log.open("wb") as written:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=written)
    try:
        found = Served(port)
        for _ in range(300):
            try:
                if found.post("/health", b"", method="GET").status == 200:
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def _post_copies(gateway: Served, sent: WebhookRequestOut, copies: int) -> Counter[int]:
    """Posts copies of one webhook at the same time, half of them under delivery ids of their own, which nobody signed.

    One that could not be stored in time is posted again, as its answer asks; how often each status was given.
    """
    seen: Counter[int] = Counter()

    def post(number: int) -> int:
        headers = {name.lower(): value for name, value in sent.headers.items()}
        if number % 2:
            headers["x-wc-webhook-delivery-id"] = f"copy-{number}"
        for _ in range(20):
            status = gateway.post("/hooks/boutique", sent.body, headers).status
            seen[status] += 1
            if status != 503:
                return status
            time.sleep(1.0)
        return 503

    with ThreadPoolExecutor(copies) as pool:
        assert list(pool.map(post, range(copies))) == [200] * copies, seen
    return seen


def _team(config: Path, environment: dict[str, str], route: str, workers: int) -> list[Worker]:
    """Polls, woken tasks and deliveries in equal parts, the rest polls."""
    commands = ["run", "woken", "deliver", "run"]
    return [Worker(commands[n % len(commands)], route, config, environment) for n in range(workers)]


def _ended_well(workers: list[Worker], ends: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Reports of those that did their work; another run may have read for longer than one waits for it."""
    for worker, (code, _) in zip(workers, ends, strict=True):
        assert code in (0, BUSY), worker.errors()
    reports = [report for code, report in ends if code == 0]
    assert len(reports) * 2 > len(workers), "most of them were sent away: this shows nothing"
    return reports


@pytest.fixture
def hooked(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = make_merchant(HOOKED)
    made.shop()
    return made


_TEAMS = [pytest.param(6, id="6 workers"), pytest.param(20, id="20 workers", marks=pytest.mark.slow)]


@pytest.mark.failure_mode(21)
@pytest.mark.failure_mode(26)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", _TEAMS)
def test_fifty_copies_of_a_webhook_and_a_poll_make_one_order(
    hooked: Merchant, database_url: str, workers: int, record_property: Callable[[str, object], None]
) -> None:
    shop = hooked.shops["boutique"]
    with serve(shop):
        hooked.over_http = True
        environment = worker_environment(database_url, shop)
        with _gateway(hooked.config, environment) as gateway:
            shop.webhooks.hooks.clear()
            hook = {"name": "orders", "topic": "order.created", "delivery_url": "http://127.0.0.1/", "secret": SECRET}
            change(shop, "POST", "webhooks", hook)
            shop.webhooks.pending_deliveries()
            order = change(shop, "POST", "orders", simple_order())
            [sent] = shop.webhooks.pending_deliveries()
            team = _team(hooked.config, environment, "orders", workers)
            ends = run_together(team, lambda: record_property("answers", dict(_post_copies(gateway, sent, 50))))
            # What came after the last worker had looked is the next run's.
            last = Worker("run", "orders", hooked.config, environment)
            ends += run_together([last], lambda: None)
    reports = _ended_well([*team, last], ends)

    number = str(order["id"])
    assert hooked.rows("select external_id, version from raw_record where entity = 'order'") == [(number, 1)]
    assert hooked.value("select count(*) from raw_payload") == 1
    assert hooked.rows("select external_id, rev from sales_order") == [(number, 1)]
    assert hooked.rows("select entity, external_id, done_at is not null from inbox") == [("order", number, True)]
    assert hooked.rows("select state, attempt from delivery") == [("confirmed", 1)]
    assert sum(report["changed"] for report in reports) == 1
    assert sum(report["delivered"] for report in reports) == 1
    assert hooked.order_numbers() == [number]
    assert len(list((hooked.exchange / "import").iterdir())) == 1


@pytest.mark.failure_mode(25)
@pytest.mark.failure_mode(26)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", _TEAMS)
def test_fifty_copies_of_a_webhook_and_a_poll_make_one_update_at_the_shop(
    hooked: Merchant, database_url: str, workers: int, record_property: Callable[[str, object], None]
) -> None:
    """Somebody sets a price in the shop that the back office owns: it is put right once, whoever sees it."""
    shop, office = hooked.shops["boutique"], BackOffice(hooked.exchange)
    product = change(
        shop, "POST", "products", {"type": "simple", "name": "Un mug", "sku": "M-1", "regular_price": "12.00"}
    )
    office.item("M-1", "MUG BLANC", "10.00", "12.00")
    office.export()
    with serve(shop):
        hooked.over_http = True
        environment = worker_environment(database_url, shop)
        with _gateway(hooked.config, environment) as gateway:
            first = Worker("run", "items", hooked.config, environment)
            [(code, report)] = run_together([first], lambda: None)
            assert code == 0, first.errors()
            assert report["matched"]["gesco -> boutique"]["linked"] == 1
            shop.webhooks.hooks.clear()
            hook = {"name": "items", "topic": "product.updated", "delivery_url": "http://127.0.0.1/", "secret": SECRET}
            change(shop, "POST", "webhooks", hook)
            shop.webhooks.pending_deliveries()
            shop.log.clear()
            which = f"select version from raw_record where connection = 'boutique' and external_id = '{product['id']}'"
            before = hooked.value(which)
            change(shop, "PUT", f"products/{product['id']}", {"regular_price": "9.90"})
            [sent] = shop.webhooks.pending_deliveries()
            team = _team(hooked.config, environment, "items", workers)
            ends = run_together(team, lambda: record_property("answers", dict(_post_copies(gateway, sent, 50))))
            last = Worker("run", "items", hooked.config, environment)
            ends += run_together([last], lambda: None)
    reports = _ended_well([*team, last], ends)

    writes = [entry.path for entry in shop.log if entry.method != "GET"]
    assert [path.removeprefix("/wp-json/wc/v3") for path in writes] == ["/products/batch"]
    assert shop.record("products", product["id"]).show(shop.show)["regular_price"] == "12.00"
    # The change by hand, and our own write as it was read back.
    assert hooked.value(which) == before + 2
    assert hooked.value("select count(*) from write_log") == 1
    assert hooked.rows("select done_at is not null from inbox where entity = 'item'") == [(True,)]
    assert hooked.rows("select state from publication where entity = 'item'") == [("done",)]
    assert sum(report["delivered"] for report in reports) == 1


# -- kill -9 -------------------------------------------------------------------------------------------------------


class _Sales:
    """So many orders, sold little by little while the processes run."""

    def __init__(self, shop: WooCommerceSandbox, total: int) -> None:
        self._shop = shop
        self._total = total
        self.numbers: list[str] = []

    def __call__(self, part: float) -> None:
        """All of them are sold when nine tenths of the storm are over."""
        due = min(self._total, max(self._total // 50, round(self._total * part / 0.9)))
        while len(self.numbers) < due:
            self.numbers.append(str(change(self._shop, "POST", "orders", simple_order())["id"]))


def _come_to_rest(merchant: Merchant, environment: dict[str, str]) -> int:
    """Runs, undisturbed, until nothing waits any more; how many rounds it took."""
    for number in range(1, 60):
        team = [Worker(command, "orders", merchant.config, environment) for command in ("run", "deliver", "deliver")]
        ends = run_together(team, lambda: None)
        for worker, (code, _) in zip(team, ends, strict=True):
            assert code == 0, worker.errors()
        if merchant.value("select count(*) from delivery where settled_at is null") == 0:
            return number
        time.sleep(0.5)
    waits = merchant.rows("select natural_key, state, due_at, reason from delivery where settled_at is null limit 5")
    raise AssertionError(f"something waits for ever: {waits}")


def _tell(record_property: Callable[[str, object], None], **figures: object) -> None:
    for name, figure in figures.items():
        record_property(name, str(figure))


_STORMS = [
    pytest.param(10, 200, id="10 kills", marks=[pytest.mark.slow, pytest.mark.timeout(240)]),
    pytest.param(100, 2000, id="100 kills", marks=[pytest.mark.slow, pytest.mark.timeout(1500)]),
]


def _once_each(merchant: Merchant, sales: _Sales, target: str, arrived: list[str]) -> None:
    doubled = [number for number, times in Counter(arrived).items() if times > 1]
    assert doubled == []
    assert sorted(arrived) == sorted(sales.numbers)
    assert merchant.value("select count(*) from sales_order") == len(sales.numbers)
    assert merchant.rows("select state, count(*) from delivery group by state") == [("confirmed", len(sales.numbers))]
    bound = f"select count(*) from binding where connection = '{target}' and entity = 'order' and state = 'linked'"
    assert merchant.value(bound) == len(sales.numbers)
    assert merchant.value("select count(*) from quarantine where state = 'open'") == 0


@pytest.mark.failure_mode(26)
@pytest.mark.failure_mode(27)
@pytest.mark.parametrize(("kills", "orders"), _STORMS)
def test_killed_while_writing_to_a_target_that_loses_answers_each_order_arrives_once(
    make_merchant: Callable[..., Merchant],
    database_url: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    kills: int,
    orders: int,
) -> None:
    merchant = make_merchant(TILL_CONFIG)
    shop = merchant.shop()
    plugins = tmp_path / "plugins"
    tills.install(plugins)
    till = Till(seed=SEED)
    sales = _Sales(shop, orders)
    with serve(shop), tills.serve(till) as address:
        environment = worker_environment(
            database_url, shop, plugins, AIRFLOW_CONN_TILL=json.dumps({"conn_type": "till", "host": address})
        )
        done = storm(
            ("run", "run", "deliver"), "orders", merchant.config, environment,
            url=merchant.url, kills=kills, seed=SEED, longest=1.5, sell=sales,
        )  # fmt: skip
        sales(1.0)
        rounds = _come_to_rest(merchant, environment)
    found = merchant.value("select count(*) from delivery where reason = 'found by look-up'")
    _tell(record_property, storm=done, dropped=till.dropped, found_by_look_up=found, rounds=rounds)
    assert done.hits >= kills
    assert len(sales.numbers) == orders
    # The faults were there: answers were dropped, and each of these orders was found before it was sent again.
    assert till.dropped > orders * 0.02
    assert found >= till.dropped
    _once_each(merchant, sales, "till", till.numbers)


@pytest.mark.failure_mode(26)
@pytest.mark.failure_mode(27)
@pytest.mark.parametrize(("kills", "orders"), _STORMS)
def test_killed_while_writing_files_each_order_arrives_once(
    merchant: Merchant, database_url: str, record_property: Callable[[str, object], None], kills: int, orders: int
) -> None:
    shop = merchant.shops["boutique"]
    sales = _Sales(shop, orders)
    with serve(shop):
        environment = worker_environment(database_url, shop)
        done = storm(
            ("run", "run", "deliver"), "orders", merchant.config, environment,
            url=merchant.url, kills=kills, seed=SEED, longest=0.5, sell=sales,
        )  # fmt: skip
        sales(1.0)
        rounds = _come_to_rest(merchant, environment)
    _tell(record_property, storm=done, rounds=rounds)
    assert done.hits >= kills
    assert len(sales.numbers) == orders
    _once_each(merchant, sales, "gesco", merchant.order_numbers())
