"""From a shop's webhook to the back office: hints are followed once, in any order, and never believed."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from comptoir.app.bootstrap import check_installation
from comptoir.app.run_route import run_route
from comptoir.console.gateway import Receiver
from comptoir.console.server import doors_of
from comptoir.engine.counts import RunReport
from comptoir.engine.drain import LOOP_READINGS, LOOP_WINDOW, drain
from comptoir.engine.hub import Hub
from comptoir.engine.webhooks import ensure
from comptoir.errors import RecordRejected, TransientError
from comptoir.model.refs import EntityName, RunState
from comptoir.sdk import Hint, HttpRequest, HttpResponse, Page
from comptoir.store import schema
from comptoir.store.database import Database
from comptoir.store.inbox import Inbox
from comptoir_woocommerce.sandbox import WebhookRequestOut, WooCommerceSandbox

from tests.support.hooks import HookedMerchant
from tests.support.merchant import CONFIG, request_json, simple_order

HOOKED = CONFIG + 'triggers = ["webhook"]\n\n[gateway]\nurl = "https://hooks.example.com"\n'
URL = "https://hooks.example.com/hooks/boutique"


@pytest.fixture
def merchant(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> HookedMerchant:
    """A merchant whose shop sends webhooks of orders and customers; they were made by a first run."""
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", database_url)
    made = HookedMerchant(tmp_path, schema.plain_url(database_url), HOOKED)
    made.shop()
    return made


@pytest.fixture
def shop(merchant: HookedMerchant) -> WooCommerceSandbox:
    """Its shop, with webhooks that stand."""
    merchant.run()
    found = merchant.shops["boutique"]
    found.webhooks.pending_deliveries()
    return found


@contextmanager
def receiving(merchant: HookedMerchant) -> Iterator[Callable[[WebhookRequestOut], int]]:
    """The gateway without its sockets: takes a delivery and gives the status."""
    installation = check_installation(merchant.config)
    doors = doors_of(installation, merchant.ports())
    receiver = Receiver(doors, lambda: Database(merchant.url), merchant.url, merchant.clock, timedelta(hours=72))

    def take(request: WebhookRequestOut) -> int:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return receiver.take("boutique", headers, request.body).status

    try:
        yield take
    finally:
        receiver.close()


def deliver(merchant: HookedMerchant, requests: Sequence[WebhookRequestOut] | None = None) -> None:
    """What the shop sends now (or these) reaches the inbox."""
    shop = merchant.shops["boutique"]
    with receiving(merchant) as take:
        for request in shop.webhooks.pending_deliveries() if requests is None else requests:
            status = take(request)
            shop.webhooks.answered(request, status)
            assert status == 200


def hint(merchant: HookedMerchant, number: Any, kind: Any = "updated", entity: EntityName = EntityName.ORDER) -> None:
    """A hint that no webhook of the sandbox would give."""
    with psycopg.connect(merchant.url) as connection:
        connection.execute(
            "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at) "
            "values ('boutique', %s, %s, %s, %s, now())",
            (entity.value, str(number), kind, uuid4().hex),
        )


def outcomes(merchant: HookedMerchant) -> list[str]:
    """What became of each hint."""
    return [row[0] for row in merchant.rows("select outcome from inbox order by id")]


def town(merchant: HookedMerchant, number: int | None = None) -> Any:
    """The town that an order (the only one) is billed to, as it was landed last."""
    which = "" if number is None else f"where o.external_id = '{number}'"
    [(found,)] = merchant.rows(
        f"select p.city from sales_order o join personal_party p on p.document_id = o.id and p.role = 'billing' {which}"
    )
    return found


def waiting(merchant: HookedMerchant) -> int:
    return int(merchant.value("select count(*) from inbox where done_at is null"))


def order(shop: WooCommerceSandbox, **changes: Any) -> int:
    return int(request_json(shop, "POST", "/orders", simple_order(**changes))["id"])


def reads(shop: WooCommerceSandbox, path: str = "/orders") -> int:
    return sum(entry.method == "GET" and entry.path.endswith(path) for entry in shop.log)


def partition(report: RunReport) -> None:
    for entity, c in report.entities.items():
        assert c.considered == c.unchanged + c.changed + c.skipped + c.quarantined, entity


# -- the way of one webhook ----------------------------------------------------------------------------------------


def test_a_paid_order_reaches_the_back_office_by_its_webhook_alone(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    number = order(shop)
    deliver(merchant)
    assert merchant.rows("select entity, external_id, kind from inbox") == [
        ("order", str(number), "created")
    ]  # order.updated holds the same state, so it is the same event; nobody waits for items
    report = merchant.run(mode="inbox", trigger="webhook")
    assert merchant.order_numbers() == [str(number)]
    assert (report.main.considered, report.main.changed, report.main.delivered) == (1, 1, 1)
    run_id, outcome, done = merchant.rows("select run_id, outcome, done_at >= received_at from inbox")[0]
    assert (run_id, outcome, done) == (report.run_id, "changed", True)
    partition(report)
    # The poll that follows finds nothing new.
    report = merchant.run()
    assert (report.main.changed, report.main.delivered) == (0, 0)
    assert merchant.order_numbers() == [str(number)]


def test_an_inbox_run_without_hints_asks_the_shop_nothing(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    shop.log.clear()
    report = merchant.run(mode="inbox", trigger="webhook")
    assert shop.log == []
    assert report.state is RunState.SUCCESS


def test_nothing_of_a_webhooks_content_is_taken(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    """A signed body that lies about the order (an old state, another total) only leads to a reading."""
    number = order(shop)
    [request, *_] = shop.webhooks.pending_deliveries()
    request_json(shop, "PUT", f"/orders/{number}", {"billing": {"city": "sonnez deux fois"}})
    deliver(merchant, [request])
    merchant.run(mode="inbox")
    assert town(merchant) == "sonnez deux fois"


def test_several_hints_of_a_record_are_one_reading(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    for _ in range(5):
        hint(merchant, number)
    shop.log.clear()
    report = merchant.run(mode="inbox")
    assert reads(shop) == 1
    assert report.main.considered == 1
    assert outcomes(merchant) == ["changed"] * 5


def test_hints_are_worked_off_in_batches_and_those_that_come_meanwhile_are_left(
    merchant: HookedMerchant, shop: WooCommerceSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comptoir.engine.drain._BATCH", 10)
    numbers = [order(shop) for _ in range(25)]
    for number in numbers:
        hint(merchant, number)
    late = order(shop)
    asked: list[str] = []

    def meanwhile(request: HttpRequest) -> None:
        if "/orders" in request.url and "include" in request.url:
            asked.append(request.url)
            if len(asked) == 2:
                hint(merchant, late)

    shop.on_request = meanwhile
    with merchant.hub() as hub:
        report = RunReport(hub.ports.ids.new(), "orders", EntityName.ORDER)
        assert drain(hub, hub.link("boutique"), EntityName.ORDER, report) == 25
    assert len(asked) == 3
    assert report.main.changed == 25
    assert waiting(merchant) == 1


def test_a_refund_comes_with_the_hint_of_its_order(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    deliver(merchant)
    merchant.run(mode="inbox")
    request_json(shop, "POST", f"/orders/{number}/refunds", {"amount": "3.00", "api_refund": False})
    deliver(merchant)
    report = merchant.run(mode="inbox")
    assert report.entities[EntityName.REFUND].changed == 1
    assert merchant.value("select count(*) from refund") == 1


def test_a_new_customer_comes_by_his_webhook(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    merchant.run("customers")
    before = merchant.value("select count(*) from customer")
    body = {"email": "anais@example.test", "first_name": "Anaïs", "last_name": "Garçon", "role": "customer"}
    number = request_json(shop, "POST", "/customers", body)["id"]
    deliver(merchant)
    report = merchant.run("customers", mode="inbox")
    assert report.main.changed == 1
    assert merchant.value("select count(*) from customer") == before + 1
    assert merchant.rows("select external_id, outcome from inbox where entity = 'customer'") == [
        (str(number), "changed")
    ]


# -- items and their variations ------------------------------------------------------------------------------------


def test_a_hint_of_a_product_reads_its_variations_and_one_of_a_variation_its_product(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    variation = request_json(shop, "GET", "/products?sku=TEE-B-M")[0]
    parent = variation["parent_id"]
    path = f"/products/{parent}/variations/{variation['id']}"

    def drained(number: Any, kind: str = "updated") -> RunReport:
        hint(merchant, number, kind, EntityName.ITEM)
        with merchant.hub() as hub:
            report = RunReport(hub.ports.ids.new(), "items", EntityName.ITEM)
            assert drain(hub, hub.link("boutique"), EntityName.ITEM, report) == 1
        partition(report)
        return report

    assert drained(parent).main.changed == 4
    assert drained(parent).main.unchanged == 4
    request_json(shop, "PUT", path, {"stock_quantity": 77})
    assert drained(variation["id"]).main.changed == 1
    assert merchant.value(f"select source_stock from item where external_id = '{variation['id']}'") == 77
    del shop.products[variation["id"]]
    shop.products[parent].variations.remove(variation["id"])
    assert drained(variation["id"], "deleted").main.reasons == {"deleted on boutique": 1}
    assert outcomes(merchant) == ["changed", "unchanged", "changed", "gone"]


# -- records that are not there ------------------------------------------------------------------------------------


def test_a_deleted_order_is_noted_and_no_error(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    merchant.run()
    request_json(shop, "DELETE", f"/orders/{number}?force=true")
    hint(merchant, number, "deleted")
    hint(merchant, 999_999, "updated")
    report = merchant.run(mode="inbox")
    assert report.state is RunState.SUCCESS
    assert outcomes(merchant)[-2:] == ["gone", "gone"]
    assert report.main.reasons == {"deleted on boutique": 1, "boutique does not give it any more": 1}
    partition(report)
    rows = merchant.rows(f"select external_id, outcome, reason from outcome where run_id = '{report.run_id}'")
    assert (str(number), "gone", "deleted on boutique") in rows
    assert merchant.value("select count(*) from sales_order") == 1


def test_an_order_in_the_trash_is_read_in_that_state(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    deliver(merchant)
    merchant.run(mode="inbox")
    request_json(shop, "DELETE", f"/orders/{number}")
    deliver(merchant)
    report = merchant.run(mode="inbox")
    assert waiting(merchant) == 0
    assert outcomes(merchant)[-1] == "changed"
    partition(report)


def test_a_record_that_the_shop_refuses_to_give_keeps_no_other_back(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    good, bad = order(shop), order(shop)
    refuses = True

    def grumpy(hub: Hub) -> None:
        connector: Any = hub.link("boutique").open()
        fetch = connector.fetch

        def wrapped(entity: EntityName, ids: Sequence[str]) -> Iterator[Page]:
            if refuses and str(bad) in ids:
                raise RecordRejected(f"boutique: {bad} is refused", connection="boutique")
            return fetch(entity, ids)  # type: ignore[no-any-return]

        connector.fetch = wrapped

    hint(merchant, good)
    hint(merchant, bad)
    report = merchant.run(mode="inbox", change=grumpy)
    assert merchant.order_numbers() == [str(good)]
    assert outcomes(merchant) == ["changed", "refused"]
    assert report.state is RunState.PARTIAL
    partition(report)
    parked = "select external_id, cause, state from quarantine"
    assert merchant.rows(parked) == [(str(bad), "not_readable", "open")]
    refuses = False
    hint(merchant, bad)
    merchant.run(mode="inbox", change=grumpy)
    assert merchant.order_numbers() == sorted([str(good), str(bad)])
    assert merchant.rows(parked) == [(str(bad), "not_readable", "resolved")]


def test_a_connector_that_cannot_read_single_records_is_pulled(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    number = order(shop)
    hint(merchant, number)

    def without_fetch(hub: Hub) -> None:
        manifest = hub.link("boutique").manifest
        entities = {**manifest.entities}
        entities[EntityName.ORDER] = entities[EntityName.ORDER].model_copy(update={"fetch": False})
        object.__setattr__(hub.link("boutique"), "manifest", manifest.model_copy(update={"entities": entities}))

    merchant.run(mode="inbox", change=without_fetch)
    assert merchant.order_numbers() == [str(number)]
    assert outcomes(merchant) == ["polled"]


# -- 22: the same event several times, at once ---------------------------------------------------------------------


@pytest.mark.failure_mode(22)
def test_fifty_copies_at_once_and_six_runs_at_once_write_one_document(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    number = order(shop)
    shop.webhooks.faults.copies = 25
    copies = shop.webhooks.pending_deliveries()
    copies = [request for request in copies if request.topic.startswith("order")]
    assert len(copies) == 50
    start = threading.Barrier(50)
    statuses: list[int] = []
    with receiving(merchant) as take:

        def send(request: WebhookRequestOut) -> None:
            start.wait()
            statuses.append(take(request))

        _at_once([lambda request=request: send(request) for request in copies])
    assert statuses == [200] * 50
    assert merchant.value("select count(*) from inbox") == 1

    reports: list[RunReport] = []

    def run() -> None:
        with merchant.hub() as hub:
            reports.append(run_route(hub, "orders", mode="inbox"))

    _at_once([run] * 6)
    assert merchant.order_numbers() == [str(number)]
    assert sum(report.main.changed for report in reports) == 1
    assert sum(report.main.delivered for report in reports) == 1
    assert merchant.value("select count(*) from sales_order") == 1
    assert merchant.value("select count(*) from delivery") == 1
    assert merchant.value("select version from raw_record where entity = 'order'") == 1


def _at_once(works: Sequence[Callable[[], None]]) -> None:
    failed: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failed == []


@pytest.mark.failure_mode(26)
def test_a_poll_and_six_drains_of_the_same_orders_at_once_write_each_once(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    numbers = [order(shop) for _ in range(12)]
    for number in numbers:
        hint(merchant, number)

    def run(mode: Any) -> Callable[[], None]:
        def work() -> None:
            with merchant.hub() as hub:
                run_route(hub, "orders", mode=mode)

        return work

    _at_once([run("poll"), *[run("inbox")] * 6])
    assert merchant.order_numbers() == sorted(map(str, numbers))
    assert merchant.value("select count(*) from raw_record where entity = 'order' and version > 1") == 0
    assert waiting(merchant) == 0


# -- 23: any order -------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(23)
def test_all_permutations_of_a_lifecycle_converge_to_the_same_state(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    """Created unpaid, paid, the address changed, refunded in part: 24 orders, each with its webhooks in another order.

    They arrive in four rounds with a run after each, so that every state is seen first by some order.
    """
    lives: list[list[WebhookRequestOut]] = []
    numbers = []
    for _ in range(24):
        number = order(shop, set_paid=False)
        life = [_only_order(shop)]
        for method, path, body in (
            ("PUT", f"/orders/{number}", {"set_paid": True}),
            ("PUT", f"/orders/{number}", {"billing": {"city": "Dole"}}),
            ("POST", f"/orders/{number}/refunds", {"amount": "1.00", "api_refund": False}),
        ):
            request_json(shop, method, path, body)
            life.append(_only_order(shop))
        assert len({request.body for request in life}) == 4
        lives.append(life)
        numbers.append(number)
    for position in range(4):
        shuffled = [
            life[permutation[position]]
            for life, permutation in zip(lives, itertools.permutations(range(4)), strict=True)
        ]
        deliver(merchant, shuffled)
        merchant.run(mode="inbox")
    states = merchant.rows(
        "select distinct source_status, payment_state, total, (select city from personal_party p where p.document_id "
        "= o.id and p.role = 'billing'), (select count(*) from refund r where r.order_external_id = o.external_id) "
        "from sales_order o"
    )
    assert len(states) == 1
    assert states[0][3:] == ("Dole", 1)
    assert merchant.order_numbers() == sorted(map(str, numbers))
    # The shop itself agrees: a full poll changes nothing and writes nothing.
    report = merchant.run(full=True)
    assert report.main.considered == 24
    assert (report.main.changed, report.main.delivered) == (0, 0)


def _only_order(shop: WooCommerceSandbox) -> WebhookRequestOut:
    """The last webhook about an order that is due now."""
    found = [r for r in shop.webhooks.pending_deliveries() if r.topic.startswith("order.")]
    return found[-1]


@pytest.mark.failure_mode(23)
def test_hints_in_any_order_while_the_order_lives_end_in_its_last_state(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    """The other way round: each hint arrives while the shop is further on, or not yet, than what it tells of."""
    number = order(shop, set_paid=False)
    steps = [{"status": "on-hold"}, {"set_paid": True}, {"status": "completed"}]
    held = [_only_order(shop)]
    for step in steps:
        request_json(shop, "PUT", f"/orders/{number}", step)
        held.append(_only_order(shop))
        deliver(merchant, [held[0]])  # always the oldest
        merchant.run(mode="inbox")
    for late in (held[2], held[1], held[3]):
        deliver(merchant, [late])
        merchant.run(mode="inbox")
    assert merchant.value("select source_status from sales_order") == "completed"
    assert merchant.order_numbers() == [str(number)]


# -- older answers -------------------------------------------------------------------------------------------------


class _Cached:
    """A cache before the shop that keeps what it answered to readings by id."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.kept: dict[str, HttpResponse] = {}
        self.stale = False

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        asked = re.search(r"[?&]include=[^&]*", request.url)
        key = asked[0][1:] if asked else ""
        if self.stale and key:
            return self.kept[key]
        answer: HttpResponse = self._inner.send(request, timeout=timeout, max_bytes=max_bytes)
        if key:
            self.kept[key] = answer
        return answer


