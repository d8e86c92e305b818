"""Pure functions for orders and refunds, named by `order.in.yaml` and `refund.in.yaml`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from comptoir_vendure.amounts import (
    Row,
    amount,
    money,
    number,
    place_of,
    rates_of,
    shipping_rates,
    tax_lines,
    units,
    vat_of,
    words,
)

__all__ = ["SALES_FUNCTIONS"]

_ZERO = Decimal(0)
_PRICE_STEP = Decimal("1e-10")
_HUNDRED = Decimal(100)
_ONE = Decimal(1)
_PAID_STATES = frozenset({"Settled"})
_GONE_STATES = frozenset({"Shipped", "Delivered"})
#: The source of the discount by which Vendure takes the shipping of a cancelled order back.
_CANCELLATION = "CANCEL_ORDER"


# --- lines ----------------------------------------------------------------------------------------------------


def _settled(order: Row) -> Decimal:
    return sum((units(p.get("amount")) for p in order.get("payments") or () if p.get("state") in _PAID_STATES), _ZERO)


def _cancelled_shipping(order: Row) -> tuple[Decimal, Decimal]:
    """What was taken off the shipping when the order was cancelled, without and with tax, in smallest units."""
    rows = [row for row in order.get("discounts") or () if row.get("adjustmentSource") == _CANCELLATION]
    return -sum((units(r.get("amount")) for r in rows), _ZERO), -sum(
        (units(r.get("amountWithTax")) for r in rows), _ZERO
    )


def _cancelled_worth(order: Row) -> Decimal:
    """What the cancelled pieces and shipping cost, tax included, in smallest units."""
    worth = _cancelled_shipping(order)[1]
    for line in order.get("lines") or ():
        gone = int(line.get("orderPlacedQuantity") or 0) - int(line["quantity"])
        if gone > 0:
            worth += number(line.get("proratedUnitPriceWithTax")) * gone
    return worth.quantize(_ONE, ROUND_HALF_UP)


def _as_placed(order: Row) -> bool:
    """Whether what was cancelled had been paid for: then it stays in the sale, and what is given back is a refund.

    Vendure takes a cancelled piece (or the shipping) out of the order's total at once, and its refund (if there is one)
    comes apart from that. The sale and its refunds would take the same money out twice.
    """
    cancelled = _cancelled_worth(order)
    if not cancelled:
        return False
    pieces = sum(int(line.get("orderPlacedQuantity") or 0) for line in order.get("lines") or ())
    return abs(_settled(order) - units(order.get("totalWithTax")) - cancelled) <= pieces


def _count(line: Row, placed: bool) -> int:
    now = int(line["quantity"])
    return max(now, int(line.get("orderPlacedQuantity") or 0)) if placed else now


def worth(line: Row, count: int, including: Any, unit: str = "proratedUnitPrice") -> tuple[Decimal, Decimal]:
    """So many pieces of a line without and with tax, as Vendure reckons: from the price that the merchant entered.

    Vendure rounds the line and not the piece: three of 14.00 including 20 % are 35.00 and 7.00, although one is 11.67
    and 2.33 (held to every recorded line).
    """
    factor = 1 + sum((rate for rate, _ in rates_of(line.get("taxLines"))), _ZERO) / _HUNDRED
    if including:
        gross = (number(line.get(f"{unit}WithTax")) * count).quantize(_ONE, ROUND_HALF_UP)
        return (gross / factor).quantize(_ONE, ROUND_HALF_UP), gross
    net = (number(line.get(unit)) * count).quantize(_ONE, ROUND_HALF_UP)
    return net, (net * factor).quantize(_ONE, ROUND_HALF_UP)


def _sold(order: Row, including: Any) -> list[tuple[Row, int, Decimal, Decimal]]:
    """Each line with its pieces and what they cost, without and with tax, in smallest units."""
    placed = _as_placed(order)
    found: list[tuple[Row, int, Decimal, Decimal]] = []
    cancelled: list[int] = []
    for line in order.get("lines") or ():
        count = _count(line, placed)
        net, gross = units(line.get("proratedLinePrice")), units(line.get("proratedLinePriceWithTax"))
        if count != int(line["quantity"]):
            net, gross = worth(line, count, including)
            cancelled.append(len(found))
        found.append((line, count, net, gross))
    if cancelled:
        # A discount that was shared over several lines leaves fractions in the price of a piece: what was paid rules.
        others = sum((gross for _, _, gross in _charged(order)), _ZERO)
        off = _settled(order) - others - sum((gross for *_, gross in found), _ZERO)
        line, count, net, gross = found[cancelled[0]]
        found[cancelled[0]] = (line, count, net + (_ZERO if including else off), gross + off)
    return found


def order_lines(
    order: Row, precision: Any, including: Any, company_country: Any, oss: Any, vat_field: Any
) -> list[dict[str, Any]]:
    """The lines of an order; a line that was cancelled whole before it was paid is left out."""
    place, vat = place_of(order), vat_of(order, vat_field)
    found: list[dict[str, Any]] = []
    for line, count, net, gross in _sold(order, including):
        if count == 0:
            continue
        variant = line.get("productVariant") or {}
        list_net, list_gross = units(line.get("linePrice")), units(line.get("linePriceWithTax"))
        if count != int(line["quantity"]):
            list_net, list_gross = worth(line, count, including, "unitPrice")
        tax = amount(gross - net, precision)
        taxes = tax_lines(
            rates_of(line.get("taxLines")), amount(net, precision), tax, str(order["currencyCode"]), place, vat,
            str(company_country), oss,
        )  # fmt: skip
        found.append(
            {
                "external_id": str(line["id"]),
                "position": len(found) + 1,
                "item_id": variant.get("id"),
                "sku": words(variant.get("sku")) or None,
                "name": words(variant.get("name")) or "?",
                "quantity": Decimal(count),
                "unit_price": _price(number(line.get("unitPrice")), count, list_net, precision),
                "list_net": amount(list_net, precision),
                "list_tax": amount(list_gross - list_net, precision),
                "net": amount(net, precision),
                "tax": tax,
                "taxes": taxes,
            }
        )
    return found


def _price(given: Decimal, count: int, list_net: Decimal, precision: Any) -> Decimal:
    """The net price of a piece. Of a price with tax the shop gives it rounded, and several pieces cost what they cost:
    then it is their part, at ten decimals."""
    if given * count == list_net:
        return amount(given, precision)
    return (amount(list_net, precision) / count).quantize(_PRICE_STEP)


def _charged(order: Row) -> list[tuple[Row, Decimal, Decimal]]:
    """Shipping lines, then surcharges, without and with tax, in smallest units."""
    back = _cancelled_shipping(order) if _as_placed(order) else (_ZERO, _ZERO)
    found = []
    for row in order.get("shippingLines") or ():
        net, gross = units(row.get("discountedPrice")) + back[0], units(row.get("discountedPriceWithTax")) + back[1]
        found.append((row, net, gross))
        back = _ZERO, _ZERO
    surcharges = order.get("surcharges") or ()
    return found + [(row, units(row.get("price")), units(row.get("priceWithTax"))) for row in surcharges]


def charges(order: Row, precision: Any, company_country: Any, oss: Any, vat_field: Any) -> list[dict[str, Any]]:
    """Shipping and surcharges."""
    place, vat, currency = place_of(order), vat_of(order, vat_field), str(order["currencyCode"])
    found = []
    for row, net, gross in _charged(order):
        method = row.get("shippingMethod")
        if method is None:
            kind, label, rates = "fee", words(row.get("description")) or "fee", rates_of(row.get("taxLines"))
        else:
            kind, rates = "shipping", shipping_rates(net, gross, order.get("taxSummary"))
            label = words(method.get("name")) or words(method.get("code")) or "shipping"
        amounts = amount(net, precision), amount(gross - net, precision)
        found.append(
            {
                "external_id": f"{kind}-{row['id']}",
                "kind": kind,
                "label": label,
                "method": words((method or {}).get("code")) or None,
                "net": amounts[0],
                "tax": amounts[1],
                "taxes": tax_lines(rates, *amounts, currency, place, vat, str(company_country), oss),
            }
        )
    return found


def discounts(rows: Any, precision: Any) -> list[dict[str, Any]]:
    """Discounts as Vendure names them, positive; their amounts stand on the lines already.

    What a cancellation takes off is none, although Vendure lists it among them.
    """
    found = []
    for at, row in enumerate(rows or (), 1):
        if row.get("adjustmentSource") == _CANCELLATION:
            continue
        net, gross = -units(row.get("amount")), -units(row.get("amountWithTax"))
        name = words(row.get("description")) or words(row.get("type")) or "?"
        source = words(row.get("adjustmentSource")) or "discount"
        amounts = {"net": amount(net, precision), "tax": amount(gross - net, precision)}
        found.append({"external_id": f"{source}-{at}", "code": name, **amounts})
    return found


def total(order: Row, precision: Any) -> Decimal:
    """What the order came to, tax included: Vendure's total, with the cancelled pieces that were paid for."""
    whole = _settled(order) if _as_placed(order) else units(order.get("totalWithTax"))
    return amount(whole, precision)


