"""docs/operations.md: every command on it exists with its options, its example loads, its tables are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from comptoir import errors
from comptoir.app.bootstrap import check_installation
from comptoir.cli.commands import app
from comptoir.cli.output import OUTPUT
from comptoir.model.refs import RunState

from tests.support import compose

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MIGRATIONS = ROOT / "core" / "comptoir" / "store" / "migrations" / "versions"
SERVICES = set(compose.raw()["services"])
IMAGE = "comptoir:0.1.0"
#: Options of `docker compose`'s commands that come before a service's name.
FLAGS = {"--detach", "--no-deps", "--rm", "-T", "--force-recreate", "--follow", "--volumes"}
WITH_VALUE = {"--tail"}
TAKE_SERVICES = {"up", "down", "stop", "start", "restart", "logs", "ps", "build", "version"}
#: typer's error for a wrong command line has no public name.
USAGE = typer.BadParameter.__bases__[0]


def commands() -> list[list[str]]:
    """Every command of the page: lines of the console blocks, and commands named in the text."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = [word for word in re.findall(r"`([^`]+)`", text) if re.match("(comptoir|docker) ", word)]
    found = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]
    found += [shlex.split(word) for word in named]
    # Where a sentence speaks of any command.
    return [words for words in found if words[1:] != ["..."] and words[-2:] != ["comptoir", "..."]]


def ours() -> list[list[str]]:
    """What is said to `comptoir`, wherever it runs."""
    found = []
    for words in commands():
        before = [None, *words]
        # A database is called so, too: the program stands first, or in a container.
        places = [n for n, word in enumerate(words) if word == "comptoir" and before[n] in (None, "scheduler", IMAGE)]
        found += [words[n + 1 :] for n in places]
    return found


def check_ours(words: list[str]) -> None:
    """Fails when the command line does not know a command, an option, or a number of arguments."""
    command = typer.main.get_command(app)
    rest = words
    while isinstance(command, TyperGroup):
        known = {option for parameter in command.params for option in parameter.opts}
        while rest and rest[0].startswith("-"):
            assert rest[0] in known, f"comptoir {' '.join(words)}: there is no option {rest[0]}"
            rest = rest[1:]
        if rest == ["..."]:
            return
        assert rest, f"comptoir {' '.join(words)}: no command is named"
        assert rest[0] in command.commands, f"comptoir {' '.join(words)}: there is no command {rest[0]}"
        command = command.commands[rest[0]]
        rest = rest[1:]
    # Parsed, not run: unknown options and missing arguments are usage errors.
    command.make_context(command.name, rest)


@pytest.fixture(autouse=True)
def _output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing `--json` sets what is shared by all commands."""
    monkeypatch.setattr(OUTPUT, "json", OUTPUT.json)


@pytest.mark.parametrize("words", ours(), ids=" ".join)
def test_every_command_of_ours_exists(words: list[str]) -> None:
    check_ours(words)


@pytest.mark.parametrize("words", [["frobnicate"], ["run"], ["run", "orders", "--plam"], ["match", "accept", "a", "b"]])
def test_a_wrong_command_would_be_found(words: list[str]) -> None:
    with pytest.raises((AssertionError, USAGE)):
        check_ours(words)


def test_enough_is_looked_at() -> None:
    assert len(ours()) > 25
    assert {" ".join(words[:2]) for words in ours()} >= {"webhooks --repair", "match list", "deliver orders"}


def test_every_service_that_is_named_exists() -> None:
    seen = set()
    for words in commands():
        if words[:2] != ["docker", "compose"]:
            continue
        command, rest = words[2], words[3:]
        while rest and rest[0].startswith("-"):
            assert rest[0] in FLAGS | WITH_VALUE, words
            rest = rest[2:] if rest[0] in WITH_VALUE else rest[1:]
        if command in ("exec", "run"):
            assert rest[0] in SERVICES, words
            rest = rest[:1]
        else:
            assert command in TAKE_SERVICES, words
        assert set(rest) <= SERVICES, words
        seen |= set(rest)
    assert seen == SERVICES - {"dag-processor"}


@pytest.mark.airflow
def test_every_command_of_airflow_exists() -> None:
    from airflow.cli.cli_parser import get_parser

    found = [
        words[words.index("airflow") + 1 :] for words in commands() if words[-1] != "airflow" and "airflow" in words
    ]
    found = [words for words in found if words[0] != ">"]
    assert len(found) == 3
    for words in found:
        get_parser().parse_args([word if "$(" not in word else "2026-01-01" for word in words])


def test_the_example_is_a_configuration_that_loads(tmp_path: Path) -> None:
    example = "\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
    config = tmp_path / "comptoir.toml"
    config.write_text(example, encoding="utf-8")
    settings = check_installation(config).settings
    assert set(settings.routes) == {"orders", "customers"}
    assert settings.gateway.url == "https://hooks.example.fr"
    for name in settings.routes:
        assert f"airflow dags unpause comptoir__{name} " in PAGE


def test_the_credentials_are_read_as_they_stand() -> None:
    from comptoir.app.credentials import EnvSecrets

    line = next(line for line in PAGE.splitlines() if line.startswith("AIRFLOW_CONN_BOUTIQUE="))
    found = EnvSecrets(compose.env_values(line)).get("boutique")
    assert found is not None
    assert (found.host, set(found.extra)) == ("https://shop.example", {"webhook_secret"})


def section(heading: str) -> str:
    found = re.search(rf"(?ms)^## {re.escape(heading)}$(.*?)(?=^## |\Z)", PAGE)
    assert found is not None, heading
    return found[1]


def first_cells(text: str) -> set[str]:
    """The code words of the first column of the tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_state_is_explained() -> None:
    explained = first_cells(section("What each state means and what to do"))
    sql = "".join(path.read_text(encoding="utf-8") for path in sorted(MIGRATIONS.glob("*.py")))
    for table in ("delivery", "publication"):
        body = sql[sql.index(f"create table {table} ") :]
        allowed = re.search(r"state text not null check \(state in \(([^)]*)\)\)", body)
        assert allowed is not None
        assert set(re.findall(r"'(\w+)'", allowed[1])) <= explained, table
    assert {state.value for state in RunState} <= explained
    causes = {"changed_after_delivery", "in_doubt", "conflict", "value_not_kept", "webhook_loop"}
    assert causes <= explained


def test_every_exit_code_is_explained() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \|", section("Troubleshooting by exit code"))
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ComptoirError)
    ]
    assert {int(row) for row in rows} == {kind.exit_code for kind in kinds} | {0, 130}
