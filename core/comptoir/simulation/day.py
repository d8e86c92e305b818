"""What people do: buyers and the merchant in the shop, the operator at the back office; one act at a time."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from comptoir.simulation.world import Refused, World

__all__ = ["Day"]


class Day:
    """The acts of one merchant's days."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        #: Orders that had to go out at some time, by number.
        self.sold: set[int] = set()
        #: Texts that name a buyer: they may stand in the tables of personal data only.
        self.names: list[str] = []
        self._made = 0
        self._open: list[int] = []
        self._customers: list[int] = []
        self._shipped: set[str] = set()

    def act(self) -> None:
        """One of the things that happen in an hour."""
        acts: list[tuple[int, Callable[[], None]]] = [
            (8, self._order),
            (3, self._pay),
            (2, self._complete),
            (1, self._cancel),
            (2, self._refund),
            (2, self._edit),
            (2, self._price),
            (3, self._count),
            (1, self._rename),
            (2, self._customer),
            (3, self._import),
            (3, self._export),
            (1, self._ship),
        ]
        weights = [weight for weight, _ in acts]
        self._dice.choices([act for _, act in acts], weights)[0]()

    # -- the shop ------------------------------------------------------------------------------------------------

    def _person(self) -> dict[str, Any]:
        self._made += 1
        name = f"Zorglub{self._world.seed}x{self._made}q"
        self.names.append(name)
        return {
            "first_name": "Éva", "last_name": name, "address_1": f"{self._made} rue {name}", "city": "Besançon",
            "postcode": "25000", "country": "FR", "email": f"{name.lower()}@example.test", "phone": "0612345678",
        }  # fmt: skip

    def _order(self) -> None:
        world, dice = self._world, self._dice
        chosen = dice.sample(sorted(world.products.values()), dice.randrange(1, 3))
        method, paid = dice.choice([("stripe", True), ("stripe", True), ("stripe", False), ("bacs", False)])
        body: dict[str, Any] = {
            "customer_id": dice.choice(self._customers) if self._customers and dice.random() < 0.4 else 0,
            "payment_method": method,
            "payment_method_title": method,
            "set_paid": paid,
            "billing": self._person(),
            "line_items": [{"product_id": number, "quantity": dice.randrange(1, 4)} for number in chosen],
        }
        if method == "bacs":
            body["status"] = "on-hold"
        made = world.call("POST", "/orders", body)
        self._open.append(made["id"])
        if paid or method == "bacs":
            self.sold.add(made["id"])
        world.tell(f"order {made['id']} ({made['status']}, {made['total']})")

    def _one(self, *statuses: str) -> dict[str, Any] | None:
        for number in self._dice.sample(self._open, len(self._open)):
            order: dict[str, Any] = self._world.call("GET", f"/orders/{number}")
            if order["status"] in statuses:
                return order
        return None

    def _set(self, order: dict[str, Any] | None, **changes: Any) -> None:
        if order is None:
            return
        after = self._world.call("PUT", f"/orders/{order['id']}", changes)
        if after["status"] in ("processing", "completed"):
            self.sold.add(order["id"])
        self._world.tell(f"order {order['id']}: {order['status']} -> {after['status']} {sorted(changes)}")

    def _pay(self) -> None:
        self._set(self._one("pending", "on-hold"), set_paid=True)

    def _complete(self) -> None:
        self._set(self._one("processing"), status="completed")

    def _cancel(self) -> None:
        self._set(self._one("pending", "processing"), status="cancelled")

    def _edit(self) -> None:
        order = self._one("pending", "on-hold", "processing")
        if order is not None:
            self._set(order, billing={**order["billing"], "phone": f"06{self._dice.randrange(10**8):08d}"})

    def _refund(self) -> None:
        order = self._one("processing", "completed")
        if order is None or order["refunds"]:
            return
        line = self._dice.choice(order["line_items"])
        each = Decimal(line["total"]) / line["quantity"]
        body = {
            "amount": None,
            "reason": "retour",
            "api_refund": False,
            "api_restock": False,
            "line_items": [{"id": line["id"], "quantity": 1, "refund_total": f"{each:.2f}"}],
        }
        tax = [{"id": t["id"], "refund_total": f"{Decimal(t['total']) / line['quantity']:.2f}"} for t in line["taxes"]]
        body["line_items"][0]["refund_tax"] = tax  # type: ignore[index]
        body["amount"] = f"{Decimal(f'{each:.2f}') + sum(Decimal(t['refund_total']) for t in tax):.2f}"
        try:
            made = self._world.call("POST", f"/orders/{order['id']}/refunds", body)
        except Refused:
            return  # rounded up, it would be more than was paid
        self._world.tell(f"refund {made['id']} of order {order['id']}: {made['amount']}")

    def _customer(self) -> None:
        person = self._person()
        if self._customers and self._dice.random() < 0.5:
            number = self._dice.choice(self._customers)
            self._world.call("PUT", f"/customers/{number}", {"billing": {"city": "Dole", "postcode": "39100"}})
            self._world.tell(f"customer {number} moved")
            return
        made = self._world.call(
            "POST", "/customers",
            {"email": person["email"], "first_name": "Éva", "last_name": person["last_name"], "billing": person},
        )  # fmt: skip
        self._customers.append(made["id"])
        self._world.tell(f"customer {made['id']}")

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
            self._world.tell(f"EBP: {code} is called {new} now")

    def _import(self) -> None:
        done = self._world.office.step()
        if done:
            self._world.tell(f"EBP imports {', '.join(done)}")

    def _export(self) -> None:
        self._world.office.export()
        self._world.tell("EBP exports")

    def _ship(self) -> None:
        orders = [d for d in self._world.books.documents if d.kind == "BC"]
        if orders:
            chosen = self._dice.choice(orders)
            if chosen.number not in self._shipped:
                self._shipped.add(chosen.number)
                self._world.books.ship(chosen.number)
                self._world.tell(f"EBP ships {chosen.number}")
