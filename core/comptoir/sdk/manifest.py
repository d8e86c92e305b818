"""manifest.toml: what a connector is and can do, as data that a program checks."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from comptoir.errors import ContractViolation
from comptoir.model.refs import EntityName

__all__ = [
    "CallBudget",
    "Contradiction",
    "EntityCapability",
    "Manifest",
    "TargetLimits",
    "contradictions",
    "load_manifest",
]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class TargetLimits(_Closed):
    """What a target can store; longer or stranger values are reported, never cut in silence.

    `lengths` are in characters, by names that the connector chooses; the conformance kit tries each of them.
    """

    charset: str = "utf-8"
    lengths: dict[str, int] = Field(default_factory=dict)
    integer_quantities: bool = False
    currencies: Literal["any", "company"] = "any"


class CallBudget(_Closed):
    """How often a remote may be called: `calls_per_minute` in the long run, `burst` at once after a rest."""

    calls_per_minute: float = Field(gt=0, le=1_000_000, allow_inf_nan=False)
    burst: int = Field(ge=1, le=1_000_000)

    @model_validator(mode="before")
    @classmethod
    def _ten_seconds(cls, given: object) -> object:
        """Without a burst, what ten seconds allow; one call at least."""
        if isinstance(given, dict) and "burst" not in given:
            rate = given.get("calls_per_minute")
            if isinstance(rate, int | float) and 0 < rate <= 1_000_000:
                return {**given, "burst": max(1, int(rate / 6))}
        return given

    @property
    def per_second(self) -> float:
        """Calls a second in the long run."""
        return self.calls_per_minute / 60.0

    def at(self, calls_per_minute: float) -> CallBudget:
        """The same remote at another rate: the burst shrinks and grows with it."""
        burst = round(self.burst * calls_per_minute / self.calls_per_minute)
        return CallBudget(calls_per_minute=calls_per_minute, burst=min(max(1, burst), 1_000_000))


class EntityCapability(_Closed):
    """What a connector can do with one entity.

    `cursor`: `modified` = changes are found by the source's modified date; `sweep` = only a full read proves
    anything. `overlap_seconds` is re-read before each cursor. `volatile` names fields that change by themselves and
    are left out of the fingerprint.
    """

    pull: bool = False
    push: bool = False
    cursor: Literal["modified", "sweep"] = "sweep"
    overlap_seconds: int = 0
    brings: tuple[EntityName, ...] = ()
    volatile: tuple[str, ...] = ()
    push_actions: tuple[Literal["create", "update"], ...] = ()
    batch_size: int = 100
    natural_key: str | None = None
    fetch: bool = Field(default=False, description="Single records can be read again by their id")
    publishes: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="What can be kept up to date on existing records: route field -> keys of the out mapping",
    )
    books_sales: bool = Field(default=False, description="A sale pushed here is numbered and booked by the target")
    write_strategy: Literal["patch", "read-merge-write"] | None = Field(
        default=None,
        description="How a change leaves the other fields as they are: only what is sent is touched (patch), or the "
        "connector reads the record and sends it back whole (read-merge-write). Needed by whoever changes records",
    )


class Manifest(_Closed):
    """The contents of manifest.toml."""

    key: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    version: str
    summary: str
    kind: Literal["shop", "marketplace", "gateway", "pos", "supplier", "back_office", "accounting", "crm"]
    api_version: str | None = Field(default=None, description="The version of the remote's interface that is spoken")
    api_version_ends: date | None = Field(default=None, description="The last day on which the remote serves it")
    entities: dict[EntityName, EntityCapability]
    transport: Literal["http", "files"] = Field(
        default="http", description="How it is reached: requests through `ctx.http`, or files in a folder"
    )
    lost_answer: Literal["natural_key", "idempotency_key", "none"] = Field(
        default="none",
        description="How a write whose answer was lost is cleared up: `probe` looks for its natural key; the same "
        "`delivery_id` may be sent again and makes nothing twice; or not at all: a person decides",
    )
    acknowledges: bool = False
    pages_in_flight: int = 1
    requests_in_flight: int = 4
    budget: CallBudget | None = Field(default=None, description="What the platform allows by default; none: no bound")
    webhooks: bool = False
    read_lag_seconds: int = Field(
        default=0, ge=0, description="What was written is surely found by a read so many seconds later"
    )
    limits: TargetLimits = TargetLimits()


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What a manifest says in one place and not in another. `key`: its path, as in `entities.item.publishes`."""

    key: str
    message: str


def contradictions(manifest: Manifest) -> list[Contradiction]:
    """Each declaration that lacks another one without which the engine cannot use it; [] when there is none."""
    found: list[Contradiction] = []
    for entity, capability in manifest.entities.items():
        found += _contradictions(manifest, entity, capability)
    makes = any("create" in capability.push_actions for capability in manifest.entities.values())
    if manifest.lost_answer != "none" and not makes:
        said = f'lost_answer = "{manifest.lost_answer}" says how a record is found again, and no entity can be made'
        found.append(Contradiction("lost_answer", said))
    if manifest.transport == "http" and not manifest.api_version:
        found.append(
            Contradiction("api_version", "there is no api_version: one day the remote retires the one that is spoken")
        )
    if manifest.transport == "files" and manifest.webhooks:
        found.append(Contradiction("webhooks", "files send no webhooks"))
    if manifest.webhooks and not any(capability.fetch for capability in manifest.entities.values()):
        found.append(Contradiction("webhooks", "a webhook is a hint to read a record again, and no entity has fetch"))
    return found


def _contradictions(manifest: Manifest, entity: EntityName, c: EntityCapability) -> Iterator[Contradiction]:
    key = f"entities.{entity.value}"
    changes = bool(c.publishes) or "update" in c.push_actions
    lacking = manifest.lost_answer == "natural_key" and "create" in c.push_actions and not c.natural_key
    for wrong, where, message in (
        (c.push_actions and not c.push, "push_actions", "push_actions without push = true"),
        (c.publishes and not c.push, "publishes", "it publishes, without push = true"),
        (c.push and not c.push_actions and not c.publishes, "push", "push = true, without push_actions or publishes"),
        (c.fetch and not c.pull, "fetch", "it can be fetched and not pulled"),
        (c.cursor == "modified" and not c.pull, "cursor", "it has a cursor and cannot be pulled"),
        (c.overlap_seconds and c.cursor == "sweep", "overlap_seconds", "a sweep reads everything: it has no overlap"),
        (changes and not c.write_strategy, "write_strategy", "it changes records, and there is no write_strategy"),
        (lacking, "natural_key", 'there is no natural_key, and lost_answer = "natural_key"'),
    ):
        if wrong:
            yield Contradiction(f"{key}.{where}", f"[{key}] {message}")
    for brought in c.brings:
        if brought not in manifest.entities:
            yield Contradiction(f"{key}.brings", f"[{key}] brings {brought.value}, of which the manifest says nothing")


@cache
def load_manifest(package: str) -> Manifest:
    """The manifest shipped in `package`; ContractViolation when it is missing or wrong."""
    try:
        text = resources.files(package).joinpath("manifest.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ContractViolation(f"the connector package {package} has no manifest.toml") from None
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except ValueError as error:
        raise ContractViolation(f"{package}/manifest.toml is wrong: {error}") from None
