"""What a connector's files say: the manifest, what is imported, what is used past its port."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comptoir.app.connector_check import ports
from comptoir.app.connector_check.findings import Fault, Package
from comptoir.app.connector_check.layout import is_declared
from comptoir.errors import ComptoirError
from comptoir.sdk.declared import read_description
from comptoir.sdk.manifest import Manifest, contradictions
from comptoir.sdk.toml_lines import key_lines

__all__ = ["check_manifest", "check_sources"]

_SDK = "comptoir.sdk"
#: Only the sandbox, which is a tool for tests, sees the test kit.
_KIT = "comptoir.testing"
_OURS = ("airflow", "sqlalchemy", "psycopg", "alembic")
_SOON = timedelta(days=90)
_DESCRIPTION = "manifest.toml"


# --- the manifest -------------------------------------------------------------------------------------------------


def check_manifest(package: Package, *, today: date) -> tuple[Manifest | None, list[Fault]]:
    """The manifest, None when it cannot be read, and what is wrong with it."""
    path = package.folder / "manifest.toml"
    if not path.is_file():
        return None, []
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [package.fault(path, _line_of(error), "manifest", f"it is no TOML: {error}", "Correct it.")]
    lines = key_lines(text)
    if is_declared(package):
        return _described(package, path)
    try:
        manifest = Manifest.model_validate(said)
    except ValidationError as error:
        return None, [
            package.fault(
                path, _nearest(lines, tuple(map(str, wrong["loc"]))), "manifest",
                f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}", "docs/connector-kit.md explains every key.",
            )
            for wrong in error.errors()
        ]  # fmt: skip
    faults = [
        package.fault(path, _nearest(lines, tuple(wrong.key.split("."))), "manifest", wrong.message, _mend(wrong.key))
        for wrong in contradictions(manifest)
    ]
    faults += _end_of_version(package, path, lines, manifest, today)
    return manifest, faults


def _described(package: Package, path: Path) -> tuple[Manifest | None, list[Fault]]:
    """The manifest that follows from a description without code."""
    try:
        return read_description(package.folder, shown=_DESCRIPTION).manifest, []
    except ComptoirError as error:
        # Its messages begin with file and line.
        number, _, message = error.message.removeprefix(f"{_DESCRIPTION}:").partition(":")
        line, words = (int(number), message.strip()) if number.isdigit() else (0, error.message)
        return None, [package.fault(path, line, "manifest", words, error.hint or "docs/no-code.md explains it.")]


def _end_of_version(
    package: Package, path: Path, lines: dict[tuple[str, ...], int], manifest: Manifest, today: date
) -> Iterator[Fault]:
    ends = manifest.api_version_ends
    if ends is not None and ends < today + _SOON:
        gone = "ended" if ends < today else "ends"
        yield package.fault(
            path, lines.get(("api_version_ends",), 0), "manifest",
            f"the version {manifest.api_version} of the remote's interface {gone} on {ends}",
            "Speak a newer version, and say until when that one is served.",
        )  # fmt: skip


def _mend(key: str) -> str:
    last = key.rpartition(".")[2]
    return {
        "api_version": 'Write api_version = "..." as the remote calls it, and api_version_ends when it says one.',
        "write_strategy": 'Write write_strategy = "patch" or "read-merge-write".',
        "natural_key": "Name the field by which the target can be asked for a record.",
        "lost_answer": "Declare what can be made, or take the line out.",
    }.get(last, "Write what is missing, or take the line out.")


def _nearest(lines: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """The line of a key, or of the table that it would stand in."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0


def _line_of(error: tomllib.TOMLDecodeError) -> int:
    words = str(error).split("line ")
    number = words[1].split(",")[0].split(")")[0] if len(words) > 1 else ""
    return int(number) if number.isdigit() else 0


# --- the code -----------------------------------------------------------------------------------------------------


def check_sources(package: Package) -> Iterator[Fault]:
    """What its Python files import and use, and whether they are Python at all."""
    for path, text in package.modules.items():
        if path not in package.trees:
            yield package.fault(path, _syntax_line(text), "python", "it is no Python that can be read", "Correct it.")
            continue
        yield from _imports(package, path)
        in_sandbox = path == package.folder / "sandbox.py"
        allowed = ports.IN_A_SANDBOX if in_sandbox else frozenset[str]()
        for finding in ports.check_source(path.name, text, allowed=allowed):
            yield package.fault(path, finding.line, "ports", finding.message, "Take it from the ConnectorContext.")


def _syntax_line(text: str) -> int:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return error.lineno or 0
    except ValueError:
        return 0
    return 0


def _imports(package: Package, path: Path) -> Iterator[Fault]:
    for node in ast.walk(package.trees[path]):
        for module in _modules(node):
            wrong = _wrong_import(package, path, module)
            if wrong is not None:
                yield package.fault(path, getattr(node, "lineno", 0), "imports", *wrong)


def _modules(node: Any) -> list[str]:
    """The modules that a statement imports, by their full names; relative ones are the package's own."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        if node.module == "comptoir":
            return [f"comptoir.{alias.name}" for alias in node.names]
        return [node.module]
    return []


def _wrong_import(package: Package, path: Path, module: str) -> tuple[str, str] | None:
    """What is wrong with an import and what to do, None when it is fine."""
    top = module.partition(".")[0]
    if top == package.name or top in sys.stdlib_module_names:
        return None
    if top == "comptoir":
        if _below(module, _SDK):
            return None
        if _below(module, _KIT):
            if path == package.folder / "sandbox.py":
                return None
            return f"imports {module}", "Only sandbox.py and tests may use comptoir.testing."
        return f"imports {module}", f"Import it from {_SDK}: everything else of Comptoir may move without a word."
    if top.startswith("comptoir_"):
        return f"imports {module}, another connector", "Connectors know nothing of each other: copy the few lines."
    if top in _OURS:
        return f"imports {module}", "The engine stores and schedules; a connector speaks to its system alone."
    if top in ("tests", "pytest"):
        return f"imports {module}, which nobody installs with the package", "Move it into the tests."
    return None


def _below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
