"""`comptoir-agent`: run, check, protect."""

from __future__ import annotations

import argparse
import getpass
import logging
import logging.handlers
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from comptoir_agent import __version__
from comptoir_agent.config import Settings, load
from comptoir_agent.errors import AgentError, ConfigurationError, HubAway, HubRefused, LocalTrouble
from comptoir_agent.folder import Exchange
from comptoir_agent.hub import Hub
from comptoir_agent.loop import Agent
from comptoir_agent.secret import protect, token_of
from comptoir_agent.sql import check_select
from comptoir_agent.state import State

__all__ = ["main"]

#: As those of `comptoir`: configuration, refused, unreachable.
_CONFIGURATION, _REFUSED, _AWAY = 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit code (0 done, 2 configuration, 3 the hub refuses, 4 the hub is away)."""
    parser = argparse.ArgumentParser(
        prog="comptoir-agent", description="The far side of Comptoir, beside Sage, EBP or Ciel."
    )
    parser.add_argument("--version", action="version", version=f"comptoir-agent {__version__}")
    parser.add_argument("--config", type=Path, default=Path("agent.toml"), help="agent.toml")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="work until interrupted")
    runs.add_argument("--once", action="store_true", help="one turn, then end")
    runs.add_argument("--log", type=Path, help="also write the log into this file (five of 2 MB)")
    commands.add_parser("check", help="try the settings, the folders and the hub; change nothing")
    protects = commands.add_parser(
        "protect", help="ask for the token and write it so that only this account can use it"
    )
    protects.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "protect":
            protect(getpass.getpass("The token: ").strip(), given.file)
            return 0
        settings = load(given.config)
        if given.command == "check":
            return _check(settings)
        _logging(given.log)
        return _run(settings, once=given.once)
    except ConfigurationError as error:
        print(f"comptoir-agent: {error}", file=sys.stderr)
        return _CONFIGURATION
    except HubRefused as error:
        print(f"comptoir-agent: the hub refuses: {error}", file=sys.stderr)
        return _REFUSED
    except HubAway as error:
        print(f"comptoir-agent: {error}", file=sys.stderr)
        return _AWAY
    except KeyboardInterrupt:
        return 130


def _run(settings: Settings, *, once: bool) -> int:
    token = token_of(settings, os.environ)
    signal.signal(signal.SIGTERM, _stop)
    state = State(settings.state)
    try:
        Agent(settings, state, Hub.open(settings, token, state.instance), os.environ).run(once=once)
    except LocalTrouble as error:
        raise ConfigurationError(str(error)) from None
    finally:
        state.close()
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _check(settings: Settings) -> int:
    """Folders and commands here, then the hub; it is not told that this machine works."""
    wrong = 0
    for name, connection in settings.connections.items():
        try:
            Exchange(name, connection.folder).check()
            commands = [rule.command for rule in connection.imports] + [one.command for one in connection.readings]
            for command in commands:
                if command and not _found(command[0]):
                    raise LocalTrouble(f"{name}: there is no program {command[0]}")
            print(f"ok      {name}: {connection.folder}")
        except AgentError as error:
            wrong += 1
            print(f"FAILED  {error}")
    hub = Hub.open(settings, token_of(settings, os.environ), "")
    for name, connection in settings.connections.items():
        queries = hub.queries(name)
        for reading in connection.readings:
            if reading.query and reading.query not in queries:
                wrong += 1
                print(f"FAILED  {name}: the hub's connector has no query {reading.query}")
            elif reading.query:
                check_select(queries[reading.query])
    print(f"ok      {settings.hub} takes this machine's token")
    return _CONFIGURATION if wrong else 0


def _found(program: str) -> bool:
    return shutil.which(program) is not None


def _logging(path: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        handlers.append(logging.handlers.RotatingFileHandler(path, maxBytes=2_000_000, backupCount=4, encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)
