"""Handing entry files over: once, never over a file that was not taken, found again after a crash, acknowledged."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from comptoir.model.accounting import JournalEntry
from comptoir.sdk import ContractViolation, EntityName, PushBatch, StorageFull
from comptoir.sdk.journal.disk import Disk
from comptoir.testing.books import BooksDesk
from comptoir_ciel.sandbox import CielBooks
from comptoir_sage.sandbox import SageBooks

from tests.support.accounting import WORKED_EXAMPLE, Office, an_entry

SALE, SECOND, PAYMENT, *_ = WORKED_EXAMPLE


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, "ciel.ximport")


def acks(office: Office) -> list[tuple[str, str, str | None]]:
    """What the connector hears now; each report is filed away as the engine does."""
    connector = office.connector()
    heard: list[tuple[str, str, str | None]] = []
    for report, words in connector.acknowledgements():
        heard += [(ack.natural_key, ack.outcome, ack.reason) for ack in words]
        connector.acknowledged(report)
    return heard


def test_an_entry_is_handed_over_once_whatever_is_asked(office: Office) -> None:
    assert [r.outcome for r in office.push(SALE, SECOND)] == ["written", "written"]
    (again,) = office.push(SALE)
    assert (again.outcome, again.reason) == ("written", "already handed over")
    assert list(office.published()) == ["XIMPORT.TXT"]


def test_another_content_under_the_same_key_is_refused(office: Office) -> None:
    office.push(SALE)
    (result,) = office.push(office.op(SALE, label="other"))
    assert result.outcome == "rejected" and "another content" in (result.reason or "")
    (unsure,) = office.connector().probe(office.batch(office.op(SALE, label="other")))
    assert unsure.found == "unknown"


def test_a_file_that_was_not_taken_is_never_overwritten(office: Office) -> None:
    for entry in WORKED_EXAMPLE[:3]:
        office.push(entry)
    assert list(office.published()) == ["XIMPORT.TXT", "XIMPORT_000001.TXT", "XIMPORT_000002.TXT"]


def test_the_bak_of_the_program_is_the_acknowledgement(office: Office) -> None:
    office.push(SALE, SECOND)
    books = CielBooks()
    desk = BooksDesk(office.folder, books)
    assert desk.step() == ["XIMPORT.TXT"]
    assert list(office.published()) == ["XIMPORT.BAK"]
    # As long as the .BAK was not heard, its name is not used again: Ciel would overwrite it.
    office.push(PAYMENT)
    assert list(office.published()) == ["XIMPORT.BAK", "XIMPORT_000001.TXT"]
    assert acks(office) == [("web/FA1001", "accepted", None), ("web/FA1002", "accepted", None)]
    assert acks(office) == []
    assert (office.folder / "ack" / "done" / "XIMPORT.BAK").is_file()
    desk.step()
    assert acks(office) == [("web/RG1001", "accepted", None)]
    assert books.balance("411MARTIN") == 0 and books.balance("411DUPONT") == 8710


def test_a_bak_of_somebody_else_says_nothing_and_stays(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.push(SALE)
    (office.folder / "compta" / "XIMPORT.TXT").rename(office.folder / "compta" / "XIMPORT.BAK")
    with (office.folder / "compta" / "XIMPORT.BAK").open("ab") as file:
        file.write(b"changed\r\n")
    assert acks(office) == []
    assert "holds none of our files" in caplog.text
    assert list(office.published()) == ["XIMPORT.BAK"]


def test_a_refused_piece_is_told_and_may_come_again(office: Office) -> None:
    office.push(SALE, SECOND)
    BooksDesk(office.folder, CielBooks(refuse={"FA1002": "date hors exercice"})).step()
    assert acks(office) == [("web/FA1001", "accepted", None), ("web/FA1002", "rejected", "date hors exercice")]
    (moved,) = office.push(SECOND.model_copy(update={"posted_on": date(2026, 10, 1)}))
    assert moved.outcome == "written"
    assert b"20261001" in office.published()["XIMPORT.TXT"]


def test_a_withdrawn_batch_lies_aside_and_its_entries_may_come_again(office: Office) -> None:
    office.push(SALE, SECOND, id="b1")
    first = office.published()["XIMPORT.TXT"]
    assert list(office.connector().withdraw("b1")) == ["web/FA1001", "web/FA1002"]
    assert office.published() == {}
    files = office.connector().batch("b1")
    assert files is not None and files.state == "withdrawn"
    # The same pieces, byte for byte: the newer batch speaks for the file now.
    assert [r.outcome for r in office.push(SALE, SECOND)] == ["written", "written"]
    assert office.published() == {"XIMPORT.TXT": first}
    BooksDesk(office.folder, CielBooks()).step()
    assert [key for key, _, _ in acks(office)] == ["web/FA1001", "web/FA1002"]


def test_a_withdrawn_file_that_was_imported_all_the_same_is_cried_out(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.push(SALE, id="b1")
    taken = office.published()["XIMPORT.TXT"]
    (office.folder / "compta" / "XIMPORT.TXT").unlink()  # the operator has a copy
    office.connector().withdraw("b1")
    (office.folder / "compta" / "XIMPORT.BAK").write_bytes(taken)
    assert acks(office) == []
    assert "was withdrawn and yet imported: delete that import in Ciel Compta / Sage 50" in caplog.text


def test_a_whole_file_that_sage_refuses_acknowledges_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path, "sage.mecg")
    office.push(SALE)
    desk = BooksDesk(office.folder, SageBooks(version=25))
    assert desk.step() == []
    assert desk.unreadable == [("ECRITURES.TXT", "ECRITURES.TXT: Fichier inconnu ligne : 2")]
    assert acks(office) == []


def test_one_bad_entry_does_not_hold_the_others(office: Office) -> None:
    bad = an_entry(
        "sale", "9", ("VENTES", "V"), date(2026, 9, 15), "X", ("D", "411000/CMARTIN", "1"), ("C", "707100", "1")
    )
    good, refused = office.push(SALE, bad)
    assert good.outcome == "written"
    assert refused.outcome == "rejected" and refused.field == "journal"
    assert "[journals]" in (refused.hint or "")
    assert office.published()["XIMPORT.TXT"].count(b"\r\n") == 3


def test_what_was_changed_stands_on_the_delivery(office: Office) -> None:
    long = SALE.model_copy(
        update={"lines": tuple(line.model_copy(update={"label": "Épicerie fine de la place"}) for line in SALE.lines)}
    )
    (result,) = office.push(long)
    assert result.outcome == "written"
    assert result.reason == "label: accents dropped"


def test_the_receipt_knows_hash_period_sums_and_what_the_profile_was_worth(office: Office) -> None:
    office.push(*WORKED_EXAMPLE, id="b1")
    receipt = json.loads((office.folder / ".comptoir" / "batches" / "b1.json").read_text())
    (file,) = receipt["files"]
    assert file["name"] == "compta/XIMPORT.TXT" and file["lines"] == 16 and len(file["sha256"]) == 64
    totals = receipt["totals"]
    assert (totals["debit"], totals["credit"], totals["records"]) == ("447.10", "447.10", "5")
    assert (totals["first_day"], totals["last_day"]) == ("2026-09-15", "2026-09-21")
    assert totals["profile"] == "profile ximport, never imported"
    assert "MARTIN" not in json.dumps(receipt)


class _Crash(BaseException):
    """The process is killed."""


class _DyingDisk(Disk):
    def __init__(self, after: int) -> None:
        self.left = after

    def move(self, source: Path, target: Path) -> None:
        self._tick()
        super().move(source, target)

    def append(self, path: Path, data: bytes) -> None:
        self._tick()
        super().append(path, data)

    def replace(self, path: Path, data: bytes) -> None:
        self._tick()
        super().replace(path, data)

    def _tick(self) -> None:
        if self.left == 0:
            raise _Crash
        self.left -= 1


def _two_years() -> list[JournalEntry]:
    return [
        SALE,
        an_entry("sale", "2", ("VE", "V"), date(2027, 1, 2), "X", ("D", "411000/CWEB", "1"), ("C", "707100", "1")),
    ]


@pytest.mark.parametrize("profile", ["ciel.ximport", "fec.exchange"])
@pytest.mark.parametrize("after", range(6))
def test_killed_at_any_step_each_entry_is_in_one_file(tmp_path: Path, profile: str, after: int) -> None:
    office = Office(tmp_path, profile, third_parties={"CMARTIN": "411MARTIN", "CWEB": "411WEB"})
    batch = office.batch(*_two_years())
    try:
        office.connector(disk=_DyingDisk(after)).push(batch)
    except _Crash:
        found = office.connector().probe(batch)
        absent = [op for op, probe in zip(batch.ops, found, strict=True) if probe.found == "absent"]
        if absent:
            office.connector().push(PushBatch("retry", EntityName.JOURNAL_ENTRY, absent))
    written = b"".join(office.published().values())
    assert written.count(b"FA1001 MARTIN SARL" if profile == "ciel.ximport" else b"FA1001 Martin SARL") == 3
    assert {probe.found for probe in office.connector().probe(office.batch(*_two_years()))} == {"present"}


def test_entries_of_two_years_are_two_files_and_each_is_acknowledged_by_itself(tmp_path: Path) -> None:
    office = Office(tmp_path, "fec.exchange")
    office.push(*_two_years())
    first, second = office.published()
    folder = office.folder / "compta"
    (folder / second).rename((folder / second).with_suffix(".BAK"))
    assert acks(office) == [("web/2", "accepted", None)]
    (folder / first).rename((folder / first).with_suffix(".BAK"))
    assert acks(office) == [("web/FA1001", "accepted", None)]


def test_a_missing_share_is_an_error_and_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    office = Office(tmp_path / "base", "ciel.ximport", folder=tmp_path / "share")
    with pytest.raises(StorageFull) as caught:
        office.push(SALE)
    assert caught.value.code == "folder_missing" and "Mount the share" in (caught.value.hint or "")
    assert not (tmp_path / "share").exists()


def test_only_what_a_batch_says_is_taken(office: Office) -> None:
    batch = office.batch(SALE)
    with pytest.raises(ContractViolation, match="takes no stock"):
        office.connector().push(PushBatch("x", EntityName.STOCK, batch.ops))
    for entity in (EntityName.ORDER, EntityName.REFUND, EntityName.CUSTOMER):
        with pytest.raises(ContractViolation, match=f"a batch of {entity.value} holds a journal_entry"):
            office.connector().push(PushBatch("x", entity, batch.ops))
    assert office.published() == {}


def test_check_counts_what_waits_and_writes_nothing(office: Office) -> None:
    before = office.connector().check()
    assert before.ok and not office.folder.exists()
    office.push(SALE)
    (waiting,) = [item.detail for item in office.connector().check().items if item.name == "waiting"]
    assert waiting == "1 file(s) not yet taken by Ciel Compta / Sage 50"
