"""The arithmetic of a WooCommerce order, in whole millionths so that 100,000 orders are made in seconds.

WooCommerce keeps line totals with six decimals, rounds the tax of each line and rate to the cent (half down when prices
include tax), and adds up rounded lines and rounded taxes. With `round_at_subtotal` taxes are rounded once per rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CENT",
    "ONE",
    "Charge",
    "Coupon",
    "Line",
    "Order",
    "Rate",
    "Refund",
    "TaxRules",
    "cents",
    "micros",
    "plain",
    "price_of",
    "tax_of",
]

ONE = 1_000_000
CENT = 10_000


def micros(text: str | float | int) -> int:
    """Millionths of an amount written as text (or a JSON number)."""
    sign, digits = (-1, str(text)[1:]) if str(text).startswith("-") else (1, str(text))
    whole, _, rest = digits.partition(".")
    return sign * (int(whole or 0) * ONE + int((rest + "000000")[:6]))


def _round(value: int, unit: int, *, half_down: bool = False) -> int:
    size = abs(value)
    up, rest = divmod(size, unit)
    if rest * 2 > unit or (rest * 2 == unit and not half_down):
        up += 1
    return up * unit if value >= 0 else -up * unit


def cents(value: int) -> str:
    """Two decimals, half up."""
    rounded = _round(value, CENT) // CENT
    sign = "-" if rounded < 0 else ""
    return f"{sign}{abs(rounded) // 100}.{abs(rounded) % 100:02d}"


def plain(value: int) -> str:
    """Up to six decimals, without trailing zeros."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    rest = f"{size % ONE:06d}".rstrip("0")
    return f"{sign}{size // ONE}.{rest}" if rest else f"{sign}{size // ONE}"


@dataclass(frozen=True, slots=True)
class Rate:
    """One tax rate; `percent` in ten-thousandths (5.5 % = 55,000)."""

    id: int
    country: str
    name: str
    percent: int
    tax_class: str = ""
    compound: bool = False

    @property
    def code(self) -> str:
        """The code that orders cite."""
        return f"{self.country}-{self.name.upper()}-1"

    @property
    def number(self) -> float | int:
        """The percentage as WooCommerce writes it: a JSON number."""
        return self.percent // 10_000 if self.percent % 10_000 == 0 else self.percent / 10_000


def tax_of(net: int, rate: Rate) -> int:
    """The unrounded tax on a net amount (six decimals)."""
    return _round(net * rate.percent, 100 * 10_000) // (100 * 10_000)


@dataclass(slots=True)
class Line:
    """A line of goods. `subtotal` is before coupons; both are net."""

    id: int
    name: str
    product_id: int
    variation_id: int
    quantity: int
    tax_class: str
    subtotal: int
    total: int
    rates: tuple[Rate, ...]
    sku: str | None
    gtin: str | None = None
    parent_name: str | None = None
    meta: list[dict[str, Any]] = field(default_factory=list)
    refunds: int = 0  # id of the line that a refund line gives back


@dataclass(slots=True)
class Charge:
    """Shipping or a fee."""

    id: int
    label: str
    method: str | None
    total: int
    rates: tuple[Rate, ...]
    refunds: int = 0


@dataclass(slots=True)
class Coupon:
    id: int
    code: str
    percent: int


@dataclass(slots=True)
class Refund:
    """Money given back; its lines hold negative amounts."""

    id: int
    created: int
    amount: int
    reason: str
    lines: list[Line] = field(default_factory=list)
    shipping: list[Charge] = field(default_factory=list)
    fees: list[Charge] = field(default_factory=list)
    full: bool = False


@dataclass(slots=True)
class Order:
    """Everything that an order's JSON is rendered from. Times are seconds since 1970."""

    id: int
    status: str
    created: int
    modified: int
    currency: str = "EUR"
    customer_id: int = 0
    key: str = ""
    billing: dict[str, str] = field(default_factory=dict)
    shipping: dict[str, str] = field(default_factory=dict)
    method: str = ""
    method_title: str = ""
    transaction: str = ""
    via: str = "checkout"
    note: str = ""
    paid: int | None = None
    completed: int | None = None
    lines: list[Line] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    fees: list[Charge] = field(default_factory=list)
    coupons: list[Coupon] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    meta: list[dict[str, Any]] = field(default_factory=list)
    tax_line_ids: int = 0
    stock_taken: bool = False
    physical: bool = True


