"""Back offices and the person who imports documents into them, for the sandboxes of connectors that write those.

`SalesProgram` is what a program does with a file of orders, credit notes or customer cards: a subclass reads one format
by its description and shares no code with the writers, so that it can contradict them. It numbers the documents,
recomputes their totals, and keeps the goods of an order; a credit note gives money back and moves none. `SalesDesk` is
the person: `step()` imports what lies in `gescom/`, and acknowledges it as told. No thread: whoever drives it calls it.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Literal

from comptoir.testing.desk import Desk, Outcome

__all__ = ["CustomerCard", "SaleLine", "SalesDesk", "SalesDocument", "SalesProgram"]


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
    """An order or credit note as the program holds it. `web`: the shop's number; `piece`: its own, '' until it has
    numbered it; `of`: what a credit note says of its order."""

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
    kind: Literal["order", "credit_note"] = "order"
    of: str = ""

    @property
    def total(self) -> Decimal:
        """Tax included, as the program shows it: line amounts in cents, then the tax once per rate."""
        bases = {self.freight_rate: self.freight} if self.freight else {}
        for line in self.lines:
            bases[line.rate] = bases.get(line.rate, Decimal(0)) + _cents(line.quantity * line.price)
        if self.gross:
            return sum(bases.values(), Decimal("0.00"))
        return sum((base + _cents(base * rate / 100) for rate, base in bases.items()), Decimal("0.00"))


@dataclass(frozen=True, slots=True)
class CustomerCard:
    """A customer card as the program reads it."""

    code: str
    name: str
    address: tuple[str, ...]
    postcode: str
    city: str
    country: str
    phone: str
    email: str
    vat_id: str


@dataclass(frozen=True, slots=True)
class ItemCard:
    """What a user sees of an item: its price is without tax."""

    label: str
    price: Decimal
    stocked: bool


class SalesProgram(abc.ABC):
    """The documents and cards of one folder, in memory.

    `stock`: quantity by item, and the only items that exist (None: any); `customers`: the only ones that exist (None:
    they are created by a document). `refuse` maps web numbers and customer codes to a reason, to play a stubborn
    program.
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
        self.cards: dict[str, CustomerCard] = {}
        self.items: dict[str, ItemCard] = {}
        self.outcomes: list[Outcome] = []
        self.reserved: dict[str, Decimal] = {}

    @abc.abstractmethod
    def orders(self, name: str, data: bytes) -> Iterator[SalesDocument]:
        """The orders and credit notes of a file; UnreadableFile where the program would stop."""

    @abc.abstractmethod
    def customer_cards(self, name: str, data: bytes) -> Iterator[CustomerCard]:
        """The customer cards of a file; UnreadableFile where the program would stop."""

    def import_file(self, name: str, data: bytes) -> Outcome:
        """Imports a file by what its name says it is; UnreadableFile when it cannot be read: nothing is taken then."""
        outcome = Outcome(name)
        if name.upper().startswith("CLIENTS"):
            self._import_cards(outcome, list(self.customer_cards(name, data)))
        else:
            self._import_documents(outcome, list(self.orders(name, data)))
        self.outcomes.append(outcome)
        return outcome

    def _import_cards(self, outcome: Outcome, cards: Sequence[CustomerCard]) -> None:
        for card in cards:
            if card.code in self.refuse:
                outcome.refused.append((card.code, self.refuse[card.code]))
                continue
            self.cards[card.code] = card
            if self.customers is not None:
                self.customers.add(card.code)
            outcome.taken.append(card.code)

    def _import_documents(self, outcome: Outcome, documents: Sequence[SalesDocument]) -> None:
        for document in documents:
            reason = self._objection(document)
            if reason:
                outcome.refused.append((document.web, reason))
                continue
            self._take(document)
            outcome.taken.append(document.web)

    def add(self, item: str, label: str = "", *, price: Decimal = Decimal(0), stock: Decimal | None = None) -> None:
        """A card of an item, its price without tax; from the first one on, only items that have a card exist. Without
        `stock` it is not counted."""
        if self.stock is None:
            self.stock = {}
        self.stock[item] = stock or Decimal(0)
        self.items[item] = ItemCard(label or item, price, stock is not None)

    def exports(self) -> Mapping[str, bytes]:
        """The lists that a user exports, by their file's name: what is known of items, and of their stock."""
        return {}

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
        count = sum(1 for d in self.documents if d.kind == document.kind) + 1
        number = document.piece or f"{'BC' if document.kind == 'order' else 'AV'}{count:05d}"
        self.documents.append(replace(document, piece=number))
        for line in document.lines if document.kind == "order" else ():
            self.reserved[line.item] = self.reserved.get(line.item, Decimal(0)) + line.quantity


class SalesDesk(Desk[SalesProgram]):
    """The operator beside the back office: imports what lies in `gescom/`, cards before orders before credit notes
    (`comptoir.testing.desk`). `takes` may also be `list`: he moves the file away and exports the list of documents."""

    place = "gescom"
    reports = "import-orders"
    kinds = ("CLIENTS", "COMMANDES", "AVOIRS")

    def __init__(
        self,
        folder: Path,
        program: SalesProgram,
        *,
        takes: Literal["rename", "move", "delete", "list"] = "rename",
        report: bool = True,
    ) -> None:
        self.lists = takes == "list"
        self._exported = 0
        super().__init__(folder, program, takes="move" if takes == "list" else takes, report=report)

    def step(self) -> list[str]:
        """Imports what waits now; the names of the files that the program has read."""
        done = super().step()
        if done and self.lists:
            self.drop("documents", self.program.document_list())
        return done

    def export(self) -> list[str]:
        """Writes the program's lists into `export/`, each whole at once and newer than the one before; their names."""
        folder = self.folder / "export"
        folder.mkdir(exist_ok=True)
        files = self.program.exports()
        for name, data in files.items():
            part = folder / f".{name}"
            part.write_bytes(data)
            # Two exports within a tick of the clock are two exports.
            moment = max(part.stat().st_mtime_ns, self._exported + 1_000_000)
            os.utime(part, ns=(moment, moment))
            part.replace(folder / name)
            self._exported = moment
        return list(files)


def _cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
