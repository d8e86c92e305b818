"""What each line and charge of a document means for the books: revenue account, VAT account, amounts.

Amounts are the source's, per tax line; nothing is recomputed (sales-accounting §2). What cannot be placed without
guessing raises MappingError, which names the setting that would answer it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal

from comptoir.domain.accounts import AccountMap, ChannelBooks, SchemeAccounts
from comptoir.errors import MappingError
from comptoir.model.item import ItemKind
from comptoir.model.money import CollectedBy, TaxLine, TaxScheme
from comptoir.model.order import Charge, ChargeKind, OrderLine, RefundLine, SalesOrder
from comptoir.model.parties import Address

__all__ = [
    "EU",
    "Share",
    "check_vat",
    "gift_card_kind",
    "is_northern_ireland",
    "is_overseas",
    "outside_vat_area",
    "part_shares",
    "territory",
]

#: Member states (Greece by its ISO code); Monaco is France for VAT.
EU = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MC MT NL PL PT RO SE SI SK".split())
_OVERSEAS = frozenset("GP MQ GF RE YT BL MF PM WF PF NC TF".split())
#: Overseas departments that have a VAT of their own (Guyane and Mayotte have none).
_TAXED_OVERSEAS = frozenset("GP MQ RE".split())
_TAXED_POSTCODES = ("971", "972", "974")
_ZERO = Decimal(0)
#: (message, code, hint) -> the error that parks the order.
_Park = Callable[[str, str, str], MappingError]


@dataclass(frozen=True, slots=True)
class Share:
    """One part's amounts on its accounts. `withheld` is a tax that a marketplace collected: nobody's revenue
    here. `code` says scheme, country and rate; `rebate` is where a later rebate on it goes.
    """

    part: str
    account: str
    vat_account: str | None
    net: Decimal
    tax: Decimal
    rate: Decimal
    withheld: Decimal = _ZERO
    code: str | None = None
    rebate: str | None = None

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
    """Outside the EU's VAT area for goods: other countries but Northern Ireland, overseas territories, the Canary
    Islands, Ceuta and Melilla.
    """
    if address is None or address.country is None:
        return is_overseas(address)
    if is_northern_ireland(address):
        return False
    code = (address.postcode or "").replace(" ", "")[:2]
    return (
        address.country not in EU
        or is_overseas(address)
        or (address.country == "ES" and code in ("35", "38", "51", "52"))
    )


def is_northern_ireland(address: Address | None) -> bool:
    """Northern Ireland, by the postcode (BT) or by the code that VAT numbers have (XI)."""
    if address is None:
        return False
    return address.country == "XI" or (address.country == "GB" and (address.postcode or "").upper().startswith("BT"))


def territory(address: Address | None) -> Literal["mainland", "dom", "corsica"]:
    """Whose VAT rates a French place has; places outside France count as the mainland.

    By country code, and for France by the postcode's beginning: 20 is Corsica, 971, 972 and 974 are the departments
    that have a VAT of their own. It only chooses between rates that were charged; it never decides a regime.
    """
    if address is None:
        return "mainland"
    code = (address.postcode or "").replace(" ", "")
    if address.country in _TAXED_OVERSEAS:
        return "dom"
    if address.country in ("FR", None):
        if code[:3] in _TAXED_POSTCODES:
            return "dom"
        if len(code) == 5 and code.startswith("20"):
            return "corsica"
    return "mainland"


def part_shares(
    part: OrderLine | Charge | RefundLine,
    taxes: Sequence[TaxLine],
    *,
    order: SalesOrder,
    channel: ChannelBooks,
    accounts: AccountMap,
    path: str,
    day: date,
    gift_card: str | None = None,
) -> list[Share]:
    """The shares of a line or charge; several only where several rates apply to parts of its net amount.

    `taxes` are the part's own, or those of the original sale for a refund that carries none; `day` is that of the
    sale; `gift_card` the kind of gift card that the part sells ("undeclared" when nobody said it). Raises
    MappingError with the path, the order and the setting to add.
    """

    def park(message: str, code: str, hint: str) -> MappingError:
        return MappingError(
            f"order {order.number}: {path}: {message}", record=order.number, field=path, code=code, hint=hint
        )

    if part.net == 0 and part.tax == 0:
        return []
    if gift_card == "undeclared":
        raise park(
            "it sells a gift card, and it is not said of which kind",
            "gift_card_kind",
            'Set accounting.gift_cards to "multi_purpose" (VAT when it is used) or "single_purpose" (VAT when sold); '
            "accounting.gift_card_items says it by SKU.",
        )
    if gift_card == "multi_purpose":
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
    charge = part.kind.value if isinstance(part, Charge) else "goods"
    if charge == ChargeKind.ROUNDING and abs(part.net + part.tax) > accounts.tolerance:
        raise park(
            f"a rounding of {part.net + part.tax} is no rounding",
            "residual",
            f"More than the {accounts.tolerance} that may be: look at the order in the shop.",
        )
    sale = _Sale(order, channel, accounts, day, charge, park, is_service=_kind(part, order) is ItemKind.SERVICE)
    if not taxes:
        if part.tax:
            raise park("it has an amount of tax but no rate", "tax_without_rate", "The source must say the rate.")
        if own and charge in _NO_TURNOVER:
            return [Share(part.external_id, own, None, part.net, _ZERO, _ZERO)]
        place = _untaxed_place(sale)
        return [_share(part, place, own, part.net, _ZERO, _ZERO)]
    shares = []
    for tax, net in zip(taxes, _bases(part, taxes, park), strict=True):
        place = _place(tax, sale)
        if tax.collected_by is CollectedBy.MARKETPLACE:
            shares.append(_share(part, place, own, net, _ZERO, tax.rate, tax.amount))
        else:
            shares.append(_share(part, place, own, net, tax.amount, tax.rate))
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
#: Charges that are no turnover, so that no VAT and no reason for its absence is asked for.
_NO_TURNOVER = (ChargeKind.ROUNDING, ChargeKind.TIP, ChargeKind.DEPOSIT, ChargeKind.DUTY)
_UNTAXED = (TaxScheme.INTRA_EU, TaxScheme.EXPORT, TaxScheme.EXEMPT)


@dataclass(frozen=True, slots=True)
class _Place:
    """Accounts of one tax line, and the code that says why."""

    group: SchemeAccounts
    vat: str | None
    code: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class _Sale:
    """What a place is looked up by."""

    order: SalesOrder
    channel: ChannelBooks
    accounts: AccountMap
    day: date
    charge: str
    park: _Park
    is_service: bool = False

    @property
    def ship_to(self) -> Address | None:
        return self.order.shipping or self.order.billing

    @property
    def leaves_vat_area(self) -> bool:
        """Goods that a company of the EU's VAT area sends out of it (overseas departments included)."""
        home = self.channel.country
        return not self.is_service and home in EU and home not in _OVERSEAS and outside_vat_area(self.ship_to)

    @property
    def to_another_state(self) -> bool:
        """Goods from one member state to another."""
        home, ship_to = self.channel.country, self.ship_to
        if self.is_service or home not in EU or ship_to is None or ship_to.country not in EU:
            return False
        return _state(ship_to.country) != _state(home) and not outside_vat_area(ship_to)


