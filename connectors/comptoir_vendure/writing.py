"""Writes to a Vendure shop: prices, names, SKUs and stock of existing variants, as absolute values.

Vendure takes nearly anything: a negative price, an empty SKU, one that another variant has (all observed). So what must
not be written is refused here, before anything is sent. A mutation is one transaction: one bad row of a hundred undoes
the other ninety-nine, and the shop names at most one of them. Then it is looked up which ones exist, or the call is
halved until the bad one is alone.

Stock is what is counted (`stockOnHand`); what can be sold is that less what open orders hold (`stockAllocated`). What
the hub publishes can be sold, so the allocated pieces, read a moment before, are added. An order that comes in between
is allocated on top of it, as it should be.

| what the shop says | what becomes of it |
|---|---|
| a record with its id | accepted; `shown` holds what it says now |
| `ENTITY_NOT_FOUND` | the ids that it does not have are gone, the others are sent again |
| another refusal | in halves, a bounded number of times; alone: rejected in the shop's words |
| no record for a change | `OutcomeUnknown` |
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from comptoir.sdk import (
    Change,
    ChangeResult,
    ConfigError,
    ConnectorContext,
    ContractViolation,
    EntityName,
    OutcomeUnknown,
    RecordRejected,
)
from comptoir_vendure import queries
from comptoir_vendure.client import VendureClient
from comptoir_vendure.config import VendureConfig

__all__ = ["Unfit", "Writer", "chosen_location", "price_text"]

Row = Mapping[str, Any]
#: What its columns hold: a signed integer of 32 bits (observed: beyond it, the whole mutation fails).
_MOST = 2_147_483_647
_LENGTHS = {"sku": 255, "name": 255}
_KEYS = {EntityName.ITEM: frozenset(("price", "name", "sku")), EntityName.STOCK: frozenset(("saleable",))}
_PRICE = re.compile(r"\d{1,10}(\.\d{1,10})?")
#: Refusals of a whole call that are followed up by sending its halves.
_FOLLOWED_UP = 16


class Unfit(ValueError):
    """A value that must not be sent: which key, and what to do."""

    def __init__(self, key: str, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason
        self.hint = hint


def price_text(amount: Decimal) -> str:
    """A price as the mapping writes it and as what the shop shows is compared: no exponent, two decimals at least."""
    plain = amount.normalize()
    exponent = plain.as_tuple().exponent
    return f"{plain.quantize(Decimal('0.01')) if isinstance(exponent, int) and exponent > -2 else plain:f}"


def chosen_location(places: Sequence[Any], config: VendureConfig, connection: str) -> Row:
    """The place whose stock is published: the one of the setting, else the only one. ConfigError otherwise."""
    known = [place for place in places if isinstance(place, dict)]
    wanted = config.stock_location
    fitting = [place for place in known if wanted in (None, place.get("id"), place.get("name"))]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(str(place.get("name")) for place in known) or "none"
    what = "has several places of stock" if wanted is None else f"has no single place {wanted!r}"
    raise ConfigError(
        f"{connection}: the shop {what}: {names}",
        hint="Set `stock_location` to one of them: what is published is counted there.",
        connection=connection,
        field="stock_location",
    )


class Writer:
    """The writes of one connection. `update` may run in several threads."""

    def __init__(
        self,
        client: VendureClient,
        config: VendureConfig,
        ctx: ConnectorContext,
        facts: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._client = client
        self._config = config
        self._ctx = ctx
        self._facts = facts

    def calls(self, entity: EntityName, changes: Sequence[Change]) -> list[list[Change]]:
        """At most `batch_size` a call. ContractViolation when a record is named twice: the later would win."""
        seen: set[str] = set()
        for change in changes:
            if change.external_id in seen:
                raise self._wrong(f"{entity.value} {change.external_id} is to be changed twice at once")
            seen.add(change.external_id)
        size = self._config.batch_size
        return [list(changes[at : at + size]) for at in range(0, len(changes), size)]

    def update(self, entity: EntityName, call: Sequence[Change]) -> list[ChangeResult]:
        """One result per change, in their order. Raises OutcomeUnknown when the call may have been carried out."""
        if entity not in _KEYS:
            raise self._wrong(f"values of {entity.value} cannot be set on Vendure")
        results: dict[str, ChangeResult] = {}
        fit: list[Change] = []
        for change in call:
            try:
                _check(entity, change.fields)
            except Unfit as unfit:
                results[change.external_id] = ChangeResult(
                    change.external_id, "rejected", reason=unfit.reason, field=unfit.key, hint=unfit.hint
                )
            else:
                fit.append(change)
        if fit:
            exchange = _Exchange(self._client, self._config, self._ctx, self._facts())
            results |= exchange.stock(fit) if entity is EntityName.STOCK else exchange.items(fit)
        return [results[change.external_id] for change in call]

    def _wrong(self, what: str) -> ContractViolation:
        return ContractViolation(f"{self._ctx.connection}: {what}", connection=self._ctx.connection)


class _Exchange:
    """One call's way through the shop, with what has to be sent again of it."""

    def __init__(
        self, client: VendureClient, config: VendureConfig, ctx: ConnectorContext, facts: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._config = config
        self._connection = ctx.connection
        self._precision = int(facts["precision"])
        self._currency = str(facts["currency"])
        self._language = str(facts["language"])
        self._counts = bool(facts["counts_stock"])
        self._follow_ups = _FOLLOWED_UP
        self._refused: dict[str, ChangeResult] = {}

    # --- prices, names, SKUs ----------------------------------------------------------------------------------

    def items(self, changes: Sequence[Change]) -> dict[str, ChangeResult]:
        """What became of each change, by id."""
        inputs: dict[str, Row] = {}
        for change in changes:
            try:
                inputs[change.external_id] = self._input(change)
            except Unfit as unfit:
                self._refused[change.external_id] = ChangeResult(
                    change.external_id, "rejected", reason=unfit.reason, field=unfit.key, hint=unfit.hint
                )
        answered = self._send(inputs) if inputs else {}
        for change in changes:
            if change.external_id in answered:
                shown = {key: self._shown(answered[change.external_id], key) for key in change.fields}
                self._refused[change.external_id] = ChangeResult(change.external_id, "accepted", shown)
        return self._refused

    def _input(self, change: Change) -> Row:
        row: dict[str, Any] = {"id": change.external_id}
        for key, value in change.fields.items():
            if key == "price":
                row["price"] = self._minor(value)
            elif key == "sku":
                row["sku"] = _text(value)
            elif key == "name":
                row["translations"] = [{"languageCode": self._language, "name": _text(value)}]
        return row

    def _minor(self, value: str) -> int:
        """A price in the shop's smallest unit; Unfit when it has more decimals than the shop keeps."""
        units = Decimal(value).scaleb(self._precision)
        if units > _MOST:
            most = price_text(Decimal(_MOST).scaleb(-self._precision))
            raise Unfit("price", f"{value} is more than the shop can keep ({most})", "Correct it at its source.")
        if units != units.to_integral_value():
            raise Unfit(
                "price",
                f"{value} cannot be kept: the shop has {self._precision} decimals",
                "Round the price at its source; it is never rounded on the way.",
            )
        return int(units)

    def _shown(self, row: Row, key: str) -> Any:
        """What the shop shows for a key, in the form of the `out` mapping; None where it does not say."""
        if key == "price":
            prices = [p for p in row.get("prices") or () if p.get("currencyCode") == self._currency]
            price = prices[0].get("price") if len(prices) == 1 else None
            return price_text(Decimal(price).scaleb(-self._precision)) if isinstance(price, int) else None
        found = row.get(key)
        return _text(found) if isinstance(found, str) else None

    # --- stock ------------------------------------------------------------------------------------------------

    def stock(self, changes: Sequence[Change]) -> dict[str, ChangeResult]:
        """Sets what can be sold: what is counted less what open orders hold."""
        found = self._read([change.external_id for change in changes])
        place = self._place()
        inputs: dict[str, Row] = {}
        held: dict[str, int] = {}
        for change in changes:
            variant = found.get(change.external_id)
            if variant is None:
                continue
            level = _level(variant, place)
            held[change.external_id] = int(level["stockAllocated"]) if level else 0
            on_hand = int(change.fields["saleable"]) + held[change.external_id]
            row: dict[str, Any] = {
                "id": change.external_id,
                "stockLevels": [{"stockLocationId": place["id"], "stockOnHand": on_hand}],
            }
            tracked = variant.get("trackInventory")
            if tracked == "FALSE" or (tracked == "INHERIT" and not self._counts):
                row["trackInventory"] = "TRUE"
            inputs[change.external_id] = row
        answered = self._send(inputs) if inputs else {}
        for change in changes:
            key = change.external_id
            if key not in found:
                self._refused[key] = self._gone(key)
            elif key in answered:
                level = _level(answered[key], place)
                # Against what was held when it was written: an order since then is no other value of ours.
                shown = None if level is None else int(level["stockOnHand"]) - held[key]
                self._refused[key] = ChangeResult(key, "accepted", {"saleable": shown})
        return self._refused

    def _place(self) -> Row:
        data, _ = self._client.ask(queries.LOCATIONS, {})
        places = data.get("stockLocations")
        found = places.get("items") if isinstance(places, dict) else None
        return chosen_location(found or [], self._config, self._connection)

    # --- the way to the shop ----------------------------------------------------------------------------------

    def _send(self, inputs: Mapping[str, Row]) -> dict[str, Row]:
        """The answered record of each input; what was refused stands in `_refused`."""
        rows = list(inputs.values())
        try:
            answer = self._client.change(queries.SET_VARIANTS, {"input": rows}).get("updateProductVariants")
        except RecordRejected as refusal:
            return self._after(refusal, inputs)
        found = (
            {row.get("id"): row for row in answer or () if isinstance(row, dict)} if isinstance(answer, list) else {}
        )
        if set(found) != set(inputs):
            raise OutcomeUnknown(
                f"{self._connection}: the shop answered for other records than it was sent",
                hint="A plugin or a cache of the shop changes its answers; nothing is taken for done.",
                connection=self._connection,
                code="answer_unfit",
            )
        return {str(key): row for key, row in found.items()}

    def _after(self, refusal: RecordRejected, inputs: Mapping[str, Row]) -> dict[str, Row]:
        """What a refused call comes to: nothing of it was done, so its good rows are sent again."""
        if refusal.remote.get("code") == "ENTITY_NOT_FOUND":
            there = self._read(list(inputs))
            missing = [key for key in inputs if key not in there]
            if missing:
                self._refused |= {key: self._gone(key) for key in missing}
                rest = {key: row for key, row in inputs.items() if key in there}
                return self._send(rest) if rest else {}
        if len(inputs) == 1:
            (key,) = inputs
            self._refused[key] = self._rejected(key, refusal)
            return {}
        self._follow_ups -= 1
        if self._follow_ups < 0:
            self._refused |= {key: self._rejected(key, refusal) for key in inputs}
            return {}
        keys = list(inputs)
        half = len(keys) // 2
        return {
            **self._send({key: inputs[key] for key in keys[:half]}),
            **self._send({key: inputs[key] for key in keys[half:]}),
        }

    def _rejected(self, key: str, refusal: RecordRejected) -> ChangeResult:
        hint = "Change the variant by hand in the shop: it says there what is wrong; a plugin may refuse it."
        return ChangeResult(key, "rejected", reason=refusal.message, hint=hint)

    def _gone(self, key: str) -> ChangeResult:
        return ChangeResult(key, "gone", reason=f"the shop has no variant {key} (any more)")

    def _read(self, ids: Sequence[str]) -> dict[str, Row]:
        """The variants of these ids that exist."""
        options = {"filter": {"id": {"in": list(ids)}}, "take": len(ids), "sort": {"id": "ASC"}}
        data, _ = self._client.ask(queries.variants(self._config), {"options": options})
        found = data.get("productVariants")
        rows = found.get("items") if isinstance(found, dict) else None
        if not isinstance(rows, list):
            raise ContractViolation(
                f"{self._connection}: productVariants: the shop gave no list", connection=self._connection
            )
        return {str(row["id"]): row for row in rows if isinstance(row, dict) and row.get("id") in ids}


def _level(variant: Row, place: Row) -> Row | None:
    levels = [level for level in variant.get("stockLevels") or () if level["stockLocation"]["id"] == place["id"]]
    return levels[0] if levels else None


def _text(value: str) -> str:
    return unicodedata.normalize("NFC", value).strip()


def _check(entity: EntityName, fields: Mapping[str, Any]) -> None:
    """Unfit for a key or value that Vendure would take for something else, or keep although it means nothing."""
    if not fields:
        raise Unfit("", "there is nothing to write", "Give at least one value.")
    for key, value in fields.items():
        if key not in _KEYS[entity]:
            raise Unfit(key, f"{key} is no key that is written to Vendure", "Take it out of the `out` mapping.")
        if key == "price":
            _check_price(value)
        elif key == "saleable":
            if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MOST // 2:
                raise Unfit(
                    key, f"{value!r} is no quantity", "Vendure counts in whole units, below a thousand million."
                )
        elif not isinstance(value, str) or not value.strip():
            raise Unfit(key, f"{key} is empty or no text", "Correct it at its source; nothing is emptied by a write.")
        elif len(_text(value)) > _LENGTHS[key]:
            raise Unfit(key, f"{key} has {len(_text(value))} signs, at most {_LENGTHS[key]} are written", "Shorten it.")


def _check_price(value: Any) -> None:
    if not isinstance(value, str) or not _PRICE.fullmatch(value):
        raise Unfit(
            "price",
            f"{value!r} is no price",
            "A price is a number that is not negative (Vendure would keep a negative one). Correct it at its source.",
        )
