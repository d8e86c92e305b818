"""Reading lists that move, from shops that misbehave: nothing is missed, nothing is taken for an end that is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptoir.errors import ContractViolation, TransientError
from comptoir_woocommerce.paging import PAGE_ROWS, Batch, ListReader

from tests.support.woocommerce import EagerTasks

Answer = tuple[Any, Mapping[str, str]]


class Server:
    """A list of ids that answers as WooCommerce does; `between` may change it before each answer."""

    def __init__(self, ids: list[int], *, counted: bool = True, cap: int = PAGE_ROWS) -> None:
        self.ids = sorted(ids)
        self.counted = counted
        self.cap = cap
        self.calls = 0
        self.between: Callable[[Server], None] | None = None
        self.offsets: list[int] = []

    def __call__(self, offset: int, count: int) -> Answer:
        self.calls += 1
        self.offsets.append(offset)
        if self.between is not None:
            self.between(self)
        rows = [{"id": n} for n in self.ids[offset : offset + min(count, self.cap)]]
        return rows, {"x-wp-total": str(len(self.ids))} if self.counted else {}


def reader(fetch: Callable[[int, int], Answer]) -> ListReader:
    return ListReader(fetch, what="orders", connection="boutique")


def read(fetch: Callable[[int, int], Answer], **options: Any) -> list[int]:
    return [row["id"] for batch in reader(fetch).read(**options) for row in batch.rows]


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 198, 199, 200, 1000])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("width", [1, 4])
def test_a_quiet_list_is_read_whole(size: int, counted: bool, width: int) -> None:
    ids = list(range(10, 10 + size * 3, 3))
    server = Server(ids, counted=counted)
    assert read(server, tasks=EagerTasks(), width=width) == ids
    if counted:
        assert server.calls == max(1, -(-(size - 1) // 99)), "one row of each page is read twice, no more"


def test_pages_are_asked_for_in_advance_when_the_length_is_known() -> None:
    tasks = EagerTasks()
    list(reader(Server(list(range(1, 1001)))).read(tasks=tasks, width=4))
    assert tasks.widest == 4


@pytest.mark.failure_mode(12)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([1, 4, 8]), counted=st.booleans())
def test_no_row_that_was_there_all_along_is_missed(seed: int, width: int, counted: bool) -> None:
    """Rows vanish and come in anywhere between two pages, in any mix: their counts may even cancel out."""
    dice = random.Random(seed)
    server = Server(dice.sample(range(1, 5000), 700), counted=counted)
    start, gone = set(server.ids), set[int]()

    def move(at: Server) -> None:
        for _ in range(dice.choice([0, 0, 1, 3])):
            victim = dice.choice(at.ids)
            at.ids.remove(victim)
            gone.add(victim)
        for _ in range(dice.choice([0, 0, 1, 3])):
            new = dice.randrange(1, 6000)
            if new not in at.ids:
                at.ids = sorted([*at.ids, new])

    server.between = move
    got = read(server, tasks=EagerTasks(), width=width)
    assert len(got) == len(set(got)), "nothing is given out twice"
    assert start - gone <= set(got)


def test_a_deletion_hidden_by_an_arrival_is_found() -> None:
    """The total stays the same, so counting shows nothing; the page's join does."""
    server = Server(list(range(1, 301)))

    def swap(at: Server) -> None:
        if at.calls == 2:
            at.ids = [*at.ids[1:], 999]

    server.between = swap
    assert set(read(server)) >= set(range(2, 301))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), stop=st.integers(1, 6))
def test_an_interrupted_read_goes_on_without_a_gap(seed: int, stop: int) -> None:
    """Killed after any page; the list moves before the read is taken up again."""
    dice = random.Random(seed)
    server = Server(list(range(1, 701)))
    got: list[int] = []
    last: Batch | None = None
    for number, batch in enumerate(reader(server).read(), 1):
        got += [row["id"] for row in batch.rows]
        last = batch
        if number == stop:
            break
    assert last is not None
    gone = set(dice.sample(server.ids, 150))
    server.ids = [n for n in server.ids if n not in gone]
    got += read(server, offset=last.offset, after_id=last.after_id)
    assert set(range(1, 701)) - gone <= set(got) and len(got) == len(set(got))


