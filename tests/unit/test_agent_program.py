"""The agent's parts without a hub: settings, SELECTs and their rows, state, names, and that it stands alone."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import ssl
import sys
import tomllib
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from comptoir_agent import sql as agent_sql
from comptoir_agent.cli import main
from comptoir_agent.commands import run
from comptoir_agent.config import Sql, load
from comptoir_agent.errors import ConfigurationError, HubAway, HubRefused, LocalTrouble
from comptoir_agent.folder import Exchange, safe_name
from comptoir_agent.hub import Hub
from comptoir_agent.secret import filled, protect, token_of
from comptoir_agent.sending import wire_name
from comptoir_agent.sql import check_select, write_csv
from comptoir_agent.state import Batch, File, State

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "agent" / "comptoir_agent"
TOKEN = "cpa_pc-compta_" + "a" * 43

BASE = """
hub = "https://hooks.example.fr"
[connections.gesco]
folder = "gesco"
"""


def settings(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


# -- it stands alone -----------------------------------------------------------------------------------------------


def test_it_imports_nothing_but_the_standard_library_and_itself() -> None:
    modules = sorted(AGENT.glob("*.py"))
    assert len(modules) > 10
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top == "comptoir_agent", f"{path.name} imports {name}"


def test_its_own_distribution_needs_nothing_and_has_its_version() -> None:
    project = tomllib.loads((AGENT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == []
    assert f'__version__ = "{project["version"]}"' in (AGENT / "__init__.py").read_text(encoding="utf-8")


def test_no_certificate_is_ever_left_unverified(tmp_path: Path) -> None:
    hub = Hub.open(settings(tmp_path, BASE), TOKEN, "a" * 32)
    (handler,) = [h for h in hub.opener.handlers if type(h).__name__ == "HTTPSHandler"]
    context = handler._context  # type: ignore[attr-defined]
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    sources = "".join(path.read_text(encoding="utf-8") for path in AGENT.glob("*.py"))
    assert not re.search(r"CERT_NONE|_create_unverified|check_hostname = False|shell=True", sources)


# -- settings ------------------------------------------------------------------------------------------------------


def test_the_settings_of_the_page_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "agent.md").read_text(encoding="utf-8")
    (text,) = [block for block in re.findall(r"```toml\n(.*?)```", page, re.S) if "hub =" in block]
    found = settings(tmp_path, text)
    gesco = found.connections["gesco"]
    assert gesco.imports[0].files == "import/COMMANDES_*.CSV" and gesco.sql.driver == "pyodbc"
    assert [reading.to for reading in gesco.readings] == ["ack", "export"]
    assert found.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('hub = "http://hooks.example.fr"\n[connections.a]\nfolder = "a"', "hub: expected https"),
        ('hub = "https://u:p@h.fr"\n[connections.a]\nfolder = "a"', "hub: expected the gateway's address"),
        ('hub = "ftp://h.fr"\n[connections.a]\nfolder = "a"', "hub: expected the gateway's address"),
        ('hub = "https://h.fr"', "connections: this setting is missing"),
        ('hub = "https://h.fr"\n[connections.A]\nfolder = "a"', "no name of a connection"),
        ('hub = "https://h.fr"\ntoken = "x"\n[connections.a]\nfolder = "a"', "token: unknown setting"),
        ('hub = "https://h.fr"\nverify = false\n[connections.a]\nfolder = "a"', "verify: unknown setting"),
        ('hub = "https://h.fr"\npoll_seconds = 0\n[connections.a]\nfolder = "a"', "expected 0.2 to 3600"),
        ('hub = "https://h.fr"\n[connections.a]\nfolder = "x"\n[connections.b]\nfolder = "x"', "the same folder"),
        (BASE + '[[connections.gesco.import]]\nfiles = "*.CSV"\ncommand = ["x", "{file}"]', "FOLDER/PATTERN"),
        (BASE + '[[connections.gesco.import]]\nfiles = "import/*"\ncommand = ["x"]', r"no argument has \{file\}"),
        (BASE + '[[connections.gesco.import]]\nfiles = "import/*"\ncommand = "x {file}"', "command: expected list"),
        (BASE + '[[connections.gesco.import]]\nfiles = "import/*"\ncommand = ["x", "{file} {pwd}"]', r"\{pwd\}"),
        (
            BASE + '[[connections.gesco.import]]\nfiles = "import/*"\ncommand = ["x{file}"]\nnothing_done = [0]',
            "is in success and in nothing_done",
        ),
        (BASE + '[[connections.gesco.reading]]\nfile = "a.csv"\nto = "import"\nquery = "a"', 'expected "ack" or'),
        (
            BASE + '[[connections.gesco.reading]]\nfile = "../a.csv"\nto = "ack"\nquery = "a"\nevery_seconds = 9',
            "expected a name such as STOCK.csv",
        ),
        (BASE + '[[connections.gesco.reading]]\nfile = "a.csv"\nto = "ack"\nquery = "a"', "it would never be made"),
        (
            BASE + '[[connections.gesco.reading]]\nfile = "a.csv"\nto = "ack"\nquery = "a"\nevery_seconds = 9',
            "a query needs",
        ),
        (BASE + '[connections.gesco.sql]\ndriver = "os"\nconnect = "x"', "expected one of pyodbc"),
        (BASE + '[connections.gesco.sql]\ndriver = "pyodbc"\nconnect = "A=x;PWD=secret"', "no password in this file"),
        (BASE + '[connections.gesco.sql]\ndriver = "pytds"\nconnect = {password = "x"}', "no password in this file"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        settings(tmp_path, text)
    assert str(caught.value).startswith("agent.toml: ") and "secret" not in str(caught.value)


def test_a_command_without_settings_or_token_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPTOIR_AGENT_TOKEN", raising=False)
    assert main(["--config", str(tmp_path / "agent.toml"), "run"]) == 2
    assert "there is no" in capsys.readouterr().err
    settings(tmp_path, BASE)
    assert main(["--config", str(tmp_path / "agent.toml"), "run"]) == 2
    assert "there is no token: set COMPTOIR_AGENT_TOKEN" in capsys.readouterr().err


def test_the_token_is_read_from_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    found = settings(tmp_path, BASE.replace("[conn", 'token_file = "token"\n[conn', 1))
    protect(TOKEN, tmp_path / "token")
    assert token_of(found, {}) == TOKEN
    other = TOKEN[:-1] + "b"
    assert token_of(found, {"COMPTOIR_AGENT_TOKEN": other}) == other
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        token_of(found, {})
    (tmp_path / "token").chmod(0o600)
    for text, words in (("dpapi:AAAA", "protected by Windows"), ("hello", "the token is none")):
        (tmp_path / "token").write_text(text)
        with pytest.raises(ConfigurationError, match=words):
            token_of(found, {})


def test_placeholders_are_filled_once_and_only_from_the_environment() -> None:
    assert filled("{file};{env:PW}", {"PW": "{env:OTHER}", "OTHER": "x"}, {"file": "a"}) == "a;{env:OTHER}"
    assert filled("Driver={ODBC Driver 18};PWD={env:PW}", {"PW": "p"}, {}) == "Driver={ODBC Driver 18};PWD=p"
    with pytest.raises(ConfigurationError, match="the environment has no PW"):
        filled("{env:PW}", {}, {})


# -- SELECTs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["comptoir_ebp", "comptoir_sage"])
def test_the_connectors_own_queries_are_accepted(package: str) -> None:
    found = [path for path in (files(package) / "sql").iterdir() if path.name.endswith(".sql")]
    assert len(found) >= 4
    for path in found:
        assert check_select(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; DROP TABLE F_ARTICLE",
        "DROP TABLE F_ARTICLE",
        "",
        "-- SELECT 1",
        "/* SELECT 1 */ DELETE FROM Item",
        "SELECT * INTO copy FROM Item",
        "SELECT 1 /* /* */ ; DELETE FROM Item --*/",
        "SELECT '--'; DELETE FROM Item",
        "SELECT ']' FROM [a]];DELETE FROM Item",
        "WITH x AS (SELECT 1) DELETE FROM Item",
        "WITH x AS (DELETE FROM Item RETURNING *) SELECT * FROM x",
        "SELECT 1 EXEC xp_cmdshell 'dir'",
        "EXEC sp_who",
        "SELECT * FROM OPENROWSET('x', 'y')",
        "SELECT * FROM OPENQUERY(other, 'delete from Item')",
        "SELECT * FROM Item WITH (TABLOCKX)",
        "SELECT @@VERSION",
        "SELECT NEXT VALUE FOR numbers",
        "SELECT nextval('n')",
        "SELECT 1 WAITFOR DELAY '1:00'",
        "SELECT $$ ; DELETE FROM Item $$",
        "SELECT '\\'; DELETE FROM Item --'",
        "SELECT 1 UNION SELECT 2 UPDATE Item SET a = 1",
        "SELECT 'open",
        "SELECT 1 /* open",
        "SELECT 1\x00; DELETE FROM Item",
        "SELECT * FROM Item FOR UPDATE",
        "ｓｅｌｅｃｔ 1",
    ],
)
def test_what_is_more_than_one_reading_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        check_select(text)


@pytest.mark.parametrize(
    "text",
    [
        "select 'DELETE; DROP' as \"INSERT\", [UPDATE] from Item;",
        "WITH x AS (SELECT Id FROM Item) SELECT Id FROM x -- ; DELETE\n;",
        "SELECT 'l''été; ' AS a",
    ],
)
def test_words_in_literals_and_names_are_no_statements(text: str) -> None:
    assert check_select(text) == text


def test_rows_are_written_as_the_layout_says(tmp_path: Path) -> None:
    base = tmp_path / "ebp.db"
    with sqlite3.connect(base) as connection:
        connection.execute("create table Item (Id text, Caption text, Stock numeric)")
        connection.executemany("insert into Item values (?, ?, ?)", [("A", 'Été ; "x"', 3), ("B", None, 0.5)])
    sql = Sql("sqlite3", str(base))
    path = tmp_path / "items.csv"
    written = write_csv(
        sql, 'SELECT Id AS "Id", Caption AS "Caption", Stock AS "S" FROM Item', path, {}, max_bytes=9999
    )
    assert path.read_bytes().decode("utf-8") == 'Id;Caption;S\r\nA;"Été ; ""x""";3\r\nB;;0.5\r\n'
    assert (written.rows, written.bytes) == (2, path.stat().st_size)
    # Nothing can be written, whatever passed the reading of the text.
    with pytest.raises(LocalTrouble, match="refused or is away"):
        write_csv(sql, "SELECT * FROM Missing", path, {}, max_bytes=9999)
    assert not path.exists()
    with pytest.raises(LocalTrouble, match="more than 10 bytes"):
        write_csv(sql, "SELECT Id FROM Item UNION ALL SELECT Caption FROM Item", path, {}, max_bytes=10)
    with pytest.raises(LocalTrouble, match=r"no connection|refused or is away"):
        write_csv(Sql("sqlite3", str(tmp_path / "none.db")), "SELECT 1 AS a", path, {}, max_bytes=10)
    assert not path.exists() and not (tmp_path / "none.db").exists()


