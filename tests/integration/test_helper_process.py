"""A first import is formed by a second process: the store is the same without it, and a death frees everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from comptoir.store.database import Database
from comptoir.store.schema import plain_url
from comptoir_woocommerce.sandbox import serve

from tests.support.merchant import Merchant, request_json, simple_order

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)

#: More than a batch, and no multiple of the records that are handed over together.
_ORDERS = 517
#: Runs `comptoir` on so many cores and notes which process forms records.
_PROGRAM = """
import os, sys
cores, noted = int(sys.argv[1]), sys.argv[2]
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
import comptoir.engine.form as form
original = form.Former.form
def noting(self, job):
    with open(noted, "a") as file:
        file.write(f"{os.getpid() != this} {len(job.records)}\\n")
    return original(self, job)
this = os.getpid()
form.Former.form = noting
sys.argv = ["comptoir", *sys.argv[3:]]
from comptoir.cli import main
main()
"""


@pytest.fixture
def environment(merchant: Merchant, database_url: str) -> Iterator[dict[str, str]]:
    shop = merchant.shops["boutique"]
    with serve(shop) as address:
        credentials = {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": shop.secret}
        yield {
            **os.environ,
            "COMPTOIR_DATABASE_URL": database_url,
            "AIRFLOW_CONN_BOUTIQUE": json.dumps(credentials),
        }


def _sell(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    for number in range(_ORDERS):
        changes: dict[str, Any] = {"customer_note": f"Zoë \t\x1f «{number}»\r\n\\N"} if number % 7 == 0 else {}
        made = request_json(shop, "POST", "/orders", simple_order(**changes))
        if number % 100 == 3:
            shop.orders[made["id"]].order(keep=True).status = "expedie"  # no state that any shop has
            shop.orders[made["id"]].changed()
        if number % 50 == 1:
            request_json(shop, "POST", f"/orders/{made['id']}/refunds", {"amount": "3.00", "api_refund": False})


def _run(merchant: Merchant, environment: dict[str, str], cores: int) -> tuple[dict[str, Any], set[str]]:
    noted = merchant.config.with_name(f"formed-{cores}")
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        str(cores),
        noted,
        "--config",
        merchant.config,
        "run",
        "orders",
        "--json",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    where = {line.split()[0] for line in noted.read_text().splitlines()}
    return report["entities"], where


def _everything(url: str, sold: datetime) -> dict[str, list[str]]:
    """All rows of all tables as text; ids by the record that they stand for, moments after the sales as "now"."""
    with psycopg.connect(plain_url(url)) as connection:
        names = {
            one: f"{entity} {external_id}"
            for entity, external_id, *ids in connection.execute(
                "select entity, external_id, id, record_id from raw_record"
            )
            for one in ids
        }

        def said(name: str, value: Any) -> Any:
            if isinstance(value, UUID):
                return names.get(value, "an id")
            if isinstance(value, datetime) and value > sold:
                return "now"
            return "drawn" if name in ("body", "fence") else value  # a nonce, and the order in which a claim meets rows

        found: dict[str, list[str]] = {}
        for table in (name for name in _tables(connection) if name != "run"):  # the report, with its seconds
            cursor = connection.execute(f'select * from "{table}"'.encode())
            columns = [c.name for c in cursor.description or ()]
            found[table] = sorted(
                str({name: said(name, value) for name, value in zip(columns, row, strict=True)}) for row in cursor
            )
        return found


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    found = connection.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') "
        "and not relispartition and relname <> 'alembic_version' order by relname"
    )
    return [name for (name,) in found]


def _empty(url: str) -> None:
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(f"truncate {', '.join(_tables(connection))}".encode())


def test_the_store_holds_the_same_with_and_without_a_helper(
    merchant: Merchant, environment: dict[str, str], database_url: str
) -> None:
    _sell(merchant)
    sold = datetime.now(UTC)
    two, where = _run(merchant, environment, 2)
    assert where == {"True"}
    with_helper = _everything(database_url, sold)
    _empty(database_url)
    shutil.rmtree(merchant.exchange)
    merchant.exchange.mkdir()
    one, where = _run(merchant, environment, 1)
    assert where == {"False"}

    assert two == one
    assert two["order"]["considered"] == _ORDERS
    assert two["order"]["quarantined"] == len(range(3, _ORDERS, 100))
    assert two["refund"]["considered"] == len(range(1, _ORDERS, 50))
    without = _everything(database_url, sold)
    assert len(without["sales_order"]) == _ORDERS - two["order"]["quarantined"]
    assert len(without["raw_payload"]) == two["order"]["considered"] + two["refund"]["considered"]
    for table, rows in without.items():
        assert with_helper[table] == rows, table


def test_what_changed_is_formed_by_the_process_that_read_it(merchant: Merchant, environment: dict[str, str]) -> None:
    """It is little, and a process would have to be made for it."""
    shop = merchant.shops["boutique"]
    request_json(shop, "POST", "/orders", simple_order())
    assert _run(merchant, environment, 2)[1] == {"True"}
    request_json(shop, "POST", "/orders", simple_order())
    merchant.config.with_name("formed-2").write_text("")
    found, where = _run(merchant, environment, 2)
    assert found["order"]["changed"] == 1
    assert where == {"False"}


def test_a_killed_run_lets_go_of_its_locks_while_its_helper_is_busy(tmp_path: Path, database_url: str) -> None:
    """The helper has copies of the run's connections; were they open, the server would take the run for alive."""
    script = tmp_path / "holder.py"
    script.write_text(
        f"""
import sys, time
from comptoir.app.system import ThreadTasks
from comptoir.store.database import Database
from comptoir.store.schema import plain_url
database = Database({database_url!r})
assert database.session().try_lock("pull:boutique:order") and database.reader().rows("select 1")
def work(n):
    if n == 2: time.sleep(600)
    return database.reader().rows("select 40 + %s", (n,))[0][0]
with ThreadTasks().apart(work, begin=database.leave_to_parent) as hand_over:
    print(hand_over(1)(), flush=True)
    assert database.session().rows("select 1") == [(1,)]  # the helper did not end our connection
    hand_over(2)
    time.sleep(600)
"""
    )
    other = Database(database_url)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "41\n"  # on a connection of its own
    assert not other.session().try_lock("pull:boutique:order")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    ends = time.monotonic() + 10
    while not other.session().try_lock("pull:boutique:order"):
        assert time.monotonic() < ends, "the lock is still held"
        time.sleep(0.02)
    other.close()
    process.communicate(timeout=10)
