"""The catalogue: products, their sellable variants (items), prices and listings."""

from __future__ import annotations

import enum
from datetime import date

from pydantic import Field

from comptoir.model.base import (
    Amount,
    Canonical,
    Code,
    Currency,
    Extra,
    Instant,
    Percent,
    Quantity,
    Text,
    UnitPrice,
)
from comptoir.model.money import PriceBasis

__all__ = [
    "UNIT_PIECE",
    "AttributeDef",
    "AttributeValue",
    "Category",
    "Item",
    "ItemKind",
    "ItemState",
    "KitComponent",
    "Listing",
    "Media",
    "Price",
    "PriceList",
    "Product",
]

#: UN/ECE Recommendation 20: one piece.
UNIT_PIECE = "H87"


class ItemKind(enum.StrEnum):
    STOCK = "stock"
    SERVICE = "service"
    GIFT_CARD = "gift_card"
    KIT = "kit"


class ItemState(enum.StrEnum):
    ACTIVE = "active"
    DRAFT = "draft"
    RETIRED = "retired"


class AttributeDef(Canonical):
    """A property that products may have."""

    code: Code
    label: Text


class AttributeValue(Canonical):
    """One value of one property."""

    attribute: Text
    value: Text


class Media(Canonical):
    """A picture or file, known by its content."""

    content_hash: Code | None = None
    url: str | None = None
    role: Code = "image"
    position: int = 0


class Category(Canonical):
    external_id: Code
    name: Text
    parent: Code | None = None


class KitComponent(Canonical):
    """What a kit is made of."""

    parent_sku: Code
    component_sku: Code
    quantity: Quantity


class Price(Canonical):
    """A price of one item in one price list, optionally dated."""

    price_list: Code
    amount: UnitPrice
    currency: Currency
    basis: PriceBasis
    minimum_quantity: Quantity | None = None
    valid_from: date | None = None
    valid_to: date | None = None


class PriceList(Canonical):
    code: Code
    currency: Currency
    basis: PriceBasis


class Item(Canonical):
    """A variant that can be bought: the unit of stock. SKU and GTIN are keys to match by, not identity."""

    external_id: Code
    product_id: Code | None = Field(default=None, description="The product it is a variant of, when it has one")
    sku: Code | None = None
    gtins: tuple[Code, ...] = ()
    name: Text
    kind: ItemKind = ItemKind.STOCK
    state: ItemState = ItemState.ACTIVE
    unit: Code = UNIT_PIECE
    options: tuple[AttributeValue, ...] = ()
    weight_kg: Quantity | None = None
    customs_code: Code | None = None
    tax_category: Text | None = None
    tax_rate: Percent | None = None
    prices: tuple[Price, ...] = ()
    source_stock: Quantity | None = None
    modified_at: Instant | None = None
    extra: Extra = Field(default_factory=dict)


class Product(Canonical):
    """What groups variants on a shop page."""

    external_id: Code
    name: Text
    description: Text | None = None
    variants: tuple[Item, ...] = ()
    categories: tuple[Category, ...] = ()
    media: tuple[Media, ...] = ()


class Listing(Canonical):
    """An item offered on a channel."""

    channel: Code
    sku: Code
    state: Code
    title: Text
    price: Amount | None = None
    published_quantity: Quantity | None = None
    remote_errors: tuple[Text, ...] = ()