class _Driver:
    """A DB-API driver of SQL Server, as far as the agent uses one."""

    Error: ClassVar[type[Exception]] = OSError

    def __init__(self, rights: tuple[int | None, ...], rows: list[tuple[Any, ...]]) -> None:
        self.rights, self.rows = rights, rows
        self.said: list[str] = []
        self.given: dict[str, Any] = {}
        self.description: list[tuple[str]] = []
        self.timeout = 0

    def connect(self, text: str, **given: Any) -> _Driver:
        self.given = {"text": text, **given}
        return self

    def cursor(self) -> _Driver:
        return self

    def execute(self, text: str) -> None:
        self.said.append(text)
        self.description = [(f"c{n}",) for n in range(len(self.rows[0]))]

    def fetchone(self) -> tuple[int | None, ...]:
        return self.rights

    def fetchmany(self, count: int) -> list[tuple[Any, ...]]:
        taken, self.rows[:] = self.rows[:count], self.rows[count:]
        return taken

    def rollback(self) -> None:
        self.said.append("rollback")

    def close(self) -> None:
        self.said.append("close")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Driver]:
    when = datetime(2026, 11, 22, 15, 4, 5)
    row = (None, True, Decimal("12.500"), 1e-7, when, date(2026, 1, 2), b"\x01", UUID(int=1), "a\x00b")
    made = _Driver((0, None, 0, 0, 0, 0, 0), [row])
    monkeypatch.setattr(agent_sql.importlib, "import_module", lambda name: made)
    yield made


