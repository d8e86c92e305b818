"""Exchanges: what came back, what left instead, and the difference that was paid; each counted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.domain.entries import Posting, total
from comptoir.domain.order_books import CREDIT_NOTE, SALE, OrderBooks
from comptoir.domain.shares import Share, gift_card_kind, part_shares
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.money import round_money
from comptoir.model.order import Exchange, PaymentMethod, SalesOrder

__all__ = ["exchange_entries"]

_ZERO = Decimal(0)


def exchange_entries(
    order: SalesOrder,
    exchange: Exchange,
    *,
    paid_by: PaymentMethod,
    day: date,
    channel: ChannelBooks,
    accounts: AccountMap,
) -> list[JournalEntry]:
    """Credit note of what came back, sale of what left instead, payment of the difference.

    `exchange.returned.quantities` counts by the external id of the order's lines, `settlement` is what the buyer pays
    (negative: gets back), tax included. Keys: `<connection>/<order id>/exchange/<return id>/credit_note`, `/sale`,
    `/payment`. Raises MappingError when the settlement is not the difference of both, or when more comes back than
    was bought.
    """
    if exchange.order_number != order.number:
        raise ValueError(f"the exchange is of order {exchange.order_number}, not of {order.number}")
    books = OrderBooks(order, channel, accounts, None)
    path = f"exchange/{exchange.returned.external_id}"
    back = _returned(books, exchange)
    swapped = order.model_copy(update={"lines": exchange.lines, "charges": ()})
    sold = _sold(OrderBooks(swapped, channel, accounts, None), day)
    worth_back, worth_sold = (round_money(total(s.gross for s in shares), channel.currency) for shares in (back, sold))
    if abs(worth_sold - worth_back - exchange.settlement) > books.accounts.tolerance:
        raise books.park(
            f"{worth_sold} left for {worth_back} that came back, and {exchange.settlement} was settled",
            "exchange.settlement",
            "exchange",
            "The settlement of an exchange is the difference of both: look at it in the shop.",
        )
    money = books.money(paid_by, None, "exchange", day) if exchange.settlement else None
    flags: list[str] = []
    customer, postings = books.document_postings(back, worth_back, CREDIT_NOTE, flags)
    number = f"{books.number}E{exchange.returned.external_id}"
    found = [
        books.entry(
            EntryKind.CREDIT_NOTE, f"{path}/credit_note", channel.pieces.credit_note, number, day,
            [*postings, *customer], label=f"Echange {channel.label} {order.number}, retour",
            journal=books.sales_journal, flags=flags,
        )
    ]  # fmt: skip
    # The buyer owes what is settled, whatever a cent of rounding says.
    claim, flags = worth_back + exchange.settlement, []
    customer, postings = books.document_postings(sold, claim, SALE, flags)
    found.append(
        books.entry(
            EntryKind.SALE, f"{path}/sale", channel.pieces.sale, number, day, [*customer, *postings],
            label=f"Echange {channel.label} {order.number}", journal=books.sales_journal, flags=flags,
        )
    )  # fmt: skip
    if money is not None:
        settled = [
            Posting(money.account, exchange.settlement, method=paid_by),
            Posting(books.customer, -exchange.settlement),
        ]
        found.append(
            books.entry(
                EntryKind.PAYMENT if exchange.settlement > 0 else EntryKind.REFUND_PAYMENT, f"{path}/payment",
                channel.pieces.payment, number, day, settled,
                label=f"Echange {channel.label} {order.number}, solde", journal=(money.journal, money.journal_label),
            )
        )  # fmt: skip
    return [entry for entry in found if entry is not None]


def _returned(books: OrderBooks, exchange: Exchange) -> list[Share]:
    """The shares of the quantities that came back, at the rates of the sale."""
    found: list[Share] = []
    quantities = dict(exchange.returned.quantities)
    for line, shares in books.order_shares():
        quantity = quantities.pop(line.external_id, _ZERO)
        if not quantity:
            continue
        bought = getattr(line, "quantity", _ZERO)
        if quantity > bought or quantity < 0:
            raise books.park(
                f"{quantity} of the line {line.external_id} came back and {bought} were bought",
                "exchange.returned",
                "exchange",
                "Look at the return in the shop.",
            )
        for share in shares:
            part = quantity / bought
            net, tax = (round_money(amount * part, books.channel.currency) for amount in (share.net, share.tax))
            found.append(replace(share, net=net, tax=tax))
    if quantities:
        raise books.park(
            f"lines came back that the order does not have: {', '.join(quantities)}",
            "exchange.returned",
            "exchange",
            "Look at the return in the shop.",
        )
    return found


def _sold(books: OrderBooks, day: date) -> list[Share]:
    shares: Sequence[list[Share]] = [
        part_shares(
            line,
            line.taxes,
            order=books.order,
            channel=books.channel,
            accounts=books.dated_accounts.on(day),
            path=f"exchange.lines[{number}]",
            day=day,
            gift_card=gift_card_kind(line, books.order, books.accounts),
        )
        for number, line in enumerate(books.order.lines, 1)
    ]
    return [share for of_line in shares for share in of_line]
