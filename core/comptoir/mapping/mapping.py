"""A loaded mapping: apply it, turn the result into the canonical model, know its hash."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from comptoir.errors import ConfigError, MappingError
from comptoir.mapping import shapes
from comptoir.mapping.compiler import Compiled, compile_mapping, is_context
from comptoir.mapping.functions import shown
from comptoir.mapping.source import MappingSource, merge, parse, read
from comptoir.model.base import Canonical, Privacy, privacy_of
from comptoir.model.refs import EntityName
from comptoir.model.registry import ENTITY_MODELS

__all__ = ["Mapping", "find_files", "load_mapping", "mapping_of_text", "validate"]

#: What a mapping's expressions can raise on a record of another shape than expected.
_FAULTS = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


#: Begins a kept text's part with the name of its file.
_FILE = "#==== file: "


class Mapping:
    """A compiled mapping between one platform's records and the canonical model."""

    def __init__(self, source: MappingSource, compiled: Compiled, model: type[Canonical]) -> None:
        self.name = source.name
        self.direction = source.direction
        self.model = model
        self.texts = source.texts
        #: Names of the fields that it gives.
        self.fields = frozenset(map(str, source.tree["fields"]))
        digest = hashlib.blake2b(digest_size=16)
        for _, text in source.texts:
            digest.update(text.encode())
        #: Cited by provenance: the same texts always give the same hash.
        self.hash = digest.hexdigest()
        self._compiled = compiled
        self._apply = compiled.apply

    @property
    def text(self) -> str:
        """The texts as one, to be kept: `mapping_of_text` makes the same mapping of it."""
        return "".join(f"{_FILE}{name}\n{text.rstrip()}\n" for name, text in self.texts)

    @property
    def source_code(self) -> str:
        """The generated Python function, for reading."""
        return self._compiled.source

    def apply(
        self,
        record: Any,
        context: AnyMapping[str, Any],
        *,
        parent: AnyMapping[str, Any] | None = None,
        creating: bool = True,
    ) -> dict[str, Any]:
        """The mapped dict; MappingError with the field path and a hint when a value cannot be mapped."""
        try:
            return self._apply(record, context, parent, creating)
        except _FAULTS as error:
            raise self._explain(record, context, parent, creating, error) from error

    def to_model(
        self, record: Any, context: AnyMapping[str, Any], *, parent: AnyMapping[str, Any] | None = None
    ) -> Canonical:
        """The validated canonical record of a platform's record; MappingError with field path and hint."""
        return self.validated(self.apply(record, context, parent=parent))

    def validated(self, mapped: dict[str, Any]) -> Canonical:
        """The canonical record of what `apply` gave; MappingError with field path and hint when it is none."""
        try:
            return self.model.model_validate(mapped)
        except ValidationError as error:
            raise _invalid(self.name, self.model, error) from error

    def _explain(
        self,
        record: Any,
        context: AnyMapping[str, Any],
        parent: AnyMapping[str, Any] | None,
        creating: bool,
        error: Exception,
    ) -> MappingError:
        """Runs the traced version to find the field at fault."""
        faults: list[tuple[str, Exception]] = []

        def tracer(path: str, expression: Callable[[], Any]) -> Any:
            try:
                return expression()
            except _FAULTS as fault:
                faults.append((path, fault))
                return None

        try:
            self._compiled.traced(record, context, parent, creating, tracer)
        except _FAULTS as fault:
            faults.append(("", fault))
        path, cause = faults[0] if faults else ("", error)
        more = f" ({len(faults) - 1} more fields are at fault)" if len(faults) > 1 else ""
        words = _words(cause)
        return MappingError(
            f"{path or 'record'}: {words}{more}",
            field=path or None,
            hint=f"Correct the record at its source, or extend {self.name} (a table entry, a default) and retry.",
            code="unmapped_value" if "is not in the table" in words else "mapping",
        )


def _words(fault: Exception) -> str:
    if isinstance(fault, KeyError):
        key = fault.args[0] if fault.args else None
        return f"the context has no {key}" if isinstance(key, str) and is_context(key) else f"unknown: {shown(key)}"
    if isinstance(fault, (AttributeError, TypeError, LookupError, RecursionError)):
        return f"the source has another shape than expected ({str(fault)[:200]})"
    return str(fault)[:500]


def _invalid(name: str, model: type[BaseModel], error: ValidationError) -> MappingError:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    path = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    more = f" ({len(problems) - 1} more fields are at fault)" if len(problems) > 1 else ""
    given = first.get("input")
    secret = given is None or isinstance(given, (dict, list, tuple)) or _is_personal(model, first["loc"])
    value = "" if secret else f" (given: {shown(given)})"
    return MappingError(
        f"{path or 'record'}: {first['msg'].removeprefix('Value error, ')}{value}{more}",
        field=path or None,
        hint=f"Correct the record at its source, or change {name} and retry.",
        code="invalid_value",
    )


