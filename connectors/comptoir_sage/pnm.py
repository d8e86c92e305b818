"""PNM, the fixed columns that Sage Coala, Ligne 30 and 100 and many accountants' programs read (accounting-files §1).

A first line with the company's name, then 112 characters a line. A third party stands in its own columns beside the
collective account; an analytic split follows its line as lines of type A, which repeat it with a share of the amount.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar, Literal

from comptoir.sdk.journal.entry import BookEntry, BookLine, Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat, pad
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines, whole_cents
from comptoir.sdk.journal.text import Remarks, label_of_entry

__all__ = ["PnmFormat"]

_COMPANY = 30
_PIECE = 7


class PnmFormat(BookFormat):
    """112 columns. The piece number of the file is a running one; the document's number stands under `référence`."""

    sections: Literal["none", "one", "lines"] = "lines"
    width: ClassVar[int] = 112
    most: ClassVar[Mapping[str, int]] = {
        "journal": 3, "account": 13, "third_party": 13, "piece": 13, "label": 25, "section": 13,
    }  # fmt: skip

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """The company's line, then each entry's lines."""
        charset = self.profile.charset
        company = label_of_entry(self.setup.company.name, "company", Remarks(), _COMPANY)
        yield f"{company:<{_COMPANY}}\r\n".encode(charset)
        for item in entries:
            number = str(self.setup.first_number + item.number - 1)
            if len(number) > _PIECE:
                raise ValueError(f"the running number {number} has more than {_PIECE} digits")
            yield "".join(self._lines(item.entry, item.piece, number)).encode(charset)

    def _lines(self, entry: BookEntry, piece: str, number: str) -> Iterator[str]:
        head = f"{entry.journal:<3}{entry.posted_on:%d%m%y}{entry.piece_type}"
        for line in entry.lines:
            kind, code = ("X", line.third) if line.third else (" ", "")
            yield self._line(head, line, kind, code, line.cents, piece, number)
            plan = line.sections[0][0] if line.sections else ""
            for of, section, cents in line.sections:
                if of == plan:
                    yield self._line(head, line, "A", section, cents, piece, number)

    def _line(self, head: str, line: BookLine, kind: str, code: str, cents: int, piece: str, number: str) -> str:
        due = f"{line.due_on:%d%m%y}" if line.due_on else " " * 6
        return (
            f"{head}{pad(line.account, 13)}{kind}{pad(code, 13)}{pad(piece, 13)}{pad(line.label, 25)}"
            f"{line.payment[:1]:<1}{due}{line.side}{with_sign(cents, ','):>20}N{number:>7}\r\n"
        )

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The lines by their columns; shares of sections are added up and compared with their line."""
        limits = self.profile.limits
        whole, shares, owner = 0, 0, 0
        for number, text in text_lines(file, self.profile.charset, faults):
            if number == 1:
                if len(text) != _COMPANY:
                    faults.add(1, f"the company's line has {len(text)} characters instead of {_COMPANY}")
                continue
            if len(text) != self.width:
                faults.add(number, f"{len(text)} characters instead of {self.width}")
                continue
            kind, side = text[24], text[83]
            day = digits_date(text[3:9], "JJMMAA", number, faults)
            if text[77:83].strip():
                digits_date(text[77:83], "JJMMAA", number, faults)
            cents = whole_cents(text[84:104].strip(), ",", number, faults)
            if text[9:11] not in ("FC", "AC", "RC", "FF", "AF", "RF", "OD") or kind not in " XA" or side not in "DC":
                faults.add(number, f"type {text[9:11]!r}, account type {kind!r} or side {side!r} is unknown")
                continue
            if day is None or cents is None:
                continue
            if kind == "A":
                shares += cents
                continue
            _close(faults, owner, whole, shares)
            whole, shares, owner = cents, 0, number
            if bool(text[25:38].strip()) != (kind == "X") or text[104] != "N" or not text[105:112].strip().isdigit():
                faults.add(number, "third party, status or piece number does not fit the line's type")
            account, third, piece = text[11:24].rstrip(), text[25:38].rstrip(), text[38:51].rstrip()
            faults.limit(number, "account", account, limits.account)
            faults.limit(number, "reference", piece, limits.piece)
            group = (text[0:3], text[3:9], text[9:11], text[105:112])
            yield ReadLine(
                number, group, text[0:3].rstrip(), day, account, third, piece, text[51:76].rstrip(),
                "D" if side == "D" else "C", cents,
            )  # fmt: skip
        _close(faults, owner, whole, shares)


def _close(faults: Faults, line: int, whole: int, shares: int) -> None:
    if shares and shares != whole:
        faults.add(line, f"its sections sum to {shares} cents, the line is {whole}")
