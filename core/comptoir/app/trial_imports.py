"""Trial imports: that a program has taken a file of each layout, seen by a person in a copy of the merchant's folder.

Kept in `trial-imports.json` beside comptoir.toml, so that it travels with the configuration: a staging installation
writes the file, its operator imports it into a copied folder and records it, and only then `comptoir promote` carries
the connection to production. A layout that has changed since asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from comptoir.app.batches import find_batch
from comptoir.app.bootstrap import Installation, check_installation, company_of, connector_of, open_installation
from comptoir.app.who import who
from comptoir.engine.ports import Ports
from comptoir.errors import ConfigError
from comptoir.sdk.layouts import FileLayout, LaysOut
from comptoir.sdk.protocols import CheckItem

__all__ = [
    "FILE",
    "State",
    "TrialImport",
    "asked",
    "check_trials",
    "list_trials",
    "merged",
    "record",
    "states_of",
    "waive",
]

FILE = "trial-imports.json"
_LARGEST = 1_000_000


class TrialImport(BaseModel):
    """A trial import that was seen, with the file that was taken; or, with `because`, that somebody went without."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    connection: str = Field(min_length=1)
    writes: str = Field(min_length=1)
    source: str
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    on: date
    by: str = Field(min_length=1, max_length=200)
    product: str | None = Field(default=None, min_length=1, max_length=200)
    version: str | None = Field(default=None, min_length=1, max_length=100)
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    note: str = Field(default="", max_length=2000)
    because: str | None = Field(default=None, min_length=1, max_length=2000)


_KEPT: TypeAdapter[tuple[TrialImport, ...]] = TypeAdapter(tuple[TrialImport, ...])


@dataclass(frozen=True, slots=True)
class State:
    """What is known of one layout of a connection. `asked`: nobody has seen it imported as it is now, nor decided to go
    without."""

    connection: str
    layout: FileLayout
    state: Literal["witnessed", "imported", "waived", "changed", "never"]
    words: str

    @property
    def asked(self) -> bool:
        """A trial import is owed."""
        return self.state in ("changed", "never")

    @property
    def hint(self) -> str | None:
        """What to do about it."""
        if not self.asked:
            return None
        return (
            "Import one file into a copy of the merchant's folder, look at what came, then: "
            "comptoir trial record BATCH --product NAME --version VERSION (comptoir batch list names the batches)."
        )


def list_trials(config: Path, *, ports: Ports | None = None) -> list[State]:
    """Every layout in which the configured routes write, with what is known of it. ConfigError as `states_of`."""
    installation = check_installation(config)
    with open_installation(installation, ports=ports) as hub:
        return [
            state for name in installation.settings.connections for state in states_of(installation, name, hub.ports)
        ]


def states_of(installation: Installation, name: str, ports: Ports) -> list[State]:
    """The layouts of what routes give to one connection; none when it writes no files.

    ConfigError when trial-imports.json cannot be understood, or a profile that the layout needs is missing or wrong.
    """
    given = {route.entity for route in installation.settings.routes.values() if name in route.targets}
    if not given or not hasattr(installation.classes[name], "layouts"):
        return []
    connector = connector_of(installation, name, company_of(installation), ports)
    if not isinstance(connector, LaysOut):
        return []
    kept = _kept(installation.base_dir)
    return [_state(name, layout, kept) for layout in connector.layouts() if given & {*layout.entities}]


def asked(installation: Installation, ports: Ports) -> list[State]:
    """The layouts for which a trial import is owed."""
    return [s for name in installation.settings.connections for s in states_of(installation, name, ports) if s.asked]


def check_trials(installation: Installation, name: str, ports: Ports) -> list[CheckItem]:
    """What `comptoir check` says of a connection: an import that nobody has seen is no fault, and is said."""
    return [
        CheckItem(f"trial import of {s.layout.writes}", True, f"{s.layout.source}: {s.words}", s.hint)
        for s in states_of(installation, name, ports)
    ]


def record(
    config: Path,
    batch: str,
    *,
    product: str,
    version: str,
    by: str | None = None,
    on: date | None = None,
    note: str = "",
    ports: Ports | None = None,
) -> TrialImport:
    """Keeps that a program has taken the files of a batch (the end of its id, or a file's name).

    ConfigError when there is no such batch, it was withdrawn, the day lies before it was written or in the future, or
    its connection writes no such files.
    """
    installation = check_installation(config)
    with open_installation(installation, ports=ports) as hub:
        found = find_batch(hub, batch)
        today, written = hub.today, found.written_at.astimezone(ZoneInfo(hub.company.time_zone)).date()
        day = on or today
        if found.state == "withdrawn":
            raise ConfigError(f"the batch {batch} was withdrawn: nobody was to import it", code="withdrawn")
        if not written <= day <= today:
            raise ConfigError(
                f"an import on {day}? The file was written on {written}, and today is {today}",
                code="usage",
            )
        states = [
            s for s in states_of(installation, found.target, hub.ports)
            if found.entity in {entity.value for entity in s.layout.entities}
        ]  # fmt: skip
    if not states:
        raise ConfigError(f"{found.target} writes no files of {found.entity} on a route any more", code="not_found")
    return _keep(
        installation.base_dir, found.target, states[0].layout, day, by,
        product=product, version=version, files=tuple(found.files), sha256=tuple(found.sha256), note=note,
    )  # fmt: skip


