"""Carts that a shop splits into several orders with one reference: identity is the id, one payment pays them all."""

from __future__ import annotations

from collections.abc import Sequence

from comptoir.errors import MappingError
from comptoir.model.money import allocate, round_money
from comptoir.model.order import Payment, SalesOrder

__all__ = ["share_payment"]


def share_payment(payment: Payment, orders: Sequence[SalesOrder]) -> dict[str, Payment]:
    """The part of one payment that pays each order of a group, by external id; the parts sum to the payment.

    In proportion to the orders' totals, so that a payment of all of them pays each in full. Raises MappingError when
    the orders are not of one group, one channel and one currency, or when an order is there twice.
    """
    ids = [order.external_id for order in orders]
    groups = {(order.channel, order.group_ref, order.currency) for order in orders}
    if len(groups) != 1 or None in next(iter(groups)) or len(set(ids)) < len(ids):
        numbers = ", ".join(order.external_id for order in orders)
        raise MappingError(
            f"orders {numbers}: they share a payment and are not of one group, channel and currency",
            record=orders[0].number if orders else None,
            field="group_ref",
            code="group",
            hint="The source must give each order its own payment, or the reference that they share.",
        )
    totals = [order.totals.total for order in orders]
    if payment.amount != round_money(payment.amount, orders[0].currency):
        raise MappingError(
            f"orders {', '.join(ids)}: their payment is {payment.amount}, which is no whole amount",
            record=ids[0],
            field="payments.amount",
            code="amount",
            hint="Money moves in whole cents: look at the amount at its source.",
        )
    parts = allocate(payment.amount, totals, orders[0].currency)
    return {
        order.external_id: payment.model_copy(update={"amount": part})
        for order, part in zip(orders, parts, strict=True)
    }
