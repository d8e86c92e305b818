"""WooCommerce's client: where the shop is, signatures that a stranger verifies, and what each refusal means."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import pickle
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from woocommerce.oauth import OAuth

from comptoir.errors import (
    AuthError,
    ComptoirError,
    ConfigError,
    ContractViolation,
    OutcomeUnknown,
    RecordRejected,
    TransientError,
)
from comptoir.sdk import Credentials, HttpClient, HttpRequest, HttpResponse
from comptoir_woocommerce.client import OAuthSigner, WooCommerceClient, translate
from comptoir_woocommerce.config import WooCommerceConfig, shop_access

from tests.support.woocommerce import (
    KEY,
    SECRET,
    VERSIONS,
    ManualClock,
    ScriptedTransport,
    SeededRandom,
    context,
    exchanges,
    header,
)

SIGN_CLOCK = ManualClock()


def signer(chance: SeededRandom | None = None) -> OAuthSigner:
    return OAuthSigner(KEY, SECRET, clock=SIGN_CLOCK, random=chance or SeededRandom())


# --- the address ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_credentials", "url"),
    [
        ({"host": "https://shop.example"}, "https://shop.example"),
        ({"host": "https://shop.example/boutique/"}, "https://shop.example/boutique"),
        ({"host": "http://127.0.0.1:8081"}, "http://127.0.0.1:8081"),
        ({"host": "shop.example"}, "https://shop.example"),
        ({"host": "shop.example/fr"}, "https://shop.example/fr"),
        ({"host": "shop.example", "schema": "http", "port": 8080}, "http://shop.example:8080"),
        ({"host": "shop.example", "extra": {"schema": "http"}}, "http://shop.example"),
        ({"host": "shop.example", "port": 443}, "https://shop.example"),
        ({"host": "https://[::1]:8443"}, "https://[::1]:8443"),
    ],
)
def test_addresses(given_credentials: Any, url: str) -> None:
    assert shop_access(Credentials(login=KEY, password=SECRET, **given_credentials), "boutique").url == url


@pytest.mark.parametrize(
    ("credentials", "part"),
    [
        (Credentials(login=KEY, password=SECRET), "no host"),
        (Credentials(host="https://shop.example", password=SECRET), "no login"),
        (Credentials(host="https://shop.example", login=KEY), "no password"),
        (Credentials(host="https://shop.example", login=SECRET, password=KEY), "swapped"),
        (Credentials(host="ftp://shop.example", login=KEY, password=SECRET), "no http or https"),
        (Credentials(host="https://u:hunter22@shop.example", login=KEY, password=SECRET), "credentials or a query"),
        (Credentials(host="https://shop.example:port", login=KEY, password=SECRET), "no web address"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_shown(credentials: Credentials, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        shop_access(credentials, "ma-boutique")
    shown = f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert "AIRFLOW_CONN_MA_BOUTIQUE" in shown and part in shown
    assert not any(secret in shown for secret in (KEY, SECRET, "hunter22"))


def test_settings_are_checked() -> None:
    assert WooCommerceConfig(api_path="wp-json/wc/v3/").api_path == "/wp-json/wc/v3"
    for wrong in ({"time_zone": "Paris"}, {"pages_in_flight": 9}, {"timeout": 0}, {"statuses": ()}, {"keys": "x"}):
        with pytest.raises(ValueError):
            WooCommerceConfig(**wrong)


# --- signatures -------------------------------------------------------------------------------------------------


def verified(method: str, url: str) -> bool:
    """RFC 5849 as WooCommerce's PHP does it: decode, sort by key, encode key and value, join, encode the pair again."""
    parts = urlsplit(url)
    pairs = [pair.partition("=") for pair in parts.query.split("&")]
    assert "+" not in parts.query, "PHP would read + as a space"
    found = {unquote(name): unquote(value) for name, _, value in pairs}
    assert len(found) == len(pairs)
    signature = found.pop("oauth_signature")

    def raw(text: str) -> str:
        return quote(text, safe="~")  # rawurlencode: letters, digits and _.-~ stay

    joined = [raw(f"{raw(key)}={raw(found[key])}") for key in sorted(found, key=lambda k: k.encode())]
    base = f"{method}&{raw(f'{parts.scheme}://{parts.netloc}{parts.path}')}&" + "%26".join(joined)
    made = hmac.new(f"{SECRET}&".encode(), base.encode(), hashlib.sha256).digest()
    return base64.b64encode(made).decode() == signature


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    params=st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), HOSTILE, max_size=6),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
)
def test_a_stranger_verifies_every_signature(params: dict[str, str], method: str) -> None:
    params = {name: value for name, value in params.items() if not name.startswith("oauth_")}
    query = "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in params.items())
    url, headers = signer()(method, f"http://shop.test:8081/wp-json/wc/v3/orders?{query}", {"Accept": "x"})
    assert verified(method, url)
    assert headers == {"Accept": "x"}
    sent = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert all(sent[name] == [value] for name, value in params.items())


