"""Compiles a mapping to Python source: one function, as if written by hand.

Interpreting a mapping per record costs 5 to 300 times (measured; see docs/adr/0003). The generated function builds
plain dicts; a second, traced version of it is compiled only when a record fails, and tells which field was at fault.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel

from comptoir.mapping import shapes
from comptoir.mapping.functions import (
    BUILTINS,
    CONVERSION_TYPES,
    CONVERSIONS,
    at,
    exact,
    items,
    nested,
    pick,
    shown,
    some,
)
from comptoir.mapping.paths import PICK, split, wrong_path
from comptoir.mapping.source import Located, MappingSource, Problems

__all__ = ["Compiled", "compile_mapping", "is_context"]

_CONTEXT = re.compile(r"^(connection|channel|company\.(name|country|currency|time_zone|siren)|config\.[a-z_]+)$")
_SOURCES = ("from", "const", "context", "call", "index", "object", "each", "list", "chain")
_VALUE_WORDS = {"as", "table", "default", "on"}
#: Which words may stand beside a source; any other would be ignored in silence.
_WORDS = {
    "from": _VALUE_WORDS,
    "const": _VALUE_WORDS,
    "context": _VALUE_WORDS,
    "index": _VALUE_WORDS,
    "call": _VALUE_WORDS | {"with"},
    "object": {"from", "skip_if_empty", "on"},
    "each": {"fields", "value", "on"},
    "list": {"on"},
    "chain": {"on"},
}
_MISSING = object()
#: How a person would call what a rule gives.
_TYPE_WORDS: dict[type, str] = {
    bool: "true or false",
    date: "a day",
    datetime: "a moment",
    dict: "an object",
    int: "a whole number",
    str: "text",
}
#: The frequent conversions without a call where the value has the usual type already.
_FAST = {
    "text": "(({name}.strip() or None) if ({name} := {value}).__class__ is str else _c_text({name}))",
    "code": "(({name}.strip() or None) if ({name} := {value}).__class__ is str else "
    "str({name}) if {name}.__class__ is int else _c_code({name}))",
    "decimal": "(_exact({name}) if ({name} := {value}).__class__ is str and {name} or {name}.__class__ is int "
    "else _c_decimal({name}))",
    # A time without a zone is UTC, see `functions.utc`.
    "utc": "(_moment({name} + '+00:00') if ({name} := {value}).__class__ is str and len({name}) == 19 "
    "else _c_utc({name}))",
}


class Compiled:
    """Source and functions of one mapping."""

    def __init__(self, source: str, traced_source: Callable[[], str], names: dict[str, Any]) -> None:
        self.source = source
        self.apply: Callable[..., dict[str, Any]] = _execute(source, names)
        self._traced_source = traced_source
        self._names = names
        self._traced: Callable[..., dict[str, Any]] | None = None

    @property
    def traced(self) -> Callable[..., dict[str, Any]]:
        """The same function, but `_t(path, expression)`, its last argument, evaluates every field."""
        if self._traced is None:
            self._traced = _execute(self._traced_source(), self._names)
        return self._traced


def _execute(source: str, names: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    space = dict(names)
    # The source is generated from a checked tree: names are ours, every literal went through repr().
    exec(compile(source, "<mapping>", "exec"), space)  # noqa: S102 - generated from a checked mapping, see above
    function: Callable[..., dict[str, Any]] = space["apply"]
    return function


def is_context(name: str) -> bool:
    """Whether `context:` may name it."""
    return _CONTEXT.match(name) is not None


def compile_mapping(
    source: MappingSource,
    *,
    model: type[BaseModel],
    functions: Mapping[str, Callable[..., Any]],
    schema: dict[str, Any] | None,
) -> Compiled:
    """The compiled mapping; ConfigError with every fault (file and line) when it does not fit model or schema."""
    writer = _Writer(source, model, functions, schema)
    writer.write(traced=False)
    writer.problems.raise_if_any()
    writer.share_calls()
    fast = writer.write(traced=False)
    return Compiled(fast, lambda: writer.write(traced=True), writer.names)


class _Scope:
    """Where plain paths start: a Python expression and what is known about it."""

    def __init__(self, expression: str, model: Any, schema: dict[str, Any] | None, index: str | None) -> None:
        self.expression = expression
        self.model = model
        self.schema = schema
        self.index = index


class _Writer:
    def __init__(
        self,
        source: MappingSource,
        model: type[BaseModel],
        functions: Mapping[str, Callable[..., Any]],
        schema: dict[str, Any] | None,
    ) -> None:
        self.source = source
        self.model = model
        self.reads_dicts = source.direction == "in"
        self.functions = {**BUILTINS, **functions}
        self.schema = schema
        self.problems = Problems()
        self.tables: Located = source.tree.get("tables") or Located()
        self.names: dict[str, Any] = {
            "_E": {},
            "_at": at,
            "_exact": exact,
            "_items": items,
            "_moment": datetime.fromisoformat,
            "_nested": nested,
            "_pick": pick,
            "_some": some,
        }
        self.depth = 0
        self.traced = False
        self.writes_traced = False
        self.reads: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.shared: dict[str, str] = {}

    def write(self, *, traced: bool) -> str:
        self.traced = self.writes_traced = traced
        self.depth, self.reads = 0, {}
        fields = self.source.tree.get("fields")
        if not isinstance(fields, Located):
            self.problems.add(self.source.tree, "mapping", "a mapping needs `fields`")
            return ""
        root = _Scope("r", None if self.reads_dicts else self.model, self.schema if self.reads_dicts else None, None)
        target = self.model if self.reads_dicts else None
        target_schema = None if self.reads_dicts else self.schema
        body = self._object(fields, root, target, target_schema, "")
        tracer = ", _t=None" if traced else ""
        before = {} if traced else {**self.reads, **self.shared}
        first = "".join(f"    {name} = {expression}\n" for expression, name in before.items())
        return f"def apply(r, ctx, parent=None, creating=True{tracer}):\n{first}    return {body}\n"

    def share_calls(self) -> None:
        """From the next writing on, a call that the root makes twice with the same arguments is made once.

        Functions are pure. Both places are always evaluated, so it fails for no record that did not fail before.
        """
        repeated = [call for call, times in self.calls.items() if times > 1]
        self.shared = {call: f"_s{number}" for number, call in enumerate(repeated, 1)}

    # -- objects and lists -------------------------------------------------------------------------------------

    def _object(
        self, fields: Located, scope: _Scope, target: type[BaseModel] | None, target_schema: Any, path: str
    ) -> str:
        parts, conditional = [], []
        for name, rule in fields.items():
            annotation: Any = _MISSING
            if target is not None:
                annotation = shapes.attribute(target, str(name)) if str(name) in target.model_fields else None
                if annotation is None:
                    self.problems.add(fields, name, f"{target.__name__} has no field {name!r}")
                    continue
            known, inner_schema = shapes.schema_at(target_schema, str(name))
            if not known:
                self.problems.add(fields, name, f"the platform's schema has no field {name!r}")
            # Part of an f-string in the traced version: a brace in a payload's key must stay a brace.
            word = str(name).replace("{", "{{").replace("}", "}}")
            where = f"{path}.{word}" if path else word
            expression = self._rule(fields, name, rule, scope, annotation, inner_schema, where)
            if isinstance(rule, Located) and rule.get("on") is not None:
                if rule["on"] != "create" or self.reads_dicts:
                    self.problems.add(rule, "on", "`on: create` is the only condition, and only in `out` mappings")
                conditional.append(f"**({{{name!r}: {expression}}} if creating else _E)")
            else:
                parts.append(f"{name!r}: {expression}")
        if target is not None:
            for name, field in target.model_fields.items():
                if field.is_required() and name not in fields:
                    self.problems.add(fields, None, f"{target.__name__}.{name} is required and not mapped")
        return "{" + ", ".join([*parts, *conditional]) + "}"

    def _rule(self, owner: Located, key: Any, rule: Any, scope: _Scope, annotation: Any, schema: Any, path: str) -> str:
        if isinstance(rule, str):
            expression = self._path(owner, key, rule, scope)
            self._fits(owner, key, path, annotation, self._known_type(rule, scope))
            return self._leaf(path, expression)
        if not isinstance(rule, Located):
            self.problems.add(owner, key, f"a rule is a path or a mapping, not {shown(rule)}")
            return "None"
        kinds = [s for s in _SOURCES if s in rule]
        if "object" in kinds and "from" in kinds:
            kinds.remove("from")
        if len(kinds) != 1:
            self.problems.add(owner, key, f"a rule needs exactly one of {', '.join(_SOURCES)}; found {kinds or 'none'}")
            return "None"
        kind = kinds[0]
        for word in rule:
            if word != kind and word not in _WORDS[kind]:
                allowed = ", ".join(sorted(_WORDS[kind]))
                self.problems.add(rule, word, f"unknown word {word!r} beside `{kind}`; allowed: {allowed}")
        if kind == "object":
            return self._nested(rule, scope, annotation, schema, path)
        if kind == "each":
            return self._each(rule, scope, annotation, schema, path)
        if kind in ("list", "chain"):
            return self._list(rule, kind, scope, annotation, schema, path)
        expression, given = self._source(rule, kind, scope)
        expression, given = self._modify(rule, expression, given, annotation)
        self._fits(owner, key, path, annotation, given)
        return self._leaf(path, expression)

    def _inner(
        self, rule: Located, key: str, inner: Any, scope: _Scope, annotation: Any, schema: Any, path: str
    ) -> str:
        """A rule that stands in a list or among arguments, not under a field's name."""
        if isinstance(inner, Located) and "on" in inner:
            self.problems.add(inner, "on", "`on: create` belongs to a field, not to a value in a list")
        return self._rule(rule, key, inner, scope, annotation, schema, path)

    def _fits(self, owner: Located, key: Any, path: str, annotation: Any, given: type | None) -> None:
        if given is not None and annotation is not _MISSING and not shapes.accepts_type(annotation, given):
            place = re.sub(r"\[\{_i\d+\}\]", "[]", path)  # which element of a list is not known here
            hint = "; `as: code` makes text of it" if given is int and shapes.accepts_type(annotation, str) else ""
            what = _TYPE_WORDS.get(given, f"a {given.__name__}")
            self.problems.add(owner, key, f"{place}: {what} does not fit this field{hint}")

    def _known_type(self, path: str, scope: _Scope) -> type | None:
        """The type that the platform's schema promises at a path; None when it is open."""
        if not self.reads_dicts or not isinstance(path, str) or path.startswith("$parent"):
            return None
        return shapes.type_in_schema(self._below(path, scope)[1])

    def _nested(self, rule: Located, scope: _Scope, annotation: Any, schema: Any, path: str) -> str:
        fields = rule["object"]
        if not isinstance(fields, Located):
            self.problems.add(rule, "object", "`object` must be a mapping of fields")
            return "None"
        target = None if annotation is _MISSING else shapes.model_of(annotation)
        if annotation is not _MISSING and target is None and not shapes.is_open(annotation):
            self.problems.add(rule, "object", f"{path} is no nested object in the model")
            return "None"
        if "from" not in rule:
            inner = self._object(fields, scope, target, schema, path)
            return self._skip(rule, fields, inner)
        name = self._name("o")
        read = self._path(rule, "from", rule["from"], scope)
        model, below = self._below(rule["from"], scope)
        inner = self._object(fields, _Scope(name, model, below, scope.index), target, schema, path)
        inner = self._skip(rule, fields, inner)
        if self.reads_dicts and not self.traced:
            return (
                f"({inner} if ({name} := {read}).__class__ is dict and {name} "
                f"or ({name} := _nested({name})) is not None else None)"
            )
        if self.reads_dicts:
            read = self._leaf(path, f"_nested({read})")
        return f"({inner} if ({name} := {read}) is not None else None)"

    def _skip(self, rule: Located, fields: Located, inner: str) -> str:
        """Wraps an object so that it is None when all the named inner fields are empty."""
        names = rule.get("skip_if_empty")
        if names is None:
            return inner
        if not isinstance(names, list) or any(n not in fields for n in names):
            self.problems.add(rule, "skip_if_empty", "`skip_if_empty` lists fields of this object")
            return inner
        name = self._name("d")
        tests = " or ".join(f"{name}.get({n!r})" for n in names) or "True"
        return f"({name} if ({name} := {inner}) and ({tests}) else None)"

    def _each(self, rule: Located, scope: _Scope, annotation: Any, schema: Any, path: str) -> str:
        element: Any = _MISSING
        if annotation is not _MISSING:
            element = shapes.element_of(annotation)
            if element is None:
                self.problems.add(rule, "each", f"{path} is no list in the model")
                return "None"
        item, index = self._name("e"), self._name("i")
        read = self._path(rule, "each", rule["each"], scope)
        model, below = self._below(rule["each"], scope)
        promised = self._known_type(rule["each"], scope)
        if promised not in (None, list) or not self._is_list(rule["each"], scope):
            self.problems.add(rule, "each", f"{rule['each']!r} is no list")
        inner = _Scope(item, model, below.get("items") if below else None, index)
        place = f"{path}[{{{index}}}]"
        if isinstance(rule.get("fields"), Located) and "value" not in rule:
            target = None if element is _MISSING else shapes.model_of(element)
            if element is not _MISSING and target is None and not shapes.is_open(element):
                self.problems.add(rule, "fields", f"{path} is no list of objects in the model")
            body = self._object(rule["fields"], inner, target, (schema or {}).get("items"), place)
            return f"[{body} {self._loop(index, item, read, path, body)}]"
        if "value" in rule and "fields" not in rule:
            value = self._inner(rule, "value", rule["value"], inner, element, None, place)
            name = self._name("v")
            loop = self._loop(index, item, read, path, value)
            return f"[{name} {loop} if ({name} := {value}) not in (None, '')]"
        self.problems.add(rule, "each", "`each` needs either `fields` (a mapping) or `value`")
        return "[]"

    def _loop(self, index: str, item: str, read: str, path: str, body: str) -> str:
        """Goes through a list, counting from 1 where the body asks for the number."""
        found = self._leaf(path, f"_items({read})") + " or ()"
        if not self.traced and read.isidentifier():
            found = f"({read} if {read}.__class__ is list else _items({read}))"
        return f"for {index}, {item} in enumerate({found}, 1)" if index in body else f"for {item} in {found}"

    def _list(self, rule: Located, kind: str, scope: _Scope, annotation: Any, schema: Any, path: str) -> str:
        if not isinstance(rule[kind], list):
            self.problems.add(rule, kind, f"`{kind}` is a list of rules")
            return "[]"
        element: Any = _MISSING
        if annotation is not _MISSING:
            element = shapes.element_of(annotation)
            if element is None:
                self.problems.add(rule, kind, f"{path} is no list in the model")
                return "[]"
        parts = []
        for number, inner in enumerate(rule[kind], 1):
            if kind == "list":
                below = (schema or {}).get("items")
                parts.append(self._inner(rule, kind, inner, scope, element, below, f"{path}[{number}]"))
            else:
                # Positions count within the platform's own list: charges(fee_lines)[2].net
                name = inner.get("each") if isinstance(inner, Located) else None
                where = f"{path}({name})" if isinstance(name, str) and "{" not in name else path
                parts.append(self._inner(rule, kind, inner, scope, annotation, schema, where))
        if kind == "chain":
            return "[" + ", ".join(f"*({p} or ())" for p in parts) + "]"
        return f"_some({', '.join(parts)})"

    # -- values ------------------------------------------------------------------------------------------------

    def _source(self, rule: Located, kind: str, scope: _Scope) -> tuple[str, type | None]:
        if kind == "from":
            return self._path(rule, "from", rule["from"], scope), None
        if kind == "const":
            value = rule["const"]
            # Text may stand for a date or a word of an enumeration: there the model itself decides, see _modify.
            return self._literal(value), None if value is None or isinstance(value, str) else type(value)
        if kind == "context":
            name = str(rule["context"])
            if not is_context(name):
                self.problems.add(rule, "context", f"unknown context {name!r}")
            return f"ctx[{name!r}]", None
        if kind == "index":
            if scope.index is None:
                self.problems.add(rule, "index", "`index` only has a meaning inside `each`")
                return "0", int
            return scope.index, int
        return self._call(rule, scope), None

    def _call(self, rule: Located, scope: _Scope) -> str:
        name = str(rule["call"])
        function = self.functions.get(name)
        if function is None:
            self.problems.add(rule, "call", f"unknown function {name!r}; known: {', '.join(sorted(self.functions))}")
            return "None"
        arguments = rule.get("with", [])
        if not isinstance(arguments, list):
            self.problems.add(rule, "with", "`with` is a list of paths or rules")
            return "None"
        place = f"_f{list(self.functions).index(name) + 1}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
        self.names[place] = function
        parts = []
        for argument in arguments:
            if isinstance(argument, (str, Located)):
                parts.append(self._argument(rule, argument, scope))
            else:
                parts.append(self._literal(argument))
        call = f"{place}({', '.join(parts)})"
        if self.writes_traced or scope.expression != "r" or scope.index is not None:
            return call
        self.calls[call] += 1
        return self.shared.get(call, call)

    def _literal(self, value: Any) -> str:
        """A constant as Python source. Only what YAML has can come here; anything else would be our own mistake."""
        written = repr(value)
        ast.literal_eval(written)
        return written

    def _argument(self, rule: Located, argument: Any, scope: _Scope) -> str:
        was, self.traced = self.traced, False  # the whole call is one traced expression
        try:
            return self._inner(rule, "with", argument, scope, _MISSING, None, "")
        finally:
            self.traced = was

    def _modify(self, rule: Located, expression: str, given: type | None, annotation: Any) -> tuple[str, type | None]:
        if "as" in rule:
            conversion = rule["as"]
            if conversion not in CONVERSIONS:
                self.problems.add(rule, "as", f"unknown conversion {conversion!r}; known: {', '.join(CONVERSIONS)}")
                return expression, None
            self.names[f"_c_{conversion}"] = CONVERSIONS[conversion]
            given = CONVERSION_TYPES[conversion]
            fast = _FAST.get(conversion)
            if fast is None:
                expression = f"_c_{conversion}({expression})"
            else:
                expression = fast.format(name=self._name("v"), value=expression)
        if "table" in rule:
            expression, given = self._table(rule, expression, annotation), None
        if "default" in rule:
            default = rule["default"]
            if annotation is not _MISSING and (why := shapes.reject_value(annotation, default)):
                self.problems.add(rule, "default", f"the default {shown(default)} does not fit: {why}")
            name = self._name("v")
            # What a conversion gives is never ''.
            empty = "is not None" if given is not None and "as" in rule else "not in (None, '')"
            expression = f"({name} if ({name} := {expression}) {empty} else {self._literal(default)})"
        if "const" in rule and not {"as", "table"} & rule.keys() and annotation is not _MISSING:
            why = shapes.reject_value(annotation, rule["const"])
            if why and rule.get("default") is None:
                self.problems.add(rule, "const", f"the constant {shown(rule['const'])} does not fit: {why}")
        return expression, given

    def _table(self, rule: Located, expression: str, annotation: Any) -> str:
        name = str(rule["table"])
        table = self.tables.get(name)
        if not isinstance(table, Located):
            self.problems.add(rule, "table", f"there is no table {name!r}; known: {', '.join(map(str, self.tables))}")
            return "None"
        for key, value in table.items():
            if annotation is not _MISSING and (why := shapes.reject_value(annotation, value)):
                self.problems.add(table, key, f"the value {shown(value)} of table {name} does not fit: {why}")
        rows = {key: value for key, value in table.items() if key != "_default_"}
        place = f"_table{list(self.tables).index(name) + 1}"
        self.names[place] = _Table(name, rows)
        value = self._name("k")
        looked_up = f"{place}[{value}]"
        if "_default_" in table:
            looked_up = f"{place}.get({value}, {self._literal(table['_default_'])})"
        if "default" in rule or (annotation is not _MISSING and shapes.is_optional(annotation)):
            # Nothing stays nothing where that is allowed; the table is about values.
            return f"(None if ({value} := {expression}) in (None, '') else {looked_up})"
        return looked_up.replace(value, expression)

    # -- paths -------------------------------------------------------------------------------------------------

    def _path(self, owner: Located, key: Any, path: Any, scope: _Scope) -> str:
        if not isinstance(path, str) or not path:
            self.problems.add(owner, key, f"a path is a text such as billing.city, not {shown(path)}")
            return "None"
        if why := wrong_path(path):
            self.problems.add(owner, key, f"{path!r} is no path: {why}")
            return "None"
        start, segments = self._start(path, scope)
        expression = start.expression
        if expression == "parent":
            expression = "(parent or _E)"
        model, schema = start.model, start.schema
        optional = False
        for position, segment in enumerate(segments):
            match = PICK.match(segment)
            name = match.group(1) if match else segment
            if self.reads_dicts:
                known, schema = shapes.schema_at(schema, name)
                if not known:
                    self.problems.add(owner, key, f"the platform's schema has no {path!r} (at {name!r})")
                    return "None"
                if position == 1 and expression in self.reads.values():
                    expression = self._read(f"{expression} or _E")
                elif position:
                    expression = f"({expression} or _E)"
                expression = f"{expression}.get({name!r})"
                if expression == f"r.get({name!r})":
                    expression = self._read(expression)
                if match:
                    expression = f"_pick({expression}, {match.group(2)!r}, {match.group(3)!r})"
                    schema = (schema or {}).get("items")
                continue
            if model is not None:
                annotation = shapes.attribute(model, name) if isinstance(model, type) else None
                if annotation is None:
                    self.problems.add(owner, key, f"{getattr(model, '__name__', model)} has no {name!r} (in {path!r})")
                    return "None"
            else:
                self.problems.add(owner, key, f"{path!r}: {name!r} is no object")
                return "None"
            expression = f"_at({expression}, {name!r})" if optional else f"{expression}.{name}"
            optional = optional or shapes.is_optional(annotation)
            model = shapes.model_of(annotation)
        return expression

    def _read(self, expression: str) -> str:
        """A local name for what is read from the record's root: lines and charges ask for it again and again.

        Not in the traced version, where each field must fail by itself.
        """
        if self.writes_traced:
            return expression
        return self.reads.setdefault(expression, f"_r{len(self.reads) + 1}")

    def _below(self, path: str, scope: _Scope) -> tuple[Any, dict[str, Any] | None]:
        """Model (out) or schema (in) of what a path leads to; of one element when it is a list."""
        start, segments = self._start(path, scope)
        model, schema = start.model, start.schema
        for segment in segments:
            match = PICK.match(segment)
            name = match.group(1) if match else segment
            if self.reads_dicts:
                _, schema = shapes.schema_at(schema, name)
                if match:
                    schema = (schema or {}).get("items")
            elif isinstance(model, type):
                annotation = shapes.attribute(model, name)
                model = shapes.model_of(shapes.element_of(annotation) or annotation)
        return model, schema

    def _is_list(self, path: str, scope: _Scope) -> bool:
        """Whether a path of an `out` mapping leads to a list (an unknown path is another problem's affair)."""
        if self.reads_dicts or not isinstance(path, str):
            return True
        head, _, last = path.rpartition(".")
        model = self._below(head, scope)[0] if head else self._start(path, scope)[0].model
        annotation = shapes.attribute(model, last) if isinstance(model, type) else None
        return annotation is None or shapes.element_of(annotation) is not None

    def _start(self, path: str, scope: _Scope) -> tuple[_Scope, list[str]]:
        root_model = None if self.reads_dicts else self.model
        if path == ".":
            return scope, []
        if path == "$root" or path.startswith("$root."):
            root = _Scope("r", root_model, self.schema if self.reads_dicts else None, None)
            return root, split(path[6:])
        if path == "$parent" or path.startswith("$parent."):
            return _Scope("parent", None, None, None), split(path[8:])
        return scope, split(path)

    def _leaf(self, path: str, expression: str) -> str:
        if not self.traced or not path:
            return expression
        return f"_t(f{path!r}, lambda: {expression})"

    def _name(self, prefix: str) -> str:
        self.depth += 1
        return f"_{prefix}{self.depth}"


class _Table(dict[Any, Any]):
    """A value table; an unmapped value says so instead of being guessed."""

    def __init__(self, name: str, rows: dict[Any, Any]) -> None:
        super().__init__(rows)
        self._name = name

    def __missing__(self, key: Any) -> Any:
        known = ", ".join(str(k) for k in list(self)[:12])
        raise ValueError(f"the value {shown(key)} is not in the table {self._name} (it has: {known})")