def _share(
    part: OrderLine | Charge | RefundLine,
    place: _Place,
    own: str | None,
    net: Decimal,
    tax: Decimal,
    rate: Decimal,
    withheld: Decimal = _ZERO,
) -> Share:
    # A fee below zero is how shops write a discount on the whole order: it is netted in turnover (no 709, no 7085).
    discount = isinstance(part, Charge) and part.kind is ChargeKind.FEE and part.net < 0
    usual = place.group.shipping if isinstance(part, Charge) and not discount else place.group.sales
    account = own or place.account or usual
    return Share(
        part.external_id, account, place.vat, net, tax, rate, withheld, place.code, place.group.rebate or account
    )


def _own_account(part: OrderLine | Charge | RefundLine, accounts: AccountMap) -> str | None:
    """The account that a charge kind has of its own; None: by rate; "": must be configured."""
    if not isinstance(part, Charge):
        return None
    configured = accounts.charges.get(part.kind.value)
    if configured:
        return configured
    if part.kind is ChargeKind.ROUNDING:
        return accounts.rounding_gain if part.net > 0 else accounts.rounding_loss
    if part.kind is ChargeKind.CASH_DISCOUNT:
        return accounts.escompte_account
    # Tips are no revenue, deposits and duties are no sale: their accounts are the merchant's choice.
    return _UNSET if part.kind in (ChargeKind.TIP, ChargeKind.DEPOSIT, ChargeKind.DUTY) else None


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


