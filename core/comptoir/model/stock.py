"""Stock: what is counted where, and what is published of it."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from comptoir.model.base import Canonical, Code, Country, Extra, Instant, Quantity
from comptoir.model.item import UNIT_PIECE

__all__ = ["Location", "StockLevel"]


class Location(Canonical):
    """A place where goods are: a warehouse, a shop, a supplier's store."""

    code: Code
    country: Country | None = None
    sells_to: tuple[Code, ...] = ()


class StockLevel(Canonical):
    """What one connection counts of one item at one place.

    `reserved` is what that system itself has promised to its own orders; `incoming` what it has ordered. Quantities
    are in `unit` (UN/ECE Recommendation 20) and may be negative: some back offices sell what they have not booked in.
    """

    external_id: Code
    item_id: Code = Field(description="The item's external id on the same connection")
    sku: Code | None = None
    location: Code = "main"
    on_hand: Quantity
    reserved: Quantity = Decimal(0)
    incoming: Quantity | None = None
    unit: Code = UNIT_PIECE
    counted_at: Instant | None = None
    extra: Extra = Field(default_factory=dict)
