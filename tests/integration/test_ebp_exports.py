"""EBP's exports through the engine: read once, parked and mended, resumed after a break, 3,000 rows."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from comptoir.engine.counts import EntityCounts, RunReport
from comptoir.engine.pull import pull
from comptoir.errors import TransientError
from comptoir.model.refs import EntityName
from comptoir_ebp.exports import Exports
from comptoir_ebp.sandbox import EbpSandbox

from tests.support.merchant import Merchant

D = Decimal
CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"
"""


class _Office:
    """A merchant and an operator who exports."""

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.operator = EbpSandbox(merchant.exchange)
        self.catalogue = self.operator.books.catalogue

    def seed(self, count: int) -> None:
        for n in range(count):
            self.catalogue.add(f"ART-{n:05d}", f"Étagère n° {n}", D("10.00"), D("12.00"), D(20), stock=D(n))

    def read(self, entity: str) -> EntityCounts:
        """What a run reads from EBP."""
        with self.merchant.hub() as hub:
            report = RunReport(hub.ports.ids.new(), "read", EntityName(entity))
            pull(hub, hub.link("gesco"), report.entity, report)
            return report.main


@pytest.fixture
def office(make_merchant: Callable[..., Merchant]) -> _Office:
    return _Office(make_merchant(CONFIG))


def test_a_file_is_read_once_and_only_what_changed_is_stored(office: _Office) -> None:
    office.seed(1200)
    office.operator.export()
    first = office.read("item")
    assert (first.considered, first.changed) == (1200, 1200)
    again = office.read("item")
    assert again.considered == 0
    office.catalogue.set_price("ART-00007", net=D("11.00"), gross=D("13.20"))
    office.catalogue.set_stock("ART-00008", D(99))
    office.operator.export()
    third = office.read("item")
    assert (third.considered, third.unchanged, third.changed) == (1200, 1199, 1)
    assert office.merchant.value("select count(*) from item where connection = 'gesco'") == 1200
    stock = office.read("stock")
    assert (stock.considered, stock.changed) == (1200, 1200)
    assert office.merchant.value("select on_hand from stock_level where sku = 'ART-00008'") == 99
    assert office.merchant.value("select min(counted_at) from stock_level") == office.merchant.value(
        "select watermark from cursor_position where connection = 'gesco' and entity = 'stock'"
    )


@pytest.mark.failure_mode(34)
def test_a_tie_is_parked_keeps_what_was_known_and_is_mended_by_the_next_file(office: _Office) -> None:
    office.seed(3)
    office.operator.export()
    office.read("item")
    path = office.merchant.exchange / "export" / "ARTICLES.csv"
    office.catalogue.set_price("ART-00001", net=D("99.00"), gross=D("118.80"))
    office.operator.export()
    path.write_bytes(path.read_bytes() + path.read_bytes().split(b"\r\n")[2] + b"\r\nboiteux;ligne\r\n")
    run = office.read("item")
    assert (run.considered, run.unchanged, run.quarantined) == (4, 2, 2)
    parked = office.merchant.rows("select external_id, message from quarantine where state = 'open' order by 1")
    assert [external_id for external_id, _ in parked] == ["ART-00001", "ARTICLES#6"]
    assert "ART-00001 stands on 2 rows (lines 3, 5)" in parked[0][1]
    assert "ARTICLES.csv line 6: it has 2 columns" in parked[1][1]
    assert office.merchant.value("select max(amount) from item_price") == 12
    office.operator.export()
    mended = office.read("item")
    assert (mended.changed, mended.quarantined) == (1, 0)
    left = office.merchant.rows("select external_id from quarantine where state = 'open'")
    assert left == [("ARTICLES#6",)]
    assert office.merchant.value("select max(amount) from item_price") == D("118.80")


def test_a_read_that_breaks_goes_on_where_it_stood(office: _Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.seed(3000)
    office.operator.export()
    page = Exports._page
    count = 0

    def breaks(self: Exports, *args: object) -> object:
        nonlocal count
        count += 1
        if count == 4:
            raise TransientError("the share went away")
        return page(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Exports, "_page", breaks)
    with pytest.raises(TransientError):
        office.read("item")
    stored = office.merchant.value("select count(*) from item")
    assert 0 < stored < 3000
    monkeypatch.setattr(Exports, "_page", page)
    rest = office.read("item")
    assert rest.considered == 3000 - stored
    assert office.merchant.value("select count(*) from item") == 3000
    assert office.read("item").considered == 0
