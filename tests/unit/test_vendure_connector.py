"""Reading a Vendure shop: what its dates do not say, pages that move, sessions that end, what each refusal means."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from comptoir.sdk import (
    AuthError,
    ComptoirError,
    ConfigError,
    ContractViolation,
    Credentials,
    EntityName,
    HttpRequest,
    HttpResponse,
    ListReader,
    ListSlice,
    OutcomeUnknown,
    PullRequest,
    RawItem,
    RecordRejected,
    TransientError,
)
from comptoir.testing import FakeClock, RecordingTransport, ScriptedTransport, connector_context, ok
from comptoir_vendure import queries
from comptoir_vendure.client import VendureClient
from comptoir_vendure.config import VendureConfig, shop_access
from comptoir_vendure.connector import VendureConnector
from comptoir_vendure.sandbox import SandboxTransport, VendureSandbox

from tests.support.vendure import DATA


class Shop:
    """A sandbox, its clock and a connector of it; `sent` are the connector's requests."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.box = VendureSandbox(clock=self.clock)
        self.transport = RecordingTransport(SandboxTransport(self.box))
        credentials = Credentials(host=self.box.home, login=self.box.login, password=self.box.password)
        self.ctx = connector_context(transport=self.transport, credentials=credentials, clock=self.clock)
        self.connector = VendureConnector(VendureConfig(**settings), self.ctx)

    def pull(self, entity: EntityName, **request: Any) -> list[RawItem]:
        return [item for page in self.connector.pull(PullRequest(entity, **request)) for item in page.items]

    def order(self) -> str:
        number = self.box.sales.cart({"3": 2})
        self.box.sales.place(number)
        return number

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(request.body or b"{}") for request in self.transport.requests]


# --- orders whose date does not move ----------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["ship", "refund"])
def test_a_change_that_moves_no_date_is_seen(change: str) -> None:
    """Measured on the real server: an order's updatedAt stands still when it is shipped or refunded."""
    shop = Shop()
    number = shop.order()
    (before, *_) = shop.pull(EntityName.ORDER)
    shop.clock.advance(10 * 86_400)
    shop.box.sales.ship(number) if change == "ship" else shop.box.sales.refund(number, amount=500)
    found = shop.pull(EntityName.ORDER, since=shop.clock.now() - timedelta(minutes=5))
    assert found[0].external_id == number
    assert found[0].payload["updatedAt"] == before.payload["updatedAt"]
    assert found[0].payload != before.payload
    assert [item.entity for item in found[1:]] == ([EntityName.REFUND] if change == "refund" else [])


def test_a_cart_that_is_bought_later_is_not_missed() -> None:
    shop = Shop()
    number = shop.box.sales.cart({"3": 1})
    assert shop.pull(EntityName.ORDER) == []
    shop.clock.advance(3600)
    since = shop.clock.now()
    shop.clock.advance(60)
    shop.box.sales.place(number)
    (order,) = shop.pull(EntityName.ORDER, since=since)
    assert order.external_id == number
    assert order.modified_at == shop.clock.now()  # or the cursor would stay before every order of this kind


def test_what_was_placed_before_the_reread_days_is_read_when_its_date_moves() -> None:
    shop = Shop(reread_days=7)
    number = shop.order()
    shop.clock.advance(8 * 86_400)
    since = shop.clock.now() - timedelta(minutes=5)
    shop.box.sales.ship(number)
    assert shop.pull(EntityName.ORDER, since=since) == []
    shop.box.sales.surcharge(number, 100)
    assert [item.external_id for item in shop.pull(EntityName.ORDER, since=since)] == [number]


def test_variants_of_a_changed_product_are_read() -> None:
    shop = Shop()
    shop.clock.advance(3600)
    since = shop.clock.now()
    assert shop.pull(EntityName.ITEM, since=since) == []
    shop.clock.advance(5)
    shop.box.goods.edit_product("2", enabled=False)
    shop.box.goods.edit("3", price=1500)
    assert [item.external_id for item in shop.pull(EntityName.ITEM, since=since)] == ["2", "3"]


def test_stock_is_read_by_place_and_only_where_it_is_counted() -> None:
    shop = Shop()
    shop.box.goods.places["2"] = "Entrepôt"
    shop.box.goods.put_stock("1", "2", 7)
    shop.box.goods.edit("2", trackInventory="FALSE")
    found = {
        (item.payload["variant"]["id"], item.payload["stockLocation"]["name"]) for item in shop.pull(EntityName.STOCK)
    }
    assert found == {("1", "Default Stock Location"), ("1", "Entrepôt"), ("3", "Default Stock Location")}


# --- the shop and its channel -----------------------------------------------------------------------------------


