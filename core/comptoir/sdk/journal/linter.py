"""The linter of entry files: reads the written bytes again and adds up, before anything is handed over.

Each format brings a reader that shares no code with its writer (failure mode 70) and gives `ReadLine`s; what is wrong
with a line it tells `Faults`. `audit` then checks what no format can differ in: every entry balances, none is torn
apart, no piece stands for two entries, and the sums per account and month are those of the journal.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO, Literal

from comptoir.sdk.journal.entry import BookEntry

__all__ = ["Faults", "ReadLine", "Sums", "audit", "digits_date", "slashed_date", "sums_of", "text_lines", "whole_cents"]

#: (account, third party, year and month) -> cents of debit, cents of credit. Where a format has one account column,
#: the account is the one that is written there and the third party ''.
Sums = dict[tuple[str, str, str], tuple[int, int]]
_MOST = 50
_BLOCK = 1 << 20
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_AMOUNTS = {sign: re.compile(rf"[0-9]{{1,12}}{re.escape(sign)}[0-9]{{2}}") for sign in ",."}


class Faults:
    """What is wrong with a file, in words with the line's number; no more than fifty are kept."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.count = 0

    def add(self, line: int, words: str) -> None:
        """Notes a fault of a line; line 0 is the whole file."""
        self.count += 1
        if len(self.found) < _MOST:
            self.found.append(f"line {line}: {words}" if line else words)

    def limit(self, line: int, name: str, value: str, longest: int) -> None:
        """Notes an empty or too long value of a field that must have one."""
        if not value or len(value) > longest:
            self.add(line, f"the {name} {value!r} is empty or longer than {longest}")


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line of an entry as it stands in the file. Lines of one entry have the same `group` and follow each other."""

    number: int
    group: Hashable
    journal: str
    day: date
    account: str
    third: str
    piece: str
    label: str
    side: Literal["D", "C"]
    cents: int


def text_lines(file: BinaryIO, charset: str, faults: Faults) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines; each must end with CR LF and be text of the charset, without NUL or BOM."""
    first, rest = 1, b""
    while data := file.read(_BLOCK):
        if first == 1 and not rest and data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            faults.add(1, "starts with a byte order mark")
        data = rest + data
        cut = data.rfind(b"\n") + 1
        whole, rest = data[:cut], data[cut:]
        count = whole.count(b"\n")
        sound = _sound_lines(whole, charset, first, count)
        yield from _each_line(whole.split(b"\n")[:-1], charset, first, faults) if sound is None else sound
        first += count
    if rest:
        faults.add(first, "does not end with CR LF")
        yield from _each_line([rest + b"\r"], charset, first, faults)


def _sound_lines(whole: bytes, charset: str, first: int, count: int) -> Iterable[tuple[int, str]] | None:
    """The lines of a block when nothing is wrong with any of them: nearly always, and much faster than one by one."""
    if whole.count(b"\r\n") != count or whole.count(b"\r") != count:
        return None
    try:
        text = whole.decode(charset)
    except UnicodeDecodeError:
        return None
    if _CONTROL_IN_LINES.search(text):
        return None
    lines = text.split("\r\n")
    lines.pop()
    return enumerate(lines, first)


def _each_line(lines: list[bytes], charset: str, first: int, faults: Faults) -> Iterator[tuple[int, str]]:
    """The lines of a block, each with its own faults; `lines` were ended by LF."""
    for number, raw in enumerate(lines, first):
        if not raw.endswith(b"\r"):
            faults.add(number, "does not end with CR LF")
        try:
            line = raw.decode(charset).rstrip("\r")
        except UnicodeDecodeError as error:
            faults.add(number, f"not {charset} at byte {error.start + 1}")
            continue
        if _CONTROL.search(line):
            faults.add(number, "holds a control character")
        yield number, line


