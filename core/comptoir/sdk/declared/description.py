"""The description of a connector without code: manifest.toml with a `[rest]` or a `[files]` table.

Everything is checked when the file is read: an error names the file, the line, the key and what is allowed there. What
the tables `[entities.*]` of a manifest say of a connector with code (pull, push, fetch, cursor) follows here from the
endpoints; they are only written for what does not follow (volatile fields, overlap, natural key).
"""

from __future__ import annotations

import re
import tomllib
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.declared.files_description import FilesTable
from comptoir.sdk.declared.settings import SettingsTable
from comptoir.sdk.manifest import Manifest
from comptoir.sdk.toml_lines import key_lines

__all__ = ["Description", "Lookup", "Paging", "Push", "RestEntity", "RestTable", "Update", "read_description"]

#: What stands between braces in a path, parameter or header.
PLACE = re.compile(r"\{([^{}]*)\}")
_COMPANY = ("company.name", "company.country", "company.currency", "company.siren", "company.time_zone", "connection")
_LARGEST = 256 * 1024
#: What Comptoir takes in.
_TAKEN_IN = tuple(entity for entity in EntityName if entity is not EntityName.JOURNAL_ENTRY)
Table = TypeVar("Table", bound=BaseModel)


class Closed(BaseModel):
    """Base of every table: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError("expected an IANA time zone such as Europe/Paris, or UTC")
    return name


def _api_path(path: str) -> str:
    """A path below the connection's address: never another server, never a query."""
    if "://" in path or path.startswith("//") or "?" in path or "#" in path:
        raise ValueError("expected a path such as /orders; the address is the connection's, parameters are `params`")
    if ".." in path.split("/"):
        raise ValueError("`..` is not used in a path")
    return "/" + path.strip("/") if path.strip("/") else ""


ApiPath = Annotated[str, AfterValidator(_api_path)]
#: Where a value stands in an answer: names with dots between them; empty: the answer itself.
DataPath = Annotated[str, StringConstraints(pattern=r"^$|^[^.\[\]]+(\.[^.\[\]]+)*$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100)]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[^\r\n\x00]*$", max_length=1000)]


