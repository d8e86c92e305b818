"""What each line and charge of a document means for the books: revenue account, VAT account, amounts.

Amounts are the source's, per tax line; nothing is recomputed (sales-accounting §2). What cannot be placed without
guessing raises MappingError, which names the setting that would answer it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from comptoir.domain.accounts import AccountMap, ChannelBooks
from comptoir.errors import MappingError
from comptoir.model.item import ItemKind
from comptoir.model.money import CollectedBy, TaxLine, TaxScheme
from comptoir.model.order import Charge, ChargeKind, OrderLine, RefundLine, SalesOrder
from comptoir.model.parties import Address

__all__ = ["EU", "Share", "check_vat", "is_gift_card", "is_overseas", "outside_vat_area", "part_shares"]

#: Member states (Greece by its ISO code); Monaco is France for VAT.
EU = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MC MT NL PL PT RO SE SI SK".split())
_OVERSEAS = frozenset("GP MQ GF RE YT BL MF PM WF PF NC TF".split())
_ZERO = Decimal(0)
#: (message, code, hint) -> the error that parks the order.
_Park = Callable[[str, str, str], MappingError]


@dataclass(frozen=True, slots=True)
class Share:
    """One part's amounts on its accounts. `withheld` is a tax that a marketplace collected: nobody's revenue
    here.
    """

    part: str
    account: str
    vat_account: str | None
    net: Decimal
    tax: Decimal
    rate: Decimal
    withheld: Decimal = _ZERO

    @property
    def gross(self) -> Decimal:
        """What the seller may claim for it."""
        return self.net + self.tax


def is_overseas(address: Address | None) -> bool:
    """A French overseas territory, by country code or by postcode 971 to 978 and 986 to 988."""
    if address is None:
        return False
    code = (address.postcode or "").replace(" ", "")[:3]
    french = address.country in ("FR", None)
    return address.country in _OVERSEAS or (french and code[:2] in ("97", "98") and code not in ("980",))


def outside_vat_area(address: Address | None) -> bool:
    """Outside the EU's VAT area: other countries, overseas territories, the Canary Islands, Ceuta and
    Melilla.
    """
    if address is None or address.country is None:
        return is_overseas(address)
    code = (address.postcode or "").replace(" ", "")[:2]
    return (
        address.country not in EU
        or is_overseas(address)
        or (address.country == "ES" and code in ("35", "38", "51", "52"))
    )


def part_shares(
    part: OrderLine | Charge | RefundLine,
    taxes: Sequence[TaxLine],
    *,
    order: SalesOrder,
    channel: ChannelBooks,
    accounts: AccountMap,
    path: str,
    gift_card: bool = False,
) -> list[Share]:
    """The shares of a line or charge; several only where several rates apply to parts of its net amount.

    `taxes` are the part's own, or those of the original sale for a refund that carries none. Raises MappingError
    with the path, the order and the setting to add.
    """

    def park(message: str, code: str, hint: str) -> MappingError:
        return MappingError(
            f"order {order.number}: {path}: {message}", record=order.number, field=path, code=code, hint=hint
        )

    if part.net == 0 and part.tax == 0:
        return []
    if gift_card and accounts.gift_cards == "undeclared":
        raise park(
            "it sells a gift card, and it is not said of which kind",
            "gift_card_kind",
            'Set accounting.gift_cards to "multi_purpose" (VAT when it is used) or "single_purpose" (VAT when sold).',
        )
    if gift_card and accounts.gift_cards == "multi_purpose":
        if part.tax:
            raise park(
                "a multi-purpose gift card was sold with VAT",
                "gift_card_vat",
                'Sell it without VAT in the shop, or set accounting.gift_cards = "single_purpose".',
            )
        return [Share(part.external_id, accounts.gift_card_account, None, part.net, _ZERO, _ZERO)]
    own = _own_account(part, accounts)
    if own is _UNSET:
        kind = part.kind.value if isinstance(part, Charge) else ""
        raise park(
            f"a charge of kind {kind!r} has no account",
            "charge_kind",
            f"Set accounting.charges.{kind} to the account it goes to.",
        )
    if not taxes:
        if part.tax:
            raise park("it has an amount of tax but no rate", "tax_without_rate", "The source must say the rate.")
        if accounts.franchise:
            revenue = own or _revenue(accounts.without_vat, part)
            return [Share(part.external_id, revenue, None, part.net, _ZERO, _ZERO)]
        zero = accounts.rate(_ZERO)
        if zero is None:
            raise park(
                "it carries no VAT and its tax scheme is not known",
                "vat_rate",
                'Let the source say why (export, exempt ...), or add the rate 0 to [accounting.vat]: "0" = {sales = '
                '"707740", shipping = "708574"}.',
            )
        return [Share(part.external_id, own or _revenue(zero, part), None, part.net, _ZERO, _ZERO)]
    shares = []
    for tax, net in zip(taxes, _bases(part, taxes, park), strict=True):
        place = _place(tax, order, channel, accounts, park)
        revenue = own or (place.shipping if isinstance(part, Charge) else place.sales)
        if tax.collected_by is CollectedBy.MARKETPLACE:
            shares.append(Share(part.external_id, revenue, None, net, _ZERO, tax.rate, tax.amount))
        else:
            shares.append(Share(part.external_id, revenue, place.vat, net, tax.amount, tax.rate))
    difference = part.tax - sum((t.amount for t in taxes), _ZERO)
    if abs(difference) > accounts.tolerance:
        raise park(
            f"its tax is {part.tax} and its tax lines give {part.tax - difference}",
            "tax_lines",
            "Look at the order in the shop: its tax lines do not add up.",
        )
    return shares


#: A charge kind whose account is the merchant's choice.
_UNSET = ""
_UNTAXED = (TaxScheme.INTRA_EU, TaxScheme.EXPORT, TaxScheme.EXEMPT)


@dataclass(frozen=True, slots=True)
class _Place:
    sales: str
    shipping: str
    vat: str | None = None


def _own_account(part: OrderLine | Charge | RefundLine, accounts: AccountMap) -> str | None:
    """The account that a charge kind has of its own; None: by rate; "": must be configured."""
    if not isinstance(part, Charge):
        return None
    configured = accounts.charges.get(part.kind.value)
    if configured:
        return configured
    if part.kind is ChargeKind.ROUNDING:
        return accounts.rounding_gain if part.net > 0 else accounts.rounding_loss
    # Tips are no revenue, deposits and duties are no sale: their accounts are the merchant's choice.
    return _UNSET if part.kind in (ChargeKind.TIP, ChargeKind.DEPOSIT, ChargeKind.DUTY) else None


def _revenue(place: object, part: OrderLine | Charge | RefundLine) -> str:
    return str(getattr(place, "shipping" if isinstance(part, Charge) else "sales"))


def _bases(part: OrderLine | Charge | RefundLine, taxes: Sequence[TaxLine], park: _Park) -> list[Decimal]:
    """The net amount of each tax line: the part's for one, their bases for several (which must add up)."""
    if len(taxes) == 1:
        return [part.net]
    bases = [tax.base for tax in taxes]
    if sum(bases, _ZERO) != part.net:
        raise park(
            "several taxes apply to it and their bases do not add up to its net amount",
            "several_taxes",
            "Taxes on one another cannot be booked; correct the order's taxes in the shop.",
        )
    return bases


