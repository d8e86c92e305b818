"""Products, variants and their stock, as a Vendure shop keeps them, mistakes that it allows included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from comptoir_vendure._sandbox.graphql import GraphQLError

__all__ = ["PLACES", "Goods", "second"]

_INT = 2**31
#: Names by id.
PLACES = {"1": "Default Stock Location"}
_RATES = {"Normal": 20, "Réduit": 5.5}


def second(moment: datetime) -> str:
    """A date as SQLite keeps it: whole seconds, written with milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Goods:
    """The catalogue. `now` says the time that rows are stamped with."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.products: dict[str, dict[str, Any]] = {}
        self.variants: dict[str, dict[str, Any]] = {}
        self.places = dict(PLACES)
        #: Variants that a plugin of the shop does not let be changed, and its words.
        self.refuses: dict[str, str] = {}
        self._levels = 0

    # --- the shop's own back office ---------------------------------------------------------------------------

    def product(self, name: str) -> str:
        """A new product; its id."""
        number = str(len(self.products) + 1)
        self.products[number] = {"id": number, "name": name, "enabled": True, "updatedAt": self._stamp()}
        return number

    def variant(
        self,
        product: str,
        sku: str,
        name: str,
        price: int,
        *,
        tax: str = "Normal",
        stock: int = 50,
        ean: str | None = None,
    ) -> str:
        """A new variant at a price in the catalogue's basis; its id."""
        number = str(max(map(int, self.variants), default=0) + 1)
        self.variants[number] = {
            "id": number,
            "createdAt": self._stamp(),
            "updatedAt": self._stamp(),
            "sku": sku,
            "name": name,
            "enabled": True,
            "trackInventory": "INHERIT",
            "price": price,
            "tax": tax,
            "options": [],
            "customFields": {"ean": ean or None},
            "levels": {},
            "product": product,
            "note": "kept",
        }
        self.put_stock(number, "1", stock)
        return number

    def put_stock(self, number: str, place: str, on_hand: int) -> None:
        """What is counted at a place."""
        levels = self.variants[number]["levels"]
        if place not in levels:
            self._levels += 1
            levels[place] = {"id": str(self._levels), "stockOnHand": 0, "stockAllocated": 0}
        levels[place]["stockOnHand"] = on_hand

    def edit(self, number: str, **values: Any) -> None:
        """The merchant changes a variant by hand: its date moves, also for its stock (observed)."""
        row = self.variants[number]
        if "on_hand" in values:
            self.put_stock(number, "1", values.pop("on_hand"))
        row |= {**values, "updatedAt": self._stamp()}

    def edit_product(self, number: str, **values: Any) -> None:
        """A product changes: its variants' dates stay as they are (observed)."""
        self.products[number] |= {**values, "updatedAt": self._stamp()}

    def delete(self, number: str) -> None:
        """A variant is deleted: lists do not give it any more, and nothing else shows it."""
        del self.variants[number]

    def allocate(self, number: str, pieces: int) -> None:
        """An open order holds pieces, or (negative) gives them back. No date moves (observed)."""
        self.variants[number]["levels"]["1"]["stockAllocated"] += pieces

    def fulfil(self, number: str, pieces: int) -> None:
        """Pieces leave. No date moves (observed)."""
        level = self.variants[number]["levels"]["1"]
        level["stockAllocated"] -= pieces
        level["stockOnHand"] -= pieces

    def _stamp(self) -> str:
        return second(self._now())

    # --- what is seen from outside ----------------------------------------------------------------------------

    def rate(self, number: str) -> float:
        """The rate of a variant's tax category in percent."""
        return _RATES[self.variants[number]["tax"]]

    def shown(self, number: str) -> dict[str, Any]:
        """A variant as the Admin API shows it."""
        row = self.variants[number]
        product = self.products[row["product"]]
        rate = self.rate(number)
        levels = [
            {**level, "stockLocation": {"id": place, "name": self.places[place]}, "stockLocationId": place}
            for place, level in row["levels"].items()
        ]
        known = {k: v for k, v in row.items() if k not in ("levels", "product", "price", "tax", "note")}
        return {
            **known,
            "currencyCode": "EUR",
            "prices": [{"currencyCode": "EUR", "price": row["price"]}],
            "taxCategory": {"name": row["tax"]},
            "taxRateApplied": {"name": f"TVA {rate:g} %", "value": rate},
            "stockLevels": levels,
            "product": product,
            "productId": product["id"],
        }

    # --- mutation ---------------------------------------------------------------------------------------------

    def update(self, inputs: Any) -> list[dict[str, Any]]:
        """`updateProductVariants`: all of them or, when one is at fault, none."""
        for at, given in enumerate(inputs):
            for level in given.get("stockLevels") or ():
                _whole(level["stockOnHand"], f"i[{at}].stockLevels[0].stockOnHand")
        for given in inputs:
            number = str(given["id"])
            if number not in self.variants:
                shown = number if number.isdigit() else "-1"
                raise GraphQLError(
                    f'No ProductVariant with the id "{shown}" could be found', "ENTITY_NOT_FOUND",
                    path="updateProductVariants",
                )  # fmt: skip
            if any(str(level["stockLocationId"]) not in self.places for level in given.get("stockLevels") or ()):
                raise GraphQLError("FOREIGN KEY constraint failed", path="updateProductVariants")
            if abs(given.get("price") or 0) >= _INT:
                # As on PostgreSQL; SQLite keeps it.
                words = f'value "{given["price"]}" is out of range for type integer'
                raise GraphQLError(words, path="updateProductVariants")
            if number in self.refuses:
                raise GraphQLError(self.refuses[number], "INTERNAL_SERVER_ERROR", path="updateProductVariants")
        for given in inputs:
            self._set(str(given["id"]), given)
        return [self.shown(str(given["id"])) for given in inputs]

    def _set(self, number: str, given: Mapping[str, Any]) -> None:
        row = self.variants[number]
        # Nothing is checked: a negative price and an empty SKU are kept (observed).
        row |= {
            name: given[name] for name in ("price", "sku", "enabled", "trackInventory") if given.get(name) is not None
        }
        for translation in given.get("translations") or ():
            row["name"] = translation["name"]
        for level in given.get("stockLevels") or ():
            self.put_stock(number, str(level["stockLocationId"]), level["stockOnHand"])
        row["updatedAt"] = self._stamp()


def _whole(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise GraphQLError(
            f'Variable "$input" got invalid value {value} at "{where}"; '
            f"Int cannot represent non-integer value: {value}",
            "BAD_USER_INPUT",
        )
    if not -_INT <= value < _INT:
        raise GraphQLError(
            f'Variable "$input" got invalid value {value} at "{where}"; '
            f"Int cannot represent non 32-bit signed integer value: {value}",
            "BAD_USER_INPUT",
        )
