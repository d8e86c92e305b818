"""The connector on a real Vendure: what is read, what its dates say, what is written, whom it lets in, a whole route.

Needs node and the packages (`python -m tests.support.vendure install`); says so where they are missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.app.system import SystemTransport
from comptoir.domain.totals import compute_totals
from comptoir.mapping import load_mapping
from comptoir.model.order import SalesOrder
from comptoir.model.refs import RunState
from comptoir.sdk import AuthError, Change, ConfigError, Credentials, EntityName, PullRequest, RawItem
from comptoir.store import embedded, schema
from comptoir.store.embedded import EmbeddedServer
from comptoir.testing import RecordingTransport, connector_context
from comptoir_vendure.config import VendureConfig
from comptoir_vendure.connector import VendureConnector

from tests.support import vendure
from tests.support.back_office import BackOffice
from tests.support.vendure import CONTEXT, MAPPINGS, SETTINGS, Merchant
from tests.support.vendure_merchant import VendureMerchant

WHY_NOT = vendure.missing()
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]


@pytest.fixture(scope="module")
def merchant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merchant]:
    """A furnished shop where the recorded day has happened."""
    with vendure.started(tmp_path_factory.mktemp("vendure")) as found:
        found.furnish()
        vendure.scenario(found)
        yield found


@pytest.fixture
def connector(merchant: Merchant) -> VendureConnector:
    return vendure.connector(merchant.base, page_rows=4)


def pull(connector: VendureConnector, entity: EntityName, since: datetime | None = None) -> list[RawItem]:
    return [item for page in connector.pull(PullRequest(entity, since)) for item in page.items]


# --- reading ----------------------------------------------------------------------------------------------------


def test_every_order_is_read_and_adds_up_to_the_cent(merchant: Merchant, connector: VendureConnector) -> None:
    mapping = load_mapping("vendure", "order", "in", [MAPPINGS])
    found = [item for item in pull(connector, EntityName.ORDER) if item.entity is EntityName.ORDER]
    count = merchant.admin("{ orders(options: { filter: { active: { eq: false } } }) { totalItems } }")
    assert len(found) == len({item.external_id for item in found}) == count["orders"]["totalItems"] >= 9
    for item in found:
        order = mapping.to_model(item.payload, CONTEXT, parent=item.parent)
        assert isinstance(order, SalesOrder)
        totals = compute_totals(order)
        assert (totals.residual, totals.tax_residual) == (0, 0), order.number


def test_a_bought_order_and_its_cancelled_piece_cost_the_same(merchant: Merchant, connector: VendureConnector) -> None:
    """Vendure forgets what a cancelled piece cost; what is read after the cancelling is what was read before it."""
    mapping = load_mapping("vendure", "order", "in", [MAPPINGS])

    def read(number: str) -> dict[str, Any]:
        (page,) = connector.fetch(EntityName.ORDER, [number])
        item = page.items[0]
        order = mapping.to_model(item.payload, CONTEXT, parent=item.parent)
        return order.model_dump(include={"lines", "charges", "totals", "payments"})

    for pieces, coupon in (({"MUG-003": 3, "CAF-001": 2}, ""), ({"CAF-001": 3, "THE-002": 1}, "BIENVENUE")):
        order = merchant.sell(pieces, mail="prix@example.test", **({"coupon": coupon} if coupon else {}))
        before = read(order["id"])
        merchant.cancel(order, {order["lines"][0]["id"]: 1})
        after = read(order["id"])
        assert after["totals"] | {"tax": 0} == before["totals"] | {"tax": 0}
        if not coupon:
            assert after == before


def test_everything_else_is_read_and_mapped(connector: VendureConnector) -> None:
    for entity, least in ((EntityName.CUSTOMER, 8), (EntityName.ITEM, 6), (EntityName.STOCK, 5)):
        mapping = load_mapping("vendure", entity.value, "in", [MAPPINGS])
        items = pull(connector, entity)
        assert len(items) == len({item.external_id for item in items}) >= least
        for item in items:
            mapping.to_model(item.payload, CONTEXT, parent=item.parent)


def test_check(connector: VendureConnector) -> None:
    report = connector.check()
    assert report.ok, [item for item in report.items if not item.ok]


# --- does the cursor lie? ---------------------------------------------------------------------------------------


class Dates:
    """`updatedAt` of everything, by kind and id."""

    def __init__(self, merchant: Merchant) -> None:
        self._merchant = merchant

    def __call__(self) -> dict[str, str]:
        found = self._merchant.admin(
            "{ productVariants(options: { take: 999 }) { items { id updatedAt } } products { items { id updatedAt } } "
            "orders(options: { take: 999 }) { items { id updatedAt lines { id updatedAt } } } "
            "customers { items { id updatedAt } } }"
        )
        dates = {f"{kind[:-1]} {row['id']}": row["updatedAt"] for kind in found for row in found[kind]["items"]}
        rows = [line for order in found["orders"]["items"] for line in order["lines"]]
        return dates | {f"line {line['id']}": line["updatedAt"] for line in rows}

    def moved(self, act: Callable[[], object]) -> set[str]:
        """Kinds whose date an act moves. Dates have whole seconds here."""
        before = self()
        time.sleep(1.1)
        act()
        return {name.split()[0] for name, date in self().items() if before.get(name, date) != date}


def test_what_moves_an_orders_date(merchant: Merchant, connector: VendureConnector) -> None:
    """The table in the connector's README. What does not move the order is seen all the same."""
    dates = Dates(merchant)
    shop = merchant.cart({"MUG-003": 3}, mail="dates@example.test")
    time.sleep(1.1)
    since = datetime.now(UTC)
    placed: list[dict[str, Any]] = []
    # Placing an order is the worst of all: nothing that could be asked for says when it happened, but orderPlacedAt.
    assert "order" not in dates.moved(lambda: placed.append(merchant.place_order(shop)))
    (order,) = placed
    line = order["lines"][0]["id"]

    def seen() -> dict[str, Any]:
        return {item.external_id: item.payload for item in pull(connector, EntityName.ORDER, since)}[order["id"]]

    assert seen()["state"] == "PaymentSettled"
    assert "order" not in dates.moved(lambda: merchant.refund(order, pieces={line: 1}))
    assert seen()["payments"][0]["refunds"][0]["state"] == "Settled"
    assert "order" in dates.moved(lambda: merchant.cancel(order, {line: 1}))
    left = merchant.order(order["id"])
    assert "order" not in dates.moved(lambda: merchant.ship(left))
    assert seen()["state"] == "Shipped"


