"""Cegid's TRA: movement records of 222 characters (accounting-files §9).

A TRA file begins with a `***` line that depends on the target product; nobody has described it, so it is taken from a
file that the accountant exported from the target folder (`header_from`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from comptoir.sdk import ConfigError
from comptoir.sdk.journal.entry import BookLine, Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat, Setup, pad
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines, whole_cents
from comptoir.sdk.journal.profile import WriterProfile

__all__ = ["TraFormat", "TraOptions", "header_of"]

_PIECE = 8


class TraOptions(BaseModel):
    """`header`: `export` takes the first line of the accountant's own export, `none` writes movements only. `axis`:
    what stands for the analytic plan on lines of type A (unconfirmed)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: Literal["export", "none"] = "export"
    axis: str = ""


def header_of(data: bytes, shown: str) -> tuple[str, ...]:
    """The first line of an export in TRA; ConfigError when `data` does not begin with one."""
    first = data[:4096].partition(b"\n")[0].rstrip(b"\r")
    try:
        text = first.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text.startswith("***") or not text.isprintable():
        raise ConfigError(
            f"{shown} does not begin with a *** line: it is no TRA export",
            hint="Ask the accountant for any TRA file exported from the target folder.",
        )
    return (text,)


class TraFormat(BookFormat):
    """222 columns; a third party stands in its own columns beside the collective account."""

    sections: Literal["none", "one", "lines"] = "lines"
    width: ClassVar[int] = 222
    most: ClassVar[Mapping[str, int]] = {
        "journal": 3, "account": 17, "third_party": 17, "piece": 35, "label": 35, "section": 17,
    }  # fmt: skip

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        super().__init__(profile, setup)
        self._options = profile.parsed(TraOptions)
        if self._options.header == "export" and not setup.header:
            raise ConfigError(
                "the first line of Cegid's TRA is not known: `header_from` is missing",
                hint="Ask the accountant for any TRA file exported from the target folder and name it, for instance "
                'header_from = "cegid/export.tra".',
            )

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """The header when there is one, then the movements."""
        charset = self.profile.charset
        if self._options.header == "export":
            yield f"{self.setup.header[0]}\r\n".encode(charset)
        for item in entries:
            entry = item.entry
            number = str(self.setup.first_number + item.number - 1)
            if len(number) > _PIECE:
                raise ValueError(f"the running number {number} has more than {_PIECE} digits")
            head = f"{pad(entry.journal, 3)}{entry.posted_on:%d%m%Y}{entry.piece_type}"
            tail = f"N{number:>8}{entry.currency:<3}1.00000000E--{'':43}"
            rows = []
            for line in entry.lines:
                kind = "X" if line.third else " "
                term = " 1" if line.third else "  "
                rows.append(self._line(head, line, kind, line.third, line.cents, item.piece, f"{tail}  {term}"))
                for plan, section, cents in line.sections:
                    if plan == line.sections[0][0]:
                        share = f"{tail}{self._options.axis:<2}  "
                        rows.append(self._line(head, line, "A", section, cents, item.piece, share))
            yield "".join(rows).encode(charset)

    def _line(self, head: str, line: BookLine, kind: str, code: str, cents: int, piece: str, tail: str) -> str:
        due = f"{line.due_on:%d%m%Y}" if line.due_on else " " * 8
        return (
            f"{head}{pad(line.account, 17)}{kind}{pad(code, 17)}{pad(piece, 35)}{pad(line.label, 35)}"
            f"{pad(line.payment, 3)}{due}{line.side}{with_sign(cents, ','):>20}{tail}\r\n"
        )

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The header, then movements by their columns; shares of sections sum to their line."""
        limits = self.profile.limits
        whole, shares, owner = 0, 0, 0
        for number, text in text_lines(file, self.profile.charset, faults):
            if number == 1 and self._options.header == "export":
                if not text.startswith("***"):
                    faults.add(1, "no *** line at the beginning")
                continue
            if len(text) != self.width:
                faults.add(number, f"{len(text)} characters instead of {self.width}")
                continue
            kind, side = text[30], text[129]
            day = digits_date(text[3:11], "JJMMAAAA", number, faults)
            if text[121:129].strip():
                digits_date(text[121:129], "JJMMAAAA", number, faults)
            cents = whole_cents(text[130:150].strip(), ",", number, faults)
            if text[11:13] not in ("FC", "AC", "RC", "FF", "AF", "RF", "OD") or kind not in " XA" or side not in "DC":
                faults.add(number, f"type {text[11:13]!r}, account type {kind!r} or side {side!r} is unknown")
                continue
            if text[159:162] != self.setup.company.currency or text[162:175] != "1.00000000E--" or text[150] != "N":
                faults.add(number, "status, currency or rate is wrong")
            if day is None or cents is None:
                continue
            if kind == "A":
                shares += cents
                continue
            _close(faults, owner, whole, shares)
            whole, shares, owner = cents, 0, number
            if bool(text[31:48].strip()) != (kind == "X") or not text[151:159].strip().isdigit():
                faults.add(number, "third party or piece number does not fit the line's type")
            account, piece = text[13:30].rstrip(), text[48:83].rstrip()
            faults.limit(number, "account", account, limits.account)
            faults.limit(number, "reference", piece, limits.piece)
            group = (text[0:3], text[3:11], text[11:13], text[151:159])
            yield ReadLine(
                number, group, text[0:3].rstrip(), day, account, text[31:48].rstrip(), piece, text[83:118].rstrip(),
                "D" if side == "D" else "C", cents,
            )  # fmt: skip
        _close(faults, owner, whole, shares)


def _close(faults: Faults, line: int, whole: int, shares: int) -> None:
    if shares and shares != whole:
        faults.add(line, f"its sections sum to {shares} cents, the line is {whole}")
