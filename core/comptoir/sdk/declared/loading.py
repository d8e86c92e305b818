"""Makes connector classes of descriptions."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, cast

from comptoir.errors import ContractViolation
from comptoir.sdk.declared.description import Description, read_description
from comptoir.sdk.declared.files import DeclaredFiles, FilesConfig
from comptoir.sdk.declared.rest import DeclaredFetches, DeclaredPulls, DeclaredRest
from comptoir.sdk.declared.writing import DeclaredProbes, DeclaredPushes
from comptoir.sdk.protocols import Connector

__all__ = ["connector_of", "declared_connector", "description_of"]


def declared_connector(folder: Path, *, shown: str | None = None) -> type[Connector]:
    """The connector that `folder`/manifest.toml describes. ConfigError with file, line and key when it is wrong.

    It has the methods that its description needs and no others: what is not described is not implemented.
    """
    description = read_description(folder, shown=shown)
    bases: list[type[Any]]
    if description.rest is not None:
        entities = description.manifest.entities.values()
        bases = [DeclaredPulls] if any(e.pull for e in entities) else []
        bases += [DeclaredFetches] if any(e.fetch for e in entities) else []
        if any(e.push for e in entities):
            bases.append(DeclaredProbes if description.manifest.lost_answer == "natural_key" else DeclaredPushes)
        config = description.settings.config_model(description.manifest.key)
        bases = bases or [DeclaredRest]
    else:
        bases = [DeclaredFiles]
        config = description.settings.config_model(description.manifest.key, FilesConfig)
    name = f"Declared{description.manifest.key.title().replace('_', '')}"
    members = {
        "__doc__": description.manifest.summary,
        "__module__": __name__,
        "manifest": description.manifest,
        "config_model": config,
        "description": description,
    }
    return cast("type[Connector]", type(name, tuple(bases), members))


def connector_of(loaded: Any) -> type[Connector]:
    """The connector that an entry point names: a class, or a package that holds nothing but a description."""
    if not isinstance(loaded, ModuleType):
        return cast("type[Connector]", loaded)
    if not getattr(loaded, "__path__", None):
        raise ContractViolation(
            f"the entry point names the module {loaded.__name__}, which is neither class nor package"
        )
    folder = Path(next(iter(loaded.__path__)))
    return declared_connector(folder, shown=f"{loaded.__name__}/manifest.toml")


def description_of(connector: type[Connector]) -> Description | None:
    """The description that a connector was made of; None for one with code."""
    found = getattr(connector, "description", None)
    return found if isinstance(found, Description) else None
