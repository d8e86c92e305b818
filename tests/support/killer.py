"""Runs the command line and dies by SIGKILL at one point of the code.

    python -m tests.support.killer MODULE:QUALIFIED.NAME before|after COUNT -- ARGUMENTS OF comptoir

The point is a function of the product, replaced from outside: the product has no switch for this.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def die_at(point: str, moment: str, count: int) -> None:
    """Arms the point: the `count`-th call dies before or after it was carried out."""
    module_name, _, path = point.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    @functools.wraps(original)
    def armed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == count and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, armed)


def main() -> None:
    separator = sys.argv.index("--")
    point, moment, count = sys.argv[1:separator]
    die_at(point, moment, int(count))
    sys.argv = ["comptoir", *sys.argv[separator + 1 :]]
    from comptoir.cli import main as comptoir

    comptoir()


if __name__ == "__main__":
    main()
