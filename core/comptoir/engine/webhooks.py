"""Webhooks that a shop should send: which ones, and whether they still stand.

Shops switch webhooks off by themselves (WooCommerce after seven failed deliveries in a row), silently. So every run of
a route that is triggered by them has them looked after, at most once an hour for each connection; when that was stands
in the store as the cursor of the scope `webhooks`. Where changes were found since then that no webhook had announced,
it is done at once (failure mode 21).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from comptoir.engine.hub import Hub, Link
from comptoir.errors import ComptoirError, ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import CheckItem, ReceivesWebhooks
from comptoir.store.inbox import Inbox
from comptoir.store.sync import CursorRow, Cursors

__all__ = ["ensure", "hinted_entities", "hook_url", "look_after"]

_EVERY = timedelta(hours=1)
_SCOPE = "webhooks"


class _RouteLike(Protocol):
    @property
    def entity(self) -> EntityName: ...
    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def triggers(self) -> Sequence[str]: ...


def hook_url(gateway_url: str, connection: str) -> str:
    """Where a connection's webhooks are sent."""
    return f"{gateway_url}/hooks/{connection}"


def hinted_entities(connection: str, routes: Iterable[_RouteLike], booked: Collection[str]) -> list[EntityName]:
    """The entities of a connection whose changes some route waits for; `booked`: channels whose sales the hub books."""
    found: set[EntityName] = set()
    for route in routes:
        if "webhook" not in route.triggers:
            continue
        if connection in route.sources:
            found.add(route.entity)
        elif route.sources == ("hub",) and connection in booked:
            found.add(EntityName.ORDER)
        elif connection in route.targets and route.entity in (EntityName.ITEM, EntityName.STOCK):
            # What a target shows changes under our hands: it is compared with what it should show.
            found.add(EntityName.ITEM)
        elif connection in route.targets and route.entity is EntityName.CUSTOMER:
            found.add(EntityName.CUSTOMER)
    return sorted(found, key=lambda entity: entity.value)


def ensure(hub: Hub, link: Link, entities: Sequence[EntityName]) -> list[str]:
    """Has the webhooks of a connection looked after when that is due, and returns what a run's report should say: what
    was mended, and what is wrong still (again on every run until it is right).

    For these entities and all that some route with the trigger `webhook` waits for. Nothing when the installation does
    not know its public address or the connection sends no webhooks. Raises no error of the shop: webhooks only make
    things quicker.
    """
    if hub.gateway_url is None or not link.manifest.webhooks:
        return []
    booked = [channel.name for channel in hub.hub_channels()]
    wanted = sorted({*entities, *hinted_entities(link.name, hub.routes.values(), booked)}, key=lambda e: e.value)
    if not wanted:
        return []
    lock = f"webhooks:{link.name}"
    with hub.database.errors():
        session = hub.database.session()
        if not session.try_lock(lock):
            return []
    try:
        return _ensure(hub, link, wanted, hook_url(hub.gateway_url, link.name))
    finally:
        with hub.database.errors():
            hub.database.session().unlock(lock)


def _ensure(hub: Hub, link: Link, wanted: list[EntityName], url: str) -> list[str]:
    now, key = hub.ports.clock.now(), wanted[0]
    for_what = {"url": url, "entities": [entity.value for entity in wanted]}
    with hub.database.errors():
        last = Cursors(hub.database.session()).get(link.name, key, _SCOPE)
    known = last.position or {}
    same = {name: known.get(name) for name in for_what} == for_what
    if same and last.watermark is not None and last.watermark <= now < last.watermark + _EVERY:
        # By kind: a shop that tells of its products by no means tells of its orders.
        routes = {
            route.name: EntityName.ORDER if route.from_hub else route.entity
            for route in hub.routes.values()
            if link.name in route.sources or (route.from_hub and link.posts_by_hub)
        }
        with hub.database.errors():
            silent = Inbox(hub.database.session()).unannounced(link.name, routes, last.watermark)
        if not silent:
            return [str(note) for note in known.get("wrong", [])]
    mended, wrong = [], []
    try:
        items = look_after(link, url, wanted)
    except ComptoirError as error:
        items = [CheckItem.failed("webhooks", error)]
    for item in items:
        said = f"{link.name}: {item.name}: {item.detail}"
        if not item.ok:
            wrong.append(f"{said}. {item.hint}" if item.hint else said)
        elif item.mended:
            mended.append(said)
    row = CursorRow(now, {**for_what, "wrong": wrong}, None)
    with hub.database.transaction() as session:
        Cursors(session).put(link.name, key, row, now, _SCOPE)
    return mended + wrong


def look_after(link: Link, url: str, entities: Sequence[EntityName]) -> Sequence[CheckItem]:
    """What the connector found and did; ConfigError when it has no webhooks."""
    connector = link.open_to_write()
    if not isinstance(connector, ReceivesWebhooks):
        raise ConfigError(f"{link.name}: {link.manifest.name} sends no webhooks", connection=link.name)
    return connector.ensure_webhooks(url, entities)
