"""Finds connectors: installed ones by entry point, a merchant's own descriptions beside comptoir.toml.

Core never names one. An entry point names a class, or a package that holds nothing but a description.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from comptoir.errors import ConfigError
from comptoir.sdk.declared import connector_of, declared_connector, description_of
from comptoir.sdk.protocols import Connector

__all__ = ["Known", "available", "known", "load_connector", "own_mappings"]

GROUP = "comptoir.connectors"
#: Where a merchant's own descriptions stand, beside comptoir.toml.
FOLDER = "connectors"


@dataclass(frozen=True, slots=True)
class Known:
    """A connector that can be used, not yet imported: by entry point, or described in a folder."""

    key: str
    point: EntryPoint | None = None
    folder: Path | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.point is not None:
            distribution = self.point.dist
            return f"{distribution.name} {distribution.version}" if distribution else self.point.value
        return f"{FOLDER}/{self.key}"

    @property
    def mappings(self) -> Path | None:
        """The folder of the mappings that it brings along; None when it brings none. Imports nothing."""
        if self.point is None:
            place = self.folder / "mappings" if self.folder else None
        else:
            spec = find_spec(self.point.module.split(".")[0])
            folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
            place = Path(folder) / "mappings" if folder else None
        return place if place is not None and place.is_dir() else None


def available() -> dict[str, EntryPoint]:
    """Installed connectors by key, not yet imported."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def known(base: Path | None = None) -> dict[str, Known]:
    """Every connector by key: the installed ones, and those described in `base`/connectors.

    ConfigError when a description has the key of an installed connector: which one is meant could not be seen.
    """
    found = {key: Known(key, point=point) for key, point in available().items()}
    for folder in _described(base):
        if folder.name in found:
            raise ConfigError(
                f"{FOLDER}/{folder.name} has the key of an installed connector ({found[folder.name].origin})",
                hint="Rename the folder and the key in its manifest.toml.",
                code="connector_twice",
            )
        found[folder.name] = Known(folder.name, folder=folder)
    return dict(sorted(found.items()))


def _described(base: Path | None) -> list[Path]:
    """Folders with a manifest and no code; a connector with code stands in a package and is installed."""
    place = base / FOLDER if base is not None else None
    if place is None or not place.is_dir():
        return []
    return sorted(
        folder
        for folder in place.iterdir()
        if (folder / "manifest.toml").is_file() and not (folder / "__init__.py").exists()
    )


def load_connector(key: str, base: Path | None = None) -> type[Connector]:
    """The connector class; ConfigError when there is none of this key, or it cannot be imported or read.

    `base` is the folder of comptoir.toml, beside which a merchant's own descriptions stand.
    """
    found = known(base)
    if key not in found:
        raise ConfigError(
            f"{key!r} is not an installed connector; allowed: {', '.join(found) or 'none is installed'}",
            hint=None if base is None else f"A connector of your own is described in {FOLDER}/{key}/manifest.toml.",
            code="no_connector",
        )
    one = found[key]
    if one.folder is not None:
        return declared_connector(one.folder, shown=f"{FOLDER}/{key}/manifest.toml")
    try:
        assert one.point is not None  # noqa: S101 - a known connector has one of the two
        return connector_of(one.point.load())
    except ImportError as error:
        raise ConfigError(
            f"the connector {key!r} cannot be loaded: {error}",
            hint="Repeat its installation.",
            code="no_connector",
        ) from error


def own_mappings(connector: type[Connector]) -> Path:
    """The folder `mappings` that a connector brings along; it need not exist."""
    description = description_of(connector)
    if description is not None:
        return description.folder / "mappings"
    return Path(str(files(connector.__module__.split(".")[0]) / "mappings"))
