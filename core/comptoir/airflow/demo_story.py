"""The merchant of the demo: his configuration, his two shops, and the person at the desk who runs EBP."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from comptoir.app.connectors import load_connector
from comptoir.app.credentials import variable
from comptoir.app.system import SystemClock, SystemRandom

__all__ = ["Happened", "Imported", "Merchant", "Sale", "Step", "sandbox_of"]

#: Days before today from which on the hub passes documents on; the shops have been open for longer.
CUTOVER_DAYS: Final = 4
SEEDED_DAYS: Final = 9
SEEDED_ORDERS: Final = 40

CONFIG: Final = """\
# The merchant of Comptoir's demo. No secret belongs here: the keys of the shops are in the environment
# (AIRFLOW_CONN_BOUTIQUE, AIRFLOW_CONN_ATELIER).

[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]          # WooCommerce 11.0; its sales are numbered and booked by the back office
connector = "woocommerce"
cutover = "{cutover}"          # earlier orders are kept and matched, never delivered or posted
invoicing = "gesco"

[connections.atelier]           # WooCommerce 7.9, prices without tax; its sales are booked by the hub
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "self"

[connections.gesco]             # EBP Gestion Commerciale
connector = "ebp"
folder = "exchange/gesco"

[connections.compta]            # EBP Comptabilité
connector = "ebp"
folder = "exchange/compta"

[routes.orders]                 # with their refunds
entity = "order"
from = "boutique"
to = ["gesco"]
schedule = "* * * * *"

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
schedule = "* * * * *"

[routes.books]
entity = "journal_entry"
from = "hub"
to = ["compta"]
schedule = "* * * * *"
"""

#: Name -> what kind of shop it is. The seeds are those of shops that sell in France only.
SHOPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "boutique": {"version": "11.0.1", "seed": 15, "prices_include_tax": True},
    "atelier": {"version": "7.9.0", "seed": 45, "prices_include_tax": False},
}
DESKS: Final = ("gesco", "compta")


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
        """The keys of his shops, which must not turn up anywhere."""
        return [text for shop in self._shops.values() for text in (shop.key, shop.secret)]

    @property
    def shops(self) -> Sequence[str]:
        """The names of his shops."""
        return tuple(SHOPS)

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where his shops are."""
        return self._addresses

    def write_files(self) -> None:
        """The configuration and the folders that he shares with EBP."""
        self.config.write_text(CONFIG.format(cutover=self.cutover), encoding="utf-8")
        for desk in DESKS:
            exchange = self.folder / "exchange" / desk
            exchange.mkdir(parents=True, exist_ok=True)
            self.desks[desk] = self._desk_kit.EbpSandbox(exchange)

    def open_shops(self) -> None:
        """Two shops with orders of the last days, each on a port of its own of this machine."""
        random = SystemRandom()
        for name, settings in SHOPS.items():
            shop = self._shop_kit.WooCommerceSandbox(
                clock=self._shop_kit.ServerClock(),
                key=f"ck_{random.bytes(20).hex()}",
                secret=f"cs_{random.bytes(20).hex()}",
                **settings,
            )
            shop.seed_orders(SEEDED_ORDERS, days=SEEDED_DAYS)
            self._addresses[name] = self._stack.enter_context(self._shop_kit.serve(shop))
            self._shops[name] = shop

    def close(self) -> None:
        """Close the shops."""
        self._stack.close()

    def environment(self) -> dict[str, str]:
        """The credentials of his shops, as Airflow and the command line read them."""
        return {
            variable(name): json.dumps(
                {"conn_type": "woocommerce", "host": address, "login": shop.key, "password": shop.secret}
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

    # -- what is

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
