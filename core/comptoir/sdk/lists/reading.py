"""The records of one open list: surveyed as a whole first, then given one by one.

A list is read twice: once to find codes that stand in it more than once (eight bytes a row are kept), once to give its
rows. A tie is given once, after the other rows, as a record that the mapping refuses: which row is right is for a
person to say (failure mode 34).
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from comptoir.errors import ConfigError, TransientError
from comptoir.model.refs import EntityName
from comptoir.sdk.lists.columns import IDENTITY, QUERY, Columns, Layout, columns_of
from comptoir.sdk.lists.table import charset_of, rows
from comptoir.sdk.protocols import ConnectorContext, Page, PullRequest, RawItem

__all__ = ["ListReader", "Reader", "Row", "Settings", "Source"]

_PAGE = 500
_MAX_COLUMNS = 512
#: More codes than these twice in a file: the column that was taken for the key is none.
_MOST_TIES = 10_000
_SHOWN_LINES = 10
_PARTS = 256

#: The cells of a row.
Row = list[str]


class Settings(Protocol):
    """What of a connection's settings is needed here; `ListSettings` has it."""

    @property
    def export_folder(self) -> Path: ...
    @property
    def captions(self) -> Mapping[Any, Mapping[str, str]]: ...
    @property
    def decimal_sign(self) -> str: ...
    @property
    def quiet_seconds(self) -> float: ...
    @property
    def max_file_bytes(self) -> int: ...


@dataclass(slots=True)
class _Tie:
    """A key that stands on several rows."""

    first: Row
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.lines) < _SHOWN_LINES:
            self.lines.append(line)

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.lines) else ""
        return f"lines {', '.join(map(str, self.lines))}{more}"


