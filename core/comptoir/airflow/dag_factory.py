"""Routes of comptoir.toml become DAGs: one per route, with one task that does all of its work.

A route runs by its schedule, and where it has one or names triggers, also when something waits for it (`watch.py`):
both kinds of runs are of the same DAG, so that never two of them are at it. A woken run takes what waits and lingers; a
scheduled one asks every source, and finds what a webhook that was lost would have told.

Read by Airflow again and again (every task reads its file anew), so nothing here opens a database or a
connection, and what the work itself needs is imported inside the task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    RetryAction,
    RetryRule,
    task,
)
from croniter import croniter  # type: ignore[import-untyped]

from comptoir.airflow.retries import CarefulRetryPolicy
from comptoir.airflow.watch import WorkTrigger
from comptoir.errors import ConfigError, TransientError
from comptoir.store.waiting import topics_of

if TYPE_CHECKING:
    from comptoir.app.config import RouteSettings, Settings

__all__ = ["TODO_DAG", "build_dags", "dag_id", "pools"]

log = logging.getLogger(__name__)

#: The DAG that looks for what waits for a person.
TODO_DAG: Final = "comptoir_todo"

#: What a route may name beside connections: what the hub derives itself.
HUB: Final = "hub"

#: Tasks that may use one connection at the same time, until an operator says otherwise in Airflow. How many
#: calls per minute a platform allows is not their business: those budgets are in the store.
POOL_SLOTS: Final = 2

#: Airflow's kind of a run -> what our journal of runs calls it.
_WOKEN: Final = "webhook"
_TRIGGERS: Final = {"manual": "manual", "asset_triggered": _WOKEN}

_RETRIES: Final = 4
_BROKEN: Final = "broken"


def dag_id(route: str) -> str:
    """The DAG of a route."""
    return f"comptoir__{route}"


def pool(connection: str) -> str:
    """The pool of a connection."""
    return f"comptoir_{connection}"


def pools(settings: Settings) -> dict[str, int]:
    """Every pool that the DAGs of this configuration use, with the slots it starts with."""
    return {pool(name): POOL_SLOTS for name in settings.connections}


def work_asset(route: str) -> str:
    """The name of the asset whose events wake a route. It is a bell, nothing is stored under it."""
    return f"comptoir.work.{route}"


def topics(settings: Settings, route: RouteSettings) -> list[str]:
    """The topics whose work wakes this route; none for a route that is only ever started by hand."""
    if route.schedule is None and not route.triggers:
        return []
    return topics_of(
        route.entity,
        route.sources,
        route.targets,
        webhooks="webhook" in route.triggers,
        channels=[name for name, link in settings.connections.items() if link.invoicing in ("self", HUB)],
    )


def build_dags(config_path: Path) -> dict[str, DAG]:
    """The DAGs of a configuration, by their id.

    A route that cannot be made into a DAG does not take the others away: in its place stands a DAG with the
    tag "broken", which fails every hour and says in its log what is wrong.

    Raises:
        ConfigError: the file is missing or wrong as a whole; Airflow shows it as an import error.
    """
    from comptoir.app.config import load

    settings = load(config_path)
    dags = {}
    for name, route in settings.routes.items():
        try:
            dag = _route_dag(config_path, settings, name, route)
        except Exception as error:
            log.exception("The route %r of %s cannot be scheduled.", name, config_path)
            dag = _broken_dag(name, f"{type(error).__name__}: {error}")
        dags[dag.dag_id] = dag
    if settings.alerts.mail_to:
        dags[TODO_DAG] = _todo_dag(config_path, settings)
    return dags


def _todo_dag(config_path: Path, settings: Settings) -> DAG:
    """Looks at what waits for a person, and mails it when something urgent is new."""
    with DAG(
        TODO_DAG,
        schedule=_timetable(settings.alerts.schedule, settings.company.zone),
        catchup=False,
        max_active_runs=1,
        description="what waits for a person, mailed when it is urgent",
        tags=["comptoir", "todo"],
        default_args={"owner": "comptoir", "retries": 2, "retry_delay": timedelta(minutes=5)},
    ) as dag:

        @task(task_id="mail", pool="default_pool")
        def mail() -> int:
            from comptoir.airflow.secrets import AirflowSecrets
            from comptoir.app.bootstrap import system_ports
            from comptoir.app.todo import notify

            return len(notify(config_path, ports=system_ports(AirflowSecrets())))

        mail()
    return dag


def _route_dag(config_path: Path, settings: Settings, name: str, route: RouteSettings) -> DAG:
    with DAG(
        dag_id(name),
        schedule=_schedule(config_path, settings, name, route),
        # No start date: with one, a new DAG runs at once for the last tick before it was deployed.
        catchup=False,
        max_active_runs=1,
        description=f"{route.entity.value}: {', '.join(route.sources)} to {', '.join(route.targets)}",
        tags=sorted({"comptoir", route.entity.value, *route.sources, *route.targets}),
        default_args={
            "owner": "comptoir",
            "retries": _RETRIES,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=30),
            "retry_policy": _retry_policy(),
            # A run that is cut off goes on where it was with the next one.
            "execution_timeout": timedelta(hours=6),
        },
    ) as dag:
        _run_task(str(config_path), name, _pool_of(settings, route))()
    return dag


def _run_task(config_path: str, route_name: str, pool_name: str) -> Callable[[], Any]:
    @task(task_id="run", pool=pool_name)
    def run() -> dict[str, Any]:
        from airflow.sdk import get_current_context

        from comptoir.airflow.secrets import AirflowSecrets
        from comptoir.app.bootstrap import open_hub
        from comptoir.app.linger import route_at_work, run_and_linger
        from comptoir.app.run_route import run_route

        trigger = _trigger(get_current_context()["dag_run"].run_type)
        with open_hub(config_path, secrets=AirflowSecrets(), log=log.info) as hub:
            if trigger == _WOKEN:
                report = run_and_linger(hub, route_name, trigger=trigger)
            else:
                with route_at_work(hub, route_name):
                    report = run_route(hub, route_name, trigger=trigger).as_dict()
        if report["state"] == "failed":
            # Nothing was raised, and yet the run is not whole (a window that was not read to its end).
            raise TransientError(f"The run {report['run_id']} of {route_name} did not get to its end.")
        return dict(report)

    return run


def _trigger(run_type: Any) -> str:
    # An enumeration in a worker, whose str() is its name; its value as text elsewhere.
    return _TRIGGERS.get(getattr(run_type, "value", run_type), "schedule")


def _broken_dag(name: str, reason: str) -> DAG:
    with DAG(
        dag_id(name),
        schedule="@hourly",
        catchup=False,
        max_active_runs=1,
        description=f"cannot run: {reason}"[:200],
        doc_md=f"This route of `comptoir.toml` cannot be scheduled.\n\n```\n{reason}\n```\n",
        tags=["comptoir", _BROKEN],
        default_args={"owner": "comptoir", "retries": 0},
    ) as dag:

        @task(task_id="run", pool="default_pool")
        def run() -> None:
            raise ConfigError(f"The route {name!r} cannot run: {reason}", hint="Correct it in comptoir.toml.")

        run()
    return dag


def _pool_of(settings: Settings, route: RouteSettings) -> str:
    # A task can wait for one pool only. It is that of the connection it reads from, the one whose patience is
    # the shorter; what the hub derives itself is limited by where it goes.
    for name in (*route.sources, *route.targets):
        if name != HUB and name in settings.connections:
            return pool(name)
    return "default_pool"


def _schedule(config_path: Path, settings: Settings, name: str, route: RouteSettings) -> Any:
    """By the clock, when woken, both or neither."""
    timetable = _timetable(route.schedule, settings.company.zone)
    wakes = topics(settings, route)
    if not wakes:
        return timetable
    bell = Asset(
        name=work_asset(name),
        uri=f"comptoir://work/{name}",
        group="comptoir",
        watchers=[AssetWatcher(name="work", trigger=WorkTrigger(str(config_path), name, wakes))],
    )
    return [bell] if timetable is None else AssetOrTimeSchedule(timetable=timetable, assets=[bell])


def _timetable(schedule: str | None, zone: str) -> CronTriggerTimetable | None:
    if schedule is None:
        return None
    # Airflow would notice both only later: when it stores the DAGs (and drops every one of the file), and at
    # the first tick. Only schedules are read in local time ("every day at six"); everything else is UTC.
    ZoneInfo(zone)
    if not croniter.is_valid(schedule):
        raise ConfigError(f"{schedule!r} is not a schedule", hint='A schedule looks like "*/15 6-22 * * 1-6".')
    return CronTriggerTimetable(schedule, timezone=zone)


def _retry_policy() -> CarefulRetryPolicy:
    """Try again what may pass by itself; stop at once where a person has to act first."""
    fail, retry = RetryAction.FAIL, RetryAction.RETRY
    return CarefulRetryPolicy(
        rules=[
            RetryRule("comptoir.errors.ConfigError", fail, reason="the configuration has to be corrected"),
            RetryRule("comptoir.errors.ContractViolation", fail, reason="a connector has to be corrected"),
            RetryRule("comptoir.errors.RateLimited", retry, timedelta(minutes=2), "asked for a pause"),
            RetryRule("comptoir.errors.TransientError", retry, reason="may pass by itself"),
            RetryRule("comptoir.errors.DatabaseUnavailable", retry, timedelta(minutes=1), "no database"),
        ]
    )
