"""A wrong mapping is refused with file and line before any record flows; overrides; the texts' hash."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from comptoir.errors import ConfigError
from comptoir.mapping.source import read

from tests.support.mappings import CONTEXT, Workshop, functions


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": ["string", "null"]},
        "taxed": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "any": {},
        "billing": {"type": "object", "properties": {"city": {"type": "string"}}},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
}

HEAD = "mapping: demo.item.in\nfields:\n  external_id: {from: id, as: code}\n  name: {from: name, as: text}\n"

#: What is wrong, the fields after HEAD (line 5 on), the line of the message, words in it.
WRONG_IN: list[tuple[str, str, int, str]] = [
    ("unknown model field", "  colour: name", 5, "Item has no field 'colour'"),
    ("unknown inner field", "  prices:\n    each: lines\n    fields:\n      colour: sku", 8, "Price has no field"),
    ("missing inner field", "  prices:\n    each: lines\n    fields:\n      price_list: sku", 8,
     "Price.amount is required and not mapped"),
    ("unknown field in a chain", "  prices:\n    chain:\n      - {each: lines, fields: {colour: sku}}", 7,
     "Price has no field 'colour'"),
    ("a date for a number", "  weight_kg: {from: name, as: utc}", 5, "weight_kg: a moment does not fit"),
    ("text for a number", "  weight_kg: {from: name, as: text}", 5, "weight_kg: text does not fit"),
    ("a number for text", "  sku: {from: id, as: integer}", 5, "sku: a whole number does not fit this field"),
    ("a float constant for an amount", "  weight_kg: {const: 1.5}", 5, "weight_kg: a float does not fit"),
    ("the platform's number for text", "  sku: id", 5, "sku: a whole number does not fit this field; `as: code`"),
    ("the platform's boolean for text", "  sku: taxed", 5, "sku: true or false does not fit"),
    ("the platform's list for text", "  sku: {from: tags}\n  product_id: tags", 6, "product_id: a list does not fit"),
    ("position for text", "  options: {each: lines, fields: {attribute: {index: 1}, value: sku}}", 5,
     "options[].attribute: a whole number does not fit this field; `as: code` makes text of it"),
    ("a list for text", "  sku: {list: [name]}", 5, "sku is no list in the model"),
    ("each for text", "  sku: {each: lines, value: sku}", 5, "sku is no list in the model"),
    ("object for text", "  sku: {object: {a: name}}", 5, "sku is no nested object"),
    ("fields for a list of codes", "  gtins: {each: lines, fields: {a: sku}}", 5, "no list of objects"),
    ("each of an object", "  gtins: {each: billing, value: city}", 5, "'billing' is no list"),
    ("unknown path", "  sku: colour", 5, "the platform's schema has no 'colour' (at 'colour')"),
    ("unknown inner path", "  sku: {from: billing.colour}", 5, "has no 'billing.colour' (at 'colour')"),
    ("unknown path in each", "  gtins: {each: lines, value: ean}", 5, "has no 'ean'"),
    ("unknown path in an object", "  extra: {object: {x: {from: billing, object: {y: town}}}}", 5, "has no 'town'"),
    ("unknown path from the root", "  gtins: {each: lines, value: $root.ean}", 5, "has no '$root.ean'"),
    ("unknown path in a call", "  sku: {call: first, with: [name, colour]}", 5, "has no 'colour'"),
    ("a path into text", "  sku: name.first", 5, "has no 'name.first'"),
    ("unknown table", "  kind: {from: name, table: kinds}", 5, "there is no table 'kinds'; known: states"),
    ("unknown function", "  sku: {call: rot13, with: [name]}", 5, "unknown function 'rot13'; known: boolean, cents2"),
    ("unknown conversion", "  sku: {from: name, as: rot13}", 5, "unknown conversion 'rot13'; known: text, code"),
    ("unknown context", "  sku: {context: user}", 5, "unknown context 'user'"),
    ("wrong constant", "  kind: {const: gadget}", 5, "the constant 'gadget' does not fit"),
    ("null for a required field", "  state: {const: null}", 5, "the constant None does not fit"),
    ("wrong default", "  kind: {from: name, default: gadget}", 5, "the default 'gadget' does not fit"),
    ("wrong table value", "  kind: {from: name, table: states}", 11, "the value 'gadget' of table states does not fit"),
    ("index outside each", "  source_stock: {index: 1}", 5, "`index` only has a meaning inside `each`"),
    ("on: create in an in mapping", "  sku: {from: name, on: create}", 5, "only in `out` mappings"),
    ("two sources", "  sku: {from: name, const: x}", 5, "exactly one of from, const"),
    ("no source", "  sku: {as: text}", 5, "found none"),
    ("a list as a rule", "  sku: [name]", 5, "a rule is a path or a mapping, not a list"),
    ("a number as a rule", "  sku: 5", 5, "a rule is a path or a mapping, not 5"),
    ("a word that has no meaning", "  sku:\n    from: name\n    sa: text", 7, "unknown word 'sa' beside `from`"),
    ("a word of another source", "  gtins:\n    each: lines\n    value: sku\n    as: code", 8,
     "unknown word 'as' beside `each`; allowed: fields, on, value"),
    ("with without call", "  sku: {from: name, with: [name]}", 5, "unknown word 'with' beside `from`"),
    ("with is no list", "  sku: {call: first, with: name}", 5, "`with` is a list"),
    ("each without fields", "  gtins: {each: lines}", 5, "`each` needs either"),
    ("each with both", "  gtins: {each: lines, value: sku, fields: {a: sku}}", 5, "`each` needs either"),
    ("object is no mapping", "  extra: {object: name}", 5, "`object` must be a mapping"),
    ("skip_if_empty of another field", "  extra: {object: {a: name}, skip_if_empty: [b]}", 5, "`skip_if_empty` lists"),
    ("list is no list", "  gtins: {list: name}", 5, "`list` is a list of rules"),
    ("on in a list", "  gtins: {list: [{from: name, on: create}]}", 5, "belongs to a field"),
    ("an empty path", "  sku: ''", 5, "a path is a text"),
    ("a path that is a number", "  sku: {from: 5}", 5, "a path is a text such as billing.city, not 5"),
    ("two dots", "  sku: billing..city", 5, "a part between two dots is empty"),
    ("an open bracket", "  sku: 'lines[sku=A'", 5, "name[key=value]"),
    ("a position in a path", "  sku: 'lines[0].sku'", 5, "name[key=value]"),
    ("unknown $", "  sku: $above.name", 5, "$above is unknown; there are $root and $parent"),
]  # fmt: skip

TABLES = "\ntables:\n  states:\n    a: gadget\n"


@pytest.mark.parametrize(("fields", "line", "words"), [w[1:] for w in WRONG_IN], ids=[w[0] for w in WRONG_IN])
def test_a_wrong_rule_is_named(shop: Workshop, fields: str, line: int, words: str) -> None:
    text = HEAD + fields.ljust(1)
    # The table stands at the end, always on the same lines.
    text += "\n" * (8 - text.count("\n") - 1) + TABLES
    text = text.replace("fields:\n", "schema: schema.json\nfields:\n", 1)
    with pytest.raises(ConfigError) as caught:
        shop.make("item.in", text, schema=SCHEMA)
    assert caught.value.code == "mapping_file"
    shown = [part for part in caught.value.message.splitlines() if words in part]
    assert shown, caught.value.message
    assert shown[0].startswith(f"demo/item.in.yaml:{line + 1}: "), caught.value.message


def test_a_missing_required_field(shop: Workshop) -> None:
    with pytest.raises(ConfigError, match=r"demo/item\.in\.yaml:\d+: Item\.name is required and not mapped"):
        shop.make("item.in", "fields:\n  external_id: {from: id, as: code}\n")


def test_all_faults_are_shown_at_once_in_order(shop: Workshop) -> None:
    with pytest.raises(ConfigError) as caught:
        shop.make("item.in", "mapping: demo.item.in\nfields:\n  name: {as: x}\n  colour: y\n  sku: {call: z}\n")
    lines = caught.value.message.splitlines()
    assert [part.split(": ")[0] for part in lines] == [f"demo/item.in.yaml:{n}" for n in (3, 3, 4, 5)]


WRONG_OUT: list[tuple[str, str, int, str]] = [
    ("unknown attribute", "  a: colour", 3, "SalesOrder has no 'colour' (in 'colour')"),
    ("unknown inner attribute", "  a: billing.town", 3, "Address has no 'town' (in 'billing.town')"),
    ("unknown attribute of a line", "  a: {each: lines, value: ean}", 3, "OrderLine has no 'ean'"),
    ("unknown attribute in an object", "  a: {from: buyer.party, object: {b: nick}}", 3, "Party has no 'nick'"),
    ("a path into text", "  a: number.first", 3, "'first' is no object"),
    ("each of text", "  a: {each: number, value: .}", 3, "'number' is no list"),
    ("each of an inner text", "  a: {each: billing.city, value: .}", 3, "'billing.city' is no list"),
    ("a parent", "  a: $parent.number", 3, "is no object"),
    ("unknown payload key", "  colour: number", 3, "the platform's schema has no field 'colour'"),
    ("unknown inner payload key", "  billing: {from: billing, object: {town: city}}", 3, "has no field 'town'"),
    ("unknown payload key of a line", "  lines: {each: lines, fields: {ean: sku}}", 3, "has no field 'ean'"),
    ("another condition", "  a: {from: number, on: update}", 3, "`on: create` is the only condition"),
    ("a table that does not exist", "  a: {from: number, table: t}", 3, "there is no table 't'; known: "),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "line", "words"), [w[1:] for w in WRONG_OUT], ids=[w[0] for w in WRONG_OUT])
def test_a_wrong_out_rule_is_named(shop: Workshop, fields: str, line: int, words: str) -> None:
    payload = {**SCHEMA, "properties": {**SCHEMA["properties"], "a": {}}}  # type: ignore[dict-item]
    text = f"mapping: demo.order.out\nfields:\n{fields}\nschema: schema.json\n"
    with pytest.raises(ConfigError) as caught:
        shop.make("order.out", text, schema=payload)
    assert f"demo/order.out.yaml:{line}: " in caught.value.message
    assert words in caught.value.message


FILES: list[tuple[str, str, int, str]] = [
    ("duplicate key", "mapping: demo.item.in\nfields:\n  a: b\n  a: c\n", 4, "the key 'a' stands twice"),
    ("duplicate inner key", "mapping: demo.item.in\nfields:\n  a: {from: b, from: c}\n", 3, "'from' stands twice"),
    ("one and true", "mapping: demo.item.in\ntables:\n  t: {1: a, true: b}\n", 3, "cannot stand beside"),
    ("another name", "mapping: demo.order.in\nfields: {}\n", 1, "but the file's place says 'demo.item.in'"),
    ("another platform", "mapping: other.item.in\nfields: {}\n", 1, "says 'demo.item.in'"),
    ("no name", "fields: {}\n", 1, "`mapping` must be platform.entity.in"),
    ("a wrong name", "mapping: Item\nfields: {}\n", 1, "`mapping` must be"),
    ("unknown top key", "mapping: demo.item.in\nfield: {}\n", 2, "unknown key 'field'; known: extends, fields"),
    ("fields is a list", "mapping: demo.item.in\nfields: [a]\n", 2, "`fields` must be a mapping"),
    ("tables is a list", "mapping: demo.item.in\ntables: [a]\nfields: {}\n", 2, "`tables` must be a mapping"),
    ("no fields", "mapping: demo.item.in\n", 1, "a mapping needs `fields`"),
    ("no mapping", "- a\n- b\n", 1, "a mapping file is a YAML mapping"),
    ("nothing", "\n", 1, "a mapping file is a YAML mapping"),
    ("an open bracket", "mapping: demo.item.in\nfields:\n  a: {from: b\n", 4, ""),
    ("a tab", "mapping: demo.item.in\nfields:\n\ta: b\n", 3, ""),
    ("an unknown alias", "mapping: demo.item.in\nfields:\n  a: *nobody\n", 3, "undefined alias"),
    ("an alias in itself", "mapping: demo.item.in\nfields: &f\n  a: *f\n", 1, "contains itself"),
    ("two documents", "mapping: demo.item.in\n---\nfields: {}\n", 2, ""),
    ("code", "mapping: demo.item.in\nfields:\n  a: !!python/object/apply:os.system ['id']\n", 3, ""),
    ("an own tag", "mapping: demo.item.in\nfields:\n  a: !env HOME\n", 3, "'!env' is not used in mappings"),
    ("a merge key", "mapping: demo.item.in\nfields:\n  <<: {a: b}\n", 3, "is not used in mappings"),
    ("a list as key", "mapping: demo.item.in\nfields:\n  ? [a]\n  : b\n", 3, "a key is a single word"),
    ("control characters", "mapping: demo.item.in\nfields:\n  a: \x01\n", 1, "no valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "words"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_wrong_file_is_named(shop: Workshop, text: str, line: int, words: str) -> None:
    path = shop.write("item.in", "mapping: demo.item.in\n")
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        shop.load("item.in")
    assert caught.value.code == "mapping_file"
    assert f"demo/item.in.yaml:{line}: " in caught.value.message
    assert words in caught.value.message


def test_a_file_in_another_encoding(shop: Workshop) -> None:
    path = shop.write("item.in", "fields: {}\n")
    path.write_bytes("mapping: démo".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"demo/item\.in\.yaml:1: cannot be read"):
        shop.load("item.in")
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + "  sku: a\n").encode())
    assert shop.load("item.in").name == "demo.item.in"


@pytest.mark.parametrize(
    ("top", "schema", "words"),
    [
        ("schema: other.json", None, "the schema 'other.json' is not beside the mapping"),
        ("schema: schema.json", "{", "is no JSON"),
        ("schema: schema.json", "[1]", "is no JSON object"),
        ("functions: no.such.module", None, "cannot load the functions 'no.such.module'"),
        ("functions: ''", None, "cannot load the functions"),
        ("functions: json", None, "json has no dict FUNCTIONS"),
        ("extends: true", None, "there is no original"),
    ],
)
def test_what_belongs_to_a_mapping_must_be_there(shop: Workshop, top: str, schema: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        shop.make("item.in", HEAD + top, schema=schema)
    assert caught.value.code == "mapping_file"


def test_no_mapping_at_all(shop: Workshop) -> None:
    with pytest.raises(ConfigError, match=r"there is no mapping demo/item\.in\.yaml") as caught:
        shop.load("item.in")
    assert caught.value.code == "no_mapping"
    with pytest.raises(ConfigError, match="no canonical entity 'gadget'"):
        shop.make("gadget.in", "fields: {}")


@pytest.mark.parametrize(
    "text",
    [
        "fields:\n  'a{__import__(\"os\").abort()}': number\n",
        "tables: {'x]; os.abort()#': {a: b}}\nfields: {a: {from: number, table: 'x]; os.abort()#', default: 1}}",
        "fields: {a: {const: '{os.abort()}'}, b: {from: number, default: '\"); os.abort()'}}",
    ],
)  # fmt: skip
def test_no_text_of_a_mapping_becomes_code(shop: Workshop, text: str) -> None:
    mapping = shop.make("order.out", text)
    # The traced version names every field in an f-string.
    assert callable(mapping._compiled.traced)
    with pytest.raises(Exception, match=r"shape|table"):
        mapping.apply(object(), CONTEXT)


# -- overrides ---------------------------------------------------------------------------------------------------

BASE = """
tables:
  kinds: {a: stock, b: service}
  states: {x: active}
