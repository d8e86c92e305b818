"""The mapping language: what every word does, in and out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir.errors import MappingError
from comptoir.mapping.functions import BUILTINS, CONVERSIONS
from comptoir.model.item import Item
from comptoir.model.order import SalesOrder

from tests import factories
from tests.support.mappings import CONTEXT, Workshop, functions


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


RECORD: dict[str, Any] = {
    "a": {"b": {"c": "deep"}, "none": None, "list": [1, 2]},
    "text": " Zoé ",
    "empty": "",
    "zero": 0,
    "yes": True,
    "price": "12.50",
    "meta": [{"key": "vat", "value": "FR1"}, {"key": "a.b", "value": {"x": 7}}, {"key": 12, "value": "n"}, "odd", None],
    "lines": [
        {"sku": "A", "tags": ["x", "", None, "y"], "parts": [{"n": 1}, {"n": 2}]},
        {"sku": "B", "tags": None, "parts": []},
    ],
}

#: A rule and what it gives for RECORD.
RULES: list[tuple[str, Any]] = [
    # from
    ("text", " Zoé "),
    ("{from: text}", " Zoé "),
    ("a.b.c", "deep"),
    ("a.none", None),
    ("a.none.c", None),
    ("nowhere.at.all", None),
    ("$root.a.b.c", "deep"),
    ("'meta[key=vat].value'", "FR1"),
    ("'meta[key=a.b].value.x'", 7),
    ("'meta[key=12].value'", "n"),
    ("'meta[key=none].value'", None),
    ("'meta[key=none]'", None),
    ("'nowhere[key=none].x.y'", None),
    ("{from: 'meta[key=none]', default: d}", "d"),
    # const
    ("{const: 1}", 1),
    ("{const: 1.5}", 1.5),
    ("{const: null}", None),
    ("{const: yes}", "yes"),
    ("{const: true}", True),
    ("{const: 2026-01-01}", "2026-01-01"),
    ("{const: 'a''b\\n{x}'}", "a'b\\n{x}"),
    ("{const: [1, {a: b}]}", [1, {"a": "b"}]),
    # context
    ("{context: channel}", "web"),
    ("{context: company.currency}", "EUR"),
    ("{context: config.prefix}", "W-"),
    # call
    ("{call: first, with: [empty, a.none, text]}", " Zoé "),
    ("{call: join, with: [{const: '-'}, text, {const: x, as: upper}, 3, null, empty]}", " Zoé -X-3"),
    ("{call: first, with: [{each: lines, value: sku}]}", ["A", "B"]),
    ("{call: first, with: [{call: upper, with: [text]}]}", "ZOÉ"),
    ("{call: text, with: [text]}", "Zoé"),
    ("{call: join, with: [{const: '-'}]}", None),
    ("{call: times, with: [{const: '3'}, {const: '0.335'}, {context: company.currency}]}", Decimal("1.01")),
    ("{call: times, with: [a.none, {const: '0.335'}, {context: company.currency}]}", None),
    # object
    ("{object: {y: text, z: {object: {q: a.b.c}}}}", {"y": " Zoé ", "z": {"q": "deep"}}),
    ("{from: a.b, object: {y: c, z: $root.text, w: nothing}}", {"y": "deep", "z": " Zoé ", "w": None}),
    ("{from: a.none, object: {y: c}}", None),
    ("{from: empty, object: {y: c}}", None),
    ("{from: 'meta[key=none]', object: {y: c}}", None),
    ("{from: a, skip_if_empty: [y, z], object: {y: none, z: nothing, w: {const: 1}}}", None),
    ("{from: a, skip_if_empty: [y, z], object: {y: none, z: {const: 2}}}", {"y": None, "z": 2}),
    ("{skip_if_empty: [y], object: {y: empty}}", None),
    ("{skip_if_empty: [], object: {y: empty}}", {"y": ""}),
    # each
    ("{each: lines, fields: {s: sku, n: {index: 1}}}", [{"s": "A", "n": 1}, {"s": "B", "n": 2}]),
    ("{each: lines, value: sku}", ["A", "B"]),
    ("{each: lines, value: {from: sku, as: text}}", ["A", "B"]),
    ("{each: a.list, value: {from: .}}", [1, 2]),
    ("{each: a.list, value: {from: ., as: code}}", ["1", "2"]),
    ("{each: nowhere, value: sku}", []),
    ("{each: a.none, fields: {s: sku}}", []),
    ("{each: empty, fields: {s: sku}}", []),
    ("{each: lines, fields: {t: {each: tags, value: .}}}", [{"t": ["x", "y"]}, {"t": []}]),
    ("{each: lines, fields: {p: {each: parts, fields: {i: {index: 1}, n: n, r: $root.a.b.c}}}}",
     [{"p": [{"i": 1, "n": 1, "r": "deep"}, {"i": 2, "n": 2, "r": "deep"}]}, {"p": []}]),
    ("{each: lines, fields: {i: {object: {n: {index: 1}}}}}", [{"i": {"n": 1}}, {"i": {"n": 2}}]),
    # list and chain
    ("{list: [text, empty, a.none, {const: 5}, {from: nowhere, default: d}]}", [" Zoé ", 5, "d"]),
    ("{list: [{from: zero, table: words}]}", ["null"]),
    ("{list: []}", []),
    ("{chain: [{each: lines, value: sku}, {each: nowhere, value: x}, {list: [{const: C}]}, a.none, a.list]}",
     ["A", "B", "C", 1, 2]),
    # modifiers, in their order
    ("{from: text, as: text}", "Zoé"),
    ("{from: empty, as: text, default: d}", "d"),
    ("{from: empty, default: d}", "d"),
    ("{from: zero, default: d}", 0),
    ("{from: yes, table: words}", "oui"),
    ("{from: text, as: text, table: words}", "prénom"),
    ("{from: nothing, table: words, default: d}", "d"),
    ("{from: empty, table: words, default: d}", "d"),
    ("{from: a.b.c, table: open}", "other"),
    ("{from: nothing, table: open}", "other"),
    ("{const: x, table: open, default: y}", "ex"),
    ("{const: Z, table: nothing, default: y}", "y"),
    ("{call: first, with: [text], as: upper, table: words}", "majuscules"),
    ("{const: 'NO', table: words}", "Norvège"),
]  # fmt: skip

TABLES = """
tables:
  words: {true: oui, 0: 'null', Zoé: prénom, ZOÉ: majuscules, NO: Norvège}
  open: {x: ex, _default_: other}
  nothing: {Z: null}
