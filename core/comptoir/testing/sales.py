"""Back offices and the person who imports orders into them, for the sandboxes of connectors that write documents.

`SalesProgram` is what a program does with a file of orders: a subclass reads one format by its description and shares
no code with the writers, so that it can contradict them. It numbers the documents, recomputes their totals, and keeps
the goods of an order. `SalesDesk` is the person: `step()` imports what lies in `gescom/`, and acknowledges it as told.
No thread: whoever drives it calls it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Literal

from comptoir.testing.books import Outcome, UnreadableFile

__all__ = ["SaleLine", "SalesDesk", "SalesDocument", "SalesProgram"]


@dataclass(frozen=True, slots=True)
class SaleLine:
    """A line as the program reads it."""

    item: str
    label: str
    quantity: Decimal
    price: Decimal
    rate: Decimal


@dataclass(frozen=True, slots=True)
class SalesDocument:
    """An order as the program holds it. `web`: the shop's number; `piece`: its own, '' until it has numbered it."""

    web: str
    piece: str
    customer: str
    day: date
    gross: bool
    lines: tuple[SaleLine, ...]
    freight: Decimal = Decimal(0)
    freight_rate: Decimal = Decimal(0)
    deposit: Decimal = Decimal(0)
    announced: Decimal | None = None

    @property
    def total(self) -> Decimal:
        """Tax included, as the program shows it: line amounts in cents, then the tax once per rate."""
        bases = {self.freight_rate: self.freight} if self.freight else {}
        for line in self.lines:
            bases[line.rate] = bases.get(line.rate, Decimal(0)) + _cents(line.quantity * line.price)
        if self.gross:
            return sum(bases.values(), Decimal("0.00"))
        return sum((base + _cents(base * rate / 100) for rate, base in bases.items()), Decimal("0.00"))


class SalesProgram(abc.ABC):
    """The orders of one folder, in memory.

    `stock`: quantity by item, and the only items that exist (None: any); `customers`: the only ones that exist (None:
    they are created). `refuse` maps web numbers to a reason, to play a stubborn program.
    """

    suffixes: tuple[str, ...] = (".TXT",)
    #: The captions of the exported list: the shop's number, and the program's.
    list_captions: tuple[str, str]
    list_separator = ";"

    def __init__(
        self,
        *,
        stock: Mapping[str, Decimal] | None = None,
        customers: set[str] | None = None,
        refuse: Mapping[str, str] | None = None,
    ) -> None:
        self.stock = None if stock is None else dict(stock)
        self.customers = customers
        self.refuse = dict(refuse or {})
        self.documents: list[SalesDocument] = []
        self.reserved: dict[str, Decimal] = {}

    @abc.abstractmethod
    def orders(self, name: str, data: bytes) -> Iterator[SalesDocument]:
        """The orders of a file; UnreadableFile where the program would stop."""

    def import_file(self, name: str, data: bytes) -> Outcome:
        """Imports a file; UnreadableFile when it cannot be read, and then nothing is taken."""
        outcome = Outcome(name)
        for document in list(self.orders(name, data)):
            reason = self._objection(document)
            if reason:
                outcome.refused.append((document.web, reason))
                continue
            self._take(document)
            outcome.taken.append(document.web)
        return outcome

    def available(self, item: str) -> Decimal:
        """What can still be sold: the stock less the goods of orders."""
        return (self.stock or {}).get(item, Decimal(0)) - self.reserved.get(item, Decimal(0))

    def ship(self, piece: str) -> None:
        """The goods of an order, by the program's own number, leave."""
        (document,) = [d for d in self.documents if d.piece == piece]
        for line in document.lines:
            self.reserved[line.item] -= line.quantity
            if self.stock is not None:
                self.stock[line.item] -= line.quantity

    def document_list(self) -> bytes:
        """The list of documents that a user exports."""
        sign = self.list_separator
        rows = [sign.join(self.list_captions), *(f"{d.web}{sign}{d.piece}" for d in self.documents)]
        return ("\r\n".join(rows) + "\r\n").encode("cp1252")

    def _objection(self, document: SalesDocument) -> str | None:
        if document.web in self.refuse:
            return self.refuse[document.web]
        if document.piece and any(d.piece == document.piece for d in self.documents):
            return f"la pièce {document.piece} existe déjà"
        if self.customers is not None and document.customer not in self.customers:
            return f"client {document.customer} inconnu"
        for line in document.lines:
            if self.stock is not None and line.item not in self.stock:
                return f"article {line.item} inconnu"
        if document.announced is not None and abs(document.announced - document.total) > Decimal("0.02"):
            return f"total {document.announced} annoncé, {document.total} calculé"
        return None if document.lines else "document sans ligne"

    def _take(self, document: SalesDocument) -> None:
        number = document.piece or f"BC{len(self.documents) + 1:05d}"
        self.documents.append(replace(document, piece=number))
        for line in document.lines:
            self.reserved[line.item] = self.reserved.get(line.item, Decimal(0)) + line.quantity


class SalesDesk:
    """The operator beside the program. `takes`: after an import he renames the file to .BAK, or exports the `list` of
    documents into `ack/` and moves the file to `imported/`. What could not be read goes to `refused/`."""

    def __init__(self, folder: Path, program: SalesProgram, *, takes: Literal["rename", "list"] = "rename") -> None:
        self.folder = folder
        self.program = program
        self.takes = takes
        self.unreadable: list[tuple[str, str]] = []
        self._reports = 0

    def waiting(self) -> list[Path]:
        """The files that were not imported yet, oldest name first."""
        folder = self.folder / "gescom"
        if not folder.is_dir():
            return []
        return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.upper() in self.program.suffixes)

    def step(self) -> list[str]:
        """Imports what waits now; the names of the files that the program has read."""
        done: list[str] = []
        for path in self.waiting():
            try:
                outcome = self.program.import_file(path.name, path.read_bytes())
            except UnreadableFile as error:
                self.unreadable.append((path.name, str(error)))
                self._move(path, "refused")
                continue
            done.append(path.name)
            if outcome.refused:
                # A file with refused documents is none that was imported: the report speaks for each of them.
                rows = ["Import - Fichier;Import - Document;Import - Résultat;Import - Motif"]
                rows += [f"{outcome.file};{web};IMPORTE;" for web in outcome.taken]
                rows += [f"{outcome.file};{web};REFUSE;{reason.replace(';', ',')}" for web, reason in outcome.refused]
                self._drop("import", ("\r\n".join(rows) + "\r\n").encode("cp1252", "replace"))
                self._move(path, "imported")
            elif self.takes == "rename":
                path.rename(path.with_suffix(".BAK"))
            else:
                self._move(path, "imported")
        if done and self.takes == "list":
            self._drop("documents", self.program.document_list())
        return done

    def _move(self, path: Path, folder: str) -> None:
        target = self.folder / folder
        target.mkdir(exist_ok=True)
        path.rename(target / path.name)

    def _drop(self, stem: str, data: bytes) -> None:
        self._reports += 1
        ack = self.folder / "ack"
        ack.mkdir(exist_ok=True)
        part = ack / f".{stem}-{self._reports:04d}.csv"
        part.write_bytes(data)
        part.rename(ack / f"{stem}-orders-{self._reports:04d}.csv")


def _cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
