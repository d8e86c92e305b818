"""Publishing when things go wrong: lost answers, refusals, shops that keep other values, kill -9 at every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from comptoir.engine.publish import Publisher
from comptoir.errors import AuthError, ComptoirError, RateLimited
from comptoir.model.refs import RunState
from comptoir.sdk import ChangeResult
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.sandbox import serve

from tests.integration.test_both_ways import CONFIG
from tests.support.back_office import BackOffice
from tests.support.merchant import Merchant, request_json

ROOT = Path(__file__).resolve().parents[2]


class _Stock:
    """Three products whose stock differs from what the back office counts."""

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.shop = merchant.shop()
        self.office = BackOffice(merchant.exchange)
        self.ids: dict[str, int] = {}
        for n in range(3):
            made = request_json(
                self.shop, "POST", "/products",
                {"name": f"P{n}", "sku": f"P-{n}", "regular_price": "10.00", "manage_stock": True, "stock_quantity": 1},
            )  # fmt: skip
            self.ids[f"P-{n}"] = made["id"]
            self.office.item(f"P-{n}", f"P{n}", "8.33", "10.00", stock=5 + n)
        self.office.export()

    def quantities(self) -> list[int]:
        return [request_json(self.shop, "GET", f"/products/{n}")["stock_quantity"] for n in self.ids.values()]

    def states(self) -> set[str]:
        return {row[0] for row in self.merchant.rows("select state from publication where entity = 'stock'")}

    def time_passes(self) -> None:
        """What is in doubt is due."""
        with psycopg.connect(self.merchant.url) as connection:
            connection.execute("update publication set due_at = now() - interval '1 second'")


@pytest.fixture
def stock(make_merchant: Callable[..., Merchant]) -> _Stock:
    return _Stock(make_merchant(CONFIG))


@pytest.mark.parametrize("kind", ["lost", "cut", "timeout", "empty"])
def test_a_lost_answer_is_sent_again_after_a_pause(stock: _Stock, kind: Any) -> None:
    stock.shop.faults.fail_next(1, kind, method="POST")
    report = stock.merchant.run("stock")
    assert report.state is RunState.PARTIAL
    assert report.in_doubt == 3
    assert stock.states() == {"sent"}
    stock.merchant.run("stock")
    assert stock.states() == {"sent"}  # not before the pause: the first write may still be carried out
    stock.time_passes()
    assert stock.merchant.run("stock").main.delivered == 3
    assert stock.quantities() == [5, 6, 7]
    assert stock.states() == {"done"}


def test_a_value_that_went_back_while_in_doubt_is_written_again(stock: _Stock) -> None:
    stock.merchant.run("stock")
    stock.office.stock["P-0"] = (50, 0)
    stock.office.export()
    stock.shop.faults.fail_next(1, "lost", method="POST")  # the shop shows 50 now, and we do not know
    stock.merchant.run("stock")
    stock.office.stock["P-0"] = (5, 0)
    stock.office.export()
    stock.time_passes()
    stock.merchant.run("stock")
    assert stock.quantities()[0] == 5


def test_too_many_requests_waits_as_told(stock: _Stock) -> None:
    stock.shop.faults.fail_next(1, "status", status=429, method="POST", retry_after="120")
    with pytest.raises(RateLimited):
        stock.merchant.run("stock")
    waits = stock.merchant.value("select extract(epoch from min(due_at) - now()) from publication")
    assert 90 < waits <= 121
    with pytest.raises(RateLimited):
        stock.merchant.run("stock")  # the shop is left alone, also for reading
    stock.time_passes()
    with psycopg.connect(stock.merchant.url) as connection:
        connection.execute("update rate_bucket set blocked_until = null")
    stock.merchant.run("stock")
    assert stock.quantities() == [5, 6, 7]


def test_refused_credentials_stop_the_target_and_lose_nothing(stock: _Stock) -> None:
    stock.merchant.run("stock", plan_only=True)
    stock.shop.faults.fail_next(5, "status", status=401, method="POST")
    with pytest.raises(AuthError):
        stock.merchant.run("stock")
    stock.shop.faults.clear()
    with psycopg.connect(stock.merchant.url) as connection:
        connection.execute("update connection_state set state = 'active'")
    stock.merchant.run("stock")
    assert stock.quantities() == [5, 6, 7]


def test_one_refused_element_does_not_keep_the_others(stock: _Stock) -> None:
    request_json(stock.shop, "DELETE", f"/products/{stock.ids['P-1']}?force=true")
    stock.merchant.run("stock", plan_only=True)
    made = request_json(stock.shop, "POST", "/products", {"name": "P1", "sku": "P-1", "manage_stock": True})
    stock.ids["P-1"] = made["id"]
    report = stock.merchant.run("stock")
    assert report.main.delivered + report.main.rejected >= 2
    stock.merchant.run("stock")
    stock.merchant.run("stock")
    assert stock.quantities() == [5, 6, 7]


@pytest.mark.failure_mode(45)
def test_a_shop_that_keeps_another_value_is_a_refusal_and_no_loop(
    stock: _Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = WooCommerceConnector.update

    def lying(self: WooCommerceConnector, entity: Any, call: Any) -> list[ChangeResult]:
        return [
            ChangeResult(r.external_id, r.outcome, {**r.shown, "stock_quantity": 99}) for r in real(self, entity, call)
        ]

    monkeypatch.setattr(WooCommerceConnector, "update", lying)
    report = stock.merchant.run("stock")
    assert report.main.rejected == 3
    causes = stock.merchant.rows("select cause, message from quarantine where state = 'open'")
    assert {cause for cause, _ in causes} == {"value_not_kept"}
    monkeypatch.setattr(WooCommerceConnector, "update", real)
    stock.shop.log.clear()
    stock.merchant.run("stock", full=True)
    assert [e for e in stock.shop.log if e.method != "GET"] == []


@pytest.mark.failure_mode(45)
def test_a_shop_that_says_yes_and_does_nothing_is_found_by_reading_back(
    stock: _Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def idle(self: WooCommerceConnector, entity: Any, call: Any) -> list[ChangeResult]:
        return [ChangeResult(change.external_id, "accepted", dict(change.fields)) for change in call]

    monkeypatch.setattr(WooCommerceConnector, "update", idle)
    stock.merchant.run("stock")
    assert {c for (c,) in stock.merchant.rows("select cause from quarantine where state = 'open'")} == {
        "value_not_kept"
    }
    assert stock.states() == {"refused"}


def test_what_was_sold_between_writing_and_reading_back_is_nobodys_refusal(
    stock: _Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shop then shows less than what it was given; it is compared again, and the second time is no accident."""
    real = WooCommerceConnector.update

    def busy(self: WooCommerceConnector, entity: Any, call: Any) -> list[ChangeResult]:
        done = list(real(self, entity, call))
        for change in call:
            left = change.fields["stock_quantity"] - 2
            request_json(stock.shop, "PUT", f"/products/{change.external_id}", {"stock_quantity": left})
        return done

    monkeypatch.setattr(WooCommerceConnector, "update", busy)
    report = stock.merchant.run("stock")
    assert (report.main.delivered, report.main.rejected) == (3, 0)
    assert stock.states() == {"due"}
    assert stock.merchant.rows("select cause from quarantine where state = 'open'") == []
    # Each time two less: that is no sale, and a person hears of it.
    stock.merchant.run("stock")
    assert stock.states() == {"refused"}
    assert {c for (c,) in stock.merchant.rows("select cause from quarantine")} == {"value_not_kept"}


