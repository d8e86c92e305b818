"""The books of a seed: whichever program the accountant has, it holds what the journal says, each piece once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from comptoir.simulation.accountant import PROGRAMS
from comptoir.simulation.run import Verdict
from comptoir.simulation.scene import Scene
from comptoir.testing.desk import Desk

#: A seed whose shop sells, is cancelled and gives money back.
_SEED = 12


def _with(program: str) -> Callable[[Scene], Scene]:
    return lambda scene: dataclasses.replace(scene, books=True, program=program)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_every_program_holds_the_journal_to_the_cent(play: Callable[..., Verdict], program: str) -> None:
    verdict = play(_SEED, scene=_with(program))
    assert verdict.violations == ()
    assert any("the accountant imports" in line for line in verdict.story)


def test_a_file_that_is_imported_twice_is_noticed(
    play: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Desk.step

    def twice(self: Desk[Any]) -> list[str]:
        for path in self.waiting():
            self.program.import_file(path.name, path.read_bytes())
        return step(self)

    monkeypatch.setattr(Desk, "step", twice)
    said = play(_SEED, scene=_with("FEC layout")).violations
    assert any("times" in words and "the accountant holds piece" in words for words in said), said
    assert any(words.startswith("account 707100") for words in said), said