def shipping_net(order: Row, precision: Any) -> Decimal:
    """The shipping in it, without tax."""
    back = _cancelled_shipping(order)[0] if _as_placed(order) else _ZERO
    return amount(units(order.get("shipping")) + back, precision)


def shipping_tax(order: Row, precision: Any) -> Decimal:
    """The tax of the shipping."""
    net, gross = _cancelled_shipping(order) if _as_placed(order) else (_ZERO, _ZERO)
    return amount(units(order.get("shippingWithTax")) + gross - units(order.get("shipping")) - net, precision)


def total_tax(order: Row, precision: Any, including: Any) -> Decimal:
    """The tax in it."""
    tax = units(order.get("totalWithTax")) - units(order.get("total"))
    if _as_placed(order):
        tax = sum((gross - net for _, _, net, gross in _sold(order, including)), _ZERO)
        tax += sum((gross - net for _, net, gross in _charged(order)), _ZERO)
    return amount(tax, precision)


# --- states and payments --------------------------------------------------------------------------------------


def payments(rows: Any, neutral: Any, precision: Any) -> list[dict[str, Any]]:
    """Money that has come in. `neutral` are the neutral words for the methods of all payments, in their order."""
    return [
        {
            "method": word,
            "source_method": words(row.get("method")) or "?",
            "provider_ref": words(row.get("transactionId")) or None,
            "amount": money(row.get("amount"), precision),
            "paid_at": row.get("createdAt"),
        }
        for row, word in zip(rows or (), neutral, strict=True)
        if row.get("state") in _PAID_STATES
    ]


