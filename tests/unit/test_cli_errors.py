"""The command line without a database: exit codes, messages, JSON, and how little starting costs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import typer

import comptoir.cli
from comptoir import errors
from comptoir.app.init import EXAMPLE
from comptoir.cli.commands import app
from comptoir.cli.output import OUTPUT
from comptoir.errors import ComptoirError


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Cli]:
    """Runs `comptoir ...` in this process, in an empty folder, without a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMPTOIR_CONFIG", raising=False)
    # Whatever tries to reach a database fails at once.
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("COLUMNS", "200")
    level, handlers = logging.root.level, list(logging.root.handlers)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(OUTPUT, "json", False)
        monkeypatch.setattr(sys, "argv", ["comptoir", *arguments])
        with pytest.raises(SystemExit) as left:
            comptoir.cli.main()
        shown = capsys.readouterr()
        return Said(int(left.value.code or 0), shown.out, shown.err)

    yield run
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers


def commands(group: click.Command | None = None, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command by its words."""
    command: Any = group or typer.main.get_command(app)
    found = [path]
    for name, inner in getattr(command, "commands", {}).items():
        found += commands(inner, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_has_help(cli: Cli, path: tuple[str, ...]) -> None:
    said = cli(*path, "--help")
    assert said.code == 0
    assert "Usage: " in said.out
    assert said.err == ""


def test_the_exit_codes_are_those_of_the_documentation() -> None:
    documented = comptoir.cli.__doc__ or ""
    for name in errors.__all__:
        assert f"{getattr(errors, name).exit_code} " in documented


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ComptoirError, 1), (errors.ConfigError, 2), (errors.AuthError, 3), (errors.TransientError, 4),
     (errors.RateLimited, 4), (errors.OutcomeUnknown, 4), (errors.DatabaseUnavailable, 5), (errors.StorageFull, 5),
     (errors.RecordRejected, 6), (errors.MappingError, 6), (errors.MissingBinding, 6), (errors.ContractViolation, 7)],
)  # fmt: skip
def test_an_error_becomes_its_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[ComptoirError], code: int
) -> None:
    def fail(*_: object) -> None:
        raise kind("it [bold]broke[/bold]", hint="mend it", field="a.b")

    monkeypatch.setattr("comptoir.app.check.check_connections", fail)
    said = cli("check", "--json")
    assert said.code == code
    assert json.loads(said.out)["error"] == {
        "code": kind.code,
        "message": "it [bold]broke[/bold]",
        "hint": "mend it",
        "connection": None,
        "record": None,
        "field": "a.b",
    }
    # Brackets of a remote's words are no markup.
    assert said.err == "error: it [bold]broke[/bold]\n  mend it\n"


def test_interrupted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("comptoir.app.check.check_connections", interrupt)
    assert cli("check").code == 130


NEEDS_CONFIG = [
    ("check",), ("routes",), ("run", "orders"), ("deliver",), ("quarantine", "list"), ("quarantine", "show", "1"),
    ("quarantine", "retry", "--all"), ("export", "fec"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", NEEDS_CONFIG, ids=" ".join)
def test_without_a_configuration(cli: Cli, arguments: tuple[str, ...], tmp_path: Path) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "error: there is no" in said.err
    assert "comptoir init" in said.err
    assert list(tmp_path.iterdir()) == [], "nothing is made on the way"


@pytest.mark.parametrize("arguments", [a for a in NEEDS_CONFIG if a[0] != "export"][:5], ids=" ".join)
def test_with_a_wrong_configuration(cli: Cli, arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(EXAMPLE.replace('"FR"', '"France"'))
    said = cli("--config", "other.toml", *arguments, *(["--json"] if "retry" not in arguments else []))
    assert said.code == 2
    error = json.loads(said.out)["error"]
    assert error["field"] == "company.country"
    assert error["message"].startswith("other.toml:8: company.country: ")


def test_the_configuration_may_come_from_the_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTOIR_CONFIG", str(tmp_path / "named.toml"))
    assert "named.toml" in cli("check").err


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("run",), ("run", "orders", "--since", "gestern"), ("run", "orders", "--nonsense"),
     ("quarantine", "retry"), ("quarantine", "resolve", "1"), ("map", "preview")],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("map", "preview", "woocommerce"), "no mapping's name"),
        (("map", "preview", "nobody.order.in", "--source"), "there is no mapping nobody/order.in.yaml"),
        (("map", "preview", "woocommerce.order.in"), "name a record"),
        (("map", "test", "nobody.order.in"), "no golden records"),
        (("schema", "gadget"), "there is no model 'gadget'"),
    ],
)
def test_unknown_names(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert words in said.err


def test_an_unknown_connection(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "comptoir.toml").write_text(EXAMPLE)
    said = cli("check", "boutiqe")
    assert said.code == 2
    assert "there is no connection 'boutiqe'; configured: boutique, gesco" in said.err


def test_no_database(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "comptoir.toml").write_text(EXAMPLE)
    said = cli("routes", "--json")
    assert said.code == 5
    assert json.loads(said.out)["error"]["code"] == "database"


def test_a_record_that_cannot_be_mapped(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text('{"id": 1, "number": {"a": 1}}')
    said = cli("map", "preview", "woocommerce.order.in", "--file", "order.json")
    assert said.code == 6
    assert "error: number: an object is no key" in said.err


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_file_that_is_no_record(cli: Cli, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "order.json").write_bytes(content)
    said = cli("map", "preview", "woocommerce.order.in", "--file", "order.json")
    assert said.code == 2
    assert "order.json" in said.err


def test_what_needs_nothing_works(cli: Cli) -> None:
    assert cli("version").out.startswith("comptoir 0.")
    assert "config" in cli("schema").out
    assert json.loads(cli("schema", "order").out)["title"] == "SalesOrder"
    assert json.loads(cli("schema", "config").out)["title"] == "Settings"
    assert {c["key"] for c in json.loads(cli("connectors", "--json").out)} >= {"ebp", "woocommerce"}
    assert all(m["error"] is None for m in json.loads(cli("map", "check", "--json").out))
    assert "def apply(" in cli("map", "preview", "woocommerce.order.in", "--source").out


def test_a_wrong_mapping_of_the_merchant(cli: Cli, tmp_path: Path) -> None:
    cli("init")
    folder = tmp_path / "mappings" / "woocommerce"
    folder.mkdir(parents=True)
    (folder / "item.in.yaml").write_text("mapping: woocommerce.item.in\nextends: true\nfields: {colour: name}\n")
    said = cli("map", "check", "--json")
    assert said.code == 2
    (wrong,) = [m for m in json.loads(said.out) if m["error"]]
    assert wrong["mapping"] == "woocommerce.item.in"
    assert f"{folder}/item.in.yaml:3: Item has no field 'colour'" in wrong["error"]


def test_init_does_not_overwrite(cli: Cli, tmp_path: Path) -> None:
    assert cli("init").code == 0
    (tmp_path / "comptoir.toml").write_text("mine")
    assert cli("init").code == 2
    assert (tmp_path / "comptoir.toml").read_text() == "mine"
    assert cli("init", "--force").code == 0


HEAVY = "airflow alembic cryptography fastapi orjson psycopg pydantic requests sqlalchemy tenacity woocommerce yaml"


def test_starting_imports_nothing_heavy() -> None:
    """`comptoir --help` and the shell's completion must answer at once."""
    program = (
        "import sys, comptoir.cli.commands\n"
        f"print([name for name in {HEAVY.split()!r} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('comptoir_')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n[]\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m comptoir schema SalesOrder | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=60)
    assert "Traceback" not in done.stderr
