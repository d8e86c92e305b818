"""`comptoir proof`: what the store knows of an order adds up, and a cent that does not is named."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from comptoir.app.proof import prove_orders
from comptoir.cli.commands import app
from comptoir.domain.proof import explain
from comptoir.errors import ConfigError

from tests.support.merchant import SELF_CONFIG, Merchant, request_json, simple_order


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = make_merchant(SELF_CONFIG)
    made.shop()
    return made


def test_every_order_that_was_booked_is_proved_to_the_cent(merchant: Merchant) -> None:
    merchant.shops["boutique"].seed_orders(200)
    merchant.run("books")
    numbers = [row[0] for row in merchant.rows("select number from sales_order order by number")]
    booked = {row[0] for row in merchant.rows("select distinct document from journal_entry where kind = 'sale'")}
    assert len(numbers) == 200 and len(booked) > 100
    for number in numbers[:60]:
        (found,) = prove_orders(merchant.config, number)
        assert explain(found.sheet) == []
        assert found.sheet.residual == 0
        steps = {step.name: step for step in found.sheet.steps}
        assert (steps["posted"].amount is not None) == (number in booked)


def test_a_cent_planted_in_the_store_is_named_by_the_command(merchant: Merchant) -> None:
    made = request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run("books")
    number = str(made["id"])
    runner = CliRunner()
    told = runner.invoke(app, ["--config", str(merchant.config), "proof", number])
    assert told.exit_code == 0, told.output
    assert "proved" in told.output
    with merchant.hub() as hub, hub.database.transaction() as session:
        session.execute("update order_line set net = net + 0.01 where position = 1")
    told = runner.invoke(app, ["--config", str(merchant.config), "proof", number, "--json"])
    assert told.exit_code == 6
    (sheet,) = json.loads(told.stdout)
    assert sheet["state"] == "unexplained"
    assert any("0.01 EUR" in words for words in sheet["explanation"]), sheet["explanation"]
    assert any(words.startswith(("lines", "tax", "total")) for words in sheet["explanation"])


def test_an_unknown_order_says_what_may_be_asked(merchant: Merchant) -> None:
    merchant.run("books")
    with pytest.raises(ConfigError, match="no order is known under 'nobody'"):
        prove_orders(merchant.config, "nobody")
