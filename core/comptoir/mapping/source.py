"""Reads mapping files: YAML with the line of every key, so that each error names file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from comptoir.errors import ConfigError

__all__ = ["Located", "MappingSource", "Problem", "Problems", "merge", "read"]

_NAME = re.compile(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.(in|out)$")
_TOP_KEYS = {"mapping", "version", "schema", "functions", "tables", "fields", "extends"}


class Located(dict[Any, Any]):
    """A YAML mapping that remembers where it stands: `line` of itself, `lines` of each key, `file`."""

    line: int
    lines: dict[Any, int]
    file: str


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
        self.found.append(Problem(where.file, where.lines.get(key, where.line), message))

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
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{shown}:{line}: {error.problem}", code="mapping_file") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{shown}:1: a mapping file is a YAML mapping", code="mapping_file")
    tree = _build(node, shown)
    problems = Problems()
    for key in tree:
        if key not in _TOP_KEYS:
            problems.add(tree, key, f"unknown key {key!r}; known: {', '.join(sorted(_TOP_KEYS))}")
    name = tree.get("mapping")
    expected = f"{path.parent.name}.{path.stem}"
    if not isinstance(name, str) or not _NAME.match(name):
        problems.add(tree, "mapping", "`mapping` must be platform.entity.in or platform.entity.out")
    elif name != expected:
        problems.add(tree, "mapping", f"`mapping` is {name!r} but the file's place says {expected!r}")
    if not isinstance(tree.get("fields", Located()), Located):
        problems.add(tree, "fields", "`fields` must be a mapping")
    problems.raise_if_any()
    return MappingSource(str(name), tree, ((shown, text),), path.parent)


def merge(base: MappingSource, override: MappingSource) -> MappingSource:
    """The base with a merchant's override laid over it: fields replaced, tables extended key by key."""
    tree = _copy(base.tree)
    for key in ("version", "schema", "functions"):
        if key in override.tree:
            _put(tree, key, override.tree[key], override.tree)
    _merge_into(tree, "tables", override.tree, depth=2)
    _merge_into(tree, "fields", override.tree, depth=8)
    return MappingSource(base.name, tree, (*base.texts, *override.texts), base.folder)


def _merge_into(tree: Located, key: str, override: Located, *, depth: int) -> None:
    if key not in override:
        return
    mine, theirs = tree.get(key), override[key]
    if depth == 0 or not isinstance(mine, Located) or not isinstance(theirs, Located) or "from" in theirs:
        _put(tree, key, theirs, override)
        return
    for inner in theirs:
        _merge_into(mine, inner, theirs, depth=depth - 1)


def _put(tree: Located, key: Any, value: Any, source: Located) -> None:
    tree[key] = value
    tree.lines[key] = source.lines.get(key, source.line)


def _copy(tree: Located) -> Located:
    new = Located({key: _copy(value) if isinstance(value, Located) else value for key, value in tree.items()})
    new.line, new.lines, new.file = tree.line, dict(tree.lines), tree.file
    return new


def _build(node: yaml.MappingNode, file: str) -> Located:
    tree = Located()
    tree.line, tree.lines, tree.file = node.start_mark.line + 1, {}, file
    for key, value, line in _pairs(node, file):
        if key in tree:
            raise ConfigError(f"{file}:{line}: the key {key!r} stands twice", code="mapping_file")
        tree[key] = value
        tree.lines[key] = line
    return tree


def _pairs(node: yaml.MappingNode, file: str) -> Iterator[tuple[Any, Any, int]]:
    for key_node, value_node in node.value:
        yield _scalar(key_node), _value(value_node, file), key_node.start_mark.line + 1


def _value(node: yaml.Node, file: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _build(node, file)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, file) for child in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    # `on:` is a word of ours, not YAML 1.1's "true".
    if isinstance(node, yaml.ScalarNode) and node.value in ("on", "off", "yes", "no"):
        return node.value
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()
