"""Reading a list that changes while it is read, without missing a row.

WooCommerce numbers pages by position. When a row before the current position disappears (an order is trashed), all
later rows move up by one and the next page starts one row too late: a row is lost, and no count shows it when another
row came in meanwhile. So lists are read in the order of ids, and each page is asked for so that it begins with the last
row of the page before it (`offset`, not `page`). As long as a page's first id is not beyond the last id that was given
out, nothing between them can have been missed; otherwise the reader steps back until that holds again. Rows that come
in behind the reader are found by the next read: their modified date is newer than its start.

Some shops (a cache, a plugin, a proxy) ignore `offset`. That shows when a later request gives the first page again: the
list is then read by `page`. Rows that disappear meanwhile show there only as a smaller total, upon which the page
before is read again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comptoir.sdk import ContractViolation, Tasks, TransientError

__all__ = ["PAGE_ROWS", "Batch", "Fetch", "FetchPage", "ListReader"]

#: What WooCommerce allows at most.
PAGE_ROWS = 100
_STRIDE = PAGE_ROWS - 1
#: The first correction is small: a list rarely moves by more between two pages, and the rest of the page is new.
_STEP_BACK = 10
#: A whole page may return by chance only when as many rows as it holds came in before it. Small pages may.
_TELLING_ROWS = 50
_SMALL_REPEATS = 12
_SHORT_PAGE_TRIES = 3
_REPAIRS = 50

_log = logging.getLogger("comptoir.woocommerce")

#: Reads one page: (rows to skip, rows wanted) -> body and lower-case headers.
Fetch = Callable[[int, int], tuple[Any, Mapping[str, str]]]
#: Reads the n-th page (from 1) of `PAGE_ROWS` rows.
FetchPage = Callable[[int], tuple[Any, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Batch:
    """New rows of one page, in the order of ids. `offset` and `after_id` say where to go on after it, `date` is the
    Date header that the page came with.
    """

    rows: Sequence[Mapping[str, Any]]
    offset: int
    after_id: int
    total: int | None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    offset: int
    ids: tuple[int, ...]
    rows: Sequence[Mapping[str, Any]]
    total: int | None
    date: str | None
    stride: int = _STRIDE

    @property
    def overfull(self) -> bool:
        """Whether it has more rows than there can be beyond its offset: then it is no page from there."""
        return self.total is not None and self.offset > 0 and len(self.rows) > max(0, self.total - self.offset)

    @property
    def next_offset(self) -> int:
        """Where the next page starts: with this page's last row, or after it where only `page` is understood."""
        if self.stride == PAGE_ROWS or self.total is not None:
            return self.offset + self.stride
        return self.offset + max(len(self.rows) - 1, 1)


