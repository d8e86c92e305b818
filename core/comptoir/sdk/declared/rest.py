"""A REST system by description: lists are read page by page, single records read again, new ones written.

All requests go through `ctx.http`. Beyond its table of errors:

| what happens | error |
|---|---|
| the answer has no list where `records` says, a record has no id | `ContractViolation` |
| the same page comes twice, a cursor comes again, the next page is on another server | `ContractViolation` |
| the list moves under the reader again and again, or ends before its own total | `TransientError` |
| 404 to the list itself | `ConfigError`: the path is wrong |
"""

from __future__ import annotations

import base64
import email.utils
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from comptoir.errors import ComptoirError, ConfigError, ContractViolation, RecordRejected
from comptoir.model.refs import EntityName
from comptoir.sdk.address import credentials_variable, web_address
from comptoir.sdk.declared.description import PLACE, Description, RestEntity, RestTable
from comptoir.sdk.declared.paging import Chunk, ListReader, dig
from comptoir.sdk.http import HttpClient
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.protocols import (
    CheckItem,
    CheckReport,
    ConnectorConfig,
    ConnectorContext,
    Credentials,
    Page,
    PullRequest,
    RawItem,
)

__all__ = ["DeclaredFetches", "DeclaredPulls", "DeclaredRest"]

_TOLERATED_SKEW = 120.0
_GONE = ("http_404", "http_410")
#: An id that can stand in a path; ids come from webhooks and targets too.
_ID = re.compile(r"[^\s/\\?#%\x00-\x1f]{1,200}")


@dataclass(frozen=True, slots=True)
class _Access:
    """Where the system is, and the client that knows its key."""

    address: str
    http: HttpClient = field(repr=False)


