"""A merchant whose shop is a Vendure, real or sandbox, reached over real sockets."""

from __future__ import annotations

from pathlib import Path

from comptoir.app.bootstrap import system_ports
from comptoir.engine.ports import Ports
from comptoir.sdk import Credentials

from tests.support.merchant import Merchant

CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.boutique]
connector = "vendure"
cutover = "2020-01-01"
invoicing = "gesco"
currency = "EUR"
prices_include_tax = true
gtin_field = "ean"
vat_field = "vatNumber"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"
item_identity = "Identity"

[routes.orders]
entity = "order"
from = "boutique"
to = ["gesco"]

[routes.items]
entity = "item"
from = "gesco"
to = ["boutique"]
fields = ["price"]

[routes.stock]
entity = "stock"
from = "gesco"
to = ["boutique"]
"""


class _One:
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get(self, connection: str) -> Credentials | None:
        return self._credentials if connection == "boutique" else None


class VendureMerchant(Merchant):
    """An installation with one Vendure and one EBP folder."""

    def __init__(self, folder: Path, url: str, credentials: Credentials) -> None:
        super().__init__(folder, url, CONFIG)
        self._credentials = credentials

    def ports(self) -> Ports:
        real = system_ports(_One(self._credentials))
        return Ports(
            clock=self.clock,
            ids=real.ids,
            random=real.random,
            tasks=real.tasks,
            transport=real.transport,
            secrets=_One(self._credentials),
        )
