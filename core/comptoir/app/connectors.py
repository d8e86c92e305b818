"""Finds installed connectors by entry point; core never names one."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

from comptoir.errors import ConfigError
from comptoir.sdk.protocols import Connector

__all__ = ["available", "load_connector"]

GROUP = "comptoir.connectors"


def available() -> dict[str, EntryPoint]:
    """Installed connectors by key, not yet imported."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def load_connector(key: str) -> type[Connector]:
    """The connector class; ConfigError when it is not installed or cannot be imported."""
    points = available()
    if key not in points:
        raise ConfigError(
            f"{key!r} is not an installed connector; allowed: {', '.join(points) or 'none is installed'}",
            code="no_connector",
        )
    try:
        return cast("type[Connector]", points[key].load())
    except ImportError as error:
        raise ConfigError(
            f"the connector {key!r} cannot be loaded: {error}",
            hint="Repeat its installation.",
            code="no_connector",
        ) from error
