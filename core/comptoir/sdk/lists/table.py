"""Rows of a separated text file that nobody vouches for, in memory that does not grow with it.

A line that cannot be a row costs that line and nothing else: it is given with its number and what is wrong with it.
Lines without a quotation mark, nearly all of them, are split as they stand; the others go through the csv module,
which knows quoted separators and line breaks.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["MAX_LINES", "MAX_ROW", "Row", "charset_of", "is_ended", "rows"]

#: Bytes of a row, line breaks inside it included. A real one has some hundred.
MAX_ROW = 256 * 1024
#: Lines of a row, when a cell has line breaks.
MAX_LINES = 500
#: Characters that may be looked through in vain for a closing quotation mark, in one file.
_PATIENCE = 50_000_000
_BLOCK = 1024 * 1024
_UTF8_MARK = b"\xef\xbb\xbf"
#: So often a block is read on by the csv module after a row that it did not like; then row by row.
_TRIES = 50
_NEVER_CLOSED = "its quotation mark is never closed"
_UNICODE_MARKS = (b"\xff\xfe", b"\xfe\xff")

#: Number of its first line (from 1), its cells as they stand, and why it cannot be used (None: it can).
Row = tuple[int, list[str], str | None]


class _Bad(str):
    """Stands for a line that is no text; it says why."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Block:
    """Whole lines without their ends. `whole`: no bad line among them; `plain`: no quotation mark either."""

    lines: list[str]
    whole: bool
    plain: bool


def charset_of(file: BinaryIO, declared: str) -> str:
    """How the file is written: a byte-order mark wins; else UTF-8 when it has accents and is UTF-8, else `declared`.

    French text in a single-byte charset is never valid UTF-8 by accident. Raises ValueError for UTF-16.
    """
    file.seek(0)
    head = file.read(3)
    if head.startswith(_UNICODE_MARKS):
        raise ValueError("it is Unicode text of two bytes a character (UTF-16)")
    if head == _UTF8_MARK:
        return "utf-8-sig"
    file.seek(0)
    while block := file.read(_BLOCK):
        if block.isascii():
            continue
        try:
            (block + file.readline(_BLOCK)).decode("utf-8")
        except UnicodeDecodeError:
            return declared
        return "utf-8"
    return declared


def is_ended(file: BinaryIO) -> bool:
    """Whether the file ends with a line end: one that does not is cut, or still being written."""
    if file.seek(0, 2) == 0:
        return False
    file.seek(-1, 2)
    return file.read(1) == b"\n"


def rows(file: BinaryIO, charset: str, sign: str = ";") -> Iterator[Row]:
    """Every row from the beginning of the file, the header first; empty lines are left out.

    `sign` stands between cells.

    A row of another width than the header's is given with that reason; one empty cell too many at its end is not
    counted. A row over several lines that has another width, or holds a line that is a whole row by itself, is most
    likely a stray quotation mark: only its first line is given up, so that no other row vanishes into it.
    """
    blocks = _blocks(file, charset)
    first, width = 1, 0
    # Of a file full of stray quotation marks every line would be searched to the end of the longest row.
    patience = _PATIENCE
    for block in blocks:
        lines = block.lines
        if block.plain and width:
            for number, line in enumerate(lines, first):
                if line:
                    cells = line.split(sign)
                    yield (number, cells, None) if len(cells) == width else _other_width(number, cells, width)
            first += len(lines)
            continue
        at, tries = 0, _TRIES if block.whole else 0
        while at < len(lines):
            if width and tries:
                tries -= 1
                for cells, used in _quick(lines, at, width, sign):
                    if cells:
                        number = first + at
                        yield (number, cells, None) if len(cells) == width else _other_width(number, cells, width)
                    at += used
                if at == len(lines):
                    break
            found = _row(lines, at, MAX_ROW if patience > 0 else 0, sign)
            if found is None:  # a quoted cell goes on in the next block
                following = next(blocks, None)
                if following is not None:
                    lines, first, at = [*lines[at:], *following.lines], first + at, 0
                    tries = _TRIES if following.whole else 0
                    continue
                found = [lines[at]], _NEVER_CLOSED, 1
            cells, reason, used = found
            if used > 1 and width and _is_stray(cells, lines[at + 1 : at + used], width, sign):
                cells, reason, used = [lines[at]], _NEVER_CLOSED, 1
            if reason is not None:
                patience -= 1 if isinstance(lines[at], _Bad) else sum(map(len, lines[at : at + MAX_LINES]))
                yield first + at, cells, reason
            elif lines[at]:
                width = width or len(cells)
                number = first + at
                yield (number, cells, None) if len(cells) == width else _other_width(number, cells, width)
            at += used
        first += len(lines)


