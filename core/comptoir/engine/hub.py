"""What the engine works with: one installation with its connections, routes and mappings. Wired by `comptoir.app`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as AnyMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from comptoir.domain.accounts import AccountMap
from comptoir.engine.ports import Ports
from comptoir.errors import ConfigError
from comptoir.mapping import Mapping
from comptoir.model.refs import EntityName
from comptoir.sdk.manifest import EntityCapability, Manifest
from comptoir.sdk.protocols import Company, Connector
from comptoir.store.database import Database
from comptoir.store.vault import Vault

__all__ = ["BOOKED", "BROUGHT_ALONG", "NOT_OURS", "Hub", "Link", "Route"]

#: The code of the error when an installation must not write to a connection.
NOT_OURS = "staging"

#: Documents that travel with another entity's route.
BROUGHT_ALONG: dict[EntityName, tuple[EntityName, ...]] = {EntityName.ORDER: (EntityName.REFUND,)}

#: Documents that the hub makes journal entries of; a fee invoice comes after the payouts that it was withheld from.
BOOKED = (EntityName.ORDER, EntityName.PAYOUT, EntityName.Z_REPORT, EntityName.SUPPLIER_INVOICE)


def _anything_goes() -> None:
    """No bound on writing."""


def _for_ever(moment: float) -> AbstractContextManager[None]:
    """Without a gate nothing is held back."""
    del moment
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, ready to use. `open` makes its connector on first use."""

    name: str
    manifest: Manifest
    settings: AnyMapping[str, Any]
    cutover: date | None
    invoicing: str | None
    open: Callable[[], Connector]
    #: Raises when this installation must not write there: staging does not write to production.
    may_write: Callable[[], None] = _anything_goes
    #: For a block: no request to it begins after this moment of the clock's monotonic reading.
    until: Callable[[float], AbstractContextManager[None]] = _for_ever

    def open_to_write(self) -> Connector:
        """Its connector, for a call that changes something there; ConfigError when this installation must not."""
        self.may_write()
        return self.open()

    @property
    def posts_by_hub(self) -> bool:
        """The hub derives the journal entries of this connection's documents."""
        return self.invoicing in ("self", "hub")

    @property
    def booked(self) -> tuple[EntityName, ...]:
        """The documents of this connection that the hub books.

        A till that gives its Z closings is booked by them (sales-accounting §6), so that its tickets are not.
        """
        if not self.posts_by_hub:
            return ()
        known = self.manifest.entities
        given = [entity for entity in BOOKED if entity in known and (known[entity].pull or known[entity].fetch)]
        if EntityName.Z_REPORT in given:
            given = [entity for entity in given if entity is not EntityName.ORDER]
        return tuple(given)


@dataclass(frozen=True, slots=True)
class Route:
    """A target's subscription to an entity."""

    name: str
    entity: EntityName
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    schedule: str | None = None
    triggers: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    create: str | None = None
    fields: tuple[str, ...] = ()
    price_list: str | None = None
    buffer: Decimal = Decimal(0)
    locations: tuple[str, ...] = ()
    take_over: bool = False

    @property
    def from_hub(self) -> bool:
        """Fed by what the hub derives itself."""
        return self.sources == ("hub",)

    @property
    def entities(self) -> tuple[EntityName, ...]:
        """The entity and the documents that travel with it."""
        return (self.entity, *BROUGHT_ALONG.get(self.entity, ()))


@dataclass(slots=True)
class Hub:
    """One installation."""

    ports: Ports
    database: Database
    vault: Vault
    company: Company
    links: AnyMapping[str, Link]
    routes: AnyMapping[str, Route]
    accounts: AccountMap
    load_mapping: Callable[[str, EntityName, str], Mapping]
    #: Stored together: five pages of a hundred that share a row each, in less than 150 MiB.
    batch_records: int = 480
    plan_above: int = 50
    gateway_url: str | None = None
    _mappings: dict[tuple[str, EntityName, str], Mapping] = field(default_factory=dict)

    def link(self, name: str) -> Link:
        """A connection by name; ConfigError when there is none."""
        try:
            return self.links[name]
        except KeyError:
            raise ConfigError(
                f"there is no connection {name!r}; configured: {', '.join(self.links) or 'none'}"
            ) from None

    def mapping(self, platform: str, entity: EntityName, direction: str) -> Mapping:
        """The compiled mapping, loaded once."""
        key = (platform, entity, direction)
        if key not in self._mappings:
            self._mappings[key] = self.load_mapping(platform, entity, direction)
        return self._mappings[key]

    def context(self, source: str, settings_of: Link) -> dict[str, Any]:
        """What a mapping may ask for by `context:`."""
        return {
            "connection": source,
            "channel": source,
            "company.name": self.company.name,
            "company.country": self.company.country,
            "company.currency": self.company.currency,
            "company.time_zone": self.company.time_zone,
            "company.siren": self.company.siren,
            **{f"config.{name}": value for name, value in settings_of.settings.items()},
        }

    def subscribers(self, source: str, entity: EntityName) -> list[tuple[Route, str]]:
        """(route, target) pairs that want this entity from this connection."""
        return [
            (route, target)
            for route in self.routes.values()
            if source in route.sources and entity in route.entities
            for target in route.targets
            if self.capability(target, entity).push
        ]

    def without_refunds(self, source: str) -> list[str]:
        """Targets that book the sales of a connection and take no refunds: somebody has to enter those there."""
        return [
            target
            for _, target in self.subscribers(source, EntityName.ORDER)
            if self.capability(target, EntityName.ORDER).books_sales
            and not self.capability(target, EntityName.REFUND).push
        ]

    def capability(self, connection: str, entity: EntityName) -> EntityCapability:
        """What a connection declares for an entity (nothing when it does not name it)."""
        return self.link(connection).manifest.entities.get(entity, EntityCapability())

    def publishes(self, route: Route, target: str) -> bool:
        """Whether a route keeps existing records of a target up to date."""
        return bool(self.capability(target, route.entity).publishes)

    @property
    def shows_stock(self) -> tuple[str, ...]:
        """The targets whose stock a route keeps up to date."""
        return tuple({t: None for r in self.routes.values() if r.entity is EntityName.STOCK for t in r.targets})

    def written_to(self, connection: str) -> frozenset[EntityName]:
        """The records of a connection whose values routes keep up to date; stock is shown by items."""
        kept = {r.entity for r in self.routes.values() if connection in r.targets and self.publishes(r, connection)}
        return frozenset(EntityName.ITEM if entity is EntityName.STOCK else entity for entity in kept)

    def matches(self, entity: EntityName, target: str) -> bool:
        """Whether records must be matched with the target's own before any is made there."""
        return entity in (EntityName.ITEM, EntityName.CUSTOMER) and self.capability(target, entity).pull

    def creates(self, route: Route, target: str) -> bool:
        """Whether records without match are made at the target without asking (a back office's customer cards are)."""
        if not self.capability(target, route.entity).push:
            return False
        default = "always" if route.entity is EntityName.CUSTOMER and self._keeps_books(target) else "ask"
        return (route.create or default) == "always"

    def _keeps_books(self, target: str) -> bool:
        return self.link(target).manifest.kind in ("back_office", "accounting")

    @property
    def today(self) -> date:
        """The day it is in the company's books: past midnight there it may still be yesterday in UTC."""
        return self.ports.clock.now().astimezone(ZoneInfo(self.company.time_zone)).date()

    def hub_channels(self) -> Sequence[Link]:
        """The connections whose sales the hub books."""
        return [link for link in self.links.values() if link.posts_by_hub]
