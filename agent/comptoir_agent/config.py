"""agent.toml: where the hub is, and what this machine does for which connection. No secret is ever in it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from comptoir_agent.errors import ConfigurationError

__all__ = ["Connection", "Importing", "Reading", "Settings", "Sql", "load"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,90}\.(csv|txt|CSV|TXT)")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FOLDERS = ("ack", "export")
_DRIVERS = ("pyodbc", "pytds", "pymssql", "sqlite3")
_PLACEHOLDERS = re.compile(r"\{([^{}]*)\}")
_ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Importing:
    """How files of a pattern are imported: the program and its arguments, never a shell.

    `success`: exit codes that say that the file was imported; `nothing_done`: those that say that nothing of it was.
    After any other one, or none within `timeout_seconds`, nobody knows.
    """

    files: str
    command: tuple[str, ...]
    success: tuple[int, ...] = (0,)
    nothing_done: tuple[int, ...] = ()
    timeout_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is made here and sent: by a command that writes `{file}`, or by a query of the hub's connector.

    `to`: "export" (items, stock, customers) or "ack" (what became of documents). Every `every_seconds`, and after an
    import where `after_import` says so; 0 seconds: after imports only.
    """

    file: str
    to: str
    command: tuple[str, ...] = ()
    query: str = ""
    every_seconds: float = 0.0
    after_import: bool = False
    timeout_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Sql:
    """A login that may only read. `connect`: a connection string, or the keywords of the driver."""

    driver: str
    connect: str | Mapping[str, str | int]
    timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection of the hub and its folder here."""

    name: str
    folder: Path
    imports: tuple[Importing, ...] = ()
    readings: tuple[Reading, ...] = ()
    sql: Sql | None = None
    quiet_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file. Relative paths start at its folder."""

    hub: str
    state: Path
    connections: Mapping[str, Connection]
    token_file: Path | None = None
    ca_file: Path | None = None
    proxy: str | None = None
    poll_seconds: float = 15.0
    timeout_seconds: float = 60.0
    max_upload_bytes: int = 200_000_000


