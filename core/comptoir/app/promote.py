"""Promote: the configuration and mappings of a staging installation go to production, and nothing else.

With them go the files that the configuration names (profiles of the merchant's own, headers of his programs), and what
is known of trial imports: a connection that writes files of a layout that nobody has seen imported is not promoted.
Never credentials (they are in Airflow connections or the environment), keys, bindings or cursors (they are in the
database), exchange folders or stage.toml. What was changed in production by hand since the last time is not
overwritten in silence; what is replaced is kept below `.comptoir/promoted/`.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from comptoir.app.bootstrap import Installation, check_installation, system_ports
from comptoir.app.credentials import variable
from comptoir.app.mappings import check_all, test_golden
from comptoir.app.stage import FILE as STAGE_FILE
from comptoir.app.stage import stage_of
from comptoir.app.trial_imports import FILE as TRIALS_FILE
from comptoir.app.trial_imports import asked, merged
from comptoir.engine.ports import Clock
from comptoir.errors import ConfigError

__all__ = ["Promotion", "Step", "promote"]

#: What travels: the configuration itself, and these folders beside it.
_FOLDERS = {"mappings": (".yaml", ".json"), "connectors": (".toml", ".yaml", ".json", ".md")}
_RECORD = ".comptoir/promoted.json"
_KEPT = ".comptoir/promoted"


@dataclass(frozen=True, slots=True)
class Step:
    """One file: what becomes of it, and the difference in lines."""

    path: str
    action: Literal["add", "change", "remove"]
    difference: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was (or would be) carried over. `credentials` are the variables that production needs."""

    steps: tuple[Step, ...]
    credentials: tuple[str, ...]
    kept_in: str | None
    done: bool


def promote(config: Path, target: Path, clock: Clock, *, plan: bool = False, overwrite: bool = False) -> Promotion:
    """Carries the configuration over into the folder `target`; with `plan` only says what would change.

    ConfigError when the source is no staging installation or has a fault (configuration, mapping, golden record), a
    trial import is owed, the target is none of production, or its files were changed by hand since the last time
    (unless `overwrite`).
    """
    source = config.resolve().parent
    installation = _checked(config, source)
    if target.resolve() == source:
        raise ConfigError("production is another folder than staging", code="usage")
    if (target / "comptoir.toml").exists() and stage_of(target) != "production":
        raise ConfigError(f"{target} is a staging installation itself ({STAGE_FILE})", code="stage")
    left = _left(target)
    new = dict(_files(source, config.name, _named(installation)))
    old = dict(_files(target, "comptoir.toml", {*new, *left}))
    if TRIALS_FILE in old:
        # No configuration: what was seen in production stays seen.
        new[TRIALS_FILE] = merged(old[TRIALS_FILE], new.get(TRIALS_FILE), target)
    changed_there = _changed_by_hand(left, old)
    if changed_there and not overwrite:
        raise ConfigError(
            f"changed in {target} since the last promotion: {', '.join(changed_there)}",
            hint="Make the same change in staging first, or overwrite it with --overwrite (what was there is kept).",
            code="changed_there",
        )
    steps = tuple(_steps(old, new))
    connections = installation.settings.connections
    kept = None if plan or not steps else _carry_over(target, old, new, steps, f"{clock.now():%Y%m%dT%H%M%SZ}")
    return Promotion(steps, tuple(variable(name) for name in connections), kept, not plan)


