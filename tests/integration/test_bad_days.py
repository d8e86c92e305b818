"""Bad days: disk full, database down, a lying target, two workers at once. Nothing is lost, the next run goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from comptoir.errors import ContractViolation, DatabaseUnavailable, OutcomeUnknown, StorageFull, TransientError
from comptoir.model.refs import RunState
from comptoir.sdk import PushBatch, PushResult
from comptoir.sdk.journal.disk import Disk
from comptoir_ebp.connector import EbpConnector
from comptoir_ebp.sandbox import EbpSandbox
from comptoir_woocommerce.sandbox import serve

from tests.support.merchant import Merchant, request_json, simple_order


def _sell(merchant: Merchant, count: int = 3) -> list[str]:
    shop = merchant.shops["boutique"]
    return sorted(str(request_json(shop, "POST", "/orders", simple_order())["id"]) for _ in range(count))


def test_a_full_disk_of_the_target_loses_nothing(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = _sell(merchant)

    def full(self: Disk, handle: int, data: bytes) -> None:
        os.write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "_write", full)
        with pytest.raises(StorageFull) as caught:
            merchant.run()
        assert caught.value.exit_code == 5
    assert merchant.documents() == []
    assert merchant.rows("select distinct state from delivery") == [("pending",)]
    assert merchant.run().main.delivered == 3
    assert merchant.order_numbers() == orders


def test_a_full_disk_of_the_database_is_said_so(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir.store.records import RawRecords

    orders = _sell(merchant)

    def full(self: RawRecords, rows: Sequence[Any]) -> None:
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RawRecords, "payloads", full)
        with pytest.raises(StorageFull, match="disk is full"):
            merchant.run()
    assert merchant.value("select count(*) from sales_order") == 0
    assert merchant.run().main.delivered == 3
    assert merchant.order_numbers() == orders


def test_a_database_that_dies_in_the_middle_is_gone_on_with(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comptoir.store.outbox import Outbox

    orders = _sell(merchant)
    original = Outbox.mark_sent

    def cut(self: Outbox, *args: Any) -> Any:
        with psycopg.connect(merchant.url, autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "mark_sent", cut)
        with pytest.raises(DatabaseUnavailable) as caught:
            merchant.run()
        assert caught.value.exit_code == 5
    assert merchant.run().main.delivered == 3
    assert merchant.order_numbers() == orders


@pytest.mark.failure_mode(27)
def test_a_lost_answer_is_looked_up_before_anything_is_sent_again(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = _sell(merchant)
    original = EbpConnector.push

    def lost(self: EbpConnector, batch: PushBatch) -> Sequence[PushResult]:
        original(self, batch)
        raise OutcomeUnknown("the answer was lost after the target committed")

    with monkeypatch.context() as patch:
        patch.setattr(EbpConnector, "push", lost)
        report = merchant.run()
        assert (report.main.delivered, report.in_doubt) == (0, 3)
        assert report.state is RunState.PARTIAL
    again = merchant.run()
    assert (again.main.delivered, again.in_doubt) == (3, 0)
    assert merchant.order_numbers() == orders


def test_a_lost_request_is_sent_again(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = _sell(merchant)

    def lost(self: EbpConnector, batch: PushBatch) -> Sequence[PushResult]:
        raise OutcomeUnknown("it never arrived, but nobody knows")

    with monkeypatch.context() as patch:
        patch.setattr(EbpConnector, "push", lost)
        assert merchant.run().in_doubt == 3
    assert merchant.run().main.delivered == 3
    assert merchant.order_numbers() == orders


def test_a_connector_that_forgets_a_result_is_a_broken_contract_and_nothing_is_doubled(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = _sell(merchant)
    original = EbpConnector.push

    def forgetful(self: EbpConnector, batch: PushBatch) -> Sequence[PushResult]:
        return original(self, batch)[:-1]

    with monkeypatch.context() as patch:
        patch.setattr(EbpConnector, "push", forgetful)
        with pytest.raises(ContractViolation, match="1 of 3"):
            merchant.run()
    report = merchant.run()
    assert report.main.delivered == 1
    assert merchant.order_numbers() == orders


def test_a_slow_worker_does_not_send_on_a_lease_that_is_nearly_over(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comptoir.engine.deliver import Deliverer

    _sell(merchant)
    original = Deliverer._documents
    sent: list[str] = []

    def slow(self: Deliverer, *args: Any) -> Any:
        documents = original(self, *args)
        began = merchant.clock.monotonic
        monkeypatch.setattr(merchant.clock, "monotonic", lambda: began() + 280.0)
        return documents

    def push(self: EbpConnector, batch: PushBatch) -> Sequence[PushResult]:
        sent.append(batch.id)
        raise AssertionError("it must not send")

    with monkeypatch.context() as patch:
        patch.setattr(Deliverer, "_documents", slow)
        patch.setattr(EbpConnector, "push", push)
        report = merchant.run()
    assert sent == []
    assert (report.main.delivered, report.waiting) == (0, 3)
    with psycopg.connect(merchant.url) as connection:
        connection.execute("update delivery set due_at = now()")
    assert merchant.run().main.delivered == 3


def test_a_second_run_at_the_same_time_steps_aside(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comptoir.engine.pull._PATIENCE", 0.0)
    _sell(merchant)
    with merchant.hub() as hub:
        assert hub.database.session().try_lock("pull:boutique:order")
        with pytest.raises(TransientError, match="another run is reading"):
            merchant.run()
    assert merchant.run().main.delivered == 3


def test_two_runs_do_not_read_the_same_answers(merchant: Merchant) -> None:
    _sell(merchant)
    merchant.run()
    EbpSandbox(merchant.exchange).step()
    with merchant.hub() as hub:
        assert hub.database.session().try_lock("acknowledge:gesco")
        assert merchant.run().acknowledged == 0
    assert merchant.run().acknowledged == 3


@pytest.mark.failure_mode(26)
def test_many_workers_at_once_deliver_each_order_once(merchant: Merchant, database_url: str) -> None:
    orders = _sell(merchant, 30)
    merchant.run(plan_only=True)
    shop = merchant.shops["boutique"]
    with serve(shop) as address:
        credentials = {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": shop.secret}
        environment = {
            **os.environ,
            "COMPTOIR_DATABASE_URL": database_url,
            "AIRFLOW_CONN_BOUTIQUE": json.dumps(credentials),
        }
        command = [sys.executable, "-m", "comptoir", "--config", str(merchant.config), "deliver", "orders", "--json"]
        workers = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(6)
        ]
        outputs = [worker.communicate(timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 6, outputs
    assert sum(json.loads(out)["delivered"] for out, _ in outputs) == 30
    assert merchant.order_numbers() == orders


@pytest.mark.failure_mode(28)
def test_a_revived_workers_late_word_changes_nothing(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir.engine.deliver import Deliverer
    from comptoir.store.outbox import Outbox

    orders = _sell(merchant)
    original = Deliverer._settle
    seen: list[int] = []

    def overtaken(self: Deliverer, *args: Any) -> None:
        # While this worker slept, its lease ran out and another one took everything over and confirmed it.
        with psycopg.connect(merchant.url, autocommit=True) as other:
            other.execute("update delivery set lease_until = now() - interval '1 minute'")
        monkeypatch.setattr(Deliverer, "_settle", original)
        merchant.run("orders")
        seen.append(merchant.value("select count(*) from delivery where state = 'confirmed'"))
        settle = Outbox.settle
        counts: list[int] = []
        monkeypatch.setattr(Outbox, "settle", lambda *a: counts.append(settle(*a)) or counts[-1])
        original(self, *args)
        assert counts[0] == 0, "the late worker's write must be refused by its fence"

    monkeypatch.setattr(Deliverer, "_settle", overtaken)
    with merchant.hub() as hub:
        from comptoir.app.run_route import deliver_route, run_route

        run_route(hub, "orders", plan_only=True)
        deliver_route(hub, "orders")
    assert seen == [3]
    assert merchant.order_numbers() == orders
    assert merchant.value("select count(*) from binding where connection = 'gesco'") == 3


def test_check_returns_the_exit_code_of_what_failed(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = merchant.shops["boutique"]
    with serve(shop) as address:
        for secret, code in (("cs_" + "9" * 40, 3), (shop.secret, 0)):
            credentials = {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": secret}
            monkeypatch.setenv("AIRFLOW_CONN_BOUTIQUE", json.dumps(credentials))
            command = [sys.executable, "-m", "comptoir", "-c", str(merchant.config), "check", "boutique", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            assert isinstance(json.loads(done.stdout)["boutique"], list)
