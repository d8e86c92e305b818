"""What was found wrong, and where the package that it was found in stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Fault", "Package"]

_CACHES = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """`file` is relative to the folder that was given, `line` from 1 (0: the file as a whole). `do`: what to do."""

    file: str
    line: int
    rule: str
    message: str
    do: str

    def as_dict(self) -> dict[str, str | int]:
        """For `--json`."""
        return {"file": self.file, "line": self.line, "rule": self.rule, "message": self.message, "do": self.do}


class Package:
    """A connector's package, and the project that it belongs to.

    `given`: the folder that was asked about, to which paths are relative where they lie below it.
    """

    def __init__(self, folder: Path, given: Path) -> None:
        self.folder = folder
        self.given = given

    @property
    def name(self) -> str:
        """The import name."""
        return self.folder.name

    @cached_property
    def project(self) -> Path | None:
        """The nearest folder above with a pyproject.toml."""
        for folder in (self.folder, *self.folder.parents):
            if (folder / "pyproject.toml").is_file():
                return folder
        return None

    def shown(self, path: Path) -> str:
        """A path for people."""
        for base in (self.given, self.project, self.folder.parent):
            if base is not None and path.is_relative_to(base):
                return path.relative_to(base).as_posix()
        return path.name

    def fault(self, path: Path, line: int, rule: str, message: str, do: str) -> Fault:
        """A fault in one of its files."""
        return Fault(self.shown(path), line, rule, message, do)

    @cached_property
    def modules(self) -> dict[Path, str]:
        """Its Python files with their texts."""
        return {path: path.read_text(encoding="utf-8", errors="replace") for path in _python(self.folder)}

    @cached_property
    def trees(self) -> dict[Path, ast.Module]:
        """Those of its Python files that are Python."""
        found = {}
        for path, text in self.modules.items():
            try:
                found[path] = ast.parse(text)
            except (SyntaxError, ValueError):
                continue
        return found

    @cached_property
    def tests(self) -> dict[Path, ast.Module]:
        """The Python files of the project's `tests` folder that name the package or the conformance suite."""
        found = {}
        place = (self.project or self.folder.parent) / "tests"
        for path in _python(place):
            text = path.read_text(encoding="utf-8", errors="replace")
            # A large project has a thousand tests, and few are about this.
            if self.name not in text and "connector_suite" not in text:
                continue
            try:
                found[path] = ast.parse(text)
            except (SyntaxError, ValueError):
                continue
        return found


def _python(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for path in sorted(folder.rglob("*.py")):
            if not _CACHES.intersection(path.parts) and not path.is_symlink():
                yield path
