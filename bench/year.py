"""A merchant's year through the journal and every writer: what it takes, and whether the books still agree.

Each writer writes the year's journal month by month and its linter reads it again; the exchange file of the tax office
is one of the whole year, and is checked by the checker that shares no code with its writer. Each month's VAT sheet is
held against the balances of the accounts, and the account of each gateway and marketplace is explained.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comptoir.domain.fec import check_fec, check_fec_name
from comptoir.sdk import Company
from comptoir.sdk.journal.config import JournalConfig
from comptoir.sdk.journal.connector import JournalConnector
from comptoir.sdk.journal.entry import BookEntry, Tables, Terms
from comptoir.sdk.journal.formats import BookFormat, Setup
from comptoir.sdk.journal.linter import Faults, Sums, audit, sums_of
from comptoir.sdk.journal.profile import load_profile
from comptoir_cegid.connector import CegidConnector
from comptoir_ciel.connector import CielConnector
from comptoir_ebp.config import EbpConfig
from comptoir_ebp.entries import EcrituresFormat
from comptoir_fec.connector import FecConnector
from comptoir_sage.connector import SageConnector

from bench.controls import control
from bench.ledger import Spool, make_journal, months
from bench.measure import Cost, Differs, goal, run_child, say, table
from bench.trade import FIRST, LAST

__all__ = ["WRITERS", "digest", "run", "write"]

_ORDERS = 100_000
_COMPANY = Company("Maison Exemple", "FR", "EUR", siren="303265045")
#: Every shipped profile of entries; EBP's file has its settings in the connection.
WRITERS: dict[str, type[JournalConnector] | None] = {
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
    "ebp": None,
}
_HEADERS = {"sage.mecg": ("#FLG 000", "#VER 31", "#DEV EUR"), "cegid.tra": ("***BENCH",)}
#: Where a format knows third parties, the hub's 411WEB becomes the customer CWEB of 411000.
_COLLECTIVES = {"411": "411000", "401": "401000"}
#: Accounts that a format has no room for are never cut: the connection names them.
_SHORTER = {"cegid.quadra": {"401DUPONT": "401DUPO", "401MUELLER": "401MUEL"}}


def digest(rows: list[list[Any]]) -> str:
    """A short name of sums per account and month: equal sums, equal name."""
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=6).hexdigest()


class _Writer:
    """A format with its terms, and the sums of what it has written, counted beside it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.form, tables = _format(name, folder)
        self.terms: Terms = self.form.terms(tables, "EUR")
        self.sums: Sums = {}
        self.lines = 0

    def entries(self, payloads: Iterator[dict[str, Any]]) -> Iterator[BookEntry]:
        for payload in payloads:
            entry = self.terms.entry(payload, payload["key"])
            sums_of((entry,), one_column=self.form.one_column, into=self.sums)
            self.lines += len(entry.lines)
            yield entry


def _format(name: str, folder: Path, **changed: Any) -> tuple[BookFormat, Tables]:
    kind = WRITERS[name]
    if kind is None:
        config = EbpConfig(folder=folder)
        return EcrituresFormat(config, _COMPANY), config
    profile = load_profile(kind.package, name.partition(".")[2], Path())
    if changed:
        profile = profile.model_copy(update={"options": {**profile.options, **changed}})
    form: BookFormat = kind.formats[profile.format](profile, Setup(_COMPANY, _HEADERS.get(name, ())))
    tables = {"accounts": _SHORTER.get(name, {}), "collectives": {} if form.one_column else _COLLECTIVES}
    return form, JournalConfig.model_validate({"folder": str(folder), "profile": "x", **tables})


def write(name: str, folder: Path) -> dict[str, Any]:
    """Writes the year in `folder` by a writer and reads it again; CPU seconds, bytes, and the sums that were read.

    Raises Differs with the first fault that the linter, or the checker of the exchange file, finds.
    """
    writer, spool = _Writer(name, folder), Spool(folder)
    is_fec = name.startswith("fec.")
    # The exchange file is one of the year, its entries numbered through; others are handed over by month.
    periods = [(FIRST, LAST)] if is_fec else months()
    spent = {"write": 0.0, "lint": 0.0, "check": 0.0}
    files = size = 0
    read: Sums = {}
    for first, last in periods:
        writer.sums = {}
        path = folder / f"{name}.{first:%m}"
        began = time.process_time()
        with path.open("wb") as out:
            for chunk in writer.form.write(writer.form.place(writer.entries(spool.payloads(first, last)))):
                out.write(chunk)
        spent["write"] += time.process_time() - began
        began = time.process_time()
        faults = Faults()
        with path.open("rb") as file:
            found = audit(writer.form.read(file, faults), faults, writer.sums)
        spent["lint"] += time.process_time() - began
        if faults.found:
            raise Differs(f"{name}, {first:%Y-%m}: {faults.found[0]}")
        for key, (debit, credit) in found.items():
            known = read.get(key, (0, 0))
            read[key] = (known[0] + debit, known[1] + credit)
        if is_fec:
            began = time.process_time()
            _check_fec(name, path, folder, writer)
            spent["check"] += time.process_time() - began
        files += 1
        size += path.stat().st_size
        path.unlink()
    return {**spent, "files": files, "bytes": size, "lines": writer.lines, "sums": _in_the_hubs_words(name, read)}


