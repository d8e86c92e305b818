"""`comptoir check-connector`: a scaffolded package passes; each thing that can be wrong with one is listed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from comptoir.app.connector_check import Fault, check_connector
from comptoir.app.connector_check.ports import BANNED
from comptoir.app.connector_check.quality import TIERS
from comptoir.app.scaffold import new_connector
from comptoir.cli.commands import app
from comptoir.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 22)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_connector("corner shop".replace(" ", "_"), tmp_path).folder


def faults(path: Path) -> list[Fault]:
    return list(check_connector(path, today=TODAY).faults)


def package(project: Path) -> Path:
    return project / "comptoir_corner_shop"


def rewrite(file: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of one file of the package (or, with `../`, of the project)."""

    def change(project: Path) -> None:
        path = package(project) / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r} any more"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def append(file: str, text: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        path = package(project) / file
        path.write_text(f"{path.read_text(encoding='utf-8') if path.exists() else ''}{text}", encoding="utf-8")

    return change


def remove(file: str) -> Callable[[Path], None]:
    return lambda project: (package(project) / file).unlink()


@pytest.mark.parametrize("kind", ["python", "rest", "files"])
def test_what_new_connector_writes_has_no_fault(tmp_path: Path, kind: str) -> None:
    made = new_connector("atelier", tmp_path, kind=kind)  # type: ignore[arg-type]
    for path in (made.folder, made.folder / made.package):
        report = check_connector(path, today=TODAY)
        assert (report.package, report.tier, report.faults) == (made.package, "bronze", ())


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "connectors").glob("comptoir_*")))
def test_our_own_connectors_have_no_fault(name: str) -> None:
    report = check_connector(ROOT / "connectors" / name, today=TODAY)
    assert report.faults == ()
    assert report.tier in ("silver", "gold")


@pytest.mark.parametrize(
    ("change", "rule", "file", "words"),
    [
        (remove("README.md"), "layout", "README.md", "README.md is missing"),
        (remove("quality.yaml"), "layout", "quality.yaml", "quality.yaml is missing"),
        (remove("py.typed"), "layout", "py.typed", "py.typed is missing"),
        (remove("config.py"), "layout", "config.py", "config.py is missing"),
        (remove("manifest.toml"), "layout", "manifest.toml", "manifest.toml is missing"),
        (rewrite("README.md", "# ", "## "), "readme", "README.md", "no title"),
        (
            rewrite("connector.py", "config_model", "settings_model"),
            "layout",
            "connector.py",
            "manifest and config_model",
        ),
        (rewrite("config.py", "(ConnectorConfig)", ""), "layout", "config.py", "ConnectorConfig"),
        (
            rewrite("../tests/test_contract.py", "connector_suite(Corner", "repr(Corner"),
            "tests",
            "tests",
            "conformance suite",
        ),
        (
            rewrite("../pyproject.toml", 'corner_shop = "', 'corner = "'),
            "entry-point",
            "pyproject.toml",
            "is called corner",
        ),
        (
            rewrite("../pyproject.toml", '"comptoir.connectors"', '"elsewhere"'),
            "entry-point",
            "pyproject.toml",
            "no entry point",
        ),
        (
            append("manifest.toml", "\n[entities.unicorn]\npull = true\n"),
            "manifest",
            "manifest.toml",
            "entities.unicorn",
        ),
        (append("manifest.toml", "\n[[entities"), "manifest", "manifest.toml", "no TOML"),
        (rewrite("manifest.toml", 'kind = "shop"', 'kind = "circus"'), "manifest", "manifest.toml", "kind"),
        (rewrite("manifest.toml", 'api_version = "1"\n', ""), "manifest", "manifest.toml", "no api_version"),
        (
            rewrite("manifest.toml", 'api_version = "1"\n', 'api_version = "1"\napi_version_ends = 2026-12-24\n'),
            "manifest",
            "manifest.toml",
            "ends on 2026-12-24",
        ),
        (
            rewrite("manifest.toml", "pull = true", "pull = false"),
            "manifest",
            "manifest.toml",
            "fetched and not pulled",
        ),
        (
            append("manifest.toml", '\n[entities.item.publishes]\nname = ["name"]\n'),
            "manifest",
            "manifest.toml",
            "without push = true",
        ),
        (append("connector.py", "\nfrom comptoir.engine import pull\n"), "imports", "connector.py", "comptoir.engine"),
        (append("connector.py", "\nfrom comptoir import errors\n"), "imports", "connector.py", "comptoir.errors"),
        (append("connector.py", "\nimport comptoir_ebp.text\n"), "imports", "connector.py", "another connector"),
        (append("connector.py", "\nimport sqlalchemy\n"), "imports", "connector.py", "sqlalchemy"),
        (append("connector.py", "\nimport pytest\n"), "imports", "connector.py", "nobody installs"),
        (
            append("connector.py", "\nfrom comptoir.testing import FakeClock\n"),
            "imports",
            "connector.py",
            "comptoir.testing",
        ),
        (append("client.py", "\nimport requests\n"), "ports", "client.py", "ctx.http"),
        (
            append("client.py", "\nfrom datetime import datetime\nNOW = datetime.now()\n"),
            "ports",
            "client.py",
            "Clock.now()",
        ),
        (append("client.py", "\nimport random\n"), "ports", "client.py", "Randomness is a port"),
        (append("sandbox.py", "\nimport random\n"), "ports", "sandbox.py", "Randomness is a port"),
        (append("helpers.py", "def f(:\n"), "python", "helpers.py", "no Python"),
        (append("quality.yaml", "  charm: done\n"), "quality", "quality.yaml", "no rule charm"),
        (append("quality.yaml", "  webhooks: {state: exempt}\n"), "quality", "quality.yaml", "without a reason"),
        (append("quality.yaml", "  webhooks: exempt\n"), "quality", "quality.yaml", "without a reason"),
        (append("quality.yaml", "  webhooks: nearly\n"), "quality", "quality.yaml", "no state"),
        (append("quality.yaml", "  webhooks: done\n"), "quality", "quality.yaml", "webhooks = false"),
        (append("quality.yaml", "  exactly-once: done\n"), "quality", "quality.yaml", "lost_answer"),
        (append("quality.yaml", "  rate-budget: done\n"), "quality", "quality.yaml", "no [budget]"),
        (append("quality.yaml", "kit:\n  K14: later\n"), "quality", "quality.yaml", "a reason is a sentence"),
        (append("quality.yaml", "owner: me\n"), "quality", "quality.yaml", "nothing that it holds"),
        (append("quality.yaml", "  : :\n -"), "quality", "quality.yaml", "no YAML"),
        (rewrite("quality.yaml", "tier: bronze", "tier: diamond"), "quality", "quality.yaml", "`tier`"),
        (
            rewrite("quality.yaml", "tier: bronze", "tier: silver"),
            "quality",
            "quality.yaml",
            "golden-records is not named",
        ),
        (rewrite("quality.yaml", "check: done", "check: todo"), "quality", "quality.yaml", "check is to do"),
    ],
)
def test_what_is_wrong_is_listed(
    project: Path, change: Callable[[Path], None], rule: str, file: str, words: str
) -> None:
    change(project)
    found = faults(project)
    told = [fault for fault in found if fault.rule == rule and fault.file.endswith(file) and words in fault.message]
    assert told, found
    assert all(fault.do for fault in found)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (append("client.py", "import requests\n"), "import requests"),
        (append("quality.yaml", "  charm: done\n"), "  charm: done"),
        (append("manifest.toml", "\n[entities.customer]\npush = true\n"), "push = true"),
    ],
)
def test_a_fault_has_its_line(project: Path, change: Callable[[Path], None], line: str) -> None:
    change(project)
    (fault,) = faults(project)
    assert (project / fault.file).read_text(encoding="utf-8").split("\n")[fault.line - 1] == line


