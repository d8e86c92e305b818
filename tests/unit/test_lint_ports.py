"""The ports lint finds direct uses of clock, ids, randomness, tasks and transport, and nothing else."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools import lint_ports

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "core/comptoir/engine/deliver.py"


def messages(source: str, path: str = ENGINE) -> list[str]:
    return [finding.message for finding in lint_ports.check_source(path, source)]


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "from time import monotonic",
        "import time as t\nt.time()",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from datetime import datetime\ndatetime.now()",
        "from datetime import date as d\nd.today()",
        "from datetime import datetime\nclock = datetime\nclock.now()",
        "import pendulum\npendulum.datetime.now()",
        "from uuid import uuid4",
        "import uuid\nfield(default_factory=uuid.uuid4)",
        "import random",
        "from random import Random",
        "from secrets import token_hex",
        "import os\nos.urandom(8)",
        "import threading",
        "from concurrent.futures import ThreadPoolExecutor",
        "from concurrent import futures",
        "import multiprocessing.pool",
        "import asyncio",
        "import requests",
        "from requests.adapters import HTTPAdapter",
        "import urllib.request",
        "from http import client",
        "import socket",
        "def late():\n    import httpx",
        "import importlib\nimportlib.import_module('random')",
        "__import__('socket')",
        "from tenacity import retry\n@retry()\ndef f(): ...",
        "from core.comptoir import model",
    ],
)
def test_direct_use_is_found(source: str) -> None:
    assert messages(source)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, date, datetime, timedelta\ndatetime(2024, 1, 1, tzinfo=UTC)",
        "from datetime import datetime\ndatetime.fromisoformat(text)",
        "from uuid import UUID, uuid5",
        "import hmac, secrets\nsecrets.compare_digest(a, b)",
        "import time\ntime.strptime(text, '%Y')",
        "now = ctx.clock.now()",
        "def f(clock): return clock.now()",
        "from urllib.parse import urlsplit",
        "from http import HTTPStatus",
        "from tenacity import retry\n@retry(sleep=clock.sleep)\ndef f(): ...",
        "random = ctx.random\nrandom.choice(rows)",
    ],
)
def test_innocent_code_passes(source: str) -> None:
    assert messages(source) == []


@pytest.mark.parametrize(
    "sql",
    [
        "update delivery set at = now()",
        "update delivery set at = pg_catalog.now()",
        "select * from lease where until < CURRENT_TIMESTAMP",
        "insert into t values (gen_random_uuid())",
        "select id from t order by random()",
        "now()",
    ],
)
def test_sql_has_a_clock_of_its_own(sql: str) -> None:
    assert messages(f"STATEMENT = {sql!r}")
    assert lint_ports.check_source("core/comptoir/store/x.sql", sql)


@pytest.mark.parametrize(
    "source",
    [
        "'update delivery set at = comptoir_now()'",
        "'update delivery set at = comptoir.now()'",
        "'wait until now (there is no rush)'",
        "def f():\n    'Select what is due now().'\n",
        "'create function comptoir_now() as select clock_timestamp()'  # ports: the one settable function",
    ],
)
def test_sql_of_ours_and_prose_pass(source: str) -> None:
    assert messages(source) == []


def test_sqlalchemy_functions_are_found() -> None:
    assert messages("from sqlalchemy import func\nfunc.now()")
    assert messages("import sqlalchemy as sa\nsa.func.gen_random_uuid()")
    assert messages("from sqlalchemy import func\nfunc.coalesce(a, b)") == []


def test_a_finding_names_the_line_inside_a_long_statement() -> None:
    source = 'Q = """\nselect 1\nfrom t\nwhere at < now()\n"""\n'
    (finding,) = lint_ports.check_source(ENGINE, source)
    assert finding.line == 4
    excused = source.replace("now()", "now() -- ports: compared with the server's own log")
    assert lint_ports.check_source(ENGINE, excused) == []


def test_an_exempted_file_gets_what_it_needs_and_no_more() -> None:
    assert messages("import requests", "core/comptoir/sdk/http.py") == []
    assert messages("import time\ntime.sleep(1)", "core/comptoir/sdk/http.py")
    assert messages("import threading", "connectors/comptoir_shop/sandbox.py") == []
    assert messages("from datetime import datetime\ndatetime.now()", "connectors/comptoir_shop/sandbox.py") == []
    assert messages("import random", "connectors/comptoir_shop/sandbox.py")
    assert messages("from datetime import datetime\ndatetime.now()", "connectors/comptoir_shop/connector.py")
    assert messages("import time, uuid, random\nuuid.uuid4()", "core/comptoir/app/system.py") == []


def test_ruff_and_the_ast_check_exempt_the_same_files() -> None:
    ignores = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["per-file-ignores"]
    of_ruff = {pattern for pattern, codes in ignores.items() if "TID251" in codes}
    not_scanned = {p for p in of_ruff if not any(fnmatch(p, f"{folder}/*") for folder in lint_ports.SCANNED)}
    assert not_scanned == {"agent/**", "tests/**", "bench/**", "tools/**"}
    # A pattern of the AST check may be narrower than ruff's; none may stand alone.
    assert of_ruff - not_scanned <= set(lint_ports.ALLOWED)
    for pattern in lint_ports.ALLOWED:
        assert any(fnmatch(pattern, wider) for wider in of_ruff), pattern


def test_every_allowance_names_banned_things_and_a_reason() -> None:
    for pattern, allowance in lint_ports.ALLOWED.items():
        assert allowance.names <= set(lint_ports.BANNED), pattern
        assert len(allowance.reason) > 10, pattern


def test_main_reports_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "core" / "comptoir" / "engine" / "plan.py"
    file.parent.mkdir(parents=True)
    file.write_text("import random\n")
    assert lint_ports.main(tmp_path) == 1
    assert "core/comptoir/engine/plan.py:1" in capsys.readouterr().out
    file.write_text("import math\n")
    assert lint_ports.main(tmp_path) == 0
