"""What a mapping says of a record that it cannot map, and that no record whatever gets past it in another way."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comptoir.app.mappings import CONTEXT as GOLDEN_CONTEXT
from comptoir.app.mappings import test_golden as run_golden
from comptoir.errors import MappingError
from comptoir.mapping import Mapping, load_mapping
from comptoir.mapping.mapping import validate
from comptoir.model.item import Item
from comptoir.model.order import SalesOrder
from comptoir.model.parties import Customer
from comptoir.paths import mappings_dir

from tests.support.mappings import CONTEXT, Workshop

ORDERLIKE = """
tables:
  kinds: {a: stock, b: service}
  basis: {true: incl, false: excl}
fields:
  external_id: {from: id, as: code}
  name: {from: name, as: text}
  kind: {from: kind, table: kinds}
  weight_kg: {from: a.weight, as: decimal}
  modified_at: {from: changed, as: utc}
  gtins: {list: [{from: ean, as: code}, {from: upc, as: code}]}
  options:
    each: options
    fields: {attribute: {from: k, as: text}, value: {from: v, as: text}}
  prices:
    chain:
      - each: prices
        fields: &price
          price_list: {from: list, as: code}
          amount: {from: net, as: decimal}
          currency: {from: currency, as: upper}
          basis: {from: $root.taxed, table: basis, default: incl}
      - each: tiers
        fields: *price
  extra: {object: {tag: {from: 'meta[key=tag].value.x'}, n: {each: meta, fields: {i: {index: 1}, k: key}}}}
