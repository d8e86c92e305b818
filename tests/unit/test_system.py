"""The real ports: ids, threads, and HTTP against a server that misbehaves."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from comptoir.app.system import SystemClock, SystemIds, SystemRandom, SystemTransport, ThreadTasks
from comptoir.errors import ConfigError, OutcomeUnknown, TransientError
from comptoir.model.ids import uuid7_from
from comptoir.sdk import HttpRequest

# -- clock, ids, randomness --------------------------------------------------------------------------------------


def test_the_clock_is_aware_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    before = clock.monotonic()
    clock.sleep(0.001)
    assert clock.monotonic() > before


def test_ids_of_one_maker_increase_strictly_in_every_thread() -> None:
    ids = SystemIds()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [ids.new() for _ in range(2000)], range(8)))
    for of_one_thread in made:
        assert of_one_thread == sorted(of_one_thread)
    everything = [i for part in made for i in part]
    assert len(set(everything)) == 16_000
    assert all(i.version == 7 and i.variant == "specified in RFC 4122" for i in everything[:50])
    # Neither the order nor uniqueness may come from the random bits alone.
    assert len({i.int >> 64 for i in everything}) == 16_000


def test_ids_keep_their_order_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = SystemIds()
    first = ids.new()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    later = [ids.new() for _ in range(10_000)]
    assert [first, *later] == sorted({first, *later})


def test_an_id_tells_its_moment() -> None:
    made = SystemIds().new()
    moment = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert uuid7_from(0, 0, 0).version == 7


def test_randomness() -> None:
    random = SystemRandom()
    assert len(random.bytes(16)) == 16
    assert random.bits(64) != random.bits(64)
    assert all(2.0 <= random.uniform(2.0, 3.0) < 3.0 for _ in range(1000))


# -- tasks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 5, 50])
def test_results_come_in_order(width: int) -> None:
    def work(n: int) -> int:
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(ThreadTasks().map_ordered(work, range(20), width=width)) == [n * n for n in range(20)]


def test_no_more_work_is_begun_than_asked_for() -> None:
    running, most, begun = 0, 0, 0
    lock = threading.Lock()

    def work(n: int) -> int:
        nonlocal running, most, begun
        with lock:
            running, begun = running + 1, begun + 1
            most = max(most, running)
        time.sleep(0.003)
        with lock:
            running -= 1
        return n

    results = ThreadTasks().map_ordered(work, range(30), width=3)
    assert next(results) == 0
    time.sleep(0.05)
    # A window that nobody takes from does not move on.
    assert begun <= 3
    assert list(results) == list(range(1, 30))
    assert most <= 3


@pytest.mark.parametrize("width", [1, 4])
def test_the_first_error_is_raised_in_its_turn(width: int) -> None:
    def work(n: int) -> int:
        if n == 3:
            time.sleep(0.02)
            raise TransientError("three")
        if n == 5:
            raise TransientError("five")
        return n

    taken = []
    with pytest.raises(TransientError, match="three"):
        for result in ThreadTasks().map_ordered(work, range(1000), width=width):
            taken.append(result)
    assert taken == [0, 1, 2]


def test_an_error_of_the_items_and_an_early_end_do_not_hang() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise TransientError("no more")

    with pytest.raises(TransientError, match="no more"):
        list(ThreadTasks().map_ordered(lambda n: n, items(), width=4))
    results = ThreadTasks().map_ordered(lambda n: n, iter(range(10**9)), width=4)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("comptoir")]


# -- transport ---------------------------------------------------------------------------------------------------

Behaviour = Callable[[socket.socket, bytes], None]


@contextlib.contextmanager
def serve(behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A server on the loopback that reads one request per connection and does what it is told; url and requests."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                request = b""
                while b"\r\n\r\n" not in request and request[:1] != b"\x16":  # 0x16: a TLS greeting
                    part = connection.recv(65536)
                    if not part:
                        break
                    request += part
                seen.append(request)
                behave(connection, request)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        # shutdown wakes the accept; close alone would leave it waiting.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def says(answer: bytes) -> Behaviour:
    return lambda connection, request: connection.sendall(answer)


def full(body: bytes, *headers: str, code: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {code}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send(url: str, method: str = "GET", *, timeout: float = 5.0, max_bytes: int = 1_000_000, **more: Any) -> Any:
    return SystemTransport().send(HttpRequest(method, url, **more), timeout=timeout, max_bytes=max_bytes)


def test_an_answer_arrives_with_status_and_lower_case_headers() -> None:
    with serve(says(full(b'{"a": 1}', "X-WP-Total: 7", code="201 Created"))) as (url, seen):
        response = send(url, "POST", headers={"Authorization": "Basic x"}, body=b"{}")
    assert (response.status, response.body, response.headers["x-wp-total"]) == (201, b'{"a": 1}', "7")
    assert b"Authorization: Basic x" in seen[0]
    assert b"User-Agent: comptoir" in seen[0]


def test_html_is_an_answer_like_any_other_here() -> None:
    with serve(says(full(b"<html>", "Content-Type: text/html", code="503 Service Unavailable"))) as (url, _):
        assert send(url).status == 503


def test_a_compressed_answer_is_unpacked_and_bounded_after_that() -> None:
    packed = gzip.compress(b"x" * 300_000)
    with serve(says(full(packed, "Content-Encoding: gzip"))) as (url, _):
        assert send(url).body == b"x" * 300_000
        with pytest.raises(OutcomeUnknown) as caught:
            send(url, max_bytes=100_000)
    assert caught.value.code == "too_large"


def test_a_redirect_is_not_followed_and_no_cookie_is_kept() -> None:
    answer = full(b"", "Location: http://127.0.0.1:1/", "Set-Cookie: session=1; Path=/", code="302 Found")
    with serve(says(answer)) as (url, seen):
        transport = SystemTransport()
        for _ in range(2):
            assert transport.send(HttpRequest("GET", url), timeout=5, max_bytes=100).status == 302
    assert len(seen) == 2
    assert b"session=1" not in seen[1]


def test_a_netrc_does_not_replace_our_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login wrong password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(says(full(b"1"))) as (url, seen):
        send(url, headers={"Authorization": "Basic ours"})
    assert b"Authorization: Basic ours" in seen[0]


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(says(full(b"1"))) as (url, _):
        assert send(url).status == 200
    monkeypatch.delenv("no_proxy")
    with pytest.raises(TransientError) as caught:
        send(url)
    assert caught.value.code == "no_connection"


def drip(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x")
        time.sleep(0.05)


def chunked_and_cut(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n")


LOST: list[tuple[str, Behaviour, dict[str, Any], str]] = [
    ("cut body", says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1"), {}, "answer_lost"),
    ("cut chunks", chunked_and_cut, {}, "answer_lost"),
    ("no answer", says(b""), {}, "no_connection"),
    ("no HTTP", says(b"hello\r\n\r\n"), {}, "no_connection"),
    ("silent", lambda c, r: time.sleep(0.6), {"timeout": 0.2}, "answer_lost"),
    ("drips", drip, {"timeout": 0.4}, "answer_lost"),
    ("broken gzip", says(full(b"not gzip", "Content-Encoding: gzip")), {}, "answer_lost"),
    ("announced too large", says(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), {"max_bytes": 99}, "too_large"),
    ("too large", says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 9999), {"max_bytes": 99}, "too_large"),
]


@pytest.mark.parametrize(("behave", "limits", "code"), [c[1:] for c in LOST], ids=[c[0] for c in LOST])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_after_the_request_was_sent_the_outcome_is_unknown(
    behave: Behaviour, limits: dict[str, Any], code: str, method: str
) -> None:
    with serve(behave) as (url, _), pytest.raises(OutcomeUnknown) as caught:
        begun = time.monotonic()
        send(url, method, **limits)
    assert time.monotonic() - begun < 3
    assert caught.value.code == code


def test_a_refused_connection_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientError, match="refused") as caught:
        send(f"http://127.0.0.1:{port}/?consumer_secret=cs_geheim", "POST")
    assert caught.value.code == "no_connection"
    assert "geheim" not in str(caught.value)


def test_an_unknown_host_is_transient() -> None:
    with pytest.raises(TransientError):
        send("http://shop.invalid/", "POST")


def test_tls_that_is_none_is_transient() -> None:
    with serve(says(full(b"1"))) as (url, _), pytest.raises(TransientError) as caught:
        send(url.replace("http:", "https:"), "POST")
    assert caught.value.code == "tls"


@pytest.mark.parametrize(
    "url", ["", "shop.example/a", "ftp://shop.example", "http://", "http://a b", "http://x:port/", "http://[::1/"]
)
def test_a_wrong_address_is_a_setting(url: str) -> None:
    with pytest.raises(ConfigError):
        send(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of 127.0.0.1, in one PEM file."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_transient(certificate: Path) -> None:
    with serve(says(full(b"1")), tls=server_context(certificate)) as (url, seen), pytest.raises(TransientError) as e:
        send(url, "POST")
    assert e.value.code == "tls"
    assert seen == []


def test_the_merchants_own_authority_is_trusted_when_named(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serve(says(full(b"[1]")), tls=server_context(certificate)) as (url, _):
        assert send(url).body == b"[1]"


def test_tls_that_breaks_after_the_request_is_no_transient_error(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write has arrived: to send it again would double it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def cut(connection: socket.socket, request: bytes) -> None:
        # Neither an answer nor TLS's own goodbye.
        socket.socket(fileno=connection.detach()).close()

    with serve(cut, tls=server_context(certificate)) as (url, seen), pytest.raises(OutcomeUnknown):
        send(url, "POST")
    assert len(seen) == 1


def test_one_behind_keeps_order_and_runs_one_at_a_time_beside_the_making() -> None:
    making: list[int] = []
    working = 0
    most = 0

    def work(n: int) -> int:
        nonlocal working, most
        working += 1
        most = max(most, working)
        working -= 1
        return n * n

    def items() -> Iterator[int]:
        for n in range(20):
            making.append(n)
            yield n

    assert list(ThreadTasks().one_behind(work, items())) == [n * n for n in range(20)]
    assert making == list(range(20))
    assert most == 1


def test_one_behind_raises_what_the_work_raised_and_makes_no_more() -> None:
    made: list[int] = []

    def work(n: int) -> int:
        if n == 2:
            raise ValueError("two")
        return n

    def items() -> Iterator[int]:
        for n in range(10):
            made.append(n)
            yield n

    with pytest.raises(ValueError, match="two"):
        list(ThreadTasks().one_behind(work, items()))
    assert made == [0, 1, 2, 3]


def test_one_behind_finishes_what_runs_when_the_making_fails() -> None:
    done: list[int] = []

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the shop is gone")

    with pytest.raises(ValueError, match="the shop is gone"):
        list(ThreadTasks().one_behind(done.append, items()))
    assert done == [1]


def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    ids = SystemIds()
    ids.new()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, ids.new().bytes)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    random_part = (1 << 62) - 1
    assert int.from_bytes(os.read(read, 16), "big") & random_part != ids.new().int & random_part
    os.close(read)
    os.close(write)