def _untaxed_place(sale: _Sale) -> _Place:
    """Of a part without any tax line."""
    if sale.accounts.franchise:
        return _Place(sale.accounts.without_vat, None, "franchise")
    zero = sale.accounts.rate(_ZERO)
    if zero is None:
        raise sale.park(
            "it carries no VAT and its tax scheme is not known",
            "vat_rate",
            'Let the source say why (export, exempt ...), or add the rate 0 to [accounting.vat]: "0" = {sales = '
            '"707740", shipping = "708574"}.',
        )
    return _Place(zero, None, "exempt")


def _place(tax: TaxLine, sale: _Sale) -> _Place:
    """Accounts of a tax line by who collected it, scheme and rate, and what the merchant's rules say of them."""
    place = _usual_place(tax, sale)
    country = sale.ship_to.country if sale.ship_to else None
    rule = None
    if sale.accounts.sales:
        rule = sale.accounts.sales_rule(
            sale.day,
            channel=sale.channel.connection,
            country=country,
            scheme=tax.scheme,
            rate=tax.rate,
            charge=sale.charge,
        )
    if rule is None and place.code == "exempt" and tax.scheme is TaxScheme.EXEMPT and sale.to_another_state:
        raise sale.park(
            f"goods were sold to {country} without VAT, and no VAT number of the buyer is known",
            "vat_missing",
            "To a consumer VAT is due (OSS, or the seller's own); to a company the shop has to give its VAT number. "
            f'Where it is right as it is, say so: [[accounting.sales]] country = "{country}", scheme = "exempt", '
            'account = "707...".',
        )
    if rule is None:
        return place
    return replace(place, account=rule.account, vat=rule.vat if rule.vat and place.vat else place.vat)


