"""A Vendure shop: orders with their refunds, customers, items and stock are read; prices, names and stock written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from comptoir.sdk import (
    Change,
    ChangeResult,
    CheckItem,
    CheckReport,
    ComptoirError,
    ConfigError,
    ConnectorConfig,
    ConnectorContext,
    ContractViolation,
    EntityName,
    ListBatch,
    ListReader,
    ListSlice,
    Manifest,
    Page,
    PullRequest,
    RawItem,
    load_manifest,
)
from comptoir_vendure import queries
from comptoir_vendure.client import VendureClient, server_time
from comptoir_vendure.config import VendureConfig
from comptoir_vendure.writing import Writer, chosen_location

__all__ = ["VendureConnector"]

#: Beyond it, dates of the two systems cannot be compared without thought.
_TOLERATED_SKEW = 120.0
_FACTS_LAST = 300.0
#: More changed products than this, and everything is read.
_PRODUCTS_NAMED = 500
_REFUND_LINE_FACTS = ("id", "productVariant", "proratedUnitPrice", "proratedUnitPriceWithTax", "taxLines")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _List:
    """One list of the shop: what is asked, under which name it answers, and what a row becomes."""

    name: str
    query: str
    filter: Mapping[str, Any]
    make: Callable[[Row], list[RawItem]]


class VendureConnector:
    """One Vendure shop, or one channel of it."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_vendure")
    config_model: ClassVar[type[ConnectorConfig]] = VendureConfig

    def __init__(self, config: VendureConfig, ctx: ConnectorContext) -> None:
        self._config = config
        self._ctx = ctx
        self._client = VendureClient(config, ctx)
        self._writer = Writer(self._client, config, ctx, self._facts)
        self._known_facts: tuple[float, dict[str, Any]] = (0.0, {})

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Pages in the order of ids. Each position holds for the same `since` only; another starts from the top."""
        what = self._list(request.entity, request.since)
        scope = f"{request.entity.value} since {request.since.isoformat() if request.since else 'ever'}"
        skip, after = _resume(request.position, scope)
        for batch in self._reader(what, what.filter).read(skip=skip, after=after):
            position = {"scope": scope, "skip": batch.skip, "after": batch.after}
            yield self._page(what, batch, position)

    def fetch(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        """The records with these ids, as `pull` gives them; gone ones are left out."""
        if entity not in (EntityName.ORDER, EntityName.CUSTOMER, EntityName.ITEM):
            raise ContractViolation(f"{self._ctx.connection}: {entity.value} is not read by single records")
        return self._fetched(entity, external_ids)

    def _fetched(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        wanted = list(dict.fromkeys(external_ids))
        for at in range(0, len(wanted), self._config.page_rows):
            chunk = wanted[at : at + self._config.page_rows]
            what = self._list(entity, None)
            for batch in self._reader(what, {"id": {"in": chunk}}).read():
                strangers = [row["id"] for row in batch.rows if row["id"] not in chunk]
                if strangers:
                    raise ContractViolation(
                        f"{self._ctx.connection}: {what.name}: {strangers[0]} was given unasked",
                        hint="A cache before the shop gives the answer to another request.",
                        connection=self._ctx.connection,
                    )
                yield self._page(what, batch, None)

    def calls(self, entity: EntityName, changes: Sequence[Change]) -> Sequence[Sequence[Change]]:
        """The changes as they will be sent: see `Writer.calls`."""
        return self._writer.calls(entity, changes)

    def update(self, entity: EntityName, call: Sequence[Change]) -> Sequence[ChangeResult]:
        """One call; one result per change. OutcomeUnknown when it may have been carried out."""
        return self._writer.update(entity, call)

    def check(self) -> CheckReport:
        """Address, credentials, channel, rights, clocks and the place of stock. Reads only."""
        items: list[CheckItem] = []
        try:
            facts = self._facts()
        except ComptoirError as error:
            return CheckReport([CheckItem.failed("login and channel", error)])
        basis = "including" if facts["prices_include_tax"] else "excluding"
        items.append(CheckItem("login and channel", True, f"{facts['channel']}: {facts['currency']}, {basis} tax"))
        for entity in (EntityName.ORDER, EntityName.CUSTOMER, EntityName.ITEM):
            items += self._look(self._list(entity, None))
        items.append(self._places())
        return CheckReport(items)

    # --- reading ----------------------------------------------------------------------------------------------

    def _list(self, entity: EntityName, since: datetime | None) -> _List:
        match entity:
            case EntityName.ORDER:
                return _List("orders", queries.orders(self._config), self._placed(since), self._with_refunds)
            case EntityName.CUSTOMER:
                return _List("customers", queries.customers(self._config), {}, self._customer)
            case EntityName.ITEM:
                changed = self._changed_items(since) if since else {}
                return _List("productVariants", queries.variants(self._config), changed, self._item)
            case EntityName.STOCK:
                return _List("productVariants", queries.variants(self._config), {}, self._levels)
        raise ContractViolation(f"{self._ctx.connection}: Vendure has no {entity.value} to pull by itself")

    def _placed(self, since: datetime | None) -> dict[str, Any]:
        """Which orders are read: carts and drafts never, and since a moment also those whose date did not move.

        `updatedAt` stands still when an order is placed, paid, shipped or refunded (measured), so what was placed
        within `reread_days` before that moment comes each time.
        """
        orders: dict[str, Any] = {"orderPlacedAt": {"isNull": False}, "type": {"in": list(self._config.order_types)}}
        if since is not None:
            placed = since - timedelta(days=self._config.reread_days)
            orders["_or"] = [{"updatedAt": {"after": _bound(since)}}, {"orderPlacedAt": {"after": _bound(placed)}}]
        return orders

    def _changed_items(self, since: datetime) -> dict[str, Any]:
        """Variants that have changed, and those of products that have: a product's change does not move them."""
        changed: dict[str, Any] = {"updatedAt": {"after": _bound(since)}}
        options = {"filter": changed, "take": _PRODUCTS_NAMED, "sort": {"id": "ASC"}}
        data, _ = self._client.ask(queries.CHANGED_PRODUCTS, {"options": options})
        products = data.get("products")
        if not isinstance(products, dict) or not isinstance(products.get("items"), list):
            raise ContractViolation(f"{self._ctx.connection}: products: the shop gave no list")
        if products.get("totalItems") != len(products["items"]):
            return {}
        ids = [str(product["id"]) for product in products["items"]]
        return {"_or": [changed, {"productId": {"in": ids}}]} if ids else changed

    def _reader(self, what: _List, filters: Mapping[str, Any]) -> ListReader:
        def fetch(skip: int, take: int) -> ListSlice:
            options = {"skip": skip, "take": take, "sort": {"id": "ASC"}, "filter": filters}
            data, headers = self._client.ask(what.query, {"options": options})
            found = data.get(what.name)
            found = found if isinstance(found, dict) else {}
            return ListSlice(found.get("items"), found.get("totalItems"), headers)  # type: ignore[arg-type]

        return ListReader(fetch, rows=self._config.page_rows, what=what.name, connection=self._ctx.connection)

    def _page(self, what: _List, batch: ListBatch, position: Mapping[str, Any] | None) -> Page:
        items = [item for row in batch.rows for item in what.make(row)]
        return Page(items=items, position=position, total=batch.total, as_of=server_time(batch.headers))

    def _with_refunds(self, order: Row) -> list[RawItem]:
        facts = self._facts()
        modified = max(
            filter(None, (_moment(order.get("updatedAt")), _moment(order.get("orderPlacedAt")))), default=None
        )
        items = [RawItem(EntityName.ORDER, order["id"], order, modified, facts)]
        parent = {**order_facts(order), **facts}
        for payment in order.get("payments") or ():
            for refund in payment.get("refunds") or ():
                # Pending: decided, the money has not gone back. Failed: it never will.
                if refund.get("state") == "Settled":
                    mine = {**parent, "payment": {"method": payment.get("method")}}
                    items.append(
                        RawItem(EntityName.REFUND, refund["id"], refund, _moment(refund.get("createdAt")), mine)
                    )
        return items

    def _customer(self, row: Row) -> list[RawItem]:
        return [RawItem(EntityName.CUSTOMER, row["id"], row, _moment(row.get("updatedAt")))]

    def _item(self, row: Row) -> list[RawItem]:
        return [RawItem(EntityName.ITEM, row["id"], row, _moment(row.get("updatedAt")), self._facts())]

    def _levels(self, row: Row) -> list[RawItem]:
        """One record for each place where a counted variant has stock."""
        variant = {name: row.get(name) for name in ("id", "sku", "trackInventory")}
        return [
            RawItem(EntityName.STOCK, level["id"], {**level, "variant": variant}, None)
            for level in row.get("stockLevels") or ()
            if row.get("trackInventory") != "FALSE"
        ]

    def _facts(self) -> dict[str, Any]:
        """What no record says: decimals of amounts, the catalogue's currency and price basis; never assumed.

        Asked for at most every five minutes. Raises ConfigError when the shop answers for another channel.
        """
        now = self._ctx.clock.monotonic()
        asked, facts = self._known_facts
        if facts and now - asked <= _FACTS_LAST:
            return facts
        data, _ = self._client.ask(queries.FACTS, {})
        try:
            channel, settings = data["activeChannel"], data["globalSettings"]
            facts = {
                "precision": int(settings["serverConfig"]["moneyStrategyPrecision"]),
                "currency": str(channel["defaultCurrencyCode"]),
                "language": str(channel["defaultLanguageCode"]),
                "prices_include_tax": bool(channel["pricesIncludeTax"]),
                "counts_stock": bool(settings["trackInventory"]),
                "channel": str(channel["code"]),
            }
            token = channel["token"]
        except (KeyError, TypeError, ValueError):
            raise ContractViolation(
                f"{self._ctx.connection}: the shop does not say its currency, price basis and decimals in a known form",
                hint="Vendure says them since 3.0; an older shop cannot be read.",
                connection=self._ctx.connection,
            ) from None
        if self._config.channel not in (None, token):
            # A shop of one channel answers for that one, whatever token it is given (observed).
            raise ConfigError(
                f"{self._ctx.connection}: the shop has no channel with the token of the setting `channel`, and "
                f"answered for {facts['channel']} instead",
                hint="Copy the token from Settings > Channels.",
                connection=self._ctx.connection,
                field="channel",
            )
        self._known_facts = now, facts
        return facts

    # --- checking ---------------------------------------------------------------------------------------------

    def _look(self, what: _List) -> list[CheckItem]:
        name = f"rights to read {what.name}"
        try:
            options = {"take": 1, "sort": {"id": "ASC"}, "filter": what.filter}
            data, headers = self._client.ask(what.query, {"options": options})
        except ComptoirError as error:
            return [CheckItem.failed(name, error)]
        found = data.get(what.name)
        count = found.get("totalItems") if isinstance(found, dict) else "an unknown number of"
        items = [CheckItem(name, True, f"{count} records")]
        if what.name == "orders":
            items.append(self._clocks(headers))
        return items

    def _clocks(self, headers: Mapping[str, str]) -> CheckItem:
        theirs = server_time(headers)
        if theirs is None:
            return CheckItem("clocks", True, "the shop does not say what time it has")
        ahead = (theirs - self._ctx.clock.now()).total_seconds()
        found = f"the shop's clock differs by {round(ahead)} s"
        if abs(ahead) <= _TOLERATED_SKEW:
            return CheckItem("clocks", True, found)
        return CheckItem("clocks", False, found, "Set both clocks by NTP: what is read goes by the shop's dates.")

    def _places(self) -> CheckItem:
        name = "stock location"
        try:
            data, _ = self._client.ask(queries.LOCATIONS, {})
            places = data.get("stockLocations")
            found = places.get("items") if isinstance(places, dict) else None
            place = chosen_location(found or [], self._config, self._ctx.connection)
        except ComptoirError as error:
            return CheckItem.failed(name, error)
        return CheckItem(name, True, place["name"])


def order_facts(order: Row) -> dict[str, Any]:
    """What a refund needs to know of its order: no name, no address, only what decides on money and tax."""
    customer = order.get("customer") or {}
    facts = {name: order.get(name) for name in ("id", "code", "currencyCode", "taxSummary", "shippingLines")}
    facts["lines"] = [{name: line.get(name) for name in _REFUND_LINE_FACTS} for line in order.get("lines") or ()]
    for name in ("shippingAddress", "billingAddress"):
        facts[name] = {"countryCode": (order.get(name) or {}).get("countryCode")}
    facts["customer"] = {"customFields": customer.get("customFields")}
    return facts


def _bound(moment: datetime) -> str:
    """The filter for "at this moment or later": `after` is exclusive, and some databases keep whole seconds."""
    return (moment.astimezone(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _resume(position: Mapping[str, Any] | None, scope: str) -> tuple[int, str]:
    """Rows to skip and last id of an interrupted read of the same list, else its beginning."""
    if position is None or position.get("scope") != scope:
        return 0, ""
    return int(position["skip"]), str(position["after"])


def _moment(value: Any) -> datetime | None:
    """An aware moment; None when there is none."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) and value else None
    except ValueError:
        return None
