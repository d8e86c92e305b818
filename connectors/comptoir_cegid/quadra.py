"""QuadraCompta ASCII (Quadratus, Cegid Quadra): fixed columns, amounts in cents (accounting-files §8).

A movement is an `M` record of 231 characters with one account column of 8; a third party's own account stands there,
and a `C` record of 453 characters before the first movement that uses it says to which collective account it belongs.
Movements carry the label twice, in 20 and in 30 columns, and the piece in 5, 8 and 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from pydantic import BaseModel, ConfigDict

from comptoir.sdk.journal.entry import BookLine, Placed
from comptoir.sdk.journal.formats import BookFormat, Setup, pad
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines
from comptoir.sdk.journal.profile import WriterProfile

__all__ = ["QuadraFormat", "QuadraOptions"]

_ACCOUNT_RECORD = 453


class QuadraOptions(BaseModel):
    """`accounts_first`: all `C` records stand at the beginning, for which the entries are kept in memory; otherwise
    each before the first entry that needs it, as other programs' exports have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts_first: bool = True


class QuadraFormat(BookFormat):
    """`C` and `M` records; sections are not written (their layout is unconfirmed)."""

    one_column: bool = True
    width: ClassVar[int] = 231
    most: ClassVar[Mapping[str, int]] = {
        "journal": 2, "account": 8, "third_party": 8, "piece": 8, "label": 30, "account_label": 30,
    }  # fmt: skip
    most_cents: int = 10**12 - 1

    def __init__(self, profile: WriterProfile, setup: Setup) -> None:
        super().__init__(profile, setup)
        self._accounts_first = profile.parsed(QuadraOptions).accounts_first

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """Each entry's lines, before them the third parties that were not in the file yet."""
        charset = self.profile.charset
        described: set[str] = set()
        if self._accounts_first:
            entries = list(entries)
            yield "".join(r for item in entries for r in _new_accounts(item, described)).encode(charset)
        for item in entries:
            entry = item.entry
            rows = list(_new_accounts(item, described))
            journal, day, piece = pad(entry.journal, 2), f"{entry.posted_on:%d%m%y}", item.piece
            for line in entry.lines:
                due = f"{line.due_on:%d%m%y}" if line.due_on else "000000"
                # The first 20 characters of the label are an older column; the whole of it stands in the other one.
                record = (
                    f"M{pad(line.third or line.account, 8)}{journal}000{day} {line.label[:20]:<20}{line.side}+"
                    f"{line.cents:012d}{'':8}{due}{'':5}{piece[-5:]:<5}{'':20}{pad(piece, 8)}{entry.currency:<3}"
                    f"{journal:<3}{'':3}{pad(line.label, 30)}{'':2}{pad(piece, 10)}"
                )
                rows.append(f"{record:<{self.width}}\r\n")
            yield "".join(rows).encode(charset)

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """`C` and `M` records by their columns; a third party's account must be described before it is used."""
        described: set[str] = set()
        limits = self.profile.limits
        for number, text in text_lines(file, self.profile.charset, faults):
            if text[:1] == "C":
                if len(text) != _ACCOUNT_RECORD or text[217:218] not in ("C", "F", "G") or not text[98:101].isdigit():
                    faults.add(number, "the account record is not 453 characters with collective account and type")
                described.add(text[1:9].rstrip())
                continue
            if text[:1] != "M" or len(text) != self.width:
                faults.add(number, f"no movement of {self.width} characters")
                continue
            account, piece, label = text[1:9].rstrip(), text[148:158].rstrip(), text[116:146].rstrip()
            day = digits_date(text[14:20], "JJMMAA", number, faults)
            if text[63:69] != "000000":
                digits_date(text[63:69], "JJMMAA", number, faults)
            if text[99:107].rstrip() != piece or piece[-5:] != text[74:79].rstrip():
                faults.add(number, "the three columns of the piece differ")
            if not label.startswith(text[21:41].rstrip()):
                faults.add(number, "the two columns of the label differ")
            faults.limit(number, "account", account, limits.account)
            faults.limit(number, "piece", piece, limits.piece)
            if not account[:3].isdigit() and account not in described:
                faults.add(number, f"the account {account} has no account record before it")
            side, amount = text[41], text[43:55]
            if side not in "DC" or text[42] != "+" or not (amount.isascii() and amount.isdigit()):
                faults.add(number, "side, sign or amount is wrong")
                continue
            if day is None:
                continue
            group = (text[9:11], text[14:20], piece)
            yield ReadLine(
                number, group, text[9:11].rstrip(), day, account, "", piece, label, "D" if side == "D" else "C",
                int(amount),
            )  # fmt: skip


def _new_accounts(item: Placed, described: set[str]) -> Iterator[str]:
    for line in item.entry.lines:
        if line.third and line.third not in described:
            described.add(line.third)
            yield _account_record(line)


def _account_record(line: BookLine) -> str:
    """A third party: its account, name, sorting key, collective account, and whether it is a customer or a supplier."""
    kind = "F" if line.account.startswith("40") else "C"
    key = "".join(char for char in line.third_label if char.isalnum())[:7]
    head = f"C{pad(line.third, 8)}{line.third_label[:30]:<30}{key:<7}{'':52}{pad(line.account, 8)}{'':110} {kind}"
    return f"{head:<{_ACCOUNT_RECORD}}\r\n"
