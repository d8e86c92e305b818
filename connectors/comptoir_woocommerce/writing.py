"""Writes to a WooCommerce shop: absolute values on existing records, new products and customers, and their look-up.

Everything goes through the batch endpoints, which answer each element by itself inside one 200. What is taken for a
success is only an element that names the record that was sent; what was not answered is asked for once more (setting a
value twice is the same as once) and never assumed.

| what the shop says | what becomes of it |
|---|---|
| an element with its record | accepted; `shown` holds the answered values in their normal forms |
| an element with an error about its id | gone |
| an element with another error | rejected in the shop's words |
| no element for a change, two, or one without id | sent once more, then rejected: never a success |
| 413 for the whole | nothing was done: in halves |
| another 4xx for the whole | in halves, to find what the shop refuses, a bounded number of times |
| no list of elements | `OutcomeUnknown` |
"""

from __future__ import annotations

import html
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from comptoir.sdk import (
    Change,
    ChangeResult,
    ConnectorContext,
    ContractViolation,
    EntityName,
    OutcomeUnknown,
    Probe,
    PushBatch,
    PushOp,
    PushResult,
    RecordRejected,
)
from comptoir_woocommerce import values
from comptoir_woocommerce.client import WooCommerceClient
from comptoir_woocommerce.config import WooCommerceConfig

__all__ = ["Writer"]

Row = Mapping[str, Any]

#: Refusals of a whole batch that are followed up by sending its halves; one bad element of 100 costs seven.
_FOLLOWED_UP = 16
_GONE = frozenset(
    (
        "woocommerce_rest_product_invalid_id",
        "woocommerce_rest_product_variation_invalid_id",
        "woocommerce_rest_invalid_product_id",
        "woocommerce_rest_invalid_id",
    )
)
_FIELDS = {
    "product_invalid_sku": "sku",
    "product_invalid_global_unique_id": "global_unique_id",
    "woocommerce_rest_customer_invalid_email": "email",
    "registration-error-email-exists": "email",
    "registration-error-invalid-email": "email",
    "customer_invalid_billing_email": "billing",
}
_HINTS = {
    "product_invalid_sku": "Another product or variation of the shop, perhaps one in its trash, has this SKU: link it, "
    "or give one of the two another SKU.",
    "product_invalid_global_unique_id": "Another product of the shop has this GTIN: look which of the two is right.",
    "woocommerce_rest_customer_invalid_email": "Another account of the shop has this e-mail address (the shop says no "
    "more than that it is invalid): merge the two, or correct the address.",
    "registration-error-email-exists": "The shop has an account with this e-mail address: link it.",
}
_OTHER_HINT = "The shop's own words say why: correct the record at its source, or the one in the shop."
_ASTRAY_HINT = (
    "It is a variation, or one of another product: read the items of this shop again (`comptoir run ROUTE --full`)."
)
_NO_SUCH_KEY = {"global_unique_id": "the shop keeps no GTIN (WooCommerce does since 9.2)"}
_PROBED_AT_ONCE = 50


