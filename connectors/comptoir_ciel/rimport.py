"""RIMPORT.TXT of Sage 50 and Ciel: sections and tabs, for what XIMPORT is too narrow for (accounting-files §5).

Longer accounts, labels and pieces. Entries are always written as drafts (`B`); the type of movement stays empty,
because nobody has confirmed the one of a sale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar, Literal

from comptoir.sdk.journal.entry import Placed, with_sign
from comptoir.sdk.journal.formats import BookFormat
from comptoir.sdk.journal.linter import Faults, ReadLine, slashed_date, text_lines, whole_cents

__all__ = ["RimportFormat"]

_HEAD = ("##Transfert", "##Section\tDos", "{currency}", "##Section\tMvt")
_BARE = (6, 7)
_FIELDS = 22


class RimportFormat(BookFormat):
    """22 fields between tabs, in quotation marks but for side and status."""

    most: ClassVar[Mapping[str, int]] = {
        "journal": 6, "account": 13, "third_party": 13, "piece": 15, "label": 50, "account_label": 35, "section": 13,
    }  # fmt: skip
    one_column: bool = True
    third_is_account: ClassVar[bool] = True
    sections: Literal["none", "one", "lines"] = "one"

    def write(self, entries: Iterable[Placed]) -> Iterator[bytes]:
        """The head with the folder's currency, then the movements."""
        charset = self.profile.charset
        currency = self.setup.company.currency
        yield "".join(f"{line.format(currency=currency)}\r\n" for line in _HEAD).encode(charset)
        for item in entries:
            entry = item.entry
            head = f'"{item.number}"\t"{entry.journal}"\t"{entry.posted_on:%d/%m/%Y}"\t'
            rows = []
            for line in entry.lines:
                title = line.third_label if line.third else line.account_label
                due = f"{line.due_on:%d/%m/%Y}" if line.due_on else ""
                section = line.sections[0][1] if len(line.sections) == 1 else ""
                rows.append(
                    f'{head}"{line.third or line.account}"\t"{title}"\t"{with_sign(line.cents)}"\t{line.side}\tB\t'
                    f'"{line.label}"\t"{item.piece}"\t""\t"{line.payment}"\t"{due}"\t"{section}"\t""'
                    + '\t""' * 7
                    + "\r\n"
                )
            yield "".join(rows).encode(charset)

    def read(self, file: BinaryIO, faults: Faults) -> Iterator[ReadLine]:
        """The head, then fields in and without quotation marks; movements count 1, 2, 3."""
        last = 0
        limits = self.profile.limits
        for number, text in text_lines(file, self.profile.charset, faults):
            if number <= len(_HEAD):
                if text != _HEAD[number - 1].format(currency=self.setup.company.currency):
                    faults.add(number, f"{text!r} is no line of the head")
                continue
            cells = text.split("\t")
            quoted = [len(c) > 1 and c[0] == c[-1] == '"' and '"' not in c[1:-1] for c in cells]
            if len(cells) != _FIELDS or any(q == (n in _BARE) for n, q in enumerate(quoted)):
                faults.add(number, f"not the {_FIELDS} fields of a movement")
                continue
            fields = [cell.strip('"') for cell in cells]
            if not fields[0].isdigit() or not last <= int(fields[0]) <= last + 1:
                faults.add(number, f"movement {fields[0]!r} follows {last}")
            else:
                last = int(fields[0])
            day = slashed_date(fields[2], "JJ/MM/AAAA", number, faults)
            if fields[12]:
                slashed_date(fields[12], "JJ/MM/AAAA", number, faults)
            cents = whole_cents(fields[5], ".", number, faults)
            for name, value, longest in (
                ("journal", fields[1], limits.journal),
                ("account", fields[3], limits.account),
                ("label", fields[8], limits.label),
                ("piece", fields[9], limits.piece),
            ):
                faults.limit(number, name, value, longest)
            if not fields[3][:3].isdigit() or len(fields[4]) > limits.account_label or len(fields[13]) > limits.section:
                faults.add(number, "the account is none of the chart, or its title or the section is too long")
            if fields[6] not in ("D", "C") or fields[7] != "B":
                faults.add(number, f"side {fields[6]!r} or status {fields[7]!r} is wrong")
            if day is None or cents is None or fields[6] not in ("D", "C"):
                continue
            group = (fields[0], fields[1], day)
            yield ReadLine(
                number, group, fields[1], day, fields[3], "", fields[9], fields[8],
                "D" if fields[6] == "D" else "C", cents,
            )  # fmt: skip
