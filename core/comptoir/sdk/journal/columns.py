"""User-defined text layouts: columns between separators or of fixed width, as a folder's own import format wants them.

Sage 100 calls this *format paramétrable*, other programs *import paramétrable*: the user describes the columns in the
program and the same columns in a profile (accounting-files §3). No program checks that the two agree, so a profile of
this kind needs the trial import more than any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Annotated, BinaryIO, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from comptoir.errors import ConfigError
from comptoir.sdk.journal.entry import BookEntry, BookLine, Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat, Setup
from comptoir.sdk.journal.linter import (
    Faults,
    ReadLine,
    digits_date,
    slashed_date,
    text_lines,
    whole_cents,
)
from comptoir.sdk.journal.profile import WriterProfile

__all__ = ["Column", "ColumnsFormat", "ColumnsOptions"]

_DATES = {
    "JJMMAA": "%d%m%y",
    "JJMMAAAA": "%d%m%Y",
    "AAAAMMJJ": "%Y%m%d",
    "JJ/MM/AA": "%d/%m/%y",
    "JJ/MM/AAAA": "%d/%m/%Y",
}
FieldName = Literal[
    "journal", "journal_label", "date", "document_date", "piece", "number", "reference", "invoice", "account", "third",
    "account_or_third", "account_label", "third_label", "label", "type", "payment", "due", "debit", "credit", "amount",
    "side", "currency", "constant",
]  # fmt: skip
_NEEDED: tuple[FieldName, ...] = ("journal", "date", "piece", "label")


class Column(BaseModel):
    """One column. `width`: its characters in a fixed layout, its longest value between separators (0: no bound).

    `constant` is what a column of that name always holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    field: FieldName
    width: int = Field(default=0, ge=0, le=250)
    right: bool = False
    constant: str = ""