def _usual_place(tax: TaxLine, sale: _Sale) -> _Place:
    accounts, park, ship_to = sale.accounts, sale.park, sale.ship_to
    if tax.collected_by is CollectedBy.MARKETPLACE:
        if sale.channel.country in EU and not outside_vat_area(ship_to):
            raise park(
                "a marketplace collected the VAT of a sale inside the EU by a seller established there",
                "marketplace_vat",
                "Sources disagree on who declares it (sales-accounting.md): ask the expert-comptable, book it by hand.",
            )
        return _Place(accounts.marketplace, None, "marketplace")
    if accounts.franchise:
        if tax.amount:
            raise park(
                "VAT was charged although the seller is under franchise en base",
                "franchise",
                "Switch the VAT off in the shop, or set accounting.franchise = false.",
            )
        return _Place(accounts.without_vat, None, "franchise")
    if tax.scheme in _UNTAXED:
        if tax.amount:
            raise park(
                f"VAT was charged on a sale of the scheme {tax.scheme.value}",
                "vat_on_untaxed",
                "Correct the scheme or the tax at the source.",
            )
        # Shops know countries, not VAT areas: to them Réunion is France and the Canary Islands are Spain.
        scheme = TaxScheme.EXPORT if sale.leaves_vat_area else tax.scheme
        if (
            scheme is TaxScheme.EXPORT
            and sale.channel.country in EU
            and not sale.is_service
            and is_northern_ireland(ship_to)
        ):
            raise park(
                "goods for Northern Ireland were sold as an export, and it belongs to the EU's VAT area for goods",
                "northern_ireland",
                "To a consumer its VAT is due (OSS, country XI); to a company with an XI number it is an intra-EU "
                "delivery: correct the order's tax in the shop, or book it by hand.",
            )
        overseas = scheme is TaxScheme.EXPORT and is_overseas(ship_to)
        group = {
            TaxScheme.INTRA_EU: accounts.intra_eu,
            TaxScheme.EXPORT: accounts.dom if overseas else accounts.export,
            TaxScheme.EXEMPT: accounts.exempt,
        }[scheme]
        return _Place(group, None, "dom" if overseas else scheme.value)
    shown = format(tax.rate.normalize(), "f")
    if tax.scheme in (TaxScheme.OSS, TaxScheme.IOSS):
        group_vat = accounts.oss if tax.scheme is TaxScheme.OSS else accounts.ioss
        if group_vat is None or tax.country is None or group_vat.vat is None:
            raise park(
                f"a sale under {tax.scheme.value.upper()} "
                + ("names no country" if tax.country is None else "has no accounts"),
                "oss",
                f"Set accounting.{tax.scheme.value} (sales, shipping, vat), and let the source name the country.",
            )
        vat = group_vat.vat.replace("{country}", tax.country)
        return _Place(group_vat, vat, f"{tax.scheme.value}-{tax.country}-{shown}")
    if _state(tax.country) not in (None, _state(sale.channel.country)):
        raise park(
            f"VAT of {tax.country} was charged as a domestic sale of a company in {sale.channel.country}",
            "foreign_stock",
            "Goods that leave a warehouse abroad belong to the books of that VAT number: ask the expert-comptable, and "
            "keep them out of this channel.",
        )
    region = territory(ship_to)
    known = accounts.rate(tax.rate, region)
    if known is None:
        raise park(
            f"the VAT rate {shown} % has no accounts",
            "vat_rate",
            f'Add it: [accounting.vat] "{shown}" = {{sales = "7071..", shipping = "7085..", vat = "44571.."}}.',
        )
    if known.vat is None and tax.amount:
        raise park(f"the VAT rate {tax.rate} has no VAT account", "vat_rate", "Add `vat` to this rate.")
    if not tax.rate:
        return _Place(known, known.vat, "exempt")
    mainland = region == "mainland" or known is accounts.rate(tax.rate)
    return _Place(known, known.vat, f"domestic-{_state(sale.channel.country) if mainland else region}-{shown}")


def _state(country: str | None) -> str | None:
    """The state whose VAT a country code means: Monaco and the overseas departments are France."""
    return "FR" if country == "MC" or country in _OVERSEAS else country


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


def gift_card_kind(part: OrderLine | Charge | RefundLine, order: SalesOrder, accounts: AccountMap) -> str | None:
    """The kind of gift card that the part sells or gives back, None when it is none."""
    sold = _sold(part, order)
    return accounts.gift_card_kind(sold.sku) if sold is not None and sold.kind is ItemKind.GIFT_CARD else None


def _sold(part: OrderLine | Charge | RefundLine, order: SalesOrder) -> OrderLine | None:
    """The line of the sale that a part is, or gives back."""
    if isinstance(part, RefundLine):
        return next((line for line in order.lines if line.external_id == part.order_line_id), None)
    return part if isinstance(part, OrderLine) else None


def _kind(part: OrderLine | Charge | RefundLine, order: SalesOrder) -> ItemKind | None:
    sold = _sold(part, order)
    return None if sold is None else sold.kind