def payment_state(order: Row) -> str:
    """How far the order is paid, from its payments and refunds."""
    rows = order.get("payments") or ()
    back = _given_back(rows)
    came, due = _settled(order), units(order.get("totalWithTax"))
    if came and back >= came:
        return "refunded"
    if back:
        return "partly_refunded"
    if came >= due and (came or order.get("orderPlacedAt")):
        return "paid"
    states = [payment.get("state") for payment in rows]
    if "Authorized" in states:
        return "authorised"
    return "failed" if states and all(state in ("Declined", "Error") for state in states) else "unpaid"


def _given_back(rows: Any) -> Decimal:
    refunds = [refund for payment in rows for refund in payment.get("refunds") or ()]
    return sum((units(refund.get("total")) for refund in refunds if refund.get("state") == "Settled"), _ZERO)


def refund_ids(rows: Any) -> list[str]:
    """The refunds whose money has gone back."""
    refunds = [refund for payment in rows or () for refund in payment.get("refunds") or ()]
    return [str(refund["id"]) for refund in refunds if refund.get("state") == "Settled"]


def paid_at(rows: Any) -> str | None:
    """When the last payment came in."""
    return max((str(row["createdAt"]) for row in rows or () if row.get("state") in _PAID_STATES), default=None)


def fulfilment_state(order: Row) -> str:
    """How far the goods have left, counted in pieces."""
    if order.get("state") == "Cancelled":
        return "cancelled"
    left = sum(
        int(line["quantity"])
        for fulfilment in order.get("fulfillments") or ()
        if fulfilment.get("state") in _GONE_STATES
        for line in fulfilment.get("lines") or ()
    )
    if left == 0:
        return "open"
    pieces = sum(int(line["quantity"]) for line in order.get("lines") or ())
    return "shipped" if left >= pieces else "partly_shipped"


