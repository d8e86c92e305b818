"""Records of files that nobody vouches for: CSV, JSON, JSON lines, XML.

What costs one record is given as that record's fault (its line and what is wrong); what makes the whole file doubtful
raises `BadFile`. Everything is text until the mapping says otherwise: a GTIN keeps its zeros, 3.10 its last one.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, NoReturn, Protocol, TextIO
from xml.parsers import expat

__all__ = ["BadFile", "Record", "charset_of", "field_name", "read_csv", "read_json", "read_jsonl", "read_xml", "sniff"]

MAX_FIELD = 64 * 1024
MAX_ROW = 1024 * 1024
MAX_COLUMNS = 512
#: Line breaks inside one row's quoted cells.
MAX_ROW_LINES = 200
MAX_DEPTH = 32
_BLOCK = 256 * 1024
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: UTF-8 that was taken for a single-byte charset: é as Ã©, ° as Â°, € as â‚¬.
_MOJIBAKE = re.compile("[ÂÃ][\u0080-\u00bf]|â‚¬|â€™")
_UTF8_PAIR = re.compile(rb"\xc3[\x80-\xbf]|\xc2[\xa0-\xbf]|\xe2\x82\xac|\xe2\x80[\x90-\xa6]")
#: Stands for a line that was too long to be read; from the private use area, so no text has it.
_TOO_LONG = "\ue000comptoir:too-long\ue000"


class BadFile(Exception):
    """The file as a whole cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, where it stands (line or number, from 1), and why it cannot be used (None: it can)."""

    at: int
    payload: Mapping[str, Any]
    fault: str | None = None


class CsvRules(Protocol):
    """What a CSV file must be like."""

    @property
    def delimiter(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def required(self) -> tuple[str, ...]: ...
    @property
    def whole(self) -> bool: ...


def sniff(head: bytes, wanted: str) -> str | None:
    """What a file that should be CSV, JSON or XML really is, when that can be seen; None when nothing is wrong."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:300].lower()
    for magic, name in ((b"pk\x03\x04", "a zip or spreadsheet"), (b"%pdf", "a PDF"), (b"\x1f\x8b", "a gzip archive")):
        if start.startswith(magic):
            return name
    if b"<html" in start or start.startswith(b"<!doctype html"):
        return "a web page (a login or error page was saved)"
    if wanted != "xml" and start.startswith(b"<"):
        return "markup"
    return None


def charset_of(file: BinaryIO, declared: str, fallback: str | None) -> str:
    """The charset in which the whole file can be read. BadFile when there is none, or when two are mixed.

    A byte order mark decides; else the declared charset, strictly; else the fallback. Nothing is guessed.
    """
    file.seek(0)
    head = file.read(4)
    for mark, name in _BOMS:
        if head.startswith(mark):
            _readable(file, name)
            return name
    try:
        _readable(file, declared)
    except BadFile:
        if fallback is None:
            raise
        declared = fallback
        _readable(file, declared)
    if len("é".encode(declared, "ignore")) == 1:
        _not_mixed(file, declared)
    return declared


def _readable(file: BinaryIO, charset: str) -> None:
    file.seek(0)
    decoder = codecs.getincrementaldecoder(charset)("strict")
    line = 1
    try:
        while block := file.read(_BLOCK):
            text = decoder.decode(block)
            if "\0" in text:
                raise BadFile(
                    f"it holds a NUL character, after line {line + text[: text.index(chr(0))].count(chr(10))}"
                )
            line += text.count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise BadFile(f"it is not {charset}, after line {line}") from None


def _not_mixed(file: BinaryIO, charset: str) -> None:
    """Bytes that are an accent in UTF-8 and rubbish in a single-byte charset: two programs wrote this file."""
    file.seek(0)
    rest, line = b"", 1
    while block := file.read(_BLOCK):
        data = rest + block
        if found := _UTF8_PAIR.search(data):
            at = line + data[: found.start()].count(b"\n")
            raise BadFile(f"line {at} is UTF-8 and other lines are {charset}: the charsets are mixed")
        line += data[:-3].count(b"\n")
        rest = data[-3:]


@cache
def field_name(caption: str) -> str:
    """What a column is called in the record, and so in a mapping: its caption without dots and square brackets."""
    plain = re.sub(r"[.\[\]]", " ", unicodedata.normalize("NFC", caption)).lstrip(" $")
    return " ".join(plain.split())


