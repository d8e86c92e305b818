"""`ctx.http`: what each answer becomes, how often it is asked again, and that no secret gets out."""

from __future__ import annotations

import logging
import pickle
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir import errors
from comptoir.errors import (
    AuthError,
    ComptoirError,
    OutcomeUnknown,
    RateLimited,
    RecordRejected,
    TransientError,
)
from comptoir.sdk import HttpLimits, HttpRequest, redact
from comptoir.sdk.http import LONGEST_WRITE
from comptoir.testing import (
    FakeClock,
    ScriptedTransport,
    answer_lost,
    empty,
    html,
    http_client,
    no_connection,
    ok,
    rate_limited,
    status,
)

URL = "https://shop.example/wp-json/orders?consumer_key=ck_1234567890&page=2"
SECRETS = ("cs_abcdef0123", "ck_1234567890")


def ask(answers: Any, *, method: str = "GET", clock: FakeClock | None = None, **limits: Any) -> Any:
    """One call against scripted answers: the result, or the error that was raised."""
    client = http_client(ScriptedTransport(answers), clock=clock, secrets=SECRETS, limits=HttpLimits(**limits))
    return client.get_json(URL) if method == "GET" else client.send_json(method, URL, {"a": 1})


# -- the table ---------------------------------------------------------------------------------------------------

READS = [
    (no_connection, TransientError, "no_connection", 4),
    (answer_lost, TransientError, "answer_lost", 4),
    (empty, TransientError, "empty_answer", 4),
    (html, TransientError, "not_json", 4),
    (lambda: ok(b'PHP Notice\n{"a": 1}'), TransientError, "not_json", 4),
    (lambda: ok(b'{"a": 1'), TransientError, "not_json", 4),
    (lambda: ok(b'{"total": NaN}'), TransientError, "not_json", 4),
    (lambda: ok(b"[" * 100_000), TransientError, "not_json", 4),
    (lambda: ok(b"\xef\xbb\xbf  \r\n"), TransientError, "empty_answer", 4),
    (lambda: status(408), TransientError, "transient", 4),
    (lambda: status(425), TransientError, "transient", 4),
    (lambda: status(500), TransientError, "transient", 4),
    (lambda: status(502), TransientError, "transient", 4),
    (lambda: html(503), TransientError, "transient", 4),
    (lambda: status(599), TransientError, "transient", 4),
    (rate_limited, RateLimited, "rate_limited", 4),
    (lambda: status(401), AuthError, "auth", 1),
    (lambda: status(403), AuthError, "auth", 1),
    (lambda: status(301, headers={"location": "https://www.shop.example/"}), AuthError, "redirect", 1),
    (lambda: status(302), AuthError, "redirect", 1),
    (lambda: status(400), RecordRejected, "http_400", 1),
    (lambda: status(404), RecordRejected, "http_404", 1),
    (lambda: status(409), RecordRejected, "http_409", 1),
    (lambda: status(422), RecordRejected, "http_422", 1),
]

WRITES = [
    (no_connection, TransientError, "no_connection"),
    (answer_lost, OutcomeUnknown, "answer_lost"),
    (empty, OutcomeUnknown, "empty_answer"),
    (lambda: empty(201), OutcomeUnknown, "empty_answer"),
    (html, OutcomeUnknown, "not_json"),
    (lambda: ok(b'{"id": 1'), OutcomeUnknown, "not_json"),
    (lambda: status(408), OutcomeUnknown, "outcome_unknown"),
    (lambda: status(425), TransientError, "transient"),
    (lambda: status(500), OutcomeUnknown, "outcome_unknown"),
    (lambda: status(503, headers={"retry-after": "5"}), OutcomeUnknown, "outcome_unknown"),
    (lambda: status(504), OutcomeUnknown, "outcome_unknown"),
    (rate_limited, RateLimited, "rate_limited"),
    (lambda: status(401), AuthError, "auth"),
    (lambda: status(403), AuthError, "auth"),
    (lambda: status(308), AuthError, "redirect"),
    (lambda: status(400), RecordRejected, "http_400"),
    (lambda: status(422), RecordRejected, "http_422"),
]


