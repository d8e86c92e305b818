"""Document profiles: the layout in which one product takes web orders, as data.

Like the profiles of entry files (`comptoir.sdk.journal.profile`): a TOML file below `order_profiles/` of a connector's
package, or the merchant's own beside `comptoir.toml`; what nobody has confirmed stands in `unconfirmed`, and until
`[witnessed]` is filled in the profile says "never imported".
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from comptoir.sdk.journal.profile import CHARSETS, Witness, load_as, options_of

__all__ = ["DocumentLimits", "DocumentProfile", "load_document_profile"]

_T = TypeVar("_T", bound=BaseModel)


class DocumentLimits(BaseModel):
    """How many characters a field may have. Codes that are longer get an alias or are refused, texts are shortened;
    both are reported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=9, le=100, description="The shop's number, as the program keeps it")
    customer: int = Field(ge=13, le=50)
    item: int = Field(ge=10, le=50)
    label: int = Field(ge=8, le=250)
    name: int = Field(ge=8, le=250)
    address: int = Field(ge=8, le=250)
    postcode: int = Field(ge=5, le=50)
    city: int = Field(ge=8, le=250)
    text: int = Field(ge=8, le=2000, description="References and headings")


class DocumentProfile(BaseModel):
    """What one product reads. `codes`: whether its item codes are in capitals; `options` are those of the format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    product: str = Field(min_length=1)
    suffix: str = Field(default=".TXT", pattern=r"^\.[A-Z]{3}$")
    charset: str
    codes: Literal["capitals", "plain"] = "plain"
    limits: DocumentLimits
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

    def parsed(self, model: type[_T]) -> _T:
        """The format's own options; ConfigError with profile and key when one is unknown or wrong."""
        return options_of(model, self.options, self.source)


def load_document_profile(package: str, name: str, base_dir: Path) -> DocumentProfile:
    """The document profile `name` of a package, or the merchant's own file (`NAME.toml`); ConfigError when it is
    missing or wrong."""
    return load_as(DocumentProfile, package, name, base_dir, "order_profiles")
