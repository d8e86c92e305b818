"""The batch ledger: what was handed over in files, an import that was forgotten, and October booked anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from comptoir.app.batches import list_batches, redo, withdraw
from comptoir.errors import ConfigError
from comptoir_ebp.sandbox import EbpSandbox

from tests.support.merchant import SELF_CONFIG, Merchant, request_json, simple_order

ALWAYS = (date(2000, 1, 1), date(2100, 1, 1))


@pytest.fixture
def booked(make_merchant: Callable[..., Merchant]) -> Merchant:
    """A shop whose forty orders were handed over to the books."""
    merchant = make_merchant(SELF_CONFIG)
    merchant.shop()
    merchant.shops["boutique"].seed_orders(40)
    merchant.run("books")
    return merchant


def _files(merchant: Merchant) -> list[Path]:
    return sorted((merchant.exchange / "compta").glob("ECRITURES*.TXT"))


def _lines(merchant: Merchant, files: list[Path]) -> list[list[str]]:
    return [line.split(",") for path in files for line in path.read_text("cp1252").splitlines() if line]


def _totals(lines: list[list[str]]) -> dict[str, Decimal]:
    """The balance of each account, as the books would show it."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        found[line[3]] += Decimal(line[7]) if line[8] == "D" else -Decimal(line[7])
    return {account: total for account, total in found.items() if total}


def _accounting(merchant: Merchant, text: str) -> None:
    merchant.config.write_text(merchant.config.read_text() + text)


def _other_account(merchant: Merchant, more: str = "") -> None:
    """The accountant wants the sales of goods on another account."""
    _accounting(merchant, f'\n[accounting]\n{more}\n[accounting.vat."20"]\nsales = "707900"\n')


def test_a_batch_is_listed_with_its_documents_euros_and_days(booked: Merchant) -> None:
    (batch,) = list_batches(booked.config, waiting=True)
    entries, total = booked.rows("select count(*), sum(total) from journal_entry")[0]
    assert (batch.target, batch.entity, batch.documents, batch.amount) == ("compta", "journal_entry", entries, total)
    assert batch.files[-1].startswith("compta/ECRITURES") and len(batch.sha256) == len(batch.files)
    assert (batch.first_on, batch.last_on) == booked.rows("select min(posted_on), max(posted_on) from journal_entry")[0]


def test_a_file_that_was_taken_is_seen(booked: Merchant) -> None:
    EbpSandbox(booked.exchange).step(report=False)
    assert list_batches(booked.config, waiting=True) == []
    assert [b.state for b in list_batches(booked.config)] == ["taken"]


def test_october_anew_the_same_pieces_after_the_batch_was_withdrawn(booked: Merchant) -> None:
    before = _lines(booked, _files(booked))
    (batch,) = list_batches(booked.config)
    _other_account(booked)
    ((_, count),) = withdraw(booked.config, [str(batch.id)[-8:]], because="comptable: compte 7079")
    assert count == batch.documents
    assert _files(booked) == []
    booked.run("books")
    after = _lines(booked, _files(booked))
    assert sorted({line[6] for line in after}) == sorted({line[6] for line in before})
    assert len(after) == len(before)
    assert any(line[3] == "707900" for line in after) and not any(line[3] == "707900" for line in before)
    assert sorted((x[3], x[7], x[8], x[6]) for x in after if not x[3].startswith("707")) == sorted(
        (x[3], x[7], x[8], x[6]) for x in before if not x[3].startswith("707")
    )
    kept = list_batches(booked.config)[-1]
    assert (kept.state, kept.withdrawn_because) == ("withdrawn", "comptable: compte 7079")
    assert kept.withdrawn_by
    assert booked.run("books").entities == {} or _lines(booked, _files(booked)) == after


@pytest.mark.parametrize("way", ["reversal", "difference"])
def test_october_anew_with_the_differences_only_ends_with_the_same_totals(booked: Merchant, way: str) -> None:
    old = _lines(booked, _files(booked))
    EbpSandbox(booked.exchange).step()
    _other_account(booked, f'corrections = "{way}"')
    assert redo(booked.config, *ALWAYS) > 0
    booked.run("books")
    new = _lines(booked, _files(booked))
    assert new
    changed = {line[6] for line in new}
    assert all(any(mark in piece for mark in "XVE") for piece in changed), changed
    whole = _totals(old + new)
    moved = whole.pop("707900")
    assert moved < 0
    expected = _totals(old)
    assert sum(v for k, v in expected.items() if k.startswith("707")) == moved + sum(
        v for k, v in whole.items() if k.startswith("707")
    )
    assert {k: v for k, v in whole.items() if not k.startswith("707")} == {
        k: v for k, v in expected.items() if not k.startswith("707")
    }
    # Nothing more to correct.
    redo(booked.config, *ALWAYS)
    files = _files(booked)
    booked.run("books")
    assert _files(booked) == files


