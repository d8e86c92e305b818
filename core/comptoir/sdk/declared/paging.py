"""Lists that come page by page: each style to its end, and never a page missed in silence.

A list may move while it is read. `offset` reads the last record again with every page, so that a record that went
away before it is noticed; `page` compares the totals that the server gives with each page. A list that has moved is
read again from its beginning: what has not changed costs nothing further down. Styles that go on after a record
(`cursor`, `after_id`) do not have the problem.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from comptoir.errors import ComptoirError, ContractViolation, RecordRejected, TransientError
from comptoir.sdk.declared.description import Paging

__all__ = ["Chunk", "ListReader", "dig", "next_link"]

#: More pages than any list here has: the server never comes to an end.
_MOST_PAGES = 200_000
_RESTARTS = 3
_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,=]+(?:=(?:\"[^\"]*\"|[^\",;]*))?)*)")
_REL_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?=\s|;|$))", re.IGNORECASE)

Row = Mapping[str, Any]
Answer = tuple[Any, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One page. `position` says where to go on after it, None after the last one; `date` is the Date header."""

    rows: Sequence[Row]
    position: Mapping[str, Any] | None
    total: int | None
    date: str | None


class _Moved(Exception):
    """The list is not the one that was begun."""


def dig(value: Any, path: str) -> Any:
    """What stands at a dotted path; None when nothing does."""
    for part in path.split(".") if path else ():
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def next_link(header: str) -> str | None:
    """The address with rel="next" in a Link header (RFC 8288)."""
    for address, parameters in _LINK.findall(header[:20_000]):
        if _REL_NEXT.search(parameters):
            return str(address).strip()
    return None