def test_a_login_that_may_only_read_is_used_read_only_and_never_commits(driver: _Driver, tmp_path: Path) -> None:
    sql = Sql("pyodbc", "Server=x;PWD={env:PW}")
    write_csv(sql, "SELECT a FROM b", tmp_path / "r.csv", {"PW": "p"}, max_bytes=9999)
    assert driver.given["readonly"] is True and driver.given["autocommit"] is False
    assert driver.given["text"] == "Server=x;PWD=p"
    assert driver.said[1:] == ["SELECT a FROM b", "rollback", "close", "close"]
    assert (tmp_path / "r.csv").read_text("utf-8").splitlines()[1] == (
        ";1;12.500;0.0000001;2026-11-22 15:04:05;2026-01-02;01;00000000-0000-0000-0000-000000000001;ab"
    )


@pytest.mark.parametrize("which", range(7))
def test_a_login_that_may_write_is_refused(driver: _Driver, tmp_path: Path, which: int) -> None:
    driver.rights = tuple(int(n == which) for n in range(7))
    with pytest.raises(ConfigurationError, match="may write"):
        write_csv(Sql("pyodbc", "x"), "SELECT a FROM b", tmp_path / "r.csv", {}, max_bytes=9999)
    assert "SELECT a FROM b" not in driver.said and not (tmp_path / "r.csv").exists()


