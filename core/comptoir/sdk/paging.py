"""Reading a list that changes while it is read, without missing a row.

For lists that are paged by position (`skip` and `take`, `offset` and `limit`), counted, and ordered by an id that
nothing moves. A record that disappears meanwhile moves all later rows up by one, and the next page would start one row
too late. So each page is asked for so that it begins with the last row of the page before it; when that row is not
there, the reader steps back until a page joins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comptoir.errors import ContractViolation, TransientError

__all__ = ["ListBatch", "ListReader", "ListSlice"]

_REPAIRS = 30
_STEP_BACK = 10
_SHORT_PAGE_TRIES = 3


@dataclass(frozen=True, slots=True)
class ListSlice:
    """What one request gave: rows with a text `id` each, the remote's own count of all of them, its headers."""

    rows: Sequence[Any]
    total: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListBatch:
    """New rows of one page. `skip` and `after` (an id) say where to go on after it."""

    rows: Sequence[Mapping[str, Any]]
    skip: int
    after: str
    total: int
    headers: Mapping[str, str]


class ListReader:
    """Reads one list of a remote whole. `fetch(skip, take)` asks for a part of it; `what` names it in errors."""

    def __init__(self, fetch: Callable[[int, int], ListSlice], *, rows: int, what: str, connection: str) -> None:
        self._fetch = fetch
        self._take = rows
        self._what = f"{connection}: {what}"
        self._connection = connection

    def read(self, *, skip: int = 0, after: str = "") -> Iterator[ListBatch]:
        """All rows behind `after`, which stood at `skip`; without them, all rows.

        Raises TransientError when the list keeps moving or rows are withheld, ContractViolation when the remote
        gives the same page for ever or no list of records; it never ends early.
        """
        seen = {after} if after else set[str]()
        whole = not seen
        step, repairs, furthest = _STEP_BACK, 0, 0
        while True:
            rows, total, headers = self._page(skip)
            ids = [row["id"] for row in rows]
            if skip > 0 and ids and not seen.intersection(ids[:1]) and (whole or after not in ids):
                # The row that this page should begin with is not there: the list has moved up.
                repairs += 1
                if repairs > _REPAIRS:
                    raise self._restless(repairs)
                skip, step = max(0, skip - step), step * 2
                continue
            new = [row for row, number in zip(rows, ids, strict=True) if number not in seen]
            if not new and len(ids) > 1 and furthest < skip + len(ids) < total:
                raise self._repeated(skip)
            furthest = max(furthest, skip + len(ids))
            seen.update(ids)
            after = ids[-1] if ids else after
            last = skip + len(ids) >= total
            if last and whole and len(seen) < total:
                raise self._repeated(skip)
            skip, step = max(0, skip + len(ids) - 1), _STEP_BACK
            yield ListBatch(new, skip, after, total, headers)
            if last:
                return

    def _page(self, skip: int) -> tuple[list[Mapping[str, Any]], int, Mapping[str, str]]:
        """One page that is as full as the remote's own count says."""
        rows, total = list[Mapping[str, Any]](), 0
        for _ in range(_SHORT_PAGE_TRIES):
            found = self._fetch(skip, self._take)
            rows, total = self._checked(found)
            if len(rows) >= min(self._take, max(0, total - skip)) and (rows or not skip or not total):
                return rows, total, found.headers
            if not rows and skip >= total:
                skip = max(0, total - 1)  # the list has grown shorter than where we are
        raise TransientError(
            f"{self._what}: the remote counts {total} rows but gives {len(rows)} behind the first {skip}",
            hint="Rights or a plugin of the remote withhold rows; an incomplete list is never taken for the whole.",
            connection=self._connection,
            code="rows_withheld",
        )

    def _checked(self, found: ListSlice) -> tuple[list[Mapping[str, Any]], int]:
        if not isinstance(found.rows, list) or not isinstance(found.total, int) or found.total < 0:
            raise ContractViolation(f"{self._what}: the remote gave no list", connection=self._connection)
        ids = [row.get("id") if isinstance(row, dict) else None for row in found.rows]
        if not all(isinstance(number, str) and number for number in ids) or len(set(ids)) < len(ids):
            raise ContractViolation(
                f"{self._what}: rows without an id of their own, or the same one twice in a page",
                connection=self._connection,
            )
        return found.rows, found.total

    def _restless(self, count: int) -> TransientError:
        return TransientError(
            f"{self._what} keeps changing while it is read: given up after {count} corrections",
            hint="Read it at a quieter hour; nothing was skipped.",
            connection=self._connection,
        )

    def _repeated(self, skip: int) -> ContractViolation:
        return ContractViolation(
            f"{self._what}: the rows behind the first {skip} were given before",
            hint="A cache before the remote gives one answer to several requests; nothing beyond it can be read.",
            connection=self._connection,
            code="repeated_page",
        )
