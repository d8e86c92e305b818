"""Routes of comptoir.toml become DAGs: one per route, with one task that does all of its work.

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

from airflow.sdk import DAG, CronTriggerTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, task

from comptoir.errors import ConfigError

if TYPE_CHECKING:
    from comptoir.app.config import Route, Settings

__all__ = ["build_dags", "dag_id", "pools"]

log = logging.getLogger(__name__)

#: What a route may name beside connections: what the hub derives itself.
HUB: Final = "hub"

#: Tasks that may use one connection at the same time, until an operator says otherwise in Airflow. How many
#: calls per minute a platform allows is not their business: those budgets are in the store.
POOL_SLOTS: Final = 2

#: Only schedules are read in local time ("every day at six"); everything else is UTC.
_ZONES: Final = {
    "AT": "Europe/Vienna",
    "BE": "Europe/Brussels",
    "CH": "Europe/Zurich",
    "DE": "Europe/Berlin",
    "ES": "Europe/Madrid",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "IE": "Europe/Dublin",
    "IT": "Europe/Rome",
    "LU": "Europe/Luxembourg",
    "MC": "Europe/Monaco",
    "NL": "Europe/Amsterdam",
    "PT": "Europe/Lisbon",
}

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
    return dags


def _route_dag(config_path: Path, settings: Settings, name: str, route: Route) -> DAG:
    with DAG(
        dag_id(name),
        schedule=_timetable(route.schedule, _zone(settings)),
        # No start date: with one, a new DAG runs at once for the last tick before it was deployed.
        catchup=False,
        max_active_runs=1,
        description=f"{route.entity}: {', '.join(route.sources)} to {', '.join(route.targets)}",
        tags=sorted({"comptoir", str(route.entity), *route.sources, *route.targets}),
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
        from comptoir.app.bootstrap import open_hub
        from comptoir.app.run_route import run_route

        with open_hub(Path(config_path)) as hub:
            return dict(run_route(hub, route_name, trigger="schedule").as_dict())

    return run


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


def _pool_of(settings: Settings, route: Route) -> str:
    # A task can wait for one pool only. It is that of the connection it reads from, the one whose patience is
    # the shorter; what the hub derives itself is limited by where it goes.
    for name in (*route.sources, *route.targets):
        if name != HUB and name in settings.connections:
            return pool(name)
    return "default_pool"


def _timetable(schedule: str | None, zone: str) -> CronTriggerTimetable | None:
    return None if schedule is None else CronTriggerTimetable(schedule, timezone=zone)


def _zone(settings: Settings) -> str:
    named = getattr(settings.company, "time_zone", None)
    zone = str(named or _ZONES.get(settings.company.country, "UTC"))
    # An unknown name is this route's error, not one of the scheduler's at the first tick.
    ZoneInfo(zone)
    return zone


def _retry_policy() -> ExceptionRetryPolicy:
    """Try again what may pass by itself; stop at once where a person has to act first."""
    fail, retry = RetryAction.FAIL, RetryAction.RETRY
    return ExceptionRetryPolicy(
        rules=[
            RetryRule("comptoir.errors.ConfigError", fail, reason="the configuration has to be corrected"),
            RetryRule("comptoir.errors.ContractViolation", fail, reason="a connector has to be corrected"),
            RetryRule("comptoir.errors.RateLimited", retry, timedelta(minutes=2), "asked for a pause"),
            RetryRule("comptoir.errors.TransientError", retry, reason="may pass by itself"),
            RetryRule("comptoir.errors.DatabaseUnavailable", retry, timedelta(minutes=1), "no database"),
        ]
    )
