"""Sage's own text format for Sage 100 Comptabilité: `#MECG` records, one field a line (accounting-files §2).

The first lines (`#FLG`, `#VER`, `#DEV`) are those of an export of the customer's own folder: they say which version
reads the file, and a number of ours would be a guess. One line too many or too few would shift every following field,
so a record is written from one tuple of 38 fields and counted again by the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from comptoir.sdk import Company, ConfigError
from comptoir.sdk.journal.entry import BookEntry, BookLine, Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat, Setup
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines, whole_cents
from comptoir.sdk.journal.profile import WriterProfile
from comptoir.sdk.journal.text import short_hash

__all__ = ["MecgFormat", "MecgOptions", "header_of"]

_FIELDS = 38


class MecgOptions(BaseModel):
    """`invoice_field` and `reference_field`: what stands in fields 5 and 33. `plans`: the hub's analytic plan -> the
    number of it in the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    invoice_field: Literal["piece", "invoice", "none"] = "piece"
    reference_field: Literal["key", "reference", "none"] = "key"
    plans: dict[str, str] = Field(default_factory=dict)


def header_of(data: bytes, company: Company, shown: str) -> tuple[str, ...]:
    """The header lines of an export of Sage 100 Comptabilité; ConfigError when `data` is none or of other books."""
    try:
        lines = data[:4096].decode("cp850").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:  # pragma: no cover - every byte is a character of CP850
        lines = []
    hint = "Export any entries from Sage 100 Comptabilité in Sage's format, and put that file there."
    if len(lines) < 3 or not re.fullmatch(r"#FLG \d{3}", lines[0]) or not re.fullmatch(r"#VER \d{1,3}", lines[1]):
        raise ConfigError(f"{shown} does not begin with #FLG and #VER: it is no export of Sage 100", hint=hint)
    if not lines[2].startswith("#DEV "):
        raise ConfigError(
            f"{shown} has no #DEV line: it is an export of another module than Sage 100 Comptabilité", hint=hint
        )
    if not re.fullmatch(r"#DEV [A-Z]{3}", lines[2]) or lines[2][5:] != company.currency:
        raise ConfigError(
            f"{shown}: the folder's currency is {lines[2][5:8]!r}, the company's {company.currency}", hint=hint
        )
    return tuple(lines[:3])


