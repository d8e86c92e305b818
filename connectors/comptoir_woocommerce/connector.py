"""A WooCommerce shop: orders with their refunds, customers and items are read, items, stock and customers written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from comptoir.sdk import (
    AuthError,
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
    Experiment,
    Manifest,
    Page,
    Probe,
    PullRequest,
    PushBatch,
    PushResult,
    RawItem,
    RecordRejected,
    TransientError,
    WebhookDelivery,
    WebhookRequest,
    load_manifest,
)
from comptoir_woocommerce import webhook
from comptoir_woocommerce.client import WooCommerceClient, clock_difference, server_time
from comptoir_woocommerce.config import WooCommerceConfig
from comptoir_woocommerce.experiments import experiments
from comptoir_woocommerce.fetching import Fetcher, record_numbers
from comptoir_woocommerce.forms import gmt
from comptoir_woocommerce.functions import VAT_META_KEYS
from comptoir_woocommerce.paging import PAGE_ROWS, ListReader
from comptoir_woocommerce.writing import Writer

__all__ = ["WooCommerceConnector"]

#: Products that are pages rather than goods: a group shows others, an external one is sold elsewhere.
_NOT_SOLD_HERE = frozenset({"grouped", "external"})
#: OAuth allows 15 minutes; a difference beyond this is reported while it still works.
_TOLERATED_SKEW = 120.0
_REQUESTS_WORTH_A_WORKER = 4
_PRICE_FACTS_LAST = 300.0
_ORDER_FACTS = (
    "id",
    "number",
    "currency",
    "prices_include_tax",
    "date_created_gmt",
    "total",
    "payment_method",
)
_PARENT_FACTS = ("id", "name", "type", "sku", "status", "tax_class", "tax_status", "manage_stock", "weight")


class WooCommerceConnector:
    """One WooCommerce shop."""

    manifest: ClassVar[Manifest] = load_manifest("comptoir_woocommerce")
    config_model: ClassVar[type[ConnectorConfig]] = WooCommerceConfig

    def __init__(self, config: WooCommerceConfig, ctx: ConnectorContext) -> None:
        self._config = config
        self._ctx = ctx
        self._client = WooCommerceClient(config, ctx)
        self._writer = Writer(self._client, config, ctx)
        self._recent_prices: tuple[float, dict[str, Any]] = (0.0, {})
        self._fetcher = Fetcher(self._client, ctx.connection, self._reader)

    def pull(self, request: PullRequest) -> Iterator[Page]:
        """Pages in the order of ids. Each position holds for the same `since` only; another starts from the top."""
        match request.entity:
            case EntityName.ORDER:
                filters = {"status": ",".join(self._config.statuses), **_modified_after(request.since)}
                return self._pages("/orders", filters, request, self._with_refunds)
            case EntityName.CUSTOMER:
                # The endpoint ignores `modified_after`: it would cost a full read and promise less.
                if request.since is not None:
                    self._warn_of_sweep()
                return self._pages("/customers", {"role": "all"}, request, self._customers)
            case EntityName.ITEM:
                filters = {"status": "any", **_modified_after(request.since)}
                prices = self._price_facts()
                return self._pages("/products", filters, request, lambda rows: self._items(rows, prices))
        raise ContractViolation(f"{self._ctx.connection}: WooCommerce has no {request.entity.value} to pull by itself")

    def fetch(self, entity: EntityName, external_ids: Sequence[str]) -> Iterator[Page]:
        """The records with these ids, as `pull` gives them, whatever state they are in; gone ones are left out.

        Orders come with their refunds, in any state, from the trash too. An item's id is that of a product (all of its
        variations come) or of a variation (its product's variations come, itself among them).
        """
        numbers = record_numbers(external_ids)
        make: Callable[[Sequence[Mapping[str, Any]]], list[RawItem]]
        match entity:
            case EntityName.ORDER:
                found = self._fetcher.records("/orders", {"status": "any"}, numbers, trash=True)
                make = self._with_refunds
            case EntityName.CUSTOMER:
                found = self._fetcher.records("/customers", {"role": "all"}, numbers, trash=False)
                make = self._customers
            case EntityName.ITEM:
                prices = self._recent_price_facts() if numbers else {}
                found, make = self._fetcher.families(numbers), lambda rows: self._items(rows, prices)
            case _:
                raise ContractViolation(f"{self._ctx.connection}: WooCommerce has no {entity.value} to read by itself")
        for rows, date in found:
            yield Page(items=make(rows), as_of=server_time(date))

    def calls(self, entity: EntityName, changes: Sequence[Change]) -> Sequence[Sequence[Change]]:
        """The changes as they will be sent: see `Writer.calls`."""
        return self._writer.calls(entity, changes)

    def update(self, entity: EntityName, call: Sequence[Change]) -> Sequence[ChangeResult]:
        """One call; one result per change. OutcomeUnknown when it may have been carried out."""
        return self._writer.update(entity, call)

    def push(self, batch: PushBatch) -> Sequence[PushResult]:
        """New products and customers; one result per op. OutcomeUnknown when some may have been made."""
        return self._writer.push(batch)

    def probe(self, batch: PushBatch) -> Sequence[Probe]:
        """Whether the records of a batch exist, by SKU or e-mail address."""
        return self._writer.probe(batch)

    def experiments(self) -> AbstractContextManager[Iterable[Experiment]]:
        """What moves the shop's modified dates: made on test objects, which are removed again."""
        return experiments(self._client, self._ctx)

    def check(self) -> CheckReport:
        """Address, keys, rights, clocks, time zone and currency. Reads only."""
        items: list[CheckItem] = []
        reachable = self._look("rights to read orders", "/orders", {"per_page": "1", "status": "any"}, items)
        if reachable is None:
            return CheckReport(items)
        orders, headers = reachable
        items.append(self._clocks(headers))
        version = orders[0].get("version") if isinstance(orders, list) and orders else None
        items.append(CheckItem("WooCommerce", True, str(version or "version not visible (no order yet)")))
        self._look("rights to read customers", "/customers", {"per_page": "1", "role": "all"}, items)
        products = self._look("rights to read products", "/products", {"per_page": "1"}, items)
        if products is not None and products[0] and isinstance(products[0], list):
            kept = "global_unique_id" in products[0][0]
            items.append(CheckItem("GTIN", True, "kept" if kept else "not kept (WooCommerce does since 9.2)"))
        items += [self._changes(what) for what in ("orders", "customers", "products")]
        items.append(self._zone())
        items.append(self._currency())
        return CheckReport(items)

    def verify(self, request: WebhookRequest) -> WebhookDelivery:
        """The hints of a webhook that this shop has signed; its creation ping, which is not signed, has none."""
        return webhook.verify(request, self._ctx.credentials, self._ctx.connection)

    def ensure_webhooks(
        self, url: str, entities: Sequence[EntityName], mode: webhook.Mode = "repair"
    ) -> Sequence[CheckItem]:
        """One item per topic of these entities. Needs a key that may write, and a secret in the connection."""
        ctx = self._ctx
        return webhook.ensure(self._client, ctx.credentials, ctx.connection, url, entities, mode)

    # --- reading ----------------------------------------------------------------------------------------------

    def _pages(
        self,
        path: str,
        filters: Mapping[str, str],
        request: PullRequest,
        make_items: Callable[[Sequence[Mapping[str, Any]]], list[RawItem]],
    ) -> Iterator[Page]:
        scope = "&".join(f"{name}={value}" for name, value in sorted(filters.items()))
        offset, after_id = _resume(request.position, scope)
        batches = self._reader(path, filters).read(
            offset=offset, after_id=after_id, tasks=self._ctx.tasks, width=self._config.pages_in_flight
        )
        for batch in batches:
            yield Page(
                items=make_items(batch.rows),
                position={"scope": scope, "offset": batch.offset, "after_id": batch.after_id},
                total=batch.total,
                as_of=server_time(batch.date),
            )

    def _reader(self, path: str, filters: Mapping[str, str]) -> ListReader:
        ordered = {**filters, "orderby": "id", "order": "asc"}

        def fetch(offset: int, count: int) -> tuple[Any, Mapping[str, str]]:
            return self._client.get(path, {**ordered, "per_page": str(count), "offset": str(offset)})

        def fetch_page(number: int) -> tuple[Any, Mapping[str, str]]:
            return self._client.get(path, {**ordered, "per_page": str(PAGE_ROWS), "page": str(number)})

        return ListReader(fetch, what=path.strip("/"), connection=self._ctx.connection, fetch_page=fetch_page)

    def _children(self, path: str, filters: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """All rows of a sub-list. A parent that has gone meanwhile is a moving list, not a bad record."""
        try:
            return [row for batch in self._reader(path, filters).read() for row in batch.rows]
        except RecordRejected as error:
            raise TransientError(
                f"{error.message} (it was listed a moment ago)", connection=self._ctx.connection
            ) from None

    def _width(self, parents: Sequence[Any]) -> int:
        """How many sub-lists are asked for at once: a worker must be worth the connection that it opens."""
        return max(1, min(self._config.pages_in_flight, len(parents) // _REQUESTS_WORTH_A_WORKER))

    def _with_refunds(self, orders: Sequence[Mapping[str, Any]]) -> list[RawItem]:
        refunded = [order for order in orders if order.get("refunds")]
        found = self._ctx.tasks.map_ordered(self._refunds, refunded, width=self._width(refunded))
        items: list[RawItem] = []
        for order in orders:
            items.append(RawItem(EntityName.ORDER, str(order["id"]), order, _gmt(order.get("date_modified_gmt"))))
            if order.get("refunds"):
                parent = order_facts(order)
                items += [
                    RawItem(
                        EntityName.REFUND,
                        str(refund["id"]),
                        refund,
                        _gmt(refund.get("date_created_gmt")),
                        parent,
                    )
                    for refund in next(found)
                ]
        return items

    def _refunds(self, order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        refunds = self._children(f"/orders/{order['id']}/refunds", {})
        listed = {refund.get("id") for refund in order["refunds"]}
        missing = listed - {refund["id"] for refund in refunds}
        if missing:
            raise TransientError(
                f"{self._ctx.connection}: order {order['id']} lists {len(listed)} refunds, the shop gives "
                f"{len(refunds)} of them",
                hint="A refund was removed this moment or the shop withholds it; the order is read again.",
                connection=self._ctx.connection,
                record=str(order["id"]),
            )
        return refunds

    def _customers(self, rows: Sequence[Mapping[str, Any]]) -> list[RawItem]:
        return [
            RawItem(EntityName.CUSTOMER, str(row["id"]), row, _gmt(row.get("date_modified_gmt")))
            for row in rows
            if _is_customer(row)
        ]

    def _items(self, products: Sequence[Mapping[str, Any]], prices: Mapping[str, Any]) -> list[RawItem]:
        with_variants = [product for product in products if _is_variable(product)]
        found = self._ctx.tasks.map_ordered(self._variations, with_variants, width=self._width(with_variants))
        items: list[RawItem] = []
        for product in products:
            if _is_variable(product):
                parent = {**prices, **{name: product.get(name) for name in _PARENT_FACTS}}
                items += [_item(variation, parent) for variation in next(found)]
            elif product.get("type") not in _NOT_SOLD_HERE:
                items.append(_item(product, prices))
        return items

    def _variations(self, product: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return self._children(f"/products/{product['id']}/variations", {"status": "any"})

    def _recent_price_facts(self) -> dict[str, Any]:
        """The same, asked for at most every five minutes: single records are read in quick succession."""
        now = self._ctx.clock.monotonic()
        asked, facts = self._recent_prices
        if not facts or now - asked > _PRICE_FACTS_LAST:
            facts = self._price_facts()
            self._recent_prices = now, facts
        return facts

    def _price_facts(self) -> dict[str, Any]:
        """Currency and price basis of the catalogue: no product says them, and neither is ever assumed."""
        currency, including = self._config.currency, self._config.prices_include_tax
        try:
            if currency is None:
                currency = self._client.get("/data/currencies/current")[0]["code"]
            if including is None:
                including = self._client.get("/settings/tax/woocommerce_prices_include_tax")[0]["value"] == "yes"
        except AuthError as error:
            # When the key is good for nothing else either, that is what is wrong.
            self._client.get("/products", {"per_page": "1"})
            raise ConfigError(
                f"{error.message} (asked for the currency and price basis of the catalogue)",
                hint="Give the key's user the right to see WooCommerce's settings, or set `currency` and "
                "`prices_include_tax` for this connection.",
                connection=self._ctx.connection,
                field="currency" if currency is None else "prices_include_tax",
            ) from None
        except (KeyError, TypeError):
            raise ContractViolation(
                f"{self._ctx.connection}: the shop does not say currency and price basis in a known form",
                hint="Set `currency` and `prices_include_tax` for this connection.",
            ) from None
        return {"currency": currency, "prices_include_tax": including}

    # --- checking ---------------------------------------------------------------------------------------------

    def _look(
        self, name: str, path: str, params: Mapping[str, str], items: list[CheckItem]
    ) -> tuple[Any, Mapping[str, str]] | None:
        try:
            body, headers = self._client.get(path, params)
        except ComptoirError as error:
            items.append(CheckItem.failed(name, error))
            return None
        items.append(CheckItem(name, True, f"{headers.get('x-wp-total', 'an unknown number of')} records"))
        return body, headers

    def _changes(self, what: str) -> CheckItem:
        """Whether a list can be asked for what has changed: of a moment to come it must give nothing."""
        name = f"changed {what}"
        try:
            total, later = self._totals(what)
        except ComptoirError as error:
            return CheckItem.failed(name, error)
        if not total or later is None:
            return CheckItem(name, True, "nothing to tell it by yet")
        if later < total:
            return CheckItem(name, True, "`modified_after` is understood")
        found = f"the shop ignores `modified_after` (the same {total} with and without it)"
        if what == "customers":  # as WooCommerce does (observed); their manifest entry says sweep
            return CheckItem(name, True, f"{found}: customers are always read whole")
        hint = "WooCommerce knows it since 5.8: update the shop, or look for a plugin that drops it. Until then every "
        return CheckItem(name, False, found, hint + "run reads everything; nothing is missed.")

    def _totals(self, what: str) -> tuple[int | None, int | None]:
        """How many rows a list counts, and how many of them as modified after tomorrow; None where it does not say."""
        whole = {"per_page": "1", **({"role": "all"} if what == "customers" else {"status": "any"})}
        tomorrow = _modified_after(self._ctx.clock.now() + timedelta(days=1))
        counts = []
        for params in (whole, {**whole, **tomorrow}):
            _, headers = self._client.get(f"/{what}", params)
            count = headers.get("x-wp-total", "")
            counts.append(int(count) if count.isdigit() else None)
        return counts[0], counts[1]

    def _warn_of_sweep(self) -> None:
        total, later = self._totals("customers")
        if total and total == later:
            self._ctx.logger.warning(
                "%s: the shop ignores `modified_after` for customers: all %d customers are read",
                self._ctx.connection, total,
            )  # fmt: skip

    def _clocks(self, headers: Mapping[str, str]) -> CheckItem:
        ahead = clock_difference(headers.get("date"), self._ctx.clock)
        if ahead is None:
            return CheckItem("clocks", True, "the shop does not say what time it has")
        found = f"the shop's clock differs by {round(ahead)} s"
        if abs(ahead) <= _TOLERATED_SKEW:
            return CheckItem("clocks", True, found)
        hint = "Set both clocks by NTP: beyond 15 minutes a shop without https refuses every request."
        return CheckItem("clocks", False, found, hint)

    def _zone(self) -> CheckItem:
        ours = self._config.time_zone or self._ctx.company.time_zone
        try:
            site, _ = self._client.get_root({"_fields": "timezone_string,gmt_offset"})
        except ComptoirError as error:
            return CheckItem("time zone", True, f"not readable; {ours} is taken ({error.message})")
        theirs = site.get("timezone_string") if isinstance(site, dict) else None
        if not theirs:
            return CheckItem("time zone", True, f"the shop names none; {ours} is taken")
        if theirs == ours:
            return CheckItem("time zone", True, theirs)
        return CheckItem(
            "time zone",
            False,
            f"the shop has {theirs}, we take {ours}",
            f'Set time_zone = "{theirs}" for this connection: the business date of an order depends on it.',
        )

    def _currency(self) -> CheckItem:
        try:
            found, _ = self._client.get("/data/currencies/current")
            code = found.get("code") if isinstance(found, dict) else None
        except AuthError as error:
            return CheckItem("currency", True, f"not readable with this key ({error.message})")
        except ComptoirError as error:
            return CheckItem("currency", False, error.message, error.hint)
        company = self._ctx.company.currency
        return CheckItem("currency", True, f"the shop sells in {code}, the books are in {company}")


def _modified_after(since: datetime | None) -> dict[str, str]:
    """The filter for "modified at `since` or later".

    The bound is exclusive and has whole seconds, so one second less is asked for; the GMT time must stand without Z:
    `Z` together with `dates_are_gmt` makes the shop shift it twice and miss rows (both observed).
    """
    if since is None:
        return {}
    bound = since.astimezone(UTC).replace(microsecond=0) - timedelta(seconds=1)
    return {"modified_after": bound.strftime("%Y-%m-%dT%H:%M:%S"), "dates_are_gmt": "true"}


def _resume(position: Mapping[str, Any] | None, scope: str) -> tuple[int, int]:
    """Offset and last id of an interrupted read of the same list, else its beginning."""
    if position is None or position.get("scope") != scope:
        return 0, 0
    return int(position["offset"]), int(position["after_id"])


def _gmt(value: Any) -> datetime | None:
    """An aware moment from a `*_gmt` field; None when there is none (products that were never saved have none)."""
    if not isinstance(value, str) or not value:
        return None
    try:
        return gmt(value)
    except ValueError:
        return None


def order_facts(order: Mapping[str, Any]) -> dict[str, Any]:
    """What a refund needs to know of its order: no name, no address, only what decides on money and tax."""
    facts = {name: order.get(name) for name in _ORDER_FACTS}
    facts["billing"] = {"country": (order.get("billing") or {}).get("country")}
    facts["shipping"] = {"country": (order.get("shipping") or {}).get("country")}
    facts["tax_lines"] = order.get("tax_lines") or []
    facts["meta_data"] = [meta for meta in order.get("meta_data") or [] if meta.get("key") in VAT_META_KEYS]
    return facts


def _is_customer(row: Mapping[str, Any]) -> bool:
    """Users with the role customer, and others (an administrator, a subscriber) who have left an address."""
    if row.get("role") == "customer" or row.get("is_paying_customer"):
        return True
    places = (row.get("billing") or {}, row.get("shipping") or {})
    return any(place.get(name) for place in places for name in ("address_1", "city", "postcode", "company"))


def _is_variable(product: Mapping[str, Any]) -> bool:
    """Whether its variations are what is sold: also for the variable types that plugins add."""
    return bool(product.get("variations")) or "variable" in str(product.get("type"))


def _item(payload: Mapping[str, Any], parent: Mapping[str, Any]) -> RawItem:
    return RawItem(EntityName.ITEM, str(payload["id"]), payload, _gmt(payload.get("date_modified_gmt")), parent)
