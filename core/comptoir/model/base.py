"""What every canonical model has in common: frozen, typed, NFC text, privacy tags.

Conventions come from the canonical model's specification, section 2: identity is a UUIDv7 of the hub, money is
`Decimal` with an explicit ISO 4217 currency, times are aware, text is NFC, corrections are new documents.
"""

from __future__ import annotations

import enum
import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticKnownError, SchemaValidator, ValidationError, core_schema

from comptoir.model.currencies import known_currency

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = [
    "Amount",
    "Canonical",
    "Code",
    "Country",
    "Currency",
    "Extra",
    "Instant",
    "Percent",
    "Personal",
    "PersonalCode",
    "Privacy",
    "Quantity",
    "Text",
    "UnitPrice",
    "nfc",
    "privacy_of",
]


class Privacy(enum.StrEnum):
    """What a field may reveal; drives masking, retention and erasure. Untagged fields are `none`."""

    NONE = "none"
    PERSONAL = "personal"
    SENSITIVE = "sensitive"
    SECRET = "secret"  # noqa: S105 - the name of a tag, not a password


def nfc(text: str) -> str:
    """The text in Unicode normal form C (two spellings of one accent are one text).

    ValueError for the NUL character, which no database and no file takes.
    """
    if "\x00" in text:
        raise ValueError("the text holds a NUL character")
    return text if text.isascii() else unicodedata.normalize("NFC", text)


#: How deeply untouched source fields may be nested.
_DEPTH = 32


def _plain(value: dict[str, object]) -> dict[str, object]:
    """The value itself when it is plain JSON that can be stored; ValueError otherwise."""
    _check_plain(value, _DEPTH)
    return value


def _check_plain(value: object, depth: int) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("a text holds a NUL character")
        if not value.isascii():
            value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    elif isinstance(value, (dict, list, tuple)):
        if depth == 0:
            raise ValueError(f"it is nested more than {_DEPTH} levels deep")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_plain(inner, depth - 1)
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ValueError("a key is no text")
                _check_plain(key, 0)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is not finite")
    elif isinstance(value, int):
        if value.bit_length() > 64:
            raise ValueError("a number is too large")
    elif value is not None:
        raise ValueError(f"a {type(value).__name__} is no JSON")


@dataclass(frozen=True, slots=True)
class Exact:
    """Bounds of a Decimal, as pydantic's own `max_digits` and `decimal_places`, in a third of the time.

    An order has some forty amounts. Nearly all of them are so short when written out that no bound can be crossed; only
    the others are taken apart digit by digit. NaN and infinities are no Decimal here.
    """

    max_digits: int
    decimal_places: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_within(self), core_schema.decimal_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self.bounded())

    def bounded(self) -> CoreSchema:
        """What pydantic makes of the same bounds."""
        return core_schema.decimal_schema(max_digits=self.max_digits, decimal_places=self.decimal_places)


@lru_cache(maxsize=64)
def _within(bounds: Exact) -> Callable[[Decimal], Decimal]:
    """The check of a finite Decimal against its bounds; its faults are pydantic's own."""
    bounded = SchemaValidator(bounds.bounded()).validate_python
    longest, places = bounds.max_digits - bounds.decimal_places, bounds.decimal_places
    # So many characters hold at most `decimal_places` behind "0." and no whole part that is too long.
    short = min(places + 2, longest)

    def check(value: Decimal) -> Decimal:
        written = str(value)
        if len(written) > short or "E" in written:
            whole, _, behind = written.partition(".")
            if len(whole) <= longest and len(behind) <= places and "E" not in written:
                return value
            try:
                bounded(value)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                raise PydanticKnownError(fault["type"], fault.get("ctx")) from None  # type: ignore[arg-type]
        return value

    return check


#: Human text. Limits and charset belong to the target's capability, not to the model.
Text = Annotated[str, AfterValidator(nfc)]
#: Human text that reveals a person.
Personal = Annotated[str, AfterValidator(nfc), Field(json_schema_extra={"privacy": Privacy.PERSONAL})]
#: A machine's key: SKU, number, external id. Never empty: an empty key would match everything.
Code = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(nfc)]
#: A key that leads to a person: a parcel's number, a pickup point.
PersonalCode = Annotated[Code, Field(json_schema_extra={"privacy": Privacy.PERSONAL})]
#: ISO 4217. There is no default currency anywhere.
Currency = Annotated[str, AfterValidator(known_currency)]
#: ISO 3166-1 alpha-2.
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
#: An amount in the document's currency, at most eight decimals as the source gave them.
Amount = Annotated[Decimal, Exact(max_digits=20, decimal_places=8)]
#: A price of one unit; sources give up to ten decimals.
UnitPrice = Annotated[Decimal, Exact(max_digits=24, decimal_places=10)]
Quantity = Annotated[Decimal, Exact(max_digits=18, decimal_places=6)]
#: A rate in percent: 20 means 20 %.
Percent = Annotated[Decimal, Exact(max_digits=9, decimal_places=5)]
#: Source fields passed through untouched: plain JSON. Personal until declared otherwise.
Extra = Annotated[dict[str, object], AfterValidator(_plain), Field(json_schema_extra={"privacy": Privacy.PERSONAL})]
#: An aware moment.
Instant = AwareDatetime


class Canonical(BaseModel):
    """Base of all canonical models: immutable, closed (an unknown field is an error)."""

    # Built when first used: a run uses a handful of the models, and building all of them took a tenth of a second.
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_enum_values=False, ser_json_inf_nan="constants", defer_build=True
    )


def privacy_of(model: type[BaseModel]) -> dict[str, Privacy]:
    """The privacy tag of each field of a model, `none` where nothing is declared."""
    return {name: _tag(field) or Privacy.NONE for name, field in model.model_fields.items()}


def _tag(node: Any) -> Privacy | None:
    """The first privacy tag found in a field, its metadata or its (nested) annotation."""
    extra = getattr(node, "json_schema_extra", None)
    if isinstance(extra, dict) and "privacy" in extra:
        return Privacy(str(extra["privacy"]))
    nested = [*getattr(node, "metadata", ()), getattr(node, "annotation", None), *get_args(node)]
    nested += getattr(node, "__metadata__", ())
    return next((tag for tag in map(_tag, filter(None, nested)) if tag), None)