fields:
  external_id: {from: id, as: code}
  name: {from: name, as: text}
  kind: {from: kind, table: kinds}
  sku: {from: sku, as: code}
  prices:
    each: prices
    fields:
      price_list: list
      amount: {from: value, as: decimal}
      currency: {context: company.currency}
      basis: {const: incl}
  extra: {object: {a: one, b: {object: {c: two}}}}
"""
RECORD = {
    "id": 1, "name": "n", "kind": "b", "sku": "S", "other": "O", "one": 1, "two": 2, "three": 3,
    "prices": [{"list": "base", "value": "1", "cur": "CHF"}],
}  # fmt: skip


def extended(shop: Workshop, text: str) -> dict[str, Any]:
    shop.write("item.in", BASE)
    shop.write("item.in", f"extends: true\n{text}", folder="merchant")
    return shop.load("item.in", "merchant", "repository").apply(RECORD, CONTEXT)


def test_a_merchants_file_replaces_the_original(shop: Workshop) -> None:
    shop.write("item.in", BASE)
    shop.write("item.in", "fields:\n  external_id: {from: sku, as: code}\n  name: {const: mine}\n", folder="merchant")
    assert shop.load("item.in", "merchant", "repository").apply(RECORD, CONTEXT) == {"external_id": "S", "name": "mine"}
    assert shop.load("item.in").apply(RECORD, CONTEXT)["external_id"] == "1"


def test_an_extension_adds_and_replaces_table_entries(shop: Workshop) -> None:
    mapped = extended(shop, "tables: {kinds: {b: gift_card, c: kit}, own: {q: r}}")
    assert mapped["kind"] == "gift_card"
    assert mapped["sku"] == "S"


@pytest.mark.parametrize(
    ("override", "field", "expected"),
    [
        ("sku: other", "sku", "O"),
        ("sku: {const: fix}", "sku", "fix"),
        ("sku: {call: join, with: [{const: '-'}, sku, other]}", "sku", "S-O"),
        ("kind: {const: kit}", "kind", "kit"),
        ("kind: {from: none, default: stock}", "kind", "stock"),
        ("gtins: {list: [sku]}", "gtins", ["S"]),
        ("extra: {object: {z: three}}", "extra", {"a": 1, "b": {"c": 2}, "z": 3}),
        ("extra: {object: {b: {object: {d: three}}}}", "extra", {"a": 1, "b": {"c": 2, "d": 3}}),
        ("extra: {object: {b: three}}", "extra", {"a": 1, "b": 3}),
        ("extra: {from: prices, object: {z: three}}", "extra", None),
    ],
)
def test_an_extension_changes_fields(shop: Workshop, override: str, field: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(Exception, match="expected an object"):
            extended(shop, f"fields:\n  {override}\n")
        return
    mapped = extended(shop, f"fields:\n  {override}\n")
    assert mapped[field] == expected
    assert mapped["name"] == "n"


def test_an_extension_changes_one_field_of_each_line(shop: Workshop) -> None:
    mapped = extended(shop, "fields: {prices: {fields: {currency: cur}}}")
    assert mapped["prices"] == [{"price_list": "base", "amount": 1, "currency": "CHF", "basis": "incl"}]


def test_a_fault_of_an_extension_names_the_merchants_file(shop: Workshop) -> None:
    with pytest.raises(ConfigError) as caught:
        extended(shop, "fields:\n  colour: a\n  prices: {fields: {tint: b}}\ntables: {kinds: {d: gadget}}\n")
    mine = shop.folder / "merchant" / "demo" / "item.in.yaml"
    assert [part.split(": ")[0] for part in caught.value.message.splitlines()] == [f"{mine}:{n}" for n in (4, 5, 6)]


def test_the_original_is_not_touched_by_an_extension(shop: Workshop) -> None:
    base = read(shop.write("item.in", BASE))
    extended(shop, "tables: {kinds: {b: gift_card}}\nfields: {extra: {object: {z: three}}}")
    again = read(shop.folder / "repository" / "demo" / "item.in.yaml")
    assert base.tree == again.tree


def test_the_schema_of_an_extension_stands_beside_it(shop: Workshop) -> None:
    shop.write("item.in", BASE)
    shop.write("item.in", "extends: true\n", folder="merchant", schema={"properties": {"id": {}}})
    (shop.folder / "merchant" / "demo" / "item.in.yaml").write_text(
        "mapping: demo.item.in\nextends: true\nschema: schema.json\n"
    )
    with pytest.raises(ConfigError, match="schema has no 'name'"):
        shop.load("item.in", "merchant", "repository")


# -- hash and source ---------------------------------------------------------------------------------------------


def test_the_hash_follows_the_texts(shop: Workshop) -> None:
    first = shop.make("item.in", BASE).hash
    assert shop.make("item.in", BASE).hash == first
    assert shop.make("item.in", BASE + "# a remark\n").hash != first
    shop.write("item.in", BASE)
    shop.write("item.in", "extends: true\n", folder="merchant")
    both = shop.load("item.in", "merchant", "repository")
    assert both.hash != first
    assert len(both.texts) == 2


def test_applying_is_plain_python(shop: Workshop) -> None:
    """Whatever reads YAML, compiles or searches by pattern has done so once, when the mapping was loaded."""
    name = functions("demo_pure", plain=lambda value: value)
    mapping = shop.make("item.in", f"functions: {name}\n" + BASE.replace("sku: {from: sku,", "sku: {from: other,"))
    del sys.modules[name]
    assert mapping.source_code.startswith("def apply(r, ctx, parent=None, creating=True):\n")
    compile(mapping.source_code, "<test>", "exec")

    called: list[str] = []

    def profile(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_filename)
        elif event == "c_call" and argument.__name__ in ("compile", "exec", "eval", "match", "search", "sub"):
            called.append(argument.__name__)

    sys.setprofile(profile)
    try:
        mapping.apply(RECORD, CONTEXT)
    finally:
        sys.setprofile(None)
    # <frozen abc> answers isinstance(value, collections.abc.Mapping).
    own = {"<mapping>", "<frozen abc>", "mapping/mapping.py", "mapping/functions.py"}
    assert {"/".join(place.split("/")[-2:]) for place in called} <= own
