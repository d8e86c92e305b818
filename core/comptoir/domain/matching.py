"""Matching: which record of one connection is which of another. Declared keys only, scored, ties are never decided.

An empty key never matches; an e-mail address is a signal and not an identity; a SKU that several records share
decides nothing (failure modes 32 to 34 and 71).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["CERTAIN", "Candidate", "Evidence", "Keys", "Proposal", "customer_keys", "item_keys", "match"]

#: From here on a proposal that nothing contradicts and nobody else claims is a link by rule.
CERTAIN = 0.9

#: A key that two records have in common -> how much it says.
_WEIGHTS: dict[str, float] = {
    "written": 1.0,  # we made the one from the other
    "sku": 0.9,
    "gtin": 0.7,
    "sku_alike": 0.5,
    "vat_id": 0.9,
    "siret": 0.9,
    "siren": 0.6,
    "email": 0.5,
    "phone": 0.3,
    "name_place": 0.3,
}
_ALONE_IS_NO_CANDIDATE = frozenset({"phone", "name_place"})
Evidence = str


@dataclass(frozen=True, slots=True)
class Keys:
    """What a record can be matched by. `values` maps a kind of key to its folded values; none of them is empty.

    `unlike` holds kinds where different values speak against being the same (two items with different GTINs).
    """

    id: Hashable
    values: Mapping[str, frozenset[str]]
    unlike: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible partner."""

    target: Hashable
    score: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What became of one source record: linked by rule, for review (with its candidates), or without any."""

    source: Hashable
    decision: Literal["link", "review", "none"]
    candidates: tuple[Candidate, ...] = ()
    note: str | None = None


def fold(text: str | None) -> str:
    """Text for comparison: case, accents, spaces at the ends and repeated spaces do not count."""
    if not text:
        return ""
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(text.casefold().split())


def _squeezed(text: str | None) -> str:
    folded = fold(text)
    return folded if folded.isalnum() else "".join(filter(str.isalnum, folded))


def _set(value: str | None) -> frozenset[str]:
    return frozenset((value,)) if value else frozenset()


def item_keys(record: Hashable, sku: str | None, gtins: Iterable[str], written: Iterable[str] = ()) -> Keys:
    """The keys of an item: its SKU as written (case apart), its SKU without punctuation, its GTINs as 14 digits."""
    values = {
        "sku": _set(fold(sku)),
        "sku_alike": _set(_squeezed(sku)),
        "gtin": frozenset(g.zfill(14) for g in gtins if g.isdigit() and int(g)),
        "written": frozenset(written),
    }
    return Keys(record, {kind: found for kind, found in values.items() if found}, frozenset({"gtin"}))


def customer_keys(
    record: Hashable,
    *,
    vat_id: str | None = None,
    siren: str | None = None,
    siret: str | None = None,
    email: str | None = None,
    phone: str | None = None,
    name: str | None = None,
    postcode: str | None = None,
    written: Iterable[str] = (),
) -> Keys:
    """The keys of a customer. Name and place count together only: many people have one name."""
    place = _squeezed(name) + "@" + _squeezed(postcode) if _squeezed(name) and _squeezed(postcode) else None
    digits = "".join(c for c in phone or "" if c.isdigit())
    values = {
        "vat_id": _set(_squeezed(vat_id)),
        "siret": _set(_squeezed(siret)),
        "siren": _set(_squeezed(siren)),
        "email": _set((email or "").strip().casefold()),
        "phone": _set(digits[-9:] if len(digits) >= 9 else None),
        "name_place": _set(place),
        "written": frozenset(written),
    }
    return Keys(
        record, {kind: found for kind, found in values.items() if found}, frozenset({"vat_id", "siret", "siren"})
    )


def match(
    sources: Sequence[Keys],
    targets: Sequence[Keys],
    *,
    kinds: Sequence[str],
    rejected: frozenset[tuple[Hashable, Hashable]] = frozenset(),
) -> list[Proposal]:
    """A proposal for each source, by the declared kinds of keys (and by what we wrote ourselves).

    A link by rule needs a certain score, no contradiction, and that no other record on either side could claim it.
    Pairs that a person has rejected are not proposed again.
    """
    used = ("written", *kinds, *(["sku_alike"] if "sku" in kinds else []))
    index: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, target in enumerate(targets):
        for kind in used:
            for value in target.values.get(kind, ()):
                index[kind, value].append(position)
    found = [_candidates(source, targets, index, used, rejected) for source in sources]
    claims: dict[Hashable, int] = defaultdict(int)
    for candidates in found:
        for candidate in candidates:
            if candidate.score >= CERTAIN:
                claims[candidate.target] += 1
    return [_decide(source, candidates, claims) for source, candidates in zip(sources, found, strict=True)]


#: A key that so many records share says nothing: it is a placeholder ("000", "noreply@...").
_TOO_COMMON = 20


def _candidates(
    source: Keys,
    targets: Sequence[Keys],
    index: Mapping[tuple[str, str], Sequence[int]],
    kinds: Sequence[str],
    rejected: frozenset[tuple[Hashable, Hashable]],
) -> list[Candidate]:
    shared: dict[int, set[str]] = {}
    for kind in kinds:
        for value in source.values.get(kind, ()):
            positions = index.get((kind, value), ())
            if len(positions) <= _TOO_COMMON:
                for position in positions:
                    shared.setdefault(position, set()).add(kind)
    candidates = []
    for position, evidence in shared.items():
        target = targets[position]
        if (source.id, target.id) in rejected:
            continue
        if "sku" in evidence:
            evidence.discard("sku_alike")
        if evidence <= _ALONE_IS_NO_CANDIDATE:
            continue
        score = min(sum(map(_WEIGHTS.__getitem__, evidence)), 1.0)
        against = {
            kind
            for kind in source.unlike
            if kind in target.unlike
            and kind in kinds
            and kind in source.values
            and kind in target.values
            and source.values[kind].isdisjoint(target.values[kind])
        }
        if against and "written" not in evidence:
            score = min(score, 0.6)
        marks = sorted(evidence)
        if against:
            marks += [f"other_{kind}" for kind in sorted(against)]
        candidates.append(Candidate(target.id, round(score, 2), tuple(marks)))
    if len(candidates) > 1:
        candidates.sort(key=lambda c: (-c.score, str(c.target)))
    return candidates


def _decide(source: Keys, candidates: list[Candidate], claims: Mapping[Hashable, int]) -> Proposal:
    if not candidates:
        return Proposal(source.id, "none")
    best = candidates[0]
    if best.score < CERTAIN:
        return Proposal(source.id, "review", tuple(candidates), "the evidence is weak")
    rivals = [c for c in candidates if c.score >= CERTAIN]
    if len(rivals) > 1:
        return Proposal(source.id, "review", tuple(candidates), f"{len(rivals)} records have the same key")
    if claims[best.target] > 1:
        return Proposal(source.id, "review", tuple(candidates), f"{claims[best.target]} records claim this one")
    return Proposal(source.id, "link", (best,))
