"""The small shops of the demo, whose sales Sage and Ciel number and book, and the operator who forgets his import.

What should be in Sage and Ciel is said by the shops, what is there by the stand-ins of the programs, and what a file
that waits holds by the stand-in's own reading of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from comptoir.airflow.demo_checks import Check, Due, due_of, each_once
from comptoir.airflow.demo_store import DemoStore
from comptoir.airflow.demo_story import COUNTERS, PROGRAMS, Happened, Merchant, own_code
from comptoir.app.todo import Todo, todo

__all__ = ["FORGETFUL", "ROUTES", "STOCK_ROUTES", "Counters"]

#: Whose operator forgets to import.
FORGETFUL: Final = "ciel"
#: The routes of the small shops' orders.
ROUTES: Final = tuple(f"{shop}_orders" for shop in COUNTERS)
STOCK_ROUTES: Final = tuple(f"{shop}_stock" for shop in COUNTERS)
_SOLD: Final = (("MUG-001", 2), ("THEIERE", 1))
_GIVEN_BACK: Final = "5.00"
#: What a supplier brings.
_RECEIVED: Final = "THEIERE"
_UNITS: Final = 20
_ZERO: Final = Decimal("0.00")


class Counters:
    """The small shops on one day; `happen` makes their sales, the rest looks at what became of them."""

    def __init__(self, merchant: Merchant, store: DemoStore) -> None:
        self._merchant = merchant
        self._store = store
        self._sales = 0
        self._told: Sequence[Todo] = ()
        self._waited: Mapping[str, Decimal] = {}

    # -- what happens --------------------------------------------------------------------------------------------

    def happen(self) -> Iterator[Happened]:
        """Sales and a refund in each small shop, while nobody is at Ciel's desk."""
        merchant = self._merchant
        merchant.away.add(FORGETFUL)
        yield Happened(FORGETFUL, "away", "the operator forgets to import", "Personne n'importe", "COMMANDES")
        for shop in COUNTERS:
            code = own_code(shop, _RECEIVED)
            merchant.counters[COUNTERS[shop]].program.stock[code] += _UNITS
            yield Happened(COUNTERS[shop], "delivery", f"{_UNITS} pieces come in", f"Réception de {_UNITS}", code)
            numbers = [merchant.sell(shop, own_code(shop, sku), quantity) for sku, quantity in _SOLD]
            for number in numbers:
                yield Happened(shop, "sale", f"a sale that {self.program_of(shop)} will book", "Vente", number)
            given = {"amount": _GIVEN_BACK, "reason": "Geste commercial", "api_refund": False}
            merchant.change(shop, "POST", f"orders/{numbers[0]}/refunds", given)
            yield Happened(shop, "refund", f"{_GIVEN_BACK} are given back", "Geste commercial", numbers[0])

    def sale(self) -> Happened:
        """One more sale in the small shops, by turns."""
        shop = tuple(COUNTERS)[self._sales % len(COUNTERS)]
        sku, quantity = _SOLD[self._sales // len(COUNTERS) % len(_SOLD)]
        self._sales += 1
        number = self._merchant.sell(shop, own_code(shop, sku), quantity)
        return Happened(shop, "sale", f"a sale that {self.program_of(shop)} will book", "Vente", number)

    def come_back(self) -> None:
        """The operator is at his desk again, and imports what waits."""
        self._merchant.away.discard(FORGETFUL)

    # -- what became of it ---------------------------------------------------------------------------------------

    def program_of(self, shop: str) -> str:
        """What the person at the desk calls the program."""
        return PROGRAMS[COUNTERS[shop]]

    def lacking(self) -> list[str]:
        """What neither stands in a program nor waits in a file for it."""
        found = []
        for shop, name in COUNTERS.items():
            held, waiting = self._documents(name), self._waiting(name)
            wanted = self._wanted(shop)
            found += [f"{number} in {name}" for number in wanted if number not in held and number not in waiting]
        return found

    def forgotten(self) -> Sequence[Todo]:
        """What `comptoir todo` says of Ciel's files, once it names each that waits; empty until then."""
        waiting = {path.name for path in self._merchant.counters[FORGETFUL].waiting()}
        items = [item for item in todo(self._merchant.config) if (item.kind, item.connection) == ("batch", FORGETFUL)]
        if not waiting or not all(any(name in item.what for item in items) for name in waiting):
            return ()
        self._told, self._waited = items, self._waiting(FORGETFUL)
        return items

    def imported(self) -> bool:
        """Every document is in its program, and every word of theirs has come back."""
        return (
            not self.lacking()
            and not any(desk.waiting() for desk in self._merchant.counters.values())
            and all(
                self._store.acknowledged(name) == len(self._merchant.counters[name].program.documents)
                for name in COUNTERS.values()
            )
        )

    def checks(self, parked: Mapping[str, set[str]]) -> Iterator[Check]:
        """The shops against Sage and Ciel. `parked`: orders in quarantine, by shop."""
        for shop, name in COUNTERS.items():
            program = self.program_of(shop)
            due = due_of(self._merchant, shop, parked.get(shop, set()))
            wanted = self._numbers(due)
            held = self._documents(name)
            yield each_once(f"every paid order and refund of {shop} is in {program} once, to the cent", wanted, held)
            yield self._nothing_else(shop, due, held)
        yield self._stock()
        yield self._words()
        yield self._noticed()

    def _wanted(self, shop: str) -> dict[str, Decimal]:
        return self._numbers(due_of(self._merchant, shop, set()))

    def _numbers(self, due: Due) -> dict[str, Decimal]:
        """What must be there, by the number that the program keeps."""
        refunds = {f"AV{number}": amount for number, amount in due.refunds.items()}
        return {sale.number: sale.total for sale in due.paid} | refunds

    def _documents(self, name: str) -> dict[str, list[Decimal]]:
        """The totals of a program's documents, by the shop's numbers."""
        found: dict[str, list[Decimal]] = {}
        for document in self._merchant.counters[name].program.documents:
            found.setdefault(document.web, []).append(document.total)
        return found

    def _waiting(self, name: str) -> dict[str, Decimal]:
        """What the program would read in the files that wait for it."""
        desk = self._merchant.counters[name]
        return {
            document.web: document.total
            for path in desk.waiting()
            for document in desk.program.orders(path.name, path.read_bytes())
        }

    def _nothing_else(self, shop: str, due: Due, held: Mapping[str, Any]) -> Check:
        known = {sale.number for sale in (*due.paid, *due.awaited)} | set(self._numbers(due))
        desk = self._merchant.counters[COUNTERS[shop]]
        refused = [f"{name}: {why}" for outcome in desk.program.outcomes for name, why in outcome.refused]
        others = sorted(set(held) - known)
        problems = [*others, *refused, *(f"{name}: {why}" for name, why in desk.unreadable)]
        figures = f"{len(desk.program.outcomes)} files, {len(desk.program.documents)} documents"
        return Check(
            f"{self.program_of(shop)} could read and took everything, and nothing else is there",
            not problems and bool(desk.program.outcomes),
            "; ".join([figures, *problems]),
        )

    def stock_is_right(self) -> bool:
        """Whether `checks` would find the stock right at this moment."""
        return self._stock().ok

    def _stock(self) -> Check:
        """Each small shop offers what its program counts, less what that has reserved."""
        wrong, compared = [], 0
        for shop, name in COUNTERS.items():
            program = self._merchant.counters[name].program
            for code in self._merchant.stocked(shop):
                shown = self._merchant.shown(shop, "products", self._merchant.product(shop, code))["stock_quantity"]
                free = max(program.available(code), _ZERO)
                compared += 1
                if shown != free:
                    wrong.append(f"{code} in {shop}: {shown} instead of {free}")
        return Check(
            "what comes in and what is sold in Sage and Ciel is what their shops offer",
            not wrong and compared > 0,
            "; ".join(wrong) or f"{compared} stock levels compared",
        )

    def _words(self) -> Check:
        counts = {
            name: (self._store.acknowledged(name), len(self._merchant.counters[name].program.documents))
            for name in COUNTERS.values()
        }
        return Check(
            "Sage's list and Ciel's .BAK came back for every document",
            all(heard == there > 0 for heard, there in counts.values()),
            ", ".join(f"{PROGRAMS[name]} {heard} of {there}" for name, (heard, there) in counts.items()),
        )

    def _noticed(self) -> Check:
        """The euros of the list are those of the shop's orders and refunds that were in the files."""
        shop = next(shop for shop, name in COUNTERS.items() if name == FORGETFUL)
        due = due_of(self._merchant, shop, set())
        known = self._numbers(due) | {sale.number: sale.total for sale in due.awaited}
        at_stake = sum((known.get(number, _ZERO) for number in self._waited), _ZERO)
        told = sum((item.amount for item in self._told if item.amount is not None), _ZERO)
        after = [item for item in todo(self._merchant.config) if item.connection == FORGETFUL]
        return Check(
            "an import that was forgotten is on the list with its euros, and no more once it was made",
            bool(self._told) and told == at_stake > 0 and not after,
            f"{len(self._told)} files, {told} EUR on the list, {at_stake} EUR in {shop}; {len(after)} left",
        )