# -- CSV ---------------------------------------------------------------------------------------------------------


def read_csv(file: BinaryIO, charset: str, rules: CsvRules) -> Iterator[Record]:
    """The rows as objects of text by column name. Empty lines are left out."""
    if rules.whole and not _is_ended(file, charset):
        raise BadFile("its last line does not end: it is cut, or was still being written")
    file.seek(0)
    text = io.TextIOWrapper(_Unclosed(file), encoding=charset, newline="")
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=rules.delimiter, strict=True)
    names = [field_name(name) for name in rules.columns] or _header(reader, rules)
    width = len(names)
    while True:
        at = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise BadFile(f"a quotation mark is opened in line {at} and never closed") from None
            yield Record(at, {}, _csv_words(error))
            continue
        if lines.number - at >= MAX_ROW_LINES:
            raise BadFile(f"the row that begins in line {at} goes on for {lines.number - at + 1} lines: a quotation "
                          "mark is missing")  # fmt: skip
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        yield _row(at, cells, names, width)


def _row(at: int, cells: list[str], names: list[str], width: int) -> Record:
    if len(cells) == width + 1 and not cells[-1].strip():
        cells = cells[:-1]
    if any(_TOO_LONG in cell for cell in cells):
        return Record(at, {}, f"it is longer than {MAX_ROW} characters")
    if len(cells) != width:
        return Record(at, {}, f"it has {len(cells)} cells, and there are {width} columns")
    payload = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    for name, cell in payload.items():
        if len(cell) > MAX_FIELD:
            return Record(at, {}, f"{name} is longer than {MAX_FIELD} characters")
        if not cell.isascii() and _MOJIBAKE.search(cell):
            return Record(at, payload, f"{name} was written in two charsets one after the other ({cell[:40]!r})")
    return Record(at, payload)


def _header(reader: Iterator[list[str]], rules: CsvRules) -> list[str]:
    try:
        names = [field_name(name) for name in next(reader, [])]
    except csv.Error as error:
        raise BadFile(f"its first line cannot be read: {_csv_words(error)}") from None
    if not any(names):
        raise BadFile("it is empty")
    while names and not names[-1]:
        names.pop()
    if len(names) > MAX_COLUMNS:
        raise BadFile(f"it has {len(names)} columns, more than {MAX_COLUMNS}")
    missing = [name for name in rules.required if field_name(name) not in names]
    if missing:
        raise BadFile(f"the column {missing[0]!r} is missing; its first line has: {', '.join(names)[:300]}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadFile(f"two columns are called {twice!r}")
    return names


def _csv_words(error: csv.Error) -> str:
    words = str(error)
    return f"a cell is longer than {csv.field_size_limit()} characters" if "field larger" in words else words


def _is_ended(file: BinaryIO, charset: str) -> bool:
    size = file.seek(0, 2)
    file.seek(max(0, size - 4))
    return file.read().rstrip(b"\0").endswith(b"\n") or (size > 0 and charset == "utf-16" and _ends_utf16(file, size))


def _ends_utf16(file: BinaryIO, size: int) -> bool:
    file.seek(size - 2)
    return file.read() in (b"\n\0", b"\0\n")


class _Unclosed(io.RawIOBase, BinaryIO):
    """A binary file that a text wrapper does not close with itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Lines:
    """Lines for the csv module, none longer than a row may be; counts them."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < MAX_ROW or line.endswith("\n"):
            return line
        while line and not line.endswith("\n"):
            line = self._text.readline(MAX_ROW)
        return _TOO_LONG + "\n"


# -- JSON --------------------------------------------------------------------------------------------------------


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _loads(text: str) -> Any:
    # Numbers with decimals stay as they are written: 3.10 is no 3.1, and no float.
    return json.loads(text, parse_float=str, parse_constant=_no_constant)


def read_json(file: BinaryIO, charset: str, path: str) -> Iterator[Record]:
    """The objects of the list at `path` of one JSON document."""
    file.seek(0)
    try:
        found = _loads(file.read().decode(charset))
    except (ValueError, RecursionError) as error:
        raise BadFile(f"it is no JSON: {str(error)[:200]}") from None
    for part in path.split(".") if path else ():
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, list):
        raise BadFile(f"there is no list at {path or 'its top'!r}")
    for number, value in enumerate(found, 1):
        yield _object(number, value)


