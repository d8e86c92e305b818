"""Webhooks of WooCommerce: recorded deliveries verify, anything else is refused; webhooks are made and mended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comptoir.errors import AuthError, ConfigError, RecordRejected
from comptoir.sdk import Credentials, EntityName, Hint, WebhookDelivery, WebhookRequest
from comptoir_woocommerce.webhook import TOPICS, verify

from tests.support.hooks import SECRET, Recorded, all_recorded, recorded, renamed, signed

RECORDED = all_recorded()
CREDENTIALS = Credentials(extra={"webhook_secret": SECRET})
MOMENT = RECORDED[0].received_at


def verified(delivery: Recorded) -> WebhookDelivery:
    return verify(WebhookRequest(delivery.headers, delivery.body, MOMENT), CREDENTIALS, "boutique")


def of_body(body: Any, topic: str, **headers: str) -> WebhookDelivery:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return verify(WebhookRequest(signed(data, topic, **headers), data, MOMENT), CREDENTIALS, "boutique")


# -- what real shops sent ------------------------------------------------------------------------------------------


def test_the_recordings_are_there() -> None:
    assert len(RECORDED) == 21
    assert {d.topic.partition(".")[0] for d in RECORDED} == {"", "order", "product", "customer"}


@pytest.mark.parametrize("delivery", [d for d in RECORDED if d.topic], ids=lambda d: d.name)
def test_a_recorded_delivery_gives_the_hint_of_its_record(delivery: Recorded) -> None:
    found = verified(delivery)
    resource, event = delivery.topic.split(".")
    record = json.loads(delivery.body)
    entity = {"order": EntityName.ORDER, "product": EntityName.ITEM, "customer": EntityName.CUSTOMER}[resource]
    number = record["parent_id"] if record.get("type") == "variation" else record["id"]
    assert list(found.hints) == [Hint(entity, str(number), event)]  # type: ignore[arg-type]
    if event == "deleted":
        assert found.sent_at is None
    else:
        assert found.sent_at is not None
        assert f"{found.sent_at:%Y-%m-%dT%H:%M:%S}" == record["date_modified_gmt"]


@pytest.mark.parametrize("name", ["wc-11.0.1-ping-1", "wc-7.9.0-ping-1"])
def test_the_creation_ping_is_taken_and_brings_nothing(name: str) -> None:
    assert not verified(recorded(name)).hints


def test_two_topics_of_one_signed_body_are_the_same_event() -> None:
    """The topic is not signed: who repeats a body under another topic of the resource brings nothing new."""
    made, changed = recorded("wc-11.0.1-order.created-1"), recorded("wc-11.0.1-order.updated-1")
    assert made.body == changed.body
    assert verified(made).dedupe_key == verified(changed).dedupe_key


def test_equal_deletions_of_two_resources_are_two_events() -> None:
    """Version 7.9 sends product.deleted with an order's id, so the order's own deletion must not be taken for it."""
    body = recorded("wc-7.9.0-order.deleted-1").body
    assert of_body(body, "order.deleted").dedupe_key != of_body(body, "product.deleted").dedupe_key


def test_no_part_of_a_record_is_in_what_is_kept() -> None:
    found = verified(recorded("wc-11.0.1-customer.created-1"))
    assert repr(found).count("@") == 0
    assert "Zo" not in repr(found)
    assert "Lef" not in repr(found)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", [d for d in RECORDED if d.topic], ids=lambda d: d.name)
def test_a_changed_body_is_refused(delivery: Recorded) -> None:
    forged = Recorded(delivery.name, delivery.headers, delivery.body + b" ", MOMENT, delivery.secret)
    with pytest.raises(AuthError, match="signature is wrong"):
        verified(forged)


@pytest.mark.parametrize(
    "signature", ["", "AAAA", "é", "VQdcEjKC90bDM9SiSeOcmYyRO6oADa8zQMDE/RQeER8", " ", "=" * 44, "\udce9"]
)
def test_a_wrong_signature_is_refused(signature: str) -> None:
    delivery = renamed(recorded("wc-11.0.1-order.created-1"), **{"x-wc-webhook-signature": signature})
    with pytest.raises(AuthError):
        verified(delivery)


def test_a_signature_with_another_secret_is_refused() -> None:
    body = recorded("wc-11.0.1-order.created-1").body
    headers = signed(body, "order.created", secret="another-secret-of-somebody")
    with pytest.raises(AuthError):
        verify(WebhookRequest(headers, body, MOMENT), CREDENTIALS, "boutique")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-wc-webhook-topic": "order.created"}, b"webhook_id=1"),
        ({}, b'{"id": 28}'),
        ({}, b"webhook_id=1&id=28"),
        ({}, b"webhook_id="),
        ({}, b""),
    ],
)
def test_nothing_else_is_believed_without_a_signature(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(AuthError, match="without a signature"):
        verify(WebhookRequest(headers, body, MOMENT), CREDENTIALS, "boutique")


@pytest.mark.parametrize("extra", [{}, {"webhook_secret": ""}, {"webhook_secret": "  "}, {"webhook_secret": 5}])
def test_without_a_secret_no_webhook_is_taken(extra: dict[str, Any]) -> None:
    delivery = recorded("wc-11.0.1-order.created-1")
    with pytest.raises(ConfigError, match="no webhook secret") as caught:
        verify(WebhookRequest(delivery.headers, delivery.body, MOMENT), Credentials(extra=extra), "boutique")
    assert not isinstance(caught.value, AuthError)
    assert "webhook_secret" in str(caught.value.hint)


def test_an_empty_secret_is_not_a_key_that_anybody_could_use() -> None:
    body = b'{"id": 1}'
    with pytest.raises(ConfigError):
        verify(
            WebhookRequest(signed(body, "order.deleted", secret=""), body, MOMENT),
            Credentials(extra={"webhook_secret": ""}),
            "boutique",
        )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"28", b"{", b'{"id": 28', b'{"id": "28"}', b'{"id": true}', b'{"id": 0}', b'{"id": -1}',
        b'{"id": 1.5}', b'{"id": null}', b"\xff\xfe", b'{"id":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=lambda b: repr(b[:12]),
)  # fmt: skip
@pytest.mark.parametrize("topic", ["order.updated", "product.deleted"])
def test_a_signed_body_that_is_no_record_is_refused(body: bytes, topic: str) -> None:
    with pytest.raises(RecordRejected):
        of_body(body, topic)


def test_a_record_under_the_topic_of_another_resource_is_refused() -> None:
    product = recorded("wc-11.0.1-product.updated-1").body
    for topic in ("order.updated", "customer.created"):
        with pytest.raises(RecordRejected, match="API version"):
            try:
                of_body(product, topic)
            except RecordRejected as error:
                raise RecordRejected(str(error.hint)) from None


@pytest.mark.parametrize("topic", ["", "order", "order.", ".created", "ORDER.created", "order.created\n", "a" * 99])
def test_a_topic_that_is_none_is_refused(topic: str) -> None:
    with pytest.raises(RecordRejected, match="without a topic"):
        of_body({"id": 28}, topic)


@pytest.mark.parametrize("topic", ["coupon.created", "coupon.deleted", "action.woocommerce_add_to_cart"])
def test_topics_that_nobody_needs_bring_nothing(topic: str) -> None:
    assert not of_body({"id": 4}, topic).hints


def test_a_whole_record_under_a_deleted_topic_is_a_change() -> None:
    """The topic is not signed, so a body is believed before it."""
    found = of_body(recorded("wc-11.0.1-order.updated-1").body, "order.deleted")
    assert list(found.hints) == [Hint(EntityName.ORDER, "28", "updated")]
    assert found.dedupe_key == verified(recorded("wc-11.0.1-order.updated-1")).dedupe_key


def test_restored_is_a_change() -> None:
    found = of_body(recorded("wc-11.0.1-order.updated-1").body, "order.restored")
    assert list(found.hints) == [Hint(EntityName.ORDER, "28", "updated")]


def test_every_topic_that_is_asked_for_is_understood() -> None:
    bodies = {
        "order": recorded("wc-11.0.1-order.updated-1").body,
        "product": recorded("wc-11.0.1-product.updated-1").body,
        "customer": recorded("wc-11.0.1-customer.updated-1").body,
    }
    for entity, topics in TOPICS.items():
        for topic in topics:
            body = b'{"id":5}' if topic.endswith("deleted") else bodies[topic.partition(".")[0]]
            assert [hint.entity for hint in of_body(body, topic).hints] == [entity]