@pytest.mark.parametrize(("answer", "kind", "code", "tries"), READS)
def test_a_read_becomes_this_error_after_so_many_tries(answer: Any, kind: type, code: str, tries: int) -> None:
    transport = ScriptedTransport(lambda request: answer())
    clock = FakeClock()
    with pytest.raises(kind) as caught:
        http_client(transport, clock=clock).get_json(URL)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.connection == "shop"
    assert len(transport.sent) == tries
    assert len(clock.slept) == tries - 1


@pytest.mark.parametrize(("answer", "kind", "code", "tries"), READS)
def test_a_read_that_is_sent_by_post_is_judged_as_a_read(answer: Any, kind: type, code: str, tries: int) -> None:
    transport = ScriptedTransport(lambda request: answer())
    clock = FakeClock()
    with pytest.raises(kind) as caught:
        http_client(transport, clock=clock).ask_json(URL, {"query": "{orders{id}}"})
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert len(transport.sent) == tries
    assert len(clock.slept) == tries - 1
    assert {sent.request.method for sent in transport.sent} == {"POST"}
    assert {sent.request.body for sent in transport.sent} == {b'{"query":"{orders{id}}"}'}


def test_a_read_that_is_sent_by_post_waits_when_the_server_says_for_how_long() -> None:
    clock = FakeClock()
    transport = ScriptedTransport([status(503, headers={"retry-after": "7"}), ok({"data": 1})])
    body, _ = http_client(transport, clock=clock).ask_json(URL, {"query": "{a}"}, headers={"X-Channel": "fr"})
    assert (body, clock.slept) == ({"data": 1}, [7.0])
    sent = transport.sent[-1].request.headers
    assert (sent["X-Channel"], sent["Content-Type"]) == ("fr", "application/json")


@pytest.mark.parametrize(("answer", "kind", "code"), WRITES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_becomes_this_error_and_is_sent_once(answer: Any, kind: type, code: str, method: str) -> None:
    transport = ScriptedTransport(lambda request: answer())
    clock = FakeClock()
    with pytest.raises(kind) as caught:
        http_client(transport, clock=clock).send_json(method, URL, {"a": 1})
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert len(transport.sent) == 1
    assert clock.slept == []


def test_a_good_answer_after_a_bad_minute() -> None:
    clock = FakeClock()
    body, headers = ask([no_connection(), html(503), ok([{"id": 1}], headers={"x-total": "1"})], clock=clock)
    assert body == [{"id": 1}]
    assert headers["x-total"] == "1"
    # Growing pauses with jitter: half to all of 1 s, then of 2 s.
    assert 0.5 <= clock.slept[0] <= 1.0
    assert 1.0 <= clock.slept[1] <= 2.0


def test_pauses_are_bounded() -> None:
    clock = FakeClock()
    with pytest.raises(TransientError):
        ask(lambda r: status(500), clock=clock, tries=12, longest_wait=10.0)
    assert len(clock.slept) == 11
    assert max(clock.slept) <= 10.0


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf[1]", b"\r\n[1]\n", b"  [1]"])
def test_a_byte_order_mark_and_blank_lines_do_no_harm(body: bytes) -> None:
    assert ask([ok(body)])[0] == [1]


def test_the_limits_reach_the_transport() -> None:
    transport = ScriptedTransport([ok(1), ok(2)])
    client = http_client(transport, limits=HttpLimits(timeout=7.0, max_bytes=99))
    client.get_json(URL)
    client.with_signing(lambda m, u, h: (u, h), timeout=3.0).get_json(URL)
    assert [(s.timeout, s.max_bytes) for s in transport.sent] == [(7.0, 99), (3.0, 99)]


def test_a_patient_connection_waits_for_reads_alone() -> None:
    """A write that outlived its lease would be looked up, and repeated, while it is still on its way."""
    transport = ScriptedTransport([ok(1), ok(2)])
    client = http_client(transport, limits=HttpLimits(timeout=600.0))
    client.get_json(URL)
    client.send_json("POST", URL, {})
    assert [s.timeout for s in transport.sent] == [600.0, LONGEST_WRITE]


def test_each_attempt_is_signed_anew() -> None:
    nonces = iter(range(10))
    transport = ScriptedTransport([status(500), status(500), ok(1)])
    client = http_client(transport).with_signing(lambda m, url, h: (f"{url}&oauth_nonce={next(nonces)}", h))
    client.get_json(URL)
    assert [r.url[-1] for r in transport.requests] == ["0", "1", "2"]


def test_what_is_sent() -> None:
    transport = ScriptedTransport([ok({}), ok({})])
    client = http_client(transport)
    client.get_json(URL, headers={"X-A": "1"})
    client.send_json("POST", URL, {"name": "Zoé"})
    read, write = transport.requests
    assert dict(read.headers) == {"Accept": "application/json", "X-A": "1"}
    assert read.body is None
    assert write.headers["Content-Type"] == "application/json"
    assert write.body == '{"name":"Zoé"}'.encode()


# -- Retry-After -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "waited"),
    [("7", 7.0), ("0", 0.0), (" 3 ", 3.0), ("120", 120.0)],
)
def test_retry_after_in_seconds_is_waited_for(value: str, waited: float) -> None:
    clock = FakeClock()
    assert ask([rate_limited(value), ok(1)], clock=clock)[0] == 1
    assert clock.slept == [waited]


