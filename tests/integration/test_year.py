"""A simulated merchant's year: the journal of 1,500 orders through every control and every writer.

The year of 100,000 orders is `python -m bench year`. Here is also shown that the controls see what is altered: a year
that agrees proves nothing when nothing could make it differ.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.domain.accounts import AccountMap
from comptoir.domain.periods import into_open_period, refuse_locked
from comptoir.errors import MappingError
from comptoir.mapping import load_mapping
from comptoir.model.accounting import JournalEntry
from comptoir.paths import mappings_dir

from bench import ledger, year
from bench.controls import control
from bench.ledger import Spool, books, make_journal
from bench.measure import Differs
from bench.trade import Day
from bench.year import WRITERS, digest, write

ORDERS = 1500


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("year")
    return folder, make_journal(ORDERS, folder)


def test_the_year_has_every_kind_of_document(made: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = made
    assert facts["orders"] == ORDERS and facts["payouts"] >= 50
    assert set(facts["kinds"]) == {
        "sale", "payment", "credit_note", "refund_payment", "till", "transfer", "cash_difference", "payout",
        "chargeback", "fee_vat", "purchase",
    }  # fmt: skip
    assert set(facts["flags"]) == {"rounding", "remainder", "late", "allocated_by_rule", "vat_outside_area"}
    codes = {line.vat_code for entry in Spool(folder).journal() for line in entry.lines if line.vat_code}
    assert codes >= {
        "domestic-FR-20", "domestic-FR-5.5", "domestic-dom-8.5", "domestic-corsica-2.1", "dom", "export", "intra_eu",
        "marketplace", "oss-DE-19", "oss-IT-22", "purchase-reverse_charge", "purchase-intra_eu_goods", "fees-domestic",
    }  # fmt: skip
    accounts = {account for account, *_ in facts["sums"]}
    assert {"419100", "445860", "445660", "517100", "467100"} <= accounts
    assert len(facts["oss"]) == 4 and facts["cards"] and facts["disputed"] and facts["forgotten"]


def test_the_same_seed_is_the_same_year_and_another_one_is_not(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        found.append(digest(make_journal(150, tmp_path / name, seed)["sums"]))
    assert found[0] == found[1] != found[2]


@pytest.mark.failure_mode(69)
def test_vat_sheets_equal_the_balances_and_every_account_that_clears_is_explained(
    made: tuple[Path, dict[str, Any]],
) -> None:
    folder, facts = made
    state = control(folder)["clearing"]
    assert state["paypal"] == {"balance": "0"}
    assert state["place"]["balance"] == state["place"]["remainder"] == "12.34"
    stripe = state["stripe"]
    assert stripe["not_listed"] == f"{facts['forgotten'][1] / 100:.2f}"
    assert stripe["remainder"] == "12.34" and "amount_differs" not in stripe and "no_order" not in stripe


@pytest.mark.failure_mode(70)
@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_gives_the_journals_sums_per_account_and_month(
    made: tuple[Path, dict[str, Any]], name: str
) -> None:
    folder, facts = made
    written = write(name, folder)
    assert written["sums"] == facts["sums"]
    assert written["lines"] == facts["lines"]
    assert written["files"] == (1 if name.startswith("fec.") else 12)


def test_every_connector_is_given_the_same_of_an_entry(made: tuple[Path, dict[str, Any]]) -> None:
    """The bench maps once, with Sage's mapping: no other one says anything else."""
    folder, _ = made
    mappings = {
        key: load_mapping(key, "journal_entry", "out", [mappings_dir()]) for key in ("ciel", "cegid", "fec", "ebp")
    }
    spool = Spool(folder)
    first, last = date(2026, 3, 1), date(2026, 3, 31)
    for entry, given in zip(spool.journal(first, last), spool.payloads(first, last), strict=True):
        for key, mapping in mappings.items():
            payload = json.loads(json.dumps(mapping.apply(entry, {})))
            assert _within(payload, given) if key == "ebp" else payload == given


def _within(less: Any, more: Any) -> bool:
    """Everything that `less` says, `more` says too."""
    if isinstance(less, dict):
        return all(name in more and _within(value, more[name]) for name, value in less.items())
    if isinstance(less, list):
        return len(less) == len(more) and all(_within(a, b) for a, b in zip(less, more, strict=True))
    return bool(less == more)


