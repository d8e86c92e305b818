"""The agent's way to the hub: TLS, proxies, redirections, answers that are cut off or not the hub's."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from comptoir_agent.config import Connection, Settings
from comptoir_agent.errors import ConfigurationError, HubAway, HubRefused
from comptoir_agent.hub import Hub

TOKEN = "cpa_pc-compta_" + "a" * 43
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server whose every request is answered so; its port."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            answer(self)

        do_GET = do_POST = do_PUT = do_CONNECT = answer

        def log_message(self, *args: Any) -> None:
            del args

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made.server_address[1]
    finally:
        made.shutdown()
        made.server_close()
        thread.join(10)


def says(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("content-length") or 0))
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hub(address: str, **settings: Any) -> Hub:
    found = Settings(address, Path("state"), {"gesco": Connection("gesco", Path("x"))}, timeout_seconds=5, **settings)
    return Hub.open(found, TOKEN, "a" * 32)


def certificates(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """A CA of its own, and what a server of this host needs."""
    now = datetime.datetime.now(datetime.UTC)

    def make(name: str, issuer: x509.Name | None, key: Any, signer: Any, san: x509.GeneralName | None) -> Any:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if san is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([san]), critical=False)
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = make("own CA", None, ca_key, ca_key, None)
    try:
        san: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        san = x509.DNSName(host)
    leaf = make(host, ca.subject, key, ca_key, san)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + leaf.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return folder / "ca.pem", context


def test_a_certificate_is_believed_only_when_its_ca_is_and_its_name_is_right(tmp_path: Path) -> None:
    ca, context = certificates(tmp_path, "127.0.0.1")
    with server(says(200, b'{"connections": {}}'), context) as port:
        assert hub(f"https://127.0.0.1:{port}", ca_file=ca).work({}) == {"connections": {}}
        with pytest.raises(HubAway, match="certificate is not trusted"):
            hub(f"https://127.0.0.1:{port}").work({})
    (tmp_path / "other").mkdir()
    other_ca, other = certificates(tmp_path / "other", "hooks.example.fr")
    with (
        server(says(200, b"{}"), other) as port,
        pytest.raises(HubAway, match=r"certificate is not trusted: .*127\.0\.0\.1"),
    ):
        hub(f"https://127.0.0.1:{port}", ca_file=other_ca).work({})
    with pytest.raises(ConfigurationError, match="ca_file"):
        hub("https://127.0.0.1", ca_file=tmp_path / "none.pem")


def test_a_proxy_is_asked_for_a_tunnel_and_never_sees_the_token() -> None:
    seen: list[str] = []

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        seen.append(f"{handler.requestline}\n{handler.headers}")
        says(502, b"")(handler)

    with server(refuse) as port, pytest.raises(HubAway, match="no connection to the hub"):
        hub("https://hub.invalid", proxy=f"http://127.0.0.1:{port}").work({})
    assert len(seen) == 1 and seen[0].startswith("CONNECT hub.invalid:443") and TOKEN not in seen[0]


def test_a_redirection_is_not_followed() -> None:
    followed: list[str] = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        followed.append(str(handler.headers))
        says(200, b"{}")(handler)

    with server(elsewhere) as other:
        target = f"http://127.0.0.1:{other}/x"
        for status in (301, 302, 303, 307, 308):
            with server(says(status, b"", Location=target)) as port, pytest.raises(HubAway, match="redirection"):
                hub(f"http://127.0.0.1:{port}").queries("gesco")
    assert followed == []


@pytest.mark.parametrize(
    ("answer", "words", "wait"),
    [
        (says(503, b'{"why": "busy"}', Retry_After="30"), "busy", 30.0),
        (says(503, b"<html>", Retry_After="a while"), "answered 503", 0.0),
        (says(429, b"{}", Retry_After="99999999"), "answered 429", 3600.0),
        (says(200, b"<html>login</html>"), "something else stands at this address", 0.0),
        (says(200, b"[]"), "something else stands at this address", 0.0),
        (says(200, b'{"a": "' + b"x" * 5_000_000 + b'"}'), "too large", 0.0),
        (says(200, b"{}", Content_Length="9"), "was cut off", 0.0),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_tried_again(answer: Answer, words: str, wait: float) -> None:
    with server(answer) as port, pytest.raises(HubAway, match=words) as caught:
        hub(f"http://127.0.0.1:{port}").work({})
    assert caught.value.wait == wait


def test_what_the_hub_refuses_is_told_in_its_words_and_not_tried_again() -> None:
    answer = says(409, json.dumps({"why": "the batch is taken"}).encode())
    with server(answer) as port, pytest.raises(HubRefused, match="the batch is taken") as caught:
        hub(f"http://127.0.0.1:{port}").report("x", {})
    assert caught.value.status == 409


@pytest.mark.parametrize("body", [b"abc", b"abcdefghij", b"xxxxxx", b""])
def test_a_file_that_is_cut_off_longer_or_another_does_not_stay(tmp_path: Path, body: bytes) -> None:
    target = tmp_path / "b.0"
    headers = {"Content_Length": "6"} if len(body) < 6 else {}
    with server(says(200, body, **headers)) as port, pytest.raises(HubAway, match="arrived damaged"):
        hub(f"http://127.0.0.1:{port}").download("b", 0, target, bytes_=6, sha256=hashlib.sha256(b"abcdef").hexdigest())
    assert not target.exists()


def test_nobody_there_is_said() -> None:
    with server(says(200, b"{}")) as port:
        address = f"http://127.0.0.1:{port}"
    with pytest.raises(HubAway, match="no connection to the hub"):
        hub(address).work({})