# -- state and folder ----------------------------------------------------------------------------------------------


def test_the_state_survives_and_belongs_to_one_process_on_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path)
    state.batches["b"] = Batch("gesco", "placed", [File("import/A.CSV", "0" * 64, 3, "A.BAK")], next=1)
    state.sent["gesco/export/S.csv"] = [1, 2, "x"]
    state.save()
    with pytest.raises(ConfigurationError, match="another agent works"):
        State(tmp_path)
    instance = state.instance
    state.close()
    again = State(tmp_path)
    assert again.instance == instance and again.batches == state.batches and again.sent == state.sent
    again.finish("b")
    again.close()
    monkeypatch.setattr("comptoir_agent.state.platform.node", lambda: "another-machine")
    copied = State(tmp_path)
    assert copied.instance != instance and list(copied.finished) == ["b"]
    copied.close()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "instance": 1, "batches": []}'])
def test_a_state_that_is_not_ours_stops_the_agent_and_is_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ConfigurationError, match="is not what this program wrote"):
        State(tmp_path)
    assert (tmp_path / "state.json").read_text() == text


def test_a_full_disk_leaves_the_state_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path)
    before = (tmp_path / "state.json").read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("comptoir_agent.state.os.fsync", full)
    state.batches["b"] = Batch("gesco", "claiming")
    with pytest.raises(LocalTrouble, match="No space left"):
        state.save()
    assert (tmp_path / "state.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".new")] == []
    state.close()


@pytest.mark.parametrize(
    "name",
    [
        "A.CSV", "../A.CSV", "import/../A.CSV", "/import/A.CSV", "import\\A.CSV", "C:/A.CSV", "import/sub/A.CSV",
        ".agent/A.CSV", "import/.A.CSV", "ack/A.CSV", "import/NUL.CSV", "import/A.CSV ", "import/A.CSV.",
        "import/a\x00b", "import/é.CSV", "import/A:b.CSV", "export/A.CSV", "",
    ],
)  # fmt: skip
def test_the_hub_cannot_name_a_file_elsewhere(name: str) -> None:
    with pytest.raises(HubRefused):
        safe_name(name)


def test_a_file_is_placed_at_once_and_never_over_another(tmp_path: Path) -> None:
    exchange = Exchange("gesco", tmp_path / "gesco")
    file = File("import/A.CSV", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3)
    with pytest.raises(LocalTrouble, match="does not exist: make it once, or mount the drive"):
        exchange.pending("b", 0)
    exchange.root.mkdir()
    exchange.pending("b", 0).write_bytes(b"abc")
    assert exchange.where("b", 0, file) == "pending"
    exchange.target(file).parent.mkdir()
    exchange.target(file).write_bytes(b"old")
    assert not exchange.is_free(file)
    with pytest.raises(LocalTrouble, match=r"A\.CSV still lies there and is not overwritten"):
        exchange.place("b", 0, file)
    assert exchange.target(file).read_bytes() == b"old" and exchange.where("b", 0, file) == "pending"
    exchange.target(file).unlink()
    exchange.place("b", 0, file)
    assert exchange.where("b", 0, file) == "there"
    exchange.target(file).rename(exchange.root / "import" / "A.BAK")
    assert exchange.where("b", 0, file) == "marked"
    exchange.file_away("b", file)
    assert [p.name for p in (exchange.root / "taken").iterdir()] == ["A.BAK"] and exchange.where("b", 0, file) == "gone"
    (exchange.root / "import").rmdir()
    with pytest.raises(LocalTrouble, match="is not there any more"):
        exchange.where("b", 0, file)


def test_names_are_sent_in_plain_letters_and_stay_different() -> None:
    assert wire_name("documents.csv") == "documents.csv"
    first, second = wire_name("Documents exportés (1).csv"), wire_name("Documents exportes (1).csv")
    assert first != second and re.fullmatch(r"Documents-exportes-1-[0-9a-f]{8}\.csv", first)
    for name in ("…….csv", "..csv", "a/b.csv".replace("/", "\u2044"), "x" * 300 + ".csv"):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}", wire_name(name)), name


