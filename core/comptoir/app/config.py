"""comptoir.toml: one reviewed file that says what a merchant has. No secret is ever in it.

Errors name file, line and key, and the values that are allowed. `JSON Schema`: `comptoir schema config`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from comptoir.errors import ConfigError
from comptoir.model.base import Country, Currency
from comptoir.model.refs import EntityName
from comptoir.sdk.toml_lines import key_lines

__all__ = [
    "AgentSettings",
    "AlertSettings",
    "CompanySettings",
    "ConfigFile",
    "ConnectionSettings",
    "GatewaySettings",
    "RouteSettings",
    "Settings",
    "load",
]

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly")
_MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
_DAYS = "SUN MON TUE WED THU FRI SAT".split()
#: Name, smallest and largest value of each cron field, and the words for them.
_CRON = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("expected an IANA time zone such as Europe/Paris") from None
    return name


def _year_end(text: str) -> str:
    try:
        if not text.replace("-", "").isdecimal():  # 2000-W52-7 is a date as well
            raise ValueError
        date.fromisoformat(f"2000-{text}")
    except ValueError:
        raise ValueError("expected a day as MM-DD such as 12-31") from None
    return text


class CompanySettings(_Closed):
    """`[company]`: the merchant."""

    name: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    country: Country
    currency: Currency
    siren: Annotated[str, StringConstraints(pattern=r"^\d{9}$")] | None = None
    time_zone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="IANA name; Europe/Paris for a French company"
    )
    year_end: Annotated[str, AfterValidator(_year_end)] = Field(
        default="12-31", description="Last day of the financial year, MM-DD"
    )

    @property
    def zone(self) -> str:
        """The company's time zone."""
        return self.time_zone or ("Europe/Paris" if self.country in ("FR", "MC") else "UTC")


class ConnectionSettings(BaseModel):
    """`[connections.NAME]`: one configured instance of a connector; further keys are the connector's own."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    connector: Annotated[str, StringConstraints(min_length=1)]
    cutover: date | None = Field(default=None, description="Earlier documents are never delivered or posted")
    invoicing: str | None = Field(
        default=None, description='Who numbers and books what comes from there: a connection, "self" or "hub"'
    )
    calls_per_minute: Annotated[float, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False)] | None = Field(
        default=None, description="Requests a minute of all processes together; the connector's own when left out"
    )
    requests_in_flight: Annotated[int, Field(strict=True, ge=1, le=32)] | None = Field(
        default=None, description="Requests of one process under way at once; the connector's own when left out"
    )

    @field_validator("cutover", mode="before")
    @classmethod
    def _date(cls, value: object) -> object:
        try:
            return date.fromisoformat(value) if isinstance(value, str) else _day(value)
        except ValueError:
            raise ValueError('expected a date such as "2026-01-01"') from None

    @property
    def own(self) -> dict[str, Any]:
        """The connector's own settings."""
        return dict(self.__pydantic_extra__ or {})


def _day(value: object) -> date | None:
    """A TOML date; a number or a moment is none (pydantic would take it for seconds since 1970)."""
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    raise ValueError


def _cron(text: str) -> str:
    if text in _PRESETS:
        return text
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f'expected five cron fields such as "*/5 * * * *", or {", ".join(_PRESETS)}')
    for written, (name, low, high, words) in zip(fields, _CRON, strict=True):
        if not all(_cron_part(part, low, high, words) for part in written.split(",")):
            raise ValueError(
                f"{written!r} is no {name} of a cron schedule: expected {low} to {high}, *, a-b, */n or a list of them"
            )
    return text


def _cron_part(part: str, low: int, high: int, words: Sequence[str]) -> bool:
    span, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and 1 <= int(step) <= high):
        return False
    if span == "*":
        return True
    ends = [_cron_number(end, words) for end in span.split("-")]
    return (
        len(ends) <= 2
        and all(end is not None and low <= end <= high for end in ends)
        and ends == sorted(ends, key=lambda e: e or 0)
    )


def _cron_number(text: str, words: Sequence[str]) -> int | None:
    if text.upper() in words:
        return words.index(text.upper()) + (words[0] == "JAN")
    return int(text) if text.isdecimal() and len(text) <= 2 else None


