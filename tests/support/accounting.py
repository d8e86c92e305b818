"""Journals for tests of the writers: the specification's worked example, Dolibarr's input, random ones; one connection.

Run as a program it writes the golden files of the worked example.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import orjson

from comptoir.mapping import load_mapping
from comptoir.model.accounting import AnalyticShare, EntryKind, JournalEntry, JournalLine, Side
from comptoir.model.order import PaymentMethod
from comptoir.model.refs import EntityName
from comptoir.paths import mappings_dir
from comptoir.sdk import (
    Company,
    ConnectorContext,
    Credentials,
    HttpClient,
    PushBatch,
    PushOp,
    PushResult,
    Random,
    Tasks,
)
from comptoir.sdk.journal.config import JournalConfig
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.disk import Disk
from comptoir.sdk.journal.entry import BookEntry, Terms
from comptoir.sdk.journal.formats import BookFormat, written
from comptoir.testing.fakes import FakeClock
from comptoir_cegid.connector import CegidConnector
from comptoir_ciel.connector import CielConnector
from comptoir_fec.connector import FecConnector
from comptoir_sage.connector import SageConnector

DATA = Path(__file__).parents[1] / "data" / "accounting"
#: Every shipped profile: connector, and what its file of the worked example is called in `golden/`.
PROFILES: dict[str, type[JournalConnector]] = {
    "sage.mecg": SageConnector,
    "sage.pnm": SageConnector,
    "sage.columns_sage": SageConnector,
    "sage.columns_gestimum": SageConnector,
    "sage.columns_semicolon": SageConnector,
    "ciel.ximport": CielConnector,
    "ciel.rimport": CielConnector,
    "cegid.quadra": CegidConnector,
    "cegid.tra": CegidConnector,
    "cegid.csv": CegidConnector,
    "fec.exchange": FecConnector,
    "fec.exchange_latin9": FecConnector,
}
#: Third parties of the examples as folders with one account column call them.
THIRDS = {
    "ciel": {"CMARTIN": "411MARTIN", "CDUPONT": "411DUPONT", "CLEFEVRE": "411LEFEVRE", "FABRIQUE": "401FABRIQUE"},
    "cegid.quadra": {"CMARTIN": "01MARTIN", "CDUPONT": "01DUPONT", "CLEFEVRE": "01LEFEVR", "FABRIQUE": "08FABRIQ"},
}
SAGE_EXPORT = b"#FLG 000\r\n#VER 31\r\n#DEV EUR\r\n#MPLG\r\n411000\r\n#FIN\r\n"
TRA_EXPORT = b"***S5EXPJRLSTD EXERCICE 2026\r\n"
TITLES = {
    "411000": "Clients",
    "707100": "Ventes 20",
    "707200": "Ventes 5.5",
    "708500": "Ports facturés",
    "445711": "TVA collectée 20",
    "445712": "TVA collectée 5.5",
    "512000": "Banque",
}
NAMES = {"CMARTIN": "Martin SARL", "CDUPONT": "Dupont Jean"}


def an_entry(
    kind: str, piece: str, journal: tuple[str, str], posted: date, label: str, *lines: tuple[str, str, str], **more: Any
) -> JournalEntry:
    """An entry; a line is (side, ACCOUNT or ACCOUNT/THIRD, amount), and third parties pay by card on the day."""
    made = []
    for side, place, amount in lines:
        account, _, third = place.partition("/")
        made.append(
            JournalLine(
                account=account,
                account_label=TITLES.get(account, account),
                third_party=third or None,
                third_party_label=NAMES.get(third) if third else None,
                label=label,
                side=Side(side),
                amount=Decimal(amount),
                due_on=posted if third else None,
                payment_method=PaymentMethod.CARD if third else None,
            )
        )
    return JournalEntry(
        key=f"web/{piece}",
        kind=EntryKind(kind),
        journal=journal[0],
        journal_label=journal[1],
        piece=piece,
        posted_on=posted,
        label=label,
        currency="EUR",
        channel="web",
        document=piece,
        lines=tuple(made),
        **more,
    )


_VE, _BQ = ("VE", "Ventes"), ("BQ", "Banque")
_M, _D = "411000/CMARTIN", "411000/CDUPONT"
#: accounting-files §0, folder "MA BOUTIQUE SARL".
WORKED_EXAMPLE = [
    an_entry(
        "sale", "FA1001", _VE, date(2026, 9, 15), "FA1001 Martin SARL",
        ("D", _M, "120"), ("C", "707100", "100"), ("C", "445711", "20"),
    ),
    an_entry(
        "sale", "FA1002", _VE, date(2026, 9, 16), "FA1002 Dupont Jean",
        ("D", _D, "87.10"), ("C", "707100", "50"), ("C", "707200", "20"), ("C", "708500", "5"), ("C", "445711", "11"),
        ("C", "445712", "1.10"),
    ),
    an_entry(
        "payment", "RG1001", _BQ, date(2026, 9, 18), "CB FA1001 Martin SARL", ("D", "512000", "120"), ("C", _M, "120")
    ),
    an_entry(
        "credit_note", "AV1003", _VE, date(2026, 9, 20), "AV1003 Martin SARL",
        ("D", "707100", "50"), ("D", "445711", "10"), ("C", _M, "60"),
    ),
    an_entry(
        "refund_payment", "RB1003", _BQ, date(2026, 9, 21), "Remb AV1003 Martin SARL",
        ("D", _M, "60"), ("C", "512000", "60"),
    ),
]  # fmt: skip


def dolibarr_entries() -> list[JournalEntry]:
    """The six pieces of Dolibarr's input, in its order."""
    rows = json.loads((DATA / "dolibarr" / "input-entries.json").read_text("utf-8"))
    kinds = {"VT": "sale", "AC": "purchase", "BQ": "payment", "OD": "till"}
    pieces: dict[str, list[Any]] = {}
    for row in rows:
        pieces.setdefault(row["piece_num"], []).append(row)
    entries = []
    for number, lines in pieces.items():
        head = lines[0]
        kind = "credit_note" if head["doc_ref"].startswith("AV") else kinds[head["code_journal"]]
        entries.append(
            JournalEntry(
                key=f"dolibarr/{number}",
                kind=EntryKind(kind),
                journal=head["code_journal"],
                journal_label=head["journal_label"],
                piece=head["doc_ref"],
                posted_on=date.fromisoformat(head["doc_date"]),
                label=head["label_operation"],
                currency="EUR",
                channel="dolibarr",
                document=head["doc_ref"],
                document_on=date.fromisoformat(head["date_creation"][:10]),
                lines=tuple(
                    JournalLine(
                        account=row["numero_compte"],
                        account_label=row["label_compte"],
                        third_party=row["subledger_account"],
                        third_party_label=row["subledger_label"],
                        label=row["label_operation"],
                        side=Side(row["sens"]),
                        amount=Decimal(row["montant"]),
                        due_on=_due(row),
                    )
                    for row in lines
                ),
            )
        )
    return entries