def test_late_documents_stand_in_the_open_period_and_keep_their_own_day(made: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = made
    late = [entry for entry in Spool(folder).journal() if "late" in entry.flags]
    assert len(late) == facts["flags"]["late"] >= 5
    for entry in late:
        assert entry.posted_on.day == 1
        assert entry.document_on is not None and entry.document_on < entry.posted_on
    closed = books().model_copy(update={"locked_until": date(2026, 6, 30)})
    with pytest.raises(MappingError, match="the books are closed until 2026-06-30"):
        refuse_locked([entry for entry in Spool(folder).journal() if entry.posted_on.month == 6], accounts=closed)


@pytest.mark.parametrize(
    ("today", "locked"),
    [
        (date(2026, 1, 31), None),
        (date(2026, 2, 9), None),
        (date(2026, 2, 10), date(2026, 1, 31)),
        (date(2026, 3, 9), date(2026, 1, 31)),
        (date(2026, 12, 31), date(2026, 11, 30)),
    ],
)
def test_a_month_is_closed_on_the_tenth_of_the_next(today: date, locked: date | None) -> None:
    assert Day(today).locked_until == locked


# -- what is altered is seen --------------------------------------------------------------------------------------


def altered(folder: Path, into: Path, change: Callable[[JournalEntry], JournalEntry | None]) -> Path:
    """A copy of the year in which the first entry that `change` alters is another one."""
    shutil.copytree(folder, into)
    for path in sorted((into / "journal").iterdir()):
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            found = change(JournalEntry.model_validate_json(line))
            if found is not None:
                lines[number] = found.model_dump_json()
                path.write_text("".join(f"{x}\n" for x in lines), encoding="utf-8")
                return into
    raise AssertionError("there is nothing to alter")


def _other_vat(entry: JournalEntry) -> JournalEntry | None:
    """The VAT of a sale on the account of another rate."""
    lines = [x.model_copy(update={"account": "445712"}) if x.account == "445711" else x for x in entry.lines]
    return entry.model_copy(update={"lines": tuple(lines)}) if lines != list(entry.lines) else None


def _other_code(entry: JournalEntry) -> JournalEntry | None:
    """Revenue of 20 % that says of itself that it is of 5.5 %."""
    lines = [x.model_copy(update={"vat_code": "domestic-FR-5.5"}) if x.account == "707100" else x for x in entry.lines]
    return entry.model_copy(update={"lines": tuple(lines)}) if lines != list(entry.lines) else None


def _other_country(entry: JournalEntry) -> JournalEntry | None:
    """Tax of Germany that says of itself that it is Belgium's."""
    lines = [
        x.model_copy(update={"vat_code": x.vat_code.replace("-DE-", "-BE-")}) if x.vat_code else x for x in entry.lines
    ]
    return entry.model_copy(update={"lines": tuple(lines)}) if lines != list(entry.lines) else None


def _cent_of_gateway(entry: JournalEntry) -> JournalEntry | None:
    """A cent more of a payout than its documents say, balanced."""
    if entry.kind.value != "payout" or entry.channel != "stripe":
        return None
    lines = [
        x.model_copy(update={"amount": x.amount + Decimal("0.01")}) if x.account in ("512000", "517100") else x
        for x in entry.lines
    ]
    return entry.model_copy(update={"lines": tuple(lines)})


def _unpaid(entry: JournalEntry) -> JournalEntry | None:
    """A payment on the customers of the other channel."""
    if entry.kind.value != "payment":
        return None
    lines = [x.model_copy(update={"account": "411PLACE"}) if x.account == "411WEB" else x for x in entry.lines]
    return entry.model_copy(update={"lines": tuple(lines)})


@pytest.mark.failure_mode(69)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_vat, "VAT sheet leaves"),
        (_other_code, "net amounts by box"),
        (_other_country, "VAT sheet leaves .*445717DE"),
        (_cent_of_gateway, "-0.01 of .* is not explained"),
        (_unpaid, "what customers of the shop owe"),
    ],
)
def test_the_controls_see_what_is_altered(
    made: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    change: Callable[[JournalEntry], JournalEntry | None],
    words: str,
) -> None:
    with pytest.raises(Differs, match=words):
        control(altered(made[0], tmp_path / "altered", change))


@pytest.mark.parametrize("what", ["oss", "cards", "waiting_vat"])
def test_the_controls_hold_the_books_against_the_documents(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(made[0], folder)
    facts = json.loads((folder / "facts.json").read_text("utf-8"))
    if what == "waiting_vat":
        facts[what] += 1
    else:
        facts[what][next(iter(facts[what]))] += 1
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(Differs, match={"oss": "OSS", "cards": "gift cards", "waiting_vat": "fee invoice"}[what]):
        control(folder)


def test_an_evening_on_which_a_provider_owes_another_amount_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def doubled(entries: list[JournalEntry], *, accounts: AccountMap, today: date) -> list[JournalEntry]:
        found = into_open_period(entries, accounts=accounts, today=today)
        again = [e for e in found if e.kind.value == "payment" and e.lines[0].account == "517100"]
        return [*found, *again[:1]] if today == date(2026, 5, 4) else found

    monkeypatch.setattr(ledger, "into_open_period", doubled)
    with pytest.raises(Differs, match="2026-05-04: the account of stripe holds"):
        make_journal(ORDERS, tmp_path)


@pytest.mark.failure_mode(70)
def test_a_file_that_the_law_would_refuse_is_no_result(
    made: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = WRITERS["fec.exchange"]
    assert kind is not None
    form = kind.formats["fec"]
    whole = form.write

    def gap(self: Any, entries: Any) -> Any:
        for chunk in whole(self, entries):
            yield chunk.replace(b"\t00000009\t", b"\t00000008\t")

    monkeypatch.setattr(form, "write", gap)
    monkeypatch.setattr(year, "audit", lambda lines, faults, sums: {})
    with pytest.raises(Differs, match=r"EcritureNum 00000010 follows 8"):
        write("fec.exchange", made[0])
