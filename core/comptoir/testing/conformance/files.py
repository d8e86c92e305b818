"""K90 to K99: files are read when they are whole, and written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comptoir.sdk import ComptoirError, ConfigError, EntityName, OutcomeUnknown, StorageFull, TransientError
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.kit import ConnectorKit, FileKit
from comptoir.testing.conformance.rules import Broken, Subject, demand, rule
from comptoir.testing.conformance.subjects import exported, pushed, whole

__all__: list[str] = []

_LONG = 24 * 3600.0
#: System calls at which a disk may be full or a share gone.
_CALLS = ("open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir")


def _kit(bench: Bench) -> FileKit:
    assert isinstance(bench.kit, FileKit)
    return bench.kit


def _export(bench: Bench, entity: EntityName) -> tuple[Path, bytes]:
    for _ in range(3):
        bench.kit.create(entity)
    bench.clock.advance(_LONG)
    path = _kit(bench).exported(entity)
    return path, path.read_bytes()


def _put(bench: Bench, path: Path, data: bytes, *, age: float = 3600.0) -> None:
    """The file gets other contents, last written so many seconds ago."""
    path.write_bytes(data)
    moment = int((bench.clock.now().timestamp() - age) * 1e9)
    os.utime(path, ns=(moment, moment))


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _charset(bench: Bench) -> str:
    return _kit(bench).charset or bench.manifest.limits.charset


def _said_of(bench: Bench, path: Path) -> bool:
    return any(path.name in line for line in bench.said.lines)


@rule(
    "K90",
    "partial-file-waits",
    says="A file that ends in the middle of a line is not read; when the rest has come, it is read whole.",
    do="Look whether the last line is ended (or a ready marker lies beside it) before the first record is given.",
    of=exported,
)
def _partial(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    complete = {item.external_id for item in bench.pull(entity)}
    demand(complete, "the complete file gives nothing")
    _put(bench, path, data[: len(data) - len(_lines(data)[-1]) // 2 - 1])
    found: list[str] = []
    error = bench.error_of(lambda: found.extend(item.external_id for item in bench.pull(entity)))
    demand(not found, f"half of the file has come, and {len(found)} records of it were given")
    demand(error is not None or _said_of(bench, path), "half of the file has come, and nothing is said of it")
    _put(bench, path, data)
    again = {item.external_id for item in bench.pull(entity)}
    demand(again == complete, "the rest has come, and the file is not read whole")


@rule(
    "K91",
    "growing-file-waits",
    says="A file that is still being written is not read.",
    do="Wait by ctx.clock until it has stayed the same for a while, or read only what was renamed into place.",
    of=exported,
)
def _growing(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    rows = _lines(data)
    _put(bench, path, b"".join(rows[:-1]), age=0)
    slept = bench.clock.sleep
    grown: list[float] = []

    def sleep(seconds: float) -> None:
        slept(seconds)
        grown.append(seconds)
        _put(bench, path, data if len(grown) == 1 else data + rows[-1] * len(grown), age=0)

    bench.clock.sleep = sleep  # type: ignore[method-assign]
    found: list[str] = []
    error = bench.error_of(lambda: found.extend(item.external_id for item in bench.pull(entity)))
    bench.clock.sleep = slept  # type: ignore[method-assign]
    demand(not found, f"the file was being written, and {len(found)} records of it were given")
    demand(error is not None or _said_of(bench, path), "the file was being written, and nothing is said of it")


@rule(
    "K92",
    "unknown-column-does-no-harm",
    says="A column that nobody knows, wherever it stands, shifts no value of another.",
    do="Find columns by their caption, never by their place.",
    of=exported,
)
def _unknown_column(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    sign = _kit(bench).delimiter.encode()
    before = {item.external_id: bench.steady(item) for item in bench.pull(entity)}
    head, *rest = _lines(data)
    wider = [b"Unknown to all" + sign + head, *(b"x%d" % n + sign + row for n, row in enumerate(rest))]
    _put(bench, path, b"".join(wider))
    after = {item.external_id: bench.steady(item) for item in bench.pull(entity)}
    demand(set(before) == set(after), "with a further column, other records are read")
    for key, payload in before.items():
        moved = sorted(name for name in payload if not _kept(payload[name], after[key].get(name)))
        demand(not moved, f"with a further column, {', '.join(moved)} of {key} changed")


def _kept(before: Any, after: Any) -> bool:
    """The same value; a mapping (of the columns that nobody knows) may have got more."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return all(_kept(value, after.get(name)) for name, value in before.items())
    return bool(before == after)


