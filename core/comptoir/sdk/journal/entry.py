"""A journal entry in the words of one accounting folder: accounts by its tables, text in its charset, amounts in cents.

`Terms.entry` takes the payload of a `journal_entry.out.yaml` mapping and gives a `BookEntry` that every writer only
has to lay out. What the folder cannot hold is refused with the record, the field and the setting that helps (accounts,
journals, third parties), or shortened with a remark (labels, titles): nothing is cut in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, Protocol

from comptoir.errors import RecordRejected
from comptoir.sdk.journal.profile import WriterProfile
from comptoir.sdk.journal.text import (
    Remarks,
    as_date,
    as_decimal,
    label_of_entry,
    short_hash,
    shorten,
    to_charset,
    words,
)

__all__ = [
    "PIECE_TYPES",
    "BookEntry",
    "BookLine",
    "Named",
    "Placed",
    "Tables",
    "Terms",
    "decimal_of",
    "placed",
    "unique_piece",
    "with_sign",
]

#: Kind of entry -> type of piece that PNM and TRA know (accounting-files §1); anything else is OD.
PIECE_TYPES = {
    "sale": "FC",
    "credit_note": "AC",
    "payment": "RC",
    "refund_payment": "RC",
    "purchase": "FF",
    "purchase_credit": "AF",
}
_ACCOUNT = re.compile(r"[0-9]{3}[0-9A-Z]*")
_CODE = re.compile(r"[0-9A-Z][0-9A-Z._/-]*")
_JOURNAL = re.compile(r"[A-Z0-9]+")
_CAPITALS = re.compile(r"[A-Z0-9_/.-]+(?: [A-Z0-9_/.-]+)*")
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class BookLine:
    """One line. `third` is the third party's code or account as the folder calls it, '' when there is none; `account`
    is then its collective account. `sections` are (plan, section, cents)."""

    account: str
    account_label: str
    third: str
    third_label: str
    label: str
    side: Literal["D", "C"]
    cents: int
    due_on: date | None = None
    payment: str = ""
    sections: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BookEntry:
    """A balanced entry, ready to be laid out. `piece` has its whole length still (see `placed`)."""

    key: str
    kind: str
    journal: str
    journal_label: str
    piece: str
    posted_on: date
    document_on: date
    label: str
    reference: str
    invoice: str
    currency: str
    lines: tuple[BookLine, ...]
    remarks: Remarks

    @property
    def cents(self) -> int:
        """The sum of one side."""
        return sum(line.cents for line in self.lines if line.side == "D")

    @property
    def piece_type(self) -> str:
        """FC, AC, RC, FF, AF or OD."""
        return PIECE_TYPES.get(self.kind, "OD")


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry in a file: its piece number there, and the how-manieth entry it is (from 1)."""

    entry: BookEntry
    piece: str
    number: int


class Named(Protocol):
    """An entry that has a key and a piece."""

    @property
    def key(self) -> str: ...
    @property
    def piece(self) -> str: ...
    @property
    def remarks(self) -> Remarks: ...


class Tables(Protocol):
    """What a merchant's folder calls otherwise than the hub: fields of `JournalConfig`."""

    @property
    def accounts(self) -> Mapping[str, str]: ...
    @property
    def third_parties(self) -> Mapping[str, str]: ...
    @property
    def journals(self) -> Mapping[str, str]: ...
    @property
    def sections(self) -> Mapping[str, str]: ...
    @property
    def collectives(self) -> Mapping[str, str]: ...
    @property
    def third_party_form(self) -> str: ...


def unique_piece(entry: Named, taken: Mapping[str, str], limit: int) -> str:
    """The piece number in the file: cut on the left, so that the changing digits stay (accounting-files §0).

    `taken` maps the pieces of this file to their entries' keys. Where the cut number is taken or empty, a hash of the
    entry's key stands for it. Both are remarked.
    """
    cut = entry.piece[-limit:]
    if cut != entry.piece:
        entry.remarks.add("piece", f"shortened on the left to {limit} characters")
    if cut and taken.get(cut, entry.key) == entry.key:
        return cut
    for salt in range(100):
        alias = short_hash(f"{entry.key}{salt or ''}", limit)
        if alias not in taken:
            entry.remarks.add("piece", f"the number is taken in this file; {alias} stands for it")
            return alias
    raise AssertionError("unreachable: a hundred hashes are taken")


