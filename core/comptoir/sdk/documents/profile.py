"""Document profiles: the layout in which one product takes web orders, as data.

Like the profiles of entry files (`comptoir.sdk.journal.profile`): a TOML file below `order_profiles/` of a connector's
package, or the merchant's own beside `comptoir.toml`; what nobody has confirmed stands in `unconfirmed`, and until
`[witnessed]` is filled in the profile says "never imported".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from comptoir.sdk.journal.profile import Profile, load_as, options_of

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


class DocumentProfile(Profile):
    """What one product reads of documents. `codes`: whether its item codes are in capitals. `credit_notes` and
    `customers` say how it takes those; without such a table it takes none, and they are refused with a sentence."""

    suffix: str = Field(default=".TXT", pattern=r"^\.[A-Z]{3}$")
    codes: Literal["capitals", "plain"] = "plain"
    limits: DocumentLimits
    credit_notes: dict[str, Any] | None = None
    customers: dict[str, Any] | None = None

    def of_credit_notes(self, model: type[_T]) -> _T | None:
        """The table `[credit_notes]`, None where the program takes none; ConfigError as `parsed`."""
        return self._table(model, self.credit_notes, "credit_notes")

    def of_customers(self, model: type[_T]) -> _T | None:
        """The table `[customers]`, None where the program takes none; ConfigError as `parsed`."""
        return self._table(model, self.customers, "customers")

    def _table(self, model: type[_T], table: dict[str, Any] | None, name: str) -> _T | None:
        return None if table is None else options_of(model, table, self.source, name)


def load_document_profile(package: str, name: str, base_dir: Path) -> DocumentProfile:
    """The document profile `name` of a package, or the merchant's own file (`NAME.toml`); ConfigError when it is
    missing or wrong."""
    return load_as(DocumentProfile, package, name, base_dir, "order_profiles")
