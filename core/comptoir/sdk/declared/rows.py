"""The records of one file: surveyed as a whole first, then given one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

from comptoir.model.refs import EntityName
from comptoir.sdk.declared.files_description import FileEntity, FilesTable, Numbers
from comptoir.sdk.declared.formats import (
    BadFile,
    Record,
    charset_of,
    field_name,
    read_csv,
    read_json,
    read_jsonl,
    read_xml,
    sniff,
)
from comptoir.sdk.protocols import RawItem

__all__ = ["NumberForm", "Rows"]

_SPACES = "[ \u00a0\u2007\u2009\u202f]"
_DATES = {
    "DD/MM/YYYY": ("%d/%m/%Y", 10),
    "DD.MM.YYYY": ("%d.%m.%Y", 10),
    "YYYY-MM-DD": ("%Y-%m-%d", 10),
    "YYYYMMDD": ("%Y%m%d", 8),
    "DD/MM/YY": ("%d/%m/%y", 8),
}
#: So many bad rows are always let pass as rows: a share says nothing about a file of ten.
_ALWAYS_ROWS = 1


class _Csv:
    """The rules of a CSV file for `read_csv`."""

    def __init__(self, table: FilesTable, entity: FileEntity) -> None:
        self.delimiter: str = table.delimiter
        self.columns = entity.columns
        numbers = entity.numbers.columns if entity.numbers else ()
        dates = entity.dates.columns if entity.dates else ()
        self.required = tuple(dict.fromkeys((*entity.key, *entity.required, *numbers, *dates)))
        self.whole = table.final_newline == "required"


class Rows:
    """The records of an open file. BadFile, when it is made or read, says why nothing of the file is used."""

    def __init__(self, file: BinaryIO, table: FilesTable, entity: FileEntity, name: str) -> None:
        self._file = file
        self._table = table
        self._entity = entity
        self._name = name
        named = field_name if table.format == "csv" else str
        self._keys = [named(name) for name in entity.key]
        self._numbers = [named(name) for name in entity.numbers.columns] if entity.numbers else []
        self._dates = [named(name) for name in entity.dates.columns] if entity.dates else []
        self._number = NumberForm(entity.numbers) if entity.numbers else None
        self.charset = self._look()
        self._ties: set[int] = set()
        #: How many records `items` gives.
        self.total = self._survey()

    def items(self, entity: EntityName, at: datetime) -> Iterator[RawItem]:
        """The records, in the order of the file, dated by it; a bad one has its fault and no content for a mapping."""
        if self._entity.lines:
            for group, rows in self._grouped().items():
                lines = [dict(row) for row in rows]
                yield RawItem(entity, group, {**rows[0], self._entity.lines: lines}, at)
            return
        told: set[int] = set()
        for record in self._records():
            key = self._key(record)
            fault: str | None = record.fault
            if key is not None and hash(key) in self._ties:
                if hash(key) in told:
                    continue
                told.add(hash(key))
                fault = f"{key} stands in the file several times, and which row is right cannot be known"
            if fault is None and key is not None:
                yield RawItem(entity, key, record.payload, at)
                continue
            said = f"{self._name}, {self._where(record)}: {fault}"
            payload = {"file": self._name, "at": record.at, "fault": fault, "row": dict(record.payload)}
            yield RawItem(entity, key or f"{self._name} {self._where(record)}", payload, at, fault=said)

    def _where(self, record: Record) -> str:
        return f"{'record' if self._table.format == 'json' else 'line'} {record.at}"

    # -- the whole file ----------------------------------------------------------------------------------------

    def _look(self) -> str:
        self._file.seek(0)
        head = self._file.read(4096)
        if not head.strip():
            raise BadFile("it is empty")
        if (found := sniff(head, self._table.format)) is not None:
            raise BadFile(f"it is {found}, not {self._table.format.upper()}")
        if self._table.format == "xml":
            return ""
        return charset_of(self._file, self._table.charset, self._table.fallback_charset)

    def _survey(self) -> int:
        """Reads everything once: how many records there are, and whether the file can be trusted."""
        seen: set[int] = set()
        rows = bad = doubled = 0
        first: Record | None = None
        for record in self._records():
            rows += 1
            if rows > self._table.max_rows:
                raise BadFile(f"it has more than {self._table.max_rows} records")
            if record.fault is not None:
                bad += 1
                first = first or record
                continue
            key = hash(self._key(record))
            if key in seen and not self._entity.lines:
                self._ties.add(key)
                doubled += 1
            seen.add(key)
        if not rows:
            raise BadFile("it has no record: an empty list is never taken for 'there is nothing'")
        if first is not None:
            if self._entity.lines:
                raise BadFile(f"{self._where(first)}: {first.fault}; whose line it was cannot be known")
            if bad == rows or bad > max(_ALWAYS_ROWS, rows * self._table.bad_rows):
                raise BadFile(
                    f"{bad} of {rows} records cannot be read, the first in {self._where(first)}: {first.fault}"
                )
        return len(seen) if self._entity.lines else rows - doubled

    def _grouped(self) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for record in self._records():
            found.setdefault(self._key(record) or "", []).append(record.payload)
        return found

    # -- one record --------------------------------------------------------------------------------------------

    def _records(self) -> Iterator[Record]:
        found: Iterator[Record]
        match self._table.format:
            case "csv":
                found = read_csv(self._file, self.charset, _Csv(self._table, self._entity))
            case "json":
                found = read_json(self._file, self.charset, self._entity.records)
            case "jsonl":
                found = read_jsonl(self._file, self.charset)
            case "xml":
                found = read_xml(self._file, self._entity.records, self._entity.lists)
        return (self._converted(record) for record in found)

    def _converted(self, record: Record) -> Record:
        """Numbers and days in their plain form, and a key; what has none of them has a fault."""
        if record.fault is not None:
            return record
        payload = dict(record.payload)
        if self._number is not None:
            for name in self._numbers:
                value = payload.get(name)
                if isinstance(value, str) and value:
                    plain = self._number(value)
                    if plain is None:
                        return Record(record.at, payload, f"{name}: {value[:40]!r} is no number as declared")
                    payload[name] = plain
        if self._entity.dates is not None:
            how, length = _DATES[self._entity.dates.format]
            for name in self._dates:
                value = payload.get(name)
                if isinstance(value, str) and value:
                    day = _day(value, how, length)
                    if day is None:
                        return Record(record.at, payload, f"{name} is no day {self._entity.dates.format}")
                    payload[name] = day
        missing = next((name for name in self._keys if not _text(payload.get(name))), None)
        if missing is not None:
            return Record(record.at, payload, f"it has no {missing}, which tells it from others")
        return Record(record.at, payload)

    def _key(self, record: Record) -> str | None:
        parts = [_text(record.payload.get(name)) for name in self._keys]
        return "/".join(parts) if all(parts) else None


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _day(value: str, how: str, length: int) -> str | None:
    if len(value) != length:
        return None
    try:
        return datetime.strptime(value, how).date().isoformat()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError:
        return None


class NumberForm:
    """Turns a number as people write it (`1 234,50`) into plain digits (`1234.50`); None when it is not written so.

    Strict: thousands must be grouped by three, and no sign is guessed. `2.600` with a decimal comma and no sign for
    thousands is no number.
    """

    def __init__(self, rules: Numbers) -> None:
        between = {"": "", " ": _SPACES}.get(rules.thousands, re.escape(rules.thousands))
        whole = rf"[0-9]{{1,3}}(?:{between}[0-9]{{3}})+|[0-9]{{1,18}}" if between else r"[0-9]{1,18}"
        self._form = re.compile(rf"([+-]?)({whole})(?:{re.escape(rules.decimal)}([0-9]{{1,12}}))?")

    def __call__(self, text: str) -> str | None:
        found = self._form.fullmatch(text.strip())
        if found is None:
            return None
        sign, whole, decimals = found.groups()
        digits = re.sub(r"[^0-9]", "", whole)
        return f"{'-' if sign == '-' else ''}{digits}{f'.{decimals}' if decimals else ''}"
