"""Machines whose clocks differ from the store's: nothing waits for that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from comptoir.engine.hub import Hub
from comptoir_woocommerce.sandbox import ServerClock

from tests.support.merchant import Merchant, request_json, simple_order


class _Ahead(ServerClock):
    """A minute and a half ahead of everybody else."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=90)


def test_what_a_machine_that_is_ahead_plans_is_delivered_by_the_same_run(
    make_merchant: Callable[..., Merchant],
) -> None:
    merchant = make_merchant()
    number = request_json(merchant.shop(), "POST", "/orders", simple_order())["number"]

    def ahead(hub: Hub) -> None:
        hub.ports.clock = _Ahead()

    assert merchant.run("orders", change=ahead).main.delivered == 1
    assert merchant.order_numbers() == [number]
