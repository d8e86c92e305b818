"""Finds the package, tries every check on it, and reports all that is wrong at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from comptoir.app.connector_check.findings import Fault, Package
from comptoir.app.connector_check.layout import check_layout
from comptoir.app.connector_check.quality import check_quality
from comptoir.app.connector_check.sources import check_manifest, check_sources
from comptoir.errors import ConfigError

__all__ = ["Report", "check_connector"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found about one package. `tier`: what it promises, None when it promises nothing that holds."""

    package: str
    tier: str | None
    files: int
    faults: Sequence[Fault] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "package": self.package,
            "tier": self.tier,
            "files": self.files,
            "ok": self.ok,
            "faults": [fault.as_dict() for fault in self.faults],
        }


def check_connector(path: Path, *, today: date) -> Report:
    """Everything that is wrong with the connector's package at `path`: the package itself, or a project with one.

    ConfigError when there is no package, or more than one.
    """
    package = Package(_package(path), path.resolve())
    faults = [*check_layout(package)]
    manifest, found = check_manifest(package, today=today)
    faults += found
    faults += check_sources(package)
    tier, found = check_quality(package, manifest)
    faults += found
    return Report(package.name, tier, len(package.modules), tuple(sorted(set(faults))))


def _package(path: Path) -> Path:
    folder = path.resolve()
    if not folder.is_dir():
        raise ConfigError(
            f"{path} is no folder", hint="Give the folder of the connector's package, or of the project with it."
        )
    if _is_package(folder):
        return folder
    below = [*folder.iterdir(), *(folder / "src").glob("*"), *(folder / "connectors").glob("*")]
    found = sorted(child for child in below if child.is_dir() and _is_package(child))
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(
            f"{path} holds several connectors: {', '.join(child.name for child in found)}",
            hint="Give one of their folders.",
        )
    raise ConfigError(
        f"{path} holds no connector: no folder in it has a manifest.toml",
        hint="Give the folder with manifest.toml; `comptoir new-connector NAME` makes one.",
    )


def _is_package(folder: Path) -> bool:
    """A connector that lacks its manifest is still to be found by what lies beside it."""
    if folder.name.startswith(".") or not (folder / "__init__.py").is_file():
        return False
    return (folder / "manifest.toml").is_file() or (folder / "connector.py").is_file()
