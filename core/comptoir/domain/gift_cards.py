"""Gift cards beside orders and tills: vouchers given instead of money, cards that expire (sales-accounting §8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.domain.entries import Posting, make_entry, parked, signed, total
from comptoir.model.accounting import EntryKind, JournalEntry
from comptoir.model.order import GiftCardEntry

__all__ = ["gift_card_entry", "gift_cards_off"]


def gift_card_entry(
    card: GiftCardEntry, *, day: date, channel: ChannelBooks, accounts: AccountMap
) -> JournalEntry | None:
    """The entry of a card that no order and no till books: `kind` "voucher" (a refund kept as a card) or "expired".

    None for kinds that the order or the till books ("sold", "redeemed"). Raises MappingError when cards are not
    declared multi-purpose, when nobody said how an expired card's VAT is treated, or for an unknown kind.
    """
    accounts = accounts.on(day)
    record = f"gift card {card.card_ref}"
    if card.kind in ("sold", "redeemed"):
        return None
    if card.currency != channel.currency:
        raise parked(record, f"it is in {card.currency}", "currency", "currency", "Enter it by hand.")
    if accounts.gift_card_kind(None) != "multi_purpose":
        raise parked(
            record,
            "it is not said that cards are multi-purpose",
            "kind",
            "gift_card_kind",
            'Set accounting.gift_cards = "multi_purpose", or book it by hand.',
        )
    if card.kind == "voucher":
        against, amount, word = channel.customer_account, -card.amount, "Avoir en bon"
    elif card.kind == "expired" and accounts.expired_gift_cards is not None:
        against, amount, word = accounts.expired_gift_cards, card.amount, "Bon expire"
    else:
        raise parked(
            record,
            "it expired" if card.kind == "expired" else f"{card.kind!r} is not known of a gift card",
            "kind",
            "gift_card_expired" if card.kind == "expired" else "gift_card_kind",
            "Ask the expert-comptable how its VAT is treated, then set accounting.expired_gift_cards (758...)."
            if card.kind == "expired"
            else "The connector's mapping must give sold, redeemed, voucher or expired.",
        )
    return make_entry(
        [Posting(accounts.gift_card_account, amount), Posting(against, -amount)],
        accounts=accounts,
        key=f"{channel.connection}/gift_card/{card.card_ref}/{card.kind}",
        kind=EntryKind.GIFT_CARD,
        journal=(accounts.gift_card_journal, accounts.label(accounts.gift_card_account)),
        piece=f"{channel.piece_prefix}BC{card.card_ref}",
        posted_on=day,
        label=f"{word} {channel.label}",
        currency=card.currency,
        channel=channel.connection,
        document=card.order_number or card.card_ref,
        titles={channel.customer_account: channel.customer_label},
        reference=card.card_ref,
    )


def gift_cards_off(entries: Iterable[JournalEntry], cards: Mapping[str, Decimal], *, accounts: AccountMap) -> Decimal:
    """By how much the cards' account differs from what the cards are worth (`cards`: reference -> what is left).

    Zero when the control holds; positive when the shop's list is worth more than the books owe.
    """
    owed = -total(
        signed(line) for entry in entries for line in entry.lines if line.account == accounts.gift_card_account
    )
    return total(cards.values()) - owed