@pytest.mark.parametrize(("value", "told"), [("121", 121.0), ("5000", 5000.0), ("9" * 400, 86_400.0)])
def test_a_pause_too_long_for_a_run_is_handed_on_and_not_cut_short(value: str, told: float) -> None:
    clock = FakeClock()
    transport = ScriptedTransport([rate_limited(value)])
    with pytest.raises(RateLimited) as caught:
        http_client(transport, clock=clock).get_json(URL)
    assert caught.value.retry_after == told
    assert (len(transport.sent), clock.slept) == (1, [])


def test_an_unavailable_server_that_says_for_how_long_is_believed() -> None:
    clock = FakeClock()
    assert ask([status(503, headers={"retry-after": "9"}), ok(1)], clock=clock)[0] == 1
    assert clock.slept == [9.0]


def test_retry_after_as_a_date() -> None:
    clock = FakeClock()
    later = format_datetime(clock.now() + timedelta(seconds=42), usegmt=True)
    past = format_datetime(clock.now() - timedelta(days=2), usegmt=True)
    assert ask([rate_limited(later), rate_limited(past), ok(1)], clock=clock)[0] == 1
    assert clock.slept == [42.0, 0.0]


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-5", "²", "1.5", "Wed, 99 Foo 2026 99:99:99 GMT", "Wed, 15 Sep 2026 08:00:00"]
)
def test_another_retry_after_means_the_usual_pause(value: str | None) -> None:
    clock = FakeClock()
    assert ask([rate_limited(value), ok(1)], clock=clock)[0] == 1
    assert 0.5 <= clock.slept[0] <= 1.0


def test_a_refused_write_says_how_long_to_wait() -> None:
    with pytest.raises(RateLimited) as caught:
        ask([rate_limited("30")], method="POST")
    assert caught.value.retry_after == 30.0
    with pytest.raises(RateLimited) as caught:
        ask([rate_limited("9" * 400)], method="POST")
    assert caught.value.retry_after == 86_400.0


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_no_header_can_break_the_client(value: str) -> None:
    with pytest.raises(RateLimited):
        ask([rate_limited(value)], method="POST")


# -- the remote's words ------------------------------------------------------------------------------------------


def test_the_remotes_own_words_and_facts_are_kept() -> None:
    answer = status(
        400, {"code": "rest_invalid", "message": "Invalid SKU"}, headers={"date": "Tue, 15 Sep 2026 08:30:00 GMT"}
    )
    with pytest.raises(RecordRejected, match=r"status 400\): Invalid SKU") as caught:
        ask([answer], method="POST")
    assert caught.value.remote == {
        "status": "400",
        "code": "rest_invalid",
        "date": "Tue, 15 Sep 2026 08:30:00 GMT",
    }


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"message": {"a": 1}}', b"\xff\xfe", b'"x"'])
def test_an_error_body_of_any_shape_does_no_harm(body: bytes) -> None:
    with pytest.raises(RecordRejected) as caught:
        ask([status(400, body)])
    assert caught.value.remote["status"] == "400"


def test_the_first_error_of_a_graphql_answer_is_kept() -> None:
    error = {"message": "Cannot query field 'x'", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}
    with pytest.raises(RecordRejected, match="Cannot query field 'x'") as caught:
        ask([status(400, {"errors": [error, {"message": "another"}]})])
    assert caught.value.remote == {"status": "400", "code": "GRAPHQL_VALIDATION_FAILED"}


