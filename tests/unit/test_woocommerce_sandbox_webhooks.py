"""The sandbox's webhooks against the recordings, and webhooks that are made, mended and left alone in it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from comptoir.errors import ConfigError
from comptoir.sdk import CheckItem, Credentials, EntityName, HttpRequest, HttpResponse, WebhookRequest
from comptoir.testing import FakeRandom, connector_context
from comptoir_woocommerce.config import WooCommerceConfig
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.sandbox import (
    SandboxTransport,
    WebhookRequestOut,
    WooCommerceSandbox,
    send_webhooks,
    sending_webhooks,
)
from comptoir_woocommerce.webhook import TOPICS, verify

from tests.support.hooks import SECRET, recorded
from tests.support.merchant import request_json, simple_order
from tests.support.woocommerce import DATA, ManualClock, exchange

URL = "https://hooks.example.com/hooks/boutique"
OBSERVED = "http://127.0.0.1:9099/wc"
_SEEDS = itertools.count(1)
EVERYTHING = [topic for topics in TOPICS.values() for topic in topics]


@pytest.fixture(params=["11.0.1", "7.9.0"])
def shop(request: pytest.FixtureRequest) -> WooCommerceSandbox:
    """A shop of each version."""
    return WooCommerceSandbox(clock=ManualClock(), version=request.param)


def hooked(shop: WooCommerceSandbox, *topics: str, secret: str = SECRET) -> WooCommerceSandbox:
    """The shop with webhooks for these topics, their pings sent."""
    for topic in topics or EVERYTHING:
        request_json(shop, "POST", "/webhooks", {"topic": topic, "delivery_url": OBSERVED, "secret": secret})
    assert [r.topic for r in shop.webhooks.pending_deliveries()] == [""] * len(topics or EVERYTHING)
    return shop


def sent(shop: WooCommerceSandbox) -> list[list[Any]]:
    """What the queue gives now, in the form of the observations."""
    found = []
    for request in shop.webhooks.pending_deliveries():
        body = json.loads(request.body)
        found.append([request.topic, body["id"], body.get("status"), body.get("type")])
    return found


def status_of(shop: WooCommerceSandbox, number: int = 1) -> str:
    return str(request_json(shop, "GET", f"/webhooks/{number}")["status"])


def refusal(shop: WooCommerceSandbox, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of a call that the shop refuses."""
    from woocommerce.oauth import OAuth

    signed = OAuth(
        f"{shop.home}/wp-json/wc/v3{path}", shop.key, shop.secret, version="wc/v3", method=method,
        oauth_timestamp=int(shop.clock.now().timestamp()),
    )  # fmt: skip
    data = None if body is None else json.dumps(body).encode()
    answer = shop.handle(HttpRequest(method, signed.get_oauth_url(), {}, data))
    return answer.status, json.loads(answer.body)


def observation(shop: WooCommerceSandbox, test: str) -> Any:
    """One recorded observation of this shop's version."""
    version = "11.0.1" if shop.show.modern else "7.9.0"
    found = json.loads((DATA / f"webhook-observations-wc-{version}.json").read_text(encoding="utf-8"))
    return next(row for row in found if row["test"] == test)


# -- what is sent --------------------------------------------------------------------------------------------------


def topics_of(rows: list[list[Any]]) -> list[list[Any]]:
    """Without the ids, which differ from shop to shop."""
    return [[row[0], *row[2:]] for row in rows]


def test_one_paid_order_sends_what_was_observed(shop: WooCommerceSandbox) -> None:
    made = request_json(hooked(shop), "POST", "/orders", simple_order())
    found = sent(shop)
    assert topics_of(found) == topics_of(observation(shop, "deliveries: one POST /orders, set_paid")["deliveries"])
    assert [row[1] for row in found[:2]] == [made["id"], made["id"]]
    assert sent(shop) == []


def test_three_writes_before_the_queue_runs_are_one_delivery_of_the_last(shop: WooCommerceSandbox) -> None:
    product = request_json(hooked(shop), "GET", "/products?sku=MUG-001")[0]["id"]
    for stock in (5, 6, 7):
        request_json(shop, "PUT", f"/products/{product}", {"stock_quantity": stock})
    [request] = shop.webhooks.pending_deliveries()
    assert json.loads(request.body)["stock_quantity"] == 7
    expected = observation(shop, "deliveries: three PUT of the same product before the queue runs")["deliveries"]
    assert [request.topic] == [row[0] for row in expected]


