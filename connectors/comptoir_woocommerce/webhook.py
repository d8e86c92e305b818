"""Webhooks of a WooCommerce shop: which ones are authentic, what they hint at, and keeping them switched on.

What shops of version 7.9.0 and 11.0.1 were observed to send (tests/data/woocommerce/webhooks):

* `X-WC-Webhook-Signature` is base64(HMAC-SHA256(secret, body)). It covers the body and nothing else: topic, delivery id
  and time stand in headers that anybody can change. So the key by which a repeated webhook is known, and what it hints
  at, are made of the body; the topic only says as what the body is read, and the body must look like it.
* The form post `webhook_id=N` that a shop sends when a webhook is made has no signature and says nothing.
* A deleted record is `{"id": N}`. Version 7.9 sends `product.deleted` for a trashed order too, with the order's id.
* A variation comes as a product with `type` "variation" and its product's `parent_id`.
* The shop never shows a secret again. Which secret a webhook was given is therefore noted in its name, as a digest.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from comptoir.sdk import (
    AuthError,
    CheckItem,
    ComptoirError,
    ConfigError,
    ContractViolation,
    Credentials,
    EntityName,
    Hint,
    RecordRejected,
    WebhookDelivery,
    WebhookRequest,
)
from comptoir_woocommerce.client import WooCommerceClient

__all__ = ["TOPICS", "ensure", "secret_of", "verify"]

#: Topics by entity. A refund comes with its order, which it modifies (observed).
TOPICS: Mapping[EntityName, tuple[str, ...]] = {
    EntityName.ORDER: ("order.created", "order.updated", "order.deleted", "order.restored"),
    EntityName.ITEM: ("product.created", "product.updated", "product.deleted", "product.restored"),
    EntityName.CUSTOMER: ("customer.created", "customer.updated", "customer.deleted"),
}
_ENTITIES = {"order": EntityName.ORDER, "product": EntityName.ITEM, "customer": EntityName.CUSTOMER}
#: Fields that every whole record of a resource has, and no other resource's.
_MARKS = {"order": ("line_items", "currency"), "product": ("sku", "type"), "customer": ("email", "role")}
_TOPIC = re.compile(r"[a-z_]{1,40}\.[a-z_]{1,40}")
_PING = re.compile(rb"webhook_id=[0-9]{1,20}")
_PAGE_ROWS = 100
_MOST_PAGES = 20

Mode = Literal["look", "repair", "renew"]


# -- receiving ---------------------------------------------------------------------------------------------------


def secret_of(credentials: Credentials, connection: str) -> str:
    """The shop's webhook secret; ConfigError when the connection holds none."""
    secret = credentials.extra.get("webhook_secret")
    if not isinstance(secret, str) or not secret.strip():
        raise ConfigError(
            f"{connection}: the connection holds no webhook secret, so no webhook of this shop is taken",
            hint='Put it into the extra of the connection: {"webhook_secret": "..."}, a random text of 32 characters '
            "or more. The webhooks in the shop must have the same.",
            connection=connection,
            field="webhook_secret",
            code="no_webhook_secret",
        )
    return secret


def verify(request: WebhookRequest, credentials: Credentials, connection: str) -> WebhookDelivery:
    """The hints of an authentic webhook.

    ConfigError without a secret, AuthError when the signature is wrong or missing, RecordRejected when the body is not
    what the topic says.
    """
    signature = request.headers.get("x-wc-webhook-signature")
    if signature is None:
        # Believed without a signature because nothing follows from it: it brings no hint.
        if "x-wc-webhook-topic" not in request.headers and _PING.fullmatch(request.body):
            return WebhookDelivery("ping", ())
        raise AuthError(f"{connection}: a webhook without a signature", connection=connection)
    digest = hmac.digest(secret_of(credentials, connection).encode(), request.body, "sha256")
    if not hmac.compare_digest(base64.b64encode(digest), signature.encode(errors="replace")):
        raise AuthError(
            f"{connection}: a webhook whose signature is wrong",
            hint="The secret of this webhook in the shop differs from the one in the connection, or it is not from "
            "the shop. `comptoir webhooks --repair` gives the shop's webhooks our secret.",
            connection=connection,
        )
    resource, _, event = _topic(request, connection).partition(".")
    if resource not in _ENTITIES:
        return WebhookDelivery(f"{resource}:{_digest(request.body)}", ())
    record = _record(request.body, resource, event, connection)
    if record is None:
        return WebhookDelivery(f"{resource}:{_digest(request.body)}", ())
    return WebhookDelivery(
        f"{resource}:{_digest(request.body)}", (_hint(record, resource, event),), _gmt(record.get("date_modified_gmt"))
    )


def _topic(request: WebhookRequest, connection: str) -> str:
    topic = request.headers.get("x-wc-webhook-topic", "")
    if not _TOPIC.fullmatch(topic):
        raise RecordRejected(f"{connection}: a signed webhook without a topic", connection=connection)
    return topic


def _record(body: bytes, resource: str, event: str, connection: str) -> Mapping[str, Any] | None:
    """The record; None for the REST interface's error, sent when the record has gone before its webhook was made."""
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError:
        record = None
    number = record.get("id") if isinstance(record, dict) else None
    if isinstance(record, dict) and isinstance(number, int) and not isinstance(number, bool) and number > 0:
        # A deletion holds the id alone; anything else shows what it is, whatever its topic says.
        if event == "deleted" or all(mark in record for mark in _MARKS[resource]):
            return record
        number = str(number)
    if isinstance(record, dict) and isinstance(record.get("code"), str) and "message" in record:
        return None
    raise RecordRejected(
        f"{connection}: the body of a signed {resource}.{event} webhook is no {resource}",
        hint="Set the webhook's API version to `WP REST API Integration v3`, or let `comptoir webhooks --repair` make "
        "it anew.",
        connection=connection,
        record=number if isinstance(number, str) else None,
    )