class ColumnsOptions(BaseModel):
    """The layout. `separator` '' means fixed width; `nothing` stands on the side that has no amount; `header` holds
    the names of a first line, none when it is empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    separator: Literal["", ";", ",", "\t", "|"] = "\t"
    date: Literal["JJMMAA", "JJMMAAAA", "AAAAMMJJ", "JJ/MM/AA", "JJ/MM/AAAA"] = "JJMMAA"
    decimal: Literal[",", "."] = ","
    nothing: Literal["", "0,00", "0.00"] = ""
    header: tuple[Annotated[str, StringConstraints(pattern=r"^[^\t\r\n;|]*$")], ...] = ()
    columns: tuple[Column, ...]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        names = [column.field for column in self.columns]
        missing = [name for name in _NEEDED if name not in names]
        if "account" not in names and "account_or_third" not in names:
            missing.append("account")
        if not ({"debit", "credit"} <= set(names) or {"amount", "side"} <= set(names)):
            raise ValueError("the columns need debit and credit, or amount and side")
        if missing:
            raise ValueError(f"the columns have no {missing[0]}")
        twice = [name for name in names if name != "constant" and names.count(name) > 1]
        if twice:
            raise ValueError(f"the column {twice[0]} stands there twice")
        if not self.separator and any(column.width == 0 for column in self.columns):
            raise ValueError("without a separator each column needs its width")
        if self.separator == self.decimal:
            raise ValueError("separator and decimal sign are the same character")
        if self.header and len(self.header) != len(self.columns):
            raise ValueError(f"the header has {len(self.header)} names for {len(self.columns)} columns")
        return self


class ColumnsFormat(BookFormat):
    """One line a line, in the profile's columns."""

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        super().__init__(profile, setup)
        self._layout = profile.parsed(ColumnsOptions)
        names = [column.field for column in self._layout.columns]
        # What the class says of a format, a profile of this one says itself.
        self.one_column = "account_or_third" in names
        if not self.one_column and "third" not in names:
            raise ConfigError(f"{profile.source}: options.columns: third parties need a column third, or "
                              "account_or_third in the place of account", code="profile")  # fmt: skip
        for column in self._layout.columns:
            self._check_width(column)
        self._form = _DATES[self._layout.date]
        self._cells = [self._cell(column) for column in self._layout.columns]

    def _check_width(self, column: Column) -> None:
        """A column must hold what the profile's limits let into it: nothing is cut while it is written."""
        limits, field, width = self.profile.limits, column.field, column.width
        if not width or field in ("reference", "invoice"):  # these are shortened, with a remark
            return
        if field in ("debit", "credit", "amount"):
            self.most_cents = min(self.most_cents, 10 ** max(width - 1, 0) - 1)
            return
        needed = {
            "journal": limits.journal,
            "journal_label": limits.account_label,
            "piece": limits.piece,
            "account": limits.account,
            "third": limits.third_party,
            "account_or_third": max(limits.account, limits.third_party),
            "account_label": limits.account_label,
            "third_label": limits.account_label,
            "label": limits.label,
            "payment": max(map(len, self.profile.payments.values()), default=0),
            "number": 7,
            "type": 2,
            "side": 1,
            "currency": 3,
            "constant": len(column.constant),
        }.get(field, len(self._layout.date))
        if width < needed:
            raise ConfigError(
                f"{self.profile.source}: options.columns: {field} has {width} characters, "
                f"and the profile lets {needed} in",
                code="profile",
            )

    def _cell(self, column: Column) -> Callable[[Placed, BookLine], str]:
        value = self._value(column)
        width, fixed = column.width, not self._layout.separator

        def cell(item: Placed, line: BookLine) -> str:
            text = value(item, line)
            return text if not fixed else text.rjust(width) if column.right else text.ljust(width)

        return cell

    def _value(self, column: Column) -> Callable[[Placed, BookLine], str]:
        form, sign, nothing = self._form, self._layout.decimal, self._layout.nothing
        width, first = column.width, self.setup.first_number

        def day(value: date | None) -> str:
            return value.strftime(form) if value else ""

        def text_of(entry: BookEntry, text: str, name: str) -> str:
            if width and len(text) > width:
                entry.remarks.add(name, f"shortened on the left to {width} characters")
                return text[-width:]
            return text

        values: dict[FieldName, Callable[[Placed, BookLine], str]] = {
            "journal": lambda item, line: item.entry.journal,
            "journal_label": lambda item, line: item.entry.journal_label,
            "date": lambda item, line: day(item.entry.posted_on),
            "document_date": lambda item, line: day(item.entry.document_on),
            "piece": lambda item, line: item.piece,
            "number": lambda item, line: str(first + item.number - 1),
            "reference": lambda item, line: text_of(item.entry, item.entry.reference or item.piece, "reference"),
            "invoice": lambda item, line: text_of(item.entry, item.entry.invoice or item.piece, "invoice"),
            "account": lambda item, line: line.account,
            "third": lambda item, line: line.third,
            "account_or_third": lambda item, line: line.third or line.account,
            "account_label": lambda item, line: line.account_label,
            "third_label": lambda item, line: line.third_label,
            "label": lambda item, line: line.label,
            "type": lambda item, line: item.entry.piece_type,
            "payment": lambda item, line: line.payment,
            "due": lambda item, line: day(line.due_on),
            "debit": lambda item, line: with_sign(line.cents, sign) if line.side == "D" else nothing,
            "credit": lambda item, line: with_sign(line.cents, sign) if line.side == "C" else nothing,
            "amount": lambda item, line: with_sign(line.cents, sign),
            "side": lambda item, line: line.side,
            "currency": lambda item, line: item.entry.currency,
            "constant": lambda item, line: column.constant,
        }
        return values[column.field]

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """The header when there is one, then one line a line."""
        charset, separator, cells = self.profile.charset, self._layout.separator, self._cells
        if self._layout.header:
            yield (separator.join(self._layout.header) + "\r\n").encode(charset)
        for item in entries:
            rows = [separator.join([cell(item, line) for cell in cells]) + "\r\n" for line in item.entry.lines]
            yield "".join(rows).encode(charset)

    # -- reading again -----------------------------------------------------------------------------------------

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The lines by the profile's columns: widths, dates, one of debit and credit."""
        layout = self._layout
        for number, text in text_lines(file, self.profile.charset, faults):
            if number == 1 and layout.header:
                if text != layout.separator.join(layout.header):
                    faults.add(1, "not the names of the columns")
                continue
            found = self._split(text, number, faults)
            if found is None:
                continue
            day = self._date(found["date"], number, faults)
            if found.get("due"):
                self._date(found["due"], number, faults)
            side, cents = self._money(found, number, faults)
            account = found.get("account_or_third", found.get("account", ""))
            for name, value, limit in (
                ("journal", found["journal"], self.profile.limits.journal),
                ("account", account, self.profile.limits.account),
                ("piece", found["piece"], self.profile.limits.piece),
                ("label", found["label"], self.profile.limits.label),
            ):
                faults.limit(number, name, value, limit)
            if day is None or cents is None:
                continue
            group = (found["journal"], day, found["piece"], found.get("number"))
            yield ReadLine(
                number, group, found["journal"], day, account, found.get("third", ""), found["piece"], found["label"],
                side, cents,
            )  # fmt: skip

    def _split(self, text: str, number: int, faults: Faults) -> dict[str, str] | None:
        columns = self._layout.columns
        if self._layout.separator:
            cells = text.split(self._layout.separator)
        else:
            ends = [sum(column.width for column in columns[: at + 1]) for at in range(len(columns))]
            cells = [text[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]
            if len(text) != ends[-1]:
                faults.add(number, f"{len(text)} characters instead of {ends[-1]}")
                return None
        if len(cells) != len(columns):
            faults.add(number, f"{len(cells)} columns instead of {len(columns)}")
            return None
        found: dict[str, str] = {}
        for column, cell in zip(columns, cells, strict=True):
            if column.field == "constant" and cell != column.constant.strip():
                faults.add(number, f"{cell!r} stands where {column.constant!r} belongs")
            if column.width and len(cell) > column.width:
                faults.add(number, f"{column.field} is longer than {column.width}")
            found[column.field] = cell
        return found

    def _date(self, text: str, number: int, faults: Faults) -> date | None:
        form = self._layout.date
        return (slashed_date if "/" in form else digits_date)(text, form, number, faults)

    def _money(self, found: dict[str, str], number: int, faults: Faults) -> tuple[Literal["D", "C"], int | None]:
        sign, nothing = self._layout.decimal, self._layout.nothing
        if "debit" not in found:
            if found["side"] not in ("D", "C"):
                faults.add(number, f"the side {found['side']!r} is neither D nor C")
            return "D" if found["side"] == "D" else "C", whole_cents(found["amount"], sign, number, faults)
        sides: list[tuple[Literal["D", "C"], str]] = [("D", found["debit"]), ("C", found["credit"])]
        given = [(side, text) for side, text in sides if text != nothing]
        if not given and nothing:
            return "D", 0
        if len(given) != 1:
            faults.add(number, "exactly one of debit and credit must hold an amount")
            return "D", None
        return given[0][0], whole_cents(given[0][1], sign, number, faults)