def test_a_stock_that_looked_refused_is_tried_again_when_the_shop_counts_on(
    stock: _Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written was sold before it could be read back: that looks like a shop that keeps its own number."""
    for number in stock.ids.values():
        request_json(stock.shop, "PUT", f"/products/{number}", {"stock_quantity": 1})
    real = WooCommerceConnector.update

    def sold(self: WooCommerceConnector, entity: Any, call: Any) -> list[ChangeResult]:
        done = list(real(self, entity, call))
        for change in call:
            request_json(stock.shop, "PUT", f"/products/{change.external_id}", {"stock_quantity": 1})
        return done

    monkeypatch.setattr(WooCommerceConnector, "update", sold)
    stock.merchant.run("stock")
    monkeypatch.setattr(WooCommerceConnector, "update", real)
    assert stock.states() == {"refused"}
    stock.merchant.run("stock")
    assert (stock.states(), stock.quantities()) == ({"refused"}, [1, 1, 1])
    for number in stock.ids.values():
        request_json(stock.shop, "PUT", f"/products/{number}", {"stock_quantity": 0})
    stock.merchant.run("items")
    assert stock.merchant.run("stock").main.delivered == 3
    assert (stock.states(), stock.quantities()) == ({"done"}, [5, 6, 7])
    assert stock.merchant.rows("select cause from quarantine where state = 'open'") == []


def test_a_stock_that_went_back_to_what_was_read_last_is_written_again(
    stock: _Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written and not read back, and then the shop had its old number again: read, it is what it was."""
    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "_read_back", lambda *_: None)  # killed before it
        stock.merchant.run("stock")
    assert stock.quantities() == [5, 6, 7]
    for number in stock.ids.values():
        request_json(stock.shop, "PUT", f"/products/{number}", {"stock_quantity": 1})
    stock.merchant.run("items")
    assert stock.merchant.run("stock").main.delivered == 3
    assert stock.quantities() == [5, 6, 7]
    stock.merchant.run("items")
    assert stock.merchant.run("stock").main.delivered == 0


