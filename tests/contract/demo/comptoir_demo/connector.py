"""The demo shop: items and customers are read and made, values of items set."""

from __future__ import annotations

import email.utils
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal

import orjson

from comptoir.sdk import (
    AuthError,
    Change,
    ChangeResult,
    CheckItem,
    CheckReport,
    ComptoirError,
    ConnectorConfig,
    ConnectorContext,
    ContractViolation,
    EntityName,
    Hint,
    Manifest,
    Page,
    Probe,
    PullRequest,
    PushBatch,
    PushOp,
    PushResult,
    RawItem,
    RecordRejected,
    TransientError,
    WebhookDelivery,
    WebhookRequest,
    load_manifest,
)
from comptoir_demo.client import DemoClient, Row
from comptoir_demo.config import DemoConfig

__all__ = ["DemoConnector"]

_LISTS = {EntityName.ITEM: "items", EntityName.CUSTOMER: "customers"}
_KEYS = {EntityName.ITEM: "sku", EntityName.CUSTOMER: "email"}


class Unfit(Exception):
    """A value that the shop would change without a word."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class DemoConnector:
    """One demo shop."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_demo")
    config_model: ClassVar[type[ConnectorConfig]] = DemoConfig
    client_model: ClassVar[type[DemoClient]] = DemoClient

    def __init__(self, config: DemoConfig, ctx: ConnectorContext) -> None:
        self._config = config
        self._ctx = ctx
        self._client = self.client_model(ctx)

    def check(self) -> CheckReport:
        """Whether the token is taken."""
        try:
            said = self._client.get("me")
        except ComptoirError as error:
            return CheckReport([CheckItem.failed("token", error)])
        return CheckReport([CheckItem("token", True, str(said))])

    # --- reading ----------------------------------------------------------------------------------------------

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Records by ascending id, from the one after the position's."""
        what = self._list(request.entity)
        params = {"limit": str(self._config.page_rows)}
        if request.since is not None and self.manifest.entities[request.entity].cursor == "modified":
            params["since"] = self.bound(request.since)
        return self._pages(request, what, params)

    def bound(self, since: datetime) -> str:
        """A moment as the shop understands it."""
        return since.astimezone(UTC).isoformat()

    def _pages(self, request: PullRequest, what: str, params: dict[str, str]) -> Iterator[Page]:
        after = self.start(request)
        while True:
            rows, total, headers = self._client.page(what, {**params, "after": str(after)})
            numbers = [row["id"] for row in rows]
            self.look_at(what, numbers, after, total)
            if rows:
                after = numbers[-1]
            yield Page(
                items=[self.item(request.entity, row) for row in rows],
                position=self.position(after),
                total=total,
                as_of=_date(headers.get("date")),
            )
            if total <= len(rows):
                return

    def start(self, request: PullRequest) -> int:
        """The last id that was given."""
        return int(request.position["after"]) if request.position else 0

    def position(self, after: int) -> dict[str, Any] | None:
        """Where the next page starts."""
        return {"after": after}

    def look_at(self, what: str, numbers: Sequence[int], after: int, total: int) -> None:
        """Raises for a page that cannot be the next one."""
        if numbers and (numbers[0] <= after or numbers != sorted(set(numbers))):
            raise ContractViolation(
                f"{self._ctx.connection}: {what}: a page was given before, or is out of order",
                connection=self._ctx.connection,
                code="repeated_page",
            )
        if total and not numbers:
            raise TransientError(
                f"{self._ctx.connection}: {what}: the shop counts {total} records more and gives none",
                connection=self._ctx.connection,
                code="rows_withheld",
            )

    def item(self, entity: EntityName, row: Row) -> RawItem:
        """A record as it is given."""
        return RawItem(entity, str(row["id"]), row, self.moment(str(row["updated_at"])))

    def moment(self, text: str) -> datetime:
        """A date of the shop."""
        return datetime.fromisoformat(text)

    def fetch(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        """Single records; those that are gone are left out."""
        what = self._list(entity)
        found = [self._client.one(what, number) for number in dict.fromkeys(external_ids)]
        yield Page(items=[self.item(entity, row) for row in found if row is not None])

    def _list(self, entity: EntityName) -> str:
        if entity not in _LISTS:
            raise ContractViolation(f"{self._ctx.connection}: the demo shop has no {entity.value}")
        return _LISTS[entity]

    # --- writing ----------------------------------------------------------------------------------------------

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """New records, at most `batch_size` a request. The shop itself refuses a key that it has."""
        what, results, rows = self._list(batch.entity), list[PushResult](), list[tuple[PushOp, Row]]()
        for op in batch.ops:
            try:
                fields = self.fitting(op.payload)
            except Unfit as unfit:
                results.append(PushResult(op.delivery_id, "rejected", reason=str(unfit), field=unfit.field))
                continue
            if self.exists(op):
                (answer,) = self.patched(what, [{**fields, "id": int(op.external_id or 0)}])
                results.append(self.result(op, answer))
            else:
                rows.append((op, fields))
        size = self.manifest.entities[batch.entity].batch_size
        for at in range(0, len(rows), size):
            chunk = rows[at : at + size]
            answers = self.made(what, [row for _, row in chunk])
            results += [self.result(op, answer) for (op, _), answer in zip(chunk, answers, strict=True)]
        return results

    def exists(self, op: PushOp) -> bool:
        """Whether the op is about a record that the shop has."""
        return op.action == "update"

    def made(self, what: str, rows: Sequence[Row]) -> Sequence[Row]:
        """The shop's answer for each new row."""
        try:
            return self._client.send("POST", what, rows)
        except RecordRejected as refusal:
            return [{"error": {"message": refusal.message, "field": "", "hint": "See what the shop says."}}] * len(rows)

    def fitting(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What is sent of a record. Unfit for what the shop would change without a word."""
        found = {}
        for name, value in fields.items():
            if name == "currency":
                if value != self._ctx.company.currency:
                    raise Unfit(name, f"the shop sells in {self._ctx.company.currency} only, not in {value}")
            elif name == "stock":
                found[name] = self.whole(value)
            elif name == "price":
                found[name] = self.price(value)
            else:
                found[name] = self.text(name, str(value))
        return found

    def whole(self, value: Any) -> int:
        """A count. Unfit for a fraction."""
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            raise Unfit("stock", f"{value!r} is no number") from None
        if number != number.to_integral_value():
            raise Unfit("stock", f"{value} is no whole number, and the shop would cut it")
        return int(number)

    def price(self, value: Any) -> str:
        """A price with two decimals, as text."""
        return f"{Decimal(str(value)):.2f}"

    def text(self, name: str, value: str) -> str:
        """A text that the shop keeps as it is."""
        limits = self.manifest.limits
        if len(value) > limits.lengths.get(name, len(value)):
            raise Unfit(name, f"{name} has {len(value)} characters, the shop keeps {limits.lengths[name]}")
        try:
            value.encode(limits.charset)
        except UnicodeEncodeError as error:
            raise Unfit(name, f"{name}: the shop does not know {value[error.start : error.end]!r}") from None
        return value

    def result(self, op: PushOp, answer: Row) -> PushResult:
        """What became of one op."""
        if "error" in answer:
            error = answer["error"]
            return PushResult(
                op.delivery_id, "rejected", reason=error["message"], field=error["field"], hint=error["hint"]
            )
        return PushResult(op.delivery_id, "accepted", str(answer["id"]))

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """Looks each natural key up."""
        what, key = self._list(batch.entity), _KEYS[batch.entity]
        probes = []
        for op in batch.ops:
            rows, _, _ = self._client.page(what, {key: op.natural_key})
            if rows:
                probes.append(Probe(op.delivery_id, "present", str(rows[0]["id"])))
            else:
                probes.append(Probe(op.delivery_id, "absent"))
        return probes

    def calls(self, entity: EntityName, changes: Sequence[Change]) -> Sequence[Sequence[Change]]:
        """At most `batch_size` a request."""
        size = self.manifest.entities[entity].batch_size
        return [changes[at : at + size] for at in range(0, len(changes), size)]

    def update(self, entity: EntityName, call: Sequence[Change]) -> Sequence[ChangeResult]:
        """Sets values of items."""
        what, results, rows = self._list(entity), list[ChangeResult](), list[tuple[Change, Row]]()
        for change in call:
            try:
                rows.append((change, {**self.fitting(change.fields), "id": int(change.external_id)}))
            except Unfit as unfit:
                results.append(ChangeResult(change.external_id, "rejected", reason=str(unfit), field=unfit.field))
        answers = self.patched(what, [row for _, row in rows]) if rows else []
        return [*results, *(self.judged(change, answer) for (change, _), answer in zip(rows, answers, strict=True))]

    def patched(self, what: str, rows: Sequence[Row]) -> Sequence[Row]:
        """The shop's answer for each row."""
        try:
            return self._client.send("PATCH", what, rows)
        except RecordRejected as refusal:
            return [{"error": {"message": refusal.message, "field": "", "hint": "See what the shop says."}}] * len(rows)

    def judged(self, change: Change, answer: Row) -> ChangeResult:
        """What became of one change."""
        if "error" in answer:
            error = answer["error"]
            outcome: Literal["gone", "rejected"] = "gone" if error.get("code") == "gone" else "rejected"
            return ChangeResult(
                change.external_id, outcome, reason=error["message"], field=error["field"], hint=error["hint"]
            )
        return ChangeResult(change.external_id, "accepted", {name: answer.get(name) for name in change.fields})

    # --- webhooks ---------------------------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> WebhookDelivery:
        """The hint of a webhook whose signature is right."""
        secret = str(self._ctx.credentials.extra["webhook_secret"])
        digest = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        if not self.authentic(digest, request.headers.get("x-demo-signature", "")):
            raise AuthError(
                f"{self._ctx.connection}: a webhook whose signature is wrong or missing",
                hint="Give the shop and the connection the same secret.",
                connection=self._ctx.connection,
            )
        try:
            said = orjson.loads(request.body)
            entity = next(e for e, name in _LISTS.items() if name == said["list"])
            number = int(said["id"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, StopIteration):
            raise RecordRejected(
                f"{self._ctx.connection}: the body of a signed webhook is none of the shop's",
                connection=self._ctx.connection,
            ) from None
        return WebhookDelivery(self.dedupe_key(request), (Hint(entity, str(number), "updated"),))

    def authentic(self, digest: str, signature: str) -> bool:
        """Compares without telling how much fits."""
        return hmac.compare_digest(digest.encode(), signature.encode(errors="replace"))

    def dedupe_key(self, request: WebhookRequest) -> str:
        """The same for the same event."""
        return hashlib.sha256(request.body).hexdigest()

    def ensure_webhooks(
        self, url: str, entities: Sequence[EntityName], mode: Literal["look", "repair", "renew"] = "repair"
    ) -> Sequence[CheckItem]:
        """One webhook for all lists."""
        there = [hook for hook in self._client.get("hooks") if hook["url"] == url and hook["active"]]
        act: Callable[[], object] = lambda: self._client.send("POST", "hooks", [{"url": url}])  # noqa: E731
        if there and mode != "renew":
            return [CheckItem("webhook", True, "is active")]
        if mode == "look":
            return [CheckItem("webhook", False, "there is none for us", "Make it: comptoir webhooks --repair")]
        act()
        return [CheckItem("webhook", True, "was made", mended=True)]


def _date(header: str | None) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(header or "")
    except ValueError:
        return None
