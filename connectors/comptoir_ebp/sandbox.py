"""A stand-in for EBP and its operator, for tests, the demo and the simulation.

`EbpBooks` is the program: it imports the contents of files as EBP is documented to (gescom-interfaces §2.3,
accounting-files §6 and §11) and shares no code with the writers, so that it can contradict them. It numbers documents
itself (BC00001), keeps "Document importé n° X", recomputes their totals, does **not** notice that a document was
imported before (no source says that EBP does), refuses unbalanced entries and lists what it refused. An imported order
books its items in the `catalogue`; `ship` and `cancel` are what happens to it later.

`EbpSandbox` is the person at the desk: `step()` takes the waiting files away and drops the lists into `ack/`,
`export()` writes items, stock and customers into `export/`. No thread: whoever drives it calls them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from comptoir_ebp.catalogue import Catalogue, customers_file

__all__ = ["BookEntry", "EbpBooks", "EbpSandbox", "SaleDocument", "UnreadableFile"]

_CENT = Decimal("0.01")
_D = "Document - "
_L = "Ligne - "
_NEEDED = (
    f"{_D}Numéro du document",
    f"{_D}Date",
    f"{_D}Code client",
    f"{_D}Nom du client",
    f"{_D}Adresse 1 (facturation)",
    f"{_D}Code postal (facturation)",
    f"{_D}Ville (facturation)",
    f"{_D}Code Pays (facturation)",
    f"{_L}Code article",
    f"{_L}Quantité",
)
_CARD = {
    "name": "Client - Nom",
    "address": "Client - Adresse 1 (facturation)",
    "postcode": "Client - Code postal (facturation)",
    "city": "Client - Ville (facturation)",
    "country": "Client - Code Pays (facturation)",
    "email": "Client - E-mail (facturation)",
    "phone": "Client - Téléphone fixe (facturation)",
    "mailing": "Client - Accepte les e-mailings",
}


class UnreadableFile(Exception):
    """EBP cannot read the file at all."""


@dataclass(frozen=True, slots=True)
class SaleDocument:
    """A document as EBP holds it; totals are EBP's own, `control` is the total that the file announced."""

    number: str
    kind: str
    reference: str
    imported_as: str
    date: str
    customer: str
    lines: tuple[tuple[str, Decimal, Decimal, Decimal], ...]
    freight: Decimal
    net: Decimal
    vat: Decimal
    control: Decimal | None

    @property
    def total(self) -> Decimal:
        """Tax included, as EBP shows it."""
        return self.net + self.vat


@dataclass(frozen=True, slots=True)
class BookEntry:
    """A balanced piece in the accounts: lines are (account, side, amount)."""

    journal: str
    date: str
    piece: str
    label: str
    lines: tuple[tuple[str, str, Decimal], ...]


@dataclass(slots=True)
class _Outcome:
    """What became of the records of one file."""

    file: str
    taken: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