# -- commands and the hub's answers --------------------------------------------------------------------------------


def test_a_command_gets_its_arguments_as_they_are_and_an_end(tmp_path: Path) -> None:
    odd = ["a b", 'q"u;o|te', "$HOME", "`x`", "%PATH%", "é"]
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    log = tmp_path / "logs" / "x.txt"
    shown = ["prog", "{env:PW}"]
    ended = run([sys.executable, "-c", script, *odd], folder=tmp_path, log=log, seconds=20, shown=shown)
    assert (ended.code, ended.began) == (0, True)
    first, second = log.read_text("utf-8").splitlines()
    assert json.loads(second) == odd and first == str(shown)
    slow = run(
        [sys.executable, "-c", "import time; time.sleep(60)"], folder=tmp_path, log=log, seconds=0.3, shown=shown
    )
    assert (slow.code, slow.began) == (None, True) and "was stopped after 0.3 seconds" in slow.words
    none = run([str(tmp_path / "no-such.exe")], folder=tmp_path, log=log, seconds=1, shown=shown)
    assert (none.code, none.began) == (None, False) and "no-such.exe cannot be started" in none.words


def test_a_redirection_does_not_take_the_token_along(tmp_path: Path) -> None:
    from comptoir_agent.hub import _NoRedirects

    with pytest.raises(HubAway, match=r"redirection \(302\) to evil\.example"):
        _NoRedirects().redirect_request(None, None, 302, "", {}, "https://evil.example/x")  # type: ignore[arg-type]
