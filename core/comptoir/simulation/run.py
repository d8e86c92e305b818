"""One seed from its first order to its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comptoir.simulation.day import Day
from comptoir.simulation.oracle import violations
from comptoir.simulation.workers import Chances
from comptoir.simulation.world import World

__all__ = ["Verdict", "simulate"]

_JOBS = (
    ("orders", "poll"), ("orders", "inbox"), ("customers", "poll"), ("items", "poll"), ("items", "inbox"),
    ("stock", "poll"), ("stock", "inbox"),
)  # fmt: skip
_ROUTES = ("orders", "customers", "items", "stock")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a seed: nothing in `violations` when every promise held."""

    seed: int
    violations: tuple[str, ...]
    story: tuple[str, ...]
    points: int


def simulate(seed: int, folder: Path, url: str, *, acts: int = 40) -> Verdict:
    """Plays a seed on an empty, migrated database and judges it. The same seed gives the same story."""
    world = World(seed, folder, url)
    day = Day(world)
    dice = world.dice
    world.subscribe()
    world.office.export()
    # Most seeds have some of everything, some are quiet and some are cruel.
    cruelty = dice.choice((0.3, 1.0, 1.0, 2.0))
    world.workers.chances = world.chances = Chances(kill=0.004 * cruelty, switch=0.25, fault=0.04 * cruelty)
    for _ in range(acts):
        world.time.pass_by(dice.uniform(60, 3600))
        day.act()
        if dice.random() < 0.6:
            world.post_webhooks(lost=0.2, doubled=0.2, late=0.1)
        if dice.random() < 0.55:
            world.run(*dice.sample(_JOBS, dice.choice((1, 1, 2, 3))))
    _settle(world)
    found = violations(world, day)
    found += _again(world)
    return Verdict(seed, tuple(found), tuple(world.story), world.workers.points)


def _settle(world: World) -> None:
    """The faults stop, and everything comes to rest."""
    world.tell("the faults stop")
    world.workers.chances = world.chances = Chances()
    for _ in range(4):
        world.time.pass_by(4 * 3600)
        world.post_webhooks()
        for route in _ROUTES:
            world.run((route, "poll"))
        world.office.step()
        world.office.export()


def _again(world: World) -> list[str]:
    """Reading everything again changes nothing anywhere."""
    before = (len(world.books.documents), len(world.shop.written))
    documents = sorted(d.reference for d in world.books.documents)
    world.forget_cursors()
    for route in _ROUTES:
        world.run((route, "poll"))
    world.office.step()
    if sorted(d.reference for d in world.books.documents) != documents:
        return ["reading everything again gave the back office more documents"]
    written = len(world.shop.written) - before[1]
    return [f"reading everything again wrote {written} times to the shop"] if written else []
