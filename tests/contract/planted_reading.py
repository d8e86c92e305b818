"""Faults planted in the demonstration shop: what is declared, how it is read, what is made of answers."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from comptoir_demo.client import DemoClient, Row
from comptoir_demo.connector import DemoConnector
from comptoir_demo.sandbox import DemoShop
from pydantic import ConfigDict

from comptoir.sdk import (
    AuthError,
    CheckItem,
    CheckReport,
    ComptoirError,
    EntityName,
    HttpResponse,
    OutcomeUnknown,
    Page,
    PullRequest,
    RateLimited,
    RawItem,
    RecordRejected,
    TransientError,
)

from tests.contract.demo_kit import DemoKit
from tests.contract.planted import client, connector, item_manifest, kit, manifest, shop

__all__ = ["FiltersByCreation"]

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