def waive(
    config: Path, name: str, *, because: str, by: str | None = None, ports: Ports | None = None
) -> list[TrialImport]:
    """Keeps that somebody goes to production without the trial imports that a connection still owes, and why.

    ConfigError when there is no such connection, no reason, or none is owed.
    """
    if not because.strip():
        raise ConfigError("say why no trial import is made (--because)", code="usage")
    installation = check_installation(config)
    if name not in installation.settings.connections:
        known = ", ".join(installation.settings.connections)
        raise ConfigError(f"there is no connection {name!r}; configured: {known}", code="not_found")
    with open_installation(installation, ports=ports) as hub:
        today = hub.today
        owed = [s.layout for s in states_of(installation, name, hub.ports) if s.asked]
    if not owed:
        raise ConfigError(f"{name} owes no trial import", hint="comptoir trial list", code="not_found")
    return [_keep(installation.base_dir, name, layout, today, by, because=because.strip()) for layout in owed]


def merged(there: bytes, here: bytes | None, target: Path) -> bytes:
    """Two kept lists as one: a layout's newest word counts, and of two of one day the one from `here`.

    ConfigError when one cannot be understood.
    """
    both = [*_parsed(there, target / FILE), *(_parsed(here, FILE) if here is not None else ())]
    newest = {(k.connection, k.writes, k.digest): k for k in sorted(both, key=lambda k: k.on)}
    return _written(list(newest.values()))


def _keep(base: Path, connection: str, layout: FileLayout, day: date, by: str | None, **facts: object) -> TrialImport:
    try:
        new = TrialImport.model_validate(
            {"connection": connection, "writes": layout.writes, "source": layout.source, "digest": layout.digest,
             "on": day, "by": by or who(), **facts}
        )  # fmt: skip
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ConfigError(f"{problem['loc'][0]}: {problem['msg']}", code="usage") from None
    # The newest word on a layout is the one that counts; what was seen of earlier ones stays for the reader.
    kept = [k for k in _kept(base) if (k.connection, k.writes, k.digest) != (connection, layout.writes, layout.digest)]
    part = base / f".{FILE}.part"
    part.write_bytes(_written([*kept, new]))
    part.replace(base / FILE)
    return new


def _kept(base: Path) -> Sequence[TrialImport]:
    path = base / FILE
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{FILE} cannot be read: {error.strerror}", code="trial_imports") from None
    return _parsed(data, FILE)


def _parsed(data: bytes, shown: Path | str) -> Sequence[TrialImport]:
    try:
        if len(data) > _LARGEST:
            raise ConfigError(f"{shown} is larger than {_LARGEST:,} bytes", code="trial_imports")
        return _KEPT.validate_python(orjson.loads(data))
    except (orjson.JSONDecodeError, ValidationError) as error:
        hint = "It is written by `comptoir trial`; restore it, or remove it and record the imports again."
        what = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"{shown} cannot be understood: {what}", hint=hint, code="trial_imports") from None


def _written(kept: Sequence[TrialImport]) -> bytes:
    data = [k.model_dump(mode="json", exclude_defaults=True) for k in kept]
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _state(connection: str, layout: FileLayout, kept: Sequence[TrialImport]) -> State:
    mine = [k for k in kept if (k.connection, k.writes) == (connection, layout.writes)]
    same = next((k for k in mine if k.digest == layout.digest), None)
    if same is not None and same.because is None:
        file = f" ({', '.join(same.files)})" if same.files else ""
        words = f"imported into {same.product} {same.version} on {same.on}{file}, seen by {same.by}"
        return State(connection, layout, "imported", words)
    if layout.witnessed is not None:
        return State(connection, layout, "witnessed", f"{layout.witnessed}, says the profile")
    if same is not None:
        return State(connection, layout, "waived", f"without a trial import by {same.by} on {same.on}: {same.because}")
    seen = [k for k in mine if k.because is None]
    if seen:
        words = f"changed since its trial import of {seen[-1].on}: never imported as it is now"
        return State(connection, layout, "changed", words)
    return State(connection, layout, "never", "never imported")