def _quick(lines: list[str], at: int, width: int, sign: str) -> Iterator[tuple[list[str], int]]:
    """Rows from this line on and how many lines each takes, as long as nothing is odd about them."""
    reader = csv.reader([line + "\n" for line in lines[at:]], delimiter=sign, strict=True)
    before = 0
    with contextlib.suppress(csv.Error):  # the row at fault is looked at by itself
        for cells in reader:
            used = reader.line_num - before
            before = reader.line_num
            if used > 1 and _is_stray(cells, lines[at + 1 : at + used], width, sign):
                return
            yield cells, used
            at += used


def _is_stray(cells: list[str], further: list[str], width: int, sign: str) -> bool:
    if len(cells) != width:
        return True
    return any(len(next(csv.reader([line], delimiter=sign), [])) == width for line in further)


def _other_width(number: int, cells: list[str], width: int) -> Row:
    if len(cells) == width + 1 and not cells[-1]:
        return number, cells[:-1], None
    return number, cells, f"it has {len(cells)} columns and the first line {width}"


def _row(lines: list[str], at: int, longest: int, sign: str) -> tuple[list[str], str | None, int] | None:
    """The row that begins at this line, its fault, and how many lines it takes; None: it goes on after these lines.

    `longest` bounds the characters of a row over several lines.
    """
    line = lines[at]
    if isinstance(line, _Bad):
        return [], str(line), 1
    if '"' not in line:
        return line.split(sign), None, 1
    reader = csv.reader(_physical(lines, at, longest), delimiter=sign, strict=False)
    try:
        cells = next(reader)
    except (csv.Error, _Broken) as error:
        return [line], str(error), 1
    except _Exhausted:
        return None
    return cells, None, reader.line_num


class _Exhausted(Exception):
    """The reader asked for a line that is not here."""


class _Broken(Exception):
    """A quoted cell runs into something that cannot belong to it."""


def _physical(lines: list[str], at: int, longest: int) -> Iterator[str]:
    size = 0
    for number in range(at, len(lines)):
        line = lines[number]
        size += len(line)
        if isinstance(line, _Bad):
            raise _Broken(f"its quotation mark is open before a line that is no text ({line})")
        if number > at and (size > longest or number - at >= MAX_LINES):
            raise _Broken(_NEVER_CLOSED)
        yield line + "\n"
    raise _Exhausted


def _blocks(file: BinaryIO, charset: str) -> Iterator[_Block]:
    file.seek(len(_UTF8_MARK) if charset == "utf-8-sig" else 0)
    codec = "utf-8" if charset == "utf-8-sig" else charset
    rest = b""
    skipping = False
    while data := file.read(_BLOCK):
        if skipping:  # the tail of a line that was too long already
            _, mark, data = data.partition(b"\n")
            if not mark:
                continue
            skipping = False
            yield _Block([_Bad(_TOO_LONG)], whole=False, plain=False)
        data = rest + data
        cut = data.rfind(b"\n") + 1
        whole, rest = data[:cut], data[cut:]
        if whole:
            yield _decoded(whole, codec)
        if len(rest) > MAX_ROW:
            rest, skipping = b"", True
    if skipping:
        yield _Block([_Bad(_TOO_LONG)], whole=False, plain=False)
    elif rest:
        yield _decoded(rest + b"\n", codec)


_TOO_LONG = f"it is longer than {MAX_ROW} bytes"


def _decoded(data: bytes, codec: str) -> _Block:
    """Lines of whole lines' bytes."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        return _Block([_line(line, codec) for line in data[:-1].split(b"\n")], whole=False, plain=False)
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        text = _without_returns(text)
    lines = text.split("\n")
    lines.pop()
    longest = len(data) > MAX_ROW and max(map(len, lines)) > MAX_ROW
    if longest:
        bounded = [_Bad(_TOO_LONG) if len(line) > MAX_ROW else line for line in lines]
        return _Block(bounded, whole=False, plain=False)
    return _Block(lines, whole=True, plain='"' not in text)


def _without_returns(text: str) -> str:
    """CR CR LF, which a conversion too many leaves, ends a line; any other lone CR counts as a space."""
    return re.sub(r"(?<!\r)\r+\n", "\n", text).replace("\r", " ")


def _line(data: bytes, codec: str) -> str:
    if b"\0" in data:
        return _Bad("it holds a NUL byte")
    if len(data) > MAX_ROW:
        return _Bad(_TOO_LONG)
    try:
        return _without_returns(data.decode(codec) + "\n")[:-1]
    except UnicodeDecodeError as error:
        return _Bad(f"it is not {codec} text (byte {error.start + 1} of the line)")
