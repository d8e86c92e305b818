"""What a connector implements: small capabilities, each optional, declared in its manifest.

A connector never commits anything and never moves a cursor: the engine does, after the rows are safe. Records that
cross this line are plain, platform-shaped dicts; mapping is the engine's work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
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
    "BatchFiles",
    "Change",
    "ChangeResult",
    "CheckItem",
    "CheckReport",
    "Company",
    "Connector",
    "ConnectorConfig",
    "ConnectorContext",
    "Credentials",
    "Experiment",
    "Experiments",
    "Fetches",
    "HandsOver",
    "Hint",
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
    "ReadsBack",
    "ReceivesWebhooks",
    "Updates",
    "WebhookDelivery",
    "WebhookRequest",
]


class ConnectorConfig(BaseModel):
    """Base of a connector's own settings in `[connections.NAME]`; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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
    """One record as received. `parent` holds what a child needs of its parent (a refund of its order).

    `fault` says why the record cannot be used as it was received (a row that is cut): it is set aside unmapped.
    """

    entity: EntityName
    external_id: str
    payload: Mapping[str, Any]
    modified_at: datetime | None = None
    parent: Mapping[str, Any] | None = None
    fault: str | None = None


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
class Change:
    """Absolute values for some fields of a record that exists; `fields` holds what differs and nothing else.

    `parent_id` is the record it hangs under (a variation's product), None when it stands alone.
    """

    external_id: str
    parent_id: str | None
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """What became of one change. `shown` holds what the target answered for the keys that were sent.

    `gone`: the record does not exist there any more. `rejected` says why in the target's words.
    """

    external_id: str
    outcome: Literal["accepted", "rejected", "gone"]
    shown: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    field: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request as the gateway received it: lower-case header names, the body's exact bytes."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened to a record: it is read again before anything is done about it."""

    entity: EntityName
    external_id: str
    kind: Literal["created", "updated", "deleted"]


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A verified webhook. Equal `dedupe_key`s are the same event; a ping has no hints."""

    dedupe_key: str
    hints: Sequence[Hint]
    sent_at: datetime | None = None


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
class BatchFiles:
    """The files of a batch: names as the operator sees them, digests of their bytes, and where they are.

    `waiting`: at least one still lies where the program takes it; `taken`: gone, or renamed by the program;
    `withdrawn`: taken back by us. `keys` are the natural keys of its records.
    """

    files: Sequence[str]
    sha256: Sequence[str]
    state: Literal["waiting", "taken", "withdrawn"]
    keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """One change of a test object, and what the source's modified date does with it.

    `entity` is the one whose cursor has to see the change, `external_id` the record that a pull would give. `act` makes
    the change; `modified` reads the date that the cursor goes by, None when the record is gone. The choice of the
    cursor depends on changes that `decides`; others are measured to be known.
    """

    entity: EntityName
    change: str
    external_id: str
    act: Callable[[], object]
    modified: Callable[[], datetime | None]
    decides: bool = True


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One thing that was looked at. `exit_code` is what `comptoir check` returns when it is not ok.

    `mended`: something was wrong and was put right on the way.
    """

    name: str
    ok: bool
    detail: str
    hint: str | None = None
    exit_code: int = 2
    mended: bool = False

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
class Fetches(Protocol):
    """Single records can be read again: after a webhook, after a write, for one that is missing."""

    def fetch(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        """The records with these ids, in any order; one that does not exist any more is left out.

        For records that hang under others (variations), an id is the parent's and all of its children come.
        """
        ...


@runtime_checkable
class Updates(Protocol):
    """Absolute values can be set on existing records; setting them twice is the same as once."""

    def calls(self, entity: EntityName, changes: Sequence[Change]) -> Sequence[Sequence[Change]]:
        """The changes grouped as they will be sent, one group a request."""
        ...

    def update(self, entity: EntityName, call: Sequence[Change]) -> Sequence[ChangeResult]:
        """One request; one result per change. Raises OutcomeUnknown when it may have been carried out."""
        ...


@runtime_checkable
class ReceivesWebhooks(Protocol):
    """Sends webhooks."""

    def verify(self, request: WebhookRequest) -> WebhookDelivery:
        """The hints of an authentic webhook. AuthError when the signature is wrong or missing, RecordRejected when
        the body is not what it says; touches no network."""
        ...

    def ensure_webhooks(
        self, url: str, entities: Sequence[EntityName], mode: Literal["look", "repair", "renew"] = "repair"
    ) -> Sequence[CheckItem]:
        """Makes or re-enables what is missing or was switched off, so that changes of these entities are sent to
        `url`; says what it found and did. Idempotent. `look` only says what it finds; `renew` also sets again what
        cannot be seen from outside (the secret) or what a person has switched off."""
        ...


@runtime_checkable
class Experiments(Protocol):
    """Can be measured: which changes move the modified date by which its records are read?"""

    def experiments(self) -> AbstractContextManager[Iterable[Experiment]]:
        """Makes test objects of its own, gives the experiments one after the other, and removes the objects at the
        end, also after an error. Changes nothing else. Writes to the remote: only on a person's word."""
        ...


@runtime_checkable
class Probes(Protocol):
    """Can be asked whether a batch whose answer was lost has arrived."""

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """One probe per op; reads only."""
        ...


@runtime_checkable
class HandsOver(Protocol):
    """Writes batches into files that somebody takes later, and can take one back."""

    def batch(self, batch: str) -> BatchFiles | None:
        """What became of the files of a batch; None when it was never handed over here. Reads only."""
        ...

    def withdraw(self, batch: str) -> Sequence[str]:
        """Takes a batch back: files that still lie there are moved away, its records can be handed over again. The
        natural keys of its records. Idempotent."""
        ...


@runtime_checkable
class ReadsBack(Protocol):
    """Reads the files of a batch again, where they still lie, and holds them against what was handed over."""

    def read_back(self, batch: PushBatch) -> Sequence[str]:
        """What they say otherwise, a sentence each; nothing for files that were taken. Reads only."""
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