def test_what_moves_a_variants_date(merchant: Merchant, connector: VendureConnector) -> None:
    dates, number = Dates(merchant), merchant.variants["THE-002"]
    product = merchant.admin("query($i: ID!) { productVariant(id: $i) { productId } }", i=number)["productVariant"]
    rename = "mutation($i: UpdateProductInput!) { updateProduct(input: $i) { id } }"
    assert "productVariant" in dates.moved(lambda: merchant.set_variant("THE-002", on_hand=49))
    assert "productVariant" in dates.moved(lambda: merchant.set_variant("THE-002", price=860))
    assert dates.moved(lambda: merchant.sell({"THE-002": 1})) & {"productVariant", "product"} == set()
    time.sleep(2)
    since = datetime.now(UTC)
    assert number not in {item.external_id for item in pull(connector, EntityName.ITEM, since)}
    moved = dates.moved(lambda: merchant.admin(rename, i={"id": product["productId"], "enabled": False}))
    assert moved == {"product"}
    assert number in {item.external_id for item in pull(connector, EntityName.ITEM, since)}
    merchant.admin(rename, i={"id": product["productId"], "enabled": True})


def test_what_moves_a_customers_date(merchant: Merchant) -> None:
    dates = Dates(merchant)
    customer = merchant.admin("{ customers { items { id addresses { id } } } }")["customers"]["items"]
    with_address = next(row for row in customer if row["addresses"])
    edit = "mutation($i: UpdateAddressInput!) { updateCustomerAddress(input: $i) { id } }"
    act = {"id": with_address["addresses"][0]["id"], "city": "Vannes"}
    assert "customer" not in dates.moved(lambda: merchant.admin(edit, i=act))
    rename = "updateCustomer(input: $i)"
    moved = dates.moved(
        lambda: merchant.admin.change("$i: UpdateCustomerInput!", rename, i={"id": with_address["id"], "title": "Mme"})
    )
    assert "customer" in moved