@pytest.mark.failure_mode(13)
@pytest.mark.parametrize(("counted", "rows"), [(True, 100), (False, 100), (False, 12)])
def test_a_server_that_gives_the_first_page_for_ever(counted: bool, rows: int) -> None:
    def stuck(offset: int, count: int) -> Answer:
        return [{"id": n} for n in range(1, rows + 1)], {"x-wp-total": "500"} if counted else {}

    with pytest.raises(ContractViolation) as caught:
        read(stuck, tasks=EagerTasks(), width=4)
    assert caught.value.code == "repeated_page" and "offset" in str(caught.value.hint)


def test_a_server_that_goes_round_in_circles() -> None:
    def circle(offset: int, count: int) -> Answer:
        start = (offset // 99 % 3) * 100 + 1
        return [{"id": n} for n in range(start, start + 100)], {}

    with pytest.raises((ContractViolation, TransientError)):
        read(circle)


@pytest.mark.failure_mode(14)
def test_rows_that_are_counted_and_not_given_are_no_empty_shop() -> None:
    with pytest.raises(TransientError) as caught:
        read(lambda offset, count: ([], {"x-wp-total": "12"}))
    assert caught.value.code == "rows_withheld"


def test_a_short_page_in_the_middle_is_no_end() -> None:
    def holes(offset: int, count: int) -> Answer:
        return [{"id": n} for n in range(offset + 1, offset + count - 2)], {"x-wp-total": "500"}

    with pytest.raises(TransientError):
        read(holes)


def test_a_count_that_is_one_behind_is_read_again() -> None:
    server = Server(list(range(1, 51)))

    def once(offset: int, count: int) -> Answer:
        rows, headers = server(offset, count)
        return (rows[:-1], headers) if server.calls == 1 else (rows, headers)

    assert read(once) == list(range(1, 51))


@pytest.mark.failure_mode(20)
def test_a_shop_that_caps_its_pages_below_what_was_asked() -> None:
    assert read(Server(list(range(1, 181)), counted=False, cap=50)) == list(range(1, 181))
    with pytest.raises(TransientError):
        read(Server(list(range(1, 181)), cap=50))


@pytest.mark.parametrize(
    "body",
    [
        {"code": "x", "message": "y"},
        "text",
        None,
        [{"name": "no id"}],
        [{"id": "12"}],
        [{"id": True}],
        [{"id": 0}],
        ["x"],
        [{"id": 5}, {"id": 4}],
    ],
)
def test_what_is_no_list_of_records_in_order(body: Any) -> None:
    with pytest.raises(ContractViolation):
        read(lambda offset, count: (body, {"x-wp-total": "2"}))


def test_a_row_doubled_inside_a_page_is_given_once() -> None:
    rows = [{"id": 1}, {"id": 1}, {"id": 2}]
    assert read(lambda offset, count: (rows, {"x-wp-total": "3"})) == [1, 2]


def test_a_list_that_never_rests_is_given_up() -> None:
    server = Server(list(range(1, 100_000)))

    def shrink(at: Server) -> None:
        at.ids = at.ids[5:]

    server.between = shrink
    with pytest.raises(TransientError, match="keeps changing"):
        read(server)


def test_a_list_that_was_emptied_meanwhile_ends() -> None:
    server = Server(list(range(1, 301)))

    def empty(at: Server) -> None:
        if at.calls == 2:
            at.ids = []

    server.between = empty
    assert read(server) == list(range(1, 101))


class PageOnly:
    """A shop that understands `page` and ignores `offset`; it may lose rows while it is read."""

    def __init__(self, size: int, *, counted: bool = True, understands_page: bool = True) -> None:
        self.ids = list(range(1, size + 1))
        self.counted = counted
        self.understands_page = understands_page
        self.calls = 0
        self.loses_at: tuple[int, slice] | None = None

    def page(self, number: int) -> Answer:
        self.calls += 1
        if self.loses_at is not None and self.calls == self.loses_at[0]:
            del self.ids[self.loses_at[1]]
        start = (number - 1) * 100 if self.understands_page else 0
        rows = [{"id": n} for n in self.ids[start : start + 100]]
        return rows, {"x-wp-total": str(len(self.ids))} if self.counted else {}

    def offset(self, offset: int, count: int) -> Answer:
        del offset, count
        return self.page(1)

    def read(self, **options: Any) -> list[int]:
        found = ListReader(self.offset, what="orders", connection="boutique", fetch_page=self.page)
        return [row["id"] for batch in found.read(**options) for row in batch.rows]


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 150, 200, 201, 1000])
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("counted", [True, False])
def test_a_shop_that_ignores_offset_is_read_by_page(size: int, width: int, counted: bool) -> None:
    shop = PageOnly(size, counted=counted)
    assert shop.read(tasks=EagerTasks(), width=width) == shop.ids


