"""The merchant of the demo: his shops, and the persons at the desks who run EBP, Sage and Ciel."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from comptoir.airflow.demo_config import CONFIG, PATIENCE_HOURS
from comptoir.app.connectors import load_connector
from comptoir.app.credentials import variable
from comptoir.app.system import SystemClock, SystemRandom

__all__ = [
    "BUSY",
    "COUNTERS",
    "OFFICE",
    "PROGRAMS",
    "SHOP",
    "Handled",
    "Happened",
    "Merchant",
    "Sale",
    "Step",
    "net_of",
    "own_code",
    "sandbox_of",
]

#: Days before today from which on the hub passes documents on; the shops have been open for longer.
CUTOVER_DAYS: Final = 4
SEEDED_DAYS: Final = 9
SEEDED_ORDERS: Final = 40
#: In each of the small shops.
FEW_ORDERS: Final = 8

#: Name -> what kind of shop it is. The seeds are those of shops that sell in France only.
SHOPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "boutique": {"version": "11.0.1", "seed": 15, "prices_include_tax": True},
    "atelier": {"version": "7.9.0", "seed": 45, "prices_include_tax": False},
    "kiosque": {"version": "11.0.1", "seed": 15, "prices_include_tax": True},
    "marche": {"version": "11.0.1", "seed": 45, "prices_include_tax": True},
}
#: Those whose whole day is played, and the small ones with the back office that books each.
BUSY: Final = ("boutique", "atelier")
COUNTERS: Final[Mapping[str, str]] = {"kiosque": "sage", "marche": "ciel"}
DESKS: Final = ("gesco", "compta")
#: What each desk works with.
PROGRAMS: Final[Mapping[str, str]] = {"gesco": "EBP", "compta": "EBP", "sage": "Sage", "ciel": "Ciel"}
#: The shops' tax classes -> percent.
RATES: Final[Mapping[str, Decimal]] = {
    "": Decimal(20),
    "taux-reduit": Decimal("5.5"),
    "taux-super-reduit": Decimal("2.1"),
}


SHOP: Final = "boutique"
OFFICE: Final = "gesco"

#: Who buys in `Merchant.sell`: paid by card, sent as a parcel.
BUYER: Final[Mapping[str, Any]] = {
    "customer_id": 0,
    "payment_method": "stripe",
    "payment_method_title": "Carte bancaire",
    "set_paid": True,
    "billing": {
        "first_name": "Inès", "last_name": "Le Goff", "company": "", "address_1": "12 bis avenue Foch",
        "city": "Nîmes", "postcode": "30000", "country": "FR", "email": "ines.legoff@example.test",
        "phone": "+33 6 98 76 54 32",
    },
    "shipping_lines": [{"method_id": "flat_rate", "method_title": "Colissimo", "total": "4.92"}],
}  # fmt: skip


class GivenBack(Protocol):
    """A refund, as a shop shows it."""

    @property
    def number(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def taxes(self) -> Mapping[Decimal, Decimal] | None: ...


class Sale(Protocol):
    """An order, as a shop shows it; `money` is "paid", "awaited" or "none"."""

    @property
    def number(self) -> str: ...
    @property
    def placed_on(self) -> date: ...
    @property
    def money(self) -> str: ...
    @property
    def total(self) -> Decimal: ...
    @property
    def taxes(self) -> Mapping[Decimal, Decimal]: ...
    @property
    def refunds(self) -> Sequence[GivenBack]: ...


class Step(Protocol):
    """One event of a shop's day."""

    @property
    def key(self) -> str: ...
    @property
    def title_en(self) -> str: ...
    @property
    def title_fr(self) -> str: ...

    def act(self) -> str:
        """Makes it happen; the number of the order (or customer) that it happened to."""
        ...


@dataclass(frozen=True, slots=True)
class Happened:
    """An event that took place."""

    shop: str
    key: str
    title_en: str
    title_fr: str
    number: str


