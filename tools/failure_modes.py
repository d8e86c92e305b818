"""Prints which tests hold which row of docs/failure-modes.md: `make failure-modes`.

Reads the tests as text, so it needs no database and starts at once. `--missing` prints the rows without a test only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

__all__ = ["held", "rows"]

ROOT = Path(__file__).resolve().parents[1]
_ROW = re.compile(r"^\| (\d+) \| (.*?) \| ")
_WIDTH = 60


def rows() -> dict[int, str]:
    """Number and title of every row."""
    text = (ROOT / "docs" / "failure-modes.md").read_text(encoding="utf-8")
    return {int(m[1]): m[2] for line in text.splitlines() if (m := _ROW.match(line))}


def held() -> dict[int, list[str]]:
    """The tests that carry a row's number, by number."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, numbers in _marked(tree):
            for number in numbers:
                found[number].append(f"{path.relative_to(ROOT).as_posix()}::{name}")
    return dict(found)


def _marked(tree: ast.Module) -> Iterator[tuple[str, list[int]]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for decorator in node.decorator_list:
                if numbers := _numbers(decorator):
                    yield node.name, numbers
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", None) == "pytestmark" for t in node.targets):
            for mark in ast.walk(node.value):
                if numbers := _numbers(mark):
                    yield "(the whole file)", numbers


def _numbers(node: ast.AST) -> list[int]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "failure_mode"):
        return []
    return [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, int)]


def main(arguments: list[str]) -> int:
    """Prints the table; 1 when a test names a row that does not exist."""
    titles, tests = rows(), held()
    for number, title in titles.items():
        names = tests.get(number, [])
        if "--missing" in arguments and names:
            continue
        print(f"{number:>3}  {title[:_WIDTH]:<{_WIDTH}}  {'no test yet' if not names else ''}".rstrip())
        for name in names:
            print(f"       {name}")
    print(f"{sum(1 for n in titles if n in tests)} of {len(titles)} rows have a test.")
    unknown = sorted(set(tests) - set(titles))
    if unknown:
        print(f"Tests name rows that do not exist: {unknown}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
