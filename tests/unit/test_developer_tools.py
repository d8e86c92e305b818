"""The scripts behind `make`: they fail when they should, and say why."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import check, lock

ROOT = Path(__file__).resolve().parents[2]
TARGETS = "help setup demo demo-headless test test-all check failure-modes bench lock clean".split()


def test_make_explains_every_target() -> None:
    said = subprocess.run(["make", "-s"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    explained = re.findall(r"^  ([a-z-]+) +\S.{10,}$", said, flags=re.MULTILINE)
    assert explained == TARGETS


@pytest.mark.parametrize(
    ("setup", "checks", "tests", "code"),
    [(0, 0, 0, 0), (0, 2, 0, 1), (0, 0, 1, 1), (0, 2, 1, 1), (3, 0, 0, 3)],
)
def test_ci_fails_when_anything_fails_and_ends_on_the_tests(
    tmp_path: Path, setup: int, checks: int, tests: int, code: int
) -> None:
    """The real script, in a tree whose make and Python only say that they were called."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    programs = {
        ".ci/run": (ROOT / ".ci" / "run").read_text(),
        ".venv/bin/python": f'#!/bin/sh\necho "pytest summary $*"\nexit {tests}\n',
        # So that the script finds them and installs nothing here.
        "bin/node": "#!/bin/sh\n",
        "bin/npm": "#!/bin/sh\n",
        "bin/make": f'#!/bin/sh\necho "make $1"\n[ "$1" = setup ] && exit {setup}\nexit {checks}\n',
    }
    for name, text in programs.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run([tmp_path / ".ci" / "run"], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "make setup"
    if not setup:
        assert said[1] == "make check"
        assert "pytest summary -m tests.support.vendure install" in said
        assert said[-1].startswith("pytest summary -m pytest ")
        assert any("FAILED" in line for line in said) is bool(checks)


def test_check_runs_every_step_and_lists_the_failed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = {
        "first": [sys.executable, "-c", "raise SystemExit(1)"],
        "second": [sys.executable, "-c", "print('second ran')"],
        "third": [sys.executable, "-c", "raise SystemExit(2)"],
    }
    monkeypatch.setattr(check, "STEPS", steps)
    assert check.main() == 1
    said = capfd.readouterr().out
    assert "second ran" in said
    assert said.endswith("Failed:\n  first\n  third\n")
    monkeypatch.setattr(check, "STEPS", {"second": steps["second"]})
    assert check.main() == 0


# --- the lock

HASH = "    --hash=sha256:" + "0" * 64


def locked(*lines: str) -> str:
    return "\n".join([f"# requirements of pyproject.toml: sha256:{lock.digest()}", *lines]) + "\n"


def test_the_committed_lock_belongs_to_pyproject() -> None:
    text = lock.LOCK.read_text()
    assert lock.faults(text) == []
    assert {pin.split("==")[0] for pin in lock.pins(text)} >= {"apache-airflow", "hatchling", "pytest", "uv"}


def test_a_sound_lock_has_no_faults() -> None:
    text = locked("orjson==3.13.0 \\", HASH, "    # via comptoir (pyproject.toml)", "a==1 ; os_name == 'nt' \\", HASH)
    assert lock.faults(text) == []
    assert lock.pins(text) == {"orjson==3.13.0", "a==1 ; os_name == 'nt'"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--index-url https://registry.example/simple", "names an address"),
        ("--find-links somewhere", "names an address"),
        ("# made with: --find-links /opt/somewhere/wheels", "names an address"),
        ("orjson @ file:///srv/orjson.whl", "names an address"),
        ("orjson==3.13.0", "orjson has no hash"),
    ],
)
def test_a_lock_tied_to_a_place_or_without_hashes_is_refused(line: str, said: str) -> None:
    (fault,) = lock.faults(locked("idna==3.20 \\", HASH, line))
    assert said in fault


def test_a_lock_made_from_other_requirements_is_refused() -> None:
    stale = locked("idna==3.20 \\", HASH).replace(lock.digest(), "0" * 64)
    (fault,) = lock.faults(stale)
    assert "have changed" in fault


def test_without_a_registry_the_check_says_so_and_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unreachable = subprocess.CompletedProcess[str]([], 2, "", "error: Failed to fetch: dns error\n")
    monkeypatch.setattr(lock, "compile_lock", lambda target, *options: unreachable)
    assert lock.check() == 0
    said = capsys.readouterr().out
    assert "SKIPPED" in said
    assert "dns error" in said


def test_requirements_that_cannot_be_met_fail_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    unsolvable = subprocess.CompletedProcess[str]([], 1, "", "No solution found when resolving dependencies\n")
    monkeypatch.setattr(lock, "compile_lock", lambda target, *options: unsolvable)
    assert lock.check() == 1


def test_a_different_resolution_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def resolve(target: Path, *options: str) -> subprocess.CompletedProcess[str]:
        target.write_text(target.read_text().replace("\nidna==", "\nidna==99."))
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(lock, "compile_lock", resolve)
    assert lock.check() == 1
    assert "+ idna==99." in capsys.readouterr().out
