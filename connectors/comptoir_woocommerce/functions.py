"""Pure functions that the `in` mappings in `mappings/woocommerce/` name. ValueError: the record waits for a person."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from comptoir.sdk import allocate, minor_units, round_money
from comptoir_woocommerce.forms import amount, business_day, gmt, meta_text, number, words
from comptoir_woocommerce.item_functions import ITEM_FUNCTIONS

__all__ = ["FUNCTIONS", "VAT_META_KEYS", "tax_lines"]

#: Where the usual plugins keep the buyer's VAT number.
VAT_META_KEYS = (
    "_billing_vat_number",
    "billing_vat_number",
    "_vat_number",
    "vat_number",
    "_billing_vat",
    "billing_vat",
    "_billing_eu_vat_number",
    "billing_eu_vat_number",
    "_billing_vat_id",
    "_billing_vat_code",
    "_eu_vat_number",
)
_SIRET_META_KEYS = ("_billing_siret", "billing_siret", "_siret", "siret")
_SUBSCRIBED_KEY = "mailchimp_woocommerce_is_subscribed"
#: Kept by WordPress for itself; changes at each visit and says nothing of the buyer.
_OWN_META_KEYS = frozenset({"wc_last_active", "default_password_nag", "_download_permissions_granted"})

#: Member states as WooCommerce writes them, and Monaco, which is France for VAT.
_EU = frozenset("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MC MT NL PL PT RO SE SI SK".split())
#: Overseas departments have ISO codes of their own and are French for VAT (GF and YT at no rate).
_FRENCH_OVERSEAS = frozenset({"GP", "MQ", "RE", "GF", "YT"})
_RATE_CODE = re.compile(r"^(?P<country>[A-Z]{2})-.+-\d+$")
_RATE_IN_CODE = re.compile(r"(?<![\d.,])(\d{1,2}(?:[.,]\d+)?)\s*%")
_SMALLEST_SHARE = Decimal("1e-8")
_PRICE_STEP = Decimal("1e-10")
_ZERO = Decimal(0)


# --- tax ------------------------------------------------------------------------------------------------------


def _tax_territory(country: str) -> str:
    """The state whose VAT applies in a country code."""
    return "FR" if country == "MC" or country in _FRENCH_OVERSEAS else country


def _taxed_scheme(country: str, company_country: str) -> str:
    """The scheme of a tax that was charged for `country`."""
    territory, home = _tax_territory(country), _tax_territory(company_country)
    if territory == home:
        return "domestic"
    if territory in _EU and home in _EU:
        return "oss"
    raise ValueError(f"tax of {country} was charged: no VAT scheme of a company in {company_country} has this")


def _untaxed_scheme(country: str, vat_id: str | None, company_country: str) -> tuple[str, str]:
    """Scheme and VAT category of something sold without tax to `country`."""
    territory, home = _tax_territory(country), _tax_territory(company_country)
    if territory == home or not territory:
        return "exempt", "E"
    if territory not in _EU:
        return "export", "G"
    return ("intra_eu", "K") if vat_id else ("exempt", "E")


def _rate_of(rate: Mapping[str, Any]) -> Decimal:
    percent = number(rate.get("rate_percent"))
    if percent is not None:
        return percent
    # Shops before WooCommerce 3.7 do not write the percentage; the merchant's own label usually does.
    for name in ("label", "rate_code"):
        if found := _RATE_IN_CODE.search(words(rate.get(name))):
            return Decimal(found.group(1).replace(",", "."))
    raise ValueError(f"the rate of tax {rate.get('rate_code') or rate.get('rate_id')} is not written in the order")


def _split(tax: Decimal, parts: Sequence[Decimal], currency: str) -> list[Decimal]:
    """`tax` shared over its rates in proportion to `parts`; the shares sum to it exactly."""
    if len(parts) == 1:
        return [tax]
    if tax == round_money(tax, currency):
        return allocate(tax, parts, currency)
    # A shop that shows more decimals than the currency has: shares at that precision, the rest on the largest.
    whole = sum(parts, Decimal(0))
    shares = [(tax * part / whole if whole else Decimal(0)).quantize(_SMALLEST_SHARE, ROUND_HALF_UP) for part in parts]
    largest = max(range(len(parts)), key=lambda i: abs(parts[i]))
    shares[largest] += tax - sum(shares, Decimal(0))
    return shares


def tax_lines(
    taxes: Any,
    net: Any,
    tax: Any,
    rates: Any,
    currency: Any,
    ship_to: Any,
    bill_to: Any,
    meta: Any,
    company_country: Any,
) -> list[dict[str, Any]]:
    """The taxes of one line, by rate; their amounts sum to the line's `tax` exactly.

    `taxes` are the line's parts by rate id (up to six decimals), `rates` the order's `tax_lines`. Parts and line are
    rounded apart by the shop, so they may differ by a cent: the line's figure holds, shared by largest remainder.
    """
    minor_units_known(currency)
    base, total = amount(net) or _ZERO, amount(tax) or _ZERO
    if total and taxes.__class__ is list and len(taxes) == 1 and amount(taxes[0].get("total")):
        # As nearly every line: one rate, and the line's own figure is its tax.
        rate_id = str(taxes[0].get("id"))
        for rate in reversed(rates or ()):
            if str(rate.get("rate_id")) == rate_id:
                place = words(ship_to).upper() or words(bill_to).upper()
                return [_one_line(rate, total, base, _ZERO, place, str(company_country))]
    parts = [(str(t.get("id")), part) for t in taxes or () if (part := amount(t.get("total"))) is not None]
    by_id = {str(rate.get("rate_id")): rate for rate in rates or ()}
    if total and (len(parts) != 1 or not parts[0][1]) and not any(part for _, part in parts):
        if not parts and len(by_id) == 1:
            parts = [(next(iter(by_id)), total)]
        elif len(parts) != 1:
            raise ValueError(f"tax of {total} without the rate it belongs to")
    place = words(ship_to).upper() or words(bill_to).upper()
    if base == 0 and total == 0:
        return []
    # A plugin that frees a buyer from tax often leaves the rate on the line with nothing charged under it.
    if total == 0 and (not parts or _freed(base, parts, by_id, str(currency))):
        scheme, category = _untaxed_scheme(place, meta_text(meta, VAT_META_KEYS), str(company_country))
        return [_zero_line(base, scheme, category, place)]
    shares = _split(total, [part for _, part in parts], str(currency))
    lines, taxed_before = [], _ZERO
    for (rate_id, _), share in zip(parts, shares, strict=True):
        rate = by_id.get(rate_id)
        if rate is None:
            if share == 0:
                continue
            raise ValueError(f"the line is taxed by rate {rate_id}, which the order does not list")
        lines.append(_one_line(rate, share, base, taxed_before, place, str(company_country)))
        taxed_before += share
    return lines


def minor_units_known(currency: Any) -> None:
    """ValueError for a currency that is not in ISO 4217: there is no default one."""
    try:
        _decimals(currency)
    except (KeyError, TypeError):
        raise ValueError(f"unknown currency {currency!r}") from None


_decimals = functools.lru_cache(maxsize=64)(minor_units)


def _freed(
    base: Decimal, parts: Sequence[tuple[str, Decimal]], rates: Mapping[str, Mapping[str, Any]], currency: str
) -> bool:
    """Whether a zero tax is not what the listed rates give, so that the line was freed from them."""
    percent = sum((_rate_of(rates[rate_id]) for rate_id, _ in parts if rate_id in rates), Decimal(0))
    return percent == 0 or round_money(base * percent / 100, currency) != 0


def _zero_line(base: Decimal, scheme: str, category: str, place: str) -> dict[str, Any]:
    return {
        "category": category,
        "rate": Decimal(0),
        "base": base,
        "amount": Decimal(0),
        "country": place if re.fullmatch(r"[A-Z]{2}", place) else None,
        "scheme": scheme,
    }


def _one_line(
    rate: Mapping[str, Any], share: Decimal, base: Decimal, before: Decimal, place: str, company_country: str
) -> dict[str, Any]:
    written = (rate.get("rate_code"), rate.get("rate_percent"), rate.get("label"), rate.get("rate_id"))
    try:
        percent, country, scheme, code, label = _rate_facts(*written, place, company_country)
    except TypeError:  # one of them is a list or an object, which no cache can hold
        percent, country, scheme, code, label = _rate_facts.__wrapped__(*written, place, company_country)
    return {
        "category": "S" if percent else "Z",
        "rate": percent,
        "base": base + before if rate.get("compound") else base,
        "amount": share,
        "country": country,
        "scheme": scheme,
        "source_code": code,
        "label": label,
    }


@functools.lru_cache(maxsize=512, typed=True)
def _rate_facts(
    rate_code: Any, rate_percent: Any, label: Any, rate_id: Any, place: str, company_country: str
) -> tuple[Decimal, str, str, str, str | None]:
    """Percentage, country, scheme, code and label of a rate: the same few rates stand in every order of a shop."""
    code = words(rate_code)
    found = _RATE_CODE.match(code.upper())
    country = found.group("country") if found else place or company_country
    percent = _rate_of({"rate_code": rate_code, "rate_percent": rate_percent, "label": label, "rate_id": rate_id})
    scheme = _taxed_scheme(country, company_country)
    return percent, "FR" if country == "MC" else country, scheme, code or str(rate_id), words(label) or None


# --- amounts --------------------------------------------------------------------------------------------------


def unit_price(list_net: Any, quantity: Any) -> Decimal:
    """Net price of one before discounts, at ten decimals; the line's net when nothing is counted."""
    try:
        return _unit_price(list_net, quantity)
    except TypeError:  # a list or an object, which no cache can hold
        return _unit_price.__wrapped__(list_net, quantity)


