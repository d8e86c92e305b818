"""K80 to K87: what the remote sends by itself, webhooks and later words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

from comptoir.sdk import (
    Acknowledgement,
    Acknowledges,
    AuthError,
    CheckItem,
    ReceivesWebhooks,
    RecordRejected,
    WebhookDelivery,
    WebhookRequest,
)
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.kit import ConnectorKit
from comptoir.testing.conformance.rules import Broken, Subject, demand, rule
from comptoir.testing.conformance.subjects import acknowledged, whole, with_webhooks

__all__: list[str] = []


def _verify(bench: Bench, request: WebhookRequest) -> WebhookDelivery:
    connector = bench.connector()
    demand(isinstance(connector, ReceivesWebhooks), "the connector has no verify()")
    assert isinstance(connector, ReceivesWebhooks)
    return connector.verify(request)


@rule(
    "K80",
    "right-webhook-is-taken",
    says="A webhook that the remote signed gives hints by which the changed record can be read; verifying asks nobody.",
    do="Verify with the exact bytes of the body; a hint's id is one that fetch() understands.",
    of=with_webhooks,
)
def _right(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    made = bench.kit.create(entity)
    request = bench.kit.webhook(entity, made)
    bench.hostile.clear()
    delivery = _verify(bench, request)
    demand(not bench.hostile.sent, "verify() sent a request: anybody could make the hub send as many")
    demand(delivery.hints, "a webhook about a changed record gives no hint")
    demand(delivery.dedupe_key, "the delivery has no dedupe_key")
    demand(delivery.sent_at is None or delivery.sent_at.tzinfo, "sent_at has no zone")
    for hint in delivery.hints:
        demand(hint.entity in bench.manifest.entities, f"a hint of {hint.entity.value}, which is not declared")
    read = [i for h in delivery.hints if h.entity is entity for i in bench.fetch(entity, [h.external_id])]
    demand(any(item.external_id == made for item in read), f"what is read by the hints is not {made}, which changed")


@rule(
    "K81",
    "forged-webhook-is-refused",
    says="A webhook without signature, with a wrong one, or with another body than was signed raises AuthError.",
    do="Compare with hmac.compare_digest, over the body's bytes, before anything of it is read.",
    of=with_webhooks,
)
def _forged(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    good = bench.kit.webhook(entity, bench.kit.create(entity))
    other = bench.kit.webhook(entity, bench.kit.create(entity))
    name = bench.kit.signature_header.lower()
    demand(name in good.headers, f"the kit's webhook has no header {name}")
    without = {key: value for key, value in good.headers.items() if key != name}
    cases = {
        "without signature": replace(good, headers=without),
        "with an empty signature": replace(good, headers={**without, name: ""}),
        "with the signature of another body": replace(good, headers={**without, name: other.headers[name]}),
        "with a signature that is no text of one": replace(good, headers={**without, name: "é\u2603=="}),
        "with a changed body": replace(good, body=good.body + b" "),
        "with the signature cut": replace(good, headers={**without, name: good.headers[name][:-2]}),
    }
    for what, request in cases.items():
        error = bench.error_of(lambda request=request: _verify(bench, request))  # type: ignore[misc]
        demand(error is not None, f"a webhook {what} is taken")
        demand(isinstance(error, AuthError), f"a webhook {what} raises {type(error).__name__}: {error}")


@rule(
    "K82",
    "replayed-webhook-is-known-again",
    says="The same webhook sent again has the same dedupe_key; another event has another.",
    do="Make the key of what is signed, never of the time of arrival or a header that anybody can change.",
    of=with_webhooks,
)
def _replayed(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    made = bench.kit.create(entity)
    first = bench.kit.webhook(entity, made)
    key = _verify(bench, first).dedupe_key
    bench.clock.advance(3600)
    later = replace(first, received_at=first.received_at + timedelta(hours=1))
    demand(_verify(bench, later).dedupe_key == key, "the same webhook, received an hour later, has another dedupe_key")
    name = bench.kit.signature_header.lower()
    noisy = {k: v if k == name or "topic" in k or "event" in k else f"{v}-again" for k, v in first.headers.items()}
    error = bench.error_of(lambda: _verify(bench, replace(first, headers=noisy)))
    if error is None:
        again = _verify(bench, replace(first, headers=noisy)).dedupe_key
        demand(again == key, "a header that is not signed was changed, and the dedupe_key with it")
    bench.kit.edit(entity, made)
    demand(_verify(bench, bench.kit.webhook(entity, made)).dedupe_key != key, "a later change has the same dedupe_key")


@rule(
    "K83",
    "strange-webhook-body",
    says="A signed body that is none of the remote's raises RecordRejected or has no hints; it breaks no gateway.",
    do="Parse after verifying, and check each field that you use.",
    of=with_webhooks,
)
def _strange(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    good = bench.kit.webhook(entity, bench.kit.create(entity))
    bodies = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"\xff\xfe",
        b'{"id": "../1"}',
        b'{"id": -1}',
        b"[" * 20_000,
        b"1" * 5000,
    ]
    for body in bodies:
        request = bench.kit.signed(body, good)
        found: list[WebhookDelivery] = []
        error = bench.error_of(lambda request=request, found=found: found.append(_verify(bench, request)))  # type: ignore[misc]
        if error is not None:
            demand(isinstance(error, RecordRejected), f"the body {body[:20]!r} raises {type(error).__name__}: {error}")
        else:
            demand(not found[0].hints, f"the body {body[:20]!r} gives a hint")


def _hooked(kit: type[ConnectorKit]) -> list[Subject]:
    return list(whole(kit)) if kit.connector.manifest.webhooks else []


@rule(
    "K84",
    "webhooks-are-kept-up",
    says="ensure_webhooks makes what is missing and says so, and does nothing when all is well; `look` only looks.",
    do="Look for a webhook of ours by its address first; write only when something differs.",
    of=lambda kit: iter(_hooked(kit)),
)
def _kept_up(bench: Bench, subject: Subject) -> None:
    entities = [s.entity for s in with_webhooks(type(bench.kit))]

    def ensure(mode: Literal["look", "repair", "renew"]) -> tuple[list[CheckItem], int]:
        connector = bench.connector()
        assert isinstance(connector, ReceivesWebhooks)
        bench.hostile.clear()
        items = list(connector.ensure_webhooks(bench.kit.webhook_address(), entities, mode))
        return items, len([r for r in bench.hostile.sent if bench.kit.is_write(r)])

    items, writes = ensure("look")
    demand(items and not all(item.ok for item in items), "no webhook is there, and `look` says that all is well")
    demand(not writes, f"`look` made {writes} writes")
    items, writes = ensure("repair")
    demand(writes and all(item.ok for item in items), "`repair` did not make what is missing")
    demand(any(item.mended for item in items), "`repair` made webhooks, and no item says mended")
    items, writes = ensure("look")
    demand(all(item.ok for item in items), "what `repair` made is not what `look` wants to see")
    items, writes = ensure("repair")
    demand(not writes, f"all is well, and `repair` made {writes} writes")


def _said(bench: Bench, *, file_away: bool) -> list[Acknowledgement]:
    connector = bench.connector()
    if not isinstance(connector, Acknowledges):
        raise Broken("the connector has no acknowledgements()")
    words: list[Acknowledgement] = []
    for report, acks in connector.acknowledgements():
        words += acks
        if file_away:
            connector.acknowledged(report)
    return words


@rule(
    "K86",
    "later-words-are-heard",
    says="What the target says later of a written record is told until it is filed away, and then not again.",
    do="Yield each report's words; move nothing before acknowledged() is called.",
    of=acknowledged,
)
def _later_words(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    good, bad = bench.record(entity, 1), bench.record(entity, 2)
    bench.push(bench.batch(entity, good, bad))
    demand(not _said(bench, file_away=False), "the target has not spoken, and there are words of it")
    bench.clock.advance(600)
    bench.kit.answer(entity, good.natural_key, None)
    bench.kit.answer(entity, bad.natural_key, "unknown account")
    bench.clock.advance(600)
    for turn in ("first", "second (after a crash; it was not filed away)"):
        words = {w.natural_key: w for w in _said(bench, file_away=False) if w.entity is entity}
        missing = {bad.natural_key} - set(words)
        demand(not missing, f"read for the {turn} time, the refusal is not told")
        demand(words[bad.natural_key].outcome == "rejected", "a refusal is told as accepted")
        demand(words[bad.natural_key].reason, "a refusal is told without its reason")
        told = words.get(good.natural_key)
        demand(told is None or told.outcome == "accepted", "what was taken is told as refused")
    _said(bench, file_away=True)
    demand(not _said(bench, file_away=False), "words that were filed away are told again")


@rule(
    "K87",
    "refused-may-come-again",
    says="A record that the target refused later is taken when it comes again, corrected.",
    do="Forget a refused record when its report is filed away.",
    of=acknowledged,
)
def _may_come_again(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    record = bench.record(entity, 1)
    bench.push(bench.batch(entity, record))
    bench.clock.advance(600)
    bench.kit.answer(entity, record.natural_key, "unknown account")
    bench.clock.advance(600)
    _said(bench, file_away=True)
    batch = bench.batch(entity, record)
    corrected = replace(batch, ops=[replace(op, content_hash=f"{op.content_hash} corrected") for op in batch.ops])
    result = bench.push(corrected)[record.natural_key]
    demand(result.outcome != "rejected", f"refused, corrected and pushed again, it is rejected: {result.reason}")
