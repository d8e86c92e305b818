"""Reads mapping files: YAML with the line of every key, so that each error names file and line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from comptoir.errors import ConfigError

__all__ = ["Located", "MappingSource", "Problem", "Problems", "merge", "parse", "read"]

_NAME = re.compile(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.(in|out)$")
_TOP_KEYS = {"mapping", "version", "schema", "functions", "tables", "fields", "extends"}


class Located(dict[Any, Any]):
    """A YAML mapping that remembers where it stands: `file` and `line` of itself, `places` of each key."""

    file: str
    line: int
    places: dict[Any, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a mapping file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(slots=True)
class Problems:
    """Faults collected so that all are shown at once."""

    found: list[Problem] = field(default_factory=list)

    def add(self, where: Located, key: Any, message: str) -> None:
        """Note a fault at the line of `key` in `where`."""
        file, line = where.places.get(key, (where.file, where.line))
        self.found.append(Problem(file, line, message))

    def raise_if_any(self) -> None:
        """ConfigError with every fault, one a line."""
        if self.found:
            ordered = sorted(self.found, key=lambda p: (p.file, p.line))
            raise ConfigError("\n".join(map(str, ordered)), code="mapping_file")


@dataclass(frozen=True, slots=True)
class MappingSource:
    """A mapping as written: its name, its parsed tree and the texts it was made of."""

    name: str
    tree: Located
    texts: tuple[tuple[str, str], ...]
    folder: Path

    @property
    def platform(self) -> str:
        return self.name.split(".")[0]

    @property
    def entity(self) -> str:
        return self.name.split(".")[1]

    @property
    def direction(self) -> str:
        return self.name.split(".")[2]


def read(path: Path, *, shown_as: str | None = None) -> MappingSource:
    """The mapping in one file; ConfigError with file and line when it is no valid mapping file."""
    shown = shown_as or path.name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}:1: cannot be read: {error}", code="mapping_file") from None
    return parse(text, shown, folder=path.parent, expected=f"{path.parent.name}.{path.stem}")


def parse(text: str, shown: str, *, folder: Path, expected: str) -> MappingSource:
    """The mapping in a text: `shown` names it in errors, `expected` is what it must call itself.

    ConfigError with line when it is no valid mapping.
    """
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = error.problem or error.context or "no valid YAML"
        raise ConfigError(f"{shown}:{mark.line + 1 if mark else 1}: {words}", code="mapping_file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}:1: no valid YAML: {error}", code="mapping_file") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{shown}:1: a mapping file is a YAML mapping", code="mapping_file")
    try:
        tree = _build(node, shown)
    except RecursionError:
        raise ConfigError(f"{shown}:1: an alias (*name) contains itself", code="mapping_file") from None
    problems = Problems()
    for key in tree:
        if key not in _TOP_KEYS:
            problems.add(tree, key, f"unknown key {key!r}; known: {', '.join(sorted(_TOP_KEYS))}")
    name = tree.get("mapping")
    if not isinstance(name, str) or not _NAME.match(name):
        problems.add(tree, "mapping", "`mapping` must be platform.entity.in or platform.entity.out")
    elif name != expected:
        problems.add(tree, "mapping", f"`mapping` is {name!r} but the file's place says {expected!r}")
    for key in ("fields", "tables"):
        if not isinstance(tree.get(key, Located()), Located):
            problems.add(tree, key, f"`{key}` must be a mapping")
    problems.raise_if_any()
    return MappingSource(str(name), tree, ((shown, text),), folder)


def merge(base: MappingSource, override: MappingSource) -> MappingSource:
    """The base with a merchant's override laid over it.

    Tables are extended key by key and fields replaced one by one. A rule that names no source of its own but only
    `object` or `fields` changes those inner fields of the base's rule; any other rule replaces it whole.
    """
    tree = _copy(base.tree)
    for key in ("version", "schema", "functions"):
        if key in override.tree:
            _put(tree, key, override.tree)
    for key, merge_one in (("tables", _merge_table), ("fields", _merge_rule)):
        if key in override.tree:
            _merge_each(tree, key, override.tree, merge_one)
    folder = override.folder if "schema" in override.tree else base.folder
    return MappingSource(base.name, tree, (*base.texts, *override.texts), folder)


def _merge_each(tree: Located, key: Any, override: Located, merge_one: Callable[[Located, Any, Located], None]) -> None:
    """Merges what stands below `key` entry by entry when both sides have entries there."""
    mine, theirs = tree.get(key), override[key]
    if isinstance(mine, Located) and isinstance(theirs, Located):
        for name in theirs:
            merge_one(mine, name, theirs)
    else:
        _put(tree, key, override)


def _merge_table(tables: Located, name: Any, override: Located) -> None:
    _merge_each(tables, name, override, _put)


def _merge_rule(fields: Located, name: Any, override: Located) -> None:
    mine, theirs = fields.get(name), override[name]
    inner = next((word for word in ("object", "fields") if isinstance(theirs, Located) and word in theirs), None)
    if inner is None or not isinstance(mine, Located) or inner not in mine or "from" in theirs or "each" in theirs:
        _put(fields, name, override)
        return
    for word in theirs:
        if word == inner:
            _merge_each(mine, inner, theirs, _merge_rule)
        else:
            _put(mine, word, theirs)


def _put(tree: Located, key: Any, source: Located) -> None:
    tree[key] = source[key]
    tree.places[key] = source.places.get(key, (source.file, source.line))


def _copy(tree: Located) -> Located:
    new = Located({key: _copy(value) if isinstance(value, Located) else value for key, value in tree.items()})
    new.file, new.line, new.places = tree.file, tree.line, dict(tree.places)
    return new


def _build(node: yaml.MappingNode, file: str) -> Located:
    tree = Located()
    tree.file, tree.line, tree.places = file, node.start_mark.line + 1, {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{file}:{line}: a key is a single word or text", code="mapping_file")
        key = _scalar(key_node, file)
        # True == 1 in Python, but not in YAML.
        if key in tree and any(type(k) is type(key) and k == key for k in tree):
            raise ConfigError(f"{file}:{line}: the key {key!r} stands twice", code="mapping_file")
        if key in tree:
            raise ConfigError(f"{file}:{line}: {key!r} cannot stand beside 0/1 or false/true", code="mapping_file")
        tree[key] = _value(value_node, file)
        tree.places[key] = (file, line)
    return tree


def _value(node: yaml.Node, file: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _build(node, file)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, file)
    return [_value(child, file) for child in node.value]


_STANDARD_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
          "null": None, "Null": None, "NULL": None, "~": None, "": None}  # fmt: skip


def _scalar(node: yaml.ScalarNode, file: str) -> Any:
    """Plain words are typed as YAML 1.2 does: NO (Norway), on, 010, 12:30 and 2026-01-01 stay text."""
    text: str = node.value
    if not node.tag.startswith(_STANDARD_TAG) or node.tag.removeprefix(_STANDARD_TAG) in ("binary", "merge"):
        raise ConfigError(
            f"{file}:{node.start_mark.line + 1}: {node.tag.removeprefix(_STANDARD_TAG)!r} is not used in mappings",
            code="mapping_file",
        )
    if node.style or node.tag == _STANDARD_TAG + "str":
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