@functools.lru_cache(maxsize=4096, typed=True)
def _unit_price(list_net: Any, quantity: Any) -> Decimal:
    """Kept: a shop sells the same things at the same prices."""
    net, count = amount(list_net) or _ZERO, number(quantity) or _ZERO
    return (net / count).quantize(_PRICE_STEP, ROUND_HALF_UP).normalize() + 0 if count else net


def negated(value: Any) -> Decimal:
    """A refund's negative amount as the positive one it is for the buyer."""
    return Decimal(0) - (number(value) or Decimal(0))


def refund_tax_lines(
    taxes: Any,
    net: Any,
    tax: Any,
    rates: Any,
    order_rates: Any,
    currency: Any,
    ship_to: Any,
    bill_to: Any,
    meta: Any,
    company_country: Any,
) -> list[dict[str, Any]]:
    """As `tax_lines`, with positive amounts; a rate that the refund does not list is taken from its order."""
    positive = [
        {"id": t.get("id"), "total": str(negated(t["total"]))} for t in taxes or () if t.get("total") not in (None, "")
    ]
    known = {str(rate.get("rate_id")): rate for rate in (*(order_rates or ()), *(rates or ()))}
    return tax_lines(
        positive,
        negated(net),
        negated(tax),
        list(known.values()),
        currency,
        ship_to,
        bill_to,
        meta,
        company_country,
    )


