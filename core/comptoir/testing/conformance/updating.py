"""K41 to K48: a change of an existing record sets what it says and touches nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from comptoir.sdk import Change, ChangeResult, Updates
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.rules import NotDeclared, Subject, demand, rule
from comptoir.testing.conformance.subjects import changed, over_http, replaced
from comptoir.testing.conformance.writing import AMOUNTS, LARGE, ODD, demand_reported, encodes, text_of

__all__: list[str] = []


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Fields by their dotted path; what stands in a list is one value."""
    for name, part in value.items():
        path = f"{before}{name}"
        if isinstance(part, Mapping):
            yield from _flat(part, f"{path}.")
        else:
            yield path, part


def _one(bench: Bench, subject: Subject, change: Change) -> ChangeResult:
    return bench.update(subject.entity, [change])[change.external_id]


@rule(
    "K41",
    "untouched-fields-stay",
    says="After a change every field that it does not name is as it was, and those that it names have the new value.",
    do="Send only what differs where the remote patches; where it replaces, declare the write_strategy "
    "read-merge-write and send the record back whole. A field that follows by the remote's own rules belongs into the "
    "kit's `follows`.",
    of=changed,
)
def _untouched(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    change = bench.change(entity)
    before = dict(_flat(bench.kit.read(entity, change.external_id) or {}))
    demand(before, f"the kit's read({entity.value}, {change.external_id}) gives nothing")
    bench.clock.advance(600)
    result = _one(bench, subject, change)
    demand(result.outcome == "accepted", f"a good change is {result.outcome}: {result.reason}")
    after = dict(_flat(bench.kit.read(entity, change.external_id) or {}))
    sent = dict(_flat(change.fields))
    volatile = {name for c in bench.manifest.entities.values() for name in c.volatile}
    may_follow = {name for key in {*sent, *change.fields} for name in bench.kit.follows.get(key, ())}
    for path in sorted({*before, *after}):
        known = path in sent or path.partition(".")[0] in volatile
        known = known or any(path == name or path.startswith(f"{name}.") for name in may_follow)
        demand(
            known or before.get(path) == after.get(path),
            f"{path} was {before.get(path)!r} and is {after.get(path)!r}, and the change does not name it",
        )
    moved = [path for path in sent if path in after and before.get(path) != after[path]]
    demand(moved, "the change was accepted, and nothing of it stands at the remote")
    asked = {key for key, value in change.fields.items() if value is not None}
    demand(set(result.shown) <= asked, f"`shown` holds {sorted(set(result.shown) - asked)}, which was not sent")


@rule(
    "K42",
    "change-twice-is-once",
    says="The same change made again is accepted and leaves everything as it is.",
    do="Send absolute values, never differences.",
    of=changed,
)
def _twice(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    change = bench.change(entity)
    first = _one(bench, subject, change)
    before = bench.kit.read(entity, change.external_id)
    second = _one(bench, subject, change)
    demand(first.outcome == second.outcome == "accepted", f"first {first.outcome}, then {second.outcome}")
    after = bench.kit.read(entity, change.external_id)
    follows = {name for names in bench.kit.follows.values() for name in names}
    was, now = dict(_flat(before or {})), dict(_flat(after or {}))
    moved = sorted(path for path in was if was[path] != now.get(path) and path not in follows)
    demand(not moved, f"the same change, made again, moved {', '.join(moved)}")
    demand(first.shown == second.shown, "the same change shows other values the second time")


@rule(
    "K43",
    "gone-is-said",
    says="A change of a record that does not exist any more is `gone`, and the other changes of the call are made.",
    do="Give a ChangeResult with outcome `gone`; never make the record anew.",
    of=changed,
)
def _gone(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    gone, good = bench.change(entity, 1), bench.change(entity, 2)
    bench.kit.delete(entity, gone.external_id)
    results = bench.update(entity, [gone, good])
    demand(
        results[gone.external_id].outcome == "gone",
        f"it is gone, and the result says {results[gone.external_id].outcome}",
    )
    demand(results[good.external_id].outcome == "accepted", "the other change of the call was not made")
    demand(bench.kit.read(entity, gone.external_id) is None, "a record that was deleted is there again")


@rule(
    "K44",
    "one-refused-change-spoils-no-other",
    says="Of a call with one refused change, the others are made and the refused one is said with its reason.",
    do="Judge each element of the remote's answer by itself.",
    of=changed,
)
def _partial(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    first, last, bad = bench.change(entity, 1), bench.change(entity, 2), bench.kit.refused_change(entity)
    before = bench.kit.read(entity, bad.external_id)
    results = bench.update(entity, [first, bad, last])
    for good in (first, last):
        demand(results[good.external_id].outcome == "accepted", "a good change was not made beside a refused one")
    refused = results[bad.external_id]
    demand(refused.outcome == "rejected", f"the remote refuses a change, and the result says {refused.outcome}")
    demand_reported(refused, "a refused change")
    demand(refused.field or refused.hint, "a refused change has neither field nor hint: what is a person to do?")
    demand(bench.kit.read(entity, bad.external_id) == before, "the refused change was made all the same")


@rule(
    "K45",
    "calls-hold-each-change-once",
    says="calls() puts each change into one call, at most batch_size in each; each call is one write.",
    do="Split by what the remote takes in one request; update() makes one request.",
    of=over_http(changed),
)
def _calls(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    size = bench.capability(entity).batch_size
    changes = [bench.change(entity, n) for n in range(1, size + 3)]
    connector = bench.connector()
    assert isinstance(connector, Updates)
    calls = [list(call) for call in connector.calls(entity, changes)]
    demand(max(map(len, calls)) <= size, f"a call holds {max(map(len, calls))} changes, and batch_size is {size}")
    placed = sorted(change.external_id for call in calls for change in call)
    demand(placed == sorted(change.external_id for change in changes), "a change is in no call, or in two")
    demand(not list(connector.calls(entity, [])), "no changes make a call")
    bench.hostile.clear()
    for call in calls:
        for result in connector.update(entity, call):
            demand(result.outcome == "accepted", f"a good change is {result.outcome}: {result.reason}")
    count = len([request for request in bench.hostile.sent if bench.kit.is_write(request)])
    demand(count == len(calls), f"{len(calls)} calls made {count} writes")


@rule(
    "K46",
    "changed-amounts-arrive-exactly",
    says="A changed amount stands at the remote to the last digit; a fraction that it cannot count is refused or "
    "remarked upon, never cut.",
    do="Keep amounts as Decimal or text up to the request; compare quantities with limits.integer_quantities.",
    of=changed,
)
def _amounts(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    tried = 0
    wanted = [("amount", amount) for amount in AMOUNTS]
    wanted += [("quantity", Decimal(12)), ("quantity", Decimal("3.7"))]
    for n, (what, value) in enumerate(wanted, start=1):
        change = bench.kit.change(entity, n, {what: value})
        if change is None:
            continue
        tried += 1
        result = _one(bench, subject, change)
        if result.outcome != "accepted":
            fraction = what == "quantity" and value != value.to_integral_value()
            allowed = (fraction and bench.manifest.limits.integer_quantities) or value > LARGE
            demand(allowed, f"{what} {value} is rejected: {result.reason}")
            demand_reported(result, f"{what} {value}")
            continue
        kept = Decimal(str(bench.kit.shown(entity, change.external_id, what)))
        demand(kept == value or result.reason, f"{what} {value} stands at the remote as {kept}, and nothing is said")
    if not tried:
        raise NotDeclared(f"changes of {entity.value} have no numbers")


@rule(
    "K47",
    "changed-texts-arrive-whole",
    says="A changed text stands at the remote as it was sent, or what does not fit is refused or remarked upon.",
    do="Compare with limits.lengths and limits.charset before sending.",
    of=changed,
)
def _texts(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    limits = bench.manifest.limits
    fitting = "".join(c for c in "Café Müller, n° 1" if encodes(c, limits.charset))
    wanted = [("text", fitting, True), ("text", ODD, all(encodes(c, limits.charset) for c in ODD))]
    for name, length in limits.lengths.items():
        wanted += [(name, text_of(3, length), True), (name, text_of(4, length + 40), False)]
    tried = 0
    for n, (what, value, fits) in enumerate(wanted, start=1):
        change = bench.kit.change(entity, n, {what: value})
        if change is None:
            continue
        tried += 1
        result = _one(bench, subject, change)
        if result.outcome != "accepted":
            demand(not fits, f"{what} {value!r} fits and is rejected: {result.reason}")
            demand_reported(result, f"{what} {value!r}")
            continue
        kept = str(bench.kit.shown(entity, change.external_id, what))
        same = kept == value if what == "text" else len(kept) == len(value)
        demand(same or result.reason, f"{what} {value!r} stands at the remote as {kept!r}, and nothing is said")
        demand(same or not fits, f"{what} {value!r} fits, and stands at the remote as {kept!r}")
    if not tried:
        raise NotDeclared(f"changes of {entity.value} have no texts")


@rule(
    "K48",
    "pushed-again-it-is-changed",
    says="A record that exists and is pushed again with action `update` holds the new values.",
    do="Take `update` for what it is in push(), or leave it out of push_actions.",
    of=replaced,
)
def _pushed_again(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    first, second = bench.record(entity, 1, text="Before"), bench.record(entity, 1, text="After it")
    demand(first.natural_key == second.natural_key, "the kit's record() gives another natural key to the same n")
    made = bench.push(bench.batch(entity, first))[first.natural_key]
    demand(made.outcome != "rejected", f"a good record is rejected: {made.reason}")
    bench.clock.advance(bench.manifest.read_lag_seconds + 60)
    batch = bench.batch(entity, second, action="update", external_id=made.external_id)
    result = bench.push(batch)[second.natural_key]
    demand(result.outcome != "rejected", f"a record that exists is pushed again and rejected: {result.reason}")
    stored = bench.kit.stored(entity, second.natural_key)
    demand(stored and stored[-1].get("text") == "After it", f"the text is {stored[-1:]} after it was pushed again")
    demand(result.external_id in (None, made.external_id), f"the update says another id: {result.external_id}")