@dataclass(frozen=True, slots=True)
class Reader:
    """How rows of one file become records: `key` of a row ('' when it has none), `wanted` (None: all of them), and
    `constants` that every record gets."""

    key: Callable[[Row], str]
    wanted: Callable[[Row], bool] | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """An open list. `same` says whether it is still the file that was chosen; `dated` gives a row's own moment."""

    handle: BinaryIO
    name: str
    modified_at: datetime
    same: Callable[[], bool]
    position: Mapping[str, Any] | None
    dated: Callable[[Row], datetime | None] | None = None

    @property
    def origin(self) -> dict[str, str]:
        return {"name": self.name, "modified_at": self.modified_at.isoformat()}


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that is known of a list once its first line was read."""

    source: Source
    layout: Layout
    columns: Columns
    charset: str
    sign: str
    reader: Reader
    payload: Callable[[Row], dict[str, Any]]


class ListReader:
    """Reads one open list. `ListFolder` finds and opens them; a connector says what is particular to its own."""

    def __init__(self, settings: Settings, ctx: ConnectorContext, charset: str) -> None:
        self._settings = settings
        self._ctx = ctx
        self._charset = charset

    # -- what a connector says ---------------------------------------------------------------------------------

    def identity(self, entity: EntityName) -> str | None:
        """The caption of a column that stays when a code changes; None: the code names the record."""
        del entity
        return None

    def reader(self, entity: EntityName, layout: Layout, columns: Columns) -> Reader | None:
        """How the rows of a file with these columns are read; None, and it was said why, when they are of no use."""
        del entity
        return Reader(self.code(layout, columns))

    def code(self, layout: Layout, columns: Columns) -> Callable[[Row], str]:
        """The key of a row: the identity where there is one, else the program's code."""
        own = columns.position(IDENTITY)
        at = columns.position(layout.key) if own is None else own
        if at is None:  # columns_of has seen to it
            raise ConfigError(f"{self._ctx.connection}: the column {layout.key} is missing", code="export_file")
        place = at

        def key(cells: Row) -> str:
            found = cells[place].strip()
            return found if found.isascii() else unicodedata.normalize("NFC", found)

        return key

    # -- reading -----------------------------------------------------------------------------------------------

    def _read(self, source: Source, layout: Layout, request: PullRequest) -> Iterator[Page]:
        columns, charset, sign = self._columns(source.handle, source.name, layout, request.entity)
        reader = self.reader(request.entity, layout, columns)
        if reader is None:
            return
        payload = self._payload(layout, columns, {"file": source.origin, **reader.constants})
        plan = _Plan(source, layout, columns, charset, sign, reader, payload)
        total, ties = self._survey(plan)
        done = self._resume(request.position, source)
        batch: list[RawItem] = []
        tied: dict[str, _Tie] = {}
        number = 0
        for item in self._items(plan, request.entity, ties, tied):
            number += 1
            if item is None or number <= done:
                continue
            batch.append(item)
            if len(batch) == _PAGE:
                yield self._page(source, batch, number, total)
                batch = []
        for key, tie in tied.items():
            if tie.count == 1:  # two keys with the same hash are no tie
                batch.append(RawItem(request.entity, key, payload(tie.first), _moment(source, tie.first)))
            else:
                reason = f"{source.name}: {key} stands on {tie.count} rows ({tie}), and which is right cannot be known"
                batch.append(_refused(request.entity, key, reason, source))
            if len(batch) == _PAGE:
                yield self._page(source, batch, number, total)
                batch = []
        if batch:
            yield self._page(source, batch, number, total)

    def _columns(self, handle: BinaryIO, name: str, layout: Layout, entity: EntityName) -> tuple[Columns, str, str]:
        """The columns, the charset and the separator of a list."""
        try:
            charset = charset_of(handle, self._charset)
            sign = self._sign(handle, charset)
            found = rows(handle, charset, sign)
            _, header, fault = next(found, (1, [], "it is empty"))
            if fault is not None:
                raise ValueError(f"its first line cannot be read: {fault}")
            if len(header) > _MAX_COLUMNS:
                raise ValueError(f"it has {len(header)} columns, more than {_MAX_COLUMNS}")
            columns = columns_of(layout, header, self.renamed(layout), self.identity(entity))
            if columns.of_query:
                self._is_ours(layout, header, next(found, None))
            return columns, charset, sign
        except ValueError as error:
            raise self._unusable(
                name,
                str(error),
                f"Export it with `;` and {self._charset}, and the captions that the connector's README lists; others "
                f"are named by [connections.{self._ctx.connection}.captions.{layout.name}].",
            ) from None

    def _is_ours(self, layout: Layout, header: Row, first: tuple[int, Row, str | None] | None) -> None:
        """ValueError when a result of a query is that of another one, or of another version of ours."""
        if first is None or first[2] is not None:
            return
        said = first[1][header.index(QUERY)]
        if said != layout.mark:
            raise ValueError(
                f"its column {QUERY} says {said[:40]!r} and not {layout.mark!r}: it is the result of another query, or "
                "of another version of ours"
            )

    def _sign(self, handle: BinaryIO, charset: str) -> str:
        """What stands between cells: tabs where the first line has some and no semicolon."""
        _, header, fault = next(rows(handle, charset), (1, [], None))
        return "\t" if fault is None and len(header) == 1 and "\t" in header[0] else ";"

    def renamed(self, layout: Layout) -> Mapping[str, str]:
        return self._settings.captions.get(layout.name, {})

    def _payload(
        self, layout: Layout, columns: Columns, constants: Mapping[str, Any]
    ) -> Callable[[Row], dict[str, Any]]:
        tail = tuple(constants.values())
        names = (*(name for name, _ in columns.fields), *constants)
        positions = [position for _, position in columns.fields]
        in_order = positions == list(range(len(positions)))
        pick: Callable[[Row], Any] = itemgetter(*positions, positions[0])  # at least two, so always a tuple
        unknown = columns.unknown

        def payload(cells: Row) -> dict[str, Any]:
            # A million times: the fields' cells and what all records share go into the dict at once.
            values = cells[: len(positions)] if in_order else [*pick(cells)][:-1]
            found: dict[str, Any] = dict(zip(names, (*values, *tail), strict=True))
            if unknown:
                found["extra"] = {caption: cells[p] for caption, p in unknown if cells[p]}
            return found

        if not columns.of_query:
            return payload
        sign = self._settings.decimal_sign
        numbers = [name for name, _ in columns.fields if name in layout.numbers]
        packed = [name for name, _ in columns.fields if name in layout.packed]

        def of_query(cells: Row) -> dict[str, Any]:
            """As an export of the program would say it, so that one mapping reads both."""
            found = payload(cells)
            for name in numbers:
                whole, dot, decimals = found[name].partition(".")
                if dot:
                    decimals = decimals.rstrip("0")
                    found[name] = f"{whole}{sign}{decimals}" if decimals else whole
            for name in packed:
                if "|" in found[name]:  # the database gives them in no order
                    found[name] = "|".join(sorted(found[name].split("|")))
            return found

        return of_query

    def _survey(self, plan: _Plan) -> tuple[int, frozenset[int]]:
        """How many rows there are, and the hashes of the keys that stand on more than one."""
        parts = [array("q") for _ in range(_PARTS)]
        appends = [part.append for part in parts]
        key_of, wanted = plan.reader.key, plan.reader.wanted
        total = -1
        for _, cells, fault in rows(plan.source.handle, plan.charset, plan.sign):
            total += 1
            if total and fault is None and (wanted is None or wanted(cells)) and (key := key_of(cells)):
                hashed = hash(key)
                appends[hashed & (_PARTS - 1)](hashed)
        ties: set[int] = set()
        for part in parts:
            if len(set(part)) != len(part):
                seen: set[int] = set()
                ties.update(h for h in part if h in seen or seen.add(h))  # type: ignore[func-returns-value]
        if len(ties) > _MOST_TIES:
            raise self._unusable(
                plan.source.name,
                f"{len(ties)} codes stand in it more than once, so the column {plan.layout.key} (or the identity) "
                "does not tell its rows apart",
                "Export one row for each record (and storehouse), or name another column as the identity.",
            )
        return total, frozenset(ties)

    def _items(
        self, plan: _Plan, entity: EntityName, ties: frozenset[int], tied: dict[str, _Tie]
    ) -> Iterator[RawItem | None]:
        """A record per row; None for a row that is none here or shares its key (that is noted in `tied`)."""
        key_of, wanted, payload_of = plan.reader.key, plan.reader.wanted, plan.payload
        source, modified_at, dated = plan.source, plan.source.modified_at, plan.source.dated
        found = rows(source.handle, plan.charset, plan.sign)
        next(found, None)
        for line, cells, fault in found:
            if fault is not None:
                reason = f"{source.name} line {line}: {fault}"
                yield _refused(entity, _row_id(plan.layout, line), reason, source)
                continue
            if wanted is not None and not wanted(cells):
                yield None
                continue
            key = key_of(cells)
            if not key:
                if any(cell.strip() for cell in cells):
                    reason = f"{source.name} line {line}: it has no code, and an empty code names nothing"
                    yield _refused(entity, _row_id(plan.layout, line), reason, source)
                else:
                    yield None
            elif ties and hash(key) in ties:
                tied.setdefault(key, _Tie(cells)).add(line)
                yield None
            else:
                yield RawItem(entity, key, payload_of(cells), modified_at if dated is None else dated(cells))

    def _page(self, source: Source, items: list[RawItem], number: int, total: int) -> Page:
        if not source.same():
            raise self._changed(source.name)
        position = None if source.position is None else {**source.position, "rows": number}
        return Page(items, position=position, total=total)

    def _resume(self, position: Mapping[str, Any] | None, source: Source) -> int:
        """How many rows of this very file were given before; 0 when another one took its place."""
        wanted = source.position
        if position is None or wanted is None or {name: position.get(name) for name in wanted} != wanted:
            return 0
        return int(position["rows"])

    # -- words -------------------------------------------------------------------------------------------------

    def say(self, message: str, *values: object) -> None:
        self._ctx.logger.warning(f"%s: {message}", self._ctx.connection, *values)

    def _changed(self, name: str) -> TransientError:
        return TransientError(
            f"{self._ctx.connection}: {name} changed while it was read",
            hint="Nothing to do: the next run reads it. Exports that are written aside and renamed avoid this.",
            connection=self._ctx.connection,
            code="file_changed",
        )

    def _unusable(self, name: str, reason: str, hint: str) -> ConfigError:
        return ConfigError(
            f"{self._ctx.connection}: {name} cannot be used: {reason}",
            hint=hint,
            connection=self._ctx.connection,
            code="export_file",
        )


def _moment(source: Source, cells: Row) -> datetime | None:
    return source.modified_at if source.dated is None else source.dated(cells)


def _refused(entity: EntityName, key: str, reason: str, source: Source) -> RawItem:
    moment = source.modified_at if source.dated is None else None
    return RawItem(entity, key, {"fault": reason, "file": source.origin}, moment)


def _row_id(layout: Layout, line: int) -> str:
    """What a row without a usable code is called; the same in the next file if it is still there."""
    return f"{layout.stem}#{line}"