def test_other_writes_send_what_was_observed(shop: WooCommerceSandbox) -> None:
    hooked(shop)
    product, other = (request_json(shop, "GET", f"/products?sku={sku}")[0]["id"] for sku in ("MUG-001", "CARNET"))
    variation = request_json(shop, "GET", "/products?sku=TEE-B-M")[0]
    order = request_json(shop, "POST", "/orders", simple_order())["id"]
    customer = min(shop.customers)
    shop.webhooks.pending_deliveries()

    def deliveries(test: str) -> list[list[Any]]:
        return topics_of(observation(shop, f"deliveries: {test}")["deliveries"])

    request_json(shop, "PUT", f"/products/{product}", {"stock_quantity": 3})
    assert topics_of(sent(shop)) == deliveries("PUT product stock")
    path = f"/products/{variation['parent_id']}/variations/{variation['id']}"
    request_json(shop, "PUT", path, {"stock_quantity": 3})
    assert topics_of(sent(shop)) == deliveries("variation stock PUT")
    rows = [{"id": product, "stock_quantity": 1}, {"id": other, "stock_quantity": 1}]
    request_json(shop, "POST", "/products/batch", {"update": rows})
    assert topics_of(sent(shop)) == deliveries("batch stock of 2 products")
    request_json(shop, "POST", f"/orders/{order}/notes", {"note": "merci"})
    assert topics_of(sent(shop)) == deliveries("order note") == []
    request_json(shop, "PUT", f"/customers/{customer}", {"first_name": "Zoé"})
    assert topics_of(sent(shop)) == deliveries("customer PUT")
    request_json(shop, "POST", f"/orders/{order}/refunds", {"amount": "1.00", "api_refund": False})
    assert [row[0] for row in topics_of(sent(shop))] == [row[0] for row in deliveries("refund of an order")]
    request_json(shop, "DELETE", f"/orders/{order}")
    assert topics_of(sent(shop)) == deliveries("order to trash")


def test_a_delivery_has_the_headers_and_the_form_of_a_recorded_one(shop: WooCommerceSandbox) -> None:
    request_json(hooked(shop, "order.created"), "POST", "/orders", simple_order())
    [request] = shop.webhooks.pending_deliveries()
    theirs = recorded(f"wc-{'11.0.1' if shop.show.modern else '7.9.0'}-order.created-1")
    transport = {"host", "accept-encoding", "content-length"}  # of the program that sent it
    assert {name.lower() for name in request.headers} == set(theirs.headers) - transport
    for name in ("user-agent", "content-type", "x-wc-webhook-topic", "x-wc-webhook-resource", "x-wc-webhook-event"):
        assert {k.lower(): v for k, v in request.headers.items()}[name] == theirs.headers[name]
    assert request.body.isascii()
    assert b"Zo\\u00e9" in request.body
    assert b"http:\\/\\/" in request.body
    assert set(json.loads(request.body)) == set(json.loads(theirs.body))


def test_what_the_shop_sends_is_verified_by_the_connector(shop: WooCommerceSandbox) -> None:
    hooked(shop)
    order = request_json(shop, "POST", "/orders", simple_order(line_items=[{"sku": "TEE-B-M", "quantity": 1}]))["id"]
    request_json(shop, "DELETE", f"/orders/{order}")
    parent = request_json(shop, "GET", "/products?sku=TEE-B-M")[0]["parent_id"]
    hints = set()
    for request in shop.webhooks.pending_deliveries():
        headers = {name.lower(): value for name, value in request.headers.items()}
        given = WebhookRequest(headers, request.body, shop.clock.now())
        hints |= set(verify(given, Credentials(extra={"webhook_secret": SECRET}), "boutique").hints)
    found = {(hint.entity.value, hint.external_id, hint.kind) for hint in hints}
    assert {
        ("order", str(order), "created"),
        ("order", str(order), "deleted"),
        ("item", str(parent), "updated"),
    } <= found


