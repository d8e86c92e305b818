"""What is written of items and customers: the way back to the shop's own values, forms, and what is never sent."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir.errors import MappingError
from comptoir.mapping import load_mapping
from comptoir.model.item import Item, Price
from comptoir.model.money import PriceBasis
from comptoir.model.parties import Consent, ConsentState, Customer
from comptoir.model.stock import StockLevel
from comptoir.sdk import EntityName
from comptoir_woocommerce.connector import WooCommerceConnector
from comptoir_woocommerce.values import Unfit, body, price_text, shown

from tests.support.woocommerce import CONTEXT, MAPPINGS, VERSIONS, exchange, parent_of, records

ITEM_IN, ITEM_OUT = (load_mapping("woocommerce", "item", way, [MAPPINGS]) for way in ("in", "out"))
CUSTOMER_IN, CUSTOMER_OUT = (load_mapping("woocommerce", "customer", way, [MAPPINGS]) for way in ("in", "out"))
STOCK_OUT = load_mapping("woocommerce", "stock", "out", [MAPPINGS])
ITEM_KEYS = ("name", "sku", "global_unique_id", "regular_price")


def recorded(entity: str) -> list[Any]:
    return [
        pytest.param(record, parent_of(version, entity, request, record), id=f"{version}-{name}")
        for version in VERSIONS
        for name, request, record in records(version, entity)
    ]


def item_payload(item: Item, **context: Any) -> dict[str, Any]:
    return ITEM_OUT.apply(item, {**CONTEXT, **context}, creating=False)


def item(**fields: Any) -> Item:
    return Item.model_validate({"external_id": "1", "name": "Sel & poivre", **fields})


def price(amount: str, **fields: Any) -> Price:
    given = {"price_list": "regular", "currency": "EUR", "basis": "incl", "amount": Decimal(amount), **fields}
    return Price.model_validate(given)


# --- the way back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("record", "parent"), recorded("item"))
def test_in_and_out_again_gives_the_shops_own_values(record: dict[str, Any], parent: dict[str, Any]) -> None:
    made = item_payload(ITEM_IN.to_model(record, CONTEXT, parent=parent))  # type: ignore[arg-type]
    # Only what stands under /variations is one: the list by SKU gives variations in a product's form (recorded).
    variation = "name" not in record or record.get("parent_id") == parent.get("id", -1)
    for key in ITEM_KEYS:
        own = record.get(key) or None
        if key == "name" and variation:
            own = None
        assert made[key] == (None if own is None else shown(key, own)), key
    if record["regular_price"]:
        assert Decimal(made["regular_price"]) == Decimal(record["regular_price"])
    text = record["regular_price"]
    if "." in text and len(text.rpartition(".")[2]) >= 2 and not text.endswith("0"):
        assert made["regular_price"] == text


@pytest.mark.parametrize(("record", "parent"), recorded("customer"))
def test_a_customer_in_and_out_again(record: dict[str, Any], parent: None) -> None:
    made = CUSTOMER_OUT.apply(CUSTOMER_IN.to_model(record, CONTEXT), CONTEXT)
    said = {key: value for key, value in made.items() if value is not None}
    assert said["email"] == record["email"]
    assert said.get("phone", "") == record["billing"].get("phone", "")
    for name in ("first_name", "last_name"):
        # An account without a name is known by that of its bill.
        assert said.get(name, "") == (record[name] or record["billing"][name])
    for role, hidden in (("billing", {"phone"}), ("shipping", set())):
        own = {name: part for name, part in record[role].items() if part and name not in hidden}
        assert said.get(role, {}) == own


def test_every_key_that_is_published_is_one_of_the_mapping_and_may_be_sent() -> None:
    made: dict[EntityName, AnyMapping[str, Any]] = {
        EntityName.ITEM: item_payload(item(sku="A", gtins=["3760123450017"], prices=[price("1")])),
        EntityName.STOCK: STOCK_OUT.apply(StockLevel(external_id="1", item_id="1", on_hand=Decimal(3)), CONTEXT),
        EntityName.CUSTOMER: CUSTOMER_OUT.apply(
            CUSTOMER_IN.to_model(exchange("11.0.1", "customer-create")["response"]["body"], CONTEXT), CONTEXT
        ),
    }
    for entity, capability in WooCommerceConnector.manifest.entities.items():
        keys = [key for published in capability.publishes.values() for key in published]
        assert len(keys) == len(set(keys)), "no key belongs to two fields"
        for key in keys:
            assert body(entity, {key: made[entity][key]}, variation=False)
        if entity in made:
            assert set(keys) == set(made[entity])


# --- forms ------------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(45)
@pytest.mark.parametrize(
    ("key", "said", "form"),
    [
        ("regular_price", "12.5", "12.50"),
        ("regular_price", "12.500", "12.50"),
        ("regular_price", 12.5, "12.50"),
        ("regular_price", "25", "25.00"),
        ("regular_price", "5.275", "5.275"),
        ("regular_price", "0", "0.00"),
        ("regular_price", "1E+2", "100.00"),
        ("regular_price", "", ""),
        ("regular_price", "sur demande", "sur demande"),
        ("stock_quantity", "5", 5),
        ("stock_quantity", 5.0, 5),
        ("stock_quantity", "5.000", 5),
        ("stock_quantity", -2, -2),
        ("stock_quantity", "2.50", "2.5"),
        ("stock_quantity", None, None),
        ("manage_stock", "parent", "parent"),
        ("name", "Sel &amp; poivre ", "Sel & poivre"),
        ("name", "E\u0301te\u0301", "Été"),
        ("billing", {"city": " Mâcon"}, {"city": "Mâcon"}),
    ],
)
def test_equal_values_have_one_form(key: str, said: Any, form: Any) -> None:
    assert shown(key, said) == form
    assert type(shown(key, said)) is type(form)


@given(st.decimals(min_value=0, max_value="99999999", places=6), st.integers(0, 4))
def test_a_price_has_one_text_however_many_zeros_it_came_with(amount: Decimal, zeros: int) -> None:
    text = price_text(amount)
    assert Decimal(text) == amount and len(text.rpartition(".")[2]) >= 2
    assert price_text(Decimal(f"{amount:f}{'0' * zeros}")) == text == shown("regular_price", text)
    assert not text.endswith("0") or len(text.rpartition(".")[2]) == 2
    assert body(EntityName.ITEM, {"regular_price": text}, variation=True) == {"regular_price": text}


@pytest.mark.failure_mode(33)
@pytest.mark.parametrize(
    ("prices", "settings", "wanted"),
    [
        ([price("9.90")], {}, "9.90"),
        ([price("9.9"), price("8", price_list="sale")], {}, "9.90"),
        ([price("9.9"), price("7", price_list="pro")], {}, "9.90"),
        ([price("7", price_list="public")], {}, "7.00"),
        ([price("7", price_list="public"), price("6", price_list="pro")], {}, None),
        ([price("7", price_list="public"), price("7.00", price_list="web")], {}, "7.00"),
        ([price("9", minimum_quantity=10)], {}, None),
        ([price("9", valid_from="2026-12-01")], {}, None),
        ([price("8", price_list="sale")], {}, None),
        ([price("8.25", basis="excl")], {"config.prices_include_tax": True}, None),
        ([price("8.25", basis="excl"), price("9.9")], {"config.prices_include_tax": True}, "9.90"),
        ([price("8.25", basis="excl"), price("9.9")], {"config.prices_include_tax": False}, "8.25"),
        ([price("8.25", basis="excl"), price("9.9")], {}, None),
        ([price("9.9")], {"config.currency": "CHF"}, None),
        ([], {}, None),
    ],
)
def test_the_regular_price_is_the_one_that_fits_or_none(prices: Any, settings: Any, wanted: str | None) -> None:
    assert item_payload(item(prices=prices), **settings)["regular_price"] == wanted


def test_price_bases_are_those_of_the_model() -> None:
    assert {basis.value for basis in PriceBasis} == {"incl", "excl"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gtin_is_published_to_shops_that_keep_one(version: str) -> None:
    record = exchange(version, "product-mug-get")["response"]["body"]
    known = ITEM_IN.to_model(record, CONTEXT, parent={"currency": "EUR", "prices_include_tax": True})
    assert isinstance(known, Item)
    wanted = known.model_copy(update={"gtins": ("3760123459997",)})
    assert item_payload(wanted)["global_unique_id"] == ("3760123459997" if version == "11.0.1" else None)
    assert item_payload(item(gtins=["3760123459997"]))["global_unique_id"] == "3760123459997", "of another platform"


def test_a_variant_has_no_name_of_its_own_and_goods_are_not_said_to_be_virtual() -> None:
    assert item_payload(item())["name"] == "Sel & poivre"
    assert item_payload(item(product_id="7"))["name"] is None
    creating = [ITEM_OUT.apply(item(kind=kind), CONTEXT, creating=True)["virtual"] for kind in ("stock", "service")]
    assert creating == [None, True]
    assert "virtual" not in item_payload(item(kind="service"))


@pytest.mark.failure_mode(43)
def test_a_fraction_is_never_cut_in_silence() -> None:
    level = StockLevel(external_id="1", item_id="1", on_hand=Decimal("3.7"))
    with pytest.raises(MappingError, match=r"3\.7 is no whole number"):
        STOCK_OUT.apply(level, CONTEXT)
    assert STOCK_OUT.apply(level.model_copy(update={"on_hand": Decimal("3.000")}), CONTEXT) == {
        "stock_quantity": 3,
        "manage_stock": True,
    }
    assert WooCommerceConnector.manifest.limits.integer_quantities
    with pytest.raises(Unfit, match="no whole number"):
        body(EntityName.STOCK, {"stock_quantity": 3.7}, variation=False)


@pytest.mark.parametrize(
    ("entity", "fields", "key"),
    [
        ("item", {"regular_price": "douze"}, "regular_price"),
        ("item", {"regular_price": "-1"}, "regular_price"),
        ("item", {"regular_price": "NaN"}, "regular_price"),
        ("item", {"regular_price": True}, "regular_price"),
        ("item", {"regular_price": "1.12345678901"}, "regular_price"),
        ("item", {"name": ""}, "name"),
        ("item", {"name": "   "}, "name"),
        ("item", {"sku": 12}, "sku"),
        ("item", {"sku": "S" * 101}, "sku"),
        ("customer", {"email": f"{'a' * 96}@b.fr"}, "email"),
        ("item", {"id": 3}, "id"),
        ("item", {}, ""),
        ("item", {"name": None}, "name"),
        ("stock", {"stock_quantity": True}, "stock_quantity"),
        ("stock", {"stock_quantity": 2**40}, "stock_quantity"),
        ("stock", {"manage_stock": "parent"}, "manage_stock"),
        ("stock", {"regular_price": "1"}, "regular_price"),
        ("customer", {"email": "zoe"}, "email"),
        ("customer", {"email": "a@b.fr, c@d.fr"}, "email"),
        ("customer", {"billing": "Mâcon"}, "billing"),
        ("customer", {"billing": {"siret": "1"}}, "billing.siret"),
        ("customer", {"billing": {"city": ""}}, "city"),
        ("customer", {"role": "administrator"}, "role"),
        ("customer", {"password": "x"}, "password"),
    ],
)
def test_what_the_shop_would_misunderstand_is_not_sent(entity: str, fields: dict[str, Any], key: str) -> None:
    with pytest.raises(Unfit) as caught:
        body(EntityName(entity), fields, variation=False)
    assert caught.value.key == key and caught.value.hint
    assert "zoe" not in caught.value.reason


@pytest.mark.failure_mode(46)
@pytest.mark.parametrize("key", ["images", "image", "gallery_image_ids"])
def test_pictures_have_no_way_into_a_write(key: str) -> None:
    with pytest.raises(Unfit):
        body(EntityName.ITEM, {key: [{"src": "https://shop.example/a.jpg"}], "name": "x"}, variation=False)
    assert key not in item_payload(item())


# --- consent ----------------------------------------------------------------------------------------------------


@pytest.mark.failure_mode(76)
@pytest.mark.parametrize(
    ("value", "state"),
    [("1", "given"), (1, "given"), ("0", "refused"), (0, "refused"), ("pending", None), ("", None), ({"a": 1}, None),
     (True, None)],
)  # fmt: skip
def test_consent_is_what_a_known_plugin_says(value: Any, state: str | None) -> None:
    record = exchange("11.0.1", "customer-create")["response"]["body"]
    meta = [{"id": 1, "key": "mailchimp_woocommerce_is_subscribed", "value": value}]
    customer = CUSTOMER_IN.to_model({**record, "meta_data": meta}, CONTEXT)
    assert isinstance(customer, Customer)
    source = "mailchimp_woocommerce_is_subscribed"
    said = (
        []
        if state is None
        else [Consent(purpose="newsletter", channel="email", state=ConsentState(state), source=source)]
    )
    assert list(customer.consents) == said


def test_without_a_plugin_nothing_was_said_about_consent() -> None:
    for version in VERSIONS:
        for _, _, record in records(version, "customer"):
            customer = CUSTOMER_IN.to_model(record, CONTEXT)
            assert isinstance(customer, Customer) and customer.consents == ()
