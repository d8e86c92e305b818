"""What buyers and the merchant do in one shop; one act at a time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from comptoir.simulation.world import Refused, World

__all__ = ["Shopfront"]


class Shopfront:
    """One shop, and what is known of its orders by those who made them."""

    def __init__(self, world: World, name: str, names: list[str]) -> None:
        self._world = world
        self._dice = world.dice
        self._name = name
        self._products = world.made[name]
        self._names = names
        #: Orders that had to go out at some time, by number.
        self.sold: set[int] = set()
        #: Orders that were put into the trash.
        self.trashed: set[str] = set()
        self._open: list[int] = []
        self._customers: list[int] = []

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._world.call(method, path, body, self._name)

    def _tell(self, what: str) -> None:
        self._world.tell(f"{self._name}: {what}")

    def _person(self) -> dict[str, Any]:
        name = f"Zorglub{self._world.seed}x{len(self._names)}q"
        self._names.append(name)
        return {
            "first_name": "Éva", "last_name": name, "address_1": f"{len(self._names)} rue {name}", "city": "Besançon",
            "postcode": "25000", "country": "FR", "email": f"{name.lower()}@example.test", "phone": "0612345678",
        }  # fmt: skip

    def order(self) -> int:
        """Somebody buys."""
        dice = self._dice
        chosen = dice.sample(self._products, dice.randrange(1, 3))
        method, paid = dice.choice([("stripe", True), ("stripe", True), ("stripe", False), ("bacs", False)])
        body: dict[str, Any] = {
            "customer_id": dice.choice(self._customers) if self._customers and dice.random() < 0.4 else 0,
            "payment_method": method,
            "payment_method_title": method,
            "set_paid": paid,
            "billing": self._person(),
            "line_items": [{"product_id": number, "quantity": dice.randrange(1, 4)} for number in chosen],
        }
        if dice.random() < 0.4:
            cost = Decimal(dice.randrange(300, 1500)) / 100
            body["shipping_lines"] = [{"method_id": "flat_rate", "method_title": "Colis", "total": f"{cost:.2f}"}]
        if method == "bacs":
            body["status"] = "on-hold"
        made = self._call("POST", "/orders", body)
        number: int = made["id"]
        self._open.append(number)
        if paid or method == "bacs":
            self.sold.add(number)
        self._tell(f"order {number} ({made['status']}, {made['total']})")
        return number

    def late_order(self) -> None:
        """An order whose transaction took minutes: it is dated when it began and seen when it was committed."""
        number = self.order()
        slot = self._world.shops[self._name].orders[number]
        made, seconds = slot.order(keep=True), self._dice.randrange(20, 240)
        made.created, made.modified = made.created - seconds, made.modified - seconds
        slot.created = made.created
        slot.changed()
        self._world.shops[self._name].revision += 1
        self._tell(f"order {number} is dated {seconds} s earlier")

    def _one(self, *statuses: str) -> dict[str, Any] | None:
        for number in self._dice.sample(self._open, len(self._open)):
            order: dict[str, Any] = self._call("GET", f"/orders/{number}")
            if order["status"] in statuses:
                return order
        return None

    def _set(self, order: dict[str, Any] | None, **changes: Any) -> None:
        if order is None:
            return
        after = self._call("PUT", f"/orders/{order['id']}", changes)
        if after["status"] in ("processing", "completed"):
            self.sold.add(order["id"])
        self._tell(f"order {order['id']}: {order['status']} -> {after['status']} {sorted(changes)}")

    def pay(self) -> None:
        """A transfer arrives."""
        self._set(self._one("pending", "on-hold"), set_paid=True)

    def complete(self) -> None:
        """An order is done."""
        self._set(self._one("processing"), status="completed")

    def cancel(self) -> None:
        """An order is cancelled."""
        self._set(self._one("pending", "processing"), status="cancelled")

    def edit(self) -> None:
        """A buyer's telephone number is corrected."""
        order = self._one("pending", "on-hold", "processing")
        if order is not None:
            self._set(order, billing={**order["billing"], "phone": f"06{self._dice.randrange(10**8):08d}"})

    def trash(self) -> None:
        """An order that was not paid is thrown away."""
        order = self._one("pending", "cancelled")
        if order is not None:
            self._call("DELETE", f"/orders/{order['id']}")
            self._open.remove(order["id"])
            self.trashed.add(str(order["number"]))
            self._tell(f"order {order['id']} is thrown away")

    def forget_old(self) -> None:
        """An old order is thrown away: every later one moves up in the list."""
        left = [number for number in sorted(self._world.history)[:60] if str(number) not in self.trashed]
        if left and self._name == "boutique":
            number = self._dice.choice(left)
            self._call("DELETE", f"/orders/{number}")
            self.trashed.add(str(number))
            self._tell(f"old order {number} is thrown away")

    def refund(self) -> None:
        """One unit is given back."""
        order = self._one("processing", "completed")
        if order is None or order["refunds"]:
            return
        line = self._dice.choice(order["line_items"])
        each = Decimal(line["total"]) / line["quantity"]
        taxes = [
            {"id": t["id"], "refund_total": f"{Decimal(t['total']) / line['quantity']:.2f}"} for t in line["taxes"]
        ]
        amount = Decimal(f"{each:.2f}") + sum(Decimal(t["refund_total"]) for t in taxes)
        row = {"id": line["id"], "quantity": 1, "refund_total": f"{each:.2f}", "refund_tax": taxes}
        body = {
            "amount": f"{amount:.2f}", "reason": "retour", "api_refund": False, "api_restock": False,
            "line_items": [row],
        }  # fmt: skip
        try:
            made = self._call("POST", f"/orders/{order['id']}/refunds", body)
        except Refused:
            return  # rounded up, it would be more than was paid
        self._tell(f"refund {made['id']} of order {order['id']}: {made['amount']}")

    def customer(self) -> None:
        """Somebody opens an account, or moves."""
        if self._customers and self._dice.random() < 0.5:
            number = self._dice.choice(self._customers)
            city, postcode = self._dice.choice((("Dole", "39100"), ("Vesoul", "70000"), ("Besançon", "25000")))
            self._call("PUT", f"/customers/{number}", {"billing": {"city": city, "postcode": postcode}})
            self._tell(f"customer {number} moved to {city}")
            return
        person = self._person()
        made = self._call(
            "POST", "/customers",
            {"email": person["email"], "first_name": "Éva", "last_name": person["last_name"], "billing": person},
        )  # fmt: skip
        self._customers.append(made["id"])
        self._tell(f"customer {made['id']}")

    def sell_at_the_till(self) -> None:
        """The merchant corrects a stock in the shop by hand: the next comparison must see it."""
        number = self._dice.choice(self._products)
        stock = self._dice.randrange(0, 50)
        self._call("PUT", f"/products/{number}", {"stock_quantity": stock})
        self._tell(f"product {number} shows {stock}")