@pytest.mark.parametrize("errors", [[], {}, None, "x", [7], [{"message": 7, "extensions": []}]])
def test_errors_of_any_other_shape_do_no_harm(errors: Any) -> None:
    with pytest.raises(RecordRejected) as caught:
        ask([status(400, {"errors": errors})])
    assert caught.value.remote == {"status": "400"}


@pytest.mark.parametrize("key", ["message", "error", "error_description", "detail"])
def test_long_words_are_cut(key: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        ask([status(400, {key: "x" * 10_000})])
    assert len(caught.value.message) < 500


def test_a_redirect_names_the_target_and_is_not_followed() -> None:
    transport = ScriptedTransport([status(301, headers={"location": "https://evil.example/a?consumer_key=1"})])
    with pytest.raises(AuthError, match=r"redirects to evil\.example") as caught:
        http_client(transport).get_json(URL)
    assert caught.value.hint is not None
    assert len(transport.sent) == 1


# -- secrets -----------------------------------------------------------------------------------------------------


def leaks(secret: str) -> list[Any]:
    """Answers that hold a secret wherever a remote or a library may put it."""
    return [
        no_connection(f"cannot reach https://shop.example/?consumer_secret={secret}"),
        answer_lost(f"Max retries exceeded with url: /x?oauth_signature={secret}&a=1"),
        TransientError("no connection", hint=f"tried with {secret}"),
        status(400, {"message": f"unknown consumer_key={secret}&b"}),
        status(400, {"message": "x" * 290 + secret}),
        status(401, {"message": f"{secret} is wrong"}),
        status(500, {"error": f"at {secret}"}),
        status(429, {"detail": secret}),
    ]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_secret_in_message_repr_or_log(number: int, method: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = SECRETS[0]
    with pytest.raises(ComptoirError) as caught:
        ask(lambda r: leaks(secret)[number], method=method)
    error = caught.value
    copy = pickle.loads(pickle.dumps(error))
    for text in (str(error), repr(error), str(error.args), str(error.hint), repr(copy), caplog.text, str(vars(error))):
        assert secret not in text
        assert secret[:8] not in text
        assert SECRETS[1] not in text


def test_redaction() -> None:
    assert redact("a=1&password=geheim&b=2") == "a=1&password=***&b=2"
    assert redact("oauth_token=x oauth_signature=y%3D") == "oauth_token=*** oauth_signature=***"
    assert redact("key abcdefgh", ("abcd", "abcdefgh")) == "key ***"
    assert redact("?k=s%2Bt%2Fu%3D", ("s+t/u=",)) == "?k=***"
    assert redact("a b c", ("a", "")) == "a b c"


def test_a_request_shows_neither_query_nor_headers_nor_body() -> None:
    request = HttpRequest("GET", URL, {"Authorization": "Basic c2VjcmV0"}, b"cs_abcdef0123", SECRETS)
    assert repr(request) == "<HttpRequest GET https://shop.example/wp-json/orders>"
    assert "secret" not in repr(HttpRequest("GET", "https://user:secret@shop.example/a"))


def test_user_and_password_in_an_address_are_not_shown() -> None:
    client = http_client(ScriptedTransport([status(404)]))
    with pytest.raises(RecordRejected, match=r"https://shop\.example:8443/a refused") as caught:
        client.get_json("https://user:geheim@shop.example:8443/a?b=1")
    assert "geheim" not in caught.value.message


# -- the errors themselves ---------------------------------------------------------------------------------------

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling(kind: type[ComptoirError]) -> None:
    error = kind("what happened", hint="do this", code="own", connection="shop", record="12", field="lines[2].net")
    error.remote = {"status": "400"}
    if isinstance(error, RateLimited):
        error.retry_after = 7.0
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is kind
        assert vars(copy) == vars(error)
        assert str(copy) == str(error) == "what happened"
        assert copy.args == error.args
        assert (copy.code, copy.exit_code) == ("own", kind.exit_code)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_code_and_an_exit_code(kind: type[ComptoirError]) -> None:
    error = kind("x")
    assert error.code == kind.code
    assert 1 <= error.exit_code <= 7
