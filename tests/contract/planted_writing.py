"""Faults planted in the demonstration shop: what is made and changed, what is shown, what is heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
from comptoir_demo.client import DemoClient, Row
from comptoir_demo.connector import DemoConnector
from comptoir_demo.sandbox import DemoShop
from pydantic import BaseModel

from comptoir.sdk import (
    Change,
    ChangeResult,
    CheckItem,
    ComptoirError,
    EntityName,
    Hint,
    OutcomeUnknown,
    Page,
    Probe,
    PullRequest,
    PushBatch,
    PushResult,
    RecordRejected,
    WebhookDelivery,
)

from tests.contract.demo_kit import SECRET, DemoKit
from tests.contract.planted import client, connector, item_manifest, kit, manifest, shop

__all__: list[str] = []

# --- making -------------------------------------------------------------------------------------------------------


@connector("K30")
class SaysNothingOfTheFirst(DemoConnector):
    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        return super().push(batch)[1:]


@connector("K30")
class SaysAnotherId(DemoConnector):
    def result(self, op: Any, answer: Row) -> PushResult:
        return replace(super().result(op, answer), external_id="4711")


@shop("K31")
class MakesTwins(DemoShop):
    def _make(self, what: str, row: dict[str, Any]) -> dict[str, Any]:
        return self._error("forbidden", "no", "name") if row.get("name") == "forbidden" else self.put(what, row)


@client("K32")
class SendsAgain(DemoClient):
    def send(self, method: str, what: str, rows: Sequence[Row]) -> list[Row]:
        try:
            return super().send(method, what, rows)
        except OutcomeUnknown:
            return super().send(method, what, rows)


@connector("K32")
class NeverFindsIt(DemoConnector):
    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        return [Probe(op.delivery_id, "absent") for op in batch.ops]


@kit("K33")
class SendsNoKey(DemoKit):
    class connector(DemoConnector):  # type: ignore[assignment]
        manifest = manifest(lost_answer="idempotency_key")
        probe = None  # type: ignore[assignment]

    shop_model = MakesTwins


@connector("K34")
class ProbesByMaking(DemoConnector):
    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        self.made(self._list(batch.entity), [self.fitting(op.payload) for op in batch.ops])
        return super().probe(batch)


@connector("K35")
class FailsAsAWhole(DemoConnector):
    def result(self, op: Any, answer: Row) -> PushResult:
        if "error" in answer:
            raise RecordRejected(str(answer["error"]["message"]))
        return super().result(op, answer)


@connector("K35")
class RefusesWithoutAReason(DemoConnector):
    def result(self, op: Any, answer: Row) -> PushResult:
        return replace(super().result(op, answer), reason=None)


@connector("K36")
class PromisesLargerBatches(DemoConnector):
    manifest = item_manifest(batch_size=50)


class _TakesAnyLength(DemoConnector):
    def text(self, name: str, value: str) -> str:
        return value if value.isascii() else super().text(name, value)


connector("K37")(_TakesAnyLength)


@connector("K37")
class RefusesWhatFits(DemoConnector):
    manifest = manifest(limits=DemoConnector.manifest.limits.model_copy(update={"lengths": {"sku": 30}}))


@connector("K38")
class ReplacesInSilence(DemoConnector):
    def text(self, name: str, value: str) -> str:
        return super().text(name, value.encode("latin-1", "replace").decode("latin-1"))


class _Floats(DemoConnector):
    def price(self, value: Any) -> str:
        return f"{int(float(value) * 100) / 100:.2f}"


connector("K39")(_Floats)


@connector("K39")
class TakesAnyCurrency(DemoConnector):
    def fitting(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().fitting({k: v for k, v in fields.items() if k != "currency"}), "currency": "EUR"}


class _Cuts(DemoConnector):
    def whole(self, value: Any) -> int:
        return int(Decimal(str(value)))


connector("K40")(_Cuts)


# --- changing -----------------------------------------------------------------------------------------------------


@connector("K41")
class BlanksTheRest(DemoConnector):
    def patched(self, what: str, rows: Sequence[Row]) -> Sequence[Row]:
        return super().patched(what, [{"sku": "", **row} for row in rows])


@shop("K42")
class AddsUp(DemoShop):
    def _set(self, what: str, row: dict[str, Any]) -> dict[str, Any]:
        known = self.lists[what].get(row["id"], {}).get("stock", 0)
        return super()._set(what, {**row, "stock": known + row["stock"]} if "stock" in row else row)


@connector("K43")
class TakesGoneForRefused(DemoConnector):
    def judged(self, change: Change, answer: Row) -> ChangeResult:
        found = super().judged(change, answer)
        return replace(found, outcome="rejected") if found.outcome == "gone" else found


@connector("K44")
class RefusesTheWholeCall(DemoConnector):
    def update(self, entity: EntityName, call: Sequence[Change]) -> Sequence[ChangeResult]:
        found = super().update(entity, call)
        bad = next((result for result in found if result.outcome == "rejected"), None)
        return found if bad is None else [replace(bad, external_id=result.external_id) for result in found]


@connector("K45")
class PutsAllIntoOneCall(DemoConnector):
    def calls(self, entity: EntityName, changes: Sequence[Change]) -> Sequence[Sequence[Change]]:
        return [changes] if changes else []


connector("K46")(_Floats)
connector("K46")(_Cuts)
connector("K47")(_TakesAnyLength)


@connector("K48")
class MakesItOnceMore(DemoConnector):
    def exists(self, op: Any) -> bool:
        return False


# --- secrets and webhooks -----------------------------------------------------------------------------------------


@connector("K70")
class LogsItsToken(DemoConnector):
    def pull(self, request: PullRequest) -> Iterator[Page]:
        self._ctx.logger.debug("reading with %s", self._ctx.credentials.password)
        return super().pull(request)


@connector("K70")
class RepeatsWhatItSent(DemoConnector):
    def pull(self, request: PullRequest) -> Iterator[Page]:
        try:
            yield from super().pull(request)
        except ComptoirError as error:
            error.hint = f"Try it: curl -H 'X-Token: {self._ctx.credentials.password}'"
            raise


@connector("K71")
class CanBePrintedWithItsToken(DemoConnector):
    def __init__(self, config: Any, ctx: Any) -> None:
        super().__init__(config, ctx)

        class Access(BaseModel):
            token: str

        self.access = Access(token=ctx.credentials.password)


@connector("K72")
class SendsItsSecretOpenly(DemoConnector):
    def ensure_webhooks(self, url: str, entities: Any, mode: Any = "repair") -> Sequence[CheckItem]:
        try:
            self._client.send("POST", "hooks", [{"url": url, "secret": SECRET}])
        except ComptoirError as error:
            return [CheckItem.failed("webhook", error)]
        return [CheckItem("webhook", True, "made", mended=True)]


class _Hints(DemoConnector):
    def verify(self, request: Any) -> WebhookDelivery:
        found = super().verify(request)
        return replace(found, hints=[replace(h, external_id=f"{h.entity.value}-{h.external_id}") for h in found.hints])


connector("K80")(_Hints)


@connector("K81")
class TakesAnEmptySignature(DemoConnector):
    def authentic(self, digest: str, signature: str) -> bool:
        return not signature or super().authentic(digest, signature)


@connector("K81")
class ComparesTheBeginning(DemoConnector):
    def authentic(self, digest: str, signature: str) -> bool:
        return bool(signature) and digest.startswith(signature)


@connector("K82")
class TellsCopiesApart(DemoConnector):
    def dedupe_key(self, request: Any) -> str:
        return f"{request.received_at} {super().dedupe_key(request)}"


@connector("K82")
class TakesAllForOne(DemoConnector):
    def dedupe_key(self, request: Any) -> str:
        said = orjson.loads(request.body)
        return f"{said['list']} {said['id']}"


@connector("K83")
class BelievesTheBody(DemoConnector):
    def verify(self, request: Any) -> WebhookDelivery:
        try:
            return super().verify(request)
        except RecordRejected:
            said = orjson.loads(request.body)
            return WebhookDelivery("?", (Hint(EntityName.ITEM, str(said["id"]), "updated"),))


@connector("K84")
class MakesOneMoreEachTime(DemoConnector):
    def ensure_webhooks(self, url: str, entities: Any, mode: Any = "repair") -> Sequence[CheckItem]:
        if mode == "look":
            return super().ensure_webhooks(url, entities, mode)
        self._client.send("POST", "hooks", [{"url": url}])
        return [CheckItem("webhook", True, "was made", mended=True)]
