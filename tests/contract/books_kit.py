"""The conformance kits of the connectors that write entry files; each program's stand-in reads what was written."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import Company, Connector, ConnectorConfig, EntityName
from comptoir.testing import FileKit, NewRecord
from comptoir.testing.books import AccountingProgram, BooksDesk, Posting
from comptoir_cegid.connector import CegidConnector
from comptoir_cegid.sandbox import CegidBooks
from comptoir_ciel.connector import CielConnector
from comptoir_ciel.sandbox import CielBooks
from comptoir_fec.connector import FecConnector
from comptoir_fec.sandbox import FecBooks
from comptoir_sage.connector import SageConnector
from comptoir_sage.sandbox import SageBooks

from tests.support.accounting import SAGE_EXPORT

_CAPITALS = {
    "K38": "labels of entries are unaccented capitals by the format's own rule (accounting-files §0); lost accents and "
    "replaced characters stand on the delivery, the change to capitals does not",
}
_NAMES = {"journal", "account", "piece", "entry_label", "text", "amount", "currency"}


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

    def _written(self) -> list[Path]:
        folders = [self.share / "compta", self.share / "imported", self.share / "ack" / "done"]
        return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]

    def _postings(self, path: Path) -> list[Posting]:
        return list(type(self).program().postings(path.name, path.read_bytes()))

    def answer(self, entity: EntityName, natural_key: str, reason: str | None) -> None:
        """Of a file with refused pieces the import report speaks, so what was taken is told together with them."""
        if reason is None:
            return
        self.desk.program.refuse[str(self.stored(entity, natural_key)[0]["piece"])] = reason
        self.desk.step()


class SageKit(BooksKit):
    connector: ClassVar[type[Connector]] = SageConnector
    program = functools.partial(SageBooks, whole_file=False)
    exempt = _CAPITALS


class CielKit(BooksKit):
    connector: ClassVar[type[Connector]] = CielConnector
    program = CielBooks
    exempt = _CAPITALS


class CegidKit(BooksKit):
    connector: ClassVar[type[Connector]] = CegidConnector
    program = CegidBooks
    exempt = _CAPITALS


class FecKit(BooksKit):
    connector: ClassVar[type[Connector]] = FecConnector
    program = FecBooks


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