@pytest.mark.parametrize(
    "value", ["a b+c", "100 %", "[1]", "&=?#/", "%2B", "Mug émaillé 🎁", "~-._", "", "processing,completed"]
)
def test_values_that_break_the_usual_client(value: str) -> None:
    url, _ = signer()("GET", f"http://shop.test/wp-json/wc/v3/products?search={quote(value, safe='')}", {})
    assert verified("GET", url)


def test_for_plain_values_the_official_library_signs_the_same() -> None:
    query = "modified_after=2026-11-22T03:15:00&orderby=id&per_page=100&status=any"
    address = "http://shop.test:8081/wp-json/wc/v3/orders"
    url, _ = signer()("GET", f"{address}?{quote(query, safe='=&')}", {})
    given = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    signature = given.pop("oauth_signature")
    official = OAuth(address, KEY, SECRET, version="wc/v3", method="GET", oauth_timestamp=int(given["oauth_timestamp"]))
    assert official.generate_oauth_signature(dict(given), address) == signature


def test_nonces_do_not_repeat_and_time_comes_from_the_port() -> None:
    sign, seen = signer(), set()
    for _ in range(20_000):
        url, _ = sign("GET", "http://shop.test/x", {})
        query = parse_qs(urlsplit(url).query)
        seen.add(query["oauth_nonce"][0])
        assert query["oauth_timestamp"] == [str(int(SIGN_CLOCK.now().timestamp()))]
    assert len(seen) == 20_000


def test_each_attempt_is_signed_anew() -> None:
    answers = [HttpResponse(503, {}, b""), HttpResponse(502, {}, b""), HttpResponse(200, {}, b"[]")]
    transport = ScriptedTransport(lambda request: answers.pop(0))
    client = WooCommerceClient(WooCommerceConfig(), context(transport))
    assert client.get("/orders", {"status": "any"})[0] == []
    nonces = [parse_qs(urlsplit(r.url).query)["oauth_nonce"][0] for r in transport.sent]
    stamps = [parse_qs(urlsplit(r.url).query)["oauth_timestamp"][0] for r in transport.sent]
    assert len(set(nonces)) == 3 and len(set(stamps)) > 1
    assert all(verified("GET", request.url) for request in transport.sent)


def test_over_https_basic_and_nothing_in_the_address() -> None:
    transport = ScriptedTransport(lambda request: HttpResponse(200, {}, b"[]"))
    WooCommerceClient(WooCommerceConfig(), context(transport, host="https://shop.test/fr")).get(
        "/orders", {"page": "2"}
    )
    (sent,) = transport.sent
    assert sent.url == "https://shop.test/fr/wp-json/wc/v3/orders?page=2"
    assert base64.b64decode(sent.headers["Authorization"].removeprefix("Basic ")).decode() == f"{KEY}:{SECRET}"
    assert SECRET not in repr(sent.secrets) or "secrets" not in repr(sent)


def test_the_timeout_of_the_settings_is_used() -> None:
    waits: list[float] = []

    class Slow:
        def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
            waits.append(timeout)
            return HttpResponse(200, {}, b"[]")

    WooCommerceClient(WooCommerceConfig(timeout=17), context(Slow())).get("/orders")
    assert waits == [17]


# --- refusals ---------------------------------------------------------------------------------------------------

#: What each recorded error means. A GET is a read, everything else a write.
EXPECTED: dict[str, type[ComptoirError]] = {
    "error-bad-date": ContractViolation,
    "error-bad-secret": AuthError,
    "error-bad-status-enum": ConfigError,
    "error-basic-auth-over-http": AuthError,
    "error-batch-over-100": RecordRejected,
    "error-customer-email-exists": RecordRejected,
    "error-delete-already-trashed": RecordRejected,
    "error-delete-without-force-customer": OutcomeUnknown,
    "error-duplicate-sku": RecordRejected,
    "error-invalid-json-body": RecordRejected,
    "error-key-secret-in-query-over-http": AuthError,
    "error-no-auth": AuthError,
    "error-no-route-404": ConfigError,
    "error-order-404": RecordRejected,
    "error-order-bad-status": RecordRejected,
    "error-per-page-over-100": ContractViolation,
    "error-price-as-number": RecordRejected,
    "error-product-404": RecordRejected,
    "error-readonly-key-write": AuthError,
    "error-refund-too-much": OutcomeUnknown,
    "error-unknown-key": AuthError,
    "error-variation-duplicate-sku": RecordRejected,
    "error-variation-of-other-product": RecordRejected,
}
NO_ERRORS = {
    "error-missing-name-is-accepted",
    "error-order-unknown-product",
    "error-page-beyond-last",
    "error-price-not-a-number",
}
RECORDED = [pytest.param(v, n, e, id=f"{v}-{n}") for v in VERSIONS for n, e in exchanges(v, "error-*")]


def replay(found: Mapping[str, Any], *, body: bytes | None = None) -> ComptoirError | None:
    response, method = found["response"], found["request"]["method"]
    raw = json.dumps(response["body"]).encode() if body is None else body
    transport = ScriptedTransport(lambda r: HttpResponse(response["status"], header(response["headers"]), raw))
    ctx = context(transport)
    try:
        if method == "GET":
            WooCommerceClient(WooCommerceConfig(), ctx).get("/orders")
        else:
            ctx.http.send_json(method, "http://shop.test/wp-json/wc/v3/orders", {})
    except ComptoirError as error:
        return translate(error, clock=ctx.clock, listing=method == "GET")
    return None


