"""A real Vendure for tests: started on the loopback, furnished as a small French shop, and what people do in it.

The packages are installed by `.ci/run` (`python -m tests.support.vendure install`), never by a test. As
`python -m tests.support.vendure record` it plays the scenario and writes the exchanges of the connector to
`tests/data/vendure/`; as `... golden` it makes the golden records of `mappings/vendure/` from those.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comptoir.app.system import SystemClock, SystemTransport
from comptoir.sdk import Clock, Credentials, HttpRequest, HttpResponse, Transport
from comptoir.testing import connector_context
from comptoir_vendure.config import VendureConfig
from comptoir_vendure.connector import VendureConnector

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "vendure"
MAPPINGS = ROOT / "mappings"
PEER = ROOT / "tests" / "support" / "peers" / "vendure"
#: Beside the environment: made by `install`, never committed.
INSTALLED = ROOT / ".venv" / "peers" / "vendure"
LOGIN, PASSWORD = "superadmin", "test-only-password"
SETTINGS: dict[str, Any] = {"gtin_field": "ean", "vat_field": "vatNumber"}
CONTEXT: dict[str, Any] = {
    "connection": "boutique",
    "channel": "boutique",
    "company.name": "Maison Exemple",
    "company.country": "FR",
    "company.currency": "EUR",
    "company.time_zone": "Europe/Paris",
    "company.siren": None,
    **{f"config.{name}": value for name, value in VendureConfig(**SETTINGS).model_dump().items()},
}


# --- the server -------------------------------------------------------------------------------------------------


def missing() -> str | None:
    """Why no real Vendure can be started here; None when one can."""
    if shutil.which("node") is None:
        return "node is not installed: the connector was NOT tried on a real Vendure (apt-get install nodejs npm)"
    if not (INSTALLED / "node_modules" / "@vendure" / "core").is_dir():
        return (
            "Vendure's packages are not installed: the connector was NOT tried on a real Vendure "
            "(python -m tests.support.vendure install)"
        )
    return None


def install() -> None:
    """Installs the packages of the lock beside the environment; CalledProcessError when npm fails."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEER / name, INSTALLED / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=INSTALLED, check=True, timeout=600)