# --- writing ----------------------------------------------------------------------------------------------------


def test_only_what_is_written_changes(merchant: Merchant, connector: VendureConnector) -> None:
    number, before = merchant.variants["CAF-001"], merchant.variant("CAF-001")
    change = Change(number, None, {"price": "7.25"})
    for _ in range(2):
        (result,) = connector.update(EntityName.ITEM, [change])
        assert (result.outcome, result.shown) == ("accepted", {"price": "7.25"})
        after = merchant.variant("CAF-001")
        assert after == before | {"prices": [{"currencyCode": "EUR", "price": 725}]}


def test_stock_is_what_can_be_sold(merchant: Merchant, connector: VendureConnector) -> None:
    merchant.sell({"TSH-M": 2}, mail="stock@example.test")
    number = merchant.variants["TSH-M"]
    (result,) = connector.update(EntityName.STOCK, [Change(number, None, {"saleable": 12})])
    assert (result.outcome, result.shown) == ("accepted", {"saleable": 12})
    (level,) = merchant.variant("TSH-M")["stockLevels"]
    assert level["stockAllocated"] >= 2
    assert level["stockOnHand"] - level["stockAllocated"] == 12
    mapping = load_mapping("vendure", "item", "in", [MAPPINGS])
    (page,) = connector.fetch(EntityName.ITEM, [number])
    item = mapping.to_model(page.items[0].payload, CONTEXT, parent=page.items[0].parent)
    assert item.model_dump()["source_stock"] == Decimal(12)


def test_a_variant_that_is_gone_spoils_no_other(merchant: Merchant, connector: VendureConnector) -> None:
    gone = merchant.product(f"GONE-{time.time_ns()}", "Parti", 100, "Normal")
    merchant.admin("mutation($i: ID!) { deleteProductVariant(id: $i) { result } }", i=gone)
    good = merchant.variants["MUG-003"]
    changes = [Change(gone, None, {"price": "1.00"}), Change(good, None, {"price": "14.50"})]
    results = {r.external_id: r.outcome for r in connector.update(EntityName.ITEM, changes)}
    assert results == {gone: "gone", good: "accepted"}
    assert merchant.variant("MUG-003")["prices"] == [{"currencyCode": "EUR", "price": 1450}]


# --- whom it lets in --------------------------------------------------------------------------------------------


def test_a_session_that_has_ended_is_opened_again(merchant: Merchant) -> None:
    transport = RecordingTransport(SystemTransport())
    connector = vendure.connector(merchant.base, transport)
    pull(connector, EntityName.CUSTOMER)
    bearer = transport.requests[-1].headers["Authorization"]
    caller = vendure.Caller(merchant.base, "admin-api")
    caller._token = bearer.removeprefix("Bearer ")
    caller("mutation { logout { success } }")
    merchant.log_in()  # a logout ends every session of its user, the merchant's too
    assert pull(connector, EntityName.CUSTOMER)
    assert transport.requests[-1].headers["Authorization"] not in ("", bearer)


def test_a_wrong_password_is_said(merchant: Merchant) -> None:
    ctx = connector_context(
        transport=SystemTransport(), credentials=Credentials(host=merchant.base, login="superadmin", password="wrong")
    )
    with pytest.raises(AuthError, match="credentials are invalid"):
        pull(VendureConnector(VendureConfig(), ctx), EntityName.ITEM)


