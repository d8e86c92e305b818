"""Full snapshots of what a program knows of its items, stock and customers: as files, or out of its database.

The newest complete file of a kind is read, and only when it is newer than what was read before; the files belong to
the user and stay as they are. A result of a query is spooled to a file of ours first, as fast as the server gives it,
so that no lock of the program's waits for us; then it is read like any other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, ClassVar

from comptoir.errors import ComptoirError, StorageFull, TransientError
from comptoir.model.refs import EntityName
from comptoir.sdk.lists.columns import Layout
from comptoir.sdk.lists.reading import ListReader, Row, Settings, Source
from comptoir.sdk.lists.table import is_ended, rows
from comptoir.sdk.protocols import CheckItem, ConnectorContext, Page, PullRequest
from comptoir.sdk.sql import Database, Query, open_database

__all__ = ["ListFolder"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class ListFolder(ListReader):
    """The lists of one connection: its export folder, or its database. A connector says what is particular to it."""

    #: The layouts of each entity; the first one of which there is a file is taken.
    layouts: ClassVar[Mapping[EntityName, tuple[Layout, ...]]]
    #: What the program is called.
    program: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = (".CSV",)
    #: Field of a row's own moment, for entities that a query may read by it; the others are always read whole.
    dated_by: ClassVar[Mapping[EntityName, str]] = {}
    #: So much earlier than asked for is read by a query: clocks of the server are turned back in autumn, and a row may
    #: become visible some time after its moment.
    back: ClassVar[timedelta] = timedelta(minutes=70)

    def __init__(self, folder: Path, settings: Settings, ctx: ConnectorContext, charset: str) -> None:
        super().__init__(settings, ctx, charset)
        self._folder = folder / settings.export_folder
        self._root = folder

    # -- what a connector says of its database ----------------------------------------------------------------

    def moment(self, text: str) -> datetime | None:
        """The moment that a row of a query names; None when it names none. ValueError for what is no moment."""
        raise NotImplementedError

    def since(self, moment: datetime) -> str:
        """A moment as the query's column writes it, to be compared as text."""
        raise NotImplementedError

    # -- pages -------------------------------------------------------------------------------------------------

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
                    raise self._changed(file.name)
                position = {"file": file.name, "mtime_ns": file.mtime_ns, "size": file.size}
                source = Source(
                    handle, file.name, file.modified_at, lambda: file.same(os.fstat(handle.fileno())), position
                )
                yield from self._read(source, layout, request)

    def query_pages(self, request: PullRequest, query: Query) -> Iterator[Page]:
        """The rows of a packaged query: those that changed since `request.since` where a row has a moment of its own,
        else all of them, dated when the query was asked: what was counted later is not in it.

        The errors are those of `comptoir.sdk.sql`, and StorageFull when the result cannot be spooled.
        """
        layout = next(layout for layout in self.layouts[request.entity] if layout.query == query.name)
        column = self.dated_by.get(request.entity)
        after = None
        if column is not None and request.since is not None:
            after = (column, self.since(request.since - self.back))
        asked_at = self._ctx.clock.now()
        with self._spool() as spool:
            with open_database(self._ctx) as database:
                database.spool(query, spool, after=after)
            spool.seek(0)
            dated = None if column is None else self._own_moment(spool, column)
            source = Source(spool, f"{query.name}.sql", asked_at, lambda: True, None, dated)
            yield from self._read(source, layout, request)

    def _own_moment(self, spool: BinaryIO, column: str) -> Callable[[Row], datetime | None]:
        """The moment of a row, by which the next read begins."""
        _, header, _ = next(rows(spool, "utf-8"))
        at = header.index(column)

        def moment(cells: Row) -> datetime | None:
            try:
                return self.moment(cells[at]) if at < len(cells) else None
            except ValueError:
                return None  # the mapping refuses the row, in its own words

        return moment

    @contextmanager
    def _spool(self) -> Iterator[BinaryIO]:
        try:
            with tempfile.TemporaryFile() as spool:
                yield spool
        except OSError as error:
            raise StorageFull(
                f"{self._ctx.connection}: a query's result cannot be kept: {error.strerror or type(error).__name__}",
                hint="Free space in the folder for temporary files (TMPDIR).",
                connection=self._ctx.connection,
            ) from None

    def check(self) -> list[CheckItem]:
        """The newest file of each kind and whether its columns are known; does not wait for anything."""
        items = []
        for entity, (layout, *_) in self.layouts.items():
            name = f"export {layout.stem}"
            try:
                with self._reading():
                    items.append(CheckItem(name, True, self._describe(entity, layout)))
            except ComptoirError as error:
                items.append(CheckItem.failed(name, error))
        return items

    def check_queries(self, queries: Sequence[Query], table: str) -> list[CheckItem]:
        """Whether the server lets us in, whether the login could write (it must not), and whether each query's tables
        and columns are there."""
        try:
            with open_database(self._ctx) as database:
                return [database.rights(table), *(_tried(database, query) for query in queries)]
        except ComptoirError as error:
            return [CheckItem.failed("database", error)]

    def _describe(self, entity: EntityName, layout: Layout) -> str:
        found = self._files(layout.stems)
        if not found:
            return f"no {self._names(layout)} in {self._settings.export_folder} (yet)"
        with found[0].path.open("rb") as handle:
            columns, _, _ = self._columns(handle, found[0].name, layout, entity)
        unknown = f", {len(columns.unknown)} columns of the user's own" if columns.unknown else ""
        return f"{found[0].name} of {found[0].modified_at:%Y-%m-%d %H:%M} UTC: {len(columns.fields)} fields{unknown}"

    # -- which file --------------------------------------------------------------------------------------------

    def _names(self, layout: Layout) -> str:
        return f"{layout.stem}*{self.suffixes[0].lower()}"

    def _choose(self, entity: EntityName, since: datetime | None) -> tuple[_File, Layout] | None:
        layouts = self.layouts[entity]
        layout, found = layouts[0], self._files(layouts[0].stems)
        for other in layouts[1:]:
            if not found:
                layout, found = other, self._files(other.stems)
        if not found:
            self.say("no %s in %s: export it from %s", self._names(layouts[0]), self._settings.export_folder,
                      self.program)  # fmt: skip
            return None
        for file in found:
            if since is not None and file.modified_at <= since:
                self._note_older(file, since)
                continue
            if self._is_complete(file):
                if file.modified_at > self._ctx.clock.now() + timedelta(minutes=5):
                    self.say("%s is dated in the future: it is read by every run until then", file.name)
                return file, layout
        return None

    def _note_older(self, file: _File, since: datetime) -> None:
        """Says why a file that was put there later is not read: its contents are older than what was."""
        arrived = _EPOCH + timedelta(microseconds=file.ctime_ns // 1000)
        if file.modified_at < since and arrived > since + timedelta(seconds=self._settings.quiet_seconds):
            self._ctx.logger.info(
                "%s: %s is not read: it is of %s and a newer one, of %s, was read before",
                self._ctx.connection, file.name, file.modified_at.isoformat(), since.isoformat(),
            )  # fmt: skip

    def _files(self, stems: tuple[str, ...]) -> list[_File]:
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
            if not (name.startswith(stems) and name.endswith(self.suffixes)) or path.is_symlink():
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
        quiet = timedelta(seconds=self._settings.quiet_seconds)
        if quiet and not file.modified_at <= now - quiet:
            wait = min(quiet, quiet - (now - file.modified_at))
            self._ctx.clock.sleep(wait.total_seconds())
            if not file.same(file.path.stat()):
                self.say("%s is still being written; the next run reads it", file.name)
                return False
        if file.size > self._settings.max_file_bytes:
            raise self._unusable(
                file.name,
                f"it has {file.size} bytes, more than the {self._settings.max_file_bytes} of max_file_bytes",
                "Look at what was exported, or raise max_file_bytes of the connection.",
            )
        with file.path.open("rb") as handle:
            if is_ended(handle):
                return True
        self.say("%s does not end with a whole line: it is cut or still being written, and not read", file.name)
        return False

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = Path(str(error.filename)).name if error.filename else self._folder.name
            raise TransientError(
                f"{self._ctx.connection}: {name} cannot be read: {error.strerror or type(error).__name__}",
                hint=f"{self.program} or another program may have it open, or it was moved: the next run tries again. "
                "If this lasts, close the program and check the rights on the folder.",
                connection=self._ctx.connection,
                code="file_unreadable",
            ) from None


def _tried(database: Database, query: Query) -> CheckItem:
    try:
        database.try_out(query)
    except ComptoirError as error:
        return CheckItem.failed(f"query {query.name}", error)
    return CheckItem(f"query {query.name}", True, "its tables and columns are there")
