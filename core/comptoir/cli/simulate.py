"""`comptoir simulate`: plays a merchant's days under faults and kills, and judges what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from comptoir.cli.output import print_json, say
from comptoir.cli.state import JsonFlag
from comptoir.errors import ConfigError

if TYPE_CHECKING:
    from comptoir.simulation.run import Verdict

__all__ = ["simulate"]


def simulate(
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 20,
    start: Annotated[int, typer.Option("--from", help="The first seed.", min=0)] = 1,
    seed: Annotated[int | None, typer.Option(help="Replay this one seed and tell its story.")] = None,
    processes: Annotated[int, typer.Option(help="How many seeds are played at a time.", min=1, max=64)] = 2,
    as_json: JsonFlag = False,
) -> None:
    """Play simulated merchants whose shop, network and processes fail; say what was lost or doubled (nothing, ever)."""
    from comptoir.app.system import SystemClock

    try:
        from comptoir.simulation.many import play
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the simulation needs {error.name}, which is not installed", hint="Install comptoir[dev]."
        ) from None

    chosen = range(seed, seed + 1) if seed is not None else range(start, start + seeds)
    found: list[Verdict] = []
    clock = SystemClock()
    began = clock.monotonic()

    def show(verdict: Verdict) -> None:
        found.append(verdict)
        if as_json:
            return
        if seed is not None:
            for line in verdict.story:
                typer.echo(line)
        for violation in verdict.violations:
            typer.echo(f"seed {verdict.seed}: {violation}")
        if seed is None and len(found) % 100 == 0:
            say(f"{len(found)} seeds played")

    play(chosen, show, processes=1 if seed is not None else processes)
    bad = [verdict for verdict in found if verdict.violations]
    if as_json:
        print_json(
            [{"seed": v.seed, "violations": v.violations, "points": v.points, "digest": v.digest} for v in found]
        )
    say(
        f"{len(found)} seeds, {sum(v.points for v in found)} points, {len(bad)} with violations, "
        f"{clock.monotonic() - began:.0f} s" + (f"; replay one: comptoir simulate --seed {bad[0].seed}" if bad else "")
    )
    if bad:
        raise typer.Exit(1)
