"""Faults planted in the demonstration shop's connector, one or more for each rule of the kit."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

import orjson
from comptoir_demo.client import DemoClient, Row
from comptoir_demo.connector import DemoConnector
from comptoir_demo.sandbox import DemoShop
from pydantic import BaseModel, ConfigDict

from comptoir.sdk import (
    AuthError,
    Change,
    ChangeResult,
    CheckItem,
    CheckReport,
    ComptoirError,
    EntityName,
    Hint,
    HttpResponse,
    Manifest,
    OutcomeUnknown,
    Page,
    Probe,
    PullRequest,
    PushBatch,
    PushResult,
    RateLimited,
    RawItem,
    RecordRejected,
    TransientError,
    WebhookDelivery,
)

from tests.contract.demo_kit import SECRET, DemoKit

__all__ = ["SHOP_FAULTS", "FiltersByCreation"]

#: Rule -> kits with a planted fault.
SHOP_FAULTS: list[tuple[str, type[DemoKit]]] = []


def connector(rule: str) -> Callable[[type[DemoConnector]], type[DemoConnector]]:
    """The class is a connector with a fault against this rule."""

    def plant(faulty: type[DemoConnector]) -> type[DemoConnector]:
        SHOP_FAULTS.append((rule, type(faulty.__name__, (DemoKit,), {"connector": faulty})))
        return faulty

    return plant


def client(rule: str) -> Callable[[type[DemoClient]], type[DemoClient]]:
    """The class is a client with a fault."""

    def plant(faulty: type[DemoClient]) -> type[DemoClient]:
        connector(rule)(type(faulty.__name__, (DemoConnector,), {"client_model": faulty}))
        return faulty

    return plant


def shop(rule: str) -> Callable[[type[DemoShop]], type[DemoShop]]:
    """The class is a shop that is worse than the manifest says."""

    def plant(faulty: type[DemoShop]) -> type[DemoShop]:
        SHOP_FAULTS.append((rule, type(faulty.__name__, (DemoKit,), {"shop_model": faulty})))
        return faulty

    return plant


def kit(rule: str) -> Callable[[type[DemoKit]], type[DemoKit]]:
    """The class is a kit with a fault."""

    def plant(faulty: type[DemoKit]) -> type[DemoKit]:
        SHOP_FAULTS.append((rule, faulty))
        return faulty

    return plant


def manifest(**changes: Any) -> Manifest:
    """The demo's, changed."""
    return DemoConnector.manifest.model_copy(update=changes)


def item_manifest(**changes: Any) -> Manifest:
    """The demo's, with its items changed."""
    entities = dict(DemoConnector.manifest.entities)
    entities[EntityName.ITEM] = entities[EntityName.ITEM].model_copy(update=changes)
    return manifest(entities=entities)


# --- declared -----------------------------------------------------------------------------------------------------


@kit("K00")
class ExemptWithoutAReason(DemoKit):
    exempt: ClassVar[Mapping[str, str]] = {"K17": "later"}


@kit("K00")
class ExemptsWhatIsNoRule(DemoKit):
    exempt: ClassVar[Mapping[str, str]] = {"K00 item": "because we know what we do here"}


@kit("K00")
class ExemptsWithoutSayingSo(DemoKit):
    exempt: ClassVar[Mapping[str, str]] = {"K17": "its lists are never changed while they are read"}


@connector("K01")
class DeclaresFetchAndHasNone(DemoConnector):
    fetch = None  # type: ignore[assignment]


@connector("K01")
class HasWebhooksAndDeclaresNone(DemoConnector):
    manifest = manifest(webhooks=False)


@connector("K01")
class ChangesWithoutAStrategy(DemoConnector):
    manifest = item_manifest(write_strategy=None)


@connector("K01")
class SaysNoApiVersion(DemoConnector):
    manifest = manifest(api_version=None)


@connector("K02")
class TakesAnySetting(DemoConnector):
    class config_model(DemoConnector.config_model):  # type: ignore[misc,name-defined]
        model_config = ConfigDict(extra="ignore")


@connector("K02")
class KeepsAPasswordInItsSettings(DemoConnector):
    class config_model(DemoConnector.config_model):  # type: ignore[misc,name-defined]
        api_password: str = ""


@connector("K03")
class CheckMakesAHook(DemoConnector):
    def check(self) -> CheckReport:
        self._client.send("POST", "items", [{"sku": "PING", "name": "ping"}])
        return super().check()


