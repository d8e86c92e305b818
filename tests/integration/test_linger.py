"""A woken run on real PostgreSQL: a webhook's row becomes a document, and the route shows itself at work meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from comptoir.app.linger import run_and_linger, topics_of_route
from comptoir.store.database import Database
from comptoir.store.waiting import WaitingWork, at_work

from tests.support.merchant import Merchant, request_json, simple_order

pytestmark = pytest.mark.integration


def hint(database: Database, key: str, external_id: Any) -> None:
    database.session().execute(
        "insert into inbox (connection, entity, external_id, kind, dedupe_key, received_at) "
        "values ('boutique', 'order', %s, 'updated', %s, comptoir_now())",
        (str(external_id), key),
    )


def test_a_webhook_becomes_a_document_and_what_comes_meanwhile_too(merchant: Merchant) -> None:
    merchant.run()
    before = len(merchant.order_numbers())
    shop = merchant.shops["boutique"]
    first, second = (request_json(shop, "POST", "/orders", simple_order()) for _ in range(2))
    gateway = Database(merchant.url)
    seen: list[bool] = []
    try:
        with merchant.hub() as hub:
            topics = topics_of_route(hub, hub.routes["orders"])
            assert topics[0] == "inbox:boutique:order"
            hint(gateway, "one", first["id"])
            slept = merchant.clock.sleep

            def sleep(seconds: float) -> None:
                # While it lingers: another webhook comes, and nobody else can be at this route.
                if not seen:
                    hint(gateway, "two", second["id"])
                with at_work(gateway, "orders") as mine:
                    seen.append(mine)
                slept(seconds)

            merchant.clock.sleep = sleep  # type: ignore[method-assign]
            report = run_and_linger(hub, "orders", seconds=0.3)
            assert not WaitingWork(hub.database.session()).look().keys() & set(topics)
        assert report["rounds"] == 2
        assert (report["considered"], report["changed"], report["state"]) == (2, 2, "success")
        assert report["delivered"] == 2
        assert len(merchant.order_numbers()) == before + 2
        assert seen
        assert not any(seen)
        with at_work(gateway, "orders") as mine:
            assert mine, "it is over"
        assert merchant.value("select count(*) from run where trigger = 'webhook'") == 2
    finally:
        gateway.close()