class Writer:
    """The writes of one connection. `update` may run in several threads."""

    def __init__(self, client: WooCommerceClient, config: WooCommerceConfig, ctx: ConnectorContext) -> None:
        self._client = client
        self._config = config
        self._ctx = ctx

    # --- existing records -------------------------------------------------------------------------------------

    def calls(self, entity: EntityName, changes: Sequence[Change]) -> list[list[Change]]:
        """Products together, variations by their product, customers together; at most `batch_size` a call.

        Nothing is in two calls, so they may be made in any order. ContractViolation when a record is named twice.
        """
        groups: dict[str | None, list[Change]] = {}
        seen: set[str] = set()
        for change in changes:
            if change.external_id in seen:
                raise self._wrong(f"{entity.value} {change.external_id} is to be changed twice at once")
            seen.add(change.external_id)
            groups.setdefault(change.parent_id, []).append(change)
        size = self._config.batch_size
        return [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]

    def update(self, entity: EntityName, call: Sequence[Change]) -> list[ChangeResult]:
        """One result per change, in their order. Raises OutcomeUnknown when the call may have been carried out."""
        path = self._path(entity, call)
        parent = call[0].parent_id if call else None
        results: dict[str, ChangeResult] = {}
        rows: list[Row] = []
        for change in call:
            try:
                fields = values.body(entity, change.fields, variation=parent is not None)
            except values.Unfit as unfit:
                results[change.external_id] = ChangeResult(
                    change.external_id, "rejected", reason=unfit.reason, field=unfit.key, hint=unfit.hint
                )
            else:
                rows.append({"id": int(change.external_id), **fields})
        answered = _Exchange(self._client, path, self._ctx.connection, self._ctx.logger).update(rows) if rows else {}
        for change in call:
            if change.external_id not in results:
                results[change.external_id] = _judged(change, answered[int(change.external_id)])
        return [results[change.external_id] for change in call]

    def _path(self, entity: EntityName, call: Sequence[Change]) -> str:
        """The batch endpoint of a call; ContractViolation for what is no call of this connector."""
        if entity not in (EntityName.ITEM, EntityName.STOCK, EntityName.CUSTOMER):
            raise self._wrong(f"values of {entity.value} cannot be set on WooCommerce")
        parents = {change.parent_id for change in call}
        ids = [change.external_id for change in call]
        if len(parents) > 1 or len(call) > 100 or len(set(ids)) < len(ids):
            raise self._wrong("a call holds at most 100 different records of one product, or that stand alone")
        for number in (*ids, *(parent for parent in parents if parent is not None)):
            if not (number.isascii() and number.isdigit() and 0 < int(number) < 2**63):
                raise self._wrong(f"{number!r} is no id of a WooCommerce record")
        parent = next(iter(parents), None)
        if entity is EntityName.CUSTOMER:
            if parent is not None:
                raise self._wrong("a customer hangs under no other record")
            return "/customers/batch"
        return "/products/batch" if parent is None else f"/products/{int(parent)}/variations/batch"

    def _wrong(self, what: str) -> ContractViolation:
        return ContractViolation(f"{self._ctx.connection}: {what}", connection=self._ctx.connection)

    # --- new records ------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> list[PushResult]:
        """Makes simple products and customers. The shop itself refuses a second one with the same key.

        One result per op. Raises OutcomeUnknown when some may have been made without an answer: `probe` tells.
        """
        path, results, rows = self._create_path(batch.entity), list[PushResult](), list[tuple[PushOp, Row]]()
        for op in batch.ops:
            if op.action != "create":
                raise self._wrong(f"{batch.entity.value} records are changed by update(), not pushed again")
            try:
                rows.append((op, self._new(batch.entity, op)))
            except values.Unfit as unfit:
                results.append(
                    PushResult(op.delivery_id, "rejected", reason=unfit.reason, field=unfit.key, hint=unfit.hint)
                )
        exchange = _Exchange(self._client, path, self._ctx.connection, self._ctx.logger)
        for at in range(0, len(rows), self._config.batch_size):
            chunk = rows[at : at + self._config.batch_size]
            answers = exchange.create([row for _, row in chunk])
            results += [_made(op, answer) for (op, _), answer in zip(chunk, answers, strict=True)]
        return results

    def _create_path(self, entity: EntityName) -> str:
        match entity:
            case EntityName.ITEM:
                return "/products/batch"
            case EntityName.CUSTOMER:
                return "/customers/batch"
        raise self._wrong(f"no {entity.value} is made on WooCommerce")

    def _new(self, entity: EntityName, op: PushOp) -> Row:
        if entity is EntityName.CUSTOMER:
            if not op.payload.get("email"):
                raise values.Unfit("email", "a customer needs an e-mail address", "Complete the customer first.")
            return values.body(entity, op.payload, variation=False, creating=True)
        sku = op.payload.get("sku")
        if not isinstance(sku, str) or not sku.strip():
            raise values.Unfit("sku", "an item without SKU is not made: nothing could tell it again", "Give it a SKU.")
        if "," in sku:
            # The shop takes a comma for the end of one SKU, so that a lost answer could not be cleared up.
            raise values.Unfit("sku", "WooCommerce cannot look a SKU with a comma up", "Give it another SKU.")
        if not op.payload.get("name"):
            raise values.Unfit(
                "name",
                "variants of a product are not made one by one" if "name" in op.payload else "the item has no name",
                "Make the product with its variations in the shop, then match them by SKU.",
            )
        fields = values.body(entity, op.payload, variation=False, creating=True)
        return {"type": "simple", "status": self._config.create_status, **fields}

    # --- looking up -------------------------------------------------------------------------------------------

    def probe(self, batch: PushBatch) -> list[Probe]:
        """Whether the products or customers of a batch exist, by SKU or e-mail address. Reads only.

        Drafts count, the trash does not. `unknown` where something else has the key: a person decides.
        """
        self._create_path(batch.entity)
        if batch.entity is EntityName.CUSTOMER:
            found = self._ctx.tasks.map_ordered(self._by_mail, batch.ops, width=self._config.pages_in_flight)
            return list(found)
        chunks = [batch.ops[at : at + _PROBED_AT_ONCE] for at in range(0, len(batch.ops), _PROBED_AT_ONCE)]
        several = self._ctx.tasks.map_ordered(self._by_sku, chunks, width=self._config.pages_in_flight)
        return [probe for probes in several for probe in probes]

    def _by_sku(self, ops: Sequence[PushOp]) -> list[Probe]:
        wanted = sorted({op.natural_key.strip() for op in ops})
        params = {"sku": ",".join(wanted), "status": "any", "orderby": "id", "order": "asc", "per_page": "100"}
        rows = self._rows("/products", params)
        by_sku: dict[str, list[Row]] = {sku.casefold(): [] for sku in wanted}
        strangers = [row for row in rows if str(row.get("sku", "")).strip().casefold() not in by_sku]
        for row in rows:
            if row not in strangers:
                by_sku[str(row.get("sku", "")).strip().casefold()].append(row)
        # Rows that nobody asked for: the filter does not hold, and what is not on this page may be on another.
        sure = not strangers and len(rows) < 100
        return [self._probed(op, by_sku[op.natural_key.strip().casefold()], "sku", sure=sure) for op in ops]

    def _by_mail(self, op: PushOp) -> Probe:
        rows = self._rows("/customers", {"email": op.natural_key, "role": "all", "per_page": "10"})
        same = [row for row in rows if str(row.get("email", "")).casefold() == op.natural_key.strip().casefold()]
        return self._probed(op, same, "email", sure=len(same) == len(rows))

    def _probed(self, op: PushOp, rows: Sequence[Row], key: str, *, sure: bool) -> Probe:
        if not rows:
            return Probe(op.delivery_id, "absent" if sure else "unknown")
        row = rows[0]
        number = _number(row.get("id"))
        # Two of them, a variation, or another spelling: not what was to be made here.
        ours = len(rows) == 1 and number is not None and row.get("type", "simple") == "simple"
        if not ours or (key == "sku" and str(row.get(key)).strip() != op.natural_key.strip()):
            return Probe(op.delivery_id, "unknown")
        return Probe(op.delivery_id, "present", str(number))

    def _rows(self, path: str, params: Mapping[str, str]) -> list[Row]:
        found, _ = self._client.get(path, params)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise self._wrong(f"{path}: a list was asked for, the shop gave {type(found).__name__}")
        return found


