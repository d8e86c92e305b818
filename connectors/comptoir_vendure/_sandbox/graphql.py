"""As much of GraphQL as a shop's clients need: one operation, fields with arguments, selections, fragments of types.

What cannot be read is refused as Vendure refuses it (recorded).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Field", "GraphQLError", "Operation", "filled", "parse", "project"]

_TOKEN = re.compile(r'[\s,]+|#[^\n]*|(\.\.\.|[{}()\[\]:!$=]|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|\w+)')


class GraphQLError(Exception):
    """What stands in `errors` of an answer; `status` is that of the HTTP answer."""

    def __init__(self, message: str, code: str = "", *, status: int = 200, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.path = path


@dataclass(frozen=True, slots=True)
class Field:
    """One selected field; `on` is the type that it is selected for, empty for any."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fields: Sequence[Field] = ()
    on: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A query or mutation: its variables with their types, and what it selects."""

    kind: str
    variables: Mapping[str, str]
    fields: Sequence[Field]


def parse(text: str) -> Operation:
    """The one operation of a document; GraphQLError when it cannot be read."""
    tokens = [found[1] for found in _TOKEN.finditer(text) if found[1]]
    reader = _Reader(iter([*tokens, ""]))
    kind = "query" if reader.at == "{" else reader.take()
    if kind not in ("query", "mutation"):
        raise _unreadable(kind)
    if reader.at not in ("{", "("):
        reader.take()  # the operation's name
    variables = reader.variables() if reader.at == "(" else {}
    operation = Operation(kind, variables, reader.selection())
    if reader.at:
        raise _unreadable(reader.at)
    return operation


def _unreadable(at: str) -> GraphQLError:
    found = f'Name "{at}"' if at else "<EOF>"
    return GraphQLError(f"Syntax Error: Unexpected {found}.", "GRAPHQL_PARSE_FAILED", status=400)


class _Reader:
    def __init__(self, tokens: Iterator[str]) -> None:
        self._tokens = tokens
        self.at = next(tokens)

    def take(self, wanted: str = "") -> str:
        found = self.at
        if not found or (wanted and found != wanted):
            raise _unreadable(found)
        self.at = next(self._tokens, "")
        return found

    def variables(self) -> dict[str, str]:
        found: dict[str, str] = {}
        self.take("(")
        while self.at != ")":
            self.take("$")
            name = self.take()
            self.take(":")
            kind = ""
            while self.at not in ("$", ")"):
                kind += self.take()
            found[name] = kind
        self.take(")")
        return found

    def selection(self, on: str = "") -> list[Field]:
        found: list[Field] = []
        self.take("{")
        while self.at != "}":
            if self.at == "...":
                self.take()
                self.take("on")
                found += self.selection(self.take())
                continue
            name = self.take()
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise _unreadable(name)
            arguments = self.arguments() if self.at == "(" else {}
            fields = self.selection() if self.at == "{" else []
            found.append(Field(name, arguments, fields, on))
        self.take("}")
        return found

    def arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.take("(")
        while self.at != ")":
            name = self.take()
            self.take(":")
            found[name] = self.value()
        self.take(")")
        return found

    def value(self) -> Any:
        """A literal; a variable is `("$", name)`, an enum's name is text."""
        word = self.take()
        if word == "$":
            return ("$", self.take())
        if word == "{":
            made: dict[str, Any] = {}
            while self.at != "}":
                name = self.take()
                self.take(":")
                made[name] = self.value()
            self.take("}")
            return made
        if word == "[":
            items = []
            while self.at != "]":
                items.append(self.value())
            self.take("]")
            return items
        if word in ("true", "false", "null") or word[0] in '"-' or word[0].isdigit():
            return json.loads(word)
        return word


def filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """A literal with the variables put in."""
    if isinstance(value, tuple):
        return variables.get(value[1])
    if isinstance(value, dict):
        return {name: filled(inner, variables) for name, inner in value.items()}
    return [filled(inner, variables) for inner in value] if isinstance(value, list) else value


def project(value: Any, fields: Sequence[Field], kind: str) -> Any:
    """What a selection takes of a record (`__typename` says its type where there may be several).

    GraphQLError for a field that records of this kind do not have.
    """
    if value is None or not fields:
        return value
    if isinstance(value, list):
        return [project(inner, fields, kind) for inner in value]
    found: dict[str, Any] = {}
    for one in fields:
        if one.on and one.on not in (value.get("__typename"), _interface(value)):
            continue
        if one.name not in value:
            raise GraphQLError(
                f'Cannot query field "{one.name}" on type "{kind}".', "GRAPHQL_VALIDATION_FAILED", status=400
            )
        found[one.name] = project(value[one.name], one.fields, f"{kind}.{one.name}")
    return found


def _interface(value: Mapping[str, Any]) -> str:
    return "ErrorResult" if "errorCode" in value else ""
