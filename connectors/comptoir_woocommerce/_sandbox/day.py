"""A day in the shop: what happens to its orders, step by step, through the shop's own writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comptoir_woocommerce._sandbox.money import ONE, Charge, Line, Order, Rate, plain

if TYPE_CHECKING:
    from comptoir_woocommerce._sandbox.shop import WooCommerceSandbox

__all__ = ["CUSTOM_STATUS", "Step", "scripted_day"]

#: A state that some plugin of the shop has added, and that nobody has told Comptoir about.
CUSTOM_STATUS = "expedie-colis"

_GUEST = {
    "first_name": "Zoé", "last_name": "Lefèvre", "company": "", "address_1": "5 rue de l'Église", "city": "Besançon",
    "postcode": "25000", "country": "FR", "email": "zoe.lefevre@example.test", "phone": "+33 6 12 34 56 78",
}  # fmt: skip
_COMPANY = {
    "first_name": "Gaël", "last_name": "N'Diaye", "company": "Épicerie du Marché SARL",
    "address_1": "1 place du Marché", "city": "Mâcon", "postcode": "71000", "country": "FR",
    "email": "achats@epicerie.example.test", "phone": "+33 3 85 00 00 01",
}  # fmt: skip
_CARD = {"payment_method": "stripe", "payment_method_title": "Carte bancaire", "set_paid": True}
_TRANSFER = {"payment_method": "bacs", "payment_method_title": "Virement bancaire", "set_paid": False}
_PARCEL = {"shipping_lines": [{"method_id": "flat_rate", "method_title": "Colissimo", "total": "4.92"}]}


@dataclass(frozen=True, slots=True)
class Step:
    """One event. `act` makes it happen and returns the number of the order (or customer) that it happened to."""

    key: str
    title_en: str
    title_fr: str
    act: Callable[[], str]


def scripted_day(shop: WooCommerceSandbox) -> Sequence[Step]:
    """Orders of every kind, and then what happens to them and to those that were there when this was called.

    The steps are to be taken in this order, each once; for another day call this again.
    """
    return _Day(shop).steps()


class _Day:
    def __init__(self, shop: WooCommerceSandbox) -> None:
        self._shop = shop
        self._transfer = 0
        whole = [order for order in map(shop.order, sorted(shop.orders, reverse=True)) if _is_whole(order)]
        plain_ones = [order.id for order in whole if len(_rates(order)) == 1]
        # The newest orders: they are surely from after the cutover of whoever watches this day.
        self._amount_only = plain_ones[0] if plain_ones else 0
        others = [order.id for order in whole if order.id != self._amount_only]
        self._partly, self._edited = [*others, 0, 0][:2]

    def steps(self) -> list[Step]:
        parts = [
            Step("guest", "a guest orders, with accents and an emoji", "Commande invitée, avec un mot", self._guest),
            Step("company", "a company orders, with its VAT number", "Commande d'une entreprise", self._company),
            Step("coupon", "an order with a coupon and two VAT rates", "Code promo et deux taux de TVA", self._coupon),
            Step("fee", "an order with a fee for gift wrapping", "Emballage cadeau", self._fee),
            Step("variation", "an order of a variation", "T-shirt bleu nuit, taille M", self._variation),
            Step("transfer", "an order to be paid by bank transfer", "Commande par virement", self._awaits_transfer),
            Step("cancelled", "an unpaid order is cancelled", "Commande annulée", self._cancelled),
            Step("unknown_status", "a plugin gives an order a state of its own", "Statut inconnu", self._unknown),
            Step("transfer_paid", "the bank transfer arrives", "Virement reçu", self._transfer_arrives),
        ]
        if self._partly:
            parts.append(Step("line_refund", "one piece of an order is refunded", "Retour partiel", self._line_refund))
        if self._amount_only:
            parts.append(
                Step("amount_refund", "an amount is refunded, no line named", "Geste commercial", self._amount_refund)
            )
        if self._edited:
            parts.append(
                Step("edited", "the address of an older order is changed", "Adresse corrigée", self._edit_address)
            )
        parts.append(Step("customer", "a customer opens an account", "Nouveau compte client", self._customer))
        return parts

    # --- orders -----------------------------------------------------------------------------------------------

    def _guest(self) -> str:
        note = "Merci ! 🎁 À déposer chez la voisine, Mme Œuvrard : « 12A »"
        return self._order(line_items=[{"sku": "MUG-001", "quantity": 2}], customer_note=note)

    def _company(self) -> str:
        number = {"meta_data": [{"key": "_billing_vat_number", "value": "FR40303265045"}]}
        lines = [{"sku": "THEIERE", "quantity": 3}, {"sku": "CARNET", "quantity": 10}]
        return self._order(line_items=lines, billing=_COMPANY, shipping=_COMPANY, **number)

    def _coupon(self) -> str:
        lines = [{"sku": "BOUGIE", "quantity": 1}, {"sku": "MIEL-250", "quantity": 3}]
        return self._order(line_items=lines, coupon_lines=[{"code": "bienvenue10"}])

    def _fee(self) -> str:
        fee = {"fee_lines": [{"name": "Emballage cadeau", "total": "2.50"}]}
        return self._order(line_items=[{"sku": "MUG-001", "quantity": 1}], **fee)

    def _variation(self) -> str:
        return self._order(line_items=[{"sku": "TEE-B-M", "quantity": 2}])

    def _awaits_transfer(self) -> str:
        lines = [{"sku": "TABLIER", "quantity": 2}]
        number = self._order(line_items=lines, status="on-hold", **_TRANSFER)
        self._transfer = int(number)
        return number

    def _cancelled(self) -> str:
        number = self._order(line_items=[{"sku": "CARNET", "quantity": 1}], set_paid=False)
        self._call("PUT", f"orders/{number}", {"status": "cancelled"})
        return number

    def _unknown(self) -> str:
        number = self._order(line_items=[{"sku": "CONF-ABR", "quantity": 4}])
        # WooCommerce's interface refuses unknown states; a plugin writes them past it.
        order = self._shop.orders[int(number)].order(keep=True)
        order.status, order.modified = CUSTOM_STATUS, self._shop.now
        self._shop.orders[int(number)].changed()
        self._shop.revision += 1
        return number

    def _order(self, **body: Any) -> str:
        whole = {"customer_id": 0, "billing": _GUEST, "shipping": _GUEST, **_CARD, **_PARCEL, **body}
        return str(self._call("POST", "orders", whole)["id"])

    # --- what happens to orders -------------------------------------------------------------------------------

    def _transfer_arrives(self) -> str:
        self._call("PUT", f"orders/{self._transfer}", {"set_paid": True})
        return str(self._transfer)

    def _line_refund(self) -> str:
        line = self._shop.order(self._partly).lines[0]
        share = line.total // line.quantity // 10_000 * 10_000
        row = {"id": line.id, "quantity": 1, "refund_total": plain(share)}
        self._call("POST", f"orders/{self._partly}/refunds", {"reason": "Article ébréché", "line_items": [row]})
        return str(self._partly)

    def _amount_refund(self) -> str:
        body = {"amount": "3.00", "reason": "Geste commercial", "api_refund": False}
        self._call("POST", f"orders/{self._amount_only}/refunds", body)
        return str(self._amount_only)

    def _edit_address(self) -> str:
        self._call("PUT", f"orders/{self._edited}", {"billing": {"address_1": "18 quai Vauban", "city": "Lyon"}})
        return str(self._edited)

    def _customer(self) -> str:
        number = self._shop.new_id()
        person = {"first_name": "Anaïs", "last_name": "Garçon"}
        address = {**_GUEST, **person, "email": f"anais{number}@example.test"}
        body = {**person, "email": address["email"], "billing": address, "shipping": address}
        return str(self._call("POST", "customers", body)["id"])

    def _call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        handler = self._shop.writes.find(method, path.split("/"))
        if handler is None:
            raise LookupError(path)
        _, answer = handler(body, {})
        self._shop.revision += 1
        return answer


def _is_whole(order: Order) -> bool:
    """Paid, delivered at home, nothing given back yet, and worth more than what this day gives back."""
    total = sum(line.total for line in order.lines)
    settled = order.paid is not None and order.status in ("processing", "completed")
    return settled and not order.refunds and order.billing["country"] == "FR" and total > 10 * ONE


def _rates(order: Order) -> set[tuple[Rate, ...]]:
    parts: list[Line | Charge] = [*order.lines, *order.charges, *order.fees]
    return {part.rates for part in parts}
