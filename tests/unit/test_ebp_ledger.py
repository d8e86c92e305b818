"""Exactly once with files: a kill at every step of a hand-over, disks that fail, scale, two workers."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from comptoir.sdk import ContractViolation, EntityName, OutcomeUnknown, PushBatch, PushOp, StorageFull, TransientError
from comptoir.sdk.journal.disk import Disk
from comptoir_ebp.sandbox import EbpSandbox

from tests import factories as make
from tests.support.ebp import Merchant, files_in
from tests.unit.test_ebp_entries import WORKED_EXAMPLE


class Killed(BaseException):
    """The process is gone: nothing after this line ran."""


class TroubledDisk(Disk):
    """Counts the file operations and has something happen before, in the middle of, or after one of them."""

    def __init__(self, at: int = -1, when: str = "before", trouble: Callable[[], BaseException] = Killed) -> None:
        self.at, self.when, self.trouble, self.count = at, when, trouble, 0

    def _step(self, do: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        here = self.count == self.at
        self.count += 1
        if here and self.when == "before":
            raise self.trouble()
        if here and self.when == "half" and half is not None:
            half()
            raise self.trouble()
        result = do()
        if here and self.when in ("after", "half"):
            raise self.trouble()
        return result

    def write_new(self, path: Path, data: bytes) -> None:
        self._step(
            lambda: super(TroubledDisk, self).write_new(path, data), lambda: path.write_bytes(data[: len(data) // 2])
        )

    def append(self, path: Path, data: bytes) -> None:
        def torn() -> None:
            with path.open("ab") as file:
                file.write(data[: len(data) // 2])

        self._step(lambda: super(TroubledDisk, self).append(path, data), torn)

    def move(self, source: Path, target: Path) -> None:
        self._step(lambda: super(TroubledDisk, self).move(source, target))

    def remove(self, path: Path) -> None:
        self._step(lambda: super(TroubledDisk, self).remove(path))

    def sync_folder(self, folder: Path) -> None:
        self._step(lambda: super(TroubledDisk, self).sync_folder(folder))

    def make_folder(self, folder: Path) -> None:
        self._step(lambda: super(TroubledDisk, self).make_folder(folder))


ORDERS = [make.order(number="1001"), make.order([make.line("33.33", "5.5")], number="1002")]


def steps_of(base: Path, batch: Callable[[Merchant], PushBatch]) -> int:
    merchant = Merchant(base)
    disk = TroubledDisk()
    merchant.connector(disk).push(batch(merchant))
    return disk.count


def operations(base: Path, entity: str) -> Iterator[tuple[int, str]]:
    for step in range(steps_of(base, batches[entity])):
        for when in ("before", "half", "after"):
            yield step, when


batches: dict[str, Callable[[Merchant], PushBatch]] = {
    "order": lambda m: m.batch(*ORDERS, id="first"),
    "journal_entry": lambda m: m.batch(*WORKED_EXAMPLE, id="first"),
}


def engine_recovers(merchant: Merchant, batch: PushBatch) -> None:
    """What the engine does after a lost answer: look up, send again under a new id what is absent."""
    probes = {p.delivery_id: p.found for p in merchant.connector().probe(_as_known_to_the_store(batch))}
    assert "unknown" not in probes.values()
    assert len(set(probes.values())) == 1, "a batch is there as a whole or not at all"
    absent = [op for op in batch.ops if probes[op.delivery_id] == "absent"]
    if absent:
        results = merchant.connector().push(PushBatch("second", batch.entity, absent))
        assert {r.outcome for r in results} == {"written"}


def _as_known_to_the_store(batch: PushBatch) -> PushBatch:
    """A look-up has no payload, as in the engine."""
    ops = [PushOp(o.delivery_id, o.entity, o.action, o.natural_key, {}, o.content_hash) for o in batch.ops]
    return PushBatch(batch.id, batch.entity, ops)


def assert_exactly_once(merchant: Merchant, sandbox: EbpSandbox, entity: str) -> None:
    sandbox.step()
    assert sandbox.unreadable == []
    if entity == "order":
        assert sorted(d.imported_as for d in sandbox.books.documents) == ["WEB-1001", "WEB-1002"]
        assert {d.total for d in sandbox.books.documents} == {o.totals.total for o in ORDERS}
    else:
        assert sorted(e.piece for e in sandbox.books.entries) == ["AV1003", "FA1001", "FA1002", "RB1003", "RG1001"]
        assert "COMPTE A COMPLETER" not in sandbox.books.accounts.values()
    assert files_in(merchant.folder / ".comptoir" / "pending") == {}


@pytest.mark.failure_mode(27)
@pytest.mark.parametrize("entity", ["order", "journal_entry"])
@pytest.mark.parametrize("takes_first", [False, True], ids=["operator waits", "operator is quick"])
def test_a_kill_at_every_step(tmp_path: Path, entity: str, takes_first: bool) -> None:
    """Killed before, in the middle of or after any file operation: each record reaches EBP once, no more, no
    less.

    With a quick operator the file is already gone from the folder when the look-up comes.
    """
    cases = 0
    for step, when in operations(tmp_path, entity):
        base = tmp_path / f"{step}-{when}"
        base.mkdir()
        merchant = Merchant(base)
        sandbox = EbpSandbox(merchant.folder, takes="delete")
        batch = batches[entity](merchant)
        with pytest.raises(Killed):
            merchant.connector(TroubledDisk(step, when)).push(batch)
        if takes_first:
            sandbox.step(report=False)
        engine_recovers(merchant, batch)
        assert_exactly_once(merchant, sandbox, entity)
        # And once more: the engine never learnt of it, or a person replays the record.
        again = merchant.connector().push(PushBatch("third", batch.entity, batch.ops))
        assert {r.outcome for r in again} == {"written"}
        assert sandbox.step() == []
        cases += 1
    assert cases >= 60


def test_a_kill_during_the_recovery_itself(tmp_path: Path) -> None:
    """Two kills: one in the publication, one at every step of the recovery that follows."""
    steps = steps_of(tmp_path, batches["journal_entry"])
    tried = 0
    for first in range(steps):
        for second in range(12):
            base = tmp_path / f"{first}-{second}"
            base.mkdir()
            merchant = Merchant(base)
            batch = batches["journal_entry"](merchant)
            with pytest.raises(Killed):
                merchant.connector(TroubledDisk(first, "after")).push(batch)
            try:
                merchant.connector(TroubledDisk(second, "after")).probe(batch)
            except Killed:
                tried += 1
            else:
                break
            engine_recovers(merchant, batch)
            assert_exactly_once(merchant, EbpSandbox(merchant.folder), "journal_entry")
    assert tried > 10


def test_an_old_worker_that_wakes_up_late_writes_nothing(tmp_path: Path) -> None:
    """It lost its lease before it had the lock; its batch was looked up as absent and sent again."""
    merchant = Merchant(tmp_path)
    old = merchant.batch(*ORDERS, id="old")
    assert {p.found for p in merchant.connector().probe(old)} == {"absent"}
    merchant.connector().push(PushBatch("new", old.entity, old.ops))
    results = merchant.connector().push(old)
    assert {r.outcome for r in results} == {"written"}
    assert len(merchant.published()) == 1


def test_the_same_record_twice_in_a_batch_and_a_number_used_twice(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    op = merchant.op(ORDERS[0])
    twin = PushOp("twin", op.entity, "create", op.natural_key, op.payload, op.content_hash)
    other = PushOp("other", op.entity, "create", op.natural_key, {**op.payload, "note": "x"}, "other")
    stranger = PushOp("stranger", op.entity, "create", "another-key", op.payload, "stranger")
    first, second, third, fourth = merchant.push(op, twin, other, stranger)
    assert (first.outcome, second.outcome, third.outcome, fourth.outcome) == (
        "written",
        "written",
        "rejected",
        "rejected",
    )
    assert "already handed over" in (third.reason or "")
    assert "WEB-1001" in (fourth.reason or "")
    assert merchant.published()["COMMANDES_000001.CSV"].count(b"WEB-1001") == 1
    (again,) = merchant.push(other)
    assert (again.outcome, again.field) == ("rejected", "number")
    assert merchant.connector().probe(merchant.batch(other))[0].found == "unknown"


def test_a_customer_card_may_be_sent_again_when_it_changed(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    first, moved = make.customer(), make.customer(addresses=(make.address(city="Lyon"),))
    for card in (first, first, moved, moved, first):
        assert merchant.push(card)[0].outcome == "written"
    assert len(merchant.published()) == 3
    assert b"Lyon" in merchant.published()["CLIENTS_000002.CSV"]


def test_a_batch_id_is_used_once(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    merchant.push(ORDERS[0], id="same")
    with pytest.raises(ContractViolation, match="used once"):
        merchant.push(ORDERS[1], id="same")
    with pytest.raises(ContractViolation, match="file name"):
        merchant.push(ORDERS[1], id="../escape")
    assert list(merchant.published()) == ["COMMANDES_000001.CSV"]


# -- disks that fail ----------------------------------------------------------------------------------------------


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", "/somewhere/ebp/x")


@pytest.mark.parametrize("entity", ["order", "journal_entry"])
def test_a_full_disk_at_every_step_leaves_nothing_half(tmp_path: Path, entity: str) -> None:
    """StorageFull: nothing was published. OutcomeUnknown: the look-up tells. Afterwards everything arrives
    once.
    """
    unknown = 0
    for step in range(steps_of(tmp_path, batches[entity])):
        for when in ("before", "after"):
            base = tmp_path / f"{step}-{when}"
            base.mkdir()
            merchant = Merchant(base)
            batch = batches[entity](merchant)
            try:
                merchant.connector(TroubledDisk(step, when, full)).push(batch)
            except StorageFull as error:
                assert str(base) not in str(error)
                sandbox = EbpSandbox(merchant.folder)
                assert [n for n in sandbox.step() if not n.startswith("COMPTES")] == []
                assert {p.found for p in merchant.connector().probe(batch)} == {"absent"}
            except OutcomeUnknown:
                unknown += 1
            engine_recovers(merchant, batch)
            assert_exactly_once(merchant, EbpSandbox(merchant.folder), entity)
    assert unknown >= 1


def test_paths_are_shown_relative_to_the_configuration(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    merchant.folder.rmdir()
    merchant.folder = tmp_path / "ebp"
    merchant.push(ORDERS[0])
    assert merchant.folder.is_dir()


def test_a_share_that_is_not_mounted_is_no_empty_folder(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path / "base", folder=tmp_path / "share" / "ebp")
    with pytest.raises(StorageFull) as caught:
        merchant.push(ORDERS[0])
    assert caught.value.code == "folder_missing"
    assert "folder ebp does not exist" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert not (tmp_path / "share").exists()
    assert not merchant.connector().check().ok


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    (merchant.folder / "import").write_text("not a folder")
    with pytest.raises(StorageFull) as caught:
        merchant.push(ORDERS[0])
    assert str(tmp_path) not in caught.value.message
    (merchant.folder / "import").unlink()
    assert merchant.push(ORDERS[0])[0].outcome == "written"
    assert len(merchant.published()) == 1


# -- names --------------------------------------------------------------------------------------------------------


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    for number in ("1001", "1002"):
        merchant.push(make.order(number=number))
        for path in (merchant.folder / "import").iterdir():
            path.unlink()
    (merchant.folder / ".comptoir" / "numbers" / "COMMANDES").unlink()
    merchant.push(make.order(number="1003"))
    assert list(merchant.published()) == ["COMMANDES_000003.CSV"]


def test_a_strangers_file_is_not_overwritten(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    (merchant.folder / "import").mkdir()
    (merchant.folder / "import" / "COMMANDES_000001.CSV").write_text("the operator's own")
    merchant.push(ORDERS[0])
    assert merchant.published()["COMMANDES_000001.CSV"] == b"the operator's own"
    assert b"WEB-1001" in merchant.published()["COMMANDES_000002.CSV"]


def test_a_committed_file_finds_its_name_taken(tmp_path: Path) -> None:
    """Killed between receipt and rename; meanwhile somebody put a file under that very name."""
    merchant, batch = Merchant(tmp_path), PushBatch("none", EntityName.ORDER, [])
    for step in range(60):
        base = tmp_path / str(step)
        base.mkdir()
        merchant = Merchant(base)
        batch = merchant.batch(WORKED_EXAMPLE[0], id="first")
        with pytest.raises(Killed):
            merchant.connector(TroubledDisk(step, "after")).push(batch)
        if (merchant.folder / ".comptoir" / "batches" / "first.json").exists():
            break
    (merchant.folder / "compta" / "ECRITURES.TXT").write_text("the operator's own")
    assert merchant.connector().probe(batch)[0].found == "present"
    assert merchant.published("compta")["ECRITURES.TXT"] == b"the operator's own"
    assert b"FA1001" in merchant.published("compta")["ECRITURES_000001.TXT"]
    receipt = orjson.loads((merchant.folder / ".comptoir" / "batches" / "first.json").read_bytes())
    assert receipt["files"][-1]["name"] == "compta/ECRITURES_000001.TXT"


# -- receipts -----------------------------------------------------------------------------------------------------


def test_a_receipt_proves_the_file_and_names_nobody(tmp_path: Path) -> None:
    import hashlib

    merchant = Merchant(tmp_path)
    merchant.push(*ORDERS, id="b1")
    own = merchant.folder / ".comptoir"
    receipt = orjson.loads((own / "batches" / "b1.json").read_bytes())
    (file,) = receipt["files"]
    data = (merchant.folder / file["name"]).read_bytes()
    assert (file["sha256"], file["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert receipt["totals"] == {"records": "2", "amount": "155.16"}
    assert [r["key"] for r in receipt["records"]] == ["WEB-1001", "WEB-1002"]
    for path in own.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8").lower()
            assert "lef" not in text and "zoe" not in text and "lilas" not in text


def test_a_torn_index_means_nothing(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    merchant.push(ORDERS[0], id="batch-1")
    index = merchant.folder / ".comptoir" / "index"
    line = index.read_bytes().splitlines()[0]
    op = merchant.op(ORDERS[1])
    from comptoir.sdk.journal.handover import digest

    # A power cut left the beginning of a line: its batch looks like `batch-1` and is really `batch-17`.
    torn = f"{digest('order', op.natural_key)}\t{digest(op.content_hash)}\tbatch-1".encode()
    index.write_bytes(index.read_bytes() + torn)
    assert merchant.connector().probe(merchant.batch(op))[0].found == "absent"
    index.write_bytes(index.read_bytes() + b"\x00" * 100)
    assert merchant.push(op)[0].outcome == "written"
    assert len(merchant.published()) == 2
    assert line in index.read_bytes()


def test_two_workers(tmp_path: Path) -> None:
    merchant = Merchant(tmp_path)
    holder = merchant.connector()
    with holder._ledger.locked(), pytest.raises(TransientError, match="another worker"):
        merchant.push(ORDERS[0])
    assert merchant.push(ORDERS[0])[0].outcome == "written"


def test_a_hundred_thousand_documents_stay_cheap(tmp_path: Path) -> None:
    """A look-up reads the index once as a stream: memory stays flat and no receipt but the wanted one is
    read.
    """
    from comptoir.sdk.journal.handover import digest

    merchant = Merchant(tmp_path)
    merchant.push(ORDERS[0], id="real")
    index = merchant.folder / ".comptoir" / "index"
    content = digest("x")
    with index.open("ab") as file:
        for n in range(100_000):
            line = f"\t{content}\tbatch-{n // 500}\t.\n"
            key = f"WEB-{n + 5000}"
            file.write(f"{digest('order', key)}{line}{digest('name', 'document', key)}{line}".encode())
    assert os.path.getsize(index) > 10_000_000  # noqa: PTH202 - the index itself is what is measured
    tracemalloc.start()
    results = merchant.push(*[make.order(number=str(n)) for n in (1001, 1002)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [r.outcome for r in results] == ["written", "written"]
    assert peak < 8_000_000