@dataclass(frozen=True, slots=True)
class Handled:
    """The files that the person at one desk has just imported, or exported."""

    desk: str
    files: Sequence[str]


def own_code(shop: str, code: str) -> str:
    """The code by which a small shop knows an article."""
    return f"{shop[0].upper()}-{code}"


def net_of(gross: Decimal, rate: Decimal) -> Decimal:
    """A price without tax, in cents."""
    return (gross / (1 + rate / 100)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def sandbox_of(connector: str) -> Any:
    """The module `sandbox` of an installed connector: core knows connectors by their entry point only."""
    package = load_connector(connector).__module__.split(".")[0]
    return importlib.import_module(f"{package}.sandbox")


@dataclass
class Merchant:
    """One merchant in one folder. Context manager: his shops are open inside of it."""

    folder: Path
    cutover: date = field(init=False)
    happened: list[Happened] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self._stack = ExitStack()
        self._shop_kit, self._desk_kit = sandbox_of("woocommerce"), sandbox_of("ebp")
        self._shops: dict[str, Any] = {}
        self.desks: dict[str, Any] = {}
        #: The desks of Sage and Ciel; those whose operator forgets to import stand in `away`, too.
        self.counters: dict[str, Any] = {}
        self.away: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._days: dict[str, list[Step]] = {}
        self._webhook_secrets: dict[str, str] = {}
        #: Webhooks that were sent and answered with 2xx, and those that nobody took, by shop.
        self.taken: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        today = SystemClock().now().astimezone(ZoneInfo("Europe/Paris")).date()
        self.cutover = today - timedelta(days=CUTOVER_DAYS)

    @property
    def config(self) -> Path:
        """The configuration, which is all that Comptoir gets to know of him."""
        return self.folder / "comptoir.toml"

    @property
    def home(self) -> Path:
        """Comptoir's own data."""
        return self.folder / ".comptoir"

    @property
    def environment_file(self) -> Path:
        """What a shell needs to use `comptoir` on this folder."""
        return self.folder / "demo.env"

    @property
    def secrets(self) -> list[str]:
        """The keys and webhook secrets of his shops, which must not turn up anywhere."""
        keys = [text for shop in self._shops.values() for text in (shop.key, shop.secret)]
        return [*keys, *self._webhook_secrets.values()]

    @property
    def shops(self) -> Sequence[str]:
        """The names of his shops."""
        return tuple(SHOPS)

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where his shops are."""
        return self._addresses

    def write_files(self, gateway: str) -> None:
        """The configuration and the folders that he shares with his programs. `gateway`: the address for webhooks."""
        text = CONFIG.format(cutover=self.cutover, gateway=gateway, patience=PATIENCE_HOURS)
        self.config.write_text(text, encoding="utf-8")
        for desk in DESKS:
            exchange = self.folder / "exchange" / desk
            exchange.mkdir(parents=True, exist_ok=True)
            self.desks[desk] = self._desk_kit.EbpSandbox(exchange)
        sage, ciel = sandbox_of("sage"), sandbox_of("ciel")
        programs = {"sage": sage.SageGescom(customers={"WEBDIVERS"}), "ciel": ciel.CielGescom()}
        for program in programs.values():
            for item in ("PORT", "FRAIS", "REMISE", "ARRONDI", "DIVERS"):
                program.add(item)
        (self.folder / "sage_gescom.txt").write_bytes(programs["sage"].export())
        for name, program in programs.items():
            exchange = self.folder / "exchange" / name
            exchange.mkdir(parents=True, exist_ok=True)
            takes = "list" if name == "sage" else "rename"
            self.counters[name] = sage.SalesDesk(exchange, program, takes=takes)

    def open_shops(self) -> None:
        """His shops with orders of the last days, each on a port of its own of this machine.

        Each back office has a card for each of their articles; the atelier's prices are EBP's without tax.
        """
        random = SystemRandom()
        for name, settings in SHOPS.items():
            shop = self._shop_kit.WooCommerceSandbox(
                clock=self._shop_kit.ServerClock(),
                key=f"ck_{random.bytes(20).hex()}",
                secret=f"cs_{random.bytes(20).hex()}",
                **settings,
            )
            self._shops[name] = shop
            self._price(name)
            shop.seed_orders(SEEDED_ORDERS if name in BUSY else FEW_ORDERS, days=SEEDED_DAYS)
            self._addresses[name] = self._stack.enter_context(self._shop_kit.serve(shop))
            self._webhook_secrets[name] = random.bytes(20).hex()

    def _price(self, name: str) -> None:
        """EBP's card for each article of the first shop; a shop without tax in its prices gets the net ones."""
        for product in list(self._shops[name].products.values()):
            if not product.sku or product.type not in ("simple", "variation"):
                continue
            if name in COUNTERS:
                # Goods of its own: what is sold here is nobody else's.
                product.sku = own_code(name, product.sku)
                net = net_of(Decimal(product.regular_price), RATES[product.tax_class])
                stock = None if product.stock is None else Decimal(product.stock)
                self.counters[COUNTERS[name]].program.add(product.sku, product.name, price=net, stock=stock)
            elif name == SHOP:
                gross, rate = Decimal(product.regular_price), RATES[product.tax_class]
                net = net_of(gross, rate)
                stock = None if product.stock is None else Decimal(product.stock)
                self.catalogue.add(product.sku, product.name.upper(), net, gross, rate, gtin=product.gtin, stock=stock)
            elif not SHOPS[name]["prices_include_tax"]:
                product.regular_price = f"{self.catalogue.items[product.sku].net:f}"

    def close(self) -> None:
        """Close the shops."""
        self._stack.close()

    def environment(self) -> dict[str, str]:
        """The credentials of his shops, as Airflow and the command line read them."""
        return {
            variable(name): json.dumps(
                {
                    "conn_type": "woocommerce",
                    "host": address,
                    "login": shop.key,
                    "password": shop.secret,
                    "extra": {"webhook_secret": self._webhook_secrets[name]},
                }
            )
            for (name, address), shop in zip(self._addresses.items(), self._shops.values(), strict=True)
        }

    def write_environment(self) -> None:
        """A file to be sourced, readable by its owner alone: the only place on disk where the keys are."""
        exports = {**self.environment(), "COMPTOIR_CONFIG": str(self.config), "NO_PROXY": "127.0.0.1,localhost"}
        lines = [
            "# For a shell:  . demo.env",
            "unset COMPTOIR_DATABASE_URL COMPTOIR_RAW_KEY",
            *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
            f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
        ]
        self.environment_file.unlink(missing_ok=True)
        descriptor = os.open(self.environment_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")

    # -- what happens

    def next_event(self, shop: str) -> Happened:
        """The next event of a shop's day; after the last one another day begins."""
        if not self._days.get(shop):
            self._days[shop] = list(self._shop_kit.scripted_day(self._shops[shop]))
        step = self._days[shop].pop(0)
        done = Happened(shop, step.key, step.title_en, step.title_fr, step.act())
        self.happened.append(done)
        return done

    def whole_day(self) -> Sequence[Happened]:
        """A whole day in the busy shops, at once."""
        begun = len(self.happened)
        for shop in BUSY:
            self.next_event(shop)
            while self._days[shop]:
                self.next_event(shop)
        return self.happened[begun:]

    def numbers(self, shop: str, key: str) -> set[str]:
        """The orders to which events of a kind have happened."""
        return {event.number for event in self.happened if (event.shop, event.key) == (shop, key)}

    def import_files(self) -> Sequence[Handled]:
        """The person at each desk imports what is there, unless he forgets it, and the programs' lists go back."""
        present = {name: desk for name, desk in self.counters.items() if name not in self.away}
        found = [Handled(name, desk.step()) for name, desk in {**self.desks, **present}.items()]
        return [imported for imported in found if imported.files]

    def export(self) -> Sequence[Handled]:
        """The persons at the desks export items, stock and, of EBP, customers."""
        present = {name: desk for name, desk in self.counters.items() if name not in self.away}
        exporting = {OFFICE: self.desks[OFFICE], **present}
        return [Handled(name, desk.export()) for name, desk in exporting.items()]

    def send_webhooks(self) -> None:
        """Each shop runs its queue of webhooks once; how many were taken and how many were lost is counted."""
        for name, shop in self._shops.items():
            for request, status in self._shop_kit.send_webhooks(shop):
                if not request.topic:
                    continue  # the ping of a webhook that was just made
                (self.taken if status is not None and status < 300 else self.lost)[name] += 1

    def change(self, shop: str, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What he does in one of his shops, past its interface: `change("boutique", "PUT", "products/12", {...})`."""
        answer: dict[str, Any] = self._shop_kit.change(self._shops[shop], method, path, dict(body))
        return answer

    def sell(self, shop: str, sku: str, quantity: int) -> str:
        """A paid order of one article; its number."""
        order = {**BUYER, "line_items": [{"sku": sku, "quantity": quantity}]}
        return str(self.change(shop, "POST", "orders", order)["id"])

    # -- what is

    @property
    def catalogue(self) -> Any:
        """EBP's cards of articles."""
        return self.desks[OFFICE].books.catalogue

    def product(self, shop: str, sku: str) -> int:
        """A shop's product or variation by its SKU. KeyError when there is none."""
        for product in list(self._shops[shop].products.values()):
            if product.sku == sku:
                return int(product.id)
        raise KeyError(f"{shop} has no {sku}")

    def products(self, shop: str) -> list[int]:
        """Every product and variation of a shop."""
        return [int(number) for number in list(self._shops[shop].products)]

    def stocked(self, shop: str) -> list[str]:
        """The SKUs of which a shop counts the stock."""
        return [p.sku for p in list(self._shops[shop].products.values()) if p.sku and p.stock is not None]

    def shown(self, shop: str, kind: str, number: int) -> dict[str, Any]:
        """A record of `products` or `customers` as a shop shows it now."""
        found: dict[str, Any] = self._shop_kit.shown(self._shops[shop], kind, number)
        return found

    def written(self, shop: str) -> Sequence[Any]:
        """What was written through a shop's interface, and so by Comptoir: each with path, ids and keys."""
        found: Sequence[Any] = list(self._shops[shop].written)
        return found

    def webhooks(self, shop: str) -> dict[str, str]:
        """A shop's webhooks: topic -> state."""
        return {hook.topic: hook.status for hook in list(self._shops[shop].webhooks.hooks.values())}

    def open_demand(self, shop: str, without: set[str]) -> dict[str, int]:
        """Units by SKU that a shop has sold since the cutover and neither shipped nor given back.

        Unpaid orders count when they are paid late by nature (transfer, cheque, on delivery).
        """
        found: Counter[str] = Counter()
        since = {sale.number for sale in self.sales(shop) if sale.placed_on >= self.cutover} - without
        for number in since:
            order = self._shops[shop].order(int(number))
            late = order.method in ("bacs", "cheque", "cod")
            if not (order.status == "processing" or (order.status in ("on-hold", "pending") and late)):
                continue
            back: Counter[int] = Counter()
            for refund in order.refunds:
                for line in refund.lines:
                    back[line.refunds] += abs(line.quantity)
            for line in order.lines:
                if line.sku:
                    found[line.sku] += line.quantity - back[line.id]
        return dict(found)

    def sales(self, shop: str) -> Sequence[Sale]:
        """Every order of a shop."""
        found: Sequence[Sale] = self._shop_kit.sales(self._shops[shop])
        return found

    def fresh_books(self) -> Any:
        """An EBP that holds nothing yet, for reading files once more."""
        return self._desk_kit.EbpBooks()

    def now(self) -> datetime:
        """Aware now."""
        return SystemClock().now()