@contextlib.contextmanager
def started(folder: Path, *, session: str = "1y") -> Iterator[Merchant]:
    """A running Vendure whose database lies in `folder`, and its merchant; `session`: how long a login lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "VENDURE_DISABLE_TELEMETRY": "true",
        "NODE_PATH": str(INSTALLED / "node_modules"),
    }
    # node looks for packages beside the script first.
    script = shutil.copy(PEER / "server.js", INSTALLED / "server.js")
    with (folder / "vendure.log").open("w+") as log:
        command = ["node", str(script), str(port), str(folder / "shop.sqlite"), session]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_ready(process, folder / "vendure.log")
            yield Merchant(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while "READY" not in log.read_text(encoding="utf-8"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Vendure did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(0.2)


# --- people -----------------------------------------------------------------------------------------------------


class Caller:
    """Somebody at one of Vendure's two APIs; keeps the session that it is given."""

    def __init__(self, base: str, api: str) -> None:
        self._url = f"{base}/{api}"
        self._token = ""

    def __call__(self, query: str, **variables: Any) -> Any:
        """The data; AssertionError with the errors of the answer, or of an ErrorResult in it."""
        headers = {"content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urllib.request.urlopen(urllib.request.Request(self._url, body, headers), timeout=30) as answer:
            self._token = answer.headers.get("vendure-auth-token") or self._token
            found = json.load(answer)
        assert not found.get("errors"), found["errors"]
        for value in found["data"].values():
            assert not (isinstance(value, dict) and "errorCode" in value), value
        return found["data"]

    def change(self, types: str, call: str, got: str = "", **variables: Any) -> Any:
        """A mutation whose answer may be an ErrorResult; `types` of its variables, and what is `got` of the result."""
        head = f"mutation({types})" if types else "mutation"
        return self(
            f"{head} {{ {call} {{ __typename {got} ... on ErrorResult {{ errorCode message }} }} }}", **variables
        )


def _args(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


class Merchant:
    """Who furnishes and runs the shop. `variants`, `shipping` and `taxes` are ids by SKU, code and name."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.admin = Caller(base, "admin-api")
        self.log_in()
        self.variants: dict[str, str] = {}
        self.shipping: dict[str, str] = {}
        self.taxes: dict[str, str] = {}

    def log_in(self) -> None:
        """A session of the administrator."""
        self.admin.change("", f'login(username: "{LOGIN}", password: "{PASSWORD}")')

    # -- furnishing ----------------------------------------------------------------------------------------------

    def furnish(self) -> None:
        """Countries, taxes, ways of payment and delivery, goods and a coupon."""
        admin = self.admin
        countries = {}
        for code, name in (("FR", "France"), ("DE", "Allemagne"), ("CH", "Suisse")):
            made = admin(
                "mutation($i: CreateCountryInput!) { createCountry(input: $i) { id } }",
                i={"code": code, "enabled": True, "translations": [{"languageCode": "en", "name": name}]},
            )
            countries[code] = made["createCountry"]["id"]
        zone_query = "mutation($n: String!, $m: [ID!]) { createZone(input: { name: $n, memberIds: $m }) { id } }"
        zone = admin(zone_query, n="Europe", m=list(countries.values()))["createZone"]["id"]
        channel = admin("{ activeChannel { id } }")["activeChannel"]["id"]
        basis = {"defaultTaxZoneId": zone, "defaultShippingZoneId": zone, "pricesIncludeTax": True}
        currency = {"defaultCurrencyCode": "EUR", "availableCurrencyCodes": ["EUR"]}
        admin.change(
            "$i: UpdateChannelInput!",
            "updateChannel(input: $i)",
            i={"id": channel, **basis, **currency},
        )
        for name, rate in (("Normal", 20.0), ("Réduit", 5.5)):
            made = admin("mutation($n: String!) { createTaxCategory(input: { name: $n }) { id } }", n=name)
            self.taxes[name] = made["createTaxCategory"]["id"]
            admin(
                "mutation($i: CreateTaxRateInput!) { createTaxRate(input: $i) { id } }",
                i={
                    "name": f"TVA {rate:g} %",
                    "enabled": True,
                    "value": rate,
                    "categoryId": self.taxes[name],
                    "zoneId": zone,
                },
            )
        self._ways()
        self._goods()
        admin.change(
            "$i: CreatePromotionInput!",
            "createPromotion(input: $i)",
            i={
                "enabled": True,
                "couponCode": "BIENVENUE",
                "translations": [{"languageCode": "en", "name": "Bienvenue : 10 %"}],
                "conditions": [],
                "actions": [{"code": "order_percentage_discount", "arguments": _args(discount="10")}],
            },
        )

    def _ways(self) -> None:
        for code, name, price in (("colissimo", "Colissimo", "590"), ("retrait", "Retrait en boutique", "0")):
            made = self.admin(
                "mutation($i: CreateShippingMethodInput!) { createShippingMethod(input: $i) { id } }",
                i={
                    "code": code,
                    "fulfillmentHandler": "manual-fulfillment",
                    "checker": {"code": "default-shipping-eligibility-checker", "arguments": _args(orderMinimum="0")},
                    "calculator": {
                        "code": "default-shipping-calculator",
                        "arguments": _args(rate=price, includesTax="auto", taxRate="20"),
                    },
                    "translations": [{"languageCode": "en", "name": name, "description": ""}],
                },
            )
            self.shipping[code] = made["createShippingMethod"]["id"]
        for code, settles in (("cb", "true"), ("cheque", "false")):
            self.admin(
                "mutation($i: CreatePaymentMethodInput!) { createPaymentMethod(input: $i) { id } }",
                i={
                    "code": code,
                    "enabled": True,
                    "handler": {"code": "dummy-payment-handler", "arguments": _args(automaticSettle=settles)},
                    "translations": [{"languageCode": "en", "name": code}],
                },
            )

    def _goods(self) -> None:
        self.place = self.admin("{ stockLocations { items { id } } }")["stockLocations"]["items"][0]["id"]
        self.product("CAF-001", "Café moulu 250 g", 690, "Réduit", ean="3760000000017")
        self.product("THE-002", "Thé vert 100 g", 850, "Réduit")
        self.product("MUG-003", "Mug émaillé", 1400, "Normal")
        group = self.admin(
            "mutation($i: CreateProductOptionGroupInput!) "
            "{ createProductOptionGroup(input: $i) { id options { id } } }",
            i={
                "code": "taille",
                "translations": [{"languageCode": "en", "name": "Taille"}],
                "options": [
                    {"code": size, "translations": [{"languageCode": "en", "name": size.upper()}]}
                    for size in ("s", "m")
                ],
            },
        )["createProductOptionGroup"]
        shirt = self._product("T-shirt", "t-shirt")
        self.admin(
            "mutation($p: ID!, $g: ID!) { addOptionGroupToProduct(productId: $p, optionGroupId: $g) { id } }",
            p=shirt, g=group["id"],
        )  # fmt: skip
        for size, option in zip("SM", group["options"], strict=True):
            self._variant(shirt, f"TSH-{size}", f"T-shirt {size}", 1990, "Normal", options=[option["id"]])
        self.product("CARTE", "Carte postale", 150, "Normal", tracked="FALSE")

    def _product(self, name: str, slug: str) -> str:
        made = self.admin(
            "mutation($i: CreateProductInput!) { createProduct(input: $i) { id } }",
            i={"translations": [{"languageCode": "en", "name": name, "slug": slug, "description": ""}]},
        )
        return str(made["createProduct"]["id"])

    def product(self, sku: str, name: str, price: int, tax: str, **more: str) -> str:
        """A product with one variant; the variant's id."""
        return self._variant(self._product(name, sku.lower()), sku, name, price, tax, **more)

    def _variant(self, product: str, sku: str, name: str, price: int, tax: str, **more: Any) -> str:
        made = self.admin(
            "mutation($i: [CreateProductVariantInput!]!) { createProductVariants(input: $i) { id } }",
            i=[
                {
                    "productId": product,
                    "sku": sku,
                    "price": price,
                    "taxCategoryId": self.taxes[tax],
                    "trackInventory": more.get("tracked", "INHERIT"),
                    "optionIds": more.get("options", []),
                    "stockLevels": [{"stockLocationId": self.place, "stockOnHand": 50}],
                    "translations": [{"languageCode": "en", "name": name}],
                    "customFields": {"ean": more.get("ean")},
                }
            ],
        )
        self.variants[sku] = str(made["createProductVariants"][0]["id"])
        return self.variants[sku]

    # -- selling -------------------------------------------------------------------------------------------------

    def cart(self, pieces: Mapping[str, int], **buyer: str) -> Caller:
        """A visitor who has filled a cart and said who he is, up to the delivery."""
        shop = Caller(self.base, "shop-api")
        for sku, count in pieces.items():
            shop.change(
"$v: ID!, $n: Int!", "addItemToOrder(productVariantId: $v, quantity: $n)",
                v=self.variants[sku], n=count,
            )  # fmt: skip
        if coupon := buyer.get("coupon"):
            shop.change("$c: String!", "applyCouponCode(couponCode: $c)", c=coupon)
        first, last = buyer.get("name", "Jeanne Martin").split(" ", 1)
        shop.change(
            "$i: CreateCustomerInput!",
            "setCustomerForOrder(input: $i)",
            i={
                "emailAddress": buyer.get("mail", "jeanne.martin@example.test"),
                "firstName": first,
                "lastName": last,
                "phoneNumber": "+33612345678",
            },
        )
        address = {
            "fullName": buyer.get("to", f"{first} {last}"),
            "streetLine1": "3 quai des Brumes",
            "city": "Nantes",
            "postalCode": "44000",
            "countryCode": buyer.get("country", "FR"),
        }
        for kind in ("Shipping", "Billing"):
            named = {**address, "company": buyer["company"]} if kind == "Billing" and "company" in buyer else address
            if kind == "Shipping" or "company" in buyer:
                shop.change(
                    "$i: CreateAddressInput!",
                    f"setOrder{kind}Address(input: $i)",
                    i=named,
                )
        shop.change(
            "$m: [ID!]!",
            "setOrderShippingMethod(shippingMethodId: $m)",
            m=[self.shipping[buyer.get("by", "colissimo")]],
        )
        return shop

    def sell(self, pieces: Mapping[str, int], *, paid_by: str = "cb", **buyer: str) -> dict[str, Any]:
        """A placed order, as `order` shows it."""
        return self.place_order(self.cart(pieces, **buyer), paid_by)

    def place_order(self, shop: Caller, paid_by: str = "cb") -> dict[str, Any]:
        """Places the order of a cart."""
        shop.change("", 'transitionOrderToState(state: "ArrangingPayment")')
        made = shop.change(
            "$i: PaymentInput!",
            "addPaymentToOrder(input: $i)",
            "... on Order { id }",
            i={"method": paid_by, "metadata": {}},
        )
        return self.order(made["addPaymentToOrder"]["id"])

    def order(self, number: str) -> dict[str, Any]:
        """An order with what the steps below need of it."""
        found = self.admin(
            "query($i: ID!) { order(id: $i) { id code state totalWithTax lines { id quantity } "
            "payments { id amount state refunds { id state total } } fulfillments { id } } }",
            i=number,
        )
        return dict(found["order"])

    def refund(self, order: Mapping[str, Any], *, pieces: Mapping[str, int] | None = None, **more: Any) -> str:
        """Gives money back and settles it; `pieces` by line id."""
        lines = [{"orderLineId": line, "quantity": count} for line, count in (pieces or {}).items()]
        made = self.admin.change(
            "$i: RefundOrderInput!",
            "refundOrder(input: $i)",
            "... on Refund { id state }",
            i={"lines": lines, "shipping": 0, "adjustment": 0, "paymentId": order["payments"][0]["id"], **more},
        )["refundOrder"]
        if made["state"] == "Pending":
            self.settle_refund(made["id"])
        return str(made["id"])

    def settle_refund(self, number: str) -> None:
        """The money has gone back."""
        self.admin.change(
            "$i: SettleRefundInput!",
            "settleRefund(input: $i)",
            i={"id": number, "transactionId": f"R-{number}"},
        )

    def cancel(self, order: Mapping[str, Any], pieces: Mapping[str, int] | None = None, shipping: bool = False) -> None:
        """Takes pieces (by line id) or all of them out of an order."""
        lines = [{"orderLineId": line, "quantity": count} for line, count in pieces.items()] if pieces else None
        self.admin.change(
            "$i: CancelOrderInput!",
            "cancelOrder(input: $i)",
            i={"orderId": order["id"], "lines": lines, "cancelShipping": shipping, "reason": "rupture"},
        )

    def ship(self, order: Mapping[str, Any], tracking: str = "6A12345678901", *, deliver: bool = False) -> None:
        """All pieces leave."""
        lines = [{"orderLineId": line["id"], "quantity": line["quantity"]} for line in order["lines"]]
        handler = {"code": "manual-fulfillment", "arguments": _args(method="Colissimo", trackingCode=tracking)}
        made = self.admin.change(
            "$i: FulfillOrderInput!",
            "addFulfillmentToOrder(input: $i)",
            "... on Fulfillment { id }",
            i={"lines": lines, "handler": handler},
        )
        for state in ("Shipped", *(("Delivered",) if deliver else ())):
            self.admin.change(
"$i: ID!, $s: String!", "transitionFulfillmentToState(id: $i, state: $s)",
                i=made["addFulfillmentToOrder"]["id"], s=state,
            )  # fmt: skip

    def settle(self, order: Mapping[str, Any]) -> None:
        """The money of an authorised payment has come in."""
        self.admin.change("$i: ID!", "settlePayment(id: $i)", i=order["payments"][0]["id"])

    def modify(self, order: Mapping[str, Any], **changes: Any) -> None:
        """Changes a placed order; what it costs more is paid by a cheque."""
        go = "$i: ID!, $s: String!", "transitionOrderToState(id: $i, state: $s)"
        self.admin.change(*go, i=order["id"], s="Modifying")
        self.admin.change(
            "$i: ModifyOrderInput!",
            "modifyOrder(input: $i)",
            i={"dryRun": False, "orderId": order["id"], **changes},
        )
        self.admin.change(*go, i=order["id"], s="ArrangingAdditionalPayment")
        self.admin.change(
            "$i: ManualPaymentInput!",
            "addManualPaymentToOrder(input: $i)",
            i={"orderId": order["id"], "method": "cheque", "transactionId": "CHQ-1", "metadata": {}},
        )

    def set_variant(self, sku: str, **values: Any) -> None:
        """Changes a variant in the shop's own back office."""
        if "on_hand" in values:
            values["stockLevels"] = [{"stockLocationId": self.place, "stockOnHand": values.pop("on_hand")}]
        self.admin(
            "mutation($i: [UpdateProductVariantInput!]!) { updateProductVariants(input: $i) { id } }",
            i=[{"id": self.variants[sku], **values}],
        )

    def variant(self, sku: str) -> dict[str, Any]:
        """A variant as the shop shows it."""
        found = self.admin(
            "query($i: ID!) { productVariant(id: $i) { id sku name enabled trackInventory outOfStockThreshold "
            "useGlobalOutOfStockThreshold prices { currencyCode price } taxCategory { name } customFields { ean } "
            "translations { languageCode name } facetValues { id } options { name } "
            "stockLevels { stockOnHand stockAllocated stockLocation { name } } } }",
            i=self.variants[sku],
        )
        return dict(found["productVariant"])


def scenario(merchant: Merchant) -> dict[str, dict[str, Any]]:
    """What happens in the recorded shop: orders by what is special about them."""
    sell = merchant.sell
    orders = {"guest": sell({"CAF-001": 2, "MUG-003": 1})}
    customer = merchant.admin.change(
        "$i: CreateCustomerInput!, $p: String",
        "createCustomer(input: $i, password: $p)",
        "... on Customer { id }",
        i={
            "emailAddress": "achats@atelier.example.test",
            "firstName": "Paul",
            "lastName": "Petit",
            "phoneNumber": "+33298000000",
            "customFields": {"vatNumber": "FR 12 345678901"},
        },
        p="test-only-password-2",
    )["createCustomer"]["id"]
    for town, billing in (("Brest", True), ("Quimper", False)):
        merchant.admin(
            "mutation($c: ID!, $i: CreateAddressInput!) { createCustomerAddress(customerId: $c, input: $i) { id } }",
            c=customer,
            i={
                "fullName": "Paul Petit" if billing else "Dépôt",
                "company": "Atelier du Port" if billing else "",
                "streetLine1": "2 rue de Siam",
                "streetLine2": "BP 12",
                "city": town,
                "postalCode": "29200",
                "countryCode": "FR",
                "defaultBillingAddress": billing,
                "defaultShippingAddress": not billing,
            },
        )
    orders["coupon"] = sell(
        {"CAF-001": 3, "THE-002": 1, "TSH-M": 1}, coupon="BIENVENUE", name="Claire Moreau", mail="claire@example.test",
        company="Moreau SARL", to="Bureau Moreau",
    )  # fmt: skip
    merchant.ship(orders["coupon"], deliver=True)
    orders["cancelled piece"] = order = sell({"MUG-003": 3}, name="Luc Bernard", mail="luc@example.test")
    line = order["lines"][0]["id"]
    merchant.cancel(order, {line: 1})
    merchant.refund(order, pieces={line: 1}, reason="Mug cassé")
    orders["cheque"] = sell({"THE-002": 2}, paid_by="cheque", by="retrait")
    orders["goodwill"] = order = sell({"TSH-S": 1})
    merchant.refund(order, amount=500, reason="Geste commercial")
    orders["cancelled"] = order = sell({"CAF-001": 1}, name="Zoé Leroy", mail="zoe@example.test")
    merchant.cancel(order, shipping=True)
    merchant.refund(order, pieces={order["lines"][0]["id"]: 1}, shipping=590, reason="Annulation")
    orders["modified"] = order = sell({"MUG-003": 1})
    surcharge = {"description": "Emballage cadeau", "price": 250, "priceIncludesTax": True, "taxRate": 20}
    merchant.modify(
        order,
        addItems=[{"productVariantId": merchant.variants["CARTE"], "quantity": 2}],
        surcharges=[{**surcharge, "taxDescription": "TVA 20 %"}],
    )
    orders["germany"] = sell({"MUG-003": 2}, country="DE", name="Anna Schmidt", mail="anna@example.test")
    orders["unpaid pieces cancelled"] = order = sell({"MUG-003": 2}, paid_by="cheque", mail="ivan@example.test")
    merchant.cancel(order, {order["lines"][0]["id"]: 1})
    merchant.cart({"MUG-003": 1}, mail="flaneur@example.test")  # a cart, which is no order yet
    return orders


# --- the connector ----------------------------------------------------------------------------------------------


def connector(
    base: str, transport: Transport | None = None, *, clock: Clock | None = None, **settings: Any
) -> VendureConnector:
    """A connector of the furnished shop."""
    ctx = connector_context(
        transport=transport or SystemTransport(),
        credentials=Credentials(host=base, login=LOGIN, password=PASSWORD),
        connection="boutique",
        clock=clock or SystemClock(),
    )
    return VendureConnector(VendureConfig(**{**SETTINGS, **settings}), ctx)


class Recorder:
    """A transport that keeps what was said, without credentials."""

    def __init__(self) -> None:
        self._inner = SystemTransport()
        self.exchanges: list[dict[str, Any]] = []

    def send(self, request: HttpRequest, *, timeout: float, max_bytes: int) -> HttpResponse:
        answer = self._inner.send(request, timeout=timeout, max_bytes=max_bytes)
        sent = json.loads(request.body or b"{}")
        if sent.get("variables", {}).get("password") != PASSWORD:
            kept = {name: answer.headers[name] for name in ("content-type", "date") if name in answer.headers}
            response = {"status": answer.status, "headers": kept, "body": json.loads(answer.body)}
            self.exchanges.append({"request": sent, "response": response})
        return answer


def write(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """JSON with a line end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def main(argv: list[str]) -> None:
    from tests.support.vendure_recording import golden, record

    match argv:
        case ["install"]:
            install()
        case ["record"]:
            record()
            golden()
        case ["golden"]:
            golden()
        case _:
            raise SystemExit("usage: python -m tests.support.vendure install|record|golden")


if __name__ == "__main__":
    main(sys.argv[1:])