def test_the_body_about_a_record_that_is_gone_is_an_error_and_brings_no_hint(shop: WooCommerceSandbox) -> None:
    hooked(shop, "order.created")
    order = request_json(shop, "POST", "/orders", simple_order())["id"]
    request_json(shop, "DELETE", f"/orders/{order}?force=true")
    [request] = shop.webhooks.pending_deliveries()
    headers = {name.lower(): value for name, value in request.headers.items()}
    given = WebhookRequest(headers, request.body, shop.clock.now())
    assert b"invalid_id" in request.body
    assert not verify(given, Credentials(extra={"webhook_secret": SECRET}), "boutique").hints


# -- failures, and what can go wrong on the way --------------------------------------------------------------------


def fail(shop: WooCommerceSandbox, status: int | None = 500) -> None:
    """One order whose webhooks are answered with this."""
    request_json(shop, "POST", "/orders", simple_order(set_paid=False))
    for request in shop.webhooks.pending_deliveries():
        shop.webhooks.answered(request, status)


def test_a_webhook_is_switched_off_at_the_seventh_failure_in_a_row(shop: WooCommerceSandbox) -> None:
    hooked(shop, "order.created")
    history = []
    for number in range(1, 9):
        fail(shop, None if number % 2 else 500)
        history.append([number, status_of(shop)])
    assert history == observation(shop, "status after each failed delivery")["history"]


def test_a_success_forgets_the_failures_before_it(shop: WooCommerceSandbox) -> None:
    hooked(shop, "order.created")
    for status in (500, 404, None, 503, 408, 413, 200, 500, 500):
        fail(shop, status)
    assert status_of(shop) == "active"


def test_switched_on_again_it_sends_again(shop: WooCommerceSandbox) -> None:
    hooked(shop, "order.created")
    for _ in range(7):
        fail(shop)
    request_json(shop, "POST", "/orders", simple_order())
    assert sent(shop) == []
    assert request_json(shop, "PUT", "/webhooks/1", {"status": "active"})["status"] == "active"
    request_json(shop, "POST", "/orders", simple_order())
    assert [row[0] for row in sent(shop)] == ["order.created"]


def test_what_can_go_wrong_on_the_way(shop: WooCommerceSandbox) -> None:
    hooked(shop, "order.created", "order.updated")
    faults = shop.webhooks.faults
    faults.lose_all = True
    request_json(shop, "POST", "/orders", simple_order())
    assert sent(shop) == []
    faults.lose_all = False
    assert sent(shop) == []  # lost is lost

    faults.copies = 3
    request_json(shop, "POST", "/orders", simple_order())
    copies = shop.webhooks.pending_deliveries()
    assert len(copies) == 6
    assert len({request.body for request in copies}) == 1
    faults.copies = 1

    faults.delay = 600
    request_json(shop, "POST", "/orders", simple_order())
    assert sent(shop) == []
    shop.clock.sleep(601)
    assert len(sent(shop)) == 2
    faults.delay = 0

    faults.shuffle = True
    orders = [request_json(shop, "POST", "/orders", simple_order())["id"] for _ in range(10)]
    shuffled = [row[1] for row in sent(shop)]
    assert sorted(shuffled) == sorted([*orders, *orders])
    assert shuffled != [number for number in orders for _ in range(2)]


# -- the resource --------------------------------------------------------------------------------------------------


def test_the_resource_has_the_recorded_form(shop: WooCommerceSandbox) -> None:
    version = "11.0.1" if shop.show.modern else "7.9.0"
    theirs = exchange(version, "webhook-create")
    made = request_json(shop, "POST", "/webhooks", theirs["request"]["body"])
    expected = theirs["response"]["body"]
    assert set(made) == set(expected)
    same = ("id", "name", "status", "topic", "resource", "event", "hooks", "delivery_url", "date_modified")
    assert {name: made[name] for name in same} == {name: expected[name] for name in same}
    got, expected = request_json(shop, "GET", "/webhooks/1"), exchange(version, "webhook-get")["response"]["body"]
    assert set(got) == set(expected)
    assert (got["date_modified"] is None) == (expected["date_modified"] is None)
    assert "secret" not in got
    listed = request_json(shop, "GET", "/webhooks")
    assert listed == [got]


