"""Where a key of a TOML file stands, so that an error can name the line."""

from __future__ import annotations

import re

__all__ = ["key_lines"]

_TABLE = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_PART = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Line number (from 1) of each table header and key, by its full path.

    Reads only what is needed for messages; the values are tomllib's affair.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    inside: str | None = None
    # Lines end where TOML and editors end them; splitlines() knows further characters.
    for number, line in enumerate(text.split("\n"), 1):
        if inside is not None:
            inside = None if line.count(inside) % 2 else inside
            continue
        if line.lstrip().startswith("#"):
            continue
        if match := _TABLE.match(line):
            table = _split(match.group(1))
            for size in range(1, len(table) + 1):
                lines.setdefault(table[:size], number)
            continue
        if match := _KEY.match(line):
            path = table + _split(match.group(1))
            for size in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:size], number)
        for quote in ('"""', "'''"):
            if line.count(quote) % 2:
                inside = quote
    return lines


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
