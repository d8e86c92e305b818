"""Who may change what: a target's record with the source's values in the fields that the source owns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from comptoir.errors import MappingError
from comptoir.model.item import Item, Price
from comptoir.model.money import PriceBasis
from comptoir.model.parties import Address, Consent, ConsentState, Customer

__all__ = [
    "CUSTOMER_FIELDS",
    "ITEM_FIELDS",
    "Decision",
    "decide",
    "merge_consents",
    "merge_customer",
    "merge_item",
    "new_listing",
    "only_these_values",
]

ITEM_FIELDS = ("price", "sku", "gtin", "name")
CUSTOMER_FIELDS = ("email", "name", "phone", "address")


def merge_item(target: Item, source: Item, fields: tuple[str, ...], price_list: str | None = None) -> Item:
    """The target's item with the source's values in `fields`; an empty source value leaves the target's as it is.

    The price taken has the currency and the basis (with or without tax) of the target's own price: nothing is
    converted. MappingError when the source has no such price, or several.
    """
    changes: dict[str, Any] = {}
    if "sku" in fields and source.sku:
        changes["sku"] = source.sku
    if "gtin" in fields and source.gtins:
        changes["gtins"] = source.gtins
    if "name" in fields:
        changes["name"] = source.name
    if "price" in fields:
        changes["prices"] = _prices(target, source, price_list)
    return target.model_copy(update=changes)


def new_listing(source: Item, basis: PriceBasis, currency: str, price_list: str | None = None) -> Item:
    """The source's item as a target with this price basis and currency would list it. MappingError like above."""
    price = Price(price_list="regular", amount=Decimal(0), currency=currency, basis=basis)
    return source.model_copy(
        update={"prices": _prices(source.model_copy(update={"prices": (price,)}), source, price_list)}
    )


def _prices(target: Item, source: Item, price_list: str | None) -> tuple[Price, ...]:
    """The target's price list with its first (regular) price replaced; promotions stay the target's."""
    if not source.prices or not target.prices:
        return target.prices
    regular = target.prices[0]
    found = [
        price
        for price in source.prices
        if price.basis is regular.basis
        and price.currency == regular.currency
        and price.minimum_quantity in (None, Decimal(0), Decimal(1))
        and price_list in (None, price.price_list)
    ]
    if len(found) != 1:
        wanted = f"{regular.currency} {regular.basis.value}" + (f" in list {price_list!r}" if price_list else "")
        given = ", ".join(f"{p.price_list} {p.currency} {p.basis.value}" for p in source.prices)
        raise MappingError(
            f"prices: {'no' if not found else 'more than one'} price is {wanted}; given: {given}",
            field="prices",
            hint="Export the price with the basis that the shop uses, or set `price_list` on the route.",
            code="price",
        )
    amount = found[0].amount
    same = amount == regular.amount
    return target.prices if same else (regular.model_copy(update={"amount": amount}), *target.prices[1:])


def merge_customer(target: Customer, source: Customer, fields: tuple[str, ...]) -> Customer:
    """The target's customer with the source's values in `fields`; empty values never blank the target's.

    What was refused anywhere stays refused: an opt-out is never lifted by a synchronisation.
    """
    ours, theirs = target.party, source.party
    party: dict[str, Any] = {}
    if "email" in fields and theirs.email:
        party["email"] = theirs.email
    if "phone" in fields and theirs.phone:
        party["phone"] = theirs.phone
    if "name" in fields:
        party |= {
            name: value
            for name in ("first_name", "last_name", "company")
            if (value := getattr(theirs, name)) is not None
        }
    addresses = target.addresses
    if "address" in fields:
        addresses = _addresses(target.addresses, source.addresses)
    return target.model_copy(
        update={
            "party": ours.model_copy(update=party) if party else ours,
            "addresses": addresses,
            "consents": merge_consents(target.consents, source.consents),
        }
    )


def _addresses(ours: tuple[Address, ...], theirs: tuple[Address, ...]) -> tuple[Address, ...]:
    """Our addresses with the places of theirs, role by role; a role that we do not have is added."""
    place = ("lines", "postcode", "city", "region", "country")
    by_role = {address.role: address for address in theirs if address.lines or address.city}
    merged = []
    for address in ours:
        new = by_role.pop(address.role, None)
        given = {name: value for name in place if (value := getattr(new, name))} if new is not None else {}
        merged.append(address.model_copy(update=given) if given else address)
    return (*merged, *by_role.values())


def merge_consents(ours: tuple[Consent, ...], theirs: tuple[Consent, ...]) -> tuple[Consent, ...]:
    """Consents of both; where they differ the refusal stands (specs/crm.md, section 4: the most restrictive wins)."""
    merged = {(c.purpose, c.channel): c for c in ours}
    for consent in theirs:
        key = (consent.purpose, consent.channel)
        known = merged.get(key)
        if known is None or known.state is ConsentState.UNKNOWN or consent.state is ConsentState.REFUSED:
            merged[key] = consent
    return tuple(merged.values())


@dataclass(frozen=True, slots=True)
class Decision:
    """Which keys of a payload to write, and which a person must decide because both sides changed them."""

    write: tuple[str, ...]
    conflicts: tuple[str, ...] = ()


def decide(
    wanted: Mapping[str, Any],
    known: Mapping[str, Any],
    *,
    before: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> Decision:
    """What to write so that the target shows what is wanted.

    Where the source alone owns the values (`before` is None), every key that the target shows otherwise. Where both
    sides may change them, `before` holds (wanted, known) as they were last compared: only what the source changed
    since is written, and what both changed differently is a conflict.
    """
    differing = [key for key, value in wanted.items() if key not in known or known[key] != value]
    if before is None:
        return Decision(tuple(differing))
    wanted_before, known_before = before
    changed = [key for key in differing if wanted_before.get(key) != wanted[key]]
    conflicts = [key for key in changed if key in known_before and known_before[key] != known.get(key)]
    return Decision(tuple(key for key in changed if key not in conflicts), tuple(conflicts))


def only_these_values(before: Any, now: Any, values: Sequence[Any]) -> bool:
    """Whether everything that differs between two records shows one of these values, or a part of one of them."""
    known = {repr(leaf) for value in values for leaf in _leaves(value)}
    return all(repr(leaf) in known for leaf in _changed(before, now))


def _changed(before: Any, now: Any) -> Iterator[Any]:
    """What stands in the second record where the first has something else; what is missing there is None."""
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            yield from _changed(before.get(key), now.get(key))
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple) and len(before) == len(now):
        for one, other in zip(before, now, strict=True):
            yield from _changed(one, other)
    elif isinstance(now, Mapping):
        yield from _leaves(now)
    else:
        yield now  # a list that got longer or shorter is no value of anybody's


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