def _due(row: Mapping[str, str | None]) -> date | None:
    given = row["date_lim_reglement"]
    return date.fromisoformat(given[:10]) if given and row["subledger_account"] else None


def random_journal(seed: int, count: int = 40) -> list[JournalEntry]:
    """Balanced entries over several months and accounts, with labels of all kinds; the same seed, the same journal."""
    draw = random.Random(seed)
    accounts = ["707100", "707200", "708500", "445711", "445712", "512000", "658", "758", "5171", "4191"]
    thirds = [f"C{n:03d}" for n in range(6)]
    labels = [
        "Vente web {n}",
        "Épicerie fine 🍫 {n}",
        "Łódź & Straße; «{n}»",
        "x" * 150 + "{n}",
        "=SUM(A1) {n}",
        "VENTE {n}",
    ]
    entries = []
    for number in range(count):
        posted = date(2026, 1, 1) + timedelta(days=draw.randrange(365))
        rest = draw.choice([1, 99, draw.randrange(1, 10**4), draw.randrange(1, 10**9)])
        total = rest
        lines: list[JournalLine] = []
        side, other = draw.choice([(Side.DEBIT, Side.CREDIT), (Side.CREDIT, Side.DEBIT)])
        label = draw.choice(labels).format(n=number)
        while rest:
            part = rest if len(lines) > 6 else draw.randrange(1, rest + 1)
            rest -= part
            lines.append(_random_line(draw.choice(accounts), None, label, other, part, None, draw))
        third = draw.choice(thirds)
        lines.insert(draw.randrange(len(lines) + 1), _random_line("411000", third, label, side, total, posted, draw))
        kind = draw.choice(list(EntryKind))
        entries.append(
            JournalEntry(
                key=f"shop/{number}/{kind.value}",
                kind=kind,
                journal=draw.choice(["VE", "BQ", "OD"]),
                journal_label="Journal",
                piece=f"{draw.choice(['WEB-', 'é', ''])}{number // 2:0{draw.choice([4, 30])}d}",
                posted_on=posted,
                label=label,
                currency="EUR",
                channel="shop",
                document=str(number),
                lines=tuple(lines),
            )
        )
    return entries