def test_by_page_rows_that_moved_up_are_not_missed() -> None:
    shop = PageOnly(400)
    shop.loses_at = (4, slice(10, 15))
    found = shop.read()
    assert set(shop.ids) <= set(found)


@pytest.mark.failure_mode(13)
def test_a_shop_that_ignores_offset_and_page_is_an_error_never_success() -> None:
    with pytest.raises(ContractViolation, match="given before"):
        PageOnly(300, understands_page=False).read()


def test_a_resumed_read_finds_out_too() -> None:
    shop = PageOnly(350)
    assert shop.read(offset=200, after_id=200) == list(range(201, 351))


@pytest.mark.parametrize("size", [1002, 1100, 1101, 1500])
@pytest.mark.parametrize("offset", [99, 990, 1000])
@pytest.mark.parametrize("counted", [True, False])
def test_a_resumed_read_of_a_shop_that_understands_offset_stays_with_it(size: int, offset: int, counted: bool) -> None:
    """Its first page is not the list's first page: taking it for that lost the join of pages, and at a multiple of a
    hundred ended every further read with `given before`, whoever tried.
    """
    server = Server(list(range(1, size + 1)), counted=counted)

    def by_page(number: int) -> Answer:
        raise AssertionError(f"page {number} was asked for: the shop was thought to ignore `offset`")

    def move(at: Server) -> None:
        if at.calls == 3:
            at.ids = at.ids[5:]

    server.between = move
    found = ListReader(server, what="orders", connection="boutique", fetch_page=by_page)
    given = offset + 1  # the row that the page repeats
    got = [row["id"] for batch in found.read(offset=offset, after_id=given) for row in batch.rows]
    assert got == list(range(given + 1, size + 1))


def test_a_shop_that_ignores_everything_while_rows_go_is_an_error_never_success() -> None:
    """The page that comes again is another one by a row, so only its length tells that it is no page from there."""
    ids = list(range(1, 131))

    def deaf(offset: int, count: int) -> Answer:
        answer = [{"id": n} for n in ids[:count]], {"x-wp-total": str(len(ids))}
        ids.pop(0)
        return answer

    def deaf_page(number: int) -> Answer:
        return deaf(0, PAGE_ROWS)

    doubtful = ListReader(deaf, what="orders", connection="boutique", fetch_page=deaf_page)
    with pytest.raises(ContractViolation) as refused:
        list(doubtful.read())
    assert refused.value.code == "repeated_page"


def test_a_row_that_moves_up_while_the_reading_goes_over_to_pages_is_not_lost() -> None:
    """Between the first page and the first one by number a row went, and the 101st became the 100th."""
    ids = list(range(1, 131))
    calls = 0

    def deaf(offset: int, count: int) -> Answer:
        nonlocal calls
        calls += 1
        answer = [{"id": n} for n in ids[:count]], {"x-wp-total": str(len(ids))}
        if calls == 1:
            ids.remove(50)
        return answer

    def by_page(number: int) -> Answer:
        rows = ids[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
        return [{"id": n} for n in rows], {"x-wp-total": str(len(ids))}

    reader = ListReader(deaf, what="orders", connection="boutique", fetch_page=by_page)
    assert {row["id"] for batch in reader.read() for row in batch.rows} >= set(range(1, 131)) - {50}


@pytest.mark.parametrize("moment", [2, 3, 4, 5, 6])
def test_by_page_a_row_that_goes_while_another_comes_hides_none(moment: int) -> None:
    """The count stays as it was, and the 101st (or 201st) row is the last of the page before."""
    ids, calls = list(range(1, 331)), 0

    def deaf(offset: int, count: int) -> Answer:
        nonlocal calls
        calls += 1
        answer = [{"id": n} for n in ids[offset : offset + count]], {"x-wp-total": str(len(ids))}
        if calls == moment:
            ids.remove(50)
            ids.append(1000)
        return answer

    found = ListReader(
        lambda offset, count: deaf(0, count),
        what="orders",
        connection="boutique",
        fetch_page=lambda number: deaf((number - 1) * PAGE_ROWS, PAGE_ROWS),
    )
    got = [row["id"] for batch in found.read() for row in batch.rows]
    assert sorted({*got, 50}) == [*range(1, 331), 1000]
    assert len(got) == len(set(got))


def test_a_resumed_read_that_goes_over_to_pages_begins_at_the_first() -> None:
    """What its position reached lies in the middle of a page: nothing of it may be skipped."""
    assert PageOnly(250).read(offset=149, after_id=40) == list(range(41, 251))
