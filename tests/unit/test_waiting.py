"""The names of what can wait: each route's topics, and that they agree with what the engine reads and sends."""

from __future__ import annotations

import itertools
import subprocess
import sys
from types import SimpleNamespace

import pytest

from comptoir.engine.hub import BROUGHT_ALONG
from comptoir.engine.webhooks import hinted_entities
from comptoir.model.refs import EntityName
from comptoir.store.waiting import TRAVELS_WITH, Mark, Snapshot, lock_of, topics_of

ORDER, ITEM, STOCK, CUSTOMER, BOOKS = (
    EntityName.ORDER,
    EntityName.ITEM,
    EntityName.STOCK,
    EntityName.CUSTOMER,
    EntityName.JOURNAL_ENTRY,
)


def test_orders_travel_with_their_refunds_as_the_engine_has_it() -> None:
    assert dict(TRAVELS_WITH) == BROUGHT_ALONG


@pytest.mark.parametrize(
    ("entity", "sources", "targets", "webhooks", "topics"),
    [
        (ORDER, ["shop"], ["gesco"], True, ["inbox:shop:order", "due:gesco:order", "due:gesco:refund"]),
        (ORDER, ["shop"], ["gesco"], False, ["due:gesco:order", "due:gesco:refund"]),
        (ORDER, ["a", "b"], [], True, ["inbox:a:order", "inbox:b:order"]),
        (BOOKS, ["hub"], ["compta"], False, ["dirty:journal", "due:compta:journal_entry"]),
        (
            BOOKS, ["hub"], ["compta"], True,
            ["inbox:booked:order", "dirty:journal", "due:compta:journal_entry"],
        ),
        (
            STOCK, ["gesco"], ["a", "b"], False,
            ["dirty:stock:a", "due:a:stock", "dirty:stock:b", "due:b:stock"],
        ),
        (ITEM, ["gesco"], ["shop"], True, ["inbox:gesco:item", "inbox:shop:item", "due:shop:item"]),
        (CUSTOMER, ["shop"], ["gesco"], False, ["due:gesco:customer"]),
        (ITEM, ["shop"], [], False, []),
    ],
)  # fmt: skip
def test_topics_of_a_route(
    entity: EntityName, sources: list[str], targets: list[str], webhooks: bool, topics: list[str]
) -> None:
    assert topics_of(entity, sources, targets, webhooks=webhooks, channels=["booked"]) == topics


@pytest.mark.parametrize("entity", [ORDER, ITEM, STOCK, CUSTOMER, BOOKS])
@pytest.mark.parametrize("sources", [("shop",), ("gesco", "shop"), ("hub",)])
@pytest.mark.parametrize("triggers", [(), ("webhook",)])
def test_a_route_is_woken_by_the_webhooks_that_are_asked_for_it(
    entity: EntityName, sources: tuple[str, ...], triggers: tuple[str, ...]
) -> None:
    route = SimpleNamespace(entity=entity, sources=sources, targets=("till",), triggers=triggers)
    asked = {
        f"inbox:{connection}:{each.value}"
        for connection in ("shop", "gesco", "till", "other")
        for each in hinted_entities(connection, [route], ["shop"])
    }
    topics = topics_of(entity, sources, ("till",), webhooks="webhook" in triggers, channels=["shop"])
    assert asked == {topic for topic in topics if topic.startswith("inbox:")}


def test_no_topic_stands_twice() -> None:
    for entity, webhooks in itertools.product(EntityName, (True, False)):
        topics = topics_of(entity, ["a", "b"], ["c", "d"], webhooks=webhooks)
        assert len(topics) == len(set(topics))


def test_a_snapshot_tells_routes_at_work_apart() -> None:
    seen = Snapshot({"due:gesco:order": Mark(7, 1)}, frozenset({lock_of("orders")}))
    assert seen.is_at_work("orders")
    assert not seen.is_at_work("books")
    assert seen.of(["inbox:shop:order", "due:gesco:order"]) == {"due:gesco:order": Mark(7, 1)}
    assert all(0 <= part < 1 << 32 for part in lock_of("orders")), "as pg_locks shows them"


def test_the_names_are_had_without_the_driver() -> None:
    code = (
        "import sys; import comptoir.store.waiting; "
        "print([n for n in sys.modules if n.startswith(('psycopg', 'sqlalchemy', 'comptoir.engine', 'comptoir.app'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