def _in_the_hubs_words(name: str, sums: Sums) -> list[list[Any]]:
    """Sums under the hub's accounts, so that all writers can be compared: the customer CWEB of 411000 is 411WEB."""
    ours = {theirs: account for account, theirs in _SHORTER.get(name, {}).items()}
    return sorted(
        [f"{account[:3]}{third[1:]}" if third else ours.get(account, account), month, *cents]
        for (account, third, month), cents in sums.items()
    )


def _check_fec(name: str, path: Path, folder: Path, writer: _Writer) -> None:
    """The rules of the law over the file's bytes, and its name: the exchange one, and the legal one when asked for."""
    with path.open("rb") as file:
        found = check_fec(file, charset=writer.form.profile.charset)
    if found:
        raise Differs(f"{name}: {found[0]}")
    payload = next(Spool(folder).payloads())
    sample = [writer.terms.entry(payload, payload["key"])]
    for legal in (False, True):
        form, _ = _format(name, folder, legal_name=legal)
        (file_of_year,) = form.files(sample)
        wrong = check_fec_name(file_of_year.name, legal=legal)
        if wrong:
            raise Differs(f"{name}: {wrong[0]}")


def run(options: Namespace) -> None:
    """One process for the journal, one for the controls and one for each writer: memory is its own."""
    orders = options.asked_orders or _ORDERS
    rows: list[list[str]] = []
    digests: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        tenth, whole = Path(name) / "tenth", Path(name) / "year"
        for folder in (tenth, whole):
            folder.mkdir()
        small, _ = _child("journal", tenth, orders // 10)
        cost, facts = _child("journal", whole, orders)
        rows.append(["(the journal)", "", f"{cost.cpu:.1f}", "", "", f"{cost.rss:.0f}", f"{small.rss:.0f}", ""])
        of_tenth, _ = _child("control", tenth, 0)
        held, said = _child("control", whole, 0)
        rows.append(["(the controls)", "", f"{held.cpu:.1f}", "", "", f"{held.rss:.0f}", f"{of_tenth.rss:.0f}", ""])
        flat = cost.rss < small.rss * 1.5
        expected = digest(facts["sums"])
        for writer in WRITERS:
            lesser, _ = _child(writer, tenth, 0)
            taken, result = _child(writer, whole, 0)
            digests[writer] = digest(result["sums"])
            check = f" + {result['check']:.1f}" if result["check"] else ""
            rows.append(
                [
                    writer,
                    f"{result['files']}",
                    f"{result['write']:.1f}",
                    f"{result['lint']:.1f}{check}",
                    f"{result['bytes'] / 1e6:.0f}",
                    f"{taken.rss:.0f}",
                    f"{lesser.rss:.0f}",
                    digests[writer],
                ]
            )
    if set(digests.values()) != {expected}:
        raise Differs(f"sums per account and month: the journal has {expected}, the writers {digests}")
    table(
        f"year: {orders:,} orders, {facts['entries']:,} entries, {facts['lines']:,} lines, {facts['payouts']} payouts",
        ["", "files", "CPU s", "linter CPU s", "MB", "peak MiB", "at a tenth", "sums"],
        rows,
    )
    say(f"entries: {facts['kinds']}; of them {facts['flags']}")
    for provider, state in said["clearing"].items():
        say(f"account of {provider} at the end of the year: {state}")
    goal("sums per account and month are the journal's in every re-read file", True)
    goal("memory of the journal at ten times as many orders is less than 1.5 times as much", flat)


def _child(part: str, folder: Path, orders: int) -> tuple[Cost, dict[str, Any]]:
    cost, output = run_child([sys.executable, "-m", "bench.year", part, str(folder), str(orders)])
    return cost, json.loads(output)


def _main(part: str, folder: Path, orders: int) -> None:
    if part == "journal":
        print(json.dumps(make_journal(orders, folder)))
    elif part == "control":
        print(json.dumps(control(folder)))
    else:
        print(json.dumps(write(part, folder)))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