@rule(
    "K93",
    "missing-column-is-named",
    says="A file without the column of the key raises ConfigError that names the file, and gives nothing.",
    do="Check the captions before the first record.",
    of=exported,
)
def _missing_column(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    caption = _kit(bench).key_column(entity)
    head, *rest = _lines(data)
    old = caption.encode(_charset(bench))
    demand(old in head, f"the kit's key_column {caption!r} is no caption of {path.name}")
    _put(bench, path, b"".join([head.replace(old, b"Something else"), *rest]))
    found: list[str] = []
    error = bench.error_of(lambda: found.extend(item.external_id for item in bench.pull(entity)))
    demand(not found, f"{caption!r} is missing, and {len(found)} records were given")
    demand(error is not None, f"{caption!r} is missing, and the file counts as read")
    demand(isinstance(error, ConfigError), f"{caption!r} is missing, and it raises {type(error).__name__}")
    demand(path.name in str(error), f"the error does not name the file {path.name}: {error}")


@rule(
    "K94",
    "wrong-encoding-is-noticed",
    says="Bytes that the charset does not know are refused with file and line; no replacement character is ever read.",
    do='Decode strictly; never errors="replace" or "ignore", and never guess after a failure.',
    of=exported,
)
def _wrong_encoding(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    strange = _undecodable(_charset(bench))
    rows = _lines(data)
    bad = rows[-1][:1] + strange + rows[-1][1:]
    for what, contents in (
        ("a byte that the charset does not know", b"".join([*rows[:-1], bad])),
        ("UTF-16", data.decode(_charset(bench)).encode("utf-16")),
        ("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4),
    ):
        _put(bench, path, contents)
        found: list[Any] = []
        bench.said.lines.clear()
        error = bench.error_of(lambda found=found: found.extend(bench.pull(entity)))  # type: ignore[misc]
        text = repr([item.payload for item in found])
        demand("\ufffd" not in text, f"{what}: a replacement character was read")
        told = error is not None or _said_of(bench, path) or path.name in text
        demand(told, f"{what}: nothing is said of it")
        if error is not None:
            demand(isinstance(error, ConfigError | TransientError), f"{what}: raises {type(error).__name__}: {error}")


def _undecodable(charset: str) -> bytes:
    for byte in (b"\x81", b"\x8d", b"\xff", b"\xc3("):
        try:
            byte.decode(charset)
        except UnicodeDecodeError:
            return byte
    return b"\x00"


@rule(
    "K95",
    "stays-in-its-folder",
    says="A link that leads out of the folder is not followed.",
    do="Pass over symbolic links; resolve a path and compare it with the folder before opening it.",
    of=exported,
)
def _stays_inside(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    before = {item.external_id for item in bench.pull(entity)}
    outside = bench.kit.folder.parent / f"{bench.kit.folder.name}-outside{path.suffix}"
    head, *rest = _lines(data)
    try:
        _put(bench, outside, b"".join([head, rest[0]]), age=1800)
        path.unlink()
        path.symlink_to(outside)
        found: list[str] = []
        error = bench.error_of(lambda: found.extend(item.external_id for item in bench.pull(entity)))
    finally:
        outside.unlink(missing_ok=True)
    demand(before, "the export gives nothing")
    demand(not found, "a link that leads out of the folder was followed")
    demand(error is None or isinstance(error, ConfigError | TransientError), f"it raises {type(error).__name__}")


@rule(
    "K96",
    "missing-folder-is-an-error",
    says="A folder that is not there is a failure, neither an empty export nor a place to make: no share is mounted.",
    do="Raise TransientError (reading) or StorageFull (writing) when a folder outside the installation is missing.",
    of=lambda kit: whole(kit) if kit.connector.manifest.transport == "files" else iter(()),
)
def _missing_folder(bench: Bench, subject: Subject) -> None:
    kit = _kit(bench)
    readers = [s.entity for s in exported(type(kit))]
    writers = [s.entity for s in pushed(type(kit))]
    for entity in readers:
        kit.create(entity)
    bench.clock.advance(_LONG)
    records = [(entity, bench.record(entity, 1)) for entity in writers]
    kit.unplug()
    for entity in readers:
        error = bench.error_of(lambda entity=entity: bench.pull(entity))  # type: ignore[misc]
        demand(
            error is not None, f"the folder is gone, and a read of {entity.value} gives nothing, as if all were well"
        )
        demand(isinstance(error, TransientError | StorageFull | ConfigError), f"a read raises {type(error).__name__}")
    for entity, record in records:
        batch = bench.batch(entity, record)
        error = bench.error_of(lambda batch=batch: bench.push(batch))  # type: ignore[misc]
        demand(error is not None, f"the folder is gone, and {entity.value} is written all the same")
        demand(isinstance(error, TransientError | StorageFull | ConfigError), f"a write raises {type(error).__name__}")


@rule(
    "K97",
    "broken-row-is-reported",
    says="A row that cannot be read is reported, and the others come.",
    do="Give a record that the mapping refuses, with file and line as its reason; end the read only when the whole "
    "file is unusable.",
    of=exported,
)
def _broken_row(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, data = _export(bench, entity)
    sign = _kit(bench).delimiter.encode()
    before = {item.external_id for item in bench.pull(entity)}
    rows = _lines(data)
    ending = b"\r\n" if rows[1].endswith(b"\r\n") else b"\n"
    for what, row in (("too many cells", rows[1].rstrip(b"\r\n") + sign * 40 + ending), ("one cell", b"x" + ending)):
        _put(bench, path, b"".join([rows[0], row, *rows[2:]]))
        bench.said.lines.clear()
        found: list[Any] = []
        error = bench.error_of(lambda found=found: found.extend(bench.pull(entity)))  # type: ignore[misc]
        if error is not None:
            demand(path.name in str(error), f"a row with {what}: the error does not name the file: {error}")
            continue
        ids = {item.external_id for item in found}
        demand(len(before & ids) >= len(before) - 1, f"a row with {what} took others with it")
        strange = [item for item in found if item.external_id not in before]
        told = any(path.name in repr(item.payload) for item in strange) or _said_of(bench, path)
        demand(told, f"a row with {what}: nothing is said of it")


@rule(
    "K98",
    "empty-file-is-not-no-records",
    says="A file of no bytes is not an empty export: it is said, and nothing follows from it.",
    do="Want a header line at least.",
    of=exported,
)
def _empty_file(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    path, _ = _export(bench, entity)
    _put(bench, path, b"")
    bench.said.lines.clear()
    found: list[str] = []
    error = bench.error_of(lambda: found.extend(item.external_id for item in bench.pull(entity)))
    demand(not found, "an empty file gives records")
    demand(error is not None or _said_of(bench, path), f"{path.name} is empty, and nothing is said of it")


@contextmanager
def _failing_at(folder: Path, count: int) -> Iterator[Callable[[], bool]]:
    """The count-th system call fails as on a full disk; whether it was reached."""
    originals: dict[str, Any] = {name: getattr(os, name) for name in _CALLS}
    left = count

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal left
            first = args[0] if args else None
            ours = isinstance(first, int) or str(first).startswith(str(folder))
            if ours and not _only_reads(name, args):
                left -= 1
                if left == 0:
                    raise OSError(
                        errno.ENOSPC, "No space left on device", None if isinstance(first, int) else str(first)
                    )
            return originals[name](*args, **more)

        return call

    for name in originals:
        setattr(os, name, wrapped(name))
    try:
        yield lambda: left <= 0
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def _only_reads(name: str, args: tuple[Any, ...]) -> bool:
    return name == "open" and len(args) > 1 and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)


def _written(kit: type[ConnectorKit]) -> Iterator[Subject]:
    return pushed(kit) if kit.connector.manifest.transport == "files" else iter(())


@rule(
    "K99",
    "full-disk-loses-and-doubles-nothing",
    says="When the disk is full at any step of a push, the error says so, the probe knows what happened, and the next "
    "push leaves one object.",
    do="Write aside, make durable, commit a receipt, then rename; let the probe read the receipt.",
    of=_written,
)
def _full_disk(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    for step in range(1, 200):
        record = bench.record(entity, step)
        batch = bench.batch(entity, record)
        with _failing_at(bench.kit.folder, step) as reached:
            error = _storage_error(bench, batch)
            failed = reached()
        if error is not None:
            demand(
                isinstance(error, StorageFull | OutcomeUnknown | TransientError),
                f"the disk is full at step {step}, and it raises {type(error).__name__}: {error}",
            )
        bench.clock.advance(bench.manifest.read_lag_seconds + 3600)
        if bench.manifest.lost_answer == "natural_key":
            found = bench.probe(batch)[record.natural_key].found
            stands = bool(bench.kit.stored(entity, record.natural_key))
            demand(found != "unknown", f"the disk was full at step {step}, and the probe cannot tell what happened")
            demand(
                (found == "present") == stands,
                f"the disk was full at step {step}: the probe says {found}, the folder otherwise",
            )
        result = bench.push(batch)[record.natural_key]
        demand(result.outcome != "rejected", f"after a full disk at step {step} it is rejected: {result.reason}")
        count = len(bench.kit.stored(entity, record.natural_key))
        demand(count == 1, f"the disk was full at step {step}, and now the record stands {count} times")
        if not failed:
            demand(step > 1, "nothing was written")
            return
    raise Broken("a push of one record takes more than 200 steps")


def _storage_error(bench: Bench, batch: Any) -> ComptoirError | None:
    return bench.error_of(lambda: bench.push(batch))
