"""Writing to a Vendure shop: what is sent and what is not, stock beside open orders, one bad row among good ones."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from comptoir.mapping import load_mapping
from comptoir.model.item import Item
from comptoir.model.stock import StockLevel
from comptoir.sdk import Change, ChangeResult, ConfigError, ContractViolation, Credentials, EntityName, OutcomeUnknown
from comptoir.testing import ScriptedTransport, connector_context, ok
from comptoir_vendure.client import VendureClient
from comptoir_vendure.config import VendureConfig
from comptoir_vendure.writing import Writer, price_text

from tests.support.vendure import CONTEXT, MAPPINGS
from tests.unit.test_vendure_connector import Shop

_LOGGED_IN = ok({"data": {"login": {"__typename": "CurrentUser", "id": "1"}}}, headers={"vendure-auth-token": "t" * 9})
ITEM, STOCK = EntityName.ITEM, EntityName.STOCK


def write(shop: Shop, entity: EntityName, *changes: tuple[str, dict[str, Any]]) -> dict[str, ChangeResult]:
    """Writes in the calls that the connector makes; the results by id."""
    made = [Change(number, None, fields) for number, fields in changes]
    results = [r for call in shop.connector.calls(entity, made) for r in shop.connector.update(entity, call)]
    assert [result.external_id for result in results] == [number for number, _ in changes]
    return {result.external_id: result for result in results}


def mutations(shop: Shop) -> list[list[dict[str, Any]]]:
    """What was sent to be written, call by call."""
    return [body["variables"]["input"] for body in shop.sent if "SetVariants" in body["query"]]


# --- prices, names, SKUs ----------------------------------------------------------------------------------------


def test_only_what_is_given_is_sent() -> None:
    shop = Shop()
    results = write(shop, ITEM, ("1", {"price": "7.20"}), ("2", {"sku": "THE-2", "name": "Thé blanc"}))
    assert {r.outcome for r in results.values()} == {"accepted"}
    assert mutations(shop) == [
        [
            {"id": "1", "price": 720},
            {"id": "2", "sku": "THE-2", "translations": [{"languageCode": "en", "name": "Thé blanc"}]},
        ]
    ]
    assert [results[number].shown for number in "12"] == [{"price": "7.20"}, {"sku": "THE-2", "name": "Thé blanc"}]


@pytest.mark.parametrize(
    ("price", "units"),
    [("0.00", 0), ("0.01", 1), ("19.90", 1990), ("21474836.47", 2_147_483_647), ("1234567.8", 123456780)],
)
def test_prices_arrive_to_the_cent(price: str, units: int) -> None:
    shop = Shop()
    (result,) = write(shop, ITEM, ("1", {"price": price})).values()
    assert result.outcome == "accepted"
    assert shop.box.goods.variants["1"]["price"] == units
    assert Decimal(result.shown["price"]) == Decimal(price)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"price": "-1.00"}, "price", "is no price"),
        ({"price": "douze"}, "price", "is no price"),
        ({"price": "1e3"}, "price", "is no price"),
        ({"price": 12}, "price", "is no price"),
        ({"price": "12.345"}, "price", "has 2 decimals"),
        ({"price": "21474836.48"}, "price", r"more than the shop can keep \(21474836.47\)"),
        ({"sku": ""}, "sku", "is empty"),
        ({"sku": "   "}, "sku", "is empty"),
        ({"name": "x" * 256}, "name", "256 signs"),
        ({"stockOnHand": 3}, "stockOnHand", "no key that is written"),
        ({}, "", "nothing to write"),
    ],
)
def test_what_vendure_would_keep_although_it_means_nothing_is_not_sent(
    fields: dict[str, Any], field: str, words: str
) -> None:
    shop = Shop()
    results = write(shop, ITEM, ("1", fields), ("2", {"price": "9.00"}))
    refused = results["1"]
    assert (refused.outcome, refused.field) == ("rejected", field)
    assert refused.hint
    assert re.search(words, refused.reason or "")
    assert results["2"].outcome == "accepted"
    assert [[row["id"] for row in call] for call in mutations(shop)] == [["2"]]


def test_a_variant_that_is_gone_spoils_no_other() -> None:
    shop = Shop()
    results = write(shop, ITEM, ("1", {"price": "7.20"}), ("77", {"price": "1.00"}), ("3", {"price": "15.00"}))
    assert {number: r.outcome for number, r in results.items()} == {"1": "accepted", "77": "gone", "3": "accepted"}
    assert [[row["id"] for row in call] for call in mutations(shop)] == [["1", "77", "3"], ["1", "3"]]


def test_one_refused_variant_of_a_hundred_is_found() -> None:
    shop = Shop()
    numbers = [shop.box.goods.variant("1", f"N-{n}", "Neuf", 100) for n in range(100)]
    shop.box.goods.refuses[numbers[63]] = "maintained by the supplier plugin"
    results = write(shop, ITEM, *((number, {"price": "2.00"}) for number in numbers))
    refused = {number: r for number, r in results.items() if r.outcome != "accepted"}
    assert list(refused) == [numbers[63]]
    assert "maintained by the supplier plugin" in (refused[numbers[63]].reason or "")
    assert len(mutations(shop)) <= 15


def test_a_shop_that_refuses_everything_is_not_asked_for_ever() -> None:
    shop = Shop()
    numbers = [shop.box.goods.variant("1", f"N-{n}", "Neuf", 100) for n in range(100)]
    shop.box.goods.refuses |= dict.fromkeys(numbers, "read only")
    results = write(shop, ITEM, *((number, {"price": "2.00"}) for number in numbers))
    assert {r.outcome for r in results.values()} == {"rejected"}
    assert len(mutations(shop)) <= 34


def test_an_answer_about_other_records_is_unknown() -> None:
    for answer in ([], [{"id": "2"}], [{"id": "1"}, {"id": "2"}], None, "done"):
        transport = ScriptedTransport([_LOGGED_IN, ok({"data": {"updateProductVariants": answer}})])
        with pytest.raises(OutcomeUnknown):
            _writer(transport).update(ITEM, [Change("1", None, {"price": "1.00"})])


def _writer(transport: ScriptedTransport) -> Writer:
    credentials = Credentials(host="https://shop.test", login="hub", password="a-password-91c2")
    ctx = connector_context(transport=transport, credentials=credentials)
    facts = {"precision": 2, "currency": "EUR", "language": "en", "counts_stock": True}
    return Writer(VendureClient(VendureConfig(), ctx), VendureConfig(), ctx, lambda: facts)


def test_a_shop_that_shows_another_price_than_it_was_sent_is_not_believed() -> None:
    for prices, shown in (
        ([{"currencyCode": "EUR", "price": 99}], "0.99"),
        ([], None),
        ([{"currencyCode": "USD"}], None),
    ):
        answer = {"data": {"updateProductVariants": [{"id": "1", "prices": prices}]}}
        (result,) = _writer(ScriptedTransport([_LOGGED_IN, ok(answer)])).update(
            ITEM, [Change("1", None, {"price": "1.00"})]
        )
        assert result.shown == {"price": shown}


# --- stock ------------------------------------------------------------------------------------------------------


def test_what_open_orders_hold_is_added_to_what_can_be_sold() -> None:
    shop = Shop()
    shop.box.sales.place(shop.box.sales.cart({"3": 4}))
    (result,) = write(shop, STOCK, ("3", {"saleable": 10})).values()
    level = shop.box.goods.variants["3"]["levels"]["1"]
    assert (level["stockOnHand"], level["stockAllocated"]) == (14, 4)
    assert (result.outcome, result.shown) == ("accepted", {"saleable": 10})


def test_an_order_between_reading_and_writing_is_no_other_value() -> None:
    shop = Shop()
    update = shop.box.goods.update

    def sold_meanwhile(inputs: Any) -> Any:
        shop.box.sales.place(shop.box.sales.cart({"3": 2}))
        return update(inputs)

    shop.box.goods.update = sold_meanwhile  # type: ignore[method-assign]
    (result,) = write(shop, STOCK, ("3", {"saleable": 10})).values()
    level = shop.box.goods.variants["3"]["levels"]["1"]
    assert level["stockOnHand"] - level["stockAllocated"] == 8  # what it sold is taken off, as it should be
    assert result.shown == {"saleable": 10}


def test_stock_begins_to_be_counted_where_it_was_not() -> None:
    shop = Shop()
    shop.box.goods.edit("2", trackInventory="FALSE")
    write(shop, STOCK, ("1", {"saleable": 5}), ("2", {"saleable": 6}))
    ((first, second),) = mutations(shop)
    assert "trackInventory" not in first
    assert second["trackInventory"] == "TRUE"


def test_stock_of_a_variant_that_is_gone() -> None:
    shop = Shop()
    results = write(shop, STOCK, ("1", {"saleable": 5}), ("77", {"saleable": 6}))
    assert {number: r.outcome for number, r in results.items()} == {"1": "accepted", "77": "gone"}


@pytest.mark.parametrize("value", [3.7, "3", True, 2**31, None])
def test_what_is_no_quantity_is_not_sent(value: Any) -> None:
    shop = Shop()
    (result,) = write(shop, STOCK, ("1", {"saleable": value})).values()
    assert (result.outcome, result.field) == ("rejected", "saleable")
    assert mutations(shop) == []


def test_stock_goes_to_the_chosen_place() -> None:
    shop = Shop(stock_location="Entrepôt")
    shop.box.goods.places["2"] = "Entrepôt"
    write(shop, STOCK, ("1", {"saleable": 5}))
    levels = shop.box.goods.variants["1"]["levels"]
    assert (levels["1"]["stockOnHand"], levels["2"]["stockOnHand"]) == (50, 5)


def test_no_place_is_guessed() -> None:
    shop = Shop()
    shop.box.goods.places["2"] = "Entrepôt"
    with pytest.raises(ConfigError, match="several places of stock: Default Stock Location, Entrepôt") as caught:
        write(shop, STOCK, ("1", {"saleable": 5}))
    assert caught.value.field == "stock_location"
    assert mutations(shop) == []


# --- calls and mappings -----------------------------------------------------------------------------------------


def test_calls_hold_at_most_the_batch_and_each_record_once() -> None:
    shop = Shop(batch_size=10)
    changes = [Change(str(n), None, {"price": "1.00"}) for n in range(25)]
    assert [len(call) for call in shop.connector.calls(ITEM, changes)] == [10, 10, 5]
    with pytest.raises(ContractViolation, match="changed twice"):
        shop.connector.calls(ITEM, [changes[0], changes[0]])
    with pytest.raises(ContractViolation):
        shop.connector.update(EntityName.CUSTOMER, changes[:1])


def test_what_is_read_and_written_again_is_the_same() -> None:
    """The items of the sandbox through `item.in` and `item.out`: nothing differs, so nothing would be written."""
    shop = Shop(gtin_field="ean")
    read, written = (load_mapping("vendure", "item", way, [MAPPINGS]) for way in ("in", "out"))
    for raw in shop.pull(ITEM):
        item = read.to_model(raw.payload, CONTEXT, parent=raw.parent)
        assert isinstance(item, Item)
        fields = {
            key: value for key, value in written.apply(item, CONTEXT, creating=False).items() if value is not None
        }
        (result,) = write(shop, ITEM, (raw.external_id, fields)).values()
        assert (result.outcome, result.shown) == ("accepted", fields)


def test_only_a_price_of_the_shops_own_currency_and_basis_is_written() -> None:
    mapping = load_mapping("vendure", "item", "out", [MAPPINGS])
    prices = [
        {"price_list": "regular", "amount": "10", "currency": "EUR", "basis": "excl"},
        {"price_list": "regular", "amount": "12", "currency": "EUR", "basis": "incl"},
        {"price_list": "regular", "amount": "11", "currency": "CHF", "basis": "incl"},
    ]
    item = Item.model_validate({"external_id": "1", "name": "x", "prices": prices})

    def price(**settings: Any) -> Any:
        return mapping.apply(item, CONTEXT | settings)["price"]

    assert price(**{"config.currency": "EUR", "config.prices_include_tax": True}) == "12.00"
    assert price(**{"config.currency": "EUR", "config.prices_include_tax": False}) == "10.00"
    assert price() is None  # three prices, and nothing says which


def test_stock_is_written_in_whole_pieces() -> None:
    mapping = load_mapping("vendure", "stock", "out", [MAPPINGS])
    level = StockLevel(external_id="-", item_id="-", on_hand=Decimal("5.0"))
    assert mapping.apply(level, CONTEXT) == {"saleable": 5}
    with pytest.raises(Exception, match="no whole number"):
        mapping.apply(level.model_copy(update={"on_hand": Decimal("5.5")}), CONTEXT)


@pytest.mark.parametrize(
    ("amount", "text"), [("6.9", "6.90"), ("6.900", "6.90"), ("6.905", "6.905"), ("1E+2", "100.00"), ("0", "0.00")]
)
def test_one_price_has_one_form(amount: str, text: str) -> None:
    assert price_text(Decimal(amount)) == text
