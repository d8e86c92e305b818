"""What a file format of entries is to the shared connector: a writer, an independent reader, what it can express."""

from __future__ import annotations

import abc
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Literal

from comptoir.errors import ConfigError
from comptoir.sdk.journal.entry import BookEntry, Placed, Tables, Terms, placed
from comptoir.sdk.journal.linter import Faults, ReadLine, Sums, audit, sums_of
from comptoir.sdk.journal.profile import WriterProfile
from comptoir.sdk.protocols import Company

__all__ = ["BookFile", "BookFormat", "Setup", "lint", "pad", "written"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a format may need to know beside its profile: the company, the first lines of the customer's own export,
    the first running number of a file."""

    company: Company
    header: tuple[str, ...] = ()
    first_number: int = 1


@dataclass(frozen=True, slots=True)
class BookFile:
    """A file to be written: its name and the entries in it, in the order of the file."""

    name: str
    entries: Sequence[BookEntry]


class BookFormat(abc.ABC):
    """One file format. `one_column`: the third party's own account stands in the account column.

    `most`: what a limit of the profile may be at most, by its name; `most_cents`: the largest amount of a line.
    `sections`: whether a line's analytic split can be written: not at all, as one code on the line, or in lines of
    its own. `width`: of a fixed-width line in characters (0: the lines have separators); such a format needs a charset
    of one byte a character.
    """

    one_column: bool = False
    third_is_account: ClassVar[bool] = False
    sections: Literal["none", "one", "lines"] = "none"
    width: ClassVar[int] = 0
    most: ClassVar[Mapping[str, int]] = {}
    most_cents: int = 10**14 - 1

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        self.profile = profile
        self.setup = setup
        if profile.charset == "utf-8" and not self.allows_utf8():
            raise ConfigError(f"{profile.source}: {profile.format} needs a charset of one byte a character")
        for name, most in self.most.items():
            limit = getattr(profile.limits, name)
            if limit > most:
                raise ConfigError(
                    f"{profile.source}: limits.{name}: {profile.format} has {most} columns for it, not {limit}",
                    code="profile",
                )

    def terms(self, tables: Tables, currency: str) -> Terms:
        """How a folder of this format says an entry; `tables` are the connection's."""
        return Terms(
            self.profile,
            tables,
            currency=currency,
            one_column=self.one_column,
            third_is_account=self.third_is_account,
            most_cents=self.most_cents,
        )

    def allows_utf8(self) -> bool:
        """Whether the format may be written in UTF-8."""
        return False

    def files(self, entries: Sequence[BookEntry]) -> list[BookFile]:
        """How the entries of a batch are spread over files, the main one last; one file unless a format says more."""
        return [BookFile(self.profile.file, entries)]

    def companions(self, entries: Sequence[BookEntry]) -> list[tuple[str, bytes]]:
        """Files that go with a file of entries and are published before it (a list of accounts)."""
        return []

    @abc.abstractmethod
    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """The bytes of a file, piece by piece as the entries come; memory does not grow with them."""

    @abc.abstractmethod
    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The lines of a written file, by the format's description and not by the writer's code."""

    def place(self, entries: Iterable[BookEntry]) -> Iterator[Placed]:
        """The entries of one file under their numbers; what the format cannot say of them is remarked."""
        for item in placed(entries, self.profile.limits.piece):
            self._remark(item.entry)
            yield item

    def _remark(self, entry: BookEntry) -> None:
        for line in entry.lines:
            if not line.sections:
                continue
            plans = {plan for plan, _, _ in line.sections}
            if self.sections == "none":
                entry.remarks.add("analytic", "not written: this format has no place for it")
            elif self.sections == "one" and len(line.sections) > 1:
                entry.remarks.add("analytic", "not written: this format has one section a line")
            elif len(plans) > 1 and not self.several_plans():
                entry.remarks.add("analytic", f"only the plan {line.sections[0][0]} is written")

    def several_plans(self) -> bool:
        """Whether sections of more than one analytic plan can be told apart."""
        return False


def lint(book_format: BookFormat, file: BinaryIO, entries: Iterable[BookEntry]) -> tuple[Faults, Sums]:
    """Reads a written file again: what is wrong with it, and its sums per account and month.

    `entries` are those that it must hold.
    """
    faults = Faults()
    expected = sums_of(entries, one_column=book_format.one_column)
    return faults, audit(book_format.read(file, faults), faults, expected)


def written(book_format: BookFormat, entries: Sequence[BookEntry]) -> tuple[bytes, list[str], Faults]:
    """A file in memory, the piece number of each entry in it, and what the linter says of it."""
    items = list(book_format.place(entries))
    data = b"".join(book_format.write(items))
    faults, _ = lint(book_format, io.BytesIO(data), entries)
    return data, [item.piece for item in items], faults


def pad(text: str, width: int) -> str:
    """Text on the left of a column; ValueError when it is too long (nothing is cut here)."""
    if len(text) > width:
        raise ValueError(f"{text!r} is longer than {width}")
    return text.ljust(width)
