"""A PostgreSQL server for the benches, and a fresh migrated database for each run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from comptoir.store import schema
from comptoir.store.embedded import EmbeddedServer, remove

__all__ = ["Server", "Times", "process_times"]

_TEMPLATE = "bench_template"


class Server:
    """The embedded server, with a template that every contender's database is copied from."""

    def __init__(self, held: EmbeddedServer) -> None:
        self._held = held
        self._numbers = itertools.count(1)
        self._admin = schema.plain_url(held.url("postgres"))

    @classmethod
    @contextmanager
    def running(cls, home: Path) -> Iterator[Server]:
        """Makes the server in `home`, and takes it away at the end."""
        try:
            with EmbeddedServer.acquire(home) as held:
                held.ensure_database(_TEMPLATE)
                schema.upgrade(held.url(_TEMPLATE))
                with psycopg.connect(schema.plain_url(held.url(_TEMPLATE)), autocommit=True) as connection:
                    # Ours makes a month's partition when it is missing; the others expect it.
                    connection.execute("select comptoir_raw_partition(comptoir_now()::date)")
                yield cls(held)
        finally:
            remove(home)

    def create(self, *, empty: bool = False) -> str:
        """The URL of a new database: with our tables, or really empty (dlt makes its own)."""
        name = f"bench_{next(self._numbers)}"
        template = "template1" if empty else _TEMPLATE
        self._execute(f"create database {name} template {template}")
        # The copy of the template and what the last contender left are written out before the clock starts.
        self._execute("checkpoint")
        return schema.plain_url(self._held.url(name))

    def cpu(self) -> float:
        """CPU seconds of the server until now: its own, of sessions that have ended, and of those that run."""
        with psycopg.connect(self._admin, autocommit=True) as connection:
            row = connection.execute("select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int").fetchone()
        postmaster = int(row[0]) if row else 0
        found = [process for process in map(process_times, _processes()) if process is not None]
        own = sum(p.own + p.ended for p in found if p.pid == postmaster)
        return own + sum(p.own for p in found if p.parent == postmaster)

    def drop(self, url: str) -> None:
        """Takes a database away."""
        self._execute(f"drop database {_name(url)} with (force)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(statement.encode())


class Times(NamedTuple):
    """What a process has taken: CPU seconds of its own, and of its children that have ended."""

    pid: int
    parent: int
    own: float
    ended: float


def process_times(pid: int) -> Times | None:
    """A process's times; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    user, system, ended_user, ended_system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15])
    return Times(pid, int(fields[1]), user + system, ended_user + ended_system)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _name(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[1]
