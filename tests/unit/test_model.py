"""The canonical model's conventions, kept for every model that is there and every one to come."""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from comptoir.model.accounting import EntryKind, JournalEntry, JournalLine, Side
from comptoir.model.base import (
    Amount,
    Canonical,
    Code,
    Currency,
    Percent,
    Personal,
    Privacy,
    Quantity,
    Text,
    UnitPrice,
    privacy_of,
)
from comptoir.model.currencies import CURRENCIES
from comptoir.model.ids import uuid7_from
from comptoir.model.item import Item
from comptoir.model.money import Money, allocate, minor_units, round_money
from comptoir.model.refs import EntityName
from comptoir.model.registry import ENTITY_MODELS, all_models, json_schema

from tests import factories

MODELS = all_models()
FIELDS = [(m, name, field) for m in MODELS.values() for name, field in m.model_fields.items()]
IDS = [f"{m.__name__}.{name}" for m, name, _ in FIELDS]


def leaves(annotation: Any) -> Iterator[Any]:
    """The types a field may hold, without Annotated, unions and containers."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from leaves(get_args(annotation)[0])
    elif origin in (Union, types.UnionType, tuple, list, dict):
        for inner in get_args(annotation):
            yield from leaves(inner)
    else:
        yield annotation


def test_there_are_models() -> None:
    assert len(MODELS) > 50
    assert {"SalesOrder", "Refund", "Customer", "Item", "JournalEntry", "Money", "Cursor"} <= MODELS.keys()
    assert set(ENTITY_MODELS.values()) <= set(MODELS.values())


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_every_model_is_frozen_closed_and_described_by_a_schema(model: type[Canonical]) -> None:
    assert issubclass(model, Canonical)
    assert model.model_config["frozen"] is True
    assert model.model_config["extra"] == "forbid"
    for mode in ("serialization", "validation"):
        Draft202012Validator.check_schema(model.model_json_schema(mode=mode))  # type: ignore[arg-type]
    assert json_schema(model.__name__)["additionalProperties"] is False


@pytest.mark.parametrize(("entity", "model"), ENTITY_MODELS.items())
def test_an_entity_has_a_schema_too(entity: EntityName, model: type[Canonical]) -> None:
    assert json_schema(entity.value)["title"] == model.__name__


def test_an_unknown_name_has_no_schema() -> None:
    with pytest.raises(KeyError):
        json_schema("gadget")


@pytest.mark.parametrize(("model", "name", "field"), FIELDS, ids=IDS)
def test_every_field_keeps_the_conventions(model: type[Canonical], name: str, field: FieldInfo) -> None:
    annotation = field.rebuild_annotation()
    held = set(leaves(annotation))
    # Scores are no amounts; everything that is counted or paid is a Decimal.
    assert float not in held or name == "score"
    assert datetime not in held, "a moment is aware: Instant"
    if Decimal in held:
        assert "decimal_places" in str(annotation) or "decimal_places" in str(field.metadata), "an exact precision"
    if name == "currency" or name.endswith("_currency"):
        adapter = TypeAdapter(annotation)
        assert adapter.validate_python("EUR") == "EUR"
        with pytest.raises(ValidationError, match="ISO 4217"):
            adapter.validate_python("ECU")
        assert field.is_required() or field.default is None, "there is no default currency"
    assert not (isinstance(field.default, str) and field.default in CURRENCIES), "there is no default currency"
    assert not isinstance(field.default, (list, dict, set)), "a default that could be changed"


PERSON = re.compile(
    r"^(first_name|last_name|full_name|email|phone|mobile|company|vat_id|siren|siret|birth\w*|gender|iban|ip_address|"
    r"postcode|city|region|street|note|reason|tracking|pickup_point|third_party_label|bank_ref|extra|evidence|password)$"
)
#: Same word, another matter: who they are and why they reveal nobody.
NOBODY = {
    "RecordOutcome.reason": "the machinery's reason, bounded by comptoir.mapping to what is no personal data",
    "WriteResult.reason": "the target's code of a refusal",
}


@pytest.mark.parametrize(("model", "name", "field"), FIELDS, ids=IDS)
def test_what_reveals_a_person_is_tagged(model: type[Canonical], name: str, field: FieldInfo) -> None:
    where = f"{model.__name__}.{name}"
    in_address = model.__name__ == "Address" and name == "lines"
    if (PERSON.match(name) or in_address) and where not in NOBODY:
        assert privacy_of(model)[name] is not Privacy.NONE, where


def test_tags_are_found_in_lists_and_optional_fields() -> None:
    class Sample(Canonical):
        plain: Text
        direct: Personal
        optional: Personal | None = None
        several: tuple[Personal, ...] = ()

    assert privacy_of(Sample) == {
        "plain": Privacy.NONE,
        "direct": Privacy.PERSONAL,
        "optional": Privacy.PERSONAL,
        "several": Privacy.PERSONAL,
    }


# -- values ------------------------------------------------------------------------------------------------------


def accepts(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", [Text, Personal, Code])
def test_text_is_nfc_and_storable(kind: Any) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.validate_python("Cafe\u0301") == "Café"
    assert not accepts(kind, "a\x00b")
    assert not accepts(kind, 5)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_any_other_text_is_kept_in_its_normal_form(text: str) -> None:
    assert TypeAdapter(Text).validate_python(text) == unicodedata.normalize("NFC", text)


def test_a_key_is_never_empty() -> None:
    assert not accepts(Code, "")
    assert not accepts(Code, "x" * 513)


@pytest.mark.parametrize("code", ["eur", "EURO", "", "BTC", "XXX", "€", "EUR "])
def test_an_unknown_currency_is_refused(code: str) -> None:
    assert not accepts(Currency, code)


def test_currencies() -> None:
    assert {minor_units(c) for c in CURRENCIES} == {0, 2, 3, 4}
    assert (minor_units("JPY"), minor_units("EUR"), minor_units("TND"), minor_units("CLF")) == (0, 2, 3, 4)
    assert all(re.fullmatch("[A-Z]{3}", c) for c in CURRENCIES)
    with pytest.raises(KeyError):
        minor_units("ECU")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1.123456789", "1e30", float("nan")])
def test_an_amount_is_finite_and_exact(amount: Any) -> None:
    with pytest.raises(ValidationError):
        Money(amount=amount, currency="EUR")


BOUNDED = [(Amount, 20, 8), (UnitPrice, 24, 10), (Quantity, 18, 6), (Percent, 9, 5)]
#: With zeros in front and behind, exponents, and more digits than any of them takes.
NUMBERS = st.from_regex(r"-?[0-9]{1,26}(\.[0-9]{0,14})?(E[+-]?[0-9]{1,2})?", fullmatch=True)


def judged(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return str(adapter.validate_python(value))
    except ValidationError as error:
        return [(fault["type"], fault["msg"], fault.get("ctx")) for fault in error.errors()]


@pytest.mark.parametrize(("kind", "digits", "places"), BOUNDED)
def test_bounds_are_those_of_pydantic_itself(kind: Any, digits: int, places: int) -> None:
    """The same numbers taken, digit for digit, the others refused with the same words."""
    ours = TypeAdapter(kind)
    pydantics = TypeAdapter(Annotated[Decimal, Field(max_digits=digits, decimal_places=places)])
    assert ours.json_schema() == pydantics.json_schema()

    @given(NUMBERS)
    def compare(text: str) -> None:
        for value in (text, Decimal(text)):
            assert judged(ours, value) == judged(pydantics, value)

    compare()
    for value in ("NaN", "-Infinity", "sNaN", "1E-30", "0E+20", "x", "", None, True, 1.5, 10**30, float("inf")):
        assert judged(ours, value) == judged(pydantics, value), value


def test_money() -> None:
    one = Money(amount=Decimal("1.10"), currency="EUR")
    assert (one + one).amount == Decimal("2.20")
    assert (-one).amount == Decimal("-1.10")
    with pytest.raises(ValueError, match="cannot add CHF to EUR"):
        one + Money(amount=Decimal(1), currency="CHF")
    with pytest.raises(ValidationError):
        one.amount = Decimal(2)  # type: ignore[misc]
    assert '"1.10"' in one.model_dump_json(), "JSON keeps an amount as text"


def test_a_moment_is_aware() -> None:
    assert not accepts(AwareDatetime, "2026-01-01T10:00:00")


@pytest.mark.parametrize(
    "extra",
    [
        {"a": "x\x00"},
        {"a\x00": 1},
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": 2**70},
        {"a": {1: 2}},
        {"a": date(2026, 1, 1)},
        {"a": "\ud800"},
        {"a": Decimal(1)},
    ],
)
def test_extra_is_plain_json_that_can_be_stored(extra: Any) -> None:
    with pytest.raises(ValidationError):
        Item(external_id="1", name="n", extra=extra)


def test_extra_may_be_nested_but_not_endlessly() -> None:
    value: Any = {"ok": [1, "é", None, True, 1.5]}
    for _ in range(20):
        value = {"x": value}
    assert Item(external_id="1", name="n", extra=value).extra == value
    for _ in range(2000):
        value = {"x": value}
    with pytest.raises(ValidationError, match="levels deep"):
        Item(external_id="1", name="n", extra=value)


def test_a_document_survives_json() -> None:
    for document in (factories.order(), factories.refund(factories.order()), factories.customer()):
        again = type(document).model_validate_json(document.model_dump_json())
        assert again == document
        assert isinstance(document, BaseModel)


# -- journal entries ---------------------------------------------------------------------------------------------


def entry(*sides: tuple[Side, str]) -> JournalEntry:
    return JournalEntry(
        key="k",
        kind=EntryKind.SALE,
        journal="VE",
        journal_label="Ventes",
        piece="1",
        posted_on=date(2026, 1, 1),
        label="Vente",
        currency="EUR",
        channel="web",
        document="1001",
        lines=tuple(
            JournalLine(account="707000", account_label="Ventes", label="x", side=side, amount=Decimal(amount))
            for side, amount in sides
        ),
    )


def test_an_entry_balances() -> None:
    made = entry((Side.DEBIT, "120.00"), (Side.CREDIT, "100.00"), (Side.CREDIT, "20.00"))
    assert made.total == Decimal("120.00")


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ([(Side.DEBIT, "120.00"), (Side.CREDIT, "119.99")], "does not balance: debit 120.00, credit 119.99"),
        ([(Side.DEBIT, "1")], "does not balance"),
        ([(Side.DEBIT, "-5"), (Side.CREDIT, "-5")], "negative amount; swap the side"),
    ],
)
def test_an_entry_that_does_not_balance_cannot_be_made(sides: list[tuple[Side, str]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        entry(*sides)


# -- rounding and allocation -------------------------------------------------------------------------------------

currencies = st.sampled_from(["EUR", "JPY", "TND", "CLF"])
amounts = st.decimals(min_value=-(10**11), max_value=10**11, places=8)
weights = st.lists(st.decimals(min_value=0, max_value=10**11, places=8), max_size=12)
any_weights = st.lists(st.decimals(min_value=-(10**6), max_value=10**6, places=4), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [("2.345", "EUR", "2.35"), ("-2.345", "EUR", "-2.35"), ("0.5", "JPY", "1"), ("1.0005", "TND", "1.001"),
     ("2.344999", "EUR", "2.34")],
)  # fmt: skip
def test_rounding_is_commercial(value: str, currency: str, expected: str) -> None:
    assert str(round_money(Decimal(value), currency)) == expected


@given(amounts, currencies)
def test_rounding(value: Decimal, currency: str) -> None:
    rounded = round_money(value, currency)
    unit = Decimal(1).scaleb(-minor_units(currency))
    assert abs(rounded - value) * 2 <= unit
    assert round_money(rounded, currency) == rounded
    assert round_money(-value, currency) == -rounded


@given(amounts, weights, currencies)
def test_the_parts_sum_to_the_whole(value: Decimal, parts: list[Decimal], currency: str) -> None:
    total = round_money(value, currency)
    shares = allocate(total, parts, currency)
    assert len(shares) == len(parts)
    if not parts:
        return
    assert sum(shares) == total
    assert all(s == round_money(s, currency) for s in shares)
    unit = Decimal(1).scaleb(-minor_units(currency))
    whole = sum(parts)
    if whole:
        # Nobody gets a coin more or less than his due.
        assert all(abs(s - total * w / whole) < unit * Decimal("1.0001") for s, w in zip(shares, parts, strict=True))
        assert all(s == 0 for s, w in zip(shares, parts, strict=True) if w == 0)
    else:
        assert shares[0] == total


@given(amounts, any_weights, currencies)
def test_negative_weights_sum_too(value: Decimal, parts: list[Decimal], currency: str) -> None:
    total = round_money(value, currency)
    assert sum(allocate(total, parts, currency)) == total


def test_allocation_by_largest_remainder_with_ties_in_order() -> None:
    thirds = [Decimal(1)] * 3
    assert allocate(Decimal("0.05"), thirds, "EUR") == [Decimal("0.02"), Decimal("0.02"), Decimal("0.01")]
    assert allocate(Decimal(100), thirds, "JPY") == [34, 33, 33]
    assert allocate(Decimal("-0.01"), thirds, "EUR") == [0, 0, Decimal("-0.01")]
    assert allocate(Decimal(1), [], "EUR") == []


def test_what_is_finer_than_a_coin_cannot_be_allocated() -> None:
    with pytest.raises(ValueError, match="smallest coin"):
        allocate(Decimal("1.005"), [Decimal(1), Decimal(1)], "EUR")
    with pytest.raises(ValueError, match="smallest coin"):
        allocate(Decimal("0.5"), [Decimal(0)], "JPY")


# -- ids ---------------------------------------------------------------------------------------------------------

moments = st.integers(0, 2**48 - 1)
counters = st.integers(0, 2**12 - 1)
bits = st.integers(0, 2**62 - 1)


@given(moments, counters, bits)
def test_the_layout_of_an_id(moment: int, counter: int, random: int) -> None:
    made = uuid7_from(moment, counter, random)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == moment
    assert made.int >> 64 & 0xFFF == counter
    assert made.int & (2**62 - 1) == random


@given(st.tuples(moments, counters, bits), st.tuples(moments, counters, bits))
def test_ids_sort_as_they_were_made(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (uuid7_from(*one) < uuid7_from(*other)) == (one < other)
    assert (str(uuid7_from(*one)) < str(uuid7_from(*other))) == (one < other)


def test_an_id_of_the_standard() -> None:
    # RFC 9562, appendix A.6.
    assert uuid7_from(0x017F22E279B0, 0xCC3, 0x18C4DC0C0C07398F) == UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
