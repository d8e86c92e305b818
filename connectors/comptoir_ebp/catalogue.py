"""The sandbox's items and their stock, and the files that EBP exports of them and of its customers.

Shares no code with the reader of exports, so that it can contradict it. Captions are those of the product as far as
the specification has them (gescom-interfaces §2.3, §2.4), the others are made in their style.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["Catalogue", "CatalogueItem", "customers_file"]

_ITEM_CAPTIONS = (
    "Article - Code article", "Article - Libellé", "Article - Code barre", "Article - PV HT", "Article - PV TTC",
    "Article - Taux de TVA", "Article - Code famille", "Article - Code unité", "Article - Gérer en stock",
    "Article - En sommeil", "Article - Poids", "Article - Publier sur le web", "Article - Identifiant unique",
)  # fmt: skip
_STOCK_CAPTIONS = (
    "Stock - Code article", "Stock - Dépôt", "Stock réel", "Stock virtuel", "Quantité réservée",
    "Commandes fournisseurs", "Unité", "Stock - Identifiant unique",
)  # fmt: skip
_CUSTOMER_CAPTIONS = (
    "Client - Code (tiers)", "Client - Nom",
    *(f"Client - Adresse {n} (facturation)" for n in (1, 2, 3, 4)),
    "Client - Code postal (facturation)", "Client - Ville (facturation)", "Client - Code Pays (facturation)",
    "Client - Nom (contact) (facturation)", "Client - Prénom (contact) (facturation)",
    "Client - Téléphone fixe (facturation)", "Client - E-mail (facturation)",
    "Client - Numéro de TVA intracommunautaire", "Client - Siren", "Client - Accepte les e-mailings",
    "Client - En sommeil",
)  # fmt: skip


@dataclass(slots=True)
class CatalogueItem:
    """An item's card. `real` is what is counted at each storehouse; prices are of one unit, the rate in percent."""

    identity: str
    code: str
    name: str
    net: Decimal
    gross: Decimal
    rate: Decimal
    gtin: str = ""
    unit: str = "U"
    family: str = ""
    weight_kg: Decimal | None = None
    stocked: bool = True
    asleep: bool = False
    on_web: bool = True
    real: dict[str, Decimal] = field(default_factory=dict)
    booked: Decimal = Decimal(0)
    incoming: Decimal = Decimal(0)


class Catalogue:
    """What EBP's folder knows of items. The first storehouse is where sales orders book."""

    def __init__(self, storehouses: Sequence[str] = ("Principal",)) -> None:
        self.storehouses = tuple(storehouses)
        self.items: dict[str, CatalogueItem] = {}
        self._made = 0

    def seed(self, rows: Iterable[tuple[str, str, Decimal, Decimal, Decimal, str, Decimal | None]]) -> None:
        """Cards from (code, name, price HT, price TTC, rate, GTIN or '', stock or None for what has none)."""
        for code, name, net, gross, rate, gtin, stock in rows:
            self.add(code, name, net, gross, rate, gtin=gtin, stock=stock)

    def add(
        self,
        code: str,
        name: str,
        net: Decimal,
        gross: Decimal,
        rate: Decimal,
        *,
        gtin: str = "",
        stock: Decimal | None = None,
        unit: str = "U",
        family: str = "",
    ) -> CatalogueItem:
        """A new card; KeyError when the code is taken. Without `stock` its stock is not managed."""
        if code in self.items:
            raise KeyError(f"there is an item {code} already")
        self._made += 1
        item = CatalogueItem(
            f"ART{self._made:06d}", code, name, net, gross, rate, gtin, unit, family, stocked=stock is not None
        )
        if stock is not None:
            item.real[self.storehouses[0]] = stock
        self.items[code] = item
        return item

    def set_price(self, code: str, *, net: Decimal, gross: Decimal) -> None:
        """New prices of one unit, without and with tax."""
        self.items[code].net, self.items[code].gross = net, gross

    def set_stock(self, code: str, quantity: Decimal, storehouse: str | None = None) -> None:
        """What is counted there now (the first storehouse when none is named)."""
        self.items[code].real[storehouse or self.storehouses[0]] = quantity

    def rename(self, code: str, new_code: str) -> None:
        """Gives a card another code; it stays the same card. KeyError when the new one is taken."""
        if new_code in self.items:
            raise KeyError(f"there is an item {new_code} already")
        item = self.items[code]
        # The card keeps its place in the list.
        self.items = {new_code if known == code else known: card for known, card in self.items.items()}
        item.code = new_code

    def book(self, code: str, quantity: Decimal) -> None:
        """A sales order wants so many (or, negative, does not any more); items without stock book nothing."""
        item = self.items.get(code)
        if item is not None and item.stocked:
            item.booked += quantity

    def ship(self, code: str, quantity: Decimal) -> None:
        """Booked goods leave the first storehouse."""
        item = self.items.get(code)
        if item is not None and item.stocked:
            item.booked -= quantity
            item.real[self.storehouses[0]] = item.real.get(self.storehouses[0], Decimal(0)) - quantity

    def items_file(self) -> bytes:
        """The export of items."""
        return _file(
            _ITEM_CAPTIONS,
            (
                (
                    item.code, item.name, item.gtin, _comma(item.net), _comma(item.gross), _comma(item.rate),
                    item.family, item.unit, _oui(item.stocked), _oui(item.asleep),
                    "" if item.weight_kg is None else _comma(item.weight_kg), _oui(item.on_web), item.identity,
                )
                for item in self.items.values()
            ),
        )  # fmt: skip

    def stock_file(self) -> bytes:
        """The export of stock: one row for each item and storehouse where it was ever counted."""
        rows = []
        for item in self.items.values():
            for place, real in item.real.items():
                main = place == self.storehouses[0]
                booked, incoming = (item.booked, item.incoming) if main else (Decimal(0), Decimal(0))
                rows.append(
                    (
                        item.code, place, _comma(real), _comma(real - booked + incoming), _comma(booked),
                        _comma(incoming), item.unit, item.identity,
                    )
                )  # fmt: skip
        return _file(_STOCK_CAPTIONS, rows)


def customers_file(customers: Mapping[str, Mapping[str, str]]) -> bytes:
    """The export of customers: cards by code, their cells by caption."""
    rows = ({**card, _CUSTOMER_CAPTIONS[0]: code} for code, card in customers.items())
    return _file(_CUSTOMER_CAPTIONS, ([row.get(caption, "") for caption in _CUSTOMER_CAPTIONS] for row in rows))


def _file(captions: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(captions)
    writer.writerows(rows)
    return text.getvalue().encode("cp1252", "replace")


def _comma(value: Decimal) -> str:
    return format(value, "f").replace(".", ",")


def _oui(value: bool) -> str:
    return "Oui" if value else "Non"