def test_what_the_source_says_meanwhile_is_written_next_and_is_nobodys_refusal(
    stock: _Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker lands a newer price between our write and our reading back."""
    stock.merchant.run("items")
    stock.office.price("P-0", "9.17", "11.00")
    stock.office.export()
    real = Publisher._read_back

    def late(self: Publisher, connector: Any, written: Any) -> None:
        with psycopg.connect(stock.merchant.url) as connection:
            connection.execute(
                "update item_price set amount = 12 from item where item.id = item_price.document_id "
                "and item.connection = 'gesco' and item.sku = 'P-0' and item_price.amount = 11"
            )
            connection.execute("update item set rev = rev + 1 where connection = 'gesco' and sku = 'P-0'")
        real(self, connector, written)

    def price() -> str:
        return str(request_json(stock.shop, "GET", f"/products/{stock.ids['P-0']}")["regular_price"])

    monkeypatch.setattr(Publisher, "_read_back", late)
    stock.merchant.run("items")
    assert price() == "11.00"
    monkeypatch.setattr(Publisher, "_read_back", real)
    assert stock.merchant.rows("select cause from quarantine where state = 'open'") == []
    stock.merchant.run("items")
    assert price() == "12.00"


STEPS = [
    ("compared, not committed", "comptoir.store.publications:Publications.put", "after", 1),
    ("due and committed", "comptoir.engine.publish:Publisher.send", "before", 1),
    ("taken, not committed", "comptoir.store.publications:Publications.take", "after", 1),
    ("taken and committed, nothing sent", "comptoir.engine.publish:Publisher._call", "before", 1),
    ("the shop has it, nothing settled", "comptoir.engine.publish:Publisher._call", "after", 1),
    ("settled, not committed", "comptoir.store.publications:Publications.settle", "after", 1),
    ("logged, not committed", "comptoir.store.publications:Publications.log", "after", 1),
    ("settled and committed, not read back", "comptoir.engine.publish:Publisher._read_back", "before", 1),
    ("links found, not committed", "comptoir.store.links:Links.link", "after", 1),
]


@pytest.fixture
def environment(stock: _Stock, database_url: str) -> Iterator[dict[str, str]]:
    with serve(stock.shop) as address:
        stock.merchant.over_http = True
        credentials = {
            "conn_type": "woocommerce", "host": address, "login": stock.shop.key, "password": stock.shop.secret
        }  # fmt: skip
        yield {
            **os.environ,
            "COMPTOIR_DATABASE_URL": database_url,
            "AIRFLOW_CONN_BOUTIQUE": json.dumps(credentials),
            "PYTHONPATH": str(ROOT),
        }


@pytest.mark.parametrize(("what", "point", "moment", "count"), STEPS, ids=[s[0] for s in STEPS])
def test_killed_anywhere_the_next_runs_bring_the_right_values(
    stock: _Stock, environment: dict[str, str], what: str, point: str, moment: str, count: int
) -> None:
    command = [sys.executable, "-m", "tests.support.killer", point, moment, str(count), "--"]
    command += ["--config", str(stock.merchant.config), "run", "stock", "--json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, f"{what}: {done.stdout}\n{done.stderr}"
    # The back office counts again before the next run: the newest value counts, whatever the shop was given.
    stock.office.stock["P-2"] = (1, 0)
    stock.office.export()
    stock.merchant.run("stock")
    stock.time_passes()
    stock.merchant.run("stock")
    assert stock.quantities() == [5, 6, 1]
    assert stock.states() == {"done"}
    stock.shop.log.clear()
    stock.merchant.run("stock")
    assert [e for e in stock.shop.log if e.method != "GET"] == []


def test_errors_of_the_shop_name_the_connection(stock: _Stock) -> None:
    stock.shop.faults.fail_next(50, "refused", method="POST")
    with pytest.raises(ComptoirError) as raised:
        stock.merchant.run("stock")
    assert "boutique" in str(raised.value)
    assert stock.states() == {"due"}
