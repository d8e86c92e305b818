"""K30 to K40: a record that is made is made once, whole, and its fate is said."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from comptoir.sdk import EntityName, OutcomeUnknown, PushResult
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.kit import ConnectorKit
from comptoir.testing.conformance.rules import NotDeclared, Subject, demand, rule
from comptoir.testing.conformance.subjects import changed, over_http, probed, pushed, whole
from comptoir.testing.hostile import lost_after, lost_before

__all__ = ["AMOUNTS", "LARGE", "ODD", "demand_reported", "encodes", "text_of"]

#: More than this a target may be unable to hold; then it is to be refused.
LARGE = Decimal(1_000_000)
#: Amounts that change when they pass through a float, or through int(x * 100).
AMOUNTS = (Decimal("4.35"), Decimal("1.10"), Decimal("8.41"), Decimal("33333333.33"), Decimal("0.29"))
_WITH_AMOUNT = (EntityName.ITEM, EntityName.ORDER, EntityName.REFUND, EntityName.JOURNAL_ENTRY)
#: Text of the sort that people write, and that no old charset knows.
ODD = "Zoë Łuczak — 東京 🧺 №1"


def _taken(result: PushResult) -> bool:
    return result.outcome in ("accepted", "written")


def demand_reported(result: Any, what: str) -> None:
    """A refusal or a remark: that it is said, with a reason that a person can use."""
    demand(result.reason, f"{what}: the result is `{result.outcome}` without a reason")


@rule(
    "K30",
    "push-says-what-became-of-each",
    says="A push gives one result for each op; what was taken stands at the target, under the id that is said.",
    do="Return a PushResult for each delivery_id, in any order, with the target's external_id when it is known.",
    of=pushed,
)
def _push_results(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    records = [bench.record(entity, n) for n in range(1, 4)]
    demand(len({r.natural_key for r in records}) == 3, "the kit's records have the same natural key")
    results = bench.push(bench.batch(entity, *records))
    for record in records:
        result = results[record.natural_key]
        demand(_taken(result), f"{record.natural_key} is a good record and is {result.outcome}: {result.reason}")
        found = bench.kit.stored(entity, record.natural_key)
        demand(
            len(found) == 1, f"{record.natural_key} was {result.outcome} and stands {len(found)} times at the target"
        )
        said = result.external_id
        demand(result.outcome == "written" or said, f"{record.natural_key} was accepted and has no external_id")
        demand(
            said is None or said == str(found[0].get("id")),
            f"{record.natural_key}: the result says the id {said}, the target has it as {found[0].get('id')}",
        )
    demand(not bench.push(bench.batch(entity)), "a push of nothing has results")


@rule(
    "K31",
    "push-twice-is-once",
    says="The same batch pushed twice, or the same record in another batch, makes one object.",
    do="Ask the target for the natural key before making (or give it an idempotency key); say `accepted` or "
    "`rejected` with the reason for what is there already.",
    of=pushed,
)
def _push_twice(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    record = bench.record(entity)
    batch = bench.batch(entity, record)
    first = bench.push(batch)[record.natural_key]
    demand(_taken(first), f"a good record is {first.outcome}: {first.reason}")
    for again in (batch, bench.batch(entity, record)):
        bench.clock.advance(bench.manifest.read_lag_seconds + 60)
        result = bench.push(again)[record.natural_key]
        demand(_taken(result) or result.reason, "the second push is rejected without a reason")
        count = len(bench.kit.stored(entity, record.natural_key))
        demand(count == 1, f"{record.natural_key} was pushed twice and stands {count} times at the target")
        if _taken(result):
            demand(result.external_id in (None, first.external_id), "the second push says another external_id")


@rule(
    "K32",
    "lost-answer-is-found-again",
    says="A write whose answer is lost raises OutcomeUnknown; then the probe says whether it happened.",
    do="Let OutcomeUnknown through. In probe(), look the natural key up and say present (with its id), absent or "
    "unknown.",
    of=over_http(probed),
)
def _lost_answer(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    for n, fault, happened in ((1, lost_after, True), (2, lost_before, False)):
        record = bench.record(entity, n)
        batch = bench.batch(entity, record)
        bench.hostile.clear()
        bench.hostile.plan(fault, when=bench.kit.is_write, times=1)
        error = bench.error_of(lambda batch=batch: bench.push(batch))  # type: ignore[misc]
        demand(error is not None, "the answer to a write was lost, and the push says what became of it")
        demand(
            isinstance(error, OutcomeUnknown), f"the answer to a write was lost, and it raises {type(error).__name__}"
        )
        sent = [request for request in bench.hostile.sent if bench.kit.is_write(request)]
        demand(len(sent) == 1, f"the answer to a write was lost, and {len(sent)} writes were sent")
        bench.clock.advance(bench.manifest.read_lag_seconds + 60)
        found = bench.probe(batch)[record.natural_key]
        wanted = "present" if happened else "absent"
        demand(
            found.found == wanted,
            f"the lost write has {'' if happened else 'not '}happened, and the probe says {found.found}",
        )
        stored = bench.kit.stored(entity, record.natural_key)
        if happened:
            demand(found.external_id == str(stored[0].get("id")), f"the probe says the id {found.external_id}")
        else:
            demand(_taken(bench.push(batch)[record.natural_key]), "what was absent is pushed again and not taken")
            stored = bench.kit.stored(entity, record.natural_key)
        demand(len(stored) == 1, f"{record.natural_key} stands {len(stored)} times at the target")


def _idempotent(kit: type[ConnectorKit]) -> Iterator[Subject]:
    if kit.connector.manifest.lost_answer == "idempotency_key":
        yield from pushed(kit)


@rule(
    "K33",
    "idempotency-key-holds",
    says="Where the target knows a write by its key, a batch whose answer was lost is sent again and makes one object.",
    do="Send the op's delivery_id as the target's idempotency key.",
    of=over_http(_idempotent),
)
def _idempotency(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    record = bench.record(entity)
    batch = bench.batch(entity, record)
    bench.hostile.plan(lost_after, when=bench.kit.is_write, times=1)
    error = bench.error_of(lambda: bench.push(batch))
    demand(isinstance(error, OutcomeUnknown), f"the answer to a write was lost, and it raises {type(error).__name__}")
    result = bench.push(batch)[record.natural_key]
    demand(_taken(result), f"sent again, it is {result.outcome}: {result.reason}")
    count = len(bench.kit.stored(entity, record.natural_key))
    demand(count == 1, f"sent again after a lost answer, {record.natural_key} stands {count} times at the target")


@rule(
    "K34",
    "probe-only-looks",
    says="A probe writes nothing, knows what is there and says absent of what is not.",
    do="Read by natural key; never say absent when the remote did not answer.",
    of=probed,
)
def _probe_only_looks(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    there, missing = bench.record(entity, 1), bench.record(entity, 2)
    bench.push(bench.batch(entity, there))
    bench.clock.advance(bench.manifest.read_lag_seconds + 60)
    bench.hostile.clear()
    found = bench.probe(bench.batch(entity, there, missing))
    demand(found[there.natural_key].found == "present", f"what is there is probed as {found[there.natural_key].found}")
    demand(
        found[missing.natural_key].found == "absent",
        f"what is not there is probed as {found[missing.natural_key].found}",
    )
    written = [request for request in bench.hostile.sent if bench.kit.is_write(request)]
    demand(not written, f"the probe wrote: {written[:1]!r}")
    demand(not bench.kit.stored(entity, missing.natural_key), "the probe made what it looked for")


@rule(
    "K35",
    "one-refusal-spoils-no-other",
    says="Of a batch with one refused record, the others are taken and the refused one is said with its reason.",
    do="Give a `rejected` result with reason, field and hint for that op; raise only when nothing was done at all.",
    of=pushed,
)
def _partial_failure(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    first, last, bad = bench.record(entity, 1), bench.record(entity, 2), bench.kit.refused(entity)
    results = bench.push(bench.batch(entity, first, bad, last))
    for good in (first, last):
        demand(
            _taken(results[good.natural_key]),
            f"a good record is {results[good.natural_key].outcome} beside a refused one",
        )
        demand(len(bench.kit.stored(entity, good.natural_key)) == 1, "a good record is not at the target")
    refused = results[bad.natural_key]
    demand(refused.outcome == "rejected", f"the target refuses a record, and the result says {refused.outcome}")
    demand_reported(refused, "a refused record")
    demand(refused.field or refused.hint, "a refused record has neither field nor hint: what is a person to do?")
    demand(refused.external_id is None, f"a refused record has the id {refused.external_id}")


@rule(
    "K36",
    "a-full-batch-is-taken",
    says="A batch of as many records as the manifest's batch_size is taken, each record once.",
    do="Lower batch_size to what the remote takes, or split the batch.",
    of=pushed,
)
def _full_batch(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    records = [bench.record(entity, n) for n in range(1, bench.capability(entity).batch_size + 1)]
    results = bench.push(bench.batch(entity, *records))
    refused = [key for key, result in results.items() if not _taken(result)]
    demand(not refused, f"{len(refused)} of {len(records)} good records were refused in one batch")
    for record in (records[0], records[-1]):
        demand(len(bench.kit.stored(entity, record.natural_key)) == 1, f"{record.natural_key} is not there once")


@rule(
    "K37",
    "too-long-is-reported",
    says="A text that is longer than the target keeps is refused or remarked upon; it is never cut in silence. One "
    "that just fits is taken as it is.",
    do="Compare with the manifest's limits.lengths before sending; reject, or shorten and say so in `reason`.",
    of=whole,
)
def _too_long(bench: Bench, subject: Subject) -> None:
    lengths = bench.manifest.limits.lengths
    if not lengths:
        raise NotDeclared("the manifest declares no lengths")
    makers = [s.entity for s in pushed(type(bench.kit))]
    n = 0
    for name, length in lengths.items():
        tried = 0
        for entity in makers:
            for size in (length, length + 1, length + 400):
                n += 1
                record = bench.kit.record(entity, n, {name: text_of(n, size)})
                if record is None:
                    continue
                tried += 1
                result = bench.push(bench.batch(entity, record))[record.natural_key]
                _demand_kept(bench, entity, record.natural_key, result, name, size, length)
        for subject in changed(type(bench.kit)):
            # K47 tries it there.
            tried += bench.kit.change(subject.entity, 1, {name: text_of(1, length)}) is not None
        demand(
            tried, f"limits.lengths.{name}: the kit has it in no record() and no change(), so nobody knows it to hold"
        )


def text_of(n: int, size: int) -> str:
    """Letters that tell where a text was cut, and one text from another."""
    return ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * (size // 26 + 2))[n % 26 : n % 26 + size]


def _demand_kept(
    bench: Bench,
    entity: EntityName,
    key: str,
    result: PushResult,
    name: str,
    size: int,
    length: int,
) -> None:
    what = f"{entity.value}: {name} of {size} characters, where {length} are kept"
    if size <= length:
        demand(_taken(result), f"{what}: rejected: {result.reason}")
    if not _taken(result):
        demand_reported(result, what)
        demand(not bench.kit.stored(entity, key), f"{what}: rejected, and it stands at the target")
        return
    (stored,) = bench.kit.stored(entity, key) or ({},)
    demand(name in stored, f"the kit's stored({entity.value}) says nothing of {name}")
    lines = [stored[name]] if isinstance(stored[name], str) else list(stored[name])
    kept = sum(map(len, lines))
    demand(kept == size or result.reason, f"{what}: {kept} stand at the target, and nothing is said")
    demand(max(map(len, lines), default=0) <= length, f"{what}: {kept} stand at the target")


@rule(
    "K38",
    "strange-characters-are-reported",
    says="A character that the target's charset does not know is refused or remarked upon; others arrive unchanged.",
    do="Encode with the manifest's limits.charset before sending; reject, or replace and say so in `reason`. Never use "
    'errors="ignore" or "replace" without a word.',
    of=pushed,
)
def _strange_characters(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    charset = bench.manifest.limits.charset
    fitting = "".join(c for c in "Café Müller, Œuvre n° 1" if encodes(c, charset))
    for n, text in ((1, fitting), (2, ODD)):
        record = bench.kit.record(entity, n, {"text": text})
        demand(record is not None, f"the kit's record({entity.value}) takes no text, and every record has some")
        assert record is not None
        result = bench.push(bench.batch(entity, record))[record.natural_key]
        if not _taken(result):
            demand(text is not fitting, f"{text!r} fits into {charset} and is rejected: {result.reason}")
            demand_reported(result, f"{text!r} for a target of {charset}")
            continue
        (stored,) = bench.kit.stored(entity, record.natural_key) or ({},)
        kept = stored.get("text")
        demand(kept is not None, f"the kit's stored({entity.value}) says nothing of text")
        demand(kept == text or result.reason, f"{text!r} stands at the target as {kept!r}, and nothing is said")
        demand(
            kept == text or text is not fitting, f"{text!r} fits into {charset} and stands at the target as {kept!r}"
        )


def encodes(character: str, charset: str) -> bool:
    try:
        character.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


@rule(
    "K39",
    "amounts-arrive-exactly",
    says="An amount stands at the target to the last digit, in its currency; what cannot stand so is refused.",
    do="Keep amounts as Decimal or text up to the request; never float(), never int(x * 100). Refuse a currency that "
    'the target cannot hold (limits.currencies = "company").',
    of=pushed,
)
def _amounts(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    for n, amount in enumerate(AMOUNTS, start=1):
        record = bench.kit.record(entity, n, {"amount": amount})
        if record is None:
            demand(entity not in _WITH_AMOUNT, f"the kit's record({entity.value}) takes no amount, and there is one")
            raise NotDeclared(f"records of {entity.value} have no amount")
        result = bench.push(bench.batch(entity, record))[record.natural_key]
        if not _taken(result) and amount > LARGE:
            demand_reported(result, f"an amount of {amount}")
            continue
        demand(_taken(result), f"{amount} is rejected: {result.reason}")
        (stored,) = bench.kit.stored(entity, record.natural_key) or ({},)
        demand("amount" in stored, f"the kit's stored({entity.value}) says nothing of amount")
        demand(Decimal(str(stored["amount"])) == amount, f"{amount} stands at the target as {stored['amount']}")
    if bench.manifest.limits.currencies != "company":
        return
    foreign = bench.kit.record(entity, 20, {"currency": "JPY" if bench.kit.company().currency != "JPY" else "EUR"})
    if foreign is None:
        return
    result = bench.push(bench.batch(entity, foreign))[foreign.natural_key]
    demand(not _taken(result), "an amount in another currency than the company's is taken, and the target has only one")
    demand_reported(result, "an amount in another currency")


@rule(
    "K40",
    "fractions-are-not-cut",
    says="Where the target counts in whole units, a fraction is refused or remarked upon; it is never cut in silence.",
    do="Compare quantities with limits.integer_quantities before sending.",
    of=pushed,
)
def _fractions(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    for n, quantity in ((1, Decimal(3)), (2, Decimal("3.7"))):
        record = bench.kit.record(entity, n, {"quantity": quantity})
        if record is None:
            demand(entity is not EntityName.ORDER, "the kit's record(order) takes no quantity, and there is one")
            raise NotDeclared(f"records of {entity.value} have no quantity")
        result = bench.push(bench.batch(entity, record))[record.natural_key]
        fraction = quantity != quantity.to_integral_value()
        if not _taken(result):
            demand(
                fraction and bench.manifest.limits.integer_quantities,
                f"a quantity of {quantity} is rejected: {result.reason}",
            )
            demand_reported(result, f"a quantity of {quantity}")
            continue
        (stored,) = bench.kit.stored(entity, record.natural_key) or ({},)
        demand("quantity" in stored, f"the kit's stored({entity.value}) says nothing of quantity")
        kept = Decimal(str(stored["quantity"]))
        demand(kept == quantity or result.reason, f"a quantity of {quantity} stands at the target as {kept}, unsaid")
