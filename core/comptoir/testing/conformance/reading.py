"""K10 to K21: records are read whole, in order, resumable, exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

from comptoir.sdk import ContractViolation, EntityName, Page, RawItem, TransientError
from comptoir.testing.conformance.bench import Bench
from comptoir.testing.conformance.kit import ConnectorKit
from comptoir.testing.conformance.rules import NotDeclared, Subject, demand, rule
from comptoir.testing.conformance.subjects import fetched, over_http, pulled
from comptoir.testing.hostile import repeat_answers, status, without_rows

__all__: list[str] = []

_HOUR = 3600.0


def _of(entity: EntityName, items: list[RawItem]) -> list[str]:
    return [item.external_id for item in items if item.entity is entity]


def _several_pages(bench: Bench, entity: EntityName) -> None:
    bench.kit.create_many(entity, 2 * bench.kit.page_rows + 3)
    bench.clock.advance(_HOUR)


def _cursor(kit: type[ConnectorKit]) -> Iterator[Subject]:
    for subject in pulled(kit):
        if kit.connector.manifest.entities[subject.entity].cursor == "modified":
            yield subject


@rule(
    "K10",
    "read-is-whole",
    says="A read gives every record of the remote once, as plain JSON under a text id.",
    do="Read in the order of an id that never changes, to the end that the remote proves; give external_id as str.",
    of=pulled,
)
def _read_is_whole(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    _several_pages(bench, entity)
    allowed = {entity, *bench.capability(entity).brings}
    seen: set[tuple[EntityName, str]] = set()
    for page in bench.pages(entity):
        demand(page.total is None or page.total >= 0, f"a page says total = {page.total}")
        demand(page.as_of is None or page.as_of.tzinfo, "a page's as_of has no zone")
        if page.position is not None:
            json.dumps(page.position)
        for item in page.items:
            name = f"{item.entity} {item.external_id!r}"
            demand(isinstance(item.external_id, str) and item.external_id, f"{name}: the id is no text")
            demand(item.entity in allowed, f"{name} came with {entity.value}, whose `brings` does not name it")
            demand((item.entity, item.external_id) not in seen, f"{name} was given twice, and nothing had changed")
            seen.add((item.entity, item.external_id))
            demand(item.modified_at is None or item.modified_at.tzinfo, f"{name}: modified_at has no zone")
            json.dumps(item.payload)
            if item.parent is not None:
                json.dumps(item.parent)
    found = {number for kind, number in seen if kind is entity}
    wanted = bench.kit.ids(entity)
    demand(wanted, f"the kit made records of {entity.value} and its ids() names none")
    demand(
        not wanted - found,
        f"{len(wanted - found)} of {len(wanted)} records are missing, {min(wanted - found, default='')} first",
    )
    demand(not found - wanted, f"{min(found - wanted, default='')} was given, and the remote has no such record")


@rule(
    "K11",
    "cursor-resumes",
    says="A read that is cut after any page resumes there: nothing is missed, and not all is read again. A failing "
    "page raises; it never ends the read.",
    do="Give each page a `position` that says where the next one starts, and begin at `request.position`.",
    of=pulled,
)
def _cursor_resumes(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    _several_pages(bench, entity)
    pages = list(bench.pages(entity))
    everything = {number for page in pages for number in _of(entity, list(page.items))}
    demand(
        len(pages) > 1,
        f"{len(everything)} records came on one page, and the kit says that a page holds {bench.kit.page_rows}",
    )
    for count in range(1, len(pages)):
        before = list(islice(bench.pages(entity), count))
        given = {number for page in before for number in _of(entity, list(page.items))}
        position = before[-1].position
        demand(position is not None, f"page {count} of {len(pages)} has no position to resume at")
        rest = _of(entity, bench.pull(entity, position=json.loads(json.dumps(position))))
        lost = everything - given - set(rest)
        demand(not lost, f"cut after page {count} and resumed there, {len(lost)} records were never given")
        again = given & set(rest)
        demand(not given or len(again) < len(given), f"resumed after page {count}, everything was read from the top")
    if bench.manifest.transport != "http":
        return
    reading = bench.pages(entity)
    next(reading)
    bench.hostile.plan(status(503))
    error = bench.error_of(lambda: list(reading))
    demand(error is not None, "the second page failed with 503 for ever, and the read ended as if it were whole")


@rule(
    "K12",
    "edit-after-the-cursor-is-seen",
    says="A record that was made before the cursor and edited after it is given by the next read.",
    do="Filter by the date of modification, not of creation or by id; where the remote does not move that date, "
    'declare cursor = "sweep".',
    of=pulled,
)
def _edit_is_seen(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    made = [bench.kit.create(entity) for _ in range(2)]
    bench.clock.advance(_HOUR)
    before = {item.external_id: bench.steady(item) for item in bench.pull(entity) if item.entity is entity}
    demand(made[0] in before, f"{made[0]} was made and is not given")
    cursor = bench.clock.now()
    overlap = bench.capability(entity).overlap_seconds
    bench.clock.advance(2 * overlap + 600)
    bench.kit.edit(entity, made[0])
    bench.clock.advance(_HOUR)
    after = {
        item.external_id: bench.steady(item)
        for item in bench.pull(entity, since=cursor - timedelta(seconds=overlap))
        if item.entity is entity
    }
    demand(made[0] in after, f"{made[0]} was edited after the cursor and is not given")
    demand(after[made[0]] != before[made[0]], f"{made[0]} was edited, and what is given of it is as it was before")


@rule(
    "K13",
    "overlap-makes-no-duplicate",
    says="A record that nobody touched is given with the same id and the same payload each time.",
    do="Name the fields that change by themselves in `volatile`; put no time of reading, counter or order of a set "
    "into a payload.",
    of=pulled,
)
def _overlap_is_steady(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    bench.kit.create_many(entity, 3)
    bench.clock.advance(_HOUR)
    first = {(i.entity, i.external_id): (bench.steady(i), i.parent) for i in bench.pull(entity)}
    bench.clock.advance(_HOUR)
    second = {(i.entity, i.external_id): (bench.steady(i), i.parent) for i in bench.pull(entity)}
    demand(set(first) == set(second), "two reads of a remote that nobody touched give different ids")
    for key, (payload, parent) in first.items():
        again, parent_again = second[key]
        changed = sorted(n for n in {*payload, *again} if payload.get(n) != again.get(n))
        demand(not changed, f"{key[0].value} {key[1]}: {', '.join(changed)} changed between two reads")
        demand(parent == parent_again, f"{key[0].value} {key[1]}: its `parent` changed between two reads")


@rule(
    "K14",
    "dates-have-zones",
    says="Every moment has a zone, and a window is the same whatever zone it is asked in, also in the night when "
    "summer time ends.",
    do="Send bounds and read dates in UTC, or with their offset; never in the remote's local time.",
    of=_cursor,
)
def _dates_have_zones(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    for night in (datetime(2026, 10, 25, tzinfo=UTC), datetime(2027, 3, 28, tzinfo=UTC)):
        bench.clock.set(night - timedelta(hours=3))
        early, late = bench.kit.create(entity), bench.kit.create(entity)
        bench.clock.set(night + timedelta(minutes=30))
        bench.kit.edit(entity, early)
        bench.clock.set(night + timedelta(minutes=90))
        bench.kit.edit(entity, late)
        bench.clock.set(night + timedelta(hours=4))
        # Half past two comes twice that night: asked in local time, the later one lies before this bound.
        for minutes, wanted in ((45, {late}), (15, {early, late})):
            since = night + timedelta(minutes=minutes)
            for zone in (UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9))):
                items = bench.pull(entity, since=since.astimezone(zone))
                missing = wanted - set(_of(entity, items))
                demand(
                    not missing,
                    f"edited after {since.isoformat()} and not given when that moment is asked for as "
                    f"{since.astimezone(zone).isoformat()}",
                )
        for page in bench.pages(entity):
            demand(page.as_of is None or page.as_of.tzinfo, "a page's as_of has no zone")
            for item in page.items:
                moment = item.modified_at
                demand(moment is None or moment.tzinfo, f"{item.external_id}: modified_at has no zone")
                if item.external_id == late and item.entity is entity:
                    demand(moment is not None, f"{late} was edited and has no modified_at: a cursor cannot move")
                    assert moment is not None
                    away = abs((moment - night - timedelta(minutes=90)).total_seconds())
                    demand(
                        away < 2, f"{late} was edited at {night + timedelta(minutes=90)}, and modified_at is {moment}"
                    )


@rule(
    "K15",
    "no-float-is-read",
    says="No number of a record has passed through a float: amounts and quantities are text or whole numbers.",
    do="Take the remote's text; where it sends JSON numbers that nobody maps, name the path in the kit's `floats` "
    "with the reason.",
    of=pulled,
)
def _no_float(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    bench.kit.create_many(entity, 3)
    bench.clock.advance(_HOUR)
    for item in bench.pull(entity):
        for what in (item.payload, item.parent):
            for path in _floats(what, item.entity.value):
                demand(path in bench.kit.floats, f"{path} of {item.external_id} is a float")


def _floats(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, float):
        yield path
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _floats(part, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _floats(part, f"{path}.*")


def _to_its_end(bench: Bench, pages: Iterator[Page]) -> None:
    """Reads the pages, as long as that has an end."""
    for number, _ in enumerate(pages):
        demand(number < 1000 and len(bench.hostile.sent) < 1000, "the read has no end: page after page is asked for")


@rule(
    "K16",
    "repeated-page-is-noticed",
    says="A remote that gives the same page for ever is noticed: the read raises instead of ending or going on.",
    do="Compare each page with those before it, and raise ContractViolation with code repeated_page.",
    of=over_http(pulled),
)
def _repeated_page(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    _several_pages(bench, entity)
    bench.hostile.plan(repeat_answers(), when=lambda request: not bench.kit.is_write(request))
    error = bench.error_of(lambda: _to_its_end(bench, bench.pages(entity)))
    demand(error is not None, "the remote gave its first page each time, and the read ended as if it were whole")
    demand(
        isinstance(error, ContractViolation | TransientError),
        f"it raises {type(error).__name__}, which sends a person to look for another cause",
    )


@rule(
    "K17",
    "moving-list-loses-nothing",
    says="Records that come and go while a list is read take no other record with them.",
    do="Page by an id or a key that never changes; where only positions are understood, let pages overlap and step "
    "back when they do not join.",
    of=pulled,
)
def _moving_list(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    if bench.manifest.transport == "files":
        raise NotDeclared("a file is read as it was at one moment; K91 is about one that changes")
    _several_pages(bench, entity)
    untouched = bench.kit.ids(entity)
    seen: set[str] = set()
    for number, page in enumerate(bench.pages(entity)):
        ids = _of(entity, list(page.items))
        seen.update(ids)
        if number < 2 and ids:
            bench.kit.delete(entity, ids[0])
            untouched.discard(ids[0])
            bench.kit.create(entity)
        demand(number < 100, "the list is read without end")
    lost = untouched - seen
    demand(not lost, f"a record was deleted and one made after each page, and {len(lost)} others were never given")


@rule(
    "K18",
    "withheld-rows-are-noticed",
    says="An empty page where the remote counts more is a failure, not the end of the list.",
    do="Compare what was read with the remote's own count, and raise TransientError when rows are withheld.",
    of=over_http(pulled),
)
def _withheld_rows(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    _several_pages(bench, entity)
    reading = bench.pages(entity)
    first = next(reading)
    if first.total is None:
        raise NotDeclared("the remote does not say how many records there are")
    bench.hostile.plan(without_rows, when=lambda request: not bench.kit.is_write(request))
    error = bench.error_of(lambda: _to_its_end(bench, reading))
    demand(
        error is not None, f"of {first.total} records only the first page came, and the read ended as if it were whole"
    )


@rule(
    "K19",
    "no-more-at-once-than-declared",
    says="A read has no more requests under way than the manifest says, and no threads of its own.",
    do="Do several things at once by ctx.tasks.map_ordered, with a width within pages_in_flight or requests_in_flight.",
    of=pulled,
)
def _width(bench: Bench, subject: Subject) -> None:
    _several_pages(bench, subject.entity)
    bench.pull(subject.entity)
    widest = max(bench.tasks.widths, default=1)
    allowed = max(bench.manifest.pages_in_flight, bench.manifest.requests_in_flight)
    demand(widest <= allowed, f"{widest} things are done at once, and the manifest says {allowed}")


@rule(
    "K20",
    "fetch-is-like-pull",
    says="A single record that is read again is the same as in a whole read.",
    do="Use one function to make the RawItem, with the same parent facts, in pull and in fetch.",
    of=fetched,
)
def _fetch_like_pull(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    bench.kit.create_many(entity, 5)
    bench.clock.advance(_HOUR)
    wanted = sorted(bench.kit.ids(entity))[:3]
    read = {(i.entity, i.external_id): (bench.steady(i), i.parent) for i in bench.pull(entity)}
    found = bench.fetch(entity, [*wanted, wanted[0]])
    ids = _of(entity, found)
    demand(not set(wanted) - set(ids), f"{sorted(set(wanted) - set(ids))[:1]} was asked for and not given")
    for item in found:
        key = (item.entity, item.external_id)
        demand(key in read, f"{item.entity.value} {item.external_id} comes by fetch and not by pull")
        demand(
            read[key] == (bench.steady(item), item.parent),
            f"{item.entity.value} {item.external_id} differs between pull and fetch",
        )


@rule(
    "K21",
    "fetch-leaves-out-what-is-gone",
    says="A record that does not exist any more is left out of a fetch, and the others come.",
    do="Take 404 and 410 for a single record as its absence; never ask for an id that is none of the remote's.",
    of=fetched,
)
def _fetch_gone(bench: Bench, subject: Subject) -> None:
    entity = subject.entity
    gone, kept = bench.kit.create(entity), bench.kit.create(entity)
    bench.kit.delete(entity, gone)
    strange = [gone, "../../users/1", "0 or 1=1", ""]
    found = _of(entity, bench.fetch(entity, [*strange, kept]))
    demand(gone not in found, f"{gone} was deleted and is given")
    demand(kept in found, f"{kept} exists and was not given, because others of the call do not")
    demand(not set(found) & set(strange), "an id that is none was answered with a record")
    paths = [request.url.partition("?")[0] for request in bench.hostile.sent]
    demand(not any(".." in path for path in paths), "an id from outside became a part of a path")
    demand(not _of(entity, bench.fetch(entity, [])), "fetch of nothing gives something")
