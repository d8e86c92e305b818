"""`comptoir new-connector`: what it writes passes the conformance suite, builds, installs and runs without the core
knowing it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from comptoir.app.scaffold import Kind, Made, new_connector
from comptoir.errors import ConfigError
from comptoir.mapping import load_mapping

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
KINDS: tuple[Kind, ...] = ("python", "rest", "files")
CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"

[connections.source]
connector = "atelier_bleu"
{settings}

[routes.articles]
entity = "item"
from = "source"
schedule = "*/15 * * * *"
"""
ITEMS = "id;sku;gtin;name;state;price;currency\n1;MUG-001;9521234500032;Mug émaillé;active;14,00;EUR\n"


def _python(*arguments: str, path: Path | None = None, cwd: Path = ROOT, **environment: str) -> str:
    """Standard output of this Python; a failure shows everything it said."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COMPTOIR_CONFIG")}
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **({"PYTHONPATH": str(path)} if path else {}), **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert found.returncode == 0, f"{arguments}\n{found.stdout[-3000:]}\n{found.stderr[-3000:]}"
    return found.stdout


def _made(tmp_path: Path, kind: Kind) -> Made:
    return new_connector("atelier-bleu", tmp_path, kind=kind, title="L'Atelier Bleu")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_the_conformance_suite_as_it_is(tmp_path: Path, kind: Kind) -> None:
    made = _made(tmp_path, kind)
    said = _python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", cwd=made.folder)
    passed = int(said.rsplit(" passed", 1)[0].split()[-1])
    assert passed >= (40 if kind != "files" else 20), said
    # Nothing is exempt: what is skipped is not declared.
    assert "exempt" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_is_in_order_at_bronze(tmp_path: Path, kind: Kind) -> None:
    made = _made(tmp_path, kind)
    code = "from comptoir.cli import main; main()"
    found = json.loads(_python("-c", code, "check-connector", str(made.folder), "--json"))
    assert found["faults"] == []
    assert found["tier"] == "bronze"


@pytest.mark.parametrize("kind", KINDS)
def test_its_golden_record_agrees(tmp_path: Path, kind: Kind) -> None:
    made = _made(tmp_path, kind)
    mappings = made.folder / made.package / "mappings"
    golden = mappings / "atelier_bleu" / "golden" / "item.in"
    given, wanted = (json.loads((golden / f"mug.{side}.json").read_text(encoding="utf-8")) for side in ("in", "out"))
    model = load_mapping("atelier_bleu", "item", "in", [mappings]).to_model(given, {"company.currency": "EUR"})
    assert model.model_dump(mode="json", exclude_defaults=True) == wanted


def test_what_is_written_is_formatted_linted_and_typed(tmp_path: Path) -> None:
    made = _made(tmp_path, "python")
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    # Sorting of imports depends on where a package stands, and here it stands outside.
    # The sandbox's server has a clock of its own, as those of this repository have (tools/lint_ports.py).
    own_clock = ("--extend-per-file-ignores", "sandbox.py:TID251")
    _python("-m", "ruff", "check", *config, "--ignore", "I001,S", *own_clock, str(made.folder))
    _python("-m", "ruff", "format", "--check", *config, str(made.folder / made.package))
    _python("-m", "mypy", "--strict", "--cache-dir", os.devnull, "-p", made.package, path=made.folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wheel_from_outside_appears_in_connectors_check_and_dags(tmp_path: Path, kind: Kind) -> None:
    site = _installed(tmp_path, _made(tmp_path, kind))
    merchant = _merchant(tmp_path, kind)
    config = str(merchant / "comptoir.toml")

    listed = {m["key"]: m for m in json.loads(_comptoir(site, config, "connectors", "--json"))}
    assert listed["atelier_bleu"]["origin"] == "comptoir-atelier-bleu 0.1.0"
    assert listed["atelier_bleu"]["name"] == "L'Atelier Bleu"
    assert listed["atelier_bleu"]["entities"]["item"]["pull"] is True
    assert {"woocommerce", "ebp"} <= listed.keys()

    mappings = {m["mapping"]: m for m in json.loads(_comptoir(site, config, "map", "check", "--json"))}
    assert mappings["atelier_bleu.item.in"]["error"] is None
    golden = json.loads(_comptoir(site, config, "map", "test", "atelier_bleu.item.in", "--json"))
    assert [g["difference"] for g in golden] == [None]

    code = (
        "import json; from pathlib import Path; from comptoir.airflow.dag_factory import build_dags; "
        "from comptoir.airflow.provider import installed_manifests; "
        f"dags = build_dags(Path({config!r})); "
        "print(json.dumps({'dags': {d: sorted(g.tags) for d, g in dags.items()}, "
        "'types': [m.key for m in installed_manifests()]}))"
    )
    found = json.loads(_python("-c", code, path=site).splitlines()[-1])
    assert found["dags"] == {"comptoir__articles": ["comptoir", "item", "source"]}
    assert "atelier_bleu" in found["types"], "Airflow knows no connection type of it"


def test_a_route_of_an_installed_description_runs_with_the_packages_own_mapping_or_the_merchants(
    tmp_path: Path, database_url: str
) -> None:
    site = _installed(tmp_path, _made(tmp_path, "files"))
    merchant = _merchant(tmp_path, "files")
    config = str(merchant / "comptoir.toml")
    environment = {"COMPTOIR_DATABASE_URL": database_url}
    report = json.loads(_comptoir(site, config, "run", "articles", "--json", **environment))
    assert (report["considered"], report["changed"], report["quarantined"]) == (1, 1, 0)
    # The merchant's mapping comes first, and extends the package's.
    own = merchant / "mappings" / "atelier_bleu"
    own.mkdir(parents=True)
    (own / "item.in.yaml").write_text(
        "mapping: atelier_bleu.item.in\nversion: 1\nextends: true\nfields:\n  tax_category: {const: normal}\n"
    )
    previewed = merchant / "mug.json"
    previewed.write_text(
        json.dumps({"id": "1", "sku": "A", "gtin": "", "name": "Mug", "state": "active", "price": "1.00",
                    "currency": "EUR"})
    )  # fmt: skip
    shown = json.loads(_comptoir(site, config, "map", "preview", "atelier_bleu.item.in", "--file", str(previewed)))
    assert shown["canonical"]["tax_category"] == "normal"
    assert shown["canonical"]["sku"] == "A"


def test_a_route_reads_the_served_sandbox_and_finds_nothing_new_the_second_time(
    tmp_path: Path, database_url: str
) -> None:
    made = _made(tmp_path, "python")
    environment = {"COMPTOIR_DATABASE_URL": database_url}
    config = str(_merchant(tmp_path, "python") / "comptoir.toml")
    code = "import sys; from comptoir_atelier_bleu.sandbox import main; main(0)"
    command = [sys.executable, "-c", code]
    # What the package's entry point says, without installing it for good.
    site = _installed(tmp_path, made)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(site)}
    ) as it:
        try:
            assert it.stdout is not None
            address = it.stdout.readline().split()[0]
            secret = json.dumps({"conn_type": "atelier_bleu", "host": address, "password": "sandbox-token"})
            environment["AIRFLOW_CONN_SOURCE"] = secret
            for changed in (3, 0):
                report = json.loads(_comptoir(site, config, "run", "articles", "--json", **environment))
                assert (report["changed"], report["quarantined"]) == (changed, 0)
        finally:
            it.terminate()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("9lives", "cannot be a connector's name"),
        ("été", "cannot be a connector's name"),
        ("a" * 41, "cannot be a connector's name"),
        ("../evil", "cannot be a connector's name"),
        ("WooCommerce", "is installed already"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_and_nothing_is_written(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        new_connector(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    made = _made(tmp_path, "rest")
    before = {p: p.read_bytes() for p in made.folder.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match="exists already"):
        _made(tmp_path, "python")
    assert {p: p.read_bytes() for p in made.folder.rglob("*") if p.is_file()} == before


def test_a_title_cannot_break_out_of_the_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="title"):
        new_connector("atelier", tmp_path, title='"""; import os')


def _comptoir(site: Path, config: str, *arguments: str, **environment: str) -> str:
    code = "from comptoir.cli import main; main()"
    return _python("-c", code, "--config", config, *arguments, path=site, **environment)


def _installed(tmp_path: Path, made: Made) -> Path:
    """The project's wheel, installed into a folder of its own."""
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    _python(*pip, "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-w", str(wheels), str(made.folder))
    (wheel,) = wheels.glob("*.whl")
    _python(*pip, "install", "--no-index", "--no-deps", "--target", str(site), str(wheel))
    shutil.rmtree(made.folder)
    return site


def _merchant(tmp_path: Path, kind: Kind) -> Path:
    folder = tmp_path / "merchant"
    folder.mkdir()
    settings = 'folder = "inbox"' if kind == "files" else ""
    (folder / "comptoir.toml").write_text(CONFIG.format(settings=settings), encoding="utf-8")
    (folder / "inbox").mkdir()
    items = folder / "inbox" / "items_1.csv"
    items.write_text(ITEMS, encoding="utf-8")
    os.utime(items, (1_790_000_000, 1_790_000_000))
    return folder
