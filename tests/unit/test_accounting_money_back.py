"""What comes back, and by which means: tenders, gift cards, carts in several orders, exchanges; nothing is dropped."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.domain.accounts import AccountMap
from comptoir.domain.entries import account_totals
from comptoir.domain.exchanges import exchange_entries
from comptoir.domain.gift_cards import gift_card_entry, gift_cards_off
from comptoir.domain.groups import share_payment
from comptoir.domain.journal import derive_entries
from comptoir.errors import MappingError
from comptoir.model.accounting import JournalEntry
from comptoir.model.item import ItemKind
from comptoir.model.order import (
    Exchange,
    GiftCardEntry,
    OrderLine,
    Payment,
    PaymentMethod,
    Refund,
    Return,
    SalesOrder,
)

from tests import factories as make

D = Decimal
DAY = date(2026, 9, 30)


def books(**more: Any) -> AccountMap:
    return AccountMap(**more).for_company(country="FR", currency="EUR")


def at(day: int) -> datetime:
    return datetime(2026, 9, day, 8, 0, tzinfo=UTC)


def entries(order: SalesOrder, *refunds: Refund, accounts: AccountMap | None = None, **more: Any) -> list[JournalEntry]:
    accounts = accounts or books()
    return derive_entries(order, refunds, channel=accounts.channel("web"), accounts=accounts, **more)


def sums(found: list[JournalEntry]) -> dict[str, Decimal]:
    return {account: amount for (account, _), amount in account_totals(found).items()}


def kinds(found: list[JournalEntry]) -> list[str]:
    return [entry.kind.value for entry in found]


def parked(order: SalesOrder, *refunds: Refund, **more: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        entries(order, *refunds, **more)
    assert order.number in caught.value.message and caught.value.hint
    return caught.value


def tenders(*amounts: tuple[PaymentMethod, str, str]) -> tuple[Payment, ...]:
    return tuple(Payment(method=m, source_method=s, amount=D(a), paid_at=at(15)) for m, s, a in amounts)


CARD_AND_GIFT = tenders((PaymentMethod.CARD, "stripe", "70.00"), (PaymentMethod.GIFT_CARD, "pw_gift", "50.00"))


@pytest.mark.failure_mode(61)
def test_a_refund_gives_back_by_each_means_no_more_than_it_brought() -> None:
    accounts = books(gift_cards="multi_purpose")
    order = make.order(payments=CARD_AND_GIFT)
    part = entries(order, make.refund(order, "60.00"), accounts=accounts)
    assert sums(part)["517100"] == D("10.00") and sums(part)["419100"] == D("50.00")
    whole = entries(order, make.refund(order, "120.00"), accounts=accounts)
    assert sums(whole) == {}
    assert kinds(whole)[-2:] == ["refund_payment", "refund_payment"]
    assert {e.flags for e in whole[-2:]} == {("split_by_tender",)}
    twice = [make.refund(order, "60.00"), make.refund(order, "60.00", number="58", day=21)]
    assert sums(entries(order, *twice, accounts=accounts)) == {}
    three = tenders((PaymentMethod.CARD, "stripe", "20.00"), (PaymentMethod.CASH, "cash", "50.00"),
                    (PaymentMethod.CHEQUE, "cheque", "50.00"))  # fmt: skip
    several = make.order(payments=three)
    assert parked(several, make.refund(several, "60.00")).code == "refund_exceeds_tender"


@pytest.mark.failure_mode(61)
def test_a_gift_card_is_a_debt_when_sold_and_a_means_when_used() -> None:
    accounts = books(gift_card_items={"GIFT-50": "multi_purpose", "SPA": "single_purpose"})
    sold = make.order([make.line("50.00", None, kind=ItemKind.GIFT_CARD, sku="GIFT-50")])
    assert sums(entries(sold, accounts=accounts)) == {"517100": D("50.00"), "419100": D("-50.00")}
    spa = make.order([make.line("50.00", kind=ItemKind.GIFT_CARD, sku="SPA")], number="2")
    assert sums(entries(spa, accounts=accounts))["445711"] == D("-10.00")
    other = make.order([make.line("50.00", None, kind=ItemKind.GIFT_CARD, sku="X")])
    assert parked(other, accounts=accounts).code == "gift_card_kind"
    owed = entries(sold, accounts=accounts)
    assert gift_cards_off(owed, {"c1": D("50.00")}, accounts=accounts) == 0
    assert gift_cards_off(owed, {"c1": D("50.00"), "c2": D("5.00")}, accounts=accounts) == D("5.00")


def test_vouchers_and_expired_cards() -> None:
    accounts = books(gift_cards="multi_purpose")
    card = GiftCardEntry(card_ref="C1", kind="voucher", amount=D("60.00"), currency="EUR", order_number="1001")

    def made(entry: GiftCardEntry, with_: AccountMap = accounts) -> JournalEntry | None:
        return gift_card_entry(entry, day=DAY, channel=with_.channel("web"), accounts=with_)

    voucher = made(card)
    assert voucher is not None and sums([voucher]) == {"411WEB": D("60.00"), "419100": D("-60.00")}
    expired = card.model_copy(update={"kind": "expired"})
    with pytest.raises(MappingError, match="expired") as caught:
        made(expired)
    assert "expired_gift_cards" in (caught.value.hint or "")
    gone = made(expired, books(gift_cards="multi_purpose", expired_gift_cards="758000"))
    assert gone is not None and sums([gone]) == {"419100": D("60.00"), "758000": D("-60.00")}
    assert made(card.model_copy(update={"kind": "sold"})) is None
    for wrong, with_ in ((card, books()), (card.model_copy(update={"kind": "melted"}), accounts)):
        with pytest.raises(MappingError) as caught:
            made(wrong, with_)
        assert caught.value.code == "gift_card_kind"


@pytest.mark.failure_mode(65)
def test_orders_of_one_cart_share_its_payment_and_keep_their_own_pieces() -> None:
    cart: dict[str, Any] = {"group_ref": "XKBKNABJK", "payments": ()}
    one = make.order([make.line("50.00")], number="XKBKNABJK", external_id="5", **cart)
    two = make.order([make.line("25.00")], number="XKBKNABJK", external_id="6", **cart)
    paid = Payment(method=PaymentMethod.CARD, source_method="stripe", amount=D("90.00"), paid_at=at(15))
    parts = share_payment(paid, [one, two])
    assert {key: part.amount for key, part in parts.items()} == {"5": D("60.00"), "6": D("30.00")}
    found = [e for o in (one, two) for e in entries(o.model_copy(update={"payments": (parts[o.external_id],)}))]
    assert sums(found).get("411WEB", D(0)) == 0
    assert len({e.key for e in found}) == len({e.piece for e in found}) == 4
    uneven = share_payment(paid.model_copy(update={"amount": D("0.01")}), [one, two])
    assert sum(part.amount for part in uneven.values()) == D("0.01")
    for wrong in ([one, one], [one, make.order(number="7")], [one.model_copy(update={"channel": "b"}), two]):
        with pytest.raises(MappingError, match="share a payment"):
            share_payment(paid, wrong)


def exchange(settlement: str, *lines: OrderLine, **back: str) -> Exchange:
    returned = Return(external_id="r1", order_number="1001", quantities={k: D(q) for k, q in back.items()})
    return Exchange(order_number="1001", returned=returned, lines=lines, settlement=D(settlement))


def exchanged(order: SalesOrder, what: Exchange) -> list[JournalEntry]:
    accounts = books()
    return exchange_entries(
        order, what, paid_by=PaymentMethod.CARD, day=DAY, channel=accounts.channel("web"), accounts=accounts
    )


amounts = st.decimals(min_value="1", max_value="900", places=2)
rates = st.sampled_from(["20", "10", "5.5"])


@pytest.mark.failure_mode(59)
@settings(max_examples=150, deadline=None)
@given(amounts, st.integers(min_value=1, max_value=7), st.integers(min_value=1, max_value=7), rates, amounts, rates)
def test_an_exchange_counts_what_came_back_and_what_left_once_each(
    net: Decimal, bought: int, back: int, rate: str, other: Decimal, other_rate: str
) -> None:
    back = min(back, bought)
    order = make.order([make.line(net, rate, quantity=str(bought))])
    line = order.lines[0]
    returned = [(v * back / bought).quantize(D("0.01"), "ROUND_HALF_UP") for v in (line.net, line.tax)]
    fresh = make.line(other, other_rate, number=9, sku="NEW")
    settlement = fresh.net + fresh.tax - sum(returned)
    found = exchanged(order, exchange(str(settlement), fresh, L1=str(back)))
    revenue = -sum((v for a, v in sums([*entries(order), *found]).items() if a.startswith("707")), D(0))
    assert revenue == line.net - returned[0] + fresh.net
    assert sums(found).get("411WEB", D(0)) == 0
    assert sums(found).get("511500", D(0)) == settlement


@pytest.mark.failure_mode(59)
@pytest.mark.parametrize(
    "wrong",
    [
        exchange("5.00", make.line("100.00"), L1="1"),
        exchange("-120.00", make.line("0.00", None), L1="2"),
        exchange("0.00", make.line("100.00"), L7="1"),
    ],
)
def test_an_exchange_that_does_not_add_up_parks(wrong: Exchange) -> None:
    with pytest.raises(MappingError) as caught:
        exchanged(make.order(), wrong)
    assert caught.value.code == "exchange"


@pytest.mark.failure_mode(58)
@settings(max_examples=60, deadline=None)
@given(st.permutations([("30.00", 3, False), ("12.00", 4, True), ("0.00", 5, True)]))
def test_money_and_goods_come_back_in_any_order(facts: list[tuple[str, int, bool]]) -> None:
    """Refund (money) and return (goods) are facts of their own; whichever arrives first, the books end the same."""
    order = make.order([make.line("100.00", quantity="10")])
    refunds = []
    for amount, name, goods in facts:
        net = (D(amount) / D("1.2")).quantize(D("0.01"))
        back = [make.refund_line(order.lines[0], quantity="1", net=net)] if goods else []
        refunds.append(make.refund(order, amount, lines=back, number=str(name), day=20))
    for known in range(3):  # whatever has arrived so far, the customer owes nothing
        assert "411WEB" not in sums(entries(order, *refunds[:known]))
    final = entries(order, *refunds)
    assert sums(final) == {"517100": D("78.00"), "707100": D("-65.00"), "445711": D("-13.00")}
    assert kinds(final).count("credit_note") == 2, "goods without money make no entry"


@pytest.mark.failure_mode(53)
def test_a_discount_is_posted_as_it_was_allocated_on_the_lines() -> None:
    cut = [
        make.line("90.00").model_copy(update={"list_net": D("100.00"), "list_tax": D("20.00")}),
        make.line("45.00", "5.5").model_copy(update={"list_net": D("50.00"), "list_tax": D("2.75")}),
    ]
    found = sums(entries(make.order(cut))[:1])
    assert found == {
        "411WEB": D("155.48"), "707100": D("-90.00"), "707200": D("-45.00"), "445711": D("-18.00"),
        "445712": D("-2.48"),
    }  # fmt: skip


@pytest.mark.failure_mode(54)
def test_the_books_claim_what_the_buyer_paid_or_nothing() -> None:
    """Never a price of our own; shipping is never dropped: what does not add up parks, it is not posted smaller."""
    order = make.order([make.line("80.00")], [make.charge("9.99")])
    assert sums(entries(order)[:1])["411WEB"] == order.totals.total == D("107.99")
    dropped = order.model_copy(update={"charges": ()})
    assert parked(dropped).code == "residual"


@pytest.mark.failure_mode(55)
@pytest.mark.failure_mode(56)
def test_one_currency_for_each_document_and_none_by_default() -> None:
    order = make.order()
    assert parked(order.model_copy(update={"currency": "USD"})).code == "currency"
    assert parked(order, make.refund(order, "10.00", currency="USD")).code == "currency"
    with pytest.raises(ValueError, match="for_company"):
        AccountMap().channel("web")
