"""The merchant of the demo: his configuration, his two shops, and the person at the desk who runs EBP."""

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

from comptoir.app.connectors import load_connector
from comptoir.app.credentials import variable
from comptoir.app.system import SystemClock, SystemRandom

__all__ = ["OFFICE", "SHOP", "Happened", "Imported", "Merchant", "Sale", "Step", "net_of", "sandbox_of"]

#: Days before today from which on the hub passes documents on; the shops have been open for longer.
CUTOVER_DAYS: Final = 4
SEEDED_DAYS: Final = 9
SEEDED_ORDERS: Final = 40

CONFIG: Final = """\
# The merchant of Comptoir's demo. No secret belongs here: the keys of the shops are in the environment
# (AIRFLOW_CONN_BOUTIQUE, AIRFLOW_CONN_ATELIER). A real shop would be polled every quarter of an hour: webhooks bring
# what happens, and the schedule what a lost one did not say.

[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[gateway]                       # where the shops reach `comptoir gateway`; their webhooks are made and kept standing
url = "{gateway}"

[connections.boutique]          # WooCommerce 11.0; its sales are numbered and booked by the back office
connector = "woocommerce"
cutover = "{cutover}"          # earlier orders are kept and matched, never delivered or posted
invoicing = "gesco"

[connections.atelier]           # WooCommerce 7.9, prices without tax; its sales are booked by the hub
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "self"

[connections.gesco]             # EBP Gestion Commerciale: takes orders; prices, stock and addresses come from it
connector = "ebp"
folder = "exchange/gesco"
item_identity = "Article - Identifiant unique"

[connections.compta]            # EBP Comptabilité
connector = "ebp"
folder = "exchange/compta"

[routes.orders]                 # with their refunds, and with their buyers
entity = "order"
from = "boutique"
to = ["gesco"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.items]                  # prices, codes and barcodes; what a shop does not have waits: comptoir match list
entity = "item"
from = "gesco"
to = ["boutique", "atelier"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.stock]                  # what may be offered: counted, less what EBP has promised, less open orders
entity = "stock"
from = "gesco"
to = ["boutique", "atelier"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.customers_back]         # the other way: only what somebody changed in EBP
entity = "customer"
from = "gesco"
to = ["boutique"]
schedule = "* * * * *"

[routes.books]
entity = "journal_entry"
from = "hub"
to = ["compta"]
schedule = "* * * * *"
triggers = ["webhook"]
"""

#: Name -> what kind of shop it is. The seeds are those of shops that sell in France only.
SHOPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "boutique": {"version": "11.0.1", "seed": 15, "prices_include_tax": True},
    "atelier": {"version": "7.9.0", "seed": 45, "prices_include_tax": False},
}
DESKS: Final = ("gesco", "compta")
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
class Imported:
    """What the person at one desk has just imported."""

    desk: str
    files: Sequence[str]


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
        """The configuration and the folders that he shares with EBP. `gateway`: the address for webhooks."""
        self.config.write_text(CONFIG.format(cutover=self.cutover, gateway=gateway), encoding="utf-8")
        for desk in DESKS:
            exchange = self.folder / "exchange" / desk
            exchange.mkdir(parents=True, exist_ok=True)
            self.desks[desk] = self._desk_kit.EbpSandbox(exchange)

    def open_shops(self) -> None:
        """Two shops with orders of the last days, each on a port of its own of this machine.

        EBP has a card for each of their articles; the atelier's prices are EBP's without tax.
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
            shop.seed_orders(SEEDED_ORDERS, days=SEEDED_DAYS)
            self._addresses[name] = self._stack.enter_context(self._shop_kit.serve(shop))
            self._webhook_secrets[name] = random.bytes(20).hex()

    def _price(self, name: str) -> None:
        """EBP's card for each article of the first shop; a shop without tax in its prices gets the net ones."""
        for product in list(self._shops[name].products.values()):
            if not product.sku or product.type not in ("simple", "variation"):
                continue
            if name == SHOP:
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
        """A whole day in both shops, at once."""
        begun = len(self.happened)
        for shop in SHOPS:
            self.next_event(shop)
            while self._days[shop]:
                self.next_event(shop)
        return self.happened[begun:]

    def numbers(self, shop: str, key: str) -> set[str]:
        """The orders to which events of a kind have happened."""
        return {event.number for event in self.happened if (event.shop, event.key) == (shop, key)}

    def import_files(self) -> Sequence[Imported]:
        """The person at each desk imports what is there, and EBP's lists go back."""
        found = [Imported(name, desk.step()) for name, desk in self.desks.items()]
        return [imported for imported in found if imported.files]

    def export(self) -> Sequence[str]:
        """The person at the desk exports EBP's items, stock and customers; the names of the files."""
        written: Sequence[str] = self.desks[OFFICE].export()
        return written

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
