"""`comptoir gateway`, `comptoir webhooks` and what `comptoir check` says of a webhook secret, as real processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptoir_woocommerce.sandbox import ServerClock, WooCommerceSandbox, send_webhooks, serve

from tests.support.hooks import SECRET, signed
from tests.support.merchant import CONFIG, request_json, simple_order

HOOKED = CONFIG + '\n[gateway]\nurl = "https://hooks.example.com"\n'


@pytest.fixture
def shop() -> Iterator[WooCommerceSandbox]:
    """A served shop."""
    made = WooCommerceSandbox(clock=ServerClock())
    with serve(made):
        yield made


@pytest.fixture
def place(tmp_path: Path, database_url: str, shop: WooCommerceSandbox) -> tuple[Path, dict[str, str]]:
    """A configuration and the environment of the commands."""
    (tmp_path / "exchange" / "ebp").mkdir(parents=True)
    config = tmp_path / "comptoir.toml"
    config.write_text(HOOKED, encoding="utf-8")
    connection = {"conn_type": "woocommerce", "host": shop.home, "login": shop.key, "password": shop.secret}
    environ = {
        **os.environ,
        "COMPTOIR_DATABASE_URL": database_url,
        "COMPTOIR_CONFIG": str(config),
        "AIRFLOW_CONN_BOUTIQUE": json.dumps({**connection, "extra": {"webhook_secret": SECRET}}),
    }
    return config, environ


def comptoir(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comptoir", *arguments],
        env=environ, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_gateway_serves_until_it_is_asked_to_stop(
    place: tuple[Path, dict[str, str]], shop: WooCommerceSandbox
) -> None:
    config, environ = place
    port = free_port()
    config.write_text(HOOKED.replace("https://hooks.example.com", f"http://127.0.0.1:{port}"), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "comptoir", "gateway", "--port", str(port)],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for _ in range(300):
            try:
                if get(port, "/health") == 200:
                    break
            except OSError:
                time.sleep(0.1)
        assert get(port, "/health") == 200
        # The shop is told where to send them, sends, and the hint waits in the inbox.
        made = comptoir(environ, "webhooks", "--repair", "--json")
        assert made.returncode == 0, made.stdout + made.stderr
        request_json(shop, "POST", "/orders", simple_order())
        assert {status for _, status in send_webhooks(shop)} == {200}
        body = b'{"id":1}'
        assert get(port, "/hooks/boutique") == 405
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/hooks/boutique", body, signed(body, "order.deleted", secret="not-that-one-at-all"))
        assert connection.getresponse().status == 404
        connection.close()
        shown = json.loads(comptoir(environ, "webhooks", "--json").stdout)
        [received] = [row for row in shown if row["webhook"] == "order received"]
        assert re.match(r"last at \d{4}-\d\d-\d\d \d\d:\d\d UTC, 1 wait", received["detail"])
        report = json.loads(comptoir(environ, "run", "orders", "--json").stdout)
        assert report["delivered"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out == ""
    assert f"Webhooks of boutique are taken at http://127.0.0.1:{port}/hooks/NAME" in err
    assert "Traceback" not in err
    assert SECRET not in err
    assert "example.test" not in err


def test_a_taken_port_is_an_error_that_says_so(place: tuple[Path, dict[str, str]]) -> None:
    _, environ = place
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        found = comptoir(environ, "gateway", "--port", str(sock.getsockname()[1]))
    assert found.returncode != 0
    assert "address already in use" in found.stderr
    assert "Traceback" not in found.stderr


def test_webhooks_shows_and_repairs(place: tuple[Path, dict[str, str]], shop: WooCommerceSandbox) -> None:
    _, environ = place
    found = comptoir(environ, "webhooks")
    assert found.returncode == 2
    assert "the shop has none for us" in found.stdout
    assert "comptoir webhooks --repair" in found.stdout
    assert shop.webhooks.hooks == {}
    assert comptoir(environ, "webhooks", "--repair").returncode == 0
    assert len(shop.webhooks.hooks) == 4
    shop.webhooks.hooks[1].status = "paused"
    assert "paused by somebody" in comptoir(environ, "webhooks").stdout
    assert comptoir(environ, "webhooks", "--repair").returncode == 0
    assert shop.webhooks.hooks[1].status == "active"
    assert comptoir(environ, "webhooks").returncode == 0


def test_webhooks_needs_an_address_and_a_route_that_waits(place: tuple[Path, dict[str, str]]) -> None:
    config, environ = place
    config.write_text(CONFIG, encoding="utf-8")
    found = comptoir(environ, "webhooks", "--json")
    assert found.returncode == 2
    assert json.loads(found.stdout)["error"]["code"] == "no_gateway_url"
    config.write_text(HOOKED.replace('triggers = ["webhook"]\n', ""), encoding="utf-8")
    found = comptoir(environ, "webhooks", "--json")
    assert json.loads(found.stdout)["error"]["code"] == "no_webhooks"


@pytest.mark.parametrize(
    ("extra", "config", "ok", "words"),
    [
        ({"webhook_secret": SECRET}, HOOKED, True, "webhooks are sent to https://hooks.example.com/hooks/boutique"),
        ({"webhook_secret": SECRET}, CONFIG, True, "webhooks must be made by hand"),
        ({}, HOOKED, False, "there is none, so no webhook of it is taken"),
        ({"webhook_secret": "kurz"}, HOOKED, False, "it has 4 characters"),
    ],
)
def test_check_says_whether_webhooks_can_be_taken(
    place: tuple[Path, dict[str, str]], extra: dict[str, str], config: str, ok: bool, words: str
) -> None:
    path, environ = place
    path.write_text(config, encoding="utf-8")
    connection = {**json.loads(environ["AIRFLOW_CONN_BOUTIQUE"]), "extra": extra}
    found = comptoir({**environ, "AIRFLOW_CONN_BOUTIQUE": json.dumps(connection)}, "check", "boutique", "--json")
    [item] = [row for row in json.loads(found.stdout)["boutique"] if row["name"] == "webhook secret"]
    assert item["ok"] is ok
    assert words in item["detail"]
    assert found.returncode == (0 if ok else 2)
    assert "kurz" not in found.stdout + found.stderr


def test_check_asks_for_no_secret_where_no_route_waits_for_webhooks(place: tuple[Path, dict[str, str]]) -> None:
    path, environ = place
    path.write_text(CONFIG.replace('triggers = ["webhook"]\n', ""), encoding="utf-8")
    found = json.loads(comptoir(environ, "check", "boutique", "--json").stdout)
    assert "webhook secret" not in {row["name"] for row in found["boutique"]}
