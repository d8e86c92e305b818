"""The part of an order that each shipment delivers: cumulative, so that the last one takes what is left to the cent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from comptoir.domain.order_books import OrderBooks
from comptoir.domain.shares import Share
from comptoir.model.money import round_money
from comptoir.model.order import Charge, FulfilmentState, OrderLine, Shipment

__all__ = ["by_shipment"]

_ZERO = Decimal(0)


def by_shipment(
    books: OrderBooks, parts: Sequence[tuple[OrderLine | Charge, list[Share]]], shipments: Sequence[Shipment]
) -> list[tuple[Shipment, list[Share]]]:
    """The shares that each shipment delivers, in the order in which they left.

    Goods by quantity, charges with the first shipment; when the order is shipped the last one takes all that is left.
    `Shipment.quantities` counts by the external id of the order's lines. Raises MappingError when more was shipped
    than ordered, when a line is unknown, or when a shipment has no day.
    """
    order = books.order
    lines = {line.external_id: line for line in order.lines}
    days: list[tuple[datetime, Shipment]] = []
    for shipment in shipments:
        unknown = next((key for key in shipment.quantities if key not in lines), None)
        if shipment.shipped_at is None or unknown is not None:
            raise books.park(
                f"shipment {shipment.external_id} "
                + ("has no day" if unknown is None else f"names the line {unknown!r}, which the order does not have"),
                "shipments",
                "shipment",
                "Look at the shipment in the shop.",
            )
        days.append((shipment.shipped_at, shipment))
    days.sort(key=lambda pair: (pair[0], pair[1].external_id))
    shipped = dict.fromkeys(lines, _ZERO)
    done: dict[int, tuple[Decimal, Decimal]] = {}
    found: list[tuple[Shipment, list[Share]]] = []
    for number, (_, shipment) in enumerate(days):
        for key, quantity in shipment.quantities.items():
            shipped[key] += quantity
            if shipped[key] > lines[key].quantity:
                raise books.park(
                    f"{shipped[key]} of the line {key} left and {lines[key].quantity} were ordered",
                    "shipments",
                    "shipment",
                    "Look at the shipments in the shop.",
                )
        last = number == len(days) - 1 and (
            order.fulfilment_state is FulfilmentState.SHIPPED
            or all(shipped[key] == line.quantity for key, line in lines.items())
        )
        delivered: list[Share] = []
        position = 0
        for part, shares in parts:
            whole = last or not isinstance(part, OrderLine) or shipped[part.external_id] == part.quantity
            for share in shares:
                net, tax = share.net, share.tax
                if not whole and isinstance(part, OrderLine):
                    ratio = shipped[part.external_id] / part.quantity
                    net = round_money(net * ratio, books.channel.currency)
                    tax = round_money(tax * ratio, books.channel.currency)
                before = done.get(position, (_ZERO, _ZERO))
                done[position] = (net, tax)
                position += 1
                if (net, tax) != before:
                    delivered.append(replace(share, net=net - before[0], tax=tax - before[1]))
        found.append((shipment, delivered))
    return found
