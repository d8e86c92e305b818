"""Corrections of posted entries: a reversal and a new version, or the difference, never an edit.

What is posted of a document is its versions that were not reversed, and the differences posted on top of them
(sales-accounting §0.7).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from comptoir.model.accounting import EntryKind, JournalEntry, JournalLine, Side

__all__ = ["Redone", "base_key", "correct_entries", "difference_entries", "rewrite_entries", "same_substance"]

_VERSION = re.compile(r"^(?P<base>.+?)(?:/(?P<mark>v|rev|dif)(?P<number>[0-9]+))?$")
_ZERO = Decimal(0)


def base_key(key: str) -> str:
    """The key of the document's entry, without the mark of a version (`/v2`), a reversal (`/rev1`) or a difference
    (`/dif1`).
    """
    match = _VERSION.match(key)
    return match.group("base") if match else key


def correct_entries(
    posted: Sequence[JournalEntry], wanted: Sequence[JournalEntry], *, posted_on: date
) -> list[JournalEntry]:
    """What must be added so that the posted entries say what is wanted; nothing when they do.

    Per document: never posted -> the wanted entry as it is; posted with another substance (journal, accounts, sides,
    amounts) -> its reversal `.../rev<n>` and the new version `.../v<n+1>`; posted and no longer wanted (cancelled) ->
    its reversal. Reversals and new versions are dated `posted_on`: the period of the original may be closed. `posted`
    is everything that was issued for these documents. Applying the result and asking again gives nothing.
    """
    states = _states(posted)
    targets = {entry.key: entry for entry in wanted}
    added: list[JournalEntry] = []
    for key in [*targets, *(k for k, state in states.items() if state.live and k not in targets)]:
        now, then = targets.get(key), states.get(key, _State())
        if _stands(then, now):
            continue
        for number, entry in enumerate(then.live):
            added.append(_reversal(entry, key, then.reversals + number + 1, posted_on))
        if now is not None:
            added.append(_version(now, then.versions + 1, posted_on))
    return added


def difference_entries(
    posted: Sequence[JournalEntry], wanted: Sequence[JournalEntry], *, posted_on: date
) -> list[JournalEntry]:
    """Like `correct_entries`, with one entry of the differences for each document: `.../dif<n>`.

    For books that keep what they imported: only what differs goes out, under a piece of its own (`...E<n>`). What was
    never posted goes out as it is. A document that changed its journal is reversed and posted anew. Account totals
    end as if the wanted entries had been posted in the first place.
    """
    states = _states(posted)
    targets = {entry.key: entry for entry in wanted}
    added: list[JournalEntry] = []
    for key in [*targets, *(k for k, state in states.items() if state.live and k not in targets)]:
        now, then = targets.get(key), states.get(key, _State())
        if _stands(then, now):
            continue
        moved = any(now is not None and entry.journal != now.journal for entry in then.live)
        if not then.live or moved:
            of_document = [] if now is None else [now]
            of_key = [entry for entry in posted if base_key(entry.key) == key]
            added += correct_entries(of_key, of_document, posted_on=posted_on)
            continue
        difference = _difference(then, now, key, posted_on)
        if difference is not None:
            added.append(difference)
    return added


@dataclass(frozen=True, slots=True)
class Redone:
    """A withdrawn batch written again: what to write, and what it no longer has or has changed, by piece."""

    entries: tuple[JournalEntry, ...]
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    #: Keys of posted entries that the withdrawn batch held and that the books must not hold any more.
    withdrawn: tuple[str, ...] = field(default=(), repr=False)


def rewrite_entries(batch: Sequence[JournalEntry], wanted: Sequence[JournalEntry]) -> Redone:
    """A batch that was withdrawn from the books, written again with the same pieces.

    `batch` is what it held, `wanted` what its documents call for now. Each document keeps the piece, the key and the
    day that its first entry in the batch had, so that invoices and letters that cite a piece stay right; reversals
    and later versions in the batch disappear into the one entry that is right. New documents have their own pieces.
    """
    first: dict[str, JournalEntry] = {}
    for entry in batch:
        key = base_key(entry.key)
        if entry.reverses is None and entry.kind is not EntryKind.DIFFERENCE:
            first.setdefault(key, entry)
    written: list[JournalEntry] = []
    changed: list[str] = []
    added: list[str] = []
    live = _states(batch)
    for entry in wanted:
        then = first.pop(entry.key, None)
        if then is None:
            added.append(entry.piece)
            written.append(entry)
            continue
        if not _stands(live[entry.key], entry):
            changed.append(then.piece)
        written.append(
            entry.model_copy(update={"piece": then.piece, "posted_on": then.posted_on, "document_on": then.document_on})
        )
    return Redone(
        tuple(sorted(written, key=lambda entry: (entry.posted_on, entry.key))),
        tuple(changed),
        tuple(added),
        tuple(entry.piece for entry in first.values()),
        tuple(entry.key for entry in batch),
    )


def same_substance(one: JournalEntry, other: JournalEntry) -> bool:
    """The same accounting: journal, currency, and the same amounts on the same sides of the same accounts."""
    return (one.journal, one.currency, _amounts(one)) == (other.journal, other.currency, _amounts(other))


def _amounts(entry: JournalEntry) -> Counter[tuple[str, str | None, Side, Decimal]]:
    """Amounts by account, third party and side; several lines of one account are one."""
    sums: dict[tuple[str, str | None, Side], Decimal] = {}
    for x in entry.lines:
        key = (x.account, x.third_party, x.side)
        sums[key] = sums.get(key, _ZERO) + x.amount
    return Counter((*key, amount.normalize()) for key, amount in sums.items())


@dataclass(slots=True)
class _State:
    """What is posted of one document: entries that were not reversed, and the highest numbers used so far."""

    live: list[JournalEntry] = field(default_factory=list)
    versions: int = 0
    reversals: int = 0
    differences: int = 0


def _states(posted: Iterable[JournalEntry]) -> dict[str, _State]:
    entries = list(posted)
    reversed_keys = {entry.reverses for entry in entries if entry.reverses is not None}
    states: dict[str, _State] = {}
    for entry in entries:
        match = _VERSION.match(entry.key)
        if match is None:
            continue
        state = states.setdefault(match.group("base"), _State())
        number = int(match.group("number") or 1)
        if entry.reverses is not None:
            state.reversals = max(state.reversals, number)
            continue
        if match.group("mark") == "dif":
            state.differences = max(state.differences, number)
        else:
            state.versions = max(state.versions, number)
        if entry.key not in reversed_keys:
            state.live.append(entry)
    return states


def _stands(then: _State, now: JournalEntry | None) -> bool:
    """What is posted already says what is wanted."""
    if now is None or not then.live:
        return now is None and not _net(then.live)
    if len(then.live) == 1:
        return same_substance(then.live[0], now)
    return all(e.journal == now.journal for e in then.live) and _net(then.live) == _net([now])


def _net(entries: Iterable[JournalEntry]) -> dict[tuple[str, str | None], Decimal]:
    sums: dict[tuple[str, str | None], Decimal] = {}
    for entry in entries:
        for line in entry.lines:
            key = (line.account, line.third_party)
            amount = line.amount if line.side is Side.DEBIT else -line.amount
            sums[key] = sums.get(key, _ZERO) + amount
    return {key: amount for key, amount in sums.items() if amount}


def _code(line: JournalLine) -> tuple[str, str | None, str | None, Decimal | None]:
    return line.account, line.third_party, line.vat_code, line.vat_rate


def _by_code(entries: Iterable[JournalEntry]) -> dict[tuple[str, str | None, str | None, Decimal | None], Decimal]:
    """Balances by account and by what the lines say of their VAT: the country or the rate of an OSS sale may change
    while its turnover stays on one account, and the return asks for both.
    """
    sums: dict[tuple[str, str | None, str | None, Decimal | None], Decimal] = {}
    for entry in entries:
        for line in entry.lines:
            amount = line.amount if line.side is Side.DEBIT else -line.amount
            sums[_code(line)] = sums.get(_code(line), _ZERO) + amount
    return sums


def _difference(then: _State, now: JournalEntry | None, key: str, posted_on: date) -> JournalEntry | None:
    """One entry of what differs; None where only the sides of an account differ and its balance does not."""
    before, after = _by_code(then.live), _by_code([] if now is None else [now])
    example = now or then.live[0]
    number = then.differences + 1
    label = f"Difference {example.label}"
    known = {_code(line): line for entry in (*then.live, example) for line in entry.lines}
    lines: list[JournalLine] = []
    for where, line in known.items():
        amount = after.get(where, _ZERO) - before.get(where, _ZERO)
        if amount:
            side = Side.DEBIT if amount > 0 else Side.CREDIT
            lines.append(line.model_copy(update={"side": side, "amount": abs(amount), "label": label, "analytic": ()}))
    if not lines:
        return None
    return example.model_copy(
        update={
            "key": f"{key}/dif{number}",
            "kind": EntryKind.DIFFERENCE,
            "piece": f"{then.live[0].piece}E{number}",
            "posted_on": posted_on,
            "document_on": then.live[0].document_on or then.live[0].posted_on,
            "label": label,
            "lines": tuple(lines),
            "reverses": None,
            "flags": (),
        }
    )


def _reversal(entry: JournalEntry, key: str, number: int, posted_on: date) -> JournalEntry:
    swapped = {Side.DEBIT: Side.CREDIT, Side.CREDIT: Side.DEBIT}
    label = f"Extourne {entry.label}"
    return entry.model_copy(
        update={
            "key": f"{key}/rev{number}",
            "kind": EntryKind.REVERSAL,
            "piece": f"{entry.piece}X{number}",
            "posted_on": posted_on,
            "label": label,
            "lines": tuple(
                line.model_copy(update={"side": swapped[line.side], "label": label}) for line in entry.lines
            ),
            "reverses": entry.key,
            "flags": (),
        }
    )


def _version(entry: JournalEntry, version: int, posted_on: date) -> JournalEntry:
    if version == 1:
        return entry
    return entry.model_copy(
        update={"key": f"{entry.key}/v{version}", "piece": f"{entry.piece}V{version}", "posted_on": posted_on}
    )
