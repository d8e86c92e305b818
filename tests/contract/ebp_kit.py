"""The conformance kit of EBP: its sandbox as program and operator, and files read by a parser of this module's own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import ConnectorConfig, EntityName
from comptoir.testing import FileKit, NewRecord
from comptoir_ebp.config import DefaultCustomer, EbpConfig
from comptoir_ebp.connector import EbpConnector
from comptoir_ebp.sandbox import EbpSandbox

_STEMS = {EntityName.ORDER: "COMMANDES", EntityName.REFUND: "AVOIRS", EntityName.CUSTOMER: "CLIENTS"}
_FILES = {EntityName.ITEM: "ARTICLES.csv", EntityName.STOCK: "STOCK.csv", EntityName.CUSTOMER: "CLIENTS.csv"}
_KEY_COLUMNS = {
    EntityName.ITEM: "Article - Code article",
    EntityName.STOCK: "Stock - Code article",
    EntityName.CUSTOMER: "Client - Code (tiers)",
}
#: Where a value of the suite stands in a file: caption, by entity.
_COLUMNS = {
    EntityName.ORDER: {
        "document_number": "Document - Numéro du document",
        "customer_code": "Document - Code client",
        "customer_name": "Document - Nom du client",
        "item_code": "Ligne - Code article",
        "item_label": "Ligne - Description",
        "text": "Ligne - Description",
        "amount": "Ligne - PV HT",
        "quantity": "Ligne - Quantité",
    },
    EntityName.REFUND: {"text": "Ligne - Description", "amount": "Ligne - PV HT", "quantity": "Ligne - Quantité"},
    EntityName.CUSTOMER: {
        "customer_code": "Client - Code (tiers)",
        "customer_name": "Client - Nom",
        "address_line": "Client - Adresse 1 (facturation)",
        "postcode": "Client - Code postal (facturation)",
        "city": "Client - Ville (facturation)",
        "email": "Client - E-mail (facturation)",
        "phone": "Client - Téléphone fixe (facturation)",
        "text": "Client - Nom",
    },
}
#: And in a line of entries, which has no captions: the place of the cell.
_CELLS = {"journal": 2, "account": 3, "entry_label": 5, "text": 5, "piece": 6, "amount": 7}
_NUMBERS = ("amount", "quantity")


class EbpKit(FileKit):
    connector = EbpConnector
    page_rows = 500
    exempt: ClassVar[Mapping[str, str]] = {
        "K38 journal_entry": "labels of entries are unaccented capitals by the format's own rule, each and always",
    }

    def start(self) -> None:
        self.share = self.folder / "share"
        self.share.mkdir()
        self.desk = EbpSandbox(self.share, now=self.clock.now)
        self.count = 0

    def config(self) -> ConnectorConfig:
        default = DefaultCustomer(code="DIVERS", name="Divers", address="-", postcode="-", city="-", country="FR")
        return EbpConfig(folder=self.share, default_customer=default)

    # --- what the user does in EBP ----------------------------------------------------------------------------

    def create(self, entity: EntityName) -> str:
        made = self._add(entity)
        self.desk.export()
        return made

    def create_many(self, entity: EntityName, count: int) -> None:
        for _ in range(count):
            self._add(entity)
        self.desk.export()

    def _add(self, entity: EntityName) -> str:
        self.count += 1
        books = self.desk.books
        if entity is EntityName.CUSTOMER:
            code = f"CLI{self.count:06d}"
            books.customers[code] = {"Client - Nom": f"Épicerie {self.count}", "Client - Code Pays (facturation)": "FR"}
            return code
        code = f"ART{self.count:06d}"
        price = Decimal("10.00") + self.count
        books.catalogue.add(code, f"Bocal n° {self.count}", price, price * 2, Decimal(20), stock=Decimal(self.count))
        return code if entity is EntityName.ITEM else f"Principal/{code}"

    def edit(self, entity: EntityName, external_id: str) -> None:
        self.count += 1
        books = self.desk.books
        if entity is EntityName.CUSTOMER:
            books.change_customer(external_id, name=f"Épicerie changée {self.count}")
        elif entity is EntityName.ITEM:
            books.catalogue.set_price(external_id, net=Decimal(self.count), gross=Decimal(self.count))
        else:
            books.catalogue.set_stock(external_id.partition("/")[2], Decimal(self.count))
        self.desk.export()

    def delete(self, entity: EntityName, external_id: str) -> None:
        if entity is EntityName.CUSTOMER:
            del self.desk.books.customers[external_id]
        else:
            del self.desk.books.catalogue.items[external_id.rpartition("/")[2]]
        self.desk.export()

    def ids(self, entity: EntityName) -> set[str]:
        books = self.desk.books
        if entity is EntityName.CUSTOMER:
            return set(books.customers)
        place = "" if entity is EntityName.ITEM else "Principal/"
        return {f"{place}{code}" for code in books.catalogue.items}

    def exported(self, entity: EntityName) -> Path:
        return self.share / "export" / _FILES[entity]

    def key_column(self, entity: EntityName) -> str:
        return _KEY_COLUMNS[entity]

    def unplug(self) -> None:
        shutil.rmtree(self.share)

    # --- what the hub hands over ------------------------------------------------------------------------------

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        known = _CELLS if entity is EntityName.JOURNAL_ENTRY else _COLUMNS[entity]
        if not set(over) <= {*known, "currency"} or (entity is EntityName.CUSTOMER and "currency" in over):
            return None
        if entity is EntityName.CUSTOMER:
            return _card(n, over)
        if entity is EntityName.JOURNAL_ENTRY:
            return _entry(n, over)
        return _order(n, over) if entity is EntityName.ORDER else _refund(n, over)

    def refused(self, entity: EntityName) -> NewRecord:
        """EBP reads files later, so only the connector can refuse at once: what EBP would refuse or take wrongly."""
        if entity is EntityName.CUSTOMER:
            return NewRecord("SANSNOM", {"code": "SANSNOM", "name": "", "addresses": []})
        if entity is EntityName.JOURNAL_ENTRY:
            good = _entry(99, {})
            lines = [{**line, "amount": "1,00"} if n == 0 else line for n, line in enumerate(good.payload["lines"])]
            return NewRecord(good.natural_key, {**good.payload, "lines": lines})
        if entity is EntityName.REFUND:
            return NewRecord("AV-X", {**_refund(99, {}).payload, "number": "AV-X", "lines": [], "amount": "0,00"})
        return NewRecord("SANSLIGNE", {**_order(99, {}).payload, "number": "SANSLIGNE", "lines": [], "total": "0,00"})

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        if entity is EntityName.JOURNAL_ENTRY:
            return self._entries(natural_key)
        columns = _COLUMNS[entity]
        code = "Client - Code (tiers)" if entity is EntityName.CUSTOMER else "Document - Numéro du document"
        found = []
        for rows in self._files(f"{_STEMS[entity]}*.CSV", ";"):
            head, *body = rows
            seen: dict[str, dict[str, str]] = {}
            for row in body:
                cells = dict(zip(head, row, strict=True))
                seen.setdefault(cells[code], cells)
            found += [cells for name, cells in seen.items() if name == natural_key]
        return [
            {"id": natural_key, **{name: _read(name, cells, caption) for name, caption in columns.items()}}
            for cells in found
        ]

    def _entries(self, key: str) -> list[dict[str, Any]]:
        """One object for each file that holds lines of this entry; its entries are told by their date."""
        day = _day(int(key.rpartition("-")[2])).replace("/", "")
        found = []
        for rows in self._files("ECRITURES*.TXT", ","):
            lines = [row for row in rows if row[1] == day]
            if lines:
                own = next((row for row in lines if row[8] == "D"), lines[0])
                found.append({"id": key, **{name: _read(name, own, at) for name, at in _CELLS.items()}})
        return found

    def _files(self, pattern: str, sign: str) -> Iterable[list[list[str]]]:
        """The rows of each file that EBP would see, taken or not."""
        for folder in ("import", "compta", "taken"):
            for path in sorted((self.share / folder).glob(pattern)):
                text = path.read_bytes().decode("cp1252")
                yield list(csv.reader(text.splitlines(), delimiter=sign))

    def answer(self, entity: EntityName, natural_key: str, reason: str | None) -> None:
        if reason is None:
            return  # the next list names it; of cards and entries EBP names none
        name = natural_key
        if entity is EntityName.JOURNAL_ENTRY:
            name = str(self.stored(entity, natural_key)[0]["piece"])
        self.desk.books.refuse[name] = reason
        self.desk.step()


def _comma(value: Decimal) -> str:
    return format(value, "f").replace(".", ",")


def _read(name: str, cells: Any, place: Any) -> Any:
    if name == "address_line":
        return [cells[f"Client - Adresse {n} (facturation)"] for n in (1, 2, 3, 4)]
    return Decimal(cells[place].replace(",", ".")) if name in _NUMBERS else cells[place]


def _day(n: int) -> str:
    return f"{n % 28 + 1:02d}/{n // 28 % 12 + 1:02d}/{2026 + n // 336}"


def _line(over: Mapping[str, Any]) -> tuple[dict[str, Any], Decimal, Decimal]:
    """A line with its net and tax."""
    quantity = Decimal(over.get("quantity", 1))
    net = Decimal(over.get("amount", "12.50"))
    tax = (net / 5).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    taxes = [{"rate": "20", "base": _comma(net), "amount": _comma(tax), "scheme": "domestic", "collected_by": "seller"}]
    name = over.get("item_label", over.get("text", "Bocal"))
    line = {"sku": over.get("item_code", "BOCAL"), "name": name, "quantity": _comma(quantity), "net": _comma(net)}
    return {**line, "tax": _comma(tax), "taxes": taxes}, net, tax


def _order(n: int, over: Mapping[str, Any]) -> NewRecord:
    line, net, tax = _line(over)
    number = over.get("document_number", f"CMD-{n}")
    payload = {
        "number": number,
        "order_number": number,
        "ordered_on": "15/09/2026",
        "currency": over.get("currency", "EUR"),
        "customer_code": over.get("customer_code", f"W{n:05d}"),
        "vat_id": None,
        "email": "zoe@example.test",
        "phone": None,
        "billing": {
            "name": over.get("customer_name", "Zoé Lefèvre"),
            "lines": ["12 rue des Lilas"],
            "postcode": "75011",
            "city": "Paris",
            "country": "FR",
        },
        "shipping": None,
        "payments": [{"method": "card", "source_method": "stripe"}],
        "note": None,
        "lines": [line],
        "charges": [],
        "total": _comma(net + tax),
        "tax": _comma(tax),
    }
    return NewRecord(str(number), payload)


def _refund(n: int, over: Mapping[str, Any]) -> NewRecord:
    line, net, tax = _line(over)
    payload = {
        "number": f"AV-{n}",
        "order_number": f"CMD-{n}",
        "order_document": f"CMD-{n}",
        "refunded_on": "20/09/2026",
        "currency": over.get("currency", "EUR"),
        "amount": _comma(net + tax),
        "payment_method": "card",
        "lines": [line],
        "charges": [],
    }
    return NewRecord(f"AV-{n}", payload)


def _card(n: int, over: Mapping[str, Any]) -> NewRecord:
    code = over.get("customer_code", f"W{n:05d}")
    place = {
        "role": "billing",
        "lines": [over.get("address_line", "12 rue des Lilas")],
        "postcode": over.get("postcode", "75011"),
        "city": over.get("city", "Paris"),
        "country": "FR",
        "phone": over.get("phone"),
    }
    payload = {
        "code": code,
        "name": over.get("customer_name", over.get("text", "Zoé Lefèvre")),
        "email": over.get("email", "zoe@example.test"),
        "addresses": [place],
    }
    return NewRecord(str(code), payload)


def _entry(n: int, over: Mapping[str, Any]) -> NewRecord:
    amount = _comma(Decimal(over.get("amount", "12.50")))
    label = over.get("entry_label", over.get("text", f"Vente {n}"))
    debit = {"account": _account(over.get("account")), "account_label": "Clients web", "side": "D"}
    credit = {"account": "707100", "account_label": "Ventes", "side": "C"}
    payload = {
        "key": f"KIT-{n}",
        "kind": "sale",
        "journal": over.get("journal", "VT"),
        "piece": over.get("piece", f"P{n}"),
        "posted_on": _day(n),
        "label": label,
        "currency": over.get("currency", "EUR"),
        "lines": [{**line, "amount": amount, "label": label} for line in (debit, credit)],
    }
    return NewRecord(f"KIT-{n}", payload)


def _account(text: Any) -> str:
    """An account of as many characters: digits, of the class of customers."""
    return "411WEB" if text is None else f"411{'0' * len(text)}"[: len(text)]