def _checked(config: Path, source: Path) -> Installation:
    if stage_of(source) != "staging":
        raise ConfigError(
            f"{source} is no staging installation: only staging is promoted",
            hint=f'Write stage = "staging" into {STAGE_FILE} beside {config.name}.',
            code="stage",
        )
    installation = check_installation(config)
    used = {cls.manifest.key for cls in installation.classes.values()}
    faults = [f"{m['mapping']}: {m['error']}" for m in check_all(config) if m["error"]]
    faults += [
        f"{g['mapping']}: golden record {g['case']}: {g['difference']}"
        for g in test_golden(config, None)
        if g["difference"]
    ]
    faults = [fault for fault in faults if fault.partition(".")[0] in used]
    if faults:
        raise ConfigError("\n".join(["not promoted, the mappings have faults:", *faults]), code="mapping_file")
    if owed := asked(installation, system_ports()):
        lines = [f"{s.connection}, {s.layout.writes} ({s.layout.source}): {s.words}" for s in owed]
        raise ConfigError(
            "\n".join(["not promoted, nobody has seen these files imported:", *lines]),
            hint=f"{owed[0].hint} Who goes without says why: comptoir trial waive {owed[0].connection} --because WHY",
            code="trial_import",
        )
    return installation


def _named(installation: Installation) -> set[str]:
    """Files beside the configuration that the settings of a connection name (profiles, headers)."""
    base, found = installation.base_dir.resolve(), set()
    for config in installation.configs.values():
        for value in dict(config).values():
            if isinstance(value, Path) or (isinstance(value, str) and value.endswith(".toml")):
                path = (base / value).resolve()
                if path.is_relative_to(base) and path.is_file():
                    found.add(path.relative_to(base).as_posix())
    return found


def _files(folder: Path, config_name: str, named: set[str]) -> Iterator[tuple[str, bytes]]:
    """What travels, by its path in the target. Links are not followed: they may lead anywhere."""
    config = folder / config_name
    if config.is_file():
        yield "comptoir.toml", config.read_bytes()
    for name, suffixes in _FOLDERS.items():
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix in suffixes:
                yield path.relative_to(folder).as_posix(), path.read_bytes()
    for name in sorted({*named, TRIALS_FILE} - {"comptoir.toml"}):
        path = folder / name
        if name.partition("/")[0] not in _FOLDERS and path.is_file() and not path.is_symlink():
            yield name, path.read_bytes()


def _left(target: Path) -> dict[str, str]:
    """The files that the last promotion left in the target, by digest; nothing when there was none."""
    record = target / _RECORD
    found: dict[str, str] = orjson.loads(record.read_bytes()) if record.is_file() else {}
    return found


def _changed_by_hand(left: dict[str, str], old: dict[str, bytes]) -> list[str]:
    """Files that are not as the last promotion left them: all of them where there was none."""
    changed = (n for n in old.keys() | left.keys() if (_digest(old[n]) if n in old else None) != left.get(n))
    return sorted(name for name in changed if name != TRIALS_FILE)


def _steps(old: dict[str, bytes], new: dict[str, bytes]) -> Iterator[Step]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        action: Literal["add", "change", "remove"] = (
            "add" if before is None else "remove" if after is None else "change"
        )
        lines = difflib.unified_diff(
            _lines(before), _lines(after), f"{name} (production)", f"{name} (staging)", "", "", 1
        )
        yield Step(name, action, tuple(line.rstrip("\n") for line in lines))


def _lines(data: bytes | None) -> list[str]:
    return (data or b"").decode("utf-8", "replace").splitlines()


def _carry_over(
    target: Path, old: dict[str, bytes], new: dict[str, bytes], steps: tuple[Step, ...], moment: str
) -> str | None:
    kept = target / _KEPT / moment
    for step in steps:
        if step.action != "add":
            _write(kept / step.path, old[step.path])
    # The configuration last: until then the old one rules, with mappings that extend what it knows.
    for step in sorted(steps, key=lambda s: s.path == "comptoir.toml"):
        if step.action == "remove":
            (target / step.path).unlink()
        else:
            _write(target / step.path, new[step.path])
    if not (target / STAGE_FILE).exists():
        _write(target / STAGE_FILE, b'stage = "production"\n')
    _write(target / _RECORD, orjson.dumps({name: _digest(data) for name, data in sorted(new.items())}))
    return str(kept) if kept.exists() else None


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
