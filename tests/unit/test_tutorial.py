"""The tutorial's blocks are the connector's own lines: each that follows the name of a file stands in that file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
_LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+\.(?:py|toml|yaml))\)")
_SHOWN = {"python", "yaml", "toml"}


def _blocks() -> list[tuple[int, str, Path, str]]:
    """Line, language, file named last before it, and text of each block that shows a file."""
    found: list[tuple[int, str, Path, str]] = []
    named: Path | None = None
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("## 8"):
            break  # a merchant's own file
        for target in _LINK.findall(lines[at]):
            named = (PAGE.parent / target).resolve()
        if lines[at].startswith("```") and (language := lines[at][3:]):
            end = lines.index("```", at + 1)
            if language in _SHOWN:
                assert named is not None, f"line {at + 1}: no file is named before it"
                found.append((at + 1, language, named, "\n".join(lines[at + 1 : end])))
            at = end
        at += 1
    return found


BLOCKS = _blocks()


def test_the_tutorial_shows_the_connector() -> None:
    assert len(BLOCKS) >= 15
    assert len({path for _, _, path, _ in BLOCKS}) >= 9


@pytest.mark.parametrize(("line", "language", "path", "text"), BLOCKS, ids=[f"line {block[0]}" for block in BLOCKS])
def test_each_block_stands_in_its_file(line: int, language: str, path: Path, text: str) -> None:
    assert path.suffix.removeprefix(".") in (language, {"python": "py"}.get(language)), f"line {line}: {path.name}"
    source = path.read_text(encoding="utf-8")
    parts = [part for part in re.split(r"(?m)^\s*\.\.\.$", text) if part.strip()]
    at = 0
    for part in parts:
        wanted = part.strip("\n")
        place = source.find(wanted, at)
        assert place >= 0, f"docs/tutorial.md:{line}: this does not stand in {path.relative_to(ROOT)}:\n{wanted}"
        at = place + len(wanted)


def test_the_commands_exist() -> None:
    from typer.main import get_command

    from comptoir.cli.commands import app

    named = set(re.findall(r"(?:\$ |`)comptoir ([a-z-]+)", PAGE.read_text(encoding="utf-8")))
    assert {"new-connector", "check-connector", "check", "run", "map", "schema"} <= named
    assert named <= set(get_command(app).commands)  # type: ignore[attr-defined]