def test_lists_are_filtered_and_paged(shop: WooCommerceSandbox) -> None:
    hooked(shop)
    rows = request_json(shop, "GET", "/webhooks?per_page=4&page=2&orderby=id&order=asc")
    assert [row["id"] for row in rows] == [5, 6, 7, 8]
    assert [row["id"] for row in request_json(shop, "GET", "/webhooks?per_page=2")] == [11, 10]
    request_json(shop, "PUT", "/webhooks/3", {"status": "paused"})
    assert [row["id"] for row in request_json(shop, "GET", "/webhooks?status=paused")] == [3]


def test_refusals_are_the_recorded_ones(shop: WooCommerceSandbox) -> None:
    status, body = refusal(shop, "POST", "/webhooks", {"topic": "order.created"})
    expected = observation(shop, "webhook without delivery_url")
    assert (status, body) == (expected["status"], expected["body"])
    status, body = refusal(shop, "POST", "/webhooks", {"topic": "order.eaten", "delivery_url": OBSERVED})
    expected = observation(shop, "webhook with unknown topic")
    assert (status, body) == (expected["status"], expected["body"])
    assert refusal(shop, "GET", "/webhooks/99")[0] == 404
    assert refusal(shop, "DELETE", "/webhooks/99?force=true")[0] == 404


def test_deleting_and_batches(shop: WooCommerceSandbox) -> None:
    hooked(shop, "order.created", "order.updated")
    assert refusal(shop, "DELETE", "/webhooks/1")[0] == 501
    assert request_json(shop, "DELETE", "/webhooks/1?force=True")["id"] == 1
    made = {"topic": "coupon.created", "delivery_url": OBSERVED}
    answer = request_json(
        shop, "POST", "/webhooks/batch",
        {"create": [made, {"topic": "x"}], "update": [{"id": 2, "status": "paused"}], "delete": [99]},
    )  # fmt: skip
    assert [row.get("topic") or row["error"]["code"] for row in answer["create"]] == [
        "coupon.created", "rest_missing_callback_param",
    ]  # fmt: skip
    assert answer["update"][0]["status"] == "paused"
    assert "error" in answer["delete"][0]
    assert {row["id"] for row in request_json(shop, "GET", "/webhooks")} == {2, 3}


# -- the connector keeps them standing -----------------------------------------------------------------------------


def connector(shop: WooCommerceSandbox, secret: str | None = SECRET) -> WooCommerceConnector:
    extra = {} if secret is None else {"webhook_secret": secret}
    credentials = Credentials(host=shop.home, login=shop.key, password=shop.secret, extra=extra)
    ctx = connector_context(
        transport=SandboxTransport(shop),
        credentials=credentials,
        connection="boutique",
        clock=shop.clock,
        random=FakeRandom(next(_SEEDS)),  # two connectors must not share nonces
    )
    return WooCommerceConnector(WooCommerceConfig(), ctx)


def ensure(
    shop: WooCommerceSandbox, mode: Any = "repair", *, secret: str | None = SECRET, url: str = URL
) -> list[CheckItem]:
    return list(connector(shop, secret).ensure_webhooks(url, [EntityName.ORDER], mode))


def writes(shop: WooCommerceSandbox) -> int:
    return sum(entry.method != "GET" for entry in shop.log)


def test_missing_webhooks_are_made_once(shop: WooCommerceSandbox) -> None:
    items = ensure(shop)
    assert [(i.name, i.ok, i.mended) for i in items] == [(f"webhook {t}", True, True) for t in TOPICS[EntityName.ORDER]]
    assert {hook.secret for hook in shop.webhooks.hooks.values()} == {SECRET}
    assert {hook.url for hook in shop.webhooks.hooks.values()} == {URL}
    made = writes(shop)
    assert [(i.ok, i.mended) for i in ensure(shop)] == [(True, False)] * 4
    assert writes(shop) == made


def test_looking_writes_nothing(shop: WooCommerceSandbox) -> None:
    assert [(i.ok, i.mended) for i in ensure(shop, "look")] == [(False, False)] * 4
    ensure(shop)
    made = writes(shop)
    shop.webhooks.hooks[2].status = "disabled"
    found = ensure(shop, "look")
    assert [i.ok for i in found] == [True, False, True, True]
    assert "number 2 is disabled" in found[1].detail
    assert writes(shop) == made


