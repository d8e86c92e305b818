"""The conformance kits of the connectors that write entry files; each program's stand-in reads what was written."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import Company, Connector, ConnectorConfig, EntityName
from comptoir.testing import FileKit, NewRecord
from comptoir.testing.books import AccountingProgram, BooksDesk, Posting
from comptoir.testing.sales import SalesDesk, SalesProgram
from comptoir_cegid.connector import CegidConnector
from comptoir_cegid.sandbox import CegidBooks
from comptoir_ciel.connector import CielConnector
from comptoir_ciel.sandbox import CielBooks, CielGescom
from comptoir_fec.connector import FecConnector
from comptoir_fec.sandbox import FecBooks
from comptoir_sage.connector import SageConnector
from comptoir_sage.sandbox import SageBooks, SageGescom

from tests.contract.lists_kit import CielListsKit, SageExportsKit, SageResultsKit
from tests.support.accounting import SAGE_EXPORT
from tests.support.orders import CARD_EXPORT, GESCOM_EXPORT

_CAPITALS = {
    "K38 journal_entry": "labels of entries are unaccented capitals by the format's own rule (accounting-files §0); "
    "lost accents and replaced characters stand on the delivery, the change to capitals does not"
}
_NAMES = {"journal", "account", "piece", "entry_label", "text", "amount", "currency"}
_ORDER_NAMES = {
    "document_number", "customer_code", "item_code", "item_label", "text", "amount", "quantity", "currency",
}  # fmt: skip
_SALES_NAMES = {
    EntityName.ORDER: _ORDER_NAMES,
    EntityName.REFUND: {"item_code", "item_label", "text", "amount", "quantity", "currency"},
    EntityName.CUSTOMER: {"customer_code", "customer_name", "postcode", "city", "text"},
}
_STEMS = {EntityName.ORDER: "COMMANDES", EntityName.REFUND: "AVOIRS", EntityName.CUSTOMER: "CLIENTS"}


class BooksKit(FileKit):
    """One folder, its program and the person who imports."""

    program: ClassVar[Callable[[], AccountingProgram]]

    def start(self) -> None:
        self.share = self.folder / "share"
        self.share.mkdir()
        (self.folder / "export.txt").write_bytes(SAGE_EXPORT)
        self.desk = BooksDesk(self.share, type(self).program())

    def config(self) -> ConnectorConfig:
        settings: dict[str, Any] = {"folder": self.share}
        if self.connector is SageConnector:
            settings["header_from"] = self.folder / "export.txt"
        return self.connector.config_model.model_validate(settings)

    def company(self) -> Company:
        return Company(name="Maison Exemple", country="FR", currency="EUR", siren="303265045")

    def unplug(self) -> None:
        shutil.rmtree(self.share)

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        return _entry(n, over) if set(over) <= _NAMES else None

    def refused(self, entity: EntityName) -> NewRecord:
        """Programs read files later, so only the connector can refuse at once: what they all refuse."""
        good = _entry(99, {})
        lines = [{**line, "amount": "1,00"} if n == 0 else line for n, line in enumerate(good.payload["lines"])]
        return NewRecord(good.natural_key, {**good.payload, "lines": lines})

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        """One object for each file that holds the entry; entries are told by their day."""
        day = _day(int(natural_key.rpartition("-")[2]))
        found = []
        for path in self._written():
            lines = [p for p in self._postings(path) if f"{p.day:%d/%m/%Y}" == day]
            if lines:
                line = next(p for p in lines if p.side == "D")
                found.append(
                    {
                        "id": natural_key,
                        "journal": line.journal,
                        "account": line.account,
                        "piece": line.piece,
                        "entry_label": line.label,
                        "text": line.label,
                        "amount": Decimal(line.cents).scaleb(-2),
                    }
                )
        return found

    def _written(self, folder: str = "compta") -> list[Path]:
        """The files that were handed over in a folder, taken or not; those of orders are told by their names."""
        folders = [self.share / folder, self.share / "imported", self.share / "ack" / "done"]
        found = [path for place in folders if place.is_dir() for path in sorted(place.iterdir()) if path.is_file()]
        sales = folder == "gescom"
        stems = tuple(_STEMS.values())
        return [path for path in found if path.suffix != ".csv" and path.name.startswith(stems) == sales]

    def _postings(self, path: Path) -> list[Posting]:
        return list(type(self).program().postings(path.name, path.read_bytes()))

    def answer(self, entity: EntityName, natural_key: str, reason: str | None) -> None:
        """Of a file with refused pieces the import report speaks, so what was taken is told together with them."""
        if reason is None:
            return
        self.desk.program.refuse[str(self.stored(entity, natural_key)[0]["piece"])] = reason
        self.desk.step()


class BackOfficeKit(BooksKit):
    """A program that also takes web orders."""

    sales: ClassVar[Callable[[], SalesProgram]]
    order_profile: ClassVar[str] = ""

    def start(self) -> None:
        super().start()
        (self.folder / "gescom.txt").write_bytes(GESCOM_EXPORT)
        (self.folder / "client.txt").write_bytes(CARD_EXPORT)
        self.orders = SalesDesk(self.share, type(self).sales())

    def config(self) -> ConnectorConfig:
        settings: dict[str, Any] = {"order_profile": type(self).order_profile, "default_customer": "WEBDIVERS"}
        if self.connector is SageConnector:
            settings["gescom_from"] = self.folder / "gescom.txt"
            settings["customer_from"] = self.folder / "client.txt"
        return super().config().model_copy(update=settings)

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        if entity is EntityName.JOURNAL_ENTRY:
            return super().record(entity, n, over)
        if not set(over) <= _SALES_NAMES[entity]:
            return None
        return {EntityName.ORDER: _order, EntityName.REFUND: _refund, EntityName.CUSTOMER: _card}[entity](n, over)

    def refused(self, entity: EntityName) -> NewRecord:
        """The back office refuses later, so only the connector can refuse at once: an order without lines."""
        if entity is EntityName.JOURNAL_ENTRY:
            return super().refused(entity)
        if entity is EntityName.CUSTOMER:
            return NewRecord("SANSNOM", {**_card(99, {}).payload, "code": "SANSNOM", "name": "", "addresses": []})
        if entity is EntityName.REFUND:
            return NewRecord("AV-X", {**_refund(99, {}).payload, "number": "AV-X", "lines": [], "amount": "0,00"})
        return NewRecord("SANSLIGNE", {**_order(99, {}).payload, "number": "SANSLIGNE", "lines": [], "total": "0,00"})

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        if entity is EntityName.JOURNAL_ENTRY:
            return super().stored(entity, natural_key)
        files = [path for path in self._written("gescom") if path.name.startswith(_STEMS[entity])]
        if entity is EntityName.CUSTOMER:
            return [
                {
                    "id": natural_key,
                    "customer_code": card.code,
                    "customer_name": card.name,
                    "postcode": card.postcode,
                    "city": card.city,
                    "text": card.name,
                }
                for path in files
                for card in type(self).sales().customer_cards(path.name, path.read_bytes())
                if card.code == natural_key
            ]
        return [
            {
                "id": natural_key,
                "document_number": document.web,
                "customer_code": document.customer,
                "item_code": document.lines[0].item,
                "item_label": document.lines[0].label,
                "text": document.lines[0].label,
                "amount": document.lines[0].price,
                "quantity": document.lines[0].quantity,
            }
            for path in files
            for document in type(self).sales().orders(path.name, path.read_bytes())
            if document.web == natural_key
        ]

    def answer(self, entity: EntityName, natural_key: str, reason: str | None) -> None:
        if entity is EntityName.JOURNAL_ENTRY:
            super().answer(entity, natural_key, reason)
        elif reason is not None:
            self.orders.program.refuse[natural_key] = reason
            self.orders.step()


class SageKit(SageResultsKit, BackOfficeKit):
    connector: ClassVar[type[Connector]] = SageConnector
    program = functools.partial(SageBooks, whole_file=False)
    sales = SageGescom
    exempt = _CAPITALS


class SageRowsKit(SageExportsKit, SageKit):
    """The same with orders in rows for a user-defined format."""

    order_profile = "rows"


class CielKit(CielListsKit, BackOfficeKit):
    connector: ClassVar[type[Connector]] = CielConnector
    program = CielBooks
    sales = CielGescom
    exempt = _CAPITALS


class CegidKit(BooksKit):
    connector: ClassVar[type[Connector]] = CegidConnector
    program = CegidBooks
    exempt = _CAPITALS


class FecKit(BooksKit):
    connector: ClassVar[type[Connector]] = FecConnector
    program = FecBooks


def _comma(value: Decimal) -> str:
    return format(value, "f").replace(".", ",")


def _order(n: int, over: Mapping[str, Any]) -> NewRecord:
    quantity, net = Decimal(over.get("quantity", 1)), Decimal(over.get("amount", "12.50"))
    tax = (net / 5).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    number = over.get("document_number", f"CMD-{n}")
    line = {
        "sku": over.get("item_code", "BOCAL"),
        "name": over.get("item_label", over.get("text", "Bocal")),
        "quantity": _comma(quantity),
        "net": _comma(net),
        "tax": _comma(tax),
        "taxes": [
            {"rate": "20", "base": _comma(net), "amount": _comma(tax), "scheme": "domestic", "collected_by": "seller"}
        ],
    }
    address = {"name": "Zoé Lefèvre", "lines": ["12 rue des Lilas"], "postcode": "75011", "city": "Paris"}
    payload = {
        "number": number,
        "order_number": str(n),
        "channel": "web",
        "ordered_on": "15/09/2026",
        "currency": over.get("currency", "EUR"),
        "customer_code": over.get("customer_code", f"W{n:05d}"),
        "vat_id": None,
        "email": "zoe@example.test",
        "phone": None,
        "billing": {**address, "country": "FR"},
        "shipping": None,
        "payments": [{"method": "card", "source_method": "stripe", "amount": _comma(net + tax)}],
        "note": None,
        "lines": [line],
        "charges": [],
        "total": _comma(net + tax),
        "tax": _comma(tax),
    }
    return NewRecord(str(number), payload)


def _refund(n: int, over: Mapping[str, Any]) -> NewRecord:
    order = _order(n, over).payload
    payload = {
        "number": f"AV-{n}",
        "refund_number": str(n),
        "order_number": order["order_number"],
        "order_document": order["number"],
        "refunded_on": "20/09/2026",
        "currency": order["currency"],
        "amount": order["total"],
        "payment_method": "card",
        "lines": order["lines"],
        "charges": [],
    }
    return NewRecord(f"AV-{n}", payload)


def _card(n: int, over: Mapping[str, Any]) -> NewRecord:
    code = over.get("customer_code", f"W{n:05d}")
    address = {"role": "billing", "name": "Zoé Lefèvre", "lines": ["12 rue des Lilas"], "country": "FR"}
    place = {"postcode": over.get("postcode", "75011"), "city": over.get("city", "Paris")}
    payload = {
        "code": code,
        "name": over.get("customer_name", over.get("text", "Zoé Lefèvre")),
        "first_name": None,
        "last_name": None,
        "email": "zoe@example.test",
        "phone": "+33601020304",
        "vat_id": None,
        "siren": None,
        "addresses": [{**address, **place, "phone": None, "email": None}],
    }
    return NewRecord(str(code), payload)


def _day(n: int) -> str:
    return f"{n % 28 + 1:02d}/{n // 28 % 12 + 1:02d}/{2026 + n // 336}"


def _entry(n: int, over: Mapping[str, Any]) -> NewRecord:
    amount = format(Decimal(over.get("amount", "12.50")), "f").replace(".", ",")
    label = over.get("entry_label", over.get("text", f"VENTE {n}"))
    account = over.get("account")
    debit = "411000" if account is None else f"411{'0' * len(account)}"[: len(account)]
    shared = {
        "label": label, "amount": amount, "third_party": None, "third_party_label": None, "due_on": None,
        "payment_method": None, "analytic": [],
    }  # fmt: skip
    payload = {
        "key": f"KIT-{n}",
        "kind": "sale",
        "journal": over.get("journal", "VE"),
        "journal_label": "VENTES",
        "piece": over.get("piece", f"P{n}"),
        "posted_on": _day(n),
        "document_on": None,
        "label": label,
        "reference": None,
        "invoice": None,
        "currency": over.get("currency", "EUR"),
        "lines": [
            {"account": debit, "account_label": "CLIENTS", "side": "D", **shared},
            {"account": "707100", "account_label": "VENTES", "side": "C", **shared},
        ],
    }
    return NewRecord(f"KIT-{n}", payload)
