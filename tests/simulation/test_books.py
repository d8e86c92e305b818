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

#: Where to begin; some shops sell nothing that is booked.
_SEEDS = range(13, 18)


def _with(program: str) -> Callable[[Scene], Scene]:
    return lambda scene: dataclasses.replace(scene, books=True, program=program)


def _of_a_shop_that_sells(play: Callable[..., Verdict], program: str) -> Verdict:
    for seed in _SEEDS:
        verdict = play(seed, scene=_with(program))
        if verdict.violations or any("the accountant imports" in line for line in verdict.story):
            return verdict
    pytest.fail(f"nothing was imported in the seeds {_SEEDS}")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_every_program_holds_the_journal_to_the_cent(play: Callable[..., Verdict], program: str) -> None:
    verdict = _of_a_shop_that_sells(play, program)
    assert verdict.violations == ()


def test_a_file_that_is_imported_twice_is_noticed(
    play: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Desk.step

    def twice(self: Desk[Any]) -> list[str]:
        for path in self.waiting():
            self.program.import_file(path.name, path.read_bytes())
        return step(self)

    monkeypatch.setattr(Desk, "step", twice)
    said = _of_a_shop_that_sells(play, "FEC layout").violations
    assert any("times" in words and "the accountant holds piece" in words for words in said), said
    assert any(words.startswith("account 707100") for words in said), said
