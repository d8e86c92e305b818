"""docs/guarantees.md names tests that exist, and leaves out nothing that it must name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
_TEST = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")
_ANY_TEST_WORD = re.compile(r"`(test_\w+)`")
#: The protections that the simulation takes away one at a time.
PROTECTIONS = (
    "inbound dedupe",
    "overlap",
    "watermark before read",
    "in-doubt probe",
    "lease check before send",
    "one open delivery per record and target",
    "echo suppression",
    "resume position and rows in one transaction",
    "deletes only by complete sweeps",
    "repeated-page check",
)


def _section(title: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(f"\n## {title}\n") == 1
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in _section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("name", "path"), sorted(set(_TEST.findall(PAGE.read_text(encoding="utf-8")))))
def test_each_named_test_is_a_test_of_that_file(name: str, path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_test_is_named_without_its_file() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(_ANY_TEST_WORD.findall(text)) == {name for name, _ in _TEST.findall(text)}


def test_every_promise_names_a_test() -> None:
    rows = _rows("The promises")
    assert [row[0] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    assert [row[0] for row in rows if not _TEST.search(row[-1])] == []


def test_what_platforms_lack_is_shown_or_said_to_be_beyond_a_test() -> None:
    rows = _rows("Where a platform makes it impossible")
    assert len(rows) > 10
    assert [row[0] for row in rows if not _TEST.search(row[-1]) and not row[-1].startswith("none: ")] == []


def test_every_protection_has_its_place_in_the_code() -> None:
    rows = _rows("The protections")
    assert [row[0] for row in rows] == list(PROTECTIONS)
    assert [row[0] for row in rows if "](../co" not in row[1]] == []