def _random_line(
    account: str, third: str | None, label: str, side: Side, cents: int, due: date | None, draw: random.Random
) -> JournalLine:
    amount = Decimal(cents).scaleb(-2)
    split = account.startswith("7") and draw.random() < 0.3
    return JournalLine(
        account=account,
        account_label=f"Compte {account} €",
        third_party=third,
        third_party_label="Zoé 🌸 Lefèvre" if third else None,
        label=label,
        side=side,
        amount=amount,
        due_on=due,
        payment_method=PaymentMethod.TRANSFER if third else None,
        analytic=(AnalyticShare(plan="1", section="WEB", amount=amount),) if split else (),
    )


class Office:
    """One connection to an accounting program below `base`; `connector()` makes a fresh process of the hub."""

    def __init__(self, base: Path, profile: str, *, own: str | None = None, **settings: Any) -> None:
        self.base = base
        self.kind = PROFILES[profile]
        self.key, _, name = profile.partition(".")
        self.folder = base / "books"
        (base / "export.txt").write_bytes(TRA_EXPORT if profile == "cegid.tra" else SAGE_EXPORT)
        usual: dict[str, Any] = {"folder": Path("books"), "profile": own or name}
        if profile in ("sage.mecg", "cegid.tra"):
            usual["header_from"] = Path("export.txt")
        thirds = THIRDS.get(profile, THIRDS.get(self.key))
        if thirds:
            usual["third_parties"] = thirds
        self.config = cast(JournalConfig, self.kind.config_model.model_validate({**usual, **settings}))
        self._mapping = load_mapping(self.key, "journal_entry", "out", [mappings_dir()])
        self._batches = 0

    def connector(self, disk: Disk | None = None, company: Company | None = None) -> JournalConnector:
        context = ConnectorContext(
            connection="compta",
            http=cast(HttpClient, None),
            credentials=Credentials(),
            clock=FakeClock(),
            random=cast(Random, None),
            tasks=cast(Tasks, None),
            company=company or Company("Ma Boutique SARL", "FR", "EUR", siren="123456782"),
            base_dir=self.base,
            logger=logging.getLogger("test.books"),
        )
        return self.kind(self.config, context, disk=disk)

    def payload(self, entry: JournalEntry) -> dict[str, Any]:
        return self._mapping.apply(entry, {})

    def op(self, entry: JournalEntry, **over: Any) -> PushOp:
        payload = self.payload(entry) | over
        digest = hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return PushOp(f"d-{payload['key']}", EntityName.JOURNAL_ENTRY, "create", str(payload["key"]), payload, digest)

    def batch(self, *entries: JournalEntry | PushOp, id: str | None = None) -> PushBatch:
        ops = [e if isinstance(e, PushOp) else self.op(e) for e in entries]
        self._batches += 1
        return PushBatch(id or f"batch-{self._batches}", EntityName.JOURNAL_ENTRY, ops)

    def push(self, *entries: JournalEntry | PushOp, id: str | None = None) -> Sequence[PushResult]:
        return self.connector().push(self.batch(*entries, id=id))

    def published(self) -> dict[str, bytes]:
        folder = self.folder / "compta"
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir())} if folder.is_dir() else {}

    def book_format(self) -> BookFormat:
        return self.connector().book_format()

    def book_entries(self, entries: Sequence[JournalEntry]) -> list[BookEntry]:
        """The entries in the folder's words, without a hand-over."""
        made = self.book_format()
        terms = Terms(
            made.profile,
            self.config,
            currency="EUR",
            one_column=made.one_column,
            third_is_account=made.third_is_account,
        )
        return [terms.entry(self.payload(entry), entry.key) for entry in entries]

    def written(self, entries: Sequence[JournalEntry]) -> bytes:
        """One file of the entries; AssertionError when its linter finds anything."""
        made = self.book_format()
        (file,) = made.files(self.book_entries(entries))
        data, _, faults = written(made, file.entries)
        assert faults.found == []
        return data


def main() -> None:
    """Writes the golden files of the worked example."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for profile in PROFILES:
            office = Office(Path(folder), profile, first_number=1001)
            data = office.written(WORKED_EXAMPLE)
            (DATA / "golden" / f"{profile}.txt").write_bytes(data)
            print(f"{profile}: {len(data)} bytes")


if __name__ == "__main__":
    main()
