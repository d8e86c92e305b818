"""Sends what lies in `ack/` and `export/` to the hub, each file whole and once; makes the files that are to be made."""

from __future__ import annotations

import hashlib
import logging
import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from comptoir_agent.commands import prepared, run
from comptoir_agent.config import Connection, Reading
from comptoir_agent.errors import ConfigurationError, HubRefused, LocalTrouble
from comptoir_agent.folder import Exchange, digest_of
from comptoir_agent.hub import Hub
from comptoir_agent.sql import write_csv
from comptoir_agent.state import State

__all__ = ["Readings", "Sending", "wire_name"]

_log = logging.getLogger("comptoir_agent")

#: Seconds until a file that the hub refused is sent again; one for which it had no room is tried sooner.
_RETRY_REFUSED = 3600.0
_RETRY_FULL = 60.0
_FULL = 507
_USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


def wire_name(name: str) -> str:
    """The name under which a file is sent: accents dropped, and a digest where anything else had to be changed."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    if plain == name and _USABLE.fullmatch(name):
        return name
    stem, dot, ending = plain.rpartition(".")
    bare = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "file"
    return f"{bare}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}{dot}{ending}"


@dataclass(slots=True)
class _Seen:
    """A file as it was when it was first seen so, and when that was (monotonic)."""

    size: int
    mtime_ns: int
    since: float
    ctime_ns: int
    not_before: float | None = None

    @property
    def drop(self) -> str:
        """This file, put there this once."""
        return hashlib.sha256(f"{self.size} {self.mtime_ns} {self.ctime_ns}".encode()).hexdigest()[:32]


class Sending:
    """The files of one connection that go to the hub."""

    def __init__(
        self, connection: Connection, exchange: Exchange, state: State, hub: Hub, trouble: Callable[[str], None],
        max_bytes: int,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._exchange = exchange
        self._state = state
        self._hub = hub
        self._trouble = trouble
        self._max_bytes = max_bytes
        self._seen: dict[tuple[str, str], _Seen] = {}

    def turn(self) -> None:
        """Sends what has stayed the same for a moment; HubAway ends it."""
        for folder in ("ack", "export"):
            try:
                waiting = self._exchange.waiting(folder)
            except LocalTrouble as error:
                self._trouble(str(error))
                continue
            for path in waiting:
                try:
                    self._look_at(folder, path)
                except LocalTrouble as error:
                    self._trouble(str(error))

    def _look_at(self, folder: str, path: Path) -> None:
        with self._exchange.errors():
            try:
                found = path.stat()
            except FileNotFoundError:
                return
            seen = self._seen.get((folder, path.name))
            if seen is None or (seen.size, seen.mtime_ns) != (found.st_size, found.st_mtime_ns):
                seen = _Seen(found.st_size, found.st_mtime_ns, time.monotonic(), found.st_ctime_ns)
                self._seen[folder, path.name] = seen
            now = time.monotonic()
            if now - seen.since < self._connection.quiet_seconds:
                return
            if seen.not_before is not None and now < seen.not_before:
                self._trouble(f"{self._connection.name}: the hub does not take {path.name}")
                return
            if self._is_sent(folder, path, seen):
                return
            if seen.size > self._max_bytes:
                raise LocalTrouble(f"{self._connection.name}: {path.name} has more than {self._max_bytes} bytes")
            digest = digest_of(path)
        self._send(folder, path, seen, digest)

    def _is_sent(self, folder: str, path: Path, seen: _Seen) -> bool:
        """Exports stay where they are: one that is the same as when it was sent is not read again."""
        known = self._state.sent.get(self._key(folder, path))
        return folder == "export" and known is not None and known[:2] == [seen.size, seen.mtime_ns]

    def _key(self, folder: str, path: Path) -> str:
        return f"{self._connection.name}/{folder}/{path.name}"

    def _send(self, folder: str, path: Path, seen: _Seen, digest: str) -> None:
        name = wire_name(path.name)
        # What is made here, or exported, again and again is news only when it differs; what a person drops always is.
        made = any(reading.to == folder and reading.file == path.name for reading in self._connection.readings)
        drop = "" if made or folder == "export" else seen.drop
        with self._exchange.errors():
            try:
                stored = self._hub.upload(
                    self._connection.name, folder, name, path, bytes_=seen.size, sha256=digest, drop=drop
                )
            except HubRefused as error:
                if error.status == 401:
                    raise
                seen.not_before = time.monotonic() + (_RETRY_FULL if error.status == _FULL else _RETRY_REFUSED)
                raise LocalTrouble(f"{self._connection.name}: the hub does not take {path.name}: {error}") from None
        _log.info("%s: %s %s", self._connection.name, path.name, "was sent" if stored else "is known to the hub")
        if folder == "ack":
            self._exchange.sent(path, digest)
            self._seen.pop((folder, path.name), None)
        else:
            self._state.sent[self._key(folder, path)] = [seen.size, seen.mtime_ns, digest]
            self._state.save()


class Readings:
    """The files that this machine makes for the hub: by a command, or by a SELECT of the hub's connector."""

    def __init__(
        self, connection: Connection, exchange: Exchange, state: State, hub: Hub, trouble: Callable[[str], None],
        environment: Mapping[str, str], max_bytes: int,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._exchange = exchange
        self._state = state
        self._hub = hub
        self._trouble = trouble
        self._environment = environment
        self._max_bytes = max_bytes
        self._made: dict[str, float] = {}
        self._failed: dict[str, str] = {}

    def turn(self) -> None:
        """Makes what is due. One that fails is said, and tried again by the next turn that finds it due."""
        name = self._connection.name
        imported = name in self._state.after_import
        whole = True
        for reading in self._connection.readings:
            key = f"{reading.to}/{reading.file}"
            last, now = self._made.get(key), time.monotonic()
            due = reading.every_seconds > 0 and (last is None or now - last >= reading.every_seconds)
            if not (due or (imported and reading.after_import)):
                if key in self._failed:
                    self._trouble(self._failed[key])
                continue
            self._made[key] = now
            try:
                self._make(reading)
                self._failed.pop(key, None)
            except (LocalTrouble, ConfigurationError, HubRefused) as error:
                if isinstance(error, HubRefused) and error.status == 401:
                    raise
                words = str(error) if str(error).startswith(name) else f"{name}: {reading.file}: {error}"
                self._failed[key] = words
                self._trouble(words)
                whole = False
        if imported and whole:
            self._state.after_import.remove(name)
            self._state.save()

    def _make(self, reading: Reading) -> None:
        path = self._exchange.making(reading.file)
        if reading.query:
            assert self._connection.sql is not None  # noqa: S101 - config.load has seen to it
            text = self._hub.queries(self._connection.name).get(reading.query)
            if text is None:
                raise ConfigurationError(f"the hub's connector has no query {reading.query}")
            written = write_csv(self._connection.sql, text, path, self._environment, max_bytes=self._max_bytes)
            _log.info("%s: %s has %d rows", self._connection.name, reading.file, written.rows)
        else:
            arguments = prepared(reading.command, path, self._environment)
            log = self._exchange.root / ".agent" / "logs" / f"{reading.to}-{reading.file}.txt"
            ended = run(
                arguments,
                folder=self._connection.folder,
                log=log,
                seconds=reading.timeout_seconds,
                shown=reading.command,
            )
            if ended.code != 0 or not path.is_file():
                path.unlink(missing_ok=True)
                raise LocalTrouble(f"{self._connection.name}: {reading.file} was not made: {ended.words}")
        self._exchange.deliver(path, reading.to, reading.file)
