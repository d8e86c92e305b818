"""Documentation that can be checked: links lead to files, named functions exist where the text says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "connectors").glob("*/README.md")])
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _names(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for label, target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = (page.parent / target).resolve()
        assert path.exists(), f"{label} -> {target}"
        if path.suffix == ".py" and label.startswith("`"):
            name = label.strip("`").split(".")[-1]
            assert name in _names(path), f"{target} defines no {name}"


def test_the_architecture_page_names_every_step() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for step in ("Pull", "Land", "Map", "Resolve", "Derive", "Plan", "Deliver", "Confirm"):
        assert f" {step}\n" in text
