"""The gateway over real sockets on a real database: what it takes, what it refuses, how it bears ill will."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from comptoir.app.bootstrap import check_installation
from comptoir.console.gateway import Gateway, Receiver
from comptoir.console.server import doors_of, open_gateway
from comptoir.errors import ConfigError, DatabaseUnavailable
from comptoir.model.refs import EntityName
from comptoir.store import schema
from comptoir.store.database import Database
from comptoir.store.inbox import Inbox
from comptoir.testing import FakeClock

from tests.support.hooks import (
    HookedMerchant,
    Served,
    all_recorded,
    recorded,
    renamed,
    served,
    signed,
)

RECORDED_AT = datetime(2026, 11, 22, 3, 20, tzinfo=UTC)
CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.atelier]
connector = "woocommerce"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"
document_prefix = "{CHANNEL}-"
credit_note_prefix = "{CHANNEL}-AV"

[routes.orders]
entity = "order"
from = ["boutique", "atelier"]
to = ["gesco"]
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
triggers = ["webhook"]
"""


@pytest.fixture
def merchant(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> HookedMerchant:
    """Two shops whose orders, and customers of the first, are waited for; a clock at the time of the recordings."""
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", database_url)
    made = HookedMerchant(tmp_path, schema.plain_url(database_url), CONFIG)
    made.clock = FakeClock(RECORDED_AT)  # type: ignore[assignment]
    made.shop("boutique")
    made.shop("atelier")
    return made


@contextmanager
def listening(merchant: HookedMerchant, settings: str = "") -> Iterator[Served]:
    """The merchant's gateway behind the real server."""
    if settings:
        merchant.config.write_text(f"{CONFIG}\n[gateway]\n{settings}\n", encoding="utf-8")
    installation = check_installation(merchant.config)
    with (
        open_gateway(installation, ports=merchant.ports()) as ready,
        served(ready.app, slow_seconds=installation.settings.gateway.slow_seconds) as gateway,
    ):
        yield gateway


@pytest.fixture
def gateway(merchant: HookedMerchant) -> Iterator[Served]:
    """It, with the usual bounds."""
    with listening(merchant) as found:
        yield found


def rows(merchant: HookedMerchant) -> list[tuple[str, str, str, str]]:
    """What stands in the inbox."""
    found = merchant.rows("select connection, entity, external_id, kind from inbox order by id")
    return [(row[0], row[1], row[2], row[3]) for row in found]


# -- what is taken -------------------------------------------------------------------------------------------------


def test_every_recorded_delivery_is_answered_with_200_and_only_wanted_records_are_noted(
    merchant: HookedMerchant, gateway: Served
) -> None:
    for delivery in all_recorded():
        assert gateway.deliver(delivery).status == 200, delivery.name
    noted = rows(merchant)
    assert {(entity, number) for _, entity, number, _ in noted} == {
        ("customer", "2"), ("order", "28"), ("order", "29"), ("order", "34"), ("order", "53"), ("order", "27"),
        ("order", "48"),
    }  # fmt: skip
    # order.created and order.updated of the same state are one event: 28 once; 28 of the older shop is another.
    assert len([row for row in noted if row[2] == "28"]) == 2
    assert ("boutique", "order", "53", "deleted") in noted
    assert merchant.value("select count(*) from inbox where done_at is not null or taken_at is not null") == 0


def test_the_ping_is_answered_without_a_row(merchant: HookedMerchant, gateway: Served) -> None:
    assert gateway.deliver(recorded("wc-11.0.1-ping-1")).status == 200
    assert rows(merchant) == []


def test_each_connection_has_an_inbox_of_its_own(merchant: HookedMerchant, gateway: Served) -> None:
    for name in ("boutique", "atelier"):
        assert gateway.deliver(recorded("wc-11.0.1-order.created-1"), name).status == 200
    assert [row[0] for row in rows(merchant)] == ["boutique", "atelier"]


def test_entities_that_no_route_waits_for_leave_no_row(merchant: HookedMerchant, gateway: Served) -> None:
    assert gateway.deliver(recorded("wc-11.0.1-customer.created-1"), "atelier").status == 200
    assert gateway.deliver(recorded("wc-11.0.1-product.updated-1")).status == 200
    assert rows(merchant) == []


def test_nothing_personal_reaches_the_inbox_or_the_log(
    merchant: HookedMerchant, gateway: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for delivery in all_recorded():
        gateway.deliver(delivery)
        gateway.deliver(replace(delivery, body=delivery.body + b" "))
    whole = repr(merchant.rows("select * from inbox")) + caplog.text
    for personal in ("Zo", "Lef", "example.test", "glise", "+33"):
        assert personal not in whole
    assert "hub-webhook-secret" not in whole
    assert "order 28 updated: known already" in caplog.text


# -- repeated and old ----------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(22)
def test_fifty_copies_at_the_same_moment_are_one_row(merchant: HookedMerchant, gateway: Served) -> None:
    delivery = recorded("wc-11.0.1-order.updated-1")
    start = threading.Barrier(50)
    statuses: list[int] = []

    def send(number: int) -> None:
        start.wait()
        statuses.append(gateway.deliver(delivery, **{"x-wc-webhook-delivery-id": f"{number:032x}"}).status)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 50
    assert rows(merchant) == [("boutique", "order", "28", "updated")]


def test_a_captured_body_under_new_headers_brings_nothing_new(merchant: HookedMerchant, gateway: Served) -> None:
    """The signature covers the body only: delivery id, topic and source are the attacker's to choose."""
    first = recorded("wc-11.0.1-order.updated-1")
    assert gateway.deliver(first).body == "taken\n"
    for headers in (
        {"x-wc-webhook-delivery-id": "0" * 32},
        {"x-wc-webhook-id": "99"},
        {"x-wc-webhook-topic": "order.created"},
        {"x-wc-webhook-topic": "order.deleted"},
        {"x-wc-webhook-topic": "order.restored"},
        {"x-wc-webhook-source": "http://elsewhere.test/"},
        {"content-type": "text/plain"},
    ):
        assert gateway.deliver(renamed(first, **headers)).body == "known already\n", headers
    assert len(rows(merchant)) == 1


def test_a_body_that_is_done_is_still_known(merchant: HookedMerchant, gateway: Served) -> None:
    delivery = recorded("wc-11.0.1-order.updated-1")
    gateway.deliver(delivery)
    with psycopg.connect(merchant.url) as connection:
        connection.execute("update inbox set done_at = received_at, outcome = 'changed'")
    assert gateway.deliver(delivery).body == "known already\n"
    assert merchant.value("select count(*) from inbox where done_at is null") == 0


@pytest.mark.parametrize(
    ("later", "answer"), [(timedelta(hours=71), "taken\n"), (timedelta(hours=73), "too old; not taken\n")]
)
def test_a_body_older_than_the_window_is_not_taken(
    merchant: HookedMerchant, gateway: Served, later: timedelta, answer: str
) -> None:
    merchant.clock.set(datetime(2026, 11, 22, 3, 15, 11, tzinfo=UTC) + later)  # type: ignore[attr-defined]
    found = gateway.deliver(recorded("wc-11.0.1-order.updated-1"))
    assert (found.status, found.body) == (200, answer)
    assert len(rows(merchant)) == (answer == "taken\n")


def test_the_window_is_a_setting_and_keys_outlive_it(merchant: HookedMerchant) -> None:
    """A body may be taken for `replay_hours` after its date; its key stays at least twice as long."""
    clock = merchant.clock
    first, second = recorded("wc-11.0.1-order.updated-1"), recorded("wc-11.0.1-order.deleted-1")
    assert isinstance(clock, FakeClock)
    with listening(merchant, "replay_hours = 10") as gateway:
        assert gateway.deliver(first).body == "taken\n"
        with psycopg.connect(merchant.url) as connection:
            connection.execute("update inbox set done_at = received_at, outcome = 'changed'")
        clock.advance(19 * 3600)
        assert gateway.deliver(first).body == "too old; not taken\n"
        assert gateway.deliver(second).body == "taken\n"  # a purge runs with it: the first key is still there
        assert {row[2] for row in rows(merchant)} == {"28", "53"}
        clock.advance(2 * 3600)
        assert gateway.deliver(renamed(second, **{"x-wc-webhook-topic": "customer.deleted"})).body == "taken\n"
        assert gateway.deliver(first).body == "too old; not taken\n"
        assert {row[2] for row in rows(merchant)} == {"53"}  # 21 hours: 28 is gone, what waits never goes


# -- refused -------------------------------------------------------------------------------------------------------


def test_everything_that_is_not_authentic_gets_the_same_answer(merchant: HookedMerchant, gateway: Served) -> None:
    good = recorded("wc-11.0.1-order.updated-1")
    without = replace(good, headers={k: v for k, v in good.headers.items() if k != "x-wc-webhook-signature"})
    answers = {
        "wrong signature": gateway.deliver(good, **{"x-wc-webhook-signature": "A" * 44}),
        "no signature": gateway.deliver(without),
        "forged body": gateway.deliver(replace(good, body=good.body.replace(b'"total":"51.52"', b'"total":"0.52"'))),
        "another secret": gateway.deliver(
            replace(good, headers=signed(good.body, "order.updated", secret="not-the-secret-of-it"))
        ),
        "no such connection": gateway.deliver(good, "nobody"),
        "no webhooks there": gateway.deliver(good, "gesco"),
    }
    assert {(a.status, a.body) for a in answers.values()} == {
        (404, "not accepted: there is no such hook, or its signature is wrong\n")
    }
    assert len({tuple(sorted((k, v) for k, v in a.headers.items() if k != "date")) for a in answers.values()}) == 1
    assert rows(merchant) == []


def test_the_log_says_which_it_was_once_a_minute(
    merchant: HookedMerchant, gateway: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="comptoir.gateway")
    for _ in range(20):
        gateway.deliver(recorded("wc-11.0.1-order.updated-1"), **{"x-wc-webhook-signature": "A" * 44})
    assert len(caplog.records) == 1
    assert "boutique: not accepted: boutique: a webhook whose signature is wrong" in caplog.text
    merchant.clock.advance(61)  # type: ignore[attr-defined]
    gateway.deliver(recorded("wc-11.0.1-order.updated-1"), **{"x-wc-webhook-signature": "A" * 44})
    assert "(and 19 more since)" in caplog.text


@pytest.mark.parametrize("secret", [None, "", "   "])
def test_a_connection_without_a_secret_takes_nothing(
    merchant: HookedMerchant, secret: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    merchant.webhook_secret = secret
    body = recorded("wc-11.0.1-order.updated-1").body
    with listening(merchant) as gateway:
        for key in ("", "   ", "None", "hub-webhook-secret"):
            found = gateway.post("/hooks/boutique", body, signed(body, "order.updated", secret=key))
            assert found.status == 404
    assert rows(merchant) == []
    assert "the connection holds no webhook secret" in caplog.text


def test_a_connection_without_credentials_does_not_stop_the_others(
    merchant: HookedMerchant, caplog: pytest.LogCaptureFixture
) -> None:
    del merchant.shops["atelier"]
    with listening(merchant) as gateway:
        assert gateway.deliver(recorded("wc-11.0.1-order.created-1"), "atelier").status == 404
        assert gateway.deliver(recorded("wc-11.0.1-order.created-1"), "boutique").status == 200
    assert "atelier: its webhooks are not taken" in caplog.text


def test_a_signed_body_that_is_not_what_it_says_is_a_bad_request(merchant: HookedMerchant, gateway: Served) -> None:
    for body in (b"{}", b"[1]", b'{"id": 0}', b"\xff"):
        found = gateway.post("/hooks/boutique", body, signed(body, "order.updated"))
        assert (found.status, found.body) == (400, "the body is not what it says\n")
    assert rows(merchant) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/hooks/boutique", 405),
        ("PUT", "/hooks/boutique", 405),
        ("DELETE", "/hooks/boutique", 405),
        ("POST", "/health", 405),
        ("POST", "/", 404),
        ("POST", "/hooks", 404),
        ("POST", "/hooks/", 404),
        ("POST", "/hooks/boutique/", 404),
        ("POST", "/hooks/Boutique", 404),
        ("POST", "/hooks/boutique/../gesco", 404),
        ("POST", "/hooks/%62outique%00", 404),
        ("POST", "/hooks/" + "a" * 200, 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_there_is_nothing_else(gateway: Served, method: str, path: str, status: int) -> None:
    assert gateway.post(path, b"{}", method=method).status == status


def test_the_answer_tells_nothing_of_the_server(gateway: Served) -> None:
    found = gateway.deliver(recorded("wc-11.0.1-ping-1"))
    assert set(found.headers) == {"content-type", "content-length", "cache-control", "connection", "date"}


# -- ill will ------------------------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_not_read(gateway: Served) -> None:
    head = b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: 2097153\r\n\r\n"
    began = time.monotonic()
    assert gateway.raw(head).startswith(b"HTTP/1.1 413")
    assert time.monotonic() - began < 2
    huge = b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n"
    assert gateway.raw(huge).split(b" ")[1] in (b"400", b"413")


def test_a_body_that_becomes_too_large_while_it_is_read_is_refused(merchant: HookedMerchant) -> None:
    with listening(merchant, "max_bytes = 4096") as gateway:
        head = b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
        assert gateway.raw(head + chunk * 5).startswith(b"HTTP/1.1 413")
        exact = b"{" + b" " * 4094 + b"}"
        assert gateway.post("/hooks/boutique", exact, signed(exact, "order.updated")).status == 400
        assert gateway.post("/hooks/boutique", exact + b" ", signed(exact + b" ", "order.updated")).status == 413


def test_a_body_that_does_not_arrive_is_given_up(merchant: HookedMerchant) -> None:
    with listening(merchant, "slow_seconds = 0.5") as gateway:
        head = b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        began = time.monotonic()
        assert gateway.raw(head).startswith(b"HTTP/1.1 408")
        assert 0.4 < time.monotonic() - began < 3


def test_a_body_that_drips_is_given_up(merchant: HookedMerchant) -> None:
    """Each byte is in time, the whole is not."""
    with (
        listening(merchant, "slow_seconds = 0.6") as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as sock,
    ):
        sock.sendall(b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        answer, began = b"", time.monotonic()
        sock.settimeout(0.1)
        while time.monotonic() - began < 5 and not answer:
            try:
                sock.sendall(b" ")
                answer = sock.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 3


def test_headers_that_do_not_arrive_are_given_up(merchant: HookedMerchant) -> None:
    with listening(merchant, "slow_seconds = 0.5") as gateway:
        began = time.monotonic()
        assert gateway.raw(b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""
        assert gateway.raw(b"") == b""
        assert 0.8 < time.monotonic() - began < 4


def test_headers_without_end_are_refused(gateway: Served) -> None:
    assert gateway.raw(b"POST / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000).startswith(b"HTTP/1.1 400")


def test_slow_senders_do_not_keep_others_out(merchant: HookedMerchant) -> None:
    with listening(merchant, "slow_seconds = 5\nmax_bytes = 65536") as gateway:
        slow = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(100)]
        try:
            for sock in slow:
                sock.sendall(b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{")
            began = time.monotonic()
            assert gateway.deliver(recorded("wc-11.0.1-order.created-1")).body == "taken\n"
            assert time.monotonic() - began < 2
        finally:
            for sock in slow:
                sock.close()


def test_the_memory_for_bodies_is_bounded(merchant: HookedMerchant) -> None:
    """Sixteen whole bodies at once; what comes beyond is told to come again, and taken later."""
    with listening(merchant, "slow_seconds = 5\nmax_bytes = 65536") as gateway:
        held = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(17)]
        try:
            for sock in held:
                sock.sendall(
                    b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65_400
                )
            time.sleep(0.3)
            found = gateway.deliver(recorded("wc-11.0.1-order.created-1"))
            assert (found.status, found.headers["retry-after"]) == (503, "30")
        finally:
            for sock in held:
                sock.close()
        for _ in range(50):
            if gateway.deliver(recorded("wc-11.0.1-order.created-1")).status == 200:
                break
            time.sleep(0.05)
        assert len(rows(merchant)) == 1


def test_a_sender_that_leaves_in_the_middle_harms_nobody(merchant: HookedMerchant, gateway: Served) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
            sock.sendall(b"POST /hooks/boutique HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert gateway.deliver(recorded("wc-11.0.1-order.created-1")).status == 200


# -- the database --------------------------------------------------------------------------------------------------


def receiver(merchant: HookedMerchant, url: str) -> Receiver:
    installation = check_installation(merchant.config)
    doors = doors_of(installation, merchant.ports())
    return Receiver(doors, lambda: Database(url), url, merchant.clock, timedelta(hours=72))


def test_without_a_database_the_sender_is_told_to_come_again(merchant: HookedMerchant) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=2"
    installation = check_installation(merchant.config)
    app = Gateway(receiver(merchant, away), installation.settings.gateway)
    with served(app) as gateway:
        found = gateway.deliver(recorded("wc-11.0.1-order.created-1"))
        assert (found.status, found.headers["retry-after"]) == (503, "30")
        assert gateway.post("/health", b"", method="GET").status == 503
        # What needs no row is answered all the same, and what is forged is not helped by it.
        assert gateway.deliver(recorded("wc-11.0.1-ping-1")).status == 200
        assert gateway.deliver(recorded("wc-11.0.1-order.created-1"), "nobody").status == 404


def test_a_restarted_database_is_not_noticed_by_the_sender(merchant: HookedMerchant, gateway: Served) -> None:
    first, second = recorded("wc-11.0.1-order.created-1"), recorded("wc-11.0.1-order.created-2")
    assert gateway.deliver(first).status == 200
    with psycopg.connect(merchant.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert gateway.deliver(second).status == 200
    assert len(rows(merchant)) == 2


def test_a_table_that_is_locked_does_not_hold_the_sender_for_ever(merchant: HookedMerchant, gateway: Served) -> None:
    with psycopg.connect(merchant.url) as connection:
        connection.execute("lock table inbox in access exclusive mode")
        began = time.monotonic()
        found = gateway.deliver(recorded("wc-11.0.1-order.created-1"))
        assert found.status == 503
        assert time.monotonic() - began < 7
    assert gateway.deliver(recorded("wc-11.0.1-order.created-1")).status == 200


def test_health(gateway: Served) -> None:
    found = gateway.post("/health", b"", method="GET")
    assert (found.status, found.body) == (200, "ok\n")
    assert gateway.post("/health", b"", method="HEAD").body == ""


# -- wiring --------------------------------------------------------------------------------------------------------


def test_verifying_touches_no_network(merchant: HookedMerchant, gateway: Served) -> None:
    def nothing(_: object) -> None:
        raise AssertionError("the shop was asked")

    for shop in merchant.shops.values():
        shop.on_request = nothing
    assert gateway.deliver(recorded("wc-11.0.1-order.created-1")).status == 200


def test_doors_are_those_that_some_route_waits_for(merchant: HookedMerchant) -> None:
    doors = doors_of(check_installation(merchant.config), merchant.ports())
    assert {name: door.entities for name, door in doors.items()} == {
        "boutique": {EntityName.ORDER, EntityName.CUSTOMER},
        "atelier": {EntityName.ORDER},
    }
    orders = 'from = ["boutique", "atelier"]\nto = ["gesco"]\n'
    merchant.edit_config(f'{orders}triggers = ["webhook"]\n', orders)
    doors = doors_of(check_installation(merchant.config), merchant.ports())
    assert {name: set(door.entities) for name, door in doors.items()} == {"boutique": {EntityName.CUSTOMER}}


def test_the_inbox_says_how_long_hints_waited(merchant: HookedMerchant, gateway: Served) -> None:
    gateway.deliver(recorded("wc-11.0.1-order.created-1"))
    with psycopg.connect(merchant.url) as connection:
        connection.execute("update inbox set done_at = received_at + interval '2 seconds'")
    database = Database(merchant.url)
    with database.transaction() as session:
        [(connection_, entity, received, done)] = Inbox(session).latencies(RECORDED_AT - timedelta(hours=1))
        assert Inbox(session).latencies(RECORDED_AT + timedelta(hours=1)) == []
        assert (connection_, entity, received, done - received) == (
            "boutique", "order", RECORDED_AT, timedelta(seconds=2),
        )  # fmt: skip
        assert Inbox(session).last_received("boutique") == {"order": RECORDED_AT}
    database.close()


def test_the_gateway_stands_on_a_wrong_configuration_not_at_all(merchant: HookedMerchant) -> None:
    merchant.config.write_text(CONFIG.replace('connector = "ebp"', 'connector = "nothing"'), encoding="utf-8")
    with pytest.raises(ConfigError):
        check_installation(merchant.config)


def test_answers_are_quick(merchant: HookedMerchant, gateway: Served) -> None:
    """A shop's own request waits for its webhooks: five seconds is what Shopify gives; we stay far below."""
    bodies = [json.dumps({"id": number}).encode() for number in range(1, 201)]
    took = []
    for body in bodies:
        began = time.perf_counter()
        assert gateway.post("/hooks/boutique", body, signed(body, "order.deleted")).status == 200
        took.append(time.perf_counter() - began)
    assert merchant.value("select count(*) from inbox") == 200
    print(f"median {sorted(took)[100] * 1000:.1f} ms, slowest {max(took) * 1000:.1f} ms")


def test_the_error_of_a_database_that_is_away_is_ours(merchant: HookedMerchant) -> None:
    with pytest.raises(DatabaseUnavailable), Database("postgresql://nobody@127.0.0.1:1/none").transaction():
        raise AssertionError("not reached")
