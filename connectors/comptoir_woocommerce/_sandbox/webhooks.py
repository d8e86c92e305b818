"""The shop's webhooks: the resource that manages them, and what is sent when something changes.

As observed: one paid order gives order.created, order.updated and a product.updated for each product whose stock it
took; several writes before the queue runs give one delivery of the state at that moment; an order note gives none; a
webhook is switched off at its seventh failed delivery in a row; one that is made pings its address, unsigned. Version
7.9 sends product.deleted for a trashed order too.

From the plugin's published source, for want of a recording: nothing is sent for what is deleted for good; one failure
switches a webhook off again that was switched on again and has not succeeded since; the body about a record that has
gone meanwhile is the error that the REST interface gives for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comptoir_woocommerce._sandbox.catalogue import Product
from comptoir_woocommerce._sandbox.dice import Dice
from comptoir_woocommerce._sandbox.goods import GoodsWrites
from comptoir_woocommerce._sandbox.lists import ListQuery, Problem, page_headers
from comptoir_woocommerce._sandbox.writes import Answer, Handler, Writes

if TYPE_CHECKING:
    from comptoir_woocommerce._sandbox.shop import WooCommerceSandbox

__all__ = ["HookedWrites", "WebhookFaults", "WebhookRequestOut", "Webhooks"]

Body = dict[str, Any]

_RESOURCES = ("coupon", "customer", "order", "product")
_EVENTS = ("created", "updated", "deleted", "restored")
_STATUSES = ("active", "paused", "disabled")
_PLURAL = {"order": "orders", "product": "products", "customer": "customers"}
#: The failure at which a webhook is switched off, when as many before it went wrong too.
_FATAL = 7
#: The actions that a recorded webhook of each topic names; others were not recorded.
_ACTIONS = {
    "order.created": ["woocommerce_new_order"],
    "order.updated": ["woocommerce_update_order", "woocommerce_order_refunded"],
    "product.created": [
        "woocommerce_process_product_meta",
        "woocommerce_new_product",
        "woocommerce_new_product_variation",
    ],
    "customer.updated": ["profile_update", "woocommerce_update_customer"],
}


@dataclass(frozen=True, slots=True)
class WebhookRequestOut:
    """One request that the shop sends. `webhook` is the number of the webhook that sends it; a ping has no topic."""

    webhook: int
    url: str
    topic: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class WebhookFaults:
    """What can go wrong on the way, on demand. `delay`: seconds for which the queue does not come to a webhook."""

    lose_all: bool = False
    copies: int = 1
    delay: int = 0
    shuffle: bool = False


@dataclass(slots=True)
class _Hook:
    number: int
    name: str
    topic: str
    url: str
    secret: str
    created: int
    status: str = "active"
    modified: int | None = None
    failures: int = 0


@dataclass(slots=True)
class Webhooks:
    """Webhooks of one shop and their queue."""

    shop: WooCommerceSandbox
    hooks: dict[int, _Hook] = field(default_factory=dict)
    faults: WebhookFaults = field(default_factory=WebhookFaults)
    _queue: dict[tuple[int, int], int] = field(default_factory=dict)
    _pings: list[WebhookRequestOut] = field(default_factory=list)
    _held: list[tuple[str, str, int]] | None = None
    _next: int = 0
    _dice: Dice = field(default_factory=lambda: Dice(77))

    # --- what happens in the shop -----------------------------------------------------------------------------

    def saw(self, resource: str, event: str, number: int) -> None:
        """Something happened to a record: queued once for each webhook that waits for it."""
        if self._held is not None:
            self._held.append((resource, event, number))
            return
        if not self.hooks:
            return
        topic = f"{resource}.{event}"
        for hook in self.hooks.values():
            if hook.status == "active" and hook.topic == topic:
                self._queue.setdefault((hook.number, number), self.shop.now + self.faults.delay)

    @contextmanager
    def held_back(self) -> Iterator[list[tuple[str, str, int]]]:
        """What is seen within the block comes into the list and not into the queue."""
        before, self._held = self._held, []
        try:
            yield self._held
        finally:
            self._held = before

    # --- sending ----------------------------------------------------------------------------------------------

    def pending_deliveries(self) -> list[WebhookRequestOut]:
        """Runs the queue: what is due leaves it, each with the record as it is now. Whoever sends says `answered`."""
        due = [key for key, at in self._queue.items() if at <= self.shop.now]
        found, self._pings = self._pings, []
        for key in due:
            del self._queue[key]
            hook = self.hooks.get(key[0])
            if hook is not None and hook.status == "active":
                found.append(self._delivery(hook, key[1]))
        if self.faults.lose_all:
            return []
        found = [request for request in found for _ in range(self.faults.copies)]
        if self.faults.shuffle:
            found.sort(key=lambda request: self._dice.bits())
        return found

    def answered(self, request: WebhookRequestOut, status: int | None) -> None:
        """What came of a delivery; None: nothing answered. Pings count for nothing."""
        hook = self.hooks.get(request.webhook)
        if hook is None or not request.topic:
            return
        if status is not None and 200 <= status < 303:
            hook.failures = 0
        elif hook.failures >= _FATAL - 1:
            hook.status = "disabled"
        else:
            hook.failures += 1

    def _delivery(self, hook: _Hook, number: int) -> WebhookRequestOut:
        resource, _, event = hook.topic.partition(".")
        payload = {"id": number} if event == "deleted" else self._record(resource, number)
        # As PHP writes JSON: only ASCII, slashes escaped.
        body = json.dumps(payload, separators=(",", ":")).replace("/", "\\/").encode()
        digest = hmac.digest(hook.secret.encode(), body, hashlib.sha256)
        headers = {
            "User-Agent": self._agent,
            "Accept": "*/*",
            "Content-Type": "application/json",
            "X-WC-Webhook-Source": f"{self.shop.home}/",
            "X-WC-Webhook-Topic": hook.topic,
            "X-WC-Webhook-Resource": resource,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": base64.b64encode(digest).decode(),
            "X-WC-Webhook-ID": str(hook.number),
            "X-WC-Webhook-Delivery-ID": f"{self._dice.bits():016x}{self._dice.bits():016x}",
            "Connection": "close",
        }
        if not self.shop.show.modern:
            headers["Referer"] = hook.url
        return WebhookRequestOut(hook.number, hook.url, hook.topic, headers, body)

    def _record(self, resource: str, number: int) -> Any:
        try:
            if resource == "order":
                return json.loads(self.shop.order_bytes(self.shop.slot(number).id))
            found = self.shop.record(_PLURAL[resource], number)
            return found.show_as_product(self.shop.show) if isinstance(found, Product) else found.show(self.shop.show)
        except Problem as problem:
            return problem.body

    @property
    def _agent(self) -> str:
        words = "11.0.1 Hookshot (WordPress/6.9.7)" if self.shop.show.modern else "7.9.0 Hookshot (WordPress/6.1.9)"
        return f"WooCommerce/{words}"

    # --- the resource -----------------------------------------------------------------------------------------

    def reader(self, steps: list[str]) -> Callable[..., Any] | None:
        """What answers a GET of the resource: (query, pairs, url) -> body and headers."""
        match steps:
            case ["webhooks"]:
                return self._list
            case ["webhooks", number] if number.isdigit():
                return lambda query, pairs, url: (self._show(self._one(int(number))), {})
        return None

    def writer(self, method: str, steps: list[str]) -> Handler | None:
        """What answers a write to the resource."""
        match method, steps:
            case "POST", ["webhooks"]:
                return lambda body, query: (201, self._create(body))
            case "POST", ["webhooks", "batch"]:
                return lambda body, query: (200, self._batch(body))
            case "PUT" | "PATCH" | "POST", ["webhooks", number] if number.isdigit():
                return lambda body, query: (200, self._update(int(number), body))
            case "DELETE", ["webhooks", number] if number.isdigit():
                return lambda body, query: (200, self._delete(int(number), query))
        return None

    def _list(self, query: dict[str, str], pairs: list[tuple[str, str]], url: str) -> tuple[Any, dict[str, str]]:
        asked = ListQuery.read("products", {k: v for k, v in query.items() if k != "status"}, self.shop.show)
        status = query.get("status", "all")
        chosen = [hook for hook in self.hooks.values() if status in ("all", hook.status)]
        by = {"id": lambda h: h.number, "title": lambda h: h.name}.get(asked.orderby, lambda h: (h.created, h.number))
        chosen.sort(key=by, reverse=asked.descending)
        rows = chosen[asked.start : asked.start + asked.per_page]
        return [self._show(hook) for hook in rows], page_headers(asked, len(chosen), url, pairs)

    def _one(self, number: int) -> _Hook:
        if number not in self.hooks:
            raise Problem(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
        return self.hooks[number]

    def _create(self, body: Body) -> Body:
        lacking = [name for name in ("topic", "delivery_url") if name not in body]
        if lacking:
            data = {"status": 400, "params": lacking}
            raise Problem(400, "rest_missing_callback_param", f"Missing parameter(s): {', '.join(lacking)}", data)
        topic = _topic(body["topic"], "Webhook topic is required and must be valid.")
        self._next += 1
        hook = _Hook(
            self._next,
            str(body.get("name") or f"Webhook created on {self.shop.show.local(self.shop.now)}"),
            topic,
            _url(body["delivery_url"]),
            str(body.get("secret") or self._dice.word(50)),
            self.shop.now,
        )
        self.hooks[hook.number] = hook
        shown = self._show(hook)
        hook.modified = self.shop.now
        headers = {
            "User-Agent": self._agent,
            "Accept": "*/*",
            "Connection": "close",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        ping = WebhookRequestOut(hook.number, hook.url, "", headers, f"webhook_id={hook.number}".encode())
        self._pings.append(ping)
        return shown

    def _update(self, number: int, body: Body) -> Body:
        hook = self._one(int(body.get("id") or number))
        topic = _topic(body["topic"], "Webhook topic must be valid.") if body.get("topic") else hook.topic
        url = _url(body["delivery_url"]) if body.get("delivery_url") else hook.url
        status = body.get("status") or hook.status
        if status not in _STATUSES:
            words = "status is not one of active, paused, and disabled."
            raise Problem.parameter("status", words, "rest_not_in_enum")
        hook.topic, hook.url, hook.status, hook.modified = topic, url, status, self.shop.now
        hook.name = str(body.get("name") or hook.name)
        hook.secret = str(body.get("secret") or hook.secret)
        return self._show(hook)

    def _delete(self, number: int, query: dict[str, str]) -> Body:
        if query.get("force", "").lower() not in ("true", "1"):
            raise Problem(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
        hook = self._one(number)
        del self.hooks[number]
        return self._show(hook)

    def _batch(self, body: Body) -> Body:
        done: Body = {}
        for kind, one in (("create", self._create), ("update", lambda row: self._update(0, row))):
            for row in body.get(kind) or ():
                try:
                    done.setdefault(kind, []).append(one(row))
                except Problem as problem:
                    done.setdefault(kind, []).append({"id": row.get("id", 0), "error": problem.body})
        for number in body.get("delete") or ():
            try:
                done.setdefault("delete", []).append(self._delete(int(number), {"force": "true"}))
            except Problem as problem:
                done.setdefault("delete", []).append({"id": number, "error": problem.body})
        return done

    def _show(self, hook: _Hook) -> Body:
        """As recorded: the secret is never shown."""
        show = self.shop.show
        resource, _, event = hook.topic.partition(".")
        return {
            "id": hook.number,
            "name": hook.name,
            "status": hook.status,
            "topic": hook.topic,
            "resource": resource,
            "event": event,
            "hooks": _ACTIONS.get(hook.topic, []),
            "delivery_url": hook.url,
            "date_created": show.local(hook.created),
            "date_created_gmt": show.gmt(hook.created),
            "date_modified": None if hook.modified is None else show.local(hook.modified),
            "date_modified_gmt": None if hook.modified is None else show.gmt(hook.modified),
            "_links": show.links(f"/webhooks/{hook.number}", "/webhooks"),
        }


def _topic(value: Any, words: str) -> str:
    resource, dot, event = str(value).lower().partition(".")
    if not dot or (resource != "action" and (resource not in _RESOURCES or event not in _EVENTS)):
        raise Problem(400, "woocommerce_rest_shop_webhook_invalid_topic", words)
    return f"{resource}.{event}"


def _url(value: Any) -> str:
    if not str(value).startswith(("http://", "https://")):
        words = "Webhook delivery URL must be a valid URL starting with http:// or https://."
        raise Problem(400, "woocommerce_rest_shop_webhook_invalid_delivery_url", words)
    return str(value)


class HookedWrites(Writes):
    """Writes that webhooks see."""

    def __init__(self, shop: WooCommerceSandbox, hooks: Webhooks) -> None:
        super().__init__(shop)
        self._goods = _HookedGoods(shop, hooks)
        self._hooks = hooks
        self._later: list[tuple[str, str, int]] = []

    def find(self, method: str, steps: list[str]) -> Handler | None:
        """Also what manages the webhooks themselves."""
        return self._hooks.writer(method, steps) or super().find(method, steps)

    def create_order(self, body: Body) -> Answer:
        """order.created, and order.updated when it is paid or changes its state on the way."""
        answer, number = self._followed(lambda: Writes.create_order(self, body))
        self._hooks.saw("order", "created", number)
        if answer[1]["status"] != "pending":
            self._hooks.saw("order", "updated", number)
        self._tell()
        return answer

    def update_order(self, number: int, body: Body) -> Answer:
        """order.updated."""
        answer, _ = self._followed(lambda: Writes.update_order(self, number, body))
        self._hooks.saw("order", "updated", number)
        self._tell()
        return answer

    def delete_order(self, number: int, query: dict[str, str]) -> Answer:
        """order.deleted for the trash; version 7.9 says product.deleted before."""
        answer = super().delete_order(number, query)
        if number in self._shop.orders:
            if not self._shop.show.modern:
                self._hooks.saw("product", "deleted", number)
            self._hooks.saw("order", "deleted", number)
        return answer

    def create_refund(self, number: int, body: Body) -> Answer:
        """order.updated, and product.updated for what goes back on the shelf."""
        answer, _ = self._followed(lambda: Writes.create_refund(self, number, body))
        self._hooks.saw("order", "updated", number)
        self._tell()
        return answer

    def _followed(self, write: Callable[[], Answer]) -> tuple[Answer, int]:
        """The order's own events stand before those of its products."""
        with self._hooks.held_back() as later:
            answer = write()
        self._later = later
        return answer, int(answer[1]["id"])

    def _tell(self) -> None:
        for resource, event, number in self._later:
            self._hooks.saw(resource, event, number)


