"""The books of a seed: whichever program the accountant has, it holds what the journal says, each piece once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from comptoir.simulation.accountant import PROGRAMS
from comptoir.simulation.run import Verdict
from comptoir.simulation.scene import Scene
from comptoir.simulation.world import World
from comptoir.store.schema import plain_url
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


def test_a_planted_cent_is_found_by_the_proof(play: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch) -> None:
    unproved = World.unproved

    def planted(self: World) -> list[str]:
        with psycopg.connect(plain_url(self.connections.url), autocommit=True) as connection:
            connection.execute(
                # On both sides: the store refuses an entry that does not balance.
                "update journal_line l set amount = amount + 0.01 where entry_id = (select min(id::text)::uuid "
                "from journal_entry) and position = (select min(position) from journal_line m "
                "where m.entry_id = l.entry_id and m.side = l.side)"
            )
        return unproved(self)

    monkeypatch.setattr(World, "unproved", planted)
    said = _of_a_shop_that_sells(play, "FEC layout").violations
    assert any(words.startswith("not proved: ") and "0.01" in words for words in said), said


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