def digits_date(text: str, form: str, number: int, faults: Faults) -> date | None:
    """A date of digits in the order of `form` (`JJMMAA`, `JJMMAAAA`, `AAAAMMJJ`); None and a fault when it is none."""
    found = _date(text, form)
    if found is None:
        faults.add(number, f"{text!r} is no date {form}")
    return found


@functools.lru_cache(4096)
def _date(text: str, form: str) -> date | None:
    if len(text) != len(form) or not re.fullmatch(r"[0-9]+", text):
        return None
    parts = {mark: "".join(digit for digit, of in zip(text, form, strict=True) if of == mark) for mark in "JMA"}
    year = int(parts["A"]) + (2000 if len(parts["A"]) == 2 else 0)
    try:
        return date(year, int(parts["M"]), int(parts["J"]))
    except ValueError:
        return None


def slashed_date(text: str, form: str, number: int, faults: Faults) -> date | None:
    """The same for dates with slashes: `JJ/MM/AAAA` or `JJ/MM/AA`."""
    if re.fullmatch(r"[0-9]{2}/[0-9]{2}/[0-9]{2,4}", text):
        return digits_date(text.replace("/", ""), form.replace("/", ""), number, faults)
    faults.add(number, f"{text!r} is no date {form}")
    return None


def whole_cents(text: str, sign: str, number: int, faults: Faults) -> int | None:
    """Cents of an amount with two decimals after `sign`, not negative, no thousands separator."""
    if _AMOUNTS[sign].fullmatch(text):
        return int(text.replace(sign, ""))
    faults.add(number, f"{text!r} is no amount with two decimals after {sign!r}")
    return None


def sums_of(entries: Iterable[BookEntry], *, one_column: bool, into: Sums | None = None) -> Sums:
    """The sums per account and month of entries, added to `into` when it is given."""
    sums: Sums = {} if into is None else into
    for entry in entries:
        month = f"{entry.posted_on:%Y-%m}"
        for line in entry.lines:
            account = line.third or line.account if one_column else line.account
            _add(sums, (account, "" if one_column else line.third, month), line.side, line.cents)
    return sums


def audit(lines: Iterable[ReadLine], faults: Faults, expected: Mapping[tuple[str, str, str], tuple[int, int]]) -> Sums:
    """Checks what was read against the journal's sums and returns its own; everything wrong is in `faults`."""
    sums: Sums = {}
    closed: set[int] = set()
    owners: dict[str, int] = {}
    group: Hashable = None
    balance, piece, started = 0, "", 0
    for line in lines:
        if line.group != group:
            _close(faults, piece, balance, started)
            if group is not None:
                closed.add(hash(group))
            group, balance, piece, started = line.group, 0, line.piece, line.number
            if hash(group) in closed:
                faults.add(line.number, f"the piece {line.piece} starts again after another one")
            elif owners.setdefault(line.piece, hash(group)) != hash(group):
                faults.add(line.number, f"the piece {line.piece} is used by two entries")
        if line.piece != piece:
            faults.add(line.number, f"the piece {line.piece} stands in the entry of {piece}")
        balance += line.cents if line.side == "D" else -line.cents
        _add(sums, (line.account, line.third, f"{line.day:%Y-%m}"), line.side, line.cents)
    _close(faults, piece, balance, started)
    for key in sorted({*sums, *expected}):
        was, read = expected.get(key, (0, 0)), sums.get(key, (0, 0))
        if was != read:
            account, third, month = key
            faults.add(
                0,
                f"account {account}{f' ({third})' if third else ''} in {month}: the file has {read[0]} cents debit and "
                f"{read[1]} credit, the journal {was[0]} and {was[1]}",
            )
    return sums


def _close(faults: Faults, piece: str, balance: int, started: int) -> None:
    if balance:
        faults.add(started, f"the piece {piece} does not balance: {balance} cents")


def _add(sums: Sums, key: tuple[str, str, str], side: str, cents: int) -> None:
    debit, credit = sums.get(key, (0, 0))
    sums[key] = (debit + cents, credit) if side == "D" else (debit, credit + cents)
