"""Staging cannot write to production, and each keeps its own database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comptoir.app.bootstrap import open_hub
from comptoir.app.stage import stage_of
from comptoir.engine.hub import Hub
from comptoir.engine.measure import measure
from comptoir.engine.ports import Ports
from comptoir.engine.webhooks import look_after
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName
from comptoir.sdk import Credentials

from tests.support.merchant import Merchant, request_json, simple_order


class _Marked:
    """The merchant's credentials; those of the named connections say that they are for staging."""

    def __init__(self, ports: Ports, names: tuple[str, ...]) -> None:
        self._inner = ports.secrets
        self._names = names

    def get(self, connection: str) -> Credentials | None:
        given = self._inner.get(connection) or Credentials()
        if connection not in self._names:
            return given
        return Credentials(host=given.host, login=given.login, password=given.password, extra={"stage": "staging"})


class Staging(Merchant):
    """The same installation as a staging one."""

    marked: tuple[str, ...] = ()

    @contextmanager
    def hub(self) -> Iterator[Hub]:
        (self.folder / "stage.toml").write_text('stage = "staging"\n')
        ports = self.ports()
        marked = Ports(
            clock=ports.clock, ids=ports.ids, random=ports.random, tasks=ports.tasks, transport=ports.transport,
            secrets=_Marked(ports, self.marked),
        )  # fmt: skip
        with open_hub(self.config, ports=marked) as hub:
            yield hub


@pytest.fixture
def staging(tmp_path: Path, database_url: str) -> Staging:
    merchant = Staging(tmp_path, database_url)
    request_json(merchant.shop(), "POST", "/orders", simple_order())
    return merchant


def test_staging_reads_and_plans_but_writes_nowhere(staging: Staging) -> None:
    report = staging.run(plan_only=True)
    assert report.main.considered == 1
    with pytest.raises(ConfigError, match=r"gesco: this is a staging installation.* nothing was written") as caught:
        staging.run()
    assert caught.value.code == "staging"
    assert "AIRFLOW_CONN_GESCO" in str(caught.value.hint)
    assert not list(staging.exchange.rglob("*.txt")) and staging.order_numbers() == []
    assert {entry.method for entry in staging.shops["boutique"].log} <= {"GET", "POST"}


def test_a_target_that_says_it_is_for_staging_is_written_to(staging: Staging) -> None:
    staging.marked = ("gesco",)
    staging.run()
    assert len(staging.order_numbers()) == 1


def test_nothing_else_writes_to_the_shop_either(staging: Staging) -> None:
    with staging.hub() as hub:
        link = hub.link("boutique")
        for write in (lambda: measure(hub, link), lambda: look_after(link, "https://x.test/hook", [EntityName.ORDER])):
            with pytest.raises(ConfigError, match="boutique: this is a staging installation"):
                write()


def test_production_data_is_not_opened_by_a_staging_configuration(merchant: Merchant) -> None:
    merchant.run()
    (merchant.folder / "stage.toml").write_text('stage = "staging"\n')
    with pytest.raises(ConfigError, match="the database belongs to a production installation"):
        merchant.run()


@pytest.mark.parametrize("text", ['stage = "prod"', "stage = 1", 'stage = "staging"\nmore = 1', "stage =", "\xff"])
def test_a_stage_that_cannot_be_understood_is_no_production(tmp_path: Path, text: str) -> None:
    (tmp_path / "stage.toml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"^stage\.toml"):
        stage_of(tmp_path)
