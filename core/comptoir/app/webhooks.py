"""Webhooks as a person sees them: which should stand, which do, what waits, and putting them right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from comptoir.app.bootstrap import check_installation, open_installation
from comptoir.app.config import Settings
from comptoir.engine.hub import Hub, Link
from comptoir.engine.ports import Secrets
from comptoir.engine.webhooks import hinted_entities, hook_url
from comptoir.errors import ComptoirError, ConfigError
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.protocols import CheckItem, Credentials, ReceivesWebhooks
from comptoir.store.inbox import Inbox

__all__ = ["booked_channels", "check_secret", "list_webhooks"]

#: Shorter ones can be guessed by trying.
_SHORT_SECRET = 16


def booked_channels(settings: Settings) -> list[str]:
    """The connections whose sales the hub books."""
    return [name for name, connection in settings.connections.items() if connection.invoicing in ("self", "hub")]


def check_secret(settings: Settings, name: str, manifest: Manifest, secrets: Secrets) -> list[CheckItem]:
    """Whether webhooks of a connection can be taken: its secret, and our own address. Nothing when no route waits."""
    if not manifest.webhooks or not hinted_entities(name, settings.routes.values(), booked_channels(settings)):
        return []
    secret = (secrets.get(name) or Credentials()).extra.get("webhook_secret")
    where = f'Put {{"webhook_secret": "..."}} into the extra of the Airflow connection {name}: a random text.'
    if not isinstance(secret, str) or not secret.strip():
        if settings.gateway.url is None:
            # Nobody has set webhooks up: the schedule does the work, only later.
            return [CheckItem("webhook secret", True, "webhooks are not set up; the schedule reads this shop", where)]
        return [CheckItem("webhook secret", False, "there is none, so no webhook of it is taken", where)]
    if len(secret) < _SHORT_SECRET:
        short = f"it has {len(secret)} characters; {_SHORT_SECRET} or more cannot be guessed"
        return [CheckItem("webhook secret", False, short, where)]
    if settings.gateway.url is None:
        hint = 'Set `url = "https://..."` in [gateway], and webhooks are made and mended by themselves.'
        return [CheckItem("webhook secret", True, "it is set; webhooks must be made by hand", hint)]
    return [CheckItem("webhook secret", True, f"webhooks are sent to {hook_url(settings.gateway.url, name)}")]


def list_webhooks(config: Path, *, repair: bool = False) -> list[Mapping[str, Any]]:
    """What stands in each shop and what has come in, one row per webhook.

    `repair` makes and mends what is wrong, and sets secrets and switches again that cannot be seen from outside.
    ConfigError when no connection sends webhooks to a route, or our own address is not known.
    """
    installation = check_installation(config)
    settings = installation.settings
    names = [
        name
        for name, cls in installation.classes.items()
        if cls.manifest.webhooks and hinted_entities(name, settings.routes.values(), booked_channels(settings))
    ]
    if not names:
        raise ConfigError(
            "no route waits for webhooks of a connection that can send them",
            hint='Write `triggers = ["webhook"]` into a route that reads from a shop.',
            code="no_webhooks",
        )
    if settings.gateway.url is None:
        raise ConfigError(
            f"{settings.path.name}: the address at which shops reach `comptoir gateway` is not set",
            hint='Add a table [gateway] with `url = "https://hooks.example.com"`.',
            code="no_gateway_url",
            field="gateway.url",
        )
    rows: list[Mapping[str, Any]] = []
    with open_installation(installation) as hub:
        with hub.database.transaction() as session:
            waiting = Inbox(session).waiting()
            last = {name: Inbox(session).last_received(name) for name in names}
        for name in names:
            entities = hinted_entities(name, settings.routes.values(), booked_channels(settings))
            for item in _looked(hub, hub.link(name), "renew" if repair else "look"):
                rows.append({"connection": name, **_row(item)})
            for entity in entities:
                came = last[name].get(entity.value)
                rows.append(
                    {
                        "connection": name,
                        "webhook": f"{entity.value} received",
                        "ok": True,
                        "detail": f"{'never' if came is None else f'last at {came:%Y-%m-%d %H:%M} UTC'}, "
                        f"{waiting.get((name, entity.value), 0)} wait",
                        "hint": None,
                    }
                )
    return rows


def _looked(hub: Hub, link: Link, mode: Literal["look", "renew"]) -> list[CheckItem]:
    entities = hinted_entities(link.name, hub.routes.values(), [channel.name for channel in hub.hub_channels()])
    try:
        connector = link.open() if mode == "look" else link.open_to_write()
        if not isinstance(connector, ReceivesWebhooks):
            raise ConfigError(f"{link.name}: {link.manifest.name} sends no webhooks", connection=link.name)
        return list(connector.ensure_webhooks(hook_url(str(hub.gateway_url), link.name), entities, mode))
    except ComptoirError as error:
        return [CheckItem.failed("webhooks", error)]


def _row(item: CheckItem) -> dict[str, Any]:
    return {"webhook": item.name, "ok": item.ok, "detail": item.detail, "hint": item.hint}
