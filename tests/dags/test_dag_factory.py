"""The DAGs that a configuration becomes: what they look like, and that they run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from comptoir import errors
from comptoir.store import embedded

from tests.support import probe_connector

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "core" / "comptoir" / "airflow" / "dags"
ITEMS, REFUSED = "comptoir__items", "comptoir__refused"


def bag(folder: Path) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(folder))


@pytest.mark.parametrize("folder", [ROOT / "dags", SHIPPED], ids=["repository", "package"])
def test_dag_files_import_and_follow_the_house_rules(config: Path, folder: Path) -> None:
    read = bag(folder)
    assert read.import_errors == {}
    assert set(read.dags) == {ITEMS, REFUSED}
    for dag in read.dags.values():
        assert dag.max_active_runs == 1
        assert dag.catchup is False
        assert dag.start_date is None, "with a start date, every new route would run at once"
        assert "comptoir" in dag.tags
        assert [task.task_id for task in dag.tasks] == ["run"], "a task costs a second: one per run"
        for task in dag.tasks:
            assert task.owner == "comptoir"
            assert task.pool.startswith("comptoir_")
            assert task.start_date is None
            assert task.retries > 0
            assert task.retry_policy is not None
            assert task.execution_timeout is not None


def test_both_dag_files_are_the_same_and_thin() -> None:
    (shipped,) = SHIPPED.glob("*.py")
    text = shipped.read_text()
    assert (ROOT / "dags" / shipped.name).read_text() == text
    assert len(text.splitlines()) <= 40


def test_schedules_are_in_the_companys_time_zone(config: Path) -> None:
    from airflow.sdk import CronTriggerTimetable

    from comptoir.airflow.dag_factory import build_dags

    dags = build_dags(config)
    assert dags[ITEMS].timetable == CronTriggerTimetable("*/15 6-22 * * *", timezone="Europe/Paris")
    assert dags[REFUSED].schedule is None, "a route without schedule waits to be started"


def test_dags_survive_the_way_through_airflows_database(config: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from comptoir.airflow.dag_factory import build_dags

    for name, dag in build_dags(config).items():
        stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
        read = DagSerialization.from_dict(stored)
        assert read.dag_id == name
        assert read.task_ids == ["run"]
        assert read.get_task("run").pool == dag.get_task("run").pool
        assert read.get_task("run").retries == dag.get_task("run").retries
        assert (read.max_active_runs, read.catchup, read.tags) == (1, False, dag.tags)


def test_reading_the_dags_loads_no_engine_and_no_store(config: Path) -> None:
    """Airflow reads the file again and again, and once more in every task."""
    code = (
        "import sys; from pathlib import Path; from comptoir.airflow.dag_factory import build_dags; "
        f"assert len(build_dags(Path({str(config)!r}))) == 2; "
        "heavy = ('comptoir.store', 'comptoir.engine', 'comptoir.mapping', 'comptoir.app.boot', 'psycopg'); "
        # The names of what can wait, and nothing that reads them.
        "light = {'comptoir.store', 'comptoir.store.waiting'}; "
        "print([name for name in sys.modules if name.startswith(heavy) and name not in light])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_bad_route_does_not_take_the_others_away(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Airflow refuses and our own check of the file does not know.
    from comptoir.airflow import dag_factory

    original = dag_factory._timetable

    def picky(schedule: str | None, zone: str) -> object:
        if schedule == "*/15 6-22 * * *":
            raise ValueError(f"{schedule!r} is not a schedule")
        return original(schedule, zone)

    monkeypatch.setattr(dag_factory, "_timetable", picky)
    read = bag(SHIPPED)
    assert read.import_errors == {}
    assert read.dags[REFUSED].tags == {"comptoir", "closed", "item"}
    broken = read.dags[ITEMS]
    assert broken.tags == {"comptoir", "broken"}
    assert "'*/15 6-22 * * *' is not a schedule" in broken.doc_md
    with pytest.raises(errors.ConfigError, match="is not a schedule"):
        broken.get_task("run").python_callable()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("*/15 6-22 * * *", "75 6-22 * * *", "75 6-22"),
        ("[company]", '[company]\ntime_zone = "Europe/Atlantis"', "Europe/Atlantis"),
    ],
)
def test_a_wrong_schedule_or_zone_is_an_import_error_that_says_where(
    config: Path, old: str, new: str, said: str
) -> None:
    config.write_text(probe_connector.CONFIG.replace(old, new))
    (error,) = bag(SHIPPED).import_errors.values()
    assert "comptoir.toml:" in error
    assert said in error


def test_a_wrong_file_is_an_import_error_with_line_and_key(config: Path) -> None:
    config.write_text(probe_connector.CONFIG.replace('country = "FR"', 'country = "FR"\ncolour = "red"'))
    read = bag(SHIPPED)
    assert read.dags == {}
    (error,) = read.import_errors.values()
    assert "comptoir.toml:5: company.colour: unknown setting" in error


def test_a_missing_variable_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMPTOIR_CONFIG")
    (error,) = bag(SHIPPED).import_errors.values()
    assert "COMPTOIR_CONFIG is not set" in error


def test_every_pool_that_a_dag_names_is_created(config: Path) -> None:
    from comptoir.airflow.dag_factory import build_dags, pools
    from comptoir.app.config import load

    named = {task.pool for dag in build_dags(config).values() for task in dag.tasks}
    assert named == {"comptoir_shop", "comptoir_closed"}
    assert named <= set(pools(load(config)))


@pytest.mark.parametrize(
    ("error", "action", "delay"),
    [
        (errors.ConfigError("x"), "fail", None),
        (errors.AuthError("x"), "fail", None),
        (errors.ContractViolation("x"), "fail", None),
        (errors.TransientError("x"), "retry", None),
        (errors.TransientError("x", code="busy"), "retry", timedelta(seconds=30)),
        (errors.RateLimited("x"), "retry", timedelta(minutes=2)),
        (errors.RateLimited("x", retry_after=90), "retry", timedelta(seconds=90)),
        (errors.RateLimited("x", retry_after=-3), "retry", timedelta(seconds=5)),
        (errors.RateLimited("x", retry_after=1e30), "retry", timedelta(hours=1)),
        (errors.RateLimited("x", retry_after=float("nan")), "retry", timedelta(hours=1)),
        (errors.DatabaseUnavailable("x"), "retry", timedelta(minutes=1)),
        (errors.OutcomeUnknown("x"), "default", None),
        (ZeroDivisionError("x"), "default", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_what_may_pass_by_itself_is_tried_again(
    config: Path, error: Exception, action: str, delay: timedelta | None
) -> None:
    from comptoir.airflow.dag_factory import build_dags

    policy = build_dags(config)[ITEMS].get_task("run").retry_policy
    assert policy is not None
    decision = policy.evaluate(error, try_number=1, max_tries=4)
    assert (decision.action.value, decision.retry_delay) == (action, delay)


def test_the_journal_says_what_started_a_run(config: Path) -> None:
    from airflow.sdk.api.datamodels._generated import DagRunType

    from comptoir.airflow.dag_factory import _trigger

    kinds = {kind: _trigger(kind) for kind in DagRunType}
    assert kinds[DagRunType.MANUAL] == "manual"
    assert kinds[DagRunType.ASSET_TRIGGERED] == "webhook"
    assert {kinds[DagRunType.SCHEDULED], kinds[DagRunType.BACKFILL]} == {"schedule"}
    assert {_trigger(kind.value): 1 for kind in DagRunType} == dict.fromkeys(kinds.values(), 1)


# --- running


@pytest.fixture
def home(config: Path) -> Iterator[Path]:
    """The installation's folder; its database is deleted afterwards."""
    folder = config.parent / ".comptoir"
    yield folder
    assert embedded.remove(folder)


@pytest.mark.integration
def test_a_route_runs_and_reports(config: Path, home: Path, airflow_database: None) -> None:
    dag = bag(SHIPPED).dags[ITEMS]
    dag.get_task("run").retries = 0  # `test()` would wait for them
    run = dag.test()
    assert run.state == "success"
    (task,) = run.get_task_instances()
    report = task.xcom_pull(task_ids="run")
    assert (report["route"], report["entity"], report["state"]) == ("items", "item", "success")
    assert report["considered"] == 0
    assert len(json.dumps(report)) < 2000, "counters, never records"


@pytest.mark.integration
def test_refused_credentials_fail_the_run_at_once(config: Path, home: Path, airflow_database: None) -> None:
    run = bag(SHIPPED).dags[REFUSED].test()
    assert run.state == "failed"
    (task,) = run.get_task_instances()
    assert (task.state, task.try_number) == ("failed", 1), "asking again would not help"