def test_an_older_state_never_overwrites_a_newer_one(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    request_json(shop, "POST", f"/orders/{number}/refunds", {"amount": "1.00", "api_refund": False})
    cache: list[_Cached] = []
    plain = merchant.ports

    def ports() -> Any:
        found = plain()
        if not cache:
            cache.append(_Cached(found.transport))
        found.transport = cache[0]
        return found

    merchant.ports = ports  # type: ignore[method-assign]
    hint(merchant, number)
    merchant.run(mode="inbox")
    time.sleep(1.1)  # the shop's dates have whole seconds
    request_json(shop, "PUT", f"/orders/{number}", {"billing": {"city": "neuf"}})
    merchant.run()
    assert town(merchant) == "neuf"
    landed = "select external_id, version, source_modified_at from raw_record order by external_id"
    before = merchant.rows(landed)

    cache[0].stale = True
    hint(merchant, number)
    report = merchant.run(mode="inbox")
    assert town(merchant) == "neuf"
    assert (
        merchant.rows("select external_id, version, source_modified_at from raw_record order by external_id") == before
    )
    assert outcomes(merchant)[-1] == "older"
    assert report.main.reasons == {"boutique gave an older state than the known one": 1}
    assert any("a cache before the shop?" in note for note in report.notes)
    partition(report)

    cache[0].stale = False
    hint(merchant, number)
    merchant.run(mode="inbox")
    assert outcomes(merchant)[-1] == "unchanged"


def test_a_drain_waits_for_the_poll_that_is_reading_and_lands_after_it(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    """The poll holds an older answer in its hands while the order changes: the drain must not come before it."""
    number = order(shop)
    in_poll, go_on = threading.Event(), threading.Event()

    def hold(request: HttpRequest) -> None:
        # The second request of the poll: its first page, with the old order, has been answered.
        if threading.current_thread().name == "poll" and "/refunds" in request.url:
            in_poll.set()
            assert go_on.wait(20)

    request_json(shop, "POST", f"/orders/{number}/refunds", {"amount": "1.00", "api_refund": False})
    shop.on_request = hold
    failed: list[BaseException] = []

    def run(mode: Any) -> None:
        try:
            with merchant.hub() as hub:
                run_route(hub, "orders", mode=mode)
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)

    poll = threading.Thread(target=run, args=("poll",), name="poll")
    poll.start()
    assert in_poll.wait(20)
    time.sleep(1.1)
    request_json(shop, "PUT", f"/orders/{number}", {"billing": {"city": "neuf"}})
    deliver(merchant)
    inbox = threading.Thread(target=run, args=("inbox",), name="inbox")
    inbox.start()
    time.sleep(0.7)
    assert inbox.is_alive()
    assert waiting(merchant) > 0
    go_on.set()
    poll.join(30)
    inbox.join(30)
    assert not poll.is_alive()
    assert not inbox.is_alive()
    assert failed == []
    assert town(merchant) == "neuf"
    assert waiting(merchant) == 0


# -- killed and taken over -----------------------------------------------------------------------------------------


def test_what_a_dead_run_had_taken_is_taken_again(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    hint(merchant, number)
    database = Database(merchant.url)
    with database.transaction() as session:
        taken = Inbox(session).take(
            "boutique", EntityName.ORDER, 10, run_id=uuid4(), at=merchant.clock.now(), until=10**9
        )
        assert [row.external_id for row in taken] == [str(number)]
    database.close()
    merchant.run(mode="inbox")
    assert outcomes(merchant) == ["changed"]
    assert merchant.order_numbers() == [str(number)]


def test_a_failing_shop_leaves_the_hints_where_they_are(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    deliver(merchant)
    shop.faults.fail_next(50, "status", status=503)
    with pytest.raises(TransientError):
        merchant.run(mode="inbox")
    assert waiting(merchant) == 1
    shop.faults.clear()
    merchant.run(mode="inbox")
    assert merchant.order_numbers() == [str(number)]


def test_a_run_that_was_overtaken_commits_nothing(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    """It lost its lock (its session died), another run has taken the hint: what it read may be old by now."""
    number = order(shop)
    hint(merchant, number)

    def overtake(request: HttpRequest) -> None:
        if "include" in request.url:
            with psycopg.connect(merchant.url) as connection:
                connection.execute("update inbox set run_id = %s", (uuid4(),))

    shop.on_request = overtake
    with pytest.raises(TransientError, match="another run has taken webhooks"):
        merchant.run(mode="inbox")
    assert merchant.value("select count(*) from sales_order") == 0
    assert waiting(merchant) == 1
    shop.on_request = None
    merchant.run(mode="inbox")
    assert merchant.order_numbers() == [str(number)]


# -- 24: the loop --------------------------------------------------------------------------------------------------


def loop_once(merchant: HookedMerchant, shop: WooCommerceSandbox, number: int) -> RunReport:
    """A plugin saves the order while its webhook is made: only its date moves."""
    shop.orders[number].order(keep=True).modified += 1
    shop.orders[number].changed()
    hint(merchant, number)
    return merchant.run(mode="inbox")


@pytest.mark.failure_mode(24)
def test_a_webhook_loop_is_parked_and_its_hints_are_swallowed_while_polling_goes_on(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    number, other = order(shop), order(shop)
    merchant.run()
    for _ in range(LOOP_READINGS - 1):
        report = loop_once(merchant, shop, number)
        assert report.state is RunState.SUCCESS
    assert merchant.rows("select * from quarantine") == []
    report = loop_once(merchant, shop, number)
    assert report.state is RunState.PARTIAL
    partition(report)
    [(external_id, cause, message)] = merchant.rows("select external_id, cause, message from quarantine")
    assert (external_id, cause) == (str(number), "webhook_loop")
    assert "10 times within 15 minutes" in message

    shop.log.clear()
    for _ in range(3):
        report = loop_once(merchant, shop, number)
        partition(report)
        assert report.main.reasons == {"webhook loop: the schedule reads it": 1}
        assert any("1 webhooks of order on boutique were not followed" in note for note in report.notes)
    assert reads(shop) == 0
    assert outcomes(merchant) == ["unchanged"] * LOOP_READINGS + ["loop"] * 3

    # Others are followed as ever, and the schedule still reads the record itself.
    request_json(shop, "PUT", f"/orders/{other}", {"billing": {"city": "autre"}})
    deliver(merchant)
    merchant.run(mode="inbox")
    assert town(merchant, other) == "autre"
    time.sleep(1.1)
    request_json(shop, "PUT", f"/orders/{number}", {"billing": {"city": "change"}})
    shop.orders[number].order(keep=True).modified = shop.now + 60
    shop.orders[number].changed()
    shop.revision += 1
    merchant.run()
    assert town(merchant, number) == "change"
    assert merchant.value("select times from quarantine where cause = 'webhook_loop'") == 1

    # When the window has passed, a hint is followed again.
    with psycopg.connect(merchant.url) as connection:
        connection.execute("update inbox set done_at = done_at - %s", (LOOP_WINDOW,))
    shop.log.clear()
    loop_once(merchant, shop, number)
    assert reads(shop) == 1
    assert outcomes(merchant)[-1] == "unchanged"


@pytest.mark.failure_mode(24)
def test_a_record_that_we_write_to_often_is_no_loop(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    """Each of our writes has the shop send a webhook, and its record is read again unchanged."""
    number = order(shop)
    merchant.run()

    def rounds(times: int, *, wrote: bool) -> None:
        for _ in range(times):
            if wrote:
                with psycopg.connect(merchant.url) as connection:
                    connection.execute(
                        "insert into write_log (at, run_id, target, entity, external_id, record_id, after) "
                        "values (now(), gen_random_uuid(), 'boutique', 'order', %s, gen_random_uuid(), '{}')",
                        (str(number),),
                    )
            loop_once(merchant, shop, number)

    rounds(LOOP_READINGS + 2, wrote=True)
    assert merchant.rows("select cause from quarantine") == []
    rounds(3 * LOOP_READINGS, wrote=False)
    assert merchant.rows("select cause from quarantine") == [("webhook_loop",)]


@pytest.mark.failure_mode(24)
def test_many_hints_that_a_poll_came_before_are_no_loop(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    """Twenty changes within a minute, polled before the first drain: twenty hints without a change, one reading."""
    number = order(shop)
    merchant.run()
    for _ in range(20):
        hint(merchant, number)
    merchant.run(mode="inbox")
    assert outcomes(merchant) == ["unchanged"] * 20
    assert merchant.rows("select * from quarantine") == []


@pytest.mark.failure_mode(24)
def test_a_busy_record_that_does_change_is_no_loop(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    number = order(shop)
    for count in range(LOOP_READINGS + 3):
        request_json(shop, "PUT", f"/orders/{number}", {"billing": {"city": f"note {count}"}})
        hint(merchant, number)
        merchant.run(mode="inbox")
    assert outcomes(merchant) == ["changed"] * (LOOP_READINGS + 3)
    assert merchant.rows("select * from quarantine where cause = 'webhook_loop'") == []


# -- 21: webhooks that do not come ---------------------------------------------------------------------------------


@pytest.mark.failure_mode(21)
def test_with_webhooks_lost_everything_still_lands_with_the_next_poll(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    shop.webhooks.faults.lose_all = True
    numbers = [order(shop) for _ in range(3)]
    deliver(merchant)
    assert waiting(merchant) == 0
    merchant.run()
    assert merchant.order_numbers() == sorted(map(str, numbers))


@pytest.mark.failure_mode(21)
def test_webhooks_are_made_by_the_first_run_and_looked_at_once_an_hour(merchant: HookedMerchant) -> None:
    shop = merchant.shops["boutique"]
    report = merchant.run("customers")
    hooks = shop.webhooks.hooks.values()
    assert {hook.topic for hook in hooks} == {
        "order.created", "order.updated", "order.deleted", "order.restored", "customer.created", "customer.updated",
        "customer.deleted",
    }  # fmt: skip
    assert {hook.url for hook in hooks} == {URL}
    assert sum("was missing; made as number" in note for note in report.notes) == 7
    shop.log.clear()
    for route in ("orders", "customers", "orders"):
        assert not any("webhook" in note for note in merchant.run(route).notes)
    assert reads(shop, "/webhooks") == 0
    with psycopg.connect(merchant.url) as connection:
        connection.execute(
            "update cursor_position set watermark = watermark - interval '1 hour' where scope = 'webhooks'"
        )
    merchant.run()
    assert reads(shop, "/webhooks") == 1
    merchant.run("customers")
    assert reads(shop, "/webhooks") == 1


def seven_orders_untold(shop: WooCommerceSandbox) -> None:
    """Nobody takes their webhooks, so that the shop switches them off."""
    for _ in range(7):
        order(shop)
        for request in shop.webhooks.pending_deliveries():
            shop.webhooks.answered(request, None)


@pytest.mark.failure_mode(21)
def test_a_webhook_that_was_switched_off_is_repaired_within_one_run(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    """The gateway was away for seven orders; the run that found them unannounced makes the next one look."""
    seven_orders_untold(shop)
    assert {h.status for h in shop.webhooks.hooks.values() if h.topic in ("order.created", "order.updated")} == {
        "disabled"
    }
    assert merchant.run().main.changed == 7
    report = merchant.run()
    assert {hook.status for hook in shop.webhooks.hooks.values()} == {"active"}
    assert sum("is disabled; mended" in note for note in report.notes) == 2
    # And it works again, up to the back office.
    number = order(shop)
    deliver(merchant)
    merchant.run(mode="inbox")
    assert str(number) in merchant.order_numbers()


@pytest.mark.failure_mode(21)
def test_webhooks_of_products_do_not_hide_that_none_of_orders_comes(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    seven_orders_untold(shop)
    assert merchant.run().main.changed == 7
    with psycopg.connect(merchant.url) as connection:
        connection.execute(
            "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at) "
            "values ('boutique', 'item', '1', 'updated', 'of a product', now() + interval '1 second')"
        )
    merchant.run()
    assert {hook.status for hook in shop.webhooks.hooks.values()} == {"active"}


@pytest.mark.failure_mode(21)
def test_webhooks_that_came_before_do_not_hide_that_none_comes_any_more(
    merchant: HookedMerchant, shop: WooCommerceSandbox
) -> None:
    order(shop)
    deliver(merchant)
    assert merchant.run(mode="inbox").main.changed == 1
    asked = reads(shop, "/webhooks")
    merchant.run()
    assert reads(shop, "/webhooks") == asked, "what was announced is no reason to look"
    seven_orders_untold(shop)
    assert merchant.run().main.changed == 7
    report = merchant.run()
    assert {hook.status for hook in shop.webhooks.hooks.values()} == {"active"}
    assert sum("is disabled; mended" in note for note in report.notes) == 2


@pytest.mark.failure_mode(21)
def test_what_cannot_be_repaired_is_said_by_every_run_and_asked_for_once_an_hour(merchant: HookedMerchant) -> None:
    shop = merchant.shops["boutique"]
    shop.writable = False
    for _ in range(3):
        report = merchant.run()
        assert report.state is RunState.SUCCESS
        assert sum("Read/Write" in note for note in report.notes) == 7
    assert reads(shop, "/webhooks") == 1
    assert shop.webhooks.hooks == {}


def test_without_a_secret_the_run_says_so_and_goes_on(merchant: HookedMerchant) -> None:
    merchant.webhook_secret = None
    number = order(merchant.shops["boutique"])
    report = merchant.run()
    assert any("no webhook secret" in note and "webhook_secret" in note for note in report.notes)
    assert merchant.order_numbers() == [str(number)]
    assert merchant.shops["boutique"].webhooks.hooks == {}


def test_a_new_address_is_not_kept_waiting_for_an_hour(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    merchant.edit_config("https://hooks.example.com", "https://new.example.com")
    merchant.run()
    assert {hook.url for hook in shop.webhooks.hooks.values()} == {"https://new.example.com/hooks/boutique"}
    assert len(shop.webhooks.hooks) == 7


def test_without_an_address_of_ours_nothing_is_touched(merchant: HookedMerchant) -> None:
    merchant.edit_config('[gateway]\nurl = "https://hooks.example.com"\n', "")
    report = merchant.run()
    assert merchant.shops["boutique"].webhooks.hooks == {}
    assert not any("webhook" in note for note in report.notes)


def test_two_runs_that_look_at_once_make_no_webhook_twice(merchant: HookedMerchant) -> None:
    def run() -> None:
        with merchant.hub() as hub:
            ensure(hub, hub.link("boutique"), [EntityName.ORDER])

    with merchant.hub():
        _at_once([run] * 4)
    topics = [hook.topic for hook in merchant.shops["boutique"].webhooks.hooks.values()]
    assert len(topics) == len(set(topics)) == 7


# -- the inbox itself ----------------------------------------------------------------------------------------------


def test_a_hundred_thousand_rows_do_not_slow_the_inbox_down(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    with psycopg.connect(merchant.url, autocommit=True) as connection:
        connection.execute(
            "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at, done_at, outcome) "
            "select 'boutique', 'order', (n % 5000)::text, 'updated', md5(n::text), now() - interval '1 day', now(), "
            "'changed' from generate_series(1, 100000) n"
        )
        connection.execute("analyze inbox")
    number = order(shop)
    deliver(merchant)
    database = Database(merchant.url)
    began = time.perf_counter()
    for _ in range(20):
        with database.transaction() as session:
            inbox = Inbox(session)
            assert inbox.newest("boutique", EntityName.ORDER) is not None
            inbox.fruitless("boutique", EntityName.ORDER, [str(number)], merchant.clock.now() - LOOP_WINDOW)
            inbox.purge(merchant.clock.now() - timedelta(days=6))
            inbox.add("boutique", "key", [Hint(EntityName.ORDER, "1", "updated")], merchant.clock.now())
    took = (time.perf_counter() - began) / 20
    print(f"{took * 1000:.1f} ms a round")
    with database.transaction() as session:
        assert Inbox(session).purge(merchant.clock.now()) == 5000
    database.close()


def test_the_reports_counts_can_be_kept(merchant: HookedMerchant, shop: WooCommerceSandbox) -> None:
    order(shop)
    deliver(merchant)
    report = merchant.run(mode="inbox")
    assert json.loads(json.dumps(report.as_dict()))["changed"] == 1