def test_a_shop_that_answers_for_another_channel_is_not_read() -> None:
    """A shop of one channel takes any token for that one (observed)."""
    shop = Shop(channel="other-token")
    shop.order()
    with pytest.raises(ConfigError, match="answered for __default_channel__") as caught:
        shop.pull(EntityName.ORDER)
    assert caught.value.field == "channel"
    assert not shop.connector.check().ok


def test_the_channel_goes_with_every_request() -> None:
    shop = Shop(channel="sandbox-channel")
    shop.order()
    assert shop.pull(EntityName.ORDER)
    assert {request.headers.get("vendure-token") for request in shop.transport.requests} == {"sandbox-channel"}


def test_check_says_what_is_in_order() -> None:
    shop = Shop()
    shop.order()
    report = shop.connector.check()
    assert report.ok
    said = {item.name: item.detail for item in report.items}
    assert said["login and channel"] == "__default_channel__: EUR, including tax"
    assert said["rights to read orders"] == "1 records"
    assert said["stock location"] == "Default Stock Location"


def test_check_names_the_places_where_one_must_be_chosen() -> None:
    shop = Shop()
    shop.box.goods.places["2"] = "Entrepôt"
    (item,) = [item for item in shop.connector.check().items if not item.ok]
    assert (item.name, item.detail) == (
        "stock location",
        "shop: the shop has several places of stock: Default Stock Location, Entrepôt",
    )
    assert Shop(stock_location="Default Stock Location").connector.check().ok


# --- sessions ---------------------------------------------------------------------------------------------------


def test_a_session_that_has_ended_is_opened_again_once() -> None:
    shop = Shop()
    shop.pull(EntityName.CUSTOMER)
    shop.box.end_sessions()
    before = len(shop.sent)
    shop.pull(EntityName.ITEM)
    names = [body["query"].split("(")[0].split("{")[0].split()[1] for body in shop.sent[before:]]
    assert names[:3] == ["Variants", "Login", "Variants"]


def test_a_right_that_is_missing_is_no_reason_to_log_in_for_ever() -> None:
    refused = {"errors": [{"message": "You are not currently authorized", "extensions": {"code": "FORBIDDEN"}}]}
    logged_in = ok(
        {"data": {"login": {"__typename": "CurrentUser", "id": "2"}}}, headers={"vendure-auth-token": "t" * 32}
    )
    transport = ScriptedTransport(
        [logged_in, ok({"data": {"orders": {"items": []}}}), ok(refused), logged_in, ok(refused)]
    )
    client = _client(transport)
    client.ask("{ orders { items } }", {})
    with pytest.raises(AuthError, match="not currently authorized") as caught:
        client.ask("{ customers { items } }", {})
    assert (caught.value.code, len(transport.requests)) == ("forbidden", 5)
    assert "ReadCustomer" in (caught.value.hint or "")


def test_a_token_that_the_shop_repeats_is_not_shown() -> None:
    token = "4be1f00dcafe4be1"
    logged_in = ok({"data": {"login": {"__typename": "CurrentUser", "id": "2"}}}, headers={"vendure-auth-token": token})
    echoed = HttpResponse(422, {}, json.dumps({"message": f"bad header Bearer {token}"}).encode())
    with pytest.raises(RecordRejected) as caught:
        _client(ScriptedTransport([logged_in, echoed])).change("mutation { x }", {})
    assert token not in f"{caught.value!r} {vars(caught.value)}"
    assert "bad header Bearer ***" in caught.value.message


