"""Reads docker-compose.yml as Compose does, as far as our file goes: variables, merges, env files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<kind>:-|:\?)(?P<word>[^}]*))?\}|(?P<bad>.))")


class Unset(Exception):
    """A variable that has to be set is not; the message is what Compose shows."""


def variables(text: str) -> dict[str, tuple[str | None, str]]:
    """Every variable of a Compose file: how it is guarded (":-", ":?", None) and the word behind that."""
    return {m["name"]: (m["kind"], m["word"] or "") for m in _VARIABLE.finditer(text) if m["name"]}


def interpolate(value: Any, environ: Mapping[str, str]) -> Any:
    """The value with its variables put in; Unset names one that is missing."""
    if isinstance(value, dict):
        return {key: interpolate(inner, environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, environ) for inner in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        if match["name"] is None:
            assert match["bad"] is None, f"no variable: {value!r}"
            return "$"
        found = environ.get(match["name"], "")
        if found or match["kind"] is None:
            return found
        if match["kind"] == ":?":
            raise Unset(f"{match['name']}: {match['word']}")
        return str(match["word"])

    return _VARIABLE.sub(put, value)


def raw() -> dict[str, Any]:
    """The file with its anchors merged and its variables as they stand."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def load(environ: Mapping[str, str]) -> dict[str, Any]:
    """The file as Compose would run it under these variables."""
    loaded: dict[str, Any] = interpolate(raw(), environ)
    return loaded


def env_values(text: str) -> dict[str, str]:
    """What an env file sets."""
    return {k: v for k, v in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if v is not None}
