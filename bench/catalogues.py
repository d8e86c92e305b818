"""Two catalogues of one merchant as they really are: mostly alike, with the noise of years. Which is which is known."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["KINDS", "Catalogues", "Entry"]

#: What may have become of an item on the other side -> its share of all, in thousandths.
KINDS = {
    "the same": 700,
    "SKU in other case or with spaces": 60,
    "SKU in other case, no GTIN": 40,
    "SKU with other punctuation": 60,
    "SKU with other punctuation, no GTIN": 30,
    "GTIN on one side only": 50,
    "another SKU, the same GTIN": 25,
    "the same SKU, another GTIN": 5,
    "no GTIN anywhere": 3,
    "two there have its SKU": 1,
    "two here have its SKU": 1,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An item as one side writes it. `truth` is the same on both sides for the same thing."""

    truth: int
    sku: str
    gtin: str
    name: str
    kind: str


class Catalogues:
    """`size` items here and about as many there; `only` on each side are unknown to the other.

    Ten of those have a SKU that means something else on the other side, without any GTIN that could tell.
    """

    def __init__(self, size: int, *, only: int = 500, seed: int = 7) -> None:
        self._dice = random.Random(seed)
        self.here: list[Entry] = []
        self.there: list[Entry] = []
        common = size - only
        kinds = self._dice.choices(list(KINDS), list(KINDS.values()), k=common)
        for number, kind in enumerate(kinds):
            self._both(number, kind)
        for number in range(common, common + only):
            reused = number < common + 10
            self.here.append(self._plain(number, "only here", gtin=not reused))
            other = self._plain(number + only, "only there", gtin=not reused)
            self.there.append(replace(other, sku=self.here[-1].sku) if reused else other)
        self._dice.shuffle(self.there)

    def _plain(self, number: int, kind: str, *, gtin: bool = True) -> Entry:
        family = ("MUG", "TEE", "BOL", "CAR-FR", "X2")[number % 5]
        name = f"{('Mug émaillé', 'T-shirt', 'Bol bleu', 'Carnet', 'Lampe')[number % 5]} n° {number}"
        return Entry(number, f"{family}-{number:05d}", _gtin(number) if gtin else "", name, kind)

    def _both(self, number: int, kind: str) -> None:
        dice = self._dice
        here = self._plain(number, kind)
        there = replace(here, name=here.name.upper())
        match kind:
            case "SKU in other case or with spaces":
                there = replace(there, sku=dice.choice((here.sku.lower(), f" {here.sku}", f"{here.sku.title()}  ")))
            case "SKU in other case, no GTIN":
                here, there = replace(here, gtin=""), replace(there, gtin="", sku=here.sku.lower())
            case "SKU with other punctuation" | "SKU with other punctuation, no GTIN":
                there = replace(there, sku=here.sku.replace("-", dice.choice((" ", "_", ".", ""))))
                if kind.endswith("no GTIN"):
                    here, there = replace(here, gtin=""), replace(there, gtin="")
            case "GTIN on one side only":
                if dice.random() < 0.5:
                    here = replace(here, gtin="")
                else:
                    there = replace(there, gtin="")
            case "another SKU, the same GTIN":
                there = replace(there, sku=f"NEW{number:06d}")
            case "the same SKU, another GTIN":
                there = replace(there, gtin=_gtin(900_000 + number))
            case "no GTIN anywhere":
                here, there = replace(here, gtin=""), replace(there, gtin="")
        self.here.append(here)
        self.there.append(there)
        if kind == "two there have its SKU":
            self.there.append(replace(there, truth=-1 - number, gtin="", name=f"{there.name} BIS"))
        elif kind == "two here have its SKU":
            self.here.append(replace(here, truth=-1 - number, sku=here.sku.lower(), gtin="", name=f"{here.name} bis"))

    def pairs(self) -> Iterator[tuple[Entry, Entry]]:
        """What is the same on both sides."""
        there = {entry.truth: entry for entry in self.there}
        return ((entry, there[entry.truth]) for entry in self.here if entry.truth in there)


def _gtin(number: int) -> str:
    """A GTIN-13 with its check digit."""
    digits = f"376{number:09d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"
