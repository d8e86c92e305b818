"""`comptoir new-connector`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from comptoir.cli.output import print_json, say
from comptoir.cli.state import JsonFlag

__all__ = ["new_connector"]


class _Kind(enum.StrEnum):
    PYTHON = "python"
    REST = "rest"
    FILES = "files"


def new_connector(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _: the key of the connector.")],
    path: Annotated[Path, typer.Option(help="The folder in which the project's folder is made.")] = Path(),
    kind: Annotated[
        _Kind, typer.Option(help="python: with code. rest and files: a description and mappings alone.")
    ] = _Kind.PYTHON,
    title: Annotated[str | None, typer.Option(help="The system's name for people; made of NAME by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the package of a new connector: it passes the conformance suite as it is."""
    from comptoir.app.scaffold import new_connector as write

    made = write(name, path, kind=kind.value, title=title)
    if as_json:
        print_json({"folder": str(made.folder), "package": made.package, "files": list(made.files)})
        return
    for file in made.files:
        say(f"  {made.folder / file}")
    say(f"Next, in {made.folder}: python -m pip install --editable . && python -m pytest")
    say("Then fill in what the system really sends; README.md says where.")
