"""`comptoir new-connector`: the package of a new connector, complete enough to pass the conformance suite as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Literal

import comptoir
from comptoir.errors import ConfigError

__all__ = ["Kind", "Made", "new_connector"]

Kind = Literal["python", "rest", "files"]

#: Which folders of templates make a package; a later one adds to those before it.
_LAYERS: dict[Kind, tuple[str, ...]] = {
    "python": ("shared", "http", "python"),
    "rest": ("shared", "http", "rest"),
    "files": ("shared", "files"),
}
_KEY = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
_TITLE = re.compile(r"^\w[\w .,&'-]{0,58}\w$")
_SUFFIX = ".tmpl"
_ACCESS_WORDS = """\
Address and token are in the Airflow connection of the same name (or the environment), never in the file:

```
AIRFLOW_CONN_{variable}='{{"conn_type": "{key}", "host": "https://api.example", "password": "the token"}}'
```"""
_FOLDER_WORDS = "A folder on an SFTP server needs user name and password in the Airflow connection of the same name."
_MOMENT = "2026-11-20T10:00:00"


@dataclass(frozen=True, slots=True)
class Made:
    """What was written: the project's folder, the package in it and its files, relative to the folder."""

    folder: Path
    package: str
    files: tuple[str, ...]


def new_connector(name: str, place: Path, *, kind: Kind = "python", title: str | None = None) -> Made:
    """Writes the package of a connector `name` into a new folder below `place`.

    ConfigError when the name cannot be a connector's, belongs to one that is installed, or the folder exists. Nothing
    is ever overwritten.
    """
    key = name.strip().lower().replace("-", "_").removeprefix("comptoir_")
    if not _KEY.match(key) or len(key) > 40:
        raise ConfigError(
            f"{name!r} cannot be a connector's name",
            hint="It begins with a letter and has small letters, digits and single _, at most 40.",
            code="connector_name",
        )
    shown = title or " ".join(part.capitalize() for part in key.split("_"))
    if not _TITLE.match(shown):
        raise ConfigError(
            f"{shown!r} cannot be a connector's title", hint="Letters, digits, spaces and . , & ' -", code="usage"
        )
    from comptoir.app.connectors import known

    if key in (installed := known()):
        raise ConfigError(f"a connector {key!r} is installed already ({installed[key].origin})", code="connector_twice")
    folder = place / f"comptoir-{key.replace('_', '-')}"
    if folder.exists():
        raise ConfigError(
            f"{folder} exists already", hint="Nothing is overwritten: choose another --path.", code="usage"
        )
    values = _values(key, shown, kind)
    written = []
    for path, text in _templates(kind, key, values["package"]).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).substitute(values), encoding="utf-8")
        written.append(path)
    return Made(folder, values["package"], tuple(sorted(written)))


def _values(key: str, title: str, kind: Kind) -> dict[str, str]:
    package = f"comptoir_{key}"
    cls = "".join(part.capitalize() for part in key.split("_"))
    files = kind == "files"
    variable = key.upper()
    return {
        "key": key,
        "title": title,
        "package": package,
        "distribution": f"comptoir-{key.replace('_', '-')}",
        "cls": cls,
        "comptoir": comptoir.__version__,
        "entry": f"{package}.connector:{cls}Connector" if kind == "python" else package,
        "connection_setting": f'folder = "exchange/{key}"' if files else "# page_rows = 100"
        if kind == "python" else "# no settings",
        "credentials_words": _FOLDER_WORDS if files else _ACCESS_WORDS.format(variable=variable, key=key),
        "modified_rule": "" if files else "  modified_at: {from: updated_at, as: utc}",
        "golden_id": '"1"' if files else "1",
        "golden_modified": "" if files else f', "updated_at": "{_MOMENT}+00:00"',
        "golden_modified_out": "" if files else f',\n "modified_at": "{_MOMENT}Z"',
    }  # fmt: skip


def _templates(kind: Kind, key: str, package: str) -> dict[str, str]:
    """Path in the new project -> template."""
    found: dict[str, str] = {}
    root = resources.files("comptoir.app.scaffold") / "templates"
    for layer in _LAYERS[kind]:
        for path, text in _below(root / layer, ""):
            parts = [{"package": package, "KEY": key}.get(part, part) for part in path.split("/")]
            found["/".join(parts).removesuffix(_SUFFIX)] = text
    return found


def _below(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            found += _below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((prefix + entry.name, entry.read_text(encoding="utf-8")))
    return found