def _is_personal(model: type[BaseModel] | None, location: Iterable[int | str]) -> bool:
    """Whether the field at fault reveals a person: its value must not get into a message."""
    for part in location:
        if isinstance(part, int) or model is None or part not in model.model_fields:
            continue
        if privacy_of(model)[part] is not Privacy.NONE:
            return True
        annotation = model.model_fields[part].rebuild_annotation()
        model = shapes.model_of(shapes.element_of(annotation) or annotation)
    return False


def validate(model: type[Canonical], data: Any) -> Canonical:
    """Canonical data as a model; MappingError with the field path when it is none."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _invalid(model.__name__, model, error) from error


def find_files(platform: str, entity: str, direction: str, folders: Iterable[Path]) -> list[Path]:
    """The mapping's files, first folder first (merchant, repository, package)."""
    name = f"{entity}.{direction}.yaml"
    return [path for folder in folders if (path := folder / platform / name).is_file()]


def load_mapping(platform: str, entity: str, direction: str, folders: Iterable[Path]) -> Mapping:
    """The compiled mapping. A merchant's file replaces the original, or extends it when it says `extends: true`.

    ConfigError names file and line of every fault; MappingError never comes from here.
    """
    files = find_files(platform, entity, direction, folders)
    if not files:
        raise ConfigError(
            f"there is no mapping {platform}/{entity}.{direction}.yaml",
            hint="Write it into the mappings folder beside comptoir.toml, or use a connector that ships one.",
            code="no_mapping",
        )
    # Two files of one name are told apart by their full paths.
    names = [f"{platform}/{path.name}" if len(files) == 1 else str(path) for path in files]
    sources = [read(files[0], shown_as=names[0])]
    for path, name in zip(files[1:], names[1:], strict=True):
        if not sources[-1].tree.get("extends"):
            break
        sources.append(read(path, shown_as=name))
    if sources[-1].tree.get("extends"):
        raise ConfigError(f"{names[len(sources) - 1]}: `extends: true`, but there is no original", code="mapping_file")
    return _mapping(sources, entity)


def mapping_of_text(name: str, text: str, folders: Sequence[Path]) -> Mapping:
    """The mapping of a kept text (`Mapping.text`), with today's functions and schema of the platform's folder.

    ConfigError when the text cannot be used any more: a function that is gone, a field that the model lost.
    """
    platform, entity, _ = name.split(".")
    parts = re.split(rf"^{re.escape(_FILE)}(.*)\n", text, flags=re.MULTILINE)
    pairs = list(zip(parts[1::2], parts[2::2], strict=True)) if len(parts) > 1 else [(name, text)]
    folder = next((f / platform for f in reversed(folders) if (f / platform).is_dir()), Path())
    # Kept from the original to what lies over it; `_mapping` wants the uppermost first.
    return _mapping(
        [parse(body, f"kept {shown}", folder=folder, expected=name) for shown, body in reversed(pairs)], entity
    )


def _mapping(sources: Sequence[MappingSource], entity: str) -> Mapping:
    """The compiled mapping of its sources, the uppermost first."""
    left = list(sources)
    source = left.pop()
    while left:
        source = merge(source, left.pop())
    model = ENTITY_MODELS.get(EntityName(entity)) if entity in EntityName._value2member_map_ else None
    if model is None:
        raise ConfigError(f"{source.name}: there is no canonical entity {entity!r}", code="mapping_file")
    schema = _schema(source)
    compiled = compile_mapping(source, model=model, functions=_functions(source), schema=schema)
    return Mapping(source, compiled, model)


def _schema(source: MappingSource) -> dict[str, Any] | None:
    name = source.tree.get("schema")
    if name is None:
        return None
    path = source.folder / str(name)
    if not path.is_file():
        raise ConfigError(f"{source.name}: the schema {name!r} is not beside the mapping", code="mapping_file")
    try:
        loaded = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{source.name}: the schema {name!r} is no JSON: {error}", code="mapping_file") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{source.name}: the schema {name!r} is no JSON object", code="mapping_file")
    return loaded


def _functions(source: MappingSource) -> dict[str, Callable[..., Any]]:
    name = source.tree.get("functions")
    if name is None:
        return {}
    try:
        module = importlib.import_module(str(name))
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{source.name}: cannot load the functions {name!r}: {error}", code="mapping_file") from error
    found: Any = getattr(module, "FUNCTIONS", None)
    if not isinstance(found, dict):
        raise ConfigError(f"{source.name}: {name} has no dict FUNCTIONS", code="mapping_file")
    return found