class ListReader:
    """One list of one connection."""

    def __init__(
        self,
        paging: Paging,
        *,
        get: Callable[[Mapping[str, str]], Answer],
        get_url: Callable[[str], Answer],
        rows: Callable[[Any], Sequence[Row]],
        id_of: Callable[[Row], str],
        address: str,
        secret_param: str | None,
        connection: str,
        what: str,
        shown: str,
    ) -> None:
        self._paging = paging
        self._get = get
        self._get_url = get_url
        self._rows = rows
        self._id_of = id_of
        self._address = address
        self._secret_param = secret_param
        self._connection = connection
        self._what = what
        self._shown = shown

    def read(self, position: Mapping[str, Any] | None, *, scope: str) -> Iterator[Chunk]:
        """The pages after `position`; from the first one when it belongs to another `scope` (parameters)."""
        begin = dict(position) if position and position.get("scope") == scope else {}
        for _ in range(1 + _RESTARTS):
            try:
                for chunk in self._pages(begin):
                    after = None if chunk.position is None else {"scope": scope, **chunk.position}
                    yield Chunk(chunk.rows, after, chunk.total, chunk.date)
            except _Moved:
                begin = {}
                continue
            return
        raise TransientError(
            f"{self._connection}: the list of {self._what} moves all the time while it is read",
            hint=f"Let the server sort it by id (`params` in {self._shown}), or use a cursor.",
            connection=self._connection,
            code="list_moved",
        )

    def _pages(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        style = self._paging.style
        pages = {
            "none": self._one,
            "page": self._numbered,
            "offset": self._by_offset,
            "after_id": self._after_id,
            "cursor": self._by_cursor,
            "next_url": self._linked,
            "link_header": self._linked,
        }[style](begin)
        before: list[str] = []
        for number, chunk in enumerate(pages):
            ids = [self._id_of(row) for row in chunk.rows]
            if ids and ids == before:
                raise self._broken("the same page came twice", "The server ignores the parameter of the page: correct")
            if number >= _MOST_PAGES:
                raise self._broken(f"the list has more than {_MOST_PAGES} pages", "It never ends: correct")
            before = ids or before
            yield chunk

    # -- styles ------------------------------------------------------------------------------------------------

    def _one(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        del begin
        answer, headers = self._get({})
        rows, total = self._rows(answer), self._total(answer, headers)
        self._not_short(len(rows), total)
        yield Chunk(rows, None, total, headers.get("date"))

    def _numbered(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        """Pages by number. After each one, the page before is looked at again: what has slid into it is given too."""
        first = self._paging.first
        number, taken = max(_count(begin.get("page"), first), first), 0
        total: int | None = None
        # A count says where a list ends as long as it is read from its beginning, and nothing comes or goes.
        moved = "page" in begin
        kept = begin.get("before")
        before = set(kept) if isinstance(kept, list) else set[int]()
        while True:
            found = self._page(number)
            answer, headers, rows = found if found is not None else (None, {}, [])
            now = total if found is None else self._total(answer, headers)
            moved = moved or (total is not None and now != total)
            total = now
            slid = []
            if before:
                again = self._page(number - 1)
                slid = [row for row in (again[2] if again else []) if self._mark(row) not in before]
                moved = moved or bool(slid)
            if slid:
                taken += len(slid)
                before |= {self._mark(row) for row in slid}
                yield Chunk(slid, {"page": number, "before": sorted(before)}, total, None)
            if not rows:
                if not moved:
                    self._not_short(taken, total)
                return
            before = {self._mark(row) for row in rows}
            taken += len(rows)
            ended = not moved and total is not None and taken >= total
            number += 1
            after = None if ended else {"page": number, "before": sorted(before)}
            yield Chunk(rows, after, total, headers.get("date"))
            if ended:
                return

    def _mark(self, row: Row) -> int:
        """What is remembered of a record that was given."""
        return zlib.crc32(self._id_of(row).encode())

    def _page(self, number: int) -> tuple[Any, Mapping[str, str], Sequence[Row]] | None:
        """A page; None past the end, where the server refuses instead of giving an empty one."""
        try:
            answer, headers = self._get({self._paging.counter: str(number), **self._size()})
        except RecordRejected as error:
            past = self._paging.past_end_status
            if past is None or error.code != f"http_{past}" or number == self._paging.first:
                raise
            return None
        return answer, headers, self._rows(answer)

    def _by_offset(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        offset, last, top = _count(begin.get("offset"), 0), begin.get("last"), begin.get("top")
        while True:
            again = 1 if offset else 0
            answer, headers = self._get({self._paging.counter: str(offset - again), **self._size()})
            rows, total = list(self._rows(answer)), self._total(answer, headers)
            if again:
                if rows and self._id_of(rows[0]) == top != last:
                    raise self._broken(
                        "the same page came twice", "The server ignores the parameter of the page: correct"
                    )
                if not rows or self._id_of(rows[0]) != last:
                    raise _Moved
                rows = rows[1:]
            if not rows:
                self._not_short(offset, total)
                return
            offset += len(rows)
            last, top = self._id_of(rows[-1]), top or self._id_of(rows[0])
            yield Chunk(rows, {"offset": offset, "last": last, "top": top}, total, headers.get("date"))

    def _after_id(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        last = begin.get("after")
        while True:
            more = {str(self._paging.param): str(last)} if last is not None else {}
            answer, headers = self._get({**more, **self._size()})
            rows = self._rows(answer)
            if not rows:
                return
            last = self._id_of(rows[-1])
            ended = self._paging.more is not None and not dig(answer, self._paging.more)
            position = None if ended else {"after": last}
            yield Chunk(rows, position, self._total(answer, headers), headers.get("date"))
            if ended:
                return

    def _by_cursor(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        cursor = begin.get("cursor")
        seen = {cursor}
        while True:
            more = {str(self._paging.param): str(cursor)} if cursor is not None else {}
            answer, headers = self._get({**more, **self._size()})
            rows = self._rows(answer)
            cursor = dig(answer, str(self._paging.next))
            stopped = self._paging.more is not None and not dig(answer, self._paging.more)
            ended = stopped or cursor in (None, "", False)
            if not ended and (isinstance(cursor, bool) or not isinstance(cursor, (str, int))):
                raise self._broken("what should be the next cursor is neither text nor a number", "Correct")
            position = None if ended else {"cursor": cursor}
            yield Chunk(rows, position, self._total(answer, headers), headers.get("date"))
            if ended:
                return
            if cursor in seen:
                raise self._broken("a cursor came a second time", "The server runs in a circle: correct")
            seen.add(cursor)

    def _linked(self, begin: dict[str, Any]) -> Iterator[Chunk]:
        url = begin.get("url")
        seen = {url}
        while True:
            if url is None:
                here, (answer, headers) = self._address + "/", self._get(self._size())
            else:
                here = self._own(str(url), self._address)
                answer, headers = self._get_url(here)
            rows = self._rows(answer)
            link = self._next(answer, headers)
            url = None if link is None else self._own(link, here)
            position = None if url is None else {"url": url}
            yield Chunk(rows, position, self._total(answer, headers), headers.get("date"))
            if url is None:
                return
            if url in seen:
                raise self._broken("the address of a page came a second time", "The server runs in a circle: correct")
            seen.add(url)

    def _next(self, answer: Any, headers: Mapping[str, str]) -> str | None:
        if self._paging.style == "link_header":
            return next_link(headers.get("link", ""))
        found = dig(answer, str(self._paging.next))
        if found in (None, "", False):
            return None
        if not isinstance(found, str):
            raise self._broken("what should be the address of the next page is no text", "Correct")
        return found

    def _own(self, link: str, here: str) -> str:
        """The whole address, without our key in it. Another server's is refused: it would be given our key."""
        url = urljoin(here, link)
        parts, own = urlsplit(url), urlsplit(self._address)
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            raise self._broken(
                f"the next page is said to be at {parts.scheme}://{parts.netloc.rpartition('@')[2]}, another server",
                "Credentials are not sent there. Write the server's own final address into the connection, or correct",
            )
        if self._secret_param is None:
            return url
        pairs = [p for p in parse_qsl(parts.query, keep_blank_values=True) if p[0] != self._secret_param]
        return urlunsplit(parts._replace(query=urlencode(pairs)))

    # -- totals ------------------------------------------------------------------------------------------------

    def _size(self) -> dict[str, str]:
        return {self._paging.size_param: str(self._paging.size)} if self._paging.size_param else {}

    def _total(self, answer: Any, headers: Mapping[str, str]) -> int | None:
        found: Any = None
        if self._paging.total is not None:
            found = dig(answer, self._paging.total)
        elif self._paging.total_header is not None:
            found = headers.get(self._paging.total_header.lower())
        else:
            return None
        if isinstance(found, str) and found.strip().isdecimal():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int):
            raise self._broken("the answer does not say how many records there are", "Correct `total` in")
        return found

    def _not_short(self, taken: int, total: int | None) -> None:
        if total is not None and taken < total:
            raise TransientError(
                f"{self._connection}: the list of {self._what} ended after {taken} of {total} records",
                hint="A list that is cut is never taken for whole; the next run reads it again.",
                connection=self._connection,
                code="list_cut",
            )

    def _broken(self, what: str, advice: str) -> ComptoirError:
        return ContractViolation(
            f"{self._connection}: {self._what}: {what}",
            hint=f"{advice} `paging` in {self._shown}." if not advice.endswith(" in") else f"{advice} {self._shown}.",
            connection=self._connection,
        )


def _count(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