class ListReader:
    """Reads one list of a shop whole. `what` names it in errors; `fetch_page` serves where `offset` is ignored."""

    def __init__(self, fetch: Fetch, *, what: str, connection: str, fetch_page: FetchPage | None = None) -> None:
        self._fetch = fetch
        self._fetch_page = fetch_page
        self._by_page = False
        self._what = f"{connection}: {what}"
        self._connection = connection

    def read(
        self, *, offset: int = 0, after_id: int = 0, tasks: Tasks | None = None, width: int = 1
    ) -> Iterator[Batch]:
        """All rows with an id beyond `after_id`, page by page, at most `width` pages asked for at once.

        Raises TransientError when the list keeps moving or rows are withheld, ContractViolation when the server gives
        the same page for ever or no list of records; it never ends early.
        """
        pages = _Ahead(self._page, tasks, width)
        page = self._page(offset)
        repairs, furthest, idle = 0, -1, 0
        seen: dict[int, int] = {}
        # Taken up in the middle, the list's beginning is asked for too: else the page would be compared with itself.
        first = page if offset == 0 else self._page(0)
        while True:
            if self._ignores_offset(page, first):
                pages.forget()
                # Of a read that began further on, nobody knows how far its position reaches in pages.
                begun = offset == 0
                page, furthest = self._page(PAGE_ROWS if begun else 0), 0 if begun else -1
                seen = {hash(first.ids): 1} if begun else {}
            if self._by_page and page.offset and not page.overfull and (not page.ids or page.ids[0] > after_id):
                # These pages do not overlap. The one before must still end with the row that was read last: else rows
                # have gone since, and some of these moved up to it, whatever the count says.
                before = self._page(page.offset - PAGE_ROWS)
                if not before.ids or before.ids[-1] != after_id:
                    repairs += 1
                    if repairs > _REPAIRS:
                        raise self._restless(repairs)
                    pages.forget()
                    page = before
            joined = self._joined(page, after_id)
            if joined is not page:
                repairs += 1
                if repairs > _REPAIRS:
                    raise self._restless(repairs)
                pages.forget()
                page = joined
            elif page.overfull:
                raise self._repeated(page)
            elif page.offset > furthest and len(page.ids) > 1:
                self._count_repeats(page, seen)
            furthest = max(furthest, page.offset)
            new = [row for row, number in zip(page.rows, page.ids, strict=True) if number > after_id]
            if new:
                after_id = page.ids[-1]
            idle = 0 if new else idle + 1
            if self._is_last(page, bool(new)):
                yield Batch(new, page.offset, after_id, page.total, page.date)
                return
            if new:
                yield Batch(new, page.next_offset, after_id, page.total, page.date)
            elif idle > _REPAIRS:
                raise self._restless(idle)
            page = pages.after(page)

    def _ignores_offset(self, page: _Page, first: _Page) -> bool:
        """Whether a later request gave the first page again; from then on the list is read by `page`."""
        if self._by_page or self._fetch_page is None or not page.offset:
            return False
        again = page is not first and page.ids == first.ids and len(first.ids) > 1
        if not page.overfull and not again:
            return False
        _log.info("%s: the shop ignores `offset`; the list is read by `page`", self._what)
        self._by_page = True
        return True

    def _count_repeats(self, page: _Page, seen: dict[int, int]) -> None:
        fingerprint = hash(page.ids)
        times = seen.get(fingerprint, 0)
        seen[fingerprint] = times + 1
        if times >= (1 if len(page.ids) >= _TELLING_ROWS else _SMALL_REPEATS):
            raise self._repeated(page)

    def _repeated(self, page: _Page) -> ContractViolation:
        return ContractViolation(
            f"{self._what}: the rows at offset {page.offset} were given before, as a whole page",
            hint="The shop, a plugin or a cache of it ignores `offset`; nothing beyond the first page can be read.",
            connection=self._connection,
            code="repeated_page",
        )

    def _restless(self, count: int) -> TransientError:
        return TransientError(
            f"{self._what} keeps changing while it is read: given up after {count} corrections",
            hint="Read it at a quieter hour; nothing was skipped.",
            connection=self._connection,
        )

    def _is_last(self, page: _Page, found_new: bool) -> bool:
        if page.total is not None:
            return page.offset + PAGE_ROWS >= page.total
        # Without a count only a page that brings nothing beyond the repeated row proves the end: a shop may cap
        # the page below what we asked for, so a short page proves nothing.
        return not found_new and len(page.rows) <= 1

    def _joined(self, page: _Page, after_id: int) -> _Page:
        """The page itself when nothing can lie between `after_id` and it, else an earlier one that joins."""
        step = _STEP_BACK
        while not self._by_page and page.offset > 0 and (not page.ids or page.ids[0] > after_id):
            back = max(0, page.offset - step)
            _log.info("%s moved while it was read: offset %d again", self._what, back)
            page = self._page(back)
            step *= 2
        return page

    def _page(self, offset: int) -> _Page:
        page = self._checked(offset)
        for _ in range(_SHORT_PAGE_TRIES):
            if page.total is None:
                return page
            if len(page.rows) >= min(PAGE_ROWS, page.total - offset) and not page.overfull:
                return page
            # The count and the rows are two queries of the shop; a change between them looks like this once.
            page = self._checked(offset)
        if page.overfull:
            return page
        raise TransientError(
            f"{self._what}: the shop counts {page.total} rows but gives {len(page.rows)} at offset {offset}",
            hint="A plugin, a cache or the rights of the key's user withhold rows; an incomplete list is "
            "never taken for the whole.",
            connection=self._connection,
            code="rows_withheld",
        )

    def _checked(self, offset: int) -> _Page:
        if self._by_page and self._fetch_page is not None:
            body, headers = self._fetch_page(offset // PAGE_ROWS + 1)
        else:
            body, headers = self._fetch(offset, PAGE_ROWS)
        if not isinstance(body, list):
            raise ContractViolation(
                f"{self._what}: a list was asked for, the shop gave {type(body).__name__}",
                connection=self._connection,
            )
        ids: list[int] = []
        rows: list[Mapping[str, Any]] = []
        for row in body:
            number = row.get("id") if isinstance(row, dict) else None
            if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
                raise ContractViolation(
                    f"{self._what}: a row at offset {offset} has no id", connection=self._connection
                )
            if ids and number == ids[-1]:
                continue
            if ids and number < ids[-1]:
                raise ContractViolation(
                    f"{self._what}: the shop ignores `orderby=id` ({number} comes after {ids[-1]})",
                    hint="Without a fixed order no list can be read whole; look for a plugin that reorders it.",
                    connection=self._connection,
                    code="unordered",
                )
            ids.append(number)
            rows.append(row)
        count = headers.get("x-wp-total", "")
        # Rows that the shop repeats inside one page count for its total, so they count here too.
        doubled = len(body) - len(rows)
        total = max(0, int(count) - doubled) if count.isdigit() else None
        stride = PAGE_ROWS if self._by_page else _STRIDE
        return _Page(offset, tuple(ids), rows, total, headers.get("date"), stride)


class _Ahead:
    """Hands out the next pages, asking for some of them in advance when the length of the list is known."""

    def __init__(self, fetch: Callable[[int], _Page], tasks: Tasks | None, width: int) -> None:
        self._fetch = fetch
        self._tasks = tasks
        self._width = width
        self._coming: Iterator[_Page] = iter(())

    def after(self, page: _Page) -> _Page:
        """The page that follows `page`."""
        found = next(self._coming, None)
        if found is not None and found.offset == page.next_offset:
            return found
        if self._tasks is None or self._width == 1 or page.total is None:
            return self._fetch(page.next_offset)
        offsets = range(page.next_offset, max(page.total - 1, page.next_offset + 1), page.stride)
        self._coming = self._tasks.map_ordered(self._fetch, offsets, width=self._width)
        return next(self._coming)

    def forget(self) -> None:
        """Drops what was asked for in advance: the list has moved."""
        self._coming = iter(())