"""

GOOD: dict[str, Any] = {
    "id": 1,
    "name": "Mug",
    "kind": "a",
    "a": {"weight": "1.5"},
    "changed": "2026-01-01T00:00:00",
    "taxed": True,
    "options": [{"k": "size", "v": "M"}, {"k": "colour", "v": "red"}],
    "prices": [{"list": "base", "net": "1.00", "currency": "EUR"}, {"list": "pro", "net": "0.90", "currency": "EUR"}],
    "tiers": [{"list": "10+", "net": "0.80", "currency": "EUR"}],
    "meta": [{"key": "tag", "value": {"x": 1}}],
}


@pytest.fixture
def mapping(tmp_path: Path) -> Mapping:
    return Workshop(tmp_path).make("item.in", ORDERLIKE)


def refused(mapping: Mapping, **change: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        mapping.to_model({**GOOD, **change}, CONTEXT)
    assert caught.value.hint
    assert "demo.item.in" in caught.value.hint
    return caught.value


def line(**change: Any) -> list[dict[str, Any]]:
    """Two prices, the second one changed."""
    return [GOOD["prices"][0], {**GOOD["prices"][1], **change}]


EXPLAINED: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("an unmapped value", {"kind": "c"}, "kind", "unmapped_value", "'c' is not in the table kinds (it has: a, b)"),
    ("no value for a table", {"kind": None}, "kind", "unmapped_value", "the value None is not in the table kinds"),
    ("a list for a table", {"kind": ["a"]}, "kind", "mapping", "another shape than expected"),
    ("no number", {"a": {"weight": "heavy"}}, "weight_kg", "mapping", "'heavy' is no number"),
    ("a decimal comma", {"a": {"weight": "1,5"}}, "weight_kg", "mapping", "is no number; here decimals have a dot"),
    ("an object that is text", {"a": "x"}, "weight_kg", "mapping", "another shape than expected"),
    ("no moment", {"changed": "yesterday"}, "modified_at", "mapping", "Invalid isoformat string: 'yesterday'"),
    ("a line's field", {"prices": line(net="n/a")}, "prices(prices)[2].amount", "mapping", "'n/a' is no number"),
    ("a line of another list", {"tiers": [{"net": "x"}]}, "prices(tiers)[1].amount", "mapping", "'x' is no number"),
    ("a line that is none", {"options": [{"k": "a", "v": "b"}, 7]}, "options[2].attribute", "mapping", "another shape"),
    ("a list that is an object", {"options": {"1": {}}}, "options", "mapping", "expected a list, found an object"),
    ("a list that is text", {"prices": "none"}, "prices(prices)", "mapping", "expected a list, found 'none'"),
    ("one of a list of values", {"ean": 1.5}, "gtins[1]", "mapping", "1.5 is no key"),
    ("text that is an object", {"name": {"fr": "x"}}, "name", "mapping", "an object is no text"),
    ("nothing where something must be", {"id": None}, "external_id", "invalid_value", "valid string"),
    ("the model's own check", {"prices": line(currency="BTC")}, "prices[2].currency", "invalid_value",
     "unknown currency 'BTC': ISO 4217 lists no such code (given: 'BTC')"),
    ("too many decimals", {"prices": line(net="0.123456789012")}, "prices[2].amount", "invalid_value", "decimal"),
    ("missing in a line", {"options": [{"k": "a"}]}, "options[1].value", "invalid_value", "valid string"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field", "code", "words"), [e[1:] for e in EXPLAINED], ids=[e[0] for e in EXPLAINED]
)
def test_the_first_field_at_fault_is_named(
    mapping: Mapping, change: dict[str, Any], field: str, code: str, words: str
) -> None:
    error = refused(mapping, **change)
    assert (error.field, error.code) == (field, code)
    assert error.message.startswith(f"{field}: ")
    assert words in error.message


def test_the_other_faults_are_counted(mapping: Mapping) -> None:
    error = refused(mapping, kind="c", prices=line(net="x", list=1.5), changed="y")
    assert error.field == "kind"
    assert error.message.endswith("(3 more fields are at fault)")
    error = refused(mapping, prices=[{"list": "a"}, {"list": "b"}])
    assert error.field == "prices[1].amount"
    assert error.message.endswith("(3 more fields are at fault)")


def test_a_record_that_is_no_object(mapping: Mapping) -> None:
    for record in ([], "x", 5, None, [GOOD]):
        with pytest.raises(MappingError) as caught:
            mapping.apply(record, CONTEXT)
        assert caught.value.field == "external_id"


def test_missing_context_is_named(mapping: Mapping, tmp_path: Path) -> None:
    text = "fields: {external_id: {context: config.shop_id}, name: {const: n}}"
    with pytest.raises(MappingError, match=r"external_id: the context has no config\.shop_id"):
        Workshop(tmp_path).make("item.in", text).apply({}, CONTEXT)


@pytest.mark.parametrize("field", ["email", "phone", "first_name"])
def test_personal_data_does_not_get_into_a_message(tmp_path: Path, field: str) -> None:
    text = (
        "fields:\n  external_id: {from: id, as: code}\n  account: {const: b2c}\n  origin_channel: {context: channel}\n"
        f"  party: {{object: {{kind: {{const: person}}, {field}: raw}}}}\n"
    )
    mapping = Workshop(tmp_path).make("customer.in", text)
    with pytest.raises(MappingError) as caught:
        mapping.to_model({"id": 1, "raw": 33612345678}, CONTEXT)
    assert caught.value.field == f"party.{field}"
    assert "33612345678" not in str(caught.value)


def test_canonical_data_that_is_none(mapping: Mapping) -> None:
    with pytest.raises(MappingError) as caught:
        validate(Item, {"external_id": "1", "prices": [{"amount": "x"}]})
    assert caught.value.field == "name"
    with pytest.raises(MappingError) as caught:
        validate(Item, [1])
    assert caught.value.field is None


# -- whatever a remote sends -------------------------------------------------------------------------------------

HOSTILE: list[Any] = [
    *(None, True, False, [], {}, [None], [[]], [{}], [None, {}], {"": None}),
    *(
        "",
        " ",
        "NaN",
        "-Infinity",
        "1e999999999",
        "0e-99999999",
        "\x00",
        "a\x00b",
        "é" * 5000,
        "\u202e",
        "\ud800",
        "1,5",
        "１２",
    ),
    *("0000-00-00", "2026-13-45T99:99:99", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1_000"),
    *(0, -1, 2**63, 10**400, 1e308, -0.0, float("inf"), float("nan")),
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(HOSTILE)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def nest(depth: int) -> Any:
    value: Any = "deep"
    for n in range(depth):
        value = {"x": value} if n % 2 else [value]
    return value


def places(value: Any, depth: int = 8) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value, not too deep."""
    found: list[tuple[Any, Any]] = []
    if depth == 0:
        return found
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        found += [(value, key), *places(inner, depth - 1)]
    return found


