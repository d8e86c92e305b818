"""What waits in the store: which topics have work, and that a look stays cheap however much there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from comptoir.errors import DatabaseUnavailable
from comptoir.store import schema, waiting
from comptoir.store.database import Database
from comptoir.store.outbox import Outbox
from comptoir.store.waiting import Mark, Snapshot, WaitingWork, Watch, at_work

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(database_url: str) -> Iterator[Database]:
    """The store, whose clock stands at NOW."""
    database = Database(database_url)
    database.session().execute(f"set comptoir.now = '{NOW.isoformat()}'")
    yield database
    database.close()


def look(store: Database) -> dict[str, int]:
    return {topic: mark.count for topic, mark in WaitingWork(store.session()).look().items()}


def hint(store: Database, connection: str = "boutique", entity: str = "order", *, done: bool = False) -> int:
    row = store.session().row(
        "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at, done_at) "
        "values (%s, %s, '1', 'updated', %s, %s, %s) returning id",
        (connection, entity, str(uuid4()), NOW, NOW if done else None),
    )
    assert row is not None
    return int(row[0])


def delivery(store: Database, state: str, due: timedelta = timedelta(0), **more: Any) -> UUID:
    fields = {
        "id": uuid4(), "target": "gesco", "entity": "order", "record_id": uuid4(), "source": "boutique",
        "route": "orders", "natural_key": "1001", "action": "create", "state": state, "due_at": NOW + due,
        "created_at": NOW, **more,
    }  # fmt: skip
    names, marks = ", ".join(fields), ", ".join(["%s"] * len(fields))
    store.session().execute(f"insert into delivery ({names}) values ({marks})", list(fields.values()))
    return fields["id"]


def publication(store: Database, state: str, due: timedelta = timedelta(0), target: str = "boutique") -> None:
    store.session().execute(
        "insert into publication (target, entity, external_id, source, record_id, route, label, wanted, state, "
        "due_at, wanted_at) values (%s, 'stock', %s, 'gesco', %s, 'stock', 'MUG-001', '{}', %s, %s, %s)",
        (target, str(uuid4()), uuid4(), state, NOW + due, NOW),
    )


def pause(store: Database, connection: str, state: str = "paused") -> None:
    store.session().execute(
        "insert into connection_state (connection, state, by_whom, since) values (%s, %s, 'anne', %s) "
        "on conflict (connection) do update set state = excluded.state",
        (connection, state, NOW),
    )


def test_an_empty_store_has_no_work(store: Database) -> None:
    assert look(store) == {}


def test_webhooks_wait_until_they_are_done(store: Database) -> None:
    hint(store)
    newest = hint(store)
    hint(store, done=True)
    hint(store, "boutique", "item")
    hint(store, "marche", "order")
    assert look(store) == {"inbox:boutique:order": 2, "inbox:boutique:item": 1, "inbox:marche:order": 1}
    assert WaitingWork(store.session()).look()["inbox:boutique:order"].newest == newest


def test_deliveries_count_once_their_time_has_come_and_nobody_holds_them(store: Database) -> None:
    second = timedelta(seconds=1)
    delivery(store, "pending")
    delivery(store, "pending", lease_holder="dead", lease_until=NOW - second)
    delivery(store, "in_doubt", -second)
    # Sent by a worker that is gone: somebody has to look it up.
    delivery(store, "sent", lease_until=NOW - second)
    assert look(store) == {"due:gesco:order": 4}
    delivery(store, "pending", second)
    delivery(store, "pending", lease_holder="alive", lease_until=NOW + second)
    delivery(store, "in_doubt", second)
    delivery(store, "sent", lease_until=NOW + second)
    delivery(store, "held")
    delivery(store, "confirmed")
    delivery(store, "dead")
    assert look(store) == {"due:gesco:order": 4}


def test_what_counts_is_what_a_worker_can_claim(store: Database) -> None:
    """A refund whose order the target does not know yet would wake its route for ever."""
    order, refund = uuid4(), uuid4()
    common = {"raw_id": uuid4(), "mapping_hash": "x", "rev": 1, "created_at": NOW, "updated_at": NOW}
    insert(
        store, "sales_order", id=order, connection="boutique", external_id="7", number="7", source_status="paid",
        ordered_at=NOW, ordered_on=NOW.date(), currency="EUR", price_basis="incl", rounding_level="line",
        rounding_mode="half_up", account="guest", payment_state="paid", fulfilment_state="none", return_state="none",
        hold="none", total=1, total_tax=0, computed_total=1, residual=0, before_cutover=False, **common,
    )  # fmt: skip
    insert(
        store, "refund", id=refund, connection="boutique", external_id="8", number="8", order_external_id="7",
        order_number="7", refunded_at=NOW, refunded_on=NOW.date(), currency="EUR", amount=1, payment_method="card",
        before_cutover=False, **common,
    )  # fmt: skip
    delivery(store, "pending", entity="refund", record_id=refund)
    assert look(store) == {}
    insert(
        store, "binding", id=uuid4(), record_id=order, connection="gesco", entity="order", external_id="7",
        state="linked", first_seen=NOW, last_seen=NOW,
    )  # fmt: skip
    assert look(store) == {"due:gesco:refund": 1}
    from comptoir.model.refs import EntityName

    with store.transaction() as session:
        assert len(Outbox(session).claim("gesco", EntityName.REFUND, "me", limit=9, lease_seconds=60)) == 1
    assert look(store) == {}


def insert(store: Database, table: str, **fields: Any) -> None:
    names, marks = ", ".join(fields), ", ".join(["%s"] * len(fields))
    store.session().execute(f"insert into {table} ({names}) values ({marks})", list(fields.values()))


def test_publications_and_deliveries_of_a_target_are_one_topic(store: Database) -> None:
    publication(store, "due")
    publication(store, "sent", -timedelta(minutes=1))
    publication(store, "due", timedelta(minutes=1))
    for state in ("held", "done", "refused"):
        publication(store, state)
    assert look(store) == {"due:boutique:stock": 2}
    delivery(store, "pending", target="boutique", entity="stock")
    assert look(store) == {"due:boutique:stock": 3}


def test_marks_of_what_must_be_derived_again(store: Database) -> None:
    for kind in ("journal", "journal", "stock"):
        insert(store, "dirty", kind=kind, record_id=uuid4(), marked_at=NOW)
    assert look(store) == {"dirty:journal": 2, "dirty:stock": 1}


def test_a_paused_connection_has_no_work_until_it_goes_on(store: Database) -> None:
    hint(store)
    hint(store, "marche")
    delivery(store, "pending")
    publication(store, "due")
    pause(store, "boutique")
    assert look(store) == {"inbox:marche:order": 1, "due:gesco:order": 1}
    pause(store, "gesco")
    assert look(store) == {"inbox:marche:order": 1}
    pause(store, "boutique", "active")
    pause(store, "gesco", "active")
    assert set(look(store)) == {
        "inbox:boutique:order", "inbox:marche:order", "due:gesco:order", "due:boutique:stock",
    }  # fmt: skip


def test_newest_grows_when_something_comes(store: Database) -> None:
    def newest() -> dict[str, int]:
        return {topic: mark.newest for topic, mark in WaitingWork(store.session()).look().items()}

    hint(store)
    delivery(store, "pending", -timedelta(seconds=9))
    insert(store, "dirty", kind="journal", record_id=uuid4(), marked_at=NOW)
    before = newest()
    hint(store)
    delivery(store, "pending", -timedelta(seconds=8))
    insert(store, "dirty", kind="journal", record_id=uuid4(), marked_at=NOW + timedelta(microseconds=1))
    after = newest()
    assert set(after) == {"inbox:boutique:order", "due:gesco:order", "dirty:journal"}
    assert all(after[topic] > before[topic] for topic in after)


def test_the_watch_sees_the_same_and_which_routes_are_at_work(store: Database, database_url: str) -> None:
    hint(store)

    async def watch() -> list[Snapshot]:
        open_watch = await Watch.connect(database_url)
        try:
            seen = [await open_watch.look()]
            with at_work(store, "orders") as mine:
                assert mine
                seen.append(await open_watch.look())
            seen.append(await open_watch.look())
            return seen
        finally:
            await open_watch.close()

    before, during, after = asyncio.run(watch())
    assert {topic: mark.count for topic, mark in before.topics.items()} == {"inbox:boutique:order": 1}
    assert [s.is_at_work("orders") for s in (before, during, after)] == [False, True, False]
    assert not during.is_at_work("books")


def test_a_route_is_shown_at_work_by_one_run_at_a_time(store: Database, database_url: str) -> None:
    other = Database(database_url)
    try:
        with at_work(store, "orders") as first, at_work(other, "orders") as second:
            assert (first, second) == (True, False)
        # The second one did not give back what the first one held.
        with at_work(other, "orders") as again:
            assert again
    finally:
        other.close()


def test_an_error_of_the_work_is_not_hidden_by_a_connection_that_is_gone(store: Database) -> None:
    with pytest.raises(RuntimeError, match="the work"), at_work(store, "orders"):
        store.close()
        raise RuntimeError("the work")


def test_a_database_that_is_gone_or_empty_is_said_as_such(server: Any, database_url: str) -> None:
    async def cut() -> None:
        watch = await Watch.connect(database_url)
        await watch.look()
        with psycopg.connect(schema.plain_url(database_url), autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'comptoir watch' "
                "and datname = current_database()"
            )
        with pytest.raises(DatabaseUnavailable):
            await watch.look()
        await watch.close()

    async def empty() -> None:
        watch = await Watch.connect(server.url("postgres"))
        try:
            with pytest.raises(DatabaseUnavailable, match="not migrated"):
                await watch.look()
        finally:
            await watch.close()

    asyncio.run(cut())
    asyncio.run(empty())
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(Watch.connect("postgresql://nobody@127.0.0.1:9/none"))


def test_a_look_reads_what_waits_and_not_what_is_done(store: Database) -> None:
    """100,000 settled rows of each kind, and a few that wait: only the partial indexes are read."""
    session = store.session()
    session.execute(
        "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at, done_at) "
        "select 'boutique', 'order', n::text, 'updated', n::text, %s, %s from generate_series(1, 100000) n",
        (NOW, NOW),
    )
    session.execute(
        "insert into delivery (id, target, entity, record_id, source, route, natural_key, action, state, due_at, "
        "created_at) select md5(n::text)::uuid, 'gesco', 'order', md5(n::text)::uuid, 'boutique', 'orders', n::text, "
        "'create', 'confirmed', %s, %s from generate_series(1, 100000) n",
        (NOW, NOW),
    )
    session.execute(
        "insert into publication (target, entity, external_id, source, record_id, route, label, wanted, state, "
        "due_at, wanted_at) select 'boutique', 'stock', n::text, 'gesco', md5(n::text)::uuid, 'stock', n::text, '{}', "
        "'done', %s, %s from generate_series(1, 100000) n",
        (NOW, NOW),
    )
    for _ in range(10):
        hint(store)
        delivery(store, "pending")
        publication(store, "due")
    session.execute("analyze inbox")
    session.execute("analyze delivery")
    session.execute("analyze publication")
    row = session.row("explain (analyze, buffers, format json) " + waiting._statement())
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    nodes = list(walk(plan[0]["Plan"]))
    scanned = {node["Relation Name"]: node for node in nodes if node.get("Relation Name")}
    read = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if "Relation Name" in node
    )
    print(f"{plan[0]['Execution Time']:.2f} ms, {read:.0f} rows read")
    assert read < 200, {name: node["Node Type"] for name, node in scanned.items()}
    assert look(store) == {"inbox:boutique:order": 10, "due:gesco:order": 10, "due:boutique:stock": 10}


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


def test_topics_change_with_what_a_mark_says(store: Database) -> None:
    hint(store)
    seen = Snapshot(WaitingWork(store.session()).look())
    assert seen.of(["inbox:boutique:order", "due:gesco:order"]) == {
        "inbox:boutique:order": Mark(seen.topics["inbox:boutique:order"].newest, 1)
    }