@pytest.mark.failure_mode(21)
def test_a_webhook_that_the_shop_switched_off_is_switched_on_again(shop: WooCommerceSandbox) -> None:
    ensure(shop)
    shop.webhooks.pending_deliveries()
    for _ in range(7):
        fail(shop)
    assert {hook.status for hook in shop.webhooks.hooks.values()} == {"active", "disabled"}
    mended = [item for item in ensure(shop) if item.mended]
    assert [item.name for item in mended] == ["webhook order.created"]
    assert "is disabled; mended" in mended[0].detail
    assert {hook.status for hook in shop.webhooks.hooks.values()} == {"active"}


def test_a_webhook_that_somebody_paused_is_left_alone_until_asked(shop: WooCommerceSandbox) -> None:
    ensure(shop)
    shop.webhooks.hooks[1].status = "paused"
    found = ensure(shop)[0]
    assert (found.ok, found.mended) == (False, False)
    assert "paused by somebody" in found.detail
    assert shop.webhooks.hooks[1].status == "paused"
    assert ensure(shop, "renew")[0].ok
    assert shop.webhooks.hooks[1].status == "active"


def test_when_our_address_changes_the_webhooks_follow(shop: WooCommerceSandbox) -> None:
    ensure(shop)
    moved = "https://new.example.com/hooks/boutique"
    assert all(item.mended for item in ensure(shop, url=moved))
    assert len(shop.webhooks.hooks) == 4
    assert {hook.url for hook in shop.webhooks.hooks.values()} == {moved}


def test_when_the_secret_changes_the_webhooks_get_it(shop: WooCommerceSandbox) -> None:
    ensure(shop)
    names = {hook.name for hook in shop.webhooks.hooks.values()}
    assert all(item.mended for item in ensure(shop, secret="a-new-and-longer-secret"))
    assert len(shop.webhooks.hooks) == 4
    assert {hook.secret for hook in shop.webhooks.hooks.values()} == {"a-new-and-longer-secret"}
    assert names.isdisjoint(hook.name for hook in shop.webhooks.hooks.values())
    assert all("secret" not in hook.name for hook in shop.webhooks.hooks.values())


def test_a_secret_changed_in_the_shop_is_put_right_when_asked(shop: WooCommerceSandbox) -> None:
    """The shop shows no secret, so a look cannot see it."""
    ensure(shop)
    shop.webhooks.hooks[1].secret = "by hand"
    assert not any(item.mended for item in ensure(shop))
    assert all(item.mended for item in ensure(shop, "renew"))
    assert shop.webhooks.hooks[1].secret == SECRET


def test_webhooks_of_others_are_never_touched(shop: WooCommerceSandbox) -> None:
    theirs = [
        {"name": "ERP", "topic": "order.created", "delivery_url": "https://erp.example.com/hook", "secret": "theirs"},
        # Another installation of ours, with a secret of its own.
        {
            "name": "Comptoir boutique order.updated 0011223344", "topic": "order.updated",
            "delivery_url": "https://test.example.com/hooks/boutique", "secret": "other",
        },
    ]  # fmt: skip
    for body in theirs:
        request_json(shop, "POST", "/webhooks", body)
    request_json(shop, "PUT", "/webhooks/1", {"status": "disabled"})
    before = [request_json(shop, "GET", f"/webhooks/{n}") for n in (1, 2)]
    shop.clock.sleep(100)
    for mode in ("repair", "renew"):
        ensure(shop, mode)
    assert [request_json(shop, "GET", f"/webhooks/{n}") for n in (1, 2)] == before
    assert [shop.webhooks.hooks[n].secret for n in (1, 2)] == ["theirs", "other"]
    assert len(shop.webhooks.hooks) == 6


def test_one_made_by_hand_for_our_address_is_taken_over(shop: WooCommerceSandbox) -> None:
    body = {"name": "commandes", "topic": "order.created", "delivery_url": URL, "secret": "by hand"}
    request_json(shop, "POST", "/webhooks", body)
    assert ensure(shop)[0].mended
    assert shop.webhooks.hooks[1].secret == SECRET
    assert len(shop.webhooks.hooks) == 4