@st.composite
def damaged(draw: st.DrawFn, good: Callable[[], list[Any]]) -> Any:
    """One of the good records with one to three values replaced or left out."""
    examples = good()
    record = json.loads(json.dumps(examples[draw(st.integers(0, len(examples) - 1))]))
    for _ in range(draw(st.integers(1, 3))):
        spots = places(record)
        if not spots:
            break
        container, key = spots[draw(st.integers(0, len(spots) - 1))]
        if isinstance(container, dict) and draw(st.integers(0, 4)) == 0:
            del container[key]
        else:
            container[key] = draw(anything | st.sampled_from([20, 300]).map(nest))
    return record


def maps_or_parks(mapping: Mapping, record: Any, parent: Any = None, context: Any = CONTEXT) -> None:
    """Either a model comes out, or a MappingError that a person can read; anything else is a crash of the batch."""
    try:
        model = mapping.to_model(record, context, parent=parent)
    except MappingError as error:
        assert len(error.message) < 1500
        assert error.hint
    else:
        # What comes out can be written down and read again.
        assert type(model).model_validate_json(model.model_dump_json()) == model


FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FAST
@given(record=damaged(lambda: [GOOD]) | anything)
def test_any_record_maps_or_parks(mapping: Mapping, record: Any) -> None:
    maps_or_parks(mapping, record)


@cache
def shipped(entity: str) -> tuple[Mapping, list[Any]]:
    """A mapping of WooCommerce with recorded records."""
    golden = mappings_dir() / "woocommerce" / "golden" / f"{entity}.in"
    found = [json.loads(p.read_bytes()) for p in sorted(golden.glob("*.in.json"))[:6]]
    return load_mapping("woocommerce", entity, "in", [mappings_dir()]), found


@pytest.mark.parametrize("entity", ["order", "refund", "customer", "item"])
@FAST
@given(data=st.data())
def test_any_record_of_a_shipped_mapping_maps_or_parks(entity: str, data: st.DataObject) -> None:
    mapping, examples = shipped(entity)
    wrapped = data.draw(damaged(lambda: examples))
    record, parent = wrapped, None
    if isinstance(wrapped, dict) and set(wrapped) <= {"payload", "parent", "context"}:
        record, parent = wrapped.get("payload"), wrapped.get("parent")
    context = {**GOLDEN_CONTEXT, "config.time_zone": None, "config.currency": "EUR", "config.prices_include_tax": True}
    maps_or_parks(mapping, record, parent, context)


@pytest.mark.parametrize("depth", [100, 990, 5000])
@pytest.mark.parametrize("field", ["id", "name", "kind", "a", "prices", "meta", "changed"])
def test_deep_nesting_parks(mapping: Mapping, field: str, depth: int) -> None:
    maps_or_parks(mapping, {**GOOD, field: nest(depth)})


@FAST
@given(changes=st.dictionaries(st.sampled_from(sorted(SalesOrder.model_fields)), anything, max_size=3))
def test_any_model_gives_a_payload_or_parks(changes: dict[str, Any]) -> None:
    """`out` mappings read validated models; one that was made past validation must not crash a batch either."""
    from tests import factories

    order = factories.order().model_copy(update=changes)
    mapping = load_mapping("ebp", "order", "out", [mappings_dir()])
    context = {**GOLDEN_CONTEXT, "config.document_prefix": "", "config.customer_prefix": None}
    try:
        assert isinstance(mapping.apply(order, context), dict)
    except MappingError as error:
        assert len(error.message) < 1500


BUILDERS: list[Callable[[Any], Any]] = [Item.model_validate, Customer.model_validate, SalesOrder.model_validate]


@pytest.mark.parametrize("build", BUILDERS)
@FAST
@given(value=anything)
def test_a_model_is_made_or_refused(build: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(ValueError):
        build(value)


def test_every_golden_record_that_is_shipped_agrees(tmp_path: Path) -> None:
    found = run_golden(tmp_path / "none.toml", None)
    assert len(found) > 200
    assert [(g["mapping"], g["case"], g["difference"]) for g in found if g["difference"]] == []