class EbpBooks:
    """EBP's data: pure, in memory.

    `items` and `customers_must_exist`: what the folder knows; an unknown item (when `items` is given) or customer
    is refused. `refuse` maps document numbers, customer codes or pieces to a reason, to play a stubborn program.
    """

    def __init__(
        self,
        *,
        items: set[str] | None = None,
        customers_must_exist: bool = False,
        refuse: dict[str, str] | None = None,
        account_length: int = 10,
        with_auto_label: bool = True,
        catalogue: Catalogue | None = None,
    ) -> None:
        self.items = items
        self.catalogue = catalogue or Catalogue()
        self.customers_must_exist = customers_must_exist
        self.refuse = refuse or {}
        self.account_length = account_length
        self.with_auto_label = with_auto_label
        self.documents: list[SaleDocument] = []
        self.customers: dict[str, dict[str, str]] = {}
        self.accounts: dict[str, str] = {}
        self.entries: list[BookEntry] = []
        self.outcomes: list[_Outcome] = []

    def import_file(self, name: str, data: bytes) -> _Outcome:
        """Imports a file by what its name says it is. UnreadableFile when it cannot be read; nothing is taken
        then.
        """
        stem = name.upper()
        text = self._text(data)
        if stem.startswith("CLIENTS"):
            outcome = self._customers(name, text)
        elif stem.startswith(("COMMANDES", "AVOIRS")):
            outcome = self._documents(name, text, "AV" if stem.startswith("AVOIRS") else "BC")
        elif stem.startswith("COMPTES"):
            outcome = self._accounts(name, text)
        elif stem.startswith("ECRITURES"):
            outcome = self._entries(name, text)
        else:
            raise UnreadableFile(f"{name}: unknown kind of file")
        self.outcomes.append(outcome)
        return outcome

    def document_list(self) -> bytes:
        """The list of documents that a user exports: EBP's number and the reference."""
        rows = [f"{_D}Numéro du document;{_D}Date;{_D}Référence"]
        rows += [f"{d.number};{d.date};{d.reference}" for d in self.documents]
        return ("\r\n".join(rows) + "\r\n").encode("cp1252")

    def ship(self, number: str) -> None:
        """The goods of an order, by EBP's own number, leave the storehouse."""
        for code, quantity, _, _ in self._order(number).lines:
            self.catalogue.ship(code, quantity)

    def cancel(self, number: str) -> None:
        """An order, by EBP's own number, keeps its goods no longer."""
        for code, quantity, _, _ in self._order(number).lines:
            self.catalogue.book(code, -quantity)

    def change_customer(self, code: str, **cells: str) -> None:
        """What a user changes on a customer's card: name, address, postcode, city, country, email, phone, mailing.

        KeyError for a customer or a word that is not known; `mailing` is Oui, Non or empty.
        """
        self.customers[code].update({_CARD[word]: value for word, value in cells.items()})

    def _order(self, number: str) -> SaleDocument:
        return next(d for d in self.documents if d.number == number and d.kind == "BC")

    def balance(self, account: str) -> Decimal:
        """Debit less credit of an account over all entries."""
        return sum(
            (a if s == "D" else -a for e in self.entries for n, s, a in e.lines if n == account), Decimal("0.00")
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def _text(self, data: bytes) -> list[str]:
        if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe")) or b"\x00" in data:
            raise UnreadableFile("the file is Unicode text")
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise UnreadableFile(f"the file is not ANSI text (byte {error.start})") from None
        if not text.endswith("\r\n") or "\n" in text.replace("\r\n", "") or "\r" in text.replace("\r\n", ""):
            raise UnreadableFile("lines must end with CR LF")
        return text.split("\r\n")[:-1]

    def _table(self, lines: list[str], needed: tuple[str, ...]) -> list[dict[str, str]]:
        header = lines[0].split(";")
        missing = [caption for caption in needed if caption not in header]
        if missing:
            raise UnreadableFile(f"the column {missing[0]!r} is missing")
        rows = []
        for number, line in enumerate(lines[1:], 2):
            cells = line.split(";")
            if len(cells) != len(header):
                raise UnreadableFile(f"line {number} has {len(cells)} columns instead of {len(header)}")
            rows.append(dict(zip(header, cells, strict=True)))
        return rows

    def _customers(self, name: str, lines: list[str]) -> _Outcome:
        outcome = _Outcome(name)
        for row in self._table(lines, ("Client - Code (tiers)", "Client - Nom")):
            code = row["Client - Code (tiers)"]
            if code in self.refuse:
                outcome.refused.append((code, self.refuse[code]))
            elif not re.fullmatch(r"[A-Z0-9]{1,20}", code) or not 0 < len(row["Client - Nom"]) <= 60:
                outcome.refused.append((code, "code or name is too long or empty"))
            else:
                self.customers[code] = self.customers.get(code, {}) | row
                outcome.taken.append(code)
        return outcome

    # -- documents -----------------------------------------------------------------------------------------------

    def _documents(self, name: str, lines: list[str], kind: str) -> _Outcome:
        outcome = _Outcome(name)
        groups: list[list[dict[str, str]]] = []
        for row in self._table(lines, _NEEDED):
            number = row[f"{_D}Numéro du document"]
            if not groups or groups[-1][0][f"{_D}Numéro du document"] != number:
                groups.append([])
            groups[-1].append(row)
        for rows in groups:
            number = rows[0][f"{_D}Numéro du document"]
            reason = self.refuse.get(number) or self._objection(rows, kind)
            if reason:
                outcome.refused.append((number, reason))
            else:
                document = self._document(rows, kind)
                self.documents.append(document)
                outcome.taken.append(number)
                for code, quantity, _, _ in document.lines if kind == "BC" else ():
                    self.catalogue.book(code, quantity)
        return outcome

    def _objection(self, rows: list[dict[str, str]], kind: str) -> str | None:
        head = rows[0]
        number, customer = head[f"{_D}Numéro du document"], head[f"{_D}Code client"]
        if not number or len(number) > 30:
            return "document number empty or too long"
        if not re.fullmatch(r"\d{2}/\d{2}/\d{4}", head[f"{_D}Date"]):
            return f"{head[f'{_D}Date']} is no date"
        if not re.fullmatch(r"[A-Z0-9]{1,20}", customer):
            return f"customer code {customer!r}"
        known = customer in self.customers
        if self.customers_must_exist and not known:
            return f"Client {customer} inconnu"
        if not known and kind == "BC":
            empty = next((c for c in _NEEDED[3:8] if not head[c]), None)
            if empty:
                return f"{empty} is empty and the customer is not known"
        limits = {
            "Nom du client": 60,
            "Adresse 1 (facturation)": 40,
            "Code postal (facturation)": 10,
            "Ville (facturation)": 35,
        }
        for caption, limit in limits.items():
            if len(head[_D + caption]) > limit:
                return f"{caption} is longer than {limit}"
        for row in rows:
            item = row[f"{_L}Code article"]
            if not item or len(item) > 40 or (self.items is not None and item not in self.items):
                return f"Article {item} inconnu"
            try:
                for caption in ("Quantité", "PV HT", "Taux de TVA"):
                    _number(row.get(_L + caption, "0"))
            except InvalidOperation:
                return f"{caption} is no number"
        return None

    def _document(self, rows: list[dict[str, str]], kind: str) -> SaleDocument:
        """The document as EBP computes it: line nets in cents, VAT once per rate."""
        head = rows[0]
        bases: dict[Decimal, Decimal] = {}
        lines = []
        for row in rows:
            quantity, price = _number(row[f"{_L}Quantité"]), _number(row.get(f"{_L}PV HT", ""))
            rate = _number(row.get(f"{_L}Taux de TVA", ""))
            lines.append((row[f"{_L}Code article"], quantity, price, rate))
            bases[rate] = bases.get(rate, Decimal(0)) + _cents(quantity * price)
        freight = _number(head.get(f"{_D}Frais de port HT", ""))
        if freight:
            rate = _number(head.get(f"{_D}Taux de TVA port", "") or "20")
            bases[rate] = bases.get(rate, Decimal(0)) + freight
        number = head[f"{_D}Numéro du document"]
        control = head.get(f"{_D}Total TTC")
        count = sum(1 for d in self.documents if d.kind == kind) + 1
        self.customers.setdefault(head[f"{_D}Code client"], _card(head))
        return SaleDocument(
            number=f"{kind}{count:05d}",
            kind=kind,
            reference=f"Document importé n° {number}",
            imported_as=number,
            date=head[f"{_D}Date"],
            customer=head[f"{_D}Code client"],
            lines=tuple(lines),
            freight=freight,
            net=sum(bases.values(), Decimal("0.00")),
            vat=sum((_cents(base * rate / 100) for rate, base in bases.items()), Decimal("0.00")),
            control=_number(control) if control else None,
        )

    # -- accounting ----------------------------------------------------------------------------------------------

    def _accounts(self, name: str, lines: list[str]) -> _Outcome:
        outcome = _Outcome(name)
        for number, line in enumerate(lines, 1):
            fields = line.split(",")
            if len(fields) != 10:
                raise UnreadableFile(f"{name} line {number}: {len(fields)} fields instead of 10")
            if not 0 < len(fields[0]) <= self.account_length or len(fields[1]) > 60:
                outcome.refused.append((fields[0], "account or title too long"))
                continue
            self.accounts[fields[0]] = fields[1]
            outcome.taken.append(fields[0])
        return outcome

    def _entries(self, name: str, lines: list[str]) -> _Outcome:
        outcome = _Outcome(name)
        pieces: dict[tuple[str, str, str], list[tuple[str, str, Decimal]]] = {}
        labels: dict[tuple[str, str, str], str] = {}
        wrong: dict[tuple[str, str, str], str] = {}
        for number, line in enumerate(lines, 1):
            fields = line.split(",")
            if not self.with_auto_label:
                fields.insert(4, "")
            if len(fields) != 10 or fields[5][:1] != '"' or fields[6][:1] != '"' or fields[8] not in ("D", "C"):
                raise UnreadableFile(f"{name} line {number}: not the fields of an entry")
            day, journal, account = fields[1], fields[2], fields[3]
            piece = fields[6].strip('"')
            key = (journal, day, piece)
            labels.setdefault(key, fields[5].strip('"'))
            if not re.fullmatch(r"\d{8}", day) or not re.fullmatch(r"\d+\.\d{2}", fields[7]):
                raise UnreadableFile(f"{name} line {number}: date or amount")
            if len(account) > self.account_length or len(journal) > 4:
                wrong.setdefault(key, f"compte {account} trop long")
            pieces.setdefault(key, []).append((account, fields[8], Decimal(fields[7])))
        for key, rows in pieces.items():
            balance = sum((a if s == "D" else -a for _, s, a in rows), Decimal(0))
            reason = self.refuse.get(key[2]) or wrong.get(key) or (balance and f"piece desequilibree de {balance}")
            if reason:
                outcome.refused.append((key[2], str(reason)))
                continue
            for account, _, _ in rows:
                self.accounts.setdefault(account, "COMPTE A COMPLETER")
            self.entries.append(BookEntry(key[0], key[1], key[2], labels[key], tuple(rows)))
            outcome.taken.append(key[2])
        return outcome


class EbpSandbox:
    """The operator: takes files out of the hand-over folder, imports them, drops what EBP says into `ack/`.

    `takes`: what he does with an imported file: `move` it to `taken/`, `rename` it to .BAK, or `delete` it. A file
    that EBP cannot read is moved to `refused/` and noted in `unreadable`. `now` dates the exports; without it they have
    the time of the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        books: EbpBooks | None = None,
        takes: Literal["move", "rename", "delete"] = "move",
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.folder = folder
        self.books = books or EbpBooks()
        self.takes = takes
        self.unreadable: list[tuple[str, str]] = []
        self._lists = 0
        self._now = now
        self._last_export = 0

    def step(self, *, report: bool = True) -> list[str]:
        """Imports what is waiting now and returns the files' names; with `report`, EBP's lists appear in
        `ack/`.
        """
        done: list[str] = []
        refused: list[tuple[str, str, str]] = []
        for path in self._waiting():
            data = path.read_bytes()
            try:
                outcome = self.books.import_file(path.name, data)
            except UnreadableFile as error:
                self.unreadable.append((path.name, str(error)))
                self._put(path, "refused")
                continue
            refused += [(path.name, name, reason) for name, reason in outcome.refused]
            self._take(path)
            done.append(path.name)
        if report and (done or refused):
            self._report(refused)
        return done

    def export(self, *, items: bool = True, stock: bool = True, customers: bool = True) -> list[str]:
        """Writes what EBP holds into `export/`, each file whole at once and newer than the one before; their names."""
        folder = self.folder / "export"
        folder.mkdir(exist_ok=True)
        catalogue = self.books.catalogue
        files = {
            "ARTICLES.csv": catalogue.items_file if items else None,
            "STOCK.csv": catalogue.stock_file if stock else None,
            "CLIENTS.csv": (lambda: customers_file(self.books.customers)) if customers else None,
        }
        written = []
        newest = self._last_export
        for name, make in files.items():
            if make is not None:
                part = folder / f".{name}"
                part.write_bytes(make())
                moment = part.stat().st_mtime_ns if self._now is None else int(self._now().timestamp() * 1e6) * 1000
                # Two exports within a tick of the clock are two exports.
                moment = max(moment, self._last_export + 1_000_000)
                os.utime(part, ns=(moment, moment))
                part.replace(folder / name)
                newest = max(newest, moment)
                written.append(name)
        self._last_export = newest
        return written

    def _waiting(self) -> list[Path]:
        order = ("CLIENTS", "COMMANDES", "AVOIRS", "COMPTES", "ECRITURES")
        found = [
            path
            for name in ("import", "compta")
            if (self.folder / name).is_dir()
            for path in (self.folder / name).iterdir()
            if path.is_file() and path.name.startswith(order) and path.suffix in (".CSV", ".TXT")
        ]
        return sorted(found, key=lambda p: (order.index(re.split(r"[_.]", p.name)[0]), p.name))

    def _take(self, path: Path) -> None:
        if self.takes == "delete":
            path.unlink()
        elif self.takes == "rename":
            target = path.with_name(f"{path.name}.BAK")
            path.replace(target)
        else:
            self._put(path, "taken")

    def _put(self, path: Path, folder: str) -> None:
        target = self.folder / folder
        target.mkdir(exist_ok=True)
        final, count = target / path.name, 1
        while final.exists():
            final, count = target / f"{path.stem}-{count}{path.suffix}", count + 1
        path.rename(final)

    def _report(self, refused: list[tuple[str, str, str]]) -> None:
        ack = self.folder / "ack"
        ack.mkdir(exist_ok=True)
        self._lists += 1
        self._drop(ack / f"documents-{self._lists:04d}.csv", self.books.document_list())
        if refused:
            rows = ["Import - Fichier;Import - Document;Import - Résultat;Import - Motif"]
            rows += [f"{file};{name};REFUSE;{reason.replace(';', ',')}" for file, name, reason in refused]
            self._drop(ack / f"import-{self._lists:04d}.csv", ("\r\n".join(rows) + "\r\n").encode("cp1252", "replace"))

    def _drop(self, path: Path, data: bytes) -> None:
        part = path.with_name(f".{path.name}")
        part.write_bytes(data)
        part.rename(path)


def _card(head: dict[str, str]) -> dict[str, str]:
    """The customer's card that EBP makes of an order's header."""
    billing = {c.replace(_D, "Client - "): v for c, v in head.items() if v and c.endswith("(facturation)")}
    return {"Client - Nom": head[f"{_D}Nom du client"], **billing}


def _number(text: str) -> Decimal:
    """A number with a decimal comma; empty is zero. Thousands separators and exponents are not understood."""
    if not re.fullmatch(r"-?\d*(,\d+)?", text):
        raise InvalidOperation(f"{text!r}")
    return Decimal(text.replace(",", ".")) if text else Decimal(0)


def _cents(value: Decimal) -> Decimal:
    return value.quantize(_CENT, rounding=ROUND_HALF_UP)
