"""What is shipped, and that the architecture contracts hold what they promise."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

import comptoir
from comptoir import paths

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONNECTORS = sorted(path.name for path in (ROOT / "connectors").glob("comptoir_*") if path.is_dir())
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}


# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built the long way, through an sdist: so the sdist is complete as well."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = out.glob("*.tar.gz")
    shutil.unpack_archive(sdist, out)
    subprocess.run(
        [*build, "-t", "wheel"], cwd=out / sdist.name.removesuffix(".tar.gz"), check=True, capture_output=True
    )
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_core_connectors_and_mappings(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"comptoir-{comptoir.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"comptoir", *CONNECTORS, info}
    assert {"comptoir/__init__.py", "comptoir/py.typed", "comptoir/paths.py"} <= names
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= names
    for connector in CONNECTORS:
        assert {
            f"{connector}/__init__.py",
            f"{connector}/manifest.toml",
            f"{connector}/connector.py",
        } <= names


def test_wheel_holds_every_file_of_the_sources(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(source).as_posix()
        for source in (ROOT / "core", ROOT / "connectors")
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    mappings = {
        f"comptoir/_mappings/{path.relative_to(ROOT / 'mappings').as_posix()}"
        for path in (ROOT / "mappings").rglob("*.yaml")
    }
    assert mappings
    assert expected | mappings <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_entry_points_name_modules_that_are_shipped(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    entry_points = ConfigParser()
    entry_points.read_string(archive.read(f"comptoir-{comptoir.__version__}.dist-info/entry_points.txt").decode())
    assert set(entry_points["comptoir.connectors"]) == {name.removeprefix("comptoir_") for name in CONNECTORS}
    for group in entry_points.sections():
        for name, target in entry_points[group].items():
            module = target.split(":")[0].replace(".", "/")
            assert {f"{module}.py", f"{module}/__init__.py"} & names, f"{group}: {name} = {target}"


def test_installed_wheel_finds_its_mappings(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import comptoir as c, comptoir.paths as p; print(c.__file__, p.mappings_dir(), c.__version__)"
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    package = tmp_path / "comptoir"
    assert said == [str(package / "__init__.py"), str(package / "_mappings"), PROJECT["project"]["version"]]


# --- the checkout


def test_checkout_uses_the_mappings_of_the_repository() -> None:
    assert paths.mappings_dir() == ROOT / "mappings"


def test_missing_mappings_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stranger's `mappings/` at the same distance from site-packages is not taken for ours.
    (tmp_path / "mappings").mkdir()
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "site-packages" / "comptoir")
    with pytest.raises(FileNotFoundError, match="Reinstall"):
        paths.mappings_dir()


def test_importing_the_package_reads_no_metadata() -> None:
    code = "import sys; import comptoir; print('importlib.metadata' in sys.modules, comptoir.__version__)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert said == ["False", PROJECT["project"]["version"]]
    with pytest.raises(AttributeError, match="no_such_thing"):
        comptoir.no_such_thing  # noqa: B018 - reading it is the test


def test_every_connector_is_known_to_every_tool() -> None:
    tool = PROJECT["tool"]
    assert CONNECTORS
    assert tool["importlinter"]["root_packages"] == ["comptoir", *CONNECTORS]
    assert tool["ruff"]["lint"]["isort"]["known-first-party"] == ["comptoir", *CONNECTORS]
    assert CONTRACTS["core-knows-no-connector"]["forbidden_modules"] == CONNECTORS
    assert CONTRACTS["connectors-use-the-sdk"]["source_modules"] == CONNECTORS
    assert CONTRACTS["connectors-are-strangers"]["modules"] == CONNECTORS
    for contract in ("airflow-stays-outside", "sql-stays-in-the-store"):
        assert CONTRACTS[contract]["source_modules"] == ["comptoir", *CONNECTORS]
    entry_points = PROJECT["project"]["entry-points"]["comptoir.connectors"]
    assert sorted(target.split(".")[0] for target in entry_points.values()) == CONNECTORS


# --- the contracts

LINTED = PROJECT["tool"]["importlinter"]["root_packages"][1:]
FIRST, SECOND = LINTED[:2]

# A small tree in which every exception that a contract grants is used.
CLEAN: Mapping[str, str] = {
    "comptoir/__init__.py": "",
    "comptoir/errors.py": "",
    "comptoir/model/__init__.py": "",
    "comptoir/domain/__init__.py": "import comptoir.model",
    "comptoir/sdk/__init__.py": "import comptoir.domain, comptoir.errors, comptoir.model",
    "comptoir/mapping/__init__.py": "import comptoir.sdk",
    "comptoir/testing/__init__.py": "import comptoir.sdk, comptoir.mapping",
    "comptoir/testing/kit.py": "import comptoir.sdk, comptoir.mapping, comptoir.testing",
    "comptoir/store/__init__.py": "import comptoir.mapping, sqlalchemy",
    "comptoir/store/tables.py": "import alembic, psycopg.rows, sqlalchemy.types",
    "comptoir/engine/__init__.py": "import comptoir.store",
    "comptoir/app/__init__.py": "import comptoir.engine",
    "comptoir/console/__init__.py": "import comptoir.app",
    "comptoir/simulation/__init__.py": "import comptoir.app, comptoir.testing",
    "comptoir/airflow/__init__.py": "import comptoir.app, comptoir.console, airflow",
    "comptoir/airflow/dags.py": "import airflow.sdk",
    "comptoir/cli.py": "import comptoir.airflow, comptoir.app, comptoir.console, comptoir.simulation",
    **{f"{connector}/__init__.py": "" for connector in LINTED},
    **{f"{connector}/connector.py": "import comptoir.sdk" for connector in LINTED},
    **{f"{connector}/sandbox.py": "import comptoir.sdk, comptoir.testing.kit" for connector in LINTED},
}


def lint(tree: Path, files: Mapping[str, str]) -> str:
    """What lint-imports says about these files under the contracts of this repository."""
    for name, text in files.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    text = (ROOT / "pyproject.toml").read_text()
    (tree / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :])
    said = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},  # before the editable install of the real tree
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    return " ".join(said.split())  # long names are wrapped


def test_contracts_accept_what_they_allow(tmp_path: Path) -> None:
    said = lint(tmp_path, CLEAN)
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in said


VIOLATIONS = [
    ("layers", "comptoir/engine/plan.py", "import comptoir.app"),
    ("layers", "comptoir/model/item.py", "from comptoir.sdk import anything"),
    ("layers", "comptoir/console/pages.py", "import comptoir.airflow"),
    ("core-knows-no-connector", "comptoir/app/wiring.py", f"import {FIRST}.connector"),
    ("connectors-use-the-sdk", f"{FIRST}/client.py", "from comptoir.store import anything"),
    ("connectors-use-the-sdk", f"{SECOND}/client.py", "from comptoir.testing import kit"),
    ("connectors-use-the-sdk", f"{SECOND}/sandbox.py", "def late():\n    import comptoir.engine"),
    ("connectors-are-strangers", f"{FIRST}/client.py", f"from {SECOND} import connector"),
    ("testing-sees-the-sdk", "comptoir/testing/golden.py", "import comptoir.store"),
    ("testing-sees-the-sdk", "comptoir/testing/golden.py", "import comptoir.domain"),
    ("airflow-stays-outside", "comptoir/app/run.py", "from airflow.sdk import dag"),
    ("airflow-stays-outside", f"{FIRST}/hooks.py", "import airflow"),
    ("sql-stays-in-the-store", "comptoir/engine/land.py", "from sqlalchemy import select"),
    ("sql-stays-in-the-store", "comptoir/console/pages.py", "import psycopg"),
]


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)


@pytest.mark.parametrize(("contract", "file", "text"), VIOLATIONS)
def test_contract_catches_a_planted_violation(contract: str, file: str, text: str, tmp_path: Path) -> None:
    said = lint(tmp_path, {**CLEAN, file: text})
    assert f"{CONTRACTS[contract]['name']} BROKEN" in said
