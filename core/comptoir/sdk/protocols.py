"""What a connector implements: small capabilities, each optional, declared in its manifest.

A connector never commits anything and never moves a cursor: the engine does, after the rows are safe. Records that
cross this line are plain, platform-shaped dicts; mapping is the engine's work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from comptoir.errors import ComptoirError
from comptoir.model.refs import EntityName
from comptoir.sdk.http import HttpClient
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.ports import Clock, Random, Tasks

__all__ = [
    "Acknowledgement",
    "Acknowledges",
    "CheckItem",
    "CheckReport",
    "Company",
    "Connector",
    "ConnectorConfig",
    "ConnectorContext",
    "Credentials",
    "Page",
    "Probe",
    "Probes",
    "PullRequest",
    "Pulls",
    "PushBatch",
    "PushOp",
    "PushResult",
    "Pushes",
    "RawItem",
]


class ConnectorConfig(BaseModel):
    """Base of a connector's own settings in `[connections.NAME]`; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def check_sources(self, sources: Sequence[str]) -> None:
        """Called with the connections whose sales this target is given; ValueError when it cannot tell them apart."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the Airflow connection of the same name holds. Never shown: its repr is empty."""

    host: str = field(default="", repr=False)
    login: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    port: int | None = field(default=None, repr=False)
    schema: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Company:
    """The merchant: what connectors may need to know of him."""

    name: str
    country: str
    currency: str
    siren: str | None = None
    time_zone: str = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """What the engine gives a connector: everything it may touch of the outside world."""

    connection: str
    http: HttpClient
    credentials: Credentials
    clock: Clock
    random: Random
    tasks: Tasks
    company: Company
    base_dir: Path
    logger: logging.Logger


@dataclass(frozen=True, slots=True)
class RawItem:
    """One record as received. `parent` holds what a child needs of its parent (a refund of its order)."""

    entity: EntityName
    external_id: str
    payload: Mapping[str, Any]
    modified_at: datetime | None = None
    parent: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a read. `position` says where to resume after it (JSON-able); `total` is the remote's own count.

    `as_of` is the remote's own clock when the read began (its Date header), so that a skewed clock moves no cursor.
    """

    items: Sequence[RawItem]
    position: Mapping[str, Any] | None = None
    total: int | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to read: everything modified since `since` (aware; None = everything), resuming at `position`."""

    entity: EntityName
    since: datetime | None = None
    position: Mapping[str, Any] | None = None
    pages_in_flight: int = 1


@dataclass(frozen=True, slots=True)
class PushOp:
    """One write. `natural_key` is how the target can be asked whether it already has the record."""

    delivery_id: str
    entity: EntityName
    action: Literal["create", "update"]
    natural_key: str
    payload: Mapping[str, Any]
    content_hash: str
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class PushBatch:
    """Writes that go together. `id` is unique for ever and known to the store before anything is sent."""

    id: str
    entity: EntityName
    ops: Sequence[PushOp]


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of one op. `written`: durable at the target, its word is still out (a file not yet imported)."""

    delivery_id: str
    outcome: Literal["accepted", "written", "rejected"]
    external_id: str | None = None
    reason: str | None = None
    field: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look-up found about an op whose outcome is unknown."""

    delivery_id: str
    found: Literal["present", "absent", "unknown"]
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The target's later word on a record it was given."""

    entity: EntityName
    natural_key: str
    outcome: Literal["accepted", "rejected"]
    external_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One thing that was looked at. `exit_code` is what `comptoir check` returns when it is not ok."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None
    exit_code: int = 2

    @classmethod
    def failed(cls, name: str, error: ComptoirError) -> CheckItem:
        """The item for an error that was met while looking."""
        return cls(name, False, error.message, error.hint, error.exit_code)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Whether a connection can be used; `check` writes nothing."""

    items: Sequence[CheckItem]

    @property
    def ok(self) -> bool:
        """Every item is in order."""
        return all(item.ok for item in self.items)


@runtime_checkable
class Connector(Protocol):
    """Code for one platform."""

    manifest: ClassVar[Manifest]
    config_model: ClassVar[type[ConnectorConfig]]

    def __init__(self, config: Any, ctx: ConnectorContext) -> None: ...

    def check(self) -> CheckReport:
        """Credentials, rights, clock: reads only."""
        ...


@runtime_checkable
class Pulls(Protocol):
    """Can be read."""

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Pages in a total order, resumable after each; raises instead of ending early."""
        ...


@runtime_checkable
class Pushes(Protocol):
    """Can be written to."""

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """One result per op, in any order. Raises OutcomeUnknown when the batch may have been carried out."""
        ...


@runtime_checkable
class Probes(Protocol):
    """Can be asked whether a batch whose answer was lost has arrived."""

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """One probe per op; reads only."""
        ...


@runtime_checkable
class Acknowledges(Protocol):
    """Tells later what became of written records (an import report, a re-exported list)."""

    def acknowledgements(self) -> Iterator[tuple[str, Sequence[Acknowledgement]]]:
        """Pairs of a report's name and what it says, oldest first."""
        ...

    def acknowledged(self, report: str) -> None:
        """Called once the report's words are safe in the store: file it away."""
        ...