@connector("K03")
class CheckIsAlwaysContent(DemoConnector):
    def check(self) -> CheckReport:
        return CheckReport([CheckItem("token", True, "looks good")])


@connector("K04")
class ServesWhatItDoesNotHave(DemoConnector):
    def _list(self, entity: EntityName) -> str:
        return "customers" if entity is not EntityName.ITEM else "items"


@connector("K05")
class FindsOutLater(DemoConnector):
    def __init__(self, config: Any, ctx: Any) -> None:
        given = ctx.credentials
        super().__init__(config, replace(ctx, credentials=replace(given, password=given.password or "guest")))


# --- reading ------------------------------------------------------------------------------------------------------


@connector("K10")
class LosesTheLastRow(DemoConnector):
    def _pages(self, request: PullRequest, what: str, params: dict[str, str]) -> Iterator[Page]:
        for page in super()._pages(request, what, params):
            yield page if page.total and page.total > len(page.items) else replace(page, items=page.items[:-1])


@connector("K10")
class GivesNumbersAsIds(DemoConnector):
    def item(self, entity: EntityName, row: Row) -> RawItem:
        return replace(super().item(entity, row), external_id=row["id"])


@connector("K11")
class BeginsAgainFromTheTop(DemoConnector):
    def start(self, request: PullRequest) -> int:
        return 0


@connector("K11")
class ResumesAPageTooLate(DemoConnector):
    def position(self, after: int) -> dict[str, Any]:
        return {"after": after + 2}


@client("K11")
class EndsWhenAPageFails(DemoClient):
    def page(self, what: str, params: Mapping[str, str]) -> tuple[list[Row], int, Mapping[str, str]]:
        try:
            return super().page(what, params)
        except TransientError:
            if params.get("after", "0") == "0":
                raise
            return [], 0, {}


@shop("K12")
class MovesNoDate(DemoShop):
    def change(self, what: str, number: int, fields: dict[str, Any]) -> dict[str, Any]:
        before = self.lists[what][number]["updated_at"]
        row = super().change(what, number, fields)
        row["updated_at"] = before
        return row


class FiltersByCreation(DemoShop):
    """It filters by the day of birth and shows the day of change: as a cursor on the id would."""

    def _list(self, what: str, query: dict[str, str]) -> HttpResponse:
        if "since" not in query:
            return super()._list(what, query)
        rows = self.lists[what]
        changed = {number: row["updated_at"] for number, row in rows.items()}
        for number, row in rows.items():
            row["updated_at"] = self.born[number]
        answer = super()._list(what, query)
        for number, row in rows.items():
            row["updated_at"] = changed[number]
        return answer

    def put(self, what: str, fields: dict[str, Any]) -> dict[str, Any]:
        row = super().put(what, fields)
        self.born: dict[int, str] = {**getattr(self, "born", {}), row["id"]: row["updated_at"]}
        return row


shop("K12")(FiltersByCreation)


@connector("K13")
class SaysWhenItWasRead(DemoConnector):
    def item(self, entity: EntityName, row: Row) -> RawItem:
        found = super().item(entity, row)
        return replace(found, payload={**row, "read_at": self._ctx.clock.now().isoformat()})


@connector("K13")
class ForgetsWhatIsVolatile(DemoConnector):
    manifest = item_manifest(volatile=())


@connector("K14")
class AsksInLocalTime(DemoConnector):
    def bound(self, since: Any) -> str:
        return str(since.astimezone(zoneinfo.ZoneInfo("Europe/Paris")).replace(tzinfo=None).isoformat())


@connector("K14")
class ReadsDatesWithoutAZone(DemoConnector):
    def moment(self, text: str) -> Any:
        return super().moment(text).replace(tzinfo=None)


@connector("K15")
class ReadsPricesAsFloats(DemoConnector):
    def item(self, entity: EntityName, row: Row) -> RawItem:
        found = super().item(entity, row)
        return replace(found, payload={**row, "price": float(row.get("price") or 0)})


@connector("K16")
class BelievesEachPage(DemoConnector):
    def look_at(self, what: str, numbers: Sequence[int], after: int, total: int) -> None:
        pass


@connector("K17")
class PagesByPlace(DemoConnector):
    def _pages(self, request: PullRequest, what: str, params: dict[str, str]) -> Iterator[Page]:
        offset = int((request.position or {}).get("offset", 0))
        while True:
            rows, total, _ = self._client.page(what, {**params, "offset": str(offset)})
            offset += len(rows)
            yield Page([self.item(request.entity, row) for row in rows], {"offset": offset}, total)
            if not rows:
                return