"""


@pytest.mark.parametrize(("rule", "expected"), RULES, ids=[r[0] for r in RULES])
def test_rule(shop: Workshop, rule: str, expected: Any) -> None:
    assert shop.field(rule, RECORD, heading=TABLES) == expected


def test_the_parent_of_a_child_record(shop: Workshop) -> None:
    rule = "{object: {n: $parent.number, d: $parent.a.b, l: {each: $parent.lines, value: sku}, p: $parent}}"
    assert shop.field(rule, {}, parent={"number": "7", "lines": [{"sku": "A"}]}) == {
        "n": "7",
        "d": None,
        "l": ["A"],
        "p": {"number": "7", "lines": [{"sku": "A"}]},
    }
    assert shop.field(rule, {})["n"] is None


def test_what_php_writes_for_nothing_is_nothing(shop: Workshop) -> None:
    for empty in ([], {}, "", False, None):
        assert shop.field("{from: a, object: {y: c}}", {"a": empty}) is None
        assert shop.field("{each: a, value: c}", {"a": empty}) == []


@pytest.fixture
def module() -> Iterator[str]:
    name = functions("demo_functions", double=lambda n: n * 2, **{"odd name!": lambda: "odd"})
    yield name
    del sys.modules[name]


def test_functions_of_the_connector(shop: Workshop, module: str) -> None:
    assert shop.field("{call: double, with: [a]}", {"a": 4}, functions=module) == 8
    assert shop.field("{call: 'odd name!'}", {}, functions=module) == "odd"
    assert shop.field("{call: upper, with: [a]}", {"a": "b"}, functions=module) == "B"


def test_an_in_mapping_gives_the_model(shop: Workshop) -> None:
    mapping = shop.make(
        "item.in",
        """
        tables:
          basis: {true: incl, false: excl}
        fields:
          external_id: {from: id, as: code}
          name: {from: name, as: text}
          gtins: {list: [{from: ean, as: code}, {from: upc, as: code}]}
          weight_kg: {from: weight, as: decimal}
          modified_at: {from: changed, as: utc}
          prices:
            each: prices
            fields:
              price_list: {from: list, as: code}
              amount: {from: value, as: decimal}
              currency: {context: company.currency}
              basis: {from: $root.taxed, table: basis}
          extra: {object: {raw: tags}}
        """,
    )
    item = mapping.to_model(
        {"id": 5, "name": "Cafe\u0301", "ean": 376, "weight": 0.1, "changed": "2026-01-01T00:30:00+01:00",
         "taxed": True, "prices": [{"list": "base", "value": "9.99"}], "tags": ["x"]},
        CONTEXT,
    )  # fmt: skip
    assert isinstance(item, Item)
    assert (item.external_id, item.name, item.gtins) == ("5", "Café", ("376",))
    assert item.weight_kg == Decimal("0.1")
    assert item.modified_at == datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    assert item.prices[0].basis.value == "incl"
    assert item.extra == {"raw": ["x"]}


OUT = """
fields:
  number: number
  city: billing.city
  name: billing.display_name
  nobody: {from: shipping.city, default: "?"}
  on: {from: ordered_on, as: french_date}
  total: {from: totals.total, as: comma2}
  method: {from: payment_state, as: text}
  first: {const: first, on: create}
  again: {from: external_id, as: code, on: create}
  buyer: {from: buyer.party, object: {mail: email, order: $root.number}}
  ship: {from: shipping, object: {city: city}}
  lines:
    each: lines
    fields:
      n: {index: 1}
      sku: sku
      net: {from: net, as: comma}
      taxes: {each: taxes, value: {from: rate, as: comma}}
  "odd {key} 'quoted'": {context: config.prefix}
  all: {each: billing.lines, value: .}