@pytest.mark.parametrize(("version", "name", "found"), RECORDED)
def test_every_recorded_error_lands_in_its_class(version: str, name: str, found: dict[str, Any]) -> None:
    error = replay(found)
    # Version 7 gives a variation under any product's address, 11 refuses that.
    if name in NO_ERRORS or (version, name) == ("7.9.0", "error-variation-of-other-product"):
        assert error is None
        return
    assert error is not None and type(error) is EXPECTED[name]
    assert found["response"]["body"]["message"] in error.message
    assert error.remote["status"] == str(found["response"]["status"])
    assert type(pickle.loads(pickle.dumps(error))) is type(error)


def test_all_recorded_errors_are_expected() -> None:
    assert {p.values[1] for p in RECORDED} == EXPECTED.keys() | NO_ERRORS


def refuse(status: int, body: bytes, headers: dict[str, str] | None = None, clock: ManualClock | None = None) -> Any:
    transport = ScriptedTransport(lambda request: HttpResponse(status, headers or {}, body))
    with pytest.raises(ComptoirError) as caught:
        WooCommerceClient(WooCommerceConfig(), context(transport, clock=clock)).get("/orders", {"status": "any"})
    return caught.value, transport


@pytest.mark.parametrize(("ahead", "words"), [(960, "960 s ahead of"), (-3600, "3600 s behind")])
def test_a_clock_that_is_off_is_named_with_the_difference(ahead: int, words: str) -> None:
    clock = ManualClock()
    date = (clock.now() + timedelta(seconds=ahead)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    body = b'{"code":"woocommerce_rest_authentication_error","message":"Invalid timestamp.","data":{"status":401}}'
    error, transport = refuse(401, body, {"date": date}, clock)
    assert type(error) is AuthError and error.code == "clock_skew" and words in error.message
    assert len(transport.sent) == 1, "a refusal of credentials is not tried again"
    unsaid, _ = refuse(401, body)
    assert "did not say what time" in unsaid.message


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>maintenance</html>", TransientError),
        (200, b"", TransientError),
        (200, b"[{", TransientError),
        (500, b'{"code":"internal_server_error","message":"critical error"}', TransientError),
        (403, b"<html>firewall</html>", AuthError),
        (301, b"", AuthError),
        (429, b"{}", TransientError),
    ],
)
def test_other_answers(status: int, body: bytes, kind: type[ComptoirError]) -> None:
    error, _ = refuse(status, body)
    assert isinstance(error, kind)


@pytest.mark.parametrize("host", ["http://shop.test", "https://shop.test"])
@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 429, 500])
def test_no_secret_is_shown_anywhere(host: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The shop repeats what it was sent, as a debugging plugin does."""
    caplog.set_level(logging.DEBUG)

    def echo(request: HttpRequest) -> HttpResponse:
        words = f"{request.url} {dict(request.headers)} {KEY} {SECRET}"
        return HttpResponse(status, {"location": request.url}, json.dumps({"code": "x", "message": words}).encode())

    ctx = context(ScriptedTransport(echo), host=host)
    client = WooCommerceClient(WooCommerceConfig(), ctx)
    shown = [repr(client), repr(client.access), repr(ctx.credentials), repr(ctx)]
    try:
        client.get("/orders", {"status": "any"})
    except ComptoirError as error:
        shown += [
            str(error),
            repr(error),
            str(error.hint),
            repr(error.remote),
            "".join(traceback.format_exception(error)),
        ]
        shown.append(repr(pickle.dumps(error)))
    shown.append(caplog.text)
    token = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    for text in shown:
        assert SECRET not in text and KEY not in text and token not in text


def test_the_http_client_is_not_shared_between_connections() -> None:
    transport = ScriptedTransport(lambda request: HttpResponse(200, {}, b"[]"))
    ctx = context(transport)
    WooCommerceClient(WooCommerceConfig(), ctx).get("/orders")
    plain: HttpClient = ctx.http
    plain.get_json("http://elsewhere.test/")
    assert "oauth" in transport.sent[0].url and "oauth" not in transport.sent[1].url


def test_a_refusal_that_repeats_a_webhooks_secret_does_not_show_it() -> None:
    secret = "webhook-secret-0123456789"

    def answer(request: HttpRequest) -> HttpResponse:
        heard = (request.body or b"").decode()
        return HttpResponse(400, {"content-type": "application/json"}, json.dumps({"message": heard}).encode())

    ctx = context(ScriptedTransport(answer))
    ctx = replace(ctx, credentials=replace(ctx.credentials, extra={"webhook_secret": secret}))
    with pytest.raises(RecordRejected) as caught:
        WooCommerceClient(WooCommerceConfig(), ctx).post("/webhooks", {"topic": "order.created", "secret": secret})
    assert "order.created" in caught.value.message and secret not in caught.value.message