def hold(order: Row) -> str:
    """Why the order waits: for money, or for the merchant who is changing it."""
    state = order.get("state")
    if state in ("Modifying", "Draft"):
        return "merchant"
    waiting = state in ("ArrangingPayment", "ArrangingAdditionalPayment", "PaymentAuthorized")
    return "payment" if waiting and payment_state(order) != "paid" else "none"


# --- refunds --------------------------------------------------------------------------------------------------


def refund_lines(
    refund: Row, order: Row, precision: Any, including: Any, company_country: Any, oss: Any, vat_field: Any
) -> list[dict[str, Any]]:
    """What was given back of which line, by the order's own prices; nothing when that is not what was given back.

    Vendure writes pieces and one sum for all of them; a person may have refunded another sum.
    """
    by_id = {str(line["id"]): line for line in order.get("lines") or ()}
    found, sum_of_lines = [], _ZERO
    place, vat = place_of(order), vat_of(order, vat_field)
    for row in refund.get("lines") or ():
        line, count = by_id.get(str(row["orderLineId"])), int(row["quantity"])
        if line is None or count <= 0:
            return []
        net, gross = worth(line, count, including)
        sum_of_lines += gross
        variant = line.get("productVariant") or {}
        amounts = amount(net, precision), amount(gross - net, precision)
        taxes = tax_lines(
            rates_of(line.get("taxLines")), *amounts, str(order["currencyCode"]), place, vat, str(company_country), oss
        )
        found.append(
            {
                "external_id": f"{refund['id']}-{line['id']}",
                "order_line_id": str(line["id"]),
                "sku": words(variant.get("sku")) or None,
                "name": words(variant.get("name")) or "?",
                "quantity": Decimal(count),
                "net": amounts[0],
                "tax": amounts[1],
                "taxes": taxes,
            }
        )
    return found if found and sum_of_lines == units(refund.get("items")) else []


def refund_charges(
    refund: Row, order: Row, precision: Any, company_country: Any, oss: Any, vat_field: Any
) -> list[dict[str, Any]]:
    """Shipping that was given back, taxed as the order's shipping was; nothing when it was not taxed by one rate."""
    gross = units(refund.get("shipping"))
    rates = {
        rate
        for row in order.get("shippingLines") or ()
        for rate in shipping_rates(units(row.get("price")), units(row.get("priceWithTax")), order.get("taxSummary"))
    }
    if gross == 0 or len(rates) > 1:
        return []
    rate, label = rates.pop() if rates else (_ZERO, "")
    net = (gross / (1 + rate / _HUNDRED)).quantize(_ONE, ROUND_HALF_UP)
    amounts = amount(net, precision), amount(gross - net, precision)
    taxes = tax_lines(
        [(rate, label)], *amounts, str(order["currencyCode"]), place_of(order), vat_of(order, vat_field),
        str(company_country), oss,
    )  # fmt: skip
    charge = {"external_id": f"{refund['id']}-shipping", "kind": "shipping", "label": "shipping"}
    return [{**charge, "net": amounts[0], "tax": amounts[1], "taxes": taxes}]


SALES_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        charges,
        discounts,
        fulfilment_state,
        hold,
        order_lines,
        paid_at,
        payment_state,
        payments,
        refund_charges,
        refund_ids,
        refund_lines,
        shipping_net,
        shipping_tax,
        total,
        total_tax,
    )
}