class _Table:
    """One table of the file: every key is taken once, and what is left over is an error."""

    def __init__(self, path: str, value: object) -> None:
        if not isinstance(value, dict):
            raise ConfigurationError(f"{path}: expected a table")
        self.path = path
        self._left = dict(value)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None, *, needed: bool = False) -> Any:
        if key not in self._left:
            if needed:
                raise ConfigurationError(f"{self._at(key)}: this setting is missing")
            return default
        value = self._left.pop(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kinds):
            raise ConfigurationError(f"{self._at(key)}: expected {' or '.join(k.__name__ for k in kinds)}")
        return value

    def text(self, key: str, *, needed: bool = False) -> str | None:
        value = self.take(key, str, needed=needed)
        if value is not None and (not value.strip() or "\x00" in value):
            raise ConfigurationError(f"{self._at(key)}: is empty, or no text")
        return None if value is None else str(value)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = float(self.take(key, (int, float), default))
        if not low <= value <= high:
            raise ConfigurationError(f"{self._at(key)}: expected {low:g} to {high:g}")
        return value

    def flag(self, key: str) -> bool:
        return bool(self.take(key, bool, False))

    def codes(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        found = self.take(key, list, list(default))
        if not all(isinstance(code, int) and not isinstance(code, bool) for code in found):
            raise ConfigurationError(f"{self._at(key)}: expected whole numbers")
        return tuple(found)

    def command(self, *, needed: bool = False) -> tuple[str, ...]:
        found = self.take("command", list, [], needed=needed)
        if not all(isinstance(part, str) and "\x00" not in part for part in found) or (needed and not found):
            raise ConfigurationError(
                f"{self._at('command')}: expected a list of texts: the program, then its arguments"
            )
        for part in found:
            for name in _PLACEHOLDERS.findall(part):
                if name != "file" and not _ENVIRONMENT.fullmatch(name):
                    raise ConfigurationError(
                        f"{self._at('command')}: unknown placeholder {{{name}}}; allowed: {{file}}, {{env:NAME}}"
                    )
        if found and not any("{file}" in part for part in found):
            raise ConfigurationError(f"{self._at('command')}: no argument has {{file}}, the file that it is about")
        return tuple(found)

    def done(self) -> None:
        if self._left:
            raise ConfigurationError(f"{self._at(next(iter(self._left)))}: unknown setting")

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def load(path: Path) -> Settings:
    """The settings; ConfigurationError names the file and the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {path}: comptoir agent add (on the hub) prints one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path.name}: no valid TOML: {error}") from None
    try:
        return _settings(_Table("", data), path.resolve().parent)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: {error}") from None


def _settings(table: _Table, base: Path) -> Settings:
    hub = _hub(table.text("hub", needed=True) or "")
    token = table.text("token_file")
    ca, proxy = table.text("ca_file"), table.text("proxy")
    if proxy is not None and urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigurationError('proxy: expected an address such as "http://proxy.local:3128"')
    given = table.take("connections", dict, needed=True)
    connections = {}
    for name, value in given.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"connections.{name}: this is no name of a connection")
        connections[name] = _connection(name, _Table(f"connections.{name}", value), base)
    if not connections:
        raise ConfigurationError("connections: there is none")
    folders = [connection.folder for connection in connections.values()]
    if len(set(folders)) != len(folders):
        raise ConfigurationError("connections: two have the same folder")
    settings = Settings(
        hub=hub,
        state=_path(base, table.text("state") or "state"),
        connections=connections,
        token_file=None if token is None else _path(base, token),
        ca_file=None if ca is None else _path(base, ca),
        proxy=proxy,
        poll_seconds=table.number("poll_seconds", 15, 0.2, 3600),
        timeout_seconds=table.number("timeout_seconds", 60, 1, 600),
        max_upload_bytes=int(table.number("max_upload_bytes", 200_000_000, 1, 4e9)),
    )
    table.done()
    return settings


def _hub(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.query or parts.fragment or parts.username or parts.scheme not in ("https", "http"):
        raise ConfigurationError('hub: expected the gateway\'s address such as "https://hooks.example.fr"')
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ConfigurationError("hub: expected https (plain http is for this machine only)")
    return text.rstrip("/")


def _connection(name: str, table: _Table, base: Path) -> Connection:
    sql = table.take("sql", dict)
    found = Connection(
        name=name,
        folder=_path(base, table.text("folder", needed=True) or ""),
        imports=_each(table, "import", _importing),
        readings=_each(table, "reading", _reading),
        sql=None if sql is None else _sql(_Table(f"{table.path}.sql", sql)),
        quiet_seconds=table.number("quiet_seconds", 3, 0, 600),
    )
    table.done()
    if found.sql is None and any(reading.query for reading in found.readings):
        raise ConfigurationError(f"{table.path}.reading: a query needs [{table.path}.sql]")
    places = [(reading.to, reading.file.lower()) for reading in found.readings]
    if len(set(places)) != len(places):
        raise ConfigurationError(f"{table.path}.reading: two write the same file")
    return found


def _each(table: _Table, key: str, make: Callable[[_Table], Any]) -> tuple[Any, ...]:
    found: Sequence[object] = table.take(key, list, [])
    return tuple(make(_Table(f"{table.path}.{key}[{n}]", value)) for n, value in enumerate(found))


def _importing(table: _Table) -> Importing:
    files = table.text("files", needed=True) or ""
    parts = PurePosixPath(files).parts
    if len(parts) != 2 or ".." in parts or parts[0].startswith((".", "/")) or "\\" in files:
        raise ConfigurationError(f'{table.path}.files: expected FOLDER/PATTERN such as "import/COMMANDES_*.CSV"')
    found = Importing(
        files=files,
        command=table.command(needed=True),
        success=table.codes("success", (0,)),
        nothing_done=table.codes("nothing_done", ()),
        timeout_seconds=table.number("timeout_seconds", 900, 1, 86400),
    )
    table.done()
    if set(found.success) & set(found.nothing_done):
        raise ConfigurationError(f"{table.path}: an exit code is in success and in nothing_done")
    return found


def _reading(table: _Table) -> Reading:
    found = Reading(
        file=table.text("file", needed=True) or "",
        to=table.text("to", needed=True) or "",
        command=table.command(),
        query=table.text("query") or "",
        every_seconds=table.number("every_seconds", 0, 0, 7 * 86400),
        after_import=table.flag("after_import"),
        timeout_seconds=table.number("timeout_seconds", 900, 1, 86400),
    )
    table.done()
    if found.to not in _FOLDERS:
        raise ConfigurationError(f'{table.path}.to: expected "ack" or "export"')
    if not _FILE.fullmatch(found.file):
        raise ConfigurationError(f"{table.path}.file: expected a name such as STOCK.csv")
    if bool(found.command) == bool(found.query):
        raise ConfigurationError(f"{table.path}: expected either command or query")
    if found.query and not _NAME.fullmatch(found.query):
        raise ConfigurationError(f"{table.path}.query: expected a name such as stock")
    if not found.every_seconds and not found.after_import:
        raise ConfigurationError(f"{table.path}: it would never be made: set every_seconds or after_import")
    return found


def _sql(table: _Table) -> Sql:
    driver = table.text("driver", needed=True) or ""
    if driver not in _DRIVERS:
        raise ConfigurationError(f"{table.path}.driver: expected one of {', '.join(_DRIVERS)}")
    connect = table.take("connect", (str, dict), needed=True)
    texts = [connect] if isinstance(connect, str) else list(connect.values())
    if not all(isinstance(text, str | int) and not isinstance(text, bool) for text in texts):
        raise ConfigurationError(f"{table.path}.connect: expected a text, or a table of texts and numbers")
    if isinstance(connect, dict) != (driver in ("pytds", "pymssql")):
        raise ConfigurationError(f"{table.path}.connect: {driver} takes a {'table' if driver != 'pyodbc' else 'text'}")
    for text in texts:
        for name in _PLACEHOLDERS.findall(text) if isinstance(text, str) else ():
            if name.startswith("env:") and not _ENVIRONMENT.fullmatch(name):
                raise ConfigurationError(f"{table.path}.connect: {{{name}}} is no name of an environment variable")
        if isinstance(text, str) and re.search(r"(?i)\b(pwd|password)\s*=\s*(?!\{env:)[^;\s]", text):
            raise ConfigurationError(f"{table.path}.connect: no password in this file; write {{env:NAME}} instead")
    if isinstance(connect, dict) and not str(connect.get("password", "{env:")).startswith("{env:"):
        raise ConfigurationError(f"{table.path}.connect.password: no password in this file; write {{env:NAME}} instead")
    found = Sql(driver, connect, table.number("timeout_seconds", 300, 1, 3600))
    table.done()
    return found


def _path(base: Path, text: str) -> Path:
    path = Path(os.path.expandvars(text))
    return path if path.is_absolute() else base / path