# --- states ---------------------------------------------------------------------------------------------------


def payment_state(status: Any, date_paid: Any, method: Any, total: Any, refunds: Any) -> str:
    """How far the order is paid, from facts: when it was paid and what was given back.

    Cash on delivery is `processing` long before the money is there: then only the payment date counts.
    """
    given_back = sum([abs(amount(refund.get("total")) or _ZERO) for refund in refunds or ()], _ZERO)
    due = amount(total) or _ZERO
    if status == "refunded" or (given_back and given_back >= due):
        return "refunded"
    if status == "failed":
        return "failed"
    paid = bool(date_paid) or (status in ("processing", "completed") and (due == 0 or method != "cod"))
    if not paid:
        return "unpaid"
    return "partly_refunded" if given_back else "paid"


def fulfilment_state(status: Any, date_completed: Any) -> str:
    """How far the goods have left: `completed` is WooCommerce's only word for it."""
    if status == "completed" or (status == "refunded" and date_completed):
        return "shipped"
    return "cancelled" if status in ("cancelled", "refunded", "trash") else "open"


def hold(status: Any, date_paid: Any) -> str:
    """Why the order waits: for its payment, or because the merchant stopped a paid one."""
    if status in ("pending", "checkout-draft", "failed"):
        return "payment"
    if status == "on-hold":
        return "merchant" if date_paid else "payment"
    return "none"


def payments(
    state: Any, method_word: Any, method: Any, title: Any, reference: Any, total: Any, date_paid: Any
) -> list[dict[str, Any]]:
    """The payment of a paid order; nothing for one that is not, or that cost nothing.

    `state` is the payment state, `method_word` the neutral word for WooCommerce's `method`.
    """
    due = amount(total) or _ZERO
    if state not in ("paid", "partly_refunded", "refunded") or due == 0:
        return []
    return [
        {
            "method": method_word,
            "source_method": words(method),
            "label": words(title) or None,
            "provider_ref": words(reference) or None,
            "amount": due,
            "paid_at": gmt(date_paid) if date_paid else None,
        }
    ]


