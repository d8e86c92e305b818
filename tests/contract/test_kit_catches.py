"""The kit fails, each time naming the rule, on faults planted in the demonstration connectors: one for each rule."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from comptoir_demo.connector import DemoConnector

from comptoir.testing import ConnectorKit, run_suite
from comptoir.testing.conformance import RULES, declared

from tests.contract import planted_writing  # noqa: F401 - importing it plants its faults
from tests.contract.demo_kit import DemoKit
from tests.contract.planted import SHOP_FAULTS, item_manifest
from tests.contract.planted_reading import FiltersByCreation
from tests.contract.planted_till import TILL_FAULTS

FAULTS: list[tuple[str, type[ConnectorKit]]] = [*SHOP_FAULTS, *TILL_FAULTS]


@pytest.mark.parametrize(("rule", "kit"), FAULTS, ids=[f"{rule}-{kit.__name__}" for rule, kit in FAULTS])
def test_a_planted_fault_is_caught_by_its_rule(rule: str, kit: type[ConnectorKit]) -> None:
    failed = [verdict for verdict in run_suite(kit, [rule]) if verdict.state == "failed"]
    assert failed, f"{kit.__name__} breaks {rule} {RULES[rule].name}, and the kit passes it"
    for verdict in failed:
        assert verdict.rule == rule
        assert verdict.message.startswith(f"{rule} {RULES[rule].name}")
        assert f"Rule: {RULES[rule].says}" in verdict.message
        assert f"To do: {RULES[rule].do}" in verdict.message


def test_every_rule_has_a_planted_fault() -> None:
    assert set(RULES) == {rule for rule, _ in FAULTS}


@pytest.mark.failure_mode(2)
def test_a_cursor_on_what_an_edit_does_not_move_is_no_cursor() -> None:
    class OnBirth(DemoKit):
        shop_model = FiltersByCreation

    (verdict,) = run_suite(OnBirth, ["K12"])[:1]
    assert (verdict.subject, verdict.state) == ("pull item", "failed")
    assert "edited after the cursor and is not given" in verdict.message

    class Swept(OnBirth):
        class connector(DemoConnector):  # type: ignore[assignment]
            manifest = item_manifest(cursor="sweep", overlap_seconds=0)

    assert {verdict.state for verdict in run_suite(Swept, ["K01", "K12"])} == {"passed"}


def test_the_kit_does_not_need_pytest() -> None:
    code = "import sys, comptoir.testing; print('pytest' in sys.modules, '_pytest' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False", "False"]


def test_what_the_kit_lacks_is_said_of_the_kit() -> None:
    class Lazy(DemoKit):
        create = ConnectorKit.create

    (verdict,) = [v for v in run_suite(Lazy, ["K10"]) if v.subject == "pull item"]
    assert (verdict.rule, verdict.state) == ("K00", "failed")
    assert "K10 read-is-whole needs create() of the kit" in verdict.message


def test_an_exemption_is_a_skip_that_says_why() -> None:
    class Exempt(DemoKit):
        exempt = {"K14 item": "the shop shows no dates of items"}  # noqa: RUF012 - as an author writes it

    verdicts = {v.subject: v for v in run_suite(Exempt, ["K14"])}
    assert verdicts["pull item"].state == "skipped"
    assert "the shop shows no dates of items" in verdicts["pull item"].message


def test_an_exemption_that_nobody_needs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exempt(DemoKit):
        exempt = {"K14 item": "the shop shows no dates of items"}  # noqa: RUF012 - as an author writes it

    monkeypatch.setattr(declared, "_exempt_in_quality", lambda connector: Exempt.exempt)
    (verdict,) = run_suite(Exempt, ["K00"])
    assert (verdict.state, verdict.rule) == ("failed", "K00")
    assert "K14 item, and it holds: take the exemption out" in verdict.message


def test_an_unknown_rule_is_no_pass() -> None:
    with pytest.raises(ValueError, match="no rule K77"):
        run_suite(DemoKit, ["K77"])


def test_the_page_about_the_kit_lists_every_rule_in_its_words() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "connector-kit.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| K")]
    assert rows == [f"| {rule.id} | {rule.name} | {rule.says} |" for _, rule in sorted(RULES.items())]
