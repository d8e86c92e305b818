"""XIMPORT.TXT of Ciel Compta and Sage 50: 138 fixed columns (accounting-files §4).

One account column, where a customer has an account of his own. Imported entries arrive as drafts; after a successful
import the product renames the file to .BAK, which is the acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from comptoir.sdk.journal.entry import Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat, Setup, pad
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines, whole_cents
from comptoir.sdk.journal.profile import WriterProfile

__all__ = ["XimportFormat", "XimportOptions"]


class XimportOptions(BaseModel):
    """`version`: four more characters at the end of each line, as some exporters write them ("2003")."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["", "2003"] = ""


class XimportFormat(BookFormat):
    """138 columns, or 142 with the version; the number of the movement begins with 1 in each file."""

    one_column: bool = True
    third_is_account: ClassVar[bool] = True
    sections: Literal["none", "one", "lines"] = "one"
    width: ClassVar[int] = 138
    most: ClassVar[Mapping[str, int]] = {
        "journal": 2, "account": 11, "third_party": 11, "piece": 12, "label": 25, "account_label": 34, "section": 6,
    }  # fmt: skip
    most_cents: int = 10**12 - 1

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        super().__init__(profile, setup)
        self._version = profile.parsed(XimportOptions).version

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """One line a line."""
        charset, version = self.profile.charset, self._version
        for item in entries:
            entry = item.entry
            if item.number > 99_999:
                raise ValueError("XIMPORT numbers at most 99999 movements a file")
            head = f"{item.number:>5}{pad(entry.journal, 2)}{entry.posted_on:%Y%m%d}"
            rows = []
            for line in entry.lines:
                due = f"{line.due_on:%Y%m%d}" if line.due_on else " " * 8
                section = line.sections[0][1] if len(line.sections) == 1 else ""
                rows.append(
                    f"{head}{due}{pad(item.piece, 12)}{pad(line.third or line.account, 11)}{pad(line.label, 25)}"
                    f"{with_sign(line.cents):>13}{line.side}{'':12}{pad(section, 6)}"
                    f"{pad(line.third_label if line.third else line.account_label, 34)}O{version}\r\n"
                )
            yield "".join(rows).encode(charset)

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The lines by their columns; movements count 1, 2, 3."""
        width = self.width + len(self._version)
        last = 0
        for number, text in text_lines(file, self.profile.charset, faults):
            if len(text) != width:
                faults.add(number, f"{len(text)} characters instead of {width}")
                continue
            movement = text[0:5].strip()
            if not movement.isdigit() or not last <= int(movement) <= last + 1:
                faults.add(number, f"movement {movement!r} follows {last}")
            else:
                last = int(movement)
            day = digits_date(text[7:15], "AAAAMMJJ", number, faults)
            if text[15:23].strip():
                digits_date(text[15:23], "AAAAMMJJ", number, faults)
            cents = whole_cents(text[71:84].strip(), ".", number, faults)
            side = text[84]
            if side not in "DC" or text[137] != "O" or text[138:] != self._version:
                faults.add(number, f"side {side!r} or the end of the line is wrong")
            account, piece = text[35:46].rstrip(), text[23:35].rstrip()
            faults.limit(number, "account", account, self.profile.limits.account)
            faults.limit(number, "piece", piece, self.profile.limits.piece)
            if not account[:3].isdigit():
                faults.add(number, f"{account} is no account of the chart")
            if day is None or cents is None or side not in "DC":
                continue
            group = (movement, text[5:7], day)
            yield ReadLine(
                number, group, text[5:7].rstrip(), day, account, "", piece, text[46:71].rstrip(),
                "D" if side == "D" else "C", cents,
            )  # fmt: skip
