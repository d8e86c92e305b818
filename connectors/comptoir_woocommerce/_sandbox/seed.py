"""Orders of a French shop, each made from its seed and row alone: nothing is kept until somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comptoir_woocommerce._sandbox.catalogue import Customer, Product, empty_place
from comptoir_woocommerce._sandbox.dice import Dice
from comptoir_woocommerce._sandbox.money import (
    Charge,
    Coupon,
    Line,
    Order,
    Rate,
    Refund,
    TaxRules,
    micros,
)

__all__ = ["RATES", "Head", "OrderMaker", "OrderSlot", "customers"]

#: The rates of the recorded shops.
RATES = (
    Rate(1, "FR", "TVA 20%", 200_000),
    Rate(2, "FR", "TVA 5,5%", 55_000, "taux-reduit"),
    Rate(3, "FR", "TVA 2,1%", 21_000, "taux-super-reduit"),
    Rate(4, "BE", "BTW 21%", 210_000),
    Rate(5, "BE", "BTW 6%", 60_000, "taux-reduit"),
)

_FIRST = ("Zoé", "Jean", "Marie-Hélène", "Loïc", "Anaïs", "François", "Chloé", "Gaël", "Inès", "Noël", "Aïcha", "Óscar")
_LAST = ("Lefèvre", "Dupont", "d'Aubigné", "Müller", "N'Diaye", "Le Goff", "Petit", "Garçon", "Benoît", "Œuvrard")
_STREETS = ("5 rue de l'Église", "ZA Les Œillets", "1 place du Marché", "12 bis avenue Foch", "Chemin du Bois d'Haute")
_TOWNS = (
    ("Besançon", "25000"),
    ("Mâcon", "71000"),
    ("Nîmes", "30000"),
    ("Saint-Étienne", "42000"),
    ("Ajaccio", "20000"),
)
_COMPANIES = ("Dupont & Fils SARL", "Épicerie du Marché", "Atelier Œuvre SAS", "SCOP L'Étoile")
_NOTES = (
    "",
    "",
    "",
    "Livrer après 18 h, code « 12A »",
    "Merci ! 🎁 emballage cadeau svp",
    "Interphone : Lefèvre/N'Diaye",
)
_METHODS = (
    ("stripe", "Carte bancaire", 60),
    ("ppcp-gateway", "PayPal", 15),
    ("bacs", "Virement bancaire", 12),
    ("cheque", "Chèque", 8),
    ("cod", "Paiement à la livraison", 5),
)
_STATUSES = (
    ("completed", 46),
    ("processing", 34),
    ("on-hold", 5),
    ("pending", 4),
    ("cancelled", 4),
    ("refunded", 3),
    ("failed", 4),
)
_IDS_PER_ORDER = 3
_REASONS = ("Mug ébréché", "Rétractation", "Geste commercial")


@dataclass(frozen=True, slots=True)
class Head:
    """What lists filter and sort by, known without making the order."""

    id: int
    status: str
    created: int
    modified: int
    customer_id: int
    product_refund: bool


def _weighted(dice: Dice, table: tuple[tuple[str, int], ...]) -> str:
    point = dice.below(100)
    for word, weight in table:
        point -= weight
        if point < 0:
            return word
    return table[0][0]


def customers(count: int, seed: int, now: int) -> list[Customer]:
    """Made-up customers; every fifth is a company."""
    found = [Customer(1, "admin@example.test", "", "", "admin", now - 9_000_000, None, role="administrator")]
    for number in range(2, count + 2):
        dice = Dice(seed, 7_000_000 + number)
        first, last = dice.choice(_FIRST), dice.choice(_LAST)
        place = _place(dice, first, last, f"client{number}@example.test")
        meta: list[dict[str, Any]] = []
        if number % 5 == 0:
            place["company"] = dice.choice(_COMPANIES)
            meta = [{"id": number * 10, "key": "billing_vat_number", "value": f"FR403032{number:05d}"}]
        billing = {**empty_place(email=True), **place}
        shipping = empty_place(email=False) | {k: v for k, v in place.items() if k not in ("email",)}
        moment = now - 8_000_000 + number
        found.append(
            Customer(
                number,
                place["email"],
                first,
                last,
                f"client{number}",
                moment,
                moment,
                billing=billing,
                shipping=shipping,
                paying=True,
                meta=meta,
            )
        )
    return found


def _place(dice: Dice, first: str, last: str, email: str) -> dict[str, str]:
    town, postcode = dice.choice(_TOWNS)
    return {
        "first_name": first,
        "last_name": last,
        "company": "",
        "address_1": dice.choice(_STREETS),
        "address_2": "Bât. B" if dice.chance(20) else "",
        "city": town,
        "state": "",
        "postcode": postcode,
        "country": "FR",
        "email": email,
        "phone": f"+33 6 {dice.below(90) + 10} {dice.below(90) + 10} {dice.below(90) + 10} {dice.below(90) + 10}",
    }


class OrderMaker:
    """Makes the orders of one seeding. Row n is always the same order."""

    def __init__(
        self,
        *,
        seed: int,
        first_id: int,
        first_moment: int,
        seconds_apart: int,
        products: Mapping[int, Product],
        customers: Mapping[int, Customer],
        rules: TaxRules,
        currency: str,
    ) -> None:
        self._seed = seed
        self._first_id = first_id
        self._first_moment = first_moment
        self._apart = seconds_apart
        # As they were when the orders came in: a later price change must not touch them.
        self._goods = [
            (p, p.price, products[p.parent_id].tax_class if p.parent_id else p.tax_class)
            for p in products.values()
            if p.price and p.type in ("simple", "variation") and p.status == "publish"
        ]
        self._buyers = [c for c in customers.values() if c.role == "customer"]
        self._buyer_by_id = {buyer.id: buyer for buyer in self._buyers}
        self._rules = rules
        self._currency = currency

    def head(self, row: int) -> Head:
        """What is known of row n without making it."""
        dice = Dice(self._seed, row)
        status = _weighted(dice, _STATUSES)
        guest = dice.chance(35) or not self._buyers
        buyer = 0 if guest else self._buyers[dice.below(len(self._buyers))].id
        partly = status in ("processing", "completed") and dice.chance(4)
        created = self._first_moment + row * self._apart + dice.below(max(1, self._apart))
        later = 0 if status in ("pending", "failed") else dice.below(40_000)
        last = min(created + later, self._first_moment + (row + 1) * self._apart + 40_000)
        return Head(self._first_id + row * _IDS_PER_ORDER, status, created, last, buyer, partly)

    def order(self, row: int) -> Order:
        """Row n."""
        head = self.head(row)
        dice = Dice(self._seed ^ 0x5DEECE66D, row)
        base = head.id * 100
        made = Order(head.id, head.status, head.created, head.modified, self._currency, head.customer_id)
        made.key = f"wc_order_{dice.word(13)}"
        self._buyer(made, dice, head.customer_id)
        abroad = dice.below(100)
        if abroad < 3:
            country = ("BE", "CH", "GP")[abroad]
            made.billing = {**made.billing, "country": country, "city": "Liège", "postcode": "4000"}
            made.shipping = {**made.shipping, "country": country} if made.shipping["country"] else made.shipping
        country = made.shipping["country"] or made.billing["country"]
        coupon = dice.chance(12)
        self._lines(made, dice, country, base, 10 if coupon else 0)
        top = self._shipping_rates(made, country)
        made.physical = any(line.sku != "CARTE" for line in made.lines)
        if made.physical and not dice.chance(15):
            made.charges.append(Charge(base + 20, "Colissimo", "flat_rate", micros("4.92"), top))
        if dice.chance(6):
            made.fees.append(Charge(base + 25, "Emballage cadeau", None, micros("2.50"), top))
        if coupon:
            made.coupons.append(Coupon(base + 28, "bienvenue10", 10))
        made.tax_line_ids = base + 30
        made.note = dice.choice(_NOTES)
        self._payment(made, dice)
        if head.product_refund:
            made.refunds.append(self._partial_refund(made, dice))
        elif head.status == "refunded":
            made.refunds.append(self._full_refund(made))
        return made

    def _buyer(self, made: Order, dice: Dice, customer_id: int) -> None:
        known = self._buyer_by_id.get(customer_id)
        if known is not None:
            place = {name: known.billing[name] for name in _ORDER_PLACE}
            if known.meta:
                made.meta = [{"id": made.id * 10, "key": "_billing_vat_number", "value": known.meta[0]["value"]}]
        else:
            place = _place(dice, dice.choice(_FIRST), dice.choice(_LAST), f"invite{made.id}@example.test")
        made.billing = place
        elsewhere = {name: value for name, value in place.items() if name != "email"}
        made.shipping = elsewhere if not dice.chance(20) else dict.fromkeys(elsewhere, "")

    def _lines(self, made: Order, dice: Dice, country: str, base: int, percent: int) -> None:
        for position in range(1 + dice.below(4)):
            product, price, tax_class = dice.choice(self._goods)
            quantity = 1 + (dice.below(4) if dice.chance(40) else 0)
            rates = self._rules.for_place(country, tax_class)
            whole = micros(price) * quantity
            subtotal = self._rules.net_of(whole, rates)
            total = self._rules.net_of(self._rules.discounted(whole, percent), rates) if percent else subtotal
            meta = [_shown(base * 10 + position, "_reduced_stock", str(quantity))]
            parent, name = None, product.name
            if product.parent_id:
                parent, options = product.name, [a["option"] for a in product.attributes]
                name = f"{product.name} - {', '.join(options)}"
                chosen = [
                    _shown(base * 10 + 50 + n, a["name"].lower(), a["option"]) for n, a in enumerate(product.attributes)
                ]
                meta = [*chosen, *meta]
            made.lines.append(
                Line(
                    base + position,
                    name,
                    product.parent_id or product.id,
                    product.id if product.parent_id else 0,
                    quantity,
                    tax_class,
                    subtotal,
                    total,
                    rates,
                    product.sku,
                    product.gtin,
                    parent,
                    meta,
                )
            )

    def _shipping_rates(self, made: Order, country: str) -> tuple[Rate, ...]:
        """The rates of carriage: the standard class when any line has it, else the first reduced one."""
        classes = [line.tax_class for line in made.lines]
        return self._rules.for_place(country, "" if "" in classes else classes[0])

    def _payment(self, made: Order, dice: Dice) -> None:
        method = _weighted(dice, tuple((name, weight) for name, _, weight in _METHODS))
        title = next(shown for name, shown, _ in _METHODS if name == method)
        if made.status == "on-hold":
            method, title = ("bacs", "Virement bancaire") if dice.chance(60) else ("cheque", "Chèque")
        made.method, made.method_title = method, title
        settled = made.status in ("processing", "completed", "refunded")
        if settled and not (method == "cod" and made.status == "processing"):
            made.paid = min(made.created + 60, made.modified) if method != "cod" else made.modified
            if method in ("stripe", "ppcp-gateway"):
                made.transaction = f"{'ch' if method == 'stripe' else 'PAY'}_{dice.word(17)}"
        if made.status == "completed":
            made.completed = made.modified
        made.stock_taken = settled or made.status == "on-hold"

    def _partial_refund(self, made: Order, dice: Dice) -> Refund:
        line = dice.choice(made.lines)
        share = line.total // line.quantity // 10_000 * 10_000
        back = Line(
            made.id * 100 + 40,
            line.name,
            line.product_id,
            line.variation_id,
            -1,
            line.tax_class,
            -share,
            -share,
            line.rates,
            line.sku,
            line.gtin,
            line.parent_name,
            refunds=line.id,
        )
        amount = share - self._rules.line_tax(-share, line.rates)
        return Refund(made.id + 1, made.modified, amount, dice.choice(_REASONS), [back])

    def _full_refund(self, made: Order) -> Refund:
        return Refund(made.id + 1, made.modified, self._rules.totals(made)["total"], "Annulation", full=True)


class OrderSlot:
    """An order's place: what lists need, and the order itself and its JSON once somebody has looked."""

    __slots__ = ("_made", "_maker", "_row", "body", "created", "customer_id", "id", "modified", "status")

    def __init__(
        self,
        number: int,
        status: str,
        created: int,
        modified: int,
        customer_id: int,
        maker: OrderMaker | None,
        row: int,
    ) -> None:
        self.id, self.status, self.created, self.modified = number, status, created, modified
        self.customer_id = customer_id
        self._maker, self._row = maker, row
        self._made: Order | None = None
        self.body: bytes | None = None

    @classmethod
    def of(cls, order: Order) -> OrderSlot:
        """The place of an order that exists already."""
        slot = cls(order.id, order.status, order.created, order.modified, order.customer_id, None, 0)
        slot._made = order
        return slot

    def order(self, *, keep: bool) -> Order:
        """The order; `keep` when it is about to be changed."""
        made = self._made
        if made is None:
            if self._maker is None:
                raise LookupError(self.id)
            made = self._maker.order(self._row)
            if keep:
                self._made = made
        return made

    def changed(self) -> None:
        """Lists and JSON follow the order."""
        order = self.order(keep=True)
        self.status, self.modified, self.customer_id, self.body = order.status, order.modified, order.customer_id, None


_ORDER_PLACE = (
    "first_name",
    "last_name",
    "company",
    "address_1",
    "address_2",
    "city",
    "state",
    "postcode",
    "country",
    "email",
    "phone",
)


def _shown(number: int, key: str, value: str) -> dict[str, Any]:
    return {"id": number, "key": key, "value": value, "display_key": key, "display_value": value}