def _place(tax: TaxLine, order: SalesOrder, channel: ChannelBooks, accounts: AccountMap, park: _Park) -> _Place:
    """Accounts of a tax line by who collected it, scheme and rate."""
    ship_to = order.shipping or order.billing
    if tax.collected_by is CollectedBy.MARKETPLACE:
        if channel.country in EU and not outside_vat_area(ship_to):
            raise park(
                "a marketplace collected the VAT of a sale inside the EU by a seller established there",
                "marketplace_vat",
                "Sources disagree on who declares it (sales-accounting.md): ask the expert-comptable, book it by hand.",
            )
        return _Place(accounts.marketplace.sales, accounts.marketplace.shipping)
    if accounts.franchise:
        if tax.amount:
            raise park(
                "VAT was charged although the seller is under franchise en base",
                "franchise",
                "Switch the VAT off in the shop, or set accounting.franchise = false.",
            )
        return _Place(accounts.without_vat.sales, accounts.without_vat.shipping)
    if tax.scheme in _UNTAXED:
        if tax.amount:
            raise park(
                f"VAT was charged on a sale of the scheme {tax.scheme.value}",
                "vat_on_untaxed",
                "Correct the scheme or the tax at the source.",
            )
        group = {
            TaxScheme.INTRA_EU: accounts.intra_eu,
            TaxScheme.EXPORT: accounts.dom if is_overseas(ship_to) else accounts.export,
            TaxScheme.EXEMPT: accounts.exempt,
        }[tax.scheme]
        return _Place(group.sales, group.shipping)
    if tax.scheme in (TaxScheme.OSS, TaxScheme.IOSS):
        group_vat = accounts.oss if tax.scheme is TaxScheme.OSS else accounts.ioss
        if group_vat is None or tax.country is None or group_vat.vat is None:
            raise park(
                f"a sale under {tax.scheme.value.upper()} "
                + ("names no country" if tax.country is None else "has no accounts"),
                "oss",
                f"Set accounting.{tax.scheme.value} (sales, shipping, vat), and let the source name the country.",
            )
        return _Place(group_vat.sales, group_vat.shipping, group_vat.vat.replace("{country}", tax.country))
    known = accounts.rate(tax.rate)
    if known is None:
        shown = format(tax.rate.normalize(), "f")
        raise park(
            f"the VAT rate {shown} % has no accounts",
            "vat_rate",
            f'Add it: [accounting.vat] "{shown}" = {{sales = "7079..", shipping = "7085..", vat = "44571.."}}.',
        )
    if known.vat is None and tax.amount:
        raise park(f"the VAT rate {tax.rate} has no VAT account", "vat_rate", "Add `vat` to this rate.")
    return _Place(known.sales, known.shipping, known.vat)


