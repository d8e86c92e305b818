"""What people do: buyers and the merchant in the shops, the operator at the back office; one act at a time."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from comptoir.simulation.shopfront import Shopfront
from comptoir.simulation.world import World
from comptoir.store.audit import Audit

__all__ = ["Day"]


class Day:
    """The acts of one merchant's days."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        #: Texts that name a buyer: they may stand in the tables of personal data only.
        self.names: list[str] = []
        #: Cards that the operator corrected once they were kept both ways, by the customer's number in the shop.
        self.corrected: dict[str, str] = {}
        self.fronts = {name: Shopfront(world, name, self.names) for name in world.shops}
        self._to_ship: dict[str, list[tuple[str, Decimal]]] = {}
        self._cancelled: set[str] = set()
        shop = self.fronts["boutique"]
        self._acts: list[tuple[int, Callable[[], object]]] = [
            (8, shop.order),
            (2, shop.late_order),
            (3, shop.pay),
            (2, shop.complete),
            (1, shop.cancel),
            (2, shop.refund),
            (3, shop.edit),
            (1, shop.trash),
            (3, shop.customer),
            (1, shop.sell_at_the_till),
            (2, self._price),
            (3, self._count),
            (1, self._rename),
            (3, self._import),
            (3, self._export),
            (2, self._ship),
            (1, self._cancel),
        ]
        if world.scene.history:
            self._acts.append((6, shop.forget_old))
        if world.scene.books:
            other = self.fronts["atelier"]
            self._acts += [
                (6, other.order), (1, other.late_order), (2, other.pay), (1, other.complete), (1, other.cancel),
                (3, other.refund), (1, other.edit), (2, self._book),
            ]  # fmt: skip
        if world.scene.back:
            self._acts.append((3, self._card))

    def act(self) -> None:
        """One of the things that happen in an hour."""
        weights = [weight for weight, _ in self._acts]
        self._dice.choices([act for _, act in self._acts], weights)[0]()

    # -- the back office -----------------------------------------------------------------------------------------

    def _code(self) -> str:
        code: str = self._dice.choice(sorted(self._world.books.catalogue.items))
        return code

    def _price(self) -> None:
        code = self._code()
        item = self._world.books.catalogue.items[code]
        gross = (item.gross * Decimal(self._dice.randrange(80, 125)) / 100).quantize(Decimal("0.01"))
        net = (gross / Decimal("1.2")).quantize(Decimal("0.01"))
        self._world.books.catalogue.set_price(code, net=net, gross=gross)
        self._world.tell(f"EBP: {code} costs {gross}")

    def _count(self) -> None:
        code, quantity = self._code(), self._dice.randrange(0, 60)
        self._world.books.catalogue.set_stock(code, Decimal(quantity))
        self._world.tell(f"EBP: {quantity} of {code} are counted")

    def _rename(self) -> None:
        code = self._code()
        new = f"{code.split('.')[0]}.{self._dice.randrange(1000)}"
        if new not in self._world.books.catalogue.items:
            self._world.books.catalogue.rename(code, new)
            self._world.renamed = True
            self._world.tell(f"EBP: {code} is called {new} now")

    def _import(self) -> None:
        done = self._world.office.step(report=self._dice.random() < 0.8)
        if done:
            self._world.tell(f"EBP imports {', '.join(done)}")

    def _book(self) -> None:
        done = self._world.accountant.step()
        if done:
            self._world.tell(f"the accountant imports {', '.join(done)}")

    def _export(self) -> None:
        self._world.office.export()
        self._world.tell("EBP exports")

    def _ship(self) -> None:
        """An order leaves the storehouse, whole or in part."""
        orders = [d for d in self._world.books.documents if d.kind == "BC" and d.number not in self._cancelled]
        if not orders:
            return
        chosen = self._dice.choice(orders)
        left = self._to_ship.setdefault(chosen.number, [(code, n) for code, n, _, _ in chosen.lines])
        if not left:
            return
        count = self._dice.randrange(1, len(left) + 1)
        for code, quantity in left[:count]:
            self._world.books.catalogue.ship(code, quantity)
        del left[:count]
        self._world.tell(f"EBP ships {count} lines of {chosen.number}, {len(left)} are left")

    def _cancel(self) -> None:
        """The operator cancels an order by hand, as a parked one asks him to."""
        gone = {str(o["number"]) for o in self._world.call("GET", "/orders?status=cancelled&per_page=100")}
        for document in self._world.books.documents:
            number = document.imported_as
            new = document.kind == "BC" and document.number not in self._cancelled | self._to_ship.keys()
            if number in gone and new:
                self._cancelled.add(document.number)
                self._world.books.cancel(document.number)
                self._world.tell(f"EBP cancels {document.number}")
                return

    def _card(self) -> None:
        """The operator corrects a customer's telephone number."""
        codes = sorted(self._world.books.customers)
        if codes:
            code, phone = self._dice.choice(codes), f"03{self._dice.randrange(10**8):08d}"
            self._world.books.change_customer(code, phone=phone)
            with self._world.connections.one() as connection:
                number = Audit(self._world.connections.url, connection).compared("gesco", "boutique").get(code)
            if number is not None:
                self.corrected[number] = code
            self._world.tell(f"EBP: customer {code} has the number {phone}")
