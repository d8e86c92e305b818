"""Corrections of posted entries: a reversal and a new version, never an edit (sales-accounting §0.7)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from comptoir.model.accounting import EntryKind, JournalEntry, Side

__all__ = ["base_key", "correct_entries", "same_substance"]

_VERSION = re.compile(r"^(?P<base>.+?)(?:/(?P<mark>v|rev)(?P<number>[0-9]+))?$")


def base_key(key: str) -> str:
    """The key of the document's entry, without the mark of a version (`/v2`) or a reversal (`/rev1`)."""
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
    live, versions = _live(posted)
    targets = {entry.key: entry for entry in wanted}
    added: list[JournalEntry] = []
    for key in [*targets, *(k for k in live if k not in targets)]:
        now, then = targets.get(key), live.get(key)
        if now is not None and then is not None and same_substance(now, then):
            continue
        version = versions.get(key, 0)
        if then is not None:
            added.append(_reversal(then, key, version, posted_on))
        if now is not None:
            added.append(_version(now, version + 1, posted_on))
    return added


def same_substance(one: JournalEntry, other: JournalEntry) -> bool:
    """The same accounting: journal, currency, and the same amounts on the same sides of the same accounts."""
    return (one.journal, one.currency, _amounts(one)) == (other.journal, other.currency, _amounts(other))


def _amounts(entry: JournalEntry) -> Counter[tuple[str, str | None, Side, Decimal]]:
    return Counter((x.account, x.third_party, x.side, x.amount.normalize()) for x in entry.lines)


def _live(posted: Sequence[JournalEntry]) -> tuple[dict[str, JournalEntry], dict[str, int]]:
    """Per document: the posted version that was not reversed, and the highest version number."""
    reversed_keys = {entry.reverses for entry in posted if entry.reverses is not None}
    live: dict[str, JournalEntry] = {}
    versions: dict[str, int] = {}
    for entry in posted:
        match = _VERSION.match(entry.key)
        if match is None or entry.reverses is not None:
            continue
        base = match.group("base")
        versions[base] = max(versions.get(base, 0), int(match.group("number") or 1))
        if entry.key not in reversed_keys:
            live[base] = entry
    return live, versions


def _reversal(entry: JournalEntry, key: str, version: int, posted_on: date) -> JournalEntry:
    swapped = {Side.DEBIT: Side.CREDIT, Side.CREDIT: Side.DEBIT}
    label = f"Extourne {entry.label}"
    return entry.model_copy(
        update={
            "key": f"{key}/rev{version}",
            "kind": EntryKind.REVERSAL,
            "piece": f"{entry.piece}X{version}",
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
