"""What waits for a person: an operator who forgets the import is noticed, with the euros, and told by mail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from comptoir.app.mail import Mail, send_mail
from comptoir.app.todo import notify, todo
from comptoir.domain.working_time import WorkingTime, french_holidays
from comptoir.engine.ports import Ports
from comptoir.errors import AuthError, ConfigError, TransientError
from comptoir.sdk import Credentials
from comptoir.testing import FakeClock
from comptoir_ebp.sandbox import EbpSandbox

from tests.support.mailbox import Mailbox, mailbox
from tests.support.merchant import Merchant, request_json, simple_order

#: A Monday morning.
MONDAY = datetime(2026, 9, 14, 8, 30, tzinfo=UTC)
ALERTS = '\n[alerts]\nmail_to = ["compta@maison.test"]\nafter_working_hours = 8\n'


@pytest.fixture
def post() -> Iterator[Mailbox]:
    with mailbox() as server:
        yield server


class _WithMail:
    def __init__(self, ports: Ports, port: int) -> None:
        self._inner = ports.secrets
        self._port = port

    def get(self, connection: str) -> Credentials | None:
        if connection == "mail":
            return Credentials(host="127.0.0.1", port=self._port, extra={"tls": False})
        return self._inner.get(connection)


@pytest.fixture
def forgotten(merchant: Merchant) -> Merchant:
    """Two orders in a file that nobody imports."""
    merchant.config.write_text(merchant.config.read_text() + ALERTS)
    for _ in range(2):
        request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run()
    return merchant


def _ports(merchant: Merchant, post: Mailbox, clock: FakeClock) -> Ports:
    ports = merchant.ports()
    return Ports(
        clock=clock, ids=ports.ids, random=ports.random, tasks=ports.tasks, transport=ports.transport,
        secrets=_WithMail(ports, post.port),
    )  # fmt: skip


def _written(merchant: Merchant, at: datetime) -> None:
    with merchant.hub() as hub, hub.database.transaction() as session:
        session.execute("update handover set written_at = %s", (at,))


def test_a_forgotten_import_shows_with_its_euros_and_is_mailed_once_a_day(forgotten: Merchant, post: Mailbox) -> None:
    _written(forgotten, MONDAY)
    clock = FakeClock(MONDAY)
    ports = _ports(forgotten, post, clock)
    assert todo(forgotten.config, ports=ports) == []
    clock.set(datetime(2026, 9, 15, 8, 0, tzinfo=UTC))
    total = forgotten.value("select sum(total) from sales_order")
    (item,) = todo(forgotten.config, ports=ports)
    assert (item.kind, item.connection, item.amount, item.urgent) == ("batch", "gesco", total, True)
    assert "import/COMMANDES" in item.what and f"2 order records, {total:.2f} EUR" in item.what
    assert "comptoir batch withdraw" in item.do

    assert len(notify(forgotten.config, ports=ports)) == 1
    (mail,) = post.mails
    assert mail["To"] == "compta@maison.test"
    assert f"{total:.2f} EUR" in str(mail["Subject"])
    assert "import/COMMANDES" in mail.get_content()
    assert notify(forgotten.config, ports=ports) == []
    clock.advance(24 * 3600)
    assert len(notify(forgotten.config, ports=ports)) == 1
    assert len(post.mails) == 2

    EbpSandbox(forgotten.exchange).step(report=False)
    assert todo(forgotten.config, ports=ports) == []
    assert notify(forgotten.config, ports=ports) == []


def test_a_mail_that_was_not_taken_is_sent_again(forgotten: Merchant, post: Mailbox) -> None:
    _written(forgotten, MONDAY)
    clock = FakeClock(datetime(2026, 9, 16, 9, 0, tzinfo=UTC))
    ports = _ports(forgotten, post, clock)
    post.refuse = True
    with pytest.raises(TransientError, match="the mail was not taken"):
        notify(forgotten.config, ports=ports)
    post.refuse = False
    assert len(notify(forgotten.config, ports=ports)) == 1


def test_other_things_that_wait_stand_on_the_list_without_names(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    kept = shop.orders[request_json(shop, "POST", "/orders", simple_order())["id"]]
    order = kept.order(keep=True)
    order.status, order.modified = "wc-strange", shop.now
    kept.changed()
    merchant.run()
    (item,) = todo(merchant.config, ports=merchant.ports())
    assert (item.kind, item.what, item.urgent) == ("parked", "1 order records of boutique: unmapped_value", False)
    with pytest.raises(ConfigError, match="nobody is to be told"):
        notify(merchant.config, ports=merchant.ports())


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("2026-09-14 08:00", "2026-09-14 10:00", 1.0),
        ("2026-09-14 17:00", "2026-09-15 10:30", 2.5),
        ("2026-09-11 17:00", "2026-09-14 10:00", 2.0),
        ("2026-07-13 17:00", "2026-07-15 10:00", 2.0),
        ("2026-09-15 12:00", "2026-09-14 12:00", 0.0),
        ("2026-09-12 09:00", "2026-09-13 18:00", 0.0),
    ],
)
def test_nights_weekends_and_holidays_do_not_count(since: str, until: str, hours: float) -> None:
    zone = ZoneInfo("Europe/Paris")
    moments = [datetime.fromisoformat(text).replace(tzinfo=zone) for text in (since, until)]
    assert WorkingTime(zone).hours(*moments) == hours
    assert WorkingTime(zone, days=range(7), begins=time(0), ends=time(23), country="BE").hours(*moments) >= hours


def test_the_holidays_of_a_year() -> None:
    assert {date(2026, 4, 6), date(2026, 5, 14), date(2026, 5, 25), date(2026, 7, 14)} <= french_holidays(2026)
    assert len(french_holidays(2026)) == 11
    assert date(2038, 4, 26) in french_holidays(2038)


def test_a_mail_server_that_cannot_be_used_is_told_apart(post: Mailbox) -> None:
    mail = Mail(["a@b.test"], None, "x", "y")
    with pytest.raises(ConfigError, match="the connection 'mail' is missing"):
        send_mail(mail, None, "mail")
    with pytest.raises(ConfigError, match="has no TLS"):
        send_mail(mail, Credentials(host="127.0.0.1", port=post.port), "mail")
    unknown = Credentials(host="127.0.0.1", port=post.port, login="x", password="y", extra={"tls": False})
    with pytest.raises((AuthError, ConfigError, TransientError)):
        send_mail(mail, unknown, "mail")
    assert post.mails == []
