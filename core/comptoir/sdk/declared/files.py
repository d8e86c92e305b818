"""A system that puts files into a folder, by description.

With `after = "archive"` a file goes through folders by renaming, so that of two readers one gets it and a crash at any
point loses nothing:

    NAME -> processing/TIME~NAME    claimed; TIME orders the files and is later than every one read before
         -> processing/TIME+NAME    read to its end (TIME!NAME: refused as a whole)
         -> done/TIME~NAME, or rejected/TIME~NAME with a report, once the cursor says that its rows are stored

Nothing is filed away before the rows are committed: the engine's cursor is the only witness of that. With
`after = "keep"` files stay where they are, and what is newer than the cursor is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, ClassVar

from pydantic import Field

from comptoir.errors import ComptoirError, ConfigError, ContractViolation, RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.declared.description import Description
from comptoir.sdk.declared.files_description import FileEntity, FilesTable
from comptoir.sdk.declared.formats import BadFile
from comptoir.sdk.declared.rows import Rows
from comptoir.sdk.files import FileEntry, Files, csv_for_people, open_files, settled
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.protocols import (
    CheckItem,
    CheckReport,
    ConnectorConfig,
    ConnectorContext,
    Page,
    PullRequest,
    RawItem,
)
from comptoir.sdk.unpack import unpacked

__all__ = ["PROCESSING", "DeclaredFiles", "FilesConfig"]

PROCESSING = "processing"
_PAGE = 500
_STAMP = "%Y%m%dT%H%M%S%fZ"
_STAMP_LENGTH = len("20260101T000000000000Z")
_CLAIMED, _READ, _REFUSED = "~", "+", "!"
_MOMENT = timedelta(microseconds=1)


class FilesConfig(ConnectorConfig):
    """What `[connections.NAME]` says of a system that gives files, beside the description's own settings."""

    folder: str = Field(
        min_length=1, description="A folder, from comptoir.toml on, or an address: sftp://, ftps://, s3://"
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A file that may be read: where it is, what it was called, and the moment that stands for it in the cursor."""

    path: str
    name: str
    at: datetime
    state: str = _CLAIMED

    @property
    def label(self) -> str:
        return f"{self.at.strftime(_STAMP)} {self.name}"


class DeclaredFiles:
    """One connection to a described folder of files."""

    manifest: ClassVar[Manifest]
    config_model: ClassVar[type[ConnectorConfig]]
    description: ClassVar[Description]

    def __init__(self, config: FilesConfig, ctx: ConnectorContext, *, files: Files | None = None) -> None:
        if self.description.files is None:
            raise ContractViolation(f"{self.description.shown} has no [files]")
        self._table: FilesTable = self.description.files
        self._config = config
        self._ctx = ctx
        self._given = files

    @property
    def _files(self) -> Files:
        # Opened on first use: `comptoir check` must be able to say what is wrong with the address.
        if self._given is None:
            names = [entity.pattern for entity in self._table.entities.values()]
            self._given = open_files(self._config.folder, self._ctx, names=names)
        return self._given

    def check(self) -> CheckReport:
        """The folder can be listed; how many files wait. Moves and writes nothing."""
        try:
            found = self._files.list(self._table.folder)
            claimed = self._files.list(PROCESSING) if self._table.after == "archive" else []
        except ComptoirError as error:
            return CheckReport([CheckItem.failed("folder", error)])
        items = [CheckItem("folder", True, f"{len(found)} files, {len(claimed)} being read")]
        for entity, table in self._table.entities.items():
            waiting = [e for e in found if _matches(e.name, table)]
            newest = f", the newest of {max(e.modified_at for e in waiting):%Y-%m-%d %H:%M} UTC" if waiting else ""
            items.append(CheckItem(entity.value, True, f"{len(waiting)} files {table.pattern}{newest}"))
        if others := self._others(found):
            items.append(
                CheckItem(
                    "other files",
                    True,
                    f"{len(others)} fit no pattern and are never read, for instance {', '.join(others[:3])}",
                    hint=f"A file that should be read needs a name that a pattern in {self.description.shown} fits.",
                )
            )
        return CheckReport(items)

    def _others(self, found: Sequence[FileEntry]) -> list[str]:
        """Names that no entity's pattern fits and that are no marker of one that does: a supplier's slip, perhaps."""
        marker = self._table.marker if self._table.ready == "marker" else ""
        return [
            e.name
            for e in found
            if not any(
                _matches(e.name, table) or (marker and _matches(e.name.removesuffix(marker), table))
                for table in self._table.entities.values()
            )
        ]

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """The rows of the files that are new since the cursor. A bad row, or a bad file, is one refused record."""
        table = self._table.entities.get(request.entity)
        if table is None:
            raise ContractViolation(f"{self._ctx.connection}: {self.manifest.name} gives no {request.entity.value}")
        waiting = self._waiting(table, request.since)
        if table.snapshot == "newest" and len(waiting) > 1:
            self._superseded(waiting[:-1])
            waiting = waiting[-1:]
        begun, row = self._resume(request.position)
        for file in waiting:
            if file.label < begun:
                continue
            yield from self._pages(request.entity, table, file, row if file.label == begun else 0)

    # -- which files -------------------------------------------------------------------------------------------

    def _waiting(self, table: FileEntity, since: datetime | None) -> list[_File]:
        """The files to read, in their order."""
        if self._table.after == "keep":
            found = [_File(self._path(e.name), e.name, e.modified_at) for e in self._ready(table)]
            return sorted((f for f in found if since is None or f.at > since), key=lambda f: (f.at, f.name))
        claimed: list[_File] = []
        for file in self._claimed(table):
            if since is not None and file.at <= since and file.state != _CLAIMED:
                self._file_away(file)
            else:
                claimed.append(file)
        last = max([f.at for f in claimed] + ([since] if since else []), default=None)
        return claimed + self._claim(table, last)

    def _ready(self, table: FileEntity) -> list[FileEntry]:
        """The complete files of an entity: with their marker, or unchanged for a while."""
        if self._table.ready == "marker":
            found = self._files.list(self._table.folder)
            marked = {e.name: e.modified_at for e in found}
            # A marker that is older than its file was left over from one before it.
            found = [
                e for e in found if marked.get(e.name + self._table.marker, e.modified_at - _MOMENT) >= e.modified_at
            ]
        else:
            found = settled(self._files, self._ctx, self._table.settle_seconds, self._table.folder)
        ready = [e for e in found if _matches(e.name, table)]
        for entry in ready:
            if sum(_matches(entry.name, other) for other in self._table.entities.values()) > 1 and (
                self._table.after == "archive"
            ):
                raise ConfigError(
                    f"{self._ctx.connection}: {entry.name} fits the patterns of several entities",
                    hint=f'Make the patterns in {self.description.shown} exclude each other, or set after = "keep".',
                    connection=self._ctx.connection,
                )
        return ready

    def _claimed(self, table: FileEntity) -> list[_File]:
        found = []
        for entry in self._files.list(PROCESSING):
            stamp, state, name = (
                entry.name[:_STAMP_LENGTH],
                entry.name[_STAMP_LENGTH:][:1],
                entry.name[_STAMP_LENGTH + 1 :],
            )
            try:
                at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
            except ValueError:
                continue
            if state in (_CLAIMED, _READ, _REFUSED) and _matches(name, table):
                found.append(_File(f"{PROCESSING}/{entry.name}", name, at, state))
        return sorted(found, key=lambda f: f.label)

    def _claim(self, table: FileEntity, last: datetime | None) -> list[_File]:
        """Takes the ready files by renaming them; one that another reader was faster with is left out."""
        now = self._ctx.clock.now()
        found: list[_File] = []
        for entry in sorted(self._ready(table), key=lambda e: (e.modified_at, e.name)):
            # A date from the future would hold the cursor back; one from before it would never be read.
            at = min(entry.modified_at, now)
            if last is not None and at <= last:
                if table.snapshot == "newest":
                    at_rest = _File(self._path(entry.name), entry.name, at)
                    self._superseded([at_rest])
                    continue
                at = last + _MOMENT
            path = f"{PROCESSING}/{at.strftime(_STAMP)}{_CLAIMED}{entry.name}"
            if self._move(self._path(entry.name), path):
                if self._table.ready == "marker":
                    marker = entry.name + self._table.marker
                    self._move(self._path(marker), f"{self._table.archive}/{at.strftime(_STAMP)}{_CLAIMED}{marker}")
                found.append(_File(path, entry.name, at))
                last = at
        return found

    def _superseded(self, files: Sequence[_File]) -> None:
        """Older snapshots than the one that is read."""
        for file in files:
            self._ctx.logger.info(
                "%s: %s of %s is not read: a newer one has everything",
                self._ctx.connection, file.name, file.at.isoformat(),
            )  # fmt: skip
            if self._table.after == "archive":
                self._file_away(file)

    def _file_away(self, file: _File) -> None:
        folder = self._table.reject if file.state == _REFUSED else self._table.archive
        self._move(file.path, f"{folder}/{file.at.strftime(_STAMP)}{_CLAIMED}{file.name}")

    def _move(self, source: str, target: str) -> bool:
        try:
            return self._files.move(source, target)
        except FileExistsError:
            raise ConfigError(
                f"{self._ctx.connection}: {target} exists already",
                hint="Somebody put it there by hand: take it away.",
                connection=self._ctx.connection,
            ) from None

    def _path(self, name: str) -> str:
        return f"{self._table.folder}/{name}" if self._table.folder else name

    # -- reading -----------------------------------------------------------------------------------------------

    def _resume(self, position: Any) -> tuple[str, int]:
        """The file that was being read, and how many of its records were stored."""
        if not position or not isinstance(position.get("file"), str) or not isinstance(position.get("row"), int):
            return "", 0
        return position["file"], position["row"]

    def _pages(self, entity: EntityName, table: FileEntity, file: _File, done: int) -> Iterator[Page]:
        state = _READ
        try:
            with self._opened(file) as handle:
                rows = Rows(handle, self._table, table, file.name)
                self._say_charset(file, rows.charset)
                batch: list[RawItem] = []
                number = 0
                for number, item in enumerate(rows.items(entity, file.at), 1):
                    if number > done:
                        batch.append(item)
                    if len(batch) == _PAGE:
                        yield self._page(batch, file, number, rows.total)
                        batch = []
                if batch:
                    yield self._page(batch, file, number, rows.total)
        except (BadFile, RecordRejected) as error:
            state = _REFUSED
            self._report(file, str(error))
            if table.snapshot == "newest":
                self._mark(file, state)
                raise self._unusable(file, str(error)) from None
            yield Page([self._refused(entity, file, str(error))])
        self._mark(file, state)

    def _say_charset(self, file: _File, charset: str) -> None:
        if charset and charset.removesuffix("-sig") not in (self._table.charset, self._table.fallback_charset):
            self._ctx.logger.info(
                "%s: %s is read as %s: its mark is stronger than the description",
                self._ctx.connection, file.name, charset,
            )  # fmt: skip

    def _mark(self, file: _File, state: str) -> None:
        """Notes in its name what became of a file, for when the cursor has passed it."""
        if self._table.after == "archive" and file.state != state:
            self._move(file.path, f"{PROCESSING}/{file.at.strftime(_STAMP)}{state}{file.name}")

    def _page(self, batch: list[RawItem], file: _File, number: int, total: int) -> Page:
        return Page(batch, {"file": file.label, "row": number}, total)

    @contextmanager
    def _opened(self, file: _File) -> Iterator[BinaryIO]:
        with self._files.open(file.path, max_bytes=self._table.max_bytes) as handle:
            if self._table.compression == "none":
                yield handle
                return
            with unpacked(handle, max_bytes=self._table.max_bytes) as plain:
                yield plain

    def _report(self, file: _File, reason: str) -> None:
        """Says why a file cannot be used, where it will be put."""
        self._ctx.logger.warning("%s: %s cannot be used: %s", self._ctx.connection, file.name, reason)
        if self._table.after == "archive":
            report = csv_for_people([("file", "reason"), (file.name, reason)])
            name = f"{file.at.strftime(_STAMP)}~{file.name}.report.csv"
            try:
                self._files.write(f"{self._table.reject}/{name}", report)
            except FileExistsError:
                self._ctx.logger.debug("%s: the report of %s is there already", self._ctx.connection, file.name)

    def _unusable(self, file: _File, reason: str) -> ConfigError:
        """A snapshot that cannot be used stops the route: there is nothing else to read until a better one comes."""
        return ConfigError(
            f"{self._ctx.connection}: {file.name} cannot be used: {reason}",
            hint=f"Nothing of it was used. Put a correct file there, or correct {self.description.shown}.",
            connection=self._ctx.connection,
            code="bad_file",
        )

    def _refused(self, entity: EntityName, file: _File, reason: str) -> RawItem:
        """One of several files that cannot be used, as a record for a person: the others go on."""
        said = f"the file {file.name} was refused, nothing of it was used: {reason}"
        # The same file again is the same record; another file of that name is another one.
        digest = zlib.crc32(file.label.encode())
        return RawItem(
            entity,
            f"file {file.name} {digest:08x}",
            {"file": file.name, "fault": reason},
            file.at,
            fault=said,
        )


def _matches(name: str, table: FileEntity) -> bool:
    return fnmatchcase(name.lower(), table.pattern.lower())