class _Exchange:
    """One call's way through the shop, with what has to be sent again of it."""

    def __init__(self, client: WooCommerceClient, path: str, connection: str, logger: logging.Logger) -> None:
        self._client = client
        self._path = path
        self._connection = connection
        self._logger = logger
        self._follow_ups = _FOLLOWED_UP

    def update(self, rows: Sequence[Row]) -> dict[int, Row]:
        """The answered element of each row by its id; one that was never answered gets an error that says so."""
        found = self._update(rows)
        missing = [row for row in rows if row["id"] not in found]
        if missing:
            self._logger.warning(
                "%s: %s answered for %d of %d records; the others are sent once more",
                self._connection, self._path, len(rows) - len(missing), len(rows),
            )  # fmt: skip
            found |= self._update(missing)
        unanswered = {"code": "unanswered", "message": "the shop gave no answer for this record, twice"}
        return {row["id"]: found.get(row["id"], {"error": unanswered}) for row in rows}

    def _update(self, rows: Sequence[Row]) -> dict[int, Row]:
        try:
            elements = self._elements(self._client.post(self._path, {"update": rows}), "update")
        except RecordRejected as refusal:
            if not self._in_halves(refusal, len(rows)):
                return {row["id"]: _refused(refusal) for row in rows}
            half = len(rows) // 2
            return {**self._update(rows[:half]), **self._update(rows[half:])}
        sent = {row["id"] for row in rows}
        times = Counter(_number(element.get("id")) for element in elements)
        return {
            number: element
            for element in elements
            if (number := _number(element.get("id"))) is not None and number in sent and times[number] == 1
        }

    def create(self, rows: Sequence[Row]) -> list[Row]:
        """The answered element of each row, in their order.

        An element that failed names no record, so the places count: OutcomeUnknown when they do not fit.
        """
        try:
            elements = self._elements(self._client.post(self._path, {"create": rows}), "create")
        except RecordRejected as refusal:
            if not self._in_halves(refusal, len(rows)):
                return [_refused(refusal)] * len(rows)
            half = len(rows) // 2
            return [*self.create(rows[:half]), *self.create(rows[half:])]
        key = "email" if "customers" in self._path else "sku"
        fits = len(elements) == len(rows) and all(
            "error" in element
            or (_number(element.get("id")) and str(element.get(key, "")).casefold() == str(row[key]).casefold())
            for element, row in zip(elements, rows, strict=True)
        )
        if not fits:
            raise self._unknown("the answer does not fit what was sent")
        return elements

    def _in_halves(self, refusal: RecordRejected, count: int) -> bool:
        """Whether a refused batch is sent again in two parts: the shop did nothing of it, or setting twice is once."""
        if count == 1:
            return False
        if refusal.remote.get("status") == "413":
            self._logger.warning(
                "%s: %d records at once are too many for the shop; set `batch_size` for this connection",
                self._connection, count,
            )  # fmt: skip
            return True
        self._follow_ups -= 1
        return self._follow_ups >= 0

    def _elements(self, answer: Any, kind: Literal["update", "create"]) -> list[Row]:
        elements = answer.get(kind) if isinstance(answer, dict) else None
        if not isinstance(elements, list):
            raise self._unknown("the answer is no list of records")
        return [element if isinstance(element, dict) else {} for element in elements]

    def _unknown(self, what: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self._connection}: {self._path}: {what}",
            hint="A plugin or a cache of the shop changes its answers; nothing is taken for done, it is looked up.",
            connection=self._connection,
            code="answer_unfit",
        )


