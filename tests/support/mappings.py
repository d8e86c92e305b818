"""Mappings written into a temporary folder, for tests of the language."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from comptoir.mapping import Mapping, load_mapping

__all__ = ["CONTEXT", "Workshop"]

CONTEXT: dict[str, Any] = {
    "connection": "boutique",
    "channel": "web",
    "company.name": "Maison Exemple",
    "company.country": "FR",
    "company.currency": "EUR",
    "company.time_zone": "Europe/Paris",
    "config.prefix": "W-",
}


class Workshop:
    """A folder of mappings of the platform `demo`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str, *, schema: Any = None, folder: str = "repository") -> Path:
        """Writes `entity.direction` (and its schema.json); the heading is added when it is left out."""
        place = self.folder / folder / "demo"
        place.mkdir(parents=True, exist_ok=True)
        body = textwrap.dedent(text).lstrip("\n")
        if not body.startswith("mapping:"):
            heading = f"mapping: demo.{name}\n" + ("schema: schema.json\n" if schema is not None else "")
            body = heading + body
        if schema is not None:
            (place / "schema.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))
        path = place / f"{name}.yaml"
        path.write_text(body, encoding="utf-8")
        return path

    def load(self, name: str, *folders: str) -> Mapping:
        """The compiled mapping; folders in the order of search."""
        entity, direction = name.split(".")
        return load_mapping("demo", entity, direction, [self.folder / f for f in folders or ("repository",)])

    def make(self, name: str, text: str, *, schema: Any = None) -> Mapping:
        """Writes and loads."""
        self.write(name, text, schema=schema)
        return self.load(name)

    def field(self, rule: str, record: Any, *, parent: Any = None, heading: str = "", functions: str = "") -> Any:
        """What an item's rule for the open field `extra.x` makes of a record, unchecked by the model."""
        text = f"{heading}\nfields:\n  external_id: {{const: '1'}}\n  name: {{const: n}}\n"
        text += f"  extra: {{object: {{x: {rule}}}}}\n"
        if functions:
            text = f"functions: {functions}\n{text}"
        return self.make("item.in", text).apply(record, CONTEXT, parent=parent)["extra"]["x"]


def functions(name: str, **found: Callable[..., Any]) -> str:
    """A module `name` with these functions, as a connector would have it; remove it from sys.modules at the end."""
    module = ModuleType(name)
    module.FUNCTIONS = found  # type: ignore[attr-defined]
    sys.modules[name] = module
    return name
