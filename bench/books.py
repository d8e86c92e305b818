"""What each writer of journal entries takes for the entries of a hundred thousand orders, written as they come."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from comptoir.sdk import Company
from comptoir.sdk.journal.config import JournalConfig
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.entry import BookEntry, Terms
from comptoir.sdk.journal.formats import BookFormat, Setup
from comptoir.sdk.journal.linter import Faults, Sums, audit, sums_of
from comptoir.sdk.journal.profile import load_profile
from comptoir_cegid.connector import CegidConnector
from comptoir_ciel.connector import CielConnector
from comptoir_fec.connector import FecConnector
from comptoir_sage.connector import SageConnector

from bench.measure import Cost, Differs, goal, run_child, say, table

__all__ = ["run"]

_ORDERS = 100_000
_SEED = 20260915
_PROFILES: dict[str, type[JournalConnector]] = {
    "sage.mecg": SageConnector,
    "sage.pnm": SageConnector,
    "sage.columns_sage": SageConnector,
    "ciel.ximport": CielConnector,
    "ciel.rimport": CielConnector,
    "cegid.quadra": CegidConnector,
    "cegid.tra": CegidConnector,
    "cegid.csv": CegidConnector,
    "fec.exchange": FecConnector,
}
#: XIMPORT numbers at most 99,999 movements a file.
_MOST = {"ciel.ximport": 90_000}
_HEADERS = {"sage.mecg": ("#FLG 000", "#VER 31", "#DEV EUR"), "cegid.tra": ("***BENCH",)}
_FIRST = date(2026, 1, 1)
_CHANNELS = (("CWEB", "411WEB", "01WEB"), ("CAMZ", "411AMZ", "01AMZ"))


def run(options: Namespace) -> None:
    """One process for each writer: memory is its own."""
    del options
    rows: list[list[str]] = []
    sums: dict[str, str] = {}
    flat = True
    lines = 0
    with tempfile.TemporaryDirectory() as folder:
        _child("payloads", 1000, Path(folder))  # compiles the modules
        base, _ = _child("payloads", _ORDERS, Path(folder))
        rows.append(["(the payloads alone)", "", f"{base.cpu:.1f}", "", "", f"{base.rss:.0f}", ""])
        for profile in _PROFILES:
            small, _ = _child(profile, _ORDERS // 10, Path(folder))
            cost, facts = _child(profile, _ORDERS, Path(folder))
            sums[profile], lines = facts["sums"], facts["lines"]
            flat = flat and (profile == "cegid.quadra" or cost.rss < small.rss * 2.5)
            rows.append(
                [
                    profile,
                    f"{facts['files']}",
                    f"{facts['write']:.1f}",
                    f"{facts['lint']:.1f}",
                    f"{facts['bytes'] / 1e6:.0f}",
                    f"{cost.rss:.0f}",
                    f"{small.rss:.0f}",
                ]
            )
    if len(set(sums.values())) != 1:
        raise Differs(f"sums per account and month: {sums}")
    table(
        f"books: {2 * _ORDERS:,} entries, {lines:,} lines; sums per account and month are equal",
        ["writer", "files", "write CPU s", "linter CPU s", "MB", "peak MiB", "at a tenth"],
        rows,
    )
    say("cegid.quadra keeps the entries of a file: its account records come first (`accounts_first`).")
    goal("memory at ten times as many entries is less than 2.5 times as much (all but cegid.quadra)", flat)


def _child(profile: str, orders: int, folder: Path) -> tuple[Cost, dict[str, Any]]:
    cost, output = run_child([sys.executable, "-m", "bench.books", profile, str(orders), str(folder)])
    return cost, json.loads(output)


def payloads(orders: int) -> Iterator[dict[str, Any]]:
    """A year of sales and payments: two channels, one to three lines of goods at two rates, shipping."""
    draw = random.Random(_SEED)
    for number in range(orders):
        channel = draw.randrange(2)
        third = _CHANNELS[channel][0]
        day = _FIRST + timedelta(days=number * 365 // orders)
        goods = [(draw.choice(("707100", "707200")), draw.randrange(100, 20_000)) for _ in range(draw.randrange(1, 4))]
        net: dict[str, int] = {"708500": 408}
        for account, cents in goods:
            net[account] = net.get(account, 0) + cents
        vat = {"445711": 0, "445712": 0}
        for account, cents in net.items():
            rate = 55 if account == "707200" else 200
            vat["445712" if rate == 55 else "445711"] += (cents * rate + 500) // 1000
        credit = {**net, **{account: cents for account, cents in vat.items() if cents}}
        total = sum(credit.values())
        label = f"Vente {('boutique', 'Amazon')[channel]} {100_000 + number}"
        piece = f"{'WA'[channel]}{100_000 + number}"
        sale = [_line("411000", third, "D", total, label), *(_line(a, None, "C", c, label) for a, c in credit.items())]
        yield _entry(f"{piece}/sale", "sale", "VE", piece, day, label, sale)
        paid = [_line("5171", None, "D", total, label), _line("411000", third, "C", total, label)]
        yield _entry(f"{piece}/payment/1", "payment", "BQ", f"{piece}R", day, label, paid)


def _entry(key: str, kind: str, journal: str, piece: str, day: date, label: str, lines: list[Any]) -> dict[str, Any]:
    return {
        "key": key, "kind": kind, "journal": journal, "journal_label": "Ventes", "piece": piece,
        "posted_on": f"{day:%d/%m/%Y}", "document_on": None, "label": label, "reference": None, "invoice": None,
        "currency": "EUR", "lines": lines,
    }  # fmt: skip


def _line(account: str, third: str | None, side: str, cents: int, label: str) -> dict[str, Any]:
    return {
        "account": account, "account_label": f"Compte {account}", "third_party": third,
        "third_party_label": "Clients web" if third else None, "label": label, "side": side,
        "amount": f"{cents // 100},{cents % 100:02d}", "due_on": None, "payment_method": None, "analytic": [],
    }  # fmt: skip


class _Writer:
    """A profile's format, its terms, and the sums of what it has written, counted beside it."""

    def __init__(self, profile: str) -> None:
        kind = _PROFILES[profile]
        loaded = load_profile(kind.package, profile.partition(".")[2], Path())
        company = Company("Maison Exemple", "FR", "EUR", siren="303265045")
        self.format: BookFormat = kind.formats[loaded.format](loaded, Setup(company, _HEADERS.get(profile, ())))
        column = 2 if profile == "cegid.quadra" else 1
        thirds = {names[0]: names[column] for names in _CHANNELS} if self.format.one_column else {}
        config = JournalConfig.model_validate({"folder": "books", "profile": "x", "third_parties": thirds})
        self.terms = Terms(
            loaded,
            config,
            currency="EUR",
            one_column=self.format.one_column,
            third_is_account=self.format.third_is_account,
        )
        self.hub = {theirs: ours for ours, theirs in thirds.items()}
        self.sums: Sums = {}
        self.lines = 0

    def entries(self, source: Iterator[dict[str, Any]]) -> Iterator[BookEntry]:
        """Entries as they come; their sums are added up on the way."""
        for payload in source:
            entry = self.terms.entry(payload, payload["key"])
            sums_of((entry,), one_column=self.format.one_column, into=self.sums)
            self.lines += len(entry.lines)
            yield entry

    def in_the_hubs_words(self, sums: Sums) -> list[Any]:
        """Sums under the hub's third parties, so that all writers can be compared."""
        return sorted(
            (self.hub.get(third or account, third or account), month, *value)
            for (account, third, month), value in sums.items()
        )