"""


def test_an_out_mapping_reads_the_model(shop: Workshop) -> None:
    order = factories.order(shipping=None)
    mapping = shop.make("order.out", OUT)
    payload = mapping.apply(order, CONTEXT)
    assert payload == {
        "number": "1001", "city": "Paris", "name": "Zoé Lefèvre", "nobody": "?", "on": "15/09/2026",
        "total": "120,00", "method": "paid", "first": "first", "again": "1001",
        "buyer": {"mail": "zoe@example.org", "order": "1001"}, "ship": None,
        "lines": [{"n": 1, "sku": "TSHIRT-M", "net": "100", "taxes": ["20"]}],
        "odd {key} 'quoted'": "W-", "all": ["12 rue des Lilas"],
    }  # fmt: skip
    changed = mapping.apply(order, CONTEXT, creating=False)
    assert "first" not in changed
    assert "again" not in changed
    assert changed["number"] == "1001"


def test_an_object_that_is_skipped_for_a_field_that_is_only_created(shop: Workshop) -> None:
    rule = "fields:\n  a: {skip_if_empty: [x], object: {x: {const: 1, on: create}, y: number}}"
    mapping = shop.make("order.out", rule)
    order: SalesOrder = factories.order()
    assert mapping.apply(order, CONTEXT) == {"a": {"x": 1, "y": "1001"}}
    assert mapping.apply(order, CONTEXT, creating=False) == {"a": None}


# -- conversions -------------------------------------------------------------------------------------------------

D = Decimal
CONVERTED: list[tuple[str, Any, Any]] = [
    ("text", "  a b ", "a b"),
    ("text", "  ", None),
    ("text", None, None),
    ("text", 5, "5"),
    ("text", D("1.50"), "1.50"),
    ("code", 5, "5"),
    ("code", " 05 ", "05"),
    ("code", "", None),
    ("code", None, None),
    ("code", 10**25, "1" + "0" * 25),
    ("decimal", "1.10", D("1.10")),
    ("decimal", 1.1, D("1.1")),
    ("decimal", 3, D(3)),
    ("decimal", "", None),
    ("decimal", None, None),
    ("decimal", 0.1 + 0.2, D("0.30000000000000004")),
    ("decimal", "1e3", D("1e3")),
    ("decimal", "-0", D("-0")),
    ("decimal", D("2.50"), D("2.50")),
    ("integer", "5", 5),
    ("integer", 5.0, 5),
    ("integer", "", None),
    ("boolean", "yes", True),
    ("boolean", 0, False),
    ("boolean", "No", False),
    ("boolean", None, None),
    ("boolean", True, True),
    ("boolean", "", False),
    ("utc", "2026-01-01T10:00:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
    ("utc", "2026-01-01T10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
    ("utc", "2026-01-01T10:00:00+02:00", datetime(2026, 1, 1, 8, tzinfo=UTC)),
    ("utc", "", None),
    ("utc", None, None),
    ("upper", " eur ", "EUR"),
    ("upper", "", None),
    ("iso_date", date(2026, 1, 2), "2026-01-02"),
    ("iso_date", "2026-01-02T10:00:00Z", "2026-01-02"),
    ("iso_date", "", None),
    ("iso_date", None, None),
    ("french_date", date(2026, 1, 2), "02/01/2026"),
    ("french_date", datetime(2026, 1, 2, 23, tzinfo=UTC), "02/01/2026"),
    ("french_date", None, None),
    ("cents2", D("2.345"), "2.35"),
    ("cents2", D("-2.345"), "-2.35"),
    ("cents2", D("-0.001"), "0.00"),
    ("cents2", D(1000000), "1000000.00"),
    ("cents2", None, None),
    ("cents2", 2, "2.00"),
    ("comma2", D("2.345"), "2,35"),
    ("comma2", None, None),
    ("comma", D("1E+3"), "1000"),
    ("comma", D("1.500"), "1,5"),
    ("comma", D("100"), "100"),
    ("comma", D("-0.00"), "0"),
    ("comma", D("0.00000001"), "0,00000001"),
    ("comma", None, None),
]


@pytest.mark.parametrize(("name", "value", "expected"), CONVERTED)
def test_conversion(name: str, value: Any, expected: Any) -> None:
    found = CONVERSIONS[name](value)
    assert found == expected
    assert type(found) is type(expected)


REFUSED: list[tuple[str, Any]] = [
    ("text", {"rendered": "x"}),
    ("text", ["x"]),
    ("text", False),
    ("code", 1.0),
    ("code", True),
    ("code", ["1"]),
    ("code", {"a": 1}),
    ("decimal", "12,50"),
    ("decimal", "NaN"),
    ("decimal", "Infinity"),
    ("decimal", float("nan")),
    ("decimal", float("inf")),
    ("decimal", True),
    ("decimal", [0, [1, 2], 0]),
    ("decimal", (0, (1,), 0)),
    ("decimal", {"a": 1}),
    ("decimal", "1e999"),
    ("decimal", "0e-999999999"),
    ("decimal", "€"),
    ("integer", "1.5"),
    ("integer", "1e999999999"),
    ("integer", "x"),
    ("boolean", "maybe"),
    ("boolean", 2),
    ("boolean", []),
    ("boolean", 1.0),
    ("utc", "0000-00-00 00:00:00"),
    ("utc", 1767225600),
    ("utc", "hier"),
    ("utc", ["2026-01-01"]),
    ("iso_date", "hello world"),
    ("iso_date", ["2026-01-01"]),
    ("french_date", "2026-01-02"),
    ("cents2", "x"),
    ("comma", [1]),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_conversion_that_cannot_be_parks_with_a_short_message(shop: Workshop, name: str, value: Any) -> None:
    with pytest.raises(MappingError) as caught:
        shop.field(f"{{from: a, as: {name}}}", {"a": value})
    assert caught.value.field == "extra.x"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "value", ["y" * 10_000, 10**5000, [[]] * 5000, {"k": "v" * 10_000}], ids=["text", "number", "list", "object"]
)
def test_messages_are_bounded(shop: Workshop, value: Any) -> None:
    with pytest.raises(MappingError) as caught:
        shop.field("{from: a, as: decimal}", {"a": value})
    assert len(caught.value.message) < 300


def test_every_conversion_can_be_called_too() -> None:
    assert CONVERSIONS.keys() <= BUILTINS.keys()


@given(
    st.decimals("-1000000", "1000000", places=2),
    st.decimals("0", "100", places=2),
)
def test_net_and_tax_of_an_amount_are_the_amount(gross: Decimal, rate: Decimal) -> None:
    net, tax = (BUILTINS[name](str(gross), str(rate), "EUR") for name in ("without_tax", "tax_within"))
    assert net + tax == gross
    assert net == net.quantize(Decimal("0.01"))
    assert abs(net * rate / 100 - tax) <= Decimal("0.01") + rate / 20_000


@pytest.mark.parametrize(
    ("gross", "rate", "currency", "net", "tax"),
    [
        ("10.00", "20", "EUR", "8.33", "1.67"),
        ("5.275", "5.5", "EUR", "5.00", "0.275"),
        ("1100", "10", "JPY", "1000", "100"),
        ("-12.00", 20, "EUR", "-10.00", "-2.00"),
        ("9.99", "0", "EUR", "9.99", "0.00"),
    ],
)
def test_what_an_amount_with_tax_is_made_of(gross: str, rate: Any, currency: str, net: str, tax: str) -> None:
    assert BUILTINS["without_tax"](gross, rate, currency) == Decimal(net)
    assert BUILTINS["tax_within"](gross, rate, currency) == Decimal(tax)


@pytest.mark.parametrize(
    ("gross", "rate", "currency", "said"),
    [
        ("10", "-100", "EUR", "no tax rate"),
        ("10", "20", "XXX9", "no currency"),
        ("1e90", "20", "EUR", "no amount of money"),
        ("ten", "20", "EUR", "no number"),
    ],
)
def test_what_is_no_amount_is_said(gross: str, rate: str, currency: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BUILTINS["without_tax"](gross, rate, currency)


@pytest.mark.parametrize("missing", [None, ""])
def test_nothing_has_no_net_and_no_tax(missing: Any) -> None:
    for name in ("without_tax", "tax_within"):
        assert BUILTINS[name](missing, "20", "EUR") is None
        assert BUILTINS[name]("10", missing, "EUR") is None
