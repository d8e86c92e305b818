"""`comptoir check-connector`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comptoir.cli.output import out, print_json, say
from comptoir.cli.state import JsonFlag

__all__ = ["check_connector"]


def check_connector(
    path: Annotated[Path, typer.Argument(help="The connector's package, or the project that holds it.")],
    as_json: JsonFlag = False,
) -> None:
    """Check a connector's package without running it: files, manifest, imports, ports, promises. Exit code 1 when
    something is wrong; all of it is listed."""
    from comptoir.app.connector_check import check_connector as look
    from comptoir.app.system import SystemClock

    report = look(path, today=SystemClock().now().date())
    if as_json:
        print_json(report.as_dict())
    else:
        for fault in report.faults:
            place = f"{fault.file}:{fault.line}" if fault.line else fault.file
            out().print(f"{place}: [{fault.rule}] {fault.message}\n    {fault.do}", markup=False)
        promised = f"{report.tier}, as far as a program can see" if report.tier else "no tier"
        say(f"{report.package}: {report.files} files of Python, {len(report.faults)} faults, {promised}")
    if not report.ok:
        raise typer.Exit(1)
