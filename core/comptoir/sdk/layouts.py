"""What a connection's files look like to the program that imports them: so that a trial import can be asked for.

Nobody here owns Sage, EBP or Ciel: whether a copy of a merchant's own folder takes a file is seen by a person, once for
each layout (accounting-files, "Unconfirmed"). A layout that changes is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import orjson

from comptoir.model.refs import EntityName

__all__ = ["FileLayout", "LaysOut", "layout_digest"]


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How records of these entities stand in files. `writes` names them for people ("entries", "orders"); `source` is
    the profile or the settings that say how; `product`: who reads it.

    `digest` is another one as soon as anything that shapes the file is. `witnessed`: the import that the profile itself
    names, None when it names none.
    """

    writes: str
    entities: tuple[EntityName, ...]
    source: str
    product: str
    digest: str
    witnessed: str | None = None


@runtime_checkable
class LaysOut(Protocol):
    """Writes files that a program imports."""

    def layouts(self) -> Sequence[FileLayout]:
        """The layouts in which this connection writes, as it is configured. ConfigError when a profile or a file that
        it needs is missing or wrong."""
        ...


def layout_digest(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal characters that stand for what shapes a file (JSON values)."""
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
