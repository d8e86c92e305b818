"""Handover: what the next person has to know of an installation, on a few pages. No secret is in it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import comptoir
from comptoir.app.bootstrap import Installation, check_installation, open_installation, system_ports
from comptoir.app.credentials import variable
from comptoir.app.measures import shown
from comptoir.app.stage import stage_of
from comptoir.app.trial_imports import states_of
from comptoir.engine.hub import BROUGHT_ALONG, Hub
from comptoir.errors import ComptoirError
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import CheckItem, Credentials
from comptoir.store.limits import ConnectionStates
from comptoir.store.sync import Quarantine, Runs

__all__ = ["check_expiry", "expiry", "handover"]

#: A secret that ends within so many days is a fault of `comptoir check`.
SOON = 30


def handover(config: Path) -> dict[str, Any]:
    """Company, stage, connections with their secrets' ends, who owns what, routes, overrides, what waits."""
    installation = check_installation(config)
    secrets = system_ports().secrets
    today = system_ports().clock.now().date()
    with open_installation(installation) as hub:
        with hub.database.transaction() as session:
            paused = {name for name, row in ConnectionStates(session).all().items() if row.paused}
            waiting = Quarantine(session).count_open()
            runs = Runs(session)
            routes = [_route(hub, name, runs.last(name)) for name in hub.routes]
        connections = [
            _connection(installation, hub, name, secrets.get(name), name in paused, today) for name in hub.links
        ]
        authorities = _authorities(hub)
        overrides = _overrides(installation, hub)
        trials = [state for name in hub.links for state in states_of(installation, name, hub.ports)]
    settings = installation.settings
    return {
        "company": {
            "name": settings.company.name,
            "country": settings.company.country,
            "siren": settings.company.siren,
        },
        "version": comptoir.__version__,
        "stage": stage_of(installation.base_dir),
        "configuration": str(settings.path),
        "data": str(installation.home),
        "connections": connections,
        "authorities": authorities,
        "routes": routes,
        "overrides": overrides,
        "trial_imports": [
            {
                "connection": s.connection,
                "writes": s.layout.writes,
                "layout": s.layout.source,
                "state": s.state,
                "what": s.words,
            }
            for s in trials
        ],
        "records_that_wait": waiting,
    }


def _connection(
    installation: Installation, hub: Hub, name: str, credentials: Credentials | None, paused: bool, today: date
) -> dict[str, Any]:
    link, settings = hub.links[name], installation.settings.connections[name]
    ends = expiry(credentials)
    return {
        "connection": name,
        "system": link.manifest.name,
        "connector": f"{link.manifest.key} {link.manifest.version}",
        "api_version": link.manifest.api_version,
        "api_version_ends": link.manifest.api_version_ends,
        "credentials": variable(name),
        "credentials_found": credentials is not None,
        "secret_expires_on": ends,
        "days_left": None if ends is None else (ends - today).days,
        "cutover": settings.cutover,
        "invoicing": settings.invoicing,
        "paused": paused,
        "cursors": shown(hub, link)["entities"],
    }


def expiry(credentials: Credentials | None) -> date | None:
    """The day on which a secret ends, as its Airflow connection says in its extra (`"expires_on": "2027-01-31"`).

    ValueError when what it says is no date.
    """
    given = None if credentials is None else credentials.extra.get("expires_on")
    return None if given in (None, "") else date.fromisoformat(str(given))


def check_expiry(name: str, credentials: Credentials | None, today: date) -> list[CheckItem]:
    """Whether the secret of a connection ends soon; nothing when it does not say when."""
    try:
        ends = expiry(credentials)
    except ValueError:
        return [CheckItem("secret", False, "`expires_on` is no date", "Write it as 2027-01-31 in the extra.", 2)]
    if ends is None:
        return []
    days = (ends - today).days
    if days < 0:
        return [CheckItem("secret", False, f"ended on {ends}", f"Make a new one and put it into {variable(name)}.", 3)]
    if days <= SOON:
        return [CheckItem("secret", False, f"ends on {ends}, in {days} days", "Make a new one in time.", 3)]
    return [CheckItem("secret", True, f"ends on {ends}")]


def _route(hub: Hub, name: str, last: Any) -> dict[str, Any]:
    route = hub.routes[name]
    return {
        "route": name,
        "entities": [e.value for e in (route.entity, *BROUGHT_ALONG.get(route.entity, ()))],
        "from": list(route.sources),
        "to": list(route.targets),
        "schedule": route.schedule,
        "triggers": list(route.triggers),
        "last_run": f"{last[2]:%Y-%m-%d %H:%M} UTC, {last[1]}" if last else None,
    }


def _authorities(hub: Hub) -> list[dict[str, str]]:
    """Who owns what: fields that a route keeps up to date belong to its source; sales to their invoicing authority."""
    found = [
        {"what": f"sales of {link.name}", "owner": "the hub books them" if link.posts_by_hub else link.invoicing,
         "where": "numbered, booked and reported only there"}
        for link in hub.links.values()
        if link.invoicing is not None
    ]  # fmt: skip
    for route in hub.routes.values():
        for target in route.targets:
            if hub.publishes(route, target):
                fields = route.fields or tuple(hub.capability(target, route.entity).publishes)
                found.append(
                    {
                        "what": f"{route.entity.value}: {', '.join(fields)}",
                        "owner": ", ".join(route.sources),
                        "where": f"on {target}",
                    }
                )
    return found


def _overrides(installation: Installation, hub: Hub) -> list[dict[str, str]]:
    """The merchant's own mappings, with the hash by which provenance cites them."""
    found = []
    for path in sorted((installation.base_dir / "mappings").glob("*/*.*.yaml")):
        platform, (entity, _, direction) = path.parent.name, path.stem.partition(".")
        name = f"{platform}.{entity}.{direction}"
        try:
            text = hub.load_mapping(platform, EntityName(entity), direction).hash
        except (ComptoirError, ValueError) as error:
            text = str(error)
        found.append({"mapping": name, "file": str(path.relative_to(installation.base_dir)), "hash": text})
    return found
