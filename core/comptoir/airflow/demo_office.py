"""What happens between the shops and the back office in the demo's day, and how it should look on the other side.

Each change is noted with the record as it was before, so that what came of it can be compared whole: the field that
changed holds the new value after one write, and every other field is what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

from comptoir.airflow.demo_checks import Check
from comptoir.airflow.demo_store import DemoStore
from comptoir.airflow.demo_story import OFFICE, RATES, SHOP, Happened, Merchant, net_of
from comptoir.app.links import create

__all__ = ["BothWays"]

ARTICLE: Final = "BOL-GRES"
PRICED: Final = "MIEL-250"
OLD_CODE: Final = "REVUE-12"
NEW_CODE: Final = "REVUE-N12"
COUNTED: Final = "TEE-R-S"
SOLD: Final = "TEE-R-M"
SOLD_UNITS: Final = 3
OTHER: Final = "atelier"

#: The customers of the first shop whose data somebody changes: in EBP, and in the shop.
_MAILED, _MOVED, _MOVED_UNSEEN = 3, 4, 6
_CARD_MAIL: Final = "Client - E-mail (facturation)"
_CARD_CITY: Final = "Client - Ville (facturation)"
_CARD_CODE: Final = "Client - Code (tiers)"

#: What a shop keeps by itself when somebody buys, or derives from what was changed.
_OWN: Final = frozenset(
    {
        "date_modified", "date_modified_gmt", "price", "price_html", "total_sales", "stock_quantity", "stock_status",
        "avatar_url",
    }
)  # fmt: skip
_STOCK_KEYS: Final = frozenset({"stock_quantity", "manage_stock"})


@dataclass(frozen=True, slots=True)
class _Expected:
    """A record of a shop in which one field should come to hold a value by one write."""

    what: str
    shop: str
    kind: str
    number: int
    field: str
    value: str
    before: Mapping[str, Any]
    writes: int


class BothWays:
    """The changes of one day; `happen` makes them, the rest looks at what became of them."""

    def __init__(self, merchant: Merchant, store: DemoStore) -> None:
        self._merchant = merchant
        self._store = store
        self._expected: list[_Expected] = []
        self._moved_code = self._mailed_code = ""
        self._cards_before: dict[str, int] = {}
        self._made: Sequence[int] = ()
        self._sold: tuple[str, int, datetime] | None = None
        self._decided = False
        self._unseen: tuple[str, int] | None = None

    # -- what happens --------------------------------------------------------------------------------------------

    def happen(self) -> Iterator[Happened]:
        """Each change as it is made; those in EBP are seen once it has exported."""
        merchant = self._merchant
        self._moved_code, self._mailed_code = self._card(_MOVED), self._card(_MAILED)
        self._cards_before = self._card_imports()
        self._made = merchant.products(SHOP) + merchant.products(OTHER)
        gross = Decimal("14.50")
        merchant.catalogue.add(ARTICLE, "BOL EN GRÈS", net_of(gross, RATES[""]), gross, RATES[""], stock=Decimal(40))
        yield Happened(OFFICE, "article", "a new article that no shop has", "Nouvel article", ARTICLE)
        yield self._price()
        yield self._code()
        merchant.catalogue.set_stock(COUNTED, merchant.catalogue.items[COUNTED].real["Principal"] - 50)
        yield Happened(OFFICE, "stock", "fifty pieces fewer were counted", "Inventaire : 50 de moins", COUNTED)
        yield self._mail()
        change = {"billing": {"address_1": "3 place du Marché", "postcode": "69002", "city": "Lyon"}}
        merchant.change(SHOP, "PUT", f"customers/{_MOVED}", change)
        yield Happened(SHOP, "address", "a customer moves house", "Un client déménage", str(_MOVED))
        number = merchant.product(OTHER, SOLD)
        shown = int(merchant.shown(OTHER, "products", number)["stock_quantity"])
        begun = merchant.now()
        order = merchant.sell(SHOP, SOLD, SOLD_UNITS)
        self._sold = (order, shown, begun)
        yield Happened(SHOP, "sale", f"three {SOLD} are sold, which the other shop shows too", "Vente", order)

    def happen_unseen(self) -> None:
        """While no webhook comes through: a customer of the first shop moves house, and something is sold there."""
        merchant = self._merchant
        shown = int(self._offered(OTHER, COUNTED))
        merchant.sell(SHOP, COUNTED, SOLD_UNITS)
        merchant.change(SHOP, "PUT", f"customers/{_MOVED_UNSEEN}", {"billing": {"postcode": "21000", "city": "Dijon"}})
        self._unseen = (self._card(_MOVED_UNSEEN), shown - SOLD_UNITS)

    def lacking_unseen(self) -> list[str]:
        """What of it has not arrived yet."""
        if self._unseen is None:
            return ["it has not happened"]
        code, quantity = self._unseen
        found = []
        if self._card_of(code).get(_CARD_CITY, "").casefold() != "dijon":
            found.append("the new address in EBP")
        if int(self._offered(OTHER, COUNTED)) > quantity:
            found.append(f"the lower stock of {COUNTED} in {OTHER}")
        return found

    def recount(self) -> Happened:
        """One more stock-taking in EBP: the day goes on."""
        card = self._merchant.catalogue.items[COUNTED]
        self._merchant.catalogue.set_stock(COUNTED, max(card.real["Principal"] - 1, Decimal(0)))
        return Happened(OFFICE, "stock", "one piece fewer was counted", "Inventaire : un de moins", COUNTED)

    def _price(self) -> Happened:
        merchant, rate = self._merchant, RATES["taux-reduit"]
        gross = Decimal("8.90")
        net = net_of(gross, rate)
        for shop, value in ((SHOP, gross), (OTHER, net)):
            self._expect("price", shop, "products", merchant.product(shop, PRICED), "regular_price", f"{value:f}")
        merchant.catalogue.set_price(PRICED, net=net, gross=gross)
        return Happened(OFFICE, "price", "a price goes up", "Prix du miel : 8,90", PRICED)

    def _code(self) -> Happened:
        for shop in (SHOP, OTHER):
            self._expect("SKU", shop, "products", self._merchant.product(shop, OLD_CODE), "sku", NEW_CODE)
        self._merchant.catalogue.rename(OLD_CODE, NEW_CODE)
        return Happened(OFFICE, "code", f"{OLD_CODE} gets another code", "Code article changé", NEW_CODE)

    def _mail(self) -> Happened:
        mail = f"client{_MAILED}.nouveau@example.test"
        self._expect("e-mail", SHOP, "customers", _MAILED, "email", mail)
        self._merchant.desks[OFFICE].books.change_customer(self._mailed_code, email=mail)
        return Happened(OFFICE, "email", "a customer has a new e-mail address", "Nouvel e-mail", self._mailed_code)

    def _expect(self, what: str, shop: str, kind: str, number: int, field: str, value: str) -> None:
        before = self._merchant.shown(shop, kind, number)
        self._expected.append(
            _Expected(what, shop, kind, number, field, value, before, self._writes(shop, number, kind))
        )

    def _card(self, customer: int) -> str:
        """EBP's code of a customer of the first shop."""
        mail = self._merchant.shown(SHOP, "customers", customer)["email"]
        cards: Mapping[str, Mapping[str, str]] = self._merchant.desks[OFFICE].books.customers
        (code,) = [code for code, card in cards.items() if card.get(_CARD_MAIL) == mail]
        return code

    def _card_imports(self) -> dict[str, int]:
        """How often a card of each customer in question was imported."""
        outcomes = [o for o in self._merchant.desks[OFFICE].books.outcomes if o.file.startswith("CLIENTS")]
        codes = (self._moved_code, self._mailed_code)
        return {code: sum(outcome.taken.count(code) for outcome in outcomes) for code in codes}

    def _writes(self, shop: str, number: int, kind: str) -> int:
        """How often a record was written through a shop's interface, its stock apart."""
        return sum(
            number in entry.ids and entry.path.startswith(f"/{kind}") and not entry.keys <= _STOCK_KEYS
            for entry in self._merchant.written(shop)
        )

    # -- what a person decides -----------------------------------------------------------------------------------

    def decide(self) -> str | None:
        """Once the new article waits for review, its making is approved for the first shop; says so, once."""
        found = None if self._decided else self._store.unmatched(SHOP, ARTICLE)
        if found is None:
            return None
        if self._has(SHOP) or self._has(OTHER):
            raise AssertionError(f"{ARTICLE} was made in a shop before anybody asked for it")
        create(self._merchant.config, found, everything=False, target=None)
        self._decided = True
        return f"comptoir match create {found[-8:]}   ({ARTICLE} waited for review; it is to be made in {SHOP})"

    def _has(self, shop: str) -> bool:
        return any(self._merchant.shown(shop, "products", n)["sku"] == ARTICLE for n in self._new(shop))

    def _new(self, shop: str) -> list[int]:
        return [number for number in self._merchant.products(shop) if number not in self._made]

    # -- what became of it ---------------------------------------------------------------------------------------

    def lacking(self) -> list[str]:
        """What has not arrived yet."""
        found = [
            f"{e.what} in {e.shop}: {e.field}"
            for e in self._expected
            if not _same(self._merchant.shown(e.shop, e.kind, e.number)[e.field], e.value)
        ]
        if not self._decided:
            found.append(f"{ARTICLE} in the list for review")
        elif not self._has(SHOP):
            found.append(f"{ARTICLE} in {SHOP}")
        if self._card_of(self._moved_code).get(_CARD_CITY, "").casefold() != "lyon":
            found.append("the new address in EBP")
        if self._lowered() is None:
            found.append(f"the lower stock of {SOLD} in {OTHER}")
        return found

    def _card_of(self, code: str) -> Mapping[str, str]:
        cards: Mapping[str, Mapping[str, str]] = self._merchant.desks[OFFICE].books.customers
        return cards.get(code, {})

    def _lowered(self) -> tuple[float, Decimal] | None:
        """Seconds from the sale's webhook until the other shop had confirmed the lower stock, and that stock.

        It may be lower still for a while: what EBP has booked and not yet reported counts twice until it has.
        """
        if self._sold is None:
            return None
        order, shown, begun = self._sold
        received = self._store.received_at(SHOP, "order", order)
        number = str(self._merchant.product(OTHER, SOLD))
        for at, quantity in self._store.stock_written(OTHER, number, begun):
            if quantity <= shown - SOLD_UNITS and received is not None:
                return (at - received).total_seconds(), quantity
        return None

    def checks(self, parked: Mapping[str, set[str]]) -> Iterator[Check]:
        """Each change against the record as it was. `parked`: orders in quarantine, by shop."""
        yield self._one_write_each()
        imports = {code: count - self._cards_before[code] for code, count in self._card_imports().items()}
        yield Check(
            "an address changed in the shop is one card for EBP, an e-mail of EBP comes back as none",
            self._card_of(self._moved_code).get(_CARD_CITY, "").casefold() == "lyon"
            and imports == {self._moved_code: 1, self._mailed_code: 0},
            f"cards imported since: {', '.join(f'{code} {count}' for code, count in imports.items())}",
        )  # fmt: skip
        yield self._made_when_asked()
        lowered = self._lowered()
        yield Check(
            "a sale in one shop lowers the stock of the other", lowered is not None,
            f"{SOLD_UNITS} {SOLD} sold in {SHOP}, {OTHER} shows {lowered[1]}: {lowered[0]:.1f} s after the webhook"
            if lowered else f"{OTHER} does not show {SOLD_UNITS} {SOLD} fewer",
        )  # fmt: skip
        yield self._stock(parked)

    def _one_write_each(self) -> Check:
        wrong, told = [], []
        for e in self._expected:
            after = self._merchant.shown(e.shop, e.kind, e.number)
            writes = self._writes(e.shop, e.number, e.kind) - e.writes
            touched = sorted(key for key in e.before if key not in {e.field, *_OWN} and e.before[key] != after.get(key))
            if not _same(after[e.field], e.value) or writes != 1 or touched:
                other = f", also changed: {', '.join(touched)}" if touched else ""
                wrong.append(f"{e.what} in {e.shop}: {e.field} is {after[e.field]} after {writes} writes{other}")
            told.append(f"{e.what} in {e.shop}")
        return Check(
            "a price, a SKU and an e-mail changed in EBP are one write each; no other field moved",
            bool(self._expected) and not wrong,
            "; ".join(wrong) or ", ".join(told),
        )

    def _made_when_asked(self) -> Check:
        made = {shop: [self._merchant.shown(shop, "products", n) for n in self._new(shop)] for shop in (SHOP, OTHER)}
        shown = [(p["sku"], p["status"], p["regular_price"]) for p in made[SHOP]]
        return Check(
            "nothing is made unasked; the new article is made once, as a draft, where it was asked for",
            self._decided and shown == [(ARTICLE, "draft", "14.50")] and not made[OTHER],
            f"{SHOP}: {', '.join(f'{s} ({t}, {p})' for s, t, p in shown) or 'nothing new'}; "
            f"{OTHER}: {len(made[OTHER])} new",
        )

    def _stock(self, parked: Mapping[str, set[str]]) -> Check:
        """Every stocked card: each shop shows what EBP has and has not promised, less the other shop's open orders."""
        demand = self._merchant.open_demand(OTHER, parked.get(OTHER, set()))
        old = {NEW_CODE: OLD_CODE}
        wrong, compared = [], 0
        for code, card in self._merchant.catalogue.items.items():
            sold = demand.get(code, 0) + demand.get(old.get(code, ""), 0)
            free = sum(card.real.values(), Decimal(0)) - card.booked - sold
            for shop in (SHOP, OTHER):
                if not card.stocked or (code == ARTICLE):
                    continue  # the shop's drafts count nothing until a person publishes them
                shown = self._offered(shop, code)
                compared += 1
                if shown != int(max(free, Decimal(0)).to_integral_value(ROUND_FLOOR)):
                    wrong.append(f"{code} in {shop}: {shown} instead of {free}")
        return Check(
            "both shops offer what EBP has, less what is promised and sold", bool(compared) and not wrong,
            "; ".join(wrong) or f"{compared} stock levels compared, {sum(demand.values())} units sold and not shipped "
            f"in {OTHER}",
        )  # fmt: skip

    def _offered(self, shop: str, code: str) -> Any:
        """What a shop shows of a card's stock; None when it has no article with the card's code."""
        try:
            return self._merchant.shown(shop, "products", self._merchant.product(shop, code))["stock_quantity"]
        except KeyError:
            return None

    def stock_is_right(self, parked: Mapping[str, set[str]]) -> bool:
        """Whether `checks` would find the stock right at this moment."""
        return self._stock(parked).ok


def _same(shown: Any, wanted: str) -> bool:
    """Equal as text, or as amounts of money."""
    if shown == wanted:
        return True
    try:
        return Decimal(str(shown)) == Decimal(wanted)
    except ArithmeticError:
        return False
