"""Availability, matching and authority: pure rules, each seen to hold and to fail."""

from __future__ import annotations

from decimal import Decimal as D
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir.domain.authority import (
    decide,
    merge_consents,
    merge_customer,
    merge_item,
    new_listing,
    only_these_values,
)
from comptoir.domain.availability import Counted, availability, offered
from comptoir.domain.matching import CERTAIN, customer_keys, item_keys, match
from comptoir.errors import MappingError
from comptoir.model.item import Item, Price
from comptoir.model.money import PriceBasis
from comptoir.model.parties import AccountKind, Address, Consent, ConsentState, Customer, Party, PartyKind

ITEMS = ("sku", "gtin")
PEOPLE = ("vat_id", "siret", "siren", "email", "phone", "name_place")


# -- availability ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "demand", "buffer", "free"),
    [
        ([(10, 2)], 3, 1, 4),
        ([(10, 2), (5, 0)], 0, 0, 13),
        ([(1, 3), (5, 0)], 0, 0, 3),  # a shortage at one place is taken from the other
        ([(-4, 0)], 0, 0, 0),
        ([(2, 0)], 5, 0, 0),
        ([], 0, 0, 0),
    ],
)
def test_availability(levels: list[tuple[int, int]], demand: int, buffer: int, free: int) -> None:
    counted = [Counted(D(on_hand), D(reserved)) for on_hand, reserved in levels]
    assert availability(counted, demand=D(demand), buffer=D(buffer)) == free


