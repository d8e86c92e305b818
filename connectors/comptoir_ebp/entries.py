"""Journal entries as EBP's ECRITURES.TXT and COMPTES.TXT (accounting-files §6).

Comma, CP1252, CRLF, JJMMAAAA, label and piece quoted, dot and two decimals, fields 1 to 10 only. Each piece
balances; accounts are never cut; the written bytes are read again by `check_ecritures`, which shares no code
with the writer (failure mode 70).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from comptoir.sdk import RecordRejected
from comptoir.sdk.journal.entry import unique_piece
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.text import Remarks, as_date, as_decimal, cents, label_of_entry, words

__all__ = [
    "Entry",
    "EntryRow",
    "check_ecritures",
    "comptes_file",
    "ecritures_file",
    "journal_entry",
    "unique_piece",
]

_ACCOUNT = re.compile(r"^[0-9]{3}[0-9A-Z]*$")


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One line of ECRITURES.TXT: EBP has one account per customer, so a third party's code is the account."""

    account: str
    account_label: str
    label: str
    side: str
    amount: Decimal
    due_on: date | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A checked entry ready to be written."""

    key: str
    journal: str
    piece: str
    posted_on: date
    rows: tuple[EntryRow, ...]
    remarks: Remarks

    @property
    def total(self) -> Decimal:
        """The sum of one side."""
        return sum((r.amount for r in self.rows if r.side == "D"), Decimal("0.00"))


def journal_entry(payload: Mapping[str, Any], config: EbpConfig, *, company_currency: str, record: str) -> Entry:
    """The entry of a payload of `mappings/ebp/journal_entry.out.yaml`.

    Raises RecordRejected, naming record and field: account too long or not of the chart, journal too long,
    amount that is negative or no whole cents, piece that does not balance, other currency.
    """
    remarks = Remarks()

    def refuse(message: str, path: str, code: str, hint: str) -> RecordRejected:
        return RecordRejected(f"{record}: {message}", record=record, field=path, code=code, hint=hint)

    if words(payload.get("currency")) != company_currency:
        raise refuse("it is not in the company's currency", "currency", "currency", "EBP's entry file has none.")
    journal = words(payload.get("journal")).upper()
    if not re.fullmatch(r"[A-Z0-9]{1,4}", journal):
        raise refuse(
            f"the journal {journal!r} is not 1 to 4 capitals or digits",
            "journal",
            "journal",
            "Change the journal's code in [accounting].",
        )
    rows: list[EntryRow] = []
    balance = Decimal(0)
    for number, line in enumerate(payload.get("lines") or (), 1):
        path = f"lines[{number}]"
        account = words(line.get("third_party")) or words(line.get("account"))
        if len(account) > config.account_length or not _ACCOUNT.match(account):
            raise refuse(
                f"the account {account!r} is no account of at most {config.account_length} characters",
                f"{path}.account",
                "account",
                "An account is never cut: shorten it in [accounting] (EBP refuses more than 10 characters).",
            )
        amount = as_decimal(line.get("amount"), record, f"{path}.amount")
        if amount < 0 or amount != cents(amount):
            raise refuse(
                f"the amount {amount} is negative or has parts of a cent",
                f"{path}.amount",
                "amount",
                "Amounts are positive and whole cents; a refund swaps the side.",
            )
        side = words(line.get("side"))
        if side not in ("D", "C"):
            raise refuse(f"the side {side!r} is neither D nor C", f"{path}.side", "side", "Check the mapping.")
        balance += amount if side == "D" else -amount
        due = line.get("due_on")
        name = words(line.get("third_party_label")) if words(line.get("third_party")) else ""
        rows.append(
            EntryRow(
                account,
                label_of_entry(name or words(line.get("account_label")), f"{path}.account_label", remarks, 60),
                label_of_entry(
                    words(line.get("label")) or words(payload.get("label")),
                    f"{path}.label",
                    remarks,
                    config.entry_label_length,
                ),
                side,
                cents(amount),
                as_date(due, record, f"{path}.due_on") if due else None,
            )
        )
    if balance or not rows:
        raise refuse(
            "it does not balance" if rows else "it has no lines",
            "lines",
            "unbalanced",
            "An entry that does not balance is a defect of what made it; report it.",
        )
    piece = label_of_entry(words(payload.get("piece")), "piece", remarks, 200).replace(" ", "")
    posted = as_date(payload.get("posted_on"), record, "posted_on")
    return Entry(words(payload.get("key")), journal, piece, posted, tuple(rows), remarks)


def ecritures_file(entries: Sequence[tuple[str, Entry]], config: EbpConfig) -> bytes:
    """The bytes of ECRITURES.TXT for pairs of piece number and entry; line numbers run through the file."""
    lines: list[str] = []
    for piece, entry in entries:
        for row in entry.rows:
            fields = [
                str(len(lines) + 1),
                f"{entry.posted_on:%d%m%Y}",
                entry.journal,
                row.account,
                *([""] if config.with_auto_label else []),
                f'"{row.label}"',
                f'"{piece}"',
                f"{row.amount:.2f}",
                row.side,
                f"{row.due_on:%d%m%Y}" if row.due_on else "",
            ]
            lines.append(",".join(fields))
    return ("".join(f"{line}\r\n" for line in lines)).encode(config.charset)


def comptes_file(entries: Sequence[Entry], config: EbpConfig) -> bytes:
    """The bytes of COMPTES.TXT: every account of the file once, code and title, in order of appearance.

    Only those two fields are filled: names and addresses of persons stay out of accounting files
    (sales-accounting §0).
    """
    titles: dict[str, str] = {}
    for entry in entries:
        for row in entry.rows:
            titles.setdefault(row.account, row.account_label or row.account)
    return ("".join(f"{account},{title}{',' * 8}\r\n" for account, title in titles.items())).encode(config.charset)


def check_ecritures(
    data: bytes,
    *,
    with_auto_label: bool = True,
    account_length: int = 10,
    piece_length: int = 10,
    label_length: int = 40,
    charset: str = "cp1252",
) -> list[str]:
    """What is wrong with the bytes of an ECRITURES.TXT, in words with the line number; empty when EBP can
    take it.

    Independent of the writer: reads the bytes with the field rules of accounting-files §6.1 and adds up in
    whole cents. Amounts, dates, lengths, quoting, line numbers, and the balance of each piece (same journal,
    date, piece).
    """
    try:
        text = data.decode(charset)
    except UnicodeDecodeError as error:
        return [f"not {charset} at byte {error.start}"]
    found: list[str] = []
    if data.startswith(b"\xef\xbb\xbf"):
        found.append("starts with a byte order mark")
    if text and not text.endswith("\r\n"):
        found.append("the last line is not ended by CR LF")
    pattern = re.compile(
        r'(\d+),(\d{8}),([^,;"]{1,4}),([^,;"]+),'
        + (r"([A-Z]*)," if with_auto_label else "()")
        + r'"([^",;]*)","([^",;]*)",([^,]+),([DC]),(\d{8})?'
    )
    balances: dict[tuple[str, str, str], int] = {}
    groups: list[tuple[str, str, str]] = []
    for number, line in enumerate(text.split("\r\n")[:-1], 1):
        match = pattern.fullmatch(line)
        if match is None:
            found.append(f"line {number}: not the ten fields of an entry line")
            continue
        count, day, journal, account, _, label, piece, amount, side, due = match.groups()
        if int(count) != number:
            found.append(f"line {number}: numbered {count}")
        for value in filter(None, (day, due)):
            try:
                date(int(value[4:]), int(value[2:4]), int(value[:2]))
            except ValueError:
                found.append(f"line {number}: {value} is no date JJMMAAAA")
        if len(account) > account_length or not account[:3].isdigit():
            found.append(f"line {number}: {account} is no account of at most {account_length} characters")
        if not piece or len(piece) > piece_length:
            found.append(f"line {number}: the piece is empty or longer than {piece_length}")
        if len(label) > label_length:
            found.append(f"line {number}: the label is longer than {label_length}")
        group = (journal, day, piece)
        if not groups or groups[-1] != group:
            if group in balances:
                found.append(f"line {number}: piece {piece} starts again after another one")
            groups.append(group)
        balances.setdefault(group, 0)
        if not re.fullmatch(r"\d{1,12}\.\d{2}", amount):
            found.append(f"line {number}: {amount} is no amount with two decimals")
            continue
        try:
            whole = int(Decimal(amount) * 100)
        except InvalidOperation:  # pragma: no cover - the pattern above leaves nothing else
            continue
        balances[group] += whole if side == "D" else -whole
    for (journal, _, piece), balance in balances.items():
        if balance:
            found.append(f"piece {piece} of journal {journal} does not balance: {balance} cents")
    seen: dict[str, tuple[str, str, str]] = {}
    for group in balances:
        if seen.setdefault(group[2], group) != group:
            found.append(f"piece {group[2]} is used by two entries")
    return found