class MecgFormat(BookFormat):
    """`#MECG` for each line and `#MECA` for its sections, in CP850."""

    most: ClassVar[Mapping[str, int]] = {
        "journal": 6, "account": 13, "third_party": 17, "piece": 13, "label": 69, "reference": 17, "section": 13,
    }  # fmt: skip
    sections: Literal["none", "one", "lines"] = "lines"

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        super().__init__(profile, setup)
        self._options = profile.parsed(MecgOptions)
        if not setup.header:
            raise ConfigError(
                "the header of Sage's format is not known: `header_from` is missing",
                hint="Export any entries from the customer's folder in Sage's format and name that file, for instance "
                'header_from = "sage/export.txt": its #VER line says which version reads our files.',
            )

    def several_plans(self) -> bool:
        """`#MECA` names the plan."""
        return True

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """Header, records, `#FIN`."""
        charset = self.profile.charset
        yield "".join(f"{line}\r\n" for line in self.setup.header).encode(charset)
        for item in entries:
            yield "".join(self._records(item.entry, item.piece)).encode(charset)
        yield b"#FIN\r\n"

    def _records(self, entry: BookEntry, piece: str) -> Iterator[str]:
        day = f"{entry.posted_on:%d%m%y}"
        invoice = {"piece": piece, "invoice": entry.invoice[-17:], "none": ""}[self._options.invoice_field]
        reference = self._reference(entry)
        for line in entry.lines:
            fields = self._fields(entry, line, day, piece, invoice, reference)
            yield "#MECG\r\n" + "\r\n".join(fields) + "\r\n\r\n"
            for plan, section, cents in line.sections:
                share = with_sign(cents, ",")
                yield f"#MECA\r\n{self._options.plans.get(plan, plan)}\r\n{section}\r\n{share}\r\n0,00\r\n"

    def _reference(self, entry: BookEntry) -> str:
        """The hub's own id, or what it stands for when it is too long: searchable in Sage, and it comes back."""
        wanted = self._options.reference_field
        if wanted == "none":
            return ""
        text = entry.key if wanted == "key" else entry.reference
        limit = self.profile.limits.reference
        if len(text) <= limit and text.isascii() and text.isprintable():
            return text
        alias = short_hash(text, min(limit, 16))
        entry.remarks.add("reference", f"{alias} stands for {text}")
        return alias

    def _fields(
        self, entry: BookEntry, line: BookLine, day: str, piece: str, invoice: str, reference: str
    ) -> tuple[str, ...]:
        due = f"{line.due_on:%d%m%y}" if line.due_on else ""
        return (
            entry.journal, day, day, piece, invoice, "", line.account, "", line.third, "",
            line.label, line.payment or "0", due, "0,000000", "0,00", "0", "0" if line.side == "D" else "1",
            with_sign(line.cents, ","), "", "", "", "0", "0", "0", "", "", "0", "0", "0", "", "", "",
            reference, "0", "0,00", "", "", "0",
        )  # fmt: skip

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """Records between tags; the number of their lines, the sections' sums and the end mark are checked."""
        tag, at, fields = "", 0, list[str]()
        ended, wanted = False, 0
        plans: dict[str, int] = {}
        for number, text in text_lines(file, self.profile.charset, faults):
            if number <= 3:
                if not text.startswith(("#FLG ", "#VER ", "#DEV ")[number - 1]):
                    faults.add(number, f"{text!r} is no line of the header")
                continue
            if not text.startswith("#"):
                fields.append(text)
                continue
            if tag == "#MECG":
                _close(faults, at, wanted, plans)
                line = self._line(at, fields, faults)
                wanted, plans = (line.cents if line else 0), {}
                if line:
                    yield line
            elif tag == "#MECA":
                if len(fields) != 4:
                    faults.add(at, f"#MECA has {len(fields)} fields instead of 4")
                else:
                    plans[fields[0]] = plans.get(fields[0], 0) + (whole_cents(fields[2], ",", at, faults) or 0)
            elif fields:
                faults.add(at, f"{len(fields)} lines without a tag")
            if ended or text not in ("#MECG", "#MECA", "#FIN"):
                faults.add(number, f"{text} is not expected here")
            ended = text == "#FIN"
            tag, at, fields = text, number, []
        _close(faults, at, wanted, plans)
        if not ended or fields:
            faults.add(at, "#FIN is not the last line")

    def _line(self, at: int, fields: list[str], faults: Faults) -> ReadLine | None:
        if len(fields) != _FIELDS + 1 or fields[-1]:
            faults.add(at, f"#MECG has {len(fields)} lines instead of {_FIELDS} and an empty one")
            return None
        limits = self.profile.limits
        day = digits_date(fields[1], "JJMMAA", at, faults)
        if fields[12]:
            digits_date(fields[12], "JJMMAA", at, faults)
        cents = whole_cents(fields[17], ",", at, faults)
        for name, value, longest in (
            ("journal", fields[0], limits.journal),
            ("piece", fields[3], limits.piece),
            ("account", fields[6], limits.account),
            ("label", fields[10], limits.label),
        ):
            faults.limit(at, name, value, longest)
        if len(fields[8]) > limits.third_party or len(fields[4]) > 17 or len(fields[32]) > limits.reference:
            faults.add(at, "third party, invoice or reference is too long")
        if fields[7] or fields[9]:
            faults.add(at, "a counterpart is filled in: Sage then finds the journal unbalanced")
        if fields[16] not in ("0", "1"):
            faults.add(at, f"the side {fields[16]!r} is neither 0 nor 1")
        if day is None or cents is None:
            return None
        side: Literal["D", "C"] = "D" if fields[16] == "0" else "C"
        group = (fields[0], fields[1], fields[3])
        return ReadLine(at, group, fields[0], day, fields[6], fields[8], fields[3], fields[10], side, cents)


def _close(faults: Faults, line: int, whole: int, plans: dict[str, int]) -> None:
    for plan, cents in plans.items():
        if cents != whole:
            faults.add(line, f"the sections of plan {plan} sum to {cents} cents, the line is {whole}")
