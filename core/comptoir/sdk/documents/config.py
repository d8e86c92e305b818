"""Settings of a connection that takes web orders as documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from comptoir.sdk.protocols import ConnectorConfig

__all__ = ["PLACEHOLDERS", "SalesSettings"]

ItemCode = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z][0-9A-Z._/-]{0,39}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,30}$")]
#: What a template of a reference or heading may name.
PLACEHOLDERS = ("number", "order", "channel", "name", "address", "postcode", "city", "country", "phone", "email")


class SalesSettings(ConnectorConfig):
    """How a back office wants web orders.

    `customers`: `own` sends each buyer's code, `default` sends all orders on `default_customer` ("client divers web"),
    which also takes orders that name nobody. `prices`: with the tax in them (`gross`) or without (`net`).
    """

    order_profile: str = Field(default="", description="A shipped order profile, or NAME.toml; empty: the first one")
    document_prefix: str = Field(default="", description="Before the shop's order number; {CHANNEL} is the connection")
    credit_note_prefix: str = Field(default="AV", description="Before the shop's refund number, as document_prefix")
    customers: Literal["own", "default"] = "own"
    customer_prefix: str | None = Field(default=None, pattern=r"^[A-Z0-9]{0,7}[A-Z]$")
    default_customer: str | None = Field(default=None, pattern=r"^[A-Z0-9]{1,17}$")
    item_codes: dict[str, ItemCode] = Field(default_factory=dict, description="The shop's SKU -> the program's item")
    default_item: ItemCode | None = Field(default="DIVERS", description="For lines without SKU; none: refused")
    shipping_item: ItemCode = "PORT"
    fee_item: ItemCode = "FRAIS"
    discount_item: ItemCode = Field(default="REMISE", description="For charges below zero")
    charge_items: dict[Word, ItemCode] = Field(default_factory=dict, description="Charge kind -> item code")
    rounding_item: ItemCode = "ARRONDI"
    max_rounding: Decimal = Field(default=Decimal("0.02"), ge=0, le=1)
    price_decimals: int = Field(default=4, ge=2, le=8)
    prices: Literal["net", "gross"] = "net"
    depot: str = Field(default="", max_length=35)
    delivery_days: int = Field(default=0, ge=0, le=365, description="Planned delivery, days after the order")
    payment_modes: dict[str, str] = Field(default_factory=dict, description="Shop's method or neutral word -> code")

    def check_sources(self, sources: Sequence[str]) -> None:
        """Two shops may both have an order 1001: with several, their documents need the channel in the number."""
        if len(sources) > 1 and not all("{CHANNEL}" in p for p in (self.document_prefix, self.credit_note_prefix)):
            raise ValueError(
                f'{", ".join(sources)} may use the same order numbers; set document_prefix = "{{CHANNEL}}-" and '
                'credit_note_prefix = "{CHANNEL}-AV"'
            )

    @field_validator("depot")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if any(c in ';"\t\r\n' for c in value) or value.startswith("#"):
            raise ValueError(f"{value!r} holds a separator")
        return value

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.customers == "default" and self.default_customer is None:
            raise ValueError('customers = "default" needs default_customer: the card on which web orders are booked')
        return self


def checked_templates(templates: Sequence[str]) -> None:
    """ValueError when a template names something that is not known of an order."""
    for template in templates:
        for name in re.findall(r"\{([^}]*)\}", template):
            if name not in PLACEHOLDERS:
                raise ValueError(f"{{{name}}} is not known; allowed: {', '.join(PLACEHOLDERS)}")
