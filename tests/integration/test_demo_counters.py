"""The demo's small shops without Airflow: sold, handed over, forgotten, imported, acknowledged, and stock up again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comptoir.airflow import demo_story
from comptoir.airflow.demo_counters import ROUTES, STOCK_ROUTES, Counters
from comptoir.airflow.demo_store import DemoStore
from comptoir.airflow.demo_story import COUNTERS, Merchant
from comptoir.app.bootstrap import check_installation, open_installation
from comptoir.app.quarantine import list_open
from comptoir.app.run_route import run_route
from comptoir.model.refs import RunState


@pytest.fixture
def merchant(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Merchant]:
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", database_url)
    # A file is overdue at once, and an export is read at once.
    monkeypatch.setattr(demo_story, "PATIENCE_HOURS", 0.000001)
    made = Merchant(tmp_path)
    made.write_files("http://127.0.0.1:9")
    text = made.config.read_text(encoding="utf-8")
    for name in COUNTERS.values():
        text = text.replace(f'folder = "exchange/{name}"', f'folder = "exchange/{name}"\nquiet_seconds = 0')
    made.config.write_text(text, encoding="utf-8")
    made.open_shops()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    try:
        yield made
    finally:
        made.close()


def test_sold_forgotten_imported_and_on_sale_again(merchant: Merchant, database_url: str) -> None:
    store = DemoStore(database_url)
    counters = Counters(merchant, store)

    def round_of(*routes: str) -> None:
        installation = check_installation(merchant.config)
        with open_installation(installation) as hub:
            for route in routes:
                report = run_route(hub, route)
                assert report.state is RunState.SUCCESS, (route, report, list_open(merchant.config))

    merchant.export()
    round_of(*ROUTES, *STOCK_ROUTES)
    merchant.import_files()
    list(counters.happen())
    assert len(counters.lacking()) == 6
    round_of(*ROUTES)
    merchant.import_files()
    assert counters.lacking() == [] and not counters.imported()
    told = counters.forgotten()
    assert len(told) == 2 and all(item.urgent and item.amount for item in told)
    counters.come_back()
    merchant.import_files()
    assert not counters.stock_is_right()
    round_of(*ROUTES)
    assert counters.imported()
    # What was booked before an export and heard of after it would count twice.
    merchant.export()
    round_of(*STOCK_ROUTES)
    checks = {check.name: check for check in counters.checks({})}
    assert [name for name, check in checks.items() if not check.ok] == [], checks
    assert list_open(merchant.config) == []
    store.close()
