"""Settings of a Sage 100 connection: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from comptoir.sdk.documents.config import SalesSettings, Word, checked_templates
from comptoir.sdk.journal.config import JournalConfig
from comptoir.sdk.lists.config import ListSettings, checked_captions

__all__ = ["SageConfig"]

TaxCode = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{1,5}$")]


class SageConfig(JournalConfig, SalesSettings, ListSettings):
    """`header_from`: any file that the customer's Sage 100 Comptabilité exported in Sage's format. Its first lines say
    which version reads our files; needed by the profile `mecg` and by none else. `gescom_from`: the same for orders, a
    file that Sage 100 Gestion commerciale exported; needed by the order profile `chen`. `customer_from`: such a file
    that holds a web customer of the folder, after whose card those of the buyers are made; `chen` needs it for cards.

    `piece_numbers`: `auto` leaves the number of a document empty, `digits` sends `piece_prefix` and the shop's number
    with eight digits. `tax_codes`: rate, or SCHEME/RATE (`oss/19`), -> the folder's tax code; when there are any, a
    rate without one is refused. `accounting_categories`: VAT scheme -> category (1 to 50), which decides on accounts;
    an order under a scheme without one is refused; the one of `domestic` also says which VAT an item has.

    `read_by`: `files` reads exports, and results of the packaged queries that a program beside the server puts there;
    `sql` runs the queries on the server that the connection's credentials name (docs/reading-sql.md).

    `depots`: the names of the depots whose stock is read; none: all of them. `service_families`: items of these
    families are services.
    """

    profile: str = Field(default="mecg", min_length=1)
    header_from: Path | None = None

    gescom_from: Path | None = None
    customer_from: Path | None = None
    souche: int = Field(default=1, ge=1, le=50)
    piece_numbers: Literal["auto", "digits"] = "auto"
    piece_prefix: str = Field(default="WEB", pattern=r"^[A-Z]{0,5}$")
    credit_piece_prefix: str = Field(default="AVW", pattern=r"^[A-Z]{0,5}$", description="The same for credit notes")
    reference: str = Field(default="{number}", max_length=100)
    headings: tuple[str, ...] = Field(
        default=("COMMANDE WEB {order}", "{name}", "{address}", "{postcode} {city}"), max_length=4
    )
    external_reference: str = Field(default="", max_length=100, description="Template of field 79, from version 10 on")
    collective_account: str = Field(default="411000", pattern=r"^[0-9]{3}[0-9A-Z]{0,10}$")
    price_category: int = Field(default=1, ge=1, le=32, description="Of web orders; items have its price")
    shipping_mode: int = Field(default=1, ge=1, le=50, description="Sage's mode d'expédition")
    order_status: Literal[0, 1, 2] = Field(default=0, description="0 entered, 1 confirmed, 2 accepted")
    deposits: bool = Field(default=True, description="What was paid stands on the document as a deposit")
    tax_codes: dict[str, TaxCode] = Field(default_factory=dict)
    accounting_categories: dict[Word, int] = Field(default_factory=lambda: {"domestic": 1})

    read_by: Literal["files", "sql"] = "files"
    depots: tuple[Annotated[str, StringConstraints(min_length=1, max_length=35)], ...] = ()
    service_families: tuple[str, ...] = ()

    def check_sources(self, sources: Sequence[str]) -> None:
        """As for all back offices; and numbers of digits cannot tell two shops apart."""
        super().check_sources(sources)
        if len(sources) > 1 and self.piece_numbers == "digits":
            raise ValueError(f'{", ".join(sources)} may use the same order numbers; set piece_numbers = "auto"')

    @model_validator(mode="after")
    def _prefixes(self) -> Self:
        if self.piece_prefix == self.credit_piece_prefix:
            raise ValueError("piece_prefix and credit_piece_prefix are the same: an order and a refund may be, too")
        return self

    @field_validator("captions")
    @classmethod
    def _known_fields(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        from comptoir_sage.goods import LAYOUTS

        checked_captions(value, LAYOUTS)
        return value

    @field_validator("headings")
    @classmethod
    def _headings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        checked_templates(value)
        return value

    @field_validator("reference", "external_reference")
    @classmethod
    def _reference(cls, value: str) -> str:
        checked_templates((value,))
        return value

    @field_validator("payment_modes")
    @classmethod
    def _modes(cls, value: dict[str, str]) -> dict[str, str]:
        for method, number in value.items():
            if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 30:
                raise ValueError(f"payment_modes.{method}: {number!r} is none of Sage's modes 1 to 30")
        return value

    @field_validator("accounting_categories")
    @classmethod
    def _categories(cls, value: dict[str, int]) -> dict[str, int]:
        for scheme, number in value.items():
            if not 1 <= number <= 50:
                raise ValueError(f"accounting_categories.{scheme}: {number} is none of 1 to 50")
        return value

    @field_validator("tax_codes")
    @classmethod
    def _rates(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            try:
                rate = Decimal(name.rpartition("/")[2])
            except InvalidOperation:
                rate = Decimal(-1)
            if not rate.is_finite() or rate < 0:
                raise ValueError(f"tax_codes: {name!r} is neither a rate nor SCHEME/RATE")
        return value

    def tax_code(self, scheme: str, rate: Decimal) -> str | None:
        """The folder's code for a rate, None where the table has none; of a foreign scheme under its own name only."""
        for name, code in self.tax_codes.items():
            of, _, written = name.rpartition("/")
            if of == scheme and Decimal(written) == rate:
                return code
        return None
