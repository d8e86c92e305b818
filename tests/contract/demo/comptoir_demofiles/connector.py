"""The demo till: `ITEMS*.csv` are read, orders are written to `in/`, its words are read from `ack/`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import (
    Acknowledgement,
    CheckItem,
    CheckReport,
    ConfigError,
    ConnectorConfig,
    ConnectorContext,
    ContractViolation,
    EntityName,
    Manifest,
    OutcomeUnknown,
    Page,
    Probe,
    PullRequest,
    PushBatch,
    PushOp,
    PushResult,
    RawItem,
    StorageFull,
    TransientError,
    load_manifest,
)
from comptoir_demofiles.config import DemoFilesConfig

__all__ = ["DemoFilesConnector"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CAPTIONS = ("number", "name", "price", "quantity")


class Unfit(Exception):
    """A record that the till cannot take."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class DemoFilesConnector:
    """One demo till."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_demofiles")
    config_model: ClassVar[type[ConnectorConfig]] = DemoFilesConfig

    def __init__(self, config: DemoFilesConfig, ctx: ConnectorContext) -> None:
        self._config = config
        self._ctx = ctx
        self._folder = config.folder
        self._charset = self.manifest.limits.charset

    def check(self) -> CheckReport:
        """Whether the folder is there."""
        there = self._folder.is_dir()
        return CheckReport([CheckItem("folder", there, "is there" if there else "is missing", "Mount the share.")])

    # --- reading ----------------------------------------------------------------------------------------------

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """The rows of the newest export, when it is newer than `since`."""
        if request.entity is not EntityName.ITEM:
            raise ContractViolation(f"{self._ctx.connection}: the demo till has no {request.entity.value}")
        return self._pages(request)

    def _pages(self, request: PullRequest) -> Iterator[Page]:
        self.want_folder()
        file = self.newest(request.since)
        if file is None or not self.is_settled(file):
            return
        items = list(self.items(file))
        version = {"file": file.name, "at": file.stat().st_mtime_ns}
        position = request.position or {}
        begin = int(position["row"]) if {k: position.get(k) for k in version} == version else 0
        size = self._config.page_rows
        for at in range(begin, len(items), size):
            yield Page(items[at : at + size], position={**version, "row": at + size}, total=len(items))

    def want_folder(self) -> None:
        """A share that is not mounted is no empty one."""
        if not self._folder.is_dir():
            raise TransientError(f"{self._ctx.connection}: the folder is not there", connection=self._ctx.connection)

    def newest(self, since: datetime | None) -> Path | None:
        """The newest export that is newer than what was read."""
        found = [path for path in self._folder.glob("ITEMS*.csv") if self.is_ours(path)]
        path = max(found, key=lambda p: p.stat().st_mtime_ns, default=None)
        return path if path is not None and (since is None or _moment(path) > since) else None

    def is_ours(self, path: Path) -> bool:
        """A file of this folder, not a link to another one."""
        return not path.is_symlink()

    def is_settled(self, file: Path) -> bool:
        """Whether it is whole and nobody writes to it."""
        before = file.stat()
        if self._ctx.clock.now() - _moment(file) < timedelta(seconds=self._config.quiet_seconds):
            self._ctx.clock.sleep(self._config.quiet_seconds)
            after = file.stat()
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                self._ctx.logger.warning("%s: %s is being written", self._ctx.connection, file.name)
                return False
        if before.st_size and not file.read_bytes().endswith(b"\n"):
            self._ctx.logger.warning("%s: %s ends in the middle of a line", self._ctx.connection, file.name)
            return False
        return True

    def items(self, file: Path) -> Iterator[RawItem]:
        """A record for each row; one that cannot be read says why."""
        lines = self.text(file).splitlines()
        if not lines:
            raise self.unusable(file, "it is empty")
        head = lines[0].split(";")
        if "code" not in head:
            raise self.unusable(file, "the column code is missing")
        for number, line in enumerate(lines[1:], start=2):
            yield self.item(file, number, head, line.split(";"))

    def item(self, file: Path, number: int, head: Sequence[str], cells: Sequence[str]) -> RawItem:
        """One row."""
        if len(cells) != len(head):
            fault = {"fault": f"{file.name} line {number}: {len(cells)} cells instead of {len(head)}"}
            return RawItem(EntityName.ITEM, f"line-{number}", fault, _moment(file))
        row = dict(zip(head, cells, strict=True))
        known = {name: row.get(name, "") for name in ("code", "name", "price")}
        return RawItem(EntityName.ITEM, row["code"], known, _moment(file))

    def text(self, file: Path) -> str:
        """The file's text."""
        try:
            return file.read_bytes().decode(self._charset)
        except UnicodeDecodeError as error:
            raise self.unusable(file, f"byte {error.start} is no {self._charset}") from None

    def unusable(self, file: Path, reason: str) -> ConfigError:
        """A file that cannot be read at all."""
        return ConfigError(
            f"{self._ctx.connection}: {file.name} cannot be used: {reason}",
            hint="Export it again.",
            connection=self._ctx.connection,
        )

    # --- writing ----------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One file for what was not handed over before."""
        with self.storing():
            there = self.handed_over()
            results, rows = [], dict[str, list[str]]()
            for op in batch.ops:
                try:
                    if not self.is_there(op, there) and op.natural_key not in rows:
                        rows[op.natural_key] = self.row(op)
                    results.append(PushResult(op.delivery_id, "written"))
                except Unfit as unfit:
                    results.append(self.refused(op, unfit))
            if rows:
                self.write(self.name(batch), "".join(f"{';'.join(row)}\r\n" for row in [_CAPTIONS, *rows.values()]))
        return results

    def refused(self, op: PushOp, unfit: Unfit) -> PushResult:
        """What the till cannot take."""
        return PushResult(op.delivery_id, "rejected", reason=str(unfit), field=unfit.field)

    def name(self, batch: PushBatch) -> str:
        """A name that no other file has."""
        return f"ORDERS-{len(list((self._folder / 'in').glob('ORDERS-*.csv'))) + 1:06d}.csv"

    def is_there(self, op: PushOp, there: Counter[str]) -> bool:
        """Whether the record was handed over and not refused since."""
        return there[op.natural_key] > 0

    def row(self, op: PushOp) -> list[str]:
        """A record's cells. Unfit for what the till would cut or not understand."""
        fields = op.payload
        number, name = str(fields["number"]), str(fields["name"])
        if len(number) > self.manifest.limits.lengths["number"]:
            raise Unfit("number", f"{number} has {len(number)} characters, the till keeps 12")
        if name == "forbidden":
            raise Unfit("name", "the till does not take this name")
        try:
            f"{number}{name}".encode(self._charset)
        except UnicodeEncodeError as error:
            raise Unfit("name", f"{name[error.start : error.end]!r} is no {self._charset}") from None
        return [number, name.replace(";", ","), self.amount(fields["price"]), str(fields["quantity"])]

    def amount(self, value: Any) -> str:
        """Euros and cents."""
        try:
            return f"{Decimal(str(value)):.2f}"
        except InvalidOperation:
            raise Unfit("price", f"{value!r} is no amount") from None

    def write(self, name: str, text: str) -> None:
        """The whole file at once: written aside, then renamed."""
        folder = self._folder / "in"
        aside = folder / f".{name}"
        data = text.encode(self._charset)
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o664)
        try:
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(aside, folder / name)  # noqa: PTH104 - the seam names the system call

    def handed_over(self) -> Counter[str]:
        """How often each number stands in our files, less how often it was refused."""
        self.want_folder()
        (self._folder / "in").mkdir(exist_ok=True)
        found = Counter[str]()
        for path in (self._folder / "in").glob("ORDERS-*.csv"):
            found.update(line.split(";")[0] for line in self.text(path).splitlines()[1:])
        for path in (self._folder / "ack").glob("done/*.csv"):
            found.subtract(key for key, state, _ in self.words(path) if state == "refused")
        return found

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """Whether the records stand in our files."""
        with self.storing():
            there = self.handed_over()
        return [Probe(op.delivery_id, "present" if there[op.natural_key] > 0 else "absent") for op in batch.ops]

    @contextmanager
    def storing(self) -> Iterator[None]:
        """What the operating system says, in our words."""
        try:
            yield
        except OSError as error:
            kind = StorageFull if error.errno else OutcomeUnknown
            raise kind(
                f"{self._ctx.connection}: the folder cannot be written to: {error.strerror}",
                hint="Free some space.",
                connection=self._ctx.connection,
            ) from None

    # --- what the till says later -----------------------------------------------------------------------------

    def acknowledgements(self) -> Iterator[tuple[str, Sequence[Acknowledgement]]]:
        """The reports in `ack/`."""
        for path in sorted((self._folder / "ack").glob("*.csv")):
            said = []
            for key, state, reason in self.words(path):
                outcome: Mapping[str, Any] = {"outcome": "rejected", "reason": reason}
                if state == "taken":
                    outcome = {"outcome": "accepted"}
                said.append(Acknowledgement(EntityName.ORDER, key, **outcome))
            yield path.name, said

    def acknowledged(self, report: str) -> None:
        """Files a report away."""
        done = self._folder / "ack" / "done"
        done.mkdir(exist_ok=True)
        (self._folder / "ack" / report).rename(done / report)

    def words(self, path: Path) -> list[list[str]]:
        """Number, state and reason of each row."""
        return [line.split(";", 2) for line in self.text(path).splitlines()]


def _moment(path: Path) -> datetime:
    return _EPOCH + timedelta(microseconds=path.stat().st_mtime_ns // 1000)