def test_a_correction_after_midnight_is_of_the_companys_new_year(
    booked: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    _other_account(booked)
    redo(booked.config, *ALWAYS)
    monkeypatch.setattr(booked.clock, "now", lambda: datetime(2030, 12, 31, 23, 30, tzinfo=UTC))  # 00:30 in Paris
    booked.run("books")
    days = booked.rows("select distinct posted_on from journal_entry where reverses is not null")
    assert days == [(date(2031, 1, 1),)]


def test_what_was_imported_is_withdrawn_only_when_the_import_was_deleted(booked: Merchant) -> None:
    (batch,) = list_batches(booked.config)
    EbpSandbox(booked.exchange).step(report=False)
    with pytest.raises(ConfigError, match=r"compta has taken .*ECRITURES.* would be there twice"):
        withdraw(booked.config, [str(batch.id)], because="x")
    assert booked.value("select count(*) from journal_entry where withdrawn_in is not null") == 0
    withdraw(booked.config, [str(batch.id)], because="import deleted", import_deleted=True)
    booked.run("books")
    assert len({line[6] for line in _lines(booked, _files(booked))}) == batch.documents


def test_a_closed_period_is_not_rewritten(booked: Merchant) -> None:
    (batch,) = list_batches(booked.config)
    _accounting(booked, "\n[accounting]\nlocked_until = 2099-12-31\n")
    with pytest.raises(ConfigError, match="the books are closed until 2099-12-31"):
        withdraw(booked.config, [str(batch.id)], because="x")
    assert len(_files(booked)) == 1


@pytest.mark.parametrize("way", ["reversal", "difference"])
def test_a_batch_that_a_later_one_corrects_goes_with_it(booked: Merchant, way: str) -> None:
    _other_account(booked, f'corrections = "{way}"')
    redo(booked.config, *ALWAYS)
    booked.run("books")
    second, first = list_batches(booked.config)
    with pytest.raises(ConfigError, match="in a later batch corrects"):
        withdraw(booked.config, [str(first.id)], because="x")
    withdraw(booked.config, [str(first.id), str(second.id)], because="x")
    assert _files(booked) == []
    booked.run("books")
    pieces = [line[6] for line in _lines(booked, _files(booked))]
    assert len(set(pieces)) == first.documents
    assert not any(piece.endswith(("X1", "V2", "E1")) for piece in pieces)


def test_a_batch_is_named_by_its_end_and_withdrawn_once(booked: Merchant) -> None:
    (batch,) = list_batches(booked.config)
    with pytest.raises(ConfigError, match="there is no connection 'nosuch'"):
        list_batches(booked.config, target="nosuch")
    for nothing in ("", "%", str(batch.id)[-3:]):
        with pytest.raises(ConfigError, match="no batch is called"):
            withdraw(booked.config, [nothing], because="x")
    withdraw(booked.config, [str(batch.id)[-8:]], because="wrong accounts")
    with pytest.raises(ConfigError, match=r"was withdrawn before, by .*: wrong accounts"):
        withdraw(booked.config, [str(batch.id)[-8:]], because="again")
    assert booked.value("select withdrawn_because from handover") == "wrong accounts"


def test_orders_of_a_withdrawn_batch_go_out_again_once(merchant: Merchant) -> None:
    for _ in range(3):
        request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run()
    (batch,) = list_batches(merchant.config)
    assert (batch.entity, batch.documents) == ("order", 3)
    numbers = merchant.order_numbers()
    withdraw(merchant.config, [batch.files[-1]], because="the operator's folder was wrong")
    assert merchant.order_numbers() == []
    assert merchant.run().main.delivered == 3
    assert merchant.order_numbers() == numbers
    assert merchant.run().main.delivered == 0
    with pytest.raises(ConfigError, match="no batch is called"):
        withdraw(merchant.config, ["zzzz"], because="x")
    with pytest.raises(ConfigError, match="say why"):
        withdraw(merchant.config, [str(batch.id)], because=" ")
