"""The writing of paths: `a.b`, `list[key=value].x`, `$root.a`, `$parent.a`, `.`."""

from __future__ import annotations

import re

__all__ = ["PICK", "split", "wrong_path"]

#: A segment that searches a list: name, key, value.
PICK = re.compile(r"^([^\[\]]+)\[([^=\]]+)=([^\]]*)\]$")
_DOT = re.compile(r"\.(?![^\[]*\])")


def split(path: str) -> list[str]:
    """Dotted segments; dots inside [key=value] do not split."""
    return [s for s in _DOT.split(path) if s]


def wrong_path(path: str) -> str | None:
    """What is wrong with the writing of a path."""
    if path == ".":
        return None
    segments = _DOT.split(path)
    if "" in segments:
        return "a part between two dots is empty"
    if any("[" in s or "]" in s for s in segments if not PICK.match(s)):
        return "a list is searched by name[key=value]"
    if path.startswith("$") and segments[0] not in ("$root", "$parent"):
        return f"{segments[0]} is unknown; there are $root and $parent"
    return None
