"""Budgets, pauses and refused credentials on real PostgreSQL: between processes, and through whole runs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from comptoir.app.connections import list_connections, pause, resume
from comptoir.cli.commands import app
from comptoir.engine.limits import ConnectionGate, StoreBuckets
from comptoir.errors import AuthError, ConfigError, DatabaseUnavailable, RateLimited
from comptoir.model.refs import EntityName, RunState
from comptoir.sdk import Credentials, Hint
from comptoir.sdk.manifest import CallBudget
from comptoir.store import schema
from comptoir.store.database import Database
from comptoir.store.inbox import Inbox
from comptoir.store.limits import ConnectionStates, RateBuckets
from comptoir.testing import FakeClock, InlineTasks
from comptoir_woocommerce.sandbox import serve

from tests.support import merchant as support
from tests.support.merchant import CONFIG, Merchant, request_json, simple_order

TWO_SHOPS = (
    CONFIG.replace(
        "[connections.gesco]",
        '[connections.atelier]\nconnector = "woocommerce"\ncutover = "2020-01-01"\ninvoicing = "gesco"\n\n'
        "[connections.gesco]",
    )
    .replace('from = "boutique"', 'from = ["boutique", "atelier"]')
    .replace(
        'folder = "exchange/ebp"',
        'folder = "exchange/ebp"\ndocument_prefix = "{CHANNEL}-"\ncredit_note_prefix = "{CHANNEL}-AV"',
    )
)

TWO_TARGETS = (
    CONFIG.replace(
        "[routes.orders]", '[connections.compta]\nconnector = "ebp"\nfolder = "exchange/compta"\n\n[routes.orders]'
    )
    .replace('from = "boutique"\nto = ["gesco"]\n', 'from = "boutique"\nto = ["gesco", "compta"]\n')
    .replace('to = ["gesco", "compta"]\nschedule', 'to = ["gesco"]\nschedule')
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's database, to ask directly."""
    held = Database(schema.plain_url(database_url))
    yield held
    held.close()


def _later(merchant: Merchant, seconds: float) -> None:
    """The buckets see that so much time has passed."""
    with psycopg.connect(merchant.url) as connection:
        connection.execute(
            "update rate_bucket set filled_at = filled_at - make_interval(secs => %(s)s), "
            "blocked_until = blocked_until - make_interval(secs => %(s)s)",
            {"s": seconds},
        )


def _sell(merchant: Merchant, shop: str = "boutique", count: int = 1) -> None:
    for _ in range(count):
        request_json(merchant.shops[shop], "POST", "/orders", simple_order())
    merchant.shops[shop].log.clear()


# -- the bucket ----------------------------------------------------------------------------------------------------