def test_a_shop_of_cookies_only_is_explained() -> None:
    with pytest.raises(ConfigError, match="gave no token"):
        _client(ScriptedTransport([ok({"data": {"login": {"__typename": "CurrentUser", "id": "2"}}})])).ask("{ x }", {})


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, "host"),
        ({"host": "http://shop.example", "login": "a", "password": "b"}, "host"),
        ({"host": "https://a:b@shop.example", "login": "a", "password": "b"}, "host"),
        ({"host": "ftp://shop.example", "login": "a", "password": "b"}, "host"),
        ({"host": "shop.example", "password": "b"}, "login"),
        ({"host": "shop.example", "login": "a"}, "password"),
        ({"host": "shop.example", "extra": {"api_key": 7}}, "api_key"),
    ],
)
def test_what_is_missing_of_the_credentials_is_named(given: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        shop_access(Credentials(**given), "boutique")
    assert caught.value.field == part
    assert "AIRFLOW_CONN_BOUTIQUE" in caught.value.message


def test_addresses() -> None:
    def url(**given: Any) -> str:
        return shop_access(Credentials(**{"login": "a", "password": "b"} | given), "boutique").url

    assert url(host="shop.example") == "https://shop.example"
    assert url(host="https://shop.example/fr/") == "https://shop.example/fr"
    assert url(host="127.0.0.1", schema="http", port=3000) == "http://127.0.0.1:3000"


def test_an_api_key_needs_no_login() -> None:
    shop = Shop()
    credentials = Credentials(host=shop.box.home, extra={"api_key": shop.box.api_key})
    ctx = connector_context(transport=shop.transport, credentials=credentials, clock=shop.clock)
    connector = VendureConnector(VendureConfig(), ctx)
    assert [item.external_id for page in connector.pull(PullRequest(EntityName.ITEM)) for item in page.items] == [
        "1",
        "2",
        "3",
    ]
    assert not [body for body in shop.sent if "Login" in body["query"]]


# --- what each refusal means ------------------------------------------------------------------------------------


def _client(transport: ScriptedTransport) -> VendureClient:
    credentials = Credentials(host="https://shop.test", login="hub", password="a-password-91c2")
    return VendureClient(VendureConfig(), connector_context(transport=transport, credentials=credentials))


def _recorded(name: str) -> HttpResponse:
    found = json.loads((DATA / f"refusal-{name}.json").read_text(encoding="utf-8"))["response"]
    return HttpResponse(found["status"], found["headers"], json.dumps(found["body"]).encode())


_LOGGED_IN = ok({"data": {"login": {"__typename": "CurrentUser", "id": "2"}}}, headers={"vendure-auth-token": "t" * 32})


@pytest.mark.parametrize(
    ("name", "reading", "writing"),
    [
        ("no-session", AuthError, AuthError),
        ("too-many-rows", ConfigError, RecordRejected),
        ("unknown-field", ConfigError, RecordRejected),
        ("missing-variable", ConfigError, RecordRejected),
        ("unknown-variant", TransientError, RecordRejected),
        ("stock-fraction", ConfigError, RecordRejected),
        ("stock-unknown-place", TransientError, RecordRejected),
    ],
)
def test_recorded_refusals(name: str, reading: type[ComptoirError], writing: type[ComptoirError]) -> None:
    for kind, call in ((reading, "ask"), (writing, "change")):
        client = _client(ScriptedTransport([_LOGGED_IN, _recorded(name)]))
        with pytest.raises(kind) as caught:
            getattr(client, call)("query or mutation", {})
        assert type(caught.value) is kind
        assert "shop says" in caught.value.message or "refused" in caught.value.message


def test_a_refused_login_is_the_merchants() -> None:
    with pytest.raises(AuthError, match="The provided credentials are invalid") as caught:
        _client(ScriptedTransport([_recorded("wrong-password")])).ask("{ x }", {})
    assert caught.value.code == "login_refused"


def test_errors_beside_data_are_errors() -> None:
    partly = ok(
        {"data": {"orders": None}, "errors": [{"message": "timeout", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}
    )
    with pytest.raises(TransientError, match="timeout"):
        _client(ScriptedTransport([_LOGGED_IN, partly])).ask("{ x }", {})


@pytest.mark.parametrize("body", [[], {}, {"data": None}, {"data": []}, "text", 7])
def test_json_that_is_no_answer_is_never_a_success(body: Any) -> None:
    with pytest.raises(ContractViolation):
        _client(ScriptedTransport([_LOGGED_IN, ok(json.dumps(body))])).ask("{ x }", {})
    with pytest.raises(OutcomeUnknown):
        _client(ScriptedTransport([_LOGGED_IN, ok(json.dumps(body))])).change("mutation { x }", {})


def test_an_address_without_admin_api() -> None:
    missing = HttpResponse(404, {}, b'{"statusCode":404,"message":"Cannot POST /admin-api"}')
    with pytest.raises(ConfigError, match="Cannot POST") as caught:
        _client(ScriptedTransport([missing])).ask("{ x }", {})
    assert caught.value.code == "no_api"


# --- pages that move --------------------------------------------------------------------------------------------


class Moving:
    """A list that changes between two requests, as `moves` says by the number of the request."""

    def __init__(self, count: int, moves: dict[int, Any]) -> None:
        self.rows = [str(number) for number in range(1, count + 1)]
        self.moves = moves
        self.asked = 0

    def __call__(self, skip: int, take: int) -> ListSlice:
        self.asked += 1
        self.moves.get(self.asked, lambda rows: None)(self.rows)
        found = [{"id": number} for number in self.rows[skip : skip + take]]
        return ListSlice(found, len(self.rows), {})

    def read(self, **where: Any) -> list[str]:
        reader = ListReader(self, rows=5, what="orders", connection="shop")
        return [row["id"] for batch in reader.read(**where) for row in batch.rows]


def test_a_list_that_stands_still_is_read_once() -> None:
    assert Moving(23, {}).read() == [str(number) for number in range(1, 24)]
    assert Moving(0, {}).read() == []


@pytest.mark.parametrize("gone", [["1"], ["1", "2", "3"], ["5"], ["1", "2", "3", "4", "5"], ["9"], ["17", "18", "19"]])
def test_rows_that_disappear_take_no_other_row_with_them(gone: list[str]) -> None:
    for request in range(2, 6):
        moving = Moving(23, {request: lambda rows: [rows.remove(number) for number in gone if number in rows]})
        found = moving.read()
        assert set(found) >= set(moving.rows)
        assert len(found) == len(set(found))


def test_a_read_that_was_cut_goes_on_where_it_was() -> None:
    moving = Moving(23, {})
    reader = ListReader(moving, rows=5, what="orders", connection="shop")
    batches = iter(reader.read())
    first = [next(batches) for _ in range(2)]
    known = [row["id"] for batch in first for row in batch.rows]
    rest = moving.read(skip=first[-1].skip, after=first[-1].after)
    assert known + rest == moving.rows
    moving.rows.remove(first[-1].after)  # the very row it stopped at
    assert set(known + moving.read(skip=first[-1].skip, after=first[-1].after)) >= set(moving.rows)


def test_a_list_that_never_rests_is_given_up() -> None:
    moving = Moving(500, {n: lambda rows: rows.__delitem__(slice(0, 6)) for n in range(2, 200)})
    with pytest.raises(TransientError, match="keeps changing"):
        moving.read()


@pytest.mark.parametrize(
    ("rows", "total", "kind"),
    [
        (None, 3, ContractViolation),
        ([{"id": "1"}], "many", ContractViolation),
        ([{"id": 1}], 1, ContractViolation),
        ([{"id": "1"}, {"id": "1"}], 2, ContractViolation),
        ([{"id": "1"}], 3, TransientError),
        ([], 3, TransientError),
    ],
)
def test_a_list_that_contradicts_itself_is_no_success(rows: Any, total: Any, kind: type[ComptoirError]) -> None:
    reader = ListReader(lambda skip, take: ListSlice(rows, total, {}), rows=5, what="orders", connection="shop")
    with pytest.raises(kind):
        list(reader.read())


def test_the_same_page_for_ever_is_noticed() -> None:
    page = [{"id": str(number)} for number in range(1, 6)]
    for total in (9, 10, 100):
        reader = ListReader(
            lambda skip, take, t=total: ListSlice(page, t, {}), rows=5, what="orders", connection="shop"
        )
        with pytest.raises(ContractViolation):
            list(reader.read())


def test_single_records_are_those_that_were_asked_for() -> None:
    shop = Shop(page_rows=2)
    orders = [shop.order() for _ in range(5)]
    found = [
        item.external_id
        for page in shop.connector.fetch(EntityName.ORDER, [*orders, "999", orders[0]])
        for item in page.items
    ]
    assert sorted(found) == sorted(orders)
    with pytest.raises(ContractViolation):
        list(shop.connector.fetch(EntityName.STOCK, ["1"]))


def test_an_answer_to_another_request_is_no_record() -> None:
    class Cache:
        """Gives the first list of orders to everybody."""

        def __init__(self, box: VendureSandbox) -> None:
            self.inner = SandboxTransport(box)

        def send(self, request: HttpRequest, **more: Any) -> HttpResponse:
            body = json.loads(request.body or b"{}")
            if "id" in ((body["variables"].get("options") or {}).get("filter") or {}):
                body["variables"]["options"]["filter"] = {}
                request = HttpRequest("POST", request.url, request.headers, json.dumps(body).encode())
            return self.inner.send(request, **more)

    shop = Shop()
    first, _ = shop.order(), shop.order()
    credentials = Credentials(host=shop.box.home, login=shop.box.login, password=shop.box.password)
    ctx = connector_context(transport=Cache(shop.box), credentials=credentials, clock=shop.clock)
    with pytest.raises(ContractViolation, match="given unasked"):
        list(VendureConnector(VendureConfig(), ctx).fetch(EntityName.ORDER, [first]))


# --- queries ----------------------------------------------------------------------------------------------------


def test_a_custom_field_is_asked_for_only_where_one_is_named() -> None:
    assert "customFields" not in queries.variants(VendureConfig())
    assert "customFields { ean }" in queries.variants(VendureConfig(gtin_field="ean"))
    with pytest.raises(ValueError, match="gtin_field"):
        VendureConfig(gtin_field="ean } secrets { all")