@given(
    st.lists(st.tuples(st.integers(-50, 500), st.integers(0, 100)), max_size=4),
    st.integers(0, 100),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_more_demand_or_buffer_never_offers_more(
    levels: list[tuple[int, int]], demand: int, buffer: int, more: int
) -> None:
    counted = [Counted(D(a), D(b)) for a, b in levels]
    free = availability(counted, demand=D(demand), buffer=D(buffer))
    assert free >= 0
    assert availability(counted, demand=D(demand + more), buffer=D(buffer)) <= free
    assert availability(counted, demand=D(demand), buffer=D(buffer + more)) <= free


@pytest.mark.failure_mode(43)
def test_whole_units_are_rounded_down_and_fractions_kept_where_they_can_be() -> None:
    assert offered(D("7.9"), whole_units=True) == 7
    assert offered(D("7.90"), whole_units=False) == D("7.9")


# -- matching ----------------------------------------------------------------------------------------------------


def _decisions(sources: list, targets: list, kinds: tuple[str, ...] = ITEMS) -> dict:  # type: ignore[type-arg]  # ids of any type
    return {p.source: (p.decision, [c.target for c in p.candidates]) for p in match(sources, targets, kinds=kinds)}


def test_the_same_sku_once_on_each_side_is_a_link() -> None:
    assert _decisions([item_keys("a", "T-1", [])], [item_keys("x", " t-1 ", [])]) == {"a": ("link", ["x"])}


@pytest.mark.failure_mode(34)
@pytest.mark.parametrize("sku", [None, "", "   "])
def test_an_empty_sku_never_matches(sku: str | None) -> None:
    assert _decisions([item_keys("a", sku, [])], [item_keys("x", sku, [])]) == {"a": ("none", [])}
    assert _decisions([item_keys("a", None, ["0000000000000", ""])], [item_keys("x", None, ["0"])]) == {
        "a": ("none", [])
    }


@pytest.mark.failure_mode(34)
def test_a_tie_on_either_side_is_for_review() -> None:
    two = _decisions([item_keys("a", "T", [])], [item_keys("x", "T", []), item_keys("y", "T", [])])
    assert two["a"] == ("review", ["x", "y"])
    claimed = _decisions([item_keys("a", "T", []), item_keys("b", "T", [])], [item_keys("x", "T", [])])
    assert claimed == {"a": ("review", ["x"]), "b": ("review", ["x"])}


def test_another_gtin_speaks_against_the_same_sku() -> None:
    found = match([item_keys("a", "T", ["4006381333931"])], [item_keys("x", "T", ["3017620422003"])], kinds=ITEMS)[0]
    assert (found.decision, found.candidates[0].evidence) == ("review", ("sku", "other_gtin"))
    assert found.candidates[0].score < CERTAIN


def test_a_gtin_alone_is_for_review_and_short_forms_are_the_same() -> None:
    assert _decisions([item_keys("a", "A", ["4006381333931"])], [item_keys("x", "B", ["04006381333931"])]) == {
        "a": ("review", ["x"])
    }


def test_what_we_made_ourselves_is_certain_whatever_it_is_called_now() -> None:
    ours = item_keys("a", "NEW", [], ["gesco:7", "boutique:12"])
    assert _decisions([ours], [item_keys("x", "OLD", [], ["boutique:12"])]) == {"a": ("link", ["x"])}


def test_a_rejected_pair_is_not_proposed_again() -> None:
    found = match([item_keys("a", "T", [])], [item_keys("x", "T", [])], kinds=ITEMS, rejected=frozenset({("a", "x")}))
    assert found[0].decision == "none"


def test_only_declared_keys_count() -> None:
    both = [item_keys("a", "A", ["4006381333931"])], [item_keys("x", "B", ["4006381333931"])]
    assert _decisions(*both, kinds=("sku",)) == {"a": ("none", [])}


@pytest.mark.failure_mode(71)
def test_people_an_email_is_a_signal_and_not_an_identity() -> None:
    jeanne = customer_keys("a", email="j@x.test", name="Jeanne Martin", postcode="75011")
    family = customer_keys("x", email="J@X.test", name="Paul Martin", postcode="69002")
    assert _decisions([jeanne], [family], PEOPLE) == {"a": ("review", ["x"])}
    herself = customer_keys("y", email="j@x.test", name="JEANNE MARTIN", postcode="75 011", phone="0612345678")
    with_phone = customer_keys("a", email="j@x.test", name="Jeanne Martin", postcode="75011", phone="+33612345678")
    assert _decisions([with_phone], [herself], PEOPLE) == {"a": ("link", ["y"])}


def test_people_one_vat_number_is_one_company_and_another_one_is_another() -> None:
    ours = customer_keys("a", vat_id="FR 40 303265045", email="info@x.test")
    assert _decisions([ours], [customer_keys("x", vat_id="FR40303265045")], PEOPLE) == {"a": ("link", ["x"])}
    other = customer_keys("x", vat_id="FR11111111111", email="info@x.test", name="X", postcode="1")
    assert _decisions([ours], [other], PEOPLE)["a"][0] == "review"


def test_people_nothing_known_of_two_is_no_match() -> None:
    assert _decisions([customer_keys("a")], [customer_keys("x")], PEOPLE) == {"a": ("none", [])}


def test_the_order_of_records_decides_nothing() -> None:
    sources = [item_keys(n, sku, []) for n, sku in (("a", "1"), ("b", "2"), ("c", "2"))]
    targets = [item_keys(n, sku, []) for n, sku in (("x", "1"), ("y", "2"), ("z", "3"))]
    expected = _decisions(sources, targets)
    for order in permutations(sources):
        assert _decisions(list(order), targets[::-1]) == expected


# -- authority ---------------------------------------------------------------------------------------------------


def _price(amount: str, basis: PriceBasis = PriceBasis.INCL, name: str = "TTC", currency: str = "EUR") -> Price:
    return Price(price_list=name, amount=D(amount), currency=currency, basis=basis)


def _item(**fields: object) -> Item:
    return Item.model_validate({"external_id": "1", "name": "Mug", "sku": "M-1", **fields})


def test_only_the_route_s_fields_come_from_the_source() -> None:
    target = _item(prices=(_price("10", name="regular"), _price("8", name="sale")), gtins=("1",), name="Un beau mug")
    source = _item(external_id="9", sku="M-2", name="MUG", prices=(_price("12"), _price("10", PriceBasis.EXCL, "HT")))
    merged = merge_item(target, source, ("price",))
    assert [p.amount for p in merged.prices] == [12, 8]  # the promotion stays the shop's
    assert (merged.sku, merged.name, merged.gtins, merged.external_id) == ("M-1", "Un beau mug", ("1",), "1")
    assert merge_item(target, source, ("sku", "name")).prices == target.prices


def test_an_empty_value_blanks_nothing() -> None:
    target = _item(gtins=("1",), prices=(_price("10"),))
    assert merge_item(target, _item(sku=None, prices=()), ("price", "sku", "gtin")) == target


@pytest.mark.failure_mode(33)
@pytest.mark.parametrize(
    "prices",
    [
        (_price("12", PriceBasis.EXCL, "HT"),),
        (_price("12", currency="USD"),),
        (_price("12", name="A"), _price("13", name="B")),
    ],
)
def test_a_price_is_never_converted_or_guessed(prices: tuple[Price, ...]) -> None:
    with pytest.raises(MappingError):
        merge_item(_item(prices=(_price("10"),)), _item(prices=prices), ("price",))


@pytest.mark.failure_mode(33)
def test_the_bound_price_list_is_taken() -> None:
    source = _item(prices=(_price("12", name="A"), _price("13", name="B")))
    assert merge_item(_item(prices=(_price("10"),)), source, ("price",), "B").prices[0].amount == 13


def test_a_new_listing_has_the_shop_s_terms() -> None:
    source = _item(prices=(_price("10", PriceBasis.EXCL, "HT"), _price("12")))
    listed = new_listing(source, PriceBasis.INCL, "EUR")
    assert [(p.amount, p.basis) for p in listed.prices] == [(12, PriceBasis.INCL)]


def _consent(state: ConsentState, source: str) -> Consent:
    return Consent(purpose="marketing", channel="email", state=state, source=source)


@pytest.mark.parametrize("first", list(ConsentState))
@pytest.mark.parametrize("second", list(ConsentState))
def test_an_opt_out_is_never_lifted(first: ConsentState, second: ConsentState) -> None:
    (merged,) = merge_consents((_consent(first, "a"),), (_consent(second, "b"),))
    if ConsentState.REFUSED in (first, second):
        assert merged.state is ConsentState.REFUSED
    elif ConsentState.GIVEN in (first, second):
        assert merged.state is ConsentState.GIVEN


def test_a_customer_keeps_what_the_source_does_not_say() -> None:
    target = Customer(
        external_id="1", account=AccountKind.B2C, origin_channel="shop",
        party=Party(kind=PartyKind.PERSON, first_name="Éva", last_name="M", email="old@x.test", phone="1"),
        addresses=(Address(role="billing", lines=("1 rue",), city="Dole", postcode="39100", phone="1"),),
    )  # fmt: skip
    source = Customer(
        external_id="C1", account=AccountKind.B2C, origin_channel="ebp",
        party=Party(kind=PartyKind.PERSON, email="new@x.test"),
        addresses=(Address(role="billing", lines=("2 rue",), city="Lons"),),
    )  # fmt: skip
    merged = merge_customer(target, source, ("email", "name", "phone", "address"))
    assert (merged.party.email, merged.party.first_name, merged.party.phone) == ("new@x.test", "Éva", "1")
    (address,) = merged.addresses
    assert (address.lines, address.city, address.postcode, address.phone) == (("2 rue",), "Lons", "39100", "1")


def test_one_way_writes_what_differs() -> None:
    assert decide({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}).write == ("b",)
    assert decide({"a": 1}, {}).write == ("a",)


def test_both_ways_carries_changes_only_and_sees_conflicts() -> None:
    before = ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 9, "c": 1})
    decision = decide({"a": 2, "b": 1, "c": 3}, {"a": 1, "b": 9, "c": 2}, before=before)
    assert decision.write == ("a",)  # b stood so when they were linked
    assert decision.conflicts == ("c",)
    assert decide({"a": 2}, {"a": 2}, before=({"a": 1}, {"a": 1})) == decide({}, {})


def test_only_what_shows_the_values_that_were_written_is_ours() -> None:
    before = {"party": {"phone": "1", "email": "a"}, "addresses": [{"phone": "1", "city": "Paris"}], "note": None}
    moved = {"party": {"phone": "2", "email": "a"}, "addresses": [{"phone": "2", "city": "Paris"}], "note": None}
    assert only_these_values(before, moved, ["2"])
    assert only_these_values(before, moved, [{"contact": {"phone": "2"}}])
    assert not only_these_values(before, moved, ["3"])
    assert not only_these_values(before, {**moved, "note": "call after six"}, ["2"])
    assert not only_these_values(before, {**moved, "party": {"phone": "2"}}, ["2"])  # the address was taken away
    assert not only_these_values(before, {**moved, "addresses": []}, ["2"])
    assert not only_these_values(before, {**moved, "addresses": [*moved["addresses"], {"city": "Lyon"}]}, ["2"])