# --- parties and the rest -------------------------------------------------------------------------------------


def vat_id(meta: Any) -> str | None:
    """The buyer's VAT number without spaces and dots, wherever a plugin put it."""
    found = meta_text(meta, VAT_META_KEYS)
    return re.sub(r"[\s.\-]", "", found).upper() or None if found else None


def siret(meta: Any) -> str | None:
    """The buyer's SIRET (14 digits), wherever a plugin put it."""
    found = meta_text(meta, _SIRET_META_KEYS)
    digits = re.sub(r"\D", "", found) if found else ""
    return digits if len(digits) == 14 else None


def siren(meta: Any) -> str | None:
    """The first nine digits of the SIRET."""
    found = siret(meta)
    return found[:9] if found else None


def customer_ref(number: Any) -> str | None:
    """The customer's id; None for a guest, whom WooCommerce writes as 0."""
    return str(number) if number else None


def account(number: Any, company: Any, meta: Any) -> str:
    """b2b for a company or a VAT number; else guest or b2c. `number` is the customer's id, 0 for a guest."""
    if words(company) or vat_id(meta):
        return "b2b"
    return "b2c" if number else "guest"


def party_kind(company: Any) -> str:
    """An organisation when a company is named."""
    return "organisation" if words(company) else "person"


def item_ref(variation: Any, product: Any) -> str | None:
    """The external id of what was sold: the variation, else the product; None when it was deleted."""
    return str(variation or product) if variation or product else None


def country(value: Any) -> str | None:
    """An ISO country code, None when empty."""
    code = words(value).upper()
    if code and not (len(code) == 2 and code.isascii() and code.isalpha()):
        raise ValueError(f"{value!r} is no country code")
    return code or None


def addresses(billing: Any, shipping: Any) -> list[dict[str, Any]]:
    """The address blocks that hold something, as written."""
    found = []
    for role, block in (("billing", billing), ("shipping", shipping)):
        text = {key: words(value) for key, value in (block or {}).items()}
        lines = [text[key] for key in ("address_1", "address_2") if text.get(key)]
        who = {key: text.get(key) or None for key in ("company", "first_name", "last_name", "postcode", "city")}
        if lines or any(who.values()):
            more = {key: text.get(key) or None for key in ("phone", "email")}
            place = {"region": text.get("state") or None, "country": country(text.get("country"))}
            found.append({"role": role, "lines": lines, **who, **more, **place})
    return found


def extra(meta: Any, *pairs: Any) -> dict[str, object]:
    """Custom fields by key, then the given name-value pairs that are not empty. A repeated key keeps all values."""
    found: dict[str, object] = {}
    for entry in meta or ():
        key = entry.get("key") if isinstance(entry, dict) else None
        if not isinstance(key, str) or key in _OWN_META_KEYS:
            continue
        if key in found:
            earlier = found[key]
            found[key] = [*earlier, entry.get("value")] if isinstance(earlier, list) else [earlier, entry.get("value")]
        else:
            found[key] = entry.get("value")
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        if value not in (None, "", [], {}):
            found[name] = value
    return found


def consents(meta: Any) -> list[dict[str, Any]]:
    """What a customer has said about the newsletter, where a known plugin keeps it; nothing said is no consent.

    MailChimp for WooCommerce writes 1 for a subscriber and 0 for who is none (any more); other words of it (pending,
    cleaned) are no decision. It does not say when that was.
    """
    said = next((e.get("value") for e in meta or () if isinstance(e, dict) and e.get("key") == _SUBSCRIBED_KEY), None)
    state = {"1": "given", "0": "refused"}.get(str(said)) if isinstance(said, str | int) else None
    if state is None:
        return []
    return [{"purpose": "newsletter", "channel": "email", "state": state, "source": _SUBSCRIBED_KEY}]


FUNCTIONS: dict[str, Callable[..., Any]] = ITEM_FUNCTIONS | {
    function.__name__: function
    for function in (
        business_day,
        account,
        addresses,
        consents,
        country,
        customer_ref,
        extra,
        fulfilment_state,
        hold,
        item_ref,
        negated,
        party_kind,
        payment_state,
        payments,
        refund_tax_lines,
        siren,
        siret,
        tax_lines,
        unit_price,
        vat_id,
    )
}
