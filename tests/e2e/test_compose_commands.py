"""Every command of docker-compose.yml, for real: services come up in their order, do their work, and end cleanly."""

from __future__ import annotations

import base64
import csv
import hmac
import io
import json
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import requests

from comptoir.airflow.client import AirflowClient
from comptoir_woocommerce.sandbox import ServerClock, WooCommerceSandbox, serve

from tests.support.machine import Machine, start_order
from tests.support.merchant import CONFIG, request_json, simple_order

pytestmark = [pytest.mark.airflow, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ONE_SHOTS = ("migrate", "airflow-init")
ORDERS = "comptoir__orders"
ROOT = Path(__file__).resolve().parents[2]
WEBHOOK_SECRET = "a-secret-of-webhooks-of-32-letters"


@pytest.fixture
def shop() -> Iterator[WooCommerceSandbox]:
    """A shop on the loopback."""
    made = WooCommerceSandbox(clock=ServerClock())
    with serve(made):
        yield made


@pytest.fixture
def machine(shop: WooCommerceSandbox) -> Iterator[Machine]:
    """An installation with a merchant's configuration and the shop's keys."""
    with Machine() as made:
        (made.merchant / "comptoir.toml").write_text(CONFIG.replace("*/5 * * * *", "0 4 29 2 *"), encoding="utf-8")
        keys = {"conn_type": "woocommerce", "host": shop.home, "login": shop.key, "password": shop.secret,
                "extra": {"webhook_secret": WEBHOOK_SECRET}}  # fmt: skip
        (made.folder / ".env.connections").write_text(f"AIRFLOW_CONN_BOUTIQUE='{json.dumps(keys)}'\n")
        yield made


def bring_up(machine: Machine) -> None:
    """`docker compose up`: each service once what it waits for is there."""
    machine.prepare_postgres()
    for name in start_order(machine.services):
        if name in ONE_SHOTS:
            done = machine.run(name, machine.command(name))
            assert done.returncode == 0, done.stdout
            continue
        assert machine.health(name).returncode != 0, f"{name} is called healthy before it runs"
        if name == "postgres":
            machine.start_postgres()
        else:
            machine.launch(name)
        print(f"{name}: healthy after {machine.wait_until_healthy(name):.1f} s")
        if name == "postgres":
            # The image runs these once, when the volume is empty.
            for script in sorted((ROOT / "deploy" / "postgres").iterdir()):
                said = machine.run(name, ["sh", str(script)])
                assert said.returncode == 0, said.stdout
                assert said.stdout == ""


def connect(machine: Machine, role: str, password: str, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=machine.postgres_port, user=role, password=password, dbname=database)


def check_roles(machine: Machine) -> None:
    """Each role reaches its own database and no other, and only with its password."""
    hub, airflow = machine.secrets["COMPTOIR_DB_PASSWORD"], machine.secrets["AIRFLOW_DB_PASSWORD"]
    for role, password, own, other in (
        ("comptoir_hub", hub, "comptoir", "airflow"),
        ("comptoir_airflow", airflow, "airflow", "comptoir"),
    ):
        with connect(machine, role, password, own) as connection:
            rights = connection.execute(
                "select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user"
            ).fetchone()
            assert rights == (False, False, False)
        for database in (other, "postgres"):
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                connect(machine, role, password, database)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(machine, role, "a guess", own)


def check_postgres_settings(machine: Machine) -> None:
    """What the command line says is what the server does."""
    said = [word.split("=") for word in machine.command("postgres") if "=" in word]
    with connect(machine, "postgres", machine.secrets["POSTGRES_PASSWORD"], "postgres") as connection:
        for name, value in said:
            row = connection.execute("select current_setting(%s)", (name,)).fetchone()
            # wal_compression=on is the same as pglz.
            assert row in ((value,), ("pglz",) if name == "wal_compression" else (value,)), name
        locale = connection.execute(
            "select datlocprovider::text, datlocale, pg_encoding_to_char(encoding) from pg_database"
            " where datname = 'comptoir'"
        ).fetchone()
    assert locale == ("b", "C.UTF-8", "UTF8")


def wait_for_dags(client: AirflowClient, *names: str) -> None:
    deadline = time.monotonic() + 90
    while not set(names) <= set(client.dags()):
        assert client.import_errors() == []
        assert time.monotonic() < deadline, "the DAGs do not appear"
        time.sleep(0.5)


def handed_over(machine: Machine) -> list[str]:
    """The shop's numbers of the orders in the exchange folder, one for each document and file."""
    found = []
    for path in sorted((machine.merchant / "exchange" / "ebp" / "import").glob("COMMANDES_*.CSV")):
        rows = list(csv.reader(io.StringIO(path.read_text("cp1252"), newline=""), delimiter=";"))
        found += [number.rsplit("-", 1)[-1] for number in dict.fromkeys(row[0] for row in rows[1:])]
    return found


def check_a_run(machine: Machine, shop: WooCommerceSandbox) -> None:
    """An order goes from the shop to the exchange folder, begun by Airflow, and its log can be read."""
    order = request_json(shop, "POST", "/orders", simple_order())
    client = AirflowClient(f"http://127.0.0.1:{machine.web_port}", "admin", machine.secrets["AIRFLOW_ADMIN_PASSWORD"])
    try:
        assert set(client.health().values()) == {"healthy"}
        assert {"comptoir_boutique", "comptoir_gesco"} <= set(client.pools())
        wait_for_dags(client, ORDERS, "comptoir__customers")
        assert client.dags()[ORDERS]["is_paused"], "a new route waits until somebody switches it on"
        on = machine.run("scheduler", ["airflow", "dags", "unpause", ORDERS, "--yes"])
        assert on.returncode == 0, on.stdout
        run = client.trigger(ORDERS)
        assert client.wait(ORDERS, run, timeout=120) == "success", client.log(ORDERS, run)
        report = client.result(ORDERS, run)
        assert (report["considered"], report["delivered"]) == (1, 1)
        assert "Done. Returned value was" in client.log(ORDERS, run)
    finally:
        client.close()
    assert handed_over(machine) == [str(order["number"])]
    # The key came from the environment: none was made beside the configuration, where nothing may be written.
    assert not (machine.merchant / ".comptoir").exists()


def check_a_webhook(machine: Machine, shop: WooCommerceSandbox) -> None:
    """A signed webhook becomes a hint, once; the route is woken by it, and the order is in the exchange folder."""
    order = request_json(shop, "POST", "/orders", simple_order())
    body = json.dumps(request_json(shop, "GET", f"/orders/{order['id']}")).encode()
    hook = f"http://127.0.0.1:{machine.gateway_port}/hooks/boutique"

    def send(secret: str) -> int:
        signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
        headers = {"X-WC-Webhook-Signature": signature, "X-WC-Webhook-Topic": "order.created"}
        return requests.post(hook, data=body, headers=headers, timeout=10).status_code

    assert send("a guess") == 404
    begun = time.monotonic()
    assert (send(WEBHOOK_SECRET), send(WEBHOOK_SECRET)) == (200, 200)
    while str(order["number"]) not in handed_over(machine):
        assert time.monotonic() - begun < 90, "the webhook woke nobody"
        time.sleep(0.2)
    print(f"from webhook to exchange file: {time.monotonic() - begun:.1f} s")
    assert handed_over(machine).count(str(order["number"])) == 1
    # The route waits for the last word of its run, so that nobody is at work when a backup is taken.
    with connect(machine, "comptoir_hub", machine.secrets["COMPTOIR_DB_PASSWORD"], "comptoir") as connection:
        connection.autocommit = True
        while connection.execute("select count(*) from run where state = 'running'").fetchone() != (0,):
            assert time.monotonic() - begun < 180, "the woken run does not end"
            time.sleep(0.5)
        rows = connection.execute("select count(*), count(done_at) from inbox").fetchone()
    assert rows == (1, 1)


def check_preparing_again(machine: Machine) -> None:
    """After a change of comptoir.toml the one-shots run again: they add what is missing and change nothing else."""
    kept = machine.run("airflow-init", ["airflow", "pools", "set", "comptoir_gesco", "5", "an operator's word"])
    assert kept.returncode == 0, kept.stdout
    config = machine.merchant / "comptoir.toml"
    config.write_text(
        config.read_text(encoding="utf-8") + '\n[connections.second]\nconnector = "woocommerce"\ninvoicing = "gesco"\n',
        encoding="utf-8",
    )
    again = machine.run("migrate", machine.command("migrate"))
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True), again.stdout
    again = machine.run("airflow-init", machine.command("airflow-init"))
    assert again.returncode == 0, again.stdout
    assert "Airflow is prepared; 1 pools were made." in again.stdout
    with connect(machine, "comptoir_airflow", machine.secrets["AIRFLOW_DB_PASSWORD"], "airflow") as connection:
        pools = dict(connection.execute("select pool, slots from slot_pool").fetchall())
    assert (pools["comptoir_gesco"], pools["comptoir_second"]) == (5, 2)


