"""What Airflow's web pages know of Comptoir: a connection type for every installed connector."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterator
from typing import Any

from comptoir.sdk.declared import connector_of
from comptoir.sdk.manifest import Manifest

__all__ = ["get_provider_info", "installed_manifests"]

log = logging.getLogger(__name__)

GROUP = "comptoir.connectors"

#: Everything else about a connection is in comptoir.toml, where it is reviewed; only the credentials live in
#: Airflow.
_HIDDEN = ["port", "schema", "extra"]
_LABELS = {"host": "Address", "login": "User name or key", "password": "Password or secret"}


def installed_manifests() -> Iterator[Manifest]:
    """The manifest of every installed connector that can be imported; the log names those that cannot."""
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            manifest: Any = connector_of(entry.load()).manifest
        # Somebody else's code: whatever it raises, the other connectors and Airflow itself go on.
        except Exception as error:  # noqa: BLE001
            log.warning(
                "The connector %r (%s) cannot be used: %s: %s",
                entry.name,
                entry.value,
                type(error).__name__,
                error,
            )
            continue
        if isinstance(manifest, Manifest):
            yield manifest
        else:
            log.warning("The connector %r (%s) has no manifest.", entry.name, entry.value)


def get_provider_info() -> dict[str, Any]:
    """The dictionary Airflow asks for by the entry point `apache_airflow_provider`."""
    return {
        "package-name": "comptoir",
        "name": "Comptoir",
        "description": "Connections of the Comptoir integration hub.",
        "versions": [importlib.metadata.version("comptoir")],
        "connection-types": [
            {
                "connection-type": manifest.key,
                "hook-class-name": f"comptoir.airflow.hooks.{manifest.key}",
                "hook-name": f"Comptoir: {manifest.name}",
                "ui-field-behaviour": {"hidden-fields": _HIDDEN, "relabeling": _LABELS},
            }
            for manifest in installed_manifests()
        ],
    }
