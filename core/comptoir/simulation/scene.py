"""What is peculiar about the merchant of one seed: shops, clocks, what stands before them, who takes his orders.

Everything is drawn from the seed, so that a few hundred seeds meet each combination that matters.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from comptoir.simulation.accountant import PROGRAMS, TAKES

__all__ = ["Scene"]

#: Beginnings: before the night in which an hour is missing, before the one that has an hour twice, and neither.
_STARTS = (
    datetime(2026, 3, 28, 6, 0, tzinfo=UTC),
    datetime(2026, 10, 24, 6, 0, tzinfo=UTC),
    datetime(2026, 6, 10, 6, 0, tzinfo=UTC),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One merchant.

    `history`: orders from before the cutover. `page_cap`: a plugin gives so many rows a page at most, and no count (0:
    none does). `ignores`: what a cache before the shop drops from the address of a list ("": nothing), `offset` for
    good, `offset` and `page` while things go wrong. `stale`: seconds for which that cache repeats an answer. Clocks:
    seconds by which the shop, our machines and the store differ from the time of day. `hooks_lost`: the share of
    webhooks that never arrive. `program`: what the accountant of the shop that the hub books works with, and `takes`:
    what he does with a file that he has imported.
    """

    start: datetime
    cruelty: float
    modern: bool
    history: int
    page_cap: int
    ignores: str
    stale: float
    shop_skew: float
    host_skews: tuple[float, ...]
    store_skew: float
    hooks_lost: float
    depot: bool
    books: bool
    back: bool
    program: str
    takes: str

    @classmethod
    def of(cls, seed: int) -> Scene:
        """The scene of a seed."""
        dice = random.Random(seed * 7919 + 13)
        # Most seeds have some of everything, some are quiet and some are cruel.
        cruelty = dice.choice((0.3, 1.0, 1.0, 2.0))
        history = dice.choice((0, 0, 0, 0, 0, 120, 230))
        ignores = dice.choice(("offset", "all", "all", "")) if history else dice.choice(("", "", "", "offset"))
        skewed = dice.random() < 0.5
        return cls(
            start=dice.choice(_STARTS),
            cruelty=cruelty,
            modern=dice.random() < 0.7,
            history=history,
            page_cap=0 if history else dice.choice((0, 0, 3, 7)),
            ignores=ignores,
            stale=dice.choice((0.0, 0.0, 0.0, 20.0)),
            shop_skew=dice.uniform(-90, 90) if skewed else 0.0,
            host_skews=(dice.uniform(-90, 90), dice.uniform(-90, 90)) if skewed else (0.0, 0.0),
            store_skew=dice.uniform(-30, 30) if skewed else 0.0,
            hooks_lost=dice.choice((0.2, 0.2, 1.0)),
            depot=dice.random() < 0.5,
            books=dice.random() < 0.3,
            back=dice.random() < 0.5,
            program=dice.choice(sorted(PROGRAMS)),
            takes=dice.choice(TAKES),
        )

    @property
    def config(self) -> str:
        """The installation's comptoir.toml."""
        parts = [_COMMON.format(cutover=self.start.date(), targets='"gesco", "depot"' if self.depot else '"gesco"')]
        if self.depot:
            parts.append(_DEPOT)
        if self.books:
            parts.append(_BOOKS.format(cutover=self.start.date(), program=self._books_by))
        if self.back:
            parts.append(_BACK)
        return "".join(parts)

    @property
    def _books_by(self) -> str:
        program = PROGRAMS[self.program]
        return f'connector = "{program.connector}"\n{program.settings}'.rstrip()

    @property
    def routes(self) -> tuple[str, ...]:
        """The installation's routes, in the order in which a schedule would run them."""
        found = ["orders", "customers", "items", "stock"]
        return (*found, *(["books"] if self.books else []), *(["customers_back"] if self.back else []))


_COMMON = """\
[company]
name = "Maison Simulée"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "gesco"
currency = "EUR"
prices_include_tax = true

[connections.gesco]
connector = "ebp"
folder = "exchange"
item_identity = "Article - Identifiant unique"
quiet_seconds = 0

[routes.orders]
entity = "order"
from = "boutique"
to = [{targets}]
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
triggers = ["webhook"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]
triggers = ["webhook"]

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
triggers = ["webhook"]
"""
_DEPOT = """
[connections.depot]
connector = "depot"
"""
_BOOKS = """
[connections.atelier]
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "self"
currency = "EUR"
prices_include_tax = true

[connections.compta]
{program}
folder = "books"

[routes.books]
entity = "journal_entry"
from = "hub"
to = ["compta"]
triggers = ["webhook"]
"""
_BACK = """
[routes.customers_back]
entity = "customer"
from = "gesco"
to = ["boutique"]
"""
