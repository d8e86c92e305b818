"""The programs of deploy/: what the image is built from, Airflow's preparation, the health checks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from comptoir.app.init import EXAMPLE

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    """A program of deploy/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the part of the lock that is installed


@pytest.fixture(scope="module")
def runtime_lock() -> dict[str, str]:
    """Name -> block of what the image gets."""
    locked = script("locked")
    text = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "locked.py"), "runtime"], check=True, capture_output=True, text=True
    ).stdout
    return {locked.name_of(block): block for block in locked.blocks(text)}


def test_the_image_gets_everything_that_the_installed_packages_ask_for(runtime_lock: dict[str, str]) -> None:
    """Who needs whom, asked of the packages themselves instead of the lock's comments."""
    name_of = script("locked").name_of
    wanted: set[str] = set()
    todo: list[tuple[str, str]] = [("comptoir", "airflow"), ("comptoir", "")]
    seen: set[tuple[str, str]] = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in importlib.metadata.requires(name) or ():
            asked = Requirement(text)
            if asked.marker is None or asked.marker.evaluate({"extra": extra}):
                wanted.add(name_of(asked.name))
                todo += [(asked.name, one) for one in ("", *asked.extras)]
    assert len(wanted) > 100, "Airflow alone needs more"
    assert wanted <= set(runtime_lock)


def test_the_image_gets_no_developers_tool(runtime_lock: dict[str, str]) -> None:
    tools = {"pytest", "mypy", "ruff", "uv", "hypothesis", "hatchling", "import-linter", "pre-commit", "responses"}
    locked = script("locked")
    everything = {locked.name_of(block) for block in locked.blocks(locked.LOCK.read_text(encoding="utf-8"))}
    assert tools <= everything
    assert not tools & set(runtime_lock)


def test_the_part_is_taken_over_unchanged(runtime_lock: dict[str, str]) -> None:
    lock = (ROOT / "requirements" / "dev.lock").read_text(encoding="utf-8")
    for block in runtime_lock.values():
        assert block in lock
        assert "--hash=sha256:" in block


def test_a_requirement_that_the_lock_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="not in the lock: new-thing; run `make lock`"):
        script("locked").subset("a==1 \\\n    --hash=sha256:00\n    # via comptoir\n", ["a>=1", "New_Thing[x]>=2"])


# -- Airflow's preparation


def test_the_login_needs_a_password_that_is_long_enough(tmp_path: Path) -> None:
    init = script("airflow_init")
    path = tmp_path / "passwords.json"
    for short in ("", "elevenchars"):
        with pytest.raises(init.Refused, match="AIRFLOW_ADMIN_PASSWORD"):
            init.write_password(path, short)
    assert not path.exists()
    init.write_password(path, "twelve-chars")
    init.write_password(path, "another-one-of-them")
    assert json.loads(path.read_text(encoding="utf-8")) == {"admin": "another-one-of-them"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["passwords.json"]


@pytest.mark.airflow
def test_only_missing_pools_are_made(tmp_path: Path) -> None:
    config = tmp_path / "comptoir.toml"
    config.write_text(EXAMPLE, encoding="utf-8")
    missing = script("airflow_init").missing_pools(config, {"comptoir_gesco": {}, "default_pool": {}})
    assert set(missing) == {"comptoir_boutique"}
    assert missing["comptoir_boutique"]["slots"] == 2


@pytest.mark.parametrize(
    ("environ", "code", "says"),
    [({}, 2, "COMPTOIR_CONFIG is not set"), ({"COMPTOIR_CONFIG": "{tmp}/none.toml"}, 2, "there is no")],
)
def test_a_wrong_preparation_ends_with_its_reason(
    environ: dict[str, str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {name: value.format(tmp=tmp_path) for name, value in environ.items()}
    assert script("airflow_init").main(given) == code
    assert says in capsys.readouterr().err


# -- health


@pytest.mark.parametrize("arguments", [[], ["Nobody"], ["http://a", "http://b"], ["file:///etc/passwd"]])
def test_health_takes_one_known_argument(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert script("health").main(arguments) == 1
    assert "usage" in capsys.readouterr().err


def test_health_of_an_address(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    # A proxy that answers nobody: the check never asks it.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    home = f"http://127.0.0.1:{server.server_port}"
    health = script("health")
    try:
        assert health.main([f"{home}/health"]) == 0
        assert health.main([f"{home}/broken"]) == 1
        assert "503" in capsys.readouterr().err
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert health.main([f"{home}/health"]) == 1


def test_health_of_a_program_without_a_database(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    health = script("health")
    monkeypatch.delenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", raising=False)
    assert health.main(["SchedulerJob"]) == 1
    assert "is not set" in capsys.readouterr().err
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://u:sesame@127.0.0.1:1/airflow")
    assert health.main(["SchedulerJob"]) == 1
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert "sesame" not in said