def _number(value: Any) -> int | None:
    """A positive id; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _refused(refusal: RecordRejected) -> Row:
    code = refusal.remote.get("code") or f"http_{refusal.remote.get('status', '4xx')}"
    return {"error": {"code": code, "message": refusal.message}}


def _error(element: Row) -> tuple[str, str, str | None, str | None] | None:
    """Code, words, field and hint of an element that failed; None for one that did not."""
    if "error" not in element:
        return None
    found = element["error"] if isinstance(element["error"], dict) else {}
    code = str(found.get("code", "unknown"))[:100]
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", "", str(found.get("message", "")))).split())[:300]
    data = found.get("data")
    data = data if isinstance(data, dict) else {}
    params = data.get("params")
    field = _FIELDS.get(code) or (next(iter(params), None) if isinstance(params, dict) else None)
    if (twin := _number(data.get("resource_id"))) is not None:
        words = f"{words} (it is that of {twin})"
    return code, words or code, field, _HINTS.get(code, _OTHER_HINT)


def _judged(change: Change, element: Row) -> ChangeResult:
    if (error := _error(element)) is not None:
        code, words, field, hint = error
        # The same code is used for a variation that was sent to its product's endpoint: that one exists.
        if code in _GONE and "/variations/" not in words:
            return ChangeResult(change.external_id, "gone", reason=words)
        return ChangeResult(
            change.external_id, "rejected", reason=words, field=field, hint=_ASTRAY_HINT if code in _GONE else hint
        )
    said = {key: value for key, value in change.fields.items() if value is not None}
    found = {key: _shown(element, key, value) for key, value in said.items()}
    lacking = [key for key, value in found.items() if value is _NOTHING]
    found |= dict.fromkeys(lacking)
    reason = "; ".join(_NO_SUCH_KEY.get(key, f"the shop does not show {key}") for key in lacking) or None
    if len(lacking) == len(said):
        return ChangeResult(change.external_id, "rejected", reason=reason, field=lacking[0])
    return ChangeResult(change.external_id, "accepted", found, reason=reason)


_NOTHING = object()


def _shown(element: Row, key: str, sent: Any) -> Any:
    """What the shop answered for one key that was sent, in its normal form."""
    if key == "phone":
        place = element.get("billing")
        return values.shown(key, place["phone"]) if isinstance(place, dict) and "phone" in place else _NOTHING
    if key not in element:
        return _NOTHING
    if isinstance(sent, Mapping) and isinstance(element[key], dict):
        # An address: the parts that were sent; the rest is nobody's affair here.
        return values.shown(key, {name: element[key].get(name) for name, part in sent.items() if part is not None})
    return values.shown(key, element[key])


def _made(op: PushOp, element: Row) -> PushResult:
    if (error := _error(element)) is not None:
        _, words, field, hint = error
        return PushResult(op.delivery_id, "rejected", reason=words, field=field, hint=hint)
    return PushResult(op.delivery_id, "accepted", str(_number(element.get("id"))))
