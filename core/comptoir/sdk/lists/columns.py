"""What the columns of a list are called, and where the fields of a layout stand in a file.

Case, accents and spaces of a caption do not count, nor does the first word that many programs put before it
("Article - Libellé").
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["IDENTITY", "QUERY", "Columns", "Layout", "columns_of"]

#: The field that a setting of the connection fills: a column that stays when a code changes.
IDENTITY = "Identity"
#: The column by which a result of a packaged query is known; its cells name the query and the version of its layout.
QUERY = "Comptoir"
_FIRST_WORD = re.compile(r"^(article|stock|client|depot) ?- ?")


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of list: the beginnings of its files' names, its fields with their captions, and what must be there.

    `query` is the packaged query that gives the same list: its aliases are the names of the fields, a result of it is
    recognised, and a file of it begins with that name. `version` is the layout of its result. `numbers` are fields
    whose cells are numbers, `packed` those that hold several values between `|`, in no order. `keeps_unknown`: columns
    that are no field go into `extra`; otherwise they are not read at all.
    """

    name: str
    stem: str
    fields: Mapping[str, tuple[str, ...]]
    mandatory: tuple[str, ...]
    keeps_unknown: bool = True
    query: str = ""
    version: int = 1
    numbers: frozenset[str] = frozenset()
    packed: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """The field that names the record in the program."""
        return self.mandatory[0]

    @property
    def stems(self) -> tuple[str, ...]:
        """What names of its files begin with, in capitals."""
        return (self.stem, self.query.upper()) if self.query else (self.stem,)

    @property
    def mark(self) -> str:
        """What a result of its query says of itself in each row."""
        return f"{self.query} {self.version}"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the fields of a file stand: (name, position) pairs; `unknown` are columns that go into `extra`.

    `of_query`: the file is a result of a packaged query, with its decimal dot and its form of moments.
    """

    fields: tuple[tuple[str, int], ...]
    unknown: tuple[tuple[str, int], ...]
    of_query: bool = False

    def position(self, name: str) -> int | None:
        """Where a field stands, None when the file does not have it."""
        return next((position for field, position in self.fields if field == name), None)


def columns_of(
    layout: Layout, header: Sequence[str], renamed: Mapping[str, str], identity: str | None = None
) -> Columns:
    """The columns of a file by its first line; ValueError names the caption that is missing or stands twice.

    `renamed` gives a field the caption that this user's format has, instead of those of the table. A result of a
    packaged query has the names of the fields whatever `renamed` says.
    """
    if layout.query and QUERY in header:
        found = _by_name(layout, header, identity)
    else:
        found = _by_caption(layout, header, renamed, identity)
    for name in layout.mandatory:
        if found.position(name) is None:
            if found.of_query:
                usual: tuple[str, ...] = (name,)
            else:
                usual = (renamed[name],) if name in renamed else (layout.fields[name][0], name)
            raise ValueError(f"the column {' or '.join(map(repr, usual))} is missing")
    return found


def _by_name(layout: Layout, header: Sequence[str], identity: str | None) -> Columns:
    fields: dict[str, int] = {}
    for position, name in enumerate(header):
        if name in fields:
            raise ValueError(f"the column {name!r} stands twice")
        if name in layout.fields:
            fields[name] = position
    unknown = {name: position for position, name in enumerate(header) if name not in fields and name not in (QUERY, "")}
    if identity is not None and identity in unknown:
        fields[IDENTITY] = unknown.pop(identity)
    return Columns(tuple(fields.items()), tuple(unknown.items()) if layout.keeps_unknown else (), of_query=True)


def _by_caption(layout: Layout, header: Sequence[str], renamed: Mapping[str, str], identity: str | None) -> Columns:
    wanted: dict[str, str] = {}
    for name, captions in layout.fields.items():
        if name not in renamed:
            wanted |= {form: name for caption in (name, *captions) for form in _forms(caption)}
    for name, caption in renamed.items():
        wanted |= dict.fromkeys(_forms(caption), name)
    fields: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for position, caption in enumerate(header):
        field = next((wanted[form] for form in _forms(caption) if form in wanted), None)
        if field is None:
            _note_unknown(unknown, caption.strip(), position)
        elif field in fields:
            raise ValueError(f"the columns {header[fields[field]]!r} and {caption!r} both are {field}")
        else:
            fields[field] = position
    if identity is not None:
        fields[IDENTITY] = _position(header, identity)
        unknown = {name: position for name, position in unknown.items() if position != fields[IDENTITY]}
    return Columns(tuple(fields.items()), tuple(unknown.items()) if layout.keeps_unknown else ())


def _note_unknown(unknown: dict[str, int], caption: str, position: int) -> None:
    if not caption:
        return
    name, count = caption, 1
    while name in unknown:
        count += 1
        name = f"{caption} ({count})"
    unknown[name] = position


def _position(header: Sequence[str], caption: str) -> int:
    found = [n for n, given in enumerate(header) if set(_forms(given)) & set(_forms(caption))]
    if len(found) != 1:
        raise ValueError(f"the column {caption!r} (the identity) {'is missing' if not found else 'stands twice'}")
    return found[0]


@functools.lru_cache(maxsize=4096)
def _forms(caption: str) -> tuple[str, ...]:
    """How a caption is compared: as it stands, and without its first word."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", caption) if not unicodedata.combining(c))
    text = " ".join(plain.replace("’", "'").casefold().split())
    return (text, _FIRST_WORD.sub("", text)) if _FIRST_WORD.match(text) else (text,)
