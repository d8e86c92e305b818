"""Orders and customers, as a Vendure shop keeps them: what moves `updatedAt` and what does not is as was observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from comptoir_vendure._sandbox.goods import Goods, second

__all__ = ["Sales"]

_ONE = Decimal(1)
_SHIPPING = 590
_ADDRESS = ("fullName", "company", "streetLine1", "streetLine2", "city", "province", "postalCode", "countryCode")


def _half_up(value: Decimal) -> int:
    return int(value.quantize(_ONE, ROUND_HALF_UP))


class Sales:
    """Orders by id. Prices include tax, as in the recorded shop."""

    def __init__(self, goods: Goods, now: Callable[[], datetime]) -> None:
        self._goods = goods
        self._now = now
        self.orders: dict[str, dict[str, Any]] = {}
        self.customers: dict[str, dict[str, Any]] = {}
        self._numbers: dict[str, int] = {}

    # --- people -----------------------------------------------------------------------------------------------

    def customer(self, mail: str, first: str, last: str, *, login: bool = False, city: str = "Nantes") -> str:
        """The customer with this e-mail address, made when there is none."""
        for row in self.customers.values():
            if row["emailAddress"] == mail:
                return str(row["id"])
        number = self._number("customer")
        place = {
            "id": self._number("address"),
            "fullName": f"{first} {last}",
            "company": "",
            "streetLine1": "3 quai des Brumes",
            "streetLine2": "",
            "city": city,
            "province": "",
            "postalCode": "44000",
            "country": {"code": "FR"},
            "phoneNumber": "",
            "defaultShippingAddress": True,
            "defaultBillingAddress": True,
        }
        self.customers[number] = {
            "id": number,
            "createdAt": self._stamp(),
            "updatedAt": self._stamp(),
            "title": None,
            "firstName": first,
            "lastName": last,
            "emailAddress": mail,
            "phoneNumber": "+33612345678",
            "customFields": {"vatNumber": None},
            "user": {"id": number, "verified": True} if login else None,
            "groups": [],
            "addresses": [place],
        }
        return number

    def edit_customer(self, number: str, **values: Any) -> None:
        """A customer changes; `city` is that of the address, which does not move the customer's date (observed)."""
        if "city" in values:
            self.customers[number]["addresses"][0]["city"] = values.pop("city")
        if values:
            self.customers[number] |= {**values, "updatedAt": self._stamp()}

    # --- orders -----------------------------------------------------------------------------------------------

    def cart(self, pieces: Mapping[str, int], *, mail: str = "jeanne.martin@example.test") -> str:
        """A cart with what it holds, by variant; its order's id."""
        number = self._number("order")
        first, last = "Jeanne", "Martin"
        place = dict.fromkeys(_ADDRESS, "") | {
            "fullName": f"{first} {last}",
            "streetLine1": "3 quai des Brumes",
            "city": "Nantes",
            "postalCode": "44000",
            "countryCode": "FR",
            "phoneNumber": None,
        }
        self.orders[number] = {
            "id": number,
            "type": "Regular",
            "code": f"SANDBOX{int(number):09d}",
            "state": "AddingItems",
            "active": True,
            "createdAt": self._stamp(),
            "updatedAt": self._stamp(),
            "orderPlacedAt": None,
            "currencyCode": "EUR",
            "couponCodes": [],
            "customer": self.customer(mail, first, last),
            "shippingAddress": place,
            "billingAddress": dict.fromkeys((*_ADDRESS, "phoneNumber")),
            "lines": [
                {"id": self._number("line"), "variant": variant, "quantity": count, "orderPlacedQuantity": 0}
                for variant, count in pieces.items()
            ],
            "surcharges": [],
            "discounts": [],
            "payments": [],
            "fulfillments": [],
        }
        return number

    def place(self, number: str, method: str = "cb", *, settles: bool = True) -> None:
        """The cart is paid and becomes an order. Its `updatedAt` stays that of the cart (observed)."""
        order = self.orders[number]
        for line in order["lines"]:
            line["orderPlacedQuantity"] = line["quantity"]
            self._goods.allocate(line["variant"], line["quantity"])
        order["orderPlacedAt"] = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        order["state"] = "PaymentSettled" if settles else "PaymentAuthorized"
        order["active"] = False
        self._pay(order, method, self.totals(order)["totalWithTax"], "Settled" if settles else "Authorized")

    def _pay(self, order: dict[str, Any], method: str, amount: int, state: str) -> None:
        number = self._number("payment")
        order["payments"].append(
            {
                "id": number,
                "createdAt": self._stamp(),
                "method": method,
                "state": state,
                "amount": amount,
                "transactionId": f"T{number}",
                "refunds": [],
            }
        )

    def refund(
        self, number: str, *, amount: int = 0, pieces: Mapping[str, int] | None = None, shipping: int = 0
    ) -> str:
        """Money goes back: for pieces (by line id), the shipping, or just an amount. No date moves (observed)."""
        order = self.orders[number]
        items = 0
        for line in order["lines"]:
            items += (pieces or {}).get(line["id"], 0) * self._goods.variants[line["variant"]]["price"]
        made = self._number("refund")
        order["payments"][0]["refunds"].append(
            {
                "id": made,
                "createdAt": self._stamp(),
                "state": "Settled",
                "items": items,
                "shipping": shipping,
                "adjustment": 0,
                "total": amount or items + shipping,
                "method": order["payments"][0]["method"],
                "reason": "Geste",
                "transactionId": f"R-{made}",
                "lines": [{"orderLineId": line, "quantity": count} for line, count in (pieces or {}).items()],
            }
        )
        return made

    def cancel(self, number: str, pieces: Mapping[str, int] | None = None, *, shipping: bool = False) -> None:
        """Pieces (by line id), or all of them, are taken out of an order: its total falls and its date moves."""
        order = self.orders[number]
        for line in order["lines"]:
            count = line["quantity"] if pieces is None else pieces.get(line["id"], 0)
            line["quantity"] -= count
            self._goods.allocate(line["variant"], -count)
        if shipping:
            net = _half_up(Decimal(_SHIPPING) / Decimal("1.2"))
            amounts = {"amount": -net, "amountWithTax": -_SHIPPING}
            words = {"adjustmentSource": "CANCEL_ORDER", "type": "OTHER", "description": "shipping cancellation"}
            order["discounts"].append({**words, **amounts})
        order["updatedAt"] = self._stamp()
        if not any(line["quantity"] for line in order["lines"]):
            order["state"] = "Cancelled"

    def surcharge(self, number: str, gross: int, words: str = "Emballage cadeau") -> None:
        """The merchant adds something to pay, and it is paid: the total rises and the order's date moves."""
        order = self.orders[number]
        net = _half_up(Decimal(gross) / Decimal("1.2"))
        tax = [{"description": "TVA 20 %", "taxRate": 20}]
        amounts = {"price": net, "priceWithTax": gross, "taxLines": tax}
        order["surcharges"].append({"id": self._number("surcharge"), "description": words, "sku": "", **amounts})
        self._pay(order, "cheque", gross, "Settled")
        order["updatedAt"] = self._stamp()

    def ship(self, number: str, tracking: str = "6A12345678901") -> None:
        """Everything leaves. No date of the order moves (observed)."""
        order = self.orders[number]
        for line in order["lines"]:
            self._goods.fulfil(line["variant"], line["quantity"])
        order["fulfillments"].append(
            {
                "id": self._number("fulfillment"),
                "createdAt": self._stamp(),
                "state": "Shipped",
                "method": "Colissimo",
                "trackingCode": tracking,
                "lines": [{"orderLineId": line["id"], "quantity": line["quantity"]} for line in order["lines"]],
            }
        )
        order["state"] = "Shipped"

    # --- what is seen from outside ----------------------------------------------------------------------------

    def shown(self, number: str) -> dict[str, Any]:
        """An order as the Admin API shows it."""
        order = self.orders[number]
        customer = self.customers[order["customer"]]
        back = any(row["adjustmentSource"] == "CANCEL_ORDER" for row in order["discounts"])
        way = {
            "id": number,
            "shippingMethod": {"code": "colissimo", "name": "Colissimo"},
            # Not rounded (observed).
            "price": float(Decimal(_SHIPPING) / Decimal("1.2")),
            "priceWithTax": _SHIPPING,
            "discountedPrice": 0 if back else float(Decimal(_SHIPPING) / Decimal("1.2")),
            "discountedPriceWithTax": 0 if back else _SHIPPING,
        }
        known = {name: value for name, value in order.items() if name not in ("customer", "lines")}
        return {
            **known,
            **self.totals(order),
            "customer": customer,
            "lines": [self._line(line) for line in order["lines"]],
            "shippingLines": [way],
        }

    def _line(self, line: Mapping[str, Any]) -> dict[str, Any]:
        gross = Decimal(self._goods.variants[line["variant"]]["price"])
        rate = self._goods.rate(line["variant"])
        net = gross / (1 + Decimal(str(rate)) / 100)
        variant = self._goods.variants[line["variant"]]
        one, whole = _half_up(net), _half_up(net * line["quantity"])
        with_tax = int(gross) * line["quantity"]
        return {
            "id": line["id"],
            "quantity": line["quantity"],
            "orderPlacedQuantity": line["orderPlacedQuantity"],
            "productVariant": {name: variant[name] for name in ("id", "sku", "name")},
            **{f"{kind}UnitPrice" if kind else "unitPrice": one for kind in ("", "prorated")},
            **{f"{kind}UnitPriceWithTax" if kind else "unitPriceWithTax": int(gross) for kind in ("", "prorated")},
            **{f"{kind}LinePrice" if kind else "linePrice": whole for kind in ("", "prorated")},
            **{f"{kind}LinePriceWithTax" if kind else "linePriceWithTax": with_tax for kind in ("", "prorated")},
            "taxLines": [{"description": f"TVA {rate:g} %", "taxRate": rate}],
        }

    def totals(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The sums of an order, in smallest units."""
        lines = [self._line(line) for line in order["lines"]]
        more = order["surcharges"]
        net = sum(row["linePrice"] for row in lines) + sum(row["price"] for row in more)
        gross = sum(row["linePriceWithTax"] for row in lines) + sum(row["priceWithTax"] for row in more)
        back = any(row["adjustmentSource"] == "CANCEL_ORDER" for row in order["discounts"])
        shipping, with_tax = (0, 0) if back else (_half_up(Decimal(_SHIPPING) / Decimal("1.2")), _SHIPPING)
        rates: dict[float, list[int]] = {}
        parts = [(row, row["linePrice"], row["linePriceWithTax"]) for row in lines]
        for row, part, with_its_tax in [*parts, *((row, row["price"], row["priceWithTax"]) for row in more)]:
            base = rates.setdefault(row["taxLines"][0]["taxRate"], [0, 0])
            base[0] += part
            base[1] += with_its_tax - part
        summary = [
            {"description": f"TVA {rate:g} %", "taxRate": rate, "taxBase": base, "taxTotal": tax}
            for rate, (base, tax) in rates.items()
        ]
        amounts = {"taxBase": shipping, "taxTotal": with_tax - shipping}
        return {
            "subTotal": net,
            "subTotalWithTax": gross,
            "shipping": shipping,
            "shippingWithTax": with_tax,
            "total": net + shipping,
            "totalWithTax": gross + with_tax,
            "taxSummary": [*summary, {"description": "shipping tax", "taxRate": 20, **amounts}],
        }

    def _number(self, kind: str) -> str:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return str(self._numbers[kind])

    def _stamp(self) -> str:
        return second(self._now())
