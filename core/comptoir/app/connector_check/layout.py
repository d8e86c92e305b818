"""Which files a connector has: every one has the same, so that everybody knows where to look."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from comptoir.app.connector_check.findings import Fault, Package
from comptoir.sdk.toml_lines import key_lines

__all__ = ["check_layout", "has_suite", "is_declared"]

_ALWAYS = {
    "__init__.py": "Say in one line what the package is.",
    "manifest.toml": "It says what the connector can do: docs/connector-kit.md.",
    "README.md": "Say what is read and written, how a connection is set up, and what was measured.",
    "quality.yaml": "Promise a tier and say what is done: docs/quality.md.",
    "py.typed": "An empty file: without it nobody's type checker sees yours.",
}
_WITH_CODE = {
    "connector.py": "The class with manifest, config_model and check() goes there.",
    "config.py": "The settings of a connection (a ConnectorConfig) go there.",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SHORTEST_README = 200
_GROUP = "comptoir.connectors"


def is_declared(package: Package) -> bool:
    """Whether it is described by its manifest alone, without code (docs/no-code.md)."""
    path = package.folder / "manifest.toml"
    if (package.folder / "connector.py").exists() or not path.is_file():
        return False
    try:
        described = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
    return "rest" in described or "files" in described


def check_layout(package: Package) -> Iterator[Fault]:
    """Missing files, names, a README that says nothing, no test with the conformance suite, no entry point."""
    folder = package.folder
    wanted = _ALWAYS if is_declared(package) else {**_ALWAYS, **_WITH_CODE}
    for name, do in wanted.items():
        if not (folder / name).is_file():
            yield package.fault(folder / name, 0, "layout", f"{name} is missing", do)
    if not _NAME.fullmatch(package.name):
        yield package.fault(folder, 0, "layout", f"{package.name} is no name of a package", "Small letters, digits, _.")
    yield from _readme(package)
    if not is_declared(package):
        yield from _classes(package)
    if not has_suite(package):
        place = (package.project or folder.parent) / "tests"
        yield package.fault(
            place, 0, "tests", f"no test in it runs the conformance suite on {package.name}",
            "Write a kit and one line, TestMyConnector = connector_suite(MyKit): docs/connector-kit.md.",
        )  # fmt: skip
    yield from _entry_point(package)


def _readme(package: Package) -> Iterator[Fault]:
    path = package.folder / "README.md"
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if not re.match(r"\s*# \S", text):
        yield package.fault(path, 1, "readme", "it has no title", "Begin with `# Name of the system`.")
    if len(text) < _SHORTEST_README:
        yield package.fault(
            path, 0, "readme", f"it has {len(text)} characters: too little to set a connection up with",
            "Say what is read and written, how a connection is set up, and what was measured.",
        )  # fmt: skip


def _classes(package: Package) -> Iterator[Fault]:
    """The connector's class and its settings, by what they are written like."""
    path = package.folder / "connector.py"
    if path in package.trees:
        classes = [node for node in package.trees[path].body if isinstance(node, ast.ClassDef)]
        if not any({"manifest", "config_model"} <= _names_set_in(node) for node in classes):
            yield package.fault(
                path, 0, "layout", "no class in it sets manifest and config_model",
                'Write both into the class: manifest: ClassVar[Manifest] = load_manifest("' + package.name + '").',
            )  # fmt: skip
    path = package.folder / "config.py"
    if path in package.trees and not any(
        isinstance(node, ast.ClassDef) and node.bases for node in package.trees[path].body
    ):
        yield package.fault(
            path, 0, "layout", "no class in it is a ConnectorConfig", "Derive the settings from ConnectorConfig."
        )


def _names_set_in(node: ast.ClassDef) -> set[str]:
    names = set()
    for statement in node.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def has_suite(package: Package) -> bool:
    """Whether a test file calls `connector_suite`, and it or a file beside it imports the package."""
    callers = [path for path, tree in package.tests.items() if _calls_suite(tree)]
    importers = [path for path, tree in package.tests.items() if package.name in _imported(tree)]
    return any(caller == other or _reaches(package, caller, other) for caller in callers for other in importers)


def _calls_suite(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "connector_suite"
        for node in ast.walk(tree)
    )


def _imported(tree: ast.Module) -> set[str]:
    """Top packages that a module imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _reaches(package: Package, caller: Path, other: Path) -> bool:
    """Whether one test file imports another by its name."""
    for node in ast.walk(package.tests[caller]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.rpartition(".")[2] == other.stem:
            return True
        if isinstance(node, ast.Import) and any(a.name.rpartition(".")[2] == other.stem for a in node.names):
            return True
    return False


def _entry_point(package: Package) -> Iterator[Fault]:
    """Installed connectors are found by an entry point under the manifest's key."""
    if package.project is None:
        yield package.fault(
            package.folder, 0, "entry-point", "there is no pyproject.toml in this folder or above it",
            f'Without an entry point of the group "{_GROUP}" nobody finds the connector.',
        )  # fmt: skip
        return
    path = package.project / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    try:
        project = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        yield package.fault(path, 0, "entry-point", f"it is no TOML: {error}", "Correct it.")
        return
    points = project.get("project", {}).get("entry-points", {}).get(_GROUP, {})
    ours = {
        key: value for key, value in points.items() if str(value).partition(":")[0].partition(".")[0] == package.name
    }
    lines = key_lines(text)
    if not ours:
        yield package.fault(
            path, lines.get(("project", "entry-points", _GROUP), 0), "entry-point",
            f"no entry point of {_GROUP} leads to {package.name}",
            f'[project.entry-points."{_GROUP}"] needs: key = "{package.name}.connector:ClassName".',
        )  # fmt: skip
        return
    key = _manifest_key(package)
    if key is not None and key not in ours:
        name = next(iter(ours))
        yield package.fault(
            path, lines.get(("project", "entry-points", _GROUP, name), 0), "entry-point",
            f"the entry point is called {name}, and the manifest's key is {key}", "Give both the same name.",
        )  # fmt: skip


def _manifest_key(package: Package) -> str | None:
    path = package.folder / "manifest.toml"
    try:
        key = tomllib.loads(path.read_text(encoding="utf-8")).get("key")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    return key if isinstance(key, str) else None
