"""Journal entries as EBP's ECRITURES.TXT and COMPTES.TXT (accounting-files §6).

Comma, CP1252, CRLF, JJMMAAAA, label and piece quoted, dot and two decimals, fields 1 to 10 only; below a line its
analytic sections. EBP has one account per customer, so a third party's code is the account. What all writers of entries
share (folder's words, pieces, linter) is in `comptoir.sdk.journal`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import BinaryIO, ClassVar, Literal

from comptoir.sdk import Company
from comptoir.sdk.journal.entry import BookEntry, BookLine, Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat, Setup
from comptoir.sdk.journal.linter import Faults, ReadLine, digits_date, text_lines, whole_cents
from comptoir.sdk.journal.profile import CHARSETS, Limits, WriterProfile
from comptoir_ebp.config import EbpConfig

__all__ = ["EcrituresFormat", "profile_of"]

_TITLE_LENGTH = 60
_JOURNAL_LENGTH = 4
_UNCONFIRMED = (
    "more than fields 1 to 10 (the place of the currency differs between writers)",
    "the captions of the menu: Imports > Écritures",
    "whether accounts of more than 10 characters are taken (EBP Compta 13 refuses them)",
)


def profile_of(config: EbpConfig) -> WriterProfile:
    """What the settings of a connection say about EBP's entry file. Entries are ASCII, whatever the charset."""
    charset = codecs.lookup(config.charset).name
    return WriterProfile(
        format="ecritures",
        product="EBP Comptabilité: ECRITURES.TXT",
        file="ECRITURES.TXT",
        charset=charset if charset in CHARSETS else "ascii",
        limits=Limits(
            journal=_JOURNAL_LENGTH,
            account=config.account_length,
            third_party=config.account_length,
            piece=config.piece_length,
            label=config.entry_label_length,
            account_label=_TITLE_LENGTH,
        ),
        unconfirmed=_UNCONFIRMED,
        options={
            "accounts_file": config.accounts_file,
            "analytic_lines": config.analytic_lines,
            "dates": config.entry_dates,
            "with_auto_label": config.with_auto_label,
        },
        source="ebp",
    )


class EcrituresFormat(BookFormat):
    """ECRITURES.TXT, and COMPTES.TXT with every account of it."""

    one_column: bool = True
    third_is_account: ClassVar[bool] = True
    sections: Literal["none", "one", "lines"] = "lines"

    def __init__(self, config: EbpConfig, company: Company) -> None:
        super().__init__(profile_of(config), Setup(company))
        self._config = config
        self._date = {"JJMMAAAA": "%d%m%Y", "JJMMAA": "%d%m%y"}[config.entry_dates]
        if not config.analytic_lines:
            self.sections = "none"

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """Line numbers run through the file."""
        charset, number = self.profile.charset, 0
        automatic = "," if self._config.with_auto_label else ""
        for item in entries:
            entry = item.entry
            head = f"{entry.posted_on.strftime(self._date)},{entry.journal}"
            rows = []
            for line in entry.lines:
                number += 1
                due = line.due_on.strftime(self._date) if line.due_on else ""
                rows.append(
                    f'{number},{head},{line.third or line.account},{automatic}"{line.label}","{item.piece}",'
                    f"{with_sign(line.cents)},{line.side},{due}\r\n"
                )
                rows += [f">{section},{share},{with_sign(cents)}\r\n" for section, share, cents in self._shares(line)]
            yield "".join(rows).encode(charset)

    def _shares(self, line: BookLine) -> Iterator[tuple[str, str, int]]:
        """Sections of the line's first plan with their part in per cent; the parts sum to 100."""
        if self.sections == "none" or not line.sections or not line.cents:
            return
        plan = line.sections[0][0]
        before = 0
        for of, section, cents in line.sections:
            if of == plan:
                after = before + cents
                share = after * 10_000 // line.cents - before * 10_000 // line.cents
                yield section, with_sign(share), cents
                before = after

    def companions(self, entries: Sequence[BookEntry]) -> list[tuple[str, bytes]]:
        """COMPTES.TXT: every account once, code and title, in order of appearance.

        Only those two fields are filled: names and addresses of persons stay out of accounting files
        (sales-accounting §0).
        """
        if not self._config.accounts_file:
            return []
        titles: dict[str, str] = {}
        for entry in entries:
            for line in entry.lines:
                name = line.third or line.account
                titles.setdefault(name, (line.third_label if line.third else line.account_label) or name)
        text = "".join(f"{account},{title}{',' * 8}\r\n" for account, title in titles.items())
        return [("COMPTES.TXT", text.encode(self.profile.charset))]

    # -- reading again -----------------------------------------------------------------------------------------

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The lines by the field rules of accounting-files §6.1 and §6.2: quoting, numbering, sums of the sections."""
        form = self._config.entry_dates
        pattern = re.compile(
            rf'(\d+),(\d{{{len(form)}}}),([^,;"]{{1,4}}),([^,;"]+),'
            + (r"([A-Z]*)," if self._config.with_auto_label else "()")
            + rf'"([^",;]*)","([^",;]*)",([^,]+),([DC]),(\d{{{len(form)}}})?'
        )
        counted, whole, shares, percent, owner = 0, 0, 0, 0, 0
        for number, text in text_lines(file, self.profile.charset, faults):
            if text.startswith(">"):
                section = re.fullmatch(r">([^,;\"]+),(\d{1,3}\.\d{2}),(\d+\.\d{2})", text)
                if section is None:
                    faults.add(number, "not the three fields of an analytic line")
                    continue
                percent += int(section[2].replace(".", ""))
                shares += int(section[3].replace(".", ""))
                continue
            _close(faults, owner, whole, shares, percent)
            counted, shares, percent, owner = counted + 1, 0, 0, number
            match = pattern.fullmatch(text)
            if match is None:
                faults.add(number, "not the ten fields of an entry line")
                continue
            day, cents = self._checked(match, counted, number, faults)
            whole = cents or 0
            if day is None or cents is None:
                continue
            journal, account, label, piece = match[3], match[4], match[6], match[7]
            side: Literal["D", "C"] = "D" if match[9] == "D" else "C"
            yield ReadLine(number, (journal, day, piece), journal, day, account, "", piece, label, side, cents)
        _close(faults, owner, whole, shares, percent)

    def _checked(
        self, match: re.Match[str], counted: int, number: int, faults: Faults
    ) -> tuple[date | None, int | None]:
        limits, form = self.profile.limits, self._config.entry_dates
        count, posted, _, account, _, label, piece, amount, _, due = match.groups()
        if int(count) != counted:
            faults.add(number, f"numbered {count}")
        if due:
            digits_date(due, form, number, faults)
        if len(account) > limits.account or not account[:3].isdigit():
            faults.add(number, f"{account} is no account of at most {limits.account} characters")
        if not piece or len(piece) > limits.piece:
            faults.add(number, f"the piece is empty or longer than {limits.piece}")
        if len(label) > limits.label:
            faults.add(number, f"the label is longer than {limits.label}")
        return digits_date(posted, form, number, faults), whole_cents(amount, ".", number, faults)


def _close(faults: Faults, line: int, whole: int, shares: int, percent: int) -> None:
    """EBP refuses an entry whose sections do not sum to their line."""
    if (shares or percent) and (shares != whole or percent != 10_000):
        faults.add(line, f"its sections sum to {shares} cents and {percent / 100:.2f} %, the line is {whole}")