def test_the_one_that_works_is_kept_when_there_are_two(shop: WooCommerceSandbox) -> None:
    ensure(shop)
    request_json(shop, "POST", "/webhooks", {"name": "again", "topic": "order.created", "delivery_url": URL})
    shop.webhooks.hooks[5].status = "disabled"
    assert not any(item.mended for item in ensure(shop))


def test_many_webhooks_of_others_do_not_hide_ours(shop: WooCommerceSandbox) -> None:
    for number in range(120):
        request_json(
            shop, "POST", "/webhooks", {"topic": "order.created", "delivery_url": f"https://erp.example.com/{number}"}
        )
    ensure(shop)
    assert not any(item.mended for item in ensure(shop))
    assert len(shop.webhooks.hooks) == 124


def test_a_key_that_may_only_read_is_said_for_each_topic() -> None:
    shop = WooCommerceSandbox(clock=ManualClock(), writable=False)
    items = ensure(shop)
    assert [item.ok for item in items] == [False] * 4
    assert "Read/Write" in str(items[0].hint)


def test_without_a_secret_nothing_is_made(shop: WooCommerceSandbox) -> None:
    with pytest.raises(ConfigError, match="no webhook secret"):
        ensure(shop, secret=None)
    assert not shop.webhooks.hooks


def test_a_lost_answer_makes_no_second_webhook(shop: WooCommerceSandbox) -> None:
    shop.faults.fail_next(1, "lost", method="POST", path="/webhooks")
    first = ensure(shop)
    assert [item.ok for item in first] == [False, True, True, True]
    assert [(item.ok, item.mended) for item in ensure(shop)] == [(True, False)] * 4
    assert len(shop.webhooks.hooks) == 4


def test_a_correction_that_the_shop_does_not_keep_is_not_called_done(shop: WooCommerceSandbox) -> None:
    ensure(shop)
    shop.webhooks.hooks[1].status = "disabled"

    class Stubborn(SandboxTransport):
        def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
            answer = super().send(request, timeout=timeout, max_bytes=max_bytes)
            if request.method == "POST":
                body = {**json.loads(answer.body), "status": "disabled"}
                return HttpResponse(answer.status, answer.headers, json.dumps(body).encode())
            return answer

    credentials = Credentials(host=shop.home, login=shop.key, password=shop.secret, extra={"webhook_secret": SECRET})
    ctx = connector_context(
        transport=Stubborn(shop),
        credentials=credentials,
        connection="boutique",
        clock=shop.clock,
        random=FakeRandom(next(_SEEDS)),
    )
    found = WooCommerceConnector(WooCommerceConfig(), ctx).ensure_webhooks(URL, [EntityName.ORDER])[0]
    assert (found.ok, found.mended) == (False, False)
    assert "is disabled still" in found.detail


# -- the thin sender -----------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers everything with 200 and keeps it."""
    kept: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hooks/boutique", kept
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_sender_posts_what_is_due(receiver: tuple[str, list[bytes]]) -> None:
    url, kept = receiver
    shop = WooCommerceSandbox(clock=ManualClock())
    request_json(shop, "POST", "/webhooks", {"topic": "order.created", "delivery_url": url})
    request_json(shop, "POST", "/orders", simple_order())
    done: list[tuple[WebhookRequestOut, int | None]] = send_webhooks(shop)
    assert [(request.topic, status) for request, status in done] == [("", 200), ("order.created", 200)]
    assert kept == [request.body for request, _ in done]
    with sending_webhooks(shop, every=0.02):
        request_json(shop, "POST", "/orders", simple_order())
        for _ in range(200):
            if len(kept) == 3:
                break
            time.sleep(0.02)
    assert len(kept) == 3


def test_the_sender_counts_what_nobody_answers_and_never_leaves_the_machine(shop: WooCommerceSandbox) -> None:
    for url in ("http://127.0.0.1:1/hooks/boutique", "https://hooks.example.com/hooks/boutique"):
        request_json(shop, "POST", "/webhooks", {"topic": "order.created", "delivery_url": url})
    for _ in range(7):
        request_json(shop, "POST", "/orders", simple_order())
        assert {status for _, status in send_webhooks(shop)} == {None}
    assert [status_of(shop, number) for number in (1, 2)] == ["disabled", "disabled"]