def _callers(url: str, rate: float, burst: int, seconds: float, *pauses: tuple[float, float] | None) -> list[Any]:
    start = time.time() + 3.0
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.caller", url, str(rate), str(burst), str(start), str(seconds)]
            + [str(number) for number in pause or ()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pause in pauses
    ]
    outputs = [worker.communicate(timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(pauses), outputs
    return [json.loads(out) for out, _ in outputs]


@pytest.mark.failure_mode(86, 87)
def test_two_processes_together_stay_within_the_budget(database_url: str) -> None:
    rate, burst = 30.0, 15
    found = _callers(schema.plain_url(database_url), rate * 60, burst, 4.0, None, None)
    calls = sorted(found[0]["calls"] + found[1]["calls"])
    assert all(worker["calls"] for worker in found), "both had their share"
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            # A lease lasts a second; some milliseconds pass between being given a call and noting it.
            assert last - first + 1 <= burst + rate * (calls[last] - calls[first] + 1.1)
    assert len(calls) > 2 * burst + rate, "the budget is there to be used"


@pytest.mark.failure_mode(86)
def test_a_pause_that_one_process_is_told_stops_the_other(database_url: str) -> None:
    found = _callers(schema.plain_url(database_url), 6000, 50, 5.0, (1.0, 3.0), None)
    ((told, other),) = [(found[0], found[1])]
    (since,) = told["paused"]
    assert len([at for at in other["calls"] if at < since]) > 20
    # What the other had leased may be used within its second; then it has seen the block.
    assert not [at for at in other["calls"] if since + 1.1 < at < since + 2.9]
    assert not [at for at in told["calls"] if since + 0.1 < at < since + 2.9]
    assert [at for at in other["calls"] if at > since + 3.0], "after the pause both go on"


def test_a_lease_is_exact_and_a_bucket_begins_full(database: Database) -> None:
    buckets = RateBuckets(database.session())
    assert buckets.lease("a", "calls", rate=0.001, burst=3, wanted=2)[:2] == (2, False)
    assert buckets.lease("a", "calls", rate=0.001, burst=3, wanted=2)[:2] == (1, False)
    none = buckets.lease("a", "calls", rate=0.001, burst=3, wanted=2)
    assert (none.calls, none.blocked) == (0, False)
    assert 990 < none.wait <= 1000
    assert buckets.lease("a", "other", rate=1, burst=1, wanted=9).calls == 1, "each name has its own"
    assert buckets.lease("b", "calls", rate=1, burst=9, wanted=9).calls == 9
    with database.transaction() as session:
        session.execute("update rate_bucket set filled_at = filled_at - interval '1500 seconds' where connection = 'a'")
    assert buckets.lease("a", "calls", rate=0.001, burst=3, wanted=5).calls == 1
    with database.transaction() as session:
        session.execute("update rate_bucket set filled_at = filled_at - interval '1 year'")
    assert buckets.lease("a", "calls", rate=0.001, burst=3, wanted=50).calls == 3, "never more than the burst"


def test_no_call_is_given_twice_however_many_ask_at_once(database_url: str) -> None:
    given: list[int] = []

    def ask() -> None:
        own = Database(schema.plain_url(database_url))
        try:
            while calls := RateBuckets(own.session()).lease("a", "calls", rate=1e-6, burst=600, wanted=3).calls:
                given.append(calls)
        finally:
            own.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(given) == 600


def test_a_clock_that_was_put_back_gives_nothing_away(database: Database) -> None:
    buckets = RateBuckets(database.session())
    assert buckets.lease("a", "calls", rate=1, burst=2, wanted=2).calls == 2
    database.session().execute("select set_config('comptoir.now', '2020-01-01T00:00:00Z', false)")
    assert buckets.lease("a", "calls", rate=1, burst=2, wanted=2).calls == 0
    database.session().execute("select set_config('comptoir.now', '', false)")
    assert buckets.lease("a", "calls", rate=1, burst=2, wanted=2).calls <= 1


def test_a_simulated_clock_rules_the_bucket(database: Database) -> None:
    clock = FakeClock()

    def set_clock() -> None:
        database.session().execute("select set_config('comptoir.now', %s, false)", (clock.now().isoformat(),))

    class Both(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            clock.set(self.now())
            set_clock()

    both = Both()
    clock.set(both.now())
    set_clock()
    gate = ConnectionGate(
        "a",
        clock=both,
        tasks=InlineTasks(),
        in_flight=1,
        budget=CallBudget(calls_per_minute=60, burst=2),
        bucket=StoreBuckets(database, InlineTasks()).of("a"),
    )
    began = both.monotonic()
    times = []
    for _ in range(5):
        with gate.request():
            times.append(both.monotonic() - began)
    assert times == pytest.approx([0, 0, 1, 2, 3], abs=0.02)
    gate.pause(30)
    with gate.request():
        assert both.monotonic() - began == pytest.approx(33, abs=0.02)


def test_a_longer_block_stays(database: Database) -> None:
    buckets = RateBuckets(database.session())
    buckets.block("a", "calls", 500)
    buckets.block("a", "calls", 5)
    found = buckets.lease("a", "calls", rate=10, burst=10, wanted=5)
    assert (found.calls, found.blocked) == (0, True)
    assert 490 < found.wait <= 500
    state, blocked = ConnectionStates(database.session()).opened("a", "calls")
    assert state is None
    assert 490 < blocked <= 500


def test_without_its_database_nothing_is_sent(database_url: str) -> None:
    clock = FakeClock()
    gate = ConnectionGate(
        "a",
        clock=clock,
        tasks=InlineTasks(),
        in_flight=1,
        budget=CallBudget(calls_per_minute=60, burst=2),
        bucket=StoreBuckets(Database("postgresql://nobody@127.0.0.1:1/none"), InlineTasks()).of("a"),
    )
    with pytest.raises(DatabaseUnavailable), gate.request():
        raise AssertionError("it must not be sent")


# -- budgets in a run ----------------------------------------------------------------------------------------------


def test_a_run_without_a_budget_asks_the_store_nothing(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    connect = Database._connect

    def counted(self: Database) -> Any:
        opened.append("connection")
        return connect(self)

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("nobody limits this connection")

    monkeypatch.setattr(RateBuckets, "lease", never)
    monkeypatch.setattr(StoreBuckets, "rows", never)
    monkeypatch.setattr(Database, "_connect", counted)
    _sell(merchant, count=3)
    assert merchant.run("customers").state is RunState.SUCCESS
    assert merchant.run().main.delivered == 3
    assert merchant.value("select count(*) from rate_bucket") == 0
    assert len(opened) <= 4, "no connection of its own: at most the session and the reader of each run"


@pytest.mark.failure_mode(86)
def test_a_run_within_its_budget_counts_its_calls(merchant: Merchant) -> None:
    merchant.edit_config('invoicing = "gesco"', 'invoicing = "gesco"\ncalls_per_minute = 6')
    with merchant.hub() as hub:
        http: Any = hub.link("boutique").open()
        assert http.check().ok is not None
    with pytest.raises(RateLimited, match="budget of 6 calls a minute is used up") as caught:
        merchant.run()
    assert caught.value.exit_code == 4
    asked = len(merchant.shops["boutique"].log)
    assert asked == 1, "the burst of 6 a minute is one call"
    _later(merchant, 3600)
    _sell(merchant)
    merchant.edit_config("calls_per_minute = 6", "calls_per_minute = 60000")
    assert merchant.run().main.delivered == 1
    left = next(row for row in list_connections(merchant.config) if row["connection"] == "boutique")
    assert (left["calls_per_minute"], left["burst"]) == (60000, 10000)
    assert left["blocked_until"] is None


@pytest.mark.failure_mode(86)
def test_a_shop_that_asks_for_an_hour_is_left_alone_by_the_next_run(merchant: Merchant) -> None:
    _sell(merchant)
    shop = merchant.shops["boutique"]
    shop.faults.fail_next(1, "status", status=429, retry_after="3600")
    with pytest.raises(RateLimited) as first:
        merchant.run()
    assert first.value.retry_after == 3600
    shop.log.clear()
    with pytest.raises(RateLimited, match="boutique asked to be left alone") as second:
        merchant.run()
    assert 3500 < (second.value.retry_after or 0) <= 3600
    assert shop.log == []
    shown = {row["connection"]: row for row in list_connections(merchant.config)}
    until = datetime.fromisoformat(shown["boutique"]["blocked_until"])
    assert 3500 < (until - datetime.now(UTC)).total_seconds() <= 3600
    assert shown["boutique"]["state"] == "active"
    assert shown["gesco"]["blocked_until"] is None
    _later(merchant, 3600)
    assert merchant.run().main.delivered == 1


# -- refused credentials -------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(85)
def test_refused_credentials_pause_the_connection_until_they_are_right(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sell(merchant)
    shop = merchant.shops["boutique"]
    wrong = Credentials(host=shop.home, login=shop.key, password="cs_" + "9" * 40)
    right = support._Secrets.get
    monkeypatch.setattr(support._Secrets, "get", lambda self, name: wrong if name == "boutique" else right(self, name))
    with pytest.raises(AuthError, match="refused the credentials") as first:
        merchant.run()
    assert first.value.exit_code == 3
    assert "is paused now" in str(first.value.hint)
    assert "comptoir check boutique" in str(first.value.hint)
    assert merchant.rows("select connection, state, cause, by_whom from connection_state") == [
        ("boutique", "paused", "auth", "comptoir")
    ]
    said = merchant.value("select error from run order by started_at desc limit 1")
    assert "refused the credentials" in said

    shop.log.clear()
    for route in ("orders", "customers"):
        with pytest.raises(AuthError, match=r"boutique is paused since .* refused the credentials") as later:
            merchant.run(route)
        assert (later.value.code, later.value.exit_code, later.value.connection) == ("paused", 3, "boutique")
        assert "comptoir check boutique" in str(later.value.hint)
    assert shop.log == [], "a paused connection is asked nothing"

    monkeypatch.setattr(support._Secrets, "get", right)
    assert resume(merchant.config, "boutique").startswith("boutique goes on")
    assert merchant.run().main.delivered == 1
    assert merchant.value("select state from connection_state") == "active"
    assert resume(merchant.config, "boutique") == "boutique was not paused."


@pytest.mark.failure_mode(85)
@pytest.mark.parametrize("status", [401, 403])
def test_one_passing_refusal_does_not_pause(merchant: Merchant, status: int) -> None:
    _sell(merchant)
    merchant.shops["boutique"].faults.fail_next(1, "status", status=status)
    with pytest.raises(AuthError) as caught:
        merchant.run()
    assert "paused" not in str(caught.value.hint)
    assert merchant.rows("select * from connection_state") == []
    assert merchant.run().main.delivered == 1


def test_a_shop_that_is_away_when_asked_again_is_not_paused(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    shop.faults.fail_next(1, "status", status=401)
    shop.faults.fail_next(60, "status", status=502)
    with pytest.raises(AuthError):
        merchant.run()
    assert merchant.rows("select * from connection_state") == []


@pytest.mark.failure_mode(85)
def test_a_check_that_succeeds_ends_the_pause_of_refused_credentials_and_no_other(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = merchant.shops["boutique"]

    def check(secret: str) -> Any:
        credentials = {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": secret}
        credentials["extra"] = json.dumps({"webhook_secret": "s" * 32})
        monkeypatch.setenv("AIRFLOW_CONN_BOUTIQUE", json.dumps(credentials))
        return CliRunner().invoke(app, ["-c", str(merchant.config), "check", "boutique", "--json"])

    def state() -> Any:
        return merchant.rows("select state, by_whom from connection_state")

    def pause_it(cause: str, whom: str) -> None:
        with psycopg.connect(merchant.url) as connection:
            connection.execute("delete from connection_state")
            connection.execute(
                "insert into connection_state (connection, state, cause, reason, by_whom, since) "
                "values ('boutique', 'paused', %s, 'because', %s, now())",
                (cause, whom),
            )

    with serve(shop) as address:
        pause_it("auth", "comptoir")
        assert check("cs_" + "9" * 40).exit_code == 3
        assert state() == [("paused", "comptoir")]
        done = check(shop.secret)
        assert done.exit_code == 0, done.output
        assert state() == [("active", "comptoir")]
        assert "was paused; goes on" in done.output
        pause_it("person", "anne")
        done = check(shop.secret)
        assert done.exit_code == 0
        assert state() == [("paused", "anne")]
        assert "paused since" in done.output


# -- others go on --------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(85)
def test_a_route_with_two_sources_does_the_one_that_is_not_paused(make_merchant: Callable[..., Merchant]) -> None:
    merchant = make_merchant(TWO_SHOPS)
    merchant.shop("boutique")
    merchant.shop("atelier")
    for name in ("boutique", "atelier"):
        request_json(
            merchant.shops[name],
            "POST",
            "/customers",
            {"email": f"{name}@example.test", "first_name": "A", "last_name": name},
        )
    pause(merchant.config, "boutique", "the shop moves")
    merchant.shops["boutique"].log.clear()
    report = merchant.run("customers")
    assert report.state is RunState.PARTIAL
    assert report.stopped == ["boutique"]
    assert report.as_dict()["stopped"] == ["boutique"]
    assert any("boutique is paused since" in note and "the shop moves" in note for note in report.notes)
    assert any("comptoir connection resume boutique" in note for note in report.notes)
    assert merchant.shops["boutique"].log == []
    assert report.main.delivered > 0
    assert merchant.rows("select distinct source from delivery") == [("atelier",)]
    pause(merchant.config, "atelier", "so does this one")
    with pytest.raises(AuthError, match="is paused since") as both:
        merchant.run("customers")
    assert both.value.exit_code == 3
    resume(merchant.config, "boutique")
    resume(merchant.config, "atelier")
    assert merchant.run("customers").state is RunState.SUCCESS
    assert sorted(merchant.rows("select distinct source from delivery")) == [("atelier",), ("boutique",)]


def test_a_route_with_two_targets_does_the_one_that_is_not_paused(make_merchant: Callable[..., Merchant]) -> None:
    merchant = make_merchant(TWO_TARGETS)
    (merchant.folder / "exchange" / "compta").mkdir()
    merchant.shop()
    shop = merchant.shops["boutique"]
    request_json(shop, "POST", "/customers", {"email": "a@example.test", "first_name": "A", "last_name": "B"})
    pause(merchant.config, "gesco", "EBP is being updated")
    report = merchant.run("customers")
    assert report.state is RunState.PARTIAL
    assert report.stopped == ["gesco"]
    states = "select target, state, count(*) from delivery group by 1, 2 order by 1"
    (compta, gesco) = merchant.rows(states)
    assert compta[:2] == ("compta", "confirmed")
    assert gesco == ("gesco", "pending", compta[2]), "it waits, untouched"
    shown = {row["connection"]: row for row in list_connections(merchant.config)}
    assert shown["gesco"]["waiting"] == compta[2]
    assert (shown["gesco"]["state"], shown["gesco"]["reason"]) == ("paused", "EBP is being updated")
    resume(merchant.config, "gesco")
    assert merchant.run("customers").state is RunState.SUCCESS
    assert {row[:2] for row in merchant.rows(states)} == {("compta", "confirmed"), ("gesco", "confirmed")}


def test_webhooks_of_a_paused_connection_wait_and_are_drained_after_it(merchant: Merchant, database: Database) -> None:
    made = request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    with database.transaction() as session:
        Inbox(session).add("boutique", "key-1", [Hint(EntityName.ORDER, str(made["id"]), "created")], datetime.now(UTC))
    pause(merchant.config, "boutique", "the shop moves")
    with pytest.raises(AuthError, match="boutique is paused"):
        merchant.run(mode="inbox")
    assert merchant.value("select count(*) from inbox where done_at is null") == 1
    assert {r["connection"]: r["waiting"] for r in list_connections(merchant.config)}["boutique"] == 1
    assert "1 record waits" in resume(merchant.config, "boutique")
    assert merchant.run(mode="inbox").main.delivered == 1
    assert merchant.value("select count(*) from inbox where done_at is null") == 0


def test_a_pause_in_the_middle_of_a_run_leaves_nothing_in_doubt(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comptoir.engine.deliver import Deliverer

    _sell(merchant, count=2)
    original = Deliverer._documents

    def paused_meanwhile(self: Deliverer, *args: Any) -> Any:
        documents = original(self, *args)
        monkeypatch.setattr(Deliverer, "_documents", original)
        pause(merchant.config, "gesco", "now")
        return documents

    monkeypatch.setattr(Deliverer, "_documents", paused_meanwhile)
    with pytest.raises(AuthError, match="gesco is paused"):
        merchant.run()
    assert merchant.rows("select distinct state from delivery") == [("pending",)]
    resume(merchant.config, "gesco")
    assert merchant.run().main.delivered == 2


# -- by hand -------------------------------------------------------------------------------------------------------


def test_pausing_by_hand(merchant: Merchant, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anne")

    def cli(*arguments: str) -> Any:
        done = CliRunner().invoke(app, ["-c", str(merchant.config), "connection", *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    assert "[]" not in cli("list").output
    cli("pause", "boutique", "--because", "  the shop\nmoves ")
    rows = json.loads(cli("list", "--json").stdout)
    assert [row["connection"] for row in rows] == ["boutique", "gesco"]
    shop = rows[0]
    assert (shop["state"], shop["by_whom"], shop["cause"], shop["reason"]) == (
        "paused", "anne", "person", "the shop moves",
    )  # fmt: skip
    assert (rows[1]["state"], rows[1]["by_whom"], rows[1]["calls_left"]) == ("active", None, None)
    text = cli("list").output
    assert "the shop moves" in text
    assert "no bound" in text
    assert "comptoir connection resume boutique" in text
    assert "is paused already" in cli("pause", "boutique", "--because", "again").output
    assert merchant.value("select reason from connection_state") == "the shop moves"
    for wrong in (("pause", "shop", "--because", "x"), ("resume", "shop"), ("pause", "boutique", "--because", " ")):
        with pytest.raises(ConfigError):
            cli(*wrong)
    assert "goes on" in cli("resume", "boutique").output
    with database.transaction() as session:
        states = ConnectionStates(session)
        now = datetime.now(UTC)
        auth: dict[str, Any] = {"cause": "auth", "reason": "401", "hint": "h", "by_whom": "comptoir", "at": now}
        assert states.pause("boutique", **auth)
        assert not states.pause("boutique", **auth), "the first word stays"
        assert states.pause("boutique", cause="person", reason="mine", hint=None, by_whom="anne", at=now)
        assert not states.pause("boutique", **auth), "a person's pause is not taken over"
        assert not states.resume("boutique", by_whom="comptoir", at=now, causes=("auth",))
        assert states.all()["boutique"].by_whom == "anne"
