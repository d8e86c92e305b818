"""What EBP exports of items, stock and customers: full snapshots as text files in the `export/` folder.

`ARTICLES*.csv`, `STOCK*.csv`, `CLIENTS*.csv`, written by the application's command line (`/Export="<file>";Items;
<format>`, gescom-interfaces §2.2) or by a user. The newest complete file of a kind is read, and only when it is newer
than what was read before; the files belong to the user and stay as they are.

A file is read twice: once to find codes that stand in it more than once (eight bytes a row are kept), once to give its
rows. A tie is given once, after the other rows, as a record that the mapping refuses: which row is right is for a
person to say (failure mode 34).
"""

from __future__ import annotations

import os
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from comptoir.sdk import (
    CheckItem,
    ComptoirError,
    ConfigError,
    ConnectorContext,
    EntityName,
    Page,
    PullRequest,
    RawItem,
    TransientError,
)
from comptoir_ebp.captions import CUSTOMERS, IDENTITY, ITEMS, STOCK, STOCK_OF_ITEMS, Columns, Layout, columns_of
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.readings import location, stock_key, tracked
from comptoir_ebp.table import charset_of, is_ended, rows

__all__ = ["Exports"]

_PAGE = 500
_MAX_COLUMNS = 512
#: More codes than these twice in a file: the column that was taken for the key is none.
_MOST_TIES = 10_000
_SHOWN_LINES = 10
_PARTS = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LAYOUTS = {EntityName.ITEM: ITEMS, EntityName.STOCK: STOCK, EntityName.CUSTOMER: CUSTOMERS}


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when it was looked at."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def modified_at(self) -> datetime:
        """To the microsecond, as a cursor keeps it."""
        return _EPOCH + timedelta(microseconds=self.mtime_ns // 1000)

    def same(self, found: os.stat_result) -> bool:
        return (self.size, self.mtime_ns) == (found.st_size, found.st_mtime_ns)


@dataclass(slots=True)
class _Tie:
    """A key that stands on several rows."""

    first: list[str]
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
class _Reader:
    """How rows of one file become records: `key` of a row ('' when it has none), `wanted`, `payload`."""

    layout: Layout
    key: Callable[[list[str]], str]
    wanted: Callable[[list[str]], bool] | None
    payload: Callable[[list[str]], dict[str, Any]]


class Exports:
    """The export folder of one connection."""

    def __init__(self, folder: Path, config: EbpConfig, ctx: ConnectorContext) -> None:
        self._folder = folder / config.export_folder
        self._root = folder
        self._config = config
        self._ctx = ctx

    def pages(self, request: PullRequest) -> Iterator[Page]:
        """The rows of the newest complete file, if it is newer than `request.since`; nothing otherwise.

        Raises ConfigError for a file that cannot be used (columns, charset, size), TransientError for one that is
        locked, vanishes or changes while it is read: what was given until then is right, and the next run goes on.
        """
        with self._reading():
            chosen = self._choose(request.entity, request.since)
            if chosen is None:
                return
            file, layout = chosen
            with file.path.open("rb") as handle:
                if not file.same(os.fstat(handle.fileno())):
                    raise self._changed(file)
                yield from self._read(handle, file, layout, request)

    def check(self) -> list[CheckItem]:
        """The newest file of each kind and whether its columns are known; does not wait for anything."""
        items = []
        for entity, layout in _LAYOUTS.items():
            name = f"export {layout.stem}"
            try:
                with self._reading():
                    items.append(CheckItem(name, True, self._describe(entity, layout)))
            except ComptoirError as error:
                items.append(CheckItem.failed(name, error))
        return items

    def _describe(self, entity: EntityName, layout: Layout) -> str:
        found = self._files(layout.stem)
        if not found:
            return f"no {layout.stem}*.csv in {self._config.export_folder} (yet)"
        with found[0].path.open("rb") as handle:
            columns, _ = self._columns(handle, found[0], layout, entity)
        unknown = f", {len(columns.unknown)} columns of the user's own" if columns.unknown else ""
        return f"{found[0].name} of {found[0].modified_at:%Y-%m-%d %H:%M} UTC: {len(columns.fields)} fields{unknown}"

    # -- which file --------------------------------------------------------------------------------------------

    def _choose(self, entity: EntityName, since: datetime | None) -> tuple[_File, Layout] | None:
        layout = _LAYOUTS[entity]
        found = self._files(layout.stem)
        if entity is EntityName.STOCK and not found:
            layout, found = STOCK_OF_ITEMS, self._files(STOCK_OF_ITEMS.stem)
        if not found:
            self._say("no %s*.csv in %s: export it from EBP", _LAYOUTS[entity].stem, self._config.export_folder)
            return None
        for file in found:
            if since is not None and file.modified_at <= since:
                self._note_older(file, since)
                continue
            if self._is_complete(file):
                if file.modified_at > self._ctx.clock.now() + timedelta(minutes=5):
                    self._say("%s is dated in the future: it is read by every run until then", file.name)
                return file, layout
        return None

    def _note_older(self, file: _File, since: datetime) -> None:
        """Says why a file that was put there later is not read: its contents are older than what was."""
        arrived = _EPOCH + timedelta(microseconds=file.ctime_ns // 1000)
        if file.modified_at < since and arrived > since + timedelta(seconds=self._config.quiet_seconds):
            self._ctx.logger.info(
                "%s: %s is not read: it is of %s and a newer one, of %s, was read before",
                self._ctx.connection, file.name, file.modified_at.isoformat(), since.isoformat(),
            )  # fmt: skip

    def _files(self, stem: str) -> list[_File]:
        """The files of a kind, newest first."""
        if not self._folder.is_dir():
            if not self._root.is_dir() and not self._root.is_relative_to(self._ctx.base_dir):
                raise TransientError(
                    f"{self._ctx.connection}: the folder {self._root.name} does not exist",
                    hint="Mount the share; it is read by the next run.",
                    connection=self._ctx.connection,
                    code="folder_missing",
                )
            return []
        found = []
        for path in self._folder.iterdir():
            name = path.name.upper()
            if not (name.startswith(stem) and name.endswith(".CSV")) or path.is_symlink():
                continue
            try:
                seen = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                found.append(_File(path, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
        return sorted(found, key=lambda f: (f.mtime_ns, f.name), reverse=True)

    def _is_complete(self, file: _File) -> bool:
        """Whether it stayed the same for `quiet_seconds` (waited for if need be) and ends with a whole line."""
        now = self._ctx.clock.now()
        quiet = timedelta(seconds=self._config.quiet_seconds)
        if quiet and not file.modified_at <= now - quiet:
            wait = min(quiet, quiet - (now - file.modified_at))
            self._ctx.clock.sleep(wait.total_seconds())
            if not file.same(file.path.stat()):
                self._say("%s is still being written; the next run reads it", file.name)
                return False
        if file.size > self._config.max_file_bytes:
            raise self._unusable(
                file,
                f"it has {file.size} bytes, more than the {self._config.max_file_bytes} of max_file_bytes",
                "Look at what was exported, or raise max_file_bytes of the connection.",
            )
        with file.path.open("rb") as handle:
            if is_ended(handle):
                return True
        self._say("%s does not end with a whole line: it is cut or still being written, and not read", file.name)
        return False

    # -- reading -----------------------------------------------------------------------------------------------

    def _read(self, handle: BinaryIO, file: _File, layout: Layout, request: PullRequest) -> Iterator[Page]:
        columns, charset = self._columns(handle, file, layout, request.entity)
        if columns.position("RealStock") is None and layout is STOCK_OF_ITEMS:
            self._say("there is no STOCK*.csv, and %s has no column of stock", file.name)
            return
        reader = self._reader(columns, layout, file)
        total, ties = self._survey(handle, charset, reader, file)
        done = self._resume(request.position, file)
        batch: list[RawItem] = []
        tied: dict[str, _Tie] = {}
        number = 0
        for item in self._items(handle, charset, reader, request.entity, file, ties, tied):
            number += 1
            if item is None or number <= done:
                continue
            batch.append(item)
            if len(batch) == _PAGE:
                yield self._page(handle, file, batch, number, total)
                batch = []
        for key, tie in tied.items():
            if tie.count == 1:  # two keys with the same hash are no tie
                batch.append(RawItem(request.entity, key, reader.payload(tie.first), file.modified_at))
            else:
                reason = f"{file.name}: {key} stands on {tie.count} rows ({tie}), and which is right cannot be known"
                batch.append(self._refused(request.entity, key, reason, file))
            if len(batch) == _PAGE:
                yield self._page(handle, file, batch, number, total)
                batch = []
        if batch:
            yield self._page(handle, file, batch, number, total)

    def _columns(self, handle: BinaryIO, file: _File, layout: Layout, entity: EntityName) -> tuple[Columns, str]:
        config = self._config
        renamed = config.captions.get(layout.name, {})  # type: ignore[call-overload]
        if layout is STOCK_OF_ITEMS:
            own = {"ItemId" if name == "Id" else name: caption for name, caption in renamed.items()}
            renamed = {name: caption for name, caption in own.items() if name in layout.fields}
        identity = config.customer_identity if entity is EntityName.CUSTOMER else config.item_identity
        try:
            charset = charset_of(handle, config.charset)
            _, header, fault = next(rows(handle, charset), (1, [], "it is empty"))
            if fault is not None:
                raise ValueError(f"its first line cannot be read: {fault}")
            if len(header) > _MAX_COLUMNS:
                raise ValueError(f"it has {len(header)} columns, more than {_MAX_COLUMNS}")
            return columns_of(layout, header, renamed, identity), charset
        except ValueError as error:
            raise self._unusable(
                file,
                str(error),
                f"Export it with `;` and {config.charset}, and the captions that the connector's README lists; others "
                f"are named by [connections.{self._ctx.connection}.captions.{layout.name}].",
            ) from None

    def _reader(self, columns: Columns, layout: Layout, file: _File) -> _Reader:
        own = columns.position(IDENTITY)
        code = columns.position(layout.key)
        at = code if own is None else own
        if at is None:  # columns_of has seen to it
            raise self._unusable(file, f"the column {layout.key} is missing", "")
        storehouse, its_code = columns.position("Storehouse"), columns.position("StorehouseId")
        real, managed = columns.position("RealStock"), columns.position("ManageStock")

        def key(cells: list[str]) -> str:
            found = cells[at].strip()
            return found if found.isascii() else unicodedata.normalize("NFC", found)

        def key_and_place(cells: list[str]) -> str:
            found = key(cells)
            return found and stock_key(found, location(_cell(cells, storehouse), _cell(cells, its_code)))

        def has_stock(cells: list[str]) -> bool:
            return tracked(_cell(cells, managed), _cell(cells, real))

        of_stock = layout in (STOCK, STOCK_OF_ITEMS)
        wanted = has_stock if layout is STOCK_OF_ITEMS else None
        return _Reader(layout, key_and_place if of_stock else key, wanted, self._payload(columns, of_stock, file))

    def _payload(self, columns: Columns, of_stock: bool, file: _File) -> Callable[[list[str]], dict[str, Any]]:
        tail: tuple[Any, ...] = (_origin(file), self._config.reserved_from) if of_stock else (_origin(file),)
        names = (*(name for name, _ in columns.fields), "file", "reserved_from")[: len(columns.fields) + len(tail)]
        positions = [position for _, position in columns.fields]
        in_order = positions == list(range(len(positions)))
        pick: Callable[[list[str]], Any] = itemgetter(*positions, positions[0])  # at least two, so always a tuple
        unknown = columns.unknown

        def payload(cells: list[str]) -> dict[str, Any]:
            # A million times: the fields' cells and what all records share go into the dict at once.
            values = cells[: len(positions)] if in_order else [*pick(cells)][:-1]
            found: dict[str, Any] = dict(zip(names, (*values, *tail), strict=True))
            if unknown:
                found["extra"] = {caption: cells[p] for caption, p in unknown if cells[p]}
            return found

        return payload

    def _survey(self, handle: BinaryIO, charset: str, reader: _Reader, file: _File) -> tuple[int, frozenset[int]]:
        """How many rows there are, and the hashes of the keys that stand on more than one."""
        parts = [array("q") for _ in range(_PARTS)]
        appends = [part.append for part in parts]
        key_of, wanted = reader.key, reader.wanted
        total = -1
        for _, cells, fault in rows(handle, charset):
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
                file,
                f"{len(ties)} codes stand in it more than once, so the column {reader.layout.key} (or the identity) "
                "does not tell its rows apart",
                "Export one row for each record (and storehouse), or name another column as the identity.",
            )
        return total, frozenset(ties)

    def _items(
        self,
        handle: BinaryIO,
        charset: str,
        reader: _Reader,
        entity: EntityName,
        file: _File,
        ties: frozenset[int],
        tied: dict[str, _Tie],
    ) -> Iterator[RawItem | None]:
        """A record per row; None for a row that is none here or shares its key (that is noted in `tied`)."""
        key_of, wanted, payload_of = reader.key, reader.wanted, reader.payload
        modified_at = file.modified_at
        found = rows(handle, charset)
        next(found, None)
        for line, cells, fault in found:
            if fault is not None:
                yield self._refused(entity, _row_id(reader.layout, line), f"{file.name} line {line}: {fault}", file)
                continue
            if wanted is not None and not wanted(cells):
                yield None
                continue
            key = key_of(cells)
            if not key:
                if any(cell.strip() for cell in cells):
                    reason = f"{file.name} line {line}: it has no code, and an empty code names nothing"
                    yield self._refused(entity, _row_id(reader.layout, line), reason, file)
                else:
                    yield None
            elif ties and hash(key) in ties:
                tied.setdefault(key, _Tie(cells)).add(line)
                yield None
            else:
                yield RawItem(entity, key, payload_of(cells), modified_at)

    def _refused(self, entity: EntityName, key: str, reason: str, file: _File) -> RawItem:
        return RawItem(entity, key, {"fault": reason, "file": _origin(file)}, file.modified_at)

    def _page(self, handle: BinaryIO, file: _File, items: list[RawItem], number: int, total: int) -> Page:
        if not file.same(os.fstat(handle.fileno())):
            raise self._changed(file)
        position = {"file": file.name, "mtime_ns": file.mtime_ns, "size": file.size, "rows": number}
        return Page(items, position=position, total=total)

    def _resume(self, position: Mapping[str, Any] | None, file: _File) -> int:
        """How many rows of this very file were given before; 0 when another one took its place."""
        wanted = {"file": file.name, "mtime_ns": file.mtime_ns, "size": file.size}
        if position is None or {name: position.get(name) for name in wanted} != wanted:
            return 0
        return int(position["rows"])

    # -- words -------------------------------------------------------------------------------------------------

    def _say(self, message: str, *values: object) -> None:
        self._ctx.logger.warning(f"%s: {message}", self._ctx.connection, *values)

    def _changed(self, file: _File) -> TransientError:
        return TransientError(
            f"{self._ctx.connection}: {file.name} changed while it was read",
            hint="Nothing to do: the next run reads it. Exports that are written aside and renamed avoid this.",
            connection=self._ctx.connection,
            code="file_changed",
        )

    def _unusable(self, file: _File, reason: str, hint: str) -> ConfigError:
        return ConfigError(
            f"{self._ctx.connection}: {file.name} cannot be used: {reason}",
            hint=hint,
            connection=self._ctx.connection,
            code="export_file",
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = Path(str(error.filename)).name if error.filename else self._folder.name
            raise TransientError(
                f"{self._ctx.connection}: {name} cannot be read: {error.strerror or type(error).__name__}",
                hint="EBP or another program may have it open, or it was moved: the next run tries again. If this "
                "lasts, close the program and check the rights on the folder.",
                connection=self._ctx.connection,
                code="file_unreadable",
            ) from None


def _cell(cells: list[str], position: int | None) -> str:
    return "" if position is None else cells[position]


def _origin(file: _File) -> dict[str, str]:
    return {"name": file.name, "modified_at": file.modified_at.isoformat()}


def _row_id(layout: Layout, line: int) -> str:
    """What a row without a usable code is called; the same in the next file if it is still there."""
    return f"{layout.stem}#{line}"
