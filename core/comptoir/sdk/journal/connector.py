"""The connector of an accounting program that reads files of entries: everything but the format itself.

A package for a product names its formats and brings a manifest, profiles and a sandbox; what it pushes is decided
here, exactly once (`comptoir.sdk.journal.handover`), and read again by the linter before anybody sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from comptoir.errors import ComptoirError, ConfigError, ContractViolation, RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.documents.issue import refused, sort_ops
from comptoir.sdk.journal.config import JournalConfig
from comptoir.sdk.journal.disk import Disk, storage_errors
from comptoir.sdk.journal.entry import BookEntry, decimal_of
from comptoir.sdk.journal.formats import BookFile, BookFormat, Setup, written
from comptoir.sdk.journal.handover import Handover, Ledger, Output, Record, digest
from comptoir.sdk.journal.profile import WriterProfile, load_profile
from comptoir.sdk.journal.readback import altered
from comptoir.sdk.journal.reports import Layout, Report, ReportFolder
from comptoir.sdk.layouts import FileLayout
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.protocols import (
    Acknowledgement,
    BatchFiles,
    CheckItem,
    CheckReport,
    ConnectorConfig,
    ConnectorContext,
    Probe,
    PushBatch,
    PushOp,
    PushResult,
)

__all__ = ["JournalConnector", "Said"]

_FOLDER = "compta"
_TAKEN = ".BAK"
_LARGEST_HEADER_FILE = 50_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """A word about a record that stands in the ledger under `name` in `space`. `reason` None: it was taken; `number`:
    what the program calls it now."""

    space: str
    name: str
    reason: str | None = None
    number: str | None = None


class JournalConnector:
    """Hands journal entries over as files. A pushed entry is `written`: durable in a file that nobody has read yet.

    `accepted` comes later: from a file that the program, or the operator, has renamed to `.BAK` after the import, or
    from an import report in `ack/`. Only a report can refuse.
    """

    manifest: ClassVar[Manifest]
    config_model: ClassVar[type[ConnectorConfig]] = JournalConfig
    #: The package that holds `profiles/`, and its formats by the name that a profile gives them.
    package: ClassVar[str]
    formats: ClassVar[Mapping[str, type[BookFormat]]]
    #: The folders into which files are handed over.
    folders: ClassVar[tuple[str, ...]] = (_FOLDER,)
    #: Lists of the program, beside import reports, that are understood in `ack/`.
    lists: ClassVar[tuple[Layout, ...]] = ()

    def __init__(self, config: JournalConfig, ctx: ConnectorContext, *, disk: Disk | None = None) -> None:
        self._config = config
        self._ctx = ctx
        self._folder = config.folder if config.folder.is_absolute() else ctx.base_dir / config.folder
        self._program = self.manifest.name
        self._ledger = Ledger(
            self._folder,
            base=ctx.base_dir,
            connection=ctx.connection,
            clock=ctx.clock,
            lock_wait=config.lock_wait_seconds,
            program=self._program,
            marks=(_TAKEN,),
            disk=disk,
        )
        self._reports = ReportFolder(
            self._ledger,
            ctx,
            charset=config.ack_charset,
            max_bytes=config.ack_max_bytes,
            program=self._program,
            others=self.lists,
        )
        self._made: BookFormat | None = None

    # -- the format --------------------------------------------------------------------------------------------

    def book_format(self) -> BookFormat:
        """The format of the connection's profile; ConfigError, naming the setting, when it cannot be used."""
        if self._made is None:
            try:
                profile = load_profile(self.package, self._config.profile, self._ctx.base_dir)
                kind = self.formats.get(profile.format)
                if kind is None:
                    raise ConfigError(
                        f"{profile.source}: there is no format {profile.format!r} here; allowed: "
                        f"{', '.join(sorted(self.formats))}",
                        code="profile",
                    )
                company = self._ctx.company
                header = self.header(profile)
                self._made = kind(profile, Setup(company, header, self._config.first_number))
            except ConfigError as error:
                raise ConfigError(
                    f"{self._ctx.connection}: {error.message}",
                    hint=error.hint,
                    code=error.code,
                    connection=self._ctx.connection,
                ) from None
        return self._made

    def header(self, profile: WriterProfile) -> tuple[str, ...]:
        """The first lines of the customer's own export, for formats that begin with them."""
        del profile
        return ()

    def sample(self, path: Path, setting: str = "header_from") -> bytes:
        """A file that the customer exported and `setting` names; ConfigError when it cannot be read."""
        try:
            with (self._ctx.base_dir / path).open("rb") as file:
                return file.read(_LARGEST_HEADER_FILE)
        except OSError as error:
            raise ConfigError(
                f"{setting}: {path} cannot be read: {error.strerror}", hint="It stands relative to comptoir.toml."
            ) from None

    # -- check -------------------------------------------------------------------------------------------------

    def check(self) -> CheckReport:
        """Folder, profile and what is known of it, files waiting to be taken; writes nothing."""
        there = self._folder.is_dir()
        items = [
            CheckItem(
                "folder",
                there or self._folder.is_relative_to(self._ctx.base_dir),
                f"{self._config.folder} {'exists' if there else 'does not exist (yet)'}",
                None if there else "Mount the share, or create the folder.",
            )
        ]
        if self.takes_entries():
            try:
                profile = self.book_format().profile
            except ComptoirError as error:
                return CheckReport([*items, CheckItem.failed("profile", error)])
            items += _known_of(profile)
        with storage_errors(self._ctx.base_dir, self._ctx.connection, self._program):
            waiting = [p for p in self._files() if p.suffix.upper() != _TAKEN]
        items.append(CheckItem("waiting", True, f"{len(waiting)} file(s) not yet taken by {self._program}"))
        return CheckReport(items)

    def takes_entries(self) -> bool:
        """Whether the settings are those of a connection for entries: `check` then says what they lack."""
        return True

    def layouts(self) -> Sequence[FileLayout]:
        """The layout of entries, where the connection takes them; ConfigError as `book_format`."""
        if not self.takes_entries():
            return []
        return [self.book_format().profile.layout("entries", (EntityName.JOURNAL_ENTRY,))]

    def _files(self) -> list[Path]:
        folders = [self._folder / name for name in self.folders if (self._folder / name).is_dir()]
        return [
            path
            for folder in folders
            for path in sorted(folder.iterdir())
            if path.is_file() and not path.is_symlink() and path.name[0] not in ".~"
        ]

    # -- batches -------------------------------------------------------------------------------------------

    def batch(self, batch: str) -> BatchFiles | None:
        """The files of a batch, and whether they were taken."""
        return self._ledger.files_of(batch)

    def withdraw(self, batch: str) -> Sequence[str]:
        """Takes a batch back; the natural keys of its records."""
        found = self._ledger.withdraw(batch)
        return [] if found is None else found.keys

    def read_back(self, batch: PushBatch) -> Sequence[str]:
        """What files of entries that still lie there say otherwise than what was handed over."""
        receipt = self._ledger.receipt(batch.id)
        if receipt is None or "withdrawn_at" in receipt or batch.entity is not EntityName.JOURNAL_ENTRY:
            return []
        book_format = self.book_format()
        entries = {op.natural_key: entry for op, entry in self._render(book_format, batch.ops, {})}
        with storage_errors(self._ctx.base_dir, self._ctx.connection, self._program):
            return altered(receipt, self._folder, book_format, entries)

    # -- push --------------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One file (FEC: one a financial year) for the batch's new entries; `written` for those and for what was handed
        over before.

        Raises ConfigError when the profile cannot be used, StorageFull when nothing was written, OutcomeUnknown when
        that is not certain, TransientError when another worker holds the folder.
        """
        if batch.entity is not EntityName.JOURNAL_ENTRY:
            raise ContractViolation(f"{self._ctx.connection}: {self._program} takes no {batch.entity.value}")
        book_format = self.book_format()
        with self._ledger.locked():
            known = self._ledger.known(batch.entity.value, (op.natural_key for op in batch.ops))
            hint = "An issued entry is corrected by a reversal, never by another content under its key."
            results, fresh = sort_ops(batch, known, connection=self._ctx.connection, field="key", hint=hint)
            entries = self._render(book_format, fresh, results)
            if entries:
                self._hand_over(book_format, batch, entries)
        for op, entry in entries:
            note = str(entry.remarks)
            if note:
                self._ctx.logger.info("journal_entry %s: %s", op.natural_key, note)
            results[op.delivery_id] = PushResult(op.delivery_id, "written", reason=note or None)
        return [results[op.delivery_id] for op in batch.ops]

    def _render(
        self, book_format: BookFormat, ops: Sequence[PushOp], results: dict[str, PushResult]
    ) -> list[tuple[PushOp, BookEntry]]:
        terms = book_format.terms(self._config, self._ctx.company.currency)
        rendered: list[tuple[PushOp, BookEntry]] = []
        for op in ops:
            try:
                rendered.append((op, terms.entry(op.payload, op.natural_key)))
            except RecordRejected as error:
                results[op.delivery_id] = refused(op, error)
        return rendered

    def _hand_over(
        self, book_format: BookFormat, batch: PushBatch, rendered: Sequence[tuple[PushOp, BookEntry]]
    ) -> None:
        ops = {id(entry): op for op, entry in rendered}
        outputs: list[Output] = []
        records: list[Record] = []
        for file in book_format.files([entry for _, entry in rendered]):
            for name, data in book_format.companions(file.entries):
                outputs.append(_output(name, data))
            data, pieces = self._written(book_format, file)
            outputs.append(_output(file.name, data))
            for entry, piece in zip(file.entries, pieces, strict=True):
                op = ops[id(entry)]
                facts = {"total": str(decimal_of(entry.cents))}
                records.append(Record(op.natural_key, op.content_hash, piece, facts, len(outputs) - 1))
        days = sorted(entry.posted_on for _, entry in rendered)
        total = str(decimal_of(sum(entry.cents for _, entry in rendered)))
        totals = {
            "records": str(len(rendered)),
            "amount": total,
            "debit": total,
            "credit": total,
            "first_day": str(days[0]),
            "last_day": str(days[-1]),
            "profile": f"{book_format.profile.source}, {book_format.profile.state}",
        }
        handover = Handover(batch.id, batch.entity.value, records, outputs, totals, ("piece:{file}",))
        receipt = self._ledger.hand_over(handover)
        names = ", ".join(str(file["name"]) for file in receipt["files"])
        self._ctx.logger.info("%s: %d entries handed over in %s", self._ctx.connection, len(rendered), names)

    def _written(self, book_format: BookFormat, file: BookFile) -> tuple[bytes, list[str]]:
        data, pieces, faults = written(book_format, file.entries)
        if faults.count:
            raise ContractViolation(
                f"{self._ctx.connection}: {file.name} is wrong and was not handed over: {faults.found[0]}"
                + (f" (and {faults.count - 1} more)" if faults.count > 1 else ""),
                hint="This is a defect of Comptoir or of the profile: report it with the batch's entries.",
            )
        return data, pieces

    # -- probe -------------------------------------------------------------------------------------------------

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """Present: the entry is in a committed batch, this one or an earlier one, with this content. Else absent.

        Before it answers, an interrupted publication is finished: what has a receipt will be visible. `unknown` when
        the same key was handed over with another content: a person decides.
        """
        with self._ledger.locked():
            known = self._ledger.known(batch.entity.value, (op.natural_key for op in batch.ops))
        probes = []
        for op in batch.ops:
            earlier = known.get(op.natural_key)
            if earlier is None:
                probes.append(Probe(op.delivery_id, "absent"))
            else:
                same = earlier.content_hash == digest(op.content_hash)
                probes.append(Probe(op.delivery_id, "present" if same else "unknown"))
        return probes

    # -- acknowledgements --------------------------------------------------------------------------------------

    def acknowledgements(self) -> Iterator[tuple[str, Sequence[Acknowledgement]]]:
        """Files that were imported and renamed to `.BAK`, then import reports, oldest first."""
        with storage_errors(self._ctx.base_dir, self._ctx.connection, self._program):
            taken = [p for p in self._files() if p.suffix.upper() == _TAKEN]
        for path in taken:
            acks = self._imported(path)
            if acks is not None:
                yield f"{path.parent.name}/{path.name}", acks
        for report in self._reports.waiting():
            yield report.name, [ack for _, ack in self._words(report)]

    def acknowledged(self, report: str) -> None:
        """Files a report, or a `.BAK`, away under `ack/done/`; refused entries may be handed over again, corrected."""
        folder, _, name = report.rpartition("/")
        with self._ledger.locked():
            if folder in self.folders:
                path = self._folder / folder / name
                if Path(name).name == name and path.is_file() and self._imported(path) is not None:
                    self._reports.file_away(path, "done", _sha256(path))
                return
            read = self._reports.again(report)
            if read is None:
                return
            for batch, ack in self._words(read):
                if ack.outcome == "rejected":
                    self._ledger.release(ack.entity.value, ack.natural_key, batch)
            self._reports.done(read)

    def _imported(self, path: Path) -> list[Acknowledgement] | None:
        """The entries of a file that was taken; None when it is none of ours, was changed since, or was withdrawn."""
        with storage_errors(self._ctx.base_dir, self._ctx.connection, self._program):
            sha256 = _sha256(path)
        receipt = self._ledger.of_file(sha256)
        if receipt is None:
            self._ctx.logger.warning(
                "%s: %s holds none of our files; it stays where it is", self._ctx.connection, path.name
            )
            return None
        if "withdrawn_at" in receipt:
            self._ctx.logger.error(
                "%s: %s was withdrawn and yet imported: delete that import in %s, then the file; its entries went out "
                "again, or still will",
                self._ctx.connection,
                path.name,
                self._program,
            )
            return None
        (number,) = [n for n, file in enumerate(receipt["files"]) if file["sha256"] == sha256][:1]
        entity = EntityName(receipt["entity"])
        return [
            Acknowledgement(entity, str(record["key"]), "accepted")
            for record in receipt["records"]
            if record.get("file", len(receipt["files"]) - 1) == number
        ]

    def _words(self, report: Report) -> list[tuple[str, Acknowledgement]]:
        """Batch and acknowledgement of each entry of ours that an import report names; others are passed over."""
        by_space: dict[str, dict[str, Said]] = {}
        for row in report.rows:
            said = self.said(row)
            by_space.setdefault(said.space, {})[said.name] = said
        heard: list[tuple[str, Acknowledgement]] = []
        for space, rows in by_space.items():
            for name, found in self._ledger.named(space, rows).items():
                said, entity, key = rows[name], EntityName(found.entity), str(found.record["key"])
                outcome: Any = "accepted" if said.reason is None else "rejected"
                ack = Acknowledgement(entity, key, outcome, external_id=said.number, reason=said.reason)
                heard.append((found.batch, ack))
        return heard

    def said(self, row: Any) -> Said:
        """What one row of a report in `ack/` says, and of which record."""
        file = row.file.replace("\\", "/").rpartition("/")[2]
        return Said(f"piece:{_FOLDER}/{file}", row.name, None if row.accepted else row.reason or "refused")


def _known_of(profile: WriterProfile) -> list[CheckItem]:
    """What is known of a profile, and what is not."""
    text = "unaccented capitals" if profile.text == "capitals" else "text as it is"
    detail = f"{profile.product}: {profile.state}; {text} in {profile.charset}"
    return [
        CheckItem("profile", True, detail),
        *(CheckItem("unconfirmed", True, words) for words in profile.unconfirmed),
    ]


def _output(name: str, data: bytes) -> Output:
    stem, _, suffix = name.rpartition(".")
    return Output(_FOLDER, stem, f".{suffix}", data, plain=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
