"""Check: the configuration, the mappings it needs, and each connection with its credentials.

Writes nothing to any connection. One that was paused because it refused our credentials goes on when its check
succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from comptoir.app.bootstrap import (
    Installation,
    check_installation,
    company_of,
    connector_of,
    mapping_folders,
    system_ports,
)
from comptoir.app.connections import resume_checked
from comptoir.app.handover import check_expiry
from comptoir.app.trial_imports import check_trials
from comptoir.app.webhooks import check_secret
from comptoir.engine.hub import BROUGHT_ALONG
from comptoir.errors import ComptoirError, ConfigError
from comptoir.mapping import load_mapping
from comptoir.model.refs import EntityName
from comptoir.sdk.protocols import CheckItem

__all__ = ["check_connections"]


def check_connections(config: Path, only: str | None = None) -> Mapping[str, Sequence[CheckItem]]:
    """What was looked at, by connection. Raises ConfigError when the file itself is wrong."""
    installation = check_installation(config)
    if only is not None and only not in installation.settings.connections:
        known = ", ".join(installation.settings.connections)
        raise ConfigError(f"there is no connection {only!r}; configured: {known}")
    ports = system_ports()
    found: dict[str, Sequence[CheckItem]] = {}
    succeeded: list[str] = []
    for name in installation.settings.connections:
        if only in (None, name):
            try:
                report = connector_of(installation, name, company_of(installation), ports).check()
                found[name] = [
                    *report.items,
                    *check_expiry(name, ports.secrets.get(name), ports.clock.now().date()),
                    *check_secret(installation.settings, name, installation.classes[name].manifest, ports.secrets),
                    *(check_trials(installation, name, ports) if report.ok else ()),
                ]
            except ComptoirError as error:
                found[name] = [CheckItem.failed("connection", error)]
            else:
                succeeded += [name] if report.ok else []
    for name, item in resume_checked(installation, succeeded).items():
        found[name] = [*found[name], item]
    if only is None:
        found["mappings"] = _mappings(installation)
    return found


def _mappings(installation: Installation) -> list[CheckItem]:
    folders = mapping_folders(installation)
    items = []
    wanted = set()
    for route in installation.settings.routes.values():
        for entity in (route.entity, *BROUGHT_ALONG.get(route.entity, ())):
            sources = [installation.classes[s].manifest for s in route.sources if s != "hub"]
            wanted |= {(m.key, entity.value, "in") for m in sources if entity in m.entities}
            wanted |= {(installation.classes[t].manifest.key, entity.value, "out") for t in route.targets}
    for platform, entity_name, direction in sorted(wanted):
        name = f"{platform}.{entity_name}.{direction}"
        try:
            mapping = load_mapping(platform, entity_name, direction, folders)
        except ComptoirError as error:
            items.append(CheckItem.failed(name, error))
        else:
            items.append(CheckItem(name, True, f"compiled, {mapping.hash[:12]}"))
    return [*items, *_shown_stock(installation, folders)]


def _shown_stock(installation: Installation, folders: list[Path]) -> list[CheckItem]:
    """Targets of stock whose items never say what they show: nothing would be published there, run after run."""
    found: dict[str, CheckItem] = {}
    for route in installation.settings.routes.values():
        for target in route.targets if route.entity is EntityName.STOCK and not route.take_over else ():
            platform = installation.classes[target].manifest.key
            name = f"{platform}.item.in"
            try:
                shows = "source_stock" in load_mapping(platform, "item", "in", folders).fields
            except ComptoirError:
                continue  # said where the mapping itself is checked, or the first run says it
            if not shows:
                found[name] = CheckItem(
                    name, False, "gives no source_stock, so none is published: a shop that shows none counts none",
                    "Map what the shop shows as its stock, or set take_over = true for the route.",
                )  # fmt: skip
    return list(found.values())
