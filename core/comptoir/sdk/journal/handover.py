"""What was handed over, exactly once, with files: receipts, index, publication, recovery.

    <folder>/.comptoir/lock               flock: one writer at a time
    <folder>/.comptoir/pending/<batch>    the file, complete and durable, not yet visible to the program
    <folder>/.comptoir/index              append-only: which record was in which batch
    <folder>/.comptoir/batches/<batch>.json   the receipt
    <folder>/.comptoir/numbers/<name>     the last running number of each file name
    <folder>/import/..., compta/...       where the program takes the files

A hand-over does, in this order: pending files, index lines, **receipt**, rename of the pending files to their
final names (the main file last). The receipt is the commit point:

* no receipt: nothing was published and nothing will be; left-over pending files are removed;
* receipt and pending file: committed, not yet visible. Whoever takes the lock next finishes the renames
  (`recover`), so the batch counts as present;
* receipt, no pending file: published, also when the operator has taken the file away since.

The index may name a batch that has no receipt (we died between the two): such a line means nothing. It is
read once per batch as a stream, so memory stays flat: 100,000 records are about 10 MB. Records are named by
hashes in it; the receipts hold natural keys, hashes, counts and sums, no personal data.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from comptoir.errors import ContractViolation, OutcomeUnknown, StorageFull, TransientError
from comptoir.sdk.journal.disk import Disk, storage_errors
from comptoir.sdk.ports import Clock
from comptoir.sdk.protocols import BatchFiles

__all__ = ["Found", "Handover", "Known", "Ledger", "Output", "Record", "digest"]

_BATCH = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$")
_RELEASED = "released"
_BLOCK = 1 << 20
_END = b"\t.\n"


def digest(*parts: str) -> str:
    """32 hexadecimal characters that stand for a key in the index."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Known:
    """A record that is in a committed batch."""

    batch: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a hand-over. `name` is what the file and the program call it (document number, customer code,
    piece); `output` says in which of the hand-over's files it stands (the main one by default).
    """

    key: str
    content_hash: str
    name: str
    facts: Mapping[str, Any]
    output: int = -1


@dataclass(frozen=True, slots=True)
class Output:
    """One file to publish: sub-folder, stem and ending of its name, contents.

    `plain`: the name has no number while that name is free (ECRITURES.TXT), as the program expects it.
    """

    folder: str
    stem: str
    suffix: str
    data: bytes
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Handover:
    """What is handed over together: files in the order of their publication, the main one last.

    `spaces` are the name spaces under which the records can be found again (`Ledger.named`); `{file}` in one stands
    for the name of the record's file.
    """

    batch: str
    entity: str
    records: Sequence[Record]
    outputs: Sequence[Output]
    totals: Mapping[str, str]
    spaces: Sequence[str]


@dataclass(frozen=True, slots=True)
class Found:
    """A committed record, found by its name in the program: its batch, entity and entry in the receipt."""

    batch: str
    entity: str
    record: Mapping[str, Any]


class Ledger:
    """The hand-over folder of one connection.

    `program` is what the operator calls the reader of the files. `marks`: endings that the program gives to a file it
    has taken (`.BAK`); as long as such a file lies there, the name is not used again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        base: Path,
        connection: str,
        clock: Clock,
        lock_wait: float,
        program: str,
        marks: Sequence[str] = (),
        disk: Disk | None = None,
    ) -> None:
        self.folder = folder
        self._base = base
        self._connection = connection
        self._clock = clock
        self._lock_wait = lock_wait
        self._program = program
        self._marks = tuple(marks)
        self.disk = disk or Disk()
        self._own = folder / ".comptoir"
        self._pending = self._own / "pending"
        self._batches = self._own / "batches"
        self._numbers = self._own / "numbers"
        self._index = self._own / "index"

    # -- locking -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder, after an interrupted hand-over was finished.

        Raises StorageFull when the folder is missing or not writable, TransientError when another worker
        holds the lock for longer than `lock_wait` seconds.
        """
        with self._errors():
            self._prepare()
            handle = self._lock()
        try:
            with self._errors():
                self._recover()
            yield
        finally:
            self.disk.unlock(handle)

    def _prepare(self) -> None:
        if not self.folder.is_dir():
            if not self.folder.is_relative_to(self._base):
                raise StorageFull(
                    f"{self._connection}: the folder {self.folder.name} does not exist",
                    hint="Mount the share, or create the folder once; outside the configuration's own folder none is "
                    "made, because an unmounted share would then look like an empty one.",
                    connection=self._connection,
                    code="folder_missing",
                )
            with self._errors():
                self.folder.mkdir(parents=True, exist_ok=True)
        for folder in (self._own, self._pending, self._batches, self._numbers):
            if not folder.is_dir():
                self.disk.make_folder(folder)
                self.disk.sync_folder(folder.parent)

    def _lock(self) -> int:
        waited = 0.0
        while (handle := self.disk.try_lock(self._own / "lock")) is None:
            if waited >= self._lock_wait:
                raise TransientError(
                    f"{self._connection}: another worker is writing into the {self._program} folder",
                    hint="It is tried again by the next run.",
                    connection=self._connection,
                    code="folder_busy",
                )
            self._clock.sleep(0.1)
            waited += 0.1
        return handle

    # -- questions -----------------------------------------------------------------------------------------

    def known(self, entity: str, keys: Iterable[str]) -> dict[str, Known]:
        """Which of these natural keys are in a committed batch (the newest one), and with which content."""
        wanted = {digest(entity, key): key for key in keys}
        return {wanted[hashed]: known for hashed, known in self._scan(wanted).items()}

    def named(self, space: str, names: Iterable[str]) -> dict[str, Found]:
        """Committed records by the name that the program knows them by (their newest batch)."""
        wanted = {digest("name", space, name): name for name in names}
        by_batch: dict[str, set[str]] = {}
        for hashed, known in self._scan(wanted).items():
            by_batch.setdefault(known.batch, set()).add(wanted[hashed])
        found: dict[str, Found] = {}
        for batch, names_in in by_batch.items():
            receipt = self.receipt(batch) or {}
            for entry in receipt.get("records", ()):
                if entry["name"] in names_in:
                    found[entry["name"]] = Found(batch, str(receipt["entity"]), entry)
        return found

    def of_file(self, sha256: str) -> dict[str, Any] | None:
        """The receipt of the batch that published a file with these contents; None when none of ours did."""
        known = self._scan({digest("file", sha256): sha256}).get(digest("file", sha256))
        return self.receipt(known.batch) if known else None

    def receipt(self, batch: str) -> dict[str, Any] | None:
        """The receipt of a batch; None when it was never committed."""
        path = self._receipt_path(batch)
        with self._errors():
            if not path.is_file():
                return None
            data: dict[str, Any] = orjson.loads(path.read_bytes())
            return data

    def files_of(self, batch: str) -> BatchFiles | None:
        """The files of a batch and where they are; None when it was never committed."""
        receipt = self.receipt(batch)
        if receipt is None:
            return None
        files = receipt["files"]
        with self._errors():
            waits = any(self._lies_there(receipt, n) for n in range(len(files)))
        return BatchFiles(
            files=[f["name"] for f in files],
            sha256=[f["sha256"] for f in files],
            state="withdrawn" if "withdrawn_at" in receipt else "waiting" if waits else "taken",
            keys=[r["key"] for r in receipt["records"]],
        )

    def _lies_there(self, receipt: Mapping[str, Any], number: int) -> bool:
        """A file of a batch, not yet published or not yet taken. Another one of the same name is not it."""
        if (self._pending / f"{receipt['batch']}.{number}").is_file():
            return True
        entry = receipt["files"][number]
        path = self.folder / entry["name"]
        if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        with path.open("rb") as stream:
            return bool(hashlib.file_digest(stream, "sha256").hexdigest() == entry["sha256"])

    def _scan(self, wanted: Mapping[str, str]) -> dict[str, Known]:
        """The last line of each wanted digest whose batch has a receipt and was not released since."""
        found: dict[str, Known] = {}
        if not wanted:
            return found
        committed: dict[str, bool] = {}
        with self._errors():
            for hashed, content_hash, batch in self._lines({key.encode("ascii") for key in wanted}):
                if content_hash == _RELEASED:
                    if hashed in found and found[hashed].batch == batch:
                        del found[hashed]
                    continue
                if batch not in committed:
                    committed[batch] = self._receipt_path(batch).is_file()
                if committed[batch]:
                    found[hashed] = Known(batch, content_hash)
        return found

    def _lines(self, wanted: set[bytes]) -> Iterator[tuple[str, str, str]]:
        """Complete lines of these digests. A torn line (power cut) lacks its end mark and means nothing."""
        if not self._index.is_file():
            return
        with self._index.open("rb", buffering=_BLOCK) as lines:
            for line in lines:
                if line[:32] in wanted and line.endswith(_END):
                    hashed, content_hash, batch, _ = line.decode("ascii").split("\t")
                    yield hashed, content_hash, batch

    def _receipt_path(self, batch: str) -> Path:
        if not _BATCH.match(batch):
            raise ContractViolation(f"{self._connection}: a batch id must be usable as a file name")
        return self._batches / f"{batch}.json"

    # -- hand-over -----------------------------------------------------------------------------------------

    def hand_over(self, handover: Handover) -> dict[str, Any]:
        """Publishes the files of a batch and returns its receipt. Call it inside `locked`.

        Raises StorageFull when nothing was published, OutcomeUnknown when that is not certain (`probe` then
        knows).
        """
        if self.receipt(handover.batch) is not None:
            raise ContractViolation(
                f"{self._connection}: the batch {handover.batch} was handed over before; an id is used once"
            )
        with self._errors():
            pending = self._write_pending(handover)
            try:
                receipt = self._receipt_of(handover, self._name(handover.outputs))
                self.disk.append(self._index, self._index_lines(receipt))
                self.disk.sync_folder(self._own)
            except OSError:
                self._discard(pending)
                raise
        try:
            with self._errors():
                self._write_receipt(receipt)
                self._publish(receipt)
        except StorageFull:
            self._undo(receipt, pending)
            raise
        return receipt

    def _write_pending(self, handover: Handover) -> list[Path]:
        pending = [self._pending / f"{handover.batch}.{n}" for n in range(len(handover.outputs))]
        try:
            for path, output in zip(pending, handover.outputs, strict=True):
                self.disk.remove(path)  # of an attempt under this id that never got its receipt
                self.disk.write_new(path, output.data)
            self.disk.sync_folder(self._pending)
        except OSError:
            self._discard(pending)
            raise
        return pending

    def _discard(self, pending: Sequence[Path]) -> None:
        """Removes pending files without hiding the error that led here; `_recover` removes what stays."""
        with contextlib.suppress(OSError):
            for path in pending:
                self.disk.remove(path)

    def _undo(self, receipt: Mapping[str, Any], pending: Sequence[Path]) -> None:
        """After a failed publication: takes the receipt back, if the main file is certainly not visible."""
        batch = receipt["batch"]
        try:
            if not pending[-1].is_file():
                raise OutcomeUnknown(
                    f"{self._connection}: the batch {batch} may have been published",
                    connection=self._connection,
                )
            self.disk.remove(self._receipt_path(batch))
            self.disk.sync_folder(self._batches)
        except OSError:
            raise OutcomeUnknown(
                f"{self._connection}: the batch {batch} could be neither published nor taken back",
                connection=self._connection,
            ) from None
        files = zip(pending, receipt["files"], strict=True)
        shown = [self.folder / file["name"] for path, file in files if not path.exists()]
        self._discard([*pending, *shown])

    def _receipt_of(self, handover: Handover, names: Sequence[str]) -> dict[str, Any]:
        return {
            "batch": handover.batch,
            "entity": handover.entity,
            "spaces": list(handover.spaces),
            "written_at": self._clock.now().isoformat(),
            "files": [
                {
                    "name": name,
                    "stem": output.stem,
                    "sha256": hashlib.sha256(output.data).hexdigest(),
                    "bytes": len(output.data),
                    "lines": output.data.count(b"\r\n"),
                }
                for name, output in zip(names, handover.outputs, strict=True)
            ],
            "totals": dict(handover.totals),
            "records": [
                {"key": r.key, "hash": r.content_hash, "name": r.name, **_place(r), **r.facts} for r in handover.records
            ],
        }

    def _index_lines(self, receipt: Mapping[str, Any]) -> bytes:
        lines = []
        batch, files = receipt["batch"], receipt["files"]
        for record in receipt["records"]:
            hashed = digest(record["hash"])
            lines.append(f"{digest(receipt['entity'], record['key'])}\t{hashed}\t{batch}\t.\n")
            for space in receipt["spaces"]:
                named = digest("name", space.replace("{file}", files[record.get("file", -1)]["name"]), record["name"])
                lines.append(f"{named}\t{hashed}\t{batch}\t.\n")
        lines += [f"{digest('file', f['sha256'])}\t{digest(f['name'])}\t{batch}\t.\n" for f in files]
        return "".join(lines).encode("ascii")

    def release(self, entity: str, key: str, batch: str) -> None:
        """The program refused the record: it may be handed over again, corrected. Call it inside `locked`."""
        with self._errors():
            self.disk.append(self._index, f"{digest(entity, key)}\t{_RELEASED}\t{batch}\t.\n".encode("ascii"))

    def withdraw(self, batch: str) -> BatchFiles | None:
        """Takes a batch back: its files are moved aside where they still lie, its records may be handed over again.

        None when it was never committed. Idempotent: killed half-way, it is done again from the beginning.
        """
        with self.locked():
            receipt = self.receipt(batch)
            if receipt is None:
                return None
            if "withdrawn_at" not in receipt:
                with self._errors():
                    # First the files: a record that may be handed over again must not lie there any more.
                    for number, entry in enumerate(receipt["files"]):
                        if self._lies_there(receipt, number):
                            self._move_aside(batch, entry["name"])
                    self.disk.append(self._index, self._released(receipt))
                    receipt["withdrawn_at"] = self._clock.now().isoformat()
                    self._write_receipt(receipt)
        return self.files_of(batch)

    def _move_aside(self, batch: str, name: str) -> None:
        aside = self._own / "withdrawn" / batch
        for folder in (aside.parent, aside):
            if not folder.is_dir():
                self.disk.make_folder(folder)
                self.disk.sync_folder(folder.parent)
        path = self.folder / name
        self.disk.move(path, aside / path.name)
        self.disk.sync_folder(path.parent)

    def _released(self, receipt: Mapping[str, Any]) -> bytes:
        """Index lines that let go of every record of a batch, by its key and by its names."""
        batch, files = receipt["batch"], receipt["files"]
        freed = []
        for record in receipt["records"]:
            freed.append(digest(receipt["entity"], record["key"]))
            for space in receipt["spaces"]:
                place = space.replace("{file}", files[record.get("file", -1)]["name"])
                freed.append(digest("name", place, record["name"]))
        return "".join(f"{hashed}\t{_RELEASED}\t{batch}\t.\n" for hashed in freed).encode("ascii")

    # -- names and publication -----------------------------------------------------------------------------

    def _name(self, outputs: Sequence[Output]) -> list[str]:
        """The final names (relative to the folder). Files of one batch share their number."""
        for output in outputs:
            target = self.folder / output.folder
            if not target.is_dir():
                self.disk.make_folder(target)
                self.disk.sync_folder(self.folder)
        if all(output.plain for output in outputs):
            plain = [f"{o.folder}/{o.stem}{o.suffix}" for o in outputs]
            if not any(self._taken(name) for name in plain):
                return plain
        while True:
            number = self._next_number(outputs[-1].stem)
            names = [f"{o.folder}/{o.stem}_{number:06d}{o.suffix}" for o in outputs]
            if not any(self._taken(name) for name in names):
                return names

    def _taken(self, name: str) -> bool:
        """A file of this name lies there, or one that the program has taken and marked in its way."""
        path = self.folder / name
        marked = [p for mark in self._marks for p in (path.with_suffix(mark), path.with_name(path.name + mark))]
        return any(p.exists() or p.is_symlink() for p in (path, *marked))

    def _next_number(self, stem: str) -> int:
        """A number that no file of this stem ever had; made durable before it is used."""
        path = self._numbers / stem
        last = 0
        if path.is_file():
            text = path.read_text("ascii").strip()
            last = int(text) if text.isdigit() else self._highest_number(stem)
        elif any(self._batches.iterdir()):
            last = self._highest_number(stem)
        self.disk.replace(path, f"{last + 1}\n".encode("ascii"))
        return last + 1

    def _highest_number(self, stem: str) -> int:
        """From the receipts: only when the number's own file was lost."""
        pattern = re.compile(rf"/{re.escape(stem)}_(\d+)\.".encode())
        found = [int(n) for p in self._batches.glob("*.json") for n in pattern.findall(p.read_bytes())]
        return max(found, default=0)

    def _publish(self, receipt: dict[str, Any]) -> None:
        """Renames the pending files that are still there to their final names, the main file last."""
        pending = [self._pending / f"{receipt['batch']}.{n}" for n in range(len(receipt["files"]))]
        for path, entry in zip(pending, receipt["files"], strict=True):
            if path.is_file():
                target = self.folder / entry["name"]
                self.disk.move(path, target)
                self.disk.sync_folder(target.parent)
        self.disk.sync_folder(self._pending)

    def _recover(self) -> None:
        """Finishes committed batches, removes what was never committed. Cheap: it looks at pending files
        only.
        """
        waiting = sorted(p for p in self._pending.iterdir() if p.is_file())
        for batch in dict.fromkeys(p.name.rpartition(".")[0] for p in waiting):
            receipt = self.receipt(batch) if _BATCH.match(batch) else None
            if receipt is None:
                self._discard([p for p in waiting if p.name.rpartition(".")[0] == batch])
                continue
            self._rename_if_taken(receipt)
            self._publish(receipt)

    def _rename_if_taken(self, receipt: dict[str, Any]) -> None:
        """Someone put a file under the name that a committed batch was to have: it gets a new number."""
        for number, entry in enumerate(receipt["files"]):
            if (self._pending / f"{receipt['batch']}.{number}").is_file() and self._taken(entry["name"]):
                folder, _, name = entry["name"].rpartition("/")
                stem = entry["stem"] if "stem" in entry else re.split(r"[_.]", name)[0]
                entry["name"] = f"{folder}/{stem}_{self._next_number(stem):06d}{Path(name).suffix}"
                self.disk.append(self._index, self._index_lines(receipt))
                self._write_receipt(receipt)

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return storage_errors(self._base, self._connection, self._program)

    def _write_receipt(self, receipt: dict[str, Any]) -> None:
        self.disk.replace(self._receipt_path(receipt["batch"]), orjson.dumps(receipt, option=orjson.OPT_INDENT_2))


def _place(record: Record) -> dict[str, int]:
    return {} if record.output < 0 else {"file": record.output}
