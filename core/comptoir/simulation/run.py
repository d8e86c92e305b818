"""One seed from its first order to its verdict."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comptoir.app.system import rare_collection
from comptoir.simulation.day import Day
from comptoir.simulation.hooks import Hooks
from comptoir.simulation.oracle import Oracle
from comptoir.simulation.scene import Scene
from comptoir.simulation.workers import Chances
from comptoir.simulation.world import World, listening
from comptoir.store.reset import Connections

__all__ = ["Verdict", "simulate"]

_WAKES = ("orders", "items", "stock", "books")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a seed: nothing in `violations` when every promise held. `digest` stands for the whole story."""

    seed: int
    violations: tuple[str, ...]
    story: tuple[str, ...]
    points: int
    digest: str


def simulate(
    seed: int,
    folder: Path,
    connections: Connections,
    *,
    acts: int = 40,
    chances: Chances | None = None,
    scene: Callable[[Scene], Scene] | None = None,
) -> Verdict:
    """Plays a seed on an empty, migrated database and judges it. The same seed gives the same story.

    `chances`: how likely things go wrong, instead of what the seed says. `scene` changes what is peculiar of it.
    """
    found = Scene.of(seed)
    world = World(seed, folder, connections, scene(found) if scene else found)
    with _heard(world), rare_collection():
        day, hooks = Day(world), Hooks(world)
        _play(world, day, hooks, acts, chances)
        oracle = Oracle(world, day, hooks)
        try:
            _settle(world, hooks, oracle)
            wrong = [*world.wrong, *world.workers.broken, *oracle.violations()]
            wrong += _again(world, oracle)
        finally:
            oracle.close()
    told = "\n".join([*world.story, *wrong, str(world.workers.points)])
    digest = hashlib.sha256(told.encode()).hexdigest()
    return Verdict(seed, tuple(dict.fromkeys(wrong)), tuple(world.story), world.workers.points, digest)


def _play(world: World, day: Day, hooks: Hooks, acts: int, chances: Chances | None) -> None:
    dice, scene = world.dice, world.scene
    hooks.subscribe()
    world.office.export()
    # Which article is which is looked at together, before anybody renames one.
    world.run(("items", "poll"))
    jobs = [(route, "poll") for route in scene.routes]
    jobs += [(route, "inbox") for route in scene.routes if route in _WAKES]
    left = (chances or Chances()).most_acts

    def meanwhile() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            day.act()
            if dice.random() < 0.4:
                hooks.post(lost=scene.hooks_lost, doubled=0.1, late=0.1)

    world.workers.meanwhile, world.workers.instead = meanwhile, world.instead
    cruelty = scene.cruelty
    world.chances = chances or Chances(
        kill=0.006 * cruelty, freeze=0.005 * cruelty, switch=0.25, act=0.01 * cruelty, fault=0.04 * cruelty
    )
    for n in range(acts):
        world.network.deaf = scene.ignores == "all" and n < acts / 2
        world.time.pass_by(dice.uniform(60, 3600))
        day.act()
        if dice.random() < 0.6:
            hooks.post(lost=scene.hooks_lost, doubled=0.2, late=0.1)
        if dice.random() < 0.55:
            world.run(*dice.sample(jobs, dice.choice((1, 1, 2, 3))))
        if dice.random() < 0.1:
            # A poll sees an order, while one that was begun before it is not committed yet.
            day.fronts["boutique"].order()
            world.run(("orders", "poll"))
            day.fronts["boutique"].late_order()
    world.network.deaf = False


def _settle(world: World, hooks: Hooks, oracle: Oracle) -> None:
    """The faults stop, and everything comes to rest."""
    world.tell("the faults stop")
    world.chances = Chances()
    before = None
    for turn in range(12):
        # An order whose import EBP never spoke of is taken for counted after a day.
        world.time.pass_by(25 * 3600)
        hooks.post()
        for route in world.scene.routes:
            world.run((route, "poll"))
        if oracle.held():
            world.approve("items")
        # Longer than any two clocks differ: what was taken in before must be dated before what is exported now.
        world.time.pass_by(600)
        world.office.step()
        world.accountant.step()
        world.office.export()
        now = oracle.written()
        if turn >= 1 and now == before and not oracle.unfinished() and not oracle.uncounted():
            return
        before = now
    world.wrong.append("it does not come to rest")


def _again(world: World, oracle: Oracle) -> list[str]:
    """A cursor that is set back to any earlier point changes nothing anywhere."""
    hours = world.dice.choice((None, world.dice.uniform(0.1, 30)))
    if world.renamed:
        # A shop shows an article's new code in its old documents too, and dates them as before.
        world.connections.rewind_cursors(None)
        for route in world.scene.routes:
            world.run((route, "poll"))
    written, kept = oracle.written(), oracle.kept()
    world.connections.rewind_cursors(hours)
    for route in world.scene.routes:
        world.run((route, "poll"))
    world.office.step()
    world.accountant.step()
    after = oracle.kept()
    found = [f"reading again changed {name} in the store" for name in kept if kept[name] != after[name]]
    if oracle.written() != written:
        found.append(f"reading again wrote to others: {written} before, {oracle.written()} after")
    return found


@contextmanager
def _heard(world: World) -> Iterator[None]:
    """The installation's log is heard and goes nowhere else."""
    logger, ear = logging.getLogger("comptoir"), listening(world)
    before = logger.level, logger.propagate
    logger.addHandler(ear)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(before[0])
        logger.propagate = before[1]
