"""Web orders in the back offices of Sage and Ciel: routed, imported, acknowledged; sold once, booked by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from comptoir.engine.counts import RunReport
from comptoir.engine.hub import Hub
from comptoir.engine.replay import replay
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName, RunState
from comptoir.store.sync import Quarantine
from comptoir.testing.sales import SalesProgram
from comptoir_ciel.sandbox import CielGescom
from comptoir_sage.sandbox import SageGescom, SalesDesk

from tests.support.merchant import CONFIG, Merchant, request_json, simple_order
from tests.support.orders import CARD_EXPORT, GESCOM_EXPORT

SETTINGS = 'customers = "default"\ndefault_customer = "WEBDIVERS"\n'
#: Connection, what its program is.
CARDS = {"chen": 'customer_from = "client.txt"\n'}
CONNECTIONS: dict[str, tuple[str, Callable[..., SalesProgram]]] = {
    "chen": ('connector = "sage"\ngescom_from = "gescom.txt"\n', SageGescom),
    "ciel": ('connector = "ciel"\n', CielGescom),
    "rows": ('connector = "sage"\norder_profile = "rows"\nprices = "gross"\n', SageGescom),
}


def merchant_of(make_merchant: Callable[..., Merchant], name: str) -> Merchant:
    settings = CONNECTIONS[name][0] + SETTINGS
    config = CONFIG.partition("[routes.customers]")[0]
    config = config.replace("gesco", "sage").replace('connector = "ebp"\n', settings)
    made = make_merchant(config)
    (made.folder / "gescom.txt").write_bytes(GESCOM_EXPORT)
    return made


@pytest.mark.parametrize("name", CONNECTIONS)
def test_orders_reach_the_back_office_once_and_its_word_comes_back(
    make_merchant: Callable[..., Merchant], name: str
) -> None:
    merchant = merchant_of(make_merchant, name)
    shop = merchant.shop()
    shop.seed_orders(40)
    made = request_json(shop, "POST", "/orders", simple_order())
    report = merchant.run()
    assert report.state is RunState.SUCCESS, merchant.rows("select message from quarantine")
    delivered = report.main.delivered
    assert delivered > 25
    assert merchant.rows("select distinct state, outcome from delivery") == [("confirmed", "unknown")]

    program = CONNECTIONS[name][1]()
    desk = SalesDesk(merchant.exchange, program)
    assert desk.step() and desk.unreadable == []
    sold = [document for document in program.documents if document.kind == "order"]
    assert len(sold) == delivered == len({document.web for document in sold})
    totals: dict[str, Decimal] = dict(merchant.rows("select number, total from sales_order"))
    assert {d.web: d.total for d in sold} == {d.web: totals[d.web] for d in sold}
    given_back = {d.web: d.total for d in program.documents if d.kind == "credit_note"}
    refunds = merchant.rows("select number, amount from refund")
    assert given_back == {f"AV{number}": amount for number, amount in refunds}
    (mine,) = [document for document in program.documents if document.web == str(made["number"])]
    assert mine.total == Decimal(made["total"])
    # Ciel's layout has no place for what was paid.
    assert mine.deposit == (0 if name == "ciel" else mine.total)
    assert program.reserved["MUG-001"] >= 2

    assert merchant.run().acknowledged == delivered + len(given_back)
    assert merchant.rows("select distinct state, outcome from delivery") == [("confirmed", "accepted")]
    again = merchant.run(full=True)
    assert again.main.delivered == 0 and desk.waiting() == []


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_refund_and_its_customer_reach_the_back_office_after_their_order(
    make_merchant: Callable[..., Merchant], name: str
) -> None:
    merchant = merchant_of(make_merchant, name)
    (merchant.folder / "client.txt").write_bytes(CARD_EXPORT)
    merchant.edit_config(SETTINGS, 'default_customer = "WEBDIVERS"\n' + CARDS.get(name, ""))
    text = '\n[routes.customers]\nentity = "customer"\nfrom = "boutique"\nto = ["sage"]\n'
    merchant.config.write_text(merchant.config.read_text(encoding="utf-8") + text, encoding="utf-8")
    shop = merchant.shop()
    for known in request_json(shop, "GET", "/customers?per_page=100&role=all"):
        request_json(shop, "DELETE", f"/customers/{known['id']}?force=true&reassign=0")
    buyer = request_json(
        shop, "POST", "/customers", {"email": "jeanne@example.test", "first_name": "Jeanne", "last_name": "Martin"}
    )
    made = request_json(shop, "POST", "/orders", simple_order() | {"customer_id": buyer["id"]})
    given_back = request_json(shop, "POST", f"/orders/{made['id']}/refunds", {"amount": "3.00", "api_refund": False})
    for route in ("customers", "orders"):
        report = merchant.run(route)
        assert report.state is RunState.SUCCESS, merchant.rows("select message, hint from quarantine")
    program = CONNECTIONS[name][1](customers=set())
    desk = SalesDesk(merchant.exchange, program)
    assert [file.split("_")[0] for file in desk.step()] == ["CLIENTS", "COMMANDES", "AVOIRS"]
    assert desk.unreadable == [] and [outcome.refused for outcome in program.outcomes] == [[], [], []]
    order, note = program.documents
    assert (note.kind, note.web, note.total) == ("credit_note", f"AV{given_back['id']}", Decimal("3.00"))
    assert note.customer == order.customer == next(iter(program.cards))
    for route in ("customers", "orders"):
        merchant.run(route)
    assert set(merchant.rows("select entity, outcome from delivery")) == {
        (entity, "accepted") for entity in ("customer", "order", "refund")
    }


def test_a_refund_that_the_back_office_takes_no_credit_note_of_is_told(
    make_merchant: Callable[..., Merchant],
) -> None:
    merchant = merchant_of(make_merchant, "ciel")
    shop = merchant.shop()

    def takes_none(hub: Hub) -> None:
        link = hub.links["sage"]
        kept = {entity: c for entity, c in link.manifest.entities.items() if entity is not EntityName.REFUND}
        hub.links = {**hub.links, "sage": replace(link, manifest=link.manifest.model_copy(update={"entities": kept}))}

    paid, unpaid = (request_json(shop, "POST", "/orders", simple_order() | {"set_paid": p}) for p in (True, False))
    for order in (paid, unpaid):
        request_json(shop, "POST", f"/orders/{order['id']}/refunds", {"amount": "3.00", "api_refund": False})
    for _ in range(2):
        merchant.run(change=takes_none)
    ((message, hint),) = merchant.rows("select message, hint from quarantine")
    assert f"of order {paid['number']} (3.00 EUR): sage books this sale and takes no credit notes" in message
    assert hint == "Enter the credit note in sage by hand, then resolve this."
    with merchant.hub() as hub:
        takes_none(hub)
        with hub.database.transaction() as session:
            (parked,) = Quarantine(session).open()
        assert "sage takes no refund" in replay(hub, parked, RunReport(parked.id, "orders", EntityName.ORDER))
    assert merchant.rows("select distinct entity from delivery") == [("order",)]


def test_a_refused_order_waits_for_a_person_and_the_others_are_accepted(make_merchant: Callable[..., Merchant]) -> None:
    merchant = merchant_of(make_merchant, "chen")
    shop = merchant.shop()
    good, bad = (request_json(shop, "POST", "/orders", simple_order()) for _ in range(2))
    merchant.run()
    program = SageGescom(refuse={str(bad["number"]): "article MUG-001 en sommeil"})
    SalesDesk(merchant.exchange, program).step()
    merchant.run()
    assert [document.web for document in program.documents] == [str(good["number"])]
    (message,) = merchant.rows("select message from quarantine where state = 'open'")[0]
    assert "article MUG-001 en sommeil" in message


def test_sales_that_the_back_office_books_are_booked_by_nobody_else(make_merchant: Callable[..., Merchant]) -> None:
    merchant = merchant_of(make_merchant, "chen")
    merchant.shop()
    merchant.edit_config('invoicing = "sage"', 'invoicing = "self"')
    with pytest.raises(ConfigError, match="sage books every order it is given"):
        merchant.run()
    merchant.edit_config('invoicing = "self"', 'invoicing = "sage"')
    text = '\n[routes.books]\nentity = "journal_entry"\nfrom = "hub"\nto = ["sage"]\n'
    merchant.config.write_text(merchant.config.read_text(encoding="utf-8") + text, encoding="utf-8")
    with pytest.raises(ConfigError, match="entries of the hub would book each of them twice"):
        merchant.run()
