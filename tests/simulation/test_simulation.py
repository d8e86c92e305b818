"""Seeds of the simulation: nothing is lost and nothing is doubled, and a seed tells the same story each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from comptoir.simulation.run import Verdict

#: Seeds that `make test` plays; more of them: comptoir simulate.
SEEDS = range(1, 9)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_is_doubled(play: Callable[..., Verdict], seed: int) -> None:
    verdict = play(seed)
    assert verdict.violations == (), "\n".join(verdict.story)
    assert verdict.points > 500


def test_the_same_seed_tells_the_same_story(play: Callable[..., Verdict]) -> None:
    first, second = play(3), play(3)
    assert first.story == second.story
    assert first.points == second.points
