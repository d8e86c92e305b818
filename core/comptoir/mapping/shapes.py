"""What a mapping may read and must give: questions about pydantic models and JSON Schemas."""

from __future__ import annotations

import enum
import types
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

__all__ = [
    "accepts_type",
    "attribute",
    "element_of",
    "is_open",
    "is_optional",
    "model_of",
    "reject_value",
    "schema_at",
    "type_in_schema",
]

_SCALARS = frozenset({"string", "integer", "number", "boolean"})


def _options(annotation: Any) -> list[Any]:
    """The alternatives of a type, without Annotated and None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [o for arg in get_args(annotation) if arg is not type(None) for o in _options(arg)]
    return [annotation]


def is_optional(annotation: Any) -> bool:
    """None is allowed."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return is_optional(get_args(annotation)[0])
    return origin in (Union, types.UnionType) and type(None) in get_args(annotation)


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, when it holds one."""
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def element_of(annotation: Any) -> Any | None:
    """The element type of a tuple or list field; None when it is neither."""
    for option in _options(annotation):
        if get_origin(option) in (tuple, list):
            return get_args(option)[0]
    return None


def is_open(annotation: Any) -> bool:
    """A field that holds any keys (`extra`)."""
    return any((get_origin(option) or option) is dict for option in _options(annotation))


def attribute(model: type[BaseModel], name: str) -> Any | None:
    """The annotation of a field or the return type of a property; None when the model has neither."""
    if name in model.model_fields:
        return model.model_fields[name].rebuild_annotation()
    member = getattr(model, name, None)
    if isinstance(member, property):
        return str
    return None


def accepts_type(annotation: Any, given: type) -> bool:
    """Whether a value of type `given` can be meant for a field of this type."""
    for option in _options(annotation):
        origin = get_origin(option) or option
        if origin is AwareDatetime:
            origin = datetime
        if given is list and origin is tuple:
            return True
        if origin is date and given is datetime:
            continue  # a moment is no day: which day it is depends on the zone
        if not isinstance(origin, type) or origin is object:
            return True
        if issubclass(origin, enum.Enum):
            if given is str:
                return True
            continue
        if given is bool and origin is int:
            continue
        if issubclass(given, origin) or (origin is Decimal and given is int):
            return True
    return False


def reject_value(annotation: Any, value: Any) -> str | None:
    """Why a constant cannot stand in a field, or None when it can."""
    try:
        adapter = _adapter(annotation)
    except TypeError:  # a note about it cannot be a key
        adapter = TypeAdapter(annotation)
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return None


@lru_cache(maxsize=256)
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    """Kept: a table of forty values asks forty times for the same type, and making one takes half a millisecond."""
    return TypeAdapter(annotation)


def schema_at(schema: dict[str, Any] | None, name: str) -> tuple[bool, dict[str, Any] | None]:
    """Whether a JSON Schema knows the property, and the schema below it (None: nothing is known there)."""
    if schema is None:
        return True, None
    if "properties" not in schema:
        return not _types(schema) or not _types(schema) <= _SCALARS, None
    inner = schema["properties"].get(name)
    return inner is not None, inner if isinstance(inner, dict) else None


def type_in_schema(schema: dict[str, Any] | None) -> type | None:
    """The Python type that the JSON Schema promises; None when that is open, or text (which may be anything)."""
    types_ = _types(schema or {})
    if len(types_) != 1:
        return None
    return {"integer": int, "boolean": bool, "array": list, "object": dict}.get(next(iter(types_)))


def _types(schema: dict[str, Any]) -> set[str]:
    named = schema.get("type", ())
    return {str(t) for t in ([named] if isinstance(named, str) else named)} - {"null"}