def test_a_description_without_code_names_its_line(tmp_path: Path) -> None:
    made = new_connector("corner_shop", tmp_path, kind="rest")
    append("manifest.toml", '\nunicorns = "two"\n')(made.folder)
    (fault,) = faults(made.folder)
    assert fault.rule == "manifest" and fault.line > 0 and "unicorns" in fault.message


def test_all_faults_are_listed_at_once_and_the_exit_code_is_one(project: Path) -> None:
    for change in (
        remove("README.md"),
        append("client.py", "\nimport requests\n"),
        append("quality.yaml", "  x: done\n"),
    ):
        change(project)
    result = CliRunner().invoke(app, ["check-connector", str(project), "--json"])
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["ok"], said["tier"], said["package"]) == (False, None, "comptoir_corner_shop")
    assert {fault["rule"] for fault in said["faults"]} == {"layout", "ports", "quality"}
    told = CliRunner().invoke(app, ["check-connector", str(project)])
    assert told.exit_code == 1
    assert "comptoir_corner_shop/client.py:" in told.stdout and "[ports]" in told.stdout


def test_a_clean_package_has_exit_code_zero(project: Path) -> None:
    result = CliRunner().invoke(app, ["check-connector", str(package(project)), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["faults"]) == (0, [])


def test_a_sandbox_may_serve_and_use_the_kit(project: Path) -> None:
    append("sandbox.py", "\nimport threading\nfrom comptoir.testing import FakeClock\n")(project)
    assert faults(project) == []


@pytest.mark.parametrize("where", [".", "nothing/here"])
def test_no_package_is_a_wrong_setting(tmp_path: Path, where: str) -> None:
    with pytest.raises(ConfigError):
        check_connector(tmp_path / where, today=TODAY)


def test_a_folder_with_several_asks_which() -> None:
    with pytest.raises(ConfigError, match="comptoir_ebp"):
        check_connector(ROOT, today=TODAY)


def test_the_ports_are_those_that_ruff_knows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table = project["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    # These two are about this repository's folders, which a stranger's package does not have.
    assert {name: entry["msg"] for name, entry in table.items() if name not in ("core", "connectors")} == BANNED


def test_each_rule_of_the_tiers_is_explained() -> None:
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    for tier, rules in TIERS.items():
        section = page.partition(f"## {tier.capitalize()}")[2].partition("\n## ")[0]
        assert [rule for rule in rules if f"| `{rule}` |" not in section] == []
