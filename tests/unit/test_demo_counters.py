"""The demo's checks of Sage and Ciel fail when they should: each is shown one document, file or word that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from comptoir.airflow.demo_checks import Check, due_of
from comptoir.airflow.demo_counters import FORGETFUL, Counters
from comptoir.airflow.demo_story import COUNTERS, Merchant
from comptoir.app.bootstrap import check_installation
from comptoir.app.todo import Todo
from comptoir.testing.sales import SaleLine, SalesDocument

D = Decimal
FILE = "COMMANDES_000002.TXT"


class FakeStore:
    """Every document was acknowledged, unless it is told otherwise."""

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.deaf = 0

    def acknowledged(self, name: str) -> int:
        return len(self.merchant.counters[name].program.documents) - self.deaf


class World:
    """A merchant whose hub is this test: what the shops sold stands in the programs, as it should."""

    def __init__(self, merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.merchant, self.store = merchant, FakeStore(merchant)
        self.todo: list[Todo] = []
        monkeypatch.setattr("comptoir.airflow.demo_counters.todo", lambda config: list(self.todo))
        self.counters = Counters(merchant, self.store)  # type: ignore[arg-type]
        self.events = list(self.counters.happen())

    def program(self, name: str) -> Any:
        return self.merchant.counters[name].program

    def take(self, name: str) -> None:
        """Everything that the shop of a program has sold or given back stands in it."""
        shop = next(shop for shop, of in COUNTERS.items() if of == name)
        due = due_of(self.merchant, shop, set())
        for number, total in {s.number: s.total for s in due.paid}.items():
            self.program(name).documents.append(document(number, total))
        for number, total in due.refunds.items():
            self.program(name).documents.append(document(f"AV{number}", total))
        for code in self.merchant.stocked(shop):
            shown = self.merchant.shown(shop, "products", self.merchant.product(shop, code))
            self.program(name).stock[code] = D(shown["stock_quantity"])
        self.program(name).outcomes.append(type("Outcome", (), {"refused": [], "taken": []})())

    def wait(self, name: str, monkeypatch: pytest.MonkeyPatch) -> Decimal:
        """The same, in a file that nobody has imported; its euros."""
        self.take(name)
        program, desk = self.program(name), self.merchant.counters[name]
        held, program.documents = program.documents, []
        program.outcomes.clear()
        folder = desk.folder / "gescom"
        folder.mkdir()
        (folder / FILE).write_bytes(b"x")
        monkeypatch.setattr(program, "orders", lambda name, data: iter(held))
        return sum((d.total for d in held), D(0))

    def checks(self) -> dict[str, Check]:
        return {check.name: check for check in self.counters.checks({})}

    def failed(self) -> list[str]:
        return [name for name, check in self.checks().items() if not check.ok]


def document(number: str, total: Decimal) -> SalesDocument:
    return SalesDocument(
        number, "BC1", "WEBDIVERS", date(2026, 11, 20), True, (SaleLine("X", "X", D(1), total, D(20)),)
    )


def item(amount: str, what: str = f"{FILE} still waits for ciel") -> Todo:
    return Todo("batch", what, "import it", FORGETFUL, amount=D(amount), urgent=True)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    merchant = Merchant(tmp_path)
    merchant.write_files("http://127.0.0.1:8090")
    merchant.open_shops()
    try:
        yield World(merchant, monkeypatch)
    finally:
        merchant.close()


@pytest.fixture
def told(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A day that went as it should: Sage imported at once, Ciel after it was told."""
    world.take("sage")
    euros = world.wait("ciel", monkeypatch)
    world.todo = [item(str(euros))]
    assert world.counters.forgotten() == world.todo
    monkeypatch.undo()
    monkeypatch.setattr("comptoir.airflow.demo_counters.todo", lambda config: list(world.todo))
    (world.merchant.counters["ciel"].folder / "gescom" / FILE).unlink()
    world.take("ciel")
    world.todo = []
    return world


def test_the_configuration_books_each_sale_once(world: World) -> None:
    settings = check_installation(world.merchant.config).settings
    assert {shop: settings.connections[shop].invoicing for shop in COUNTERS} == COUNTERS
    assert settings.alerts.after_working_hours * 3600 < 30 and not settings.alerts.holidays


def test_nothing_is_there_before_it_was_brought(world: World) -> None:
    assert world.counters.lacking() and not world.counters.imported()
    assert len(world.failed()) == 7, world.checks()
    assert [event.key for event in world.events].count("sale") == 4


def test_while_the_demo_is_up_the_small_shops_sell_by_turns(world: World) -> None:
    sold = [world.counters.sale() for _ in range(5)]
    assert [event.shop for event in sold] == ["kiosque", "marche", "kiosque", "marche", "kiosque"]
    assert all(any(sale.number == event.number for sale in world.merchant.sales(event.shop)) for event in sold)


def test_a_forgotten_import_is_there_and_not_imported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.take("sage")
    euros = world.wait("ciel", monkeypatch)
    assert world.counters.lacking() == [] and not world.counters.imported()
    assert world.counters.forgotten() == ()
    world.todo = [item(str(euros), "another file still waits for ciel")]
    assert world.counters.forgotten() == ()
    assert world.merchant.import_files() == [], "nobody is at Ciel's desk"


def test_a_day_as_it_should_be_holds(told: World) -> None:
    assert told.failed() == [], told.checks()
    assert told.counters.imported()


def _documents(world: World, name: str) -> list[SalesDocument]:
    found: list[SalesDocument] = world.program(name).documents
    return found


@pytest.mark.parametrize(
    ("sabotage", "named"),
    [
        (lambda w: _documents(w, "sage").append(_documents(w, "sage")[0]), "every paid order and refund of kiosque"),
        (lambda w: _documents(w, "sage").pop(), "every paid order and refund of kiosque"),
        (
            lambda w: _documents(w, "ciel").__setitem__(0, replace(_documents(w, "ciel")[0], freight=D("0.01"))),
            "every paid order and refund of marche",
        ),
        (lambda w: _documents(w, "ciel").append(document("1", D("9.00"))), "Ciel could read and took everything"),
        (lambda w: w.merchant.counters["sage"].unreadable.append(("x", "y")), "Sage could read"),
        (lambda w: w.program("sage").outcomes[0].refused.append(("7", "article inconnu")), "Sage could read"),
        (lambda w: w.program("sage").stock.update({"K-MUG-001": D(1)}), "what comes in and what is sold"),
        (lambda w: setattr(w.store, "deaf", 1), "Sage's list and Ciel's .BAK"),
        (lambda w: w.todo.append(item("1.00")), "an import that was forgotten"),
        (lambda w: setattr(w.counters, "_told", ()), "an import that was forgotten"),
        (lambda w: setattr(w.counters, "_told", [item("0.01")]), "an import that was forgotten"),
    ],
)
def test_one_thing_that_is_wrong_is_found(told: World, sabotage: Callable[[World], object], named: str) -> None:
    sabotage(told)
    assert any(name.startswith(named) for name in told.failed()), told.checks()