class DeclaredRest:
    """One connection to a described REST system. What it can do beside `check` is mixed in by `declared.loading`."""

    manifest: ClassVar[Manifest]
    config_model: ClassVar[type[ConnectorConfig]]
    description: ClassVar[Description]

    def __init__(self, config: ConnectorConfig, ctx: ConnectorContext) -> None:
        self._config = config
        self._ctx = ctx
        self._table = _rest(self.description)
        self._access = self._open()

    def check(self) -> CheckReport:
        """Address, key and the first list; the two clocks. Reads only."""
        items: list[CheckItem] = []
        path, params = self._table.check, dict[str, str]()
        if path is None:
            entity = next((e for e, t in self._table.entities.items() if t.path is not None), None)
            if entity is None:
                detail = f"{self._access.address}: nothing here is read, so only a write shows whether the key is right"
                return CheckReport([CheckItem("address", True, detail)])
            table = self._table.entities[entity]
            paging = self._table.paging_of(entity)
            path, params = table.path or "", self._filled(table.params)
            if paging.size_param:
                params[paging.size_param] = "2"
        try:
            _, headers = self._get(path, params)
        except ComptoirError as error:
            return CheckReport([CheckItem.failed("answers", error)])
        items.append(CheckItem("answers", True, f"{path or '/'} was read"))
        date = server_time(headers.get("date"))
        if date is not None:
            ahead = (date - self._ctx.clock.now()).total_seconds()
            ok = abs(ahead) <= _TOLERATED_SKEW
            hint = None if ok else "Set the clock of this machine or of the server (NTP)."
            items.append(CheckItem("clocks", ok, f"the server's clock is {ahead:+.0f} s from ours", hint))
        return CheckReport(items)

    # -- requests ----------------------------------------------------------------------------------------------

    def _open(self) -> _Access:
        """Address and client. ConfigError that names the missing part of the connection."""
        credentials, rest, who = self._ctx.credentials, self._table, self._ctx.connection
        address = base_address(credentials, who, self.manifest.key, allow_http=rest.allow_http)
        sign, secrets = signer(rest, credentials, who)
        client = self._ctx.http.with_signing(sign, secrets=secrets, timeout=rest.timeout)
        return _Access(f"{address}{rest.base_path}", client)

    def _get(self, path: str, params: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        return self._access.http.get_json(_url(f"{self._access.address}{path}", params), headers=self._headers())

    def _get_url(self, url: str) -> tuple[Any, Mapping[str, str]]:
        return self._access.http.get_json(url, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return self._filled(self._table.headers)

    def _filled(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The texts with {config.x}, {company.x} and {connection} filled in."""
        return {name: self._fill(text) for name, text in texts.items()}

    def _fill(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            kind, _, name = found.group(1).partition(".")
            if kind == "connection":
                return self._ctx.connection
            given = getattr(self._config if kind == "config" else self._ctx.company, name)
            return str(given).lower() if isinstance(given, bool) else str(given or "")

        return PLACE.sub(value, text)

    def _path(self, template: str, external_id: str | None = None) -> str:
        """A path with its places filled in; nothing that is filled in can leave its segment."""
        filled = template if external_id is None else template.replace("{id}", quote(external_id, safe=""))
        return PLACE.sub(lambda found: quote(self._fill(found.group(0)), safe=""), filled)

    # -- records -----------------------------------------------------------------------------------------------

    def _rows(self, answer: Any, where: str, what: str) -> list[Mapping[str, Any]]:
        found = dig(answer, where)
        if not isinstance(found, list):
            raise ContractViolation(
                f"{self._ctx.connection}: the answer to {what} has no list at {where or 'its top'!r}",
                hint=f"Correct `records` in {self.description.shown}.",
                connection=self._ctx.connection,
            )
        for number, row in enumerate(found, 1):
            if not isinstance(row, dict):
                raise ContractViolation(
                    f"{self._ctx.connection}: record {number} of {what} is no object",
                    hint=f"Correct `records` in {self.description.shown}.",
                    connection=self._ctx.connection,
                )
        return found

    def _id(self, row: Mapping[str, Any], path: str, what: str) -> str:
        found = dig(row, path)
        if isinstance(found, bool) or not isinstance(found, (str, int)) or not str(found).strip():
            raise ContractViolation(
                f"{self._ctx.connection}: a record of {what} has no id at {path!r}",
                hint=f"Correct `id` in {self.description.shown}: text or a whole number is expected there.",
                connection=self._ctx.connection,
            )
        return str(found).strip()

    def _item(self, entity: EntityName, table: RestEntity, row: Mapping[str, Any]) -> RawItem:
        external_id = self._id(row, table.id, entity.value)
        modified = None
        if table.modified is not None:
            modified = moment_of(dig(row, table.modified), table.modified_format, zoneinfo.ZoneInfo(self._table.zone))
        return RawItem(entity, external_id, row, modified)


class DeclaredPulls(DeclaredRest):
    """Reads lists."""

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Pages in the server's own order. A position holds for the same `since` and parameters only."""
        table = self._table.entities.get(request.entity)
        if table is None or table.path is None:
            raise ContractViolation(f"{self._ctx.connection}: {self.manifest.name} gives no {request.entity.value}")
        params = self._filled(table.params)
        if request.since is not None and table.since_param:
            params[table.since_param] = written(request.since, table.since_format, zoneinfo.ZoneInfo(self._table.zone))
        warned = False
        for chunk in self._read(request, table, params):
            items = [self._item(request.entity, table, row) for row in chunk.rows]
            if request.since is not None and table.since_param and not warned:
                warned = self._warn_if_unfiltered(request, table, items)
            yield Page(items, chunk.position, chunk.total, server_time(chunk.date))

    def _read(self, request: PullRequest, table: RestEntity, params: Mapping[str, str]) -> Iterator[Chunk]:
        path, what = self._path(table.path or ""), request.entity.value

        answered = False

        def get(more: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
            nonlocal answered
            try:
                found = self._get(path, {**params, **more})
            except RecordRejected as error:
                raise error if answered else self._list_refused(error, path) from None
            answered = True
            return found

        reader = ListReader(
            self._table.paging_of(request.entity),
            get=get,
            get_url=self._get_url,
            rows=lambda answer: self._rows(answer, table.records, what),
            id_of=lambda row: self._id(row, table.id, what),
            address=self._access.address,
            secret_param=self._table.auth_name if self._table.auth == "query" else None,
            connection=self._ctx.connection,
            what=what,
            shown=self.description.shown,
        )
        return reader.read(request.position, scope=urlencode(sorted(params.items())))

    def _list_refused(self, error: RecordRejected, path: str) -> ComptoirError:
        if error.code in _GONE:
            return ConfigError(
                error.message,
                hint=f"There is no {path} at this address: correct `base_path` or `path` in {self.description.shown}, "
                "or the host of the connection.",
                connection=self._ctx.connection,
            )
        return error

    def _warn_if_unfiltered(self, request: PullRequest, table: RestEntity, items: Sequence[RawItem]) -> bool:
        """Says once when the server gives what it was not asked for (failure mode 11)."""
        since = request.since
        assert since is not None  # noqa: S101 - asked for by the caller
        # A day's margin: `date` asks for whole days.
        if not any(i.modified_at is not None and i.modified_at < since - timedelta(days=1) for i in items):
            return False
        self._ctx.logger.warning(
            "%s: %s gives records from before the moment that it was asked for: it ignores %r, and every run reads "
            "everything",
            self._ctx.connection,
            request.entity.value,
            table.since_param,
        )
        return True


class DeclaredFetches(DeclaredRest):
    """Reads single records again."""

    def fetch(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        """The records with these ids; one that answers 404 or 410 does not exist any more and is left out."""
        table = self._table.entities.get(entity)
        if table is None or table.single is None:
            raise ContractViolation(f"{self._ctx.connection}: {self.manifest.name} gives no single {entity.value}")
        template = table.single

        def one(external_id: str) -> Page | None:
            if not _ID.fullmatch(external_id) or ".." in external_id:
                return None
            try:
                answer, headers = self._get(self._path(template, external_id), {})
            except RecordRejected as error:
                if error.code in _GONE:
                    return None
                raise
            row = dig(answer, table.single_record)
            if not isinstance(row, dict):
                raise ContractViolation(
                    f"{self._ctx.connection}: {entity.value} {external_id} is no object at "
                    f"{table.single_record or 'the top'!r} of the answer",
                    hint=f"Correct `single_record` in {self.description.shown}.",
                    connection=self._ctx.connection,
                )
            return Page([self._item(entity, table, row)], as_of=server_time(headers.get("date")))

        for page in self._ctx.tasks.map_ordered(one, external_ids, width=self.manifest.requests_in_flight):
            if page is not None:
                yield page


# -- address, key, times -----------------------------------------------------------------------------------------


def _rest(description: Description) -> RestTable:
    if description.rest is None:
        raise ContractViolation(f"{description.shown} has no [rest]")
    return description.rest


def _url(address: str, params: Mapping[str, str]) -> str:
    return f"{address}?{urlencode(params)}" if params else address


def base_address(credentials: Credentials, connection: str, key: str, *, allow_http: bool) -> str:
    """The address in the connection's host, without a trailing slash. ConfigError that shows no value of it."""
    variable = credentials_variable(connection)

    def wrong(part: str, what: str) -> ConfigError:
        return ConfigError(
            f"{connection}: {variable} {what}",
            hint=f'{variable}=\'{{"conn_type": "{key}", "host": "https://api.example", "login": "...", '
            '"password": "..."}\'',
            connection=connection,
            field=part,
        )

    plain = None if allow_http else "key and data would be readable on the way"
    return web_address(credentials, wrong, plain=plain)


Signed = tuple[str, Mapping[str, str]]


def signer(
    rest: RestTable, credentials: Credentials, connection: str
) -> tuple[Callable[[str, str, Mapping[str, str]], Signed], tuple[str, ...]]:
    """What adds the key to a request, and the values that must never be shown. ConfigError when the key is missing."""
    login, password = credentials.login.strip(), credentials.password.strip()
    needed = {"none": (), "basic": ("login", "password")}.get(rest.auth, ("password",))
    for part in needed:
        if not {"login": login, "password": password}[part]:
            raise ConfigError(
                f"{connection}: AIRFLOW_CONN_{connection.upper()} has no {part}",
                hint=f'auth = "{rest.auth}" needs {" and ".join(needed)} of the connection.',
                connection=connection,
                field=part,
            )
    if not (login + password).isprintable():
        raise ConfigError(f"{connection}: login or password holds a line break or control character", field="password")
    name, basic = rest.auth_name or "", base64.b64encode(f"{login}:{password}".encode()).decode()
    header = {
        "none": {},
        "basic": {"Authorization": f"Basic {basic}"},
        "bearer": {"Authorization": f"Bearer {password}"},
        "header": {name: f"{rest.auth_prefix}{password}"},
        "query": {},
    }[rest.auth]

    def sign(method: str, url: str, headers: Mapping[str, str]) -> Signed:
        del method
        if rest.auth == "query":
            parts = urlsplit(url)
            pairs = [p for p in parse_qsl(parts.query, keep_blank_values=True) if p[0] != name]
            url = urlunsplit(parts._replace(query=urlencode([*pairs, (name, password)])))
        return url, {**headers, **header}

    return sign, (basic,) if rest.auth == "basic" else (password,)


def server_time(date_header: str | None) -> datetime | None:
    """The moment in a Date header; None when there is none that can be read."""
    try:
        moment = email.utils.parsedate_to_datetime(date_header or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment_of(value: Any, how: str, zone: zoneinfo.ZoneInfo) -> datetime | None:
    """The moment that a record gives; None when there is none. Of a doubled hour the earlier one."""
    try:
        if how == "iso":
            moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
            if moment is None:
                return None
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone, fold=0)).astimezone(UTC)
        if isinstance(value, bool) or not isinstance(value, (int, str, float)):
            return None
        seconds = float(value) / (1000 if how == "epoch_ms" else 1)
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def written(since: datetime, how: str, zone: zoneinfo.ZoneInfo) -> str:
    """A moment as the server wants it, never a later one."""
    since = since.astimezone(UTC)
    if how == "epoch":
        return str(int(since.timestamp()))
    if how == "epoch_ms":
        return str(int(since.timestamp() * 1000))
    if how == "date":
        return since.astimezone(zone).date().isoformat()
    if how == "iso_local":
        local = since.astimezone(zone)
        doubled = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        # The clock shows this hour twice, and nobody knows which one the server takes it for.
        local = (since - timedelta(hours=1)).astimezone(zone) if doubled else local
        return local.replace(tzinfo=None, microsecond=0).isoformat()
    return since.strftime("%Y-%m-%dT%H:%M:%SZ")