def placed(entries: Iterable[BookEntry], limit: int) -> Iterator[Placed]:
    """The entries of one file, numbered, each under a piece number of its own of at most `limit` characters."""
    taken: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        piece = unique_piece(entry, taken, limit)
        taken[piece] = entry.key
        yield Placed(entry, piece, number)


class Terms:
    """How one folder calls accounts, journals and third parties, and what text it can hold.

    `one_column`: the format has one account column, where the third party's own account stands (Ciel, EBP, Quadratus);
    `third_is_account`: that account must begin like one of the chart.
    """

    def __init__(
        self,
        profile: WriterProfile,
        tables: Tables,
        *,
        currency: str,
        one_column: bool,
        third_is_account: bool,
        most_cents: int = 10**14 - 1,
    ) -> None:
        self._profile = profile
        self._limits = profile.limits
        self._tables = tables
        self._currency = currency
        self._third_limit = min(self._limits.account, self._limits.third_party) if one_column else None
        self._third_is_account = third_is_account
        self._one_column = one_column
        self._most_cents = most_cents
        self._accounts: dict[tuple[str, str], tuple[str, str]] = {}
        self._owners: dict[tuple[str, str], tuple[str, str]] = {}
        self._texts: dict[tuple[str, int, bool], tuple[str, tuple[str, ...]]] = {}

    def entry(self, payload: Mapping[str, Any], record: str) -> BookEntry:
        """The entry of a payload; RecordRejected, naming record and field, when the folder cannot take it."""
        remarks = Remarks()
        if words(payload.get("currency")) != self._currency:
            raise _refused(
                record, "currency", "currency", "it is not in the company's currency", "The entry file has none."
            )
        piece = _code(payload.get("piece"), "piece", remarks)
        label = self._text(words(payload.get("label")), "label", remarks, self._limits.label) or self._instead(
            "label", piece or words(payload.get("kind")), remarks, self._limits.label
        )
        lines = tuple(
            self._line(line, number, label, remarks, record)
            for number, line in enumerate(payload.get("lines") or (), 1)
        )
        if sum(line.cents if line.side == "D" else -line.cents for line in lines) or not lines:
            raise _refused(
                record,
                "lines",
                "unbalanced",
                "it does not balance" if lines else "it has no lines",
                "An entry that does not balance is a defect of what made it; report it.",
            )
        posted = as_date(payload.get("posted_on"), record, "posted_on")
        document = payload.get("document_on")
        journal = words(payload.get("journal"))
        return BookEntry(
            key=words(payload.get("key")),
            kind=words(payload.get("kind")),
            journal=self._journal(journal, record),
            journal_label=self._text(
                words(payload.get("journal_label")) or journal,
                "journal_label",
                remarks,
                self._limits.account_label,
                title=True,
            )
            or journal,
            piece=piece,
            posted_on=posted,
            document_on=as_date(document, record, "document_on") if document else posted,
            label=label,
            reference=_code(payload.get("reference"), "reference", remarks),
            invoice=_code(payload.get("invoice"), "invoice", remarks),
            currency=self._currency,
            lines=lines,
            remarks=remarks,
        )

    # -- one line ----------------------------------------------------------------------------------------------

    def _line(self, line: Mapping[str, Any], number: int, label: str, remarks: Remarks, record: str) -> BookLine:
        path = f"lines[{number}]"
        hub_account, hub_third = words(line.get("account")), words(line.get("third_party"))
        known = self._accounts.get((hub_account, hub_third))
        if known is None:
            known = self._resolved(hub_account, hub_third, record, path)
            if len(self._accounts) < _KEPT:
                self._accounts[hub_account, hub_third] = known
        side = words(line.get("side"))
        if side not in ("D", "C"):
            raise _refused(
                record, f"{path}.side", "side", f"the side {side!r} is neither D nor C", "Check the mapping."
            )
        own = words(line.get("label"))
        due = line.get("due_on")
        name = words(line.get("third_party_label"))
        title = words(line.get("account_label")) or hub_account
        limit = self._limits.account_label
        named = self._text(title, "account_label", remarks, limit, title=True) or known[0][:limit]
        cents = _cents(line.get("amount"), record, f"{path}.amount")
        if cents > self._most_cents:
            raise _refused(
                record,
                f"{path}.amount",
                "amount",
                f"the amount {with_sign(cents)} is larger than the format can hold",
                "Enter it by hand, or choose another profile.",
            )
        return BookLine(
            account=known[0],
            account_label=named,
            third=known[1],
            third_label=(self._text(name or title, "third_party_label", remarks, limit) or named) if known[1] else "",
            label=self._of_line(own, label, remarks) if own else label,
            side="D" if side == "D" else "C",
            cents=cents,
            due_on=as_date(due, record, f"{path}.due_on") if due else None,
            payment=self._profile.payments.get(words(line.get("payment_method")), ""),
            sections=self._sections(line.get("analytic") or (), cents, record, f"{path}.analytic"),
        )

    def _resolved(self, account: str, third: str, record: str, path: str) -> tuple[str, str]:
        """Account and third party as the folder calls them (accounting-files §0, third-party accounts)."""
        found, third_found = account, third
        entry = self._tables.accounts.get(account)
        if entry is not None:
            found, _, split = entry.partition("/")
            third_found = third or split
        elif not third:
            for prefix, collective in self._tables.collectives.items():
                rest = account.removeprefix(prefix)
                if rest != account and not rest.isdigit() and rest:
                    found = collective
                    third_found = self._tables.third_party_form.replace("{rest}", rest).replace("{account}", account)
        named = self._tables.third_parties
        third_found = named.get(f"{account}/{third_found}", named.get(third_found, third_found))
        if len(found) > self._limits.account or not _ACCOUNT.fullmatch(found):
            raise _refused(
                record,
                f"{path}.account",
                "account",
                f"the account {found!r} is no account of at most {self._limits.account} characters",
                f'An account is never cut: name it in the connection\'s [accounts], for instance "{account}" = "...".',
            )
        if third_found:
            self._check_third(third_found, third or account, record, path)
        written = (third_found or found, "") if self._one_column else (found, third_found)
        owner = self._owners.setdefault(written, (account, third))
        if owner != (account, third):
            shown = " and ".join(f"{a}{f' ({t})' if t else ''}" for a, t in (owner, (account, third)))
            raise _refused(
                record,
                f"{path}.account",
                "account",
                f"{shown} would both be {written[0]} in the folder, and nobody could tell their sums apart",
                "Give each a name of its own in the connection's [accounts] or [third_parties]; a third party with "
                'several accounts is named there with each of them, for instance "419100/CWEB" = "...".',
            )
        return found, third_found

    def _check_third(self, third: str, hub: str, record: str, path: str) -> None:
        limit = self._third_limit or self._limits.third_party
        pattern = _ACCOUNT if self._third_is_account else _CODE
        if len(third) <= limit and pattern.fullmatch(third):
            return
        what = "account of a third party" if self._third_is_account else "third party's code"
        raise _refused(
            record,
            f"{path}.third_party",
            "third_party",
            f"{third!r} is no {what} of at most {limit} characters here",
            f'A code is never cut: name it in the connection\'s [third_parties], for instance "{hub}" = "...".',
        )

    def _journal(self, code: str, record: str) -> str:
        found = self._tables.journals.get(code, code).upper()
        if len(found) > self._limits.journal or not _JOURNAL.fullmatch(found):
            raise _refused(
                record,
                "journal",
                "journal",
                f"the journal {found!r} is not 1 to {self._limits.journal} capitals or digits",
                f'Name it in the connection\'s [journals], for instance "{code}" = "...", or in [accounting].',
            )
        return found

    def _sections(
        self, shares: Iterable[Mapping[str, Any]], cents: int, record: str, path: str
    ) -> tuple[tuple[str, str, int], ...]:
        found: list[tuple[str, str, int]] = []
        plans: dict[str, int] = {}
        for number, share in enumerate(shares, 1):
            code = words(share.get("section"))
            section = self._tables.sections.get(code, code)
            if len(section) > self._limits.section or not _CODE.fullmatch(section):
                raise _refused(
                    record,
                    f"{path}[{number}].section",
                    "section",
                    f"the section {section!r} is no code of at most {self._limits.section} capitals or digits",
                    f'Name it in the connection\'s [sections], for instance "{code}" = "...".',
                )
            part = _cents(share.get("amount"), record, f"{path}[{number}].amount")
            plan = words(share.get("plan"))
            plans[plan] = plans.get(plan, 0) + part
            found.append((plan, section, part))
        if any(total != cents for total in plans.values()):
            raise _refused(
                record, path, "unbalanced", "the sections do not sum to their line", "Report it: it is a defect."
            )
        return tuple(found)

    # -- text --------------------------------------------------------------------------------------------------

    def _of_line(self, own: str, label: str, remarks: Remarks) -> str:
        return self._text(own, "label", remarks, self._limits.label) or self._instead(
            "label", label, remarks, self._limits.label
        )

    def _instead(self, where: str, value: str, remarks: Remarks, limit: int) -> str:
        """What stands where the folder's charset leaves nothing of a text, such as one of pictograms alone: no program
        takes an empty label, and one of them would keep the whole file back."""
        remarks.add(where, "nothing of it can be written here; another one stands for it")
        return self._text(value, where, remarks, limit)

    def _text(self, value: str, where: str, remarks: Remarks, limit: int, *, title: bool = False) -> str:
        """The text as the folder can hold it. Titles come from the configuration and are the same in every entry: that
        they lose their accents is said by `check`, not once more for each entry."""
        if len(value) <= limit and _CAPITALS.fullmatch(value):
            return value
        known = self._texts.get((value, limit, title))
        if known is None:
            made = Remarks()
            known = (self._made(value, made, limit, title), tuple(note.removeprefix(": ") for note in made.notes))
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            self._texts[value, limit, title] = known
        for note in known[1]:
            remarks.add(where, note)
        return known[0]

    def _made(self, value: str, made: Remarks, limit: int, title: bool) -> str:
        charset = self._profile.charset
        if self._profile.text == "plain":
            text, replaced = to_charset(value, charset)
            if replaced:
                made.add("", f"characters outside {charset} replaced")
            flat = re.sub(r" {2,}", " ", re.sub(r'["|;]', " ", text)).strip().lstrip("=+-@").strip()
            if flat != text:
                made.add("", "separators and formula signs replaced")
            return shorten(flat, "", made, limit)
        text = label_of_entry(value, "", made, limit)
        if (
            not title
            and not value.isascii()
            and any(unicodedata.combining(c) for c in unicodedata.normalize("NFD", value))
        ):
            made.add("", "accents dropped")
        return text