def page_commands(heading: str) -> list[str]:
    """The lines of the console blocks below a heading of docs/operations.md that speak to Compose."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    text = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("docker compose ")]


def check_backup(machine: Machine) -> None:
    """The page's commands to back up and to restore, as they stand: the copy holds the same, and opens with the key."""
    for line in page_commands("Back up"):
        machine.compose(line)
    with connect(machine, "comptoir_hub", machine.secrets["COMPTOIR_DB_PASSWORD"], "comptoir") as connection:
        connection.execute("delete from delivery")
    for line in page_commands("Restore"):
        machine.compose(line)
    check_roles(machine)
    shown = machine.run("scheduler", ["comptoir", "routes", "--json"])
    assert shown.returncode == 0, shown.stdout
    orders = next(r for r in json.loads(shown.stdout) if r["route"] == "orders")
    assert orders["last_state"] == "success"
    with connect(machine, "comptoir_hub", machine.secrets["COMPTOIR_DB_PASSWORD"], "comptoir") as connection:
        row = connection.execute("select external_id from raw_record where entity = 'order'").fetchone()
        kept = connection.execute("select count(*) from delivery where state = 'confirmed'").fetchone()
    assert row is not None
    assert kept == (2,)
    preview = ["comptoir", "map", "preview", "woocommerce.order.in", "--record", f"boutique:{row[0]}"]
    opened = machine.run("scheduler", preview)
    assert opened.returncode == 0, opened.stdout
    noise = machine.run("scheduler", preview, COMPTOIR_RAW_KEY="A" * 43 + "=")
    assert (noise.returncode, "key" in noise.stdout) == (2, True), noise.stdout


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Says how long a part took."""
    begun = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begun:.1f} s")


def test_the_services_come_up_work_and_end(machine: Machine, shop: WooCommerceSandbox) -> None:
    with timed("everything up"):
        bring_up(machine)
    check_roles(machine)
    check_postgres_settings(machine)
    login = machine.airflow_home / "login" / "passwords.json"
    assert stat.S_IMODE(login.stat().st_mode) == 0o600
    with timed("a run by hand"):
        check_a_run(machine, shop)
    with timed("a webhook and its run"):
        check_a_webhook(machine, shop)
    with timed("prepared again"):
        check_preparing_again(machine)
    with timed("backed up and restored"):
        check_backup(machine)
    # Before anything was stopped each was alive by its own word.
    for name in list(machine.processes):
        assert machine.wait_until_healthy(name) < 30, name
    for name in reversed(start_order(machine.services)):
        if name in ONE_SHOTS:
            continue
        print(f"{name}: gone after {machine.stop(name):.1f} s")
        if name not in ("api-server", "postgres"):
            assert machine.health(name).returncode != 0, f"{name} is called healthy although it was stopped"
    assert machine.left_over() == []