def check_vat(shares: Iterable[Share], *, order: SalesOrder, accounts: AccountMap) -> None:
    """VAT against net × rate, per share and per rate of the document (sales-accounting §0.2).

    The source's amounts are posted as they are; this only finds documents whose rate cannot be the one that was
    applied. Raises MappingError when the difference is more than `vat_tolerance` per share, or more than that times
    the shares, capped, per rate.
    """
    by_rate: dict[tuple[str, Decimal], list[Share]] = {}
    for share in shares:
        if share.vat_account is not None:
            by_rate.setdefault((share.vat_account, share.rate), []).append(share)
    for (_, rate), group in by_rate.items():
        off = [share.tax - share.net * rate / 100 for share in group]
        whole = min(accounts.vat_tolerance * len(group), accounts.vat_tolerance_cap)
        worst = max(off, key=abs)
        if abs(worst) > accounts.vat_tolerance or abs(sum(off, _ZERO)) > whole:
            raise MappingError(
                f"order {order.number}: VAT at {rate} % is off by {sum(off, _ZERO):.4f} (one line by {worst:.4f})",
                record=order.number,
                field="lines.taxes",
                code="vat_check",
                hint="The rate on the order is not the one its tax was computed with; look at it in the "
                "shop, or raise "
                "accounting.vat_tolerance if this is how the shop rounds.",
            )


def is_gift_card(part: OrderLine | Charge | RefundLine, order: SalesOrder) -> bool:
    """The part sells (or gives back) a gift card."""
    if isinstance(part, OrderLine):
        return part.kind is ItemKind.GIFT_CARD
    if isinstance(part, RefundLine):
        return any(line.external_id == part.order_line_id and line.kind is ItemKind.GIFT_CARD for line in order.lines)
    return False