def _hint(record: Mapping[str, Any], resource: str, event: str) -> Hint:
    whole = all(mark in record for mark in _MARKS[resource])
    number = record["id"]
    if resource == "product" and record.get("type") == "variation" and isinstance(record.get("parent_id"), int):
        # Variations are read with their product.
        number = record["parent_id"] or number
    kind: Literal["created", "updated", "deleted"] = "updated"
    if event == "deleted" and not whole:
        kind = "deleted"
    elif event == "created":
        kind = "created"
    return Hint(_ENTITIES[resource], str(number), kind)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _gmt(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        return None


# -- keeping them switched on --------------------------------------------------------------------------------------


def ensure(
    client: WooCommerceClient,
    credentials: Credentials,
    connection: str,
    url: str,
    entities: Sequence[EntityName],
    mode: Mode = "repair",
) -> list[CheckItem]:
    """One item per topic: what was found and what was done about it.

    Ours are the webhooks that deliver to `url`, and those that carry our mark of connection, topic and secret (they
    were made by this installation when it had another address). No other webhook of the shop is touched.
    """
    secret = secret_of(credentials, connection)
    found = _all(client, connection)
    items = []
    for topic in (topic for entity in TOPICS if entity in entities for topic in TOPICS[entity]):
        name = _name(connection, topic, secret)
        ours = [h for h in found if h.get("topic") == topic and (h.get("delivery_url") == url or h.get("name") == name)]
        # Of several the one that works is looked after; what the others send as well is known by its content.
        ours.sort(key=lambda hook: (hook.get("delivery_url") != url, hook.get("status") != "active", hook["id"]))
        wanted = {"name": name, "topic": topic, "delivery_url": url, "secret": secret, "status": "active"}
        try:
            items.append(_one(client, ours[0] if ours else None, wanted, mode))
        except ComptoirError as error:
            items.append(CheckItem.failed(f"webhook {topic}", error))
    return items


def _one(client: WooCommerceClient, hook: Mapping[str, Any] | None, wanted: Mapping[str, str], mode: Mode) -> CheckItem:
    label = f"webhook {wanted['topic']}"
    if hook is None:
        if mode == "look":
            return CheckItem(label, False, "the shop has none for us", "Make it: comptoir webhooks --repair")
        made = _answered(client.post("/webhooks", wanted))
        return CheckItem(label, True, f"was missing; made as number {made.get('id')}", mended=True)
    wrong = _faults(hook, wanted)
    if hook.get("status") == "paused" and mode != "renew":
        return CheckItem(
            label,
            False,
            f"number {hook['id']} was paused by somebody in the shop",
            "Set it to active there, or: comptoir webhooks --repair",
        )
    if not wrong and mode != "renew":
        return CheckItem(label, True, f"number {hook['id']} is active")
    what = f"number {hook['id']} {' and '.join(wrong) or 'stands'}"
    if mode == "look":
        return CheckItem(label, False, what, "Mend it: comptoir webhooks --repair")
    answer = _answered(client.post(f"/webhooks/{hook['id']}", wanted))
    left = _faults(answer, wanted)
    if left:
        return CheckItem(label, False, f"{what}; the shop took the correction, but it {' and '.join(left)} still")
    return CheckItem(label, True, f"{what}; {'mended' if wrong else 'set again'}", mended=True)


def _faults(hook: Mapping[str, Any], wanted: Mapping[str, str]) -> list[str]:
    wrong = []
    if hook.get("status") != "active":
        wrong.append(f"is {hook.get('status')}")
    if hook.get("delivery_url") != wanted["delivery_url"]:
        wrong.append("delivers to another address")
    if hook.get("name") != wanted["name"]:
        wrong.append("does not carry our mark (its secret may be another)")
    return wrong


def _name(connection: str, topic: str, secret: str) -> str:
    """The name in the shop's list. Its end tells one secret from another without telling the secret."""
    mark = hmac.digest(secret.encode(), b"comptoir webhook name", "sha256")[:5].hex()
    return f"Comptoir {connection} {topic} {mark}"


def _answered(answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
        raise ContractViolation("the shop took the webhook but did not answer with it")
    return answer


def _all(client: WooCommerceClient, connection: str) -> list[Mapping[str, Any]]:
    """All webhooks of the shop, whoever made them."""
    found: dict[int, Mapping[str, Any]] = {}
    for page in range(1, _MOST_PAGES + 1):
        body, _ = client.get(
            "/webhooks", {"per_page": str(_PAGE_ROWS), "page": str(page), "orderby": "id", "order": "asc"}
        )
        if not isinstance(body, list) or not all(isinstance(r, dict) and isinstance(r.get("id"), int) for r in body):
            raise ContractViolation(
                f"{connection}: the shop gives no list of webhooks", connection=connection, code="no_webhook_list"
            )
        before = len(found)
        found.update({row["id"]: row for row in body})
        if len(body) < _PAGE_ROWS:
            return list(found.values())
        if len(found) == before:
            break
    raise ContractViolation(
        f"{connection}: the shop's list of webhooks does not end",
        hint="Delete the webhooks that nobody needs in WooCommerce > Settings > Advanced > Webhooks.",
        connection=connection,
        code="no_webhook_list",
    )