class RouteSettings(_Closed):
    """`[routes.NAME]`: a subscription of targets to one canonical entity."""

    entity: EntityName
    sources: tuple[str, ...] = Field(alias="from", min_length=1)
    targets: tuple[str, ...] = Field(alias="to", default=())
    schedule: Annotated[str, AfterValidator(_cron)] | None = None
    triggers: tuple[Literal["webhook"], ...] = ()
    match: tuple[Literal["sku", "gtin", "vat_id", "siret", "siren", "email", "phone", "name_place"], ...] = Field(
        default=(), description="Keys by which records of both sides are recognised"
    )
    create: Literal["ask", "always"] | None = Field(
        default=None, description="What becomes of records that the target does not have"
    )
    fields: tuple[str, ...] = Field(default=(), description="What is kept up to date on existing records")
    price_list: Annotated[str, StringConstraints(min_length=1)] | None = None
    buffer: Decimal = Field(default=Decimal(0), ge=0, le=1_000_000, description="Units never offered")
    locations: tuple[str, ...] = Field(default=(), description="Places whose stock is offered; all when left out")
    take_over: bool = Field(default=False, description="Also publish stock where the target counts none")

    @field_validator("sources", "targets", "match", "fields", "locations", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


def _public_url(text: str) -> str:
    """The address without a trailing slash."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise ValueError('expected a web address such as "https://hooks.example.com", without query or user')
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("expected https: webhooks carry personal data (plain http is for this machine only)")
    return text.rstrip("/")


class GatewaySettings(_Closed):
    """`[gateway]`: where webhooks arrive, and what is refused."""

    url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        default=None, description="How shops reach the gateway; with it, webhooks are made and mended by themselves"
    )
    max_bytes: int = Field(default=2 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest body taken")
    slow_seconds: float = Field(default=10.0, gt=0, le=120, description="How long a request may take to arrive")
    replay_hours: float = Field(
        default=72.0, ge=1, le=24 * 90, description="A body that says it is older is not taken any more"
    )


class AgentSettings(_Closed):
    """`[agents]`: the machines beside the accounting programs (docs/agent.md)."""

    silent_minutes: float = Field(
        default=30.0, gt=0, le=10_000, description="Working time without a word after which somebody is told"
    )
    max_upload_bytes: int = Field(default=200_000_000, ge=1024, le=4_000_000_000, description="Largest file taken")


_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class AlertSettings(_Closed):
    """`[alerts]`: when something has waited for too long, and who is told."""

    after_working_hours: float = Field(default=8.0, gt=0, le=400, description="How long a file may wait to be imported")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ("mon", "tue", "wed", "thu", "fri")
    begins: time = Field(default=time(9), description="Local time at which work begins")
    ends: time = Field(default=time(18), description="Local time at which it ends")
    holidays: bool = Field(default=True, description="Nobody works on public holidays (France)")
    mail_to: tuple[Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")], ...] = ()
    mail_from: Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")] | None = None
    mail_connection: str = Field(default="mail", description="The Airflow connection of the SMTP server")
    schedule: Annotated[str, AfterValidator(_cron)] = Field(default="5 * * * *", description="When it is looked at")

    @property
    def week_days(self) -> tuple[int, ...]:
        """The days as numbers, Monday is 0."""
        return tuple(_WEEK.index(day) for day in self.days)


class Settings(_Closed):
    """The whole file."""

    company: CompanySettings
    connections: dict[str, ConnectionSettings] = Field(default_factory=dict)
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    accounting: dict[str, Any] = Field(default_factory=dict)
    gateway: GatewaySettings = GatewaySettings()
    alerts: AlertSettings = AlertSettings()
    agents: AgentSettings = AgentSettings()
    path: Path = Field(default=Path("comptoir.toml"), exclude=True)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The file's text with the lines of its keys, for messages."""

    path: Path
    text: str
    lines: Mapping[tuple[str, ...], int]

    def error(self, key: Sequence[str | int], message: str, hint: str | None = None) -> ConfigError:
        """An error that names file, line and key."""
        path = tuple(str(part) for part in key)
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 1)
        dotted = ".".join(path)
        return ConfigError(f"{self.path.name}:{line}: {dotted}: {message}", hint=hint, field=dotted)

    @property
    def digest(self) -> str:
        """The text's hash."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()


def read(path: Path) -> tuple[ConfigFile, dict[str, Any]]:
    """The file and its parsed tables; ConfigError when it is missing or no TOML."""
    try:
        # Windows editors put a byte order mark before the text, which TOML does not know.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}",
            hint="Make one with `comptoir init`, or name it: comptoir --config FILE ...",
            code="no_config",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", code="no_config") from None
    try:
        return ConfigFile(path, text, key_lines(text)), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found.group(1)) if found else text.rstrip().count("\n") + 1
        raise ConfigError(f"{path.name}:{line}: no valid TOML: {error}") from None


def load(path: Path | str) -> Settings:
    """The settings of a file, checked by themselves; needs no connector, no database.

    Raises ConfigError with file, line, key and the allowed values.
    """
    return load_with_file(Path(path))[0]


def load_with_file(path: Path) -> tuple[Settings, ConfigFile]:
    """The settings together with the file, for further checks that name lines."""
    file, tables = read(path)
    _no_secrets(file, tables, ())
    if "path" in tables:
        raise file.error(("path",), _unknown(("path",)))
    try:
        settings = Settings.model_validate({**tables, "path": path.resolve()})
    except ValidationError as error:
        raise _first(file, error) from None
    _check_names(file, settings)
    return settings, file


def _first(file: ConfigFile, error: ValidationError) -> ConfigError:
    problem = error.errors(include_url=False)[0]
    key = [str(part) for part in problem["loc"]]
    kind = problem["type"]
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "missing":
        message = "this setting is missing"
    elif kind == "extra_forbidden":
        message = _unknown(problem["loc"])
    elif kind in ("enum", "literal_error"):
        allowed = problem.get("ctx", {}).get("expected", "")
        message = f"{problem.get('input')!r} is not allowed; allowed: {allowed.replace(' or ', ', ')}"
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        message = f"expected a table of settings, found {problem['input']!r}"
    elif problem.get("input") is not None and not isinstance(problem["input"], (dict, list)):
        message = f"{message} (found {problem['input']!r})"
    more = error.error_count() - 1
    hint = f"{more} more settings are wrong." if more else None
    return file.error(key, message, hint)


def _unknown(location: Sequence[int | str]) -> str:
    """What to say of an unknown setting: those that are allowed at its place."""
    models: dict[object, type[BaseModel]] = {
        "company": CompanySettings,
        "routes": RouteSettings,
        "gateway": GatewaySettings,
    }
    model = Settings if len(location) == 1 else models.get(location[0])
    if model is None:
        return "unknown setting"
    names = [field.alias or name for name, field in model.model_fields.items() if not field.exclude]
    return f"unknown setting; allowed: {', '.join(names)}"


_SECRET = re.compile(r"(password|secret|passwd|pwd|token|api_?key|consumer_key|passphrase|private_key)$", re.I)
_SECRET_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def _no_secrets(file: ConfigFile, value: Any, path: tuple[str, ...]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if _SECRET.search(str(key)) and not isinstance(inner, (dict, list)):
                raise _secret(file, (*path, str(key)))
            _no_secrets(file, inner, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            _no_secrets(file, inner, path)
    elif isinstance(value, str) and _SECRET_URL.search(value):
        raise _secret(file, path)


def _secret(file: ConfigFile, path: tuple[str, ...]) -> ConfigError:
    name = path[1].upper() if path[0] == "connections" and len(path) > 2 else "NAME"
    return file.error(
        path,
        "secrets do not belong into this file",
        f"Put it into the Airflow connection of the same name, for instance AIRFLOW_CONN_{name}.",
    )


def _check_names(file: ConfigFile, settings: Settings) -> None:
    for kind, names in (("connections", settings.connections), ("routes", settings.routes)):
        for name in names:
            if not _NAME.match(name) or name in ("hub", "self"):
                raise file.error(
                    (kind, name),
                    "a name has small letters, digits and _, begins with a letter, and is not hub or self",
                )
    known = ", ".join(settings.connections) or "none"
    for name, connection in settings.connections.items():
        others = [other for other in settings.connections if other != name]
        if connection.invoicing not in (None, "self", "hub", *others):
            raise file.error(
                ("connections", name, "invoicing"),
                f"{connection.invoicing!r} is not allowed; allowed: " + ", ".join([*others, "self", "hub"]),
            )
    for name, route in settings.routes.items():
        for key, listed in (("from", route.sources), ("to", route.targets)):
            twice = next((n for n in listed if listed.count(n) > 1), None)
            if twice is not None:
                raise file.error(("routes", name, key), f"{twice!r} stands twice")
        for source in route.sources:
            if source != "hub" and source not in settings.connections:
                raise file.error(("routes", name, "from"), f"there is no connection {source!r}; allowed: {known}, hub")
        if "hub" in route.sources and len(route.sources) > 1:
            raise file.error(("routes", name, "from"), '"hub" stands alone: what the hub derives has one source')
        for target in route.targets:
            if target not in settings.connections:
                raise file.error(("routes", name, "to"), f"there is no connection {target!r}; allowed: {known}")
            if target in route.sources:
                raise file.error(("routes", name, "to"), f"{target!r} is its own source")