def read_jsonl(file: BinaryIO, charset: str) -> Iterator[Record]:
    """One object a line."""
    file.seek(0)
    lines = _Lines(io.TextIOWrapper(_Unclosed(file), encoding=charset))
    for line in lines:
        if not line.strip():
            continue
        if line.startswith(_TOO_LONG):
            yield Record(lines.number, {}, f"it is longer than {MAX_ROW} characters")
            continue
        try:
            value = _loads(line)
        except (ValueError, RecursionError) as error:
            yield Record(lines.number, {}, f"it is no JSON: {str(error)[:200]}")
            continue
        yield _object(lines.number, value)


def _object(at: int, value: Any) -> Record:
    if not isinstance(value, dict):
        return Record(at, {}, "it is no object")
    return Record(at, value)


# -- XML ---------------------------------------------------------------------------------------------------------


def read_xml(file: BinaryIO, path: str, lists: tuple[str, ...]) -> Iterator[Record]:
    """The elements at `path` (root/.../record), one after the other, in memory that one record needs.

    An element becomes its text, or an object of its attributes (`@name`), children and text (`#text`); what stands
    several times, or is named in `lists`, a list. Names lose their namespace. A file with a DOCTYPE is refused: no
    entity is ever expanded, nothing is ever fetched.
    """
    builder = _Builder(path.strip("/").split("/"), frozenset(lists))
    # Attributes and names are split from their namespace by this sign, which no name has.
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.EntityDeclHandler = _no_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    builder.line = lambda: parser.CurrentLineNumber
    file.seek(0)
    try:
        while block := file.read(_BLOCK):
            parser.Parse(block, False)
            yield from builder.take()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise BadFile(f"it is no well-formed XML: {error}") from None
    except (LookupError, UnicodeError, ValueError) as error:
        raise BadFile(f"it is no XML that can be read: {str(error)[:200]}") from None
    yield from builder.take()
    if not builder.met:
        raise BadFile(f"no element stands at {path!r}")


def _no_doctype(*_: Any) -> NoReturn:
    raise BadFile("it declares a document type or entities, which are refused")


class _Node:
    __slots__ = ("fields", "name", "parts", "size")

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.parts: list[str] = []
        self.fields: dict[str, Any] = {f"@{_local(k)}": v for k, v in attributes.items()}


class _Builder:
    def __init__(self, path: list[str], lists: frozenset[str]) -> None:
        self._path = path
        self._lists = lists
        self._open: list[str] = []
        self._nodes: list[_Node] = []
        self._done: list[Record] = []
        self._size = 0
        self._began = 0
        self.met = False
        self.line: Callable[[], int] = lambda: 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise BadFile(f"its elements are nested more than {MAX_DEPTH} deep, in line {self.line()}")
        self._open.append(_local(name))
        if self._nodes or self._open == self._path:
            if not self._nodes:
                self._size, self._began, self.met = 0, self.line(), True
            self._grow(sum(len(k) + len(v) for k, v in attributes.items()) + len(name))
            self._nodes.append(_Node(self._open[-1], attributes))

    def text(self, data: str) -> None:
        if self._nodes:
            self._grow(len(data))
            self._nodes[-1].parts.append(data)

    def end(self, name: str) -> None:
        del name
        self._open.pop()
        if not self._nodes:
            return
        node = self._nodes.pop()
        text = "".join(node.parts).strip()
        if not self._nodes:
            payload = {**node.fields, **({"#text": text} if text else {})}
            self._done.append(Record(self._began, payload))
            return
        value: Any = text if not node.fields else {**node.fields, **({"#text": text} if text else {})}
        fields = self._nodes[-1].fields
        if node.name in fields and isinstance(fields[node.name], list):
            fields[node.name].append(value)
        elif node.name in fields:
            fields[node.name] = [fields[node.name], value]
        else:
            fields[node.name] = [value] if node.name in self._lists else value

    def take(self) -> list[Record]:
        done, self._done = self._done, []
        return done

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ROW:
            raise BadFile(f"the record that begins in line {self._began} is longer than {MAX_ROW} characters")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