def _main(profile: str, orders: int, folder: Path) -> None:
    source = payloads(orders)
    if profile == "payloads":
        print(json.dumps({"lines": sum(len(payload["lines"]) for payload in source)}))
        return
    writer = _Writer(profile)
    entries = writer.entries(source)
    spent = {"write": 0.0, "lint": 0.0}
    files = size = 0
    read: Sums = {}
    left = 2 * orders
    while left:
        count = min(left, _MOST.get(profile, left))
        left -= count
        path = folder / f"{profile}.{files}"
        before: Sums = dict(writer.sums)
        began = time.process_time()
        with path.open("wb") as out:
            for chunk in writer.format.write(writer.format.place(next(entries) for _ in range(count))):
                out.write(chunk)
        spent["write"] += time.process_time() - began
        began = time.process_time()
        faults = Faults()
        with path.open("rb") as file:
            found = audit(writer.format.read(file, faults), faults, _less(writer.sums, before))
        spent["lint"] += time.process_time() - began
        if faults.found:
            raise Differs(faults.found[0])
        for key, (debit, credit) in found.items():
            known = read.get(key, (0, 0))
            read[key] = (known[0] + debit, known[1] + credit)
        files += 1
        size += path.stat().st_size
        path.unlink()
    sums = json.dumps(writer.in_the_hubs_words(read))
    print(json.dumps({**spent, "files": files, "bytes": size, "lines": writer.lines, "sums": sums}))


def _less(now: Sums, before: Sums) -> Sums:
    """What was added since; accounts that did not move are left out."""
    found: Sums = {}
    for key, (debit, credit) in now.items():
        old = before.get(key, (0, 0))
        if (debit, credit) != old:
            found[key] = (debit - old[0], credit - old[1])
    return found


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
