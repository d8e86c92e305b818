"""Runs contenders side by side and prints what they took. Every figure is a median of alternating rounds."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "REPOSITORY",
    "Cost",
    "Differs",
    "Skipped",
    "alternate",
    "cache",
    "goal",
    "median",
    "run_child",
    "say",
    "table",
]

REPOSITORY = Path(__file__).resolve().parent.parent
_SAMPLE_SECONDS = 0.02
#: Children are looked at in every fifth sample: the kernel walks through all their pages.
_CHILDREN_EVERY = 5


class Differs(Exception):
    """Two contenders did not do the same work: their times mean nothing."""


class Skipped(Exception):
    """A contender cannot take part; the message says why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: wall and CPU (user and system) seconds, peak resident MiB."""

    wall: float
    cpu: float
    rss: float = 0.0
    facts: Mapping[str, object] = field(default_factory=dict)


def say(text: str) -> None:
    """One line of the report, at once."""
    print(text, flush=True)


def cache() -> Path:
    """Where environments of rivals and compiled bytecode live: outside the repository."""
    chosen = os.environ.get("COMPTOIR_BENCH_CACHE")
    found = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "comptoir-bench"
    found.mkdir(parents=True, exist_ok=True)
    return found


def run_child(
    arguments: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[Cost, str]:
    """Runs a program to its end: what it took (all its threads) and its standard output.

    Bytecode is compiled into the cache, so that the second run of a program starts as an installed one does. Raises
    RuntimeError with its last words when it fails.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    full = {**inherited, "PYTHONPYCACHEPREFIX": str(cache() / "pycache"), **(env or {})}
    began = time.perf_counter()
    child = subprocess.Popen(
        [str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=full, cwd=cwd, text=True
    )
    peak = _Peak(child.pid)
    output: list[str] = []
    errors: list[str] = []
    readers = [
        threading.Thread(target=lambda s=stream, o=out: o.append(s.read() if s else ""))
        for stream, out in ((child.stdout, output), (child.stderr, errors))
    ]
    for reader in readers:
        reader.start()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    if child.returncode != 0:
        last = (errors[0] or output[0])[-2000:]
        raise RuntimeError(f"{Path(arguments[0]).name} ended with {child.returncode}:\n{last}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak.stop()), output[0]


class _Peak:
    """The high-water mark of a process's memory, sampled, and what its children had of their own when they had most.

    The usage that the kernel gives for a child begins at its parent's size, so it cannot serve here.
    """

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self._kib: dict[Path, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        sample = 0
        while not self._done.wait(_SAMPLE_SECONDS):
            sample += 1
            if not self._note(self._process, "status", "VmHWM:"):
                return
            for child in _children(self._process) if sample % _CHILDREN_EVERY == 0 else ():
                # A forked child shares the pages that neither has written to: they are its parent's already.
                self._note(child, "smaps_rollup", "Private_Dirty:")

    def _note(self, process: Path, file: str, field_name: str) -> bool:
        """Whether the process is still there; one that has just ended has no memory."""
        try:
            with (process / file).open() as lines:
                found = next((int(line.split()[1]) for line in lines if line.startswith(field_name)), 0)
        except OSError:
            return False
        self._kib[process] = max(found, self._kib.get(process, 0))
        return True

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return sum(self._kib.values()) / 1024


def _children(process: Path) -> list[Path]:
    tasks = process / "task" / process.name / "children"
    try:
        return [Path("/proc") / pid for pid in tasks.read_text().split()]
    except OSError:
        return []


def alternate(
    contenders: Mapping[str, Callable[[], Cost]], rounds: int, *, warm_up: bool = True
) -> tuple[dict[str, list[Cost]], dict[str, str]]:
    """Runs the contenders one after the other, `rounds` times over; their costs, and why others were skipped.

    The first contender changes from round to round, so that none always meets the machine as another left it.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    skipped: dict[str, str] = {}
    names = list(contenders)
    for number in range(-1 if warm_up else 0, rounds):
        shift = number % max(len(names), 1)
        for name in [*names[shift:], *names[:shift]]:
            if name in skipped:
                continue
            try:
                cost = contenders[name]()
            except Skipped as reason:
                skipped[name] = str(reason)
                say(f"  SKIPPED {name}: {reason}")
                continue
            if number >= 0:
                costs[name].append(cost)
            if sys.stderr.isatty():
                print(f"  round {number + 1}: {name} {cost.wall:.2f} s wall, {cost.cpu:.2f} s CPU", file=sys.stderr)
    return {name: found for name, found in costs.items() if found}, skipped


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        statistics.median(c.wall for c in costs),
        statistics.median(c.cpu for c in costs),
        statistics.median(c.rss for c in costs),
        costs[-1].facts,
    )


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    say(f"\n### {title}\n")
    say(line(head))
    say("|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|")
    for row in rows:
        say(line(row))


def goal(text: str, met: bool) -> None:
    """One goal beside its verdict; never an exit code."""
    say(f"- {'met    ' if met else 'NOT MET'}  {text}")