def test_an_account_with_few_rights_and_an_api_key(merchant: Merchant) -> None:
    role = merchant.admin(
        "mutation($i: CreateRoleInput!) { createRole(input: $i) { id } }",
        i={"code": f"hub-{time.time_ns()}", "description": "hub", "permissions": ["ReadOrder", "ReadCatalog"]},
    )["createRole"]["id"]
    names = {"firstName": "Hub", "lastName": "Comptoir", "emailAddress": f"hub{time.time_ns()}@example.test"}
    merchant.admin(
        "mutation($i: CreateAdministratorInput!) { createAdministrator(input: $i) { id } }",
        i={**names, "password": "test-only-password-3", "roleIds": [role]},
    )
    login = Credentials(host=merchant.base, login=names["emailAddress"], password="test-only-password-3")
    connector = VendureConnector(
        VendureConfig(**SETTINGS), connector_context(transport=SystemTransport(), credentials=login)
    )
    found = {item.name: item.ok for item in connector.check().items}
    assert found["rights to read orders"] and found["rights to read productVariants"]
    assert not found["rights to read customers"]
    with pytest.raises(AuthError, match="not currently authorized"):
        pull(connector, EntityName.CUSTOMER)
    (refused,) = _outcomes(lambda: connector.update(EntityName.ITEM, [Change("1", None, {"price": "1.00"})]))
    assert refused is AuthError

    made = merchant.admin(
        "mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { apiKey } }",
        i={"roleIds": [role], "translations": [{"languageCode": "en", "name": "hub"}]},
    )["createApiKey"]["apiKey"]
    by_key = Credentials(host=merchant.base, extra={"api_key": made})
    connector = VendureConnector(
        VendureConfig(**SETTINGS), connector_context(transport=SystemTransport(), credentials=by_key)
    )
    assert pull(connector, EntityName.ORDER)


def _outcomes(work: Callable[[], Any]) -> list[type]:
    try:
        return [type(result) for result in work()]
    except AuthError as error:
        return [type(error)]


def test_another_channels_token(merchant: Merchant) -> None:
    with pytest.raises(ConfigError, match="no channel with the token"):
        pull(vendure.connector(merchant.base, channel="not-a-channel"), EntityName.ITEM)


# --- a whole route ----------------------------------------------------------------------------------------------


def test_a_route_runs(merchant: Merchant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders to the back office, prices and stock back: once, and then nothing more to do."""
    credentials = Credentials(host=merchant.base, login=vendure.LOGIN, password=vendure.PASSWORD)
    home = tmp_path / "store"
    home.mkdir()
    with EmbeddedServer.acquire(home) as server:
        server.ensure_database("route")
        schema.upgrade(server.url("route"))
        monkeypatch.setenv("COMPTOIR_DATABASE_URL", server.url("route"))
        hub = VendureMerchant(tmp_path, schema.plain_url(server.url("route")), credentials)
        office = BackOffice(hub.exchange)
        office.item("CAF-001", "Café moulu 250 g", "6.64", "7.00", stock=44)
        office.export()
        first = hub.run("orders")
        assert first.state is RunState.SUCCESS, first.as_dict()
        assert first.main.quarantined == 0
        assert first.main.delivered >= 6
        assert hub.value("select sum(abs(residual)) from sales_order") == 0
        again = hub.run("orders")
        assert again.main.considered == again.main.unchanged
        for route in ("items", "stock"):
            assert hub.run(route).state is RunState.SUCCESS
        variant = merchant.variant("CAF-001")
        assert variant["prices"] == [{"currencyCode": "EUR", "price": 700}]
        (level,) = variant["stockLevels"]
        # What the back office counts, less what was sold and is not booked there: guest 2, coupon 3 (shipped, and EBP
        # does not know it), and two orders of the test of prices, 2 and 3.
        sold = hub.value("select sum(quantity) from order_line where sku = 'CAF-001'") - 1  # the cancelled order's
        assert level["stockAllocated"] > 0
        assert level["stockOnHand"] - level["stockAllocated"] == 44 - sold
        for route in ("items", "stock"):
            assert not hub.run(route).main.delivered
    embedded.remove(home)
