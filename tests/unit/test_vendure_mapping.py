"""Vendure's mappings: every recorded record, money to the cent, what is cancelled or given back, tax schemes."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.app.mappings import test_golden as run_golden
from comptoir.domain.totals import compute_refund_totals, compute_totals
from comptoir.errors import MappingError
from comptoir.mapping import load_mapping
from comptoir.model.item import Item
from comptoir.model.order import Refund, SalesOrder
from comptoir_vendure.connector import VendureConnector
from comptoir_vendure.sales import worth

from tests.support.vendure import CONTEXT, MAPPINGS
from tests.support.vendure_recording import records

RECORDS = records()
GOLDEN = MAPPINGS / "vendure" / "golden"
MAPPED = {entity: load_mapping("vendure", entity, "in", [MAPPINGS]) for entity in RECORDS}
#: Ids of the recorded orders, as `tests.support.vendure.scenario` makes them.
GUEST, COUPON, CANCELLED_PIECE, CHEQUE, GOODWILL, CANCELLED, MODIFIED, GERMANY, UNPAID_CANCELLED = "123456789"


def given(number: str, entity: str = "order") -> tuple[dict[str, Any], dict[str, Any]]:
    """A recorded record and its parent, to be changed."""
    (found,) = [item for item in RECORDS[entity] if item.external_id == number]
    return copy.deepcopy(dict(found.payload)), copy.deepcopy(dict(found.parent or {}))


def order_of(number: str, *, settings: dict[str, Any] | None = None, **changes: Any) -> SalesOrder:
    payload, parent = given(number)
    model = MAPPED["order"].to_model(payload | changes, CONTEXT | (settings or {}), parent=parent)
    assert isinstance(model, SalesOrder)
    return model


def refund_of(number: str, **changes: Any) -> Refund:
    payload, parent = given(number, "refund")
    model = MAPPED["refund"].to_model(payload | changes, CONTEXT, parent=parent)
    assert isinstance(model, Refund)
    return model


def golden(folder: str) -> list[Path]:
    return sorted((GOLDEN / folder).glob("*.in.json"))


# --- recorded ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entity", RECORDS)
def test_golden_records(entity: str) -> None:
    paths = golden(f"{entity}.in")
    assert len(paths) == len(RECORDS[entity])
    for path in paths:
        asked = json.loads(path.read_text(encoding="utf-8"))
        wanted = json.loads(path.with_name(path.name.replace(".in.json", ".out.json")).read_text(encoding="utf-8"))
        made = MAPPED[entity].to_model(asked["payload"], CONTEXT, parent=asked.get("parent"))
        assert made.model_dump(mode="json", exclude_defaults=True) == wanted, path.name


def test_golden_records_are_the_recorded_ones() -> None:
    for entity, items in RECORDS.items():
        for item in items:
            kept = json.loads((GOLDEN / f"{entity}.in" / f"{item.external_id}.in.json").read_text(encoding="utf-8"))
            assert kept["payload"] == item.payload


def test_golden_records_agree_for_a_merchant_who_has_set_nothing(tmp_path: Path) -> None:
    """As `comptoir map test` runs them, and with it whoever carries a configuration to production."""
    found = [row for row in run_golden(tmp_path / "comptoir.toml", None) if row["mapping"].startswith("vendure.")]
    assert len(found) == sum(len(items) for items in RECORDS.values()) + len(RECORDS["item"])
    assert [row for row in found if row["difference"]] == []


def test_golden_items_out() -> None:
    mapping = load_mapping("vendure", "item", "out", [MAPPINGS])
    paths = golden("item.out")
    assert len(paths) == len(RECORDS["item"])
    for path in paths:
        document = Item.model_validate_json(path.read_text(encoding="utf-8"))
        wanted = json.loads(path.with_name(path.name.replace(".in.json", ".out.json")).read_text(encoding="utf-8"))
        assert mapping.apply(document, CONTEXT, creating=False) == wanted


@pytest.mark.parametrize("item", RECORDS["order"], ids=lambda item: item.external_id)
def test_every_recorded_order_adds_up_to_the_cent(item: Any) -> None:
    order = order_of(item.external_id)
    totals = compute_totals(order)
    assert (totals.residual, totals.tax_residual, totals.cause) == (0, 0, None)
    for part in (*order.lines, *order.charges):
        assert sum((tax.amount for tax in part.taxes), Decimal(0)) == part.tax


def test_what_is_sold_less_what_is_given_back_is_what_vendure_still_charges() -> None:
    """For orders whose refunds are for what was cancelled; the goodwill of order 5 is no such refund."""
    for number in (CANCELLED_PIECE, CANCELLED):
        payload, _ = given(number)
        refunds = [refund_of(item.external_id) for item in RECORDS["refund"] if item.parent["id"] == number]  # type: ignore[index]
        back = sum((refund.amount for refund in refunds), Decimal(0))
        assert back
        assert order_of(number).totals.total - back == Decimal(payload["totalWithTax"]).scaleb(-2)


# --- what was cancelled -----------------------------------------------------------------------------------------


def test_a_cancelled_piece_that_was_paid_stays_in_the_sale() -> None:
    order = order_of(CANCELLED_PIECE)
    assert [(line.quantity, line.net + line.tax) for line in order.lines] == [(3, Decimal("42.00"))]
    assert (order.lines[0].net, order.lines[0].tax, order.totals.total) == (35, 7, Decimal("47.90"))
    refund = refund_of(order.refund_ids[0])
    assert [(line.sku, line.quantity, line.net + line.tax) for line in refund.lines] == [
        ("MUG-003", 1, Decimal("14.00"))
    ]


def test_a_cancelled_piece_that_was_never_paid_is_not_sold() -> None:
    order = order_of(UNPAID_CANCELLED)
    assert [line.quantity for line in order.lines] == [1]
    assert (order.totals.total, order.payments) == (Decimal("19.90"), ())


def test_a_line_that_was_cancelled_whole_before_it_was_paid_is_left_out() -> None:
    payload, _ = given(UNPAID_CANCELLED)
    line = payload["lines"][0] | {"quantity": 0, "linePrice": 0, "linePriceWithTax": 0, "proratedLinePrice": 0}
    order = order_of(UNPAID_CANCELLED, lines=[line | {"proratedLinePriceWithTax": 0}])
    assert order.lines == ()


def test_a_cancelled_order_keeps_its_sale_and_its_shipping_with_the_refund_of_both() -> None:
    order = order_of(CANCELLED)
    assert (order.fulfilment_state, order.payment_state) == ("cancelled", "refunded")
    assert [charge.net + charge.tax for charge in order.charges] == [Decimal("5.90")]
    assert order.discounts == ()
    refund = refund_of(order.refund_ids[0])
    assert compute_refund_totals(refund).cause is None
    assert [(charge.net, charge.tax, charge.taxes[0].rate) for charge in refund.charges] == [
        (Decimal("4.92"), Decimal("0.98"), Decimal(20))
    ]


def test_pieces_are_worth_what_vendure_itself_reckons() -> None:
    """Held to every recorded line, so that cancelled pieces come to what they cost when they were bought."""
    tried = 0
    for item in RECORDS["order"]:
        for line in item.payload["lines"]:
            for unit, whole in (("unitPrice", "linePrice"), ("proratedUnitPrice", "proratedLinePrice")):
                found = worth(line, line["quantity"], True, unit)
                assert found == (round(line[whole]), round(line[f"{whole}WithTax"])), (item.external_id, unit)
                tried += line["quantity"] > 1
    assert tried >= 10


def test_a_shared_discount_leaves_no_cent_between_what_was_paid_and_what_is_sold() -> None:
    payload, parent = given(COUPON)
    line = payload["lines"][0]
    assert (line["quantity"], line["proratedUnitPriceWithTax"]) == (3, 621)
    # As Vendure shows it when a piece is cancelled whose price has a third of a cent.
    one = {"quantity": 2, "proratedUnitPriceWithTax": 621, "proratedLinePriceWithTax": 1243, "proratedLinePrice": 1178}
    less = 1864 - 1243
    payload["lines"][0] = line | one
    payload["payments"][0]["amount"] += 1
    payload |= {"totalWithTax": payload["totalWithTax"] + 1 - less, "total": payload["total"] + 1 - 588}
    order = MAPPED["order"].to_model(payload, CONTEXT, parent=parent)
    assert isinstance(order, SalesOrder)
    assert compute_totals(order).residual == 0
    assert order.totals.total == order.payments[0].amount


# --- refunds ----------------------------------------------------------------------------------------------------


def test_a_refund_of_an_amount_has_no_lines() -> None:
    refund = refund_of("2")
    assert (refund.amount, refund.lines, refund.charges) == (Decimal("5.00"), (), ())
    assert compute_refund_totals(refund).cause == "amount_only"


def test_a_refund_of_another_sum_than_its_pieces_cost_has_no_lines() -> None:
    assert refund_of("1", items=1200, total=1200).lines == ()


def test_a_pending_refund_is_none_yet() -> None:
    payload, _ = given(GOODWILL)
    payload["payments"][0]["refunds"][0]["state"] = "Pending"
    order = order_of(GOODWILL, payments=payload["payments"])
    assert (order.refund_ids, order.payment_state) == ((), "paid")


# --- tax --------------------------------------------------------------------------------------------------------


def schemes(order: SalesOrder) -> set[tuple[str, str | None]]:
    return {(tax.scheme.value, tax.country) for part in (*order.lines, *order.charges) for tax in part.taxes}


def test_tax_of_a_sale_to_germany_is_ours_until_the_settings_say_oss() -> None:
    assert schemes(order_of(GERMANY)) == {("domestic", "FR")}
    assert schemes(order_of(GERMANY, settings={"config.oss": True})) == {("oss", "DE")}


def to(country: str, number: str = GUEST, *, untaxed: bool = False) -> dict[str, Any]:
    """Changes that send an order elsewhere, without tax."""
    payload, _ = given(number)
    found: dict[str, Any] = {"shippingAddress": payload["shippingAddress"] | {"countryCode": country}}
    if untaxed:
        for line in payload["lines"]:
            line |= {name + "WithTax": line[name] for name in ("unitPrice", "linePrice", "proratedUnitPrice")}
            line |= {"proratedLinePriceWithTax": line["proratedLinePrice"], "taxLines": []}
        (way,) = payload["shippingLines"]
        way |= {"discountedPriceWithTax": way["discountedPrice"]}
        found |= {"lines": payload["lines"], "shippingLines": [way], "customer": payload["customer"]}
    return found


def test_a_taxed_sale_to_a_third_country_waits_for_a_person() -> None:
    with pytest.raises(MappingError, match="tax was charged on a sale to CH") as caught:
        order_of(GUEST, **to("CH"))
    assert caught.value.field == "lines"


@pytest.mark.parametrize(
    ("country", "vat", "scheme", "category"),
    [
        ("CH", None, "export", "G"),
        ("DE", "DE123456789", "intra_eu", "K"),
        ("DE", None, "exempt", "E"),
        ("FR", None, "exempt", "E"),
        ("RE", "FR1", "exempt", "E"),
    ],
)
def test_untaxed_sales(country: str, vat: str | None, scheme: str, category: str) -> None:
    changes = to(country, untaxed=True)
    changes["customer"] = changes["customer"] | {"customFields": {"vatNumber": vat}}
    order = order_of(GUEST, **changes)
    found = {(tax.scheme.value, tax.category.value) for line in order.lines for tax in line.taxes}
    assert found == {(scheme, category)}


def test_two_rates_on_one_line_share_its_tax_exactly() -> None:
    payload, _ = given(GERMANY)
    line = payload["lines"][0] | {
        "taxLines": [{"description": "A", "taxRate": 13.3}, {"description": "B", "taxRate": 6.7}]
    }
    order = order_of(GERMANY, lines=[line])
    taxes = order.lines[0].taxes
    assert [tax.rate for tax in taxes] == [Decimal("13.3"), Decimal("6.7")]
    assert sum((tax.amount for tax in taxes), Decimal(0)) == order.lines[0].tax


def test_a_shipping_whose_tax_no_rate_gives_waits_for_a_person() -> None:
    payload, _ = given(GUEST)
    (way,) = payload["shippingLines"]
    with pytest.raises(MappingError, match="no rate of the order gives a tax of 108"):
        order_of(GUEST, shippingLines=[way | {"discountedPriceWithTax": 600}])


# --- amounts, states, parties -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "total"), [(0, "3370"), (2, "33.70"), (3, "3.370")])
def test_amounts_have_the_decimals_that_the_shop_says(precision: int, total: str) -> None:
    payload, parent = given(GUEST)
    order = MAPPED["order"].to_model(payload, CONTEXT, parent=parent | {"precision": precision})
    assert isinstance(order, SalesOrder)
    assert str(order.totals.total) == total


@pytest.mark.parametrize("amount", [True, "1970", [1970], float("nan")])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(MappingError, match="no amount"):
        order_of(GUEST, totalWithTax=amount)


def test_an_unknown_state_waits_for_a_person() -> None:
    with pytest.raises(MappingError, match="InPreparation") as caught:
        order_of(GUEST, state="InPreparation")
    assert caught.value.code == "unmapped_value"


@pytest.mark.parametrize(
    ("number", "payment", "fulfilment", "hold"),
    [
        (GUEST, "paid", "open", "none"),
        (COUPON, "paid", "shipped", "none"),
        (CANCELLED_PIECE, "partly_refunded", "open", "none"),
        (CHEQUE, "authorised", "open", "payment"),
        (GOODWILL, "partly_refunded", "open", "none"),
        (MODIFIED, "paid", "open", "none"),
    ],
)
def test_states(number: str, payment: str, fulfilment: str, hold: str) -> None:
    order = order_of(number)
    assert (order.payment_state, order.fulfilment_state, order.hold) == (payment, fulfilment, hold)


@pytest.mark.parametrize(
    ("states", "found"), [([], "unpaid"), (["Declined", "Error"], "failed"), (["Declined", "Authorized"], "authorised")]
)
def test_payments_that_did_not_come_in(states: list[str], found: str) -> None:
    payload, _ = given(CHEQUE)
    rows = [payload["payments"][0] | {"state": state} for state in states]
    order = order_of(CHEQUE, payments=rows)
    assert (order.payment_state, order.payments, order.paid_at) == (found, (), None)


def test_a_part_that_has_left() -> None:
    payload, _ = given(COUPON)
    (left,) = payload["fulfillments"]
    order = order_of(COUPON, fulfillments=[left | {"lines": left["lines"][:1]}])
    assert order.fulfilment_state == "partly_shipped"
    assert order_of(COUPON, fulfillments=[left | {"state": "Pending"}]).fulfilment_state == "open"


def test_payments_by_their_neutral_words() -> None:
    paid = order_of(MODIFIED).payments
    assert [(p.method, p.source_method, p.amount) for p in paid] == [
        ("card", "cb", Decimal("19.90")),
        ("cheque", "cheque", Decimal("5.50")),
    ]


def test_the_name_on_an_address_is_split_only_when_it_is_the_buyers_own() -> None:
    guest, company = order_of(GUEST).shipping, order_of(COUPON).shipping
    assert guest is not None and company is not None
    assert (guest.first_name, guest.last_name) == ("Jeanne", "Martin")
    assert (company.first_name, company.last_name) == (None, "Bureau Moreau")


def test_the_business_day_is_the_shops() -> None:
    late = "2026-11-22T23:30:00.000Z"
    assert order_of(GUEST, orderPlacedAt=late).ordered_on.isoformat() == "2026-11-23"
    there = order_of(GUEST, orderPlacedAt=late, settings={"config.time_zone": "America/Guadeloupe"})
    assert (there.ordered_on.isoformat(), there.source_zone) == ("2026-11-22", "America/Guadeloupe")


def test_stock_of_an_item_is_what_can_be_sold_at_the_chosen_place() -> None:
    payload, parent = given("1", "item")
    (level,) = payload["stockLevels"]
    other = level | {"stockOnHand": 7, "stockAllocated": 0, "stockLocation": {"id": "2", "name": "Entrepôt"}}
    payload["stockLevels"].append(other)

    def stock(place: str | None, **changes: Any) -> Decimal | None:
        context = CONTEXT | {"config.stock_location": place}
        found = MAPPED["item"].to_model(payload | changes, context, parent=parent)
        assert isinstance(found, Item)
        return found.source_stock

    here = Decimal(level["stockOnHand"] - level["stockAllocated"])
    assert level["stockAllocated"] > 0
    assert (stock(None), stock("Entrepôt"), stock("2"), stock("1")) == (here + 7, 7, 7, here)
    assert stock(None, trackInventory="FALSE") is None


def test_every_pulled_entity_was_recorded() -> None:
    pulled = {name.value for name, can in VendureConnector.manifest.entities.items() if can.pull}
    assert set(RECORDS) == pulled | {"refund"}
    assert {item.payload["state"] for item in RECORDS["order"]} >= {"PaymentSettled", "Delivered", "Cancelled"}