def _code(value: object, where: str, remarks: Remarks) -> str:
    """A number of a document as entries have it: capitals and digits, no spaces."""
    text = words(value)
    if not _CAPITALS.fullmatch(text):
        text = label_of_entry(text, where, remarks, 200) if text else ""
    return text.replace(" ", "")


def _cents(value: object, record: str, path: str) -> int:
    text = value if isinstance(value, str) else ""
    whole, _, decimals = text.partition(",")
    if text.isascii() and whole.isdecimal() and len(decimals) <= 2 and (not decimals or decimals.isdecimal()):
        return int(whole + decimals.ljust(2, "0"))  # nearly all of them
    amount = as_decimal(value, record, path)
    scaled = amount * 100
    if amount < 0 or scaled != scaled.to_integral_value():
        raise _refused(
            record,
            path,
            "amount",
            f"the amount {amount} is negative or has parts of a cent",
            "Amounts are positive and whole cents; a refund swaps the side.",
        )
    return int(scaled.to_integral_value())


def with_sign(cents: int, sign: str = ".") -> str:
    """Cents as an amount with two decimals, no thousands separator."""
    return f"{cents // 100}{sign}{cents % 100:02d}"


def decimal_of(cents: int) -> Decimal:
    """Cents as a Decimal with two decimals."""
    return Decimal(cents).scaleb(-2)


def _refused(record: str, path: str, code: str, message: str, hint: str) -> RecordRejected:
    return RecordRejected(f"{record}: {message}", record=record, field=path, code=code, hint=hint)
