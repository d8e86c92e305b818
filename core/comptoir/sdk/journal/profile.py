"""Writer profiles: what one product reads, as data, with the import that somebody has seen it take.

A profile is a TOML file: a connector ships some below `profiles/`, and a merchant may keep one of his own beside
`comptoir.toml`. It names the file format, the charset, the lengths, and what of it nobody has confirmed yet
(`unconfirmed`). `[witnessed]` is filled in after a trial import into a copied folder; without it the profile says
"never imported".
"""

from __future__ import annotations

import codecs
import re
import tomllib
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk.layouts import FileLayout, layout_digest

__all__ = ["Limits", "Profile", "Witness", "WriterProfile", "load_as", "load_profile", "options_of", "shipped_profiles"]

_T = TypeVar("_T", bound=BaseModel)
#: What accounting programs on French desktops read; utf-8 for the FEC layout only.
CHARSETS = ("ascii", "cp850", "cp1252", "iso8859-1", "iso8859-15", "mac-roman", "utf-8")
_LARGEST = 200_000


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Witness(_Closed):
    """An import that a person has seen succeed: into which product and version, and when."""

    product: str = Field(min_length=1)
    version: str = Field(min_length=1)
    imported_on: date
    note: str = ""


class Limits(_Closed):
    """How many characters a field may have. Codes that are longer are refused or aliased, labels shortened; both are
    reported."""

    journal: int = Field(ge=1, le=100)
    account: int = Field(ge=3, le=100)
    third_party: int = Field(ge=1, le=100)
    piece: int = Field(ge=4, le=100)
    label: int = Field(ge=8, le=250)
    account_label: int = Field(default=35, ge=8, le=250)
    reference: int = Field(default=17, ge=4, le=100)
    section: int = Field(default=13, ge=1, le=100)


class Profile(_Closed):
    """What all profiles have in common. `options`: those of the format; `unconfirmed`: what nobody has seen yet."""

    format: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    product: str = Field(min_length=1)
    charset: str
    options: dict[str, Any] = Field(default_factory=dict)
    witnessed: Witness | None = None
    unconfirmed: tuple[str, ...] = ()
    source: str = ""

    @field_validator("charset")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
        except LookupError:
            name = ""
        if name not in CHARSETS:
            raise ValueError(f"unknown or unsuitable charset {value!r}; allowed: {', '.join(CHARSETS)}")
        return name

    @property
    def state(self) -> str:
        """ "never imported", or the product, version and day of the import that was seen."""
        seen = self.witnessed
        return f"imported into {seen.product} {seen.version} on {seen.imported_on}" if seen else "never imported"

    def layout(self, writes: str, entities: tuple[EntityName, ...]) -> FileLayout:
        """The layout that this profile describes, of records of these entities."""
        # What is only said about the profile does not shape a file.
        shape = self.model_dump(mode="json", exclude={"source", "product", "unconfirmed", "witnessed"})
        witnessed = self.state if self.witnessed else None
        return FileLayout(writes, entities, self.source, self.product, layout_digest(shape), witnessed)

    def parsed(self, model: type[_T]) -> _T:
        """The format's own options; ConfigError with profile and key when one is unknown or wrong."""
        return options_of(model, self.options, self.source)


class WriterProfile(Profile):
    """What one product reads of entries. `payments`: the product's codes of means of payment."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9]{1,4}$")
    text: Literal["capitals", "plain"] = "capitals"
    limits: Limits
    payments: dict[str, str] = Field(default_factory=dict)


def options_of(model: type[_T], options: dict[str, Any], source: str, table: str = "options") -> _T:
    """The options of a format; ConfigError with profile and key when one is unknown or wrong."""
    return _validated(model, options, f"{source}: {table}.")


def shipped_profiles(package: str, folder: str = "profiles") -> list[str]:
    """Names of the profiles that a connector package brings in one of its folders."""
    place = resources.files(package).joinpath(folder)
    return sorted(item.name.removesuffix(".toml") for item in place.iterdir() if item.name.endswith(".toml"))


def load_profile(package: str, name: str, base_dir: Path) -> WriterProfile:
    """The profile `name` of a package, or the merchant's own file when the name ends in `.toml` (relative to
    `base_dir`); ConfigError with file and key when it is missing or wrong."""
    return load_as(WriterProfile, package, name, base_dir)


def load_as(model: type[_T], package: str, name: str, base_dir: Path, folder: str = "profiles") -> _T:
    """The same for a profile of another kind, shipped below `folder` of the package; the model has a `source`."""
    if name.endswith(".toml"):
        text, source = _own(base_dir / name, name), name
    else:
        known = shipped_profiles(package, folder)
        if name not in known:
            raise ConfigError(
                f"there is no profile {name!r}; allowed: {', '.join(known)}, or a file of your own (NAME.toml)",
                code="profile",
            )
        text = resources.files(package).joinpath(folder, f"{name}.toml").read_text(encoding="utf-8")
        source = f"profile {name}"
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: {error}", code="profile") from None
    return _validated(model, {**data, "source": source}, f"{source}: ")


def _own(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ConfigError(f"{name}: more than {_LARGEST} bytes, so it is no profile", code="profile")
        return data.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"the profile {name} cannot be read: {error.strerror}",
            hint="It stands relative to comptoir.toml; copy one of the connector's profiles to begin with.",
            code="profile",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8 text", code="profile") from None


def _validated(model: type[_T], data: dict[str, Any], prefix: str) -> _T:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        words = re.sub(r"^Value error, ", "", first["msg"])
        raise ConfigError(f"{prefix}{key}: {words}", code="profile") from None
