"""A merchant in a box: shops, EBP, Sage, Ciel, the webhook gateway, Airflow and a scripted day, gone afterwards:

    python -m comptoir.airflow.demo [--headless] [--measure] [--json] [--folder DIR] [--port PORT]

Headless it plays the day to its end, both ways, through webhooks and Airflow's scheduler, measures how long orders
take, loses webhooks on purpose, forgets an import, compares the shops with the programs, and exits with 0 when
everything held, with 1 otherwise, and with 130 when it was interrupted. Otherwise it stays up until Ctrl-C. Nothing of
the caller's own Comptoir or Airflow is used or changed.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from comptoir.airflow.demo_screen import Screen

__all__ = ["main"]

#: Orders in each measured series: in the quick form, and with --measure.
SHORT, LONG = 20, 100

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal. No Exception, so that nobody mistakes it for a failure of his own."""


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # Once is enough: a second Ctrl-C must not interrupt the stopping.
    _ignore_signals()
    raise Interrupted(signal.Signals(number).name)


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="comptoir demo", description="Shops, EBP, Sage, Ciel, Airflow and a scripted day, on this machine alone."
    )
    parser.add_argument("--headless", action="store_true", help="play the day to its end, check it, exit")
    parser.add_argument(
        "--measure", action="store_true", help=f"{LONG} orders in each measured series instead of {SHORT} (headless)"
    )
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output (headless)")
    parser.add_argument("--folder", type=Path, help="an empty or new folder that is kept (default: a temporary one)")
    parser.add_argument("--port", type=int, default=0, help="of Airflow's pages; 0 takes a free one")
    given = parser.parse_args(arguments)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    _forget_the_caller()
    try:
        return _play(given)
    except Interrupted as signal_name:
        sys.stdout.write(f"{signal_name}: stopped before anything was started.\n")
        return 130


def _forget_the_caller() -> None:
    """The demo is a merchant of its own: no database, credentials or Airflow of the caller's may reach it."""
    own = ("COMPTOIR_", "AIRFLOW_", "_AIRFLOW")
    for name in [name for name in os.environ if name.startswith(own)]:
        del os.environ[name]
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))


def _play(given: argparse.Namespace) -> int:
    # Imported late, so that a Ctrl-C finds its handler in place.
    from comptoir.airflow.demo_day import Day
    from comptoir.airflow.demo_screen import Screen
    from comptoir.errors import ComptoirError

    # An interrupted statement is no news: without a handler, Python would print its warning.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    screen = Screen(as_json=given.json)
    lived = False
    try:
        with _place(given.folder, screen) as place, ExitStack() as stack, _stopping(place, screen):
            measured = LONG if given.measure else SHORT
            day = Day(place.folder, screen, stack, port=given.port, measured=measured)
            day.start()
            day.first_round()
            if given.headless:
                place.succeeded = day.play_and_check()
            else:
                lived = place.succeeded = True
                day.welcome()
                day.live()
        screen.line(f"The demo took {screen.seconds:.0f} seconds.")
        return 0 if place.succeeded else 1
    except Interrupted:
        # Ctrl-C is how the demo that stays up is meant to end.
        return 0 if lived else 130
    except ComptoirError as error:
        screen.problem(f"The demo could not go on: {error.message}", error.hint)
        return 1


@contextmanager
def _stopping(place: _Place, screen: Screen) -> Iterator[None]:
    """Says why it ends, and lets nothing interrupt the stopping that follows."""
    try:
        yield
    except Interrupted as signal_name:
        place.interrupted = True
        screen.line(f"{signal_name}: stopping everything ...")
        raise
    except BaseException:
        place.succeeded = False
        raise
    finally:
        _ignore_signals()


class _Place:
    """The demo's folder, and what is to become of it."""

    def __init__(self, folder: Path, *, temporary: bool) -> None:
        self.folder = folder
        self.temporary = temporary
        self.succeeded = False
        self.interrupted = False


@contextmanager
def _place(folder: Path | None, screen: Screen) -> Iterator[_Place]:
    """The folder, made for the demo; a temporary one is removed afterwards unless the demo failed."""
    import tempfile

    from comptoir.errors import ConfigError
    from comptoir.store import embedded

    if folder is None:
        place = _Place(Path(tempfile.mkdtemp(prefix="comptoir-demo-")).resolve(), temporary=True)
    else:
        place = _Place(folder.resolve(), temporary=False)
        try:
            place.folder.mkdir(parents=True, exist_ok=True)
            used = any(place.folder.iterdir())
        except OSError as error:
            raise ConfigError(f"{folder} cannot be used: {error.strerror}") from None
        if used:
            raise ConfigError(
                f"{folder} is not empty: the demo makes a merchant of its own.",
                hint="Name a new folder, or leave --folder out.",
            )
        # As root the database is not in the folder, and does not go away with it.
        before = embedded.status(place.folder / ".comptoir")
        if before["version"] is not None:
            raise ConfigError(
                f"The database of an earlier {folder} is still there, in {before['data']}.",
                hint="Name another folder, or leave --folder out.",
            )
    try:
        yield place
    finally:
        _leave(place, screen)


def _leave(place: _Place, screen: Screen) -> None:
    """Stop the database, and remove the folder when it has served."""
    import shutil

    from comptoir.store import embedded

    home = place.folder / ".comptoir"
    wanted = place.temporary and (place.succeeded or place.interrupted)
    if home.exists():
        with screen.step("Stopping PostgreSQL") as said:
            deadline = time.monotonic() + 30
            while not (embedded.remove(home) if wanted else embedded.stop(home)) and time.monotonic() < deadline:
                time.sleep(0.2)
            while embedded.status(home)["supervised"] and time.monotonic() < deadline:
                time.sleep(0.05)
            said.text = "PostgreSQL has stopped."
    if wanted:
        shutil.rmtree(place.folder, ignore_errors=True)
        screen.line("The temporary folder was removed; nothing of the demo is left.")
    else:
        screen.line(f"Everything can be looked at in {place.folder}")


if __name__ == "__main__":
    sys.exit(main())
