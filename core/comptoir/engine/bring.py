"""Bring: an order takes its buyer along, so that no order reaches a target before its customer (failure mode 74)."""

from __future__ import annotations

from comptoir.engine.counts import RunReport
from comptoir.engine.create import create_unmatched
from comptoir.engine.hub import Hub, Route
from comptoir.engine.land import Lander
from comptoir.engine.match import match_records
from comptoir.engine.pull import reading
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import Fetches
from comptoir.store.documents import Documents

__all__ = ["bring_buyers", "customer_route"]

_BATCH = 100


def customer_route(hub: Hub, source: str, target: str) -> Route | None:
    """The route that gives this source's customers to this target."""
    for route in hub.routes.values():
        if route.entity is EntityName.CUSTOMER and source in route.sources and target in route.targets:
            return route
    return None


def bring_buyers(hub: Hub, source: str, target: str, report: RunReport) -> None:
    """Reads the buyers of waiting orders that are not known yet, and plans those that the target does not have.

    Nothing where no route gives customers to the target. Raises what the connector raises.
    """
    route = customer_route(hub, source, target)
    if route is None:
        return
    with hub.database.errors():
        ids = Documents(hub.database.session()).unknown_buyers(source, target)
    if not ids:
        return
    link = hub.link(source)
    connector = link.open()
    if not isinstance(connector, Fetches) or not hub.capability(source, EntityName.CUSTOMER).fetch:
        return
    lander = Lander(hub, link, report)
    for start in range(0, len(ids), _BATCH):
        with reading(hub, link, EntityName.CUSTOMER):
            for page in connector.fetch(EntityName.CUSTOMER, ids[start : start + _BATCH]):
                lander.land(page.items)
    if hub.matches(EntityName.CUSTOMER, target):
        match_records(hub, route, EntityName.CUSTOMER, source, target, report)
        create_unmatched(hub, route, source, target, report)
