"""Twenty thousand items on both sides: which is which, how fast, and how often that is right."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from comptoir.app.bootstrap import open_hub
from comptoir.app.system import SystemClock, SystemIds
from comptoir.domain.matching import Proposal, item_keys, match
from comptoir.engine.counts import RunReport
from comptoir.engine.match import match_records
from comptoir.model.refs import EntityName

from bench.catalogues import KINDS, Catalogues, Entry
from bench.measure import Cost, Differs, alternate, goal, median, table
from bench.stock import BackOffice
from bench.store import Server

__all__ = ["run"]

_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class _Found:
    """What a contender decided: links, and the candidates of what it left to a person."""

    links: dict[int, int]
    review: dict[int, set[int]]


def run(options: Namespace) -> None:
    """The pure matching, the loop one would write, and the whole with the store, all held against the truth."""
    made = Catalogues(_SIZE)
    results: dict[str, _Found] = {}

    def contender(name: str, work: Callable[[], _Found]) -> Callable[[], Cost]:
        def once() -> Cost:
            clock = SystemClock()
            wall, cpu = clock.monotonic(), os.times()
            results[name] = work()
            after = os.times()
            return Cost(clock.monotonic() - wall, after.user - cpu.user + after.system - cpu.system)

        return once

    contenders = {
        "ours, keys and decisions": contender("ours, keys and decisions", lambda: _ours(made)),
        "a dict by SKU as written": contender("a dict by SKU as written", lambda: _by_sku(made)),
    }
    with tempfile.TemporaryDirectory() as folder, Server.running(Path(folder) / "server") as server:
        stored = _Stored(Path(folder), server, made)
        contenders["ours, from and into the store"] = contender("ours, from and into the store", stored.match)
        costs, _ = alternate(contenders, options.rounds)
    if results["ours, keys and decisions"] != results["ours, from and into the store"]:
        raise Differs("the store gives other links than the pure function")
    _show(made, results, {name: median(found) for name, found in costs.items()})


def _ours(made: Catalogues) -> _Found:
    here = [item_keys(n, e.sku, [e.gtin] if e.gtin else []) for n, e in enumerate(made.here)]
    there = [item_keys(n, e.sku, [e.gtin] if e.gtin else []) for n, e in enumerate(made.there)]
    return _found(match(here, there, kinds=("sku", "gtin")))


def _found(proposals: Sequence[Proposal]) -> _Found:
    links, review = dict[int, int](), dict[int, set[int]]()
    for proposal in proposals:
        targets = [int(str(c.target)) for c in proposal.candidates]
        if proposal.decision == "link":
            links[int(str(proposal.source))] = targets[0]
        elif targets:
            review[int(str(proposal.source))] = set(targets)
    return _Found(links, review)


def _by_sku(made: Catalogues) -> _Found:
    there = {entry.sku: position for position, entry in enumerate(made.there)}
    links = {n: there[entry.sku] for n, entry in enumerate(made.here) if entry.sku in there}
    return _Found(links, {})


class _Stored:
    """The two catalogues as items of two connections in a database."""

    def __init__(self, folder: Path, server: Server, made: Catalogues) -> None:
        self._office = BackOffice(folder, None, server.create())
        self._here = self._insert("gesco", made.here)
        self._there = self._insert("boutique", made.there)

    def _insert(self, connection: str, entries: Sequence[Entry]) -> dict[UUID, int]:
        ids, now = SystemIds(), SystemClock().now()
        rows = {ids.new(): (position, entry) for position, entry in enumerate(entries)}
        with psycopg.connect(self._office.url) as database, database.cursor() as cursor:
            columns = (
                b"id, connection, external_id, sku, gtins, name, kind, state, unit, raw_id, mapping_hash, rev, "
                b"created_at, updated_at"
            )
            with cursor.copy(b"copy item (" + columns + b") from stdin") as copy:
                for number, (position, e) in rows.items():
                    copy.write_row(
                        (number, connection, str(position), e.sku, [e.gtin] if e.gtin else [], e.name, "stock",
                         "active", "piece", number, "bench", 1, now, now)
                    )  # fmt: skip
        return {number: position for number, (position, _) in rows.items()}

    def match(self) -> _Found:
        """Everything is matched anew, as on the first day."""
        os.environ |= self._office.environment()
        with open_hub(self._office.folder / "comptoir.toml") as hub:
            with hub.database.transaction() as session:
                session.execute("truncate record_link")
                session.execute("delete from cursor_position")
            report = RunReport(hub.ports.ids.new(), "items", EntityName.ITEM)
            match_records(hub, hub.routes["items"], EntityName.ITEM, "gesco", "boutique", report)
            with hub.database.transaction() as session:
                rows = session.rows(
                    "select source_id, target_id, state from record_link where state in ('linked', 'suggested')"
                )
        found = _Found({}, {})
        for source, target, state in rows:
            if state == "linked":
                found.links[self._here[source]] = self._there[target]
            else:
                found.review.setdefault(self._here[source], set()).add(self._there[target])
        return found


def _show(made: Catalogues, results: dict[str, _Found], costs: dict[str, Cost]) -> None:
    number = {entry.truth: position for position, entry in enumerate(made.there)}
    truth = {n: number[e.truth] for n, e in enumerate(made.here) if e.truth in number}
    rows = []
    for name, cost in costs.items():
        found = results[name]
        right = sum(truth.get(n) == target for n, target in found.links.items())
        seen = right + sum(truth.get(n) in targets for n, targets in found.review.items())
        rows.append(
            [
                name,
                f"{len(made.here) / cost.wall:,.0f}",
                f"{cost.cpu:.2f}",
                f"{len(found.links):,}",
                f"{right / len(found.links):.4f}",
                f"{right / len(truth):.4f}",
                f"{len(found.review):,}",
                f"{seen / len(truth):.4f}",
            ]
        )
    table(
        f"match: {len(made.here):,} items with {len(made.there):,}, {len(truth):,} of them the same",
        ["contender", "items/s", "CPU s", "links", "precision", "recall", "to review", "recall with review"],
        rows,
    )
    ours = results["ours, keys and decisions"]
    table("match: what became of each kind of noise", ["kind", "items", "linked", "wrongly", "to review", "nothing"], [
        _kind(kind, made, ours, truth) for kind in (*KINDS, "only here")
    ])  # fmt: skip
    wrong = [n for n, target in ours.links.items() if truth.get(n) != target]
    unknowable = sum(made.here[n].kind == "only here" for n in wrong)
    goal(f"{len(wrong)} wrong links, {unknowable} of them by a SKU that means something else there (the others: 0)",
         len(wrong) == unknowable)  # fmt: skip
    found = sum(truth[n] in {ours.links.get(n), *ours.review.get(n, ())} for n in truth)
    goal(f"{found / len(truth):.2%} of what is the same is linked or to review (at least 99.9 %)",
         found >= 0.999 * len(truth))  # fmt: skip


def _kind(kind: str, made: Catalogues, found: _Found, truth: dict[int, int]) -> list[str]:
    mine = [n for n, entry in enumerate(made.here) if entry.kind == kind]
    linked = [n for n in mine if n in found.links]
    wrong = sum(truth.get(n) != found.links[n] for n in linked)
    review = sum(n in found.review for n in mine)
    return [
        kind,
        f"{len(mine):,}",
        f"{len(linked):,}",
        f"{wrong}",
        f"{review:,}",
        f"{len(mine) - len(linked) - review:,}",
    ]
