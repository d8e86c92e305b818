"""Runs a configured program with its arguments, never a shell; one at a time, with an end.

What it prints stays in a log file of this machine: it may name customers, and the command may hold a password.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from comptoir_agent.secret import filled

__all__ = ["Ended", "prepared", "run"]

_LARGEST_LOG = 1_000_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended; `code` None: it was stopped because it took too long, or never began (`began`)."""

    code: int | None
    began: bool
    words: str


def prepared(command: Sequence[str], file: Path, environment: Mapping[str, str]) -> list[str]:
    """The arguments with their placeholders filled; ConfigurationError when one cannot be."""
    return [filled(part, environment, {"file": str(file)}) for part in command]


def run(arguments: Sequence[str], *, folder: Path, log: Path, seconds: float, shown: Sequence[str]) -> Ended:
    """Runs a program to its end. `shown` is how the command may be written into the log (placeholders unfilled)."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(f"{list(shown)}\n".encode())
        stream = log.open("ab")
    except OSError as error:
        return Ended(None, False, f"its log cannot be written: {error.strerror or error}")
    name = Path(arguments[0]).name
    with stream:
        try:
            process = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                creationflags=flags,
            )
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else str(error)
            return Ended(None, False, f"{name} cannot be started: {words}")
        with process:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return Ended(None, True, f"{name} was stopped after {seconds:g} seconds")
            except BaseException:
                process.kill()
                raise
    return Ended(code, True, f"{name} ended with {code}{_shortened(log)}")


def _shortened(log: Path) -> str:
    """Cuts a log that is too long; what is in the way of that. How the program ended is known all the same."""
    try:
        if log.stat().st_size > _LARGEST_LOG:
            with log.open("r+b") as stream:
                stream.truncate(_LARGEST_LOG)
    except OSError as error:
        return f" (its log cannot be shortened: {error.strerror})"
    return ""
