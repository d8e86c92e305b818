"""Seeds of the simulation: nothing is lost and nothing is doubled, and a seed tells the same story each time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from comptoir.simulation.many import play as play_many
from comptoir.simulation.run import Verdict


def _play(seeds: range) -> list[Verdict]:
    found: list[Verdict] = []
    play_many(seeds, found.append, processes=2)
    return sorted(found, key=lambda verdict: verdict.seed)


def _wrong(found: list[Verdict]) -> dict[int, tuple[str, ...]]:
    return {verdict.seed: verdict.violations for verdict in found if verdict.violations}


@pytest.mark.timeout(900)
def test_a_hundred_merchants_lose_nothing_and_double_nothing() -> None:
    found = _play(range(1, 101))
    assert [verdict.seed for verdict in found] == list(range(1, 101))
    assert _wrong(found) == {}
    assert min(verdict.points for verdict in found) > 500


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_hundred_more_lose_nothing_and_double_nothing() -> None:
    found = _play(range(101, 501))
    assert len(found) == 400
    assert _wrong(found) == {}


_DIGESTS = """
from comptoir.simulation.many import play
play(range(3, 6), lambda verdict: print(verdict.seed, verdict.digest, flush=True))
"""


def _digests(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _DIGESTS], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


@pytest.mark.timeout(900)
def test_a_seed_tells_the_same_story_whatever_the_hash_seed_and_the_load(play: Callable[..., Verdict]) -> None:
    # The second process is disturbed by a third one that plays at the same time.
    first = _digests("1")
    with subprocess.Popen(
        [sys.executable, "-c", "while True: pass"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as load:
        try:
            second = _digests("4242")
        finally:
            load.kill()
    assert first == second
    here = "".join(f"{seed} {play(seed).digest}\n" for seed in (3, 4, 5))
    assert here == first
    assert play(4).story == play(4).story