class Paging(Closed):
    """How a list is read to its end.

    | style | the next page is asked for by |
    |---|---|
    | none | nothing: one answer holds everything |
    | page | `param` = 1, 2, 3 (from `first`) |
    | offset | `param` = how many records to pass over |
    | after_id | `param` = the id of the last record read |
    | cursor | `param` = what stands at `next` in the answer |
    | next_url | the address at `next` in the answer |
    | link_header | the address in the header `Link: <...>; rel="next"` |
    """

    style: Literal["none", "page", "offset", "after_id", "cursor", "next_url", "link_header"]
    param: Word | None = None
    size_param: Word | None = None
    size: int = Field(default=100, ge=2, le=1_000, description="Records asked for at once")
    first: int = Field(default=1, ge=0, le=1, description="Number of the first page")
    next: DataPath | None = None
    more: DataPath | None = Field(default=None, description="Where the answer says whether there is more")
    total: DataPath | None = Field(default=None, description="Where the answer says how many there are")
    total_header: HeaderName | None = None
    past_end_status: Literal[400, 404, 422] | None = Field(
        default=None, description="What the server answers to a page after the last one, when not an empty list"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.style in ("cursor", "after_id") and not self.param:
            raise ValueError(f'style = "{self.style}" needs `param`: the parameter that takes the cursor')
        if self.style in ("cursor", "next_url") and not self.next:
            raise ValueError(f'style = "{self.style}" needs `next`: where the answer says how to go on')
        if self.style in ("none", "next_url", "link_header") and self.param:
            raise ValueError(f'style = "{self.style}" has no `param`')
        if self.style not in ("cursor", "next_url") and self.next:
            raise ValueError(f'style = "{self.style}" has no `next`')
        if self.past_end_status and self.style != "page":
            raise ValueError('`past_end_status` belongs to style = "page"')
        if self.total and self.total_header:
            raise ValueError("the number of records is in the answer (`total`) or in a header (`total_header`)")
        return self

    @property
    def counter(self) -> str:
        """The parameter of a page's number or offset."""
        return self.param or self.style


class Push(Closed):
    """How a new record is sent: one request each."""

    path: ApiPath
    method: Literal["POST", "PUT"] = "POST"
    record: Word | None = Field(default=None, description="The key that holds the record in the body; none: it is it")
    id: DataPath = Field(default="id", description="Where the answer says the new record's id")
    idempotency_header: HeaderName | None = Field(
        default=None, description="Takes a key that is the same whenever this record is sent again"
    )


class Update(Closed):
    """How an existing record is sent again; `{id}` in the path is its id."""

    path: ApiPath
    method: Literal["PUT", "PATCH", "POST"] = "PUT"
    record: Word | None = None


class Lookup(Closed):
    """How the target is asked whether it has a record: before it is made, and when an answer was lost."""

    path: ApiPath
    param: Word = Field(description="Takes the record's natural key")
    params: dict[Word, str] = Field(default_factory=dict)
    records: DataPath = ""
    key: DataPath = Field(description="Where a found record holds the natural key: it must be equal")
    id: DataPath = "id"
    absent_status: Literal[404] | None = Field(
        default=None, description="What the server answers when it finds nothing, when not an empty list"
    )


class RestEntity(Closed):
    """The endpoints of one entity."""

    path: ApiPath | None = Field(default=None, description="The list to read")
    params: dict[Word, str] = Field(default_factory=dict)
    records: DataPath = Field(default="", description="Where the list stands in the answer; empty: the answer is it")
    id: DataPath = "id"
    modified: DataPath | None = Field(default=None, description="Where a record says when it was changed")
    modified_format: Literal["iso", "epoch", "epoch_ms"] = "iso"
    since_param: Word | None = Field(default=None, description="Takes the moment to read from")
    since_format: Literal["iso", "iso_local", "date", "epoch", "epoch_ms"] = "iso"
    paging: Paging | None = None
    single: ApiPath | None = Field(default=None, description="One record, {id} is its id")
    single_record: DataPath = ""
    push: Push | None = None
    update: Update | None = None
    lookup: Lookup | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.path is None and self.push is None:
            raise ValueError("it is neither read (`path`) nor written (`push`)")
        if self.since_param and not self.modified:
            raise ValueError("`since_param` needs `modified`: how far was read is known by the records' own dates")
        for name, template in (("single", self.single), ("update.path", self.update and self.update.path)):
            if template is not None and "{id}" not in template:
                raise ValueError(f"`{name}` needs {{id}}, the place of the record's id")
        if self.update and not self.push:
            raise ValueError("`update` needs `push`: what is not made there is not changed there")
        if self.lookup and not self.push:
            raise ValueError("`lookup` belongs to an entity with `push`")
        return self


class RestTable(Closed):
    """`[rest]`: a system that is reached over HTTP and speaks JSON."""

    base_path: ApiPath = ""
    auth: Literal["none", "basic", "bearer", "header", "query"]
    auth_name: HeaderName | None = Field(default=None, description="The header or parameter that takes the key")
    auth_prefix: HeaderText = Field(default="", description="Before the key in the header")
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict)
    zone: Annotated[str, AfterValidator(_zone)] = Field(default="UTC", description="Of times without a zone")
    timeout: float = Field(default=60.0, ge=1, le=600)
    allow_http: bool = Field(default=False, description="Plain http, which shows key and data to everyone on the way")
    check: ApiPath | None = Field(default=None, description="What `comptoir check` reads; the first list by default")
    check_records: DataPath = ""
    paging: Paging | None = None
    entities: dict[EntityName, RestEntity] = Field(min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.auth in ("header", "query") and not self.auth_name:
            raise ValueError(f'auth = "{self.auth}" needs `auth_name`: the {self.auth} that takes the key')
        if self.auth not in ("header", "query") and self.auth_name:
            raise ValueError(f'auth = "{self.auth}" has no `auth_name`')
        if self.auth_prefix and self.auth != "header":
            raise ValueError('`auth_prefix` belongs to auth = "header"')
        return self

    def paging_of(self, entity: EntityName) -> Paging:
        """The entity's own paging, else the table's; one request when neither is written."""
        return self.entities[entity].paging or self.paging or Paging(style="none")


@dataclass(frozen=True, slots=True)
class Description:
    """A checked description. `shown` is how messages name its file, `folder` where it stands."""

    manifest: Manifest
    rest: RestTable | None
    files: FilesTable | None
    settings: SettingsTable
    folder: Path
    shown: str


def read_description(folder: Path, *, shown: str | None = None) -> Description:
    """The description in `folder`/manifest.toml.

    ConfigError with file, line, key and what is allowed when it is missing, no TOML or says something wrong.
    """
    name = shown or f"{folder.parent.name}/{folder.name}/manifest.toml"
    reader = _Reader(name, _text(folder / "manifest.toml", name))
    return reader.description(folder)


def _text(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(
                f"{shown}:1: larger than {_LARGEST} bytes: no description of a connector", code="declared"
            )
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}:1: cannot be read: {error.__class__.__name__}", code="declared") from None


class _Reader:
    def __init__(self, shown: str, text: str) -> None:
        self._shown = shown
        self._lines = key_lines(text)
        try:
            self._tables: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            line = found.group(1) if found else text.rstrip().count("\n") + 1
            raise ConfigError(f"{shown}:{line}: no valid TOML: {error}", code="declared") from None

    def description(self, folder: Path) -> Description:
        tables = dict(self._tables)
        rest = self._table("rest", RestTable, tables.pop("rest", None))
        files = self._table("files", FilesTable, tables.pop("files", None))
        settings = self._table("settings", SettingsTable, {"settings": tables.pop("settings", {})}, ())
        if (rest is None) == (files is None):
            wrong = "both [rest] and [files]" if rest else "neither [rest] nor [files]"
            raise self._error((), f"it has {wrong}; a connector without code has one of them")
        assert settings is not None  # noqa: S101 - given a value, _table returns a model
        given = tables.pop("entities", {})
        if not isinstance(given, dict):
            raise self._error(("entities",), "expected tables such as [entities.order]")
        implied = _rest_capabilities(rest) if rest else _files_capabilities(files)
        tables["entities"] = self._capabilities(implied, given)
        for key, follows in _implied(rest).items():
            if tables.setdefault(key, follows) != follows:
                raise self._error((key,), f"{tables[key]!r} contradicts what is described ({follows!r}); leave it out")
        manifest = self._table("", Manifest, tables, ())
        assert manifest is not None  # noqa: S101 - as above
        if manifest.key != folder.name and not folder.joinpath("__init__.py").exists():
            raise self._error(("key",), f"it is {manifest.key!r}, but its folder is {folder.name!r}")
        if rest is not None:
            self._check_rest(rest, manifest, settings)
        for entity in files.entities if files else ():
            self._check_taken_in(entity, ("files", "entities", entity.value))
        return Description(manifest, rest, files, settings, folder, self._shown)

    def _capabilities(self, implied: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
        """What follows from the endpoints, with what is written beside them; a contradiction is an error."""
        found: dict[str, Any] = {}
        for name, said in given.items():
            if name not in implied:
                raise self._error(("entities", name), f"no endpoint or file gives it; described: {', '.join(implied)}")
            if not isinstance(said, dict):
                raise self._error(("entities", name), "expected a table")
            for key, value in said.items():
                if key in ("publishes", "brings"):
                    raise self._error(("entities", name, key), "a connector without code cannot do this")
                if key in implied[name] and value != implied[name][key]:
                    raise self._error(
                        ("entities", name, key),
                        f"{value!r} contradicts what is described ({implied[name][key]!r}); leave it out",
                    )
        for name, follows in implied.items():
            found[name] = {**given.get(name, {}), **follows}
        return found

    def _check_taken_in(self, entity: EntityName, key: tuple[str, ...]) -> None:
        if entity not in _TAKEN_IN:
            raise self._error(key, f"{entity.value} is not read; allowed: {', '.join(e.value for e in _TAKEN_IN)}")

    def _check_rest(self, rest: RestTable, manifest: Manifest, settings: SettingsTable) -> None:
        allowed = [*_COMPANY, *(f"config.{name}" for name in settings.settings)]
        for entity, table in rest.entities.items():
            at = ("rest", "entities", entity.value)
            if table.path is not None:
                self._check_taken_in(entity, (*at, "path"))
            texts: list[tuple[tuple[str, ...], str]] = [(("params", k), v) for k, v in table.params.items()]
            texts += [(("path",), table.path or ""), (("single",), (table.single or "").replace("{id}", ""))]
            if table.lookup:
                texts += [(("lookup", "params", k), v) for k, v in table.lookup.params.items()]
            for key, text in texts:
                self._check_places((*at, *key), text, allowed)
            if table.push and not manifest.entities[entity].natural_key:
                raise self._error(
                    ("entities", entity.value, "natural_key"),
                    "this setting is missing: the field of the written record by which the target is asked for it",
                )
        for name, text in rest.headers.items():
            self._check_places(("rest", "headers", name), text, allowed)

    def _check_places(self, key: tuple[str, ...], text: str, allowed: Sequence[str]) -> None:
        for place in PLACE.findall(text):
            if place not in allowed:
                raise self._error(key, f"{{{place}}} is unknown; allowed: {', '.join(allowed)}")

    def _table(self, name: str, model: type[Table], value: Any, at: tuple[str, ...] | None = None) -> Table | None:
        if value is None:
            return None
        at = (name,) if at is None else at
        if not isinstance(value, dict):
            raise self._error(at, "expected a table")
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise self._first(model, at, error) from None

    def _first(self, model: type[BaseModel], at: tuple[str, ...], error: ValidationError) -> ConfigError:
        problem = error.errors(include_url=False)[0]
        path = (*at, *(str(part) for part in problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        kind = problem["type"]
        if kind == "missing":
            message = "this setting is missing"
        elif kind == "extra_forbidden":
            message = f"unknown setting; allowed: {', '.join(_allowed(model, problem['loc']))}"
        elif kind in ("enum", "literal_error"):
            allowed = str(problem.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
            message = f"{problem.get('input')!r} is not allowed; allowed: {allowed}"
        elif isinstance(problem.get("input"), (str, int, float, bool)):
            message = f"{message} (found {problem['input']!r})"
        more = error.error_count() - 1
        return self._error(path, message, f"{more} more settings are wrong." if more else None)

    def _error(self, key: Sequence[str], message: str, hint: str | None = None) -> ConfigError:
        path = tuple(part for part in key if part != "[key]")
        line = next((self._lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._lines), 1)
        dotted = ".".join(path)
        said = f"{dotted}: {message}" if dotted else message
        return ConfigError(f"{self._shown}:{line}: {said}", hint=hint, field=dotted or None, code="declared")


def _allowed(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The settings of the table in which the unknown one stands."""
    found: type[BaseModel] = model
    for part in location[:-1]:
        field = found.model_fields.get(str(part))
        if field is not None:
            found = _model_in(field.annotation) or found
    return list(found.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The table that an annotation holds: `Paging | None`, `dict[EntityName, RestEntity]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (model := _model_in(inner)) is not None:
            return model
    return None


def _implied(rest: RestTable | None) -> dict[str, str]:
    """What a manifest says of the whole connector and follows from the description."""
    if rest is None:
        return {"transport": "files"}
    asked = any(table.lookup is not None for table in rest.entities.values())
    return {"transport": "http", "lost_answer": "natural_key" if asked else "none"}


def _rest_capabilities(rest: RestTable) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entity, table in rest.entities.items():
        follows: dict[str, Any] = {
            "pull": table.path is not None,
            "cursor": "modified" if table.since_param else "sweep",
            "fetch": table.single is not None,
            "push": table.push is not None,
        }
        if table.push is not None:
            follows["push_actions"] = ["create", "update"] if table.update else ["create"]
            if table.lookup is None:
                # Nothing tells later which of several were made before the answer was lost.
                follows["batch_size"] = 1
        found[entity.value] = follows
    return found


def _files_capabilities(files: FilesTable | None) -> dict[str, dict[str, Any]]:
    entities = files.entities if files else {}
    return {entity.value: {"pull": True, "cursor": "modified", "push": False} for entity in entities}
