"""Without any one of its protections the engine loses or doubles something, and the simulation sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from comptoir.simulation.run import Verdict

from tests.simulation.sabotage import SABOTAGES, Sabotage

_MOST = 500


def _named(sabotage: Sabotage) -> str:
    return sabotage.name


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_named)
def test_a_missing_protection_is_noticed(
    throwaway: tuple[Path, str], play: Callable[..., Verdict], sabotage: Sabotage
) -> None:
    """With a seed that is known to need it; the same seed is in order with the protection."""
    with sabotage.at_work(throwaway[1]):
        verdict = play(sabotage.quick, **sabotage.profile)
    assert verdict.violations, f"{sabotage.name}: seed {sabotage.quick} plays as if nothing was missing"
    assert any(sabotage.symptom in violation for violation in verdict.violations), verdict.violations
    assert play(sabotage.quick, **sabotage.profile).violations == ()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_named)
def test_a_missing_protection_is_found_within_five_hundred_seeds(
    throwaway: tuple[Path, str], play: Callable[..., Verdict], sabotage: Sabotage
) -> None:
    """From the first seed on, knowing nothing."""
    with sabotage.at_work(throwaway[1]):
        played = ((seed, play(seed, **sabotage.profile).violations) for seed in range(1, _MOST + 1))
        found = next((seed for seed, said in played if any(sabotage.symptom in words for words in said)), None)
    assert found is not None, f"{sabotage.name} is not missed within {_MOST} seeds"
    print(f"{sabotage.name}: {found} seeds")
