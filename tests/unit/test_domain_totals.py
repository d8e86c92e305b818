"""Totals of orders and refunds against what their source says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from comptoir.domain.totals import CAUSES, compute_refund_totals, compute_totals
from comptoir.model.money import SourceTotals

from tests import factories as make

D = Decimal


def test_an_order_that_adds_up() -> None:
    totals = compute_totals(make.order([make.line("50.00"), make.line("20.00", "5.5")], [make.charge("5.00")]))
    assert (totals.net, totals.tax, totals.total) == (D("75.00"), D("12.10"), D("87.10"))
    assert (totals.residual, totals.cause, totals.words) == (D(0), None, None)


@pytest.mark.failure_mode(51)
@pytest.mark.parametrize(
    ("total", "tax", "cause"),
    [
        ("120.01", "20.01", "tax_line_rounding"),
        ("120.01", "20.00", "line_rounding"),
        ("126.00", "21.00", "shipping_missing"),
        ("130.00", "30.00", "tax_missing"),
        ("150.00", "20.00", "unexplained"),
        ("120.00", "20.01", "tax_line_rounding"),
    ],
)
def test_the_residual_has_a_cause(total: str, tax: str, cause: str) -> None:
    order = make.order(total=total, tax=tax)
    order = order.model_copy(
        update={"totals": SourceTotals(total=D(total), tax=D(tax), shipping=D("5.00"), shipping_tax=D("1.00"))}
    )
    totals = compute_totals(order)
    assert totals.residual == D(total) - D("120.00")
    assert totals.cause == cause
    assert totals.words == CAUSES[cause]


def test_parts_of_cents_are_rounded_once_over_the_whole() -> None:
    totals = compute_totals(make.order([make.line("8.333333", tax="1.666667")] * 3, total="30.00", tax="5.00"))
    assert (totals.net, totals.tax, totals.residual) == (D("25.00"), D("5.00"), D(0))


@pytest.mark.parametrize(
    ("amount", "cause"),
    [("120.00", None), ("120.01", "line_rounding"), ("125.00", "partly_itemised"), ("110.00", "unexplained")],
)
def test_refunds_with_lines(amount: str, cause: str | None) -> None:
    order = make.order()
    refund = make.refund(order, amount, lines=[make.refund_line(order.lines[0])])
    assert compute_refund_totals(refund).cause == cause


def test_a_refund_without_lines_is_an_amount_only() -> None:
    totals = compute_refund_totals(make.refund(make.order(), "30.00"))
    assert (totals.total, totals.residual, totals.cause) == (D(0), D("30.00"), "amount_only")