@connector("K18")
class TakesAnEmptyPageForTheEnd(DemoConnector):
    def _pages(self, request: PullRequest, what: str, params: dict[str, str]) -> Iterator[Page]:
        after = self.start(request)
        while True:
            rows, total, _ = self._client.page(what, {**params, "after": str(after)})
            if not rows:
                return
            after = rows[-1]["id"]
            yield Page([self.item(request.entity, row) for row in rows], self.position(after), total)


@connector("K19")
class DoesAllAtOnce(DemoConnector):
    def item(self, entity: EntityName, row: Row) -> RawItem:
        (found,) = self._ctx.tasks.map_ordered(lambda one: DemoConnector.item(self, entity, one), [row], width=50)
        return found


@connector("K20")
class FetchesLess(DemoConnector):
    def fetch(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        for page in super().fetch(entity, external_ids):
            short = [replace(i, payload={k: v for k, v in i.payload.items() if k != "name"}) for i in page.items]
            yield replace(page, items=short)


@client("K21")
class FailsAtWhatIsGone(DemoClient):
    def one(self, what: str, number: str) -> Row | None:
        found: Row = self.get(f"{what}/{number}")
        return found


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


# --- answers ------------------------------------------------------------------------------------------------------


class _Turned(DemoClient):
    """A client that turns one error of a list into something else."""

    wrong: ClassVar[type[ComptoirError]] = ComptoirError
    code: ClassVar[str | None] = None

    def page(self, what: str, params: Mapping[str, str]) -> tuple[list[Row], int, Mapping[str, str]]:
        try:
            return super().page(what, params)
        except self.wrong as error:
            if self.code not in (None, error.code):
                raise
            return self.instead(error)

    def instead(self, error: ComptoirError) -> tuple[list[Row], int, Mapping[str, str]]:
        return [], 0, {}


@client("K50")
class TakesARefusalForAFailure(_Turned):
    wrong = AuthError

    def instead(self, error: ComptoirError) -> Any:
        raise TransientError(error.message, connection=error.connection)


@client("K51")
class TakesARefusalForNothing(_Turned):
    wrong = RecordRejected


@client("K52")
class ForgetsHowLong(_Turned):
    wrong = RateLimited

    def instead(self, error: ComptoirError) -> Any:
        raise RateLimited(error.message, connection=error.connection)


@client("K53")
class TakesAFailureForARefusal(DemoClient):
    def send(self, method: str, what: str, rows: Sequence[Row]) -> list[Row]:
        try:
            return super().send(method, what, rows)
        except OutcomeUnknown as error:
            raise TransientError(error.message, connection=error.connection) from None


@client("K53")
class TriesForEver(DemoClient):
    def page(self, what: str, params: Mapping[str, str]) -> tuple[list[Row], int, Mapping[str, str]]:
        for _ in range(40):
            try:
                return super().page(what, params)
            except TransientError:
                continue
        return super().page(what, params)


@client("K54")
class TakesATimeOutForNothing(_Turned):
    wrong = TransientError
    code = "answer_lost"


@client("K55")
class TakesHalfAnAnswer(_Turned):
    wrong = TransientError
    code = "too_large"


@client("K56")
class TakesAPageForNothing(_Turned):
    wrong = TransientError
    code = "not_json"


@client("K57")
class TakesNothingForNothing(_Turned):
    wrong = TransientError
    code = "empty_answer"


@client("K58")
class DoesNotLook(DemoClient):
    def page(self, what: str, params: Mapping[str, str]) -> tuple[list[Row], int, Mapping[str, str]]:
        body = self.get(f"{what}?after={params.get('after', '0')}")
        found = body if isinstance(body, dict) else {}
        return found.get("rows") or [], found.get("total") or 0, {}


@client("K58")
class BelievesThatItWasMade(DemoClient):
    def send(self, method: str, what: str, rows: Sequence[Row]) -> list[Row]:
        try:
            return super().send(method, what, rows)
        except OutcomeUnknown:
            return [{"id": 1} for _ in rows]


@client("K59")
class FollowsRedirects(_Turned):
    wrong = AuthError
    code = "redirect"

    def instead(self, error: ComptoirError) -> Any:
        self._http.get_json("https://elsewhere.example/login")
        raise error


@client("K60")
class SaysTooLittle(_Turned):
    def instead(self, error: ComptoirError) -> Any:
        raise type(error)("it did not work")


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
