"""The gate of a connection: how many requests are under way, how many a minute, and pauses that a remote asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from comptoir import errors
from comptoir.app.bootstrap import budget_of, check_installation, connector_of, gate_of, system_ports
from comptoir.app.bootstrap import company_of as company
from comptoir.app.system import SystemClock, ThreadTasks
from comptoir.engine.limits import Bucket, ConnectionGate, Grant, MemoryBucket
from comptoir.errors import ConfigError, OutcomeUnknown, RateLimited, TransientError
from comptoir.sdk import HttpClient, HttpRequest, HttpResponse
from comptoir.sdk.manifest import CallBudget
from comptoir.testing import FakeClock, FakeRandom, InlineTasks, ScriptedTransport, ok, rate_limited, status

URL = "https://shop.example/orders"


def budget(calls_per_minute: float, burst: int) -> CallBudget:
    return CallBudget(calls_per_minute=calls_per_minute, burst=burst)


def test_no_request_begins_after_the_moment_until_which_it_may() -> None:
    clock = FakeClock()
    door = gate(clock, None)
    with door.until(clock.monotonic() + 210):
        clock.advance(200)
        with door.request():
            clock.advance(60)  # one that has begun may end
        with pytest.raises(TransientError) as refused, door.request():
            pytest.fail("it was let through")
        assert refused.value.code == "too_late"
    with door.request():
        clock.advance(1)


def gate(
    clock: FakeClock, allowed: CallBudget | None, bucket: Bucket | None = None, *, in_flight: int = 4
) -> ConnectionGate:
    return ConnectionGate(
        "shop",
        clock=clock,
        tasks=InlineTasks(),
        in_flight=in_flight,
        budget=allowed,
        bucket=bucket or MemoryBucket(clock),
    )


def client(transport: Any, clock: Any, through: ConnectionGate) -> HttpClient:
    return HttpClient(connection="shop", transport=transport, clock=clock, random=FakeRandom(), gate=through)


def call(through: ConnectionGate) -> None:
    with through.request():
        pass


class _Noting:
    """A bucket that notes what it is asked, before another one that answers."""

    def __init__(self, inner: Bucket) -> None:
        self.inner = inner
        self.asked: list[int] = []
        self.blocks: list[float] = []

    def take(self, budget: CallBudget, wanted: int) -> Grant:
        self.asked.append(wanted)
        return self.inner.take(budget, wanted)

    def block(self, seconds: float) -> None:
        self.blocks.append(seconds)
        self.inner.block(seconds)


# -- the budget ----------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(86)
def test_a_burst_goes_at_once_and_then_the_rate_holds() -> None:
    clock = FakeClock()
    through = gate(clock, budget(60, 5))
    began = clock.monotonic()
    for _ in range(5):
        call(through)
    assert clock.monotonic() == began
    for _ in range(10):
        call(through)
    assert clock.monotonic() - began == pytest.approx(10.0)


@pytest.mark.failure_mode(87)
@settings(max_examples=200, deadline=None)
@given(
    calls_per_minute=st.sampled_from([0.336, 6.0, 60.0, 600.0, 6000.0]),
    burst=st.integers(1, 30),
    steps=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 3)), min_size=1, max_size=120),
)
def test_no_window_has_more_calls_than_the_budget_whoever_asks(
    calls_per_minute: float, burst: int, steps: list[tuple[int, float]]
) -> None:
    # Three processes lease from one bucket; in any T seconds: burst + rate x (T + 1 s), the second being the lease.
    clock = FakeClock()
    shared = MemoryBucket(clock)
    allowed = budget(calls_per_minute, burst)
    processes = [gate(clock, allowed, shared) for _ in range(3)]
    at: list[float] = []
    for who, pause in steps:
        clock.advance(pause)
        try:
            call(processes[who])
        except RateLimited:
            continue
        at.append(clock.monotonic())
    for first in range(len(at)):
        for last in range(first, len(at)):
            most = burst + allowed.per_second * (at[last] - at[first] + 1.0)
            assert last - first + 1 <= most + 1e-6


def test_a_call_does_not_cost_a_question_each_and_no_lease_is_longer_than_a_second() -> None:
    clock = FakeClock()
    bucket = _Noting(MemoryBucket(clock))
    through = gate(clock, budget(1200, 200), bucket)
    for _ in range(100):
        call(through)
    assert bucket.asked[:6] == [1, 2, 4, 8, 16, 20]
    assert max(bucket.asked) == 20, "twenty calls are a second's worth"
    assert len(bucket.asked) < 12
    questions = len(bucket.asked)
    clock.advance(1.0)
    call(through)
    assert len(bucket.asked) == questions + 1, "what was leased a second ago is not used any more"


def test_who_asks_rarely_leases_little() -> None:
    clock = FakeClock()
    bucket = _Noting(MemoryBucket(clock))
    through = gate(clock, budget(1200, 200), bucket)
    for _ in range(20):
        call(through)
    for _ in range(5):
        clock.advance(5.0)
        call(through)
    assert bucket.asked[-3:] == [1, 1, 1]


@pytest.mark.failure_mode(87)
def test_a_worker_does_not_sleep_for_minutes() -> None:
    # searchOrders of the selling partner API: 0.0056 calls a second.
    clock = FakeClock()
    through = gate(clock, budget(0.336, 1))
    call(through)
    with pytest.raises(RateLimited, match=r"shop: the budget of 0\.336 calls a minute is used up") as caught:
        call(through)
    assert caught.value.code == "budget"
    assert caught.value.retry_after == pytest.approx(178.57, abs=0.01)
    assert clock.slept == []
    clock.advance(179)
    call(through)


def test_without_a_budget_the_bucket_is_asked_nothing() -> None:
    class Untouched:
        def take(self, budget: CallBudget, wanted: int) -> Grant:
            raise AssertionError("nobody limits this connection")

        def block(self, seconds: float) -> None:
            raise AssertionError("nobody asked for a pause")

    clock = FakeClock()
    transport = ScriptedTransport(lambda request: ok([]))
    web = client(transport, clock, gate(clock, None, Untouched()))
    for _ in range(1000):
        web.get_json(URL)
    assert clock.slept == []
    assert len(transport.sent) == 1000


# -- pauses --------------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(86)
@pytest.mark.parametrize("allowed", [None, budget(6000, 100)])
def test_what_one_process_is_told_the_others_hear(allowed: CallBudget | None) -> None:
    clock = FakeClock()
    bucket = _Noting(MemoryBucket(clock))
    first, second = gate(clock, allowed, bucket), gate(clock, allowed, bucket)
    call(second)
    clock.advance(1.0)
    told = client(ScriptedTransport([rate_limited("7"), ok([1])]), clock, first)
    began = clock.monotonic()
    assert told.get_json(URL)[0] == [1]
    assert bucket.blocks == [7.0]
    assert clock.monotonic() - began == pytest.approx(7.0, abs=0.02)
    if allowed is not None:
        bucket.block(5.0)
        call(second)
        assert clock.monotonic() - began == pytest.approx(12.0, abs=0.05)


@pytest.mark.parametrize(
    ("answer", "method", "kind", "blocks"),
    [
        (rate_limited("30"), "POST", RateLimited, [30.0]),
        (rate_limited("9" * 99), "POST", RateLimited, [86_400.0]),
        (rate_limited(None), "POST", RateLimited, [5.0]),
        (rate_limited("soon"), "POST", RateLimited, [5.0]),
        (status(503, headers={"retry-after": "40"}), "POST", OutcomeUnknown, [40.0]),
        (status(503), "POST", OutcomeUnknown, []),
        (status(500, headers={"retry-after": "40"}), "POST", OutcomeUnknown, []),
        (status(503, headers={"retry-after": "999"}), "GET", RateLimited, [999.0]),
    ],
)
def test_which_answers_ask_for_a_pause(answer: HttpResponse, method: str, kind: type, blocks: list[float]) -> None:
    clock = FakeClock()
    bucket = _Noting(MemoryBucket(clock))
    web = client(ScriptedTransport([answer]), clock, gate(clock, None, bucket))
    with pytest.raises(kind) as caught:
        web.get_json(URL) if method == "GET" else web.send_json(method, URL, {})
    assert type(caught.value) is kind
    assert bucket.blocks == blocks


def test_a_refusal_without_a_time_lasts_a_call_of_the_budget() -> None:
    clock = FakeClock()
    bucket = _Noting(MemoryBucket(clock))
    gate(clock, budget(0.336, 1), bucket).pause(None)
    assert bucket.blocks == [pytest.approx(178.57, abs=0.01)]


def test_a_long_pause_is_said_at_once_and_nothing_is_sent() -> None:
    clock = FakeClock()
    through = gate(clock, None)
    transport = ScriptedTransport([rate_limited("3600")])
    web = client(transport, clock, through)
    with pytest.raises(RateLimited):
        web.get_json(URL)
    clock.advance(600)
    for method in ("GET", "POST"):
        with pytest.raises(RateLimited, match=r"shop asked to be left alone; .* 50 minutes") as caught:
            web.get_json(URL) if method == "GET" else web.send_json(method, URL, {})
        assert caught.value.retry_after == pytest.approx(3000)
    assert len(transport.sent) == 1
    assert clock.slept == []


def test_a_pause_is_never_made_shorter() -> None:
    clock = FakeClock()
    through = gate(clock, None)
    through.pause(100)
    through.pause(1)
    through.known_pause(0)
    began = clock.monotonic()
    call(through)
    assert clock.monotonic() - began == 100


def test_after_a_pause_there_is_one_call_and_then_the_rate() -> None:
    clock = FakeClock()
    through = gate(clock, budget(60, 50))
    call(through)
    through.pause(10)
    began = clock.monotonic()
    times = []
    for _ in range(4):
        call(through)
        times.append(clock.monotonic() - began)
    assert times == pytest.approx([10, 11, 12, 13], abs=0.01)


def test_every_attempt_goes_through_the_gate_and_is_signed_after_its_wait() -> None:
    clock = FakeClock()
    transport = ScriptedTransport([status(500), status(500), ok([])])
    signed: list[float] = []

    def sign(method: str, url: str, headers: Any) -> Any:
        signed.append(clock.monotonic())
        return url, headers

    through = gate(clock, budget(2, 1))
    began = clock.monotonic()
    client(transport, clock, through).with_signing(sign).get_json(URL)
    assert [at - began for at in signed] == pytest.approx([0, 30, 60], abs=0.1)


def test_a_clock_that_does_not_move_is_no_endless_loop() -> None:
    class Standing(FakeClock):
        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)

    clock = Standing()
    through = gate(clock, None)
    through.pause(50)
    with pytest.raises(RateLimited):
        call(through)
    assert len(clock.slept) == 2


# -- under way -----------------------------------------------------------------------------------------------------


class _Counting:
    """Notes how many requests are under way at once; each waits for one more than allowed, or a moment."""

    def __init__(self, allowed: int) -> None:
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._allowed = allowed
        self.now = self.most = self.sent = 0

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        with self._lock:
            self.now += 1
            self.sent += 1
            self.most = max(self.most, self.now)
            if self.now > self._allowed:
                self._full.set()
        self._full.wait(0.08)
        with self._lock:
            self.now -= 1
        return ok([])


@pytest.mark.failure_mode(86)
@pytest.mark.parametrize("allowed", [1, 3, 8])
def test_requests_under_way_never_exceed_the_limit_whatever_threads_do(allowed: int) -> None:
    tasks, clock = ThreadTasks(), SystemClock()
    through = ConnectionGate(
        "shop", clock=clock, tasks=tasks, in_flight=allowed, budget=None, bucket=MemoryBucket(clock)
    )
    transport = _Counting(allowed)
    web = client(transport, clock, through)
    others = web.with_signing(lambda method, url, headers: (url, headers))

    def work(number: int) -> None:
        if number % 2:
            others.get_json(URL)
        else:
            web.send_json("POST", URL, {})

    threads = [threading.Thread(target=lambda: list(tasks.map_ordered(work, range(6), width=6))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert transport.sent == 18
    assert transport.most == allowed


def test_a_failed_request_gives_its_place_back() -> None:
    clock = FakeClock()
    through = gate(clock, None, in_flight=1)
    web = client(ScriptedTransport([status(500), status(401), ok([7])]), clock, through)
    with pytest.raises(OutcomeUnknown):
        web.send_json("POST", URL, {})
    with pytest.raises(errors.AuthError):
        web.get_json(URL)
    assert web.get_json(URL)[0] == [7]


# -- configuration -------------------------------------------------------------------------------------------------

CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.boutique]
connector = "woocommerce"
invoicing = "hub"
"""


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str], Any]:
    def make(line: str) -> Any:
        path = tmp_path / "comptoir.toml"
        path.write_text(CONFIG + line + "\n", encoding="utf-8")
        return check_installation(path)

    return make


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("calls_per_minute = 0", "calls_per_minute", "greater than 0"),
        ("calls_per_minute = -5", "calls_per_minute", "greater than 0"),
        ('calls_per_minute = "60"', "calls_per_minute", "valid number"),
        ("calls_per_minute = true", "calls_per_minute", "valid number"),
        ("calls_per_minute = nan", "calls_per_minute", "finite number"),
        ("calls_per_minute = inf", "calls_per_minute", "finite number"),
        ("calls_per_minute = 1e9", "calls_per_minute", "less than or equal to 1000000"),
        ("requests_in_flight = 0", "requests_in_flight", "greater than or equal to 1"),
        ("requests_in_flight = 99", "requests_in_flight", "less than or equal to 32"),
        ("requests_in_flight = 2.5", "requests_in_flight", "valid integer"),
    ],
)
def test_a_wrong_limit_is_named_with_its_line(installed: Callable[[str], Any], line: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed(line)
    assert caught.value.message.startswith(f"comptoir.toml:9: connections.boutique.{key}")
    assert words in caught.value.message


def test_the_file_rules_over_the_connector(installed: Callable[[str], Any]) -> None:
    assert budget_of(installed("calls_per_minute = 90"), "boutique") == budget(90, 15)
    assert budget_of(installed("calls_per_minute = 0.5"), "boutique") == budget(0.5, 1)
    plain = installed("pages_in_flight = 3")
    own = max(3, plain.classes["boutique"].manifest.requests_in_flight)
    assert gate_of(plain, "boutique", system_ports())._slots._initial_value == own  # type: ignore[attr-defined]
    given = installed("requests_in_flight = 2\npages_in_flight = 8")
    assert gate_of(given, "boutique", system_ports())._slots._initial_value == 2  # type: ignore[attr-defined]


def test_a_budget_of_a_manifest() -> None:
    assert CallBudget.model_validate({"calls_per_minute": 600}) == budget(600, 100)
    assert budget(600, 300).at(60) == budget(60, 30)
    assert budget(600, 3).at(1) == budget(1, 1)
    for wrong in (
        {"calls_per_minute": 0},
        {"burst": 5},
        {"calls_per_minute": 5, "burst": 0},
        {"calls_per_minute": "x"},
    ):
        with pytest.raises(ValidationError):
            CallBudget.model_validate(wrong)


def test_a_connector_without_a_database_has_a_budget_of_its_own(
    installed: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BOUTIQUE", '{"host": "https://shop.example", "login": "ck_1", "password": "cs_1"}')
    installation = installed("calls_per_minute = 60")
    ports = system_ports()
    clock = FakeClock()
    ports.clock, ports.tasks, ports.transport = clock, InlineTasks(), ScriptedTransport(lambda request: ok([]))
    connector: Any = connector_of(installation, "boutique", company(installation), ports)
    began = clock.monotonic()
    for _ in range(15):
        connector._ctx.http.get_json(URL)
    # Ten at once, five more at one a second.
    assert clock.monotonic() - began == pytest.approx(5.0)


# -- who acts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - {"ComptoirError"}))
def test_every_error_says_who_acts(name: str) -> None:
    kind = getattr(errors, name)
    assert kind.__doc__ is not None
    said = kind.__doc__.rsplit("Acts: ", 1)
    assert len(said) == 2, f"{name} does not say who acts"
    who = said[1].strip().rstrip(".")
    assert set(who.split(" or ")) <= {"merchant", "integrator", "operations", "connector author", "nobody"}
    row = next(line for line in str(errors.__doc__).splitlines() if f"`{name}`" in line)
    assert row.split("|")[2].strip() == who