class TaxRules:
    """The shop's rates and how it rounds."""

    def __init__(self, rates: tuple[Rate, ...], *, prices_include_tax: bool, round_at_subtotal: bool) -> None:
        self.rates = rates
        self.prices_include_tax = prices_include_tax
        self.round_at_subtotal = round_at_subtotal

    def for_place(self, country: str, tax_class: str) -> tuple[Rate, ...]:
        """The rates of a class in a country; none where the shop has none (an export)."""
        return tuple(r for r in self.rates if r.country == (country or "FR") and r.tax_class == tax_class)

    def rounded(self, tax: int) -> int:
        """One tax at the cent."""
        return _round(tax, CENT, half_down=self.prices_include_tax)

    def taxes(self, net: int, rates: tuple[Rate, ...]) -> list[int]:
        """The unrounded tax of each rate; a compound one is on top of the others."""
        found: list[int] = []
        for rate in rates:
            found.append(tax_of(net + sum(found) if rate.compound else net, rate))
        return found

    def line_tax(self, net: int, rates: tuple[Rate, ...]) -> int:
        """The tax shown on a line: each rate rounded, unless the shop rounds per document."""
        taxes = self.taxes(net, rates)
        if self.round_at_subtotal:
            return _round(sum(taxes), CENT)
        return sum(map(self.rounded, taxes))

    def per_rate(self, parts: list[tuple[int, tuple[Rate, ...]]]) -> dict[Rate, int]:
        """The tax of each rate over several lines, as the order's tax lines show it."""
        sums: dict[Rate, int] = {}
        for net, rates in parts:
            for rate, tax in zip(rates, self.taxes(net, rates), strict=True):
                sums[rate] = sums.get(rate, 0) + (tax if self.round_at_subtotal else self.rounded(tax))
        return {rate: self.rounded(tax) for rate, tax in sums.items()}

    def net_of(self, price: int, rates: tuple[Rate, ...]) -> int:
        """The net of a catalogue price (of a whole line)."""
        if not self.prices_include_tax or not rates:
            return price
        whole = 100 * 10_000 + sum(rate.percent for rate in rates)
        return _round(price * 100 * 10_000, whole) // whole

    def discounted(self, price: int, percent: int) -> int:
        """A line's catalogue price less a percentage, which WooCommerce cuts to whole cents."""
        return price - price * percent // 100 // CENT * CENT

    def totals(self, order: Order) -> dict[str, int]:
        """All totals of an order."""
        goods = [(line.total, line.rates) for line in order.lines]
        fees = [(fee.total, fee.rates) for fee in order.fees]
        carriage = [(charge.total, charge.rates) for charge in order.charges]
        cart_tax, shipping_tax = self.per_rate([*goods, *fees]), self.per_rate(carriage)
        subtotal = sum(_round(line.subtotal, CENT) for line in order.lines)
        goods_total = sum(_round(line.total, CENT) for line in order.lines)
        shipping = sum(_round(charge.total, CENT) for charge in order.charges)
        fee_total = sum(_round(fee.total, CENT) for fee in order.fees)
        list_tax = sum(self.line_tax(line.subtotal, line.rates) for line in order.lines)
        net_tax = sum(self.line_tax(line.total, line.rates) for line in order.lines)
        tax = sum(cart_tax.values()) + sum(shipping_tax.values())
        return {
            "discount": subtotal - goods_total,
            "discount_tax": list_tax - net_tax,
            "shipping": shipping,
            "shipping_tax": sum(shipping_tax.values()),
            "cart_tax": sum(cart_tax.values()),
            "total": goods_total + fee_total + shipping + tax,
            "total_tax": tax,
        }


def price_of(line: Line) -> float | int:
    """The unit price as WooCommerce writes it: a float, with all the digits of one."""
    value = line.total / ONE / line.quantity if line.quantity else 0
    return int(value) if value == int(value) else value
