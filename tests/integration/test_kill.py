"""kill -9 at every step of the pipeline, in real processes: a new run ends with exactly one of each document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comptoir.model.refs import EntityName
from comptoir_woocommerce.sandbox import serve

from tests.support.merchant import SELF_CONFIG, Merchant, request_json, simple_order

ROOT = Path(__file__).resolve().parents[2]

#: (what dies there, point, moment, which call)
STEPS = [
    ("before anything is landed", "comptoir.engine.land:Lander.store", "before", 1),
    ("records formed, nothing stored", "comptoir.engine.form:Former.form", "after", 1),
    ("a table copied, not committed", "comptoir.store.database:Session.send", "after", 1),
    ("all rows copied, not committed", "comptoir.engine.land:Lander._store_new", "after", 1),
    ("deliveries planned, not committed", "comptoir.store.outbox:Outbox.add", "after", 1),
    ("cursor written, not committed", "comptoir.engine.pull:_Window.close", "after", 1),
    ("landed and committed", "comptoir.engine.land:Lander.store", "after", 1),
    ("claimed, not committed", "comptoir.store.outbox:Outbox.claim", "after", 1),
    ("claimed and committed", "comptoir.engine.deliver:Deliverer._carry_out", "before", 1),
    ("intent written, not committed", "comptoir.store.outbox:Outbox.mark_sent", "after", 1),
    ("intent committed, nothing sent", "comptoir.engine.deliver:Deliverer._push", "before", 1),
    ("half of the file written", "comptoir.sdk.journal.disk:Disk._write", "after", 1),
    ("file written aside", "comptoir.sdk.journal.handover:Ledger._write_pending", "after", 1),
    ("index written", "comptoir.sdk.journal.disk:Disk.append", "after", 1),
    ("before the receipt", "comptoir.sdk.journal.handover:Ledger._write_receipt", "before", 1),
    ("receipt written, file not visible", "comptoir.sdk.journal.handover:Ledger._publish", "before", 1),
    ("file visible", "comptoir.sdk.journal.disk:Disk.move", "after", 1),
    ("the target has it, nothing settled", "comptoir.engine.deliver:Deliverer._settle", "before", 1),
    ("settled, not committed", "comptoir.store.outbox:Outbox.settle", "after", 1),
    ("bound, not committed", "comptoir.store.records:Bindings.confirm", "after", 1),
    ("orders settled, refunds not", "comptoir.engine.deliver:Deliverer._settle", "after", 1),
    ("refunds sent, not settled", "comptoir.engine.deliver:Deliverer._settle", "before", 2),
    ("everything done, run not closed", "comptoir.store.sync:Runs.end", "before", 1),
]

BOOK_STEPS = [
    ("entries derived, not committed", "comptoir.store.journal:Journal.append", "after", 1),
    ("marks taken, not committed", "comptoir.store.journal:Dirty.take", "after", 1),
    ("entries committed", "comptoir.engine.deliver:Deliverer.deliver", "before", 1),
    ("accounts file visible, entries file not", "comptoir.sdk.journal.disk:Disk.move", "after", 1),
    ("entries file visible", "comptoir.sdk.journal.disk:Disk.move", "after", 2),
]


@pytest.fixture
def environment(merchant: Merchant, database_url: str) -> Iterator[dict[str, str]]:
    """The merchant's shop served over real sockets, and the environment of a process that reads it."""
    shop = merchant.shops["boutique"]
    with serve(shop) as address:
        merchant.over_http = True
        credentials = {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": shop.secret}
        yield {
            **os.environ,
            "COMPTOIR_DATABASE_URL": database_url,
            "AIRFLOW_CONN_BOUTIQUE": json.dumps(credentials),
            "PYTHONPATH": str(ROOT),
        }


def _die(merchant: Merchant, environment: dict[str, str], route: str, point: str, moment: str, count: int) -> None:
    command = [sys.executable, "-m", "tests.support.killer", point, moment, str(count), "--"]
    command += ["--config", str(merchant.config), "run", route, "--json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, f"it did not die: {done.returncode}\n{done.stdout}\n{done.stderr}"


def _sell(merchant: Merchant) -> tuple[list[str], list[str]]:
    """Six orders and two refunds; their numbers."""
    shop = merchant.shops["boutique"]
    orders = [request_json(shop, "POST", "/orders", simple_order()) for _ in range(6)]
    refunds = [
        request_json(shop, "POST", f"/orders/{order['id']}/refunds", {"amount": "3.00", "api_refund": False})
        for order in orders[:2]
    ]
    return [str(o["id"]) for o in orders], [str(r["id"]) for r in refunds]


@pytest.mark.failure_mode(27)
@pytest.mark.parametrize(("point", "moment", "count"), [s[1:] for s in STEPS], ids=[s[0] for s in STEPS])
def test_killed_at_any_step_each_document_arrives_once(
    merchant: Merchant, environment: dict[str, str], point: str, moment: str, count: int
) -> None:
    orders, refunds = _sell(merchant)
    _die(merchant, environment, "orders", point, moment, count)

    report = merchant.run()
    assert merchant.order_numbers() == sorted(orders)
    assert sorted(n[-len(refunds[0]) :] for n in merchant.documents("AVOIRS")) == sorted(refunds)
    assert report.in_doubt == report.waiting == 0
    assert merchant.value("select count(*) from sales_order") == len(orders)
    assert merchant.value("select count(*) from refund") == len(refunds)
    assert merchant.value("select count(*) from delivery where state = 'confirmed'") == len(orders) + len(refunds)
    assert merchant.value("select count(*) from delivery where state not in ('confirmed', 'dead')") == 0

    files = sorted(p.name for p in (merchant.exchange / "import").iterdir())
    third = merchant.run(full=True)
    assert third.main.delivered == third.entities[EntityName.REFUND].delivered == 0
    assert sorted(p.name for p in (merchant.exchange / "import").iterdir()) == files


@pytest.fixture
def self_merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = make_merchant(SELF_CONFIG)
    made.shop()
    return made


@pytest.mark.parametrize(("point", "moment", "count"), [s[1:] for s in BOOK_STEPS], ids=[s[0] for s in BOOK_STEPS])
def test_killed_while_booking_each_entry_is_posted_once(
    self_merchant: Merchant, database_url: str, point: str, moment: str, count: int
) -> None:
    shop = self_merchant.shops["boutique"]
    _sell(self_merchant)
    with serve(shop) as address:
        self_merchant.over_http = True
        credentials = {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": shop.secret}
        environment = {
            **os.environ,
            "COMPTOIR_DATABASE_URL": database_url,
            "AIRFLOW_CONN_BOUTIQUE": json.dumps(credentials),
            "PYTHONPATH": str(ROOT),
        }
        _die(self_merchant, environment, "books", point, moment, count)
        self_merchant.run("books")
        self_merchant.run("books", full=True)
    # Six sales with their payments, two credit notes with theirs.
    keys = [row[0] for row in self_merchant.rows("select key from journal_entry")]
    assert len(keys) == len(set(keys)) == 16
    written = Counter(_pieces(self_merchant))
    assert len(written) == 16
    assert set(written.values()) == {1}


def _pieces(merchant: Merchant) -> list[str]:
    """Pieces of all ECRITURES files, one for each run of lines."""
    found: list[str] = []
    for path in sorted((merchant.exchange / "compta").glob("ECRITURES*.TXT")):
        last = None
        for line in path.read_text("cp1252").splitlines():
            piece = line.split(",")[6]
            if piece != last:
                found.append(piece)
            last = piece
    return found