class _HookedGoods(GoodsWrites):
    """Writes of products and customers that webhooks see."""

    def __init__(self, shop: WooCommerceSandbox, hooks: Webhooks) -> None:
        super().__init__(shop)
        self._hooks = hooks

    def touch(self, product: Product) -> None:
        """product.updated, of a variation alone: its product is not told of (observed)."""
        super().touch(product)
        self._hooks.saw("product", "updated", product.id)

    def create_product(self, body: Body, parent: int, *, checked: bool = True) -> Answer:
        """product.created."""
        with self._hooks.held_back():
            answer = super().create_product(body, parent, checked=checked)
        self._hooks.saw("product", "created", int(answer[1]["id"]))
        return answer

    def delete_product(self, number: int, query: dict[str, str]) -> Answer:
        """product.deleted for the trash."""
        with self._hooks.held_back():
            answer = super().delete_product(number, query)
        if number in self._shop.products:
            self._hooks.saw("product", "deleted", number)
        return answer

    def create_customer(self, body: Body) -> Answer:
        """customer.created."""
        answer = super().create_customer(body)
        self._hooks.saw("customer", "created", int(answer[1]["id"]))
        return answer

    def update_customer(self, number: int, body: Body) -> Answer:
        """customer.updated."""
        answer = super().update_customer(number, body)
        self._hooks.saw("customer", "updated", number)
        return answer

    def delete_customer(self, number: int, query: dict[str, str]) -> Answer:
        """customer.deleted."""
        answer = super().delete_customer(number, query)
        self._hooks.saw("customer", "deleted", number)
        return answer
